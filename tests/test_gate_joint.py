"""Gates of decays, frames and images together: simulated films with known truth, and the bound."""

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.photons import FWHM
from excidiff.inverse import Experiment, FitResult, read_decay, read_image, read_images

pytestmark = pytest.mark.gate
OPTIMISED = True


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
