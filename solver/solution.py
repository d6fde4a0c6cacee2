"""What a solve returns, and what happens when it fails.

Inside a compiled program failure is data: a `Result` beside the numbers. On the host it becomes an
exception, once the result can be looked at; under a trace the numbers of a failed solve become NaN, so that
a wrong number is never mistaken for a plausible one.
"""

from enum import IntEnum
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int


class InputError(ValueError):
    """What the user gave cannot be used; the message says what is wrong, where, and what to do."""


class SolverError(RuntimeError):
    """A solve that did not give the answer it promised; the message has the reason and the residual."""


class Result(IntEnum):
    """How a solve ended. Anything but `converged` is a failure."""

    converged = 0
    iterations = 1
    steps = 2
    not_finite = 3
    negative = 4
    imbalance = 5
    singular = 6
    error = 7
    periods = 8


REASONS = {
    Result.converged: "converged",
    Result.iterations: "the linear solver did not reach its tolerance within the allowed iterations; "
    "steep landscapes, walls above some 20 kT and large jumps of D make it slow: refine the grid, cap the walls that "
    "no exciton climbs (10 kT hold all but 5e-5), or ask for a larger rtol",
    Result.steps: "the time stepping ran out of steps; raise max_steps or ask for a larger rtol",
    Result.not_finite: "a value that is not a number appeared; look for extreme values in the medium or the source",
    Result.negative: "the density is negative beyond rounding; ask for a smaller rtol",
    Result.imbalance: "excitons generated and excitons lost do not balance; ask for a smaller rtol",
    Result.error: "the errors of the time steps add up to more than rtol; the figure is what was reached",
    Result.periods: "the populations did not come back to themselves from one pulse of the train to the next "
    "(recurrence is their change); traps that hold excitons for thousands of periods are best given as full",
    Result.singular: "nothing removes excitons, so there is no steady state; give a finite lifetime or a quencher",
}


class Solution(eqx.Module):
    """Populations on the grid, with how they were found.

    `density`: excitons per µm², shape `grid.shape`, with times or intervals leading. `result`: a `Result`, as an
    integer array. `stats`: `iterations` of the linear solver; relative `residual`, in time the largest of all solves;
    `imbalance`, the share of the excitons that no balance explains; and in time `steps` and the `error` estimated for
    the stepping. To a derivative `result` and `stats` are constants: their gradients are zero.

    None where the film has no such thing: `trapped_by_species`, per µm², the species of traps leading, and `trapped`,
    their sum; `emission`, photons per µm² and ns (per µm² where the density is integrated over time); `by_energy`, the
    free excitons of every energy bin, the bins' axis before the grid's, and `energies`, meV from the band's centre.
    """

    density: Float[Array, "*shape"]
    result: Int[Array, ""]
    stats: dict[str, Any]
    trapped_by_species: Float[Array, "species *shape"] | None = None
    emission: Float[Array, "*shape"] | None = None
    by_energy: Float[Array, "*frames bins rows columns"] | None = None
    energies: Float[Array, " bins"] | None = None

    @property
    def trapped(self) -> Float[Array, "*shape"] | None:
        """Trapped excitons of all species per µm², or None."""
        return None if self.trapped_by_species is None else jnp.sum(self.trapped_by_species, axis=0)

    def fields(self) -> tuple[Any, ...]:
        """All that a failed solve spoils."""
        return self.density, self.trapped_by_species, self.emission, self.by_energy


def is_concrete(value: Any) -> bool:
    """Whether every array in `value` has numbers that can be looked at now."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def as_array(name: str, value: Any) -> Array:
    """`value` as an array of real floating numbers, traced ones among them, or an `InputError` that names it."""
    try:
        array = jnp.asarray(None if isinstance(value, (str, bytes)) else value)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers, got {value!r:.80}") from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise InputError(f"{name}: expected real numbers, got complex ones")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def is_number(value: Any) -> bool:
    """Whether `value` is one real number, an array of no dimension or traced ones included."""
    if isinstance(value, (int, float)):
        return True
    return getattr(value, "shape", None) == () and not jnp.issubdtype(value.dtype, jnp.complexfloating)


S = TypeVar("S", bound=Solution)


def settle(solution: S, throw: bool) -> S:
    """Raise on the host what failed inside; under a trace make a failed density NaN."""
    if not is_concrete(solution):
        failed = solution.result != Result.converged
        # a product, not a choice, so that the derivatives are NaN as well
        factor = jnp.where(failed, jnp.nan, 1.0).astype(solution.density.dtype)
        marked = jax.tree.map(lambda field: field * factor, solution.fields())
        return eqx.tree_at(Solution.fields, solution, marked, is_leaf=lambda leaf: leaf is None)
    if throw and int(solution.result) != Result.converged:
        figures = ", ".join(f"{name} {float(value):.3g}" for name, value in solution.stats.items())
        reason = REASONS[Result(int(solution.result))]
        if solution.density.dtype == jnp.float32 and int(solution.result) in (Result.iterations, Result.imbalance):
            reason += "; float32 carries a diffusion length of a hundred cells or two: beyond, give float64 arrays"
        raise SolverError(f"{reason} ({figures})")
    return solution
