"""Thirty random films under pulses of three powers: `python -m benchmarks.powers`

Film i has traps that fill, is drawn by `draw_film(i)` before anything is fitted, and is walked exciton by exciton
(`excidiff.solver.walk`); camera and counter are simulated on the photons. Images and decays of the three pulses are
fitted together, every scale and background free, without start values. A pull is ln(value/truth) over a standard error
in ln(value), read off the side of the 95 % interval on which the truth lies. Resumable; `--films 0 10` runs a part,
only the whole writes the result.
"""

import argparse
import json

import numpy as np

from benchmarks.provenance import RESULTS, environment, write_json
from benchmarks.study import fingerprint, run_cases
from excidiff.inverse import Decay, Experiment, Image
from excidiff.inverse.files.data import Camera
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.fit.uncertainty import NORMAL_95
from excidiff.inverse.machine import start
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


def shoot(film: dict[str, float], seed: int) -> FluenceSeries:
    """The photons of the three pulses, seen by a camera and a counter."""
    random = np.random.default_rng([32, seed])
    length = np.sqrt(film["diffusivity"] * film["lifetime"])
    cells = int(np.ceil(2 * (6 * film["width"] + 8 * length) / (0.4 * film["width"])))
    grid = Grid((cells, cells), 0.4 * film["width"])
    traps = Traps(*(film[name] for name in ("trap_density", "capture", "release", "trap_lifetime")))
    medium = Medium(film["diffusivity"], film["lifetime"], traps=traps)
    sides = (np.arange(SIDE + 1) - SIDE / 2) * PIXEL
    edges = np.arange(0.0, WINDOW + BIN / 2, BIN)
    images, decays, densities = [], [], [film["low"], film["middle"], film["high"]]
    for number, density in enumerate(densities):
        total = 2 * np.pi * film["width"] ** 2 * density
        spot = Spot(fwhm=FWHM * film["width"])  # exact: walkers that start evenly in cells make it 0.7 % wider
        seen = walk(medium, spot, grid, excitons=WALKERS, seed=1000 * seed + number, total=total, max_time=WINDOW)
        free = seen.trap < 0
        x, y = (a[free] + PSF * random.standard_normal(int(free.sum())) for a in (seen.x, seen.y))
        split = random.random(x.size) < 0.5  # to the camera or to the counter
        image = np.histogram2d(y[split], x[split], (sides, sides))[0] + random.poisson(0.1, (SIDE, SIDE))
        counts = np.histogram(seen.time[free][~split], edges)[0] + random.poisson(0.5, edges.size - 1)
        camera = Camera(gain_known=True, saturation=np.inf)
        images.append(Image(image, pixel_size=PIXEL, camera=camera, file=f"spot_{number}"))
        decays.append(Decay((edges[1:] + edges[:-1]) / 2, counts, file=f"decay_{number}"))
    return FluenceSeries(images=images, image_densities=densities, decays=decays, decay_densities=densities,
                         exposure=WINDOW, scale="free")  # fmt: skip


def run_film(seed: int) -> dict:
    """Walk, fit, and compare with the truth."""
    film = draw_film(seed)
    series = shoot(film, seed)
    found = Experiment(
        series=series, model="saturable traps", laser_fwhm=FWHM * film["width"], psf_fwhm=FWHM * PSF
    ).fit()
    values = {name: found.parameters[name] for name in NAMES}
    pulls = {name: _pull(entry, film[name]) for name, entry in values.items()}
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
    for name in NAMES:
        pulls = np.array([film["pulls"][name] for film in films if film["pulls"][name] is not None])
        found[name] = {
            "films": len(pulls),
            "rms": float(np.sqrt(np.mean(pulls**2))),
            "largest": float(np.abs(pulls).max()),
        }
    return {"films": len(films), "flagged": [film["case"] for film in films if film["status"] != "converged"], **found}


def _say(case: int, film: dict) -> None:
    told = "  ".join(f"{name} {'–' if pull is None else f'{pull:+.2f}'}" for name, pull in film["pulls"].items())
    print(f"{case:3d}  {film['status']:9s} z {film['z']:+.2f}  {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", nargs=2, type=int, default=(0, FILMS), metavar=("FROM", "TO"))
    given = parser.parse_args()
    start()
    sources = fingerprint(*SOURCES)
    films = run_cases("powers", sources, range(*given.films), run_film, _say)
    summary = summarise(films)
    print(json.dumps(summary, indent=1))
    if len(films) == FILMS:
        write_json(RESULT, {"sources": sources, "environment": environment(), "summary": summary, "films": films})


if __name__ == "__main__":
    main()
