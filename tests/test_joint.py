"""Decays asked through the public face, alone and beside images and frames: values, limits, sentences, files."""

import json

import numpy as np
import pytest

from excidiff.inverse import Experiment, FitResult, InputError
from excidiff.inverse.files.decays import Decay
from tests.photons import FWHM, count_decay, shoot, shoot_gates

LAB = {"photons": 300_000, "period": 25.0, "width": 0.025, "fwhm": 0.1, "kind": "measured"}
ONE = {"lifetimes": np.array([4.0]), "weights": np.ones(1)}
TWO = {"lifetimes": np.array([5.0, 1.2]), "weights": np.array([0.6, 0.4])}
WIDTH = 0.13


def pull(estimate, truth: float) -> float:
    return (estimate.value - truth) / estimate.stderr


def said(result: FitResult, words: str) -> bool:
    return any(words in sentence for sentence in result.verdicts)


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
    if lifetime.value is not None:
        assert lifetime.at_bound
        assert 0.002 < lifetime.interval95[1] < 0.1
    assert said(found, "too short against the instrument's response") or said(found, "does not determine a lifetime")


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


def test_image_and_decay_that_disagree(spots):
    """A decay of two lifetimes beside an image fitted with one: no D, and a sentence that says why."""
    laser, images = spots
    found = Experiment(images=images, laser=laser, decay=count_decay(6, **TWO, **LAB)).fit()
    assert found.status == "partial"
    assert not found.parameters["diffusivity"].identifiable
    assert not found.parameters["lifetime"].identifiable
    assert found.parameters["diffusion_length"].value == pytest.approx(0.4, rel=0.05)
    assert said(found, "Image and decay disagree")


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
        ({"decay": True, "lifetime": 4.0}, "either the lifetime or the decay"),
        ({"decay": True, "laser_fwhm": 0.3}, "laser_fwhm given, but no image"),
        ({"decay": True, "model": "mixtures"}, "did you mean 'mixture'"),
        ({"decay": True, "model": "free", "components": 2}, "belongs to model"),
    ],
)
def test_questions_without_sense(asked: dict, says: str):
    decay = {"decay": count_decay(12, **ONE, **LAB)} if "decay" in asked else {}
    with pytest.raises(InputError, match=says):
        Experiment(**{**asked, **decay})
