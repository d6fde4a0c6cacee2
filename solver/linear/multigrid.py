"""One V-cycle of multigrid: the preconditioner of every solve in a medium that varies.

It works in the variable z = n e^U (U in kT), where diffusion and drift become a network of conductances
c_f = g_f φ_i φ_j between cells, with loss and weight φ² to each cell's own ground: every level is again such a
network. A coarse cell is a pair of cells on each axis. Its weight and loss are the sums over its cells; the
conductance to its neighbour is half its own inner resistance, the face's, and half the neighbour's, in series, rows
in parallel. Interpolation is piecewise constant, smoothed by [¼ ½ ¼] on each axis where the network conducts;
restriction is its transpose. The smoother is Chebyshev-Jacobi of degree two on [0.5, 2] of the scaled spectrum; the
coarsest level is inverted. One hierarchy serves A + s for every shift s, a number or a map: it only changes grounds.

Where one axis conducts far better than the other (oblong cells, Dx ≫ Dy) points are slow to smooth, and whole lines of
cells along it are solved at once: Jacobi by lines, damped for the same spectrum (Trottenberg, Oosterlee and Schüller,
Multigrid, 5.1). Which one is a matter of values, so it is a branch, and not both are computed.

Only the speed of convergence depends on what stands here, never the answer: the V-cycle runs in single precision.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from excidiff.solver.linear.flux import Map, Operator, gather, pair

COARSEST = 64
"""Cells of the coarsest level, at most: its dense solve costs less than one more level."""
STEEPEST = 80.0
"""Largest |U|/kT, from the middle of its range, that the preconditioner sees; e^80 still fits single precision."""
LINES = 6.0
"""How many times better one axis must conduct for the smoother to take its lines; below, points are faster."""
LEAK = 1e-6
"""Share by which a line leaks more than it does, so that one that hardly leaks can be solved in single precision."""
CENTRE = 1.25
"""Of the spectrum that a smoother meets."""


class Level(eqx.Module):
    """A network of cells: conductances between them, loss and weight to ground."""

    conductance: tuple[Array, Array]
    loss: Map
    weight: Map
    total: Map
    periodic: tuple[bool, bool] = eqx.field(static=True)

    def apply(self, z: Map, ground: Map) -> Map:
        """Net outflow of each cell at z, with `ground` + Σ c_f on the diagonal."""
        out = ground * z
        for axis, c in enumerate(self.conductance):
            below, above = pair(z, axis, self.periodic[axis])
            out = out - gather(c * above, c * below, axis, self.periodic[axis])
        return out


class Hierarchy(eqx.Module):
    """All levels of one operator A, finest first."""

    levels: tuple[Level, ...]
    scale: Map
    lines: Float[Array, ""]  # no integer, so that it has a tangent like the rest

    def shifted(self, shift) -> "Preconditioner":
        """The V-cycle of A + `shift`, a number or a map in 1/ns."""
        shift = jnp.asarray(shift)
        added = None if shift.ndim == 0 else shift.astype(self.scale.dtype) * self.levels[0].weight
        grounds = []
        for level in self.levels:
            more = shift.astype(self.scale.dtype) * level.weight if added is None else added
            grounds.append(level.total + more)
            added = None if added is None else _pool(_pool(added, 0), 1)
        return Preconditioner(self, tuple(grounds), _inverse(self.levels[-1], grounds[-1], shift.dtype))


class Preconditioner(eqx.Module):
    """A V-cycle ready to run: the hierarchy, with what connects each cell to its ground and its neighbours in all."""

    hierarchy: Hierarchy
    grounds: tuple[Map, ...]
    inverse: Float[Array, "cells cells"]

    def apply(self, residual: Map) -> Map:
        """An approximate (A + s)⁻¹ residual, both in the symmetric variable; symmetric and positive definite."""
        size = jnp.max(jnp.abs(residual))
        size = jnp.where(size > 0, size, 1.0)
        scale = self.hierarchy.scale
        r = (residual / size).astype(scale.dtype) * scale
        go, lines = lax.optimization_barrier((jnp.asarray(True), self.hierarchy.lines.astype(int)))
        z = _cycle(self, 0, r, go, lines)
        return (z * scale).astype(residual.dtype) * size


def build(operator: Operator) -> Hierarchy:
    """The hierarchy of `operator`."""
    dtype = jnp.float32
    if operator.potential is None:
        scale = jnp.ones(operator.loss.shape, dtype)
    else:
        scale = jnp.exp(-0.5 * jnp.clip(operator.potential, -STEEPEST, STEEPEST)).astype(dtype)
    conductance = []
    for axis, g in enumerate(operator.coupling):
        below, above = pair(scale, axis, operator.periodic[axis])
        conductance.append(g.astype(dtype) * below * above)
    weight = scale * scale
    level = _level((conductance[0], conductance[1]), weight * operator.loss.astype(dtype), weight, operator.periodic)
    levels = [level]
    while level.weight.size > COARSEST:
        level = _coarsen(level)
        levels.append(level)
    return Hierarchy(tuple(levels), scale, _which_lines(operator))


def _which_lines(operator: Operator) -> Array:
    """0 where the smoother takes points, 1 and 2 for lines along x and y; the same for a whole batch."""
    if min(operator.loss.shape) == 1:
        return jnp.zeros(())
    along_y, along_x = (jnp.mean(lax.stop_gradient(g)) for g in operator.coupling)
    unlike = _most_unlike(jnp.nan_to_num(jnp.log(along_x) - jnp.log(along_y)))
    return jnp.where(jnp.abs(unlike) > np.log(LINES), jnp.where(unlike > 0, 1.0, 2.0), 0.0)


@jax.custom_batching.custom_vmap
def _most_unlike(x: Array) -> Array:
    """x of the member of a batch that is furthest from zero, so that a branch on it stays a branch under `vmap`."""
    return x


@_most_unlike.def_vmap
def _(_, batched, x):
    return _most_unlike(x[jnp.argmax(jnp.abs(x))] if batched[0] else x), False


def _level(conductance: tuple[Array, Array], loss: Map, weight: Map, periodic: tuple[bool, bool]) -> Level:
    total = loss
    for axis, c in enumerate(conductance):
        total = total + gather(c, c, axis, periodic[axis])
    return Level(conductance, loss, weight, total, periodic)


def _coarsen(fine: Level) -> Level:
    along = [_series(c, axis, fine.weight.shape[axis], fine.periodic[axis]) for axis, c in enumerate(fine.conductance)]
    coarse = (_pool(along[0], 1), _pool(along[1], 0))
    loss, weight = (_pool(_pool(m, 0), 1) for m in (fine.loss, fine.weight))
    return _level(coarse, loss, weight, fine.periodic)


def _pool(field: Array, axis: int) -> Array:
    """Sum pairs of neighbours on one axis; an odd last one stays alone."""
    count = field.shape[axis]
    if count == 1:
        return field
    if count % 2:
        field = lax.pad(field, jnp.zeros((), field.dtype), [(0, int(i == axis), 0) for i in range(field.ndim)])
    shape = list(field.shape)
    shape[axis : axis + 1] = [shape[axis] // 2, 2]
    return field.reshape(shape).sum(axis + 1)


def _series(c: Array, axis: int, count: int, periodic: bool) -> Array:
    """Conductance between neighbouring pairs of cells of one axis, from that of its faces."""
    if count == 1:
        return c
    coarse = -(-count // 2)
    stop = c.shape[axis]
    inner = lax.slice_in_dim(c, 0, stop, 2, axis)
    across = lax.slice_in_dim(c, 1, stop, 2, axis)
    if periodic and count % 2:  # the last face closes the axis from the single last cell, which has no inner face
        across = lax.concatenate([across, lax.slice_in_dim(inner, coarse - 1, coarse, axis=axis)], axis)
        inner = lax.slice_in_dim(inner, 0, coarse - 1, axis=axis)
    if inner.shape[axis] < coarse:
        inner = lax.pad(inner, jnp.zeros((), c.dtype), [(0, int(i == axis), 0) for i in range(c.ndim)])
    half = jnp.where(inner > 0, 0.5 / jnp.where(inner > 0, inner, 1.0), 0.0)
    below, above = pair(half, axis, periodic)
    open_face = across > 0
    return jnp.where(open_face, 1.0 / (1.0 / jnp.where(open_face, across, 1.0) + below + above), 0.0)


def _smooth_transfer(z: Array, level: Level, axis: int) -> Array:
    """[¼ ½ ¼] on one axis, with what meets a closed face staying where it is; symmetric."""
    if z.shape[axis] == 1:
        return z
    below, above = pair(z, axis, level.periodic[axis])
    step = 0.25 * jnp.where(level.conductance[axis] > 0, above - below, 0.0)
    return z + gather(step, -step, axis, level.periodic[axis])


def _restrict(r: Map, level: Level, go: Array) -> Map:
    for axis in (0, 1):
        r = _stage(go, lambda r, axis=axis: _smooth_transfer(r, level, axis), r)
    return _pool(_pool(r, 0), 1)


def _prolong(z: Map, level: Level, go: Array) -> Map:
    for axis, count in enumerate(level.weight.shape):
        if count > 1:
            z = lax.slice_in_dim(jnp.repeat(z, 2, axis), 0, count, axis=axis)
    return _smooth_transfer(_stage(go, lambda z: _smooth_transfer(z, level, 0), z), level, 1)


def _cycle(ready: Preconditioner, depth: int, r: Map, go: Array, lines: Array) -> Map:
    level, ground = ready.hierarchy.levels[depth], ready.grounds[depth]
    if depth == len(ready.grounds) - 1:
        return (ready.inverse @ r.reshape(-1)).reshape(r.shape)
    z = _smooth(level, ground, r, None, go, lines)
    residual = _stage(go, lambda z: r - level.apply(z, ground), z)
    coarse = _cycle(ready, depth + 1, _restrict(residual, level, go), go, lines)
    z = _stage(go, lambda z: z + _prolong(coarse, level, go), z)
    return _smooth(level, ground, r, z, go, lines)


def _smooth(level: Level, ground: Map, r: Map, z: Map | None, go: Array, lines: Array) -> Map:
    """For what the coarser levels cannot see: two Chebyshev steps by points, or one by the lines of an axis."""
    diagonal = jnp.where(ground > 0, ground, 1.0)
    inverse = 1.0 / diagonal  # once for all iterations, not within a branch

    def points(r, z=None):
        return _chebyshev(level, ground, inverse, r, z, go)

    def along(r, z=None):
        left = r if z is None else r - level.apply(z, ground)
        x, y = (lambda r, axis=axis: _by_lines(level, diagonal, axis, r) for axis in (1, 0))
        step = lax.cond(lines == 1, x, y, left)
        return step / CENTRE if z is None else z + step / CENTRE

    return lax.cond(lines > 0, along, points, *((r,) if z is None else (r, z)))


def _chebyshev(level: Level, ground: Map, inverse: Map, r: Map, z: Map | None, go: Array) -> Map:
    """Two Chebyshev steps for the spectrum [0.5, 2] of the Jacobi-scaled operator (Saad, Iterative Methods, 12.3.2)."""
    half = 0.75
    rho = half / CENTRE
    after = 1.0 / (2.0 / rho - rho)
    if z is None:
        z = step = inverse * r / CENTRE
    else:
        step = _stage(go, lambda z: inverse * (r - level.apply(z, ground)) / CENTRE, z)
        z = z + step
    correction = _stage(go, lambda z: (2.0 * after / half) * inverse * (r - level.apply(z, ground)), z)
    return z + after * rho * step + correction


def _by_lines(level: Level, diagonal: Map, axis: int, r: Map) -> Map:
    """The solution along each line of one axis, all others held at zero.

    A line that closes on itself is an open one and w (e₁ − eₙ)(e₁ − eₙ)ᵀ, w the conductance that closes it: the formula
    of Sherman and Morrison.
    """
    count = level.weight.shape[axis]
    if count < 3:
        return r / diagonal
    c, diagonal, r = (m.T if axis == 0 else m for m in (level.conductance[axis], (1 + LEAK) * diagonal, r))
    closed = level.periodic[axis]
    inner = c[:, : count - 1]
    right = r[..., None]
    if closed:
        w = c[:, -1:]
        diagonal = diagonal.at[:, :1].add(-w).at[:, -1:].add(-w)
        seam = jnp.zeros_like(r).at[:, 0].set(1.0).at[:, -1].set(-1.0)
        right = jnp.stack([r, seam], axis=-1)
    lower, upper = jnp.pad(-inner, ((0, 0), (1, 0))), jnp.pad(-inner, ((0, 0), (0, 1)))
    out = lax.linalg.tridiagonal_solve(lower, diagonal, upper, right)
    z = out[..., 0]
    if closed:
        q = out[..., 1]
        z = z - w * (z[:, :1] - z[:, -1:]) / (1.0 + w * (q[:, :1] - q[:, -1:])) * q
    return z.T if axis == 0 else z


def _stage(go: Array, function, field: Map) -> Map:
    """function(field), of the same shape, written to memory before anything reads it.

    Left to itself the compiler fuses a stencil into each of its readers and computes it again for every neighbour,
    level upon level. A branch on `go`, true but hidden from the compiler, is not looked through, and as the same `go`
    serves a whole batch it stays a branch under `vmap`.
    """
    return lax.cond(go, function, lambda field: field, field)


def _inverse(level: Level, ground: Map, dtype) -> Array:
    """Of the coarsest network; where nothing leaves it at all, of one that leaks as little as single precision sees."""
    shape, size = level.weight.shape, level.weight.size
    unit = jnp.eye(size, dtype=level.weight.dtype).reshape(size, *shape)
    matrix = jax.vmap(lambda z: level.apply(z, ground))(unit).reshape(size, size).astype(dtype)
    root = 1.0 / jnp.sqrt(level.weight.reshape(size)).astype(dtype)
    matrix = root[:, None] * matrix * root[None, :]
    leak = 2 * float(jnp.finfo(level.weight.dtype).eps) * jnp.max(jnp.diagonal(matrix))
    factor = cho_factor(matrix + leak * jnp.eye(size, dtype=dtype))
    inverse = cho_solve(factor, jnp.eye(size, dtype=dtype))
    return (root[:, None] * inverse * root[None, :]).astype(level.weight.dtype)
