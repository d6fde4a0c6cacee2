"""The light of traps in spectra at several powers: where its band is looked for, and whether it is worth it.

Its share of the light follows the traps that are filled at each power, so that three numbers serve all maps: the
band's place and width, and how bright a trapped exciton is beside a free one. Either band may be the brighter. With the
light F_k and T_k that free and trapped excitons of a film give after each pulse, the spectra of all places together are

    s_k(E) = a F_k ℓ(E) + b T_k ℓ′(E) + g_k

and pairs of bands on a lattice are held against them, a, b and g_k by least squares.
"""

from dataclasses import replace
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np

from excidiff.inverse.fit.layout import TRAP_BAND, scale_name
from excidiff.inverse.fit.lines import line
from excidiff.inverse.fit.optimise import Optimum
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.spectralsearch import WORTH

PLACES = 24  # of a band, spread over the spectrum
WIDTHS = (0.4, 0.65, 1.0, 1.6)  # of a band, over that of the light of both
TRIED = 3  # pairs of bands that are fitted


def without_band(pulses: Pulses) -> Problem:
    """The problem with no light of traps in it."""
    free = pulses.knowledge.free & ~np.isin(pulses.names, TRAP_BAND)
    return replace(pulses.problem, knowledge=pulses.knowledge._replace(free=free))


def with_band(pulses: Pulses, before: Optimum, start: np.ndarray) -> tuple[Optimum, Problem]:
    """The fit with the light of traps if that is worth it, else that `before`, which has none; and what it solves.

    Its film is that of the fit before, or that of the `start`, which the spectra had no part in.
    """
    plain = without_band(pulses)
    if "trap_brightness" not in pulses.names:
        return before, plain
    tried = [pair for film in (before.parameters, start) for pair in _pairs(pulses, film)]
    tried = [one for _, one in sorted(tried, key=lambda pair: pair[0])[:TRIED]]
    if not tried:
        return before, plain
    rough = [pulses.problem.fit(one, tolerance=1e-1, max_steps=40) for one in tried]
    found = pulses.problem.fit(min(rough, key=lambda one: one.objective).parameters)
    good = found.objective < before.objective - WORTH and found.parameters[pulses.names.index("trap_brightness")] > 0
    return (found, pulses.problem) if good else (before, plain)


def _pairs(pulses: Pulses, film: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(χ² of the spectra of all places, start with these bands) of the pairs that suit a film best."""
    common = np.median([one.band[1] for one in pulses.scanned]) * np.array(WIDTHS)
    low, high = (end([end(one.map.edges) for one in pulses.scanned]) for end in (np.min, np.max))
    places = np.linspace(low, high, PLACES + 2)[1:-1]
    told = pulses.constraints.fixed
    grid = {name: np.array([told[name]]) if name in told else free for name, free in (
        ("band_centre", places), ("linewidth", common), ("trap_band_centre", places),
        ("trap_band_width", common))}  # fmt: skip
    free, trapped = _light(pulses, film)
    sites, data = _columns(pulses, free, grid["band_centre"], grid["linewidth"])
    traps, _ = _columns(pulses, trapped, grid["trap_band_centre"], grid["trap_band_width"])
    found = []
    for (i, width), (j, other) in product(enumerate(grid["linewidth"]), enumerate(grid["trap_band_width"])):
        for k, centre in enumerate(grid["band_centre"]):
            below = np.flatnonzero(grid["trap_band_centre"] < centre - width)
            own, dark = sites[i, k], traps[j, below]
            aa, bb, ab = own @ own, (dark**2).sum(1), dark @ own
            ay, by = own @ data, dark @ data
            det = np.maximum(aa * bb - ab**2, 1e-300)
            a, b = (bb * ay - ab * by) / det, (aa * by - ab * ay) / det
            left = np.where((a > 0) & (b > 0), data @ data - a * ay - b * by, np.inf)
            if left.size and np.isfinite(left.min()):
                at = int(np.argmin(left))
                numbers = {"band_centre": centre, "linewidth": np.log(width), "trap_brightness": b[at] / a[at],
                           "trap_band_centre": grid["trap_band_centre"][below[at]],
                           "trap_band_width": np.log(other)}  # fmt: skip
                found.append((float(left[at]), numbers, float(np.log(a[at]))))
    best = sorted(found, key=lambda one: one[0])[:TRIED]
    return [(left, _placed(pulses, film, numbers, brighter)) for left, numbers, brighter in best]


def _columns(pulses: Pulses, light: np.ndarray, centres: np.ndarray, widths: np.ndarray):
    """(what bands of so much light in each map add to all spectra, (widths, centres, bins); the spectra): with unit
    errors, the background of each map projected out."""
    lines, rest = [], []
    for one, bright in zip(pulses.scanned, light, strict=True):
        counts, errors = one.map.counts.sum((0, 1)), one.map.uncertainty
        weight = 1 / np.sqrt(counts + 1.0 if errors is None else (errors**2).sum((0, 1)))
        ground, edges = weight / np.linalg.norm(weight), jnp.asarray(one.map.edges)
        shapes = np.stack([np.asarray(line(jnp.asarray(centres), jnp.asarray(width), edges)) for width in widths])
        shapes = bright * shapes * weight
        lines.append(shapes - (shapes @ ground)[..., None] * ground)
        rest.append(counts * weight - (counts * weight @ ground) * ground)
    return np.concatenate(lines, axis=-1), np.concatenate(rest)


def _light(pulses: Pulses, film: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All photons of each map of spectra that free excitons give at these numbers, and trapped ones as bright as they
    are."""
    bright, model = pulses.names.index("trap_brightness"), jax.jit(pulses.problem.model)
    first = sum(one.reading.values.size for one in pulses.taken)
    ends = first + np.cumsum([0] + [one.reading.values.size for one in pulses.scanned])
    whole = film.copy()
    whole[pulses.names.index("linewidth")] = np.log(pulses.scanned[0].band[1])
    for one in pulses.scanned:
        whole[pulses.names.index(pulses.ground("spectra", one.picture.pulse))] = 0.0
    totals = []
    for brightness in (0.0, 1.0):
        whole[bright] = brightness
        expected = np.asarray(model(whole, pulses.instruments)[0]).ravel()
        totals.append(np.array([expected[a:b].sum() for a, b in pairwise(ends)]))
    return totals[0], totals[1] - totals[0]


def _placed(pulses: Pulses, film: np.ndarray, own: dict[str, float], brighter: float) -> np.ndarray:
    """A film's numbers with these bands and scales."""
    start = film.copy()
    for name, value in own.items():
        start[pulses.names.index(name)] = value
    for name in {scale_name(pulses.layout, "spectra", one.picture.pulse) for one in pulses.scanned}:
        start[pulses.names.index(name)] += brighter
    return pulses.held(start)
