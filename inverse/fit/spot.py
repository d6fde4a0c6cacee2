"""The fit of one spot: an image against the exact film, from start to covariance.

Two fits follow each other. A Gaussian with a background by plain least squares, as width subtraction uses it, gives
the start and the `deconvolved_length`; the film's own model by maximum likelihood gives everything else. What is known
beforehand of the width of laser ⊗ PSF enters as `Known`: maximising the likelihood together with that Gaussian is the
joint fit of this image and the laser image, to the first order in 1/photons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64

from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit import prediction
from excidiff.inverse.fit.detector import Detector, detector_of
from excidiff.inverse.fit.fitted import Fitted
from excidiff.inverse.fit.likelihood import Counts, deviance
from excidiff.inverse.fit.limits import Known, knowledge_of, start_within
from excidiff.inverse.fit.optimise import moving
from excidiff.inverse.fit.parameters import LASER, STEADY, Constraints
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.start import FWHM, Spot, find_spot
from excidiff.inverse.fit.uncertainty import covariance
from excidiff.solver.solution import InputError, SolverError

# How a Gaussian fitted by least squares sees the film's spot: for d = √(w² − s²) over s, the ratio L/d and that of the
# photons to the Gaussian's. A property of the steady image (in a field of 8 widths); only where the fit starts.
GAUSSIAN_VIEW = np.array(
    [[0.33, 0.60, 1.02, 1.72, 3.01, 5.31, 10.3, 20.5], [0.75, 0.83, 0.98, 1.16, 1.33, 1.41, 1.45, 1.46],
     [1.00, 1.03, 1.12, 1.27, 1.44, 1.53, 1.57, 1.58]]
)  # fmt: skip
WIDTHS_NEEDED = 3.0  # spot FWHMs that the image must be wide and high
BY_CHANCE = 16.0  # beyond 2 log(pixels): a likelihood ratio that noise alone gives once in some thousand images


@dataclass(frozen=True, eq=False, kw_only=True)
class SpotFit(Fitted):
    """One fit: parameters and covariance in the fit's own numbers, expected and measured photoelectrons.

    `information` is that of the data alone, `precision` that of what was known before, `response` the inverse of both
    together: how the parameters follow a change of either. It is their covariance, too, where the noise is known.
    """

    information: Float64[np.ndarray, "P P"]
    precision: Float64[np.ndarray, "P P"]
    response: Float64[np.ndarray, "P P"]
    expected: Float64[np.ndarray, "F ny nx"]
    photons: Float64[np.ndarray, "F ny nx"]
    used: Bool[np.ndarray, "F ny nx"]
    floor: Float64[np.ndarray, "F ny nx"]
    camera: Camera
    detector: Detector
    noise: str
    noise_known: bool

    def profiled(self, name: str, value: float) -> float:
        """The same; where the noise is not known it is scaled so that its curvature is that of `covariance`."""
        index = self.names.index(name)
        rise = super().profiled(name, value)
        own, simple = self.covariance[index, index], self.response[index, index]
        return rise * (simple / own) if own > 0 else rise

    def at(self, name: str, value: float) -> tuple[float, float, Float64[np.ndarray, " P"]]:
        """From `name` held at the own number `value`, all else refitted: the step back to the optimum, its variance,
        and the covariance of `name` with every parameter there."""
        index = self.names.index(name)
        there, unit = self.problem.fit(self.values, held=index, value=value), self.problem.unit
        mobile = self.moving.copy()
        mobile[index] = True
        row = covariance(there.information / unit + self.precision, mobile).matrix[index]
        own, simple = self.covariance[index, index], self.response[index, index]
        return float(row @ there.slope) / unit, float(row[index]) * (own / simple if own > 0 else 1.0), row


def steady_model(parameters, nodes, x_edges, y_edges, flat):
    """Expected photoelectrons of a steady spot: flat (amplitude f + background), and their derivatives."""
    return image_of(prediction.steady(parameters[:2], nodes), parameters[2:], x_edges, y_edges, flat)


def laser_model(parameters, nodes, x_edges, y_edges, flat):
    """The same for one Gaussian: the laser through the optics."""
    return image_of(prediction.gaussian(parameters[:1], nodes), parameters[1:], x_edges, y_edges, flat)


def image_of(spot, rest, x_edges, y_edges, flat):
    """Expected photoelectrons of a spot, flat (amplitude f + background), and their derivatives; `rest` the others."""
    fraction, slopes = prediction.pixel_fractions_and_slopes(spot, rest[:2], x_edges, y_edges)
    amplitude = jnp.exp(rest[2])
    light = amplitude * flat * fraction
    return light + rest[3] * flat, jnp.concatenate([amplitude * flat[None] * slopes, light[None], flat[None]])


def fit_gaussian(image: Image, noise: str, *, least_squares: bool = False, narrowest: float = 0.0) -> SpotFit:
    """Fit one Gaussian and a background: by maximum likelihood, or by plain least squares whatever the noise.

    Raises InputError where there is no spot, or the image is narrower than three spot widths.
    """
    guess = _guess(image, narrowest)
    start = np.array([np.log(guess.width), guess.x, guess.y, np.log(guess.amplitude), guess.background])
    noise, tolerance = ("gaussian", 1e-2) if least_squares else (noise, 1e-4)
    found = fit_spot(LASER, [image], start, noise, laser_model, np.zeros(0), tolerance=tolerance)
    _check_spot(image, found)
    _check_field(image, found.value("width"), found.value("centre_x"), found.value("centre_y"))
    return found


def fit_film(
    images: Sequence[Image],
    first: SpotFit,
    known: Known,
    constraints: Constraints,
    noise: str,
    ages: Float64[np.ndarray, "2 Q"] | None = None,
) -> SpotFit:
    """Fit the steady uniform film to one image, starting from the Gaussian `first`; `ages` of several populations."""
    start = film_start(first, known)
    nodes = prediction.steady_nodes() if ages is None else ages
    return fit_spot(STEADY, images, start, noise, steady_model, nodes, known, constraints)


def film_start(first: SpotFit, known: Known) -> Float64[np.ndarray, " P"]:
    """Where the fit of a steady film starts, in its own numbers: what the Gaussian `first` says of it."""
    width = float(np.exp(known.mean[known.names.index("width")]))
    deconvolved = np.sqrt(max(first.value("width") ** 2 - width**2, (0.3 * width) ** 2))
    longer, brighter = (np.interp(deconvolved / width, GAUSSIAN_VIEW[0], ratio) for ratio in GAUSSIAN_VIEW[1:])
    length, amplitude = longer * deconvolved, brighter * first.value("amplitude")
    tail = [first.value("centre_x"), first.value("centre_y"), np.log(amplitude), first.value("background")]
    return np.array([np.log(length), np.log(width), *tail])


def summed(images: Sequence[Image]) -> Image:
    """All gates of a movie as one image, to find the spot in."""
    if len(images) == 1:
        return images[0]
    counts = np.sum([image.photons for image in images], axis=0)
    mask = np.all([image.mask for image in images], axis=0)
    return replace(
        images[0],
        counts=counts,
        mask=mask,
        dark=None,
        uncertainty=np.ones_like(counts),
        camera=Camera(saturation=np.inf, gain_known=True),
    )


def fit_spot(
    names, images, start, noise, model, nodes, known=None, constraints=None, tolerance=1e-4, limits=None
) -> SpotFit:
    """Fit `model`(θ, nodes, x edges, y edges, flat) with parameters `names` to frames of one shape, from `start`.

    `limits`: name → (lower, upper), natural limits that do not follow from the images alone.
    """
    shape, size = images[0].shape, images[0].spacing
    padded = tuple(_round_up(n) for n in shape)
    counts, on_device = _shared_counts(tuple(images), noise, padded)
    edges = [prediction.pixel_edges(p, s) + (p - n) / 2 * s for n, p, s in zip(shape, padded, size, strict=True)]
    arguments = (nodes, edges[1], edges[0], on_device.flat)
    said = constraints or Constraints({}, {})
    knowledge = knowledge_of(names, images, counts, known, said, noise, limits)
    starts = [start_within(names, begin, knowledge, counts) for begin in said.starting(names, start)]

    problem = Problem(
        model=model,
        counts=on_device,
        knowledge=knowledge,
        arguments=arguments,
        noise=noise,
        detector=detector_of(images[0]),
        tolerance=tolerance,
    )
    best = problem.best(starts)
    unit = _noise_unit(best, counts, noise, images, len(names))
    if unit != 1 and knowledge.precision.any():  # what is known must be weighed against the data's own noise
        counts = counts._replace(floor=counts.floor * unit)
        problem = replace(problem, counts=jax.device_put(counts))
        best = problem.fit(best.parameters)
    values, slope = best.parameters, best.slope
    if not np.all(np.isfinite(values)):
        raise SolverError(f"{images[0].name}: the fit met numbers that are not finite; look for stray pixels")
    mobile = moving(best, knowledge)
    unit = _noise_unit(best, counts, noise, images, int(mobile.sum()))
    information = best.information / unit
    cov = covariance(information + knowledge.precision, mobile)
    noise_known = noise == "poisson" or images[0].uncertainty is not None
    spread = cov.matrix
    if not noise_known:
        _, jacobian = model(jnp.asarray(values), *arguments)
        spread = _sandwich(cov.matrix, knowledge.precision, np.asarray(jacobian), best.expected, counts, unit)
    rows, columns = shape
    cut = np.s_[:, :rows, :columns]
    return SpotFit(
        names=names,
        values=values,
        covariance=spread,
        information=information,
        precision=knowledge.precision,
        response=cov.matrix,
        slope=slope / unit,
        moving=mobile,
        blind=tuple(names[i] for i in cov.blind),
        at_bound=tuple(name for i, name in enumerate(names) if knowledge.free[i] and not mobile[i]),
        expected=np.array(best.expected)[cut],
        photons=np.asarray(counts.photons)[cut],
        used=np.asarray(counts.used)[cut] > 0,
        floor=np.asarray(counts.floor)[cut] * unit,
        camera=images[0].camera,
        detector=detector_of(images[0]),
        noise=noise,
        noise_known=noise_known,
        converged=best.converged,
        steps=best.steps,
        least=best.objective,
        problem=replace(problem, unit=unit),
    )


def _noise_unit(best, counts, noise, images, fitted):
    """The variance of Gaussian noise of unknown size, from the residuals; 1 where the noise is known."""
    if noise != "gaussian" or images[0].uncertainty is not None:
        return 1.0
    return best.objective / max(float(counts.used.sum()) - fitted, 1.0)


def _sandwich(response, precision, jacobian, expected, counts, unit):
    """H⁻¹ (Σ r² ∂µ ∂µᵀ/V² + Λ) H⁻¹: errors that hold however large the noise of each pixel, from its own residual r.

    Noise of unknown size need not be even, and that of photons is not (White, Econometrica 48 (1980) 817).
    """
    weight = counts.used * (counts.photons - np.asarray(expected)) / (counts.floor * unit)
    pulls = jacobian.reshape(len(response), -1) * weight.reshape(-1)
    return response @ (pulls @ pulls.T + precision) @ response


@lru_cache(maxsize=1)
def _shared_counts(images: tuple[Image, ...], noise: str, padded: tuple[int, int]) -> tuple[Counts, Counts]:
    """The counts of these very images, here and on the device: the Gaussian and the film are fitted to the same."""
    counts = _counts(images, noise, padded)
    return counts, jax.device_put(counts)


def _counts(images, noise, padded) -> Counts:
    camera = images[0].camera
    rows, columns = images[0].shape
    cut = np.s_[:, :rows, :columns]

    def frame(arrays, fill):
        whole = np.full((len(images), *padded), fill)
        whole[cut] = arrays
        return whole

    ones = np.ones(images[0].shape)
    if noise == "gaussian":
        errors = [image.photon_uncertainty for image in images]
        floor = frame([ones if error is None else error**2 for error in errors], 1.0)
    else:
        floor = frame([np.full(image.shape, detector_of(image).floor) for image in images], 0.0)
    flat = frame([ones if image.flat is None else image.flat for image in images], 1.0)
    used = frame([image.mask for image in images], 0.0)
    photons = np.where(used > 0, frame([detector_of(image).photons(image) for image in images], 0.0), 0.0)
    return Counts(photons, used, flat, floor, np.asarray(camera.excess_noise))


def _guess(image: Image, narrowest: float) -> Spot:
    flat = np.ones(image.shape) if image.flat is None else image.flat
    guess = find_spot(image.photons, image.mask, flat, image.spacing, narrowest)
    if guess is None:
        raise InputError(f"{image.name}: no spot stands out of the background; check the file and the region")
    return guess


def _check_spot(image: Image, found: SpotFit) -> None:
    """Refuse an image whose spot is no surer than the brightest bump of even noise (FAULTS 5)."""
    used = found.used[0]
    photons, expected, floor = found.photons[0][used], found.expected[0][used], found.floor[0][used]
    flat = np.ones(photons.size) if image.flat is None else image.flat[used]
    even = flat * max(float(photons.sum() / flat.sum()), 1e-12 - 0.9 * float(floor.min()))
    if found.noise == "poisson":
        law = {"floor": found.detector.floor, "excess": found.camera.excess_noise}
        ratio = float((deviance(photons, even, **law) - deviance(photons, expected, **law)).sum())
    else:
        left, right = (float(((photons - model) ** 2 / floor).sum()) for model in (even, expected))
        ratio = photons.size * float(np.log(left / right)) if right > 0 else np.inf
    if ratio < 2 * np.log(photons.size) + BY_CHANCE:
        raise InputError(
            f"{image.name}: no spot stands out of the background; the surest has {found.value('amplitude'):.3g} photons"
            ", which noise alone may show: check that it is the right file, its region and its exposure"
        )


def _check_field(image: Image, width: float, x: float, y: float) -> None:
    """Refuse an image under three spot widths: its background cannot be told from the spot's tail (FAULTS 5)."""
    size_y, size_x = image.spacing
    fields = {"high": image.shape[0] * size_y, "wide": image.shape[1] * size_x}
    if image.shape[0] == 1:  # the light through a slit has no field across it
        del fields["high"]
    for way, field in fields.items():
        if field < WIDTHS_NEEDED * FWHM * width:
            raise InputError(
                f"{image.name}: the image is {field:.3g} µm {way}, less than {WIDTHS_NEEDED:g} times the spot's "
                f"width (FWHM {FWHM * width:.3g} µm): spot and background cannot be told apart; take a wider field"
            )


def _round_up(count: int) -> int:
    """A length shared by similar images, so that each does not need a compilation of its own."""
    block = 16 if count <= 128 else 64
    return -(-count // block) * block
