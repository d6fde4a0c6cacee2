"""Photons of a uniform film, one by one: each emitted at an exponential age from where a Gaussian walk has led it."""

from typing import NamedTuple

import numpy as np

from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.solver.source import FWHM


def shoot(seed, *, photons, width, length=0.0, shape=(96, 96), pixel=0.06, centre=(0.0, 0.0), background=0.0,
          gain=1.0, offset=0.0, read_noise=0.0, gain_known=True, file="spot"):  # fmt: skip
    """An image of about `photons` photons of a spot of standard deviation `width` (µm) and diffusion `length`."""
    rng = np.random.default_rng(seed)
    size = tuple(float(one) for one in np.broadcast_to(pixel, (2,)))
    number = rng.poisson(photons)
    age = rng.exponential(1.0, number) if length else np.zeros(number)
    spread = np.sqrt(width**2 + 2 * length**2 * age)
    place = [c + spread * rng.standard_normal(number) for c in centre]
    edges = [(np.arange(n + 1) - n / 2) * s for n, s in zip(shape, size, strict=True)]
    hits = np.histogram2d(place[1], place[0], bins=edges)[0] + rng.poisson(background, shape)
    counts = np.round(gain * (hits + read_noise * rng.standard_normal(shape)) + offset)
    camera = Camera(gain if gain_known else 1.0, offset, read_noise, gain_known=gain_known, saturation=np.inf)
    return Image(counts, pixel_size=(size[0], size[1]), camera=camera, file=file)


def shoot_gates(seed, edges, *, photons, lifetime, width, length, background=0.5, shape=(64, 64), pixel=0.06):
    """A movie of a film after a pulse: one image per gate between `edges` (ns), `photons` in all of them together."""
    rng, edges = np.random.default_rng(seed), np.asarray(edges, float)
    first, last = np.exp(-edges[[0, -1]] / lifetime)
    time = -lifetime * np.log(first - rng.random(rng.poisson(photons)) * (first - last))
    spread = np.sqrt(width**2 + 2 * length**2 * time / lifetime)
    x, y = spread * rng.standard_normal((2, time.size))
    columns, rows = ((np.arange(n + 1) - n / 2) * pixel for n in shape[::-1])
    hits, _ = np.histogramdd((time, y, x), bins=(edges, rows, columns))
    camera = Camera(gain_known=True, saturation=np.inf)
    return [
        Image(hit + rng.poisson(background, shape), pixel_size=pixel, camera=camera, file="movie", frame=k)
        for k, hit in enumerate(hits)
    ]


def count_decay(
    seed, lifetimes, weights, *, photons: int, width: float, period: float, fwhm: float, kind: str
) -> Decay:
    """Photon by photon: an exponential age each, jitter, wrapped into the period; two counts per bin of background."""
    random = np.random.default_rng(seed)
    bins = int(period / width)
    edges, pulse = width * np.arange(bins + 1), 0.1 * period
    number = random.poisson(photons)
    age = random.exponential(random.choice(lifetimes, number, p=weights))
    jitter = random.normal(0.0, fwhm / FWHM, (2, max(number, 100_000)))
    seen = np.histogram((pulse + age + jitter[0, :number]) % period, edges)[0] + random.poisson(2.0, bins)
    own = np.histogram((pulse + jitter[1, :100_000]) % period, edges)[0] + random.poisson(0.5, bins)
    time = 0.5 * (edges[1:] + edges[:-1])
    given = {"measured": Response(time, own), "gaussian": fwhm, "none": None}[kind]
    return Decay(time, seen, irf=given, period=period)


class Populations(NamedTuple):
    """Two lifetimes (ns), their shares of the photons, and the D of both (µm²/ns)."""

    lifetimes: tuple[float, float]
    shares: tuple[float, float]
    diffusivity: float

    def ages(self, random: np.random.Generator, photons: int) -> np.ndarray:
        return random.exponential(random.choice(self.lifetimes, photons, p=self.shares))


def shoot_populations(random: np.random.Generator, photons: int, film: Populations) -> Image:
    """A steady spot of σ = 0.15 µm on 48² pixels of 0.08 µm."""
    spread = np.sqrt(0.15**2 + 2 * film.diffusivity * film.ages(random, photons))
    x, y = spread * random.standard_normal((2, photons))
    sides = (np.arange(49) - 24) * 0.08
    counts = np.histogram2d(y, x, (sides, sides))[0] + random.poisson(0.5, (48, 48))
    return Image(counts, pixel_size=0.08, camera=Camera(gain_known=True, saturation=np.inf), file="spot.tif")


def count_aperture(
    random: np.random.Generator, photons: int, *, lifetime: float, width: float, length: float, aperture: float, **more
) -> Decay:
    """Photons of excitons wherever they are, kept with the Gaussian chance of an aperture (FWHM): 800 bins in a period
    of 40 ns, through a Gaussian response of σ = 0.05 ns."""
    age = lifetime * random.exponential(size=photons)
    place = np.sqrt(width**2 + 2 * length**2 * age / lifetime) * random.standard_normal((2, photons))
    kept = random.random(photons) < np.exp(-(place**2).sum(0) / (2 * (aperture / FWHM) ** 2))
    edges = np.linspace(0.0, 40.0, 801)
    seen = 3.0 + age[kept] + 0.05 * random.standard_normal(kept.sum())
    counts = np.histogram(seen % 40.0, edges)[0] + random.poisson(0.5, 800)
    given = {"irf": 0.05 * FWHM, "period": 40.0, "aperture_fwhm": aperture, "file": "decay.csv"}
    return Decay((edges[1:] + edges[:-1]) / 2, counts, **(given | more))


def film_populations(random: np.random.Generator, photons: int, film: Populations, edges) -> list[Image]:
    """The same in gates between `edges` (ns) after a pulse, on 40² pixels of 0.1 µm."""
    ages = film.ages(random, photons)
    x, y = np.sqrt(0.15**2 + 2 * film.diffusivity * ages) * random.standard_normal((2, photons))
    sides = (np.arange(41) - 20) * 0.1
    hits, _ = np.histogramdd((ages, y, x), bins=(edges, sides, sides))
    camera = Camera(gain_known=True, saturation=np.inf)
    return [
        Image(hit + random.poisson(0.2, hit.shape), pixel_size=0.1, camera=camera, file="movie", frame=k)
        for k, hit in enumerate(hits)
    ]


def count_populations(random: np.random.Generator, photons: int, film: Populations) -> Decay:
    """500 bins in a period of 50 ns, through a Gaussian response of σ = 0.05 ns."""
    edges = np.linspace(0.0, 50.0, 501)
    seen = 5.0 + film.ages(random, photons) + 0.05 * random.standard_normal(photons)
    counts = np.histogram(seen % 50.0, edges)[0] + random.poisson(0.5, 500)
    return Decay((edges[1:] + edges[:-1]) / 2, counts, irf=0.05 * FWHM, period=50.0, file="decay.csv")


def collect_spectra(
    seed, *, photons, width, length, attempts, disorder, line, centre=2400.0, share=0.0, caught=(2310.0, 35.0),
    slit=0.2, step=0.1, reach=1.2, background=0.2, thermal=25.4213, wings=0.0,
) -> SpectralMap:  # fmt: skip
    """A fibre scan along a line, exciton by exciton: each spreads and hops among sites (Metropolis) until it dies.

    `attempts` in a lifetime; energies in meV. Of the `photons` of the film those in the slit are kept. wings: FWHM of
    a Lorentzian that the Gaussian line is convolved with.
    """
    random = np.random.default_rng(seed)
    x, energy = relax(random, photons, width, length, attempts, disorder, slit, thermal)
    light = centre + energy + line * random.standard_normal(x.size)
    if wings:
        light += wings / 2 * random.standard_cauchy(x.size)
    trapped = random.random(x.size) < share
    light[trapped] = caught[0] + caught[1] * random.standard_normal(np.count_nonzero(trapped))
    return count_spectra(random, x, light, slit, step, reach, background)


def relax(random: np.random.Generator, photons, width, length, attempts, disorder, slit, thermal):
    """(x, energy) of excitons within the slit as they die: each has spread, and hopped among sites (Metropolis)."""
    age = random.exponential(1.0, random.poisson(photons))
    age = age[np.abs(np.sqrt(width**2 + 2 * length**2 * age) * random.standard_normal(age.size)) < slit / 2]
    x = np.sqrt(width**2 + 2 * length**2 * age) * random.standard_normal(age.size)
    energy = disorder * random.standard_normal(age.size)
    left = random.poisson(attempts * age)
    while (hopping := np.flatnonzero(left)).size:
        new = disorder * random.standard_normal(hopping.size)
        taken = random.random(hopping.size) < np.exp(np.minimum(0.0, energy[hopping] - new) / thermal)
        energy[hopping[taken]] = new[taken]
        left[hopping] -= 1
    return x, energy


def collect_guided(
    seed, *, photons, width, length, line, outcoupling, loss, absorption, centre=2400.0, slit=0.2, step=0.1,
    reach=2.0, background=0.2, wings=0.0,
) -> SpectralMap:  # fmt: skip
    """The same of a film that guides light: some photons leave it elsewhere, after an exponential way that no
    absorption ends. `outcoupling`, `loss`: 1/µm; absorption: meV → 1/µm."""
    random = np.random.default_rng(seed)
    number = random.poisson(photons), random.poisson(photons * outcoupling / loss)
    age = random.exponential(1.0, sum(number))
    x, y = np.sqrt(width**2 + 2 * length**2 * age) * random.standard_normal((2, age.size))
    light = centre + line * random.standard_normal(age.size)
    if wings:
        light += wings / 2 * random.standard_cauchy(age.size)
    way, angle = random.exponential(1 / loss, age.size), random.uniform(0, 2 * np.pi, age.size)
    guided = np.arange(age.size) >= number[0]
    seen = ~guided | (random.random(age.size) < np.exp(-absorption(light) * way))
    x, y = x + np.where(guided, way * np.cos(angle), 0.0), y + np.where(guided, way * np.sin(angle), 0.0)
    seen &= np.abs(y) < slit / 2
    return count_spectra(random, x[seen], light[seen], slit, step, reach, background)


def count_spectra(random, x, light, slit, step, reach, background) -> SpectralMap:
    """What a spectrometer counts along a line, in bins of 0.5 nm."""
    places = np.arange(-reach, reach + step / 2, step)
    sides = np.append(places - step / 2, places[-1] + step / 2)
    wavelengths = np.arange(490.0, 552.0, 0.5)
    counts = np.histogram2d(x, PLANCK_C / light, (sides, wavelengths))[0]
    counts += random.poisson(background, counts.shape)
    return SpectralMap(counts=counts[None], x=places, y=np.zeros(1), edges=PLANCK_C / wavelengths, step=step, slit=slit)
