"""PicoQuant's photon counters: histograms (.phu), and photons one by one (.ptu) in T3 mode, added up to histograms.

Both begin with tags, a name of 32 bytes, an index, a type and a value each (PicoQuant Unified File Format, tag
dictionary, github.com/PicoQuant/PicoQuant-Time-Tagged-File-Format-Demos); ptufile reads them. All photons of a channel,
over all pixels and frames of a scan, make one curve, or over all frames and delays one image. Of .ptu: bins of
MeasDesc_Resolution; the laser's period is MeasDesc_GlobalResolution, the unit in which T3 counts pulses, against which
TTResult_SyncRate is held. Of .phu: bins of HistResDscr_MDescResolution, and the period 1/HistResDscr_SyncRate.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.curves import DIFFERENT, Curve, counted_bins, possible_period
from excidiff.inverse.files.extras import faults_reported, needed
from excidiff.inverse.files.raster import MAX_PIXELS, PixelTag, Raster, check_size
from excidiff.solver.solution import InputError

PTU, PHU = b"PQTTTR\0\0", b"PQHISTO\0"
INSTALL = "excidiff[io]"
WORD = 4  # bytes of a photon's record, and of a histogram's bin
ROWS = 2**25  # numbers of an image with its delays that are held at a time
MARKERS = 32  # more than any counter tells apart


def read_ptu(path: Path, *, max_values: int = MAX_PIXELS) -> list[Curve]:
    """The histogram of each channel of a .ptu file that has photons. Raises InputError for T2 mode and damage."""
    name = path.name
    library = needed("ptufile", name, INSTALL)
    with faults_reported(name, "PicoQuant .ptu", "ptufile") as said, path.open("rb") as stream:
        file = library.PtuFile(stream)
        if not file.is_t3:
            raise InputError(f"{name}: its photons were recorded in T2 mode, without the laser; export a histogram")
        _check_records(path, file, max_values)
        width, period = (float(f"{1e9 * x:.12g}") for x in (file.tcspc_resolution, file.global_resolution))
        told = possible_period(period) and width > 0
        most = min(int(file.number_bins_max), int(np.ceil(period / width))) if told else 1
        bins = max(int(file.number_bins), most)
        histograms = np.asarray(file.decode_histogram(dtype=np.uint32, dtime=bins), dtype=float)
        pulses = float(file.global_acquisition_time)
        first = file.active_channels[0] if file.active_channels else 0
        rate = float(file.tags.get("TTResult_SyncRate", 0))
        notes = tuple(said)
        if file.tags.get("Measurement_SubMode") == 3 and file.is_image:
            size = f"{file.lines_in_frame} × {file.pixels_in_line}"
            notes += (f"photons of a scan of {size} positions (y × x), added up; read_raster_scan tells them apart",)
    if told and rate > 0 and abs(rate * period * 1e-9 - 1) > DIFFERENT:
        notes += (f"its header's sync rate, {rate:g} Hz, is not one per period of {period:g} ns, which is used",)
    live = [(first + row, counts) for row, counts in enumerate(histograms) if counts.any()]
    if not live:
        raise InputError(f"{name}: no photon was recorded in it; the file holds no light")
    return [
        Curve(
            f"channel {channel}",
            counted_bins(counts, width, name),
            counts,
            period=period if told else None,
            period_origin=f"the header of {name} (MeasDesc_GlobalResolution)",
            pulses=pulses,
            number=number,
            notes=(f"counts of channel {channel}", *notes),
        )
        for number, (channel, counts) in enumerate(live, 1)
    ]


def is_ptu(path: Path) -> bool:
    """Whether a file begins as PicoQuant's .ptu do."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(PTU)) == PTU


def read_ptu_image(path: Path, channel: int | None = None, *, max_values: int = MAX_PIXELS) -> Raster:
    """The photons in each pixel of a scan in T3 mode, of one detector and all frames and delays together.

    The pixel size is ImgHdr_PixResol, in µm. channel: the detector, as `read_ptu` numbers it; None: the only one that
    saw photons. Raises InputError for files that are no image, several detectors, ways of scanning that ptufile cannot
    put together, and damage.
    """
    return read_ptu_delays(path, channel, None, max_values=max_values)[0]


def channel_of(path: Path, channel: int | None, *, max_values: int = MAX_PIXELS) -> int:
    """The detector of a scan; raises InputError as `read_ptu_image`."""
    library = needed("ptufile", path.name, INSTALL)
    with faults_reported(path.name, "PicoQuant .ptu", "ptufile"), path.open("rb") as stream:
        return _channel(library.PtuFile(stream), path, channel, max_values)


def read_ptu_delays(
    path: Path, channel: int | None, delays: Float[np.ndarray, " H"] | None, *, max_values: int = MAX_PIXELS
) -> tuple[Raster, Float[np.ndarray, "3 y x"]]:
    """(the photons of each pixel, their number with the sums of their delays and of the squares of these).

    delays: ns, of every bin of the counter, some rows of the scan being held at a time; None: number alone.
    """
    name = path.name
    library = needed("ptufile", name, INSTALL)
    with faults_reported(name, "PicoQuant .ptu", "ptufile") as said, path.open("rb") as stream:
        file = library.PtuFile(stream)
        chosen = _channel(file, path, channel, max_values)
        powers = (np.zeros(1) if delays is None else delays)[:, None] ** np.arange(3)
        lines, some = int(file.lines_in_frame), {"frame": -1, "channel": chosen - file.active_channels[0]}
        some |= {"dtime": -1 if delays is None else delays.size, "dtype": np.uint32}
        parts, whole, many = [], slice(None), max(1, ROWS // (int(file.pixels_in_line) * len(powers)))
        for row in range(0, lines, many):
            chunk = (whole, slice(row, min(row + many, lines)), whole, whole, whole)
            try:
                part = np.asarray(file.decode_image(chunk, **some), dtype=float)
            except NotImplementedError as error:
                told = f"ptufile cannot put its image together ({error}); export it as TIFF"
                raise InputError(f"{name}: {told}") from error
            parts.append(part[0, :, :, 0] @ powers)
        sums = np.moveaxis(np.concatenate(parts), -1, 0)
        size, frames = float(file.tags.get("ImgHdr_PixResol") or 0.0), int(file.shape[0])
        notes = tuple(said)
    tags = (PixelTag("ImgHdr_PixResol", (size, size), f"{size:g} µm"),) if size > 0 else ()
    told = f"photons of channel {chosen} in every pixel, {frames} frame{'s' * (frames > 1)} added up"
    return Raster(sums[:1], "PicoQuant .ptu, an image in T3 mode", tags, (), (told, *notes)), sums


def _channel(file: Any, path: Path, channel: int | None, max_values: int) -> int:
    name = path.name
    if not (file.is_t3 and file.is_image):
        raise InputError(f"{name}: its photons are not those of an image in T3 mode; read_decay reads their decay")
    _check_records(path, file, max_values)
    check_size((int(file.lines_in_frame), int(file.pixels_in_line)), WORD, name, max_values)
    active = list(file.active_channels)
    if not active:
        raise InputError(f"{name}: no photon was recorded in it; the file holds no light")
    if channel is None and len(active) > 1:
        raise InputError(f"{name}: channels {', '.join(map(str, active))} have photons; say which one, channel=")
    if channel is not None and channel not in active:
        raise InputError(f"{name}: channel {channel} has no photons; there are {', '.join(map(str, active))}")
    return active[0] if channel is None else channel


def read_phu(path: Path, *, max_values: int = MAX_PIXELS) -> list[Curve]:
    """The histograms of a .phu file that have counts."""
    name = path.name
    library = needed("ptufile", name, INSTALL)
    with faults_reported(name, "PicoQuant .phu", "ptufile") as said, path.open("rb") as stream:
        file = library.PhuFile(stream)
        count = int(file.number_histograms)
        if not 1 <= count <= path.stat().st_size // WORD:
            raise InputError(f"{name}: its header speaks of {count} histograms; export the curve as a table")
        places, bins, widths = (
            _each(file.tags, f"HistResDscr_{key}", count) for key in ("DataOffset", "HistogramBins", "MDescResolution")
        )
        if None in places + bins:
            raise InputError(f"{name}: its header describes no histogram; export the curve as a table")
        for place, size in zip(places, bins, strict=True):
            check_size((int(size),), WORD, name, max_values // count)
            _check_there(path, int(place), WORD * int(size), name)
        histograms = [np.asarray(counts, dtype=float) for counts in file.histograms()]
        tags, notes = dict(file.tags), tuple(said)
    rates, lasted = (_each(tags, f"HistResDscr_{key}", count) for key in ("SyncRate", "MDescStopAfter"))
    curves = []
    for index, counts in enumerate(histograms):
        if not counts.any():
            continue
        width = widths[index] or tags.get("MeasDesc_Resolution") or 0.0
        rate = float(rates[index] or tags.get("TTResult_SyncRate") or 0.0)
        seconds = 1e-3 * float(lasted[index] or tags.get("MeasDesc_AcquisitionTime") or 0.0)
        period = 1e9 / rate if rate > 0 and possible_period(1e9 / rate) else None
        time = counted_bins(counts, 1e9 * float(width), name)
        origin = f"the header of {name} (HistResDscr_SyncRate)"
        told = (f"counts of curve {index}", *notes)
        curves.append(
            Curve(f"curve {index}", time, counts, None, period, origin, rate * seconds or None, len(curves) + 1, told)
        )
    if not curves:
        raise InputError(f"{name}: every bin is zero; the file holds no light")
    return curves


def _each(tags: dict[str, Any], key: str, count: int) -> list[Any]:
    """The values of a tag that every curve has one of; None where it has not."""
    value = tags.get(key)
    values = list(value) if isinstance(value, list | tuple) else [value] * count
    return values if len(values) == count else [None] * count


def _check_records(path: Path, file: Any, max_values: int) -> None:
    """Refuse a .ptu that has less or more records than it may, and markers of a scan that no record can have."""
    _check_there(path, int(file.record_offset), WORD * int(file.number_records), path.name)
    check_size((max(1, int(file.number_records)),), WORD, path.name, max_values)
    for key in ("ImgHdr_LineStart", "ImgHdr_LineStop", "ImgHdr_Frame"):
        if not 0 <= int(file.tags.get(key) or 0) <= MARKERS:  # ptufile would raise 2 to its power
            raise InputError(
                f"{path.name}: this file is damaged: its header has {key} = {file.tags[key]}; copy it again"
            )


def _check_there(path: Path, start: int, length: int, name: str) -> None:
    size = path.stat().st_size
    if start < 0 or length < 0 or start + length > size:
        raise InputError(
            f"{name}: the file is truncated: its header speaks of {length} bytes from byte {start} on, and it has "
            f"{size}; copy it again from its source"
        )
