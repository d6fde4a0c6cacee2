"""The film in time: after a pulse, under a source, and integrated over gates.

    ∂n/∂t = ∇·[D (∇n + n ∇U / k_B T)] + G − n/τ

Where the medium is uniform each mode decays on its own and every time is exact; elsewhere `march` takes steps.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid
from excidiff.solver.linear import transforms
from excidiff.solver.linear.elliptic import unbalanced, unsolved
from excidiff.solver.linear.flux import assemble
from excidiff.solver.march import march
from excidiff.solver.medium import Medium, check_medium
from excidiff.solver.solution import InputError, Result, Solution, as_array, is_concrete, is_number, settle
from excidiff.solver.source import check_source
from excidiff.solver.steady import first_failure, is_negative, promote, steady_state

Map = Float[Array, "rows columns"]
BALANCE = 1e-8
"""Share of the excitons that an evolution may lose or invent, whatever its tolerance; 1e-4 in single precision."""


def evolve(
    medium: Medium,
    initial: Map,
    grid: Grid,
    times: Float[Array, " times"],
    *,
    generation: Map | None = None,
    rtol: float | None = None,
    solve_rtol: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Solution:
    """Excitons per µm² at each of `times` (ns, rising, from 0), having started as `initial`.

    Times take the precision of the film and the maps; traced ones that do not rise give NaN.

    `initial`: excitons per µm², cell averages. `generation`: excitons per µm² and ns that go on shining, or None. The
    result's `.density` is (len(times), rows, columns). In a uniform medium it is exact; elsewhere time steps are
    chosen so that the errors estimated for them add up to less than `rtol` (1e-4), as a share of the excitons present
    (and of 1e-30 of those at the start: what decays further is as good as gone),
    and `.stats["error"]` says to what they did add up; `.stats["steps"]` counts them, at most `max_steps` (300 at a
    tolerance of 1e-4, more for smaller ones and for many times). The linear solves within a step are converged to
    `solve_rtol` (a thousandth of `rtol`); whatever that is, excitons are neither lost nor invented beyond rounding
    (`.stats["imbalance"]`; a failure beyond 1e-8, or 1e-4 in single precision).

    Differentiable with respect to every number and map and to the times, forward, in reverse and twice, with the
    sequence of steps held fixed; reverse mode keeps of the order of √max_steps maps beside the frames. Raises
    `InputError` for arguments that do not fit, `SolverError` when a tolerance is not met, unless `throw=False` or
    under a trace (then NaN). Frames that were never reached are NaN.
    """
    times = _check_times("evolve(times=…)", times)
    return _run(
        medium, initial, grid, times, generation, (rtol, solve_rtol, max_steps), throw, "evolve", integrate=False
    )


def time_integral(
    medium: Medium,
    pulse: Map,
    grid: Grid,
    *,
    edges: Float[Array, " edges"] | None = None,
    rtol: float | None = None,
    solve_rtol: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Solution:
    """∫ n dt after a pulse, in ns/µm²: what an image collects.

    `pulse`: excitons per µm² just after it. `edges`: None for the whole decay, which in a linear medium is the
    steady state under the pulse as a source; or times (t0, …, tk) in ns, for one exact integral per interval, with
    `.density` of shape (k, rows, columns). Tolerances, derivatives and errors as in `evolve`; the whole decay, which
    takes no steps, is kept to `rtol` as in `steady_state` and has no use for `solve_rtol` and `max_steps`.
    """
    if edges is None:
        return steady_state(medium, pulse, grid, rtol=rtol, throw=throw)
    edges = _check_times("time_integral(edges=…)", edges)
    if edges.shape[0] < 2:
        raise InputError("time_integral(edges=…): expected at least two times, the ends of one interval")
    return _run(medium, pulse, grid, edges, None, (rtol, solve_rtol, max_steps), throw, "time_integral", integrate=True)


def _run(medium, initial, grid, times, generation, control, throw, name, *, integrate) -> Solution:
    check_medium(medium, grid)
    initial = check_source(f"{name}({'pulse' if integrate else 'initial'}=…)", initial, grid)
    source = None if generation is None else check_source(f"{name}(generation=…)", generation, grid)
    rtol, solve_rtol, max_steps = control
    medium, initial, grid, rtol = promote(
        medium, initial if source is None else initial + 0 * source, grid, rtol, default=1e-4
    )
    if not (solve_rtol is None or (is_number(solve_rtol) and 0 < solve_rtol < 1)):
        raise InputError(f"{name}(solve_rtol={solve_rtol!r}): expected a number between 0 and 1")
    if not (max_steps is None or (isinstance(max_steps, (int, np.integer)) and max_steps > 0)):
        raise InputError(f"{name}(max_steps={max_steps!r}): expected a positive integer")
    if solve_rtol is None:
        solve_rtol = max(1e-3 * rtol, 1e-13 if initial.dtype == jnp.float64 else 1e-6)
    source = None if source is None else source.astype(initial.dtype)
    times = times.astype(initial.dtype)
    if max_steps is None:  # the error estimate is of third order; one more step ends at each time
        max_steps = int(300 * (1e-4 / rtol) ** (1 / 3)) + 4 * times.shape[0]
    return settle(
        _solve(medium, initial, source, grid, times, rtol, float(solve_rtol), int(max_steps), integrate), throw
    )


@partial(jax.jit, static_argnames=("rtol", "solve_rtol", "max_steps", "integrate"))
def _solve(medium, initial, source, grid, times, rtol, solve_rtol, max_steps, integrate) -> Solution:
    if medium.uniform:
        density = _modes(medium, initial, source, grid, times, integrate)
        zero = jnp.zeros((), initial.dtype)
        stats: dict[str, Array] = dict.fromkeys(("error", "steps", "iterations", "residual", "imbalance"), zero)
        reached = jnp.asarray(density.shape[0])
    else:
        operator = assemble(medium, grid)
        v, rate = operator.symmetric(initial), None if source is None else operator.symmetric(source)
        settings = {"rtol": rtol, "solve_rtol": solve_rtol, "max_steps": max_steps, "integrate": integrate}
        frames, stats, reached = march(operator, v, rate, times, **settings)
        density = jax.vmap(operator.density)(frames)
    # times that are traced could not be looked at before: out of order none of them is reached
    reached = jnp.where(jnp.all(jnp.diff(times, prepend=jnp.zeros(1, times.dtype)) >= 0), reached, 0)
    floor = initial if source is None else jnp.minimum(initial, source)
    result = lax.stop_gradient(verdict(density, reached, floor, stats, rtol, solve_rtol))
    arrived = (jnp.arange(density.shape[0]) < reached)[:, None, None]
    return Solution(jnp.where(arrived, density, jnp.nan), result, stats)


def verdict(density: Array, reached: Array, floor: Map, stats: dict, rtol: float, solve_rtol: float) -> Array:
    """The `Result` of an evolution whose first `reached` frames were reached, the others zero, as an integer array.

    `floor`: what may be negative there may be negative in the density too.
    """
    return first_failure(
        (Result.not_finite, ~(jnp.all(jnp.isfinite(density)) & jnp.isfinite(stats["residual"]))),
        (Result.iterations, stats["residual"] > unsolved(solve_rtol, density.dtype)),
        (Result.steps, reached < density.shape[0]),
        (Result.error, stats["error"] > rtol),
        (Result.imbalance, stats["imbalance"] > unbalanced(BALANCE, density.dtype)),
        (Result.negative, is_negative(density, floor, rtol)),
    )


def _modes(medium: Medium, initial: Map, source: Map | None, grid: Grid, times: Array, integrate: bool) -> Array:
    """Exact frames of a uniform medium: every mode relaxes at its own rate λ.

    c(t) = c₀ e^{−λt} + g t φ(λt) with φ(x) = (1 − e^{−x})/x; between t and t + Δ its integral is c(t) Δ φ(λΔ)
    where nothing shines.
    """
    kinds = transforms.axis_kinds(medium, grid)
    rates = transforms.eigenvalues(medium, grid)
    c = transforms.to_modes(initial, kinds)
    g = None if source is None else transforms.to_modes(source, kinds)

    def frame(span):
        start, end = span
        amplitude = c * jnp.exp(-rates * start)
        if integrate:
            amplitude = amplitude * (end - start) * relaxation(rates * (end - start))
        elif g is not None:
            amplitude = amplitude + g * start * relaxation(rates * start)
        return transforms.from_modes(amplitude, kinds)

    return lax.map(frame, (times[:-1], times[1:]) if integrate else (times, times))


def relaxation(x: Array) -> Array:
    """(1 − e^{−x})/x, smooth through x = 0 (its Taylor series to x⁶ below 0.05, next term 3e-15)."""
    small = jnp.abs(x) < 0.05
    s = jnp.where(small, x, 0.0)
    series = 1.0 - s / 2 * (1.0 - s / 3 * (1.0 - s / 4 * (1.0 - s / 5 * (1.0 - s / 6 * (1.0 - s / 7 * (1.0 - s / 8))))))
    far = jnp.where(small, 1.0, x)
    return jnp.where(small, series, -jnp.expm1(-far) / far)


def _check_times(name: str, times) -> Array:
    """Times as a rising one-dimensional array, or an `InputError`."""
    times = as_array(name, times)
    if times.ndim != 1 or times.shape[0] == 0:
        raise InputError(f"{name}: expected a list of times in ns, got shape {times.shape}")
    if is_concrete(times):
        values = np.asarray(times, dtype=float)
        if not np.isfinite(values).all() or values[0] < 0 or (np.diff(values) < 0).any():
            raise InputError(f"{name}: expected finite times ≥ 0 in rising order, in ns")
    return times
