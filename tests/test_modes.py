"""Derivatives through every mode of JAX: mapped, jitted, forward over reverse and the reverse; of times; of failures.

On six cells, where a derivative costs its compilation only. `test_derivatives` asks whether a derivative is right;
here one mode is held against another, and all against differences.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver import Grid, Medium, evolve, gaussian_spot, steady_state, time_integral

GRID = Grid((2, 3), 0.1)
MAP = jnp.asarray(0.05 * np.exp(np.random.default_rng(0).normal(0, 0.3, GRID.shape)))
SPOT = gaussian_spot(GRID, fwhm=0.2)
TIMES = jnp.array([0.0, 0.1, 0.3])
SCALES = jnp.array([0.7, 1.3])
EXACT = {"rtol": 1e-2, "solve_rtol": 1e-13, "max_steps": 40}


def steady(scale):
    return jnp.sum(steady_state(Medium(scale * MAP, 3.0 * scale), SPOT, GRID, rtol=1e-13).density ** 2)


def moving(scale):
    return jnp.sum(evolve(Medium(scale * MAP, 3.0 * scale), SPOT, GRID, TIMES, **EXACT).density ** 2)


@pytest.mark.parametrize("loss", [steady, pytest.param(moving, marks=pytest.mark.gate)])
def test_first_derivatives_mapped_in_every_order(loss):
    """vmap inside or outside, forward or reverse: the same numbers, and none across the batch."""
    slopes = jnp.stack([jax.jvp(loss, (s,), (1.0,))[1] for s in SCALES])
    mapped = jax.vmap(loss)
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(SCALES), slopes, rtol=1e-9)
    np.testing.assert_allclose(jax.grad(lambda s: jnp.sum(mapped(s)))(SCALES), slopes, rtol=1e-9)
    np.testing.assert_allclose(jax.jvp(mapped, (SCALES,), (jnp.ones(2),))[1], slopes, rtol=1e-9)
    for jacobian in (jax.jacfwd, jax.jacrev):
        found = jacobian(mapped)(SCALES)
        np.testing.assert_allclose(found, jnp.diag(slopes), rtol=1e-9, atol=0)


@pytest.mark.gate
@pytest.mark.parametrize(("loss", "tolerance"), [(steady, 1e-6), (moving, 1e-4)])
def test_second_derivatives_in_every_order(loss, tolerance: float):
    """Hessians, forward and reverse in each order, against a central difference of the slope (error ε² = 1e-8).

    In time the steps are chosen anew for each difference, and differ a little.
    """
    slope = jax.jit(jax.grad(loss))
    expected = jnp.stack([(slope(s + 1e-4) - slope(s - 1e-4)) / 2e-4 for s in SCALES])
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.hessian(loss)))(SCALES), expected, rtol=tolerance)
    for outer, inner in ((jax.jacfwd, jax.jacfwd), (jax.jacrev, jax.jacrev)):
        np.testing.assert_allclose(outer(inner(loss))(SCALES[0]), expected[0], rtol=tolerance)


@pytest.mark.gate
def test_hessian_of_a_map():
    """All of a steady Hessian at once, forward over reverse against reverse over reverse."""

    def loss(d):
        return jnp.sum(steady_state(Medium(d, 3.0), SPOT, GRID, rtol=1e-13).density ** 2)

    forward, reverse = jax.hessian(loss)(MAP), jax.jacrev(jax.jacrev(loss))(MAP)
    np.testing.assert_allclose(forward, reverse, rtol=0, atol=1e-10 * jnp.abs(reverse).max())


def test_what_does_not_move_has_no_derivative():
    """The first frame does not know the second time: exactly zero; and a tangent of 1e-12 keeps all its digits."""

    def frames(times):
        return evolve(Medium(MAP, 3.0), SPOT, GRID, times, rtol=1e-2, max_steps=40).density

    times = jnp.array([0.1, 0.2])
    along, small = (jax.jvp(frames, (times,), (jnp.array([0.0, step]),))[1] for step in (1.0, 1e-12))
    assert not along[0].any()
    assert along[1].any()
    np.testing.assert_allclose(small[1] * 1e12, along[1], rtol=1e-9)


@pytest.mark.parametrize("film", [pytest.param(Medium(MAP, 3.0), marks=pytest.mark.gate), Medium(0.05, 3.0)])
def test_intervals_of_no_length_may_be_moved(film: Medium):
    """A start at zero, and a time given twice: first and second derivatives of a shift by differences (error ε²)."""
    exact = {"rtol": 1e-9, "solve_rtol": 1e-13}
    weight = jnp.asarray(np.random.default_rng(1).normal(size=GRID.shape))[None]
    times = jnp.array([0.0, 0.1, 0.1, 0.3])

    def shifted(shift):
        gates = time_integral(film, SPOT, GRID, edges=times + shift, **exact).density
        frames = evolve(film, SPOT, GRID, times + shift, generation=0.1 * SPOT, **exact).density
        return jnp.concatenate([jnp.sum(weight * out, (1, 2)) for out in (frames, gates)])

    value, e = jax.jit(shifted), 1e-3
    slope = jax.jit(jax.jacfwd(shifted))
    ahead = [value(k * e) for k in range(3)]
    expected = (4 * ahead[1] - 3 * ahead[0] - ahead[2]) / (2 * e)
    np.testing.assert_allclose(slope(0.0), expected, rtol=0, atol=1e-3 * jnp.abs(expected).max())
    bends = (4 * slope(e) - 3 * slope(0.0) - slope(2 * e)) / (2 * e)
    np.testing.assert_allclose(jax.jacfwd(jax.jacfwd(shifted))(0.0), bends, rtol=0, atol=1e-3 * jnp.abs(bends).max())


def test_each_of_two_equal_times_is_its_own():
    """Moving the second of two equal times moves its frame alone, at the rate of a uniform film's exact modes."""
    times = jnp.array([0.1, 0.1, 0.3])

    def rate(film):
        return jax.jacfwd(lambda t: jnp.sum(evolve(film, SPOT, GRID, t, **EXACT).density, (1, 2)))(times)

    np.testing.assert_allclose(
        rate(Medium(0.05 * jnp.ones(GRID.shape), 3.0)), rate(Medium(0.05, 3.0)), rtol=1e-3, atol=1e-9
    )


def test_a_failed_solve_has_no_derivative():
    """A cell that light reaches and nothing leaves: value and slopes are NaN, in both directions."""
    frozen, kept = MAP.at[1, 2].set(0.0), (3.0 * jnp.ones(GRID.shape)).at[1, 2].set(jnp.inf)

    def loss(scale):
        return jnp.sum(steady_state(Medium(scale * frozen, kept), SPOT, GRID).density)

    assert all(jnp.isnan(x) for x in (*jax.jvp(loss, (1.0,), (1.0,)), *jax.value_and_grad(loss)(1.0)))


def test_a_failed_derivative_of_a_good_solve_is_nan():
    """The same cell in the dark is fine; to light it would fill it without end, and so says the derivative."""
    frozen, kept = MAP.at[1, 2].set(0.0), (3.0 * jnp.ones(GRID.shape)).at[1, 2].set(jnp.inf)
    light = jnp.zeros(GRID.shape).at[1, 2].set(1.0)
    dark = SPOT * (1 - light)
    value, slope = jax.jvp(lambda s: steady_state(Medium(frozen, kept), s, GRID).density, (dark,), (light,))
    assert jnp.isfinite(value).all()
    assert jnp.isnan(slope).all()
