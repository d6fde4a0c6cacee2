"""What a counter shows of an exponential decay: response, shift, bins and period, all exact.

Excitons that live τ and a laser that comes every T leave, t after a pulse, light in proportion to

    p(t) = λ e^{−λ r}/(1 − e^{−λT}),   λ = 1/τ,   r = t mod T,      one photon per period; a single pulse: λ e^{−λt}.

The instrument's response is a histogram: boxes of some width with shares that add up to one. The photons between a and
b of a box from c to d are the double integral of p(t − s − δ), a second difference of P₂ with P₂″ = p,

    [P₂(b − c − δ) − P₂(b − d − δ) − P₂(a − c − δ) + P₂(a − d − δ)]/(d − c),

so that bins need not divide the period, tails of earlier pulses are all there, and the shift δ is continuous. Where
bins and boxes are equally wide this depends on their distance alone, and the sum over boxes is a convolution.
"""

from math import erf, sqrt
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

RESOLVED = 0.9  # bins that the standard deviation of a response must have for boxes to do it justice
MOST = 0.97  # of the light in the seven bins around the brightest, for a response that bins do not resolve


class Boxes(NamedTuple):
    """An instrument's response: box i begins at `start` + i `width` (ns) and has a `share` of the light.

    `alike`: whether boxes are as wide as the bins they are seen in.
    """

    start: Any
    width: Any
    share: Float[np.ndarray | Array, " I"]
    alike: bool = False


class Window(NamedTuple):
    """Bins: so many, the first from `start` (ns), each `width` wide; `period` of the laser, ns, None for one pulse."""

    start: Any
    width: Any
    bins: int
    period: Any = None


def boxes_of(start, width, counts, *, alike: bool = False) -> Boxes:
    """A measured response as boxes: counts of bins that begin at `start`, above their background.

    What was sorted into bins and spread over them again has lost sharpness, sinc²(ωh/2) of it at frequency ω, h being
    the bins' width. The second and fourth differences give it back to sixth order in ωh.
    """
    counts = jnp.asarray(counts)
    beside = jnp.pad(counts, 2)
    second = beside[2:] - 2 * beside[1:-1] + beside[:-2]
    fourth = second[2:] - 2 * second[1:-1] + second[:-2]
    sharp = counts - second[1:-1] / 12 + fourth / 90
    return Boxes(start, width, sharp / jnp.sum(sharp), alike)


def gaussian_boxes(sigma: float, centre: float = 0.0, parts: int = 48) -> Boxes:
    """A Gaussian response of standard deviation `sigma` (ns), as boxes out to five of them."""
    edges = np.linspace(-5.0, 5.0, parts + 1)
    shares = np.diff([erf(edge / sqrt(2)) for edge in edges])
    return boxes_of(centre - 5 * sigma, 10 * sigma / parts, shares)


def unresolved(start: float, width: float, counts: Float[np.ndarray, " I"]) -> Boxes | None:
    """The Gaussian most likely to put its counts into the bins of a response that they do not resolve, else None.

    Looked for on a lattice of centres and widths around the brightest bin, halved until it is fine.
    """
    first = max(int(np.argmax(counts)) - 3, 0)
    seen = np.maximum(counts[first : first + 7], 0.0)
    if seen.sum() < MOST * counts.sum():
        return None
    edges = start + width * (first + np.arange(seen.size + 1))

    def unlikely(centre: float, sigma: float) -> float:
        share = np.diff([erf((edge - centre) / (sigma * sqrt(2))) for edge in edges]) / 2
        return -float(seen @ np.log(np.maximum(share, 1e-12)))

    centre, sigma, step = float(seen @ (edges[:-1] + edges[1:]) / (2 * seen.sum())), 0.4 * width, 0.4 * width
    while step > 1e-4 * width:
        around = [(centre + i * step, max(sigma + j * step, 0.02 * width)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        best = min(around, key=lambda pair: unlikely(*pair))
        step = step if best != (centre, sigma) else step / 2
        centre, sigma = best
    return gaussian_boxes(sigma, centre) if sigma < RESOLVED * width else None


def shown(rate, shift, boxes: Boxes | None, window: Window) -> Float[Array, " J"]:
    """The photons in each bin for one photon per period that decays with `rate` (1/ns), seen `shift` (ns) late."""
    if boxes is None:
        edges = window.start + window.width * jnp.arange(window.bins + 1)
        return jnp.diff(_once(edges - shift, rate, window.period))
    return _through(lambda x: _twice(x, rate, window.period), shift, boxes, window)


def flash(shift, boxes: Boxes | None, window: Window) -> Float[Array, " J"]:
    """The same for light that comes with the pulse: scattered laser light."""
    if boxes is None:  # all of it in the bin that holds the pulse
        boxes = Boxes(-0.5 * window.width, window.width, np.ones(1), alike=True)
    return _through(lambda x: _ramp(x, window.period), shift, boxes, window)


def _through(twice, shift, boxes: Boxes, window: Window) -> Float[Array, " J"]:
    """Second differences of `twice` over bins and boxes, weighted with the boxes' shares."""
    count = len(boxes.share)
    if boxes.alike:
        lags = jnp.arange(-count, window.bins + 1)
        kernel = jnp.diff(twice(window.start - boxes.start + lags * window.width - shift), 2) / window.width
        return jnp.convolve(jnp.asarray(boxes.share), kernel, mode="full")[count - 1 : count - 1 + window.bins]
    edges = window.start + window.width * jnp.arange(window.bins + 1)
    sides = boxes.start + boxes.width * jnp.arange(count + 1)
    corners = twice(edges[:, None] - sides[None, :] - shift)
    cells = corners[1:, :-1] - corners[1:, 1:] - corners[:-1, :-1] + corners[:-1, 1:]
    return cells @ jnp.asarray(boxes.share) / boxes.width


def _wrapped(x, period):
    """(n, r) with x = nT + r, 0 ≤ r < T; for a single pulse n = −1 before it and 0 after."""
    if period is None:
        return jnp.where(x < 0, -1.0, 0.0), jnp.maximum(x, 0.0)
    turns = jnp.floor(x / period)
    return turns, x - turns * period


def _once(x, rate, period):
    """∫₀ˣ p."""
    turns, rest = _wrapped(x, period)
    if period is None:
        return -jnp.expm1(-rate * rest)
    return turns + jnp.expm1(-rate * rest) / jnp.expm1(-rate * period)


def _twice(x, rate, period):
    """∫₀ˣ ∫₀ʸ p."""
    turns, rest = _wrapped(x, period)
    if period is None:
        return rest + jnp.expm1(-rate * rest) / rate
    whole = -jnp.expm1(-rate * period)
    one = (period - whole / rate) / whole
    return period * turns * (turns - 1) / 2 + turns * (one + rest) + (rest + jnp.expm1(-rate * rest) / rate) / whole


def _ramp(x, period):
    """∫₀ˣ ∫₀ʸ of a pulse at 0 in every period."""
    turns, rest = _wrapped(x, period)
    if period is None:
        return rest
    return period * turns * (turns + 1) / 2 + (turns + 1) * rest
