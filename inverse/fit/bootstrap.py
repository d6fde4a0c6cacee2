"""The parametric bootstrap: how a fit scatters when all that was measured is measured again.

The fitted model is taken as the truth. Each replicate draws the counts from it by the law of the detector, measures
what is known beforehand (the width of the laser …) about the fitted value with its own error, and a measured response
with its photons' noise, and is fitted from the optimum. What the data decided of the model itself, such as how many
lifetimes there are and whether laser light is scattered, is kept.

Replicate k of seed s has random numbers of its own, (s, k), whatever came before it. Intervals are percentile: those
that the values of the replicates leave between them (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.fit.draws import Draws, Progress
from excidiff.inverse.fit.problem import Problem
from excidiff.solver.solution import InputError, SolverError

DRAWS = 1000
"""Replicates: an end of a 95 % interval is then known to 0.08 standard deviations."""
FEWEST = 20


def bootstrap(
    problem: Problem,
    values: Float64[np.ndarray, " P"],
    *,
    draws: int = DRAWS,
    seed: int | Sequence[int] = 0,
    progress: Progress | None = None,
) -> Draws:
    """Fit `draws` replicates of `problem` about its optimum `values`; those that do not converge are left out, counted.

    Raises InputError for fewer than 20 of them, SolverError where more than half fail.
    """
    if draws < FEWEST:
        raise InputError(f"draws = {draws}: a bootstrap needs {FEWEST} replicates at least, and {DRAWS} for intervals")
    stem = [seed] if isinstance(seed, int) else list(seed)
    expected, found = np.asarray(problem.at(values).expected), []
    for number in range(draws):
        best = problem.resampled(expected, [*stem, number], truth=values).fit(values)
        if best.converged and np.isfinite(best.parameters).all():
            found.append(best.parameters)
        if progress is not None:
            progress(number + 1, draws)
    failed = draws - len(found)
    if 2 * failed > draws:
        raise SolverError(f"{failed} of {draws} replicates of the bootstrap could not be fitted: trust no interval")
    return Draws(np.array(found), {"method": "bootstrap", "draws": draws, "seed": stem[0], "failed": failed})
