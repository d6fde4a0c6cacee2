"""Why is the rim of a spot redder than its middle?

In a disordered film excitons hop downhill as they age, and old ones are further out. This page gives a film site
energies with a Gaussian spread of 25 meV and looks at the mean energy of what is where, with one mobility for all
energies, and with one that falls as excitons relax.

    python examples/disorder.py -o figures
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from excidiff.solver import Disorder, Grid, Medium, evolve, gaussian_spot, steady_state

GRID = Grid(shape=(64, 64), spacing=0.06)
WIDTH, ATTEMPTS = 25.0, 0.5  # meV, 1/ns
TIMES = np.array([0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0])  # ns


def film(mobility: str) -> Medium:
    return Medium(0.05, 5.0, disorder=Disorder(WIDTH, ATTEMPTS, bins=20, mobility=mobility))


def mean_energy(solution, axes: tuple[int, ...]) -> np.ndarray:
    """Mean energy (meV, from the band's centre) of the excitons, bins on the axis before the grid's."""
    shares = np.asarray(solution.by_energy).sum(axes)
    return shares @ np.asarray(solution.energies) / shares.sum(-1)


def draw(steady: dict, moving: dict):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for (mobility, solution), colour in zip(steady.items(), ("#0072b2", "#d55e00"), strict=True):
        along = np.asarray(solution.by_energy)[:, GRID.shape[0] // 2]
        energy = np.asarray(solution.energies) @ along / along.sum(0)
        label = "one mobility" if mobility == "constant" else "mobility falls with energy"
        left.plot(GRID.x, energy, color=colour, label=label)
        right.semilogx(TIMES, mean_energy(moving[mobility], (2, 3)), "o-", color=colour)
    equilibrium = -(WIDTH**2) / 25.4
    right.axhline(equilibrium, color="#9a9a9a", lw=1)
    right.text(TIMES[0], equilibrium + 0.5, "equilibrium, −σ²/kT", color="#777777", fontsize=9)
    left.legend(frameon=False, fontsize=9)
    left.set(xlabel="position (µm)", ylabel="mean energy (meV)", title="under steady light")
    right.set(xlabel="time after a pulse (ns)", title="all of the film")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Mean energy against place and time in a disordered film.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)
    spot = gaussian_spot(GRID, fwhm=0.3)
    steady = {mobility: steady_state(film(mobility), spot, GRID) for mobility in ("constant", "hops")}
    moving = {mobility: evolve(film(mobility), spot, GRID, TIMES) for mobility in ("constant", "hops")}
    row, middle = GRID.shape[0] // 2, GRID.shape[1] // 2
    for mobility, solution in steady.items():
        along = np.asarray(solution.by_energy)[:, row]
        energy = np.asarray(solution.energies) @ along / along.sum(0)
        edge = int(np.argmin(np.abs(np.asarray(GRID.x) - 1.0)))
        print(f"mobility {mobility:>8}: {energy[middle]:6.1f} meV in the middle, {energy[edge]:6.1f} meV 1 µm away")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(steady, moving).savefig(folder / "disorder.png", dpi=110)


if __name__ == "__main__":
    main()
