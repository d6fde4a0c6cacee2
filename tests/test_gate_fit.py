"""Gates of the uniform-film fit: the simulated films with known truth, random films, gates, numerical bias."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from benchmarks import coverage
from benchmarks.photons import FWHM, shoot
from excidiff.inverse.cli import main
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.data import Camera, Image

pytestmark = pytest.mark.gate
OPTIMISED = True


def read(path, pixel):
    """Every frame of a TIFF as an image of counted photons."""
    frames = np.atleast_3d(tifffile.imread(path).astype(float))
    frames = frames if frames.shape[-1] != 1 else np.moveaxis(frames, -1, 0)
    return [Image(frame, pixel_size=pixel, file=path.name, frame=k) for k, frame in enumerate(frames)]


def test_film_of_twelve_images_by_one_command(data, tmp_path):
    """The mean within 0.5 % of the truth, pulls of r.m.s. 0.5–1.6, errors within 15 % of the bound 0.446 %."""
    folder, out = data / "film_spots", tmp_path / "out"
    spots = [str(path) for path in sorted(folder.glob("spot_*.tif"))]
    assert main(["fit", *spots, "--laser", str(folder / "laser.tif"), "--lifetime", "5 ns", "-o", str(out)]) == 0
    truth = json.loads((folder / "truth.json").read_text())["diffusion_length_um"]
    result = json.loads((out / "result.json").read_text())
    assert len(result["images"]) == 12
    found = [image["parameters"]["diffusion_length"] for image in result["images"]]
    mean = result["parameters"]["diffusion_length"]
    assert mean["value"] == pytest.approx(truth, rel=5e-3)
    assert result["parameters"]["diffusivity"]["value"] == pytest.approx(mean["value"] ** 2 / 5.0)
    pulls = np.array([(one["value"] - truth) / one["stderr"] for one in found])
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.6
    np.testing.assert_allclose([one["stderr"] / truth for one in found], 0.00446, rtol=0.15)
    assert all(abs(one["goodness"]["z"]) < 3 for one in (result, *result["images"], result["laser"]))


BOUNDS = {  # photons, background per pixel: % of L, with L alone free, then amplitude and centre, background, width
    (1e5, 0): (0.265, 0.265, 0.293, 0.338),
    (1e5, 1): (0.320, 0.324, 0.377, 0.448),
    (1e5, 10): (0.409, 0.459, 0.532, 0.658),
    (1e6, 1): (0.088, 0.088, 0.101, 0.118),
}
FREE = (["length"], ["photons", "x", "y"], ["background"], ["width"])


@pytest.mark.parametrize("light", BOUNDS)
def test_bounds_are_those_of_the_plan(light):
    """The Cramér–Rao table, each entry to one and a half of its last digit."""
    photons, background = light
    film = replace(coverage.FILM, length=0.48, spot_fwhm=0.297, pixel=0.05, shape=(128, 128), photons=photons,
                   background=max(background, 1e-9), centre=(0.0, 0.0))  # fmt: skip
    free = []
    for more, percent in zip(FREE, BOUNDS[light], strict=True):
        free += more
        assert 100 * coverage.film_bound(film, free) / film.length == pytest.approx(percent, abs=1.5e-3)


def test_gated_movie_gives_diffusivity_and_lifetime(data):
    """24 gates of 0.5 ns, laser and PSF known: D and τ each within 3.5 of their errors, which are below 1 %."""
    folder = data / "film_frames"
    truth = json.loads((folder / "truth.json").read_text())
    images = read(folder / "frames.tif", 0.05)
    gates = np.arange(len(images) + 1) * 0.5
    result = Experiment(images=images, laser_fwhm=0.245, psf_fwhm=0.18, gates=gates).fit()
    for name, true in (("diffusivity", truth["diffusivity_um2_per_ns"]), ("lifetime", truth["lifetime_ns"])):
        estimate = result.parameters[name]
        assert abs(estimate.value - true) < 3.5 * estimate.stderr
        assert estimate.stderr < 0.01 * true
    assert abs(result.goodness["z"]) < 3


CASES = 48


@pytest.fixture(scope="module")
def random_films():
    """48 films: L 0.15–1.5 µm, spots 0.2–0.8 µm, pixels 20–120 nm, 1e4–1e6 photons, all kinds of camera; seeds 0 … 47.

    Shapes are multiples of 32 so that few programs need compiling.
    """
    results = []
    for seed in range(CASES):
        rng = np.random.default_rng([2026, seed])
        length, width = np.exp(rng.uniform(*np.log([0.15, 1.5]))), rng.uniform(0.2, 0.8) / FWHM
        field = 7 * np.sqrt(width**2 + 2 * length**2)
        columns = int(rng.choice([64, 96, 128]))
        pixel = max(field / columns, 0.02)
        shape = (int(rng.choice([columns, columns + 32])), columns)
        gain = rng.choice([1.0, rng.uniform(1, 4)])
        noise = rng.choice([0.0, rng.uniform(0, 3)])
        camera = {"gain": gain, "read_noise": noise, "offset": round(10 * gain * noise + rng.uniform(0, 170))}
        shared = {"shape": shape, "pixel": pixel, "background": rng.choice([0.0, rng.uniform(0, 10)]), **camera}
        centre = tuple(rng.uniform(-0.06, 0.06, 2) * field)
        photons = 10 ** rng.uniform(4, 6)
        image = shoot([seed, 1], photons=photons, width=width, length=length, centre=centre, **shared)
        laser = shoot([seed, 2], photons=photons, width=width, **shared)
        results.append((length, Experiment(images=[image], laser=laser).fit()))
    return results


def test_random_films_are_unbiased_with_honest_errors(random_films):
    """Pulls of 48 films: r.m.s. within 1 ± 3/√(2·48) = 0.69–1.31, mean within 3/√48, none beyond 4.5."""
    pulls = []
    for length, result in random_films:
        estimate = result.parameters["diffusion_length"]
        if estimate.stderr is None:
            assert estimate.at_bound
            assert estimate.interval95[1] > length
        else:
            pulls.append((estimate.value - length) / estimate.stderr)
    pulls = np.array(pulls)
    assert pulls.size > 0.9 * CASES
    assert np.abs(pulls).max() < 4.5
    assert 1 - 3 / np.sqrt(2 * CASES) < np.sqrt(np.mean(pulls**2)) < 1 + 3 / np.sqrt(2 * CASES)
    assert abs(pulls.mean()) < 3 / np.sqrt(CASES)


def test_goodness_of_random_films_is_standard_normal(random_films):
    """z of image and laser, whatever counts, gain and noise: r.m.s. within 1 ± 3/√(2·96), none beyond 4.5."""
    z = np.array([fit.goodness["z"] for _, result in random_films for fit in (result.images[0], result.laser)])
    assert np.abs(z).max() < 4.5
    assert 1 - 3 / np.sqrt(2 * z.size) < np.sqrt(np.mean(z**2)) < 1 + 3 / np.sqrt(2 * z.size)


def test_coverage_of_the_intervals():
    """300 images of 1e4 photons with the optics known: 95 % intervals cover 95 ± 3.8 %, ±1σ 68.27 ± 8.1 %."""
    count, length, inside95, inside68 = 300, 0.4, 0, 0
    images = [
        shoot([5, k], photons=1e4, width=0.14, length=length, background=0.5, shape=(64, 64)) for k in range(count)
    ]
    result = Experiment(images=images, laser_fwhm=0.14 * FWHM, psf_fwhm=1e-3).fit()
    for measurement in result.images:
        estimate = measurement.parameters["diffusion_length"]
        inside95 += estimate.interval95[0] < length < estimate.interval95[1]
        inside68 += abs(estimate.value - length) < estimate.stderr
    assert abs(inside95 / count - 0.95) < 3 * np.sqrt(0.95 * 0.05 / count)
    assert abs(inside68 / count - 0.6827) < 3 * np.sqrt(0.6827 * 0.3173 / count)
    mean = result.parameters["diffusion_length"]
    assert abs(mean.value - length) < 4 * mean.stderr


def test_numerical_bias_is_far_below_the_noise():
    """Expected counts of 1e6 photons, by four times the nodes, are fitted: L off by less than 1e-4 of σ."""
    from scipy.special import erf

    from excidiff.inverse.fit.prediction import pixel_edges, steady_nodes

    nodes, weights = steady_nodes(step=0.12, left=-20.0, right=3.6)
    edges, length, width = pixel_edges(96, 0.06), 0.48, 0.126
    root = np.sqrt(2 * (width**2 + 2 * length**2 * nodes))[:, None]
    profile = np.diff(erf(edges / root), axis=1) / 2
    counts = 1e6 * (profile * weights[:, None]).T @ profile + 1.0
    image = Image(counts, pixel_size=0.06, camera=Camera(gain_known=True, saturation=np.inf))
    found = Experiment(images=[image], laser_fwhm=width * FWHM, psf_fwhm=1e-6).fit().parameters["diffusion_length"]
    assert abs(found.value - length) < 1e-4 * found.stderr
