"""Does the model describe the counts? Goodness of one fit, and what a misfit looks like: a gain, or a structure.

Counts that are photoelectrons times an unknown gain g scatter g times more than Poisson counts, in bright and dim
pixels alike and without likeness between neighbours. A wrong model shows the opposite: neighbours that err alike.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from excidiff.inverse.fit.likelihood import goodness, goodness_of_squares
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.spot import SpotFit
from excidiff.inverse.fit.start import FWHM

BAD_FIT = 4.0  # standard deviations of the deviance from its expectation
NOT_PHOTONS = 1.03  # ratio of the deviance to its expectation, either way, that asks for another gain
AT_ODDS = 4.0  # standard deviations between what two measurements say


@dataclass(frozen=True)
class Dispersion:
    """How the residuals scatter against the law: overall, in bright and dim pixels, and how alike neighbours are."""

    overall: float
    bright: float
    dim: float
    bright_error: float
    dim_error: float
    likeness: float
    likeness_error: float

    @property
    def structureless(self) -> bool:
        """Whether it looks like a gain: equal in bright and dim pixels, neighbours independent."""
        apart = abs(self.bright - self.dim)
        alike = apart < max(4 * np.hypot(self.bright_error, self.dim_error), 0.1 * self.overall)
        return bool(alike and abs(self.likeness) < max(5 * self.likeness_error, 0.01))


class Tension(NamedTuple):
    """What the data alone say of a known number, in the fit's own: their value, its variance, and how far off it is."""

    value: float
    variance: float
    pull: float


def tension(fit: SpotFit, known: Known, name: str = "width") -> Tension | None:
    """Whether the data contradict what is `known` of `name`; None where it is exact or they say nothing of it.

    From a prior (θ₀, σ₀²) the fit came to (θ̂, σ̂²): the data's own part has the precision 1/σ̂² − 1/σ₀², and
    θ̂ − θ₀ the variance σ₀² − σ̂² if both agree.
    """
    at, index = known.names.index(name), fit.names.index(name)
    before, after = float(known.covariance[at, at]), float(fit.response[index, index])
    if not (fit.moving[index] and 0 < after < before * (1 - 1e-6)):
        return None
    moved, gained = float(fit.values[index] - known.mean[at]), before - after
    return Tension(float(known.mean[at]) + moved * before / gained, before * after / gained, moved / sqrt(gained))


def goodness_of(fit: SpotFit, *, rescaled: bool = False) -> dict[str, Any]:
    """deviance_ratio, p_value, z, photons, pixels, masked.

    The first three are None where the size of the noise came from the fit, as a `rescaled` gain did.
    """
    used = fit.used
    photons, expected = fit.photons[used], fit.expected[used]
    background = fit.value("background")
    counted = {
        "photons": float(photons.sum() - background * photons.size),
        "pixels": int(used.sum()),
        "masked": int((~used).sum()),
        "fitted": int(fit.moving.sum()),
    }
    if fit.noise == "poisson":
        expected = np.maximum(expected, 1e-12 - 0.99 * fit.detector.floor / fit.detector.excess)
        found = goodness(photons, expected, fit.detector, fitted=counted["fitted"])
        tests: dict[str, Any] = found.tests
    elif fit.noise_known:
        tests = goodness_of_squares(photons - expected, fit.floor[used], fitted=counted["fitted"]).tests
    else:
        tests = {"deviance_ratio": None, "z": None, "p_value": None, "noise": float(np.sqrt(fit.floor.mean()))}
    if rescaled:
        tests |= dict.fromkeys(("deviance_ratio", "z", "p_value"))
    return {**tests, **counted}


def dispersion(fit: SpotFit) -> Dispersion:
    """Pearson residuals r = (y − µ)/√V: the mean of r² overall and in both halves of the light."""
    law = np.maximum(fit.camera.excess_noise * fit.expected + fit.floor, 1e-12)
    residual = np.where(fit.used, (fit.photons - fit.expected) / np.sqrt(law), 0.0)
    square, level = residual[fit.used] ** 2, fit.expected[fit.used]
    order = np.argsort(level)
    half = np.searchsorted(np.cumsum(level[order]), 0.5 * level.sum())
    half = int(np.clip(half, 8, level.size - 8))
    dim, bright = square[order[:half]], square[order[half:]]
    pairs = [(residual[:, 1:], residual[:, :-1]), (residual[:, :, 1:], residual[:, :, :-1])]
    product = sum(float((a * b).sum()) for a, b in pairs)
    count = 2 * square.size
    overall = float(square.mean())
    return Dispersion(
        overall,
        float(bright.mean()),
        float(dim.mean()),
        float(bright.std() / np.sqrt(bright.size)),
        float(dim.std() / np.sqrt(dim.size)),
        product / (count * overall),
        1 / np.sqrt(count),
    )


def suspected_gain(fit: SpotFit, found: dict[str, Any]) -> float | None:
    """The gain (counts per photoelectron) that would explain the dispersion, or None if none is suspected.

    Only where no gain was given: the excess over Poisson must be significant, large and structureless.
    """
    ratio, z = found["deviance_ratio"], found["z"]
    if fit.noise != "poisson" or fit.camera.gain_known or fit.camera.excess_noise != 1 or ratio is None:
        return None
    if abs(z) < BAD_FIT or 1 / NOT_PHOTONS < ratio < NOT_PHOTONS:
        return None
    scatter = dispersion(fit)
    return scatter.overall * fit.camera.gain if scatter.structureless else None


def misfit(fit: SpotFit, found: dict[str, Any]) -> str | None:
    """In words, why a fit is not to be trusted; None where nothing speaks against it."""
    if not fit.converged:
        return f"the fit did not converge in {fit.steps} steps"
    z, ratio = found["z"], found["deviance_ratio"]
    if z is None or abs(z) <= BAD_FIT:
        return None
    scatter = dispersion(fit)
    chance = "p < 1e-10" if found["p_value"] < 1e-10 else f"p = {found['p_value']:.1g}"
    size = f"the deviance is {ratio:.3g} times what the noise explains ({chance})"
    camera = fit.camera
    if z < 0:
        advice = f"smoothed, averaged or rescaled? Check the gain of {camera.gain:.3g} counts per photoelectron"
        if camera.excess_noise != 1:
            advice += f" and the excess noise of {camera.excess_noise:.3g}"
        elif scatter.structureless:
            advice += f": the scatter suggests {scatter.overall * camera.gain:.3g}"
        return f"{size}: the counts scatter less than photons can; were they {advice}"
    if scatter.likeness > 5 * scatter.likeness_error:
        return f"{size} and neighbouring pixels err alike: the model does not describe this image"
    where = "bright" if scatter.bright > scatter.dim else "dim"
    return f"{size}, most in the {where} pixels: check gain, offset and read noise, and the image for stray light"


def at_odds(fit: SpotFit, known: Known) -> str | None:
    """In words, that an image and what is known of the laser contradict each other; None where they do not."""
    found = tension(fit, known)
    if found is None or abs(found.pull) <= AT_ODDS:
        return None
    at = known.names.index("width")
    told, error = FWHM * float(np.exp(known.mean[at])), float(np.sqrt(known.covariance[at, at]))
    return (
        f"image and laser contradict each other: the image asks for a spot of {FWHM * float(np.exp(found.value)):.4g} "
        f"µm FWHM before diffusion, the laser says {told:.4g} ± {told * error:.2g} µm, {abs(found.pull):.1f} standard "
        "deviations away; check focus, magnification and pixel size of both"
    )


def off_decay(fit: SpotFit, known: Known) -> str | None:
    """In words, that gates and the lifetime known from elsewhere contradict each other; None where they do not."""
    found = tension(fit, known, "lifetime") if "lifetime" in known.names else None
    if found is None or abs(found.pull) <= AT_ODDS:
        return None
    at = known.names.index("lifetime")
    told, error = float(np.exp(known.mean[at])), float(np.sqrt(known.covariance[at, at]))
    return (
        f"frames and decay contradict each other: the frames ask for a lifetime of {float(np.exp(found.value)):.4g} "
        f"ns, the decay says {told:.4g} ± {told * error:.2g} ns, {abs(found.pull):.1f} standard deviations away; are "
        "both of the same film, and are the times of the frames right?"
    )
