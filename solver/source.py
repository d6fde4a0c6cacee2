"""Where the excitons start: light integrated over the cells of a grid."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float

from excidiff.solver.field import extent
from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, as_array, is_concrete, is_number

FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half maximum of a Gaussian of unit standard deviation, 2.3548."""


class Spot(NamedTuple):
    """A Gaussian spot before any grid: `fwhm` in µm, `centre` = (x, y) in µm, `total` as in `gaussian_spot`."""

    fwhm: float | Float[Array, ""]
    centre: tuple[float, float] | Float[Array, "2"] = (0.0, 0.0)
    total: float | Float[Array, ""] = 1.0


def gaussian_spot(grid: Grid, *, fwhm, total: Any = 1.0, centre: Any = (0.0, 0.0)) -> Float[Array, "rows columns"]:
    """A Gaussian spot averaged over each cell, so that its sum times the cell area is `total`.

    `fwhm`: µm. `total`: excitons/ns as a generation, excitons as an initial state. `centre`: (x, y), µm. Periodic
    axes see the spot's images; on other axes what falls outside the grid is not lost but spread in proportion. Every
    argument may be traced and differentiated. Raises `InputError` for a width that is not positive or a centre
    outside the grid.
    """
    check_width("gaussian_spot", fwhm)
    try:
        x, y = centre
        pair = is_number(x) and is_number(y)
    except (TypeError, ValueError):
        pair = False
    if not pair:
        raise InputError(f"gaussian_spot(centre={centre!r}): expected (x, y) in µm")
    for name, c, side in zip("xy", (x, y), grid.extent[::-1], strict=True):
        if is_concrete((c, side)) and not abs(float(c)) <= float(side) / 2:
            raise InputError(f"gaussian_spot(centre=…): {name} = {c} µm lies outside the grid, |{name}| ≤ {side / 2}")
    rows, columns = spot_profiles(grid, fwhm, (x, y))
    return total / grid.cell_area * rows[:, None] * columns[None, :]


def check_width(name: str, fwhm) -> None:
    """Raise `InputError` where a spot's `fwhm` is not a positive number."""
    if not is_number(fwhm) or (is_concrete(fwhm) and not 0 < float(fwhm) < np.inf):
        raise InputError(f"{name}(fwhm={fwhm!r}): expected a positive width in µm")


def spot_profiles(grid: Grid, fwhm, centre) -> tuple[Float[Array, " rows"], Float[Array, " columns"]]:
    """Shares of a spot in each row and in each column: those in the cells are their products."""
    rows = _profile(grid.shape[0], grid.spacing[0], grid.periodic[0], fwhm, centre[1])
    return rows, _profile(grid.shape[1], grid.spacing[1], grid.periodic[1], fwhm, centre[0])


def _profile(count: int, spacing, periodic: bool, fwhm, centre) -> Float[Array, " count"]:
    """Share of a one-dimensional Gaussian in each of `count` cells; the shares sum to one."""
    if count == 1:
        return jnp.ones(1)
    edges = (jnp.arange(count + 1) - count / 2) * spacing
    scale = FWHM / (np.sqrt(2.0) * fwhm)
    period = count * spacing
    images = range(-3, 4) if periodic else (0,)
    shares = sum(jnp.diff(erf((edges - centre - i * period) * scale)) for i in images)
    shares = shares / jnp.sum(shares)
    if not periodic:
        return shares
    # Beyond σ = 0.3 periods ever more images matter, and ever fewer waves: the sixth there is 5e-28 of the mean.
    wide = jnp.asarray(fwhm / (FWHM * period))
    sigma = jnp.where(wide > 0.3, wide, 0.3)
    k = jnp.arange(1, 7)[:, None]
    angles = 2 * np.pi * k * ((edges - centre) / period)[None, :]
    heights = jnp.exp(-2 * (np.pi * k * sigma) ** 2) / (np.pi * k)
    waves = 1 / count + jnp.sum(jnp.diff(jnp.sin(angles) * heights, axis=1), 0)
    return jnp.where(wide > 0.3, waves, shares)


def check_source(name: str, source, grid: Grid) -> Float[Array, "rows columns"]:
    """`source` as a finite map of `grid.shape`, or an `InputError` that names it."""
    source = as_array(name, source)
    if source.shape != grid.shape:
        raise InputError(f"{name}: shape {source.shape}; expected a map of grid.shape {grid.shape}")
    if is_concrete(source) and not np.isfinite(extent(source)).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(source)))[0])
        raise InputError(f"{name}: not finite at {index}; mask or fill it first")
    return source
