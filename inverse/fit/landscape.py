"""The known energy landscape of a film: where a map lies on the image, and the grid on which the film is solved.

The map is fixed to the image: their centres coincide, and its rows and columns are the image's. A map without a
spacing of its own has the image's pixels. Between its values it is interpolated by cubics (four neighbours on each
axis, error ∝ spacing⁴: straight lines would flatten the wells of a landscape by 1 % where a period has 20 values, and
D by as much); beyond its edge it keeps the edge's values.

The grid (FAULTS 10 and 11): cells no wider than 0.2 s, s the laser's standard deviation at the sample, a whole number
of them in each pixel; walls no nearer to the light than 8.3 diffusion lengths.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import equinox as eqx
import numpy as np
from jaxtyping import Float, Float64

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.readers import Map
from excidiff.inverse.memory import half_of_memory
from excidiff.solver.grid import Grid
from excidiff.solver.medium import BOLTZMANN, Medium, check_medium
from excidiff.solver.solution import InputError

FINEST = 0.2  # of the laser's standard deviation: the widest cell
REACH = 8.3  # diffusion lengths from the light to the wall
LIGHT = 3.0  # standard deviations of the laser: where its light ends
BLOCK = 32  # cells: grids are rounded up to this, so that images of one film share a compiled program
BYTES_PER_CELL = 500  # the compiled model asks for 354 (solve, slopes, hierarchy), maps and their copies for the rest
STEEP = 2.0  # kT per cell
SENSELESS = 20.0  # kT per cell, beyond which nothing of a fit would mean anything
ROOM = 295.0  # K, taken and said where a landscape comes without a temperature


@dataclass(frozen=True, eq=False)
class Landscape:
    """The energy U in meV, `values` (y, x), of a film at `temperature` (K); `spacing` (y, x) in µm, or None.

    Raises InputError for values that are not finite or not a map, and for a temperature that is not positive.
    """

    values: Float64[np.ndarray, "y x"]
    spacing: tuple[float, float] | None
    temperature: float
    file: str
    assumed: bool = False  # the temperature was not given

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or min(self.values.shape) < 2:
            raise InputError(f"{self.file}: a landscape of shape {self.values.shape}; expected a map (rows, columns)")
        if not np.isfinite(self.values).all():
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(self.values))[0])
            raise InputError(f"{self.file}: the landscape is not finite at {index}; fill the gap first")
        good = isinstance(self.temperature, int | float) and np.isfinite(self.temperature) and self.temperature > 0
        if not good:
            raise InputError(f"temperature = {self.temperature!r}; give one positive number in K")

    def spacing_on(self, image: Image) -> tuple[float, float]:
        """The map's own spacing, or the image's pixels. Raises InputError where it has neither."""
        if self.spacing is not None:
            return self.spacing
        if self.values.shape != image.shape:
            raise InputError(
                f"{self.file}: the landscape has {self.values.shape[0]} × {self.values.shape[1]} values and states no "
                f"spacing, while {image.name} has {image.shape[0]} × {image.shape[1]} pixels: its place on the image "
                "is not known; save it with its spacing, or one value per pixel"
            )
        return image.spacing

    @property
    def slowing(self) -> float:
        """About how much longer √(Dτ) is than the length that the image shows: (⟨e^U⟩⟨e^−U⟩)^¼, U in kT.

        Exact for U(x) + U(y) (Lifson and Jackson 1962, VERIFICATION 14); only where the fit starts.
        """
        energy = (self.values - np.median(self.values)) / (BOLTZMANN * self.temperature)
        energy = np.clip(energy, -4, 4)
        return float(np.clip((np.exp(energy).mean() * np.exp(-energy).mean()) ** 0.25, 1.0, 3.0))


def landscape_of(
    given: Map | np.ndarray | None,
    temperature: float | None,
    images: Sequence[Image],
    *,
    steady: bool = True,
    apart: bool = True,
) -> Landscape | None:
    """A map from a file, or an array of the images' shape, as a `Landscape` that has its place on all `images`.

    `steady`: no gates; `apart`: the laser at the sample and the PSF are known each on its own. Raises InputError.
    """
    if given is None:
        if temperature is not None:
            raise InputError("a temperature was given but no landscape: only together do they matter; leave it out")
        return None
    if not steady:
        raise InputError("landscape and gates together: over a landscape only steady images can be fitted so far")
    if not apart:
        raise InputError(
            "landscape with a laser image but no PSF: over a landscape the laser's spot at the sample and the blur of "
            "the optics act differently; give the PSF (psf= or psf_fwhm=), or the laser's FWHM at the sample"
        )
    kelvin = ROOM if temperature is None else temperature
    if isinstance(given, Map):
        landscape = Landscape(np.asarray(given.values, float), given.spacing, kelvin, given.file, temperature is None)
    else:
        landscape = Landscape(np.asarray(given, float), None, kelvin, "landscape", temperature is None)
    for image in images:
        landscape.spacing_on(image)
    return landscape


class Cells(eqx.Module):
    """A film on a grid: U of each cell in meV, T in K, and the edges of the cells in µm from the image's centre.

    `ease` (x, y) multiplies the diffusivity: see `_ease`.
    """

    grid: Grid
    energy: Float[np.ndarray, "rows columns"]
    ease: tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]
    temperature: float
    x_edges: Float[np.ndarray, " columns+1"]
    y_edges: Float[np.ndarray, " rows+1"]

    @property
    def reach(self) -> tuple[float, float, float, float]:
        """The walls: lowest x, highest x, lowest y, highest y."""
        return float(self.x_edges[0]), float(self.x_edges[-1]), float(self.y_edges[0]), float(self.y_edges[-1])


def cut_cells(
    landscape: Landscape,
    image: Image,
    *,
    width: float,
    length: float,
    centre: tuple[float, float],
    memory: float | None = None,
) -> tuple[Cells, tuple[str, ...]]:
    """The grid for a laser of standard deviation `width` at `centre` (x, y), a diffusion length `length`, all in µm.

    Returns it with what is to be said of it. Raises InputError if the landscape spans more kT than the solver can bear
    or if the fit would need more than `memory` bytes (half of the machine's).
    """
    spacing = landscape.spacing_on(image)
    parts = [
        _axis(count, pixel, width, REACH * length + LIGHT * width, middle)
        for count, pixel, middle in zip(image.shape, image.spacing, centre[::-1], strict=True)
    ]
    (y_edges, hy, my), (x_edges, hx, mx) = parts
    shape = (y_edges.size - 1, x_edges.size - 1)
    _check_memory(shape, (hy, hx), image, memory)
    rows, beyond_y = _cubic(y_edges, landscape.values.shape[0], spacing[0])
    columns, beyond_x = _cubic(x_edges, landscape.values.shape[1], spacing[1])
    energy = rows @ landscape.values @ columns.T
    grid = Grid(shape, (hy, hx))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # steep steps are told in the result, below
        check_medium(Medium(1.0, 1.0, energy, landscape.temperature), grid)
    notes = [_told(landscape, image, spacing, (hy, hx), (my, mx), shape)]
    if landscape.assumed:
        notes.append(f"No temperature was given: {ROOM:g} K is taken.")
    if beyond_x or beyond_y:
        size = f"{landscape.values.shape[1] * spacing[1]:.3g} µm × {landscape.values.shape[0] * spacing[0]:.3g} µm"
        notes.append(
            f"{landscape.file}: the film is solved {shape[1] * hx:.3g} µm × {shape[0] * hy:.3g} µm large, so that no "
            f"wall is felt; beyond the map of {size} its edge values are continued."
        )
    steps = [np.abs(np.diff(energy, axis=axis)).max() / (BOLTZMANN * landscape.temperature) for axis in (0, 1)]
    if max(steps) > SENSELESS:
        raise InputError(
            f"{landscape.file}: the landscape steps by {max(steps):.3g} kT from one cell of {hx:.3g} µm to the next, "
            "which no fit can follow; is it the landscape, and in meV?"
        )
    if max(steps) > STEEP:
        notes.append(
            f"{landscape.file}: the landscape steps by up to {max(steps):.2g} kT from one cell of {hx:.3g} µm to the "
            "next; what happens inside such a step is not resolved."
        )
    thermal = BOLTZMANN * float(landscape.temperature)
    ease = (_ease(energy / thermal, 1), _ease(energy / thermal, 0))
    return Cells(grid, energy, ease, float(landscape.temperature), x_edges, y_edges), tuple(notes)


def reaches(cells: Cells, *, width: float, length: float, centre: tuple[float, float]) -> bool:
    """Whether the walls are far enough from the light for this diffusion length (FAULTS 11)."""
    need = REACH * length + LIGHT * width
    left, right, bottom, top = cells.reach
    x, y = centre
    return min(x - left, right - x, y - bottom, top - y) >= need * (1 - 1e-9)


def _axis(count: int, pixel: float, width: float, need: float, middle: float):
    """Edges of the cells along one axis from the image's centre, their size, and how many make a pixel.

    A pixel's edge is a cell's edge; on each side whole cells are added until the light at `middle` has `need` about it.
    """
    per_pixel = max(1, ceil(pixel / (FINEST * width) - 1e-9))
    size = pixel / per_pixel
    half = count * pixel / 2
    below = max(0, ceil((need - middle - half) / size))
    above = max(0, ceil((need + middle - half) / size))
    cells = count * per_pixel + below + above
    above += -cells % BLOCK
    cells += -cells % BLOCK
    return (np.arange(cells + 1) - below) * size - half, size, per_pixel


def _ease(energy, axis: int):
    """1 + h²U″/12 along one axis, U in kT: what a cell's diffusivity must gain for the flux to be right to order h⁴.

    Between two cells excitons meet the resistance ∫ e^U dx; the scheme takes U as straight there, which is too high by
    h²U″/12 on average where it curves up. Held between ½ and 2, where h no longer resolves the landscape.
    """
    wide = np.pad(energy, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
    return np.clip(1 + np.diff(wide, n=2, axis=axis) / 12, 0.5, 2.0)


def _cubic(edges: Float64[np.ndarray, " c+1"], count: int, spacing: float):
    """Weights (cells × values) of the cubic through four neighbours, at the centres of the cells; edges continued.

    Also returns whether a cell lies beyond the map.
    """
    place = (edges[1:] + edges[:-1]) / (2 * spacing) + (count - 1) / 2
    inside = np.clip(place, 0, count - 1)
    first = np.clip(np.floor(inside).astype(int), 0, count - 2)
    t = (inside - first)[:, None]
    a, b, c, d = t + 1, t, t - 1, t - 2
    shares = np.concatenate([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6], axis=1)
    weights = np.zeros((place.size, count))
    for k in range(4):
        np.add.at(weights, (np.arange(place.size), np.clip(first + k - 1, 0, count - 1)), shares[:, k])
    return weights, bool(place.min() < -0.5 - 1e-6 or place.max() > count - 0.5 + 1e-6)


def _told(landscape, image, spacing, size, per_pixel, shape) -> str:
    """Where the map lies and how it came onto the grid, in words."""
    if landscape.spacing is None:
        origin = "it states no spacing and has one value per pixel, so it is taken to have the image's pixels"
    else:
        origin = f"its own spacing is {spacing[1]:.4g} µm × {spacing[0]:.4g} µm"
    same = "used as they stand" if np.allclose(spacing, size, rtol=1e-9) else "interpolated by cubics"
    return (
        f"{landscape.file}: the landscape is centred on {image.name}; {origin}; its values are {same} on a grid of "
        f"{shape[1]} × {shape[0]} cells of {size[1]:.3g} µm × {size[0]:.3g} µm ({per_pixel[1]} × {per_pixel[0]} per "
        "pixel)."
    )


def _check_memory(shape, size, image, memory):
    need = BYTES_PER_CELL * shape[0] * shape[1]
    limit = half_of_memory() if memory is None else memory
    if need > limit:
        raise InputError(
            f"{image.name}: a film with a landscape would need {shape[1]} × {shape[0]} cells of {size[1]:.3g} µm (a "
            f"fifth of the laser's width, 8.3 diffusion lengths about it) and {need / 1e9:.3g} GB of memory, more than "
            f"the {limit / 1e9:.3g} GB that are left to it; use a machine with more, or --region for a smaller field"
        )
