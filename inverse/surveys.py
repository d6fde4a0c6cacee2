"""A scan of a fluence series as a measurement: its mean beside the model's, and what it says of the film's evenness."""

from math import erfc, sqrt
from typing import Any

import numpy as np

from excidiff.inverse.files.fluences import Shot
from excidiff.inverse.fit.fluence import SeriesFit
from excidiff.inverse.fit.quality import BAD_FIT
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.surveyed import Surveyed
from excidiff.inverse.results.result import Estimate, Measurement

LEAST_FREE = 0.1  # of a degree of freedom that a scan keeps, however many numbers were fitted
LEAST = 1e-12  # of a squared deviation: the mean may be met exactly


def scan_measurement(shot: Shot, one: Surveyed, expected: float, fit: SeriesFit) -> Measurement:
    """The scan against an even film of the fit's numbers; its one number is flagged where the fit does not give it."""
    scan, away = one.scan, (one.mean - expected) / one.error
    ages, free = one.look.ages, max(1 - fit.share, LEAST_FREE)
    tests: dict[str, Any] = {
        "deviance": max(away**2, LEAST),
        "deviance_ratio": max(away**2, LEAST) / free,
        "z": (away**2 - free) / sqrt(2 * free),
        "p_value": erfc(abs(away) / sqrt(2 * free)),
        "structure_p": None,
        "photons": float(np.sum(scan.photons if scan.photons is not None else 0.0 if ages else scan.signal[scan.mask])),
        "pixels": 1,
        "masked": int((~scan.mask).sum()),
        "fitted": 1 - free,
        "positions": int(scan.mask.sum()),
        "even_p": one.even,
        "uneven_by": one.spread if one.uneven else 0.0,
    }
    reason = _misfit(fit, one, away)
    (height, width), (y, x) = scan.shape, scan.spacing
    told = {
        "peak_density": Estimate(shot.density, shot.error or None, unit="1/um^2", origin="given"),
        "mean_age" if ages else "mean_photons": Estimate(one.mean, one.error, unit="ns" if ages else "photons"),
    }
    if scan.collection is not None:
        told["collection_fwhm"] = Estimate(float(one.near) * FWHM, unit="um", origin="given")
    return Measurement(
        kind="raster_scan",
        file=scan.file,
        status="fitted" if reason is None else "flagged",
        reason=reason,
        parameters=told,
        goodness=tests,
        counts=np.where(scan.mask, scan.signal, 0.0),
        model=np.full(scan.shape, expected),
        mask=scan.mask,
        variance=np.maximum(one.noise, 1e-300),
        pixel_size=scan.spacing,
        window={"x0": -width * x / 2, "x1": width * x / 2, "y0": -height * y / 2, "y1": height * y / 2},
    )


def _misfit(fit: SeriesFit, one: Surveyed, away: float) -> str | None:
    if not fit.converged:
        return f"the fit did not converge in {fit.steps} steps"
    if one.rough < 1:
        less = "the counts scatter less than photons can" if one.scan.uncertainty is None else (
            "its uncertainties are too large")  # fmt: skip
        return f"neighbouring positions differ less than the noise makes them: {less}"
    if abs(away) <= BAD_FIT:
        return None
    return (
        f"its mean, {one.mean:.5g} ± {one.error:.2g} {'ns' if one.look.ages else 'photons'}, is {abs(away):.2g} "
        f"standard errors off that of the model '{fit.model}', {one.mean - away * one.error:.5g}"
    )
