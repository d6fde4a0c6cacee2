"""Expected pictures and decays of one film after pulses of several densities, with the derivatives of all of them.

A round spot on a uniform film stays round (`solver.radial`): with ν_i(t) = ∫∫ n dA of pulse i and the profile ∫ n dt,
over the exposure of an image or the gate of a frame,

    image_i = b + a (∫ n_i dt ⊗ PSF, over each pixel),     decay_ij = b + a′ ∫ R_j(t − δ) ν_i(t) dt
    spectra_i = b + a″ (∫ [n_i ℓ(E) + y m_i ℓ′(E)] dt ⊗ collection spot, mean over each cell, over each colour)
    scans: a‴ Y_i,  or the mean age of these photons, ∫ t y_i dt/Y_i,     Y_i = ∫ y_i dt,     y_i = ∫∫ n_i w dA

with one a for all, one for each kind of data, or one each, and the bands ℓ of free excitons and ℓ′ of trapped ones, y
times as bright, and w = 1, or e^{−r²/2σ²} where a detector sees the light near the laser. Under a laser that repeats
ν_i repeats, too, and bins of decays see parts of several periods. The film's numbers, the width of the spot and the
density of each pulse enter through the solver, along all of which it is differentiated forward at once; what pictures,
spectra and decays add is linear in its results, and so are the two integrals of a scan.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.inverse.fit.colours import caught, lines
from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.layout import (
    CENTRES,
    FILMS,
    Cells,
    Instruments,
    Layout,
    Look,
    Picture,
    Pixels,
    Spline,
    ground_name,
    names_of,
    scale_name,
)
from excidiff.inverse.fit.round import cell_image, pixel_image
from excidiff.inverse.fit.runs import Run, moments, run_of, run_of_picture, run_of_scan
from excidiff.solver.disc import bessel, disc, flat_zeros
from excidiff.solver.medium import Medium
from excidiff.solver.radial import round_pulse
from excidiff.solver.traps import Traps

EVEN = 1e6  # µm: the width of a spot that is even light
NEARBY = 192  # nodes on which light near the laser is summed up


def film_of(model: str, numbers: dict[str, Any]) -> Medium:
    """A uniform film of `FILMS`."""
    traps: Any = ()
    if model == "traps":
        traps = (Traps.linear(numbers["trapping_rate"], numbers["release"], numbers["trap_lifetime"]),)
    if model == "saturable traps":
        traps = (Traps(*(numbers[name] for name in ("trap_density", "capture", "release", "trap_lifetime"))),)
    given = {"annihilation": numbers["annihilation"]} if model == "annihilation" else {}
    return Medium(numbers["diffusivity"], numbers["lifetime"], traps=traps or None, **given)


def light_of(layout: Layout, own: Float[Array, " F"], run: Run, radius, nodes=None, steps=None):
    """(totals per bin, modes, those of the trapped, wavenumbers) of one pulse; `own`: log of the film's numbers, of
    width and density."""
    numbers = dict(zip(FILMS[layout.model], jnp.exp(own[:-2]), strict=True))
    if layout.even:
        numbers["diffusivity"] = jnp.zeros_like(own[0])
    width = jnp.asarray(EVEN) if layout.even else jnp.exp(own[-2])
    found = round_pulse(
        film_of(layout.model, numbers),
        width=width,
        peak=jnp.exp(own[-1]),
        edges=run.edges,
        radius=radius,
        frames=run.frames,
        nodes=nodes or layout.nodes,
        modes=layout.modes,
        steps=steps or layout.steps,
        period=layout.period,
    )
    trapped = found.trapped_modes.sum(0)
    if layout.quadratic:
        return found.squared, found.squared_modes, trapped, found.wavenumbers
    return found.free, found.modes, trapped, found.wavenumbers


@lru_cache(maxsize=16)
def series_model(layout: Layout):
    """(own numbers, instruments) → all that is expected, (1, 1, N): pictures, then decays; and its derivatives."""
    names = names_of(layout)
    at = {name: index for index, name in enumerate(names)}
    films = [*(at[name] for name in FILMS[layout.model]), at["width"]]

    def model(parameters, given: Instruments):
        parameters, weights = jnp.asarray(parameters), iter(given.weights)
        runs = _runs(layout, parameters, at, given.radius)
        expected, slopes = [], []
        for picture, pixels in zip(layout.pictures, given.pixels, strict=True):
            run, gates = run_of_picture(layout, picture)
            (_, modes, _), (_, tangents, _), waves = runs[run][picture.pulse]
            if gates is not None:
                modes, tangents = gates @ modes, jnp.einsum("gb,pbm->pgm", gates, tangents)
            light = jnp.atleast_2d(modes), tangents.reshape(len(tangents), -1, layout.modes), waves
            one, along = _picture(layout, parameters, at, picture, light, pixels, films)
            expected.append(one.ravel())
            slopes.append(along.reshape(len(names), -1))
        for taken, cells in zip(layout.spectra, given.cells, strict=True):
            (_, *modes), (_, *tangents), waves = runs[run_of_picture(layout, taken)[0]][taken.pulse]
            light = jnp.stack(modes), jnp.stack(tangents, axis=1), waves
            one, along = _spectra(layout, parameters, at, taken.pulse, light, cells, films)
            expected.append(one.ravel())
            slopes.append(along.reshape(len(names), -1))
        for look, near in zip(layout.scans, given.near, strict=True):
            values, tangents, waves = runs[run_of_scan(look)][look.pulse]
            one, along = _scan(layout, parameters, at, look, (values, tangents, waves), near, films)
            expected.append(one[None])
            slopes.append(along[:, None])
        for k, edges in enumerate(layout.decays):
            if edges is None:
                continue
            run, parts = run_of(layout, edges)
            values, tangents, _ = runs[run][k]
            own = next(weights) if isinstance(layout.responses[k], Spline) else None
            light = (values[0], tangents[0]) if parts is None else (parts @ values[0], tangents[0] @ parts.T)
            one, along = _decay(layout, parameters, at, k, *light, films, own)
            expected.append(one)
            slopes.append(along)
        return jnp.concatenate(expected)[None, None], jnp.concatenate(slopes, axis=1)[:, None, None]

    return model


def _runs(layout: Layout, parameters, at, radius):
    """By run, by pulse: (totals, modes and those of the trapped, tangents along film, width and density, waves)."""
    wanted: dict[Run, set[int]] = {}
    for picture in (*layout.pictures, *layout.spectra):
        wanted.setdefault(run_of_picture(layout, picture)[0], set()).add(picture.pulse)
    for look in layout.scans:
        wanted.setdefault(run_of_scan(look), set()).add(look.pulse)
    for k, edges in enumerate(layout.decays):
        if edges is not None:
            wanted.setdefault(run_of(layout, edges)[0], set()).add(k)
    found: dict[Run, dict[int, Any]] = {}
    film = jnp.stack([parameters[at[name]] for name in (*FILMS[layout.model], "width")])
    for run, members in wanted.items():
        order = sorted(members)
        own = jnp.stack([jnp.append(film, parameters[at[f"peak_density_{k + 1}"]]) for k in order])

        def solved(one, run=run):
            values, push = jax.linearize(lambda p: light_of(layout, p, run, radius)[:3], one)
            return values, jax.vmap(push)(jnp.eye(one.size))

        values, tangents = jax.vmap(solved)(own)
        single, whole = layout._replace(period=None), Run(run.edges[:1] + run.edges[-1:])
        waves = light_of(single, own[0], whole, radius, nodes=8, steps=8)[3]
        pick = lambda tree, i: jax.tree.map(lambda a: a[i], tree)  # noqa: E731
        found[run] = {k: (pick(values, i), pick(tangents, i), waves) for i, k in enumerate(order)}
    return found


def _picture(layout: Layout, parameters, at, picture: Picture, light, pixels: Pixels, films):
    """One image, or the frames of a movie, with the slopes along all parameters."""
    modes, tangents, waves = light
    number = picture.pulse + 1
    scale_at = at[scale_name(layout, picture.what, picture.pulse)]
    scale, flat = jnp.exp(parameters[scale_at]), jnp.asarray(pixels.flat)
    size = [at["magnification"]] if layout.magnified else []
    places = jnp.array([*(at[f"{name}_{number}"] for name in CENTRES[picture.what]), at["psf_width"], *size])

    def shown(modes, optics):
        magnified = jnp.exp(optics[3]) if size else 1.0
        sides = jnp.asarray(pixels.x_edges) * magnified, jnp.asarray(pixels.y_edges) * magnified
        return pixel_image(modes, waves, *sides, optics[:2], jnp.exp(optics[2]))

    optics = parameters[places]
    shape = shown(modes, optics)
    by_film = jax.vmap(lambda m: shown(m, optics))(tangents)
    by_optics = jnp.moveaxis(jax.jacfwd(lambda o: shown(modes, o))(optics), -1, 0)
    bright = scale * flat * shape
    ground = at[ground_name(layout, picture.what, picture.pulse)]
    slopes = jnp.zeros((len(at), *shape.shape))
    slopes = slopes.at[jnp.array([*films, at[f"peak_density_{number}"]])].set((scale * flat)[None] * by_film)
    slopes = slopes.at[places].set((scale * flat)[None] * by_optics)
    return bright + parameters[ground] * flat, slopes.at[scale_at].set(bright).at[ground].set(flat)


def trap_share(
    layout: Layout, taken: Picture, own: Float[np.ndarray, " F"], radius
) -> tuple[float, Float[np.ndarray, " F"]]:
    """(the share of the light of spectra that is of traps, its slopes); `own`: as of `light_of`, and the brightness."""

    def share(own):
        _, free, trapped, _ = light_of(layout, own[:-1], run_of_picture(layout, taken)[0], radius)
        lit = own[-1] * trapped[0]  # the wave without nodes is the mean of the disc
        found = lit / (free[0] + lit)
        return found, found

    slopes, value = jax.jit(jax.jacfwd(share, has_aux=True))(own)
    return float(value), np.asarray(slopes)


def _spectra(layout: Layout, parameters, at, k: int, light, cells: Cells, films):
    """One map of spectra, (y, x, colour), with its slopes along all parameters; modes of free and trapped excitons."""
    modes, tangents, waves = light
    names = (*(f"{name}_{k + 1}" for name in CENTRES["spectra"]), *layout.colours)
    places, scale_at = jnp.array([at[name] for name in names]), at[scale_name(layout, "spectra", k)]
    sides = (cells.left, cells.right), (cells.below, cells.above)
    area = ((cells.above - cells.below)[:, None] * (cells.right - cells.left)[None, :])[None]

    def shown(modes, numbers):
        own = dict(zip(names, numbers, strict=True))
        seen = cell_image(modes, waves, *sides, numbers[:2], jnp.exp(own["collection_width"])) / area
        seen = seen[..., None]
        bright = seen[0] * lines(own, own["band_centre"][None], jnp.exp(own["linewidth"]), cells.edges)[None]
        if "trap_brightness" not in own:
            return bright
        return bright + own["trap_brightness"] * seen[1] * caught(own, cells.edges)[None]

    own = parameters[places]
    bright, scale = shown(modes, own), jnp.exp(parameters[scale_at])
    by_film = jax.vmap(lambda m: shown(m, own))(tangents)
    by_own = jnp.moveaxis(jax.jacfwd(lambda o: shown(modes, o))(own), -1, 0)
    slopes = jnp.zeros((len(at), *bright.shape))
    slopes = slopes.at[jnp.array([*films, at[f"peak_density_{k + 1}"]])].set(scale * by_film)
    slopes = slopes.at[places].set(scale * by_own)
    ground = at[ground_name(layout, "spectra", k)]
    slopes = slopes.at[scale_at].set(scale * bright).at[ground].set(1.0)
    return scale * bright + parameters[ground], slopes


@lru_cache(maxsize=4)
def _waves(count: int) -> Float[np.ndarray, "modes nodes"]:
    """J₀(z_i ρ) at the nodes of a disc of radius 1."""
    return bessel(0, flat_zeros(count)[:, None] * disc(NEARBY).radii[None, :])


def near_light(waves, near):
    """∫∫ J₀(k r) e^{−r²/2σ²} dA over the disc for each wave k, σ = `near`; beyond the disc there is no light."""
    count, one = waves.shape[0], disc(NEARBY)
    radius = jnp.asarray(flat_zeros(count)[-1]) / waves[-1]
    window = jnp.exp(-0.5 * (jnp.asarray(one.radii) * radius / near) ** 2)
    return radius**2 * (jnp.asarray(_waves(count)) @ (jnp.asarray(one.weights) * window))


def seen_of(look: Look, totals, modes, waves, near):
    """(Y, ∫ t y dt) of a scan, the second by what is yet to come at each time, ∫ (Y − ∫₀ᵗ y) dt."""
    parts = totals
    if look.near:
        parts = modes @ near_light(waves, near)
    whole = jnp.sum(parts)
    return whole, look.end * jnp.sum(moments()[1] * (whole - jnp.cumsum(parts)[:-1]))


def _scan(layout: Layout, parameters, at, look: Look, light, near, films):
    """The one number of a scan with its slopes along all parameters."""
    (totals, modes, _), (moved, moved_modes, _), waves = light
    whole, moment = seen_of(look, totals, modes, waves, near)
    wholes, moments = jax.vmap(lambda t, m: seen_of(look, t, m, waves, near))(moved, moved_modes)
    own, slopes = jnp.array([*films, at[f"peak_density_{look.pulse + 1}"]]), jnp.zeros(len(at))
    if look.ages:
        age = moment / whole
        return age, slopes.at[own].set((moments - age * wholes) / whole)
    scale_at = at[scale_name(layout, look.what, look.pulse)]
    scale = jnp.exp(parameters[scale_at])
    return scale * whole, slopes.at[own].set(scale * wholes).at[scale_at].set(scale * whole)


def _decay(layout: Layout, parameters, at, k: int, light, tangents, films, weights):
    """One decay with its slopes; `weights` of a measured response."""
    edges = jnp.asarray(layout.decays[k])
    bins, width = light.size if layout.period is None else layout.bins[k], (edges[-1] - edges[0]) / light.size
    scale_at = at[scale_name(layout, "decay", k)]
    ground, shift = at[ground_name(layout, "decay", k)], at[f"shift_{k + 1}"]
    scale, response = jnp.exp(parameters[scale_at]), layout.responses[k]
    slopes, by_shift = jnp.zeros((len(at), bins)), jnp.zeros(bins)
    if isinstance(response, Spline) or response > 0:

        def late(delay):
            first = layout.firsts[k] - delay
            if isinstance(response, Spline):
                return _through(response, weights, (bins, light.size), (first - edges[0]) / width)
            return pixel_weights(edges, width * jnp.arange(bins + 1) + first, jnp.asarray(response))

        matrix, moved = jax.jvp(late, (parameters[shift],), (jnp.ones_like(parameters[shift]),))
        by_shift = scale * (moved @ light)
        light, tangents = matrix @ light, tangents @ matrix.T
    slopes = slopes.at[jnp.array([*films, at[f"peak_density_{k + 1}"]])].set(scale * tangents)
    bright = scale * light
    slopes = slopes.at[scale_at].set(bright).at[ground].set(1.0).at[shift].set(by_shift)
    return bright + parameters[ground], slopes


def _through(response: Spline, weights, size: tuple[int, int], first) -> Float[Array, "J M"]:
    """What bin j shows of the light of bin m, even within it, where bin 0 is `first` bins later than the light's.

    Light, spline and bin are boxes of one width folded into each other, five in all: a quartic B-spline of their
    distance.
    """
    bins, lit = size
    lags = jnp.arange(2 - lit - response.count, bins) + first + 1 - response.first
    signs = (1, -5, 10, -10, 5, -1)
    boxes = sum(sign * jnp.maximum(lags - k, 0.0) ** 4 for k, sign in enumerate(signs)) / 24
    boxes = jnp.where((lags > 0) & (lags < 5), boxes, 0.0)
    kernel = jnp.convolve(jnp.asarray(weights), boxes, mode="valid")
    return kernel[np.arange(bins)[:, None] - np.arange(lit)[None, :] + lit - 1]
