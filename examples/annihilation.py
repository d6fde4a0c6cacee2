"""Does a brighter laser make excitons travel further?

It makes them seem to travel less. Where many excitons meet, B n² takes them away before they get far: the spot shrinks
towards the square root of the laser's, which is what generation against annihilation alone would give. This page turns
the intensity up on a film with D = 0.05 µm²/ns and τ = 5 ns, and looks at the width.

    python examples/annihilation.py -o figures
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from excidiff.solver import Grid, Medium, gaussian_spot, steady_state

GRID = Grid(shape=(161, 161), spacing=0.04)
FILM = Medium(diffusivity=0.05, lifetime=5.0, annihilation=1e-3)  # µm²/ns, ns, µm²/ns
LASER = 0.3  # µm, FWHM
INTENSITIES = 10.0 ** np.arange(0, 7)  # excitons/ns in all


def width(profile: np.ndarray) -> float:
    """Full width at half maximum (µm) of a symmetric profile through the centre of the grid, between cells."""
    x, middle = np.asarray(GRID.x), profile.size // 2
    return 2 * float(np.interp(-0.5 * profile[middle], -profile[middle:], x[middle:]))


def spots() -> list[np.ndarray]:
    """Density along y = 0 at each intensity, excitons per µm²."""
    found = []
    for intensity in INTENSITIES:
        light = gaussian_spot(GRID, fwhm=LASER, total=intensity)
        found.append(np.asarray(steady_state(FILM, light, GRID).density)[GRID.shape[0] // 2])
    return found


def draw(profiles: list[np.ndarray]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    shades = [str(shade) for shade in np.linspace(0.75, 0.0, len(profiles))]
    for profile, shade in zip(profiles, shades, strict=True):
        left.plot(GRID.x, profile / profile.max(), color=shade)
    left.text(0.75, 0.5, "the darker the line,\nthe brighter the laser", fontsize=9)
    left.set(xlim=(-1.6, 1.6), xlabel="position (µm)", ylabel="density, as a share of the peak")
    peak = [profile.max() for profile in profiles]
    right.semilogx(peak, [width(profile) for profile in profiles], "o-", color="#0072b2")
    onset = 1 / (1e-3 * 5.0)
    right.axvline(onset, color="#9a9a9a", lw=1)
    right.text(1.2 * onset, 0.62, "B n = 1/τ", color="#777777", fontsize=9)
    right.axhline(LASER * np.sqrt(2), color="#9a9a9a", lw=1, ls="--")
    right.text(5, LASER * np.sqrt(2) + 0.006, "square root of the laser", color="#777777", fontsize=9)
    right.set(xlabel="density at the centre (1/µm²)", ylabel="FWHM of the spot (µm)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Width of a spot against intensity in a film with annihilation.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)
    profiles = spots()
    print("excitons/ns   peak (1/µm²)   FWHM (µm)")
    for intensity, profile in zip(INTENSITIES, profiles, strict=True):
        print(f"{intensity:11.0e} {profile.max():14.3g} {width(profile):11.3f}")
    print(
        "\nThe diffusion length is 0.5 µm throughout. Below B n = 1/τ the width does not depend on the power: measure"
    )
    print("there, or fit B with it.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(profiles).savefig(folder / "annihilation.png", dpi=110)


if __name__ == "__main__":
    main()
