"""Instruments' files that are torn, corrupt or lie: FAULTS rows 25, 26 and 27. Each gives an InputError."""

import json
import logging
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from excidiff.inverse.files.decays import read_decay
from excidiff.inverse.files.labelled import read_labelled
from excidiff.inverse.files.readers import describe
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
    write_ptu,
    write_sdt,
    write_sif,
)

ptufile = pytest.importorskip("ptufile")
sdtfile = pytest.importorskip("sdtfile")
sif_parser = pytest.importorskip("sif_parser")
zarr = pytest.importorskip("zarr")


def attempt(path: Path) -> np.ndarray | str:
    """Read and describe a file: its numbers, or the message that refuses it."""
    try:
        describe(path)
        return read_decay(path).counts if path.suffix in (".ptu", ".phu", ".sdt") else read_labelled(path).values
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", FILES)
def test_truncated_files_are_refused(name: str, tmp_path: Path):
    """Cut anywhere, a file never passes for the whole, nor does a reader wait for what is missing."""
    file = FILES[name](tmp_path / name)
    whole, right = file.read_bytes(), attempt(file)
    assert isinstance(right, np.ndarray)
    for kept in [1, 8, 16, 40, *np.linspace(50, len(whole) - 1, 25).astype(int).tolist()]:
        file.write_bytes(whole[:kept])
        started, result = time.monotonic(), attempt(file)
        assert time.monotonic() - started < 5
        if isinstance(result, str):
            assert name in result, kept
        else:
            np.testing.assert_array_equal(result, right, err_msg=str(kept))


@pytest.mark.parametrize("name", FILES)
def test_flipped_bytes_never_break_out(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """60 copies with one to eight bytes changed, half of them in the header: numbers or an InputError, no word else."""
    caplog.set_level(logging.WARNING)
    file, random = FILES[name](tmp_path / name), np.random.default_rng(6)
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    for trial in range(60):
        bad = whole.copy()
        span = min(1200, bad.size) if trial % 2 else bad.size
        bad[random.integers(0, span, 1 + trial % 8)] = random.integers(0, 256, 1 + trial % 8)
        file.write_bytes(bad.tobytes())
        started = time.monotonic()
        attempt(file)
        assert time.monotonic() - started < 5
    assert [record for record in caplog.records if record.name in ("ptufile", "sdtfile")] == []


def test_headers_that_claim_too_much(tmp_path: Path):
    """FAULTS 26: refused before memory is taken."""
    ptu = write_ptu(tmp_path / "a.ptu", {1: COUNTS}, width=WIDTH, period=PERIOD)
    with pytest.raises(InputError, match="more than the 1,000 allowed"):
        read_decay(ptu, max_bins=1000)
    data = ptu.read_bytes()
    place = data.index(b"TTResult_NumberOfRecords") + 40
    ptu.write_bytes(data[:place] + (2**40).to_bytes(8, "little") + data[place + 8 :])
    with pytest.raises(InputError, match="truncated: its header speaks of 4398046511104 bytes"):
        read_decay(ptu)
    phu = write_phu(tmp_path / "a.phu", [COUNTS], width=WIDTH, period=PERIOD)
    data = phu.read_bytes()
    place = data.index(b"HistResDscr_HistogramBins") + 40
    phu.write_bytes(data[:place] + (2**40).to_bytes(8, "little") + data[place + 8 :])
    with pytest.raises(InputError, match="header claims 1099511627776 values"):
        read_decay(phu)
    with pytest.raises(InputError, match="damaged or truncated"):
        read_labelled(write_sif(tmp_path / "a.sif", FRAMES, claims=4))
    with pytest.raises(InputError, match="more than the 100 allowed"):
        read_labelled(write_sif(tmp_path / "a.sif", FRAMES), max_pixels=100)
    sdt = write_sdt(tmp_path / "a.sdt", [COUNTS[None]] * 3, window=20.0, period=PERIOD)
    with pytest.raises(InputError, match="more than the 2,000 allowed"):
        read_decay(sdt, column=1, max_bins=2000)
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        file.create_dataset("Experiments/a/data", shape=(2**20, 2**20), dtype="u2", chunks=(64, 64))
    with pytest.raises(InputError, match="header claims 1048576 × 1048576 values"):
        read_labelled(tmp_path / "a.hspy")


def test_links_to_other_files_are_not_followed(tmp_path: Path):
    """FAULTS 27."""
    write_hspy(tmp_path / "other.hspy", STREAK, STREAK_AXES)
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        file.create_group("Experiments/a")["data"] = h5py.ExternalLink("other.hspy", "/Experiments/signal/data")
    with pytest.raises(InputError, match="links to other files are not followed"):
        read_labelled(tmp_path / "a.hspy")


def test_a_chain_of_blocks_that_runs_in_a_circle(tmp_path: Path):
    file = write_sdt(tmp_path / "a.sdt", [COUNTS[None]] * 2, window=20.0, period=PERIOD)
    data = bytearray(file.read_bytes())
    first = int.from_bytes(data[14:18], "little")
    data[first + 6 : first + 10] = first.to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(InputError, match="points back"):
        read_decay(file, column=1)


def test_zarr_that_lies(tmp_path: Path):
    """Huge shapes, torn metadata and codecs that run code are refused; so is a torn chunk."""
    store = tmp_path / "a.zarr"
    zarr.create_array(store, shape=(2**20, 2**20), chunks=(64, 64), dtype="u2")
    with pytest.raises(InputError, match="header claims"):
        read_labelled(store)
    zarr.create_array(store, data=STREAK, chunks=(12, 20), zarr_format=2, overwrite=True)
    chunk = store / "0.0" if (store / "0.0").exists() else next(store.glob("*0*0*"))
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_labelled(store)
    header = json.loads((store / ".zarray").read_text())
    for codec, words in (("base64", "packed with base64"), ("pickle", "a.zarr: ")):
        (store / ".zarray").write_text(json.dumps(header | {"compressor": None, "filters": [{"id": codec}]}))
        with pytest.raises(InputError, match=words):
            read_labelled(store)
    (store / ".zarray").write_text('{"shape": [')
    with pytest.raises(InputError, match="damaged or truncated"):
        read_labelled(store)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("zarr.json", "no json")
    with pytest.raises(InputError, match="damaged or truncated"):
        read_labelled(tmp_path / "a.zip")


@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc", "lz4"])
def test_zarr_chunks_that_swell(tmp_path: Path, codec: str):
    """A chunk that unpacks to a thousand times what it should hold is refused by what it says of itself."""
    from numcodecs import LZ4, Blosc, GZip, Zstd

    packer = {"gzip": GZip, "zstd": Zstd, "blosc": Blosc, "lz4": LZ4}[codec]()
    store = tmp_path / "a.zarr"
    array = zarr.create_array(store, data=STREAK, chunks=STREAK.shape, zarr_format=2, compressors=packer)
    np.testing.assert_array_equal(read_labelled(store).values, STREAK)
    chunk = next(file for file in store.rglob("*") if file.is_file() and file.name[0] == "0")
    chunk.write_bytes(packer.encode(np.zeros(1000 * STREAK.nbytes, np.uint8)))
    with pytest.raises(InputError, match="unpacks to more than its header says"):
        read_labelled(store)
    assert array.ndim == 2
