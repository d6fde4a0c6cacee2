"""Where the fit of a fluence series starts: hundreds of films held against its decays, and the light of its movies.

The light of all of the film in time is cheap. Films spread evenly over what could be (an additive recurrence on
1/φ, 1/φ², …, φ^(d+1) = φ + 1; Roberts 2018) are held against them with the scales and backgrounds that suit each best.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.decays import Decay
from excidiff.inverse.files.fluences import Shot
from excidiff.inverse.fit.arrivals import arrival, rise
from excidiff.inverse.fit.layout import CENTRES, FILMS, Instruments, Layout, Look, scale_name
from excidiff.inverse.fit.parameters import OPTICAL, inner, kind
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.runs import Run, run_of, run_of_picture, run_of_scan
from excidiff.inverse.fit.shots import light_of, seen_of, series_model
from excidiff.inverse.fit.taken import Taken
from excidiff.inverse.fit.told import RANGES
from excidiff.solver.solution import InputError

TRIED = 384  # films that are held against the decays
BEST = 3  # of which the fit is made from
COARSE_NODES, COARSE_STEPS = 24, 48
ROUGHLY = 0.02  # relative error of the coarse solver, beside that of a scan's mean
NOTHING = 1e-300  # photons per exciton and ns: no light
WINGS = 0.3  # of the band's σ that a Lorentzian's width is, where the fit of a Voigt line starts
CENTRED = {name: (what, axis) for what, names in CENTRES.items() for axis, name in enumerate(names)}


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
    of_band = {name: inner(name, value) for name, value in pulses.constraints.starts.items() if name in pulses.names}
    if set(of_band) & set(pulses.layout.colours):
        found.append(found[-1].copy())
        for name in set(of_band) & set(pulses.layout.colours):
            found[-1][pulses.names.index(name)] = of_band[name]
    return found


class Curve(NamedTuple):
    """The light of the film in time after pulse `pulse`: `counts` and one over their errors; `decay` or movie."""

    pulse: int
    counts: np.ndarray
    weight: np.ndarray
    source: Decay | Taken

    @property
    def what(self) -> str:
        return "decay" if isinstance(self.source, Decay) else "frames"


def curves(pulses: Pulses) -> list[Curve]:
    """Of all decays, then of all movies."""
    found = [
        Curve(k, shot.decay.counts, _weight(shot.decay), shot.decay)
        for k, shot in enumerate(pulses.shots)
        if shot.decay is not None
    ]
    for one in pulses.taken:
        if one.picture.what == "frames":
            read = one.reading
            counts, law = read.values.sum((1, 2)), read.law(np.maximum(read.values, 0.0)).sum((1, 2))
            found.append(Curve(one.picture.pulse, counts, 1 / np.sqrt(law + 1.0), one))
    return found


def against_decays(pulses: Pulses, tried: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """χ² of every film against all light in time, of counts Neyman's, and all scans; the scale (log) of each decay.

    Without any, how far off middle.
    """
    lit = curves(pulses)
    if not lit and not pulses.surveyed:
        return np.abs(tried - tried.mean(0)).sum(1), np.zeros((len(tried), 0))
    chi2, scales, groups = _against_scans(pulses, tried), {}, {}
    for one in lit:
        shape = _tried_light(pulses, tried, one) * one.weight
        # The background is projected out, the one scale of a kind, or of each, follows in closed form.
        ground = one.weight / np.linalg.norm(one.weight)
        rest = one.counts * one.weight
        shape, rest = shape - (shape @ ground)[:, None] * ground, rest - (rest @ ground) * ground
        key = (one.what, one.pulse) if pulses.layout.scale == "free" else one.what
        groups.setdefault(key, []).append((one, shape, rest))
    for members in groups.values():
        shape, rest = np.concatenate([m[1] for m in members], axis=1), np.concatenate([m[2] for m in members])
        scale = _scale(shape, rest)
        chi2 += ((rest - scale[:, None] * shape) ** 2).sum(1)
        scales |= {one.pulse: np.log(np.maximum(scale, NOTHING)) for one, _, _ in members if one.what == "decay"}
    found = [scales[one.pulse] for one in lit if one.what == "decay"]
    return chi2, np.stack(found, axis=1) if found else np.zeros((len(tried), 0))


def _against_scans(pulses: Pulses, tried: np.ndarray) -> np.ndarray:
    """χ² of every film against all scans, those of photons with the scales that suit them best."""
    groups: dict[str, list[tuple[np.ndarray, float]]] = {}
    chi2, layout, known = np.zeros(len(tried)), _bare(pulses.layout), {}
    radius = np.asarray(pulses.instruments.radius)
    for one in pulses.surveyed:
        key = one.look._replace(ages=False), float(one.near)
        if key not in known:  # photons and ages are of the same light
            own = _with_pulse(pulses, tried, one.look.pulse)
            known[key] = np.asarray(_looks(layout, key[0]._replace(pulse=0), own, radius, one.near)).T
        light, moments = known[key]
        weight = 1 / np.hypot(one.error, ROUGHLY * one.mean)
        if one.look.ages:
            chi2 += ((moments / light - one.mean) * weight) ** 2
        else:
            name = scale_name(pulses.layout, one.look.what, one.look.pulse)
            groups.setdefault(name, []).append((light * weight, one.mean * weight))
    for members in groups.values():
        lit, counted = np.stack([m[0] for m in members], axis=1), np.array([m[1] for m in members])
        chi2 += ((counted - _scale(lit, counted)[:, None] * lit) ** 2).sum(1)
    return chi2


def _bare(layout: Layout) -> Layout:
    """The film alone, without what is measured."""
    return layout._replace(pictures=(), decays=(), responses=(), firsts=(), bins=(), scans=())


def _with_pulse(pulses: Pulses, tried: np.ndarray, k: int) -> np.ndarray:
    """Films with the width and the density of a pulse, as `light_of` takes them."""
    pulse = [np.log(pulses.width[0]), np.log(pulses.shots[k].density)]
    return np.column_stack([tried, np.full((len(tried), 2), pulse)])


def _weight(decay: Decay) -> np.ndarray:
    """One over the standard error of each bin, as its own counts tell it."""
    return 1 / np.sqrt(decay.counts + 1.0) if decay.uncertainty is None else 1 / decay.uncertainty


def _tried_light(pulses: Pulses, tried: np.ndarray, curve: Curve) -> np.ndarray:
    """The light of every film in the bins of one curve; a response only shifts it here."""
    k, decay = curve.pulse, curve.source
    own = _with_pulse(pulses, tried, k)
    radius = np.asarray(pulses.instruments.radius)
    layout = _bare(pulses.layout)
    if isinstance(decay, Taken):
        run, gates = run_of_picture(pulses.layout, decay.picture)
        found = np.asarray(_totals(layout, Run(run.edges), own, radius))
        return found if gates is None else found @ gates.T
    edges = pulses.layout.decays[k]
    assert edges is not None
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
        if name in OPTICAL or what == "peak_density":
            start[index] = pulses.knowledge.centre[index]
        elif what in ("decay_scale", "scale") and lit:
            start[index] = scales[lit.index(int(number) - 1) if number.isdecimal() else 0]
        elif name in pulses.layout.colours:
            start[index] = _of_band(pulses, name)
        elif what in CENTRED:
            of, axis = CENTRED[what]
            (seen,) = (one for one in pulses.seen if (one.picture.what, one.picture.pulse) == (of, int(number) - 1))
            start[index] = seen.middle[axis]
        elif what == "shift" and shot is not None and shot.decay is not None:
            start[index] = 0.0 if shot.decay.irf is None else arrival(shot.decay)
        elif what.endswith("background"):
            least = 0.02 if np.isfinite(pulses.knowledge.lower[index]) else -np.inf  # photons, or data of any sign
            start[index] = max(_ground(pulses, name, shot), least)
    return _lit(pulses, pulses.held(start))


def _ground(pulses: Pulses, name: str, shot: Shot | None) -> float:
    """A background to start from: the darkest of a decay, or below a spot; of several that share it, the least."""
    if name.startswith("decay"):
        shots = pulses.shots if shot is None else [shot]
        return min(float(np.quantile(one.decay.counts, 0.02)) for one in shots if one.decay is not None)
    return min(one.background for one in pulses.seen if pulses.ground(one.picture.what, one.picture.pulse) == name)


def _of_band(pulses: Pulses, name: str) -> float:
    """A number of the spectra's bands to start from, the fit's own; none of the light is that of traps."""
    bands = np.array([one.band for one in pulses.scanned])
    centre, width, _ = np.median(bands, axis=0)
    own = {"linewidth": np.log(width), "lorentzian": np.log(WINGS * width), "band_centre": centre,
           "trap_band_centre": centre - 3 * width, "trap_band_width": np.log(width)}  # fmt: skip
    return float(own.get(name, 0.0))


def _lit(pulses: Pulses, start: np.ndarray) -> np.ndarray:
    """The same with scales of pictures and spectra that give as many photons as were counted."""
    known = any(shot.decay is not None for shot in pulses.shots)
    if not pulses.seen and not pulses.surveyed:
        return start
    expected = np.asarray(expected_of(pulses.layout, jnp.asarray(start), pulses.instruments))
    seen = (*pulses.seen, *pulses.surveyed)
    parts = np.split(expected, np.cumsum([one.reading.values.size for one in seen]))
    light: dict[str, float] = {}
    counted: dict[str, float] = {}
    for one, part in zip(pulses.seen, parts, strict=False):  # the last parts are those of scans and decays
        of = one.picture.what, one.picture.pulse
        name, values = scale_name(pulses.layout, *of), one.reading.values
        ground = start[pulses.names.index(pulses.ground(*of))] * values.size
        light[name] = light.get(name, 0.0) + float(part.sum()) - ground
        counted[name] = counted.get(name, 0.0) + max(float(values.sum()) - ground, one.faintest)
    for one, part in zip(pulses.surveyed, parts[len(pulses.seen) :], strict=False):
        if not one.look.ages:
            name = scale_name(pulses.layout, one.look.what, one.look.pulse)
            light[name] = light.get(name, 0.0) + float(part.sum())
            counted[name] = counted.get(name, 0.0) + one.mean
    for name, whole in light.items():
        if name != "scale" or not known:
            start[pulses.names.index(name)] += np.log(counted[name] / whole)
    return start


def _scale(shape: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The factor of least squares for each row of `shape`, none below zero."""
    return np.maximum(shape @ rest, 0.0) / np.maximum((shape**2).sum(1), 1e-300)


@partial(jax.jit, static_argnums=(0, 1))
def _totals(layout: Layout, run: Run, own, radius):
    """The light in every bin of many films, by a coarse solver."""
    nodes = 8 if layout.even else COARSE_NODES

    def one(numbers):
        return light_of(layout, numbers, run, radius, nodes=nodes, steps=COARSE_STEPS)[0]

    return jax.lax.map(one, own, batch_size=64)


@partial(jax.jit, static_argnums=(0, 1))
def _looks(layout: Layout, look: Look, own, radius, near):
    """The light of many films in a scan and its first moment in time, by a coarse solver."""

    def one(numbers):
        found = light_of(layout, numbers, run_of_scan(look), radius, nodes=COARSE_NODES, steps=COARSE_STEPS)
        return jnp.stack(seen_of(look, found[0], found[1], found[3], near))

    return jax.lax.map(one, own, batch_size=64)


@partial(jax.jit, static_argnums=0)
def expected_of(layout: Layout, parameters, given: Instruments):
    """All that is expected, in a row, without its slopes."""
    return series_model(layout)(parameters, given)[0].ravel()


def spread(count: int, dimensions: int) -> Float64[np.ndarray, "count dimensions"]:
    """Points spread evenly over the unit cube: multiples of 1/φ, 1/φ², …, φ^(d+1) = φ + 1, modulo one."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    return (0.5 + np.arange(1, count + 1)[:, None] * ratio ** -np.arange(1.0, dimensions + 1)[None, :]) % 1.0
