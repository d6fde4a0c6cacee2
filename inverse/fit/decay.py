"""The fit of one decay: lifetimes and their shares of the photons, through the instrument's response.

    µ_j = b + a₀ R_j(δ) + Σ_k a_k S_j(τ_k, δ)

photons in bin j: background b per bin, scattered laser light a₀ with the response R itself, and the components' a_k per
period of the laser with what `response` shows of each. All of it is fitted at once by the Poisson likelihood, the shift
δ included, from a start that the data give: the best of a lattice of lifetimes and shifts. Counts that come with an
uncertainty are fitted by least squares.

A measured response has photons of its own, few or many. Their noise moves the parameters θ by −C Jᵀ V⁻¹ (∂µ/∂r) δr, C
their covariance, and that is added to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64

from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.fit.likelihood import Counts, variance
from excidiff.inverse.fit.optimise import Knowledge, Model, Optimum, fit, moving
from excidiff.inverse.fit.response import Boxes, Window, boxes_of, flash, gaussian_boxes, shown, unresolved
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import covariance
from excidiff.solver.solution import InputError, SolverError

LATTICE = 14  # lifetimes among which a fit looks for its start
SHORTEST = 1e-2  # of a bin: a lifetime below it changes no bin
LONGEST = 1e3  # of the window: a lifetime beyond it is flat


@dataclass(frozen=True, eq=False)
class DecayFit:
    """One fit: `values` and `covariance` in the fit's own numbers, the lifetimes from the slowest on.

    names: lifetime_1 … (log ns), photons_1 … (log, per period), shift (ns), background (photons per bin), scatter
    (photons per period); without numbers for one component. `expected`, `counts`, `floor`: (T,), the last the variance
    of Gaussian noise. `flash`: (T,) what the instrument shows of light without duration, adding up to one. `rise` gives
    the deviance above its minimum with one parameter held at an own number, all else refitted.
    """

    names: tuple[str, ...]
    values: Float64[np.ndarray, " P"]
    covariance: Float64[np.ndarray, "P P"]
    moving: Bool[np.ndarray, " P"]
    slope: Float64[np.ndarray, " P"]
    expected: Float64[np.ndarray, " T"]
    counts: Float64[np.ndarray, " T"]
    floor: Float64[np.ndarray, " T"]
    flash: Float64[np.ndarray, " T"]
    noise: str
    blind: tuple[str, ...]
    converged: bool
    steps: int
    rise: Callable[[str, float], float]

    @property
    def components(self) -> int:
        return (len(self.names) - 3) // 2

    @property
    def lifetimes(self) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, "K K"]]:
        """ns, from the slowest on, and their covariance."""
        k = self.components
        value = np.exp(self.values[:k])
        return value, self.covariance[:k, :k] * np.outer(value, value)

    @property
    def weights(self) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, "K K"]]:
        """Shares of the photons, and their covariance."""
        k = self.components
        photons = np.exp(self.values[k : 2 * k])
        share = photons / photons.sum()
        slope = np.diag(share) - np.outer(share, share)
        return share, slope @ self.covariance[k : 2 * k, k : 2 * k] @ slope


def fit_decay(decay: Decay, *, components: int = 1, scatter: bool = True) -> DecayFit:
    """Fit `components` lifetimes to a decay; `scatter`: whether laser light may reach the detector.

    Raises InputError for a window that cannot tell so many lifetimes, SolverError for a fit that meets numbers that are
    not finite.
    """
    if components < 1 or 2 * components + 3 > len(decay.time):
        raise InputError(f"{decay.file}: {len(decay.time)} bins cannot tell {components} lifetimes")
    window = Window(float(decay.edges[0]), decay.width, len(decay.time), decay.period)
    boxes, raw = _boxes(decay)
    model = _model(window.bins, boxes is not None and boxes.alike, components)
    arguments = (window._replace(bins=0), None if boxes is None else boxes._replace(alike=False))
    noise = "poisson" if decay.uncertainty is None else "gaussian"
    counts = _counts(decay)
    start, reach = _start(decay, window, boxes, components)
    knowledge = _limits(decay, start, reach, components, scatter and boxes is not None)

    def best_of(held: int | None = None, value: float = 0.0, begin: np.ndarray = start) -> Optimum:
        these, at = knowledge, np.array(begin)
        if held is not None:
            free = knowledge.free.copy()
            free[held], at[held] = False, value
            lower, upper = np.minimum(knowledge.lower, at), np.maximum(knowledge.upper, at)
            these = knowledge._replace(free=free, lower=lower, upper=upper)
        return fit(model, at, counts, these, arguments, noise=noise)

    best = best_of()
    if not np.isfinite(best.parameters).all():
        raise SolverError(f"{decay.file}: the fit met numbers that are not finite; look for stray counts")
    mobile = moving(best, knowledge)
    cov = covariance(best.information, mobile)
    spread = cov.matrix
    if raw is not None and isinstance(decay.irf, Response):
        spread = spread + _from_response(model, best, counts, arguments, spread, raw, decay.irf)
    order = np.argsort(-best.parameters[:components], kind="stable")
    order = np.concatenate([order, components + order, 2 * components + np.arange(3)])
    names = (*_numbered("lifetime", components), *_numbered("photons", components), "shift", "background", "scatter")

    def rise(name: str, value: float) -> float:
        there = best_of(int(order[names.index(name)]), value, best.parameters)
        return there.objective - best.objective

    return DecayFit(
        names=names,
        values=best.parameters[order],
        covariance=spread[np.ix_(order, order)],
        moving=mobile[order],
        slope=best.slope[order],
        expected=np.asarray(best.expected).reshape(-1),
        counts=decay.counts,
        floor=np.asarray(counts.floor).reshape(-1),
        flash=np.asarray(_flash(window.bins, boxes is not None and boxes.alike, best.parameters[-3], *arguments)),
        noise=noise,
        blind=tuple(names[i] for i, at in enumerate(order) if at in cov.blind),
        converged=best.converged,
        steps=best.steps,
        rise=rise,
    )


def dark_level(counts: Float64[np.ndarray, " T"]) -> float:
    """The background per bin of a response: the mean of the bins that do not stand out of it."""
    level, spread = float(np.median(counts)), np.inf
    for _ in range(20):
        kept = counts[np.abs(counts - level) <= spread]
        level, spread = float(kept.mean()), 4 * float(kept.std()) + 1e-9
    return level


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return (name,) if count == 1 else tuple(f"{name}_{k + 1}" for k in range(count))


def _boxes(decay: Decay) -> tuple[Boxes | None, np.ndarray | None]:
    """The response as boxes, and where they are those that were measured, their counts above the background."""
    if decay.irf is None:
        return None, None
    if not isinstance(decay.irf, Response):
        return gaussian_boxes(float(decay.irf) / FWHM), None
    raw, start, width = decay.irf.counts - dark_level(decay.irf.counts), float(decay.irf.edges[0]), decay.irf.width
    narrow = unresolved(start, width, raw)
    if narrow is not None:
        return narrow, None
    alike = abs(width / decay.width - 1) < 1e-6 / decay.time.size
    return boxes_of(start, width, raw, alike=alike), raw


@lru_cache(maxsize=32)
def _model(bins: int, alike: bool, components: int) -> Model:
    """(own numbers, window, boxes) → expected photons (1, 1, T) and their derivatives; one program for many decays."""

    def expected(parameters, window: Window, boxes: Boxes | None):
        window, boxes = _shaped(bins, alike, window, boxes)
        shift, background, scattered = parameters[2 * components :]
        rates, photons = jnp.exp(-parameters[:components]), jnp.exp(parameters[components : 2 * components])
        light = sum(photons[k] * shown(rates[k], shift, boxes, window) for k in range(components))
        light = jnp.maximum(light + scattered * flash(shift, boxes, window), 0.0)  # noise of a response may dip below
        return (background + light)[None, None]

    def model(parameters, window, boxes):
        parameters = jnp.asarray(parameters)
        slopes = jax.jacfwd(expected)(parameters, window, boxes)
        return expected(parameters, window, boxes), jnp.moveaxis(slopes, -1, 0)

    return model


def _shaped(bins: int, alike: bool, window: Window, boxes: Boxes | None) -> tuple[Window, Boxes | None]:
    """What JAX must know while compiling, put back where the numbers passed through it."""
    return window._replace(bins=bins), None if boxes is None else boxes._replace(alike=alike)


@partial(jax.jit, static_argnums=(0, 1))
def _flash(bins: int, alike: bool, shift, window: Window, boxes: Boxes | None):
    window, boxes = _shaped(bins, alike, window, boxes)
    return flash(shift, boxes, window)


def _counts(decay: Decay) -> Counts:
    whole = decay.counts[None, None]
    floor = np.zeros_like(whole) if decay.uncertainty is None else decay.uncertainty[None, None] ** 2
    return Counts(whole, np.ones_like(whole), np.ones_like(whole), floor, np.asarray(1.0))


def _from_response(model: Model, best: Optimum, counts: Counts, arguments, spread, raw, response: Response):
    """C (JᵀV⁻¹ M) Var(r) (JᵀV⁻¹ M)ᵀ C with M = ∂µ/∂r, r the counts of the response."""
    noise = np.maximum(response.counts, 0.0) if response.uncertainty is None else response.uncertainty**2
    law = np.asarray(variance(best.expected, counts)) if not counts.floor.any() else np.asarray(counts.floor)
    sway = np.asarray(_sway(model, best.parameters, arguments, law, raw))
    return spread @ (sway * noise) @ sway.T @ spread


@partial(jax.jit, static_argnums=0)
def _sway(model: Model, parameters, arguments, law, raw):
    """Σ_j J_j M_j/V_j, a row per parameter: how their score follows each count of the response."""
    window, boxes = arguments

    def pulls(raw):
        seen, _ = model(parameters, window, boxes._replace(share=boxes_of(0.0, 1.0, raw).share))
        return jnp.sum(weight * seen[None], axis=(1, 2, 3))

    weight = model(parameters, window, boxes)[1] / law[None]
    return jax.jacrev(pulls)(raw)


def _start(decay: Decay, window: Window, boxes: Boxes | None, components: int) -> tuple[np.ndarray, float]:
    """(the best start on a lattice of shifts and lifetimes, how far the shift may be from it, ns)."""
    counts, width, length = decay.counts, decay.width, float(np.ptp(decay.edges))
    smooth = np.convolve(counts, np.ones(3) / 3, mode="same")
    peak, middle, rms = int(np.argmax(smooth)), 0.0, 0.0
    if boxes is None:  # a rise within one bin, or before the window opens
        before = peak > 0 and counts[0] < 0.5 * counts.max()
        shifts, reach = decay.edges[int(np.argmax(counts))] + width * np.arange(-1, 2), width
        if not before:
            shifts, reach = decay.edges[:1], 0.0
    else:
        share, places = np.asarray(boxes.share), boxes.start + boxes.width * (np.arange(len(boxes.share)) + 0.5)
        middle = float(places[np.argmax(share)])
        core = np.abs(places - middle) < 50 * max(width, boxes.width)
        rms = float(np.sqrt(max(np.sum((share * (places - middle) ** 2)[core]), 0.0)))
        spacing = max(0.5 * rms, 0.5 * width)
        shifts, reach = decay.time[peak] - middle + spacing * np.arange(-6, 3), 20 * spacing + 5 * width
    lifetimes = np.geomspace(max(width, rms), 2 * length, LATTICE)
    arguments = window._replace(bins=0), None if boxes is None else boxes._replace(alike=False)
    seen = _lattice(window.bins, boxes is not None and boxes.alike, 1 / lifetimes, shifts, *arguments)
    weight = 1 / np.maximum(smooth, 1.0) if decay.uncertainty is None else decay.uncertainty**-2.0
    found = (np.inf, float(shifts[0]), (LATTICE // 2,) * components, np.ones(components + 1))
    for shift, rows in zip(shifts, np.asarray(seen), strict=True):
        rows = np.concatenate([rows, np.ones((1, counts.size))])
        gram, right = (rows * weight) @ rows.T, (rows * weight) @ counts
        for chosen in combinations(range(LATTICE), components):
            index = [*chosen, LATTICE]
            size = np.linalg.lstsq(gram[np.ix_(index, index)], right[index], rcond=None)[0]
            left = -size @ right[index]
            if (size[:-1] > 0).all() and left < found[0]:
                found = (left, float(shift), chosen, size)
    _, shift, chosen, size = found
    total = float(np.abs(counts).sum())
    bright = np.log(np.maximum(size[:-1], 1e-3 * total))
    level = max(float(size[-1]), 0.01 * total / counts.size)
    return np.concatenate([np.log(lifetimes[list(chosen)]), bright, [shift, level, 1e-6 * total]]), reach


@partial(jax.jit, static_argnums=(0, 1))
def _lattice(bins: int, alike: bool, rates, shifts, window: Window, boxes: Boxes | None):
    """What is shown of every rate at every shift."""
    window, boxes = _shaped(bins, alike, window, boxes)
    return jax.vmap(lambda d: jax.vmap(lambda rate: shown(rate, d, boxes, window))(rates))(shifts)


def _limits(decay: Decay, start: np.ndarray, reach: float, components: int, scatter: bool) -> Knowledge:
    """Where the data can tell anything at all."""
    total, length = float(np.abs(decay.counts).sum()), float(np.ptp(decay.edges))
    lower = [np.log(SHORTEST * decay.width)] * components + [np.log(1e-9 * total)] * components
    upper = [np.log(LONGEST * length)] * components + [np.log(1e6 * total)] * components
    shift = start[2 * components]
    darkest = 1e-7 * total / decay.time.size if decay.uncertainty is None else -np.inf
    lower += [shift - reach, darkest, 0.0]
    upper += [shift + reach, np.inf, 1e3 * total]
    size = 2 * components + 3
    free = np.ones(size, bool)
    free[-3:] = reach > 0, True, scatter
    start[-1] = start[-1] if scatter else 0.0
    return Knowledge(np.array(start), np.zeros((size, size)), np.array(lower), np.array(upper), free)
