"""What a movie shows gate by gate: light and width of Gaussians of known size, their errors, storage and figure."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import random_films
from excidiff.inverse import Experiment, FitResult, Image
from excidiff.inverse.files.data import Camera
from excidiff.inverse.gates import NAMES, gate_series
from excidiff.inverse.results.gates import gates_figure
from excidiff.inverse.results.screen import measurements_in_words

GATES = np.array([[0.0, 1.0], [1.0, 3.0], [3.0, 4.0]])
SIZE, CENTRE, GROUND = 0.08, (0.11, -0.05), 0.4


def bells(widths, photons, shape=(64, 64)) -> np.ndarray:
    """Gaussians at pixel centres, with background; one row is the light through a slit."""
    y, x = ((np.arange(n) - (n - 1) / 2) * SIZE for n in shape)
    found = []
    for width, light in zip(widths, photons, strict=True):
        along = np.exp(-((x - CENTRE[0]) ** 2) / (2 * width**2))
        across = np.ones(1) if shape[0] == 1 else np.exp(-((y - CENTRE[1]) ** 2) / (2 * width**2))
        bell = across[:, None] * along[None, :]
        found.append(light * bell / bell.sum() + GROUND)
    return np.array(found)


def series(expected: np.ndarray, counts: np.ndarray, used=None) -> dict[str, np.ndarray]:
    camera = Camera(gain_known=True, saturation=np.inf)
    images = [Image(np.ones(one.shape) + np.arange(one.size).reshape(one.shape), pixel_size=SIZE, camera=camera)
              for one in expected]  # fmt: skip
    used = np.ones(expected.shape, bool) if used is None else used
    return gate_series(images, GATES, counts, expected, expected, used, background=GROUND, centre=CENTRE)


@pytest.mark.parametrize("shape", [(64, 64), (1, 96)])
def test_light_and_width_of_gaussians(shape):
    """The model's w² and light to 1e-4; counts of spots 1 % wider and 10 % brighter are told so to first order: what is
    left is of the size of the square of the 2 % by which w² differs, 6e-4."""
    widths, photons = np.array([0.2, 0.3, 0.4]), np.array([4e4, 2e4, 1e4])
    model, wider = bells(widths, photons, shape), bells(1.01 * widths, 1.1 * photons, shape)
    found = series(model, wider)
    assert set(found) == set(NAMES)
    np.testing.assert_allclose(found["model_width2"], widths**2, rtol=1e-4)
    np.testing.assert_allclose(found["model_light"], photons, rtol=1e-9)
    np.testing.assert_allclose(found["light"], 1.1 * photons, rtol=1e-9)
    np.testing.assert_allclose(found["width2"] / widths**2, 1 + 1.1 * (1.01**2 - 1), atol=6e-4)
    np.testing.assert_array_equal(np.stack([found["start"], found["end"]], axis=1), GATES)


def test_errors_are_those_of_photons():
    """Over 400 movies: pulls of light and width have r.m.s. 1 within 3/√(2 · 1200), masked pixels left out."""
    widths, random = np.array([0.2, 0.3, 0.4]), np.random.default_rng(4)
    model, used = bells(widths, [3000.0, 1500.0, 700.0]), np.ones((3, 64, 64), bool)
    used[:, 20:24, 30:40] = False
    pulls = {"light": [], "width2": []}
    for _ in range(400):
        counts = np.where(used, random.poisson(model), 0.0)
        found = series(model, counts, used)
        for name, values in pulls.items():
            values.append((found[name] - found[f"model_{name}"]) / found[f"{name}_error"])
    for name, values in pulls.items():
        assert abs(np.sqrt(np.mean(np.square(values))) - 1) < 3 / np.sqrt(2 * 1200), name
        assert abs(np.mean(values)) < 3 / np.sqrt(1200), name


def test_a_gate_without_light_has_no_width():
    model = bells([0.2, 0.3, 0.4], [1000.0, 0.0, 100.0])
    found = series(model, model)
    assert np.isnan(found["width2"][1])
    assert np.isfinite(found["width2"][[0, 2]]).all()


def test_a_movie_is_saved_and_drawn_gate_by_gate(tmp_path: Path):
    """Diffusion adds 2D times the mean age: w² of a walked film's gates within 3.5 errors of s² + 2D⟨t⟩ + pixel²/12."""
    asked, truth = random_films.frames_and_decay(3)
    gates = np.asarray(asked["gates"])
    found = Experiment(images=asked["images"], gates=gates, laser_fwhm=asked["laser_fwhm"], psf_fwhm=1e-3).fit()
    (movie,) = found.images
    tau = truth["lifetime"]
    fade = np.exp(-gates / tau)
    age = -np.diff((gates + tau) * fade) / -np.diff(fade)
    pixel = movie.pixel_size[0] ** 2 / 12
    expected = (asked["laser_fwhm"] / random_films.FWHM) ** 2 + 2 * truth["diffusivity"] * age + pixel
    assert (np.abs(movie.gates["width2"] - expected) < 3.5 * movie.gates["width2_error"]).all()
    assert measurements_in_words(found) == "1 movie"
    again = FitResult.load(found.save(tmp_path / "result.nc")).images[0]
    for name in NAMES:
        np.testing.assert_array_equal(again.gates[name], movie.gates[name])
    assert [axes.get_xlabel() for axes in gates_figure(again).axes] == ["time (ns)", "time (ns)"]
    page = found.report(tmp_path / "report.html").read_text()
    assert "gate by gate" in page
