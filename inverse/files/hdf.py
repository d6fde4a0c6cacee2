"""HDF5 and NetCDF-4 files: one image or stack, with the pixel size from attributes or from coordinates.

Coordinates are the scales attached to a dataset's dimensions, as NetCDF-4 attaches its coordinate variables (HDF5
Dimension Scales Specification, The HDF Group), or one-dimensional datasets beside it of the dimension's name.
"""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.axes import Axis, Labelled, choose_array, make_axis, numbered_axis
from excidiff.inverse.files.raster import MAX_PIXELS, PixelTag, Raster, check_kind, check_size, damage_reported
from excidiff.inverse.files.tables import choose
from excidiff.inverse.files.units import length_unit
from excidiff.solver.solution import InputError

MAX_OBJECTS = 10_000
MAX_DEPTH = 32
FORMAT = "HDF5 / NetCDF-4"
EMPTY_SCALE = "This is a netCDF dimension but not a netCDF variable"  # a dimension without coordinates, in its NAME


def read_hdf(path: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Read the dataset `member` ("/group/image") of an HDF5 or NetCDF-4 file, or the only image or stack in it.

    The pixel size comes from an attribute (`element_size_um`, `pixel_size_um`, `pixel_size_nm`, or `pixel_size` with a
    unit), or from evenly spaced coordinates y and x with a unit. `scale_factor`, `add_offset` and `_FillValue` of
    NetCDF are applied. Raises InputError for links to other files, virtual or external storage, and damaged files.
    """
    import h5py

    name = path.name
    with damage_reported(name, "HDF5"), h5py.File(path, "r") as file:
        found, outside = find_datasets(file)
        wanted = "/" + member.strip("/") if member is not None else None
        if wanted in outside:
            raise InputError(
                f"{name}: {wanted} is a link to another file, which is not followed; copy the data into it"
            )
        images = {key: node.shape for key, node in found.items() if node.ndim in (2, 3) and node.dtype.kind in "biufO"}
        if not images and outside:
            raise InputError(
                f"{name}: its data are links to other files ({', '.join(sorted(outside)[:3])}), which are not "
                "followed; copy the data into one file (h5repack, or export again)"
            )
        node = found[choose(images, wanted, name)]
        check_storage(node, f"{name}:{node.name}", max_pixels)
        values, notes = decoded(node)
        frames = values.reshape(-1, *values.shape[-2:])
        axes = coordinate_axes(node, found, name, max_pixels)
        return Raster(frames, FORMAT, tuple(_pixel_tags(file, node, found)), notes=notes, axes=axes)


def read_labelled_hdf(path: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Labelled:
    """Read the dataset `member`, or the only one that is no coordinate, with its coordinates as axes."""
    import h5py

    name = path.name
    with damage_reported(name, "HDF5"), h5py.File(path, "r") as file:
        found, _ = find_datasets(file)
        scales = {
            scale.name for node in found.values() for axis in range(node.ndim) for scale in node.dims[axis].values()
        }
        shapes = {
            key: node.shape
            for key, node in found.items()
            if node.ndim > 1 and node.dtype.kind in "biufO" and key not in scales
        }
        if member is not None:
            shapes = {key: node.shape for key, node in found.items() if node.ndim}
        node = found[choose_array(shapes, member, name)]
        check_storage(node, f"{name}:{node.name}", max_pixels)
        values, notes = decoded(node)
        return Labelled(values, coordinate_axes(node, found, name, max_pixels), FORMAT, str(path), notes=notes)


def coordinate_axes(node: Any, found: dict[str, Any], name: str, max_pixels: int = MAX_PIXELS) -> tuple[Axis, ...]:
    """The coordinates of every dimension of a dataset; a dimension without them is numbered."""
    axes = []
    for place, (dimension, size) in enumerate(zip(node.dims, node.shape, strict=True)):
        titles = [str(scale.name).rsplit("/", 1)[-1] for scale in dimension.values()]
        title = dimension.label or next(iter(titles), "")
        group = node.name.rsplit("/", 1)[0]
        usual = {node.ndim - 2: "y", node.ndim - 1: "x"}.get(place, "")
        beside = [found[key] for word in (title, usual) if word and (key := f"{group}/{word}") in found]
        fitting = [
            scale
            for scale in (*dimension.values(), *beside)
            if scale.shape == (size,)
            and scale.dtype.kind in "iuf"
            and not attribute_text(scale, "NAME").startswith(EMPTY_SCALE)
        ]
        if not fitting:
            axes.append(numbered_axis(size, title, f"their number, {name} has no coordinates for them", place=place))
            continue
        check_storage(fitting[0], f"{name}:{fitting[0].name}", max_pixels)
        values, _ = decoded(fitting[0])
        unit = attribute_text(fitting[0], "units") or attribute_text(fitting[0], "unit")
        own = str(fitting[0].name)
        axes.append(
            make_axis(title or own.rsplit("/", 1)[-1], unit, values, f"coordinate {own} of {name}", place=place)
        )
    return tuple(axes)


def find_datasets(file: Any) -> tuple[dict[str, Any], set[str]]:
    """Walk the file's own objects: the datasets by name, and the names of links that lead out of the file."""
    import h5py
    from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

    found: dict[str, Any] = {}
    outside: set[str] = set()
    seen: set[Any] = set()
    waiting = [(file, "", 0)]
    while waiting:
        group, prefix, depth = waiting.pop()
        for key in group:
            place = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                outside.add(place)
            if not isinstance(link, h5py.HardLink):
                continue  # a soft link leads to what is found under its own name, or through an external one
            node = group[key]
            identity = h5o.get_info(node.id).addr
            if identity in seen:
                continue
            seen.add(identity)
            if len(seen) > MAX_OBJECTS or depth > MAX_DEPTH:
                raise InputError(
                    f"{file.filename}: it holds too many objects to look through; copy the image out of it"
                )
            if isinstance(node, h5py.Dataset) and node.shape is not None:
                found[place] = node
            elif isinstance(node, h5py.Group):
                waiting.append((node, place, depth + 1))
    return found, outside


def check_storage(node: Any, name: str, max_pixels: int) -> None:
    """Refuse what is stored elsewhere, or would take more memory than its shape is worth."""
    if node.is_virtual or node.external:
        raise InputError(
            f"{name}: its data lie in other files (virtual or external storage), which are not followed; "
            "copy them into one file (h5repack, or export again)"
        )
    check_kind(node.dtype, name)
    check_size(node.shape, node.dtype.itemsize, name, max_pixels)
    if node.chunks is not None:
        check_size(node.chunks, node.dtype.itemsize, f"{name} (one chunk)", max(max_pixels, 1))
        _check_chunks(node, name)
    stored = node.id.get_storage_size()
    if node.chunks is None and stored < math.prod(node.shape) * node.dtype.itemsize:
        raise InputError(f"{name}: its data were never written ({stored} bytes are stored); export the file again")


def _check_chunks(node: Any, name: str) -> None:
    """Refuse a deflated chunk that unpacks to more than a chunk holds: the library would take memory until it ends."""
    whole = math.prod(node.chunks) * node.dtype.itemsize
    if node.compression != "gzip":
        return
    for index in range(node.id.get_num_chunks()):
        info = node.id.get_chunk_info(index)
        if info.filter_mask or info.size > 2 * whole + 4096:
            raise InputError(f"{name}: its compressed data are damaged; copy the file again, or export it anew")
        _, packed = node.id.read_direct_chunk(info.chunk_offset)
        if len(zlib.decompressobj().decompress(packed, whole + 1)) > whole:
            raise InputError(f"{name}: its data unpack to more than its header says; export the file again")


def decoded(node: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the values as they are meant: fill values missing, packing undone."""
    values = node[...]
    scale, offset = (_number(node, key) for key in ("scale_factor", "add_offset"))
    fill = _number(node, "_FillValue")
    missing = None if fill is None or math.isnan(fill) else values == fill
    notes = ()
    if scale is not None or offset is not None:
        values = values * (1.0 if scale is None else scale) + (0.0 if offset is None else offset)
        notes = (f"the file's scale_factor {scale or 1:g} and add_offset {offset or 0:g} were applied",)
    if missing is not None and missing.any():
        values = np.where(missing, np.nan, values)
    return values, notes


def _number(node: Any, key: str) -> float | None:
    value = np.asarray(node.attrs[key]) if key in node.attrs else np.empty(0)
    return float(value.reshape(-1)[0]) if value.size == 1 and value.dtype.kind in "biuf" else None


def attribute_text(node: Any, key: str) -> str:
    value = node.attrs.get(key, "")
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _pixel_tags(file: Any, node: Any, found: dict[str, Any]) -> list[PixelTag]:
    tags = []
    for owner in (node, node.parent, file):
        tags += _attribute_tags(owner)
        if tags:
            break
    coordinates = _coordinate_tag(node, found)
    return tags + ([coordinates] if coordinates else [])


def _attribute_tags(owner: Any) -> list[PixelTag]:
    """Read the pixel size from the attributes of a dataset or group; a number without a unit gives no length."""
    keys = {"element_size_um": "um", "pixel_size_um": "um", "pixel_size_nm": "nm"}
    unit = next((t for k in ("pixel_size_unit", "pixel_size_units") if (t := attribute_text(owner, k))), "")
    tags = []
    for key in (*keys, "pixel_size"):
        if key not in owner.attrs:
            continue
        written = np.asarray(owner.attrs[key])
        if written.dtype.kind not in "iuf":
            number, _, own = attribute_text(owner, key).strip().partition(" ")
            written, unit = np.asarray(float(number)), own or unit
        size = np.broadcast_to(written.astype(float).reshape(-1)[-2:], (2,))
        length = length_unit(keys.get(key, unit))
        words = f"{size[1]:g} {keys.get(key, unit) or 'without a unit'}"
        pair = None if length is None else (float(size[0]) * length, float(size[1]) * length)
        tags.append(PixelTag(f"attribute {key}", pair, words))
    return tags


def _coordinate_tag(node: Any, found: dict[str, Any]) -> PixelTag | None:
    """Read the pixel size from the coordinates of the last two axes: attached to them, or y and x beside them."""
    sizes, words = [], []
    for axis, letter in ((node.ndim - 2, "y"), (node.ndim - 1, "x")):
        attached = [
            scale for scale in node.dims[axis].values() if scale.ndim == 1 and scale.shape[0] == node.shape[axis]
        ]
        beside = found.get(node.name.rsplit("/", 1)[0] + f"/{letter}")
        if not attached and beside is not None and beside.shape == (node.shape[axis],):
            attached = [beside]
        if not attached or attached[0].shape[0] < 2 or attached[0].dtype.kind not in "iuf":
            return None
        values = np.asarray(attached[0][...], dtype=float)
        steps = np.diff(values)
        unit = attribute_text(attached[0], "units") or attribute_text(attached[0], "unit")
        if not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0) or steps.mean() == 0:
            return PixelTag(f"coordinate {letter}", None, "not evenly spaced")
        length = length_unit(unit)
        if length is None:
            return PixelTag(f"coordinate {letter}", None, f"unit {unit!r}, no length" if unit else "no unit")
        sizes.append(abs(float(steps.mean())) * length)
        words.append(f"{letter} in steps of {abs(steps.mean()):g} {unit}")
    return PixelTag("coordinates", (sizes[0], sizes[1]), ", ".join(words))
