"""One step of a walk: `move`.

    dX = (∇D − D ∇U / k_B T) dt + √(2D) dW     (Itô)

with the path folded back at closed walls, wrapped around periodic axes, mirrored at cells where nothing moves, and
taken by a side of recombination velocity S with the probability 1 − e^{−Sℓ/D}, where

    ℓ = max(0, −min of the path between its two ends)

is the local time of the reflected path; the minimum of a Brownian bridge is drawn exactly.
"""

import numpy as np

from excidiff.solver.walks.film import Film
from excidiff.solver.walks.photons import Positions


def move(film: Film, x: Positions, y: Positions, cell, drift, diffusivity, duration, random: np.random.Generator):
    """(x, y, lost) after `duration`, where `drift` and `diffusivity` are (y, x) at the start, which lies in `cell`."""
    row, column = cell
    new_x, lost_x = _advance(film, 1, x, drift[1], diffusivity[1], duration, random)
    new_x = _kept_out(film, 1, x, new_x, row, column)
    if film.frozen is not None:
        column = film.cell(new_x, y)[1]
    new_y, lost_y = _advance(film, 0, y, drift[0], diffusivity[0], duration, random)
    return new_x, _kept_out(film, 0, y, new_y, row, column), lost_x | lost_y


def _advance(film: Film, axis: int, start: Positions, drift, diffusivity, duration, random):
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


def _kept_out(film: Film, axis: int, start: Positions, end: Positions, row, column) -> Positions:
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
