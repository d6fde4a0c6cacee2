"""The film in time: exact where it is uniform, kept to its tolerance where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import problems
from excidiff.solver import Grid, InputError, Medium, Surface, evolve, gaussian_spot, steady_state, time_integral
from excidiff.solver.march import DIAGONAL, EMBEDDED, TABLEAU, WEIGHTS

GRID = Grid((24, 20), 0.1)
SPOT = gaussian_spot(GRID, fwhm=0.4, centre=(0.1, -0.05))
TIMES = jnp.array([0.0, 0.02, 0.3, 2.0, 2.0, 15.0])
ONES = jnp.ones(GRID.shape)


def share(found, exact):
    """Sum of the errors as a share of the excitons, frame by frame."""
    return jnp.sum(jnp.abs(found - exact), (1, 2)) / jnp.sum(jnp.abs(exact), (1, 2))


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
@pytest.mark.parametrize("shining", [False, True])
def test_tolerance_is_kept_and_reported(rtol: float, shining: bool):
    """The same film as numbers (exact modes) and as maps (steps): the difference is the stepping's error."""
    surface = Surface(left=jnp.inf)
    generation = 0.2 * SPOT if shining else None
    exact = evolve(Medium((0.05, 0.02), 4.0, surface=surface), SPOT, GRID, TIMES, generation=generation)
    film = Medium((0.05 * ONES, 0.02), 4.0, surface=surface)
    found = evolve(film, SPOT, GRID, TIMES, generation=generation, rtol=rtol, max_steps=600)
    errors = share(found.density, exact.density)
    assert errors.max() <= found.stats["error"] <= rtol
    assert errors[1:].max() > 1e-4 * rtol  # the two paths are not the same computation


def test_steady_state_is_where_the_light_leads():
    """Under continuous light the density approaches the steady one as e^{−t/τ}: 40 lifetimes leave 4e-18."""
    film = Medium(0.05 * ONES, 2.0)
    late = evolve(film, jnp.zeros(GRID.shape), GRID, jnp.array([80.0]), generation=SPOT, rtol=1e-5).density[0]
    steady = steady_state(film, SPOT, GRID, rtol=1e-10).density
    assert share(late[None], steady[None])[0] < 1e-5


@pytest.mark.parametrize("film", [Medium(0.05, 2.0), Medium(0.05 * ONES, 2.0, landscape=20 * ONES * GRID.x[None, :])])
def test_gates_add_up_to_the_whole(film: Medium):
    """Entry 10: ∫₀^∞ n dt is the steady state of the pulse taken as a source; the tail beyond 60 ns holds e^−30."""
    edges = jnp.array([0.0, 0.1, 1.0, 7.0, 60.0])
    gates = time_integral(film, SPOT, GRID, edges=edges, rtol=1e-5).density
    whole = time_integral(film, SPOT, GRID).density
    assert gates.shape == (4, *GRID.shape)
    assert share(gates.sum(0)[None], whole[None])[0] < 1e-5


def test_a_gate_is_the_integral_of_the_frames():
    """Gauss-Legendre with 8 nodes integrates e^{−λt} over half a lifetime of the fastest lit mode to 1e-9."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    start, end = 0.4, 0.8
    times = jnp.asarray(start + (end - start) * (nodes + 1) / 2)
    frames = evolve(Medium(0.05, 2.0), SPOT, GRID, times).density
    expected = jnp.tensordot(jnp.asarray(weights) * (end - start) / 2, frames, 1)
    found = time_integral(Medium(0.05, 2.0), SPOT, GRID, edges=jnp.array([start, end])).density[0]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * expected.max())


@pytest.mark.parametrize("name", ["spreading_pulse", "decaying_mode", "harmonic_trap", "quenched_depth"])
def test_exact_problems(name: str):
    """Entries 7, 8, 11, 12 on coarse grids: the spatial error, second order, is about 1 % here; modes are exact."""
    problem = getattr(problems, name)(48)
    found = evolve(problem.medium, problem.initial, problem.grid, problem.times, generation=problem.generation)
    exact = problem.density(problem.times)
    assert share(found.density, exact).max() < (1e-9 if name == "decaying_mode" else 0.02)


def test_scheme_has_its_order():
    """The eight conditions of order four, and the four of the embedded order three, to rounding."""
    a = np.hstack([TABLEAU, np.zeros((6, 1))]) + np.diag([0.0] + [DIAGONAL] * 5)
    c = a.sum(1)
    three = {1.0: np.ones(6), 1 / 2: c, 1 / 3: c**2, 1 / 6: a @ c}
    four = {1 / 4: c**3, 1 / 8: c * (a @ c), 1 / 12: a @ c**2, 1 / 24: a @ a @ c}
    for sums, conditions in ((WEIGHTS, three | four), (EMBEDDED, three)):
        for value, vector in conditions.items():
            assert abs(sums @ vector - value) < 1e-15
    np.testing.assert_allclose(a[-1], WEIGHTS)  # stiffly accurate: the last stage is the step


def test_running_out_of_steps_is_a_failure_and_nan_under_a_trace():
    film = Medium(0.05 * ONES, 2.0)
    with pytest.raises(RuntimeError, match="max_steps"):
        evolve(film, SPOT, GRID, TIMES, max_steps=3)
    traced = jax.jit(lambda n: evolve(film, n, GRID, TIMES, max_steps=3).density)(SPOT)
    assert jnp.isnan(traced).all()


def test_nothing_stays_nothing():
    """An empty film has no fastest change to step by, and no error: zeros at every time."""
    assert not evolve(Medium(0.05 * ONES, 2.0), jnp.zeros(GRID.shape), GRID, TIMES).density.any()


@pytest.mark.parametrize("times", [[], [1.0, 0.5], [-1.0], [np.nan], 3.0])
def test_bad_times_are_refused(times):
    with pytest.raises(InputError, match="times"):
        evolve(Medium(0.05, 2.0), SPOT, GRID, times)


@pytest.mark.gate
def test_reverse_memory_grows_as_the_root_of_the_steps():
    """From 64 to 1024 steps the compiled gradient may take 3 (√1024 − √64) = 72 maps more, not 960; two are needed."""
    grid = Grid((64, 64), 0.1)
    spot = gaussian_spot(grid, fwhm=0.4)
    times = jnp.array([0.5, 5.0])

    def maps(steps: int) -> float:
        def loss(d):
            return jnp.sum(evolve(Medium(d, 5.0), spot, grid, times, rtol=1e-3, max_steps=steps).density ** 2)

        compiled = jax.jit(jax.grad(loss)).lower(0.05 * jnp.ones(grid.shape)).compile()
        return compiled.memory_analysis().temp_size_in_bytes / (64 * 64 * 8)

    assert maps(1024) - maps(64) <= 72
