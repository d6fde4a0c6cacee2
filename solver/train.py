"""A train of pulses in its periodic steady state: `pulse_train`."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid, Number
from excidiff.solver.medium import Medium, check_medium
from excidiff.solver.solution import InputError, Solution, is_concrete
from excidiff.solver.source import check_source
from excidiff.solver.steady import check_losses
from excidiff.solver.transient import Control, Times, check_period, check_times, run


def pulse_train(
    medium: Medium,
    pulse: Float[Array, "rows columns"] | Callable,
    grid: Grid,
    *,
    period: Number,
    times: Times,
    rtol: float | None = None,
    solve_rtol: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Solution:
    """Excitons per µm² at `times` (ns after a pulse, up to `period`) when pulses have come every `period` for ever.

    `pulse`: excitons per µm² that each brings at once, or a light that changes with time within a period, from 0 on
    (`Pulse` has a width). The result is as that of `evolve`. In a uniform medium without traps each mode adds up to
    c/(1 − e^{−λT}), exactly. Elsewhere the state that recurs is a fixed point, found through some periods however many
    the traps remember: `.stats["periods"]` counts them, and `.stats["recurrence"]` is the largest share by which n, or
    m of one species, changes from one pulse to the next (at most a hundredth of `rtol`; a failure beyond `rtol`).

    Differentiable with respect to every number and map, the period and the times. Raises `InputError` for arguments
    that do not fit and where nothing removes excitons, `SolverError` as `evolve`.
    """
    after = check_times("pulse_train(times=…)", times)
    repeated = check_period("pulse_train", period, after, None)
    control = Control("pulse_train", rtol, solve_rtol, max_steps, throw)
    initial, light = (jnp.zeros(grid.shape), pulse) if callable(pulse) else (pulse, None)
    check_medium(medium, grid)
    lit = jnp.ones(grid.shape) if light is not None else check_source("pulse_train(pulse=…)", pulse, grid)
    check_losses(medium, lit, grid)
    check_traps_empty(medium)
    return run(medium, initial, None, grid, after, light, control, repeated)


def check_traps_empty(medium: Medium) -> None:
    """Raise `InputError` where it can be seen that linear traps gather excitons without end."""
    for traps in medium.traps:
        if traps.fills or not is_concrete(traps):
            continue
        stays = (np.asarray(traps.rate) > 0) & (np.asarray(traps.release) + np.asarray(traps.decay) == 0)
        if stays.any():
            raise InputError(
                "pulse_train: linear traps without release and with an infinite lifetime gather excitons without end; "
                "give them a lifetime, or a density, so that they fill"
            )
