"""How can one tell how many traps a film has?

While they are nearly empty only the product of density and capture shows, as a shorter lifetime. Turn the pulses up,
and the traps fill: the excitons that find no trap live longer and travel further. This page follows 40 MHz pulses of
four energies over a film with 900 traps per µm², and shows where the spot and the decay begin to tell.

    python examples/traps.py -o figures
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from excidiff.solver import Grid, Medium, Traps, gaussian_spot, pulse_train, time_integral

GRID = Grid(shape=(41, 41), spacing=0.08)
TRAPS = Traps(density=900.0, capture=1e-3, release=0.005, lifetime=40.0)  # 1/µm², µm²/ns, 1/ns, ns
FILM = Medium(diffusivity=0.05, lifetime=5.0, traps=TRAPS)
PERIOD = 25.0  # ns
PEAKS = (10.0, 300.0, 3000.0, 30000.0)  # excitons per µm² that a pulse brings to the centre
TIMES = np.linspace(0.0, PERIOD, 26)
TOLERANCE = 1e-3


def responses() -> list[dict]:
    """For each pulse energy: the image of a whole period, the decay of all free excitons, how full the traps are."""
    found = []
    for peak in PEAKS:
        spot = gaussian_spot(GRID, fwhm=0.3)
        pulse = peak / float(spot.max()) * spot
        train = pulse_train(FILM, pulse, GRID, period=PERIOD, times=TIMES, rtol=TOLERANCE)
        held = np.asarray(train.trapped_by_species)[:, 0]  # what traps hold just after a pulse
        period = time_integral(FILM, train.density[0], GRID, edges=[0.0, PERIOD], trapped=held, rtol=TOLERANCE)
        found.append(
            {
                "image": np.asarray(period.density)[0, GRID.shape[0] // 2],
                "decay": np.asarray(train.density.sum((1, 2)) / train.density[0].sum()),
                "filling": float(np.max(np.asarray(train.trapped)[-1])) / 900.0,
                "periods": int(train.stats["periods"]),
            }
        )
    return found


def draw(found: list[dict]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for peak, response, shade in zip(PEAKS, found, ("#9ecae1", "#4292c6", "#08519c", "#08306b"), strict=True):
        label = f"{peak:.0f} /µm², traps {100 * response['filling']:.0f} % full"
        left.semilogy(GRID.x, response["image"] / response["image"].max(), color=shade, label=label)
        right.semilogy(TIMES, response["decay"], color=shade)
    left.legend(frameon=False, fontsize=8, loc="lower center")
    left.set(xlim=(-1.5, 1.5), ylim=(1e-3, 1.2), xlabel="position (µm)", ylabel="light, as a share of the peak")
    right.set(xlim=(0, PERIOD), xlabel="time after a pulse (ns)", ylabel="free excitons, as a share")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Traps that fill, under pulse trains of four energies.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)
    found = responses()
    print("peak (1/µm²)   traps full before a pulse   free after 5 ns   periods solved")
    for peak, response in zip(PEAKS, found, strict=True):
        after = np.interp(5.0, TIMES, response["decay"])
        print(f"{peak:12.0f} {100 * response['filling']:19.1f} % {after:22.3f} {response['periods']:14d}")
    held = 1 / (float(TRAPS.release) + 1 / float(TRAPS.lifetime))
    print(f"\nA trap holds its exciton for {held:.0f} ns, longer than a period: pulses are not alone.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(found).savefig(folder / "traps.png", dpi=110)


if __name__ == "__main__":
    main()
