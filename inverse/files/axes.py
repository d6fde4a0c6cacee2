"""Axes with units: what the numbers of a measured array run over, time, wavelength, energy or place.

Files name their axes and units in many ways; here they become ns, nm (wavelengths) and µm (places), energies stay in
eV or meV, whichever is written. What an axis is follows from its unit, and of lengths from its name; it is never
guessed from its numbers. `Labelled` is a class of its own and no xarray.DataArray: an axis carries where it came from.
"""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.units import format_quantity, length_unit
from excidiff.solver.solution import InputError

TIMES = {"s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1.0, "ps": 1e-3, "fs": 1e-6}
KINDS = ("time", "wavelength", "energy", "x", "y")
EVEN = 1e-3  # of a step: by how much even steps may differ, which is rounding
NO_UNIT = ("", "none", "_none_", "<undefined>", "undefined", "dimensionless", "1", "px", "pixel", "pixels")
_LONG_TIMES = {
    f"{prefix}second": unit
    for prefix, unit in (("", "s"), ("milli", "ms"), ("micro", "us"), ("nano", "ns"), ("pico", "ps"), ("femto", "fs"))
}
_WAVELENGTH = re.compile(r"wave[\s_-]*length|lambda|λ", re.IGNORECASE)
_PLACES = {
    "y": {"y", "height", "row", "rows"},
    "x": {"x", "position", "distance", "width", "column", "columns", "scan"},
}


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of an array: its name, its unit ("" if none is known), its values, and in words where they came from."""

    name: str
    unit: str
    values: Float[np.ndarray, " n"]
    origin: str

    @property
    def kind(self) -> str | None:
        """One of `KINDS`, by its unit, and of lengths by its name; None if neither tells."""
        if self.unit == "ns":
            return "time"
        if self.unit in ("eV", "meV"):
            return "energy"
        return _length_kind(self.name) if length_unit(self.unit) is not None else None

    @property
    def step(self) -> float | None:
        """The distance of its values if they are even, else None."""
        steps = np.diff(self.values)
        even = steps.size > 0 and steps[0] != 0 and bool(np.allclose(steps, steps.mean(), rtol=EVEN, atol=0))
        return float(steps.mean()) if even else None

    @property
    def told(self) -> str:
        """Its range, unit, number of values and origin, in words."""
        step, ends = self.step, (self.write(float(self.values[0])), self.write(float(self.values[-1])))
        steps = f" in steps of {self.write(abs(step))}" if step else " in uneven steps" if self.values.size > 1 else ""
        unit = "" if self.unit else " (no unit)"
        return f"{ends[0]} to {ends[1]}{unit}, {self.values.size} values{steps}, from {self.origin}"

    def write(self, value: float) -> str:
        """One of its values, or a step, as people write it."""
        quantity = {"ns": "time", "µm": "length"}.get(self.unit)
        return format_quantity(value, quantity, digits=6) if quantity else f"{value:.6g} {self.unit}".rstrip()


@dataclass(frozen=True, eq=False)
class Labelled:
    """An array with its axes.

    values: in the file's own type. axes: one per dimension, in order. format: the file's, in words; file, sha256,
    notes: where it comes from, and what was found on the way.

    Raises InputError for axes that do not fit the array.
    """

    values: np.ndarray
    axes: tuple[Axis, ...]
    format: str
    file: str
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = tuple(axis.values.size for axis in self.axes)
        if lengths != self.values.shape:
            raise InputError(f"{self.file}: its axes have {lengths} values, its numbers the shape {self.values.shape}")

    def dimension(self, kind: str) -> int:
        """Which dimension is `kind` ("time", "wavelength", "energy", "x", "y"), or has just this name.

        Raises InputError that tells which axes there are if none or several are.
        """
        found = [i for i, axis in enumerate(self.axes) if axis.kind == kind] or [
            i for i, axis in enumerate(self.axes) if axis.name == kind
        ]
        if len(found) == 1:
            return found[0]
        there = "; ".join(f"{axis.name} [{axis.unit or 'no unit'}]" for axis in self.axes)
        many = f"{len(found)} axes are" if found else "no axis is"
        raise InputError(
            f"{self.file}: {many} {kind!r}; there are: {there}. Name the axis and its unit in the program that wrote it"
        )

    def axis(self, kind: str) -> Axis:
        """The axis that is `kind`, as `dimension` finds it. Raises InputError as well if it does not rise or fall."""
        axis = self.axes[self.dimension(kind)]
        steps = np.diff(axis.values)
        if not np.isfinite(axis.values).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise InputError(
                f"{self.file}: its axis {axis.name!r} neither rises nor falls throughout; mend it where it was made"
            )
        return axis


def make_axis(name: object, unit: object, values: np.ndarray, origin: str, *, place: int = 0) -> Axis:
    """An axis from a file's words, its unit turned into ns, nm or µm; dimension `place` is its name if it has none."""
    written = str(unit or "").strip().strip("\0").replace("μ", "µ")
    title = str(name or "").strip()
    title = f"axis {place}" if title.lower() in NO_UNIT else title
    house, scale = _house(title, written)
    values = np.asarray(values, dtype=float)
    return Axis(title, house, scale * values if scale != 1 else values, origin)


def numbered_axis(size: int, name: object, origin: str, *, place: int = 0) -> Axis:
    """An axis of which only the length is known: 0, 1, 2 …, without a unit."""
    return make_axis(name, "", np.arange(size), origin, place=place)


def choose_array(shapes: dict[str, tuple[int, ...]], wanted: str | None, name: str) -> str:
    """The name of the array to read: the `wanted` one, or the only one. Raises InputError that lists them."""
    listed = ", ".join(f"{key} {'×'.join(map(str, shape))}" for key, shape in list(shapes.items())[:8]) or "none"
    if wanted is not None:
        found = [key for key in shapes if key.strip("/") == wanted.strip("/")]
        if not found:
            raise InputError(f"{name}: it has no array called {wanted!r}; there are: {listed}")
        return found[0]
    if not shapes:
        raise InputError(f"{name}: it has no array with axes of its own; links to other files are not followed")
    if len(shapes) > 1:
        raise InputError(f"{name}: it has {len(shapes)} arrays with axes ({listed}); name one: {name}:NAME")
    return next(iter(shapes))


def _house(name: str, unit: str) -> tuple[str, float]:
    """(the unit it becomes, how many of it are one `unit`); a unit that is not known stays as it is."""
    if unit.lower() in NO_UNIT:
        return "", 1.0
    short = _LONG_TIMES.get(unit.lower().removesuffix("s"), unit)
    if short in TIMES:
        return "ns", TIMES[short]
    if unit.lower() in ("ev", "mev") and unit[0] != "M":
        return {"ev": "eV", "mev": "meV"}[unit.lower()], 1.0
    length, kind = length_unit(unit), _length_kind(name)
    if length is None or kind is None:
        return unit, 1.0
    return ("nm", float(f"{1e3 * length:.12g}")) if kind == "wavelength" else ("µm", length)


def _length_kind(name: str) -> str | None:
    """Whether a length of this name is a wavelength or a place; None if it does not tell."""
    if _WAVELENGTH.search(name):
        return "wavelength"
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((kind for kind, names in _PLACES.items() if words & names), None)
