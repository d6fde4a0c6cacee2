"""Samples compared by the results of their images: the statistics against scipy and simulations, files, refusals."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
from scipy import optimize, stats

from excidiff.inverse import InputError
from excidiff.inverse.cli import main
from excidiff.inverse.fit.uncertainty import weighted_mean
from excidiff.inverse.results.result import Estimate, FitResult, Measurement
from excidiff.inverse.results.sampled import SURE, Sample, Single
from excidiff.inverse.samples import combine, common_error, holm, pairs_of, pool, spread_interval, summarise
from excidiff.inverse.samplesjob import SAMPLE_FILES, compare_folders, samples_of
from excidiff.inverse.tails import chi2_quantile, t_both_tails, t_quantile

CASES = 2000
WINDOW = 3 * np.sqrt(0.05 * 0.95 / CASES)  # of a rate of 5 %: three binomial standard deviations, 1.5 %
LASER = {"run": {"inputs": [{"role": "laser", "path": "laser.tif", "sha256": "one"}]}, "pixel_size": [0.05, 0.05]}


def write(folder, values, *, errors=0.003, stderr=None, settings=LASER, name="diffusion_length", unit="um", more=()):
    """The folder of a result with one image for every value, and others."""
    errors = np.broadcast_to(errors, len(values))
    images = [
        measured(f"spot_{k}.tif", value, error, name, unit)
        for k, (value, error) in enumerate(zip(values, errors, strict=True))
    ]
    whole = {name: Estimate(float(np.mean(values)), stderr, unit=unit)}
    folder.mkdir(parents=True)
    result = FitResult("converged", "film", parameters=whole, measurements=(*images, *more), settings=settings)
    (folder / "result.json").write_text(result.to_json(), encoding="utf-8")
    return str(folder)


def table_of(folder):
    return list(csv.DictReader((folder / "samples.csv").read_text(encoding="utf-8").splitlines()))


def measured(file, value, error, name="diffusion_length", unit="um", status="fitted", reason=None):
    ends = (value - 1.96 * error, value + 1.96 * error)
    return Measurement("image", file, status, reason, {name: Estimate(value, error, ends, unit)})


def sample(values, errors, name="A", stderr=None, instrument=()):
    singles = tuple(Single(f"{k}.tif", *pair, "used") for k, pair in enumerate(zip(values, errors, strict=True)))
    return summarise(Sample(name, name, "image", "film", singles, dict(instrument)), stderr)


def shown(random, number, spread, unequal, mean=0.0):
    """Images of a sample: (values, errors), errors around 1."""
    errors = np.exp(unequal * random.standard_normal(number))
    return mean + spread * random.standard_normal(number) + errors * random.standard_normal(number), errors


def difference(first, second):
    """(value, error, degrees of freedom) of two samples of images."""
    found = [(pool(*one), one[0].size - 1) for one in (first, second)]
    error, freedom = combine([(one.stderr**2, count) for one, count in found], 0.0)
    return found[0][0].value - found[1][0].value, error, freedom


@pytest.mark.parametrize("freedom", [0.7, 1, 2.5, 9, 80.3, 5000])
def test_tails_are_those_of_scipy(freedom):
    """Relative to 1e-9 from the middle to 1e-200; beyond 1e6 degrees of freedom, those of a normal number."""
    for t in (0.0, 1e-3, 0.5, 2.0, 6.0, 40.0):
        assert t_both_tails(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9, abs=1e-200)
    for tail in (0.9, 0.05, 1e-6):
        assert t_quantile(tail, freedom) == pytest.approx(stats.t.isf(tail / 2, freedom), rel=1e-9)
    assert t_quantile(0.05, 1e9) == pytest.approx(stats.norm.isf(0.025), rel=1e-9)
    whole = int(np.ceil(freedom))
    for tail in (0.975, 0.025):
        assert chi2_quantile(tail, whole) == pytest.approx(stats.chi2.isf(tail, whole), rel=1e-9)


def test_spread_is_where_q_has_its_expectation_and_quantiles():
    """Q(σ²) of 9 images, its roots by bisection: 1e-8. The interval holds the estimate, and is nothing for likes."""
    values, errors = shown(np.random.default_rng(1), 9, 4.0, 0.5)

    def q(variance):
        weights = 1 / (errors**2 + variance)
        return weights @ (values - weights @ values / weights.sum()) ** 2

    roots = [np.sqrt(optimize.brentq(lambda v, target=target: q(v) - target, 0, 1e4, xtol=1e-14, rtol=1e-14))
             for target in (stats.chi2.ppf(0.975, 8), 8, stats.chi2.ppf(0.025, 8))]  # fmt: skip
    assert (*spread_interval(values, errors), pool(values, errors).spread) == pytest.approx(
        (roots[0], roots[2], roots[1]), rel=1e-8
    )
    assert all(low < high for low, high in pairwise(roots))
    assert spread_interval(np.full(9, 0.3), errors) == (0.0, 0.0)


def test_interval_of_the_spread_holds_it():
    """1000 samples of 8 images, σ_b as large as their errors: 95 % within three binomial standard deviations, 2.1 %."""
    random = np.random.default_rng(2)
    found = [spread_interval(*shown(random, 8, 1.0, 0.4)) for _ in range(1000)]
    assert np.mean([low <= 1.0 <= high for low, high in found]) == pytest.approx(0.95, abs=0.021)


@pytest.mark.parametrize("numbers", [(6, 6), (4, 15)])
@pytest.mark.parametrize(
    ("spread", "unequal", "most"), [(0.0, 0.0, 1.0), (0.0, 0.5, 1.0), (0.7, 0.5, 0.99), (4.0, 0.5, 0.95)]
)
def test_interval_of_a_difference_holds_it(numbers, spread, unequal, most):
    """2000 pairs of samples: at least 95 % less the binomial window of 1.5 %.

    Without spread between images it may be more, as errors are never taken for smaller than they are; where the spread
    is all there is, it is no more than 95 % either (plus the window).
    """
    random = np.random.default_rng([3, *numbers, int(10 * spread), int(10 * unequal)])
    held = 0
    for _ in range(CASES):
        value, error, freedom = difference(*(shown(random, number, spread, unequal) for number in numbers))
        held += t_both_tails(value / error, freedom) > 0.05
    assert 0.95 - WINDOW <= held / CASES <= most + WINDOW


@pytest.mark.parametrize(("spread", "least"), [(0.0, 0.0), (3.0, 0.025)])
def test_like_samples_are_seldom_told_apart(spread, least):
    """2000 times three samples of one value: any pair told apart in at most 5 % + 1.5 % (three binomial σ).

    Holm's bound is for the worst dependence; three pairs of three samples stay above half of it where images differ.
    """
    random = np.random.default_rng([4, int(spread)])
    wrong = 0
    for _ in range(CASES):
        three = [shown(random, number, spread, 0.4) for number in (5, 8, 12)]
        found = [difference(three[a], three[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        wrong += min(holm([t_both_tails(value / error, freedom) for value, error, freedom in found])) < SURE
    assert least <= wrong / CASES <= 0.05 + WINDOW


def test_what_is_seen_four_times_in_five():
    """1000 pairs that differ by what `seen_from` says on average: 80 %, within 6 %, as the error itself scatters."""
    random = np.random.default_rng(5)
    pairs = [pairs_of([sample(*shown(random, 10, 1.5, 0.3), name) for name in "AB"])[0] for _ in range(60)]
    apart = np.mean([pair.seen_from for pair in pairs])
    seen = 0
    for _ in range(1000):
        value, error, freedom = difference(shown(random, 10, 1.5, 0.3, apart), shown(random, 10, 1.5, 0.3))
        seen += t_both_tails(value / error, freedom) < SURE
    assert seen / 1000 == pytest.approx(0.8, abs=0.06)


def test_numbers_of_a_pair_belong_together():
    """Interval and p-value are of one t; three pairs are corrected after Holm; the weighted mean is that of errors."""
    random = np.random.default_rng(6)
    three = [sample(*shown(random, 8, 0.5, 0.4, mean), name) for name, mean in (("A", 0.0), ("B", 0.3), ("C", 3.0))]
    pairs = pairs_of(three)
    for pair in pairs:
        low, high = pair.interval95
        assert t_both_tails((high - pair.value) / pair.stderr, pair.freedom) == pytest.approx(0.05, rel=1e-9)
        assert low + high == pytest.approx(2 * pair.value)
        assert (pair.p_value < 0.05) == (low * high > 0)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert [pair.corrected for pair in pairs] == holm([pair.p_value for pair in pairs])
    values, errors = (np.array([getattr(one, name) for one in three[0].singles]) for name in ("value", "stderr"))
    assert three[0].weighted == pytest.approx((np.average(values, weights=errors**-2.0), (errors**-2.0).sum() ** -0.5))


@pytest.mark.parametrize(("scatter", "budget"), [(0.0, 1e-9), (0.05, 0.05)])
def test_common_error_is_found_in_the_error_of_a_mean(scatter, budget):
    """Ten deconvolved lengths d, a laser of width w with error σ: an error of w σ/d is common to all of them.

    Their mean is that of a fit, `weighted_mean`. The share of it in every variance is taken for the same, which it is
    for equal lengths (exact) and not quite where d, and with it the error, differs by 5 % (5 %).
    """
    lengths = 0.25 * (1 + scatter * np.random.default_rng(7).standard_normal(10))
    column = 0.15 * 0.004 / lengths
    errors = np.hypot(column, 0.002)
    mean = weighted_mean(lengths, errors**2, column[:, None], np.ones((1, 1)))
    share, common = common_error(lengths, errors, float(mean.stderr))
    assert common == pytest.approx(column.mean(), rel=budget)
    assert share == pytest.approx((column**2 / errors**2).mean(), rel=2 * budget)
    assert common_error(lengths, errors, None) == (0.0, 0.0)


def test_common_error_cancels_with_one_laser_and_adds_with_two(tmp_path):
    """Of 20 images with 0.003 each, of which 0.002 is common: 0.002 in both means; in a difference none or √2 of it."""
    random, own = np.random.default_rng(8), np.sqrt(0.003**2 - 0.002**2)
    stderr = float(np.sqrt(0.002**2 + own**2 / 20))
    two = {**LASER, "run": {"inputs": [{"role": "laser", "path": "laser.tif", "sha256": "two"}]}}
    folders = [write(tmp_path / name, mean + own * random.standard_normal(20), stderr=stderr, settings=settings)
               for name, mean, settings in (("A", 0.3, LASER), ("B", 0.32, LASER), ("C", 0.3, two))]  # fmt: skip
    found = compare_folders(folders, None, "diffusion_length")
    assert [one.common for one in found.samples] == pytest.approx([0.002] * 3, rel=1e-6)
    assert [pair.one_instrument for pair in found.pairs] == [True, False, False]
    assert found.pairs[0].common == pytest.approx(0.0, abs=1e-9)
    assert found.pairs[1].common == pytest.approx(0.002 * np.sqrt(2), rel=1e-6)
    assert found.pairs[0].stderr < 0.0009 < 0.0028 < found.pairs[1].stderr
    assert any("was added to the differences of A and C, B and C" in said for said in found.verdicts)
    found = compare_folders(folders[:2], None, "diffusion_length")
    assert any("cancels in the differences" in said for said in found.verdicts)


def test_a_comparison_becomes_files(tmp_path, monkeypatch, capsys):
    """All that is promised is there, says the same, and is not replaced unasked."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(9)
    for name, mean in (("pristine", 0.300), ("annealed", 0.340), ("aged", 0.301)):
        write(tmp_path / name, mean + 0.003 * random.standard_normal(8))
    words = ["samples", "pristine", "annealed", "aged", "--names", "before", "<after>", "$later", "-o", "out"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "samples.csv").write_text("of an earlier one")
    assert main(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The diffusion length of <after> is longer than that of before by 0.0" in said
    assert "corrected for 3 pairs" in said
    assert "before and $later are not told apart" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(SAMPLE_FILES)
    document = json.loads((tmp_path / "out" / "samples.json").read_text())
    pair = document["pairs"][0]
    assert pair["samples"] == ["before", "<after>"]
    assert pair["told_apart"]
    assert pair["difference"] == pytest.approx(-0.04, abs=0.005)
    assert pair["interval95"][1] < 0
    assert not document["pairs"][1]["told_apart"]
    assert document["samples"][0]["counts"]["used"] == 8
    rows = table_of(tmp_path / "out")
    assert len(rows) == 24
    assert float(rows[3]["value"]) == document["samples"][0]["images"][3]["value"]
    page = (tmp_path / "out" / "samples.html").read_text(encoding="utf-8")
    assert "2 of 3 pairs differ" in page
    assert "&lt;after&gt;" in page
    assert "<after>" not in page


def test_what_does_not_count_is_left_out_and_said(tmp_path):
    """A flagged image and a failed one, one with only a limit, and one on a bound: by name and reason, everywhere."""
    limited = Estimate(0.001, None, (None, 0.02), "um", at_bound=True)
    bound = Estimate(0.5, None, (0.5, None), "um", at_bound=True)
    bad = (
        measured("odd.tif", 0.9, 0.001, status="flagged", reason="odd.tif: it has two spots"),
        Measurement("image", "torn.tif", "failed", "torn.tif: it is truncated"),
        Measurement("image", "narrow.tif", "fitted", None, {"diffusion_length": limited}),
        Measurement("image", "held.tif", "fitted", None, {"diffusion_length": bound}),
        Measurement("decay", "decay.csv", "fitted", None, {"lifetime": Estimate(3.0, 0.1, unit="ns")}),
    )
    values = [0.300, 0.301, 0.302]
    folders = [write(tmp_path / "A", values, more=bad), write(tmp_path / "B", values)]
    (tmp_path / "out").mkdir()
    found = samples_of(folders, None, "diffusion_length", tmp_path / "out")
    first = found.samples[0]
    assert first.mean.value == pytest.approx(0.301)
    assert [one.state for one in first.left_out] == ["flagged", "failed", "limit", "undetermined"]
    said = next(said for said in found.verdicts if "left out" in said)
    for words in ("A: 4 of 7", "odd.tif (flagged: it has two spots)", "torn.tif (failed: it is truncated)",
                  "narrow.tif (only a limit, < 0.020 µm (95 %))", "held.tif (no error, on a bound)",
                  "so that the mean is too large"):  # fmt: skip
        assert words in said
    assert "A has only 3 images" in " ".join(found.verdicts)
    rows = {row["file"]: row for row in table_of(tmp_path / "out")}
    assert (rows["odd.tif"]["used"], rows["odd.tif"]["reason"]) == ("no", "flagged: it has two spots")
    assert rows["narrow.tif"]["value"] == ""
    assert found.samples[1].spread95[1] >= 0.0
    assert found.pairs[0].value == pytest.approx(0.0, abs=1e-12)


def test_one_image_is_no_sample(tmp_path):
    """Its value is shown, its difference is not; of two others it still is, uncorrected for what was not asked."""
    random = np.random.default_rng(10)
    folders = [write(tmp_path / name, 0.3 + 0.003 * random.standard_normal(number))
               for name, number in (("A", 5), ("B", 1), ("C", 5))]  # fmt: skip
    found = compare_folders(folders, None, "diffusion_length")
    assert found.samples[1].mean.stderr == 0.003
    assert [pair.p_value is None for pair in found.pairs] == [True, False, True]
    assert found.pairs[1].corrected == found.pairs[1].p_value
    assert any("B has 1 image that counts: no difference from it can be told" in said for said in found.verdicts)
    assert not any("corrected" in said for said in found.verdicts)
    (tmp_path / "out").mkdir()
    samples_of(folders[:2], None, "diffusion_length", tmp_path / "out")
    assert "too few images to tell" in (tmp_path / "out" / "samples.html").read_text(encoding="utf-8")


def test_unlike_models_and_data_of_two_samples_are_warned_of(tmp_path):
    inputs = [{"role": "image", "path": "a/spot.tif", "sha256": "same"}]
    settings = {**LASER, "run": {"inputs": inputs}}
    folders = [write(tmp_path / name, [0.3, 0.31, 0.32], settings=settings) for name in "AB"]
    document = json.loads((tmp_path / "B" / "result.json").read_text())
    (tmp_path / "B" / "result.json").write_text(json.dumps({**document, "model": "film with a landscape"}))
    found = compare_folders(folders, None, "diffusion_length")
    assert any("unlike models" in said and "landscape" in said for said in found.warnings)
    assert any("spot.tif of B is spot.tif of A" in said for said in found.warnings)


@pytest.mark.parametrize(
    ("folders", "names", "quantity", "said"),
    [
        (["A"], None, "diffusion_length", "one sample only"),
        (["A", "nowhere"], None, "diffusion_length", "no such folder"),
        (["A", "empty"], None, "diffusion_length", r"holds no result\.json"),
        (["A", "torn"], None, "diffusion_length", "not the result of excidiff fit"),
        (["A", "strange"], None, "diffusion_length", "not the result of excidiff fit"),
        (["A", "B"], ["x"], "diffusion_length", "1 names for 2 folders"),
        (["A", "B"], ["x", "x"], "diffusion_length", "a name of its own"),
        (["A", "./A"], None, "diffusion_length", "given twice"),
        (["A", "B"], None, "lifetime", "--quantity may be diffusion_length"),
        (["A", "inches"], None, "diffusion_length", "its units differ, in in inches, um in A"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, monkeypatch, folders, names, quantity, said):
    monkeypatch.chdir(tmp_path)
    for name, unit in (("A", "um"), ("B", "um"), ("inches", "in")):
        write(tmp_path / name, [0.3, 0.31], unit=unit)
    for name, text in (("empty", None), ("torn", '{"measurements": ['), ("strange", '{"measurements": 3}')):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "result.json").write_text(text)
    with pytest.raises(InputError, match=said):
        compare_folders(folders, names, quantity)


def test_a_result_is_never_replaced(tmp_path, monkeypatch, capsys):
    """Not even with --overwrite where the folder is a sample's own."""
    monkeypatch.chdir(tmp_path)
    for name in "AB":
        write(tmp_path / name, [0.3, 0.31])
    before = (tmp_path / "A" / "result.json").read_bytes()
    assert main(["samples", "A", "B", "-o", "A", "--overwrite"]) == 1
    assert "never replaced" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "A" / "result.json").read_bytes() == before


def test_folders_of_one_name_keep_their_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/out", "b/out"):
        write(tmp_path / name, [0.3, 0.31, 0.32])
    found = compare_folders(["a/out", "b/out"], None, "diffusion_length")
    assert [one.name for one in found.samples] == ["a/out", "b/out"]
