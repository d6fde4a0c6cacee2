"""Where the fit of a fluence series starts: hundreds of films held against its decays.

The decays alone, added up over the film, are cheap. Films spread evenly over what could be (an additive recurrence on
1/φ, 1/φ², …, φ^(d+1) = φ + 1; Roberts 2018) are held against them with the scales and backgrounds that suit each best.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.decays import Decay
from excidiff.inverse.files.fluences import Shot
from excidiff.inverse.fit.parameters import kind
from excidiff.inverse.fit.pulses import RANGES, Pulses, arrival, rise
from excidiff.inverse.fit.shots import FILMS, Layout, Pixels, ground_name, light_of, run_of, series_model
from excidiff.solver.solution import InputError

TRIED = 384  # films that are held against the decays
BEST = 3  # of which the fit is made from
COARSE_NODES, COARSE_STEPS = 24, 48
NOTHING = 1e-300  # photons per exciton and ns: no light


def starts(pulses: Pulses) -> list[Float64[np.ndarray, " P"]]:
    """The best films of those that were tried on the decays; of images alone, one of middling numbers."""
    films = FILMS[pulses.layout.model]
    low, high = (np.log([RANGES[name][side] * pulses.units[name] for name in films]) for side in (0, 1))
    tried = low + (high - low) * spread(TRIED, len(films))
    for column, name in enumerate(films):
        if name in pulses.constraints.fixed or name in pulses.known:
            told = pulses.constraints.fixed.get(name) or pulses.known[name][0]
            tried[:, column] = np.log(told)
    lower, upper = (limit[: len(films)] for limit in (pulses.knowledge.lower, pulses.knowledge.upper))
    tried = np.clip(tried, lower, upper)
    misfit, scales = against_decays(pulses, tried)
    order = np.argsort(misfit)[:BEST]
    if (scales[order[0]] <= np.log(NOTHING)).any():
        raise InputError(
            "the decays fall where light would make them rise: of a signal that a pulse makes negative, such as a "
            "bleach, give the negative"
        )
    found = [whole(pulses, tried[i], scales[i]) for i in order]
    for film in pulses.constraints.starting(films, tried[order[0]])[1:]:
        film = np.clip(film, lower, upper)
        found.append(whole(pulses, film, against_decays(pulses, film[None])[1][0]))
    return found


def against_decays(pulses: Pulses, tried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """χ² of every film against all decays, of counts Neyman's, and the scale (log) of each.

    Without decays, how far off middle.
    """
    lit = [(k, shot.decay) for k, shot in enumerate(pulses.shots) if shot.decay is not None]
    if not lit:
        return np.abs(tried - tried.mean(0)).sum(1), np.zeros((len(tried), 0))
    light = np.concatenate([_tried_light(pulses, tried, k, decay) for k, decay in lit], axis=1)
    sizes = [decay.time.size for _, decay in lit]
    data = np.concatenate([decay.counts for _, decay in lit])
    weight = np.concatenate([_weight(decay) for _, decay in lit])
    which = np.repeat(np.arange(len(lit)), sizes)
    grounds = (which[:, None] == np.arange(len(lit))[None, :]) * weight[:, None]
    # Backgrounds are projected out, the one scale of every film follows in closed form.
    basis = np.linalg.qr(grounds)[0]
    rest = data * weight - basis @ (basis.T @ (data * weight))
    shape = light * weight
    shape = shape - (shape @ basis) @ basis.T
    if pulses.layout.scale == "free":
        parts = [(which == k) for k in range(len(lit))]
        fits = [_scale(shape[:, p], rest[p]) for p in parts]
        chi2 = sum(((rest[p] - f[:, None] * shape[:, p]) ** 2).sum(1) for p, f in zip(parts, fits, strict=True))
        return np.asarray(chi2), np.log(np.maximum(np.stack(fits, axis=1), NOTHING))
    scale = _scale(shape, rest)
    scales = np.repeat(np.log(np.maximum(scale, NOTHING))[:, None], len(lit), axis=1)
    return ((rest - scale[:, None] * shape) ** 2).sum(1), scales


def _weight(decay: Decay) -> np.ndarray:
    """One over the standard error of each bin, as its own counts tell it."""
    return 1 / np.sqrt(decay.counts + 1.0) if decay.uncertainty is None else 1 / decay.uncertainty


def _tried_light(pulses: Pulses, tried: np.ndarray, k: int, decay: Decay) -> np.ndarray:
    """The light of every film in the bins of one decay; a response only shifts it here."""
    own = np.column_stack([tried, np.full((len(tried), 2), [np.log(pulses.width[0]), np.log(pulses.shots[k].density)])])
    edges, radius = pulses.layout.decays[k], np.asarray(pulses.pixels.radius)
    assert edges is not None
    layout = pulses.layout._replace(decays=(), exposures=(), responses=(), firsts=(), bins=())
    run, parts = run_of(layout, edges)
    found = np.array(_totals(layout, run, own, radius))
    if parts is not None:
        found = found @ parts.T
        first = 0.0 if decay.irf is None else (decay.edges[0] - rise(decay) - edges[0]) / decay.width
        place = np.clip(np.arange(decay.time.size) + round(float(first)), 0, found.shape[1] - 1)
        found = found[:, place]
    elif decay.irf is not None:
        late = max(round(float(rise(decay) - decay.edges[0]) / decay.width), 0)
        found = np.pad(found, ((0, 0), (late, 0)))[:, : decay.time.size]
    return found


def whole(pulses: Pulses, film: np.ndarray, scales: np.ndarray) -> Float64[np.ndarray, " P"]:
    """A film's numbers with everything else that a fit starts from; `scales`: (log) of its decays, in order."""
    start, lit = np.zeros(len(pulses.names)), [k for k, shot in enumerate(pulses.shots) if shot.decay is not None]
    start[: len(film)] = film
    for index, name in enumerate(pulses.names):
        what, number = kind(name), name.rpartition("_")[2]
        shot = pulses.shots[int(number) - 1] if number.isdecimal() else None
        if name in ("width", "psf_width") or what == "peak_density":
            start[index] = pulses.knowledge.centre[index]
        elif what in ("decay_scale", "scale") and lit:
            start[index] = scales[lit.index(int(number) - 1) if number.isdecimal() else 0]
        elif what == "centre_x" or what == "centre_y":
            spot = pulses.spots[int(number) - 1]
            assert spot is not None
            start[index] = spot.x if what == "centre_x" else spot.y
        elif what == "shift" and shot is not None and shot.decay is not None:
            start[index] = 0.0 if shot.decay.irf is None else arrival(shot.decay)
        elif what.endswith("background"):
            least = 0.02 if np.isfinite(pulses.knowledge.lower[index]) else -np.inf  # photons, or data of any sign
            start[index] = max(_ground(pulses, what, shot), least)
    return _lit(pulses, start)


def _ground(pulses: Pulses, what: str, shot: Shot | None) -> float:
    """A background to start from: the darkest of a decay, or below a spot; of several that share it, the least."""
    shots = pulses.shots if shot is None else [shot]
    if what.startswith("decay"):
        found = [float(np.quantile(one.decay.counts, 0.02)) for one in shots if one.decay is not None]
    else:
        found = [spot.background for one, spot in zip(pulses.shots, pulses.spots, strict=True) if one in shots and spot]
    return min(found)


def _lit(pulses: Pulses, start: np.ndarray) -> np.ndarray:
    """The same with scales of images that give as many photons as were counted."""
    lit = any(shot.decay is not None for shot in pulses.shots)
    wanted = ("image_scale",) if lit else ("image_scale", "scale")
    scales = [i for i, name in enumerate(pulses.names) if kind(name) in wanted]
    if not scales:
        return start
    expected = np.asarray(_expected(pulses.layout, jnp.asarray(start), pulses.pixels))
    place, light, seen = 0, [], []
    for k, (shot, spot) in enumerate(zip(pulses.shots, pulses.spots, strict=True)):
        if shot.image is None or spot is None:
            continue
        ground = start[pulses.names.index(ground_name(pulses.layout, "image", k))] * shot.image.counts.size
        light.append(float(expected[place : place + shot.image.counts.size].sum()) - ground)
        seen.append(max(float(shot.image.photons[shot.image.mask].sum()) - ground, 0.1 * spot.amplitude))
        place += shot.image.counts.size
    if len(scales) == 1:
        start[scales] = np.log(sum(seen) / sum(light))
    else:
        start[scales] = np.log(np.array(seen) / np.array(light))
    return start


def _scale(shape: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The factor of least squares for each row of `shape`, none below zero."""
    return np.maximum(shape @ rest, 0.0) / np.maximum((shape**2).sum(1), 1e-300)


@partial(jax.jit, static_argnums=(0, 1))
def _totals(layout: Layout, edges: tuple[float, ...], own, radius):
    """The light in every bin of many films, by a coarse solver."""
    nodes = 8 if layout.even else COARSE_NODES

    def one(numbers):
        return light_of(layout, numbers, edges, radius, nodes=nodes, steps=COARSE_STEPS)[0]

    return jax.lax.map(one, own, batch_size=64)


@partial(jax.jit, static_argnums=0)
def _expected(layout: Layout, parameters, pixels: Pixels):
    return series_model(layout)(parameters, pixels)[0].ravel()


def spread(count: int, dimensions: int) -> Float64[np.ndarray, "count dimensions"]:
    """Points spread evenly over the unit cube: multiples of 1/φ, 1/φ², …, φ^(d+1) = φ + 1, modulo one."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    return (0.5 + np.arange(1, count + 1)[:, None] * ratio ** -np.arange(1.0, dimensions + 1)[None, :]) % 1.0
