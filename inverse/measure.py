"""One image, measured: its fit turned into values with errors, its goodness, and the deconvolved length beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.estimates import estimates, of_gates, with_magnification
from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.film import fit_landscape
from excidiff.inverse.fit.gated import fit_by_length, fit_gated
from excidiff.inverse.fit.landscape import Landscape
from excidiff.inverse.fit.magnification import added, exact
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.prediction import mixed_nodes
from excidiff.inverse.fit.quality import Tension, at_odds, goodness_of, misfit, off_decay, suspected_gain, tension
from excidiff.inverse.fit.rescale import with_gain
from excidiff.inverse.fit.spot import SpotFit, fit_film, fit_gaussian, summed
from excidiff.inverse.fit.uncertainty import NORMAL_95
from excidiff.inverse.gates import gate_series
from excidiff.inverse.results.result import Estimate, Measurement

WITHOUT = "stderr_without_magnification"
"""Of a goodness: standard errors of `SCALING` without what the magnification adds to all alike."""
SCALING = ("diffusion_length", "diffusivity", "deconvolved_length")


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
    mixture: Float64[np.ndarray, "2 K"] | None = None,
) -> Measured:
    """Fit one steady image, perhaps over a landscape, or the gates of one movie; `mixture`: of populations that move
    alike, lifetimes in units of the mean age of their photons, and shares of these.

    Raises InputError for what cannot be fitted.
    """
    place = images[0].place
    constraints = constraints.seen_from(place)
    fit, gaussian, told = _fit(images, optics, constraints, noise, gates, landscape, mixture)
    found = goodness_of(fit)
    gain, notes = suspected_gain(fit, found), list(dict.fromkeys(note for image in images for note in image.notes))
    notes = [note if images[0].name in note else f"{images[0].name}: {note}" for note in notes]
    if gain is not None:
        rescaled = [with_gain(image, gain) for image in images]
        images = [image for image, _ in rescaled]
        fit, gaussian, told = _fit(images, optics, constraints, noise, gates, landscape, mixture)
        found = goodness_of(fit, rescaled=True)
        notes.append(rescaled[0][1])
    notes += told
    reason = misfit(fit, found) or at_odds(fit, optics.known) or off_decay(fit, optics.known) or _held(fit, constraints)
    if gates is None:
        parameters = estimates(fit, interval)
    else:
        again = partial(fit_by_length, images, fit, optics.known, constraints, noise, gates)
        parameters = of_gates(fit, gates, interval, again)
    own, parameters = parameters, with_magnification(parameters, fit, optics)
    parameters |= {name: _moved(parameters[name], by) for name, by in zip(("centre_x", "centre_y"), place, strict=True)}
    parameters["deconvolved_length"] = deconvolved_length(gaussian, fit, optics, images[0].spacing)
    if optics.magnification_error:
        own["deconvolved_length"] = deconvolved_length(gaussian, fit, exact(optics), images[0].spacing)
        found = {**found, WITHOUT: {name: own[name].stderr for name in SCALING if name in own}}
    measurement = Measurement(
        kind="image",
        file=images[0].name if gates is None else f"{images[0].file} ({len(images)} gates)",
        status="fitted" if reason is None else "flagged",
        reason=reason,
        parameters=parameters,
        goodness=found,
        pixel_size=images[0].spacing,
        window=window(images[0]),
        gates=None if gates is None else _gates(images, gates, fit),
        **pictures(fit),
    )
    return Measured(measurement, fit, gaussian, tuple(notes), _follow(fit), tension(fit, optics.known))


def without_magnification(measurement: Measurement, name: str) -> Estimate:
    """A number of a measurement without what the magnification, common to all, adds to its error."""
    entry = measurement.parameters[name]
    return replace(entry, stderr=measurement.goodness.get(WITHOUT, {}).get(name, entry.stderr))


def _held(fit: SpotFit, constraints: Constraints) -> str | None:
    """That a parameter ended on a limit nobody set, which only a length, a decay and a background may."""
    free = ("diffusion_length", "diffusivity", "lifetime", "background", *constraints.bounds)
    names = [name.replace("_", " ") for name in fit.at_bound if name not in free]
    return f"the fit ended on the limit of {' and '.join(names)}: is the spot in the image?" if names else None


def _fit(images, optics, constraints, noise, gates, landscape, mixture):
    gaussian = fit_gaussian(summed(images), noise, least_squares=True, narrowest=0.7 * optics.width.value)
    if landscape is not None:
        fit, told = fit_landscape(images[0], gaussian, optics.known, constraints, noise, landscape)
        return fit, gaussian, told
    if gates is not None:
        return fit_gated(images, gaussian, optics.known, constraints, noise, gates, mixture), gaussian, ()
    ages = None if mixture is None else mixed_nodes(*mixture)
    return fit_film(images, gaussian, optics.known, constraints, noise, ages), gaussian, ()


def pictures(fit: SpotFit) -> dict[str, Any]:
    """What to show of a fit, in photoelectrons, summed over its gates: counts, model, variance, mask."""
    variance = variance_of(fit)
    return {
        "counts": fit.photons.sum(axis=0),
        "model": fit.expected.sum(axis=0),
        "variance": np.maximum(variance.sum(axis=0), 1e-300),
        "mask": fit.used.all(axis=0),
    }


def variance_of(fit: SpotFit) -> Float64[np.ndarray, "F ny nx"]:
    """The variance of every pixel of every gate under the model."""
    return fit.floor if fit.noise == "gaussian" else fit.camera.excess_noise * fit.expected + fit.floor


def _gates(images: Sequence[Image], gates: Float64[np.ndarray, "F 2"], fit: SpotFit) -> dict[str, Any]:
    """Light and width of the spot gate by gate."""
    arrays = fit.photons, fit.expected, variance_of(fit), fit.used
    centre = fit.value("centre_x"), fit.value("centre_y")
    return gate_series(images, gates, *arrays, background=fit.value("background"), centre=centre)


def window(image: Image) -> dict[str, float]:
    """The part of the plane that the image shows, in µm from the centre of the whole frame."""
    (ny, nx), (size_y, size_x), (x, y) = image.shape, image.spacing, image.place
    return {"x0": x - nx * size_x / 2, "x1": x + nx * size_x / 2, "y0": y - ny * size_y / 2, "y1": y + ny * size_y / 2}


def _moved(entry: Estimate, by: float) -> Estimate:
    """A position, counted from another origin."""
    ends = None if entry.interval95 is None else tuple(None if end is None else end + by for end in entry.interval95)
    value = None if entry.value is None else entry.value + by
    return replace(entry, value=value, interval95=ends)  # type: ignore[arg-type]


def deconvolved_length(gaussian: SpotFit, fit: SpotFit, optics: Optics, size: tuple[float, float]) -> Estimate:
    """√(FWHM² − FWHM_laser²)/2.3548 = √(w² − s²) from the least-squares Gaussian of the image; error by propagation.

    The error of w is that of least squares under the fitted model's variances. Of the light through a slit, an image
    of one row, there is none.
    """
    width, laser = gaussian.value("width"), optics.width
    square = width**2 - laser.value**2
    if square <= 0 or gaussian.used.shape[1] == 1:
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    value = float(np.sqrt(square))
    stderr = width * width * _least_squares_error(gaussian, fit, size) / value
    follow = -(laser.value**2) / square
    relative = (follow * laser.stderr / laser.value) ** 2 + added(optics, follow)
    stderr = float(np.hypot(stderr, value * np.sqrt(relative)))
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
    told = fit.information + fit.precision  # a lifetime that is known from a decay stays where it is
    response = -np.linalg.lstsq(told[np.ix_(index, index)], fit.information[index, width], rcond=1e-12)[0]
    follow = float(response[np.flatnonzero(index == length)[0]])
    return follow if shape == "diffusion_length" else follow / 2
