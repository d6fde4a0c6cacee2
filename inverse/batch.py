"""Many images of one film: each measured, a bad one set aside, the others averaged with common errors counted once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.landscape import Landscape
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.uncertainty import NORMAL_95, weighted_mean
from excidiff.inverse.measure import Measured, measure
from excidiff.inverse.results.result import Estimate, Measurement
from excidiff.solver.solution import InputError, SolverError

Progress = Callable[[int, int, str], None]
"""(images done, images in all, name of the one just done)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """All measurements in order, those that could be fitted, and the ones that the mean rests on."""

    measurements: tuple[Measurement, ...]
    measured: tuple[Measured, ...]
    averaged: tuple[Measured, ...]


def measure_all(
    images: Sequence[Image],
    optics: Optics,
    constraints: Constraints,
    *,
    noise: str,
    interval: str,
    landscape: Landscape | None = None,
    progress: Progress | None = None,
) -> Batch:
    """Measure each image; one that cannot be fitted fails alone, with its reason. A single image raises instead."""
    measurements, measured = [], []
    for index, image in enumerate(images):
        try:
            found = measure([image], optics, constraints, noise=noise, interval=interval, landscape=landscape)
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
    """The weighted mean diffusion length and the χ² of the images about it; None where there is no mean to be about.

    The mean is of log L: an average of L itself, weighted with errors that grow with it, would lean to the small ones.
    """
    measured = batch.averaged
    if len(measured) == 1 or any(m.length.stderr is None for m in measured):
        return measured[0].length, None
    lengths = np.array([m.length.value for m in measured], float)
    relative = np.array([m.length.stderr for m in measured], float) / lengths
    shared = np.stack([_shared(m, optics) for m in measured])
    mean = weighted_mean(np.log(lengths), relative**2, shared, optics.known.precision)
    value, span = float(np.exp(mean.value)), NORMAL_95 * mean.stderr
    interval = (value * float(np.exp(-span)), value * float(np.exp(span)))
    return Estimate(value, value * mean.stderr, interval, "um"), mean.chi2


def mean_deconvolved(batch: Batch, laser: Given) -> Estimate:
    """The weighted mean of the deconvolved lengths; the laser's width is common to all: dd_i/dw = −w/d_i."""
    found = [m.measurement.parameters["deconvolved_length"] for m in batch.averaged]
    found = [one for one in found if one.value is not None and one.stderr]
    if len(found) < 2:
        return found[0] if found else Estimate(None, unit="um", identifiable=False, origin="derived")
    values = np.array([one.value for one in found], float)
    variances = np.array([one.stderr for one in found], float) ** 2
    mean = weighted_mean(values, variances, (-laser.value / values * laser.stderr)[:, None], np.ones((1, 1)))
    span = NORMAL_95 * mean.stderr
    return Estimate(mean.value, mean.stderr, (mean.value - span, mean.value + span), "um", origin="derived")


def scatter_of(measured: Sequence[Measured]) -> dict[str, dict[str, float | int | None]]:
    """Mean, standard deviation and number of each quantity over the images: not how sure the mean is."""
    scatter = {}
    for name in ("diffusion_length", "deconvolved_length"):
        values = [m.measurement.parameters[name].value for m in measured]
        values = np.array([value for value in values if value is not None])
        if values.size > 1:
            scatter[name] = {"mean": float(values.mean()), "std": float(values.std(ddof=1)), "n": int(values.size)}
    return scatter


def overall_goodness(measured: Sequence[Measured]) -> dict[str, float | int | None]:
    """All images together: deviances and their expectations added, z = Σz/√n as every image tests the law alone."""
    found = [m.measurement.goodness for m in measured]
    counted = {"photons": sum(g["photons"] for g in found), "pixels": sum(g["pixels"] for g in found)}
    if any(g["z"] is None for g in found):
        return {"deviance_ratio": None, "z": None, "p_value": None, **counted}
    ratio = sum(g["deviance"] for g in found) / sum(g["deviance"] / g["deviance_ratio"] for g in found)
    z = sum(g["z"] for g in found) / sqrt(len(found))
    return {"deviance_ratio": ratio, "z": z, "p_value": erfc(abs(z) / sqrt(2)), **counted}


def _shared(measured: Measured, optics: Optics) -> Float64[np.ndarray, " k"]:
    """Covariance of log L with what the laser image tells all fits."""
    names = measured.fit.names
    length = names.index("diffusion_length")
    return np.array([measured.fit.covariance[length, names.index(name)] for name in optics.known.names])
