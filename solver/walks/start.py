"""Where excitons are born: `Spot`, or a map whose cells are drawn by weight."""

import numpy as np

from excidiff.solver.solution import InputError
from excidiff.solver.source import FWHM, Spot
from excidiff.solver.walks.film import Film
from excidiff.solver.walks.photons import Positions


def starts(source, film: Film, count: int, random: np.random.Generator) -> tuple[Positions, Positions]:
    """Positions x, y of `count` new excitons."""
    height, width = film.extent
    if isinstance(source, Spot):
        axes = zip(source.centre, (width, height), (film.periodic[1], film.periodic[0]), strict=True)
        fwhm = float(source.fwhm)
        x, y = (_gaussian(float(centre), fwhm, extent, wraps, count, random) for centre, extent, wraps in axes)
        return x, y
    weights = np.asarray(source, dtype=float)
    if weights.shape != film.shape:
        raise InputError(f"walk: source of shape {weights.shape}; expected a map of grid.shape {film.shape} or a Spot")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InputError("walk: the source must be finite and ≥ 0 everywhere, and somewhere positive")
    cells = random.choice(weights.size, size=count, p=weights.ravel() / weights.sum())
    row, column = np.unravel_index(cells, film.shape)
    x = (column + random.random(count)) * film.spacing[1] - width / 2
    y = (row + random.random(count)) * film.spacing[0] - height / 2
    return x, y


def _gaussian(centre: float, fwhm: float, extent: float, wraps: bool, count: int, random) -> Positions:
    """One coordinate of a spot; what falls beyond a closed side is drawn again, on a periodic axis it wraps."""
    if not (fwhm > 0 and abs(centre) <= extent / 2):
        raise InputError(
            f"walk: Spot of fwhm {fwhm} µm at {centre} µm; expected a positive width, a centre on the grid"
        )
    place = centre + fwhm / FWHM * random.standard_normal(count)
    while not wraps and (outside := np.abs(place) > extent / 2).any():
        place[outside] = centre + fwhm / FWHM * random.standard_normal(int(outside.sum()))
    return (place + extent / 2) % extent - extent / 2 if wraps else place
