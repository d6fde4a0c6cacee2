"""A steady image beside a decay of several lifetimes: ages of photons drawn one by one, D by both together."""

import numpy as np
import pytest

from benchmarks.photons import FWHM, Populations, count_populations, shoot_populations
from excidiff.inverse import Experiment, InputError
from excidiff.inverse.fit.prediction import mixed_nodes

OPTIMISED = True

WIDTH = 0.15  # µm
FILM = Populations((6.0, 1.0), (0.6, 0.4), diffusivity=0.02)


def measured(seed: int, film: Populations, photons: int = 100_000, **more):
    random = np.random.default_rng([17, seed])
    data = {"images": [shoot_populations(random, photons, film)], "decay": count_populations(random, photons, film)}
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
    simple = FILM._replace(lifetimes=(4.0, 4.0))
    data = {"images": [shoot_populations(random, 300_000, simple)], "decay": count_populations(random, 100_000, FILM)}
    found = Experiment(**data, laser_fwhm=FWHM * WIDTH).fit()
    assert found.status == "partial"
    assert found.parameters["diffusivity"].value is None
    assert any("disagree on the model" in verdict for verdict in found.verdicts)
    asked = Experiment(**data, laser_fwhm=FWHM * WIDTH, model="mixture").fit()
    assert any("One lifetime describes the images better" in verdict for verdict in asked.verdicts)


def test_what_a_mixture_beside_images_cannot_be():
    random = np.random.default_rng(6)
    image, curve = shoot_populations(random, 1000, FILM), count_populations(random, 1000, FILM)
    for more in ({"decay": [curve, curve]}, {"decay": curve, "interval": "bootstrap"}, {"lifetime": 4.0}):
        with pytest.raises(InputError, match="a mixture of lifetimes beside images"):
            Experiment(images=[image], laser_fwhm=FWHM * WIDTH, model="mixture", **more)
