"""Draws of a bootstrap and of the posterior: the law they come from, known answers, seeds, and what is refused."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.photons import shoot
from excidiff.inverse import Decay, Experiment, InputError, Response, cli
from excidiff.inverse.fit import sampling
from excidiff.inverse.fit.bootstrap import bootstrap
from excidiff.inverse.fit.decay import fit_decay
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optimise import Knowledge
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.sampling import nuts
from excidiff.inverse.fit.spot import fit_film, fit_gaussian

WIDTH = 0.13
SMALL = {"width": WIDTH, "length": 0.3, "shape": (48, 48), "pixel": 0.06, "background": 0.5}
KNOWN = Known(("width",), np.array([np.log(WIDTH)]), np.array([[0.01**2]]))
X = np.linspace(-1, 1, 60)


def fitted(image, noise="poisson"):
    return fit_film([image], fit_gaussian(image, noise, least_squares=True), KNOWN, Constraints({}, {}), noise)


@pytest.fixture(scope="module")
def bright():
    """A film of L = 0.3 µm in 1e5 photons, the laser's width known to 1 %."""
    return fitted(shoot(3, photons=1e5, **SMALL))


def decay_of(seed: int, photons: int = 20_000, response: int = 0) -> Decay:
    """One lifetime of 2 ns in 250 bins of 0.1 ns, seen at once or through a response of `response` counts."""
    random = np.random.default_rng(seed)
    edges = 0.1 * np.arange(251)
    time, pulse = (edges[1:] + edges[:-1]) / 2, 2.0
    jitter = random.normal(0.0, 0.25 if response else 0.0, photons + response)
    seen = pulse + random.exponential(2.0, photons) + jitter[:photons]
    counts = np.histogram(seen, edges)[0] + random.poisson(1.0, time.size)
    own = np.histogram(pulse + jitter[photons:], edges)[0]
    return Decay(time, counts, irf=Response(time, own) if response else None)


@pytest.fixture(scope="module")
def plain():
    """A decay without a response."""
    return fit_decay(decay_of(2))


@pytest.fixture(scope="module")
def swayed():
    """A decay through a response of 400 counts, whose noise sways the fit."""
    return fit_decay(decay_of(4, response=400))


def errors(fit) -> np.ndarray:
    return np.sqrt(np.diagonal(fit.covariance))[fit.moving]


def line(parameters, x):
    """Expected counts e^a (1 + x²) + b, as in test_optimise."""
    light = jnp.exp(parameters[0]) * (1 + x**2)
    expected = (light + parameters[1])[None, None]
    return expected, jnp.stack([light[None, None], jnp.ones_like(expected)])


def toy(photons, low: float = 1e-9, **change) -> Problem:
    ones = np.ones((1, 1, X.size))
    counts = Counts(np.asarray(photons, float)[None, None], ones, ones, 0 * ones, np.asarray(1.0))
    knowledge = Knowledge(
        np.zeros(2), np.zeros((2, 2)), np.array([-9.0, low]), np.array([9.0, np.inf]), np.ones(2, bool)
    )
    return replace(Problem(model=line, counts=counts, knowledge=knowledge, arguments=(X,)), **change)


def test_the_density_has_the_slope_of_the_fit(bright, plain):
    """∇ log p is the score and −½ Δ objective its change, to rounding, for an image with what is known and a decay."""
    for fit in (bright, plain):
        problem = fit.problem
        at = fit.values + np.where(fit.moving, 0.3 * np.sqrt(np.diagonal(fit.covariance)), 0.0)
        there, best = problem.at(at), problem.at(fit.values)
        value, slope = jax.value_and_grad(problem.log_density)(jnp.asarray(at))
        np.testing.assert_allclose(slope, there.slope, rtol=1e-6, atol=1e-8 * np.abs(there.slope).max())
        change = float(value - problem.log_density(fit.values))
        assert change == pytest.approx(-0.5 * (there.objective - best.objective), rel=1e-6)


@pytest.mark.parametrize(
    "detector", [Detector(), Detector(1.24, 0.0, 1.0, True), Detector(2.0, 1.3, 1.0, True), Detector(5.0, 2.0, 2.0)]
)
@pytest.mark.parametrize("light", [0.3, 12.0])
def test_readings_have_the_law_of_the_detector(detector, light):
    """Mean µ and variance F² µ + σ² of 2e5 readings, within 4.5 of their errors; rounding adds what it must."""
    drawn = detector.sampled(np.full(200_000, light), np.random.default_rng(5))
    law = detector.excess * light + detector.floor
    assert abs(drawn.mean() - light) < 4.5 * np.sqrt(law / drawn.size)
    kurtosis = np.mean((drawn - drawn.mean()) ** 4) / law**2
    rounding = 0.35 if detector.gain == 1.24 else 0.0  # variance that undoing the rounding of a quiet camera costs
    assert (
        -4.5 * law * np.sqrt((kurtosis - 1) / drawn.size)
        < drawn.var() - law
        < (4.5 * law * np.sqrt((kurtosis - 1) / drawn.size) + rounding)
    )


def test_what_is_known_is_measured_again(bright):
    """θ₀ of 400 replicates scatters about the truth with Λ⁻¹: mean within 4 errors, spread within 15 %; seeds hold."""
    expected = bright.expected
    problem = replace(bright.problem, counts=jax.tree.map(np.asarray, bright.problem.counts))
    again = [problem.resampled(np.asarray(problem.at(bright.values).expected), [7, k], truth=bright.values)
             for k in range(400)]  # fmt: skip
    at = bright.names.index("width")
    drawn = np.array([one.knowledge.centre[at] for one in again])
    assert abs(drawn.mean() - bright.values[at]) < 4 * 0.01 / 20
    assert drawn.std() == pytest.approx(0.01, rel=0.15)
    rows, columns = expected.shape[1:]
    mean = np.mean([one.counts.photons for one in again], axis=0)[:, :rows, :columns]
    pull = (mean - expected) / np.sqrt(expected / 400)
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=4 / np.sqrt(2 * pull.size))
    same = problem.resampled(np.asarray(problem.at(bright.values).expected), [7, 3], truth=bright.values)
    np.testing.assert_array_equal(same.counts.photons, again[3].counts.photons)


def test_a_bootstrap_scatters_as_the_information_says(bright, plain):
    """300 replicates know a spread to 4.1 %, and at these counts all else is within a percent: 17 %, four of that."""
    for fit in (bright, plain):
        found = bootstrap(fit.problem, fit.values, draws=300)
        assert found.made == {"method": "bootstrap", "draws": 300, "seed": 0, "failed": 0}
        np.testing.assert_allclose(found.values[:, fit.moving].std(axis=0) / errors(fit), 1.0, atol=0.17)


def test_a_measured_response_is_measured_again(swayed):
    """The response's noise is most of the error of the shift, which the bootstrap knows only by counting it again.

    As in the test before, with 5 % more for the second order of so few counts.
    """
    assert swayed.swayed
    found = bootstrap(swayed.problem, swayed.values, draws=300)
    at = swayed.names.index("shift")
    spread = found.values[:, at].std()
    assert spread / swayed.error("shift") == pytest.approx(1.0, abs=0.22)
    alone = bootstrap(replace(swayed.problem, instrument=None), swayed.values, draws=100).values[:, at].std()
    assert alone < 0.6 * spread


@pytest.mark.gate
def test_the_posterior_of_a_bright_image_is_the_information_s(bright):
    """Some 1000 effective draws: means to 0.03 σ and spreads to 3 %; the likelihood is normal to some percent of σ."""
    found = nuts(bright.problem, bright.values, spread=bright.covariance, draws=1000, seed=3)
    away = (found.values - bright.values)[:, bright.moving] / errors(bright)
    assert np.all(np.abs(away.mean(axis=0)) < 0.2)
    np.testing.assert_allclose(away.std(axis=0), 1.0, atol=0.12)
    assert found.made["divergences"] == 0
    assert found.made["r_hat"] < 1.02
    assert found.made["effective_draws"] > 400


@pytest.mark.gate
def test_the_posterior_at_a_limit_is_that_of_a_grid():
    """Counts without background, b ≥ 0: mean and 90 % quantile of b, and of a, against quadrature on a fine grid.

    Some 5000 effective draws: four errors of a mean are 0.06 of the spread, of an exponential's 90 % quantile 0.17.
    """
    photons = np.random.default_rng(4).poisson(20 * (1 + X**2))
    problem = toy(photons)
    best = problem.fit(np.array([2.0, 1.0]))
    a, b = np.linspace(2.2, 3.3, 300), (np.arange(400) + 0.5) * 0.025
    density = jax.jit(jax.vmap(jax.vmap(problem.log_density, (0,)), (0,)))
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1)
    weight = np.exp(np.asarray(density(jnp.asarray(grid))) - float(problem.log_density(best.parameters)))
    weight /= weight.sum()
    found = nuts(problem, best.parameters, draws=20_000, seed=1).values
    for axis, nodes in ((0, a), (1, b)):
        share = weight.sum(axis=1 - axis)
        mean = float(share @ nodes)
        spread = float(np.sqrt(share @ (nodes - mean) ** 2))
        assert found[:, axis].mean() == pytest.approx(mean, abs=0.06 * spread)
        high = float(np.interp(0.9, np.cumsum(share), nodes))
        assert np.quantile(found[:, axis], 0.9) == pytest.approx(high, abs=0.17 * spread)
    assert found[:, 1].min() > 0


def test_draws_have_the_errors_of_the_fit_where_noise_is_not_known():
    """Twice the covariance asked for: draws √2 as wide, as the same seed draws the same; seeds make them."""
    problem = toy(np.random.default_rng(6).poisson(40 * (1 + X**2) + 60))
    best = problem.fit(np.array([3.0, 50.0]))
    spread = np.linalg.inv(best.information)
    plain, wide = (nuts(problem, best.parameters, spread=k * spread, draws=400, seed=2).values for k in (1.0, 2.0))
    np.testing.assert_allclose(wide - best.parameters, np.sqrt(2) * (plain - best.parameters), rtol=1e-6)
    other = nuts(problem, best.parameters, spread=spread, draws=400, seed=3).values
    assert np.isclose(plain, other).mean() < 0.01  # some of 800 numbers meet by chance
    again, different = (bootstrap(problem, best.parameters, draws=20, seed=seed).values for seed in (2, 3))
    np.testing.assert_array_equal(again, bootstrap(problem, best.parameters, draws=20, seed=2).values)
    assert np.isclose(again, different).mean() < 0.1


def test_a_mixture_is_drawn_from_the_slowest_on_and_d_has_both_errors():
    """Weights of a mixture add up to one in every draw, so their errors are alike; D of image and decay by draws.

    D = L²/τ: √(4 s_L² + s_τ²) within a fifth, as 100 replicates know each error to 7 %.
    """
    image = shoot(5, photons=3e4, file="spot", **SMALL)
    given = {"laser_fwhm": (2.3548 * WIDTH, 0.003), "decay": decay_of(6)}
    result = Experiment(images=[image], interval="bootstrap", draws=100, seed=4, **given).fit()
    length, lifetime, rate = (result.parameters[name] for name in ("diffusion_length", "lifetime", "diffusivity"))
    expected = np.hypot(2 * length.stderr / length.value, lifetime.stderr / lifetime.value)
    assert rate.stderr / rate.value == pytest.approx(expected, rel=0.2)
    assert rate.interval95[0] < rate.value < rate.interval95[1]
    assert "100 data sets" in result.methods
    assert result.settings["seed"] == 4
    made = result.images[0].goodness["sampling"]
    assert made == {"method": "bootstrap", "draws": 100, "seed": 4, "failed": 0}
    random = np.random.default_rng(7)
    edges = 0.1 * np.arange(251)
    seen = 2.0 + np.concatenate([random.exponential(tau, 20_000) for tau in (4.0, 0.8)])
    mixture = Decay(edges[:-1] + 0.05, np.histogram(seen, edges)[0])
    mixed = Experiment(decay=mixture, model="mixture", interval="bootstrap", draws=50).fit().parameters
    assert mixed["weight_1"].stderr == pytest.approx(mixed["weight_2"].stderr, rel=1e-9)
    assert mixed["lifetime_1"].interval95[0] > mixed["lifetime_2"].interval95[1]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"interval": "jackknife"}, "choose one of fisher, profile, bootstrap, nuts"),
        ({"interval": "profile"}, "a decay alone has no use for it"),
        ({"draws": 500}, "draws nothing"),
        ({"seed": 3}, "draws nothing"),
        ({"interval": "bootstrap", "draws": 5}, "needs 20 at least"),
        ({"interval": "nuts", "draws": 20}, "needs 100 at least"),
        ({"interval": "bootstrap", "seed": -1}, "a whole number"),
        ({"interval": "bootstrap", "draws": 100.0}, "a whole number"),
    ],
)
def test_what_cannot_be_drawn_is_refused(said, words):
    with pytest.raises(InputError, match=words):
        Experiment(decay=decay_of(1), **said)


def test_without_numpyro_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(sampling, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "excidiff\[bayes\]"'):
        Experiment(decay=decay_of(1), interval="nuts")


@pytest.mark.gate
def test_a_poor_sample_is_warned_of():
    """100 draws are far too few for intervals, and the result says so."""
    result = Experiment(decay=decay_of(8), model="free", interval="nuts", draws=100).fit()
    assert any("effective draws" in warning for warning in result.warnings)
    assert "No-U-Turn" in result.methods
    low, high = result.parameters["lifetime"].interval95
    assert low < 2.05
    assert high > 1.95


def test_the_command_line_draws_and_runs_again(tmp_path):
    """Kind of interval, draws and seed reach result.json and run.toml; a rerun draws the same to the last digit."""
    decay = decay_of(9)
    rows = "\n".join(f"{t:.3f},{n:.0f}" for t, n in zip(decay.time, decay.counts, strict=True))
    (tmp_path / "decay.csv").write_text(f"time_ns,counts\n{rows}\n", encoding="utf-8")
    text = '[intervals]\ninterval = "bootstrap"\nseed = 7\n[[decay]]\nfile = "decay.csv"\n'
    (tmp_path / "film.toml").write_text(text, encoding="utf-8")
    out, again = tmp_path / "out", tmp_path / "again"
    assert cli.main(["fit", str(tmp_path / "film.toml"), "--draws", "30", "-o", str(out)]) == cli.OK
    assert cli.main(["rerun", str(out), "-o", str(again)]) == cli.OK
    first, second = (json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in (out, again))
    assert first["measurements"][0]["goodness"]["sampling"]["draws"] == 30
    assert (first["settings"]["seed"], first["settings"]["run"]["seed"]) == (7, 7)
    assert first["parameters"] == second["parameters"]
    assert 'draws = "30"' in (out / "run.toml").read_text(encoding="utf-8")
