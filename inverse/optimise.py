"""Fisher scoring with Levenberg's damping: the maximum of the likelihood, or of its product with Gaussian knowledge.

Each step solves (JᵀV⁻¹J + Λ + λ diag) δ = JᵀV⁻¹(y − µ) − Λ(θ − θ₀) with the variance law taken at the current µ, so
that the fixed point is the score equation itself; a residual form, which least-squares libraries want, has none at
zero counts. The damping λ falls while the deviance falls. Λ and θ₀ are what is known beforehand, say from the laser.

Bounds are kept by an active set: a parameter on its bound whose slope points outward is left out of the step. Fixed
parameters are left out throughout. Everything is one compiled loop; the Jacobian comes from the model.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from excidiff.inverse.likelihood import Counts, objective, variance


class Knowledge(NamedTuple):
    """What is known of the parameters before the data: Λ (precision matrix) about θ₀, limits, and which are free."""

    centre: Float[Array, " P"]
    precision: Float[Array, "P P"]
    lower: Float[Array, " P"]
    upper: Float[Array, " P"]
    free: Bool[Array, " P"]


class Optimum(NamedTuple):
    """Where the fit ended: parameters, expected counts, JᵀV⁻¹J of the data alone, objective with its Gaussian part."""

    parameters: Float[Array, " P"]
    expected: Float[Array, "F ny nx"]
    information: Float[Array, "P P"]
    objective: Float[Array, ""]
    slope: Float[Array, " P"]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]


class _State(NamedTuple):
    parameters: Float[Array, " P"]
    expected: Float[Array, "F ny nx"]
    information: Float[Array, "P P"]
    slope: Float[Array, " P"]
    objective: Float[Array, ""]
    damping: Float[Array, ""]
    steps: Int[Array, ""]
    small: Int[Array, ""]


Model = Callable[..., tuple[Float[Array, "F ny nx"], Float[Array, "P F ny nx"]]]
"""(parameters, *arguments) → expected photoelectrons per pixel and their derivatives, one per parameter."""


@partial(jax.jit, static_argnames=("model", "noise", "max_steps"))
def fit(
    model: Model,
    start: Float[Array, " P"],
    counts: Counts,
    knowledge: Knowledge,
    arguments: tuple,
    *,
    noise: str = "poisson",
    tolerance: float = 1e-5,
    max_steps: int = 100,
) -> Optimum:
    """Maximise the likelihood of `counts` from `start`.

    It ends when the step expected next would gain less than `tolerance` in deviance (a hundredth of that of the error
    bar moves a parameter by 3e-4 standard deviations), or after `max_steps`: then `converged` is False.
    """
    evaluate = partial(_evaluate, model, counts=counts, knowledge=knowledge, arguments=arguments, noise=noise)

    def proceed(state: _State):
        return (state.small < 1) & (state.steps < max_steps)

    def step(state: _State) -> _State:
        active = _active(state, knowledge)
        move = _solve(state, knowledge, active, state.damping)
        trial = jnp.clip(state.parameters + move, knowledge.lower, knowledge.upper)
        expected, information, slope, value = evaluate(trial)
        change = trial - state.parameters
        # For Gaussian noise of unknown size the deviance carries its unit; its mean per pixel gives it back.
        unit = jnp.where(noise == "gaussian", state.objective / jnp.sum(counts.used), 1.0)
        gain = change @ ((state.information + knowledge.precision) @ change)
        better = (value <= state.objective * (1 + 1e-13)) & jnp.isfinite(value)
        small = (gain < tolerance * unit) & (better | (state.damping > 1e8)) & (state.steps > 0)
        steps, small = state.steps + 1, small.astype(state.small.dtype)
        new = _State(trial, expected, information, slope, value, state.damping / 10, steps, small)
        old = state._replace(damping=jnp.maximum(state.damping, 1e-6) * 10, steps=steps, small=small)
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

    # The first turn of the loop only evaluates the start: its slope is zero here and any value beats infinity. So
    # the model is compiled once.
    size, infinite = start.shape[0], jnp.full((), jnp.inf, start.dtype)
    nothing = jnp.zeros_like(start)
    first = _State(
        jnp.clip(start, knowledge.lower, knowledge.upper),
        jnp.zeros_like(counts.photons),
        jnp.zeros((size, size), start.dtype),
        nothing,
        infinite,
        jnp.full_like(infinite, 1e-2),
        jnp.asarray(0),
        jnp.asarray(0),
    )
    last = lax.while_loop(proceed, step, first)
    return Optimum(
        last.parameters, last.expected, last.information, last.objective, last.slope, last.steps, last.small > 0
    )


def _evaluate(model, parameters, *, counts, knowledge, arguments, noise):
    expected, jacobian = model(parameters, *arguments)
    weight = counts.used / (counts.floor if noise == "gaussian" else variance(expected, counts))
    flat = jacobian.reshape(jacobian.shape[0], -1)
    weighted = flat * weight.reshape(1, -1)
    away = parameters - knowledge.centre
    slope = weighted @ (counts.photons - expected).reshape(-1) - knowledge.precision @ away
    value = objective(expected, counts, noise) + away @ knowledge.precision @ away
    return expected, weighted @ flat.T, slope, value


def _active(state, knowledge):
    """Which parameters may move: the free ones that no bound holds."""
    held = (state.parameters <= knowledge.lower) & (state.slope <= 0)
    held |= (state.parameters >= knowledge.upper) & (state.slope >= 0)
    return knowledge.free & ~held


def _solve(state, knowledge, active, damping):
    """The damped step of the active parameters, in units of their own curvature so that no unit matters."""
    matrix = state.information + knowledge.precision
    both = active[:, None] & active[None, :]
    diagonal = jnp.diagonal(matrix)
    scale = jnp.where(active & (diagonal > 0), 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = jnp.where(both, matrix * scale[:, None] * scale[None, :], 0.0)
    size = matrix.shape[0]
    identity = jnp.eye(size, dtype=matrix.dtype)
    scaled = jnp.where(identity > 0, jnp.where(scale > 0, 1 + damping + 1e-12, 1.0)[:, None] * identity, scaled)
    return scale * jnp.linalg.solve(scaled, scale * state.slope)
