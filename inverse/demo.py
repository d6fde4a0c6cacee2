"""Something to try on: the files an evening at the microscope would give, of a film whose truth is known.

The photons come from the random walk (`excidiff.solver.walks`), exciton by exciton, not from the equation that the fit
solves: that the fit finds the truth is a real test. Optics and camera are applied photon by photon as well.
"""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from excidiff.inverse.results.storage import inside, result_folder, write_text, write_whole
from excidiff.solver import Spot, walk
from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium
from excidiff.solver.source import FWHM

FILES = ("laser.tif", "spot_*.tif", "decay.csv", "irf.csv", "truth.json", "README.txt")
README = """\
A film that does not exist, seen by a microscope that does not exist either; every photon was drawn at random.

laser.tif      the laser spot through the microscope, without the film
spot_*.tif     luminescence of the film under that spot, at {spots} places
decay.csv      photons against time after the pulse, with the background of the detector
irf.csv        the response of the detector to a short flash
truth.json     what is true of this film: look after the fit

The images know their pixel size ({pixel:g} nm). Fit them with

    excidiff fit spot_*.tif --laser laser.tif --decay decay.csv --irf irf.csv -o out

Diffusion length, lifetime and diffusivity should agree with truth.json within about two of their errors.
"""


@dataclass(frozen=True)
class Film:
    """The truth behind a demonstration, in µm and ns; widths are full widths at half maximum."""

    diffusivity: float = 0.031
    lifetime: float = 2.9
    laser_fwhm: float = 0.36
    psf_fwhm: float = 0.27
    pixel_size: float = 0.055
    pixels: tuple[int, int] = (100, 112)
    photons: int = 120_000
    laser_photons: int = 400_000
    background: float = 2.0
    spots: int = 4
    decay_bin: float = 0.032
    decay_window: float = 24.0
    response_fwhm: float = 0.12
    decay_background: float = 4.0

    @property
    def diffusion_length(self) -> float:
        """√(Dτ) in µm."""
        return (self.diffusivity * self.lifetime) ** 0.5


def write_demo(path: str | Path, *, seed: int = 1, film: Film | None = None, overwrite: bool = False) -> Path:
    """Write the files of a demonstration into the folder `path`, whole or not at all; the same seed, the same files.

    Raises `InputError` if the folder holds anything already, unless it is a demonstration and `overwrite` is set.
    """
    film = film or Film()
    laser, *spots = (np.random.default_rng([seed, number]) for number in range(film.spots + 1))
    with result_folder(path, overwrite=overwrite, ours=FILES) as folder:
        _write_tiff(inside(folder, "laser.tif"), _laser_image(film, laser), film)
        for number, random in enumerate(spots):
            photons = _walk(film, seed=int(random.integers(2**62)))
            _write_tiff(inside(folder, f"spot_{number:03d}.tif"), _image(film, photons.x, photons.y, random), film)
            if number == 0:
                _write_decay(folder, film, photons.time, random)
        truth = {**asdict(film), "diffusion_length": film.diffusion_length, "seed": seed, "units": "um, ns"}
        write_text(inside(folder, "truth.json"), json.dumps(truth, indent=1) + "\n")
        words = README.format(spots=film.spots, pixel=1e3 * film.pixel_size)
        write_text(inside(folder, "README.txt"), words)
    return Path(path)


def _walk(film: Film, *, seed: int):
    """Excitons of one spot, in a film whose walls are beyond the reach of any of them."""
    side = 40.0 * film.diffusion_length + 10.0 * film.laser_fwhm
    grid = Grid(shape=(8, 8), spacing=side / 8)
    medium = Medium(diffusivity=film.diffusivity, lifetime=film.lifetime)
    return walk(medium, Spot(fwhm=film.laser_fwhm), grid, excitons=film.photons, seed=seed)


def _laser_image(film: Film, random: np.random.Generator) -> np.ndarray:
    x, y = random.normal(0.0, film.laser_fwhm / FWHM, (2, film.laser_photons))
    return _image(film, x, y, random)


def _image(film: Film, x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each photon displaced by the PSF and counted in its pixel; the spot a little off centre, as spots are."""
    offset = random.uniform(-1.5, 1.5, 2) * film.pixel_size
    blur = random.normal(0.0, film.psf_fwhm / FWHM, (2, x.size))
    edges = [(np.arange(count + 1) - 0.5 * count) * film.pixel_size for count in film.pixels]
    counts, _, _ = np.histogram2d(y + blur[0] + offset[0], x + blur[1] + offset[1], bins=edges)
    return (counts + random.poisson(film.background, counts.shape)).astype(np.uint16)


def _write_tiff(path: Path, counts: np.ndarray, film: Film) -> None:
    """As ImageJ writes it: the pixel size in the resolution tags, its unit in the description."""
    import tifffile

    resolution = (1.0 / film.pixel_size, 1.0 / film.pixel_size)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, counts, imagej=True, resolution=resolution, metadata={"unit": "um"})
    write_whole(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))


def _write_decay(folder: Path, film: Film, times: np.ndarray, random: np.random.Generator) -> None:
    """Arrival times through the detector's response, in bins; the flash comes 1 ns after the window opens."""
    edges = np.arange(0.0, film.decay_window + 0.5 * film.decay_bin, film.decay_bin)
    jitter = random.normal(1.0, film.response_fwhm / FWHM, (2, times.size))
    decay, _ = np.histogram(times + jitter[0], bins=edges)
    response, _ = np.histogram(jitter[1], bins=edges)
    for name, counts in (
        ("decay.csv", decay + random.poisson(film.decay_background, decay.shape)),
        ("irf.csv", response),
    ):
        middles = 0.5 * (edges[:-1] + edges[1:])
        lines = [f"{time:.5f},{count}\n" for time, count in zip(middles, counts, strict=True)]
        write_text(inside(folder, name), "time_ns,counts\n" + "".join(lines))
