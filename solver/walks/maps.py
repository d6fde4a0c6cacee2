"""Maps read between the centres of their cells: `Maps`."""

import numpy as np

from excidiff.solver.grid import Grid


class Maps:
    """Several maps of `grid.shape`, interpolated linearly between the centres of cells, constant beyond the last.

    Cells that are `hollow` in a map lend their neighbours no value of their own: they get the mean of those around.
    """

    def __init__(self, fields: list[np.ndarray], hollow: list[np.ndarray], grid: Grid):
        self.spacing = tuple(float(h) for h in grid.spacing)
        self.extent = tuple(float(width) for width in grid.extent)
        self.shape, self.periodic = grid.shape, grid.periodic
        self.table = np.stack([self._padded(f, h) for f, h in zip(fields, hollow, strict=True)], axis=-1)

    def _padded(self, field: np.ndarray, hollow: np.ndarray) -> np.ndarray:
        """`field` with one more cell all around; hollow cells get the mean of their neighbours that are not."""
        for axis, periodic in enumerate(self.periodic):
            width = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
            field, hollow = (np.pad(f, width, mode="wrap" if periodic else "edge") for f in (field, hollow))
        if not hollow.any():
            return field
        weight = neighbours(np.where(hollow, 0.0, 1.0)).sum(axis=0)
        filling = neighbours(np.where(hollow, 0.0, field)).sum(axis=0) / np.maximum(weight, 1.0)
        return np.where(hollow, filling, field)

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(value, ∂/∂y, ∂/∂x) of every map at each point, maps along the last axis."""
        v, u = ((p + w / 2) / h + 0.5 for p, w, h in zip((y, x), self.extent, self.spacing, strict=True))
        i = np.clip(np.floor(v).astype(np.intp), 0, self.shape[0])
        j = np.clip(np.floor(u).astype(np.intp), 0, self.shape[1])
        v, u = (v - i)[:, None], (u - j)[:, None]
        lower, upper = self.table[i, j], self.table[i + 1, j]
        right, across = self.table[i, j + 1], self.table[i + 1, j + 1]
        value = (1 - v) * ((1 - u) * lower + u * right) + v * ((1 - u) * upper + u * across)
        slope_y = ((1 - u) * (upper - lower) + u * (across - right)) / self.spacing[0]
        slope_x = ((1 - v) * (right - lower) + v * (across - upper)) / self.spacing[1]
        return value, slope_y, slope_x


def neighbours(field: np.ndarray) -> np.ndarray:
    """Each cell's 3 × 3 surroundings, stacked in front; beyond the edge the edge is repeated."""
    padded = np.pad(field, 1, mode="edge")
    rows, columns = field.shape
    return np.stack([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)])
