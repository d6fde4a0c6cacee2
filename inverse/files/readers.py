"""From a file to an `Image`: TIFF, .npy and .npz, tables of text, HDF5 and NetCDF, zarr, HyperSpy's, cameras' .sif.

The pixel size comes from the file or from the
person, is shown with its origin, and is never assumed. Every message begins with the file's name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.axes import Axis
from excidiff.inverse.files.counters import describe_counter
from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.files.formats import file_hash, read_raster
from excidiff.inverse.files.raster import MAX_PIXELS, PixelSize, settle_pixel_size, told_size
from excidiff.inverse.files.region import region_note, region_offset, region_slices
from excidiff.inverse.files.saturation import saturated_pixels
from excidiff.inverse.files.units import parse_quantity
from excidiff.solver.solution import InputError


class ImageOptions(TypedDict, total=False):
    """What may be said of an image beside its file; everything that is not said keeps its default.

    pixel_size: "40 nm", a number in µm, or a pair (y, x); it wins over the file. gain (counts per photoelectron),
    offset (counts), read_noise (photoelectrons r.m.s.), excess_noise (variance factor), saturation (counts; inf:
    never): see `Camera`. dark, flat, mask, uncertainty: files or arrays of the image's shape; a mask is non-zero where
    pixels are used; a dark or flat stack is averaged. region: (x0, x1, y0, y1) in pixels, ends not included.
    mask_nonfinite: leave out pixels that are NaN or infinite. max_pixels: the most values a header may claim.
    """

    pixel_size: str | float | Sequence[float] | None
    gain: float | None
    offset: float
    read_noise: float
    excess_noise: float
    saturation: float | None
    dark: str | Path | np.ndarray | None
    flat: str | Path | np.ndarray | None
    mask: str | Path | np.ndarray | None
    uncertainty: str | Path | np.ndarray | None
    region: Sequence[int] | None
    mask_nonfinite: bool
    max_pixels: int


@dataclass(frozen=True)
class Unreadable:
    """A measurement that could not be used: its file, the frame if the file has several, and why."""

    file: str
    reason: str
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class Map:
    """A map read from a file: values (y, x), its spacing (y, x) in µm if the file states one, and where that stands."""

    values: Float[np.ndarray, "y x"]
    spacing: tuple[float, float] | None
    spacing_origin: str
    file: str
    sha256: str


def read_images(path: str | Path, **options: Unpack[ImageOptions]) -> list[Image]:
    """Read every frame of a file as an `Image`; see `ImageOptions`.

    "file.h5:/group/image" and "file.npz:name" name one dataset. Raises InputError for anything unusable.
    """
    results = _read(path, options)
    for result in results:
        if isinstance(result, Unreadable):
            raise InputError(result.reason)
    return [result for result in results if isinstance(result, Image)]


def read_image(path: str | Path, *, frame: int | None = None, **options: Unpack[ImageOptions]) -> Image:
    """Read one image; of a stack, the frame with number `frame` (the first is 0)."""
    result = _read(path, options, frame, single=True)[0]
    if isinstance(result, Unreadable):
        raise InputError(result.reason)
    return result


def read_batch(paths: Iterable[str | Path], **options: Unpack[ImageOptions]) -> list[Image | Unreadable]:
    """Read many files, every frame of each, in order; one that cannot be used becomes an `Unreadable` in its place.

    The dark, flat and mask, which all share, must be readable: their faults raise InputError.
    """
    shared = _with_maps(options)
    results: list[Image | Unreadable] = []
    for path in paths:
        try:
            results += _read(path, shared)
        except InputError as error:
            results.append(Unreadable(str(path), str(error)))
    return results


def read_map(path: str | Path, *, average: bool = False, max_pixels: int = MAX_PIXELS) -> Map:
    """Read a map (landscape, mask, dark, flat, PSF) from any of the formats; values are taken as they stand.

    With `average` a stack gives the mean of its frames. Raises InputError for a stack otherwise.
    """
    raster, file = read_raster(path, max_pixels=max_pixels)
    if len(raster.frames) > 1 and not average:
        raise InputError(f"{file.name}: it holds {len(raster.frames)} frames where one map is needed; save the one")
    settled = settle_pixel_size(raster.tags, file.name)
    values = raster.frames.mean(axis=0, dtype=float)
    return Map(values, settled.size, settled.origin, str(path), file_hash(file))


def describe(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> dict[str, object]:
    """Say what a file holds, in words and plain numbers: one entry per line of `excidiff info`, in order."""
    counted = describe_counter(Path(path), max_values=max_pixels)
    if counted is not None:
        return counted
    raster, file = read_raster(path, max_pixels=max_pixels)
    settled = settle_pixel_size(raster.tags, file.name)
    frames = raster.frames
    finite = np.isfinite(frames) if frames.dtype.kind == "f" else np.ones(frames.shape, bool)
    values = frames[finite]
    entries: dict[str, object] = {
        "file": str(path),
        "format": raster.format,
        "shape": f"{frames.shape[1]} rows × {frames.shape[2]} columns",
        "frames": len(frames),
        "values": str(frames.dtype),
    }
    meaning = _meaning(raster.axes)
    if meaning is not None:
        entries["holds"] = meaning
    if any(axis.unit for axis in raster.axes):
        entries |= {f"axis {axis.name.removeprefix('axis ')}": axis.told for axis in raster.axes}
    if any(raster.labels) and len(frames) > 1:
        entries["frame axes"] = f"{raster.labels[0]} … {raster.labels[-1]}"
    if not finite.all():
        entries["not finite"] = f"{np.count_nonzero(~finite)} pixels"
    if values.size:
        entries["counts"] = f"{values.min():g} to {values.max():g}"
        entries["total"] = f"{values.sum(dtype=float):g}"
        entries["saturation"] = _saturation_words(frames, finite)
    if meaning is None or settled.size:
        entries["pixel size"] = told_size(settled.size) if settled.size else "not known"
        entries["pixel size from"] = settled.origin
        for tag in raster.tags:
            entries[tag.source] = f"{tag.words} → {told_size(tag.size)}"
    notes = [*raster.notes, *settled.notes]
    if notes:
        entries["notes"] = "; ".join(notes)
    return entries


def _meaning(axes: Sequence[Axis]) -> str | None:
    """What an array with these axes is, and what reads it; None for images and for what nothing tells."""
    kinds = {axis.kind for axis in axes if axis.values.size > 1}
    spectra, places = bool(kinds & {"wavelength", "energy"}), [name for name in ("x", "y") if name in kinds]
    if "time" in kinds and spectra and not places:
        return "a streak image of spectra in time: excidiff peaks FILE; or --decay FILE, --bands for parts"
    if "time" in kinds and len(places) == 1 and not spectra:
        return f"a streak image along {places[0]}: --frames FILE with --slit"
    if spectra and places and "time" not in kinds:
        what = "over a map" if len(places) == 2 else f"along {places[0]}"
        return f"spectra {what}: excidiff peaks FILE; or --spectral-map FILE"
    return None


def _saturation_words(frames: np.ndarray, finite: np.ndarray) -> str:
    found = [saturated_pixels(frame, used, None) for frame, used in zip(frames, finite, strict=True)]
    counts = [int(np.count_nonzero(full)) for full, _ in found]
    if not any(counts):
        return "none seen"
    levels = sorted({f"{level:g}" for _, level in found if level is not None})
    where = "" if len(frames) == 1 else f" in {np.count_nonzero(counts)} of {len(frames)} frames"
    return f"{sum(counts)} pixels at {', '.join(levels[:3])} counts{where}"


def _read(
    path: str | Path, options: ImageOptions, frame: int | None = None, *, single: bool = False
) -> list[Image | Unreadable]:
    """Read the frames of a file; a frame that cannot be used is an `Unreadable`, so that it harms no other."""
    options = _with_maps(options)
    raster, file = read_raster(path, max_pixels=options.get("max_pixels", MAX_PIXELS))
    chosen = _chosen_frames(len(raster.frames), frame, single, file.name)
    settled = with_given_size(settle_pixel_size(raster.tags, file.name), options.get("pixel_size"), file.name)
    if settled.problem:
        raise InputError(f'{file.name}: {settled.problem}; give the right one, as in --pixel-size "40 nm"')
    digest = file_hash(file)
    notes = (*raster.notes, *settled.notes)
    results: list[Image | Unreadable] = []
    for index in chosen:
        number = index if len(raster.frames) > 1 else None
        try:
            results.append(_image(raster.frames[index], str(path), number, digest, settled, notes, options))
        except InputError as error:
            results.append(Unreadable(str(path), str(error), number))
    return results


def _chosen_frames(count: int, frame: int | None, single: bool, name: str) -> Sequence[int]:
    if frame is not None and not 0 <= frame < count:
        raise InputError(f"{name}: there is no frame {frame}; it has {count}, numbered from 0")
    if frame is None and single and count > 1:
        raise InputError(f"{name}: it holds {count} frames; say which one (frame=0 … {count - 1}), or read them all")
    return range(count) if frame is None else [frame]


def _image(
    counts: np.ndarray,
    file: str,
    frame: int | None,
    digest: str,
    settled: PixelSize,
    notes: tuple[str, ...],
    options: ImageOptions,
) -> Image:
    """Cut out the region, leave out what is not finite if asked, and let `Image` judge the rest."""
    shape, region = counts.shape, options.get("region")
    name = file if frame is None else f"{file} frame {frame}"
    part = region_slices(region, shape, name) if region is not None else (slice(None), slice(None))
    maps = {key: options.get(key) for key in ("dark", "flat", "mask", "uncertainty")}
    maps = {key: value[part] if np.shape(value) == shape else value for key, value in maps.items()}  # type: ignore[index]
    counts = counts[part]
    if region is not None:
        notes = (*notes, region_note(region, shape))
    missing = ~np.isfinite(counts) if counts.dtype.kind == "f" else np.zeros(counts.shape, bool)
    if options.get("mask_nonfinite", False) and missing.any():
        used = np.ones(counts.shape, bool) if maps["mask"] is None else np.asarray(maps["mask"])
        maps["mask"] = used & ~missing if used.shape == counts.shape else used
        notes = (*notes, f"{np.count_nonzero(missing)} pixels that are not finite masked")
    return Image(
        counts,
        settled.size,
        settled.origin,
        camera=_camera(options),
        file=file,
        frame=frame,
        sha256=digest,
        offset=(0.0, 0.0) if region is None else region_offset(region, shape),
        notes=notes,
        **maps,  # type: ignore[arg-type]
    )


def _camera(options: ImageOptions) -> Camera:
    gain = options.get("gain")
    return Camera(
        gain=1.0 if gain is None else gain,
        offset=options.get("offset", 0.0),
        read_noise=options.get("read_noise", 0.0),
        excess_noise=options.get("excess_noise", 1.0),
        saturation=options.get("saturation"),
        gain_known=gain is not None,
    )


def _with_maps(options: ImageOptions) -> ImageOptions:
    """Read the maps that are given as files; a mask becomes True where it is not zero."""
    read = options.copy()
    for key in ("dark", "flat", "mask", "uncertainty"):
        value = options.get(key)
        if isinstance(value, str | Path):
            average = key in ("dark", "flat")
            value = read_map(value, average=average, max_pixels=options.get("max_pixels", MAX_PIXELS)).values
        if key == "mask" and value is not None:
            value = np.nan_to_num(np.asarray(value)) != 0
        read[key] = value
    return read


def with_given_size(
    settled: PixelSize,
    given: str | float | Sequence[float] | None,
    name: str,
    *,
    option: str = "--pixel-size",
    what: str = "pixel size",
) -> PixelSize:
    """Let the person's pixel size win over the file's, with a note where they differ by more than 1 %."""
    if given is None:
        return settled
    parts = given.split(",") if isinstance(given, str) else np.atleast_1d(np.asarray(given, dtype=float)).tolist()
    if len(parts) not in (1, 2):
        raise InputError(f"{option} {given!r} is neither one length nor a pair y, x")
    sizes = [parse_quantity(part, "pixel_size", name=option) for part in parts]
    size = (sizes[0], sizes[-1])
    notes = []
    if settled.size and not np.allclose(size, settled.size, rtol=0.01, atol=0):
        notes.append(
            f"the given {what}, {told_size(size)}, is used, though the {settled.origin} says {told_size(settled.size)}"
        )
    if max(size) > 5:
        notes.append(
            f"a {what} of {told_size(size)} is large for a microscope image: is it the sample's, not the chip's?"
        )
    if settled.problem:
        notes.append(f"the given {what} is used; in {name} {settled.problem}")
    return PixelSize(size, "given by hand", tuple(notes))
