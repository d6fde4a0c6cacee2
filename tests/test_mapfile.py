"""The command `excidiff map`: a small film from files to a folder, and every way in which its file can be wrong."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse import InputError, cli
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.fit.ratemap import Edges, Film, reference
from excidiff.inverse.mapfile import read_map_request, read_positions
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.settings import LISTS, file_hash
from excidiff.solver.source import FWHM

WHOLE = """
[excitation]
laser_fwhm = "300 nm"
[optics]
psf_fwhm = "200 nm"
pixel_size = "120 nm"
[camera]
gain = 1
[detection]
background = 0.2
[[image]]
file = "spots.npy"
[parameters]
diffusivity = {fixed = "0.5 cm^2/s"}
lifetime = {fixed = "5 ns"}
[map]
parameter = "trapping_rate"
positions = "places.csv"
excitons = 20000
prior = "smooth"
"""
PLACES = np.array([[-0.2, -0.2], [0.2, -0.2], [-0.2, 0.2], [0.2, 0.2]])
COUNT, PITCH, RATE = 8, 0.12, 0.3


def write(folder: Path, old: str = "", new: str = "") -> Path:
    """The file of the film, with something changed."""
    assert old in WHOLE
    file = folder / "film.toml"
    file.write_text(WHOLE.replace(old, new), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Photons of an even film that traps at RATE, the exact images with noise, and the folder the command makes."""
    folder = tmp_path_factory.mktemp("map")
    film = Film(0.05, 5.0, 0.3 / FWHM, 0.2 / FWHM, 2e4, PLACES)
    images = np.asarray(reference(film, Edges(*(np.asarray(pixel_edges(COUNT, PITCH)),) * 4), jnp.asarray(RATE)).images)
    counts = np.random.default_rng(4).poisson(images + 0.2).astype(np.uint16)
    np.save(folder / "spots.npy", counts.reshape(-1, COUNT, COUNT))
    rows = "\n".join(f"{1e3 * x:g},{1e3 * y:g}" for x, y in PLACES)
    (folder / "places.csv").write_text(f"x (nm),y (nm)\n{rows}\n", encoding="utf-8")
    code = cli.main(["map", str(write(folder)), "-o", str(folder / "out")])
    return folder, code


def test_the_numbers(made):
    """An even film: its rate within 4 errors in the median, null where nothing is known, and what it was made from."""
    folder, code = made
    assert code == cli.OK
    found = json.loads((folder / "out" / "map.json").read_text(encoding="utf-8"))
    assert (found["parameter"], found["unit"], found["prior"]["name"]) == ("trapping_rate", "1/ns", "smooth")
    value, error = (np.array(found[name], dtype=float) for name in ("value", "error"))
    known = np.array(found["determined"])
    assert value.shape == (COUNT, COUNT)
    assert (np.isfinite(value) == known).all()
    assert abs(np.median(value[known]) - RATE) < 4 * np.median(error[known])
    assert abs(found["goodness"]["z"]) <= 4
    assert found["background"] == {"value": 0.2, "stderr": None, "interval95": None, "unit": "photons/pixel"}
    assert found["settings"]["diffusivity"] == pytest.approx(0.05)
    inputs = {entry["role"]: entry for entry in found["settings"]["run"]["inputs"]}
    assert set(inputs) == {"map", "image", "positions"}
    assert inputs["image"]["sha256"] == file_hash(folder / "spots.npy")
    assert found["verdicts"]
    assert found["patches"] == []


def test_the_arrays(made):
    """On x and y in µm, with units."""
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(made[0] / "out" / "map.nc", engine="h5netcdf") as found:
        assert set(found.data_vars) >= {"value", "lower", "upper", "error", "resolution", "dose", "determined"}
        assert found.attrs["format"] == "excidiff map 1"
        assert found.value.dims == ("y", "x")
        assert (found.value.units, found.resolution.units, found.x.units) == ("1/ns", "um", "um")
        np.testing.assert_allclose(found.x, (np.arange(COUNT) - 3.5) * PITCH)
        np.testing.assert_allclose(found.position, PLACES)
        assert float(found.measured.sum()) == np.load(made[0] / "spots.npy").sum()


def test_the_page_and_the_figure(made):
    """One page without requests; the figure in both kinds; a second run is refused unless asked for."""
    folder = made[0]
    text = (folder / "out" / "map.html").read_text(encoding="utf-8")
    assert all(words in text for words in ("What the data say", "Methods, to paste", "0.05 µm²/ns", "excidiff map"))
    assert "http" not in text.replace("http-equiv", "")
    assert all((folder / "out" / "figures" / f"map.{kind}").stat().st_size > 10_000 for kind in ("png", "svg"))
    assert cli.main(["map", str(folder / "film.toml"), "-o", str(folder / "out")]) == cli.BAD_INPUT


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[map]\n", "[mapp]\n", r"\[map\] is missing"),
        ('parameter = "trapping_rate"\n', "", r'\[map\] parameter is missing; choose "trapping_rate" or "lifetime"'),
        ('"trapping_rate"', '"capture"', "parameter = 'capture': choose"),
        ('positions = "places.csv"\n', "", "positions is missing"),
        ('positions = "places.csv"', "positions = 3", "path of a table"),
        ("excitons = 20000\n", "", "excitons is missing"),
        ("excitons = 20000", 'excitons = "20000"', "positive number"),
        ("excitons = 20000", "excitons = 0", "positive number"),
        ('prior = "smooth"', 'prior = "flat"', "prior = 'flat': choose"),
        ('prior = "smooth"', 'priors = "smooth"', "the nearest known key is 'prior'"),
        ('[[image]]\nfile = "spots.npy"\n', "", "there are no images"),
        ("[camera]\n", '[camera]\nregion = "0,8,0,8"\n', "uses whole images"),
        ('laser_fwhm = "300 nm"\n', "", r"\[excitation\] laser_fwhm is missing"),
        ('laser_fwhm = "300 nm"', 'laser = "laser.tif"', "not as images"),
        ('psf_fwhm = "200 nm"\n', "", r"\[optics\] psf_fwhm is missing"),
        ('psf_fwhm = "200 nm"', 'psf_fwhm = "200 ± 5 nm"', "psf_fwhm has an error"),
        ('laser_fwhm = "300 nm"', 'laser_fwhm = "300 nm"\nperiod = "25 ns"', "period: of no use"),
        ('diffusivity = {fixed = "0.5 cm^2/s"}\n', "", "diffusivity is missing"),
        ('lifetime = {fixed = "5 ns"}\n', "", "lifetime is missing"),
        ('{fixed = "5 ns"}', '{value = "5 ns", error = "0.1 ns"}', "does not carry on"),
        ("[parameters]\n", '[parameters]\ncentre_x = {fixed = "0 um"}\n', "centre_x: a map takes"),
        ("[parameters]\n", '[parameters]\nrelease = {max = "1 /ns"}\n', "bound: of no use"),
    ],
)
def test_what_the_file_cannot_say(tmp_path, old: str, new: str, says: str):
    with pytest.raises(InputError, match=says):
        read_map_request(write(tmp_path, old, new))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x_um,y_um\n0,0\n", "1 places for 2 images"),
        ("x,y\n0,0\n1,1\n", "no unit"),
        ("a_um,b_um\n0,0\n1,1\n", "columns x and y"),
        ("0,0\n1,1\n", "no header"),
    ],
)
def test_places_that_are_none(tmp_path, text: str, says: str):
    file = tmp_path / "places.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_positions(file, 2)
    with pytest.raises(InputError, match="there is no such file"):
        read_positions(tmp_path / "none.csv", 2)


def test_places_in_any_order_and_unit(tmp_path):
    file = tmp_path / "places.csv"
    file.write_text("number,y (nm),x_um\n1,500,0.1\n2,-500,0.2\n", encoding="utf-8")
    np.testing.assert_allclose(read_positions(file, 2), [[0.1, 0.5], [0.2, -0.5]])


def test_a_fit_does_not_take_it(tmp_path):
    """`excidiff fit` says which command does."""
    with pytest.raises(InputError, match="excidiff map"):
        read_protocol([str(write(tmp_path))], {}, dict.fromkeys(LISTS, ()))
