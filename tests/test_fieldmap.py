"""Maps of a film's loss from many spots: the model and its derivatives, the prior, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit.cells import KINDS, LIFETIME, TRAPPING, Beyond, Film, Kind, field_of, rates
from excidiff.inverse.fit.even import Edges, ages
from excidiff.inverse.fit.fieldmap import Problem, level, reference, solve
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.smoothing import cost, optimum, spread
from excidiff.inverse.maps import measure_map
from excidiff.solver.solution import InputError

PITCH, COUNT = 0.12, 9
EDGES = Edges(*(np.asarray(pixel_edges(COUNT, PITCH)) for _ in range(4)))
FILM = Film(0.04, 4.0, 0.12, 0.08, 5e3, np.array([[0.0, 0.1], [0.3, -0.25], [-0.35, 0.2]]))


FAR = Beyond(0.1, 0.04)


def bumpy(kind: Kind = TRAPPING, seed=3):
    """A field v that varies from cell to cell."""
    around = {"diffusivity": np.log(0.04), "landscape": 0.0}.get(kind.name, 0.4)
    return around + 0.5 * np.random.default_rng(seed).standard_normal(COUNT * COUNT)


def problem(kind: Kind = TRAPPING, background=0.3, seed=5):
    """Poisson counts of a bumpy film."""
    empty = Problem.make(kind, FILM, EDGES, Counts(*(np.ones(1),) * 5), FAR)
    x = np.append(bumpy(kind), background)
    images = np.asarray(empty.state(jnp.asarray(x)).images) + background
    counts = np.random.default_rng(seed).poisson(np.maximum(images, 0)).astype(float)
    ones = np.ones_like(counts)
    return empty._replace(counts=Counts(counts, ones, ones, 0 * ones, np.asarray(1.0))), jnp.asarray(x)


def even_rates(loss: float, count: int):
    """Of a film that is trapped alike everywhere."""
    return rates(TRAPPING, jnp.full((count, count), float(field_of(loss, 4.0))), FILM)


def test_the_even_film_does_not_know_its_cells():
    """A constant map on a film that loses as much gives its images to rounding, 1e-9.

    On another film, over cells that reach 4 L beyond the images, what n varies within a cell remains: 0.5 % of the peak
    where the map differs by twice the loss.
    """
    two = [reference(FILM, EDGES, Beyond(loss, 0.04)) for loss in (0.1, 0.6)]
    far = Edges(EDGES.pixel_y, EDGES.pixel_x, *(np.asarray(pixel_edges(35, PITCH)),) * 2)
    wide = reference(FILM, far, FAR)
    found = solve(wide, even_rates(0.6, 35), PITCH, moves=False).images
    np.testing.assert_allclose(found, two[1].images, atol=8e-3 * float(two[1].images.max()))
    own = solve(two[1], even_rates(0.6, COUNT), PITCH, moves=False).images
    np.testing.assert_allclose(own, two[1].images, rtol=1e-9)


def test_another_diffusivity_over_all_cells():
    """D = 0.06 in cells that reach 4 L beyond the images, in a film of 0.04, gives those of 0.06: 1 % of the peak."""
    far = Edges(EDGES.pixel_y, EDGES.pixel_x, *(np.asarray(pixel_edges(35, PITCH)),) * 2)
    kind = KINDS["diffusivity"]
    own = rates(kind, jnp.full((35, 35), np.log(0.06)), FILM)
    found = solve(reference(FILM, far, Beyond(0.0, 0.04)), own, PITCH, moves=True).images
    exact = reference(FILM, EDGES, Beyond(0.0, 0.06)).images
    np.testing.assert_allclose(found, exact, atol=1e-2 * float(exact.max()))


def test_excitons_sink_into_a_landscape():
    """Where nothing is lost within a lifetime but at rest, n ∝ exp(−U/kT): 2 %, for 0.4 kT and √(Dτ) ≫ the cells."""
    film = FILM._replace(diffusivity=40.0, lifetime=4e3, laser=3.0)
    kind, x = KINDS["landscape"], (np.arange(35) - 17) * PITCH
    v = 0.4 * np.cos(2 * np.pi * x / 1.7)[None, :] * np.exp(-((x[:, None] / 1.2) ** 2)) * np.exp(-((x / 1.2) ** 2))
    edges = Edges(*(np.asarray(pixel_edges(35, PITCH)),) * 4)
    far = Beyond(0.0, 40.0)
    density = solve(reference(film, edges, far), rates(kind, jnp.asarray(v), film), PITCH, moves=True).density
    even = solve(reference(film, edges, far), rates(kind, jnp.zeros((35, 35)), film), PITCH, moves=True).density
    np.testing.assert_allclose((density / even)[0].reshape(35, 35), np.exp(-v), rtol=0.02)


@pytest.mark.parametrize("length", [0.5, 20.0, 200.0])
def test_every_age_counts(length: float):
    """∫ e^{−at} dt = 1/a to 1e-9, however far excitons go."""
    film, far = FILM._replace(lifetime=4.0), Beyond(0.1, length**2 * 0.35)
    assert float(ages(film, far).share.sum()) == pytest.approx(1 / 0.35, rel=1e-9)


@pytest.mark.parametrize(("name", "step"), [("landscape", 1.0), ("diffusivity", np.log(10.0))])
def test_steps_leave_densities_positive(name: str, step: float):
    """Across a step of 1 kT, and of ten in D: no density below −1e-3 of the largest."""
    kind, v = KINDS[name], np.zeros((COUNT, COUNT))
    v[:, COUNT // 2 :] = step
    around = float(np.log(0.04)) if name == "diffusivity" else 0.0
    state = solve(reference(FILM, EDGES, FAR), rates(kind, jnp.asarray(v + around), FILM), PITCH, moves=True)
    assert float(state.density.min()) > -1e-3 * float(state.density.max())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_adjoint_is_the_transpose(kind: Kind):
    """⟨J δv, r⟩ = ⟨δv, Jᵀ r⟩ to 1e-10 of the product of their lengths, and J the derivative of the images (1e-7)."""
    random = np.random.default_rng(1)
    here, x = problem(kind)
    state = here.state(x)
    change, photons = (jnp.asarray(random.standard_normal(n)) for n in (x.size - 1, state.images.shape))
    answer = here.linearised(x, state, change)
    left, right = float(jnp.sum(answer * photons)), float(change @ here.adjoint(x, state, photons))
    assert abs(left - right) < 1e-10 * float(jnp.linalg.norm(answer) * jnp.linalg.norm(photons))
    step = 1e-5
    away = [here.state(x.at[:-1].add(sign * step * change)).images for sign in (1, -1)]
    np.testing.assert_allclose((away[0] - away[1]) / (2 * step), answer, atol=1e-7 * float(jnp.abs(answer).max()))


def test_kinds_say_the_same_of_the_loss():
    """A shorter lifetime, or traps beside a longer one: 1/τ(r) = 1/τ + k(r)."""
    v = jnp.linspace(-1.0, 3.0, 12).reshape(3, 4)
    shorter, trapped = LIFETIME.value(v, FILM), TRAPPING.value(v, FILM)
    np.testing.assert_allclose(1 / shorter, 1 / FILM.lifetime + trapped, rtol=1e-13)
    for one, other in zip(rates(LIFETIME, v, FILM), rates(TRAPPING, v, FILM), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)
    dense = KINDS["trap_density"].value(v, FILM._replace(capture=2e-3))
    np.testing.assert_allclose(2e-3 * dense, trapped, rtol=1e-13)
    np.testing.assert_allclose(field_of(trapped, 4.0), v, atol=1e-11)
    assert (trapped > 0).all()


@pytest.mark.parametrize("kind", [KINDS[name] for name in ("trapping_rate", "diffusivity", "landscape")])
def test_slope_and_information(kind: Kind):
    """Slope of log L against central differences, 1e-6; information against Jᵀ V⁻¹ J of whole images, single precision
    and boxes: 2e-2 of its largest entry. What holds the mean of a landscape is in neither."""
    here, x = problem(kind)
    x = x + 0.1 * np.append(np.random.default_rng(7).standard_normal(x.size - 1), 1.0)
    tangent = here.tangent(x)
    slope, information = tangent.slope, tangent.information
    if kind.level:
        slope, information = (
            a - b for a, b in zip((slope, information), level(x, tangent.state.density, 0 * x, 0.0), strict=True)
        )
    random = np.random.default_rng(2)
    along = jnp.asarray(np.append(random.standard_normal(x.size - 1), 0.5))
    differences = (here.misfit(x - 1e-5 * along) - here.misfit(x + 1e-5 * along)) / 2e-5
    assert differences == pytest.approx(float(slope @ along), rel=1e-6, abs=1e-4)
    answers = jax.vmap(lambda change: here.linearised(x, tangent.state, change))(jnp.eye(x.size - 1))
    images = jnp.concatenate([answers.reshape(x.size - 1, -1), jnp.ones((1, tangent.expected.size))]).T
    full = images.T @ (images / tangent.expected.reshape(-1, 1))
    np.testing.assert_allclose(
        information,
        full,
        atol=2e-2 * float(full[:-1, :-1].max()) + 1e-5 * float(full[-1, -1]),
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
    known: dict[str, Any] = {"diffusivity": 0.05, "lifetime": 5.0, "laser_fwhm": 0.3, "psf_fwhm": 0.2, "excitons": 1e4}
    for images, places, change, message in (
        ([], [], {}, "none were given"),
        ([image], [[0.0, 0.0], [1.0, 1.0]], {}, "for 1 images"),
        ([image], [[400.0, 0.0]], {}, "outside the image"),
        ([image], [[0.0, 0.0]], {"prior": "sparse"}, "prior 'sparse'"),
        ([image], [[0.0, 0.0]], {"kind": "trap_density"}, "capture = None: a map of the trap_density needs"),
        ([image], [[0.0, 0.0]], {"kind": "landscape", "temperature": 0.0}, "temperature = 0.0: a map of the landscape"),
        ([image], [[0.0, 0.0]], {"diffusivity": -1.0}, "diffusivity = -1.0"),
        ([image], [[0.0, 0.0]], {"background": "none"}, "background"),
        ([image], [[0.0, 0.0]], {"background": 0.1, "excitons": 1e3}, "photons above the background, 1 spot of 1000"),
    ):
        with pytest.raises(InputError, match=message):
            measure_map(images, np.array(places), **known | change)
