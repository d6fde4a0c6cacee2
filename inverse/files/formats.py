"""Which format a file has: told by its first bytes, not by its name."""

import hashlib
from pathlib import Path

from excidiff.inverse.files.hdf import read_hdf
from excidiff.inverse.files.raster import MAX_PIXELS, Raster
from excidiff.inverse.files.tables import read_npy, read_npz, read_table
from excidiff.inverse.files.tiff import read_tiff
from excidiff.solver.solution import InputError

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
    b"Andor Technology": "an Andor .sif file",
}


def read_raster(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Raster, Path]:
    """Read a file of any known format; return what it holds and its path. "file:member" names one array in it.

    Raises InputError if it cannot be opened, has another format, is damaged, or claims more than `max_pixels`.
    """
    file, member = _split_member(str(path))
    name = file.name
    try:
        if not file.exists():
            raise InputError(f"{path}: there is no such file; check the path")
        if not file.is_file():
            raise InputError(f"{path}: this is no file{' but a folder' * file.is_dir()}; give an image file")
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise InputError(
            f"{path}: it cannot be opened ({error.strerror}); check the path and the permissions"
        ) from error
    if not head:
        raise InputError(f"{name}: the file is empty (0 bytes); copy it again from its source")
    foreign = next((words for magic, words in FOREIGN.items() if head.startswith(magic)), None)
    if foreign:
        raise InputError(f"{name}: this is {foreign}, which is not read; export the camera's own data as TIFF (16 bit)")
    if head.startswith(b"PK\x03\x04"):
        return read_npz(file, member, max_pixels=max_pixels), file
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return read_hdf(file, member, max_pixels=max_pixels), file
    if member is not None:
        raise InputError(f"{name}: {member!r} was asked for, but only HDF5, NetCDF and .npz files have named arrays")
    if head.startswith(TIFF):
        return read_tiff(file, max_pixels=max_pixels), file
    if head.startswith(b"\x93NUMPY"):
        return read_npy(file, max_pixels=max_pixels), file
    return read_table(file, max_pixels=max_pixels), file


def _split_member(path: str) -> tuple[Path, str | None]:
    file, colon, member = path.rpartition(":")
    whole = Path(path)
    if colon and file and not whole.exists() and Path(file).is_file():
        return Path(file), member
    return whole, None


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
