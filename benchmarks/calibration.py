"""Whether posteriors and intervals mean what they say: `python -m benchmarks.calibration`

Two studies of a tiny decay, counted by Poisson's law from the model that is fitted. "ranks" is simulation-based
calibration of NUTS (Talts et al., arXiv:1804.06788): decay k has its truth from the prior itself, and its rank among 99
nearly independent draws of the posterior is kept. "coverage" counts 1000 photons of τ = 2 ns and keeps the ends of
intervals of τ by profile, bootstrap and posterior, 68.3 and 95 %. Resumable.
"""

import argparse
from functools import partial

import numpy as np

from benchmarks.provenance import RESULTS, environment, write_json
from benchmarks.study import fingerprint, run_cases
from excidiff.inverse.fit.bootstrap import bootstrap
from excidiff.inverse.fit.decay import _model
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.optimise import Knowledge
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.response import Window
from excidiff.inverse.fit.sampling import nuts
from excidiff.inverse.fit.uncertainty import RISE_TWO_SIDED, profile_bound
from excidiff.inverse.machine import start

CASES = 500
SOURCES = ("calibration.py",)
RESULT = RESULTS / "calibration.json"
BINS, WIDTH = 60, 0.2  # a decay of 12 ns
ARGUMENTS = (Window(0.0, WIDTH, 0, None), None, 0.0)
BOX = np.array([[np.log(0.7), np.log(5.0)], [np.log(200.0), np.log(3000.0)], [0.3, 4.0]])
FREE = [0, 1, 3]  # lifetime, photons and background; the time of the pulse is known, no laser light is seen
TRUTH = np.array([np.log(2.0), np.log(1000.0), 1.0])
RANKS, DRAWS = 99, 200
WAYS = ("profile", "bootstrap", "nuts")


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
    begin = np.zeros(5)
    begin[FREE] = BOX.mean(axis=1)
    return begin


def rank(number: int) -> dict:
    """Of each number of a truth among the draws, 0 to 99."""
    truth = np.random.default_rng([11, number]).uniform(*BOX.T)
    problem = problem_of(truth, [11, number, 1])
    draws = nuts(problem, problem.fit(middle()).parameters, draws=4 * RANKS, seed=number).values[::4, FREE]
    return {"ranks": [int(one) for one in (draws < truth).sum(axis=0)]}


def profile_ends(problem: Problem, best, error: float, rise: float) -> list[float]:
    """Where the profile likelihood of log τ has risen by `rise`."""

    def risen(value: float) -> float:
        return problem.fit(best.parameters, held=0, value=value).objective - best.objective

    low, high = BOX[0]
    ends = [profile_bound(risen, best.parameters[0], way * error, rise=rise, limit=limit)
            for way, limit in ((-1, low), (1, high))]  # fmt: skip
    return [float(limit if end is None else end) for end, limit in zip(ends, (low, high), strict=True)]


def cover(number: int) -> dict:
    """Low and high end of log τ at 68.3 %, and at 95 %, by each way."""
    problem = problem_of(TRUTH, [12, number])
    best = problem.fit(middle())
    error = float(np.sqrt(np.linalg.inv(best.information[np.ix_(FREE, FREE)])[0, 0]))
    columns = {
        "bootstrap": bootstrap(problem, best.parameters, draws=DRAWS, seed=number).values[:, 0],
        "nuts": nuts(problem, best.parameters, draws=4 * RANKS, seed=number).values[:, 0],
    }
    quantiles = [0.1587, 0.8413, 0.025, 0.975]
    found = {way: list(np.quantile(column, quantiles)) for way, column in columns.items()}
    found["profile"] = [end for rise in (1.0, RISE_TWO_SIDED) for end in profile_ends(problem, best, error, rise)]
    return {way: [round(float(end), 5) for end in found[way]] for way in WAYS}


STUDIES = {"ranks": rank, "coverage": cover}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES)
    given = parser.parse_args()
    start()  # as a command does: double precision, compiled programs kept
    sources = fingerprint(*SOURCES)
    found = {}
    for name, run in STUDIES.items():
        found[name] = run_cases(f"calibration-{name}", sources, range(given.cases), run, partial(_say, name))
    if given.cases >= CASES:
        write_json(RESULT, {"sources": sources, "environment": environment(), **found})


def _say(name: str, number: int, entry: dict) -> None:
    if number % 50 == 0:
        print(f"{name} {number:4d}  {entry['seconds']:.2f} s", flush=True)


if __name__ == "__main__":
    main()
