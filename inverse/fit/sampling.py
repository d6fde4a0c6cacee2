"""The posterior by the No-U-Turn sampler (Hoffman and Gelman, J. Mach. Learn. Res. 15 (2014) 1593), of NumPyro.

The density is that of `problem`: the very likelihood of the fit, a prior that is flat in the fit's own numbers, which
are the logarithms of what is positive, within the limits of its search, and what is known beforehand.

The sampler walks through z, without limits and of about unit width in every direction:

    θ = limits(u),   u = u₀ + A z,   A Aᵀ = (D H D + C)⁻¹,   D = dθ/du,   H = JᵀV⁻¹J + Λ at the optimum,

with θ = low + (high − low)/(1 + e^−u) between two limits, low + σ log(1 + e^u) above one, and C the curvature of
their log dθ/du, which keeps directions finite that the data do not see. As dθ/du is in the density, neither map is
in the answer.

A draw costs some six slopes of the density: seconds for a few thousand of a small image or decay, minutes for a
spectral map, hours over a landscape, where every slope is a solve and the bootstrap is the quicker way.

Where the errors of a fit are wider than its likelihood's (noise of unknown size, a measured response whose noise bins
share), draws are stretched about the optimum, from the covariance of the likelihood to that of the fit, so that both
tell the same errors (Shaby, J. Comput. Graph. Stat. 23 (2014) 853).
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.fit.draws import Draws, Progress
from excidiff.inverse.fit.optimise import Model, moving
from excidiff.inverse.fit.parameters import LARGEST
from excidiff.inverse.fit.problem import Data, Problem, log_density
from excidiff.inverse.fit.uncertainty import covariance
from excidiff.solver.solution import InputError, SolverError

DRAWS, CHAINS, WARMUP = 2000, 4, 200
FEWEST, BLOCK = 100, 50
INSIDE = 0.5  # standard deviations from a limit, no nearer to which a chain's origin lies
ACCEPTED = 0.8  # of the steps, to which their size is tuned
ALIKE = 1e-6  # relative difference of two covariances that are one


class Box(NamedTuple):
    """The map from z to free parameters: which have a limit below and above (1 or 0), the limits, σ, u₀, A."""

    below: Float[Array | np.ndarray, " F"]
    above: Float[Array | np.ndarray, " F"]
    low: Float[Array | np.ndarray, " F"]
    high: Float[Array | np.ndarray, " F"]
    unit: Float[Array | np.ndarray, " F"]
    origin: Float[Array | np.ndarray, " F"]
    root: Float[Array | np.ndarray, "F F"]


def require_numpyro() -> None:
    """Raises InputError where NumPyro is not installed."""
    if find_spec("numpyro") is None:
        raise InputError(
            'interval = "nuts" samples the posterior with NumPyro, which is not installed: pip install '
            '"excidiff[bayes]", or choose the interval "bootstrap" or "profile"'
        )


def nuts(
    problem: Problem,
    values: Float64[np.ndarray, " P"],
    *,
    spread: Float64[np.ndarray, "P P"] | None = None,
    draws: int = DRAWS,
    chains: int = CHAINS,
    warmup: int = WARMUP,
    seed: int | Sequence[int] = 0,
    progress: Progress | None = None,
) -> Draws:
    """`draws` of the posterior of `problem`, whose optimum is at `values`, from `chains` one after the other.

    spread: the covariance that the fit gives its parameters, if it is not that of its likelihood. What the fit was not
    free to move stays at its value. Raises InputError without NumPyro, and for fewer than 100 draws.
    """
    require_numpyro()
    if draws < FEWEST or draws % chains:
        raise InputError(f"draws = {draws}: give a multiple of {chains}, one share for each chain, {FEWEST} at least")
    free = tuple(int(i) for i in np.flatnonzero(problem.knowledge.free))
    if not free:
        raise InputError("nothing is free in this fit: there is no posterior to sample")
    stem = [seed] if isinstance(seed, int) else list(seed)
    box, data = _box(problem, values, free), jax.device_put(problem.data)
    programs, given = _programs(problem.model, problem.noise, free, warmup), (box, data, jnp.asarray(values))
    random, found = np.random.default_rng(stem), []
    for number in range(chains):
        key = jax.random.key(int(random.integers(2**31)))
        start = random.standard_normal(len(free))
        found.append(_chain(programs, draws // chains, warmup, key, start, *given))
        if progress is not None:
            progress(number + 1, chains)
    places, diverged = (np.stack(parts) for parts in zip(*found, strict=True))
    if not np.isfinite(places).all():
        raise SolverError("the posterior was met where it is not finite: look for stray counts")
    made = {"method": "nuts", "draws": draws, "seed": stem[0], "chains": chains, "warmup": warmup}
    made |= {"divergences": int(diverged.sum()), **_judged(places[:, :, list(free)])}
    return Draws(_stretched(problem, values, spread, places.reshape(draws, -1)), made)


def _judged(places: Float64[np.ndarray, "C N F"]) -> dict[str, float]:
    """The largest r_hat of halves of chains and the fewest effective draws of all parameters."""
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    mixed, effective = split_gelman_rubin(places), effective_sample_size(places)
    return {"r_hat": float(np.max(mixed)), "effective_draws": float(np.min(effective))}


@lru_cache(maxsize=8)
def _programs(model: Model, noise: str, free: tuple[int, ...], warmup: int):
    """Two compiled programs: (key, start z, box, data, values) → a chain's state, and that, box, data, values → the
    state `BLOCK` steps on, with θ (BLOCK, P) and whether each step diverged. One serves adaptation and draws alike."""
    from numpyro.infer.hmc import hmc

    index = np.array(free)

    def energy(box: Box, data: Data, values):
        def of(z):
            inside, volume = _placed(z, box)
            return -(log_density(model, noise, values.at[index].set(inside), data) + volume)

        return of

    def begun(key, start, given):
        begin, step = hmc(potential_fn_gen=energy, algo="NUTS")
        return begin(start, warmup, model_args=given, rng_key=key, target_accept_prob=ACCEPTED), step

    @jax.jit
    def first(key, start, *given):
        return begun(key, start, given)[0]

    @jax.jit
    def block(state, *given):
        values = given[2]
        _, step = begun(state.rng_key, state.z, given)  # as it begins it makes its plan of adaptation

        def move(state, _):
            state = step(state, given)
            return state, (values.at[index].set(_placed(state.z, given[0])[0]), state.diverging)

        return jax.lax.scan(move, state, length=BLOCK)

    return first, block


def _chain(programs, draws: int, warmup: int, key, start, *given):
    """θ (draws, P) after `warmup` steps of adaptation, and whether each diverged."""
    first, block = programs
    state, found = first(key, start, *given), []
    for _ in range(-(-(warmup + draws) // BLOCK)):
        state, step = block(state, *given)
        found.append(jax.tree.map(np.asarray, step))
    return tuple(np.concatenate(parts)[warmup : warmup + draws] for parts in zip(*found, strict=True))


def _placed(z, box: Box):
    """θ of the free parameters, and log |dθ/dz| up to a constant."""
    u = box.origin + box.root @ z
    rising, falling = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
    both, one = box.below * box.above, box.below + box.above - 2 * box.below * box.above
    near = box.unit * jax.nn.softplus(u)
    from_end = jnp.where(box.below > 0, box.low + near, box.high - near)
    inside = jnp.where(both > 0, box.low + (box.high - box.low) * jnp.exp(rising), box.unit * u)
    inside = jnp.where(one > 0, from_end, inside)
    return inside, jnp.sum(both * (rising + falling) + one * rising)


def _box(problem: Problem, values, free: tuple[int, ...]) -> Box:
    """The map of the module about the optimum, or about a point a little inside the limits that hold it."""
    index, known = list(free), problem.knowledge
    precise = problem.at(values).information / problem.unit + known.precision
    lower, upper, at = known.lower[index], known.upper[index], values[index].astype(float)
    below, above = np.isfinite(lower), np.isfinite(upper)
    wide = np.where(below & above, np.where(below, upper, 1.0) - np.where(below, lower, 0.0), np.inf)
    curved = np.diagonal(precise)[index]
    unit = np.where(curved > 0, 1 / np.sqrt(np.where(curved > 0, curved, 1.0)), np.minimum(wide, 1 + np.abs(at)))
    apart = np.minimum(INSIDE * unit, 0.25 * wide)
    at = np.clip(at, lower + apart, upper - apart)
    inside = values.copy()
    inside[index] = at
    precise = (problem.at(inside).information / problem.unit + known.precision)[np.ix_(index, index)]
    low, high = np.where(below, lower, 0.0), np.where(above, upper, 1.0)
    share = np.where(below & above, (at - low) / np.where(below & above, high - low, 1.0), 0.5)
    away = np.where(below, at - low, high - at) / unit  # = log(1 + e^u) with one limit
    away = np.where(below ^ above, away, 1.0)
    one = away + np.log(-np.expm1(-away))
    u = np.where(below & above, np.log(share / (1 - share)), np.where(below ^ above, one, at / unit))
    rise = 1 / (1 + np.exp(-np.maximum(u, -LARGEST)))
    slope = np.where(below & above, (high - low) * share * (1 - share), unit * np.where(below ^ above, rise, 1.0))
    bend = np.where(below & above, 2.0, np.where(below ^ above, 1.0, 0.0)) * rise * (1 - rise)
    curvature = precise * np.outer(slope, slope) + np.diag(bend)
    scale = 1 / np.sqrt(np.diagonal(curvature) + 1e-12)
    factor = np.linalg.cholesky(curvature * np.outer(scale, scale) + 1e-9 * np.eye(len(index)))
    root = scale[:, None] * np.linalg.inv(factor).T
    return Box(below.astype(float), above.astype(float), low, high, unit, u, root)


def _stretched(problem: Problem, values, spread, places) -> Float64[np.ndarray, "N P"]:
    """The draws with the covariance `spread` instead of that of the likelihood, where the two differ."""
    best = problem.at(values)
    mobile = moving(best, problem.knowledge)
    simple = covariance(best.information / problem.unit + problem.knowledge.precision, mobile).matrix
    index = np.flatnonzero(mobile & (np.diagonal(simple) > 0))
    if spread is None or not index.size:
        return places
    own, wanted = (matrix[np.ix_(index, index)] for matrix in (simple, spread))
    size = np.sqrt(np.diagonal(own))
    if np.abs((wanted - own) / np.outer(size, size)).max() < ALIKE:
        return places
    root = partial(_root, size=size)
    stretch = root(wanted) @ np.linalg.inv(root(own))
    found = places.copy()
    found[:, index] = values[index] + (places[:, index] - values[index]) @ stretch.T
    return np.clip(found, problem.knowledge.lower, problem.knowledge.upper)


def _root(matrix, size) -> Float64[np.ndarray, "F F"]:
    """The Cholesky factor of a covariance, found in units of `size` so that no unit matters."""
    scaled = matrix / np.outer(size, size)
    return size[:, None] * np.linalg.cholesky(scaled + 1e-10 * np.diag(np.diagonal(scaled)))
