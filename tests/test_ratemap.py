"""Maps of a film's loss from many spots: the model against the solver, its derivatives, the prior, and a small map."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit.instrument import pixel_weights
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
from excidiff.inverse.fit.smoothing import Prior, choose, cost, optimum, spread, tried
from excidiff.inverse.maps import measure_rate_map
from excidiff.inverse.results.mapfigure import map_figure
from excidiff.solver import Grid, gaussian_spot, steady_state
from excidiff.solver.solution import InputError
from excidiff.solver.source import FWHM
from tests.films import PatchyFilm

PITCH, COUNT = 0.1, 14
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


def test_the_images_are_the_solvers():
    """Against finite volumes of h = 25 nm (0.2 σ) and walls at 6 L on the same map.

    The map's cells are 0.8 σ wide and n is even in each: the images differ by 5e-3 of the peak at most.
    """
    fine = 4
    v = bumpy().reshape(COUNT, COUNT)
    margin = 16
    grid = Grid((fine * (COUNT + 2 * margin),) * 2, PITCH / fine)
    whole = np.pad(np.kron(v, np.ones((fine, fine))), fine * margin, constant_values=float(field_of(0.1, 4.0)))
    medium = TRAPPING.medium(jnp.asarray(whole), FILM)
    x, y = FILM.positions[0]
    light = gaussian_spot(grid, fwhm=FWHM * FILM.laser, total=FILM.excitons, centre=(x, y))
    density = np.asarray(steady_state(medium, light, grid, rtol=1e-7).density)
    sides = np.asarray(pixel_edges(grid.shape[0], PITCH / fine))
    weights = np.asarray(pixel_weights(jnp.asarray(sides), EDGES.pixel_y, jnp.asarray(FILM.psf)))
    expected = weights @ density @ weights.T * (PITCH / fine) ** 2 / FILM.lifetime
    empty = Problem.make(TRAPPING, FILM, EDGES, Counts(*(np.ones(1),) * 5), 0.1)
    found = np.asarray(empty.state(jnp.asarray(np.append(v.ravel(), 0.0))).images)[0].reshape(COUNT, COUNT)
    assert np.abs(found - expected).max() < 5e-3 * expected.max()


def test_the_even_film_does_not_know_its_cells():
    """A constant map on a film that loses as much gives its images to rounding, 1e-9.

    On another film, over cells that reach 4 L beyond the images, what n varies within a cell remains: 0.5 % of the peak
    where the map differs by twice the loss.
    """
    two = [reference(FILM, EDGES, jnp.asarray(away)) for away in (0.1, 0.6)]
    far = Edges(EDGES.pixel_y, EDGES.pixel_x, *(np.asarray(pixel_edges(40, PITCH)),) * 2)
    wide = reference(FILM, far, jnp.asarray(0.1))
    found = solve(wide, jnp.full(1600, 0.6)).images
    np.testing.assert_allclose(found, two[1].images, atol=8e-3 * float(two[1].images.max()))
    np.testing.assert_allclose(solve(two[1], jnp.full(196, 0.6)).images, two[1].images, rtol=1e-9)


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
    images = jax.jacfwd(lambda x: here.expected(here.state(x), x))(x).reshape(-1, x.size)
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


def test_the_strength_is_that_which_predicts_best():
    """Noise of known size on steps: the chosen strength's error is within 10 % of the best of all strengths'."""
    shape, random = (12, 12), np.random.default_rng(6)
    truth = np.zeros(shape)
    truth[3:8, 4:9] = 1.0
    seen = np.append((truth + 0.3 * random.standard_normal(shape)).ravel(), 1.0)
    information = jnp.diag(jnp.asarray(np.append(np.full(144, 0.3**-2), 1.0)))
    slopes = information @ jnp.asarray(seen)
    start = jnp.zeros(145)

    def error(prior):
        x = tried(prior, information, slopes, start, 0.0, shape, 1.0).x
        return float(jnp.linalg.norm(x[:-1] - truth.ravel()))

    prior = Prior("total variation", 100.0, 0.1)
    for _ in range(30):
        before, prior = prior, choose(prior, information, slopes, start, 0.0, shape, 1.0).prior
        if prior == before:
            break
    best = min(error(prior._replace(strength=2.0**k)) for k in range(-1, 7, 2))
    assert error(prior) < 1.1 * best


@pytest.fixture(scope="module")
def small():
    """Nine spots over one patch."""
    film = PatchyFilm(discs=((0.1, 0.0, 0.35, 1.5),), count=18, places=3, step=0.6, pixel=0.12)
    return film, film.measure(film.images(8))


def test_a_small_map(small):
    """One patch: its radius within 0.1 µm, the band covers 85 % away from its edge; |z| ≤ 3."""
    film, found = small
    patch = found.patches()[0]
    assert abs(patch.radius - 0.35) < 0.1
    assert np.hypot(patch.x - 0.1, patch.y) < 0.1
    assert abs(found.goodness["z"]) <= 3
    lit = (found.dose >= 0.1) & film.away_from_edges(0.1)
    truth = film.rate
    assert np.mean((found.lower <= truth)[lit] & (truth <= found.upper)[lit]) > 0.85
    assert abs(found.background.value - film.background) < 4 * found.background.stderr


def test_what_is_not_known_is_null(small):
    """Dark cells are NaN in Python and null in files; the verdicts count them."""
    _, found = small
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    dark = np.argwhere(~found.determined)
    assert np.isnan(found.value[~found.determined]).all()
    assert all(written["value"][row][column] is None for row, column in dark[:5])
    assert len(dark) == 0 or any("undetermined" in verdict for verdict in found.verdicts)
    assert any("chosen by the data" in verdict for verdict in found.verdicts)


def test_the_figure_draws(small):
    """Four maps on one page."""
    assert len(map_figure(small[1]).axes) >= 4


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
    ):
        with pytest.raises(InputError, match=message):
            measure_rate_map(images, np.array(places), **known | change)
