"""What is believed of a map before the data, and how much of it: smooth, or flat between edges; its strength.

A map v lies on even cells of pitch h. Where four cells meet, the mean square of its differences there is

    q = ½ Σ δ²,   over the four pairs of neighbours,   so that q/h² = |∇v|²

and the cost of a map, minus the logarithm of its prior, is a sum over these corners,

    smooth:            Φ = λ ∫ |∇v|² dA / 2              = Σ ½ λ q
    total variation:   Φ = λ ∫ √(|∇v|² + s²) dA          = Σ λ h √(q + s²h²)

so that λ and the slope s below which nothing counts as an edge mean the same on every grid (Rudin, Osher and Fatemi,
Physica D 60 (1992) 259). The posterior's optimum follows from weighted smoothing, w = 2 ∂Φ/∂q taken at the map before
(lagged diffusivity: Vogel and Oman, SIAM J. Sci. Comput. 17 (1996) 227), which never raises the cost.

The strength is the data's choice. About a map the log likelihood is a quadratic with the Fisher information H. A fit v̂
of it costs the fit to these data, and new ones of the same film would fit worse by the degrees of freedom, twice:

    risk = −log L(v̂) + tr[H (H + Φ″)⁻¹]

(Akaike, 1974; Stein, Ann. Statist. 9 (1981) 1135), with the true Φ″ of total variation, which leaves the height and
place of an edge free. The λ and s of least risk are taken: they predict best what was not measured.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

Name = Literal["total variation", "smooth"]
RIDGE = 1e-4
"""A belief of v within ±100 of the start in every cell: nothing, but what no data reach is then not singular."""
SETTLED, PASSES, STEPS = 1e-2, 10, 15
"""Change of v at which the weights are taken as settled, how often they are renewed at most, and steps for each."""
FINER = 2.0
"""From one strength to the next: the risk is flat within a factor of two about its least."""


class Prior(NamedTuple):
    """`strength` λ (1/µm for total variation, a number for smooth), `slope` s (1/µm)."""

    name: Name
    strength: float
    slope: float

    def on(self, pitch: float) -> tuple[float, float]:
        """λ and s of differences between cells; s is 0 where it plays no part."""
        return (self.strength, 0.0) if self.name == "smooth" else (self.strength * pitch, self.slope * pitch)


def corners(v: Float[Array, "cy cx"]) -> Float[Array, "cy-1 cx-1 4"]:
    """The differences of the four pairs of neighbours round each inner corner."""
    across, down = v[:, 1:] - v[:, :-1], v[1:] - v[:-1]
    return jnp.stack([across[:-1], across[1:], down[:, :-1], down[:, 1:]], axis=-1)


PAIRS = np.array([[-1, 1, 0, 0], [0, 0, -1, 1], [-1, 0, 1, 0], [0, -1, 0, 1.0]])
"""The same differences from the four cells: (0, 0), (0, 1), (1, 0), (1, 1)."""


def _root(v, strength, slope, smooth: bool):
    """(Φ of each corner, √(q + s²) or 1)."""
    q = 0.5 * jnp.sum(corners(v) ** 2, axis=-1)
    if smooth:
        return 0.5 * strength * q, jnp.ones_like(q)
    root = jnp.sqrt(q + slope**2)
    return strength * root, root


@partial(jax.jit, static_argnames=("shape", "smooth"))
def cost(x: Float[Array, " C+1"], centre, strength, slope, shape, smooth: bool) -> Float[Array, ""]:
    """Φ of x = (v, background), of which the prior knows nothing."""
    v = x[:-1]
    return jnp.sum(_root(v.reshape(shape), strength, slope, smooth)[0]) + 0.5 * RIDGE * jnp.sum((v - centre) ** 2)


def _assembled(blocks, shape):
    """Corner blocks (corners, 4, 4) summed into a matrix of all cells and the background, with the ridge."""
    cells = np.arange(shape[0] * shape[1]).reshape(shape)
    four = np.stack([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=-1).reshape(-1, 4)
    whole = jnp.diag(jnp.append(jnp.full(cells.size, RIDGE), 0.0))
    return whole.at[four[:, :, None], four[:, None, :]].add(blocks)


def _weighted(v, strength, slope, shape, smooth):
    root = _root(v.reshape(shape), strength, slope, smooth)[1].reshape(-1)
    return _assembled((0.5 * strength / root)[:, None, None] * jnp.asarray(PAIRS.T @ PAIRS)[None], shape)


def _curvature(v, strength, slope, shape, smooth):
    """Φ″."""
    if smooth:
        return _weighted(v, strength, slope, shape, smooth)
    around = v.reshape(shape)
    delta, root = corners(around).reshape(-1, 4), _root(around, strength, slope, smooth)[1].reshape(-1, 1, 1)
    inner = jnp.eye(4)[None] / (2 * root) - delta[:, :, None] * delta[:, None, :] / (4 * root**3)
    return _assembled(strength * jnp.einsum("ei,cef,fj->cij", jnp.asarray(PAIRS), inner, jnp.asarray(PAIRS)), shape)


@partial(jax.jit, static_argnames=("shape", "smooth"))
def optimum(information, slopes, x, centre, strength, slope, shape, smooth: bool):
    """argmin ½ xᵀHx − bᵀx + Φ(x) with b = `slopes`, from x; by lagged diffusivity.

    The matrix is factored with the weights of x. What other weights change are a few edges, so that conjugate gradients
    with that factor need few steps; each of them lowers the same cost, so that none need be carried to its end.
    """
    pull = slopes + jnp.append(jnp.full(x.size - 1, RIDGE * centre), 0.0)
    factor = cho_factor(information + _weighted(x[:-1], strength, slope, shape, smooth), lower=True)

    def renew(state):
        x, _, count = state
        weights = 0.5 * strength / _root(x[:-1].reshape(shape), strength, slope, smooth)[1]

        def matrix(p):
            differences, back = jax.vjp(corners, p[:-1].reshape(shape))
            (pulled,) = back(weights[..., None] * differences)
            return information @ p + jnp.append(pulled.reshape(-1) + RIDGE * p[:-1], 0.0)

        new, _ = cg(matrix, pull, x, tol=1e-9, maxiter=STEPS, M=lambda r: cho_solve(factor, r))
        return new, jnp.max(jnp.abs(new - x)[:-1]), count + 1

    start = (cho_solve(factor, pull), jnp.asarray(jnp.inf, x.dtype), jnp.ones((), int))
    return lax.while_loop(lambda s: (s[1] > SETTLED) & (s[2] < (1 if smooth else PASSES)), renew, start)[0]


class Spread(NamedTuple):
    """About an optimum: the posterior's covariance (Laplace), tr[H (H + Φ″)⁻¹], and widths of averaging, in cells."""

    covariance: Float[Array, "C+1 C+1"]
    freedom: Float[Array, ""]


@partial(jax.jit, static_argnames=("shape", "smooth"))
def spread(information, x, strength, slope, shape, smooth: bool) -> Spread:
    """The posterior about x."""
    factor = cho_factor(information + _curvature(x[:-1], strength, slope, shape, smooth), lower=True)
    covariance = cho_solve(factor, jnp.eye(x.size))
    return Spread(covariance, jnp.sum(covariance * information))


@jax.jit
def averaged(covariance, information) -> Float[Array, " C"]:
    """Number of cells over which the map averages the film at each: (Σ_c R)²/Σ_c R² of a row of R = (H + Φ″)⁻¹ H."""
    rows = (covariance[:-1, :].astype(jnp.float32) @ information[:, :-1].astype(jnp.float32)).astype(float)
    return jnp.sum(rows, axis=1) ** 2 / jnp.sum(rows**2, axis=1)


CLEAR = 0.1
"""By how much less the risk of another prior must be: by less it falls for ever where a film is even."""
LOWEST_SLOPE, HIGHEST_SLOPE = 0.01, 0.5
"""Of s, as a difference between the cells on which it is chosen: at 0.01, a loss 1 % faster, plateaus are flat."""


class Choice(NamedTuple):
    """A prior with the optimum it gives on the quadratic data, the risk, and the degrees of freedom."""

    prior: Prior
    x: Float[Array, " C+1"]
    risk: float
    freedom: float


def tried(prior: Prior, information, slopes, x, centre, shape, pitch: float) -> Choice:
    """The optimum of the quadratic data ½ xᵀHx − bᵀx with this prior, and its risk."""
    numbers, smooth = prior.on(pitch), prior.name == "smooth"
    x = optimum(information, slopes, x, centre, *numbers, shape, smooth)
    freedom = float(spread(information, x, *numbers, shape, smooth).freedom)
    return Choice(prior, x, float(0.5 * x @ information @ x - slopes @ x) + freedom, freedom)


def choose(prior: Prior, information, slopes, x, centre, shape, pitch: float) -> Choice:
    """The prior of less risk one step from `prior`, if there is one: first in λ, then in s; else itself.

    One step at a time, since the quadratic data are those about a map that such a prior gave.
    """

    def ask(other: Prior) -> Choice:
        return tried(other, information, slopes, x, centre, shape, pitch)

    best = here = ask(prior)
    for factor in (1 / FINER, FINER):
        best = _clearer(best, ask(prior._replace(strength=prior.strength * factor)))
    if best is not here or prior.name == "smooth":
        return best
    for factor in (1 / FINER, FINER):
        slope = prior.slope * factor
        if LOWEST_SLOPE <= slope * pitch <= HIGHEST_SLOPE:
            best = _clearer(best, ask(prior._replace(slope=slope)))
    return best


def _clearer(best: Choice, other: Choice) -> Choice:
    return other if other.risk < best.risk - CLEAR else best
