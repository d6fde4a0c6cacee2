"""A film's file, `film.toml`: a grid, a medium, light and times in the names of the library, read into its objects.

    [grid]             shape, spacing, periodic
    [medium]           diffusivity, lifetime, landscape, temperature, annihilation, auger
    [medium.traps]     density, capture, release, lifetime; rate for traps that never fill; [[medium.traps]] for several
    [medium.disorder]  width, relaxation, bins, mobility
    [medium.surface]   left, right, bottom, top
    [medium.emission]  radiative, bimolecular, carriers, trap_yield
    [source]           kind = "spot": fwhm, centre, total or peak_density; "uniform": density; "file": file, and unit or
                       total; pulse = "continuous" or "single", or period = "25 ns"; width of the pulse
    [times]            at, or start, stop and count; or edges of gates

Continuous light means generation (excitons per time), a pulse what it leaves behind (excitons). The width of a pulse is
its duration's FWHM; its maximum then comes 1.5 widths after t = 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.files.toml import check_keys, read_toml
from excidiff.inverse.illumination import Light, read_times
from excidiff.inverse.memory import half_of_memory
from excidiff.inverse.results.wording import counted
from excidiff.inverse.section import Document, Section, told
from excidiff.solver.disorder import MOBILITIES, Disorder
from excidiff.solver.emission import Emission
from excidiff.solver.grid import Grid
from excidiff.solver.medium import SIDES, Medium, Surface, check_medium
from excidiff.solver.solution import InputError
from excidiff.solver.traps import Traps

MEDIUM = ("diffusivity", "lifetime", "landscape", "temperature", "annihilation", "auger", "traps", "disorder",
          "surface", "emission")  # fmt: skip
BYTES_PER_CELL = 500  # of a solve, its hierarchy, vectors and maps: 510 were measured on a million cells
COPIES = 5  # of every frame, in the solver and out of it: 3 were measured where modes are exact, 5 to 6 where it steps

EXAMPLE = """\
[grid]
shape = [128, 128]            # rows, columns
spacing = "25 nm"

[medium]
diffusivity = "0.3 cm^2/s"    # or a map: { file = "d.npy", unit = "cm^2/s" }
lifetime = "5 ns"

# [medium.traps]              # several species: [[medium.traps]] for each
# density = "2e10 cm^-2"
# capture = "5e-3 um^2/ns"

[source]
kind = "spot"                 # or "uniform", or "file"
pulse = "single"              # or "continuous", or period = "25 ns"
fwhm = "300 nm"
peak_density = "4e10 cm^-2"

[times]
at = ["0 ns", "1 ns", "5 ns", "20 ns"]
"""


@dataclass(frozen=True, eq=False)
class Film:
    """What a film's file asks for. `source`: excitons per µm² after a pulse, per µm² and ns under continuous light.

    `light`: "continuous", "single" or "train". `width` of the pulse, `period`, `times`, `edges`: ns, or None. `maps`:
    the files it was read from beside its own, each with its key and SHA-256.
    """

    file: Path
    text: str
    grid: Grid
    medium: Medium
    source: Float[Array, "rows columns"]
    light: str
    width: float | None
    period: float | None
    times: Float64[np.ndarray, " times"] | None
    edges: Float64[np.ndarray, " edges"] | None
    maps: tuple[dict[str, str], ...]


def read_film(path: str | Path, *, memory: float | None = None) -> Film:
    """Read a film's file, and the maps it names.

    Raises `InputError`, naming section and key, for what is unknown, missing, contradictory, out of range, or would
    need more than `memory` bytes (half of the machine's).
    """
    file = Path(path)
    table, text = read_toml(file, "give a film's file; excidiff simulate --help shows one")
    check_keys(file, table, ("grid", "medium", "source", "times"), "")
    document = Document(file)
    grid = document.grid = _grid(document, table.get("grid"))
    times, edges = read_times(document, table.get("times"))
    light = Light(document, table.get("source"))
    section = Section(document, "medium", table.get("medium"), MEDIUM)
    frames = len(times) if times is not None else len(edges) - 1 if edges is not None else 1
    _check_memory(section, grid, frames, half_of_memory() if memory is None else memory)
    medium = _medium(section)
    with told(file):
        check_medium(medium, grid)
    _check_question(document, medium, light.course, times, edges)
    source = light.on(grid)
    return Film(
        file, text, grid, medium, source, light.course, light.width, light.period, times, edges, tuple(document.maps)
    )


def _grid(document: Document, table: Any) -> Grid:
    section = Section(document, "grid", table, ("shape", "spacing", "periodic"))
    shape = section.pair("shape", int, "[256, 256]")
    if isinstance(section.need("spacing", '"20 nm"'), list):
        spacing = tuple(section.numbers("spacing", "spacing", 2))
    else:
        spacing = section.number("spacing", "spacing")
    with told(document.file):
        return Grid(shape, spacing, section.pair("periodic", bool, "[true, false]", (False, False)))


def _medium(section: Section) -> Medium:
    document = section.document
    parts: dict[str, tuple[Callable[[Section], Any], tuple[str, ...]]] = {
        "disorder": (_disorder, ("width", "relaxation", "bins", "mobility")),
        "surface": (_surface, SIDES),
        "emission": (_emission, ("radiative", "bimolecular", "carriers", "trap_yield")),
    }
    read = {
        name: make(Section(document, f"medium.{name}", section.table[name], keys))
        for name, (make, keys) in parts.items()
        if name in section
    }
    with told(document.file):
        return Medium(
            section.fields("diffusivity", "diffusivity"),
            section.field("lifetime", "lifetime", infinite=True),
            section.field("landscape", "energy", None),
            section.number("temperature", "temperature", 295.0),
            annihilation=section.field("annihilation", "capture", None, zero=True),
            auger=section.field("auger", "auger", None, zero=True),
            traps=_traps(section),
            **read,
        )


def _traps(section: Section) -> tuple[Traps, ...]:
    """Each species of [medium.traps], or of [[medium.traps]]."""
    found = section.table.get("traps", [])
    several = isinstance(found, list)
    species = []
    for i, table in enumerate(found if several else [found]):
        name = f"medium.traps[{i}]" if several else "medium.traps"
        one = Section(section.document, name, table, ("density", "capture", "release", "lifetime", "rate"))
        if "rate" in one and ("density" in one or "capture" in one):
            raise one.fault("rate", ": traps that fill have density and capture, traps that never do a rate; not both")
        if not ("rate" in one or "density" in one or "capture" in one):
            raise one.fault("density", " and capture are missing; or give a rate, for traps that never fill")
        rest = one.field("release", "rate", 0.0, zero=True), one.field("lifetime", "lifetime", np.inf, infinite=True)
        with told(section.document.file, name):
            if "rate" in one:
                species.append(Traps.linear(one.field("rate", "rate", zero=True), *rest))
                continue
            density, capture = one.field("density", "density", zero=True), one.field("capture", "capture", zero=True)
            species.append(Traps(density, capture, *rest))
    return tuple(species)


def _disorder(section: Section) -> Disorder:
    with told(section.document.file):
        return Disorder(
            section.number("width", "energy"),
            section.number("relaxation", "rate", zero=True),
            section.integer("bins", 32),
            section.choice("mobility", MOBILITIES, MOBILITIES[0]),
        )


def _surface(section: Section) -> Surface:
    with told(section.document.file):
        return Surface(*(section.number(side, "velocity", 0.0, zero=True, infinite=True) for side in SIDES))


def _emission(section: Section) -> Emission:
    with told(section.document.file):
        return Emission(
            section.field("radiative", "rate", zero=True),
            section.field("bimolecular", "capture", None, zero=True),
            section.field("carriers", "density", 0.0, zero=True),
            section.fields("trap_yield", "dimensionless", zero=True) if "trap_yield" in section else None,
        )


def _check_question(document: Document, medium: Medium, course: str, times: Any, edges: Any) -> None:
    """Refuse what the solver has no answer for."""
    if course == "single" and times is None and edges is None and not medium.linear:
        raise InputError(
            f"{document.file}: [times] is missing: in a film with annihilation or traps that fill, what a pulse gives "
            "in all is not a steady state; give the edges of a gate, the last one late enough, or times to look at"
        )
    if course == "train" and times is None and edges is None:
        raise InputError(
            f"{document.file}: [times] is missing: source.period makes a train of pulses; say when after a pulse to "
            "look (at), or over which gates to integrate (edges)"
        )


def _check_memory(section: Section, grid: Grid, frames: int, limit: float) -> None:
    """Refuse, before any map is made, what would not fit: frames × cells for each field that is written."""
    disorder, traps = section.table.get("disorder"), section.table.get("traps", [])
    bins = disorder.get("bins", 32) if isinstance(disorder, dict) else 0
    bins = bins if isinstance(bins, int) else 0
    species = len(traps) if isinstance(traps, list) else 1
    fields = 1 + bins + ("emission" in section) + (species + 1 if species else 0)
    cells = grid.shape[0] * grid.shape[1]
    need = cells * (BYTES_PER_CELL * max(1, bins) + 8.0 * COPIES * fields * frames)
    if need > limit:
        raise InputError(
            f"{section.document.file}: {frames} × {grid.shape[0]} × {grid.shape[1]} cells with "
            f"{counted(fields, 'field')} would need {need / 1e9:.3g} GB of memory, more than the {limit / 1e9:.3g} GB "
            "that are left to it; use fewer cells (grid.shape), times or bins, or a machine with more"
        )
