"""Before the data are asked: within which limits each parameter is looked for, and what is known of it already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.optimise import Knowledge
from excidiff.inverse.fit.parameters import Constraints, inner

SMALLEST_LENGTH = 0.02  # of s: a diffusion length below it changes the image by 4e-4 of its width and less


LONGEST_LIFETIME = 1e3  # of the gates together: the decay from the first to the last is less than 1e-3
SHORTEST_LIFETIME = 1e-3  # of the shortest gate


@dataclass(frozen=True, eq=False)
class Known:
    """What another measurement says of some parameters, in the fit's own numbers: mean and covariance."""

    names: tuple[str, ...]
    mean: Float64[np.ndarray, " k"]
    covariance: Float64[np.ndarray, "k k"]

    @property
    def precision(self) -> Float64[np.ndarray, "k k"]:
        """The inverse covariance; zero for what is known exactly, which is fixed instead."""
        exact = np.diagonal(self.covariance) == 0
        padded = self.covariance + np.diag(exact.astype(float))
        return np.linalg.inv(padded) * np.outer(~exact, ~exact)


def gate_limits(gates: Float64[np.ndarray, "F 2"], width: float) -> dict[str, tuple[float, float]]:
    """Natural limits of D (µm²/ns) and τ (ns): where they no longer change what gates (ns) see of a spot of s `width`.

    D from 2Dt = (0.02 s)² at the end of the last gate to (10⁴ s)² at that of the first.
    """
    ends = gates[:, 1]
    slowest = (SMALLEST_LENGTH * width) ** 2 / (2 * ends.max())
    shortest = SHORTEST_LIFETIME * float(np.diff(gates, axis=1).min())
    longest = LONGEST_LIFETIME * float(ends.max() - gates[:, 0].min())
    return {
        "diffusivity": (slowest, (1e4 * width) ** 2 / (2 * float(ends.min()))),
        "lifetime": (shortest, longest),
    }


def knowledge_of(
    names: tuple[str, ...],
    images: Sequence[Image],
    counts: Counts,
    known: Known | None,
    constraints: Constraints,
    noise: str,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Knowledge:
    """Natural limits from the images, and `limits`, narrowed by `constraints`; what is `known` as a Gaussian beside.

    The background of Poisson counts may fall to next to nothing, or, with read noise, as far below zero
    as leaves every variance positive: a bound at zero would bias what is fitted beside it.
    """
    rows, columns = images[0].shape
    size_y, size_x = images[0].spacing
    half = np.array([columns * size_x, rows * size_y]) / 2
    pixels = float(np.sum(counts.used))
    bright = float(np.sum(np.abs(counts.photons))) + 1e-300
    floor = float(np.min(counts.floor)) / float(counts.excess)
    darkest = -np.inf if noise == "gaussian" else (-0.9 * floor if floor > 0 else 1e-7 * bright / pixels)
    width = None if known is None else float(np.exp(known.mean[known.names.index("width")]))
    natural = {
        "diffusion_length": (SMALLEST_LENGTH * (width or 1), 40 * half.max()),
        "width": (0.05 * min(size_x, size_y), 4 * half.max()) if width is None else (width / 4, width * 4),
        "psf_width": (1e-6 * (width or 1), width or 1),
        "centre_x": (-2 * half[0], 2 * half[0]),  # a spot may lie just outside, and its tail inside
        "centre_y": (-2 * half[1], 2 * half[1]),
        "amplitude": (1e-9 * bright, 1e6 * bright),
        "background": (darkest, np.inf),
        **(limits or {}),
    }
    lower = np.array([inner(name, natural[name][0]) for name in names])
    upper = np.array([inner(name, natural[name][1]) for name in names])
    lower, upper = constraints.apply(names, lower, upper)
    centre, precision, free = np.zeros(len(names)), np.zeros((len(names),) * 2), np.ones(len(names), bool)
    if known is not None:
        index = [names.index(name) for name in known.names]
        centre[index] = known.mean
        precision[np.ix_(index, index)] = known.precision
        free[index] = np.diagonal(known.covariance) > 0
    centre, precision = constraints.weighed(names, centre, precision)
    fixed = dict(constraints.fixed)
    if rows == 1 and "centre_y" in names:  # the light through a slit does not tell where across it the spot lies
        fixed.setdefault("centre_y", 0.0)
    for name, value in fixed.items():
        i = names.index(name)
        free[i], centre[i] = False, inner(name, value)
        lower[i], upper[i] = min(lower[i], centre[i]), max(upper[i], centre[i])
    return Knowledge(centre, precision, lower, upper, free)


def start_within(
    names: tuple[str, ...], start: Float64[np.ndarray, " P"], knowledge: Knowledge, counts: Counts
) -> Float64[np.ndarray, " P"]:
    """The start within the limits; fixed parameters at their values; a background that leaves no pixel dark."""
    start = np.where(knowledge.free, start, knowledge.centre)
    at = names.index("background")
    if knowledge.free[at]:
        start[at] = max(start[at], 0.05 * float(np.sum(counts.photons)) / float(np.sum(counts.used)))
    return np.clip(start, knowledge.lower, knowledge.upper)
