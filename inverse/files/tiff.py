"""TIFF files: their frames, and what ImageJ, OME and the resolution tags say about the pixel size."""

import lzma
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from excidiff.inverse.files.raster import (
    MAX_PIXELS,
    PixelTag,
    Raster,
    check_kind,
    check_size,
    damage_reported,
    print_resolution,
)
from excidiff.inverse.files.units import length_unit
from excidiff.solver.solution import InputError

MAX_PAGES = 2**20
UNCOMPRESSED, DEFLATE, LZMA = 1, (8, 32946), (34925,)
INCH, CENTIMETRE = 25400.0, 1e4  # µm
COLOUR = {2: "RGB", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}


def read_tiff(path: Path, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Read all frames of a TIFF file (plain, multi-page, ImageJ hyperstack, OME).

    Raises InputError for a damaged or truncated file, colour images, a header that claims more than `max_pixels`.
    """
    import tifffile

    name = path.name
    with damage_reported(name, "TIFF"):
        _check_chain(path)
        with tifffile.TiffFile(path, _multifile=False) as tif:
            if not tif.series or not len(tif.pages):
                raise InputError(f"{name}: this TIFF file holds no image; export it again")
            series = tif.series[0]
            notes = _check_series(tif, series, name, max_pixels)
            _check_data(path, series, name)
            try:
                values = series.asarray()
            except (ValueError, ImportError, NotImplementedError, KeyError) as error:
                if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                    raise
                compression = getattr(series.keyframe.compression, "name", "?")
                raise InputError(
                    f"{name}: its compression ({compression}) needs the package imagecodecs; "
                    "install it (pip install imagecodecs), or save the image without compression"
                ) from error
            if values.shape != series.shape:
                raise InputError(
                    f"{name}: this TIFF file is damaged: pixels are missing; copy it again from its source"
                )
            frames, labels = _as_frames(values, series.axes, series.shape)
            return Raster(frames, _flavour(tif), _pixel_tags(tif), labels, notes)


def _flavour(tif: Any) -> str:
    return "TIFF (OME)" if tif.is_ome else "TIFF (ImageJ)" if tif.is_imagej else "TIFF"


def _check_chain(path: Path) -> None:
    """Walk the chain of directories; refuse one that bites its tail, or any library might follow it for ever."""
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}[head[:2]]
        big = struct.unpack(order + "H", head[2:4])[0] == 43
        entries, offset, entry = (order + "Q", order + "Q", 20) if big else (order + "H", order + "I", 12)
        position = struct.unpack(offset, head[8:16] if big else head[4:8])[0]
        end, seen = path.stat().st_size, set()
        while position:
            if position in seen or len(seen) >= MAX_PAGES:
                raise InputError(
                    f"{path.name}: this TIFF file is damaged: its list of pages is endless; copy or export it again"
                )
            if position >= end:
                raise InputError(
                    f"{path.name}: this TIFF file is truncated: page {len(seen)} is said to begin at byte {position}, "
                    f"but the file has {end}; copy it again from its source"
                )
            seen.add(position)
            file.seek(position)
            count = struct.unpack(entries, file.read(struct.calcsize(entries)))[0]
            file.seek(count * entry, 1)
            position = struct.unpack(offset, file.read(struct.calcsize(offset)))[0]


def _check_series(tif: Any, series: Any, name: str, max_pixels: int) -> tuple[str, ...]:
    """Refuse what is no image of counts; return what the person should know about the rest."""
    page = series.keyframe
    colour = COLOUR.get(int(page.photometric))
    if colour or "S" in series.axes:
        raise InputError(
            f"{name}: this is a colour image ({colour or 'several samples per pixel'}); colours are no photon counts. "
            "Export the camera's own greyscale data (16 bit, without display scaling)"
        )
    if page.dtype is None or series.dtype is None:
        raise InputError(
            f"{name}: values of {page.bitspersample} bits, as its header has them, cannot be read; "
            "if the file is not damaged, save it with 8, 16 or 32 bits"
        )
    check_kind(np.dtype(series.dtype), name)
    check_size(series.shape, np.dtype(series.dtype).itemsize, name, max_pixels)
    if "Y" not in series.axes or "X" not in series.axes or series.axes[-2:] != "YX":
        raise InputError(f"{name}: its axes are {series.axes}; the last two must be Y and X: export it as a stack")
    if page.is_tiled:
        check_size((page.tilelength, page.tilewidth), np.dtype(series.dtype).itemsize, name, max_pixels)
    notes = []
    if int(page.photometric) == 3:
        notes.append("the file has a colour table, which is ignored: the stored numbers are taken as counts")
    if int(page.photometric) == 0:
        notes.append("the file says that white is zero, which is ignored: the stored numbers are taken as counts")
    if len(tif.series) > 1:
        notes.append(f"the file holds {len(tif.series)} images of different kinds; the first is used")
    return tuple(notes)


def _check_data(path: Path, series: Any, name: str) -> None:
    """Refuse pages whose data end too early (a library would fill in zeros), and data that unpack without end."""
    size = path.stat().st_size
    if any(page is None for page in series.pages) and series.dataoffset is None:
        raise InputError(f"{name}: this TIFF file is damaged: pages are missing; copy it again from its source")
    if series.dataoffset is None:
        pieces = [(*piece, page) for page in series.pages for piece in _pieces(page, name)]
    else:
        first = series.keyframe
        pieces = [(*piece, first) for piece in _pieces(first, name)]
        pieces.append((series.dataoffset, series.nbytes, 0, first))
    with path.open("rb") as file:
        for offset, count, needed, page in pieces:
            if count <= 0 or offset + count > size:
                raise InputError(
                    f"{name}: this TIFF file is truncated: its image data should reach byte {offset + count}, but the "
                    f"file ends at {size}; copy it again from its source"
                )
            compression = int(page.compression)
            if compression in (*DEFLATE, *LZMA):
                file.seek(offset)
                count = _unpacked_size(file.read(count), _piece_rows(page) * _row_bytes(page) + 1, compression)
            elif compression != UNCOMPRESSED:
                continue
            if not needed <= count <= max(needed, _piece_rows(page) * _row_bytes(page), series.nbytes):
                raise InputError(
                    f"{name}: this TIFF file is damaged: a piece of {needed} bytes, by its header, has or unpacks to "
                    f"{count} or more; copy it again from its source"
                )


def _pieces(page: Any, name: str) -> Iterator[tuple[int, int, int]]:
    """Yield offset, stored bytes and needed unpacked bytes of every strip or tile of a page."""
    rows, length = _piece_rows(page), page.imagelength
    across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
    expected = -(-length // rows) * across
    if not expected == len(page.dataoffsets) == len(page.databytecounts):
        raise InputError(
            f"{name}: this TIFF file is damaged: an image of {length} × {page.imagewidth} pixels needs {expected} "
            f"pieces of data, it has {len(page.dataoffsets)}; copy it again from its source"
        )
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        kept = rows if page.is_tiled else min(rows, length - index * rows)
        yield offset, count, kept * _row_bytes(page)


def _piece_rows(page: Any) -> int:
    return page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)


def _row_bytes(page: Any) -> int:
    return -(-(page.tilewidth if page.is_tiled else page.imagewidth) * page.bitspersample // 8)


def _unpacked_size(data: bytes, most: int, compression: int) -> int:
    """Unpack at most `most` bytes, and say how many that gave."""
    unpacker = zlib.decompressobj() if compression in DEFLATE else lzma.LZMADecompressor()
    return len(unpacker.decompress(data, most))


def _as_frames(values: np.ndarray, axes: str, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (frame, y, x) and one label per frame, such as "T=3 C=1"."""
    leading = shape[:-2]
    labels = tuple(
        " ".join(f"{axis}={i}" for axis, i, n in zip(axes, index, leading, strict=False) if n > 1)
        for index in np.ndindex(*leading)
    )
    return np.asarray(values).reshape(-1, *shape[-2:]), labels


def _pixel_tags(tif: Any) -> tuple[PixelTag, ...]:
    """Everything in the file that speaks of a pixel size, the most deliberate first."""
    page = tif.pages[0]
    per_unit = _resolution(page)
    tags = [*_ome_tags(tif.ome_metadata if tif.is_ome else None)]
    imagej = tif.imagej_metadata if tif.is_imagej else None
    if imagej:
        tags.append(_imagej_tag(imagej, per_unit))
    unit = int(_value(page, "ResolutionUnit", 2 if per_unit else 1))
    length = {2: (INCH, "inch"), 3: (CENTIMETRE, "cm")}.get(unit)
    if per_unit and length:
        tags.append(_density_tag("resolution tag", (length[0], length[0]), per_unit, length[1]))
    elif per_unit and not imagej and not all(math.isclose(p, 1) for p in per_unit):
        tags.append(PixelTag("resolution tag", None, f"{per_unit[1]:g} pixels per unnamed unit"))
    return tuple(tags)


def _imagej_tag(imagej: dict[str, Any], per_unit: tuple[float, float] | None) -> PixelTag:
    x_unit = imagej.get("unit")
    y_unit = imagej.get("yunit") or x_unit
    x, y = length_unit(x_unit), length_unit(y_unit)
    if not x_unit or x is None or y is None or per_unit is None:
        return PixelTag("ImageJ tag", None, f"unit {x_unit!r}, no length" if x_unit else "no unit")
    return _density_tag("ImageJ tag", (y, x), per_unit, str(x_unit))


def _density_tag(source: str, unit: tuple[float, float], per_unit: tuple[float, float], words: str) -> PixelTag:
    """Turn pixels per unit (y, x) into a pixel size, unless they are a print resolution, which says nothing."""
    size = (unit[0] / per_unit[0], unit[1] / per_unit[1])
    told = f"{per_unit[1]:.6g} pixels per {words}"
    if min(unit) >= CENTIMETRE and print_resolution(size):
        return PixelTag(source, None, f"{told}, a print resolution")
    return PixelTag(source, size, told)


def _resolution(page: Any) -> tuple[float, float] | None:
    """Return the pixels per unit (y, x), or None if the tags are missing or impossible."""
    pair = []
    for name in ("YResolution", "XResolution"):
        numerator, denominator = _value(page, name, (0, 0))
        if not numerator or not denominator:
            return None
        pair.append(numerator / denominator)
    return pair[0], pair[1]


def _value(page: Any, name: str, default: Any) -> Any:
    tag = page.tags.get(name)
    return default if tag is None else tag.value


def _ome_tags(xml: str | None) -> list[PixelTag]:
    """Read PhysicalSizeX and PhysicalSizeY (µm unless a unit is named) of the first Pixels element."""
    if not xml or "<!DOCTYPE" in xml or "<!ENTITY" in xml:  # entities can blow up; OME files have none
        return []
    pixels = next((e for e in ElementTree.fromstring(xml).iter() if re.sub(r"\{.*\}", "", e.tag) == "Pixels"), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return []
    x_text = pixels.attrib["PhysicalSizeX"]
    y_text = pixels.attrib.get("PhysicalSizeY", x_text)
    x_unit = pixels.attrib.get("PhysicalSizeXUnit", "µm")
    words = f"PhysicalSizeX {x_text} {x_unit}"
    x, y = length_unit(x_unit), length_unit(pixels.attrib.get("PhysicalSizeYUnit", x_unit))
    if x is None or y is None or float(x_text) <= 0 or float(y_text) <= 0:
        return [PixelTag("OME tag", None, f"{words}, no length")]
    return [PixelTag("OME tag", (float(y_text) * y, float(x_text) * x), words)]
