"""A round pulse against closed forms, ordinary differential equations, the solver on a grid, and its own derivatives.

The error budget of the defaults: totals 1e-6, profiles 1e-5 of their peak, where traps fill at a few per ns; what is
solved exactly is held to 1e-9 and better.
"""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.special import j0, j1, jn_zeros

from benchmarks import formulas
from benchmarks.simulated import Quarter
from excidiff.solver import (
    Disorder,
    InputError,
    Medium,
    Surface,
    Traps,
    round_pulse,
    round_radius,
    round_sizes,
    time_integral,
)
from excidiff.solver.disc import bessel, disc, flat_zeros
from excidiff.solver.radial import bin_weights, graded
from excidiff.solver.source import FWHM

WIDTH, PEAK, D, TAU = 0.126, 2500.0, 0.046, 5.0
EXCITONS = 2 * np.pi * WIDTH**2 * PEAK
EDGES = np.array([0.0, 0.05, 0.3, 1.0, 4.0, 5.0, 12.0, 40.0])
STILL = 1e-12
"""A diffusivity that moves nothing."""
FILLING = Traps(900.0, 1.2e-3, 0.01, 30.0)
RADII = np.linspace(0.0, 1.5, 60)


def profile(amplitudes, wavenumbers) -> np.ndarray:
    """Σ c_i J₀(k_i r) at RADII."""
    return np.asarray(amplitudes) @ j0(np.asarray(wavenumbers)[:, None] * RADII[None, :])


def legendre(low: float, high: float, count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(count)
    return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


def summed(local, edges=EDGES) -> np.ndarray:
    """∫∫ n dA dt over each bin of a film without diffusion, from n = `local`(t, n₀); dA = 2πs² d(r²/2s²)."""
    out = []
    for low, high in pairwise(edges):
        pieces = np.concatenate([[low], np.geomspace(max(low, 1e-4), high, 40)])
        t, w = (np.concatenate(part) for part in zip(*map(legendre, pieces[:-1], pieces[1:]), strict=True))
        u, v = legendre(0.0, 18.0, 80)
        out.append(w @ local(t[:, None], PEAK * np.exp(-u)[None, :]) @ v)
    return 2 * np.pi * WIDTH**2 * np.array(out)


def pulse(medium: Medium, **options):
    return round_pulse(medium, **({"width": WIDTH, "peak": PEAK, "edges": EDGES} | options))


def test_bessel_functions_and_zeros():
    z = np.linspace(0.0, 900.0, 1801)
    assert_allclose(bessel(0, z), j0(z), atol=2e-14)
    assert_allclose(bessel(1, z), j1(z), atol=2e-14)
    assert_allclose(flat_zeros(129), np.concatenate([[0.0], jn_zeros(1, 128)]), rtol=1e-14)


def test_modes_of_the_disc():
    """The first eigenvalues are the squared zeros of J₁; all modes but the first are empty."""
    one = disc(64)
    assert_allclose(one.eigenvalues[:20], flat_zeros(20) ** 2, rtol=1e-10)
    assert_allclose(one.into @ one.back, np.eye(64), atol=1e-12)
    assert_allclose(one.weights @ one.back, np.eye(64)[0] * np.sqrt(np.pi), atol=1e-13)


def test_a_linear_film_is_exact():
    """Entry 7: totals to 1e-11, the profile to 1e-6 of its peak, what the wall reflects and the waves leave out."""
    found = pulse(Medium(D, TAU))
    assert_allclose(found.free, EXCITONS * TAU * -np.diff(np.exp(-EDGES / TAU)), rtol=1e-11)
    t, w = (np.concatenate(part) for part in zip(*map(legendre, EDGES[:-1], EDGES[1:]), strict=True))
    variance = formulas.spreading_variance(t, diffusivity=D, s=WIDTH)[:, None]
    exact = (w * np.exp(-t / TAU)) @ (EXCITONS * np.exp(-(RADII**2)[None] / (2 * variance)) / (2 * np.pi * variance))
    assert_allclose(profile(found.modes, found.wavenumbers), exact, atol=1e-6 * exact.max())
    assert found.trapped.shape == (0, EDGES.size - 1)


def test_frames_add_up_and_begin_late():
    """Bins from t₀ > 0, each a profile of its own; their sum is the profile over all. Entry 7 again."""
    edges = EDGES[3:]
    frames, whole = (pulse(Medium(D, TAU, traps=FILLING), edges=edges, frames=f) for f in (True, False))
    for name in ("modes", "trapped_modes", "squared_modes"):
        assert_allclose(getattr(frames, name).sum(-2), getattr(whole, name), rtol=1e-9, atol=1e-9)
    # the first wave is the mean over the disc
    assert_allclose(frames.modes[:, 0] * np.pi * float(frames.radius) ** 2, frames.free, rtol=1e-9)
    assert_allclose(frames.trapped_modes[..., 0] * np.pi * float(frames.radius) ** 2, frames.trapped, rtol=1e-9)
    late = pulse(Medium(D, TAU), edges=edges).free
    assert_allclose(late, EXCITONS * TAU * -np.diff(np.exp(-edges / TAU)), rtol=1e-9)
    assert_allclose(whole.free, pulse(Medium(D, TAU, traps=FILLING)).free[3:], rtol=1e-12)


@pytest.mark.parametrize("fills", [False, True])
def test_linear_traps(fills: bool):
    """Entry 16, with traps that cannot fill, and with as many that could but are far from it: 1e-7."""
    rate, release, lifetime = 1.1, 0.1, 30.0
    traps = Traps(1e9, rate / 1e9, release, lifetime) if fills else Traps.linear(rate, release, lifetime)
    found = pulse(Medium(D, TAU, traps=traps), peak=1.0)
    for which, seen in enumerate((found.free, found.trapped[0])):
        exact = summed(lambda t, n, which=which: n * formulas.linear_traps(
            t, lifetime=TAU, rate=rate, release=release, trap_lifetime=lifetime)[which])  # fmt: skip
        assert_allclose(seen, exact / PEAK, rtol=1e-7)


@pytest.mark.parametrize(
    ("film", "local"),
    [
        (Medium(STILL, np.inf, traps=Traps(900.0, 2e-4)), partial(formulas.filling, traps=900.0, capture=2e-4)),
        (Medium(STILL, TAU, annihilation=1e-3), partial(formulas.annihilated, lifetime=TAU, annihilation=1e-3)),
        (Medium(STILL, TAU, auger=1e-6), partial(formulas.auger_decay, lifetime=TAU, auger=1e-6)),
    ],
    ids=["filling", "annihilation", "auger"],
)  # fmt: skip
def test_without_diffusion(film: Medium, local):
    """Entries 19, 20 and 21 in every ring of the spot."""
    found = pulse(film)
    assert_allclose(found.free, summed(local), rtol=1e-6)
    assert_allclose(found.squared, summed(lambda t, n: local(t, n) ** 2), rtol=1e-6)


def test_two_species_and_all_losses_without_diffusion():
    """Against a stiff solver of ordinary equations, rtol 1e-10, in 30 rings."""
    film = Medium(STILL, TAU, annihilation=2e-4, auger=1e-8, traps=(FILLING, Traps(200.0, 5e-3, 0.3, 8.0)))
    u, v = legendre(0.0, 18.0, 30)
    start = np.concatenate([PEAK * np.exp(-u), np.zeros(5 * u.size)])

    def rates(t, y):
        n, m1, m2 = y.reshape(6, -1)[:3]
        caught = [1.2e-3 * (900 - m1) * n - 0.01 * m1, 5e-3 * (200 - m2) * n - 0.3 * m2]
        free = -n / TAU - 2e-4 * n**2 - 1e-8 * n**3 - caught[0] - caught[1]
        return np.concatenate([free, caught[0] - m1 / 30, caught[1] - m2 / 8, n, m1, m2])

    exact = solve_ivp(rates, (0, 40), start, "LSODA", EDGES, rtol=1e-10, atol=1e-9).y.reshape(6, u.size, -1)[3:]
    exact = 2 * np.pi * WIDTH**2 * np.diff(np.einsum("u,kut->kt", v, exact))
    found = pulse(film)
    assert_allclose(found.free, exact[0], rtol=2e-6)
    assert_allclose(found.trapped, exact[1:], rtol=2e-6)


def test_nothing_is_lost():
    """Excitons that live for ever: free and trapped together are all of them at all times, whatever the rates.

    And where they die, by ∫∫ n/τ + m/τ_t + B n² dA dt all do, to what is left after 60 lifetimes of a trap and more.
    """
    for factor in (1.0, 1e3):
        traps = (Traps(900.0, 1.2e-3 * factor, 0.01), Traps.linear(0.3, 0.2 * factor))
        found = pulse(Medium(D, np.inf, traps=traps), steps=48)
        assert_allclose((found.free + found.trapped.sum(0)) / np.diff(EDGES), EXCITONS, rtol=1e-12)
        film = Medium(D, TAU, traps=Traps(900.0, 1.2e-3 * factor, 0.01, 30.0), annihilation=1e-3 * factor)
        found = pulse(film, edges=[0.0, 3000.0], steps=48)
        gone = found.free / TAU + found.trapped[0] / 30.0 + 1e-3 * factor * found.squared
        assert_allclose(gone, EXCITONS, rtol=1e-10)


@pytest.mark.gate
def test_against_the_solver_on_a_grid():
    """A quarter film with cells of 0.4 s: the error of its totals falls as h² and is at most 4e-4 here (1e-4 at 0.2 s).

    A cell of its density is an average, h²/24 ∇²n beside the value in its middle: 0.4²/12 of the peak at most.
    """
    edges, cells = np.array([0.0, 0.5, 2.0]), 0.4
    film = Medium(D, TAU, traps=FILLING, annihilation=1e-4)
    quarter = Quarter.make(2.0, cells * WIDTH)
    spot = quarter.spot(fwhm=FWHM * WIDTH, total=EXCITONS)
    grid = time_integral(film, spot, quarter.grid, edges=edges, rtol=1e-3)
    found, area = pulse(film, edges=edges), 4 * float(quarter.grid.cell_area)
    assert_allclose(found.free, area * grid.density.sum((1, 2)), rtol=2e-4)
    assert_allclose(found.trapped[0], area * grid.trapped.sum((1, 2)), rtol=5e-4)
    r = np.sqrt(2) * (np.arange(quarter.grid.shape[0]) + 0.5) * float(quarter.grid.spacing[0])
    diagonal = np.asarray(found.modes) @ j0(np.asarray(found.wavenumbers)[:, None] * r[None, :])
    seen = np.diagonal(grid.density.sum(0))
    assert_allclose(seen[r < 1.5], diagonal[r < 1.5], atol=cells**2 / 12 * diagonal[0])


def test_the_order_in_steps_is_six():
    """Up to 4 ns, where all steps are soon short; the fit of three counts has 5.8."""
    film, edges = Medium(D, TAU, traps=FILLING, annihilation=1e-4), EDGES[:5]
    fine = pulse(film, edges=edges, steps=256).free.sum()
    counts = (32, 48, 72)
    errors = [abs(float(pulse(film, edges=edges, steps=n).free.sum() / fine) - 1) for n in counts]
    assert 5.5 < -np.polyfit(np.log(counts), np.log(errors), 1)[0] < 6.5


@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_defaults_meet_their_budget(factor: float):
    """Against twice the nodes, waves and steps; ten times the capture, 10 per ns, costs two digits of the profile."""
    film = Medium(D, TAU, traps=Traps(900.0, 1.2e-3 * factor, 0.01, 30.0))
    for peak in (60.0, 15000.0):
        found, fine = pulse(film, peak=peak), pulse(film, peak=peak, nodes=128, modes=256, steps=800)
        assert_allclose(found.free.sum(), fine.free.sum(), rtol=1e-7 * factor**2)
        assert_allclose(found.free, fine.free, rtol=1e-6 * factor**2.5)
        rings = profile(fine.modes, fine.wavenumbers)
        assert_allclose(profile(found.modes, found.wavenumbers), rings, atol=1e-6 * factor**2.5 * rings.max())


def everything(logarithms, peak=PEAK):
    """All light as one vector, of a film of nine numbers."""
    v = jnp.exp(logarithms)
    film = Medium(v[0], v[1], traps=Traps(v[2], v[3], v[4], v[5]), annihilation=v[6], auger=v[7])
    found = round_pulse(film, width=v[8], peak=peak, edges=EDGES, steps=64, modes=64)
    return jnp.concatenate([jnp.ravel(part) for part in (*found[:3], *found[3:6])])


POINT = jnp.log(jnp.array([D, TAU, 900.0, 1.2e-3, 0.01, 30.0, 1e-4, 1e-8, WIDTH]))
RUN = jax.jit(everything)
JACOBIAN = jax.jit(jax.jacfwd(everything))


@pytest.mark.gate
def test_derivatives():
    """Central differences with ε = 1e-4 err by ε²: 1e-7 of the largest of each output; jvp·vjp to 1e-10."""
    jacobian, step = JACOBIAN(POINT), 1e-4
    for i in range(POINT.size):
        shift = step * jnp.eye(POINT.size)[i]
        difference = (RUN(POINT + shift) - RUN(POINT - shift)) / (2 * step)
        # the disc moves with D, τ and s in the differences only: the modes, unlike totals, are then others
        totals = slice(0, 3 * (EDGES.size - 1)) if i in (0, 1, 8) else slice(None)
        assert_allclose(jacobian[totals, i], difference[totals], rtol=1e-5, atol=1e-7 * jnp.abs(difference).max())
    rng = np.random.default_rng(3)
    tangent, weight = rng.normal(size=POINT.size), rng.normal(size=jacobian.shape[0])
    back = jax.jit(lambda p: jax.vjp(everything, p)[1](jnp.asarray(weight))[0])(POINT)
    assert_allclose(back @ tangent, weight @ (jacobian @ tangent), rtol=1e-10)


@pytest.mark.gate
def test_many_pulses_at_once_with_gradients():
    """jit ∘ vmap ∘ grad of Σ y² is 2 yᵀJ; no light at all, and films without losses or traps, give no NaN."""
    peaks = jnp.array([0.0, 60.0, PEAK, 15000.0])
    score = jax.grad(lambda p, peak: jnp.sum(everything(p, peak) ** 2))
    together = jax.jit(jax.vmap(score, (None, 0)))(POINT, peaks)
    assert jnp.isfinite(together).all()
    assert_allclose(together[2], 2 * RUN(POINT) @ JACOBIAN(POINT), rtol=1e-8)
    zero = POINT.at[jnp.array([2, 3, 4, 6, 7])].set(-jnp.inf)
    assert jnp.isfinite(RUN(zero)).all()


def test_any_parameters_give_numbers():
    """Forty films with every number off by factors of e^{±3}, e^{±10}: light and derivatives are finite."""
    rng = np.random.default_rng(1)
    points = np.asarray(POINT) + rng.normal(size=(40, POINT.size)) * np.repeat([3.0, 10.0], 20)[:, None]
    for point in points:
        assert jnp.isfinite(RUN(point)).all()
        assert jnp.isfinite(JACOBIAN(point)).all()


def test_a_value_of_zero_has_derivatives():
    """At k_t = 0 and k_d = 0, B = 0 and C = 0, where their roots and quotients have none by themselves."""

    def light(v):
        film = Medium(D, TAU, traps=Traps(900.0, v[0], v[1], 30.0), annihilation=v[2], auger=v[3])
        return pulse(film, steps=48).free.sum()

    slopes = jax.jit(jax.jacfwd(light))(jnp.zeros(4))
    assert jnp.isfinite(slopes).all()
    assert (slopes[jnp.array([0, 2, 3])] < 0).all()
    assert abs(slopes[1]) < 1e-9 * abs(slopes[0])


def test_single_precision():
    numbers = np.float32([D, TAU, 900.0, 1.2e-3, 0.01, 30.0])
    film = Medium(numbers[0], numbers[1], traps=Traps(*numbers[2:]))
    found = pulse(film, width=np.float32(WIDTH), peak=np.float32(PEAK))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype("float32")}
    assert_allclose(found.free, pulse(Medium(D, TAU, traps=FILLING)).free, rtol=1e-4)


def test_weights_of_the_bins():
    """Polynomials of the seventh degree are summed exactly; so are bins far longer or shorter than steps."""
    for edges in ((0.0, 0.001, 3.0), (0.7, 40.0), tuple(np.linspace(0, 40, 801))):
        times = graded(edges[-1], 60)
        for degree in range(8):
            steps = np.diff((times / edges[-1]) ** degree)
            bins = np.diff((np.array(edges) / edges[-1]) ** degree)
            assert_allclose(bin_weights(edges, 60) @ steps, bins, atol=1e-12)


def test_the_disc_follows_from_the_film():
    """The wall does not matter: 1.5 times as far away totals are the same to 1e-9, profiles to 1e-6 of the peak."""
    film = Medium(D, TAU, traps=FILLING)
    near, far = pulse(film), pulse(film, reach=1.5 * float(pulse(film).radius), nodes=96, modes=192)
    assert float(near.radius) == pytest.approx(round_radius(WIDTH, D, TAU, 40.0))
    assert float(far.radius) == pytest.approx(1.5 * float(near.radius))
    assert_allclose(near.free, far.free, rtol=1e-7)
    rings = profile(far.modes, far.wavenumbers)
    assert_allclose(profile(near.modes, near.wavenumbers), rings, atol=1e-6 * rings.max())
    assert float(round_radius(WIDTH, D, np.inf, 40.0)) == pytest.approx(6 * WIDTH + 5 * np.sqrt(80 * D))
    nodes, modes = round_sizes(0.02, 6.0)
    assert nodes > 64
    assert modes > 128


@pytest.mark.parametrize(
    ("film", "options", "says"),
    [
        (Medium(jnp.ones((3, 3)), TAU), {}, "diffusivity"),
        (Medium((D, D), TAU), {}, "diffusivity"),
        (Medium(D, TAU * np.ones((3, 3))), {}, "lifetime"),
        (Medium(D, TAU, traps=Traps(np.ones((3, 3)), 1e-3)), {}, "traps"),
        (Medium(D, TAU, traps=Traps(1.0, np.ones((3, 3)))), {}, "traps"),
        (Medium(D, TAU, landscape=np.ones((3, 3))), {}, "landscape"),
        (Medium(D, TAU, disorder=Disorder(10.0, 1.0)), {}, "disorder"),
        (Medium(D, TAU, surface=Surface(left=1.0)), {}, "surface"),
        (Medium(D, TAU), {"width": -1.0}, "width"),
        (Medium(D, TAU), {"peak": -1.0}, "peak"),
        (Medium(D, TAU), {"radius": 0.0}, "radius"),
        (Medium(D, TAU), {"edges": [1.0]}, "rising"),
        (Medium(D, TAU), {"edges": [1.0, 1.0]}, "rising"),
        (Medium(D, TAU), {"edges": [-1.0, 1.0]}, "before"),
        (Medium(D, TAU), {"steps": 4}, "steps"),
    ],
)
def test_what_does_not_fit_is_refused(film: Medium, options, says: str):
    with pytest.raises(InputError, match=says):
        pulse(film, **options)


def test_traced_edges_are_refused():
    with pytest.raises(InputError, match="traced"):
        jax.jit(lambda e: pulse(Medium(D, TAU), edges=e).free)(jnp.asarray(EDGES))
