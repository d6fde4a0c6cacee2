"""Real orthonormal transforms that diagonalise the operator of a uniform medium, axis by axis.

With λ = (4D/h²) sin²(θ_k/2), cell-centred differences between two sides have the eigenvectors, i = 0 … n−1,

    closed–closed        cos(kπ(2i+1)/2n)                θ = kπ/n
    quenched–quenched    sin((k+1)π(2i+1)/2n)            θ = (k+1)π/n
    closed–quenched      cos((2k+1)π(2i+1)/4n)           θ = (k+½)π/n
    quenched–closed      sin((2k+1)π(2i+1)/4n)           θ = (k+½)π/n
    periodic             cos(2πki/n) + sin(2πki/n)       θ = 2πk/n

(the DCT-II, DST-II, DCT-IV, DST-IV and the Hartley transform; Strang, SIAM Review 41 (1999) 135). The first two go
through a real FFT of the row and its mirror image, the last through a complex one; the two mixed ones, which are
rare, are products with the matrix of eigenvectors.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium


def axis_kinds(medium: Medium, grid: Grid) -> tuple[str, str]:
    """How the (y, x) axes of a uniform medium end: closed, quenched, closed-quenched, quenched-closed, periodic."""
    quenched = medium.surface.quenched if medium.surface is not None else ()

    def kind(periodic: bool, first: str, last: str) -> str:
        if periodic:
            return "periodic"
        ends = ["quenched" if side in quenched else "closed" for side in (first, last)]
        return ends[0] if ends[0] == ends[1] else "-".join(ends)

    return kind(grid.periodic[0], "bottom", "top"), kind(grid.periodic[1], "left", "right")


def eigenvalues(medium: Medium, grid: Grid) -> Float[Array, "rows columns"]:
    """Decay rate of each mode, 1/ns: 1/τ + (4D/h²) sin²(θ/2) summed over the axes."""
    rates = []
    for kind, count, h, d in zip(
        axis_kinds(medium, grid), grid.shape, grid.spacing, medium.diffusivities[::-1], strict=True
    ):
        h, d = jnp.asarray(h), jnp.asarray(d)
        rates.append(d / h**2 * jnp.asarray(4.0 * np.sin(_angles(kind, count) / 2.0) ** 2, d.dtype))
    return 1.0 / jnp.asarray(medium.lifetime) + rates[0][:, None] + rates[1][None, :]


def to_modes(field: Float[Array, "rows columns"], kinds: tuple[str, str]) -> Float[Array, "rows columns"]:
    """Coefficients of `field` in the eigenvectors of both axes."""
    return _forward(_forward(field, kinds[1]).T, kinds[0]).T


def from_modes(modes: Float[Array, "rows columns"], kinds: tuple[str, str]) -> Float[Array, "rows columns"]:
    """The field with these coefficients; the inverse and the transpose of `to_modes`."""
    return _inverse(_inverse(modes, kinds[1]).T, kinds[0]).T


def _angles(kind: str, count: int) -> np.ndarray:
    k = np.arange(count)
    if kind == "periodic":
        return 2.0 * np.pi * k / count
    return np.pi / count * (k + {"closed": 0.0, "quenched": 1.0}.get(kind, 0.5))


@lru_cache(maxsize=16)
def _mixed(kind: str, count: int) -> np.ndarray:
    """Orthonormal eigenvectors, as rows, between one closed and one quenched side; angles are reduced in integers."""
    odd = 2 * np.arange(count) + 1
    angle = np.pi / (4.0 * count) * (np.outer(odd, odd) % (8 * count))
    return np.sqrt(2.0 / count) * (np.sin(angle) if kind == "quenched-closed" else np.cos(angle))


def _forward(field: Array, kind: str) -> Array:
    """Transform along the last axis."""
    if kind == "closed":
        return _cosine(field)
    if kind == "quenched":
        return _cosine(field * _signs(field))[:, ::-1]
    if kind == "periodic":
        return _hartley(field)
    return field @ jnp.asarray(_mixed(kind, field.shape[-1]).T, field.dtype)


def _inverse(modes: Array, kind: str) -> Array:
    if kind == "closed":
        return _cosine_inverse(modes)
    if kind == "quenched":
        return _cosine_inverse(modes[:, ::-1]) * _signs(modes)
    if kind == "periodic":
        return _hartley(modes)
    return modes @ jnp.asarray(_mixed(kind, modes.shape[-1]), modes.dtype)


def _signs(field: Array) -> Array:
    return jnp.asarray((-1.0) ** np.arange(field.shape[-1]), field.dtype)[None, :]


def _hartley(field: Array) -> Array:
    spectrum = jnp.fft.fft(field, axis=-1)
    return (spectrum.real - spectrum.imag) / np.sqrt(field.shape[-1])


def _cosine(field: Array) -> Array:
    """Orthonormal DCT-II along the last axis: Re(e^{−iπk/2n} F_k), F the spectrum of the row and its mirror image."""
    count = field.shape[-1]
    k = np.arange(count)
    scale = np.where(k == 0, 0.5, np.sqrt(0.5)) / np.sqrt(count)
    cosine, sine = (jnp.asarray(scale * f(np.pi * k / (2 * count)), field.dtype)[None, :] for f in (np.cos, np.sin))
    spectrum = jnp.fft.rfft(jnp.concatenate([field, field[:, ::-1]], -1), axis=-1)[:, :count]
    return cosine * spectrum.real + sine * spectrum.imag


def _cosine_inverse(modes: Array) -> Array:
    """Inverse of `_cosine`: the spectrum of the row and its mirror image is rebuilt, and half of what it gives kept."""
    count = modes.shape[-1]
    k = np.arange(count)
    scale = np.where(k == 0, 2.0, np.sqrt(2.0)) * np.sqrt(count)
    cosine, sine = (jnp.asarray(scale * f(np.pi * k / (2 * count)), modes.dtype)[None, :] for f in (np.cos, np.sin))
    spectrum = jnp.pad(lax.complex(cosine * modes, sine * modes), ((0, 0), (0, 1)))
    return jnp.fft.irfft(spectrum, 2 * count, axis=-1)[:, :count]
