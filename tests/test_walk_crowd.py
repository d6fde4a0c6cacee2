"""The random walk of films where excitons meet, against exact laws. Seeds fixed, |z| ≤ 4.

In a film of one cell (0-D) and one process at a time the walk has no step error either; of the crowd's error, a share
of 1/3N of the survivors with N of them in the cell, 1e-4 are left: a fiftieth of the standard errors.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from excidiff.solver import Emission, Grid, InputError, Medium, Spot, Traps, walk
from excidiff.solver.source import FWHM
from tests.test_walk import TAU, D, z_of_mean, z_of_share

POINT = Grid(shape=(1, 1), spacing=1.0)
ONE = np.ones((1, 1))
COUNT = 100_000
N0 = 100.0


def in_a_point(medium: Medium, time: float | None, seed: int):
    return walk(medium, ONE, POINT, excitons=COUNT, seed=seed, total=N0, max_time=time)


@pytest.mark.parametrize("time", [0.5, 5.0])
def test_annihilation(time: float):
    """n = n₀e^{−t/τ}/(1 + Bn₀τ(1 − e^{−t/τ})); what recombines and what annihilates add up to the rest."""
    loss, decay = 0.02, np.exp(-time / TAU)
    photons = in_a_point(Medium(D, TAU, annihilation=loss), time, 1)
    assert abs(z_of_share(photons.alive, COUNT, decay / (1 + loss * N0 * TAU * (1 - decay)))) < 4
    assert photons.x.size + photons.annihilated + photons.alive == COUNT
    assert photons.weight == N0 / COUNT
    recombined = np.log1p(loss * N0 * TAU * (1 - decay)) / (loss * N0 * TAU)  # ∫ n dt / n₀τ
    assert abs(z_of_share(photons.x.size, COUNT, recombined)) < 4


@pytest.mark.parametrize("time", [0.5, 5.0])
def test_auger(time: float):
    """n² = n₀²e^{−2t/τ}/(1 + Cn₀²τ(1 − e^{−2t/τ}))."""
    loss, decay = 4e-4, np.exp(-2 * time / TAU)
    photons = in_a_point(Medium(D, TAU, auger=loss), time, 2)
    assert abs(z_of_share(photons.alive, COUNT, np.sqrt(decay / (1 + loss * N0**2 * TAU * (1 - decay))))) < 4


@pytest.mark.parametrize("sites", [60.0, 100.0, 150.0])
def test_traps_fill(sites: float):
    """Irreversible: n = n₀(n₀ − N_t)/(n₀ − N_t e^{−k_t(n₀−N_t)t}), n₀/(1 + k_tn₀t) where N_t = n₀. Captures are rounded
    at random, by less than a walker per step: 1e-4 of n₀ in the steps taken here."""
    time, capture = 2.0, 0.01
    alive = in_a_point(Medium(D, np.inf, traps=Traps(sites, capture)), time, 3).survivors
    excess = N0 - sites
    free = excess / (N0 - sites * np.exp(-capture * excess * time)) if excess else 1 / (1 + capture * N0 * time)
    assert abs(np.mean(alive.trap == -1) - free) < 1e-4


def test_traps_are_never_more_than_full():
    """Cells of few walkers, weight 0.5 per cell and walker, 3 traps each: at most one walker's weight too many."""
    grid = Grid(shape=(20, 20), spacing=0.1)
    film = Medium(D, np.inf, traps=Traps(300.0, 0.05))
    alive = walk(film, np.ones(grid.shape), grid, excitons=8_000, seed=4, total=4_000.0, max_time=0.5).survivors
    held = alive.trap == 0
    cell = np.floor(alive.x[held] / 0.1 + 10).astype(int) + 20 * np.floor(alive.y[held] / 0.1 + 10).astype(int)
    trapped = 0.5 * np.bincount(cell, minlength=400)
    assert trapped.max() < 3.0 + 0.5
    assert trapped.mean() > 2.9


def test_all_at_once():
    """Decay, annihilation, Auger recombination, and traps that fill, release and decay, against the rate equations.
    The step's error is 7e-4 of the free ones (halved steps), a tenth of the standard error."""
    loss, auger, sites, capture, release, held = 0.02, 2e-4, 60.0, 0.01, 0.3, 3.0

    def slope(_, y):
        n, m = y
        caught = capture * (sites - m) * n - release * m
        return [-n / TAU - caught - loss * n**2 - auger * n**3, caught - m / held]

    free, trapped = solve_ivp(slope, (0.0, 3.0), [N0, 0.0], rtol=1e-9, atol=1e-9).y[:, -1] / N0
    traps = Traps(sites, capture, release, held)
    alive = in_a_point(Medium(D, TAU, annihilation=loss, auger=auger, traps=traps), 3.0, 5).survivors
    assert abs(z_of_share(int(np.sum(alive.trap == -1)), COUNT, float(free))) < 4
    assert abs(z_of_share(int(np.sum(alive.trap == 0)), COUNT, float(trapped))) < 4


def test_traps_far_from_full_are_linear():
    """N_t a thousand times n₀: the free population of `Traps.linear` to 1e-3, through motion and releases."""
    grid = Grid(shape=(4, 4), spacing=0.5)
    films = [Medium(D, TAU, traps=traps) for traps in (Traps(1e5, 5e-6, 0.3, 4.0), Traps.linear(0.5, 0.3, 4.0))]
    full, linear = (
        walk(film, Spot(0.5), grid, excitons=20_000, seed=6, total=N0, max_time=3.0).survivors for film in films
    )
    for trap in (-1, 0):
        assert abs(z_of_share(int(np.sum(full.trap == trap)), 20_000, np.sum(linear.trap == trap) / 20_000)) < 4 * 1.5


def test_annihilation_along_a_line():
    """A spot that spreads and annihilates, against 200 cells of the rate equation: how many are left, and how wide.

    Cells of 0.125 µm under a spot of s = 0.3 µm, soon wider, lose at first (h/s)²/12 = 1.4 % of the annihilation: on
    cells half and twice as wide the count moves by less than its standard error."""
    s, loss, time, width = 0.3, 0.1, 4.0, 8.0
    spacing = width / 200
    x = (np.arange(200) + 0.5) * spacing - width / 2
    density = np.exp(-((x / s) ** 2) / 2)
    density *= 50.0 / (density.sum() * spacing)

    def slope(_, n):
        return np.diff(np.pad(0.1 * np.diff(n) / spacing, 1)) / spacing - n / TAU - loss * n**2

    final = solve_ivp(slope, (0.0, time), density, method="BDF", rtol=1e-6, atol=1e-9).y[:, -1] * spacing
    grid = Grid(shape=(1, 64), spacing=(1.0, width / 64))
    film = Medium(0.1, TAU, annihilation=loss)
    photons = walk(film, Spot(s * FWHM), grid, excitons=COUNT // 2, seed=7, total=50.0, max_time=time)
    assert abs(z_of_share(photons.alive, COUNT // 2, final.sum() / 50.0)) < 4
    assert abs(z_of_mean(photons.survivors.x**2, float(final @ x**2 / final.sum()))) < 4


def test_light_of_annihilation():
    """Photons of b n(n + p₀) + k_r n: shares (k_r + bp₀)∫n dt/n₀ + (b/B)(share annihilated), time unlimited.

    ∫n dt = ln(1 + Bn₀τ)/B, and B∫n² dt = n₀ − ∫n dt/τ."""
    loss, law = 0.02, Emission(0.05, bimolecular=0.005, carriers=10.0)
    photons = in_a_point(Medium(D, TAU, annihilation=loss, emission=law), None, 8)
    spent = np.log1p(loss * N0 * TAU) / (loss * N0)
    share = (0.05 + 0.005 * 10.0) * spent + 0.25 * (1 - spent / TAU)
    assert abs(z_of_share(photons.x.size, COUNT, share)) < 4
    assert photons.x.size + photons.dark + photons.annihilated == COUNT
    assert abs(z_of_share(photons.annihilated, COUNT, 0.75 * (1 - spent / TAU))) < 4
    young = Emission(0.0, bimolecular=0.02)  # n(t) ∝ 1/(1 + Bn₀t) while τ does not matter: half by t = 1/Bn₀
    photons = in_a_point(Medium(D, 1e9, annihilation=0.02, emission=young), 0.5, 9)
    assert abs(z_of_share(int(np.sum(photons.time < 0.25)), photons.x.size, (1 / 3) / (1 / 2))) < 4


def test_nothing_meets_in_an_empty_crowd():
    """Structure makes the walk of a film, values do not: no annihilation at all leaves plain decay; and no walkers."""
    film = Medium(D, TAU, annihilation=0.0, auger=0.0, traps=Traps(0.0, 0.1, 0.2))
    photons = in_a_point(film, 4.0, 10)
    assert abs(z_of_share(photons.alive, COUNT, np.exp(-4.0 / TAU))) < 4
    assert walk(film, ONE, POINT, excitons=0, seed=0, total=1.0).alive == 0


@pytest.mark.parametrize(
    "film", [{"annihilation": 0.1}, {"auger": 0.1}, {"traps": Traps(1.0, 1.0, 1.0)}], ids=["B", "C", "traps"]
)
def test_the_pulse_must_be_known(film: dict):
    with pytest.raises(InputError, match="total"):
        walk(Medium(D, TAU, **film), ONE, POINT, excitons=9, seed=0)
