"""Images of spots at many places over a film whose loss rate varies: the images, their slopes and their information.

Free excitons n of one spot, of E excitons all together, lit in turn at every position i:

    −D∇²n + [1/τ + k(r)] n = G_i,      photons of a pixel = (1/τ) × what PSF and pixel gather of n, + background

D, τ are the same everywhere; k(r), the extra loss, is what a map of a `Kind` means for the film. Let the film far away
lose at a + its own extra rate k₀, a = 1/τ + k₀. There the answer to any source is known exactly, as a superposition of
Gaussians of all ages; the map changes it only where k − k₀ ≠ 0, in cells that cover the images (Lippmann and Schwinger,
Phys. Rev. 79 (1950) 469):

    n = n₀ − 𝒢 (k − k₀) n,     𝒢_cc′ = ∫₀^∞ e^{−at} W_y(2Dt) W_x(2Dt) dt

with W of `pixel_weights`, the part of one cell's light that reaches another through a Gaussian of variance 2Dt. The
integral is a sum over log t, where the trapezoidal rule converges exponentially. No wall enters, nor a grid beyond the
images; in a uniform film nothing is discretised. Cells are uniform in k and in the source (k − k₀) n, n being its
average over the cell. With M = 𝒢⁻¹, a matrix once for all maps,

    (M + k − k₀) n = M n₀,     image = p₀ − B (k − k₀) n,     ∂image/∂k = −C diag(n),     C = B M (M + k − k₀)⁻¹

B is 𝒢 once more, seen through PSF and pixels. All spots share the one symmetric positive matrix M + k − k₀, which is
factored once for a map: populations, slopes (`linearised`), their transpose (`adjoint`) and the Fisher information
follow from that factor.

The map is carried by x = (field v of each cell, background of a pixel); v is the logarithm of how much faster excitons
are lost than at 1/τ, kept positive: kτ = e^{p(v)} − 1, p = (v + √(v² + 4f²))/2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.likelihood import Counts, objective, variance
from excidiff.solver.medium import Medium
from excidiff.solver.traps import Traps

STEP, AGES = 0.4, 72
"""Of log t: the rule errs by e^(−π²/STEP) = 2e-11; the ages span e^29 from 1e-8 h²/D on, h a cell."""
SOFT = 0.05
"""f: where kτ is well above it, v is log(1 + kτ); below, v falls without end while k stays positive."""
LIGHT, SPOT = 2.5, 2.0
"""Diffusion lengths and laser σ round a spot from which its share of the information is taken: 1 % is left beyond."""


class Film(NamedTuple):
    """What is known, in µm and ns: `laser`, `psf` are standard deviations, `excitons` those of one spot."""

    diffusivity: Float[Array, ""] | float
    lifetime: Float[Array, ""] | float
    laser: Float[Array, ""] | float
    psf: Float[Array, ""] | float
    excitons: Float[Array, ""] | float
    positions: Float[Array | np.ndarray, "P 2"]


class Edges(NamedTuple):
    """Edges of the pixels and of the map's cells along y and x, µm; the cells are alike."""

    pixel_y: Any
    pixel_x: Any
    cell_y: Any
    cell_x: Any

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return len(self.pixel_y) - 1, len(self.pixel_x) - 1

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return len(self.cell_y) - 1, len(self.cell_x) - 1

    @property
    def area(self):
        """Of a cell, µm²."""
        return (self.cell_y[1] - self.cell_y[0]) * (self.cell_x[1] - self.cell_x[0])


class Kind(NamedTuple):
    """What a map is of: its `value` at v, the `medium` it makes, and its unit; a field `v` has any shape."""

    name: str
    unit: str
    value: Callable[[Array, Film], Array]
    medium: Callable[[Array, Film], Medium]


def quenching(v):
    """p(v) = log(1 + kτ) > 0, near v for large v."""
    return (v + jnp.sqrt(v**2 + 4 * SOFT**2)) / 2


def field_of(rate, lifetime: float):
    """v of a positive extra loss k (1/ns)."""
    p = np.log1p(np.asarray(rate) * lifetime)
    return p - SOFT**2 / p


def _rate(v, film: Film):
    return jnp.expm1(quenching(v)) / film.lifetime


def _lifetime(v, film: Film):
    return film.lifetime * jnp.exp(-quenching(v))


TRAPPING = Kind(
    "trapping_rate",
    "1/ns",
    _rate,
    lambda v, film: Medium(film.diffusivity, film.lifetime, traps=Traps.linear(_rate(v, film))),
)
LIFETIME = Kind("lifetime", "ns", _lifetime, lambda v, film: Medium(film.diffusivity, _lifetime(v, film)))
KINDS = {kind.name: kind for kind in (TRAPPING, LIFETIME)}


def extra_loss(kind: Kind, v: Float[Array, "..."], film: Film) -> Float[Array, "..."]:
    """k(r) = what the medium loses beyond 1/τ, 1/ns: its own lifetime and its irreversible traps."""
    medium = kind.medium(v, film)
    return jnp.asarray(1 / medium.lifetime - 1 / film.lifetime + sum(traps.rate for traps in medium.traps))


class Reference(NamedTuple):
    """A film that loses as much everywhere as far `away` (1/ns, beyond 1/τ): M, M n₀, p₀, B, B M of the header.

    B M is in single precision, since only the information is made from it.
    """

    away: Float[Array, ""]
    matrix: Float[Array, "C C"]
    source: Float[Array, "P C"]
    images: Float[Array, "P N"]
    seen: Float[Array, "N C"]
    seen_matrix: Float[Array, "N C"]


class State(NamedTuple):
    """A film with its map: `density` n of each spot (1/µm² per exciton/ns × E), photons, the factor of M + k − k₀."""

    extra: Float[Array, " C"]
    density: Float[Array, "P C"]
    images: Float[Array, "P N"]
    factor: Float[Array, "C C"]


@jax.jit
def reference(film: Film, edges: Edges, away: Float[Array, ""]) -> Reference:
    """The film without its map. Costs about five products of (cells × cells) matrices."""
    step_y = edges.cell_y[1] - edges.cell_y[0]
    age = jnp.exp(jnp.log(1e-8 * step_y**2 / film.diffusivity) + STEP * jnp.arange(AGES))
    share, spread = STEP * age * jnp.exp(-(1 / film.lifetime + away) * age), 2 * film.diffusivity * age
    weights = jax.vmap(pixel_weights, (None, None, 0))

    def product(along_y, along_x):
        (q, py, cy), (_, px, cx) = along_y.shape, along_x.shape
        both = (share[:, None, None] * along_y).reshape(q, -1).T @ along_x.reshape(q, -1)
        return both.reshape(py, cy, px, cx).transpose(0, 2, 1, 3).reshape(py * px, cy * cx)

    def spots(y, x, width2):
        width = jnp.sqrt(width2 + spread)[:, None, None]
        rows, columns = (
            jnp.diff(ndtr((edge[None, None, :] - place[None, :, None]) / width), axis=2)
            for edge, place in zip((y, x), film.positions.T[::-1], strict=True)
        )
        whole = jnp.einsum("q,qpy,qpx->pyx", share, rows, columns) * film.excitons
        return whole.reshape(whole.shape[0], -1)

    width = jnp.sqrt(spread)
    green = product(weights(edges.cell_y, edges.cell_y, width), weights(edges.cell_x, edges.cell_x, width))
    green = cho_factor((green + green.T) / 2, lower=True)
    matrix = cho_solve(green, jnp.eye(green[0].shape[0]))
    matrix = (matrix + matrix.T) / 2
    source = cho_solve(green, spots(edges.cell_y, edges.cell_x, film.laser**2).T).T / edges.area
    width = jnp.sqrt(spread + film.psf**2)
    seen = product(weights(edges.cell_y, edges.pixel_y, width), weights(edges.cell_x, edges.pixel_x, width))
    seen = seen * edges.area / film.lifetime
    images = spots(edges.pixel_y, edges.pixel_x, film.laser**2 + film.psf**2) / film.lifetime
    single = jnp.float32
    return Reference(away, matrix, source, images, seen, seen.astype(single) @ matrix.astype(single))


@jax.jit
def solve(reference: Reference, extra: Float[Array, " C"]) -> State:
    """Populations and photons of all spots with the extra loss `extra` (1/ns) in the cells."""
    change = extra - reference.away
    factor = cho_factor(reference.matrix + jnp.diag(change), lower=True)[0]
    density = cho_solve((factor, True), reference.source.T).T
    images = reference.images - (change[None, :] * density) @ reference.seen.T
    return State(extra, density, images, factor)


@jax.jit
def linearised(reference: Reference, state: State, change: Float[Array, " C"]) -> Float[Array, "P N"]:
    """How the images answer to a small `change` of the extra loss: −C (n δk)."""
    source = state.density * change[None, :]
    return -(cho_solve((state.factor, True), source.T).T @ reference.matrix) @ reference.seen.T


@jax.jit
def adjoint(reference: Reference, state: State, photons: Float[Array, "P N"]) -> Float[Array, " C"]:
    """The transpose of `linearised`: −Σ_i n_i (Cᵀ r_i)."""
    answer = cho_solve((state.factor, True), ((photons @ reference.seen) @ reference.matrix).T).T
    return -jnp.sum(state.density * answer, axis=0)


class Boxes(NamedTuple):
    """Where a spot's information lies: the size of a box of pixels and of cells, and its corner for every spot."""

    pixels: tuple[int, int]
    cells: tuple[int, int]
    pixel_corners: np.ndarray
    cell_corners: np.ndarray


def boxes(film: Film, edges: Edges, away: float) -> Boxes:
    """Boxes of LIGHT diffusion lengths and SPOT widths round every spot."""
    half = LIGHT * np.sqrt(film.diffusivity / (1 / film.lifetime + away)) + SPOT * film.laser
    places = np.asarray(film.positions).T[::-1]

    def corners(axes):
        sizes, starts = [], []
        for edge, place in zip(axes, places, strict=True):
            pitch, count = float(edge[1] - edge[0]), len(edge) - 1
            size = min(count, int(np.ceil(2 * half / pitch)))
            sizes.append(size)
            starts.append(np.clip(np.round((place - edge[0]) / pitch - size / 2).astype(int), 0, count - size))
        return tuple(sizes), np.stack(starts, axis=1)

    pixels, pixel_corners = corners(edges[:2])
    cells, cell_corners = corners(edges[2:])
    return Boxes(pixels, cells, pixel_corners, cell_corners)


@partial(jax.jit, static_argnames=("shapes", "sizes"))
def _information(seen_matrix, factor, lit, weight, corners, shapes, sizes):
    """Σ_i [−C n_i slope, 1]ᵀ V⁻¹ [−C n_i slope, 1], (C + 1, C + 1), in single precision, box by box."""
    (pixels, cells), (pixel_box, cell_box) = shapes, sizes
    single = jnp.float32
    seen = cho_solve((factor.astype(single), True), seen_matrix.T).T.reshape(*pixels, *cells)
    whole = int(np.prod(cells))

    def add(carry, spot):
        matrix, column = carry
        light, w, pixel, cell = spot
        part = lax.dynamic_slice(seen, (*pixel, *cell), (*pixel_box, *cell_box))
        part = part.reshape(pixel_box[0] * pixel_box[1], -1)
        light = lax.dynamic_slice(light.reshape(cells).astype(single), cell, cell_box).reshape(-1)
        w = jnp.sqrt(lax.dynamic_slice(w.reshape(pixels).astype(single), pixel, pixel_box)).reshape(-1)
        slopes = -w[:, None] * part * light[None, :]
        four, at = (*cell_box, *cell_box), (*cell, *cell)
        block = lax.dynamic_slice(matrix, at, four) + (slopes.T @ slopes).reshape(four)
        side = lax.dynamic_slice(column, cell, cell_box) + (slopes.T @ w).reshape(cell_box)
        return (lax.dynamic_update_slice(matrix, block, at), lax.dynamic_update_slice(column, side, cell)), None

    start = (jnp.zeros((*cells, *cells), single), jnp.zeros(cells, single))
    (matrix, column), _ = lax.scan(add, start, (lit, weight, *corners))
    matrix, column = matrix.reshape(whole, whole).astype(float), column.reshape(whole, 1).astype(float)
    return jnp.block([[matrix, column], [column.T, jnp.sum(weight).reshape(1, 1)]])


class Tangent(NamedTuple):
    """The data about a map x: expected photons, slope of the log likelihood, Fisher information, and the state."""

    expected: Float[Array, "P N"]
    slope: Float[Array, " C+1"]
    information: Float[Array, "C+1 C+1"]
    state: State


class Problem(NamedTuple):
    """Counts (P, N) of a film's spots, and the film without its map."""

    kind: Kind
    film: Film
    edges: Edges
    counts: Counts
    reference: Reference

    @classmethod
    def make(cls, kind: Kind, film: Film, edges: Edges, counts: Counts, away: float) -> "Problem":
        """The film far away loses `away` (1/ns) beyond 1/τ."""
        return cls(kind, film, edges, counts, reference(film, edges, jnp.asarray(away)))

    def surrounded(self, away: float) -> "Problem":
        """The same in a film that loses `away` (1/ns) beyond 1/τ far from the map."""
        return self._replace(reference=reference(self.film, self.edges, jnp.asarray(away)))

    def extra(self, v: Float[Array, " C"]) -> Float[Array, " C"]:
        """The extra loss of each cell, 1/ns."""
        return extra_loss(self.kind, v.reshape(self.edges.cells), self.film).reshape(-1)

    def state(self, x: Float[Array, " C+1"]) -> State:
        """Populations and photons at x."""
        return solve(self.reference, self.extra(x[:-1]))

    def misfit(self, x: Float[Array, " C+1"], state: State | None = None) -> float:
        """−log L up to a constant of the data; infinite where a pixel would get no light."""
        expected = self.expected(self.state(x) if state is None else state, x)
        return float(objective(expected, self.counts, "poisson")) / 2 if float(x[-1]) > 0 else np.inf

    def expected(self, state: State, x: Float[Array, " C+1"]) -> Float[Array, "P N"]:
        """Photoelectrons of each pixel."""
        return jnp.asarray(self.counts.flat * (state.images + x[-1]))

    def tangent(self, x: Float[Array, " C+1"], state: State | None = None) -> Tangent:
        """All that a step from x needs; the slope is exact, the information leaves out the far ends of the spots.

        `state`: that at x, if known.
        """
        v, one = x[:-1], jnp.ones(x.size - 1)
        _, slope = jax.jvp(self.extra, (v,), (one,))
        state = self.state(x) if state is None else state
        expected = self.expected(state, x)
        law = variance(expected, self.counts)
        score = self.counts.used * self.counts.flat * (self.counts.photons - expected) / law
        gradient = jnp.append(slope * adjoint(self.reference, state, score), jnp.sum(score))
        box = boxes(self.film, self.edges, float(self.reference.away))
        weight = self.counts.used * self.counts.flat**2 / law
        information = _information(
            self.reference.seen_matrix,
            state.factor,
            state.density * slope[None, :],
            weight,
            (box.pixel_corners, box.cell_corners),
            (self.edges.pixels, self.edges.cells),
            (box.pixels, box.cells),
        )
        return Tangent(expected, gradient, information, state)
