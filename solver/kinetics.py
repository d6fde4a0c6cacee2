"""What happens to excitons where they are: traps, annihilation and Auger recombination, each cell on its own.

An implicit step of length 1/s from (·, m₀), or the steady state with s = 0, asks of the trapped excitons

    s (m − m₀) = k_t (N_t − m) n − (k_d + 1/τ_t) m   ⇒   m − m₀ = [k_t N_t n − (k_t n + b) m₀]/(s + k_t n + b)

with b = k_d + 1/τ_t. Put into the equation of the free ones, they leave one scalar field with the local loss

    r(n) = Σ [s (m − m₀) + m/τ_t] + B n² + C n³,

which never falls as n grows: that makes every step and every steady state the minimum of a convex energy, see
`excidiff.solver.newton`. For traps that do not fill the k_t n in the denominators is absent, and r is linear. Below
n = 0, where iterations may pass but no solution lies, B n² is continued as B n |n| and m(n) by its slope at n = 0.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver.field import Field
from excidiff.solver.medium import Medium

Map = Float[Array, "rows columns"]
Species = Float[Array, "species rows columns"]


class Trap(NamedTuple):
    """One species in rates: `fill` k_t N_t and `release` and `decay`, 1/ns; `capture` k_t, µm²/ns, None if linear."""

    fill: Array
    capture: Field | None
    release: Array
    decay: Array

    def leaving(self, n: Map) -> Array:
        """k_t n + k_d + 1/τ_t, 1/ns: how fast occupation is forgotten."""
        out = self.release + self.decay
        return out if self.capture is None else out + self.capture * jnp.maximum(n, 0.0)

    def change(self, n: Map, before: Map, shift) -> tuple[Map, Map]:
        """(m − m₀, (s + 1/τ_t)(m − m₀)), the second finite even where m is not."""
        leaving = self.leaving(n)
        total = shift + leaving
        held = total > 0
        safe = jnp.where(held, total, 1.0)
        caught = self.fill * n - leaving * before
        # Where nothing leaves, linear traps gather without end; those that fill stay as they are where nothing comes.
        endless = lax.stop_gradient(jnp.where(caught > 0, jnp.inf, 0.0)) if self.capture is None else 0.0 * caught
        lost = caught if self.capture is None else 0.0 * caught
        return jnp.where(held, caught / safe, endless), jnp.where(held, (shift + self.decay) / safe * caught, lost)


class Kinetics(eqx.Module):
    """The local losses of a medium beyond n/τ."""

    annihilation: Field | None
    auger: Field | None
    traps: tuple[Trap, ...]

    @property
    def linear(self) -> bool:
        """Whether r is linear in n."""
        fills = any(trap.capture is not None for trap in self.traps)
        return self.annihilation is None and self.auger is None and not fills

    def trapped(self, n: Map, before: Species, shift) -> Species:
        """m of each species after a step of length 1/`shift` from `before`, at whose end the free density is n."""
        changed = [trap.change(n, m, shift)[0] for trap, m in zip(self.traps, before, strict=True)]
        return before + jnp.stack(changed) if changed else before

    def loss(self, n: Map, before: Species, shift) -> Map:
        """r(n), excitons per µm² and ns: what leaves the free ones for ever or into traps, less what comes back."""
        out = self.collisions(n)
        for trap, m in zip(self.traps, before, strict=True):
            out = out + trap.change(n, m, shift)[1] + trap.decay * m
        return out

    def paces(self, n: Map, before: Species, shift) -> tuple[Map, Map, Map]:
        """(ℓ, κ, f) with r(n) = (ℓ − κ) n − f: the pace of losses, that at which they return, and what returns of m₀.

        With m from above, ℓ = B n + C n² + Σ [k_t N_t − k_t m], κ = Σ k_d k_t N_t/(s + k_t n + b), f = Σ k_d s m₀/(…).
        """
        back, freed = jnp.zeros_like(n), jnp.zeros_like(n)
        for trap, m in zip(self.traps, before, strict=True):
            total = shift + trap.leaving(n)
            share = jnp.where(total > 0, trap.release / jnp.where(total > 0, total, 1.0), 0.0)
            back, freed = back + trap.fill * share, freed + shift * m * share
        return self.pace(n, self.trapped(n, before, shift)), back, freed

    def pace(self, n: Map, m: Species) -> Map:
        """B n + C n² + Σ k_t (N_t − m), 1/ns: how fast free excitons are taken away beside 1/τ."""
        out = jnp.zeros_like(n)
        for trap, held in zip(self.traps, m, strict=True):
            out = out + trap.fill - (0.0 if trap.capture is None else trap.capture * held)
        if self.annihilation is not None:
            out = out + self.annihilation * jnp.abs(n)
        if self.auger is not None:
            out = out + self.auger * n**2
        return out

    def released(self, m: Species) -> Map:
        """Σ k_d m, excitons per µm² and ns."""
        return sum(
            (trap.release * held for trap, held in zip(self.traps, m, strict=True)), jnp.zeros(m.shape[1:], m.dtype)
        )

    def slope(self, n: Map, before: Species, shift) -> Map:
        """dr/dn, 1/ns."""
        return jax.jvp(lambda n: self.loss(n, before, shift), (n,), (jnp.ones_like(n),))[1]

    def caught(self, n: Map, m: Species) -> Species:
        """∂m/∂t."""
        change = [trap.fill * n - trap.leaving(n) * held for trap, held in zip(self.traps, m, strict=True)]
        return jnp.stack(change) if change else m

    def taken(self, n: Map, m: Species) -> Map:
        """What leaves the free excitons at this moment beside n/τ, less what comes back, per µm² and ns."""
        return self.pace(n, m) * n - self.released(m)

    def gone(self, n: Map, m: Species) -> Map:
        """What free and trapped excitons lose together beside n/τ, per µm² and ns: nothing of it comes back."""
        out = self.collisions(n)
        for trap, held in zip(self.traps, m, strict=True):
            out = out + trap.decay * held
        return out

    def collisions(self, n: Map) -> Map:
        """B n² + C n³."""
        out = jnp.zeros_like(n)
        if self.annihilation is not None:
            out = out + self.annihilation * n * jnp.abs(n)
        if self.auger is not None:
            out = out + self.auger * n**3
        return out


def kinetics(medium: Medium) -> Kinetics:
    """The local losses of `medium`."""
    traps = tuple(
        Trap(jnp.asarray(one.rate), one.capture, jnp.asarray(one.release), jnp.asarray(one.decay))
        for one in medium.traps
    )
    return Kinetics(medium.annihilation, medium.auger, traps)


def nothing_trapped(medium: Medium, like: Map) -> Species:
    """Empty traps of every species."""
    return jnp.zeros((len(medium.traps), *like.shape), like.dtype)
