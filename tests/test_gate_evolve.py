"""Gates of the film in time: exact problems of the verification plan, refined until the order shows.

The order is the slope of the relative L2 error at every frame, over the last two refinements; time stepping is
converged far below the error.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import problems
from benchmarks.manufactured import manufactured_decay, manufactured_film
from excidiff.solver.medium import Medium
from excidiff.solver.steady import steady_state
from excidiff.solver.transient import evolve, time_integral

pytestmark = pytest.mark.gate
OPTIMISED = True


def frames(problem: problems.Evolution, rtol: float) -> np.ndarray:
    solution = evolve(
        problem.medium, problem.initial, problem.grid, problem.times, generation=problem.generation, rtol=rtol
    )
    return np.asarray(solution.density)


SMOOTH: dict[str, tuple[Callable[[int], problems.Evolution], tuple[int, ...], float]] = {
    "spreading pulse": (problems.spreading_pulse, (48, 96, 192), 1e-8),
    "quencher": (problems.quenched_depth, (64, 128, 256), 1e-8),
    "harmonic trap": (problems.harmonic_trap, (64, 128, 256), 1e-6),
    "manufactured": (manufactured_decay, (32, 64, 128), 1e-6),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_second_order(name: str):
    """Entries 7, 12, 11 and 24: 2 ± 0.05 at every frame."""
    build, sizes, rtol = SMOOTH[name]
    errors = []
    for n in sizes:
        problem = build(n)
        exact = problem.density(problem.times)
        errors.append(np.linalg.norm(frames(problem, rtol) - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2)))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))[-2:]
    assert np.abs(slopes - 2.0).max() < 0.05, errors


@pytest.mark.parametrize(("dtype", "gate"), [(np.float64, 1e-8), (np.float32, 1e-4)], ids=["double", "single"])
@pytest.mark.parametrize("shining", [False, True])
def test_conservation(shining: bool, dtype: type, gate: float):
    """A rough film without loss keeps its excitons, and gains what shines, at the default tolerance."""
    problem, times = problems.random_film(128), np.array([0.5, 2.0, 8.0, 30.0])
    medium = Medium(problem.medium.diffusivity, np.inf, problem.medium.landscape)
    arguments = jax.tree.map(lambda a: jnp.asarray(a, dtype), (medium, problem.source, problem.grid, times))
    light = 0.3 * arguments[1] if shining else None
    solution = evolve(*arguments, generation=light)
    number = np.asarray(solution.density, float).sum((1, 2)) / problem.source.sum()
    assert solution.density.dtype == dtype
    assert_allclose(number, 1 + (0.3 * times if shining else 0.0), rtol=gate)
    assert solution.stats["imbalance"] <= gate
    held = np.asarray(time_integral(*arguments[:3], edges=arguments[3]).density, float).sum((1, 2))
    assert_allclose(held, np.diff(times) * problem.source.sum(), rtol=gate)


def test_modes_decay_exactly_on_the_grid():
    """Entry 8: the discrete eigenvalue leaves rounding only, 1e-13."""
    for n in (8, 33):
        problem = problems.decaying_mode(n)
        assert_allclose(frames(problem, 1e-8), problem.density(problem.times), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("structured", [False, True], ids=["uniform", "maps"])
def test_time_integral_of_a_pulse_is_the_steady_state(structured: bool):
    """Entry 10, to the tolerance of the time stepping."""
    problem = manufactured_film(32) if structured else problems.spot_film(64)
    steady = np.asarray(steady_state(problem.medium, problem.source, problem.grid, rtol=1e-10).density)
    summed = np.asarray(time_integral(problem.medium, problem.source, problem.grid).density)
    assert np.linalg.norm(summed - steady) < 1e-6 * np.linalg.norm(steady)
    edges = np.array([0.0, 1.0, 5.0, 100.0])  # what is left after 12 of the longest lifetimes: 6e-6
    parts = time_integral(problem.medium, problem.source, problem.grid, edges=edges, rtol=1e-4)
    assert np.linalg.norm(np.asarray(parts.density).sum(axis=0) - steady) < 1e-3 * np.linalg.norm(steady)
