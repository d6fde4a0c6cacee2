"""Implicit time stepping of a linear medium, v' = −A v + g, with its error controlled and its memory bounded.

The scheme is the implicit part of ARK4(3)6L[2]SA (Kennedy and Carpenter, Appl. Numer. Math. 44 (2003) 139): fourth
order, L-stable, stiffly accurate, five solves with one matrix I + Δt A/4, and an embedded third order for the error.

Where nothing shines, the slowest loss κ that all cells share is taken out exactly: n = e^{−κt} m, and the steps
follow m, which only spreads.

What a solve leaves over is spread over the excitons, so that a step neither loses nor invents any beyond rounding.

Two passes. The first chooses the steps: an error estimate of each, as a share of the excitons present, is kept below
rtol/10 · Δt/(t + Δt), whose sum over a run from the first instants to any later time stays below rtol. The second,
taken only where a derivative is asked for, replays the same fractions of the same intervals as a plain scan, which
JAX differentiates in every mode; blocks of √max_steps steps are recomputed rather than stored in reverse.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from excidiff.solver.linear import elliptic
from excidiff.solver.linear.flux import Map, Operator
from excidiff.solver.linear.multigrid import Hierarchy, build

DIAGONAL = 0.25
TABLEAU = np.array(
    [
        [0, 0, 0, 0, 0],
        [1 / 4, 0, 0, 0, 0],
        [8611 / 62500, -1743 / 31250, 0, 0, 0],
        [5012029 / 34652500, -654441 / 2922500, 174375 / 388108, 0, 0],
        [15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768, 2285395 / 8070912, 0],
        [82889 / 524892, 0, 15625 / 83664, 69875 / 102672, -2260 / 8211],
    ]
)
WEIGHTS = np.append(TABLEAU[-1], DIAGONAL)
NODES = np.append(0.0, TABLEAU[1:].sum(1) + DIAGONAL)
EMBEDDED = np.array(
    [
        4586570599 / 29645900160,
        0,
        178811875 / 945068544,
        814220225 / 1159782912,
        -3700637 / 11593932,
        61727 / 225920,
    ]
)
FAINT = 1e-30
"""Share of the first excitons below which errors count as if that many were left: without it decay never ends."""
SAFETY, SHRINK, GROW = 0.9, 0.2, 4.0


class Steps(NamedTuple):
    """The steps taken: the time each leads to, where in that interval it begins, its share, whether it ends it."""

    frame: Int[Array, " steps"]
    begin: Float[Array, " steps"]
    share: Float[Array, " steps"]
    ends: Int[Array, " steps"]


def march(operator: Operator, v: Map, g: Map | None, times, *, rtol, solve_rtol, max_steps: int, integrate: bool):
    """(frames, stats, reached): v at each of `times`, or with `integrate` ∫ v dt between one and the next.

    `stats`: `error`, the sum of the error estimates; `steps`; `iterations` of all solves and their largest `residual`;
    `imbalance`, the share of the excitons that the steps lost or invented. `reached`: how many of the frames were
    reached. A solve that fails ends the march: the steps after it would stand on nothing.
    """
    hierarchy = lax.stop_gradient(build(operator))
    common = jnp.zeros((), v.dtype) if g is not None else lax.stop_gradient(jnp.min(operator.loss))
    g = jnp.zeros_like(v) if g is None else g
    settings = {"solve_rtol": solve_rtol, "integrate": integrate}

    @jax.custom_jvp
    def frames(arguments):
        out, stats, _ = _choose(*arguments, **settings, rtol=rtol, max_steps=max_steps)
        return out, stats

    @frames.defjvp
    def _(primals, tangents):
        _, stats, steps = _choose(*lax.stop_gradient(primals[0]), **settings, rtol=rtol, max_steps=max_steps)
        out, dout = jax.jvp(lambda a: _replay(*a, steps=steps, **settings), primals, tangents)
        return (out, stats), (dout, jax.tree.map(jnp.zeros_like, stats))

    out, stats = frames((operator, hierarchy, common, v, g, times))
    return out, stats, stats.pop("reached")


class Step(NamedTuple):
    """One step of m: m after it, ∫ e^{−κt} m dt over it, t from its start, both their error estimates, and its effort.

    `surplus`: the excitons after it that no balance explains.
    """

    value: Map
    integral: Map
    error: Map
    error_integral: Map
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    surplus: Float[Array, ""]


def _step(operator: Operator, hierarchy: Hierarchy, common, v: Map, g: Map, dt, rtol: float) -> Step:
    rate = 1.0 / (DIAGONAL * dt)
    stages = len(WEIGHTS)
    excitons = _excitons(operator)

    def stage(carry, part):
        values, slopes, iterations, residual = carry
        index, row = part
        base = v + dt * jnp.tensordot(row, slopes[:-1], 1)
        value, effort = elliptic.solve(
            operator, hierarchy, rate * base + g, shift=rate - common, rtol=rtol, guess=values[index - 1]
        )
        value = _balanced(value, rate * base + g, operator.loss + (rate - common), excitons)
        values = values.at[index].set(value)
        slopes = slopes.at[index].set(rate * (value - base))
        return (values, slopes, iterations + effort.iterations, jnp.maximum(residual, effort.residual)), None

    blank = jnp.zeros((stages, *v.shape), v.dtype)
    start = (blank.at[0].set(v), blank.at[0].set(g - operator.apply(v) + common * v))
    rows = jnp.asarray(TABLEAU[1:], v.dtype)
    carry = (*start, jnp.zeros((), int), jnp.zeros((), v.dtype))
    (values, slopes, iterations, residual), _ = lax.scan(stage, carry, (jnp.arange(1, stages), rows))
    weights, wrong = jnp.asarray(WEIGHTS, v.dtype), jnp.asarray(WEIGHTS - EMBEDDED, v.dtype)
    fading = jnp.exp(-common * dt * jnp.asarray(NODES, v.dtype))
    integral, error_integral = (dt * jnp.tensordot(w * fading, values, 1) for w in (weights, wrong))
    gained = dt * excitons(g - (operator.loss - common) * jnp.tensordot(weights, values, 1))
    surplus = lax.stop_gradient(excitons(values[-1] - v) - gained)
    return Step(
        values[-1], integral, dt * jnp.tensordot(wrong, slopes, 1), error_integral, iterations, residual, surplus
    )


def _excitons(operator: Operator):
    """How many excitons a field of the symmetric variable holds."""
    weight = None if operator.potential is None else lax.stop_gradient(jnp.exp(-0.5 * operator.potential))
    return lambda field: jnp.sum(field if weight is None else weight * field)


def _weight(operator: Operator):
    return jnp.ones((), operator.loss.dtype) if operator.potential is None else jnp.exp(-0.5 * operator.potential)


def _left(v: Map, first: Map, weight) -> Map:
    """m, or nothing where it has become `FAINT` itself, long before single precision can no longer hold its parts."""
    now, then = (jnp.sum(jnp.abs(weight * field)) for field in (v, first))
    return jnp.where(now < FAINT * then, 0.0, v)


def _balanced(v: Map, rate: Map, loss: Map, excitons) -> Map:
    """v with a share of |v| added, such that exactly `rate` excitons leave by `loss`, whatever a solve left over.

    Diffusion moves excitons and takes none, so that of A v the loss alone remains in the sum. The share is of the order
    of the solve's tolerance, and zero for an exact solve whatever the film: it has no derivative.
    """
    whole, given, loss = lax.stop_gradient((v, rate, loss))
    held = excitons(loss * jnp.abs(whole))
    share = excitons(given - loss * whole) / jnp.where(held > 0, held, 1.0)
    return v + share * jnp.abs(whole)


def _standing(v: Map) -> Step:
    """The step of no length."""
    blank, zero = jnp.zeros_like(v), jnp.zeros((), v.dtype)
    return Step(v, blank, blank, blank, jnp.zeros((), int), zero, zero)


def _choose(operator, hierarchy, common, v, g, times, *, solve_rtol, integrate, rtol, max_steps):
    """Step adaptively through all `times`; frames, stats and the `Steps` taken."""
    count = times.shape[0]
    weight = _weight(operator)
    starts = jnp.concatenate([jnp.zeros(1, times.dtype), times[:-1]])
    lengths = times - starts
    frames = jnp.zeros((count, *v.shape), v.dtype)

    def size(field):
        return jnp.sum(jnp.abs(weight * field))

    def running(state):
        going = (state["frame"] < count) & (state["taken"] < max_steps) & (state["tried"] < 4 * max_steps)
        return going & (state["residual"] <= elliptic.unsolved(solve_rtol, v.dtype))

    def advance(state):
        frame, share = state["frame"], state["share"]
        length = lengths[frame]
        left = (1.0 - share) * length
        wish = state["dt"]
        last = wish >= left * (1 - 1e-6)
        part = jnp.where(last, 1.0 - share, jnp.where(2 * wish > left, 0.5 * (1.0 - share), wish / _positive(length)))
        dt = part * length
        out = lax.cond(
            dt > 0,
            lambda: _step(operator, hierarchy, common, state["v"], g, dt, solve_rtol),
            lambda: _standing(state["v"]),
        )
        time = starts[frame] + share * length
        faded = jnp.exp(-common * time)
        total = state["integral"] + faded * out.integral
        present = jnp.maximum(_positive(size(out.value)), FAINT * size(v) / _positive(faded))
        matters = size(state["v"]) * faded >= FAINT * size(v)
        estimate = size(out.error) / present
        if integrate:
            estimate = jnp.maximum(estimate, size(faded * out.error_integral) / _positive(size(total)))
        allowed = 0.1 * rtol * dt / _positive(time + dt)
        accepted = (estimate <= allowed) | (dt <= 0)
        factor = jnp.clip(SAFETY * (allowed / _positive(estimate)) ** (1 / 3), SHRINK, GROW)
        residual = jnp.where(matters, out.residual, 0.0)
        residual = jnp.where(jnp.isfinite(estimate + dt), residual, jnp.nan)  # no shorter step would help
        proposal = jnp.where(accepted & (dt < wish), jnp.maximum(wish, factor * dt), factor * dt)
        ends = accepted & last
        here = jnp.where(accepted, state["taken"], max_steps)
        write = jnp.where(ends, frame, count)
        arrived = total if integrate else out.value * jnp.exp(-common * times[frame])
        return {
            "frame": frame + ends,
            "share": jnp.where(accepted, jnp.where(last, 0.0, share + part), share),
            "dt": jnp.where(dt > 0, proposal, wish),
            "v": jnp.where(accepted, _left(out.value, v, weight), state["v"]),
            "integral": jnp.where(ends, 0.0, jnp.where(accepted, total, state["integral"])),
            "frames": state["frames"].at[write].set(arrived, mode="drop"),
            "steps": Steps(
                state["steps"].frame.at[here].set(frame, mode="drop"),
                state["steps"].begin.at[here].set(share, mode="drop"),
                state["steps"].share.at[here].set(part, mode="drop"),
                state["steps"].ends.at[here].set(ends.astype(int), mode="drop"),
            ),
            "taken": state["taken"] + accepted,
            "tried": state["tried"] + 1,
            "error": state["error"] + jnp.where(accepted, estimate, 0.0),
            "iterations": state["iterations"] + out.iterations,
            "residual": jnp.maximum(state["residual"], residual),
            "surplus": state["surplus"] + jnp.where(accepted, out.surplus / present, 0.0),
        }

    steps = Steps(*(jnp.zeros(max_steps, d) for d in (int, v.dtype, v.dtype, int)))
    zero = jnp.zeros((), int)
    state = {
        "frame": zero,
        "share": jnp.zeros((), v.dtype),
        "dt": _first_step(operator.apply(v) - common * v - g, v, g, size, rtol, times[-1]),
        "v": v,
        "integral": jnp.zeros_like(v),
        "frames": frames,
        "steps": steps,
        "taken": zero,
        "tried": zero,
        "error": jnp.zeros((), v.dtype),
        "iterations": zero,
        "residual": jnp.zeros((), v.dtype),
        "surplus": jnp.zeros((), v.dtype),
    }
    state = lax.while_loop(running, advance, state)
    stats = {name: state[name] for name in ("error", "iterations", "residual")}
    stats |= {"steps": state["taken"], "imbalance": jnp.abs(state["surplus"])}
    out, reached = state["frames"], state["frame"]
    if integrate:  # no interval ends at the first time
        out, reached = out[1:], jnp.maximum(reached - 1, 0)
    stats = {name: value.astype(v.dtype) for name, value in (stats | {"reached": reached}).items()}
    return out, stats, state["steps"]


def _replay(operator, hierarchy, common, v, g, times, *, solve_rtol, integrate, steps: Steps):
    """The frames again, through the same steps, as a scan of checkpointed blocks that can be differentiated."""
    count = times.shape[0]
    lengths = jnp.diff(times, prepend=jnp.zeros(1, times.dtype))
    first, weight = lax.stop_gradient((v, _weight(operator)))
    fastest = lax.stop_gradient(jnp.max(operator.diagonal))
    harmless = 1e-3 / jnp.where(fastest > 0, fastest, 1.0)

    def one(carry, step):
        def take(carry):
            v, total, frames = carry
            dt = step.share * lengths[step.frame]
            start = times[step.frame] - (1.0 - step.begin) * lengths[step.frame]
            out = _step(operator, hierarchy, common, v, g, jnp.where(dt > 0, dt, harmless), solve_rtol)
            # A step of no length leads nowhere, yet its end may be moved: its expansion, exact to second order in dt.
            slope = g - operator.apply(v) + common * v
            bend = common * slope - operator.apply(slope)
            value = jnp.where(dt > 0, out.value, v + dt * (slope + 0.5 * dt * bend))
            integral = jnp.where(dt > 0, out.integral, dt * (v + 0.5 * dt * (slope - common * v)))
            return _left(value, first, weight), total + jnp.exp(-common * start) * integral, frames

        v, total, frames = lax.cond(_in_any_lane(step.share > 0), take, lambda carry: carry, carry)
        write = jnp.where(step.ends > 0, step.frame, count)
        frame = total if integrate else v * jnp.exp(-common * times[step.frame])
        frames = frames.at[write].set(frame, mode="drop")
        return (v, jnp.where(step.ends > 0, 0.0, total), frames), None

    size = int(np.ceil(np.sqrt(steps.share.shape[0])))
    spare = size * size - steps.share.shape[0]
    blocks = jax.tree.map(lambda a: jnp.pad(a, (0, spare)).reshape(size, size), steps)
    inner = jax.checkpoint(one)
    block = jax.checkpoint(lambda carry, part: lax.scan(inner, carry, part))
    frames = jnp.zeros((count, *v.shape), v.dtype)
    (_, _, frames), _ = lax.scan(block, (v, jnp.zeros_like(v), frames), blocks)
    return frames[1:] if integrate else frames


@jax.custom_batching.custom_vmap
def _in_any_lane(live: Array) -> Array:
    """Whether `live` holds anywhere in a batch: one answer for all, so that a branch on it stays a branch under `vmap`.

    Branches that differ within a batch would be computed both, and JAX cannot transpose what it makes of them within
    a `custom_jvp`.
    """
    return live


@_in_any_lane.def_vmap
def _(_, batched, live):
    return _in_any_lane(jnp.any(live, 0) if batched[0] else live), False


def _first_step(slope: Map, v: Map, g: Map, size, rtol: float, end) -> Array:
    """A first step well inside the fastest change at the start: the error control makes it longer or shorter."""
    slope = size(slope)
    present = jnp.where(size(v) > 0, size(v), size(g) * end)
    step = (rtol**0.25) * present / _positive(slope)
    return jnp.where(slope > 0, jnp.minimum(end, step), end)


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, jnp.asarray(jnp.finfo(x.dtype).tiny, x.dtype))
