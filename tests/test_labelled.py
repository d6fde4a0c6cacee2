"""Arrays with axes: cameras' files, HyperSpy's, NetCDF, zarr, and other makers'; FAULTS row 30.

Counts are whole numbers and must come back exactly; times and axes within rounding, 1e-9 of a bin or step.
"""

import shutil
import sys
import types
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from excidiff.inverse.files.labelled import Labelled, read_labelled
from excidiff.inverse.files.readers import describe, read_images, read_map
from excidiff.solver.solution import InputError
from tests.instruments import (
    COUNTS,
    FILES,
    FRAMES,
    PERIOD,
    STREAK,
    STREAK_AXES,
    WIDTH,
    write_hspy,
    write_phu,
    write_sif,
)

sif_parser = pytest.importorskip("sif_parser")
zarr = pytest.importorskip("zarr")


def told(notes: tuple[str, ...], words: str) -> bool:
    return any(words in note for note in notes)


# Cameras and arrays with axes.


def test_sif(tmp_path: Path):
    file = write_sif(tmp_path / "spot.sif", FRAMES)
    own, _ = sif_parser.np_open(str(file))
    np.testing.assert_array_equal(own, FRAMES)
    images = read_images(file, pixel_size="40 nm")
    np.testing.assert_array_equal([image.counts for image in images], FRAMES)
    found = read_labelled(file)
    np.testing.assert_allclose(found.axis("time").values, [0.0, 1e6, 2e6])
    spectra = write_sif(tmp_path / "spectra.sif", FRAMES, calibration=(500, 0.5, 0.01, 0))
    axis = read_labelled(spectra).axis("wavelength")
    pixel = np.arange(1, 9)
    np.testing.assert_allclose(axis.values, 500 + 0.5 * pixel + 0.01 * pixel**2, rtol=1e-12)
    own = sif_parser.utils.extract_calibration(sif_parser.np_open(str(spectra))[1] | {"ImageLength": 8})
    np.testing.assert_allclose(axis.values, own, rtol=1e-12)
    assert "3 values" in str(describe(spectra)["axis Time"])


def test_hspy(tmp_path: Path):
    file = write_hspy(tmp_path / "streak.hspy", STREAK, STREAK_AXES, compression="gzip")
    found = read_labelled(file)
    np.testing.assert_array_equal(found.values, STREAK)
    np.testing.assert_allclose(found.axis("time").values, 1e-3 * (5.0 + 1.2 * np.arange(12)), rtol=1e-12)
    np.testing.assert_allclose(found.axis("wavelength").values, 834.0 + 0.5 * np.arange(20), rtol=1e-12)
    assert found.axis("time").unit == "ns"
    assert found.axis("time").origin == "axis-0 of streak.hspy, a signal axis"
    assert found.sha256 is not None
    with pytest.raises(InputError, match=r"no axis is 'energy'; there are: Time \[ns\]; Wavelength \[nm\]"):
        found.axis("energy")
    uneven = [STREAK_AXES[0], {"name": "Energy", "units": "eV", "axis": np.geomspace(1.3, 1.6, 20)}]
    found = read_labelled(write_hspy(tmp_path / "uneven.hspy", STREAK, uneven))
    np.testing.assert_allclose(found.axis("energy").values, np.geomspace(1.3, 1.6, 20))
    assert "uneven steps" in found.axis("energy").told


def test_an_hspy_image_has_a_pixel_size(tmp_path: Path):
    axes = [{"name": n, "units": "nm", "scale": s, "offset": 0.0} for n, s in (("y", 50.0), ("x", 40.0))]
    file = write_hspy(tmp_path / "spot.hspy", STREAK, axes)
    assert read_map(file).spacing == pytest.approx((0.05, 0.04))
    assert read_labelled(file).axis("x").unit == "µm"
    assert "40 nm in x, 50 nm in y" in str(describe(file)["pixel size"])


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {"counts": (("time", "energy"), STREAK)},
        {
            "time": ("time", 0.1 * np.arange(12), {"units": "ns"}),
            "energy": ("energy", np.linspace(1900.0, 2100.0, 20), {"units": "meV"}),
        },
    )


@pytest.mark.parametrize("name", ["map.nc", "map.zarr", "map2.zarr", "map.zip"])
def test_coordinates_of_netcdf_and_zarr(tmp_path: Path, name: str):
    """What xarray writes in NetCDF-4, zarr v2 and v3 and a zip comes back with its coordinates."""
    file = tmp_path / name
    if name.endswith(".nc"):
        dataset().to_netcdf(file, engine="h5netcdf")
    else:
        store = tmp_path / "zipped" if name.endswith(".zip") else file
        dataset().to_zarr(store, consolidated=False, zarr_format=2 if "2" in name else 3)
        if name.endswith(".zip"):
            shutil.make_archive(str(file.with_suffix("")), "zip", store)
    found = read_labelled(file)
    np.testing.assert_array_equal(found.values, STREAK)
    np.testing.assert_allclose(found.axis("time").values, 0.1 * np.arange(12), rtol=1e-12)
    np.testing.assert_allclose(found.axis("energy").values, np.linspace(1900.0, 2100.0, 20), rtol=1e-12)
    assert found.axis("energy").unit == "meV"
    assert len(found.sha256 or "") == 64
    assert "1900 meV to 2100 meV, 20 values" in str(describe(file)["axis energy"])
    assert read_labelled(file, "counts").values.shape == (12, 20)
    with pytest.raises(InputError, match="no array called 'light'; there are: "):
        read_labelled(f"{file}:light")


def test_several_arrays_are_listed(tmp_path: Path):
    both = dataset().assign(dark=(("time", "energy"), STREAK))
    both.to_zarr(tmp_path / "two.zarr", consolidated=False)
    both.to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    for name in ("two.zarr", "two.nc"):
        with pytest.raises(InputError, match=rf"2 arrays with axes .*counts 12×20.*{name}:NAME"):
            read_labelled(tmp_path / name)
        assert read_labelled(tmp_path / name, "dark").values.shape == (12, 20)


def test_zspy(tmp_path: Path):
    group = zarr.open_group(tmp_path / "streak.zspy", mode="w", zarr_format=2)
    signal = group.create_group("Experiments/film")
    signal.create_array("data", data=STREAK)
    for place, axis in enumerate(STREAK_AXES):
        signal.create_group(f"axis-{place}").attrs.update({**axis, "size": STREAK.shape[place]})
    found = read_labelled(tmp_path / "streak.zspy")
    np.testing.assert_array_equal(found.values, STREAK)
    assert found.axis("wavelength").values[0] == 834.0
    assert told(found.notes, "'film'")


def test_missing_chunks_are_counted(tmp_path: Path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(8, 6), chunks=(4, 6), dtype="u2", fill_value=0)
    array[:4] = 7
    found = read_labelled(tmp_path / "a.zarr")
    assert told(found.notes, "1 of 2 chunks of a.zarr:data are not stored, and read as 0")
    assert found.axes[0].unit == ""
    assert "has no coordinates" in found.axes[0].origin


def test_axes_that_cannot_be_are_refused(tmp_path: Path):
    """FAULTS 30: missing, of the wrong length, not monotonic; and no formula is evaluated."""
    crooked = [STREAK_AXES[0], {"name": "Wavelength", "units": "nm", "axis": np.cos(np.arange(20.0))}]
    found = read_labelled(write_hspy(tmp_path / "a.hspy", STREAK, crooked))
    with pytest.raises(InputError, match="'Wavelength' neither rises nor falls"):
        found.axis("wavelength")
    short = [STREAK_AXES[0], {"name": "Wavelength", "units": "nm", "axis": np.arange(19.0)}]
    with pytest.raises(InputError, match="another length than its array"):
        read_labelled(write_hspy(tmp_path / "a.hspy", STREAK, short))
    formula = [STREAK_AXES[0], {"name": "Energy", "units": "eV", "expression": "1240 / x"}]
    with pytest.raises(InputError, match="is a formula, which is not evaluated"):
        read_labelled(write_hspy(tmp_path / "a.hspy", STREAK, formula))
    with pytest.raises(InputError, match="its axes have"):
        Labelled(STREAK, found.axes[:1], "none", "a")
    bare = [{"name": "", "units": "nm", "scale": 1.0, "offset": 500.0}] * 2
    with pytest.raises(InputError, match=r"no axis is 'wavelength'; there are: axis 0 \[nm\]"):
        read_labelled(write_hspy(tmp_path / "a.hspy", STREAK, bare)).axis("wavelength")
    with pytest.raises(InputError, match="files of its kind have no axes"):
        read_labelled(write_phu(tmp_path / "a.phu", [COUNTS], width=WIDTH, period=PERIOD))


def test_other_makers_files_need_rosettasciio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without it an error that says how; with it, its answer becomes axes with units."""
    file = tmp_path / "map.dm4"
    file.write_bytes(bytes(100))
    monkeypatch.setitem(sys.modules, "rsciio.digitalmicrograph", None)
    with pytest.raises(InputError, match=r"pip install rosettasciio — or export"):
        read_labelled(file)
    axes = [
        {"name": "x", "units": "nm", "scale": 40.0, "offset": 0.0, "size": 20, "index_in_array": 1},
        {"name": "Wavelength", "units": "nm", "scale": 0.5, "offset": 500.0, "size": 12, "index_in_array": 0},
    ]
    answer = [{"data": STREAK, "axes": axes, "metadata": {"General": {"title": "map"}}}]
    module = types.SimpleNamespace(file_reader=lambda path, lazy: answer)
    monkeypatch.setitem(sys.modules, "rsciio.digitalmicrograph", module)
    found = read_labelled(file)
    np.testing.assert_allclose(found.axis("x").values, 0.04 * np.arange(20))
    assert found.axis("wavelength").values[-1] == 505.5
    monkeypatch.setattr(module, "file_reader", lambda path, lazy: {}["nothing"])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_labelled(file)


@pytest.mark.parametrize(("name", "module"), [("a.ptu", "ptufile"), ("a.sdt", "sdtfile"), ("a.sif", "sif_parser")])
def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str):
    file = FILES["spot.sif" if name == "a.sif" else f"film.{name[2:]}"](tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"{name}: it is read by {module}.*pip install \"excidiff\[io\]\""):
        describe(file)


def test_the_measured_arrays(data: Path):
    """A streak camera's image, against h5py and the numbers that its maker wrote."""
    folder = data / "cathodoluminescence"
    found = read_labelled(folder / "GaAsSb_streak_image.hspy")
    with h5py.File(folder / "GaAsSb_streak_image.hspy") as file:
        np.testing.assert_array_equal(found.values, file["Experiments/__unnamed__/data"][...])
    assert (found.dimension("time"), found.dimension("wavelength")) == (0, 1)
    assert found.axis("time").step == pytest.approx(1.19079390493222e-3, rel=1e-9)
    assert found.axis("wavelength").values[[0, -1]] == pytest.approx([834.277358, 925.150994], abs=1e-5)


def test_the_measured_dm4(data: Path):
    reader = pytest.importorskip("rsciio.digitalmicrograph")
    for name, kinds in (("InGaAs_nanowire_linescan", "x wavelength"), ("asymmetric_peak_map", "wavelength y x")):
        file = data / "cathodoluminescence" / f"{name}.dm4"
        own, found = reader.file_reader(file)[0], read_labelled(file)
        np.testing.assert_array_equal(found.values, own["data"])
        assert [axis.kind for axis in found.axes] == kinds.split()
        for axis, written in zip(found.axes, own["axes"], strict=True):
            assert axis.values[1] - axis.values[0] == pytest.approx(written["scale"], rel=1e-6)
            assert axis.values[0] == pytest.approx(written["offset"], rel=1e-9)
