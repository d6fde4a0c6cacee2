"""The command `excidiff map`: small films from files to folders, what is said of each kind, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.inverse import InputError, cli
from excidiff.inverse.fit.cells import KINDS, Beyond, Film
from excidiff.inverse.fit.even import Edges
from excidiff.inverse.fit.fieldmap import reference
from excidiff.inverse.fit.prediction import pixel_edges
from excidiff.inverse.mapfile import read_map_request, read_positions
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.mapfigure import map_figure
from excidiff.inverse.results.mappage import map_page, methods
from excidiff.inverse.results.mapped import FilmMap, told
from excidiff.inverse.results.result import Estimate
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
    edges = Edges(*(np.asarray(pixel_edges(COUNT, PITCH)),) * 4)
    images = np.asarray(reference(film, edges, Beyond(jnp.asarray(RATE), jnp.asarray(0.05))).images)
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
        ('parameter = "trapping_rate"\n', "", r'\[map\] parameter is missing; choose .*"diffusivity" or "landscape"'),
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
        (
            "[parameters]\n",
            '[parameters]\ncentre_x = {fixed = "0 um"}\n',
            "centre_x: a map of the trapping rate takes",
        ),
        ("[parameters]\n", '[parameters]\nrelease = {max = "1 /ns"}\n', "bound: of no use"),
        (
            "[parameters]\n",
            '[parameters]\ncapture = {fixed = "1e-3 um^2/ns"}\n',
            "takes diffusivity and lifetime alone",
        ),
        ('"trapping_rate"', '"trap_density"', 'capture is missing.* such as capture = {fixed = "2e-3 um'),
        ('"trapping_rate"', '"diffusivity"', "diffusivity: that is what the map is of"),
        (
            "[optics]\n",
            '[film]\ntemperature = "100 K"\n[optics]\n',
            "temperature: of no use to a map of the trapping rate",
        ),
        (
            "[[image]]\n",
            '[[raster]]\nfile = "scan.csv"\n[[image]]\n',
            "positions: those of a raster scan are in its own",
        ),
        ("[[image]]\n", '[[rastre]]\nfile = "scan.csv"\n[[image]]\n', "the nearest known key is 'raster'"),
    ],
)
def test_what_the_file_cannot_say(tmp_path, old: str, new: str, says: str):
    with pytest.raises(InputError, match=says):
        read_map_request(write(tmp_path, old, new))


SCAN = """
[excitation]
laser_fwhm = "300 nm"
[[raster]]
file = "scan.csv"
mask = "mask.csv"
gain = 1
[parameters]
diffusivity = {fixed = "0.05 um^2/ns"}
lifetime = {fixed = "5 ns"}
[map]
parameter = "trapping_rate"
excitons = 20000
prior = "smooth"
"""


def write_scan(folder: Path, old: str = "", new: str = "") -> Path:
    """The file of the scan, with something changed."""
    assert old in SCAN
    file = folder / "scan.toml"
    file.write_text(SCAN.replace(old, new), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[[raster]]", "[raster]", r"write \[\[raster\]\]"),
        ("[[raster]]\n", '[[raster]]\nfile = "one.csv"\n[[raster]]\n', "2 tables"),
        ('file = "scan.csv"\n', "", "has no file"),
        ("gain = 1", "gian = 1", "unknown key 'gian' in .*the nearest known key is 'gain'"),
        ("gain = 1", 'gain = "1"', r"gain = '1': write it like gain = 2.5"),
        ("gain = 1", "step = 0.2", 'step = 0.2: write it like step = "200 nm"'),
        ("gain = 1", "channel = 1.5", "channel = 1.5: write it like channel = 1"),
        ("gain = 1", 'quantity = "counts"', 'quantity = \'counts\': choose "intensity"'),
        ("gain = 1", 'time_unit = "ns"', "time_unit is of lifetimes"),
        ("gain = 1", 'quantity = "lifetime"', "excitons: lifetimes and energies are alike"),
        ("excitons = 20000\n", "", "excitons is missing.*photons of a position"),
        ("[map]\n", '[map]\npositions = "places.csv"\n', "positions: those of a raster scan"),
        ("[[raster]]\n", '[[image]]\nfile = "spots.npy"\n[[raster]]\n', r"both \[\[image\]\] and"),
        ("[[raster]]\n", '[optics]\npsf_fwhm = "200 nm"\npixel_size = "80 nm"\n[[raster]]\n',
         "psf_fwhm, pixel_size: of no use to a map of the trapping rate from an intensity scan"),
        ("[[raster]]\n", "[camera]\ngain = 2\n[[raster]]\n", r"gain: of no use.*scan's gain is written below \[\[rast"),
        ("[[raster]]\n", '[detection]\nbackground = "fit"\n[[raster]]\n', "that of a scan is not fitted"),
        ("[[raster]]\n", '[film]\ntemperature = "295 K"\n[[raster]]\n', "temperature: of no use"),
        ('laser_fwhm = "300 nm"\n', "", "laser_fwhm is missing"),
    ],
)  # fmt: skip
def test_what_a_scan_cannot_say(tmp_path, old: str, new: str, says: str):
    with pytest.raises(InputError, match=says):
        read_map_request(write_scan(tmp_path, old, new))


def test_lifetimes_have_no_background(tmp_path):
    """Nor excitons; what is left is read, the uncertainty as a file or as a number."""
    lived = SCAN.replace("excitons = 20000\n", "").replace("gain = 1", 'quantity = "lifetime"\nuncertainty = "e.csv"')
    (tmp_path / "scan.toml").write_text(lived, encoding="utf-8")
    found = read_map_request(tmp_path / "scan.toml")
    assert found.known == {"kind": "trapping_rate", "prior": "smooth", "diffusivity": 0.05, "lifetime": 5.0,
                           "laser_fwhm": pytest.approx(0.3)}  # fmt: skip
    assert found.paths()[1:] == [(role, str(tmp_path / name)) for role, name in
                                 (("raster", "scan.csv"), ("mask", "mask.csv"), ("uncertainty", "e.csv"))]  # fmt: skip
    (tmp_path / "scan.toml").write_text(lived.replace('"e.csv"', "0.1"), encoding="utf-8")
    assert read_map_request(tmp_path / "scan.toml").raster["uncertainty"] == 0.1
    (tmp_path / "scan.toml").write_text(lived + "[detection]\nbackground = 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="background: of no use to a map of the trapping rate from a lifetime scan"):
        read_map_request(tmp_path / "scan.toml")


@pytest.mark.parametrize(
    ("kind", "dropped", "added", "known"),
    [
        ("diffusivity", 'diffusivity = {fixed = "0.5 cm^2/s"}\n', "", {"lifetime": 5.0}),
        ("trap_density", "", 'capture = {fixed = "2e-3 um^2/ns"}\n',
         {"diffusivity": pytest.approx(0.05), "lifetime": 5.0, "capture": 2e-3}),
        ("landscape", "", "", {"diffusivity": pytest.approx(0.05), "lifetime": 5.0, "temperature": 295.0}),
        ("landscape", "", '[film]\ntemperature = "20 °C"\n',
         {"diffusivity": pytest.approx(0.05), "lifetime": 5.0, "temperature": pytest.approx(293.15)}),
    ],
)  # fmt: skip
def test_every_kind_has_its_numbers(tmp_path, kind: str, dropped: str, added: str, known: dict):
    """What `measure_map` is given, and nothing else."""
    file = write(tmp_path, dropped, "")
    text = file.read_text(encoding="utf-8").replace('"trapping_rate"', f'"{kind}"').replace("[map]", f"{added}[map]")
    file.write_text(text, encoding="utf-8")
    found = read_map_request(file)
    optics = {"laser_fwhm": pytest.approx(0.3), "psf_fwhm": pytest.approx(0.2)}
    said = {"kind": kind, "prior": "smooth", "excitons": 2e4, "background": 0.2}
    assert found.known == said | optics | known
    assert found.positions == str(tmp_path / "places.csv")
    assert found.raster is None


def test_a_scan_through_the_command(tmp_path):
    """An even film, E/(1 + kτ) photons of every position: its rate within 4 errors; the mask kept; its own words."""
    mask = np.ones((5, 5), int)
    mask[1, 2] = 0
    counts = np.random.default_rng(6).poisson(2e4 / (1 + RATE * 5.0), mask.shape)
    y, x = np.meshgrid(0.4 * np.arange(5), 0.4 * np.arange(5), indexing="ij")
    for name, values in (("counts", counts), ("mask", mask)):
        rows = "\n".join(f"{p:g},{q:g},{v}" for p, q, v in zip(x.ravel(), y.ravel(), values.ravel(), strict=True))
        file = tmp_path / ("scan.csv" if name == "counts" else "mask.csv")
        file.write_text(f"x_um,y_um,{name}\n{rows}\n", encoding="utf-8")
    assert cli.main(["map", str(write_scan(tmp_path)), "-o", str(tmp_path / "out")]) == cli.OK
    found = json.loads((tmp_path / "out" / "map.json").read_text(encoding="utf-8"))
    value, error = (np.array(found[name], dtype=float) for name in ("value", "error"))
    known = np.array(found["determined"])
    assert abs(np.median(value[known]) - RATE) < 4 * np.median(error[known])
    assert (found["source"], found["goodness"]["photons"]) == ("intensity scan", counts[mask > 0].sum())
    settings = found["settings"]
    run = settings.pop("run")
    assert {entry["role"] for entry in run["inputs"]} == {"map", "raster", "mask"}
    assert None not in settings.values()
    assert (settings["step"], settings["noise"], settings["positions_used"]) == (pytest.approx(0.4), "Poisson", 24)
    page = (tmp_path / "out" / "map.html").read_text(encoding="utf-8")
    assert "5 × 5 positions 400 nm apart, 24 of which are used" in page
    assert not any(words in page for words in ("point-spread", "psf", "all images"))
    with pytest.importorskip("xarray").open_dataset(tmp_path / "out" / "map.nc", engine="h5netcdf") as arrays:
        assert arrays.measured.units == "photons"
        assert np.isnan(arrays.measured).sum() == 1


def invented(kind: str, source: str, **change) -> FilmMap:
    """A map of noise, 6 × 7 cells, over 4 × 5 numbers."""
    random = np.random.default_rng(2)
    cells, numbers = (random.uniform(1.0, 2.0, shape) for shape in ((6, 7), (4, 5)))
    centres = [0.2 * (np.arange(n) - (n - 1) / 2) for n in cells.shape]
    ground = Estimate(0.0, None, unit="photons/pixel" if source == "images" else "photons/position", origin="given")
    found = FilmMap(
        kind, KINDS[kind].unit, centres[1], centres[0], 0.2, cells, 0.1 * cells, cells - 0.2, cells + 0.2, cells,
        np.minimum(cells - 1, 1.0), np.ones(cells.shape, bool), "smooth", 30.0, 0.0, 9.0, 1.2, ground,
        {"deviance_ratio": 1.0, "z": 0.1, "p_value": 0.4, "photons": None if source == "lifetime scan" else 1e5},
        np.zeros((20, 2)), source, numbers, numbers, 0.1 * numbers, (0.2, 0.2),
    )  # fmt: skip
    return replace(found, verdicts=told(found, coarse=None, chosen=True, settled=True), **change)


def asked(kind: str, source: str, **more) -> dict:
    """Settings, as the command writes them."""
    numbers = {"diffusivity": 0.05, "lifetime": 5.0, "capture": 2e-3, "temperature": 295.0}
    said = {"laser_fwhm": 0.3, **{name: numbers[name] for name in KINDS[kind].needs}}
    said |= {} if source in ("lifetime scan", "energy scan") else {"excitons": 2e4}
    said |= {"psf_fwhm": 0.2} if source == "images" else {"noise": "Poisson"}
    run = {"versions": {"excidiff": "1"}, "inputs": [], "command": "excidiff map film.toml"}
    return {**said, **more, "run": run}


@pytest.mark.parametrize("source", ["images", "intensity scan", "lifetime scan", "energy scan"])
@pytest.mark.parametrize("kind", KINDS)
def test_methods_of_every_kind_and_source(kind: str, source: str):
    """What was known, what varies, what the prior is of, and no optics or background that there were not."""
    text = methods(invented(kind, source), asked(kind, source))
    varies = {
        "trapping_rate": "a loss that varies",
        "lifetime": "a lifetime of at most 5 ns",
        "trap_density": "0.002 µm²/ns and a density",
        "diffusivity": "a diffusivity that varies",
        "landscape": "at 295 K, an energy",
    }
    assert varies[kind] in text
    of = {"diffusivity": "the logarithm of the diffusivity", "landscape": "the energy over k_BT"}
    assert f"squared gradient of {of.get(kind, 'the logarithm of the loss')})" in text
    assert ("point-spread" in text) == (source == "images")
    counted = source in ("images", "intensity scan")
    assert ("background" in text) == ("excitons," in text) == counted
    assert ("energy of the light of a flat film is given" in text) == (source == "energy scan")
    assert ("go on flat" in text) == (kind == "landscape")
    assert ("diffusivity 0.05" in text) == (kind != "diffusivity")


def test_light_near_the_laser_is_said():
    source = "lifetime scan"
    text = methods(invented("diffusivity", source), asked("diffusivity", source, collection_fwhm=0.4))
    assert "the mean age of its light in a Gaussian of 400 nm FWHM around the laser taken for the lifetime" in text


@pytest.mark.parametrize("case", ["blind landscape", "masked lifetimes", "even"])
def test_figures_of_what_is_missing(case: str):
    """No warning, and six maps with their bars, where nothing is determined, numbers are masked, or all are alike."""
    if case == "blind landscape":
        blank = np.full((6, 7), np.nan)
        found = invented("landscape", "images", value=blank, error=blank, resolution=blank)
    elif case == "masked lifetimes":
        numbers = np.ones((4, 5))
        numbers[1, 1] = np.nan
        found = invented("diffusivity", "lifetime scan", measured=numbers, noise=np.where(numbers > 0, 0.1, np.inf))
    else:
        one = np.ones((4, 5))
        found = invented("lifetime", "intensity scan", measured=one, modelled=one, error=np.full((6, 7), 0.1))
    figure = map_figure(found)
    assert len(encode(figure, "png")) > 10_000
    assert len(figure.axes) == 12
    if case == "blind landscape":
        found = replace(found, determined=np.zeros((6, 7), bool))
        assert "not determined" in map_page(found, asked("landscape", "images"))


def test_spots_are_marked_where_they_are_few():
    """At most 100, and of images alone."""
    marked = [
        sum(len(axes.lines) for axes in map_figure(found).axes)
        for found in (invented("lifetime", "images"), invented("lifetime", "images", positions=np.zeros((101, 2))),
                      invented("lifetime", "intensity scan"))
    ]  # fmt: skip
    assert marked == [1, 0, 0]


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
