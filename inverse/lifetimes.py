"""One decay, measured: lifetimes with errors or limits, their shares of the photons, and what speaks against them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt
from typing import Any

import numpy as np

from excidiff.inverse.batch import Progress
from excidiff.inverse.estimates import estimate, searched
from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.fit.blocks import UNLIKELY
from excidiff.inverse.fit.decay import SHORTEST, DecayFit, fit_decay, fits
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.likelihood import deviance, deviance_moments
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.parameters import UNITS
from excidiff.inverse.fit.quality import BAD_FIT
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import NORMAL_95, RISE_ONE_SIDED, chi2_tail, profile_bound
from excidiff.inverse.results.result import Estimate, Measurement

BLOCKS = 24  # into which the tail of a decay is cut to look for structure
WORTH = 10.0  # by how much a further lifetime, two numbers, must lower the deviance
IN_RESPONSE = 1e-3  # of its peak: bins that see the response by this much are left to its own photons' noise
SHARED = 0.05  # of a bin's variance: more than that from the response, and its neighbours err alike by right
ENDLESS = 100.0  # windows: a lifetime as good as endless
MOST = 3  # lifetimes that are tried where their number is left to the program
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, eq=False)
class MeasuredDecay:
    """One decay with its fit; `resolution` is the σ of its instrument's response or of a bin, ns, whichever is more."""

    decay: Decay
    measurement: Measurement
    fit: DecayFit
    notes: tuple[str, ...]
    resolution: float

    @property
    def lifetimes(self) -> tuple[Estimate, ...]:
        """From the slowest on."""
        found = self.measurement.parameters
        return tuple(entry for name, entry in found.items() if name.startswith("lifetime"))


def measure_decays(
    decays: Sequence[Decay], components: int | None, progress: Progress | None = None
) -> tuple[MeasuredDecay, ...]:
    """Measure each with so many lifetimes; None: with the fewest, up to `MOST`, that describe it."""
    found = []
    for number, decay in enumerate(decays, 1):
        found.append(_fewest(decay) if components is None else measure_decay(decay, components))
        if progress is not None:
            progress(number, len(decays), decay.file)
    return tuple(found)


def _fewest(decay: Decay) -> MeasuredDecay:
    """The fit with the fewest lifetimes that describes a decay; where none does, the last that each helped."""
    best = measure_decay(decay, 1)
    while best.measurement.status != "fitted" and best.fit.components < MOST and fits(decay, best.fit.components + 1):
        more = measure_decay(decay, best.fit.components + 1)
        if best.fit.least - more.fit.least < WORTH:
            count = lifetimes_in_words(best.fit.components)
            does = "do" if count.endswith("lifetimes") and not count.startswith("a ") else "does"
            reason = (
                f"{count} {does} not describe it, nor do more: check the instrument's response, the laser's period "
            )
            reason += "and the noise"
            return replace(best, measurement=replace(best.measurement, reason=reason))
        best = more
    return best


def of_one_lifetime(decays: Sequence[MeasuredDecay]) -> tuple[MeasuredDecay, ...]:
    """The same decays, each with one lifetime, whether that describes it or not."""
    return tuple(one if one.fit.components == 1 else measure_decay(one.decay, 1) for one in decays)


def agreement(decays: Sequence[MeasuredDecay]) -> float | None:
    """The probability that decays of one lifetime each differ so much by chance; None where that cannot be asked."""
    found = _single(decays)
    if len(found) < 2:
        return None
    values, errors = found.T
    weights = errors**-2.0
    return chi2_tail(float(weights @ (values - weights @ values / weights.sum()) ** 2), len(values) - 1)


def common_lifetime(decays: Sequence[MeasuredDecay]) -> Estimate:
    """The lifetime that decays of one lifetime each tell together: the mean of log τ with weights 1/σ².

    None where no decay shows one lifetime; where none has an error, what the first says.
    """
    good = [one for one in decays if one.fit.components == 1 and one.measurement.status == "fitted"]
    if not good:
        return Estimate(None, unit="ns", identifiable=False)
    found = _single(good)
    if not len(found):
        return good[0].lifetimes[0]
    if len(found) == 1:
        return next(one.lifetimes[0] for one in good if one.lifetimes[0].stderr)
    values, errors = found.T
    weights = errors**-2.0
    own, error = float(weights @ values / weights.sum()), float(weights.sum() ** -0.5)
    value, span = float(np.exp(own)), float(np.exp(NORMAL_95 * error))
    return Estimate(value, value * error, (value / span, value * span), "ns")


def _single(decays: Sequence[MeasuredDecay]) -> np.ndarray:
    """(log τ, its error) of the decays that one lifetime with an error describes."""
    good = [one for one in decays if one.fit.components == 1 and one.measurement.status == "fitted"]
    entries = [one.lifetimes[0] for one in good]
    sure = [(np.log(entry.value), entry.stderr / entry.value) for entry in entries if entry.value and entry.stderr]
    return np.array(sure).reshape(-1, 2)


def with_lifetime(known: Known, lifetime: Estimate) -> Known:
    """What is known of a spot, and a lifetime with its error beside it; one without an error is fixed instead."""
    if lifetime.value is None or not lifetime.stderr:
        return known
    size = len(known.names)
    covariance = np.zeros((size + 1, size + 1))
    covariance[:size, :size] = known.covariance
    covariance[size, size] = (lifetime.stderr / lifetime.value) ** 2
    return Known((*known.names, "lifetime"), np.append(known.mean, np.log(lifetime.value)), covariance)


def lifetimes_in_words(components: int) -> str:
    """ "one lifetime", "a mixture of two lifetimes"."""
    return "one lifetime" if components == 1 else f"a mixture of {_number(components)} lifetimes"


def measure_decay(decay: Decay, components: int = 1, escape: float | None = None) -> MeasuredDecay:
    """Fit `components` lifetimes to a decay; `escape`: of what leaves the collection spot, see `response.Window`.

    Raises InputError for what cannot be fitted.
    """
    fit = fit_decay(decay, components=components, escape=escape)
    tests = judged(fit)
    reason = _misfit(fit, tests)
    counted = {
        "photons": float(fit.counts.sum() - fit.value("background") * fit.counts.size),
        "pixels": int(fit.counts.size),
        "masked": 0,
        "fitted": int(fit.moving.sum()),
    }
    edges = decay.edges
    measurement = Measurement(
        kind="decay",
        file=decay.file,
        status="fitted" if reason is None else "flagged",
        reason=reason,
        parameters=_parameters(decay, fit),
        goodness={**tests, **counted},
        window={"t0": float(edges[0]), "t1": float(edges[-1])},
        counts=fit.counts,
        model=fit.expected,
        variance=np.maximum(fit.law, 1e-300),
        mask=np.ones(fit.counts.size, bool),
        response=fit.flash,
    )
    notes = tuple(f"{decay.file}: {note}" for note in _notes(decay))
    return MeasuredDecay(decay, measurement, fit, notes, _resolution(decay))


def _parameters(decay: Decay, fit: DecayFit) -> dict[str, Estimate]:
    numbered = [name for name in fit.names if name.startswith("lifetime")]
    window = float(np.ptp(decay.edges))
    natural = (SHORTEST * decay.width, ENDLESS * window)
    sure = "background" not in fit.at_bound
    way = "fisher" if sure else "profile"
    found = {name: searched(fit, name, way, natural=natural, ends=natural) for name in numbered}
    found = {name: entry if sure else _spread(entry) for name, entry in found.items()}
    if _noisy(fit):
        found = {name: _at_most(entry, _resolution(decay)) for name, entry in found.items()}
    if len(numbered) > 1:
        found |= _weights(fit)
    found["background"] = replace(estimate(fit, "background"), unit="photons/bin")
    if decay.irf is not None:
        found["irf_shift"] = estimate(fit, "shift")
        found["scattered_light"] = _scattered(fit)
    return found


def _spread(entry: Estimate) -> Estimate:
    """With the error that its interval shows: that of a background held by its limit would be too small beside it."""
    low, high = entry.interval95 or (None, None)
    if low is None or high is None:
        return entry
    return replace(entry, stderr=(high - low) / (2 * NORMAL_95))


def _scattered(fit: DecayFit) -> Estimate:
    """Laser light: where it was not needed, at most as much as raises the deviance by 2.71."""
    if fit.moving[-1]:
        return estimate(fit, "scatter")
    total = float(np.abs(fit.counts).sum())
    most = profile_bound(
        lambda value: fit.profiled("scatter", value), 0.0, 1e-4 * total, rise=RISE_ONE_SIDED, limit=0.5 * total
    )
    return Estimate(0.0, None, (None, most), UNITS["scatter"], identifiable=most is not None, at_bound=True)


def _noisy(fit: DecayFit) -> bool:
    """Whether a tenth of the light is in bins where the response's noise is larger than the decay's own."""
    light = np.abs(fit.expected)
    return bool(light[fit.own < 0.5 * fit.law].sum() > 0.1 * light.sum())


def _at_most(entry: Estimate, resolution: float) -> Estimate:
    """A lifetime below the resolution, read through a noisy response, as an upper limit.

    A longer one smooths the response's noise and so fits better than it should: it is biased upwards (the attenuation
    of errors in variables), by more than its error.
    """
    if entry.value is None or not entry.stderr or entry.value > resolution:
        return entry
    upper = entry.interval95[1] if entry.interval95 is not None else None
    return Estimate(entry.value, None, (None, upper), entry.unit, at_bound=True)


def _weights(fit: DecayFit) -> dict[str, Estimate]:
    """Shares of the photons, intervals symmetric in log w/(1 − w)."""
    shares, covariance = fit.weights
    found = {}
    for number, (share, error) in enumerate(zip(shares, np.sqrt(np.maximum(np.diag(covariance), 0.0)), strict=True), 1):
        name = f"weight_{number}"
        told = f"photons_{number}" not in fit.blind and f"lifetime_{number}" not in fit.blind
        if not told or not 0 < share < 1 or not 0 < error < 1:
            found[name] = Estimate(None, identifiable=False, origin="derived")
            continue
        odds, span = share / (1 - share), float(np.exp(NORMAL_95 * error / (share * (1 - share))))
        sides = tuple(float(o / (1 + o)) for o in (odds / span, odds * span))
        found[name] = Estimate(float(share), float(error), sides, origin="derived")  # type: ignore[arg-type]
    return found


def judged(fit: DecayFit) -> dict[str, Any]:
    """The deviance against its law, or χ² where the noise is not that of photons alone; the structure of the tail."""
    free = int(fit.moving.sum())
    if fit.photons and not fit.swayed:
        mean, var = (float(moment.sum()) for moment in deviance_moments(fit.expected, Detector()))
        observed = float(deviance(fit.counts, fit.expected).sum())
    else:
        fourth = np.abs(fit.own) / fit.law**2 if fit.photons else np.zeros(1)  # of Poisson counts, beyond a Gaussian's
        mean, var = float(fit.counts.size), 2.0 * fit.counts.size + float(fourth.sum()) + fit.shared
        observed = float(((fit.counts - fit.expected) ** 2 / fit.law).sum())
    z = (observed - mean + free) / sqrt(var)
    tests = {"deviance_ratio": observed / (mean - free), "z": z, "p_value": erfc(abs(z) / sqrt(2))}
    return {**tests, "deviance": observed, "structure_p": _structure(fit)}


def _structure(fit: DecayFit) -> float | None:
    """The probability of sums (y − µ) over blocks of equal light that differ this much; None for too short a tail.

    A wrong law errs alike in many neighbouring bins, which their sums see long before the deviance of them all does.
    """
    apart = fit.own > (1 - SHARED) * fit.law
    tail = np.flatnonzero((fit.flash <= IN_RESPONSE * fit.flash.max()) & apart)  # all, where the pulse came before
    if tail.size < 4 * BLOCKS:
        return None
    light = np.maximum(fit.expected[tail] - fit.value("background"), 0.0)
    light = np.cumsum(light + 0.1 * light.mean() + 1e-300)
    light /= light[-1]
    block = np.minimum((BLOCKS * light).astype(int), BLOCKS - 1)
    away, var = (np.bincount(block, weights=a[tail]) for a in (fit.counts - fit.expected, fit.law))
    good = var > 0
    return chi2_tail(float((away[good] ** 2 / var[good]).sum()), int(good.sum()))


def _misfit(fit: DecayFit, tests: dict[str, Any]) -> str | None:
    """In words, why a fit is not to be trusted; None where nothing speaks against it."""
    if not fit.converged:
        return f"the fit did not converge in {fit.steps} steps"
    if "shift" in fit.at_bound:
        return "the time of the pulse was not found: the response's shift ended on its limit; do both cover the rise?"
    z, ratio, structure = tests["z"], tests["deviance_ratio"], tests["structure_p"]
    if abs(z) <= BAD_FIT and (structure is None or structure > UNLIKELY):
        return None
    if z < -BAD_FIT and not fit.photons:
        return f"χ² is {ratio:.3g} times what the uncertainties explain: they are too large, or not independent"
    if z < -BAD_FIT:
        return (
            f"the deviance is {ratio:.3g} times what the noise explains: the counts scatter less than photons can; "
            "were they smoothed, averaged or rescaled?"
        )
    count, verb = ("one lifetime", "does") if fit.components == 1 else (f"{_number(fit.components)} lifetimes", "do")
    more = f"--model mixture --components {fit.components + 1}"
    if not fit.photons and z > BAD_FIT:
        return (
            f"χ² is {ratio:.3g} times what the uncertainties explain: are they too small, or the response or the "
            f"period wrong? If not, {count} {verb} not describe this decay: try {more}"
        )
    if structure is not None and structure <= UNLIKELY:
        chance = "p < 1e-10" if structure < 1e-10 else f"p = {structure:.1g}"
        return f"{count} {verb} not describe its tail, where neighbouring bins err alike ({chance}): try {more}"
    return (
        f"the deviance is {ratio:.3g} times what the noise explains, most of it near the rise: check the instrument's "
        f"response and the laser's period; if both are right, {count} {verb} not describe this decay: try {more}"
    )


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _resolution(decay: Decay) -> float:
    if decay.irf is None:
        return decay.width / sqrt(12)
    if not isinstance(decay.irf, Response):
        return max(float(decay.irf) / FWHM, decay.width / sqrt(12))
    seen = np.maximum(decay.irf.counts - 0.05 * decay.irf.counts.max(), 0.0)
    middle = float(seen @ decay.irf.time / seen.sum())
    return max(float(np.sqrt(seen @ (decay.irf.time - middle) ** 2 / seen.sum())), decay.width / sqrt(12))


def _notes(decay: Decay) -> list[str]:
    """What was assumed of the instrument and is not known."""
    if decay.irf is None:
        return ["no instrument response was given: it is taken as instantaneous; give --irf or --irf-fwhm"]
    if isinstance(decay.irf, Response) and decay.irf.noise is None:
        return ["the response's counts are no whole numbers, so that its own noise is not known and left out"]
    return []
