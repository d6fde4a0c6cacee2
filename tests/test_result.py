"""A result keeps what it holds: through JSON, through its file, on one screen."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from excidiff.inverse.results.result import Estimate, FitResult, Measurement
from excidiff.inverse.results.screen import WIDTH, remark
from excidiff.inverse.results.wording import estimate_in_words, interval, p_in_words
from excidiff.inverse.terminal import NARROW, show_result
from excidiff.solver.solution import InputError
from tests.results import at_most, film, narrow_film


def test_json_has_the_schema_and_no_nan():
    document = json.loads(film().to_json(), parse_constant=lambda name: pytest.fail(f"{name} in result.json"))
    assert set(document) >= {
        "status", "model", "verdicts", "parameters", "measurements", "images", "scatter", "goodness",
    }  # fmt: skip
    length = document["parameters"]["diffusion_length"]
    assert set(length) >= {"value", "stderr", "interval95", "unit", "identifiable", "at_bound"}
    assert length["unit"] == "um"
    assert document["parameters"]["diffusivity"]["value"] is None
    assert [entry["status"] for entry in document["measurements"]] == ["fitted", "flagged", "failed"]
    assert len(document["images"]) == 3
    assert document["goodness"]["p_value"] is None  # was NaN


def test_numbers_that_are_not_finite_become_none():
    estimate = Estimate(np.float64(1.5), np.nan, (0.1, np.inf), "um")
    assert (estimate.value, estimate.stderr, estimate.interval95) == (1.5, None, (0.1, None))
    assert Estimate(np.inf, interval95=(np.nan, np.inf)).interval95 is None
    assert Estimate(1.0, interval68=(np.nan, 2.0)).interval68 == (None, 2.0)


def test_an_interval_of_68_percent_is_kept_and_said_where_the_error_says_something_else(tmp_path):
    result = film()
    wide = replace(result.parameters["diffusion_length"], interval68=(0.1, 0.9))
    kept = replace(result, parameters={**result.parameters, "diffusion_length": wide})
    assert FitResult.load(kept.save(tmp_path / "film.nc")).parameters["diffusion_length"].interval68 == (0.1, 0.9)
    assert "68 %: 0.1" in remark("diffusion_length", wide)
    even = replace(wide, interval68=(wide.value - wide.stderr, wide.value + 1.1 * wide.stderr))
    assert "68 %" not in remark("diffusion_length", even)


def test_saved_and_loaded_is_identical(tmp_path):
    """Every number comes back to the last bit, arrays with their dtype."""
    result = film()
    again = FitResult.load(result.save(tmp_path / "film.nc"))
    assert again.to_json() == result.to_json()
    assert again.parameters == result.parameters
    for before, after in zip((*result.measurements, result.laser), (*again.measurements, again.laser), strict=True):
        for name in ("counts", "model", "variance", "mask", "residual"):
            old, new = getattr(before, name), getattr(after, name)
            if old is None:
                assert new is None
            else:
                assert old.dtype == new.dtype
                np.testing.assert_array_equal(old, new)


def test_the_file_is_ordinary_netcdf(tmp_path):
    import xarray

    path = film().save(tmp_path / "film.nc")
    with xarray.open_datatree(path, engine="h5netcdf") as tree:
        image = tree["measurement_000"].to_dataset()
        assert image.counts.dims == ("y", "x")
        assert image.x.attrs["units"] == "um"
        np.testing.assert_allclose(np.diff(image.x), 0.05, rtol=1e-12)
        assert abs(float(image.x.mean())) < 1e-12
        assert json.loads(str(tree["document"].item()))["status"] == "partial"


def test_saving_leaves_no_torn_file(tmp_path, monkeypatch):
    """FAULTS 22: the disk fills up while a result is written; the old one is intact, nothing else lies about."""
    path = film().save(tmp_path / "film.nc")
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("excidiff.inverse.results.archive._write_group", full)
    with pytest.raises(InputError, match="No space left"):
        film().save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.nc"]


@pytest.mark.parametrize("damage", ["cut", "foreign", "text", "absent"])
def test_damaged_files_are_refused(tmp_path, damage):
    """FAULTS 23, 25: torn, foreign and missing files end in our own error, naming the file."""
    import h5py

    path = film().save(tmp_path / "film.nc")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "foreign":
        path.unlink()
        with h5py.File(path, "w") as file:
            file["a"] = [1.0]
    elif damage == "text":
        path.write_text("not a netCDF file")
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"film\.nc"):
        FitResult.load(path)


def test_one_screen_says_it_all():
    text = repr(film())
    assert "0.4796 ± 0.0021 µm" in text
    assert "not determined by these data" in text
    assert "3 images, 1 flagged, 1 failed" in text
    assert "fixes the diffusion length" in text
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 120
    assert "<table>" in film()._repr_html_()


def test_a_limit_on_one_screen():
    """The terminal shows the limit, not where the search ended."""
    text = repr(narrow_film())
    assert "< 0.0080 µm (95 %)" in text
    assert "upper limit" in text
    assert "0.0025" not in text


def test_one_screen_keeps_to_its_width():
    assert max(map(len, repr(film()).splitlines())) <= WIDTH
    assert "of 2 images" in repr(film())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Estimate(4.634e-5, 4.2e-7, unit="um^2/ns"), "(4.634 ± 0.042) × 10⁻⁵ µm²/ns"),
        (Estimate(4.634e-5, unit="um^2/ns"), "4.634 × 10⁻⁵ µm²/ns"),
        (Estimate(0.03104, 0.00011, unit="um^2/ns"), "0.03104 ± 0.00011 µm²/ns"),
        (Estimate(-2e-4, 2e-3, unit="um"), "-0.0002 ± 0.0020 µm"),
        (Estimate(0.0, unit="um"), "0 µm"),
        (Estimate(None, unit="um"), "–"),
        (at_most(0.008), "< 0.0080 µm (95 %)"),
        (at_most(123.0), "< 120 µm (95 %)"),
        (Estimate(0.1, None, (0.3, None), "um", at_bound=True), "> 0.30 µm (95 %)"),
        (Estimate(0.3, None, (0.3, None), "um", at_bound=True), "0.3 µm"),  # a bound that was set
    ],
)
def test_estimates_in_words(entry, words):
    assert estimate_in_words(entry) == words


def test_small_numbers_in_intervals_and_p_values():
    assert interval((4.55e-5, 4.71e-5)) == "(4.550 to 4.710) × 10⁻⁵"
    assert interval((None, 2e-5)) == "below 2 × 10⁻⁵"
    assert p_in_words(1e-30) == "p < 1e-10"
    assert p_in_words(0.414) == "p = 0.41"


def test_residuals_are_in_standard_deviations():
    counts, model = np.array([[9.0, 1.0]]), np.array([[4.0, 1.0]])
    one = Measurement("image", "a.tif", "fitted", counts=counts, model=model, variance=2 * model)
    assert one.residual is not None
    np.testing.assert_allclose(one.residual, [[5 / np.sqrt(8.0), 0.0]])
    masked = Measurement("image", "a.tif", "fitted", counts=counts, model=model, mask=np.array([[True, False]]))
    assert masked.residual is not None
    assert np.isnan(masked.residual[0, 1])


def test_import_is_light():
    """Importing the package loads neither matplotlib nor pandas nor xarray, and starts no JAX backend."""
    code = (
        "import sys, excidiff.inverse, excidiff.inverse.results.result\n"
        "heavy = {'matplotlib', 'pandas', 'xarray', 'h5py', 'pint', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_narrow_terminal_keeps_values_whole(monkeypatch, capsys):
    """Below 80 columns a remark stands under its row; values are not broken."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        show_result(film())
        lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        assert max(map(len, lines)) <= columns
        (row,) = [line for line in lines if "0.4796 ± 0.0021 µm" in line]
        assert ("95 %" in row) == (columns >= NARROW)
