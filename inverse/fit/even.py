"""A film that is the same everywhere, exactly: what cells and spots give to others, as Gaussians of all ages.

An exciton that is lost at a, 1/ns, and moves with D lies after t in a Gaussian of variance 2Dt about where it began, so
that a steady source answers with ∫₀^∞ e^{−at} (Gaussian of variance 2Dt) dt. The integral is a sum over log t, where
the trapezoidal rule converges exponentially. Cells and pixels are rectangles, so that all factors in y and x.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from excidiff.inverse.fit.cells import Beyond, Film
from excidiff.inverse.fit.instrument import pixel_weights

STEP, AGES, OLDEST = 0.4, 96, 40.0
"""Of log t: the rule errs by e^(−π²/STEP) = 2e-11; the ages span e^38 up to 40/a, beyond which e^−40 is left."""


class Edges(NamedTuple):
    """Edges of the pixels and of the map's cells along y and x, µm; the cells are alike, and square."""

    pixel_y: Any
    pixel_x: Any
    cell_y: Any
    cell_x: Any

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return len(self.pixel_y) - 1, len(self.pixel_x) - 1

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return len(self.cell_y) - 1, len(self.cell_x) - 1

    @property
    def pitch(self):
        """Of a cell, µm."""
        return self.cell_y[1] - self.cell_y[0]

    @property
    def area(self):
        """Of a cell, µm²."""
        return self.pitch * (self.cell_x[1] - self.cell_x[0])


class Ages(NamedTuple):
    """The nodes of ∫ e^{−at} … dt: weights (ns) and the variance 2Dt (µm²) that an exciton has come to."""

    share: Float[Array, " Q"]
    spread: Float[Array, " Q"]


def ages(film: Film, beyond: Beyond) -> Ages:
    """Those of the film beyond the map."""
    lost = 1 / film.lifetime + beyond.loss
    t = OLDEST / lost * jnp.exp(STEP * (jnp.arange(AGES) + 1 - AGES))
    return Ages(STEP * t * jnp.exp(-lost * t), 2 * beyond.diffusivity * t)


def exchanged(old: Ages, width2, from_y, from_x, to_y, to_x) -> Float[Array, "to from"]:
    """∫ e^{−at} × (the part of what one cell holds that a rectangle gets through a Gaussian of 2Dt + `width2`) dt."""
    width = jnp.sqrt(old.spread + width2)
    along_y, along_x = (
        jax.vmap(pixel_weights, (None, None, 0))(source, end, width) for source, end in ((from_y, to_y), (from_x, to_x))
    )
    (q, py, cy), (_, px, cx) = along_y.shape, along_x.shape
    both = (old.share[:, None, None] * along_y).reshape(q, -1).T @ along_x.reshape(q, -1)
    return both.reshape(py, cy, px, cx).transpose(0, 2, 1, 3).reshape(py * px, cy * cx)


def spots(old: Ages, width2, positions: Float[Array | np.ndarray, "P 2"], y, x) -> Float[Array, "P rectangles"]:
    """∫ e^{−at} × (the part of a Gaussian of variance `width2` + 2Dt at each position that a rectangle gets) dt."""
    width = jnp.sqrt(width2 + old.spread)[:, None, None]
    rows, columns = (
        jnp.diff(ndtr((edge[None, None, :] - place[None, :, None]) / width), axis=2)
        for edge, place in zip((y, x), jnp.asarray(positions).T[::-1], strict=True)
    )
    whole = jnp.einsum("q,qpy,qpx->pyx", old.share, rows, columns)
    return whole.reshape(whole.shape[0], -1)


class Inverted(NamedTuple):
    """M = 𝒢⁻¹ of the cells, and M n₀ of every spot of the film's excitons, n₀ being its average over each cell."""

    matrix: Float[Array, "C C"]
    source: Float[Array, "P C"]


def inverted(film: Film, old: Ages, edges: Edges) -> Inverted:
    """Costs two factors and an inverse of a (cells × cells) matrix."""
    both = (edges.cell_y, edges.cell_x)
    green = exchanged(old, 0.0, *both, *both)
    green = cho_factor((green + green.T) / 2, lower=True)
    matrix = cho_solve(green, jnp.eye(green[0].shape[0]))
    lit = film.excitons * spots(old, film.laser**2, film.positions, *both)
    return Inverted((matrix + matrix.T) / 2, cho_solve(green, lit.T).T / edges.area)
