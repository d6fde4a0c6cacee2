"""Photobleaching measured in five cells: the published diffusivities by a PDE, and what the measurement alone says."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from examples import frap

pytestmark = pytest.mark.gate
OPTIMISED = True

# D (µm²/s), M and fading (1/s) of 1.lsm … 5.lsm straight from the measured profile and all frames, with their errors.
MEASURED = np.array(
    [
        [47.4, 0.759, 0.0059, 4.3, 0.009, 0.0006],
        [53.3, 0.706, 0.0068, 4.8, 0.007, 0.0005],
        [42.2, 0.773, 0.0042, 5.3, 0.011, 0.0007],
        [39.3, 0.788, 0.0015, 4.2, 0.010, 0.0006],
        [52.9, 0.727, 0.0033, 7.0, 0.010, 0.0007],
    ]
)


@pytest.fixture(scope="module")
def cells(data: Path) -> list[frap.Cell]:
    return frap.read_cells(data / "frap_venus")


def test_published_diffusivities(cells: list[frap.Cell]):
    """Within 1 % for all five. The grid's part, second order in 0.25 µm over the profile's 2.6 µm, is 0.08 %."""
    quarter = frap.Quarter.make(0.25, 120)
    found = np.array([frap.fit_published(cell, quarter).values for cell in cells])
    published = np.array([(cell.diffusivity, cell.mobile) for cell in cells])
    assert published[:, 0].tolist() == [45.6621, 52.4654, 41.0041, 42.247, 54.7536]
    np.testing.assert_allclose(found[:, 0], published[:, 0], rtol=0.01)
    np.testing.assert_allclose(found[:, 1], published[:, 1], atol=0.001)


def test_straight_from_the_measurement(cells: list[frap.Cell]):
    """The documented figures, to their rounding; errors finite; residuals independent; the profile's noise a part."""
    quarter = frap.Quarter.make(0.5, 80)
    fits = [frap.fit_measured(cell, quarter) for cell in cells]
    found = np.array([(*fit.fit.values, *fit.errors) for fit in fits])
    assert np.isfinite(found).all()
    rounding = np.array([0.06, 6e-4, 6e-5, 0.06, 6e-4, 6e-5])
    assert (np.abs(found - MEASURED) < rounding).all()
    assert max(abs(fit.fit.correlation) for fit in fits) < 0.06  # 280 frames, ten lags: 0.02 by chance
    shares = [np.sqrt(fit.from_profile[0, 0]) / fit.fit.values[0] for fit in fits]
    assert 0.015 < min(shares) < max(shares) < 0.035
    published = np.array([cell.diffusivity for cell in cells])
    assert (np.abs(found[:, 0] - published) < found[:, 3]).all()


def test_late_frames_need_the_fading(cells: list[frap.Cell]):
    """Cell 2 with all frames but one common decay: D half as large again, residuals correlated."""
    fit = frap.fit_measured(cells[1], frap.Quarter.make(0.5, 80), fading=False).fit
    assert fit.values[0] > 1.4 * cells[1].diffusivity
    assert fit.correlation > 0.1


def test_near_walls_cannot_be_excluded(cells: list[frap.Cell]):
    """Cell 2 in a box of 28 µm: D falls by a sixth and the residuals are no larger."""
    fit = frap.fit_measured(cells[1], frap.Quarter.make(0.5, 28)).fit
    assert fit.values[0] == pytest.approx((1 - 0.165) * MEASURED[1, 0], rel=0.01)
    assert np.std(cells[1].normalised - fit.curve) == pytest.approx(0.0185, abs=1e-4)  # 0.0187 with walls at 40 µm


def test_published_profile_is_held_to_the_disc(cells: list[frap.Cell]):
    """In cells 4 and 5 the whole profile wants its curve shallower by about a tenth and wider by about 5 %."""
    for cell in cells[3:]:
        near = cell.distance < 9.5
        distance, profile = cell.distance[near], cell.profile[near]

        def residuals(p, distance=distance, profile=profile):
            return np.exp(-p[0] * np.exp(-2 * distance**2 / p[1] ** 2)) - profile

        depth, width = least_squares(residuals, (cell.depth, cell.width)).x
        assert depth / cell.depth == pytest.approx(0.9, abs=0.02)
        assert width / cell.width == pytest.approx(1.05, abs=0.015)


def test_the_spread_disc_gives_the_slopes(cells: list[frap.Cell]):
    """Evolution is linear and symmetric: ∂F/∂heights, from one spread disc, times the heights is F, to rounding."""
    quarter = frap.Quarter.make(0.5, 40)
    fit, basis = frap.fit_measured(cells[0], quarter, frames=40), frap.average(quarter.grid, frap.hats)
    slopes = np.asarray(frap._by_height(fit.fit.values, quarter, basis, cells[0].time[:40]))
    np.testing.assert_allclose(slopes @ fit.profile.heights, fit.fit.curve, rtol=1e-10)
