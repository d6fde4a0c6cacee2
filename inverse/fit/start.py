"""Start values from the data alone: where the spot is, how wide, how bright, and what lies under it.

A spot is looked for in scale space: the image, coarsened to at most 40 pixels a side, is smoothed with Gaussians of a
geometric series of widths, and the place and width whose Gaussian template fits best by least squares are taken. Blind
to single hot pixels and to where the spot lies, it comes within a factor of about √2 of the width at any brightness.
"""

from math import erf
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))  # of a Gaussian in units of its standard deviation
COARSE = 40


class Spot(NamedTuple):
    """A first guess: centre (µm from the image's centre), standard deviation (µm), photons, background per pixel."""

    x: float
    y: float
    width: float
    amplitude: float
    background: float


def find_spot(
    photons: Float64[np.ndarray, "ny nx"],
    used: Bool[np.ndarray, "ny nx"],
    sensitivity: Float64[np.ndarray, "ny nx"],
    pixel_size: tuple[float, float],
    narrowest: float = 0.0,
) -> Spot | None:
    """The spot that stands out most, no narrower than `narrowest` (µm); None if nothing bright does.

    An image of one row is the light through a slit as wide as its pixels are high, over the spot's middle.
    """
    image, weight, size = _coarsen(np.where(used, photons, 0.0), used * sensitivity, pixel_size)
    ny, nx = image.shape
    edge = _border(image, weight)
    signal = image - edge * weight
    sides = [(n, s) for n, s in zip((ny, nx), size, strict=True) if n > 1] or [(nx, size[1])]
    field = min(n * s for n, s in sides)
    least = max(narrowest, 0.4 * max(s for _, s in sides))
    widths = np.geomspace(least, max(field / 4, 1.01 * least), 8)
    scores = np.stack([_score(signal, weight, width / size[0], width / size[1]) for width in widths])
    level, row, column = (int(i) for i in np.unravel_index(np.argmax(scores), scores.shape))
    if not scores[level, row, column] > 0:
        return None
    width = widths[0] * (widths[1] / widths[0]) ** (level + _vertex(scores[:, row, column], level))
    row, column = row + _vertex(scores[level, :, column], row), column + _vertex(scores[level, row, :], column)
    x, y = (column - (nx - 1) / 2) * size[1], (row - (ny - 1) / 2) * size[0]
    fine = pixel_size[0] * pixel_size[1] / (size[0] * size[1])
    width = float(width)
    peak = _peak(signal, weight, (row, column), (width / size[0], width / size[1]))
    part = size[0] * size[1] / (2 * np.pi * width**2)  # of the light in the brightest pixel
    if ny == 1:  # a slit lets through what lies in it
        part = erf(size[0] / width / 8**0.5) * size[1] / ((2 * np.pi) ** 0.5 * width)
    return Spot(float(x), float(y), width, max(peak / part, 1e-300), edge * fine)


def _score(signal, weight, height, width):
    """How well a Gaussian template of that standard deviation (pixels) fits about each pixel; −∞ where cut off."""
    along, across = _bells(signal.shape[0], height), _bells(signal.shape[1], width)
    norm = along**2 @ weight**2 @ (across**2).T  # Σ (weight × template)²: smaller at borders and masks
    match = along @ (signal * weight) @ across.T
    return np.where(norm > 0.3 * norm.max(), match / np.sqrt(np.maximum(norm, 1e-300)), -np.inf)


def _vertex(values, index: int) -> float:
    """Where, between −½ and ½ beside `index`, the parabola through its neighbours has its top; 0 at an end."""
    if not 0 < index < len(values) - 1:
        return 0.0
    low, top, high = values[index - 1 : index + 2]
    curvature = low + high - 2 * top
    if not np.isfinite(curvature) or curvature >= 0:
        return 0.0
    return float(np.clip((low - high) / (2 * curvature), -0.5, 0.5))


def _coarsen(image, weight, size):
    """Sum blocks of pixels until no side is longer than COARSE; what does not fill a block is padded with nothing."""
    for axis in (0, 1):
        block = -(-image.shape[axis] // COARSE)
        if block > 1:
            pad = -image.shape[axis] % block
            before = pad // 2
            widths = [(0, 0), (0, 0)]
            widths[axis] = (before, pad - before)
            image, weight = np.pad(image, widths), np.pad(weight, widths)
            shape = list(image.shape)
            shape[axis : axis + 1] = [shape[axis] // block, block]
            image, weight = image.reshape(shape).sum(axis + 1), weight.reshape(shape).sum(axis + 1)
        size = tuple(s * block if i == axis else s for i, s in enumerate(size))
    return image, weight / max(weight.max(), 1e-300), size


def _border(image, weight):
    """Background per fully used coarse pixel: the darkest of the four sides, so that a spot at a side counts little."""
    depth = [max(1, n // 8) for n in image.shape]
    sides = (np.s_[: depth[0]], np.s_[-depth[0] :], np.s_[:, : depth[1]], np.s_[:, -depth[1] :])
    levels = [image[side].sum() / weight[side].sum() for side in sides if weight[side].sum() > 0.5]
    return float(min(levels)) if levels else 0.0


def _bells(count, width):
    """Rows of Gaussian templates exp(−(i − j)²/2w²) about each pixel, in pixels."""
    index = np.arange(count)
    return np.exp(-((index[:, None] - index[None, :]) ** 2) / (2 * width**2))


def _peak(signal, weight, place, width):
    """Height of the spot: least squares of a Gaussian template on the signal about `place`."""
    rows, columns = np.indices(signal.shape)
    template = weight * np.exp(
        -((rows - place[0]) ** 2) / (2 * width[0] ** 2) - (columns - place[1]) ** 2 / (2 * width[1] ** 2)
    )
    return float((template * signal).sum() / (template**2).sum())
