"""Whether an error of L is right, film by film: the pulls against the photons' own, whose variance is one exactly.

At the truth, q = g·(y − µ)/(g·V g)^½ with g = the row of H⁻¹JᵀV⁻¹ for log L is linear in the Poisson counts y, so that
E q² = 1 whatever its law. A pull p of the same films may be wide by chance, and q then is as well; p² − q² has no such
chance in it: 0.1 a film, 0.006 over 300, where p² alone has 1.4 and 0.08.
"""

import json

import jax
import numpy as np
import pytest

from benchmarks import coverage_kinds as study
from benchmarks.provenance import RESULTS
from excidiff.inverse.fit import prediction
from excidiff.inverse.fit.spot import laser_model, steady_model

pytestmark = pytest.mark.gate
RESULT = RESULTS / "coverage_kinds.json"
DONE = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
FILMS = 300
EDGES = prediction.pixel_edges(study.SIDE, study.PIXEL)


def law(model, theta, nodes):
    """(µ, J) at the truth: flat pixels."""
    flat = np.ones((1, study.SIDE, study.SIDE))
    expected, slopes = model(np.array(theta), nodes, EDGES, EDGES, flat)
    return np.asarray(expected).ravel(), np.asarray(slopes).reshape(len(theta), -1)


def photons_own(name: str, cases: int) -> np.ndarray:
    """q of every film of a kind with a laser image: of spot and laser together."""
    shape, tail = [np.log(study.LENGTH), np.log(study.WIDTH)], [0.0, 0.0]
    with jax.enable_x64(True):
        spot, by = law(steady_model, [*shape, *tail, np.log(3e4), study.BACKGROUND], prediction.steady_nodes())
        laser, by_laser = law(laser_model, [shape[1], *tail, np.log(1e5), study.BACKGROUND], np.zeros(0))
    told = np.linalg.inv((by_laser / laser) @ by_laser.T)[0] @ (by_laser / laser)  # dlog s/dy of the laser image
    matrix = (by / spot) @ by.T
    matrix[1, 1] += 1 / (told**2 @ laser)
    row = np.linalg.inv(matrix)[0]
    weight, weight_laser = row @ (by / spot), row[1] / (told**2 @ laser) * told
    error = np.sqrt(weight**2 @ spot + weight_laser**2 @ laser)
    found = []
    for case in range(cases):
        random = np.random.default_rng([list(study.KINDS).index(name), case])
        seen = study.KINDS[name][0](random)
        away, away_laser = seen["images"][0].counts.ravel() - spot, seen["laser"].counts.ravel() - laser
        found.append((weight @ away + weight_laser @ away_laser) / error)
    return np.array(found)


@pytest.mark.parametrize("name", [n for n in ("image with laser image", "image and decay") if n in DONE])
def test_errors_of_lengths_are_those_of_the_photons(name: str):
    """p² − q² of 300 films: 0 ± 3 of its own standard error (0.006), so an error 2 % too small fails."""
    pulls = np.array(DONE[name]["numbers"]["diffusion_length"]["pulls"][:FILMS])
    own = photons_own(name, len(pulls))
    excess = pulls**2 - own**2
    sure = excess.std() / np.sqrt(excess.size)
    print(f"{name}: {np.mean(pulls**2):.3f}, of the photons {np.mean(own**2):.3f}; {excess.mean():.4f} ± {sure:.4f}")
    assert np.corrcoef(pulls, own)[0, 1] > 0.999
    assert sure < 0.007
    assert abs(excess.mean()) < 3 * sure
    short = (pulls / 0.98) ** 2 - own**2
    assert abs(short.mean()) > 3 * short.std() / np.sqrt(short.size)  # it would see errors that are 2 % too small
