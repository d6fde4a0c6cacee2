"""(A + s) n = b: the one linear solve behind everything, and the one place for its derivatives.

In the symmetric variable v = n/φ the matrix is symmetric positive definite, so conjugate gradients preconditioned by a
multigrid V-cycle solve it (Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1). From A v = b follows
dv = A⁻¹ (db − dA v): a derivative, forward, reverse or second, is one more solve with the same matrix and the same
hierarchy, which is what `jax.lax.custom_linear_solve` arranges. The residual is judged as a rate of excitons, by the
sum of its magnitudes: Σ|b − (A + s) n| ≤ rtol Σ|b|. What such a solve loses or invents in all is then within rtol too.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from excidiff.solver.linear.flux import Map, Operator
from excidiff.solver.linear.multigrid import Hierarchy

MAX_ITERATIONS = 500
SOLUTION = "solution"
"""What the solution of a solve is called where JAX is told what to keep for a derivative: all else follows from it."""


def unsolved(rtol: float, dtype) -> float:
    """The relative residual beyond which a solve has failed: its tolerance, with room for rounding."""
    return max(10 * rtol, 1e3 * float(jnp.finfo(dtype).eps))


def unbalanced(rtol: float, dtype) -> float:
    """The share of the excitons beyond which a balance has failed: the tolerance, and 1e-4 in single precision."""
    return max(rtol, 1e-4 if dtype == jnp.float32 else 1e4 * float(jnp.finfo(dtype).eps))


class Effort(NamedTuple):
    """What a solve took: conjugate-gradient `iterations` and the relative `residual` reached, beyond rounding."""

    iterations: Int[Array, ""]
    residual: Float[Array, ""]


def solve(operator: Operator, hierarchy: Hierarchy, rate: Map, *, shift=0.0, rtol: float, guess: Map | None = None):
    """(v, Effort) with (A + shift) v = rate, both in the symmetric variable.

    A residual that stays too large is told in `Effort`; in a derivative, where nobody looks at it, v is NaN instead.

    `shift`: a number or a map, 1/ns. Differentiable in `operator`, `shift` and `rate`, any number of times, forward
    and in reverse; `hierarchy` and `guess` only steer the way to the solution.
    """

    shift = jnp.asarray(shift, rate.dtype)
    start = jnp.zeros_like(rate) if guess is None else guess
    hierarchy, now, shift_now, rate_now, start = lax.stop_gradient((hierarchy, operator, shift, rate, start))
    weight = weight_of(now, rate)
    v, count, residual = conjugate_gradients(now, hierarchy, rate_now, shift_now, rtol, weight, start)
    v = checkpoint_name(v, SOLUTION)

    def matvec(v):
        return operator.apply(v) + shift * v

    inverse, transposed = _inverses(operator, hierarchy, shift, rtol, rate)
    return v + moves(matvec, rate - matvec(v), inverse, transposed), Effort(count, residual)


def solve_tangent(operator: Operator, hierarchy: Hierarchy, rate: Map, *, shift, rtol: float) -> Map:
    """The same for a tangent: linear in `rate` to JAX too, and NaN where the residual stays too large."""
    inverse, transposed = _inverses(operator, hierarchy, shift, rtol, rate)
    return lax.custom_linear_solve(
        lambda v: operator.apply(v) + shift * v, rate, lambda _, b: inverse(b), lambda _, b: transposed(b)
    )


def moves(matvec: Callable, left: Array, inverse: Callable, transposed: Callable) -> Array:
    """What a solution follows in derivatives: matvec⁻¹ `left` there, in every mode and order, and zero itself.

    `left` is what the solve left over, in value; `inverse` and `transposed` solve for a tangent and for a cotangent.
    The solution to which this is added is a number to JAX, which can therefore be kept instead of solved for again.
    """

    # Behind the map goes one number that the matrix leaves alone. It is 1 in the system itself and 0 in those of its
    # derivatives, which JAX gives to the same function.
    def tagged(v, tag):
        return jnp.append(v.reshape(-1), tag)

    def split(b):
        return b[:-1].reshape(left.shape), b[-1]

    def only_derivatives(solve):
        def run(_, b):
            b, tag = split(b)
            b = jnp.where(tag > 0, 0.0, b)
            return tagged(lax.cond(tag > 0, jnp.zeros_like, solve, b), tag)

        return run

    def widened(b):
        v, tag = split(b)
        return tagged(matvec(v), tag)

    b = tagged(left, jnp.ones((), left.dtype))
    return split(lax.custom_linear_solve(widened, b, only_derivatives(inverse), only_derivatives(transposed)))[0]


def _inverses(operator: Operator, hierarchy: Hierarchy, shift, rtol: float, like: Map) -> tuple[Callable, Callable]:
    """(A + shift)⁻¹ of a tangent and of a cotangent; NaN where the residual stays too large."""
    hierarchy, operator, shift = lax.stop_gradient((hierarchy, operator, shift))

    def measured_by(weight):
        def run(b):
            v, _, residual = conjugate_gradients(operator, hierarchy, b, shift, rtol, weight, jnp.zeros_like(b))
            return jnp.where(residual <= unsolved(rtol, v.dtype), v, jnp.nan)

        return run

    weight = weight_of(operator, like)
    return measured_by(weight), measured_by(1.0 / weight)


def weight_of(operator: Operator, like: Map) -> Array:
    """φ: a residual in v counts φ excitons; the transposed system's is measured by 1/φ."""
    potential = operator.potential
    return jnp.ones((), like.dtype) if potential is None else jnp.exp(-0.5 * potential).astype(like.dtype)


def _residual(operator: Operator, b: Map, shift, weight, v: Map) -> Array:
    """Σ|b − A v| as a share of Σ|b|, measured by `weight`, beyond the ε Σ|A||v| that rounding v may leave of it.

    On a fine grid that is far more than the error of v: a rounded density is as good, and its residual (L/h)² larger.
    Above a hundredth it excuses nothing, since a smooth error could hide there.
    """

    def size(r):
        return jnp.sum(jnp.abs(weight * r))

    total = size(b)
    total = jnp.where(total > 0, total, 1.0)
    excused = jnp.minimum(rounding(operator, v, shift, weight) / total, 1e-2)
    return jnp.maximum(size(b - operator.apply(v) - shift * v) / total - excused, 0.0)


def rounding(operator: Operator, v: Map, shift, weight) -> Array:
    """ε Σ|A + s||v|, measured by `weight`: the residual that a v correct to its last digit may have."""
    far = jnp.abs(v)
    terms = 2.0 * operator.diagonal * far - operator.apply(far) + jnp.abs(shift) * far
    return float(jnp.finfo(v.dtype).eps) * jnp.sum(jnp.abs(weight * terms))


def conjugate_gradients(operator: Operator, hierarchy: Hierarchy, b: Map, shift, rtol, weight, start: Map):
    """(v, iterations, residual) of (A + shift) v = b from `start`, without derivatives; `rtol` may be traced."""

    def size(r):
        return jnp.sum(jnp.abs(weight * r))

    def matvec(v):
        return operator.apply(v) + shift * v

    ready = hierarchy.shifted(jnp.asarray(shift, b.dtype))
    unit = jnp.max(jnp.abs(b))  # scalar products of a population that has all but decayed would underflow
    unit = jnp.where(unit > 0, unit, 1.0)
    b, start = b / unit, start / unit
    goal = rtol * size(b)

    def searching(state):
        _, _, _, rz, r_size, count = state
        return (r_size > goal) & (count < MAX_ITERATIONS) & jnp.isfinite(rz)

    def step(state):
        v, r, p, rz_before, _, count = state
        z = ready.apply(r)
        rz = jnp.vdot(r, z)
        p = z + jnp.where(count > 0, rz / rz_before, 0.0) * p
        q = matvec(p)
        along = rz / jnp.vdot(p, q)
        r = r - along * q
        return v + along * p, r, p, rz, size(r), count + 1

    r = b - matvec(start)
    state = (start, r, jnp.zeros_like(r), jnp.ones((), r.dtype), size(r), jnp.zeros((), int))
    v, *_, count = lax.while_loop(searching, step, state)
    return v * unit, count, _residual(operator, b, shift, weight, v)
