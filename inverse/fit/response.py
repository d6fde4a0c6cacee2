"""What a counter shows of an exponential decay: response, shift, bins and period, all exact.

Excitons that live τ and a laser that comes every T leave, t after a pulse, light in proportion to

    p(t) = λ e^{−λ r}/(1 − e^{−λT}),   λ = 1/τ,   r = t mod T,      one photon per period; a single pulse: λ e^{−λt}.

The instrument's response is a quadratic spline, f(t) = Σ w_i B((t − c_i)/w), whose integral over the bins in which it
was measured gives its counts: its cumulative counts, interpolated by a cubic spline (Unser, Aldroubi and Eden, IEEE
Transactions on Signal Processing 41 (1993) 821). As B is three boxes folded into each other, the photons of spline i
between a and b are differences, three in w and one in h = b − a, of P₄ with P₄⁗ = p at x = b − c_i − δ and below,

    K(x) = (1 − e^{−w∂})³ (1 − e^{−h∂}) P₄(x)/w³,

so that bins need not divide the period, tails of earlier pulses are all there, and all of it is smooth in the shift δ.
Once x exceeds 3w + h only the exponential is left of P₄ and the differences are a product: no digits are lost. Where
bins and splines are equally wide K depends on their distance alone, and the sum over splines is a convolution.
"""

from math import erf, factorial, sqrt
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.fit.prediction import steady_nodes

RESOLVED = 0.9  # bins that the standard deviation of a response must have for a spline to do it justice
MOST = 0.97  # of the light in the seven bins around the brightest, for a response that bins do not resolve
TAPS = 24  # bins over which the spline's weights follow the counts: √3 (√3 − 2)²⁴ = 3e-14
ASIDE = 0.414  # widths: the change of form lies where no bin does, or rounding may take either form, or both in reverse
TERMS = 16  # of the series of e^{−y} beyond its first four


class Shape(NamedTuple):
    """An instrument's response: spline i begins at `start` + i `width` (ns), is three widths long, and has a weight.

    `alike`: whether widths are those of the bins it is seen in.
    """

    start: Any
    width: Any
    weights: Float[np.ndarray | Array, " I"]
    alike: bool = False


ESCAPING = (0.7, -6.0)
"""Step and first of the nodes of what leaves a collection spot: 1.5e-5 of the light at most, for any ρ."""


class Window(NamedTuple):
    """Bins: so many, the first from `start` (ns), each `width` wide; `period` of the laser, ns, None for one pulse.

    escape: ρ = 2L²/(s² + c²) of excitons that leave a collection spot of variance c² while they live, from a laser's of
    s²; None: all their light is seen, wherever they are.
    """

    start: Any
    width: Any
    bins: int
    period: Any = None
    escape: Any = None


def above_dark(counts: Float64[np.ndarray, " T"]) -> tuple[Float64[np.ndarray, " T"], float]:
    """(the counts of a response above its background, 0 where they do not stand out of it; the background per bin).

    The background is looked for from below, as a response may fill its file: from a low level of smoothed counts on,
    the mean of what is within four standard deviations of it, which what lies below it shows. What stands out lies so
    far above it in the mean of five bins, by itself, or within two bins of such a one.
    """
    photons = bool((counts >= 0).all() and (counts == np.round(counts)).all())
    five = np.ones(5)
    level, spread = float(np.quantile(np.convolve(counts, five / 5, mode="valid"), 0.1)), 0.0
    for _ in range(20):
        below = np.minimum(counts - level, 0.0)
        rms = sqrt(2 * float((below**2).mean())) if not photons else sqrt(max(level, 0.0))
        spread = 4 * rms + 1e-9 * float(np.abs(counts).max()) + (1.0 if photons else 0.0)
        level = float(counts[counts <= level + spread].mean())
    out = np.convolve(counts - level, five / 5, mode="same") > spread / sqrt(5)
    out |= counts - level > spread
    return np.where(np.convolve(out, five, mode="same") > 0.5, counts - level, 0.0), level


def shape_of(start, width, counts, *, alike: bool = False) -> Shape:
    """A measured response: counts of bins that begin at `start`, above their background; its integral is one."""
    taps = sqrt(3) * (sqrt(3) - 2) ** np.abs(np.arange(-TAPS, TAPS + 1))
    weights = jnp.convolve(jnp.asarray(counts), jnp.asarray(taps), mode="full")[TAPS:-TAPS]
    return Shape(start - width, width, weights / jnp.sum(weights), alike)


def gaussian_shape(sigma: float, centre: float = 0.0, parts: int = 72) -> Shape:
    """A Gaussian response of standard deviation `sigma` (ns), out to six of them on either side."""
    edges = np.linspace(-6.0, 6.0, parts + 1)
    shares = np.diff([erf(edge / sqrt(2)) for edge in edges])
    return shape_of(centre - 6 * sigma, 12 * sigma / parts, shares)


def unresolved(start: float, width: float, counts: Float[np.ndarray, " I"]) -> Shape | None:
    """The Gaussian most likely to put its counts into the bins of a response that they do not resolve, else None.

    Looked for on a lattice of centres and widths around the brightest bin, halved until it is fine.
    """
    first = max(int(np.argmax(counts)) - 3, 0)
    seen = np.maximum(counts[first : first + 7], 0.0)
    if not 0 < MOST * counts.sum() <= seen.sum():
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
    return gaussian_shape(sigma, centre) if sigma < RESOLVED * width else None


def in_bins(shape: Shape, width: float) -> Shape | None:
    """The same response as a spline of bins `width` wide from a multiple of it on; None if they do not resolve it."""
    first = int(np.floor(float(shape.start) / width)) - 1
    count = int(np.ceil((float(shape.start) + (len(shape.weights) + 2) * float(shape.width)) / width)) + 1 - first
    counts = np.asarray(flash(0.0, shape, Window(first * width, width, count)))
    if unresolved(first * width, width, counts) is not None:
        return None
    padded = np.pad(counts, TAPS)
    return shape_of((first - TAPS) * width, width, padded, alike=True)


def shown(rate, shift, shape: Shape | None, window: Window) -> Float[Array, " J"]:
    """The photons in each bin for one photon per period that decays with `rate` (1/ns), seen `shift` (ns) late.

    Of a spot that spreads out of a Gaussian collection spot e^{−λt}/(1 + ρλt) is seen, ∫ e^{−u} e^{−λ(1 + ρu)t} du: a
    sum of exponentials.
    """
    if window.escape is not None:
        ages, weights = (jnp.asarray(part) for part in steady_nodes(*ESCAPING))
        faster = 1 + window.escape * ages
        share = weights / faster / jnp.sum(weights / faster)
        whole = window._replace(escape=None)
        return share @ jax.vmap(lambda times: shown(times * rate, shift, shape, whole))(faster)
    if shape is None:
        edges = window.start + window.width * jnp.arange(window.bins + 1)
        return jnp.diff(_reached(edges - shift, rate, window.period))
    return _through(lambda x, w, h: _differences(x, rate, w, h, window.period), shift, shape, window)


def flash(shift, shape: Shape | None, window: Window) -> Float[Array, " J"]:
    """The same for light that comes with the pulse: scattered laser light."""
    if shape is None:  # all of it in the bin that holds the pulse
        edges = window.start + window.width * jnp.arange(window.bins + 1)
        return jnp.diff(_turns(edges - shift, window.period)[0])
    return _through(lambda x, w, h: _ramps(_turns(x, window.period)[1], w, h), shift, shape, window)


def _through(kernel, shift, shape: Shape, window: Window) -> Float[Array, " J"]:
    """`kernel` between every bin and every spline, times the spline's weight, added up."""
    weights, count = jnp.asarray(shape.weights), len(shape.weights)
    last = window.start + window.width - shape.start - shift  # x of the first bin and the first spline
    if shape.alike:
        lags = jnp.arange(1 - count, window.bins)
        found = jnp.convolve(weights, kernel(last + lags * window.width, window.width, window.width), mode="full")
        return found[count - 1 : count - 1 + window.bins]
    bins, splines = window.width * jnp.arange(window.bins), shape.width * jnp.arange(count)
    return kernel(last + bins[:, None] - splines[None, :], shape.width, window.width) @ weights


def _turns(x, period):
    """(n, r) with x = nT + r, 0 ≤ r < T; for a single pulse n = −1 and r = 0 before it, n = 0 and r = x after."""
    if period is None:
        return jnp.where(x < 0, -1.0, 0.0), jnp.maximum(x, 0.0)
    turns = jnp.floor(x / period)
    return turns, x - turns * period


def _reached(x, rate, period):
    """∫₀ˣ p."""
    turns, rest = _turns(x, period)
    if period is None:
        return -jnp.expm1(-rate * rest)
    return turns + jnp.expm1(-rate * rest) / jnp.expm1(-rate * period)


def _differences(x, rate, w, h, period):
    """K(x): of the pulse at hand, and of all before it, of which only the exponential is left."""
    _, rest = _turns(x, period)
    near = sum(sign * _beyond(rate * jnp.maximum(rest - place, 0.0)) for place, sign in _corners(w, h))
    near, reach = near / (rate * w) ** 3, 3 * w + h

    def far(x):
        fall = jnp.exp(-rate * jnp.maximum(x - reach, 0.0))  # beyond it
        return fall * (-jnp.expm1(-rate * w) / (rate * w)) ** 3 * -jnp.expm1(-rate * h)

    one = jnp.where(rest < reach + ASIDE * w, near, far(rest))
    return one if period is None else one - far(rest + period) / jnp.expm1(-rate * period)


def _ramps(x, w, h):
    """K(x) of a pulse without duration at 0, P₄ = x³/6: nothing is left of it beyond 3w + h."""
    near = sum(sign * jnp.maximum(x - place, 0.0) ** 3 for place, sign in _corners(w, h))
    return jnp.where(x < 3 * w + h, near / (6 * w**3), 0.0)


def _corners(w, h):
    """(how far below x, with which sign) of the eight values that the differences take."""
    return [(k * w + m * h, sign * (1 - 2 * m)) for k, sign in enumerate((1, -3, 3, -1)) for m in (0, 1)]


@jax.custom_jvp
def _beyond(y):
    """λ³P₄ at y = λx ≥ 0: g = e^{−y} − 1 + y − y²/2 + y³/6, by its series where that would cancel."""
    small, large = jnp.minimum(y, 1.0), jnp.maximum(y, 1.0)
    series = sum((-1) ** m * small**m / factorial(m) for m in range(4, 4 + TERMS))
    return jnp.where(y < 1.0, series, jnp.exp(-large) - 1 + large - large**2 / 2 + large**3 / 6)


@_beyond.defjvp
def _beyond_slope(primals, tangents):
    """g′ = y³/6 − g, whichever form g took."""
    (y,), (dy,) = primals, tangents
    value = _beyond(y)
    return value, (y**3 / 6 - value) * dy
