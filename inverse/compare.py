"""Models held against each other on the same data: what each costs, what it leaves, and what it predicts unseen.

    AIC = D + 2 k,     BIC = D + k log n,     D the deviance at the optimum, k numbers fitted to n pixels or bins

(Akaike 1974; Schwarz 1978). Both judge a model by the data that it was fitted to. The predictive deviance does not: the
pixels are cut into five parts at random, each is left out once, the model is fitted to the rest, and what it expects of
the part is held against it. Of two models whose predictive deviances differ by less than twice the error of that
difference, which is the scatter of the differences pixel by pixel, the data cannot tell the better one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.batch import Progress
from excidiff.inverse.fit.fitted import Fitted
from excidiff.inverse.fit.likelihood import deviance
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.results.result import Measurement
from excidiff.solver.solution import SolverError

PARTS = 5
SURE = 2.0  # errors of a difference beyond which one model predicts better
CLEAR = 6.0  # of BIC: odds of twenty to one


@dataclass(frozen=True, eq=False)
class Candidate:
    """One model fitted to all of the data: its name, its words, its fits, and the measurements as it sees them."""

    name: str
    words: str
    fits: tuple[Fitted, ...]
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, eq=False)
class Rival:
    """How one model does: see the module; `unseen` per pixel, in the order of the data."""

    name: str
    words: str
    numbers: int
    pixels: int
    deviance: float
    structure_p: float | None
    accepted: bool
    unseen: Float64[np.ndarray, " n"]

    @property
    def aic(self) -> float:
        return self.deviance + 2 * self.numbers

    @property
    def bic(self) -> float:
        return self.deviance + self.numbers * log(self.pixels)

    @property
    def predictive(self) -> float:
        """Σ d(y, µ) over pixels that the fit had not seen."""
        return float(self.unseen.sum())

    def behind(self, other: "Rival") -> tuple[float, float]:
        """(by how much its predictive deviance is above another's, the error of that difference)."""
        away = self.unseen - other.unseen
        return float(away.sum()), float(np.sqrt(away.size) * away.std())


def hold(candidates: Sequence[Callable[[], Candidate]], progress: Progress | None = None) -> list[Rival]:
    """Fit each candidate and hold it against unseen pixels; in the order given."""
    found = []
    for number, make in enumerate(candidates, 1):
        one = make()
        unseen = np.concatenate([_unseen(fit) for fit in one.fits])
        structures = [m.goodness.get("structure_p") for m in one.measurements]
        known = [p for p in structures if p is not None]
        found.append(
            Rival(
                name=one.name,
                words=one.words,
                numbers=sum(int(fit.moving.sum()) for fit in one.fits),
                pixels=unseen.size,
                deviance=float(sum(m.goodness["deviance"] for m in one.measurements)),
                structure_p=min(known) if known else None,
                accepted=all(m.status == "fitted" for m in one.measurements),
                unseen=unseen,
            )
        )
        if progress is not None:
            progress(number, len(candidates), one.name)
    return found


def _unseen(fit: Fitted) -> Float64[np.ndarray, " n"]:
    """d(y, µ) of every pixel under the fit to the other four parts of the data."""
    problem = fit.problem
    used = np.asarray(problem.counts.used).ravel() > 0
    held = used & ~fit.alone  # what no other number foretells stays in
    part = np.random.default_rng(0).integers(0, PARTS, used.size)  # the same for every model
    found = np.zeros(used.size)
    for number in range(PARTS):
        out = held & (part == number)
        kept = np.where(out, 0.0, np.asarray(problem.counts.used).ravel()).reshape(problem.counts.used.shape)
        less = replace(problem, counts=problem.counts._replace(used=kept))
        there = less.fit(fit.values, tolerance=1e-2)
        if not np.isfinite(there.parameters).all():
            raise SolverError("a model could not be fitted to four fifths of the data; see its fit to all of them")
        found[out] = _deviances(problem, np.asarray(there.expected, float).ravel())[out]
    return found[held]


def _deviances(problem: Problem, expected: np.ndarray) -> np.ndarray:
    """d(y, µ) of every pixel: of (shifted) Poisson counts, or (y − µ)²/σ²."""
    photons, floor = (np.asarray(a, float).ravel() for a in (problem.counts.photons, problem.counts.floor))
    if problem.noise == "gaussian":
        return (photons - expected) ** 2 / (floor * problem.unit)
    excess = np.broadcast_to(np.asarray(problem.counts.excess, float), problem.counts.photons.shape).ravel()
    even = excess == 0  # numbers with errors of their own
    found = np.where(even, (photons - expected) ** 2 / np.where(even, floor, 1.0), 0.0)
    for level, factor in {*zip(floor[~even].tolist(), excess[~even].tolist(), strict=True)}:  # of camera and counter
        here = ~even & (floor == level) & (excess == factor)
        mean = np.maximum(expected[here], 1e-12 - 0.99 * level / factor)
        found[here] = deviance(photons[here], mean, level, factor)
    return found


def verdict(rivals: Sequence[Rival]) -> list[str]:
    """Which of the models the data prefer, in words; and which they cannot tell apart."""
    best = min(rivals, key=lambda one: one.predictive)
    said, alike = [], []
    for one in rivals:
        if one is best:
            continue
        above, error = one.behind(best)
        if above < SURE * error or above < 1.0:
            alike.append(one)
    pool = [one for one in (best, *alike) if one.accepted] or [best, *alike]
    simplest = min(pool, key=lambda one: one.numbers)
    if alike:
        names = " and ".join(f"'{one.name}'" for one in sorted([best, *alike], key=lambda one: one.numbers))
        enough = f" The simplest of them that describes the data is '{simplest.name}'." if simplest.accepted else ""
        said.append(
            f"The data cannot tell {names} apart: they predict pixels that they have not seen equally well.{enough}"
        )
    else:
        said.append(f"The data prefer '{best.name}' ({best.words}): it predicts unseen pixels better than all others.")
    by_bic = min(rivals, key=lambda one: one.bic)
    if by_bic is not simplest and simplest.bic - by_bic.bic > CLEAR:
        said.append(
            f"BIC prefers '{by_bic.name}' (by {simplest.bic - by_bic.bic:.3g}): it counts what the fit gains on the "
            "very data that it was made to, and the prediction does not."
        )
    rejected = [f"'{one.name}'" for one in rivals if not one.accepted]
    if len(rejected) == len(rivals):
        said.append("None of them describes the data within their noise: all are approximations; see the residuals.")
    elif rejected:
        said.append(f"The data reject {' and '.join(rejected)}: residuals beyond the noise, or with a structure.")
    return said


def table(rivals: Sequence[Rival]) -> list[dict[str, Any]]:
    """One row per model, ready for JSON; differences are to the least of each column."""
    least = {name: min(getattr(one, name) for one in rivals) for name in ("aic", "bic", "predictive")}
    best = min(rivals, key=lambda one: one.predictive)
    return [
        {
            "model": one.name,
            "words": one.words,
            "numbers": one.numbers,
            "pixels": one.pixels,
            "deviance": one.deviance,
            "structure_p": one.structure_p,
            "accepted": one.accepted,
            **{name: getattr(one, name) for name in least},
            **{f"{name}_above_least": getattr(one, name) - value for name, value in least.items()},
            "predictive_error": one.behind(best)[1],
        }
        for one in rivals
    ]
