"""The fit of a fluence series: one film for all images and decays of its pulses, without start values.

It is made from several films that `trials` found to suit the decays; the best of them stays.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float64

from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.fit.fitted import Fitted, solved
from excidiff.inverse.fit.laws import Row
from excidiff.inverse.fit.layout import Instruments, Layout, Picture
from excidiff.inverse.fit.optimise import Optimum
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.shots import series_model
from excidiff.inverse.fit.surveyed import Surveyed
from excidiff.inverse.fit.told import Told
from excidiff.inverse.fit.trapband import with_band, without_band
from excidiff.inverse.fit.trials import expected_of, starts
from excidiff.solver.solution import SolverError

SEEN = 0.1  # errors of all data together, below which a change of steps, window or disc is not seen
DOUBLINGS = 4  # of the steps, at most
WIDEST = 2.0  # times the disc, from one fit to the next


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesFit(Fitted):
    """One fit of all pulses: parameters of `names_of`; what its pictures, spectra, scans and decays show under it, in
    order; surveyed: its scans. settled: whether steps, window and disc are known to do. unseen: names of what no
    measurement has to do with.

    limits: name → where the search for it ends, in house units.
    bounded: names of what the person bounded.
    """

    model: str
    layout: Layout
    settled: bool
    unseen: tuple[str, ...]
    pictures: tuple[Float64[np.ndarray, "frames ny nx"], ...]
    spectra: tuple[Float64[np.ndarray, "y x colour"], ...]
    scans: tuple[Float64[np.ndarray, "1"], ...]
    surveyed: tuple[Surveyed, ...]
    decays: tuple[Float64[np.ndarray, " T"], ...]
    limits: dict[str, tuple[float, float]]
    bounded: tuple[str, ...]

    @property
    def banded(self) -> bool:
        """Whether light of traps is in the spectra."""
        index = self.names.index("trap_brightness") if "trap_brightness" in self.names else None
        return index is not None and bool(self.problem.knowledge.free[index])

    @property
    def share(self) -> float:
        """How many of the numbers that were fitted each measurement is charged."""
        many = len(self.pictures) + len(self.spectra) + len(self.scans) + len(self.decays)
        return int(self.moving.sum()) / many

    @property
    def alone(self) -> Bool[np.ndarray, " N"]:
        """Which of all numbers is the only one of its kind, as the mean of a scan is."""
        sizes = [sum(part.size for part in parts) for parts in (self.pictures, self.spectra, self.scans, self.decays)]
        return np.repeat([False, False, True, False], sizes)


def fit_series(series: FluenceSeries, model: str, constraints: Constraints, told: Told) -> SeriesFit:
    """Fit `model`, one of `FILMS`, to a series; `told`: what is known of the optics and the film.

    Raises InputError for images without a spot, SolverError for a fit that meets numbers that are not finite.
    """
    pulses = Pulses(series, model, constraints, told)
    problem = without_band(pulses)
    begun = starts(pulses)
    found = [problem.fit(start, tolerance=1e-1, max_steps=40) for start in begun]
    best = problem.fit(min(found, key=lambda one: one.objective).parameters)
    best, problem = with_band(pulses, best, begun[0])
    settled = (pulses.layout, best, problem, True)
    return _result(pulses, *(_settled(pulses, best, problem) if pulses.doubtful else settled))


def _settled(pulses: Pulses, best: Optimum, problem: Problem) -> tuple[Layout, Optimum, Problem, bool]:
    """The fit with so many steps in time, so long a window and so large a disc that more of them change all data
    together by less than `SEEN` errors: no number of the film moves by more of its own error, then. Last: whether."""
    layout, law = pulses.layout, Row(pulses.readings).law
    for _ in range(DOUBLINGS):
        expected = np.asarray(best.expected).ravel()
        finer, given = _larger(pulses, layout, best)
        there = np.asarray(expected_of(finer, jnp.asarray(best.parameters), given))
        if float(((there - expected) ** 2 / law(expected)).sum()) < SEEN**2:
            return layout, best, problem, True
        layout, pulses.instruments = finer, given
        problem = replace(problem, model=series_model(finer), arguments=(given,))
        best = problem.fit(best.parameters)
    return layout, best, problem, False


def _larger(pulses: Pulses, layout: Layout, best: Optimum) -> tuple[Layout, Instruments]:
    """Twice the steps, twice the window of what holds all light, and the disc that the fitted film asks for."""
    given, film = pulses.instruments, dict(zip(pulses.names, best.parameters, strict=True))
    finer = layout._replace(steps=2 * layout.steps)
    last = pulses.last
    if pulses.endless:

        def longer(one: Picture) -> Picture:
            return one if one.what == "frames" else one._replace(gates=((0.0, 2 * one.gates[0][1]),))

        finer = finer._replace(
            pictures=tuple(map(longer, layout.pictures)),
            spectra=tuple(map(longer, layout.spectra)),
            scans=tuple(one._replace(end=2 * one.end) for one in layout.scans),
        )
        gates = [gate for one in (*finer.pictures, *finer.spectra) for gate in one.gates]
        last = max([last, *(end for _, end in gates), *(one.end for one in finer.scans)])
    needed = 0.0
    if not layout.even:
        needed = pulses.radius(float(np.exp(film["diffusivity"])), float(np.exp(film["lifetime"])), last)
    radius = float(given.radius)
    if needed > radius:
        more = min(needed / radius, WIDEST)
        finer = finer._replace(nodes=int(np.ceil(more * layout.nodes)), modes=int(np.ceil(more * layout.modes)))
        given = given._replace(radius=jnp.asarray(more * radius))
    return finer, given


def _result(pulses: Pulses, layout: Layout, best: Optimum, problem: Problem, settled: bool) -> SeriesFit:
    if not np.isfinite(best.parameters).all():
        raise SolverError("the fluence series: the fit met numbers that are not finite; look for stray counts")
    pictures, seen = len(pulses.taken), len(pulses.seen)
    scanned = seen + len(pulses.surveyed)
    shown = tuple(Row(pulses.readings).parts(np.asarray(best.expected)))
    return SeriesFit(
        **solved(problem, best, pulses.names),
        model=pulses.layout.model,
        layout=layout,
        settled=settled,
        unseen=("diffusivity",) if pulses.spaceless and not pulses.told_of("diffusivity") else (),
        pictures=shown[:pictures],
        spectra=shown[pictures:seen],
        scans=shown[seen:scanned],
        surveyed=pulses.surveyed,
        decays=shown[scanned:],
        limits=pulses.limits,
        bounded=tuple(pulses.constraints.bounds),
    )
