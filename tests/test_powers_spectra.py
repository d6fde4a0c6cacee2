"""Maps of spectra in a fluence series: their derivatives, the band of traps that fills, and files of all kinds."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.photons import FWHM
from excidiff.inverse import Decay, Experiment, FitResult, InputError
from excidiff.inverse.cli import main
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.layout import Cells, Instruments, Layout, Picture, names_of
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.shots import series_model, trap_share
from excidiff.inverse.fit.told import Told
from excidiff.inverse.fit.trials import expected_of, starts
from excidiff.inverse.fluences import drawn_share

OPTIMISED = True

PEAKS = (200.0, 2000.0, 12000.0)
TIME = np.arange(0.0, 60.1, 0.25)
PLACES = np.arange(-1.5, 1.51, 0.1)
COLOURS = np.linspace(2150.0, 2450.0, 76)
TAKEN = [Picture("spectra", k, ((0.0, 200.0),)) for k in range(3)]
FILM = {"diffusivity": 0.02, "lifetime": 4.0, "trap_density": 1500.0, "capture": 1e-3, "release": 0.02,
        "trap_lifetime": 15.0}  # fmt: skip
BAND = {"linewidth": 22.0, "band_centre": 2360.0, "trap_band_centre": 2265.0, "trap_band_width": 30.0,
        "trap_brightness": 0.04}  # fmt: skip
OPTICS = {"laser_fwhm": 0.12 * FWHM, "psf_fwhm": 0.08 * FWHM, "collection_fwhm": 0.09 * FWHM}


def layout(**changes) -> Layout:
    given = {"model": "saturable traps", "pictures": (), "decays": (tuple(TIME.tolist()),) * 3, "firsts": (0.0,) * 3,
             "responses": (0.0,) * 3, "scale": "kind", "even": False, "quadratic": False, "nodes": 48, "modes": 96,
             "steps": 96, "spectra": tuple(TAKEN)}  # fmt: skip
    return Layout(**{**given, **changes})


def instruments(maps: int) -> Instruments:
    half, across = 0.05, np.array([0.0])
    cells = Cells(*(jnp.asarray(a) for a in (PLACES - half, PLACES + half, across - half, across + half, COLOURS)))
    return Instruments((), jnp.asarray(5.0), (), (cells,) * maps)


def numbers(one: Layout, **changes: float) -> np.ndarray:
    """Parameters in the fit's own numbers."""
    plain = {**FILM, "linewidth": BAND["linewidth"], "trap_band_width": BAND["trap_band_width"], "lorentzian": 15.0,
             "width": 0.12, "psf_width": 0.08, "collection_width": 0.09, "spectra_scale": 2.0,
             "decay_scale": 5.0}  # fmt: skip
    known = {name: np.log(value) for name, value in {**plain, **changes}.items() if name in names_of(one)}
    known |= {name: BAND[name] for name in ("band_centre", "trap_band_centre", "trap_brightness")}
    known |= {f"peak_density_{k + 1}": np.log(peak) for k, peak in enumerate(PEAKS)}
    known |= {name: 0.3 for name in names_of(one) if "background" in name}
    known |= {name: 0.04 for name in names_of(one) if name.startswith("spectra_centre_x")}
    return np.array([known.get(name, 0.0) for name in names_of(one)])


VOIGT = {"line": "voigt", "scale": "free", "period": 250.0, "spectra": (TAKEN[1],)}


@pytest.mark.parametrize("changes", [{"scale": "shared"}, pytest.param(VOIGT, marks=pytest.mark.gate)])
def test_derivatives_of_spectra(changes, check_slopes):
    """Central differences to 1e-6 of each slope."""
    one = layout(nodes=16, modes=24, steps=16, decays=(None,) * 3, **changes)
    run, given, start = jax.jit(series_model(one)), instruments(len(one.spectra)), numbers(one)
    check_slopes(lambda p: run(p, given), start, names_of(one))


@pytest.mark.gate
def test_all_light_of_a_map_is_that_of_the_film():
    """Cells and colours that hold all light add up to the photons of all excitons, to 1e-6."""
    one = layout(decays=(None,) * 3, spectra=(TAKEN[1],))
    sides, across = np.linspace(-3.0, 3.0, 31), np.array([-3.0])
    edges = np.linspace(1800.0, 2800.0, 101)
    cells = Cells(*(jnp.asarray(a) for a in (sides[:-1], sides[1:], across, -across, edges)))
    start = numbers(one)
    given = Instruments((), jnp.asarray(5.0), (), (cells,))
    found = np.asarray(expected_of(one, start, given)).sum() - 0.3 * 30 * 100
    own = start[[names_of(one).index(name) for name in (*FILM, "width", "peak_density_2", "trap_brightness")]]
    share, slopes = trap_share(one, TAKEN[1], own, 5.0)
    steady = layout(decays=((0.0, 200.0), (0.0, 200.0), (0.0, 200.0)), spectra=())
    light = np.asarray(expected_of(steady, numbers(steady), Instruments((), jnp.asarray(5.0))))
    assert found * 0.2 * 6.0 == pytest.approx(2.0 * (light[1] - 0.3) / 5.0 / (1 - share), rel=1e-6)
    ends = [trap_share(one, TAKEN[1], own + by * 1e-4 * np.eye(own.size)[2], 5.0)[0] for by in (1, -1)]
    assert slopes[2] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5)


@pytest.fixture(scope="module")
def series() -> FluenceSeries:
    """Photons of maps and decays of a film with traps that fill and shine, under three pulses."""
    one = layout()
    expected = np.asarray(expected_of(one, numbers(one), instruments(3)))
    counts = np.random.default_rng(11).poisson(expected).astype(float)
    maps = counts[: 3 * 31 * 75].reshape(3, 1, 31, 75)
    spectra = [SpectralMap(counts=a, x=PLACES, y=np.zeros(1), edges=COLOURS, step=0.1, slit=0.1, file=f"map_{k}")
               for k, a in enumerate(maps)]  # fmt: skip
    decays = counts[3 * 31 * 75 :].reshape(3, -1)
    middle = (TIME[1:] + TIME[:-1]) / 2
    return FluenceSeries(
        spectral_maps=spectra,
        map_densities=PEAKS,
        decays=[Decay(middle, a, file=f"decay_{k}") for k, a in enumerate(decays)],
        decay_densities=PEAKS,
        exposure=200.0,
    )


@pytest.mark.gate
def test_spectra_of_a_film_without_traps_have_one_band(series):
    """One lifetime: no band of traps is made up, and the band's numbers are within 3.5 errors."""
    one = layout(model="free")
    known = dict(zip(names_of(layout()), numbers(layout()), strict=True))
    expected = np.asarray(expected_of(one,
        np.array([known[name] for name in names_of(one)]), instruments(3)))  # fmt: skip
    counts = np.random.default_rng(12).poisson(expected[: 3 * 31 * 75]).astype(float).reshape(3, 1, 31, 75)
    maps = [replace(old, counts=new) for old, new in zip(series.spectral_maps, counts, strict=True)]
    plain = FluenceSeries(spectral_maps=maps, map_densities=PEAKS, exposure=200.0)
    found = Experiment(series=plain, model="free", lifetime=4.0, **OPTICS).fit()
    assert found.status == "converged"
    assert not [name for name in found.parameters if name.startswith("trap")]
    for name, value in {"diffusivity": 0.02, "linewidth": 22.0, "band_centre": 2360.0}.items():
        assert abs(found.parameters[name].value - value) < 3.5 * found.parameters[name].stderr, name


@pytest.mark.gate
def test_spectra_and_decays_from_files_tell_film_and_bands(series, tmp_path, monkeypatch):
    """The file names maps and decays with their densities. Without start values every number of film and bands is
    within 3.5 errors, and the traps' share falls with power; page and saved result hold all of it."""
    monkeypatch.chdir(tmp_path)
    lines = ['model = "saturable traps"', "[excitation]", f'laser_fwhm = "{120 * FWHM} nm"', 'exposure = "200 ns"']
    header = "position_um\\energy_meV," + ",".join(f"{e:.6f}" for e in (COLOURS[1:] + COLOURS[:-1]) / 2)
    for k, (scan, decay) in enumerate(zip(series.spectral_maps, series.decays, strict=True)):
        rows = np.column_stack([PLACES, scan.counts[0]])
        np.savetxt(f"map_{k}.csv", rows, fmt="%g", delimiter=",", header=header, comments="")
        rows = np.column_stack([decay.time, decay.counts])
        np.savetxt(f"decay_{k}.csv", rows, fmt="%g", delimiter=",", header="time_ns,counts", comments="")
        density = f'peak_density = "{PEAKS[k]} /um^2"'
        lines += ["[[spectral_map]]", f'file = "map_{k}.csv"', f'collection_fwhm = "{90 * FWHM} nm"', 'slit = "100 nm"']
        lines += [density, "[[decay]]", f'file = "decay_{k}.csv"', density]
    (tmp_path / "film.toml").write_text("\n".join(lines) + "\n")
    assert main(["fit", "film.toml", "-o", "out"]) == 0
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [entry["kind"] for entry in document["measurements"]] == ["spectral_map"] * 3 + ["decay"] * 3
    assert any("% of the light after the weakest pulse" in sentence for sentence in document["verdicts"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("share of the light") >= 3
    found = FitResult.load(tmp_path / "out" / "result.nc")
    assert found.status == "converged"
    for name, value in {**FILM, **BAND}.items():
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr, (name, entry)
    shares = [one.parameters["trap_band_share"] for one in found.spectral_maps]
    assert shares[0].value > shares[1].value > shares[2].value
    one = layout()
    own = numbers(one)[[names_of(one).index(name) for name in (*FILM, "width", "peak_density_1", "trap_brightness")]]
    assert abs(shares[0].value - trap_share(one, TAKEN[0], own, 5.0)[0]) < 3.5 * shares[0].stderr
    assert found.spectral_maps[0].series["peak"].shape == (31,)
    assert "spectra are bands" in found.methods


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"fixed": {"linewidth": 25.0}}, "linewidth", 25.0),
        ({"fixed": {"band_centre": 2350.0}}, "band_centre", 2350.0),
        ({"priors": {"linewidth": (25.0, 0.001)}}, "linewidth", 25.0),
        ({"bounds": {"band_centre": (2365.0, None)}}, "band_centre", 2365.0),
    ],
)
def test_what_is_said_of_a_band_holds(series, given, name, value):
    """A wrong number that is fixed, all but certain, or the limit comes back as it was said, to 1e-3."""
    plain = replace(
        series, decays=(), decay_densities=(), spectral_maps=series.spectral_maps[2:], map_densities=PEAKS[2:]
    )
    found = Experiment(series=plain, model="free", lifetime=4.0, **OPTICS, **given).fit()
    assert found.parameters[name].value == pytest.approx(value, rel=1e-3)


def test_a_start_of_a_band_is_tried_as_well(series):
    plain = replace(series, decays=(), decay_densities=())
    told = Told((0.12, 0.0), None, {"lifetime": (4.0, 0.0)})
    constraints = Constraints({}, {}, starts={"linewidth": 30.0})
    tried = starts(Pulses(plain, "free", constraints, told))
    at = Pulses(plain, "free", constraints, told).names.index("linewidth")
    assert tried[-1][at] == pytest.approx(np.log(30.0))
    assert tried[0][at] != tried[-1][at]


@pytest.mark.gate
def test_maps_of_unlike_steps_are_of_one_scale():
    """Cells half as wide see the same light at a place: the mean over the cell, to the curvature across it."""
    one = layout(decays=(None,) * 3, spectra=tuple(TAKEN[:2]))
    start = numbers(one)
    start[names_of(one).index("peak_density_2")] = start[names_of(one).index("peak_density_1")]
    across = np.array([0.0])
    both = [Cells(*(jnp.asarray(a) for a in (PLACES - half, PLACES + half, across - half, across + half, COLOURS)))
            for half in (0.01, 0.02)]  # fmt: skip
    given = Instruments((), jnp.asarray(5.0), (), tuple(both))
    fine, coarse = np.asarray(expected_of(one, start, given)).reshape(2, -1)
    np.testing.assert_allclose(fine, coarse, rtol=0.01)


def test_a_spectrometer_that_sees_points_is_told_of(series):
    plain = replace(
        series, decays=(), decay_densities=(), spectral_maps=series.spectral_maps[:1], map_densities=PEAKS[:1]
    )
    found = Experiment(series=plain, model="free", lifetime=4.0, laser_fwhm=OPTICS["laser_fwhm"]).fit()
    assert any("No collection spot was given" in sentence for sentence in found.warnings)


@pytest.mark.gate
def test_draws_of_the_share_follow_all_numbers():
    """To first order in the log-odds, against the share itself: 5 % of the spread of draws."""
    one = layout(decays=(None,) * 3)
    start, random = numbers(one), np.random.default_rng(3)
    names = names_of(one)
    fit = SimpleNamespace(model="saturable traps", layout=one, names=names, values=start,
                          problem=SimpleNamespace(arguments=(instruments(3),)))  # fmt: skip
    draws = np.tile(start, (6, 1))
    for name in (*FILM, "trap_brightness"):
        at = names.index(name)
        draws[:, at] += (0.02 if name != "trap_brightness" else 0.001) * random.standard_normal(6)
    found = drawn_share(fit, TAKEN[1], draws)
    index = [names.index(name) for name in (*FILM, "width", "peak_density_2", "trap_brightness")]
    exact = np.array([trap_share(one, TAKEN[1], draw[index], 5.0)[0] for draw in draws])
    assert np.abs(found - exact).max() < 0.05 * exact.std()


def test_spectra_alone_hold_nothing_on_time(series):
    with pytest.raises(InputError, match="hold nothing on time"):
        Experiment(series=replace(series, decays=(), decay_densities=(), exposure=None), model="free", **OPTICS).fit()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"map_densities": PEAKS[:2]}, "3 spectral maps with 2 peak densities"), ({"uniform": True}, "no spot")],
)
def test_impossible_maps_are_refused(series, change, said):
    with pytest.raises(InputError, match=said):
        replace(series, **change)


def test_what_spectra_have_no_use_for_is_refused(series):
    for change, said in (
        ({"absorption": 1.0}, "absorption is of a spectral map"),
        ({"line": "sharp"}, "choose one of"),
    ):
        with pytest.raises(InputError, match=said):
            Experiment(series=series, **OPTICS, **change)
