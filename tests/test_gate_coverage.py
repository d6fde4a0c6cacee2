"""Gates of the coverage of intervals, kind of fit by kind: `benchmarks/coverage_kinds.py`, as committed.

Over N films the share of intervals that hold the truth is p ± 3 √(p(1 − p)/N). One film of each kind is measured again,
and gives what the study has of it.
"""

import json

import numpy as np
import pytest

from benchmarks import coverage_kinds as study
from benchmarks.provenance import RESULTS

pytestmark = pytest.mark.gate
OPTIMISED = True
RESULT = RESULTS / "coverage_kinds.json"
DONE = json.loads(RESULT.read_text()) if RESULT.is_file() else {}


def window(share: float, count: int) -> float:
    return 3 * np.sqrt(share * (1 - share) / count)


NUMBERS = [(name, key) for name in DONE for key in study.KINDS[name][1]]


@pytest.mark.parametrize("name", DONE)
def test_films(name: str):
    """As many as asked for, nearly all converged, and the summary is theirs."""
    assert DONE[name]["cases"] >= study.CASES
    assert len(DONE[name]["unsettled"]) < 0.05 * DONE[name]["cases"]
    assert study.summarise(DONE[name]) == DONE[name]["summary"]


@pytest.mark.parametrize(("name", "key"), NUMBERS)
def test_intervals_hold_the_truth(name: str, key: str):
    one = DONE[name]["summary"][key]
    print(f"{name}, {key}: {one['within_1_stderr']:.3f} within 1 σ, {one['within_interval95']:.3f} within 95 %")
    assert one["with_an_error"] > 0.95 * DONE[name]["cases"]
    assert abs(one["within_1_stderr"] - 0.6827) < window(0.6827, one["with_an_error"])
    assert abs(one["within_interval95"] - 0.95) < window(0.95, one["with_an_interval"])


@pytest.mark.parametrize("name", DONE)
def test_a_film_again(name: str):
    """The second film of the study: every number as committed, to a hundredth of its error."""
    again, before = study.run_case(name, {"interval": "fisher", "draws": None}, 1), DONE[name]["first"][1]
    for key, (value, stderr, *_) in before["found"].items():
        found = again["found"][key]
        assert abs(found[0] - value) < 0.01 * stderr
        assert found[1] == pytest.approx(stderr, rel=0.01)


def test_there_are_results():
    assert set(DONE) == set(study.KINDS)


def test_intervals_by_bootstrap():
    """The same of images, 500 films, by `--interval bootstrap`."""
    found = json.loads((RESULTS / "coverage_kinds-bootstrap.json").read_text())["image"]
    one = found["summary"]["diffusion_length"]
    assert found["cases"] >= study.CASES
    assert study.summarise(found) == found["summary"]
    assert abs(one["within_1_stderr"] - 0.6827) < window(0.6827, one["with_an_error"])
    assert abs(one["within_interval95"] - 0.95) < window(0.95, one["with_an_interval"])
