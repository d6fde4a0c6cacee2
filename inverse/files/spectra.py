"""Spectra against position: `SpectralMap`, counts of a spectrometer along a line or over a map, from tables.

A spectrometer counts the light between the edges of its bins. They lie midway between neighbouring centres on the axis
that it gives, wavelength or energy, and are turned into energies by E = hc/λ edge by edge; the counts stay as they are:
a Jacobian would make numbers of them whose noise is no longer that of photons.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from excidiff.inverse.files.formats import file_hash
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.tables import read_columns
from excidiff.inverse.files.units import check_range, length_unit, parse_quantity
from excidiff.solver.solution import InputError

PLANCK_C = 1_239_841.984
"""h c in meV nm (CODATA 2018)."""
ENERGIES = {"mev": 1.0, "ev": 1e3}
FEWEST_COLOURS, FEWEST_PLACES = 8, 3
_NAME = re.compile(r"(?P<what>[A-Za-zλ ]+?)[\s_(\[/]*(?P<unit>nm|um|µm|mev|ev|mm)?[\s)\]]*", re.IGNORECASE)
_COLOURS = ("wavelength", "lambda", "λ", "energy", "photon energy")


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralMap:
    """Counts (y, x, colour) of a spectrometer that looked at places of a film one by one; of a line y has one row.

    x, y: µm, where it looked. edges: meV, (colours + 1,), between which each bin counts, in the order of the counts.
    step: µm, the size along x of the cell that each place stands for; slit: across it, along y; 0: a point.
    uncertainty: of the counts; with it their noise is Gaussian and they may have any sign.

    Raises InputError for numbers that are not finite, axes that are missing, of the wrong length or not monotonic, and
    photons below zero.
    """

    counts: Float[np.ndarray, "y x colour"]
    x: Float[np.ndarray, " x"]
    y: Float[np.ndarray, " y"]
    edges: Float[np.ndarray, " colour+1"]
    step: float
    slit: float
    uncertainty: Float[np.ndarray, "y x colour"] | None = None
    file: str = "spectral map"
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts, float)
        axes = {name: np.asarray(getattr(self, name), float) for name in ("y", "x", "edges")}
        wanted = (axes["y"].size, axes["x"].size, axes["edges"].size - 1)
        if counts.shape != wanted or any(axis.ndim != 1 for axis in axes.values()):
            raise InputError(f"{self.file}: counts of shape {counts.shape} on axes of {wanted} places and colours")
        if wanted[2] < FEWEST_COLOURS or wanted[0] * wanted[1] < FEWEST_PLACES:
            raise InputError(
                f"{self.file}: {wanted[0] * wanted[1]} places with {wanted[2]} colours; a spectral map has "
                f"{FEWEST_PLACES} places and {FEWEST_COLOURS} colours or more"
            )
        for name, axis in axes.items():
            steps = np.diff(axis)
            if not (np.isfinite(axis).all() and ((steps > 0).all() or (name == "edges" and (steps < 0).all()))):
                bad = int(np.argmax(~(steps > 0))) if steps.size else 0
                what = "its colours" if name == "edges" else f"its places along {name}"
                raise InputError(f"{self.file}: {what} do not rise steadily (number {bad + 2}); sort the table")
        errors = None if self.uncertainty is None else np.asarray(self.uncertainty, float)
        for name, values in (("counts", counts), ("uncertainty", errors)):
            if values is not None and (values.shape != wanted or not np.isfinite(values).all()):
                bad = np.argwhere(~np.isfinite(values))[:1].tolist()
                raise InputError(f"{self.file}: its {name} are not all finite {bad}; cut out or repair these bins")
        if errors is not None and not (errors > 0).all():
            raise InputError(f"{self.file}: an uncertainty of zero or less; every bin needs a positive one")
        if errors is None and (counts < 0).any():
            y, x, colour = (int(i) for i in np.argwhere(counts < 0)[0])
            raise InputError(
                f"{self.file}: {np.count_nonzero(counts < 0)} counts are negative, the first at place {x} of row {y}, "
                f"colour {colour}. Photons cannot do that: give the counts with their background, or an uncertainty"
            )
        if not counts.any():
            raise InputError(f"{self.file}: every bin is zero; the file holds no light")
        for name in ("step", "slit"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{self.file}: {name} = {getattr(self, name)!r}; give µm, zero or more")
        for name, values in (*axes.items(), ("counts", counts), ("uncertainty", errors)):
            object.__setattr__(self, name, values)

    @property
    def wavelength(self) -> Float64[np.ndarray, " colour"]:
        """The centres of the bins, nm."""
        return _middles(PLANCK_C / self.edges)

    @property
    def energy(self) -> Float64[np.ndarray, " colour"]:
        """The centres of the bins, meV."""
        return _middles(self.edges)


def read_spectral_map(
    path: str | Path,
    *,
    step: str | float | None = None,
    slit: str | float | None = None,
    uncertainty: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> SpectralMap:
    r"""Read spectra along a line from a table: places in the first column, colours in the first row.

    The corner names both axes with their units, "position_um\wavelength_nm" or "energy_eV\position_um": what stands
    before the bar runs down the rows. step: of the scan, the cell along the line that a place stands for ("50 nm", or
    µm), by default the distance of the places; slit: its width across the line, by default as good as none.
    uncertainty: a table of the same form.

    Raises InputError for axes without names or units, and for what `SpectralMap` refuses.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: there is no such file")
    places, colours, unit, counts = _table(file, max_pixels)
    errors = None
    if uncertainty is not None:
        *axes, errors = _table(Path(uncertainty), max_pixels)
        if errors.shape != counts.shape or not np.allclose(axes[0], places):
            raise InputError(f"{Path(uncertainty).name}: its places or colours are not those of {file.name}")
        errors = errors[None]
    pitch = float(np.median(np.abs(np.diff(places)))) if places.size > 1 else 0.0
    cell = pitch if step is None else parse_quantity(step, "length", name="step")
    check_range(pitch or 1.0, "spacing", name=f"{file.name}: distance of the places")
    told = f"places every {1e3 * pitch:.4g} nm, " + (
        "taken as the step" if step is None else f"step {1e3 * cell:.4g} nm"
    )
    return SpectralMap(
        counts=counts[None],
        x=places,
        y=np.zeros(1),
        edges=colour_edges(colours, unit, file.name),
        step=cell,
        slit=0.0 if slit is None else parse_quantity(slit, "length", name="slit"),
        uncertainty=errors,
        file=str(path),
        sha256=file_hash(file),
        notes=(told, f"colours in {unit}, from the table's corner"),
    )


def colour_edges(centres: np.ndarray, unit: str, name: str) -> Float64[np.ndarray, " colour+1"]:
    """Edges in meV of bins whose `centres` are in nm, eV or meV: midway between neighbours on that axis.

    Raises InputError where they do not rise or fall steadily, or cannot be light.
    """
    steps = np.diff(centres)
    if centres.size < FEWEST_COLOURS or not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(f"{name}: its colours do not rise or fall steadily; look for a repeated or missing one")
    middle = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[centres[0] - steps[0] / 2], middle, [centres[-1] + steps[-1] / 2]])
    if not (edges > 0).all():
        raise InputError(f"{name}: colours of zero {unit} or less; is the axis calibrated?")
    energy = PLANCK_C / edges if unit == "nm" else edges * ENERGIES[unit.lower()]
    if energy.min() < 50 or energy.max() > 2e4:
        raise InputError(
            f"{name}: colours from {energy.min():.4g} to {energy.max():.4g} meV, if they are in {unit}; check the unit"
        )
    return energy


def _table(file: Path, max_pixels: int) -> tuple[np.ndarray, np.ndarray, str, np.ndarray]:
    """(places µm, colours, their unit, counts (place, colour)) of a table with both axes."""
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
    if down_is_colour:
        return length_unit(across) * above, values[:, 0], down, values[:, 1:].T  # type: ignore[operator]
    return length_unit(down) * values[:, 0], above, across, values[:, 1:]  # type: ignore[operator]


def _axis(word: str, name: str) -> tuple[bool, str]:
    """(whether it is one of colours, its unit)."""
    found = _NAME.fullmatch(word.strip().replace("μ", "µ"))
    if found is None or not found["unit"]:
        raise InputError(f"{name}: the axis {word.strip()!r} has no unit; write it like position_um, wavelength_nm")
    unit = found["unit"].lower()
    colour = found["what"].strip(" _").lower() in _COLOURS or unit in ENERGIES
    if colour and unit not in ("nm", *ENERGIES):
        raise InputError(f"{name}: colours in {found['unit']}; give nm, eV or meV")
    return colour, unit


def _middles(edges: np.ndarray) -> np.ndarray:
    return (edges[1:] + edges[:-1]) / 2
