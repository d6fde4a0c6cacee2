"""Models held against each other: what they predict unseen, when the data cannot tell, and the table in words."""

import json

import numpy as np
import pytest

from benchmarks.photons import count_decay, shoot
from excidiff.inverse import Experiment, InputError
from excidiff.inverse.cli import main
from excidiff.inverse.compare import Rival, verdict
from excidiff.inverse.rivals import compare

OPTIMISED = True

TWO = count_decay(3, [5.0, 1.7], [0.7, 0.3], photons=200_000, width=0.1, period=25.0, fwhm=0.1, kind="gaussian")


@pytest.fixture(scope="module")
def found():
    return compare(Experiment(decay=TWO))


def test_two_lifetimes_are_preferred_to_one_and_not_told_from_three(found):
    """Of two lifetimes: one is rejected and predicts far worse; a third predicts nothing more."""
    one, two, three = found.rows
    assert not one["accepted"]
    assert two["accepted"]
    assert one["predictive_above_least"] > max(1000, 2 * one["predictive_error"])
    assert abs(two["predictive"] - three["predictive"]) < max(3.0, 3 * three["predictive_error"])
    assert one["aic_above_least"] > 100
    assert two["bic_above_least"] == 0
    told = " ".join(found.verdicts)
    assert "'mixture of 2'" in told
    assert "reject 'free'" in told


def test_unseen_pixels_are_predicted_as_well_as_their_law_says(found):
    """The predictive deviance of the true model is that of the optimum and a little more: k to 4 k of n, k numbers."""
    two = found.rows[1]
    above = two["predictive"] - two["deviance"]
    assert 0 < above < 6 * two["numbers"]


def rival(name: str, numbers: int, deviance: float, unseen, *, accepted: bool = True) -> Rival:
    return Rival(name, name, numbers, len(unseen), deviance, 0.5, accepted, np.asarray(unseen))


def test_what_is_said_of_models_that_predict_alike_or_not():
    random = np.random.default_rng(1)
    base = random.chisquare(1, 1000)
    alike = verdict([rival("a", 2, 1000.0, base), rival("b", 4, 996.0, base + 1e-3 * random.standard_normal(1000))])
    assert "cannot tell 'a' and 'b' apart" in alike[0]
    apart = verdict([rival("a", 2, 1000.0, base + 0.5), rival("b", 4, 500.0, base)])
    assert apart[0].startswith("The data prefer 'b'")
    pair = [rival("a", 2, 1300.0, base, accepted=False), rival("b", 4, 996.0, base)]
    assert "'b'" in verdict(pair)[0].rpartition("simplest")[2]
    none = verdict([rival("a", 2, 1e4, base + 0.5, accepted=False), rival("b", 4, 9e3, base, accepted=False)])
    assert "None of them describes the data" in none[-1]


def test_one_model_has_no_rival():
    spot = shoot(1, photons=20_000, width=0.15, length=0.3)
    with pytest.raises(InputError, match="steady images and frames have one model"):
        compare(Experiment(images=[spot], laser_fwhm=0.35))


@pytest.mark.gate
def test_the_command_writes_a_table_and_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = np.column_stack([TWO.time, TWO.counts])
    np.savetxt("decay.csv", rows, fmt="%g", delimiter=",", header="time_ns,counts", comments="")
    words = ["compare", "--decay", "decay.csv", "--irf-fwhm", "100 ps", "--period", "25 ns", "-o", "out"]
    assert main(words) == 0
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [row["model"] for row in document["models"]] == ["free", "mixture of 2", "mixture of 3"]
    assert "ΔBIC" in (tmp_path / "out" / "compare.html").read_text()
    assert "predictive" in capsys.readouterr().out
