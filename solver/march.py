"""Time stepping with its error controlled and its memory bounded: many steps of `scheme`.

Two passes. The first chooses the steps: an error estimate of each, as a share of the excitons present, free ones and
those in each species of traps each by themselves, is kept below rtol/10 · Δt/(t + Δt), whose sum over a run from the
first instants to any later time stays below rtol. The second, taken only where a derivative is asked for, follows the
tangent through the same fractions of the same intervals, in blocks of about √(max_steps/7) steps. A block starts from
the state that the first pass had there; in reverse its steps are taken once more, and their solutions kept until it
is done.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import zero_from_primal
from jaxtyping import Array, Float, Int

from excidiff.solver.linear import elliptic
from excidiff.solver.linear.elliptic import SOLUTION
from excidiff.solver.linear.multigrid import build
from excidiff.solver.precision import full_precision
from excidiff.solver.scheme import State, System, expand, stand_still, take_step, watch

FAINT = 1e-30
"""Share of the first excitons below which errors count as if that many were left: without it decay never ends."""
FEW = 1e-12
"""Share of all excitons below which those that are free, or in one species, count as if they were that many."""
DOUBT = 3.0
"""Where the equation is not linear the error of the fourth order was up to 2.7 times the estimate of the third."""
SAFETY, SHRINK, GROW = 0.9, 0.2, 4.0


class Steps(NamedTuple):
    """The steps taken: the time each leads to, where in that interval it begins, its share, whether it ends it."""

    frame: Int[Array, " steps"]
    begin: Float[Array, " steps"]
    share: Float[Array, " steps"]
    ends: Int[Array, " steps"]


def march(system: System, u: State, times, *, rtol, solve_rtol, max_steps: int, integrate: bool, square: bool):
    """(frames, stats, reached): u at each of `times`, or with `integrate` ∫ w dt between one and the next.

    w is u, and with `square` n² beside it. `stats`: `error`, the sum of the error estimates; `steps`; `iterations` of
    all solves and their largest `residual`; `imbalance`, the share of the excitons that the steps lost or invented.
    `reached`: how many of the frames were reached. A solve that fails ends the march: the steps after it would stand
    on nothing.
    """
    hierarchy = lax.stop_gradient(build(system.operator))
    settings = {"solve_rtol": solve_rtol, "integrate": integrate, "square": square}
    control = settings | {"rtol": rtol, "max_steps": max_steps}

    @jax.custom_jvp
    def frames(arguments):
        chosen = choose(*arguments, **control, marks=0)
        return chosen.frames, chosen.stats

    @frames.defjvp
    def _(primals, tangents):
        (out, stats, *_), (dout, dstats, *_) = jax.jvp(marked, primals, tangents)
        return (out, stats), (dout, dstats)

    @jax.custom_jvp
    def marked(arguments):
        return choose(*arguments, **control, marks=block_size(max_steps))

    @marked.defjvp
    @full_precision
    def _(primals, tangents):
        chosen = marked(*primals)
        dmarks, dframes = follow(primals[0], tangents[0], chosen, **settings)
        still = jax.tree.map(zero_from_primal, chosen)
        return chosen, still._replace(marks=dmarks, frames=dframes)

    out, stats = frames((system, hierarchy, u, times))
    return out, stats, stats.pop("reached")


class Chosen(NamedTuple):
    """The first pass: frames, stats, the `Steps` taken, and the states at the start of each block of them."""

    frames: Float[Array, "times fields rows columns"]
    stats: dict[str, Array]
    steps: Steps
    marks: Float[Array, "blocks fields rows columns"]


def block_size(max_steps: int) -> int:
    """Steps in a block: where the states at all blocks' starts and the seven of each step of one are fewest in all."""
    return int(np.ceil(np.sqrt(max_steps / 7)))


def _left(system: System, u: State, first: State) -> State:
    """u, or nothing where it has become `FAINT` itself, long before single precision can no longer hold its parts."""
    now, then = (jnp.sum(system.sizes(state)) for state in (u, first))
    return jnp.where(now < FAINT * then, 0.0, u)


def choose(system, hierarchy, u, times, *, solve_rtol, integrate, square, rtol, max_steps, marks: int = 0) -> Chosen:
    """Step adaptively through all `times`; `marks`: how many steps from one kept state to the next, 0 to keep none."""
    count = times.shape[0]
    starts = jnp.concatenate([jnp.zeros(1, times.dtype), times[:-1]])
    lengths = times - starts
    fields = u.shape[0]
    nothing = jnp.zeros_like(watch(system, u, square) if integrate else u)
    common, doubt = system.common, 1.0 if system.linear else DOUBT
    floor = FAINT * jnp.sum(system.sizes(u)) + system.expected()

    def running(state):
        going = (state["frame"] < count) & (state["taken"] < max_steps) & (state["tried"] < 4 * max_steps)
        return going & (state["residual"] <= elliptic.unsolved(solve_rtol, u.dtype))

    def advance(state):
        frame, share = state["frame"], state["share"]
        length = lengths[frame]
        left = (1.0 - share) * length
        time = starts[frame] + share * length
        wish = jnp.minimum(state["dt"], system.longest(time, times[-1]))
        last = wish >= left * (1 - 1e-6)
        part = jnp.where(last, 1.0 - share, jnp.where(2 * wish > left, 0.5 * (1.0 - share), wish / _positive(length)))
        dt = part * length
        out = lax.cond(
            dt > 0,
            lambda: take_step(system, hierarchy, state["u"], time, dt, rtol=solve_rtol, square=square),
            lambda: stand_still(system, state["u"], square),
        )
        faded = jnp.exp(-common * time)
        total = state["integral"] + faded * out.integral if integrate else state["integral"]
        sizes = system.sizes(out.value)
        present = jnp.maximum(jnp.maximum(sizes, FEW * jnp.sum(sizes)), _positive(floor / _positive(faded)))
        matters = jnp.sum(system.sizes(state["u"])) * faded >= floor
        estimate = doubt * jnp.max(system.sizes(out.error) / present)
        if integrate:
            wrong = system.sizes(faded * out.error_integral[:fields]) / _positive(system.sizes(total[:fields]))
            estimate = jnp.maximum(estimate, jnp.max(wrong))
        if integrate and square:
            wrong = jnp.sum(jnp.abs(out.error_integral[fields])) / _positive(jnp.sum(jnp.abs(total[fields])))
            estimate = jnp.maximum(estimate, wrong)
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
        now = jnp.where(accepted, _left(system, out.value, u), state["u"])
        taken = state["taken"] + accepted
        kept = state["marks"]
        if marks:
            mark = jnp.where(accepted & (taken % marks == 0), taken // marks, len(kept))
            kept = kept.at[mark].set(now, mode="drop")
        return {
            "frame": frame + ends,
            "share": jnp.where(accepted, jnp.where(last, 0.0, share + part), share),
            "dt": jnp.where(dt > 0, proposal, wish),
            "u": now,
            "marks": kept,
            "integral": jnp.where(ends, 0.0, jnp.where(accepted, total, state["integral"])),
            "frames": state["frames"].at[write].set(arrived, mode="drop"),
            "steps": Steps(
                state["steps"].frame.at[here].set(frame, mode="drop"),
                state["steps"].begin.at[here].set(share, mode="drop"),
                state["steps"].share.at[here].set(part, mode="drop"),
                state["steps"].ends.at[here].set(ends.astype(int), mode="drop"),
            ),
            "taken": taken,
            "tried": state["tried"] + 1,
            "error": state["error"] + jnp.where(accepted, estimate, 0.0),
            "iterations": state["iterations"] + out.iterations,
            "residual": jnp.maximum(state["residual"], residual),
            "surplus": state["surplus"] + jnp.where(accepted, out.surplus / jnp.sum(present), 0.0),
        }

    steps = Steps(*(jnp.zeros(max_steps, d) for d in (int, u.dtype, u.dtype, int)))
    zero = jnp.zeros((), int)
    state = {
        "frame": zero,
        "share": jnp.zeros((), u.dtype),
        "dt": _first_step(system, u, rtol, times[-1]),
        "u": u,
        "marks": jnp.zeros((-(-max_steps // marks) if marks else 0, *u.shape), u.dtype).at[:1].set(u[None]),
        "integral": nothing,
        "frames": jnp.zeros((count, *nothing.shape), u.dtype),
        "steps": steps,
        "taken": zero,
        "tried": zero,
        "error": jnp.zeros((), u.dtype),
        "iterations": zero,
        "residual": jnp.zeros((), u.dtype),
        "surplus": jnp.zeros((), u.dtype),
    }
    state = lax.while_loop(running, advance, state)
    stats = {name: state[name] for name in ("error", "iterations", "residual")}
    stats |= {"steps": state["taken"], "imbalance": jnp.abs(state["surplus"])}
    out, reached = state["frames"], state["frame"]
    if integrate:  # no interval ends at the first time
        out, reached = out[1:], jnp.maximum(reached - 1, 0)
    stats = {name: value.astype(u.dtype) for name, value in (stats | {"reached": reached}).items()}
    return Chosen(out, stats, state["steps"], state["marks"])


def replay(system, hierarchy, u, times, *, steps: Steps, **settings):
    """The frames again, through the same steps, as a scan of checkpointed blocks that can be differentiated."""

    def block(carry, part):
        return _block(system, hierarchy, times, carry, part, u, settings), None

    blocks = _blocks(steps)
    (_, _, frames), _ = lax.scan(jax.checkpoint(block), _outset(system, u, times, settings), blocks)
    return frames[1:] if settings["integrate"] else frames


def follow(primals, tangents, chosen: Chosen, **settings):
    """Tangents of the marks and of the frames: linear in `tangents`, block after block from the known states."""
    system, hierarchy, u, times = primals
    dsystem, _, du, dtimes = tangents

    def block(carry, part):
        mark, steps = part
        before = (mark, *_outset(system, u, times, settings)[1:])  # what was collected before only adds to the rest
        fixed, moving = (system, times, before), (dsystem, dtimes, carry)
        _, after = jax.jvp(lambda s, t, c: _block(s, hierarchy, t, c, steps, u, settings), fixed, moving)
        return after, carry[0]

    start = jax.tree.map(jnp.zeros_like, _outset(system, u, times, settings))
    (_, _, dframes), dmarks = lax.scan(jax.checkpoint(block), (du, *start[1:]), (chosen.marks, _blocks(chosen.steps)))
    return dmarks, dframes[1:] if settings["integrate"] else dframes


def _outset(system: System, u: State, times, settings: dict):
    """(u, ∫ w dt, frames) before the first step."""
    nothing = jnp.zeros_like(watch(system, u, settings["square"]) if settings["integrate"] else u)
    return u, nothing, jnp.zeros((times.shape[0], *nothing.shape), u.dtype)


def _blocks(steps: Steps) -> Steps:
    size = block_size(steps.share.shape[0])
    spare = -steps.share.shape[0] % size
    return jax.tree.map(lambda a: jnp.pad(a, (0, spare)).reshape(-1, size), steps)


def _block(system, hierarchy, times, carry, steps: Steps, first: State, settings: dict):
    """(u, ∫ w dt, frames) after the `steps`; of a run that began with `first`."""
    integrate, square = settings["integrate"], settings["square"]
    first, common = lax.stop_gradient(first), system.common
    lengths = jnp.diff(times, prepend=jnp.zeros(1, times.dtype))
    fastest = lax.stop_gradient(jnp.max(system.operator.diagonal))
    harmless = 1e-3 / jnp.where(fastest > 0, fastest, 1.0)

    def one(carry, step):
        def take(carry):
            u, total, frames = carry
            dt = step.share * lengths[step.frame]
            start = times[step.frame] - (1.0 - step.begin) * lengths[step.frame]
            moving = jnp.where(dt > 0, dt, harmless)
            out = take_step(system, hierarchy, u, start, moving, rtol=settings["solve_rtol"], square=square)
            after = out.value, out.integral
            # A step of no length leads nowhere, yet its end may be moved.
            still = lax.cond(_in_any_lane(dt <= 0), lambda: expand(system, u, start, dt, square), lambda: after)
            value, integral = jax.tree.map(lambda a, b: jnp.where(dt > 0, a, b), after, still)
            if integrate:
                total = total + jnp.exp(-common * start) * integral
            return _left(system, value, first), total, frames

        u, total, frames = lax.cond(_in_any_lane(step.share > 0), take, lambda carry: carry, carry)
        write = jnp.where(step.ends > 0, step.frame, times.shape[0])
        frame = total if integrate else u * jnp.exp(-common * times[step.frame])
        frames = frames.at[write].set(frame, mode="drop")
        return (u, jnp.where(step.ends > 0, 0.0, total), frames), None

    kept = jax.checkpoint_policies.save_only_these_names(SOLUTION)
    taken = _in_any_lane(jnp.any(steps.share > 0))
    return lax.cond(
        taken, lambda carry: lax.scan(jax.checkpoint(one, policy=kept), carry, steps)[0], lambda carry: carry, carry
    )


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


def _first_step(system: System, u: State, rtol: float, end) -> Array:
    """A first step well inside the fastest change at the start: the error control makes it longer or shorter."""
    slope = jnp.sum(system.sizes(system.slope(u, jnp.zeros_like(end))))
    held = jnp.sum(system.sizes(u))
    present = jnp.where(held > 0, held, slope * end)
    step = (rtol**0.25) * present / _positive(slope)
    return jnp.where(slope > 0, jnp.minimum(end, step), end)


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, jnp.asarray(jnp.finfo(x.dtype).tiny, x.dtype))
