"""Scans over a film that differs from place to place: what a position shows, its slopes, and wrong questions."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.fit.cells import DIFFUSIVITY, LANDSCAPE, TRAPPING, Beyond, Film, Kind, field_of
from excidiff.inverse.fit.even import Edges
from excidiff.inverse.fit.fieldmap import level
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.scanfield import ScanProblem, even_numbers
from excidiff.inverse.maps import measure_map
from excidiff.solver.solution import InputError

COUNT, PITCH = 7, 0.12
SIDES = np.asarray(pixel_edges(COUNT, PITCH))
ALONG = (np.arange(COUNT) - COUNT // 2) * PITCH
FILM = Film(0.04, 4.0, 0.12, 1.0, 5e3, np.array([(x, y) for y in ALONG for x in ALONG]))
FAR = Beyond(0.1, 0.04)
SEEN = [(width, quantity) for quantity in ("intensity", "lifetime") for width in (None, 0.2)]


def problem(kind: Kind, collection, quantity: str, cells=SIDES) -> ScanProblem:
    ones = np.ones(COUNT * COUNT)
    values = {"intensity": 500.0, "lifetime": 2.0, "energy": 3.0}[quantity] * ones
    counts = Counts(values, ones, ones, 0.0 * ones if quantity == "intensity" else 0.01 * ones, np.asarray(1.0))
    edges = Edges(SIDES, SIDES, cells, cells)
    noise = "poisson" if quantity == "intensity" else "gaussian"
    return ScanProblem.make(kind, FILM, edges, counts, FAR, collection=collection, quantity=quantity, noise=noise)


GATE = pytest.mark.gate
CASES = [
    *((TRAPPING, *seen) for seen in SEEN[1:]),
    (LANDSCAPE, 0.2, "energy"),
    pytest.param(TRAPPING, None, "intensity", marks=GATE),
    *(pytest.param(DIFFUSIVITY, *seen, marks=GATE) for seen in SEEN),
    pytest.param(LANDSCAPE, None, "energy", marks=GATE),
    pytest.param(LANDSCAPE, 0.2, "intensity", marks=GATE),
]


@pytest.mark.parametrize(("kind", "collection", "quantity"), CASES)
def test_slopes(kind: Kind, collection, quantity: str):
    """Slope of log L against central differences, 1e-6, and 1e-3 of lifetimes, where rounding counts.

    The information is Jᵀ V⁻¹ J, J by differences: 1e-5.

    What holds the mean of a landscape is in neither.
    """
    random, here = np.random.default_rng(0), problem(kind, collection, quantity)
    around = {"diffusivity": float(np.log(0.04)), "landscape": 0.0}.get(kind.name, 0.4)
    x = jnp.append(0.4 * random.standard_normal(COUNT * COUNT) + around, 50.0 if quantity == "energy" else 0.0)
    along = jnp.append(random.standard_normal(COUNT * COUNT), 0.0)
    tangent, step = here.tangent(x), 1e-5
    if kind.level:
        held = level(x, tangent.state.density, 0 * x, 0.0)
        tangent = tangent._replace(slope=tangent.slope - held[0], information=tangent.information - held[1])
    ends = [x - step * along, x + step * along]
    slope = (here.misfit(ends[0]) - here.misfit(ends[1])) / (2 * step)
    assert slope == pytest.approx(float(tangent.slope @ along), rel=1e-6, abs=1e-3 if quantity == "lifetime" else 1e-5)
    low, high = (here.expected(here.state(end), end) for end in ends)
    answer = (high - low) / (2 * step)
    law = tangent.expected if quantity == "intensity" else here.counts.floor
    assert float(along @ tangent.information @ along) == pytest.approx(float(jnp.sum(answer**2 / law)), rel=1e-5)


@pytest.mark.parametrize(("collection", "quantity"), SEEN)
def test_an_even_film(collection, quantity: str):
    """A map of the same loss everywhere, 4 L beyond the scan, in another film: what is known of it exactly, to 0.5 %.

    All light, intensity E (1/τ)/a and lifetime 1/a.
    """
    lifetimes, here = (
        quantity == "lifetime",
        problem(TRAPPING, collection, quantity, np.asarray(pixel_edges(35, PITCH))),
    )
    x = jnp.append(jnp.full(35 * 35, float(field_of(0.3, 4.0))), 0.0)
    found = here.state(x).images[COUNT * COUNT // 2]
    exact = float(even_numbers(FILM, Beyond(0.3, 0.04), collection, lifetimes=lifetimes))
    assert float(found) == pytest.approx(exact, rel=5e-3)
    if collection is None:
        assert exact == pytest.approx(1 / 0.55 if lifetimes else 5e3 * 0.25 / 0.55, rel=1e-7)


def scan(values=300.0, **changes) -> RasterScan:
    return RasterScan(values=np.full((5, 5), values) + np.arange(5), step=0.1, **changes)


def test_wrong_questions():
    """Where excitons go does not show when all light is taken; too much light or life; two kinds of data."""
    known: dict[str, Any] = {"diffusivity": 0.05, "lifetime": 5.0, "laser_fwhm": 0.3, "excitons": 1e3}
    with pytest.raises(InputError, match="wherever an exciton goes"):
        measure_map(scan=scan(), kind="landscape", **known)
    with pytest.raises(InputError, match=r"302 photons, a film without any extra loss 200"):
        measure_map(scan=scan(), **{**known, "excitons": 200.0})
    with pytest.raises(InputError, match=r"8 ns, a film without any extra loss 5"):
        measure_map(scan=scan(6.0, quantity="lifetime", uncertainty=np.full((5, 5), 0.1)), **known)
    with pytest.raises(InputError, match="they tell of a landscape only"):
        measure_map(scan=scan(2e3, quantity="energy", uncertainty=np.ones((5, 5))), **known)
    with pytest.raises(InputError, match="images or from a scan"):
        measure_map((), np.zeros((1, 2)), scan=scan(), **known)
    with pytest.raises(InputError, match="excitons = None"):
        measure_map(scan=scan(), **{**known, "excitons": None})


def test_a_scan_of_lifetimes_needs_no_number_of_excitons():
    """5 × 5 lifetimes of 2.5 ns with errors of 3 %: 0.2 per ns everywhere, within 4 errors, and nothing else found."""
    random = np.random.default_rng(2)
    values = 2.5 + 0.075 * random.standard_normal((5, 5))
    found = measure_map(
        scan=RasterScan(values=values, step=0.1, quantity="lifetime", uncertainty=np.full((5, 5), 0.075)),
        diffusivity=0.05, lifetime=5.0, laser_fwhm=0.3, prior="smooth",
    )  # fmt: skip
    lit = found.dose >= 0.1
    assert found.determined[lit].mean() > 0.5
    assert (np.abs(found.value - 0.2) < 4 * found.error)[lit & found.determined].all()
    assert found.source == "lifetime scan"
    assert abs(found.goodness["z"]) < 4
    assert found.patches() == []


def test_energies_of_a_film_at_rest():
    """Excitons that stay where they are made tell U as the laser and the detector see it: 3 % of its depth.

    20 nm of diffusion; the laser's Gaussian times the detector's has the width of both together.
    """
    film = FILM._replace(diffusivity=1e-4, laser=0.1)
    sides = np.asarray(pixel_edges(35, 0.04))
    x = (np.arange(35) - 17) * 0.04
    wave = 2 * np.pi / 0.8
    v = np.cos(wave * x)[None, :] * np.ones((35, 1))
    ones = np.ones(len(film.positions))
    counts = Counts(ones, ones, ones, ones, np.asarray(1.0))
    here = ScanProblem.make(LANDSCAPE, film, Edges(SIDES, SIDES, sides, sides), counts, Beyond(0.0, 1e-4),
                            collection=0.15, quantity="energy", noise="gaussian")  # fmt: skip
    at = jnp.append(jnp.asarray(v.ravel()), 2000.0)
    found = np.asarray(here.expected(here.state(at), at)).reshape(COUNT, COUNT)
    depth = 0.08617333262 * 295.0
    width2 = 1 / (1 / 0.1**2 + 1 / 0.15**2) + 0.04**2 / 12
    seen = 2000.0 + depth * np.exp(-(wave**2) * width2 / 2) * np.cos(wave * ALONG)
    np.testing.assert_allclose(found[COUNT // 2], seen, atol=0.03 * depth)
