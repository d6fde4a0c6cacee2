"""Spectra reduced to peak and width: bands that wander, stray counts, other noise, files in any order, the command."""

import csv
import importlib.util
from pathlib import Path

import h5netcdf
import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from excidiff.inverse import InputError, read_spectral_map
from excidiff.inverse.cli import main
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.fit.peaks import band_of, follow_bands, stray_bins
from excidiff.inverse.job import build
from excidiff.inverse.options import check_options
from excidiff.inverse.peaksjob import reduce_file, summary, table
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.settings import FitSettings, file_hash

SIDES = PLANCK_C / np.arange(495.0, 545.5, 0.5)
PLACES = np.linspace(-1.0, 1.0, 41)


def expected(peak, width, light, ground=2.0):
    """Counts (place, colour) of Gaussian bands: `peak`, `width` in meV, `light` in photons, one per place."""
    from scipy.special import ndtr

    z = (SIDES[None] - np.reshape(peak, (-1, 1))) / np.reshape(width, (-1, 1))
    return np.reshape(light, (-1, 1)) * -np.diff(ndtr(z), axis=1) + ground


def spot(places=PLACES):
    """Peak 2400 meV at the centre, 10 meV less at 1 µm; 25 meV wide, 5 more at the rim; light of a spot."""
    away = np.abs(places)
    return 2400 - 10 * away, 25 + 5 * away, 2e4 * np.exp(-away / 0.35)


def write(path: Path, values, **axes) -> Path:
    coordinates = {name: (name, where, {"units": unit}) for name, (where, unit) in axes.items()}
    xr.DataArray(values, dims=tuple(axes), coords=coordinates, name="counts").to_dataset().to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A line scan of photons, wavelengths falling, places in nm."""
    counts = np.random.default_rng(1).poisson(expected(*spot())).astype("u4")
    return write(tmp_path_factory.mktemp("scan") / "line.nc", counts[:, ::-1].T,
                 wavelength=(np.arange(495.25, 545, 0.5)[::-1], "nm"), x=(1e3 * PLACES, "nm"))  # fmt: skip


# Reading
# -------


def test_axes_in_any_order_are_the_same_map(tmp_path, scan):
    line = read_spectral_map(scan)
    assert line.counts.shape == (1, 41, 100)
    np.testing.assert_allclose(line.x, PLACES, atol=1e-12)
    np.testing.assert_allclose(PLANCK_C / line.edges[::-1], PLANCK_C / SIDES, rtol=1e-12)
    counts = np.arange(4 * 5 * 20).reshape(4, 5, 20)
    energy = np.linspace(2.3, 2.5, 20)
    y, x = 0.1 * np.arange(4), 0.2 * np.arange(5)
    axes = {"y": (y, "um"), "x": (x, "um"), "energy": (energy, "eV")}
    straight = read_spectral_map(write(tmp_path / "a.nc", counts, **axes))
    assert (straight.step, straight.slit) == (pytest.approx(0.2), pytest.approx(0.1))
    turned = write(tmp_path / "b.nc", counts.transpose(2, 1, 0)[:, ::-1, ::-1], energy=axes["energy"],
                   x=(x[::-1], "um"), y=(y[::-1], "um"))  # fmt: skip
    again = read_spectral_map(turned, slit="50 nm")
    np.testing.assert_array_equal(again.counts, straight.counts)
    np.testing.assert_allclose(again.edges, straight.edges, rtol=1e-12)
    assert again.slit == pytest.approx(0.05)
    up = read_spectral_map(write(tmp_path / "c.nc", counts[:, 0], y=axes["y"], energy=axes["energy"]))
    np.testing.assert_allclose(up.x, y)


def test_parts_are_cut_out_with_their_edges(scan):
    part = read_spectral_map(scan, wavelengths=(500, 520), places="-500 nm..0.5 um", uncertainty=3.0)
    whole = read_spectral_map(scan)
    assert part.wavelength.min() == pytest.approx(500.25)
    assert part.wavelength.max() == pytest.approx(519.75)
    assert np.isin(part.edges, whole.edges).all()
    np.testing.assert_allclose(part.x[[0, -1]], [-0.5, 0.5])
    assert (part.uncertainty == 3.0).all()
    assert any("500 to 520 nm used" in note for note in part.notes)
    assert read_spectral_map(scan, wavelengths="2.3..2.5 eV").energy.max() < 2500
    for options, said in (
        ({"wavelengths": "600..610 nm"}, "there are none"),
        ({"places": "3..4 um"}, "there are none"),
        ({"places": "0..1 um, 0..1 um"}, "of a line give one stretch"),
        ({"wavelengths": "500 nm"}, "FROM..TO"),
    ):
        with pytest.raises(InputError, match=said):
            read_spectral_map(scan, **options)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"z": (np.arange(6.0), "um"), "wavelength": (500 + np.arange(20.0), "nm")}, "no axis is 'x'"),
        ({"x": (np.arange(6.0), "um"), "channel": (np.arange(20.0), "")}, "no axis is 'wavelength'"),
        ({"x": (np.arange(6.0), "um"), "wavelength": (np.ones(20), "nm")}, "neither rises nor falls"),
        ({"x": (np.arange(6.0), "um"), "wavelength": (0.5 + np.arange(20.0) / 1e3, "nm")}, "check the unit"),
    ],
)
def test_other_axes_are_refused(tmp_path, axes, said):
    with pytest.raises(InputError, match=said):
        read_spectral_map(write(tmp_path / "a.nc", np.ones((6, 20), "u2"), **axes))


def test_signed_numbers_need_an_uncertainty(tmp_path):
    random = np.random.default_rng(2)
    axes = {"x": (PLACES, "um"), "wavelength": (np.arange(495.25, 545, 0.5), "nm")}
    light = expected(*spot(), ground=0.0)
    path = write(tmp_path / "a.nc", light + 3 * random.standard_normal(light.shape), **axes)
    errors = write(tmp_path / "e.nc", np.full(light.shape, 3.0), **axes)
    with pytest.raises(InputError, match="not counts of photons"):
        read_spectral_map(path)
    np.testing.assert_array_equal(read_spectral_map(path, uncertainty=errors).uncertainty, 3.0)
    np.testing.assert_array_equal(read_spectral_map(path, uncertainty=np.full(light.shape, 3.0)).uncertainty, 3.0)
    found = read_spectral_map(path, uncertainty="from the data")
    assert np.median(found.uncertainty) == pytest.approx(3.0, rel=0.05)
    assert any("estimated from differences" in note for note in found.notes)
    other = write(tmp_path / "o.nc", np.ones(light.shape), **{**axes, "x": (2 * PLACES, "um")})
    with pytest.raises(InputError, match="not those of"):
        read_spectral_map(path, uncertainty=other)


def test_whole_numbers_that_scatter_otherwise_are_told(tmp_path):
    """Photons times a gain of 4 scatter four times as much as their number says."""
    counts = 4 * np.random.default_rng(3).poisson(expected(*spot()))
    path = write(tmp_path / "a.nc", counts, x=(PLACES, "um"), wavelength=(np.arange(495.25, 545, 0.5), "nm"))
    assert any("are these photons?" in note for note in read_spectral_map(path).notes)


def test_the_options_reach_the_reader(tmp_path, scan, monkeypatch):
    """Of the command, and of an experiment's file beside the data; an uncertainty may be a file, and is recorded."""
    monkeypatch.chdir(tmp_path)
    axes = {"x": (PLACES, "um"), "wavelength": (np.arange(495.25, 545, 0.5), "nm")}
    write(tmp_path / "a.nc", expected(*spot()), **axes)
    write(tmp_path / "e.nc", np.full((41, 100), 3.0), **axes)
    options = {"wavelengths": "500..540 nm", "places": "-0.5..0.5 um", "uncertainty": "e.nc", "laser_fwhm": "300 nm"}
    settings = FitSettings(spectral_map=("a.nc",), **options)
    found = build(settings).spectral_map
    assert found.counts.shape == (1, 21, 80)
    assert (found.uncertainty == 3.0).all()
    assert ("uncertainty", "e.nc") in settings.paths()
    assert settings.moved(lambda path: f"there/{path}").uncertainty == "there/e.nc"
    (tmp_path / "film.toml").write_text(
        '[excitation]\nlaser_fwhm = "300 nm"\n[[spectral_map]]\nfile = "a.nc"\nwavelengths = "500..540 nm"\n'
        'places = "-0.5..0.5 um"\nuncertainty = "e.nc"\n'
    )
    again = build(read_protocol([str(tmp_path / "film.toml")], {}, {})).spectral_map
    np.testing.assert_array_equal(again.counts, found.counts)
    np.testing.assert_array_equal(again.uncertainty, found.uncertainty)
    estimated = FitSettings(spectral_map=("a.nc",), laser_fwhm="300 nm", uncertainty="from the data")
    assert ("uncertainty", "from the data") not in estimated.paths()
    assert build(estimated).spectral_map.uncertainty is not None
    for wrong in ({"places": "0..1 um"}, {"slit": "1 um"}, {"uncertainty": "2"}):
        with pytest.raises(InputError, match="given"):
            check_options(FitSettings(images=("spot.tif",), laser_fwhm="300 nm", **wrong))


def test_a_folder_is_read_and_recorded(tmp_path, scan):
    """A zarr store is a folder of files: the hash of all of them stands for it."""
    pytest.importorskip("zarr")
    with xr.open_dataset(scan) as opened:
        opened.to_zarr(tmp_path / "line.zarr", consolidated=False)
    found = read_spectral_map(tmp_path / "line.zarr")
    np.testing.assert_array_equal(found.counts, read_spectral_map(scan).counts)
    assert file_hash(tmp_path / "line.zarr") == found.sha256


# Peaks
# -----


@pytest.mark.parametrize(("step", "photons"), [(6.0, 4e4), (6.0, 4e3), (2.0, 4e4)])
def test_a_bright_band_is_a_gaussian(step, photons):
    """On next to no ground, in bins of a quarter of σ or less: no bin is stray, χ² is its freedom, errors are right.

    64 spectra of some 20 bins in reach: χ² per degree of freedom to 0.04, the r.m.s. pull to 0.09; three of each.
    """
    edges = np.arange(1880.0, 2120.1, step)
    expected = photons * np.diff(stats.norm.cdf((edges - 2000.3) / 25.0)) + 0.5
    counts = np.random.default_rng(1).poisson(np.tile(expected, (64, 1))).astype(float)
    assert not stray_bins(counts, None).any()
    with jax.enable_x64(True):
        found = follow_bands(counts, None, edges, "band", np.ones(counts.shape, bool))
    assert abs(found.misfit.mean() - 1) < 0.12
    pulls = [(found.centre - 2000.3) / found.centre_error, (found.width - 25.0) / found.width_error]
    assert np.all(np.abs(np.sqrt(np.mean(np.square(pulls), axis=1)) - 1) < 0.27)


@pytest.mark.parametrize("width", [0.85, 1.0, 1.5, 2.0, 4.0])
def test_no_bin_of_a_band_is_stray(width):
    """Bands down to two bins at half their height, wherever between the bins their centre is, dim and bright."""
    edges, random = np.arange(40.0), np.random.default_rng(3)
    centres = 20 + np.linspace(-0.5, 0.5, 50)
    for photons in (300.0, 1e4, 1e6):
        light = photons * np.diff(stats.norm.cdf((edges[None] - centres[:, None]) / width)) + 0.3
        assert not stray_bins(random.poisson(light).astype(float), None).any()


@pytest.mark.parametrize(("place", "size"), [(0, 1), (5, 1), (5, 2), (38, 1), (19, 1)])
def test_one_stray_bin_or_two_are_found(place, size):
    """In the dark, at either end, and three times as bright as the band's top."""
    light = 3000 * np.diff(stats.norm.cdf((np.arange(40.0) - 20) / 3)) + 0.3
    counts = np.random.default_rng(5).poisson(light, (20, 39)).astype(float)
    counts[7, place : place + size] += 1200 if place == 19 else 300
    assert np.argwhere(stray_bins(counts, None)).tolist() == [[7, place + k] for k in range(size)]


def test_bands_are_followed(scan):
    """41 peaks and widths: pulls of mean 0 ± 4/√41 and standard deviation 1 ± 4/√82; χ² per freedom 1 on average."""
    found = reduce_file(scan)
    assert found.kind == "line"
    for name, truth in zip(("peak", "width", "light"), spot(), strict=True):
        pull = (found.series[name] - truth) / found.series[f"{name}_error"]
        assert abs(pull.mean()) < 4 / np.sqrt(41)
        assert abs(pull.std() - 1) < 4 / np.sqrt(82)
    assert abs(found.series["misfit"].mean() - 1) < 0.1
    assert found.spot
    assert found.centre[0] == pytest.approx(0.0, abs=0.02)


def test_stray_counts_do_no_harm():
    """A bin 500 counts too bright: left out, and the peak stays within 1 error of where it was."""
    counts = np.random.default_rng(4).poisson(expected(*spot())).astype(float)
    struck = counts.copy()
    struck[10, 20] += 500
    stray = stray_bins(struck, None)
    assert np.argwhere(stray).tolist() == [[10, 20]]
    clean, found = (follow_bands(a, None, SIDES, "a", ~stray) for a in (counts, struck))
    assert abs(found.centre - clean.centre)[10] < clean.centre_error[10]


def test_spectra_without_light_have_no_numbers():
    """Half of the places are dark, two photons per bin; many more than one batch of spectra are fitted alike."""
    light = np.where(np.arange(1200) % 2, 3e3, 0.0)
    counts = np.random.default_rng(5).poisson(expected(np.full(1200, 2400), np.full(1200, 25), light)).astype(float)
    found = follow_bands(counts, None, SIDES, "a", np.ones(counts.shape, bool))
    assert np.isnan(found.centre[::2]).mean() > 0.99
    assert np.isfinite(found.centre[1::2]).all()
    assert abs(found.centre[1::2].mean() - 2400) < 4 * found.centre_error[1::2].mean() / np.sqrt(600)
    with pytest.raises(InputError, match="no band of light"):
        band_of(np.full(100, 3.0), SIDES, "a")


def test_a_map_has_a_table_in_its_own_order(tmp_path):
    """Peaks rise along x by 2 meV a place; y runs slowest in the table, and the centre is as given."""
    y, x = 0.1 * np.arange(4), 0.2 * np.arange(6)
    peak = 2390 + 2 * np.tile(np.arange(6), 4)
    counts = np.random.default_rng(6).poisson(expected(peak, np.full(24, 25), np.full(24, 2e5))).reshape(4, 6, -1)
    path = write(tmp_path / "a.nc", counts, y=(y, "um"), x=(x, "um"), wavelength=(np.arange(495.25, 545, 0.5), "nm"))
    found = reduce_file(path, centre="0.2 um, 0.1 um")
    rows = list(csv.DictReader(table(found).splitlines()))
    assert list(rows[0])[:3] == ["x_um", "y_um", "distance_um"]
    assert [float(rows[7][name]) for name in ("x_um", "y_um", "distance_um")] == pytest.approx(
        [0.2, 0.1, 0.0], abs=1e-9
    )
    np.testing.assert_allclose([float(row["peak_meV"]) for row in rows], peak, atol=0.5)
    assert float(rows[0]["peak_nm"]) == pytest.approx(PLANCK_C / float(rows[0]["peak_meV"]), rel=1e-6)
    with pytest.raises(InputError, match="of a map two"):
        reduce_file(path, centre="0.2 um")
    assert not reduce_file(path).spot


def test_measured_streak(data):
    """The band of this film reddens with time throughout: 1440 meV at first, 1402 at last, to 5 meV as seen by eye."""
    found = reduce_file(data / "cathodoluminescence" / "GaAsSb_streak_image.hspy")
    peak = found.series["peak"]
    assert found.kind == "streak"
    assert np.isfinite(peak).mean() > 0.95
    assert np.nanmean(peak[5:10]) == pytest.approx(1440, abs=5)
    assert np.nanmean(peak[-30:]) == pytest.approx(1402, abs=5)
    assert "streak image" in str(summary(found)["spectra"])


@pytest.mark.skipif(importlib.util.find_spec("rsciio") is None, reason="RosettaSciIO reads .dm4 and is not installed")
@pytest.mark.parametrize(("name", "kind"), [("InGaAs_nanowire_linescan", "line"), ("asymmetric_peak_map", "map")])
def test_measured_scans(data, name, kind):
    """Both have numbers below zero, so that the noise is read off the data; nearly all places show a band."""
    found = reduce_file(data / "cathodoluminescence" / f"{name}.dm4")
    assert found.kind == kind
    assert np.isfinite(found.series["peak"]).mean() > 0.85
    assert any("estimated from differences" in note for note in found.notes)


# The command
# -----------


def test_the_command(scan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["peaks", str(scan), "-o", "out", "--wavelengths", "500..540 nm"]) == 0
    said = capsys.readouterr().out
    assert "41 in a line, a band in 41" in said
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"peaks.csv", "result.nc", "figures"}
    drawn = {entry.name for entry in (tmp_path / "out" / "figures").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in ("peaks", "distance") for kind in ("png", "svg")}
    with h5netcdf.File(tmp_path / "out" / "result.nc") as file:
        group = file.groups["spectra"]
        assert group["peak"].attrs["units"] == "meV"
        assert group["counts"].dimensions == ("x", "wavelength")
        assert group["counts"].shape == (41, 80)
    assert main(["peaks", str(scan), "-o", "out"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["peaks", str(scan), "-o", "out", "--overwrite", "--centre", "0.5 um"]) == 0
    assert main(["peaks", "none.nc"]) == 1
