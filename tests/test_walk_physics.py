"""The random walk of films with traps, disorder and a law of emission against exact laws. Seeds fixed, |z| ≤ 4.

Nothing here has a time-step error, unless its test says so: what is measured is the statistical error alone.
"""

from functools import cache

import numpy as np
import pytest

from excidiff.solver import Disorder, Emission, Grid, InputError, Medium, Spot, Surface, Traps, walk
from excidiff.solver.disorder import acceptance, cut
from excidiff.solver.medium import BOLTZMANN
from excidiff.solver.source import FWHM
from excidiff.solver.walks.energies import Energies
from tests.test_walk import BOX, TAU, D, z_of_mean, z_of_share

TRAPS = Traps.linear(0.5, release=0.3, lifetime=4.0)


def free_population(time: float, lifetime: float, rate: float, release: float, trap_lifetime: float):
    """(free, trapped) shares after a pulse: exponentials of ½[(a+b) ± √((a−b)² + 4k_tN_tk_d)], a = 1/τ + k_tN_t, b =
    k_d + 1/τ_t."""
    a, b = 1 / lifetime + rate, release + 1 / trap_lifetime
    root = np.sqrt((a - b) ** 2 + 4 * rate * release)
    slow, fast = (a + b - root) / 2, (a + b + root) / 2
    decay, early = np.exp(-slow * time), np.exp(-fast * time)
    return ((fast - a) * decay + (a - slow) * early) / root, rate * (decay - early) / root


@pytest.mark.parametrize("time", [0.5, 3.0, 10.0])
def test_linear_traps_in_time(time: float):
    photons = walk(Medium(D, TAU, traps=TRAPS), Spot(0.3), BOX, excitons=50_000, seed=1, max_time=time)
    free, trapped = free_population(time, TAU, 0.5, 0.3, 4.0)
    assert abs(z_of_share(int(np.sum(photons.survivors.trap == -1)), 50_000, free)) < 4
    assert abs(z_of_share(int(np.sum(photons.survivors.trap == 0)), 50_000, trapped)) < 4
    assert photons.survivors.x.size == photons.alive == 50_000 - photons.x.size


def test_where_excitons_of_several_traps_recombine():
    """Two species, nothing released from the first: shares ∝ 1/τ, r₁ and r₂ (1/τ₂)/(k₂ + 1/τ₂), each trapped once."""
    traps = (Traps.linear(0.2, lifetime=1.0), Traps.linear(0.6, release=0.5, lifetime=4.0))
    photons = walk(Medium(D, TAU, traps=traps), Spot(0.3), BOX, excitons=50_000, seed=2)
    weights = np.array([1 / TAU, 0.2, 0.6 * 0.25 / 0.75])
    for species, share in zip((-1, 0, 1), weights / weights.sum(), strict=True):
        assert abs(z_of_share(int(np.sum(photons.trap == species)), 50_000, share)) < 4


@pytest.mark.parametrize("time", [0.5, 4.0])
def test_traps_slow_the_spreading(time: float):
    """Without decay the variance of all, free and trapped, is s² + 2D[k_d t/K + k_tN_t(1 − e^{−Kt})/K²]."""
    rate, release, s2 = 0.5, 0.3, (0.2 / FWHM) ** 2
    film = Medium(D, np.inf, traps=Traps.linear(rate, release))
    alive = walk(film, Spot(0.2), BOX, excitons=50_000, seed=3, max_time=time).survivors
    total = rate + release
    variance = s2 + 2 * D * (release * time / total + rate * (1 - np.exp(-total * time)) / total**2)
    assert alive.x.size == 50_000
    assert abs(z_of_mean(alive.x**2, variance)) < 4
    assert abs(z_of_mean(alive.y**2, variance)) < 4


def test_traps_follow_their_map():
    """Excitons that do not decay settle to m = n k_tN_t/k_d cell by cell, whatever D: nothing is smeared, though
    a free one walks 2 cells between captures. z of χ² over all cells and both states."""
    grid = Grid(shape=(1, 10), spacing=0.1)
    rate = np.where(np.arange(10) % 3 == 0, 3.0, 0.0)[None] + 0.2 * (np.arange(10) > 6)
    release = 0.5 + 0.5 * (np.arange(10) % 2)[None]
    film = Medium(D, np.inf, traps=Traps.linear(rate, release))
    trapped = rate / release
    alive = walk(film, np.ones(grid.shape), grid, excitons=30_000, seed=4, max_time=60.0).survivors
    column = np.floor(alive.x / 0.1 + 5).astype(int)
    counts = np.stack([np.bincount(column[alive.trap == state], minlength=10) for state in (-1, 0)])
    mean = np.stack([np.ones(10), trapped[0]])
    mean *= counts.sum() / mean.sum()
    used = mean > 0
    assert counts[~used].sum() == 0
    freedom = used.sum() - 1
    assert abs((np.sum((counts - mean)[used] ** 2 / mean[used]) - freedom) / np.sqrt(2 * freedom)) < 4


WIDTH, KT = 25.0, BOLTZMANN * 295.0
DISORDER = Disorder(WIDTH, 2.0)


@cache
def fine_bins():
    """The bins of `DISORDER`, 120 of them, 2 meV wide: mean energies and mobilities move by less than 2e-3 meV and 4e-5
    with four times as many, a hundredth of the standard errors."""
    return cut(Disorder(WIDTH, 2.0, bins=120, mobility="hops"), KT)


def through_bins(function):
    """f(R) g, with the rates symmetric in n/√π, detailed balance being exact; no eigenvalue is taken below 1e-9."""
    bins = fine_bins()
    root = np.sqrt(np.asarray(bins.equilibrium))
    rates, vectors = np.linalg.eigh(np.asarray(bins.rates) * root / root[:, None])
    return root * (vectors @ (function(np.maximum(rates, 1e-9)) * (vectors.T @ (np.asarray(bins.sites) / root))))


@pytest.mark.parametrize("mobility", ["constant", "hops"])
def test_old_excitons_are_thermal(mobility: str):
    """Long after the pulse energies are Gaussian, mean −σ²/kT, width σ. Of the start at most e^{−100 · 0.1} is left."""
    slowest = np.sort(np.linalg.eigvals(np.asarray(fine_bins().rates)).real)[1] * 10.0 / 2.0
    assert float(slowest) > 0.1
    film = Medium(D, np.inf, disorder=Disorder(WIDTH, 10.0, mobility=mobility))
    energy = walk(film, Spot(0.3), BOX, excitons=3_000, seed=5, max_time=100.0).survivors.energy
    assert abs(z_of_mean(energy, -(WIDTH**2) / KT)) < 4
    assert abs(z_of_mean((energy + WIDTH**2 / KT) ** 2, WIDTH**2)) < 4


@pytest.mark.parametrize("time", [0.3, 2.0])
def test_young_excitons_redden_as_the_bins_do(time: float):
    """Mean energy against that of e^{−Rt} on fine bins."""
    film = Medium(D, np.inf, disorder=DISORDER)
    energy = walk(film, Spot(0.3), BOX, excitons=20_000, seed=6, max_time=time).survivors.energy
    shares = through_bins(lambda rates: np.exp(-rates * time))
    assert abs(z_of_mean(energy, float(np.asarray(fine_bins().energies) @ shares))) < 4


def test_the_share_of_successful_hops():
    """The walk's own table against the solver's formula, to the 3e-6 of its interpolation."""
    sites = Energies(Medium(D, TAU, disorder=Disorder(WIDTH, 2.0, mobility="hops")))
    energy = np.linspace(-6.0, 6.0, 77)
    expected = np.asarray(acceptance(energy, WIDTH / KT))
    np.testing.assert_allclose(sites.mobility(WIDTH * energy), expected, rtol=1e-5)


def test_excitons_slow_down_as_they_relax():
    """With hop-limited mobility the variance grows as 2D∫⟨a(E)⟩dt, ⟨a⟩ from fine bins."""
    time, disorder = 2.0, Disorder(WIDTH, 2.0, mobility="hops")
    alive = walk(
        Medium(D, np.inf, disorder=disorder), Spot(1e-3), BOX, excitons=20_000, seed=7, max_time=time
    ).survivors
    shares = through_bins(lambda rates: -np.expm1(-rates * time) / rates)
    variance = 2 * D * float(np.asarray(fine_bins().mobility) @ shares)
    assert variance < 0.7 * 2 * D * time
    assert abs(z_of_mean(alive.x**2, variance)) < 4
    assert abs(z_of_mean(alive.y**2, variance)) < 4


def test_released_excitons_are_thermal():
    """With no attempts at all the free ones keep N(0, σ), or have N(−σ²/kT, σ) once a trap has let them go: the share
    that recombines before any capture is (1/τ)/(1/τ + k_tN_t)."""
    film = Medium(D, 2.0, traps=Traps.linear(0.5, 1.0), disorder=Disorder(WIDTH, 0.0))
    photons = walk(film, Spot(0.3), BOX, excitons=20_000, seed=8)
    assert abs(z_of_mean(photons.energy, -0.5 * WIDTH**2 / KT)) < 4
    assert np.all(photons.trap == -1)
    held = walk(
        Medium(D, 2.0, traps=Traps.linear(0.5, 0.0, 1.0), disorder=DISORDER), Spot(0.3), BOX, excitons=99, seed=8
    )
    assert np.array_equal(np.isnan(held.energy), held.trap == 0)


def test_losses_without_light_darken_the_image():
    """k_r uniform, nonradiative losses that differ between halves that do not exchange: photons ∝ k_r τ."""
    grid = Grid(shape=(1, 5), spacing=1.0)
    lifetime = np.array([[4.0, 4.0, 1.0, 1.0, 1.0]])
    mobile = np.array([[1.0, 0.0, 0.0, 0.0, 1.0]])
    photons = walk(Medium(D * mobile, lifetime, emission=Emission(0.2)), mobile, grid, excitons=40_000, seed=9)
    assert photons.x.size + photons.dark == 40_000
    assert abs(z_of_share(int(np.sum(photons.x < 0)), 40_000, 0.5 * 0.8)) < 4
    assert abs(z_of_share(int(np.sum(photons.x > 0)), 40_000, 0.5 * 0.2)) < 4


def test_light_where_losses_and_radiation_vary():
    """n ∝ 1 under G = 1/τ has no flux, so e = k_r n whatever τ does: mean of cos over the photons. Steps of the mapped
    τ cost less than 1e-3, a tenth of the standard error."""
    grid = Grid(shape=(1, 40), spacing=0.05)
    wave = np.cos(2 * np.pi * np.asarray(grid.x) / 2.0)[None]
    lifetime, radiative = 2.0 * np.exp(0.8 * wave), 0.1 * (1 - 0.5 * wave)
    photons = walk(Medium(D, lifetime, emission=Emission(radiative)), 1 / lifetime, grid, excitons=10_000, seed=10)
    assert abs(z_of_mean(np.cos(np.pi * photons.x), -0.25)) < 4
    assert abs(z_of_share(photons.x.size, 10_000, 0.1 / (1 / lifetime).mean())) < 4
    same = walk(Medium(D, lifetime, emission=Emission(1 / lifetime)), 1 / lifetime, grid, excitons=500, seed=10)
    assert same.dark == 0


def test_light_across_a_jump_of_losses():
    """Soon after a uniform pulse e = k_r n is uniform, to the 3 % that the shorter lifetime, 1 ns, has taken by then
    (mean over 0.05 ns), while the losses jump tenfold. A share of light taken cell by cell would send 1.6 times as
    much from the slow half, where the lifetime is smeared over a cell."""
    grid = Grid(shape=(1, 4), spacing=0.5)
    film = Medium(1e-6, np.array([[10.0, 10.0, 1.0, 1.0]]), emission=Emission(0.1))
    photons = walk(film, np.ones(grid.shape), grid, excitons=400_000, seed=13, max_time=0.05)
    assert abs(z_of_share(int(np.sum(photons.x < 0)), 200_000, 0.005)) < 4
    assert abs(z_of_share(int(np.sum(photons.x > 0)), 200_000, 0.005)) < 4


def test_light_from_traps_has_its_yield():
    """Trapped recombinations emit with y_t, free ones with k_rτ."""
    law = Emission(0.1, trap_yield=0.3)
    film = Medium(D, TAU, traps=Traps.linear(0.3, lifetime=2.0), emission=law)
    photons = walk(film, Spot(0.3), BOX, excitons=30_000, seed=11)
    assert abs(z_of_share(int(np.sum(photons.trap == 0)), 30_000, 0.6 * 0.3)) < 4
    assert abs(z_of_share(int(np.sum(photons.trap == -1)), 30_000, 0.4 * 0.5)) < 4
    assert photons.x.size + photons.dark == 30_000


@pytest.mark.parametrize(
    ("film", "change", "message"),
    [
        ({"traps": Traps.linear(0.5)}, {}, "of the traps"),
        ({"traps": Traps.linear(0.5, 0.1), "lifetime": np.inf}, {}, "neither"),
        ({"emission": Emission(0.3)}, {}, "exceeds 1/τ"),
        ({}, {"total": -1.0}, "total"),
        ({}, {"total": np.inf}, "total"),
    ],
)
def test_bad_input(film: dict, change: dict, message: str):
    with pytest.raises(InputError, match=message):
        walk(Medium(**({"diffusivity": D, "lifetime": TAU} | film)), Spot(0.3), BOX, excitons=9, seed=0, **change)


def test_what_traps_and_quenchers_end():
    """No free exciton recombines, and yet all end: in a trap that kills, or at a quencher."""
    photons = walk(Medium(D, np.inf, traps=TRAPS), Spot(0.3), BOX, excitons=500, seed=12)
    assert np.all(photons.trap == 0)
    film = Medium(D, np.inf, traps=Traps.linear(0.5, 0.5), surface=Surface(left=np.inf))
    assert walk(film, Spot(0.1), Grid((4, 4), 0.1), excitons=500, seed=12).quenched == 500
