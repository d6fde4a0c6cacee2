"""Energy bins: their rates and equilibrium, and the film that they make, against all of it written as one matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

from excidiff.solver import Disorder, Grid, InputError, Medium, Surface, Traps, evolve, steady_state, time_integral
from excidiff.solver.bins import band, slower
from excidiff.solver.disorder import acceptance, cut
from excidiff.solver.kinetics import kinetics, nothing_trapped
from excidiff.solver.linear.flux import assemble
from excidiff.solver.medium import BOLTZMANN

GRID = Grid((5, 6), 0.1)
X, Y = np.meshgrid(np.linspace(-1, 1, 6), np.linspace(-1, 1, 5))
SPOT = 100.0 * jnp.exp(-3 * (X**2 + Y**2))
D, TAU = 0.05 * np.exp(0.3 * X), 5.0 * np.exp(0.2 * Y)
ENERGY = 15.0 * np.sin(2 * X + Y)
BOTH = pytest.mark.parametrize("mobility", ["constant", "hops"])


def disorder(mobility: str, bins: int = 6) -> Disorder:
    return Disorder(25.0, 1.5, bins, mobility)


@pytest.mark.parametrize(("width", "thermal"), [(16.0, 25.4), (60.0, 25.4), (12.0, 0.34), (3.0, 25.0)])
def test_bins_relax_to_equilibrium(width: float, thermal: float):
    """Entry 23: mean −σ²/kT and width σ; detailed balance and conservation to rounding, however wide a bin is.

    What lies beyond 4σ, 3e-5, counts as if at the middle of the outermost bin; h²/12 is Sheppard's correction for the
    width of a bin.
    """
    bins = cut(Disorder(width, 1.0, 48), thermal)
    h = np.diff(bins.energies)[0]
    mean = bins.energies @ bins.equilibrium
    spread = np.sqrt((bins.energies - mean) ** 2 @ bins.equilibrium - h**2 / 12)
    assert_allclose(mean, -(width**2) / thermal, atol=1e-4 * width)
    assert_allclose(spread, width, rtol=2e-3)
    assert_allclose(bins.energies @ bins.sites, 0.0, atol=1e-4 * width)
    assert_allclose([bins.sites.sum(), bins.equilibrium.sum()], 1.0, rtol=1e-14)
    flow = bins.rates * bins.equilibrium[None, :]
    assert_allclose(flow, flow.T, rtol=1e-12, atol=1e-300)
    assert_allclose(bins.rates.sum(0), 0.0, atol=1e-14)
    late = expm(-200.0 * np.asarray(bins.rates)) @ bins.sites if width < thermal else bins.equilibrium
    assert_allclose(late, bins.equilibrium, atol=1e-3)


def test_wide_and_narrow_bins_relax_alike():
    """Averaged rates: 8 bins of 1.4 kT and 64 of 0.17 kT cool a Gaussian of 25 meV to within 0.4 meV of one another."""
    times = np.array([0.3, 1.0, 3.0, 10.0])
    means = []
    for count in (8, 64):
        bins = cut(disorder("constant", count), 25.0)
        shares = np.array([expm(-t * np.asarray(bins.rates)) @ bins.sites for t in times])
        means.append(shares @ bins.energies)
    assert_allclose(*means, atol=0.4)


def test_acceptance_is_the_metropolis_average():
    """∫ g(E′) min(1, e^{−(E′ − E)/kT}) dE′ by a fine sum, 1e-6."""
    shift = 1.3
    grid = np.linspace(-9, 9, 200001)
    weight = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi) * (grid[1] - grid[0])
    for energy in (-4.0, -1.0, 0.0, 2.5):
        expected = weight @ np.minimum(1.0, np.exp(-shift * (grid - energy)))
        assert_allclose(acceptance(jnp.asarray(energy), shift), expected, rtol=1e-6)


def written_out(medium: Medium, source) -> np.ndarray:
    """All bins in one matrix of cells × bins, by the equations; linear traps eliminated."""
    assert medium.disorder is not None
    bins = cut(medium.disorder, BOLTZMANN * medium.temperature)
    cells, count = source.size, medium.disorder.bins
    unit = jnp.eye(cells).reshape(cells, *GRID.shape)
    matrix = np.kron(np.asarray(bins.rates), np.eye(cells))
    for k in range(count):
        operator = assemble(slower(medium, bins.mobility[k]), GRID)
        # A n = φ A_v v: the operator acts on v = n/φ, and its rows are divided by φ
        columns = jax.vmap(lambda n, a=operator: a.density(a.apply(a.symmetric(n))))(unit)
        block = slice(k * cells, (k + 1) * cells)
        matrix[block, block] += np.asarray(columns).reshape(cells, cells).T
    for traps in medium.traps:
        rate = np.broadcast_to(np.asarray(traps.rate), GRID.shape).ravel()
        back = rate * traps.release / (traps.release + 1 / traps.lifetime)
        matrix += np.kron(np.eye(count), np.diag(rate))
        matrix -= np.kron(np.asarray(bins.equilibrium)[:, None] * np.ones(count), np.diag(back))
    light = np.kron(np.asarray(bins.sites), np.asarray(source).ravel())
    return np.linalg.solve(matrix, light).reshape(count, *GRID.shape)


@BOTH
def test_steady_state_against_the_matrix(mobility: str):
    """With maps of D, τ and U, a side that takes excitons, and traps that give them back: to the residual, 1e-11."""
    film = Medium(
        D,
        TAU,
        ENERGY,
        surface=Surface(left=0.3),
        traps=Traps.linear(0.3 + 0.1 * X, 0.05, 20.0),
        disorder=disorder(mobility),
    )
    found = steady_state(film, SPOT, GRID, rtol=1e-12)
    exact = written_out(film, SPOT)
    assert_allclose(found.by_energy, exact, rtol=1e-9, atol=1e-10 * exact.max())
    assert_allclose(found.density, exact.sum(0), rtol=1e-9)
    assert found.energies.shape == (6,)


NONLINEAR = {
    "annihilation": 1e-2,
    "auger": 1e-5,
    "traps": (Traps(100.0, 5e-3, 0.05, 20.0), Traps.linear(0.3, 0.05, 20.0)),
}


def test_what_all_bins_share_needs_no_energies():
    """With one D for all, n and m are those of the film without disorder, nonlinear losses and all."""
    plain = steady_state(Medium(D, TAU, ENERGY, **NONLINEAR), SPOT, GRID, rtol=1e-11)
    found = steady_state(Medium(D, TAU, ENERGY, disorder=disorder("constant"), **NONLINEAR), SPOT, GRID, rtol=1e-11)
    assert_allclose(found.density, plain.density, rtol=1e-8)
    assert_allclose(found.trapped_by_species, plain.trapped_by_species, rtol=1e-8)


@pytest.mark.gate
@BOTH
def test_nonlinear_films_balance(mobility: str):
    """Each bin by itself: the linear film with the losses at the n found gives the n_k found, to some residuals."""
    film = Medium(D, TAU, ENERGY, disorder=disorder(mobility), **NONLINEAR)
    bins = cut(film.disorder, BOLTZMANN * film.temperature)
    for times in (1e-2, 1.0, 1e4):
        found = steady_state(film, times * SPOT, GRID)
        assert found.stats["imbalance"] <= 1e-8
        assert found.by_energy.min() >= 0
        n, m = np.asarray(found.density), np.asarray(found.trapped_by_species)
        pace = 1e-2 * n + 1e-5 * n**2 + 5e-3 * (100.0 - m[0]) + 0.3
        frozen = Medium(D, 1 / (1 / TAU + pace), ENERGY, disorder=disorder(mobility))
        created = steady_state(frozen, times * SPOT, GRID, rtol=1e-11).by_energy
        released = from_shares(frozen, bins.equilibrium, jnp.asarray(0.05 * (m[0] + m[1])))
        expected = created + released
        assert_allclose(found.by_energy, expected, rtol=0, atol=1e-6 * expected.max())


def from_shares(film: Medium, shares, source) -> np.ndarray:
    """n_k of a linear film where the source enters the bins by `shares`."""
    rate = shares[:, None, None] * source[None]
    found, _, _ = band(film, GRID, kinetics(film)).solve(
        rate, nothing_trapped(film, source), jnp.zeros(()), rtol=1e-11, guess=jnp.zeros_like(rate)
    )
    return np.asarray(found)


@BOTH
def test_energies_cool_with_age(mobility: str):
    """Over the whole film p(t) = e^{−Rt} g e^{−t/τ}, whatever diffuses: to the tolerance of the stepping, 1e-4."""
    film, times = Medium(0.05, 5.0, disorder=disorder(mobility)), np.array([0.05, 0.5, 2.0, 10.0])
    bins = cut(film.disorder, BOLTZMANN * film.temperature)
    found = np.asarray(evolve(film, SPOT, GRID, times).by_energy).sum((2, 3)) / float(SPOT.sum())
    exact = [expm(-t * np.asarray(bins.rates)) @ np.asarray(bins.sites) * np.exp(-t / 5.0) for t in times]
    assert_allclose(found, exact, atol=1e-4 * np.sum(exact, 1).min())


@pytest.mark.gate
@BOTH
def test_gates_add_up_to_the_steady_state(mobility: str):
    """Entry 10 in every bin; the tail beyond 80 ns holds e^−16 of the pulse."""
    film = Medium(0.05, 5.0, disorder=disorder(mobility))
    gates = time_integral(film, SPOT, GRID, edges=[0.0, 0.5, 2.0, 80.0], rtol=1e-5)
    steady = steady_state(film, SPOT, GRID)
    assert gates.by_energy.shape == (3, 6, *GRID.shape)
    assert_allclose(gates.by_energy.sum(0), steady.by_energy, rtol=1e-5)


@pytest.mark.gate
def test_in_time_what_all_bins_share_needs_no_energies():
    times = np.array([0.3, 2.0, 9.0])
    plain = evolve(Medium(D, TAU, ENERGY, **NONLINEAR), SPOT, GRID, times)
    found = evolve(Medium(D, TAU, ENERGY, disorder=disorder("constant"), **NONLINEAR), SPOT, GRID, times)
    assert_allclose(found.density, plain.density, rtol=1e-4)
    assert_allclose(found.trapped_by_species, plain.trapped_by_species, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Disorder(-1.0, 1.0), "width"),
        (lambda: Disorder(1.0, -1.0), "relaxation"),
        (lambda: Disorder(1.0, 1.0, bins=1), "bins"),
        (lambda: Disorder(1.0, 1.0, mobility="fast"), "mobility"),
        (lambda: steady_state(Medium(D, TAU, disorder=Disorder(250.0, 1.0)), SPOT, GRID), "width"),
    ],
)
def test_bad_disorder_is_refused_by_name(make, says: str):
    with pytest.raises(InputError, match=says):
        make()
