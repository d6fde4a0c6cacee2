"""Which mechanisms make the rim of a luminescence spot redder than its centre, and how large must each be?

Films of CsPbBr₃ nanocrystals emit at 518 nm, and 0.8, 1.2 or 2.8 nm further to the red at the rim of the spot than in
its centre (Adv. Optical Mater. 2020, 8, 2000900). That may be excitons relaxing on their way, but so may other things.

    python examples/rim_redshift.py -o figures

A laser spot of 297 nm, 40 million pulses per second, excitons that live 5 ns and diffuse 480 nm, √(Dτ), at 295 K. The
rim is where the light has fallen to a tenth of that in the centre. Nothing is blurred by the optics. µm, ns, meV.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc

from excidiff.solver import Disorder, Emission, Grid, Medium, Traps, gaussian_spot, steady_state, time_integral
from excidiff.solver.reabsorption import along_film, through_film
from excidiff.solver.source import FWHM

LASER, LENGTH, LIFETIME, PERIOD = 0.297, 0.48, 5.0, 25.0
DIFFUSIVITY = LENGTH**2 / LIFETIME
WAVELENGTH = 518.0  # nm, in the centre
PUBLISHED = (0.8, 1.2, 2.8)  # nm
RIM = 0.1
REACH, CELLS = 2.88, 48  # µm from the centre to the walls, six diffusion lengths, and cells along it


# Rim and centre
# --------------
# Light of the mean energy E has the wavelength hc/E. 1 nm at 518 nm is 4.6 meV.

HC = 1239841.984  # meV nm


def redder(energy):
    """How much redder (nm) than the centre is light of a mean energy `energy` (meV) above the centre's."""
    return HC / (HC / WAVELENGTH + energy) - WAVELENGTH


def lower(shift):
    """How much lower (meV) is the energy of light that is `shift` (nm) redder than the centre."""
    return HC / WAVELENGTH - HC / (WAVELENGTH + shift)


class Profile(NamedTuple):
    """Averages over rings around the centre: distance (µm), light as a share of the centre's, its mean energy (meV)."""

    distance: np.ndarray
    light: np.ndarray
    energy: np.ndarray  # from that of the centre

    @property
    def rim(self) -> float:
        """Distance at which the light has fallen to a tenth."""
        beyond = int(np.argmax(self.light < RIM))
        pair = slice(beyond, beyond - 2, -1)
        return float(np.interp(np.log(RIM), np.log(self.light[pair]), self.distance[pair]))

    @property
    def shift(self) -> float:
        """How much redder (nm) the rim is than the centre."""
        return float(redder(np.interp(self.rim, self.distance, self.energy)))


def profile(light, weighted, spacing) -> Profile:
    """The profile of a spot in the middle of a map of `light`; `weighted` is light × its mean energy."""
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in np.shape(light))
    distance = np.hypot(rows[:, None], columns[None, :])
    ring = distance.astype(int)
    count, far, bright, energy = (
        np.bincount(ring.ravel(), np.ravel(field))[: len(rows) // 2]
        for field in (np.ones(ring.shape), distance, light, weighted)
    )
    mean, light = energy / bright, bright / count
    return Profile(spacing * far / count, light / light[0], mean - mean[0])


def quarter(cells: int) -> tuple[Grid, Any]:
    """A quarter of the film, two of its closed walls mirrors through the spot's centre; and the spot, 1 at its peak."""
    grid = Grid((cells, cells), REACH / cells)
    quarter_of_it = np.pi * LASER**2 / (16 * np.log(2.0))
    return grid, gaussian_spot(grid, fwhm=LASER, total=quarter_of_it, centre=tuple(-side / 2 for side in grid.extent))


def unfolded(light, weighted, grid: Grid) -> Profile:
    """The profile in a film of which these maps are a `quarter`."""
    light, weighted = (np.pad(field, [(n, 0) for n in grid.shape], "symmetric") for field in (light, weighted))
    return profile(light, weighted, grid.spacing[0])


# Relaxation
# ----------
# Light creates excitons at all site energies alike; then they hop downhill while they travel, and those at the rim are
# the old ones. A linear film under a pulse train looks, averaged over time, as it does under steady light.


def relaxation(width, *, rate=1.0, mobility="constant", bins=24, cells=CELLS) -> Profile:
    """Site energies of standard deviation `width`, hops tried `rate` times per ns; "hops": D falls as they relax."""
    grid, spot = quarter(cells)
    film = Medium(DIFFUSIVITY, LIFETIME, disorder=Disorder(width, rate, bins, mobility))
    found = steady_state(film, spot, grid)
    return unfolded(found.density, np.tensordot(np.asarray(found.energies), np.asarray(found.by_energy), 1), grid)


# Traps with a band of their own
# ------------------------------
# Of a few excitons a share is caught, and emits `DEPTH` lower. That is the same share everywhere. Under many excitons
# the traps in the centre are taken, and the rim has more of the red band.

DEPTH, HELD = 60.0, 20.0  # meV, assumed; ns, the lifetime of what is caught


def _with_traps(caught: float, traps: Traps) -> Medium:
    """In weak light an exciton lives 5 ns until it has emitted, or is caught as so many are; all light is seen."""
    free = (1 - caught) / LIFETIME
    return Medium(DIFFUSIVITY, 1 / free, traps=traps, emission=Emission(free, trap_yield=1.0))


def traps_that_fill(excitation, *, caught=0.3, depth=DEPTH, cells=CELLS) -> Profile:
    """`excitation`: excitons per trap in the centre of each pulse. Only this ratio matters: one trap per µm² here."""
    grid, spot = quarter(cells)
    film = _with_traps(caught, Traps(1.0, caught / LIFETIME, 0.0, HELD))
    edges = jnp.array([0.0, PERIOD])
    found = time_integral(film, excitation * spot, grid, edges=edges, period=PERIOD, rtol=1e-2)
    return unfolded(np.asarray(found.emission)[0], -depth * np.asarray(found.trapped)[0] / HELD, grid)


def linear_traps(release, *, caught=0.3, cells=CELLS) -> Profile:
    """Traps that never fill, and let go of what they hold at the rate `release`, 1/ns."""
    grid, spot = quarter(cells)
    found = time_integral(_with_traps(caught, Traps.linear(caught / LIFETIME, release, HELD)), spot, grid)
    return unfolded(found.emission, -DEPTH * np.asarray(found.trapped) / HELD, grid)


# Reabsorption
# ------------
# A line 20 nm wide below an edge that rises as an error function to 10⁴–10⁵ per cm: all assumed. Four fifths of the
# light stay in the film until it is absorbed, or scattered out at some rate per µm. Photon recycling is left out.

LINE, STOKES, EDGE, GUIDED = 39.0, 40.0, 30.0, 0.8  # meV: σ of the line, the edge above its middle, σ of the edge
ENERGIES = np.linspace(-4.0, 4.0, 33) * LINE


def absorption(highest):
    """α(E), 1/µm, `highest` far above the edge; at the middle of the line 0.09 of it."""
    return 0.5 * highest * erfc((STOKES - ENERGIES) / (np.sqrt(2.0) * EDGE))


def _spectra(cells: int) -> tuple[Any, Grid]:
    """Emission of the whole film, energies leading, the same line everywhere."""
    grid, spot = quarter(cells)
    density = steady_state(Medium(DIFFUSIVITY, LIFETIME), spot, grid).density
    line = jnp.exp(-0.5 * (ENERGIES / LINE) ** 2)
    whole = jnp.pad(density, [(cells, 0), (cells, 0)], "symmetric")
    return line[:, None, None] * whole[None], Grid((2 * cells, 2 * cells), grid.spacing)


def guided(scattered, *, highest=3.0, cells=CELLS) -> Profile:
    """Light on its way along the film, of which the share `scattered` per µm comes out, onto that seen directly."""
    spectra, grid = _spectra(cells)
    arrived = along_film(spectra, absorption(highest) + scattered, grid)
    seen = (1 - GUIDED) * spectra + GUIDED * scattered * arrived
    return profile(jnp.sum(seen, 0), np.tensordot(ENERGIES, seen, 1), grid.spacing[0])


def straight_out(length, *, highest=3.0, cells=CELLS) -> Profile:
    """All light takes a way of `length` µm through the film."""
    spectra, grid = _spectra(cells)
    seen = through_film(spectra, absorption(highest), length)
    return profile(jnp.sum(seen, 0), np.tensordot(ENERGIES, seen, 1), grid.spacing[0])


# A landscape
# -----------
# The energy of the light follows U, and so do the excitons. Each random landscape is taken with its negative, too, so
# that what is as often blue as red drops out, and what excitons do by going downhill is left.


def hill(height, *, width=0.6, cells=CELLS) -> Profile:
    """The laser on the top of a Gaussian hill of the FWHM `width` µm."""
    grid, spot = quarter(cells)
    distance = np.hypot(*np.meshgrid(grid.x + grid.extent[1] / 2, grid.y + grid.extent[0] / 2))
    landscape = height * jnp.exp(-0.5 * (distance * FWHM / width) ** 2)
    density = steady_state(Medium(DIFFUSIVITY, LIFETIME, landscape), spot, grid).density
    return unfolded(density, density * landscape, grid)


def places(rms, *, correlation=0.4, pairs=100, seed=518, cells=CELLS) -> list[Profile]:
    """Profiles at places of landscapes with ⟨U(0)U(r)⟩ = rms² exp(−r²/2ξ²), ξ = `correlation` in µm."""
    grid = Grid((2 * cells, 2 * cells), REACH / cells)
    spot, random = gaussian_spot(grid, fwhm=LASER), np.random.default_rng(seed)
    k = 2 * np.pi * np.fft.fftfreq(2 * cells, REACH / cells)
    smooth = np.exp(-0.25 * correlation**2 * (k[:, None] ** 2 + k[None, :] ** 2))
    found = []
    for _ in range(pairs):
        drawn = np.fft.ifft2(smooth * np.fft.fft2(random.normal(size=grid.shape))).real
        drawn *= rms / np.sqrt(np.mean(smooth**2))
        for landscape in (jnp.asarray(drawn), jnp.asarray(-drawn)):
            density = steady_state(Medium(DIFFUSIVITY, LIFETIME, landscape), spot, grid, rtol=1e-6).density
            found.append(profile(density, density * landscape, grid.spacing[0]))
    return found


def on_average(rms, **landscape) -> Profile:
    """The mean of the profiles at many places, each counted alike."""
    return Profile(*(np.mean(field, axis=0) for field in zip(*places(rms, **landscape), strict=True)))


# How large each must be
# ----------------------


class Sweep(NamedTuple):
    """The shift (nm) for sizes of one mechanism."""

    model: Callable
    sizes: np.ndarray
    shifts: np.ndarray

    @property
    def most(self) -> float:
        return float(self.shifts.max())

    def needed(self, shift: float) -> float:
        """The smallest size that gives `shift`, by straight lines between logarithms; nan where none does."""
        rising = slice(0, int(np.argmax(self.shifts)) + 1)
        logs = np.log(self.shifts[rising]), np.log(self.sizes[rising])
        return float(np.exp(np.interp(np.log(shift), *logs, right=np.nan)))


MODELS = {  # label: model; the first of each mechanism is drawn in full
    "relaxation": {
        "ντ = 5": relaxation,
        "ντ = 0.5": partial(relaxation, rate=0.1),
        "ντ = 50": partial(relaxation, rate=10.0),
        "ντ = 5, D by hops": partial(relaxation, mobility="hops"),
        "ντ = 15, D by hops": partial(relaxation, rate=3.0, mobility="hops"),
    },
    "traps that fill": {f"{100 * c:.0f} % caught": partial(traps_that_fill, caught=c) for c in (0.3, 0.1, 0.6)},
    "reabsorption": {
        f"{edge} per cm": partial(guided, highest=h) for edge, h in (("3·10⁴", 3.0), ("10⁴", 1.0), ("10⁵", 10.0))
    },
    "landscape": {
        "hill, 0.6 µm wide": hill,
        "hill, 2.4 µm wide": partial(hill, width=2.4),
        "random, ξ = 0.4 µm": on_average,
        "random, ξ = 0.2 µm": partial(on_average, correlation=0.2),
    },
}
LOOKS = {  # size, its unit; sizes; colour
    "relaxation": ("disorder σ", "meV", np.geomspace(3.0, 50.0, 12), "#0072b2"),
    "traps that fill": ("excitons per trap, 60 meV deep, in the centre", "", np.geomspace(1.0, 1000.0, 10), "#d55e00"),
    "reabsorption": ("share of guided light scattered out", "per µm", np.geomspace(1e-3, 30.0, 19), "#009e73"),
    "landscape": ("height U₀, or r.m.s. of U", "meV", np.geomspace(1.5, 32.0, 12), "#8f5aa8"),
}


def sweeps() -> dict[str, list[Sweep]]:
    """Every model at the sizes of its mechanism."""
    found = {}
    for name, models in MODELS.items():
        sizes = LOOKS[name][2]
        found[name] = [Sweep(one, sizes, np.array([one(size).shift for size in sizes])) for one in models.values()]
    return found


def controls() -> dict[str, float]:
    """Shifts (nm) that must be nothing."""
    return {
        "linear traps, 30 % caught": linear_traps(0.0).shift,
        "the same, released within 10 ns": linear_traps(0.1).shift,
        "1 µm through the film, all light": straight_out(1.0).shift,
    }


def axis(name: str) -> str:
    size, unit = LOOKS[name][:2]
    return f"{size} ({unit})" if unit else size


def table(found: dict[str, list[Sweep]]) -> str:
    """What a person wants to read."""
    goals = "".join(f"{shift:>6} nm" for shift in PUBLISHED)
    lines = [f"Needed for a rim redder by              {goals}   at most, of the sizes tried"]
    lines.append(" " * 40 + "".join(f"{lower(shift):>5.1f} meV" for shift in PUBLISHED))
    for name, models in MODELS.items():
        lines.append(f"{name.capitalize()}: {axis(name)}")
        for label, sweep in zip(models, found[name], strict=True):
            needed = "".join(f"{sweep.needed(shift):>9.3g}".replace("nan", "  –") for shift in PUBLISHED)
            lines.append(f"  {label:37}{needed} {sweep.most:6.2f} nm")
    return "\n".join(lines)


ACCOUNT = """
- Relaxation can, if hops are tried some five times in a lifetime (if fewer, the rim has not relaxed; if more, the
  centre has, too) and D stays as it is. If D falls with the hops that succeed, 2.8 nm are out of reach up to
  50 meV: the rim is reached by those still hot, and is bluer if hops are few. The intensity does not matter.
- Traps can only if they fill, and catch much: to the red, at most {depth:.3f} nm per meV of their depth if they catch
  30 %. Much brighter or fainter light takes the shift away. Linear ones cannot, whether or not they release.
- Reabsorption can only along the film: 0.8 and 1.2 nm if about a tenth of the guided light is scattered out per µm and
  the edge rises to 3·10⁴ per cm; 2.8 nm are out of reach below this edge. It lengthens the light's tail and goes on
  beyond the rim. Through the film it cannot.
- A hill can, hardly higher than the shift itself, only if the laser always stands on one, or makes it; in a valley the
  shift is to the blue. Random landscapes can on the average of many places, {rough:.0f} meV for 1.2 nm; single places
  differ by {scatter:.1f} nm, and at {blue:.0f} % of them the rim is bluer than the centre."""


def account(found: dict[str, list[Sweep]]) -> str:
    """What each can and cannot."""
    rough = found["landscape"][2].needed(1.2)
    shifts = np.array([place.shift for place in places(rough)])
    depth = found["traps that fill"][0].most / DEPTH
    return ACCOUNT.format(depth=depth, rough=rough, scatter=shifts.std(ddof=1), blue=100 * np.mean(shifts < 0))


# The figure
# ----------

LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))


def draw(found: dict[str, list[Sweep]]) -> Any:
    """Shift against size for each mechanism, and profiles of all at 1.2 nm, as a Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 7.8), layout="constrained")
    panels = figure.subplot_mosaic(
        [["relaxation", "traps that fill", "light"], ["reabsorption", "landscape", "energy"]]
    )
    tuned = [(name, name, "-", drawn[0]) for name, drawn in found.items()]
    tuned[-1] = ("landscape", "a hill, 0.6 µm wide", "-", found["landscape"][0])
    for name, label, line, sweep in [*tuned, ("landscape", "random landscapes", "--", found["landscape"][2])]:
        one = sweep.model(sweep.needed(1.2))
        look = {"color": LOOKS[name][3], "lw": 1.8, "ls": line, "label": label}
        for panel, values in (("light", one.light), ("energy", WAVELENGTH + redder(one.energy))):
            panels[panel].plot(one.distance, values, **look)
            panels[panel].plot(one.rim, np.interp(one.rim, one.distance, values), "o", color=LOOKS[name][3], ms=6)
    panels["light"].axhline(RIM, color="#8c8c8c", lw=0.8, ls="--", zorder=0)
    panels["light"].text(1.98, RIM * 1.08, "the rim: a tenth", color="#777777", fontsize=9, ha="right")
    panels["light"].set(yscale="log", ylim=(5e-3, 1.2), title="Light, each at its 1.2 nm")
    panels["light"].set(ylabel="light, as a share of the centre's")
    panels["energy"].set(title="Mean wavelength, each at its 1.2 nm", ylabel="mean wavelength (nm)")
    panels["energy"].set(ylim=(517.9, 521.5))
    panels["energy"].legend(fontsize=9, frameon=False, loc="upper left")
    for name, panel in panels.items():
        panel.spines[["top", "right"]].set_visible(False)
        if name in found:
            _draw_sweeps(panel, name, found[name])
        else:
            panel.set(xlim=(0, 2), xlabel="distance from the centre (µm)")
    return figure


def _draw_sweeps(axes, name: str, drawn: list[Sweep]) -> None:
    _, unit, sizes, colour = LOOKS[name]
    for sweep, line, model in zip(drawn, LINES, MODELS[name], strict=False):
        axes.plot(sweep.sizes, sweep.shifts, ls=line, color=colour, lw=1.3 + (line == "-"), label=model)
    for shift in PUBLISHED:
        axes.axhspan(shift - 0.07, shift + 0.07, color="#e4e4e4", lw=0, zorder=0)
        place = {"ha": "right", "va": "center", "transform": axes.get_yaxis_transform()}
        axes.text(0.99, shift, f"{shift} nm", color="#555555", fontsize=8, **place)
        size = drawn[0].needed(shift)
        if np.isfinite(size):
            axes.plot(size, shift, "o", color=colour, ms=6)
            look = {"bbox": {"fc": "w", "ec": "none", "pad": 0.6, "alpha": 0.8}, "ha": "right", "fontsize": 9}
            axes.annotate(f"{size:.2g} {unit}".strip(), (size, shift), (-7, 4), textcoords="offset points", **look)
    axes.axhline(0.0, color="#1a1a1a", lw=0.6)
    low, high = sizes[0], sizes[-1]
    axes.set(xscale="log", xlim=(low, high * (high / low) ** 0.2), ylim=(-0.1, 4.8), title=name.capitalize())
    axes.set(xlabel=axis(name), ylabel="rim redder than the centre by (nm)")
    ticks = np.array([2, 5, 10, 20, 30, 50] if low > 1 else [1e-3, 0.01, 0.1, 1, 10, 100, 1000])
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def main() -> None:
    parser = argparse.ArgumentParser(description="What makes the rim of a luminescence spot redder than its centre.")
    parser.add_argument("-o", "--output", type=Path, help="folder for the figure; without it only the table is printed")
    folder = parser.parse_args().output
    jax.config.update("jax_enable_x64", True)

    found = sweeps()
    print(table(found))
    print("\nCannot redden it at all:")
    for name, shift in controls().items():
        print(f"  {name:34} {shift:.1e} nm")
    print(account(found))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draw(found).savefig(folder / "rim_redshift.png", dpi=82)
        print(f"\nFigure: {folder / 'rim_redshift.png'}")


if __name__ == "__main__":
    main()
