"""The steady state under continuous light: generation balances recombination.

0 = ∇·[D (∇n + n ∇U / k_B T)] + G − n/τ − Σ m/τ_t − B n² − C n³,      m = k_t N_t n/(k_t n + k_d + 1/τ_t)
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver import newton
from excidiff.solver.bins import band
from excidiff.solver.field import extent
from excidiff.solver.grid import Grid
from excidiff.solver.kinetics import kinetics, nothing_trapped
from excidiff.solver.linear import elliptic, transforms
from excidiff.solver.linear.elliptic import unbalanced, unsolved
from excidiff.solver.linear.flux import assemble
from excidiff.solver.linear.multigrid import build
from excidiff.solver.medium import SIDES, Medium, check_medium, thermal_energy
from excidiff.solver.precision import full_precision
from excidiff.solver.solution import REASONS, InputError, Result, Solution, is_concrete, is_number, settle
from excidiff.solver.source import check_source
from excidiff.solver.traps import lost_share


def steady_state(
    medium: Medium, source: Float[Array, "rows columns"], grid: Grid, *, rtol=None, throw=True
) -> Solution:
    """Excitons per µm² where `source` (excitons per µm² and ns, cell averages) shines on `medium` for ever.

    A uniform medium is solved exactly by transforms, any other by multigrid-preconditioned conjugate gradients until
    the sum of the residual's magnitudes is below `rtol` times that of the source (1e-8; 1e-5 in single precision).
    Annihilation and traps that fill are met by Newton's method, from no light at all and at any intensity. The result
    has `.density` of `grid.shape`, `.trapped` and `.trapped_by_species` (linear traps that nothing leaves hold inf),
    `.emission` if the medium says how it emits, `.by_energy` (bins, rows, columns) and `.energies` with `disorder`, and
    `.stats`: iterations of all linear solves, residual, imbalance (|generated − lost|/generated).

    Differentiable with respect to every number and map, forward, in reverse and twice. Raises `InputError` for
    arguments that do not fit and where nothing removes excitons, `SolverError` when the solve fails, unless
    `throw=False` or under a trace, where a failed density is NaN.
    """
    check_medium(medium, grid)
    source = check_source("steady_state(source=…)", source, grid)
    check_losses(medium, source, grid)
    medium, source, grid, rtol = promote(medium, source, grid, rtol)
    return settle(_steady_state(medium, source, grid, rtol), throw)


def check_losses(medium: Medium, source: Array, grid: Grid) -> None:
    """Raise `InputError` where it can be seen that light falls on cells from which no exciton ever leaves."""
    if not is_concrete(medium) or extent(medium.lifetime)[1] < np.inf:
        return
    left = drained(medium, grid)
    lit = np.asarray(source) != 0 if is_concrete(source) else np.full(grid.shape, not left.any())
    if (lit & ~left).any():
        cell = tuple(int(i) for i in np.argwhere(lit & ~left)[0])
        where = f" where light falls on cell {cell} and those connected with it" if left.any() else ""
        raise InputError(f"steady_state: {REASONS[Result.singular]}{where}")


def drained(medium: Medium, grid: Grid) -> np.ndarray:
    """Which cells recombine, lie at an open side, or are connected by diffusion to one that does."""
    losses = [
        1.0 / np.asarray(medium.lifetime),
        *(np.asarray(x) for x in (medium.annihilation, medium.auger) if x is not None),
    ]
    with jax.ensure_compile_time_eval():  # a concrete film may be solved inside a program
        losses += [np.asarray(traps.rate * lost_share(traps)) for traps in medium.traps]
    left = np.any([np.broadcast_to(np.asarray(loss) > 0, grid.shape) for loss in losses], axis=0)
    if left.all():
        return left
    moves = [np.broadcast_to(np.asarray(d) > 0, grid.shape) for d in medium.diffusivities[::-1]]
    for side, axis, edge in zip(SIDES, (1, 1, 0, 0), (0, -1, 0, -1), strict=True):
        surface = medium.surface
        if surface is not None and (side in surface.quenched or surface.partial.get(side, 0) > 0):
            np.moveaxis(left, axis, 0)[edge] |= np.moveaxis(moves[axis], axis, 0)[edge]
    while True:  # sweep down and up both axes until no further cell is reached
        before = left.sum()
        for axis in (0, 1):
            lines, moving = np.moveaxis(left, axis, 0), np.moveaxis(moves[axis], axis, 0)
            faces = range(0 if grid.periodic[axis] else 1, grid.shape[axis])
            for here, there in [*((i, i - 1) for i in faces), *((i - 1, i) for i in reversed(faces))]:
                lines[here] |= lines[there] & moving[here] & moving[there]
        if left.sum() == before:
            return left


def promote(medium: Medium, field: Float[Array, "rows columns"], grid: Grid, rtol: float | None, default=1e-8):
    """Everything in one dtype, that of the inputs together, and a tolerance this dtype can keep."""
    dtype = jnp.result_type(field, *jax.tree.leaves((medium, grid)))
    dtype = jnp.promote_types(dtype, jnp.float32)
    single = dtype == jnp.float32
    if rtol is None:
        rtol = max(default, 1e-5) if single else default
    if not (is_number(rtol) and 0 < rtol < 1):
        raise InputError(f"rtol={rtol!r}: expected a number between 0 and 1")
    if single and rtol < 1e-5:
        raise InputError(
            f"rtol={rtol:g} cannot be kept in float32; give float64 arrays (jax.config.update('jax_enable_x64', True) "
            "before anything else), or rtol ≥ 1e-5"
        )
    check_disorder(medium, single)
    medium, grid = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (medium, grid))
    return medium, field.astype(dtype), grid, float(rtol)


def check_disorder(medium: Medium, single: bool) -> None:
    """Raise `InputError` where the bins' shares in equilibrium are so unlike that their modes drown in rounding."""
    disorder = medium.disorder
    if disorder is None or disorder.mobility != "constant" or not is_concrete((disorder.width, medium.temperature)):
        return
    depth, limit = float(disorder.width) / float(thermal_energy(medium)), 3.0 if single else 6.0
    if depth > limit:
        raise InputError(
            f"Disorder(width=…): {depth:.1f} kT, more than {limit:.0f} kT, beyond which rounding spoils bins of one "
            'mobility; is it in meV? Otherwise give mobility="hops"' + (", or float64 arrays" if single else "")
        )


@partial(jax.jit, static_argnames="rtol")
@full_precision
def _steady_state(medium: Medium, source: Float[Array, "rows columns"], grid: Grid, rtol: float) -> Solution:
    empty, at_rest = nothing_trapped(medium, source), jnp.zeros((), source.dtype)
    by_energy = energies = None
    if medium.disorder is None:
        density, lost, effort = _without_energies(medium, source, grid, rtol)
    else:
        film = band(medium, grid, kinetics(medium))
        rate = film.bins.sites[:, None, None] * source[None]
        by_energy, _, effort = film.solve(rate, empty, at_rest, rtol=rtol, guess=jnp.zeros_like(rate))
        density, energies = jnp.sum(by_energy, 0), film.bins.energies
        lost = film.recombined(by_energy) + film.kinetics.loss(density, empty, at_rest)
    stats = {"iterations": effort.iterations, "residual": effort.residual, "imbalance": imbalance(lost, source)}
    found = lax.stop_gradient((verdict(density, source, stats, rtol), stats))
    trapped = kinetics(medium).trapped(density, empty, at_rest)
    return Solution(density, *found, *populations(medium, density, density**2, trapped), by_energy, energies)


def _without_energies(medium: Medium, source: Array, grid: Grid, rtol: float) -> tuple[Array, Array, elliptic.Effort]:
    """(n, what is lost of it, effort)."""
    film = without_traps(medium) if medium.linear else medium
    operator = assemble(film, grid)
    if film.uniform:
        kinds = transforms.axis_kinds(film, grid)
        rates = transforms.eigenvalues(film, grid)
        density = transforms.from_modes(transforms.to_modes(source, kinds) / rates, kinds)
        return density, operator.loss * density, elliptic.Effort(jnp.zeros((), int), jnp.zeros((), source.dtype))
    rate, hierarchy = operator.symmetric(source), build(operator)
    if medium.linear:
        v, effort = elliptic.solve(operator, hierarchy, rate, rtol=rtol)
        density = operator.density(v)
        return density, operator.loss * density, effort
    local, empty, at_rest = kinetics(medium), nothing_trapped(medium, source), jnp.zeros((), source.dtype)
    balance = newton.Balance(operator, local, rate, empty, at_rest)
    v, effort = newton.solve(balance, hierarchy, jnp.zeros_like(rate), rtol=rtol)
    density = operator.density(v)
    return density, operator.loss * density + local.loss(density, empty, at_rest), effort


def without_traps(medium: Medium) -> Medium:
    """A linear medium for the free excitons alone, 1/τ_eff = 1/τ + Σ k_t N_t (1/τ_t)/(k_d + 1/τ_t)."""
    if not medium.traps:
        return medium
    rate = 1.0 / jnp.asarray(medium.lifetime)
    for traps in medium.traps:
        rate = rate + traps.rate * lost_share(traps)
    lifetime = jnp.where(rate > 0, 1.0 / jnp.where(rate > 0, rate, 1.0), jnp.inf)
    return eqx.tree_at(lambda m: (m.lifetime, m.traps), medium, (lifetime, ()))


def populations(medium: Medium, density: Array, square: Array, trapped: Array) -> tuple[Array | None, Array | None]:
    """(`trapped_by_species`, `emission`) of a `Solution`, from n, n² and m or their integrals over time."""
    emission = None
    if medium.emission is not None:
        emission = medium.emission.rate(density, square, trapped, medium.traps)
    return trapped if medium.traps else None, emission


def imbalance(lost: Array, source: Array) -> Array:
    """|lost − generated| relative to what is generated."""
    generated = jnp.sum(jnp.abs(source))
    return jnp.abs(jnp.sum(lost) - jnp.sum(source)) / jnp.where(generated > 0, generated, 1.0)


def verdict(density: Array, source: Array, stats: dict, rtol: float) -> Array:
    """The `Result` of a steady solve, as an integer array."""
    return first_failure(
        (Result.iterations, stats["residual"] > unsolved(rtol, density.dtype)),  # may have made the density NaN
        (Result.not_finite, ~jnp.all(jnp.isfinite(density))),
        (Result.imbalance, stats["imbalance"] > unbalanced(rtol, density.dtype)),
        (Result.negative, is_negative(density, source, rtol)),
    )


def first_failure(*checks: tuple[Result, Array]) -> Array:
    """The code of the first check that failed, `converged` where none did."""
    result = jnp.asarray(Result.converged.value)
    for code, failed in reversed(checks):
        result = jnp.where(failed, code.value, result)
    return result


def is_negative(density: Array, source: Array, rtol: float) -> Array:
    """Whether a density that cannot be negative is, by more than the tolerance and rounding allow."""
    eps = float(jnp.finfo(density.dtype).eps)
    return (jnp.min(source) >= 0) & (jnp.min(density) < -max(10 * rtol, 100 * eps) * jnp.max(density))
