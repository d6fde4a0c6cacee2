"""Microscopes' and spectrometers' own files through RosettaSciIO, for those who have it.

It reads many makers' files and is under the GPL, so that it is no part of this project nor of what it installs; where a
person has installed it, its readers are asked (rosettasciio.readthedocs.io). They give an array, and of each dimension
name, units, scale and offset, or its values.
"""

from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.axes import Labelled, choose_array
from excidiff.inverse.files.extras import faults_reported
from excidiff.inverse.files.hyperspy import signal_axes
from excidiff.inverse.files.raster import MAX_PIXELS, check_kind, check_size
from excidiff.solver.solution import InputError

READERS = {  # which of its readers takes which files: those that luminescence is measured with
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".img": "hamamatsu",
    ".wdf": "renishaw",
    ".tvf": "trivista",
    ".sur": "digitalsurf",
    ".pro": "digitalsurf",
    ".emd": "emd",
    ".ser": "tia",
    ".emi": "tia",
}


def read_foreign(path: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Labelled:
    """Read the array with the title or number `member`, or the only one. Raises InputError without RosettaSciIO."""
    from importlib import import_module

    name, reader = path.name, READERS[path.suffix.lower()]
    check_size((max(1, path.stat().st_size),), 1, name, 16 * max_pixels)
    try:
        module = import_module(f"rsciio.{reader}")
    except ImportError as error:
        raise InputError(
            f"{name}: files {path.suffix} are read by RosettaSciIO, which is not installed ({error}); install it with: "
            "pip install rosettasciio — or export the data as TIFF, HDF5 or a table"
        ) from error
    with faults_reported(name, path.suffix, "rsciio"):
        found = module.file_reader(str(path), lazy=False)
        titles = [str(part.get("metadata", {}).get("General", {}).get("title") or "") for part in found]
        keys = [title if title and titles.count(title) == 1 else str(i) for i, title in enumerate(titles)]
        chosen = keys.index(
            choose_array({key: part["data"].shape for key, part in zip(keys, found, strict=True)}, member, name)
        )
        values = np.asarray(found[chosen]["data"])
        check_kind(values.dtype, name)
        check_size(values.shape, values.itemsize, name, max_pixels)
        owners: list[dict[str, Any]] = sorted(found[chosen]["axes"], key=_place)
        axes = signal_axes(owners, values.shape, _no_values, name)
        return Labelled(values, axes, f"{path.suffix}, by RosettaSciIO", str(path))


def _place(axis: dict[str, Any]) -> int:
    return int(axis.get("index_in_array", 0))


def _no_values(number: int) -> np.ndarray:
    raise ValueError(f"axis {number} has neither a scale nor values")
