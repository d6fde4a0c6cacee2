"""Raster scans in a fluence series: light and ages of an even film, their derivatives, and files."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.integrate import quad

from benchmarks.photons import FWHM
from excidiff.inverse import Decay, Experiment, FitResult, InputError
from excidiff.inverse.cli import main
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.fit.layout import Instruments, Layout, Look, names_of
from excidiff.inverse.fit.shots import series_model
from excidiff.inverse.fit.surveyed import all_surveyed, surveyed
from excidiff.inverse.fit.trials import expected_of
from excidiff.inverse.rivals import compare
from excidiff.inverse.settings import FitSettings
from excidiff.solver import Medium, Traps
from excidiff.solver.radial import round_pulse

S, NEAR = 0.12, 0.17  # µm: σ of the laser, and of what a detector sees that moves with it
PEAKS = (200.0, 3000.0)
END = 60.0
LOOKS = [Look(k, ages, near, END) for k in (0, 1) for ages in (False, True) for near in (False, True)]
FILM = {"diffusivity": 0.03, "lifetime": 4.0, "trap_density": 1500.0, "capture": 1e-3, "release": 0.02,
        "trap_lifetime": 15.0}  # fmt: skip
MEAN = Look(0, False, False, END)


def layout(model: str, **changes) -> Layout:
    given = {"model": model, "pictures": (), "decays": (None, None), "firsts": (0.0, 0.0), "responses": (0.0, 0.0),
             "scale": "kind", "even": False, "quadratic": False, "nodes": 48, "modes": 96, "steps": 96,
             "scans": tuple(LOOKS)}  # fmt: skip
    return Layout(**{**given, **changes})


def numbers(one: Layout, **changes: float) -> np.ndarray:
    """Parameters in the fit's own numbers."""
    plain = {**FILM, "trapping_rate": 1.5, "annihilation": 1e-4, "width": S, "psf_width": 0.08, "scale": 2.0,
             "raster_scale": 2.0, "raster_near_scale": 2.0, **changes}  # fmt: skip
    plain |= {f"peak_density_{k + 1}": peak for k, peak in enumerate(PEAKS)}
    return np.array([np.log(plain[name]) for name in names_of(one)])


def instruments(one: Layout) -> Instruments:
    return Instruments((), np.asarray(5.0), (), (), tuple(np.asarray(NEAR if look.near else 1.0) for look in one.scans))


def shown(one: Layout, **changes: float) -> np.ndarray:
    return np.asarray(expected_of(one, numbers(one, **changes), instruments(one)))


def light(t: float, peak: float, *, near: bool) -> float:
    """Of all excitons after t, or as e^{−r²/2σ²} weighs them: a Gaussian of variance s² + 2Dt on one of σ²."""
    spread = S**2 + 2 * FILM["diffusivity"] * t
    seen = NEAR**2 / (NEAR**2 + spread) if near else 1.0
    return 2 * np.pi * S**2 * peak * seen * np.exp(-t / FILM["lifetime"])


def test_light_and_ages_of_a_free_film():
    """Photons and their mean age up to the end, all and near the laser, to 1e-6 of integrals in closed form."""
    expected = []
    for look in LOOKS:
        own = {"peak": PEAKS[look.pulse], "near": look.near}
        whole = quad(lambda t, own=own: light(t, **own), 0, END, epsabs=0, epsrel=1e-11)[0]
        moment = quad(lambda t, own=own: t * light(t, **own), 0, END, epsabs=0, epsrel=1e-11)[0]
        expected.append(moment / whole if look.ages else 2.0 * whole)
    np.testing.assert_allclose(shown(layout("free")), expected, rtol=1e-6)


def test_light_and_ages_over_traps():
    """Of traps that never fill: with A of the two populations' rates, Y = (A⁻¹ e)₁ and ∫ t y = (A⁻² e)₁; to 2e-5, as
    e^{-600/50} is left after 600 ns and 768 steps err by less."""
    k, release, ending, lifetime = 1.5, FILM["release"], 1 / FILM["trap_lifetime"], FILM["lifetime"]
    rates = np.array([[1 / lifetime + k, -release], [-k, release + ending]])
    once = np.linalg.solve(rates, [1.0, 0.0])
    age = np.linalg.solve(rates, once)[0] / once[0]
    one = layout("traps", steps=768, scans=(Look(0, False, False, 600.0), Look(1, True, False, 600.0)))
    expected = [2.0 * 2 * np.pi * S**2 * PEAKS[0] * once[0], age]
    np.testing.assert_allclose(shown(one, trapping_rate=k), expected, rtol=2e-5)


def test_a_wide_detector_sees_all_light():
    """Beyond the light there is nothing to see: to 1e-4, as e^{−r²/2σ²} is 1 within 1e-5 over a spot of 0.5 µm."""
    one = layout("free", scans=(Look(0, False, False, END), Look(0, False, True, END)))
    given = instruments(one)._replace(near=(np.asarray(1.0), np.asarray(150.0)))
    found = np.asarray(expected_of(one, numbers(one), given))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.parametrize(("model", "scale"), [("saturable traps", "kind"), ("annihilation", "shared")])
def test_derivatives_of_scans(model, scale, check_slopes):
    """Central differences to 1e-6 of each slope."""
    one = layout(model, nodes=16, modes=24, steps=16, scale=scale, scans=tuple(LOOKS[:4]))
    run, given, start = jax.jit(series_model(one)), instruments(one), numbers(one)
    check_slopes(lambda p: run(p, given), start, names_of(one))


def scan(values: np.ndarray, **said) -> RasterScan:
    return RasterScan(values=values, step=0.3, **said)


def test_the_mean_of_an_even_film():
    """Of photons their number with its Poisson error; of ages that of all photons, of others that of the places."""
    random = np.random.default_rng(2)
    photons = random.poisson(400.0, (12, 12)).astype(float)
    one = surveyed(MEAN, scan(photons, gain=1.0))
    assert one.mean == photons.mean()
    assert one.error == pytest.approx(np.sqrt(photons.mean()) / 12)
    assert not one.uneven
    ages = 5.0 + 5.0 / np.sqrt(photons) * random.standard_normal((12, 12))
    one = surveyed(MEAN, scan(ages, quantity="lifetime", photons=photons))
    assert one.mean == pytest.approx((photons * ages).sum() / photons.sum())
    assert one.error == pytest.approx(one.mean / np.sqrt(photons.sum()), rel=0.35)  # by what neighbours differ
    one = surveyed(MEAN, scan(ages, quantity="lifetime", uncertainty=np.full((12, 12), 0.25)))
    assert (one.mean, one.error) == (pytest.approx(ages.mean()), pytest.approx(0.25 / 12, rel=0.2))  # of 144: 6 %
    with_gain = surveyed(MEAN, scan(100 + 3 * photons, gain=3.0, offset=100.0))
    assert with_gain.mean == pytest.approx(photons.mean())


def test_even_films_are_called_even():
    """Of 400 even scans p is below 0.05 in 20, ± 4.4 by chance, of which three and a half are allowed, as its two tests
    hang together; the smallest of 400 is about 1/400, and 1e-4 in one run of 25."""
    random = np.random.default_rng(3)
    found = np.array([surveyed(MEAN, scan(random.poisson(60.0, (9, 14)).astype(float))).even for _ in range(400)])
    assert 5 <= np.count_nonzero(found < 0.05) <= 35
    assert found.min() > 1e-4


def test_errors_that_were_estimated():
    """Mean ages of some 12 photons each, with errors from their own scatter: of 100 even scans none is called uneven,
    and the pulls of the means scatter by 1 (± 0.21, three errors) though such errors are some 10 % small."""
    random = np.random.default_rng(5)
    pulls = []
    for _ in range(100):
        photons = random.poisson(12.0, (12, 12)) + 3
        drawn = random.exponential(5.0, (12, 12, photons.max()))
        seen = np.arange(photons.max()) < photons[..., None]
        ages = (drawn * seen).sum(-1) / photons
        error = np.sqrt((((drawn - ages[..., None]) ** 2) * seen).sum(-1) / (photons * (photons - 1)))
        one = surveyed(MEAN, scan(ages, quantity="lifetime", photons=photons.astype(float), uncertainty=error))
        assert not one.uneven
        pulls.append((one.mean - 5.0) / one.error)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.21)


def test_a_film_that_is_not_even():
    """Patches of 20 %, as wide as blocks, make the mean as unsure as 16 such patches are; masked places do nothing."""
    random = np.random.default_rng(4)
    errors, means, spreads = [], [], []
    for _ in range(60):
        patches = np.kron(1 + 0.2 * random.standard_normal((4, 4)), np.ones((5, 5)))
        values = random.poisson(1000.0 * patches).astype(float)
        used = np.ones((20, 20), bool)
        used[0, :3], values[0, :3] = False, np.nan
        one = surveyed(MEAN, scan(values, mask=used))
        assert one.uneven
        spreads.append(one.spread)
        errors.append(one.error)
        means.append(one.mean)
    assert np.mean(errors) == pytest.approx(50.0, rel=0.06)  # 200/√16; the error of 60 such is 2.5 %
    assert np.mean(spreads) == pytest.approx(0.2, rel=0.08)
    assert np.std(means) == pytest.approx(50.0, rel=0.3)


def test_scans_of_one_place_err_together():
    """The mean of scans of K powers of an uneven place is as unsure as each: errors of √K times that."""
    patches = np.kron(1 + 0.2 * np.random.default_rng(1).standard_normal((4, 4)), np.ones((5, 5)))
    scans = [scan(np.random.default_rng(k).poisson(2000.0 * patches).astype(float)) for k in range(4)]
    series = FluenceSeries(scans=scans, scan_densities=(1.0, 2.0, 3.0, 4.0))
    found = all_surveyed(series.shots, END)
    assert all(one.uneven and one.rough == 1 for one in found)
    alone = [surveyed(MEAN, one).error for one in scans]
    np.testing.assert_allclose([one.error for one in found], 2 * np.array(alone))


def test_noise_that_is_not_as_told():
    """Photons × 10 are rough by 10, not uneven; ages of two populations, or cut, with photons alone are neither."""
    random = np.random.default_rng(6)
    photons = random.poisson(400.0, (16, 16)).astype(float)
    one = surveyed(MEAN, scan(10 * photons))
    assert one.rough == pytest.approx(10.0, rel=0.6)
    assert not one.uneven
    assert one.error == pytest.approx(10 * np.sqrt(400.0) / 16, rel=0.3)
    for spread in (2.0, 0.4):  # of the ages over their mean, where an exponential has 1
        ages = 5.0 * (1 + spread / np.sqrt(photons) * random.standard_normal(photons.shape))
        one = surveyed(MEAN, scan(ages, quantity="lifetime", photons=photons))
        assert not one.uneven
        assert one.rough == 1
        assert one.error == pytest.approx(spread * 5.0 / np.sqrt(photons.sum()), rel=0.35)
    quiet = scan(5.0 + 0.01 * random.standard_normal((16, 16)), quantity="lifetime", uncertainty=np.ones((16, 16)))
    assert surveyed(MEAN, quiet).rough < 0.01


def test_places_that_are_surer_count_more():
    """One bad place of 144 does nothing; half of the places dim make the mean no worse; few places have own errors."""
    random = np.random.default_rng(7)
    error = np.full((12, 12), 0.1)
    ages = 4.0 + error * random.standard_normal((12, 12))
    ages[3, 5], error[3, 5] = 250.0, 300.0
    one = surveyed(MEAN, scan(ages, quantity="lifetime", uncertainty=error))
    assert one.mean == pytest.approx(4.0, abs=0.03)
    assert one.error == pytest.approx(0.1 / 12, rel=0.2)
    assert not one.uneven
    error = np.where(np.arange(12) < 6, 0.9, 0.057) * np.ones((12, 1))
    ages = 4.0 + error * random.standard_normal((12, 12))
    one = surveyed(MEAN, scan(ages, quantity="lifetime", uncertainty=error))
    assert one.error < 1.2 * 0.057 / np.sqrt(72)
    corner = np.zeros((16, 16), bool)
    corner[:4, :4] = True
    patchy = 1000.0 * (1 + 0.3 * np.random.default_rng(8).standard_normal((16, 16)))
    one = surveyed(MEAN, scan(np.maximum(patchy, 1.0), mask=corner, uncertainty=np.full((16, 16), 30.0)))
    assert one.error > 0.5 * 300.0 / 4


def test_scans_of_no_light_are_refused():
    values = np.random.default_rng(9).standard_normal((5, 5)) - 3.0
    with pytest.raises(InputError, match=r"dark: the mean of its positions, -.*give the negative"):
        surveyed(MEAN, scan(values, uncertainty=np.ones((5, 5)), file="dark"))
    ages = scan(np.full((5, 5), 4.0), quantity="lifetime", uncertainty=np.ones((5, 5)), photons=np.zeros((5, 5)))
    with pytest.raises(InputError, match="no photons, so that their lifetimes are of nothing"):
        surveyed(MEAN, ages)


def test_what_a_series_does_not_take():
    photons = np.full((4, 4), 50.0) + np.arange(4)
    lit, meV = scan(photons, file="lit"), {"quantity": "energy", "uncertainty": np.ones((4, 4))}
    for said, words in (
        ({"scans": [lit], "scan_densities": []}, "1 raster scans with 0 peak densities"),
        ({"scans": [lit], "scan_densities": [10.0], "scale": "free"}, "lit: scale = .free. leaves a scan of photons"),
        ({"scans": [lit], "scan_densities": [10.0], "uniform": True}, "a scan has none that moves"),
        ({"scans": [scan(photons, **meV)], "scan_densities": [10.0]}, "give the spectra as a spectral map"),
    ):
        with pytest.raises(InputError, match=words):
            FluenceSeries(**said)
    aged = scan(photons / 10, quantity="lifetime", uncertainty=np.ones((4, 4)))
    one = FluenceSeries(scans=[lit, aged, aged], scan_densities=[10.0, 10.0, 10.0])
    assert [len(shot.scans) for shot in one.shots] == [2, 1]
    near = replace(aged, collection=0.3)
    one = FluenceSeries(scans=[lit, aged, near], scan_densities=[10.0, 10.0, (10.0, 1.0)])
    assert [(len(shot.scans), shot.error) for shot in one.shots] == [(3, 1.0)]  # of one pulse
    with pytest.raises(InputError, match="scans of photons of several powers, without decays, frames, scans of lifeti"):
        Experiment(series=FluenceSeries(scans=[lit], scan_densities=[1.0]), model="free", laser_fwhm=0.3).fit()


def film_scans(
    film: Medium,
    peaks,
    seed: int,
    places: int = 12,
    bright: float = 600.0,
    near: float | None = None,
    last: float = 700.0,
):
    """(scans of photons and of ages, densities): what a film shows, with the noise of that many photons."""
    random, scans, densities = np.random.default_rng(seed), [], []
    edges = (0.0, *np.geomspace(1e-3, last, 2500))
    for peak in peaks:
        found = round_pulse(film, width=S, peak=peak, edges=edges, steps=768, frames=near is not None)
        waves = np.asarray(found.wavenumbers)
        parts = np.asarray(found.free) if near is None else (
            np.asarray(found.modes) @ (2 * np.pi * near**2 * np.exp(-0.5 * (waves * near) ** 2)))  # fmt: skip
        rest = parts.sum() - np.append(0.0, np.cumsum(parts))
        age = np.trapezoid(rest, edges) / parts.sum()
        second = 2 * np.trapezoid(rest * np.array(edges), edges) / parts.sum()
        photons = random.poisson(bright * parts.sum() / (peaks[0] * S**2), (places, places)).astype(float)
        error = np.sqrt(second - age**2) / np.sqrt(photons)
        ages = age + error * random.standard_normal(photons.shape)
        own = {"collection": None if near is None else near * FWHM, "file": f"scan_{peak:g}"}
        scans += [scan(photons, **own), scan(ages, quantity="lifetime", uncertainty=error, **own)]
        densities += [peak, peak]
    return scans, densities


@pytest.mark.gate
def test_a_film_without_traps(tmp_path):
    """τ from the ages, D from light near the laser beside all light; a scan of another film is found out; a page."""
    film = Medium(0.03, 4.0)
    scans, densities = film_scans(film, (200.0, 2000.0), seed=5)
    near, more = film_scans(film, (200.0, 2000.0), seed=6, near=NEAR)
    series = FluenceSeries(scans=[*scans, *near[1::2]], scan_densities=[*densities, *more[1::2]])
    found = Experiment(series=series, model="free", laser_fwhm=S * FWHM).fit()
    assert found.status == "converged", found
    for name, value in (("lifetime", 4.0), ("diffusivity", 0.03)):
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr, found
        assert entry.stderr < 0.1 * value
    assert len(found.raster_scans) == 6
    assert found.raster_scans[0].parameters["mean_photons"].unit == "photons"
    assert "of scans the mean over positions was fitted" in found.methods
    assert not any("differs from place to place" in said for said in found.verdicts)
    again = FitResult.load(found.save(tmp_path / "result.nc"))
    assert again.to_json() == found.to_json()
    np.testing.assert_array_equal(again.raster_scans[1].counts, found.raster_scans[1].counts)
    page = found.report(tmp_path / "report.html").read_text()
    assert "Raster scans" in page
    assert "noise of an even film" in page
    wrong = replace(scans[3], values=1.2 * scans[3].values)
    other = FluenceSeries(scans=[*scans[:3], wrong], scan_densities=densities)
    found = Experiment(series=other, model="free", laser_fwhm=S * FWHM).fit()
    assert found.status == "partial"
    assert "standard errors off that of the model 'free'" in " ".join(found.verdicts)


@pytest.mark.gate
def test_traps_that_fill():
    """Photons and ages of two powers beside a decay, D known: all numbers within 3.5 errors, without start values;
    steps in time are made finer until they do not matter."""
    film = Medium(0.05, 5.0, traps=(Traps(900.0, 2e-3, 0.02, 30.0),))
    scans, densities = film_scans(film, (60.0, 6000.0), seed=7, bright=2000.0)
    edges = np.arange(0.0, 60.01, 0.2)
    parts = np.asarray(round_pulse(film, width=S, peak=6000.0, edges=tuple(edges), steps=512).free)
    counts = np.random.default_rng(8).poisson(5e2 * parts + 2.0).astype(float)
    decay = Decay((edges[1:] + edges[:-1]) / 2, counts, file="decay")
    series = FluenceSeries(scans=scans, scan_densities=densities, decays=[decay], decay_densities=[6000.0])
    asked = Experiment(series=series, model="saturable traps", laser_fwhm=S * FWHM, fixed={"diffusivity": 0.05})
    found = asked.fit()
    assert found.status == "converged", found
    truth = {"lifetime": 5.0, "trap_density": 900.0, "capture": 2e-3, "release": 0.02, "trap_lifetime": 30.0}
    for name, value in truth.items():
        entry = found.parameters[name]
        assert abs(np.log(entry.value / value)) < 3.5 * entry.stderr / value, (name, entry)
        assert entry.stderr < 0.1 * value
    assert "mean age of all photons" in " ".join(found.verdicts)


@pytest.mark.gate
def test_what_spreads_far(tmp_path):
    """D = 0.3 µm²/ns, four laser widths beyond what the search began with: the disc follows, and D is right. Detectors
    of all light and of that near the laser may see unlike parts; here near ones catch 70 %."""
    film, peaks = Medium(0.3, 12.0), (200.0, 2000.0)
    scans, densities = film_scans(film, peaks, seed=11)
    near, more = film_scans(film, peaks, seed=12, near=NEAR)
    near = [replace(one, values=np.random.default_rng(1).binomial(one.values.astype(int), 0.7).astype(float))
            if one.quantity == "intensity" else one for one in near]  # fmt: skip
    series = FluenceSeries(scans=[*scans, *near], scan_densities=[*densities, *more])
    found = Experiment(series=series, model="free", laser_fwhm=S * FWHM).fit()
    assert found.status == "converged", found
    for name, value in (("lifetime", 12.0), ("diffusivity", 0.3)):
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr < 0.2 * value, found
    sensitivity = [found.parameters[f"raster_{which}scale"].value for which in ("", "near_")]
    assert sensitivity[1] / sensitivity[0] == pytest.approx(0.7, rel=0.05)


@pytest.mark.gate
def test_light_that_ends_late():
    """Traps that hold for 50 ages of the fast light: the window grows until the light has ended, and τ is right; what
    sees no place says nothing of D, and says so."""
    film = Medium(0.03, 4.0, traps=(Traps.linear(0.05, 0.005, 1000.0),))
    scans, densities = film_scans(film, (200.0, 2000.0), seed=13, last=6000.0)
    known = {"trapping_rate": 0.05, "release": 0.005, "trap_lifetime": 1000.0}
    series = FluenceSeries(scans=scans[1::2], scan_densities=densities[1::2])
    found = Experiment(series=series, model="traps", laser_fwhm=S * FWHM, fixed=known).fit()
    assert found.status == "converged", found
    entry = found.parameters["lifetime"]
    assert abs(entry.value - 4.0) < 3.5 * entry.stderr < 0.4, found
    assert found.parameters["diffusivity"].value is None
    assert found.parameters["diffusion_length"].value is None
    assert "wherever excitons go" in " ".join(found.verdicts)
    with pytest.raises(InputError, match="scans alone have no numbers that could be held back"):
        compare(Experiment(series=series, laser_fwhm=S * FWHM))


def write_scan(path, photons: RasterScan, ages: RasterScan) -> None:
    rows = zip(photons.positions, photons.values.ravel(), ages.values.ravel(), ages.uncertainty.ravel(), strict=True)
    lines = [f"{x:.3f},{y:.3f},{int(n)},{age:.6f},{error:.6f}" for (x, y), n, age, error in rows]
    path.write_text("\n".join(["x_um,y_um,counts,lifetime_ns,lifetime_error_ns", *lines]) + "\n")


def test_scans_through_the_command(tmp_path, capsys):
    """An experiment's file, its options, run.toml with paths that move, and the same numbers when it is run again."""
    scans, densities = film_scans(Medium(0.03, 4.0), (200.0, 2000.0), seed=9, places=6)
    told = ['model = "free"\n[excitation]\nlaser_fwhm = "283 nm"\n']
    options = ["--model", "free", "--laser-fwhm", "283 nm"]
    for k, peak in enumerate(densities[::2]):
        write_scan(tmp_path / f"scan_{k}.csv", scans[2 * k], scans[2 * k + 1])
        for about in ("", 'quantity = "lifetime"\n'):
            told.append(f'[[raster]]\nfile = "scan_{k}.csv"\n{about}peak_density = "{peak:g} /um^2"\n')
            options += ["--raster", str(tmp_path / f"scan_{k}.csv"), "--raster-density", f"{peak:g} /um^2"]
            options += ["--raster-about", "{" + about.strip() + "}"]
    (tmp_path / "film.toml").write_text("".join(told))
    assert main(["fit", str(tmp_path / "film.toml"), "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out/result.json").read_text())
    assert found["status"] == "converged"
    assert [entry["kind"] for entry in found["measurements"]] == ["raster_scan"] * 4
    assert len(found["settings"]["run"]["inputs"]) == 2  # each file is read for photons and for lifetimes
    assert abs(found["parameters"]["lifetime"]["value"] - 4.0) < 3.5 * found["parameters"]["lifetime"]["stderr"]
    assert (tmp_path / "out/figures/raster_scans.png").is_file()
    assert main(["fit", *options, "-o", str(tmp_path / "same")]) == 0
    same = json.loads((tmp_path / "same/result.json").read_text())
    assert same["parameters"] == found["parameters"]
    capsys.readouterr()
    assert main(["rerun", str(tmp_path / "out")]) == 0
    assert "to the last digit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--raster", "a.csv"], "--raster without --raster-density: scans of one power are mapped"),
        (["--raster", "a.csv", "--raster-density", "1 /um^2", "--raster-about", "quantity"], "give a table in braces"),
        (["--raster", "a.csv", "--raster-density", "1 /um^2", "--raster-about", "{ gian = 2 }"], "known key is 'gain'"),
        (["--raster", "a.csv", "--raster-density", "1 /um^2", "--raster-about", "{gain = inf}"], "write it like"),
        (["--raster", "a.csv", "--raster-density", "1 /um^2", "--raster-about", "{file = 'b'}"], "given by --raster"),
        (["--raster", "a.csv", "--raster-density", "1 /um^2", "--raster-about", "{}", "--raster-about", "{}"],
         "1 raster scans with 2 --raster-about"),
        (["--raster", "a.csv", "--raster-density", "1 /um^2", "--raster", "a.csv", "--raster-density", "2 /um^2"],
         "this raster scan is given twice"),
    ],
)  # fmt: skip
def test_options_of_scans_are_refused(options, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x_um,y_um,counts\n")
    assert main(["fit", *options, "--laser-fwhm", "300 nm"]) == 1
    assert says in " ".join(capsys.readouterr().err.split())


def test_paths_beside_a_scan_are_inputs_and_move():
    """What the table of a scan names is hashed, and moves with the folder."""
    about = ('{quantity = "lifetime", uncertainty = "e.csv"}', "{uncertainty = 0.1}")
    said = FitSettings(raster=("a.csv", "b.csv"), raster_density=("1 /um^2", "2 /um^2"), raster_about=about)
    assert ("raster uncertainty", "e.csv") in said.paths()
    moved = said.moved(lambda path: f"there/{path}")
    assert moved.raster == ("there/a.csv", "there/b.csv")
    assert '"uncertainty" = "there/e.csv"' in moved.raster_about[0]
    assert moved.raster_about[1] == '{ "uncertainty" = 0.1 }'
