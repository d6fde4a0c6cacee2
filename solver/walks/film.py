"""The medium on its grid, in host numbers: what pulls, spreads and kills an exciton at a point: `Film`."""

import numpy as np

from excidiff.solver.grid import Grid
from excidiff.solver.medium import SIDES, Medium, thermal_energy
from excidiff.solver.walks.maps import Maps, neighbours
from excidiff.solver.walks.photons import Positions

PART = 0.2  # a step's r.m.s. length, in lengths over which the maps change by a factor e


class Film:
    """What an exciton meets as it moves: diffusivity, landscape, sides, and recombination at the rate 1/τ.

    `steps`: the longest time step that may start in each cell, ns; infinite where every step is exact.
    """

    def __init__(self, medium: Medium, grid: Grid, step):
        self.spacing = tuple(float(h) for h in grid.spacing)
        self.extent = tuple(float(width) for width in grid.extent)
        self.shape, self.periodic = grid.shape, grid.periodic
        self.sides: dict[str, float] = dict.fromkeys(SIDES, 0.0)
        if medium.surface is not None:
            self.sides |= dict.fromkeys(medium.surface.quenched, np.inf)
            self.sides |= {side: float(velocity) for side, velocity in medium.surface.partial.items()}
        diffusivities = [np.asarray(d, dtype=float) for d in medium.diffusivities]
        rate = 1.0 / np.asarray(medium.lifetime, dtype=float)
        energy = np.asarray(0.0 if medium.landscape is None else medium.landscape, dtype=float)
        energy = energy / float(thermal_energy(medium))
        self.mapped = any(field.ndim for field in (*diffusivities, rate, energy))
        spread = [np.broadcast_to(field, grid.shape) for field in (*diffusivities, rate, energy)]
        self.fastest = max(float(d.max()) for d in diffusivities)
        self.numbers = [float(field.flat[0]) for field in spread[:3]]
        self.frozen = [field == 0.0 for field in spread[:2]] if any((d == 0).any() for d in diffusivities) else None
        if self.frozen is not None:  # running counts of frozen cells along y and x, thrice around
            lines = (np.tile(self.frozen[1].T, 3), np.tile(self.frozen[0], 3))
            self.barriers = [np.pad(np.cumsum(line, axis=1), ((0, 0), (1, 0))) for line in lines]
        self.rate, self.stuck = spread[2], (spread[0] == 0) & (spread[1] == 0)
        if self.mapped:
            hollow = [*((d == 0.0) for d in spread[:2]), self.stuck, self.stuck]
            self.maps = Maps(spread, hollow, grid)
        self.steps = self._steps() if step is None else np.full(grid.shape, float(step))

    def _steps(self) -> np.ndarray:
        walls = [
            width / 10
            for width, pair in zip(self.extent, (("bottom", "top"), ("left", "right")), strict=True)
            if any(self.sides[side] for side in pair)
        ]
        if not self.mapped:
            return np.full(self.shape, min(walls) ** 2 / (2 * max(self.numbers[:2])) if walls else np.inf)
        diffusivities, rate, energy = self.maps.table[..., :2], self.maps.table[..., 2], self.maps.table[..., 3]
        slope = np.zeros(self.shape)
        with np.errstate(divide="ignore"):
            logarithms = [np.log(np.moveaxis(diffusivities, -1, 0)), np.log(rate)[None], energy[None]]
        for field in np.concatenate(logarithms):
            field = np.where(np.isfinite(field), field, np.nan)
            for axis, h in enumerate(self.spacing):
                change = np.nan_to_num(np.abs(np.diff(field, axis=axis))) / h
                inside = (slice(None), slice(1, -1)) if axis == 0 else (slice(1, -1), slice(None))
                change = change[inside]
                near = np.maximum(change[1:], change[:-1]) if axis == 0 else np.maximum(change[:, 1:], change[:, :-1])
                slope = np.maximum(slope, near)
        fastest = neighbours(diffusivities.max(axis=-1)).max(axis=0)[1:-1, 1:-1]
        slope = neighbours(np.pad(slope, 1)).max(axis=0)[1:-1, 1:-1]
        length = np.minimum(min([self.finest / 2, *walls]), PART / np.maximum(slope, 1e-300))
        quickest = neighbours(rate).max(axis=0)[1:-1, 1:-1]
        with np.errstate(divide="ignore"):
            return np.minimum(length**2 / (2 * fastest), PART / 2 / quickest)

    @property
    def finest(self) -> float:
        """The smaller spacing of the axes along which there is more than one cell, µm."""
        return min(h for h, n in zip(self.spacing, self.shape, strict=True) if n > 1 or max(self.shape) == 1)

    def cell(self, x: Positions, y: Positions) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the cell around each point."""
        indices = (
            np.clip(np.floor((p + width / 2) / h).astype(np.intp), 0, n - 1)
            for p, width, h, n in zip((y, x), self.extent, self.spacing, self.shape, strict=True)
        )
        row, column = indices
        return row, column

    def at(self, x: Positions, y: Positions, row: np.ndarray, column: np.ndarray):
        """((drift y, x), (Dy, Dx), 1/τ) at each point, which lies in the given cell."""
        if not self.mapped:
            return (0.0, 0.0), (self.numbers[1], self.numbers[0]), self.numbers[2]
        value, slope_y, slope_x = self.maps.at(x, y)
        dx, dy, rate = value[:, 0], value[:, 1], value[:, 2]
        drift_x = slope_x[:, 0] - dx * slope_x[:, 3]
        drift_y = slope_y[:, 1] - dy * slope_y[:, 3]
        if self.frozen is not None:
            held_x, held_y = (frozen[row, column] for frozen in self.frozen)
            dx, drift_x = np.where(held_x, 0.0, dx), np.where(held_x, 0.0, drift_x)
            dy, drift_y = np.where(held_y, 0.0, dy), np.where(held_y, 0.0, drift_y)
            rate = np.where(self.stuck[row, column], self.rate[row, column], rate)
        return (drift_y, drift_x), (dy, dx), rate
