"""Maps of a film from spots at many places: the value everywhere, its error, how finely it is resolved, and where not.

The map is the likeliest one, given all images together, or a scan, and a prior whose strength the data choose
(`fit.smoothing`); the models are those of `fit.fieldmap` and `fit.scanfield`. The error is the standard deviation of
the Laplace approximation about it, its 95 % band symmetric in the map's own variable v, so that what is positive stays
so. The resolution is the full width at half maximum of a Gaussian that averages over as much area as a row R of the
inversion's averaging kernel does, (Σ R)²/Σ R² = 4π σ². The dose is how many excitons were where: the sum of the
densities of all spots.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import pi
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.fit.cells import KINDS, Beyond, Film, Kind, field_of
from excidiff.inverse.fit.descent import DARKEST, Reached, descend, refined
from excidiff.inverse.fit.even import Edges
from excidiff.inverse.fit.likelihood import variance
from excidiff.inverse.fit.smoothing import Name, Prior, averaged, spread
from excidiff.inverse.fit.uncertainty import NORMAL_95, RISE_ONE_SIDED, profile_bound
from excidiff.inverse.results.mapped import FilmMap, told
from excidiff.inverse.results.result import Estimate
from excidiff.inverse.views import Scan, Spots
from excidiff.solver.solution import InputError, is_number
from excidiff.solver.source import FWHM

MOST_CELLS = 4356
"""Of a map: its matrices then take 1 GB, and minutes."""
CHOSEN_ON = 1200
"""Cells of the grid on which the prior is chosen, about: a grid twice as coarse costs 1/64, and predicts as well."""
COARSE, COARSE_MOVING = 1.0, 0.6
"""Cells in laser σ: at 0.8 the images of a patchy film are off by a tenth of what 1e6 photons show, at 1.6 by half;
where the map says how excitons move, by 1 % of the peak at 0.8 and by 0.2 % at 0.4."""
DARK, BLIND = 0.01, 1.0
"""Share of the largest dose, and error of v (a factor e in a rate), beyond which a cell counts as undetermined."""
SCORED = 6
"""Steps of Fisher scoring to the background of an even film; each leaves about the square of what the last one left."""
STARTS = {"total variation": Prior("total variation", 100.0, 0.5), "smooth": Prior("smooth", 30.0, 0.0)}
"""Where the search for the strength starts; it goes as far as the risk falls."""
EXAMPLES = {"diffusivity": "0.05", "lifetime": "5.0", "capture": "2e-3", "temperature": "295.0", "laser_fwhm": "0.25",
            "psf_fwhm": "0.2", "excitons": "6e4"}  # fmt: skip


def measure_map(
    images: Sequence[Image] = (),
    positions: Float[np.ndarray, "P 2"] | None = None,
    *,
    scan: RasterScan | None = None,
    kind: str = "trapping_rate",
    diffusivity: float | None = None,
    lifetime: float | None = None,
    laser_fwhm: float | None = None,
    psf_fwhm: float | None = None,
    excitons: float | None = None,
    capture: float | None = None,
    temperature: float | None = 295.0,
    prior: Name = "total variation",
    background: float | str = "fit",
    strength: float | None = None,
    slope: float | None = None,
) -> FilmMap:
    """The map of what `kind` says of a film, from an image for each laser position, or from a raster scan.

    kind: "trapping_rate" (1/ns), "lifetime" (ns), "trap_density" (1/µm²; takes `capture`, µm²/ns), "diffusivity"
    (µm²/ns) or "landscape" (meV, from its mean where excitons are; takes `temperature`, K).
    `positions`: (x, y) in µm from the centre of the images. `diffusivity` µm²/ns and `lifetime` ns are the film's where
    nothing traps; `excitons`: photons that a spot, or a position of the scan, would give if nothing trapped and all its
    light were collected. `laser_fwhm`, `psf_fwhm`: µm. `background`: photons per pixel, the same in all images, or
    "fit"; of a scan photons per position, and none if not given, or meV, the light's energy where the film is flat.
    `strength` and `slope` of the prior, as `fit.smoothing` has them; both None: as the data choose; with `strength`
    alone the slope stays where the search would start. Raises InputError for what cannot be fitted.
    """
    if kind not in KINDS or prior not in get_args(Name):
        raise InputError(f"prior {prior!r}, kind {kind!r}: there are {get_args(Name)} and {tuple(KINDS)}")
    if scan is not None and (len(images) or positions is not None):
        raise InputError("a map is made from images or from a scan; give one of them")
    view = Scan(scan) if scan is not None else Spots(images, positions)  # type: ignore[arg-type]
    needs = [*KINDS[kind].needs, "laser_fwhm"]
    needs += ["psf_fwhm", "excitons"] if scan is None else ["excitons"] if view.source == "intensity scan" else []
    given = {"diffusivity": diffusivity, "lifetime": lifetime, "laser_fwhm": laser_fwhm, "psf_fwhm": psf_fwhm,
             "excitons": excitons, "capture": capture, "temperature": temperature}  # fmt: skip
    for name in needs:
        number: Any = given[name]
        if not (is_number(number) and 0 < float(number) < np.inf):
            raise InputError(
                f"{name} = {number!r}: a map of the {kind} needs a positive number; give it, such as {name} = "
                f"{EXAMPLES[name]}"
            )
    for name, number in (("strength", strength), ("slope", slope)):
        if number is not None and not (is_number(number) and 0 < float(number) < np.inf):
            raise InputError(f"{name} = {number!r}: give a positive number, or None for the data's choice")
    if slope is not None and strength is None:
        raise InputError("slope given without strength: give both, or leave both to the data")
    if scan is not None and scan.quantity == "lifetime" and background != "fit":
        raise InputError(f"background = {background!r}: lifetimes have none; leave it out")
    if background != "fit" and not _is_ground(background, scan is not None):
        raise InputError(f'background = {background!r}: give a positive number of photons per pixel, or "fit"')
    ground = None if background == "fit" else float(background)
    if background == "fit" and scan is not None and scan.quantity != "energy":
        ground = 0.0
    with jax.enable_x64(True):
        one = {name: 1.0 if given[name] is None else float(given[name]) for name in given}  # type: ignore[arg-type]
        film = Film(one["diffusivity"], one["lifetime"], one["laser_fwhm"] / FWHM, one["psf_fwhm"] / FWHM,
                    one["excitons"], view.positions, one["capture"], one["temperature"])  # fmt: skip
        start = STARTS[prior] if strength is None else Prior(prior, float(strength), STARTS[prior].slope)
        start = start if slope is None else start._replace(slope=float(slope))
        return _measure(view, film, KINDS[kind], start, ground, choosing=strength is None)


def _is_ground(background, scanned: bool) -> bool:
    """Whether it is a number of photons."""
    return is_number(background) and (0 if scanned else 1e-300) <= float(background) < np.inf


def _pixels(view: Spots | Scan, film: Film, kind: Kind, length: float) -> float:
    """How many pixels, or steps, a cell is wide: one, half of one where the spot asks for it, or more."""
    pixels = 1.0
    if max(view.spacing) > (COARSE_MOVING if kind.moves else COARSE) * film.laser:
        pixels = 0.5
    while np.prod(view.edges(pixels, length).cells) > MOST_CELLS:
        pixels = 1.0 if pixels < 1 else pixels + 1
    return pixels


def _measure(
    view: Spots | Scan, film: Film, kind: Kind, prior: Prior, background: float | None, *, choosing: bool
) -> FilmMap:
    beyond, ground = view.begin(kind, film, background)
    length = float(np.sqrt(beyond.diffusivity / (1 / film.lifetime + beyond.loss)))
    pixels = _pixels(view, film, kind, length)
    edges = view.edges(pixels, length)
    factor = 2 if np.prod(edges.cells) > CHOSEN_ON else 1
    first = view.edges(factor * pixels, length)
    centre = _centre(kind, film, beyond)
    x = jnp.asarray(np.append(np.full(int(np.prod(first.cells)), centre), ground))
    problem = view.problem(kind, film, first, beyond)
    reached = descend(problem, prior, x, centre, background, choosing=choosing, first=True)
    if factor > 1:
        problem = view.problem(kind, film, edges, reached.problem.beyond)
        x = refined(reached.x, first, edges)
        reached = descend(problem, reached.prior, x, centre, background, choosing=False, first=False)
    found = _described(view, reached, background)
    widest = COARSE_MOVING if kind.moves else COARSE
    coarse = widest if found.pitch > widest * film.laser else None
    dark = not found.determined.any() and not kind.moves
    limit = _even_limit(view, kind, film, first, ground, background) if dark else None
    return replace(found, verdicts=told(found, coarse=coarse, chosen=choosing, settled=reached.settled, limit=limit))


def _even_limit(
    view: Spots | Scan, kind: Kind, film: Film, edges: Edges, ground: float, background: float | None
) -> float | None:
    """Beyond which value the data exclude at 95 % that an even film, on the map and beyond, loses so much.

    By the profile likelihood, over the background where it is fitted; None if no loss up to 100/τ is excluded. An even
    film needs no fine cells: `edges` may be coarse.
    """
    cells = int(np.prod(edges.cells))

    def deviance(log_share: float) -> float:
        """Of an even film that loses such a part of 1/τ."""
        loss = float(np.exp(log_share) / film.lifetime)
        problem = view.problem(kind, film, edges, Beyond(loss, film.diffusivity))
        x = jnp.asarray(np.append(np.full(cells, field_of(loss, float(film.lifetime))), ground))
        state = problem.state(x)
        for _ in range(SCORED if background is None else 0):
            expected, counts = problem.expected(state, x), problem.counts  # pyright: ignore[reportArgumentType]
            weight = counts.used * counts.flat / variance(expected, counts)
            step = jnp.sum(weight * (counts.photons - expected)) / jnp.sum(weight * counts.flat)
            x = x.at[-1].set(jnp.maximum(x[-1] + step, DARKEST))
        return 2 * problem.misfit(x, state)  # pyright: ignore[reportArgumentType]

    shares = np.log(np.geomspace(1e-6, 10.0, 15))
    near = int(np.argmin([deviance(share) for share in shares]))
    best = _least(deviance, shares[max(near - 1, 0)], shares[min(near + 1, len(shares) - 1)])
    least = deviance(best)
    end = profile_bound(lambda u: deviance(u) - least, best, 0.5, rise=RISE_ONE_SIDED, limit=np.log(100.0))
    if end is None:
        return None
    return float(kind.value(jnp.asarray(field_of(np.exp(end) / film.lifetime, float(film.lifetime))), film))


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least, to 0.05, by thirds."""
    while high - low > 0.1:
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if function(first) < function(second) else (first, high)
    return (low + high) / 2


def _centre(kind: Kind, film: Film, beyond: Beyond) -> float:
    """v of an even film."""
    if kind.name == "diffusivity":
        return float(np.log(beyond.diffusivity))
    return 0.0 if kind.level else float(field_of(beyond.loss, float(film.lifetime)))


def _described(view: Spots | Scan, reached: Reached, background: float | None) -> FilmMap:
    """The map with all that is said of it."""
    problem, prior, x, information, _ = reached
    edges, film, kind, pitch = problem.edges, problem.film, problem.kind, float(problem.edges.pitch)
    shape = edges.cells
    around = spread(information, x, *prior.on(pitch), shape, prior.name == "smooth")
    errors = np.sqrt(np.diag(np.asarray(around.covariance)))
    v, sigma = np.asarray(x[:-1]).reshape(shape), errors[:-1].reshape(shape)
    state = problem.state(x)
    expected = np.asarray(problem.expected(state, x))  # pyright: ignore[reportArgumentType]
    dose = (view.weights @ np.asarray(state.density)).reshape(shape)
    freedom = float(around.freedom) - (background is not None) - kind.level  # what is held takes one each
    known = (dose > DARK * dose.max()) & (sigma < BLIND)
    ends = (v, v - NORMAL_95 * sigma, v + NORMAL_95 * sigma)
    value, low, high = (np.asarray(kind.value(jnp.asarray(u), film)) for u in ends)
    ones = jnp.ones(shape)
    slope = np.abs(np.asarray(jax.jvp(lambda u: kind.value(u, film), (jnp.asarray(v),), (ones,))[1]))
    width = FWHM * pitch * np.sqrt(np.asarray(averaged(around.covariance, information)) / (4 * pi)).reshape(shape)
    held, seen = view.judged(expected, freedom), view.shown(expected)
    agreement = {"deviance_ratio": held.ratio, "z": held.z, "p_value": held.p_value, "photons": view.photons}
    ground = Estimate(float(x[-1]), None if background is not None else float(errors[-1]), unit=view.ground,
                      origin="fitted" if background is None else "given")  # fmt: skip
    blank = lambda values: np.where(known, values, np.nan)  # noqa: E731
    return FilmMap(
        kind=kind.name,
        unit=kind.unit,
        x=np.asarray(edges.cell_x[1:] + edges.cell_x[:-1]) / 2,
        y=np.asarray(edges.cell_y[1:] + edges.cell_y[:-1]) / 2,
        pitch=pitch,
        value=blank(value),
        error=blank(slope * sigma),
        lower=blank(np.minimum(low, high)),
        upper=blank(np.maximum(low, high)),
        resolution=blank(width),
        dose=dose / dose.max(),
        determined=known,
        prior=prior.name,
        strength=prior.strength,
        slope=prior.slope,
        freedom=freedom,
        away=0.0 if kind.level else float(kind.value(jnp.asarray(_centre(kind, film, problem.beyond)), film)),
        background=ground,
        goodness=agreement,
        positions=np.asarray(film.positions),
        source=view.source,
        measured=seen.measured,
        modelled=seen.modelled,
        noise=seen.noise,
        pixel_size=seen.pixel_size,
    )
