"""Samples of several images each: the mean of each with its error, the spread between its images, their differences.

Image i of a sample shows y_i = µ + b_i + e_i: the sample's mean, what this place has beyond it (standard deviation σ_b)
and the error of its own fit (s_i). With weights w_i = 1/(s_i² + σ_b²), µ = Σ w y/Σ w and

    Q(σ_b²) = Σ w_i (y_i − µ)²

is χ² of n − 1 degrees of freedom at the true σ_b. Its expectation gives σ_b (Paule and Mandel, J. Res. NBS 87 (1982)
377), its quantiles the 95 % interval of σ_b (Q-profile: Viechtbauer, Statistics in Medicine 26 (2007) 37), and Q(0) the
test that all images are alike (Cochran, Biometrics 10 (1954) 101). The error of µ is that of Hartung and Knapp
(Statistics in Medicine 20 (2001) 3875), Q(σ_b²)/((n − 1) Σ w), held against Student's t of n − 1 degrees of freedom,
where Q(σ_b²)/(n − 1) is never taken below one (Röver, Knapp and Friede, BMC Med. Res. Methodol. 15 (2015) 99): images
that agree better than their errors do so by chance. With σ_b of Paule and Mandel the factor then is one.

Two means differ with the sum of their variances, and degrees of freedom after Welch and Satterthwaite. An error that
all images of a sample share, such as that of the laser's width, does not fall with their number. A result counts it
once in the error S of its mean, but in that of every image. If it is the share ρ of each variance s_i²,

    S² = (1 − ρ) Σ v_i² s_i² + ρ (Σ v_i s_i)²,    v the weights of that mean,

which gives ρ, the common error c = √ρ Σ v_i s_i, and the own errors √(1 − ρ) s_i that belong above.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.batch import DISAGREE
from excidiff.inverse.fit.uncertainty import chi2_tail
from excidiff.inverse.results.sampled import SURE, Mean, Pair, Sample
from excidiff.inverse.tails import chi2_quantile, t_both_tails, t_quantile

POWER = 0.8  # of a difference that "would be seen"
MOST_SHARED = 0.99  # of a variance: beyond, what is left of its own is rounding
STEPS = 200

Vector = Float64[np.ndarray, " n"]


class Pooled(NamedTuple):
    """The mean of images with its standard error, and the standard deviation between them."""

    value: float
    stderr: float
    spread: float


def pool(values: Vector, errors: Vector) -> Pooled:
    """µ, its error and σ_b of at least two images, as the module says."""
    between = between_variance(values, errors, values.size - 1)
    mean, weights, _ = _about(values, errors, between)
    return Pooled(mean, sqrt(1 / weights.sum()), sqrt(between))


def between_variance(values: Vector, errors: Vector, target: float) -> float:
    """The σ_b² at which Q is `target`, 0 where Q(0) is less. Q is convex, so that Newton's steps do not overshoot."""
    between = 0.0
    for _ in range(STEPS):
        mean, weights, q = _about(values, errors, between)
        if q <= target * (1 + 1e-12):
            break
        between += (q - target) / float(weights**2 @ (values - mean) ** 2)
    return between


def spread_interval(values: Vector, errors: Vector) -> tuple[float, float]:
    """The 95 % interval of σ_b, (0, 0) for images that agree better than errors allow."""
    low, high = (
        sqrt(between_variance(values, errors, chi2_quantile(tail, values.size - 1))) for tail in (0.025, 0.975)
    )
    return low, high


def common_error(values: Vector, errors: Vector, stderr: float | None) -> tuple[float, float]:
    """(ρ, c) from the error of the result's own mean: the module's last formula. (0, 0) where there is no such mean."""
    if stderr is None or values.size < 2:
        return 0.0, 0.0
    _, weights, q = _about(values, errors, 0.0)
    if chi2_tail(q, values.size - 1) < DISAGREE:  # then the result's mean is one of images that differ
        weights = _about(values, errors, between_variance(values, errors, values.size - 1))[1]
    weights = weights / weights.sum()
    apart, together = float(weights**2 @ errors**2), float(weights @ errors)
    share = (stderr**2 - apart) / (together**2 - apart)
    share = min(max(share, 0.0), MOST_SHARED)
    return share, sqrt(share) * together


def summarise(sample: Sample, stderr: float | None, scale: float = 0.0) -> Sample:
    """The sample with all its numbers; `stderr` is the error of the mean that the result itself gives, without that of
    the magnification, `scale`, which errors of single images do not have in them."""
    values, errors = (np.array([getattr(one, name) for one in sample.used], float) for name in ("value", "stderr"))
    if not values.size:
        return sample
    told: dict[str, Any] = {
        "plain": float(values.mean()),
        "median": float(np.median(values)),
        "lowest": float(values.min()),
        "highest": float(values.max()),
    }
    if values.size == 1:
        alone = Mean(float(values[0]), float(np.hypot(errors[0], scale)))
        return replace(sample, mean=alone, weighted=alone, **told)
    freedom = values.size - 1
    share, common = common_error(values, errors, stderr)
    own, common = errors * sqrt(1 - share), float(np.hypot(common, scale))
    weighted, weights, q = _about(values, own, 0.0)
    found = pool(values, own)
    error, grown = combine([(found.stderr**2, freedom)], common)
    half = t_quantile(0.05, grown) * error
    return replace(
        sample,
        mean=Mean(found.value, error),
        interval95=(found.value - half, found.value + half),
        own=found.stderr,
        freedom=freedom,
        common=common,
        weighted=Mean(weighted, sqrt(1 / float(weights.sum()) + common**2)),
        deviation=float(values.std(ddof=1)),
        spread=found.spread,
        spread95=spread_interval(values, own),
        q=q,
        alike=chi2_tail(q, freedom),
        **told,
    )


def combine(parts: Sequence[tuple[float, float]], common: float) -> tuple[float, float]:
    """(standard error, degrees of freedom) of a sum of variances with their degrees of freedom, and of a known error.

    ν = (Σ V + c²)²/Σ V²/ν (Welch, Biometrika 34 (1947) 28; Satterthwaite, Biometrics Bulletin 2 (1946) 110).
    """
    variance = sum(part for part, _ in parts) + common**2
    return sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)


def pairs_of(samples: Sequence[Sample]) -> tuple[Pair, ...]:
    """Every two samples against each other, corrected for their number where there is a probability."""
    found = list(combinations(samples, 2))
    count = sum(a.own is not None and b.own is not None for a, b in found)
    pairs = [_difference(a, b, count) for a, b in found]
    corrected = iter(holm([pair.p_value for pair in pairs if pair.p_value is not None]))
    return tuple(pair if pair.p_value is None else replace(pair, corrected=next(corrected)) for pair in pairs)


def holm(chances: Sequence[float]) -> list[float]:
    """Probabilities corrected for their number (Holm, Scand. J. Statistics 6 (1979) 65), in the order given."""
    corrected, worst = [0.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        worst = max(worst, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = worst
    return corrected


def _difference(a: Sample, b: Sample, count: int) -> Pair:
    """a − b; what would be seen is asked of the strictest of `count` corrected tests."""
    one = dict(a.instrument) == dict(b.instrument)
    if a.mean is None or b.mean is None or a.own is None or b.own is None or a.common is None or b.common is None:
        return Pair(a.name, b.name, one)
    common = abs(a.common - b.common) if one else float(np.hypot(a.common, b.common))
    error, freedom = combine([(a.own**2, a.freedom), (b.own**2, b.freedom)], common)
    value, half = a.mean.value - b.mean.value, t_quantile(0.05, freedom) * error
    reach = t_quantile(SURE / count, freedom) + t_quantile(2 * (1 - POWER), freedom)
    return Pair(
        a.name,
        b.name,
        one,
        value=value,
        stderr=error,
        freedom=freedom,
        interval95=(value - half, value + half),
        p_value=t_both_tails(value / error, freedom),
        seen_from=reach * error,
        common=common,
    )


def _about(values: Vector, errors: Vector, between: float) -> tuple[float, Vector, float]:
    """(mean, weights, Q) at σ_b² = `between`."""
    weights = 1 / (errors**2 + between)
    mean = float(weights @ values / weights.sum())
    return mean, weights, float(weights @ (values - mean) ** 2)
