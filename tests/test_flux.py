"""The operator: symmetric, conservative, at rest in equilibrium. Budgets are rounding of sums of ~100 terms, 1e-12."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver.grid import Grid
from excidiff.solver.linear.flux import assemble, coupling_at, harmonic, pair
from excidiff.solver.medium import Medium, Surface

SHAPE = (11, 14)
NOISE = np.random.default_rng(1).standard_normal((2, *SHAPE))
DIFFUSIVITY = np.exp(0.5 * NOISE[0])
DIFFUSIVITY[3, 4:7] = 0.0
LANDSCAPE = 60.0 * NOISE[1]


def film(lifetime=np.inf, surface=None) -> Medium:
    return Medium((DIFFUSIVITY, 0.3), lifetime, landscape=LANDSCAPE, surface=surface)


def grids() -> list[Grid]:
    return [Grid(SHAPE, (0.1, 0.07), periodic) for periodic in product((False, True), repeat=2)]


@pytest.mark.parametrize("grid", grids(), ids=str)
def test_symmetric(grid: Grid):
    operator = assemble(film(3.0), grid)
    x, y = np.random.default_rng(2).standard_normal((2, *SHAPE))
    left, right = jnp.vdot(operator.apply(x), y), jnp.vdot(x, operator.apply(y))
    assert abs(left - right) <= 1e-12 * jnp.linalg.norm(operator.apply(x)) * np.linalg.norm(y)


@pytest.mark.parametrize("grid", grids(), ids=str)
def test_what_leaves_one_cell_enters_another(grid: Grid):
    """Columns of the operator in n sum to zero where nothing recombines."""
    operator = assemble(film(), grid)
    density = np.random.default_rng(3).uniform(0.5, 1.0, SHAPE)
    rates = operator.density(operator.apply(operator.symmetric(density)))
    assert abs(rates.sum()) <= 1e-12 * jnp.abs(rates).sum()


@pytest.mark.parametrize("grid", grids(), ids=str)
def test_equilibrium_carries_no_flux(grid: Grid):
    """n ∝ exp(−U/kT), face by face: the two terms of its flux, −A_ij n_j and −A_ji n_i, cancel to 2e-15 of themselves
    (rounding of exponentials and their products: 4e-16 found); no cell gains or loses by them."""
    operator = assemble(film(), grid)
    rest = jnp.exp(-0.5 * operator.potential)
    step = [jnp.subtract(*pair(operator.potential, axis, grid.periodic[axis])[::-1]) for axis in (0, 1)]
    for axis, coupling in enumerate(operator.coupling):
        below, above = pair(operator.density(rest), axis, grid.periodic[axis])
        forth, back = coupling * jnp.exp(-0.5 * step[axis]) * below, coupling * jnp.exp(0.5 * step[axis]) * above
        assert (jnp.abs(forth - back) <= 2e-15 * (forth + back)).all()
    terms = operator.diagonal * rest
    assert jnp.abs(operator.apply(rest)).max() <= 2e-14 * jnp.abs(terms).max()


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


def test_harmonic_mean_beside_a_wall():
    """Zero where one of the two is, with the slope 2b/(a + b) = 2 of that side there; flat between two walls."""
    for other, expected in ((2.0, 2.0), (0.0, 0.0)):
        value, slope = jax.value_and_grad(lambda a, b=other: harmonic(a, jnp.asarray(b)))(0.0)
        assert value == 0
        assert slope == expected
    beside = harmonic(jnp.asarray(1e-8), jnp.asarray(2.0)) / 1e-8  # ½ h″ ε = 5e-9 of it
    np.testing.assert_allclose(beside, 2.0, rtol=1e-8)
    np.testing.assert_allclose(harmonic(jnp.asarray(1.0), jnp.asarray(3.0)), 1.5)


def test_coupling_is_smooth_and_never_overflows():
    """B(δ) e^{δ/2}, against B = δ/(e^δ − 1) where that can be evaluated and across the switch at 0.1, to 1e-13."""
    steps = jnp.concatenate([jnp.linspace(-5, 5, 401), jnp.array([0.0999999, 0.1000001])])
    symmetric = coupling_at(steps)
    safe = jnp.where(steps == 0, 1.0, steps)
    exact = jnp.where(steps == 0, 1.0, safe / jnp.expm1(safe))
    np.testing.assert_allclose(symmetric * jnp.exp(-steps / 2), exact, rtol=1e-13)
    np.testing.assert_array_equal(symmetric, coupling_at(-steps))
    for order in (lambda f: f, jax.grad, lambda f: jax.grad(jax.grad(f))):
        derivative = jax.vmap(order(coupling_at))
        assert jnp.isfinite(derivative(jnp.array([-1200.0, -0.1, 0.0, 0.1, 1200.0]))).all()
        near = derivative(jnp.array([0.1 - 1e-9, 0.1 + 1e-9]))
        np.testing.assert_allclose(near[0], near[1], rtol=1e-6)
