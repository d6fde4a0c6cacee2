"""The same film, one exciton at a time: `walk`.

An exciton at X that moves by

    dX = (∇D − D ∇U / k_B T) dt + √(2D) dW     (Itô),     and dies at the rate 1/τ(X),

has the density n of `excidiff.solver.medium` as its law. This wing simulates it with random numbers and shares no
discretisation with the solver, so that each can be checked against the other, photon noise included. It runs on the
host in double precision, and is neither traced nor differentiated.

*Exact, however long the steps*: motion where D is a number and no landscape pulls, with closed walls, periodic axes,
and at a single side with a recombination velocity, a perfect quencher included (`motion`); recombination where τ is a
number; linear traps, whose properties are those of the cell that they lie in, maps or not (`trapping`); site energies,
which are continuous (`energies`).

*Approximate*: maps of D, τ and U are interpolated linearly between cell centres, and steps are short beside a cell and
beside the distance over which ln D, U/k_B T or ln τ change by one; that scheme (Euler–Maruyama) has an error
proportional to the step. A jump of D or τ from cell to cell is therefore smeared over one cell.

*Where excitons meet* (annihilation, Auger recombination, traps that fill) they walk in common steps, and densities are
counted in the cells of the grid. Three errors come with that.

- The step: of second order, some 1e-3 of the population as chosen, and none while only one thing happens.
- The cell: densities are uniform in it, which loses a share (h ∂n/∂x)²/12n² of n² where n has a slope.
- The crowd: excitons that meet thin out where they happen to be dense, so pairs become fewer than in a crowd without
  memory. With N walkers left in a cell too many survive, by a share of 1/3N under annihilation and 0.8/N under Auger
  recombination where nothing moves, and a twentieth of that where they cross cells much faster than they meet.

Have some hundreds of walkers in the cells that matter, on a grid as coarse as the density allows.
"""

import numpy as np

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium, check_medium
from excidiff.solver.solution import InputError, is_concrete
from excidiff.solver.walks.alone import World, follow
from excidiff.solver.walks.crowd import follow_together
from excidiff.solver.walks.energies import Energies
from excidiff.solver.walks.film import Film
from excidiff.solver.walks.light import Light
from excidiff.solver.walks.meetings import Meetings
from excidiff.solver.walks.photons import ALIVE, FREE, Flock, Photons, gather
from excidiff.solver.walks.start import starts
from excidiff.solver.walks.trapping import Trapping

CHUNK = 65536  # excitons that walk together: few enough to stay in cache


def walk(
    medium: Medium,
    source,
    grid: Grid,
    *,
    excitons: int,
    seed: int,
    total: float | None = None,
    max_time: float | None = None,
    step=None,
) -> Photons:
    """Follow `excitons` random walkers, born together in one short pulse, from their creation to their end.

    `source`: a map of `grid.shape`, whose cells are drawn by weight and are uniform inside, or a `Spot`. `total`: the
    excitons in the pulse, of which each walker stands for an equal part; by default as many as there are walkers, but
    needed where excitons meet, in a film that is not `medium.linear`.
    `max_time`: ns, when to stop watching (never, by default). `step`: the longest time step in ns, instead of the one
    chosen from the maps. The same seed gives the same photons.

    Raises `InputError` for a source with negative weights or none at all, where some excitons would never end, where
    the emission exceeds the recombination, where `total` is needed, and under a trace.
    """
    if not is_concrete((medium, source, grid, seed, total, max_time, step)):
        raise InputError(
            "walk runs on the host with random numbers; it cannot be traced or differentiated: call it outside jit, "
            "vmap and grad, or take the density from steady_state or evolve"
        )
    check_medium(medium, grid)
    if not (isinstance(excitons, (int, np.integer)) and excitons >= 0):
        raise InputError(f"walk(excitons={excitons!r}): expected a whole number ≥ 0")
    for name, value in (("max_time", max_time), ("step", step)):
        if value is not None and not value > 0:
            raise InputError(f"walk({name}={value!r}): expected a positive time in ns, or None")
    if total is not None and not (np.ndim(total) == 0 and np.isfinite(total) and total > 0):
        raise InputError(f"walk(total={total!r}): expected a positive number of excitons in the pulse, or None")
    if total is None and not medium.linear:
        raise InputError(
            "walk: in this film excitons meet (annihilation, auger, or traps that fill), so how many the pulse has "
            "matters: give total=…, or Traps.linear for traps far from full"
        )
    film = Film(medium, grid, step)
    world = World(
        film,
        Trapping(medium, grid) if medium.traps else None,
        None if medium.disorder is None else Energies(medium),
        None if medium.emission is None else Light(medium, film, grid),
    )
    if max_time is None and _endless(world):
        raise InputError(
            "walk: some excitons neither recombine nor reach a quencher; give a lifetime (of the traps too, if they "
            "release nothing) or a max_time"
        )
    random = np.random.Generator(np.random.PCG64(seed))
    horizon = np.inf if max_time is None else float(max_time)
    weight = 1.0 if total is None or excitons == 0 else float(total) / excitons
    if not medium.linear:
        meetings = Meetings(medium, grid, film, world.light, weight)
        flock = _born(world, source, int(excitons), random)
        return gather(follow_together(world, meetings, flock, horizon, step, random), weight)
    sizes = [min(CHUNK, excitons - done) for done in range(0, excitons, CHUNK)]
    return gather([follow(world, _born(world, source, size, random), horizon, random) for size in sizes], weight)


def _born(world: World, source, count: int, random: np.random.Generator) -> Flock:
    """`count` new excitons."""
    x, y = starts(source, world.film, count, random)
    energy = np.zeros(count) if world.energies is None else world.energies.born(count, random)
    return Flock(x, y, np.zeros(count), energy, np.full(count, FREE), np.full(count, ALIVE))


def _endless(world: World) -> bool:
    """Whether some exciton may live for ever: lost nowhere, stuck where nothing ends it, or kept by a trap."""
    film, trapping = world.film, world.trapping
    ends = (film.rate > 0) if trapping is None else (film.rate > 0) | trapping.kills
    kept = trapping is not None and trapping.keeps
    return kept or not (ends.any() or any(film.sides.values())) or bool(np.any(film.stuck & ~ends))
