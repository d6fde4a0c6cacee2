"""Maps of a film from spots at many places: the value everywhere, its error, how finely it is resolved, and where not.

The map is the likeliest one, given the photons of all images together and a prior whose strength the data choose
(`fit.smoothing`); the model is that of `fit.ratemap`. The error is the standard deviation of the Laplace approximation
about it, its 95 % band symmetric in the map's logarithmic variable v, so that it stays positive. The resolution is the
full width at half maximum of a Gaussian that averages over as much area as a row R of the inversion's averaging kernel
does, (Σ R)²/Σ R² = 4π σ². The dose is how many excitons were where: the sum of the densities of all spots.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, pi
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.fit.detector import detector_of
from excidiff.inverse.fit.likelihood import Counts, goodness
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.ratemap import KINDS, Edges, Film, Kind, Problem, State, Tangent, field_of
from excidiff.inverse.fit.smoothing import Name, Prior, averaged, choose, cost, optimum, spread
from excidiff.inverse.fit.uncertainty import NORMAL_95
from excidiff.inverse.results.mapped import RateMap, told
from excidiff.inverse.results.result import Estimate
from excidiff.inverse.results.wording import counted
from excidiff.solver.solution import InputError, is_number
from excidiff.solver.source import FWHM

MOST_CELLS = 4356
"""Of a map: its matrices then take 1 GB, and minutes."""
CHOSEN_ON = 1200
"""Cells of the grid on which the prior is chosen, about: a grid twice as coarse costs 1/64, and predicts as well."""
COARSE = 1.0
"""Cells in laser σ: at 0.8 the images of a patchy film are off by a tenth of what 1e6 photons show, at 1.6 by half."""
DARK, BLIND = 0.01, 1.0
"""Share of the largest dose, and error of v (a factor e in the loss), beyond which a cell counts as undetermined."""
STEPS, NEAR, DECREMENT = 30, 10.0, 0.05
"""Newton steps on a grid at most; the gains in log L near enough to an optimum to judge priors, and to end."""
MORE = 1.05
"""Photons for each exciton that noise and an unsure background may feign."""
FARTHEST = 40.0
"""Of v: a loss e^40 times 1/τ, or as little, is nothing that light tells."""
FOLLOWED = 0.01
"""Of 1/τ: by how much the loss along the map's edge may differ from that of the film beyond."""
STARTS = {"total variation": Prior("total variation", 100.0, 0.5), "smooth": Prior("smooth", 30.0, 0.0)}
"""Where the search for the strength starts; it goes as far as the risk falls."""


def measure_rate_map(
    images: Sequence[Image],
    positions: Float[np.ndarray, "P 2"],
    *,
    diffusivity: float,
    lifetime: float,
    laser_fwhm: float,
    psf_fwhm: float,
    excitons: float,
    prior: Name = "total variation",
    background: float | str = "fit",
    kind: str = "trapping_rate",
    strength: float | None = None,
    slope: float | None = None,
) -> RateMap:
    """The map of a film's trapping rate (1/ns), or of its lifetime (ns), from one image for each laser position.

    `positions`: (x, y) in µm from the centre of the images. `diffusivity` µm²/ns and `lifetime` ns are the film's where
    nothing traps; `excitons`: photons that a spot would give if nothing trapped. `laser_fwhm`, `psf_fwhm`: µm.
    `background`: photons per pixel, the same in all images, or "fit". `strength` and `slope` of the prior, as
    `fit.smoothing` has them; None: as the data choose. Raises InputError for what cannot be fitted.
    """
    places = _checked(images, positions, prior, kind, background)
    numbers = {"diffusivity": diffusivity, "lifetime": lifetime, "laser_fwhm": laser_fwhm, "psf_fwhm": psf_fwhm}
    for name, number in {**numbers, "excitons": excitons}.items():
        if not (is_number(number) and 0 < float(number) < np.inf):
            raise InputError(f"{name} = {number!r}: a map needs a positive number")
    with jax.enable_x64(True):
        film = Film(diffusivity, lifetime, laser_fwhm / FWHM, psf_fwhm / FWHM, excitons, places)
        start = STARTS[prior] if strength is None else Prior(prior, float(strength), STARTS[prior].slope)
        start = start if slope is None else start._replace(slope=float(slope))
        ground = None if background == "fit" else float(background)
        return _measure(images, film, KINDS[kind], start, ground, choosing=strength is None)


def _checked(images, positions, prior, kind, background) -> np.ndarray:
    if not images:
        raise InputError("a map needs images; none were given")
    places = np.asarray(positions, dtype=float)
    if places.shape != (len(images), 2) or not np.isfinite(places).all():
        raise InputError(f"positions of shape {places.shape} for {len(images)} images: give (x, y) in µm for each")
    first = images[0]
    for image, (x, y) in zip(images, places, strict=True):
        check_same_pixels(first, image)
        if image.shape != first.shape:
            raise InputError(f"{image.name} has {image.shape} pixels, {first.name} {first.shape}: all must be alike")
        if detector_of(image) != detector_of(first):
            raise InputError(f"{image.name} and {first.name} were taken with unlike cameras: give all the same gain")
        if image.uncertainty is not None:
            raise InputError(f"{image.name} brings uncertainties: a map is made from counts, give the photons")
        reach = np.array(image.shape) * image.spacing / 2
        if abs(x) > reach[1] or abs(y) > reach[0]:
            raise InputError(f"{image.name}: its spot at ({x:g}, {y:g}) µm lies outside the image; are these µm?")
    if prior not in get_args(Name) or kind not in KINDS:
        raise InputError(f"prior {prior!r}, kind {kind!r}: there are {get_args(Name)} and {tuple(KINDS)}")
    if background != "fit" and not (is_number(background) and 0 < float(background) < np.inf):  # type: ignore[arg-type]
        raise InputError(f'background = {background!r}: give a positive number of photons per pixel, or "fit"')
    return places


def _counts(images: Sequence[Image]) -> Counts:
    detector = detector_of(images[0])
    used = np.stack([image.mask.ravel() for image in images]).astype(float)
    flat = np.stack([np.ones(used[0].size) if image.flat is None else image.flat.ravel() for image in images])
    photons = np.stack([detector.photons(image).ravel() for image in images])
    floor = np.full(used.shape, detector.floor)
    return Counts(photons * used, used, flat, floor, np.asarray(detector.excess))


def _edges(image: Image, blocks: int) -> tuple[Edges, float]:
    """Square cells of `blocks` pixels over the whole image, and their pitch."""
    pitch = blocks * max(image.spacing)
    rows, columns = (ceil(n * size / pitch - 1e-6) for n, size in zip(image.shape, image.spacing, strict=True))
    pixels = [np.asarray(pixel_edges(n, size)) for n, size in zip(image.shape, image.spacing, strict=True)]
    cells = [np.asarray(pixel_edges(n, pitch)) for n in (rows, columns)]
    return Edges(*pixels, *cells), pitch


def _begin(counts: Counts, film: Film, edges: Edges, background: float | None) -> tuple[float, float]:
    """(extra loss of an even film as bright as this one, background per pixel)."""
    y, x = ((edge[1:] + edge[:-1]) / 2 for edge in edges[:2])
    far = np.stack([np.hypot(x[None, :] - px, y[:, None] - py).ravel() for px, py in np.asarray(film.positions)])
    light = np.asarray(counts.photons / counts.flat)
    used = np.asarray(counts.used) > 0
    dim = used & (far >= np.quantile(far, 0.9, axis=1, keepdims=True))
    ground = float(light[dim].mean()) if background is None else background
    seen, most = max(float((light - ground)[used].sum()), 1.0), float(film.excitons) * len(far)
    if seen > MORE * most:
        raise InputError(
            f"the images show {seen:.4g} photons above the background, {counted(len(far), 'spot')} of "
            f"{film.excitons:g} excitons can give one each at most: check excitons (photons per spot without traps), "
            "gain and background"
        )
    rate = (most / seen - 1) / film.lifetime
    return float(max(rate, 0.02 / film.lifetime)), float(max(ground, 1e-3))


def _held(tangent: Tangent, x, background: float | None):
    """(H, b) of the quadratic data about x, ½ xᵀHx − bᵀx; a given background stays where it is."""
    information, slope = tangent.information, tangent.slope
    if background is not None:
        information = information.at[-1, :].set(0.0).at[:, -1].set(0.0).at[-1, -1].set(1.0)
        slope = slope.at[-1].set(0.0)
    return information, information @ x + slope


def _descend(
    problem: Problem, prior: Prior, x, centre: float, pitch: float, background, *, choosing: bool, first: bool
):
    """Newton steps to the optimum, each on the quadratic data about the map before; (problem, prior, x, H).

    On the `first` grid the film beyond the map follows its edge. The prior is chosen once an optimum is near.
    """
    shape, near, information, past, state = problem.edges.cells, False, None, set(), None
    for _ in range(STEPS):
        tangent = problem.tangent(x, state)
        information, slopes = _held(tangent, x, background)
        before = prior
        if choosing and near:
            choice = choose(prior, information, slopes, x, centre, shape, pitch)
            choosing = choice.prior not in past  # the risk has no more to say than that two are as good
            prior, new = choice.prior, choice.x
            past.add(before)
        else:
            new = optimum(information, slopes, x, centre, *prior.on(pitch), shape, prior.name == "smooth")
        moved, state = _walked(problem, prior, x, tangent.state, new, centre, pitch)
        gain = 0.5 * float((moved - x) @ (information @ (moved - x)))
        x, near = moved, near or gain < NEAR
        if gain < DECREMENT and prior == before and not choosing:
            break
        away, rim = float(problem.reference.away), _rim(problem, x)
        if first and abs(rim - away) * problem.film.lifetime > FOLLOWED:
            problem, state = problem.surrounded(rim), None
    return problem, prior, x, information


def _walked(problem: Problem, prior: Prior, x, state: State, new, centre: float, pitch: float):
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


def _rim(problem: Problem, x) -> float:
    """The extra loss of the film beyond the map: the mean along the map's edge."""
    extra = np.asarray(problem.extra(x[:-1])).reshape(problem.edges.cells)
    return float(np.concatenate([extra[0], extra[-1], extra[1:-1, 0], extra[1:-1, -1]]).mean())


def _refined(x, coarse: Edges, fine: Edges):
    """A map on coarse cells, on fine ones: linear between the centres, so that no edge is made where cells meet."""
    v = np.asarray(x[:-1]).reshape(coarse.cells)
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in (*coarse[2:], *fine[2:])]
    v = np.stack([np.interp(middles[2], middles[0], column) for column in v.T], axis=1)
    v = np.stack([np.interp(middles[3], middles[1], row) for row in v])
    return jnp.append(jnp.asarray(v.ravel()), x[-1])


def _measure(images, film: Film, kind: Kind, prior: Prior, background: float | None, *, choosing: bool) -> RateMap:
    blocks = 1
    while np.prod(_edges(images[0], blocks)[0].cells) > MOST_CELLS:
        blocks += 1
    edges, pitch = _edges(images[0], blocks)
    counts = _counts(images)
    rate, ground = _begin(counts, film, edges, background)
    factor = 2 if np.prod(edges.cells) > CHOSEN_ON else 1
    first, wide = _edges(images[0], factor * blocks)
    centre = float(field_of(rate, float(film.lifetime)))
    x = jnp.asarray(np.append(np.full(int(np.prod(first.cells)), centre), ground))
    problem = Problem.make(kind, film, first, counts, rate)
    problem, prior, x, information = _descend(
        problem, prior, x, centre, wide, background, choosing=choosing, first=True
    )
    if factor > 1:
        x = _refined(x, first, edges)
        problem = Problem.make(kind, film, edges, counts, float(problem.reference.away))
        problem, prior, x, information = _descend(
            problem, prior, x, centre, pitch, background, choosing=False, first=False
        )
    found = _described(problem, images, prior, x, information, pitch, background)
    return replace(found, verdicts=told(found, coarse=bool(pitch > COARSE * film.laser), chosen=choosing))


def _described(problem: Problem, images, prior: Prior, x, information, pitch: float, background) -> RateMap:
    """The map at x with all that is said of it."""
    edges, film, kind = problem.edges, problem.film, problem.kind
    shape = edges.cells
    around = spread(information, x, *prior.on(pitch), shape, prior.name == "smooth")
    errors = np.sqrt(np.diag(np.asarray(around.covariance)))
    v, sigma = np.asarray(x[:-1]).reshape(shape), errors[:-1].reshape(shape)
    state = problem.state(x)
    expected = np.asarray(problem.expected(state, x))
    dose = np.asarray(state.density).sum(0).reshape(shape)
    known = (dose > DARK * dose.max()) & (sigma < BLIND)
    ends = (v, v - NORMAL_95 * sigma, v + NORMAL_95 * sigma)
    value, low, high = (np.asarray(kind.value(jnp.asarray(u), film)) for u in ends)
    ones = jnp.ones(shape)
    slope = np.abs(np.asarray(jax.jvp(lambda u: kind.value(u, film), (jnp.asarray(v),), (ones,))[1]))
    width = FWHM * pitch * np.sqrt(np.asarray(averaged(around.covariance, information)) / (4 * pi)).reshape(shape)
    used = np.asarray(problem.counts.used) > 0
    photons, pixels = np.asarray(problem.counts.photons), edges.pixels
    held = goodness(photons[used], expected[used], detector_of(images[0]), fitted=round(float(around.freedom)))
    agreement = {"deviance_ratio": held.ratio, "z": held.z, "p_value": held.p_value, "photons": float(photons.sum())}
    ground = Estimate(float(x[-1]), None if background is not None else float(errors[-1]), unit="photons/pixel",
                      origin="fitted" if background is None else "given")  # fmt: skip
    blank = lambda values: np.where(known, values, np.nan)  # noqa: E731
    return RateMap(
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
        freedom=float(around.freedom),
        away=float(kind.value(jnp.asarray(field_of(float(problem.reference.away), float(film.lifetime))), film)),
        background=ground,
        goodness=agreement,
        positions=np.asarray(film.positions),
        measured=(photons * used).sum(0).reshape(pixels),
        modelled=(expected * used).sum(0).reshape(pixels),
        pixel_size=images[0].spacing,
    )
