"""The light that a film gives back: `Emission`.

    e = k_r n + b n (n + p₀) + Σ y_t m/τ_t

What is seen is the radiative share alone: a map of nonradiative losses shortens τ and darkens the film, and leaves k_r
as it is. b is part of the annihilation B, so b ≤ B; y_t is the share of the recombining trapped excitons that emit.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from excidiff.solver.field import Field, as_field, check_map
from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, is_concrete
from excidiff.solver.traps import Traps


class Emission(eqx.Module):
    """How a film emits; each property a number or a map of `grid.shape`.

    `radiative` k_r: 1/ns. `bimolecular` b: µm²/ns, None where there is none. `carriers` p₀: per µm², present without
    light. `trap_yield` y_t: None, or a share for all species of traps, or a tuple with one for each.

    Raises `InputError` for what is negative, not finite, of an unexpected shape, or a yield above one.
    """

    radiative: Field
    bimolecular: Field | None
    carriers: Field
    trap_yield: tuple[Field, ...] | Field | None

    def __init__(self, radiative, bimolecular=None, carriers=0.0, trap_yield=None):
        self.radiative = as_field("Emission(radiative=…)", radiative, zero="always")
        self.bimolecular = (
            None if bimolecular is None else as_field("Emission(bimolecular=…)", bimolecular, zero="always")
        )
        self.carriers = as_field("Emission(carriers=…)", carriers, zero="always")
        if isinstance(trap_yield, tuple):
            self.trap_yield = tuple(_share(y) for y in trap_yield)
        else:
            self.trap_yield = None if trap_yield is None else _share(trap_yield)

    def yields(self, species: int) -> tuple[Field, ...]:
        """y_t of each of so many species."""
        if isinstance(self.trap_yield, tuple):
            return self.trap_yield
        return (0.0 if self.trap_yield is None else self.trap_yield,) * species

    def rate(self, density: Array, square: Array | None, trapped: Array, traps: tuple[Traps, ...]) -> Array:
        """Photons per µm² and ns, from n, n² (None where no term needs it) and m, species leading; or their integrals.

        Fields may have leading axes (of times) before the grid's; `trapped` has them after that of the species.
        """

        def spread(field: Field) -> Array:
            return jnp.broadcast_to(jnp.asarray(field), density.shape)

        out = spread(self.radiative) * density
        if self.bimolecular is not None:
            assert square is not None
            out = out + spread(self.bimolecular) * (square + spread(self.carriers) * density)
        for share, held, one in zip(self.yields(len(traps)), trapped, traps, strict=True):
            shining = jnp.where(spread(one.decay) > 0, held, 0.0)  # traps that only keep may hold without end
            out = out + spread(share) * spread(one.decay) * shining
        return out


def _share(trap_yield) -> Field:
    """y_t of one species, or an `InputError`."""
    trap_yield = as_field("Emission(trap_yield=…)", trap_yield, zero="always")
    if is_concrete(trap_yield) and np.max(np.asarray(trap_yield)) > 1:
        raise InputError("Emission(trap_yield=…): a share of the trapped excitons; expected at most 1")
    return trap_yield


def check_emission(emission: Emission, annihilation: Field | None, species: int, grid: Grid) -> None:
    """Raise `InputError` where the law does not fit the film: its maps, its traps, or more light than annihilation."""
    for name in ("radiative", "bimolecular", "carriers"):
        check_map(f"Emission({name}=…)", getattr(emission, name), grid)
    if isinstance(emission.trap_yield, tuple) and len(emission.trap_yield) != species:
        raise InputError(f"Emission(trap_yield=…): {len(emission.trap_yield)} yields for {species} species of traps")
    for share in emission.yields(species):
        check_map("Emission(trap_yield=…)", share, grid)
    if emission.bimolecular is None or not is_concrete((emission.bimolecular, annihilation)):
        return
    if annihilation is None or np.any(np.asarray(emission.bimolecular) > np.asarray(annihilation)):
        raise InputError(
            "Emission(bimolecular=…): b is the radiative part of Medium(annihilation=B); expected b ≤ B everywhere"
        )
