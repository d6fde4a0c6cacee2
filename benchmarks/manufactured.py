"""Manufactured problems, entry 24 of the verification plan: the density is chosen, and what causes it follows.

Densities and films are exponentials of cosine waves, n = e^p, D = e^q, U = u k_BT, so that every derivative is a sum:

    ∇·[D(∇n + n∇u)] = Dn [∇(p + q)·∇(p + u) + ∇²(p + u)].
"""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.problems import TAU, D, Evolution, Steady, axes
from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium, Surface, thermal_energy


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
