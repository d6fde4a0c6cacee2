"""The fit of a movie: the gates after a pulse against the exact film, by D and τ, or by L and τ.

    log D = 2 log L − log τ

Both describe the same film. The first is what gates determine, as a rule; the second gives the likelihood of L = √(Dτ)
itself, for where D or τ is hardly known and an error of L would not follow from theirs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.data import Image
from excidiff.inverse.fit import prediction
from excidiff.inverse.fit.limits import Known, gate_limits
from excidiff.inverse.fit.parameters import GATED, Constraints
from excidiff.inverse.fit.spot import SpotFit, film_start, fit_spot, image_of

BY_LENGTH = ("diffusion_length", *GATED[1:])


def gated_model(parameters, gates, x_edges, y_edges, flat):
    """Expected photoelectrons of each gate, and their derivatives; the background is per pixel and gate."""
    return image_of(prediction.gated(parameters[:3], gates), parameters[3:], x_edges, y_edges, flat)


def mixed_model(parameters, nodes, x_edges, y_edges, flat):
    """The same of populations with lifetimes of their own; `nodes`: gates, lifetimes in units of τ, shares."""
    return image_of(prediction.gated_mixture(parameters[:3], *nodes), parameters[3:], x_edges, y_edges, flat)


def by_length_model(parameters, gates, x_edges, y_edges, flat):
    """The same with log L in the place of log D: ∂/∂log L = 2 ∂/∂log D, ∂/∂log τ less ∂/∂log D."""
    turned = parameters.at[0].set(2 * parameters[0] - parameters[1])
    expected, slopes = gated_model(turned, gates, x_edges, y_edges, flat)
    return expected, slopes.at[1].add(-slopes[0]).at[0].multiply(2)


def fit_gated(
    images: Sequence[Image],
    first: SpotFit,
    known: Known,
    constraints: Constraints,
    noise: str,
    gates: Float64[np.ndarray, "F 2"],
    mixture: Float64[np.ndarray, "2 K"] | None = None,
) -> SpotFit:
    """Fit the uniform film to one image per gate [t0, t1] (ns), starting from the Gaussian `first` of their sum.

    mixture: of several populations their lifetimes in units of τ, which is fixed then, and their shares of the photons.
    """
    length, width, *centre, amplitude, background = film_start(first, known)
    background /= len(images)
    low, high = constraints.bounds.get("lifetime", (None, None))
    lifetime = float(np.clip(decay_time(images, gates), low or 0.0, high or np.inf))
    lifetime = constraints.fixed.get("lifetime", lifetime)
    seen = float(-np.diff(np.exp(-gates / lifetime), axis=1).sum())  # of all the light
    age = min(lifetime, float(gates.mean()))
    amplitude -= np.log(max(seen, 1e-6))
    start = np.array([2 * length - np.log(age), np.log(lifetime), width, *centre, amplitude, background])
    limits = gate_limits(gates, float(np.exp(width)))
    model, nodes = (gated_model, gates) if mixture is None else (mixed_model, (gates, *mixture))
    return fit_spot(GATED, images, start, noise, model, nodes, known, constraints, limits=limits)


def fit_by_length(
    images: Sequence[Image],
    found: SpotFit,
    known: Known,
    constraints: Constraints,
    noise: str,
    gates: Float64[np.ndarray, "F 2"],
) -> SpotFit:
    """The same film by L and τ, starting from `found`; what was said of D does not hold here."""
    start = found.values.copy()
    start[0] = (start[0] + start[1]) / 2
    free, limits = constraints.without({"diffusivity"}), gate_limits(gates, found.value("width"))
    return fit_spot(BY_LENGTH, images, start, noise, by_length_model, gates, known, free, limits=limits)


def decay_time(images: Sequence[Image], gates: Float64[np.ndarray, "F 2"]) -> float:
    """A lifetime (ns) to start from: the slope of the log of each gate's light per ns, weighted with how sure that is,
    from the brightest gate to the first that has less than 1/e of its light; of many later ones most may be dark.

    The darkest rim of an image is the background. Where only one gate shows light, a fifth of that gate: at far less
    nothing says that the next one is not quite dark.
    """
    masks = [image.mask for image in images]
    rim = np.ones(masks[0].shape, bool)
    rim[slice(None) if len(rim) == 1 else slice(1, -1), 1:-1] = False
    rims = [image.photons[mask & rim] for image, mask in zip(images, masks, strict=True)]
    dark = min((float(one.mean()) for one in rims if one.size), default=0.0)
    scatter = max((float(one.var()) for one in rims if one.size), default=0.0)
    seen = [image.photons[mask] for image, mask in zip(images, masks, strict=True)]
    totals = np.array([one.sum() - dark * one.size for one in seen])
    errors = np.sqrt([scatter * one.size + max(total, 1.0) for one, total in zip(seen, totals, strict=True)])
    rate, middle, length = totals / np.diff(gates, axis=1)[:, 0], gates.mean(axis=1), np.diff(gates, axis=1)[:, 0]
    top = int(np.argmax(rate))
    below = np.flatnonzero(rate[top:] < rate[top] / np.e)
    used = np.s_[top : top + below[0] + 1 if below.size else None]
    good = rate[used] > 1e-3 * rate[top]
    if good.sum() < 2:
        return float(length[top] / 5)
    time, light, sure = (a[used][good] for a in (middle, rate, totals / errors))
    slope = np.polyfit(time, np.log(light), 1, w=sure)[0]
    return float(np.clip(-1 / slope if slope < 0 else np.inf, length.min() / 10, 10 * gates.max()))
