"""Options of `excidiff fit` that change the answer, from the command line to result.json, held against the truth.

Small images of photons drawn one by one; each fit serves several options at once.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.photons import FWHM, shoot
from excidiff.inverse import cli

LENGTH, LASER, PSF, PIXEL, BACKGROUND = 0.3, 0.18, 0.12, 0.06, 1.5  # µm: L, σ of laser and PSF, pixel; photons


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled programs of these tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXCIDIFF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def saved(folder: Path, name: str, *, width: float, length: float = 0.0, photons: int = 60_000, **more) -> str:
    """An image of a spot as a .npy file."""
    image = shoot(3, photons=photons, width=width, length=length, pixel=PIXEL, shape=(80, 84), file=name, **more)
    np.save(folder / name, image.counts)
    return str(folder / name)


def fitted(folder: Path, *arguments: object) -> dict:
    """The parameters in result.json, after a fit that must go well."""
    out = folder / "out"
    words = ["fit", *map(str, arguments), "--pixel-size", f"{PIXEL} um", "-o", str(out)]
    assert cli.main(words) == cli.OK
    return json.loads((out / "result.json").read_text(encoding="utf-8"))


def agrees(entry: dict, truth: float, within: float = 0.05) -> bool:
    """Within 4 of its standard errors (a false alarm in 16 000), and surer than `within` of the truth."""
    return abs(entry["value"] - truth) < 4 * entry["stderr"] < 4 * within * abs(truth)


def test_a_psf_with_both_wavelengths(tmp_path):
    """The laser's own width follows from its image and the PSF narrowed by 0.8; D from it is that of the film."""
    spot = saved(tmp_path, "spot.npy", width=np.hypot(LASER, PSF), length=LENGTH, background=BACKGROUND)
    laser = saved(tmp_path, "laser.npy", width=np.hypot(LASER, 0.8 * PSF))
    psf = saved(tmp_path, "psf.npy", width=PSF)
    found = fitted(tmp_path, spot, "--laser", laser, "--psf", psf, "--laser-wavelength", "560 nm",
                   "--emission-wavelength", "700 nm", "--lifetime", "(3.0 ± 0.1) ns")["parameters"]  # fmt: skip
    assert agrees(found["diffusion_length"], LENGTH)
    assert agrees(found["laser_fwhm"], FWHM * LASER)
    assert agrees(found["psf_fwhm"], FWHM * PSF)
    assert agrees(found["diffusivity"], LENGTH**2 / 3.0, 0.1)


def test_a_region_with_a_known_background_and_a_fixed_centre(tmp_path):
    """A second, brighter spot outside the region is not seen; what was given comes back as given."""
    spot = shoot(3, photons=60_000, width=LASER, length=LENGTH, pixel=PIXEL, shape=(80, 84), background=BACKGROUND)
    wide = np.random.default_rng(5).poisson(BACKGROUND, (80, 140)).astype(float)
    wide[:, :84] = spot.counts
    wide[30:40, 125:135] += 5000
    np.save(tmp_path / "wide.npy", wide)
    wide = tmp_path / "wide.npy"
    found = fitted(wide.parent, wide, "--laser-fwhm", f"{FWHM * LASER} um", "--region", "0,84,0,80", "--background",
                   BACKGROUND, "--fix", "centre_y=0 um", "--interval", "profile")["parameters"]  # fmt: skip
    length = found["diffusion_length"]
    assert agrees(length, LENGTH)
    assert agrees(found["centre_x"], -28 * PIXEL)  # from the centre of the whole image
    assert length["interval95"][0] < LENGTH < length["interval95"][1]
    assert (found["background"]["value"], found["background"]["origin"]) == (BACKGROUND, "given")
    assert (found["centre_y"]["value"], found["centre_y"]["origin"]) == (0.0, "given")


def test_gaussian_noise(tmp_path):
    spot = saved(tmp_path, "spot.npy", width=LASER, length=LENGTH, background=20.0)
    found = fitted(tmp_path, spot, "--laser-fwhm", f"{FWHM * LASER} um", "--noise", "gaussian")
    assert agrees(found["parameters"]["diffusion_length"], LENGTH)
    assert found["goodness"]["p_value"] is None  # noise of unknown size judges nothing


def test_a_camera_that_multiplies(tmp_path):
    """Excess noise of 2: the gain of each photoelectron is exponential, which doubles the variance of the counts."""
    one = shoot(3, photons=60_000, width=LASER, length=LENGTH, pixel=PIXEL, shape=(80, 84), background=60.0)
    electrons = one.counts.astype(int)
    counts = 10.0 * np.random.default_rng(4).gamma(np.maximum(electrons, 1e-9)) * (electrons > 0) + 100.0
    np.save(tmp_path / "spot.npy", counts)
    found = fitted(tmp_path, tmp_path / "spot.npy", "--laser-fwhm", f"{FWHM * LASER} um", "--gain", 10, "--offset", 100,
                   "--excess-noise", 2)["parameters"]  # fmt: skip
    assert agrees(found["diffusion_length"], LENGTH)
    assert agrees(found["background"], 60.0)
    pixels = 80 * 84
    assert 1.3 < found["background"]["stderr"] / (60.0 / pixels) ** 0.5 < 1.8  # √2, and what the spot's tail takes
