"""What excitons do to each other: annihilation, Auger recombination, and traps that fill: `Meetings`.

Each walker stands for w excitons, and densities are counted in the cells, of area A: of N free walkers in a cell one
meets the density (N − 1) w/A of the others, and (N − 1)(N − 2) (w/A)² of their pairs. For walkers spread at random the
means of these are n and n² exactly, without the bias of w/A that counting oneself would bring. While only one of

    dn/dt = −B n²:  n₀/(1 + B n₀ t)      dn/dt = −C n³:  n₀/√(1 + 2C n₀² t)
    dn/dt = dv/dt = −k_t v n:  caught of n₀: v₀u/(1 + v₀u),  u = (1 − e^{−k_t(n₀−v₀)t})/(n₀ − v₀),  v = N_t − m

acts, and nothing moves, these hold however long t is; the first two as the probability that a walker survives. The
number that traps catch in a cell is rounded at random to one of its neighbours, so that the traps are never more than
full, but for a part of one walker.
"""

import numpy as np

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium
from excidiff.solver.walks.film import Film
from excidiff.solver.walks.light import Light
from excidiff.solver.walks.photons import ALIVE, ANNIHILATED, FREE, RECOMBINED, Flock


class Meetings:
    """The interactions of a film's excitons, cell by cell; maps are flattened."""

    def __init__(self, medium: Medium, grid: Grid, film: Film, light: Light | None, weight: float):
        def spread(value):
            return np.broadcast_to(np.asarray(value, dtype=float), grid.shape).ravel()

        self.film, self.cells, self.columns = film, grid.shape[0] * grid.shape[1], grid.shape[1]
        self.unit = weight / float(grid.cell_area)  # the density of one walker in a cell
        self.annihilation = None if medium.annihilation is None else spread(medium.annihilation)
        self.auger = None if medium.auger is None else spread(medium.auger)
        self.seen = np.zeros(self.cells) if light is None else light.annihilating.ravel()
        self.traps = [
            (place, spread(species.density), spread(species.capture))
            for place, species in enumerate(medium.traps)
            if species.fills
        ]
        self.returning = [place for place, species in enumerate(medium.traps) if np.any(np.asarray(species.release))]

    def act(self, flock: Flock, since: float, duration: float, reverse: bool, random: np.random.Generator) -> None:
        """Let all meet in place for `duration` from the time `since`; `flock`, all of it alive, is changed."""
        row, column = self.film.cell(flock.x, flock.y)
        place = row * self.columns + column
        acts = [self._annihilate, self._recombine, *(self._filling(*species) for species in self.traps)]
        for one in reversed(acts) if reverse else acts:
            one(flock, place, since, duration, random)

    def hazard(self, flock: Flock) -> float:
        """The fastest rate at which anything that meets changes, 1/ns; excitons that traps may release count."""
        row, column = self.film.cell(flock.x, flock.y)
        place = row * self.columns + column
        moving = np.isin(flock.trap, [FREE, *self.returning])
        density = self.unit * np.bincount(place[moving], minlength=self.cells)
        rate = np.zeros(self.cells)
        if self.annihilation is not None:
            rate = rate + self.annihilation * density
        if self.auger is not None:
            rate = rate + self.auger * density**2
        filling = (
            np.where(sites > 0, capture * (self._vacant(flock, place, trap, sites) + density), 0.0)
            for trap, sites, capture in self.traps
        )
        return float(rate.max()) + sum(float(one.max()) for one in filling)

    def _vacant(self, flock: Flock, place: np.ndarray, trap: int, sites: np.ndarray) -> np.ndarray:
        """N_t − m in each cell."""
        held = np.bincount(place[flock.trap == trap], minlength=self.cells)
        return np.maximum(sites - self.unit * held, 0.0)

    def _annihilate(self, flock: Flock, place, since, duration, random) -> None:
        if self.annihilation is None:
            return
        free, others = self._free(flock, place)
        rate = self.annihilation[place[free]] * self.unit * others
        inverse = 1.0 / (1.0 - random.random(free.size))  # of the share that has survived until the exciton ends
        ended = inverse < 1.0 + rate * duration
        who = free[ended]
        flock.time[who] = since + (inverse[ended] - 1.0) / rate[ended]
        seen = random.random(who.size) < self.seen[place[who]]
        flock.fate[who] = np.where(seen, RECOMBINED, ANNIHILATED)

    def _recombine(self, flock: Flock, place, since, duration, random) -> None:
        """Auger recombination."""
        if self.auger is None:
            return
        free, others = self._free(flock, place)
        rate = 2.0 * self.auger[place[free]] * self.unit**2 * others * np.maximum(others - 1, 0)
        inverse = 1.0 / (1.0 - random.random(free.size)) ** 2
        ended = inverse < 1.0 + rate * duration
        who = free[ended]
        flock.time[who] = since + (inverse[ended] - 1.0) / rate[ended]
        flock.fate[who] = ANNIHILATED

    def _filling(self, trap: int, sites: np.ndarray, capture: np.ndarray):
        def fill(flock: Flock, place, since, duration, random) -> None:
            free, _ = self._free(flock, place)
            count = np.bincount(place[free], minlength=self.cells)
            vacant = self._vacant(flock, place, trap, sites)
            excess = self.unit * count - vacant
            small = np.abs(excess * capture * duration) < 1e-9
            with np.errstate(over="ignore"):
                spent = -np.expm1(-capture * excess * duration) / np.where(small, 1.0, excess)
            spent = np.where(small, capture * duration, np.minimum(spent, 1e300))
            caught = vacant * spent / (1.0 + vacant * spent)
            quota = np.floor(count * caught + random.random(self.cells)).astype(int)
            chosen = free[_first(place[free], quota, count, random)]
            flock.trap[chosen], flock.energy[chosen] = trap, np.nan

        return fill

    def _free(self, flock: Flock, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which are alive and free, and how many others of them share the cell of each."""
        free = np.flatnonzero((flock.fate == ALIVE) & (flock.trap == FREE))
        return free, np.bincount(place[free], minlength=self.cells)[place[free]] - 1


def _first(place: np.ndarray, quota: np.ndarray, count: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """So many of each cell as `quota` says, chosen at random; `count` is how many there are."""
    if not quota.any():
        return np.empty(0, dtype=int)
    order = random.permutation(place.size)
    order = order[np.argsort(place[order], kind="stable")]
    rank = np.arange(place.size) - (np.cumsum(count) - count)[place[order]]
    return order[rank < quota[place[order]]]
