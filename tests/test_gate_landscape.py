"""Gates of the film with a known energy landscape: 300 000 excitons, walked one by one, over wells 60 meV deep."""

import json

import numpy as np
import pytest

from excidiff.inverse.cli import main
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.files.readers import Map, read_image, read_map
from excidiff.inverse.fit.detector import detector_of
from excidiff.inverse.fit.film import film_fractions
from excidiff.inverse.fit.landscape import cut_cells, landscape_of
from excidiff.inverse.fit.likelihood import goodness
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.results.result import FitResult

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def folder(data):
    return data / "film_landscape"


@pytest.fixture(scope="module")
def truth(folder):
    return json.loads((folder / "truth.json").read_text())


def test_the_photons_are_those_predicted(folder, truth):
    """|z| ≤ 3 with nothing fitted: every parameter known, the landscape from its file. A flat film has z > 20."""
    image = read_image(folder / "spot.tif", pixel_size=truth["pixel_um"], gain=1.0)
    laser, psf = truth["laser_fwhm_um"] / FWHM, truth["psf_fwhm_um"] / FWHM
    length = np.sqrt(truth["diffusivity_um2_per_ns"] * truth["lifetime_ns"])
    shape = np.array([np.log(length), np.log(np.hypot(laser, psf)), np.log(psf), 0.0, 0.0])
    edges = pixel_edges(image.shape[0], truth["pixel_um"])
    landscape = read_map(folder / "landscape_meV.npy")
    z = []
    for energy in (landscape.values, 0 * landscape.values):
        film = landscape_of(energy, truth["temperature_K"], [image])
        cells, _ = cut_cells(film, image, width=laser, length=length, centre=(0.0, 0.0))
        fraction = np.asarray(film_fractions(shape, cells, edges, edges))
        expected = truth["excitons"] * fraction + truth["background_per_pixel"]
        z.append(goodness(image.photons.ravel(), expected.ravel(), detector_of(image)).z)
    assert abs(z[0]) <= 3
    assert z[1] > 20


def test_diffusivity_by_one_command(folder, truth, tmp_path):
    """D within 3.5 of its errors, which are below 1 %, from image, map and optics alone; |z| ≤ 3."""
    out = tmp_path / "out"
    optics = ["--laser-fwhm", "245 nm", "--psf-fwhm", "150 nm", "--gain", "1"]
    film = ["--landscape", str(folder / "landscape_meV.npy"), "--temperature", "295 K", "--lifetime", "5 ns"]
    assert main(["fit", str(folder / "spot.tif"), *optics, *film, "-o", str(out)]) == 0
    result = FitResult.load(out / "result.nc")
    found = result.parameters["diffusivity"]
    assert abs(found.value - truth["diffusivity_um2_per_ns"]) < 3.5 * found.stderr
    assert found.stderr < 0.01 * found.value
    assert abs(result.goodness["z"]) <= 3
    assert abs(result.parameters["amplitude"].value - truth["excitons"]) < 4 * result.parameters["amplitude"].stderr
    assert any("edge values are continued" in warning for warning in result.warnings)
    assert any("image's pixels" in warning for warning in result.warnings)


def follow(random, place, lifetime, pull, diffusivity, step):
    """Where walkers starting at `place` (2, n) end: dX = D pull(X) dt + √(2D) dW, each for its own exponential life."""
    count = np.sort(np.ceil(random.exponential(lifetime, place.shape[1]) / step).astype(int))[::-1]
    for k in range(count[0]):
        alive = place[:, : np.searchsorted(-count, -k, side="left")]
        alive += diffusivity * step * pull(alive) + np.sqrt(2 * diffusivity * step) * random.standard_normal(
            alive.shape
        )
    return place


def test_walk_over_a_map_with_its_own_spacing():
    """1e5 walkers from a laser off the image's centre, unlike pixels, a map of other spacing and size: everything
    within 3.5 errors, |z| ≤ 3. Steps of 5 ps (20 nm) make L 3e-4 too small, a tenth of its error; the seed is fixed."""
    random, count, energy = np.random.default_rng(11), 100_000, 0.08617333262 * 295.0
    diffusivity, lifetime, laser, psf, centre = 0.04, 4.0, 0.13, 0.07, np.array([0.15, -0.2])
    waves, depths = 2 * np.pi / np.array([0.8, 0.7]), np.array([20.0, 25.0])

    def pull(place):  # −∇U/kT of U = 20 cos(2πx/0.8) + 25 cos(2πy/0.7)
        return ((depths * waves)[:, None] * np.sin(waves[:, None] * place)) / energy

    start = centre[:, None] + laser * random.standard_normal((2, count))
    end = follow(random, start, lifetime, pull, diffusivity, 0.005) + psf * random.standard_normal((2, count))
    shape, pixel = (70, 90), (0.06, 0.05)
    edges = [pixel_edges(n, size) for n, size in zip(shape, pixel, strict=True)]
    counts = np.histogram2d(end[1], end[0], bins=edges)[0] + random.poisson(0.5, shape)
    x, y = ((np.arange(n) - (n - 1) / 2) * 0.05 for n in (230, 210))
    values = depths[0] * np.cos(waves[0] * x)[None, :] + depths[1] * np.cos(waves[1] * y)[:, None]
    result = Experiment(
        images=[Image(counts, pixel_size=pixel, camera=Camera(gain_known=True, saturation=np.inf))],
        laser_fwhm=FWHM * laser,
        psf_fwhm=FWHM * psf,
        landscape=Map(values, (0.05, 0.05), "made here", "U", ""),
        temperature=295.0,
    ).fit()
    found = result.parameters
    known = {"diffusion_length": 0.4, "centre_x": 0.15, "centre_y": -0.2, "amplitude": count, "background": 0.5}
    for name, value in known.items():
        assert abs(found[name].value - value) < 3.5 * found[name].stderr, name
    assert found["diffusion_length"].stderr < 0.005
    assert abs(result.goodness["z"]) <= 3
