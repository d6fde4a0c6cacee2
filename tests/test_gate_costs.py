"""Gates of what each kind of physics costs, as committed: `benchmarks/physics.py`, ratios of contenders in one run.

As in `test_gate_performance`, nothing is timed here; where the sources have moved on since, the terminal says so.
"""

import json

import pytest

from benchmarks.provenance import RESULTS, source_hash

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def costs(request) -> dict:
    found = json.loads((RESULTS / "physics-cpu.json").read_text())
    if found["sources"] != source_hash("solver", "benchmarks"):
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print("\nphysics-cpu.json: the sources have changed since they were timed")
    return found


@pytest.mark.parametrize(("case", "most"), [("N1", 8.0), ("N2", 5.0), ("N3", 2.0), ("N4", 4.0), ("N6", 20.0)])
def test_ratios(costs, case: str, most: float):
    """Nonlinear films, raster scans, gradients steady and in time, pulse trains: each against what it is made of."""
    assert len(costs[case]) >= 1
    for one in costs[case]:
        assert max(one["ratios"].values()) <= most, one


def test_energies(costs):
    """32 bins at 256²: 40 solves where all energies move alike, 120 where mobility falls, ντ = 10."""
    (found,) = costs["N7"]
    assert found["ratios"]["constant"] <= 40
    assert found["ratios"]["hops"] <= 120


def test_anisotropy(costs):
    (found,) = costs["N5"]
    for name, iterations in found["iterations"].items():
        assert iterations <= (30 if "100:1" in name else 20), name
