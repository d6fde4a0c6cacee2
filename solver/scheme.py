"""One implicit step in time of free and trapped excitons, with an estimate of its error.

The scheme is the implicit part of ARK4(3)6L[2]SA (Kennedy and Carpenter, Appl. Numer. Math. 44 (2003) 139): fourth
order, L-stable, stiffly accurate, five stages with one diagonal I + Δt A/4, and an embedded third order for the error.

The state u stacks v = n/φ, in a disordered film that of every energy bin, and the trapped m of each species. A stage
eliminates m cell by cell (`kinetics`), and what remains is one field: a linear solve where nothing else happens to the
free excitons, else Newton's method; or the bins of a `Band`.

Where nothing shines on a film without traps and annihilation, the slowest loss κ that all cells share is taken out
exactly: n = e^{−κt} ν, and the steps follow ν, which only spreads. What a solve leaves over is spread over the
excitons, so that a step neither loses nor invents any beyond rounding.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from excidiff.solver import newton
from excidiff.solver.bins import Band
from excidiff.solver.kinetics import Kinetics
from excidiff.solver.linear import elliptic
from excidiff.solver.linear.flux import Map, Operator
from excidiff.solver.linear.multigrid import Hierarchy

State = Float[Array, "fields rows columns"]

DIAGONAL = 0.25
TABLEAU = np.array(
    [
        [0, 0, 0, 0, 0],
        [1 / 4, 0, 0, 0, 0],
        [8611 / 62500, -1743 / 31250, 0, 0, 0],
        [5012029 / 34652500, -654441 / 2922500, 174375 / 388108, 0, 0],
        [15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768, 2285395 / 8070912, 0],
        [82889 / 524892, 0, 15625 / 83664, 69875 / 102672, -2260 / 8211],
    ]
)
WEIGHTS = np.append(TABLEAU[-1], DIAGONAL)
NODES = np.append(0.0, TABLEAU[1:].sum(1) + DIAGONAL)
EMBEDDED = np.array(
    [
        4586570599 / 29645900160,
        0,
        178811875 / 945068544,
        814220225 / 1159782912,
        -3700637 / 11593932,
        61727 / 225920,
    ]
)


class System(eqx.Module):
    """u′ = f(u, t): the operator A, the local `kinetics` or None, the `light` g(t) or None, and the shared loss κ.

    `light` gives excitons per µm² and ns at a time, a map of the grid. `band`: the energy bins, or None.
    """

    operator: Operator
    kinetics: Kinetics | None
    light: Callable | None
    common: Float[Array, ""]
    band: Band | None = None

    @property
    def bins(self) -> int:
        """How many of the fields are free excitons."""
        return 1 if self.band is None else len(self.band.bins.energies)

    @property
    def linear(self) -> bool:
        """Whether f is linear in u, by structure."""
        return self.kinetics is None or self.kinetics.linear

    @property
    def weight(self) -> Array:
        """φ: excitons per unit of v."""
        potential = self.operator.potential
        return jnp.ones((), self.operator.loss.dtype) if potential is None else jnp.exp(-0.5 * potential)

    def parts(self, u: State) -> tuple[State, State]:
        """(n of every bin, m of every species)."""
        return jax.vmap(self.operator.density)(u[: self.bins]), u[self.bins :]

    def shining(self, time, like: Map) -> State:
        """The generation in every bin at a time, excitons per µm² and ns."""
        light = jnp.zeros_like(like) if self.light is None else self.light(time)
        return light[None] if self.band is None else self.band.bins.sites[:, None, None] * light[None]

    def slope(self, u: State, time) -> State:
        """f(u, t)."""
        v, (n, m) = u[: self.bins], self.parts(u)
        gain = self.shining(time, u[0])
        if self.kinetics is not None:
            total = jnp.sum(n, 0)
            back = self.kinetics.released(m)[None]
            spread = back if self.band is None else self.band.bins.equilibrium[:, None, None] * back
            gain = gain + spread - self.kinetics.pace(total, m)[None] * n
        moved = self.operator.apply(v[0])[None] if self.band is None else self.band.move(v)
        free = jax.vmap(self.operator.symmetric)(gain) - moved + self.common * v
        return free if self.kinetics is None else jnp.concatenate([free, self.kinetics.caught(jnp.sum(n, 0), m)])

    def excitons(self, u: State) -> Array:
        """How many excitons a state holds, over the cell area."""
        return jnp.sum(lax.stop_gradient(self.weight) * jnp.sum(u[: self.bins], 0)) + jnp.sum(u[self.bins :])

    def sizes(self, u: State) -> Array:
        """Σ|n| over all bins, and Σ|m| of each species."""
        free = jnp.sum(self.weight * jnp.sum(jnp.abs(u[: self.bins]), 0))
        return jnp.concatenate([free[None], jnp.sum(jnp.abs(u[self.bins :]), (1, 2))])

    def longest(self, time, end) -> Array:
        """The longest step from `time` that cannot step over a change of the light, ns."""
        limit = getattr(self.light, "limit", None)
        if self.light is None:
            return jnp.full_like(end, jnp.inf)
        return end / 50 if limit is None else limit(time)

    def expected(self) -> Array:
        """A thousandth of the excitons that a pulse is yet to bring: before it, errors count beside these."""
        dose = getattr(self.light, "dose", None)
        return jnp.zeros((), self.operator.loss.dtype) if dose is None else 1e-3 * jnp.sum(jnp.abs(dose))

    def gone(self, u: State) -> Array:
        """Excitons that leave the film, free or trapped, per ns and over the cell area, beyond the shared loss."""
        n, m = self.parts(u)
        lost = self.operator.loss * n[0] if self.band is None else self.band.recombined(n)
        out = jnp.sum(lost) - self.common * jnp.sum(n)
        return out if self.kinetics is None else out + jnp.sum(self.kinetics.gone(jnp.sum(n, 0), m))


class Step(NamedTuple):
    """One step: u after it, ∫ e^{−κt} w dt over it with t from its start and w what is watched, and its effort.

    `error`, `error_integral`: their estimates. `surplus`: the excitons after it that no balance explains.
    """

    value: State
    integral: State
    error: State
    error_integral: State
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    surplus: Float[Array, ""]


def take_step(system: System, hierarchy: Hierarchy, u: State, time, dt, *, rtol: float, square: bool) -> Step:
    """The step from u at `time` over `dt`; `square` adds n² to what is watched, u."""
    rate = 1.0 / (DIAGONAL * dt)
    count = len(WEIGHTS)
    nodes = jnp.asarray(NODES, u.dtype)

    def stage(carry, part):
        values, slopes, iterations, residual = carry
        index, row = part
        base = u + dt * jnp.tensordot(row, slopes[:-1], 1)
        light = system.shining(time + dt * nodes[index], u[0])
        value, effort = _solve_stage(system, hierarchy, base, light, rate, values[index - 1], rtol)
        values = values.at[index].set(value)
        slopes = slopes.at[index].set(rate * (value - base))
        return (values, slopes, iterations + effort.iterations, jnp.maximum(residual, effort.residual)), None

    blank = jnp.zeros((count, *u.shape), u.dtype)
    start = (blank.at[0].set(u), blank.at[0].set(system.slope(u, time)))
    rows = jnp.asarray(TABLEAU[1:], u.dtype)
    carry = (*start, jnp.zeros((), int), jnp.zeros((), u.dtype))
    (values, slopes, iterations, residual), _ = lax.scan(stage, carry, (jnp.arange(1, count), rows))

    weights, wrong = jnp.asarray(WEIGHTS, u.dtype), jnp.asarray(WEIGHTS - EMBEDDED, u.dtype)
    fading = jnp.exp(-system.common * dt * nodes)
    watched = jax.vmap(lambda value: watch(system, value, square))(values)
    integral, error_integral = (dt * jnp.tensordot(w * fading, watched, 1) for w in (weights, wrong))
    gained = -jax.vmap(system.gone)(values)
    if system.light is not None:
        lit = jax.vmap(lambda node: jnp.sum(system.shining(time + dt * node, u[0])))(nodes)
        gained = gained + lit
    surplus = lax.stop_gradient(system.excitons(values[-1] - u) - dt * jnp.vdot(weights, gained))
    return Step(
        values[-1], integral, dt * jnp.tensordot(wrong, slopes, 1), error_integral, iterations, residual, surplus
    )


def watch(system: System, u: State, square: bool) -> State:
    """What is integrated over time: u, and n² if asked for."""
    return jnp.concatenate([u, jnp.sum(system.parts(u)[0], 0)[None] ** 2]) if square else u


def stand_still(system: System, u: State, square: bool) -> Step:
    """The step of no length."""
    zero = jnp.zeros((), u.dtype)
    blank, watched = jnp.zeros_like(u), jnp.zeros_like(watch(system, u, square))
    return Step(u, watched, blank, watched, jnp.zeros((), int), zero, zero)


def expand(system: System, u: State, time, dt, square: bool) -> tuple[State, State]:
    """(u, integral) after a step of no length whose end may be moved: exact to second order in dt.

    w(u + u′ dt) is what is watched a moment later, so that its integral is dt w + dt²/2 (w′ u′ − κ w).
    """
    slope, bend = jax.jvp(system.slope, (u, time), (system.slope(u, time), jnp.ones_like(time)))
    now, change = jax.jvp(lambda u: watch(system, u, square), (u,), (slope,))
    return u + dt * (slope + 0.5 * dt * bend), dt * (now + 0.5 * dt * (change - system.common * now))


def _solve_stage(system: System, hierarchy: Hierarchy, base: State, light: State, rate, guess: State, rtol: float):
    """(u, effort) with u = base + f(u)/rate."""
    operator, shift = system.operator, rate - system.common
    if system.kinetics is None and system.band is None:
        b = rate * base[0] + operator.symmetric(light[0])
        v, effort = elliptic.solve(operator, hierarchy, b, shift=shift, rtol=rtol, guess=guess[0])
        n, none = operator.density(v)[None], jnp.zeros_like(v)
        n = _balanced(system, n, operator.density(b), shift, none, none)
        return operator.symmetric(n[0])[None], effort
    (started, before), (nearby, _) = system.parts(base), system.parts(guess)
    b = rate * started + light
    local = system.band.kinetics if system.band is not None else system.kinetics
    assert local is not None
    if system.band is None:
        balance = newton.Balance(operator, local, operator.symmetric(b[0]), before, rate)
        v, effort = newton.solve(balance, hierarchy, guess[0], rtol=rtol)
        n = operator.density(v)[None]
    else:
        n, _, effort = system.band.solve(b, before, shift, rtol=rtol, guess=nearby)
    total = jnp.sum(n, 0)
    reaction, slope = lax.stop_gradient((local.loss(total, before, shift), local.slope(total, before, shift)))
    n = _balanced(system, n, jnp.sum(b, 0), shift, reaction, jnp.maximum(slope, 0.0))
    m = local.trapped(jnp.sum(n, 0), before, shift)
    return jnp.concatenate([jax.vmap(operator.symmetric)(n), m]), effort


def _balanced(system: System, n: State, b: Map, shift, reaction: Map, slope: Map) -> State:
    """n with a share of |n| added, such that exactly `b` excitons leave, whatever a solve left over.

    Diffusion moves excitons and takes none, so that of A n the loss alone remains in the sum. The share is of the order
    of the solve's tolerance, and zero for an exact solve whatever the film: it has no derivative.
    """
    whole, given, system, shift = lax.stop_gradient((n, b, system, shift))

    def lost(n):
        return system.operator.loss * n[0] if system.band is None else system.band.recombined(n)

    far = jnp.abs(whole)
    held = jnp.sum(lost(far) + (shift + slope) * jnp.sum(far, 0))
    over = jnp.sum(given - lost(whole) - shift * jnp.sum(whole, 0) - reaction)
    return n + over / jnp.where(held > 0, held, 1.0) * far
