"""From a fit to numbers with errors and limits: what the likelihood itself says where a standard error would not do.

A parameter has its Fisher interval as long as its error is small. Beyond 10 %, or on a natural limit of the search, the
two ends are tried: where the data do not tell the value from nothing, or from an endless one, the other side is a 95 %
limit; where from neither, there is no number at all; else the interval is that of the profile likelihood. So is that of
a number that hangs together with another that is very unsure: what curvature tells of both holds nearby only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.fit.fitted import Fitted
from excidiff.inverse.fit.limits import SMALLEST_LENGTH, gate_limits
from excidiff.inverse.fit.magnification import added_to
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.parameters import OPTICAL, UNITS, kind, outer, scale
from excidiff.inverse.fit.spot import SpotFit
from excidiff.inverse.fit.uncertainty import NORMAL_95, RISE_68, RISE_ONE_SIDED, RISE_TWO_SIDED, profile_bound
from excidiff.inverse.results.result import Estimate, Origin

DOUBTFUL = 0.1  # relative error above which the profile likelihood is asked, whatever interval was
VERY_DOUBTFUL = 3 * DOUBTFUL  # that of a number whose profile is no parabola, nor that of what is tied to it
TIED = 0.5  # correlation of two numbers of which one's error then tells nothing of the other's interval
NEXT_TO = 1.5  # ratio to a natural limit within which a value that no slope moves is on it
NOTHING = 1e-3  # of s: a diffusion length as good as none
ZERO_COUNTS_95 = 3.0  # ln 20: a Poisson mean that gives nothing with 5 % probability


def estimates(fit: SpotFit, interval: str = "fisher") -> dict[str, Estimate]:
    """Every parameter with its error; the width as `laser_fwhm` is left to the optics."""
    found = {name: estimate(fit, name) for name in fit.names if name not in OPTICAL}
    if "diffusion_length" in found:
        found["diffusion_length"] = _length(fit, interval)
    return found


def of_gates(
    fit: SpotFit, gates: Float64[np.ndarray, "F 2"], interval: str, by_length: Callable[[], SpotFit]
) -> dict[str, Estimate]:
    """The same for a movie, with L = √(Dτ); `by_length` fits it by L and τ, where D and τ do not give an error of L."""
    found, limits = estimates(fit), gate_limits(gates, fit.value("width"))
    found["lifetime"] = searched(fit, "lifetime", "fisher", natural=limits["lifetime"], ends=limits["lifetime"])
    slow, fast = limits["diffusivity"]
    ends = (slow * (NOTHING / SMALLEST_LENGTH) ** 2, fast)
    endless = is_limit(found["lifetime"], 0)  # gates that see only L leave D as open above as τ below
    found["diffusivity"] = searched(fit, "diffusivity", "fisher", natural=(slow, fast), ends=ends, endless=endless)
    if is_endless(found["lifetime"]) and found["amplitude"].origin != "given":
        found["amplitude"] = Estimate(None, unit=UNITS["amplitude"], identifiable=False)  # of all times, ∝ τ
    return {"diffusion_length": _product(fit, found["diffusivity"], found["lifetime"], interval, by_length), **found}


def positive(value: float, error: float, unit: str, origin: Origin = "derived") -> Estimate:
    """A number with its relative error, its interval symmetric in its logarithm."""
    span = float(np.exp(NORMAL_95 * error))
    return Estimate(value, value * error, (value / span, value * span), unit, origin=origin)


def with_magnification(found: dict[str, Estimate], fit: SpotFit, optics: Optics) -> dict[str, Estimate]:
    """The same, all that scales with the pixels with the error of the magnification."""
    if not optics.magnification_error:
        return found
    scaled = ("diffusion_length", "diffusivity", "centre_x", "centre_y")
    return found | {
        name: widened(found[name], float(np.sqrt(added_to(fit, optics, name))), straight=name.startswith("centre"))
        for name in scaled
        if name in found and found[name].origin != "given"
    }


def widened(entry: Estimate, error: float, *, straight: bool = False) -> Estimate:
    """An estimate whose logarithm, or itself if `straight`, has another independent error, by squares.

    Of a limit, whose value is where the search ended, the end is moved by 95 % of it on that side.
    """
    value = entry.value
    if value is None or not error:
        return entry
    turn, back = (float, float) if straight else (np.log, np.exp)

    def end(bound: float | None, side: int, many: float) -> float | None:
        if bound is None:
            return None
        if entry.stderr is None:
            return float(back(turn(bound) + side * sqrt(RISE_ONE_SIDED) * error))
        return float(back(turn(value) + side * np.hypot(turn(bound) - turn(value), many * error)))

    sides = {
        name: None if ends is None else (end(ends[0], -1, many), end(ends[1], 1, many))
        for name, ends, many in (("interval68", entry.interval68, 1.0), ("interval95", entry.interval95, NORMAL_95))
    }
    grown = None if entry.stderr is None else float(np.hypot(entry.stderr, error if straight else value * error))
    return replace(entry, stderr=grown, **sides)


def is_endless(lifetime: Estimate) -> bool:
    """Whether the data do not tell a lifetime from an endless one."""
    return lifetime.value is None or is_limit(lifetime, 1)


def is_limit(entry: Estimate, side: int) -> bool:
    """Whether it is a limit from the data that leaves the lower (0) or upper (1) side open."""
    bounds = entry.interval95
    return entry.at_bound and bounds is not None and bounds[side] is None and entry.value not in bounds


def estimate(fit: Fitted, name: str) -> Estimate:
    index, unit = fit.names.index(name), UNITS[kind(name)]
    own, error = float(fit.values[index]), fit.error(name)
    value = outer(name, own)
    if name in fit.blind:
        return Estimate(None, unit=unit, identifiable=False)
    if name in fit.at_bound:
        return _on_bound(fit, name, value)
    if not fit.moving[index]:
        return Estimate(value, unit=unit, origin="given")
    stderr = error * scale(name, own)
    return Estimate(value, stderr, (outer(name, own - NORMAL_95 * error), outer(name, own + NORMAL_95 * error)), unit)


def leans(fit: Fitted, name: str, others: Sequence[str]) -> bool:
    """Whether one of `others` is so unsure that the error of `name`, tied to it, is not its curvature's."""
    ties = fit.correlation().get(name, {})
    return any(
        abs(ties.get(other, 0.0)) > TIED and fit.error(other) > VERY_DOUBTFUL for other in others if other != name
    )


def leaning(fit: Fitted, name: str, others: Sequence[str]) -> Estimate:
    """An estimate, with the intervals of its profile where it leans on one of `others`."""
    simple, limits, index = estimate(fit, name), fit.problem.knowledge, fit.names.index(name)
    if not simple.stderr or not leans(fit, name, others):
        return simple
    return _profiled(fit, name, simple, (float(limits.lower[index]), float(limits.upper[index])))


def _on_bound(fit: Fitted, name: str, value: float) -> Estimate:
    """A one-sided interval: of a background, where the likelihood, falling straight from the bound, has lost ln 20."""
    slope = float(fit.slope[fit.names.index(name)])
    reach = ZERO_COUNTS_95 / abs(slope) if slope else np.inf
    if name == "background" and slope < 0:
        return Estimate(value, None, (None, value + reach), UNITS[kind(name)], at_bound=True)
    sides = (None, value) if slope < 0 else (value, None)
    return Estimate(value, None, sides, UNITS[kind(name)], at_bound=True)


def _length(fit: SpotFit, interval: str) -> Estimate:
    """The diffusion length: an upper limit where the image is as narrow as the laser's, else perhaps a profile."""
    width = fit.value("width")
    natural = (SMALLEST_LENGTH * width, np.inf)
    return searched(fit, "diffusion_length", interval, natural=natural, ends=(NOTHING * width, 1e4 * width))


def searched(
    fit: Fitted,
    name: str,
    interval: str,
    *,
    natural: tuple[float, float],
    ends: tuple[float, float],
    endless: bool = False,
    others: Sequence[str] = (),
) -> Estimate:
    """An estimate of what is positive and may be as good as nothing, or endless: all in house units.

    `natural`: where the search for it ends by itself; `ends`: as good as nothing, as good as endless, which it is known
    to be if `endless`. others: numbers that it may lean on.
    """
    simple, index = estimate(fit, name), fit.names.index(name)
    blind = name in fit.blind
    moving, own, error = bool(fit.moving[index]) and not blind, float(fit.values[index]), fit.error(name)
    if simple.origin == "given" or (simple.at_bound and not _on_natural(fit, name, natural)):
        return simple
    low, high = np.log(ends[0]), np.log(ends[1])
    if not moving or endless or error > DOUBTFUL:
        below = fit.profiled(name, low) < RISE_ONE_SIDED
        above = endless or fit.profiled(name, high) < RISE_ONE_SIDED
        if below and above:
            return Estimate(None, unit=simple.unit, identifiable=False)
        if below or above:
            step, end = max(0.05, min(error or 0.5, 0.5)), high if below else low
            bound = _bound(fit, name, own, step if below else -step, end, RISE_ONE_SIDED)
            sides = (None, bound) if below else (bound, None)
            return Estimate(outer(name, own), None, sides, simple.unit, at_bound=True)
    if moving and (interval == "profile" or error > DOUBTFUL or leans(fit, name, others)):
        return _profiled(fit, name, simple, (low, high))
    return simple


def _profiled(fit: Fitted, name: str, simple: Estimate, ends: tuple[float, float]) -> Estimate:
    """The same with the intervals of its profile, which end at the fit's own numbers `ends` at last."""
    own, error = float(fit.values[fit.names.index(name)]), fit.error(name)
    inner, wide = (
        tuple(_bound(fit, name, own, side * many * error, end, rise) for side, end in zip((-1, 1), ends, strict=True))
        for many, rise in ((1, RISE_68), (2, RISE_TWO_SIDED))
    )
    return replace(simple, interval68=inner, interval95=wide)


def _on_natural(fit: Fitted, name: str, natural: tuple[float, float]) -> bool:
    """Whether a limit of the search holds a parameter, rather than a bound that was set."""
    value, slope = fit.value(name), float(fit.slope[fit.names.index(name)])
    return value < NEXT_TO * natural[0] if slope < 0 else value * NEXT_TO > natural[1]


def _bound(fit: Fitted, name: str, own: float, step: float, limit: float, rise: float = RISE_TWO_SIDED) -> float | None:
    found = profile_bound(lambda at: fit.profiled(name, at), own, step, limit=limit, rise=rise)
    return None if found is None else outer(name, found)


def _product(
    fit: SpotFit, diffusivity: Estimate, lifetime: Estimate, interval: str, by_length: Callable[[], SpotFit]
) -> Estimate:
    """L = √(Dτ): of two good numbers by their covariance, of one that is held by the other, else a fit of L."""
    pair = (diffusivity, lifetime)
    if is_endless(lifetime):
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    for held, other in (pair, pair[::-1]):
        if held.origin == "given" or _on_set_bound(held):
            return _root(held, other)
    sure = all(one.stderr and one.value and one.stderr <= DOUBTFUL * one.value for one in pair)
    if interval == "profile" or not sure:
        return replace(_length(by_length(), "profile"), origin="derived")
    index = [fit.names.index("diffusivity"), fit.names.index("lifetime")]
    own, error = fit.values[index].sum() / 2, float(np.sqrt(fit.covariance[np.ix_(index, index)].sum())) / 2
    value, span = float(np.exp(own)), float(np.exp(NORMAL_95 * error))
    return Estimate(value, value * error, (value / span, value * span), "um", origin="derived")


def _root(held: Estimate, other: Estimate) -> Estimate:
    """L of a number that is given and another; of one on a bound that was set, the side of L that the bound leaves."""
    if held.value is None or other.value is None:
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    value = float(np.sqrt(held.value * other.value))
    if held.origin != "given":
        sides = (None, value) if held.interval95 and held.interval95[0] is None else (value, None)
        return Estimate(value, None, sides, "um", at_bound=True, origin="derived")
    stderr = None if other.stderr is None else value * other.stderr / other.value / 2
    bounds = other.interval95 or (None, None)
    low, high = (None if side is None else float(np.sqrt(side * held.value)) for side in bounds)
    return Estimate(value, stderr, (low, high), "um", at_bound=other.at_bound, origin="derived")


def _on_set_bound(entry: Estimate) -> bool:
    return entry.at_bound and entry.interval95 is not None and entry.value in entry.interval95
