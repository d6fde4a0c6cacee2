"""Whether posteriors and intervals mean what they say: ranks over a prior, coverage over many data sets."""

import numpy as np
import pytest

from excidiff.inverse.fit.bootstrap import bootstrap
from excidiff.inverse.fit.decay import _model
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.optimise import Knowledge
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.response import Window
from excidiff.inverse.fit.sampling import nuts
from excidiff.inverse.fit.uncertainty import RISE_TWO_SIDED, chi2_tail, profile_bound

pytestmark = pytest.mark.gate

BINS, WIDTH = 60, 0.2  # a decay of 12 ns
ARGUMENTS = (Window(0.0, WIDTH, 0, None), None, 0.0)
BOX = np.array([[np.log(0.7), np.log(5.0)], [np.log(200.0), np.log(3000.0)], [0.3, 4.0]])
FREE = [0, 1, 3]  # lifetime, photons and background; the time of the pulse is known, no laser light is seen
SEEN = 200
RANKS, CELLS = 99, 10


def problem_of(truth: np.ndarray, seed) -> Problem:
    """A tiny decay: log τ and log photons and the background of `truth`, counted; the prior is flat in `BOX`."""
    lower, upper = np.zeros(5), np.zeros(5)
    lower[FREE], upper[FREE] = BOX.T
    free = np.zeros(5, bool)
    free[FREE] = True
    shape = np.ones((1, 1, BINS))
    counts = Counts(0 * shape, shape, shape, 0 * shape, np.asarray(1.0))
    knowledge = Knowledge(np.zeros(5), np.zeros((5, 5)), lower, upper, free)
    whole = np.zeros(5)
    whole[FREE] = truth
    problem = Problem(model=_model(BINS, False, 1), counts=counts, knowledge=knowledge, arguments=ARGUMENTS)
    return problem.resampled(problem.at(whole).expected, seed)


def middle() -> np.ndarray:
    start = np.zeros(5)
    start[FREE] = BOX.mean(axis=1)
    return start


def test_ranks_of_the_truth_are_even():
    """Simulation-based calibration (Talts et al., arXiv:1804.06788) over 200 decays drawn from the prior itself.

    Among 99 nearly independent draws of the right posterior the truth has every rank alike: χ² of 10 cells above
    p = 1e-3, that is below 27.9, for each of three numbers. A normal posterior that is 0.7 or 1.5 times as wide as it
    should be, or lies 0.4 of its width aside, would give 46, 48 and 41 on average.
    """
    random, ranks = np.random.default_rng(11), []
    for number in range(SEEN):
        truth = random.uniform(*BOX.T)
        problem = problem_of(truth, [11, number])
        draws = nuts(problem, problem.fit(middle()).parameters, draws=4 * RANKS, seed=number).values[::4, FREE]
        ranks.append((draws < truth).sum(axis=0))
    cells = np.array(ranks) * CELLS // (RANKS + 1)
    for one in cells.T:
        seen = np.bincount(one, minlength=CELLS)
        assert chi2_tail(float(((seen - SEEN / CELLS) ** 2 / (SEEN / CELLS)).sum()), CELLS - 1) > 1e-3, seen


def profile_ends(problem: Problem, best, error: float, rise: float) -> tuple[float, float]:
    """Where the profile likelihood of log τ has risen by `rise`."""

    def risen(value: float) -> float:
        return problem.fit(best.parameters, held=0, value=value).objective - best.objective

    low, high = BOX[0]
    ends = [profile_bound(risen, best.parameters[0], way * error, rise=rise, limit=limit)
            for way, limit in ((-1, low), (1, high))]  # fmt: skip
    return tuple(limit if end is None else end for end, limit in zip(ends, (low, high), strict=True))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """200 decays of 1000 photons, τ = 2 ns: 68.3 and 95 % intervals of τ by profile, bootstrap and posterior.

    Binomial: four errors are 13 % and 6.2 %, and the few draws of each (200, 400) add up to 1 % of coverage.
    """
    truth = np.array([np.log(2.0), np.log(1000.0), 1.0])
    held = {way: np.zeros(2) for way in ("profile", "bootstrap", "nuts")}
    for number in range(SEEN):
        problem = problem_of(truth, [12, number])
        best = problem.fit(middle())
        error = float(np.sqrt(np.linalg.inv(best.information[np.ix_(FREE, FREE)])[0, 0]))
        columns = {
            "bootstrap": bootstrap(problem, best.parameters, draws=200, seed=number).values[:, 0],
            "nuts": nuts(problem, best.parameters, draws=4 * RANKS, seed=number).values[:, 0],
        }
        found = {way: np.quantile(column, [0.1587, 0.8413, 0.025, 0.975]) for way, column in columns.items()}
        found["profile"] = [end for rise in (1.0, RISE_TWO_SIDED) for end in profile_ends(problem, best, error, rise)]
        for way, ends in found.items():
            held[way] += [low < truth[0] < high for low, high in (ends[:2], ends[2:])]
    for way, share in held.items():
        assert abs(share[0] / SEEN - 0.683) < 0.14, (way, share / SEEN)
        assert abs(share[1] / SEEN - 0.95) < 0.07, (way, share / SEEN)
