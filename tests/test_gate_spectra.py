"""Gates of spectral maps: the exact spectra against the solver, a simulated film, and the bound."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import simulated
from benchmarks.photons import FWHM
from benchmarks.simulated import Quarter
from excidiff.inverse import Experiment, SpectralMap, read_spectral_map
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.fit.colours import SPECTRAL, Places, spectra
from excidiff.inverse.fit.prediction import steady_nodes

pytestmark = pytest.mark.gate
OPTIMISED = True


def test_the_spectra_are_those_of_the_solver():
    """A grid of h = 0.35 s and 16 bins, closed walls at 8.3 L, against superposed ages: within 6e-3 of the brightest.

    Budget: the grid's h²/24 of L² and s², 4e-3 at the centre; bins 1e-3.
    """
    truth = {"diffusivity_um2_per_ns": 0.05, "free_lifetime_ns": 3.7, "lifetime_ns": 3.7, "trap_rate_per_ns": 0.0,
             "trap_yield": 0.0, "disorder_sigma_meV": 16.0, "relaxation_attempts_per_ns": 0.8, "temperature_K": 295.0,
             "laser_fwhm_um": 0.245, "photons": 1e6, "step_um": 0.1, "collection_fwhm_um": 0.2,
             "dot_energy_meV": 2400.0, "stokes_shift_meV": 0.0, "linewidth_sigma_meV": 22.0, "trap_energy_meV": 2310.0,
             "trap_width_meV": 35.0}  # fmt: skip
    quarter = Quarter.make(8.3 * np.sqrt(0.05 * 3.7), 0.35 * 0.245 / FWHM)
    x, edges = np.linspace(-1.2, 1.2, 25), PLANCK_C / np.arange(495.0, 545.1, 0.5)
    here = Places(*(jnp.asarray(a) for a in (x - 0.05, x + 0.05, np.array([-0.05]), np.array([0.05]), edges,
                                             np.asarray(25.4213), steady_nodes())))  # fmt: skip
    sides = np.append(np.asarray(here.left), here.right[-1])
    wavelengths = PLANCK_C / np.asarray(here.edges)
    grid = simulated.spectra(truth, simulated.relaxed(truth, quarter, 16), quarter, sides, wavelengths)
    values = {"diffusion_length": 0.5 * np.log(0.05 * 3.7), "attempts": np.log(0.8 * 3.7), "disorder": np.log(16.0),
              "linewidth": np.log(22.0), "band_centre": 2400.0, "trap_band_centre": 2310.0,
              "trap_band_width": np.log(35.0), "trap_band_share": 0.0, "width": np.log(np.hypot(0.245, 0.2) / FWHM),
              "centre_x": 0.0, "centre_y": 0.0, "amplitude": np.log(1e6), "background": 0.0}  # fmt: skip
    exact = np.asarray(spectra(jnp.array([values[name] for name in SPECTRAL]), here))[0]
    assert np.abs(exact - grid).max() < 6e-3 * grid.max()
    assert abs(exact.sum() / grid.sum() - 1) < 2e-3


@pytest.fixture(scope="module")
def film(data):
    folder = data / "film_spectral_map"
    truth = json.loads((folder / "truth.json").read_text())
    scan = read_spectral_map(folder / "map.csv", slit=truth["step_um"])
    return truth, scan


def test_a_film_of_known_truth(film):
    """D, disorder and relaxation within 3.5 of their errors, the errors within 25 % of the bound of the model.

    The bound by central differences of spectra from the solver's grid, over all that is fitted; position and amplitude
    are taken along, and the errors of D and ν are those of L and ντ, the lifetime being known.
    """
    truth, scan = film
    found = Experiment(
        spectral_map=scan,
        laser_fwhm=truth["laser_fwhm_um"],
        collection_fwhm=truth["collection_fwhm_um"],
        lifetime=truth["free_lifetime_ns"],
        temperature=truth["temperature_K"],
        model="relaxation",
    ).fit()
    names = {"diffusivity": "diffusivity_um2_per_ns", "disorder": "disorder_sigma_meV",
             "relaxation": "relaxation_attempts_per_ns"}  # fmt: skip
    errors = bound(truth, scan)
    for name, key in names.items():
        entry = found.parameters[name]
        pull = (entry.value - truth[key]) / entry.stderr
        relative = entry.stderr / entry.value
        least = errors[key] / truth[key]
        print(f"{name}: {entry.value:.4g} ± {entry.stderr:.2g}, pull {pull:+.2f}, {relative:.4f}, bound {least:.4f}")
        assert abs(pull) < 3.5
        np.testing.assert_allclose(relative, least, rtol=0.25)
    assert abs(found.goodness["z"]) < 3


def bound(truth: dict, scan) -> dict[str, float]:
    """Cramér–Rao: √ of the diagonal of (Σ ∂µ ∂µᵀ/µ)⁻¹, in the units of `truth`."""
    length = np.sqrt(truth["diffusivity_um2_per_ns"] * truth["free_lifetime_ns"])
    quarter = Quarter.make(8.3 * length, 0.25 * truth["laser_fwhm_um"] / FWHM)
    sides = np.append(scan.x - scan.step / 2, scan.x[-1] + scan.step / 2)
    wavelengths = PLANCK_C / scan.edges

    def expected(changed: dict, kept=None):
        populations = kept or simulated.relaxed(changed, quarter, 16)
        return simulated.spectra(changed, populations, quarter, sides, wavelengths).ravel()

    centre = simulated.relaxed(truth, quarter, 16)
    law = expected(truth, centre) + truth["background_per_bin"]
    film = ("diffusivity_um2_per_ns", "disorder_sigma_meV", "relaxation_attempts_per_ns")
    seen = ("linewidth_sigma_meV", "dot_energy_meV", "trap_energy_meV", "trap_width_meV", "trap_yield")
    slopes = {}
    for key in (*film, *seen):
        step = 0.2 if key.endswith("energy_meV") else 0.02 * truth[key]
        own = None if key in film else centre
        pair = [expected({**truth, key: truth[key] + side * step}, own) for side in (1, -1)]
        slopes[key] = (pair[0] - pair[1]) / (2 * step)
    slopes["photons"], slopes["background"] = law - truth["background_per_bin"], np.ones_like(law)
    matrix = np.array(list(slopes.values()))
    scale = 1 / np.sqrt(((matrix**2) / law).sum(1))
    matrix *= scale[:, None]
    return dict(zip(slopes, scale * np.sqrt(np.diag(np.linalg.inv((matrix / law) @ matrix.T))), strict=True))


def test_a_map_finds_its_spot():
    """A map in the coordinates of its stage, the spot off its middle: L, and where the spot is, within 3.5 errors."""
    random, width, length, step = np.random.default_rng(8), 0.15, 0.3, 0.1
    spread = np.sqrt(width**2 + 2 * length**2 * random.exponential(1.0, 400_000))
    x, y = np.array([[1.03], [0.57]]) + spread * random.standard_normal((2, spread.size))
    light = PLANCK_C / (2400.0 + 25.0 * random.standard_normal(spread.size))
    xs, ys, wavelengths = np.arange(0.0, 2.01, step), np.arange(0.0, 1.21, step), np.arange(490.0, 552.0, 2.0)
    sides = [np.append(a - step / 2, a[-1] + step / 2) for a in (ys, xs)]
    counts = np.histogramdd((y, x, light), (*sides, wavelengths))[0] + random.poisson(0.05, (ys.size, xs.size, 30))
    scan = SpectralMap(counts=counts, x=xs, y=ys, edges=PLANCK_C / wavelengths, step=step, slit=step)
    found = Experiment(spectral_map=scan, laser_fwhm=width * FWHM, model="free").fit()
    for name, value in (("diffusion_length", length), ("centre_x", 1.03), ("centre_y", 0.57)):
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr, name
    assert found.status == "converged"
