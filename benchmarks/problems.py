"""Problems with exact answers, as objects: tests hold the solver to them, benchmarks time it on them.

Each function builds one problem on a grid of about `n` cells per axis, so that refining is calling it again. A problem
knows its grid, medium and source, and its `density()` is exact: the average over each cell where `averaged`, else the
value at the cell's centre (the two differ by O(h²), so either shows second order). Numbers in references are entries of
the verification plan; entry 24 is in `benchmarks.manufactured`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks import formulas
from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium, Surface, thermal_energy
from excidiff.solver.source import FWHM

D, TAU = 0.04, 5.0  # µm²/ns, ns: L = 0.447 µm wherever a problem has no reason for other numbers
LENGTH = float(np.sqrt(D * TAU))


@dataclass(frozen=True, eq=False)
class Steady:
    """A steady state: `source` in excitons/(µm² ns), `density()` in 1/µm²."""

    name: str
    grid: Grid
    medium: Medium
    source: np.ndarray
    density: Callable[[], np.ndarray]
    averaged: bool = False


@dataclass(frozen=True, eq=False)
class Evolution:
    """A density in time: from `initial`, under a constant `generation` or none; `density(times)` leads with times."""

    name: str
    grid: Grid
    medium: Medium
    initial: np.ndarray
    times: np.ndarray
    density: Callable[[np.ndarray], np.ndarray]
    generation: np.ndarray | Callable | None = None
    averaged: bool = False


@dataclass(frozen=True, eq=False)
class Effective(Steady):
    """A steady flow through a structured film; `effective(density)` reads off D_eff, which should be `diffusivity`."""

    diffusivity: float = field(default=np.nan, kw_only=True)
    effective: Callable[[np.ndarray], float] = field(kw_only=True)


def axes(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Cell centres as maps: x, y of `grid.shape`."""
    x, y = np.meshgrid(np.asarray(grid.x, dtype=float), np.asarray(grid.y, dtype=float))
    return x, y


def edges(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Cell edges along y and x, in double precision."""
    rows, columns = (h * (np.arange(n + 1) - n / 2) for n, h in zip(grid.shape, grid.spacing, strict=True))
    return np.asarray(rows, dtype=float), np.asarray(columns, dtype=float)


def spot_cells(grid: Grid, variance: np.ndarray, centre=(0.0, 0.0), images: int = 4) -> np.ndarray:
    """Cell averages of a unit Gaussian between closed walls, one map for each variance."""
    rows, columns = edges(grid)
    along_y = formulas.gaussian_cells(rows, variance, centre[1], images)
    return along_y[..., :, None] * formulas.gaussian_cells(columns, variance, centre[0], images)[..., None, :]


# ---------- uniform films, steady


def spot_film(n: int, *, fwhm: float = 0.6, width: float = 8.0, centre=(0.0, 0.0)) -> Steady:
    """Entry 1 between closed walls (mirror images included): ∫ e^{−t/τ} N₂(s² + 2Dt) dt, averaged over cells."""
    grid = Grid(shape=(n, n), spacing=width / n)
    s = fwhm / FWHM

    def density():
        t, weight = formulas.life_nodes()
        kept = weight > 1e-18
        maps = spot_cells(grid, s**2 + 2 * D * TAU * t[kept], centre)
        return TAU * np.einsum("t,tij->ij", weight[kept], maps)

    source = spot_cells(grid, np.asarray(s**2), centre)
    return Steady("spot in a uniform film", grid, Medium(D, TAU), source, density, averaged=True)


def point_film(n: int, *, width: float = 8.0) -> Steady:
    """Entry 3 between closed walls: all light in the middle cell (`n` odd). Exact two cells away and further."""
    if n % 2 == 0:
        raise ValueError(f"point_film({n}): the light needs a middle cell; take an odd number of cells")
    grid = Grid(shape=(n, n), spacing=width / n)
    x, y = axes(grid)
    source = np.zeros(grid.shape)
    source[n // 2, n // 2] = 1 / float(grid.cell_area)

    def density():
        shifts = width * np.arange(-2, 3)
        r = np.sqrt((x[..., None, None] - shifts[:, None]) ** 2 + (y[..., None, None] - shifts) ** 2)
        r = np.maximum(r, 0.5 * width / n)
        return formulas.point_steady(r, diffusivity=D, lifetime=TAU).sum(axis=(-2, -1))

    return Steady("point in a uniform film", grid, Medium(D, TAU), source, density)


def disc_film(n: int, *, radius: float = 0.8, width: float = 9.0, samples: int = 32) -> Steady:
    """Entry 4 in a box whose walls, 8 L beyond the rim, add less than 1e-6. Rim cells carry their share of the disc."""
    grid = Grid(shape=(n, n), spacing=width / n)
    x, y = axes(grid)
    inside = (np.arange(samples) + 0.5) / samples - 0.5
    inside = inside * width / n
    r2 = (x[..., None, None] + inside[:, None]) ** 2 + (y[..., None, None] + inside) ** 2
    source = (r2 < radius**2).mean(axis=(-2, -1))

    def density():
        return formulas.disc_steady(np.hypot(x, y), diffusivity=D, lifetime=TAU, radius=radius)

    return Steady("disc in a uniform film", grid, Medium(D, TAU), source, density)


def mode_film(n: int) -> Steady:
    """Entry 8, exact on the grid itself: G = 1 + cos k(x + W/2) cos l(y + H/2) between closed walls."""
    grid = Grid(shape=(n, n + 3), spacing=(3.0 / n, 4.0 / (n + 3)))
    mode, eigenvalue = _mode(grid)
    return Steady("cosine mode", grid, Medium(D, TAU), 1 + mode, lambda: TAU * (1 + mode / (1 + D * TAU * eigenvalue)))


def _mode(grid: Grid) -> tuple[np.ndarray, float]:
    """The closed box's mode with two half waves along x and three along y, and its discrete eigenvalue."""
    x, y = axes(grid)
    height, width = (float(extent) for extent in grid.extent)
    k, l = 2 * np.pi / width, 3 * np.pi / height
    eigenvalue = formulas.mode_eigenvalue(k, float(grid.spacing[1])) + formulas.mode_eigenvalue(
        l, float(grid.spacing[0])
    )
    return np.cos(k * (x + width / 2)) * np.cos(l * (y + height / 2)), eigenvalue


def surface_film(n: int, *, velocity: float = np.inf, side: str = "left", width: float = 1.5) -> Steady:
    """Uniform generation beside a surface of recombination velocity `velocity`, along x or along y."""
    along_x = side in ("left", "right")
    grid = Grid(shape=(1, n) if along_x else (n, 1), spacing=width / n)
    depth = (np.arange(n) + 0.5) * width / n
    depth = depth if side in ("left", "bottom") else depth[::-1]

    def density():
        exact = formulas.surface_film(depth, diffusivity=D, lifetime=TAU, width=width, velocity=velocity)
        return exact.reshape(grid.shape)

    medium = Medium(D, TAU, surface=Surface(**{side: velocity}))
    return Steady(f"surface at the {side}", grid, medium, np.ones(grid.shape), density)


# ---------- structured films, steady


def half_planes(n: int, *, diffusivities=(0.02, 0.08), lifetimes=(2.0, 5.0), width: float = 6.0) -> Steady:
    """Entry 6, `n` even so that the border lies between two cells."""
    grid = Grid(shape=(1, n), spacing=width / n)
    x, _ = axes(grid)
    side = (x > 0).astype(int)
    medium = Medium(np.asarray(diffusivities)[side], np.asarray(lifetimes)[side])

    def density():
        return formulas.half_planes(x, diffusivities=diffusivities, lifetimes=lifetimes, half_width=width / 2)

    return Steady("two half-planes", grid, medium, np.ones(grid.shape), density)


def flow_film(n: int, *, periods: int = 4, depth: float = 1.0, width: float = 4.0) -> Effective:
    """Entry 14: excitons enter at the left and are quenched at the right of U = depth·kT·cos; nothing else takes them.

    n(x) = e^{−U} ∫ₓ^W F e^U/D dx′ with F the flux, here 1 − cos(πx/w) over 2 on the first w = W/16, then 1. Over whole
    periods ⟨e^U/D⟩ = (ne^U at the left)/(FW), from which D_eff follows.
    """
    grid = Grid(shape=(1, n), spacing=width / n)
    depths = (np.arange(n) + 0.5) * width / n
    entry = width / 16
    k = 2 * np.pi * periods / width

    def energy(x):
        return depth * np.cos(k * x)

    def diffusivity(x):
        return D * np.exp(0.4 * np.sin(k * x))

    def drop(x):
        """F e^U/D"""
        flux = np.where(x < entry, 0.5 - 0.5 * np.cos(np.pi * np.minimum(x / entry, 1.0)), 1.0)
        return flux * np.exp(energy(x)) / diffusivity(x)

    def density():
        nodes, weights = np.polynomial.legendre.leggauss(12)
        corners = np.sort(np.concatenate([[0.0, width, entry], depths]))
        size = np.diff(corners)[:, None]
        pieces = (drop(corners[:-1, None] + size * (nodes + 1) / 2) * weights * size / 2).sum(axis=1)
        rest = np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
        return (np.exp(-energy(depths)) * rest[np.searchsorted(corners, depths)])[None, :]

    edge = np.minimum(np.arange(n + 1) * width / n, entry)
    source = np.diff(0.5 - 0.5 * np.cos(np.pi * edge / entry))[None, :] * n / width
    fine = np.arange(4096) / 4096 * width / periods

    def effective(found):
        """The drop of ne^U across whole periods, away from the entry and from the quencher's half cell."""
        v = found[0] * np.exp(energy(depths))
        lag = n // periods
        start = int(np.ceil(entry / (width / n)))
        resistance = (v[start] - v[start + lag]) / (width / periods)
        return 1.0 / (resistance * np.mean(np.exp(-energy(fine))))

    unit = float(thermal_energy(Medium(D, TAU)))
    medium = Medium(diffusivity(depths)[None], np.inf, unit * energy(depths)[None], surface=Surface(right=np.inf))
    exact = formulas.lifson_jackson(diffusivity(fine), energy(fine))
    return Effective("periodic landscape", grid, medium, source, density, diffusivity=exact, effective=effective)


def checkerboard(n: int, *, contrast: float = 2.0) -> Effective:
    """Entry 15 (`n` even): from the middle of one tile to the middle of the next, a square of four quarter tiles.

    Symmetry closes the top and bottom and makes the left and right lines of equal density, 1 and 0: two perfect
    quenchers, the left one fed with the generation 2D/h² that holds its wall at 1. The flux across is D_eff = √(D₁D₂).
    The corner where four tiles meet is singular: no exact density, and an order below 2 that falls with the contrast.
    """
    grid = Grid(shape=(n, n), spacing=1.0 / n)
    x, y = axes(grid)
    first, second = D * np.sqrt(contrast), D / np.sqrt(contrast)
    diffusivity = np.where((x > 0) == (y > 0), first, second)
    source = np.zeros(grid.shape)
    source[:, 0] = 2 * diffusivity[:, 0] * n**2

    def effective(found):
        return float(np.sum(2 * diffusivity[:, -1] * found[:, -1]))

    def density():
        raise NotImplementedError("the checkerboard's density has no closed form; its D_eff has")

    medium = Medium(diffusivity, np.inf, surface=Surface(left=np.inf, right=np.inf))
    exact = formulas.dykhne(first, second)
    return Effective("checkerboard", grid, medium, source, density, diffusivity=exact, effective=effective)


# ---------- in time


def spreading_pulse(n: int, *, fwhm: float = 0.6, width: float = 6.0, centre=(0.4, -0.3)) -> Evolution:
    """Entry 7 between closed walls: variance s² + 2Dt, number e^{−t/τ}, averaged over cells."""
    grid = Grid(shape=(n, n), spacing=width / n)
    s = fwhm / FWHM

    def density(times):
        variance = formulas.spreading_variance(times, diffusivity=D, s=s)
        return np.exp(-np.asarray(times) / TAU)[:, None, None] * spot_cells(grid, variance, centre)

    initial = spot_cells(grid, np.asarray(s**2), centre)
    times = np.array([0.5, 2.0, 8.0])
    return Evolution("spreading pulse", grid, Medium(D, TAU), initial, times, density, averaged=True)


def decaying_mode(n: int) -> Evolution:
    """Entry 8 in time, exact on the grid itself."""
    grid = Grid(shape=(n, n + 3), spacing=(3.0 / n, 4.0 / (n + 3)))
    mode, eigenvalue = _mode(grid)

    def density(times):
        t = np.asarray(times)[:, None, None]
        return np.exp(-t / TAU) * (1 + mode * np.exp(-D * eigenvalue * t))

    return Evolution("decaying mode", grid, Medium(D, TAU), 1 + mode, np.array([0.1, 1.0, 10.0]), density)


def harmonic_trap(n: int, *, fwhm: float = 0.3, stiffness: float = 10.0, width: float = 4.0) -> Evolution:
    """Entry 11: U/kT = κr²/2 with κ = 10/µm²; the walls, at 20 kT, hold less than 1e-8 of the excitons."""
    grid = Grid(shape=(n, n), spacing=width / n)
    x, y = axes(grid)
    s = fwhm / FWHM
    unit = float(thermal_energy(Medium(D, TAU)))

    def density(times):
        variance = formulas.trap_variance(times, diffusivity=D, stiffness=stiffness, s=s)
        return np.exp(-np.asarray(times) / TAU)[:, None, None] * spot_cells(grid, variance, images=0)

    medium = Medium(D, TAU, landscape=unit * stiffness * (x**2 + y**2) / 2)
    initial = spot_cells(grid, np.asarray(s**2), images=0)
    return Evolution("harmonic trap", grid, medium, initial, np.array([0.3, 1.5, 6.0]), density, averaged=True)


def quenched_depth(n: int, *, width: float = 0.5, absorption: float = 2.0) -> Evolution:
    """Entry 12: light absorbed as e^{−αx}, entering through a perfect quencher at the left."""
    grid = Grid(shape=(1, n), spacing=width / n)
    x = (np.arange(n) + 0.5) * width / n

    def density(times):
        exact = formulas.quenched_depth(
            x, times, diffusivity=D, lifetime=TAU, width=width, absorption=absorption, terms=4000
        )
        return exact[:, None, :]

    medium = Medium(D, TAU, surface=Surface(left=np.inf))
    initial = np.exp(-absorption * x)[None, :]
    return Evolution("quencher", grid, medium, initial, np.array([0.2, 1.0, 4.0]), density)


# ---------- the film of the published timings


def random_film(n: int, *, seed: int = 0, roughness=(0.6, 0.2, 1.5), correlation: float = 0.3) -> Steady:
    """P2: ln D, ln τ and U/kT are Gaussian random fields of standard deviations `roughness`, the same at every `n`.

    10 × 10 µm, a spot of FWHM 0.3 µm and peak 1 in the middle. Each field is a cosine series with random coefficients
    falling as e^{−(k² + l²)c²/4}, scaled to unit variance on 256 × 256 cells. The density has no closed form.
    """
    width = 10.0
    grid = Grid(shape=(n, n), spacing=width / n)
    d, tau, energy = (
        deviation * _random_field(n, 10 * seed + i, correlation, width)
        for i, deviation in zip((1, 2, 3), roughness, strict=True)
    )
    unit = float(thermal_energy(Medium(D, TAU)))
    x, y = axes(grid)
    source = np.exp(-(x**2 + y**2) / (2 * (0.3 / FWHM) ** 2))

    def density():
        raise NotImplementedError("a random film has no closed form; compare with another solver")

    return Steady("random film", grid, Medium(D * np.exp(d), TAU * np.exp(tau), unit * energy), source, density)


def _random_field(n: int, seed: int, correlation: float, width: float, modes: int = 64) -> np.ndarray:
    """A Gaussian random field of mean 0 and variance 1."""
    k = np.pi * np.arange(modes) / width
    fall = np.exp(-(k**2) * correlation**2 / 4)
    coefficients = np.random.default_rng(seed).standard_normal((modes, modes)) * np.outer(fall, fall)
    coefficients[0, 0] = 0.0

    def sampled(cells):
        waves = np.cos(np.outer((np.arange(cells) + 0.5) * width / cells, k))
        return waves @ coefficients @ waves.T

    reference = sampled(256)
    return (sampled(n) - reference.mean()) / reference.std()
