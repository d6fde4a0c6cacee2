"""Where the light of a decay rises, and from which lifetimes and amplitudes its fit starts."""

from functools import partial
from itertools import combinations

import jax
import numpy as np

from excidiff.inverse.files.decays import Decay
from excidiff.inverse.fit.response import Shape, Window, shown

LATTICE = 14  # lifetimes among which a fit looks for its start
SURE = 6.0  # standard deviations of a step that is a rise


def shaped_as(bins: int, alike: bool, window: Window, shape: Shape | None) -> tuple[Window, Shape | None]:
    """What JAX must know while compiling, put back where the numbers passed through it."""
    return window._replace(bins=bins), None if shape is None else shape._replace(alike=alike)


def start_of(decay: Decay, window: Window, shape: Shape | None, components: int) -> tuple[np.ndarray, float]:
    """(the best start on a lattice of shifts and lifetimes, how far the shift may be from it, ns)."""
    counts, width, length = decay.counts, decay.width, float(np.ptp(decay.edges))
    rise, sure = _rise(decay)
    middle = rms = 0.0
    if shape is not None:
        share, places = np.asarray(shape.weights), shape.start + shape.width * (np.arange(len(shape.weights)) + 1.5)
        middle = float(share @ places)
        rms = float(np.sqrt(max(np.sum(share * (places - middle) ** 2), 0.0)))
    spacing = max(0.5 * rms, 0.5 * width)
    shifts, reach = rise - middle + spacing * np.arange(-6, 7), 20 * spacing + 5 * width
    if shape is None:
        shifts, reach = rise + width * np.arange(-3, 4) / 2, 3 * width
        if not sure:  # the pulse came before the window: what is seen of the decay has no beginning
            shifts, reach = decay.edges[:1], 0.0
    lifetimes = np.geomspace(max(width, rms), 2 * length, LATTICE)
    arguments = window._replace(bins=0), None if shape is None else shape._replace(alike=False)
    seen = lattice(window.bins, shape is not None and shape.alike, 1 / lifetimes, shifts, *arguments)
    law = np.maximum(np.convolve(counts, np.ones(3) / 3, mode="same"), 1.0)
    law = law if decay.uncertainty is None else decay.uncertainty**2
    found = (np.inf, float(shifts[0]), (LATTICE // 2,) * components, np.ones(components + 1))
    for shift, rows in zip(shifts, np.asarray(seen), strict=True):
        rows = np.concatenate([rows, np.ones((1, counts.size))])
        gram, right = (rows / law) @ rows.T, (rows / law) @ counts
        for chosen in combinations(range(LATTICE), components):
            index = [*chosen, LATTICE]
            size = np.linalg.lstsq(gram[np.ix_(index, index)], right[index], rcond=None)[0]
            left = -size @ right[index]
            if (size[:-1] > 0).all() and left < found[0]:
                found = (left, float(shift), chosen, size)
    _, shift, chosen, size = found
    total = float(np.abs(counts).sum())
    bright = np.log(np.maximum(size[:-1], 1e-3 * total))
    level = max(float(size[-1]), 0.01 * total / counts.size)
    return np.concatenate([np.log(lifetimes[list(chosen)]), bright, [shift, level, 0.0]]), reach


def _rise(decay: Decay) -> tuple[float, bool]:
    """(when the light rises, ns, whether it surely does): the surest step up between neighbouring stretches of bins.

    Stretches are from two bins to an eighth of the window long; with a period, a window is a ring.
    """
    noise = np.maximum(decay.counts, 1.0) if decay.uncertainty is None else decay.uncertainty**2
    ring = decay.period is not None and np.ptp(decay.edges) > 0.99 * decay.period
    best, place, size = 0.0, 0, decay.counts.size
    stretches = np.unique(np.geomspace(2, max(size // 8, 2), 8).astype(int))
    for stretch in stretches:
        sums = []
        for values in (decay.counts, noise):
            padded = np.pad(values, stretch, mode="wrap" if ring else "edge")
            total = np.concatenate([[0.0], np.cumsum(padded)])
            at = stretch + np.arange(size)  # the stretch from bin `at` on, and that before it
            sums.append((total[at + stretch] - total[at], total[at] - total[at - stretch]))
        step = (sums[0][0] - sums[0][1]) / np.sqrt(sums[1][0] + sums[1][1])
        if step.max() > best:
            best, place = float(step.max()), int(np.argmax(step))
    return float(decay.edges[place]), best > SURE


def linear(rows: np.ndarray, counts: np.ndarray, law: np.ndarray) -> np.ndarray:
    """The amplitudes of `rows` and a background by weighted least squares, none below zero."""
    rows = np.concatenate([rows, np.ones((1, counts.size))])
    gram, right = (rows / law) @ rows.T, (rows / law) @ counts
    free = np.ones(len(rows), bool)
    size = np.zeros(len(rows))
    while free.any():
        size[:] = 0.0
        size[free] = np.linalg.lstsq(gram[np.ix_(free, free)], right[free], rcond=None)[0]
        if (size >= 0).all():
            break
        free &= size > 0
    return size


@partial(jax.jit, static_argnums=(0, 1))
def lattice(bins: int, alike: bool, rates, shifts, window: Window, shape: Shape | None):
    """What is shown of every rate at every shift."""
    window, shape = shaped_as(bins, alike, window, shape)
    return jax.lax.map(lambda d: jax.lax.map(lambda rate: shown(rate, d, shape, window), rates), shifts)
