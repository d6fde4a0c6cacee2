"""(A + s) n + r(n) = b with local losses r: Newton's method on a convex energy, and its derivatives.

In the symmetric variable v = n/φ the equation is the gradient of

    E(v) = ½ vᵀ(A + s) v + Σ φ⁻² R(φ v) − vᵀb,      R′ = r,

which is convex since r never falls: it has one minimum, and Newton steps, each as long as makes E smallest along its
direction, reach it from anywhere (Boyd and Vandenberghe, Convex Optimization, 9.5). The direction is one linear solve
of `elliptic` with the slope of r on the diagonal; the length a root of the rising function dE/dλ = F(v + λd)·d, found
with local sums alone. Linear solves are as exact as the residual deserves (Eisenstat and Walker, SIAM J. Sci. Comput.
17 (1996) 16). The residual is judged as in `elliptic`: Σ|F| as excitons per time, beside Σ|F(0)|.

From F(v; θ) = 0 follows dv = −(A + s + r′)⁻¹ ∂F/∂θ dθ: a derivative is one linear solve, of any order, in any mode.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Int

from excidiff.solver.kinetics import Kinetics, Map, Species
from excidiff.solver.linear import elliptic
from excidiff.solver.linear.elliptic import Effort
from excidiff.solver.linear.flux import Operator
from excidiff.solver.linear.multigrid import Hierarchy
from excidiff.solver.precision import full_precision

MAX_STEPS = 100
LENGTHS = 12
"""Trials of a step's length, at most: the first is nearly always kept."""
LOOSEST = 0.1
"""Relative residual of a linear solve that Newton's method makes far from the solution."""


class Balance(NamedTuple):
    """The equation: operator A, kinetics r, `rate` b in the symmetric variable, `before` m₀ and `shift` s."""

    operator: Operator
    kinetics: Kinetics
    rate: Map
    before: Species
    shift: Array

    def reaction(self, v: Map) -> Map:
        """φ⁻¹ r(φ v)."""
        n = self.operator.density(v)
        return self.operator.symmetric(self.kinetics.loss(n, self.before, self.shift))

    def defect(self, v: Map) -> Map:
        """F(v), zero at the solution."""
        return self.operator.apply(v) + self.shift * v + self.reaction(v) - self.rate

    def slope(self, v: Map) -> Map:
        """r′(φ v)."""
        return self.kinetics.slope(self.operator.density(v), self.before, self.shift)


def solve(balance: Balance, hierarchy: Hierarchy, guess: Map, *, rtol: float) -> tuple[Map, Effort]:
    """(v, Effort) with F(v) = 0; a residual that stays too large is told in `Effort`, in a derivative v is NaN.

    Differentiable in everything that `balance` holds; `hierarchy` and `guess` only steer the way.
    """

    @jax.custom_jvp
    def root(balance, hierarchy, guess):
        v, effort = _newton(balance, hierarchy, guess, rtol)
        return v, jnp.stack([effort.iterations.astype(v.dtype), effort.residual])

    @root.defjvp
    @full_precision
    def _(primals, tangents):
        balance, hierarchy, guess = primals
        v, figures = root(balance, hierarchy, guess)
        v = checkpoint_name(v, elliptic.SOLUTION)
        _, moved = jax.jvp(lambda balance: balance.defect(v), (balance,), (tangents[0],))
        stiffness = balance.shift + balance.slope(v)
        dv = elliptic.solve_tangent(balance.operator, hierarchy, -moved, shift=stiffness, rtol=rtol)
        return (v, figures), (dv, jnp.zeros_like(figures))

    v, figures = root(balance, *lax.stop_gradient((hierarchy, guess)))
    iterations, residual = lax.stop_gradient(figures)
    return v, Effort(iterations.astype(int), residual)


def _newton(balance: Balance, hierarchy: Hierarchy, guess: Map, rtol: float) -> tuple[Map, Effort]:
    operator = balance.operator
    weight, at_rest = operator.density(jnp.ones_like(guess)), jnp.zeros_like(guess)

    def size(defect):
        return jnp.sum(jnp.abs(weight * defect))

    total = size(balance.defect(at_rest))
    total = jnp.where(total > 0, total, 1.0)

    def excused(v, slope):
        return jnp.minimum(elliptic.rounding(operator, v, balance.shift + slope, weight) / total, 1e-2)

    class State(NamedTuple):
        v: Map
        defect: Map
        slope: Map
        steps: Int[Array, ""]
        iterations: Int[Array, ""]
        progress: Array

    def share(state):
        return size(state.defect) / total

    def searching(state):
        return (share(state) > rtol) & (state.steps < MAX_STEPS) & jnp.isfinite(share(state)) & (state.progress > 0)

    def step(state):
        now = share(state)
        loose = jnp.clip(jnp.maximum(now, 0.3 * rtol / now), 1e-12, LOOSEST)
        stiffness = balance.shift + jnp.maximum(state.slope, 0.0)
        d, count, _ = elliptic.conjugate_gradients(
            operator, hierarchy, -state.defect, stiffness, loose, weight, at_rest
        )
        length = _length(balance, state.v, state.defect, d)
        v = state.v + length * d
        moved = size(d * length) > float(jnp.finfo(v.dtype).eps) * size(v)
        return State(
            v, balance.defect(v), balance.slope(v), state.steps + 1, state.iterations + count, moved.astype(v.dtype)
        )

    zero = jnp.zeros((), int)
    one = jnp.ones((), guess.dtype)
    state = lax.while_loop(searching, step, State(guess, balance.defect(guess), balance.slope(guess), zero, zero, one))
    return state.v, Effort(state.iterations, jnp.maximum(share(state) - excused(state.v, state.slope), 0.0))


def _length(balance: Balance, v: Map, defect: Map, d: Map) -> Array:
    """The λ at which E is least along d, roughly: where dE/dλ has fallen to half or less."""
    operator = balance.operator
    straight = operator.apply(d) + balance.shift * d  # F(v + λd) = F(v) + λ (A + s) d + what the reaction changes
    base = defect - balance.reaction(v)
    stiff = jnp.vdot(d, straight)
    steep = jnp.abs(jnp.vdot(d, defect))

    def at(length):
        moved = v + length * d
        rise = jnp.vdot(base + length * straight + balance.reaction(moved), d)
        return rise, stiff + jnp.vdot(d, balance.slope(moved) * d)

    def searching(state):
        tries, _, (rise, _), _, _ = state
        return (tries < LENGTHS) & (jnp.abs(rise) > 0.5 * steep)

    def again(state):
        tries, length, (rise, bend), low, high = state
        low, high = jnp.where(rise < 0, length, low), jnp.where(rise < 0, high, length)
        wish = length - rise / bend
        middle = jnp.where(jnp.isinf(high), 4.0 * length, 0.5 * (low + high))
        length = jnp.where((wish > low) & (wish < high), wish, middle)
        return tries + 1, length, at(length), low, high

    one = jnp.ones((), v.dtype)
    start = (jnp.zeros((), int), one, at(one), 0.0 * one, jnp.inf * one)
    return lax.while_loop(searching, again, start)[1]
