"""How often intervals hold the truth, for every kind of fit: `python -m benchmarks.coverage_kinds`

Each kind of `KINDS` is measured `--cases` times (500) on one film, photon by photon: an exponential age each, a
Gaussian walk for it, jitter or hops, and Poisson background, by no formula that a fit knows. Case k of a kind has
random numbers of its own, (kind, k). A laser's width that is given is measured with its error, too. Every case is
fitted by `Experiment.fit` with `--interval` fisher, profile (of lengths of images), bootstrap or nuts.

A number is within 1 σ if it is in its 68.3 % interval, where there is one beside value ± stderr, else if its own number
is (log of what is positive); an interval with an open end holds what lies on that side. Resumable; each kind is written
as it is complete, beside those that are there.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.photons import count_spectra, relax
from benchmarks.provenance import RESULTS, environment
from benchmarks.study import fingerprint, pull, rounded, run_cases, write_beside
from excidiff.inverse import Camera, Decay, Experiment, Image, Response, SpectralMap
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.machine import start
from excidiff.solver.source import FWHM

CASES, WHOLE = 500, 3
SOURCES = ("coverage_kinds.py", "photons.py")
LENGTH, WIDTH, LIFETIME = 0.35, 0.15, 4.0  # µm, µm (σ), ns
SLOW, FAST, SHARE = 5.0, 1.2, 0.6  # ns, ns, of the slow one
PIXEL, SIDE, BACKGROUND = 0.08, 40, 0.5  # µm, pixels, photons per pixel or bin
GATES = np.arange(0.0, 8.1, 1.0)  # ns
PERIOD, BIN, JITTER = 25.0, 0.05, 0.1  # ns
ATTEMPTS, DISORDER, LINE, CENTRE, THERMAL = 3.0, 16.0, 22.0, 2400.0, 25.4213  # attempts in a lifetime; meV
CAUGHT, RELEASE, HELD = 0.3, 0.05, 15.0  # 1/ns, 1/ns, ns, of traps that never fill
ERROR = 0.02  # relative, of a laser's width that is given
FILM = {"diffusion_length": LENGTH, "lifetime": LIFETIME, "diffusivity": LENGTH**2 / LIFETIME}

Random = np.random.Generator


def image(random: Random, photons: float, length: float = LENGTH, name: str = "spot") -> Image:
    """A steady spot; of the laser with length 0."""
    age = random.exponential(1.0, random.poisson(photons))
    spread = np.sqrt(WIDTH**2 + 2 * length**2 * age)
    return pictured(random, spread * random.standard_normal((2, age.size)), name)


def pictured(random: Random, place: np.ndarray, name: str, frame: int | None = None) -> Image:
    """Photons (x, y) in pixels, and background."""
    edges = (np.arange(SIDE + 1) - SIDE / 2) * PIXEL
    counts = np.histogram2d(place[1], place[0], bins=(edges, edges))[0] + random.poisson(BACKGROUND, (SIDE, SIDE))
    return Image(counts, pixel_size=PIXEL, camera=Camera(gain_known=True, saturation=np.inf), file=name, frame=frame)


def movie(random: Random, photons: float) -> list[Image]:
    """Frames after a pulse."""
    time = random.exponential(LIFETIME, random.poisson(photons))
    place = np.sqrt(WIDTH**2 + 2 * LENGTH**2 * time / LIFETIME) * random.standard_normal((2, time.size))
    gate = np.digitize(time, GATES) - 1
    return [pictured(random, place[:, gate == k], "movie", k) for k in range(GATES.size - 1)]


def decay(random: Random, photons: float, *, mixed: bool = False) -> Decay:
    """A histogram of photons in the laser's period, and of its response, of 50 000."""
    number = random.poisson(photons)
    lifetimes = random.choice([SLOW, FAST], number, p=[SHARE, 1 - SHARE]) if mixed else np.full(number, LIFETIME)
    seen = 0.1 * PERIOD + random.exponential(lifetimes) + JITTER * random.standard_normal(number)
    edges = BIN * np.arange(round(PERIOD / BIN) + 1)
    time = (edges[1:] + edges[:-1]) / 2
    counts = np.histogram(seen % PERIOD, edges)[0] + random.poisson(BACKGROUND, time.size)
    own = np.histogram(0.1 * PERIOD + JITTER * random.standard_normal(50_000), edges)[0]
    return Decay(time, counts, irf=Response(time, own), period=PERIOD)


def spectral_map(random: Random, photons: float) -> SpectralMap:
    """A fibre scan along a line: each exciton spreads and hops among sites (Metropolis) until it dies."""
    slit = 0.2
    x, energy = relax(random, photons, WIDTH, LENGTH, ATTEMPTS, DISORDER, slit, THERMAL)
    light = CENTRE + energy + LINE * random.standard_normal(x.size)
    return count_spectra(random, x, light, slit, step=0.1, reach=1.2, background=0.2)


def series(random: Random, photons: float) -> FluenceSeries:
    """Images and decays after pulses of two powers: each exciton walks, is caught and set free until it dies."""
    images, decays, edges = [], [], np.arange(0.0, 60.1, 0.3)
    for number in range(2):
        time, place = caught(random, photons)
        seen = random.random(time.size) < 0.5
        images.append(pictured(random, place[:, seen], f"spot_{number}"))
        counts = np.histogram(time[~seen], edges)[0] + random.poisson(BACKGROUND, edges.size - 1)
        decays.append(Decay((edges[1:] + edges[:-1]) / 2, counts, file=f"decay_{number}"))
    densities = (100.0, 1000.0)
    return FluenceSeries(images=images, image_densities=densities, decays=decays, decay_densities=densities,
                         scale="free")  # fmt: skip


def caught(random: Random, excitons: float) -> tuple[np.ndarray, np.ndarray]:
    """(when, where) photons came, (N,) in ns and (2, N) in µm: of excitons that died while free."""
    time = np.zeros(random.poisson(excitons))
    place, found = WIDTH * random.standard_normal((2, time.size)), []
    diffusivity, ending, leaving = LENGTH**2 / LIFETIME, 1 / LIFETIME + CAUGHT, RELEASE + 1 / HELD
    while time.size:
        step = random.exponential(1 / ending, time.size)
        time, place = time + step, place + np.sqrt(2 * diffusivity * step) * random.standard_normal(place.shape)
        shone = random.random(time.size) < 1 / LIFETIME / ending
        found.append(np.vstack([time[shone], place[:, shone]]))
        free = ~shone & (random.random(time.size) < RELEASE / leaving)
        time, place = time[free] + random.exponential(1 / leaving, int(free.sum())), place[:, free]
    photons = np.concatenate(found, axis=1)
    return photons[0], photons[1:]


def given_width(random: Random) -> tuple[float, float]:
    """The laser's FWHM as a person has measured it, with its error, µm."""
    told = FWHM * WIDTH
    return told * (1 + ERROR * float(random.standard_normal())), ERROR * told


KINDS: dict[str, tuple[Callable[[Random], dict[str, Any]], dict[str, float]]] = {
    "image": (lambda r: {"images": [image(r, 3e4)], "laser_fwhm": given_width(r)}, {"diffusion_length": LENGTH}),
    "image with laser image": (
        lambda r: {"images": [image(r, 3e4)], "laser": image(r, 1e5, 0.0, "laser")},
        {"diffusion_length": LENGTH},
    ),
    "decay": (lambda r: {"decay": decay(r, 3e4), "model": "free"}, {"lifetime": LIFETIME, "background": BACKGROUND}),
    "mixture": (
        lambda r: {"decay": decay(r, 1e5, mixed=True), "model": "mixture"},
        {"lifetime_1": SLOW, "lifetime_2": FAST, "weight_1": SHARE, "weight_2": 1 - SHARE},
    ),
    "frames": (lambda r: {"images": movie(r, 5e4), "gates": GATES, "laser_fwhm": given_width(r)}, FILM),
    "spectral map": (
        lambda r: {"spectral_map": spectral_map(r, 1e6), "laser_fwhm": given_width(r), "model": "relaxation"},
        {"diffusion_length": LENGTH, "attempts_per_lifetime": ATTEMPTS, "disorder": DISORDER, "linewidth": LINE},
    ),
    "image and decay": (
        lambda r: {"images": [image(r, 3e4)], "laser": image(r, 1e5, 0.0, "laser"), "decay": decay(r, 3e4)},
        FILM,
    ),
    "fluence series": (
        lambda r: {
            "series": series(r, 1e5),
            "laser_fwhm": given_width(r),
            "model": "traps",
            "fixed": {"release": RELEASE},
        },
        {"diffusivity": LENGTH**2 / LIFETIME, "lifetime": LIFETIME, "trapping_rate": CAUGHT, "trap_lifetime": HELD},
    ),
}
"""By name: random numbers → what an `Experiment` is given, and the truth."""


def run_case(name: str, options: dict[str, Any], number: int) -> dict:
    """What one fit says of every number whose truth is known."""
    measure, truth = KINDS[name]
    random = np.random.default_rng([list(KINDS).index(name), number])
    result = Experiment(**measure(random), **options).fit()
    found = {key: result.parameters[key] for key in truth}
    told = {key: [one.value, one.stderr, one.interval68, one.interval95] for key, one in found.items()}
    return {"status": result.status, "found": told, "warnings": len(result.warnings)}


def condensed(name: str, cases: list[dict]) -> dict:
    """What of many cases is kept: of each number whose truth is known the pulls, None without an error, and whether it
    is within 1 σ and the 95 % interval holds it, 1 or 0, None without; the first cases whole."""
    numbers = {}
    for key, truth in KINDS[name][1].items():
        seen = {"pulls": [], "within": [], "held": []}
        for value, stderr, inner, wide in (case["found"][key] for case in cases):
            away = pull(key, (value, stderr), truth)
            near = None if away is None else int(abs(away) < 1)
            seen["pulls"].append(None if away is None else rounded(away))
            seen["within"].append(near if inner is None else _inside(inner, truth))
            seen["held"].append(None if wide is None else _inside(wide, truth))
        numbers[key] = seen
    unsettled = [case["case"] for case in cases if case["status"] != "converged"]
    return {"cases": len(cases), "unsettled": unsettled, "numbers": numbers, "first": cases[:WHOLE]}


def _inside(interval: tuple[float | None, float | None], truth: float) -> int:
    low, high = interval
    return int((low is None or low <= truth) and (high is None or truth <= high))


def summarise(kept: dict) -> dict:
    """Coverages of each number, the mean and the spread of pulls, and how many had an error at all."""
    summary: dict[str, Any] = {}
    for key, seen in kept["numbers"].items():
        pulls = np.array([one for one in seen["pulls"] if one is not None])
        within, held = ([one for one in seen[name] if one is not None] for name in ("within", "held"))
        summary[key] = {
            "with_an_error": len(pulls),
            "with_an_interval": len(held),
            "within_1_stderr": rounded(np.mean(within)),
            "within_interval95": rounded(np.mean(held)),
            "pull_mean": rounded(pulls.mean()),
            "pull_rms": rounded(np.sqrt(np.mean(pulls**2))),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--interval", choices=("fisher", "profile", "bootstrap", "nuts"), default="fisher")
    parser.add_argument("--draws", type=int)
    given = parser.parse_args()
    start()  # as a command does: double precision, compiled programs kept
    sources = fingerprint(*SOURCES)
    options = {"interval": given.interval, "draws": given.draws}
    suffix = "" if given.interval == "fisher" else f"-{given.interval}"
    path = RESULTS / f"coverage_kinds{suffix}.json"
    for name in given.kinds:
        way = {} if given.interval == "profile" and "image" not in name else options
        study = f"coverage-{given.interval}-{given.draws}-{name.replace(' ', '-')}"
        cases = run_cases(study, sources, range(given.cases), partial(run_case, name, way), _say)
        kept = condensed(name, cases)
        summary = summarise(kept)
        print(name, json.dumps(summary, indent=1), flush=True)
        if given.cases >= CASES:
            record = {"sources": sources, "environment": environment(), **options, "summary": summary, **kept}
            write_beside(path, name, record)


def _say(number: int, entry: dict) -> None:
    if number % 50 == 0:
        print(f"{number:4d}  {entry['status']:9s}  {entry['seconds']:.2f} s", flush=True)


if __name__ == "__main__":
    main()
