"""What a camera sees of a round field: of waves J₀(k r), blurred by a Gaussian and integrated over the pixels, exactly.

The field f = Σ c_i J₀(k_i r) fills a disc of radius R, and nothing is beyond. In the square about the disc it is

    f(x, y) = Σ_ab F_ab cos(a π x/R) cos(b π y/R),     F_ab = (ε_a ε_b/4R²) 2π ∫₀^R f J₀(κ r/R) r dr,     ε = 1, 2, 2, …

with κ = π √(a² + b²), by Lommel's integral, since the z_i = k_i R are zeros of J₁,

    F_ab = ε_a ε_b (π/2) Σ_i c_i κ J₁(κ) J₀(z_i)/(κ² − z_i²)

Each term is a product of a row and a column, and remains one behind the optics: a blur of standard deviation σ takes
e^{−k²σ²/2} of a cosine and a pixel of width w turns cos(k x) into w sinc(k w/2) cos(k x) at its middle. An image costs
the products (ny × M)(M × M)(M × nx), M the number of waves; there is no grid.
"""

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from excidiff.solver.disc import bessel, flat_zeros
from excidiff.solver.solution import InputError, is_concrete

ROUNDING = 1e-6
CLOSE = 1e-4


def pixel_image(
    modes: Float[Array, "*frames modes"],
    wavenumbers: Float[Array, " modes"],
    x_edges: Float[Array, " nx+1"],
    y_edges: Float[Array, " ny+1"],
    centre: Float[Array, "2"],
    blur: Any,
) -> Float[Array, "*frames ny nx"]:
    """∫ over every pixel of Σ c_i J₀(k_i r), blurred; `modes` c_i per µm² and `wavenumbers` k_i as of `round_pulse`.

    `x_edges`, `y_edges` of the pixels, `centre` (x, y) of the field and `blur`, the standard deviation of the optics,
    in µm. Differentiable in all of them. Pixels must lie in the square about the disc, whose radius `wavenumbers`
    tell: raises `InputError` for those beyond, and for wavenumbers of no disc; traced values are not looked at.
    """
    _check(modes, wavenumbers, x_edges, y_edges, centre)
    return cell_image(modes, wavenumbers, (x_edges[:-1], x_edges[1:]), (y_edges[:-1], y_edges[1:]), centre, blur)


def cell_image(
    modes: Float[Array, "*frames modes"], wavenumbers: Float[Array, " modes"], x_sides, y_sides, centre, blur
):
    """The same over cells (y, x) that need not touch; `x_sides`, `y_sides`: where they begin and end, µm."""
    count = len(wavenumbers)
    into, where = _cosines(count)
    field = jnp.einsum("...m,pm->...p", modes, jnp.asarray(into, modes.dtype))[..., where]
    waves = jnp.asarray(np.pi * np.arange(count) / flat_zeros(count)[-1], wavenumbers.dtype) * wavenumbers[-1]
    rows = _profile(waves, y_sides[0] - centre[1], y_sides[1] - centre[1], blur)
    columns = _profile(waves, x_sides[0] - centre[0], x_sides[1] - centre[0], blur)
    return jnp.einsum("by,...bx->...yx", rows, jnp.einsum("...ba,ax->...bx", field, columns))


def _profile(waves: Float[Array, " waves"], low, high, blur) -> Float[Array, "waves n"]:
    """∫ cos(k x) dx, blurred, over every cell of one axis."""
    middle, size = (low + high) / 2, high - low
    kept = jnp.exp(-0.5 * (waves * blur) ** 2)
    pixels = size[None, :] * jnp.sinc(waves[:, None] * (size / (2 * np.pi))[None, :])
    return kept[:, None] * pixels * jnp.cos(waves[:, None] * middle[None, :])


@lru_cache(maxsize=8)
def _cosines(count: int) -> tuple[Float64[np.ndarray, "pairs modes"], Int[np.ndarray, "modes modes"]]:
    """From c to F: of each pair a ≤ b with κ within the waves, and where in that list the pair (a, b) is.

    The last in the list is zero: the pairs beyond.
    """
    z = flat_zeros(count)
    a, b = np.triu_indices(count)
    within = np.pi * np.hypot(a, b) <= np.pi * (count - 1)
    a, b = a[within], b[within]
    kappa = np.pi * np.hypot(a, b)
    apart = kappa[:, None] - z[None, :]
    near = np.abs(apart) < CLOSE
    # J₁(κ) = J₀(z)(κ − z) − … near a zero z of it; at κ = 0 only the even field has a mean, J₁(κ)/κ → 1/2
    quotient = bessel(1, kappa)[:, None] / np.where(near, 1.0, apart)
    closely = bessel(0, z)[None, :] * (1 - apart / (2 * np.maximum(z, 1.0))[None, :])
    into = kappa[:, None] * bessel(0, z)[None, :] * np.where(near, closely, quotient)
    into = into / np.maximum(kappa[:, None] + z[None, :], 1e-300)
    into[0] = np.where(z == 0, 0.5, 0.0)
    into *= (np.pi / 2 * np.where(a > 0, 2, 1) * np.where(b > 0, 2, 1))[:, None]
    where = np.full((count, count), a.size)
    where[a, b] = where[b, a] = np.arange(a.size)
    return np.concatenate([into, np.zeros((1, count))]), where


def _check(modes, wavenumbers, x_edges, y_edges, centre) -> None:
    if np.ndim(wavenumbers) != 1 or np.shape(modes)[-1:] != np.shape(wavenumbers):
        raise InputError(
            f"pixel_image: modes of shape {np.shape(modes)} and wavenumbers of shape {np.shape(wavenumbers)}; "
            "expected as many modes, along the last axis, as wavenumbers"
        )
    if not is_concrete(wavenumbers):
        return
    zeros, k = flat_zeros(len(wavenumbers)), np.asarray(wavenumbers, float)
    wall = zeros[-1] / k[-1]
    if np.abs(k * wall - zeros).max() > CLOSE * zeros[-1]:
        raise InputError(
            "pixel_image(wavenumbers=…): expected those of round_pulse, zeros of J₁ over the disc's radius"
        )
    if not is_concrete((x_edges, y_edges, centre)):
        return
    middle = np.asarray(centre, float)
    reach = max(float(np.abs(np.asarray(e, float) - c).max()) for e, c in zip((x_edges, y_edges), middle, strict=True))
    if reach > wall * (1 + ROUNDING):
        raise InputError(
            f"pixel_image: pixels reach {reach:.3g} µm from the centre, the waves hold up to {wall:.3g} µm; "
            "give round_pulse(reach=…) as much"
        )
