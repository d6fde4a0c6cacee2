"""Numbers beside the fitted length: the diffusivity it gives with a lifetime, widths and the laser's own image."""

import numpy as np

from excidiff.inverse.estimates import estimates
from excidiff.inverse.fit.optics import Calibration, Given
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import NORMAL_95
from excidiff.inverse.measure import pictures, window
from excidiff.inverse.results.result import Estimate, Measurement


def width_estimate(given: Given, origin: str) -> Estimate:
    """A width with its error, µm."""
    span = NORMAL_95 * given.stderr
    interval = (given.value - span, given.value + span) if given.stderr else None
    return Estimate(given.value, given.stderr or None, interval, "um", origin=origin)  # type: ignore[arg-type]


def lifetime_estimate(lifetime: Given | None) -> Estimate:
    """The lifetime as it was given, ns; undetermined where it was not."""
    if lifetime is None:
        return Estimate(None, unit="ns", identifiable=False)
    return Estimate(lifetime.value, lifetime.stderr or None, unit="ns", origin="given")


def diffusivity_estimate(length: Estimate, lifetime: Estimate) -> Estimate:
    """D = L²/τ, its relative error √(4 σ_L²/L² + σ_τ²/τ²), its interval symmetric in log D.

    Without a lifetime, or with a limit of it only, there is no D.
    """
    if lifetime.value is None or lifetime.at_bound or length.value is None:
        return Estimate(None, unit="um^2/ns", identifiable=False, origin="derived")
    value = length.value**2 / lifetime.value
    if length.stderr is None:
        sides = None if length.interval95 is None else tuple(s and s**2 / lifetime.value for s in length.interval95)
        return Estimate(value, None, sides, "um^2/ns", at_bound=length.at_bound, origin="derived")  # type: ignore[arg-type]
    relative = float(np.hypot(2 * length.stderr / length.value, (lifetime.stderr or 0.0) / lifetime.value))
    span = float(np.exp(NORMAL_95 * relative))
    return Estimate(value, value * relative, (value / span, value * span), "um^2/ns", origin="derived")


def laser_measurement(laser: Calibration) -> Measurement:
    """The laser's image as a measurement of its own."""
    fit = laser.fit
    width = fit.value("width") * FWHM
    error, span = fit.error("width"), float(np.exp(NORMAL_95 * fit.error("width")))
    seen = Estimate(width, width * error, (width / span, width * span), "um")
    return Measurement(
        kind="laser",
        file=laser.image.name,
        status="fitted" if laser.reason is None else "flagged",
        reason=laser.reason,
        parameters={"laser_image_fwhm": seen, **estimates(fit)},
        goodness=laser.goodness,
        pixel_size=laser.image.spacing,
        window=window(laser.image),
        **pictures(fit),
    )
