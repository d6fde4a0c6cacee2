"""Thirty random films under pulses of three powers, for each kind of data: `python -m benchmarks.powers`

Film i has traps that fill, is drawn by `draw_film(i)` before anything is fitted, and is walked exciton by exciton
(`excidiff.solver.walk`); camera, gated camera, counter and spectrometer are simulated on the photons. All data of the
three pulses are fitted together without start values: images and decays with every scale and background free, movies
alone, spectra, in which traps shine, with decays, of which the counter sees the free excitons, or scans of photons and
of lifetimes, of all light and of that near the laser, with a decay of the weakest pulse. A pull is
ln(value/truth) over a standard error in ln(value), read off the side of the 95 % interval on which the truth lies.
Resumable; `--kinds` runs some kinds.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from benchmarks.provenance import RESULTS, environment
from benchmarks.study import fingerprint, run_cases, run_kinds
from excidiff.inverse import Decay, Experiment, Image
from excidiff.inverse.files.data import Camera
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.files.frames import Frames
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.uncertainty import NORMAL_95
from excidiff.inverse.results.result import Estimate
from excidiff.solver import Grid, Medium, Spot, Traps, walk
from excidiff.solver.source import FWHM

FILMS = 30
WALKERS = 50_000  # per pulse
SOURCES = ("powers.py",)
RESULT = RESULTS / "powers.json"
NAMES = ("diffusivity", "lifetime", "trap_density", "capture", "release", "trap_lifetime")
PSF, PIXEL, SIDE = 0.08, 0.08, 56  # µm, µm, pixels
WINDOW, BIN = 60.0, 0.15  # ns
GATES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 7.0)  # lifetimes
CELL, CELLS = 0.2, 13  # µm; places of a map of spectra on a side
COLOURS = np.linspace(2150.0, 2450.0, 61)  # meV
BANDS = {"band_centre": 2360.0, "linewidth": 22.0, "trap_band_centre": 2265.0, "trap_band_width": 30.0}
NEAR, PLACES = 0.2, 12  # µm: σ of the light near the laser; places of a scan on a side
LIT = 0.9  # of the walkers, the mean of those that a laser made
CAMERA = Camera(gain_known=True, saturation=np.inf)


def draw_film(seed: int) -> dict[str, float]:
    """A film and its laser at random: µm, ns; the densities of the three pulses are multiples of that of the traps."""
    random = np.random.default_rng([31, seed])

    def between(low: float, high: float) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    lifetime, density = between(2.0, 8.0), between(300.0, 3000.0)
    width = random.uniform(0.10, 0.18)
    return {
        "width": width,
        "diffusivity": (width * between(1.0, 3.0)) ** 2 / lifetime,
        "lifetime": lifetime,
        "trap_density": density,
        "capture": between(1.0, 6.0) / (lifetime * density),
        "release": between(0.02, 0.2) / lifetime,
        "trap_lifetime": lifetime * between(3.0, 8.0),
        "low": 0.1 * density,
        "middle": between(1.0, 3.0) * density,
        "high": between(6.0, 20.0) * density,
    }


class Photons(NamedTuple):
    """Those of one pulse: where (µm) and when (ns) each was emitted, and whether by a trapped exciton."""

    density: float
    x: Float64[np.ndarray, " N"]
    y: Float64[np.ndarray, " N"]
    time: Float64[np.ndarray, " N"]
    trapped: np.ndarray

    def of(self, which: np.ndarray) -> "Photons":
        """Some of them."""
        return Photons(self.density, self.x[which], self.y[which], self.time[which], self.trapped[which])


def walked(film: dict[str, float], seed: int) -> Iterator[Photons]:
    """The photons of the three pulses."""
    length = np.sqrt(film["diffusivity"] * film["lifetime"])
    cells = int(np.ceil(2 * (6 * film["width"] + 8 * length) / (0.4 * film["width"])))
    grid = Grid((cells, cells), 0.4 * film["width"])
    traps = Traps(*(film[name] for name in ("trap_density", "capture", "release", "trap_lifetime")))
    medium = Medium(film["diffusivity"], film["lifetime"], traps=traps)
    for number, density in enumerate(film[name] for name in ("low", "middle", "high")):
        total = 2 * np.pi * film["width"] ** 2 * density
        spot = Spot(fwhm=FWHM * film["width"])  # exact: walkers that start evenly in cells make it 0.7 % wider
        seen = walk(medium, spot, grid, excitons=WALKERS, seed=1000 * seed + number, total=total, max_time=WINDOW)
        x, y, time, trap = (np.asarray(a) for a in (seen.x, seen.y, seen.time, seen.trap))
        yield Photons(density, x, y, time, trap >= 0)


def counted(photons: Photons, number: int, random: np.random.Generator) -> Decay:
    """What the counter sees of them."""
    edges = np.arange(0.0, WINDOW + BIN / 2, BIN)
    counts = np.histogram(photons.time, edges)[0] + random.poisson(0.5, edges.size - 1)
    return Decay((edges[1:] + edges[:-1]) / 2, counts, file=f"decay_{number}")


def images_and_decays(film: dict[str, float], seed: int) -> FluenceSeries:
    """Free excitons' photons, each to the camera or to the counter."""
    random, sides = np.random.default_rng([32, seed]), (np.arange(SIDE + 1) - SIDE / 2) * PIXEL
    images, decays, densities = [], [], []
    for number, photons in enumerate(walked(film, seed)):
        free = photons.of(~photons.trapped)
        x, y = (a + PSF * random.standard_normal(a.size) for a in (free.x, free.y))
        split = random.random(x.size) < 0.5
        image = np.histogram2d(y[split], x[split], (sides, sides))[0] + random.poisson(0.1, (SIDE, SIDE))
        images.append(Image(image, pixel_size=PIXEL, camera=CAMERA, file=f"spot_{number}"))
        decays.append(counted(free.of(~split), number, random))
        densities.append(photons.density)
    return FluenceSeries(images=images, image_densities=densities, decays=decays, decay_densities=densities,
                         exposure=WINDOW, scale="free")  # fmt: skip


def movies(film: dict[str, float], seed: int) -> FluenceSeries:
    """Free excitons' photons, all to a gated camera."""
    random, sides = np.random.default_rng([33, seed]), (np.arange(SIDE + 1) - SIDE / 2) * PIXEL
    ends = np.minimum(np.append(film["lifetime"] * np.array(GATES), WINDOW), WINDOW)
    ends = np.unique(ends)
    found, densities = [], []
    for number, photons in enumerate(walked(film, seed)):
        free = photons.of(~photons.trapped)
        x, y = (a + PSF * random.standard_normal(a.size) for a in (free.x, free.y))
        counts = np.histogramdd((free.time, y, x), (ends, sides, sides))[0]
        counts += random.poisson(0.02, counts.shape)
        images = [Image(one, pixel_size=PIXEL, camera=CAMERA, file=f"movie_{number}", frame=i)
                  for i, one in enumerate(counts)]  # fmt: skip
        found.append(Frames(images, np.stack([ends[:-1], ends[1:]], axis=1)))
        densities.append(photons.density)
    return FluenceSeries(frames=found, frames_densities=densities, scale="free")


def spectra_and_decays(film: dict[str, float], seed: int) -> FluenceSeries:
    """Half of the photons, those of traps too, to a spectrometer that looks at every place; the rest to the counter."""
    random, places = np.random.default_rng([34, seed]), (np.arange(CELLS) - CELLS // 2) * CELL
    sides = (np.arange(CELLS + 1) - CELLS / 2) * CELL
    maps, decays, densities = [], [], []
    for number, photons in enumerate(walked(film, seed)):
        split = random.random(photons.x.size) < 0.5
        seen, rest = photons.of(split), photons.of(~split)
        x, y = (a + PSF * random.standard_normal(a.size) for a in (seen.x, seen.y))
        centre, width = (np.where(seen.trapped, BANDS[f"trap_band_{a}"], BANDS[b])
                         for a, b in (("centre", "band_centre"), ("width", "linewidth")))  # fmt: skip
        energy = centre + width * random.standard_normal(centre.size)
        counts = np.histogramdd((y, x, energy), (sides, sides, COLOURS))[0]
        counts += random.poisson(0.01, counts.shape)
        maps.append(SpectralMap(counts=counts, x=places, y=places, edges=COLOURS, step=CELL, slit=CELL,
                                file=f"map_{number}"))  # fmt: skip
        decays.append(counted(rest.of(~rest.trapped), number, random))
        densities.append(photons.density)
    return FluenceSeries(spectral_maps=maps, map_densities=densities, decays=decays, decay_densities=densities,
                         exposure=WINDOW, scale="free")  # fmt: skip


def scans_and_a_decay(film: dict[str, float], seed: int) -> FluenceSeries:
    """Free excitons' photons, each from one of many places, to a detector of all light or to one near the laser; of the
    weakest pulse half to the counter. Numbers of photons are per exciton, as weak pulses were repeated more often."""
    random, scans, densities, decays = np.random.default_rng([35, seed]), [], [], []
    for number, photons in enumerate(walked(film, seed)):
        # As many excitons as a laser makes by chance: of a fixed number fewer photons scatter less than photons do.
        many = random.hypergeometric(photons.x.size, WALKERS - photons.x.size, random.poisson(LIT * WALKERS))
        photons = photons.of(random.permutation(photons.x.size)[:many])
        free, per = photons.of(~photons.trapped), 2 * np.pi * film["width"] ** 2 * photons.density / (LIT * WALKERS)
        if number == 0:
            split = random.random(free.x.size) < 0.5
            decays.append(counted(free.of(~split), number, random))
            free, per = free.of(split), 2 * per
        half = random.random(free.x.size) < 0.5
        spot = free.of(~half)
        caught = random.random(spot.x.size) < np.exp(-0.5 * (spot.x**2 + spot.y**2) / NEAR**2)
        for seen, near in ((free.of(half), None), (spot.of(caught), FWHM * NEAR)):
            scans += _scans(seen.time, 2 * per, near, f"scan_{number}", random)
            densities += [photons.density] * 2
    return FluenceSeries(scans=scans, scan_densities=densities, decays=decays, decay_densities=densities[:1],
                         exposure=WINDOW)  # fmt: skip


def _scans(time: Float64[np.ndarray, " N"], per: float, near: float | None, name: str, random) -> list[RasterScan]:
    """(photons, each standing for so many excitons, and their mean ages) of places that have them by chance."""
    place = random.integers(PLACES**2, size=time.size)
    sums = [np.bincount(place, time**power, PLACES**2).reshape(PLACES, PLACES) for power in range(3)]
    told, many = sums[0] > 2, np.maximum(sums[0], 3.0)
    ages = sums[1] / many
    error = np.sqrt(np.maximum(sums[2] / many - ages**2, 1e-12) / (many - 1))
    said: dict[str, Any] = {"step": 0.5, "collection": near, "file": name}
    even = np.full(ages.shape, np.sqrt(sums[0].mean()) * per)
    aged = {"values": ages, "photons": sums[0], "uncertainty": error, "mask": told, "quantity": "lifetime"}
    return [RasterScan(values=sums[0] * per, uncertainty=even, **said), RasterScan(**aged, **said)]


KINDS: dict[str, Callable[[dict[str, float], int], FluenceSeries]] = {
    "images and decays": images_and_decays,
    "movies": movies,
    "spectra and decays": spectra_and_decays,
    "scans and a decay": scans_and_a_decay,
}


def truth_of(kind: str, film: dict[str, float]) -> dict[str, float]:
    """What is fitted, and is known of a film; every exciton that recombines gives a photon, wherever it is."""
    bands = {**BANDS, "trap_brightness": film["lifetime"] / film["trap_lifetime"]}
    return {name: film[name] for name in NAMES} | (bands if kind == "spectra and decays" else {})


def run_film(kind: str, seed: int) -> dict:
    """Walk, fit, and compare with the truth."""
    film = draw_film(seed)
    series, truth = KINDS[kind](film, seed), truth_of(kind, film)
    optics = {"laser_fwhm": FWHM * film["width"], "psf_fwhm": FWHM * PSF}
    if series.spectral_maps:
        optics["collection_fwhm"] = FWHM * PSF
    found = Experiment(series=series, model="saturable traps", **optics).fit()
    values = {name: found.parameters[name] for name in truth if name in found.parameters}
    pulls = {name: _pull(values[name], truth[name]) if name in values else None for name in truth}
    return {
        "truth": film,
        "status": found.status,
        "values": {name: [entry.value, entry.stderr, entry.interval95] for name, entry in values.items()},
        "pulls": pulls,
        "z": found.goodness["z"],
        "counts": [int(np.sum(entry.counts)) for entry in found.measurements if entry.counts is not None],
    }


def _pull(entry: Estimate, truth: float) -> float | None:
    """None where there is no error to measure by."""
    if not entry.stderr or not entry.value or entry.interval95 is None:
        return None
    low, high = entry.interval95
    bound = low if truth < entry.value else high
    return float(np.log(entry.value / truth) * NORMAL_95 / abs(np.log(bound / entry.value))) if bound else None


def summarise(films: list[dict]) -> dict:
    """Per parameter: how many films have an error, the pulls' root mean square, and the largest."""
    found = {}
    for name in films[0]["pulls"]:
        pulls = np.array([film["pulls"][name] for film in films if film["pulls"][name] is not None])
        found[name] = {
            "films": len(pulls),
            "rms": float(np.sqrt(np.mean(pulls**2))),
            "largest": float(np.abs(pulls).max()),
        }
    return {"films": len(films), "flagged": [film["case"] for film in films if film["status"] != "converged"], **found}


def _say(case: int, film: dict) -> None:
    told = "  ".join(f"{name} {'–' if pull is None else f'{pull:+.2f}'}" for name, pull in film["pulls"].items())
    print(f"{case:3d}  {film['status']:9s} {film['seconds']:6.1f} s  z {film['z']:+.2f}  {told}", flush=True)


def run_kind(kind: str) -> dict:
    sources = fingerprint(*SOURCES)
    films = run_cases(f"powers-{kind.replace(' ', '-')}", sources, range(FILMS), partial(run_film, kind), _say)
    summary = summarise(films)
    print(json.dumps(summary, indent=1), flush=True)
    return {"sources": sources, "environment": environment(), "summary": summary, "films": films}


if __name__ == "__main__":
    run_kinds(__doc__, list(KINDS), run_kind, RESULT)
