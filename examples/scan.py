"""What does a scanned spot see of a dark patch, and does it see the same as a camera?

A film with a patch where excitons die ten times faster, seen in three ways: all of it is lit and a camera takes the
picture; a laser spot is scanned and all light collected, wherever it comes from; the spot is scanned and only the light
from where it stands is collected, as in a confocal microscope.

    python examples/scan.py -o figures

Reciprocity says that the second is the first, seen through the width of the laser: an exciton that walks from here to
the patch is as likely as one that walks back. So one solve gives the scan, whatever the number of positions, and the
two pictures hold the same about the film. The third takes a solve for every position, and is sharper.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from excidiff.solver import Emission, Grid, Medium, Spot, gaussian_spot, raster_scan, steady_state

GRID = Grid(shape=(121, 121), spacing=0.05)
RADIUS = 0.5  # µm, of the patch
INSIDE = GRID.x[None, :] ** 2 + GRID.y[:, None] ** 2 < RADIUS**2
FILM = Medium(0.05, np.where(INSIDE, 0.5, 5.0), emission=Emission(radiative=0.1))  # µm²/ns; ns; 1/ns
LASER = Spot(fwhm=0.3)
PATH = np.stack([np.linspace(-2.0, 2.0, 41), np.zeros(41)], axis=-1)


class Profiles(NamedTuple):
    """Light along `PATH`, each as a share of that far from the patch, and how the solver came to the scans."""

    camera: np.ndarray
    blurred: np.ndarray  # the camera's through the width of the laser
    scan: np.ndarray
    confocal: np.ndarray
    paths: tuple[str, str]


def pinhole(position) -> jax.Array:
    """What a confocal microscope collects: an image of the pinhole that moves along with the spot."""
    return jnp.exp(-((GRID.x[None, :] - position[0]) ** 2 + (GRID.y[:, None] - position[1]) ** 2) / (2 * 0.13**2))


def profiles() -> Profiles:
    picture = np.asarray(steady_state(FILM, jnp.ones(GRID.shape), GRID).emission)
    scan = raster_scan(FILM, LASER, GRID, PATH)
    confocal = raster_scan(FILM, LASER, GRID, PATH, detector=pinhole)
    row = picture[GRID.shape[0] // 2]
    through = [float(jnp.sum(gaussian_spot(GRID, fwhm=LASER.fwhm, centre=p) * picture)) for p in PATH]
    camera, seen = np.interp(PATH[:, 0], GRID.x, row), np.array(through)
    scanned, pinholed = np.asarray(scan.signal), np.asarray(confocal.signal)
    return Profiles(
        camera / camera[0],
        seen / seen[0],
        scanned / scanned[0],
        pinholed / pinholed[0],
        (scan.path, confocal.path),
    )


def edge(profile: np.ndarray) -> float:
    """µm from where a tenth of the darkening is reached to where nine tenths are."""
    left = slice(0, len(PATH) // 2 + 1)
    share = (1 - profile[left]) / (1 - profile.min())
    return float(np.diff(np.interp([0.1, 0.9], share, PATH[left, 0]))[0])


def draw(found: Profiles):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-RADIUS, RADIUS, color="#eeeeee", lw=0)
    axes.plot(PATH[:, 0], found.camera, color="#b5b5b5", lw=2, label="camera, all of the film lit")
    axes.plot(PATH[:, 0], found.blurred, color="#b5b5b5", lw=2, ls=":", label="the same through the laser's width")
    axes.plot(PATH[:, 0], found.scan, "o", ms=3.5, color="#d55e00", label="scanned spot, all light collected")
    axes.plot(PATH[:, 0], found.confocal, color="#004b87", lw=1.6, label="scanned spot, confocal")
    axes.set(xlim=(-2, 2), ylim=(0, 1.05), xlabel="position (µm)", ylabel="light, as a share of that far away")
    axes.text(0, 0.97, "patch", ha="center", va="top", fontsize=9)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="A dark patch as a camera, a scan and a confocal scan see it.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)
    found = profiles()
    print("                             darkest   edge, 10 to 90 % (µm)   solves")
    rows = (("camera, all lit", found.camera, "one"), ("scan, all light", found.scan, found.paths[0]))
    for name, profile, path in (*rows, ("scan, confocal", found.confocal, found.paths[1])):
        print(f"{name:28} {profile.min():7.3f} {edge(profile):23.2f}   {path}")
    apart = np.abs(found.scan - found.blurred).max()
    print(f"\nThe scan and the camera's picture through the laser's width differ by {apart:.0e} of the light far away.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(found).savefig(folder / "scan.png", dpi=110)


if __name__ == "__main__":
    main()
