"""Spectra with the places they were taken at, as a file has them: from tables, and from arrays with axes.

A table has places down and colours across, or the other way round, and names both axes in its corner. Of an array with
axes every order is read; which axis is which follows from its unit and name (`files.axes`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from excidiff.inverse.files.axes import Labelled
from excidiff.inverse.files.formats import read_axes, split_member
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.tables import read_columns
from excidiff.inverse.files.units import length_unit
from excidiff.solver.solution import InputError

_NAME = re.compile(r"(?P<what>[A-Za-zλ ]+?)[\s_(\[/]*(?P<unit>nm|um|µm|mev|ev|mm)?[\s)\]]*", re.IGNORECASE)
_COLOURS = ("wavelength", "lambda", "λ", "energy", "photon energy")
COLOUR_UNITS = ("nm", "ev", "mev")


@dataclass(frozen=True, eq=False)
class Placed:
    """Numbers (y, x, colour) at places `y`, `x` (µm, rising); `colours` in `unit`. A line has one y, which is 0.

    where: in words, from which axes of the file.
    """

    values: np.ndarray
    y: np.ndarray
    x: np.ndarray
    colours: np.ndarray
    unit: str
    where: tuple[str, ...]


def read_placed(path: str | Path, *, max_pixels: int = MAX_PIXELS, instead: np.ndarray | None = None) -> Placed:
    """Read spectra with their places; `instead`: an array of the file's own shape, to be arranged like its numbers.

    Raises InputError for axes without names or units, for an axis of time, and for files that have no axes.
    """
    file, member = split_member(str(path))
    labelled = read_axes(file, member, max_pixels=max_pixels)
    if labelled is None:
        return _from_table(file, max_pixels, instead)
    return _from_axes(labelled, file.name, instead)


def has_spectra_at_places(path: str | Path) -> bool:
    """Whether a file is an array of spectra over a map of places; only a file with axes can be one."""
    file, member = split_member(str(path))
    found = read_axes(file, member) if file.exists() else None
    kinds = [] if found is None else [axis.kind for axis in found.axes if axis.values.size > 1]
    return {"x", "y"} <= {*kinds} and bool({"wavelength", "energy"} & {*kinds})


def _from_axes(found: Labelled, name: str, instead: np.ndarray | None) -> Placed:
    """An array with axes in any order, turned to (y, x, colour)."""
    values = _own(found.values, instead, name)
    kept = [i for i, axis in enumerate(found.axes) if axis.values.size > 1 or axis.kind in ("wavelength", "energy")]
    axes = [found.axes[i] for i in kept]
    kinds = [axis.kind for axis in axes]
    if "time" in kinds:
        raise InputError(
            f"{name}: it has an axis of time, {axes[kinds.index('time')].name!r}: a streak image, which is read with "
            "read_streak"
        )
    colour = next((kind for kind in ("wavelength", "energy") if kind in kinds), "wavelength")
    parts = {"colour": found.axis(colour)}
    parts |= {kind: found.axis(kind) for kind in ("y", "x") if kind in kinds}
    if len(parts) == 1:
        found.axis("x")  # says which axes there are
    if len(parts) != len(axes):
        strange = next(axis for axis in axes if not any(axis is part for part in parts.values()))
        raise InputError(
            f"{name}: nothing tells what its axis {strange.name!r} is; spectra have places (x, y) and wavelengths or "
            "energies: cut it, or name it where the file was made"
        )
    order = [next(i for i, axis in enumerate(found.axes) if axis is part) for part in parts.values()]
    rest = [i for i in range(values.ndim) if i not in order]
    turned = np.transpose(values, (*rest, *order[1:], order[0])).reshape(
        [values.shape[i] for i in (*order[1:], order[0])]
    )
    if "x" not in parts:  # a line along y is a line
        parts["x"] = parts.pop("y")
    if "y" not in parts:
        turned = turned[None]
    for dimension, kind in enumerate(("y", "x")):
        if kind in parts and parts[kind].values[0] > parts[kind].values[-1]:
            turned = np.flip(turned, dimension)
    y, x = (np.sort(parts[kind].values) if kind in parts else np.zeros(1) for kind in ("y", "x"))
    where = tuple(f"{parts[kind].name}: {parts[kind].told}" for kind in ("y", "x", "colour") if kind in parts)
    return Placed(turned.astype(float), y, x, parts["colour"].values, parts["colour"].unit, where)


def _from_table(file: Path, max_pixels: int, instead: np.ndarray | None) -> Placed:
    """A table with both axes."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    names, values = read_columns(file, max_pixels=max_pixels)
    corner = re.split(r"[\\|]", names[0]) if names else []
    if len(corner) != 2:
        raise InputError(
            f"{file.name}: its corner does not name both axes; write places and colours with their units, such as "
            r'"position_um\wavelength_nm", before the first colour'
        )
    axes = [_axis(word, file.name) for word in corner]
    if sum(colour for colour, _ in axes) != 1:
        raise InputError(f"{file.name}: its axes are {' and '.join(corner)}; one must be places, one colours")
    try:
        above = np.array([float(name) for name in names[1:]])
    except ValueError:
        raise InputError(f"{file.name}: the first row is no axis of numbers; export it with its axes") from None
    (down_is_colour, down), (_, across) = axes
    counts = _own(values[:, 1:], instead, file.name)
    if down_is_colour:
        places, colours, unit, counts = (length_unit(across) or 1.0) * above, values[:, 0], down, counts.T
    else:
        places, colours, unit = (length_unit(down) or 1.0) * values[:, 0], above, across
    where = (f"colours in {unit}, from the table's corner",)
    return Placed(counts[None], np.zeros(1), places, colours, unit, where)


def _own(values: np.ndarray, instead: np.ndarray | None, name: str) -> np.ndarray:
    if instead is None:
        return values
    if np.shape(instead) != values.shape:
        raise InputError(f"{name}: its numbers have the shape {values.shape}, the uncertainty {np.shape(instead)}")
    return np.asarray(instead, float)


def _axis(word: str, name: str) -> tuple[bool, str]:
    """(whether it is one of colours, its unit)."""
    found = _NAME.fullmatch(word.strip().replace("μ", "µ"))
    if found is None or not found["unit"]:
        raise InputError(f"{name}: the axis {word.strip()!r} has no unit; write it like position_um, wavelength_nm")
    unit = found["unit"].lower()
    colour = found["what"].strip(" _").lower() in _COLOURS or unit in COLOUR_UNITS[1:]
    if colour and unit not in COLOUR_UNITS:
        raise InputError(f"{name}: colours in {found['unit']}; give nm, eV or meV")
    return colour, unit
