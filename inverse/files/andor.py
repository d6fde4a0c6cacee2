"""Andor's camera files (.sif): frames with the time of each, and of spectra their wavelengths.

The header's lines are told apart by the version that wrote them (M. Leutenegger's MATLAB script sifread, MATLAB Central
File Exchange 11224); sif_parser reads them. The wavelength of pixel p, from 1 on, is c₀ + c₁p + c₂p² + c₃p³ (nm) with
the calibration of the header; 0, 1, 0, 0 means that there is none.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.axes import Axis, Labelled, make_axis, numbered_axis
from excidiff.inverse.files.extras import faults_reported, needed
from excidiff.inverse.files.raster import MAX_PIXELS, check_size

MAGIC = b"Andor Technology"
HEADER_READS = 200_000  # single characters that a header may take: the whole of it has a few thousand


def read_sif(path: Path, *, max_pixels: int = MAX_PIXELS) -> Labelled:
    """Read the frames (time, row, column) of a .sif file. Rows are in the file's order, the lowest of the chip first.

    Raises InputError for damaged and truncated files.
    """
    name = path.name
    library = needed("sif_parser", name, "excidiff[io]")
    with faults_reported(name, "Andor .sif", "sif_parser"), _Complete(path) as stream:
        mapped, header = library.np_open(stream, lazy="memmap")
        check_size(mapped.shape, mapped.dtype.itemsize, name, max_pixels)
        values = np.array(mapped)
        frames, rows, columns = values.shape
        numbered = f"their number, {name} has no scale"
        last, notes = _column_axis(header, columns, name)
        axes = (_frame_axis(header, frames, name), numbered_axis(rows, "y", numbered, place=1), last)
        return Labelled(values, axes, "Andor .sif", str(path), notes=notes)


def _frame_axis(header: dict[str, Any], frames: int, name: str) -> Axis:
    stamps = np.array([float(header[f"timestamp_of_{frame}"]) for frame in range(frames)])
    turns = np.concatenate([[0.0], np.cumsum(np.diff(stamps) < 0)])  # the clock has 32 bits, of 1 µs
    return make_axis("Time", "us", stamps + turns * 2.0**32, f"the time stamps of {name}")


def _column_axis(header: dict[str, Any], columns: int, name: str) -> tuple[Axis, tuple[str, ...]]:
    numbers = numbered_axis(columns, "x", f"their number, {name} has no calibration", place=2)
    written = header.get("Calibration_data") or header.get("Calibration_data_for_frame_1") or []
    if len(written) < 2 or (list(written[:2]) == [0.0, 1.0] and not any(written[2:])):
        return numbers, ()
    binned, chip = int(header["xbin"]), int(header["DetectorDimensions"][0])
    if binned != 1 or columns != chip:
        part = f"{columns} columns, binned by {binned}, of a chip of {chip}"
        return numbers, (f"{part}: its calibration in nm counts other pixels, and is not used",)
    values = np.polynomial.polynomial.polyval(np.arange(1, columns + 1), written)
    return make_axis("Wavelength", "nm", values, f"the calibration of {name}", place=2), ()


class _Complete(io.BufferedReader):
    """A file that says when it ends before it should: the library would wait for the rest of a line for ever."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size, self._reads = path.stat().st_size, 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > HEADER_READS:
            raise EOFError("its header does not end")
        if size is not None and size > self._size - self.tell():
            raise EOFError("it ends within its header")
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(-1 if size is None else size)
        if not line:
            raise EOFError("it ends within its header")
        return line
