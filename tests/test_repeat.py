"""A round spot under a laser that repeats: closed forms, period after period, and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver import Grid, InputError, Medium, Traps, round_pulse, time_integral
from excidiff.solver.repeat import repeating

PERIOD, LIFETIME, WIDTH = 10.0, 4.0, 0.13
EDGES = np.linspace(0.0, PERIOD, 21)
SPOT = {"width": WIDTH, "edges": EDGES, "radius": 2.0, "nodes": 32, "modes": 48, "steps": 64}
EVEN = {"width": 1e6, "edges": EDGES, "radius": 1.0, "nodes": 8, "modes": 2, "steps": 64, "period": PERIOD}


def test_even_light_that_annihilates():
    """After a pulse v = p + v E/(1 + k v), k = B τ (1 − E), and ∫ n dt = ln(1 + B v τ (1 − e^{−t/τ}))/B: to 1e-7."""
    loss, pulse = 2e-3, 1000.0
    kept = np.exp(-PERIOD / LIFETIME)
    k = loss * LIFETIME * (1 - kept)
    half = 1 - kept - k * pulse
    first = (-half + np.sqrt(half**2 + 4 * k * pulse)) / (2 * k)
    reached = np.log1p(loss * first * LIFETIME * -np.expm1(-EDGES / LIFETIME)) / loss
    found = round_pulse(Medium(1e-30, LIFETIME, annihilation=loss), peak=pulse, **EVEN)
    np.testing.assert_allclose(found.free, np.pi * np.diff(reached), rtol=1e-7)


def test_a_linear_film_sees_all_earlier_pulses():
    """One period holds what one pulse leaves for ever: profile and total to 1e-7 of the peak."""
    medium = Medium(0.02, LIFETIME)
    found = round_pulse(medium, peak=5.0, period=PERIOD, **SPOT)
    long = round_pulse(medium, peak=5.0, **{**SPOT, "edges": [0.0, 40 * LIFETIME]})
    np.testing.assert_allclose(found.modes, long.modes, atol=1e-7 * float(jnp.abs(long.modes).max()))
    assert float(found.free.sum()) == pytest.approx(float(long.free[0]), rel=1e-7)


@pytest.mark.gate
def test_traps_that_live_for_periods_are_filled_as_on_a_grid():
    """Even light: `time_integral` of the same train on a grid, which steps and repeats in its own way, to 1e-5."""
    medium = Medium(1e-30, LIFETIME, annihilation=2e-4, traps=Traps(900.0, 1.2e-3, 0.02, 30.0))
    grid = Grid((2, 2), 1.0)
    other = time_integral(medium, jnp.full((2, 2), 800.0), grid, edges=EDGES, period=PERIOD, rtol=1e-7)
    found = round_pulse(medium, peak=800.0, **EVEN)
    np.testing.assert_allclose(found.free / np.pi, other.density[:, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(found.trapped[0] / np.pi, other.trapped[:, 0, 0], rtol=1e-5)
    single = round_pulse(medium, peak=800.0, **{**EVEN, "period": None})
    assert float(found.free[0] / single.free[0]) > 1.1


@pytest.mark.gate
def test_derivatives_of_traps_that_live_for_periods():
    """Every number of the film, by central differences to 1e-6 of each slope; in reverse the same to 1e-9."""
    start = jnp.array([0.02, LIFETIME, 900.0, 1.2e-3, 0.02, 30.0])

    def light(p):
        return round_pulse(Medium(p[0], p[1], traps=Traps(*p[2:])), peak=800.0, period=PERIOD, **SPOT)

    run = jax.jit(lambda p: jnp.concatenate([light(p).free, light(p).modes]))
    slopes = jax.jit(jax.jacfwd(run))(start)
    for index, value in enumerate(start):
        step = jnp.zeros(6).at[index].set(1e-4 * value)
        slope = (run(start + step) - run(start - step)) / (2e-4 * value)
        assert jnp.abs(slope - slopes[:, index]).max() < 1e-6 * jnp.abs(slope).max(), index
    reverse = jax.jit(jax.grad(lambda p: run(p).sum()))(start)
    np.testing.assert_allclose(reverse, slopes.sum(0), rtol=1e-9)


def test_what_repeats_is_found_and_what_does_not_is_none():
    """x ↦ √x + θ with a rough slope: the root of x = √x + θ and its derivative to 1e-8; a map that grows gives NaN."""

    def solved(theta):
        held = jax.lax.stop_gradient(theta)
        return repeating(lambda x: (jnp.sqrt(x) + theta, x), lambda x: 0.999 * jnp.sqrt(x) + held, jnp.full(1, 1.0))[0]

    theta = 0.7
    root = ((1 + np.sqrt(1 + 4 * theta)) / 2) ** 2
    slope = 1 / (1 - 0.5 / np.sqrt(root))
    assert float(solved(theta)) == pytest.approx(root, rel=1e-8)
    assert float(jax.grad(solved)(theta)) == pytest.approx(slope, rel=1e-8)
    assert np.isnan(repeating(lambda x: (2 * x + 1, x), lambda x: 0.5 * x + 1, jnp.ones(1))[0])


@pytest.mark.parametrize(("change", "said"), [({"period": -1.0}, "period"), ({"period": 8.0}, "beyond it")])
def test_impossible_periods_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        round_pulse(Medium(0.02, LIFETIME), peak=1.0, **{**SPOT, **change})
