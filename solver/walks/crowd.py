"""Excitons that meet, in common time steps: `follow_together`.

Within a step dt each exciton first meets the others for dt/2 where it is (`meetings`), then goes its own way for dt
with all its own events at their exact times (`alone`), then meets them for another dt/2, in the reverse order: Strang's
splitting (SIAM J. Numer. Anal. 5 (1968) 506), whose error is proportional to dt². A step is chosen anew each time, as

    dt = PART/√(H(H + a)),   H: the fastest meeting,  a: the fastest of recombination, capture, release and crossing a
                             cell, 2D/h²

so that it is long where little happens between excitons, and there is one step only where nothing does.
"""

import numpy as np

from excidiff.solver.walks.alone import World, follow
from excidiff.solver.walks.meetings import Meetings
from excidiff.solver.walks.photons import ALIVE, Flock

PART = 0.2  # hazard of meeting per step where all else is slow


def follow_together(
    world: World, meetings: Meetings, flock: Flock, horizon: float, step: float | None, random: np.random.Generator
) -> list[Flock]:
    """Every exciton of `flock` at its end or at `horizon` (ns), whichever is first, in parcels as they end."""
    done, now, alone = [], 0.0, _fastest(world)
    while flock.x.size and now < horizon:
        hazard = meetings.hazard(flock)
        if hazard == 0.0:
            return [*done, follow(world, flock, horizon, random)]
        duration = PART / np.sqrt(hazard * (hazard + alone)) if step is None else float(step)
        duration = min(duration, horizon - now)
        meetings.act(flock, now, duration / 2, False, random)
        flock = _parted(flock, done)
        now = horizon if now + duration >= horizon else now + duration
        flock = _parted(follow(world, flock, now, random), done)
        flock.time[:] = now
        meetings.act(flock, now - duration / 2, duration / 2, True, random)
        flock = _parted(flock, done)
    return [*done, flock]


def _parted(flock: Flock, done: list[Flock]) -> Flock:
    """The ones alive; the others join `done`."""
    alive = flock.fate == ALIVE
    if alive.all():
        return flock
    done.append(flock.take(~alive))
    return flock.take(alive)


def _fastest(world: World) -> float:
    """The fastest rate at which a single exciton changes or leaves its cell, 1/ns."""
    film, trapping = world.film, world.trapping
    rate = float(film.rate.max())
    if max(film.shape) > 1:
        rate += 2.0 * film.fastest / film.finest**2
    if trapping is not None:
        rate += trapping.fastest + float(trapping.leave.max())
    return rate
