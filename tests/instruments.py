"""Small files as instruments write them, built byte by byte from the public descriptions of their formats."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

WIDTH, PERIOD = 0.025, 25.0  # ns
COUNTS = np.random.default_rng(1).poisson(3 + 60 * np.exp(-np.arange(800) * WIDTH / 3.0))
FRAMES = np.random.default_rng(2).poisson(40, (3, 6, 8))
STREAK = np.random.default_rng(3).poisson(20, (12, 20)).astype(np.uint16)
STREAK_AXES = [
    {"name": "Time", "units": "ps", "scale": 1.2, "offset": 5.0, "navigate": False},
    {"name": "Wavelength", "units": "nm", "scale": 0.5, "offset": 834.0, "navigate": False},
]

T3_GENERIC = 0x00010307  # a record: 1 bit special, 6 channel, 15 delay in bins, 10 pulse number
OVERFLOW = (1 << 31) | (63 << 25) | 1  # the pulse number has gone round once


def tag(name: str, value: int | float | None, index: int = -1) -> bytes:
    """One tag of PicoQuant's unified format; None is the end of the header."""
    kind, packed = {
        float: (0x20000008, struct.pack("<d", value or 0.0)),
        type(None): (0xFFFF0008, b"\0" * 8),
    }.get(type(value), (0x10000008, struct.pack("<q", int(value or 0))))
    return struct.pack("<32siI", name.encode(), index, kind) + packed


def write_ptu(
    path: Path,
    channels: dict[int, np.ndarray],
    *,
    width: float,
    period: float,
    pulses: int | None = None,
    mode: int = 3,
) -> Path:
    """Photons in T3 mode: `channels` gives the counts per bin of each; width and period in ns, one photon per pulse."""
    photons = [(c, b) for c, counts in channels.items() for b, n in enumerate(counts) for _ in range(int(n))]
    pulses = max(pulses or 0, len(photons))
    at = np.linspace(0, pulses - 1, len(photons)).astype(int)
    records, turns = [], 0
    for pulse, (channel, delay) in zip(at, photons, strict=True):
        records += [OVERFLOW] * (pulse // 1024 - turns)
        turns = pulse // 1024
        records.append((channel << 25) | (delay << 10) | (pulse % 1024))
    head = b"PQTTTR\0\0" + b"1.0.00\0\0"
    for name, value in {
        "Measurement_Mode": mode,
        "Measurement_SubMode": 0,
        "MeasDesc_GlobalResolution": 1e-9 * period,
        "MeasDesc_Resolution": 1e-9 * width,
        "TTResult_SyncRate": round(1e9 / period),
        "TTResult_NumberOfRecords": len(records),
        "TTResultFormat_TTTRRecType": T3_GENERIC,
        "TTResultFormat_BitsPerRecord": 32,
        "Header_End": None,
    }.items():
        head += tag(name, value)
    path.write_bytes(head + np.array(records, "<u4").tobytes())
    return path


def write_phu(path: Path, curves: Sequence[np.ndarray], *, width: float, period: float, seconds: float = 1.0) -> Path:
    """Histograms; width and period in ns."""
    end = 16 + 48 * (2 + 6 * len(curves))
    head = b"PQHISTO\0" + b"1.0.00\0\0" + tag("HistoResult_NumberOfCurves", len(curves))
    offset = end
    for index, counts in enumerate(curves):
        for name, value in {
            "HistResDscr_DataOffset": offset,
            "HistResDscr_HistogramBins": len(counts),
            "HistResDscr_MDescResolution": 1e-9 * width,
            "HistResDscr_HWBaseResolution": 1e-9 * width / 4,
            "HistResDscr_SyncRate": round(1e9 / period),
            "HistResDscr_MDescStopAfter": int(1000 * seconds),
        }.items():
            head += tag(name, value, index)
        offset += 4 * len(counts)
    head += tag("Header_End", None)
    path.write_bytes(head + b"".join(np.asarray(c, "<u4").tobytes() for c in curves))
    return path


def write_sdt(
    path: Path,
    blocks: Sequence[np.ndarray],
    *,
    window: float,
    period: float,
    seconds: float = 1.0,
    zipped: bool = False,
) -> Path:
    """Blocks (curves or pixels, bin) of one measurement; window, the range of the time axis, and period in ns."""
    import io
    import zipfile

    from sdtfile import sdtfile

    info = b"*IDENTIFICATION\r\n  ID        : SPC Setup & Data File\r\n*END\r\n"
    form = np.dtype(sdtfile.MEASURE_INFO)
    measured = np.zeros(1, form)
    measured["tac_r"], measured["tac_g"], measured["adc_re"] = 4e-9 * window, 4, blocks[0].shape[-1]
    measured["col_t"], measured["syn_fd"] = seconds, 1
    for key, value in {"stop_time": seconds, "min_sync_rate": 1e9 / period, "max_sync_rate": 1e9 / period}.items():
        measured["StopInfo"][key] = value
    if blocks[0].ndim == 3:
        measured["scan_y"], measured["scan_x"] = blocks[0].shape[:2]
    start = 42 + len(info) + form.itemsize
    head = struct.pack(
        "<hihiHihIihhHIHH",
        *(0x28F, 42, len(info), 0, 0, start, len(blocks), 0, 42 + len(info), 1, form.itemsize, 0x5555, 0, 0, 0x55AA),
    )
    body = b""
    for block in blocks:
        data = np.asarray(block, "<u2").tobytes()
        length = len(data)
        if zipped:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("data_block", data)
            data = packed.getvalue()
        here = start + len(body) + 22
        body += struct.pack("<BBIIHhII", 0, 0, here, here + len(data), 0x1 | 0x1000 * zipped, 0, 0, length) + data
    path.write_bytes(head + info + measured.tobytes() + body)
    return path


def write_sif(path: Path, frames: np.ndarray, *, calibration: Sequence[float] = (0, 1, 0, 0), claims: int = 0) -> Path:
    """Frames (frame, y, x) of an Andor camera, version 65559; `claims`: how many frames the header speaks of."""
    count, rows, columns = frames.shape
    count = claims or count
    lines = [
        b"Andor Technology Multi-Channel File",
        b"65538 1",
        b"65559 0 0 1 1540956289 -70 "
        + b" " * 10
        + b" 0 0.1 0.2 0.2 1 \0 0.3 1e-06 0 1 1.0 0 0 0.0 "
        + b"0 " * 16
        + b"500 0",
        b"DU897_BV",
        f"{columns} {rows} 8".encode(),
        b"spot.sif \n65538 0\n",
        b"65538 \x01 \x02 \x03 \x04 0 0",
        *[b"x"] * 8,
        b"0 SR303i",
        b"65539 \x01 \0 \x01",
    ]
    text = b"\n".join(lines[:-1]) + b"\n65539 " + " ".join(f"{c:g}" for c in calibration).encode() + b"\n"
    text += b"0 1 0 0\n0 1 0 0\nraman\n422\n13\n13\n"
    for word in (b"Pixel number", b"Counts", b"Pixel number"):
        text += f"{len(word)}\n".encode() + word
    size = rows * columns
    text += f"65541 1 {rows} {columns} 1 {count} 1 {count * size} {size}\n".encode()
    text += f"65538 1 {rows} {columns} 1 1 1 0\n".encode()
    text += b"".join(f"{1000 * k}\n".encode() for k in range(count)) + b"0\n"
    path.write_bytes(text + np.asarray(frames, "<f4").tobytes())
    return path


def write_hspy(path: Path, values: np.ndarray, axes: Sequence[dict], title: str = "signal", **storage: object) -> Path:
    """A HyperSpy file: `axes` has name, units and scale and offset, or the values as "axis"."""
    with h5py.File(path, "w") as file:
        group = file.create_group(f"Experiments/{title}")
        group.create_dataset("data", data=values, **storage)
        for place, axis in enumerate(axes):
            owner = group.create_group(f"axis-{place}")
            for key, value in axis.items():
                if isinstance(value, np.ndarray):
                    owner[key] = value
                else:
                    owner.attrs[key] = value
            owner.attrs["size"] = values.shape[place]
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "film.ptu": lambda p: (
        write_ptu(p, {1: COUNTS // 8}, width=WIDTH, period=PERIOD, pulses=10**5)
        if p.name == "torn.ptu"
        else write_ptu(p, {1: COUNTS}, width=WIDTH, period=PERIOD, pulses=10**6)
    ),
    "film.phu": lambda p: write_phu(p, [COUNTS], width=WIDTH, period=PERIOD),
    "film.sdt": lambda p: write_sdt(p, [COUNTS[None]], window=20.0, period=PERIOD),
    "zipped.sdt": lambda p: write_sdt(p, [COUNTS[None]], window=20.0, period=PERIOD, zipped=True),
    "spot.sif": lambda p: write_sif(p, FRAMES),
    "streak.hspy": lambda p: write_hspy(p, STREAK, STREAK_AXES, compression="gzip"),
}
