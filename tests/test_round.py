"""The image of a round field against Gaussians in closed form, quadrature, and its own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import dblquad
from scipy.special import j0

from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.prediction import gated, pixel_edges, pixel_fractions
from excidiff.inverse.fit.round import pixel_image
from excidiff.solver import InputError, Medium, Traps, round_pulse
from excidiff.solver.disc import flat_zeros

D, TAU, WIDTH, BLUR = 0.046, 5.0, 0.126, 0.076
X, Y, CENTRE = pixel_edges(40, 0.05), pixel_edges(31, 0.06), jnp.array([0.13, -0.21])


def waves(count: int = 40, radius: float = 2.5) -> tuple[jnp.ndarray, jnp.ndarray]:
    """Amplitudes of r² e^{−r²/2σ²} + e^{−r²/2σ²}, σ = 0.25: of both, e^{−k²σ²/2} times a polynomial of k²σ²."""
    z, s = flat_zeros(count), 0.25
    k2 = (z / radius * s) ** 2
    amplitudes = 2 * (s / radius) ** 2 / j0(z) ** 2 * np.exp(-k2 / 2) * (1 + s**2 * (2 - k2))
    return jnp.asarray(amplitudes), jnp.asarray(z / radius)


@pytest.mark.parametrize("blur", [0.0, BLUR])
def test_a_linear_film_gives_the_image_of_gaussians(blur: float):
    """VERIFICATION 7 through pixels: 1e-6 of the brightest, which the wall reflects."""
    medium = Medium(D, TAU)
    edges = [0.0, 0.5, 20.0]
    found = round_pulse(medium, width=WIDTH, peak=1.0, edges=edges, frames=True)
    seen = pixel_image(found.modes, found.wavenumbers, X, Y, CENTRE, blur)
    shape = jnp.log(jnp.array([D, TAU, np.hypot(WIDTH, blur)]))
    gates = jnp.array([edges[:2], edges[1:]])
    exact = 2 * np.pi * WIDTH**2 * TAU * pixel_fractions(gated(shape, gates), CENTRE, jnp.asarray(X), jnp.asarray(Y))
    assert_allclose(seen, exact, atol=1e-6 * exact.max())


def test_pixels_match_quadrature():
    """∫∫ of (1 + r²) e^{−r²/2σ²} over pixels, 1e-10 of the brightest."""
    modes, k = waves()
    seen = pixel_image(modes, k, X, Y, CENTRE, 0.0)
    assert seen.shape == (31, 40)

    def field(y, x):
        r2 = (x - 0.13) ** 2 + (y + 0.21) ** 2
        return (1 + r2) * np.exp(-r2 / (2 * 0.25**2))

    for row, column in [(15, 20), (12, 23), (8, 30), (0, 0)]:
        exact = dblquad(field, X[column], X[column + 1], Y[row], Y[row + 1], epsabs=1e-16, epsrel=1e-12)[0]
        assert_allclose(seen[row, column], exact, atol=1e-10 * seen.max())


def test_blur_is_that_of_the_film_on_a_grid():
    """A finely cut image seen through `pixel_weights` is the blurred one, to 1e-3 of the peak in cells of s/12."""
    found = round_pulse(Medium(D, TAU, traps=Traps(900.0, 1.2e-3)), width=WIDTH, peak=2500.0, edges=[0.0, 10.0])
    fine = pixel_edges(300, 0.0105)
    cells = pixel_image(found.modes, found.wavenumbers, fine, fine, jnp.zeros(2), 0.0)
    pixels = pixel_edges(10, 0.05)
    matrix = pixel_weights(jnp.asarray(fine), jnp.asarray(pixels), jnp.asarray(BLUR))
    seen = pixel_image(found.modes, found.wavenumbers, pixels, pixels, jnp.zeros(2), BLUR)
    assert_allclose(seen, matrix @ cells @ matrix.T, atol=2e-3 * seen.max())


def test_all_light_is_in_the_image_of_the_whole_square():
    found = round_pulse(Medium(D, TAU, traps=Traps(900.0, 1.2e-3)), width=WIDTH, peak=2500.0, edges=[0.0, 10.0])
    edges = pixel_edges(128, 2 * float(found.radius) / 128)
    seen = pixel_image(found.modes, found.wavenumbers, edges, edges, jnp.zeros(2), BLUR)
    assert_allclose(seen.sum(), found.free[0], rtol=1e-12)
    assert_allclose(seen, seen.T, atol=1e-12 * seen.max())


@pytest.mark.gate
def test_derivatives():
    """Forward against central differences, 1e-7, and forward against reverse; several frames under jit and vmap."""
    modes, k = waves()

    def image(numbers):
        return pixel_image(numbers[3:], k, X, Y, numbers[:2], numbers[2])

    point = jnp.concatenate([CENTRE, jnp.array([BLUR]), modes])
    rng = np.random.default_rng(5)
    tangent, weight = jnp.asarray(rng.normal(size=point.size)), jnp.asarray(rng.normal(size=(31, 40)))
    _, slope = jax.jvp(image, (point,), (tangent,))
    step = 1e-5
    difference = (image(point + step * tangent) - image(point - step * tangent)) / (2 * step)
    assert_allclose(slope, difference, atol=1e-7 * jnp.abs(slope).max())
    back = jax.vjp(image, point)[1](weight)[0]
    assert_allclose(back @ tangent, jnp.sum(weight * slope), rtol=1e-10)
    frames = jnp.stack([modes, 2 * modes])
    one = jax.jit(lambda m: pixel_image(m, k, X, Y, CENTRE, BLUR))(frames)
    other = jax.vmap(lambda m: pixel_image(m, k, X, Y, CENTRE, BLUR))(frames)
    assert_allclose(one, other, rtol=1e-9, atol=1e-15)
    assert jnp.isfinite(jax.grad(lambda b: image(point.at[2].set(b)).sum())(0.0))


def test_what_does_not_fit_is_refused():
    modes, k = waves()
    with pytest.raises(InputError, match="as many modes"):
        pixel_image(modes[1:], k, X, Y, CENTRE, BLUR)
    with pytest.raises(InputError, match="reach"):
        pixel_image(modes, k, 2 * X, 3 * Y, CENTRE, BLUR)
    with pytest.raises(InputError, match="zeros"):
        pixel_image(modes, jnp.linspace(0.0, 9.0, len(k)), X, Y, CENTRE, BLUR)
