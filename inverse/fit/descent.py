"""From a start to the likeliest map: Newton steps on the quadratic data about the map before, and the prior's strength.

A problem is one of `fit.fieldmap` or of `fit.scanfield`: both have the same methods.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from excidiff.inverse.fit.cells import Beyond
from excidiff.inverse.fit.even import Edges
from excidiff.inverse.fit.fieldmap import Problem, Tangent
from excidiff.inverse.fit.scanfield import ScanProblem
from excidiff.inverse.fit.smoothing import Prior, choose, cost, optimum

STEPS, NEAR, DECREMENT = 30, 10.0, 0.05
"""Newton steps on a grid at most; the gains in log L near enough to an optimum to judge priors, and to end."""
BLOCKED = 1.0
"""The gain in log L that a last step may have promised and not kept."""
FARTHEST = 40.0
"""Of v: a loss e^40 times 1/τ, or as little, is nothing that light tells."""
DARKEST = 1e-4
"""Photons per pixel or position: the least background; it is held there where the data ask for less."""
FOLLOWED = 0.01
"""Of 1/τ and of D: by how much these may differ along the map's edge from what they are beyond."""


class Reached(NamedTuple):
    """Where a descent ended: the problem with the film beyond that it found, the prior, the map x, the information.

    settled: whether the map has stopped changing, not only the search.
    """

    problem: Problem | ScanProblem
    prior: Prior
    x: Any
    information: Any
    settled: bool


def descend(
    problem: Problem | ScanProblem, prior: Prior, x, centre: float, background: float | None, *, choosing: bool,
    first: bool,
) -> Reached:  # fmt: skip
    """Newton steps to the optimum, each on the quadratic data about the map before.

    On the `first` grid the film beyond the map follows its edge; halfway each time for scans, whose outer positions see
    enough of it to answer, and for how excitons move. The prior is chosen once an optimum is near.
    """
    shape, pitch = problem.edges.cells, float(problem.edges.pitch)
    near, information, past, state, settled = False, None, set(), None, False
    for _ in range(STEPS):
        tangent = problem.tangent(x, state)
        dark = background is None and float(x[-1]) <= DARKEST and float(tangent.slope[-1]) < 0
        information, slopes = held(tangent, x, DARKEST if dark else background)
        before = prior
        if choosing and near:
            choice = choose(prior, information, slopes, x, centre, shape, pitch)
            choosing = choice.prior not in past  # the risk has no more to say than that two are as good
            prior, new = choice.prior, choice.x
            past.add(before)
        else:
            new = optimum(information, slopes, x, centre, *prior.on(pitch), shape, prior.name == "smooth")
        if background is None and float(new[-1]) < DARKEST:  # the rest of the step as if it were known
            information, slopes = held(tangent, x.at[-1].set(DARKEST), DARKEST)
            new = optimum(information, slopes, x, centre, *prior.on(pitch), shape, prior.name == "smooth")
            new = new.at[-1].set(DARKEST)
        moved, state = _walked(problem, prior, x, tangent.state, new, centre, pitch)
        gain, asked = (0.5 * float(step @ (information @ step)) for step in (moved - x, new - x))
        x, near = moved, near or gain < NEAR
        if gain < DECREMENT and prior == before and not choosing:
            settled = asked < BLOCKED
            break
        edge = rim(problem, x)
        if first and _apart(edge, problem):
            old = problem.beyond
            between = Beyond(0.5 * (edge.loss + float(old.loss)), float(np.sqrt(edge.diffusivity * old.diffusivity)))
            slowly = isinstance(problem, ScanProblem) or problem.kind.moves
            problem, state = problem.surrounded(between if slowly else edge), None
    return Reached(problem, prior, x, information, settled)


def held(tangent: Tangent, x, background: float | None):
    """(H, b) of the quadratic data about x, ½ xᵀHx − bᵀx; a given background stays where it is."""
    information, slope = tangent.information, tangent.slope
    if background is not None:
        information = information.at[-1, :].set(0.0).at[:, -1].set(0.0).at[-1, -1].set(1.0)
        slope = slope.at[-1].set(0.0)
    return information, information @ x + slope


def _walked(problem, prior: Prior, x, state, new, centre: float, pitch: float):
    """From x towards `new` as far as the posterior rises, whole, half, … of the way; (x, its state)."""
    numbers = (centre, *prior.on(pitch), problem.edges.cells, prior.name == "smooth")
    before = problem.misfit(x, state) + float(cost(x, *numbers))
    for halvings in range(8):
        trial = x + 0.5**halvings * (new - x)
        if float(jnp.abs(trial[:-1]).max()) > FARTHEST:
            continue
        there = problem.state(trial)
        if problem.misfit(trial, there) + float(cost(trial, *numbers)) <= before + 1e-6:
            return trial, there
    return x, state


def rim(problem, x) -> Beyond:
    """The film beyond the map: the mean along the map's edge."""
    own = problem.rates(x)
    loss, moving = (np.asarray(a) for a in (own.loss, own.diffusivity))
    mean = (float(np.concatenate([a[0], a[-1], a[1:-1, 0], a[1:-1, -1]]).mean()) for a in (loss, moving))
    return Beyond(*mean)


def _apart(edge: Beyond, problem) -> bool:
    """Whether the map's edge is another film than that beyond."""
    loss = abs(edge.loss - float(problem.beyond.loss)) * float(problem.film.lifetime)
    moving = abs(edge.diffusivity / float(problem.beyond.diffusivity) - 1)
    return bool(max(float(loss), float(moving)) > FOLLOWED)


def refined(x, coarse: Edges, fine: Edges):
    """A map on coarse cells, on fine ones: linear between the centres, so that no edge is made where cells meet."""
    v = np.asarray(x[:-1]).reshape(coarse.cells)
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in (*coarse[2:], *fine[2:])]
    v = np.stack([np.interp(middles[2], middles[0], column) for column in v.T], axis=1)
    v = np.stack([np.interp(middles[3], middles[1], row) for row in v])
    return jnp.append(jnp.asarray(v.ravel()), x[-1])
