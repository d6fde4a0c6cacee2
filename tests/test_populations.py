"""A steady image beside a decay of several lifetimes: ages of photons drawn one by one, D by both together."""

import numpy as np
import pytest

from benchmarks.photons import FWHM
from excidiff.inverse import Camera, Decay, Experiment, Image, InputError
from excidiff.inverse.fit.prediction import mixed_nodes

OPTIMISED = True

WIDTH, PIXEL, SIDE, PERIOD, JITTER = 0.15, 0.08, 48, 50.0, 0.05  # µm, µm, pixels, ns, ns
FILM = {"diffusivity": 0.02, "lifetimes": (6.0, 1.0), "shares": (0.6, 0.4)}  # µm²/ns, ns, of the photons


def ages(random: np.random.Generator, photons: int, film: dict) -> np.ndarray:
    return random.exponential(random.choice(film["lifetimes"], photons, p=film["shares"]))


def spot(random: np.random.Generator, photons: int, film: dict) -> Image:
    spread = np.sqrt(WIDTH**2 + 2 * film["diffusivity"] * ages(random, photons, film))
    x, y = spread * random.standard_normal((2, photons))
    sides = (np.arange(SIDE + 1) - SIDE / 2) * PIXEL
    counts = np.histogram2d(y, x, (sides, sides))[0] + random.poisson(0.5, (SIDE, SIDE))
    return Image(counts, pixel_size=PIXEL, camera=Camera(gain_known=True, saturation=np.inf), file="spot.tif")


def decay(random: np.random.Generator, photons: int, film: dict) -> Decay:
    edges = np.linspace(0.0, PERIOD, 501)
    seen = 5.0 + ages(random, photons, film) + JITTER * random.standard_normal(photons)
    counts = np.histogram(seen % PERIOD, edges)[0] + random.poisson(0.5, 500)
    return Decay((edges[1:] + edges[:-1]) / 2, counts, irf=JITTER * FWHM, period=PERIOD, file="decay.csv")


def measured(seed: int, film: dict, photons: int = 100_000, **more):
    random = np.random.default_rng([17, seed])
    data = {"images": [spot(random, photons, film)], "decay": decay(random, photons, film)}
    return Experiment(**data, laser_fwhm=FWHM * WIDTH, **more).fit()


def test_ages_of_all_photons():
    """Moments of the ages, in mean ages: 1, 1 and 2 Σ w τ²/(Σ w τ)², to 1e-6 (the rule's last age is 27 lifetimes)."""
    nodes, weights = mixed_nodes(np.array([6.0, 1.0]), np.array([0.6, 0.4]))
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert weights @ nodes == pytest.approx(1, rel=1e-6)
    assert weights @ nodes**2 == pytest.approx(2 * (0.6 * 36 + 0.4) / 4**2, rel=1e-6)


def test_an_image_of_two_populations():
    """D, the mean age and both populations within 3.5 errors; L = √(D τ̄); nothing flagged; the page says how."""
    found = measured(1, FILM)
    assert found.status == "converged"
    entry = found.parameters
    truth = {"diffusivity": 0.02, "lifetime": 4.0, "diffusion_length": np.sqrt(0.08), "lifetime_1": 6.0,
             "lifetime_2": 1.0, "weight_1": 0.6}  # fmt: skip
    for name, value in truth.items():
        assert abs(entry[name].value - value) < 3.5 * entry[name].stderr, name
    assert entry["diffusivity"].stderr < 0.02 * 0.02
    assert "two lifetimes" in found.model
    assert any("populations of these" in verdict for verdict in found.verdicts)
    assert not any("disagree" in verdict for verdict in found.verdicts)
    one = measured(1, FILM, model="free")
    assert one.status == "partial"
    assert one.parameters["diffusivity"].value is None


def test_the_decay_of_another_film_is_found_out():
    """An image of one lifetime, 3e5 photons, contradicts a decay of two: no D, and both are said to disagree."""
    random = np.random.default_rng(5)
    simple = {**FILM, "lifetimes": (4.0, 4.0)}
    data = {"images": [spot(random, 300_000, simple)], "decay": decay(random, 100_000, FILM)}
    found = Experiment(**data, laser_fwhm=FWHM * WIDTH).fit()
    assert found.status == "partial"
    assert found.parameters["diffusivity"].value is None
    assert any("disagree on the model" in verdict for verdict in found.verdicts)
    asked = Experiment(**data, laser_fwhm=FWHM * WIDTH, model="mixture").fit()
    assert any("One lifetime describes the images better" in verdict for verdict in asked.verdicts)


def test_what_a_mixture_beside_images_cannot_be():
    random = np.random.default_rng(6)
    image, curve = spot(random, 1000, FILM), decay(random, 1000, FILM)
    for more in ({"decay": [curve, curve]}, {"decay": curve, "interval": "bootstrap"}, {"lifetime": 4.0}):
        with pytest.raises(InputError, match="a mixture of lifetimes beside images"):
            Experiment(images=[image], laser_fwhm=FWHM * WIDTH, model="mixture", **more)
