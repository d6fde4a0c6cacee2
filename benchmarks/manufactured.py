"""Manufactured problems, entry 24 of the verification plan: the density is chosen, and what causes it follows.

Densities and films are exponentials of cosine waves, n = e^p, D = e^q, U = u k_BT, so that every derivative is a sum:

    ∇·[D(∇n + n∇u)] = Dn [∇(p + q)·∇(p + u) + ∇²(p + u)].

Traps, annihilation and Auger recombination add only what happens in place, all of it with maps of their own (`losses`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from benchmarks.problems import TAU, D, Evolution, Steady, axes
from excidiff.solver.disorder import Disorder, cut
from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium, Surface, thermal_energy
from excidiff.solver.traps import Traps


class Waves:
    """Σ aᵢ cos kᵢ(x + W/2) cos lᵢ(y + H/2), flat at the walls, with what a differential operator needs of it."""

    def __init__(self, grid: Grid, *terms: tuple[float, int, int]):
        x, y = axes(grid)
        height, width = (float(extent) for extent in grid.extent)
        self.value, self.dx, self.dy, self.dxx, self.dyy = (np.zeros(grid.shape) for _ in range(5))
        for amplitude, half_x, half_y in terms:
            k, l = np.pi * half_x / width, np.pi * half_y / height
            u, v = k * (x + width / 2), l * (y + height / 2)
            wave = amplitude * np.cos(u) * np.cos(v)
            self.value += wave
            self.dx -= amplitude * k * np.sin(u) * np.cos(v)
            self.dy -= amplitude * l * np.cos(u) * np.sin(v)
            self.dxx -= k**2 * wave
            self.dyy -= l**2 * wave

    def tilted(self, grid: Grid, left: float, right: float) -> "Waves":
        """With b x − (b + c) x²/2W added, x from the left wall: slope b = `left` there, −c = −`right` at the other."""
        width = float(grid.extent[1])
        x = axes(grid)[0] + width / 2
        self.value += left * x - (left + right) * x**2 / (2 * width)
        self.dx += left - (left + right) * x / width
        self.dxx -= (left + right) / width
        return self


def outflow(density: Waves, diffusivity: Waves, energy: Waves, aspect: float = 1.0) -> np.ndarray:
    """−∇·[D(∇n + n∇U)]/(Dn) for n = e^p, D = e^q, U = u and Dy = `aspect` · Dx."""
    p, q, u = density, diffusivity, energy
    along_x = (p.dx + q.dx) * (p.dx + u.dx) + p.dxx + u.dxx
    along_y = (p.dy + q.dy) * (p.dy + u.dy) + p.dyy + u.dyy
    return -(along_x + aspect * along_y)


@dataclass(frozen=True)
class _Rough:
    """The smooth film of the manufactured problems: ln D, U/kT and ln τ are sums of a few waves."""

    grid: Grid
    diffusivity: Waves
    energy: Waves
    lifetime: Waves


def _rough(n: int, periodic: bool) -> _Rough:
    """Half waves come in even numbers on periodic axes, so that the film closes on itself."""
    grid = Grid(shape=(n, n), spacing=(6.0 / n, 5.0 / n), periodic=(periodic, periodic))
    diffusivity = Waves(grid, (np.log(D), 0, 0), (0.4, 2, 0), (0.3, 2, 4))
    lifetime = Waves(grid, (np.log(TAU), 0, 0), (0.3, 0, 2), (0.2, 4, 2))
    return _Rough(grid, diffusivity, Waves(grid, (0.7, 2, 2), (0.4, 0, 4), (0.3, 4, 0)), lifetime)


def _film(rough: _Rough, rate: np.ndarray, aspect: float = 1.0) -> Medium:
    d = np.exp(rough.diffusivity.value)
    unit = float(thermal_energy(Medium(D, TAU)))
    return Medium(d if aspect == 1.0 else (d, aspect * d), 1 / rate, landscape=unit * rough.energy.value)


def manufactured_film(n: int, *, periodic: bool = False, aspect: float = 1.0) -> Steady:
    """Entry 24: variable D (Dy = `aspect` · Dx), τ, U and a chosen n = e^p; G = n/τ − ∇·[D(∇n + n∇U/kT)] follows."""
    rough = _rough(n, periodic)
    chosen = Waves(rough.grid, (0.4, 2, 0), (0.3, 2, 2), (-0.2, 0, 4))
    density, rate = np.exp(chosen.value), np.exp(-rough.lifetime.value)
    leaving = np.exp(rough.diffusivity.value) * outflow(chosen, rough.diffusivity, rough.energy, aspect)
    return Steady("manufactured", rough.grid, _film(rough, rate, aspect), density * (rate + leaving), lambda: density)


def manufactured_surfaces(n: int) -> Steady:
    """Entry 24 between partly open sides at the left and the right: D ∂n/∂x = S n there, as ∂(ln n)/∂x = S/D is chosen.

    D varies along x alone, so that one S holds for a whole side; U is flat across the sides, as everywhere here.
    """
    rough, slopes = _rough(n, False), (0.8, 0.5)
    rough = replace(rough, diffusivity=Waves(rough.grid, (np.log(D), 0, 0), (0.4, 2, 0), (0.2, 1, 0)))
    chosen = Waves(rough.grid, (0.3, 2, 2), (-0.2, 0, 4)).tilted(rough.grid, *slopes)
    density, rate = np.exp(chosen.value), np.exp(-rough.lifetime.value)
    leaving = np.exp(rough.diffusivity.value) * outflow(chosen, rough.diffusivity, rough.energy)
    left, right = (D * np.exp(0.4 + sign * 0.2) * slope for sign, slope in zip((1, -1), slopes, strict=True))
    film = _film(rough, rate)
    film = Medium(film.diffusivity, film.lifetime, film.landscape, surface=Surface(left=left, right=right))
    return Steady("manufactured, open", rough.grid, film, density * (rate + leaving), lambda: density)


def manufactured_decay(n: int, *, periodic: bool = False) -> Evolution:
    """Entry 24 in time: variable D, τ and U; n = n_s + m e^{−λt}, λ = 0.8/ns, n_s and m chosen.

    m decays as a whole because 1/τ = λ + ∇·[D(∇m + m∇U/kT)]/m, positive everywhere; n_s is held by its generation.
    """
    rough = _rough(n, periodic)
    fading = Waves(rough.grid, (0.4, 2, 2), (0.3, 4, 0))
    lasting = Waves(rough.grid, (0.5, 2, 0), (0.3, 0, 2))
    d, speed = np.exp(rough.diffusivity.value), 0.8
    rate = speed - d * outflow(fading, rough.diffusivity, rough.energy)
    steady = np.exp(lasting.value)
    generation = steady * (rate + d * outflow(lasting, rough.diffusivity, rough.energy))

    def density(times):
        return steady + np.exp(fading.value) * np.exp(-speed * np.asarray(times))[:, None, None]

    times, start = np.array([0.25, 1.0, 4.0]), steady + np.exp(fading.value)
    return Evolution("manufactured decay", rough.grid, _film(rough, rate), start, times, density, generation)


# ---------- traps, annihilation, Auger recombination

LOSSES = ("annihilation", "auger", "filling", "linear")
CHOSEN = ((0.4, 2, 0), (0.3, 2, 2), (-0.2, 0, 4))
"""The waves of ln n wherever traps are solved for."""


def losses(grid: Grid, names: tuple[str, ...]) -> dict:
    """Arguments of `Medium` for the losses named, each of the order of 1/τ where n is 1, and each property a map.

    The traps that fill have k_t e^p and k_d + 1/τ_t the same everywhere, which `manufactured_filling` needs.
    """
    wave = {name: np.exp(Waves(grid, *terms).value) for name, terms in _MAPS.items()}
    out, traps = {}, []
    if "annihilation" in names:
        out["annihilation"] = 0.15 * wave["annihilation"]
    if "auger" in names:
        out["auger"] = 0.1 * wave["auger"]
    if "filling" in names:
        release = 0.1 * wave["release"]
        traps.append(
            Traps(0.8 * wave["traps"], CAPTURE / np.exp(Waves(grid, *CHOSEN).value), release, 1 / (LEAVE - release))
        )
    if "linear" in names:
        release = 0.1 / wave["release"]
        traps.append(Traps.linear(0.3 * wave["traps"], release, 1 / (LEAVE - release)))
    return out | ({"traps": tuple(traps)} if traps else {})


CAPTURE, LEAVE = 0.4, 0.3  # k_t e^p in µm²/ns and k_d + 1/τ_t in 1/ns, of both species
_MAPS = {
    "annihilation": ((0.4, 2, 2), (0.2, 0, 2)),
    "auger": ((0.3, 0, 2), (-0.3, 2, 0)),
    "traps": ((0.5, 2, 0), (0.4, 2, 2)),
    "release": ((0.4, 0, 2), (0.2, 4, 0)),
}


def _lossy(n: int, names: tuple[str, ...]) -> tuple[_Rough, Medium, np.ndarray, np.ndarray]:
    """The rough film with losses; the chosen e^p, and what diffusion and 1/τ take per exciton of it."""
    rough = _rough(n, False)
    chosen, rate = Waves(rough.grid, *CHOSEN), np.exp(-rough.lifetime.value)
    leaving = np.exp(rough.diffusivity.value) * outflow(chosen, rough.diffusivity, rough.energy)
    film = _film(rough, rate)
    film = Medium(film.diffusivity, film.lifetime, film.landscape, **losses(rough.grid, names))
    return rough, film, np.exp(chosen.value), rate + leaving


def manufactured_losses(n: int, names: tuple[str, ...] = LOSSES) -> Steady:
    """Entry 24, steady, with the losses named: G = n/τ − ∇·[…] + Bn² + Cn³ + Σ m/τ_t."""
    rough, film, density, pace = _lossy(n, names)
    source = pace * density
    if film.annihilation is not None:
        source = source + np.asarray(film.annihilation) * density**2
    if film.auger is not None:
        source = source + np.asarray(film.auger) * density**3
    for traps in film.traps:
        occupied = np.asarray(traps.rate) * density
        full = 0.0 if traps.linear_rate is not None else np.asarray(traps.capture) * density
        source = source + occupied / (full + LEAVE) / np.asarray(traps.lifetime)
    return Steady(f"manufactured, {', '.join(names)}", rough.grid, film, source, lambda: density)


@dataclass(frozen=True, eq=False)
class Filling(Evolution):
    """An evolution from empty traps; `trapped(times)` leads with the species, then times."""

    trapped: Callable[[np.ndarray], np.ndarray] = field(kw_only=True)


class Filler(eqx.Module):
    """The light of `manufactured_filling`: G of a film of these maps at any time."""

    shape: jnp.ndarray
    pace: jnp.ndarray
    annihilation: jnp.ndarray
    auger: jnp.ndarray
    filling: tuple
    linear: tuple

    def __call__(self, time):
        g, f, h, change = course(time)
        n = self.shape * g
        out = self.shape * change + self.pace * n + self.annihilation * n**2 + self.auger * n**3
        for density, release in self.filling:
            out = out + density * (CAPTURE * g * (1 - f) - release * f)
        for rate, release in self.linear:
            out = out + rate * self.shape * (g - release * h)
        return out

    def limit(self, time):
        return jnp.full_like(time, jnp.inf)


SHARE = 0.7  # of the traps, filled in the end


def course(time):
    """(g, f, h, g′): n = e^p g, the filled share f = m/N_t of traps that fill, and m = k_tN_t e^p h of linear ones.

    f = c(1 − y), y = e^{−bt}, is chosen, with b = `LEAVE` and c = `SHARE`. f′ = k g (1 − f) − b f, k = `CAPTURE`, then
    asks for g = cb/(k(a + cy)), a = 1 − c, and h′ = g − bh for h = (yc/k) [(1/y − 1)/a + (c/a²) ln(y/(a + cy))].
    """
    a, c, y = 1 - SHARE, SHARE, jnp.exp(-LEAVE * time)
    left = a + c * y
    g = c * LEAVE / (CAPTURE * left)
    h = c / CAPTURE * ((1 - y) / a + y * c / a**2 * jnp.log(y / left))
    return g, c * (1 - y), h, g * LEAVE * c * y / left


def manufactured_filling(n: int, names: tuple[str, ...] = LOSSES) -> Filling:
    """Entry 24 in time with the losses named: n = e^p g(t) and empty traps that fill; G is what is left over."""
    rough, film, shape, pace = _lossy(n, names)
    none = np.zeros(rough.grid.shape)
    light = Filler(
        jnp.asarray(shape),
        jnp.asarray(pace),
        jnp.asarray(none if film.annihilation is None else film.annihilation),
        jnp.asarray(none if film.auger is None else film.auger),
        tuple((jnp.asarray(t.density), jnp.asarray(t.release)) for t in film.traps if t.fills),
        tuple((jnp.asarray(t.rate), jnp.asarray(t.release)) for t in film.traps if not t.fills),
    )

    def spread(values):
        return np.asarray(values)[:, None, None]

    def density(times):
        return shape * spread(course(np.asarray(times))[0])

    def trapped(times):
        _, f, h, _ = course(np.asarray(times))
        held = [
            np.asarray(t.density) * spread(f) if t.fills else np.asarray(t.rate) * shape * spread(h) for t in film.traps
        ]
        return np.stack(held) if held else np.zeros((0, len(times), *rough.grid.shape))

    start, times = density(np.zeros(1))[0], np.array([0.5, 2.0, 6.0])
    name = f"manufactured filling, {', '.join(names)}"
    return Filling(name, rough.grid, film, start, times, density, light, trapped=trapped)


# ---------- disorder


def manufactured_bins(n: int, mobility: str, bins: int = 3) -> Steady:
    """Entry 24 with disorder and all losses: n_k of every bin chosen, `source` what each of them then has to be given.

    Light as it comes feeds the bins by their sites and leaves no such choice: `source` leads with the bins and is for
    `excidiff.solver.bins.Band.solve`. The density leads with the bins, too.
    """
    rough, film, _, _ = _lossy(n, LOSSES)
    disorder = Disorder(25.0, 0.4, bins, mobility)
    terms = {"annihilation": film.annihilation, "auger": film.auger, "traps": film.traps}
    film = Medium(film.diffusivity, film.lifetime, film.landscape, **terms, disorder=disorder)
    cuts = cut(disorder, float(thermal_energy(film)))
    waves = [
        Waves(rough.grid, (0.4 - 0.2 * k, 2, 0), (0.3, 2, 2 * k), (np.log(0.3 + 0.2 * k), 0, 0)) for k in range(bins)
    ]
    density = np.stack([np.exp(wave.value) for wave in waves])
    total = density.sum(0)
    pace = np.exp(-rough.lifetime.value) + np.asarray(film.annihilation) * total + np.asarray(film.auger) * total**2
    back = np.zeros_like(total)
    for traps in film.traps:
        capture = 0.0 if traps.capture is None else np.asarray(traps.capture)
        held = np.asarray(traps.rate) * total / (capture * total + LEAVE)
        pace, back = pace + np.asarray(traps.rate) - capture * held, back + np.asarray(traps.release) * held
    moving = [np.exp(rough.diffusivity.value) * outflow(wave, rough.diffusivity, rough.energy) for wave in waves]
    source = (np.asarray(cuts.mobility)[:, None, None] * np.stack(moving) + pace) * density
    source += np.tensordot(np.asarray(cuts.rates), density, 1) - np.asarray(cuts.equilibrium)[:, None, None] * back
    return Steady(f"manufactured bins, {mobility}", rough.grid, film, source, lambda: density)
