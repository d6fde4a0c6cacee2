"""Fields on one grid that exchange excitons: the energy bins of a disordered film, solved together.

With π_k the share of bin k in equilibrium, n_k = √π_k φ w_k, and rows divided by √π_k φ, relaxation becomes the
symmetric S = π^{−½} R π^{½}, since R keeps detailed balance. What linear traps take and give back, at the rate κ(r) and
spread over the bins as π, is symmetric, too, so that altogether

    A_k w_k + s w_k + Σ_j S_kj w_j − κ √π_k Σ_j √π_j w_j = b_k,      s(r) a common loss,

is symmetric positive definite. Where all bins move alike, A_k = A, the eigenvectors of S separate it into as many
scalar solves (κ meets the one of eigenvalue zero alone, √π). Otherwise conjugate gradients solve it, preconditioned by
one V-cycle for each bin and one for what all bins have in common, the film in equilibrium.

Derivatives are one more solve with the same matrix, as in `elliptic`. The residual is judged as there: Σ|·| in n.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from excidiff.solver.linear import elliptic
from excidiff.solver.linear.elliptic import Effort
from excidiff.solver.linear.flux import Map, Operator
from excidiff.solver.linear.multigrid import Hierarchy, Preconditioner, build

Fields = Float[Array, "bins rows columns"]


class Coupled(eqx.Module):
    """The matrix. `operator`: A, or with `alike` False all A_k stacked; `exchange` S, 1/ns; `root` √π.

    `shift` s: a number or a map; `returned` κ: a map; 1/ns.
    """

    operator: Operator
    exchange: Float[Array, "bins bins"]
    root: Float[Array, " bins"]
    shift: Array
    returned: Map
    alike: bool = eqx.field(static=True)

    def apply(self, w: Fields) -> Fields:
        """The matrix times w."""
        moved = jax.vmap(lambda operator, w: operator.apply(w), in_axes=(None if self.alike else 0, 0))(
            self.operator, w
        )
        back = self.root[:, None, None] * (self.returned * jnp.tensordot(self.root, w, 1))[None]
        return moved + self.spread(self.shift) * w + jnp.tensordot(self.exchange, w, 1) - back

    def spread(self, shift: Array) -> Array:
        """A number or a map, for all bins."""
        return shift if shift.ndim == 0 else shift[None]

    @property
    def weight(self) -> Fields:
        """√π_k φ: excitons per unit of w."""
        potential = self.operator.potential
        if potential is None:
            return self.root[:, None, None]
        phi = jnp.exp(-0.5 * (potential if self.alike else potential[0]))
        return self.root[:, None, None] * phi[None]


def solve(coupled: Coupled, b: Fields, *, rtol: float, guess: Fields | None = None) -> tuple[Fields, Effort]:
    """(w, Effort); NaN where the residual stays too large, in a derivative, too.

    Differentiable in `coupled` and `b`, forward, in reverse and twice; `guess` only steers the way.
    """
    now, held, start = lax.stop_gradient((coupled, b, jnp.zeros_like(b) if guess is None else guess))
    ready = _prepare(now)

    def run(b, start):
        w, count = ready(b, start, rtol)
        residual = _residual(now, b, w)
        return jnp.where(residual <= elliptic.unsolved(rtol, w.dtype), w, jnp.nan), Effort(count, residual)

    def inverse(b):
        return run(b, jnp.zeros_like(b))[0]

    w, effort = run(held, start)
    w = checkpoint_name(w, elliptic.SOLUTION)
    return w + elliptic.moves(coupled.apply, b - coupled.apply(w), inverse, inverse), effort


def _residual(coupled: Coupled, b: Fields, w: Fields) -> Array:
    def size(r):
        return jnp.sum(jnp.abs(coupled.weight * r))

    total = size(b)
    total = jnp.where(total > 0, total, 1.0)
    operator = coupled.operator
    diagonal = operator.diagonal[None] if coupled.alike else jax.vmap(lambda a: a.diagonal)(operator)
    eps = float(jnp.finfo(w.dtype).eps)
    excused = jnp.minimum(4 * eps * size((diagonal + coupled.spread(coupled.shift)) * w) / total, 1e-2)
    return jnp.maximum(size(b - coupled.apply(w)) / total - excused, 0.0)


def _prepare(coupled: Coupled):
    """A function (b, start, rtol) → (w, iterations)."""
    return _separate(coupled) if coupled.alike else _together(coupled)


def _separate(coupled: Coupled):
    """Scalar solves, one for each eigenvector of the exchange."""
    hierarchy = build(coupled.operator)
    rates, vectors = jnp.linalg.eigh(coupled.exchange)
    common = jnp.argmax(jnp.abs(vectors.T @ coupled.root))
    weight = elliptic.weight_of(coupled.operator, coupled.root)

    def run(b, start, rtol):
        total = jnp.sum(jnp.abs(coupled.weight * b))

        def one(case):
            rate, place, b, start = case
            shift = coupled.shift + jnp.maximum(rate, 0.0) - jnp.where(place == common, coupled.returned, 0.0)
            size = jnp.sum(jnp.abs(weight * b))
            # what a mode carries beside all excitons decides how exact it must be
            share = jnp.clip(rtol * total / (len(rates) * jnp.where(size > 0, size, 1.0)), rtol, 1.0)
            w, count, _ = elliptic.conjugate_gradients(coupled.operator, hierarchy, b, shift, share, weight, start)
            return w, count

        cases = (rates, jnp.arange(len(rates)), jnp.tensordot(vectors.T, b, 1), jnp.tensordot(vectors.T, start, 1))
        w, counts = lax.map(one, cases)
        return jnp.tensordot(vectors, w, 1), jnp.sum(counts)

    return run


class _Cycle(NamedTuple):
    """One V-cycle for each bin, and one for the film in equilibrium."""

    bins: Preconditioner
    together: Preconditioner
    root: Array

    def apply(self, r: Fields) -> Fields:
        own = lax.map(lambda case: case[0].apply(case[1]), (self.bins, r))
        common = self.together.apply(jnp.tensordot(self.root, r, 1))
        return own + self.root[:, None, None] * common[None]


def _together(coupled: Coupled):
    """Conjugate gradients on all bins at once."""
    share = coupled.root**2
    mean = jax.tree.map(lambda field: jnp.tensordot(share, field, 1), coupled.operator)
    hierarchies: Hierarchy = jax.vmap(build)(coupled.operator)
    leaving = jax.vmap(lambda rate: jnp.broadcast_to(coupled.shift, coupled.returned.shape) + rate)(
        jnp.diagonal(coupled.exchange)
    )
    ready = _Cycle(
        jax.vmap(lambda hierarchy, shift: hierarchy.shifted(shift))(hierarchies, leaving),
        build(mean).shifted(coupled.shift - coupled.returned),
        coupled.root,
    )

    def run(b, start, rtol):
        unit = jnp.max(jnp.abs(b))
        unit = jnp.where(unit > 0, unit, 1.0)
        b, start = b / unit, start / unit

        def size(r):
            return jnp.sum(jnp.abs(coupled.weight * r))

        goal = rtol * size(b)

        def searching(state):
            _, _, _, rz, r_size, count = state
            return (r_size > goal) & (count < elliptic.MAX_ITERATIONS) & jnp.isfinite(rz)

        def step(state):
            w, r, p, rz_before, _, count = state
            z = ready.apply(r)
            rz = jnp.vdot(r, z)
            p = z + jnp.where(count > 0, rz / rz_before, 0.0) * p
            q = coupled.apply(p)
            along = rz / jnp.vdot(p, q)
            r = r - along * q
            return w + along * p, r, p, rz, size(r), count + 1

        r = b - coupled.apply(start)
        state = (start, r, jnp.zeros_like(r), jnp.ones((), r.dtype), size(r), jnp.zeros((), int))
        w, *_, count = lax.while_loop(searching, step, state)
        return w * unit, count

    return run
