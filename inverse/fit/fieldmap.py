"""Images of spots at many places over a film that differs from place to place: the images, slopes, information.

Free excitons n of one spot, of E excitons all together, lit in turn at every position i:

    A n = −∇·D(∇n + n∇U/k_BT) + [1/τ + k(r)] n = G_i,    photons of a pixel = (1/τ) × what PSF and pixel gather of n

and a background. What k, D and U are in the cells that cover the images is what a map of a `Kind` means for the film.
The film far away loses a = 1/τ + k₀ and has D₀ everywhere. There the answer to any source is known exactly, as a
superposition of Gaussians of all ages; the map changes it only by Δ = A − A₀ (Lippmann and Schwinger, Phys. Rev. 79
(1950) 469), with what cells lose and exchange as `fit.cells` has it:

    n = n₀ − 𝒢 Δ n,     𝒢_cc′ = ∫₀^∞ e^{−at} W_y(2D₀t) W_x(2D₀t) dt

with W of `pixel_weights`, the part of one cell's light that reaches another through a Gaussian of variance 2D₀t. The
integral is a sum over log t, where the trapezoidal rule converges exponentially. No wall enters, nor a grid beyond the
images; in a uniform film nothing is discretised. Cells are uniform in k, D and the source Δ n, n being its average over
the cell. With M = 𝒢⁻¹, a matrix once for all maps of a film,

    (M + Δ) n = M n₀,     image = p₀ − B Δ n,     ∂image/∂v = −C (∂Δ/∂v) n,     C = B M (M + Δ)⁻¹

B is 𝒢 once more, seen through PSF and pixels. All spots share the one matrix M + Δ, which is factored once for a map:
populations, slopes (`linearised`), their transpose (`adjoint`) and the Fisher information follow from that factor.

The map is carried by x = (field v of each cell, background of a pixel).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array, Float

from excidiff.inverse.fit.cells import Beyond, Film, Kind, Rates, Slopes, added, change, gathered, rates, slopes
from excidiff.inverse.fit.even import Ages, Edges, ages, exchanged, inverted, spots
from excidiff.inverse.fit.likelihood import Counts, objective, variance

LIGHT, SPOT = 2.5, 2.0
"""Diffusion lengths, and σ of laser and PSF, round a spot from which its share of the information is taken.

What is left beyond, a tenth of it or less where L is of the size of the spot, makes errors that much wider."""
SLACK = 2
"""Pixels and cells by which a box may be smaller or larger than that."""
LEVEL = 1e4
"""1/variance of the mean of a map of which only differences count, weighted as excitons are there: 0.01 of v."""


class Reference(NamedTuple):
    """A film that is everywhere as `beyond` the map: M, M n₀, p₀, B, B M of the header.

    B M is in single precision, since only the information is made from it.
    """

    beyond: Beyond
    matrix: Float[Array, "C C"]
    source: Float[Array, "P C"]
    images: Float[Array, "P N"]
    seen: Float[Array, "N C"]
    seen_matrix: Float[Array, "N C"]


class State(NamedTuple):
    """A film with its map: `density` n of each spot (1/µm² per exciton/ns × E), photons, the factor of M + Δ."""

    rates: Rates
    density: Float[Array, "P C"]
    images: Float[Array, "P N"]
    factor: tuple[Float[Array, "C C"], Array]


def even_images(film: Film, edges: Edges, old: Ages) -> Float[Array, "P N"]:
    """p₀: photons of every pixel from a film without a map."""
    width2 = film.laser**2 + film.psf**2
    return spots(old, width2, film.positions, edges.pixel_y, edges.pixel_x) * film.excitons / film.lifetime


@jax.jit
def reference(film: Film, edges: Edges, beyond: Beyond) -> Reference:
    """The film without its map. Costs about five products of (cells × cells) matrices."""
    old = ages(film, beyond)
    matrix, source = inverted(film, old, edges)
    cells, pixels = (edges.cell_y, edges.cell_x), (edges.pixel_y, edges.pixel_x)
    seen = exchanged(old, film.psf**2, *cells, *pixels) * edges.area / film.lifetime
    single = jnp.float32
    whole = seen.astype(single) @ matrix.astype(single)
    return Reference(beyond, matrix, source, even_images(film, edges, old), seen, whole)


@partial(jax.jit, static_argnames="moves")
def solve(reference: Reference, own: Rates, pitch, *, moves: bool) -> State:
    """Populations and photons of all spots with these rates in the cells."""
    factor = lu_factor(added(reference.matrix, own, reference.beyond, pitch, moves=moves))
    density = lu_solve(factor, reference.source.T).T
    less = change(own, reference.beyond, density.reshape(-1, *own.loss.shape), pitch, moves=moves)
    images = reference.images - less.reshape(density.shape) @ reference.seen.T
    return State(own, density, images, factor)


@jax.jit
def seen_change(reference: Reference, state: State, less: Float[Array, "P C"]) -> Float[Array, "P N"]:
    """How the images answer where `less` of the excitons of every spot leave the cells: C of the header."""
    return (lu_solve(state.factor, less.T).T @ reference.matrix) @ reference.seen.T


@jax.jit
def seen_back(reference: Reference, state: State, photons: Float[Array, "P N"]) -> Float[Array, "P C"]:
    """The transpose, Cᵀ."""
    return lu_solve(state.factor, ((photons @ reference.seen) @ reference.matrix).T, trans=1).T


class Boxes(NamedTuple):
    """Where a spot's information lies: the size of a box of pixels and of cells, and its corner for every spot."""

    pixels: tuple[int, int]
    cells: tuple[int, int]
    pixel_corners: np.ndarray
    cell_corners: np.ndarray


def boxes(film: Film, edges: Edges, beyond: Beyond) -> Boxes:
    """Boxes of LIGHT diffusion lengths and SPOT widths round every spot."""
    half = LIGHT * np.sqrt(float(beyond.diffusivity / (1 / film.lifetime + beyond.loss))) + SPOT * film.laser
    blurred = half + SPOT * film.psf
    places = np.asarray(film.positions).T[::-1]

    def corners(axes, half):
        sizes, starts = [], []
        for edge, place in zip(axes, places, strict=True):
            pitch, count = float(edge[1] - edge[0]), len(edge) - 1
            size = min(count, int(np.ceil(2 * half / pitch)))
            sizes.append(size)
            starts.append(np.clip(np.round((place - edge[0]) / pitch - size / 2).astype(int), 0, count - size))
        return tuple(sizes), np.stack(starts, axis=1)

    pixels, pixel_corners = corners(edges[:2], blurred)
    cells, cell_corners = corners(edges[2:], half)
    return Boxes(pixels, cells, pixel_corners, cell_corners)


@partial(jax.jit, static_argnames=("shapes", "sizes"))
def _information(seen_matrix, factor, answers: Slopes, weight, corners, shapes, sizes):
    """Σ_i [∂p_i/∂v, 1]ᵀ V⁻¹ [∂p_i/∂v, 1], (C + 1, C + 1), in single precision, box by box."""
    (pixels, cells), (pixel_box, cell_box) = shapes, sizes
    single = jnp.float32
    seen = lu_solve((factor[0].astype(single), factor[1]), seen_matrix.T, trans=1).T.reshape(*pixels, *cells)
    whole = int(np.prod(cells))

    def cut(array, cell, less: tuple[int, int] = (0, 0)):
        size = tuple(n - gone for n, gone in zip(cell_box, less, strict=True))
        return lax.dynamic_slice(array.astype(single), cell, size)

    def add(carry, spot):
        matrix, column = carry
        own, w, pixel, cell = spot
        part = lax.dynamic_slice(seen, (*pixel, *cell), (*pixel_box, *cell_box))
        own = Slopes(
            cut(own.own, cell),
            tuple(
                (cut(first, cell, (1 - axis, axis)), cut(second, cell, (1 - axis, axis)))
                for axis, (first, second) in enumerate(own.along)
            ),
        )
        part = gathered(part.reshape(-1, *cell_box), own).reshape(pixel_box[0] * pixel_box[1], -1)
        w = jnp.sqrt(lax.dynamic_slice(w.reshape(pixels).astype(single), pixel, pixel_box)).reshape(-1)
        part = w[:, None] * part
        four, at = (*cell_box, *cell_box), (*cell, *cell)
        block = lax.dynamic_slice(matrix, at, four) + (part.T @ part).reshape(four)
        side = lax.dynamic_slice(column, cell, cell_box) + (part.T @ w).reshape(cell_box)
        return (lax.dynamic_update_slice(matrix, block, at), lax.dynamic_update_slice(column, side, cell)), None

    start = (jnp.zeros((*cells, *cells), single), jnp.zeros(cells, single))
    (matrix, column), _ = lax.scan(add, start, (answers, weight, *corners))
    matrix, column = matrix.reshape(whole, whole).astype(float), column.reshape(whole, 1).astype(float)
    return jnp.block([[matrix, column], [column.T, jnp.sum(weight).reshape(1, 1)]])


class Tangent(NamedTuple):
    """The data about a map x: expected photons, slope of the log likelihood, Fisher information, and the state."""

    expected: Float[Array, "P N"]
    slope: Float[Array, " C+1"]
    information: Float[Array, "C+1 C+1"]
    state: Any


class Problem(NamedTuple):
    """Counts (P, N) of a film's spots, and the film without its map."""

    kind: Kind
    film: Film
    edges: Edges
    counts: Counts
    reference: Reference
    box: Boxes

    @classmethod
    def make(cls, kind: Kind, film: Film, edges: Edges, counts: Counts, beyond: Beyond) -> "Problem":
        """`beyond`: what the film is far away."""
        return cls(kind, film, edges, counts, reference(film, edges, beyond), boxes(film, edges, beyond))

    def surrounded(self, beyond: Beyond) -> "Problem":
        """The same in a film that is this beyond the map. Boxes stay within their `SLACK`: each size is compiled."""
        box = boxes(self.film, self.edges, beyond)
        off = np.subtract(box.pixels + box.cells, self.box.pixels + self.box.cells)
        box = box if np.abs(off).max() > SLACK else self.box
        return self._replace(reference=reference(self.film, self.edges, beyond), box=box)

    @property
    def beyond(self) -> Beyond:
        """What the film is far away."""
        return self.reference.beyond

    def rates(self, x: Float[Array, " C+1"]) -> Rates:
        """What each cell does."""
        return rates(self.kind, x[:-1].reshape(self.edges.cells), self.film)

    def state(self, x: Float[Array, " C+1"]) -> State:
        """Populations and photons at x."""
        return solve(self.reference, self.rates(x), self.edges.pitch, moves=self.kind.moves)

    def misfit(self, x: Float[Array, " C+1"], state: State | None = None) -> float:
        """−log L up to a constant of the data; infinite where a pixel would get no light."""
        expected = self.expected(self.state(x) if state is None else state, x)
        return float(objective(expected, self.counts, "poisson")) / 2 if float(x[-1]) > 0 else np.inf

    def expected(self, state: State, x: Float[Array, " C+1"]) -> Float[Array, "P N"]:
        """Photoelectrons of each pixel."""
        return jnp.asarray(self.counts.flat * (state.images + x[-1]))

    def linearised(self, x: Float[Array, " C+1"], state: State, along: Float[Array, " C"]) -> Float[Array, "P N"]:
        """How the images answer to a small change of the map along v."""
        return -seen_change(self.reference, state, jax.jvp(self._leaving(state), (x[:-1],), (along,))[1])

    def adjoint(self, x: Float[Array, " C+1"], state: State, photons: Float[Array, "P N"]) -> Float[Array, " C"]:
        """The transpose of `linearised`."""
        back = seen_back(self.reference, state, photons)
        return -jax.vjp(self._leaving(state), x[:-1])[1](back)[0]

    def _leaving(self, state: State):
        """v → Δ n of all spots, n being that of the state."""
        density = state.density.reshape(-1, *self.edges.cells)

        def leaving(v):
            own = rates(self.kind, v.reshape(self.edges.cells), self.film)
            less = change(own, self.beyond, density, self.edges.pitch, moves=self.kind.moves)
            return less.reshape(state.density.shape)

        return leaving

    def tangent(self, x: Float[Array, " C+1"], state: State | None = None) -> Tangent:
        """All that a step from x needs; the slope is exact, the information leaves out the far ends of the spots.

        `state`: that at x, if known.
        """
        cells = self.edges.cells
        state = self.state(x) if state is None else state
        expected = self.expected(state, x)
        law = variance(expected, self.counts)
        score = self.counts.used * self.counts.flat * (self.counts.photons - expected) / law
        gradient = jnp.append(self.adjoint(x, state, jnp.asarray(score)), jnp.sum(score))
        weight = self.counts.used * self.counts.flat**2 / law
        answers = slopes(
            self.kind, x[:-1].reshape(cells), self.film, state.density.reshape(-1, *cells), self.edges.pitch
        )
        information = _information(
            self.reference.seen_matrix,
            state.factor,
            answers,
            weight,
            (self.box.pixel_corners, self.box.cell_corners),
            (self.edges.pixels, cells),
            (self.box.pixels, self.box.cells),
        )
        if self.kind.level:
            gradient, information = level(x, state.density, gradient, information)
        return Tangent(expected, gradient, information, state)


def level(x, density: Float[Array, "P C"], gradient, information):
    """The same with the mean of v, weighted as all excitons are there, held at 0, which no light tells."""
    lit = jnp.sum(density, axis=0)
    lit = jnp.append(lit / jnp.sum(lit), 0.0)
    return gradient - LEVEL * (lit @ x) * lit, information + LEVEL * lit[:, None] * lit[None, :]
