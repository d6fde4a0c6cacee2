"""Expected images and decays of one film after pulses of several densities, with the derivatives of all of them.

A round spot on a uniform film stays round (`solver.radial`): with ν_i(t) = ∫∫ n dA of pulse i and the profile ∫ n dt,

    image_i = b + a (∫ n_i dt ⊗ PSF, over each pixel),     decay_ij = b + a′ ∫ R_j(t − δ) ν_i(t) dt

with one a = a′ for all, one a and one a′ for all pulses, or one each. Under a laser that repeats ν_i repeats, too, and
bins of decays see parts of several periods. The film's numbers, the width of the spot and the
density of each pulse enter through the solver, along all of which it is differentiated forward at once; what images and
decays add is linear in its results.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.inverse.files.decays import Decay
from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.round import pixel_image
from excidiff.solver.medium import Medium
from excidiff.solver.radial import round_pulse
from excidiff.solver.traps import Traps

FILMS = {
    "free": ("diffusivity", "lifetime"),
    "annihilation": ("diffusivity", "lifetime", "annihilation"),
    "traps": ("diffusivity", "lifetime", "trapping_rate", "release", "trap_lifetime"),
    "saturable traps": ("diffusivity", "lifetime", "trap_density", "capture", "release", "trap_lifetime"),
}
"""The numbers of each model of a film, all positive."""
EVEN = 1e6  # µm: the width of a spot that is even light


class Spline(NamedTuple):
    """A measured response: quadratic spline i of `count` begins `first` + i bins of the decay after the pulse, three
    bins long."""

    first: float
    count: int


class Layout(NamedTuple):
    """What is the same for every value of the parameters; hashable. Times in ns.

    model: of `FILMS`. decays: per pulse the edges of the bins of its light, from the pulse on, or None. firsts: where a
    decay's own bins begin on its axis. exposures: per pulse up to when its image integrates, or None. responses: per
    pulse the σ of its decay's Gaussian response, 0 for none, or a measured one. scale: "shared", "kind" or "free", see
    `FluenceSeries`. even: whether the laser's light is. quadratic: whether light goes with n². nodes, modes, steps: of
    the solver. period: of the laser, None for single pulses; with it the edges of `decays` may lie anywhere, as light
    is there at all times, and `bins` says how many each decay has itself.
    """

    model: str
    decays: tuple[tuple[float, ...] | None, ...]
    firsts: tuple[float, ...]
    exposures: tuple[float | None, ...]
    responses: tuple[float | Spline, ...]
    scale: str
    even: bool
    quadratic: bool
    nodes: int
    modes: int
    steps: int
    period: float | None = None
    bins: tuple[int, ...] = ()


class Pixels(NamedTuple):
    """Edges of the pixels of all images, µm, their sensitivities (images, ny, nx), and the radius of the disc, µm.

    weights: of the splines of every measured response, in the order of the pulses.
    """

    x_edges: Float[Array | np.ndarray, " nx+1"]
    y_edges: Float[Array | np.ndarray, " ny+1"]
    flat: Float[Array | np.ndarray, "I ny nx"]
    radius: Float[Array | np.ndarray, ""]
    weights: tuple[Float[Array | np.ndarray, " I"], ...] = ()


def names_of(layout: Layout) -> tuple[str, ...]:
    """The parameters in order: the film's, the spot's, the pulses', those of images and of decays."""
    count = len(layout.decays)
    images = [k for k in range(count) if layout.exposures[k] is not None]
    decays = [k for k in range(count) if layout.decays[k] is not None]
    found = [*FILMS[layout.model], "width", "psf_width", *(f"peak_density_{k + 1}" for k in range(count))]
    if layout.scale == "shared":
        found.append("scale")
    for what, members in (("image", images), ("decay", decays)):
        if layout.scale != "shared" and members:
            found += [f"{what}_scale"] if layout.scale == "kind" else [f"{what}_scale_{k + 1}" for k in members]
        found += dict.fromkeys(ground_name(layout, what, k) for k in members)
    found += [name for k in images for name in (f"centre_x_{k + 1}", f"centre_y_{k + 1}")]
    return (*found, *(f"shift_{k + 1}" for k in decays))


def scale_name(layout: Layout, what: str, k: int) -> str:
    """The parameter that turns excitons into photons for the image or the decay of pulse `k`."""
    return {"shared": "scale", "kind": f"{what}_scale"}.get(layout.scale, f"{what}_scale_{k + 1}")


def ground_name(layout: Layout, what: str, k: int) -> str:
    """The background per pixel or bin of pulse `k`: what is counted alike, for as long, has one for all pulses."""
    return f"{what}_background_{k + 1}" if layout.scale == "free" else f"{what}_background"


def film_of(model: str, numbers: dict[str, Any]) -> Medium:
    """A uniform film of `FILMS`."""
    traps: Any = ()
    if model == "traps":
        traps = (Traps.linear(numbers["trapping_rate"], numbers["release"], numbers["trap_lifetime"]),)
    if model == "saturable traps":
        traps = (Traps(*(numbers[name] for name in ("trap_density", "capture", "release", "trap_lifetime"))),)
    given = {"annihilation": numbers["annihilation"]} if model == "annihilation" else {}
    return Medium(numbers["diffusivity"], numbers["lifetime"], traps=traps or None, **given)


def light_of(layout: Layout, own: Float[Array, " F"], edges: tuple[float, ...], radius, nodes=None, steps=None):
    """(totals per bin, modes, wavenumbers) of one pulse; `own`: log of the film's numbers, of width and density."""
    numbers = dict(zip(FILMS[layout.model], jnp.exp(own[:-2]), strict=True))
    if layout.even:
        numbers["diffusivity"] = jnp.zeros_like(own[0])
    width = jnp.asarray(EVEN) if layout.even else jnp.exp(own[-2])
    found = round_pulse(
        film_of(layout.model, numbers),
        width=width,
        peak=jnp.exp(own[-1]),
        edges=edges,
        radius=radius,
        nodes=nodes or layout.nodes,
        modes=layout.modes,
        steps=steps or layout.steps,
        period=layout.period,
    )
    if layout.quadratic:
        return found.squared, found.squared_modes, found.wavenumbers
    return found.free, found.modes, found.wavenumbers


@lru_cache(maxsize=16)
def series_model(layout: Layout):
    """(own numbers, pixels) → everything expected, (1, 1, N): images in order, then decays; and its derivatives."""
    names = names_of(layout)
    at = {name: index for index, name in enumerate(names)}
    films = [*(at[name] for name in FILMS[layout.model]), at["width"]]

    def model(parameters, pixels: Pixels):
        parameters, weights = jnp.asarray(parameters), iter(pixels.weights)
        runs = _runs(layout, parameters, at, pixels.radius)
        expected, slopes = [], []
        for place, (k, part) in enumerate(_images(layout)):
            values, tangents, waves = runs[part][k]
            one, along = _image(layout, parameters, at, k, (values[1], tangents[1], waves), pixels, place, films)
            expected.append(one.ravel())
            slopes.append(along.reshape(len(names), -1))
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


def _images(layout: Layout):
    """(pulse, edges of its solver's run) of each image: a decay of the same window serves it, too."""
    for k, exposure in enumerate(layout.exposures):
        if exposure is None:
            continue
        own = layout.decays[k]
        run = None if own is None else run_of(layout, own)[0]
        if run is not None and run[0] == 0 and abs(run[-1] / exposure - 1) < 1e-9:
            yield k, run
        else:
            yield k, (0.0, exposure)


def _runs(layout: Layout, parameters, at, radius):
    """By the edges of a run, by pulse: (totals and modes, their tangents along film, width and density, waves)."""
    wanted: dict[tuple[float, ...], set[int]] = {}
    for k, edges in _images(layout):
        wanted.setdefault(edges, set()).add(k)
    for k, edges in enumerate(layout.decays):
        if edges is not None:
            wanted.setdefault(run_of(layout, edges)[0], set()).add(k)
    found: dict[tuple[float, ...], dict[int, Any]] = {}
    film = jnp.stack([parameters[at[name]] for name in (*FILMS[layout.model], "width")])
    for edges, members in wanted.items():
        order = sorted(members)
        own = jnp.stack([jnp.append(film, parameters[at[f"peak_density_{k + 1}"]]) for k in order])

        def solved(one, edges=edges):
            values, push = jax.linearize(lambda p: light_of(layout, p, edges, radius)[:2], one)
            return values, jax.vmap(push)(jnp.eye(one.size))

        values, tangents = jax.vmap(solved)(own)
        single = layout._replace(period=None)
        waves = light_of(single, own[0], edges[:1] + edges[-1:], radius, nodes=8, steps=8)[2]
        pick = lambda tree, i: jax.tree.map(lambda a: a[i], tree)  # noqa: E731
        found[edges] = {k: (pick(values, i), pick(tangents, i), waves) for i, k in enumerate(order)}
    return found


def _image(layout: Layout, parameters, at, k: int, light, pixels: Pixels, place: int, films):
    """One image with its slopes along all parameters."""
    modes, tangents, waves = light
    scale_at = at[scale_name(layout, "image", k)]
    scale, flat = jnp.exp(parameters[scale_at]), pixels.flat[place]
    optics = jnp.stack([parameters[at[f"centre_x_{k + 1}"]], parameters[at[f"centre_y_{k + 1}"]],
                        parameters[at["psf_width"]]])  # fmt: skip

    def shown(modes, optics):
        sides = jnp.asarray(pixels.x_edges), jnp.asarray(pixels.y_edges)
        return pixel_image(modes, waves, *sides, optics[:2], jnp.exp(optics[2]))

    shape = shown(modes, optics)
    by_film = jax.vmap(lambda m: shown(m, optics))(tangents)
    by_optics = jnp.moveaxis(jax.jacfwd(lambda o: shown(modes, o))(optics), -1, 0)
    bright = scale * flat * shape
    ground = at[ground_name(layout, "image", k)]
    slopes = jnp.zeros((len(at), *shape.shape))
    slopes = slopes.at[jnp.array([*films, at[f"peak_density_{k + 1}"]])].set((scale * flat)[None] * by_film)
    places = jnp.array([at[f"centre_x_{k + 1}"], at[f"centre_y_{k + 1}"], at["psf_width"]])
    slopes = slopes.at[places].set((scale * flat)[None] * by_optics)
    return bright + parameters[ground] * flat, slopes.at[scale_at].set(bright).at[ground].set(flat)


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


def run_of(layout: Layout, edges: tuple[float, ...]) -> tuple[tuple[float, ...], Float[np.ndarray, "J M"] | None]:
    """(edges for the solver of the light in bins, what of each it gives a bin); None: they are the bins' own."""
    return (edges, None) if layout.period is None else wrapped(edges, layout.period)


@lru_cache(maxsize=64)
def wrapped(edges: tuple[float, ...], period: float) -> tuple[tuple[float, ...], Float[np.ndarray, "J M"]]:
    """All of a period cut where any of the bins begins or ends, ns, and how often each part lies in each bin."""
    times, least = np.asarray(edges), 1e-9 * period
    cuts = np.unique(np.round(np.mod(times, period) / least)) * least
    cuts = np.array([0.0, *(cut for cut in cuts if least < cut < period - least), period])
    middle = (cuts[1:] + cuts[:-1]) / 2
    turns = np.floor((times[:, None] - middle[None, :]) / period)
    return tuple(cuts.tolist()), np.diff(turns, axis=0)


def light_edges(decay: Decay) -> tuple[float, ...]:
    """Bins of a decay's light, ns after the pulse: its own, or with a response as many from the pulse on."""
    own = decay.edges if decay.irf is None else decay.width * np.arange(decay.time.size + 1)
    return tuple(float(edge) for edge in np.maximum(np.round(own, 12), 0.0))
