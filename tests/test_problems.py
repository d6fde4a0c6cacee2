"""The exact answers themselves, held against each other, so that a solver test cannot fail for a wrong formula."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import formulas, problems
from benchmarks.manufactured import Waves, manufactured_decay, manufactured_film, manufactured_surfaces
from benchmarks.problems import LENGTH, TAU, D
from excidiff.solver.medium import thermal_energy

FILM = {"diffusivity": D, "lifetime": TAU}


def test_spot_three_ways():
    """Entry 1 by its time integral, by its Hankel integral and in its centre by E₁; far from a small spot, entry 3."""
    for s in (0.05, 0.2, 0.8):
        r = np.array([0.0, 0.1, 0.5, 2.0])
        by_time = formulas.spot_steady(r, s=s, **FILM)
        assert_allclose(by_time, [formulas.spot_steady_hankel(x, s=s, **FILM) for x in r], rtol=1e-9)
        assert_allclose(by_time[0], formulas.spot_centre(s=s, **FILM), rtol=1e-12)
    far = np.array([1.0, 2.0])
    assert_allclose(formulas.spot_steady(far, s=1e-4, **FILM), formulas.point_steady(far, **FILM), rtol=1e-6)


def test_spot_moments():
    """Entry 5: Σn = Qτ, ⟨x²⟩ = s² + 2L², by summation over 14 L, beyond which lies 1e-4 of the moment."""
    s, h = 0.2, 0.05
    x = h * (np.arange(250) - 124.5)
    n = formulas.spot_steady(np.hypot(x[:, None], x), s=s, **FILM) * h**2
    assert_allclose(n.sum(), TAU, rtol=1e-5)
    assert_allclose((n * x**2).sum() / n.sum(), s**2 + 2 * LENGTH**2, rtol=2e-4)


def test_spot_in_a_box_is_the_unbounded_one_far_from_its_walls():
    """8.9 L from the walls the box adds e^−8.9; a cell's average differs from its centre by (h²/24)∇²n: here 1.4e-3."""
    problem = problems.spot_film(160, width=8.0)
    x, y = problems.axes(problem.grid)
    centre = formulas.spot_steady(np.hypot(x, y), s=0.6 / problems.FWHM, **FILM)
    near = np.hypot(x, y) < 1.0
    assert_allclose(problem.density()[near], centre[near], rtol=2e-3)
    assert_allclose(problem.density().sum() * 0.05**2, TAU, rtol=1e-12)
    assert_allclose(problem.source.sum() * 0.05**2, 1.0, rtol=1e-12)


def test_disc_limits():
    """Entry 4: continuous and smooth at its rim, τ per exciton in all, and a point when small."""
    disc = {"radius": 0.5, **FILM}
    r = 0.5 + np.array([-2e-6, -1e-6, 1e-6, 2e-6])
    n = formulas.disc_steady(r, **disc)
    assert_allclose(n[1], n[2], rtol=1e-5)
    assert_allclose(n[1] - n[0], n[3] - n[2], rtol=1e-4)
    r = np.linspace(0, 9, 200_001)
    assert_allclose(np.trapezoid(2 * np.pi * r * formulas.disc_steady(r, **disc), r), TAU * np.pi * 0.25, rtol=1e-7)
    small = formulas.disc_steady(1.0, radius=1e-3, **FILM) / (np.pi * 1e-6)
    assert_allclose(small, formulas.point_steady(1.0, **FILM), rtol=1e-5)


def residual(x: np.ndarray, n: np.ndarray, d: float, tau: float) -> np.ndarray:
    """D n″ − n/τ + 1 inside evenly spaced points."""
    return d * np.diff(n, 2) / (x[1] - x[0]) ** 2 - n[1:-1] / tau + 1


def test_half_planes_obey_their_equation():
    """n″ on both sides (finite differences: 1e-5), n and D n′ alike on both sides of the border, flat at the walls."""
    film = {"diffusivities": (0.02, 0.08), "lifetimes": (2.0, 5.0), "half_width": 3.0}
    h = 1e-3
    for i, sign in enumerate((-1.0, 1.0)):
        x = sign * np.linspace(h, 3.0, 3000)
        n = formulas.half_planes(x, **film)
        assert np.abs(residual(x, n, film["diffusivities"][i], film["lifetimes"][i])).max() < 1e-4
        assert abs(n[-1] - n[-2]) < 1e-6
    x = np.array([-2e-5, -1e-5, 1e-5, 2e-5])
    n = formulas.half_planes(x, **film)
    assert_allclose(n[1], n[2], rtol=1e-4)
    assert_allclose(0.02 * (n[1] - n[0]), 0.08 * (n[3] - n[2]), rtol=1e-4)


@pytest.mark.parametrize("velocity", [0.05, np.inf])
def test_surface_film_obeys_its_equation(velocity: float):
    x = np.linspace(0, 1.5, 3001)
    n = formulas.surface_film(x, width=1.5, velocity=velocity, **FILM)
    assert np.abs(residual(x, n, D, TAU)).max() < 1e-4
    assert abs(n[-1] - n[-2]) < 1e-5
    if np.isinf(velocity):
        assert abs(n[0]) < 1e-12
    else:
        assert_allclose(D * (-1.5 * n[0] + 2 * n[1] - 0.5 * n[2]) / x[1], velocity * n[0], rtol=1e-5)


def test_trap_variance_obeys_its_equation():
    """v′ = 2D − 2γv from s²; κ → 0 spreads freely, t → ∞ is kT/K."""
    t = np.linspace(0, 5, 5001)
    v = formulas.trap_variance(t, diffusivity=D, stiffness=10.0, s=0.1)
    assert_allclose(np.gradient(v, t)[1:-1], (2 * D - 2 * D * 10.0 * v)[1:-1], atol=1e-6)
    free = formulas.trap_variance(t, diffusivity=D, stiffness=1e-7, s=0.1)
    assert_allclose(free, formulas.spreading_variance(t, diffusivity=D, s=0.1), rtol=1e-6)
    assert_allclose(formulas.trap_variance(1e3, diffusivity=D, stiffness=10.0, s=0.1), 0.1, rtol=1e-12)


def test_quenched_depth():
    """Entry 12: the series starts as e^{−αx} (partial sum: 1e-3 inside) and ends as its slowest mode alone."""
    film = {"width": 0.5, "absorption": 2.0, **FILM}
    x = np.linspace(0.1, 0.5, 30)
    start = formulas.quenched_depth(x, [0.0], terms=4000, **film)[0]
    assert_allclose(start, np.exp(-2 * x), rtol=2e-3)
    late = formulas.quenched_depth(x, [20.0, 21.0], **film)
    k = np.pi / 1.0
    assert_allclose(late[1] / late[0], np.exp(-(1 / TAU + D * k**2)), rtol=1e-12)
    assert_allclose(late[0] / late[0][-1], np.sin(k * x), rtol=1e-12)


def test_effective_diffusivities():
    """Entry 14: D/I₀(A)² for U = A cos; entry 15 is symmetric and bounded by the harmonic and arithmetic means."""
    from scipy.special import i0

    wave = 1.3 * np.cos(2 * np.pi * np.arange(64) / 64)
    assert_allclose(formulas.lifson_jackson(np.full(64, D), wave), D / i0(1.3) ** 2, rtol=1e-13)
    assert formulas.dykhne(1.0, 4.0) == formulas.dykhne(4.0, 1.0) == 2.0
    problem = problems.flow_film(512)
    assert_allclose(problem.effective(problem.density()), problem.diffusivity, rtol=1e-10)


def spectral(values: np.ndarray, axis: int, width: float) -> np.ndarray:
    """Derivative of a periodic map along one axis, exact for waves the grid resolves."""
    count = values.shape[axis]
    k = 2j * np.pi * np.fft.fftfreq(count, width / count)
    k[count // 2] = 0.0
    return np.fft.ifft(np.fft.fft(values, axis=axis) * (k[:, None] if axis == 0 else k), axis=axis).real


def operator(problem: problems.Steady | problems.Evolution, n: np.ndarray) -> np.ndarray:
    """∇·[D(∇n + n∇U/kT)] − n/τ by Fourier derivatives."""
    u = np.asarray(problem.medium.landscape) / float(thermal_energy(problem.medium))
    dx, dy = (np.asarray(d) for d in problem.medium.diffusivities)
    rate = 1 / np.asarray(problem.medium.lifetime)
    height, width = (float(extent) for extent in problem.grid.extent)
    flux_x = dx * (spectral(n, 1, width) + n * spectral(u, 1, width))
    flux_y = dy * (spectral(n, 0, height) + n * spectral(u, 0, height))
    return spectral(flux_x, 1, width) + spectral(flux_y, 0, height) - n * rate


def test_manufactured_problems_obey_their_equation():
    """Fourier derivatives on 96² cells are exact to 1e-8 for these waves."""
    for aspect in (1.0, 0.2):
        steady = manufactured_film(96, periodic=True, aspect=aspect)
        assert np.abs(operator(steady, steady.density()) + steady.source).max() < 1e-7
    moving = manufactured_decay(96, periodic=True)
    assert np.asarray(moving.medium.lifetime).min() > 0
    early, late = moving.density(np.array([0.0, 1.0]))
    assert_allclose(early, moving.initial)
    fading = (early - late) / (1 - np.exp(-0.8))
    assert np.abs(operator(moving, early - fading) + moving.generation).max() < 1e-7
    assert np.abs(operator(moving, fading) + 0.8 * fading).max() < 1e-7


def test_manufactured_surfaces_take_what_arrives():
    """D ∂n/∂x = S n at both sides, extrapolated to it from two faces (second order, 1e-3), and U is flat there."""
    problem = manufactured_surfaces(800)
    n, d, surface = problem.density(), np.asarray(problem.medium.diffusivity), problem.medium.surface
    h, u = float(problem.grid.spacing[1]), np.asarray(problem.medium.landscape)
    assert surface is not None
    for wall, velocity in ((slice(None, 3), surface.left), (slice(-1, -4, -1), surface.right)):
        slopes = np.diff(n[:, wall], axis=1) / h  # at faces 1 and 2
        at_wall = 2 * slopes[:, 0] - slopes[:, 1]
        density, mobility = (1.5 * f[:, wall][:, 0] - 0.5 * f[:, wall][:, 1] for f in (n, d))
        assert_allclose(mobility * at_wall, velocity * density, rtol=2e-3)
        assert np.abs(np.diff(u[:, wall][:, :2], axis=1)).max() < 1e-3 * np.abs(u).max()


def test_waves_are_flat_at_closed_walls():
    """Zero slope at the walls, to the second order of a half cell, is what makes the problems fit closed sides."""
    grid = manufactured_film(400).grid
    waves = Waves(grid, (0.5, 1, 3), (0.4, 2, 2))
    assert np.abs(waves.dx[:, 0]).max() < 2e-2 * np.abs(waves.dx).max()
    assert np.abs(waves.dy[0]).max() < 2e-2 * np.abs(waves.dy).max()


def test_sources_of_manufactured_films_are_light():
    """A negative generation would be no source of excitons."""
    assert manufactured_film(64).source.min() > 0
    assert manufactured_surfaces(64).source.min() > 0
    assert manufactured_decay(64).generation.min() > 0


def test_random_film_is_the_same_at_every_size():
    """Refined fourfold, the film's cell centres straddle the coarse ones: their means agree to second order."""
    coarse, fine = problems.random_film(64), problems.random_film(256)
    logarithm = np.log(np.asarray(fine.medium.diffusivity) / D)
    assert_allclose(logarithm.std(), 0.6, rtol=1e-12)
    assert_allclose(np.asarray(fine.medium.landscape).std() / float(thermal_energy(fine.medium)), 1.5, rtol=1e-12)
    means = logarithm.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(means - np.log(np.asarray(coarse.medium.diffusivity) / D)).max() < 0.15
    assert np.std(means - np.log(np.asarray(coarse.medium.diffusivity) / D)) < 0.02
