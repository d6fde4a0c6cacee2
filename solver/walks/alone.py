"""Excitons that do not meet, each from event to event: `follow`.

A step lasts until the next event: recombination, when the integral of 1/τ along the path reaches a number drawn
beforehand; the offer of a trap; where D hangs on energy, a hop; or the end of what the maps allow to one step. In
between the exciton moves as `motion` has it. A trapped one stays where it is, and recombines or walks on from there.
"""

from typing import NamedTuple

import numpy as np

from excidiff.solver.walks.energies import Energies
from excidiff.solver.walks.film import Film
from excidiff.solver.walks.light import Light
from excidiff.solver.walks.motion import move
from excidiff.solver.walks.photons import ALIVE, DARK, FREE, QUENCHED, RECOMBINED, Flock
from excidiff.solver.walks.trapping import Trapping

ON_ITS_WAY = -1
"""The fate of an exciton between two events."""


class World(NamedTuple):
    """All that a single exciton meets; None for what the film does not have."""

    film: Film
    trapping: Trapping | None
    energies: Energies | None
    light: Light | None


def follow(world: World, flock: Flock, horizon: float, random: np.random.Generator) -> Flock:
    """Every exciton of `flock`, all of them alive, at its end or at `horizon` (ns), whichever is first."""
    end = flock.take(np.arange(flock.x.size))
    film, trapping, energies, _ = world
    who, budget = np.arange(flock.x.size), random.standard_exponential(flock.x.size)
    if trapping is not None and (flock.trap != FREE).any():
        flock = _wait_out(world, flock, horizon, random)
    else:
        flock = flock._replace(energy=flock.energy.copy(), trap=flock.trap.copy(), fate=np.full(who.size, ON_ITS_WAY))
    while True:
        ended = flock.fate != ON_ITS_WAY
        if ended.any():
            for column, value in zip(end, flock.take(ended), strict=True):
                column[who[ended]] = value
            who, budget, flock = who[~ended], budget[~ended], flock.take(~ended)
        if not who.size:
            return _dimmed(world, end, random)
        row, column = film.cell(flock.x, flock.y)
        drift, diffusivity, rate = film.at(flock.x, flock.y, row, column)
        with np.errstate(divide="ignore"):
            life = budget / rate
        duration = np.minimum(np.minimum(film.steps[row, column], life), horizon - flock.time)
        energy = flock.energy
        if trapping is not None:
            wait = trapping.wait(who.size, random)
            duration = np.minimum(duration, wait)
        if energies is not None:
            mobility = energies.mobility(energy)
            drift, diffusivity = (tuple(value * mobility for value in pair) for pair in (drift, diffusivity))
            energy, duration = energies.relax(energy, duration, random)
        x, y, lost = move(film, flock.x, flock.y, (row, column), drift, diffusivity, duration, random)
        time, budget = flock.time + duration, budget - duration * rate
        fate = np.where(time >= horizon, ALIVE, ON_ITS_WAY)
        fate = np.where(lost, QUENCHED, np.where(duration >= life, RECOMBINED, fate))
        flock = Flock(x, y, time, energy, flock.trap, fate)
        if trapping is not None:
            flock = _offer(world, flock, (fate == ON_ITS_WAY) & (duration >= wait), horizon, random)


def _offer(world: World, flock: Flock, offered: np.ndarray, horizon: float, random: np.random.Generator) -> Flock:
    """The flock after some of it were offered a trap, and those that took it have been held."""
    assert world.trapping is not None
    where = np.flatnonzero(offered)
    if where.size:
        trap = world.trapping.taken(*world.film.cell(flock.x[where], flock.y[where]), random)
        flock.trap[where] = trap
        where = where[trap != FREE]
        for column, value in zip(flock, _wait_out(world, flock.take(where), horizon, random), strict=True):
            column[where] = value
    return flock


def _wait_out(world: World, flock: Flock, horizon: float, random: np.random.Generator) -> Flock:
    """Free excitons as they are, trapped ones when they are released, recombine, or are still held at `horizon`."""
    assert world.trapping is not None
    held = flock.trap != FREE
    row, column = world.film.cell(flock.x[held], flock.y[held])
    wait, free = world.trapping.hold(flock.trap[held], row, column, random)
    time, energy, trap, fate = flock.time.copy(), flock.energy.copy(), flock.trap.copy(), np.full(held.size, ON_ITS_WAY)
    over = time[held] + wait
    still = over >= horizon
    free &= ~still
    time[held] = np.minimum(over, horizon)
    fate[held] = np.where(still, ALIVE, np.where(free, ON_ITS_WAY, RECOMBINED))
    trap[held] = np.where(free, FREE, trap[held])
    released = np.full(free.size, np.nan)
    released[free] = 0.0 if world.energies is None else world.energies.released(int(free.sum()), random)
    energy[held] = released
    return Flock(flock.x, flock.y, time, energy, trap, fate)


def _dimmed(world: World, flock: Flock, random: np.random.Generator) -> Flock:
    """The flock with the fate `DARK` for those that recombined without light."""
    if world.light is not None:
        done = np.flatnonzero(flock.fate == RECOMBINED)
        flock.fate[done[~world.light.seen(flock.take(done), random)]] = DARK
    return flock
