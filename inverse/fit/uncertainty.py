"""How sure a fit is: expected information, singular directions, profile likelihood, and means with common errors.

The covariance is the inverse of the expected information JᵀV⁻¹J + Λ at the optimum (Fisher), over the parameters that
the fit left free. A 95 % interval follows from it in the fit's own numbers, θ ± 1.96 σ, so that of a positive
parameter is multiplicative: L e^{±1.96 σ(log L)}. The profile likelihood instead finds where the deviance, minimised
over everything else, has risen by 3.84 (both sides) or 2.71 (one side, at a bound).
"""

from collections.abc import Callable
from math import erfc, exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

NORMAL_95 = 1.959964
RISE_TWO_SIDED = 3.841459
RISE_68 = 1.0
RISE_ONE_SIDED = 2.705543
SINGULAR = 1e-9  # of the largest eigenvalue of the correlation-scaled information, below which a direction is blind


class Covariance(NamedTuple):
    """Covariance in the fit's own numbers (0 where not free), and the parameters in a blind direction, if any."""

    matrix: Float64[np.ndarray, "P P"]
    blind: tuple[int, ...]


class Mean(NamedTuple):
    """A weighted mean with common errors counted once; chi2 of the scatter about it with its degrees of freedom."""

    value: float
    stderr: float
    weights: Float64[np.ndarray, " n"]
    chi2: float


def covariance(information: Float64[np.ndarray, "P P"], free: Bool[np.ndarray, " P"]) -> Covariance:
    """Invert the information over the free parameters; a singular direction gets no error but its members' names.

    Each parameter is first scaled by its own curvature, so that units do not decide what is singular.
    """
    index = np.flatnonzero(free)
    matrix, blind = np.zeros_like(information), []
    diagonal = np.diagonal(information)[index]
    seen = diagonal > 0
    blind += [int(i) for i in index[~seen]]
    index, diagonal = index[seen], diagonal[seen]
    if index.size:
        unit = 1 / np.sqrt(diagonal)
        values, vectors = np.linalg.eigh(information[np.ix_(index, index)] * np.outer(unit, unit))
        bad = values < SINGULAR * values[-1]
        blind += [int(index[k]) for k in np.flatnonzero((np.abs(vectors[:, bad]) > 0.1).any(axis=1))]
        inverse = (vectors[:, ~bad] / values[~bad]) @ vectors[:, ~bad].T
        matrix[np.ix_(index, index)] = inverse * np.outer(unit, unit)
    return Covariance(matrix, tuple(sorted(blind)))


def profile_bound(
    deviance: Callable[[float], float],
    best: float,
    step: float,
    *,
    rise: float = RISE_TWO_SIDED,
    limit: float,
    tolerance: float = 1e-3,
) -> float | None:
    """Where, from `best` along the sign of `step`, the profiled deviance has risen by `rise`.

    `deviance(θ)` is the deviance above its minimum with the parameter held at θ; it is followed from `best` by `step`
    and twice that and so on, up to `limit`; None if it never rises so far. The root of √rise is nearly linear and is
    found by the Illinois form of false position, in a handful of fits.
    """
    target = np.sqrt(rise)
    low, value_low = best, -target
    high = best
    for _ in range(60):
        high = min(high + step, limit) if step > 0 else max(high + step, limit)
        value_high = np.sqrt(max(deviance(high), 0.0)) - target
        if value_high >= 0:
            break
        if high == limit:
            return None
        low, value_low, step = high, value_high, 2 * step
    else:
        return None
    for _ in range(40):
        middle = high - value_high * (high - low) / (value_high - value_low)
        value = np.sqrt(max(deviance(middle), 0.0)) - target
        if abs(value) < tolerance * target:
            return float(middle)
        if value * value_high < 0:
            low, value_low = high, value_high
        else:
            value_low = value_low / 2
        high, value_high = middle, value
    return float(high)


def weighted_mean(
    values: Float64[np.ndarray, " n"],
    variances: Float64[np.ndarray, " n"],
    shared: Float64[np.ndarray, "n k"],
    precision: Float64[np.ndarray, "k k"],
) -> Mean:
    """The best mean of n fits that share k pieces of knowledge (the laser's width), counted once.

    Knowledge with precision matrix P enters fit i through the column g_i = Σ_i[value, shared] of its own covariance:
    an error δ of it moves value i by g_i P δ. So C_ij = g_i P g_j for i ≠ j, C_ii = variances, and the mean is
    (1ᵀC⁻¹x)/(1ᵀC⁻¹1). chi2 = (x − mean)ᵀC⁻¹(x − mean) has n − 1 degrees of freedom.
    """
    matrix = shared @ precision @ shared.T
    np.fill_diagonal(matrix, variances)
    ones = np.ones_like(values)
    solved = np.linalg.solve(matrix, np.stack([ones, values], axis=1))
    norm = float(ones @ solved[:, 0])
    mean = float(ones @ solved[:, 1]) / norm
    away = values - mean
    return Mean(mean, 1 / np.sqrt(norm), solved[:, 0] / norm, float(away @ np.linalg.solve(matrix, away)))


def chi2_tail(chi2: float, freedom: int) -> float:
    """P(χ² > chi2) for a whole number of degrees of freedom: e^{−h} Σ h^p/Γ(p + 1), h = chi2/2, and erfc(√h) if odd."""
    half = chi2 / 2
    if half <= 0:
        return 1.0
    odd = freedom % 2
    powers = np.arange(odd / 2, freedom / 2 - 0.25)
    return min(1.0, odd * erfc(sqrt(half)) + sum(exp(p * log(half) - half - lgamma(p + 1)) for p in powers))
