"""Curves: counts against time as a file holds them, before one of them becomes a decay.

A photon counter's file has a curve per detector or measurement, a table one per column, and per stretch of rising
times. They are chosen by name or number; those of photon counters bring the period T of their laser, and the number of
its pulses, from which follows how many photons were counted per pulse. Above 5 % the first photon hides the others
(Becker, Advanced Time-Correlated Single Photon Counting Techniques, Springer 2005, section 7.9).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.units import QUANTITIES, format_quantity
from excidiff.solver.solution import InputError

PILE_UP = 0.05  # counts per pulse above which the later photons of a pulse are missed
LOST = 0.01  # of the counts: more than this beyond a period, and it is not the laser's
DIFFERENT = 0.01  # by which a period that is given may differ from the file's before it is worth a word
SLACK = 1e-6  # of a period: rounding, by which bins that fill it may exceed it
LISTED = 20


@dataclass(frozen=True, eq=False)
class Curve:
    """Counts against time: `name` within its file, the bins' centres in ns, counts, and what is known beside them.

    uncertainty: one standard deviation of each, or None. period: of the laser, ns, and where that stands; None if the
    file does not tell. pulses: how many of them the measurement lasted, or None. number: what it is chosen by in place
    of its name.
    """

    name: str
    time: Float[np.ndarray, " T"]
    counts: Float[np.ndarray, " T"]
    uncertainty: Float[np.ndarray, " T"] | None = None
    period: float | None = None
    period_origin: str = ""
    pulses: float | None = None
    number: int = 1
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Its number, name and counts in all, for a list to choose from."""
        return f"{self.number}: {self.name}, {self.counts.sum():.6g} counts"


def choose_curve(curves: Sequence[Curve], wanted: str | int | None, name: str) -> Curve:
    """The curve `wanted` by name or number, or the only one. Raises InputError that lists them with their counts."""
    listed = "; ".join(curve.told for curve in curves[:LISTED]) + "; …" * (len(curves) > LISTED)
    if wanted is None:
        if len(curves) == 1:
            return curves[0]
        raise InputError(
            f"{name}: it holds {len(curves)} curves ({listed}); say which one, column= in Python, --decay-column for a "
            "decay"
        )
    number = int(wanted) if not isinstance(wanted, str) or wanted.isdecimal() else None
    found = [curve for curve in curves if curve.name == wanted] or [c for c in curves if c.number == number]
    if len(found) != 1:
        raise InputError(f"{name}: there is no curve {wanted!r}; there are: {listed}")
    return found[0]


def told_range(curve: Curve) -> str:
    """From when to when it counts."""
    return f"{format_quantity(float(curve.time[0]), 'time')} to {format_quantity(float(curve.time[-1]), 'time')}"


def counted_bins(counts: np.ndarray, width: float, name: str) -> Float[np.ndarray, " T"]:
    """The centres of bins that begin with the laser's pulse; `width` in ns, as a header has it.

    Raises InputError for a width that no photon counter has.
    """
    kind = QUANTITIES["time"]
    if not kind.low <= width <= kind.high:
        raise InputError(
            f"{name}: its header states bins of {width:g} ns, which cannot be; export the curve as a table"
        )
    return width * (np.arange(counts.size) + 0.5)


def possible_period(period: float) -> bool:
    """Whether a laser may have this period, ns."""
    kind = QUANTITIES["period"]
    return bool(kind.low <= period <= kind.high)


def within_period(curve: Curve, given: float | None, name: str) -> tuple[Curve, float | None]:
    """Cut off the bins beyond one period of the laser; return the curve, with what was found, and the period used.

    `given` in ns wins over the file's, with a note if they differ by over 1 %. Raises InputError where more than 1 % of
    the counts lie beyond the file's period, which then is not the one that the decay repeats with.
    """
    notes = list(curve.notes)
    period = curve.period if given is None else given
    if curve.period is not None and given is None:
        notes.append(f"the laser's period, {format_quantity(curve.period, 'period')}, from {curve.period_origin}")
    elif curve.period is not None and given is not None and abs(given / curve.period - 1) > DIFFERENT:
        notes.append(
            f"the given period, {format_quantity(given, 'period')}, is used, though {curve.period_origin} says "
            f"{format_quantity(curve.period, 'period')}"
        )
    if curve.period is not None and period is not None:
        curve = _cut(curve, period, notes, name)
    if curve.pulses and curve.counts.sum() > PILE_UP * curve.pulses:
        share = curve.counts.sum() / curve.pulses
        notes.append(
            f"{100 * share:.2g} % counts per pulse: above {100 * PILE_UP:g} % late photons are missed (pile-up) and "
            "the decay looks too fast; measure it again with less light"
        )
    return replace(curve, notes=tuple(notes)), period


def _cut(curve: Curve, period: float, notes: list[str], name: str) -> Curve:
    width = float(curve.time[1] - curve.time[0]) if curve.time.size > 1 else period
    kept = max(1, int(period * (1 + SLACK) / width))
    beyond = curve.counts[kept:]
    if not beyond.size:
        return curve
    lost, whole = float(beyond.sum()), float(curve.counts.sum())
    if lost > LOST * whole:
        raise InputError(
            f"{name}: {100 * lost / whole:.3g} % of the counts of {curve.name} lie later than the laser's period of "
            f"{format_quantity(period, 'period')} ({curve.period_origin if period == curve.period else 'given'}); "
            "the decay repeats with another one: give it, period= in Python, --period on the command line"
        )
    notes.append(f"{beyond.size} bin{'s' * (beyond.size > 1)} beyond one period cut off, with {lost:g} counts in them")
    error = None if curve.uncertainty is None else curve.uncertainty[:kept]
    return replace(curve, time=curve.time[:kept], counts=curve.counts[:kept], uncertainty=error)
