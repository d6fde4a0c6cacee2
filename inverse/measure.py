"""One image, measured: its fit turned into values with errors, its goodness, and the deconvolved length beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.film import fit_landscape
from excidiff.inverse.fit.landscape import Landscape
from excidiff.inverse.fit.limits import SMALLEST_LENGTH
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.parameters import OPTICAL, UNITS, Constraints, outer, scale
from excidiff.inverse.fit.quality import Tension, at_odds, goodness_of, misfit, suspected_gain, tension
from excidiff.inverse.fit.rescale import with_gain
from excidiff.inverse.fit.spot import SpotFit, fit_film, fit_gaussian, summed
from excidiff.inverse.fit.uncertainty import NORMAL_95, RISE_ONE_SIDED, profile_bound
from excidiff.inverse.results.result import Estimate, Measurement

DOUBTFUL = 0.1  # relative error above which the profile likelihood gives the interval whatever was asked for
NEAR_ZERO = 0.3  # relative error above which a diffusion length is held against zero
ZERO_COUNTS_95 = 3.0  # ln 20: a Poisson mean that gives nothing with 5 % probability


@dataclass(frozen=True, eq=False)
class Measured:
    """One image (or movie of gates) with its fit; `slope` is d log L/d log s at fixed data, `spot` what the data alone
    say of the spot's log s where a laser was measured."""

    measurement: Measurement
    fit: SpotFit
    gaussian: SpotFit
    notes: tuple[str, ...]
    slope: float
    spot: Tension | None

    @property
    def length(self) -> Estimate:
        """The diffusion length."""
        return self.measurement.parameters["diffusion_length"]


def measure(
    images: Sequence[Image],
    optics: Optics,
    constraints: Constraints,
    *,
    noise: str,
    interval: str,
    gates: Float64[np.ndarray, "F 2"] | None = None,
    landscape: Landscape | None = None,
) -> Measured:
    """Fit one steady image, perhaps over a landscape, or the gates of one movie.

    Raises InputError for what cannot be fitted.
    """
    place = images[0].place
    constraints = constraints.seen_from(place)
    fit, gaussian, told = _fit(images, optics, constraints, noise, gates, landscape)
    found = goodness_of(fit)
    gain, notes = suspected_gain(fit, found), list(dict.fromkeys(note for image in images for note in image.notes))
    notes = [note if images[0].name in note else f"{images[0].name}: {note}" for note in notes]
    if gain is not None:
        rescaled = [with_gain(image, gain) for image in images]
        images = [image for image, _ in rescaled]
        fit, gaussian, told = _fit(images, optics, constraints, noise, gates, landscape)
        found = goodness_of(fit, rescaled=True)
        notes.append(rescaled[0][1])
    notes += told
    reason = misfit(fit, found) or at_odds(fit, optics.known) or _held(fit, constraints)
    parameters = estimates(fit, interval)
    parameters |= {name: _moved(parameters[name], by) for name, by in zip(("centre_x", "centre_y"), place, strict=True)}
    parameters["deconvolved_length"] = deconvolved_length(gaussian, fit, optics.width, images[0].spacing)
    measurement = Measurement(
        kind="image",
        file=images[0].name if gates is None else f"{images[0].file} ({len(images)} gates)",
        status="fitted" if reason is None else "flagged",
        reason=reason,
        parameters=parameters,
        goodness=found,
        pixel_size=images[0].spacing,
        window=window(images[0]),
        **pictures(fit),
    )
    return Measured(measurement, fit, gaussian, tuple(notes), _follow(fit), tension(fit, optics.known))


def _held(fit: SpotFit, constraints: Constraints) -> str | None:
    """That a parameter ended on a limit nobody set, which only a length, a decay and a background may."""
    free = ("diffusion_length", "diffusivity", "lifetime", "background", *constraints.bounds)
    names = [name.replace("_", " ") for name in fit.at_bound if name not in free]
    return f"the fit ended on the limit of {' and '.join(names)}: is the spot in the image?" if names else None


def _fit(images, optics, constraints, noise, gates, landscape):
    gaussian = fit_gaussian(summed(images), noise, least_squares=True, narrowest=0.7 * optics.width.value)
    if landscape is not None:
        fit, told = fit_landscape(images[0], gaussian, optics.known, constraints, noise, landscape)
        return fit, gaussian, told
    return fit_film(images, gaussian, optics.known, constraints, noise, gates), gaussian, ()


def pictures(fit: SpotFit) -> dict[str, Any]:
    """What to show of a fit, in photoelectrons, summed over its gates: counts, model, variance, mask."""
    variance = fit.floor if fit.noise == "gaussian" else fit.camera.excess_noise * fit.expected + fit.floor
    return {
        "counts": fit.photons.sum(axis=0),
        "model": fit.expected.sum(axis=0),
        "variance": np.maximum(variance.sum(axis=0), 1e-300),
        "mask": fit.used.all(axis=0),
    }


def window(image: Image) -> dict[str, float]:
    """The part of the plane that the image shows, in µm from the centre of the whole frame."""
    (ny, nx), (size_y, size_x), (x, y) = image.shape, image.spacing, image.place
    return {"x0": x - nx * size_x / 2, "x1": x + nx * size_x / 2, "y0": y - ny * size_y / 2, "y1": y + ny * size_y / 2}


def _moved(entry: Estimate, by: float) -> Estimate:
    """A position, counted from another origin."""
    ends = None if entry.interval95 is None else tuple(None if end is None else end + by for end in entry.interval95)
    value = None if entry.value is None else entry.value + by
    return replace(entry, value=value, interval95=ends)  # type: ignore[arg-type]


def estimates(fit: SpotFit, interval: str = "fisher") -> dict[str, Estimate]:
    """Every parameter with its error; the width as `laser_fwhm` is left to the optics."""
    found = {name: _estimate(fit, name) for name in fit.names if name not in OPTICAL}
    if "diffusion_length" in found:
        found["diffusion_length"] = _length(fit, found["diffusion_length"], interval)
    elif "diffusivity" in found:
        found = {"diffusion_length": _product(fit), **found}
    return found


def _estimate(fit: SpotFit, name: str) -> Estimate:
    index, unit = fit.names.index(name), UNITS[name]
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


def _on_bound(fit: SpotFit, name: str, value: float) -> Estimate:
    """A one-sided interval: of a background, where the likelihood, falling straight from the bound, has lost ln 20."""
    slope = float(fit.slope[fit.names.index(name)])
    reach = ZERO_COUNTS_95 / abs(slope) if slope else np.inf
    if name == "background" and slope < 0:
        return Estimate(value, None, (None, value + reach), UNITS[name], at_bound=True)
    sides = (None, value) if slope < 0 else (value, None)
    return Estimate(value, None, sides, UNITS[name], at_bound=True)


def _length(fit: SpotFit, simple: Estimate, interval: str) -> Estimate:
    """The diffusion length: an upper limit where the image is as narrow as the laser's, else perhaps a profile."""
    index = fit.names.index("diffusion_length")
    if not (fit.moving[index] or "diffusion_length" in fit.at_bound) or "diffusion_length" in fit.blind:
        return simple
    own, error = float(fit.values[index]), fit.error("diffusion_length")
    width = float(np.log(fit.value("width")))
    zero, far = width + np.log(1e-3), width + np.log(1e4)
    if _on_set_bound(fit):
        return simple
    near_zero = fit.at_bound == ("diffusion_length",) or error > NEAR_ZERO or not fit.moving[index]
    if near_zero and fit.profiled("diffusion_length", zero) < RISE_ONE_SIDED:
        step = max(0.05, min(error, 0.5)) if fit.moving[index] else 0.5
        own = max(own, width + np.log(0.05)) if not fit.moving[index] else own
        upper = _bound(fit, own, step, far, RISE_ONE_SIDED)
        return Estimate(simple.value, None, (None, upper), UNITS["diffusion_length"], at_bound=True)
    if fit.moving[index] and (interval == "profile" or error > DOUBTFUL):
        low, high = _bound(fit, own, -error * 2, zero), _bound(fit, own, error * 2, far)
        return Estimate(simple.value, simple.stderr, (low, high), UNITS["diffusion_length"])
    return simple


def _on_set_bound(fit: SpotFit) -> bool:
    """Whether a bound that was set holds L: any but the smallest length that is looked for."""
    if "diffusion_length" not in fit.at_bound:
        return False
    smallest = fit.value("diffusion_length") < 1.5 * SMALLEST_LENGTH * fit.value("width")
    return bool(fit.slope[fit.names.index("diffusion_length")] >= 0) or not smallest


def _bound(fit: SpotFit, own: float, step: float, limit: float, rise: float | None = None) -> float | None:
    rises: dict[str, float] = {} if rise is None else {"rise": rise}
    profiled: Callable[[float], float] = lambda at: fit.profiled("diffusion_length", at)  # noqa: E731
    found = profile_bound(profiled, own, step, limit=limit, **rises)
    return None if found is None else float(np.exp(found))


def _product(fit: SpotFit) -> Estimate:
    """L = √(Dτ) where both were fitted: log L is half the sum of their logarithms."""
    pair = [fit.names.index("diffusivity"), fit.names.index("lifetime")]
    own, error = fit.values[pair].sum() / 2, float(np.sqrt(fit.covariance[np.ix_(pair, pair)].sum())) / 2
    span = NORMAL_95 * error
    interval = (float(np.exp(own - span)), float(np.exp(own + span)))
    return Estimate(float(np.exp(own)), float(np.exp(own)) * error, interval, "um", origin="derived")


def deconvolved_length(gaussian: SpotFit, fit: SpotFit, laser: Given, size: tuple[float, float]) -> Estimate:
    """√(FWHM² − FWHM_laser²)/2.3548 = √(w² − s²) from the least-squares Gaussian of the image; error by propagation.

    The error of w is that of least squares under the fitted model's variances.
    """
    width = gaussian.value("width")
    square = width**2 - laser.value**2
    if square <= 0:
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    value = float(np.sqrt(square))
    stderr = (
        float(np.hypot(width * width * _least_squares_error(gaussian, fit, size), laser.value * laser.stderr)) / value
    )
    return Estimate(value, stderr, (value - NORMAL_95 * stderr, value + NORMAL_95 * stderr), "um", origin="derived")


def _least_squares_error(gaussian: SpotFit, fit: SpotFit, size: tuple[float, float]) -> float:
    """The relative error of the width that least squares finds: H⁻¹ JᵀWVWJ H⁻¹, W its weights, at pixel centres.

    H = JᵀWJ − Σ W r ∂²f, with r = µ − f: the spot is no Gaussian f, and JᵀWJ alone would promise too small an error.
    Derivatives are along (log w, x/w, y/w, log amplitude, background).
    """
    ny, nx = gaussian.used.shape[1:]
    width, amplitude = gaussian.value("width"), gaussian.value("amplitude")
    x = ((np.arange(nx) - (nx - 1) / 2) * size[1] - gaussian.value("centre_x"))[None, :] / width
    y = ((np.arange(ny) - (ny - 1) / 2) * size[0] - gaussian.value("centre_y"))[:, None] / width
    r2 = x**2 + y**2
    bell = np.exp(-r2 / 2) * amplitude * size[0] * size[1] / (2 * np.pi * width**2)
    shown = pictures(fit)
    weight = gaussian.used[0] / gaussian.floor[0]
    jacobian = np.stack([part * np.ones_like(bell) for part in (bell * (r2 - 2), bell * x, bell * y, bell, 1.0)])
    jacobian = jacobian.reshape(5, -1)
    rest = (weight * (shown["model"] - gaussian.expected[0]) * bell).ravel()
    bends = {(0, 0): (r2 - 2) ** 2 - 2 * r2, (0, 1): x * (r2 - 4), (0, 2): y * (r2 - 4), (0, 3): r2 - 2,
             (1, 1): x**2 - 1, (1, 2): x * y, (1, 3): x, (2, 2): y**2 - 1, (2, 3): y, (3, 3): 1.0}  # fmt: skip
    hessian = (jacobian * weight.ravel()) @ jacobian.T
    for (i, j), bend in bends.items():
        hessian[i, j] -= (rest * np.broadcast_to(bend, bell.shape).ravel()).sum()
        hessian[j, i] = hessian[i, j]
    inverse = np.linalg.pinv(hessian)
    law = (weight**2 * np.where(gaussian.used[0], shown["variance"], 0.0)).ravel()
    return float(np.sqrt(inverse[0] @ ((jacobian * law) @ jacobian.T) @ inverse[0]))


def _follow(fit: SpotFit) -> float:
    """d log L/d log s when the width of laser ⊗ PSF is in error by d log s: −H⁻¹ H_s over what is free."""
    shape = "diffusion_length" if "diffusion_length" in fit.names else "diffusivity"
    length, width = fit.names.index(shape), fit.names.index("width")
    moving = fit.moving.copy()
    moving[width] = False
    if not moving[length]:
        return 0.0
    index = np.flatnonzero(moving)
    response = -np.linalg.lstsq(fit.information[np.ix_(index, index)], fit.information[index, width], rcond=1e-12)[0]
    follow = float(response[np.flatnonzero(index == length)[0]])
    return follow if shape == "diffusion_length" else follow / 2
