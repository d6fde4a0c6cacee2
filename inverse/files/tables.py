"""Plain arrays and tables: .npy, .npz, and text with numbers in rows and columns."""

import codecs
import csv
import math
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from excidiff.inverse.files.raster import MAX_PIXELS, PixelTag, Raster, check_kind, check_size, damage_reported
from excidiff.inverse.files.units import length_unit
from excidiff.solver.solution import InputError

HEADER_LINES = 200  # lines without numbers that a text file may begin with
FORESIGHT = 20  # lines below the first of a table that tell how it is written
BYTES_PER_NUMBER = 32  # the longest way a number is written


def read_npy(path: Path, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Read a .npy file: (y, x), or (frame, y, x). Pickled objects are refused."""
    with damage_reported(path.name, ".npy"), path.open("rb") as file:
        values = _npy_array(file, path.name, max_pixels, path.stat().st_size)
    return Raster(_as_frames(values, path.name), "NumPy .npy")


def read_npz(path: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Read the array `member` of a .npz file, or its only one with two or three dimensions.

    A scalar or pair `pixel_size_um` or `pixel_size_nm` (y, x) in the file is its pixel size.
    """
    name = path.name
    with damage_reported(name, ".npz"), zipfile.ZipFile(path) as archive:
        shapes = {info.filename.removesuffix(".npy"): _member_shape(archive, info, name) for info in archive.infolist()}
        chosen = choose({key: shape for key, shape in shapes.items() if len(shape) in (2, 3)}, member, name)
        values = _member_array(archive, chosen, name, max_pixels)
        tags = []
        for unit in ("um", "nm"):
            key = f"pixel_size_{unit}"
            if shapes.get(key) in ((), (1,), (2,)):
                y, x = np.broadcast_to(_member_array(archive, key, name, 2).astype(float), (2,)) * (
                    length_unit(unit) or 1
                )
                tags.append(PixelTag(f"array {key}", (float(y), float(x)), f"{x / (length_unit(unit) or 1):g} {unit}"))
    return Raster(_as_frames(values, name), "NumPy .npz", tuple(tags))


def choose(shapes: dict[str, tuple[int, ...]], wanted: str | None, name: str) -> str:
    """Return the name of the array to read: the `wanted` one, or the only image, or the only stack of images."""
    listed = ", ".join(f"{key} {'×'.join(map(str, shape))}" for key, shape in list(shapes.items())[:8]) or "none"
    if wanted is not None:
        if wanted not in shapes:
            raise InputError(f"{name}: it has no image called {wanted!r}; there are: {listed}")
        return wanted
    for dimensions in (2, 3):
        found = [key for key, shape in shapes.items() if len(shape) == dimensions]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise InputError(f"{name}: it has {len(shapes)} arrays that could be the image ({listed}); name one: {name}:NAME")


def read_table(path: Path, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Read a text file of numbers: one row of the image per line; comma, semicolon, tab or spaces between.

    Lines before the numbers are a header; one that says "pixel size: 40 nm" is believed. With semicolons or tabs the
    decimal sign may be a comma. Raises InputError for ragged rows, for words among the numbers, for binary files.
    """
    name = path.name
    _check_length(path, max_pixels)
    with damage_reported(name, "text"):
        header, rows = _split_header(_decoded(path.read_bytes(), name).splitlines(), name)
        _refuse_axes(header, rows, name)
        values = _values(rows, name, max_pixels)
        if (
            values.size
            and np.all(np.isfinite(values))
            and np.all(values == np.floor(values))
            and abs(values).max() < 2**53
        ):
            values = values.astype(np.int64)  # counts, written as such
        return Raster(values[None], "text table", _header_tags(header))


def read_columns(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a text file of columns: (their names, empty where the file gives none; the numbers, one row per line).

    The names are the last line before the numbers, if it has as many entries. Raises as `read_table` does.
    """
    names, values, _ = read_headed_columns(path, max_pixels=max_pixels)
    return names, values


def read_headed_columns(
    path: Path, *, max_pixels: int = MAX_PIXELS
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """As `read_columns`; and the first cells of rows above the table that hold a word and then numbers, as "power".

    Such rows are left out where the names stand above them; alone, as in 'position,500.0,500.5', they are the names.
    """
    name = path.name
    _check_length(path, max_pixels)
    with damage_reported(name, "text"):
        header, rows = _split_header(_decoded(path.read_bytes(), name).splitlines(), name)
        values = _values(rows, name, max_pixels)
    cells = [_cells(line, values.shape[1]) for line in header]
    below = len(cells)
    while below and _is_remark(cells[below - 1]):
        below -= 1
    titles = cells[below - 1] if below else None
    if titles is not None:
        return tuple(titles), values, tuple(row[0] for row in cells[below:] if row)
    return tuple((cells[-1] if cells else None) or ()), values, ()


def _is_remark(cells: list[str] | None) -> bool:
    return cells is not None and len(cells) > 1 and not _is_number(cells[0]) and all(map(_is_number, cells[1:]))


def _cells(line: str, count: int) -> list[str] | None:
    """The entries of a line above a table, if there are as many as it has columns."""
    line = line.lstrip("#%/ ")
    ways = (re.split(pattern, line) for pattern in (r"\s*[;,\t]\s*", r"\s{2,}", r"\s+"))
    return next((cells for cells in ways if len(cells) == count), None)


def _check_length(path: Path, max_pixels: int) -> None:
    check_size((max(1, path.stat().st_size // BYTES_PER_NUMBER),), 8, path.name, max_pixels)


def _values(rows: list[tuple[int, list[str]]], name: str, max_pixels: int) -> np.ndarray:
    columns = len(rows[0][1])
    check_size((len(rows), columns), 8, name, max_pixels)
    values = np.empty((len(rows), columns))
    for row, (number, cells) in enumerate(rows):
        if len(cells) != columns:
            raise InputError(
                f"{name}: line {number} has {len(cells)} numbers, the ones before have {columns}; the file is "
                "truncated or no table: export it again"
            )
        try:
            values[row] = [float(cell) if cell else math.nan for cell in cells]
        except ValueError:
            raise InputError(f"{name}: line {number} holds something that is no number; remove or repair it") from None
    return values


def _decoded(data: bytes, name: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:
        raise InputError(f"{name}: this is no text file and no known image format; export the image as TIFF")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _split_header(lines: list[str], name: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header's lines, and for every line of the table its number and its cells."""
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    split = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(("#", "%", "//")):
            header += [text] if not rows else []
            continue
        if split is None:
            below = [line.strip() for line in lines[number : number + FORESIGHT]]
            split = _splitter(text, below)
            if split is None:
                header.append(text)
                if number > HEADER_LINES:
                    break
                continue
        rows.append((number, split(text)))
    if not rows:
        raise InputError(f"{name}: no table of numbers was found in it; give an image, or a table with a row per line")
    return header, rows


def _refuse_axes(header: list[str], rows: list[tuple[int, list[str]]], name: str) -> None:
    """Refuse a table whose first row and column are not counts but axes, as data frames and spectral maps have them."""
    first = rows[0][1]
    above = re.split(r"\s*[;,\t]\s*", header[-1]) if header else []
    named = len(above) == len(first) > 1 and not _is_number(above[0]) and all(map(_is_number, above[1:]))
    corner = not first[0] and len(rows) > 1 and bool(rows[1][1][0])
    if named or corner:
        raise InputError(
            f"{name}: its first row and column are axes, not counts; leave them out when exporting the image"
        )


def _splitter(line: str, below: list[str]) -> Any:
    """Return the function that splits a line like this one into numbers, or None if it is not one of numbers.

    `below`: the lines that follow. Of several ways, such as with either decimal sign, the one that reads most of them.
    """

    def numbers(split: Any, text: str) -> bool:
        cells = split(text)
        return any(cells) and all(not cell or _is_number(cell) for cell in cells)

    found = []
    for delimiter in (";", "\t", ",", None):
        if delimiter is not None and delimiter not in line:
            continue
        for comma in (False, True):
            if comma and (delimiter == "," or "." in line):
                continue
            split = _make_splitter(delimiter, comma)
            if numbers(split, line):
                found.append((sum(numbers(split, text) for text in below if text), split))
    return max(found, key=lambda way: way[0])[1] if found else None


def _make_splitter(delimiter: str | None, comma: bool) -> Any:
    def split(line: str) -> list[str]:
        if delimiter is None:
            cells = line.split()
        else:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
            if len(cells) > 1 and not cells[-1]:
                cells.pop()  # a delimiter at the end of every line
        return [cell.replace(",", ".") for cell in cells] if comma else cells

    return split


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _header_tags(header: list[str]) -> tuple[PixelTag, ...]:
    found = re.search(r"pixel[\s_]*size\s*[:=,;]?\s*([\d.eE+-]+)\s*([A-Za-zµμ]+)", "\n".join(header), re.IGNORECASE)
    unit = length_unit(found[2]) if found else None
    if found is None or unit is None or not _is_number(found[1]):
        return ()
    size = float(found[1]) * unit
    return (PixelTag("header", (size, size), found[0].strip()),)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read the header of a .npy stream, a literal of at most 10 000 characters, which NumPy parses safely."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return shape, dtype


def _npy_array(file: IO[bytes], name: str, max_pixels: int, size: int | None) -> np.ndarray:
    shape, dtype = _npy_header(file)
    check_kind(dtype, name)
    if shape:
        check_size(shape, dtype.itemsize, name, max_pixels)
    needed = math.prod(shape) * dtype.itemsize
    if size is not None and size - file.tell() < needed:
        raise InputError(
            f"{name}: this .npy file is truncated: it should hold {needed} bytes of data and has {size - file.tell()}; "
            "copy it again from its source"
        )
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _member_shape(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> tuple[int, ...]:
    if info.flag_bits & 1:
        raise InputError(f"{name}: {info.filename} is encrypted; save it without a password")
    if not info.filename.endswith(".npy"):
        return ()
    with archive.open(info) as file:
        return _npy_header(file)[0]


def _member_array(archive: zipfile.ZipFile, key: str, name: str, max_pixels: int) -> np.ndarray:
    # Judged by the array's own header: what the archive's directory claims may be a lie, and is not needed.
    with archive.open(f"{key}.npy") as file:
        return _npy_array(file, f"{name}:{key}", max_pixels, None)


def _as_frames(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim not in (2, 3):
        raise InputError(f"{name}: its array has shape {values.shape}; an image is (y, x), a stack (frame, y, x)")
    check_size(values.shape, values.itemsize, name, values.size)
    return values.reshape(-1, *values.shape[-2:])
