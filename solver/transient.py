"""The film in time: after a pulse, under a source, and integrated over gates.

The equation is that of `excidiff.solver.medium`. Where the medium is uniform each mode decays on its own and every time
is exact; elsewhere `march` takes steps.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver.bins import band
from excidiff.solver.cycle import guess, recurring
from excidiff.solver.disorder import cut
from excidiff.solver.grid import Grid, Number
from excidiff.solver.kinetics import kinetics, nothing_trapped
from excidiff.solver.light import Steady
from excidiff.solver.linear import transforms
from excidiff.solver.linear.elliptic import unbalanced, unsolved
from excidiff.solver.linear.flux import assemble
from excidiff.solver.march import march
from excidiff.solver.medium import Medium, check_medium, thermal_energy
from excidiff.solver.precision import full_precision
from excidiff.solver.scheme import System
from excidiff.solver.solution import InputError, Result, Solution, as_array, is_concrete, is_number, settle
from excidiff.solver.source import check_source
from excidiff.solver.steady import first_failure, is_negative, populations, promote, steady_state

Map = Float[Array, "rows columns"]
Times = Float[Array, " times"] | np.ndarray | Sequence[float]
BALANCE = 1e-8
"""Share of the excitons that an evolution may lose or invent, whatever its tolerance; 1e-4 in single precision."""


def evolve(
    medium: Medium,
    initial: Map,
    grid: Grid,
    times: Times,
    *,
    generation: Map | Callable | None = None,
    trapped: Float[Array, "species rows columns"] | np.ndarray | None = None,
    rtol: float | None = None,
    solve_rtol: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Solution:
    """Excitons per µm² at each of `times` (ns, rising, from 0), having started as `initial`.

    Times take the precision of the film and the maps; traced ones that do not rise give NaN.

    `initial`: excitons per µm², cell averages, and `trapped` those in each species of traps (none). `generation`:
    excitons per µm² and ns that go on shining, a light that changes with time (`excidiff.solver.light`), or None. The
    result's `.density` is (len(times), rows, columns), `.trapped_by_species` leads with the species, `.by_energy` is
    (len(times), bins, rows, columns); `initial` is spread over the energies like the sites, as light leaves it. In a
    uniform medium without traps and disorder it is exact; elsewhere time steps are chosen so that the errors estimated
    for them add up to less than `rtol` (1e-4), as a share of the excitons present, free ones and those in each species
    of traps by themselves (and of 1e-30 of those at the start: what decays further is as good as gone), and
    `.stats["error"]` says to what they did add up; `.stats["steps"]` counts them, at most `max_steps` (300 at a
    tolerance of 1e-4, 900 in nonlinear media, more for smaller ones and for many times). The solves within a step are
    converged to `solve_rtol` (a thousandth of `rtol`); whatever that is, excitons are neither lost nor invented beyond
    rounding (`.stats["imbalance"]`; a failure beyond 1e-8, or 1e-4 in single precision).

    Differentiable with respect to every number and map and to the times, forward, in reverse and twice, with the
    sequence of steps held fixed; twice in a nonlinear medium means forward over either, as JAX has no reverse over
    reverse there and says so. Reverse mode keeps of the order of √max_steps maps beside the frames. Raises `InputError`
    for arguments that do not fit, `SolverError` when a tolerance is not met, unless `throw=False` or under a trace
    (then NaN). Frames that were never reached are NaN.
    """
    times = check_times("evolve(times=…)", times)
    control = Control("evolve", rtol, solve_rtol, max_steps, throw)
    return run(medium, initial, trapped, grid, times, generation, control)


def time_integral(
    medium: Medium,
    pulse: Map | Callable,
    grid: Grid,
    *,
    edges: Times | None = None,
    period: Number | None = None,
    trapped: Float[Array, "species rows columns"] | np.ndarray | None = None,
    rtol: float | None = None,
    solve_rtol: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Solution:
    """∫ n dt after a pulse, in ns/µm²: what an image collects.

    `pulse`: excitons per µm² just after it, or a light that changes with time, on a film that is empty before.
    `trapped`: those in each species of traps before it (none). `edges`: None for the whole decay, which in a linear
    medium is the steady state under the pulse as a source; or times (t0, …, tk) in ns, for one exact integral per
    interval, with `.density` of shape (k, rows, columns); nonlinear media need them. `period`: None for a single pulse,
    or that of a pulse train in ns, in its periodic steady state (`pulse_train`), edges counted from a pulse.
    `.emission`, too, is integrated. Tolerances, derivatives and errors as in `evolve`; the whole decay, which takes no
    steps, is kept to `rtol` as in `steady_state` and has no use for `solve_rtol` and `max_steps`.
    """
    control = Control("time_integral", rtol, solve_rtol, max_steps, throw)
    if edges is None:
        if not medium.linear:
            raise InputError(
                "time_integral(edges=None): in a film with annihilation or traps that fill, the integral of a pulse's "
                "decay is not the steady state; give edges, the last one late enough"
            )
        if callable(pulse) or trapped is not None:
            raise InputError("time_integral(edges=None): expected a map, the excitons just after the pulse; give edges")
        return steady_state(medium, pulse, grid, rtol=rtol, throw=throw)
    edges = check_times("time_integral(edges=…)", edges)
    if edges.shape[0] < 2:
        raise InputError("time_integral(edges=…): expected at least two times, the ends of one interval")
    repeated = check_period("time_integral", period, edges, trapped)
    initial, light = (jnp.zeros(grid.shape), pulse) if callable(pulse) else (pulse, None)
    return run(medium, initial, trapped, grid, edges, light, control, repeated, integrate=True)


class Control(NamedTuple):
    """Who asks, and how exactly: `evolve`'s arguments of these names."""

    name: str
    rtol: float | None
    solve_rtol: float | None
    max_steps: int | None
    throw: bool


def run(medium, initial, trapped, grid, times, light, control: Control, period=None, *, integrate=False) -> Solution:
    """Check, promote, solve: what `evolve`, `time_integral` and `pulse_train` have in common."""
    name, rtol, solve_rtol, max_steps, throw = control
    check_medium(medium, grid)
    initial = check_source(f"{name}({'pulse' if integrate or period is not None else 'initial'}=…)", initial, grid)
    light = check_light(f"{name}({'pulse' if integrate else 'generation'}=…)", light, grid)
    held = check_trapped(f"{name}(trapped=…)", trapped, medium, initial)
    dtype = jnp.result_type(initial, held, *jax.tree.leaves(light))
    medium, initial, grid, rtol = promote(medium, initial.astype(dtype), grid, rtol, default=1e-4)
    dtype = initial.dtype
    if not (solve_rtol is None or (is_number(solve_rtol) and 0 < solve_rtol < 1)):
        raise InputError(f"{name}(solve_rtol={solve_rtol!r}): expected a number between 0 and 1")
    if not (max_steps is None or (isinstance(max_steps, (int, np.integer)) and max_steps > 0)):
        raise InputError(f"{name}(max_steps={max_steps!r}): expected a positive integer")
    if solve_rtol is None:
        solve_rtol = max(1e-3 * rtol, 1e-13 if dtype == jnp.float64 else 1e-6)
    held, light, times, period = jax.tree.map(
        lambda leaf: jnp.asarray(leaf).astype(dtype), (held, light, times, period)
    )
    if max_steps is None:  # the error estimate is of third order; one more step ends at each time
        max_steps = int((300 if medium.linear else 900) * (1e-4 / rtol) ** (1 / 3)) + 4 * times.shape[0]
    settings = {"rtol": rtol, "solve_rtol": float(solve_rtol), "max_steps": int(max_steps), "integrate": integrate}
    return settle(_solve(medium, initial, held, light, grid, times, period, **settings), throw)


@partial(jax.jit, static_argnames=("rtol", "solve_rtol", "max_steps", "integrate"))
@full_precision
def _solve(medium, initial, held, light, grid, times, period, *, rtol, solve_rtol, max_steps, integrate) -> Solution:
    square = integrate and medium.emission is not None and medium.emission.bimolecular is not None
    # integrals of modes, and trains of them, have no light
    exact = light is None or (isinstance(light, Steady) and not integrate and period is None)
    if medium.uniform and not medium.traps and medium.disorder is None and exact:
        initial = initial if period is None else _piled_up(medium, initial, grid, period)
        density = _modes(medium, initial, None if light is None else light.generation, grid, times, integrate)
        zero = jnp.zeros((), initial.dtype)
        stats: dict[str, Array] = dict.fromkeys(("error", "steps", "iterations", "residual", "imbalance"), zero)
        reached, held, squared, by_energy = jnp.asarray(density.shape[0]), held[:, None], density**2, None
    else:
        system, u = _prepare(medium, initial, held, light, grid)
        settings = {"rtol": rtol, "solve_rtol": solve_rtol, "max_steps": max_steps}
        train = {}
        if period is not None:
            u, *found = recurring(
                system, _first_guess(medium, initial, light, grid, system, u, period), u, period, **settings
            )
            train = {"periods": found[0].astype(u.dtype), "recurrence": found[1]}
        frames, stats, reached = march(system, u, times, integrate=integrate, square=square, **settings)
        free, held = frames[:, : system.bins], frames[:, system.bins : system.bins + len(medium.traps)]
        free = jax.vmap(jax.vmap(system.operator.density))(free)
        density, held = jnp.sum(free, 1), jnp.moveaxis(held, 1, 0)
        squared = frames[:, -1] if square else density**2
        by_energy = None if system.band is None else free
        stats |= train
    # times that are traced could not be looked at before: out of order none of them is reached
    reached = jnp.where(jnp.all(jnp.diff(times, prepend=jnp.zeros(1, times.dtype)) >= 0), reached, 0)
    lowest = jnp.minimum(jnp.min(initial), jnp.zeros(()) if light is None else jnp.min(jax.vmap(light)(times)))
    result = lax.stop_gradient(verdict(density, held, reached, lowest, stats, rtol, solve_rtol))
    arrived = (jnp.arange(density.shape[0]) < reached)[:, None, None]
    density, held = jnp.where(arrived, density, jnp.nan), jnp.where(arrived[None], held, jnp.nan)
    if by_energy is not None:
        by_energy = jnp.where(arrived[:, None], by_energy, jnp.nan)
    energies = None if medium.disorder is None else cut(medium.disorder, thermal_energy(medium)).energies
    return Solution(density, result, stats, *populations(medium, density, squared, held), by_energy, energies)


def _prepare(medium: Medium, initial: Map, held: Array, light, grid: Grid) -> tuple[System, Array]:
    """The system that `march` follows, and the state it starts from: light leaves excitons in the bins like sites."""
    operator, local = assemble(medium, grid), kinetics(medium)
    plain = medium.linear and not medium.traps
    common = lax.stop_gradient(jnp.min(operator.loss)) if plain and light is None else jnp.zeros((), initial.dtype)
    film = None if medium.disorder is None else band(medium, grid, local)
    free = operator.symmetric(initial)[None]
    if film is not None:
        free = film.bins.sites[:, None, None] * free
    return System(operator, None if plain else local, light, common, film), jnp.concatenate([free, held])


def _piled_up(medium: Medium, pulse: Map, grid: Grid, period) -> Map:
    """Excitons just after a pulse of a train: each mode of a uniform film adds up to c/(1 − e^{−λT})."""
    kinds = transforms.axis_kinds(medium, grid)
    share = -jnp.expm1(-transforms.eigenvalues(medium, grid) * period)
    return transforms.from_modes(transforms.to_modes(pulse, kinds) / share, kinds)


def _first_guess(medium: Medium, pulse: Map, light, grid: Grid, system: System, u: Array, period) -> Array:
    """Where the search for a train's state begins: the pulse, and traps as under the same light without its pulses."""
    if not medium.traps:
        return u
    mean = pulse / period if light is None else lax.map(light, period * (jnp.arange(64) + 0.5) / 64).mean(0)
    film = eqx.tree_at(lambda m: m.disorder, medium, None, is_leaf=lambda x: x is None)
    held = lax.stop_gradient(steady_state(film, mean, grid, rtol=1e-2, throw=False).trapped_by_species)
    assert held is not None
    return guess(system.parts(u)[0], held, system)


def verdict(density: Array, held: Array, reached: Array, lowest: Array, stats: dict, rtol, solve_rtol) -> Array:
    """The `Result` of an evolution whose first `reached` frames were reached, the others zero, as an integer array.

    `lowest`: of what it began with and of the light; where that is negative the populations may be, too.
    """
    negative = is_negative(density, lowest, rtol)
    for species in held:
        negative |= is_negative(species, lowest, rtol)
    return first_failure(
        (Result.not_finite, ~(jnp.all(jnp.isfinite(density)) & jnp.isfinite(stats["residual"]))),
        (Result.iterations, stats["residual"] > unsolved(solve_rtol, density.dtype)),
        (Result.steps, reached < density.shape[0]),
        (Result.error, stats["error"] > rtol),
        (Result.imbalance, stats["imbalance"] > unbalanced(BALANCE, density.dtype)),
        (Result.periods, stats.get("recurrence", jnp.zeros(())) > rtol),
        (Result.negative, negative),
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


def check_light(name: str, light, grid: Grid):
    """A light that changes with time, from a map or any module that gives maps; None where nothing shines."""
    if light is None:
        return None
    if not callable(light):
        return Steady(check_source(name, light, grid))
    light = jax.tree.map(lambda leaf: as_array(name, leaf), light)
    shape = jax.eval_shape(light, jnp.zeros(())).shape
    if shape != grid.shape:
        raise InputError(f"{name}: gives an array of shape {shape} at t = 0; expected a map of grid.shape {grid.shape}")
    return light


def check_trapped(name: str, trapped, medium: Medium, like: Map) -> Array:
    """Trapped excitons of each species at the start, or an `InputError`."""
    empty = nothing_trapped(medium, like)
    if trapped is None:
        return empty
    trapped = as_array(name, trapped)
    if trapped.shape != empty.shape:
        raise InputError(f"{name}: shape {trapped.shape}; expected one map for each species of traps, {empty.shape}")
    return trapped


def check_period(name: str, period, times, trapped) -> Array | None:
    """The period of a train as an array, or an `InputError`; times are counted from a pulse, within one period."""
    if period is None:
        return None
    if not is_number(period) or (is_concrete(period) and not (np.isfinite(period) and period > 0)):
        raise InputError(f"{name}(period={period!r}): expected a positive time in ns")
    if trapped is not None:
        raise InputError(f"{name}(trapped=…): what traps hold in a pulse train follows from it; leave it out")
    if is_concrete((period, times)) and float(times[-1]) > float(period) * (1 + 1e-12):
        raise InputError(f"{name}: a time of {float(times[-1])} ns; expected times after a pulse, up to the period")
    return as_array(f"{name}(period=…)", period)


def check_times(name: str, times) -> Array:
    """Times as a rising one-dimensional array, or an `InputError`."""
    times = as_array(name, times)
    if times.ndim != 1 or times.shape[0] == 0:
        raise InputError(f"{name}: expected a list of times in ns, got shape {times.shape}")
    if is_concrete(times):
        values = np.asarray(times, dtype=float)
        if not np.isfinite(values).all() or values[0] < 0 or (np.diff(values) < 0).any():
            raise InputError(f"{name}: expected finite times ≥ 0 in rising order, in ns")
    return times
