"""Maps of a film's loss from many spots: the model and its derivatives, the prior, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.ratemap import (
    LIFETIME,
    TRAPPING,
    Edges,
    Film,
    Problem,
    adjoint,
    extra_loss,
    field_of,
    linearised,
    reference,
    solve,
)
from excidiff.inverse.fit.smoothing import cost, optimum, spread
from excidiff.inverse.maps import measure_rate_map
from excidiff.solver.solution import InputError

PITCH, COUNT = 0.12, 9
EDGES = Edges(*(np.asarray(pixel_edges(COUNT, PITCH)) for _ in range(4)))
FILM = Film(0.04, 4.0, 0.12, 0.08, 5e3, np.array([[0.0, 0.1], [0.3, -0.25], [-0.35, 0.2]]))


def bumpy(seed=3):
    """A field v that varies from cell to cell."""
    return 0.4 + 0.5 * np.random.default_rng(seed).standard_normal(COUNT * COUNT)


def problem(background=0.3, seed=5):
    """Poisson counts of a bumpy film."""
    empty = Problem.make(TRAPPING, FILM, EDGES, Counts(*(np.ones(1),) * 5), 0.1)
    x = np.append(bumpy(), background)
    images = np.asarray(empty.state(jnp.asarray(x)).images) + background
    counts = np.random.default_rng(seed).poisson(images).astype(float)
    ones = np.ones_like(counts)
    return empty._replace(counts=Counts(counts, ones, ones, 0 * ones, np.asarray(1.0))), jnp.asarray(x)


def test_the_even_film_does_not_know_its_cells():
    """A constant map on a film that loses as much gives its images to rounding, 1e-9.

    On another film, over cells that reach 4 L beyond the images, what n varies within a cell remains: 0.5 % of the peak
    where the map differs by twice the loss.
    """
    two = [reference(FILM, EDGES, jnp.asarray(away)) for away in (0.1, 0.6)]
    far = Edges(EDGES.pixel_y, EDGES.pixel_x, *(np.asarray(pixel_edges(35, PITCH)),) * 2)
    wide = reference(FILM, far, jnp.asarray(0.1))
    found = solve(wide, jnp.full(35 * 35, 0.6)).images
    np.testing.assert_allclose(found, two[1].images, atol=8e-3 * float(two[1].images.max()))
    np.testing.assert_allclose(solve(two[1], jnp.full(COUNT * COUNT, 0.6)).images, two[1].images, rtol=1e-9)


def test_adjoint_is_the_transpose():
    """⟨J δk, r⟩ = ⟨δk, Jᵀ r⟩ to 1e-10 of the product of their lengths, and J the derivative of the images (1e-7)."""
    random = np.random.default_rng(1)
    here, _ = problem()
    extra = here.extra(jnp.asarray(bumpy()))
    state = solve(here.reference, extra)
    change, photons = (jnp.asarray(random.standard_normal(n)) for n in (extra.shape, state.images.shape))
    answer = linearised(here.reference, state, change)
    left, right = float(jnp.sum(answer * photons)), float(change @ adjoint(here.reference, state, photons))
    assert abs(left - right) < 1e-10 * float(jnp.linalg.norm(answer) * jnp.linalg.norm(photons))
    step = 1e-5
    away = [solve(here.reference, extra + sign * step * change).images for sign in (1, -1)]
    np.testing.assert_allclose((away[0] - away[1]) / (2 * step), answer, atol=1e-7 * float(jnp.abs(answer).max()))


def test_kinds_say_the_same_of_the_loss():
    """A shorter lifetime, or traps beside a longer one: 1/τ(r) = 1/τ + k(r)."""
    v = jnp.linspace(-1.0, 3.0, 12).reshape(3, 4)
    shorter, trapped = LIFETIME.value(v, FILM), TRAPPING.value(v, FILM)
    np.testing.assert_allclose(1 / shorter, 1 / FILM.lifetime + trapped, rtol=1e-13)
    np.testing.assert_allclose(extra_loss(LIFETIME, v, FILM), extra_loss(TRAPPING, v, FILM), rtol=1e-11)
    np.testing.assert_allclose(field_of(trapped, FILM.lifetime), v, atol=1e-11)
    assert (trapped > 0).all()


def test_slope_and_information():
    """Slope of log L against central differences, 1e-6; information against Jᵀ V⁻¹ J of whole images, single precision
    and boxes: 2e-2 of its largest entry."""
    here, x = problem()
    x = x + 0.1
    tangent = here.tangent(x)
    random = np.random.default_rng(2)
    along = jnp.asarray(np.append(random.standard_normal(x.size - 1), 0.5))
    slope = (here.misfit(x - 1e-5 * along) - here.misfit(x + 1e-5 * along)) / 2e-5
    assert slope == pytest.approx(float(tangent.slope @ along), rel=1e-6, abs=1e-5)
    steep = jax.jvp(here.extra, (x[:-1],), (jnp.ones(x.size - 1),))[1]
    answers = jax.vmap(lambda change: linearised(here.reference, tangent.state, change))(jnp.diag(steep))
    images = jnp.concatenate([answers.reshape(x.size - 1, -1), jnp.ones((1, tangent.expected.size))]).T
    full = images.T @ (images / tangent.expected.reshape(-1, 1))
    np.testing.assert_allclose(
        tangent.information, full, atol=2e-2 * float(full[:-1, :-1].max()) + 1e-5 * float(full[-1, -1])
    )


@pytest.mark.parametrize("smooth", [True, False])
def test_prior_and_its_curvature(smooth):
    """Φ″ of `spread` against JAX's own Hessian of the cost, 1e-9; weighted smoothing ends at the cost's minimum."""
    shape, numbers = (5, 6), (2.0, 0.0) if smooth else (2.0, 0.3)
    random = np.random.default_rng(4)
    x = jnp.asarray(random.standard_normal(31))
    root = random.standard_normal((40, 31))
    information = jnp.asarray(root.T @ root)
    own = jax.hessian(lambda x: cost(x, 0.2, *numbers, shape, smooth))(x)
    covariance = spread(information, x, *numbers, shape, smooth).covariance
    np.testing.assert_allclose(jnp.linalg.inv(covariance), information + own, atol=1e-8)
    slopes = jnp.asarray(random.standard_normal(31))
    for _ in range(20):
        x = optimum(information, slopes, x, 0.2, *numbers, shape, smooth)
    left = information @ x - slopes + jax.grad(lambda x: cost(x, 0.2, *numbers, shape, smooth))(x)
    np.testing.assert_allclose(left, 0.0, atol=0.05)


def test_bad_input_is_explained():
    """Counts of positions, unlike images, spots outside, words that mean nothing."""
    counts = np.random.default_rng(0).poisson(5.0, (16, 16)).astype(float)
    image = Image(counts, pixel_size=0.1, camera=Camera(gain_known=True), file="spot")
    known = {"diffusivity": 0.05, "lifetime": 5.0, "laser_fwhm": 0.3, "psf_fwhm": 0.2, "excitons": 1e4}
    for images, places, change, message in (
        ([], [], {}, "none were given"),
        ([image], [[0.0, 0.0], [1.0, 1.0]], {}, "for 1 images"),
        ([image], [[400.0, 0.0]], {}, "outside the image"),
        ([image], [[0.0, 0.0]], {"prior": "sparse"}, "prior 'sparse'"),
        ([image], [[0.0, 0.0]], {"diffusivity": -1.0}, "diffusivity = -1.0"),
        ([image], [[0.0, 0.0]], {"background": "none"}, "background"),
        ([image], [[0.0, 0.0]], {"background": 0.1, "excitons": 1e3}, "photons above the background, 1 spot of 1000"),
    ):
        with pytest.raises(InputError, match=message):
            measure_rate_map(images, np.array(places), **known | change)
