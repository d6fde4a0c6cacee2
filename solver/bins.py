"""Free excitons of every site energy at once: `Band`, the energy bins of a disordered film in balance.

    (s + A_k + ℓ) n_k + Σ_j R_kj n_j = b_k + π_k (κ n + f),      n = Σ n_k

with the relaxation R and the equilibrium π of `excidiff.solver.disorder`, all losses and what traps give back as in
`excidiff.solver.kinetics`: they depend on the energies through n alone, and what is released is in equilibrium.

Where D is the same at all energies, n obeys the equation of a film without energies, so that it is found first, by
Newton's method, and then all n_k by one linear solve. Where D falls with the energy n is the fixed point of that solve.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver import newton
from excidiff.solver.disorder import Bins, cut
from excidiff.solver.fixed import fixed_point
from excidiff.solver.grid import Grid
from excidiff.solver.kinetics import Kinetics, Map, Species
from excidiff.solver.linear import coupled, elliptic
from excidiff.solver.linear.coupled import Coupled, Fields
from excidiff.solver.linear.elliptic import Effort
from excidiff.solver.linear.flux import Operator, assemble
from excidiff.solver.linear.multigrid import build
from excidiff.solver.medium import Medium, thermal_energy

MAX_ROUNDS = 60


class Band(eqx.Module):
    """A disordered film: its bins, the operator A of D itself, that of every bin, and its local kinetics."""

    bins: Bins
    operator: Operator
    operators: Operator
    kinetics: Kinetics
    alike: bool = eqx.field(static=True)

    @property
    def root(self) -> Float[Array, " bins"]:
        """√π."""
        return jnp.sqrt(self.bins.equilibrium)

    def matrix(self, shift, returned: Map) -> Coupled:
        """The linear system of `coupled` with the common loss `shift` and the returned κ."""
        exchange = self.bins.rates * (self.root[None, :] / self.root[:, None])
        exchange = 0.5 * (exchange + exchange.T)
        return Coupled(self.operators, exchange, self.root, shift, returned, self.alike)

    def move(self, v: Fields) -> Fields:
        """A_k v_k + Σ_j R_kj v_j: what diffusion, recombination and relaxation take from every bin."""
        moved = jax.vmap(lambda a, v: a.apply(v), in_axes=(None if self.alike else 0, 0))(self.operators, v)
        return moved + jnp.tensordot(self.bins.rates, v, 1)

    def recombined(self, fields: Fields) -> Map:
        """Σ n_k/τ and what leaves through the sides, excitons per µm² and ns."""
        loss = self.operators.loss
        return loss * jnp.sum(fields, 0) if self.alike else jnp.sum(loss * fields, 0)

    def split(self, n: Map, rate: Fields, before: Species, shift, rtol: float, guess: Fields) -> tuple[Fields, Effort]:
        """n_k where the losses are those at the total density n."""
        pace, back, freed = self.kinetics.paces(n, before, shift)
        matrix = self.matrix(shift + pace, back)
        source = rate + self.bins.equilibrium[:, None, None] * freed[None]
        w, effort = coupled.solve(matrix, source / matrix.weight, rtol=rtol, guess=guess / matrix.weight)
        return matrix.weight * w, effort

    def solve(self, rate: Fields, before: Species, shift, *, rtol: float, guess: Fields) -> tuple[Fields, Map, Effort]:
        """(n_k, m, effort) for the generation `rate` in every bin, excitons per µm² and ns."""
        total = jnp.sum(guess, 0)
        if self.alike:
            n, first = self._total(self.operator, jnp.sum(rate, 0), before, shift, rtol, total)
            fields, second = self.split(n, rate, before, shift, rtol, guess)
            effort = Effort(first.iterations + second.iterations, jnp.maximum(first.residual, second.residual))
        elif self.kinetics.linear:
            fields, effort = self.split(total, rate, before, shift, rtol, guess)
        else:
            fields, effort = self._settled(rate, before, shift, rtol, guess)
        return fields, self.kinetics.trapped(jnp.sum(fields, 0), before, shift), effort

    def _total(self, operator: Operator, rate: Map, before: Species, shift, rtol: float, guess: Map):
        """(n, effort) of a film without energies."""
        hierarchy = lax.stop_gradient(build(operator))
        b = operator.symmetric(rate)
        balance = newton.Balance(operator, self.kinetics, b, before, jnp.asarray(shift, b.dtype))
        v, effort = newton.solve(balance, hierarchy, operator.symmetric(guess), rtol=rtol)
        return operator.density(v), effort

    def _settled(self, rate: Fields, before: Species, shift, rtol: float, guess: Fields) -> tuple[Fields, Effort]:
        """n_k at the n that they add up to: a fixed point, first guessed as that of the film in equilibrium.

        What the losses at n leave is corrected by a film without energies that moves as fast as this one does on the
        whole at every place, so that the rounds converge like Newton's where bins are in equilibrium.
        """
        start, _ = self._total(lax.stop_gradient(self).mean(), jnp.sum(rate, 0), before, shift, 1e-2, jnp.sum(guess, 0))

        def improved(arguments, guess, n):
            band, rate, before, shift = arguments
            fields, _ = band.split(n, rate, before, shift, rtol, guess)
            return n + _corrected(*lax.stop_gradient((band, n, before, shift)), jnp.sum(fields, 0) - n)

        def size(_, n):
            return jnp.sum(jnp.abs(n))

        arguments = (self, rate, before, jnp.asarray(shift, rate.dtype))
        n, reached = fixed_point(improved, arguments, guess, start, size=size, rtol=rtol, max_steps=MAX_ROUNDS)
        fields, effort = self.split(n, rate, before, shift, rtol, guess)
        return fields, Effort(reached.steps * effort.iterations, jnp.maximum(effort.residual, reached.residual))

    def mean(self) -> Operator:
        """The operator of the film in equilibrium, Σ π_k A_k."""
        return jax.tree.map(lambda field: jnp.tensordot(self.bins.equilibrium, field, 1), self.operators)


def _corrected(band: Band, n: Map, before: Species, shift, gap: Map) -> Map:
    """δ of (M + J) δ = M gap with M = s + A + ℓ − κ and J = r′ − (ℓ − κ), A in equilibrium: a Newton step for n = T(n).

    `gap` is T(n) − n. Linear in it, and without derivatives otherwise.
    """
    operator = band.mean()
    pace, back, _ = band.kinetics.paces(n, before, shift)
    slope = jnp.maximum(band.kinetics.slope(n, before, shift), 0.0)
    flow = operator.apply(operator.symmetric(gap)) + operator.symmetric((shift + pace - back) * gap)
    v = elliptic.solve_tangent(operator, build(operator), flow, shift=shift + slope, rtol=1e-3)
    return operator.density(v)


def band(medium: Medium, grid: Grid, kinetics: Kinetics) -> Band:
    """The bins of a medium with `disorder`."""
    assert medium.disorder is not None
    bins = cut(medium.disorder, thermal_energy(medium))
    bins = jax.tree.map(lambda x: x.astype(jnp.result_type(*jax.tree.leaves(grid))), bins)
    operator = assemble(medium, grid)
    alike = medium.disorder.mobility == "constant"
    operators = operator if alike else jax.vmap(lambda share: assemble(slower(medium, share), grid))(bins.mobility)
    return Band(bins, operator, operators, kinetics, alike)


def slower(medium: Medium, share) -> Medium:
    """The same medium with `share` times its diffusivity."""
    diffusivity = jax.tree.map(lambda d: share * d, medium.diffusivity)
    return eqx.tree_at(lambda m: m.diffusivity, medium, diffusivity)
