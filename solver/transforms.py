"""Real orthonormal transforms that diagonalise the operator of a uniform medium, axis by axis.

With λ = (4D/h²) sin²(θ_k/2), cell-centred differences between two sides have the eigenvectors, i = 0 … n−1,

    closed–closed        cos(kπ(2i+1)/2n)                θ = kπ/n
    quenched–quenched    sin((k+1)π(2i+1)/2n)            θ = (k+1)π/n
    closed–quenched      cos((2k+1)π(2i+1)/4n)           θ = (k+½)π/n
    quenched–closed      sin((2k+1)π(2i+1)/4n)           θ = (k+½)π/n
    periodic             cos(2πki/n) + sin(2πki/n)       θ = 2πk/n

(the DCT-II, DST-II, DCT-IV, DST-IV and the Hartley transform; Strang, SIAM Review 41 (1999) 135). Up to 512 cells an
axis is transformed by a product with the matrix of its eigenvectors; above, closed, quenched and periodic axes go
through one complex FFT (Makhoul, IEEE Trans. ASSP 28 (1980) 27).
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.grid import Grid
from excidiff.solver.medium import Medium

LARGEST_MATRIX = 512
"""Cells of an axis up to which a matrix product is faster than an FFT."""


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
def _matrix(kind: str, count: int) -> np.ndarray:
    """Orthonormal eigenvectors as rows. Angles are reduced in integers, so they are exact at any size."""
    i, k = np.arange(count)[None, :], np.arange(count)[:, None]
    if kind == "periodic":
        angle = 2.0 * np.pi / count * (i * k % count)
        return (np.cos(angle) + np.sin(angle)) / np.sqrt(count)
    index, turn = (k, 4 * count) if kind == "closed" else (k + 1, 4 * count) if kind == "quenched" else (2 * k + 1, 0)
    if turn:
        angle = np.pi / (2.0 * count) * (index * (2 * i + 1) % turn)
    else:
        angle = np.pi / (4.0 * count) * (index * (2 * i + 1) % (8 * count))
    rows = np.sqrt(2.0 / count) * (np.sin(angle) if kind.startswith("quenched") else np.cos(angle))
    if kind == "closed":
        rows[0] = 1.0 / np.sqrt(count)
    if kind == "quenched":
        rows[-1] /= np.sqrt(2.0)
    return rows


def _uses_matrix(kind: str, count: int) -> bool:
    return count <= LARGEST_MATRIX or "-" in kind


def _forward(field: Array, kind: str) -> Array:
    """Transform along the last axis."""
    count = field.shape[-1]
    if _uses_matrix(kind, count):
        return field @ jnp.asarray(_matrix(kind, count).T, field.dtype)
    if kind == "periodic":
        return _hartley(field)
    if kind == "quenched":
        return _cosine(field * _signs(count, field.dtype))[:, ::-1]
    return _cosine(field)


def _inverse(modes: Array, kind: str) -> Array:
    count = modes.shape[-1]
    if _uses_matrix(kind, count):
        return modes @ jnp.asarray(_matrix(kind, count), modes.dtype)
    if kind == "periodic":
        return _hartley(modes)
    if kind == "quenched":
        return _cosine_inverse(modes[:, ::-1]) * _signs(count, modes.dtype)
    return _cosine_inverse(modes)


def _signs(count: int, dtype) -> Array:
    return jnp.asarray((-1.0) ** np.arange(count), dtype)[None, :]


def _hartley(field: Array) -> Array:
    spectrum = jnp.fft.fft(field, axis=-1)
    return (spectrum.real - spectrum.imag) / np.sqrt(field.shape[-1])


def _turns(count: int, dtype) -> tuple[Array, Array]:
    """Makhoul's twiddles: cos and sin of kπ/2n, scaled to an orthonormal cosine transform."""
    k = np.arange(count)
    scale = np.where(k == 0, np.sqrt(1.0 / count), np.sqrt(2.0 / count))
    cosine, sine = scale * np.cos(np.pi * k / (2 * count)), scale * np.sin(np.pi * k / (2 * count))
    return jnp.asarray(cosine, dtype)[None, :], jnp.asarray(sine, dtype)[None, :]


def _cosine(field: Array) -> Array:
    """Orthonormal DCT-II along the last axis by a real FFT of the reordered row."""
    count = field.shape[-1]
    cosine, sine = _turns(count, field.dtype)
    half = jnp.fft.rfft(jnp.concatenate([field[:, ::2], field[:, 1::2][:, ::-1]], -1), axis=-1)
    mirrored = half[:, 1 : (count + 1) // 2][:, ::-1]
    real = jnp.concatenate([half.real, mirrored.real], -1)
    imag = jnp.concatenate([half.imag, -mirrored.imag], -1)
    return cosine * real + sine * imag


def _cosine_inverse(modes: Array) -> Array:
    """Inverse of `_cosine`: the half spectrum is rebuilt and transformed back."""
    count = modes.shape[-1]
    k = np.arange(count // 2 + 1)
    scale = np.where(k == 0, np.sqrt(count), np.sqrt(count / 2.0))
    cosine = jnp.asarray(scale * np.cos(np.pi * k / (2 * count)), modes.dtype)[None, :]
    sine = jnp.asarray(scale * np.sin(np.pi * k / (2 * count)), modes.dtype)[None, :]
    head = modes[:, : count // 2 + 1]
    zero = jnp.zeros((modes.shape[0], 1), modes.dtype)
    tail = jnp.concatenate([zero, modes[:, ::-1]], -1)[:, : count // 2 + 1]
    row = jnp.fft.irfft((cosine * head + sine * tail) + 1j * (sine * head - cosine * tail), count, axis=-1)
    middle = (count + 1) // 2
    even, odd = row[:, :middle], row[:, middle:][:, ::-1]
    out = jnp.zeros_like(row)
    return out.at[:, ::2].set(even).at[:, 1::2].set(odd)
