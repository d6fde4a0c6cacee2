"""Where a result comes from, for the page: the inputs with their hashes, the settings in words, the software."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from excidiff.inverse.results import page
from excidiff.inverse.results.sentences import file_name
from excidiff.inverse.results.wording import label

UNITS = {
    "lifetime": "ns",
    "irf_fwhm": "ns",
    "period": "ns",
    "temperature": "K",
    **dict.fromkeys(("laser_fwhm", "laser_image_fwhm", "psf_fwhm", "laser_wavelength", "emission_wavelength"), "µm"),
}
ELSEWHERE = ("run", "images", "decays", "irf", "laser", "psf", "pixel_size_origin")  # an input, or beside another


def origin(result: Any) -> list[str]:
    """Tables of inputs and settings, the software, and how to run it again, as parts of a page."""
    run = result.settings.get("run") or {}
    inputs: Sequence[Mapping[str, Any]] = run.get("inputs") or [
        {"role": entry.kind, "path": entry.file} for entry in result.measurements
    ]
    rows = [
        (file_name(str(entry["path"])), str(entry.get("role", "")), str(entry.get("sha256", "–"))) for entry in inputs
    ]
    versions = ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items())
    parts = [
        page.table("Input files.", ("file", "used as", "SHA-256"), rows, kind="hashes"),
        page.table("Settings of the fit.", ("setting", "value"), settings_in_words(result)),
        page.paragraph(f"Software: {versions}." if versions else ""),
    ]
    if run.get("command"):
        parts += ["<p>This result was made by</p>", f"<pre><code>{page.text(run['command'])}</code></pre>"]
        parts += ["<p>and is made again, with its inputs checked, by</p>"]
        parts += ["<pre><code>excidiff rerun run.toml</code></pre>"]
    return parts


def software(result: Any) -> str:
    """The name to cite, with the version if it is on record: "excidiff 0.1.0"."""
    found = ((result.settings.get("run") or {}).get("versions") or {}).get("excidiff")
    return f"excidiff {found}" if found else "excidiff"


def settings_in_words(result: Any) -> list[tuple[str, str]]:
    """(name, value) of every setting that was given, as a reader wants it."""
    told: dict[str, Callable[[Any], str]] = {
        "camera": lambda camera: _camera(camera, any("no gain was given" in note for note in result.warnings)),
        "pixel_size": lambda size: _pixel_size(size, result.settings.get("pixel_size_origin")),
        "region": _region,
        "gates": lambda gates: ", ".join(f"{first:g} to {last:g} ns" for first, last in gates),
        "bounds": lambda bounds: ", ".join(f"{label(name)} {_between(*pair)}" for name, pair in bounds.items()),
        "tied": lambda names: f"{', '.join(map(label, names))}: shared with the laser image",
        "background": lambda value: "fitted" if value == "fit" else f"{_shown(value)} photons/pixel, given",
    }
    return [
        (name.replace("_", " "), told[name](value) if name in told else _shown(value, UNITS.get(name, "")))
        for name, value in result.settings.items()
        if name not in ELSEWHERE and value not in (None, {}, [])
    ]


def _camera(camera: Mapping[str, Any], estimated: bool) -> str:
    rest = {name: value for name, value in camera.items() if name not in ("gain", "gain_known")}
    gain = f"gain {_shown(camera.get('gain'))}"
    if not camera.get("gain_known", True):
        gain = "gain not given, " + ("estimated: see the warnings" if estimated else "taken as 1")
    return "; ".join([gain, *(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in rest.items())])


def _pixel_size(size: Any, from_where: Any) -> str:
    sizes = list(size) if isinstance(size, list | tuple) else [size]
    words = f"{_shown(sizes[0])} µm"
    if sizes[0] != sizes[-1]:
        words = f"{_shown(sizes[-1])} µm along x, {_shown(sizes[0])} µm along y"
    return f"{words} ({from_where})" if from_where else words


def _region(region: Any) -> str:
    if not isinstance(region, list | tuple) or len(region) != 4:
        return _shown(region)
    x0, x1, y0, y1 = (_shown(edge) for edge in region)
    return f"x {x0} to {x1}, y {y0} to {y1} pixels, ends not included"


def _between(low: Any, high: Any) -> str:
    if low is None or high is None:
        return f"at most {_shown(high)}" if low is None else f"at least {_shown(low)}"
    return f"{_shown(low)} to {_shown(high)}"


def _shown(value: Any, unit: str = "") -> str:
    """A setting as text; numbers with their unit, (value, standard error) as one phrase."""
    if isinstance(value, Mapping):
        return ", ".join(f"{label(name)} = {_shown(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        if unit and len(value) == 2:
            return f"{_shown(value[0])} ± {_shown(value[1], unit)}"
        return ", ".join(_shown(entry, unit) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g} {unit}".rstrip() if isinstance(value, int | float) else str(value)
