"""Gates of decays, frames and images together: simulated films with known truth, the bound, films drawn at random."""

import json

import numpy as np
import pytest
from scipy import stats

from excidiff.inverse import Experiment, FitResult, read_decay, read_image, read_images
from tests.photons import FWHM, count_decay, shoot, shoot_gates

pytestmark = pytest.mark.gate


def pull(result: FitResult, name: str, truth: float) -> float:
    entry = result.parameters[name]
    return (entry.value - truth) / entry.stderr


def told(data, folder: str) -> dict:
    return json.loads((data / folder / "truth.json").read_text())


# The bound
# ---------


def bins(log_lifetimes, log_photons, shift, background, scatter, *, edges, irf_fwhm, period) -> np.ndarray:
    """Expected counts by SciPy: exponentially modified Gaussians and, for laser light, a Gaussian, all wrapped."""
    sigma = irf_fwhm / FWHM
    laws = [(np.exp(p), stats.exponnorm(np.exp(t) / sigma, shift, sigma)) for t, p in zip(log_lifetimes, log_photons,
            strict=True)]  # fmt: skip
    laws.append((scatter, stats.norm(shift, sigma)))
    return background + sum(size * np.diff(law.cdf(edges + k * period)) for size, law in laws for k in range(-1, 12))


def bound(count: int, truth: np.ndarray, free: np.ndarray, **given) -> np.ndarray:
    """Cramér–Rao: √ of the diagonal of (Σ ∂µ ∂µᵀ/µ)⁻¹ over the `free` of (log τ, log photons, shift, b, scatter)."""

    def expected(p):
        return bins(p[:count], p[count : 2 * count], *p[2 * count :], **given)

    steps = np.diag(np.where(truth == 0, 1.0, 1e-4 * np.maximum(np.abs(truth), 0.01)))[free]
    slopes = np.array([(expected(truth + s) - expected(truth - s)) / (2 * s.sum()) for s in steps])
    return np.sqrt(np.diag(np.linalg.inv((slopes / expected(truth)) @ slopes.T)))


@pytest.mark.parametrize(("folder", "count"), [("film_decay", 2), ("film_spots/decay", 1)])
def test_decays_of_known_truth(data, folder: str, count: int):
    """Lifetimes and weights within 3.5 of their errors, and the errors of log τ within 25 % of the bound."""
    truth = told(data, "film_decay")
    decay = read_decay(data / folder / "decay.csv", irf=data / folder / "irf.csv", period="25 ns")
    found = Experiment(decay=decay, model="mixture" if count > 1 else "free").fit()
    lifetimes = [part["lifetime_ns"] for part in truth["components"]] if count > 1 else [5.0]
    weights = [part["photon_fraction"] for part in truth["components"]] if count > 1 else [1.0]
    names = [f"lifetime_{k + 1}" for k in range(count)] if count > 1 else ["lifetime"]
    for name, value in zip(names, lifetimes, strict=True):
        assert abs(pull(found, name, value)) < 3.5
    for name, value in zip([f"weight_{k + 1}" for k in range(count if count > 1 else 0)], weights, strict=False):
        assert abs(pull(found, name, value)) < 3.5
    assert abs(found.goodness["z"]) < 3
    light = found.goodness["photons"] * np.array(weights)
    scattered = found.parameters["scattered_light"].stderr is not None
    point = np.array([*np.log(lifetimes), *np.log(light), truth["pulse_at_ns"], truth["background_per_bin"], 0.0])
    given = {"edges": decay.edges, "irf_fwhm": truth["irf_fwhm_ns"], "period": 25.0}
    least = bound(count, point, np.append(np.ones(2 * count + 2, bool), scattered), **given)[:count]
    relative = [found.parameters[name].stderr / found.parameters[name].value for name in names]
    np.testing.assert_allclose(relative, least, rtol=0.25)


# Films
# -----


def test_frames_of_known_truth(data):
    """D and τ within 3.5 of their errors, the frames' pixel size and times being all that is told."""
    truth = told(data, "film_frames")
    frames = read_images(data / "film_frames" / "frames.tif", pixel_size="50 nm")
    edges = truth["frame_ns"] * np.arange(truth["frames"] + 1)
    found = Experiment(images=frames, gates=edges, laser_fwhm=0.245, psf_fwhm=0.18).fit()
    assert abs(pull(found, "diffusivity", truth["diffusivity_um2_per_ns"])) < 3.5
    assert abs(pull(found, "lifetime", truth["lifetime_ns"])) < 3.5
    assert abs(found.goodness["z"]) < 3


def test_spots_with_their_decay(data):
    """D, τ and L of twelve images and a decay, and a decay of another film found out."""
    folder, truth = data / "film_spots", told(data, "film_spots")
    spots = [read_image(path) for path in sorted(folder.glob("spot_*.tif"))]
    laser = read_image(folder / "laser.tif")
    own, other = (read_decay(place / "decay.csv", irf=place / "irf.csv", period="25 ns")
                  for place in (folder / "decay", data / "film_decay"))  # fmt: skip
    found = Experiment(images=spots, laser=laser, decay=own).fit()
    assert found.status == "converged"
    for name, value in (("diffusivity", truth["diffusivity_um2_per_ns"]), ("lifetime", truth["lifetime_ns"]),
                        ("diffusion_length", truth["diffusion_length_um"])):  # fmt: skip
        assert abs(pull(found, name, value)) < 3.5
    wrong = Experiment(images=spots, laser=laser, decay=other).fit()
    assert wrong.status == "partial"
    assert not wrong.parameters["diffusivity"].identifiable
    assert any("Image and decay disagree" in sentence for sentence in wrong.verdicts)


def drawn(seed: int) -> dict:
    """A film and its optics at random: µm, ns."""
    random = np.random.default_rng([77, seed])
    width = random.uniform(0.1, 0.2)
    return {"width": width, "length": width * random.uniform(1.0, 4.0), "lifetime": random.uniform(1.0, 8.0)}


def laboratory(seed: int, film: dict) -> dict:
    random = np.random.default_rng([78, seed])
    period = random.uniform(25.0, 60.0)
    return {
        "lifetimes": np.array([film["lifetime"]]),
        "weights": np.ones(1),
        "period": period,
        "width": period / 800.5,
        "photons": int(10 ** random.uniform(4.5, 6.0)),
        "fwhm": random.uniform(0.03, 0.3),
        "kind": "measured",
    }


def agree(pulls) -> None:
    """r.m.s. within 1 ± 3/√(2N), none beyond 4.5."""
    pulls = np.array(pulls)
    assert np.abs(pulls).max() < 4.5, pulls
    assert abs(np.sqrt(np.mean(pulls**2)) - 1) < 3 / np.sqrt(2 * pulls.size), pulls


def test_thirty_random_films_by_image_and_decay():
    """L and τ, which images and decays tell apart, of 30 films without start values or settings."""
    lengths, lifetimes = [], []
    for seed in range(30):
        film, pixel = drawn(seed), drawn(seed)["width"] / 3
        light = {"width": film["width"], "pixel": pixel, "background": 1.0}
        laser = shoot([seed, 1], photons=300_000, **light)
        spot = shoot([seed, 2], photons=100_000, length=film["length"], **light)
        decay = count_decay([seed, 3], **laboratory(seed, film))
        found = Experiment(images=[spot], laser=laser, decay=decay).fit()
        lengths.append(pull(found, "diffusion_length", film["length"]))
        lifetimes.append(pull(found, "lifetime", film["lifetime"]))
        assert abs(pull(found, "diffusivity", film["length"] ** 2 / film["lifetime"])) < 4.5
    agree(lengths)
    agree(lifetimes)


def test_thirty_random_films_by_frames_and_decay():
    """D and τ of 30 films, each by its frames and its decay together."""
    diffusivities, lifetimes = [], []
    edges = np.array([0.0, 0.2, 0.5, 1.0, 2.0, 4.0])
    for seed in range(30):
        film = drawn(seed)
        size = max(film["width"] / 3, 6 * np.hypot(film["width"], film["length"]) / 64)
        frames = shoot_gates([seed, 4], film["lifetime"] * edges, photons=100_000, pixel=size, **film)
        decay = count_decay([seed, 5], **laboratory(seed, film))
        optics = {"laser_fwhm": FWHM * film["width"], "psf_fwhm": 1e-3}
        found = Experiment(images=frames, gates=film["lifetime"] * edges, decay=decay, **optics).fit()
        diffusivities.append(pull(found, "diffusivity", film["length"] ** 2 / film["lifetime"]))
        lifetimes.append(pull(found, "lifetime", film["lifetime"]))
    agree(diffusivities)
    agree(lifetimes)
