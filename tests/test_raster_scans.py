"""A laser scanned over a film: `RasterScan`, its files, and every way in which they can be wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

from excidiff.inverse import InputError, RasterScan, cli, read_decay, read_raster_scan
from tests.instruments import COUNTS, PERIOD, WIDTH, write_ptu

VALUES = np.random.default_rng(7).poisson(50, (4, 5))
LIFETIMES = np.random.default_rng(8).uniform(2.0, 5.0, (4, 5))
Y, X = 10 + 0.3 * np.arange(4), -1 + 0.2 * np.arange(5)


def listed(folder: Path, header: str = "x_um,y_um,counts", *columns: np.ndarray, keep=slice(None)) -> Path:
    """A table of the places in random order, with a column for each array (y, x)."""
    y, x = np.meshgrid(Y, X, indexing="ij")
    columns = columns or (VALUES,)
    rows = np.stack([x.ravel(), y.ravel(), *(c.ravel() for c in columns)], 1)
    rows = np.random.default_rng(9).permutation(rows)[keep]
    text = "\n".join(",".join(f"{v:.7g}" for v in row) for row in rows)
    (folder / "scan.csv").write_text(f"{header}\n{text}\n", encoding="utf-8")
    return folder / "scan.csv"


def matrix(folder: Path, corner: str, down: np.ndarray, across: np.ndarray, values: np.ndarray) -> Path:
    lines = [",".join([corner, *(f"{a:.7g}" for a in across)])]
    lines += [",".join(f"{v:.7g}" for v in (place, *row)) for place, row in zip(down, values, strict=True)]
    (folder / "matrix.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "matrix.csv"


def with_axes(path: Path, values: np.ndarray, **axes: tuple[np.ndarray, str]) -> Path:
    """A NetCDF file with coordinates: name=(values, unit), in the order of the dimensions."""
    coordinates = {name: (name, where, {"units": unit}) for name, (where, unit) in axes.items()}
    xr.DataArray(values, dims=tuple(axes), coords=coordinates, name="counts").to_dataset().to_netcdf(path)
    return path


# What a scan is
# --------------


def test_positions_count_from_the_centre_in_the_order_of_the_values():
    scan = RasterScan(values=VALUES, step=(0.3, 0.2), gain=2.0, offset=10.0, uncertainty=np.full((4, 5), 3.0))
    assert scan.positions[:2].tolist() == [[-0.4, pytest.approx(-0.45)], [-0.2, pytest.approx(-0.45)]]
    assert scan.positions[-1].tolist() == [0.4, pytest.approx(0.45)]
    np.testing.assert_allclose(scan.positions.sum(0), 0, atol=1e-12)
    np.testing.assert_array_equal(scan.signal, (VALUES - 10) / 2)
    np.testing.assert_array_equal(scan.signal_uncertainty, np.full((4, 5), 1.5))
    assert scan.mask.all()
    assert RasterScan(values=VALUES, step=0.2).spacing == (0.2, 0.2)


def test_lifetimes_have_the_error_of_their_photons():
    """σ = τ/√N, and a note says so; one that is given wins."""
    lived = {"values": LIFETIMES, "step": 0.2, "quantity": "lifetime"}
    scan = RasterScan(**lived, photons=VALUES)
    np.testing.assert_allclose(scan.uncertainty, LIFETIMES / np.sqrt(VALUES))
    assert "lifetime/√photons" in scan.notes[-1]
    assert replace(scan, collection=0.4).notes == scan.notes
    scan = RasterScan(**lived, photons=VALUES, uncertainty=np.full((4, 5), 0.1))
    assert (scan.uncertainty == 0.1).all()
    assert scan.notes == ()


def test_what_is_masked_may_be_anything():
    bad = np.zeros((4, 5), bool)
    bad[1, 2] = True
    values, error = np.where(bad, np.nan, VALUES), np.where(bad, 0.0, 2.0)
    scan = RasterScan(values=values, uncertainty=error, step=0.2, mask=~bad)
    assert (scan.values[1, 2], scan.uncertainty[1, 2]) == (0.0, np.inf)
    scan = RasterScan(values=values, photons=np.where(bad, 0, 9), step=0.2, mask=~bad, quantity="lifetime")
    assert scan.uncertainty[1, 2] == np.inf
    assert np.isfinite(scan.uncertainty[scan.mask]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": VALUES[:2]}, "3 × 3 positions or more"),
        ({"values": VALUES.astype(complex)}, "one real number"),
        ({"values": np.where(VALUES < 50, np.nan, VALUES)}, r"not finite, the first at \[row, column\] = "),
        ({"values": VALUES - 60.0}, r"lie below zero.*give the right offset, or an uncertainty"),
        ({"offset": 100.0}, "lie below the offset 100"),
        ({"values": 0 * VALUES}, "holds no light"),
        ({"uncertainty": np.zeros((4, 5))}, "20 uncertainties that are zero"),
        ({"uncertainty": np.ones((5, 4))}, r"shape \(5, 4\), the values \(4, 5\)"),
        ({"mask": np.arange(20).reshape(4, 5) < 8}, "only 8 positions"),
        ({"mask": np.full((4, 5), "no")}, "give real numbers"),
        ({"step": 0.0}, "finite and positive"),
        ({"step": (0.1, 0.2, 0.3)}, "one number or"),
        ({"step": 250.0}, "did you mean 250 nm"),
        ({"collection": 400.0 * 1e3}, "collection"),
        ({"gain": 0.0}, "counts per photon"),
        ({"quantity": "colour"}, 'choose "intensity" or "lifetime"'),
        ({"photons": VALUES}, "photons given beside intensities"),
        ({"quantity": "lifetime"}, "lifetimes without an uncertainty"),
        ({"quantity": "lifetime", "photons": VALUES - VALUES.min()}, "found from no photon.*mask"),
        ({"quantity": "lifetime", "photons": -VALUES}, "negative or not finite"),
        ({"quantity": "lifetime", "photons": VALUES, "gain": 2.0}, "a lifetime has none"),
        ({"quantity": "lifetime", "photons": VALUES, "values": VALUES - VALUES.min()}, "lifetimes are zero"),
    ],
)
def test_impossible_scans_are_refused(change, said):
    """FAULTS rows 1, 3, 5, 8, 9."""
    good = RasterScan(values=VALUES, step=0.2, file="a.csv")
    with pytest.raises(InputError, match=f"a.csv.*{said}"):
        replace(good, **change)


def test_the_same_number_everywhere_is_remarked():
    assert "was it measured?" in RasterScan(values=np.full((3, 3), 7), step=0.2).notes[-1]


# Tables
# ------


def test_a_list_of_places_in_any_order(tmp_path):
    scan = read_raster_scan(listed(tmp_path), collection_fwhm="400 nm")
    np.testing.assert_array_equal(scan.values, VALUES)
    np.testing.assert_allclose(scan.spacing, (0.3, 0.2))
    assert (scan.collection, scan.uncertainty, scan.quantity) == (0.4, None, "intensity")
    said = " | ".join(scan.notes)
    assert "y: 10 µm to 10.9 µm, 4 values in steps of 0.3 µm, from column 'y_um' of scan.csv" in said
    assert "intensity in column 'counts'" in said
    assert "whole numbers: taken for photons" in said


def test_columns_of_errors_and_lifetimes(tmp_path):
    """Lifetimes in ps beside their error in ns, and the photons they were found from; intensities with an error."""
    path = listed(
        tmp_path, "X (um),Y (um),lifetime_ps,lifetime_error_ns,counts", 1e3 * LIFETIMES, LIFETIMES / 9, VALUES
    )
    scan = read_raster_scan(path, quantity="lifetime")
    np.testing.assert_allclose(scan.values, LIFETIMES, rtol=1e-6)
    np.testing.assert_allclose(scan.uncertainty, LIFETIMES / 9, rtol=1e-6)
    np.testing.assert_array_equal(scan.photons, VALUES)
    counts = read_raster_scan(path)
    np.testing.assert_array_equal(counts.values, VALUES)
    assert counts.uncertainty is None
    path = listed(tmp_path, "x_um,y_um,signal,error", VALUES - 50.5, LIFETIMES)
    scan = read_raster_scan(path)
    np.testing.assert_allclose(scan.uncertainty, LIFETIMES, rtol=1e-6)
    assert (scan.values < 0).any()
    assert (read_raster_scan(path, uncertainty=2).uncertainty == 2).all()
    path = listed(tmp_path, "x_um,y_um,first,second,error", VALUES, 2 * VALUES, LIFETIMES)
    with pytest.raises(InputError, match="2 of its columns"):
        read_raster_scan(path)
    np.testing.assert_array_equal(read_raster_scan(path, column="second").values, 2 * VALUES)


@pytest.mark.parametrize("corner", ["y_um\\x_um", "x_um\\y_um", "y (nm)|x (µm)"])
def test_a_matrix_with_its_axes(tmp_path, corner):
    """Either axis may run down the rows, and fall."""
    down, across, values = (Y, X, VALUES) if corner.startswith("y") else (X, Y, VALUES.T)
    path = matrix(tmp_path, corner, (1e3 if "nm" in corner else 1) * down[::-1], across, values[::-1])
    scan = read_raster_scan(path)
    np.testing.assert_array_equal(scan.values, VALUES)
    np.testing.assert_allclose(scan.spacing, (0.3, 0.2))


def test_a_matrix_of_lifetimes_needs_unit_and_error(tmp_path):
    path = matrix(tmp_path, "y_um\\x_um", Y, X, 1e3 * LIFETIMES)
    given = {"quantity": "lifetime", "photons": VALUES}
    with pytest.raises(InputError, match="its times have no unit"):
        read_raster_scan(path, **given)
    scan = read_raster_scan(path, **given, time_unit="ps")
    np.testing.assert_allclose(scan.values, LIFETIMES, rtol=1e-6)
    np.testing.assert_allclose(scan.uncertainty, LIFETIMES / np.sqrt(VALUES), rtol=1e-6)
    with pytest.raises(InputError, match=r"no whole ones.*give the gain"):
        read_raster_scan(path)
    assert read_raster_scan(path, gain=20).signal[0, 0] == pytest.approx(50 * LIFETIMES[0, 0], rel=1e-6)


@pytest.mark.parametrize(
    ("header", "columns", "keep", "options", "said"),
    [
        ("x,y,counts", (), slice(None), {}, "no unit of length"),
        ("x_um,y_ns,counts", (), slice(None), {}, "no unit of length"),
        ("x_um,y_um,counts", (), slice(1, None), {}, "19 places do not fill a lattice of 4 × 5"),
        ("x_um,y_um,counts", (), [*range(20), 3], {}, "comes 2 times"),
        ("x_um,y_um,counts", (), slice(None), {"step": "100 nm"}, "the step given is 0.1 µm; leave the step out"),
        ("x_um,y_um,counts", (), slice(None), {"quantity": "lifetime"}, "none of its columns"),
        ("x_um,y_um,tau_ns", (), slice(None), {}, "none of its columns"),
        ("x_um,y_um,counts", (), slice(None), {"column": "light"}, "there is no column 'light'"),
        ("x_um,y_um,counts", (), slice(None), {"uncertainty": "much"}, "no such file"),
        ("x_um,y_um,counts", (), slice(None), {"uncertainty": np.ones(7)}, r"the uncertainty \(7,\)"),
        ("x_um,y_um,counts", (), slice(None), {"quantity": "colour"}, "choose"),
        ("x_um,y_um,counts", (), slice(None), {"channel": 1}, "is for a photon counter's file"),
        ("x_um,y_um,a_error,b_sigma,c", (VALUES,) * 3, slice(None), {}, "several columns are uncertainties"),
    ],
)
def test_faulty_tables_are_refused(tmp_path, monkeypatch, header, columns, keep, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        read_raster_scan(listed(tmp_path, header, *columns, keep=keep), **options)


def test_a_list_that_was_cut_off_never_passes_for_the_whole(tmp_path):
    """Cut after any number of lines of a random order; of whole rows in order a part is a scan, too, only smaller."""
    for kept in range(20):
        with pytest.raises(InputError, match=r"scan\.csv"):
            read_raster_scan(listed(tmp_path, keep=slice(kept)))


def test_uneven_places_are_refused_and_rounded_ones_are_not(tmp_path):
    y, x = (grid.ravel() for grid in np.meshgrid(np.arange(4), np.arange(5), indexing="ij"))
    for size, fine in ((0.004, True), (0.1, False)):
        moved = (x + size * (x == 2)) / 3
        rows = "\n".join(f"{a:.3f},{b},{c}" for a, b, c in zip(moved, y, VALUES.ravel(), strict=True))
        (tmp_path / "scan.csv").write_text(f"x_um,y_um,counts\n{rows}\n")
        if fine:
            assert read_raster_scan(tmp_path / "scan.csv").spacing == pytest.approx((1, 1 / 3), rel=1e-3)
        else:
            with pytest.raises(InputError, match=r"along x are not even: 0.7 µm lies 0.0335 µm beside"):
                read_raster_scan(tmp_path / "scan.csv")


def test_masks_and_numbers_that_are_missing(tmp_path):
    values = VALUES.astype(float)
    values[2, 1] = np.nan
    path = listed(tmp_path, "x_um,y_um,counts", values)
    with pytest.raises(InputError, match=r"1 numbers that are not finite, the first at \[row, column\] = \[2, 1\]"):
        read_raster_scan(path)
    scan = read_raster_scan(path, mask_nonfinite=True)
    assert np.argwhere(~scan.mask).tolist() == [[2, 1]]
    assert "1 positions that are not finite masked" in scan.notes
    mask = np.isfinite(values)
    np.testing.assert_array_equal(read_raster_scan(path, mask=mask).mask, mask)
    other = matrix(tmp_path, "y_um\\x_um", Y, X, mask)
    np.testing.assert_array_equal(read_raster_scan(path, mask=other).mask, mask)
    other = matrix(tmp_path, "y_um\\x_um", Y + 0.3, X, mask)
    with pytest.raises(InputError, match=r"its places are not those of scan.csv"):
        read_raster_scan(path, mask=other)


# Images and arrays
# -----------------


def test_an_image_and_where_its_step_comes_from(tmp_path):
    """As of images: the file's tags, the person's over them with a note, and never a guess."""
    path = tmp_path / "scan.tif"
    pixels = {"imagej": True, "resolution": (5, 4), "metadata": {"unit": "um"}}
    tifffile.imwrite(path, VALUES.astype(np.uint16), **pixels)
    scan = read_raster_scan(path)
    np.testing.assert_array_equal(scan.values, VALUES)
    assert scan.spacing == pytest.approx((0.25, 0.2))
    assert scan.notes[0] == "steps of 0.2 µm in x, 0.25 µm in y, from ImageJ tag of scan.tif"
    scan = read_raster_scan(path, step="0.3 um, 200 nm")
    assert scan.spacing == pytest.approx((0.3, 0.2))
    assert "the given step, 0.2 µm in x, 0.3 µm in y, is used, though the ImageJ tag" in " | ".join(scan.notes)
    tifffile.imwrite(path, VALUES.astype(np.uint16), **(pixels | {"resolution": (250, 250)}),
                     resolutionunit="CENTIMETER")  # fmt: skip
    with pytest.raises(InputError, match=r'tags disagree.*give the right one, as in step="200 nm"'):
        read_raster_scan(path)
    np.save(tmp_path / "scan.npy", VALUES)
    with pytest.raises(InputError, match="the step is not known"):
        read_raster_scan(tmp_path / "scan.npy")
    assert read_raster_scan(tmp_path / "scan.npy", step=0.2).spacing == (0.2, 0.2)
    np.save(tmp_path / "scan.npy", np.stack([VALUES, VALUES]))
    with pytest.raises(InputError, match="holds 2 frames; a scan has one number"):
        read_raster_scan(tmp_path / "scan.npy", step=0.2)


def test_an_array_with_axes_is_turned(tmp_path):
    """Any order, falling or rising, and what goes with it likewise."""
    error = np.sqrt(VALUES)
    path = with_axes(tmp_path / "a.nc", VALUES.T[::-1], x=(1e3 * X[::-1], "nm"), y=(Y, "um"))
    np.save(tmp_path / "error.npy", error.T[::-1])
    for given in (error.T[::-1], tmp_path / "error.npy"):
        scan = read_raster_scan(path, uncertainty=given)
        np.testing.assert_array_equal(scan.values, VALUES)
        np.testing.assert_array_equal(scan.uncertainty, error)
        np.testing.assert_allclose(scan.spacing, (0.3, 0.2))
    other = with_axes(tmp_path / "b.nc", error, y=(Y, "um"), x=(X, "um"))
    np.testing.assert_array_equal(read_raster_scan(path, uncertainty=other).uncertainty, error)
    with pytest.raises(InputError, match="is no place"):
        read_raster_scan(with_axes(tmp_path / "c.nc", VALUES, y=(Y, "um"), wavelength=(500 + X, "nm")))


def test_a_scan_of_a_photon_counter(tmp_path):
    """Three frames of 4 × 5 pixels, two detectors, written by the library: the sum of what each pixel counted."""
    ptufile = pytest.importorskip("ptufile")
    image = np.random.default_rng(4).poisson(0.2, (3, 4, 5, 2, 200)).astype(np.uint8)
    path = tmp_path / "scan.ptu"
    with ptufile.PtuWriter(path, image.shape, 25e-9, 25e-12, 1e-3, pixel_resolution=0.2) as writer:
        writer.write(image)
    for channel in (0, 1):
        scan = read_raster_scan(path, channel=channel)
        np.testing.assert_array_equal(scan.values, image.sum((0, 4))[..., channel])
    assert scan.spacing == pytest.approx((0.2, 0.2))
    assert "photons of channel 1 in every pixel, 3 frames added up" in scan.notes
    with pytest.raises(InputError, match="channels 0, 1 have photons; say which"):
        read_raster_scan(path)
    with pytest.raises(InputError, match="channel 5 has no photons"):
        read_raster_scan(path, channel=5)
    with pytest.raises(InputError, match="mean ages of its own photons; leave time_unit out"):
        read_raster_scan(path, channel=1, quantity="lifetime", time_unit="ns")
    with pytest.raises(InputError, match=r"only lifetimes of a \.ptu are found from photons; leave pulse_time out"):
        read_raster_scan(path, channel=1, pulse_time="2 ns")
    whole = path.read_bytes()
    for kept in np.linspace(50, len(whole) - 1, 12).astype(int).tolist():
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"scan\.ptu"):
            read_raster_scan(path, channel=1)
    place = whole.index(b"ImgHdr_Frame") + 40
    path.write_bytes(whole[:place] + b"\xff" * 7 + b"\0" + whole[place + 8 :])  # a marker that would take for ever
    for read in (read_raster_scan, read_decay):
        with pytest.raises(InputError, match="damaged: its header has ImgHdr_Frame"):
            read(path)
    with pytest.raises(InputError, match="not those of an image"):
        read_raster_scan(write_ptu(tmp_path / "film.ptu", {1: COUNTS}, width=WIDTH, period=PERIOD), step=0.2)


BINS, STEP, TIRF = 1000, 0.025, 3.0  # of delays, ns; where the response of a counter has its mean, ns


def shot(lifetimes: np.ndarray, photons: float, dark: float, seed: int) -> np.ndarray:
    """(1, y, x, 1, H): photons of pixels that decay exponentially, through a Gaussian response of σ = 0.1 ns, period
    25 ns, with what comes at all times."""
    random, shape = np.random.default_rng(seed), lifetimes.shape
    found = np.zeros((*shape, BINS), np.uint8)
    for place in np.ndindex(shape):
        count = random.poisson(photons)
        late = TIRF + 0.1 * random.standard_normal(count) + random.exponential(lifetimes[place], count)
        late = np.append(late, random.uniform(0, BINS * STEP, random.poisson(dark)))
        found[place] = np.bincount((np.mod(late, BINS * STEP) / STEP).astype(int), minlength=BINS)
    return found[None, :, :, None]


def test_ages_of_the_photons_of_a_counter(tmp_path):
    """Pixels of 2 and of 3 ns: pulls of all mean ages by their errors scatter by 1 (of 96: ± 0.22, three errors), and
    have a mean of 0 (± 0.31): with a response, with the time of the pulse, and with dark counts taken off."""
    ptufile = pytest.importorskip("ptufile")
    lifetimes = np.where(np.arange(12) < 6, 2.0, 3.0) * np.ones((8, 1))

    def written(name: str, image: np.ndarray) -> Path:
        with ptufile.PtuWriter(tmp_path / name, image.shape, 25e-9, 25e-12, 1e-3, pixel_resolution=0.2) as writer:
            writer.write(image)
        return tmp_path / name

    flash = np.exp(-0.5 * ((np.arange(BINS) + 0.5) * STEP - TIRF) ** 2 / 0.1**2)
    rows = [f"{(i + 0.5) * STEP:.4f},{round(1e4 * n)}" for i, n in enumerate(flash)]
    irf = tmp_path / "irf.csv"
    irf.write_text("\n".join(["time_ns,counts", *rows]) + "\n")
    for said, dark, seed in (({"irf": irf}, 0.0, 1), ({"pulse_time": "3 ns"}, 0.0, 2), ({"irf": irf}, 20.0, 3)):
        path = written(f"{seed}.ptu", shot(lifetimes, 300.0, dark, seed))
        scan = read_raster_scan(path, quantity="lifetime", **said, **({"dark": dark} if dark else {}))
        pulls = (scan.values - lifetimes) / scan.uncertainty
        assert scan.mask.all()
        assert abs(pulls.std() - 1) < 0.22, said
        assert abs(pulls.mean()) < 0.31, said
        assert np.median(scan.uncertainty) < (0.24 if dark else 0.16)  # 2.5 ns/√300 = 0.144
        assert not any("at all times" in note for note in scan.notes)
        assert np.all(scan.photons >= 200)
    found = read_raster_scan(path, quantity="lifetime", irf=irf)
    assert "may be up to" in found.doubts[0]
    assert (found.values - lifetimes).mean() > 0.3
    rises = read_raster_scan(tmp_path / "1.ptu", quantity="lifetime")
    assert "the pulse is taken to be where the light rises" in rises.doubts[0]
    assert abs((rises.values - lifetimes).mean()) < 0.1  # half a response's width
    with pytest.raises(InputError, match="both irf and pulse_time"):
        read_raster_scan(path, quantity="lifetime", irf=irf, pulse_time=3.0)
    with pytest.raises(InputError, match="dark = -1"):
        read_raster_scan(path, quantity="lifetime", dark=-1.0)
    faint = read_raster_scan(written("faint.ptu", shot(lifetimes, 4.0, 0.0, 5)), quantity="lifetime", pulse_time=3.0)
    assert 10 < np.count_nonzero(~faint.mask) < 50
    assert any("positions masked" in note for note in faint.doubts)


def test_info_tells_a_scan_by_its_header(tmp_path, capsys):
    assert cli.main(["info", str(listed(tmp_path)), str(matrix(tmp_path, "y_um\\x_um", Y, X, VALUES))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("a raster scan") == 2
    assert "4 rows × 5 columns, 0.2 µm in x, 0.3 µm in y apart" in said
    assert f"{VALUES.sum()} in all" in said
    assert cli.main(["info", str(listed(tmp_path, keep=slice(1, None)))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no raster scan" in said
    assert "19 rows × 3 columns" in said
    (tmp_path / "places.csv").write_text("x_um,y_um\n0,0\n1,0\n0,1\n")
    assert cli.main(["info", str(tmp_path / "places.csv")]) == 0
    assert "raster scan" not in capsys.readouterr().out
