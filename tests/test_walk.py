"""The random walk against exact laws. Budgets are statistical: with the seeds fixed here, |z| ≤ 4 standard errors.

A correct walk exceeds that once in 16 000 cases; a drift, a wall or a rate that is wrong by 1 % does so in most.
"""

import jax
import numpy as np
import pytest

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium, Surface, thermal_energy
from excidiff.solver.solution import InputError
from excidiff.solver.source import FWHM, Spot
from excidiff.solver.walks.photons import Photons
from excidiff.solver.walks.walk import walk

D, TAU = 0.04, 5.0
L2 = D * TAU
BOX = Grid(shape=(120, 140), spacing=0.1)


def z_of_mean(sample: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of `sample` lies from `expected`."""
    return (sample.mean() - expected) / (sample.std(ddof=1) / np.sqrt(sample.size))


def z_of_share(count: int, total: int, expected: float) -> float:
    """How many standard errors a count lies from its binomial expectation."""
    return (count / total - expected) / np.sqrt(expected * (1 - expected) / total)


def test_moments_and_times_of_a_uniform_film():
    """⟨x⟩ = centre, ⟨(x − centre)²⟩ = s² + 2L² per axis, ⟨t⟩ = τ, ⟨t (x−centre)²⟩ = τ(s² + 4L²): entries 5 and 7.

    The walls are 11 L away: they change ⟨x²⟩ by less than 1e-3 of a standard error.
    """
    centre, fwhm = (0.7, -0.4), 0.5
    photons = walk(Medium(D, TAU), Spot(fwhm, centre), BOX, excitons=100_000, seed=1)
    s2 = (fwhm / FWHM) ** 2
    assert photons.x.size == 100_000
    assert (photons.quenched, photons.alive) == (0, 0)
    assert abs(z_of_mean(photons.time, TAU)) < 4
    for place, middle in ((photons.x, centre[0]), (photons.y, centre[1])):
        assert abs(z_of_mean(place, middle)) < 4
        assert abs(z_of_mean((place - middle) ** 2, s2 + 2 * L2)) < 4
        assert abs(z_of_mean(photons.time * (place - middle) ** 2, TAU * (s2 + 4 * L2))) < 4


def test_anisotropy():
    photons = walk(Medium((D, D / 4), TAU), Spot(0.3), BOX, excitons=50_000, seed=2)
    s2 = (0.3 / FWHM) ** 2
    assert abs(z_of_mean(photons.x**2, s2 + 2 * L2)) < 4
    assert abs(z_of_mean(photons.y**2, s2 + L2 / 2)) < 4


@pytest.mark.parametrize("stepped", [False, True], ids=["exact", "stepped"])
@pytest.mark.parametrize("periodic", [False, True], ids=["closed", "periodic"])
def test_walls_and_wrapping(periodic: bool, stepped: bool):
    """Eigenmodes of a box of width W = 2 L: ⟨cos k(x + W/2)⟩ = cos k(c + W/2) e^{−k²s²/2}/(1 + k²L²).

    k = π/W with closed walls, 2π/W around a ring. The spot's tail beyond the wall (6 s away) is 2e-9.
    """
    width, centre, fwhm = 2 * np.sqrt(L2), 0.15, 0.1
    grid = Grid(shape=(1, 8), spacing=width / 8, periodic=(False, periodic))
    k = np.pi / width * (2 if periodic else 1)
    medium = Medium(np.full(grid.shape, D), TAU) if stepped else Medium(D, TAU)
    photons = walk(medium, Spot(fwhm, (centre, 0.0)), grid, excitons=20_000, seed=3)
    mode = np.cos(k * (photons.x + width / 2))
    expected = np.cos(k * (centre + width / 2)) * np.exp(-((k * fwhm / FWHM) ** 2) / 2) / (1 + k**2 * L2)
    assert np.abs(photons.x).max() <= width / 2
    assert abs(z_of_mean(mode, expected)) < 4


@pytest.mark.parametrize("velocity", [np.inf, 0.05, 0.5])
def test_surface_takes_its_share(velocity: float):
    """Uniform generation in 0 < x < W with L²n″ = n − Gτ, D n′ = S n at x = 0, closed at W:

    share lost = (L/W) tanh(W/L) / (1 + (D/SL) tanh(W/L)), which also holds for S = ∞.
    """
    length, width = np.sqrt(L2), 0.8
    grid = Grid(shape=(1, 16), spacing=width / 16)
    tanh = np.tanh(width / length)
    share = length / width * tanh / (1 + D / (velocity * length) * tanh)
    for side in ("left", "right"):
        medium = Medium(D, TAU, surface=Surface(**{side: velocity}))
        photons = walk(medium, np.ones(grid.shape), grid, excitons=40_000, seed=4)
        assert photons.x.size + photons.quenched == 40_000
        assert abs(z_of_share(photons.quenched, 40_000, share)) < 4
        away = photons.x.mean() if side == "left" else -photons.x.mean()
        assert away > 0


def test_two_quenchers_across_y():
    """Between two perfect quenchers W apart, uniform generation: share lost = (2L/W) tanh(W/2L)."""
    length, width = np.sqrt(L2), 1.0
    grid = Grid(shape=(10, 1), spacing=width / 10)
    medium = Medium(D, np.inf, surface=Surface(bottom=np.inf, top=np.inf))
    photons = walk(medium, np.ones(grid.shape), grid, excitons=20_000, seed=5)
    assert (photons.quenched, photons.x.size) == (20_000, 0)
    photons = walk(Medium(D, TAU, surface=medium.surface), np.ones(grid.shape), grid, excitons=40_000, seed=5)
    assert abs(z_of_share(photons.quenched, 40_000, 2 * length / width * np.tanh(width / (2 * length)))) < 4


def test_harmonic_trap():
    """Entry 11: in U = ½Kx² the variance at t is (kT/K)(1 − e^{−2γt}) + s²e^{−2γt}, γ = DK/kT; the photons average it
    over t: v∞ + (s² − v∞)/(1 + 2γτ), v∞ = kT/K. Linear steps of Euler–Maruyama widen it by at most γ·step/2 = 0.25 %,
    linear interpolation of U between cells by h²/12v∞ = 0.2 %: together 0.2 standard errors of the sample."""
    grid = Grid(shape=(60, 60), spacing=0.05)
    stiffness, width = 0.1, 0.1  # v∞ in µm², s in µm
    x, y = np.meshgrid(np.asarray(grid.x), np.asarray(grid.y))
    unit = float(thermal_energy(Medium(D, TAU)))
    medium = Medium(D, TAU, landscape=unit * (x**2 + y**2) / (2 * stiffness))
    gamma = D / stiffness
    photons = walk(medium, Spot(width * FWHM), grid, excitons=10_000, seed=6, step=0.005 / gamma)
    expected = stiffness + (width**2 - stiffness) / (1 + 2 * gamma * TAU)
    assert abs(z_of_mean(photons.x**2, expected)) < 4
    assert abs(z_of_mean(photons.y**2, expected)) < 4


def rough_film(grid: Grid) -> tuple[Medium, np.ndarray]:
    """A film whose D, τ and U all vary, and the generation e^{−U/kT}/τ that keeps n ∝ e^{−U/kT}: no net flux at all."""
    x, y = np.meshgrid(np.asarray(grid.x), np.asarray(grid.y))
    k = 2 * np.pi / float(grid.extent[1])
    energy = 0.8 * np.cos(k * x) + 0.5 * np.sin(k * (x + y))  # in kT
    diffusivity = 0.1 * np.exp(0.7 * np.sin(k * y) + 0.5 * np.cos(k * x))
    lifetime = 3.0 * np.exp(0.5 * np.cos(k * (x - y)))
    medium = Medium(diffusivity, lifetime)
    return Medium(diffusivity, lifetime, energy * float(thermal_energy(medium))), np.exp(-energy) / lifetime


def chi_square(photons: Photons, grid: Grid, expected: np.ndarray, blocks: int) -> float:
    """z of χ² over blocks × blocks coarse cells, against the expected shares per cell."""
    half = [float(width) / 2 for width in grid.extent]
    edges = [np.linspace(-h, h, blocks + 1) for h in half]
    counts = np.histogram2d(photons.y, photons.x, bins=edges)[0]
    rows, columns = (n // blocks for n in grid.shape)
    shares = expected.reshape(blocks, rows, blocks, columns).sum(axis=(1, 3)) / expected.sum()
    mean = counts.sum() * shares
    freedom = blocks**2 - 1
    return (np.sum((counts - mean) ** 2 / mean) - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("periodic", [False, True], ids=["closed", "periodic"])
def test_detailed_balance_of_a_rough_film(periodic: bool):
    """n ∝ e^{−U/kT} with G = n/τ has no flux anywhere, so photons are born and die with the same distribution, though
    each travels 0.55 µm on average across a pattern of period 2 µm. Without ∇D in the drift z is 15,
    with a pull 20 % too weak 5.5."""
    grid = Grid(shape=(40, 40), spacing=0.05, periodic=(periodic, periodic))
    medium, generation = rough_film(grid)
    photons = walk(medium, generation, grid, excitons=5_000, seed=7)
    assert abs(chi_square(photons, grid, generation, 8)) < 4


@pytest.mark.parametrize("periodic", [False, True], ids=["closed", "periodic"])
def test_cells_where_nothing_moves_are_not_entered(periodic: bool):
    """D = 0 in a frame of cells: excitons born there stay, the others stay out, and uniform remains uniform."""
    grid = Grid(shape=(24, 24), spacing=0.1, periodic=(periodic, periodic))
    diffusivity = np.full(grid.shape, 0.2)
    diffusivity[8:16, 8:16] = 0.0
    diffusivity[9:15, 9:15] = 0.2
    medium = Medium(diffusivity, 2.0)
    photons = walk(medium, np.ones(grid.shape), grid, excitons=8_000, seed=8)
    assert abs(chi_square(photons, grid, np.ones(grid.shape), 12)) < 4
    outside = np.ones(grid.shape)
    outside[8:16, 8:16] = 0.0
    photons = walk(medium, outside, grid, excitons=4_000, seed=9)
    column, row = (np.floor(p / 0.1 + 12).astype(int) for p in (photons.x, photons.y))
    assert np.all(outside[row, column] == 1.0)
    assert abs(chi_square(photons, grid, outside + 1e-300, 4)) < 4


def test_watching_until_max_time():
    """Survivors of a film watched for T: e^{−T/τ}; the photons seen come before T."""
    photons = walk(Medium(D, TAU), Spot(0.3), BOX, excitons=50_000, seed=10, max_time=4.0)
    assert photons.x.size + photons.alive == 50_000
    assert photons.time.max() < 4.0
    assert abs(z_of_share(photons.alive, 50_000, np.exp(-4.0 / TAU))) < 4


def test_map_source_is_uniform_inside_its_cells():
    """Excitons that cannot move show where they started: one cell of two, with weights 1 and 3."""
    grid = Grid(shape=(1, 4), spacing=(0.5, 0.25))
    source = np.array([[0.0, 1.0, 3.0, 0.0]])
    photons = walk(Medium(np.zeros(grid.shape), TAU), source, grid, excitons=20_000, seed=11)
    assert abs(z_of_share(int(np.sum(photons.x > 0)), 20_000, 0.75)) < 4
    assert photons.x.min() > -0.25
    assert photons.x.max() < 0.25
    assert abs(z_of_mean(photons.x[photons.x > 0], 0.125)) < 4
    assert abs(z_of_mean(photons.y**2, 0.5**2 / 12)) < 4


def test_seeds():
    """The same seed gives the same photons; another seed gives others."""
    first, again, other = (walk(Medium(D, TAU), Spot(0.3), BOX, excitons=100, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.x, again.x)
    assert np.array_equal(first.time, again.time)
    assert not np.array_equal(first.x, other.x)
    assert walk(Medium(D, TAU), Spot(0.3), BOX, excitons=0, seed=5).x.size == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"medium": Medium(D, np.inf)}, "never|neither"),
        ({"medium": Medium(np.zeros(BOX.shape), np.inf, surface=Surface(left=np.inf))}, "neither"),
        ({"source": -np.ones(BOX.shape)}, "≥ 0"),
        ({"source": np.zeros(BOX.shape)}, "positive"),
        ({"source": np.ones((3, 3))}, "shape"),
        ({"source": Spot(-1.0)}, "fwhm"),
        ({"source": Spot(0.3, (100.0, 0.0))}, "centre"),
        ({"excitons": 1.5}, "whole number"),
        ({"max_time": -1.0}, "max_time"),
        ({"step": 0.0}, "step"),
    ],
)
def test_bad_input(change: dict, message: str):
    good = {"medium": Medium(D, TAU), "source": Spot(0.3), "grid": BOX, "excitons": 10, "seed": 0}
    with pytest.raises(InputError, match=message):
        walk(**(good | change))


def test_a_traced_film_is_refused():
    """A walk that ran once with the numbers of a trace, or had no gradient, would be wrong without a word."""
    good = {"grid": BOX, "excitons": 10, "seed": 0}
    for transform in (jax.jit, jax.grad):
        with pytest.raises(InputError, match="cannot be traced or differentiated"):
            transform(lambda d: walk(Medium(d, TAU), Spot(0.3), **good).x.mean())(D)
        with pytest.raises(InputError, match="cannot be traced or differentiated"):
            transform(lambda width: walk(Medium(D, TAU), Spot(width), **good).x.mean())(0.3)
