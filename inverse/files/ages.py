"""How old the photons of each pixel of a PicoQuant scan are, on average: lifetimes without any model of the decay.

The age of a photon is its delay since the pulse. A mean of ages needs no deconvolution: an instrument's response makes
it later by its own mean, which is where the pulse is said to be. Delays are cut once in a period, where the light of
all pixels is least before the pulse, so that what the response smears to before it counts as a little early.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from excidiff.inverse.files.curves import Curve
from excidiff.inverse.files.decays import read_response
from excidiff.inverse.files.picoquant import channel_of, read_ptu, read_ptu_delays
from excidiff.inverse.files.raster import Raster
from excidiff.inverse.files.units import parse_quantity
from excidiff.solver.solution import InputError

FEWEST = 3  # photons of a pixel whose mean age is told
LIKE_ALL = 20.0  # photons whose scatter is taken to be that of all pixels, beside a pixel's own
BRIGHT = 0.02  # of the peak of a response, above which bins are of it
WORTH = 0.01  # of the mean age: a doubt that is said


class Ages(NamedTuple):
    """`raster`: all photons of every pixel, and where these are; those of the laser, mean ages and errors in ns, of
    the pixels in `used`."""

    raster: Raster
    photons: Float[np.ndarray, "y x"]
    ages: Float[np.ndarray, "y x"]
    errors: Float[np.ndarray, "y x"]
    used: Bool[np.ndarray, "y x"]
    notes: tuple[str, ...]


def read_ages(
    path: Path,
    *,
    channel: int | None = None,
    irf: str | Path | None = None,
    pulse_time: str | float | None = None,
    dark: float = 0.0,
    max_values: int,
) -> Ages:
    """The mean ages of a .ptu scan, of one detector; arguments as of `read_raster_scan`.

    Raises InputError for files without the laser's period, and for two that say when the pulse came.
    """
    name = path.name
    if irf is not None and pulse_time is not None:
        raise InputError(f"{name}: both irf and pulse_time say when the pulse came; give one of them")
    if not (np.isfinite(dark) and dark >= 0):
        raise InputError(f"{name}: dark = {dark!r}; give the photons of every position that come at all times alike")
    chosen = channel_of(path, channel, max_values=max_values)
    curve = next(one for one in read_ptu(path, max_values=max_values) if one.name == f"channel {chosen}")
    if curve.period is None:
        raise InputError(f"{name}: its header does not tell the laser's period, without which photons have no age")
    pulse, told = _pulse(curve, irf, pulse_time, name)
    delays = _delays(curve, pulse)
    raster, sums = read_ptu_delays(path, chosen, delays, max_values=max_values)
    return _averaged(raster, sums, delays, curve, dark, [*told, *raster.notes])


def _pulse(curve: Curve, irf: Any, pulse_time: Any, name: str) -> tuple[float, list[str]]:
    """When the pulse came on the counter's axis, ns, and how that is known."""
    if pulse_time is not None:
        when = parse_quantity(pulse_time, "time", name=f"{name}: pulse_time", zero=True)
        return when, [f"the pulse at {when:g} ns, as given"]
    if irf is not None:
        response = read_response(irf)
        y = response.counts - np.median(response.counts)
        top = int(np.argmax(y))
        below = np.flatnonzero(y < BRIGHT * y[top])
        first, last = below[below < top].max(initial=-1) + 1, below[below > top].min(initial=y.size)
        part = slice(int(first), int(last))
        when = float((response.time[part] * y[part]).sum() / y[part].sum())
        return when, [f"the pulse at {when:.4g} ns, the mean time of {Path(irf).name}"]
    y = np.convolve(curve.counts, np.ones(3) / 3, mode="same")
    low, top = float(np.quantile(y, 0.02)), int(np.argmax(y))
    rising = np.flatnonzero(y[: top + 1] < low + 0.5 * (y[top] - low))
    when = float(curve.time[min(rising.max(initial=-1) + 1, top)])
    taken = f"the pulse is taken to be where the light rises, at {when:.4g} ns"
    return when, [f"{taken}: what it is off all ages are off; irf or pulse_time tell it"]


def _delays(curve: Curve, pulse: float) -> Float[np.ndarray, " H"]:
    """Of every bin, ns after the pulse, within one period that begins where the light is least before it."""
    period, width = float(curve.period or 0.0), float(curve.time[1] - curve.time[0])
    smooth = _smooth(curve)
    after = np.mod(curve.time - pulse, period)
    before = after > 0.75 * period
    begin = after[before][np.argmin(smooth[before])] - period if before.any() else -width
    return np.mod(after - begin, period) + begin


def _smooth(curve: Curve) -> Float[np.ndarray, " H"]:
    """Means of five bins of a period."""
    return np.convolve(np.pad(curve.counts, 2, mode="wrap"), np.ones(5) / 5, mode="valid")


def _averaged(
    raster: Raster, sums: np.ndarray, delays: np.ndarray, curve: Curve, dark: float, notes: list[str]
) -> Ages:
    """Means and errors from the photons' number, and sums of their delays and of the squares of these."""
    photons, first, second = sums
    light = np.maximum(photons - dark, 0.0)
    middle = (delays.min() + delays.max()) / 2
    even = dark * np.array([middle, ((delays - middle) ** 2).mean() + middle**2])
    used = light >= FEWEST
    safe = np.where(used, light, 1.0)
    ages = (first - even[0]) / safe
    scatter = np.maximum(second - 2 * ages * first + ages**2 * photons, 0.0)  # Σ (t − T)² of all photons, dark ones too
    whole = max(float(scatter[used].sum() / max(photons[used].sum(), 1.0)), 1e-12)
    own = (scatter + LIKE_ALL * whole) / (photons + LIKE_ALL)
    errors = np.sqrt(own * photons) / safe
    used &= ages > 0
    lost = used.size - int(used.sum())
    if lost:
        notes.append(f"{lost} of {used.size} positions masked, which have fewer than {FEWEST} photons or no age")
    mean = float((first.sum() - even[0] * used.size) / max(light.sum(), 1.0))
    notes += _doubts(curve, delays, mean, dark * used.size)
    return Ages(raster, light, np.where(used, ages, 0.0), np.where(used, errors, np.inf), used, tuple(notes))


def _doubts(curve: Curve, delays: np.ndarray, mean: float, dark: float) -> list[str]:
    """What may be wrong with all ages alike."""
    smooth = _smooth(curve)
    left = max(float(smooth.min()) * delays.size - dark, 0.0) / float(curve.counts.sum())
    middle, said = float(delays.min() + delays.max()) / 2, []
    longer = left * (middle - mean) / max(mean, 1e-300)
    if longer > WORTH:
        said.append(
            f"light that comes at all times alike may be up to {100 * left:.2g} % of all, and mean ages too long by up "
            f"to {100 * longer:.2g} %: give dark, the photons of a position that are not the laser's; or the decay has "
            "not ended when the next pulse comes"
        )
    return said
