"""The fit of a spectral map: how far excitons go and how fast they sink in energy, from all its counts at once.

Relaxation, light guided along the film and a band of traps are in the fit where they explain significantly more
(`fit.spectralsearch`); where relaxation and guided light both do, the one that explains more, and how much more.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.absorption import Absorption
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.colours import GUIDING, RELAXING
from excidiff.inverse.fit.fitted import Fitted, solved
from excidiff.inverse.fit.landscape import ROOM
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optimise import Optimum
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.spectralsearch import TRAPPED, WORTH, SpectralSearch, line_width
from excidiff.solver.solution import SolverError


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralFit(Fitted):
    """One fit: parameters of `colours.names_of` in the fit's own numbers; arrays (y, x, colour).

    relaxing, guiding, trapped: whether energy relaxation, light guided along the film and a band of traps are in it.
    rival: where relaxation and guided light were both tried and one of them chosen, by how much the deviance of the
    other is higher; else None.
    """

    expected: Float64[np.ndarray, "y x colour"]
    counts: Float64[np.ndarray, "y x colour"]
    variance: Float64[np.ndarray, "y x colour"]
    photons: bool
    line: str
    relaxing: bool
    guiding: bool
    trapped: bool
    rival: float | None = None

    @property
    def band(self) -> float:
        """σ of a Gaussian as wide as the line of a site at half its height, meV."""
        return line_width(dict(zip(self.names, self.values, strict=True)))


def fit_spectral_map(
    measured: SpectralMap,
    known: Known,
    constraints: Constraints,
    *,
    temperature: float = ROOM,
    model: str | None = None,
    line: str = "gaussian",
    absorption: Absorption | None = None,
) -> SpectralFit:
    """Fit a uniform film to a spectral map; `known`: the width of laser ⊗ collection, log µm, with its error.

    model: "relaxation", excitons that sink in energy; "reabsorption", light guided along the film, which needs the
    `absorption`; "free", neither. None: neither, unless one explains significantly more, of which guided light is tried
    if there is an `absorption`; of both the one that explains more. A band of traps is in the fit if that does.
    line: of a site, "gaussian" or "voigt". temperature: K.

    Raises InputError where no band of light stands out of the background, and where the absorption does not reach as
    far as the spectra.
    """
    given = (measured, known, constraints, temperature, line)
    films = [] if model == "reabsorption" else _relaxed(SpectralSearch(*given), model)
    if absorption is not None and model in (None, "reabsorption"):
        films.append(_guided(SpectralSearch(*given, absorption)))
    if model is not None:
        return films[-1]
    free, *others = films
    others.sort(key=_price)
    if others[0].least >= free.least - WORTH:
        return free
    return replace(others[0], rival=_price(others[1]) - _price(others[0])) if len(others) > 1 else others[0]


def again(found: SpectralFit, known: Known) -> SpectralFit:
    """The same model fitted with what another measurement says of some of its numbers, instead of what was known.

    Raises SolverError if that does not converge.
    """
    problem, index = found.problem, [found.names.index(name) for name in known.names]
    these, start = problem.knowledge, found.values.copy()
    centre, precision = these.centre.copy(), these.precision.copy()
    centre[index], precision[np.ix_(index, index)] = known.mean, known.precision
    problem = replace(problem, knowledge=these._replace(centre=centre, precision=precision))
    start[index] = np.clip(known.mean, these.lower[index], these.upper[index])
    best = problem.best((found.values, start))
    if not best.converged:
        raise SolverError(
            f"the spectra with what is known of {' and '.join(known.names)}: no fit in {best.steps} steps"
        )
    _, columns, colours = found.counts.shape
    expected = np.asarray(best.expected)[:, :columns, :colours]
    variance = expected if found.photons else found.variance
    return replace(found, **solved(problem, best, found.names), expected=expected, variance=variance)


def _relaxed(search: SpectralSearch, model: str | None) -> list[SpectralFit]:
    """A film without relaxation and, if that is asked or open, one whose excitons relax."""
    best, traps = search.plain(RELAXING)
    found = []
    if model != "relaxation":
        frozen = (*RELAXING, *(() if traps else TRAPPED))
        found.append(_result(search, best, frozen, relaxing=False, trapped=traps))
    if model != "free":
        best, traps = search.onward(search.relaxing_starts(best), traps)
        found.append(_result(search, best, () if traps else TRAPPED, relaxing=True, trapped=traps))
    return found


def _guided(search: SpectralSearch) -> SpectralFit:
    """A film that guides light and takes it back on its way; traps are looked for after that, which is red as they."""
    plain = search.best(search.plain_start(), frozen=(*GUIDING, *TRAPPED))
    best, traps = search.onward(search.guided_starts(plain), False)
    return _result(search, best, () if traps else TRAPPED, relaxing=False, trapped=traps)


def _price(found: SpectralFit) -> float:
    """The deviance, and what a band of traps must be worth."""
    return found.least + WORTH * found.trapped


def _result(
    search: SpectralSearch, best: Optimum, frozen: tuple[str, ...], *, relaxing: bool, trapped: bool
) -> SpectralFit:
    """What the fit found, from the person's own starts, too, with its errors."""
    measured, best = search.measured, search.also(best, frozen)
    if not np.isfinite(best.parameters).all():
        raise SolverError(f"{measured.file}: the fit met numbers that are not finite; look for stray counts")
    cut, errors = np.s_[:, : search.shape[1], : search.shape[2]], measured.uncertainty
    expected = np.asarray(best.expected)[cut]
    return SpectralFit(
        **solved(search.problem(best.parameters, frozen), best, search.names),
        expected=expected,
        counts=measured.counts,
        variance=expected if errors is None else errors**2,
        photons=errors is None,
        line=search.line,
        relaxing=relaxing,
        guiding=search.guiding,
        trapped=trapped,
    )
