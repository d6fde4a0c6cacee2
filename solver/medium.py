"""The film: how fast excitons move, how long they live, what pulls and what takes them: `Medium` and `Surface`.

    ∂n/∂t = ∇·[D (∇n + n ∇U / k_B T)] + G − n/τ − Σ [k_t (N_t − m) n − k_d m] − B n² − C n³
    ∂m/∂t = k_t (N_t − m) n − k_d m − m/τ_t                                   for each species of traps

B counts excitons lost: a published ½γn² means B = γ/2. Each property may be a number or a map of `grid.shape`. Which
path a solver takes follows from that structure, never from a value, so values may be traced and differentiated:
`annihilation=None` is a linear film, `annihilation=0.0` one whose annihilation happens to be none.
"""

import warnings
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.disorder import Disorder
from excidiff.solver.emission import Emission, check_emission
from excidiff.solver.field import Field, as_field, as_number, check_map, extent
from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, as_array, is_concrete, is_number
from excidiff.solver.traps import Traps, check_traps

BOLTZMANN = 0.08617333262
"""meV/K (CODATA 2018)."""

SIDES = ("left", "right", "bottom", "top")


class Surface(eqx.Module):
    """Surface recombination velocity S of each side of the film, µm/ns (left: lowest x, bottom: lowest y).

    Zero is a closed wall and infinity a perfect quencher. Given as Python numbers these two are part of the
    structure, and exact transforms serve them; any other value, or an array, goes through the general solver. What
    crosses a side is n/(1/S + h/2D) per length, h the spacing and D the diffusivity of the last cell.

    Raises `InputError` for a velocity that is negative or not a number.
    """

    left: Any
    right: Any
    bottom: Any
    top: Any
    quenched: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, left=0.0, right=0.0, bottom=0.0, top=0.0):
        given = dict(zip(SIDES, (left, right, bottom, top), strict=True))
        for side, velocity in given.items():
            if not is_number(velocity):
                raise InputError(f"Surface({side}=…): expected one number per side, got {velocity!r:.60}")
            if is_concrete(velocity) and not float(velocity) >= 0:
                raise InputError(f"Surface({side}={velocity!r}): expected a velocity ≥ 0 in µm/ns; inf quenches fully")
        structural = {side: isinstance(v, (int, float)) and v in (0.0, np.inf) for side, v in given.items()}
        self.quenched = tuple(side for side, v in given.items() if structural[side] and v == np.inf)
        self.left, self.right, self.bottom, self.top = (None if structural[s] else v for s, v in given.items())

    @property
    def partial(self) -> dict[str, Any]:
        """Velocities of the sides that are neither closed nor perfect quenchers by structure."""
        return {side: v for side in SIDES if (v := getattr(self, side)) is not None}


class Medium(eqx.Module):
    """A film in which excitons diffuse, drift, recombine, annihilate and are trapped.

    `diffusivity`: µm²/ns, a number, a map, or a pair (Dx, Dy) of those; a map may be zero where nothing moves.
    A list of lists is a map, also of two rows; for a pair give a tuple.
    `lifetime`: ns, a number or a map; `inf` where nothing recombines. `landscape`: None or a map of the energy U, meV.
    `temperature`: K. `surface`: None (closed walls) or a `Surface`. `annihilation` B: µm²/ns. `auger` C: µm⁴/ns.
    `traps`: None, `Traps`, or a tuple of species. `disorder`: None or a `Disorder` of the site energies. `emission`:
    None, or the law by which solutions of this film get their `.emission`.

    Raises `InputError` for what is not positive, not finite, or of an unexpected shape. Traced values pass.
    """

    diffusivity: Field | tuple[Field, Field]
    lifetime: Field
    landscape: Float[Array, "rows columns"] | None
    temperature: float | Float[Array, ""]
    surface: Surface | None
    annihilation: Field | None
    auger: Field | None
    traps: tuple[Traps, ...]
    disorder: Disorder | None
    emission: Emission | None

    def __init__(
        self,
        diffusivity,
        lifetime,
        landscape=None,
        temperature: Any = 295.0,
        surface=None,
        *,
        annihilation=None,
        auger=None,
        traps=None,
        disorder=None,
        emission=None,
    ):
        if isinstance(diffusivity, list) and all(isinstance(row, (list, tuple)) for row in diffusivity):
            diffusivity = as_array("Medium(diffusivity=…)", diffusivity)  # rows of numbers: one map
        if isinstance(diffusivity, (tuple, list)):
            if len(diffusivity) != 2:
                raise InputError(f"Medium(diffusivity=…): expected a pair (Dx, Dy), got {len(diffusivity)} values")
            self.diffusivity = tuple(as_field("Medium(diffusivity=…)", d, zero="maps") for d in diffusivity)
        else:
            self.diffusivity = as_field("Medium(diffusivity=…)", diffusivity, zero="maps")
        self.lifetime = as_field("Medium(lifetime=…)", lifetime, infinite=True)
        self.landscape = None if landscape is None else as_field("Medium(landscape=…)", landscape, signed=True)
        if self.landscape is not None and np.ndim(self.landscape) != 2:
            raise InputError(
                "Medium(landscape=…): expected a map of grid.shape in meV; a constant energy moves nothing"
            )
        self.temperature = as_number("Medium(temperature=…)", temperature)
        if surface is not None and not isinstance(surface, Surface):
            raise InputError(f"Medium(surface={surface!r}): expected a Surface or None")
        self.surface = surface
        losses = {"annihilation": annihilation, "auger": auger}
        self.annihilation, self.auger = (
            None if value is None else as_field(f"Medium({name}=…)", value, zero="always")
            for name, value in losses.items()
        )
        self.traps = () if traps is None else tuple(traps) if isinstance(traps, (tuple, list)) else (traps,)
        if not all(isinstance(species, Traps) for species in self.traps):
            raise InputError(f"Medium(traps={traps!r:.60}): expected Traps, a tuple of them, or None")
        if disorder is not None and not isinstance(disorder, Disorder):
            raise InputError(f"Medium(disorder={disorder!r:.60}): expected a Disorder or None")
        if emission is not None and not isinstance(emission, Emission):
            raise InputError(f"Medium(emission={emission!r:.60}): expected an Emission or None")
        self.disorder, self.emission = disorder, emission

    @property
    def diffusivities(self) -> tuple[Field, Field]:
        """(Dx, Dy), µm²/ns."""
        return self.diffusivity if isinstance(self.diffusivity, tuple) else (self.diffusivity, self.diffusivity)

    @property
    def linear(self) -> bool:
        """Whether the density is proportional to the light: nothing annihilates and no trap can fill."""
        return self.annihilation is None and self.auger is None and not any(species.fills for species in self.traps)

    @property
    def uniform(self) -> bool:
        """Whether exact transforms diagonalise n: linear, numbers only, sides closed or fully quenched, D for all."""
        fields = (*self.diffusivities, *jax.tree.leaves((self.lifetime, self.traps)))
        maps = any(np.ndim(f) for f in fields) or self.landscape is not None
        slowed = self.disorder is not None and self.disorder.mobility != "constant"
        return self.linear and not maps and not slowed and not (self.surface is not None and self.surface.partial)


def check_medium(medium: Medium, grid: Grid) -> None:
    """Raise `InputError` where the maps of `medium` do not lie on `grid`, or its landscape is out of range."""
    for name in ("lifetime", "landscape", "annihilation", "auger"):
        check_map(f"Medium({name}=…)", getattr(medium, name), grid)
    for i, d in enumerate(medium.diffusivities):
        part = f"[{i}]" if isinstance(medium.diffusivity, tuple) else ""
        check_map(f"Medium(diffusivity{part}=…)", d, grid)
    check_traps(medium.traps, grid)
    if medium.emission is not None:
        check_emission(medium.emission, medium.annihilation, len(medium.traps), grid)
    for side, axis in zip(SIDES, (1, 1, 0, 0), strict=True):
        open_side = medium.surface is not None and (side in medium.surface.quenched or side in medium.surface.partial)
        if open_side and grid.periodic[axis]:
            raise InputError(f"Surface({side}=…): this axis of the grid is periodic and has no sides")
    if medium.landscape is None or not is_concrete((medium.landscape, medium.temperature)):
        return
    low, high = extent(medium.landscape)
    span = (high - low) / (BOLTZMANN * float(medium.temperature))
    limit = 150.0 if jnp.result_type(medium.landscape) == jnp.float32 else 1200.0
    if span > limit:
        raise InputError(
            f"Medium(landscape=…): spans {span:.0f} kT, more than {limit:.0f} kT, beyond which e^(U/2kT) overflows; "
            "is it in meV? Otherwise cap it where no exciton goes"
        )
    with jax.ensure_compile_time_eval():
        steepest = float(_highest_step(jnp.asarray(medium.landscape), grid.periodic))
    steepest /= BOLTZMANN * float(medium.temperature)
    if steepest > 2.0:
        warnings.warn(
            f"Medium(landscape=…): steps of up to {steepest:.1f} kT between neighbouring cells; beyond 2 kT the "
            "landscape is not resolved and drift along it is uncertain: refine the grid",
            stacklevel=3,
        )


@partial(jax.jit, static_argnames="periodic")
def _highest_step(energy: Float[Array, "rows columns"], periodic: tuple[bool, bool]) -> Float[Array, ""]:
    """The largest difference between neighbouring cells."""
    steps = [jnp.abs(jnp.diff(energy, axis=axis)).max(initial=0.0) for axis in (0, 1)]
    steps += [
        jnp.abs(jnp.take(energy, 0, axis) - jnp.take(energy, -1, axis)).max() for axis in (0, 1) if periodic[axis]
    ]
    return jnp.max(jnp.stack(steps))


def thermal_energy(medium: Medium) -> float | Float[Array, ""]:
    """k_B T in meV."""
    return BOLTZMANN * medium.temperature
