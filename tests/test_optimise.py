"""Fisher scoring on problems with a known answer: the score equation, bounds, fixed parameters, prior knowledge."""

import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.optimise import Knowledge, fit, moving
from excidiff.inverse.fit.uncertainty import chi2_tail, covariance, profile_bound, weighted_mean

X = np.linspace(-1, 1, 400)


def line(parameters, x):
    """Expected counts e^a (1 + x²) + b and their derivatives: a light with a known shape, over a background."""
    light = jnp.exp(parameters[0]) * (1 + x**2)
    expected = (light + parameters[1])[None, None]
    return expected, jnp.stack([light[None, None], jnp.ones_like(expected)])


def counts_of(photons, floor=0.0):
    ones = np.ones((1, 1, X.size))
    return Counts(np.asarray(photons, float)[None, None], ones, ones, floor * ones, np.asarray(1.0))


def knowledge(lower=(-20.0, 1e-9), upper=(20.0, 1e9), free=(True, True), centre=(0.0, 0.0), precision=(0.0, 0.0)):
    return Knowledge(np.array(centre), np.diag(precision), np.array(lower), np.array(upper), np.array(free))


def solve(photons, start=(0.0, 1.0), floor=0.0, noise="poisson", **known):
    return fit(line, np.array(start), counts_of(photons, floor), knowledge(**known), (X,), noise=noise, tolerance=1e-12)


def test_solves_the_poisson_score_equation():
    """At the optimum Σ (y − µ)/µ ∂µ = 0 to 1e-8 of its terms, with zeros among the counts."""
    photons = np.random.default_rng(2).poisson(1.5 * (1 + X**2) + 0.4)
    assert (photons == 0).any()
    best = solve(photons)
    mu = np.asarray(best.expected)[0, 0]
    slopes = np.asarray(line(best.parameters, X)[1])[:, 0, 0]
    terms = (photons - mu) / mu * slopes
    assert best.converged
    assert np.all(np.abs(terms.sum(axis=1)) < 1e-6 * np.abs(terms).sum(axis=1))
    np.testing.assert_allclose(best.information, (slopes / mu) @ slopes.T, rtol=1e-10)


def test_read_noise_does_not_bias():
    """400 replicates at 2 photons per pixel, 1 e of read noise: means within 4 standard errors, spread within 15 %."""
    rng = np.random.default_rng(8)
    mu = 1.5 * (1 + X**2) + 0.5
    fits = []
    for _ in range(400):
        best = solve(rng.poisson(mu) + rng.standard_normal(X.size), floor=1.0, lower=(-20.0, -0.9))
        fits.append([np.exp(best.parameters[0]), best.parameters[1]])
    fits = np.array(fits)
    law = 1 + mu
    slopes = np.stack([1 + X**2, np.ones_like(X)])
    bound = np.sqrt(np.diagonal(np.linalg.inv((slopes / law) @ slopes.T)))
    np.testing.assert_array_less(np.abs(fits.mean(axis=0) - [1.5, 0.5]), 4 * bound / 20)
    np.testing.assert_allclose(fits.std(axis=0), bound, rtol=0.15)


def test_gaussian_noise_is_least_squares():
    """Known answer: a fit of a line in (1 + x², 1) by numpy, to 1e-8."""
    y = 3 * (1 + X**2) + 0.1 * np.random.default_rng(3).standard_normal(X.size) - 5
    best = solve(y, floor=0.01, noise="gaussian", lower=(-20.0, -1e9))
    exact = np.linalg.lstsq(np.stack([1 + X**2, np.ones_like(X)], axis=1), y, rcond=None)[0]
    np.testing.assert_allclose([np.exp(best.parameters[0]), best.parameters[1]], exact, rtol=1e-7)


def test_a_bound_holds_and_the_rest_is_as_if_fixed_there():
    """Counts without background, a background of 1 at least: it ends on 1, and a as if it were fixed."""
    photons = np.random.default_rng(4).poisson(4 * (1 + X**2))
    bounded = solve(photons, start=(0.0, 2.0), lower=(-20.0, 1.0))
    fixed = solve(photons, start=(0.0, 1.0), free=(True, False))
    assert bounded.parameters[1] == 1.0
    assert not moving(bounded, knowledge(lower=(-20.0, 1.0)))[1]
    assert bounded.parameters[0] == pytest.approx(fixed.parameters[0], abs=1e-7)


def test_knowledge_counts_like_data():
    """A prior b = 2 ± 0.01 beside data that say 0.5 ± 0.3: their weighted mean, and the errors of both together."""
    photons = np.round(1.5 * (1 + X**2) * 20 + 0.5 * 20)
    best = solve(photons, start=(3.0, 10.0), centre=(0.0, 40.0), precision=(0.0, 1e4))
    assert best.parameters[1] == pytest.approx(40.0, abs=0.01)
    loose = solve(photons, start=(3.0, 10.0), centre=(0.0, 40.0), precision=(0.0, 1e-9))
    assert loose.parameters[1] == pytest.approx(10.0, abs=1.0)


def test_singular_information_names_its_direction():
    """Two parameters of which only the sum matters are blind, a third is not, and gets its error."""
    information = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    found = covariance(information, np.ones(3, bool))
    assert found.blind == (0, 1)
    assert found.matrix[2, 2] == pytest.approx(0.25)
    assert covariance(np.eye(3), np.ones(3, bool)).blind == ()


def test_mean_counts_common_errors_once():
    """n equal fits of own error a and common error c: variance a²/n + c². With C_ij = g P g this is g = c·√P⁻¹ …"""
    own, common, n = 0.3, 0.2, 5
    precision = np.array([[4.0]])
    shared = np.full((n, 1), common / 2.0)  # g P g = c²
    mean = weighted_mean(np.arange(5.0), np.full(n, own**2 + common**2), shared, precision)
    assert mean.value == pytest.approx(2.0)
    assert mean.stderr == pytest.approx(np.sqrt(own**2 / n + common**2))
    assert mean.chi2 == pytest.approx(10 / own**2)


def test_profile_of_a_parabola():
    """Deviance (θ/σ)² rises by 3.84 at 1.96 σ; a limit before that gives None."""
    assert profile_bound(lambda t: (t / 0.3) ** 2, 0.0, 0.1, limit=9.0) == pytest.approx(1.96 * 0.3, rel=2e-3)
    assert profile_bound(lambda t: (t / 0.3) ** 2, 0.0, -0.9, limit=-9.0) == pytest.approx(-1.96 * 0.3, rel=2e-3)
    assert profile_bound(lambda t: (t / 0.3) ** 2, 0.0, 0.1, limit=0.3) is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 11, 12])
def test_chi2_tail(freedom):
    from scipy.stats import chi2

    assert chi2_tail(1.3 * freedom, freedom) == pytest.approx(chi2.sf(1.3 * freedom, freedom), rel=1e-10)
