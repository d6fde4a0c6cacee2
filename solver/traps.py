"""Sites that capture excitons, hold them, and let go of them: `Traps`.

    ∂m/∂t = k_t (N_t − m) n − k_d m − m/τ_t

with the density m of the trapped ones. Each captured exciton leaves the free ones and each released one comes back.
Where m ≪ N_t only the product k_t N_t can be seen, and the film is linear: `Traps.linear`.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from excidiff.solver.field import Field, as_field, check_map
from excidiff.solver.grid import Grid


class Traps(eqx.Module):
    """One species of traps; each of its properties a number or a map of `grid.shape`.

    `density` N_t: traps per µm², zero where there are none. `capture` k_t: µm²/ns. `release` k_d: 1/ns; zero keeps what
    was caught. `lifetime` τ_t: ns, of a trapped exciton; `inf` where it only waits for its release.

    Raises `InputError` for what is negative, not finite, or of an unexpected shape.
    """

    density: Field | None
    capture: Field | None
    release: Field
    lifetime: Field
    linear_rate: Field | None

    def __init__(self, density, capture, release: Any = 0.0, lifetime: Any = np.inf, *, linear_rate: Any = None):
        if linear_rate is None:
            density = as_field("Traps(density=…)", density, zero="always")
            capture = as_field("Traps(capture=…)", capture, zero="always")
        else:
            linear_rate = as_field("Traps.linear(rate=…)", linear_rate, zero="always")
            density = capture = None
        self.density, self.capture, self.linear_rate = density, capture, linear_rate
        self.release = as_field("Traps(release=…)", release, zero="always")
        self.lifetime = as_field("Traps(lifetime=…)", lifetime, infinite=True)

    @classmethod
    def linear(cls, rate, release: Any = 0.0, lifetime: Any = np.inf) -> "Traps":
        """Traps that never fill: `rate` = k_t N_t in 1/ns, a number or a map; the rest as above."""
        return cls(None, None, release, lifetime, linear_rate=rate)

    @property
    def fills(self) -> bool:
        """Whether these traps can fill, or are `linear`; a matter of structure, never of values."""
        return self.linear_rate is None

    @property
    def rate(self) -> Field:
        """k_t N_t, the trapping rate of empty traps, 1/ns."""
        if self.linear_rate is not None:
            return self.linear_rate
        return jnp.asarray(self.density) * jnp.asarray(self.capture)

    @property
    def decay(self) -> Field:
        """1/τ_t, 1/ns."""
        return 1.0 / jnp.asarray(self.lifetime)


def check_traps(traps: tuple[Traps, ...], grid: Grid) -> None:
    """Raise `InputError` where a map of a species does not lie on `grid`."""
    for species in traps:
        for name in ("density", "capture", "release", "lifetime", "linear_rate"):
            check_map(f"Traps({name}=…)", getattr(species, name), grid)


def lost_share(traps: Traps) -> Array:
    """Share of the captured excitons that never come free again: (1/τ_t)/(k_d + 1/τ_t), 1 where nothing leaves."""
    decay = jnp.asarray(traps.decay)
    total = jnp.asarray(traps.release) + decay
    return jnp.where(total > 0, decay / jnp.where(total > 0, total, 1.0), 1.0)
