"""Files that are torn, lie or bite: FAULTS rows 25, 26 and 27. Each gives an `InputError` in good time, or an image."""

import io
import logging
import pickle
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.readers import describe, read_images, read_map
from excidiff.solver.solution import InputError

COUNTS = np.random.default_rng(3).poisson(2 + 50 * np.exp(-((np.arange(20) - 10) ** 2) / 20) * np.ones((16, 1)))


def refused(path: Path | str, words: str, **options: int) -> str:
    with pytest.raises(InputError, match=words) as caught:
        read_images(path, **options)  # type: ignore[arg-type]
    assert Path(str(path).removesuffix(":/image")).name in str(caught.value)
    return str(caught.value)


def attempt(path: Path, **options: int) -> list[Image] | str:
    """Read and describe a file; return its images, or the message that refuses it."""
    try:
        images = read_images(path, **options)  # type: ignore[arg-type]
        describe(path, **options)
    except InputError as error:
        return str(error)
    return images


def patch_tag(data: bytearray, tag: int, value: int) -> None:
    """Write `value` over the (32-bit, single) value of a tag in the first directory of a little-endian TIFF."""
    first = struct.unpack("<I", data[4:8])[0]
    for entry in range(first + 2, first + 2 + 12 * struct.unpack("<H", data[first : first + 2])[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<HII", data, entry + 2, 4, 1, value)


def in_chunks(path: Path, **options: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=COUNTS, **options)
    return path


def as_text(path: Path) -> Path:
    np.savetxt(path, COUNTS, delimiter=",", fmt="%d", header="pixel size: 40 nm")
    return path


def as_npz(path: Path) -> Path:
    np.savez_compressed(path, image=COUNTS)
    return path


def as_npy(path: Path) -> Path:
    np.save(path, COUNTS)
    return path


def as_tiff(path: Path, **options: object) -> Path:
    tifffile.imwrite(path, COUNTS.astype(np.uint16), **options)  # type: ignore[arg-type]
    return path


VALID = {
    "imagej.tif": lambda p: as_tiff(p, imagej=True, resolution=(25, 25), metadata={"unit": "um"}),
    "ome.ome.tif": lambda p: as_tiff(p, ome=True, metadata={"PhysicalSizeX": 0.04, "PhysicalSizeY": 0.04}),
    "deflated.tif": lambda p: as_tiff(p, compression="zlib", rowsperstrip=4),
    "tiled.tif": lambda p: as_tiff(p, compression="lzma", tile=(16, 16), bigtiff=True),
    "image.npy": as_npy,
    "image.npz": as_npz,
    "plain.h5": in_chunks,
    "packed.h5": lambda p: in_chunks(p, chunks=(8, 8), compression="gzip", shuffle=True, fletcher32=True),
    "image.csv": as_text,
}


# Row 25: torn and corrupt files.


@pytest.mark.parametrize("name", VALID)
def test_truncated_files_are_refused(name: str, tmp_path: Path) -> None:
    """Cut anywhere, a file never passes for the whole image; a table cut between two lines is whole, but shorter."""
    whole = VALID[name](tmp_path / name).read_bytes()
    assert np.array_equal(read_images(tmp_path / name)[0].counts, COUNTS)
    for kept in [0, 1, 3, 4, 7, 8, 12, 16, 40, *np.linspace(60, len(whole) - 1, 25).astype(int).tolist()]:
        (tmp_path / name).write_bytes(whole[:kept])
        result = attempt(tmp_path / name)
        if isinstance(result, str):
            assert name in result, kept
        else:
            assert name.endswith(".csv") or np.array_equal(result[0].counts, COUNTS), kept
            assert result[0].shape[1] == COUNTS.shape[1], kept


@pytest.mark.parametrize("name", VALID)
def test_flipped_bytes_never_break_out(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """120 copies with one to eight bytes changed: an image or an InputError, within seconds, and no warning."""
    caplog.set_level(logging.CRITICAL)
    whole = np.frombuffer(VALID[name](tmp_path / name).read_bytes(), np.uint8)
    random = np.random.default_rng(25)
    refusals = 0
    for _ in range(120):
        torn = whole.copy()
        head = random.random() < 0.5  # half of the hits go where the headers are
        places = random.integers(0, min(600, len(whole)) if head else len(whole), random.integers(1, 9))
        torn[places] = random.integers(0, 256, places.size)
        (tmp_path / name).write_bytes(torn.tobytes())
        began = time.perf_counter()
        result = attempt(tmp_path / name, max_pixels=2**22)
        refusals += isinstance(result, str)
        assert result
        assert time.perf_counter() - began < 20
    assert refusals > 5


def test_the_message_says_what_to_do(tmp_path: Path) -> None:
    path = VALID["imagej.tif"](tmp_path / "spot.tif")
    path.write_bytes(path.read_bytes()[:-100])
    message = refused(path, "truncated")
    assert "the file ends at" in message
    assert "copy it again" in message
    path = as_npy(tmp_path / "image.npy")
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "truncated: it should hold 2560 bytes of data and has 2460")
    refused(tmp_path / "none.tif", "no such file")
    refused(tmp_path, "a folder")


def test_a_chain_of_pages_that_bites_its_tail(tmp_path: Path) -> None:
    path = as_tiff(tmp_path / "ring.tif")
    data = bytearray(path.read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    entries = struct.unpack("<H", data[first : first + 2])[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    path.write_bytes(data)
    refused(path, "list of pages is endless")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 4}])
def test_a_header_that_claims_more_rows_than_there_are(options: dict[str, object], tmp_path: Path) -> None:
    """tifffile fills what is missing with zeros, which would pass for darkness."""
    path = as_tiff(tmp_path / "tall.tif", **options)
    data = bytearray(path.read_bytes())
    patch_tag(data, 257, 40)
    path.write_bytes(bytes(data) + bytes(5000))
    refused(path, "damaged: an image of 40 × 20 pixels needs|damaged: a piece of 1600 bytes")


def test_compressions_that_need_more(tmp_path: Path) -> None:
    """JPEG 2000 takes a package that excidiff does not ask for; with it, these bytes are a damaged JPEG 2000."""
    path = as_tiff(tmp_path / "spot.tif", compression="zlib")
    data = bytearray(path.read_bytes())
    patch_tag(data, 259, 34712)
    path.write_bytes(data)
    refused(path, r"pip install imagecodecs|damaged")


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for text, words in {
        "1,2,3\n4,5\n": "line 2 has 2 numbers, the ones before have 3",
        "1,2,3\n4,five,6\n": "line 2 holds something that is no number",
        "no numbers here\n": "no table of numbers",
        "1,2\0,3\n": "no text file",
        ",0,1\n0,5,6\n": "first row and column are axes",
        "nm\\\\um,500,501\n0,5,6\n": "first row and column are axes",
        "7,8,9\n1,,3\n" * 10: r"10 pixels are not finite, at .* \[1, 1\]",
    }.items():
        path.write_text(text)
        refused(path, words)


@pytest.mark.parametrize(
    ("head", "words"), [(b"\x89PNG\r\n", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"CDF\x01", "NetCDF")]
)
def test_other_formats_are_named(head: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "spot.tif"
    path.write_bytes(head + bytes(100))
    assert "TIFF" in refused(path, words)


def test_colour_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "screen.tif"
    tifffile.imwrite(path, np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    assert "greyscale" in refused(path, r"colour image \(RGB\)")


# Row 26: headers that claim the sky, and small files that unpack into large ones.


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_huge_claims_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """Memory taken on the way stays below 64 MB, where the claims are of 8 TB."""
    (tmp_path / "huge.npy").write_bytes(npy_header((1000_000, 1000_000)) + bytes(64))
    with zipfile.ZipFile(tmp_path / "huge.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", npy_header((1000_000, 1000_000)) + bytes(10_000_000))
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("image", shape=(1000_000, 1000_000), dtype="f8", chunks=(100, 100))
    tiff = bytearray(as_tiff(tmp_path / "huge.tif").read_bytes())
    patch_tag(tiff, 256, 1000_000)
    patch_tag(tiff, 257, 1000_000)
    (tmp_path / "huge.tif").write_bytes(tiff)
    tracemalloc.start()
    for name in ("huge.npy", "huge.npz", "huge.h5", "huge.tif"):
        assert "raise max_pixels" in refused(tmp_path / name, "header claims 1000000 × 1000000 values")
    assert tracemalloc.get_traced_memory()[1] < 64e6
    tracemalloc.stop()


def test_the_cap_can_be_raised_and_lowered(tmp_path: Path) -> None:
    path = as_npy(tmp_path / "image.npy")
    refused(path, "more than the 100 allowed", max_pixels=100)
    assert len(read_images(path, max_pixels=COUNTS.size)) == 1


def test_a_deflate_bomb_in_tiff(tmp_path: Path) -> None:
    """A strip of 640 bytes whose data unpack to 40 MB."""
    path = as_tiff(tmp_path / "bomb.tif", compression="zlib")
    bomb = zlib.compress(bytes(40_000_000), 9)
    data = bytearray(path.read_bytes())
    patch_tag(data, 273, len(data))
    patch_tag(data, 279, len(bomb))
    path.write_bytes(bytes(data) + bomb)
    tracemalloc.start()
    refused(path, "a piece of 640 bytes, by its header, has or unpacks to 641 or more")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_deflate_bomb_in_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        data = file.create_dataset("image", shape=(64, 64), dtype="u2", chunks=(64, 64), compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(4_000_000), 9))
    refused(tmp_path / "bomb.h5", "unpack to more than its header says")


# Row 27: files that run code, or reach for other files.


def test_pickles_are_refused(tmp_path: Path) -> None:
    """The pickle would leave a trace if it were ever loaded."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    np.save(tmp_path / "trap.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "trap.npz", image=np.array([[Trap()]], dtype=object))
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Trap()))
    refused(tmp_path / "trap.npy", "pickled Python objects")
    refused(tmp_path / "trap.npz", "pickled Python objects")
    refused(tmp_path / "bare.npy", "no text file")
    assert not (tmp_path / "sprung").exists()


def test_hdf5_that_reaches_for_other_files(tmp_path: Path) -> None:
    in_chunks(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["image"] = h5py.ExternalLink("secret.h5", "/image")
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "/")
        file["image"] = h5py.SoftLink("/out/image")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(COUNTS.shape, int)
        layout[:] = h5py.VirtualSource("secret.h5", "image", COUNTS.shape)
        file.create_virtual_dataset("image", layout)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("image", (4, 4), "u1", external=[(str(tmp_path / "secret.h5"), 0, 16)])
    assert "copy the data" in refused(tmp_path / "link.h5", "links to other files")
    refused(f"{tmp_path / 'link.h5'}:/image", "link to another file")
    refused(tmp_path / "soft.h5", "links to other files")
    refused(f"{tmp_path / 'soft.h5'}:/image", "no image called|links to other files")
    refused(tmp_path / "virtual.h5", "virtual or external storage")
    refused(tmp_path / "external.h5", "virtual or external storage")


def test_hdf5_groups_that_contain_themselves(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "ring.h5", "w") as file:
        file["image"] = COUNTS
        file.create_group("a")["back"] = file["/"]
    assert read_map(tmp_path / "ring.h5").values.shape == COUNTS.shape
