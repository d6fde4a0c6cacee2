"""Two lifetimes in a decay: two kinds of excitons, or one kind that is trapped and released?

The decay cannot say. Traps that release make it the sum of two exponentials, and for each such film there is a mixture
of two kinds of excitons, as mobile as before and each with its own lifetime, that decays in exactly the same way. But
trapped excitons stand still, and the others do not: the spot tells what the decay cannot.

    python examples/mixture.py -o figures
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from excidiff.solver import Grid, Medium, Traps, evolve, gaussian_spot, mixture

GRID = Grid(shape=(141, 141), spacing=0.12)  # wide enough for the spot after 40 ns
DIFFUSIVITY, LIFETIME = 0.05, 4.0  # µm²/ns, ns
RATE, RELEASE, HELD = 0.25, 0.08, 60.0  # 1/ns, 1/ns, ns: trapping, release, lifetime of what is trapped
TRAPPING = Medium(DIFFUSIVITY, LIFETIME, traps=Traps.linear(RATE, RELEASE, HELD))
LASER = 0.3  # µm
TIMES = np.linspace(0.0, 40.0, 41)


def kinds() -> list[tuple[float, Medium]]:
    """(share, film) of two kinds of excitons that decay like those of the film with traps, in all.

    Free and trapped change as (n, m)′ = −R (n, m); with m in units that make R symmetric, R = V λ Vᵀ, the free ones
    are Σ V_0k² e^{−λ_k t}.
    """
    between = -np.sqrt(RATE * RELEASE)
    rates, vectors = np.linalg.eigh(np.array([[1 / LIFETIME + RATE, between], [between, RELEASE + 1 / HELD]]))
    shares = vectors[0] ** 2
    return [(share, Medium(DIFFUSIVITY, 1 / rate)) for share, rate in zip(shares, rates, strict=True)]


class Spots(NamedTuple):
    """Free excitons at `TIMES` of both films."""

    traps: np.ndarray
    mixture: np.ndarray


def spots() -> Spots:
    pulse = gaussian_spot(GRID, fwhm=LASER)
    mixed = mixture(lambda film, share: evolve(film, share * pulse, GRID, TIMES), kinds())
    return Spots(np.asarray(evolve(TRAPPING, pulse, GRID, TIMES).density), np.asarray(mixed.density))


def decay(density: np.ndarray) -> np.ndarray:
    """All free excitons, as a share of those at the start."""
    total = density.sum((1, 2))
    return total / total[0]


def spread(density: np.ndarray) -> np.ndarray:
    """⟨x²⟩ of the spot less that at the start, µm²."""
    square = (density * np.asarray(GRID.x) ** 2).sum((1, 2)) / density.sum((1, 2))
    return square - square[0]


def draw(found: Spots):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    looks = (
        ("two kinds of excitons", found.mixture, "#004b87", 3.0),
        ("one kind, and traps", found.traps, "#e69f00", 1.4),
    )
    for label, density, colour, width in looks:
        left.semilogy(TIMES, decay(density), color=colour, lw=width, label=label)
        right.plot(TIMES, spread(density), color=colour, lw=width)
    left.set(xlim=(0, 40), xlabel="time after the pulse (ns)", ylabel="free excitons, as a share")
    right.set(xlim=(0, 40), ylim=(0, None), xlabel="time after the pulse (ns)", ylabel="growth of ⟨x²⟩ (µm²)")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="A mixture of lifetimes beside traps that release.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)
    found = spots()
    for share, film in kinds():
        print(f"{100 * share:5.1f} % of the excitons live {float(film.lifetime):5.2f} ns")
    apart = np.abs(decay(found.traps) / decay(found.mixture) - 1).max()
    print(f"Decays: at no time further apart than {apart:.0e} of themselves.")
    slow, fast = spread(found.traps)[-1], spread(found.mixture)[-1]
    print(
        f"Spots: after {TIMES[-1]:.0f} ns ⟨x²⟩ has grown by {slow:.2f} µm² with traps, by {fast:.2f} µm² = 2Dt without."
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(found).savefig(folder / "mixture.png", dpi=110)


if __name__ == "__main__":
    main()
