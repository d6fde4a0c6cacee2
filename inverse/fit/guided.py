"""Light that is guided along the film, absorbed on its way, and scattered out elsewhere: as Gaussians, exactly.

Of the light e(r, E) that is seen where it is emitted, the share η dd leaves the film's guided modes again between the
distances d and d + dd, as long as absorption α(E) and whatever else takes from the guided light, κ, have left it:

    seen(r, E) = e(r, E) + η ∫ e(r′, E) e^{−(α(E) + κ)d}/(2πd) dr′,     d = |r − r′|

(`solver.reabsorption.along_film`). η is the outcoupling, 1/µm: light scattered out per length, of each photon seen
directly; what is guided at all, and how much of it is scattered, are in it as their product, and nothing but that
product is seen. The kernel is a half-normal mixture of Gaussians N of variance ℓ² in the plane,

    e^{−αd}/(2πd) = √(2/π) ∫₀^∞ e^{−(αℓ)²/2} N(d; ℓ²) dℓ

(from e^{−αd}/d = (2/√π) ∫₀^∞ exp(−d²s² − α²/4s²) ds, DLMF 10.32.10 and 10.39.2, with ℓ² = 1/2s²): Gaussians on
Gaussians, variances add, and a uniform film needs no grid. The trapezoidal rule in log ℓ has the error e^{−π²/2h},
h = `STEP`; nodes far below the spot's width are replaced by the one that keeps their zeroth and second moments, and
what lies beyond `FAR` times the field, even across it, is added to the last: 2e-6 of the brightest guided light in all.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

STEP = 0.4
NEAR = 0.05  # of the spot's σ: the smallest ℓ with a node of its own
FAR = 30.0  # of the field: the largest
BEYOND = 24  # nodes that are further, and added to the last
ROUND = 8  # nodes, of which there is a multiple, so that one program serves many maps
PARTS = 4  # of a wavelength bin, each with an absorption of its own


class Guide(NamedTuple):
    """What light meets along the film: `edges` (parts + 1,), meV, of the parts of all bins in their order, and the
    `absorption` (parts,) of each, 1/µm; nodes `lengths` (K + BEYOND,), µm, and `weights`, whose last are those that
    add to the K-th; arrays all of them."""

    edges: Any
    absorption: Any
    lengths: Any
    weights: Any


def guide_nodes(spot: float, field: float) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """(ℓ, weights) of the mixture, µm, for a spot of standard deviation `spot` in a `field` of that size."""
    count = ROUND * int(np.ceil(np.log(FAR * field / (NEAR * spot)) / STEP / ROUND))
    length = NEAR * spot * np.exp(STEP * np.arange(count - 1 + BEYOND))
    weight = STEP * length * np.sqrt(2 / np.pi)
    ratio = np.exp(-STEP)
    first = weight[0] * ratio / (1 - ratio)
    third = weight[0] * length[0] ** 2 * ratio**3 / (1 - ratio**3)
    weight[-1] /= 1 - ratio  # the whole geometric series that is left where nothing absorbs
    last = length[count - 2]
    weight[count - 1 :] *= (last / length[count - 1 :]) ** 2  # N is even across the field: as 1/ℓ²
    return np.append(np.sqrt(third / first), length), np.append(first, weight)


def mixture(guide: Guide, loss: Float[Array, ""]) -> tuple[Float[Array, " K"], Float[Array, "K parts"]]:
    """(variances, weights) of the Gaussians that the kernel is, for every part of every bin; `loss`: κ, 1/µm."""
    reach = (guide.absorption[None, :] + loss) * guide.lengths[:, None]
    each = guide.weights[:, None] * jnp.exp(-0.5 * reach**2)
    beyond = each[-BEYOND:].sum(0)
    return guide.lengths[:-BEYOND] ** 2, each[:-BEYOND].at[-1].add(beyond)


def parted(edges: Float64[np.ndarray, " colour+1"]) -> Float64[np.ndarray, " parts+1"]:
    """Edges of `PARTS` equal parts of every bin."""
    inside = edges[:-1, None] + np.diff(edges)[:, None] * np.arange(PARTS) / PARTS
    return np.append(inside.ravel(), edges[-1])
