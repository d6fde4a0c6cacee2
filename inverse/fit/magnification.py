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

from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.spot import SpotFit

POWERS = {"diffusion_length": 1.0, "width": 1.0, "diffusivity": 2.0}


def magnified(fit: SpotFit, optics: Optics) -> SpotFit:
    """The fit with the error of the magnification in its covariance, C′ of the header."""
    if not optics.magnification_error:
        return fit
    square = optics.magnification_error**2
    power = np.array([POWERS.get(name, 0.0) for name in fit.names])
    for name in ("centre_x", "centre_y"):
        power[fit.names.index(name)] = fit.value(name)
    power = np.where(fit.moving, power, 0.0)
    crossed = np.outer(power, fit.response[:, fit.names.index("width")])
    share = optics.told / float(optics.known.covariance[0, 0])
    more = np.outer(power, power) - share * (crossed + crossed.T)
    return replace(fit, covariance=fit.covariance + square * more)


def added(optics: Optics, follow: float) -> float:
    """What the magnification adds to the variance of the logarithm of a length that follows log s so, g/A."""
    return optics.magnification_error**2 * (1 - 2 * optics.told * follow)
