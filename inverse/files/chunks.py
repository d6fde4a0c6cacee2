"""What the chunks of a zarr array unpack to, judged before the library unpacks them.

Only codecs that turn bytes into bytes or numbers into numbers are let in: pickle runs code. Of the usual ones the size
that a chunk claims is read from its header (Blosc: bytes 4 to 7; Zstandard, RFC 8878, section 3.1.1.1; LZ4 as numcodecs
writes it: bytes 0 to 3), or for gzip and zlib found by unpacking no more than that. Shards, and zstd streams that do
not tell, are left to the library.
"""

import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from excidiff.inverse.files.raster import check_size
from excidiff.solver.solution import InputError

MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
OUTER = ("gzip", "zlib", "zstd", "blosc", "lz4")
PLAIN = {
    *(*OUTER, "bytes", "endian", "transpose", "crc32c", "crc32", "adler32", "fletcher32", "shuffle", "delta"),
    *("fixedscaleoffset", "quantize", "bitround", "packbits", "astype", "sharding_indexed"),
}
WIDER = 8  # by how much a filter after the compressor, such as astype, may widen numbers
ROOM = 4096  # bytes of headers and checksums


def check_chunks(node: Any, name: str, max_pixels: int) -> None:
    """Raise InputError for codecs that are not known, and for chunks that unpack to more than a chunk holds."""
    check_size(node.chunks, node.dtype.itemsize, f"{name} (one chunk)", max_pixels)
    codecs = list(_codecs(node.metadata.to_dict()))
    foreign = sorted(set(codecs) - PLAIN)
    if foreign:
        raise InputError(f"{name}: it is packed with {foreign[0]}, which is not read; save it with zstd, blosc or gzip")
    packer = next((codec for codec in codecs if codec in OUTER), None)
    if packer is None or "sharding_indexed" in codecs:
        return
    most = WIDER * prod(node.chunks) * node.dtype.itemsize + ROOM
    for packed in _stored(node):
        if _unpacked(packer, packed, most) > most:
            raise InputError(f"{name}: a chunk unpacks to more than its header says; save the array again")


def _codecs(metadata: dict[str, Any]) -> Iterator[str]:
    """The names of all codecs in an array's metadata: those of v2 have an id, those of v3 a name."""
    waiting = [metadata.get(key) for key in ("codecs", "compressor", "filters")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple):
            waiting.extend(part)
        elif isinstance(part, dict):
            title = part.get("id") or part.get("name")
            if title:
                yield str(title).rpartition(".")[2]
            inner = part.get("configuration")
            if isinstance(inner, dict):
                waiting.extend(inner.get(key) for key in ("codecs", "index_codecs"))


def _stored(node: Any) -> Iterator[bytes]:
    """The chunks of an array as they lie in its folder or zip file."""
    store, place = node.store_path.store, node.store_path.path
    if hasattr(store, "root"):
        for file in (Path(store.root) / place).rglob("*"):
            if file.is_file() and file.name not in MARKS:
                yield file.read_bytes()
        return
    with zipfile.ZipFile(store.path) as archive:
        for key in archive.namelist():
            if key.startswith(f"{place}/" if place else "") and key.rpartition("/")[2] not in MARKS:
                yield archive.read(key)


def _unpacked(packer: str, packed: bytes, most: int) -> int:
    """How many bytes a chunk unpacks to, or claims to; 0 if it does not tell."""
    if packer in ("gzip", "zlib"):
        return len(zlib.decompressobj(wbits=47).decompress(packed, most + 1))
    if packer == "blosc":
        return int.from_bytes(packed[4:8], "little")
    if packer == "lz4":
        return int.from_bytes(packed[:4], "little")
    if packed[:4] != b"\x28\xb5\x2f\xfd" or len(packed) < 5:
        return 0
    flags = packed[4]
    whole = bool(flags & 0x20)  # a single segment, which has no window byte
    size = (1 if whole else 0, 2, 4, 8)[flags >> 6]
    start = 5 + (not whole) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(packed[start : start + size], "little") + 256 * (size == 2)
