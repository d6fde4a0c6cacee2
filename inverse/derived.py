"""Numbers beside the fitted length: the diffusivity it gives with a lifetime, widths and the laser's own image."""

from dataclasses import replace

import numpy as np

from excidiff.inverse.estimates import estimates
from excidiff.inverse.fit.optics import Calibration, Given, Optics
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import NORMAL_95
from excidiff.inverse.measure import pictures, window
from excidiff.inverse.results.result import Estimate, Measurement

Ends = tuple[float | None, float | None]


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
    """D = L²/τ; see `over_lifetime`."""
    return over_lifetime(length, lifetime, power=2, unit="um^2/ns")


def over_lifetime(number: Estimate, lifetime: Estimate, *, power: int = 1, unit: str = "1/ns") -> Estimate:
    """x^p/τ, its relative error √(p² σ_x²/x² + σ_τ²/τ²); each end of an interval is as far from it in the logarithm as
    those of x and τ, together by squares.

    Without a lifetime, or with a limit of it only, there is none.
    """
    own, tau = number.value, lifetime.value
    if tau is None or lifetime.at_bound or own is None:
        return Estimate(None, unit=unit, identifiable=False, origin="derived")
    value, known = own**power / tau, (lifetime.stderr or 0.0) / tau
    if number.stderr is None:
        low, high = (None if end is None else end**power / tau for end in number.interval95 or (None, None))
        return Estimate(value, None, (low, high), unit, at_bound=number.at_bound, origin="derived")

    def ends(bounds: Ends, error: float) -> Ends:
        """Those of x^p/τ, `error` that of log τ."""
        low, high = (None if end is None else float(np.hypot(power * np.log(end / own), error)) for end in bounds)
        return None if low is None else value * float(np.exp(-low)), None if high is None else value * float(
            np.exp(high)
        )

    relative = number.stderr / own
    span = float(np.exp(NORMAL_95 * relative))
    inner = None if number.interval68 is None else ends(number.interval68, known)
    wide = ends(number.interval95 or (own / span, own * span), NORMAL_95 * known)
    error = value * float(np.hypot(power * relative, known))
    return Estimate(value, error, wide, unit, origin="derived", interval68=inner)


def imaged_width(width: Given, optics: Optics, *, of_laser: bool) -> Given:
    """A width that an image gave, µm, with the error of the magnification."""
    slope = scaling(width, optics) if of_laser else 1.0
    return replace(width, stderr=float(np.hypot(width.stderr, slope * width.value * optics.magnification_error)))


def scaling(laser: Given, optics: Optics) -> float:
    """How the logarithm of a laser's width, known from an image, follows that of the pixels' size: by 1.

    Where a PSF that was told in µm was taken from it, source² = seen² − (ρ PSF)², by seen²/source².
    """
    if optics.laser is None or optics.psf is None or optics.psf_image is not None:
        return 1.0
    return (FWHM * optics.laser.fit.value("width") / laser.value) ** 2


def laser_measurement(laser: Calibration, optics: Optics) -> Measurement:
    """The laser's image as a measurement of its own."""
    fit = laser.fit
    width = fit.value("width") * FWHM
    error = float(np.hypot(fit.error("width"), optics.magnification_error))
    span = float(np.exp(NORMAL_95 * error))
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
