"""Pulses of several powers: what a series may be, the model's derivatives, and the film that its data ask for."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from benchmarks.photons import FWHM
from excidiff.inverse import Decay, Experiment, FitResult, Image, InputError, Response
from excidiff.inverse.cli import main
from excidiff.inverse.files.data import Camera
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.fit.decay import response_of
from excidiff.inverse.fit.layout import Instruments, Layout, Picture, Pixels, Spline, names_of
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.pulses import Pulses
from excidiff.inverse.fit.response import Window, shown
from excidiff.inverse.fit.shots import series_model
from excidiff.inverse.fit.told import Told
from excidiff.inverse.fit.trials import expected_of, spread, starts
from excidiff.inverse.job import build
from excidiff.inverse.options import check_options
from excidiff.inverse.settings import FitSettings

OPTIMISED = True

EDGES = tuple(np.arange(0.0, 20.1, 0.5).tolist())
SIDES = np.linspace(-1.2, 1.2, 25)
PEAKS = (50.0, 2000.0, 8000.0)
FILM = {"diffusivity": 0.02, "lifetime": 4.0, "annihilation": 4e-4}


def layout(model: str, count: int = 3, **changes) -> Layout:
    given = {"model": model, "decays": (EDGES,) * count, "firsts": (0.0,) * count,
             "pictures": tuple(Picture("image", k, ((0.0, 20.0),)) for k in range(count)),
             "responses": (0.0,) * count, "scale": "kind", "even": False, "quadratic": False, "nodes": 32, "modes": 48,
             "steps": 64}  # fmt: skip
    return Layout(**{**given, **changes})


def numbers(one: Layout, film: dict[str, float]) -> np.ndarray:
    """Parameters in the fit's own numbers."""
    plain = {"width": np.log(0.12), "psf_width": np.log(0.08), "image_scale": np.log(30.0), "decay_scale": np.log(40.0),
             "image_background": 0.3, "decay_background": 0.5}  # fmt: skip
    known = {**{name: np.log(value) for name, value in film.items()}, **plain}
    known |= {f"peak_density_{k + 1}": np.log(peak) for k, peak in enumerate(PEAKS)}
    return np.array([known.get(name, 0.01 if name.startswith("centre") else 0.0) for name in names_of(one)])


CAMERA = Pixels(jnp.asarray(SIDES), jnp.asarray(SIDES), jnp.ones((1, 24, 24)))
PIXELS = Instruments((CAMERA,) * 3, jnp.asarray(4.0))


@pytest.fixture(scope="module")
def series() -> FluenceSeries:
    """Photons of a film with annihilation under three pulses."""
    one = layout("annihilation", nodes=48, modes=96, steps=128)
    expected = np.asarray(expected_of(one, numbers(one, FILM), PIXELS))
    counts = np.random.default_rng(5).poisson(expected).astype(float)
    images, decays = counts[: 3 * 576].reshape(3, 24, 24), counts[3 * 576 :].reshape(3, -1)
    camera, time = Camera(gain_known=True, saturation=np.inf), np.array(EDGES[1:]) - 0.25
    return FluenceSeries(
        images=[Image(a, pixel_size=0.1, camera=camera, file=f"spot_{k}") for k, a in enumerate(images)],
        image_densities=PEAKS,
        decays=[Decay(time, a, file=f"decay_{k}") for k, a in enumerate(decays)],
        decay_densities=PEAKS,
        exposure=20.0,
    )


@pytest.mark.parametrize("model", ["annihilation", pytest.param("saturable traps", marks=pytest.mark.gate)])
def test_derivatives_of_images_and_decays(model):
    """Central differences to 1e-6 of each slope; a response's shift and a scale of its own for every pulse included."""
    skewed, pixels = Spline(-2.0, 4), PIXELS._replace(weights=(jnp.array([0.1, 0.5, 0.3, 0.1]),))
    one = layout(model, responses=(0.0, 0.2, skewed), scale="free" if model == "annihilation" else "shared")
    film = FILM if model == "annihilation" else {
        "diffusivity": 0.02, "lifetime": 4.0, "trap_density": 900.0, "capture": 1e-3, "release": 0.02,
        "trap_lifetime": 15.0}  # fmt: skip
    run, start = jax.jit(series_model(one)), numbers(one, film)
    names = names_of(one)
    start = np.where([name.endswith("scale") or "scale_" in name for name in names], np.log(30.0), start)
    start = np.where(["background" in name for name in names], 0.4, start)
    expected, slopes = (np.asarray(a) for a in run(start, pixels))
    for index, name in enumerate(names):
        step = np.where(np.arange(start.size) == index, 1e-4, 0.0)
        slope = (np.asarray(run(start + step, pixels)[0]) - np.asarray(run(start - step, pixels)[0])) / 2e-4
        scale = np.abs(slopes[index]).max() + 1e-6 * expected.max()
        assert np.abs(slope - slopes[index]).max() < 1e-6 * scale, name


def test_derivatives_along_the_size_of_pixels(check_slopes):
    """Central differences to 1e-6 of each slope; larger pixels see what smaller ones see of a smaller spot."""
    one = layout("annihilation", magnified=True, nodes=16, modes=24, steps=16, decays=(None,) * 3)
    run, start = jax.jit(series_model(one)), numbers(one, FILM)
    check_slopes(lambda p: run(p, PIXELS), start, names_of(one))
    wider = CAMERA._replace(x_edges=1.02 * CAMERA.x_edges, y_edges=1.02 * CAMERA.y_edges)
    size = np.where(np.array(names_of(one)) == "magnification", np.log(1.02), 0.0)
    found, expected = run(start + size, PIXELS)[0], run(start, PIXELS._replace(pixels=(wider,) * 3))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.gate
def test_a_start_of_ones_own_is_tried_beside_the_best(series):
    """The film that the decays like best with one number changed, its scales chosen anew; a bound holds it."""
    told = Told((0.12, 0.0), (0.08, 0.0))
    plain = Pulses(series, "annihilation", Constraints({}, {}), told)
    asked = Constraints({}, {"lifetime": (None, 9.0)}, starts={"annihilation": 1e-5, "lifetime": 12.0})
    own = Pulses(series, "annihilation", asked, told)
    before, found = starts(plain), starts(own)
    assert len(found) == len(before) + 1
    names = own.names
    assert found[-1][names.index("annihilation")] == pytest.approx(np.log(1e-5))
    assert found[-1][names.index("lifetime")] == pytest.approx(np.log(9.0))
    assert found[-1][names.index("decay_scale")] != found[0][names.index("decay_scale")]


def test_what_is_known_of_a_film_in_series_is_weighed(series):
    """A prior of 2 % of annihilation is in the fit's precision, and a model without annihilation has none."""
    priors = {"annihilation": (4e-4, 8e-6)}
    told = Told((0.12, 0.0), (0.08, 0.0), {"annihilation": (4e-4, 0.02)})
    own = Pulses(series, "annihilation", Constraints({}, {}, priors=priors), told)
    index = own.names.index("annihilation")
    assert own.knowledge.precision[index, index] == pytest.approx(0.02**-2)
    assert own.knowledge.free[index]
    assert Constraints({}, {}, priors=priors).without({"annihilation"}).priors == {}


def counted(random: np.random.Generator, photons: int, lifetime: float, delay: float) -> Decay:
    """Single pulses through a skewed response, measured with ten times the photons, on a clock of its own."""
    edges = np.arange(-1.0, 24.01, 0.05)

    def response(size):
        return 0.08 * random.standard_gamma(3.0, size)

    irf = np.histogram(response(10 * photons), np.arange(-1.0, 6.01, 0.05))[0].astype(float)
    seen = np.histogram(response(photons) + random.exponential(lifetime, photons) + delay, edges)[0]
    counts = seen + random.poisson(2.0, edges.size - 1)
    times = [(e[1:] + e[:-1]) / 2 for e in (np.arange(-1.0, 6.01, 0.05), edges)]
    return Decay(times[1], counts, irf=Response(times[0], irf, file="irf"), file=f"decay_{photons}")


def test_a_measured_response_is_folded_in():
    """One lifetime, for which `response.shown` is exact: to w²/12τσ = 4e-4 of the peak, light being even in bins."""
    decay = counted(np.random.default_rng(8), 300_000, 4.0, 0.37)
    series = FluenceSeries(decays=[decay], decay_densities=[1.0], uniform=True)
    pulses = Pulses(series, "free", Constraints({}, {}), Told())
    own = {"lifetime": np.log(4.0), "decay_scale": 0.0, "shift_1": 0.37}
    start = np.array([own.get(name, 0.0) for name in pulses.names])
    found = np.asarray(jax.jit(pulses.problem.model)(start, pulses.instruments)[0]).ravel()
    shape, _ = response_of(decay)
    exact = shown(0.25, 0.37, shape._replace(alike=False), Window(decay.edges[0], decay.width, decay.time.size))
    total = found.sum() / np.asarray(exact).sum()
    assert np.abs(found - total * np.asarray(exact)).max() < 4e-4 * found.max()


def test_decays_through_a_measured_response():
    """Two powers of a film with one lifetime, the pulse 0.37 ns late: lifetime and shifts within 3.5 errors."""
    random = np.random.default_rng(9)
    decays = [counted(random, photons, 4.0, 0.37) for photons in (20_000, 60_000)]
    series = FluenceSeries(decays=decays, decay_densities=[10.0, 30.0], uniform=True)
    found = Experiment(series=series, model="free").fit()
    lifetime = found.parameters["lifetime"]
    assert lifetime.stderr < 0.03
    assert abs(lifetime.value - 4.0) < 3.5 * lifetime.stderr
    assert abs(found.goodness["z"]) < 3.5
    assert found.status == "converged"
    assert not any("its own noise" in verdict for verdict in found.verdicts)


def test_a_noisy_response_is_told_and_an_unresolved_one_refused():
    """A response with as many photons as its decay is told of; one within a bin asks for its width."""
    decay = counted(np.random.default_rng(10), 30_000, 4.0, 0.0)
    irf = decay.irf
    assert isinstance(irf, Response)
    poor = replace(decay, irf=Response(irf.time, np.random.default_rng(1).poisson(irf.counts / 10), file="irf"))
    series = FluenceSeries(decays=[poor], decay_densities=[1.0], uniform=True)
    found = Experiment(series=series, model="free").fit()
    assert any("its own noise" in verdict for verdict in found.verdicts)
    sharp = np.zeros(irf.time.size)
    sharp[30] = 1e5
    one = replace(series, decays=[replace(decay, irf=Response(irf.time, sharp, file="irf"))])
    with pytest.raises(InputError, match="do not resolve the response irf"):
        Experiment(series=one, model="free").fit()


@pytest.mark.gate
def test_the_simplest_film_that_describes_the_data_is_found(series):
    """No start values, no model: one lifetime is rejected, annihilation kept; every number within 3.5 errors."""
    found = Experiment(series=series, laser_fwhm=0.12 * FWHM, psf_fwhm=0.08 * FWHM).fit()
    assert "annihilation" in found.model
    assert found.status == "converged"
    for name, value in FILM.items():
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr, name
    assert abs(found.goodness["z"]) < 3
    told = " ".join(found.verdicts)
    assert "films with one lifetime alone or traps that never fill do not" in told
    assert "rests on the peak densities" in told


@pytest.mark.gate
def test_from_a_file_to_a_report(series, tmp_path, monkeypatch):
    """The experiment's file names images and decays with their densities; the page and the saved result hold all."""
    monkeypatch.chdir(tmp_path)
    lines = ['model = "annihilation"', "[excitation]", f'laser_fwhm = "{120 * FWHM} nm"', 'exposure = "20 ns"',
             "[detection]", 'scale = "kind"', "[optics]", f'psf_fwhm = "{80 * FWHM} nm"', 'pixel_size = "100 nm"',
             "[camera]", "gain = 1"]  # fmt: skip
    for k, (image, decay) in enumerate(zip(series.images, series.decays, strict=True)):
        np.savetxt(f"spot_{k}.csv", image.counts, fmt="%d", delimiter=",")
        rows = np.column_stack([decay.time, decay.counts])
        np.savetxt(f"decay_{k}.csv", rows, fmt="%g", delimiter=",", header="time_ns,counts", comments="")
        lines += ["[[image]]", f'file = "spot_{k}.csv"', f'peak_density = "{PEAKS[k]} /um^2"']
        lines += ["[[decay]]", f'file = "decay_{k}.csv"', f'peak_density = "{PEAKS[k]} /um^2"']
    (tmp_path / "film.toml").write_text("\n".join(lines) + "\n")
    assert main(["fit", "film.toml", "-o", "out"]) == 0
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert abs(document["parameters"]["annihilation"]["value"] / 4e-4 - 1) < 0.1
    assert [entry["kind"] for entry in document["measurements"]] == ["image"] * 3 + ["decay"] * 3
    assert not any("column" in warning for warning in document["warnings"])  # where numbers come from is no warning
    assert all("counts in column" in read for read in document["settings"]["decays_read"])
    again = FitResult.load(tmp_path / "out" / "result.nc")
    assert again.images[1].parameters["peak_density"].value == PEAKS[1]
    assert main(["rerun", "out", "-o", "again"]) == 0
    twice = json.loads((tmp_path / "again" / "result.json").read_text())
    assert twice["parameters"] == document["parameters"]


def test_one_torn_image_harms_no_other(series, tmp_path, monkeypatch):
    """Of three images one cannot be read: the others keep their densities, and it is told of with its reason."""
    monkeypatch.chdir(tmp_path)
    names = [f"spot_{k}.csv" for k in range(3)]
    for name, image in zip(names, series.images, strict=True):
        np.savetxt(name, image.counts, fmt="%d", delimiter=",")
    (tmp_path / names[1]).write_text("torn")
    densities = {"image_density": tuple(f"{peak} /um^2" for peak in PEAKS), "laser_fwhm": "300 nm"}
    given = {"images": tuple(names), "pixel_size": "100 nm", "gain": "1", "exposure": "20 ns", **densities}
    asked = build(FitSettings(**given))
    assert [image.name for image in asked.series.images] == [names[0], names[2]]
    assert list(asked.series.image_densities) == [(PEAKS[0], 0.0), (PEAKS[2], 0.0)]
    (place, name, reason), *more = asked.unreadable
    assert (place, name, more) == (1, names[1], [])
    assert "torn" in reason or names[1] in reason
    for name in names:
        (tmp_path / name).write_text("torn")
    with pytest.raises(InputError, match=names[0]):
        build(FitSettings(**given))


def test_points_are_spread_evenly():
    """Every number of every dimension has its share: 64 points leave no quarter of an axis with fewer than 12."""
    points = spread(64, 6)
    assert points.shape == (64, 6)
    for column in points.T:
        assert np.histogram(column, 4, (0, 1))[0].min() >= 12
    assert len(np.unique(np.round(points, 9), axis=0)) == 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_densities": PEAKS[:2]}, "3 images with 2 peak densities"),
        ({"image_densities": (1.0, -2.0, 3.0)}, "peak density"),
        ({"scale": "both"}, "choose one of shared, kind, free"),
        ({"exposure": -1.0}, "positive time"),
        ({"uniform": True}, "even light"),
        ({"images": (), "image_densities": (), "decays": (), "decay_densities": ()}, "spectral maps or scans"),
    ],
)
def test_impossible_series_are_refused(series, change, said):
    with pytest.raises(InputError, match=said):
        _ = replace(series, **change).shots


def test_unlike_lasers_and_unlike_images_are_refused(series):
    periods = (25.0, None, 25.0)
    decays = [replace(decay, period=period) for decay, period in zip(series.decays, periods, strict=True)]
    with pytest.raises(InputError, match="a series is of one laser"):
        replace(series, decays=decays)
    with pytest.raises(InputError, match="longer than the laser's period"):
        replace(series, decays=[replace(decay, period=25.0) for decay in series.decays], exposure=30.0)
    finer = replace(series.images[0], pixel_size=0.09)
    with pytest.raises(InputError, match="the pixel sizes differ"):
        replace(series, images=[finer, *series.images[1:]])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "laser_fwhm"),
        ({"laser_fwhm": 0.3, "model": "mixture"}, "of a fluence series; choose one of"),
        ({"laser_fwhm": 0.3, "model": "annihilation", "fixed": {"trap_density": 3.0}}, "unknown parameter"),
        ({"laser_fwhm": 0.3, "gates": [0, 1]}, "no use for it"),
    ],
)
def test_what_a_series_cannot_use_is_refused(series, given, said):
    with pytest.raises(InputError, match=said):
        Experiment(series=series, **given)


def test_what_a_series_cannot_see_is_refused_before_any_computing(series):
    """A decay that begins before its pulse; images alone with nothing that tells the time."""
    with pytest.raises(InputError, match="before the pulse"):
        replace(series, decays=[replace(decay, time=decay.time - 3.0) for decay in series.decays])
    alone = replace(series, decays=(), decay_densities=(), exposure=None)
    with pytest.raises(InputError, match="hold nothing on time"):
        Experiment(series=alone, model="free", laser_fwhm=0.3).fit()
    with pytest.raises(InputError, match="given twice"):
        Experiment(series=series, laser_fwhm=0.3, lifetime=3.0, bounds={"lifetime": (1.0, 5.0)})


@pytest.mark.parametrize(
    ("given", "useless"),
    [
        ({"images": ("a.tif",), "image_density": ("5 /um^2",), "background": "3"}, "--background"),
        ({"images": ("a.tif",), "image_density": ("5 /um^2",), "noise": "gaussian"}, "--noise"),
        ({"spectral_map": ("map.csv",), "background": "3"}, "--background"),
        ({"spectral_map": ("map.csv",), "gain": "3"}, "--gain"),
    ],
)
def test_options_without_a_use_are_refused(given, useless):
    with pytest.raises(InputError, match=f"{useless} given"):
        check_options(FitSettings(laser_fwhm="300 nm", **given))


def test_decays_of_several_powers_need_no_image():
    densities = ("10 /um^2", "100 /um^2")
    check_options(FitSettings(decay=("a.csv", "b.csv"), decay_density=densities, fix=("lifetime=5 ns",)))
    check_options(FitSettings(decay=("a.csv", "b.csv"), decay_density=densities, laser_fwhm="300 nm"))


def test_traps_need_several_powers():
    with pytest.raises(InputError, match="only pulses of several powers tell it"):
        Experiment(model="saturable traps")


@pytest.mark.gate
def test_one_power_does_not_tell_the_density_of_traps():
    """Of a weak pulse alone: no trap density, or a limit; the verdict says which pulses would tell it."""
    one = layout("saturable traps", count=1)
    film = {"diffusivity": 0.02, "lifetime": 4.0, "trap_density": 900.0, "capture": 1e-3, "release": 0.02,
            "trap_lifetime": 15.0}  # fmt: skip
    pixels = PIXELS._replace(pixels=(CAMERA,))
    expected = np.asarray(expected_of(one, numbers(one, film), pixels))
    counts = np.random.default_rng(6).poisson(expected).astype(float)
    seen = Image(counts[:576].reshape(24, 24), pixel_size=0.1, camera=Camera(gain_known=True, saturation=np.inf))
    weak = FluenceSeries(images=[seen], image_densities=PEAKS[:1], decay_densities=PEAKS[:1], exposure=20.0,
                         decays=[Decay(np.array(EDGES[1:]) - 0.25, counts[576:])])  # fmt: skip
    known = {name: film[name] for name in ("diffusivity", "lifetime", "release", "trap_lifetime")}
    optics = {"laser_fwhm": 0.12 * FWHM, "psf_fwhm": 0.08 * FWHM}
    found = Experiment(series=weak, model="saturable traps", fixed=known, **optics).fit()
    assert found.parameters["trap_density"].stderr is None
    told = " ".join(found.verdicts)
    assert "trap density" in told
    assert "add pulses so strong" in told


@pytest.mark.gate
@pytest.mark.parametrize("imaged", [False, True])
def test_the_magnification_of_a_series(series, imaged):
    """An error m of the pixels' size adds (m ∂log D/∂log p)² to the variance of log D, the slope by fits to pixels 1 %
    larger, to 5 % of the error. Of a laser that the same camera showed D follows p²; of one told in µm it follows by
    more, but the images know something of p then, and the error is less."""
    error = 0.03
    optics = {"model": "annihilation", "laser_fwhm": 0.12 * FWHM, "psf_fwhm": 0.08 * FWHM}
    if imaged:
        optics = {"model": "annihilation", "laser": _spot(float(np.hypot(0.12, 0.08)), 3), "psf": _spot(0.08, 4)}
    plain, told = (Experiment(series=series, **optics, magnification_error=m).fit() for m in (None, error))
    larger = {name: replace(image, pixel_size=0.101) if isinstance(image, Image) else image
              for name, image in optics.items()}  # fmt: skip
    wide = replace(series, images=[replace(image, pixel_size=0.101) for image in series.images])
    moved = Experiment(series=wide, **larger).fit()
    slope = np.log(moved.parameters["diffusivity"].value / plain.parameters["diffusivity"].value) / np.log(1.01)
    assert slope == pytest.approx(2.0, abs=0.1) if imaged else slope > 2.1
    before, after = (one.parameters["diffusivity"] for one in (plain, told))
    known, found = (one.stderr / one.value for one in (before, after))
    assert abs(np.log(after.value / before.value)) < (1e-3 if imaged else 2 * slope * error)
    whole = np.hypot(known, slope * error)
    assert found == pytest.approx(whole, rel=0.05) if imaged else known < found < whole
    assert "the magnification's error of 3 %" in told.methods
    lifetime = [one.parameters["lifetime"].stderr for one in (plain, told)]
    assert lifetime[1] == pytest.approx(lifetime[0], rel=0.05)


def _spot(width: float, seed: int) -> Image:
    """A bright image of a Gaussian."""
    seen = np.diff(erf(SIDES / (np.sqrt(2) * width))) / 2
    counts = np.random.default_rng(seed).poisson(3e6 * np.outer(seen, seen) + 0.3).astype(float)
    return Image(counts, pixel_size=0.1, camera=Camera(gain_known=True, saturation=np.inf), file=f"spot of {width:g}")


def test_what_a_magnification_is_of(series):
    alone = FluenceSeries(decays=series.decays, decay_densities=PEAKS)
    with pytest.raises(InputError, match="the series has no image"):
        Experiment(series=alone, laser_fwhm=0.3, magnification_error=0.01)
    with pytest.raises(InputError, match=r"up to 0\.2"):
        Experiment(series=series, laser_fwhm=0.3, magnification_error=0.5)
