"""Light that the film takes back on its way out: `through_film` and `along_film`.

What is absorbed again is lost; what it creates in turn, photon recycling, is left out. Absorption α(E) rises towards
high energies, so that light is the redder the longer its way:

    through the film, a way ℓ that is the same everywhere:      e(r, E) e^{−α(E) ℓ}
    along the film, guided until it is scattered out at r:      ∫ e(r′, E) e^{−α(E) d}/(2πd) dr′,  d = |r − r′|

(Beer and Lambert; the second is spreading in the plane, 1/(2πd), with the same loss. It is light per unit of length:
times the share that is scattered out per length, it is what is seen at r.)
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, as_array, is_concrete, is_number

Spectra = Float[Array, "*frames energies rows columns"]


def through_film(emission: Spectra, absorption: Float[Array, " energies"], length) -> Spectra:
    """Emission (energies before the grid's axes) after a way of `length` µm through `absorption`, 1/µm of each energy.

    Raises `InputError` for absorptions that are negative or not one for each energy.
    """
    emission, absorption = _checked("through_film", emission, absorption)
    if not is_number(length) or (is_concrete(length) and not length >= 0):
        raise InputError(f"through_film(length={length!r}): expected a length ≥ 0 in µm")
    return emission * jnp.exp(-absorption * length).reshape(_along(emission))


def along_film(emission: Spectra, absorption: Float[Array, " energies"], grid: Grid) -> Spectra:
    """Light that arrives at each cell along the film, photons per µm³ and ns where `emission` is per µm² and ns.

    Nothing comes from beyond the grid; periodic axes see all cells once, along the shorter way. 1/d is averaged over
    each cell, from ∫∫ dx dy/d = x asinh(y/|x|) + y asinh(x/|y|) between its corners, and e^{−αd} taken at its centre:
    second order in the spacing. Raises `InputError` as `through_film`.
    """
    emission, absorption = _checked("along_film", emission, absorption)
    if emission.shape[-2:] != grid.shape:
        raise InputError(f"along_film(emission=…): maps of shape {emission.shape[-2:]} on a grid of {grid.shape}")
    sizes = tuple(n if periodic else 2 * n - 1 for n, periodic in zip(grid.shape, grid.periodic, strict=True))
    a, b = (jnp.asarray(h) for h in grid.spacing)
    y, x = (h * np.fft.fftfreq(n, 1 / n) for h, n in zip((a, b), sizes, strict=True))
    distance = jnp.sqrt(y[:, None] ** 2 + x[None, :] ** 2)
    spreading = _over_cells(y, x, a, b) / (2 * np.pi)
    kernel = spreading[None] * jnp.exp(-absorption[:, None, None] * distance[None])
    spectrum = jnp.fft.rfft2(kernel).reshape(*(1,) * (emission.ndim - 3), len(absorption), sizes[0], -1)
    found = jnp.fft.irfft2(jnp.fft.rfft2(emission, s=sizes) * spectrum, s=sizes)
    return found[..., : grid.shape[0], : grid.shape[1]]


def _over_cells(y: Array, x: Array, a, b) -> Array:
    """∫∫ dx dy/d over the cells a × b around each of `y` and `x`; no corner has a coordinate of zero."""
    above, beyond = (y + a / 2)[:, None], (x + b / 2)[None, :]
    below, before = (y - a / 2)[:, None], (x - b / 2)[None, :]

    def corner(y, x):
        return x * jnp.arcsinh(y / jnp.abs(x)) + y * jnp.arcsinh(x / jnp.abs(y))

    return corner(above, beyond) - corner(below, beyond) - corner(above, before) + corner(below, before)


def _checked(name: str, emission, absorption) -> tuple[Array, Array]:
    emission, absorption = as_array(f"{name}(emission=…)", emission), as_array(f"{name}(absorption=…)", absorption)
    if emission.ndim < 3 or absorption.shape != (emission.shape[-3],):
        raise InputError(
            f"{name}: emission of shape {emission.shape}, absorption of shape {absorption.shape}; expected an axis of "
            "energies before the grid's two, and one absorption for each"
        )
    if is_concrete(absorption) and not (np.asarray(absorption) >= 0).all():
        raise InputError(f"{name}(absorption=…): expected values ≥ 0 in 1/µm")
    return emission, absorption


def _along(emission: Array) -> tuple[int, ...]:
    return (*(1,) * (emission.ndim - 3), emission.shape[-3], 1, 1)
