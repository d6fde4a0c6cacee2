"""The plane, cut into equal cells: `Grid`.

Arrays are [row = y, column = x]; `shape` and `spacing` are (y, x); the origin is the centre of the grid, and y
grows with the row. A grid with one row is a one-dimensional problem.
"""

import operator

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.solution import InputError, is_concrete, is_number

Number = float | Float[Array, ""]


class Grid(eqx.Module):
    """A rectangle of `shape` = (rows, columns) equal cells, each `spacing` wide.

    `spacing` is a number, or a pair (y, x), in µm; it may be traced and differentiated. `periodic` = (y, x) says
    which axes close on themselves; the others end in walls that nothing crosses unless the medium has a `Surface`.

    Raises `InputError` for a shape that is not two positive integers or a spacing that is not positive.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    spacing: tuple[Number, Number]
    periodic: tuple[bool, bool] = eqx.field(static=True)

    def __init__(self, shape, spacing, periodic=(False, False)):
        try:
            rows, columns = (operator.index(n) for n in shape)
        except (TypeError, ValueError):
            raise InputError(f"Grid(shape={shape!r}): expected two integers, (rows, columns)") from None
        if rows < 1 or columns < 1:
            raise InputError(f"Grid(shape={shape!r}): expected at least one row and one column")
        pair = tuple(spacing) if isinstance(spacing, (tuple, list)) else (spacing, spacing)
        if len(pair) != 2 or not all(is_number(h) for h in pair):
            raise InputError(f"Grid(spacing={spacing!r}): expected a number or a pair (y, x), in µm")
        for h in pair:
            if is_concrete(h) and not 0 < float(h) < np.inf:
                raise InputError(f"Grid(spacing={spacing!r}): expected positive and finite lengths, in µm")
        if np.shape(periodic) != (2,):
            raise InputError(f"Grid(periodic={periodic!r}): expected a pair of booleans, (y, x)")
        self.shape = (rows, columns)
        self.spacing = pair
        self.periodic = (bool(periodic[0]), bool(periodic[1]))

    @property
    def cell_area(self) -> Number:
        """Area of one cell, µm²."""
        return self.spacing[0] * self.spacing[1]

    @property
    def extent(self) -> tuple[Number, Number]:
        """Height and width of the whole grid, µm."""
        return self.shape[0] * self.spacing[0], self.shape[1] * self.spacing[1]

    @property
    def y(self) -> Float[Array, " rows"]:
        """Centres of the rows, µm, from the centre of the grid."""
        return centres(self.shape[0]) * self.spacing[0]

    @property
    def x(self) -> Float[Array, " columns"]:
        """Centres of the columns, µm, from the centre of the grid."""
        return centres(self.shape[1]) * self.spacing[1]


def centres(count: int) -> Float[Array, " count"]:
    """Positions of `count` cells around their common centre, in cells."""
    return jnp.arange(count) - (count - 1) / 2
