"""What a map is made from: `Spots`, images of many spots, or `Scan`, one number for each position of the laser.

Both lay cells over what was seen, make the problem of a film on them, say where its fit may start, and judge its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.fit.cells import Beyond, Film, Kind
from excidiff.inverse.fit.detector import Detector, detector_of
from excidiff.inverse.fit.even import Edges, ages
from excidiff.inverse.fit.fieldmap import Problem, even_images
from excidiff.inverse.fit.likelihood import Counts, Goodness, goodness, goodness_of_squares, objective
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.scanfield import ScanProblem, even_numbers
from excidiff.inverse.results.wording import counted
from excidiff.solver.solution import InputError
from excidiff.solver.source import FWHM

MORE = 1.05
"""Photons for each exciton that noise and an unsure background may feign."""
LEAST = 0.02
"""Of 1/τ: the extra loss from which a fit starts where next to none is seen."""
REACH = 1.5
"""Diffusion lengths beyond the outermost positions of a scan, from where their light comes as well."""
LOSSES, STIRS = np.geomspace(LEAST, 200.0, 40), np.geomspace(1e-3, 1e3, 40)
"""Extra losses × τ, and D × τ over the area of the spot, among which the start of a fit is looked for."""


def laid(shape: tuple[int, int], spacing: tuple[float, float], pixels: float, beyond: float) -> Edges:
    """Square cells of so many of the wider pixels, over an image or a scan and `beyond` µm around it."""
    pitch = pixels * max(spacing)
    own = [np.asarray(pixel_edges(n, size)) for n, size in zip(shape, spacing, strict=True)]
    cells = [
        np.asarray(pixel_edges(ceil((n * size + 2 * beyond) / pitch - 1e-6), pitch))
        for n, size in zip(shape, spacing, strict=True)
    ]
    return Edges(*own, *cells)


@dataclass(frozen=True, eq=False)
class Seen:
    """Data and model as they are shown: (y, x) sums or numbers, the noise of each, and the size of a pixel, µm."""

    measured: Float[np.ndarray, "py px"]
    modelled: Float[np.ndarray, "py px"]
    noise: Float[np.ndarray, "py px"]
    pixel_size: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Spots:
    """Images, one for each laser position (x, y) in µm from their centre."""

    images: Sequence[Image]
    positions: Float[np.ndarray, "P 2"]

    source = "images"
    ground = "photons/pixel"

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("a map needs images; none were given")
        places = np.asarray(self.positions, dtype=float)
        if places.shape != (len(self.images), 2) or not np.isfinite(places).all():
            raise InputError(
                f"positions of shape {places.shape} for {len(self.images)} images: give (x, y) in µm for each"
            )
        object.__setattr__(self, "positions", places)
        first = self.images[0]
        for image, (x, y) in zip(self.images, places, strict=True):
            check_same_pixels(first, image)
            if image.shape != first.shape:
                raise InputError(
                    f"{image.name} has {image.shape} pixels, {first.name} {first.shape}: all must be alike"
                )
            if detector_of(image) != detector_of(first):
                raise InputError(
                    f"{image.name} and {first.name} were taken with unlike cameras: give all the same gain"
                )
            if image.uncertainty is not None:
                raise InputError(f"{image.name} brings uncertainties: a map is made from counts, give the photons")
            if not image.mask.any():
                raise InputError(f"{image.name}: all of its pixels are masked; leave the image out")
            reach = np.array(image.shape) * image.spacing / 2
            if abs(x) > reach[1] or abs(y) > reach[0]:
                raise InputError(f"{image.name}: its spot at ({x:g}, {y:g}) µm lies outside the image; are these µm?")

    @property
    def spacing(self) -> tuple[float, float]:
        """Of the pixels, (y, x) in µm."""
        return self.images[0].spacing

    @cached_property
    def counts(self) -> Counts:
        """(P, N)."""
        detector = detector_of(self.images[0])
        used = np.stack([image.mask.ravel() for image in self.images]).astype(float)
        ones = np.ones(used[0].size)
        flat = np.stack([ones if image.flat is None else image.flat.ravel() for image in self.images])
        photons = np.stack([detector.photons(image).ravel() for image in self.images])
        floor = np.full(used.shape, detector.floor)
        return Counts(photons * used, used, flat, floor, np.asarray(detector.excess))

    def edges(self, pixels: float, length: float) -> Edges:
        """Square cells of so many pixels over the whole image; its rim shows what is beyond, whatever the `length`."""
        return laid(self.images[0].shape, self.spacing, pixels, 0.0)

    def problem(self, kind: Kind, film: Film, edges: Edges, beyond: Beyond) -> Problem:
        """The fit of a map to these images."""
        return Problem.make(kind, film, edges, self.counts, beyond)

    def begin(self, kind: Kind, film: Film, background: float | None) -> tuple[Beyond, float]:
        """(an even film as bright, or as wide, as this one; background per pixel)."""
        edges, counts = self.edges(1.0, 0.0), self.counts
        y, x = ((edge[1:] + edge[:-1]) / 2 for edge in edges[:2])
        far = np.stack([np.hypot(x[None, :] - px, y[:, None] - py).ravel() for px, py in self.positions])
        light = np.asarray(counts.photons / counts.flat)
        used = np.asarray(counts.used) > 0
        dim = used & (far >= np.nanquantile(np.where(used, far, np.nan), 0.9, axis=1, keepdims=True))
        ground = float(light[dim].mean()) if background is None else background
        seen, most = max(float((light - ground)[used].sum()), 1.0), float(film.excitons) * len(far)
        if seen > MORE * most:
            raise InputError(
                f"the images show {seen:.4g} photons above the background, {counted(len(far), 'spot')} of "
                f"{film.excitons:g} excitons can give one each at most: check excitons (photons per spot without "
                "traps), gain and background"
            )
        ground = max(ground, 1e-3)
        if kind.name == "diffusivity":
            return self._as_wide(film, edges, ground), ground
        loss = 0.0 if kind.moves else max(most / seen - 1, LEAST) / float(film.lifetime)
        return Beyond(loss, float(film.diffusivity)), ground

    def _as_wide(self, film: Film, edges: Edges, ground: float) -> Beyond:
        tried = [Beyond(0.0, stir * film.laser**2 / film.lifetime) for stir in STIRS]
        images = (even_images(film, edges, ages(film, one)) + ground for one in tried)
        misfits = [float(objective(jnp.asarray(self.counts.flat * image), self.counts, "poisson")) for image in images]
        return tried[int(np.argmin(misfits))]

    def judged(self, expected: np.ndarray, freedom: float) -> Goodness:
        """The deviance against its law."""
        used = np.asarray(self.counts.used) > 0
        photons = np.asarray(self.counts.photons)
        fitted = min(round(freedom), int(np.count_nonzero(used)) - 1)
        return goodness(photons[used], expected[used], detector_of(self.images[0]), fitted=fitted)

    def shown(self, expected: np.ndarray) -> Seen:
        """The sum of all images."""
        used = np.asarray(self.counts.used) > 0
        shape = self.images[0].shape
        whole = (expected * used).sum(0).reshape(shape)
        law = (np.asarray(self.counts.excess) * expected + self.counts.floor) * used
        noise = np.sqrt(np.maximum(law.sum(0), 1e-300)).reshape(shape)
        return Seen((np.asarray(self.counts.photons) * used).sum(0).reshape(shape), whole, noise, self.spacing)

    @property
    def weights(self) -> Float[np.ndarray, " P"]:
        """The share of each image that is used."""
        return np.asarray(self.counts.used).mean(axis=1)

    @property
    def photons(self) -> float:
        """Of all images together."""
        return float(np.asarray(self.counts.photons).sum())


@dataclass(frozen=True, eq=False)
class Scan:
    """A raster scan."""

    scan: RasterScan

    @property
    def ground(self) -> str:
        """The unit of what is the same at all positions: background, or the energy of a flat film."""
        return "meV" if self.energies else "photons/position"

    @property
    def source(self) -> str:
        """What was scanned."""
        return f"{self.scan.quantity} scan"

    @property
    def positions(self) -> Float[np.ndarray, "P 2"]:
        """(x, y), µm."""
        return self.scan.positions

    @property
    def lifetimes(self) -> bool:
        """Whether the numbers are lifetimes."""
        return self.scan.quantity == "lifetime"

    @property
    def energies(self) -> bool:
        """Whether the numbers are energies of the light."""
        return self.scan.quantity == "energy"

    @property
    def noise(self) -> str:
        """The law of the numbers."""
        return "poisson" if self.scan.signal_uncertainty is None else "gaussian"

    @property
    def collection(self) -> float | None:
        """σ of what a confocal detector sees, µm."""
        return None if self.scan.collection is None else self.scan.collection / FWHM

    @property
    def spacing(self) -> tuple[float, float]:
        """Between positions, (y, x) in µm."""
        return self.scan.spacing

    @cached_property
    def counts(self) -> Counts:
        """(P,)."""
        used = self.scan.mask.ravel().astype(float)
        error = self.scan.signal_uncertainty
        floor = np.zeros(used.size) if error is None else np.where(used > 0, error.ravel(), 1.0) ** 2
        return Counts(self.scan.signal.ravel() * used, used, np.ones(used.size), floor, np.asarray(1.0))

    def edges(self, pixels: float, length: float) -> Edges:
        """Square cells of so many steps, over all positions and as far beyond as their excitons go: `length` µm."""
        return laid(self.scan.shape, self.spacing, pixels, REACH * length)

    def problem(self, kind: Kind, film: Film, edges: Edges, beyond: Beyond) -> ScanProblem:
        """The fit of a map to this scan."""
        return ScanProblem.make(
            kind,
            film,
            edges,
            self.counts,
            beyond,
            collection=self.collection,
            quantity=self.scan.quantity,
            noise=self.noise,
        )

    def begin(self, kind: Kind, film: Film, background: float | None) -> tuple[Beyond, float]:
        """(the even film that comes nearest, the background, or the energy of a flat film)."""
        if self.energies:
            if not kind.level:
                raise InputError(f"a map of the {kind.name} from energies of the light: they tell of a landscape only")
            middle = float(np.median(self.scan.signal[self.scan.mask]))
            return Beyond(0.0, float(film.diffusivity)), middle if background is None else background
        if kind.moves and self.collection is None:
            raise InputError(
                f"a map of the {kind.name} from a scan of which all light is collected: wherever an exciton goes, it "
                "gives the same photon. It takes images, or a detector that moves with the laser: give its "
                "collection_fwhm"
            )
        ground = 0.0 if background is None else background
        used = np.asarray(self.counts.used) > 0
        seen = float(np.median(np.asarray(self.counts.photons)[used])) - ground
        lifetime = float(film.lifetime)
        if kind.name == "diffusivity":
            tried = [Beyond(0.0, stir * float(film.laser) ** 2 / lifetime) for stir in STIRS]
        elif kind.moves:
            tried = [Beyond(0.0, float(film.diffusivity))]
        else:
            tried = [Beyond(loss / lifetime, float(film.diffusivity)) for loss in LOSSES]
        numbers = [even_numbers(film, one, self.collection, lifetimes=self.lifetimes) for one in tried]
        most = MORE * float(even_numbers(film, Beyond(0.0, tried[0].diffusivity), self.collection,
                                         lifetimes=self.lifetimes))  # fmt: skip
        if kind.name != "diffusivity" and seen > most:
            unit, check = ("ns", "lifetime") if self.lifetimes else ("photons", "excitons (photons per position)")
            raise InputError(
                f"{self.scan.file}: its positions show {seen:.4g} {unit}, a film without any extra loss "
                f"{most / MORE:.4g} at most: check the {check}, gain and background"
            )
        return tried[int(np.argmin([abs(float(one) - seen) for one in numbers]))], ground

    def judged(self, expected: np.ndarray, freedom: float) -> Goodness:
        """The deviance, or χ², against its law."""
        used = np.asarray(self.counts.used) > 0
        values = np.asarray(self.counts.photons)[used]
        fitted = min(round(freedom), values.size - 1)
        if self.noise == "poisson":
            return goodness(values, expected[used], Detector(), fitted=fitted)
        return goodness_of_squares(values - expected[used], np.asarray(self.counts.floor)[used], fitted=fitted)

    def shown(self, expected: np.ndarray) -> Seen:
        """The scan itself."""
        law = np.maximum(expected, 1e-300) if self.noise == "poisson" else np.asarray(self.counts.floor)
        values = np.where(self.scan.mask, self.scan.signal, np.nan)
        return Seen(values, expected.reshape(values.shape), np.sqrt(law).reshape(values.shape), self.spacing)

    @property
    def weights(self) -> Float[np.ndarray, " P"]:
        """Of each position: 1 where it is used."""
        return np.asarray(self.counts.used)

    @property
    def photons(self) -> float | None:
        """Of all positions together; None for lifetimes and energies of unknown photons."""
        known = self.scan.signal if self.scan.quantity == "intensity" else self.scan.photons
        return None if known is None else float(np.asarray(known)[self.scan.mask].sum())
