"""Light and times of a film's file: the sections [source] and [times]."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.inverse.section import Document, Section, told
from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError
from excidiff.solver.source import FWHM, gaussian_spot

KINDS = {
    "spot": ("fwhm", "centre", "total", "peak_density"),
    "uniform": ("density",),
    "file": ("file", "unit", "total"),
}
LIGHT = ("kind", "pulse", "period", "width")
MOST = 1_000_000  # times


class Light:
    """What [source] says of the light. `course`: "continuous", "single" or "train"; `width`, `period` of pulses in ns.

    Raises `InputError` for what is missing or contradicts itself.
    """

    def __init__(self, document: Document, table: Any) -> None:
        keys = (*LIGHT, *dict.fromkeys(key for keys in KINDS.values() for key in keys))
        self.section = Section(document, "source", table, keys)
        self.course, self.width, self.period = _course(self.section)

    def on(self, grid: Grid) -> Float[Array, "rows columns"]:
        """Excitons per µm² after a pulse, or per µm² and ns under continuous light."""
        return _source(self.section, grid, continuous=self.course == "continuous")


def read_times(document: Document, table: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(times, edges) of [times] in ns; at most one of them is not None.

    Raises `InputError` for what does not rise, and where there is more than one way to say when.
    """
    if table is None:
        return None, None
    section = Section(document, "times", table, ("at", "start", "stop", "count", "edges"))
    ways = [("at",), ("start", "stop", "count"), ("edges",)]
    given = [way for way in ways if any(key in section for key in way)]
    if len(given) != 1:
        raise InputError(
            f"{document.file}: [times] takes at, or start, stop and count, or the edges of gates; "
            f"{'give one of them' if not given else 'not ' + ' and '.join(way[0] for way in given)}"
        )
    way = given[0][0]
    if way == "start":
        start, stop = section.number("start", "time", zero=True), section.number("stop", "time")
        count = section.integer("count")
        if not 2 <= count <= MOST or stop <= start:
            many = f"{count} times from {start:g} to {stop:g} ns"
            raise section.fault("count", f": {many}; expected rising times, from two to {MOST} of them")
        return np.linspace(start, stop, count), None
    values = np.array(section.numbers(way, "time", zero=True))
    if (np.diff(values) <= 0).any():
        late = int(np.argmax(np.diff(values) <= 0))
        raise section.fault(way, f": {values[late + 1]:g} ns comes after {values[late]:g} ns; expected rising times")
    if way == "edges" and len(values) < 2:
        raise section.fault(way, ": one time; a gate has two edges")
    return (values, None) if way == "at" else (None, values)


def _course(section: Section) -> tuple[str, float | None, float | None]:
    """How the light runs in time: "continuous", "single" or "train"; width and period of its pulses."""
    if "pulse" in section and "period" in section:
        raise section.fault("period", ": a train of pulses; leave pulse out, or the period if one pulse is meant")
    if "period" in section:
        course, period = "train", section.number("period", "time")
    else:
        course, period = section.choice("pulse", ("continuous", "single")), None
    width = section.number("width", "time", None)
    if width is not None and course == "continuous":
        raise section.fault("width", ": the duration of a pulse, and the light is continuous; leave it out")
    return course, width, period


def _source(section: Section, grid: Grid, *, continuous: bool) -> Float[Array, "rows columns"]:
    """Excitons per µm² after a pulse, or per µm² and ns under continuous light."""
    kind = section.choice("kind", tuple(KINDS), "file") if "file" in section else section.choice("kind", tuple(KINDS))
    for key in section.table:
        if key not in (*LIGHT, *KINDS[kind]):
            raise section.fault(key, f': kind = "{kind}" has no such key; it has {", ".join(KINDS[kind])}')
    dense, whole = ("generation_density", "generation") if continuous else ("density", "excitons")
    if kind == "uniform":
        return jnp.full(grid.shape, section.number("density", dense))
    if kind == "file":
        return _image(section, grid, dense, whole)
    fwhm = section.number("fwhm", "fwhm")
    centre = tuple(section.numbers("centre", "position", 2)) if "centre" in section else (0.0, 0.0)
    if ("total" in section) == ("peak_density" in section):
        both = "not both" if "total" in section else "one of them is needed"
        raise section.fault("total", f": how bright the spot is, as its total or as its peak_density; {both}")
    if "total" in section:
        total = section.number("total", whole)
    else:
        total = section.number("peak_density", dense) * _excitons_per_peak(grid, fwhm, centre)
    with told(section.document.file):
        return gaussian_spot(grid, fwhm=fwhm, total=total, centre=centre)


def _excitons_per_peak(grid: Grid, fwhm: float, centre: tuple[float, ...]) -> float:
    """∫ e^{−r²/2σ²} over the grid, µm²: the total of a spot whose peak is one. An axis of one cell has no profile."""
    total, scale = 1.0, math.sqrt(2.0) * fwhm / FWHM
    for axis, middle in zip((1, 0), centre, strict=True):
        half = float(grid.extent[axis]) / 2
        ends = [math.erf((end - middle) / scale) for end in (half, -half)]
        inside = 1.0 if grid.periodic[axis] else (ends[0] - ends[1]) / 2
        total *= 2 * half if grid.shape[axis] == 1 else math.sqrt(math.pi) * scale * inside
    return total


def _image(section: Section, grid: Grid, dense: str, whole: str) -> Float[Array, "rows columns"]:
    """A map of the light: as it stands, or scaled to a total."""
    if "unit" in section and "total" in section:
        raise section.fault("unit", ": of the map's values, and total scales them to another size; give one of the two")
    file = section.text("file")
    quantity = None if "total" in section else dense
    values = section.map("file", quantity, file, section.text("unit") if "unit" in section else None).values
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        cell = tuple(int(i) for i in np.argwhere(bad)[0])
        raise section.fault("file", f": {file} is {values[cell]:g} at {cell}; light is finite and not negative")
    if not values.any():
        raise section.fault("file", f": {file} is zero everywhere; there is no light")
    scale = section.number("total", whole) / (values.sum() * float(grid.cell_area)) if "total" in section else 1.0
    return jnp.asarray(values * scale)
