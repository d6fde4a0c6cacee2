"""A scan of a film that is taken to be the same everywhere: its mean, how sure that is, and whether the film is so.

Of a film that is even the mean holds all that a scan tells: of photons their number, of lifetimes found from so many
photons the mean age of all these photons, of others that of the positions, weighed by what their neighbours' errors
are, as a position's own may go with its value. Errors that were given may be estimates; what neighbours differ by is
noise. Where parts of the film differ by more, the error of the mean is the scatter of sixteen blocks, and that of
several scans, which may be of one place, is common to them.
"""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.fluences import Shot
from excidiff.inverse.files.scans import FROM_PHOTONS, RasterScan
from excidiff.inverse.fit.blocks import structure
from excidiff.inverse.fit.laws import Reading
from excidiff.inverse.fit.layout import Look
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import chi2_tail
from excidiff.solver.solution import InputError

UNEVEN = 1e-3  # probability of a scatter by chance below which a film is not the same everywhere
ROUGH = 4.0  # standard deviations of what neighbours differ by, beyond which noise is not what was told
MEDIAN, MEDIAN_ERROR = 0.4549, 2.33  # of χ² of one degree; the error of that of n over it, times √n
BLOCKS = 4  # along each side
FAR = 3.0  # times its neighbours' error, beyond which a position has its own


class Surveyed(NamedTuple):
    """A `look` at a film, the `scan`: its mean with its error, photons per position or ns.

    noise: (y, x), the variance of every position of an even film. even: how probable it is that parts of one differ so.
    rough: the variance of neighbours' differences over what was told of the noise, 1 unless it is clearly another.
    spread: how much positions differ beyond noise, r.m.s., as a part of the mean.
    """

    look: Look
    scan: RasterScan
    mean: float
    error: float
    noise: Float64[np.ndarray, "y x"]
    even: float
    rough: float
    spread: float

    @property
    def reading(self) -> Reading:
        """The one number of it."""
        return Reading(values=np.array([self.mean]), used=np.ones(1, bool), errors=np.array([self.error]))

    @property
    def uneven(self) -> bool:
        """Whether the film differs from place to place."""
        return self.even < UNEVEN

    @property
    def near(self) -> Float64[np.ndarray, ""]:
        """σ of what the detector sees, µm; of one that sees all, 1."""
        return np.asarray(1.0 if self.scan.collection is None else self.scan.collection / FWHM)


def all_surveyed(shots: Sequence[Shot], end: float) -> tuple[Surveyed, ...]:
    """All scans of photons, then all of lifetimes, by their pulses; `end` of their light, ns.

    What places differ by is common to scans of one place: their mean over the pulses is as unsure as each.
    """
    scans = sorted((scan.quantity, k, i) for k, shot in enumerate(shots) for i, scan in enumerate(shot.scans))
    found = []
    for quantity, k, i in scans:
        scan = shots[k].scans[i]
        found.append(surveyed(Look(k, quantity == "lifetime", scan.collection is not None, end), scan))
    uneven = [one.look.ages for one in found if one.uneven]
    wider = {ages: sqrt(max(uneven.count(ages), 1)) for ages in (False, True)}
    return tuple(one._replace(error=one.error * wider[one.look.ages]) if one.uneven else one for one in found)


def surveyed(look: Look, scan: RasterScan) -> Surveyed:
    """The mean of a scan; raises InputError for one of no light."""
    used, values = scan.mask, scan.signal
    weights = np.where(used, _weights(scan), 0.0)
    if not weights.sum() > 0:
        raise InputError(f"{scan.file}: its positions have no photons, so that their lifetimes are of nothing")
    mean = float((weights * np.where(used, values, 0.0)).sum() / weights.sum())
    if not mean > 0:
        raise InputError(
            f"{scan.file}: the mean of its positions, {mean:.3g}, is not positive: check the offset, and of a signal "
            "that a pulse makes negative give the negative"
        )
    noise = np.where(used, _noise(scan, mean), 0.0)
    away = np.where(used, values - mean, 0.0)
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(used))
    blocks = tuple(min(BLOCKS, side.stop - side.start) for side in box)
    photons, told = scan.signal_uncertainty is None, FROM_PHOTONS not in scan.notes
    rough, doubt, factor = _rough(away, noise, weights)
    if not photons:  # errors that were estimated, or are known but for a factor
        noise *= max(factor, 1.0) if told else factor
    parts = structure(away[box], (rough if photons else 1.0) * noise[box], blocks, 1)
    if not told or abs(doubt) <= ROUGH or (rough > 1 and parts < UNEVEN):  # edges of patches are rough, too
        rough = 1.0
    noise *= rough if photons else 1.0
    unsure = 1.0 if photons else 1 + 2 * sqrt(2 / used.sum())  # noise that neighbours tell is known so well
    chances = [structure(away[box], unsure * noise[box], blocks, 1)]
    if photons and rough == 1:
        chances.append(chi2_tail(float((away[used] ** 2 / noise[used]).sum()), int(used.sum()) - 1))
    even = min(1.0, len(chances) * min(chances))
    error = float(np.sqrt((weights**2 * noise).sum()) / weights.sum())
    if even < UNEVEN:
        single = float(np.sqrt((weights**2 * away**2).sum()) / weights.sum())
        error = max(error, single, _between(away[box], weights[box], blocks))
    excess = float((weights * (away**2 - noise)).sum() / weights.sum())
    return Surveyed(look, scan, mean, error, noise, even, rough, sqrt(max(excess, 0.0)) / mean)


def _weights(scan: RasterScan) -> Float64[np.ndarray, "y x"]:
    """What each position counts: its photons; or one over the variance that it is taken to have."""
    if scan.photons is not None:
        return scan.photons
    error = scan.signal_uncertainty
    return np.ones(scan.shape) if error is None else 1 / _typical(error, scan.mask) ** 2


def _noise(scan: RasterScan, mean: float) -> Float64[np.ndarray, "y x"]:
    """The variance of every position, which its own light has no part in."""
    error = scan.signal_uncertainty
    if error is None:
        return np.full(scan.shape, mean)
    if FROM_PHOTONS in scan.notes and scan.photons is not None:
        return mean**2 / np.maximum(scan.photons, 1e-300)
    return _typical(error, scan.mask) ** 2


def _typical(error: np.ndarray, used: np.ndarray) -> Float64[np.ndarray, "y x"]:
    """The median error of the neighbours of every position, or its own where that is much more; 1 where not used."""
    known = np.where(used, error, np.nan)
    around, (y, x) = np.pad(known, 1, constant_values=np.nan), error.shape
    others = np.stack([around[i : i + y, j : j + x] for i in range(3) for j in range(3) if (i, j) != (1, 1)])
    alone = np.isnan(others).all(0)
    typical = np.where(alone, known, np.nanmedian(np.where(alone, 1.0, others), axis=0))
    return np.where(used, np.where(known > FAR * typical, known, typical), 1.0)


def _rough(away: np.ndarray, noise: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """(the variance of what neighbours along x differ by over that of their noise, by its median; how many standard
    deviations it is off 1; the same by weighed sums, which errors that go with the values do not make too large)."""
    columns = away.shape[1] // 2 * 2
    left, right = slice(0, columns, 2), slice(1, columns, 2)
    used = (noise[:, left] > 0) & (noise[:, right] > 0)
    if not used.any():
        return 1.0, 0.0, 1.0
    square = ((away[:, left] - away[:, right]) ** 2)[used]
    law, count = (noise[:, left] + noise[:, right])[used], np.minimum(weights[:, left], weights[:, right])[used]
    ratio = float(np.median(square / law)) / MEDIAN
    return ratio, (ratio - 1) * sqrt(square.size) / MEDIAN_ERROR, float((count * square).sum() / (count * law).sum())


def _between(away: np.ndarray, weights: np.ndarray, blocks: tuple[int, ...]) -> float:
    """The error of the mean from the scatter of means of blocks."""
    light = weights * away
    for axis, count in enumerate(blocks):
        starts = np.unique(np.linspace(0, away.shape[axis], count + 1)[:-1].astype(int))
        light, weights = np.add.reduceat(light, starts, axis), np.add.reduceat(weights, starts, axis)
    some = weights > 0
    number = int(some.sum())
    return float(np.sqrt((light[some] ** 2).sum() * number / max(number - 1, 1)) / weights[some].sum())
