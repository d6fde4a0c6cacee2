"""How errors and intervals are found: from the information, the profile likelihood, a bootstrap, or the posterior."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from excidiff.inverse.fit import bootstrap as replicates
from excidiff.inverse.fit import sampling
from excidiff.inverse.fit.bootstrap import bootstrap
from excidiff.inverse.fit.draws import Draws, Progress
from excidiff.inverse.fit.fitted import Fitted
from excidiff.inverse.fit.sampling import nuts, require_numpyro
from excidiff.inverse.options import INTERVALS
from excidiff.inverse.results.wording import counted
from excidiff.solver.solution import InputError

RANDOM = ("bootstrap", "nuts")
MIXED = 1.01
"""r_hat above which chains do not tell one story (Vehtari et al., Bayesian Analysis 16 (2021) 667)."""
ENOUGH = 400
"""Effective draws below which an interval's ends are known to less than a tenth of the error (ibid.)."""
LOST = 0.02
"""Share of a bootstrap's replicates that may fail."""
BOOTSTRAP = (
    "Errors and 95 % intervals of what the data determine were then taken from a parametric bootstrap instead: "
    "{draws} data sets drawn from the fitted model by the law of the detector, with what is known beforehand and a "
    "measured response measured again, each fitted anew; intervals are percentiles (seed {seed})."
)
NUTS = (
    "Errors and 95 % intervals of what the data determine were then taken from {draws} draws of the posterior instead, "
    "by the No-U-Turn sampler (NumPyro, {chains} chains, {warmup} steps of adaptation each, seed {seed}), with the "
    "same likelihood and what is known beforehand, and a prior that is flat in the logarithm of what is positive and "
    "in all else; values are those of the fit."
)
REST = " Limits, deconvolved lengths and means of several measurements are as said before."


@dataclass(frozen=True)
class Intervals:
    """`way`: one of `options.INTERVALS`. draws: how many, None: as many as are needed; seed: of the random numbers.

    Raises InputError for what cannot be, and for "nuts" without NumPyro.
    """

    way: str = "fisher"
    draws: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.way not in INTERVALS:
            raise InputError(f"interval = {self.way!r}; choose one of {', '.join(INTERVALS)}")
        if not self.random and (self.draws is not None or self.seed != 0):
            said = "draws" if self.draws is not None else "seed"
            raise InputError(f'{said} given, but interval = {self.way!r} draws nothing; choose "bootstrap" or "nuts"')
        for name, value in (("draws", self.draws), ("seed", self.seed)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise InputError(f"{name} = {value!r}; give a whole number, not below zero")
        fewest = sampling.FEWEST if self.way == "nuts" else replicates.FEWEST
        if self.draws is not None and self.draws < fewest:
            raise InputError(f"draws = {self.draws}: {self.way} needs {fewest} at least, and far more for intervals")
        if self.way == "nuts":
            require_numpyro()

    @property
    def random(self) -> bool:
        """Whether random numbers are drawn."""
        return self.way in RANDOM

    @property
    def simple(self) -> str:
        """The way of the fit's own intervals, which draws then take the place of."""
        return "fisher" if self.random else self.way

    def of(self, fit: Fitted, place: int, progress: Progress | None = None) -> Draws:
        """Draws of a fit; `place`: its number among the measurements, as each has random numbers of its own."""
        given: dict[str, Any] = {"seed": (self.seed, place), "progress": progress}
        if self.way == "bootstrap":
            return bootstrap(fit.problem, fit.values, draws=self.draws or replicates.DRAWS, **given)
        draws = sampling.DRAWS if self.draws is None else -(-self.draws // sampling.CHAINS) * sampling.CHAINS
        return nuts(fit.problem, fit.values, spread=fit.covariance, draws=draws, **given)


def methods_of(made: Sequence[Mapping[str, Any]]) -> str:
    """How all draws were made, see `Draws.made`, for the methods; empty where none were."""
    if not made:
        return ""
    told = (NUTS if made[0]["method"] == "nuts" else BOOTSTRAP).format(**made[0])
    if made[0]["method"] == "nuts":
        mixed, fewest = max(one["r_hat"] for one in made), min(one["effective_draws"] for one in made)
        told += f" The largest r_hat is {mixed:.4f}, the fewest effective draws {fewest:.0f}."
    return told + REST


def warnings_of(draws: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What speaks against the draws of each measurement, by its name and how they were made."""
    said = []
    for name, made in draws:
        if made["method"] == "bootstrap":
            if made["failed"] > LOST * made["draws"]:
                said.append(
                    f"{name}: {made['failed']} of {counted(made['draws'], 'replicate')} could not be fitted and "
                    "are left out of the intervals, which may be too narrow."
                )
            continue
        found = []
        if made["r_hat"] is None or made["r_hat"] > MIXED:
            found.append(f"the chains do not agree (r_hat {made['r_hat'] or np.nan:.3f})")
        if made["divergences"]:
            found.append(f"{counted(made['divergences'], 'draw')} diverged, where the posterior is too sharp to follow")
        if made["effective_draws"] is None or made["effective_draws"] < ENOUGH:
            found.append(f"there are only {made['effective_draws'] or 0:.0f} effective draws")
        if found:
            said.append(
                f"{name}: {' and '.join(found)}: do not trust the intervals to better than a tenth of the error; "
                "give more draws, and look whether the data determine all that was fitted."
            )
    return said
