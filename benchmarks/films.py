"""200 random films by one command: is the diffusion length right, and its error? `python benchmarks/films.py`

Film i is `microscope.draw_film(i)`, its photons have the seeds [i, 1] (film) and [i, 2] (laser). Both images are
written as TIFF and fitted by the same command line for all, the camera's three numbers and the lifetime filled in:

    excidiff fit spot.tif --laser laser.tif --lifetime … --gain … --offset … --read-noise … -o out

Of that command `job.fit_files` is run here, from the same settings: files are read, fitted and judged, but no report is
drawn, which takes three times as long as the rest (the gates run the whole command on one film and find the same). A
pull is (L − truth)/stderr and should be a standard normal number. Films without one must say why: an upper limit in a
verdict, a flag with a reason, or an error message. Resumable; `--films 0 100` runs a part, and only the whole writes
the result.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.microscope import Film, digest, draw_film, film_counts, laser_counts, write_tiff
from benchmarks.provenance import RESULTS, environment, write_json
from benchmarks.study import fingerprint, run_cases
from excidiff.inverse.job import fit_files
from excidiff.inverse.machine import start
from excidiff.inverse.settings import FitSettings
from excidiff.solver import InputError, SolverError

FILMS = 200
SOURCES = ("films.py", "microscope.py")
RESULT = RESULTS / "films.json"


def run_film(seed: int) -> dict:
    """Draw, write, fit by the command's settings, and compare with the truth."""
    film, counts = draw_film(seed), take_images(seed)
    with tempfile.TemporaryDirectory() as name:
        settings = write_film(film, counts, Path(name))
        try:
            result, message = json.loads(fit_files(settings).to_json().replace(name + "/", "")), ""
        except (InputError, SolverError) as error:
            result, message = None, str(error).replace(name + "/", "")
    return {"truth": asdict(film), "counts": digest(*counts), **_answer(film, result, message)}


def take_images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The images of film and laser."""
    film = draw_film(seed)
    return film_counts(film, [seed, 1]), laser_counts(film, [seed, 2])


def write_film(film: Film, counts: tuple[np.ndarray, np.ndarray], folder: Path) -> FitSettings:
    """Both images as TIFF in `folder`, and the settings of the one command line."""
    paths = folder / "spot.tif", folder / "laser.tif"
    for path, image in zip(paths, counts, strict=True):
        write_tiff(path, image, film.pixel)
    return FitSettings(
        images=(str(paths[0]),),
        laser=str(paths[1]),
        lifetime=f"{film.lifetime!r} ns",
        gain=str(film.gain),
        offset=str(film.offset),
        read_noise=str(film.read_noise),
    )


def _answer(film: Film, result: dict | None, message: str) -> dict:
    """What was found, in the few numbers that count."""
    if result is None:
        return {"status": "refused", "reason": message, "length": None, "stderr": None, "pull": None}
    found, image = result["parameters"]["diffusion_length"], result["measurements"][0]
    sure = found["value"] is not None and found["stderr"] is not None
    return {
        "status": "limit" if found["at_bound"] and image["status"] == "fitted" else image["status"],
        "reason": image["reason"],
        "length": found["value"],
        "stderr": found["stderr"],
        "interval95": found["interval95"],
        "pull": (found["value"] - film.length) / found["stderr"] if sure else None,
        "z": image["goodness"]["z"],
        "laser_z": result["laser"]["goodness"]["z"],
        "verdicts": result["verdicts"],
        "warnings": result["warnings"],
    }


def unanswered(film: dict) -> bool:
    """Neither a usable error nor a word on why there is none."""
    if film["status"] == "fitted":
        return not (film["stderr"] and film["stderr"] < np.inf)
    if film["status"] == "limit":
        return not any("only an upper limit" in sentence for sentence in film["verdicts"])
    return not film["reason"]


def summarise(films: list[dict]) -> dict:
    """The criteria over all films, and what else is worth knowing."""
    fitted = [film for film in films if film["status"] == "fitted" and film["pull"] is not None]
    limits = [film for film in films if film["status"] == "limit"]
    pulls = np.array([film["pull"] for film in fitted])
    z = np.array([film[name] for film in fitted for name in ("z", "laser_z")])
    return {
        "films": len(films),
        "fitted": len(fitted),
        "limits": [film["case"] for film in limits],
        "limits_below_truth": [film["case"] for film in limits if film["interval95"][1] < film["truth"]["length"]],
        "flagged": [film["case"] for film in films if film["status"] == "flagged"],
        "refused": [film["case"] for film in films if film["status"] == "refused"],
        "unanswered": [film["case"] for film in films if unanswered(film)],
        "pull_rms": float(np.sqrt(np.mean(pulls**2))),
        "pull_mean": float(pulls.mean()),
        "pull_largest": float(np.abs(pulls).max()),
        "within_1_stderr": float(np.mean(np.abs(pulls) < 1)),
        "within_interval95": float(np.mean([_covers(film) for film in fitted])),
        "z_rms": float(np.sqrt(np.mean(z**2))),
        "z_largest": float(np.abs(z).max()),
    }


def _covers(film: dict) -> bool:
    low, high = film["interval95"]
    return (low is None or low <= film["truth"]["length"]) and (high is None or film["truth"]["length"] <= high)


def _say(case: int, film: dict) -> None:
    truth, answer = film["truth"]["length"], film["reason"]
    if film["pull"] is not None:
        answer = f"{film['length']:.4f} ± {film['stderr']:.4f}  pull {film['pull']:+.2f}"
    print(f"{case:4d}  {film['status']:8s} L = {truth:.4f}: {answer}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", nargs=2, type=int, default=(0, FILMS), metavar=("FROM", "TO"))
    given = parser.parse_args()
    start()  # as the command does: compiled programs are kept between runs
    sources = fingerprint(*SOURCES)
    films = run_cases("films", sources, range(*given.films), run_film, _say)
    summary = summarise(films)
    print(json.dumps(summary, indent=1))
    if len(films) == FILMS:
        write_json(RESULT, {"sources": sources, "environment": environment(), "summary": summary, "films": films})


if __name__ == "__main__":
    main()
