"""Films with patches of traps, and the images of spots at many places over them: the solver's, with photon noise."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks import simulated
from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.likelihood import goodness
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.maps import measure_map
from excidiff.solver import Grid


@dataclass(frozen=True)
class PatchyFilm:
    """Discs (x, y, radius, extra rate) on a film; `places`² spots `step` µm apart, `count`² pixels."""

    discs: tuple[tuple[float, float, float, float], ...]
    count: int = 32
    places: int = 4
    step: float = 0.6
    excitons: float = 6e4
    film: float = 0.05
    pixel: float = 0.1
    laser_fwhm: float = 0.3
    psf_fwhm: float = 0.2
    diffusivity: float = 0.05
    lifetime: float = 5.0
    background: float = 0.2

    @property
    def positions(self) -> np.ndarray:
        """(x, y) of every spot."""
        along = (np.arange(self.places) - (self.places - 1) / 2) * self.step
        return np.array([(x, y) for y in along for x in along])

    @cached_property
    def rate(self) -> np.ndarray:
        """The true map, averages over the pixels."""
        return simulated.patches(Grid((self.count,) * 2, self.pixel), self.film, list(map(list, self.discs)))

    def away_from_edges(self, distance: float) -> np.ndarray:
        """Pixels whose centre is farther than so many µm from the edge of every disc."""
        x = (np.arange(self.count) - (self.count - 1) / 2) * self.pixel
        far = [abs(np.hypot(x[None, :] - cx, x[:, None] - cy) - r) > distance for cx, cy, r, _ in self.discs]
        return np.all(far, axis=0) if far else np.ones((self.count,) * 2, bool)

    def error(self, found) -> float:
        """Relative L2 error of a map where the dose is a tenth of its largest or more."""
        lit = found.dose >= 0.1
        return float(np.linalg.norm((found.value - self.rate)[lit]) / np.linalg.norm(self.rate[lit]))

    @cached_property
    def light(self) -> np.ndarray:
        """Photons expected of each image: finite volumes a quarter of a pixel wide (0.2 σ of the laser), walls 2.8 µm
        (6 L) away."""
        fine, margin = 4, int(np.ceil(2.8 / self.pixel))
        grid = Grid((fine * (self.count + 2 * margin),) * 2, self.pixel / fine)
        rate = simulated.patches(grid, self.film, list(map(list, self.discs)), finer=4)
        truth = {
            "diffusivity_um2_per_ns": self.diffusivity,
            "lifetime_ns": self.lifetime,
            "laser_fwhm_um": self.laser_fwhm,
            "psf_fwhm_um": self.psf_fwhm,
            "excitons_per_spot": self.excitons,
            "background_per_pixel": self.background,
        }
        pixels = np.asarray(pixel_edges(self.count, self.pixel))
        return np.array([simulated.patched(truth, rate, grid, place, pixels) for place in self.positions])

    def images(self, seed: int) -> list[Image]:
        """Poisson counts of that light."""
        random, camera = np.random.default_rng(seed), Camera(gain_known=True, saturation=np.inf)
        return [
            Image(random.poisson(light).astype(float), pixel_size=self.pixel, camera=camera, file=f"spot {number}")
            for number, light in enumerate(self.light)
        ]

    def chance(self, images: list[Image]) -> float:
        """z of the deviance of these counts about the true light: what the noise of them did."""
        counts = np.array([image.counts for image in images])
        return goodness(counts.ravel(), self.light.ravel(), Detector(), fitted=0).z

    def measure(self, images: list[Image], **change):
        """The map found from images of this film."""
        names = ("diffusivity", "lifetime", "laser_fwhm", "psf_fwhm", "excitons")
        known: dict[str, Any] = {name: getattr(self, name) for name in names}
        return measure_map(images, self.positions, **known | change)
