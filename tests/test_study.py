"""A study goes on where it was stopped, and its microscope is what its docstring says."""

import numpy as np
import pytest

from benchmarks import study
from benchmarks.microscope import FULL, FWHM, Film, digest, draw_film, film_counts, laser_counts


@pytest.fixture
def partial(tmp_path, monkeypatch):
    """Where a study named "squares" keeps its finished cases."""
    monkeypatch.setattr(study, "BUILD", tmp_path)
    return tmp_path / "squares.jsonl"


def run(sources, cases):
    """The values, and which cases had to be run for them."""
    ran = []

    def square(case):
        ran.append(case)
        return {"value": case**2}

    found = study.run_cases("squares", sources, cases, square, say=lambda *_: None)
    return [entry["value"] for entry in found], ran


def test_finished_cases_are_not_run_again(partial):
    assert run("a", [0, 2]) == ([0, 4], [0, 2])
    assert run("a", range(4)) == ([0, 1, 4, 9], [1, 3])


def test_other_sources_and_torn_lines_are_run_again(partial):
    run("a", [0, 1])
    assert run("b", [0, 1]) == ([0, 1], [0, 1])
    partial.write_text(partial.read_text()[:-20])
    assert run("b", [0, 1]) == ([0, 1], [1])
    assert run("b", [0, 1]) == ([0, 1], [])


def test_stopped_in_mid_case_keeps_what_was_finished(partial):
    def stop(case):
        if case == 2:
            raise KeyboardInterrupt
        return {"value": case**2}

    with pytest.raises(KeyboardInterrupt):
        study.run_cases("squares", "a", range(4), stop, say=lambda *_: None)
    assert run("a", range(4)) == ([0, 1, 4, 9], [2, 3])


def test_drawn_films_keep_to_their_ranges():
    films = [draw_film(seed) for seed in range(200)]
    for name, low, high in (
        ("length", 0.15, 1.5),
        ("spot_fwhm", 0.2, 0.8),
        ("pixel", 0.02, 0.12),
        ("photons", 1e4, 1e6),
        ("laser_photons", 1e4, 1e6),
        ("background", 0, 10),
        ("gain", 1, 4),
        ("offset", 0, 200),
        ("read_noise", 0, 3),
    ):
        values = np.array([getattr(film, name) for film in films])
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    assert all(max(film.shape) <= 513 for film in films)  # rounding up


def test_microscope_counts_what_was_emitted():
    """Means within 4 errors: photons, centre (σ/√N) and variance (that of a Laplace-like law: √(5/N) at most)."""
    film = Film(length=0.3, lifetime=4.0, spot_fwhm=0.5, psf_share=0.4, pixel=0.1, shape=(121, 111), photons=4e4,
                laser_photons=4e4, background=0.0, laser_background=0.0, gain=2.0, offset=50, read_noise=0.0,
                centre=(0.2, -0.1), laser_centre=(0.0, 0.3))  # fmt: skip
    spot2 = (film.spot_fwhm / FWHM) ** 2
    for counts, variance, centre in (
        (film_counts(film, [7, 1]), spot2 + 2 * film.length**2, film.centre),
        (laser_counts(film, [7, 2]), spot2, film.laser_centre),
    ):
        light = (counts.astype(float) - film.offset) / film.gain
        number = light.sum()
        assert abs(number - 4e4) < 4 * np.sqrt(4e4)
        for axis, middle in ((1, centre[0]), (0, centre[1])):
            place = (np.arange(film.shape[axis]) - (film.shape[axis] - 1) / 2) * film.pixel
            profile = light.sum(axis=1 - axis) / number
            mean = profile @ place
            assert abs(mean - middle) < 4 * np.sqrt(variance / number)
            assert profile @ (place - mean) ** 2 - film.pixel**2 / 12 == pytest.approx(
                variance, rel=4 * np.sqrt(5 / number)
            )
    assert digest(film_counts(film, [7, 1])) == digest(film_counts(film, [7, 1]))


def test_exposure_is_halved_rather_than_saturated():
    film = draw_film(3)
    bright = Film(**{**film.__dict__, "photons": 2e5, "length": 0.15, "spot_fwhm": 0.2, "pixel": 0.12, "gain": 4.0,
                     "shape": (30, 30), "centre": (0.0, 0.0)})  # fmt: skip
    assert FULL / 3 < film_counts(bright, [3, 1]).max() < FULL * 1.05
