"""A rectangle of pixels: columns x0 … x1 − 1 and rows y0 … y1 − 1, written (x0, x1, y0, y1)."""

from collections.abc import Sequence

from excidiff.solver.solution import InputError


def region_slices(region: Sequence[int], shape: tuple[int, ...], name: str) -> tuple[slice, slice]:
    """Return (rows, columns) of `region` = (x0, x1, y0, y1) in pixels.

    Raises InputError, naming the image by `name`, if the region does not fit `shape` = (…, y, x).
    """
    if len(region) != 4 or any(int(edge) != edge for edge in region):
        raise InputError(f"{name}: region {tuple(region)} is not four whole pixels; give (x0, x1, y0, y1)")
    x0, x1, y0, y1 = (int(edge) for edge in region)
    ny, nx = shape[-2:]
    if not (0 <= x0 < x1 <= nx and 0 <= y0 < y1 <= ny):
        raise InputError(
            f"{name}: region x {x0}:{x1}, y {y0}:{y1} does not lie in the image, which has x 0:{nx}, y 0:{ny}; "
            "give x0, x1, y0, y1 in pixels, the ends not included"
        )
    return slice(y0, y1), slice(x0, x1)


def region_offset(region: Sequence[int], shape: tuple[int, ...]) -> tuple[float, float]:
    """How far the region's centre lies from that of an image of `shape` = (…, y, x), in pixels (y, x)."""
    x0, x1, y0, y1 = region
    return (y0 + y1 - shape[-2]) / 2, (x0 + x1 - shape[-1]) / 2


def region_note(region: Sequence[int], shape: tuple[int, ...]) -> str:
    """Say in words which part of an image is used."""
    x0, x1, y0, y1 = region
    return (
        f"region x {x0}:{x1}, y {y0}:{y1} of {shape[-1]} × {shape[-2]} pixels; positions are from the whole image's "
        "centre"
    )
