"""An `Image` that exists can be modelled: FAULTS rows 1, 2, 3, 5, 6 and 7, each with the answer it gets."""

import numpy as np
import pytest

from excidiff.inverse.files.data import Camera, Image, check_same_pixels, with_region
from excidiff.solver.solution import InputError

SHAPE = (40, 50)


def spot(peak: float = 200.0, background: float = 2.0, seed: int = 1) -> np.ndarray:
    """Poisson counts of a Gaussian spot, σ = 5 pixels, centred at row 20, column 25."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light = background + peak * np.exp(-((x - 25) ** 2 + (y - 20) ** 2) / 50)
    return np.random.default_rng(seed).poisson(light)


def refused(words: str, **image: object) -> str:
    """Build an image that must be refused; return the message, which names file and cause."""
    with pytest.raises(InputError, match=words) as caught:
        Image(file="spot.tif", **image)  # type: ignore[arg-type]
    assert str(caught.value).startswith("spot.tif")
    return str(caught.value)


def test_a_good_image_keeps_its_numbers() -> None:
    counts = spot()
    image = Image(counts, 0.04, file="spot.tif")
    assert image.counts.dtype == np.float64
    np.testing.assert_array_equal(image.counts, counts)
    assert image.mask.all()
    assert image.pixel_size == (0.04, 0.04)
    assert image.notes == ()
    assert image.x[0] == pytest.approx(-0.98)  # (50 − 1)/2 pixels of 40 nm left of the centre
    assert image.y.sum() == pytest.approx(0, abs=1e-12)
    counts[0, 0] = 7777
    assert image.counts[0, 0] != 7777
    with pytest.raises(ValueError, match="read-only"):
        image.counts[0, 0] = 0


def test_photoelectrons() -> None:
    """counts = offset + gain × photoelectrons, inverted; the dark frame replaces the offset."""
    photons = spot()
    camera = Camera(gain=2.5, offset=100, read_noise=3.0, gain_known=True)
    image = Image(100 + 2.5 * photons, 0.04, camera=camera)
    np.testing.assert_allclose(image.photons, photons, atol=1e-12)
    assert image.variance_floor == 9.0
    dark = np.full(SHAPE, 101.0)
    np.testing.assert_allclose(Image(101 + 2.5 * photons, camera=camera, dark=dark).photons, photons, atol=1e-12)


# Row 1: NaN or infinite pixels.


def test_nonfinite_pixels_are_refused_with_their_places() -> None:
    counts = spot().astype(float)
    counts[3, 7] = np.nan
    counts[4, 8] = np.inf
    message = refused("2 pixels are not finite", counts=counts)
    assert "[3, 7], [4, 8]" in message
    assert "mask_nonfinite" in message


def test_masked_nonfinite_pixels_are_left_out() -> None:
    counts = spot().astype(float)
    counts[3, 7] = np.nan
    image = Image(counts, mask=np.isfinite(counts))
    assert not image.mask[3, 7]
    assert np.all(np.isfinite(image.photons))


# Row 2: saturated pixels.


@pytest.mark.parametrize("ceiling", [255, 1023, 4095, 16383, 65535])
def test_a_clipped_peak_is_refused(ceiling: int) -> None:
    counts = np.minimum(spot(peak=1.3 * ceiling), ceiling).astype(np.uint16)
    message = refused("the peak is saturated", counts=counts)
    assert f"{ceiling} counts" in message
    assert "less light" in message


def test_a_clipped_peak_is_seen_in_floats_and_at_odd_levels() -> None:
    refused("the peak is saturated", counts=np.minimum(spot(peak=400), 150).astype(float))


def test_a_known_level_is_used() -> None:
    refused("the peak is saturated", counts=spot(), camera=Camera(saturation=150.0))


def test_isolated_full_pixels_are_masked_and_counted() -> None:
    counts = spot().astype(np.uint16)
    counts[3, 7] = counts[30, 40] = 65535
    image = Image(counts)
    assert np.argwhere(~image.mask).tolist() == [[3, 7], [30, 40]]
    assert image.notes == ("2 saturated pixels masked (65535 counts, at [row, column] = [3, 7], [30, 40])",)


def test_over_one_percent_saturated_is_refused() -> None:
    counts = spot().astype(np.uint16)
    counts[::5, 0] = counts[2::5, -1] = counts[0, 5::4] = 65535  # 8 + 8 + 12 of 2000 pixels
    refused(r"28 of 2000 pixels \(1.4%\) are saturated", counts=counts)


def cut_off(offset: float, sigma: float) -> np.ndarray:
    """Photons with read noise, whole counts, none below zero."""
    random = np.random.default_rng(0)
    return np.maximum(np.round(spot() + offset + random.normal(0, sigma, spot().shape)), 0)


def test_read_noise_cut_off_at_zero_is_refused() -> None:
    """An offset of 1 under a noise of 3 counts: P(z < −1.5/3) = 31 % of the dark pixels are lost."""
    camera = Camera(offset=1, read_noise=3, gain_known=True)
    refused(r"of the pixels would have read less than zero .* offset to 12 counts", counts=cut_off(1, 3), camera=camera)


def test_read_noise_that_stays_above_zero_is_accepted() -> None:
    """2.6 standard deviations (P = 0.4 %), signed counts, and noise too small to leave a count: nothing was lost."""
    for counts, offset, sigma in (
        (cut_off(7.5, 3), 7.5, 3.0),
        (cut_off(1, 3) - 5, -4, 3.0),
        (spot(), 0, 0.1),
        (np.where(spot() > 1, spot() + 100, 0), 100, 3.0),  # a border of zeros says nothing of the noise
    ):
        assert Image(counts, camera=Camera(offset=offset, read_noise=sigma)).mask.all()


def test_infinite_saturation_switches_the_search_off() -> None:
    clipped = np.minimum(spot(peak=2000), 1023)
    assert Image(clipped, camera=Camera(saturation=np.inf)).mask.all()


def test_photon_noise_is_no_plateau() -> None:
    """300 honest images, peaks from 20 to 20 000 photons, their maxima at any value: none is called saturated."""
    for seed, peak in enumerate(np.geomspace(20, 20_000, 300)):
        assert Image(spot(peak=peak, seed=seed)).notes == ()


def test_a_ramp_that_ends_at_a_ceiling_is_no_plateau() -> None:
    """Eight pixels on every level up to 255: the topmost holds no more than those below."""
    assert Image(np.arange(2048).reshape(32, 64) // 8).notes == ()


def test_noiseless_images_are_no_plateau() -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    assert Image(np.round(300 * np.exp(-((x - 24.5) ** 2 + (y - 19.5) ** 2) / 50))).notes == ()


def test_a_mask_that_leaves_nothing() -> None:
    refused("only 0 pixels are in use", counts=spot(), mask=np.zeros(SHAPE, bool), flat=np.ones(SHAPE))


# Row 3: negative counts.


def test_negative_counts_ask_for_offset_and_read_noise() -> None:
    message = refused("pixels are negative", counts=spot() - 5)
    assert "--offset" in message
    assert "--read-noise" in message
    assert "lowest at -5 counts" in message
    refused("below the offset 3", counts=spot(), camera=Camera(offset=3))


@pytest.mark.parametrize(
    "given",
    [
        {"camera": Camera(read_noise=2.0)},
        {"camera": Camera(offset=-5)},
        {"dark": np.full(SHAPE, -5.0)},
        {"uncertainty": np.full(SHAPE, 3.0)},
    ],
)
def test_explained_negative_counts_are_welcome(given: dict[str, object]) -> None:
    assert Image(spot() - 5, **given).photons.shape == SHAPE  # type: ignore[arg-type]


# Row 5: nothing to fit.


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (np.zeros((0, 5)), "is empty"),
        (np.zeros(SHAPE), "every pixel is zero"),
        (np.full(SHAPE, 7.0), "same value, 7"),
        (np.arange(9.0).reshape(3, 3), "only 9 pixels"),
        (np.ones((2, 20, 20)), "rows and columns"),
        (np.ones(SHAPE, complex), "not counts"),
        (np.full(SHAPE, "a"), "not counts"),
    ],
)
def test_nothing_to_fit(counts: np.ndarray, words: str) -> None:
    refused(words, counts=counts)


# Rows 6, 7, 8: pixel sizes.


def test_a_missing_pixel_size_is_asked_for() -> None:
    image = Image(spot(), file="spot.tif")
    with pytest.raises(InputError, match=r"spot.tif: the pixel size is not known .* --pixel-size"):
        _ = image.x


def test_unlike_pixels_name_both_files() -> None:
    image = Image(spot(), 0.04, "ImageJ tag of spot.tif", file="spot.tif")
    laser = Image(spot(), 0.05, "given by hand", file="laser.tif")
    with pytest.raises(InputError, match=r"spot.tif has 40 nm \(ImageJ tag.*laser.tif has 50 nm \(given by hand"):
        check_same_pixels(image, laser)
    check_same_pixels(image, Image(spot(), 0.04 * (1 + 1e-6)))


def test_pixels_need_not_be_square() -> None:
    image = Image(spot(), (0.05, 0.04))
    assert image.y[1] - image.y[0] == pytest.approx(0.05)
    assert image.x[1] - image.x[0] == pytest.approx(0.04)


def test_pixel_sizes_outside_the_possible() -> None:
    message = refused("outside 0.001 to 100 um", counts=spot(), pixel_size=400.0)
    assert "did you mean 400 nm" in message


# What goes with an image.


def test_maps_must_fit() -> None:
    for name in ("dark", "flat", "uncertainty", "mask"):
        refused(f"the {name} has shape", counts=spot(), **{name: np.ones((3, 3))})
    refused("uncertainty is zero", counts=spot(), uncertainty=np.zeros(SHAPE))
    refused("dark has values", counts=spot(), dark=np.full(SHAPE, np.nan))


def test_the_flat_has_mean_one_and_its_dead_pixels_are_masked() -> None:
    flat = np.linspace(1, 3, SHAPE[1]) * np.ones(SHAPE)
    flat[5, 6] = 0
    image = Image(spot(), flat=flat)
    assert image.flat is not None
    assert image.flat[image.mask].mean() == pytest.approx(1, rel=1e-12)
    assert not image.mask[5, 6]
    assert "1 dead pixels of the flat field masked" in image.notes
    refused("flat field is zero or negative", counts=spot(), flat=-flat)


@pytest.mark.parametrize(
    "camera", [{"gain": 0}, {"gain": np.nan}, {"read_noise": -1}, {"excess_noise": 0.5}, {"offset": np.inf}]
)
def test_impossible_cameras(camera: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"camera {next(iter(camera))}"):
        Camera(**camera)


def test_saturation_must_exceed_the_offset() -> None:
    with pytest.raises(InputError, match="not above the offset"):
        Camera(offset=100, saturation=90)


def test_a_region_is_cut_out() -> None:
    counts = spot()
    mask = np.ones(SHAPE, bool)
    mask[12, 14] = False
    image = with_region(Image(counts, 0.04, mask=mask, dark=np.zeros(SHAPE)), (10, 40, 5, 30))
    assert image.shape == (25, 30)
    np.testing.assert_array_equal(image.counts, counts[5:30, 10:40])
    assert np.argwhere(~image.mask).tolist() == [[7, 4]]
    assert image.dark is not None
    assert image.dark.shape == (25, 30)
    assert "region x 10:40, y 5:30" in image.notes[0]
    assert image.offset == ((5 + 30 - SHAPE[0]) / 2, (10 + 40 - SHAPE[1]) / 2)
    assert image.place == pytest.approx((0.04 * image.offset[1], 0.04 * image.offset[0]))


@pytest.mark.parametrize("region", [(0, 51, 0, 40), (10, 10, 0, 40), (-1, 5, 0, 5), (1, 2, 3), (0.5, 9, 0, 9)])
def test_regions_must_lie_in_the_image(region: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="region"):
        with_region(Image(spot()), region)  # type: ignore[arg-type]
