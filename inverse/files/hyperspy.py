"""HyperSpy's files: arrays with axes, in HDF5 (.hspy) or zarr (.zspy).

A file has groups Experiments/TITLE, each with an array `data` and, for every dimension N of it, a group axis-N with
name, units, size, and offset and scale, or for uneven axes the values themselves (HyperSpy user guide, "Saving and
loading"; rosettasciio.readthedocs.io, formats HSPY and ZSPY).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.axes import Axis, Labelled, choose_array, make_axis
from excidiff.inverse.files.hdf import check_storage, decoded, find_datasets
from excidiff.inverse.files.raster import MAX_PIXELS, damage_reported
from excidiff.solver.solution import InputError

FORMAT = "HyperSpy"
HOME = "Experiments"


def is_hspy(path: Path) -> bool:
    """Whether an HDF5 file is one of HyperSpy's."""
    import h5py

    with damage_reported(path.name, "HDF5"), h5py.File(path, "r") as file:
        link = file.get(HOME, getlink=True) if HOME in file else None
        return isinstance(link, h5py.HardLink) and isinstance(file[HOME], h5py.Group)


def read_hspy(path: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Labelled:
    """Read the signal with the title `member`, or the only one. Raises InputError for damaged files."""
    import h5py

    name = path.name
    with damage_reported(name, "HyperSpy"), h5py.File(path, "r") as file:
        found, _ = find_datasets(file)
        title = choose_array(signals({key: node.shape for key, node in found.items()}), member, name)
        place = f"/{HOME}/{title}"
        node = found[f"{place}/data"]
        check_storage(node, f"{name}:{node.name}", max_pixels)

        def read(number: int) -> np.ndarray:
            key = f"{place}/axis-{number}/axis"
            if key not in found:
                raise InputError(f"{name}: its axis {number} has no values; save it with a uniform or a data axis")
            check_storage(found[key], f"{name}:{key}", max_pixels)
            return found[key][...]

        owners = [found_attributes(file, f"{place}/axis-{number}") for number in range(node.ndim)]
        axes = signal_axes(owners, node.shape, read, name)
        values, notes = decoded(node)
        return Labelled(values, axes, FORMAT, str(path), notes=(*notes, f"signal {title!r}"))


def signals(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's signals by their title, from those of all arrays by their place in it."""
    parts = {key: key.strip("/").split("/") for key in shapes}
    return {p[1]: shapes[key] for key, p in parts.items() if len(p) == 3 and p[0] == HOME and p[2] == "data"}


def found_attributes(file: Any, key: str) -> dict[str, Any]:
    """The attributes of a group; none if it is not there."""
    return dict(file[key].attrs) if key in file else {}


def signal_axes(
    owners: list[dict[str, Any]], shape: tuple[int, ...], read: Callable[[int], np.ndarray], name: str
) -> tuple[Axis, ...]:
    """The axes that the attributes of the groups axis-N describe; `read(N)` gives the values of an uneven one.

    Raises InputError for one that is a formula, which is not evaluated, or has another length than the array.
    """
    axes = []
    for place, (owner, size) in enumerate(zip(owners, shape, strict=True)):
        title = _word(owner.get("name"))
        if "expression" in owner:
            raise InputError(
                f"{name}: its axis {title or place} is a formula, which is not evaluated; turn it into values with "
                "convert_to_non_uniform_axis() and save it again"
            )
        scale, offset, written = (owner.get(key) for key in ("scale", "offset", "axis"))
        if written is None and scale is not None and offset is not None:
            values = float(offset) + float(scale) * np.arange(size)
        else:
            values = np.asarray(read(place) if written is None else written, dtype=float)
        if values.shape != (size,) or int(owner.get("size", size)) != size:
            raise InputError(f"{name}: its axis {title or place} has another length than its array; save it again")
        where = "navigation" if bool(owner.get("navigate", False)) else "signal"
        origin = f"axis-{place} of {name}, a {where} axis"
        axes.append(make_axis(title, _word(owner.get("units")), values, origin, place=place))
    return tuple(axes)


def _word(value: Any) -> str:
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return "" if value is None else str(value)
