"""Being caught, held and let go, for one exciton: `Trapping`.

Traps have the properties of the cell that they lie in. An exciton is offered a trap at the largest rate anywhere and
takes it with the share of that rate in its own cell (thinning: Lewis and Shedler, Naval Res. Logist. Q. 26 (1979)
403), so capture follows any map exactly, however long the steps of the walk.
"""

import numpy as np

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium
from excidiff.solver.walks.photons import FREE


class Trapping:
    """The traps of a film as a single exciton meets them.

    Those that can fill are not met here, since their rate hangs on the others; once caught, excitons are held alike.
    """

    def __init__(self, medium: Medium, grid: Grid):
        def maps(values):
            return np.stack([np.broadcast_to(np.asarray(value, dtype=float), grid.shape) for value in values])

        rates = maps([0.0 if species.fills else species.rate for species in medium.traps])
        self.cumulative = np.cumsum(rates, axis=0)
        self.fastest = float(self.cumulative[-1].max())
        self.release = maps([species.release for species in medium.traps])
        self.leave = self.release + maps([species.decay for species in medium.traps])
        filled = maps([species.rate for species in medium.traps]) > 0
        self.keeps = bool(np.any(filled & (self.leave == 0.0)))
        self.kills = np.any(filled & (self.leave > self.release), axis=0)

    def wait(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Times until `count` excitons are offered a trap, ns."""
        if self.fastest == 0.0:
            return np.full(count, np.inf)
        return random.standard_exponential(count) / self.fastest

    def taken(self, row: np.ndarray, column: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Species of the trap that takes an exciton to which one was offered, or `FREE`."""
        drawn = self.fastest * random.random(row.size)
        species = np.sum(drawn >= self.cumulative[:, row, column], axis=0)
        return np.where(species < len(self.cumulative), species, FREE)

    def hold(self, trap: np.ndarray, row: np.ndarray, column: np.ndarray, random: np.random.Generator):
        """(time in the trap, whether it ends in a release) of trapped excitons."""
        leave, release = self.leave[trap, row, column], self.release[trap, row, column]
        with np.errstate(divide="ignore"):
            held = random.standard_exponential(trap.size) / leave
        return held, random.random(trap.size) * leave < release
