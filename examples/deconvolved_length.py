"""How far did the excitons travel, if a 297 nm laser spot gives a 1.21 µm luminescence spot?

Subtracting one width from the other in squares, as if both were Gaussians, gives 0.50 µm. Under steady light the
answer is 2.2 µm. This page shows why, for three films of CsPbBr₃ nanocrystals: Adv. Optical Mater. 2020, 8, 2000900.

    python examples/deconvolved_length.py -o figures
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from excidiff.inverse.fit.prediction import steady, steady_nodes
from excidiff.solver.source import FWHM

LASER = 0.297  # µm, full width at half maximum
FILMS = {1.21: "480 ± 24", 1.07: "436 ± 52", 0.90: "421 ± 80"}  # µm, width of the luminescence: nm, length quoted
SHORT, LONG = 0.01, 10.0  # µm, between which lengths and widths are sought
BLACK, BLUE, ORANGE, GREY = "#1a1a1a", "#0072b2", "#d55e00", "#9a9a9a"


# What steady light looks like in a film
# --------------------------------------
# Excitons of age t have spread from the laser's variance s² to s² + 2Dt, and e^{−t/τ} of them are left. The image is
# the sum over all ages: not a Gaussian, but a sharp peak of the young ones on the wide, faint ground of the old ones.


def profile(radius, length):
    """Light at `radius` (µm) from the centre of a steady spot, for one diffusion length √(Dτ) (µm)."""
    shape = jnp.log(jnp.stack([jnp.asarray(length, float), jnp.asarray(LASER / FWHM)]))
    spot = steady(shape, jnp.asarray(steady_nodes()))
    weight, variance = spot.weight[0], spot.variance[0]
    radius = jnp.asarray(radius)[..., None]
    return jnp.sum(weight / (2 * jnp.pi * variance) * jnp.exp(-(radius**2) / (2 * variance)), axis=-1)


# Its width, both ways round
# --------------------------
# At half the width the light is half that of the centre. Sought for the width this is the forward question, sought for
# the diffusion length it is the one an experiment asks.


def half_of_the_peak(length, width):
    """Zero where a diffusion length and a full width at half maximum belong together."""
    return profile(width / 2, length) / profile(0.0, length) - 0.5


@jax.jit
def width_of(length):
    """FWHM (µm) of the image of a film with diffusion length `length` (µm)."""
    return _root(lambda width, _: half_of_the_peak(length, width))


@jax.jit
def length_of(width):
    """Diffusion length √(Dτ) (µm) of a film whose image has the FWHM `width` (µm)."""
    return _root(lambda length, _: half_of_the_peak(length, width))


def _root(function):
    solver = optx.Bisection(rtol=1e-10, atol=1e-10)
    start = jnp.asarray(0.5 * (SHORT + LONG))
    return optx.root_find(function, solver, start, options={"lower": SHORT, "upper": LONG}).value


# What width subtraction makes of it
# ----------------------------------
# It takes the excitons to have one age. A Gaussian then stays one, of variance s² + ℓ², and ℓ is what is solved for.


def deconvolved(width):
    """√(FWHM² − FWHM_laser²)/2.3548, the deconvolved length (µm)."""
    return np.sqrt(width**2 - LASER**2) / FWHM


# The difference at a glance
# --------------------------


def draw() -> Any:
    """Profiles of one film, and width against length with the three films, as a Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.05))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    _draw_profiles(left)
    _draw_widths(right)
    return figure


def _draw_profiles(axes) -> None:
    x = np.linspace(-3.0, 3.0, 801)
    gaussian = {width: np.exp(-4 * np.log(2) * (x / width) ** 2) for width in (LASER, 1.21)}
    short, long = (np.asarray(profile(jnp.abs(x), length) / profile(0.0, length)) for length in (0.48, length_of(1.21)))
    axes.fill_between(x, gaussian[LASER], color="#dddddd", lw=0)
    axes.plot(x, gaussian[1.21], "--", color=BLACK, lw=1.4)
    axes.plot(x, short, color=ORANGE, lw=2.0)
    axes.plot(x, long, color=BLUE, lw=2.0)
    for width, colour, level in ((width_of(0.48), ORANGE, 0.515), (1.21, BLACK, 0.5)):
        arrow = {"arrowstyle": "<->", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (-width / 2, level), (width / 2, level), arrowprops=arrow)
    notes = (
        (0.34, 0.93, "laser, 297 nm wide", "#777777"),
        (0.46, 0.79, "what √(Dτ) = 480 nm gives:\n628 nm wide", ORANGE),
        (0.72, 0.58, "measured: 1.21 µm wide\n(drawn as a Gaussian)", BLACK),
        (1.15, 0.37, "what that width takes:\n√(Dτ) = 2.2 µm, and a long tail", BLUE),
    )
    for along, up, text, colour in notes:
        axes.text(along, up, text, color=colour, fontsize=9, va="center")
    axes.set(xlim=(-3.0, 3.3), ylim=(0, 1.03), xlabel="position (µm)", ylabel="light, as a share of the peak")


def _draw_widths(axes) -> None:
    length = np.linspace(0.02, 2.6, 120)
    axes.plot(length, jax.vmap(width_of)(jnp.asarray(length)), color=BLUE, lw=2.0)
    axes.plot(length, np.hypot(LASER, FWHM * length), "--", color=ORANGE, lw=2.0)
    for width in FILMS:
        naive, full = float(deconvolved(width)), float(length_of(width))
        axes.plot([naive, full], [width, width], color=GREY, lw=1.0, zorder=0)
        axes.plot(naive, width, "o", color=ORANGE, ms=6)
        axes.plot(full, width, "o", color=BLUE, ms=6)
        axes.text(naive - 0.05, width + 0.012, f"{1e3 * naive:.0f} nm", color=ORANGE, fontsize=9, ha="right")
        axes.text(full + 0.04, width - 0.02, f"{full:.2f} µm", color=BLUE, fontsize=9, va="top")
    axes.text(0.68, 1.42, "as if all had one age:\nthe deconvolved length", color=ORANGE, fontsize=9, va="center")
    axes.text(0.95, 0.66, "steady light,\nall ages at once", color=BLUE, fontsize=9, va="center")
    axes.set(xlim=(0, 2.6), ylim=(0.25, 1.5), xlabel="length (µm): √(Dτ), or deconvolved",
             ylabel="width of the luminescence, FWHM (µm)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Deconvolved length and diffusion length of three measured films.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure; without it only the table is printed")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)

    print(f"Laser FWHM {1e3 * LASER:.0f} nm; steady light, no blur by the optics.\n")
    print("FWHM measured   length quoted   deconvolved length   diffusion length √(Dτ)   ratio")
    for width, quoted in FILMS.items():
        naive, full = float(deconvolved(width)), float(length_of(width))
        print(f"{width:8.2f} µm {quoted:>15} nm {1e3 * naive:15.0f} nm {full:19.2f} µm {full / naive:14.1f}")
    print(f"\nA diffusion length of 480 nm under this laser gives a FWHM of {1e3 * float(width_of(0.48)):.0f} nm.")
    print("The width grows slowly with √(Dτ). The tail says far more, and a fit of the whole image uses it.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "deconvolved_length.png"
        draw().savefig(path, dpi=110)
        print(f"\nFigure: {path}")


if __name__ == "__main__":
    main()
