"""Gates of the film with a known energy landscape: 300 000 excitons, walked one by one, over wells 60 meV deep."""

import json

import numpy as np
import pytest

from excidiff.inverse.cli import main
from excidiff.inverse.detector import detector_of
from excidiff.inverse.film import film_fractions
from excidiff.inverse.landscape import cut_cells, landscape_of
from excidiff.inverse.likelihood import goodness
from excidiff.inverse.prediction import pixel_edges
from excidiff.inverse.readers import read_image, read_map
from excidiff.inverse.result import FitResult
from excidiff.inverse.start import FWHM

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
