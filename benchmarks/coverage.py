"""1000 evenings with one film: how often an interval holds the truth, and what errors could be at best.

`python benchmarks/coverage.py`. The film is `FILM`; replicate k has photons of its own, seeds [k, 1] (film) and [k, 2]
(laser), from the same microscope as in films.py, and is fitted with its own laser image by `Experiment.fit`. The camera
counts photons, so that the noise is exactly Poisson and the Cramér–Rao bound exact: the information of both images
together about length, spot width, and each image's centre, amplitude and background, from derivatives of the exact
image of the film (`benchmarks.formulas`, which shares nothing with the fit). Resumable.
"""

import json

import numpy as np

from benchmarks.formulas import gaussian_cells, life_nodes
from benchmarks.microscope import FWHM, Film, digest, film_counts, laser_counts
from benchmarks.provenance import RESULTS, environment, write_json
from benchmarks.study import fingerprint, run_cases
from excidiff.inverse import Camera, Experiment, Image
from excidiff.inverse.machine import start

REPLICATES = 1000
SOURCES = ("coverage.py", "microscope.py", "formulas.py")
RESULT = RESULTS / "coverage.json"
FILM = Film(
    length=0.4,
    lifetime=5.0,
    spot_fwhm=0.35,
    psf_share=0.4,
    pixel=0.075,
    shape=(64, 64),
    photons=2e4,
    laser_photons=5e4,
    background=1.0,
    laser_background=0.5,
    gain=1.0,
    offset=0,
    read_noise=0.0,
    centre=(0.11, -0.07),
    laser_centre=(-0.04, 0.02),
)


def run_replicate(number: int) -> dict:
    """Photons, fit, and what it says of L."""
    counts = film_counts(FILM, [number, 1]), laser_counts(FILM, [number, 2])
    spot, laser = (Image(image, pixel_size=FILM.pixel, camera=Camera(gain_known=True)) for image in counts)
    result = Experiment(images=[spot], laser=laser, lifetime=FILM.lifetime).fit()
    found = result.parameters["diffusion_length"]
    return {"counts": digest(*counts), "length": found.value, "stderr": found.stderr,
            "interval95": found.interval95, "z": result.goodness["z"]}  # fmt: skip


def film_image(film: Film, length: float, width: float, x: float, y: float, photons: float, background: float):
    """Expected photons per pixel (rows, columns), from ∫₀^∞ e^{−t} N₂(r; s² + 2L²t) dt over each pixel."""
    t, weight = life_nodes()
    variance = width**2 + 2 * length**2 * t
    rows, columns = (
        gaussian_cells((np.arange(count + 1) - count / 2) * film.pixel, variance, centre)
        for count, centre in zip(film.shape, (y, x), strict=True)
    )
    return photons * film.pixel**2 * np.einsum("t,ty,tx->yx", weight, rows, columns) + background


def cramer_rao(film: Film) -> float:
    """The least standard error of L (µm) that any unbiased fit of film and laser image together can have."""
    width = film.spot_fwhm / FWHM
    theta = np.array([film.length, width, *film.centre, film.photons, film.background,
                      *film.laser_centre, film.laser_photons, film.laser_background])  # fmt: skip

    def images(theta):
        length, width, x, y, photons, background, *laser = theta
        return np.stack(
            [film_image(film, length, width, x, y, photons, background), film_image(film, 0.0, width, *laser)]
        )

    step = 1e-4 * np.maximum(np.abs(theta), 0.1)
    slopes = [(images(theta + d) - images(theta - d)) / (2 * h) for d, h in zip(np.diag(step), step, strict=True)]
    jacobian = np.stack([slope.ravel() for slope in slopes])
    information = (jacobian / images(theta).ravel()) @ jacobian.T
    return float(np.sqrt(np.linalg.inv(information)[0, 0]))


FILM_PARAMETERS = ("length", "width", "x", "y", "photons", "background")


def film_bound(film: Film, free: list[str]) -> float:
    """The same from the film's image alone, where only `free` of `FILM_PARAMETERS` are not known."""
    theta = np.array([film.length, film.spot_fwhm / FWHM, *film.centre, film.photons, film.background])
    step = 1e-4 * np.maximum(np.abs(theta), 0.1)
    index = [FILM_PARAMETERS.index(name) for name in free]

    def image(theta):
        return film_image(film, *theta)

    slopes = [(image(theta + step * e) - image(theta - step * e)) / (2 * step[i])
              for i in index for e in [np.eye(len(theta))[i]]]  # fmt: skip
    jacobian = np.stack([slope.ravel() for slope in slopes])
    information = (jacobian / image(theta).ravel()) @ jacobian.T
    return float(np.sqrt(np.linalg.inv(information)[free.index("length"), free.index("length")]))


def summarise(replicates: list[dict], film: Film = FILM) -> dict:
    """Coverages, bias, spread against the bound, and the mean error that the fits claimed."""
    lengths, errors = (np.array([entry[name] for entry in replicates]) for name in ("length", "stderr"))
    low, high = np.array([entry["interval95"] for entry in replicates]).T
    bound = cramer_rao(film)
    return {
        "replicates": len(replicates),
        "within_1_stderr": float(np.mean(np.abs(lengths - film.length) < errors)),
        "within_interval95": float(np.mean((low <= film.length) & (film.length <= high))),
        "bias_in_stderr": float((lengths.mean() - film.length) / bound),
        "spread": float(lengths.std(ddof=1)),
        "cramer_rao": bound,
        "spread_over_bound": float(lengths.std(ddof=1) / bound),
        "stderr_over_bound": float(errors.mean() / bound),
        "z_mean": float(np.mean([entry["z"] for entry in replicates])),
        "z_rms": float(np.sqrt(np.mean([entry["z"] ** 2 for entry in replicates]))),
    }


def main() -> None:
    start()  # as a command does: double precision, compiled programs kept
    sources = fingerprint(*SOURCES)
    replicates = run_cases("coverage", sources, range(REPLICATES), run_replicate, _say)
    summary = summarise(replicates)
    print(json.dumps(summary, indent=1))
    write_json(RESULT, {"sources": sources, "environment": environment(), "summary": summary, "replicates": replicates})


def _say(number: int, entry: dict) -> None:
    if number % 100 == 0:
        print(f"{number:4d}  {entry['length']:.5f} ± {entry['stderr']:.5f}", flush=True)


if __name__ == "__main__":
    main()
