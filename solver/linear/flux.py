"""What flows between neighbouring cells: the symmetric operator of diffusion, drift and loss.

The flux through the face between cells i and j, with h their distance, δ = (U_j − U_i)/kT and B(x) = x/(eˣ − 1), is

    F = (D_f/h) [B(δ) n_i − B(−δ) n_j],      D_f = 2 D_i D_j/(D_i + D_j)

(Scharfetter and Gummel, IEEE Trans. Electron Devices 16 (1969) 64), so n ∝ exp(−U/kT) carries no flux and what leaves
one cell enters its neighbour exactly. With n = φ v, φ = exp(−U/2kT), rows divided by φ, the operator

    (A v)_i = [Σ_f (D_f/h²) B(δ) + 1/τ_i + surface] v_i − Σ_f g_f v_j,      g_f = (D_f/h²) (δ/2)/sinh(δ/2)

is symmetric, with A n = φ A_v v. It is formed from differences of U only, and applied as

    (A v)_i = e_i v_i + Σ_f g_f (v_i − v_j),      e_i = 1/τ_i + surface + Σ_f g_f (e^{−δ/2} − 1)

since on a fine grid D/h² is so much larger than 1/τ that their sum, rounded, would forget part of the loss.
"""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver.field import as_map
from excidiff.solver.grid import Grid
from excidiff.solver.medium import SIDES, Medium, thermal_energy

Map = Float[Array, "rows columns"]


def pair(field: Array, axis: int, periodic: bool) -> tuple[Array, Array]:
    """The values below and above each face of one axis; a periodic axis has a last face that closes it."""
    count = field.shape[axis]
    if periodic:
        first = lax.slice_in_dim(field, 0, 1, axis=axis)
        return field, lax.concatenate([lax.slice_in_dim(field, 1, count, axis=axis), first], axis)
    return lax.slice_in_dim(field, 0, count - 1, axis=axis), lax.slice_in_dim(field, 1, count, axis=axis)


def gather(below: Array, above: Array, axis: int, periodic: bool) -> Array:
    """Add to each cell what its two faces on one axis hold for it; the transpose of `pair`."""
    if periodic:
        count = above.shape[axis]
        last = lax.slice_in_dim(above, count - 1, count, axis=axis)
        return below + lax.concatenate([last, lax.slice_in_dim(above, 0, count - 1, axis=axis)], axis)
    zero = jnp.zeros((), below.dtype)
    after = [(0, int(i == axis), 0) for i in range(below.ndim)]
    before = [(int(i == axis), 0, 0) for i in range(below.ndim)]
    return lax.pad(below, zero, after) + lax.pad(above, zero, before)


class Operator(eqx.Module):
    """The operator A of a medium on a grid, in the symmetric variable v = n/φ; all entries in 1/ns.

    `excess` e_i, `loss` (recombination and surfaces) and `potential` U/kT (None where there is no landscape) are maps;
    `coupling` holds g_f for the faces of the y and the x axis.
    """

    excess: Map
    coupling: tuple[Array, Array]
    loss: Map
    potential: Map | None
    periodic: tuple[bool, bool] = eqx.field(static=True)

    @property
    def diagonal(self) -> Map:
        """The diagonal of A."""
        out = self.excess
        for axis, g in enumerate(self.coupling):
            out = out + gather(g, g, axis, self.periodic[axis])
        return out

    def apply(self, v: Map) -> Map:
        """A v."""
        out = self.excess * v
        for axis, g in enumerate(self.coupling):
            below, above = pair(v, axis, self.periodic[axis])
            flow = g * (below - above)
            out = out + gather(flow, -flow, axis, self.periodic[axis])
        return out

    def symmetric(self, density: Map) -> Map:
        """v = n/φ."""
        return density if self.potential is None else density * jnp.exp(0.5 * self.potential)

    def density(self, v: Map) -> Map:
        """n = φ v."""
        return v if self.potential is None else v * jnp.exp(-0.5 * self.potential)


def assemble(medium: Medium, grid: Grid) -> Operator:
    """The operator of `medium` on `grid`; differentiable in every number and map."""
    dx, dy = (as_map(d, grid) for d in medium.diffusivities)
    loss = as_map(1.0 / jnp.asarray(medium.lifetime), grid)
    potential = None
    if medium.landscape is not None:
        energy = jnp.asarray(medium.landscape)
        middle = 0.5 * (lax.stop_gradient(jnp.max(energy)) + lax.stop_gradient(jnp.min(energy)))
        potential = (energy - middle) / thermal_energy(medium)
    if medium.surface is not None:
        loss = loss + _surface_loss(medium, grid, dx, dy)
    excess, coupling = loss, []
    for axis, diffusivity in enumerate((dy, dx)):
        rate = harmonic(*pair(diffusivity, axis, grid.periodic[axis])) / grid.spacing[axis] ** 2
        if potential is None:
            g = rate
        else:
            lower, upper = pair(potential, axis, grid.periodic[axis])
            step = upper - lower
            g = rate * coupling_at(step)
            excess = excess + gather(g * jnp.expm1(-0.5 * step), g * jnp.expm1(0.5 * step), axis, grid.periodic[axis])
        coupling.append(g)
    return Operator(excess, (coupling[0], coupling[1]), loss, potential, grid.periodic)


def harmonic(a: Array, b: Array) -> Array:
    """Harmonic mean of two diffusivities: zero where either is zero, with the slope 2 that it has there on one side."""
    total = a + b
    return 2.0 * a * b / jnp.where(total == 0, 1.0, total)


def coupling_at(step: Array) -> Array:
    """(δ/2)/sinh(δ/2) = B(δ) e^{δ/2}, without overflow and with smooth derivatives at every δ.

    Below |δ| = 0.1 its Taylor series to δ⁶, whose next term is 1e-14; above it from one exponential.
    """
    small = jnp.abs(step) < 0.1
    s = jnp.where(small, step, 0.0)
    a = jnp.where(small, 1.0, jnp.abs(step))
    s2 = s * s
    half = jnp.exp(-0.5 * a)
    series = 1.0 + s2 * (-1 / 24 + s2 * (7 / 5760 - s2 * (31 / 967680)))
    return jnp.where(small, series, a * half / (1.0 - half * half))


def _surface_loss(medium: Medium, grid: Grid, dx: Map, dy: Map) -> Map:
    """Loss rate of the boundary cells through their sides: 1/(1/S + h/2D) per length, over h."""
    assert medium.surface is not None
    out = jnp.zeros(grid.shape, dx.dtype)
    for side, axis, index in zip(SIDES, (1, 1, 0, 0), (0, -1, 0, -1), strict=True):
        edge = (slice(None), index) if axis else (index, slice(None))
        h = grid.spacing[axis]
        conductance = 2.0 * (dx if axis else dy)[edge] / h
        if side in medium.surface.quenched:
            out = out.at[edge].add(conductance / h)
        elif side in medium.surface.partial:
            out = out.at[edge].add(_in_series(jnp.asarray(medium.surface.partial[side]), conductance) / h)
    return out


def _in_series(velocity: Array, conductance: Array) -> Array:
    """1/(1/S + 1/k), also for S = 0, S = ∞ and k = 0, with finite gradients."""
    infinite = jnp.isinf(velocity)
    s = jnp.where(infinite, 1.0, velocity)
    total = s + conductance
    both = s * conductance / jnp.where(total == 0, 1.0, total)
    return jnp.where(infinite, conductance, both)
