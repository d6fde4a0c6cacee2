"""The fit of one decay: lifetimes and their shares of the photons, through the instrument's response.

    µ_j = b + a₀ R_j(δ) + Σ_k a_k S_j(τ_k, δ)

photons in bin j: background b per bin, scattered laser light a₀ with the response R itself, and the components' a_k per
period of the laser with what `response` shows of each. All of it is fitted at once by the Poisson likelihood, the shift
δ included, from a start that the data give: the best of a lattice of lifetimes and shifts. Counts that come with an
uncertainty are fitted by least squares.

What the noise of a measured response does to all this is in `sway`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.fit.fitted import CLOSE, Fitted
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.onset import lattice, linear, shaped_as, start_of
from excidiff.inverse.fit.optimise import Knowledge, Model, Optimum, moving
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.response import (
    TAPS,
    Shape,
    Window,
    above_dark,
    flash,
    gaussian_shape,
    shape_of,
    shown,
    unresolved,
)
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.sway import blurred, law_of, together
from excidiff.inverse.fit.uncertainty import covariance
from excidiff.solver.solution import InputError, SolverError

SHORTEST = 1e-2  # of a bin: a lifetime below it changes no bin
SCATTERED = 6.6  # by how much scattered light must lower the deviance to be there: 1 % by chance
ROUND = 64  # bins, of which a response has a multiple, so that one program serves many
ALIKE = 1e-2  # of a bin: how far bins of decay and response may run apart over the whole window and be the same
PARTS, FEWER = 72, 24  # splines of a Gaussian response: 1e-7 of the peak, or 1e-4 where each is for many rates
LONGEST = 1e3  # of the window: a lifetime beyond it is flat


@dataclass(frozen=True, eq=False, kw_only=True)
class DecayFit(Fitted):
    """One fit: `values` and `covariance` in the fit's own numbers, the lifetimes from the slowest on.

    names: lifetime_1 … (log ns), photons_1 … (log, per period), shift (ns), background (photons per bin), scatter
    (photons per period); without numbers for one component. `expected`, `counts`, `law`: (T,), the last the variance
    of the counts under the model, that of a measured response in it; `own`: (T,) what of it is the bin's own. `flash`:
    (T,) what the instrument shows of light without duration, adding up to one. `shared`: what errors that bins share
    add to the variance of χ². `photons`: whether the counts are photons, or come with uncertainties.
    """

    expected: Float64[np.ndarray, " T"]
    counts: Float64[np.ndarray, " T"]
    law: Float64[np.ndarray, " T"]
    flash: Float64[np.ndarray, " T"]
    own: Float64[np.ndarray, " T"]
    shared: float
    photons: bool
    again: Callable[[str, float], Optimum]

    @property
    def components(self) -> int:
        return (len(self.names) - 3) // 2

    def profiled(self, name: str, value: float) -> float:
        return self.again(name, value).objective - self.least

    @property
    def swayed(self) -> bool:
        """Whether the noise of a measured response is in the errors."""
        return bool((self.own != self.law).any())

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


def fit_decay(decay: Decay, *, components: int = 1, escape: float | None = None) -> DecayFit:
    """Fit `components` lifetimes to a decay, and scattered laser light where it shows; `escape`: see `Window`.

    Raises InputError for a window that cannot tell so many lifetimes, SolverError for a fit that meets numbers that are
    not finite.
    """
    if not fits(decay, components):
        raise InputError(f"{decay.file}: {len(decay.time)} bins cannot tell {components} lifetimes")
    window = Window(float(decay.edges[0]), decay.width, len(decay.time), decay.period)
    shape, raw = response_of(decay, PARTS if escape is None else FEWER)
    shaped = (window.bins, shape is not None and shape.alike)
    model = _model(*shaped, components)
    whole = (window._replace(bins=0), None if shape is None else shape._replace(alike=False))
    seen = (whole[0]._replace(escape=escape), whole[1])
    arguments = (*seen, 0.0)
    noise = "poisson" if decay.uncertainty is None else "gaussian"
    counts = _counts(decay)
    start, reach = start_of(decay, window, shape, components)
    knowledge = _limits(decay, start, reach, components)

    problem = Problem(model=model, counts=counts, knowledge=knowledge, arguments=arguments, noise=noise)

    best, problem = _settled(problem, start, decay, shape)
    swayed = ()
    if raw is not None and isinstance(decay.irf, Response):
        swayed = blurred(model, best, (*seen, -np.inf), raw, decay.irf)
        problem = replace(
            problem,
            counts=counts._replace(floor=counts.floor + swayed[1]),
            knowledge=knowledge,
            arguments=(*seen, -np.inf),
            instrument=partial(_seen_again, seen, raw, swayed[0], decay.irf.uncertainty is None),
        )
        best, problem = _settled(problem, np.append(best.parameters[:-1], 0.0), decay, shape)
    if not np.isfinite(best.parameters).all():
        raise SolverError(f"{decay.file}: the fit met numbers that are not finite; look for stray counts")
    best, counts, knowledge = _slowest_first(best, components), problem.counts, problem.knowledge
    mobile = moving(best, knowledge)
    cov = covariance(best.information, mobile)
    spread, shared = cov.matrix, 0.0
    if raw is not None:
        middle, shared = together(model, best, law_of(best, counts, noise), problem.arguments, raw, *swayed)
        spread = spread @ middle @ spread
    names = (*_numbered("lifetime", components), *_numbered("photons", components), "shift", "background", "scatter")

    def again(name: str, value: float) -> Optimum:
        """From the best fit, and from the amplitudes that are the best for the lifetimes there: the better of both."""
        held = names.index(name)
        other = best.parameters.copy()
        other[held] = value
        rows = lattice(*shaped, np.exp(-other[:components]), other[None, 2 * components], *whole)[0]
        if held < components:
            size = linear(np.asarray(rows), decay.counts, law_of(best, counts, noise).reshape(-1))
            other[components : 2 * components] = np.log(np.maximum(size[:-1], 1e-6 * np.abs(decay.counts).sum()))
            other[-2] = size[-1]
        begins = (best.parameters, other)
        found = [problem.fit(begin, held=held, value=value, tolerance=CLOSE) for begin in begins]
        return min(found, key=lambda one: (not one.converged, one.objective))

    return DecayFit(
        names=names,
        values=best.parameters,
        covariance=spread,
        moving=mobile,
        slope=best.slope,
        expected=np.asarray(best.expected).reshape(-1),
        counts=decay.counts,
        law=law_of(best, counts, noise).reshape(-1),
        flash=np.asarray(_flash(*shaped, best.parameters[-3], *seen)),
        own=(law_of(best, counts, noise) - (swayed[1] if swayed else 0.0)).reshape(-1),
        shared=shared,
        photons=decay.uncertainty is None,
        blind=tuple(names[i] for i in cov.blind),
        at_bound=tuple(name for i, name in enumerate(names) if knowledge.free[i] and not mobile[i]),
        converged=best.converged,
        steps=best.steps,
        least=best.objective,
        again=again,
        problem=problem,
    )


def _settled(problem: Problem, start: np.ndarray, decay: Decay, shape: Shape | None) -> tuple[Optimum, Problem]:
    """The best without scattered light, or with it where that explains significantly more; and what it solves."""
    dark = problem.fit(start)
    if shape is None:
        return dark, problem
    free = problem.knowledge.free.copy()
    free[-1] = True
    lighter = replace(problem, knowledge=problem.knowledge._replace(free=free))
    lit = lighter.fit(np.append(dark.parameters[:-1], 1e-3 * np.abs(decay.counts).sum()))
    if lit.converged and lit.objective < dark.objective - SCATTERED:
        return lit, lighter
    return dark, problem


def _slowest_first(best: Optimum, components: int) -> Optimum:
    """The same optimum with its components in order: they are alike to the problem."""
    order = np.argsort(-best.parameters[:components], kind="stable")
    order = np.concatenate([order, components + order, 2 * components + np.arange(3)])
    return best._replace(
        parameters=best.parameters[order],
        slope=best.slope[order],
        information=best.information[np.ix_(order, order)],
    )


def _seen_again(seen, raw: np.ndarray, noise: np.ndarray, counted: bool, random: np.random.Generator) -> tuple:
    """The arguments of the model with a response measured again: `raw` with the variance `noise` of each bin.

    Counts err like photons, which are never fewer than none.
    """
    error = random.poisson(noise) - noise if counted else np.sqrt(noise) * random.standard_normal(noise.size)
    window, shape = seen
    return window, shape._replace(weights=shape_of(0.0, 1.0, raw + error).weights), -np.inf


def fits(decay: Decay, components: int) -> bool:
    """Whether there are bins enough to tell so many lifetimes."""
    return components >= 1 and 2 * components + 3 <= len(decay.time)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return (name,) if count == 1 else tuple(f"{name}_{k + 1}" for k in range(count))


def response_of(decay: Decay, parts: int = PARTS) -> tuple[Shape | None, np.ndarray | None]:
    """The response, and where its own noise is known, its counts above the background, cut to where there are any;
    `parts`: splines of a Gaussian one."""
    if decay.irf is None:
        return None, None
    if not isinstance(decay.irf, Response):
        return gaussian_shape(float(decay.irf) / FWHM, parts=parts), None
    raw, width = above_dark(decay.irf.counts)[0], decay.irf.width
    if not raw.sum() > 0:
        raise InputError(f"{decay.irf.file}: the response does not stand out of its background; is it the right file?")
    lit = np.flatnonzero(raw)
    part = np.s_[max(lit[0] - TAPS, 0) : lit[-1] + TAPS + 1]
    raw, start = raw[part], float(decay.irf.edges[part][0])
    raw = np.pad(raw, (0, -raw.size % ROUND))
    narrow = unresolved(start, width, raw)
    if narrow is not None:
        return narrow, None
    alike = abs(width / decay.width - 1) * max(decay.time.size, raw.size) < ALIKE
    return shape_of(start, width, raw, alike=alike), raw if decay.irf.noise is not None else None


@lru_cache(maxsize=32)
def _model(bins: int, alike: bool, components: int) -> Model:
    """(own numbers, window, shape, darkest) → expected photons (1, 1, T) and their derivatives, for many decays.

    `darkest`: below which light in a bin does not fall. A measured response may dip below zero by its noise, which only
    a variance that has this noise in it can bear.
    """

    def model(parameters, window: Window, shape: Shape | None, darkest):
        parameters = jnp.asarray(parameters)
        window, shape = shaped_as(bins, alike, window, shape)
        shift, background, scattered = parameters[2 * components :]
        one = jnp.ones_like(shift)

        def along(light, *at):
            """(light, its slopes), along each number in turn: most of them are in one part of the light only."""
            ends = [
                jax.jvp(light, at, tuple(one if k == j else 0 * one for j in range(len(at)))) for k in range(len(at))
            ]
            return ends[0][0], [slope for _, slope in ends]

        parts = [
            along(lambda log, late: shown(jnp.exp(-log), late, shape, window), parameters[k], shift)
            for k in range(components)
        ]
        photons = jnp.exp(parameters[components : 2 * components])
        laser, (laser_later,) = along(lambda late: flash(late, shape, window), shift)
        light = sum(photons[k] * part for k, (part, _) in enumerate(parts)) + scattered * laser
        by_lifetime = [photons[k] * slopes[0] for k, (_, slopes) in enumerate(parts)]
        by_photons = [photons[k] * part for k, (part, _) in enumerate(parts)]
        later = sum(photons[k] * slopes[1] for k, (_, slopes) in enumerate(parts)) + scattered * laser_later
        lit = jnp.where(light > darkest, 1.0, 0.0)
        slopes = [lit * slope for slope in (*by_lifetime, *by_photons, later)]
        slopes = jnp.stack([*slopes, jnp.ones_like(light), lit * laser])
        return (background + jnp.maximum(light, darkest))[None, None], slopes[:, None, None]

    return model


@partial(jax.jit, static_argnums=(0, 1))
def _flash(bins: int, alike: bool, shift, window: Window, shape: Shape | None):
    window, shape = shaped_as(bins, alike, window, shape)
    return flash(shift, shape, window)


def _counts(decay: Decay) -> Counts:
    whole = decay.counts[None, None]
    floor = np.zeros_like(whole) if decay.uncertainty is None else decay.uncertainty[None, None] ** 2
    return Counts(whole, np.ones_like(whole), np.ones_like(whole), floor, np.asarray(1.0))


def _limits(decay: Decay, start: np.ndarray, reach: float, components: int) -> Knowledge:
    """Where the data can tell anything at all; no scattered light at first."""
    total, length = float(np.abs(decay.counts).sum()), float(np.ptp(decay.edges))
    lower = [np.log(SHORTEST * decay.width)] * components + [np.log(1e-9 * total)] * components
    upper = [np.log(LONGEST * length)] * components + [np.log(1e6 * total)] * components
    shift = start[2 * components]
    darkest = 1e-7 * total / decay.time.size if decay.uncertainty is None else -np.inf
    lower += [shift - reach, darkest, 0.0]
    upper += [shift + reach, np.inf, 0.5 * total]  # more laser light than that is no decay
    size = 2 * components + 3
    free = np.ones(size, bool)
    free[-3:] = reach > 0, True, False
    return Knowledge(np.array(start), np.zeros((size, size)), np.array(lower), np.array(upper), free)
