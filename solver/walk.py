"""The same film, one exciton at a time: `walk`.

An exciton at X that moves by

    dX = (∇D − D ∇U / k_B T) dt + √(2D) dW     (Itô),     and dies at the rate 1/τ(X),

has the density n of `excidiff.solver.medium` as its law. This module simulates it with random numbers and shares no
discretisation with the solver, so that each can be checked against the other, photon noise included. It runs on the
host in double precision, and is neither traced nor differentiated.

Where D is a number and no landscape pulls, every step is exact, however long: closed walls fold the path back and
periodic axes wrap it. At a side with recombination velocity S the reflected path has the local time

    ℓ = max(0, −min of the path between its two ends),   and survives with probability e^{−Sℓ/D};

the minimum of a Brownian bridge is drawn exactly, so a single wall is exact too, a perfect quencher (S = ∞) included.
Maps are interpolated linearly between cell centres, and steps are short beside a cell and beside the distance over
which ln D, U/k_B T or ln τ change by one; that scheme (Euler–Maruyama) has an error proportional to the step. A jump of
D from cell to cell is therefore smeared over one cell.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from excidiff.solver.grid import Grid
from excidiff.solver.medium import SIDES, Medium, check_medium, thermal_energy
from excidiff.solver.solution import InputError, is_concrete
from excidiff.solver.source import FWHM

Positions = Float[np.ndarray, " excitons"]

CHUNK = 65536  # excitons that walk together: few enough to stay in cache
PART = 0.2  # a step's r.m.s. length, in lengths over which the maps change by a factor e
ALIVE, EMITTED, QUENCHED = 0, 1, 2


class Spot(NamedTuple):
    """A Gaussian spot as a source for `walk`: `fwhm` in µm, `centre` = (x, y) in µm; drawn exactly, without cells."""

    fwhm: float
    centre: tuple[float, float] = (0.0, 0.0)


class Photons(NamedTuple):
    """Where and when excitons recombined: `x`, `y` in µm, `time` in ns after their creation, one entry each.

    `quenched` counts the excitons lost at a surface and `alive` those that outlived `max_time`; neither emits.
    """

    x: Positions
    y: Positions
    time: Positions
    quenched: int
    alive: int


def walk(
    medium: Medium, source, grid: Grid, *, excitons: int, seed: int, max_time: float | None = None, step=None
) -> Photons:
    """Follow `excitons` random walkers from their creation to their end.

    `source`: a map of `grid.shape`, whose cells are drawn by weight and are uniform inside, or a `Spot`. `max_time`:
    ns, when to stop watching (never, by default). `step`: the longest time step in ns, instead of the one chosen from
    the maps. The same seed gives the same photons.

    Raises `InputError` for a source with negative weights or none at all, where some excitons would never end, and
    under a trace.
    """
    if not is_concrete((medium, source, grid, seed, max_time, step)):
        raise InputError(
            "walk runs on the host with random numbers; it cannot be traced or differentiated: call it outside jit, "
            "vmap and grad, or take the density from steady_state or evolve"
        )
    check_medium(medium, grid)
    if not (isinstance(excitons, (int, np.integer)) and excitons >= 0):
        raise InputError(f"walk(excitons={excitons!r}): expected a whole number ≥ 0")
    for name, value in (("max_time", max_time), ("step", step)):
        if value is not None and not value > 0:
            raise InputError(f"walk({name}={value!r}): expected a positive time in ns, or None")
    film = _Film(medium, grid, step)
    if max_time is None and film.endless:
        raise InputError("walk: some excitons neither recombine nor reach a quencher; give a lifetime or a max_time")
    random = np.random.Generator(np.random.PCG64(seed))
    horizon = np.inf if max_time is None else float(max_time)
    parts = [
        _follow(film, *_starts(source, film, min(CHUNK, excitons - done), random), horizon, random)
        for done in range(0, excitons, CHUNK)
    ]
    x, y, time, fate = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else np.empty((4, 0))
    emitted = fate == EMITTED
    return Photons(x[emitted], y[emitted], time[emitted], int(np.sum(fate == QUENCHED)), int(np.sum(fate == ALIVE)))


class _Film:
    """The medium on its grid, in host numbers: what pulls, spreads and kills an exciton at a point."""

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
        self.numbers = [float(field.flat[0]) for field in spread[:3]]
        self.frozen = [field == 0.0 for field in spread[:2]] if any((d == 0).any() for d in diffusivities) else None
        if self.frozen is not None:  # running counts of frozen cells along y and x, thrice around
            lines = (np.tile(self.frozen[1].T, 3), np.tile(self.frozen[0], 3))
            self.barriers = [np.pad(np.cumsum(line, axis=1), ((0, 0), (1, 0))) for line in lines]
        stuck = (spread[0] == 0) & (spread[1] == 0)
        lossless = not any(self.sides.values())
        self.endless = bool(np.all(rate == 0.0) and lossless) or bool(np.any(stuck & (spread[2] == 0.0)))
        self.rate, self.stuck = spread[2], stuck
        if self.mapped:
            hollow = (*((d == 0.0) for d in spread[:2]), stuck, stuck)
            self.table = np.stack([self._padded(f, h) for f, h in zip(spread, hollow, strict=True)], axis=-1)
        self.steps = self._steps() if step is None else np.full(grid.shape, float(step))

    def _padded(self, field: np.ndarray, hollow: np.ndarray) -> np.ndarray:
        """`field` with one more cell all around; hollow cells get the mean of their neighbours that are not."""
        for axis, periodic in enumerate(self.periodic):
            width = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
            field, hollow = (np.pad(f, width, mode="wrap" if periodic else "edge") for f in (field, hollow))
        if not hollow.any():
            return field
        weight = _neighbours(np.where(hollow, 0.0, 1.0)).sum(axis=0)
        filling = _neighbours(np.where(hollow, 0.0, field)).sum(axis=0) / np.maximum(weight, 1.0)
        return np.where(hollow, filling, field)

    def _steps(self) -> np.ndarray:
        """The longest time step that may start in each cell, ns: exact steps have no limit."""
        walls = [
            width / 10
            for width, pair in zip(self.extent, (("bottom", "top"), ("left", "right")), strict=True)
            if any(self.sides[side] for side in pair)
        ]
        if not self.mapped:
            return np.full(self.shape, min(walls) ** 2 / (2 * max(self.numbers[:2])) if walls else np.inf)
        diffusivities, rate, energy = self.table[..., :2], self.table[..., 2], self.table[..., 3]
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
        fastest = _neighbours(diffusivities.max(axis=-1)).max(axis=0)[1:-1, 1:-1]
        slope = _neighbours(np.pad(slope, 1)).max(axis=0)[1:-1, 1:-1]
        shortest = min(h for h, n in zip(self.spacing, self.shape, strict=True) if n > 1 or max(self.shape) == 1)
        length = np.minimum(min([shortest / 2, *walls]), PART / np.maximum(slope, 1e-300))
        quickest = _neighbours(rate).max(axis=0)[1:-1, 1:-1]
        with np.errstate(divide="ignore"):
            return np.minimum(length**2 / (2 * fastest), PART / 2 / quickest)

    def cell(self, x: Positions, y: Positions) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the cell around each point."""
        indices = (
            np.clip(np.floor((p + width / 2) / h).astype(np.intp), 0, n - 1)
            for p, width, h, n in zip((y, x), self.extent, self.spacing, self.shape, strict=True)
        )
        row, column = indices
        return row, column

    def at(self, x: Positions, y: Positions, row: np.ndarray, column: np.ndarray):
        """((drift y, x), (Dy, Dx), rate) at each point."""
        if not self.mapped:
            return (0.0, 0.0), (self.numbers[1], self.numbers[0]), self.numbers[2]
        v, u = ((p + w / 2) / h + 0.5 for p, w, h in zip((y, x), self.extent, self.spacing, strict=True))
        i = np.clip(np.floor(v).astype(np.intp), 0, self.shape[0])
        j = np.clip(np.floor(u).astype(np.intp), 0, self.shape[1])
        v, u = (v - i)[:, None], (u - j)[:, None]
        lower, upper = self.table[i, j], self.table[i + 1, j]
        right, across = self.table[i, j + 1], self.table[i + 1, j + 1]
        value = (1 - v) * ((1 - u) * lower + u * right) + v * ((1 - u) * upper + u * across)
        slope_y = ((1 - u) * (upper - lower) + u * (across - right)) / self.spacing[0]
        slope_x = ((1 - v) * (right - lower) + v * (across - upper)) / self.spacing[1]
        dx, dy, rate = value[:, 0], value[:, 1], value[:, 2]
        drift_x = slope_x[:, 0] - dx * slope_x[:, 3]
        drift_y = slope_y[:, 1] - dy * slope_y[:, 3]
        if self.frozen is not None:
            held_x, held_y = (frozen[row, column] for frozen in self.frozen)
            dx, drift_x = np.where(held_x, 0.0, dx), np.where(held_x, 0.0, drift_x)
            dy, drift_y = np.where(held_y, 0.0, dy), np.where(held_y, 0.0, drift_y)
            rate = np.where(self.stuck[row, column], self.rate[row, column], rate)
        return (drift_y, drift_x), (dy, dx), rate


def _neighbours(field: np.ndarray) -> np.ndarray:
    """Each cell's 3 × 3 surroundings, stacked in front; beyond the edge the edge is repeated."""
    padded = np.pad(field, 1, mode="edge")
    rows, columns = field.shape
    return np.stack([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)])


def _starts(source, film: _Film, count: int, random: np.random.Generator) -> tuple[Positions, Positions]:
    """Positions x, y of `count` new excitons."""
    height, width = film.extent
    if isinstance(source, Spot):
        axes = zip(source.centre, (width, height), (film.periodic[1], film.periodic[0]), strict=True)
        x, y = (_gaussian(centre, source.fwhm, extent, wraps, count, random) for centre, extent, wraps in axes)
        return x, y
    weights = np.asarray(source, dtype=float)
    if weights.shape != film.shape:
        raise InputError(f"walk: source of shape {weights.shape}; expected a map of grid.shape {film.shape} or a Spot")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InputError("walk: the source must be finite and ≥ 0 everywhere, and somewhere positive")
    cells = random.choice(weights.size, size=count, p=weights.ravel() / weights.sum())
    row, column = np.unravel_index(cells, film.shape)
    x = (column + random.random(count)) * film.spacing[1] - width / 2
    y = (row + random.random(count)) * film.spacing[0] - height / 2
    return x, y


def _gaussian(centre: float, fwhm: float, extent: float, wraps: bool, count: int, random) -> Positions:
    """One coordinate of a spot; what falls beyond a closed side is drawn again, on a periodic axis it wraps."""
    if not (fwhm > 0 and abs(centre) <= extent / 2):
        raise InputError(
            f"walk: Spot of fwhm {fwhm} µm at {centre} µm; expected a positive width, a centre on the grid"
        )
    place = centre + fwhm / FWHM * random.standard_normal(count)
    while not wraps and (outside := np.abs(place) > extent / 2).any():
        place[outside] = centre + fwhm / FWHM * random.standard_normal(int(outside.sum()))
    return (place + extent / 2) % extent - extent / 2 if wraps else place


def _follow(film: _Film, x: Positions, y: Positions, horizon: float, random: np.random.Generator):
    """(x, y, time, fate) of every exciton at its end, from its start at (x, y)."""
    end_x, end_y, end_time, fate = x.copy(), y.copy(), np.full(x.size, horizon), np.zeros(x.size, dtype=int)
    who, time = np.arange(x.size), np.zeros(x.size)
    budget = random.standard_exponential(x.size)  # dies when the integral of 1/τ along the path reaches it
    while who.size:
        row, column = film.cell(x, y)
        drift, diffusivity, rate = film.at(x, y, row, column)
        with np.errstate(divide="ignore"):
            life = budget / rate
        duration = np.minimum(np.minimum(film.steps[row, column], life), horizon - time)
        new_x, lost_x = _advance(film, 1, x, drift[1], diffusivity[1], duration, random)
        new_x = _kept_out(film, 1, x, new_x, row, column)
        if film.frozen is not None:
            column = film.cell(new_x, y)[1]
        new_y, lost_y = _advance(film, 0, y, drift[0], diffusivity[0], duration, random)
        new_y = _kept_out(film, 0, y, new_y, row, column)
        x, y, time, budget = new_x, new_y, time + duration, budget - duration * rate
        lost, dead = lost_x | lost_y, duration >= life
        ended = lost | dead | (time >= horizon)
        if ended.any():
            gone = who[ended]
            end_x[gone], end_y[gone], end_time[gone] = x[ended], y[ended], time[ended]
            fate[gone] = np.where(lost[ended], QUENCHED, np.where(dead[ended], EMITTED, ALIVE))
            left = ~ended
            who, x, y, time, budget = who[left], x[left], y[left], time[left], budget[left]
    return end_x, end_y, end_time, fate


def _advance(film: _Film, axis: int, start: Positions, drift, diffusivity, duration, random):
    """Where one coordinate is after `duration`, and whether a side has taken the exciton on the way."""
    half = film.extent[axis] / 2
    spread = np.sqrt(2.0 * diffusivity * duration)
    end = start + drift * duration + spread * random.standard_normal(start.size)
    lost = np.zeros(start.size, dtype=bool)
    if film.periodic[axis]:
        return (end + half) % (2 * half) - half, lost
    for side, inward in zip(("left", "right") if axis else ("bottom", "top"), (1.0, -1.0), strict=True):
        velocity = film.sides[side]
        if velocity == 0.0:
            continue
        before, after = half + inward * start, half + inward * end
        bridge = (before - after) ** 2 - 2.0 * spread**2 * np.log1p(-random.random(start.size))
        local = np.maximum(0.0, -0.5 * (before + after - np.sqrt(bridge)))
        if np.isinf(velocity):
            lost |= local > 0.0
        else:
            lost |= random.standard_exponential(start.size) * np.maximum(diffusivity, 1e-300) < velocity * local
        end = inward * (after + local - half)
    folded = (end + half) % (4 * half)
    return np.minimum(folded, 4 * half - folded) - half, lost


def _kept_out(film: _Film, axis: int, start: Positions, end: Positions, row, column) -> Positions:
    """`end`, mirrored at the face it crossed where a cell without mobility along this axis lies in its way."""
    if film.frozen is None:
        return end
    count, h, half = film.shape[axis], film.spacing[axis], film.extent[axis] / 2
    index, line = (column, row) if axis else (row, column)
    moved, hops = end - start, film.cell(end, end)[axis] - index
    if film.periodic[axis]:
        moved, hops = (moved + half) % (2 * half) - half, (hops + count // 2) % count - count // 2
    lowest, highest = index + count + np.minimum(hops, 0), index + count + np.maximum(hops, 0)
    blocked = (hops != 0) & (film.barriers[axis][line, highest + 1] > film.barriers[axis][line, lowest])
    face = (index + (hops > 0)) * h - half
    mirrored = 2 * face - (start + moved)
    near = np.abs(mirrored - (index + 0.5) * h + half) < h / 2
    return np.where(blocked, np.where(near, mirrored, start), end)
