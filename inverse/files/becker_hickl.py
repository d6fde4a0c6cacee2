"""Becker & Hickl's photon counters: the curves of .sdt files of SPCM.

A file header points to information, set-up, descriptions of measurements and a chain of data blocks, each with a header
of its own and perhaps zipped (SPC_data_file_structure.h of SPCM; W. Becker, The bh TCSPC Handbook, 9th ed., 2021);
sdtfile reads them. A bin lasts tac_r/(tac_g adc_re): the range of the time converter over its gain and number
of channels. The period is one over the mean of the lowest and highest sync rate that the measurement saw.
"""

import io
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.curves import DIFFERENT, Curve, counted_bins, possible_period
from excidiff.inverse.files.extras import faults_reported, needed
from excidiff.inverse.files.raster import MAX_PIXELS, check_size
from excidiff.solver.solution import InputError

HEADER = struct.Struct("<hihiHihIihhHIHH")  # of the file: where its parts lie
BLOCK = struct.Struct("<BBIIHhII")  # of a data block, from revision 15 on
OLD_BLOCK = struct.Struct("<hiiHhII")
ITEMS = {0x000: 2, 0x100: 4, 0x200: 8}  # bytes of a count, by block type
CURVES = ("DECAY_BLOCK", "PAGE_BLOCK", "IMG_BLOCK")  # blocks whose last axis is the time after a pulse
BEGINNING = b"*IDENTIFICATION"


def is_sdt(path: Path) -> bool:
    """Whether the file is one of SPCM's, by what its header points to."""
    with path.open("rb") as stream:
        head = stream.read(HEADER.size)
        if len(head) < HEADER.size:
            return False
        place = HEADER.unpack(head)[1]
        if not 0 < place < path.stat().st_size:
            return False
        stream.seek(place)
        return stream.read(len(BEGINNING)) == BEGINNING


def read_sdt(path: Path, *, max_values: int = MAX_PIXELS) -> list[Curve]:
    """The decays of an .sdt file, of which images are added up over their pixels. Raises InputError for damage."""
    name = path.name
    library = needed("sdtfile", name, "excidiff[io]")
    with faults_reported(name, "Becker & Hickl .sdt", "sdtfile") as said:
        _check_blocks(path, name, max_values)
        with path.open("rb") as stream:
            file = library.SdtFile(stream)
            found = [_block_curves(file, index, library, name) for index in range(len(file.data))]
    curves = [curve for block in found for curve in block if curve.counts.any()]
    if not curves:
        raise InputError(f"{name}: it has no curve with photons; export the curve as a table")
    others = sum(not block for block in found)
    notes = (*said, *([f"{others} of its blocks are no decays and were left out"] if others else []))
    return [
        replace(curve, number=number, notes=(f"counts of {curve.name}", *curve.notes, *notes))
        for number, curve in enumerate(curves, 1)
    ]


def _block_curves(file: Any, index: int, library: Any, name: str) -> list[Curve]:
    header, measured = file.block_headers[index], file.block_measure_info(index)
    kind = library.BlockType(int(header.block_type))
    if kind.contents not in CURVES:
        return []
    values = np.asarray(file.data[index], dtype=float)
    if values.size * kind.dtype.itemsize != int(header.block_length):
        raise ValueError(f"block {index} holds {values.size} counts, fewer than its header says")
    if values.ndim < 2 or not float(measured.tac_r) > 0 or not int(measured.tac_g) > 0:
        raise InputError(f"{name}: the header of its block {index} gives no time axis; export the curve as a table")
    width = 1e9 * float(measured.tac_r) / (int(measured.tac_g) * values.shape[-1])
    rows = values if values.ndim == 2 else values.reshape(-1, values.shape[-1]).sum(axis=0)[None]
    period, pulses, notes = _repetition(measured)
    origin = f"the sync rate in the header of {name}"
    return [
        Curve(
            f"block {index}" + f" curve {row}" * (len(rows) > 1),
            counted_bins(counts, width, name),
            counts,
            None,
            period,
            origin,
            pulses,
            notes=notes,
        )
        for row, counts in enumerate(rows)
    ]


def _repetition(measured: Any) -> tuple[float | None, float | None, tuple[str, ...]]:
    """(period in ns, number of pulses, notes), of which the first two may not be known."""
    stopped = getattr(measured, "StopInfo", None)
    if stopped is None:
        return None, None, ()
    rates = [float(rate) for rate in (stopped.min_sync_rate, stopped.max_sync_rate) if 0 < rate < np.inf]
    if not rates or not possible_period(1e9 / float(np.mean(rates))):
        return None, None, ()
    rate = float(np.mean(rates))
    divider = int(measured.syn_fd)
    if divider > 1:
        return None, None, (f"the sync was divided by {divider}: the period is not taken from the file, give it",)
    if max(rates) - min(rates) > DIFFERENT * rate:
        return None, None, (f"the sync rate wandered, {min(rates):g} to {max(rates):g} Hz: no period is taken from it",)
    seconds = float(stopped.stop_time)
    seconds = seconds if 0 < seconds < np.inf else float(measured.col_t)
    return float(f"{1e9 / rate:.6g}"), rate * seconds if 0 < seconds < np.inf else None, ()


def _check_blocks(path: Path, name: str, max_values: int) -> None:
    """Follow the chain of data blocks by their headers alone: each must lie in the file, after the one before it."""
    size, whole = path.stat().st_size, 0
    with path.open("rb") as stream:
        head = HEADER.unpack(stream.read(HEADER.size))
        form = BLOCK if head[0] & 15 >= 15 else OLD_BLOCK
        place, count = head[5], head[6] if head[6] != 0x7FFF else head[12]
        for index in range(count):
            if not 0 <= place <= size - form.size:
                raise InputError(
                    f"{name}: block {index} of {count} lies outside the file; copy it again from its source"
                )
            stream.seek(place)
            start, following, kind, _, _, length = form.unpack(stream.read(form.size))[-6:]
            whole += length // ITEMS.get(kind & 0xF00, 2)
            check_size((max(whole, 1),), ITEMS.get(kind & 0xF00, 2), name, max_values)
            stored = following - start if kind & 0x1000 else length
            if start < 0 or stored < 0 or start + stored > size:
                raise InputError(f"{name}: the file is truncated in block {index}; copy it again from its source")
            if kind & 0x1000:
                _check_zip(stream, start, stored, length, name)
            if index + 1 < count and following <= place:
                raise InputError(f"{name}: block {index} points back to another one; copy the file from its source")
            place = following


def _check_zip(stream: Any, start: int, stored: int, length: int, name: str) -> None:
    """Refuse a zipped block that unpacks to something else than its header says."""
    stream.seek(start)
    with zipfile.ZipFile(io.BytesIO(stream.read(stored))) as archive:
        if archive.filelist[0].file_size != length:
            raise InputError(f"{name}: a block unpacks to another size than its header says; copy the file again")
