"""A plan written down: the film that is assumed and the measurements to come, in a TOML file.

model = "free"                        # or annihilation, traps, saturable traps, of pulses with their densities
[film]
diffusivity = "0.05 um^2/ns"
lifetime = "5 ns"                     # {value = "5 ns", error = "0.1 ns"}: known from elsewhere
[excitation]
laser_fwhm = "300 nm"                 # exposure = "40 ns" of images after pulses; period = "25 ns" of the laser
[optics]
psf_fwhm = "180 nm"
pixel_size = "50 nm"
[[image]]
photons = 100000
background = 1.0                      # per pixel, or per bin of a decay; pixels = 96, count = 1
[[decay]]
photons = 1000000                     # bins = 500, window = "25 ns", irf_fwhm = "50 ps"
[[frames]]
photons = 100000                      # frames = 8, frame_time = "1 ns"
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from excidiff.inverse.files.toml import check_keys, read_toml
from excidiff.inverse.files.units import parse_quantity
from excidiff.inverse.fit.layout import FILMS
from excidiff.inverse.options import FIXABLE
from excidiff.inverse.planning import Planned, Setup
from excidiff.solver.solution import InputError

SECTIONS = {"excitation": ("laser_fwhm", "exposure", "period"), "optics": ("psf_fwhm", "pixel_size")}
COMMON = ("photons", "background", "count", "peak_density")
KINDS = {
    "image": (*COMMON, "pixels"),
    "decay": (*COMMON, "bins", "window", "irf_fwhm"),
    "frames": (*COMMON, "pixels", "frames", "frame_time"),
}
QUANTITIES = {"laser_fwhm": "fwhm", "psf_fwhm": "fwhm", "pixel_size": "pixel_size", "exposure": "time",
              "period": "period", "window": "time", "irf_fwhm": "response", "frame_time": "time",
              "peak_density": "density"}  # fmt: skip
WHOLE = ("count", "pixels", "bins", "frames")
MOST = 2048  # pixels, bins or frames of a plan


def read_plan(path: str | Path) -> tuple[Setup, list[Planned]]:
    """The setup and the measurements of a plan.

    Raises `InputError` for keys that are unknown or lacking, numbers that cannot be, and measurements that tell nothing
    of the model.
    """
    file = Path(path)
    document, _ = read_toml(file, "give the .toml file of a plan")
    check_keys(file, document, ("model", "film", *SECTIONS, *KINDS), "")
    model = document.get("model", "free")
    if model not in FILMS:
        raise InputError(f"{file}: model = {model!r}; choose one of {', '.join(FILMS)}")
    film, known = _film(file, model, document.get("film", {}))
    given: dict[str, float] = {}
    for name, keys in SECTIONS.items():
        table = document.get(name, {})
        check_keys(file, table, keys, f" in [{name}]")
        given |= {key: _quantity(file, f"[{name}] {key}", key, value) for key, value in table.items()}
    for key in ("laser_fwhm", "pixel_size"):
        if key not in given:
            section = next(name for name, keys in SECTIONS.items() if key in keys)
            raise InputError(f"{file}: the plan has no {key}; say it in [{section}]")
    planned = [_one(file, kind, number, entry, given)
               for kind in KINDS for number, entry in enumerate(_entries(file, document, kind), 1)]  # fmt: skip
    if not planned:
        raise InputError(f"{file}: nothing is planned; add [[image]], [[decay]] or [[frames]]")
    _check_pulses(file, model, planned)
    widths = {"laser_fwhm": given["laser_fwhm"], "psf_fwhm": given.get("psf_fwhm", 0.0)}
    return Setup(model=model, film=film, known=known, **widths), planned


def _film(file: Path, model: str, table: Any) -> tuple[dict[str, float], dict[str, float]]:
    """The film's numbers, and the relative errors of those that are known."""
    if not isinstance(table, dict):
        raise InputError(f"{file}: [film] is no table")
    check_keys(file, table, FILMS[model], " in [film]")
    lacking = [name for name in FILMS[model] if name not in table]
    if lacking:
        raise InputError(f"{file}: [film] lacks {' and '.join(lacking)}: a plan needs the film that it is for")
    film, known = {}, {}
    for name, entry in table.items():
        where = f"[film] {name}"
        about = entry if isinstance(entry, dict) else {"value": entry}
        check_keys(file, about, ("value", "error"), f" in {where}")
        film[name] = parse_quantity(str(about.get("value", "")), FIXABLE[name], name=f"{file}: {where}")
        if "error" in about:
            kind = {"lifetime": "time"}.get(FIXABLE[name], FIXABLE[name])
            known[name] = parse_quantity(str(about["error"]), kind, name=f"{file}: {where} error") / film[name]
    return film, known


def _entries(file: Path, document: Mapping[str, Any], kind: str) -> list[Any]:
    entries = document.get(kind, [])
    if not isinstance(entries, list):
        raise InputError(f"{file}: [{kind}] is one of perhaps several; write [[{kind}]]")
    return entries


def _one(file: Path, kind: str, number: int, entry: Mapping[str, Any], given: Mapping[str, float]) -> Planned:
    where = f"[[{kind}]] {number}"
    check_keys(file, entry, KINDS[kind], f" in {where}")
    values: dict[str, Any] = {key: _quantity(file, f"{where} {key}", key, value) for key, value in entry.items()}
    if "photons" not in values:
        raise InputError(f"{file}: {where} has no photons; say how many are expected")
    if not values["photons"] > 0 or values.get("background", 0.0) < 0:
        raise InputError(f"{file}: {where}: photons are more than none, and a background is none or more")
    shared = {"pixel_size": given["pixel_size"]} if kind != "decay" else {"period": given.get("period")}
    if "peak_density" in values and kind == "image":
        shared |= {"exposure": given.get("exposure")}
    found = Planned(kind=kind, **{**shared, **values})
    if kind == "decay" and found.period is not None and found.window > found.period * (1 + 1e-9):
        raise InputError(f"{file}: {where}: its window is longer than the laser's period")
    return found


def _quantity(file: Path, where: str, key: str, value: Any) -> Any:
    """A number with or without a unit."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{file}: {where} = {value!r} must be a text or a number")
    if key in QUANTITIES:
        return parse_quantity(str(value), QUANTITIES[key], name=f"{file}: {where}")
    try:
        number = float(value)
    except ValueError:
        raise InputError(f"{file}: {where} = {value!r} is not a number") from None
    if key not in WHOLE:
        return number
    if number != int(number) or not 1 <= number <= MOST:
        raise InputError(f"{file}: {where} = {value!r}; give a whole number from 1 to {MOST}")
    return int(number)


def _check_pulses(file: Path, model: str, planned: list[Planned]) -> None:
    """Whether the measurements have what their model needs."""
    pulsed = [one.peak_density is not None for one in planned]
    if model != "free" and not all(pulsed):
        raise InputError(f"{file}: model = {model!r} is told by pulses: every measurement needs a peak_density")
    if model == "free" and any(pulsed):
        raise InputError(f"{file}: a film with one lifetime looks alike at all densities; leave peak_density out")
