"""What a walk gives back, `Photons` and `Survivors`, and what it carries along, a `Flock`."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Positions = Float[np.ndarray, " excitons"]

ALIVE, RECOMBINED, QUENCHED, ANNIHILATED, DARK = range(5)
"""What became of an exciton. Those that recombined emit; dark ones recombined without."""

FREE = -1
"""The trap of an exciton that is in none."""


class Survivors(NamedTuple):
    """The excitons that were alive at `max_time`, one entry each.

    `x`, `y`: µm. `trap`: −1 for a free exciton, else the place of its species in `medium.traps`. `energy`: meV from
    the band's centre; 0 in a film without disorder, NaN in a trap.
    """

    x: Positions
    y: Positions
    trap: Int[np.ndarray, " excitons"]
    energy: Positions


class Photons(NamedTuple):
    """Where and when excitons recombined: `x`, `y` in µm, `time` in ns after their creation, one entry each.

    `trap`: −1 where a free exciton recombined, else the place of the species in `medium.traps`. `energy`: meV from the
    band's centre as it recombined; 0 in a film without disorder, NaN from a trap. With `Medium(emission=…)` these are
    the recombinations that emit; without, all of them.

    The rest did not emit: `quenched` counts the excitons lost at a surface, `alive` those that outlived `max_time`
    (`survivors` has them one by one), `dark` those that recombined without light, `annihilated` those lost to
    annihilation or Auger recombination. Each counted one stands for `weight` excitons.
    """

    x: Positions
    y: Positions
    time: Positions
    quenched: int
    alive: int
    energy: Positions
    trap: Int[np.ndarray, " excitons"]
    dark: int
    annihilated: int
    survivors: Survivors
    weight: float


class Flock(NamedTuple):
    """Excitons on their way, one entry each: where they are, since when they live, in which trap, and their `fate`."""

    x: Positions
    y: Positions
    time: Positions
    energy: Positions
    trap: Int[np.ndarray, " excitons"]
    fate: Int[np.ndarray, " excitons"]

    def take(self, chosen: np.ndarray) -> "Flock":
        """Those that an index or a mask chooses, as a copy."""
        return Flock(*(column[chosen] for column in self))


def gather(flocks: list[Flock], weight: float) -> Photons:
    """The photons of excitons whose fates are known."""
    empty = Flock(*np.empty((4, 0)), *np.empty((2, 0), dtype=int))
    flock = Flock(*(np.concatenate(column) for column in zip(empty, *flocks, strict=True)))
    seen, alive = flock.take(flock.fate == RECOMBINED), flock.take(flock.fate == ALIVE)
    count = np.bincount(flock.fate, minlength=5)
    return Photons(
        x=seen.x,
        y=seen.y,
        time=seen.time,
        quenched=int(count[QUENCHED]),
        alive=int(count[ALIVE]),
        energy=seen.energy,
        trap=seen.trap,
        dark=int(count[DARK]),
        annihilated=int(count[ANNIHILATED]),
        survivors=Survivors(alive.x, alive.y, alive.trap, alive.energy),
        weight=weight,
    )
