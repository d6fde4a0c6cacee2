"""Thirty films drawn at random, for every kind of measurement: `python -m benchmarks.random_films`

Each film is drawn before anything is fitted, measured photon by photon, and fitted by `Experiment.fit` without start
values, of the model named. Some kinds share films: the two of decays even the photons, through a response that is
measured or told. A pull is (found − true)/error, of the logarithm of what is positive. `--kinds` runs some of them;
each kind is written as it is complete, beside those that are there. Resumable.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit

from benchmarks.photons import (
    FWHM,
    Populations,
    collect_guided,
    collect_spectra,
    count_aperture,
    count_decay,
    count_populations,
    film_populations,
    shoot,
    shoot_gates,
    shoot_populations,
)
from benchmarks.provenance import RESULTS, environment
from benchmarks.study import fingerprint, pull, rounded, run_cases, run_kinds
from excidiff.inverse import Absorption, Experiment

FILMS = 30
SOURCES = ("random_films.py", "photons.py")
RESULT = RESULTS / "random_films.json"

Film = tuple[dict[str, Any], dict[str, float]]
"""What an `Experiment` is given, and the truth: µm, ns, meV."""


# Images, frames and decays
# -------------------------


def drawn(seed: int) -> dict:
    """A film and its optics: µm, ns."""
    random = np.random.default_rng([77, seed])
    width = random.uniform(0.1, 0.2)
    return {"width": width, "length": width * random.uniform(1.0, 4.0), "lifetime": random.uniform(1.0, 8.0)}


def motion(film: dict) -> dict[str, float]:
    """What is fitted of it."""
    length, lifetime = film["length"], film["lifetime"]
    return {"diffusion_length": length, "lifetime": lifetime, "diffusivity": length**2 / lifetime}


def laboratory(seed: int, film: dict) -> dict:
    """A laser, a counter, and how long it counts."""
    random = np.random.default_rng([78, seed])
    period = random.uniform(25.0, 60.0)
    photons, fwhm = int(10 ** random.uniform(4.5, 6.0)), random.uniform(0.03, 0.3)
    return {"lifetimes": np.array([film["lifetime"]]), "weights": np.ones(1), "period": period, "width": period / 800.5,
            "photons": photons, "fwhm": fwhm, "kind": "measured"}  # fmt: skip


def decay_alone(seed: int, response: str) -> Film:
    """A decay of two lifetimes through a response that is measured or Gaussian."""
    random = np.random.default_rng([seed, 2])
    slow, ratio, share = random.uniform(1.5, 8.0), random.uniform(0.1, 0.4), random.uniform(0.3, 0.8)
    photons, period, fwhm = int(10 ** random.uniform(5.0, 6.0)), random.uniform(12.5, 50.0), random.uniform(0.03, 0.2)
    width = period / random.choice([600, 600.5])  # the period need not be full of bins
    lifetimes, weights = np.array([slow, ratio * slow]), np.array([share, 1 - share])
    curve = count_decay(seed, lifetimes, weights, photons=photons, width=width, period=period, fwhm=fwhm, kind=response)
    return {"decay": curve, "model": "mixture"}, {"lifetime_1": slow, "lifetime_2": ratio * slow, "weight_1": share}


def image_and_decay(seed: int) -> Film:
    film = drawn(seed)
    light = {"width": film["width"], "pixel": film["width"] / 3, "background": 1.0}
    laser = shoot([seed, 1], photons=300_000, **light)
    spot = shoot([seed, 2], photons=100_000, length=film["length"], **light)
    return {"images": [spot], "laser": laser, "decay": count_decay([seed, 3], **laboratory(seed, film))}, motion(film)


def frames_and_decay(seed: int) -> Film:
    film = drawn(seed)
    gates = film["lifetime"] * np.array([0.0, 0.2, 0.5, 1.0, 2.0, 4.0])
    pixel = max(film["width"] / 3, 6 * np.hypot(film["width"], film["length"]) / 64)
    frames = shoot_gates([seed, 4], gates, photons=100_000, pixel=pixel, **film)
    decay = count_decay([seed, 5], **laboratory(seed, film))
    optics = {"laser_fwhm": FWHM * film["width"], "psf_fwhm": 1e-3}
    return {"images": frames, "gates": gates, "decay": decay, **optics}, motion(film)


def two_lifetimes(seed: int) -> Film:
    """An image and a decay of two populations that diffuse alike; the photons are theirs."""
    random, width, photons = np.random.default_rng([18, seed]), 0.15, 100_000
    slow, share = random.uniform(3.0, 8.0), random.uniform(0.3, 0.7)
    lifetimes, shares = (slow, slow / random.uniform(4.0, 10.0)), (share, 1 - share)
    film = Populations(lifetimes, shares, (width * random.uniform(1.0, 3.0)) ** 2 / slow)
    spot, decay = shoot_populations(random, photons, film), count_populations(random, photons, film)
    mean = float(np.dot(lifetimes, shares))
    length = float(np.sqrt(film.diffusivity * mean))
    truth = {"diffusivity": film.diffusivity, "diffusion_length": length, "lifetime": mean}
    return {"images": [spot], "decay": decay, "laser_fwhm": FWHM * width, "model": "mixture"}, truth


def frames_of_two_lifetimes(seed: int) -> Film:
    """A movie and a decay of two populations that diffuse alike."""
    random, width, photons = np.random.default_rng([20, seed]), 0.15, 100_000
    slow, share = random.uniform(3.0, 8.0), random.uniform(0.3, 0.7)
    lifetimes, shares = (slow, slow / random.uniform(4.0, 10.0)), (share, 1 - share)
    film = Populations(lifetimes, shares, (width * random.uniform(1.0, 3.0)) ** 2 / slow)
    gates = slow * np.array([0.0, 0.1, 0.25, 0.5, 1.0, 2.0])
    movie, decay = film_populations(random, photons, film, gates), count_populations(random, photons, film)
    mean = float(np.dot(lifetimes, shares))
    truth = {**motion({"length": np.sqrt(film.diffusivity * mean), "lifetime": mean})}
    return {"images": movie, "gates": gates, "decay": decay, "laser_fwhm": FWHM * width, "model": "mixture"}, truth


def image_and_aperture(seed: int) -> Film:
    """An image, and a decay of which the counter sees a spot that excitons leave: ρ of 0.5 to 10."""
    random = np.random.default_rng([21, seed])
    width, lifetime = random.uniform(0.12, 0.2), random.uniform(2.0, 6.0)
    film = {"width": width, "length": width * random.uniform(1.0, 3.0), "lifetime": lifetime}
    spot = shoot([seed, 8], photons=50_000, width=width, length=film["length"], background=0.5)
    decay = count_aperture(random, 300_000, aperture=float(random.uniform(0.25, 0.6)), **film)
    return {"images": [spot], "decay": decay, "laser_fwhm": FWHM * width, "model": "free"}, motion(film)


# Spectral maps
# -------------


def spectral_map(seed: int) -> Film:
    """Excitons that relax; half the films have a trap band."""
    random = np.random.default_rng([91, seed])
    width = random.uniform(0.12, 0.2)
    film = {"photons": 10 ** random.uniform(6.7, 7.3), "width": width, "length": width * random.uniform(1.5, 4.0),
            "attempts": np.exp(random.uniform(np.log(0.8), np.log(6.0))), "disorder": random.uniform(12.0, 28.0),
            "line": random.uniform(15.0, 28.0), "share": random.choice([0.0, random.uniform(0.03, 0.15)])}  # fmt: skip
    scan = collect_spectra(seed + 700, **film)
    return {"spectral_map": scan, "laser_fwhm": width * FWHM, "model": "relaxation"}, relaxing(film)


def relaxing(film: dict) -> dict[str, float]:
    """What is fitted of it; attempts in a lifetime."""
    names = {"diffusion_length": "length", "attempts_per_lifetime": "attempts", "disorder": "disorder",
             "linewidth": "line"}  # fmt: skip
    return {name: float(film[key]) for name, key in names.items()}


def voigt_line(seed: int) -> Film:
    """Excitons that relax and emit Gaussian + Cauchy energies."""
    random = np.random.default_rng([92, seed])
    width = random.uniform(0.12, 0.2)
    film = {"photons": 10 ** random.uniform(6.7, 7.2), "width": width, "length": width * random.uniform(1.5, 4.0),
            "attempts": np.exp(random.uniform(np.log(0.8), np.log(6.0))), "disorder": random.uniform(14.0, 28.0),
            "line": random.uniform(10.0, 22.0), "wings": random.uniform(5.0, 25.0)}  # fmt: skip
    scan = collect_spectra(seed + 800, **film)
    optics = {"laser_fwhm": width * FWHM, "model": "relaxation", "line": "voigt"}
    return {"spectral_map": scan, **optics}, {**relaxing(film), "lorentzian": film["wings"]}


def rising(top: float, at: float, tail: float) -> Callable:
    """An absorption edge with an exponential tail: meV → 1/µm."""
    return lambda energy: top * expit((energy - at) / tail)


def table(**edge: float) -> Absorption:
    """The same as it is measured."""
    energy = np.arange(2150.0, 2600.0, 1.0)
    return Absorption(energy, rising(**edge)(energy))


def guided_light(seed: int) -> Film:
    """Some photons leave the film elsewhere, unless absorbed on the way; an edge with an exponential tail, 1/µm."""
    random = np.random.default_rng([93, seed])
    width = random.uniform(0.12, 0.2)
    edge = {"top": random.uniform(1.0, 5.0), "at": 2400 + random.uniform(20, 60), "tail": random.uniform(8.0, 20.0)}
    film = {"photons": 10 ** random.uniform(6.3, 6.8), "width": width, "length": width * random.uniform(1.5, 4.0),
            "line": random.uniform(15.0, 28.0), "outcoupling": np.exp(random.uniform(np.log(0.08), np.log(0.5))),
            "loss": random.uniform(0.2, 0.6)}  # fmt: skip

    scan = collect_guided(seed + 900, absorption=rising(**edge), **film)
    truth = {"diffusion_length": film["length"], "outcoupling": film["outcoupling"], "guiding_loss": film["loss"],
             "linewidth": film["line"]}  # fmt: skip
    return {"spectral_map": scan, "laser_fwhm": width * FWHM, "absorption": table(**edge)}, truth


def whole_film(seed: int) -> Film:
    """Images, a decay and spectra of one film; the laser's FWHM is given with an error of 3 %, as it came out."""
    random = np.random.default_rng([91, seed])
    width, lifetime = random.uniform(0.12, 0.2), random.uniform(2.0, 6.0)
    length, collection = width * random.uniform(1.5, 3.5), random.uniform(0.05, 0.15)
    light = {"width": width, "pixel": np.hypot(width, length) / 5, "shape": (64, 64), "background": 0.5}
    images = [shoot([seed, k], photons=50_000, length=length, file=f"spot_{k}", **light) for k in (1, 2)]
    decay = count_decay([seed, 3], np.array([lifetime]), np.ones(1), photons=100_000, width=0.05, period=40.0, fwhm=0.1,
                        kind="gaussian")  # fmt: skip
    scan = collect_spectra(
        [seed, 4],
        photons=3e6,
        width=np.hypot(width, collection),
        length=length,
        attempts=random.uniform(1.0, 5.0),
        disorder=random.uniform(12.0, 20.0),
        line=22.0,
        reach=3 * np.hypot(width, length),
        step=0.4 * np.hypot(width, length) / 1.5,
    )
    laser = width * np.exp(0.03 * random.standard_normal()) * FWHM
    given = {"laser_fwhm": (laser, 0.03 * laser), "collection_fwhm": FWHM * collection, "temperature": 295.0}
    return {"images": images, "decay": decay, "spectral_map": scan, **given}, motion({"length": length,
            "lifetime": lifetime})  # fmt: skip


def frames_and_spectra(seed: int) -> Film:
    """A movie and spectra of one film, the optics exact."""
    random = np.random.default_rng([94, seed])
    width, lifetime = random.uniform(0.12, 0.2), random.uniform(2.0, 6.0)
    length, attempts = width * random.uniform(1.5, 3.0), random.uniform(1.0, 4.0)
    gates, pixel = lifetime * np.array([0.0, 0.2, 0.5, 1.0, 2.0]), np.hypot(width, length) / 5
    movie = shoot_gates([seed, 6], gates, photons=60_000, lifetime=lifetime, width=width, length=length, pixel=pixel,
                        shape=(48, 48))  # fmt: skip
    scan = collect_spectra([seed, 7], photons=4e6, width=width, length=length, attempts=attempts,
                           disorder=random.uniform(14.0, 22.0), line=22.0, reach=3 * np.hypot(width, length),
                           step=0.25 * np.hypot(width, length))  # fmt: skip
    given = {"images": movie, "gates": gates, "spectral_map": scan, "laser_fwhm": FWHM * width, "model": "relaxation"}
    return given, {**motion({"length": length, "lifetime": lifetime}), "relaxation": attempts / lifetime}


KINDS: dict[str, Callable[[int], Film]] = {
    "decay, measured response": partial(decay_alone, response="measured"),
    "decay, Gaussian response": partial(decay_alone, response="gaussian"),
    "image and decay": image_and_decay,
    "image and decay through an aperture": image_and_aperture,
    "frames and decay": frames_and_decay,
    "image and two lifetimes": two_lifetimes,
    "frames and two lifetimes": frames_of_two_lifetimes,
    "spectral map": spectral_map,
    "voigt line": voigt_line,
    "guided light": guided_light,
    "images, decay and spectral map": whole_film,
    "frames and spectral map": frames_and_spectra,
}


def run_film(name: str, seed: int) -> dict:
    """What one fit says of every number whose truth is known, and of the film."""
    asked, truth = KINDS[name](seed)
    found = Experiment(**asked).fit()
    told = {key: [found.parameters[key].value, found.parameters[key].stderr] for key in truth}
    said = {"status": found.status, "model": found.model, "verdict": found.verdicts[0]}
    return {**said, "truth": truth, "found": told}


def summarise(films: list[dict]) -> dict:
    """Of each number: how many films have an error, the pulls' root mean square, the largest. Beside them the films
    that are called two, by chance: one in 370 at 3 σ."""
    two = [film["case"] for film in films if "disagree" in film["verdict"]]
    summary: dict[str, Any] = {"films": len(films), "called_two": two}
    for name in films[0]["truth"]:
        seen = [pull(name, f["found"][name], f["truth"][name]) for f in films if f["case"] not in two]
        pulls = np.array([one for one in seen if one is not None])
        summary[name] = {
            "films": len(pulls),
            "rms": rounded(np.sqrt(np.mean(pulls**2))),
            "largest": rounded(np.abs(pulls).max()),
        }
    return summary


def _say(seed: int, film: dict) -> None:
    pulls = {name: pull(name, found, film["truth"][name]) for name, found in film["found"].items()}
    told = "  ".join(f"{name} {'–' if one is None else f'{one:+.2f}'}" for name, one in pulls.items())
    print(f"{seed:3d}  {film['status']:9s} {film['seconds']:6.2f} s  {told}", flush=True)


def run_kind(name: str) -> dict:
    sources, study = fingerprint(*SOURCES), f"films-{name.replace(',', '').replace(' ', '-')}"
    films = run_cases(study, sources, range(FILMS), partial(run_film, name), _say)
    summary = summarise(films)
    print(json.dumps(summary, indent=1), flush=True)
    return {"sources": sources, "environment": environment(), "summary": summary, "films": films}


if __name__ == "__main__":
    run_kinds(__doc__, list(KINDS), run_kind, RESULT)
