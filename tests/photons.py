"""Photons of a uniform film, one by one: each emitted at an exponential age from where a Gaussian walk has led it."""

import numpy as np

from excidiff.inverse.files.data import Camera, Image

FWHM = 2.3548200450309493


def shoot(seed, *, photons, width, length=0.0, shape=(96, 96), pixel=0.06, centre=(0.0, 0.0), background=0.0,
          gain=1.0, offset=0.0, read_noise=0.0, gain_known=True, file="spot"):  # fmt: skip
    """An image of about `photons` photons of a spot of standard deviation `width` (µm) and diffusion `length`."""
    rng = np.random.default_rng(seed)
    size = np.broadcast_to(pixel, (2,))
    number = rng.poisson(photons)
    age = rng.exponential(1.0, number) if length else np.zeros(number)
    spread = np.sqrt(width**2 + 2 * length**2 * age)
    place = [c + spread * rng.standard_normal(number) for c in centre]
    edges = [(np.arange(n + 1) - n / 2) * s for n, s in zip(shape, size, strict=True)]
    hits = np.histogram2d(place[1], place[0], bins=edges)[0] + rng.poisson(background, shape)
    counts = np.round(gain * (hits + read_noise * rng.standard_normal(shape)) + offset)
    camera = Camera(gain if gain_known else 1.0, offset, read_noise, gain_known=gain_known, saturation=np.inf)
    return Image(counts, pixel_size=tuple(float(s) for s in size), camera=camera, file=file)
