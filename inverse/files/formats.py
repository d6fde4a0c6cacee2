"""Which format a file has: told by its first bytes, not by its name."""

import hashlib
from pathlib import Path

from excidiff.inverse.files.andor import MAGIC, read_sif
from excidiff.inverse.files.axes import Labelled
from excidiff.inverse.files.becker_hickl import is_sdt
from excidiff.inverse.files.foreign import READERS, read_foreign
from excidiff.inverse.files.hdf import read_hdf, read_labelled_hdf
from excidiff.inverse.files.hyperspy import is_hspy, read_hspy
from excidiff.inverse.files.picoquant import PHU, PTU
from excidiff.inverse.files.raster import MAX_PIXELS, PixelTag, Raster
from excidiff.inverse.files.tables import read_npy, read_npz, read_table
from excidiff.inverse.files.tiff import read_tiff
from excidiff.inverse.files.units import length_unit
from excidiff.inverse.files.zarrs import is_zarr, read_zarr
from excidiff.solver.solution import InputError

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FOREIGN = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
    b"CDF\x01": "a classic NetCDF file",
    b"CDF\x02": "a classic NetCDF file",
    b"CDF\x05": "a classic NetCDF file",
}


def read_raster(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Raster, Path]:
    """Read a file of any known format; return what it holds and its path. "file:member" names one array in it.

    Raises InputError if it cannot be opened, has another format, is damaged, or claims more than `max_pixels`.
    """
    file, member = split_member(str(path))
    name = file.name
    head = _head(file, str(path))
    foreign = next((words for magic, words in FOREIGN.items() if head.startswith(magic)), None)
    if foreign:
        raise InputError(f"{name}: this is {foreign}, which is not read; export the camera's own data as TIFF (16 bit)")
    if head.startswith((PTU, PHU)) or (head and is_sdt(file)):
        raise InputError(f"{name}: this is a file of a photon counter; its decays are read with read_decay, --decay")
    if head.startswith(HDF5) and not is_hspy(file):
        return read_hdf(file, member, max_pixels=max_pixels), file
    labelled = read_axes(file, member, max_pixels=max_pixels)
    if labelled is not None:
        return _as_raster(labelled, name), file
    if head.startswith(ZIP):
        return read_npz(file, member, max_pixels=max_pixels), file
    if member is not None:
        raise InputError(f"{name}: {member!r} was asked for, but only HDF5, NetCDF, zarr and .npz have named arrays")
    if head.startswith(TIFF):
        return read_tiff(file, max_pixels=max_pixels), file
    if head.startswith(b"\x93NUMPY"):
        return read_npy(file, max_pixels=max_pixels), file
    return read_table(file, max_pixels=max_pixels), file


def read_axes(file: Path, member: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Labelled | None:
    """Read an array with its axes from a file whose format has such; None for any other format."""
    head = _head(file, str(file))
    if head.startswith(HDF5):
        return (read_hspy if is_hspy(file) else read_labelled_hdf)(file, member, max_pixels=max_pixels)
    if head.startswith(MAGIC):
        return read_sif(file, max_pixels=max_pixels)
    if file.is_dir() or (head.startswith(ZIP) and is_zarr(file)):
        return read_zarr(file, member, max_pixels=max_pixels)
    if file.suffix.lower() in READERS:
        return read_foreign(file, member, max_pixels=max_pixels)
    return None


def _head(file: Path, path: str) -> bytes:
    """The first bytes of a file; none of a folder that is a zarr store. Raises InputError if it cannot be opened."""
    try:
        if not file.exists():
            raise InputError(f"{path}: there is no such file; check the path")
        if file.is_dir() and is_zarr(file):
            return b""
        if not file.is_file():
            raise InputError(f"{path}: this is no file{' but a folder' * file.is_dir()}; give an image file")
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(
            f"{path}: it cannot be opened ({error.strerror}); check the path and the permissions"
        ) from error
    if not head:
        raise InputError(f"{file.name}: the file is empty (0 bytes); copy it again from its source")
    return head


def _as_raster(labelled: Labelled, name: str) -> Raster:
    """Take the last two axes for y and x; their steps are the pixel size where they are lengths."""
    if labelled.values.ndim < 2:
        raise InputError(f"{name}: its array has one axis, {labelled.axes[0].name}; an image has two")
    last = labelled.axes[-2:]
    words = ", ".join(f"{a.name} in steps of {a.write(abs(a.step or 0.0))}" for a in last)
    size = None
    if all(axis.kind in ("x", "y") and axis.step for axis in last):
        size = tuple(abs(axis.step or 0.0) * (length_unit(axis.unit) or 1.0) for axis in last)
    tags = (PixelTag("axes", size, words),) if any(axis.unit for axis in last) else ()  # type: ignore[arg-type]
    frames = labelled.values.reshape(-1, *labelled.values.shape[-2:])
    labels = _frame_labels(labelled) if labelled.values.ndim == 3 else ()
    return Raster(frames, labelled.format, tags, labels, labelled.notes, labelled.axes)


def _frame_labels(labelled: Labelled) -> tuple[str, ...]:
    axis = labelled.axes[0]
    return tuple(f"{axis.name} {axis.write(value)}" for value in axis.values.tolist())


def split_member(path: str) -> tuple[Path, str | None]:
    """Split "file:member" into a file and the name of an array in it, None if none is named."""
    file, colon, member = path.rpartition(":")
    whole = Path(path)
    if colon and file and not whole.exists() and Path(file).exists():
        return Path(file), member
    return whole, None


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; of a folder, that of the names and hashes of all files in it."""
    if file.is_dir():
        inner = sorted(part for part in file.rglob("*") if part.is_file())
        listed = "".join(f"{part.relative_to(file).as_posix()} {file_hash(part)}\n" for part in inner)
        return hashlib.sha256(listed.encode()).hexdigest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
