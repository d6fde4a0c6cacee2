"""Films that do not exist and the camera that sees them: photon by photon, by no formula that the fit knows.

An exciton is born under the laser, walks until it dies (`excidiff.solver.walks`) and emits; the photon is displaced by
the PSF and counted in its pixel, among those of the background. The camera turns n photoelectrons into the 16-bit
number round(g (n + σ z)) + offset, z normal, cut off at 0 and 65 535 as a converter does. The laser's image is taken
alike, of photons that start at the spot and do not walk.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from excidiff.solver import Grid, Medium, Spot, walk
from excidiff.solver.source import FWHM

FULL = 50_000  # counts; a person who sees a brighter pixel halves the exposure
MOST_PIXELS = 512  # on a side


@dataclass(frozen=True, kw_only=True)
class Film:
    """The truth: µm and ns; counts, photons and photoelectrons; pairs are (x, y), `shape` is (rows, columns).

    `spot_fwhm` is laser ⊗ PSF, `psf_share` the PSF's part of its square. Centres are from the image's centre.
    """

    length: float
    lifetime: float
    spot_fwhm: float
    psf_share: float
    pixel: float
    shape: tuple[int, int]
    photons: float
    laser_photons: float
    background: float
    laser_background: float
    gain: float
    offset: int
    read_noise: float
    centre: tuple[float, float]
    laser_centre: tuple[float, float]


def draw_film(seed: int) -> Film:
    """One film at random. The law was written before any was fitted, and no film is ever drawn again.

    Diffusion length 0.15–1.5 µm, pixel 20–120 nm and photons 1e4–1e6 are uniform in their logarithm, spot FWHM
    0.2–0.8 µm, gain 1–4, read noise 0–3, background 0–10 per pixel and the whole offset 0–200 uniform; one film in
    five has no background at all, one in five no read noise, one in five a gain of 1. The offset knows nothing of the
    read noise: where it is too small the camera cuts the noise off at zero, and the fit has to say so. Each side is,
    by itself, 3.5 to 7 times the PL's width 2.355 √(s² + 2L²), with pixels no smaller than 512 of them need; the spot
    lies up to 15 % of a side off centre. The laser's image has its own photons, background and centre.
    """
    random = np.random.default_rng(seed)
    length = _log_uniform(random, 0.15, 1.5)
    spot = random.uniform(0.2, 0.8)
    sides = random.uniform(3.5, 7.0, 2) * np.hypot(spot, FWHM * np.sqrt(2) * length)
    pixel = _log_uniform(random, max(0.02, sides.max() / MOST_PIXELS), 0.12)
    rows, columns = (int(np.ceil(side / pixel)) for side in sides)
    photons, laser_photons = (_log_uniform(random, 1e4, 1e6) for _ in range(2))
    background, laser_background = (_or_least(random, 0.0, 10.0) for _ in range(2))
    reach = 0.15 * pixel * np.array([columns, rows])
    return Film(
        length=length,
        lifetime=_log_uniform(random, 1.0, 20.0),
        spot_fwhm=spot,
        psf_share=random.uniform(0.2, 0.8),
        pixel=pixel,
        shape=(rows, columns),
        photons=photons,
        laser_photons=laser_photons,
        background=background,
        laser_background=laser_background,
        gain=_or_least(random, 1.0, 4.0),
        offset=int(random.integers(0, 201)),
        read_noise=_or_least(random, 0.0, 3.0),
        centre=_pair(random.uniform(-reach, reach)),
        laser_centre=_pair(random.uniform(-reach, reach)),
    )


def film_counts(film: Film, seed) -> np.ndarray:
    """The camera's image of the luminescence, (rows, columns) uint16."""
    random = np.random.default_rng(seed)
    laser = film.spot_fwhm * np.sqrt(1 - film.psf_share)
    side = 40.0 * film.length + 10.0 * laser  # walls that no exciton reaches
    medium = Medium(diffusivity=film.length**2 / film.lifetime, lifetime=film.lifetime)
    grid = Grid(shape=(8, 8), spacing=side / 8)
    number = int(random.poisson(film.photons))
    photons = walk(medium, Spot(fwhm=laser), grid, excitons=number, seed=int(random.integers(2**62)))
    return _expose(film, photons.x, photons.y, film.centre, film.background, random)


def laser_counts(film: Film, seed) -> np.ndarray:
    """The camera's image of the laser through the same optics, (rows, columns) uint16."""
    random = np.random.default_rng(seed)
    laser = film.spot_fwhm * np.sqrt(1 - film.psf_share)
    x, y = random.normal(0.0, laser / FWHM, (2, int(random.poisson(film.laser_photons))))
    return _expose(film, x, y, film.laser_centre, film.laser_background, random)


def write_tiff(path: Path, counts: np.ndarray, pixel: float) -> None:
    """As ImageJ writes it: the pixel size in the resolution tags, its unit in the description."""
    import tifffile

    tifffile.imwrite(path, counts, imagej=True, resolution=(1 / pixel, 1 / pixel), metadata={"unit": "um"})


def digest(*images: np.ndarray) -> str:
    """A short name of these very counts."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(image).tobytes() for image in images)).hexdigest()[:16]


def _expose(film: Film, x, y, centre, background: float, random: np.random.Generator) -> np.ndarray:
    """Photons from (x, y) through PSF, pixels and camera; halved in number until no pixel is nearly full."""
    blur = random.normal(0.0, film.spot_fwhm * np.sqrt(film.psf_share) / FWHM, (2, x.size))
    x, y = x + blur[0] + centre[0], y + blur[1] + centre[1]
    edges = [(np.arange(count + 1) - 0.5 * count) * film.pixel for count in film.shape]
    while True:
        hits, _, _ = np.histogram2d(y, x, bins=edges)
        if film.gain * (hits.max() + background) + film.offset <= FULL:
            break
        x, y = x[: x.size // 2], y[: y.size // 2]
    electrons = hits + random.poisson(background, film.shape) + film.read_noise * random.standard_normal(film.shape)
    return np.clip(np.rint(film.gain * electrons + film.offset), 0, 65_535).astype(np.uint16)


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _or_least(random: np.random.Generator, low: float, high: float) -> float:
    """`low` itself once in five, else uniform."""
    least, value = random.random() < 0.2, random.uniform(low, high)
    return low if least else float(value)


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
