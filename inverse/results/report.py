"""The page to show a colleague: the value and its error first, then what it rests on.

Drawn from a result's saved values alone, so that a report made years later is the one made on the day of the fit.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from excidiff.inverse.results import figures, page
from excidiff.inverse.results.panels import measurement_panels
from excidiff.inverse.results.screen import goodness_in_words, images_in_words, remark, scatter_in_words
from excidiff.inverse.results.storage import inside, plain_name, write_text, write_whole
from excidiff.inverse.results.wording import (
    counted,
    digits,
    in_cm2_per_s,
    interval,
    label,
    probability,
    unit_for_people,
    value_with_error,
)

PICTURED = 24  # of a long series, this many good images are drawn: a page that a browser still opens
HEADLINES = ("diffusion_length", "diffusivity", "lifetime")
STATUS = {
    "converged": "The fit converged",
    "partial": "Some measurements could not be used",
    "failed": "The fit failed",
}
DECONVOLVED = (
    "Many papers quote a third length, from widths alone: √(FWHM² of the luminescence − FWHM² of the laser) / 2.355. "
    "Here it is {phrase}, {share:.0f} % of the diffusion length. It would be a displacement if every exciton lived "
    "equally long. They do not: many recombine early, near the spot, and make a sharp peak; few live long and make a "
    "faint, wide tail that the width at half height does not see. Compare it only with numbers obtained likewise."
)
UNITS = {
    "lifetime": "ns",
    "temperature": "K",
    "pixel_size": "µm",
    **dict.fromkeys(("laser_fwhm", "psf_fwhm", "laser_wavelength", "emission_wavelength"), "µm"),
}
CITATION = "Please cite {name}; CITATION.cff in its repository has the entry."


def write_report(result: Any, path: str | Path) -> Path:
    """Write the report of `result` (a `FitResult`) as one self-contained HTML file, whole or not at all."""
    return write_text(path, report_page(result))


def write_figures(result: Any, folder: Path, progress: Callable[..., Any] | None = None) -> list[Path]:
    """PNG and SVG of each pictured image's overview and of the values of all images, into `folder`, which exists.

    `progress(done, all, name)` is called after each.
    """
    numbers = {id(entry): number for number, entry in enumerate(result.images, 1)}
    shown = [(numbers[id(entry)], entry) for entry in pictured(result.images) if entry.counts is not None]
    written = []
    for done, (number, entry) in enumerate(shown, 1):
        name = f"image_{number:02d}_{plain_name(PurePath(entry.file).stem)}"
        written += _write_figure(figures.overview(entry, result.laser), folder, name)
        if progress is not None:
            progress(done, len(shown), name)
    if len(result.images) > 1:
        drawn = figures.scatter_figure(result.images, result.parameters.get("diffusion_length"))
        written += _write_figure(drawn, folder, "images")
    return written


def _write_figure(figure: Any, folder: Path, name: str) -> list[Path]:
    encoded = {kind: figures.encode(figure, kind) for kind in ("png", "svg")}
    return [
        write_whole(inside(folder, f"{name}.{kind}"), lambda path, data=data: path.write_bytes(data))
        for kind, data in encoded.items()
    ]


def report_page(result: Any) -> str:
    """The report of `result` as HTML text."""
    return page.document(
        f"{_headline(result)[1]} – excidiff",
        [
            _opening(result),
            page.section("What the data say", _sentences(result)),
            page.section("Values", _values(result)),
            page.section("The images against each other", *_spread(result)),
            page.section("Each image", *_each_image(result)),
            page.section("The laser", measurement_panels(result.laser) if result.laser is not None else ""),
            page.section("Three lengths, never confused", *_lengths(result)),
            page.section("All images in numbers", _images_table(result)),
            page.section("Methods, to paste into a paper", page.paragraph(_methods(result))),
            page.section("Where it comes from", *_origin(result)),
            f"<footer>{page.text(CITATION.format(name=_software(result)))}</footer>",
        ],
    )


def pictured(images: Sequence[Any]) -> list[Any]:
    """The images that are drawn, in order: all that were flagged or failed, and of the others the first `PICTURED`."""
    good = [id(entry) for entry in images if entry.status == "fitted"][:PICTURED]
    return [entry for entry in images if entry.status != "fitted" or id(entry) in good]


def _each_image(result: Any) -> list[str]:
    shown = pictured(result.images)
    rest = len(result.images) - len(shown)
    words = f"{counted(rest, 'more image')} fitted without remark: see the table below and result.nc." if rest else ""
    return [*(measurement_panels(entry, result.laser) for entry in shown), page.paragraph(words)]


def _headline(result: Any) -> tuple[str, str]:
    """(name, phrase) of the main value: the first of the headlines that the data determine."""
    for name in HEADLINES:
        entry = result.parameters.get(name)
        if entry is not None and entry.value is not None and entry.origin != "given":
            return name, f"{label(name)} {value_with_error(entry.value, entry.stderr, entry.unit)}"
    return "", STATUS[result.status]


def _opening(result: Any) -> str:
    name, phrase = _headline(result)
    parts = ["<header>", "<h1>excidiff: how far excitons travel</h1>"]
    if name:
        entry = result.parameters[name]
        number, error = digits(entry.value, entry.stderr)
        shown = f'{number}<span class="error"> ± {error}</span>' if error else number
        parts.append(f'<p class="value">{shown} <small>{page.text(unit_for_people(entry.unit))}</small></p>')
        bounds = interval(entry.interval95, entry.stderr)
        tail = f", 95 % interval {bounds} {unit_for_people(entry.unit)}" if bounds else ""
        parts.append(f'<p class="name">{page.text(label(name) + tail)}</p>')
    else:
        parts.append(f'<p class="value">{page.text(phrase)}</p>')
    others = [other for other in HEADLINES if other != name and other in result.parameters]
    items = "".join(_aside(other, result.parameters[other]) for other in others)
    parts.append(f'<ul class="also">{items}</ul>' if items else "")
    state = f"{STATUS[result.status]}: {images_in_words(result)}"
    parts.append(f'<p class="status {page.text(result.status)}">{page.text(state)}</p>')
    parts += [page.paragraph(f"Model: {result.model}."), "</header>"]
    return "\n".join(part for part in parts if part)


def _aside(name: str, entry: Any) -> str:
    """A smaller headline: value, name, and the unit people quote."""
    value = value_with_error(entry.value, entry.stderr, entry.unit) if entry.identifiable else "not determined"
    note = label(name)
    if name == "diffusivity" and entry.identifiable and entry.value is not None:
        note += f", {in_cm2_per_s(entry.value, entry.stderr)}"
    if entry.origin == "given":
        note += ", given"
    return f"<li><strong>{page.text(value)}</strong><span>{page.text(note)}</span></li>"


def _sentences(result: Any) -> str:
    items = [f"<li>{page.text(sentence)}</li>" for sentence in result.verdicts]
    items += [f'<li class="warning">Warning: {page.text(sentence)}</li>' for sentence in result.warnings]
    return f'<ul class="verdicts">{"".join(items)}</ul>' if items else ""


def _values(result: Any) -> str:
    own = result.images[0].parameters if len(result.images) == 1 else {}
    entries = {**result.parameters, **{name: entry for name, entry in own.items() if name not in result.parameters}}
    rows = [
        (label(name), value_with_error(entry.value, entry.stderr, entry.unit), remark(name, entry))
        for name, entry in entries.items()
    ]
    fitness = goodness_in_words(result.goodness)
    caption = (
        f"Errors are one standard error. Goodness of fit: {fitness}." if fitness else "Errors are one standard error."
    )
    return page.table(caption, ("quantity", "value", "remark"), rows)


def _spread(result: Any) -> list[str]:
    if len(result.images) < 2:
        return []
    mean = result.parameters.get("diffusion_length")
    drawn = figures.encode(figures.scatter_figure(result.images, mean), "svg")
    alternative = (
        "Diffusion length of each image with its standard error, and the weighted mean as a line with its own."
    )
    words = "The line is the weighted mean; its band counts what all images share, such as the laser's width, once."
    return [
        f'<figure class="wide">{page.picture(drawn, "svg+xml", alternative)}</figure>',
        page.paragraph(words),
        *(page.paragraph(f"Scatter between images, {line}.") for line in scatter_in_words(result)),
    ]


def _lengths(result: Any) -> list[str]:
    full, gaussian = (result.parameters.get(name) for name in ("diffusion_length", "deconvolved_length"))
    if full is None or full.value is None:
        return []
    root = 2.0**0.5
    length = value_with_error(full.value, full.stderr, full.unit)
    spread = value_with_error(root * full.value, None if full.stderr is None else root * full.stderr, full.unit)
    parts = [
        f"The diffusion length √(Dτ) is {length}. "
        f"The root-mean-square displacement along one axis, √(2Dτ), is {spread}."
    ]
    if gaussian is not None and gaussian.value is not None:
        phrase = value_with_error(gaussian.value, gaussian.stderr, gaussian.unit)
        share = 100.0 * gaussian.value / full.value
        parts.append(DECONVOLVED.format(phrase=phrase, share=share))
    return [page.paragraph(part) for part in parts]


def _images_table(result: Any) -> str:
    names = [name for name in ("diffusion_length", "deconvolved_length", "amplitude", "background")
             if any(name in entry.parameters for entry in result.images)]  # fmt: skip
    rows, classes, units = [], [], dict.fromkeys(names, "")
    for entry in result.images:
        shown = []
        for name in names:
            cell = entry.parameters.get(name)
            shown.append("–" if cell is None else value_with_error(cell.value, cell.stderr))
            units[name] = units[name] or ("" if cell is None else unit_for_people(cell.unit))
        fit = [_ratio(entry.goodness), probability(entry.goodness.get("p_value"))]
        rows.append([PurePath(entry.file).name, entry.status, *shown, *fit, entry.reason or ""])
        classes.append("" if entry.status == "fitted" else entry.status)
    titles = [f"{label(name)} ({unit})" if unit else label(name) for name, unit in units.items()]
    head = ("file", "status", *titles, "deviance / expected", "p", "why")
    if not any(entry.reason for entry in result.images):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return page.table("Values per image with one standard error.", head, rows, classes)


def _ratio(goodness: Mapping[str, Any]) -> str:
    value = goodness.get("deviance_ratio")
    return "–" if value is None else f"{value:.3f}"


def _origin(result: Any) -> list[str]:
    """The inputs with their hashes, the software, and how to run it again."""
    run = result.settings.get("run") or {}
    inputs: Sequence[Mapping[str, Any]] = run.get("inputs") or [
        {"role": entry.kind, "path": entry.file} for entry in result.measurements
    ]
    rows = [
        (PurePath(str(entry["path"])).name, str(entry.get("role", "")), str(entry.get("sha256", "–")))
        for entry in inputs
    ]
    given = [(name.replace("_", " "), _shown(value, UNITS.get(name, ""))) for name, value in result.settings.items()
             if name not in ("run", "images", "laser", "psf") and value not in (None, {}, [])]  # fmt: skip
    software = ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items())
    parts = [
        page.table("Input files.", ("file", "used as", "SHA-256"), rows),
        page.table("Settings of the fit.", ("setting", "value"), given),
        page.paragraph(f"Software: {software}." if software else ""),
    ]
    if run.get("command"):
        parts += ["<p>This result was made by</p>", f"<pre><code>{page.text(run['command'])}</code></pre>"]
        parts += ["<p>and is made again, with its inputs checked, by</p>"]
        parts += ["<pre><code>excidiff rerun run.toml</code></pre>"]
    return parts


def _methods(result: Any) -> str:
    return f"{result.methods} The analysis was done with {_software(result)}." if result.methods else ""


def _software(result: Any) -> str:
    """The name to cite, with the version if it is on record: "excidiff 0.1.0"."""
    found = ((result.settings.get("run") or {}).get("versions") or {}).get("excidiff")
    return f"excidiff {found}" if found else "excidiff"


def _shown(value: Any, unit: str = "") -> str:
    """A setting as text; numbers, also inside lists, with their unit."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} = {_shown(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_shown(entry, unit) for entry in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g} {unit}".rstrip() if isinstance(value, int | float) else str(value)
