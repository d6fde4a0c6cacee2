"""The fit of a spectral map: how far excitons go and how fast they sink in energy, from all its counts at once.

The start comes from the data: the band from the sum of all spectra, the length from the light of all colours against
position, and relaxation and disorder from a lattice of both whose best points are each fitted. Traps' band and
relaxation are in the fit where they explain significantly more.
"""

from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.colours import SPECTRAL, Places, spectra, spectral_model
from excidiff.inverse.fit.fitted import Fitted, solved
from excidiff.inverse.fit.landscape import ROOM
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optimise import Knowledge, Optimum
from excidiff.inverse.fit.parameters import Constraints, inner
from excidiff.inverse.fit.prediction import steady_nodes
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.start import FWHM
from excidiff.solver.medium import BOLTZMANN
from excidiff.solver.solution import InputError, SolverError

ROUND = 16  # places and colours, of which the arrays have a multiple, so that one program serves many maps
POINT = 1e-3  # µm: the size of a cell that is as good as a point
WORTH = 15.0  # by how much the deviance must fall for relaxation (two numbers) or a band of traps (three): 1 in 1000
ATTEMPTS = (0.4, 1.5, 6.0)  # in a lifetime, where the search starts
PARTS = (0.3, 0.6, 0.85)  # of the band's width that is disorder, there
DEEPEST = 6.0  # k_BT: more disorder than that a film with one mobility cannot be solved for
NONE = 1e-6  # attempts in a lifetime that are as good as none
RELAXING = ("attempts", "disorder")
TRAPPED = ("trap_band_centre", "trap_band_width", "trap_band_share")
BELOW = (2.5, 3.5, 4.5, 6.0)  # widths of the band below its centre, where a band of traps is looked for


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralFit(Fitted):
    """One fit: parameters of `SPECTRAL` in the fit's own numbers; arrays (y, x, colour).

    relaxing, trapped: whether energy relaxation and a band of traps are in it.
    """

    expected: Float64[np.ndarray, "y x colour"]
    counts: Float64[np.ndarray, "y x colour"]
    variance: Float64[np.ndarray, "y x colour"]
    photons: bool
    relaxing: bool
    trapped: bool


def fit_spectral_map(
    measured: SpectralMap,
    known: Known,
    constraints: Constraints,
    *,
    temperature: float = ROOM,
    relaxing: bool | None = None,
) -> SpectralFit:
    """Fit a uniform film to a spectral map; `known`: the width of laser ⊗ collection, log µm, with its error.

    relaxing: whether excitons relax in energy; None: if that explains significantly more. A band of traps is in the
    fit if it does. temperature: K. Raises InputError where no band of light stands out of the background.
    """
    search = _Search(measured, known, constraints, temperature)
    best = search.best(search.plain_start(), frozen=(*RELAXING, *TRAPPED))
    best, traps = search.with_traps(best, RELAXING)
    moved = False
    if relaxing is None or relaxing:
        frozen = () if traps else TRAPPED
        starts = search.relaxing_starts(best)
        found = min((search.best(start, frozen=frozen) for start in starts), key=lambda one: one.objective)
        if not traps:
            found, traps_now = search.with_traps(found, ())
        else:
            traps_now = True
        if relaxing or found.objective < best.objective - WORTH:
            best, traps, moved = found, traps_now, True
    frozen = (*(() if moved else RELAXING), *(() if traps else TRAPPED))
    starts = constraints.starting(SPECTRAL, best.parameters)
    best = min((search.best(start, frozen=frozen) for start in starts), key=lambda one: one.objective)
    return search.result(best, frozen, relaxing=moved, trapped=traps)


class _Search:
    """One map, ready to be fitted: its arrays, its limits, and where to start."""

    def __init__(self, measured: SpectralMap, known: Known, constraints: Constraints, temperature: float):
        self.measured, self.constraints, self.known = measured, constraints, known
        self.noise = "poisson" if measured.uncertainty is None else "gaussian"
        half_x, half_y = max(measured.step, POINT) / 2, max(measured.slit, POINT) / 2
        shape = measured.counts.shape
        x, y = _padded(measured.x, shape[1]), measured.y
        edges = _padded(measured.edges, shape[2])
        nodes, thermal = steady_nodes(), np.asarray(BOLTZMANN * temperature)
        self.places = jax.device_put(Places(x - half_x, x + half_x, y - half_y, y + half_y, edges, thermal, nodes))
        self.counts = jax.device_put(_counts(measured, x.size, edges.size - 1))
        self.shape, self.thermal = shape, float(thermal)
        self.band = _band(measured)
        self.knowledge = self._limits()

    def plain_start(self) -> Float64[np.ndarray, " P"]:
        """Without relaxation and traps: the band of the sum of all spectra, and the length that the light asks for."""
        centre, width, ground = self.band
        log_width = float(self.known.mean[0])
        profile = self.measured.counts.sum(2) - ground * self.shape[2]
        middle, height = self._middle(profile)
        values = {"attempts": np.log(NONE), "disorder": np.log(1e-2 * width), "linewidth": np.log(width),
                  "band_centre": centre, "trap_band_centre": centre - 4 * width, "trap_band_width": np.log(width),
                  "trap_band_share": 0.0, "width": log_width, "centre_x": middle, "centre_y": height,
                  "background": max(ground, 1e-3)}  # fmt: skip
        found = []
        for ratio in np.geomspace(0.1, 30, 10):
            start = np.array([values.get(name, 0.0) for name in SPECTRAL])
            start[0] = log_width + np.log(ratio)
            found.append(self._bright(start))
        return min(found, key=self._misfit)

    def relaxing_starts(self, plain: Optimum) -> list[Float64[np.ndarray, " P"]]:
        """From a fit without relaxation, the two best points of a lattice of attempts and disorder."""
        width = float(np.exp(plain.parameters[SPECTRAL.index("linewidth")]))
        found = []
        most = 0.95 * DEEPEST * self.thermal / width
        for attempts, part in product(ATTEMPTS, PARTS):
            part, start = min(part, most), plain.parameters.copy()
            own = {"attempts": np.log(attempts), "disorder": np.log(part * width),
                   "linewidth": np.log(np.sqrt(1 - part**2) * width)}  # fmt: skip
            for name, value in own.items():
                start[SPECTRAL.index(name)] = value
            sunk = (part * width) ** 2 / self.thermal * attempts / (1 + attempts)
            start[SPECTRAL.index("band_centre")] += sunk / 2
            found.append(self._bright(start))
        return sorted(found, key=self._misfit)[:2]

    def with_traps(self, before: Optimum, frozen: tuple[str, ...]) -> tuple[Optimum, bool]:
        """The fit with a band of traps below the other if that is worth it, and whether it was."""
        told = self.constraints.fixed.get("trap_band_share")
        if told == 0:
            return before, False
        at = {name: SPECTRAL.index(name) for name in SPECTRAL}
        centre, _, _ = self.band
        width = float(np.exp(before.parameters[at["linewidth"]]))
        lowest, tried = float(self.measured.edges.min()), []
        for below, wider in product(BELOW, (1.0, 1.8)):
            if centre - below * width < lowest:
                continue
            start = before.parameters.copy()
            start[at["trap_band_centre"]] = centre - below * width
            start[at["trap_band_width"]] = np.log(wider * width)
            start[at["trap_band_share"]] = 0.03 if told is None else told
            tried.append(start)
        if not tried:
            return before, False
        found = self.best(min(tried, key=self._misfit), frozen=frozen)
        good = found.objective < before.objective - WORTH and found.parameters[at["trap_band_share"]] > 0
        return (found, True) if good or told else (before, False)

    def best(self, start, *, frozen: tuple[str, ...] = ()) -> Optimum:
        """The optimum from `start` with parameters `frozen` where they start."""
        return self.problem(start, frozen).fit(self._pinned(start))

    def problem(self, start, frozen: tuple[str, ...]) -> Problem:
        """What is to be solved with parameters `frozen` where they start."""
        these, at = self.knowledge, self._pinned(start)
        free = these.free & ~np.isin(SPECTRAL, frozen)
        lower = np.where(free, these.lower, np.minimum(these.lower, at))
        upper = np.where(free, these.upper, np.maximum(these.upper, at))
        these = these._replace(free=free, lower=lower, upper=upper)
        return Problem(
            model=spectral_model, counts=self.counts, knowledge=these, arguments=(self.places,), noise=self.noise
        )

    def _pinned(self, start) -> Float64[np.ndarray, " P"]:
        """`start` with what is fixed at its value."""
        these, at = self.knowledge, np.array(start)
        fixed = ~these.free & (these.precision.diagonal() <= 0)
        at[fixed] = these.centre[fixed]
        return at

    def result(self, best: Optimum, frozen: tuple[str, ...], *, relaxing: bool, trapped: bool) -> SpectralFit:
        """What the fit found, with its errors."""
        if not np.isfinite(best.parameters).all():
            raise SolverError(f"{self.measured.file}: the fit met numbers that are not finite; look for stray counts")
        cut, errors = np.s_[:, : self.shape[1], : self.shape[2]], self.measured.uncertainty
        expected = np.asarray(best.expected)[cut]
        return SpectralFit(
            **solved(self.problem(best.parameters, frozen), best, SPECTRAL),
            expected=expected,
            counts=self.measured.counts,
            variance=expected if errors is None else errors**2,
            photons=errors is None,
            relaxing=relaxing,
            trapped=trapped,
        )

    def _bright(self, start: np.ndarray) -> np.ndarray:
        """The same start with the amplitude and background that suit it best."""
        at, ground = SPECTRAL.index("amplitude"), SPECTRAL.index("background")
        start = start.copy()
        start[at], start[ground] = 0.0, 0.0
        shape = self._shape(start).ravel()
        counts = self.measured.counts.ravel()
        design = np.stack([shape, np.ones_like(shape)], axis=1)
        weight = (
            1 / np.sqrt(counts + 1.0) if self.measured.uncertainty is None else 1 / self.measured.uncertainty.ravel()
        )
        size, dark = np.linalg.lstsq(design * weight[:, None], counts * weight, rcond=None)[0]
        total = float(np.abs(counts).sum())
        start[at] = np.log(max(float(size), 1e-3 * total / max(float(shape.sum()), 1e-300)))
        start[ground] = max(float(dark), 0.05 * total / counts.size / 10)
        return start

    def _misfit(self, start: np.ndarray) -> float:
        """Neyman's χ² of a start, to compare it with others."""
        errors = self.measured.uncertainty
        law = self.measured.counts + 1.0 if errors is None else errors**2
        return float(((self.measured.counts - self._shape(start)) ** 2 / law).sum())

    def _shape(self, start: np.ndarray) -> np.ndarray:
        return np.asarray(_spectra(jnp.asarray(start), self.places))[:, : self.shape[1], : self.shape[2]]

    def _middle(self, profile: np.ndarray) -> tuple[float, float]:
        """Where the light is, (x, y): the middle of what is above half of the brightest; of a line y is zero."""
        found = []
        for axis, places in ((0, self.measured.x), (1, self.measured.y)):
            row = profile.sum(axis)
            above = np.clip(row - 0.5 * row.max(), 0.0, None)
            found.append(float((above * places).sum() / above.sum()))
        return found[0], found[1] if self.measured.y.size > 1 else 0.0

    def _limits(self) -> Knowledge:
        """Where the data can tell anything at all, narrowed by what was said."""
        measured, (centre, width, _) = self.measured, self.band
        spot = float(np.exp(self.known.mean[0]))
        bright = float(np.abs(measured.counts).sum())
        low, high = float(measured.edges.min()), float(measured.edges.max())
        span, field = high - low, float(np.ptp(measured.x)) + spot
        dark = 1e-7 * bright / measured.counts.size if measured.uncertainty is None else -np.inf
        natural = {
            "diffusion_length": (0.02 * spot, 40 * field),
            "attempts": (1e-3, 1e5),
            "disorder": (min(1e-2 * width, DEEPEST * self.thermal / 2), min(2 * width, DEEPEST * self.thermal)),
            "linewidth": (1e-2 * width, 2 * width),
            "band_centre": (low - span, high + span),
            "trap_band_centre": (low - span, centre - width),
            "trap_band_width": (0.1 * width, span),
            "trap_band_share": (0.0, 0.95),
            "width": (spot / 4, spot * 4),
            "centre_x": (float(measured.x.min()) - field, float(measured.x.max()) + field),
            "centre_y": (float(measured.y.min()) - field, float(measured.y.max()) + field),
            "amplitude": (1e-9 * bright, np.inf),
            "background": (dark, np.inf),
        }
        lower, upper = (np.array([inner(name, natural[name][side]) for name in SPECTRAL]) for side in (0, 1))
        lower, upper = self.constraints.apply(SPECTRAL, lower, upper)
        size, free = len(SPECTRAL), np.ones(len(SPECTRAL), bool)
        middle, precision = np.zeros(size), np.zeros((size, size))
        at = SPECTRAL.index("width")
        middle[at], free[at] = self.known.mean[0], bool(self.known.covariance[0, 0] > 0)
        free[SPECTRAL.index("centre_y")] = measured.y.size > 1
        if free[at]:
            precision[at, at] = 1 / self.known.covariance[0, 0]
        middle, precision = self.constraints.weighed(SPECTRAL, middle, precision)
        for name, value in self.constraints.fixed.items():
            index = SPECTRAL.index(name)
            free[index], middle[index] = False, inner(name, value)
        return Knowledge(middle, precision, lower, upper, free)


_spectra = jax.jit(spectra)


def _band(measured: SpectralMap) -> tuple[float, float, float]:
    """(centre meV, width σ meV, background per bin) of the sum of all spectra: at half height, and where darkest."""
    counts = measured.counts.reshape(-1, measured.counts.shape[-1])
    ground = float(np.quantile(counts[:, : max(counts.shape[1] // 8, 1)].mean(0), 0.25))
    ground = min(ground, float(np.quantile(counts[:, -max(counts.shape[1] // 8, 1) :].mean(0), 0.25)))
    whole = counts.sum(0) - ground * counts.shape[0]
    smooth = np.convolve(whole, np.ones(5) / 5, mode="same")
    top = int(np.argmax(smooth))
    above = np.flatnonzero(smooth > 0.5 * smooth[top])
    inside = above[np.abs(above - top) <= above.size]
    energy, steps = measured.energy, np.abs(np.diff(measured.edges))
    width = float(steps[inside].sum()) / FWHM
    if not smooth[top] > 0 or inside.size < 2 or inside.size > 0.9 * whole.size:
        raise InputError(
            f"{measured.file}: no band stands out of the background; a spectral map needs a band that is wider than "
            "two bins and narrower than the spectrum"
        )
    light = smooth[inside] * steps[inside]
    return float((light * energy[inside]).sum() / light.sum()), width, max(ground, 0.0)


def _counts(measured: SpectralMap, places: int, colours: int) -> Counts:
    """The counts, padded where nothing is used."""
    rows = measured.counts.shape[0]
    cut = np.s_[:, : measured.counts.shape[1], : measured.counts.shape[2]]
    whole, used, floor = (np.zeros((rows, places, colours)) for _ in range(3))
    whole[cut], used[cut] = measured.counts, 1.0
    if measured.uncertainty is not None:
        floor += 1.0
        floor[cut] = measured.uncertainty**2
    return Counts(whole, used, np.ones_like(whole), floor, np.asarray(1.0))


def _padded(axis: np.ndarray, count: int) -> np.ndarray:
    """An axis of `count` places, or of their edges, carried on to a multiple of `ROUND`."""
    more = -count % ROUND
    step = float(np.mean(np.diff(axis))) if axis.size > 1 else 1.0
    return np.concatenate([axis, axis[-1] + step * np.arange(1, more + 1)])
