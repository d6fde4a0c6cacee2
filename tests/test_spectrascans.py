"""Spectra at every position of a scanned laser: the energies and photons in them, and the landscape that these give.

The film is solved by finite volumes at every position; its light, seen confocally, is a line on every site's energy.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import interpolate, stats

from benchmarks.random_maps import DIFFUSIVITY, FIELDS, LASER, LIFETIME, bumps, lit
from excidiff.inverse import InputError, SpectralMap, cli, read_spectral_map
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.maps import measure_map
from excidiff.inverse.spectrascans import read_any_scan, scan_of_spectra
from excidiff.solver.medium import BOLTZMANN
from excidiff.solver.source import FWHM

STEP, COUNT, FINE, MARGIN, NEAR = 0.15, 8, 3, 12, 0.3
LINE, LEVEL, PHOTONS, GROUND = 25.0, 2000.0, 4e4, 0.5
EDGES = np.arange(1880.0, 2120.1, 6.0)
KNOWN = {"diffusivity": DIFFUSIVITY, "lifetime": LIFETIME, "laser_fwhm": LASER, "temperature": 295.0}


def film() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(U in meV at the positions, mean energy of the light there, expected counts (y, x, colour))."""
    spacing, kind = STEP / FINE, FIELDS["landscape"]
    v = bumps(FINE * (COUNT + 2 * MARGIN), spacing, 3, 0.5)
    x, hills = (np.arange(v.shape[0]) - (v.shape[0] - 1) / 2) * spacing, BOLTZMANN * 295.0 * v
    along = (np.arange(COUNT) - (COUNT - 1) / 2) * STEP
    spread = stats.norm.cdf((EDGES[None, :] - LEVEL - hills.reshape(-1, 1)) / LINE)
    lines = np.diff(spread, axis=1)
    mean, counts = np.zeros((COUNT, COUNT)), np.zeros((COUNT, COUNT, EDGES.size - 1))
    for row, py in enumerate(along):
        for column, px in enumerate(along):
            seen = lit(kind, v, spacing, (px, py), 1.0)
            seen = seen * np.exp(-((x[None, :] - px) ** 2 + (x[:, None] - py) ** 2) / (2 * (NEAR / FWHM) ** 2))
            part = seen.ravel() / seen.sum()
            mean[row, column] = LEVEL + part @ hills.ravel()
            counts[row, column] = PHOTONS * part @ lines + GROUND
    near = np.abs(x[:, None] - along[None, :]).argmin(0)
    return hills[np.ix_(near, near)], mean, counts


@pytest.fixture(scope="module")
def seen() -> tuple[np.ndarray, np.ndarray, SpectralMap]:
    """(U, mean energies, spectra with photon noise)."""
    hills, mean, expected = film()
    counts = np.random.default_rng(8).poisson(expected).astype(float)
    places = STEP * np.arange(COUNT)
    return hills, mean, SpectralMap(counts=counts, x=places, y=places, edges=EDGES, step=STEP, slit=STEP)


def test_energies_are_the_means_of_the_light(seen):
    """χ² of 64 energies within p = 1e-4; a landscape adds a skew of 0.02 errors to the line at most."""
    _, mean, spectra = seen
    scan = scan_of_spectra(spectra, "energy", collection_fwhm="300 nm")
    assert (scan.quantity, scan.collection, scan.spacing) == ("energy", 0.3, pytest.approx((STEP, STEP)))
    pulls = (scan.values - mean) / scan.uncertainty
    assert np.all(scan.uncertainty < 1.3 * LINE / np.sqrt(PHOTONS))
    assert stats.chi2.sf((pulls**2).sum(), pulls.size) > 1e-4
    light = scan_of_spectra(spectra, "intensity")
    assert np.all(np.abs(light.values - PHOTONS) < 5 * light.uncertainty)


@pytest.mark.gate
def test_they_give_the_landscape(seen):
    """Better than the energies at face value, by half; inside the band for 90 %."""
    hills, mean, spectra = seen
    found = measure_map(
        scan=scan_of_spectra(spectra, "energy", collection_fwhm=NEAR), kind="landscape", prior="smooth", **KNOWN
    )
    along = STEP * (np.arange(COUNT) - (COUNT - 1) / 2)
    at = tuple(np.meshgrid(along, along, indexing="ij"))
    own, low, high = (interpolate.RegularGridInterpolator((found.y, found.x), side)(at)
                      for side in (found.value, found.lower, found.upper))  # fmt: skip
    level = (own - hills).mean()
    assert np.std(own - hills) < 0.5 * np.std(mean - hills)
    assert np.mean((low - level <= hills) & (hills <= high - level)) >= 0.9


def test_what_is_dark_or_odd_is_masked_and_told(seen):
    *_, spectra = seen
    counts = spectra.counts.copy()
    counts[0, 0] = GROUND
    counts[3, 4, 5] += 1e5
    dim = scan_of_spectra(replace(spectra, counts=counts), "energy")
    assert not dim.mask[0, 0]
    assert dim.mask.sum() == COUNT**2 - 1
    assert any("1 of 64 positions masked" in note for note in dim.notes)
    plain = scan_of_spectra(spectra, "energy")
    assert abs(dim.values[3, 4] - plain.values[3, 4]) < plain.uncertainty[3, 4]
    second = stats.norm.pdf((EDGES[1:] + EDGES[:-1]) / 2, LEVEL - 60, 30.0) * 6 * 0.5 * PHOTONS
    double = scan_of_spectra(replace(spectra, counts=np.round(spectra.counts + second)), "energy")
    assert any("no Gaussians" in note for note in double.notes)
    assert np.median(double.uncertainty) > 1.5 * np.median(plain.uncertainty)


@pytest.mark.parametrize(
    ("change", "quantity", "said"),
    [
        ({"counts": np.ones((1, COUNT, EDGES.size - 1)), "y": np.zeros(1)}, "energy", "along y; a map of a film needs"),
        ({"x": STEP * np.arange(COUNT) ** 1.1}, "energy", "along x are uneven"),
        ({}, "lifetime", '"energy" or "intensity"'),
    ],
)
def test_what_cannot_be_is_refused(seen, change, quantity, said):
    with pytest.raises(InputError, match=said):
        scan_of_spectra(replace(seen[2], **change), quantity)


MAP = """
[excitation]
laser_fwhm = "300 nm"
[film]
temperature = "295 K"
[parameters]
diffusivity = {fixed = "0.05 um^2/ns"}
lifetime = {fixed = "5 ns"}
[map]
parameter = "landscape"
prior = "smooth"
[[raster]]
file = "spectra.nc"
quantity = "energy"
collection_fwhm = "300 nm"
wavelengths = "601..641 nm"
"""


def test_from_a_file_with_axes_to_a_map(seen, tmp_path):
    xarray = pytest.importorskip("xarray")
    spectra = seen[2]
    nm = PLANCK_C / spectra.energy
    places = {"x": ("x", 1e3 * spectra.x, {"units": "nm"}), "y": ("y", 1e3 * spectra.y, {"units": "nm"})}
    array = xarray.DataArray(
        spectra.counts.transpose(2, 0, 1), dims=("wavelength", "y", "x"),
        coords={**places, "wavelength": ("wavelength", nm, {"units": "nm"})}, name="counts",
    )  # fmt: skip
    array.to_netcdf(tmp_path / "spectra.nc", engine="h5netcdf")
    (tmp_path / "film.toml").write_text(MAP)
    assert cli.main(["map", str(tmp_path / "film.toml"), "-o", str(tmp_path / "out")]) == cli.OK
    found = json.loads((tmp_path / "out" / "map.json").read_text())
    assert (found["parameter"], found["unit"]) == ("landscape", "meV")
    assert any("wavelengths from 601 to 641 nm" in note for note in found["settings"]["notes"])
    with pytest.raises(InputError, match="gain given, of which spectra with axes have no use"):
        read_any_scan(str(tmp_path / "spectra.nc"), quantity="energy", gain=2.0)
    array[:, 2, 3] = np.nan
    array.to_netcdf(tmp_path / "dead.nc", engine="h5netcdf")
    dead = read_any_scan(str(tmp_path / "dead.nc"), quantity="energy")
    assert np.argwhere(~dead.mask).tolist() == [[2, 3]]
    assert any("1 of 64 places have numbers that are not finite" in note for note in dead.notes)
    with pytest.raises(InputError, match="row 2, place 3; cut them out"):
        read_spectral_map(str(tmp_path / "dead.nc"))
    whole = read_spectral_map(str(tmp_path / "dead.nc"), uncertainty=10.0, places="0..0.25 um, 0..1.2 um")
    assert whole.x.size == 2  # what is not used need not be finite
    (tmp_path / "scan.csv").write_text("x_um,y_um,counts\n")
    with pytest.raises(InputError, match="wavelengths are of spectra over a map"):
        read_any_scan(str(tmp_path / "scan.csv"), wavelengths="500..520 nm")
