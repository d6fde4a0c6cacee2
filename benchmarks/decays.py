"""What the studies of measured decays share: windows, numbers as JSON has them, and the time that a fit took."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from excidiff.inverse import Decay
from excidiff.inverse.results.result import Estimate


def cut(decay: Decay, begin: float, end: float, name: str) -> Decay:
    """The bins whose centres lie within a window, ns."""
    kept = (decay.time >= begin - 1e-9) & (decay.time < end)
    error = None if decay.uncertainty is None else decay.uncertainty[kept]
    return replace(decay, time=decay.time[kept], counts=decay.counts[kept], uncertainty=error, file=name)


def told(entry: Estimate) -> dict:
    return {"value": entry.value, "stderr": entry.stderr, "interval95": entry.interval95, "unit": entry.unit,
            "at_bound": entry.at_bound}  # fmt: skip


def judged(tests: Mapping, status: str, reason: str | None) -> dict:
    """What a measurement's goodness says."""
    kept = {name: tests[name] for name in ("deviance_ratio", "z", "structure_p") if name in tests}
    return {"status": status, **kept, "reason": reason}


def timed(run, name: str) -> dict:
    """Run, say so, and note the seconds."""
    begin = time.perf_counter()
    found = {**run(), "seconds": round(time.perf_counter() - begin, 1)}
    print(f"{name}: {found.get('deviance_ratio', np.nan):.4g}  ({found['seconds']} s)", flush=True)
    return found
