"""Spectra against position: `SpectralMap`, counts of a spectrometer along a line or over a map.

A spectrometer counts the light between the edges of its bins. They lie midway between neighbouring centres on the axis
that it gives, wavelength or energy, and are turned into energies by E = hc/λ edge by edge; the counts stay as they are:
a Jacobian would make numbers of them whose noise is no longer that of photons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from excidiff.inverse.files.formats import file_hash, split_member
from excidiff.inverse.files.noise import Uncertainty, names_file, settle_noise
from excidiff.inverse.files.placed import Placed, read_placed
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.spans import PLANCK_C, Span, place_span, wavelength_span
from excidiff.inverse.files.units import check_range, parse_quantity
from excidiff.solver.solution import InputError

ENERGIES = {"mev": 1.0, "ev": 1e3}
FEWEST_COLOURS, FEWEST_PLACES = 8, 3


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
    wavelengths: Span | None = None,
    places: Span | Sequence[Span] | None = None,
    uncertainty: Uncertainty | None = None,
    mask_nonfinite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> SpectralMap:
    r"""Read spectra along a line or over a map: from a table, or from any file that `read_labelled` reads.

    A table has places in the first column and colours in the first row; its corner names both axes with their units,
    "position_um\wavelength_nm" or "energy_eV\position_um": what stands before the bar runs down the rows. An array with
    axes may have them in any order, falling or rising: x, y or both, and wavelength or energy.
    step: of the scan, the cell along x that a place stands for ("50 nm", or µm), by default the distance of the places;
    slit: its size along y, by default the distance of the places of a map, and of a line as good as none.
    wavelengths: the part to use, (500, 540) in nm, "500..540 nm" or "2.3..2.5 eV"; places: that of a line,
    "0..1.5 um", or of a map one of x and one of y. uncertainty: of numbers that are no counts of photons, one number,
    an array or file of the same form, or "from the data": from differences of neighbouring bins (`files.noise`).
    mask_nonfinite: whether a place with numbers that are not finite is taken as one without light, with a note.

    Raises InputError for axes without names or units, for numbers that are neither photons nor have an uncertainty, and
    for what `SpectralMap` refuses.
    """
    name = split_member(str(path))[0].name
    found = read_placed(path, max_pixels=max_pixels)
    edges = colour_edges(found.colours, found.unit, name)
    cut, notes = _part(found, edges, wavelengths, places, name)
    found, lost = _finite(found, cut, name, mask_nonfinite)
    given = None if uncertainty is None else _given_errors(path, found, uncertainty, max_pixels)
    errors, told = settle_noise(found.values, given, name)
    y, x = found.y[cut[0]], found.x[cut[1]]
    cell, height, sizes = _cell(y, x, step, slit, name)
    return SpectralMap(
        counts=found.values[cut],
        x=x,
        y=y,
        edges=edges[cut[2].start : cut[2].stop + 1],
        step=cell,
        slit=height,
        uncertainty=None if errors is None else errors[cut],
        file=str(path),
        sha256=file_hash(split_member(str(path))[0]),
        notes=(*sizes, *found.where, *notes, *told, *lost),
    )


def _finite(found: Placed, cut: tuple[slice, ...], name: str, mask: bool) -> tuple[Placed, list[str]]:
    """Spectra finite in the part that is used, those of dead places set to zero if `mask`; else InputError."""
    dead = np.zeros(found.values.shape[:2], bool)
    dead[cut[:2]] = ~np.isfinite(found.values[cut]).all(axis=2)
    if not dead.any():
        return found, []
    count, (y, x) = int(dead.sum()), (int(i) for i in np.argwhere(dead)[0])
    where = f"{count} of {dead.size} places have numbers that are not finite, the first at row {y}, place {x}"
    if not mask or dead.all():
        raise InputError(f"{name}: {where}; cut them out or repair them")
    values = np.where(dead[:, :, None], 0.0, found.values)
    return replace(found, values=values), [f"{where}: taken as dark"]


def _given_errors(path: str | Path, found: Placed, uncertainty: Uncertainty, max_pixels: int) -> Uncertainty:
    """An uncertainty from a file of the same form, or an array of the file's shape, arranged like the numbers."""
    if isinstance(uncertainty, np.ndarray) and uncertainty.ndim:
        return read_placed(path, max_pixels=max_pixels, instead=uncertainty).values
    if not names_file(uncertainty):
        return uncertainty
    other = read_placed(str(uncertainty), max_pixels=max_pixels)
    for one, same in ((found.x, other.x), (found.y, other.y), (found.colours, other.colours)):
        if one.shape != same.shape or not np.allclose(one, same):
            raise InputError(f"{Path(str(uncertainty)).name}: its places or colours are not those of {path}")
    return other.values


def _part(
    found: Placed,
    edges: np.ndarray,
    wavelengths: Span | None,
    places: Span | Sequence[Span] | None,
    name: str,
) -> tuple[tuple[slice, slice, slice], list[str]]:
    """Which rows, columns and colours are used, and how that was asked for."""
    whole = [slice(0, count) for count in found.values.shape]
    notes = []
    if wavelengths is not None:
        low, high = wavelength_span(wavelengths)
        whole[2] = within(_middles(PLANCK_C / edges), low, high, f"{name}: wavelengths", "nm")
        notes.append(f"wavelengths from {low:g} to {high:g} nm used, as asked")
    if places is not None:
        flat = isinstance(places, str) or (len(places) == 2 and not isinstance(places[0], str | Sequence | np.ndarray))
        spans: Sequence[Span] = places.split(",") if isinstance(places, str) else [places] if flat else places  # type: ignore[assignment]
        axes = [("x", 1, found.x)] if found.y.size == 1 else [("x", 1, found.x), ("y", 0, found.y)]
        if len(spans) > len(axes):
            raise InputError(f"{name}: places {places!r}; of a line give one stretch, of a map x and then y")
        for span, (axis, dimension, values) in zip(spans, axes, strict=False):
            low, high = place_span(span)
            whole[dimension] = within(values, low, high, f"{name}: places along {axis}", "µm")
            notes.append(f"places along {axis} from {low:g} to {high:g} µm used, as asked")
    return tuple(whole), notes  # type: ignore[return-value]


def within(values: np.ndarray, low: float, high: float, what: str, unit: str) -> slice:
    """The stretch of a rising or falling axis that lies between `low` and `high`. Raises InputError if nothing does."""
    inside = np.flatnonzero((values >= low) & (values <= high))
    if not inside.size:
        raise InputError(
            f"{what} from {low:g} to {high:g} {unit}: there are none; the file has {values.min():.6g} to "
            f"{values.max():.6g} {unit}"
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _cell(
    y: np.ndarray, x: np.ndarray, step: str | float | None, slit: str | float | None, name: str
) -> tuple[float, float, list[str]]:
    """(step, slit) in µm, and where they come from."""
    notes, sizes = [], []
    for word, given, places in (("step", step, x), ("slit", slit, y)):
        pitch = float(np.median(np.abs(np.diff(places)))) if places.size > 1 else 0.0
        check_range(pitch or 1.0, "spacing", name=f"{name}: distance of the places")
        sizes.append(pitch if given is None else parse_quantity(given, "length", name=word))
        if pitch:
            taken = f"taken as the {word}" if given is None else f"{word} {1e3 * sizes[-1]:.4g} nm"
            notes.append(f"places every {1e3 * pitch:.4g} nm{' along y' * (word == 'slit')}, {taken}")
    return sizes[0], sizes[1], notes


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


def _middles(edges: np.ndarray) -> np.ndarray:
    return (edges[1:] + edges[:-1]) / 2
