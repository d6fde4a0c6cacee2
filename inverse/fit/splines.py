"""The measured responses of a series: each a quadratic spline in bins of its decay, from its counts or counted anew.

Where a response lies among the bins is settled once, by what was measured; only the weights follow other counts.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.fit.decay import response_of
from excidiff.inverse.fit.layout import Spline
from excidiff.inverse.fit.response import TAPS, Window, above_dark, flash, in_bins, shape_of
from excidiff.solver.solution import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Splined:
    """A measured response: `spline` says where its weights lie, in bins `width` wide (ns).

    light: its counts above the background, where their noise is known and its bins resolve it; else None.
    """

    response: Response
    spline: Spline
    width: float
    weights: Float64[np.ndarray, " I"]
    light: Float64[np.ndarray, " T"] | None

    def again(self, random: np.random.Generator) -> Float64[np.ndarray, " I"]:
        """The weights of the same response counted again, where it stands out of its background."""
        if self.light is None:
            return self.weights
        own, errors = np.maximum(self.response.counts, 0.0), self.response.uncertainty
        noise = random.poisson(own) - own if errors is None else errors * random.standard_normal(own.size)
        light = self.light + np.where(self.light != 0, noise, 0.0)
        first, count = round(self.spline.first) + 1 + TAPS, self.spline.count - 2 * TAPS
        start = first * self.width
        return np.asarray(_weights(light, self.response.edges[0], self.response.width, start, self.width, count))


def splined(decay: Decay) -> Splined | None:
    """The measured response of a decay, None where it has none. Raises InputError for bins that do not resolve it."""
    if not isinstance(decay.irf, Response):
        return None
    shape, raw = response_of(decay)
    found = None if shape is None else in_bins(shape, decay.width)
    if found is None:
        raise InputError(
            f"{decay.file}: its bins of {decay.width:.3g} ns do not resolve the response {decay.irf.file}; give the "
            "width of the response, irf_fwhm, or finer bins"
        )
    return Splined(
        response=decay.irf,
        spline=Spline(float(found.start) / decay.width, len(found.weights)),
        width=decay.width,
        weights=np.asarray(found.weights),
        light=None if raw is None else above_dark(decay.irf.counts)[0],
    )


@partial(jax.jit, static_argnums=5)
def _weights(light, start, width, first, bin_width, count: int) -> Float[Array, " I"]:
    """What `in_bins` makes of a response that begins at `start`, in `count` bins from `first` on."""
    counts = flash(0.0, shape_of(start, width, light), Window(first, bin_width, count))
    return jnp.asarray(shape_of(first, bin_width, jnp.pad(counts, TAPS)).weights)
