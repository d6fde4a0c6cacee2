"""Files become images: every format, the pixel size with its origin; FAULTS rows 6, 7, 8 and 21 with their answers."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.readers import Unreadable, describe, read_batch, read_image, read_images, read_map
from excidiff.solver.solution import InputError


def spot(seed: int = 1) -> np.ndarray:
    """Poisson counts of a Gaussian spot, 24 rows × 32 columns."""
    y, x = np.mgrid[:24, :32]
    light = 2 + 200 * np.exp(-((x - 16) ** 2 + (y - 12) ** 2) / 30)
    return np.random.default_rng(seed).poisson(light).astype(np.uint16)


def imagej(path: Path, unit: str | None, per_unit: float | tuple[float, float], **tags: object) -> Path:
    resolution = per_unit if isinstance(per_unit, tuple) else (per_unit, per_unit)
    metadata = {"unit": unit} if unit else {}
    tifffile.imwrite(path, spot(), imagej=True, resolution=resolution, metadata=metadata, **tags)  # type: ignore[arg-type]
    return path


# Every format gives the same numbers.


def write_npz(path: Path) -> None:
    np.savez(path, image=spot(), pixel_size_nm=40.0)


def write_hdf(path: Path) -> None:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("entry/image", data=spot(), compression="gzip", shuffle=True)
        data.attrs["element_size_um"] = (1.0, 0.04, 0.04)
        file["alias"] = h5py.SoftLink("/entry/image")


def write_netcdf(path: Path) -> None:
    import xarray as xr

    axes = {"y": ("y", np.arange(24) * 40.0, {"units": "nm"}), "x": ("x", np.arange(32) * 40.0, {"units": "nm"})}
    xr.Dataset({"counts": (("y", "x"), spot())}, coords=axes).to_netcdf(path, engine="h5netcdf")


WRITERS = {
    "imagej.tif": lambda path: imagej(path, "um", 25),
    "big.tif": lambda path: tifffile.imwrite(
        path, spot(), bigtiff=True, resolution=(25e4, 25e4), resolutionunit="CENTIMETER", byteorder=">"
    ),
    "deflated.tif": lambda path: tifffile.imwrite(
        path, spot(), compression="zlib", rowsperstrip=5, resolution=(25e4, 25e4), resolutionunit="CENTIMETER"
    ),
    "tiled.tif": lambda path: tifffile.imwrite(
        path, spot(), tile=(16, 16), compression="lzma", resolution=(25e4, 25e4), resolutionunit="CENTIMETER"
    ),
    "image.ome.tif": lambda path: tifffile.imwrite(
        path,
        spot(),
        ome=True,
        metadata={"PhysicalSizeX": 40, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 40, "PhysicalSizeYUnit": "nm"},
    ),
    "image.npz": write_npz,
    "image.h5": write_hdf,
    "image.nc": write_netcdf,
    "comma.csv": lambda path: path.write_text(
        "# pixel size: 40 nm\n" + "\n".join(",".join(map(str, row)) for row in spot()) + "\n"
    ),
    "german.csv": lambda path: path.write_text(
        "Pixel size;0.04;µm\n".replace(";", " ") + "\r\n".join(";".join(f"{v},0" for v in row) for row in spot())
    ),
    "tabs.txt": lambda path: path.write_bytes(
        ("pixel_size = 0.04 um\n" + "\n".join("\t".join(map(str, row)) for row in spot())).encode("utf-16")
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_image(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    image = read_image(path)
    np.testing.assert_array_equal(image.counts, spot())
    assert image.spacing == pytest.approx((0.04, 0.04), rel=1e-9)
    assert image.pixel_size_origin.endswith(f" of {name}")
    assert image.file == str(path)
    assert image.sha256 is not None
    assert len(image.sha256) == 64
    lines = describe(path)
    assert lines["pixel size"] == "40 nm"
    assert lines["counts"] == f"{spot().min()} to {spot().max()}"
    assert lines["total"] == f"{spot().sum()}"


def test_npy_and_space_separated_state_no_pixel_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", spot().astype(">f4"))
    np.savetxt(tmp_path / "b.txt", spot(), header="x y z")
    for name in ("a.npy", "b.txt"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.counts, spot())
        with pytest.raises(InputError, match=rf"pixel size is not known \({name} states none\)"):
            _ = image.spacing


# The pixel size of a TIFF file.


@pytest.mark.parametrize(
    ("unit", "per_unit"),
    [("um", 25), ("micron", 25), ("\\u00B5m", 25), ("nm", 0.025), ("mm", 25_000), ("cm", 250_000), ("inch", 635_000)],
)
def test_imagej_units(unit: str, per_unit: float, tmp_path: Path) -> None:
    """TIFF keeps the resolution as a fraction of 32-bit numbers: 1e-6 covers its rounding."""
    image = read_image(imagej(tmp_path / "spot.tif", unit, per_unit))
    assert image.spacing == pytest.approx((0.04, 0.04), rel=1e-6)
    assert image.pixel_size_origin == "ImageJ tag of spot.tif"


@pytest.mark.parametrize(("unit", "per_unit"), [(None, 1), (None, 25), ("pixel", 25), ("inch", 72), ("furlong", 2)])
def test_nothing_is_assumed(unit: str | None, per_unit: float, tmp_path: Path) -> None:
    image = read_image(imagej(tmp_path / "spot.tif", unit, per_unit))
    assert image.pixel_size is None
    assert "spot.tif states none" in image.pixel_size_origin


@pytest.mark.parametrize("dpi", [72, 96, 300, 600])
def test_print_resolutions_are_no_pixel_sizes(dpi: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "spot.tif", spot(), resolution=(dpi, dpi), resolutionunit="INCH")
    assert read_image(tmp_path / "spot.tif").pixel_size is None
    assert "a print resolution" in str(describe(tmp_path / "spot.tif")["resolution tag"])


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    image = read_image(imagej(tmp_path / "spot.tif", "um", (25, 20)))
    assert image.spacing == pytest.approx((0.05, 0.04))
    assert "40 nm in x, 50 nm in y" in str(describe(tmp_path / "spot.tif")["pixel size"])


def test_of_tags_that_disagree_the_possible_one_is_used(tmp_path: Path) -> None:
    """25 pixels per µm, and by the resolution unit per cm: 400 µm is no microscope's pixel."""
    path = imagej(tmp_path / "spot.tif", "um", 25, resolutionunit="CENTIMETER")
    image = read_image(path)
    assert image.spacing == pytest.approx((0.04, 0.04))
    (note,) = image.notes
    assert "ImageJ tag says 40 nm" in note
    assert "resolution tag says 400 µm" in note or "resolution tag says 0.4 mm" in note


def test_tags_that_disagree_and_are_possible_are_refused(tmp_path: Path) -> None:
    path = imagej(tmp_path / "spot.tif", "um", 250, resolutionunit="CENTIMETER")  # 4 nm or 40 µm
    with pytest.raises(InputError, match=r"disagree.*ImageJ tag says 4 nm.*resolution tag says 40 µm.*--pixel-size"):
        read_image(path)
    assert "disagree" in str(describe(path)["pixel size from"])
    image = read_image(path, pixel_size="40 nm")
    assert image.pixel_size == (0.04, 0.04)
    assert "disagree" in image.notes[-1]


def test_an_impossible_tag_is_refused(tmp_path: Path) -> None:
    path = imagej(tmp_path / "spot.tif", "mm", 3)
    with pytest.raises(InputError, match="outside 1 nm to 100 µm, so its unit must have slipped"):
        read_image(path)


def test_the_given_pixel_size_wins(tmp_path: Path) -> None:
    path = imagej(tmp_path / "spot.tif", "um", 25)
    image = read_image(path, pixel_size="50 nm")
    assert image.pixel_size == (0.05, 0.05)
    assert image.pixel_size_origin == "given by hand"
    assert image.notes == ("the given pixel size, 50 nm, is used, though the ImageJ tag of spot.tif says 40 nm",)
    assert read_image(path, pixel_size=0.0402).notes == ()  # within 1 %
    assert read_image(path, pixel_size=(0.05, 0.04)).pixel_size == (0.05, 0.04)
    assert read_image(path, pixel_size="50 nm, 40 nm").pixel_size == (0.05, 0.04)
    assert "is large for a microscope" in read_image(path, pixel_size="40 um").notes[-1]
    for slip, words in {"40": "no unit", "400 um": "did you mean 400 nm", "1 nm, 2 nm, 3 nm": "neither"}.items():
        with pytest.raises(InputError, match=f"--pixel-size.*{words}"):
            read_image(path, pixel_size=slip)


# Stacks, regions, maps, cameras.


def test_stacks_give_one_image_per_frame(tmp_path: Path) -> None:
    frames = np.stack([spot(seed) for seed in range(6)])
    tifffile.imwrite(tmp_path / "plain.tif", frames)
    tifffile.imwrite(tmp_path / "hyper.tif", frames.reshape(3, 1, 2, 24, 32), imagej=True, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "ome.tif", frames.reshape(3, 2, 24, 32), ome=True, metadata={"axes": "TCYX"})
    tifffile.imwrite(tmp_path / "packed.tif", frames, compression="zlib", rowsperstrip=7, metadata=None)
    np.save(tmp_path / "frames.npy", frames)
    for name in ("plain.tif", "hyper.tif", "ome.tif", "packed.tif", "frames.npy"):
        images = read_images(tmp_path / name)
        np.testing.assert_array_equal([image.counts for image in images], frames)
        assert [image.frame for image in images] == list(range(6))
        np.testing.assert_array_equal(read_image(tmp_path / name, frame=4).counts, frames[4])
        with pytest.raises(InputError, match="holds 6 frames; say which"):
            read_image(tmp_path / name)
        with pytest.raises(InputError, match="no frame 6"):
            read_image(tmp_path / name, frame=6)
    assert describe(tmp_path / "hyper.tif")["frame axes"] == "T=0 C=0 … T=2 C=1"


def test_one_bad_image_harms_no_other(tmp_path: Path) -> None:
    """Row 21: a torn file, a clipped frame of a stack, a missing file; the others are read."""
    frames = np.stack([spot(seed) for seed in range(3)])
    frames[1] = np.minimum(frames[1].astype(int) * 20, 1023)
    tifffile.imwrite(tmp_path / "stack.tif", frames, photometric="minisblack")
    imagej(tmp_path / "good.tif", "um", 25)
    (tmp_path / "torn.tif").write_bytes((tmp_path / "good.tif").read_bytes()[:900])
    paths = [tmp_path / name for name in ("torn.tif", "good.tif", "stack.tif", "gone.tif")]
    results = read_batch(paths, pixel_size="40 nm")
    assert [type(result) for result in results] == [Unreadable, Image, Image, Unreadable, Image, Unreadable]
    reasons = [result.reason for result in results if isinstance(result, Unreadable)]
    assert "truncated" in reasons[0]
    assert "stack.tif frame 1: the peak is saturated" in reasons[1]
    assert "no such file" in reasons[2]
    with pytest.raises(InputError, match="frame 1: the peak"):
        read_images(tmp_path / "stack.tif")


def test_camera_maps_and_region(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "spot.tif", spot() + 100)
    np.save(tmp_path / "dark.npy", np.stack([np.full((24, 32), 99), np.full((24, 32), 101)]))
    mask = np.zeros((24, 32), np.uint8)
    mask[2:22, 3:30] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    image = read_image(
        tmp_path / "spot.tif",
        dark=tmp_path / "dark.npy",
        mask=tmp_path / "mask.tif",
        flat=np.full((24, 32), 3.0),
        region=(2, 32, 1, 24),
        gain=2,
        read_noise=1.5,
        excess_noise=2,
    )
    np.testing.assert_array_equal(image.photons, spot()[1:24, 2:32] / 2)
    assert image.mask.sum() == 20 * 27
    assert image.flat is not None
    assert np.all(image.flat == 1)
    assert (image.camera.gain_known, image.camera.read_noise, image.camera.excess_noise) == (True, 1.5, 2)
    assert not read_image(tmp_path / "spot.tif").camera.gain_known
    with pytest.raises(InputError, match="region"):
        read_image(tmp_path / "spot.tif", region=(0, 33, 0, 24))


def test_nonfinite_pixels_are_masked_if_asked(tmp_path: Path) -> None:
    counts = spot().astype(float)
    counts[3, 7] = np.nan
    np.save(tmp_path / "spot.npy", counts)
    with pytest.raises(InputError, match=r"1 pixels are not finite, at .* \[3, 7\]"):
        read_image(tmp_path / "spot.npy")
    image = read_image(tmp_path / "spot.npy", mask_nonfinite=True)
    assert np.argwhere(~image.mask).tolist() == [[3, 7]]
    assert image.notes == ("1 pixels that are not finite masked",)
    assert describe(tmp_path / "spot.npy")["not finite"] == "1 pixels"


def test_maps(tmp_path: Path) -> None:
    landscape = np.linspace(-30, 30, 12).reshape(3, 4)
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["U"] = landscape
        file["U"].attrs["pixel_size"] = "40 nm"
        file["other"] = np.zeros((2, 2))
    found = read_map(f"{tmp_path / 'u.h5'}:/U")
    np.testing.assert_array_equal(found.values, landscape)
    assert found.spacing == pytest.approx((0.04, 0.04))
    assert found.spacing_origin == "attribute pixel_size of u.h5"
    with pytest.raises(InputError, match=r"2 arrays that could be the image.*U 3×4.*u.h5:NAME"):
        read_map(tmp_path / "u.h5")
    with pytest.raises(InputError, match=r"no image called '/V'"):
        read_map(f"{tmp_path / 'u.h5'}:V")
    np.save(tmp_path / "two.npy", np.stack([landscape, landscape + 2]))
    np.testing.assert_allclose(read_map(tmp_path / "two.npy", average=True).values, landscape + 1)
    with pytest.raises(InputError, match="2 frames where one map is needed"):
        read_map(tmp_path / "two.npy")


def test_netcdf_packing_is_undone(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "packed.nc", "w") as file:
        data = file.create_dataset("counts", data=np.arange(24, dtype=np.int16).reshape(4, 6))
        data.attrs.update({"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": np.int16(23)})
    values = read_map(tmp_path / "packed.nc").values
    assert values[1, 2] == 14.0
    assert np.argwhere(np.isnan(values)).tolist() == [[3, 5]]


def test_the_measured_files(data: Path) -> None:
    image = read_image(data / "film_spots" / "spot_000.tif")
    assert image.spacing == pytest.approx((0.04, 0.04))
    assert image.pixel_size_origin == "ImageJ tag of spot_000.tif"
    assert image.notes == ()
    for path in sorted(data.glob("film_*/*.tif")):
        assert all(i.mask.all() for i in read_images(path)), path
    frames = read_images(data / "film_frames" / "frames.tif")
    assert len(frames) == 24
    assert frames[0].pixel_size is None
