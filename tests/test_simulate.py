"""`excidiff simulate`: a film's file read into the library's objects, faults named, and answers on labelled axes.

Grids are small: what the solver answers is tested elsewhere, here that it is asked the right question.
"""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
import xarray
from numpy.testing import assert_allclose, assert_array_equal

from excidiff.inverse import cli
from excidiff.inverse.filmfile import EXAMPLE, read_film
from excidiff.inverse.results.populations import check_output, to_dataset
from excidiff.inverse.simulation import question, simulate
from excidiff.solver import (
    Disorder,
    Emission,
    Grid,
    InputError,
    Medium,
    Pulse,
    Solution,
    SolverError,
    Surface,
    Traps,
    evolve,
    gaussian_spot,
    pulse_train,
    steady_state,
    time_integral,
)
from excidiff.solver.light import Steady

ROOT = Path(__file__).resolve().parent.parent
GRID = Grid((6, 5), 0.1)
PLAIN = """
[grid]
shape = [6, 5]
spacing = 0.1
[medium]
diffusivity = 0.03
lifetime = 3.0
[source]
kind = "spot"
pulse = "single"
fwhm = 0.2
total = 50
[times]
at = [0, 1, 2.5]
"""
FILM = Medium(0.03, 3.0)
SPOT = gaussian_spot(GRID, fwhm=0.2, total=50.0)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled programs of these tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXCIDIFF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def written(folder: Path, text: str = PLAIN, *changes: tuple[str, str]) -> Path:
    """A film's file, with every (before, after) of `changes` made in it."""
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "film.toml"
    path.write_text(text, encoding="utf-8")
    return path


def same(found, expected) -> bool:
    """Whether two of the library's objects agree: structure exactly, numbers to the rounding of their units."""
    return bool(eqx.tree_equal(found, expected, rtol=1e-12, typematch=False))


def complaint(capsys, *arguments: object, code: int = cli.BAD_INPUT) -> str:
    """Run a command that must fail with `code`: one message, no traceback, unwrapped for matching."""
    assert cli.main([str(argument) for argument in arguments]) == code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert message.count("error:") == 1
    return " ".join(message.split())


def test_every_key_is_read(tmp_path):
    """All sections at once, quantities with units, maps of several formats in units of their own."""
    maps = {name: np.random.default_rng(i).random(GRID.shape) + 0.5 for i, name in enumerate("dlue")}
    np.save(tmp_path / "d.npy", maps["d"])
    np.savetxt(tmp_path / "l.csv", maps["l"], delimiter=",")
    np.savez(tmp_path / "both.npz", u=maps["u"], other=maps["e"])
    film = read_film(
        written(
            tmp_path,
            """
[grid]
shape = [6, 5]
spacing = ["100 nm", "0.1 um"]
periodic = [false, true]
[medium]
diffusivity = ["0.3 cm^2/s", {file = "d.npy", unit = "cm²/s"}]
lifetime = {file = "l.csv"}
landscape = {file = "both.npz:u", unit = "neV"}
temperature = "22 °C"
annihilation = "1e-2 cm^2/s"
auger = "1e-6 um^4/ns"
[[medium.traps]]
density = "2e10 cm^-2"
capture = 2e-3
release = "1 1/ns"
lifetime = "inf"
[[medium.traps]]
rate = {file = "d.npy", unit = "1/us"}
lifetime = "20 ns"
[medium.disorder]
width = "12 meV"
relaxation = "1.5 1/ns"
bins = 16
mobility = "hops"
[medium.surface]
bottom = "1e3 cm/s"
top = inf
[medium.emission]
radiative = "0.1 1/ns"
bimolecular = 5e-4
carriers = "1e9 cm^-2"
trap_yield = [0.5, 0]
[source]
kind = "spot"
period = "25 ns"
width = "100 ps"
fwhm = "300 nm"
centre = ["-100 nm", 0]
total = "80 excitons"
[times]
start = 0
stop = "10 ns"
count = 5
""",
        )
    )
    grid = Grid((6, 5), (0.1, 0.1), (False, True))
    medium = Medium(
        (0.03, jnp.asarray(0.1 * maps["d"])),
        jnp.asarray(maps["l"]),
        jnp.asarray(1e-6 * maps["u"]),
        295.15,
        Surface(bottom=0.01, top=np.inf),
        annihilation=1e-3,
        auger=1e-6,
        traps=(Traps(200.0, 2e-3, 1.0), Traps.linear(jnp.asarray(1e-3 * maps["d"]), lifetime=20.0)),
        disorder=Disorder(12.0, 1.5, 16, "hops"),
        emission=Emission(0.1, 5e-4, 10.0, (0.5, 0.0)),
    )
    assert same(film.grid, grid)
    assert same(film.medium, medium)
    assert_allclose(film.source, gaussian_spot(grid, fwhm=0.3, total=80.0, centre=(-0.1, 0.0)), rtol=1e-12)
    assert (film.light, film.width, film.period, film.edges) == ("train", 0.1, 25.0, None)
    assert_allclose(film.times, [0, 2.5, 5, 7.5, 10])
    keys = ["medium.diffusivity[1]", "medium.lifetime", "medium.landscape", "medium.traps[1].rate"]
    assert sorted(entry["key"] for entry in film.maps) == sorted(keys)
    assert all(len(entry["sha256"]) == 64 for entry in film.maps)


def test_numbers_are_in_the_units_of_the_library(tmp_path):
    film = read_film(written(tmp_path))
    assert same(film.medium, FILM)
    assert same(film.grid, GRID)
    assert_array_equal(film.source, SPOT)
    assert film.source.dtype == np.float64
    lasting = read_film(written(tmp_path, PLAIN, ("lifetime = 3.0", "lifetime = inf"))).medium
    assert lasting.lifetime == np.inf


@pytest.mark.parametrize(
    ("shape", "periodic", "centre"),
    [
        ("[80, 80]", "[false, false]", "[0, 0]"),
        ("[80, 80]", "[false, true]", "[1.6, -1.6]"),
        ("[1, 80]", "[false, false]", "[0.3, 0]"),
    ],
)
def test_the_peak_of_a_spot(tmp_path, shape, periodic, centre):
    """In cells h of a tenth of the width the highest average lies (h/σ)²/24 lower for each axis, 0.5 % for both; the
    centre being on a corner of the cells costs (h/σ)²/8 for each, 1.4 %.

    In a film of one row the light is even across it.
    """
    text = written(tmp_path, PLAIN, ("shape = [6, 5]", f"shape = {shape}\nperiodic = {periodic}"), ("0.1\n", "0.04\n"),
                   ("fwhm = 0.2", f"fwhm = 0.4\ncentre = {centre}"),
                   ("total = 50", 'peak_density = "2e10 cm^-2"'))  # fmt: skip
    assert float(read_film(text).source.max()) == pytest.approx(200.0, rel=0.025)


def test_light_from_a_file(tmp_path):
    """As density in its own unit, or scaled to a total; a camera's image that states the grid's spacing is welcome."""
    image = np.random.default_rng(0).integers(1, 100, GRID.shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "laser.tif", image, imagej=True, resolution=(10.0, 10.0), metadata={"unit": "um"})
    spot = 'kind = "spot"', "fwhm = 0.2\n", "total = 50"
    named = [(spot[0], 'file = "laser.tif"'), (spot[1], "")]
    found = read_film(written(tmp_path, PLAIN, *named)).source
    assert float(found.sum()) * 0.01 == pytest.approx(50.0, rel=1e-12)
    assert_allclose(found / found[0, 0], image / image[0, 0], rtol=1e-12)
    found = read_film(written(tmp_path, PLAIN, *named, (spot[2], 'kind = "file"\nunit = "excitons/cm^2"'))).source
    assert_allclose(found, 1e-8 * image, rtol=1e-12)


def test_even_light(tmp_path):
    changes = ('kind = "spot"', 'kind = "uniform"'), ("fwhm = 0.2\n", ""), ("total = 50", 'density = "3e10 cm^-2"')
    assert_allclose(read_film(written(tmp_path, PLAIN, *changes)).source, 300.0, rtol=1e-12)


PULSE = 'pulse = "single"'
CONTINUOUS = (PULSE, 'pulse = "continuous"')
AT = "at = [0, 1, 2.5]"
GATES = (AT, "edges = [0, 1, 2.5]")
NEVER = (f"[times]\n{AT}\n", "")
WIDE = (PULSE, f'{PULSE}\nwidth = "500 ps"')
TIMES = np.array([0.0, 1.0, 2.5])


@pytest.mark.parametrize(
    ("changes", "direct", "axes"),
    [
        ((CONTINUOUS, NEVER), lambda: steady_state(FILM, SPOT, GRID), ()),
        ((CONTINUOUS,), lambda: evolve(FILM, 0 * SPOT, GRID, TIMES, generation=SPOT), ("time",)),
        ((CONTINUOUS, GATES), lambda: time_integral(FILM, Steady(SPOT), GRID, edges=TIMES), ("gate",)),
        ((), lambda: evolve(FILM, SPOT, GRID, TIMES), ("time",)),
        ((GATES,), lambda: time_integral(FILM, SPOT, GRID, edges=TIMES), ("gate",)),
        ((NEVER,), lambda: time_integral(FILM, SPOT, GRID), ()),
        ((NEVER, WIDE), lambda: time_integral(FILM, SPOT, GRID), ()),
        ((WIDE,), lambda: evolve(FILM, 0 * SPOT, GRID, TIMES, generation=Pulse(SPOT, fwhm=0.5)), ("time",)),
        ((WIDE, GATES), lambda: time_integral(FILM, Pulse(SPOT, fwhm=0.5), GRID, edges=TIMES), ("gate",)),
    ],
)
def test_each_question_is_the_solvers(tmp_path, changes, direct, axes):
    found, expected = simulate(written(tmp_path, PLAIN, *changes)), direct()
    assert_array_equal(found.solution.density, expected.density)
    dataset = to_dataset(GRID, found.solution, times=found.film.times, edges=found.film.edges)
    assert dataset.density.dims == (*axes, "y", "x")
    assert ("integral" in found.words or "integrated" in found.words) == found.integrated


def test_what_is_written_comes_back(tmp_path, capsys):
    """Axes, units and record of examples/film.toml on a coarser grid: traps and emission after a pulse."""
    example = (ROOT / "examples" / "film.toml").read_text(encoding="utf-8")
    path = written(tmp_path, example, ("[48, 48]", "[7, 8]"), ('"60 nm"', '"300 nm"'))
    assert cli.main(["simulate", str(path), "-o", str(tmp_path / "film.nc"), "--rtol", "1e-2"]) == cli.OK
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "7 × 8 cells of 0.3 µm",
        "at 6 times from 0 ns to 10 ns",
        "time steps",
        "y = 0 µm, at 0 ns",
        "film.nc",
    ):
        assert part in shown
    grid, times = Grid((7, 8), 0.3), [0.0, 0.5, 1.0, 2.0, 5.0, 10.0]
    film = Medium(0.03, 5.0, traps=Traps(100.0, 3e-3, 0.01, 40.0), emission=Emission(0.1))
    expected = evolve(film, read_film(path).source, grid, times, rtol=1e-2)
    with xarray.open_dataset(tmp_path / "film.nc") as found:
        assert_array_equal(found.density, expected.density)
        assert_array_equal(found.trapped, expected.trapped)
        assert_array_equal(found.trapped_by_species, expected.trapped_by_species)
        assert_array_equal(found.emission, expected.emission)
        assert found.density.dims == ("time", "y", "x")
        assert found.trapped_by_species.dims == ("species", "time", "y", "x")
        assert all(variable.dtype == np.float64 for variable in found.data_vars.values())
        assert_array_equal(found.time, times)
        assert_allclose(found.x, grid.x)
        assert_allclose(found.y, grid.y)
        assert_array_equal(found.species, [1])
        units = {name: found[name].attrs["units"] for name in found.variables}
        assert units == {"density": "um^-2", "trapped": "um^-2", "trapped_by_species": "um^-2", "source": "um^-2",
                         "emission": "um^-2 ns^-1", "x": "um", "y": "um", "time": "ns", "species": "1"}  # fmt: skip
        assert all(found[name].attrs["long_name"] for name in found.variables)
        record = dict(found.attrs)
    assert record["film"] == path.read_text(encoding="utf-8")
    assert record["film_file"] == "film.toml"
    assert record["result"] == "converged"
    assert record["dtype"] == "float64"
    assert record["solver_error"] < 1e-2
    assert record["solver_steps"] > 1
    assert "jax" in json.loads(record["versions"])
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["film.nc", "film.toml"]


def test_gates_have_two_edges(tmp_path):
    assert cli.main(["simulate", str(written(tmp_path, PLAIN, GATES)), "-o", str(tmp_path / "film.nc")]) == cli.OK
    with xarray.open_dataset(tmp_path / "film.nc") as found:
        assert_array_equal(found.gate_start, [0, 1])
        assert_array_equal(found.gate_end, [1, 2.5])
        assert found.density.attrs["units"] == "ns um^-2"


def test_species_have_an_axis():
    """Before the times; and their sum beside them."""
    held = np.random.default_rng(0).random((2, 3, *GRID.shape))
    solution = Solution(held[0], jnp.asarray(0), {}, trapped_by_species=jnp.asarray(held))  # type: ignore[arg-type]
    found = to_dataset(GRID, solution, edges=np.arange(4.0), integrated=True)
    assert found.trapped_by_species.dims == ("species", "gate", "y", "x")
    assert_array_equal(found.species, [1, 2])
    assert_allclose(found.trapped, held.sum(axis=0))


def test_site_energies_have_an_axis():
    """Bins lie before the grid, after the times."""
    bins, energies = np.random.default_rng(0).random((3, 4, *GRID.shape)), np.linspace(-30.0, 10.0, 4)
    solution = SimpleNamespace(
        density=bins.sum(axis=1), trapped_by_species=None, emission=None, by_energy=bins, energies=energies
    )
    found = to_dataset(GRID, solution, times=TIMES)  # type: ignore[arg-type]
    assert found.density_by_energy.dims == ("time", "energy", "y", "x")
    assert found.energy.attrs["units"] == "meV"
    assert_array_equal(found.energy, energies)
    steady = SimpleNamespace(density=bins[0].sum(axis=0), trapped_by_species=None, emission=None, by_energy=bins[0],
                             energies=energies)  # fmt: skip
    assert to_dataset(GRID, steady).density_by_energy.dims == ("energy", "y", "x")  # type: ignore[arg-type]


def test_pulse_trains(tmp_path):
    """At times after a pulse and over gates, as the solver's functions say; with a width it takes its time."""
    train = (PLAIN, (PULSE, 'period = "25 ns"'))
    found = simulate(written(tmp_path, *train))
    expected = pulse_train(found.film.medium, SPOT, GRID, period=25.0, times=TIMES)
    assert_array_equal(found.solution.density, expected.density)
    gates = simulate(written(tmp_path, *train, ("at = ", "edges = ")))
    expected = time_integral(found.film.medium, SPOT, GRID, edges=TIMES, period=25.0)
    assert_array_equal(gates.solution.density, expected.density)
    assert "pulses every 25 ns" in gates.words
    wide = question(read_film(written(tmp_path, *train, ("period", "width = 0.5\nperiod"))))
    assert isinstance(wide.ask.args[1], Pulse)


TRAPS = "lifetime = 3.0\n[medium.traps]\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # keys and sections
        ([("[grid]", "[gird]")], r"unknown key 'gird'; the nearest known key is 'grid'"),
        ([("diffusivity", "diffusivty")], r"unknown key 'diffusivty' in \[medium\].*'diffusivity'"),
        ([("lifetime = 3.0", "lifetime = 3.0\nlifetime = 4.0")], r"'lifetime' appears twice \(again at line 8\)"),
        ([("[times]", "[grid]\n[times]")], r"'\[grid\]' appears twice"),
        ([("lifetime = 3.0", TRAPS + "densty = 3")], r"unknown key 'densty' in \[medium\.traps\].*'density'"),
        ([("lifetime = 3.0", "lifetime = 3.0\ntraps = 5")], r"medium\.traps = 5 is no section"),
        ([("lifetime = 3.0", "lifetime = 3.0\ntraps = [5]")], r"traps\[0\] = 5 .*write \[\[medium\.traps\]\] and"),
        ([("[medium]", "[medum]")], r"unknown key 'medum'; the nearest known key is 'medium'"),
        ([("[source]", "[times.source]")], r"unknown key 'source' in \[times\]"),
        ([("[times]", "[source.times]")], r"unknown key 'times' in \[source\]"),
        ([("[source]", "[medium.source]")], r"the section \[source\] is missing; it holds kind, pulse, period"),
        ([("lifetime = 3.0\n", "")], r"medium\.lifetime is missing; give it, such as lifetime = \"5 ns\""),
        ([("shape = [6, 5]\n", "")], r"grid\.shape is missing"),
        ([('kind = "spot"\n', "")], r"source\.kind is missing"),
        ([(f"{PULSE}\n", "")], r"source\.pulse is missing"),
        ([("lifetime = 3.0", "lifetime = ")], r"not valid TOML"),
        # numbers
        ([("lifetime = 3.0", 'lifetime = "3"')], r"medium\.lifetime: '3' has no unit"),
        ([("lifetime = 3.0", 'lifetime = "3 um"')], r"medium\.lifetime: .*another kind"),
        ([("lifetime = 3.0", 'lifetime = "3 nns"')], r"medium\.lifetime: .*did you mean 3 ns"),
        ([("lifetime = 3.0", "lifetime = -3.0")], r"medium\.lifetime: -3 ns is not possible"),
        ([("lifetime = 3.0", "lifetime = nan")], r"medium\.lifetime: nan ns is not possible"),
        ([("lifetime = 3.0", 'lifetime = "inf um"')], r"medium\.lifetime: .*another kind"),
        ([("lifetime = 3.0", f"lifetime = 1{'0' * 400}")], r"medium\.lifetime: inf ns is not possible"),
        ([("lifetime = 3.0", "lifetime = true")], r"medium\.lifetime: True is not a quantity"),
        ([("lifetime = 3.0", "lifetime = [3.0]")], r"medium\.lifetime: \[3\.0\] is not a quantity"),
        ([("lifetime = 3.0", 'lifetime = "l.npy"')], r"a map is written as \{ file = \"l\.npy\" \}"),
        ([("diffusivity = 0.03", "diffusivity = 0")], r"medium\.diffusivity: 0 um\^2/ns is not possible"),
        ([("diffusivity = 0.03", "diffusivity = [0.1, 0.1, 0.1]")], r"diffusivity: expected a pair \(Dx, Dy\), got 3"),
        ([("diffusivity = 0.03", 'diffusivity = [0.1, "3 ns"]')], r"medium\.diffusivity\[1\]: .*another kind"),
        ([("spacing = 0.1", "spacing = 400")], r"grid\.spacing: 400 um lies outside .*did you mean 400 nm"),
        ([("spacing = 0.1", "spacing = [0.1, 0.1, 0.1]")], r"grid\.spacing = .*expected a list of 2"),
        ([("shape = [6, 5]", "shape = [6, 5.5]")], r"grid\.shape = .*expected two values"),
        ([("shape = [6, 5]", "shape = [6, 0]")], r"grid\.shape: expected at least one row"),
        ([("shape = [6, 5]", 'shape = [6, 5]\nperiodic = ["no", "yes"]')], r"grid\.periodic = "),
        ([("lifetime = 3.0", "lifetime = 3.0\nlandscape = 5")], r"medium\.landscape: expected a map of grid\.shape"),
        # traps, surface, emission, disorder
        ([("lifetime = 3.0", TRAPS + "release = 1")], r"medium\.traps\.density and capture are missing; or give"),
        ([("lifetime = 3.0", TRAPS + "density = 1")], r"medium\.traps\.capture is missing"),
        ([("lifetime = 3.0", TRAPS + "density = 1\nrate = 1")], r"medium\.traps\.rate: .*not both"),
        ([("lifetime = 3.0", TRAPS + "rate = -1")], r"medium\.traps\.rate: -1 1/ns .*not negative"),
        ([("lifetime = 3.0", "lifetime = 3.0\n[[medium.traps]]\nrate=1\n[[medium.traps]]\nrates=1")],
         r"unknown key 'rates' in \[medium\.traps\[1\]\]"),
        ([("lifetime = 3.0", "lifetime = 3.0\n[medium.surface]\nleft = -1")], r"medium\.surface\.left: -1"),
        ([("[medium]", "periodic = [false, true]\n[medium]"),
          ("lifetime = 3.0", "lifetime = 3.0\n[medium.surface]\nleft = inf")], r"medium\.surface\.left: .*periodic"),
        ([("lifetime = 3.0", "lifetime = 3.0\n[medium.emission]\nradiative = 0.1\nbimolecular = 1e-3")],
         r"medium\.emission\.bimolecular: .*expected b ≤ B"),
        ([("lifetime = 3.0", TRAPS + "rate = 1\n[medium.emission]\nradiative = 0.1\ntrap_yield = 1.5")],
         r"medium\.emission\.trap_yield: .*at most 1"),
        ([("lifetime = 3.0", TRAPS + "rate = 1\n[medium.emission]\nradiative = 0.1\ntrap_yield = [0.5, 0.5]")],
         r"medium\.emission\.trap_yield: 2 yields for 1 species"),
        ([("lifetime = 3.0", "lifetime = 3.0\n[medium.disorder]\nwidth=12\nrelaxation=1\nbins=1")],
         r"medium\.disorder\.bins: expected an integer ≥ 2"),
        ([("lifetime = 3.0", "lifetime = 3.0\n[medium.disorder]\nwidth=12\nrelaxation=1\nbins=true")],
         r"medium\.disorder\.bins = True: expected a whole number"),
        ([("lifetime = 3.0", "lifetime = 3.0\n[medium.disorder]\nwidth=12\nrelaxation=1\nmobility='hop'")],
         r"medium\.disorder\.mobility = 'hop': expected one of \"constant\", \"hops\""),
        # light
        ([('"spot"', '"spt"')], r"source\.kind = 'spt': expected one of \"spot\", \"uniform\", \"file\""),
        ([(PULSE, 'pulse = "double"')], r"source\.pulse = 'double'"),
        ([(PULSE, f"{PULSE}\nperiod = 25")], r"source\.period: a train of pulses; leave pulse out"),
        ([CONTINUOUS, ("fwhm", "width = 1\nfwhm")], r"source\.width: the duration of a pulse, and the light is contin"),
        ([('"spot"', '"uniform"')], r"source\.fwhm: kind = \"uniform\" has no such key; it has density"),
        ([("total = 50\n", "")], r"source\.total: .*one of them is needed"),
        ([("total = 50", "total = 50\npeak_density = 5")], r"source\.total: .*not both"),
        ([("total = 50", 'total = "50 excitons/ns"')], r"source\.total: .*another kind"),
        ([CONTINUOUS, ("total = 50", 'total = "50 excitons"')], r"source\.total: .*another kind.*1/ns"),
        ([("total = 50", "total = 50\ncentre = [9, 0]")], r"source\.centre: x = 9\.0 µm lies outside the grid"),
        ([("total = 50", "total = 50\ncentre = [9]")], r"source\.centre = \[9\]: expected a list of 2"),
        # times
        ([(AT, "at = [2, 1]")], r"times\.at: 1 ns comes after 2 ns; expected rising times"),
        ([(AT, "at = [-1, 1]")], r"times\.at\[0\]: -1 ns is not possible"),
        ([(AT, "at = 3")], r"times\.at = 3: expected a list"),
        ([(AT, "at = []")], r"times\.at = \[\]: expected a list"),
        ([(AT, "edges = [1]")], r"times\.edges: one time; a gate has two edges"),
        ([(AT, f"{AT}\nedges = [1, 2]")], r"\[times\] takes at, .*not at and edges"),
        ([(AT, "")], r"\[times\] takes at, .*give one of them"),
        ([(AT, "start = 0\nstop = 1\ncount = 1")], r"times\.count: 1 times .*from two"),
        ([(AT, "start = 0\nstop = 1")], r"times\.count is missing"),
        ([(AT, "start = 0\nstop = 1\ncount = 10_000_000_000")], r"times\.count: .*from two to 1000000"),
        ([NEVER, ("lifetime = 3.0", "lifetime = 3.0\nannihilation = 1e-3")], r"\[times\] is missing: .*edges of a"),
        ([NEVER, (PULSE, "period = 25")], r"\[times\] is missing: source\.period makes a train"),
        ([CONTINUOUS, NEVER, ("lifetime = 3.0", "lifetime = inf")], r"nothing removes excitons"),
        # size
        ([("shape = [6, 5]", "shape = [1_000_000, 1_000_000]")], r"would need .* GB of memory.*grid\.shape"),
    ],
)  # fmt: skip
def test_faults_are_named(tmp_path, changes, message):
    """FAULTS 8, 9, 26, 29: what is wrong, in which section and key, and what to do; before any computing."""
    path = written(tmp_path, PLAIN, *changes)
    with pytest.raises(InputError, match=message) as caught:
        simulate(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("values", "line", "message"),
    [
        (None, 'lifetime = {file = "m.npy"}', r"medium\.lifetime: .*m\.npy: there is no such file"),
        (np.ones((6, 4)), 'lifetime = {file = "m.npy"}', r"lifetime: m\.npy has 6 rows × 4 columns, the grid 6 × 5"),
        (np.ones((2, 6, 5)), 'lifetime = {file = "m.npy"}', r"medium\.lifetime: .*2 frames where one map is needed"),
        (np.eye(6, 5) - 0.5, 'lifetime = {file = "m.npy"}', r"medium\.lifetime: -0\.5 at \(0, 1\); expected positive"),
        (np.full((6, 5), np.nan), 'landscape = {file = "m.npy"}', r"medium\.landscape: nan at \(0, 0\)"),
        (np.full((6, 5), 1e9), 'diffusivity = {file = "m.npy"}', r"diffusivity: the largest value of m\.npy: 1e\+09"),
        (np.full((6, 5), 60.0), 'landscape = {file = "m.npy", unit = "eV"}', r"landscape: the largest value of m\.npy"),
        (np.ones((6, 5)), 'lifetime = {file = "m.npy", unit = "nm"}', r"medium\.lifetime: 'nm' has a unit of another"),
        (np.ones((6, 5)), 'lifetime = {fil = "m.npy"}', r"unknown key 'fil' in \[medium\.lifetime\].*'file'"),
        (np.ones((6, 5)), 'lifetime = {unit = "ns"}', r"medium\.lifetime\.file is missing"),
        (np.ones((6, 5)), "lifetime = {file = 3}", r"medium\.lifetime\.file = 3: expected a text"),
        (np.array([{}], dtype=object), 'lifetime = {file = "m.npy"}', r"medium\.lifetime: .*pickled"),
    ],
)  # fmt: skip
def test_faulty_maps_are_named(tmp_path, values, line, message):
    """FAULTS 6, 8, 9, 25, 27."""
    if values is not None:
        np.save(tmp_path / "m.npy", values)
    old = {"lifetime": "lifetime = 3.0", "diffusivity": "diffusivity = 0.03", "landscape": "[source]"}
    before = old[line.split()[0]]
    path = written(tmp_path, PLAIN, (before, f"{line}\n[source]" if before == "[source]" else line))
    with pytest.raises(InputError, match=message) as caught:
        read_film(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (np.eye(6, 5) - 0.5, "", r"source\.file: m\.npy is -0\.5 at \(0, 1\); light is finite and not negative"),
        (np.zeros((6, 5)), "", r"source\.file: m\.npy is zero everywhere"),
        (np.ones((6, 5)), 'unit = "cm^-2"\ntotal = 3', r"source\.unit: .*one of the two"),
        (np.ones((6, 5)), 'unit = "nm"', r"source\.file: 'nm' has a unit of another kind"),
    ],
)
def test_faulty_light_is_named(tmp_path, values, more, message):
    np.save(tmp_path / "m.npy", values)
    changes = ('kind = "spot"', f'file = "m.npy"\n{more}'), ("fwhm = 0.2\ntotal = 50", "")
    with pytest.raises(InputError, match=message):
        read_film(written(tmp_path, PLAIN, *changes))


def test_a_map_of_another_spacing(tmp_path):
    """FAULTS 6: both are named."""
    image = np.ones(GRID.shape, np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", image, imagej=True, resolution=(20.0, 20.0), metadata={"unit": "um"})
    with pytest.raises(InputError, match=r"medium\.lifetime: m\.tif states a pixel size of 50 nm .*spacing of 0.1 µm"):
        read_film(written(tmp_path, PLAIN, ("lifetime = 3.0", 'lifetime = {file = "m.tif"}')))


def test_size_counts_frames_species_and_bins(tmp_path):
    """FAULTS 20: with an estimate made beforehand."""
    path = written(tmp_path)
    assert read_film(path, memory=1e5)
    for more in ("[medium.disorder]\nwidth=12\nrelaxation=1\nbins=9000", "[[medium.traps]]\nrate=1\n" * 99):
        with pytest.raises(InputError, match="GB of memory"):
            read_film(written(tmp_path, PLAIN, ("lifetime = 3.0", f"lifetime = 3.0\n{more}")), memory=1e5)
    with pytest.raises(InputError, match="100000 × 6 × 5 cells"):
        read_film(written(tmp_path, PLAIN, (AT, "start = 0\nstop = 1\ncount = 100000")), memory=1e5)


def test_the_example_in_the_help_runs(tmp_path, capsys, monkeypatch):
    """As it stands there; the output's name is the film's. Its record alone gives the same film again."""
    with pytest.raises(SystemExit):
        cli.main(["simulate", "--help"])
    assert EXAMPLE in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    Path("film.toml").write_text(EXAMPLE, encoding="utf-8")
    assert cli.main(["simulate", "film.toml"]) == cli.OK
    with xarray.open_dataset("film.nc") as found:
        Path("again.toml").write_text(found.attrs["film"], encoding="utf-8")
        assert found.attrs["command"] == "excidiff simulate film.toml -o film.nc"
    assert cli.main(["simulate", "again.toml"]) == cli.OK
    with xarray.open_dataset("film.nc") as first, xarray.open_dataset("again.nc") as second:
        xarray.testing.assert_equal(first, second)


def test_every_key_of_the_example_is_one(tmp_path):
    """What is commented out is accepted in its place, but for the second of two ways to say the same."""
    text = (ROOT / "examples" / "film.toml").read_text(encoding="utf-8")
    np.save(tmp_path / "energy.npy", np.zeros((48, 48)))
    lines = [line.removeprefix("# ") if re.match(r"# (\w+ = |\[)", line) else line for line in text.splitlines()]
    ways = ("rate", "start", "stop", "count", "edges")
    medium = read_film(written(tmp_path, "\n".join(line for line in lines if not line.startswith(ways)))).medium
    for name in ("landscape", "annihilation", "auger", "traps", "disorder", "surface", "emission"):
        assert getattr(medium, name) is not None


def test_nothing_is_replaced_unasked(tmp_path, capsys):
    """FAULTS 28: not a result without --overwrite; a foreign file, a folder or a link never."""
    film, out = written(tmp_path), tmp_path / "film.nc"
    assert cli.main(["simulate", str(film), "-o", str(out)]) == cli.OK
    before = out.read_bytes()
    assert "--overwrite" in complaint(capsys, "simulate", film, "-o", out)
    assert out.read_bytes() == before
    assert cli.main(["simulate", str(written(tmp_path, PLAIN, NEVER)), "-o", str(out), "--overwrite"]) == cli.OK
    assert check_output(out, overwrite=True) == out
    (tmp_path / "notes.nc").write_text("mine")
    xarray.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    for name in ("notes.nc", "other.nc", "film.toml"):
        message = complaint(capsys, "simulate", film, "-o", tmp_path / name, "--overwrite")
        assert "is not a simulation of excidiff's, and is never replaced" in message
    assert (tmp_path / "notes.nc").read_text() == "mine"
    assert "is a folder" in complaint(capsys, "simulate", film, "-o", tmp_path)
    assert "does not exist" in complaint(capsys, "simulate", film, "-o", tmp_path / "no" / "film.nc")
    if sys.platform != "win32":
        (tmp_path / "link.nc").symlink_to(out)
        assert "is a link" in complaint(capsys, "simulate", film, "-o", tmp_path / "link.nc", "--overwrite")


def test_exit_codes(tmp_path, capsys, monkeypatch):
    """1 for what cannot be asked, 4 for a solve that fails; either way nothing is written."""
    out = tmp_path / "film.nc"
    assert "there is no such file; give a film's file" in complaint(capsys, "simulate", tmp_path / "no.toml", "-o", out)
    film = written(tmp_path)
    assert "--rtol 'x' is not a number" in complaint(capsys, "simulate", film, "-o", out, "--rtol", "x")
    assert "rtol" in complaint(capsys, "simulate", film, "-o", out, "--rtol", "2")

    def broken(error: Exception):
        def solve(*_, **__):
            raise error

        monkeypatch.setattr("excidiff.inverse.simulation.evolve", solve)
        return complaint(capsys, "simulate", film, "-o", out, code=cli.FIT_FAILED)

    assert "ran out of steps" in broken(SolverError("the time stepping ran out of steps"))
    assert "use fewer cells" in broken(MemoryError())
    assert not out.exists()


def test_warnings_are_shown_and_kept(tmp_path, capsys):
    """FAULTS 12: a landscape that the grid does not resolve."""
    np.save(tmp_path / "u.npy", 80.0 * np.eye(6, 5))
    film = written(tmp_path, PLAIN, ("lifetime = 3.0", 'lifetime = 3.0\nlandscape = {file = "u.npy"}'), NEVER)
    assert cli.main(["simulate", str(film), "-o", str(tmp_path / "film.nc")]) == cli.OK
    assert "warning: Medium(landscape=…): steps of up to 3.1 kT" in " ".join(capsys.readouterr().err.split())
    with xarray.open_dataset(tmp_path / "film.nc") as found:
        assert "steps of up to 3.1 kT" in found.attrs["warnings"]
        assert json.loads(found.attrs["maps"])[0]["file"] == "u.npy"


def test_long_files_are_kept_whole(tmp_path):
    """HDF5 puts 64 KiB of attributes into a header, and no more."""
    film = written(tmp_path, PLAIN + "# µ\n" * 40_000)
    assert cli.main(["simulate", str(film), "-o", str(tmp_path / "film.nc")]) == cli.OK
    with xarray.open_dataset(tmp_path / "film.nc") as found:
        assert found.attrs["film"] == film.read_text(encoding="utf-8")
