"""Streak images: counts over time and wavelength, or over time and place along a slit.

A streak camera spreads the light that a slit lets through over time. Behind a spectrometer its other axis is
wavelength, and bands of it are decays. Across the sample it is x, and each bin of time is what a slit over the spot
saw in one gate (`files.frames`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from excidiff.inverse.files.axes import Axis, Labelled
from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.files.formats import read_axes, split_member
from excidiff.inverse.files.labelled import read_labelled
from excidiff.inverse.files.noise import Uncertainty, names_file, settle_noise
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.spans import PLANCK_C, Span, wavelength_span
from excidiff.inverse.files.spectra import colour_edges, within
from excidiff.solver.solution import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Streak:
    """Counts (time, other axis) of a streak camera.

    time: ns, the bins' centres, as the file counts them. edges: meV, between which each colour counts, of a streak
    behind a spectrometer; x: µm, of one across the sample; one of both is None. uncertainty: of counts that are no
    photons.

    Raises InputError for axes of the wrong length, times that do not rise, and numbers that are not finite.
    """

    counts: Float[np.ndarray, "time other"]
    time: Float[np.ndarray, " time"]
    edges: Float[np.ndarray, " colour+1"] | None = None
    x: Float[np.ndarray, " x"] | None = None
    uncertainty: Float[np.ndarray, "time other"] | None = None
    file: str = "streak"
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.edges is None) == (self.x is None):
            raise InputError(f"{self.file}: a streak image has time, and either wavelengths or places")
        other = self.edges[1:] if self.edges is not None else self.x
        assert other is not None
        if np.shape(self.counts) != (np.size(self.time), np.size(other)) or np.size(self.time) < 2:
            raise InputError(
                f"{self.file}: counts of shape {np.shape(self.counts)} on {np.size(self.time)} times and "
                f"{np.size(other)} {'colours' if self.x is None else 'places'}"
            )
        if not (np.diff(self.time) > 0).all():
            raise InputError(f"{self.file}: its times do not rise steadily; mend the axis where it was made")
        for values in (self.counts, self.uncertainty):
            if values is not None and not np.isfinite(values).all():
                bad = np.argwhere(~np.isfinite(values))[0].tolist()
                raise InputError(f"{self.file}: its numbers are not all finite, the first at {bad}; repair these bins")

    @property
    def time_edges(self) -> Float64[np.ndarray, " time+1"]:
        """Where the bins of time begin and end, ns: midway between neighbouring centres."""
        middle = (self.time[1:] + self.time[:-1]) / 2
        first, last = 1.5 * self.time[0] - 0.5 * self.time[1], 1.5 * self.time[-1] - 0.5 * self.time[-2]
        return np.concatenate([[first], middle, [last]])

    @property
    def wavelength(self) -> Float64[np.ndarray, " colour"]:
        """The centres of the colours, nm. Raises InputError where the other axis is a place."""
        if self.edges is None:
            raise InputError(f"{self.file}: its axes are time and x; there are no wavelengths in it")
        sides = PLANCK_C / self.edges
        return (sides[1:] + sides[:-1]) / 2

    def decays(
        self,
        bands: Sequence[Span] | None = None,
        *,
        irf: Response | float | None = None,
        period: float | None = None,
    ) -> list[Decay]:
        """The decay of each band of wavelengths, [(500, 520), …] in nm or "500..520 nm", or of all colours together.

        irf, period: see `Decay`, in ns. Raises InputError for bands without colours, and streaks without wavelengths.
        """
        wavelength = self.wavelength
        cuts = [(slice(None), "all colours")]
        if bands is not None:
            spans = [wavelength_span(band, name="bands") for band in bands]
            cuts = [
                (within(wavelength, low, high, f"{self.file}: band", "nm"), f"{low:g} to {high:g} nm")
                for low, high in spans
            ]
        decays = []
        for cut, words in cuts:
            error = None if self.uncertainty is None else np.sqrt((self.uncertainty[:, cut] ** 2).sum(1))
            name = self.file if bands is None else f"{self.file} {words}"
            notes = (*self.notes, f"{words} added up")
            counts = self.counts[:, cut].sum(1)
            decays.append(Decay(self.time, counts, error, name, self.sha256, notes, irf=irf, period=period))
        return decays


def read_streak(
    path: str | Path,
    *,
    uncertainty: Uncertainty | None = None,
    wavelengths: Span | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Streak:
    """Read a streak image from any file that `read_labelled` reads: time, and wavelength, energy, x or y, in any order.

    uncertainty: as of `read_spectral_map`, of numbers that are no counts of photons. wavelengths: the part to use.
    Raises InputError for files with other axes.
    """
    found = read_labelled(path, max_pixels=max_pixels)
    name = split_member(str(path))[0].name
    counts, other = _turned(found, found.values, name)
    given = uncertainty
    if names_file(uncertainty):
        given = _turned(found, read_labelled(str(uncertainty), max_pixels=max_pixels).values, name)[0]
    elif isinstance(uncertainty, np.ndarray) and uncertainty.ndim:
        given = _turned(found, uncertainty, name)[0]
    errors, told = settle_noise(counts, given, name)
    time = found.axis("time")
    edges = colour_edges(other.values, other.unit, name) if other.kind in ("wavelength", "energy") else None
    cut, notes = slice(None), []
    if wavelengths is not None:
        if edges is None:
            raise InputError(f"{name}: its axes are time and {other.name}; there are no wavelengths to choose from")
        low, high = wavelength_span(wavelengths)
        sides = PLANCK_C / edges
        cut = within((sides[1:] + sides[:-1]) / 2, low, high, f"{name}: wavelengths", "nm")
        edges = edges[cut.start : cut.stop + 1]
        notes.append(f"wavelengths from {low:g} to {high:g} nm used, as asked")
    backward = [edges is None and other.values[0] > other.values[-1], time.values[0] > time.values[-1]]
    flip = np.s_[:: -1 if backward[1] else 1, :: -1 if backward[0] else 1]
    return Streak(
        counts=counts[:, cut][flip],
        time=np.sort(time.values),
        edges=edges,
        x=np.sort(other.values) if edges is None else None,
        uncertainty=None if errors is None else errors[:, cut][flip],
        file=str(path),
        sha256=found.sha256,
        notes=(f"{time.name}: {time.told}", f"{other.name}: {other.told}", *notes, *told),
    )


def has_spectra_in_time(path: str | Path) -> bool:
    """Whether a file has axes of time and of wavelength or energy, from its format and its axes."""
    file, member = split_member(str(path))
    found = read_axes(file, member)
    kinds = {axis.kind for axis in found.axes if axis.values.size > 1} if found is not None else set()
    return "time" in kinds and bool(kinds & {"wavelength", "energy"})


def _turned(found: Labelled, values: np.ndarray, name: str) -> tuple[np.ndarray, Axis]:
    """(numbers (time, other), the other axis) of an array with two axes in any order."""
    if np.shape(values) != found.values.shape:
        raise InputError(f"{name}: its numbers have the shape {found.values.shape}, the uncertainty {np.shape(values)}")
    first = found.dimension("time")
    rest = [i for i, axis in enumerate(found.axes) if i != first and axis.values.size > 1]
    kinds = [found.axes[i].kind for i in rest]
    if len(rest) != 1 or kinds[0] not in ("wavelength", "energy", "x", "y"):
        there = "; ".join(f"{axis.name} [{axis.unit or 'no unit'}]" for axis in found.axes)
        raise InputError(
            f"{name}: a streak image has time and one of wavelength, energy, x or y; this has: {there}. Name the axis "
            "and its unit in the program that wrote it"
        )
    other = found.axis(kinds[0] or "x")
    found.axis("time")
    order = (first, rest[0], *(i for i in range(values.ndim) if i not in (first, rest[0])))
    return np.transpose(values, order).reshape(values.shape[first], values.shape[rest[0]]).astype(float), other
