"""What gates tell of D, τ and L, and what not: limits, profiles and sentences. Truth from single photons."""

import numpy as np
import pytest

from benchmarks.photons import FWHM, shoot_gates
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.fit.gated import fit_gated
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.spot import fit_gaussian, summed

WIDTH = 0.126
EDGES = {"even": [0, 1, 2, 4, 8, 16], "short": [0, 0.5, 1, 1.5, 2], "long": [0, 10, 20, 30], "wide": [0, 25, 50]}


def fit(seed, gates, *, length, lifetime, photons=1e5, given=None, **more):
    edges = EDGES[gates]
    images = shoot_gates(seed, edges, photons=photons, lifetime=lifetime, width=WIDTH, length=length)
    optics = {"laser_fwhm": FWHM * WIDTH, "psf_fwhm": 1e-3}
    return Experiment(images=images, gates=edges, lifetime=given, **optics, **more).fit()


def pull(estimate, truth):
    return (estimate.value - truth) / estimate.stderr


def test_the_start_leads_to_the_maximum():
    """From where the fit starts by itself it finds the maximum that it finds from the truth: to 0.1 in the deviance.

    The second of two gates of 5 τ holds 0.7 % of the light: with τ far less, no slope says that it is not quite dark.
    """
    images = shoot_gates(2, EDGES["wide"], photons=3e5, lifetime=5.0, width=WIDTH, length=1.0, pixel=0.12)
    gates = np.stack([EDGES["wide"][:-1], EDGES["wide"][1:]], axis=1).astype(float)
    known = Known(("width",), np.log([WIDTH]), np.zeros((1, 1)))
    first = fit_gaussian(summed(images), "poisson", least_squares=True)
    found = fit_gated(images, first, known, Constraints({}, {}), "poisson", gates)
    truth = [np.log(0.2), np.log(5.0), np.log(WIDTH), 0.0, 0.0, np.log(3e5), 0.5]
    assert found.problem.fit(found.values).objective < found.problem.fit(np.array(truth)).objective + 0.1


@pytest.mark.parametrize(("gates", "length"), [("even", 0.4), ("wide", 0.6)])
def test_gates_find_diffusivity_and_lifetime(gates, length):
    """D, τ and L within 4 of their errors, also where a gate is 5 τ and 110 s²/D long."""
    found = fit(1, gates, length=length, lifetime=5.0, photons=3e5)
    for name, truth in (("diffusivity", length**2 / 5), ("lifetime", 5.0), ("diffusion_length", length)):
        assert abs(pull(found.parameters[name], truth)) < 4
    assert abs(found.goodness["z"]) < 4
    assert any("each on its own" in verdict for verdict in found.verdicts)


@pytest.mark.parametrize("given", [None, 5.0])
def test_a_spot_that_does_not_widen_gives_upper_limits(given):
    """FAULTS 15: D and L are limits without an error, L's that of D: to 3 %, as τ is known to 0.5 %."""
    found = fit(2, "even", length=0.0, lifetime=5.0, given=given)
    diffusivity, length = found.parameters["diffusivity"], found.parameters["diffusion_length"]
    for one in (diffusivity, length):
        assert one.at_bound
        assert one.stderr is None
        assert one.interval95[0] is None
    assert 1e-6 < diffusivity.interval95[1] < 5e-5
    assert length.interval95[1] == pytest.approx(np.sqrt(5 * diffusivity.interval95[1]), rel=0.03)
    assert any(
        "compatible with zero" in verdict and "D <" in verdict and "L <" in verdict for verdict in found.verdicts
    )
    assert not any("each on its own" in verdict for verdict in found.verdicts)


@pytest.mark.gate
def test_upper_limits_hold_in_nineteen_of_twenty():
    """D at a third of its limit: of 20 films 95 % of the limits or upper ends lie above it; under 16 is p = 3e-3."""
    length = 3e-3
    found = [fit([3, k], "even", length=length, lifetime=5.0).parameters["diffusivity"] for k in range(20)]
    assert sum(one.interval95[1] > length**2 / 5 for one in found) >= 16


@pytest.mark.parametrize("lifetime", [500.0, 5000.0])
def test_short_gates_give_the_diffusivity_alone(lifetime):
    """2 ns resolve 1/τ to √12/(2 ns √2e5) = 1/260 ns: τ has a lower limit, L and the photons of all times nothing."""
    diffusivity = 0.008
    found = fit(4, "short", length=np.sqrt(diffusivity * lifetime), lifetime=lifetime, photons=2e5)
    assert abs(pull(found.parameters["diffusivity"], diffusivity)) < 4
    assert found.parameters["lifetime"].stderr is None
    low, high = found.parameters["lifetime"].interval95
    assert 50 < low < lifetime
    assert high is None
    for name in ("diffusion_length", "amplitude"):
        assert found.parameters[name].value is None
        assert not found.parameters[name].identifiable
    assert any("too short" in verdict and "Give the lifetime" in verdict for verdict in found.verdicts)


def test_short_gates_with_the_lifetime_given():
    """The cure that is named: L within 4 of its error, which is half that of D; the fit starts 2500 times too dark."""
    found = fit(4, "short", length=np.sqrt(0.008 * 5000), lifetime=5000.0, photons=2e5, given=5000.0).parameters
    length, diffusivity = found["diffusion_length"], found["diffusivity"]
    assert abs(pull(length, np.sqrt(0.008 * 5000))) < 4
    assert length.stderr / length.value == pytest.approx(diffusivity.stderr / diffusivity.value / 2, rel=1e-6)


def test_a_lifetime_hardly_determined_has_a_profile():
    """τ = 30 ns by 2 ns to 12 %: 1/τ is normal, so its interval is 1/(1/τ ± 1.96 σ), to 3 % of the width; so is L's."""
    found = fit(6, "short", length=np.sqrt(0.008 * 30), lifetime=30.0, photons=2e5)
    lifetime, length = found.parameters["lifetime"], found.parameters["diffusion_length"]
    rate, error = 1 / lifetime.value, lifetime.stderr / lifetime.value**2
    expected = 1 / (rate + 1.96 * error), 1 / (rate - 1.96 * error)
    np.testing.assert_allclose(lifetime.interval95, expected, atol=0.03 * (expected[1] - expected[0]))
    by_lifetime = np.sqrt(found.parameters["diffusivity"].value * np.array(lifetime.interval95))
    np.testing.assert_allclose(length.interval95, by_lifetime, atol=0.03 * np.diff(by_lifetime)[0])
    assert any("hardly determine the lifetime" in verdict for verdict in found.verdicts)


def test_long_gates_give_the_length_alone():
    """A first gate of 30 τ is a steady image: L within 4 of its error of 0.4 %, D a lower and τ an upper limit."""
    found = fit(7, "long", length=0.4, lifetime=0.3)
    length = found.parameters["diffusion_length"]
    assert abs(pull(length, 0.4)) < 4
    assert length.stderr < 0.005 * length.value
    low, high = found.parameters["diffusivity"].interval95
    assert low < 0.4**2 / 0.3
    assert high is None
    assert found.parameters["lifetime"].interval95[0] is None
    assert any("too long" in verdict for verdict in found.verdicts)


def test_bounds_and_fixed_values_reach_the_length():
    """L on the side that a bound of D leaves; with D fixed, L = √(Dτ) and half the relative error of τ."""
    bound = fit(8, "even", length=0.4, lifetime=5.0, bounds={"diffusivity": (None, 0.02)}).parameters
    assert bound["diffusion_length"].at_bound
    assert bound["diffusion_length"].interval95 == (bound["diffusion_length"].value, None)
    fixed = fit(8, "even", length=0.4, lifetime=5.0, fixed={"diffusivity": 0.032}).parameters
    length, lifetime = fixed["diffusion_length"], fixed["lifetime"]
    assert length.value == pytest.approx(np.sqrt(0.032 * lifetime.value))
    assert length.stderr / length.value == pytest.approx(lifetime.stderr / lifetime.value / 2)
