"""The deviance and its law against sampling and against the few numbers known exactly; the detector's rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit.detector import Detector, detector_of
from excidiff.inverse.fit.likelihood import Counts, deviance, deviance_moments, goodness, objective, variance

SAMPLES = 200_000


def test_expected_deviance_at_low_counts():
    """VERIFICATION, goodness: 0.30 at µ = 0.05, 0.70 at 0.2, 1.15 at 1, as printed there; 1 + 1/6µ far above."""
    mean, var = deviance_moments(np.array([0.05, 0.2, 1.0, 1000.0]), Detector())
    np.testing.assert_allclose(mean[:3], [0.30, 0.70, 1.15], atol=0.005)
    assert mean[3] == pytest.approx(1 + 1 / 6000, abs=1e-6)
    assert var[3] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    "detector",
    [Detector(), Detector(1, 0.3), Detector(1, 2.0), Detector(1, 0.3, 1, True), Detector(1.24, 0.0, 1, True),
     Detector(1.24, 0.15, 1, True), Detector(2.5, 1.0, 1, True), Detector(20, 0.2, 2.0), Detector(1, 1.0, 2.0),
     Detector(1, 0.0, 2.0), Detector(1, 0.1, 1.4), Detector(1, 0.1, 3.0)],
    ids=lambda d: f"gain {d.gain} noise {d.read_noise} excess {d.excess}{' whole' * d.whole}",
)  # fmt: skip
@pytest.mark.parametrize("mu", [0.05, 1.0, 5.0, 150.0])
def test_moments_match_sampling(detector, mu):
    """Mean and variance of the deviance, and the mean count, from 2e5 simulated pixels: within 4.5 standard errors.

    A multiplying register makes a gamma variate of shape n/(F² − 1) and scale F² − 1 of n electrons.
    """
    rng = np.random.default_rng([3, int(10 * mu), int(100 * detector.gain), int(10 * detector.read_noise)])
    raw = rng.poisson(mu, SAMPLES)
    if detector.excess > 1:
        raw = rng.standard_gamma(raw / (detector.excess - 1)) * (detector.excess - 1)
    raw = detector.gain * (raw + detector.read_noise * rng.standard_normal(SAMPLES))
    counts = (np.round(raw) if detector.whole else raw).reshape(400, -1)
    camera = Camera(gain=detector.gain, read_noise=detector.read_noise, excess_noise=detector.excess, gain_known=True,
                    saturation=np.inf)  # fmt: skip
    photons = detector.photons(Image(counts, pixel_size=0.1, camera=camera)).ravel()
    found = deviance(photons, np.full(SAMPLES, mu), detector.floor, detector.excess)
    mean, var = deviance_moments(np.array([mu]), detector)
    error = found.std() / np.sqrt(SAMPLES)
    assert abs(found.mean() - mean[0]) < 4.5 * error
    spread = ((found - found.mean()) ** 2).std() / np.sqrt(SAMPLES)
    assert abs(found.var() - var[0]) < 4.5 * spread
    assert abs(photons.mean() - mu) < 4.5 * photons.std() / np.sqrt(SAMPLES) + 1e-3 * mu


def test_series_meets_the_table_with_excess_noise():
    """At µ = 200 F² one takes over: the mean to 1e-5, the variance to the 1/200 that its series leaves."""
    for detector in (Detector(1, 0.2, 2.0), Detector(1, 0.0, 1.4)):
        pair = deviance_moments(detector.excess * np.array([200 * (1 - 1e-9), 200 * (1 + 1e-9)]), detector)
        np.testing.assert_allclose(np.diff(pair[0]), 0, atol=1e-5)
        np.testing.assert_allclose(np.diff(pair[1]), 0, atol=6e-3)


def test_rounding_is_undone_exactly_without_noise():
    """A quiet camera of gain 1.24: each number of photons has its own count, and comes back to 1e-3."""
    photons = np.arange(300.0).reshape(15, 20)
    camera = Camera(gain=1.24, offset=100, gain_known=True, saturation=np.inf)
    image = Image(np.round(1.24 * photons + 100), pixel_size=0.1, camera=camera)
    np.testing.assert_allclose(detector_of(image).photons(image), photons, atol=1e-3)
    assert np.abs(image.photons - photons).max() > 0.3  # what rounding does if nothing is done
    assert detector_of(image).floor == 0


def test_counted_photons_need_no_detector():
    """Whole counts of gain 1 without read noise are photons."""
    image = Image(np.arange(100.0).reshape(10, 10), pixel_size=0.1, camera=Camera(saturation=np.inf))
    assert detector_of(image) == Detector()


def counts_of(photons, floor, excess=1.0):
    ones = jnp.ones_like(photons)
    return Counts(photons, ones, ones, floor * ones, jnp.asarray(excess))


@pytest.mark.parametrize(("floor", "excess"), [(0.0, 1.0), (0.25, 1.0), (1.0, 2.0)])
def test_slope_of_the_deviance_is_the_score(floor, excess):
    """∂D/∂µ = −2 (y − µ)/V(µ), with zero and negative counts among the data; to rounding."""
    photons = jnp.array([[[0.0, 1.0, 5.0, 1000.0 - 0.3, -0.4 * (floor > 0)]]])
    expected = jnp.array([[[0.3, 0.7, 6.0, 990.0, 0.2]]])
    counts = counts_of(photons, floor, excess)
    slope = jax.grad(lambda mu: objective(mu, counts, "poisson"))(expected)
    np.testing.assert_allclose(slope, -2 * (photons - expected) / variance(expected, counts), rtol=1e-9)


def test_objective_and_deviance_differ_by_data_only():
    """The fit's objective and the reported deviance have the same differences between two models, to 1e-9."""
    rng = np.random.default_rng(5)
    first, second = rng.uniform(0.1, 5, (2, 1, 6, 7))
    photons = rng.poisson(first) + 0.3 * rng.standard_normal(first.shape)
    counts = counts_of(jnp.asarray(photons), 0.09)
    ours = objective(jnp.asarray(second), counts, "poisson") - objective(jnp.asarray(first), counts, "poisson")
    theirs = deviance(photons, second, 0.09).sum() - deviance(photons, first, 0.09).sum()
    assert float(ours) == pytest.approx(theirs, rel=1e-9)


def test_hardly_any_noise_is_as_good_as_none():
    """No photons before noise of 1e-306: the deviance is that of no noise, 2 µ, though µ/σ² is no number."""
    found = objective(jnp.full((1, 1, 1), 1e4), counts_of(jnp.zeros((1, 1, 1)), 1e-306), "poisson")
    assert float(found) == pytest.approx(2e4, rel=1e-12)


def test_goodness_tells_truth_from_error():
    """At the truth |z| ≤ 3 for a seed fixed here; a model 10 % off in half of 10⁴ pixels of 20 photons is rejected."""
    rng = np.random.default_rng(11)
    expected = np.full(10_000, 20.0)
    photons = rng.poisson(expected)
    assert abs(goodness(photons, expected, Detector()).z) < 3
    wrong = expected * np.where(np.arange(10_000) % 2, 1.1, 1.0)
    bad = goodness(photons, wrong, Detector())
    assert bad.z > 4
    assert bad.p_value < 1e-4
    assert bad.ratio > 1.05
