"""Decays: files, what a counter shows of an exponential, and fits whose errors hold."""

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from excidiff.inverse import Decay, InputError, Response, read_decay
from excidiff.inverse.fit.decay import DecayFit, dark_level, fit_decay
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.likelihood import goodness
from excidiff.inverse.fit.response import Boxes, Window, boxes_of, flash, gaussian_boxes, shown, unresolved

# What is shown
# -------------


def one_by_one(tau: float, shift: float, boxes: Boxes, window: Window) -> np.ndarray:
    """Photons per bin by quadrature over each box, the pulses of fifty periods before and one after added up."""
    period = window.period if window.period is not None else 1e3
    edges = window.start + window.width * np.arange(window.bins + 1)

    def reached(t):
        """Share of the photons of all pulses by time t."""
        pulses = period * np.arange(-50, 2) if window.period is not None else np.zeros(1)
        return -np.expm1(-np.maximum(t - pulses, 0) / tau).sum()

    def seen(t, start):
        return (
            integrate.quad(lambda s: reached(t - s - shift), start, start + boxes.width, points=None)[0] / boxes.width
        )

    starts = boxes.start + boxes.width * np.arange(len(boxes.share))
    through = np.array([sum(w * seen(t, s) for w, s in zip(boxes.share, starts, strict=True)) for t in edges])
    return np.diff(through)


@pytest.mark.parametrize("period", [7.3, None])
@pytest.mark.parametrize("width", [0.25, 0.1])
def test_bins_show_the_integral(period: float | None, width: float):
    """Against quadrature (1e-6 at the kinks), boxes as wide as bins and not; bins do not divide the period."""
    boxes = Boxes(-0.3, width, np.array([0.2, 0.5, -0.1, 0.4]), alike=width == 0.25)
    window = Window(-1.0, 0.25, 24, period)
    found = shown(1 / 0.8, 0.137, boxes, window)
    np.testing.assert_allclose(found, one_by_one(0.8, 0.137, boxes, window), atol=3e-6)


def test_a_period_holds_every_photon():
    """However long the lifetime, and for scattered light; without a response as with one far narrower than a bin."""
    window = Window(0.4, 0.1, 80, 8.0)
    for tau in (0.05, 3.0, 1e4):
        assert shown(1 / tau, 0.33, gaussian_boxes(0.08), window).sum() == pytest.approx(1.0, rel=1e-9)
        sharp = shown(1 / tau, 0.33, gaussian_boxes(5e-5), window)
        np.testing.assert_allclose(shown(1 / tau, 0.33, None, window), sharp, atol=1e-6)
    assert flash(0.33, gaussian_boxes(0.08), window).sum() == pytest.approx(1.0, rel=1e-12)
    assert flash(0.33, None, window).sum() == pytest.approx(1.0, rel=1e-12)


def test_a_gaussian_response_is_one():
    """The exponentially modified Gaussian of SciPy, bin by bin, to what boxes of a fifth of σ leave in fourth order."""
    sigma, tau = 0.12, 0.9
    window = Window(-1.0, 0.05, 100)
    law = stats.exponnorm(tau / sigma, scale=sigma)
    edges = window.start + window.width * np.arange(window.bins + 1)
    found = shown(1 / tau, 0.0, gaussian_boxes(sigma), window)
    np.testing.assert_allclose(found, np.diff(law.cdf(edges)), atol=1e-6)


def test_a_response_is_no_wider_than_it_was():
    """A Gaussian of σ = one bin, sorted into bins: its variance as boxes to 1e-3, not σ² + h²/6."""
    edges = np.arange(-12, 13) - 0.5
    boxes = boxes_of(edges[0], 1.0, np.diff(stats.norm.cdf(edges)))
    places = edges[:-1] + 0.5
    assert float(np.sum(boxes.share * places**2) + 1 / 12) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("centre", [0.1, 0.5, 0.97])
def test_a_response_narrower_than_its_bins(centre: float):
    """A Gaussian of 0.35 bins, wherever in a bin: its centre and width back to 1e-3 of a bin, as nothing is noisy."""
    edges = np.arange(-8.0, 9.0)
    boxes = unresolved(-8.0, 1.0, 1e5 * np.diff(stats.norm.cdf(edges, centre, 0.35)))
    assert boxes is not None
    middle = boxes.start + boxes.width * (np.arange(len(boxes.share)) + 0.5)
    assert float(boxes.share @ middle) == pytest.approx(centre, abs=1e-3)
    assert 4.8 * boxes.width == pytest.approx(0.35, abs=1e-3)  # 48 boxes span ten standard deviations


# Fits
# ----


def counted(
    seed: int, lifetimes, weights, *, photons: int, width: float, period: float, fwhm: float, kind: str
) -> Decay:
    """Photon by photon: an exponential age each, jitter, wrapped into the period; two counts per bin of background."""
    random = np.random.default_rng(seed)
    bins = int(period / width)
    edges, pulse = width * np.arange(bins + 1), 0.1 * period
    number = random.poisson(photons)
    age = random.exponential(random.choice(lifetimes, number, p=weights))
    jitter = random.normal(0.0, fwhm / 2.3548200450309493, (2, max(number, 100_000)))
    seen = np.histogram((pulse + age + jitter[0, :number]) % period, edges)[0] + random.poisson(2.0, bins)
    own = np.histogram((pulse + jitter[1, :100_000]) % period, edges)[0] + random.poisson(0.5, bins)
    time = 0.5 * (edges[1:] + edges[:-1])
    given = {"measured": Response(time, own), "gaussian": fwhm, "none": None}[kind]
    return Decay(time, seen, irf=given, period=period)


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
    lab["width"] = lab["period"] / random.choice([600, 1000.5])  # the period need not be full of bins
    if components == 1:
        return {"lifetimes": np.array([slow]), "weights": np.ones(1), **lab}
    return {"lifetimes": np.array([slow, ratio * slow]), "weights": np.array([share, 1 - share]), **lab}


def deviation(fit: DecayFit) -> float:
    """Of the deviance from its law, in standard deviations."""
    return goodness(fit.counts, fit.expected, Detector(), fitted=int(fit.moving.sum())).z


def fitted(seed: int, components: int, kind: str) -> tuple[DecayFit, list[float]]:
    film = drawn(seed, components)
    fit = fit_decay(counted(seed, **film, kind=kind), components=components)
    return fit, pulls(fit, film["lifetimes"], film["weights"])


@pytest.mark.parametrize(("components", "kind"), [(1, "measured"), (2, "gaussian")])
def test_a_random_decay(components: int, kind: str):
    """Two films each: every pull below 4.5 and the deviance within four of its own law."""
    for seed in (101, 102):
        fit, found = fitted(seed, components, kind)
        assert fit.converged
        assert fit.moving[:-1].all()
        assert np.abs(found).max() < 4.5
        assert abs(deviation(fit)) < 4


@pytest.mark.gate
@pytest.mark.parametrize(("components", "kind"), [(1, "measured"), (2, "measured"), (2, "gaussian")])
def test_thirty_random_decays(components: int, kind: str):
    """No start values, no settings: r.m.s. of the pulls within 1 ± 3/√(2N), N their number, none beyond 4.5."""
    found = np.concatenate([fitted(seed, components, kind)[1] for seed in range(30)])
    assert np.abs(found).max() < 4.5
    assert abs(np.sqrt(np.mean(found**2)) - 1) < 3 / np.sqrt(2 * len(found)), found


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
        assert abs(deviation(fit)) < 3


def test_the_background_of_a_response_is_found():
    """A tenth of the bins hold the peak; the rest a level of 3, known to √(3/900) = 0.06."""
    random = np.random.default_rng(5)
    counts = random.poisson(3.0, 1000).astype(float)
    counts[200:300] += 1e4 * np.exp(-(np.linspace(-3, 3, 100) ** 2))
    assert dark_level(counts) == pytest.approx(3.0, abs=0.25)


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
    with pytest.raises(InputError, match="not both"):
        read_decay("decay.csv", irf="irf.csv", irf_fwhm="50 ps")
