"""A laser scanned over a film, exciton by exciton: what a wide and a confocal detector count, and the lifetimes.

Each exciton is made by the laser, diffuses, and ends by its own lifetime, which gives a photon, or by the film's extra
rate, which gives none. Between times drawn at a rate no smaller than all losses anywhere it moves by exact Gaussian
steps, and each time it ends with probability loss/that rate, or goes on (thinning; Lewis & Shedler, Nav. Res. Logist.
Q. 26 (1979) 403): no error of steps in time or space.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from excidiff.inverse.files.scans import RasterScan
from excidiff.solver.source import FWHM

CHUNK = 2**18  # excitons that walk together: what fits into the cache is faster


class Scanned(NamedTuple):
    """The same excitons as three scans: all photons, those near the laser, the mean age of all with its error."""

    intensity: RasterScan
    confocal: RasterScan
    lifetime: RasterScan


class Photons(NamedTuple):
    """Where and when each photon was emitted, and at which position the laser was then."""

    place: np.ndarray
    x: np.ndarray
    y: np.ndarray
    age: np.ndarray


def scan_film(
    rate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    fastest: float,
    seed: int,
    shape: tuple[int, int] = (12, 12),
    step: float = 0.25,
    excitons: float = 1e4,
    diffusivity: float = 0.05,
    lifetime: float = 5.0,
    laser_fwhm: float = 0.3,
    collection_fwhm: float = 0.4,
) -> Scanned:
    """Scan a film without end: rate(x, y), 1/ns, of places in µm, is lost beside 1/lifetime, and never above `fastest`.

    excitons: per position on average, their number is Poisson's. Light is collected at r with the laser at p with
    probability exp(−|r − p|²/2σ²) by the confocal detector, σ its FWHM/2.355.
    """
    random = np.random.default_rng(seed)
    along = [(np.arange(n) - (n - 1) / 2) * step for n in shape]
    y, x = (grid.ravel() for grid in np.meshgrid(*along, indexing="ij"))
    made = np.repeat(np.arange(x.size), random.poisson(excitons, x.size))
    light = [
        walk(random, part, x, y, rate, fastest, diffusivity, lifetime, laser_fwhm / FWHM)
        for part in np.array_split(made, max(1, made.size // CHUNK))
    ]
    place, *rest = (np.concatenate(parts) for parts in zip(*light, strict=True))
    found = Photons(place, *rest)
    off = (found.x - x[place]) ** 2 + (found.y - y[place]) ** 2
    seen = random.random(place.size) < np.exp(-off / (2 * (collection_fwhm / FWHM) ** 2))
    counts = np.bincount(place, minlength=x.size)
    mean = np.bincount(place, found.age, x.size) / counts
    spread = np.bincount(place, (found.age - mean[place]) ** 2, x.size) / (counts - 1)
    near = np.bincount(place[seen], minlength=x.size)
    return Scanned(
        RasterScan(values=counts.reshape(shape), step=step, file="all light"),
        RasterScan(values=near.reshape(shape), step=step, collection=collection_fwhm, file="confocal"),
        RasterScan(
            values=mean.reshape(shape),
            step=step,
            quantity="lifetime",
            uncertainty=np.sqrt(spread / counts).reshape(shape),
            photons=counts.reshape(shape),
            file="lifetimes",
        ),
    )


def walk(
    random: np.random.Generator,
    place: np.ndarray,
    laser_x: np.ndarray,
    laser_y: np.ndarray,
    rate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    fastest: float,
    diffusivity: float,
    lifetime: float,
    width: float,
) -> Photons:
    """The photons of excitons that are made with the laser at positions number `place`."""
    x = laser_x[place] + width * random.standard_normal(place.size)
    y = laser_y[place] + width * random.standard_normal(place.size)
    age, most, emitted = np.zeros(place.size), fastest + 1 / lifetime, []
    while place.size:
        wait = random.standard_exponential(place.size) / most
        spread = np.sqrt(2 * diffusivity * wait)
        x += spread * random.standard_normal(place.size)
        y += spread * random.standard_normal(place.size)
        age += wait
        trapping = rate(x, y)
        if not ((trapping >= 0) & (trapping <= fastest)).all():
            raise ValueError(f"rates from {trapping.min()} to {trapping.max()} per ns; fastest = {fastest}")
        fate = most * random.random(place.size)
        shines, stays = fate < 1 / lifetime, fate > 1 / lifetime + trapping
        emitted.append([a[shines] for a in (place, x, y, age)])
        place, x, y, age = (a[stays] for a in (place, x, y, age))
    return Photons(*(np.concatenate(parts) for parts in zip(*emitted, strict=True)))
