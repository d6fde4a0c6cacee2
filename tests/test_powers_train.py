"""Fluence series of a laser that repeats: light of earlier pulses in bins, responses and images."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from benchmarks.photons import FWHM, shoot
from excidiff.inverse import Decay, Experiment, Response
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.fit.decay import response_of
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.response import Window, shown
from excidiff.inverse.fit.runs import wrapped
from excidiff.inverse.fit.told import Told

PERIOD, LIFETIME, LOSS = 12.5, 6.0, 1e-3


def test_bins_share_out_a_period():
    """Bins from −7 to 19 ns of a period of 12.5: ∫ of a periodic function over each, exact to rounding."""
    edges = tuple((0.7 * np.arange(-10, 28)).tolist())
    run, parts = wrapped(edges, PERIOD)
    assert (run[0], run[-1]) == (0.0, PERIOD)

    def reached(t):
        turns, rest = np.divmod(np.asarray(t), PERIOD)
        return turns * -np.expm1(-PERIOD / LIFETIME) - np.expm1(-rest / LIFETIME)

    pieces = np.diff(reached((*run[:-1], PERIOD - 1e-12)))
    np.testing.assert_allclose(parts @ pieces, np.diff(reached(edges)), atol=1e-8)


def counted(seed: int, photons: int, kind: str, delay: float = 1.37) -> Decay:
    """Photons of one lifetime, wrapped into the period, through a skewed response or a Gaussian one of 0.2 ns."""
    random, width = np.random.default_rng(seed), 0.05
    edges = width * np.arange(int(PERIOD / width) + 1)

    def jitter(size):
        return 0.08 * random.standard_gamma(3.0, size) if kind == "measured" else 0.2 / FWHM * random.normal(size=size)

    time = (edges[1:] + edges[:-1]) / 2
    own = np.histogram((0.5 + jitter(10 * photons)) % PERIOD, edges)[0].astype(float)
    irf = Response(time, own, file="irf") if kind == "measured" else 0.2
    lag = 0.5 if kind == "measured" else 0.0
    seen = np.histogram((lag + delay + jitter(photons) + random.exponential(LIFETIME, photons)) % PERIOD, edges)[0]
    return Decay(time, seen + random.poisson(2.0, time.size), irf=irf, period=PERIOD, file=f"decay_{photons}")


@pytest.mark.parametrize("kind", ["measured", pytest.param("gaussian", marks=pytest.mark.gate)])
def test_a_response_is_folded_into_light_that_wraps(kind):
    """One lifetime, for which `response.shown` is exact: to w²/12τσ, 4e-4 of the peak, light being even in bins."""
    decay = counted(8, 300_000, kind)
    series = FluenceSeries(decays=[decay], decay_densities=[1.0], uniform=True)
    pulses = Pulses(series, "free", Constraints({}, {}), Told())
    own = {"lifetime": np.log(LIFETIME), "decay_scale": 0.0, "shift_1": 1.37}
    start = np.array([own.get(name, 0.0) for name in pulses.names])
    found = np.asarray(jax.jit(pulses.problem.model)(start, pulses.instruments)[0]).ravel()
    shape, _ = response_of(decay)
    window = Window(decay.edges[0], decay.width, decay.time.size, PERIOD)
    exact = np.asarray(shown(1 / LIFETIME, 1.37, shape._replace(alike=False), window))
    assert found.size == decay.time.size
    assert np.abs(found - found.sum() / exact.sum() * exact).max() < 4e-4 * found.max()


@pytest.mark.gate
def test_tails_of_earlier_pulses_are_told_from_the_film():
    """Two powers, an eighth of the light from earlier pulses: τ within 3.5 errors, and a good fit."""
    decays = [counted(seed, photons, "measured") for seed, photons in ((9, 20_000), (10, 60_000))]
    series = FluenceSeries(decays=decays, decay_densities=[10.0, 30.0], uniform=True)
    found = Experiment(series=series, model="free").fit()
    lifetime = found.parameters["lifetime"]
    assert lifetime.stderr < 0.1
    assert abs(lifetime.value - LIFETIME) < 3.5 * lifetime.stderr
    assert abs(found.goodness["z"]) < 3.5
    assert found.status == "converged"
    assert "pulses every 12.5 ns" in found.model
    assert "once the film repeats" in found.methods


def annihilating(seed: int) -> FluenceSeries:
    """Even light, three fluences: v after a pulse solves v = p + v E/(1 + k v), and bins hold ∫ n dt in closed form."""
    random, edges = np.random.default_rng(seed), np.linspace(0.0, PERIOD, 126)
    kept, decays, pulses = np.exp(-PERIOD / LIFETIME), [], (30.0, 300.0, 3000.0)
    k = LOSS * LIFETIME * (1 - kept)
    for pulse in pulses:
        half = 1 - kept - k * pulse
        first = (-half + np.sqrt(half**2 + 4 * k * pulse)) / (2 * k)
        light = np.diff(np.log1p(LOSS * first * LIFETIME * -np.expm1(-edges / LIFETIME)) / LOSS)
        counts = random.poisson(500 * light + 2.0)
        decays.append(Decay((edges[1:] + edges[:-1]) / 2, counts, period=PERIOD, file=f"decay_{pulse:g}"))
    return FluenceSeries(decays=decays, decay_densities=pulses, uniform=True)


@pytest.mark.gate
def test_annihilation_on_top_of_what_earlier_pulses_left():
    """τ and B within 3.5 errors, each known to 10 %; taken for single pulses, the same decays are flagged."""
    series = annihilating(31)
    found = Experiment(series=series, model="annihilation").fit()
    for name, truth in (("lifetime", LIFETIME), ("annihilation", LOSS)):
        entry = found.parameters[name]
        print(f"{name}: {entry.value:.4g} ± {entry.stderr:.2g}, z {found.goodness['z']:+.2f}")
        assert abs(entry.value - truth) < 3.5 * entry.stderr
        assert entry.stderr < 0.1 * truth
    assert abs(found.goodness["z"]) < 3.5
    alone = replace(series, period=None, decays=[replace(decay, period=None) for decay in series.decays])
    wrong = Experiment(series=alone, model="annihilation").fit()
    assert [entry.status for entry in wrong.measurements].count("flagged") >= 2


@pytest.mark.gate
def test_images_of_a_laser_that_repeats():
    """A linear film's image holds all light whatever the period: photon by photon, D and τ within 3.5 errors."""
    length, width = 0.2, 0.13
    image = shoot(4, photons=4e4, width=width, length=length, shape=(32, 32), pixel=0.1, background=0.5)
    series = FluenceSeries(images=[image], image_densities=[10.0], decays=[counted(12, 30_000, "gaussian")],
                           decay_densities=[10.0])  # fmt: skip
    found = Experiment(series=series, model="free", laser_fwhm=width * FWHM).fit()
    for name, truth in (("lifetime", LIFETIME), ("diffusivity", length**2 / LIFETIME)):
        entry = found.parameters[name]
        print(f"{name}: {entry.value:.4g} ± {entry.stderr:.2g}, truth {truth:.4g}")
        assert abs(entry.value - truth) < 3.5 * entry.stderr
    assert found.status == "converged"
