"""Gates of conservation and positivity: a rough film with every loss, at the default tolerances.

All that is created ends somewhere that can be counted: to 1e-8 in double precision and 1e-4 in single, as the solver
says of itself and as added up here, in double precision, from the populations alone.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks.problems import random_film
from excidiff.solver import Disorder, Emission, Medium, Traps, evolve, steady_state, time_integral

pytestmark = pytest.mark.gate
OPTIMISED = True

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "gate"), [(np.float64, 1e-8), (np.float32, 1e-4)], ids=["double", "single"]
)
B, C = 1e-3, 1e-6
TRAPS = (Traps(400.0, 2e-3, 0.01, 20.0), Traps.linear(0.2, 0.05, 9.0))


def lossy(n: int, dtype, **more):
    """A random film of n × n cells under a spot at which every loss is of the order of 1/τ, in one precision."""
    rough = random_film(n, roughness=(0.6, 0.2, 0.8 * n / 64))
    film = rough.medium
    film = Medium(film.diffusivity, film.lifetime, film.landscape, annihilation=B, auger=C, traps=TRAPS, **more)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), (film, 1000.0 * rough.source, rough.grid))


def floor(density, gate: float) -> float:
    """What a density may fall below zero: 10 rtol or 100 eps of its maximum."""
    rtol = {1e-8: 1e-8, 1e-4: 1e-5}[gate]
    return -max(10 * rtol, 100 * float(jnp.finfo(density.dtype).eps)) * float(density.max())


def lost(film, n, m) -> float:
    """n/τ + Bn² + Cn³ + Σ m/τ_t over the film."""
    n, m = (np.asarray(field, float) for field in (n, m))
    held = sum(np.sum(one / float(traps.lifetime)) for one, traps in zip(m, TRAPS, strict=True))
    return float(np.sum(n / np.asarray(film.lifetime, float) + B * n**2 + C * n**3) + held)


@PRECISIONS
@pytest.mark.parametrize("mobility", [None, "constant", "hops"])
def test_steady(dtype: type, gate: float, mobility: str | None):
    """From far below to far above where losses begin to matter; with energies on 32 cells, four bins."""
    more = {} if mobility is None else {"disorder": Disorder(25.0, 0.5, 4, mobility)}
    for times in (1e-3, 1.0, 1e3):
        film, source, grid = lossy(32 if more else 64, dtype, **more)
        found = steady_state(film, times * source, grid)
        assert found.density.dtype == dtype
        assert found.stats["imbalance"] <= gate
        balance = lost(film, found.density, found.trapped_by_species) / (times * np.asarray(source, float).sum())
        assert abs(balance - 1) <= gate
        assert found.density.min() >= floor(found.density, gate)
        assert found.trapped_by_species.min() >= floor(found.trapped_by_species, gate)


@PRECISIONS
def test_in_time(dtype: type, gate: float):
    """A pulse of 1000 per µm², by the solver's own account; `test_what_is_gone_was_taken` adds it up anew. Less below
    zero than the stepping's tolerance would allow: the floor is the steady state's (found −6e-11 of the maximum)."""
    film, pulse, grid = lossy(64, dtype)
    whole = evolve(film, pulse, grid, [0.3, 3.0])
    assert whole.density.dtype == dtype
    assert whole.stats["imbalance"] <= gate
    assert whole.density.min() >= floor(whole.density, gate)
    assert whole.trapped_by_species.min() >= floor(whole.density, gate)


def test_what_is_gone_was_taken():
    """Σ(n + m) falls by ∫ [n/τ + Bn² + Σ m/τ_t]: n and m are integrated by the solver, n² as light of b = B. Without
    Auger recombination, since nobody integrates n³. The integrals are
    sums over the stages of the steps that lead to the frames, so that far less than 1e-4 is left (found 5e-8; 1e-6)."""
    film, pulse, grid = lossy(32, np.float64, emission=Emission(0.0, bimolecular=B))
    film, times = eqx.tree_at(lambda m: m.auger, film, None), np.array([0.3, 3.0])
    frames = evolve(film, pulse, grid, times)
    alive = np.asarray(frames.density + frames.trapped).sum((1, 2))
    gates = time_integral(film, pulse, grid, edges=times)
    n, m, light = (
        np.asarray(field)[..., 0, :, :] for field in (gates.density, gates.trapped_by_species, gates.emission)
    )
    taken = np.sum(n / np.asarray(film.lifetime) + light)
    taken += sum(one.sum() / float(traps.lifetime) for one, traps in zip(m, TRAPS, strict=True))
    assert_allclose(alive[0] - alive[1], taken, rtol=1e-6)


@PRECISIONS
def test_nothing_is_lost_where_nothing_can(dtype: type, gate: float):
    """Traps that fill, hold and release, but no end for anyone: Σ(n + m) is the pulse, and the pulse and the light."""
    rough = random_film(64, roughness=(0.6, 0.2, 0.8))
    film = Medium(rough.medium.diffusivity, np.inf, rough.medium.landscape, traps=Traps(400.0, 2e-3, 0.01))
    film, pulse, grid = jax.tree.map(lambda a: jnp.asarray(a, dtype), (film, 1000.0 * rough.source, rough.grid))
    times = np.array([0.3, 3.0])
    found = evolve(film, pulse, grid, times, generation=0.1 * pulse)
    number = np.asarray(found.density + found.trapped, float).sum((1, 2)) / np.asarray(pulse, float).sum()
    assert_allclose(number, 1 + 0.1 * times, rtol=gate)
    assert found.stats["imbalance"] <= gate
