"""An experiment written down: several measurements of one film in a TOML file, read as the options of one fit.

    model = "free"                        # or "mixture", with components = 2, of decays alone
    [excitation]
    laser = "laser.tif"                   # or laser_fwhm = "297 nm"; period = "25 ns" of the laser, or pulse = "single"
    [optics]
    psf_fwhm = "180 nm"
    pixel_size = "50 nm"
    magnification_error = "1 %"           # of the pixel size, if it is worth counting
    [[image]]
    file = "spot_*.tif"
    [[decay]]
    file = "decay.csv"
    irf = "irf.csv"                       # or irf_fwhm = "50 ps"
    [[spectral_map]]                      # of the same film, alone or beside images and decays
    file = "map.csv"
    collection_fwhm = "200 nm"
    [[raster]]                            # of pulses of several powers, each measurement with its peak_density
    file = "lifetimes.csv"
    quantity = "lifetime"                 # and what else `mapfile` says of a scan
    peak_density = "60 /um^2"
    [parameters]
    lifetime = {value = "5 ns", error = "0.1 ns"}     # or fixed = "5 ns"; or min and max

Paths count from the folder of the file. What is written on the command line beside it wins.
"""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from excidiff.inverse.files.noise import names_file
from excidiff.inverse.files.toml import check_keys, read_toml
from excidiff.inverse.options import FIXABLE
from excidiff.inverse.rastertable import RASTER, check_raster, moved_raster, written_about
from excidiff.inverse.settings import FitSettings
from excidiff.solver.solution import InputError

SECTIONS: dict[str, tuple[str, ...]] = {
    "excitation": ("laser", "laser_fwhm", "laser_wavelength", "period", "pulse", "exposure"),
    "optics": ("psf", "psf_fwhm", "emission_wavelength", "pixel_size", "magnification_error"),
    "camera": ("gain", "offset", "read_noise", "excess_noise", "dark", "flat", "mask", "region", "saturation"),
    "film": ("landscape", "temperature", "absorption"),
    "detection": ("background", "noise", "scale"),
    "intervals": ("interval", "draws", "seed"),
}
DENSITIES = ("peak_density", "peak_density_error")
KINDS: dict[str, tuple[str, ...]] = {
    "image": ("file", *DENSITIES),
    "frames": ("file", *DENSITIES, "frame_time", "pulse_time", "slit", "uncertainty"),
    "decay": (
        "file",
        *DENSITIES,
        "irf",
        "irf_fwhm",
        "aperture_fwhm",
        "column",
        "time_unit",
        "skip",
        "curve",
        "bands",
        "uncertainty",
    ),
    "spectral_map": (
        "file",
        *DENSITIES,
        "collection_fwhm",
        "line",
        "step",
        "slit",
        "wavelengths",
        "places",
        "uncertainty",
    ),
    "raster": (*RASTER, *DENSITIES),
}
ALONE = ("frames", "spectral_map")  # of which a fit has one, but of several powers
RANGE = ("start", "min", "max")
ABOUT = (*RANGE, "fixed", "tie", "value", "error")
PATHS = ("laser", "psf", "dark", "flat", "mask", "landscape", "absorption", "irf", "file")
RENAMED = {"column": "decay_column"}


def read_protocol(files: Sequence[str], options: Mapping[str, Any], lists: Mapping[str, Any]) -> FitSettings:
    """The settings of a fit from one experiment's file, and the `options` and `lists` given beside it.

    Raises `InputError` for a key that is unknown (with the nearest known one), of the wrong kind or not known to the
    fit yet, for patterns that match no file, and for images named outside the file, too.
    """
    if len(files) != 1:
        raise InputError(f"{', '.join(files)}: one experiment's file names all of its images; give it alone")
    path = Path(files[0])
    document, _ = read_toml(path, "give the .toml file of an experiment")
    if "raster_scan" in document:
        raise InputError(f"{path}: a scan is written [[raster]]")
    if "map" in document:
        raise InputError(f"{path}: [map] asks for a map of the film from many spots; give the file to excidiff map")
    return settings_of(path, document, options, lists)


def settings_of(
    path: Path, document: Mapping[str, Any], options: Mapping[str, Any], lists: Mapping[str, Any]
) -> FitSettings:
    """The settings that the tables of an experiment's file give, with those given beside it. Raises as above."""
    check_keys(path, document, ("model", "components", "parameters", *SECTIONS, *KINDS), "")
    found: dict[str, Any] = {key: _text(path, key, document[key]) for key in ("model", "components") if key in document}
    for name, keys in SECTIONS.items():
        table = _table(path, document.get(name, {}), f"[{name}]")
        check_keys(path, table, keys, f" in [{name}]")
        found |= {key: _text(path, f"[{name}] {key}", value) for key, value in table.items()}
    _timing(path, found)
    found |= _measurements(path, document) | _parameters(path, document)
    for key in (*PATHS, *(["uncertainty"] if names_file(found.get("uncertainty")) else [])):
        if key in found:
            found[key] = str(path.parent / found[key])
    added = {name: (*found.get(name, ()), *given) for name, given in lists.items() if name != "images"}
    return FitSettings(**{**found, **options, "images": found.get("images", ()), **added})


def _timing(path: Path, found: dict[str, Any]) -> None:
    """`pulse` says what the fit does anyway, or what it cannot do."""
    pulse = found.pop("pulse", None)
    if pulse not in (None, "single", "continuous"):
        raise InputError(f'{path}: [excitation] pulse = {pulse!r}; choose "single" or "continuous", or give a period')
    if pulse is not None and "period" in found:
        raise InputError(f"{path}: [excitation] has both pulse and period; a train of pulses has a period alone")


def _measurements(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Images, frames and decays as options."""
    found: dict[str, Any] = {}
    for kind, keys in KINDS.items():
        entries = document.get(kind, [])
        if not isinstance(entries, list):
            raise InputError(f"{path}: [{kind}] is one of perhaps several; write [[{kind}]]")
        files, shared, densities, about = [], {}, [], []
        for number, entry in enumerate(entries, 1):
            where = f"[[{kind}]] {number}"
            table = _table(path, entry, where)
            check_keys(path, table, keys, f" in {where}")
            if "file" not in table:
                raise InputError(f"{path}: {where} has no file")
            opened = _opened(path, _text(path, f"{where} file", table["file"]))
            if kind == "raster":
                about += [_about_scan(path, where, table)] * len(opened)
                table = {key: value for key, value in table.items() if key in ("file", *DENSITIES)}
            rest = {key: _text(path, f"{where} {key}", value) for key, value in table.items() if key != "file"}
            density, error = (rest.pop(key, None) for key in DENSITIES)
            if error is not None and density is None:
                raise InputError(f"{path}: {where} has an error of the peak density, but no peak density")
            if density is not None:
                whole = {"value": density, "error": error}
                text = density if error is None else _with_error(path, f"{where} peak_density", whole)
                densities += [text] * len(opened)
            files += opened
            if len(densities) not in (0, len(files)):
                raise InputError(f"{path}: some [[{kind}]] have a peak_density, others have none; give all of them one")
            if number > 1 and rest != shared:
                raise InputError(f"{path}: {where} differs from the first in more than its file; fit the two apart")
            shared = rest
        if kind == "raster" and files and not densities:
            raise InputError(
                f"{path}: [[raster]] without [map]: a scan is mapped, by excidiff map, or fitted as one of pulses of "
                "several powers, each with its peak_density"
            )
        if kind in ALONE and len(files) > 1 and not densities:
            raise InputError(f"{path}: several [[{kind}]] without peak_density; fit each by itself")
        if files:
            name = {"image": "images"}.get(kind, kind)
            for key, value in shared.items():
                if found.get(key, value) != value:
                    both = f"{key} = {value!r} and {key} = {found[key]!r} of another kind of data"
                    raise InputError(f"{path}: [[{kind}]] {both}: one fit has one of it; fit the two apart")
            if kind == "spectral_map" and "frames" in found and "uncertainty" in found:
                raise InputError(f"{path}: the uncertainty of [[frames]] beside [[spectral_map]]: fit the two apart")
            found |= {name: tuple(files)}
            found |= {RENAMED.get(key, key): value for key, value in shared.items()}
            found |= {f"{kind}_density": tuple(densities)} if densities else {}
            found |= {"raster_about": tuple(about)} if about else {}
    return found


def _about_scan(path: Path, where: str, table: Mapping[str, Any]) -> str:
    """What is said of one scan beside its file and density, its paths counted from the experiment's file."""
    own = {key: value for key, value in table.items() if key not in DENSITIES}
    check_raster(path, own, where)
    return written_about(moved_raster(own, lambda name: str(path.parent / name)))


def _parameters(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of each parameter, as the options fix, bound, start, prior, tie and lifetime."""
    fix, bound, begin, prior, tie, found = [], [], [], [], [], {}
    for name, entry in _table(path, document.get("parameters", {}), "[parameters]").items():
        where = f"[parameters] {name}"
        about = _table(path, entry if isinstance(entry, dict) else {"value": entry}, where)
        check_keys(path, about, ABOUT, f" in {where}")
        about = {key: _text(path, f"{where} {key}", value) for key, value in about.items()}
        kinds = [keys for keys in (("fixed",), ("tie",), ("value", "error"), RANGE) if set(keys) & set(about)]
        if len(kinds) != 1:
            raise InputError(f"{path}: {where}: say one of fixed, tie, value with its error, or start, min and max")
        if "start" in about:
            begin.append(f"{name}={about['start']}")
        if "fixed" in about:
            fix.append(f"{name}={about['fixed']}")
        elif "tie" in about:
            tie.append(name)
        elif "value" in about:
            text = about["value"] if "error" not in about else _with_error(path, where, about, FIXABLE.get(name))
            if name == "lifetime":
                found["lifetime"] = text
            elif "error" in about:
                prior.append(f"{name}={text}")
            else:
                raise InputError(f"{path}: {where}: a value without an error: give it one, or write fixed")
        elif "min" in about or "max" in about:
            bound.append(f"{name}={about.get('min', '')}..{about.get('max', '')}")
    lists = {"fix": fix, "bound": bound, "start": begin, "prior": prior, "tie": tie}
    return found | {name: tuple(entries) for name, entries in lists.items()}


def _with_error(path: Path, where: str, about: Mapping[str, str], measure: str | None = None) -> str:
    """ "5 ± 0.1 ns" of "5 ns" and "0.1 ns"."""
    (value, unit), (error, other) = (about[key].partition(" ")[::2] for key in ("value", "error"))
    if unit.strip() != other.strip() or not (unit.strip() or measure == "dimensionless"):
        raise InputError(
            f'{path}: {where}: give value and error in one unit, like {{value = "5 ns", error = "0.1 ns"}}'
        )
    return f"{value} ± {error} {unit.strip()}".strip()


def _opened(path: Path, pattern: str) -> list[str]:
    """The files of a pattern, which counts from the folder of the experiment's file, in order."""
    whole = str(path.parent / pattern)
    if not glob.has_magic(pattern):
        return [whole]
    found = sorted(glob.glob(whole))
    if not found:
        raise InputError(f"{path}: no file matches {pattern!r} beside it")
    return found


def _table(path: Path, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{path}: {where} is no table: write its keys below it, or in braces")
    return value


def _text(path: Path, where: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{path}: {where} = {value!r} must be a text or a number")
    return str(value)
