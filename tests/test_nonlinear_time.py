"""Traps, annihilation and Auger recombination in time, against closed forms in uniform films; light that changes.

The error of every frame is below the tolerance of the stepping, 1e-4 unless said otherwise.
"""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import formulas
from excidiff.solver import (
    Emission,
    Grid,
    InputError,
    Medium,
    Pulse,
    Sampled,
    SolverError,
    Traps,
    evolve,
    gaussian_spot,
    time_integral,
)
from excidiff.solver.light import Steady

GRID = Grid((4, 3), 0.1)
ONES = jnp.ones(GRID.shape)
TIMES = np.array([0.01, 0.3, 2.0, 9.0, 40.0])
D, TAU, N0 = 0.05, 5.0, 1000.0


def uniform(fields) -> np.ndarray:
    """One number per frame, the same in all cells to what the solves leave, 1e-7 each."""
    fields = np.asarray(fields)
    assert_allclose(fields, fields[..., :1, :1] * np.ones(GRID.shape), rtol=3e-6)
    return fields[..., 0, 0]


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_annihilation(rtol: float):
    """Entry 20."""
    found = evolve(Medium(D, TAU, annihilation=1e-3), N0 * ONES, GRID, TIMES, rtol=rtol)
    assert_allclose(uniform(found.density), formulas.annihilated(TIMES, N0, lifetime=TAU, annihilation=1e-3), rtol=rtol)


def test_single_precision():
    """In float32 throughout, also where JAX's default is float64."""
    film = Medium(*np.float32([D, TAU]), annihilation=np.float32(1e-3))
    found = evolve(
        film, np.float32(N0) * jnp.ones((1, 1), jnp.float32), Grid((1, 1), np.float32(0.1)), np.float32(TIMES)
    )
    assert found.density.dtype == np.float32
    expected = formulas.annihilated(TIMES, N0, lifetime=TAU, annihilation=1e-3)
    assert_allclose(found.density[:, 0, 0], expected, rtol=1e-4)


def test_auger():
    """Entry 21."""
    found = evolve(Medium(D, TAU, auger=1e-6), N0 * ONES, GRID, TIMES)
    assert_allclose(uniform(found.density), formulas.auger_decay(TIMES, N0, lifetime=TAU, auger=1e-6), rtol=1e-4)


@pytest.mark.parametrize("density", [400.0, 1600.0], ids=["few traps", "many traps"])
def test_irreversible_filling(density: float):
    """Entry 19; every exciton is free or trapped, and stays. A share below 1e-12 counts as 1e-12."""
    found = evolve(Medium(D, np.inf, traps=Traps(density, 2e-3)), N0 * ONES, GRID, TIMES)
    n = uniform(found.density)
    assert_allclose(n, formulas.filling(TIMES, N0, traps=density, capture=2e-3), rtol=1e-4, atol=1e-4 * 1e-12 * N0)
    assert_allclose((found.density + found.trapped).mean((1, 2)), N0, rtol=1e-9)


@pytest.mark.parametrize(("release", "lifetime"), [(0.03, 20.0), (0.0, 20.0), (0.03, np.inf), (0.0, np.inf)])
def test_linear_traps(release: float, lifetime: float):
    """Entry 16, without release and without end, too; with as many traps that could fill but are far from it, the
    same to a filling of 1e-9."""
    traps = Traps.linear(0.4, release, lifetime)
    n, m = formulas.linear_traps(TIMES, lifetime=TAU, rate=0.4, release=release, trap_lifetime=lifetime)
    for species, light in ((traps, 1.0), (Traps(1e9, 4e-10, release, lifetime), 1.0)):
        found = evolve(Medium(D, TAU, traps=species), light * ONES, GRID, TIMES)
        assert_allclose(uniform(found.density), light * n, rtol=1e-4)
        assert_allclose(uniform(found.trapped), light * m, rtol=1e-4)


def test_gates_integrate_all_that_is_there():
    """∫ n, ∫ m and the emission with its n² over gates: against Gauss-Legendre over frames (1e-8) to the tolerance."""
    law = Emission(0.1, bimolecular=5e-4, carriers=20.0, trap_yield=0.3)
    film = Medium(D, TAU, annihilation=1e-3, traps=Traps(300.0, 2e-3, 0.05, 8.0), emission=law)
    edges = np.array([0.2, 0.5, 1.1])
    gates = time_integral(film, N0 * ONES, GRID, edges=edges, rtol=1e-6)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    for i, (start, end) in enumerate(pairwise(edges)):
        frames = evolve(film, N0 * ONES, GRID, start + (end - start) * (nodes + 1) / 2, rtol=1e-6)
        for name in ("density", "trapped", "emission"):
            expected = (end - start) / 2 * weights @ uniform(getattr(frames, name))
            assert_allclose(uniform(getattr(gates, name))[i], expected, rtol=3e-6)


def test_going_on_where_another_run_ended():
    """Trapped excitons can be handed over."""
    film = Medium(D, TAU, annihilation=1e-3, traps=Traps(300.0, 2e-3, 0.05, 8.0))
    spot = 100.0 * gaussian_spot(GRID, fwhm=0.2)
    whole = evolve(film, spot, GRID, [1.0, 3.0], rtol=1e-6)
    rest = evolve(film, whole.density[0], GRID, [2.0], trapped=whole.trapped_by_species[:, 0], rtol=1e-6)
    assert_allclose(rest.density[0], whole.density[1], rtol=3e-6)
    assert_allclose(rest.trapped[0], whole.trapped[1], rtol=3e-6)


@pytest.mark.parametrize("film", [Medium(D, TAU), Medium(D, TAU, traps=Traps.linear(0.4, 0.0, 20.0))])
def test_a_pulse_of_finite_width(film: Medium):
    """Convolved with the decay e^{−at} of what it creates, from t′ = 0 to t."""
    rate = 1 / TAU + (0.4 if film.traps else 0.0)
    pulse = Pulse(100.0 * ONES, fwhm=0.2)
    times = np.array([0.1, 0.3, 0.5, 0.7, 2.0, 10.0])
    expected = formulas.pulse_response(times, fwhm=0.2, centre=0.3, rate=rate)
    found = uniform(evolve(film, 0 * ONES, GRID, times, generation=pulse).density)
    assert_allclose(found, 100.0 * expected, rtol=1e-4, atol=1e-4 * 1e-3 * 100.0)


def test_sampled_light():
    """Light that rises and falls in straight lines from 1 to 3 to 0 within 2 ns each: ∫ G dt where nothing decays."""
    light = Sampled([0.0, 2.0, 4.0], jnp.stack([ONES, 3 * ONES, 0 * ONES]))
    found = evolve(Medium(D * ONES, np.inf), ONES, GRID, [1.0, 2.0, 3.0, 4.0, 9.0], generation=light)
    assert_allclose(uniform(found.density), [1 + 1.5, 1 + 4.0, 1 + 6.25, 1 + 7.0, 1 + 7.0], rtol=1e-4)
    gates = time_integral(Medium(D * ONES, np.inf), light, GRID, edges=[0.0, 2.0])
    assert_allclose(uniform(gates.density), 2.0**2 / 2 + 2.0**3 / 6, rtol=1e-4)  # n = t + t²/2


@pytest.mark.parametrize("film", [Medium(D, TAU), Medium(D * ONES, TAU)])
def test_steady_light_over_gates(film: Medium):
    """From an empty film: n = Gτ (1 − e^{−t/τ}), and its integrals, whichever way a film is solved."""
    edges = np.array([0.0, 1.0, 4.0])
    integral = 2.0 * TAU * (edges - TAU * (1 - np.exp(-edges / TAU)))
    found = time_integral(film, Steady(2.0 * ONES), GRID, edges=edges)
    assert_allclose(uniform(found.density), np.diff(integral), rtol=1e-4)


def test_bright_traps_keep_the_relative_error_of_a_faint_film():
    """Long after a pulse nearly all excitons are trapped; the few that are released carry the tolerance themselves."""
    traps = Traps.linear(0.4, 1e-6, 1e5)
    times = np.array([60.0, 200.0])
    n, m = formulas.linear_traps(times, lifetime=TAU, rate=0.4, release=1e-6, trap_lifetime=1e5)
    found = evolve(Medium(D, TAU, traps=traps), ONES, GRID, times)
    assert (m > 1e5 * n).all()
    assert_allclose(uniform(found.density), n, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda film: time_integral(film, ONES, GRID), "edges"),
        (lambda film: evolve(film, ONES, GRID, [1.0], trapped=ONES), "trapped"),
        (lambda film: evolve(film, ONES, GRID, [1.0], generation=lambda t: t), "generation"),
        (lambda film: time_integral(film, lambda t: jnp.ones(3), GRID, edges=[0.0, 1.0]), "pulse"),
        (lambda film: Pulse(ONES, fwhm=0.0), "fwhm"),
        (lambda film: Sampled([0.0, 0.0], jnp.stack([ONES, ONES])), "times"),
        (lambda film: Sampled([0.0, 1.0, 2.0], jnp.stack([ONES, ONES])), "maps"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, says: str):
    with pytest.raises(InputError, match=says):
        call(Medium(D, TAU, annihilation=1e-3))


def test_too_few_steps_are_said():
    with pytest.raises(SolverError, match="steps"):
        evolve(Medium(D, TAU, annihilation=1e-3), N0 * ONES, GRID, [40.0], max_steps=5)
