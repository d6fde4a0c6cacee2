"""Light taken back on its way out: the filter, and the kernel along the film against its integrals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from excidiff.solver import Grid, InputError, along_film, gaussian_spot, through_film

ABSORPTION = jnp.array([0.0, 0.5, 3.0])


def test_a_way_through_the_film():
    light = jnp.ones((2, 3, 4, 5))
    assert_allclose(through_film(light, ABSORPTION, 0.7)[1, :, 2, 2], np.exp(-0.7 * ABSORPTION))


@pytest.mark.parametrize("n", [65, 129])
def test_a_point_spreads_as_the_kernel(n: int):
    """All light in one cell: e^{−αd}/(2πd), whose average over a cell differs by (h/d)²/24; in it 0.561 h."""
    grid = Grid((n, n), 4.0 / n)
    h = float(grid.spacing[0])
    light = jnp.zeros((3, n, n)).at[:, n // 2, n // 2].set(1 / h**2)
    found = along_film(light, ABSORPTION, grid)
    d = np.hypot(*np.meshgrid(grid.x, grid.y))
    away = d > 10 * h
    for alpha, arrived in zip(ABSORPTION, found, strict=True):
        assert_allclose(arrived[away], np.exp(-alpha * d[away]) / (2 * np.pi * d[away]), rtol=1 / 2400)
        assert_allclose(arrived[n // 2, n // 2] * h**2, 2 * np.log(1 + np.sqrt(2)) / np.pi * h, rtol=1e-9)


def test_order_of_a_spot():
    """In the middle of a Gaussian spot without absorption ∫ G/(2πd) = 1/(s √(8π)): order 2, from h = s/4 on."""
    s, errors = 0.3, []
    for n in (65, 129, 257):
        grid = Grid((n, n), 16 * s / n)
        light = gaussian_spot(grid, fwhm=2.354820045 * s)[None]
        errors.append(abs(along_film(light, jnp.zeros(1), grid)[0, n // 2, n // 2] * s * np.sqrt(8 * np.pi) - 1))
    assert_allclose(np.log(errors[1] / errors[2]) / np.log(257 / 129), 2.0, atol=0.05)


def test_periodic_axes_and_rectangles():
    """A uniform film round a periodic axis is uniform along it; frames lead."""
    grid = Grid((6, 5), (0.1, 0.2), periodic=(True, False))
    light = jnp.ones((2, 3, 6, 5))
    found = along_film(light, ABSORPTION, grid)
    assert_allclose(found, found[:, :, :1] * np.ones((1, 1, 6, 1)))
    assert_allclose(found[0], found[1])
    assert (found[0, 0] > found[0, 1]).all()


def test_derivatives():
    """Linear in the light, and smooth in α: forward against reverse and differences (error ε² = 1e-10)."""
    grid = Grid((4, 5), 0.2)
    light = jnp.asarray(np.random.default_rng(1).random((3, 4, 5)))

    def loss(alpha):
        return jnp.sum(along_film(light, alpha, grid) ** 2) + jnp.sum(through_film(light, alpha, 0.4) ** 3)

    slope = jax.grad(loss)(ABSORPTION + 0.1)
    assert_allclose(jax.jacfwd(loss)(ABSORPTION + 0.1), slope, rtol=1e-12)
    step = jnp.array([0.0, 1e-5, 0.0])
    assert_allclose((loss(ABSORPTION + 0.1 + step) - loss(ABSORPTION + 0.1 - step)) / 2e-5, slope[1], rtol=1e-8)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda g: through_film(jnp.ones((3, 4, 5)), ABSORPTION[:2], 1.0), "one absorption for each"),
        (lambda g: through_film(jnp.ones((3, 4, 5)), ABSORPTION, -1.0), "length"),
        (lambda g: along_film(jnp.ones((3, 4, 6)), ABSORPTION, g), "emission"),
        (lambda g: along_film(jnp.ones((3, 4, 5)), -ABSORPTION, g), "≥ 0"),
    ],
)
def test_bad_input_is_refused(call, says: str):
    with pytest.raises(InputError, match=says):
        call(Grid((4, 5), 0.1))
