"""What films simulated exciton by exciton should show: the solver's populations, seen through each instrument.

Every instrument here spreads light that is even within cells (of the film, of time) with a Gaussian and counts it
between edges (of pixels, of time bins), so that one matrix serves them all,

    W_pc = (1/c) ∫_pixel ∫_cell N(r − r′; σ²) dr′ dr        (`pixel_weights`: exact, for any σ)

and with the counts expected at given parameters goes the question whether the photons are those (`Held`). A spot in
the middle of a film that is alike all round needs one quarter of it: closed walls along both axes are mirrors.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.optimize import fminbound
from scipy.special import ndtr

from benchmarks.problems import edges
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.likelihood import goodness
from excidiff.solver import Disorder, Grid, Medium, Traps, gaussian_spot, steady_state, time_integral
from excidiff.solver.source import FWHM

PLANCK_C = 1_239_841.984
"""h c in meV nm."""
PHOTONS = Detector()


@dataclass(frozen=True)
class Held:
    """Counts against what is expected of them; `fitted` numbers were taken from the counts."""

    counts: np.ndarray
    expected: np.ndarray
    fitted: int = 0

    @property
    def z(self) -> float:
        """(deviance − its expectation under the law)/its standard deviation."""
        return goodness(self.counts.ravel(), self.expected.ravel(), PHOTONS, fitted=self.fitted).z

    @property
    def excess(self) -> float:
        """All counts less all that are expected, in standard deviations."""
        total = self.expected.sum()
        return float((self.counts.sum() - total) / np.sqrt(total))

    @cached_property
    def residuals(self) -> np.ndarray:
        """(counts − expected)/√expected."""
        return (self.counts - self.expected) / np.sqrt(self.expected)

    @property
    def likeness(self) -> float:
        """Σ r r′ over neighbours along every axis, in standard deviations: 0 ± 1 where they err independently.

        Under the law r and r′ are independent, of mean 0 and variance 1, so that each product has variance 1.
        """
        r, pairs = self.residuals, []
        for axis in range(r.ndim):
            ahead, behind = (np.take(r, range(*span), axis) for span in ((1, r.shape[axis]), (0, r.shape[axis] - 1)))
            pairs.append((ahead * behind).ravel())
        products = np.concatenate(pairs)
        return float(products.sum() / np.sqrt(products.size))

    def coarse(self, *blocks: int) -> "Held":
        """The same counts in blocks of so many pixels along every axis; what fills no block joins the last one."""
        return Held(gathered(self.counts, blocks), gathered(self.expected, blocks), self.fitted)

    def rings(self, width: float = 2.0) -> "Held":
        """The same counts of an image in rings about its middle, `width` pixels wide."""
        y, x = (np.arange(n) - (n - 1) / 2 for n in self.counts.shape)
        ring = (np.hypot(x[None, :], y[:, None]) / width).astype(int).ravel()
        counts, expected = (np.bincount(ring, values.ravel()) for values in (self.counts, self.expected))
        return Held(counts, expected, self.fitted)


def gathered(values: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """Sums over blocks."""
    for axis, block in enumerate(blocks):
        starts = np.arange(0, max(values.shape[axis] - block + 1, 1), block)
        values = np.add.reduceat(values, starts, axis)
    return values


def scale(counts: list[np.ndarray], shapes: list[np.ndarray], backgrounds: list[float]) -> float:
    """The one factor that gives all `shapes` together, each on its background per pixel, as many photons as counted."""
    photons = sum(float(c.sum()) - b * c.size for c, b in zip(counts, backgrounds, strict=True))
    return photons / sum(float(shape.sum()) for shape in shapes)


def scale_and_background(counts: np.ndarray, shape: np.ndarray) -> tuple[float, float]:
    """The likeliest a, b of a shape + b. At the optimum as many photons are expected as were counted."""

    def scaled(b: float) -> float:
        return scale([counts], [shape], [b])

    def cost(b: float) -> float:
        expected = scaled(b) * shape + b
        return float((expected - counts * np.log(expected)).sum())

    b = float(np.asarray(fminbound(cost, 0.0, 0.9 * counts.mean())))
    return scaled(b), b


class Quarter(NamedTuple):
    """The quarter x, y > 0 of a square film whose light falls on its middle, cells of `spacing` (µm)."""

    grid: Grid

    @classmethod
    def make(cls, half_width: float, spacing: float) -> "Quarter":
        """At least `half_width` µm from the middle to the walls."""
        count = int(np.ceil(half_width / spacing))
        return cls(Grid((count, count), spacing))

    def spot(self, *, fwhm: float, total: float):
        """A spot of `total` excitons on the whole film."""
        height, width = self.grid.extent
        return gaussian_spot(self.grid, fwhm=fwhm, total=total / 4, centre=(-width / 2, -height / 2))

    def whole(self, field) -> np.ndarray:
        """The whole film, mirrored in both axes (the last two)."""
        half = np.concatenate([np.flip(field, -1), field], -1)
        return np.concatenate([np.flip(half, -2), half], -2)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the whole film's cells, µm from its middle, along either axis."""
        count = self.grid.shape[0]
        return np.arange(-count, count + 1) * float(self.grid.spacing[0])


def spread(cells: np.ndarray, pixels: np.ndarray, fwhm: float) -> np.ndarray:
    """W, (pixels, cells), from the edges of both; `fwhm` of the Gaussian between them."""
    return np.asarray(pixel_weights(jnp.asarray(cells), jnp.asarray(pixels), jnp.asarray(fwhm / FWHM)))


def camera(field: np.ndarray, cells: tuple[np.ndarray, np.ndarray], pixels: tuple[np.ndarray, np.ndarray], fwhm: float):
    """What each pixel gets of a field per µm² on cells: (…, rows, columns); edges are (y, x)."""
    rows, columns = (spread(c, p, fwhm) for c, p in zip(cells, pixels, strict=True))
    rows, columns = (w * np.diff(c)[None, :] for w, c in zip((rows, columns), cells, strict=True))
    return rows @ field @ columns.T


# Traps that fill: single pulses of rising density


def filled_traps(truth: dict[str, Any], peak: float, quarter: Quarter, gates: np.ndarray):
    """(image, decay): ∫ n dt up to the last gate on the whole film, ns/µm², and ∫∫ n dt dA of each gate, ns.

    A spot of the peak density n₀ holds 2πs² n₀ excitons.
    """
    traps = Traps(
        truth["trap_density_per_um2"],
        truth["capture_um2_per_ns"],
        truth["release_per_ns"],
        truth["trap_lifetime_ns"],
    )
    medium = Medium(truth["diffusivity_um2_per_ns"], truth["lifetime_ns"], traps=traps)
    fwhm = truth["laser_fwhm_um"]
    pulse = quarter.spot(fwhm=fwhm, total=2 * np.pi * (fwhm / FWHM) ** 2 * peak)
    found = np.asarray(time_integral(medium, pulse, quarter.grid, edges=jnp.asarray(gates), rtol=1e-3).density)
    return quarter.whole(found.sum(0)), 4 * found.sum((1, 2)) * float(quarter.grid.cell_area)


# Patches of traps: a map of trapping rates under a spot that moves


def patches(grid: Grid, background: float, discs: list[list[float]], finer: int = 8) -> np.ndarray:
    """Averages over the cells of a rate that is higher inside discs (x, y, radius, extra): `finer`² samples a cell."""
    fine = Grid(tuple(finer * n for n in grid.shape), tuple(float(h) / finer for h in grid.spacing))
    x, y = np.asarray(fine.x)[None, :], np.asarray(fine.y)[:, None]
    rate = np.full(grid.shape, background)
    for centre_x, centre_y, radius, extra in discs:
        inside = np.hypot(x - centre_x, y - centre_y) < radius
        rate += extra * inside.reshape(grid.shape[0], finer, grid.shape[1], finer).mean((1, 3))
    return rate


def patched(truth: dict[str, Any], rate: np.ndarray, grid: Grid, position, pixels: np.ndarray) -> np.ndarray:
    """Photons per pixel from the spot at `position` (x, y): n/τ of the free excitons, the trapped ones are dark."""
    medium = Medium(truth["diffusivity_um2_per_ns"], truth["lifetime_ns"], traps=Traps.linear(jnp.asarray(rate)))
    centre = tuple(float(c) for c in position)
    light = gaussian_spot(grid, fwhm=truth["laser_fwhm_um"], total=truth["excitons_per_spot"], centre=centre)
    density = np.asarray(steady_state(medium, light, grid, rtol=1e-6).density)
    seen = camera(density, edges(grid), (pixels, pixels), truth["psf_fwhm_um"])
    return seen / truth["lifetime_ns"] + truth["background_per_pixel"]


# Site energies: spectra against position


class Populations(NamedTuple):
    """∫ n_k dt of every energy bin on a quarter of the film, ns/µm², and the bins' energies, meV."""

    by_energy: np.ndarray
    energies: np.ndarray


def relaxed(truth: dict[str, Any], quarter: Quarter, bins: int) -> Populations:
    """All excitons that a film of site energies gave `photons` photons for.

    Each exciton emits from where it is free with the probability τ_f/τ, and from a trap with y k τ_f.
    """
    trapping, lifetime = truth["trap_rate_per_ns"], truth["lifetime_ns"]
    share = truth["free_lifetime_ns"] * (1 / lifetime + truth["trap_yield"] * trapping)
    disorder = Disorder(truth["disorder_sigma_meV"], truth["relaxation_attempts_per_ns"], bins=bins)
    medium = Medium(truth["diffusivity_um2_per_ns"], lifetime, temperature=truth["temperature_K"],
                    traps=Traps.linear(trapping), disorder=disorder)  # fmt: skip
    light = quarter.spot(fwhm=truth["laser_fwhm_um"], total=truth["photons"] / share)
    found = steady_state(medium, light, quarter.grid, rtol=1e-6)
    return Populations(np.asarray(found.by_energy), np.asarray(found.energies))


def band(centres, width: float, wavelengths: np.ndarray) -> np.ndarray:
    """Shares (centres, wavelength bins) of Gaussian lines in energy between the edges `wavelengths` (nm, rising)."""
    energies = PLANCK_C / wavelengths
    return -np.diff(ndtr((energies[None, :] - np.atleast_1d(centres)[:, None]) / width), axis=1)


def spectra(
    truth: dict[str, Any], found: Populations, quarter: Quarter, positions: np.ndarray, wavelengths: np.ndarray
):
    """Photons (positions, wavelength bins) in square cells along y = 0, from the edges of both.

    The excitons of a bin of width w stand at its middle, which alone makes any smooth band wider by w²/12; the line is
    narrower by as much (Sheppard's correction), so that the spectrum converges with the fourth power of w.
    """
    step = truth["step_um"]
    slit = np.array([-step / 2, step / 2])
    film = (quarter.edges, quarter.edges)
    seen = camera(quarter.whole(found.by_energy), film, (slit, positions), truth["collection_fwhm_um"])[:, 0].T
    width = np.sqrt(truth["linewidth_sigma_meV"] ** 2 - np.diff(found.energies)[0] ** 2 / 12)
    lines = band(found.energies + truth["dot_energy_meV"] - truth["stokes_shift_meV"], width, wavelengths)
    free = seen @ lines / truth["lifetime_ns"]
    caught = truth["trap_yield"] * truth["trap_rate_per_ns"] * seen.sum(1, keepdims=True)
    return free + caught * band(truth["trap_energy_meV"], truth["trap_width_meV"], wavelengths)


# Two components: a decay in one period of the laser


def wrapped_decay(truth: dict[str, Any], bins: np.ndarray, step: float = 0.01) -> np.ndarray:
    """Share of the photons in each bin (edges in ns): films of two lifetimes, in the steady state of the pulse train.

    The solver gives each film's light between close times of a period; those cells of time, once more in the period
    before and after, are spread by the instrument's response.
    """
    period = truth["period_ns"]
    gates = jnp.linspace(0.0, period, round(period / step) + 1)
    one = Grid((1, 1), 1.0)
    light = np.zeros(gates.size - 1)
    for component in truth["components"]:
        lifetime = component["lifetime_ns"]
        pulse = jnp.full((1, 1), component["photon_fraction"])
        found = time_integral(Medium(1.0, lifetime), pulse, one, edges=gates, period=period)
        light += np.asarray(found.density)[:, 0, 0] / lifetime
    cells = truth["pulse_at_ns"] + np.asarray(gates)
    around = [spread(cells + k * period, bins, truth["irf_fwhm_ns"]) @ light for k in (-1, 0, 1)]
    return np.sum(around, axis=0)
