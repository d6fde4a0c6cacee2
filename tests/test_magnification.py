"""The error of the pixel size: carried into every length, counted once for all images, and refused where it cannot be.

By differences: images and laser whose pixels are 1 % larger; what the errors then are must be the same film's, with the
slope of each number times the error beside its own.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.photons import FWHM, shoot, shoot_gates
from excidiff.inverse import Experiment, InputError
from excidiff.inverse.cli import main
from excidiff.inverse.files.data import Image
from excidiff.inverse.samplesjob import compare_folders

WIDTH, LENGTH, ERROR = 0.15, 0.35, 0.03
GATES = np.arange(0.0, 8.1, 1.0)


@pytest.fixture(scope="module")
def images() -> list[Image]:
    return [shoot(seed, photons=3e4, width=WIDTH, length=LENGTH, file=f"spot {seed}") for seed in range(3)]


@pytest.fixture(scope="module")
def laser() -> Image:
    return shoot(9, photons=1e6, width=WIDTH, file="laser")


def scaled(image: Image, factor: float) -> Image:
    return replace(image, pixel_size=tuple(factor * size for size in image.spacing))


@pytest.mark.parametrize("many", [1, 3])
def test_with_a_laser_image_lengths_are_as_wrong_as_the_pixels(images, laser, many):
    """Laser and film alike: log L is wrong by what log p is, and D by twice that, in one image and in the mean."""
    film = {"images": images[:many], "laser": laser, "lifetime": (4.0, 0.1)}
    plain = Experiment(**film).fit().parameters
    result = Experiment(**film, magnification_error=ERROR).fit()
    found = result.parameters
    for name, power in (
        ("diffusion_length", 1),
        ("deconvolved_length", 1),
        ("diffusivity", 2),
        ("laser_image_fwhm", 1),
    ):
        before, after = (one[name].stderr / one[name].value for one in (plain, found))
        assert found[name].value == pytest.approx(plain[name].value, rel=1e-9)
        assert after == pytest.approx(np.hypot(before, power * ERROR), rel=1e-6)
    low, high = found["diffusion_length"].interval95
    assert np.log(high / low) > 2 * 1.96 * ERROR
    assert "that of the magnification, 3 %" in result.methods


def test_with_a_width_in_micrometres_it_is_more():
    """d log L/d log p = 1 − d log L/d log s, by differences of a pixel 0.1 % larger; to 2 % of the error."""
    image = shoot(5, photons=3e4, width=WIDTH, length=LENGTH)
    given = {"laser_fwhm": WIDTH * FWHM}
    plain, larger = (Experiment(images=[scaled(image, factor)], **given).fit() for factor in (1.0, 1.001))
    found = Experiment(images=[image], **given, magnification_error=0.005).fit()
    for name in ("diffusion_length", "deconvolved_length"):
        before, after = (one.parameters[name].value for one in (plain, larger))
        slope = np.log(after / before) / np.log(1.001)
        assert slope > 1.05
        own = plain.parameters[name].stderr / before
        told = found.parameters[name].stderr / found.parameters[name].value
        assert told == pytest.approx(np.hypot(own, slope * 0.005), rel=0.02)


def test_the_mean_of_many_images_is_not_surer_than_the_pixels():
    """A hundred images with one pixel size: the error of their mean is its."""
    many = [shoot(seed, photons=2e4, width=WIDTH, length=LENGTH, shape=(48, 48), pixel=0.1) for seed in range(100)]
    mean = Experiment(images=many, laser_fwhm=WIDTH * FWHM, magnification_error=ERROR).fit().parameters
    one = Experiment(images=many[:1], laser_fwhm=WIDTH * FWHM, magnification_error=ERROR).fit().parameters
    for name in ("diffusion_length", "deconvolved_length"):
        assert ERROR < mean[name].stderr / mean[name].value < 1.4 * ERROR
        assert mean[name].stderr < one[name].stderr


def test_a_scale_that_errs_makes_no_length_compatible_with_none():
    """600 photons beside a laser image, 15 % of the pixel size: the profile without it, each end widened by squares."""
    image, laser = shoot(6, photons=600, width=WIDTH, length=0.15), shoot(8, photons=1e6, width=WIDTH)
    found = [Experiment(images=[image], laser=laser, interval="profile", magnification_error=m).fit()
             for m in (None, 0.15)]  # fmt: skip
    plain, wide = (one.parameters["diffusion_length"] for one in found)
    assert plain.stderr
    assert wide.stderr
    assert not any("compatible with zero" in verdict for verdict in found[1].verdicts)
    for many, name in ((1.0, "interval68"), (1.959964, "interval95")):
        for before, after in zip(getattr(plain, name), getattr(wide, name), strict=True):
            own, whole = np.log(before / plain.value), np.log(after / wide.value)
            assert abs(whole) == pytest.approx(np.hypot(own, many * 0.15), rel=1e-6)


def test_a_limit_is_moved_by_it():
    """No diffusion: an upper limit, e^{1.645 m} of what it is without, or more for a width in µm."""
    image = shoot(7, photons=3000, width=WIDTH, length=0.0)
    laser = shoot(8, photons=1e6, width=WIDTH)
    limits = [Experiment(images=[image], laser=laser, magnification_error=m).fit().parameters["diffusion_length"]
              for m in (None, 0.1)]  # fmt: skip
    assert [one.stderr for one in limits] == [None, None]
    assert limits[1].interval95[1] == pytest.approx(limits[0].interval95[1] * np.exp(1.644854 * 0.1), rel=1e-4)


def test_a_laser_from_which_a_psf_in_micrometres_is_taken():
    """d log source/d log p = seen²/source², by images whose pixels are 0.1 % larger."""
    film, light = shoot(1, photons=3e4, width=WIDTH, length=LENGTH), shoot(2, photons=1e6, width=WIDTH)
    given = {"psf_fwhm": 0.25, "laser_wavelength": 0.45, "emission_wavelength": 0.5}
    widths = [
        Experiment(images=[scaled(film, k)], laser=scaled(light, k), **given, magnification_error=m)
        .fit()
        .parameters["laser_fwhm"]
        for k, m in ((1.0, None), (1.001, None), (1.0, 0.01))
    ]
    slope = np.log(widths[1].value / widths[0].value) / np.log(1.001)
    assert slope > 1.5
    own = widths[0].stderr / widths[0].value
    assert widths[2].stderr / widths[2].value == pytest.approx(np.hypot(own, 0.01 * slope), rel=0.01)


def test_samples_of_one_microscope_differ_as_without_it(tmp_path):
    """Two samples through the same pixels: what errs alike for all cancels in their difference, but for its size."""
    laser = shoot(9, photons=1e6, width=WIDTH)
    samples = {"a": LENGTH, "b": 1.05 * LENGTH}
    told = {}
    for m in (None, 0.05):
        for number, (name, length) in enumerate(samples.items()):
            images = [shoot([number, k], photons=3e4, width=WIDTH, length=length) for k in range(5)]
            folder = tmp_path / f"{name}-{m}"
            folder.mkdir()
            result = Experiment(images=images, laser=laser, magnification_error=m).fit()
            (folder / "result.json").write_text(result.to_json())
        told[m] = compare_folders([str(tmp_path / f"{name}-{m}") for name in samples], None, "diffusion_length")
    (before,), (after,) = told[None].pairs, told[0.05].pairs
    assert after.value == pytest.approx(before.value, rel=1e-3)
    assert after.stderr == pytest.approx(np.hypot(before.stderr, 0.05 * abs(before.value)), rel=0.05)
    for one, other in zip(told[None].samples, told[0.05].samples, strict=True):
        assert other.alike == pytest.approx(one.alike, rel=0.02)
        assert other.mean.stderr > 0.05 * other.mean.value


@pytest.mark.parametrize("imaged", [True, pytest.param(False, marks=pytest.mark.gate)])
def test_pulls_over_many_microscopes(imaged):
    """120 microscopes whose pixels are wrong by chance: pulls of L of r.m.s. 1 ± 3/√240, none beyond 4.5."""
    random, pulls = np.random.default_rng([77, imaged]), []
    for _ in range(120):
        factor, seeds = float(np.exp(ERROR * random.standard_normal())), random.integers(1 << 30, size=2)
        seen = {"pixel": 0.1, "shape": (40, 40)}
        film = scaled(shoot(seeds[0], photons=2e4, width=WIDTH, length=LENGTH, **seen), factor)
        light = scaled(shoot(seeds[1], photons=2e5, width=WIDTH, **seen), factor)
        given = {"laser": light} if imaged else {"laser_fwhm": (WIDTH * FWHM, 1e-3)}
        length = Experiment(images=[film], **given, magnification_error=ERROR).fit().parameters["diffusion_length"]
        pulls.append(np.log(length.value / LENGTH) * length.value / length.stderr)
    print(f"r.m.s. {np.sqrt(np.mean(np.square(pulls))):.3f}, mean {np.mean(pulls):.3f}")
    assert abs(np.sqrt(np.mean(np.square(pulls))) - 1) < 3 / np.sqrt(240)
    assert np.abs(pulls).max() < 4.5


def test_frames_carry_it_into_d_but_not_into_the_lifetime(laser):
    movie = shoot_gates(4, GATES, photons=1e5, lifetime=4.0, width=WIDTH, length=LENGTH)
    film = {"images": movie, "gates": GATES, "laser": laser}
    plain, found = (Experiment(**film, magnification_error=m).fit().parameters for m in (None, ERROR))
    for name, power in (("diffusivity", 2), ("diffusion_length", 1), ("lifetime", 0)):
        before, after = (one[name].stderr / one[name].value for one in (plain, found))
        assert after == pytest.approx(np.hypot(before, power * ERROR), rel=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"magnification_error": -0.1}, "relative error of the pixel size"),
        ({"magnification_error": 2.0}, "up to 0.2"),
        ({"magnification_error": float("nan")}, "relative error of the pixel size"),
        ({"magnification_error": 0.01, "interval": "bootstrap"}, "intervals from draws"),
        ({"magnification_error": 0.01, "landscape": np.zeros((96, 96))}, "a landscape"),
    ],
)
def test_what_cannot_be_is_refused(images, change, said):
    with pytest.raises(InputError, match=said):
        Experiment(images=images[:1], laser_fwhm=WIDTH * FWHM, **change)


def test_the_command_line_takes_it_in_percent(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("spot.npy", images[0].counts)
    options = ["--pixel-size", "60 nm", "--laser-fwhm", f"{1e3 * WIDTH * FWHM} nm", "--gain", "1"]
    assert main(["fit", "spot.npy", *options, "--magnification-error", "2 %", "-o", "out"]) == 0
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    length = found["parameters"]["diffusion_length"]
    assert length["stderr"] > 0.02 * length["value"]
    assert found["settings"]["magnification_error"] == 0.02
    assert 'magnification_error = "2 %"' in (tmp_path / "out" / "run.toml").read_text()
