"""The steady state: the exact and the general path agree, odd grids work, and failures are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import problems
from excidiff.solver import Grid, InputError, Medium, Result, SolverError, Surface, evolve, gaussian_spot, steady_state
from excidiff.solver.medium import BOLTZMANN, check_medium
from excidiff.solver.steady import check_losses, verdict

GRID = Grid((20, 17), 0.1)
SPOT = gaussian_spot(GRID, fwhm=0.4)


@pytest.mark.parametrize(
    ("shape", "periodic"),
    [
        ((1, 67), (False, False)),
        ((23, 37), (True, False)),
        ((23, 37), (False, True)),
        ((23, 37), (True, True)),
        ((2, 3), (True, True)),
        ((64, 1), (False, False)),
    ],
)
def test_transforms_and_multigrid_agree(shape, periodic):
    """The same film as numbers and as maps, on odd, prime, one-row and periodic grids; solves leave 1e-10."""
    grid = Grid(shape, (0.1, 0.07), periodic)
    spot = gaussian_spot(grid, fwhm=0.4, centre=(0.0, 0.0))
    exact = steady_state(Medium((0.05, 0.02), 5.0), spot, grid)
    found = steady_state(Medium((0.05 * np.ones(shape), 0.02), 5.0), spot, grid, rtol=1e-10)
    np.testing.assert_allclose(found.density, exact.density, rtol=0, atol=1e-8 * exact.density.max())
    assert found.stats["imbalance"] < 1e-10
    assert int(exact.stats["iterations"]) == 0 < int(found.stats["iterations"])


@pytest.mark.parametrize(
    "surface", [Surface(left=np.inf), Surface(np.inf, np.inf, 0.0, np.inf), Surface(bottom=np.inf)]
)
def test_quenchers_by_structure_and_by_value(surface: Surface):
    """Infinity as a Python number goes through the transforms, as an array through multigrid: the same film."""
    exact = steady_state(Medium(0.05, 5.0, surface=surface), SPOT, GRID).density
    values = {side: jnp.asarray(np.inf) for side in surface.quenched}
    found = steady_state(Medium(0.05, 5.0, surface=Surface(**values)), SPOT, GRID, rtol=1e-10).density
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8 * exact.max())


@pytest.mark.parametrize(
    "n", [256, pytest.param(512, marks=pytest.mark.gate), pytest.param(1024, marks=pytest.mark.gate)]
)
def test_iterations_do_not_grow_with_the_grid(n: int):
    """P2, rough D, τ and U: at most 12 iterations to 1e-8 at every size."""
    problem = problems.random_film(n)
    solution = steady_state(problem.medium, problem.source, problem.grid, rtol=1e-8)
    assert int(solution.stats["iterations"]) <= 12
    assert solution.stats["imbalance"] <= 1e-8


@pytest.mark.parametrize("periodic", [(False, False), pytest.param((True, True), marks=pytest.mark.gate)])
def test_iterations_do_not_grow_with_anisotropy(periodic):
    """Cells and diffusivities up to 100:1 either way, 10⁴ and 100 in what they conduct: at most 12; as a batch, too."""
    y, x = np.meshgrid(*(2 * np.pi * (np.arange(n) + 0.5) / n for n in (48, 40)), indexing="ij")
    d = 0.05 * np.exp(0.4 * np.sin(x) * np.cos(y))
    spot = gaussian_spot(Grid(d.shape, 0.1, periodic), fwhm=0.6)

    @jax.jit
    def solve(spacing_y, spacing_x, slow):
        grid, film = Grid(d.shape, (spacing_y, spacing_x), periodic), Medium((d, slow * d), 5.0, 10.0 * np.sin(x + y))
        found = steady_state(film, spot, grid)
        return found.stats["iterations"], found.density

    ways = jnp.array([(0.1, 0.1, 1.0), (0.1, 0.1, 0.1), (0.1, 0.1, 0.01), (0.1, 0.1, 100.0)])
    ways = jnp.concatenate([ways, jnp.array([(1.0, 0.01, 1.0), (0.01, 1.0, 1.0), (0.3, 0.03, 1.0)])])
    found = [solve(*way) for way in ways]
    assert max(int(iterations) for iterations, _ in found) <= 12
    if any(periodic):
        together = jax.vmap(solve)(*ways.T)[1]
        for batched, (_, alone) in zip(together, found, strict=True):
            np.testing.assert_allclose(batched, alone, rtol=0, atol=1e-6 * float(alone.max()))


def test_single_precision_follows_its_inputs():
    """float32 arrays in, float32 density out, balanced to 1e-4; a tolerance it cannot keep is refused."""
    ones = np.ones(GRID.shape, np.float32)
    grid = Grid(GRID.shape, jnp.float32(0.1))
    source = jnp.asarray(SPOT, jnp.float32)
    solution = steady_state(Medium(0.05 * ones, jnp.float32(5.0)), source, grid)
    exact = steady_state(Medium(0.05, 5.0), SPOT, GRID)
    assert solution.density.dtype == jnp.float32
    assert solution.stats["imbalance"] < 1e-4
    np.testing.assert_allclose(solution.density, exact.density, rtol=0, atol=1e-4 * exact.density.max())
    with pytest.raises(InputError, match="float64"):
        steady_state(Medium(0.05 * ones, jnp.float32(5.0)), source, grid, rtol=1e-8)


@pytest.mark.parametrize("energy", [None, 3.0])
@pytest.mark.parametrize("lifetime", [pytest.param(30.0, marks=pytest.mark.gate), 300.0])
def test_single_precision_on_a_fine_grid(lifetime: float, energy: float | None):
    """L/h = 47 and 150, D/h² up to 2e4 losses: float32 is within 5e-5 of float64.

    Rounding the density leaves a residual of 1e-3 to 1e-2, which is no failure; to round off the losses would be.
    """
    n = 64
    x = np.linspace(0, 6, n)
    d = 0.03 * np.exp(0.3 * np.sin(x)[:, None] * np.cos(x)[None, :])
    u = None if energy is None else energy * 25.4 * np.cos(x)[:, None] * np.sin(x)[None, :]
    source = np.asarray(gaussian_spot(Grid((n, n), 0.02), fwhm=0.3), np.float32)

    def density(dtype):
        film = Medium(
            d.astype(np.float32).astype(dtype), lifetime, None if u is None else u.astype(np.float32).astype(dtype)
        )
        return steady_state(film, source.astype(dtype), Grid((n, n), dtype(np.float32(0.02)))).density

    single, double = density(np.float32), density(np.float64)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=5e-5)


def test_cells_where_nothing_moves():
    """A wall of D = 0 with one gap: excitons beyond it come through the gap only, none appear in the wall."""
    d = np.full(GRID.shape, 0.05)
    d[:, 12] = 0.0
    spot = gaussian_spot(GRID, fwhm=0.2)  # all but 1e-6 of it falls before the wall
    sealed = steady_state(Medium(d, 5.0), spot, GRID).density
    assert jnp.abs(sealed[:, 13:]).max() < 1e-3 * sealed.max()
    d[4, 12] = 0.05
    leaky = steady_state(Medium(d, 5.0), spot, GRID).density
    row = np.asarray(leaky[:, 14])
    assert row.argmax() == 4
    assert leaky[:, 13:].sum() > 2 * sealed[:, 13:].sum()


def test_without_loss_there_is_no_steady_state():
    with pytest.raises(InputError, match="no steady state"):
        steady_state(Medium(0.05, np.inf), SPOT, GRID)
    traced = jax.jit(lambda tau: steady_state(Medium(0.05, tau), SPOT, GRID).density)(jnp.inf)
    assert jnp.isnan(traced).all()
    with pytest.raises(InputError, match="no steady state"):
        steady_state(Medium(0.05, np.inf, surface=Surface(left=jnp.array(0.0))), SPOT, GRID)
    with pytest.raises(InputError, match="no steady state"):
        steady_state(Medium(np.zeros(GRID.shape), np.inf, surface=Surface(left=np.inf)), SPOT, GRID)
    quenched = steady_state(Medium(0.05, np.inf, surface=Surface(left=np.inf)), SPOT, GRID)
    assert int(quenched.result) == Result.converged


SOUND = {"density": 1.0, "residual": 1e-9, "imbalance": 1e-9}
VERDICTS = {
    "sound": ({}, Result.converged),
    "rounding": ({"density": -9e-8}, Result.converged),
    "negative": ({"density": -11e-8}, Result.negative),
    "imbalance": ({"imbalance": 1.1e-8}, Result.imbalance),
    "rest": ({"residual": 9e-8}, Result.converged),
    "iterations": ({"residual": 11e-8}, Result.iterations),
    "not finite": ({"density": np.nan, "residual": np.nan, "imbalance": np.nan}, Result.not_finite),
    "the cause first": ({"density": -1.0, "residual": 1.0, "imbalance": 1.0}, Result.iterations),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts(name: str):
    """At rtol = 1e-8, beside a largest density of 1: each code on its own side of its threshold."""
    change, expected = VERDICTS[name]
    case = {key: jnp.asarray(value) for key, value in (SOUND | change).items()}
    density = jnp.ones((3, 4)).at[1, 2].set(case.pop("density"))
    assert int(verdict(density, jnp.ones((3, 4)), case, 1e-8)) == expected


@pytest.mark.parametrize(("imbalance", "expected"), [(0.9e-4, Result.converged), (1.1e-4, Result.imbalance)])
def test_single_precision_is_held_to_its_gate(imbalance: float, expected: Result):
    stats = {"residual": jnp.float32(1e-6), "imbalance": jnp.float32(imbalance)}
    ones = jnp.ones((3, 4), jnp.float32)
    assert int(verdict(ones, ones, stats, 1e-5)) == expected


def test_stats_are_constants():
    """Gradients of what a solve reports are zero, not those of its rounding."""

    def reported(d):
        stats = steady_state(Medium(d, 5.0), SPOT, GRID).stats
        return stats["residual"] + stats["imbalance"]

    assert not jax.grad(reported)(0.05 * jnp.ones(GRID.shape)).any()


def test_gradient_at_a_wall():
    """D = 0 in one cell: the derivative there is that of opening it, (4f(ε) − 3f(0) − f(2ε))/2ε.

    From D = h²/8τ = 2.5e-4 on the cell empties sideways as fast as by itself; at ε = 1e-7 that leaves (ε/D)² = 2e-7.
    """
    d = jnp.full(GRID.shape, 0.05).at[9, 8].set(0.0)

    @jax.jit
    def loss(d):
        return jnp.sum(steady_state(Medium(d, 5.0), SPOT, GRID, rtol=1e-13).density ** 2)

    closed, ajar, twice = (loss(d.at[9, 8].set(opening)) for opening in (0.0, 1e-7, 2e-7))
    opened = (4 * ajar - 3 * closed - twice) / 2e-7
    np.testing.assert_allclose(jax.grad(loss)(d)[9, 8], opened, rtol=1e-6)


def test_single_precision_spans_less():
    """200 kT in steps of one: beyond e^(U/2kT) in float32, within reach of float64."""
    grid = Grid((1, 201), 0.1)
    landscape = 295.0 * BOLTZMANN * np.arange(201.0)[None, :]
    check_medium(Medium(0.05, 5.0, landscape), grid)
    with pytest.raises(InputError, match="200 kT, more than 150 kT"):
        check_medium(Medium(0.05, 5.0, landscape.astype(np.float32)), grid)


def test_a_failed_solve_says_why():
    """60 kT up and down every three cells is beyond the preconditioner: an error with the residual, NaN under jit."""
    landscape = 760.0 * np.cos(2.0 * np.arange(20)[:, None] + 3.0 * np.arange(17)[None, :])
    film = Medium(0.05, 5.0, landscape=landscape)
    with pytest.warns(UserWarning, match="kT between neighbouring cells"):
        solution = steady_state(film, SPOT, GRID, throw=False)
    assert int(solution.result) == Result.iterations
    with pytest.warns(UserWarning, match="refine"), pytest.raises(SolverError, match="residual"):
        steady_state(film, SPOT, GRID)
    traced = jax.jit(lambda u: steady_state(Medium(0.05, 5.0, landscape=u), SPOT, GRID).density)(landscape)
    assert jnp.isnan(traced).all()


BAD = {
    "diffusivity": ({"diffusivity": 0.0, "lifetime": 5.0}, "expected positive"),
    "negative map": ({"diffusivity": -np.ones(GRID.shape), "lifetime": 5.0}, r"-1.0 at \(0, 0\)"),
    "nan": ({"diffusivity": np.nan, "lifetime": 5.0}, "nan; expected positive"),
    "infinite map": ({"diffusivity": np.full(GRID.shape, np.inf), "lifetime": 5.0}, r"inf at \(0, 0\)"),
    "pair": ({"diffusivity": (0.1, -0.1), "lifetime": 5.0}, "diffusivity.*-0.1; expected positive"),
    "pair's shape": ({"diffusivity": (0.1, np.ones((3, 4))), "lifetime": 5.0}, r"diffusivity.*\(3, 4\) on a grid"),
    "three": ({"diffusivity": (0.1, 0.1, 0.1), "lifetime": 5.0}, "pair"),
    "lifetime map": ({"diffusivity": 0.1, "lifetime": np.eye(20, 17)}, r"lifetime.*0.0 at \(0, 1\)"),
    "lifetime nan": ({"diffusivity": 0.1, "lifetime": np.full(GRID.shape, np.nan)}, r"lifetime.*nan at \(0, 0\)"),
    "lifetime's shape": ({"diffusivity": 0.1, "lifetime": np.ones((3, 4))}, r"lifetime.*\(3, 4\) on a grid"),
    "landscape's shape": ({"diffusivity": 0.1, "lifetime": 5.0, "landscape": np.ones((3, 4))}, r"landscape.*\(3, 4\)"),
    "cold": ({"diffusivity": 0.1, "lifetime": 5.0, "temperature": 0.0}, "temperature.*0.0; expected positive"),
    "colder": ({"diffusivity": 0.1, "lifetime": 5.0, "temperature": -5.0}, "temperature.*-5.0"),
    "lifetime": ({"diffusivity": 0.1, "lifetime": -1.0}, "lifetime"),
    "shape": ({"diffusivity": np.ones((3, 4)), "lifetime": 5.0}, r"\(3, 4\) on a grid of shape \(20, 17\)"),
    "not finite": ({"diffusivity": 0.1, "lifetime": 5.0, "landscape": np.full(GRID.shape, np.nan)}, "expected finite"),
    "flat landscape": ({"diffusivity": 0.1, "lifetime": 5.0, "landscape": 5.0}, "moves nothing"),
    "range": ({"diffusivity": 0.1, "lifetime": 5.0, "landscape": 4e4 * np.eye(20, 17)}, "1200 kT"),
}


def test_an_island_without_loss_is_named_if_light_falls_on_it():
    """A ring of D = 0 around cells of endless lifetime; a gap lets them out, and so may a periodic axis."""
    d, lifetime = np.full(GRID.shape, 0.05), np.full(GRID.shape, 5.0)
    d[4:9, 4:9], lifetime[5:8, 5:8] = 0.0, np.inf
    d[5:8, 5:8] = 0.05
    dark = SPOT.at[5:8, 5:8].set(0.0)
    check_losses(Medium(d, lifetime), dark, GRID)
    with pytest.raises(InputError, match=r"light falls on cell \(6, 6\)"):
        steady_state(Medium(d, lifetime), dark.at[6, 6].set(1.0), GRID)
    d[4, 6] = 0.05
    assert int(steady_state(Medium(d, lifetime), dark.at[6, 6].set(1.0), GRID).result) == Result.converged
    column = np.full((3, 5), 0.05)
    column[:, 1], ring = 0.0, Grid((3, 5), 0.1, (False, True))
    endless = np.full((3, 5), np.inf)
    endless[:, 4] = 5.0
    assert int(steady_state(Medium(column, endless), jnp.zeros((3, 5)).at[0, 0].set(1.0), ring).result) == 0
    with pytest.raises(InputError, match=r"cell \(0, 0\)"):
        steady_state(Medium(column, endless), jnp.zeros((3, 5)).at[0, 0].set(1.0), Grid((3, 5), 0.1))


@pytest.mark.parametrize("name", BAD)
def test_bad_media_are_refused(name: str):
    arguments, message = BAD[name]
    with pytest.raises(InputError, match=message):
        steady_state(Medium(**arguments), SPOT, GRID)


def test_bad_sources_and_grids_are_refused():
    with pytest.raises(InputError, match="shape"):
        steady_state(Medium(0.1, 5.0), SPOT[1:], GRID)
    with pytest.raises(InputError, match=r"not finite at \(0, 3\)"):
        steady_state(Medium(0.1, 5.0), SPOT.at[0, 3].set(jnp.nan), GRID)
    with pytest.raises(InputError, match="periodic"):
        steady_state(Medium(0.1, 5.0, surface=Surface(left=1.0)), SPOT, Grid(GRID.shape, 0.1, (False, True)))
    with pytest.raises(InputError, match="lies outside"):
        gaussian_spot(GRID, fwhm=0.4, centre=(3.0, 0.0))
    with pytest.raises(InputError, match="positive"):
        Grid((3, 3), -0.1)
    with pytest.raises(InputError, match="velocity"):
        Surface(left=-1.0)


UNUSABLE = {
    "spacing=None": lambda: Grid((2, 3), None),
    "spacing='0.1'": lambda: Grid((2, 3), "0.1"),
    "left=…": lambda: Surface(left=None),
    "got 'a'": lambda: Medium("a", 3.0),
    "may be zero": lambda: Medium((0.05, 0.0), 3.0),
    "real numbers": lambda: steady_state(Medium(0.05, 3.0), SPOT * 1j, GRID),
    "centre=None": lambda: gaussian_spot(GRID, fwhm=0.4, centre=None),
    "fwhm='a'": lambda: gaussian_spot(GRID, fwhm="a"),
    "rtol='a'": lambda: steady_state(Medium(0.05, 3.0), SPOT, GRID, rtol="a"),
    "solve_rtol='a'": lambda: evolve(Medium(0.05, 3.0), SPOT, GRID, [1.0], solve_rtol="a"),
    "max_steps=0": lambda: evolve(Medium(0.05, 3.0), SPOT, GRID, [1.0], max_steps=0),
    "got None": lambda: evolve(Medium(0.05, 3.0), SPOT, GRID, None),
}


@pytest.mark.parametrize("message", UNUSABLE)
def test_what_is_no_number_is_refused_by_name(message: str):
    with pytest.raises(InputError, match=message):
        UNUSABLE[message]()


def test_lists_are_taken_as_arrays_and_may_hold_traced_numbers():
    """A list of two rows is a map, not a pair (Dx, Dy); lists of traced times, light and maps have derivatives."""
    grid, light = Grid((2, 3), 0.1), [[1, 2, 3], [1, 2, 3]]
    film = Medium([[0.05, 0.04, 0.03], [0.05, 0.06, 0.05]], 3.0)
    assert np.shape(film.diffusivity) == (2, 3)
    assert evolve(film, light, grid, [0, 1]).density.shape == (2, 2, 3)

    def total(x):
        film = Medium([[x, 0.04, 0.03], [0.05, 0.06, 0.05]], 3.0)
        return evolve(film, [[x, 2, 3], [1, 2, 3]], grid, [0.0, x]).density.sum()

    assert jnp.isfinite(jax.grad(total)(0.2))


def test_the_closing_face_of_a_periodic_axis_may_be_steep():
    """40 meV a cell are 1.6 kT; the way back from 80 to 0 is 3.1 kT, and there is one only on a periodic axis."""
    film = Medium(0.05, 3.0, landscape=np.array([[0.0, 40.0, 80.0]]))
    assert int(steady_state(film, np.ones((1, 3)), Grid((1, 3), 0.1)).result) == 0
    with pytest.warns(UserWarning, match=r"3\.1 kT"):
        steady_state(film, np.ones((1, 3)), Grid((1, 3), 0.1, (False, True)))


@pytest.mark.parametrize("fwhm", [0.02, 0.05, 0.0565, 0.06, 0.16, 2.0])
def test_a_periodic_axis_sees_every_image_of_a_spot(fwhm: float):
    """Against a sum of 801 images; σ passes 0.3 periods, where images give way to waves, at a FWHM of 0.0565."""
    spot = gaussian_spot(Grid((1, 8), 0.01, (False, True)), fwhm=fwhm, centre=(0.013, 0.0))[0]
    edges, sigma = (np.arange(9) - 4) * 0.01 - 0.013, fwhm / np.sqrt(8 * np.log(2))
    images = sum(np.diff(jax.scipy.special.erf((edges - 0.08 * i) / sigma / np.sqrt(2))) for i in range(-400, 401))
    np.testing.assert_allclose(spot / spot.sum(), images / images.sum(), rtol=1e-12)
