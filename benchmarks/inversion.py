"""How long a map takes: 64 × 64 cells from 25 positions, every kind; `python -m benchmarks.inversion`

Images of finite volumes four times finer with photon noise, made before the clock starts; the trapping rate has two
patches, diffusivity and landscape a hill and a hollow. Times are of a first call, compilation and the choice of the
prior's strength included, as a user has them. Prints JSON; -o writes it.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import simulated
from benchmarks.provenance import environment, source_hash, write_json
from excidiff.inverse import Camera, Image
from excidiff.inverse.fit.cells import KINDS, Film, Kind, field_of
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.machine import start
from excidiff.inverse.maps import measure_map
from excidiff.solver import Grid, gaussian_spot, steady_state
from excidiff.solver.source import FWHM

COUNT, PIXEL, FINE, MARGIN = 64, 0.06, 4, 32
KNOWN = {"diffusivity": 0.05, "lifetime": 5.0, "laser_fwhm": 0.25, "psf_fwhm": 0.2, "excitons": 6e4}
ALONG = np.linspace(-1.3, 1.3, 5)
PLACES = np.array([(x, y) for y in ALONG for x in ALONG])


def field(kind: Kind, grid: Grid) -> np.ndarray:
    """v on the fine grid."""
    if kind.name == "trapping_rate":
        rate = simulated.patches(grid, 0.05, [[-0.5, 0.4, 0.5, 1.5], [0.6, -0.5, 0.4, 0.8]])
        return field_of(rate, KNOWN["lifetime"])
    x = (np.arange(grid.shape[0]) - (grid.shape[0] - 1) / 2) * PIXEL / FINE
    hill, hollow = (np.exp(-((x[None, :] - c) ** 2 + (x[:, None] + c) ** 2) / 0.18) for c in (-0.5, 0.5))
    return 0.8 * (hill - hollow) + (np.log(KNOWN["diffusivity"]) if kind.name == "diffusivity" else 0.0)


def images(kind: Kind) -> list[Image]:
    """One of each spot."""
    grid = Grid((FINE * (COUNT + 2 * MARGIN),) * 2, PIXEL / FINE)
    film = Film(KNOWN["diffusivity"], KNOWN["lifetime"], 0.0, 0.0, 0.0, PLACES)
    medium, random = kind.medium(jnp.asarray(field(kind, grid)), film), np.random.default_rng(1)
    sides, pixels = np.asarray(pixel_edges(grid.shape[0], PIXEL / FINE)), np.asarray(pixel_edges(COUNT, PIXEL))
    found = []
    for number, place in enumerate(PLACES):
        light = gaussian_spot(grid, fwhm=KNOWN["laser_fwhm"], total=KNOWN["excitons"], centre=tuple(map(float, place)))
        density = np.asarray(steady_state(medium, light, grid, rtol=1e-6).density)
        seen = simulated.camera(density, (sides, sides), (pixels, pixels), KNOWN["psf_fwhm"]) / KNOWN["lifetime"]
        counts = random.poisson(seen + 0.2).astype(float)
        camera = Camera(gain_known=True, saturation=np.inf)
        found.append(Image(counts, pixel_size=PIXEL, camera=camera, file=f"spot {number}"))
    return found


def timed(name: str) -> dict:
    """Seconds of one map, and what came out."""
    kind = KINDS[name]
    data = images(kind)
    known: dict[str, Any] = {key: value for key, value in KNOWN.items() if key != name}
    begin = time.perf_counter()
    found = measure_map(data, PLACES, kind=name, **known)
    seconds = time.perf_counter() - begin
    grid = Grid((COUNT,) * 2, PIXEL)
    lit = (found.dose >= 0.1) & found.determined
    film = Film(KNOWN["diffusivity"], KNOWN["lifetime"], KNOWN["laser_fwhm"] / FWHM, 0.0, 0.0, PLACES)
    truth = np.asarray(kind.value(jnp.asarray(field(kind, Grid((FINE * COUNT,) * 2, PIXEL / FINE))), film))
    truth = truth.reshape(grid.shape[0], FINE, grid.shape[1], FINE).mean((1, 3))
    if found.value.shape != truth.shape:
        return {"seconds": seconds, "cells": found.value.shape, "z": found.goodness["z"]}
    away = (found.value - truth)[lit]
    error = float(np.linalg.norm(away - away.mean() * kind.level) / np.linalg.norm(truth[lit]))
    return {"seconds": seconds, "cells": found.value.shape, "z": found.goodness["z"], "relative_error": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", nargs="+", choices=list(KINDS), default=["trapping_rate", "diffusivity", "landscape"]
    )
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    start()
    with jax.enable_x64(True):
        maps = {name: timed(name) for name in given.kinds}
    report = {"environment": environment(), "sources": source_hash("solver", "inverse"), "maps": maps}
    print(json.dumps(report, indent=1))
    if given.output:
        write_json(given.output, report)


if __name__ == "__main__":
    main()
