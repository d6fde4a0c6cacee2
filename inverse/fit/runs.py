"""What is solved in time for each measurement of a series, and which parts of the light it then takes.

Measurements of one window share a solution; those of a laser that repeats are cut from one period.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from excidiff.inverse.fit.layout import Layout, Look, Picture

AGES = 32  # times at which the light of a scan is summed up, Gauss and Legendre's in the cube root of the age


class Run(NamedTuple):
    """One solution in time: the edges of its bins, ns, and whether it has a profile for each of them, or one."""

    edges: tuple[float, ...]
    frames: bool = False


def run_of_picture(layout: Layout, picture: Picture) -> tuple[Run, Float[np.ndarray, "gates bins"] | None]:
    """(what is solved for it, what of each bin each of its gates holds); None: its one gate is the whole of it.

    A decay of the same window serves an image, too.
    """
    gate, *more = picture.gates
    if more:
        ends = np.unique(picture.gates)
        early, late = np.asarray(picture.gates).T[..., None]
        held = (early <= ends[None, :-1]) & (ends[None, 1:] <= late)
        return Run(tuple(ends.tolist()), frames=True), held.astype(float)
    own = layout.decays[picture.pulse]
    run = None if own is None else run_of(layout, own)[0]
    same = run is not None and run.edges[0] == gate[0] and abs(run.edges[-1] / gate[1] - 1) < 1e-9
    return (run if run is not None and same else Run(gate)), None


def run_of_scan(look: Look) -> Run:
    """What is solved for a scan, of photons or of ages: the light up to each of many times."""
    return Run((0.0, *(look.end * moments()[0]).tolist(), look.end), frames=look.near)


@lru_cache(maxsize=1)
def moments() -> tuple[Float[np.ndarray, " A"], Float[np.ndarray, " A"]]:
    """(times t, weights w) of ∫₀¹ f dt ≈ Σ w f(t), dense where light is first."""
    nodes, weights = np.polynomial.legendre.leggauss(AGES)
    third = (nodes + 1) / 2
    return third**3, 1.5 * weights * third**2


def run_of(layout: Layout, edges: tuple[float, ...]) -> tuple[Run, Float[np.ndarray, "J M"] | None]:
    """(what is solved for the light in bins, what of each of its own it gives a bin); None: they are the bins' own."""
    if layout.period is None:
        return Run(edges), None
    cuts, parts = wrapped(edges, layout.period)
    return Run(cuts), parts


@lru_cache(maxsize=64)
def wrapped(edges: tuple[float, ...], period: float) -> tuple[tuple[float, ...], Float[np.ndarray, "J M"]]:
    """All of a period cut where any of the bins begins or ends, ns, and how often each part lies in each bin."""
    times, least = np.asarray(edges), 1e-9 * period
    cuts = np.unique(np.round(np.mod(times, period) / least)) * least
    cuts = np.array([0.0, *(cut for cut in cuts if least < cut < period - least), period])
    middle = (cuts[1:] + cuts[:-1]) / 2
    turns = np.floor((times[:, None] - middle[None, :]) / period)
    return tuple(cuts.tolist()), np.diff(turns, axis=0)
