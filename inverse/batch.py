"""Many images of one film: each measured, a bad one set aside, the others averaged with common errors counted once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.estimates import positive
from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.landscape import Landscape
from excidiff.inverse.fit.magnification import added
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.uncertainty import NORMAL_95, chi2_tail, weighted_mean
from excidiff.inverse.measure import Measured, measure, without_magnification
from excidiff.inverse.results.result import Estimate, Measurement
from excidiff.solver.solution import InputError, SolverError

ROUNDS = 5
SETTLED = 0.01  # of the standard error
DISAGREE = 0.01  # probability of the images' χ² below which they do not have one length

Progress = Callable[[int, int, str], None]
"""(images done, images in all, name of the one just done)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """All measurements in order, those that could be fitted, and the ones that the mean rests on."""

    measurements: tuple[Measurement, ...]
    measured: tuple[Measured, ...]
    averaged: tuple[Measured, ...]

    @classmethod
    def of(cls, found: Measured) -> "Batch":
        """Of one measurement."""
        return cls((found.measurement,), (found,), (found,))


def measure_all(
    images: Sequence[Image],
    optics: Optics,
    constraints: Constraints,
    *,
    noise: str,
    interval: str,
    landscape: Landscape | None = None,
    mixture: Float64[np.ndarray, "2 K"] | None = None,
    progress: Progress | None = None,
) -> Batch:
    """Measure each image; one that cannot be fitted fails alone, with its reason. A single image raises instead."""
    measurements, measured = [], []
    for index, image in enumerate(images):
        try:
            found = measure(
                [image], optics, constraints, noise=noise, interval=interval, landscape=landscape, mixture=mixture
            )
        except (InputError, SolverError) as error:
            if len(images) == 1:
                raise
            measurements.append(failed(image.name, str(error)))
        else:
            measurements.append(found.measurement)
            measured.append(found)
        if progress is not None:
            progress(index + 1, len(images), image.name)
    good = [m for m in measured if m.measurement.status == "fitted"] or measured
    sure = [m for m in good if m.length.stderr is not None] or good
    return Batch(tuple(measurements), tuple(measured), tuple(sure))


def failed(name: str, reason: str) -> Measurement:
    """An image that could not be read or fitted."""
    return Measurement(kind="image", file=name, status="failed", reason=reason)


def mean_length(batch: Batch, optics: Optics) -> tuple[Estimate, float | None]:
    """The diffusion length of all images together and their χ² about a common one; None where there is no mean.

    Images that agree have one length, and it is the maximum of their joint likelihood: from a common log L, every
    image says by its own slope and curvature there where it wants to be, and the weighted mean of that is the next
    common log L. Where they do not agree, it is a mean of their own lengths whose weights take the scatter in.
    """
    measured = batch.averaged
    if len(measured) == 1 or any(m.length.stderr is None for m in measured):
        return measured[0].length, None
    lengths = np.array([m.length.value for m in measured], float)
    variances = np.array([m.fit.error("diffusion_length") ** 2 for m in measured])
    shared = np.stack([_shared(m, optics, m.fit.response[_length(m)]) for m in measured])
    precision = optics.known.precision
    common = weighted_mean(np.log(lengths), variances, shared, precision)
    for _ in range(ROUNDS):
        found = [m.fit.at("diffusion_length", common.value) for m in measured]
        steps, variances = (np.array(column) for column in list(zip(*found, strict=True))[:2])
        shared = np.stack([_shared(m, optics, row) for m, (_, _, row) in zip(measured, found, strict=True)])
        before, common = common, weighted_mean(common.value + np.clip(steps, -1, 1), variances, shared, precision)
        if abs(common.value - before.value) < SETTLED * common.stderr:
            break
    value, relative = float(np.exp(common.value)), common.stderr
    if chi2_tail(common.chi2, len(measured) - 1) < DISAGREE:
        value, relative = _scattered_mean(lengths, variances, shared @ precision @ shared.T)
    follow = float(common.weights @ (shared @ precision)[:, optics.known.names.index("width")])
    relative = sqrt(relative**2 + added(optics, follow))
    return positive(value, relative, "um", "fitted"), common.chi2


def _scattered_mean(values, variances, common) -> tuple[float, float]:
    """The mean of `values` that differ by more than their relative errors, and its relative error, `common` ones in.

    Weights are 1/(own variance + τ²), τ² the variance between images (DerSimonian and Laird, Controlled Clinical Trials
    7 (1986) 177), so that the errors, which depend on the values, matter the less the larger the differences are.
    """
    own = variances - np.diagonal(common)
    weights = 1 / own
    middle = float(weights @ values / weights.sum())
    excess = float(weights @ (values / middle - 1) ** 2) - (values.size - 1)
    between = max(0.0, excess / float(weights.sum() - (weights**2).sum() / weights.sum()))
    weights = 1 / (own + between)
    weights /= weights.sum()
    return float(weights @ values), float(np.sqrt(weights @ (common + np.diag(own)) @ weights))


def mean_deconvolved(batch: Batch, optics: Optics) -> Estimate:
    """The weighted mean of the deconvolved lengths; the laser's width is common to all: dd_i/dw = −w/d_i."""
    found = [m for m in batch.averaged if m.measurement.parameters["deconvolved_length"].stderr]
    found = [without_magnification(m.measurement, "deconvolved_length") for m in found]
    if not found:
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    values, laser = np.array([one.value for one in found], float), optics.width
    variances = np.array([one.stderr for one in found], float) ** 2
    mean = weighted_mean(values, variances, (-laser.value / values * laser.stderr)[:, None], np.ones((1, 1)))
    stderr = sqrt(mean.stderr**2 + mean.value**2 * added(optics, -((laser.value / mean.value) ** 2)))
    span = NORMAL_95 * stderr
    return Estimate(mean.value, stderr, (mean.value - span, mean.value + span), "um", origin="derived")


def scatter_of(measured: Sequence[Measured]) -> dict[str, dict[str, float | int | None]]:
    """Mean, standard deviation and number of each quantity over the images: not how sure the mean is."""
    scatter = {}
    for name in ("diffusion_length", "deconvolved_length"):
        values = [m.measurement.parameters[name].value for m in measured]
        values = np.array([value for value in values if value is not None])
        if values.size > 1:
            scatter[name] = {"mean": float(values.mean()), "std": float(values.std(ddof=1)), "n": int(values.size)}
    return scatter


def overall_goodness(measurements: Sequence[Measurement]) -> dict[str, float | int | None]:
    """All together: deviances and their expectations added, z = Σz/√n as every measurement tests the law alone."""
    found = [m.goodness for m in measurements]
    counted = {"photons": sum(g["photons"] for g in found), "pixels": sum(g["pixels"] for g in found)}
    if any(g["z"] is None for g in found):
        return {"deviance_ratio": None, "z": None, "p_value": None, **counted}
    ratio = sum(g["deviance"] for g in found) / sum(g["deviance"] / g["deviance_ratio"] for g in found)
    z = sum(g["z"] for g in found) / sqrt(len(found))
    return {"deviance_ratio": ratio, "z": z, "p_value": erfc(abs(z) / sqrt(2)), **counted}


def _length(measured: Measured) -> int:
    return measured.fit.names.index("diffusion_length")


def _shared(measured: Measured, optics: Optics, row: Float64[np.ndarray, " P"]) -> Float64[np.ndarray, " k"]:
    """Covariance of log L, `row`, with what the laser image tells all fits."""
    return np.array([row[measured.fit.names.index(name)] for name in optics.known.names])
