"""A laser scanned over a film that differs from place to place: photons, lifetimes or energies, and their slopes.

The film is that of `fit.fieldmap`, n_i what the laser makes of it at position i. Of the light that is emitted, n_i/τ,
the detector takes all, or the part exp(−|r − r_i|²/2σ²) near the laser, as a confocal one does. Each position sees but
one number, so that its answer to excitons that leave the cells is one field, a_i, as reciprocity has it:

    I_i = p_i − b_iᵀ Δ n_i,     ∂I_i/∂v = −a_iᵀ (∂Δ/∂v) n_i,     a_i = (M + Δ)⁻ᵀ M b_i

b_i is the light that the film beyond would give for what a cell emits, exactly, the same for all i where all light is
taken. The mean age of the photons of a position is that of a film whose every loss is greater by s,

    T_i = −∂ log I_i/∂s  at s = 0,

a central difference in s, at ±`SHIFT` of the loss: the error is that squared, 1e-6. Light from where the landscape is
U has an energy greater by U, and the mean energy of a position is

    E_i = E₀ + Σ_c d_ic U_c n_ic / I_i,     ∂(d_iᵀ U n_i)/∂v = d_iᵀ (∂U/∂v) n_i − a′_iᵀ (∂Δ/∂v) n_i

with the light d_ic that position i gets straight from a cell, and a′_i = (M + Δ)⁻ᵀ U d_i.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array, Float

from excidiff.inverse.fit.cells import Beyond, Film, Kind, Rates, added, change, gathered, rates, slopes
from excidiff.inverse.fit.even import Ages, Edges, ages, inverted, spots
from excidiff.inverse.fit.fieldmap import Tangent, level
from excidiff.inverse.fit.likelihood import Counts, objective, variance

SHIFT = 1e-3


class Reference(NamedTuple):
    """A film that is everywhere as `beyond` the map: M, M n₀, p, b and d of the header."""

    beyond: Beyond
    matrix: Float[Array, "C C"]
    source: Float[Array, "P C"]
    light: Float[Array, " P"]
    seen: Float[Array, "P C"]
    straight: Float[Array, "P C"]


class Lit(NamedTuple):
    """A film with its map: n_i, I_i and a_i; d_iᵀ U n_i and a′_i, or zeros where no energies are asked for."""

    density: Float[Array, "P C"]
    light: Float[Array, " P"]
    back: Float[Array, "P C"]
    shifted: Float[Array, " P"]
    back_shifted: Float[Array, "P C"]


class State(NamedTuple):
    """The film as it is; and of lifetimes, with less and with more loss, otherwise twice the same."""

    density: Float[Array, "P C"]
    images: Float[Array, " P"]
    ends: tuple[Lit, Lit]


def even_numbers(film: Film, beyond: Beyond, collection: float | None, *, lifetimes: bool) -> Float[Array, ""]:
    """What every position shows of a film without a map: photons, or the lifetime in ns."""

    def light(shift):
        old = ages(film, beyond._replace(loss=beyond.loss + shift))
        near = 1.0 if collection is None else collection**2 / (collection**2 + film.laser**2 + old.spread)
        return film.excitons / film.lifetime * jnp.sum(old.share * near)

    value, slope = jax.jvp(light, (jnp.zeros(()),), (jnp.ones(()),))
    return -slope / value if lifetimes else value


@partial(jax.jit, static_argnames="confocal")
def reference(film: Film, edges: Edges, beyond: Beyond, collection, *, confocal: bool) -> Reference:
    """The film without its map; `collection`: σ of what a confocal detector sees, µm."""
    old = ages(film, beyond)
    matrix, source = inverted(film, old, edges)
    emitted = 1 / film.lifetime
    if not confocal:
        share = emitted / (emitted + beyond.loss)
        places = len(film.positions)
        seen, straight = (jnp.full(source.shape, part * edges.area) for part in (share, emitted))
        return Reference(beyond, matrix, source, jnp.full(places, film.excitons * share), seen, straight)
    near = collection**2
    now = Ages(jnp.ones(1), jnp.zeros(1))
    straight = emitted * 2 * jnp.pi * near * spots(now, near, film.positions, edges.cell_y, edges.cell_x)
    seen = emitted * 2 * jnp.pi * near * spots(old, near, film.positions, edges.cell_y, edges.cell_x)
    light = emitted * film.excitons * jnp.sum(old.share * near / (near + film.laser**2 + old.spread))
    return Reference(beyond, matrix, source, jnp.full(source.shape[0], light), seen, straight)


@partial(jax.jit, static_argnames=("moves", "energies"))
def solve(reference: Reference, own: Rates, pitch, hills: Float[Array, "cy cx"], *, moves: bool, energies: bool) -> Lit:
    """Populations, photons and answers of all positions with these rates in the cells, U = `hills` (meV)."""
    factor = lu_factor(added(reference.matrix, own, reference.beyond, pitch, moves=moves))
    density = lu_solve(factor, reference.source.T).T
    less = change(own, reference.beyond, density.reshape(-1, *own.loss.shape), pitch, moves=moves)
    light = reference.light - jnp.sum(less.reshape(density.shape) * reference.seen, axis=1)
    back = lu_solve(factor, (reference.seen @ reference.matrix).T, trans=1).T
    if not energies:
        return Lit(density, light, back, jnp.zeros_like(light), jnp.zeros_like(back))
    lifted = reference.straight * hills.reshape(1, -1)
    return Lit(density, light, back, jnp.sum(lifted * density, axis=1), lu_solve(factor, lifted.T, trans=1).T)


@partial(jax.jit, static_argnames="kind")
def answers(kind: Kind, v: Float[Array, "cy cx"], film: Film, density, back, pitch) -> Float[Array, "P C"]:
    """−a_iᵀ (∂Δ/∂v) n_i of every position."""

    def one(density, back):
        return gathered(back.reshape(v.shape), slopes(kind, v, film, density.reshape(v.shape), pitch)).reshape(-1)

    return jax.vmap(one)(density, back)


class ScanProblem(NamedTuple):
    """Numbers (P,) of a scan's positions, and the film without its map; the same methods as `fieldmap.Problem`.

    quantity: "intensity", photons, of which x has the background last; "lifetime", ns, where x's last means nothing; or
    "energy", meV, where it is E₀. noise: "poisson", or "gaussian" with the variances in `counts.floor`. collection: σ,
    µm, None for all light.
    """

    kind: Kind
    film: Film
    edges: Edges
    counts: Counts
    collection: float | None
    quantity: str
    noise: str
    beyond: Beyond
    references: tuple[Reference, Reference]

    @classmethod
    def make(cls, kind: Kind, film: Film, edges: Edges, counts: Counts, beyond: Beyond, *, collection, quantity,
             noise) -> "ScanProblem":  # fmt: skip
        """`beyond`: what the film is far away."""
        whole = 1 / film.lifetime + beyond.loss
        far = [
            beyond._replace(loss=beyond.loss + s * whole)
            for s in ((-SHIFT, SHIFT) if quantity == "lifetime" else (0.0,))
        ]
        width, confocal = (1.0, False) if collection is None else (collection, True)
        found = [reference(film, edges, one, width, confocal=confocal) for one in far]
        return cls(kind, film, edges, counts, collection, quantity, noise, beyond, (found[0], found[-1]))

    def surrounded(self, beyond: Beyond) -> "ScanProblem":
        """The same in a film that is this beyond the map."""
        return self.make(self.kind, self.film, self.edges, self.counts, beyond, collection=self.collection,
                         quantity=self.quantity, noise=self.noise)  # fmt: skip

    def rates(self, x: Float[Array, " C+1"]) -> Rates:
        """What each cell does."""
        return rates(self.kind, x[:-1].reshape(self.edges.cells), self.film)

    @property
    def shift(self):
        """s, 1/ns."""
        return SHIFT * (1 / self.film.lifetime + self.beyond.loss)

    def state(self, x: Float[Array, " C+1"]) -> State:
        """Populations and numbers at x."""
        own, ends, energies = self.rates(x), [], self.quantity == "energy"
        hills = self.kind.value(x[:-1].reshape(self.edges.cells), self.film)
        for one in self.references if self.quantity == "lifetime" else self.references[:1]:
            more = own._replace(loss=own.loss + one.beyond.loss - self.beyond.loss)
            ends.append(solve(one, more, self.edges.pitch, hills, moves=self.kind.moves, energies=energies))
        less, more = ends[0], ends[-1]
        numbers = less.shifted / less.light if energies else less.light
        if self.quantity == "lifetime":
            numbers = jnp.log(less.light / more.light) / (2 * self.shift)
        return State((less.density + more.density) / 2, numbers, (less, more))

    def expected(self, state: State, x: Float[Array, " C+1"]) -> Float[Array, " P"]:
        """Photoelectrons, lifetimes in ns or energies in meV of each position."""
        return state.images if self.quantity == "lifetime" else state.images + x[-1]

    def misfit(self, x: Float[Array, " C+1"], state: State | None = None) -> float:
        """−log L up to a constant of the data; infinite where a position would get no light."""
        state = self.state(x) if state is None else state
        expected = self.expected(state, x)
        lowest = float(jnp.min(jnp.stack([end.light.min() for end in state.ends] + [expected.min()])))
        return float(objective(expected, self.counts, self.noise)) / 2 if lowest > 0 else np.inf

    def tangent(self, x: Float[Array, " C+1"], state: State | None = None) -> Tangent:
        """All that a step from x needs; `state`: that at x, if known."""
        state = self.state(x) if state is None else state
        expected = self.expected(state, x)
        last = 0.0 if self.quantity == "lifetime" else 1.0
        slope = self._slopes(x[:-1].reshape(self.edges.cells), state)
        slope = jnp.append(slope, jnp.full((slope.shape[0], 1), last), axis=1)
        law = self.counts.floor if self.noise == "gaussian" else variance(expected, self.counts)
        weight = self.counts.used / law
        score = slope.T @ (weight * (self.counts.photons - expected))
        information = (slope * weight[:, None]).T @ slope
        if self.kind.level:
            score, information = level(x, state.density, score, information)
        return Tangent(expected, score, information, state)

    def _slopes(self, v: Float[Array, "cy cx"], state: State) -> Float[Array, "P C"]:
        """Of the numbers, in v."""
        known, (less, more) = (self.kind, v, self.film), state.ends
        light = answers(*known, less.density, less.back, self.edges.pitch)
        if self.quantity == "intensity":
            return light
        if self.quantity == "lifetime":
            other = answers(*known, more.density, more.back, self.edges.pitch)
            return (light / less.light[:, None] - other / more.light[:, None]) / (2 * self.shift)
        steep = jax.jvp(lambda u: self.kind.value(u, self.film), (v,), (jnp.ones_like(v),))[1].reshape(1, -1)
        moved = answers(*known, less.density, less.back_shifted, self.edges.pitch)
        own = self.references[0].straight * less.density * steep
        return (own + moved - state.images[:, None] * light) / less.light[:, None]
