"""An experiment's file: what it says reaches the fit, what it cannot say is refused in its own words."""

import json
from pathlib import Path

import pytest

from excidiff.inverse import InputError, cli
from excidiff.inverse.demo import Film, write_demo
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.settings import LISTS, FitSettings
from excidiff.inverse.typed import bounds_of, prior_of

OPTIMISED = True

SMALL = Film(pixels=(64, 72), photons=40_000, laser_photons=100_000, spots=2)
NOTHING = dict.fromkeys(LISTS, ())


def read(folder: Path, text: str, **options) -> FitSettings:
    file = folder / "film.toml"
    file.write_text(text, encoding="utf-8")
    return read_protocol([str(file)], options, NOTHING)


WHOLE = """
model = "free"
[excitation]
laser_fwhm = "297 nm"
period = "25 ns"
[optics]
psf_fwhm = "180 nm"
pixel_size = "50 nm"
[camera]
gain = 2
[detection]
background = 1.5
[[image]]
file = "spot_*.tif"
[[image]]
file = "b.tif"
[[decay]]
file = "decay.csv"
irf = "irf.csv"
column = "counts"
[parameters]
diffusion_length = {start = "0.3 um", min = "0.1 um", max = "2 um"}
centre_x = {fixed = "0 um"}
centre_y = {value = "0.1 um", error = "0.02 um"}
amplitude = {value = 3000, error = 100}
"""


def test_everything_arrives(tmp_path):
    for name in ("spot_2.tif", "spot_1.tif"):
        (tmp_path / name).touch()
    found = read(tmp_path, WHOLE, noise="gaussian")
    names = ("spot_1.tif", "spot_2.tif", "b.tif")
    assert found == FitSettings(
        images=tuple(str(tmp_path / name) for name in names),
        decay=(str(tmp_path / "decay.csv"),),
        irf=str(tmp_path / "irf.csv"),
        decay_column="counts",
        period="25 ns",
        model="free",
        laser_fwhm="297 nm",
        psf_fwhm="180 nm",
        pixel_size="50 nm",
        gain="2",
        background="1.5",
        noise="gaussian",
        fix=("centre_x=0 um",),
        bound=("diffusion_length=0.1 um..2 um",),
        start=("diffusion_length=0.3 um",),
        prior=("centre_y=0.1 ± 0.02 um", "amplitude=3000 ± 100"),
    )


def test_a_lifetime_with_its_error(tmp_path):
    text = '[[image]]\nfile = "a.tif"\n[parameters]\nlifetime = {value = "5 ns", error = "0.1 ns"}\n'
    assert read(tmp_path, text).lifetime == "5 ± 0.1 ns"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[exitation]\n", "'excitation'"),
        ('[excitation]\nlaser_fwm = "300 nm"\n', "'laser_fwhm'"),
        ('[image]\nfile = "a.tif"\n', r"write \[\[image\]\]"),
        ('[[raster_scan]]\nfile = "a.tif"\n', r"a scan is written \[\[raster\]\]"),
        ('[[raster]]\nfile = "a.csv"\n', "without .map.: a scan is mapped, by excidiff map, or .*its peak_density"),
        ('[[decay]]\nfile = "a.csv"\npeak_density_error = "60 /um^2"\n', "but no peak density"),
        ('[[image]]\nfile = "x_*.tif"\n', "no file matches"),
        ('[[decay]]\nfile = "a.csv"\nirf = "i.csv"\n[[decay]]\nfile = "b.csv"\n', "fit the two apart"),
        ('[excitation]\npulse = "double"\n', '"single" or "continuous"'),
        ('[excitation]\npulse = "single"\nperiod = "25 ns"\n', "both pulse and period"),
        ('[parameters]\nlifetime = {start = "5 ns", fixed = "4 ns"}\n', "say one of fixed, tie"),
        ('[parameters]\nlifetime = {fixed = "5 ns", min = "1 ns"}\n', "say one of"),
        ('[parameters]\nlifetime = {value = "5 ns", error = "100 ps"}\n', "in one unit"),
        ('[parameters]\ncentre_x = {value = "1 um"}\n', "a value without an error"),
        ("model = true\n", "must be a text"),
    ],
)
def test_what_cannot_be_said_is_refused(tmp_path, text: str, says: str):
    with pytest.raises(InputError, match=says):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lifetime=1 ns..5 ns", ("lifetime", (1.0, 5.0))),
        ("diffusion_length=..2 um", ("diffusion_length", (None, 2.0))),
        ("background=0.5..", ("background", (0.5, None))),
    ],
)
def test_bounds_as_typed(text, expected):
    assert bounds_of(text) == expected


@pytest.mark.parametrize("text", ["lifetime", "lifetime=5 ns", "lifetime=..", "lifetme=1 ns..2 ns"])
def test_bounds_that_are_none(text):
    with pytest.raises(InputError, match="--bound"):
        bounds_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("disorder=16 ± 1 meV", ("disorder", (16.0, 1.0))),
        ("diffusion_length = 300 +/- 5 nm", ("diffusion_length", (0.3, 0.005))),
        ("lifetime=5.0(1) ns", ("lifetime", (5.0, 0.1))),
        ("amplitude=3000 ± 100", ("amplitude", (3000.0, 100.0))),
        ("centre_x=-0.1 ± 0.02 um", ("centre_x", (-0.1, 0.02))),
    ],
)
def test_priors_as_typed(text, expected):
    name, pair = prior_of(text)
    assert name == expected[0]
    assert pair == pytest.approx(expected[1])


@pytest.mark.parametrize("text", ["lifetime", "lifetime=5 ns", "lifetime=5 ± 1", "disordr=16 ± 1 meV"])
def test_priors_that_are_none(text):
    with pytest.raises(InputError, match="--prior"):
        prior_of(text)


def test_a_fit_by_its_file(tmp_path):
    """The demonstration from a file beside it; the same from the run.toml that it leaves; a bound that holds."""
    demo = write_demo(tmp_path / "demo", seed=5, film=SMALL)
    text = """
        excitation = {laser = "laser.tif"}
        [[image]]
        file = "spot_*.tif"
        [[decay]]
        file = "decay.csv"
        irf = "irf.csv"
        [parameters]
        diffusion_length = {max = "0.25 um", start = "0.1 um"}
        lifetime = {start = "2 ns"}
    """
    (demo / "film.toml").write_text(text, encoding="utf-8")
    assert cli.main(["fit", str(demo / "film.toml"), "-o", str(tmp_path / "out")]) in (cli.OK, cli.SOME_FAILED)
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert [entry["kind"] for entry in found["measurements"]] == ["image", "image", "decay"]
    assert found["parameters"]["diffusion_length"]["at_bound"]
    assert found["parameters"]["diffusion_length"]["value"] == pytest.approx(0.25)
    assert (
        abs(found["parameters"]["lifetime"]["value"] - SMALL.lifetime) < 4 * found["parameters"]["lifetime"]["stderr"]
    )
    assert cli.main(["rerun", str(tmp_path / "out"), "-o", str(tmp_path / "again")]) in (cli.OK, cli.SOME_FAILED)
