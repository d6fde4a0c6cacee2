"""x = f(x): Anderson's acceleration of the plain iteration, and derivatives of what it reaches.

The next guess is the mixture of the last few f(x) whose differences f(x) − x cancel best (Anderson, J. ACM 12 (1965)
547; Walker and Ni, SIAM J. Numer. Anal. 49 (2011) 1715). From x = f(x; θ) follows (1 − ∂f/∂x) dx = ∂f/∂θ dθ, a linear
equation that GMRES solves with tangents of f alone, and its transpose with cotangents.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.scipy.sparse.linalg import gmres
from jaxtyping import Array, Int

from excidiff.solver.linear.elliptic import SOLUTION
from excidiff.solver.precision import full_precision

DEPTH = 5
"""How many earlier guesses are mixed."""
DIRECTIONS = 20
"""Directions of GMRES before it starts again, and how often it may."""


class Reached(NamedTuple):
    """What the iteration reached: evaluations of f, and the largest relative |f(x) − x| that remains, by `size`."""

    steps: Int[Array, ""]
    residual: Array


def fixed_point(
    function: Callable, arguments: Any, constants: Any, start: Array, *, size: Callable, rtol: float, max_steps: int
):
    """(x, Reached) with x = function(arguments, constants, x), to size(f(x) − x) ≤ rtol size(x), from an array `start`.

    `size(constants, x)` measures x and may give several numbers, each of which must be met. Differentiable in
    `arguments`; everything else that `function` needs comes as `constants`, not from around it.
    """

    @jax.custom_jvp
    def root(arguments, constants, start):
        return _iterate(lambda x: function(arguments, constants, x), start, partial(size, constants), rtol, max_steps)

    @root.defjvp
    @full_precision
    def _(primals, tangents):
        arguments, constants, start = primals
        x, figures = root(arguments, constants, start)
        x = checkpoint_name(x, SOLUTION)
        _, moved = jax.jvp(lambda arguments: function(arguments, constants, x), (arguments,), (tangents[0],))

        def matvec(z):
            return z - jax.jvp(lambda x: function(arguments, constants, x), (x,), (z,))[1]

        return (x, figures), (_solve(matvec, moved, rtol), jnp.zeros_like(figures))

    x, figures = root(arguments, *lax.stop_gradient((constants, start)))
    steps, residual = lax.stop_gradient(figures)
    return x, Reached(steps.astype(int), residual)


def _solve(matvec: Callable, b: Array, rtol: float) -> Array:
    """z with matvec(z) = b; NaN where GMRES does not reach it."""

    def run(matvec, b):
        z, _ = gmres(matvec, b, tol=0.1 * rtol, atol=0.0, restart=DIRECTIONS, maxiter=3, solve_method="batched")
        left = jnp.linalg.norm((matvec(z) - b).reshape(-1))
        return jnp.where(left <= 10 * rtol * jnp.linalg.norm(b.reshape(-1)), z, jnp.nan)

    return lax.custom_linear_solve(matvec, b, run, run)


def _iterate(function: Callable, start: Array, size: Callable, rtol: float, max_steps: int) -> tuple[Array, Array]:
    """(x, [evaluations, residual])."""

    def share(x, gap):
        of = size(x)
        return jnp.max(jnp.atleast_1d(size(gap) / jnp.where(of > 0, of, 1.0)))

    def searching(state):
        _, _, _, steps, residual = state
        return (residual > rtol) & (steps < max_steps) & jnp.isfinite(residual)

    def step(state):
        x, images, gaps, steps, _ = state
        image = function(x)
        gap = image - x
        residual = share(image, gap)
        place = steps % DEPTH
        images, gaps = images.at[place].set(image), gaps.at[place].set(gap)
        following = jnp.where(residual > rtol, _mix(images, gaps, steps + 1), image)
        return following, images, gaps, steps + 1, residual

    blank = jnp.zeros((DEPTH, *start.shape), start.dtype)
    state = (start, blank, blank, jnp.zeros((), int), jnp.ones((), start.dtype))
    x, _, _, steps, residual = lax.while_loop(searching, step, state)
    return x, jnp.stack([steps.astype(x.dtype), residual])


def _mix(images: Array, gaps: Array, count) -> Array:
    """Σ c_i f(x_i) with Σ c_i = 1 and the least |Σ c_i (f(x_i) − x_i)|, over the guesses there are."""
    flat = gaps.reshape(DEPTH, -1)
    there = jnp.arange(DEPTH) < count
    scale = 1.0 / jnp.where(there, jnp.maximum(jnp.linalg.norm(flat, axis=1), jnp.finfo(flat.dtype).tiny), 1.0)
    gram = (flat * scale[:, None]) @ (flat * scale[:, None]).T
    gram = jnp.where(there[:, None] & there[None, :], gram, 0.0) + jnp.diag(jnp.where(there, 1e-12, 1.0))
    # least |Σ c_i g_i| with Σ c_i = 1: c ∝ G⁻¹ 1 in units of the g_i, which are very unlike in size
    weights = jnp.linalg.solve(gram, jnp.where(there, scale, 0.0)) * scale
    weights = jnp.where(there, weights, 0.0)
    return jnp.tensordot(weights / jnp.sum(weights), images, 1)
