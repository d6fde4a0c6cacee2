"""A scan of a film that is taken to be the same everywhere: its mean, how sure that is, and whether the film is so.

Of a film that is even the mean holds all that a scan tells: of photons their number, of lifetimes found from so many
photons the mean age of all these photons, of others that over the positions. Where positions differ by more than noise,
its error is the scatter of sixteen blocks of neighbours, as wide as places may be alike.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.scans import FROM_PHOTONS, RasterScan
from excidiff.inverse.fit.blocks import structure
from excidiff.inverse.fit.laws import Reading
from excidiff.inverse.fit.layout import Look
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import chi2_tail

UNEVEN = 1e-3  # probability of a scatter by chance below which a film is not the same everywhere
BLOCKS = 4  # along each side


class Surveyed(NamedTuple):
    """A `look` at a film, the `scan`: its mean with its error, photons per position or ns.

    noise: (y, x), the variance of every position of an even film. even: how probable such a scatter is of one. quiet:
    by how many standard deviations the scatter differs from that of noise. spread: how much positions differ beyond
    noise, r.m.s., as a part of the mean.
    """

    look: Look
    scan: RasterScan
    mean: float
    error: float
    noise: Float64[np.ndarray, "y x"]
    even: float
    quiet: float
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


def surveyed(look: Look, scan: RasterScan) -> Surveyed:
    """The mean of a scan."""
    used, values = scan.mask, scan.signal
    weights = np.where(used, 1.0 if scan.photons is None else scan.photons, 0.0)
    mean = float(np.average(values, weights=weights))
    noise = np.where(used, _noise(scan, mean), 0.0)
    count = int(used.sum())
    away = np.where(used, values - mean, 0.0)
    chi2 = float((away[used] ** 2 / noise[used]).sum())
    blocks = (min(BLOCKS, scan.shape[0]), min(BLOCKS, scan.shape[1]))
    chance = min(1.0, 2 * min(chi2_tail(chi2, count - 1), structure(away, noise, blocks, 1)))
    error = float(np.sqrt((weights**2 * noise).sum()) / weights.sum())
    excess = float((away[used] ** 2 - noise[used]).mean())
    if chance < UNEVEN:
        error = max(error, _between(away, weights, blocks))
    quiet = (chi2 - count + 1) / sqrt(2 * (count - 1))
    return Surveyed(look, scan, mean, error, noise, chance, quiet, sqrt(max(excess, 0.0)) / abs(mean))


def _noise(scan: RasterScan, mean: float) -> Float64[np.ndarray, "y x"]:
    """The variance of every position, whose own light it must not follow."""
    error = scan.signal_uncertainty
    if error is None:
        return np.full(scan.shape, max(mean, 1e-300))
    if scan.photons is not None and FROM_PHOTONS in scan.notes:
        return mean**2 / np.maximum(scan.photons, 1e-300)
    return np.where(scan.mask, error, 0.0) ** 2


def _between(away: np.ndarray, weights: np.ndarray, blocks: tuple[int, int]) -> float:
    """The error of the mean from the scatter of means of blocks."""
    light = weights * away
    for axis, count in enumerate(blocks):
        starts = np.unique(np.linspace(0, away.shape[axis], count + 1)[:-1].astype(int))
        light, weights = np.add.reduceat(light, starts, axis), np.add.reduceat(weights, starts, axis)
    some = weights > 0
    number = int(some.sum())
    return float(np.sqrt((light[some] ** 2).sum() * number / max(number - 1, 1)) / weights[some].sum())
