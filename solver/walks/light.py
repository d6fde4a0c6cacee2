"""Which recombinations are seen: `Light`.

    e = k_r n + b n (n + p₀) + Σ y_t m/τ_t

A free exciton that recombines, at the rate 1/τ, emits with the probability (k_r + b p₀) τ; one that recombines in a
trap with y_t; one that annihilates, at the rate B n, with b/B.
"""

import numpy as np

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium
from excidiff.solver.solution import InputError
from excidiff.solver.walks.film import Film
from excidiff.solver.walks.maps import Maps
from excidiff.solver.walks.photons import Flock

ROUNDING = 1e-6
"""How far, as a share, k_r + b p₀ may exceed 1/τ where rounding in single precision makes it."""


class Light:
    """The film's law of emission, as the probability that one recombination emits.

    Raises `InputError` where k_r + b p₀ exceeds 1/τ.
    """

    def __init__(self, medium: Medium, film: Film, grid: Grid):
        law = medium.emission
        assert law is not None
        radiative = np.asarray(law.radiative, dtype=float)
        bimolecular = np.asarray(0.0 if law.bimolecular is None else law.bimolecular, dtype=float)
        radiative = np.broadcast_to(radiative + bimolecular * np.asarray(law.carriers, dtype=float), grid.shape)
        excess = radiative - film.rate * (1 + ROUNDING)
        if (excess > 0).any():
            where = np.unravel_index(int(np.argmax(excess)), grid.shape)
            raise InputError(
                f"walk: Emission(radiative + bimolecular · carriers) = {radiative[where]:.6g} per ns exceeds 1/τ = "
                f"{film.rate[where]:.6g} at {tuple(int(i) for i in where)}; the lifetime holds all losses of a single "
                "exciton, light included: shorten it, or lower the radiative rate"
            )
        self.film, self.uniform = film, not film.mapped and np.ptp(radiative) == 0.0
        self.share = np.where(film.rate > 0, radiative / np.where(film.rate > 0, film.rate, 1.0), 0.0)
        self.maps = Maps([radiative, film.rate], [film.stuck, film.stuck], grid)
        self.yields = [np.broadcast_to(np.asarray(y, dtype=float), grid.shape) for y in law.yields(len(medium.traps))]
        loss = np.asarray(0.0 if medium.annihilation is None else medium.annihilation, dtype=float)
        self.annihilating = np.broadcast_to(
            np.where(loss > 0, bimolecular / np.where(loss > 0, loss, 1.0), 0), grid.shape
        )

    def seen(self, flock: Flock, random: np.random.Generator) -> np.ndarray:
        """Which of the excitons that recombined, free or trapped, emit."""
        row, column = self.film.cell(flock.x, flock.y)
        chance = self.share[row, column]
        if not self.uniform:
            value, _, _ = self.maps.at(flock.x, flock.y)
            with np.errstate(invalid="ignore", divide="ignore"):
                between = np.nan_to_num(value[:, 0] / value[:, 1])
            chance = np.where(self.film.stuck[row, column], chance, between)
        for species, share in enumerate(self.yields):
            chance = np.where(flock.trap == species, share[row, column], chance)
        return random.random(flock.x.size) < chance
