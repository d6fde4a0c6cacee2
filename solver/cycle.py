"""The state that a pulse train comes back to: u = Φ(u) + pulse, Φ the evolution over one period.

What traps hold after hundreds of pulses need not be waited for. A first guess is the steady state under the same light
without its pulses, where traps hold about what they will; the fixed point follows from some periods of `fixed`, all
through the same time steps, so that Φ is one smooth function and converges as far as its solves do. The steps are those
of the first guess, then once more those of what it led to.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from excidiff.solver.fixed import fixed_point
from excidiff.solver.linear.multigrid import build
from excidiff.solver.march import choose, replay
from excidiff.solver.scheme import State, System

MAX_PERIODS = 60
ROUGH = 1e-2
"""Relative accuracy of the state for which the time steps are chosen."""


def recurring(system: System, start: State, pulse: State, period, *, rtol, solve_rtol, max_steps: int):
    """(u, periods, residual): the state just after each `pulse`, from the guess `start`; `period` in ns.

    `residual`: the largest share by which n, or m of one species, still changes from one period to the next.
    Differentiable in `system`, `pulse` and `period`, with the sequence of steps held fixed.
    """
    settings = {"solve_rtol": solve_rtol, "integrate": False, "square": False}
    held, times = lax.stop_gradient((system, period[None]))
    hierarchy = build(held.operator)

    def steps_from(u):
        return choose(held, hierarchy, lax.stop_gradient(u), times, **settings, rtol=rtol, max_steps=max_steps).steps

    def after_a_period(arguments, constants, u):
        system, pulse, period = arguments
        _, hierarchy, steps = constants
        return replay(system, hierarchy, u, period[None], **settings, steps=steps)[0] + pulse

    def sizes(constants, u):
        """Free excitons and each species must settle by themselves."""
        return constants[0].sizes(u)

    def settled(arguments, u, tolerance):
        constants = (held, hierarchy, steps_from(u))
        return fixed_point(after_a_period, arguments, constants, u, size=sizes, rtol=tolerance, max_steps=MAX_PERIODS)

    arguments = (system, pulse, period)
    rough, first = settled(lax.stop_gradient(arguments), start, ROUGH)
    # what is left is n times what one more period would change, n the periods that traps remember
    u, second = settled(arguments, rough, max(0.01 * rtol, 10 * solve_rtol))
    return u, first.steps + second.steps, second.residual


def guess(free: State, held: Array, system: System) -> State:
    """A first state: `free` excitons n of every bin just after a pulse, and `held`, the trapped under steady light."""
    full = jnp.where(jnp.isfinite(held), held, 0.0)
    return jnp.concatenate([jax.vmap(system.operator.symmetric)(free), full])
