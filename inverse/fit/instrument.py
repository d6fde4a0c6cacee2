"""What the optics make of a film on a grid: blur by the PSF and integration over the pixels, as two small matrices.

A cell of the grid emits evenly. With a Gaussian PSF of standard deviation σ, which factors into x and y, the part of
the light of cell [a, b] that falls into pixel [p, q] is, on each axis,

    W = [K(q − a) − K(q − b) − K(p − a) + K(p − b)] / (b − a),     K(u) = u Φ(u/σ) + σ φ(u/σ)

with the normal distribution Φ and its density φ: K″ is the PSF, so both integrals are exact, for any σ, even one far
below a cell. The image of a density n is then W_y n W_xᵀ times the area of a cell.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

ROOT_2 = float(np.sqrt(2.0))
ROOT_2PI = float(np.sqrt(2.0 * np.pi))


def pixel_weights(
    cell_edges: Float[Array, " c+1"], pixel_edges: Float[Array, " p+1"], width: Float[Array, ""]
) -> Float[Array, "p c"]:
    """The part of each cell's light that reaches each pixel through a PSF of standard deviation `width`; one axis.

    All three in µm; `width` must be positive. Differentiable in all of them.
    """
    away = pixel_edges[:, None] - cell_edges[None, :]
    z = away / width
    twice = away * (1 + erf(z / ROOT_2)) / 2 + width * jnp.exp(-(z**2) / 2) / ROOT_2PI
    parts = jnp.diff(twice, axis=0)
    return (parts[:, :-1] - parts[:, 1:]) / jnp.diff(cell_edges)[None, :]
