"""Raster scans: one adjoint solve sees what a batch of solves sees, and so do its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks.problems import half_planes, random_film
from excidiff.solver import (
    Emission,
    Grid,
    InputError,
    Medium,
    Result,
    SolverError,
    Spot,
    Surface,
    Traps,
    gaussian_spot,
    raster_scan,
    steady_state,
    time_integral,
)
from tests.test_derivatives import alone, along, check, direction

SHAPE = (7, 9)  # few enough cells for the preconditioner to be one dense level, which is quick to compile
GRID = Grid(SHAPE, (0.1, 0.12))
Y, X = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
POSITIONS = np.array([(x, y) for y in (-0.31, 0.2) for x in (-0.5, 0.05, 0.37)])
WEIGHTS = jnp.asarray(np.random.default_rng(5).standard_normal(len(POSITIONS)))
ROUGH = {
    "diffusivity": 0.05 * np.exp(0.3 * np.cos(2 * X + Y)),
    "anisotropy": 0.7,
    "lifetime": 5.0 * np.exp(0.2 * np.sin(3 * Y)),
    "landscape": 20.0 * np.cos(3 * X) * np.sin(2 * Y),
    "temperature": 295.0,
    "velocity": 0.2,
    "trapping_rate": 0.9 * np.exp(0.3 * np.sin(X - Y)),
    "release": 0.8,
    "trap_lifetime": 1.5,
    "radiative": 0.1 * np.exp(0.3 * np.cos(X)),
    "yield": 0.4,
    "spacing": 0.1,
    "fwhm": 0.3,
    "total": 2.0,
    "detector": 0.5 + 0.4 * np.cos(X - 2 * Y),
}


def film(p: dict) -> Medium:
    return Medium(
        (p["diffusivity"], p["anisotropy"] * p["diffusivity"]),
        p["lifetime"],
        p["landscape"],
        p["temperature"],
        Surface(left=p["velocity"], right=np.inf),
        traps=Traps.linear(p["trapping_rate"], p["release"], p["trap_lifetime"]),
        emission=Emission(p["radiative"], trap_yield=p["yield"]),
    )


def scan(p: dict, positions=POSITIONS, *, moving=False, **more):
    """A rough film with all that a linear one can have; `moving` asks for the batch by a detector that stays."""
    grid = Grid(SHAPE, (p["spacing"], 1.2 * p["spacing"]))
    detector = (lambda _: jnp.asarray(p["detector"])) if moving else p["detector"]
    spot = Spot(p["fwhm"], (0.02, -0.01), p["total"])
    return raster_scan(film(p), spot, grid, positions, detector=detector, rtol=1e-13, **more)


def score(signal) -> jax.Array:
    return jnp.vdot(WEIGHTS[: signal.shape[-1]], signal) + jnp.sum(signal**2)


def test_one_adjoint_solve_sees_what_a_batch_sees():
    """Value and gradient in every parameter to 1e-9; each says which way it took."""

    def seen(p, moving):
        found = scan(p, moving=moving)
        return score(found.signal), found

    p = jax.tree.map(jnp.asarray, ROUGH)
    both = jax.jit(jax.grad(seen, has_aux=True), static_argnums=1)
    (adjoint, one), (batch, many) = both(p, False), both(p, True)
    assert (one.path, many.path) == ("adjoint", "batch")
    assert "moves" in many.reason
    assert one.signal.shape == (len(POSITIONS),)
    assert many.stats["iterations"] > 3 * one.stats["iterations"] > 0
    assert_allclose(one.signal, many.signal, rtol=1e-9)
    for name in p:
        assert jnp.linalg.norm(adjoint[name] - batch[name]) <= 1e-9 * jnp.linalg.norm(batch[name]), name
        assert jnp.linalg.norm(batch[name]) > 0


@pytest.mark.gate
def test_derivatives_of_the_adjoint_scan():
    """Forward against reverse, Taylor slopes 2 ± 0.02, for every parameter alone and in five directions."""
    directions = alone(ROUGH) | {f"direction {seed}": direction(ROUGH, seed) for seed in range(5)}
    # the width's second order happens to be small here: by 20 % the third shows
    directions["fwhm"] = jax.tree.map(lambda step: 0.5 * step, directions["fwhm"])
    wrong, sharp = check(lambda p: score(scan(p).signal), ROUGH, directions)
    assert wrong == []
    assert set(sharp) >= set(ROUGH)


@pytest.mark.gate
@pytest.mark.parametrize("moving", [False, True])
def test_second_derivatives_of_a_scan(moving: bool):
    """Hessian-vector products against central differences of the gradient (ε² = 1e-8)."""
    p, d = jax.tree.map(jnp.asarray, ROUGH), direction(ROUGH, 3)
    gradient = jax.jit(jax.grad(lambda p: score(scan(p, POSITIONS[:2], moving=moving).signal)))
    product = jax.jit(lambda p: jax.jvp(gradient, (p,), (d,))[1])(p)
    up, down = (gradient(along(p, d, e)) for e in (1e-4, -1e-4))
    for name in p:
        expected = (up[name] - down[name]) / 2e-4
        assert jnp.linalg.norm(product[name] - expected) <= 1e-6 * jnp.linalg.norm(expected) + 1e-12, name


def test_derivative_in_the_positions_and_a_batch_of_scans():
    """Signals move with the positions as central differences do (1e-4: 1e-8), and vmap is one by one."""
    detector = ROUGH["detector"]

    def signal(positions, width):
        return raster_scan(Medium(0.05, 5.0), Spot(width), GRID, positions, detector=detector).signal

    assert_allclose(jax.jit(lambda x: signal(x, 0.3))(POSITIONS), signal(POSITIONS, 0.3), rtol=1e-12)
    tangent = jax.jvp(lambda x: signal(x, 0.3), (jnp.asarray(POSITIONS),), (jnp.ones_like(POSITIONS),))[1]
    difference = (signal(POSITIONS + 1e-4, 0.3) - signal(POSITIONS - 1e-4, 0.3)) / 2e-4
    assert_allclose(tangent, difference, rtol=1e-6)
    widths = jnp.array([0.2, 0.5])
    together = jax.jit(jax.vmap(lambda w: signal(POSITIONS, w)))(widths)
    assert_allclose(together, jnp.stack([signal(POSITIONS, w) for w in widths]), rtol=1e-10)


@pytest.mark.gate
@pytest.mark.parametrize("periodic", [(False, False), (True, True)])
def test_adjoint_and_batch_on_many_levels(periodic):
    """A rough film of 48 × 48 cells with 2 kT of landscape, whose map of importance is solved with 1/φ for φ."""
    problem = random_film(48, roughness=(0.6, 0.4, 0.3))
    grid = Grid(problem.grid.shape, problem.grid.spacing, periodic)
    detector = 0.1 + (np.asarray(grid.x)[None, :] > 0.3) * np.ones(grid.shape)
    positions = np.random.default_rng(2).uniform(-4.5, 4.5, (10, 2))
    one = raster_scan(problem.medium, Spot(0.8), grid, positions, detector=detector, rtol=1e-12)
    many = raster_scan(problem.medium, Spot(0.8), grid, positions, detector=lambda _: detector, rtol=1e-12)
    assert one.stats["iterations"] <= 20
    assert_allclose(one.signal, many.signal, rtol=1e-9)


def test_a_function_of_the_position_is_any_light():
    p = jax.tree.map(jnp.asarray, ROUGH)

    def light(centre):
        return gaussian_spot(GRID, fwhm=0.3, total=2.0, centre=(centre[0] + 0.02, centre[1] - 0.01))

    found = raster_scan(film(p), light, GRID, POSITIONS, detector=p["detector"], rtol=1e-13)
    assert found.path == "adjoint"
    assert_allclose(found.signal, scan(p).signal, rtol=1e-12)


def test_all_the_light_of_a_uniform_film():
    """Closed walls: each exciton gives k_r τ photons wherever it is made; without a law of emission it counts for τ."""
    found = raster_scan(Medium(0.05, 5.0, emission=Emission(0.02)), Spot(0.3, total=7.0), GRID, POSITIONS)
    assert_allclose(found.signal, 7.0 * 0.02 * 5.0, rtol=1e-12)
    found = raster_scan(Medium(0.05, 5.0), Spot(0.3, total=7.0), GRID, POSITIONS)
    assert_allclose(found.signal, 7.0 * 5.0, rtol=1e-12)


def test_a_border_of_nonradiative_loss_scanned_across():
    """Entry 6: all light of a point at x is k_r n(x) of the film lit evenly, by reciprocity; second order in h.

    512 cells over 6 µm with the shorter L of 0.2 µm: (h/L)²/12 = 3e-4 of what changes, held to 1e-3 of the whole.
    """
    problem = half_planes(512)
    radiative = 0.1
    medium = Medium(problem.medium.diffusivity, problem.medium.lifetime, emission=Emission(radiative))
    x = np.asarray(problem.grid.x)[::8]
    positions = np.stack([x, 0 * x], axis=1)
    found = raster_scan(medium, Spot(1e-3), problem.grid, positions)  # far narrower than a cell
    exact = radiative * problem.density()[0, ::8]
    assert_allclose(found.signal, exact, rtol=1e-3)
    assert found.signal[0] == pytest.approx(0.2, rel=1e-3)  # k_r τ of the darker half, far from the border


def test_a_detector_that_moves_with_the_spot():
    film = Medium(0.05, 5.0)

    def aperture(centre):
        return jnp.exp(-((GRID.x[None, :] - centre[0]) ** 2 + (GRID.y[:, None] - centre[1]) ** 2) / 0.08)

    found = raster_scan(film, Spot(0.3), GRID, POSITIONS, detector=aperture)
    for signal, centre in zip(found.signal, POSITIONS, strict=True):
        density = steady_state(film, gaussian_spot(GRID, fwhm=0.3, centre=centre), GRID).density
        assert_allclose(signal, GRID.cell_area * jnp.sum(aperture(centre) * density), rtol=1e-12)


def test_a_nonlinear_film_takes_a_batch():
    law = Emission(0.02, bimolecular=0.05)
    film = Medium(0.05 + 0.01 * X, 5.0, annihilation=0.1, emission=law)
    found = raster_scan(film, Spot(0.3, total=3.0), GRID, POSITIONS)
    assert found.path == "batch"
    assert "proportional" in found.reason
    for signal, centre in zip(found.signal, POSITIONS, strict=True):
        light = gaussian_spot(GRID, fwhm=0.3, total=3.0, centre=centre)
        assert_allclose(signal, GRID.cell_area * steady_state(film, light, GRID).emission.sum(), rtol=1e-12)


EDGES = np.array([0.0, 1.0, 4.0])


@pytest.mark.parametrize(
    ("film", "agree"),
    [
        (Medium(0.05, 5.0), 1e-12),
        pytest.param(Medium(0.05 + 0.01 * X, 5.0 + Y), 2e-4, marks=pytest.mark.gate),
    ],
)
def test_intervals_after_a_pulse(film: Medium, agree: float):
    """Without traps and landscape one adjoint serves them, too: to rounding or to the steps' tolerance of 1e-4."""
    detector = jnp.asarray(ROUGH["detector"])
    one = raster_scan(film, Spot(0.3), GRID, POSITIONS, detector=detector, edges=EDGES)
    many = raster_scan(film, Spot(0.3), GRID, POSITIONS, detector=lambda _: detector, edges=EDGES)
    assert (one.path, many.path) == ("adjoint", "batch")
    assert one.signal.shape == (2, len(POSITIONS))
    assert_allclose(one.signal, many.signal, rtol=agree)


@pytest.mark.gate
@pytest.mark.parametrize(
    "more",
    [{"annihilation": 0.1}, {"landscape": 5 * X}, {"traps": Traps.linear(0.3, 0.1, 4.0)}],
    ids=lambda more: next(iter(more)),
)
def test_intervals_in_other_films_take_a_batch(more: dict):
    """The same steps in two programs: to what their solves, converged to 1e-7 of a step, round differently, 1e-9."""
    film = Medium(0.05, 5.0, **more)
    found = raster_scan(film, Spot(0.3), GRID, POSITIONS[:1], edges=EDGES)
    assert found.path == "batch"
    pulse = gaussian_spot(GRID, fwhm=0.3, centre=POSITIONS[0])
    exact = time_integral(film, pulse, GRID, edges=EDGES).density.sum((1, 2)) * GRID.cell_area
    assert_allclose(found.signal[:, 0], exact, rtol=1e-9)


def test_traps_that_only_keep_shine_no_light():
    """They hold without end and emit nothing: the light is that of the free excitons."""
    film = Medium(0.05, 5.0, traps=Traps.linear(0.3), emission=Emission(0.02, trap_yield=0.5))
    found = raster_scan(film, Spot(0.3), GRID, POSITIONS)
    assert_allclose(found.signal, 0.02 / (1 / 5.0 + 0.3), rtol=1e-12)
    emission = steady_state(film, gaussian_spot(GRID, fwhm=0.3), GRID).emission
    assert_allclose(emission.sum() * GRID.cell_area, 0.02 / (1 / 5.0 + 0.3), rtol=1e-12)


def test_a_failed_scan_says_why():
    """60 kT up and down every three cells: an error with the residual. No loss, found under jit: NaN."""
    grid = Grid((20, 17), 0.1)
    landscape = 760.0 * np.cos(2.0 * np.arange(20)[:, None] + 3.0 * np.arange(17)[None, :])
    with pytest.warns(UserWarning, match="kT between"), pytest.raises(SolverError, match="residual"):
        raster_scan(Medium(0.05, 5.0, landscape), Spot(0.3), grid, POSITIONS)
    traced = jax.jit(lambda tau: raster_scan(Medium(0.05, tau), Spot(0.3), GRID, POSITIONS).signal)(jnp.inf)
    assert jnp.isnan(traced).all()


def test_only_the_failed_positions_of_a_batch_are_lost():
    """Where only traps of 25 excitons per µm² and ns remove anything, more light has no steady state."""
    film = Medium(0.05, np.inf, traps=Traps(500.0, 2e-3, 0.01, 20.0))
    positions = np.array([(0.1, 0.0), (0.2, 0.0)])

    def light(position):
        return jnp.full(GRID.shape, jnp.where(position[0] > 0.15, 26.0, 20.0))

    found = raster_scan(film, light, GRID, positions, throw=False)
    with pytest.raises(SolverError):
        raster_scan(film, light, GRID, positions)
    assert found.result != Result.converged
    assert np.isfinite(found.signal).tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"spot": 0.3}, "spot"),
        ({"spot": Spot(-0.3)}, "fwhm"),
        ({"spot": lambda _: jnp.ones(3)}, "spot"),
        ({"positions": [0.0, 0.0]}, "positions"),
        ({"positions": [(0.0, 0.0), (0.0, 0.6)]}, "outside"),
        ({"positions": [(np.nan, 0.0)]}, "outside"),
        ({"detector": jnp.ones((2, 2))}, "detector"),
        ({"detector": lambda _: jnp.ones(3)}, "detector"),
        ({"edges": [1.0]}, "edges"),
        ({"medium": Medium(0.05, np.inf)}, "no steady state"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: dict, says: str):
    usual = {"medium": Medium(0.05, 5.0), "spot": Spot(0.3), "grid": GRID, "positions": POSITIONS}
    with pytest.raises(InputError, match=says):
        raster_scan(**(usual | arguments))
