"""The film in time: exact where it is uniform, kept to its tolerance where it is not."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import problems
from excidiff.solver import (
    Grid,
    InputError,
    Medium,
    Result,
    SolverError,
    Surface,
    evolve,
    gaussian_spot,
    steady_state,
    time_integral,
)
from excidiff.solver.linear.elliptic import MAX_ITERATIONS
from excidiff.solver.linear.flux import assemble
from excidiff.solver.scheme import DIAGONAL, EMBEDDED, TABLEAU, WEIGHTS
from excidiff.solver.transient import verdict

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


ROUGH = Medium(
    0.05 * jnp.exp(0.4 * jnp.cos(3 * GRID.x)[None, :] + jnp.zeros(GRID.shape)),
    2.0,
    landscape=20.0 * jnp.sin(4 * GRID.y)[:, None] * jnp.cos(2 * GRID.x)[None, :],
)


@pytest.mark.parametrize("solve_rtol", [None, pytest.param(1e-6, marks=pytest.mark.gate)])
@pytest.mark.parametrize("lifetime", [np.inf, 2.0])
@pytest.mark.parametrize("shining", [False, True])
def test_excitons_are_neither_lost_nor_invented(lifetime: float, shining: bool, solve_rtol):
    """N = N₀ e^{−t/τ}, or N₀ + Gt without loss, to rounding of ~300 solves, 1e-12, however loosely they are solved."""
    film = Medium(ROUGH.diffusivity, lifetime, landscape=ROUGH.landscape)
    light = 0.3 * SPOT if shining else None
    found = evolve(film, SPOT, GRID, TIMES, generation=light, solve_rtol=solve_rtol, throw=False)
    number = found.density.sum((1, 2)) / SPOT.sum()
    assert found.stats["imbalance"] < 1e-12
    if not shining:
        np.testing.assert_allclose(number, jnp.exp(-TIMES / lifetime), rtol=1e-12)
    elif np.isinf(lifetime):
        np.testing.assert_allclose(number, 1 + 0.3 * TIMES, rtol=1e-12)
    else:  # what is lost depends on the stepping
        np.testing.assert_allclose(number, 0.6 + 0.4 * jnp.exp(-TIMES / lifetime), rtol=1e-4)


@pytest.mark.parametrize("net", [0.0, 1.0])
def test_balance_of_what_is_signed(net: float):
    """A mode that is negative in half of its cells, with no excitons in all: nothing to share a surplus by but |n|."""
    wave = jnp.sin(2 * GRID.y)[:, None] + net + jnp.zeros(GRID.shape)
    film = Medium(ROUGH.diffusivity, np.inf, landscape=ROUGH.landscape)
    number = evolve(film, wave, GRID, TIMES).density.sum((1, 2))
    np.testing.assert_allclose(number, jnp.sum(wave), rtol=0, atol=1e-12 * float(jnp.abs(wave).sum()))


def dense_modes(film: Medium):
    """Eigenvalues and eigenvectors of the operator as a matrix, and between n and its variable."""
    operator = assemble(film, GRID)
    unit = jnp.eye(SPOT.size).reshape(SPOT.size, *GRID.shape)
    rates, vectors = jnp.linalg.eigh(jax.vmap(operator.apply)(unit).reshape(SPOT.size, SPOT.size))
    modes = vectors.T @ operator.symmetric(SPOT).reshape(-1)
    return rates, lambda factors: operator.density((vectors @ (factors * modes)).reshape(GRID.shape))


@pytest.mark.gate
def test_tolerance_is_kept_over_a_landscape():
    """Frames and gates against every mode of the matrix decaying on its own; at 15 ns 6e-4 of the excitons are left."""
    rates, density = dense_modes(ROUGH)
    frames = evolve(ROUGH, SPOT, GRID, TIMES)
    exact = jnp.stack([density(jnp.exp(-rates * t)) for t in TIMES])
    assert share(frames.density, exact).max() <= frames.stats["error"] <= 1e-4
    edges = jnp.array([0.0, 0.02, 0.3, 2.0, 15.0])
    gates = time_integral(ROUGH, SPOT, GRID, edges=edges)
    exact = jnp.stack([density((jnp.exp(-rates * a) - jnp.exp(-rates * b)) / rates) for a, b in pairwise(edges)])
    assert share(gates.density, exact).max() <= gates.stats["error"] <= 1e-4


@pytest.mark.gate
def test_single_precision_in_time():
    """float32 in, float32 out, within rtol = 1e-4 of double precision and balanced to 1e-5."""
    film, spot, grid, times = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (ROUGH, SPOT, GRID, TIMES))
    found, exact = evolve(film, spot, grid, times), evolve(ROUGH, SPOT, GRID, TIMES, rtol=1e-6)
    assert found.density.dtype == jnp.float32
    assert share(found.density, exact.density).max() <= 1e-4
    number = np.asarray(found.density, float).sum((1, 2)) / np.asarray(spot, float).sum()
    np.testing.assert_allclose(number, np.exp(-TIMES / 2.0), rtol=1e-5)
    with pytest.raises(InputError, match="float64"):
        evolve(film, spot, grid, times, rtol=1e-6)


SOUND = {"density": 1.0, "reached": 2, "residual": 1e-8, "imbalance": 1e-9, "error": 9e-5}
VERDICTS = {
    "sound": ({}, Result.converged),
    "rounding": ({"density": -9e-4}, Result.converged),
    "negative": ({"density": -11e-4}, Result.negative),
    "imbalance": ({"imbalance": 1.1e-8}, Result.imbalance),
    "error": ({"error": 1.1e-4}, Result.error),
    "steps": ({"reached": 1}, Result.steps),
    "rest": ({"residual": 9e-7}, Result.converged),
    "iterations": ({"residual": 11e-7, "reached": 1}, Result.iterations),
    "not finite": ({"density": np.nan}, Result.not_finite),
    "on the way": ({"residual": np.nan, "reached": 1}, Result.not_finite),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts(name: str):
    """At rtol = 1e-4, solve_rtol = 1e-7: each code on its own side of its threshold."""
    change, expected = VERDICTS[name]
    case = {key: jnp.asarray(value) for key, value in (SOUND | change).items()}
    density = jnp.ones((2, 3, 4)).at[1, 1, 2].set(case.pop("density"))
    assert (
        int(verdict(density, jnp.ones((0, 2, 3, 4)), case.pop("reached"), jnp.ones(()), case, 1e-4, 1e-7)) == expected
    )


def test_a_march_ends_where_its_solves_fail():
    """120 kT up and down every three cells is beyond the preconditioner: one step of five solves is tried, not 1296."""
    landscape = 1500.0 * np.cos(2.0 * np.arange(24)[:, None] + 3.0 * np.arange(20)[None, :])
    film = Medium(0.05, 5.0, landscape=landscape)
    with pytest.warns(UserWarning, match="kT between neighbouring cells"):
        found = evolve(film, SPOT, GRID, TIMES, throw=False)
    assert int(found.result) == Result.iterations
    assert found.stats["iterations"] <= 5 * MAX_ITERATIONS
    assert jnp.isnan(found.density[-1]).all()
    with pytest.warns(UserWarning, match="kT"), pytest.raises(SolverError, match="linear solver"):
        evolve(film, SPOT, GRID, TIMES)


def test_numbers_out_of_range_on_the_way_are_told():
    """The sum of the densities overflows although none of them does."""
    found = evolve(ROUGH, SPOT * (1e307 / SPOT.max()), GRID, TIMES, throw=False)
    assert int(found.result) == Result.not_finite
    assert jnp.isnan(found.density[-1]).all()


def test_frames_that_were_not_reached_are_no_numbers():
    found = evolve(ROUGH, SPOT, GRID, TIMES, max_steps=3, throw=False)
    assert int(found.result) == Result.steps
    np.testing.assert_allclose(found.density[0], SPOT, rtol=1e-15)
    assert jnp.isnan(found.density[-1]).all()
    gates = time_integral(ROUGH, SPOT, GRID, edges=jnp.array([0.0, 0.5, 15.0]), max_steps=12, throw=False)
    assert int(gates.result) == Result.steps
    assert jnp.isfinite(gates.density[0]).all()
    assert jnp.isnan(gates.density[1]).all()


@pytest.mark.parametrize(
    ("name", "solve"),
    [
        ("evolve.initial", lambda bad: evolve(ROUGH, bad, GRID, TIMES)),
        ("evolve.generation", lambda bad: evolve(ROUGH, SPOT, GRID, TIMES, generation=bad)),
        ("time_integral.pulse", lambda bad: time_integral(ROUGH, bad, GRID, edges=TIMES)),
    ],
)
def test_sources_that_are_not_finite_are_refused(name: str, solve):
    with pytest.raises(InputError, match=rf"{name}=….*not finite at \(0, 3\)"):
        solve(SPOT.at[0, 3].set(jnp.nan))


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


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.gate), np.float64])
def test_decay_has_an_end(dtype):
    """After 300 lifetimes that differ from cell to cell e^−300 would remain, past 1e5 none at all; the way is short."""
    grid = Grid(GRID.shape, dtype(0.1))
    film = Medium(dtype(0.05), jnp.asarray(2.0 + ONES * jnp.sin(GRID.x)[None, :], dtype))
    found = evolve(film, SPOT.astype(dtype), grid, np.array([1.0, 6e2, 1e6], dtype))
    assert found.density[0].max() > 0.1
    assert not jnp.abs(found.density[1:]).max() > 1e-30 * SPOT.max()


@pytest.mark.parametrize("film", [Medium(0.05, 2.0), Medium(0.05 * ONES, 2.0)])
def test_traced_times_out_of_order_give_no_number(film: Medium):
    times = jnp.array([1.0, 0.5, 2.0])
    assert jnp.isnan(jax.jit(lambda t: evolve(film, SPOT, GRID, t).density)(times)).all()
    assert jnp.isnan(jax.jit(lambda t: time_integral(film, SPOT, GRID, edges=t).density)(times)).all()


@pytest.mark.gate
def test_reverse_memory_grows_as_the_root_of_the_steps():
    """From 64 to 1024 steps the compiled gradient may take 6 (√1024 − √64) = 144 maps more, not 960; 2√7 are needed."""
    grid = Grid((64, 64), 0.1)
    spot = gaussian_spot(grid, fwhm=0.4)
    times = jnp.array([0.5, 5.0])

    def maps(steps: int) -> float:
        def loss(d):
            return jnp.sum(evolve(Medium(d, 5.0), spot, grid, times, rtol=1e-3, max_steps=steps).density ** 2)

        compiled = jax.jit(jax.grad(loss)).lower(0.05 * jnp.ones(grid.shape)).compile()
        return compiled.memory_analysis().temp_size_in_bytes / (64 * 64 * 8)

    assert maps(1024) - maps(64) <= 144
