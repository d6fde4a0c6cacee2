"""A property of the film: one number, or a map of the grid's shape."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, as_array, is_concrete

Field = float | Float[Array, ""] | Float[Array, "rows columns"]


def as_field(name: str, value: Any, *, zero: str = "never", infinite: bool = False, signed: bool = False) -> Any:
    """`value` as a number or a map, or an `InputError` that begins with `name`.

    Positive and finite, unless `infinite` or `signed` allow more; `zero` is allowed "never", in "maps" or "always".
    """
    if type(value) not in (int, float):
        value = as_array(name, value)
    ndim = np.ndim(value)
    if ndim not in (0, 2):
        raise InputError(f"{name}: expected a number or a map (rows, columns), got shape {np.shape(value)}")
    if not is_concrete(value):
        return value
    low, high = extent(value)
    above = signed or low > 0 or (low == 0 and (zero == "always" or (zero == "maps" and ndim == 2)))
    if above and low > -np.inf and (high < np.inf or (infinite and high == np.inf)):
        return value  # the usual case, seen where the map lies
    numbers = np.asarray(value, dtype=float)
    good = ~np.isnan(numbers) if infinite else np.isfinite(numbers)
    if not signed:
        good &= numbers >= 0 if zero == "always" or (zero == "maps" and ndim == 2) else numbers > 0
    if not good.all():
        where = "" if ndim == 0 else f" at {tuple(int(i) for i in np.argwhere(~good)[0])}"
        first = numbers if ndim == 0 else numbers[~good][0]
        expected = "finite" if signed else "positive" if not infinite else "positive (inf where nothing is lost)"
        if zero == "maps":
            expected = "≥ 0 and finite" if ndim == 2 else "positive; where nothing moves give a map, which may be zero"
        elif zero == "always":
            expected = "≥ 0 and finite"
        raise InputError(f"{name}: {first}{where}; expected {expected}")
    return value


def extent(values: Any) -> tuple[float, float]:
    """The smallest and the largest of concrete values, NaN where one is; of a map found on its own device."""
    if not isinstance(values, jax.Array) or not values.size:
        numbers = np.asarray(values, dtype=float)
        return (float(numbers.min()), float(numbers.max())) if numbers.size else (np.nan, np.nan)
    with jax.ensure_compile_time_eval():  # also of a concrete map inside a program
        low, high = np.asarray(_extent(values))
    return float(low), float(high)


@jax.jit
def _extent(values: Array) -> Array:
    return jnp.stack([jnp.min(values), jnp.max(values)])


def as_number(name: str, value: Any, *, zero: str = "never") -> Any:
    """`value` as one positive number (or zero, where `zero` is "always"), or an `InputError`."""
    value = as_field(name, value, zero=zero)
    if np.ndim(value):
        raise InputError(f"{name}: expected one number, got a map")
    return value


def check_map(name: str, field: Field | None, grid: Grid) -> None:
    """Raise `InputError` where `field` is a map of another shape than the grid's."""
    if field is not None and np.ndim(field) and np.shape(field) != grid.shape:
        raise InputError(f"{name}: a map of shape {np.shape(field)} on a grid of shape {grid.shape}")


def as_map(field: Field, grid: Grid) -> Float[Array, "rows columns"]:
    """`field` spread over the grid."""
    return jnp.broadcast_to(jnp.asarray(field), grid.shape)
