"""Maps of films drawn at random, kind by kind: `python -m benchmarks.random_maps`

Each film is drawn and measured: images of nine spots (patches: sixteen) by finite volumes a quarter of a pixel wide
with photon noise; scans exciton by exciton, the three kinds of the same walk; energies by finite volumes. `measure_map`
is given the film's known numbers, and chooses the strength of its prior by itself. Kept are the relative L2 error where
the dose is a tenth of its largest or more (energies: inside the scan), the share of that inside the 95 % band (of
losses more than 0.1 µm away from edges), and z. `--kinds` runs some of them; each kind is written as it is complete,
beside those that are there. Resumable.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RegularGridInterpolator

from benchmarks.patches import PatchyFilm
from benchmarks.provenance import RESULTS, environment
from benchmarks.scanned import scan_film
from benchmarks.study import fingerprint, rounded, run_cases, run_kinds
from excidiff.inverse import Camera, Image
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.fit.cells import KINDS as FIELDS
from excidiff.inverse.fit.cells import Film, Kind, field_of
from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.maps import measure_map
from excidiff.inverse.results.mapped import FilmMap
from excidiff.solver import Grid, gaussian_spot, steady_state
from excidiff.solver.medium import BOLTZMANN
from excidiff.solver.source import FWHM

SOURCES = ("random_maps.py", "patches.py", "scanned.py", "simulated.py")
RESULT = RESULTS / "random_maps.json"
DIFFUSIVITY, LIFETIME, LASER, PSF = 0.05, 5.0, 0.3, 0.2
EXCITONS = 2e4  # a position of a scan

Disc = tuple[float, float, float, float]
"""x, y, radius (µm), extra trapping rate (1/ns)."""


# Diffusivity and landscape
# -------------------------


def even_field(kind: Kind) -> float:
    """v of a film with the numbers above and a trapping rate of 0.1 per ns."""
    special = {"diffusivity": float(np.log(DIFFUSIVITY)), "landscape": 0.0}
    return special.get(kind.name, float(field_of(0.1, LIFETIME)))


def bumps(count: int, spacing: float, seed: int, height: float) -> np.ndarray:
    """Three Gaussian hills or hollows, σ 0.2 to 0.4 µm, within 0.6 µm of the middle."""
    random, x = np.random.default_rng(seed), (np.arange(count) - (count - 1) / 2) * spacing
    found = np.zeros((count, count))
    for _ in range(3):
        (cx, cy), width = random.uniform(-0.6, 0.6, 2), random.uniform(0.2, 0.4)
        size = height * random.choice([-1, 1]) * random.uniform(0.6, 1.2)
        found += size * np.exp(-((x[:, None] - cy) ** 2 + (x[None, :] - cx) ** 2) / (2 * width**2))
    return found


def lit(kind: Kind, v: np.ndarray, spacing: float, place, excitons: float) -> np.ndarray:
    """n of one spot by finite volumes on a fine grid."""
    grid = Grid(v.shape, spacing)
    film = Film(DIFFUSIVITY, LIFETIME, LASER / FWHM, PSF / FWHM, excitons, np.zeros((1, 2)))
    light = gaussian_spot(grid, fwhm=LASER, total=excitons, centre=tuple(place))
    return np.asarray(steady_state(kind.medium(jnp.asarray(v), film), light, grid, rtol=1e-7).density)


def solved(kind: Kind, v: np.ndarray, spacing: float, place, pixels: np.ndarray, excitons: float) -> np.ndarray:
    """The image of one spot."""
    density = lit(kind, v, spacing, place, excitons)
    sides = jnp.asarray(pixel_edges(density.shape[0], spacing))
    weights = np.asarray(pixel_weights(sides, jnp.asarray(pixels), jnp.asarray(PSF / FWHM)))
    return weights @ density @ weights.T * spacing**2 / LIFETIME


def motion(name: str, seed: int) -> dict:
    """D, or U from its mean over where excitons were, as it is given; the error of U is a part of its variation."""
    kind, pixel, count, fine, margin, excitons = FIELDS[name], 0.1, 18, 4, 26, 6e4
    spacing = pixel / fine
    v = even_field(kind) + bumps(fine * (count + 2 * margin), spacing, seed, 0.8)
    along, pixels = 0.55 * np.array([-1.0, 0.0, 1.0]), np.asarray(pixel_edges(count, pixel))
    places = np.array([(x, y) for y in along for x in along])
    random, camera = np.random.default_rng(seed), Camera(gain_known=True, saturation=np.inf)
    images = [
        Image(random.poisson(solved(kind, v, spacing, place, pixels, excitons) + 0.2).astype(float),
              pixel_size=pixel, camera=camera, file=f"spot {number}")
        for number, place in enumerate(places)
    ]  # fmt: skip
    known: dict[str, Any] = {"lifetime": LIFETIME, "laser_fwhm": LASER, "psf_fwhm": PSF, "excitons": excitons}
    if name == "landscape":
        known["diffusivity"] = DIFFUSIVITY
    found = measure_map(images, places, kind=name, prior="smooth", **known)
    film = Film(DIFFUSIVITY, LIFETIME, LASER / FWHM, PSF / FWHM, excitons, places)
    inner, cells = slice(fine * margin, fine * (margin + count)), found.value.shape[0]
    truth = np.asarray(kind.value(jnp.asarray(v[inner, inner]), film))
    truth = truth.reshape(cells, fine * count // cells, cells, -1).mean((1, 3))
    bright = (found.dose >= 0.1) & found.determined
    size = truth[bright]
    if kind.level:
        truth = truth - np.average(truth[found.determined], weights=found.dose[found.determined])
        size = size - size.mean()
    return judged(found, truth, bright, size=np.linalg.norm(size))


# Losses
# ------


def discs(random: np.random.Generator, fewest: int = 0) -> tuple[Disc, ...]:
    """None to three discs apart from each other, rates 0.3 to 3 per ns."""
    found: list[Disc] = []
    for _ in range(random.integers(fewest, 4)):
        x, y = (float(place) for place in random.uniform(-0.7, 0.7, 2))
        radius, extra = float(random.uniform(0.25, 0.5)), float(np.exp(random.uniform(np.log(0.3), np.log(3.0))))
        if all(np.hypot(x - a, y - b) > radius + r + 0.1 for a, b, r, _ in found):
            found.append((x, y, radius, extra))
    return tuple(found)


def patches(seed: int) -> dict:
    """A trapping rate from images of 16 spots; beside it the errors at a quarter and four times the chosen strength,
    and z of the same counts about the true light."""
    random = np.random.default_rng([55, seed])
    film = PatchyFilm(discs(random), excitons=float(np.exp(random.uniform(np.log(2e4), np.log(2e5)))),
                      film=float(random.uniform(0.0, 0.15)), background=float(random.uniform(0.1, 1.0)))  # fmt: skip
    images = film.images(seed)
    found = film.measure(images)
    held = [film.measure(images, strength=factor * found.strength, slope=found.slope) for factor in (0.25, 4.0)]
    asked = (found.dose >= 0.1) & film.away_from_edges(0.1)
    others = [film.error(other) for other in held]  # not a number where a cell that is lit is undetermined
    told = judged(found, film.rate, found.dose >= 0.1, asked)
    held = [rounded(one) if np.isfinite(one) else None for one in others]
    return told | {"held": held, "chance": rounded(film.chance(images))}


def scan(name: str, seed: int) -> dict:
    """A trapping rate from one scan of 16 × 16 positions, one to three discs on a film of 0.05 per ns."""
    own = discs(np.random.default_rng([56, seed]), fewest=1)

    def trapping(x, y) -> np.ndarray:
        return np.asarray(0.05) + sum(extra * (np.hypot(x - cx, y - cy) < radius) for cx, cy, radius, extra in own)

    fastest = 0.05 + max(extra for *_, extra in own)
    seen: RasterScan = getattr(
        scan_film(trapping, fastest=fastest, seed=seed, shape=(16, 16), step=0.14, excitons=EXCITONS), name
    )
    known: dict[str, Any] = {} if name == "lifetime" else {"excitons": EXCITONS}
    found = measure_map(scan=seen, diffusivity=DIFFUSIVITY, lifetime=LIFETIME, laser_fwhm=LASER, **known)
    fine = (np.arange(8) - 3.5) / 8 * found.pitch
    x, y = (np.add.outer(axis, fine).ravel() for axis in (found.x, found.y))
    rows, columns = found.value.shape
    truth = trapping(x[None, :], y[:, None]).reshape(rows, 8, columns, 8).mean((1, 3))
    inside = (np.abs(found.x)[None, :] < 1.12) & (np.abs(found.y)[:, None] < 1.12)
    bright = (found.dose >= 0.1) & found.determined & inside
    far = [abs(np.hypot(found.x[None, :] - cx, found.y[:, None] - cy) - r) > 0.1 for cx, cy, r, _ in own]
    return judged(found, truth, bright, np.all(far, axis=0) & bright)


# Energies
# --------


def energies(seed: int) -> dict:
    """U from energies of a confocal scan, ± 0.3 meV: error as part of its variation, beside that at face value."""
    kind, step, count, fine, margin, near = FIELDS["landscape"], 0.12, 14, 6, 18, 0.3
    spacing = step / fine
    v = bumps(fine * (count + 2 * margin), spacing, seed, 1.0)
    x = (np.arange(v.shape[0]) - (v.shape[0] - 1) / 2) * spacing
    along, hills = (np.arange(count) - (count - 1) / 2) * step, BOLTZMANN * 295.0 * v
    face = np.empty((count, count))
    for row, py in enumerate(along):
        for column, px in enumerate(along):
            seen = lit(kind, v, spacing, (px, py), 1.0)
            seen = seen * np.exp(-((x[None, :] - px) ** 2 + (x[:, None] - py) ** 2) / (2 * (near / FWHM) ** 2))
            face[row, column] = (seen * hills).sum() / seen.sum()
    noise = 0.3 * np.random.default_rng(seed).standard_normal(face.shape)
    measured = RasterScan(values=2000.0 + face + noise, step=step, quantity="energy", collection=near,
                          uncertainty=np.full(face.shape, 0.3), file="energies")  # fmt: skip
    found = measure_map(scan=measured, kind="landscape", prior="smooth", diffusivity=DIFFUSIVITY, lifetime=LIFETIME,
                        laser_fwhm=LASER)  # fmt: skip
    truth = RegularGridInterpolator((x, x), hills)
    own = truth(tuple(np.meshgrid(found.y, found.x, indexing="ij")))
    seen = truth(tuple(np.meshgrid(along, along, indexing="ij")))
    inside = (np.abs(found.y)[:, None] < count * step / 2) & (np.abs(found.x)[None, :] < count * step / 2)
    level = np.average(own, weights=found.dose)
    told = judged(found, own - level, inside & found.determined, size=np.linalg.norm(own[inside] - own[inside].mean()))
    assert found.background.value is not None
    return told | {"face_value": rounded(np.std(face - seen) / np.std(seen)),
                   "level_error_meV": rounded(found.background.value - 2000.0 - level)}  # fmt: skip


KINDS: dict[str, tuple[Callable[[int], dict], int]] = {
    "diffusivity": (partial(motion, "diffusivity"), 5),
    "landscape": (partial(motion, "landscape"), 5),
    "patches": (patches, 5),
    "intensities": (partial(scan, "intensity"), 5),
    "confocal intensities": (partial(scan, "confocal"), 5),
    "lifetimes": (partial(scan, "lifetime"), 5),
    "energies": (energies, 5),
}
"""By name: seed → what came out, and how many films."""


def judged(found: FilmMap, truth: np.ndarray, bright: np.ndarray, asked=None, size=None) -> dict:
    """Error where it is `bright`, of `size` (that of the truth there), and the share of `asked` inside the band."""
    away = np.linalg.norm((found.value - truth)[bright])
    inside = (found.lower <= truth) & (truth <= found.upper)
    return {
        "bright": rounded(bright.mean()),
        "error": rounded(away / (np.linalg.norm(truth[bright]) if size is None else size)),
        "covered": rounded(inside[bright if asked is None else asked].mean()),
        "z": rounded(found.goodness["z"]),
        "strength": found.strength,
    }


def _say(seed: int, film: dict) -> None:
    print(f"{seed:3d}  {json.dumps({key: value for key, value in film.items() if key != 'case'})}", flush=True)


def run_kind(name: str) -> dict:
    sources, (run, count) = fingerprint(*SOURCES), KINDS[name]
    films = run_cases(f"maps-{name.replace(' ', '-')}", sources, range(count), run, _say)
    return {"sources": sources, "environment": environment(), "films": films}


if __name__ == "__main__":
    run_kinds(__doc__, list(KINDS), run_kind, RESULT)
