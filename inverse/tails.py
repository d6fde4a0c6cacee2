"""Tails and quantiles of Student's t, for any degrees of freedom, and of χ², for whole ones.

    P(|T| > t) = I_x(ν/2, 1/2),   x = ν/(ν + t²)

I_x is the regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8, 26.7.1).
"""

from collections.abc import Callable
from math import erfc, exp, lgamma, log, log1p, sqrt

from excidiff.inverse.fit.uncertainty import chi2_tail

NORMAL = 1e6  # degrees of freedom beyond which t is a normal number, to 1e-6 of its tail
STEPS = 10_000  # of the continued fraction, which needs some √ν
TINY = 1e-300


def t_both_tails(t: float, freedom: float) -> float:
    """P(|T| > |t|) to 1e-10 of itself; `freedom` positive, not necessarily whole."""
    if freedom > NORMAL:
        return erfc(abs(t) / sqrt(2))
    return _beta(freedom / (freedom + t * t), t * t / (freedom + t * t), freedom / 2, 0.5)


def t_quantile(both_tails: float, freedom: float) -> float:
    """The t ≥ 0 with P(|T| > t) = `both_tails`, which is between 0 and 1."""
    return _falling(lambda t: t_both_tails(t, freedom), both_tails)


def chi2_quantile(tail: float, freedom: int) -> float:
    """The x with P(χ² > x) = `tail`, which is between 0 and 1."""
    return _falling(lambda x: chi2_tail(x, freedom), tail)


def _falling(function: Callable[[float], float], target: float) -> float:
    """Where a function that falls from 1 at 0 towards 0 has the value `target`, to the last digit."""
    high = 1.0
    while function(high) > target:
        high *= 2
    low = 0.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if function(middle) > target else (low, middle)
    return high


def _beta(x: float, rest: float, a: float, b: float) -> float:
    """I_x(a, b), `rest` = 1 − x; from the side on which the fraction converges fast."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_below(rest, x, b, a)
    return _beta_below(x, rest, a, b)


def _beta_below(x: float, rest: float, a: float, b: float) -> float:
    logarithm = log(x) if x < 0.5 else log1p(-rest)
    other = log(rest) if rest < 0.5 else log1p(-x)
    front = exp(a * logarithm + b * other + lgamma(a + b) - lgamma(a) - lgamma(b)) / a
    return front / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d₁/(1 + d₂/(1 + …)) by Lentz's method."""
    value, above, below = 1.0, 1.0, 0.0
    for step in range(1, STEPS):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / (1 + term * below or TINY)
        above = 1 + term / above or TINY
        value *= above * below
        if abs(above * below - 1) < 1e-15:
            break
    return value
