"""What every fit has: its parameters by name, in its own numbers, with their covariance, and which of them moved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from excidiff.inverse.fit.optimise import Optimum, moving
from excidiff.inverse.fit.parameters import outer
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.uncertainty import covariance

CLOSE = 1e-2  # errors² that a step may still move a profile, which then errs by much less


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """Parameters `names` at `values` with `covariance`, all in the fit's own numbers.

    moving: which were free and not held by a limit. slope: of the log-likelihood. blind: names of parameters in a
    direction that the data do not see. at_bound: names of those that a limit holds. problem: what was solved, its
    parameters in the order of `names`. least: its objective at `values`. followed: what profiles have found, by name
    and own number.
    """

    names: tuple[str, ...]
    values: Float64[np.ndarray, " P"]
    covariance: Float64[np.ndarray, "P P"]
    moving: Bool[np.ndarray, " P"]
    slope: Float64[np.ndarray, " P"]
    blind: tuple[str, ...]
    at_bound: tuple[str, ...]
    converged: bool
    steps: int
    least: float
    problem: Problem
    followed: dict[str, dict[float, Float64[np.ndarray, " P"]]] = field(default_factory=dict, init=False)

    @property
    def alone(self) -> Bool[np.ndarray, " N"]:
        """Which of all numbers is the only one of its kind, and cannot be told from the others; none."""
        return np.zeros(np.asarray(self.problem.counts.used).size, bool)

    def value(self, name: str) -> float:
        """A parameter in house units."""
        return outer(name, float(self.values[self.names.index(name)]))

    def error(self, name: str) -> float:
        """The standard error of the fit's own number: relative, for what is positive."""
        index = self.names.index(name)
        return float(np.sqrt(self.covariance[index, index]))

    def correlation(self, names: Mapping[str, str] | None = None) -> dict[str, dict[str, float]]:
        """Correlations of the parameters that moved, by name; `names`: what to call them, of those to be told."""
        told = dict(zip(self.names, self.names, strict=True)) if names is None else names
        index = {told[name]: i for i, name in enumerate(self.names) if name in told and self.moving[i]}
        errors = np.sqrt(np.diagonal(self.covariance))
        sure = {name: i for name, i in index.items() if errors[i] > 0}
        return {
            one: {other: float(self.covariance[i, j] / (errors[i] * errors[j])) for other, j in sure.items()}
            for one, i in sure.items()
        }

    def profiled(self, name: str, value: float) -> float:
        """The deviance above its minimum with `name` held at the own number `value`, all else refitted from the nearest
        point of this profile that was found before."""
        index = self.names.index(name)
        known = self.followed.setdefault(name, {float(self.values[index]): self.values})
        nearest = known[min(known, key=lambda one: abs(one - value))]
        there = self.problem.fit(nearest, held=index, value=value, tolerance=CLOSE)
        if there.converged:
            known[value] = there.parameters
        return (there.objective - self.least) / self.problem.unit


def solved(problem: Problem, best: Optimum, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of `Fitted` at the optimum of a problem whose noise is known: its errors are the information's."""
    mobile, free = moving(best, problem.knowledge), problem.knowledge.free
    found = covariance(best.information + problem.knowledge.precision, mobile)
    return {
        "names": names,
        "values": best.parameters,
        "covariance": found.matrix,
        "moving": mobile,
        "slope": best.slope,
        "blind": tuple(names[i] for i in found.blind),
        "at_bound": tuple(name for i, name in enumerate(names) if free[i] and not mobile[i]),
        "converged": best.converged,
        "steps": best.steps,
        "least": best.objective,
        "problem": problem,
    }
