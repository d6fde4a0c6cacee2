"""A round spot on a film that is the same everywhere stays round: one radius instead of a grid.

    ∂n/∂t = D ∇²n − n/τ − Σ [k_t (N_t − m) n − k_d m] − B n² − C n³,     ∂m/∂t = k_t (N_t − m) n − k_d m − m/τ_t

from n = n₀ e^{−r²/2s²}, nothing trapped, on a disc with a closed wall (`excidiff.solver.disc`). A step of length h is
a chain of parts, each solved exactly, whatever its rates: half a step of what happens at each place, a whole one of

    n ← e^{(D∇² − 1/τ) h} n,     m ← e^{−h/τ_t} m,

the first half backwards. At one place Auger takes n/√(1 + 2C n² h), annihilation n/(1 + B n h), and one species of
traps exchanges excitons at a constant sum σ = n + m, n′ = −k n² − β n + g with β = k(N − σ) + k_d and g = k_d σ:

    n(h) = [n (1 + E − β φ) + 2 g φ]/[1 + E + (2 k n + β) φ],     ω² = β² + 4 k g,     E = e^{−ωh},     φ = (1 − E)/ω

Every part keeps 0 ≤ n and 0 ≤ m ≤ N, and what leaves one population enters another: any positive parameters give
finite densities. ∫ n dt and ∫ m dt of a step are those of its middle part, ∫ n² dt that of annihilation, exactly, so
that ∫∫ n/τ + m/τ_t + B n² + … accounts for every exciton. The chain is symmetric: its error has even powers of h, and
runs with 1, 2 and 3 steps where one is asked for leave the sixth order (Richardson). The steps end at T (i/steps)^2.5,
a fixed share of the age, as what is fast happens early. Bins cut the sums over steps by polynomials through eight.
Under a laser that repeats, n and m begin a period as the period before it left them (`excidiff.solver.repeat`).
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float64

from excidiff.solver.disc import disc, flat_zeros, round_radius, series
from excidiff.solver.field import as_number
from excidiff.solver.grid import Number
from excidiff.solver.medium import Medium
from excidiff.solver.precision import full_precision
from excidiff.solver.repeat import repeating
from excidiff.solver.solution import InputError, is_concrete

GRADE = 2.5
STENCIL = 8
ROUGH = 32  # steps of a period that is made roughly
FORGOTTEN = 1e6  # periods after which nothing is left of a pulse
RUNS = ((1, 1 / 24), (2, -16 / 15), (3, 81 / 40))
"""Steps for one that is asked for, and the weight of such a run: they cancel h² and h⁴."""


class RoundPulse(NamedTuple):
    """What a pulse of light leaves in time: totals of the whole film in each bin, and round profiles.

    `free`, `trapped`, `squared`: ∫∫ n dA dt and ∫∫ m dA dt, ns, of each species, and ∫∫ n² dA dt, ns/µm².
    `modes` c_i: ∫ n dt = Σ c_i J₀(k_i r), ns/µm², over all bins, or in each if `frames`; `trapped_modes`,
    `squared_modes` likewise for m, n². `wavenumbers` k_i: 1/µm. `radius`: µm, up to where the modes hold.
    """

    free: Float[Array, " bins"]
    trapped: Float[Array, "species bins"]
    squared: Float[Array, " bins"]
    modes: Float[Array, "*frames modes"]
    trapped_modes: Float[Array, "species *frames modes"]
    squared_modes: Float[Array, "*frames modes"]
    wavenumbers: Float[Array, " modes"]
    radius: Float[Array, ""]


def round_pulse(
    medium: Medium,
    *,
    width: Number,
    peak: Number,
    edges: Any,
    radius: Number | None = None,
    reach: Number = 0.0,
    frames: bool = False,
    period: float | None = None,
    nodes: int = 64,
    modes: int = 128,
    steps: int = 256,
) -> RoundPulse:
    """The light of a film after a short Gaussian pulse at t = 0: `width` σ in µm, `peak` n₀ in excitons per µm².

    `edges`: of the bins, ns, rising from t₀ ≥ 0, numbers of the host. `radius` of the disc, µm: `round_radius`, if
    not given, with `reach`; held in derivatives, as nothing depends on where the wall is. `period`, ns: of a laser that
    repeats; then `peak` is what each pulse adds, the light that of one period once it repeats, NaN where it was not
    found to, and the edges end within it. `nodes`, `modes`: see `round_sizes`. `steps`: steps in time, six for each.
    With the defaults totals err by 1e-7 and profiles by 1e-6 of their peak where traps catch a few excitons per ns, by
    1e-5 and 2e-4 at ten per ns, by 1e-3 and 1e-2 at a hundred.

    Every number of the film may be traced; differentiable forward, in reverse and repeatedly. Of the film's `emission`
    nothing is used. Raises `InputError` for a film that is not the same everywhere, and for what does not fit.
    """
    _check(medium)
    width, peak = as_number("round_pulse(width=…)", width), as_number("round_pulse(peak=…)", peak, zero="always")
    bins = _bins(edges)
    if nodes < 8 or modes < 2 or steps < STENCIL:
        raise InputError(f"round_pulse(nodes={nodes}, modes={modes}, steps={steps}): expected at least 8, 2, {STENCIL}")
    last = bins[-1] if period is None else _period(period, bins)
    if radius is None:
        ages = last if period is None else FORGOTTEN * last
        radius = round_radius(width, medium.diffusivity, medium.lifetime, ages, reach)
    wall = lax.stop_gradient(jnp.asarray(as_number("round_pulse(radius=…)", radius)))
    film = _film(medium, wall)
    dtype = jnp.result_type(*jax.tree.leaves((film, width, peak)))
    away = jnp.asarray(disc(nodes).radii, dtype) * wall.astype(dtype) / width
    initial = (peak * jnp.exp(-0.5 * away**2)).astype(dtype)
    light = _light_of_one(film, initial, last, steps) if period is None else _repeating(film, initial, last, steps)
    return _collect(light, wall.astype(dtype), bin_weights(bins, steps, last), frames, modes)


class _Species(NamedTuple):
    """Traps in rates: `fill` k_t N_t, `release`, `decay`, 1/ns; `capture` k_t, µm²/ns, zero if they never fill."""

    fill: Any
    capture: Any
    release: Any
    decay: Any


class _Film(NamedTuple):
    """What the steps need: `spread` D/R² and `decay` 1/τ, 1/ns, and the rest as in `Medium`."""

    spread: Any
    decay: Any
    annihilation: Any
    auger: Any
    traps: tuple[_Species, ...]


class _State(NamedTuple):
    """n and m of each species at a time, and ∫ n² dt of the step so far."""

    free: Float[Array, " nodes"]
    trapped: tuple[Float[Array, " nodes"], ...]
    squared: Float[Array, " nodes"]


_Populations = tuple[Float[Array, " nodes"], tuple[Float[Array, " nodes"], ...]]
"""n, and m of each species."""


class _Light(NamedTuple):
    """∫ n dt, ∫ m dt and ∫ n² dt of steps."""

    free: Float[Array, "*steps nodes"]
    trapped: tuple[Float[Array, "*steps nodes"], ...]
    squared: Float[Array, "*steps nodes"]


def _exchange(n, m, traps: _Species, step):
    """One species and the free excitons for the time `step`: nothing is lost between them."""
    both = n + m
    slope = traps.fill - traps.capture * both + traps.release
    freed = traps.release * both
    gain = 4.0 * traps.capture * freed
    # A rate of zero, where nothing happens, would have no derivative: it is one too small to change any digit.
    square = slope**2 + gain
    least = (1e-9 / step) ** 2
    lift = jnp.where(square > least, 0.0, least - square)
    rate = jnp.sqrt(square + lift)
    left = jnp.exp(-rate * step)
    taken = -jnp.expm1(-rate * step) / rate
    # ω − β, also where they are nearly equal: of n nothing but e^{−ωh} remains where nothing comes back.
    excess = jnp.where(slope > 0, (gain + lift) / (rate + jnp.abs(slope)), rate - slope)
    new = (n * (2.0 * left + taken * excess) + 2.0 * freed * taken) / (
        1.0 + left + (2.0 * traps.capture * n + slope) * taken
    )
    return new, both - new


def _parts(film: _Film) -> list[Callable]:
    """What happens at one place, in order: maps of (state, step) to the state after it."""

    def auger(state: _State, step):
        n = state.free
        return state._replace(free=n / jnp.sqrt(1.0 + 2.0 * step * film.auger * n**2))

    def annihilate(state: _State, step):
        after = state.free / (1.0 + step * loss * jnp.abs(state.free))
        return state._replace(free=after, squared=state.squared + step * state.free * after)

    def exchange(which: int, state: _State, step):
        n, m = _exchange(state.free, state.trapped[which], film.traps[which], step)
        return state._replace(free=n, trapped=(*state.trapped[:which], m, *state.trapped[which + 1 :]))

    loss = 0.0 if film.annihilation is None else film.annihilation
    parts: list[Callable] = [] if film.auger is None else [auger]
    return [*parts, annihilate, *(partial(exchange, i) for i in range(len(film.traps)))]


@partial(jax.jit, static_argnames=("last", "steps", "runs"))
@full_precision
def _light(film: _Film, given: _Populations, last: float, steps: int, runs=RUNS) -> tuple[_Light, _Populations]:
    """The light of each of the steps, at the nodes, and what is left; all runs are one loop, for one program."""
    initial, parts = given[0], _parts(film)
    one = disc(initial.size)
    into, back, waves = (jnp.asarray(a, initial.dtype) for a in (one.into, one.back, one.eigenvalues))
    start = _State(*given, jnp.zeros_like(initial))

    def advance(before: _State, now):
        step, first = now
        state = jax.tree.map(lambda new, old: jnp.where(first, new, old), start, before)
        state = state._replace(squared=start.squared)
        for part in parts:
            state = part(state, step / 2)
        ages = [step * traps.decay for traps in film.traps]
        rates, amplitudes = film.decay + film.spread * waves, into @ state.free
        light = _Light(
            step * _mean_decay(step * rates) * amplitudes,
            tuple(step * _mean_decay(age) * m for age, m in zip(ages, state.trapped, strict=True)),
            start.squared,
        )
        held = tuple(jnp.exp(-age) * m for age, m in zip(ages, state.trapped, strict=True))
        state = state._replace(free=back @ (jnp.exp(-step * rates) * amplitudes), trapped=held)
        for part in reversed(parts):
            state = part(state, step / 2)
        return state, (light._replace(squared=state.squared), (state.free, state.trapped))

    spans = [np.diff(graded(last, finer * steps)) for finer, _ in runs]
    first = np.concatenate([np.arange(span.size) == 0 for span in spans])
    spans = (jnp.asarray(np.concatenate(spans), initial.dtype), jnp.asarray(first))
    _, (found, states) = lax.scan(advance, start, spans)
    ends = np.cumsum([finer * steps for finer, _ in runs])

    def extrapolated(a):
        cut = jnp.split(a, ends[:-1])
        return sum(w * part.reshape(steps, k, -1).sum(1) for (k, w), part in zip(runs, cut, strict=True))

    left = jax.tree.map(lambda a: sum(w * a[end - 1] for (_, w), end in zip(runs, ends, strict=True)), states)
    found = jax.tree.map(extrapolated, found)
    return found._replace(free=found.free @ back.T), left


def _light_of_one(film: _Film, pulse: Float[Array, " nodes"], last: float, steps: int) -> _Light:
    """The light of a single pulse."""
    return _light(film, (pulse, tuple(jnp.zeros_like(pulse) for _ in film.traps)), last, steps)[0]


def _repeating(film: _Film, pulse: Float[Array, " nodes"], last: float, steps: int) -> _Light:
    """The light of one period of a laser that repeats."""
    rows = 1 + len(film.traps)
    pulses = jnp.concatenate([pulse, jnp.zeros(pulse.size * (rows - 1), pulse.dtype)])

    def period(film, pulses, steps, runs, state):
        free, *trapped = state.reshape(rows, -1)
        light, (free, trapped) = _light(film, (free, tuple(trapped)), last, steps, runs)
        return jnp.concatenate([free, *trapped]) + pulses, light

    held = lax.stop_gradient((film, pulses))
    rough = partial(period, *held, ROUGH, ((1, 1.0),))
    return repeating(partial(period, film, pulses, steps, RUNS), lambda state: rough(state)[0], pulses)


def _mean_decay(x):
    """(1 − e^{−x})/x for x ≥ 0."""
    small = x < 1e-6
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, 1.0 - x / 2, -jnp.expm1(-safe) / safe)


@full_precision
def _collect(light: _Light, radius, weights, frames: bool, modes: int) -> RoundPulse:
    """Totals of the bins and amplitudes of the waves."""
    nodes, dtype = light.free.shape[-1], light.free.dtype
    area = jnp.asarray(disc(nodes).weights, dtype) * radius**2
    waves = jnp.asarray(series(nodes, modes).T, dtype)
    bins = jnp.asarray(weights, dtype)
    exposures = bins if frames else jnp.asarray(weights.sum(0), dtype)
    trapped = jnp.stack(light.trapped) if light.trapped else jnp.zeros((0, *light.free.shape), dtype)
    return RoundPulse(
        bins @ (light.free @ area),
        (trapped @ area) @ bins.T,
        bins @ (light.squared @ area),
        (exposures @ light.free) @ waves,
        jnp.einsum("...t,stn->s...n", exposures, trapped) @ waves,
        (exposures @ light.squared) @ waves,
        jnp.asarray(flat_zeros(modes), dtype) / radius,
        radius,
    )


def graded(last: float, steps: int) -> Float64[np.ndarray, " steps+1"]:
    """The times of the steps, ns."""
    return last * (np.arange(steps + 1) / steps) ** GRADE


@lru_cache(maxsize=64)
def bin_weights(edges: tuple[float, ...], steps: int, last: float | None = None) -> Float64[np.ndarray, "bins steps"]:
    """Weights W with ∫ f dt over each bin = W F, from the integrals F over steps at `graded` times up to `last`, ns.

    That is the last edge if not given.

    F summed up from the start is, between two times, the polynomial through the `STENCIL` times nearest.
    """
    times, bins = graded(last or edges[-1], steps), np.asarray(edges)
    first = np.clip(np.searchsorted(times, bins) - STENCIL // 2, 0, steps + 1 - STENCIL)
    around = first[:, None] + np.arange(STENCIL)[None, :]
    knots = times[around]
    sums = np.zeros((bins.size, steps))
    for j in range(STENCIL):
        others = np.delete(knots, j, axis=1)
        share = ((bins[:, None] - others) / (knots[:, j, None] - others)).prod(1)
        # the sum up to time j of the stencil: all steps before the stencil, which have the whole share, and j of it
        for i in range(j):
            np.add.at(sums, (np.arange(bins.size), first + i), share)
    sums += np.arange(steps)[None, :] < first[:, None]
    return np.diff(sums, axis=0)


def _check(medium: Medium) -> None:
    """Raise `InputError` for a film in which a round spot would not stay round."""
    for name in ("landscape", "disorder", "surface"):
        if getattr(medium, name) is not None:
            raise InputError(f"Medium({name}=…): a round pulse knows none; use time_integral on a grid")
    if isinstance(medium.diffusivity, tuple):
        raise InputError("Medium(diffusivity=(Dx, Dy)): the spot does not stay round; use time_integral on a grid")
    for name in ("diffusivity", "lifetime", "annihilation", "auger", "traps"):
        if any(np.ndim(leaf) for leaf in jax.tree.leaves(getattr(medium, name))):
            raise InputError(f"Medium({name}=…): a map; a round pulse takes numbers only; use time_integral on a grid")


def _film(medium: Medium, radius) -> _Film:
    """`medium` in rates."""
    traps = tuple(_Species(one.rate, one.capture if one.fills else 0.0, one.release, one.decay) for one in medium.traps)
    return _Film(medium.diffusivity / radius**2, 1.0 / medium.lifetime, medium.annihilation, medium.auger, traps)


def _period(period: Any, bins: tuple[float, ...]) -> float:
    """The period as a plain number, or an `InputError`."""
    if not is_concrete(period) or not 0 < float(period) < np.inf:
        raise InputError(f"round_pulse(period={period!r}): expected a positive number of the host, ns")
    if bins[-1] > float(period) * (1 + 1e-12):
        raise InputError(f"round_pulse(period={float(period):g}): the edges reach to {bins[-1]:g} ns, beyond it")
    return float(period)


def _bins(edges: Any) -> tuple[float, ...]:
    """Edges as plain numbers, or an `InputError`."""
    if not is_concrete(edges):
        raise InputError("round_pulse(edges=…): traced; the times of the steps follow from them: give plain numbers")
    numbers = np.asarray(edges, float)
    if numbers.ndim != 1 or numbers.size < 2 or not (np.isfinite(numbers).all() and np.diff(numbers).min() > 0):
        raise InputError("round_pulse(edges=…): expected two or more finite, rising times in ns")
    if numbers[0] < 0:
        raise InputError(f"round_pulse(edges=…): begin at {numbers[0]:g} ns, before the pulse, which is at 0")
    return tuple(numbers.tolist())
