"""The operator: symmetric, conservative, at rest in equilibrium. Budgets are rounding of sums of ~100 terms, 1e-12."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver.flux import assemble, bernoulli, harmonic
from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium, Surface

SHAPE = (11, 14)
RNG = np.random.default_rng(1)
DIFFUSIVITY = np.exp(0.5 * RNG.standard_normal(SHAPE))
DIFFUSIVITY[3, 4:7] = 0.0
LANDSCAPE = 60.0 * RNG.standard_normal(SHAPE)


def film(lifetime=np.inf, surface=None) -> Medium:
    return Medium((DIFFUSIVITY, 0.3), lifetime, landscape=LANDSCAPE, surface=surface)


def grids() -> list[Grid]:
    return [Grid(SHAPE, (0.1, 0.07), periodic) for periodic in ((False, False), (True, False), (True, True))]


@pytest.mark.parametrize("grid", grids(), ids=str)
def test_symmetric(grid: Grid):
    operator = assemble(film(3.0), grid)
    x, y = RNG.standard_normal((2, *SHAPE))
    left, right = jnp.vdot(operator.apply(x), y), jnp.vdot(x, operator.apply(y))
    assert abs(left - right) <= 1e-12 * jnp.linalg.norm(operator.apply(x)) * np.linalg.norm(y)


@pytest.mark.parametrize("grid", grids(), ids=str)
def test_what_leaves_one_cell_enters_another(grid: Grid):
    """Columns of the operator in n sum to zero where nothing recombines."""
    operator = assemble(film(), grid)
    density = RNG.uniform(0.5, 1.0, SHAPE)
    rates = operator.density(operator.apply(operator.symmetric(density)))
    assert abs(rates.sum()) <= 1e-12 * jnp.abs(rates).sum()


@pytest.mark.parametrize("grid", grids(), ids=str)
def test_equilibrium_carries_no_flux(grid: Grid):
    """n ∝ exp(−U/kT): each face's two terms cancel to rounding, 1e-15 of themselves."""
    operator = assemble(film(), grid)
    rest = operator.density(jnp.exp(-0.5 * operator.potential))
    rates = operator.apply(operator.symmetric(rest))
    terms = operator.diagonal * operator.symmetric(rest)
    assert jnp.abs(rates).max() <= 2e-14 * jnp.abs(terms).max()


def test_backward_euler_keeps_densities_positive():
    """(I + Δt A) is an M-matrix: its inverse has no negative entry, at any time step."""
    grid = Grid((4, 5), 0.1)
    landscape = LANDSCAPE[:4, :5]
    operator = assemble(Medium(0.3, 2.0, landscape=landscape), grid)
    unit = jnp.eye(20).reshape(20, 4, 5)
    matrix = jax.vmap(lambda n: operator.density(operator.apply(operator.symmetric(n))))(unit).reshape(20, 20).T
    for dt in (1e-3, 1.0, 1e3):
        inverse = jnp.linalg.inv(jnp.eye(20) + dt * matrix)
        assert inverse.min() >= -1e-14 * inverse.max()


def test_surface_conductance():
    """A side's loss is 1/(1/S + h/2D) per length, over h; S = ∞ leaves 2D/h, S = 0 nothing."""
    grid, velocity, d, h = Grid((1, 5), 0.1), 0.4, 0.3, 0.1
    for right, expected in ((velocity, 1 / (1 / velocity + h / (2 * d))), (np.inf, 2 * d / h), (0.0, 0.0)):
        for value in (right, jnp.asarray(right)):
            loss = assemble(Medium(d, np.inf, surface=Surface(right=value)), grid).loss
            np.testing.assert_allclose(loss[0], [0, 0, 0, 0, expected / h], rtol=1e-14)


def test_harmonic_mean_is_zero_beside_a_wall_with_a_finite_gradient():
    value, slope = jax.value_and_grad(lambda a: harmonic(a, jnp.asarray(2.0)))(0.0)
    assert value == 0
    assert np.isfinite(slope)
    np.testing.assert_allclose(harmonic(jnp.asarray(1.0), jnp.asarray(3.0)), 1.5)


def test_bernoulli_is_smooth_and_never_overflows():
    """Against δ/(e^δ − 1) where that can be evaluated, and across the switch to a series at 0.1, to 1e-13."""
    steps = jnp.concatenate([jnp.linspace(-5, 5, 401), jnp.array([0.0999999, 0.1000001])])
    down, symmetric, up = bernoulli(steps)
    safe = jnp.where(steps == 0, 1.0, steps)
    exact = jnp.where(steps == 0, 1.0, safe / jnp.expm1(safe))
    np.testing.assert_allclose(down, exact, rtol=1e-13)
    np.testing.assert_allclose(up - down, steps, atol=1e-13)
    np.testing.assert_allclose(symmetric**2, up * down, rtol=2e-13)
    for order in (lambda f: f, jax.grad, lambda f: jax.grad(jax.grad(f))):
        derivative = jax.vmap(order(lambda d: sum(bernoulli(d))))
        assert jnp.isfinite(derivative(jnp.array([-1200.0, -0.1, 0.0, 0.1, 1200.0]))).all()
        near = derivative(jnp.array([0.1 - 1e-9, 0.1 + 1e-9]))
        np.testing.assert_allclose(near[0], near[1], rtol=1e-6)
