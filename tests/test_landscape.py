"""A film with an energy landscape: where the map lies, the grid, the optics on it, and the flat film as its limit."""

import jax
import numpy as np
import pytest

from benchmarks.photons import FWHM, shoot
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.files.readers import Map
from excidiff.inverse.fit import film as film_of_a_fit
from excidiff.inverse.fit import prediction
from excidiff.inverse.fit.film import film_model
from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.landscape import FINEST, LIGHT, REACH, Landscape, _ease, cut_cells, landscape_of, reaches
from excidiff.solver.solution import InputError

WIDTH, LENGTH, PSF, PIXEL = 0.212, 0.25, 0.1, 0.08
CENTRE = (0.03, -0.02)


def picture(shape=(48, 48), pixel=PIXEL):
    rng = np.random.default_rng(0)
    return Image(rng.poisson(5.0, shape).astype(float), pixel_size=pixel, camera=Camera(gain_known=True), file="spot")


def film(values, temperature: float | None = 295.0, spacing=None, image=None):
    given = values if spacing is None else Map(np.asarray(values), spacing, "the file", "U.h5", "")
    return landscape_of(given, temperature, [picture() if image is None else image])


def cut(values, image=None, spacing=None, **change):
    image = picture() if image is None else image
    asked = {"width": WIDTH, "length": LENGTH, "centre": CENTRE, **change}
    return cut_cells(film(values, spacing=spacing, image=image), image, **asked)


def wells(x, y, depth=30.0, period=0.9):
    return depth * (np.cos(2 * np.pi * x / period)[None, :] + np.sin(2 * np.pi * y / period)[:, None])


@pytest.mark.parametrize("width", [1e-4, 0.03, 0.3])
def test_pixel_weights_are_the_integrals(width):
    """Against the PSF summed over 400 points of each cell (midpoint rule: 2e-5 of a weight where σ is a third of h)."""
    from scipy.stats import norm

    cells, pixels = np.linspace(-1.0, 1.0, 23), np.linspace(-0.7, 0.5, 7)
    found = np.asarray(pixel_weights(cells, pixels, np.asarray(width)))
    steps = np.diff(cells)[:, None] * (np.arange(400) + 0.5) / 400
    points = cells[:-1, None] + steps
    slow = np.diff(norm.cdf((pixels[:, None, None] - points) / width), axis=0).mean(axis=2)
    np.testing.assert_allclose(found, slow, atol=2e-3 if width < 1e-3 else 2e-5)
    whole = np.asarray(pixel_weights(cells, np.array([-9.0, 9.0]), np.asarray(width)))
    np.testing.assert_allclose(whole, 1.0, rtol=1e-12)  # no photon is lost


def test_grid_is_fine_and_wide_enough():
    """FAULTS 10, 11: cells ≤ 0.2 s, whole ones in each pixel, walls ≥ 8.3 L from the light on all four sides."""
    image = picture((30, 50), (0.1, 0.07))
    cells, notes = cut(np.zeros((30, 50)), image)
    for size, pixel in zip(cells.grid.spacing, image.spacing, strict=True):
        assert size <= FINEST * WIDTH
        assert pixel / size == pytest.approx(round(pixel / size))
    for edges, count, pixel in ((cells.x_edges, 50, 0.07), (cells.y_edges, 30, 0.1)):
        sides = prediction.pixel_edges(count, pixel)
        assert np.abs(edges[:, None] - sides[None, :]).min(axis=0).max() < 1e-12
    left, right, bottom, top = cells.reach
    room = min(CENTRE[0] - left, right - CENTRE[0], CENTRE[1] - bottom, top - CENTRE[1])
    assert room >= REACH * LENGTH + LIGHT * WIDTH
    assert any("edge values are continued" in note for note in notes)
    assert reaches(cells, width=WIDTH, length=LENGTH, centre=CENTRE)
    assert not reaches(cells, width=WIDTH, length=1.5 * LENGTH, centre=CENTRE)


def test_map_lies_centred_on_the_image_and_keeps_its_edge_values():
    """A cubic of x and y is interpolated exactly (1e-12) within the map; beyond it the edge's value stands."""
    spacing, shape = (0.11, 0.13), (60, 40)
    y, x = ((np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, spacing, strict=True))
    energy = lambda x, y: (x**3 - x)[None, :] + (2 * y**3 + y**2)[:, None]  # noqa: E731
    cells, notes = cut(energy(x, y), spacing=spacing)
    own = [(edges[1:] + edges[:-1]) / 2 for edges in (cells.x_edges, cells.y_edges)]
    inside = [np.abs(place) < abs(known[1]) for place, known in zip(own, (x, y), strict=True)]
    exact = energy(*own)
    np.testing.assert_allclose(
        cells.energy[np.ix_(inside[1], inside[0])], exact[np.ix_(inside[1], inside[0])], atol=1e-12
    )
    beyond = own[0] > x[-1]
    assert beyond.any()
    np.testing.assert_allclose(np.ptp(cells.energy[:, beyond], axis=1), 0.0, atol=1e-12)
    assert any("its own spacing" in note for note in notes)


def test_what_is_wrong_with_a_landscape_is_said():
    """FAULTS 9, 10 (memory), 12."""
    broken = np.zeros((48, 48))
    broken[3, 4] = np.nan
    for values, message in (
        (broken, r"not finite at \(3, 4\)"),
        (np.zeros((40, 48)), "40 × 48 values and states no spacing, while spot has 48 × 48"),
        (np.zeros(48), "expected a map"),
    ):
        with pytest.raises(InputError, match=message):
            film(values)
    with pytest.raises(InputError, match="temperature"):
        film(np.zeros((48, 48)), -3.0)
    with pytest.raises(InputError, match="GB of memory"):
        cut(np.zeros((48, 48)), memory=1e6)
    cliff = np.where(np.arange(48) < 24, 0.0, 400.0) * np.ones((48, 1))
    assert any("kT from one cell" in note for note in cut(cliff)[1])
    with pytest.raises(InputError, match="no fit can follow"):
        cut(3 * cliff)
    with pytest.raises(InputError, match="kT"):
        cut(100 * cliff)


def test_ease_makes_the_flux_exact_to_fourth_order():
    """Lifson–Jackson, U = A cos at 20 cells a period: D_eff I₀(A)² = 1 to (kh)⁴A²/100 = 1.4e-4; bare: 5e-3 (h²)."""
    depth, count = 1.2, 20
    place = 2 * np.pi * (np.arange(count) + 0.5) / count
    energy = depth * np.cos(place)
    half = (np.roll(energy, -1) - energy) / 2
    level = np.abs(half) < 1e-9
    face = np.exp(-energy - half) * np.where(level, 1.0, half / np.where(level, 1.0, np.sinh(half)))
    spread = np.pad(energy, 1, mode="wrap")[None, :]  # `_ease` continues by edge values; here the film is periodic
    ease = _ease(spread, 1)[0, 1:-1]
    errors = []
    for mobility in (np.ones(count), ease):
        harmonic = 2 * mobility * np.roll(mobility, -1) / (mobility + np.roll(mobility, -1))
        effective = 1 / (np.mean(1 / (face * harmonic)) * np.mean(np.exp(-energy)))
        errors.append(abs(effective * np.i0(depth) ** 2 - 1))
    assert errors[0] > 3e-3
    assert errors[1] < 1.4e-4
    np.testing.assert_array_equal(_ease(np.zeros((3, 4)), 0), 1.0)


EDGES = prediction.pixel_edges(48, PIXEL)
MODEL = jax.jit(film_model)


def image_and_slopes(shape, cells):
    """1e5 photons on a background of 2 per pixel; one compiled program for all tests."""
    return MODEL(np.array([*shape, np.log(1e5), 2.0]), cells, EDGES, EDGES, np.ones((1, 48, 48)))


def log_shape(length):
    return np.array([np.log(length), np.log(np.hypot(WIDTH, PSF)), np.log(PSF), *CENTRE])


def test_slopes_are_the_derivatives():
    """Against central differences, step 1e-4: they err by 1e-8 of the third derivative and by the solves' 1e-9/1e-4."""
    x = EDGES[:-1] + PIXEL / 2
    cells, _ = cut(wells(x, x), length=2 * WIDTH)
    shape = log_shape(LENGTH)
    expected, slopes = image_and_slopes(shape, cells)
    for k in range(5):
        step = 1e-4 * np.eye(5)[k]
        slow = (image_and_slopes(shape + step, cells)[0] - image_and_slopes(shape - step, cells)[0]) / 2e-4
        np.testing.assert_allclose(slopes[k], slow, atol=1e-4 * np.abs(slow).max())
    np.testing.assert_allclose(slopes[5], expected - 2.0, rtol=1e-9)
    np.testing.assert_allclose(slopes[6], 1.0)


@pytest.mark.parametrize("ratio", [0.4, 1.0, 2.0])
def test_flat_film_on_the_grid_has_no_bias(ratio):
    """L from the grid's image, judged by the exact one: off by less than 0.1 of σ at 1e6 photons (VERIFICATION)."""
    cells, _ = cut(np.zeros((48, 48)), length=2 * WIDTH)
    shape = log_shape(ratio * WIDTH)
    found = (image_and_slopes(shape, cells)[0][0] - 2.0) / 1e5
    spot = prediction.steady(shape[:2], prediction.steady_nodes())
    exact, slopes = prediction.pixel_fractions_and_slopes(spot, shape[3:], EDGES, EDGES)
    mean, free = 1e6 * np.asarray(exact[0]) + 1.0, [0, 2, 3]  # log L, centre; then amplitude and background
    jacobian = np.concatenate([1e6 * np.asarray(slopes)[free, 0], [mean - 1.0, np.ones_like(mean)]]).reshape(5, -1)
    weighted = jacobian / mean.ravel()
    inverse = np.linalg.inv(weighted @ jacobian.T)
    bias = inverse @ weighted @ (1e6 * np.asarray(found) + 1.0 - mean).ravel()
    assert abs(bias[0]) < 0.1 * np.sqrt(inverse[0, 0])


@pytest.fixture(scope="module")
def spot():
    wide = float(np.hypot(WIDTH, PSF))
    return shoot(7, photons=3e5, width=wide, length=LENGTH, shape=(48, 48), pixel=PIXEL, background=1.0, centre=CENTRE)


def test_flat_landscape_gives_the_uniform_film(spot):
    """U = 0: the grid and the exact superposition agree in L to 0.1 of its error, and in the error to 2 %."""
    optics = {"laser_fwhm": (FWHM * WIDTH, 0.002), "psf_fwhm": (FWHM * PSF, 0.004), "lifetime": 5.0}
    uniform = Experiment(images=[spot], **optics).fit()
    film = {"landscape": np.zeros(spot.shape), "temperature": 300.0, "model": "landscape"}
    found = Experiment(images=[spot], **film, **optics).fit()
    for name in ("diffusion_length", "diffusivity", "centre_x", "amplitude", "background"):
        one, other = found.parameters[name], uniform.parameters[name]
        assert abs(one.value - other.value) < 0.1 * other.stderr
        assert one.stderr == pytest.approx(other.stderr, rel=0.02)
    assert abs(found.goodness["z"] - uniform.goodness["z"]) < 0.05
    assert "landscape" in found.model
    assert "landscape" in found.methods
    assert found.settings["landscape"] == "landscape"
    assert found.settings["temperature"] == 300.0


@pytest.mark.gate
def test_the_grid_is_laid_again_for_a_longer_length(spot, monkeypatch):
    """FAULTS 11: walls laid for a third of the fitted length are moved, and the length is that of wide walls to 0.1 σ.

    Where they are not moved far enough, the result says so.
    """
    laid = []

    def spying(*arguments, **change):
        laid.append(change["length"])
        return cut_cells(*arguments, **change)

    asked = {"images": [spot], "laser_fwhm": FWHM * WIDTH, "psf_fwhm": FWHM * PSF, "landscape": np.zeros(spot.shape)}
    wide = Experiment(**asked).fit().parameters["diffusion_length"]
    monkeypatch.setattr(film_of_a_fit, "cut_cells", spying)
    monkeypatch.setattr(film_of_a_fit, "MARGIN", 0.3)
    found = Experiment(**asked).fit()
    assert len(laid) == 2
    assert any("feels the walls" in warning for warning in found.warnings)
    monkeypatch.setattr(film_of_a_fit, "MARGIN", 1.0)
    monkeypatch.setattr(Landscape, "slowing", 0.4)
    found = Experiment(**asked).fit()
    assert laid[3] > 1.5 * laid[2]
    assert abs(found.parameters["diffusion_length"].value - wide.value) < 0.1 * wide.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landscape": None, "temperature": 295.0}, "no landscape"),
        ({"laser_fwhm": None, "laser": picture()}, "no PSF"),
        ({"gates": [[0.0, 1.0]]}, "gates"),
        ({"landscape": np.zeros((9, 9))}, "9 × 9 values"),
        ({"temperature": (295.0, 2.0)}, "temperature"),
        ({"landscape": None, "model": "landscape"}, "light alone does not tell energies.*Give the map of energies"),
    ],
)
def test_contradictions_are_refused(spot, change, message):
    given = {"images": [spot], "laser_fwhm": 0.5, "landscape": np.zeros(spot.shape), **change}
    with pytest.raises(InputError, match=message):
        Experiment(**given)
