"""What the counts say of a model: the variance law, the deviance, and what the deviance should be.

In photoelectrons, a pixel with expectation µ has the variance

    V(µ) = F² µ + σ²,   F² the excess noise factor, σ² read noise and rounding,

and the fit solves the score equation Σ (y − µ)/V(µ) ∂µ/∂θ = 0. It is unbiased whatever the counts, zero or negative
ones included, and for σ = 0 it is the Poisson likelihood's own. It belongs to the shifted Poisson deviance

    D = Σ d(y, µ),   d = 2 [c(y') − y' log µ' + µ'],   y' = (y + σ²/F²)/F²,   µ' = (µ + σ²/F²)/F²,

with c(y') = y' log y' − y' for y' > 0, so that d ≥ 0 there and d = 0 at y = µ; a constant floor inside the logarithm
continues it to the pixels that read noise drives below −σ². What a good fit gives is not one per pixel but the exact
expectation of d under Poisson ⊗ Gaussian noise (0.30 at µ = 0.05, 0.70 at 0.2, 1.15 at 1), summed pixel by pixel; so
for its variance.
With excess noise the score and d are those of F² × Poisson(µ/F²), which has the right mean and variance; the
expectation of d and its variance are those of the register, `detector`, whose skewness is half as large again.

F² = 0 leaves Gaussian noise of variance σ², and d → (y − µ)²/σ²: so one likelihood holds for numbers of several kinds,
each with its own F² and σ².
"""

from functools import lru_cache
from math import erfc, log, sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.fit.detector import Detector

LOGARITHM_FLOOR = 0.05  # in photoelectrons, or of σ² where that is smaller: any constant serves, the law uses the same
TABLE_END = 200.0  # photoelectrons per pixel above which the asymptotic series is exact to 1e-4
TABLE_START = 1e-6
NOTHING = 1e-100  # photoelectrons that weigh as none, but whose quotients would overflow


class Counts(NamedTuple):
    """The data of one fit as arrays of one shape (frames, ny, nx), in photoelectrons; padded where `used` is 0.

    excess: F² of all numbers, or of each; 0 for those with Gaussian noise of variance `floor`.
    """

    photons: Float[Array | np.ndarray, "F ny nx"]
    used: Float[Array | np.ndarray, "F ny nx"]
    flat: Float[Array | np.ndarray, "F ny nx"]
    floor: Float[Array | np.ndarray, "F ny nx"]
    excess: Float[Array | np.ndarray, "..."]


class Goodness(NamedTuple):
    """Deviance against its law: ratio to the expectation, deviation in standard deviations, two-sided p-value."""

    deviance: float
    expected: float
    ratio: float
    z: float
    p_value: float

    @property
    def tests(self) -> dict[str, float]:
        """As a measurement keeps it."""
        return {"deviance_ratio": self.ratio, "z": self.z, "p_value": self.p_value, "deviance": self.deviance}


def variance(expected: Float[Array, "..."], counts: Counts) -> Float[Array, "..."]:
    """V(µ) = F² µ + σ², kept positive where a trial step would make it otherwise."""
    law = counts.excess * expected + counts.floor
    smallest = 1e-12 + 0.01 * counts.floor
    return jnp.where((law > smallest) | (counts.excess == 0), law, smallest)


def objective(expected: Float[Array, "F ny nx"], counts: Counts, noise: str) -> Float[Array, ""]:
    """The deviance up to a constant of the data, for the fit: its slope is −2 Σ (y − µ)/V ∂µ.

    noise="poisson": the shifted Poisson form; noise="gaussian": Σ (y − µ)²/σ². Each pixel is counted from
    µ = y, so that rounding does not blur the comparison of two steps.
    """
    if noise == "gaussian":
        return jnp.sum(counts.used * (counts.photons - expected) ** 2 / counts.floor)
    even = counts.excess == 0
    excess, error2 = jnp.where(even, 1.0, counts.excess), jnp.where(even, counts.floor, 1.0)
    floor = counts.floor / excess
    shifted, law = counts.photons + floor, variance(expected, counts) / excess
    logarithm = jnp.log(law / jnp.where(shifted > NOTHING, shifted, 1.0))
    counted = 2 * (law - shifted - shifted * logarithm) / excess
    return jnp.sum(counts.used * jnp.where(even, (counts.photons - expected) ** 2 / error2, counted))


def deviance(
    photons: Float64[np.ndarray, "..."], expected: Float64[np.ndarray, "..."], floor: float = 0.0, excess: float = 1.0
) -> Float64[np.ndarray, "..."]:
    """d(y, µ) of each pixel; `floor` is σ² (photoelectrons²), `excess` F². Needs F² µ + σ² > 0."""
    shifted, law = (photons + floor / excess) / excess, (expected + floor / excess) / excess
    return 2 * (_saturated(shifted, floor / excess**2) - shifted * np.log(law) + law)


def goodness(
    photons: Float64[np.ndarray, " n"],
    expected: Float64[np.ndarray, " n"],
    detector: Detector,
    *,
    fitted: float = 0,
) -> Goodness:
    """Hold the deviance of the used pixels against the law's own expectation and variance; `fitted` parameters.

    z = (D − E + fitted)/√Var, as each fitted parameter takes one off the expected deviance.
    """
    observed = float(deviance(photons, expected, detector.floor, detector.excess).sum())
    mean, var = deviance_moments(expected, detector)
    target, spread = float(mean.sum()) - fitted, sqrt(float(var.sum()))
    z = (observed - target) / spread
    return Goodness(observed, target, observed / max(target, 1e-300), z, erfc(abs(z) / sqrt(2)))


def goodness_of_squares(
    away: Float64[np.ndarray, "..."], law: Float64[np.ndarray, "..."], *, fitted: float = 0
) -> Goodness:
    """The same of Gaussian noise of variance `law`: Σ (y − µ)²/σ² of n pixels is χ² with n − fitted degrees."""
    observed, target = float((away**2 / law).sum()), away.size - fitted
    z = (observed - target) / sqrt(2.0 * target)
    return Goodness(observed, target, observed / max(target, 1e-300), z, erfc(abs(z) / sqrt(2)))


def deviance_moments(
    expected: Float64[np.ndarray, "..."], detector: Detector
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Expectation and variance of d(y, µ) of each pixel: n ~ Poisson(µ), read by the detector.

    From tables in µ/F², made once per detector; above 200 by the series in F²/µ, with the third cumulant of a
    multiplying register, (2F² − 1)/F² times that of Poisson counts.
    """
    scaled, noise2 = np.asarray(expected) / detector.excess, detector.floor / detector.excess**2
    grid, mean, var = _table(detector)
    place = np.log(np.clip(scaled, TABLE_START, TABLE_END))
    low_mean, low_var = np.interp(place, grid, mean), np.interp(place, grid, var)
    # Below the table both are linear in µ (a pixel is dark, or holds one photon), apart from the read noise's share.
    below = np.minimum(scaled / TABLE_START, 1.0).clip(min=0.0) if noise2 == 0 else 1.0
    high = np.maximum(scaled, TABLE_END)
    law = high + noise2
    high_mean = 1 + 1 / (2 * law) - (2 - 1 / detector.excess) * high / (3 * law**2)
    high_var = 2 + (high / law) * (2 / (3 * law)) + (1 - high / law) * 2 / law
    above = scaled > TABLE_END
    return np.where(above, high_mean, low_mean * below), np.where(above, high_var, low_var * below)


@lru_cache(maxsize=64)
def _table(detector: Detector):
    """log µ/F² and the moments of d there: sums over the photons n of sums over what the detector reads, once per n.

    E d = 2 [E c − log µ' E y' + µ'] and Var d = 4 [Var c − 2 log µ' Cov(c, y') + log² µ' Var y'] with c = c(y').
    """
    noise2 = detector.floor / detector.excess**2
    grid = np.linspace(np.log(TABLE_START), np.log(TABLE_END), 1200 if noise2 == 0 else 600)
    end = TABLE_END * detector.excess
    photons = np.arange(int(end + 12 * sqrt(end) + 40), dtype=np.float64)
    values, weight = detector.readings(photons)
    shifted = values / detector.excess + noise2
    constant = _saturated(shifted, noise2)
    powers = (constant, shifted, constant**2, constant * shifted, shifted**2)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(photons[1:]))])
    mu, brighter = np.exp(grid), log(detector.excess)
    poisson = np.exp(photons * (grid + brighter)[:, None] - (mu * detector.excess)[:, None] - log_factorial)
    c, y, c2, cy, y2 = (poisson @ np.stack([(f * weight).sum(axis=1) for f in powers], axis=1)).T
    law = mu + noise2
    logarithm = np.log(law)
    mean = 2 * (c - y * logarithm + law)
    var = 4 * (c2 - c**2 - 2 * logarithm * (cy - c * y) + logarithm**2 * (y2 - y**2))
    return grid, mean, var


def _saturated(shifted, noise2: float):
    """c(y') = y' log y' − y', continued through zero with a constant inside the logarithm."""
    least = min(LOGARITHM_FLOOR, max(noise2, 1e-300))
    return shifted * np.log(np.maximum(shifted, least)) - shifted
