"""What a camera makes of n photoelectrons: read noise, and the rounding of counts to whole numbers.

A pixel reads c = round(g (n + σ z)) counts above the offset, g the gain, σ the read noise, z normal. As long as g σ is
above about half a count the noise dithers the rounding away: c/g is unbiased, with the variance σ² + 1/12g². Below it
is not: at a gain of 1.24 and no noise one photoelectron reads 1 count and is taken for 0.81, three read 4 and are taken
for 3.24; dim pixels come out too dark, bright ones right, and a fitted diffusion length is off by many errors. So the
photoelectrons are estimated by ŷ(c) = c/g + correction(c) with E[ŷ | n] = n, the smallest correction that does it;
without noise it gives n itself. Everything follows from P(c | n), which is exact.

An electron-multiplying register turns n electrons into a gamma variate of shape n and scale 1, in electrons: its mean
and its variance are n, so that light of mean µ reads with variance 2µ, F² = 2. For any other excess noise F² the scale
is F² − 1 and the shape n/(F² − 1), which keep mean n and total variance F² µ.
"""

from functools import lru_cache
from math import ceil, erf, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.data import Image

CORRECTED = 400  # photoelectrons up to which rounding is undone; beyond, half a count is less than 0.1 % of the light
NEGLIGIBLE = 1e-6  # photoelectrons² of read noise that rounding leaves of a quiet camera: none


class Detector(NamedTuple):
    """Gain (counts per photoelectron), read noise σ (photoelectrons), excess noise F², and whether counts are whole."""

    gain: float = 1.0
    read_noise: float = 0.0
    excess: float = 1.0
    whole: bool = False

    @property
    def floor(self) -> float:
        """The variance (photoelectrons²) that a pixel without light reads."""
        return _floor(self)

    def readings(self, n: Float64[np.ndarray, " N"]) -> tuple[Float64[np.ndarray, "N K"], Float64[np.ndarray, "N K"]]:
        """What n photoelectrons can read, in photoelectrons, and the probabilities."""
        return _readings(self, n)

    def photons(self, image: Image) -> Float64[np.ndarray, "ny nx"]:
        """The photoelectrons of each pixel, unbiased in spite of rounding; not divided by the flat field."""
        return self._unrounded(image.photons) if self.whole else image.photons

    def sampled(self, expected: Float64[np.ndarray, "..."], random: np.random.Generator) -> Float64[np.ndarray, "..."]:
        """One reading of light of mean `expected`, in photoelectrons as `photons` gives them.

        A mean below zero, of a background that was taken off, has no photons and the read noise alone.
        """
        light = np.maximum(expected, 0.0)
        read = random.poisson(light).astype(float)
        if self.excess != 1:
            read = (self.excess - 1) * random.standard_gamma(read / (self.excess - 1))
        read = read + (expected - light) + self.read_noise * random.standard_normal(read.shape)
        return self._unrounded(np.round(self.gain * read) / self.gain) if self.whole else read

    def _unrounded(self, photons: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """ŷ(c) of c/g."""
        counts = np.round(photons * self.gain).astype(int)
        correction, first = _correction(self), -_reach(self)
        inside = (counts >= first) & (counts < first + correction.size)
        return photons + np.where(inside, correction[np.clip(counts - first, 0, correction.size - 1)], 0.0)


def detector_of(image: Image) -> Detector:
    """The detector of an image; its counts are taken as rounded if all are whole and the gain is not a guess."""
    camera = image.camera
    whole = (
        (camera.gain_known or camera.gain == 1)
        and camera.excess_noise == 1
        and image.dark is None
        and float(camera.offset).is_integer()
        and bool(np.all(image.counts == np.round(image.counts)))
    )
    if whole and camera.gain == 1 and camera.read_noise == 0:
        whole = False  # photons, counted
    return Detector(float(camera.gain), float(camera.read_noise), float(camera.excess_noise), whole)


def _readings(detector, n):
    if detector.excess != 1:
        return _noisy(detector, *_multiplied(n, detector.excess - 1), step=0.1)
    if not detector.whole:
        return _noisy(detector, n[:, None], np.ones((n.size, 1)), step=0.05)
    counts, probability = _counts(detector, n)
    correction, first = _correction(detector), -_reach(detector)
    inside = counts - first < correction.size
    shift = np.where(inside, correction[np.minimum(counts - first, correction.size - 1)], 0.0)
    return counts / detector.gain + shift, probability


def _noisy(detector, values, probability, step: float):
    """Values (N, K) with read noise on top: normal, by the trapezoidal rule to 7 standard deviations."""
    if detector.read_noise == 0:
        return values, probability
    z = np.linspace(-7, 7, round(14 / step) + 1)
    weight = np.exp(-(z**2) / 2)
    noisy = values[:, :, None] + detector.read_noise * z
    both = probability[:, :, None] * (weight / weight.sum())
    return noisy.reshape(len(values), -1), both.reshape(len(values), -1)


def _multiplied(n, scale: float):
    """Gamma variates of shape k = n/scale: nodes (N, 64) and probabilities, by the trapezoidal rule in x = log(y/n).

    The density ∝ e^{k (x + 1 − e^x)} is below e^−20 of its peak where x is under −q, q = ε + √2ε with ε = 20/k, or over
    log(1 + q). No electrons give nothing.
    """
    shape = np.where(n > 0, n, 1.0)[:, None] / scale
    reach = 20 / shape + np.sqrt(40 / shape)
    x = -reach + (reach + np.log1p(reach)) * np.linspace(0, 1, 64)
    weight = np.exp(shape * (x + 1 - np.exp(x)))
    return n[:, None] * np.exp(x), weight / weight.sum(axis=1, keepdims=True)


def _reach(detector) -> int:
    """Counts that read noise may add or take away."""
    return ceil(7 * detector.gain * detector.read_noise) + 1


def _counts(detector, n):
    """Whole counts that n photoelectrons can read, (N, K), and P(c | n)."""
    middle, reach = detector.gain * n, _reach(detector)
    counts = np.round(middle).astype(int)[:, None] + np.arange(-reach, reach + 1)
    noise = detector.gain * detector.read_noise
    if noise == 0:
        return counts, (np.arange(-reach, reach + 1) == 0) * np.ones((n.size, 1))
    edges = (np.concatenate([counts, counts[:, -1:] + 1], axis=1) - 0.5 - middle[:, None]) / (noise * sqrt(2))
    probability = np.diff(np.vectorize(erf, otypes=[float])(edges), axis=1) / 2
    return counts, probability / probability.sum(axis=1, keepdims=True)


@lru_cache(maxsize=64)
def _correction(detector: Detector) -> Float64[np.ndarray, " C"]:
    """ŷ(c) − c/g for c = −reach … : the smallest with Σ_c P(c | n) ŷ(c) = n up to 400 photoelectrons.

    Slightly regularised, so that where noise dithers nearly all the rounding away nothing is amplified.
    """
    reach = _reach(detector)
    n = np.arange(CORRECTED, dtype=float)
    counts, probability = _counts(detector, n)
    if float(detector.gain).is_integer() or detector.gain * detector.read_noise > 1:
        return np.zeros(1)
    matrix = np.zeros((n.size, int(counts.max()) + reach + 1))
    np.put_along_axis(matrix, counts + reach, probability, axis=1)
    bias = n - (probability * counts).sum(axis=1) / detector.gain
    bias *= np.clip((CORRECTED - n) / 50, 0, 1)  # fades out, rather than ends
    return matrix.T @ np.linalg.solve(matrix @ matrix.T + 1e-3 * np.eye(n.size), bias)


@lru_cache(maxsize=64)
def _floor(detector: Detector) -> float:
    values, probability = _readings(detector, np.zeros(1))
    mean = float((values * probability).sum())
    variance = float((values**2 * probability).sum()) - mean**2
    return variance if variance > NEGLIGIBLE else 0.0
