"""What was taken of a pulse against position, ready for a fit: pictures and maps of spectra, with their spots."""

from typing import NamedTuple

import numpy as np

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.laws import Reading, pictures_reading, spectra_reading
from excidiff.inverse.fit.layout import Cells, Picture, Pixels
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.spectrograph import band_of, middle_of, sides_of
from excidiff.inverse.fit.spot import summed
from excidiff.inverse.fit.start import FWHM, Spot, find_spot
from excidiff.solver.solution import InputError

FAINTEST = 0.1  # of the photons of the spot that stands out: counts less the background may be none


class Taken(NamedTuple):
    """A `picture` with its `images`, one or one per gate, what was read of them, and where the light of all is."""

    picture: Picture
    images: tuple[Image, ...]
    reading: Reading
    spot: Spot

    @property
    def middle(self) -> tuple[float, float]:
        """Where the light is, (x, y), µm."""
        return self.spot.x, self.spot.y

    @property
    def background(self) -> float:
        """Per pixel of each image, roughly."""
        return self.spot.background / len(self.images)

    @property
    def faintest(self) -> float:
        """As few photons as it may be taken to have."""
        return FAINTEST * self.spot.amplitude


class Scanned(NamedTuple):
    """A `picture` of spectra, the `map`: what was read of it, its band (centre and σ in meV, background), and of the
    light of all colours the middle (x, y) and σ against position, µm."""

    picture: Picture
    map: SpectralMap
    reading: Reading
    band: tuple[float, float, float]
    middle: tuple[float, float]
    spread: float

    @property
    def background(self) -> float:
        """Per bin, roughly."""
        return self.band[2]

    @property
    def faintest(self) -> float:
        """As few photons as it may be taken to have."""
        return 1.0


def taken(picture: Picture, images: tuple[Image, ...], narrowest: float) -> Taken:
    """Images of one picture; raises InputError where no spot at least about as wide as `narrowest` stands out."""
    spot = _spot(summed(images), narrowest, images[0].flat)
    return Taken(picture, images, pictures_reading(images), spot)


def scanned(picture: Picture, measured: SpectralMap, narrowest: float) -> Scanned:
    """A map with its band and where its light is; raises InputError where no band stands out."""
    band = band_of(measured)
    profile = measured.counts.sum(2) - band[2] * measured.counts.shape[2]
    row = profile.sum(0)
    wide = float(np.gradient(measured.x)[row > 0.5 * row.max()].sum()) / FWHM if measured.x.size > 1 else narrowest
    return Scanned(picture, measured, spectra_reading(measured), band, middle_of(measured, profile), wide)


def _spot(image: Image, narrowest: float, sensitivity: np.ndarray | None) -> Spot:
    flat = np.ones(image.shape) if sensitivity is None else sensitivity
    found = find_spot(image.photons, image.mask, flat, image.spacing, 0.7 * narrowest)
    if found is None:
        raise InputError(f"{image.name}: no spot stands out of the background; check the file and the region")
    return found


def pixels(one: Taken) -> Pixels:
    """Edges and sensitivities."""
    (ny, nx), (size_y, size_x) = one.images[0].shape, one.images[0].spacing
    flat = np.stack([np.ones(image.shape) if image.flat is None else image.flat for image in one.images])
    return Pixels(np.asarray(pixel_edges(nx, size_x)), np.asarray(pixel_edges(ny, size_y)), flat)


def cells(one: Scanned) -> Cells:
    """Sides and colours."""
    return Cells(*sides_of(one.map, one.map.x, one.map.y), one.map.edges)


def corner(one: Taken) -> float:
    """How far from the spot pixels may be, wherever the fit moves it, µm."""
    (ny, nx), (size_y, size_x) = one.images[0].shape, one.images[0].spacing
    return float(np.hypot(nx * size_x, ny * size_y) / 2 + 1.5 * np.hypot(one.spot.x, one.spot.y))


def reach(one: Scanned) -> float:
    """How far from the spot places may be, wherever the fit moves it, µm."""
    measured, (x, y) = one.map, one.middle
    far = [max(np.abs(places - middle).max(), 0.0) for places, middle in ((measured.x, x), (measured.y, y))]
    return float(1.2 * np.hypot(*far) + measured.step + measured.slit + one.spread)
