"""Gates of traps, annihilation, Auger recombination and disorder: manufactured problems, entry 24, refined.

The order is the slope of the relative L2 error over two refinements where all losses act at once, and over the last of
them where each acts alone. Losses in place have no error of their own, so that all of it is the flux's: c₂h² + c₄h⁴,
whose slope is 2 + O(h²), ± 0.05 on grids of 16 to 64 cells. Solves are converged to 1e-11, and time steps far below
the error in space.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.manufactured import LOSSES, manufactured_bins, manufactured_filling, manufactured_losses
from excidiff.solver import evolve, steady_state
from excidiff.solver.bins import band
from excidiff.solver.kinetics import kinetics, nothing_trapped

pytestmark = pytest.mark.gate

TERMS = pytest.mark.parametrize("names", [*((name,) for name in LOSSES), LOSSES], ids=[*LOSSES, "all"])
SIZES = (16, 32, 64)


def sizes(names: tuple[str, ...]) -> tuple[int, ...]:
    """All of them for all losses at once; each size is a program of its own, half a minute of compiling."""
    return SIZES if names == LOSSES else SIZES[1:]


def distance(found, exact) -> np.ndarray:
    """Relative L2 distance over the film."""
    found, exact = np.asarray(found), np.asarray(exact)
    return np.linalg.norm(found - exact, axis=(-2, -1)) / np.linalg.norm(exact, axis=(-2, -1))


def slopes(errors: list) -> np.ndarray:
    """Orders between successive halvings, for each frame."""
    errors = np.asarray(errors)
    return np.log2(errors[:-1] / errors[1:])


@TERMS
def test_steady_order_in_space(names: tuple[str, ...]):
    errors = []
    for n in sizes(names):
        problem = manufactured_losses(n, names)
        found = steady_state(problem.medium, problem.source, problem.grid, rtol=1e-11).density
        errors.append(distance(found, problem.density()))
    assert np.abs(slopes(errors) - 2.0).max() < 0.05, errors


@TERMS
def test_order_in_space_in_time(names: tuple[str, ...]):
    """n at three frames, and m of every species; empty traps fill to 0.1, 0.3 and 0.6 of N_t on the way."""
    errors = []
    for n in sizes(names):
        problem = manufactured_filling(n, names)
        found = evolve(
            problem.medium, problem.initial, problem.grid, problem.times, generation=problem.generation, rtol=1e-5
        )
        wrong = [distance(found.density, problem.density(problem.times))]
        if problem.medium.traps:
            wrong += list(distance(found.trapped_by_species, problem.trapped(problem.times)))
        errors.append(np.array(wrong))
    assert np.abs(slopes(errors) - 2.0).max() < 0.05, errors


@pytest.mark.parametrize("mobility", ["constant", "hops"])
def test_disorder_order_in_space(mobility: str):
    """Every bin by itself, under all losses at once, with mobilities of 1 and, by hops, of 1.0, 0.62 and 0.05."""
    errors = []
    for n in SIZES:
        problem = manufactured_bins(n, mobility)
        found = solve_bins(problem.medium, problem.grid, jnp.asarray(problem.source))
        errors.append(distance(found, problem.density()))
    assert np.abs(slopes(errors) - 2.0).max() < 0.05, errors


@jax.jit
def solve_bins(film, grid, rate):
    """n_k of a steady film where `rate` is created in every bin."""
    film = jax.tree.map(jnp.asarray, film)
    empty = nothing_trapped(film, rate[0])
    return band(film, grid, kinetics(film)).solve(rate, empty, jnp.zeros(()), rtol=1e-11, guess=jnp.zeros_like(rate))[0]
