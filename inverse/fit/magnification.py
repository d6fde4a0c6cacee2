"""What an error of the magnification does to a film's lengths: common to all its images, and counted once.

An image knows lengths in pixels; all its own scale with the pixel size p. What is told in µm, the widths of laser and
PSF that were not imaged, does not: in pixels these are wrong by −δ where log p is by δ. With κ, the share of such
widths in log s, the knowledge of log s has the variance A = σ_s² + κ² m² in all fits, and the covariance −κ m² with δ.
A number θ_i of a fit that has the covariance g_i with log s follows an error of log s by g_i/A, and δ itself by d_i,
the power of a length that it has (of log L 1, of log D 2, of a position its value). So a fit's covariance C becomes

    C′ = C + m² d dᵀ − κ (m²/A) (d gᵀ + g dᵀ)

and the mean of many lengths, whatever their weights, is wrong by δ like each of them.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.spot import SpotFit

POWERS = {"diffusion_length": 1.0, "width": 1.0, "diffusivity": 2.0}


def magnified(fit: SpotFit, optics: Optics) -> SpotFit:
    """The fit with the error of the magnification in its covariance, C′ of the header, for errors and correlations.

    A profile of it would be wrong: a scale that errs makes no length compatible with none. Widen its ends by `added`.
    """
    if not optics.magnification_error:
        return fit
    power = np.where(fit.moving, _powers(fit), 0.0)
    crossed = np.outer(power, fit.response[:, fit.names.index("width")])
    share = optics.told / float(optics.known.covariance[0, 0])
    more = np.outer(power, power) - share * (crossed + crossed.T)
    return replace(fit, covariance=fit.covariance + optics.magnification_error**2 * more)


def exact(optics: Optics) -> Optics:
    """The same with a magnification that is as told, but what is known of log s."""
    return replace(optics, magnification_error=0.0)


def added(optics: Optics, follow: float, power: float = 1.0) -> float:
    """What the magnification adds to the variance of a number of that power d which follows log s by `follow`, g/A."""
    return optics.magnification_error**2 * power * (power - 2 * optics.told * follow)


def added_to(fit: SpotFit, optics: Optics, name: str) -> float:
    """The same of a parameter of a fit in its own number, and of the length of a movie, (log D + log τ)/2."""
    movie = name == "diffusion_length" and name not in fit.names
    index = [fit.names.index(one) for one in (("diffusivity", "lifetime") if movie else (name,))]
    known = float(optics.known.covariance[0, 0])
    follow = float(fit.response[index, fit.names.index("width")].mean()) / known if known else 0.0
    return added(optics, follow, float(_powers(fit)[index].mean()))


def _powers(fit: SpotFit) -> Float64[np.ndarray, " P"]:
    """d of every parameter."""
    places = {name: fit.value(name) for name in ("centre_x", "centre_y")}
    return np.array([places.get(name, POWERS.get(name, 0.0)) for name in fit.names])
