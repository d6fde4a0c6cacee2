"""Arrays with their axes from any file that has them: streak images, line scans of spectra, hyperspectral maps.

Read from HyperSpy's .hspy and .zspy, HDF5 and NetCDF-4 with coordinates, zarr, Andor's .sif, and through RosettaSciIO,
where a person has it, Gatan's .dm3 and .dm4 and others (see `READERS` in files.foreign).
"""

from dataclasses import replace
from pathlib import Path

from excidiff.inverse.files.axes import Axis, Labelled
from excidiff.inverse.files.formats import file_hash, read_axes, split_member
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.solver.solution import InputError

__all__ = ["Axis", "Labelled", "read_labelled"]


def read_labelled(path: str | Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Labelled:
    """Read an array with its axes: times in ns, wavelengths in nm, places in µm, energies in eV or meV as written.

    member: its name in the file, or the title of a signal, also as "file:member"; needed where there are several.
    Axes without coordinates are numbered and have no unit. Raises InputError if the file has no axes in its format, is
    damaged, or claims more than `max_pixels`.
    """
    file, own = split_member(str(path))
    found = read_axes(file, member if member is not None else own, max_pixels=max_pixels)
    if found is None:
        raise InputError(
            f"{file.name}: files of its kind have no axes; they are read from .hspy, .zspy, HDF5, NetCDF-4, zarr, "
            ".sif and .dm4. Tables of spectra are read with read_spectral_map, decays with read_decay"
        )
    return replace(found, file=str(path), sha256=file_hash(file))
