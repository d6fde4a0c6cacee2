"""Emission lines integrated between the edges of wavelength bins: Gaussian, and Voigt in closed form.

A Voigt line, a Gaussian of standard deviation σ convolved with a Lorentzian of full width 2γ at half maximum, is

    V(x) = Re w(z)/(σ√(2π)),     z = (x + iγ)/(σ√2),

w the Faddeeva function. In the upper half-plane w is given, uniformly, by a rational function (Weideman, SIAM J. Numer.
Anal. 31 (1994) 1497) in Z = (l + iz)/(l − iz),

    w(z) ≈ 2 p(Z)/(l − iz)² + 1/(√π (l − iz)),

and this one, unlike w itself, has an elementary antiderivative: as dZ/dz = 2il/(l − iz)², with P′ = p and P(0) = 0,

    ∫ w dz = P(Z)/(il) + (i/√π) log(l − iz),     ∫₋∞ˣ V = ½ + Im P(Z)/(l√π) + arctan(Re z/(l + Im z))/π.

With `TERMS` coefficients of p a share is right to 1e-14 for every γ from zero on, and its derivatives by edge and γ,
which are w again, to 3e-14 of the line's peak (both in double precision).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, Float64

TERMS = 32


def line(centres: Float[Array, " K"], width: Float[Array, ""], edges: Float[Array, " colour+1"]):
    """The share (K, colour) of Gaussian lines of standard deviation `width` between neighbouring edges, all meV."""
    z = (edges[None, :] - centres[:, None]) / width
    below, above = jnp.exp(log_ndtr(z)), jnp.exp(log_ndtr(-z))
    # Φ(b) − Φ(a) on the side where both are small, so that far wings keep their digits. The choice is made once, as a
    # compiler that works out twice which side a bin about the centre is on may find one end of it on either.
    return jnp.abs(jnp.where(z[:, 1:] + z[:, :-1] > 0, jnp.diff(above, axis=1), jnp.diff(below, axis=1)))


def voigt(
    centres: Float[Array, " K"], width: Float[Array, ""], lorentzian: Float[Array, ""], edges: Float[Array, " colour+1"]
):
    """The same of Voigt lines: `width` σ of the Gaussian, `lorentzian` full width at half maximum, 0 or more; all meV.

    Differentiable forward and in reverse, to any order.
    """
    root = width * np.sqrt(2.0)
    below = _below((edges[None, :] - centres[:, None]) / root, 0.5 * lorentzian / root)
    return jnp.abs(below[:, 1:] - below[:, :-1])


@jax.custom_jvp
def _below(x, y):
    """∫₋∞ˣ of the Voigt line less a half, of z = x + iy; y ≥ 0."""
    scale, _, antiderivative = _coefficients()
    turned, _ = _turned(x, y)
    whole = jnp.polyval(antiderivative, turned) * turned
    return jnp.imag(whole) / (scale * np.sqrt(np.pi)) + jnp.arctan(x / (scale + y)) / np.pi


@_below.defjvp
def _below_slope(at, along):
    """Re(w dz)/√π: the derivative of the approximation is the rational w that it is the antiderivative of."""
    (x, y), (dx, dy) = at, along
    _, terms, _ = _coefficients()
    turned, less = _turned(x, y)
    w = 2 * jnp.polyval(terms, turned) / less**2 + 1 / (np.sqrt(np.pi) * less)
    return _below(x, y), (jnp.real(w) * dx - jnp.imag(w) * dy) / np.sqrt(np.pi)


def _turned(x, y):
    """(Z, l − iz); |Z| ≤ 1 for y ≥ 0."""
    scale, _, _ = _coefficients()
    less = jax.lax.complex(scale + y + jnp.zeros_like(x), -x)
    return jax.lax.complex(scale - y + jnp.zeros_like(x), x) / less, less


def _coefficients() -> tuple[float, Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """(l, the coefficients of p, those of P/Z), the highest power first: Weideman's, by one Fourier transform."""
    scale, half = np.sqrt(TERMS / np.sqrt(2.0)), 2 * TERMS
    t = scale * np.tan(np.arange(1 - half, half) * np.pi / (2 * half))
    values = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    terms = np.fft.fft(np.fft.fftshift(values)).real[1 : TERMS + 1] / (2 * half)
    return float(scale), terms[::-1], (terms / np.arange(1, TERMS + 1))[::-1]
