r"""Numbers at the places of a regular lattice, as files have them: a laser that was scanned over a film.

A table lists the places, `x_um,y_um,counts`, in any order; or it is a matrix with one axis down and one across, named
with their units in its corner, `y_um\x_um`. Images and arrays have a number for every pixel, and axes or tags that say
how far the pixels are apart. However the axes run in the file, here both rise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from excidiff.inverse.files.axes import Axis
from excidiff.inverse.files.formats import read_raster, split_member
from excidiff.inverse.files.picoquant import is_ptu, read_ptu_image
from excidiff.inverse.files.raster import MAX_PIXELS, PixelSize, Raster, settle_pixel_size
from excidiff.inverse.files.tables import read_headed_columns
from excidiff.inverse.files.units import length_unit
from excidiff.solver.solution import InputError

TABLES = (".csv", ".tsv", ".txt", ".dat")
UNEVEN = 0.05  # of a step: by how much written places may differ from equal steps, which is rounding
SAME = 0.05  # of a gap: places nearer than this share of the widest gap are one place, written differently
_PLACE = re.compile(
    r"(?:pos(?:ition)?[\s_]*)?(?P<axis>[xy])(?:[\s_]*pos(?:ition)?)?[\s_(\[/]*(?P<unit>[A-Za-zµå]*)[\s)\]]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Lattice:
    """What a file has for each place: one or several arrays `numbers` in its own form, by the names of its columns.

    places: (y, x) where in the file's own numbers each place stands. x, y: µm, as the file counts them, or None where
    it only says how far pixels are apart, in `size`. where: in words, where the axes were found.
    """

    numbers: Mapping[str, np.ndarray]
    places: Int[np.ndarray, "y x"]
    y: Float[np.ndarray, " y"] | None
    x: Float[np.ndarray, " x"] | None
    size: PixelSize
    where: tuple[str, ...]
    format: str

    def arranged(self, values: np.ndarray, what: str, name: str) -> Float[np.ndarray, "y x"]:
        """`values` in the file's own form, or of a list of places also (y, x), as (y, x). InputError for others."""
        own = next(iter(self.numbers.values())).shape
        if np.shape(values) == own:
            return np.ravel(values)[self.places].astype(float)
        if len(own) > 1 or np.shape(values) != self.places.shape:
            raise InputError(
                f"{name}: its numbers have the shape {own}, the {what} {np.shape(values)}; make them alike"
            )
        return np.asarray(values, float)

    def column(self, title: str) -> Float[np.ndarray, "y x"]:
        """The numbers of one column as (y, x)."""
        return self.arranged(self.numbers[title], title, "")

    def same_places(self, other: "Lattice") -> bool:
        """Whether both have the same places, as far as both tell."""
        if self.places.shape != other.places.shape:
            return False
        pairs = [(a, b) for a, b in ((self.y, other.y), (self.x, other.x)) if a is not None and b is not None]
        return all(np.allclose(a, b, rtol=0, atol=UNEVEN * abs(a[1] - a[0])) for a, b in pairs)


def read_lattice(path: str | Path, *, channel: int | None = None, max_pixels: int = MAX_PIXELS) -> Lattice:
    """Read the numbers of a file with their places; channel: of a photon counter's file, the detector.

    Raises InputError for places without a unit, uneven, repeated or missing ones, and for files with several frames.
    """
    file, member = split_member(str(path))
    if channel is not None and not is_ptu(file):
        raise InputError(f"{file.name}: channel={channel} is for a photon counter's file, which this is not")
    table = _from_table(file, max_pixels) if member is None and file.suffix.lower() in TABLES else None
    if table is not None:
        return table
    if is_ptu(file):
        return from_raster(read_ptu_image(file, channel, max_values=max_pixels), file.name)
    raster, file = read_raster(path, max_pixels=max_pixels)
    return from_raster(raster, file.name)


def names_places(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether the header of a table names places x and y, and something besides."""
    file = Path(path)
    if file.suffix.lower() not in TABLES or not file.is_file():
        return False
    try:
        names = _header(file, max_pixels)[0]
    except InputError:
        return False
    return bool(_corner(names)) or (len(names) > 2 and set(_columns(names)) == {"x", "y"})


def _header(file: Path, max_pixels: int) -> tuple[tuple[str, ...], np.ndarray]:
    names, values, _ = read_headed_columns(file, max_pixels=max_pixels)
    return tuple(name.strip().strip('"').replace("μ", "µ") for name in names), values


def _columns(names: tuple[str, ...]) -> dict[str, int]:
    """The columns of places by their axis, the first of each."""
    found: dict[str, int] = {}
    for number, name in enumerate(names):
        match = _PLACE.fullmatch(name)
        if match is not None:
            found.setdefault(match["axis"].lower(), number)
    return found


def _corner(names: tuple[str, ...]) -> list[str] | None:
    """The names of the axes down and across of a matrix with both in its corner."""
    parts = re.split(r"[\\|]", names[0]) if names else []
    axes = [match["axis"].lower() for part in parts if (match := _PLACE.fullmatch(part.strip()))]
    return [part.strip() for part in parts] if len(parts) == 2 and set(axes) == {"x", "y"} else None


def _from_table(file: Path, max_pixels: int) -> Lattice | None:
    """A table that names its places; None for any other."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; check the path")
    names, values = _header(file, max_pixels)
    corner, columns = _corner(names), _columns(names)
    if corner is not None:
        return _matrix(corner, names, values, file.name)
    if set(columns) != {"x", "y"}:
        return None
    rest = [number for number in range(len(names)) if number not in columns.values()]
    if not rest:
        raise InputError(f"{file.name}: it has places and nothing measured there; add a column of counts or lifetimes")
    titles = {axis: names[number] for axis, number in columns.items()}
    along = {axis: _length(titles[axis], file.name) * values[:, number] for axis, number in columns.items()}
    axes, numbers = {}, {}
    for axis in ("y", "x"):
        axes[axis], numbers[axis] = _even(along[axis], axis, file.name)
    shape = (axes["y"].size, axes["x"].size)
    _check_complete(numbers, along, shape, file.name)
    places = np.empty(shape, int)
    places[numbers["y"], numbers["x"]] = np.arange(len(values))
    told = {axis: f"column {titles[axis]!r} of {file.name}" for axis in ("y", "x")}
    return _located({names[n]: values[:, n] for n in rest}, places, axes, told, "text table of places")


def _matrix(corner: list[str], names: tuple[str, ...], values: np.ndarray, name: str) -> Lattice:
    """A table with one axis of places down and one across."""
    try:
        across = np.array([float(title) for title in names[1:]])
    except ValueError:
        raise InputError(f"{name}: the first row is no axis of numbers; export it with its axes") from None
    if _PLACE.fullmatch(corner[0])["axis"].lower() == "x":  # type: ignore[index]  # the corner was matched before
        titles, along = {"x": corner[0], "y": corner[1]}, {"x": values[:, 0], "y": across}
    else:
        titles, along = {"y": corner[0], "x": corner[1]}, {"y": values[:, 0], "x": across}
    along = {axis: _length(titles[axis], name) * places for axis, places in along.items()}
    numbers = values[:, 1:]
    own = np.arange(numbers.size).reshape(numbers.shape)
    places, axes = _turned(own if titles["y"] == corner[0] else own.T, along, name)
    told = {axis: f"{titles[axis]!r} in the corner of {name}" for axis in ("y", "x")}
    return _located({"": numbers}, places, axes, told, "text table, a matrix with its axes")


def from_raster(raster: Raster, name: str) -> Lattice:
    """One frame of an image, or an array with two axes."""
    frames = raster.frames
    if len(frames) > 1:
        raise InputError(
            f"{name}: it holds {len(frames)} frames; a scan has one number for each position of the laser: save the "
            "one, or their sum; of spectra with axes scan_of_spectra makes one"
        )
    numbers, notes = frames[0], raster.notes
    own = np.arange(numbers.size).reshape(numbers.shape)
    last = raster.axes[-2:]
    strange = [axis for axis in last if axis.kind not in ("x", "y", None) and axis.values.size > 1]
    if strange:
        raise InputError(f"{name}: its axis {strange[0].name!r} is no place; the positions of a scan are y and x")
    if len(last) == 2 and {axis.kind for axis in last} == {"x", "y"}:
        down, across = last
        along = {str(down.kind): down.values, str(across.kind): across.values}
        places, axes = _turned(own if down.kind == "y" else own.T, along, name)
        told = {str(axis.kind): axis.origin for axis in last}
        return _located({"": numbers}, places, axes, told, raster.format, notes)
    size = settle_pixel_size(raster.tags, name)
    return Lattice({"": numbers}, own, None, None, size, (*notes, *size.notes), raster.format)


def _located(
    numbers: Mapping[str, np.ndarray],
    places: np.ndarray,
    axes: Mapping[str, np.ndarray],
    told: Mapping[str, str],
    kind: str,
    notes: tuple[str, ...] = (),
) -> Lattice:
    """A lattice whose file says where each place is."""
    steps = [float(np.ptp(axes[axis])) / max(axes[axis].size - 1, 1) for axis in ("y", "x")]
    origin = told["x"] if told["x"] == told["y"] else f"{told['x']} and {told['y']}"
    where = tuple(f"{axis}: {Axis(axis, 'µm', axes[axis], told[axis]).told}" for axis in ("x", "y"))
    size = PixelSize((steps[0], steps[1]), origin)
    return Lattice(numbers, places, axes["y"], axes["x"], size, (*where, *notes), kind)


def _turned(own: np.ndarray, along: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(own numbers (y, x) with both axes rising, the axes)."""
    axes = {}
    for dimension, axis in enumerate(("y", "x")):
        axes[axis], number = _even(along[axis], axis, name)
        if axes[axis].size != number.size or np.unique(number).size != number.size:
            raise InputError(f"{name}: places along {axis} are missing or repeated; a scan has every one once")
        own = np.take(own, np.argsort(number), axis=dimension)
    return own, axes


def _even(values: np.ndarray, axis: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(the even places that `values` take, rising; which of them each is). Raises InputError if they are not even."""
    if not np.isfinite(values).all():
        raise InputError(f"{name}: {np.count_nonzero(~np.isfinite(values))} of its places along {axis} are not finite")
    gaps = np.diff(np.unique(values))
    if not gaps.size:
        raise InputError(f"{name}: all its places have the same {axis}; a scan has positions along x and y")
    step, low, length = float(np.median(gaps[gaps > SAME * gaps.max()])), float(values.min()), float(np.ptp(values))
    count = round(length / step)
    step = length / count
    number = np.rint((values - low) / step).astype(int)
    off = np.abs(values - low - step * number)
    if off.max() > UNEVEN * step:
        raise InputError(
            f"{name}: its places along {axis} are not even: {values[np.argmax(off)]:.6g} µm lies {off.max():.3g} µm "
            f"beside a step of {step:.6g} µm; give the places that the scan was set to, or resample it"
        )
    return low + step * np.arange(count + 1), number


def _check_complete(
    numbers: Mapping[str, np.ndarray], along: Mapping[str, np.ndarray], shape: tuple[int, int], name: str
) -> None:
    """Refuse places that come twice, and places of the lattice that are missing."""
    flat = numbers["y"].astype(np.int64) * shape[1] + numbers["x"]
    seen, first, times = np.unique(flat, return_index=True, return_counts=True)
    if times.max() > 1:
        row = int(first[np.argmax(times > 1)])
        raise InputError(
            f"{name}: the place x, y = {along['x'][row]:.6g}, {along['y'][row]:.6g} µm comes {times.max()} times; a "
            "scan has one number for each position: add them up, or keep one pass"
        )
    if seen.size != shape[0] * shape[1]:
        here = int(np.argmax(seen != np.arange(seen.size))) if (seen != np.arange(seen.size)).any() else seen.size
        raise InputError(
            f"{name}: {seen.size} places do not fill a lattice of {shape[0]} × {shape[1]} (y × x); the first that is "
            f"missing is number {here % shape[1]} of row {here // shape[1]}: give all, with 0 or nan where masked"
        )


def _length(title: str, name: str) -> float:
    """The length in µm of the unit in the title of a column of places."""
    match = _PLACE.fullmatch(title)
    unit = length_unit(match["unit"]) if match is not None else None
    if unit is None:
        raise InputError(f'{name}: its places {title!r} have no unit of length; write it behind the name, as "x_um"')
    return unit
