"""What is known beforehand of a fluence series, and where the numbers of its film are looked for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

BEYOND = 1e3  # times the ranges below, beyond which no number is looked for
RANGES = {  # of each number, in the units of `Pulses`
    "diffusivity": (0.1, 3.0),
    "lifetime": (0.5, 12.0),
    "annihilation": (1e-3, 10.0),
    "trapping_rate": (0.05, 20.0),
    "trap_density": (0.05, 5.0),
    "capture": (0.03, 30.0),
    "release": (1e-3, 3.0),
    "trap_lifetime": (0.5, 50.0),
}


class PixelSize(NamedTuple):
    """The relative error of the size of all pixels, and how the logarithms of σ of laser and PSF follow that of it: 1
    of what an image showed, 0 of what was told in µm."""

    error: float
    width: float = 0.0
    psf: float = 0.0


class Told(NamedTuple):
    """What is known beforehand, as (value, relative error), 0 for what is exact: σ of laser, PSF and collection spot in
    µm, numbers of the film by name. line: of spectra. pixels: None if their size is exact."""

    width: tuple[float, float] | None = None
    psf: tuple[float, float] | None = None
    film: Mapping[str, tuple[float, float]] = MappingProxyType({})
    collection: tuple[float, float] | None = None
    line: str = "gaussian"
    pixels: PixelSize | None = None
