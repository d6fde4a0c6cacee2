"""Errors that hold where assumptions do not: uneven noise, contradicting images, films that scatter, no spot at all.

Images are Poisson counts about the exact film of `benchmarks.coverage.film_image`, which shares nothing with the fit.
"""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import FILM, film_image
from excidiff.inverse import Camera, Experiment, Image, InputError
from excidiff.inverse.fit.start import FWHM

CAMERA = Camera(gain_known=True, saturation=np.inf)
PLAIN = replace(FILM, pixel=0.06, shape=(64, 64), centre=(0.0, 0.0), spot_fwhm=0.3, background=1.0, photons=3e4)


def spot(seed, *, film=PLAIN, name="spot", **change) -> Image:
    """The image of a film; `length` 0 is the laser's."""
    film = replace(film, **change)
    expected = film_image(film, film.length, film.spot_fwhm / FWHM, *film.centre, film.photons, film.background)
    counts = np.random.default_rng(seed).poisson(expected).astype(float)
    return Image(counts, pixel_size=film.pixel, camera=CAMERA, file=name)


def pulls(results, truth, name="diffusion_length") -> np.ndarray:
    found = [result.parameters[name] for result in results]
    return np.array([(one.value - truth) / one.stderr for one in found])


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_even_noise_is_not_assumed_of_data_without_uncertainty():
    """Plain least squares on photons: r.m.s. pull of 40 films within 1 ± 3/√80; with one variance for all it is 2.8."""
    results = [
        Experiment(images=[spot([1, k])], laser=spot([2, k], length=0.0, photons=1e5), noise="gaussian").fit()
        for k in range(40)
    ]
    assert abs(rms(pulls(results, PLAIN.length)) - 1) < 3 / np.sqrt(80)


def test_the_deconvolved_length_has_the_error_of_a_wrong_model():
    """40 films, r.m.s. pull about their mean within 1 ± 3/√80; with JᵀJ for the curvature it is 1.5."""
    films = [Experiment(images=[spot([3, k], photons=1e5)], laser_fwhm=0.3).fit() for k in range(40)]
    lengths = np.array([film.parameters["deconvolved_length"].value for film in films])
    assert abs(rms(pulls(films, lengths.mean(), "deconvolved_length")) - 1) < 3 / np.sqrt(80)


def test_each_image_has_its_own_noise():
    """Images with an uncertainty beside a laser of photons: the laser's error stays that of photons, to 1 %."""
    laser = spot(5, length=0.0, photons=1e5, name="laser")
    counted = spot(6, photons=1e5)
    measured = Image(counted.counts, pixel_size=0.06, uncertainty=np.sqrt(counted.counts + 1), camera=CAMERA)
    errors = [
        Experiment(images=[image], laser=laser).fit().parameters["laser_image_fwhm"].stderr
        for image in (counted, measured)
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.01)


@pytest.mark.parametrize("width", [0.27, 0.33])
def test_an_image_that_contradicts_the_laser_is_flagged(width):
    """10 % in the spot's width at 4e5 photons are some 7 standard deviations; the same width is none."""
    laser = spot(7, length=0.0, photons=1e6, name="laser")
    found = Experiment(images=[spot(8, spot_fwhm=width, photons=4e5)], laser=laser).fit()
    assert found.measurements[0].status == "flagged"
    assert any("contradict each other" in verdict for verdict in found.verdicts)
    fine = Experiment(images=[spot(9, photons=4e5)], laser=laser).fit()
    assert fine.status == "converged"
    assert not any("contradict" in verdict for verdict in fine.verdicts)


def test_many_images_together_contradict_the_laser():
    """4 % in the width, 3 standard deviations in each of eight images and 7 in all."""
    laser = spot(10, length=0.0, photons=1e6, name="laser")
    images = [spot([11, k], spot_fwhm=0.312, photons=1e5, name=f"spot {k}") for k in range(8)]
    found = Experiment(images=images, laser=laser).fit()
    assert any("Images and laser contradict each other" in verdict for verdict in found.verdicts)


@pytest.mark.parametrize("spread", [0.05, 0.1])
def test_a_mean_of_unlike_films_leans_to_neither_side(spread):
    """Twelve lengths that scatter by 5 and 10 %: their mean within 0.4 %, where weights by own errors lean by 2.4 %.

    Of twelve images the fit error of the mean is 0.16 %; the weights are nearly even, which leaves a tenth of the rest.
    """
    lengths = 0.4 * (1 + spread * np.linspace(-1.6, 1.6, 12))
    images = [spot([12, k], length=length, photons=1e5, name=f"spot {k}") for k, length in enumerate(lengths)]
    found = Experiment(images=images, laser_fwhm=0.3).fit()
    assert found.parameters["diffusion_length"].value == pytest.approx(lengths.mean(), rel=0.005)
    assert any("images differ by" in verdict for verdict in found.verdicts)


@pytest.mark.gate
def test_a_mean_near_the_resolution_is_unbiased():
    """L a quarter of the spot's width, 30 dim images: the pull of their mean below 3 in each of three batches, and the
    sum of pulls below 3√3; means of what each finds by itself are 1.6 errors too long."""
    batches = [
        Experiment(
            images=[spot([13, b, k], length=0.03, photons=3e3, name=f"spot {k}") for k in range(30)], laser_fwhm=0.3
        ).fit()
        for b in range(3)
    ]
    away = pulls(batches, 0.03)
    assert np.abs(away).max() < 3
    assert abs(away.sum()) < 3 * np.sqrt(3)


def test_no_spot_is_no_laser_and_no_film():
    """Noise alone, as laser or as image, is refused by name; a spot of 300 photons is not."""
    noise = Image(np.random.default_rng(14).poisson(2.0, (64, 64)).astype(float), pixel_size=0.06, file="noise")
    with pytest.raises(InputError, match="noise: no spot stands out"):
        Experiment(images=[spot(15)], laser=noise).fit()
    with pytest.raises(InputError, match="noise: no spot stands out"):
        Experiment(images=[noise], laser_fwhm=0.3).fit()
    dim = Experiment(images=[spot(16, photons=300)], laser_fwhm=0.3).fit()
    assert dim.parameters["diffusion_length"].value == pytest.approx(PLAIN.length, rel=0.6)


def test_a_spot_beyond_the_edge_is_found_or_flagged():
    """The centre 0.1 µm outside the frame: its true place within 4 errors, and the length within 4."""
    outside = spot(17, centre=(2.02, 0.0), photons=3e4)
    found = Experiment(images=[outside], laser_fwhm=0.3).fit()
    if found.measurements[0].status == "fitted":
        for name, truth in (("diffusion_length", PLAIN.length), ("centre_x", 2.02)):
            assert abs(pulls([found], truth, name)[0]) < 4
    else:
        assert "spot in the image" in (found.measurements[0].reason or "")


def test_a_gain_from_the_scatter_leaves_no_test_of_fit():
    """The noise then fits by construction: a p-value would say nothing."""
    image = spot(18, photons=3e5)
    rescaled = Image(2.7 * image.counts, pixel_size=0.06, file="counts")
    found = Experiment(images=[rescaled], laser_fwhm=0.3).fit()
    assert found.goodness["p_value"] is None
    assert any("estimated from the scatter" in warning for warning in found.warnings)


def test_impossible_bounds_and_unlike_fields_are_refused():
    with pytest.raises(InputError, match="this image can tell"):
        Experiment(images=[spot(19)], laser_fwhm=0.3, bounds={"diffusion_length": (1000.0, 2000.0)}).fit()
    laser = spot(20, length=0.0, shape=(60, 60))
    with pytest.raises(InputError, match="same field"):
        Experiment(images=[spot(19)], laser=laser, tied=("centre_x",))
