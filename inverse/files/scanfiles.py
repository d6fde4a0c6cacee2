"""From a file to a `RasterScan`: tables of positions, images, arrays with axes, and scans of a PicoQuant counter."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from excidiff.inverse.files.ages import Ages, read_ages
from excidiff.inverse.files.columns import TIME_UNIT, read_time_unit
from excidiff.inverse.files.formats import file_hash, split_member
from excidiff.inverse.files.lattice import Lattice, from_raster, names_places, read_lattice
from excidiff.inverse.files.noise import Uncertainty, are_photons, names_file
from excidiff.inverse.files.picoquant import is_ptu
from excidiff.inverse.files.raster import MAX_PIXELS, told_size
from excidiff.inverse.files.readers import describe, with_given_size
from excidiff.inverse.files.scans import Quantity, RasterScan
from excidiff.inverse.files.units import parse_quantity
from excidiff.solver.solution import InputError

SLACK = 0.01  # by which a given step may differ from the places that a file lists
_ERROR = re.compile(r"(?:^|[^a-z])(err|errors?|sigma|uncertainty|uncertainties|std|stdev|σ)(?:[^a-z]|$)", re.IGNORECASE)
_ENERGY = re.compile(r"(?:^|[^a-z])(m?ev)(?:[^a-z]|$)", re.IGNORECASE)
_LIFETIME = re.compile(r"(?:^|[^a-z])(life[\s_-]?times?|tau|τ)(?:[^a-z]|$)", re.IGNORECASE)


def read_raster_scan(
    path: str | Path,
    *,
    step: str | float | Sequence[float] | None = None,
    quantity: Quantity = "intensity",
    uncertainty: Uncertainty | None = None,
    photons: str | Path | np.ndarray | None = None,
    mask: str | Path | np.ndarray | None = None,
    mask_nonfinite: bool = False,
    collection_fwhm: str | float | None = None,
    gain: float | None = None,
    offset: float = 0.0,
    column: str | None = None,
    channel: int | None = None,
    time_unit: str | None = None,
    irf: str | Path | None = None,
    pulse_time: str | float | None = None,
    dark: float = 0.0,
    max_pixels: int = MAX_PIXELS,
) -> RasterScan:
    r"""Read a scan: from a table, an image (TIFF, .npy and others of `read_image`), an array with axes, or a .ptu.

    A table lists positions and numbers under names, "x_um,y_um,counts,error" or "x_um,y_um,lifetime_ns,error_ns,counts"
    in any order, every position once; or it is a matrix with both axes, and "y_um\x_um" in its corner: what stands
    before the bar runs down the rows. Of other files the step comes from their axes or tags.
    step: from one position to the next, "200 nm", µm, or a pair (y, x); it wins over tags, with a note, and may not
    contradict places that the file lists. column: of several columns of numbers, the one that is meant; channel: of a
    .ptu, the detector. time_unit: of lifetimes, "ns" or "ps", where the file does not say.
    uncertainty: in the file's own unit, a number, an array or file of the same form; a column whose name says so (err,
    sigma, std, uncertainty) is one. photons: of lifetimes, and mask: not zero where used, likewise.
    Lifetimes of a .ptu are the mean ages of the photons of each pixel, from the pulse on: where `irf` has its mean, a
    response that was measured on the same axis, or at pulse_time in ns, or where the light rises. dark: photons of each
    pixel that come at all times alike, which are taken off.
    gain: counts per photon, 1 if not given, and then intensities must be whole numbers or have an uncertainty.

    Raises InputError for a step or unit that nobody states, for numbers that are neither photons nor have an
    uncertainty, for places that are uneven, missing or repeated, for damaged files, and what `RasterScan` refuses.
    """
    file, name = split_member(str(path))[0], split_member(str(path))[0].name
    if quantity not in get_args(Quantity):
        raise InputError(f'{name}: quantity = {quantity!r}; choose "intensity", "lifetime" or "energy"')
    collection = None if collection_fwhm is None else parse_quantity(collection_fwhm, "fwhm", name="collection_fwhm")
    of_ages = {"irf": irf, "pulse_time": pulse_time, "dark": dark or None}
    if quantity == "lifetime" and is_ptu(file):
        others = {"uncertainty": uncertainty, "photons": photons, "gain": gain, "offset": offset or None,
                  "column": column, "time_unit": time_unit}  # fmt: skip
        _refuse(others, f"{name}: its lifetimes are the mean ages of its own photons")
        ages = read_ages(file, channel=channel, irf=irf, pulse_time=pulse_time, dark=dark, max_values=max_pixels)
        return _of_ages(ages, path, step, mask, collection, max_pixels)
    _refuse(of_ages, f"{name}: only lifetimes of a .ptu are found from photons")
    found = read_lattice(path, channel=channel, max_pixels=max_pixels)
    size, told = _step(found, step, name)
    titles = _columns(list(found.numbers), quantity, column, name)
    scale, error_scale, unit = _scales(titles, quantity, time_unit, name)
    values = scale * found.column(titles["values"])
    given = {"uncertainty": uncertainty, "photons": photons, "mask": mask}
    maps = {what: _companion(value, found, what, name, max_pixels) for what, value in given.items()}
    told += _column_notes(titles, maps, quantity, unit)
    errors, counted, chosen = maps["uncertainty"], maps["photons"], maps["mask"]
    if errors is not None:
        errors = scale * errors
    elif "uncertainty" in titles:
        errors = error_scale * found.column(titles["uncertainty"])
    if counted is None and "photons" in titles:
        counted = found.column(titles["photons"])
    used = np.ones(values.shape, bool) if chosen is None else np.nan_to_num(chosen) != 0
    missing = used & ~np.isfinite(values)
    if mask_nonfinite and missing.any():
        used &= ~missing
        told.append(f"{np.count_nonzero(missing)} positions that are not finite masked")
    if quantity == "intensity" and errors is None:
        told.append(_photon_note(values[used], gain, offset, name))
    return RasterScan(
        values=values,
        step=size,
        quantity=quantity,
        uncertainty=errors,
        photons=counted,
        collection=collection,
        mask=used,
        gain=1.0 if gain is None else gain,
        offset=offset,
        file=str(path),
        sha256=file_hash(file),
        notes=tuple(told),
    )


def _refuse(given: Mapping[str, Any], why: str) -> None:
    """What the values of this scan make no use of."""
    useless = [key for key, value in given.items() if value is not None]
    if useless:
        raise InputError(f"{why}; leave {' and '.join(useless)} out")


def _of_ages(
    found: Ages, path: str | Path, step: Any, mask: Any, collection: float | None, max_pixels: int
) -> RasterScan:
    """The scan of mean ages of photons."""
    file = Path(path)
    places = from_raster(found.raster, file.name)
    size, told = _step(places, step, file.name)
    chosen = _companion(mask, places, "mask", file.name, max_pixels)
    used = found.used if chosen is None else found.used & (np.nan_to_num(chosen) != 0)
    return RasterScan(
        values=np.where(used, found.ages, 0.0),
        step=size,
        quantity="lifetime",
        uncertainty=np.where(used, found.errors, np.inf),
        photons=found.photons,
        collection=collection,
        mask=used,
        file=str(path),
        sha256=file_hash(file),
        notes=(*told, *found.notes),
    )


def describe_scan(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> dict[str, object] | None:
    """Say what a table of positions holds, one entry per line of `excidiff info`; None for any other file."""
    if not names_places(path, max_pixels=max_pixels):
        return None
    try:
        found = read_lattice(path, max_pixels=max_pixels)
    except InputError as error:
        return {**describe(path, max_pixels=max_pixels), "no raster scan": str(error)}
    y, x = found.places.shape
    entries: dict[str, object] = {
        "file": str(path),
        "format": found.format,
        "holds": "a raster scan, one number for each position of the laser: read_raster_scan",
        "positions": f"{y} rows × {x} columns, {told_size(found.size.size)} apart",
    }
    entries |= dict(place.split(": ", 1) for place in found.where)
    for title in found.numbers:
        values = found.column(title)
        seen = values[np.isfinite(values)]
        words = f"{seen.min():g} to {seen.max():g}" if seen.size else "no number"
        words += f", {seen.sum():g} in all" if are_photons(seen) else ""
        lost = values.size - seen.size
        entries[title or "numbers"] = words + (f"; {lost} are not finite" if lost else "")
    return entries


def _step(found: Lattice, given: str | float | Sequence[float] | None, name: str) -> tuple[Any, list[str]]:
    """(step (y, x) in µm, what there is to say of it and of the axes)."""
    settled = with_given_size(found.size, given, name, option="step", what="step")
    if found.x is not None and found.size.size is not None and given is not None:
        if not np.allclose(settled.size or 0.0, found.size.size, rtol=SLACK, atol=0):
            raise InputError(
                f"{name}: its places are {told_size(found.size.size)} apart ({found.size.origin}), the step given is "
                f"{told_size(settled.size)}; leave the step out, or mend the places"
            )
        settled = found.size
    if settled.problem:
        raise InputError(f'{name}: {settled.problem}; give the right one, as in step="200 nm"')
    if settled.size is None:
        raise InputError(
            f'{name}: the step is not known ({settled.origin}); give it with its unit, as in step="200 nm"'
        )
    told = (
        f"steps of {told_size(settled.size)}, {'' if settled.origin.startswith('given') else 'from '}{settled.origin}"
    )
    return settled.size, [told, *found.where, *settled.notes]


def _columns(names: Sequence[str], quantity: Quantity, wanted: str | None, name: str) -> dict[str, str]:
    """Which columns are the values, and where there are such, their uncertainty and the photons of lifetimes."""
    errors = [title for title in names if _ERROR.search(title)]
    plain = [title for title in names if title not in errors]
    lived = [title for title in plain if _LIFETIME.search(title)]
    timed = [title for title in plain if TIME_UNIT.search(title)]
    counted = [title for title in plain if title not in lived]
    if len(counted) > 1:
        counted = [title for title in counted if title not in timed]
    left = counted if quantity == "intensity" else lived or timed or [title for title in plain if not title]
    if quantity == "energy":
        left = [title for title in plain if _ENERGY.search(title)]
    if wanted is not None and wanted not in names:
        raise InputError(f"{name}: there is no column {wanted!r}; there are: {', '.join(names)}")
    if wanted is None and len(left) != 1:
        raise InputError(
            f"{name}: {len(left) or 'none'} of its columns ({', '.join(names)}) can be the {quantity}; say which one, "
            'column=, or read another quantity="…"'
        )
    found = {"values": left[0] if wanted is None else wanted}
    if quantity == "lifetime" and len(counted) == 1 and counted[0] not in left:
        found["photons"] = counted[0]
    own = _errors_of(found["values"], errors, [title for title in plain if title != found["values"]], quantity)
    if len(own) > 1:
        raise InputError(f"{name}: several columns are uncertainties ({', '.join(own)}); keep that of the {quantity}")
    return found | ({"uncertainty": own[0]} if own else {})


def _errors_of(values: str, errors: Sequence[str], others: Sequence[str], quantity: Quantity) -> list[str]:
    """The columns of uncertainty that can be those of `values`: named like it, or else not like any other."""
    named = [title for title in errors if values and values.lower() in title.lower() and title != values]
    if quantity == "lifetime":
        named = named or [title for title in errors if _LIFETIME.search(title)]
    free = [title for title in errors if not any(other and other.lower() in title.lower() for other in others)]
    if quantity == "intensity":
        free = [title for title in free if not _LIFETIME.search(title)]
    return named or [title for title in free if title != values]


def _scales(
    titles: Mapping[str, str], quantity: Quantity, time_unit: str | None, name: str
) -> tuple[float, float, str]:
    """(ns or meV per unit of the values, of their uncertainty, where that comes from); 1 of intensities."""
    if quantity == "intensity":
        return 1.0, 1.0, ""
    if quantity == "energy":
        return _energy_scales(titles, name)
    scale, unit = read_time_unit((titles["values"],), time_unit, name)
    error = titles.get("uncertainty", "")
    return scale, read_time_unit((error,), None, name)[0] if TIME_UNIT.search(error) else scale, unit


def _energy_scales(titles: Mapping[str, str], name: str) -> tuple[float, float, str]:
    """The same of energies, whose unit stands in the column's name."""
    found = [_ENERGY.search(titles.get(what, "")) for what in ("values", "uncertainty")]
    if found[0] is None:
        raise InputError(f'{name}: column {titles["values"]!r} has no unit; name it as in "energy (meV)"')
    sizes = [1.0 if match is None else {"mev": 1.0, "ev": 1e3}[match[1].lower()] for match in found]
    return sizes[0], sizes[1] if found[1] else sizes[0], f"its column, {titles['values']}"


def _companion(value: Any, found: Lattice, what: str, name: str, max_pixels: int) -> np.ndarray | None:
    """(y, x) of what goes with the scan: a number, an array in the file's form, or a file with the same places."""
    if value is None:
        return None
    if not isinstance(value, str | Path):
        array = np.asarray(value)
        return found.arranged(array, what, name) if array.ndim else np.full(found.places.shape, array.item())
    if what == "uncertainty" and not names_file(value):
        try:
            return np.full(found.places.shape, float(str(value)))
        except ValueError:
            raise InputError(f"{name}: uncertainty {value!r}; of a scan give a number, an array or a file") from None
    other = read_lattice(value, max_pixels=max_pixels)
    if len(other.numbers) != 1:
        raise InputError(f"{value}: it has columns {', '.join(other.numbers)}; a file of the {what} has one of numbers")
    title = next(iter(other.numbers))
    if other.x is None:
        return found.arranged(other.numbers[title], what, name)
    if not found.same_places(other):
        raise InputError(f"{value}: its places are not those of {name}; give the {what} of the same scan")
    return other.column(title)


def _column_notes(
    titles: Mapping[str, str], maps: Mapping[str, np.ndarray | None], quantity: Quantity, unit: str
) -> list[str]:
    """What was taken from which column, and what was given instead."""
    words = {"values": quantity, "uncertainty": "uncertainty", "photons": "photons"}
    told = [f"{words[what]} in column {title!r}" for what, title in titles.items() if title and maps.get(what) is None]
    told += [f"{what} as given" for what, value in maps.items() if value is not None]
    return told + ([f"{quantity} in {unit}"] if unit else [])


def _photon_note(values: np.ndarray, gain: float | None, offset: float, name: str) -> str:
    """How counts become photons. Raises InputError where nothing says that they are."""
    if gain is not None:
        return f"photons = (counts − {offset:g})/{gain:g}, as given"
    whole = ~np.isfinite(values) | (values == np.floor(values))
    if not whole.all():
        raise InputError(
            f"{name}: {np.count_nonzero(~whole)} of its numbers are no whole ones, so that they are not counts of "
            "photons and nothing tells their noise; give the gain (counts per photon) or an uncertainty"
        )
    return f"whole numbers{f' less {offset:g}' if offset else ''}: taken for photons"
