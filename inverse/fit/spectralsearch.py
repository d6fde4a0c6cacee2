"""Where the fit of a spectral map starts and how it goes on: without start values from anybody.

The start comes from the data: the band from the sum of all spectra, the length from the light of all colours against
position, and relaxation and disorder from a lattice of both whose best points are each fitted. A band of traps is in
the fit where it explains significantly more. Of a Voigt line several shares of the Lorentzian are tried; of a film
that guides light, several lengths and outcouplings, since guided light looks like a longer length.
"""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.absorption import Absorption
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.colours import RELAXING, model_of, names_of, spectra
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optimise import Knowledge, Optimum
from excidiff.inverse.fit.parameters import Constraints, inner
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.spectrograph import band_of, counts_of, field_of, middle_of, places_of
from excidiff.inverse.fit.start import FWHM
from excidiff.solver.medium import BOLTZMANN

WORTH = 15.0  # by how much the deviance must fall for relaxation (two numbers) or a band of traps (three): 1 in 1000
ATTEMPTS = (0.4, 1.5, 6.0)  # in a lifetime, where the search starts
PARTS = (0.3, 0.6, 0.85)  # of the band's width that is disorder, there
DEEPEST = 6.0  # k_BT: more disorder than that a film with one mobility cannot be solved for
NONE = 1e-6  # attempts in a lifetime that are as good as none
TRAPPED = ("trap_band_centre", "trap_band_width", "trap_band_share")
BELOW = (2.5, 3.5, 4.5, 6.0)  # widths of the band below its centre, where a band of traps is looked for
WINGS = (0.05, 0.25, 0.5, 0.8)  # of the band's FWHM that the Lorentzian of a Voigt line has, where the search starts
SHORTER = (0.35, 0.6, 0.8, 1.0)  # of the length without guided light, where the search for it starts
ARRIVING = (0.01, 0.05, 0.2, 0.8)  # of the direct light that guided light would be in the field, there
LOSS = 0.3  # of guided light across the field, there
OUT, LOST = 1e-5, 1e-3  # across the field: as good as no outcoupling, and no loss beside absorption
WINGLESS = 1e-4  # of the band: as good as no Lorentzian, which counts in proportion, and a Gaussian by its square
MOST_OUT, MOST_LOST = 10.0, 1.0  # across the spot: more guided light than direct, and lost where it was emitted


class SpectralSearch:
    """One map, ready to be fitted: its arrays, its limits, and where to start."""

    def __init__(
        self,
        measured: SpectralMap,
        known: Known,
        constraints: Constraints,
        temperature: float,
        line: str,
        absorption: Absorption | None = None,
    ):
        self.measured, self.known, self.line = measured, known, line
        self.names = names_of(line, guiding=absorption is not None)
        self.at = {name: index for index, name in enumerate(self.names)}
        self.guiding = absorption is not None
        self.constraints = constraints.without({*names_of("voigt", guiding=True), *RELAXING} - {*self.names})
        self.noise = "poisson" if measured.uncertainty is None else "gaussian"
        self.thermal, self.spot = float(BOLTZMANN * temperature), float(np.exp(known.mean[0]))
        self.places = places_of(measured, self.thermal, self.spot, absorption)
        self.counts, self.shape = counts_of(measured, self.places), measured.counts.shape
        self.field = field_of(measured, self.spot)
        self.band = band_of(measured)
        self.knowledge = self._limits()

    def plain_start(self) -> Float64[np.ndarray, " P"]:
        """Nothing but spreading: the band of the sum of all spectra, and the length that the light asks for."""
        centre, width, ground = self.band
        log_width = float(self.known.mean[0])
        profile = self.measured.counts.sum(2) - ground * self.shape[2]
        middle, height = middle_of(self.measured, profile)
        values = {"attempts": np.log(NONE), "disorder": np.log(1e-2 * width), "linewidth": np.log(width),
                  "band_centre": centre, "trap_band_centre": centre - 4 * width, "trap_band_width": np.log(width),
                  "trap_band_share": 0.0, "width": log_width, "centre_x": middle, "centre_y": height,
                  "background": max(ground, 1e-3), "outcoupling": np.log(NONE / self.field),
                  "guiding_loss": np.log(LOSS / self.field)}  # fmt: skip
        found = []
        for ratio, own in product(np.geomspace(0.1, 30, 10), self._line_starts()):
            start = np.array([{**values, **own}.get(name, 0.0) for name in self.names])
            start[self.at["diffusion_length"]] = log_width + np.log(ratio)
            found.append(self._bright(start))
        return min(found, key=self._misfit)

    def _line_starts(self) -> list[dict[str, float]]:
        """Lines as wide as the band at half its height, with several shares of the Lorentzian."""
        _, width, _ = self.band
        if self.line == "gaussian":
            return [{"linewidth": np.log(width)}]
        gaussian = [np.sqrt((1 - 0.5346 * wing) ** 2 - 0.2166 * wing**2) for wing in WINGS]  # see `line_width`
        return [
            {"linewidth": np.log(one * width), "lorentzian": np.log(wing * width * FWHM)}
            for one, wing in zip(gaussian, WINGS, strict=True)
        ]

    def plain(self, frozen: tuple[str, ...]) -> tuple[Optimum, bool]:
        """The fit of nothing but spreading, with a band of traps if that is worth it; `frozen`: what else there is."""
        return self.with_traps(self.best(self.plain_start(), frozen=(*frozen, *TRAPPED)), frozen)

    def relaxing_starts(self, plain: Optimum) -> list[Float64[np.ndarray, " P"]]:
        """From a fit without relaxation, the two best points of a lattice of attempts and disorder."""
        width = float(np.exp(plain.parameters[self.at["linewidth"]]))
        found = []
        most = 0.95 * DEEPEST * self.thermal / width
        for attempts, part in product(ATTEMPTS, PARTS):
            part, start = min(part, most), plain.parameters.copy()
            own = {"attempts": np.log(attempts), "disorder": np.log(part * width),
                   "linewidth": np.log(np.sqrt(1 - part**2) * width)}  # fmt: skip
            for name, value in own.items():
                start[self.at[name]] = value
            sunk = (part * width) ** 2 / self.thermal * attempts / (1 + attempts)
            start[self.at["band_centre"]] += sunk / 2
            found.append(self._bright(start))
        return sorted(found, key=self._misfit)[:2]

    def guided_starts(self, plain: Optimum) -> list[Float64[np.ndarray, " P"]]:
        """From a fit without guided light, the two best points of a lattice of length and outcoupling."""
        found = []
        for shorter, arriving in product(SHORTER, ARRIVING):
            start = plain.parameters.copy()
            start[self.at["diffusion_length"]] += np.log(shorter)
            start[self.at["outcoupling"]] = np.log(arriving / self.field)
            found.append(self._bright(start))
        return sorted(found, key=self._misfit)[:2]

    def onward(self, starts: list[Float64[np.ndarray, " P"]], traps: bool) -> tuple[Optimum, bool]:
        """The best of the fits from `starts`, with a band of traps, or with one if that is worth it; and whether."""
        found = min((self.best(start, frozen=() if traps else TRAPPED) for start in starts), key=objective)
        return (found, True) if traps else self.with_traps(found, ())

    def also(self, best: Optimum, frozen: tuple[str, ...]) -> Optimum:
        """The best of the fit from where it ended and those from the person's own starts."""
        starts = self.constraints.starting(self.names, best.parameters)
        return min((self.best(start, frozen=frozen) for start in starts), key=objective)

    def with_traps(self, before: Optimum, frozen: tuple[str, ...]) -> tuple[Optimum, bool]:
        """The fit with a band of traps below the other if that is worth it, and whether it was."""
        told = self.constraints.fixed.get("trap_band_share")
        if told == 0:
            return before, False
        at = self.at
        centre, _, _ = self.band
        width = line_width(dict(zip(self.names, before.parameters, strict=True)))
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
        free = these.free & ~np.isin(self.names, frozen)
        lower = np.where(free, these.lower, np.minimum(these.lower, at))
        upper = np.where(free, these.upper, np.maximum(these.upper, at))
        these = these._replace(free=free, lower=lower, upper=upper)
        return Problem(
            model=model_of(self.names), counts=self.counts, knowledge=these, arguments=(self.places,), noise=self.noise
        )

    def _pinned(self, start) -> Float64[np.ndarray, " P"]:
        """`start` with what is fixed at its value."""
        these, at = self.knowledge, np.array(start)
        fixed = ~these.free & (these.precision.diagonal() <= 0)
        at[fixed] = these.centre[fixed]
        return at

    def _bright(self, start: np.ndarray) -> np.ndarray:
        """The same start with the amplitude and background that suit it best."""
        at, ground = self.at["amplitude"], self.at["background"]
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
        return np.asarray(_spectra(jnp.asarray(start), self.places, self.names))[:, : self.shape[1], : self.shape[2]]

    def _limits(self) -> Knowledge:
        """Where the data can tell anything at all, narrowed by what was said."""
        measured, (centre, width, _) = self.measured, self.band
        spot = self.spot
        bright = float(np.abs(measured.counts).sum())
        low, high = float(measured.edges.min()), float(measured.edges.max())
        span, field = high - low, self.field
        dark = 1e-7 * bright / measured.counts.size if measured.uncertainty is None else -np.inf
        natural = {
            "diffusion_length": (0.02 * spot, 40 * field),
            "attempts": (1e-3, 1e5),
            "disorder": (min(1e-2 * width, DEEPEST * self.thermal / 2), min(2 * width, DEEPEST * self.thermal)),
            "linewidth": (1e-2 * width, 2 * width),
            "lorentzian": (WINGLESS * width, 5 * width),
            "outcoupling": (OUT / field, MOST_OUT / spot),
            "guiding_loss": (LOST / field, MOST_LOST / spot),
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
        lower, upper = (np.array([inner(name, natural[name][side]) for name in self.names]) for side in (0, 1))
        lower, upper = self.constraints.apply(self.names, lower, upper)
        size, free = len(self.names), np.ones(len(self.names), bool)
        middle, precision = np.zeros(size), np.zeros((size, size))
        at = self.at["width"]
        middle[at], free[at] = self.known.mean[0], bool(self.known.covariance[0, 0] > 0)
        free[self.at["centre_y"]] = measured.y.size > 1
        if free[at]:
            precision[at, at] = 1 / self.known.covariance[0, 0]
        middle, precision = self.constraints.weighed(self.names, middle, precision)
        for name, value in self.constraints.fixed.items():
            index = self.at[name]
            free[index], middle[index] = False, inner(name, value)
        return Knowledge(middle, precision, lower, upper, free)


def objective(found: Optimum) -> float:
    return found.objective


def line_width(own: dict[str, float]) -> float:
    """σ of a Gaussian as wide as a line at half its height, of parameters in the fit's own numbers.

    Of a Voigt to 2e-4 (Olivero and Longbothum, J. Quant. Spectrosc. Radiat. Transfer 17 (1977) 233).
    """
    gaussian = np.exp(own["linewidth"])
    if "lorentzian" not in own:
        return float(gaussian)
    lorentzian = np.exp(own["lorentzian"]) / FWHM
    return float(0.5346 * lorentzian + np.sqrt(0.2166 * lorentzian**2 + gaussian**2))


_spectra = jax.jit(spectra, static_argnames="names")
