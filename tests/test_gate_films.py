"""Gates of the studies: 200 random films and 1000 replicates of one, as committed, and a fixed 5 % of them run again.

A fit ends within 1 % of a standard error of the optimum and then takes one more step, so that the same photons give the
same length within 0.01 stderr whatever rounds differently, and the same error within 1 %.
"""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import coverage, films
from benchmarks.microscope import FWHM, Film, draw_film
from benchmarks.study import fingerprint
from excidiff.inverse import Camera, Experiment, Image
from excidiff.inverse.cli import main
from excidiff.inverse.job import command

pytestmark = pytest.mark.gate

AGAIN = range(0, films.FILMS, films.FILMS // 10)
SAME = 0.01


def committed(study) -> dict:
    """The result of a study."""
    return json.loads(study.RESULT.read_text())


@pytest.fixture(scope="module", autouse=True)
def told_of_moved_sources(request):
    """Says on the terminal, past pytest's capture, where the sources have moved on since a study ran.

    That is no failure: what is run again must still agree.
    """
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for study in (films, coverage):
            if committed(study)["sources"] != fingerprint(*study.SOURCES):
                print(f"\n{study.RESULT.name}: the sources have changed since this study ran; the spot check decides")


@pytest.mark.parametrize("case", AGAIN)
def test_film_again(case):
    """The same photons give the same answer."""
    before, now = committed(films)["films"][case], films.run_film(case)
    assert now["counts"] == before["counts"], "other photons: has NumPy changed its random numbers?"
    assert now["status"] == before["status"]
    if before["stderr"] is None:
        return
    assert abs(now["length"] - before["length"]) < SAME * before["stderr"]
    assert now["stderr"] == pytest.approx(before["stderr"], rel=SAME)


def test_the_command_finds_what_the_study_found(tmp_path):
    """`excidiff fit` itself, report and all, on one film."""
    counts = films.take_images(3)
    settings = films.write_film(draw_film(3), counts, tmp_path)
    text = command(settings)
    for option in ("--laser ", "--lifetime ", "--gain ", "--offset ", "--read-noise "):
        assert option in text
    given = [word for name, value in settings.given().items() if name != "images"
             for word in ("--" + name.replace("_", "-"), value)]  # fmt: skip
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert main(["fit", *settings.images, *given, "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text())["parameters"]["diffusion_length"]
    before = committed(films)["films"][3]
    assert abs(found["value"] - before["length"]) < SAME * before["stderr"]


def test_films_are_fitted_with_honest_errors():
    """Pulls: r.m.s. 0.85–1.15 (3/√(2·200) = 0.15), none beyond 4.5, mean within 3/√n; no film left unanswered.

    Goodness z of films and lasers: r.m.s. 1 ± 3/√(4n), none beyond 4.5. Flags and refusals are for cameras that cut the
    read noise off at zero, and few.
    """
    entries = committed(films)["films"]
    assert [entry["case"] for entry in entries] == list(range(films.FILMS))
    summary = films.summarise(entries)
    assert not summary["unanswered"]
    assert 0.85 < summary["pull_rms"] < 1.15
    assert summary["pull_largest"] < 4.5
    assert abs(summary["pull_mean"]) < 3 / np.sqrt(summary["fitted"])
    assert abs(summary["within_interval95"] - 0.95) < 3 * np.sqrt(0.95 * 0.05 / summary["fitted"])
    assert abs(summary["z_rms"] - 1) < 3 / np.sqrt(4 * summary["fitted"])
    assert summary["z_largest"] < 4.5
    for case in (*summary["flagged"], *summary["refused"]):
        film = draw_film(case)
        assert film.offset < 4 * film.gain * film.read_noise, entries[case]["reason"]
    assert summary["fitted"] >= 0.9 * films.FILMS


@pytest.mark.parametrize("case", range(0, coverage.REPLICATES, 20))
def test_replicate_again(case):
    """The same photons give the same length and error."""
    before, now = committed(coverage)["replicates"][case], coverage.run_replicate(case)
    assert now["counts"] == before["counts"], "other photons: has NumPy changed its random numbers?"
    assert abs(now["length"] - before["length"]) < SAME * before["stderr"]
    assert now["stderr"] == pytest.approx(before["stderr"], rel=SAME)


def test_intervals_cover_and_the_fit_is_efficient():
    """1000 replicates: 68.27 and 95 % within three binomial errors; spread at most (1 + 3/√2000) × Cramér–Rao.

    The bias: three errors of the mean are 3/√1000 = 0.095 stderr. z: mean 0 ± 3/√1000, r.m.s. 1 ± 3/√2000.
    """
    replicates = committed(coverage)["replicates"]
    count = len(replicates)
    assert count == coverage.REPLICATES
    summary = coverage.summarise(replicates)
    assert 0.639 < summary["within_1_stderr"] < 0.727
    assert 0.929 < summary["within_interval95"] < 0.971
    assert summary["spread_over_bound"] < 1 + 3 / np.sqrt(2 * count)
    assert summary["stderr_over_bound"] == pytest.approx(1, abs=0.01)
    assert abs(summary["bias_in_stderr"]) < 3 / np.sqrt(count)
    assert abs(summary["z_mean"]) < 3 / np.sqrt(count)
    assert abs(summary["z_rms"] - 1) < 3 / np.sqrt(2 * count)


def test_bound_is_that_of_the_plan():
    """0.377 % for 1e5 photons, one of background per pixel, with the spot's width known (a very bright laser image)."""
    film = replace(coverage.FILM, length=0.48, spot_fwhm=0.297, pixel=0.05, shape=(128, 128), photons=1e5,
                   background=1.0, centre=(0.0, 0.0), laser_photons=1e9)  # fmt: skip
    assert coverage.cramer_rao(film) / film.length == pytest.approx(0.00377, abs=5e-6)


def exact(film: Film, width: float) -> np.ndarray:
    """Expected photons, by a quadrature that is not the fit's."""
    return coverage.film_image(film, film.length, width, *film.centre, film.photons, film.background)


@pytest.mark.parametrize(("length", "fwhm", "pixel"), [(0.15, 0.8, 0.12), (0.48, 0.3, 0.05), (1.5, 0.2, 0.1)])
def test_numerical_bias_is_far_below_the_noise(length, fwhm, pixel):
    """Noise-free images of 1e6 photons: L off by less than 0.1 of its error (1e-3 here: the quadratures are exact to
    1e-8, and the fit ends within a few 1e-4 of an error from the optimum)."""
    film = replace(coverage.FILM, length=length, spot_fwhm=fwhm, pixel=pixel, shape=(120, 112), photons=1e6)
    image = Image(exact(film, fwhm / FWHM), pixel_size=pixel, camera=Camera(gain_known=True, saturation=np.inf))
    found = Experiment(images=[image], laser_fwhm=fwhm, psf_fwhm=1e-6).fit().parameters["diffusion_length"]
    assert abs(found.value - length) < 1e-3 * found.stderr
