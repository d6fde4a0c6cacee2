"""Images and frames beside a decay of several lifetimes: ages of photons drawn one by one, D by both together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks.photons import FWHM, Populations, count_populations, film_populations, shoot_populations
from excidiff.inverse import Experiment, InputError
from excidiff.inverse.fit.prediction import gated_mixture, mixed_nodes, pixel_fractions, pixel_fractions_and_slopes

OPTIMISED = True

WIDTH = 0.15  # µm
FILM = Populations((6.0, 1.0), (0.6, 0.4), diffusivity=0.02)


def measured(seed: int, film: Populations, photons: int = 100_000, **more):
    random = np.random.default_rng([17, seed])
    data = {"images": [shoot_populations(random, photons, film)], "decay": count_populations(random, photons, film)}
    return Experiment(**data, laser_fwhm=FWHM * WIDTH, **more).fit()


def check(found, surer_than: float) -> None:
    """D, mean age and populations of `FILM` within 3.5 errors, D's own below a share of it, and said whose they are."""
    truth = {"diffusivity": 0.02, "lifetime": 4.0, "diffusion_length": np.sqrt(0.08), "lifetime_1": 6.0,
             "lifetime_2": 1.0, "weight_1": 0.6}  # fmt: skip
    for name, value in truth.items():
        assert abs(found.parameters[name].value - value) < 3.5 * found.parameters[name].stderr, name
    assert found.parameters["diffusivity"].stderr < surer_than * 0.02
    assert "two lifetimes" in found.model
    assert any("populations of these" in verdict for verdict in found.verdicts)


def test_ages_of_all_photons():
    """Moments of the ages, in mean ages: 1, 1 and 2 Σ w τ²/(Σ w τ)², to 1e-6 (the rule's last age is 27 lifetimes)."""
    nodes, weights = mixed_nodes(np.array([6.0, 1.0]), np.array([0.6, 0.4]))
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert weights @ nodes == pytest.approx(1, rel=1e-6)
    assert weights @ nodes**2 == pytest.approx(2 * (0.6 * 36 + 0.4) / 4**2, rel=1e-6)


@pytest.mark.gate
def test_an_image_of_two_populations():
    """D, the mean age and both populations within 3.5 errors; L = √(D τ̄); nothing flagged; the page says how."""
    found = measured(1, FILM)
    assert found.status == "converged"
    check(found, surer_than=0.02)
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


GATES = np.arange(0.0, 12.1, 1.5)


def movie(seed: int, film: Populations = FILM, photons: int = 100_000, **more):
    random = np.random.default_rng([19, seed])
    data = {"images": film_populations(random, photons, film, GATES), "decay": count_populations(random, photons, film)}
    return Experiment(**data, gates=GATES, laser_fwhm=FWHM * WIDTH, **more).fit()


def test_gates_of_populations_are_integrals_over_their_ages():
    """Against quadrature over each gate, to 1e-6 of the light; derivatives to 1e-5 by differences."""
    shape, relative, shares = np.log([0.02, 4.0, 0.15]), np.array([1.5, 0.25]), np.array([0.6, 0.4])
    gates = np.stack([GATES[:-1], GATES[1:]], axis=1)
    edges = np.linspace(-0.3, 0.5, 5)
    with jax.enable_x64(True):
        own = gated_mixture(jnp.asarray(shape), jnp.asarray(gates), jnp.asarray(relative), jnp.asarray(shares))
        seen = np.asarray(pixel_fractions(own, jnp.zeros(2), jnp.asarray(edges), jnp.asarray(edges)))

        def total(shape):
            spot = gated_mixture(shape, jnp.asarray(gates), jnp.asarray(relative), jnp.asarray(shares))
            return pixel_fractions_and_slopes(spot, jnp.zeros(2), jnp.asarray(edges), jnp.asarray(edges))

        _, slopes = total(jnp.asarray(shape))
        for k in range(3):
            step = np.eye(3)[k] * 1e-5
            apart = (total(jnp.asarray(shape + step))[0] - total(jnp.asarray(shape - step))[0]) / 2e-5
            assert np.abs(np.asarray(slopes[k]) - np.asarray(apart)).max() < 1e-5
    x, w = np.polynomial.legendre.leggauss(200)
    for (low, high), image in zip(gates, seen, strict=True):
        t = (low + high) / 2 + (high - low) / 2 * x
        spread = np.sqrt(WIDTH**2 + 2 * 0.02 * t)
        part = np.diff(stats.norm.cdf(edges[None, :] / spread[:, None]), axis=1)
        light = sum(c * np.exp(-t / (r * 4.0)) / (r * 4.0) for r, c in zip(relative, shares, strict=True))
        whole = np.einsum("q,qi,qj->ij", w * light * (high - low) / 2, part, part)
        assert np.abs(image - whole).max() < 1e-6


def test_frames_of_two_populations():
    """D, mean age and populations within 3.5 errors, nothing flagged; one lifetime alone would be."""
    found = movie(1)
    assert found.status == "converged"
    check(found, surer_than=0.03)
    assert not any("that was given" in verdict for verdict in found.verdicts)
    assert movie(1, model="free").status == "partial"


def test_frames_of_another_film_are_found_out():
    """Frames of one lifetime, 3e5 photons, contradict a decay of two."""
    random = np.random.default_rng(7)
    simple = FILM._replace(lifetimes=(4.0, 4.0))
    data = {
        "images": film_populations(random, 300_000, simple, GATES),
        "decay": count_populations(random, 100_000, FILM),
    }
    found = Experiment(**data, gates=GATES, laser_fwhm=FWHM * WIDTH).fit()
    assert found.status == "partial"
    asked = Experiment(**data, gates=GATES, laser_fwhm=FWHM * WIDTH, model="mixture").fit()
    assert any("One lifetime describes the images better" in verdict for verdict in asked.verdicts)
