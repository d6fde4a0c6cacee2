"""What a file holds before anyone says what it means: frames of numbers, and every statement about the pixel size.

The readers of the single formats all give a `Raster`. What they share stands here: sizes are judged from the header,
before memory is taken, and whatever a damaged file provokes in a library becomes an `InputError`.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from excidiff.inverse.files.axes import Axis
from excidiff.inverse.files.units import QUANTITIES, format_quantity
from excidiff.solver.solution import InputError

MAX_PIXELS = 2**28  # all frames together: a 16 Mpixel camera's 16 frames, 2 GiB in double precision
PRINTING = (72, 75, 90, 96, 100, 120, 144, 150, 180, 200, 240, 300, 360, 400, 600, 720, 1200, 2400, 4800)  # per inch


@dataclass(frozen=True)
class PixelTag:
    """One statement of the pixel size: who makes it, the size (y, x) in µm or None if it gives no length, its words."""

    source: str
    size: tuple[float, float] | None
    words: str

    @property
    def possible(self) -> bool:
        """Whether the size lies within 1 nm to 100 µm."""
        kind = QUANTITIES["pixel_size"]
        return self.size is not None and all(kind.low <= s <= kind.high for s in self.size)

    def agrees(self, other: "PixelTag") -> bool:
        """Whether both state the same size, to 0.1 %."""
        return self.size is not None and other.size is not None and np.allclose(self.size, other.size, 1e-3, 0)


@dataclass(frozen=True, eq=False)
class Raster:
    """The numbers of one file as frames (frame, y, x) in the file's own dtype, and what the file says of them.

    axes: of the array as the file has it, which may have more dimensions than the frames.
    """

    frames: np.ndarray
    format: str
    tags: tuple[PixelTag, ...] = ()
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class PixelSize:
    """The pixel size settled from all statements: (y, x) in µm or None, its origin, and why there is none."""

    size: tuple[float, float] | None
    origin: str
    notes: tuple[str, ...] = ()
    problem: str | None = None


def settle_pixel_size(tags: Sequence[PixelTag], name: str) -> PixelSize:
    """Choose the pixel size that a file states.

    Statements that agree count as one. Of statements that disagree the only one within 1 nm–100 µm is used, and all
    are shown; if several are possible, or none is, there is no size, and `problem` says so.
    """
    stated = [tag for tag in tags if tag.size is not None]
    if not stated:
        seen = "; ".join(f"{tag.source}: {tag.words}" for tag in tags)
        return PixelSize(None, f"{name} states none{f' ({seen})' if seen else ''}")
    possible = [tag for tag in stated if tag.possible]
    shown = ", ".join(f"{tag.source} says {told_size(tag.size)} ({tag.words})" for tag in stated)
    if not possible:
        problem = f"{shown}: outside 1 nm to 100 µm, so its unit must have slipped"
        return PixelSize(None, f"no possible one in {name}: {problem}", problem=problem)
    first = possible[0]
    if not all(first.agrees(tag) for tag in possible):
        problem = f"the tags disagree and each is possible: {shown}"
        return PixelSize(None, f"{name}: {problem}", problem=problem)
    others = [tag for tag in stated if not tag.possible]
    note = f"the pixel size tags disagree: {shown}; {told_size(first.size)} is the only one within 1 nm to 100 µm"
    return PixelSize(first.size, f"{first.source} of {name}", notes=(note,) if others else ())


def told_size(size: tuple[float, float] | None) -> str:
    """Write a pixel size (y, x) in words."""
    if size is None:
        return "no length"
    y, x = size
    same = math.isclose(x, y, rel_tol=1e-9)
    return format_quantity(x, "length") if same else (
        f"{format_quantity(x, 'length')} in x, {format_quantity(y, 'length')} in y"
    )  # fmt: skip


def print_resolution(size: tuple[float, float]) -> bool:
    """Tell whether a spacing in µm is a printer's or screen's resolution: 72, 96, 300 … per inch."""
    return any(math.isclose(25400.0 / s, dpi, rel_tol=2e-3) for s in size for dpi in PRINTING)


def check_size(shape: Sequence[int], itemsize: int, name: str, max_pixels: int) -> None:
    """Raise InputError if `shape`, as the header claims it, is empty or holds more than `max_pixels` values."""
    if not shape or any(n < 1 for n in shape):
        raise InputError(f"{name}: the image is empty (shape {tuple(shape)}); export it again")
    count = math.prod(int(n) for n in shape)
    if count > max_pixels:
        claimed = f"{' × '.join(str(n) for n in shape)} values ({count * itemsize / 2**30:.3g} GiB)"
        raise InputError(
            f"{name}: its header claims {claimed}, more than the {max_pixels:,} allowed. "
            "If the file really is that large, raise max_pixels"
        )


def check_kind(dtype: np.dtype, name: str) -> None:
    """Raise InputError unless the values are real numbers."""
    if dtype.hasobject:
        raise InputError(f"{name}: it holds pickled Python objects, which can run code; save plain numbers instead")
    if dtype.kind not in "biuf":
        raise InputError(f"{name}: its values are of type {dtype}; an image holds real numbers: export it as such")


@contextmanager
def damage_reported(name: str, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into an InputError; its warnings are not for the person."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{name}: there is not enough memory to read it; take a region or fewer frames") from None
    except Exception as error:  # a damaged file makes a library raise anything
        words = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise InputError(
            f"{name}: this {kind} file is damaged or truncated ({words}); "
            "copy it again from its source, or export it anew"
        ) from error
