"""Gates of Voigt lines and of light absorbed again: films drawn at random, fitted without start values."""

import numpy as np
import pytest
from scipy.special import expit

from excidiff.inverse import Absorption, Experiment
from excidiff.inverse.rivals import compare
from tests.photons import FWHM, collect_guided, collect_spectra

pytestmark = pytest.mark.gate
FILMS = 8


def check(pulls: dict[str, list[float]], fewest: int) -> None:
    """The r.m.s. of pulls within 1 ± 3/√(2N), none beyond 4.5, of `fewest` films or more."""
    for name, values in pulls.items():
        rms = float(np.sqrt(np.mean(np.square(values))))
        print(f"{name}: {len(values)} films, pulls' r.m.s. {rms:.3f}, largest {np.abs(values).max():.2f}")
        assert len(values) >= fewest
        assert abs(rms - 1) < 3 / np.sqrt(2 * len(values))
        assert np.abs(values).max() < 4.5


def pull(entry, truth: float) -> float:
    """Of the logarithm, as the fit has it."""
    return float(np.log(entry.value / truth) / (entry.stderr / entry.value))


def voigt_film(seed: int) -> dict:
    """A film at random, drawn before anything was fitted: µm, meV; hops in a lifetime."""
    random = np.random.default_rng([92, seed])
    width = random.uniform(0.12, 0.2)
    return {"photons": 10 ** random.uniform(6.7, 7.2), "width": width, "length": width * random.uniform(1.5, 4.0),
            "attempts": np.exp(random.uniform(np.log(0.8), np.log(6.0))), "disorder": random.uniform(14.0, 28.0),
            "line": random.uniform(10.0, 22.0), "wings": random.uniform(5.0, 25.0)}  # fmt: skip


def test_eight_films_with_a_voigt_line():
    """Relaxing excitons that emit Gaussian + Cauchy energies: pulls of L, ντ, σ and both widths of the line."""
    names = {"diffusion_length": "length", "attempts_per_lifetime": "attempts", "disorder": "disorder",
             "linewidth": "line", "lorentzian": "wings"}  # fmt: skip
    pulls: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(FILMS):
        film = voigt_film(seed)
        scan = collect_spectra(seed + 800, **film)
        optics = {"laser_fwhm": film["width"] * FWHM, "model": "relaxation", "line": "voigt"}
        found = Experiment(spectral_map=scan, **optics).fit()
        for name, key in names.items():
            entry = found.parameters[name]
            pulls[name] += [pull(entry, film[key])] if entry.stderr else []
    check(pulls, FILMS - 3)


def guided_film(seed: int) -> tuple[dict, dict]:
    """(film, absorption edge) at random: µm, meV, 1/µm."""
    random = np.random.default_rng([93, seed])
    width = random.uniform(0.12, 0.2)
    edge = {"top": random.uniform(1.0, 5.0), "at": 2400 + random.uniform(20, 60), "tail": random.uniform(8.0, 20.0)}
    return {"photons": 10 ** random.uniform(6.3, 6.8), "width": width, "length": width * random.uniform(1.5, 4.0),
            "line": random.uniform(15.0, 28.0), "outcoupling": np.exp(random.uniform(np.log(0.08), np.log(0.5))),
            "loss": random.uniform(0.2, 0.6)}, edge  # fmt: skip


def rising(edge: dict):
    """An absorption edge with an exponential tail: meV → 1/µm."""
    return lambda energy: edge["top"] * expit((energy - edge["at"]) / edge["tail"])


def table(edge: dict) -> Absorption:
    energy = np.arange(2150.0, 2600.0, 1.0)
    return Absorption(energy, rising(edge)(energy))


def test_eight_films_that_guide_light():
    """Photons that leave the film elsewhere: pulls of L, η, κ and the line; relaxation explains none of them better."""
    names = {"diffusion_length": "length", "outcoupling": "outcoupling", "guiding_loss": "loss", "linewidth": "line"}
    pulls: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(FILMS):
        film, edge = guided_film(seed)
        scan = collect_guided(seed + 900, absorption=rising(edge), **film)
        found = Experiment(spectral_map=scan, laser_fwhm=film["width"] * FWHM, absorption=table(edge)).fit()
        assert "absorbed again" in found.model
        for name, key in names.items():
            entry = found.parameters[name]
            pulls[name] += [pull(entry, film[key])] if entry.stderr else []
    check(pulls, FILMS - 2)


def test_relaxation_and_reabsorption_are_told_apart():
    """Of a film that relaxes the comparison prefers relaxation, of one that guides light reabsorption."""
    edge = {"top": 3.0, "at": 2440.0, "tail": 15.0}
    film = {"photons": 3e6, "width": 0.15, "length": 0.42, "line": 22.0}
    scans = {
        "relaxation": collect_spectra(11, attempts=3.0, disorder=16.0, **film),
        "reabsorption": collect_guided(12, outcoupling=0.2, loss=0.3, absorption=rising(edge), **film),
    }
    for name, scan in scans.items():
        experiment = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, absorption=table(edge))
        rows = {row["model"]: row for row in compare(experiment).rows}
        assert set(rows) == {"free", "relaxation", "reabsorption"}
        assert min(rows, key=lambda one: rows[one]["predictive"]) == name
