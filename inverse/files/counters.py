"""Files of photon counters: which of them is known, its curves, and what it holds in words."""

from pathlib import Path

import numpy as np

from excidiff.inverse.files.becker_hickl import is_sdt, read_sdt
from excidiff.inverse.files.curves import PILE_UP, Curve, told_range
from excidiff.inverse.files.picoquant import PHU, PTU, read_phu, read_ptu
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.units import format_quantity
from excidiff.solver.solution import InputError

FORMATS = {
    "ptu": "PicoQuant .ptu, photons in T3 mode",
    "phu": "PicoQuant .phu, histograms",
    "sdt": "Becker & Hickl .sdt",
}


def counter_format(path: Path) -> str | None:
    """The key in `FORMATS` of a photon counter's file, by its first bytes, or if they are damaged by its name."""
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
        kind = {PTU: "ptu", PHU: "phu"}.get(head) or ("sdt" if is_sdt(path) else None)
    except OSError as error:
        raise InputError(f"{path}: it cannot be opened ({error.strerror}); check the path") from error
    named = path.suffix.lower().lstrip(".")
    return kind or (named if named in FORMATS else None)


def read_counter(path: Path, *, max_values: int = MAX_PIXELS) -> list[Curve] | None:
    """The curves of a photon counter's file, in the file's order; None for any other file."""
    kind = counter_format(path)
    if kind is None:
        return None
    return {"ptu": read_ptu, "phu": read_phu, "sdt": read_sdt}[kind](path, max_values=max_values)


def describe_counter(path: Path, *, max_values: int = MAX_PIXELS) -> dict[str, object] | None:
    """Say what a photon counter's file holds, one entry per line of `excidiff info`; None for any other file."""
    curves = read_counter(path, max_values=max_values) if path.is_file() else None
    if curves is None:
        return None
    first = curves[0]
    entries: dict[str, object] = {
        "file": str(path),
        "format": FORMATS[counter_format(path) or ""],
        "shape": f"{len(curves)} curve{'s' * (len(curves) > 1)} of {first.counts.size} bins",
        "axis time": f"{told_range(first)} in steps of {format_quantity(_width(first), 'time')}, from the header",
        "laser period": f"{format_quantity(first.period, 'period')}, from {first.period_origin}"
        if first.period
        else "not known",
    }
    for curve in curves:
        peak = format_quantity(float(curve.time[np.argmax(curve.counts)]), "time")
        words = f"{curve.counts.sum():g} counts in all, at most {curve.counts.max():g} at {peak}"
        if curve.pulses:
            share = curve.counts.sum() / curve.pulses
            words += f"; {100 * share:.2g} % counts per pulse{' (pile-up)' * bool(share > PILE_UP)}"
        entries[curve.name] = words
    if first.notes[1:]:  # the first says which curve it is
        entries["notes"] = "; ".join(first.notes[1:])
    return entries


def _width(curve: Curve) -> float:
    return float(curve.time[1] - curve.time[0]) if curve.time.size > 1 else float(2 * curve.time[0])
