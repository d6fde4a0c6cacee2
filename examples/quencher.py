"""How fast do carriers move through a perovskite film, if a quencher on one side takes all that reach it?

Two films, each 491 nm thick, are lit through one side. In one of them that side carries a quencher, so carriers that
come back to it are lost and the luminescence fades faster (Listorti et al., J. Phys. Chem. Lett. 2015, 6, 1628).

    python examples/quencher.py -o figures

The published model is fitted first, with the depth of the film as a grid of one row: D as published. Then its residuals
are looked at, and they say that this D is less sure than its error. Lengths are in nm here, times in ns. The data are
looked for in the folder EXCIDIFF_DATA, by default ../shared/data.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from excidiff.solver import Grid, Medium, Surface, evolve

THICKNESS = 491.0  # nm
ABSORPTION = 2.10e-3  # 1/nm, that is 2.10e4 per cm; light enters at x = 0, where the quencher is
CELLS = 200


class Decay(NamedTuple):
    """Times (ns) and luminescence, as shares of the first point. That point is 1 whatever the film does: left out."""

    time: np.ndarray
    light: np.ndarray


def read(path: Path) -> Decay:
    return Decay(*np.loadtxt(path, skiprows=1, unpack=True))


# The film in depth
# -----------------
#     ∂n/∂t = D ∂²n/∂x² − k(t) n,    n(x, 0) ∝ e^{−αx},    n = 0 at the quencher,    ∂n/∂x = 0 at the other side
#
# k(t) is the same everywhere, so it factors out: n = f(t) · u, where f is the decay of the free film and u diffuses and
# is quenched but never recombines. The quenched decay over the free one is the share of u that survives, and depends on
# D alone.


def depth(cells: int = CELLS) -> tuple[Grid, jax.Array]:
    """The depth of the film, and u just after the pulse: averages of e^{−αx} over the cells."""
    beer = jnp.exp(-ABSORPTION * jnp.linspace(0.0, THICKNESS, cells + 1))
    return Grid((1, cells), (1.0, THICKNESS / cells)), -jnp.diff(beer)[None] * cells / (ABSORPTION * THICKNESS)


def surviving(diffusivity, times, *, velocity: Any = np.inf, cells: int = CELLS, rtol: float = 1e-4) -> jax.Array:
    """The share of u that is left at `times`, if the quencher takes n · `velocity` (nm/ns) per area and time."""
    grid, initial = depth(cells)
    film = Medium(diffusivity, np.inf, surface=Surface(left=velocity))
    return jnp.sum(evolve(film, initial, grid, times, rtol=rtol).density, axis=(1, 2)) / jnp.sum(initial)


# What may be measured
# --------------------
# Each model takes its parameters, the times, and the light of the free film at those times.


def stretched(parameters, times, free=1.0):
    """f(t) = exp(−(t/τ_s)^β), that is k(t) = β τ_s^{−β} t^{β−1}."""
    return free * jnp.exp(-((times / parameters[0]) ** parameters[1]))


def perfect(parameters, times, free, **numerics):
    """D: the published model."""
    return free * surviving(parameters[0], times, **numerics)


def late(parameters, times, free):
    """D, t₀: the same quencher, but in both films the first point was taken t₀ after the light came."""
    share = surviving(parameters[0], jnp.concatenate([jnp.zeros(1), times]) + parameters[1])
    return free * share[1:] / share[0]


def lifted(parameters, times, free):
    """D, t₀, b: the same over a constant background, b of the first point's light."""
    return (late(parameters, times, free) + parameters[2]) / (1 + parameters[2])


def finite(parameters, times, free, **numerics):
    """D, S: no delay, but a quencher that takes carriers at a finite velocity."""
    return free * surviving(parameters[0], times, velocity=parameters[1], **numerics)


# The fit
# -------
# Least squares in the logarithms of the parameters, every point alike. The derivatives come through the solver.


class Fit(NamedTuple):
    """Parameters, their covariance, the curve, its slopes ∂curve/∂parameters, and measured − curve."""

    values: np.ndarray
    covariance: np.ndarray  # from the scatter of the residuals, as if they were independent
    curve: np.ndarray
    slopes: np.ndarray
    residuals: np.ndarray

    @property
    def misfit(self) -> float:
        """Variance of the residuals over that of their noise from point to point: 1 ± 1/√points if all is noise."""
        return float(2 * np.mean(self.residuals**2) / np.mean(np.diff(self.residuals) ** 2))


@partial(jax.jit, static_argnames="model")
def _least_squares(model, start, times, free, light):
    def residuals(logarithms, _):
        return model(start * jnp.exp(logarithms), times, free) - light

    solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)  # a smaller step changes the squares by less than rounding
    found = start * jnp.exp(optx.least_squares(residuals, solver, jnp.zeros_like(start)).value)
    return found, model(found, times, free), jax.jacfwd(model)(found, times, free)


def fit(model: Callable, start: list[float], decay: Decay, free: Any = 1.0) -> Fit:
    """Fit `model` to `decay`; `free` is the light of the free film at its times."""
    given = (decay.time, np.broadcast_to(free, decay.time.shape), decay.light)
    values, curve, slopes = map(np.asarray, _least_squares(model, *map(jnp.asarray, (start, *given))))
    residuals = decay.light - curve
    variance = residuals @ residuals / (len(residuals) - len(values))
    return Fit(values, variance * np.linalg.inv(slopes.T @ slopes), curve, slopes, residuals)


# The free film's τ_s and β have errors of their own, and they sway what is found in the quenched one.


class Quenched(NamedTuple):
    """A fit to the quenched decay, and how its values change with τ_s and β of the free `film`."""

    fit: Fit
    film: Fit
    by_film: np.ndarray  # ∂values/∂(τ_s, β)

    @property
    def errors(self) -> np.ndarray:
        """From the scatter of both decays."""
        return np.sqrt(np.diag(self.fit.covariance + self.by_film @ self.film.covariance @ self.by_film.T))

    def length(self, lifetime: Callable) -> tuple[float, float]:
        """√(D · lifetime(τ_s, β)) in nm, and its error."""
        value, slope = jax.value_and_grad(lambda film: lifetime(*film))(jnp.asarray(self.film.values))
        diffusivity, length = self.fit.values[0], np.sqrt(self.fit.values[0] * value)
        relative = slope / value + self.by_film[0] / diffusivity  # of D · lifetime, by τ_s and β
        variance = relative @ self.film.covariance @ relative + self.fit.covariance[0, 0] / diffusivity**2
        return float(length), float(length * np.sqrt(variance) / 2)


def mean_lifetime(tau, beta):
    """∫ f dt of the free film, ns."""
    return tau / beta * jnp.exp(jax.lax.lgamma(1 / beta))


def fit_quenched(model: Callable, start: list[float], decay: Decay, film: Fit) -> Quenched:
    free = np.asarray(stretched(film.values, decay.time))
    found = fit(model, start, decay, free)
    by_film = np.asarray(jax.jacfwd(stretched)(jnp.asarray(film.values), decay.time)) * (found.curve / free)[:, None]
    return Quenched(found, film, -np.linalg.lstsq(found.slopes, by_film)[0])


class Answers(NamedTuple):
    """Both decays, and what was fitted to them."""

    free_decay: Decay
    quenched_decay: Decay
    film: Fit
    perfect: Quenched
    late: Quenched
    finite: Quenched
    lifted: Quenched

    @property
    def free(self) -> np.ndarray:
        """f at the times of the quenched decay."""
        return np.asarray(stretched(self.film.values, self.quenched_decay.time))


STARTS = {perfect: [100.0], late: [100.0, 1.0], finite: [100.0, 10.0], lifted: [100.0, 1.0, 0.01]}


def analyse(free_decay: Decay, quenched_decay: Decay) -> Answers:
    film = fit(stretched, [100.0, 1.0], free_decay)
    fits = (fit_quenched(model, start, quenched_decay, film) for model, start in STARTS.items())
    return Answers(free_decay, quenched_decay, film, *fits)


# Is the grid fine enough?
# ------------------------
# With a perfect quencher the solver is exact in time, and the cells are the only error. A finite one takes time steps,
# to 1e-4 of the carriers present. What finer numerics change in a curve is projected on its slopes: by that much the
# parameters would move.


def moved(model: Callable, found: Fit, answers: Answers, **numerics) -> float:
    """Change of D, nm²/ns, if the curve were computed with other `numerics`."""
    curve = np.asarray(model(found.values, jnp.asarray(answers.quenched_decay.time), answers.free, **numerics))
    return float(np.linalg.lstsq(found.slopes, found.curve - curve)[0][0])


NOTES = """

Misfit: variance of the residuals over that of the noise from point to point; 1 ± 0.04 if all is noise.
Diffusion length √(D⟨τ⟩): ⟨τ⟩ = {:.0f} ns is the mean lifetime ∫ f dt of the free film, half of it extrapolated beyond
250 ns. With τ_s, the time to 1/e, in its place √(D τ_s) = {:.0f} ± {:.0f} nm, the published choice.
Numerics: four times as many cells would move D by {:+.3f} nm²/ns, a quarter of them by {:+.2f}. Time is exact with a
perfect quencher; with a finite one, steps a hundred times more accurate move D by {:+.3f}."""
ACCOUNT = """
How sure is D?

- Its error is what the scatter allows, if the model is right and the points are independent: 9 nm²/ns from the quenched
  decay, 7 from τ_s and β. Not in it: the thickness (1 % is 1.7 % of D), α (1 % is 0.3 %), and the first point, to which
  all others are normalised. If that scatters by 0.025, as its neighbours do, this alone is 4 % of D.
- The model is not right. Its residuals have 2.4 times the variance of the noise and hang together: the film is brighter
  than it by 0.05 from 2 to 20 ns, fainter by 0.01 from 40 to 160 ns.
- Either of two small changes takes most of that away: a first point that is two bins late, or a quencher that is not
  perfect. D rises by a fifth or by almost half, and the two leave the same residuals: these decays cannot tell them
  apart. What is left after them looks like a constant background, and with one of 1.4 % all but noise is gone, save
  that the two points after the first stay 0.06 too low: the first may be a peak of the noise.
- So D is 981 ± 11 if the published model holds, and 980 to 1420 nm²/ns or beyond if not. The instrument's response and
  its dark counts, which are not among the data, would settle much of it.
"""


def table(a: Answers) -> str:
    """What a person wants to read, D in nm²/ns."""
    (tau, beta), errors = a.film.values, np.sqrt(np.diag(a.film.covariance))
    free = f"τ_s = {tau:.1f} ± {errors[0]:.1f} ns, β = {beta:.4f} ± {errors[1]:.4f}; misfit {a.film.misfit:.2f}"
    lines = [f"Free film: {free}\n", "Quenched film                     D (nm²/ns)   misfit   √(D⟨τ⟩) (nm)"]
    rows = (
        ("perfect quencher, as published", a.perfect, ()),
        ("first point late", a.late, ("t₀ = {:.2f} ± {:.2f} ns",)),
        ("finite quencher", a.finite, ("S = {:.1f} ± {:.1f} nm/ns",)),
        ("first point late, background", a.lifted, ("t₀ = {:.2f} ± {:.2f} ns", "b = {:.4f} ± {:.4f}")),
    )
    for name, found, others in rows:
        diffusivity, *rest = zip(found.fit.values, found.errors, strict=True)
        length = found.length(mean_lifetime)
        lines.append(
            f"{name:32} {diffusivity[0]:5.0f} ± {diffusivity[1]:2.0f} {found.fit.misfit:9.2f} {length[0]:9.0f} ± "
            f"{length[1]:2.0f}     {', '.join(o.format(*r) for o, r in zip(others, rest, strict=True))}".rstrip()
        )
    to_1_e = a.perfect.length(lambda tau, _: tau)
    coarse, fine = (moved(perfect, a.perfect.fit, a, cells=cells) for cells in (CELLS // 4, 4 * CELLS))
    steps = moved(finite, a.finite.fit, a, rtol=1e-6)
    return "\n".join(lines) + NOTES.format(mean_lifetime(tau, beta), *to_1_e, fine, coarse, steps)


# The figure
# ----------

BLACK, GREY = "#1a1a1a", "#b5b5b5"
LOOKS = {  # label, colour, line and width
    "perfect": ("perfect, as published", "#d55e00", "-", 1.6),
    "late": ("first point late", "#56b4e9", "-", 3.0),
    "finite": ("finite quencher", "#004b87", (0, (4, 3)), 1.3),
    "lifted": ("late, background", "#009e73", "-", 1.6),
}


def draw(a: Answers) -> Any:
    """Carriers in the film, the two decays, and their ratio with the residuals beneath."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    axes = figure.subplot_mosaic(
        [["film", "decays", "ratio"], ["film", "decays", "rest"]], width_ratios=(0.8, 1, 1.1), height_ratios=(1.6, 1)
    )
    _draw_film(axes["film"], a)
    for name, (label, colour, line, width) in LOOKS.items():
        found = getattr(a, name)
        look = {"color": colour, "ls": line, "lw": width}
        axes["decays"].plot(a.quenched_decay.time, found.fit.curve, label=label, **look)
        text = f"D = {found.fit.values[0]:.0f} ± {found.errors[0]:.0f} nm²/ns"
        axes["ratio"].plot(a.quenched_decay.time, found.fit.curve / a.free, label=text, **look)
        _draw_residuals(axes["rest"], a.quenched_decay.time, found.fit.residuals, look)
    for panel in axes.values():
        panel.spines[["top", "right"]].set_visible(False)
    axes["decays"].plot(a.free_decay.time, a.free_decay.light, ".", ms=3, color=BLACK)
    axes["decays"].plot(a.free_decay.time, a.film.curve, color=BLACK, lw=1.2)
    axes["decays"].plot(a.quenched_decay.time, a.quenched_decay.light, ".", ms=2.5, color=GREY, zorder=1)
    axes["decays"].text(150, 0.5, "free film", fontsize=9)
    axes["decays"].text(95, 0.17, "quenched film", fontsize=9, color="#767676")
    axes["decays"].set(
        xlim=(0, 252), ylim=(5e-3, 1.1), yscale="log", xlabel="time (ns)", ylabel="light, first point = 1"
    )
    axes["ratio"].plot(a.quenched_decay.time, a.quenched_decay.light / a.free, ".", ms=2.5, color=GREY, zorder=1)
    for name in ("ratio", "rest"):
        axes[name].set_xscale("function", functions=(lambda t: np.sqrt(np.maximum(t, 0)), np.square))
        axes[name].set(xlim=(0, 252), xticks=(0, 1, 5, 20, 50, 100, 200))
    axes["ratio"].set(ylim=(0, 1.03), ylabel="quenched / free")
    axes["rest"].set(ylabel="quenched light\n− model", xlabel="time (ns), on a scale of its root")
    axes["decays"].legend(fontsize=8, frameon=False, loc="lower left")
    axes["ratio"].legend(fontsize=8, frameon=False)
    return figure


def _draw_film(axes, a: Answers) -> None:
    times = np.array([0.0, 1.0, 10.0, 40.0])
    grid, initial = depth()
    film = Medium(a.perfect.fit.values[0], np.inf, surface=Surface(left=np.inf))
    profiles = stretched(a.film.values, times)[:, None] * evolve(film, initial, grid, times).density[:, 0]
    for time, profile, at, up in zip(times, profiles, (150, 62, 190, 300), (0.02, -0.09, 0.025, 0.03), strict=True):
        axes.plot(grid.x + THICKNESS / 2, profile, color=LOOKS["perfect"][1], lw=1.8)
        axes.text(at, np.interp(at, grid.x + THICKNESS / 2, profile) + up, f"{time:.0f} ns", fontsize=9)
    axes.axvspan(-45, 0, color="#666666", lw=0)
    axes.text(-22, 0.5, "quencher: light enters here", rotation=90, fontsize=9, color="w", va="center", ha="center")
    axes.set(xlim=(-45, THICKNESS), ylim=(0, 1.03), xlabel="depth (nm)", ylabel="carriers in the quenched film")


def _draw_residuals(axes, time: np.ndarray, residuals: np.ndarray, look: dict) -> None:
    """Means over intervals that grow with time, each with its error."""
    bins = np.digitize(time, np.linspace(1.0, np.sqrt(time[-1]), 20) ** 2)
    groups = [bins == k for k in range(bins.max())]
    means, errors = zip(*((r.mean(), r.std() / np.sqrt(len(r))) for r in (residuals[g] for g in groups)), strict=True)
    axes.axhline(0, color=BLACK, lw=0.8)
    axes.errorbar([np.mean(np.sqrt(time[g])) ** 2 for g in groups], means, errors, elinewidth=1.0, **look)


def main() -> None:
    parser = argparse.ArgumentParser(description="Diffusivity of carriers in a perovskite film, from a quencher.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure; without it only the table is printed")
    output = parser.parse_args().output
    root = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("EXCIDIFF_DATA", root.parent / "shared" / "data")) / "perovskite_quencher"
    if not folder.is_dir():
        print("The measured decays are not here: set EXCIDIFF_DATA to the folder that holds perovskite_quencher.")
        return
    jax.config.update("jax_enable_x64", True)
    answers = analyse(read(folder / "block_device_data.csv"), read(folder / "quenched_device_data.csv"))
    print(table(answers))
    print(ACCOUNT)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        draw(answers).savefig(output / "quencher.png", dpi=95)
        print(f"Figure: {output / 'quencher.png'}")


if __name__ == "__main__":
    main()
