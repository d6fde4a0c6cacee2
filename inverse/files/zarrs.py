"""Zarr stores, a folder or a .zip: arrays with the coordinates that xarray writes, and HyperSpy's .zspy.

A dimension's coordinate is the one-dimensional array of its name in the same group (Zarr specification v2 and v3;
xarray's user guide, "Zarr encoding specification": names in `dimension_names`, or in the attribute _ARRAY_DIMENSIONS).
Everything is judged by the store's metadata, and its chunks by their headers, before they are unpacked.
"""

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.axes import Axis, Labelled, choose_array, make_axis, numbered_axis
from excidiff.inverse.files.chunks import MARKS, check_chunks
from excidiff.inverse.files.extras import needed
from excidiff.inverse.files.hyperspy import HOME, signal_axes, signals
from excidiff.inverse.files.raster import MAX_PIXELS, check_kind, check_size, damage_reported
from excidiff.solver.solution import InputError

MAX_OBJECTS = 10_000


def is_zarr(path: Path) -> bool:
    """Whether a folder or a zip file is a zarr store, by the names in it."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in MARKS)
    with damage_reported(path.name, "zip"), path.open("rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            return False
        with zipfile.ZipFile(stream) as archive:
            return any(name in MARKS for name in archive.namelist())


def read_zarr(path: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Labelled:
    """Read the array `member` of a store, or the only one that is no coordinate. Raises InputError for damage."""
    name = path.name
    library = needed("zarr", name, "excidiff[zarr]")
    with damage_reported(name, "zarr"):
        if path.is_file():
            _check_zip(path, name, max_pixels)
        store = (
            library.storage.ZipStore(path, mode="r")
            if path.is_file()
            else library.storage.LocalStore(path, read_only=True)
        )
        try:
            root = library.open(store, mode="r")
            found = dict(_arrays(root, library, name))
            titles = signals({key: node.shape for key, node in found.items()})
            if titles:
                title = choose_array(titles, member, name)
                chosen, notes = f"{HOME}/{title}/data", (f"signal {title!r}",)
            else:
                chosen, notes = _chosen(found, member, name), ()
            node = found[chosen]
            values, said = _values(node, f"{name}:{chosen}", max_pixels)
            if titles:
                home = chosen.rsplit("/", 1)[0]
                owners = [dict(root[f"{home}/axis-{place}"].attrs) for place in range(node.ndim)]
                axes = signal_axes(owners, node.shape, lambda n: _uneven(found, home, n, name, max_pixels), name)
            else:
                axes = _coordinate_axes(node, chosen, found, name, max_pixels)
        finally:
            store.close()
        kind = f"zarr v{node.metadata.zarr_format}{', HyperSpy' * bool(titles)}"
        return Labelled(values, axes, kind, str(path), notes=(*notes, *said))


def _arrays(root: Any, library: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every array of a store with its place in it; of a store that is an array itself the place is "data"."""
    if isinstance(root, library.Array):
        yield "data", root
        return
    for number, (key, node) in enumerate(root.members(max_depth=None)):
        if number >= MAX_OBJECTS:
            raise InputError(f"{name}: it holds too many objects to look through; copy the array out of it")
        if isinstance(node, library.Array):
            yield key, node


def _chosen(found: dict[str, Any], member: str | None, name: str) -> str:
    if member is not None:
        return choose_array({key: node.shape for key, node in found.items()}, member, name)
    coordinates = {f"{_group(key)}{title}" for key, node in found.items() for title in _dimensions(node) if title}
    free = {key: node.shape for key, node in found.items() if node.ndim > 1 and key not in coordinates}
    return choose_array(free, None, name)


def _group(key: str) -> str:
    return key.rpartition("/")[0] + "/" if "/" in key else ""


def _dimensions(node: Any) -> list[str]:
    named = getattr(node.metadata, "dimension_names", None) or node.attrs.get("_ARRAY_DIMENSIONS") or []
    titles = ["" if title is None else str(title) for title in named]
    return titles if len(titles) == node.ndim else [""] * node.ndim


def _coordinate_axes(node: Any, chosen: str, found: dict[str, Any], name: str, max_pixels: int) -> tuple[Axis, ...]:
    axes = []
    for place, (title, size) in enumerate(zip(_dimensions(node), node.shape, strict=True)):
        scale = found.get(f"{_group(chosen)}{title}") if title else None
        if scale is None or scale.shape != (size,) or scale.dtype.kind not in "iuf":
            axes.append(numbered_axis(size, title, f"their number, {name} has no coordinates for them", place=place))
            continue
        values, _ = _values(scale, f"{name}:{title}", max_pixels)
        unit = scale.attrs.get("units") or scale.attrs.get("unit")
        axes.append(make_axis(title, unit, values, f"coordinate {title} of {name}", place=place))
    return tuple(axes)


def _uneven(found: dict[str, Any], home: str, place: int, name: str, max_pixels: int) -> np.ndarray:
    return _values(found[f"{home}/axis-{place}/axis"], f"{name}:axis-{place}", max_pixels)[0]


def _values(node: Any, name: str, max_pixels: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values as they are meant: fill values missing, packing undone; and what there is to say of them."""
    check_kind(node.dtype, name)
    check_size(node.shape, node.dtype.itemsize, name, max_pixels)
    check_chunks(node, name, max_pixels)
    values, notes = np.asarray(node[...]), []
    missing = node.nchunks - node.nchunks_initialized
    if missing:
        notes.append(f"{missing} of {node.nchunks} chunks of {name} are not stored, and read as {node.fill_value}")
    absent = node.attrs.get("_FillValue")
    gone = values == absent if isinstance(absent, int | float) and not math.isnan(absent) else np.zeros(1, bool)
    scale, offset = (node.attrs.get(key) for key in ("scale_factor", "add_offset"))
    if scale is not None or offset is not None:
        values = values * float(1.0 if scale is None else scale) + float(0.0 if offset is None else offset)
        notes.append(f"the scale_factor {scale or 1:g} and add_offset {offset or 0:g} of {name} were applied")
    return (np.where(gone, np.nan, values) if gone.any() else values), tuple(notes)


def _check_zip(path: Path, name: str, max_pixels: int) -> None:
    with zipfile.ZipFile(path) as archive:
        check_size((max(1, sum(info.file_size for info in archive.infolist())),), 1, name, 16 * max_pixels)
