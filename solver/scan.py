"""A spot that visits the film point by point, and what a detector sees each time: `raster_scan`.

With A the operator of a linear film, s_p the light at the position p, and w what the detector sees of an exciton,

    signal_p = Σ w A⁻¹ s_p · cell = Σ (A⁻ᵀ w) s_p · cell,

so one solve for the importance map A⁻ᵀ w, the signal per exciton created at each place, serves all positions
(reciprocity; Donolato, Appl. Phys. Lett. 46 (1985) 270, for the collection of carriers). In the symmetric variable
A n = φ A_v v with n = φ v, so A⁻ᵀ w = φ⁻¹ A_v⁻¹ φ w: the same solve with 1/φ for φ. Linear traps are in it by their
effective lifetime, and their light by m ∝ n. A spot that is a row's profile times a column's needs two products of
vectors with the map. Where the film is not linear, or the detector moves with the spot, each position is a solve.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from excidiff.solver.grid import Grid
from excidiff.solver.kinetics import kinetics, nothing_trapped
from excidiff.solver.linear import elliptic
from excidiff.solver.linear.elliptic import unsolved
from excidiff.solver.linear.flux import assemble
from excidiff.solver.linear.multigrid import build
from excidiff.solver.medium import Medium, check_medium
from excidiff.solver.precision import full_precision
from excidiff.solver.solution import InputError, Result, Solution, as_array, is_concrete, settle
from excidiff.solver.source import Spot, check_source, check_width, gaussian_spot, spot_profiles
from excidiff.solver.steady import check_losses, first_failure, is_negative, promote, steady_state, without_traps
from excidiff.solver.transient import time_integral

Map = Float[Array, "rows columns"]

PROFILES = 1024
"""Positions whose profiles are held at once."""
CELLS = 2**22
"""Cells of the solves that an accelerator does at once; a processor does one solve after the other."""


class Scan(eqx.Module):
    """What the detector saw: `signal`, one number for each position, with intervals leading where `edges` were given.

    `path`: "adjoint", one solve for all positions, or "batch", one for each; `reason`: why, in words. `result`: a
    `Result` as an integer array, of a batch the first failure. `stats`: those of the solve; of a batch the sum of
    `iterations` and `steps`, and the largest of each of the others.
    """

    signal: Float[Array, "*intervals positions"]
    result: Int[Array, ""]
    stats: dict[str, Any]
    path: str = eqx.field(static=True)
    reason: str = eqx.field(static=True)


def raster_scan(
    medium: Medium,
    spot: Spot | Callable[[Array], Map],
    grid: Grid,
    positions: Float[Array, "positions 2"] | np.ndarray,
    *,
    detector: Map | Callable[[Array], Map] | None = None,
    edges: Float[Array, " edges"] | None = None,
    rtol: float | None = None,
    throw: bool = True,
) -> Scan:
    """The detector's signal with the spot at each of `positions`, rows of (x, y) in µm; `Scan.path` says how.

    `spot`: a `Spot`, whose own centre is added to each position, or a function of a position (x, y) that gives the
    light as a map of `grid.shape`: excitons per µm² and ns, or per µm² and pulse. A `Spot` is exact at any position and
    by far the faster. `detector`: the share of the light that is collected from each cell, a map; None, all of it; or a
    function of the position that gives the map, for a detector that moves with the spot.

    The signal is Σ detector × emission × cell area, in photons per ns (per pulse), where the film says how it emits,
    and otherwise that of the density instead: excitons seen. Light is k_r n: a map of nonradiative losses darkens the
    scan. Continuous light, or the whole decay after a pulse, which in a linear film is the same; with `edges`, times in
    ns, a pulse whose light is integrated over each interval, `.signal` of shape (intervals, positions).

    A linear film before a detector that does not move takes one adjoint solve, whose residual is below `rtol` times the
    detector, both summed over the cells; so does one with `edges` if it has neither traps nor a landscape. Anything
    else takes a batch, each solve to `rtol` as in `steady_state` or `time_integral`. All of it is differentiable in
    film, spot, detector and positions, forward, in reverse and twice.

    Raises `InputError` for arguments that do not fit, `SolverError` when a solve fails, unless `throw=False` or under a
    trace: then the signals of the failed solves are NaN.
    """
    check_medium(medium, grid)
    positions = _check_positions(positions, grid)
    light = _light(spot, grid)
    dtype = _gives("raster_scan(spot=…)", light, grid, positions)
    if callable(detector):
        dtype = jnp.promote_types(dtype, _gives("raster_scan(detector=…)", detector, grid, positions))
    else:
        detector = jnp.ones(grid.shape, jnp.float32) if detector is None else detector
        detector = check_source("raster_scan(detector=…)", detector, grid)
        dtype = jnp.promote_types(dtype, detector.dtype)
    path, reason = way(medium, callable(detector), edges)
    if path == "adjoint":
        importance = importance_map(medium, detector.astype(dtype), grid, edges=edges, rtol=rtol, throw=throw)
        signal = _weigh(importance.density, light, jax.tree.map(jnp.asarray, grid), positions)
        return Scan(signal, importance.result, importance.stats, path, reason)
    if edges is None:
        check_losses(medium, jnp.ones(grid.shape), grid)
    medium, _, grid, _ = promote(medium, jnp.zeros(grid.shape, dtype), grid, rtol)
    found = _batch(medium, light, grid, positions, detector, edges, rtol)
    if is_concrete(found):  # under a trace the failed ones are NaN already, and only they
        found = settle(found, throw)
    return Scan(found.density, found.result, found.stats, path, reason)


def way(medium: Medium, moving: bool, edges) -> tuple[str, str]:
    """("adjoint" or "batch", why), from structure alone."""
    if moving:
        return "batch", "the detector moves with the spot: each position is a solve of its own"
    if not medium.linear or (medium.emission is not None and medium.emission.bimolecular is not None):
        return "batch", "the light is not proportional to the source: each position is a solve of its own"
    if medium.disorder is not None and medium.disorder.mobility != "constant":
        return "batch", "mobility falls as excitons relax: each position is a solve of its own"
    if edges is not None and (medium.traps or medium.landscape is not None):
        return "batch", "intervals in a film with traps or a landscape: each position is an evolution of its own"
    return "adjoint", "the film is linear and the detector stands still: one solve serves all positions"


def importance_map(medium: Medium, detector: Map, grid: Grid, *, edges=None, rtol=None, throw=True) -> Solution:
    """The signal for each exciton created in a cell of a linear film, as the `.density` of a `Solution`."""
    weight = detector
    if medium.emission is not None:
        one = jnp.ones_like(detector)
        held = kinetics(medium).trapped(one, nothing_trapped(medium, one), jnp.zeros((), one.dtype))
        weight = weight * medium.emission.rate(one, None, held, medium.traps)
    # Nothing here depends on the energies, which all move alike.
    dark = eqx.tree_at(lambda m: (m.emission, m.disorder), medium, (None, None), is_leaf=lambda leaf: leaf is None)
    # Without a landscape the operator is symmetric in n, too: what sees and what shines may change places.
    if edges is not None:
        return time_integral(dark, weight, grid, edges=edges, rtol=rtol, throw=throw)
    if medium.landscape is None:
        return steady_state(without_traps(dark), weight, grid, rtol=rtol, throw=throw)
    check_losses(medium, weight, grid)
    medium, weight, grid, rtol = promote(without_traps(dark), weight, grid, rtol)
    return settle(_transposed(medium, weight, grid, rtol), throw)


@partial(jax.jit, static_argnames="rtol")
@full_precision
def _transposed(medium: Medium, weight: Map, grid: Grid, rtol: float) -> Solution:
    """A⁻ᵀ w. The landscape turned over takes φ to 1/φ and leaves A_v as it is: residuals count as shares of Σ|w|."""
    operator = assemble(medium, grid)
    assert operator.potential is not None
    over = eqx.tree_at(lambda a: a.potential, operator, -operator.potential)
    v, effort = elliptic.solve(over, build(operator), over.symmetric(weight), rtol=rtol)
    found = over.density(v)
    result = first_failure(
        (Result.not_finite, ~jnp.all(jnp.isfinite(found))),
        (Result.iterations, effort.residual > unsolved(rtol, found.dtype)),
        (Result.negative, is_negative(found, weight, rtol)),
    )
    return Solution(found, lax.stop_gradient(result), effort._asdict())


def _weigh(importance: Array, light: Callable, grid: Grid, positions: Array) -> Array:
    """Σ importance × source × cell area for each position, which comes last."""
    if isinstance(light, _Light) and is_concrete(positions):
        (x, column), (y, row) = (np.unique(one, return_inverse=True) for one in np.asarray(positions).T)
        if len(x) * len(y) <= 4 * len(column):  # a raster, whose few rows and columns are each computed once
            return _weigh_raster(importance, light, jnp.asarray(x), jnp.asarray(y))[..., row, column]
    return _weigh_each(importance, light, grid, positions)


@eqx.filter_jit
@full_precision
def _weigh_raster(importance: Array, light: "_Light", x: Array, y: Array) -> Array:
    """The signals of the spot at every x and y, (…, y, x)."""
    columns = jax.vmap(lambda x: light.profiles(jnp.stack([x, y[0]]))[1])(x)
    rows = jax.vmap(lambda y: light.profiles(jnp.stack([x[0], y]))[0])(y)
    signal = light.spot.total * jnp.einsum("yi,...ij,xj->...yx", rows, importance, columns)
    return signal.astype(importance.dtype)


@eqx.filter_jit
@full_precision
def _weigh_each(importance: Array, light: Callable, grid: Grid, positions: Array) -> Array:
    def one(position):
        if isinstance(light, _Light):
            rows, columns = light.profiles(position)
            return light.spot.total * (rows @ importance.astype(rows.dtype) @ columns)
        return grid.cell_area * jnp.einsum("...ij,ij->...", importance, light(position))

    chunk = PROFILES if isinstance(light, _Light) else _chunk(grid)
    return jnp.moveaxis(lax.map(one, positions, batch_size=chunk), 0, -1).astype(importance.dtype)


@eqx.filter_jit
@full_precision
def _batch(medium: Medium, light, grid: Grid, positions: Array, detector: Any, edges, rtol) -> Solution:
    """A solve for each position, its signals as the `.density`; those that failed are NaN."""

    @jax.checkpoint  # in reverse each solve is done again, so that not all of them are held at once
    def one(position):
        source = light(position)
        if edges is None:
            found = steady_state(medium, source, grid, rtol=rtol, throw=False)
        else:
            found = time_integral(medium, source, grid, edges=edges, rtol=rtol, throw=False)
        seen = found.density if found.emission is None else found.emission
        collected: Any = detector(position) if callable(detector) else detector
        signal = grid.cell_area * jnp.einsum("...ij,ij->...", seen, collected.astype(seen.dtype))
        return signal, found.result, found.stats

    signal, result, stats = lax.map(one, positions, batch_size=_chunk(grid))
    failed = result != Result.converged
    first = result[jnp.argmax(failed)]
    stats = {name: jnp.sum(x) if name in ("iterations", "steps") else jnp.max(x) for name, x in stats.items()}
    return Solution(jnp.moveaxis(signal, 0, -1), first, lax.stop_gradient(stats))


def _chunk(grid: Grid) -> int | None:
    """How many maps are dealt with at once: None, one after the other."""
    count = CELLS // (grid.shape[0] * grid.shape[1])
    return None if jax.default_backend() == "cpu" or count < 2 else count


class _Light(eqx.Module):
    """A `Spot` on a grid as a function of the position."""

    spot: Spot
    grid: Grid

    def centre(self, position: Array) -> tuple[Array, Array]:
        return position[0] + self.spot.centre[0], position[1] + self.spot.centre[1]

    def profiles(self, position: Array) -> tuple[Array, Array]:
        """Shares of the spot in each row and in each column."""
        return spot_profiles(self.grid, self.spot.fwhm, self.centre(position))

    def __call__(self, position: Array) -> Map:
        return gaussian_spot(self.grid, fwhm=self.spot.fwhm, total=self.spot.total, centre=self.centre(position))


def _light(spot: Any, grid: Grid) -> Callable[[Array], Map]:
    """The light as a function of the position, or an `InputError`."""
    if isinstance(spot, Spot):
        check_width("Spot", spot.fwhm)
        return _Light(*jax.tree.map(jnp.asarray, (spot, grid)))
    if not callable(spot):
        raise InputError(f"raster_scan(spot={spot!r:.60}): expected a Spot, or a function of (x, y) that gives a map")
    return cast(Callable[[Array], Map], spot)


def _gives(name: str, function: Callable[[Array], Map], grid: Grid, positions: Array) -> Any:
    """The dtype of the maps that `function` gives, or an `InputError` where they do not lie on the grid."""
    if isinstance(function, _Light):
        return jnp.result_type(*jax.tree.leaves(function))
    given = jax.eval_shape(function, positions[0])
    if getattr(given, "shape", None) != grid.shape:
        raise InputError(f"{name}: gives {given!r:.80} at a position; expected a map of grid.shape {grid.shape}")
    return given.dtype


def _check_positions(positions, grid: Grid) -> Float[Array, "positions 2"]:
    """Positions as an array of (x, y) on the grid, or an `InputError`."""
    positions = as_array("raster_scan(positions=…)", positions)
    if positions.ndim != 2 or positions.shape[1] != 2 or not positions.shape[0]:
        raise InputError(f"raster_scan(positions=…): shape {positions.shape}; expected rows of (x, y) in µm")
    if is_concrete((positions, grid.extent)):
        reach = np.asarray([float(width) / 2 for width in grid.extent[::-1]])
        outside = ~(np.abs(np.asarray(positions)) <= reach).all(1)
        if outside.any():
            x, y = np.asarray(positions)[outside.argmax()]
            raise InputError(
                f"raster_scan(positions=…): ({x:.6g}, {y:.6g}) lies outside the grid, |x| ≤ {reach[0]:.6g} µm and "
                f"|y| ≤ {reach[1]:.6g} µm"
            )
    return positions
