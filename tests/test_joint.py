"""Decays asked through the public face, alone and beside images and frames: values, limits, sentences, files."""

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.photons import FWHM, count_decay, shoot, shoot_gates
from excidiff.inverse import Decay, Experiment, FitResult, InputError, Response
from excidiff.inverse.fit.response import above_dark

OPTIMISED = True

LAB = {"photons": 300_000, "period": 25.0, "width": 0.025, "fwhm": 0.1, "kind": "measured"}
ONE = {"lifetimes": np.array([4.0]), "weights": np.ones(1)}
TWO = {"lifetimes": np.array([5.0, 1.2]), "weights": np.array([0.6, 0.4])}
WIDTH = 0.13


def pull(estimate, truth: float) -> float:
    return (estimate.value - truth) / estimate.stderr


def said(result: FitResult, words: str) -> bool:
    return any(words in sentence for sentence in result.verdicts)


@pytest.mark.gate
@pytest.mark.parametrize(("film", "count"), [(ONE, "one lifetime"), (TWO, "a mixture of two lifetimes")])
def test_as_few_lifetimes_as_describe_it(film: dict, count: str):
    """Left to itself the fit stops at the truth's number; each value within 4 of its errors."""
    found = Experiment(decay=count_decay(1, **film, **LAB)).fit()
    assert found.status == "converged"
    assert said(found, f"{count} describes it")
    names = ["lifetime"] if len(film["lifetimes"]) == 1 else ["lifetime_1", "lifetime_2"]
    for name, truth in zip(names, film["lifetimes"], strict=True):
        assert abs(pull(found.parameters[name], truth)) < 4
    assert abs(found.goodness["z"]) < 4


def test_too_few_lifetimes_are_flagged():
    found = Experiment(decay=count_decay(2, **TWO, **LAB), model="free").fit()
    assert found.status == "partial"
    assert said(found, "one lifetime does not describe its tail")
    assert said(found, "--model mixture --components 2")


def test_a_decay_shorter_than_the_response_gives_a_limit():
    """τ = 2 ps through 200 ps: a third of the photons' 0.2 ps, so nothing but an upper limit, above the truth."""
    film = {"lifetimes": np.array([0.002]), "weights": np.ones(1)}
    found = Experiment(decay=count_decay(3, **film, **{**LAB, "fwhm": 0.2})).fit()
    lifetime = found.parameters["lifetime"]
    assert lifetime.stderr is None
    assert lifetime.at_bound
    assert 0.002 < lifetime.interval95[1] < 0.1
    assert said(found, "too short against the instrument")


def test_a_decay_longer_than_the_window_gives_a_limit():
    """τ = 50 µs in 20 ns after single pulses: flat within the noise, so nothing but a lower limit, below the truth."""
    random = np.random.default_rng(4)
    time = 0.05 * (np.arange(400) + 0.5)
    decay = Decay(time, random.poisson(500.0 * np.exp(-(time - 1) / 5e4) * (time > 1) + 3.0), irf=0.05)
    found = Experiment(decay=decay).fit()
    lifetime = found.parameters["lifetime"]
    assert lifetime.at_bound
    assert lifetime.stderr is None
    assert 100 < lifetime.interval95[0] < 5e4
    assert said(found, "too long against the window")


@pytest.fixture(scope="module")
def spots():
    """A laser image and two spots of a film with L = 0.4 µm."""
    laser = shoot(1, photons=400_000, width=WIDTH, background=1.0, file="laser")
    return laser, [shoot(seed, photons=100_000, width=WIDTH, length=0.4, background=1.0) for seed in (2, 3)]


def test_image_and_decay_together(spots):
    """D = L²/τ and τ within 4 of their errors; the error of D has that of τ in it: √(4 s_L² + s_τ²) to 1e-9."""
    laser, images = spots
    found = Experiment(images=images, laser=laser, decay=count_decay(5, **ONE, **LAB)).fit()
    assert found.status == "converged"
    length, diffusivity, lifetime = (found.parameters[n] for n in ("diffusion_length", "diffusivity", "lifetime"))
    for entry, truth in ((length, 0.4), (diffusivity, 0.04), (lifetime, 4.0)):
        assert abs(pull(entry, truth)) < 4
    relative = np.hypot(2 * length.stderr / length.value, lifetime.stderr / lifetime.value)
    assert diffusivity.stderr / diffusivity.value == pytest.approx(relative, rel=1e-9)
    assert lifetime.origin == "fitted"
    assert said(found, "rests on the lifetime that the decay shows")
    assert [entry.kind for entry in found.measurements] == ["image", "image", "decay"]


@pytest.mark.gate
def test_image_and_decay_that_disagree(spots):
    """A decay of two lifetimes beside an image fitted with one: no D, and a sentence that says why."""
    laser, images = spots
    found = Experiment(images=images, laser=laser, decay=count_decay(6, **TWO, **LAB)).fit()
    assert found.status == "partial"
    assert not found.parameters["diffusivity"].identifiable
    assert not found.parameters["lifetime"].identifiable
    assert found.parameters["diffusion_length"].value == pytest.approx(0.4, rel=0.05)
    assert said(found, "Image and decay disagree")


@pytest.mark.gate
def test_decays_that_differ():
    """Two of one film are averaged; two of two films are, too, but it is said."""
    other = {**ONE, "lifetimes": np.array([4.5])}
    same, unlike = ([count_decay(7, **ONE, **LAB), count_decay(8, **film, **LAB)] for film in (ONE, other))
    alike = Experiment(decay=same, model="free").fit()
    single = Experiment(decay=same[0], model="free").fit()
    ratio = alike.parameters["lifetime"].stderr / single.parameters["lifetime"].stderr
    assert ratio == pytest.approx(0.5**0.5, rel=0.02)
    assert abs(pull(alike.parameters["lifetime"], 4.0)) < 4
    assert not said(alike, "differ by more")
    assert said(Experiment(decay=unlike, model="free").fit(), "differ by more than their errors")


@pytest.mark.parametrize("truth", [4.0, 5.0])
def test_frames_and_decay(truth: float):
    """The decay's τ joins the frames' own, and both errors shrink; a decay of another film is found out."""
    edges = [0.0, 1.0, 2.0, 4.0, 8.0]
    frames = shoot_gates(9, edges, photons=100_000, lifetime=4.0, width=WIDTH, length=0.4)
    optics = {"laser_fwhm": FWHM * WIDTH, "psf_fwhm": 1e-3}
    decay = count_decay(10, **{**ONE, "lifetimes": np.array([truth])}, **LAB)
    alone = Experiment(images=frames, gates=edges, **optics).fit()
    found = Experiment(images=frames, gates=edges, decay=decay, **optics).fit()
    if truth != 4.0:
        assert found.measurements[0].status == "flagged"
        assert said(found, "frames and decay contradict each other")
        return
    assert found.status == "converged"
    errors = [one.parameters["lifetime"].stderr for one in (alone, found, Experiment(decay=decay, model="free").fit())]
    assert errors[1] == pytest.approx((errors[0] ** -2 + errors[2] ** -2) ** -0.5, rel=0.05)
    assert found.parameters["diffusivity"].stderr <= alone.parameters["diffusivity"].stderr
    for name, value in (("diffusivity", 0.04), ("lifetime", 4.0)):
        assert abs(pull(found.parameters[name], value)) < 4


def test_the_result_comes_back(tmp_path):
    """Decays and their axes through result.nc, JSON and the page."""
    found = Experiment(decay=count_decay(11, **ONE, **LAB), model="free").fit()
    again = FitResult.load(found.save(tmp_path / "decay.nc"))
    assert again.to_json() == found.to_json()
    np.testing.assert_array_equal(again.decays[0].counts, found.decays[0].counts)
    np.testing.assert_allclose(np.diff(again.decays[0].time), LAB["width"], rtol=1e-9)
    assert again.decays[0].response.sum() == pytest.approx(1.0, abs=1e-6)
    entry = json.loads(found.to_json())["measurements"][0]
    assert (entry["kind"], entry["status"]) == ("decay", "fitted")
    text = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "how long excitons live" in text
    assert "Each decay" in text
    assert "nan" not in text.lower().split("<body")[1].split("base64")[0]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "nothing to fit"),
        ({"decay": True, "lifetime": 4.0}, "lifetime given, but no image"),
        ({"decay": True, "fixed": {"background": 1.0}}, "fixed given, but no image"),
        ({"decay": True, "landscape": np.zeros((4, 4))}, "landscape given, but no image"),
        ({"decay": True, "gates": np.arange(3.0)}, "gates given, but no image"),
        (
            {"decay": True, "images": [shoot(1, photons=1000, width=0.1)], "laser_fwhm": 0.3, "lifetime": 4.0},
            "either the lifetime or the decay",
        ),
        ({"decay": True, "laser_fwhm": 0.3}, "laser_fwhm given, but no image"),
        ({"decay": True, "model": "mixtures"}, "did you mean 'mixture'"),
        ({"decay": True, "model": "free", "components": 2}, "belongs to model"),
    ],
)
def test_questions_without_sense(asked: dict, says: str):
    decay = {"decay": count_decay(12, **ONE, **LAB)} if "decay" in asked else {}
    with pytest.raises(InputError, match=says):
        Experiment(**{**asked, **decay})


def one(seed: int, tau: float, *, photons: int, width: float, fwhm: float = 0.1, kind: str = "gaussian", **more):
    film = {"lifetimes": np.array([tau]), "weights": np.ones(1)}
    return count_decay(seed, **film, photons=photons, period=25.0, width=width, fwhm=fwhm, kind=kind, **more)


@pytest.mark.parametrize(
    ("tau", "photons", "width", "kind"),
    [
        (4.0, 300_000, 0.025, "none"),
        pytest.param(50.0, 1_000_000, 0.025, "none", marks=pytest.mark.gate),
        pytest.param(20.0, 20_000, 0.0125, "gaussian", marks=pytest.mark.gate),
    ],
)
def test_slow_dim_and_sharp_decays_find_their_rise(tau: float, photons: int, width: float, kind: str):
    """The pulse is found where light rises, not at the brightest bin: one lifetime within 4 of its errors."""
    decay = one(1, tau, photons=photons, width=width, kind=kind, fwhm=0.1 if kind != "none" else 1e-6)
    found = Experiment(decay=decay, model="free").fit()
    assert found.status == "converged", found.verdicts
    entry = found.parameters["lifetime"]
    assert abs(np.log(entry.value / tau)) < 4 * entry.stderr / entry.value


def test_a_window_that_opens_at_the_pulse_and_a_long_decay():
    """τ = 50 µs in 20 ns without a rise: a lower limit below it, whatever a profile may be stuck in."""
    time = 0.05 * (np.arange(400) + 0.5)
    for seed in (4, 5):
        random = np.random.default_rng(seed)
        found = Experiment(decay=Decay(time, random.poisson(500 * np.exp(-time / 5e4) + 3.0))).fit()
        entry = found.parameters["lifetime"]
        assert entry.value is None or (entry.interval95[0] or 0.0) < 5e4
        assert entry.interval95 is None or entry.interval95[1] is None


@pytest.mark.parametrize("reach", [3.0, *(pytest.param(reach, marks=pytest.mark.gate) for reach in (6.0, 12.0))])
def test_a_response_cut_to_its_peak(reach: float):
    """The response out to 3, 6, 12 σ of a file that holds nothing else: its light is kept, and τ within 4 errors."""
    decay = one(2, 0.5, photons=300_000, width=0.016, fwhm=0.2)
    sigma, random = 0.2 / FWHM, np.random.default_rng(3)
    time = decay.time[np.abs(decay.time - 2.5) < reach * sigma]
    counts = random.poisson(1e4 * np.exp(-(((time - 2.5) / sigma) ** 2) / 2)).astype(float)
    light, _ = above_dark(counts)
    assert light.sum() > 0.93 * counts.sum()
    decay = Decay(decay.time, decay.counts, irf=Response(time, counts), period=25.0)
    entry = Experiment(decay=decay, model="free").fit().parameters["lifetime"]
    assert abs(entry.value - 0.5) < 4 * entry.stderr + 0.01 * (reach < 4)  # a cut tail makes it shorter


def test_a_response_without_light_is_refused():
    decay = one(4, 1.0, photons=10_000, width=0.1)
    flat = Response(decay.time, np.full(decay.time.size, 5.0))
    with pytest.raises(InputError, match="does not stand out"):
        Experiment(decay=Decay(decay.time, decay.counts, irf=flat)).fit()


@pytest.mark.parametrize("unit", [1.0, 1e4])
@pytest.mark.parametrize(("told", "state"), [(1.0, "converged"), (0.33, "partial")])
def test_uncertainties_are_judged_in_any_unit(unit: float, told: float, state: str):
    """A signal with errors of 1 % of its peak, background taken off and more: right if told so, flagged if a third."""
    random = np.random.default_rng(5)
    time = 0.05 * (np.arange(500) + 0.5)
    law = stats.exponnorm(3.0 / (0.1 / FWHM), 2.0, 0.1 / FWHM)
    signal = 3.0 * law.pdf(time) - 0.03 + 0.01 * random.standard_normal(500)
    error = np.full(500, 0.01 * told)
    found = Experiment(decay=Decay(time, unit * signal, unit * error, irf=0.1), model="free").fit()
    assert found.status == state
    if state == "converged":
        assert abs(pull(found.parameters["lifetime"], 3.0)) < 4
    else:
        assert said(found, "uncertainties")


@pytest.mark.gate
def test_several_mixtures_are_not_mixed():
    """Two decays of two lifetimes each: no common value, and it is said; each keeps its own."""
    found = Experiment(decay=[count_decay(seed, **TWO, **LAB) for seed in (1, 2)], model="mixture").fit()
    assert found.parameters == {}
    assert said(found, "each with lifetimes of its own")
    assert all("lifetime_1" in entry.parameters for entry in found.measurements)


def test_scattered_light_is_a_limit_where_there_is_none_and_found_where_there_is():
    """A twentieth of the light with the pulse: found within 4 errors; without it a limit, and sharp errors of shift."""
    clean = one(6, 1.0, photons=300_000, width=0.025)
    random = np.random.default_rng(7)
    flashes = np.histogram(random.normal(2.5, 0.1 / FWHM, 15_000), clean.edges)[0]
    lit = Decay(clean.time, clean.counts + flashes, irf=0.1, period=25.0)
    without, found = (Experiment(decay=decay, model="free").fit() for decay in (clean, lit))
    assert abs(pull(found.parameters["scattered_light"], 15_000)) < 4
    assert without.parameters["scattered_light"].at_bound
    assert without.parameters["scattered_light"].interval95[1] < 3000
    assert without.parameters["irf_shift"].stderr < 1e-3
    for one_of in (without, found):
        assert abs(pull(one_of.parameters["lifetime"], 1.0)) < 4


def test_empty_wishes_are_none():
    """What is empty says nothing, whatever holds it."""
    decay = count_decay(12, **ONE, **LAB)
    assert Experiment(decay=decay, model="free", fixed={}, bounds={}, tied=[]).decays == (decay,)
