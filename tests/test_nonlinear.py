"""Traps, annihilation and Auger recombination in the steady state, against closed forms; and at any intensity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks.problems import random_film
from excidiff.solver import Emission, Grid, InputError, Medium, Result, Traps, gaussian_spot, steady_state

GRID = Grid((6, 5), 0.1)
ONES = jnp.ones(GRID.shape)
TAU, B, C = 5.0, 1e-3, 1e-6
TRAPS = Traps(density=500.0, capture=2e-3, release=0.01, lifetime=20.0)


@pytest.mark.parametrize("light", [1e-4, 1.0, 1e4, 1e8])
def test_annihilation_of_a_uniform_density(light: float):
    """Entry 20: [−1 + √(1 + 4BGτ²)]/(2Bτ), to the residual of 1e-8."""
    found = steady_state(Medium(0.05, TAU, annihilation=B), light * ONES, GRID).density
    x = 4 * B * light * TAU**2
    assert_allclose(found, x / (1 + np.sqrt(1 + x)) / (2 * B * TAU), rtol=3e-8)


@pytest.mark.parametrize("light", [1e-4, 1.0, 1e4, 1e8])
def test_auger_of_a_uniform_density(light: float):
    """n/τ + Cn³ = G for the density found, to the residual of 1e-8."""
    n = steady_state(Medium(0.05, TAU, auger=C), light * ONES, GRID).density
    assert_allclose(n / TAU + C * n**3, light, rtol=3e-8)


@pytest.mark.parametrize("light", [1e-4, 1.0, 1e4, 1e8])
def test_traps_fill(light: float):
    """m = k_t N_t n/(k_t n + k_d + 1/τ_t) and n/τ + m/τ_t = G, to the residual of 1e-8."""
    found = steady_state(Medium(0.05, TAU, traps=TRAPS), light * ONES, GRID)
    n, m = found.density, found.trapped
    assert_allclose(m, 2e-3 * 500.0 * n / (2e-3 * n + 0.01 + 1 / 20.0), rtol=1e-12)
    assert_allclose(n / TAU + m / 20.0, light, rtol=3e-8)


def test_linear_traps_shorten_the_lifetime():
    """Entry 17: 1/τ_eff = 1/τ + k_tN_t (1/τ_t)/(k_d + 1/τ_t), on the exact path and, with a map, on the general one."""
    spot = gaussian_spot(GRID, fwhm=0.3)
    rate, release, lifetime = 0.4, 0.03, 20.0
    effective = 1 / (1 / TAU + rate * (1 / lifetime) / (release + 1 / lifetime))
    expected = steady_state(Medium(0.05, effective), spot, GRID).density
    for film in (0.05, 0.05 * ONES):
        found = steady_state(Medium(film, TAU, traps=Traps.linear(rate, release, lifetime)), spot, GRID, rtol=1e-12)
        assert_allclose(found.density, expected, rtol=1e-9)
        assert_allclose(found.trapped, rate * expected / (release + 1 / lifetime), rtol=1e-9)


def test_traps_far_from_full_are_linear():
    """With m ≪ N_t the filling of 1e-9 is all that is left of N_t."""
    spot = 1e-9 * gaussian_spot(GRID, fwhm=0.3)
    filling = steady_state(Medium(0.05, TAU, traps=TRAPS), spot, GRID, rtol=1e-12)
    linear = steady_state(Medium(0.05, TAU, traps=Traps.linear(1.0, 0.01, 20.0)), spot, GRID)
    assert_allclose(filling.density, linear.density, rtol=1e-8)
    assert_allclose(filling.trapped, linear.trapped, rtol=1e-8)


def test_no_release_and_no_end_are_ordinary():
    """Traps that keep for ever: full ones take no more, linear ones take at their rate and hold without end."""
    spot = gaussian_spot(GRID, fwhm=0.3)
    free = steady_state(Medium(0.05, TAU), spot, GRID).density
    full = steady_state(Medium(0.05, TAU, traps=Traps(500.0, 2e-3)), spot, GRID)
    assert_allclose(full.density, free, rtol=1e-8)
    assert_allclose(full.trapped, 500.0, rtol=1e-12)
    endless = steady_state(Medium(0.05, TAU, traps=Traps.linear(0.3)), spot, GRID)
    assert_allclose(endless.density, steady_state(Medium(0.05, 1 / (1 / TAU + 0.3)), spot, GRID).density, rtol=1e-12)
    assert jnp.isinf(endless.trapped).all()
    both = (Traps(500.0, 2e-3), Traps.linear(0.3, 0.1, 7.0))
    species = steady_state(Medium(0.05, TAU, traps=both), spot, GRID)
    assert species.trapped_by_species.shape == (2, *GRID.shape)
    assert_allclose(species.trapped, species.trapped_by_species.sum(0))


@pytest.mark.parametrize(
    "losses",
    [{"annihilation": 1e-3}, {"auger": 1e-6}, {"traps": TRAPS}, {"annihilation": 1e-3, "auger": 1e-6, "traps": TRAPS}],
    ids=["annihilation", "auger", "traps", "all"],
)
def test_any_intensity_from_no_start(losses: dict):
    """A rough film under a spot whose middle lies up to 10⁶ times above where the losses begin to matter."""
    film = random_film(48, roughness=(0.6, 0.2, 0.8))
    medium = Medium(film.medium.diffusivity, film.medium.lifetime, film.medium.landscape, **losses)
    onset = 1e3  # per µm², where B n, C n² and k_t N_t/(1 + k_t n/b) are of the order of 1/τ
    for times in (1e-3, 1.0, 1e3, 1e6):
        light = times * onset / TAU * film.source / film.source.max()
        found = steady_state(medium, light, film.grid)
        assert found.stats["iterations"] <= 60
        assert found.stats["imbalance"] <= 1e-8
        assert found.density.min() >= -1e-12 * found.density.max()


def test_more_light_than_the_traps_can_take():
    """Where only traps of 25 excitons per µm² and ns remove anything, more light than that has no steady state."""
    medium = Medium(0.05, np.inf, traps=TRAPS)
    found = steady_state(medium, 26.0 * ONES, GRID, throw=False)
    assert found.result in (Result.iterations, Result.not_finite)
    assert steady_state(medium, 24.0 * ONES, GRID).stats["imbalance"] <= 1e-8


def test_structure_decides_and_not_values():
    """`annihilation=0.0` is a traced number like any other, and the answer that of the linear film."""
    spot = gaussian_spot(GRID, fwhm=0.3)
    slope = jax.grad(lambda b: steady_state(Medium(0.05, TAU, annihilation=b), spot, GRID).density.sum())(0.0)
    n = steady_state(Medium(0.05, TAU), spot, GRID).density
    assert_allclose(slope, -TAU * jnp.sum(n**2), rtol=1e-7)  # a loss of B n² everywhere, first order
    assert_allclose(steady_state(Medium(0.05, TAU, annihilation=0.0), spot, GRID).density, n, rtol=1e-7)


def test_light_given_back():
    """A map of nonradiative loss darkens the film; trapped excitons and pairs add theirs."""
    spot = 100.0 * gaussian_spot(GRID, fwhm=0.3)
    dark = jnp.ones(GRID.shape).at[:, 0].set(0.1)
    for lifetime in (TAU, TAU * dark):
        found = steady_state(Medium(0.05, lifetime, emission=Emission(0.02)), spot, GRID)
        assert_allclose(found.emission, 0.02 * found.density)
    law = Emission(0.02, bimolecular=4e-4, carriers=3.0, trap_yield=0.5)
    found = steady_state(Medium(0.05, TAU, annihilation=B, traps=TRAPS, emission=law), spot, GRID)
    n, m = found.density, found.trapped
    assert_allclose(found.emission, 0.02 * n + 4e-4 * n * (n + 3.0) + 0.5 * m / 20.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Traps(-1.0, 2e-3), "density"),
        (lambda: Traps(1.0, np.nan), "capture"),
        (lambda: Traps(1.0, 2e-3, release=-0.1), "release"),
        (lambda: Traps(1.0, 2e-3, lifetime=0.0), "lifetime"),
        (lambda: Traps.linear(-0.1), "rate"),
        (lambda: Traps.linear(jnp.ones(3)), "rate"),
        (lambda: Medium(0.05, TAU, annihilation=-1.0), "annihilation"),
        (lambda: Medium(0.05, TAU, auger="much"), "auger"),
        (lambda: Medium(0.05, TAU, traps=0.3), "traps"),
        (lambda: Medium(0.05, TAU, disorder=12.0), "disorder"),
        (lambda: Medium(0.05, TAU, emission=0.2), "emission"),
        (lambda: Emission(0.02, trap_yield=1.5), "trap_yield"),
        (lambda: steady_state(Medium(0.05, TAU, annihilation=jnp.ones((2, 2))), ONES, GRID), "annihilation"),
        (lambda: steady_state(Medium(0.05, TAU, traps=Traps(jnp.ones((2, 2)), 1.0)), ONES, GRID), "density"),
        (lambda: steady_state(Medium(0.05, TAU, emission=Emission(0.02, bimolecular=1e-3)), ONES, GRID), "bimolecular"),
        (
            lambda: steady_state(
                Medium(0.05, TAU, traps=(TRAPS, TRAPS), emission=Emission(0.02, trap_yield=(0.1,))), ONES, GRID
            ),
            "trap_yield",
        ),
    ],
)
def test_bad_films_are_refused_by_name(make, says: str):
    with pytest.raises(InputError, match=says):
        make()
