"""A disc with a closed wall, for fields that are round: nodes, diffusion and Bessel series, as constants of the host.

With x = r² the Laplacian of a round field is 4 d/dx (x d/dx), and round smooth fields are smooth in x. The nodes are
the Gauss–Legendre nodes v_j of [0, 1] carried to

    r = b sinh(a √v),     b sinh a = R,     R/b = `GRADING`

dense around the centre, where the spot is, and wide apart at the wall; x is smooth in v. Polynomials in v through the
nodes, in the weak form, give the mass matrix M = diag(weights) and the stiffness matrix

    K_ij = ∫ ∇φ_i·∇φ_j dA = π ∫ 4 x φ_i′(v) φ_j′(v) / x′(v) dv = GᵀG,     no flux through the wall by itself.

The singular values of G M^(−1/2) are the roots of the eigenvalues: e^{D∇²t} is exact in these modes, however stiff. The
constant is among them with the eigenvalue zero, so that not one exciton is lost. All is in units of R.

A round field is also Σ c_i J₀(k_i r), where k_i R is the i-th zero of J₁, zero included (Dini's series, whose every
term is flat at the wall), with c_i = 2/[R J₀(k_i R)]² ∫ f(r) J₀(k_i r) r dr.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

GRADING = 24.0
"""R/b: how much denser the nodes lie at the centre than those far out."""
DENSITY = 2 * GRADING / float(np.pi * np.arcsinh(GRADING))
"""Waves per node that the nodes at the centre resolve: k R ≤ π `DENSITY` × nodes."""
NEWTON = 8


class Disc(NamedTuple):
    """Of a disc of radius one: `radii` and `weights` (Σ weights f = ∫ f dA), and diffusion in its own modes.

    `into` takes values at the nodes into the modes, `back` returns; `eigenvalues` of −∇², the first zero.
    """

    radii: Float64[np.ndarray, " nodes"]
    weights: Float64[np.ndarray, " nodes"]
    into: Float64[np.ndarray, "nodes nodes"]
    back: Float64[np.ndarray, "nodes nodes"]
    eigenvalues: Float64[np.ndarray, " nodes"]


@lru_cache(maxsize=16)
def disc(nodes: int) -> Disc:
    """The disc on so many radial `nodes`; its fields are resolved near the centre to R/(3.95 `nodes`)."""
    v, w = _legendre(nodes)
    radii, slope = _graded(v)
    weights = np.pi * w * slope
    gradient = np.sqrt(np.pi * w * 4 * radii**2 / slope)[:, None] * _differentiation(v)
    _, values, modes = np.linalg.svd(gradient / np.sqrt(weights)[None, :])
    values, modes = values[::-1].copy(), modes[::-1].copy()
    values[0], modes[0] = 0.0, np.sqrt(weights / weights.sum())
    modes[1:] -= np.outer(modes[1:] @ modes[0], modes[0])
    return Disc(radii, weights, modes * np.sqrt(weights)[None, :], (modes / np.sqrt(weights)[None, :]).T, values**2)


def _legendre(count: int) -> tuple[Float64[np.ndarray, " count"], Float64[np.ndarray, " count"]]:
    """Nodes v and weights of [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _graded(v: Float64[np.ndarray, " n"]) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """r(v) and dx/dv."""
    a, root = np.arcsinh(GRADING), np.sqrt(v)
    rise = np.sinh(a * root)
    return rise / GRADING, a * rise * np.cosh(a * root) / (root * GRADING**2)


def _barycentric(points: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Barycentric weights of `points`, but for a factor."""
    apart = points[:, None] - points[None, :] + np.eye(points.size)
    logarithm = -np.log(np.abs(apart)).sum(1)
    return np.sign(apart).prod(1) * np.exp(logarithm - logarithm.max())


def _differentiation(points: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n n"]:
    """From values at `points` to the slopes there of the polynomial through them."""
    weights = _barycentric(points)
    slopes = weights[None, :] / weights[:, None] / (points[:, None] - points[None, :] + np.eye(points.size))
    np.fill_diagonal(slopes, 0.0)
    np.fill_diagonal(slopes, -slopes.sum(1))
    return slopes


def _interpolation(points: Float64[np.ndarray, " n"], onto: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, "m n"]:
    """From values at `points` to those of the polynomial through them at others."""
    apart = onto[:, None] - points[None, :]
    same = apart == 0
    shares = _barycentric(points)[None, :] / np.where(same, 1.0, apart)
    return np.where(same.any(1, keepdims=True), same, shares / shares.sum(1, keepdims=True))


def bessel(order: int, z: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """J₀ or J₁ of z ≥ 0 to 1e-14, from J_n(z) = (1/π) ∫₀^π cos(nθ − z sin θ) dθ.

    The trapezoidal rule over Q points of the circle errs by about J_Q(z), nothing once Q is well beyond z.
    """
    z = np.asarray(z, float)
    count = angles(float(z.max(initial=0.0)))
    theta = (np.arange(count) + 0.5) * (np.pi / (2 * count))
    total = np.zeros_like(z)
    for t in theta:  # a quarter of the circle serves for all
        total += np.cos(z * np.sin(t)) if order == 0 else np.sin(t) * np.sin(z * np.sin(t))
    return total / count


def angles(z: float) -> int:
    """How many angles of a quarter circle give J₀ up to `z` to 1e-12: J_Q(z) for Q = 4 × that."""
    return int(np.ceil((z + 8.5 * np.cbrt(z) + 12.0) / 4))


@lru_cache(maxsize=16)
def flat_zeros(count: int) -> Float64[np.ndarray, " count"]:
    """The first zeros of J₁, zero included: k R of the modes of a closed wall (McMahon's start, then Newton)."""
    beta = (np.arange(1, count) + 0.25) * np.pi
    z = beta - 3 / (8 * beta) + 36 / (3 * (8 * beta) ** 3)
    for _ in range(NEWTON):
        one = bessel(1, z)
        z = z - one / (bessel(0, z) - one / z)
    return np.concatenate([[0.0], z])


@lru_cache(maxsize=16)
def series(nodes: int, modes: int) -> Float64[np.ndarray, "modes nodes"]:
    """From values at the nodes of `disc` to the amplitudes c_i of J₀(k_i r): of the polynomials through them, exactly.

    The waves are integrated on as many nodes as they need, onto which the polynomials are interpolated.
    """
    z = flat_zeros(modes)
    v, w = _legendre(nodes + 2 * modes)
    radii, slope = _graded(v)
    waves = bessel(0, z[:, None] * radii[None, :]) * (w * slope)[None, :]
    return waves @ _interpolation(_legendre(nodes)[0], v) / bessel(0, z)[:, None] ** 2


def round_radius(width, diffusivity, lifetime, last, reach: Any = 0.0) -> Float[Array, ""]:
    """A disc beyond which nothing of 1e-5 of the peak is lost, µm; all may be traced. At least `reach`.

    Six widths and eleven diffusion lengths √(Dτ), or five times √(2D t) up to the `last` time, if that is less.
    """
    travel = jnp.minimum(11.0 * jnp.sqrt(diffusivity * lifetime), 5.0 * jnp.sqrt(2.0 * diffusivity * last))
    return jnp.maximum(6.0 * width + travel, reach)


def round_sizes(width: float, radius: float, *, sharpness: float = 8.0) -> tuple[int, int]:
    """(`nodes`, `modes`) that resolve waves up to k = `sharpness`/`width` on a disc of `radius`, numbers in µm.

    The pulse holds e^{−k²s²/2} of such waves, e^{−32} at 8/s. Traps that fill and annihilation leave flanks steeper
    than the pulse's: the nodes go up to twice that k. In all cases at least 64 of each.
    """
    waves = sharpness * radius / width
    return max(64, int(np.ceil(waves / (np.pi * DENSITY) * 2))), max(64, int(np.ceil(waves / np.pi)))
