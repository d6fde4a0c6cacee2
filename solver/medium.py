"""The film: how fast excitons move, how long they live, what pulls them where: `Medium` and `Surface`.

    ∂n/∂t = ∇·[D (∇n + n ∇U / k_B T)] + G − n/τ

Each of D, τ and U may be a number or a map of `grid.shape`. Which path a solver takes follows from that structure,
never from a value, so values may be traced and differentiated.
"""

import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, as_array, is_concrete, is_number

BOLTZMANN = 0.08617333262
"""meV/K (CODATA 2018)."""

Field = float | Float[Array, ""] | Float[Array, "rows columns"]
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
            if is_concrete(velocity) and not velocity >= 0:
                raise InputError(f"Surface({side}={velocity!r}): expected a velocity ≥ 0 in µm/ns; inf quenches fully")
        structural = {side: isinstance(v, (int, float)) and v in (0.0, np.inf) for side, v in given.items()}
        self.quenched = tuple(side for side, v in given.items() if structural[side] and v == np.inf)
        self.left, self.right, self.bottom, self.top = (None if structural[s] else v for s, v in given.items())

    @property
    def partial(self) -> dict[str, Any]:
        """Velocities of the sides that are neither closed nor perfect quenchers by structure."""
        return {side: v for side in SIDES if (v := getattr(self, side)) is not None}


class Medium(eqx.Module):
    """A film in which excitons diffuse, drift and recombine.

    `diffusivity`: µm²/ns, a number, a map, or a pair (Dx, Dy) of those; a map may be zero where nothing moves.
    A list of lists is a map, also of two rows; for a pair give a tuple.
    `lifetime`: ns, a number or a map; `inf` where nothing recombines. `landscape`: None or a map of the energy U, meV.
    `temperature`: K. `surface`: None (closed walls) or a `Surface`.

    Raises `InputError` for what is not positive, not finite, or of an unexpected shape. Traced values pass.
    """

    diffusivity: Field | tuple[Field, Field]
    lifetime: Field
    landscape: Float[Array, "rows columns"] | None
    temperature: float | Float[Array, ""]
    surface: Surface | None

    def __init__(self, diffusivity, lifetime, landscape=None, temperature=295.0, surface=None):
        if isinstance(diffusivity, list) and all(isinstance(row, (list, tuple)) for row in diffusivity):
            diffusivity = as_array("Medium(diffusivity=…)", diffusivity)  # rows of numbers: one map
        if isinstance(diffusivity, (tuple, list)):
            if len(diffusivity) != 2:
                raise InputError(f"Medium(diffusivity=…): expected a pair (Dx, Dy), got {len(diffusivity)} values")
            self.diffusivity = tuple(_field("diffusivity", d, zero="maps") for d in diffusivity)
        else:
            self.diffusivity = _field("diffusivity", diffusivity, zero="maps")
        self.lifetime = _field("lifetime", lifetime, infinite=True)
        self.landscape = None if landscape is None else _field("landscape", landscape, signed=True)
        if self.landscape is not None and np.ndim(self.landscape) != 2:
            raise InputError(
                "Medium(landscape=…): expected a map of grid.shape in meV; a constant energy moves nothing"
            )
        self.temperature = _field("temperature", temperature)
        if np.ndim(self.temperature):
            raise InputError("Medium(temperature=…): expected one number in K")
        if surface is not None and not isinstance(surface, Surface):
            raise InputError(f"Medium(surface={surface!r}): expected a Surface or None")
        self.surface = surface

    @property
    def diffusivities(self) -> tuple[Field, Field]:
        """(Dx, Dy), µm²/ns."""
        return self.diffusivity if isinstance(self.diffusivity, tuple) else (self.diffusivity, self.diffusivity)

    @property
    def uniform(self) -> bool:
        """Whether exact transforms diagonalise this medium: numbers only, and sides closed or fully quenched."""
        maps = any(np.ndim(f) for f in (*self.diffusivities, self.lifetime)) or self.landscape is not None
        return not maps and not (self.surface is not None and self.surface.partial)


def check_medium(medium: Medium, grid: Grid) -> None:
    """Raise `InputError` where the maps of `medium` do not lie on `grid`, or its landscape is out of range."""
    fields = {"lifetime": medium.lifetime, "landscape": medium.landscape}
    fields |= dict(zip(("diffusivity", "diffusivity"), medium.diffusivities, strict=True))
    fields |= {f"diffusivity[{i}]": d for i, d in enumerate(medium.diffusivities)}
    for name, field in fields.items():
        if np.ndim(field) and np.shape(field) != grid.shape:
            raise InputError(f"Medium({name}=…): a map of shape {np.shape(field)} on a grid of shape {grid.shape}")
    for side, axis in zip(SIDES, (1, 1, 0, 0), strict=True):
        open_side = medium.surface is not None and (side in medium.surface.quenched or side in medium.surface.partial)
        if open_side and grid.periodic[axis]:
            raise InputError(f"Surface({side}=…): this axis of the grid is periodic and has no sides")
    if medium.landscape is None or not is_concrete((medium.landscape, medium.temperature)):
        return
    energy = np.asarray(medium.landscape)
    span = float(energy.max() - energy.min()) / (BOLTZMANN * float(medium.temperature))
    limit = 150.0 if jnp.result_type(energy) == jnp.float32 else 1200.0
    if span > limit:
        raise InputError(
            f"Medium(landscape=…): spans {span:.0f} kT, more than {limit:.0f} kT, beyond which e^(U/2kT) overflows; "
            "is it in meV? Otherwise cap it where no exciton goes"
        )
    closed = [np.pad(energy, [(0, int(i == axis and grid.periodic[i])) for i in (0, 1)], "wrap") for axis in (0, 1)]
    steps = [np.abs(np.diff(field, axis=axis)).max(initial=0.0) for axis, field in enumerate(closed)]
    steepest = float(max(steps)) / (BOLTZMANN * float(medium.temperature))
    if steepest > 2.0:
        warnings.warn(
            f"Medium(landscape=…): steps of up to {steepest:.1f} kT between neighbouring cells; beyond 2 kT the "
            "landscape is not resolved and drift along it is uncertain: refine the grid",
            stacklevel=3,
        )


def _field(name: str, value: Any, *, zero: str = "never", infinite: bool = False, signed: bool = False) -> Any:
    """`value` as a number or a map, or an `InputError` that names it."""
    if type(value) not in (int, float):
        value = as_array(f"Medium({name}=…)", value)
    ndim = np.ndim(value)
    if ndim not in (0, 2):
        raise InputError(f"Medium({name}=…): expected a number or a map (rows, columns), got shape {np.shape(value)}")
    if not is_concrete(value):
        return value
    numbers = np.asarray(value, dtype=float)
    good = ~np.isnan(numbers) if infinite else np.isfinite(numbers)
    if not signed:
        good &= numbers >= 0 if zero == "maps" and ndim == 2 else numbers > 0
    if not good.all():
        where = "" if ndim == 0 else f" at {tuple(int(i) for i in np.argwhere(~good)[0])}"
        first = numbers if ndim == 0 else numbers[~good][0]
        expected = "finite" if signed else "positive" if not infinite else "positive (inf where nothing recombines)"
        if zero == "maps":
            expected = "≥ 0 and finite" if ndim == 2 else "positive; where nothing moves give a map, which may be zero"
        raise InputError(f"Medium({name}=…): {first}{where}; expected {expected}")
    return value


def thermal_energy(medium: Medium) -> float | Float[Array, ""]:
    """k_B T in meV."""
    return BOLTZMANN * medium.temperature


def as_map(field: Field, grid: Grid) -> Float[Array, "rows columns"]:
    """`field` spread over the grid."""
    return jnp.broadcast_to(jnp.asarray(field), grid.shape)
