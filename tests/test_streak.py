"""Streak images: decays of bands of colours, images of a slit in time, what is refused. Truth from single photons."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from benchmarks.photons import FWHM, shoot_gates
from excidiff.inverse import Experiment, InputError, read_spectral_map, read_streak
from excidiff.inverse.cli import main
from excidiff.inverse.files.frames import read_frames, slit_frames
from excidiff.inverse.files.noise import scatter, settle_noise
from excidiff.inverse.files.spans import PLANCK_C, place_span, wavelength_span
from excidiff.inverse.files.streak import Streak
from excidiff.inverse.results.result import FitResult

WIDTH, LENGTH, LIFETIME, PIXEL = 0.15, 0.4, 5.0, 0.06


def write(path: Path, values, **axes) -> Path:
    """A NetCDF file with coordinates: name=(values, unit), in the order of the dimensions."""
    coordinates = {name: (name, where, {"units": unit}) for name, (where, unit) in axes.items()}
    xr.DataArray(values, dims=tuple(axes), coords=coordinates, name="counts").to_dataset().to_netcdf(path)
    return path


def slit_streak(seed: int, *, rows: int, bins: int = 80, photons: float = 3e5) -> np.ndarray:
    """Counts (time, x) of the light within `rows` pixels of 60 nm about the spot's middle, 0.2 ns a bin."""
    movie = shoot_gates(seed, 0.2 * np.arange(bins + 1), photons=photons, lifetime=LIFETIME, width=WIDTH,
                        length=LENGTH, background=0.02, shape=(64, 64), pixel=PIXEL)  # fmt: skip
    part = np.s_[32 - rows // 2 : 32 + rows // 2]
    return np.array([image.counts[part].sum(0) for image in movie])


def streak_file(path: Path, counts: np.ndarray, *, first: float = 0.1, turned: bool = False) -> Path:
    """`first`: ns, the centre of the first bin."""
    time, x = first + 0.2 * np.arange(counts.shape[0]), PIXEL * 1e3 * np.arange(counts.shape[1])
    if turned:
        return write(path, counts.T[::-1].astype("u2"), x=(x[::-1], "nm"), time=(1e3 * time, "ps"))
    return write(path, counts.astype("u2"), time=(time, "ns"), x=(x, "nm"))


def spectral_streak(**changes) -> Streak:
    """Two colours' bands: 500 to 510 nm decays with 1 ns, 510 to 520 nm with 3 ns; 50 counts at first per colour."""
    time, sides = 0.05 + 0.1 * np.arange(60), np.arange(500.0, 520.5)
    fast, slow = (np.exp(-time / lifetime) for lifetime in (1.0, 3.0))
    counts = np.round(50 * np.concatenate([np.tile(fast, (10, 1)), np.tile(slow, (10, 1))]).T)
    return Streak(**{"counts": counts, "time": time, "edges": PLANCK_C / sides, **changes})


# Files
# -----


def test_axes_may_come_in_any_order(tmp_path):
    counts = slit_streak(1, rows=4, photons=2e4)
    straight = read_streak(streak_file(tmp_path / "a.nc", counts))
    turned = read_streak(streak_file(tmp_path / "b.nc", counts, turned=True))
    np.testing.assert_array_equal(turned.counts, straight.counts)
    np.testing.assert_allclose(turned.time, straight.time, rtol=1e-12)
    np.testing.assert_allclose(turned.x, straight.x, atol=1e-12)
    assert any("taken for photons" in note for note in straight.notes)


def test_a_measured_streak_gives_decays_and_spectra(data):
    """The sum of all bands is the sum of all colours, and early light is bluer than late light."""
    streak = read_streak(data / "cathodoluminescence" / "GaAsSb_streak_image.hspy")
    blue, red, whole = streak.decays([(834, 870), "870.001..925.2 nm"]) + streak.decays()
    np.testing.assert_array_equal(blue.counts + red.counts, whole.counts)
    assert whole.counts.sum() == 1469328
    mean = [float((one.counts * one.time).sum() / one.counts.sum()) for one in (blue, red)]
    assert mean[0] < 0.8 * mean[1]
    assert "834 to 870 nm added up" in blue.notes


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"time": (np.arange(10.0), "ns"), "z": (np.arange(12.0), "um")}, "a streak image has time and one of"),
        ({"y": (np.arange(10.0), "um"), "x": (np.arange(12.0), "um")}, "no axis is 'time'"),
        ({"time": (np.zeros(10), "ns"), "x": (np.arange(12.0), "um")}, "neither rises nor falls"),
    ],
)
def test_other_axes_are_refused(tmp_path, axes, said):
    with pytest.raises(InputError, match=said):
        read_streak(write(tmp_path / "a.nc", np.ones((10, 12), "u2"), **axes))


def test_a_streak_is_no_spectral_map(tmp_path):
    path = write(tmp_path / "a.nc", np.ones((10, 12), "u2"), time=(np.arange(10.0), "ns"),
                 wavelength=(500 + np.arange(12.0), "nm"))  # fmt: skip
    with pytest.raises(InputError, match="read with read_streak"):
        read_spectral_map(path)


def test_signed_counts_need_an_uncertainty(tmp_path):
    axes = {"time": (np.arange(10.0), "ns"), "x": (0.1 * np.arange(12.0), "um")}
    path = write(tmp_path / "a.nc", np.arange(120.0).reshape(10, 12) - 5.0, **axes)
    with pytest.raises(InputError, match=r"5 of its numbers are negative.*from the data"):
        read_streak(path)
    assert (read_streak(path, uncertainty=2.0).uncertainty == 2.0).all()
    with pytest.raises(InputError, match="zero or less"):
        read_streak(path, uncertainty="0")
    with pytest.raises(InputError, match="the shape"):
        read_streak(path, uncertainty=np.ones((3, 3)))


# Noise read off the numbers
# --------------------------


@pytest.mark.parametrize(("even", "slope"), [(4.0, 0.0), (1.0, 0.3), (0.01, 1.0)])
def test_noise_is_read_off_smooth_spectra(even, slope):
    """√(a + b light) to 2 % in the middle, from 40 000 numbers; of one bin, whose light is a mean of 9, to 15 %."""
    random = np.random.default_rng(4)
    light = 5.0 + 400 * np.exp(-0.5 * ((np.arange(400) - 200) / 60) ** 2)[None] * np.linspace(0.1, 1, 100)[:, None]
    errors, told = scatter(light + np.sqrt(even + slope * light) * random.standard_normal(light.shape))
    off = errors / np.sqrt(even + slope * light) - 1
    assert abs(np.median(off)) < 0.02
    assert np.abs(off[light > 50]).max() < 0.15
    assert "estimated from differences of neighbouring bins" in told[0]
    assert len(told) == 1


def test_smoothed_numbers_are_told():
    """Means over five bins hide four fifths of the variance from neighbours."""
    random = np.random.default_rng(5)
    noise = np.apply_along_axis(np.convolve, 1, random.standard_normal((50, 304)), np.ones(5) / 5, "valid")
    _, told = scatter(100 + noise)
    assert any("smoothed" in note for note in told)


def test_what_is_given_wins():
    assert settle_noise(np.ones((2, 9)), "2.5", "a")[0].tolist() == [[2.5] * 9] * 2
    assert settle_noise(np.ones((2, 9)), None, "a")[0] is None
    with pytest.raises(InputError, match="no whole ones"):
        settle_noise(np.full((2, 9), 0.5), None, "a")


def test_stretches_are_read_with_their_units():
    assert wavelength_span("500..540 nm") == (500.0, 540.0)
    np.testing.assert_allclose(wavelength_span("2.3..2.5 eV"), (PLANCK_C / 2500, PLANCK_C / 2300))
    assert place_span("-500 nm..1.5 um") == (-0.5, 1.5)
    assert place_span((0, 1)) == (0.0, 1.0)
    for wrong, said in (
        ("540..500 nm", "smaller one"),
        ("500 nm", "FROM..TO"),
        ("5..6", "no unit"),
        ("..5 nm", "FROM"),
    ):
        with pytest.raises(InputError, match=said):
            wavelength_span(wrong)


# Time × wavelength
# -----------------


def test_bands_are_decays():
    """The counts have no noise: the lifetimes come out to the rounding of 50 counts, 1 %."""
    streak = spectral_streak()
    fast, slow = streak.decays([(500, 510), (510, 520)], period=25.0)
    assert (fast.period, fast.counts[0]) == (25.0, 10 * np.round(50 * np.exp(-0.05)))
    found = Experiment(decay=slow, model="free").fit().parameters["lifetime"]
    assert found.value == pytest.approx(3.0, rel=0.01)
    with pytest.raises(InputError, match="there are none"):
        streak.decays([(600, 610)])
    signed = spectral_streak(uncertainty=np.full(streak.counts.shape, 3.0))
    np.testing.assert_allclose(signed.decays([(500, 510)])[0].uncertainty, 3 * np.sqrt(10))
    with pytest.raises(InputError, match="its bands are decays"):
        slit_frames(streak, 0.2)


# Time × x
# --------


@pytest.mark.parametrize("rows", [2, 20])
def test_a_slit_in_time_gives_diffusivity_and_lifetime(tmp_path, rows):
    """D, τ and L within 4 of their errors, for a slit narrower than the spot and one wider; errors below 2.5 %."""
    images, gates = read_frames(streak_file(tmp_path / "a.nc", slit_streak(7, rows=rows)), slit=rows * PIXEL)
    assert images[0].spacing == (pytest.approx(rows * PIXEL), pytest.approx(PIXEL))
    assert "40 gates of 2 bins" in images[0].pixel_size_origin
    assert (len(images), gates[0, 0]) == (40, 0.0)
    np.testing.assert_allclose(np.diff(gates, axis=1), 0.4)
    found = Experiment(images=images, gates=gates, laser_fwhm=FWHM * WIDTH, psf_fwhm=1e-3).fit()
    for name, truth in (("diffusivity", LENGTH**2 / LIFETIME), ("lifetime", LIFETIME), ("diffusion_length", LENGTH)):
        one = found.parameters[name]
        assert one.stderr < 0.025 * truth
        assert abs(one.value - truth) < 4 * one.stderr
    assert abs(found.goodness["z"]) < 4
    assert "deconvolved_length" not in found.parameters
    assert not any("width subtraction" in said for said in found.verdicts)
    found.save(tmp_path / "a_result.nc")
    page = FitResult.load(tmp_path / "a_result.nc").report(tmp_path / "a.html").read_text(encoding="utf-8")
    assert "along the slit" in page


def test_bins_before_the_pulse_are_left_out(tmp_path):
    """Ten dark bins in front: the gates begin where the pulse is said to be, and not saying so is found out."""
    counts = slit_streak(8, rows=4)
    late = np.concatenate([np.zeros((10, 64)), counts])
    path = streak_file(tmp_path / "a.nc", late)
    with pytest.raises(InputError, match="still rises until"):
        read_frames(path, slit="0.24 um")
    images, gates = read_frames(path, slit="0.24 um", pulse="2 ns")
    assert sum(image.counts.sum() for image in images) == counts.sum()
    assert gates[0, 0] == 0.0
    dark = np.concatenate([counts, np.zeros((30, 64))])
    images, gates = read_frames(streak_file(tmp_path / "b.nc", dark), slit="0.24 um")
    assert gates[-1, 1] == pytest.approx(16.0, abs=0.41)
    with pytest.raises(InputError, match="end before the pulse"):
        read_frames(path, slit="0.24 um", pulse="30 ns")
    with pytest.raises(InputError, match="width of the slit"):
        read_frames(path)


def test_places_must_be_even():
    uneven = Streak(counts=np.ones((20, 20)), time=np.arange(20.0), x=np.arange(20.0) ** 1.1)
    with pytest.raises(InputError, match="not even"):
        slit_frames(uneven, 0.2)
    with pytest.raises(InputError, match="not all finite"):
        replace(uneven, counts=np.full((20, 20), np.nan))
    with pytest.raises(InputError, match="either wavelengths or places"):
        Streak(counts=np.ones((20, 20)), time=np.arange(20.0))


def test_the_command_line_fits_a_streak(tmp_path, monkeypatch):
    """Without --frame-time the file's own times are used; with it a labelled file is taken for frames as before."""
    monkeypatch.chdir(tmp_path)
    streak_file(tmp_path / "streak.nc", slit_streak(9, rows=6))
    words = ["fit", "--frames", "streak.nc", "--laser-fwhm", f"{1e3 * FWHM * WIDTH} nm"]
    assert main([*words, "-o", "none"]) == 1
    assert main([*words, "--slit", "360 nm", "-o", "out"]) == 0
    found = FitResult.load(tmp_path / "out" / "result.nc")
    lifetime = found.parameters["lifetime"]
    assert abs(lifetime.value - LIFETIME) < 4 * lifetime.stderr
    (tmp_path / "film.toml").write_text(
        f'[excitation]\nlaser_fwhm = "{1e3 * FWHM * WIDTH} nm"\n[[frames]]\nfile = "streak.nc"\nslit = "360 nm"\n'
    )
    assert main(["fit", "film.toml", "-o", "two"]) == 0
    assert main(["rerun", "out"]) == 0
    assert (tmp_path / "out-rerun" / "result.json").read_text() != ""


def test_a_movie_may_have_its_own_times(tmp_path):
    """Images with an axis of time: the same counts and gates as by hand; frames before the pulse are left out."""
    movie = shoot_gates(11, 0.5 * np.arange(9), photons=2e5, lifetime=LIFETIME, width=WIDTH, length=LENGTH, pixel=PIXEL)
    counts = np.array([image.counts for image in movie]).astype("u2")
    places = (PIXEL * np.arange(64), "um")
    path = write(tmp_path / "a.nc", counts, time=(0.25 + 0.5 * np.arange(8), "ns"), y=places, x=places)
    images, gates = read_frames(path)
    np.testing.assert_allclose(gates[:, 1], 0.5 * np.arange(1, 9))
    np.testing.assert_array_equal([image.counts for image in images], counts)
    assert images[0].spacing == (pytest.approx(PIXEL), pytest.approx(PIXEL))
    images, gates = read_frames(path, pulse="1 ns")
    assert (len(images), gates[0].tolist()) == (6, [0.0, pytest.approx(0.5)])
    turned = write(tmp_path / "b.nc", counts.transpose(1, 2, 0), y=places, x=places, time=(np.arange(8.0), "ns"))
    with pytest.raises(InputError, match="frames have time first"):
        read_frames(turned)


def test_info_says_what_a_file_holds(tmp_path, data, capsys):
    streak_file(tmp_path / "a.nc", slit_streak(1, rows=4, photons=2e4))
    assert main(["info", str(tmp_path / "a.nc"), str(data / "cathodoluminescence" / "GaAsSb_streak_image.hspy")]) == 0
    said = capsys.readouterr().out
    assert "a streak image along x: --frames FILE with --slit" in said
    assert "a streak image of spectra in time" in said


def test_the_command_line_fits_bands_and_chosen_curves(tmp_path, monkeypatch):
    """--bands of a streak image, --skip and --curve of a table; each also in an experiment's file."""
    monkeypatch.chdir(tmp_path)
    streak = spectral_streak()
    random = np.random.default_rng(10)
    light = 50 * np.exp(-streak.time[:, None] / np.repeat([1.0, 3.0], 10))
    write(tmp_path / "streak.nc", random.poisson(light).astype("u2"), time=(streak.time, "ns"),
          wavelength=(np.arange(500.5, 520.5), "nm"))  # fmt: skip
    bands = "500..510 nm, 510..520 nm"
    assert main(["fit", "--decay", "streak.nc", "--bands", bands, "--model", "free", "-o", "out"]) == 0
    found = [one.parameters["lifetime"].value for one in FitResult.load(tmp_path / "out" / "result.nc").decays]
    np.testing.assert_allclose(found, [1.0, 3.0], rtol=0.06)  # 5000 and 12 000 photons: 4 errors
    curves = [random.poisson(500 * np.exp(-streak.time / lifetime)) for lifetime in (1.0, 3.0)]
    rows = [(0.0, 999.0), *((t, c) for counts in curves for t, c in zip(streak.time, counts, strict=True))]
    (tmp_path / "stack.csv").write_text("time_ns,counts\n" + "".join(f"{t:.4f},{c:.0f}\n" for t, c in rows))
    words = ["fit", "--decay", "stack.csv", "--skip", "1", "--curve", "1", "--model", "free"]
    assert main([*words, "-o", "second"]) == 0
    second = FitResult.load(tmp_path / "second" / "result.nc").parameters["lifetime"].value
    assert second == pytest.approx(3.0, rel=0.06)
    (tmp_path / "film.toml").write_text('model = "free"\n[[decay]]\nfile = "stack.csv"\nskip = 1\ncurve = 1\n')
    assert main(["fit", "film.toml", "-o", "third"]) == 0
    assert FitResult.load(tmp_path / "third" / "result.nc").parameters["lifetime"].value == second
    assert main(["rerun", "second"]) == 0
    assert main(["fit", "--decay", "stack.csv", "--curve", "one"]) == 1
    assert main(["fit", "--decay", "stack.csv", "--skip", "1", "--curve", "1", "--bands", bands, "-o", "none"]) == 1
    assert main(["fit", "--skip", "1", "spot.tif"]) == 1
