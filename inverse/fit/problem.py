"""One problem of a fit as data: what is expected, what was counted, what is known; its optimum, its density, its like.

    log p(θ) = −½ [D(y, µ(θ))/u + (θ − θ₀)ᵀ Λ (θ − θ₀)]

D is the objective of `likelihood`: the deviance of (shifted) Poisson counts, or Σ (y − µ)²/σ², or of some numbers the
one, of others the other. Where the size of Gaussian noise is not known, u is the variance that the residuals show in
units of the σ² it was given; else u = 1.
The prior is flat in the fit's own numbers, the logarithms of what is positive, within their limits, times the Gaussian
(θ₀, Λ) that is known beforehand. With excess noise p is a quasi-likelihood: its score has the right mean and variance.

Its slope is the score whose root the fit finds, Jᵀ V⁻¹ (y − µ)/u − Λ (θ − θ₀), for which reverse differentiation of µ
needs a fifth of the time that a decay's or a spectral map's Jacobian takes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.likelihood import Counts, objective
from excidiff.inverse.fit.optimise import Knowledge, Model, Optimum, fit

PHOTONS = Detector()
"""What counts are without a camera."""


class Reader(Protocol):
    """What is made of photoelectrons: a detector, or several side by side."""

    def sampled(
        self, expected: Float64[np.ndarray, "..."], random: np.random.Generator
    ) -> Float64[np.ndarray, "..."]: ...


class Data(NamedTuple):
    """All numbers that a density rests on, for a compiled program that serves many data sets of one shape."""

    counts: Counts
    arguments: tuple[Any, ...]
    centre: Float[Array | np.ndarray, " P"]
    precision: Float[Array | np.ndarray, "P P"]
    unit: Float[Array | np.ndarray, ""]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """`model`(θ, *`arguments`) against `counts`, with what is known; see the module for `unit`.

    detector: what it makes of photoelectrons, for data drawn anew. instrument: where arguments were measured
    themselves, as a response is, random numbers → the arguments measured again.
    """

    model: Model
    counts: Counts
    knowledge: Knowledge
    arguments: tuple[Any, ...]
    noise: str = "poisson"
    unit: float = 1.0
    detector: Reader = PHOTONS
    tolerance: float = 1e-4
    instrument: Callable[[np.random.Generator], tuple[Any, ...]] | None = None

    def fit(
        self,
        start: Float64[np.ndarray, " P"],
        *,
        held: int | None = None,
        value: float = 0.0,
        tolerance: float | None = None,
        max_steps: int = 100,
    ) -> Optimum:
        """The optimum from `start`, with parameter `held` at `value`, within its limits or not."""
        these, at = self.knowledge, np.array(start)
        if held is not None:
            free, lower, upper = these.free.copy(), these.lower.copy(), these.upper.copy()
            free[held], at[held] = False, value
            lower[held], upper[held] = min(lower[held], value), max(upper[held], value)
            these = these._replace(free=free, lower=lower, upper=upper)
        law = {"noise": self.noise, "tolerance": self.tolerance if tolerance is None else tolerance}
        return fit(self.model, at, self.counts, these, self.arguments, max_steps=max_steps, **law)

    def best(self, starts: Iterable[Float64[np.ndarray, " P"]]) -> Optimum:
        """The best of the optima from `starts`."""
        return min((self.fit(start) for start in starts), key=lambda one: (not one.converged, one.objective))

    def at(self, parameters: Float64[np.ndarray, " P"]) -> Optimum:
        """µ, information, slope and objective at `parameters`, or at the nearest that the limits allow."""
        return self.fit(parameters, max_steps=0)

    def log_density(self, parameters: Float[Array | np.ndarray, " P"]) -> Float[Array, ""]:
        """log p(θ) up to a constant of the data; −∞ is not given beyond the limits, which the caller keeps."""
        return log_density(self.model, self.noise, jnp.asarray(parameters), self.data)

    @property
    def data(self) -> Data:
        known = self.knowledge
        return Data(self.counts, self.arguments, known.centre, known.precision, np.asarray(self.unit, float))

    def resampled(
        self,
        expected: Float[Array | np.ndarray, "F ny nx"],
        seed: int | Sequence[int],
        *,
        truth: Float64[np.ndarray, " P"] | None = None,
    ) -> "Problem":
        """The same problem with other data: counts about `expected` by the detector's law, or with Gaussian errors.

        A measured response is counted again. With `truth`, what was known beforehand is measured again, too: θ₀ is
        drawn about it with covariance Λ⁻¹.
        """
        random, mean = np.random.default_rng(seed), np.asarray(expected)
        if self.noise == "gaussian":
            errors = np.sqrt(np.asarray(self.counts.floor) * self.unit)
            drawn = mean + errors * random.standard_normal(mean.shape)
        else:
            drawn = self.detector.sampled(mean, random)
        photons = np.where(np.asarray(self.counts.used) > 0, drawn, 0.0)
        arguments = self.arguments if self.instrument is None else self.instrument(random)
        knowledge = self.knowledge if truth is None else _known_again(self.knowledge, truth, random)
        counts = self.counts._replace(photons=photons)
        return replace(self, counts=counts, arguments=arguments, knowledge=knowledge)


@partial(jax.jit, static_argnums=(0, 1))
def log_density(model: Model, noise: str, parameters: Float[Array, " P"], data: Data) -> Float[Array, ""]:
    """log p(θ) of the module, as a function of its numbers."""
    expected, away = model(parameters, *data.arguments)[0], parameters - data.centre
    return -0.5 * (objective(expected, data.counts, noise) / data.unit + away @ (data.precision @ away))


def _known_again(knowledge: Knowledge, truth, random: np.random.Generator) -> Knowledge:
    """θ₀ drawn anew where Λ is not zero, of free parameters alone: what is fixed stays where it is."""
    index = np.flatnonzero(knowledge.free & (np.diagonal(knowledge.precision) > 0))
    if not index.size:
        return knowledge
    spread = np.linalg.inv(knowledge.precision[np.ix_(index, index)])
    centre = knowledge.centre.copy()
    centre[index] = truth[index] + np.linalg.cholesky(spread) @ random.standard_normal(index.size)
    return knowledge._replace(centre=centre)
