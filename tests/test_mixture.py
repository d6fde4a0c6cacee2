"""Populations side by side: a sum of solutions, whatever solves them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from excidiff.solver import (
    Emission,
    Grid,
    InputError,
    Medium,
    Result,
    SolverError,
    Traps,
    evolve,
    gaussian_spot,
    mixture,
    steady_state,
    time_integral,
)

GRID = Grid((7, 9), (0.1, 0.12))
SPOT = gaussian_spot(GRID, fwhm=0.4)
SLOW, FAST = Medium(0.05, 5.0), Medium(0.02, 1.4)
TIMES = jnp.array([0.0, 0.5, 3.0])
SOLVES = {
    "steady": lambda film, share: steady_state(film, share * SPOT, GRID),
    "time": lambda film, share: evolve(film, share * SPOT, GRID, TIMES),
    "gates": lambda film, share: time_integral(film, share * SPOT, GRID, edges=TIMES),
}


@pytest.mark.parametrize("name", SOLVES)
def test_a_mixture_is_a_sum(name: str):
    solve = SOLVES[name]
    found = mixture(solve, [(0.7, SLOW), (0.3, FAST)])
    by_hand = 0.7 * solve(SLOW, 1.0).density + 0.3 * solve(FAST, 1.0).density
    assert_allclose(found.density, by_hand, rtol=0, atol=1e-14 * by_hand.max())
    assert found.result == Result.converged
    assert found.trapped is None
    assert found.emission is None


def test_a_biexponential_decay():
    """Σ w_k e^{−t/τ_k} excitons in all, whatever the diffusivities, to the rounding of the transforms."""
    found = mixture(SOLVES["time"], [(0.7, SLOW), (0.3, FAST)])
    total = found.density.sum((1, 2)) * GRID.cell_area
    assert_allclose(total, 0.7 * np.exp(-TIMES / 5.0) + 0.3 * np.exp(-TIMES / 1.4), rtol=1e-12)


def test_each_annihilates_with_its_own_kind():
    """Uniform light G: n_k = [−1 + √(1 + 4B w_k G τ_k²)]/(2Bτ_k), entry 20, and e = Σ k_r n_k."""
    light, b = 3.0, 0.1
    films = [Medium(0.05, tau, annihilation=b, emission=Emission(0.02)) for tau in (5.0, 1.4)]
    found = mixture(
        lambda film, share: steady_state(film, share * light * jnp.ones(GRID.shape), GRID),
        list(zip((0.7, 0.3), films, strict=True)),
    )
    exact = sum((np.sqrt(1 + 4 * b * w * light * t**2) - 1) / (2 * b * t) for w, t in ((0.7, 5.0), (0.3, 1.4)))
    assert_allclose(found.density, exact, rtol=1e-7)
    assert_allclose(found.emission, 0.02 * exact, rtol=1e-7)
    assert found.stats["imbalance"] >= 0


def test_trapped_excitons_of_all_populations():
    one, two = Traps.linear(0.3, 0.1, 4.0), Traps.linear(0.4, 0.2, 3.0)
    films = [Medium(0.05, 5.0, traps=(one, two)), FAST, Medium(0.05, 2.0, traps=two)]
    solve = SOLVES["steady"]
    found = mixture(solve, list(zip((0.5, 0.3, 0.2), films, strict=True)))
    assert found.trapped_by_species.shape == (3, *GRID.shape)
    by_hand = solve(films[0], 0.5).trapped + solve(films[2], 0.2).trapped
    assert_allclose(found.trapped, by_hand, rtol=1e-10)


def test_derivatives_in_shares_and_lifetimes():
    """All light of Σ w_k τ_k: its gradient is (τ_k, w_k), forward and in reverse; its second derivative is one."""

    @jax.jit
    def total(w, tau):
        films = [(w[0], Medium(0.05, tau[0])), (w[1], Medium(0.02, tau[1]))]
        return mixture(SOLVES["steady"], films).density.sum() * GRID.cell_area

    w, tau = jnp.array([0.7, 0.3]), jnp.array([5.0, 1.4])
    for gradient in (jax.grad(total, (0, 1)), jax.jacfwd(total, (0, 1))):
        by_share, by_lifetime = gradient(w, tau)
        assert_allclose(by_share, tau, rtol=1e-10)
        assert_allclose(by_lifetime, w, rtol=1e-10)
    assert_allclose(jax.jacfwd(jax.grad(total, 0), 1)(w, tau), np.eye(2), atol=1e-9)


def test_the_first_failure_counts():
    """Where only traps of 25 excitons per µm² and ns remove anything, more light has no steady state."""
    full = Medium(0.05, np.inf, traps=Traps(500.0, 2e-3, 0.01, 20.0))
    light = 100.0 * jnp.ones(GRID.shape)
    pair = [(0.5, SLOW), (0.5, full)]
    found = mixture(lambda film, share: steady_state(film, share * light, GRID, throw=False), pair)
    assert found.result == steady_state(full, 0.5 * light, GRID, throw=False).result != Result.converged
    with pytest.raises(SolverError):
        mixture(lambda film, share: steady_state(film, share * light, GRID), pair)
    traced = jax.jit(lambda light: mixture(lambda film, share: steady_state(film, share * light, GRID), pair).density)
    assert jnp.isnan(traced(light)).all()


@pytest.mark.parametrize(
    ("populations", "says"),
    [
        ([], "at least one"),
        ([(0.7, SLOW), (0.4, FAST)], "add up"),
        ([(1.2, SLOW), (-0.2, FAST)], "share"),
        ([(0.5, SLOW), (0.5, Medium(0.02, 1.4, emission=Emission(0.1)))], "Emission"),
    ],
)
def test_what_does_not_fit_is_refused(populations, says: str):
    with pytest.raises(InputError, match=says):
        mixture(SOLVES["steady"], populations)
