"""The light of traps in spectra at several powers: where its band is looked for, and whether it is worth it.

Its share of the light follows the traps that are filled at each power, so that three numbers serve all maps: the
band's place and width, and how bright a trapped exciton is beside a free one.
"""

from dataclasses import replace
from itertools import product

import jax
import numpy as np

from excidiff.inverse.fit.layout import TRAP_BAND
from excidiff.inverse.fit.optimise import Optimum
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.spectralsearch import BELOW, WORTH

WIDER = (1.0, 1.8)  # times the width of the band of free excitons, there


def without_band(pulses: Pulses) -> Problem:
    """The problem with no light of traps in it."""
    free = pulses.knowledge.free & ~np.isin(pulses.names, TRAP_BAND)
    return replace(pulses.problem, knowledge=pulses.knowledge._replace(free=free))


def with_band(pulses: Pulses, before: Optimum) -> tuple[Optimum, Problem]:
    """The fit with the light of traps if that is worth it, else that `before`, which has none; and what it solves."""
    plain = without_band(pulses)
    if "trap_brightness" not in pulses.names:
        return before, plain
    at = {name: pulses.names.index(name) for name in (*TRAP_BAND, "band_centre", "linewidth")}
    centre, width = before.parameters[at["band_centre"]], np.exp(before.parameters[at["linewidth"]])
    lowest = min(float(one.map.edges.min()) for one in pulses.scanned)
    tried = []
    for below, wider in product(BELOW, WIDER):
        if centre - below * width < lowest:
            continue
        start = before.parameters.copy()
        start[at["trap_band_centre"]], start[at["trap_band_width"]] = centre - below * width, np.log(wider * width)
        tried.append(_brightened(pulses, start, at["trap_brightness"]))
    if not tried:
        return before, plain
    start = min(tried, key=lambda one: one[1])[0]
    found = pulses.problem.fit(start)
    good = found.objective < before.objective - WORTH and found.parameters[at["trap_brightness"]] > 0
    return (found, pulses.problem) if good else (before, plain)


def _brightened(pulses: Pulses, start: np.ndarray, at: int) -> tuple[np.ndarray, float]:
    """The start with the brightness of traps that suits it best, and the χ² that is left."""
    model, counts = jax.jit(pulses.problem.model), pulses.problem.counts
    dark, lit = start.copy(), start.copy()
    dark[at], lit[at] = 0.0, 1.0
    mean = np.asarray(model(dark, pulses.instruments)[0])
    shape = np.asarray(model(lit, pulses.instruments)[0]) - mean
    law = np.asarray(counts.excess) * np.maximum(mean, 0.0) + np.asarray(counts.floor) + 1e-12
    weight = np.asarray(counts.used) / law
    away = np.asarray(counts.photons) - mean
    size = max(float((weight * shape * away).sum() / max((weight * shape**2).sum(), 1e-300)), 0.0)
    start[at] = size
    return start, float((weight * (away - size * shape) ** 2).sum())
