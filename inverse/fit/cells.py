"""What a map of a film says of its cells: `Kind`, the `rates` that follow, and how cells lose and exchange excitons.

A kind turns a field v into a `Medium` of the solver; from that come, cell by cell, the loss beyond 1/τ, the diffusivity
and U/k_BT. What passes between neighbours a and b, a distance h apart, is, per cell,

    (D_f/h²) {c(δ) d − δ m},     δ = (U_b − U_a)/k_BT,     c = (δ/2) coth(δ/2)

with the difference d = n_a − n_b and the mean m of both, and D_f their harmonic mean (Scharfetter and Gummel, IEEE
Trans. Electron Devices 16 (1969) 64). That errs as h², too much on cells as wide as a spot. Where δ is small, d₄ − δ m₄
stands for it, from four cells: of averages over cells d₄ = d − d″/12 and m₄ = m − m″/6 are exact to h⁴, ″ being the
second difference along the axis. What passes is given to the cells by the transpose of d₄, so that the seen side of
∫ ∇b·D∇n is as exact as the lit side. Steps of U and D turn d₄ − δ m₄ into the two-cell form; beside steps of 3 k_BT,
or a hundred in D, between cells, densities may still fall below 0 by some percent of the largest. What the film does
beyond the map is its `Beyond`: with its D right to the map's edge, and no force across it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.linear.flux import coupling_at, harmonic
from excidiff.solver.medium import BOLTZMANN, Medium
from excidiff.solver.traps import Traps

SOFT = 0.05
"""f: where kτ is well above it, v is log(1 + kτ); below, v falls without end while k stays positive."""
NEAR = 7
"""Cells along an axis, the middle one included, to which what a cell holds matters: three to either side."""
Number = Float[Array, ""] | float


class Film(NamedTuple):
    """What is known, in µm and ns: `laser`, `psf` are standard deviations, `excitons` those of one spot.

    `capture`: µm²/ns, of traps, where their density is asked for; `temperature`: K, where a landscape is.
    """

    diffusivity: Number
    lifetime: Number
    laser: Number
    psf: Number
    excitons: Number
    positions: Float[Array | np.ndarray, "P 2"]
    capture: Number = 1.0
    temperature: Number = 295.0


class Kind(NamedTuple):
    """What a map is of: its `value` at v and the `medium` this makes, elementwise; its unit; what must be known for it.

    moves: whether it changes how excitons move, not only how they are lost. level: whether only differences count.
    """

    name: str
    unit: str
    value: Callable[[Array, Film], Array]
    medium: Callable[[Array, Film], Medium]
    needs: tuple[str, ...]
    moves: bool = False
    level: bool = False


class Rates(NamedTuple):
    """Of each cell: the loss beyond 1/τ (1/ns), D (µm²/ns) and U/k_BT."""

    loss: Float[Array, "*cells"]
    diffusivity: Float[Array, "*cells"]
    potential: Float[Array, "*cells"]


class Beyond(NamedTuple):
    """The film outside the map: its loss beyond 1/τ (1/ns) and D (µm²/ns)."""

    loss: Number
    diffusivity: Number


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


def _energy(v, film: Film):
    return BOLTZMANN * film.temperature * v


def _trapping(v, film: Film) -> Medium:
    return Medium(film.diffusivity, film.lifetime, traps=Traps.linear(_rate(v, film)))


TRAPPING = Kind("trapping_rate", "1/ns", _rate, _trapping, ("diffusivity", "lifetime"))
LIFETIME = Kind(
    "lifetime",
    "ns",
    _lifetime,
    lambda v, film: Medium(film.diffusivity, _lifetime(v, film)),
    ("diffusivity", "lifetime"),
)
DENSITY = Kind(
    "trap_density", "1/um^2", lambda v, film: _rate(v, film) / film.capture, _trapping,
    ("diffusivity", "lifetime", "capture"),
)  # fmt: skip
DIFFUSIVITY = Kind(
    "diffusivity", "um^2/ns", lambda v, film: jnp.exp(v), lambda v, film: Medium(jnp.exp(v), film.lifetime),
    ("lifetime",), moves=True,
)  # fmt: skip
LANDSCAPE = Kind(
    "landscape",
    "meV",
    _energy,
    lambda v, film: Medium(film.diffusivity, film.lifetime, landscape=_energy(v, film), temperature=film.temperature),
    ("diffusivity", "lifetime", "temperature"),
    moves=True,
    level=True,
)
KINDS = {kind.name: kind for kind in (TRAPPING, LIFETIME, DENSITY, DIFFUSIVITY, LANDSCAPE)}


def rates(kind: Kind, v: Float[Array, "*cells"], film: Film) -> Rates:
    """What the medium that a map makes does in each cell."""
    medium = kind.medium(v, film)
    loss = 1 / medium.lifetime - 1 / film.lifetime + sum(traps.rate for traps in medium.traps)
    moving, hills = medium.diffusivities[0], medium.landscape  # alike along x and y
    potential = 0.0 * v if hills is None else hills / (BOLTZMANN * medium.temperature)
    return Rates(jnp.asarray(loss + 0.0 * v), jnp.asarray(moving + 0.0 * v), jnp.asarray(potential))


class Faces(NamedTuple):
    """Of the density at the faces along an axis: difference and mean of the two cells, and both from four cells."""

    difference: Array
    mean: Array
    steep: Array
    value: Array


def _sides(tree, axis: int):
    """The values below and above each face along the last axis but one (0) or the last (1)."""
    below = (Ellipsis, slice(None, -1)) if axis else (Ellipsis, slice(None, -1), slice(None))
    above = (Ellipsis, slice(1, None)) if axis else (Ellipsis, slice(1, None), slice(None))
    return jax.tree.map(lambda a: a[below], tree), jax.tree.map(lambda a: a[above], tree)


def _curved(values, axis: int):
    """The second difference along an axis, 0 at both ends."""
    values = jnp.moveaxis(values, axis - 2, -1)
    if values.shape[-1] < 3:
        return jnp.moveaxis(0 * values, -1, axis - 2)
    inner = values[..., :-2] - 2 * values[..., 1:-1] + values[..., 2:]
    wide = [(0, 0)] * (values.ndim - 1) + [(1, 1)]
    return jnp.moveaxis(jnp.pad(inner, wide), -1, axis - 2)


def steep(density: Float[Array, "... cy cx"], axis: int) -> Array:
    """d₄ at the faces along an axis."""
    below, above = _sides(density, axis)
    return below - above - _curved(below - above, axis) / 12


def faces(density: Float[Array, "... cy cx"], axis: int) -> Faces:
    """What a density is at the faces along an axis."""
    below, above = _sides(density, axis)
    mean = (below + above) / 2
    return Faces(below - above, mean, steep(density, axis), mean - _curved(mean, axis) / 6)


def passing(a: Rates, b: Rates, at: Faces, pitch) -> Array:
    """What goes from a to b, per cell and ns."""
    step = b.potential - a.potential
    forth, back = (coupling_at(step) * jnp.exp(side * step / 2) for side in (-1, 1))
    two = 0.5 * (forth + back) * at.difference + (forth - back) * at.mean
    even = 4 * a.diffusivity * b.diffusivity / (a.diffusivity + b.diffusivity) ** 2
    gentle = even * (1 - jnp.tanh(step / 2) ** 2)
    whole = gentle * (at.steep - step * at.value) + (1 - gentle) * two
    return harmonic(a.diffusivity, b.diffusivity) / pitch**2 * whole


def lost(own: Rates, density: Float[Array, "... cy cx"], pitch) -> Float[Array, "... cy cx"]:
    """What leaves each cell for good or to its neighbours in the map, less what comes from them, of `density`."""
    found = own.loss * density
    for axis in (0, 1):
        flow = passing(*_sides(own, axis), faces(density, axis), pitch)
        found = found + jax.vjp(lambda n, axis=axis: steep(n, axis), density)[1](flow)[0]
    return found


def even(beyond: Beyond, shape: tuple[int, ...]) -> Rates:
    """Cells that are as the film beyond."""
    one = jnp.ones(shape)
    return Rates(beyond.loss * one, beyond.diffusivity * one, 0.0 * one)


def change(own: Rates, beyond: Beyond, density: Float[Array, "*spots cy cx"], pitch, *, moves: bool):
    """Δ n: how much more leaves each cell than in a film that is everywhere as beyond."""
    if density.ndim > own.loss.ndim:
        return jax.vmap(lambda n: change(own, beyond, n, pitch, moves=moves))(density)
    if not moves:
        return (own.loss - beyond.loss) * density
    return lost(own, density, pitch) - lost(even(beyond, np.shape(own.loss)), density, pitch)


def added(matrix: Float[Array, "C C"], own: Rates, beyond: Beyond, pitch, *, moves: bool) -> Float[Array, "C C"]:
    """`matrix` + Δ."""
    cells = np.arange(own.loss.size)
    if not moves:
        return matrix.at[cells, cells].add((own.loss - beyond.loss).reshape(-1))

    sources = np.indices(own.loss.shape)
    probes = [(i, k) for i in range(NEAR) for k in range(NEAR)]  # each lights cells so far apart that they do not mix
    lit = np.stack([(sources[0] % NEAR == i) & (sources[1] % NEAR == k) for i, k in probes]).astype(float)
    left = change(own, beyond, jnp.asarray(lit), pitch, moves=True).reshape(len(probes), -1)
    own_y, own_x = (axis.reshape(-1) for axis in sources)
    for (i, k), values in zip(probes, left, strict=True):
        y, x = (at + (to - at + NEAR // 2) % NEAR - NEAR // 2 for at, to in ((own_y, i), (own_x, k)))
        inside = (y >= 0) & (y < own.loss.shape[0]) & (x >= 0) & (x < own.loss.shape[1])
        column = np.where(inside, y * own.loss.shape[1] + x, 0)
        matrix = matrix.at[cells, column].add(jnp.where(inside, values, 0.0))
    return matrix


class Slopes(NamedTuple):
    """∂(Δ n)/∂v: what a cell's v changes in itself, and in the flow through the faces along y and x.

    along[axis] = (by v of the cell below the face, by v of that above it).
    """

    own: Float[Array, "*spots cy cx"]
    along: tuple[tuple[Array, Array], ...]


@partial(jax.jit, static_argnames="kind")
def slopes(kind: Kind, v: Float[Array, "cy cx"], film: Film, density: Float[Array, "*spots cy cx"], pitch) -> Slopes:
    """How what leaves the cells answers to v."""
    if density.ndim > 2:
        return jax.vmap(lambda n: slopes(kind, v, film, n, pitch))(density)
    own = jax.jvp(lambda u: rates(kind, u, film).loss, (v,), (jnp.ones_like(v),))[1] * density
    if not kind.moves:
        return Slopes(own, ())
    along = []
    for axis in (0, 1):
        (va, vb), at = _sides(v, axis), faces(density, axis)

        def flow(va, vb, at=at):
            return passing(rates(kind, va, film), rates(kind, vb, film), at, pitch)

        one, none = jnp.ones_like(va), jnp.zeros_like(va)
        along.append(tuple(jax.jvp(flow, (va, vb), pair)[1] for pair in ((one, none), (none, one))))
    return Slopes(own, tuple(along))


def gathered(seen: Float[Array, "*pixels cy cx"], of: Slopes) -> Float[Array, "*pixels cy cx"]:
    """−Σ `seen` · ∂(Δ n)/∂v_c for every v_c: how what is seen answers to the map."""
    if seen.ndim > of.own.ndim:
        return jax.vmap(lambda one: gathered(one, of))(seen)
    found = seen * of.own
    for axis, (first, second) in enumerate(of.along):
        across = steep(seen, axis)
        least = (Ellipsis, slice(None, -1)) if axis else (Ellipsis, slice(None, -1), slice(None))
        most = (Ellipsis, slice(1, None)) if axis else (Ellipsis, slice(1, None), slice(None))
        found = found.at[least].add(across * first).at[most].add(across * second)
    return -found
