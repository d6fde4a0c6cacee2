"""Decays: files, what a counter shows of an exponential, and fits whose errors hold."""

from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from benchmarks.photons import count_decay
from excidiff.inverse import Decay, InputError, Response, read_decay
from excidiff.inverse.fit.decay import DecayFit, fit_decay
from excidiff.inverse.fit.response import Shape, Window, above_dark, flash, gaussian_shape, shape_of, shown, unresolved
from excidiff.inverse.lifetimes import judged

# What is shown
# -------------


def spline(t: float) -> float:
    """The quadratic B-spline over 0 ≤ t < 3."""
    return float(sum(c * max(t - k, 0.0) ** 2 / 2 for k, c in enumerate((1, -3, 3, -1)))) if 0 < t < 3 else 0.0


def one_by_one(tau: float, shift: float, shape: Shape, window: Window) -> np.ndarray:
    """Photons per bin by quadrature over each piece, the pulses of fifty periods before and one after added up."""
    pulses = window.period * np.arange(-50, 2) if window.period is not None else np.zeros(1)
    edges = window.start + window.width * np.arange(window.bins + 1)

    def reached(t):
        return -np.expm1(-np.maximum(t - pulses, 0) / tau).sum()

    def seen(t, start):
        kinks = [s for s in t - shift - pulses if start < s < start + 3 * shape.width]
        pieces = np.sort(np.concatenate([start + shape.width * np.arange(4), kinks]))
        return sum(
            integrate.quad(lambda s: spline((s - start) / shape.width) * reached(t - s - shift), a, b)[0]
            for a, b in pairwise(pieces)
        )

    starts = shape.start + shape.width * np.arange(len(shape.weights))
    through = [sum(w * seen(t, s) for w, s in zip(shape.weights, starts, strict=True)) for t in edges]
    return np.diff(through) / shape.width


@pytest.mark.parametrize("period", [7.3, None])
@pytest.mark.parametrize("width", [0.25, 0.1])
@pytest.mark.parametrize("tau", [0.8, 0.02])
def test_bins_show_the_integral(period: float | None, width: float, tau: float):
    """Against quadrature to 1e-9, splines as wide as bins and not; bins do not divide the period."""
    shape = Shape(-0.3, width, np.array([0.2, 0.5, -0.1, 0.4]), alike=width == 0.25)
    window = Window(-1.0, 0.25, 12, period)
    np.testing.assert_allclose(shown(1 / tau, 0.137, shape, window), one_by_one(tau, 0.137, shape, window), atol=1e-9)


@pytest.mark.parametrize("tau", [1e-4, 1e4])
def test_a_period_holds_every_photon(tau: float):
    """However long the lifetime, and for scattered light; without a response as with one far narrower than a bin."""
    window = Window(0.4, 0.1, 80, 8.0)
    assert shown(1 / tau, 0.33, gaussian_shape(0.08), window).sum() == pytest.approx(1.0, rel=1e-9)
    sharp = shown(1 / tau, 0.33, gaussian_shape(5e-5), window)
    np.testing.assert_allclose(shown(1 / tau, 0.33, None, window), sharp, atol=1e-4 if tau < 0.1 else 1e-6)
    for shape in (gaussian_shape(0.08), None):
        assert flash(0.33, shape, window).sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("tau", [1e-3, 0.05, 0.9])
def test_a_gaussian_response_is_one(tau: float):
    """The exponentially modified Gaussian of SciPy, bin by bin, to what splines of a sixth of σ leave."""
    sigma, window = 0.12, Window(-1.0, 0.05, 100)
    law = stats.exponnorm(tau / sigma, scale=sigma) if tau > 0.01 else stats.norm(tau, np.hypot(sigma, tau))
    edges = window.start + window.width * np.arange(window.bins + 1)
    found = shown(1 / tau, 0.0, gaussian_shape(sigma), window)
    np.testing.assert_allclose(found, np.diff(law.cdf(edges)), atol=2e-6)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.5])
def test_a_measured_response_may_be_shifted(shift: float):
    """A Gaussian of σ = 1.2 bins, sorted into bins, as a flash somewhere in a bin: exact at no shift.

    Elsewhere the cubic spline of its cumulative counts is off by h⁴/384 of their fourth derivative, 7e-4, on each side.
    """
    edges = np.arange(-12.0, 13.0)
    shape = shape_of(-12.0, 1.0, np.diff(stats.norm.cdf(edges, scale=1.2)), alike=True)
    found = flash(shift, shape, Window(-12.0, 1.0, 24))
    expected = np.diff(stats.norm.cdf(edges, shift, 1.2))
    np.testing.assert_allclose(found, expected, atol=1e-10 if shift == 0 else 3e-3)


@pytest.mark.gate
def test_derivatives_of_what_is_shown():
    """Forward and reverse against central differences, of rate and shift, through jit and vmap, long and short.

    Each weighs 40 bins of differences of λ³P₄: 1e-7 of each other is what rounding leaves.
    """
    window, shape = Window(0.4, 0.1, 40, 8.0), gaussian_shape(0.08)

    def loss(p):
        return jnp.sum(jnp.sin(jnp.arange(40.0)) * shown(p[0], p[1], shape, window))

    points = jnp.array([[0.3, 0.33], [30.0, 0.8], [1e-3, 0.1]])
    reverse = jax.jit(jax.vmap(jax.grad(loss)))(points)
    forward = jax.jit(jax.vmap(jax.jacfwd(loss)))(points)
    np.testing.assert_allclose(forward, reverse, rtol=1e-7, atol=1e-15)
    for point, slope in zip(points, reverse, strict=True):
        steps = jnp.diag(1e-5 * point)
        central = jnp.array([(loss(point + s) - loss(point - s)) / (2 * s.sum()) for s in steps])
        np.testing.assert_allclose(slope, central, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("centre", [0.1, 0.5, 0.97])
def test_a_response_narrower_than_its_bins(centre: float):
    """A Gaussian of 0.35 bins, wherever in a bin: its centre and width back to 1e-3 of a bin, as nothing is noisy."""
    edges = np.arange(-8.0, 9.0)
    shape = unresolved(-8.0, 1.0, 1e5 * np.diff(stats.norm.cdf(edges, centre, 0.35)))
    assert shape is not None
    middle = shape.start + shape.width * (np.arange(len(shape.weights)) + 1.5)
    assert float(shape.weights @ middle) == pytest.approx(centre, abs=1e-3)
    assert 6 * shape.width == pytest.approx(0.35, abs=1e-3)  # 72 splines span twelve standard deviations


# Fits
# ----


def pulls(fit: DecayFit, lifetimes, weights) -> list[float]:
    """Of all lifetimes and all weights but one, the slowest first."""
    (tau, tau_cov), (share, share_cov) = fit.lifetimes, fit.weights
    found = list((tau - lifetimes) / np.sqrt(np.diag(tau_cov)))
    return found + list(((share - weights) / np.sqrt(np.maximum(np.diag(share_cov), 1e-300)))[:-1])


def drawn(seed: int, components: int) -> dict:
    """A film and a laboratory at random."""
    random = np.random.default_rng([seed, components])
    slow, ratio, share = random.uniform(1.5, 8.0), random.uniform(0.1, 0.4), random.uniform(0.3, 0.8)
    lab = {
        "photons": int(10 ** random.uniform(5.0, 6.0)),
        "period": random.uniform(12.5, 50.0),
        "fwhm": random.uniform(0.03, 0.2),
    }
    lab["width"] = lab["period"] / random.choice([600, 600.5])  # the period need not be full of bins
    if components == 1:
        return {"lifetimes": np.array([slow]), "weights": np.ones(1), **lab}
    return {"lifetimes": np.array([slow, ratio * slow]), "weights": np.array([share, 1 - share]), **lab}


def fitted(seed: int, components: int, kind: str) -> tuple[DecayFit, list[float]]:
    film = drawn(seed, components)
    fit = fit_decay(count_decay(seed, **film, kind=kind), components=components)
    return fit, pulls(fit, film["lifetimes"], film["weights"])


@pytest.mark.parametrize(("components", "kind"), [pytest.param(1, "measured", marks=pytest.mark.gate), (2, "gaussian")])
def test_a_random_decay(components: int, kind: str):
    """Two films each: every pull below 4.5 and the deviance within four of its own law."""
    for seed in (101, 102):
        fit, found = fitted(seed, components, kind)
        assert fit.converged
        assert fit.moving[:-1].all()
        assert np.abs(found).max() < 4.5
        assert abs(judged(fit)["z"]) < 4


@pytest.mark.gate
def test_the_simulated_film_decays(data: Path):
    """Both lifetimes and weights of `film_decay`, and the lifetime of `film_spots`, within 3.5 of their errors."""
    for folder, components, lifetimes, weights in (
        ("film_decay", 2, [5.0, 1.7], [0.7, 0.3]),
        ("film_spots/decay", 1, [5.0], [1.0]),
    ):
        decay = read_decay(data / folder / "decay.csv", irf=data / folder / "irf.csv", period="25 ns")
        fit = fit_decay(decay, components=components)
        assert np.abs(pulls(fit, lifetimes, weights)).max() < 3.5
        assert abs(judged(fit)["z"]) < 3


@pytest.mark.parametrize(("lifetimes", "told"), [([5.0], False), ([5.0, 2.5], True)])
def test_a_tail_whose_pulse_lies_before_it(lifetimes, told: bool):
    """A second lifetime that the deviance of all bins hardly sees shows in the sums of light over blocks of them."""
    edges = np.linspace(0.0, 40.0, 801)
    light = sum(-np.diff(np.exp(-edges / tau)) * tau for tau in lifetimes)
    counts = np.random.default_rng(5).poisson(3e4 * light / light.sum() + 3.0)
    tests = judged(fit_decay(Decay(0.5 * (edges[1:] + edges[:-1]) + 3.0, counts), components=1))
    assert abs(tests["z"]) < 5
    assert (tests["structure_p"] < 1e-6) == told


def test_the_background_of_a_response_is_found():
    """A tenth of the bins hold the peak; the rest a level of 3, known to √(3/900) = 0.06, and light by chance only."""
    random = np.random.default_rng(5)
    counts = random.poisson(3.0, 1000).astype(float)
    peak = 1e4 * np.exp(-(np.linspace(-3, 3, 100) ** 2))
    counts[200:300] += random.poisson(peak)
    light, level = above_dark(counts)
    assert level == pytest.approx(3.0, abs=0.25)
    assert light[200:300].sum() == pytest.approx(peak.sum(), abs=4 * np.sqrt(peak.sum()))
    assert np.count_nonzero(light) < 130


# Files
# -----

ROWS = [(0.1 * k, 1000 - 10 * k) for k in range(20)]


def written(folder: Path, header: str, rows=None, separator=",") -> Path:
    file = folder / "decay.csv"
    lines = [separator.join(f"{x:g}" for x in row) for row in rows or ROWS]
    file.write_text("\n".join(([header] if header else []) + lines))
    return file


@pytest.mark.parametrize(("header", "scale"), [("time_ns,counts", 1.0), ("t (ps),I", 1e-3), ("time/us,N", 1e3)])
def test_units_come_from_the_header(tmp_path: Path, header: str, scale: float):
    found = read_decay(written(tmp_path, header))
    np.testing.assert_allclose(found.time, scale * np.array(ROWS)[:, 0], atol=1e-12)
    np.testing.assert_array_equal(found.counts, np.array(ROWS)[:, 1])
    assert "from the column" in found.notes[0]


def test_errors_and_columns_by_name(tmp_path: Path):
    rows = [(t, n, 2 * n, 5.0) for t, n in ROWS]
    file = written(tmp_path, "time_ns\tlow\thigh\tsigma", rows, "\t")
    found = read_decay(file, column="high")
    np.testing.assert_array_equal(found.counts, 2 * np.array(ROWS)[:, 1])
    np.testing.assert_array_equal(found.uncertainty, np.full(20, 5.0))
    with pytest.raises(InputError, match="low, high, sigma"):
        read_decay(file)
    with pytest.raises(InputError, match="no column 'middle'"):
        read_decay(file, column="middle")


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("Time (ns)  Counts\n", 1.0),
        ("Time [nsec];N\n", 1.0),
        ("Decay's time ps\tN\n", 1e-3),
        ("time (sec),N\n", 1e9),
    ],
)
def test_units_as_people_write_them(tmp_path: Path, text: str, scale: float):
    separator = next((mark for mark in ";\t," if mark in text), "  ")
    found = read_decay(written(tmp_path, text.strip(), separator=separator))
    np.testing.assert_allclose(found.time, scale * np.array(ROWS)[:, 0], rtol=1e-12)


def test_numbers_as_spreadsheets_write_them(tmp_path: Path):
    """A decimal comma that the first line does not show; times rounded to a tenth of a bin."""
    file = tmp_path / "decay.csv"
    rows = [f"{round(0.01628 * k, 3):g};{100 - k}".replace(".", ",") for k in range(50)]
    file.write_text("\n".join(["time_ns;counts", *rows]))
    assert read_decay(file).width == pytest.approx(0.01628, rel=1e-2)


def test_a_unit_that_contradicts_the_file(tmp_path: Path):
    with pytest.raises(InputError, match="not in ns"):
        read_decay(written(tmp_path, "time_ps,counts"), time_unit="ns")


def test_a_third_column_is_not_taken_for_errors(tmp_path: Path):
    """Without names it may be anything; asked for, it is what it is asked for. Words that hold "err" are no errors."""
    rows = [(t, n, 3.0) for t, n in ROWS]
    with pytest.raises(InputError, match="several columns"):
        read_decay(written(tmp_path, "", rows), time_unit="ns")
    found = read_decay(written(tmp_path, "", rows), time_unit="ns", column=1, uncertainty=2)
    np.testing.assert_array_equal(found.uncertainty, np.full(20, 3.0))
    assert read_decay(written(tmp_path, "t (ns),terrylene")).uncertainty is None
    pairs = [(t, n, 1.0, 2 * n, 2.0) for t, n in ROWS]
    found = read_decay(written(tmp_path, "t (ns),A,A_err,B,B_err", pairs), column="B")
    np.testing.assert_array_equal(found.uncertainty, np.full(20, 2.0))


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        ("", None, "no unit"),
        ("time_ns,counts", [(t, -1.0) for t, _ in ROWS], "negative"),
        ("time_ns,counts", [(t, 0.0) for t, _ in ROWS], "zero"),
        ("time_ns,counts", [(t**2, n) for t, n in ROWS], "unequal width"),
        ("time_ns,counts", ROWS[:5], "8 bins"),
        ("time_ns,counts", [*ROWS[:-1], (1.9, float("nan"))], "not finite"),
        ("time_ns", [(t,) for t, _ in ROWS], "one column"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, header: str, rows, says: str):
    with pytest.raises(InputError, match=says):
        read_decay(written(tmp_path, header, rows))


def test_bad_questions_are_refused():
    time, counts = 0.1 * np.arange(20), 100.0 - np.arange(20)
    with pytest.raises(InputError, match="period of 1 ns"):
        Decay(time, counts, period=1.0)
    with pytest.raises(InputError, match="cannot tell 9 lifetimes"):
        fit_decay(Decay(time, counts), components=9)
    with pytest.raises(InputError, match="adds up to nothing"):
        Response(time, -counts)
    for wrong in ("50 ps", -1.0, np.ones(3)):
        with pytest.raises(InputError, match="irf"):
            Decay(time, counts, irf=wrong)
    with pytest.raises(InputError, match="not both"):
        read_decay("decay.csv", irf="irf.csv", irf_fwhm="50 ps")
