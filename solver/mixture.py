"""Excitons of several kinds side by side, as the simple rival of traps: `mixture`.

    n = Σ n_k,      each n_k the solution of its own film under its share w_k of the light,      Σ w_k = 1

Two lifetimes with the weights of a biexponential decay are two such populations. They never meet: none turns into
another, and in films with annihilation each annihilates with its own kind alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from excidiff.solver.field import as_number
from excidiff.solver.grid import Number
from excidiff.solver.medium import Medium
from excidiff.solver.solution import InputError, Result, Solution, is_concrete

ROUNDING = 1e-4
"""How far from one the shares may add up: published ones have few digits."""


def mixture(solve: Callable[[Medium, Any], Solution], populations: Sequence[tuple[Number, Medium]]) -> Solution:
    """The sum of the solutions of several populations, each given as (its share of the light, its film).

    `solve`: a function of a film and a share of the light that gives a `Solution`, of any kind:

        mixture(lambda film, share: steady_state(film, share * spot, grid), [(0.7, slow), (0.3, fast)])

    Density and emission are sums; `.trapped_by_species` has the species of one population behind those of another;
    `.result` is the first failure, of `.stats` each figure the largest; `.by_energy` is left out, since unlike films
    have unlike bins. Shares and films may be traced and differentiated. Raises `InputError` for no populations, a
    negative share, shares that do not add up to one, and populations of which only some say how they emit.
    """
    pairs = [(as_number("mixture(populations=…): a share", share, zero="always"), film) for share, film in populations]
    if not pairs:
        raise InputError("mixture(populations=…): expected at least one pair (share, film)")
    shares = [share for share, _ in pairs]
    if is_concrete(shares) and abs(sum(np.asarray(share, float) for share in shares) - 1.0) > ROUNDING:
        given = " + ".join(f"{float(share):g}" for share in shares)
        raise InputError(f"mixture(populations=…): the shares add up to {given} ≠ 1; divide each by their sum")
    if len({film.emission is None for _, film in pairs}) > 1:
        raise InputError("mixture(populations=…): give every film its Emission, or none")
    return _sum([solve(film, share) for share, film in pairs])


def _sum(solutions: list[Solution]) -> Solution:
    results = jnp.stack([one.result for one in solutions])
    first = results[jnp.argmax(results != Result.converged)]
    names = [name for name in solutions[0].stats if all(name in one.stats for one in solutions)]
    stats = {name: jnp.max(jnp.stack([jnp.asarray(one.stats[name]) for one in solutions])) for name in names}
    held = [one.trapped_by_species for one in solutions if one.trapped_by_species is not None]
    light = [one.emission for one in solutions if one.emission is not None]
    return Solution(
        _added([one.density for one in solutions]),
        first,
        lax.stop_gradient(stats),
        jnp.concatenate(held) if held else None,
        _added(light) if light else None,
    )


def _added(fields: list[Array]) -> Array:
    return jnp.sum(jnp.stack(fields), axis=0)
