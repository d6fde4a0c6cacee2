"""Fisher scoring with Levenberg's damping: the maximum of the likelihood, or of its product with Gaussian knowledge.

Each step solves (JᵀV⁻¹J + Λ + λ diag) δ = JᵀV⁻¹(y − µ) − Λ(θ − θ₀) with the variance law taken at the current µ, so
that the fixed point is the score equation itself; a residual form, which least-squares libraries want, has none at
zero counts. The damping λ falls while the deviance falls. Λ and θ₀ are what is known beforehand, say from the laser.

Bounds are kept by an active set: a parameter on its bound whose slope points outward is left out of the step. Fixed
parameters are left out throughout. Model, Jacobian, score and information of one θ are one compiled program; the few
steps between them are taken on the host, which compiles in half the time of a loop on the device and costs nothing
beside the model.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from excidiff.inverse.fit.likelihood import Counts, objective, variance

LARGEST_DAMPING = 1e10


class Knowledge(NamedTuple):
    """What is known of the parameters before the data: Λ (precision matrix) about θ₀, limits, and which are free."""

    centre: Float64[np.ndarray, " P"]
    precision: Float64[np.ndarray, "P P"]
    lower: Float64[np.ndarray, " P"]
    upper: Float64[np.ndarray, " P"]
    free: Bool[np.ndarray, " P"]


class Optimum(NamedTuple):
    """Where the fit ended; JᵀV⁻¹J is that of the data alone, slope and objective have the knowledge in them."""

    parameters: Float64[np.ndarray, " P"]
    expected: Float[Array, "F ny nx"]
    information: Float64[np.ndarray, "P P"]
    slope: Float64[np.ndarray, " P"]
    objective: float
    steps: int
    converged: bool


Model = Callable[..., tuple[Float[Array, "F ny nx"], Float[Array, "P F ny nx"]]]
"""(parameters, *arguments) → expected photoelectrons per pixel and their derivatives, one per parameter."""


def fit(
    model: Model,
    start: Float64[np.ndarray, " P"],
    counts: Counts,
    knowledge: Knowledge,
    arguments: tuple,
    *,
    noise: str = "poisson",
    tolerance: float = 1e-4,
    max_steps: int = 100,
) -> Optimum:
    """Maximise the likelihood of `counts` from `start`.

    It ends when a step moved the parameters by less than √tolerance of their standard errors and the deviance did not
    rise (1e-4: by 1 %, and ends ten times closer), or after `max_steps`: then `converged` is False.
    """
    pixels = float(np.asarray(counts.used).sum())
    evaluate = partial(_evaluate, model, counts, knowledge, arguments, noise)
    best = evaluate(np.clip(start, knowledge.lower, knowledge.upper))
    damping, converged, steps = 1e-3, False, 0
    while steps < max_steps and not converged:
        steps += 1
        move = _solve(best, knowledge, moving(best, knowledge), damping)
        trial = evaluate(np.clip(best.parameters + move, knowledge.lower, knowledge.upper))
        change = trial.parameters - best.parameters
        gain = float(change @ (best.information + knowledge.precision) @ change)
        # Gaussian noise of unknown size: the deviance per pixel is its unit.
        unit = best.objective / pixels if noise == "gaussian" else 1.0
        better = bool(trial.objective <= best.objective + 1e-13 * abs(best.objective))
        converged = gain <= tolerance * unit and (better or damping >= LARGEST_DAMPING)
        best = trial if better else best
        damping = damping / 10 if better else min(max(damping, 1e-4) * 10, LARGEST_DAMPING)
    return best._replace(steps=steps, converged=converged)


def moving(at: Optimum, knowledge: Knowledge) -> Bool[np.ndarray, " P"]:
    """Which parameters may move: the free ones that no bound holds."""
    low = (at.parameters <= knowledge.lower) & (at.slope <= 0)
    high = (at.parameters >= knowledge.upper) & (at.slope >= 0)
    return knowledge.free & ~low & ~high


def _evaluate(model, counts, knowledge, arguments, noise, parameters) -> Optimum:
    """Everything a step needs at one θ."""
    expected, sums = _data_part(model, parameters, counts, arguments, noise)
    *information, score, value = np.asarray(sums)
    away = parameters - knowledge.centre
    pull = knowledge.precision @ away
    deviance = float(value[0] + away @ pull)
    return Optimum(parameters, expected, np.array(information), score - pull, deviance, 0, False)


@partial(jax.jit, static_argnums=(0, 4))
def _data_part(model, parameters, counts, arguments, noise):
    """µ, and as rows of one array, fetched at once: JᵀV⁻¹J, JᵀV⁻¹(y − µ), and the objective, repeated."""
    expected, jacobian = model(parameters, *arguments)
    weight = counts.used / (counts.floor if noise == "gaussian" else variance(expected, counts))
    flat = jacobian.reshape(jacobian.shape[0], -1)
    weight = weight.reshape(-1)
    rows = (*flat, (counts.photons - expected).reshape(-1))
    sums = [flat @ (weight * row) for row in rows]  # row by row: 0.6 of the time of one product this flat
    return expected, jnp.stack([*sums, jnp.full_like(sums[0], objective(expected, counts, noise))])


def _solve(at: Optimum, knowledge: Knowledge, active, damping: float):
    """The damped step of the active parameters, in units of their own curvature so that no unit matters."""
    matrix = at.information + knowledge.precision
    index = np.flatnonzero(active & (np.diagonal(matrix) > 0))
    scale = 1 / np.sqrt(np.diagonal(matrix)[index])
    scaled = matrix[index][:, index] * (scale[:, None] * scale)
    scaled.flat[:: index.size + 1] += damping + 1e-12
    move = np.zeros_like(at.parameters)
    move[index] = scale * np.linalg.solve(scaled, scale * at.slope[index])
    return move
