"""Spectra reduced to the position and the width of their band, place by place, as figures of papers show them.

Each spectrum is fitted by itself with one Gaussian line, integrated between the edges of the bins, on an even ground,
within two widths of its band. That describes a band with traps below it, or many energies within, only roughly; the
model's own spectra are reduced alike, so that both can be compared.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.fit.colours import line

STEPS = 25  # of Fisher scoring, each at most half a width
REACH = 2.0  # widths of the band to either side, within which bins are used
SURE = 5.0  # standard errors that the amplitude must have for a line to be told at all


class Peaks(NamedTuple):
    """Per place, meV: the line's centre and standard deviation with their errors; NaN where no line is seen."""

    centre: Float64[np.ndarray, " P"]
    centre_error: Float64[np.ndarray, " P"]
    width: Float64[np.ndarray, " P"]
    width_error: Float64[np.ndarray, " P"]


def reduce_spectra(
    counts: Float64[np.ndarray, "P colour"],
    variance: Float64[np.ndarray, "P colour"] | None,
    edges: Float64[np.ndarray, " colour+1"],
    centre: float,
    width: float,
) -> Peaks:
    """Fit a line to each spectrum, starting from `centre` and `width` (meV); `variance` None: that of the photons."""
    energy = (edges[1:] + edges[:-1]) / 2
    near = np.abs(energy - centre) < REACH * width
    if near.sum() < 5:
        return Peaks(*np.full((4, len(counts)), np.nan))
    part = np.flatnonzero(near)
    cut = np.s_[part[0] : part[-1] + 1]
    own = np.s_[part[0] : part[-1] + 2]
    law = np.zeros_like(counts) if variance is None else variance
    found = np.asarray(_fitted(counts[:, cut], law[:, cut], edges[own], centre, width, photons=variance is None))
    values, errors = found
    seen = np.isfinite(errors).all(1) & (values[:, 2] > SURE * errors[:, 2]) & (values[:, 1] > 0)
    values, errors = (np.where(seen[:, None], a, np.nan) for a in (values, errors))
    return Peaks(values[:, 0], errors[:, 0], values[:, 1], errors[:, 1])


@partial(jax.jit, static_argnames="photons")
def _fitted(counts, law, edges, centre, width, *, photons: bool) -> Float[Array, "2 P 4"]:
    def expected(own):
        shape = line(own[:1], own[1], edges)[0]
        return own[2] * shape + own[3]

    def one(y, given):
        ground = jnp.min(y) + 0.02 * jnp.mean(y) + 1e-3
        start = jnp.array([centre, width, jnp.maximum(jnp.sum(y) - ground * y.size, 1.0), ground])
        most = jnp.array([0.5 * width, 0.5 * width, jnp.inf, jnp.inf])

        def weighed(own):
            mu, slopes = expected(own), jax.jacfwd(expected)(own)
            weight = 1 / (jnp.maximum(mu, 1e-3) if photons else given)
            matrix = slopes.T @ (weight[:, None] * slopes)
            return matrix, slopes.T @ (weight * (y - mu))

        def step(own, _):
            matrix, score = weighed(own)
            move = jnp.clip(jnp.linalg.solve(matrix, score), -most, most)
            moved = own + move
            return jnp.stack([moved[0], jnp.maximum(moved[1], 0.1 * width), *moved[2:]]), None

        own, _ = jax.lax.scan(step, start, None, length=STEPS)
        return jnp.stack([own, jnp.sqrt(jnp.diagonal(jnp.linalg.inv(weighed(own)[0])))])

    return jnp.moveaxis(jax.vmap(one)(counts, law), 1, 0)
