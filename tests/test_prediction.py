"""The exact image of a uniform film against quadrature, Bessel functions, moments and its own derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf, exp1, k0

from excidiff.inverse.fit import prediction

PIXEL = 0.04


def image(length, width, *, centre=(0.0, 0.0), shape=(31, 41), pixel=(PIXEL, PIXEL)):
    """Fraction of the photons per pixel of a steady spot, (ny, nx)."""
    x, y = prediction.pixel_edges(shape[1], pixel[1]), prediction.pixel_edges(shape[0], pixel[0])
    spot = prediction.steady(jnp.log(jnp.array([length, width])), jnp.asarray(prediction.steady_nodes()))
    return prediction.pixel_fractions(spot, jnp.array(centre), jnp.asarray(x), jnp.asarray(y))[0]


@pytest.mark.parametrize(("length", "width"), [(0.48, 0.13), (1.5, 0.085), (0.05, 0.3), (8.5, 0.085)])
def test_pixels_match_quadrature(length, width):
    """VERIFICATION 1 with pixels: adaptive quadrature of e^−u P_i P_j in log u, to 1e-7 of the brightest pixel."""
    h, shift = 0.3 * width, 0.1 * width
    found = np.asarray(image(length, width, centre=(shift, 0.0), shape=(21, 21), pixel=(h, h)))
    edges = prediction.pixel_edges(21, h)

    def inside(low, high, variance):
        return 0.5 * (erf(high / np.sqrt(2 * variance)) - erf(low / np.sqrt(2 * variance)))

    for row, column in [(10, 10), (3, 5), (0, 20)]:

        def integrand(v, row=row, column=column):
            variance = width**2 + 2 * length**2 * np.exp(v)
            across = inside(edges[column] - shift, edges[column + 1] - shift, variance)
            return np.exp(v - np.exp(v)) * across * inside(edges[row], edges[row + 1], variance)

        exact = quad(integrand, -40, 4, epsabs=0, epsrel=1e-12, limit=500, points=[-20, -10, 0])[0]
        assert found[row, column] == pytest.approx(exact, abs=1e-7 * found.max())


def test_centre_of_a_fine_image_is_the_exponential_integral():
    """VERIFICATION 2: n(0) = e^a E₁(a)/(4πL²), a = s²/2L²; a pixel h averages it down by (h/s)²/12 = 8e-6."""
    length, width, pixel = 0.48, 0.13, 0.00127
    a = width**2 / (2 * length**2)
    exact = np.exp(a) * exp1(a) / (4 * np.pi * length**2)
    found = image(length, width, shape=(1, 1), pixel=(pixel, pixel))[0, 0] / pixel**2
    assert float(found) == pytest.approx(exact, rel=1e-5)


def test_far_from_the_spot_it_is_a_bessel_function():
    """VERIFICATION 3: beyond the spot K₀(r/L)/2πL², raised by e^{s²/2L²}; the pixel adds h²/24L² = 2e-6."""
    length, width, pixel, far = 0.5, 0.05, 0.0035, 2.0
    found = image(length, width, centre=(-far, 0.0), shape=(1, 1), pixel=(pixel, pixel))[0, 0] / pixel**2
    exact = k0(far / length) / (2 * np.pi * length**2) * np.exp(width**2 / (2 * length**2))
    assert float(found) == pytest.approx(exact, rel=1e-5)


def test_moments_and_photons():
    """VERIFICATION 5: all photons arrive, ⟨x²⟩ = s² + 2L² + h²/12 by pixels of unlike sides; ±30 L loses 1e-10."""
    length, width, pixel = 0.3, 0.2, (0.09, 0.06)
    found = np.asarray(image(length, width, centre=(0.21, -0.1), shape=(200, 300), pixel=pixel))
    x = (np.arange(300) - 149.5) * pixel[1] - 0.21
    y = (np.arange(200) - 99.5) * pixel[0] + 0.1
    assert found.sum() == pytest.approx(1, abs=1e-9)
    assert (found.sum(axis=0) * x**2).sum() == pytest.approx(width**2 + 2 * length**2 + pixel[1] ** 2 / 12, rel=1e-7)
    assert (found.sum(axis=1) * y**2).sum() == pytest.approx(width**2 + 2 * length**2 + pixel[0] ** 2 / 12, rel=1e-7)


def test_no_diffusion_is_the_laser():
    """At L = 1e-3 s the image is the pixel-integrated Gaussian to L²/s² = 1e-6."""
    x = jnp.asarray(prediction.pixel_edges(41, PIXEL))
    y = jnp.asarray(prediction.pixel_edges(31, PIXEL))
    laser = prediction.pixel_fractions(prediction.gaussian(jnp.log(jnp.array([0.13]))), jnp.zeros(2), x, y)[0]
    np.testing.assert_allclose(image(0.13e-3, 0.13), laser, atol=3e-6 * float(laser.max()))


def test_gates_add_up_to_the_steady_image():
    """VERIFICATION 10: gates to 12 τ sum to the steady image but for e^−12 = 6e-6 of it."""
    edges = np.concatenate([[0.0], np.geomspace(0.1, 60.0, 40)])
    gates = jnp.asarray(np.stack([edges[:-1], edges[1:]], axis=1))
    diffusivity, lifetime, width = 0.046, 5.0, 0.13
    x = jnp.asarray(prediction.pixel_edges(41, PIXEL))
    y = jnp.asarray(prediction.pixel_edges(31, PIXEL))
    spot = prediction.gated(jnp.log(jnp.array([diffusivity, lifetime, width])), gates)
    frames = prediction.pixel_fractions(spot, jnp.zeros(2), x, y)
    steady = image(np.sqrt(diffusivity * lifetime), width)
    np.testing.assert_allclose(frames.sum(axis=0), steady, atol=1e-5 * float(steady.max()))


SPOTS = [(0.13, 1e-3, 5.0), (0.13, 0.48, 5.0), (0.1, 1.5, 5.0), (0.3, 0.1, 0.2), (0.1, 3.0, 2.0), (0.1, 10.0, 500.0)]
GATES = [(0, 0.01), (0, 5), (0, 25), (2, 1000), (0, 1e4), (1e-3, 20), (20, 25), (30, 1e5)]


@pytest.mark.parametrize(("width", "length", "lifetime"), SPOTS)
def test_every_gate_matches_quadrature(width, length, lifetime):
    """VERIFICATION 7 over gates: adaptive quadrature of e^{−t/τ} P_i P_j/τ; 1e-6 of the brightest pixel of each gate.

    L from 0.01 to 100 s, gates from 0.01 ns to thousands of τ, some of them after 150 τ.
    """
    diffusivity, centres = length**2 / lifetime, np.array([0.0, width, 4 * np.hypot(width, length)])
    h = 0.3 * width
    edges = np.stack([centres - h / 2, centres + h / 2], axis=1)
    spot = prediction.gated(jnp.log(jnp.array([diffusivity, lifetime, width])), jnp.array(GATES, float))
    found = np.stack(
        [prediction.pixel_fractions(spot, jnp.zeros(2), jnp.asarray(e), jnp.asarray(edges[0]))[:, 0, 0] for e in edges]
    )

    def inside(pair, variance):
        return 0.5 * (erf(pair[1] / np.sqrt(2 * variance)) - erf(pair[0] / np.sqrt(2 * variance)))

    for k, (t0, t1) in enumerate(GATES):
        t1, unit = min(t1, t0 + 45 * lifetime), np.exp(-t0 / lifetime)
        pieces = t0 + np.concatenate([[0.0], np.geomspace(1e-4 * (t1 - t0), t1 - t0, 16)])

        def integrand(t, pair):
            variance = width**2 + 2 * diffusivity * t
            return np.exp(-(t - t0) / lifetime) / lifetime * inside(pair, variance) * inside(edges[0], variance)  # noqa: B023

        near = 1e-9 * float(found[0, k]) / unit
        exact = [
            sum(quad(integrand, a, b, (pair,), epsabs=near, epsrel=1e-9)[0] for a, b in itertools.pairwise(pieces))
            for pair in edges
        ]
        np.testing.assert_allclose(found[:, k] / unit, exact, atol=1e-6 * exact[0], err_msg=f"gate {t0}, {t1}")


def test_slopes_of_gates_match_differences():
    """Derivatives with the nodes held against central differences (h = 1e-4: h²/6 = 2e-9 of the peak, nodes moving)."""
    gates, x = jnp.array([(0.0, 2.0), (2.0, 1000.0)]), jnp.asarray(prediction.pixel_edges(9, 0.1))
    at = np.log([1.5**2 / 5, 5.0, 0.1])
    predict = jax.jit(lambda shape: prediction.pixel_fractions(prediction.gated(shape, gates), jnp.zeros(2), x, x))
    slopes = prediction.pixel_fractions_and_slopes(prediction.gated(jnp.asarray(at), gates), jnp.zeros(2), x, x)[1]
    for k, step in enumerate(1e-4 * np.eye(3)):
        differences = np.asarray(predict(jnp.asarray(at + step)) - predict(jnp.asarray(at - step))) / 2e-4
        np.testing.assert_allclose(slopes[k], differences, atol=1e-7 * float(jnp.abs(slopes).max()))


SHAPES = {
    "steady": (prediction.steady, [0.48, 0.13], prediction.steady_nodes()),
    "gated": (prediction.gated, [0.046, 5.0, 0.13], np.array([[0.0, 0.5], [0.5, 2.0]])),
    "laser": (prediction.gaussian, [0.13], np.zeros(0)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_written_out_derivatives_are_those_of_the_image(kind):
    """The slopes used by the fit against jax.jacfwd and jax.jacrev of the image, to rounding; a wrong factor fails."""
    make, values, nodes = SHAPES[kind]
    x, y = jnp.asarray(prediction.pixel_edges(9, 0.07)), jnp.asarray(prediction.pixel_edges(8, 0.05))
    count = len(values)

    def predict(parameters):
        return prediction.pixel_fractions(make(parameters[:count], jnp.asarray(nodes)), parameters[count:], x, y)

    at = jnp.concatenate([jnp.log(jnp.array(values)), jnp.array([0.03, -0.05])])

    @jax.jit
    def everything(at):
        spot = make(at[:count], jnp.asarray(nodes))
        both = prediction.pixel_fractions_and_slopes(spot, at[count:], x, y)
        return *both, predict(at), jax.jacfwd(predict)(at), jax.jacrev(predict)(at)

    fraction, slopes, image_, forward, reverse = everything(at)
    np.testing.assert_allclose(fraction, image_, rtol=1e-12)
    scale = float(jnp.abs(slopes).max())
    np.testing.assert_allclose(jnp.moveaxis(slopes, 0, -1), forward, atol=1e-13 * scale)
    np.testing.assert_allclose(jnp.moveaxis(slopes, 0, -1), reverse, atol=1e-13 * scale)


def test_taylor_remainder_of_the_image():
    """|f(θ + εd) − f(θ) − ε f′d| falls as ε² (slope 2 ± 0.02): derivatives exact, forward and second order finite."""
    x = jnp.asarray(prediction.pixel_edges(9, 0.07))
    make, values, nodes = SHAPES["steady"]

    @jax.jit
    def loss(parameters):
        f = prediction.pixel_fractions(make(parameters[:2], jnp.asarray(nodes)), parameters[2:], x, x)
        return jnp.sum(jnp.sqrt(f))

    at = jnp.concatenate([jnp.log(jnp.array(values)), jnp.array([0.03, -0.05])])
    direction = jnp.asarray(np.random.default_rng(1).standard_normal(4))
    first = jax.jit(jax.grad(loss))(at) @ direction
    steps = np.geomspace(1e-2, 1e-4, 5)
    remainder = [abs(float(loss(at + e * direction) - loss(at) - e * first)) for e in steps]
    slopes = np.diff(np.log(remainder)) / np.diff(np.log(steps))
    np.testing.assert_allclose(slopes, 2, atol=0.02)
    assert np.isfinite(np.asarray(jax.jit(jax.hessian(loss))(at))).all()
