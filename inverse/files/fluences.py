"""One film under pulses of several powers: `FluenceSeries`, what was measured and the density that each pulse adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.files.decays import Decay
from excidiff.inverse.files.frames import Frames, gate_pairs
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.solver.solution import InputError

SAME = 1e-6  # relative difference below which two densities are those of one pulse
KINDS = {
    "image": ("images", "image_densities"),
    "frames": ("frames", "frames_densities"),
    "decay": ("decays", "decay_densities"),
    "spectral_map": ("spectral_maps", "map_densities"),
    "raster": ("scans", "scan_densities"),
}
NOUNS = {"frames": "movie", "spectral_map": "spectral map", "raster": "raster scan"}
"""What one of a kind is called."""
EMISSIONS = ("linear", "quadratic")
SCALES = ("shared", "kind", "free")
Density = float | tuple[float, float]
"""Excitons per µm² at the centre of the spot just after the pulse; or that and its standard error."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """What was measured of pulses of one density, (value, standard error) in 1/µm²: one of each kind, or less.

    scans: of each quantity and collection one.
    """

    density: float
    error: float
    image: Image | None = None
    frames: Frames | None = None
    decay: Decay | None = None
    spectral_map: SpectralMap | None = None
    scans: tuple[RasterScan, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class FluenceSeries:
    """What was measured of one film after pulses of several powers: single ones, or of a laser that repeats.

    frames: movies, each `Frames` or (images of one shape, their gates (t0, t1) in ns after the pulse).
    spectral_maps: spectra against position, with a band of free excitons, and one of trapped ones where that shows;
    the light of a place is the mean over its cell.
    scans: a `RasterScan` of photons or of lifetimes, which are mean ages of the photons of all of a pulse, or of the
    time that images integrate; of each the mean over its positions counts, as of a film that is everywhere the same.
    image_densities, frames_densities, decay_densities, map_densities, scan_densities: of each, excitons per µm² that a
    pulse adds at the centre of the spot, or (value, standard error). What is of the same density is of the same pulse,
    whose error is one.
    period: of a laser that repeats, ns, by default that of the decays: all have light of earlier pulses in them, then.
    exposure: ns after each pulse, up to which images, spectra and scans integrate; None: to the end, or to the next
    pulse.
    scale: of photons per exciton, "shared", one for all but the spectra; "kind", one for all images, one for all
    movies, and so on, as cameras and counter see unlike parts; or "free", each its own.
    emission: "linear", light ∝ n, as excitons give, or "quadratic", ∝ n², as electrons and holes that meet.
    uniform: the light falls evenly on all of the film, as far as the detector sees; then only decays can be given.
    Each measurement has its own noise: photons that of camera or counter, what brings its uncertainty a Gaussian one.

    Raises InputError for densities that are missing, unlike kinds of images, gates that cannot be, and decays of unlike
    lasers.
    """

    images: Sequence[Image] = ()
    image_densities: Sequence[Density] = ()
    frames: Sequence[Frames] = ()
    frames_densities: Sequence[Density] = ()
    decays: Sequence[Decay] = ()
    decay_densities: Sequence[Density] = ()
    spectral_maps: Sequence[SpectralMap] = ()
    map_densities: Sequence[Density] = ()
    scans: Sequence[RasterScan] = ()
    scan_densities: Sequence[Density] = ()
    exposure: float | None = None
    period: float | None = None
    scale: str = "kind"
    emission: str = "linear"
    uniform: bool = False

    def __post_init__(self) -> None:
        for what in KINDS:
            data, densities = self.of(what)
            if len(data) != len(densities):
                raise InputError(
                    f"{len(data)} {NOUNS.get(what, what)}s with {len(densities)} peak densities; each needs its own"
                )
        if not any(self.of(what)[0] for what in KINDS):
            raise InputError("a fluence series needs images, frames, decays, spectral maps or scans")
        if self.scale not in SCALES:
            raise InputError(f"scale = {self.scale!r}; choose one of {', '.join(SCALES)}")
        if self.emission not in EMISSIONS:
            raise InputError(f"emission = {self.emission!r}; choose one of {', '.join(EMISSIONS)}")
        if self.exposure is not None and not 0 < self.exposure < np.inf:
            raise InputError(f"exposure = {self.exposure!r}; give a positive time in ns")
        if self.uniform and (self.images or self.frames or self.spectral_maps or self.scans):
            raise InputError(
                "uniform light and images: an image of a film under even light shows no spot, and a scan has none that "
                "moves; leave it out"
            )
        for scan in self.scans:
            self._check_scan(scan)
        for image in self.images:
            _ = image.spacing
            check_same_pixels(image, self.images[0])
        self._check_period()
        object.__setattr__(self, "frames", tuple(self._movie(movie) for movie in self.frames))
        for decay in self.decays:
            if decay.irf is None and decay.edges[0] < -1e-9:
                raise InputError(
                    f"{decay.file}: it starts {-decay.edges[0]:.4g} ns before the pulse at 0, and without a response "
                    "its pulse is not looked for: give irf_fwhm, with which the shift is fitted, or cut it at the pulse"
                )
        _ = self.shots

    def _check_scan(self, scan: RasterScan) -> None:
        if scan.quantity == "energy":
            raise InputError(
                f"{scan.file}: a scan of energies tells nothing of an even film; give the spectra as a spectral map"
            )
        if scan.quantity == "intensity" and self.scale == "free":
            raise InputError(
                f'{scan.file}: scale = "free" leaves a scan of photons nothing to tell, which is one number; choose '
                '"kind", or "shared"'
            )

    def of(self, what: str) -> tuple[Sequence[Any], Sequence[Density]]:
        """All data of a kind, and their densities."""
        data, densities = KINDS[what]
        return getattr(self, data), getattr(self, densities)

    def _movie(self, movie: Any) -> Frames:
        """Frames of one camera whose gates can be; the ends of gates that touch are one number."""
        good = isinstance(movie, tuple | list) and len(movie) == 2 and isinstance(movie[0], tuple | list)
        if not good or not movie[0] or not all(isinstance(image, Image) for image in movie[0]):
            raise InputError("frames: each movie is Frames, or (images, their gates (t0, t1) in ns after the pulse)")
        images, gates = movie
        if gates is None:
            raise InputError(f"{images[0].name}: frames without gates; give (t0, t1) of each in ns after the pulse")
        try:
            pairs = np.asarray(gate_pairs(gates, images))
        except InputError as error:
            raise InputError(f"{images[0].file}: {error}") from None
        for image in images:
            _ = image.spacing
            check_same_pixels(image, images[0])
            if image.camera != images[0].camera:
                raise InputError(f"{image.name}: its camera is not that of {images[0].name}; a movie is of one camera")
        if len({image.uncertainty is None for image in images}) > 1:
            raise InputError(f"{images[0].file}: some frames carry an uncertainty and others do not; give all or none")
        if self.period is not None and pairs.max() > self.period * (1 + SAME):
            raise InputError(
                f"{images[0].name}: its gates reach to {pairs.max():g} ns, the next pulse comes after {self.period:g} "
                "ns: cut the frames there"
            )
        return Frames(list(images), np.minimum(np.round(pairs, 9), self.period or np.inf))

    def _check_period(self) -> None:
        if self.period is not None and not 0 < self.period < np.inf:
            raise InputError(f"period = {self.period!r}; give the laser's period, a positive time in ns")
        first = self.decays[0].period if self.decays and self.period is None else self.period
        other = self.decays[0].file if self.decays and self.period is None else "the series"
        for decay in self.decays:
            told = [one or np.inf for one in (decay.period, first)]
            if told[0] != told[1] and not abs(told[0] / told[1] - 1) < SAME:
                both = " and ".join("no period" if one == np.inf else f"a period of {one:g} ns" for one in told)
                raise InputError(f"{decay.file} and {other} have {both}: a series is of one laser; fit the two apart")
        if self.decays:
            object.__setattr__(self, "period", self.decays[0].period)
        if self.period is not None and self.exposure is not None and self.exposure > self.period * (1 + SAME):
            raise InputError(
                f"exposure = {self.exposure:g} ns is longer than the laser's period of {self.period:g} ns: it is what "
                "images see after each pulse; leave it out if they see all light"
            )

    @property
    def shots(self) -> tuple[Shot, ...]:
        """All pulses by rising density."""
        found: list[dict[Any, Any]] = []
        for what in KINDS:
            for data, density in zip(*self.of(what), strict=True):
                value, error = _checked(density, named(data))
                part = (what, data.quantity, data.collection) if isinstance(data, RasterScan) else what
                mate = next((one for one in found if part not in one and abs(one["density"] / value - 1) < SAME), None)
                if mate is None:
                    found.append({"density": value, "error": error, part: data})
                else:
                    mate[part] = data
                    mate["error"] = max(mate["error"], error)
        return tuple(map(_shot, sorted(found, key=lambda one: one["density"])))


def _shot(parts: dict[Any, Any]) -> Shot:
    """One pulse of its parts, photons before lifetimes."""
    scans = [data for part, data in parts.items() if isinstance(part, tuple)]
    rest = {part: data for part, data in parts.items() if not isinstance(part, tuple)}
    return Shot(**rest, scans=tuple(sorted(scans, key=lambda scan: scan.quantity)))


def named(data: Image | Frames | Decay | SpectralMap | RasterScan) -> str:
    """What a measurement is called."""
    if isinstance(data, Frames):
        return f"{data.images[0].file} ({len(data.images)} gates)"
    return data.name if isinstance(data, Image) else data.file


def _checked(density: Density, name: str) -> tuple[float, float]:
    value, error = density if isinstance(density, tuple | list) else (density, 0.0)
    if not (np.isfinite(value) and value > 0 and np.isfinite(error) and 0 <= error < value):
        raise InputError(f"{name}: peak density {density!r}; give excitons per µm², or (value, standard error)")
    return float(value), float(error)
