"""Gate of light absorbed again: it is told from relaxation."""

import pytest

from benchmarks.photons import FWHM, collect_guided, collect_spectra
from benchmarks.random_films import rising, table
from excidiff.inverse import Experiment
from excidiff.inverse.rivals import compare

pytestmark = pytest.mark.gate
OPTIMISED = True


def test_relaxation_and_reabsorption_are_told_apart():
    """Of a film that relaxes the comparison prefers relaxation, of one that guides light reabsorption."""
    edge = {"top": 3.0, "at": 2440.0, "tail": 15.0}
    film = {"photons": 3e6, "width": 0.15, "length": 0.42, "line": 22.0}
    scans = {
        "relaxation": collect_spectra(11, attempts=3.0, disorder=16.0, **film),
        "reabsorption": collect_guided(12, outcoupling=0.2, loss=0.3, absorption=rising(**edge), **film),
    }
    for name, scan in scans.items():
        experiment = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, absorption=table(**edge))
        rows = {row["model"]: row for row in compare(experiment).rows}
        assert set(rows) == {"free", "relaxation", "reabsorption"}
        assert min(rows, key=lambda one: rows[one]["predictive"]) == name
