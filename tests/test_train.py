"""Pulse trains: exact in uniform films, and elsewhere what many single pulses lead to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import formulas
from excidiff.solver import (
    Grid,
    InputError,
    Medium,
    Pulse,
    Traps,
    evolve,
    gaussian_spot,
    pulse_train,
    steady_state,
    time_integral,
)

OPTIMISED = True

GRID = Grid((8, 7), 0.1)
ONES = jnp.ones(GRID.shape)
SPOT = gaussian_spot(GRID, fwhm=0.3, total=10.0)
D, TAU, PERIOD = 0.05, 5.0, 25.0
TIMES = np.array([0.0, 0.1, 2.0, 25.0])


def test_a_uniform_film_piles_up_exactly():
    """Entry 9: Σ_m e^{−mT/τ} N(s² + 2D(t + mT)); at 25 ns and 5 ns the carry-over of the whole film is 0.67 %."""
    found = pulse_train(Medium(D, TAU), SPOT, GRID, period=PERIOD, times=TIMES).density
    ages = PERIOD * np.arange(9)
    pulses = evolve(Medium(D, TAU), SPOT, GRID, np.sort((TIMES[:3, None] + ages).ravel())).density
    order = np.argsort(np.argsort((TIMES[:3, None] + ages).ravel())).reshape(3, -1)
    assert_allclose(found[:3], np.asarray(pulses)[order].sum(1), rtol=1e-12)  # ten pulses ago: e^{−50}
    assert_allclose(found[0].sum() / SPOT.sum(), 1 + 0.0067836, rtol=1e-6)


@pytest.mark.gate
@pytest.mark.parametrize("traps", [Traps.linear(0.4, 0.01, 300.0), Traps.linear(0.4, 0.0, 300.0)])
def test_linear_traps_pile_up(traps: Traps):
    """Of the whole film the populations are a 2 × 2 problem: (1 − e^{−MT})⁻¹ times one pulse, to 1e-4."""
    film = Medium(D * ONES, TAU, traps=traps)
    found = pulse_train(film, SPOT, GRID, period=PERIOD, times=TIMES)
    rates = {"lifetime": TAU, "rate": 0.4, "release": float(traps.release), "trap_lifetime": 300.0}
    ages = TIMES[:, None] + PERIOD * np.arange(400)
    n, m = (population.sum(1) * SPOT.sum() for population in formulas.linear_traps(ages, **rates))
    assert_allclose(found.density.sum((1, 2)), n, rtol=1e-4)
    assert_allclose(found.trapped.sum((1, 2)), m, rtol=1e-4)
    assert found.stats["periods"] <= 20


@pytest.mark.gate
def test_filling_traps_come_back():
    """`evolve` leads from what recurs to itself, to the tolerance of the steps.

    Traps that forget at k_d + 1/τ_t would hold 1/(1 − e^{−(k_d + 1/τ_t)T}) = 1.67 times what one pulse leaves; what
    they release and catch again makes it more.
    """
    film = Medium(D, TAU, annihilation=1e-2, traps=Traps(50.0, 1e-2, 0.02, 60.0))
    found = pulse_train(film, SPOT, GRID, period=PERIOD, times=[0.0])
    after = evolve(film, found.density[0], GRID, [PERIOD], trapped=found.trapped_by_species[:, 0])
    assert_allclose(after.density[0] + SPOT, found.density[0], rtol=1e-4)
    assert_allclose(after.trapped[0], found.trapped[0], rtol=1e-4)
    assert found.stats["periods"] <= 20
    assert found.trapped.sum() > 1.8 * evolve(film, SPOT, GRID, [PERIOD]).trapped.sum()


@pytest.mark.gate
def test_what_comes_in_goes_out():
    """Over one period all losses add up to the pulse."""
    film = Medium(D, TAU, traps=Traps(50.0, 1e-2, 0.02, 60.0))
    for pulse in (SPOT, Pulse(SPOT, fwhm=0.5)):
        held = time_integral(film, pulse, GRID, edges=[0.0, PERIOD], period=PERIOD)
        lost = held.density.sum() / TAU + held.trapped.sum() / 60.0
        assert_allclose(lost, SPOT.sum(), rtol=3e-4)  # a Pulse begins 1.5 FWHM before its peak: 2e-4 are left out


@pytest.mark.gate
def test_a_linear_train_is_on_average_the_steady_state():
    film = Medium(D, TAU, traps=Traps.linear(0.4, 0.01, 300.0))
    held = time_integral(film, SPOT, GRID, edges=[0.0, PERIOD], period=PERIOD)
    steady = steady_state(film, SPOT / PERIOD, GRID)
    assert_allclose(held.density[0] / PERIOD, steady.density, rtol=1e-4)
    assert_allclose(held.trapped[0] / PERIOD, steady.trapped, rtol=1e-4)


@pytest.mark.gate
def test_derivatives():
    """Forward is reverse, and both are central differences of the recurring state, in maps and in the period."""
    rng, grid = np.random.default_rng(3), Grid((1, 3), 0.1)
    weight, spot = jnp.asarray(rng.normal(size=(2, *grid.shape))), SPOT[:1, :3]
    p = {
        "density": 50.0 * jnp.ones(grid.shape),
        "lifetime": TAU * jnp.ones(grid.shape),
        "annihilation": jnp.asarray(1e-2),
        "period": jnp.asarray(PERIOD),
    }
    d = {name: jnp.asarray(0.1 * value * rng.normal(size=value.shape)) for name, value in p.items()}

    def loss(p):
        film = Medium(D, p["lifetime"], annihilation=p["annihilation"], traps=Traps(p["density"], 1e-2, 0.02, 60.0))
        times = jnp.array([0.3, 1.0]) * p["period"]
        found = pulse_train(film, spot, grid, period=p["period"], times=times, rtol=1e-4, solve_rtol=1e-12)
        return jnp.sum(weight * found.density) + jnp.sum(weight * found.trapped)

    value = jax.jit(loss)
    tangent = jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,))[1])(p, d)
    gradient = jax.jit(jax.grad(loss))(p)
    assert_allclose(sum(jnp.vdot(gradient[name], d[name]) for name in p), tangent, rtol=1e-6)
    up, down = (value({name: p[name] + e * d[name] for name in p}) for e in (1e-3, -1e-3))
    assert_allclose((up - down) / 2e-3, tangent, rtol=1e-2)  # steps are chosen anew


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pulse_train(Medium(D, TAU), SPOT, GRID, period=-1.0, times=[0.0]), "period"),
        (lambda: pulse_train(Medium(D, TAU), SPOT, GRID, period=5.0, times=[6.0]), "up to the period"),
        (lambda: pulse_train(Medium(D, np.inf), SPOT, GRID, period=5.0, times=[1.0]), "removes"),
        (
            lambda: pulse_train(Medium(D, TAU, traps=Traps.linear(0.4)), SPOT, GRID, period=5.0, times=[1.0]),
            "linear traps",
        ),
        (lambda: pulse_train(Medium(D, TAU), ONES[:2], GRID, period=5.0, times=[1.0]), "pulse"),
        (lambda: time_integral(Medium(D, TAU), SPOT, GRID, edges=[0.0, 9.0], period=5.0), "up to the period"),
    ],
)
def test_bad_trains_are_refused_by_name(call, says: str):
    with pytest.raises(InputError, match=says):
        call()
