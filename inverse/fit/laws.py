"""What each measurement of a series brings: its numbers, which of them count, and the law of their noise.

Photons have the law of their detector, V(µ) = F² µ + σ². What brings errors of its own has Gaussian noise, V = σ², and
any sign: F² is 0 there (`likelihood`), and one likelihood holds for all of a series.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.decays import Decay
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.detector import Detector, detector_of
from excidiff.inverse.fit.likelihood import Counts, Goodness, goodness, goodness_of_squares

COUNTER = Detector()
"""Of photons, one by one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """`values` of one measurement, photoelectrons or what it counts in, 0 where not `used`.

    errors: its own standard errors, 1 where not used; None: the noise is that of the `detector`.
    """

    values: Float64[np.ndarray, "..."]
    used: Bool[np.ndarray, "..."]
    detector: Detector = COUNTER
    errors: Float64[np.ndarray, "..."] | None = None

    @property
    def excess(self) -> float:
        """F², 0 for Gaussian noise."""
        return self.detector.excess if self.errors is None else 0.0

    @property
    def floor(self) -> Float64[np.ndarray, "..."]:
        """σ² of every number."""
        return np.full(self.values.shape, self.detector.floor) if self.errors is None else self.errors**2

    @property
    def darkest(self) -> float:
        """How low a background may fall: of photons to next to nothing, or so far that every variance is positive."""
        if self.errors is not None:
            return -np.inf
        floor = self.detector.floor / self.detector.excess
        return -0.9 * floor if floor > 0 else 1e-7

    def law(self, expected: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The variance of every number, 0 where not used."""
        return np.where(self.used, self.excess * expected + self.floor, 0.0)

    def sampled(self, expected: Float64[np.ndarray, "..."], random: np.random.Generator) -> Float64[np.ndarray, "..."]:
        """The same measurement of `expected` made again."""
        if self.errors is None:
            return self.detector.sampled(expected, random)
        return expected + self.errors * random.standard_normal(expected.shape)

    def held(self, expected: Float64[np.ndarray, "..."], *, fitted: float) -> Goodness:
        """How well `expected` describes it; see `goodness`."""
        values, model = self.values[self.used], expected[self.used]
        if self.errors is not None:
            return goodness_of_squares(values - model, self.errors[self.used] ** 2, fitted=fitted)
        least = 1e-12 - 0.99 * self.detector.floor / self.detector.excess
        return goodness(values, np.maximum(model, least), self.detector, fitted=fitted)


@dataclass(frozen=True, eq=False)
class Row:
    """All measurements in a row, one behind the other."""

    readings: Sequence[Reading]

    def counts(self) -> Counts:
        """As a fit takes them, (1, 1, N); the sensitivity of pixels is the model's."""
        rows = [
            (one.values, one.used, np.ones(one.used.shape), one.floor, np.full(one.used.shape, one.excess))
            for one in self.readings
        ]
        parts = (
            np.concatenate([a.ravel() for a in part])[None, None].astype(float) for part in zip(*rows, strict=True)
        )
        return Counts(*parts)

    def parts(self, expected: Float64[np.ndarray, "..."]) -> list[Float64[np.ndarray, "..."]]:
        """What is expected of each measurement, in its own shape."""
        ends = np.cumsum([one.values.size for one in self.readings])[:-1]
        parts = np.split(np.asarray(expected).ravel(), ends)
        return [part.reshape(one.values.shape) for one, part in zip(self.readings, parts, strict=True)]

    def law(self, expected: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, " N"]:
        """The variance of every number, infinite where not used."""
        pairs = zip(self.readings, self.parts(expected), strict=True)
        law = np.concatenate([one.law(part).ravel() for one, part in pairs])
        return np.where(law > 0, law, np.inf)

    def sampled(self, expected: Float64[np.ndarray, "..."], random: np.random.Generator) -> Float64[np.ndarray, "..."]:
        """Each measurement made again, in the shape of `expected`."""
        pairs = zip(self.readings, self.parts(expected), strict=True)
        return np.concatenate([one.sampled(part, random).ravel() for one, part in pairs]).reshape(expected.shape)


def pictures_reading(images: Sequence[Image]) -> Reading:
    """The pixels of an image, or of the frames of a movie, one behind the other; of one camera."""
    detector = detector_of(images[0])
    used = np.stack([image.mask for image in images])
    errors = [image.photon_uncertainty for image in images if image.photon_uncertainty is not None]
    return Reading(
        values=np.where(used, np.stack([detector.photons(image) for image in images]), 0.0),
        used=used,
        detector=detector,
        errors=np.where(used, np.stack(errors), 1.0) if errors else None,
    )


def decay_reading(decay: Decay) -> Reading:
    """The bins of a decay."""
    return Reading(values=decay.counts, used=np.ones(decay.counts.size, bool), errors=decay.uncertainty)


def spectra_reading(measured: SpectralMap) -> Reading:
    """The bins of a map of spectra."""
    return Reading(values=measured.counts, used=np.ones(measured.counts.shape, bool), errors=measured.uncertainty)
