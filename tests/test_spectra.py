"""Spectra against position: the files, the exact model against the solver, its derivatives, and what a map tells."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from benchmarks.photons import FWHM, collect_spectra
from excidiff.inverse import Experiment, FitResult, InputError, SpectralMap, read_spectral_map
from excidiff.inverse.cli import main
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.fit.colours import SPECTRAL, Places, energies, spectra, spectral_model
from excidiff.inverse.fit.lines import line
from excidiff.inverse.fit.parameters import inner
from excidiff.inverse.fit.peaks import reduce_spectra
from excidiff.inverse.fit.prediction import steady_nodes
from excidiff.inverse.results.screen import remark
from excidiff.inverse.results.wording import lopsided
from excidiff.solver.disorder import Disorder, cut

OPTIMISED = True

KT = 25.4213
FILM = {"photons": 1e7, "width": 0.15, "length": 0.42, "attempts": 3.0, "disorder": 16.0, "line": 22.0}


@pytest.fixture(scope="module")
def scan() -> SpectralMap:
    return collect_spectra(3, share=0.08, **FILM)


@pytest.fixture(scope="module")
def found(scan) -> FitResult:
    return Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, lifetime=(4.0, 0.04), temperature=295.0).fit()


# Files
# -----


def table(tmp_path, corner="position_um\\wavelength_nm", colours=None, rows=None, name="map.csv"):
    colours = np.arange(500.0, 520.0) if colours is None else colours
    rows = [[0.05 * k, *np.full(len(colours), 3 + k)] for k in range(5)] if rows is None else rows
    lines = [",".join([corner, *(f"{c:.4f}" for c in colours)]), *(",".join(f"{v:g}" for v in row) for row in rows)]
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_is_read_with_its_axes(tmp_path):
    """Edges midway between the centres in nm, turned into energies one by one; the step is the places' distance."""
    scan = read_spectral_map(table(tmp_path), slit="40 nm")
    np.testing.assert_allclose(PLANCK_C / scan.edges, np.arange(499.5, 520.0), rtol=1e-13)
    np.testing.assert_allclose(scan.wavelength, np.arange(500.0, 520.0), rtol=1e-13)
    np.testing.assert_allclose(scan.x, 0.05 * np.arange(5))
    assert (scan.step, scan.slit, scan.counts.shape) == (pytest.approx(0.05), pytest.approx(0.04), (1, 5, 20))
    assert scan.counts[0, 2].tolist() == [5.0] * 20


def test_a_table_may_lie_on_its_side_or_be_in_energies(tmp_path):
    upright = read_spectral_map(table(tmp_path))
    values = np.loadtxt(tmp_path / "map.csv", delimiter=",", skiprows=1)
    lying = table(tmp_path, "wavelength (nm)|position (nm)", 1e3 * values[:, 0],
                  np.column_stack([np.arange(500.0, 520.0), values[:, 1:].T]), "lying.csv")  # fmt: skip
    again = read_spectral_map(lying)
    np.testing.assert_array_equal(again.counts, upright.counts)
    np.testing.assert_allclose(again.x, upright.x, atol=1e-12)
    energy = read_spectral_map(table(tmp_path, "position_um\\energy_eV", np.linspace(2.31, 2.5, 20), name="energy.csv"))
    np.testing.assert_allclose(energy.edges[[0, -1]], [2305.0, 2505.0])


@pytest.mark.parametrize(
    ("corner", "colours", "said"),
    [
        ("position\\wavelength", None, "no unit"),
        ("position_um", None, "does not name both axes"),
        ("position_um\\width_um", None, "one must be places, one colours"),
        ("position_um\\wavelength_nm", np.r_[500:510.0, 509:519.0], "do not rise or fall steadily"),
        ("position_um\\wavelength_nm", np.linspace(0.5, 0.52, 20), "check the unit"),
        ("position_um\\wavelength_nm", np.arange(5) + 500.0, "do not rise or fall"),
    ],
)
def test_faulty_axes_are_refused(tmp_path, corner, colours, said):
    with pytest.raises(InputError, match=said):
        read_spectral_map(table(tmp_path, corner, colours))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"counts": np.full((1, 5, 20), -1.0)}, "counts are negative"),
        ({"counts": np.full((1, 5, 20), np.nan)}, "not all finite"),
        ({"counts": np.zeros((1, 5, 20))}, "holds no light"),
        ({"counts": np.ones((1, 4, 20))}, "on axes of"),
        ({"x": np.array([0.0, 1, 2, 2, 3])}, "do not rise steadily"),
        ({"slit": -1.0}, "zero or more"),
        ({"uncertainty": np.zeros((1, 5, 20))}, "zero or less"),
    ],
)
def test_impossible_maps_are_refused(tmp_path, change, said):
    good = read_spectral_map(table(tmp_path))
    with pytest.raises(InputError, match=said):
        replace(good, **change)


# The model
# ---------


def own(**house) -> jnp.ndarray:
    """Parameters of `SPECTRAL` in the fit's own numbers."""
    return jnp.array([inner(name, house[name]) for name in SPECTRAL])


TRUE = own(diffusion_length=0.43, attempts=2.9, disorder=16.0, linewidth=22.0, band_centre=2400.0,
           trap_band_centre=2310.0, trap_band_width=35.0, trap_band_share=0.08, width=0.134, centre_x=0.02,
           centre_y=0.01, amplitude=1e6, background=0.3)  # fmt: skip


def places(count: int = 25, y: float = 0.0) -> Places:
    x = np.linspace(-1.2, 1.2, count)
    edges = PLANCK_C / np.arange(495.0, 545.1, 0.5)
    arrays = (x - 0.05, x + 0.05, np.array([y - 0.05]), np.array([y + 0.05]), edges, np.asarray(KT), steady_nodes())
    return Places(*(jnp.asarray(a) for a in arrays))


def test_energies_relax_as_the_rates_say():
    """Born as the density of states, long after in equilibrium, conserved throughout, and p′ = −R p by expm: 1e-10."""
    from scipy.linalg import expm

    bins = cut(Disorder(16.0, 1.0, bins=48), KT)
    ages = jnp.array([0.0, 0.3, 2.0, 1e6])
    _, shares, _ = energies(jnp.asarray(16.0), jnp.asarray(2.0), ages, jnp.asarray(KT))
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-10)
    np.testing.assert_allclose(shares[0], bins.sites, atol=1e-13)
    np.testing.assert_allclose(shares[3], bins.equilibrium, atol=1e-12)
    for k in (1, 2):
        exact = expm(-2.0 * float(ages[k]) * np.asarray(bins.rates)) @ np.asarray(bins.sites)
        np.testing.assert_allclose(shares[k], exact, atol=1e-10)


def test_lines_are_integrated_between_edges():
    """Against the normal distribution, to 1e-15, far into the wings, edges rising or falling."""
    edges = np.array([2200.0, 2300.0, 2390.0, 2400.0, 2500.0, 2900.0])
    exact = np.diff(stats.norm(2400.0, 20.0).cdf(edges))
    np.testing.assert_allclose(line(jnp.array([2400.0]), jnp.asarray(20.0), jnp.asarray(edges))[0], exact, atol=1e-15)
    falling = line(jnp.array([2400.0]), jnp.asarray(20.0), jnp.asarray(edges[::-1]))[0]
    np.testing.assert_allclose(falling, exact[::-1], atol=1e-15)


LIGHT, SLOPES = jax.jit(spectra), jax.jit(spectral_model)
BACK = jax.jit(jax.vmap(jax.grad(lambda p, weight, here: jnp.sum(weight * spectra(p, here))), in_axes=(0, None, None)))


@pytest.mark.gate
@pytest.mark.parametrize("disorder", [2.0, 100.0])
def test_derivatives_of_the_spectra(disorder):
    """Central differences to 1e-7 of each slope, jvp against vjp under jit and vmap to 1e-10: near-flat and deep
    densities of states, whose relaxation rates crowd.

    Budget: a step h beside a width w leaves (h/w)²/2: 1e-8 for a band's centre (22 meV), 3e-9 for a place (0.13 µm).
    """
    here, start = places(9), TRUE.at[SPECTRAL.index("disorder")].set(np.log(disorder))
    expected, slopes = SLOPES(start, here)
    for index in range(len(SPECTRAL)):
        name = SPECTRAL[index]
        step = 1e-5 if name.startswith("centre") else 3e-3 if name.endswith("centre") else 1e-4  # µm, meV, a logarithm
        shifted = [LIGHT(start.at[index].add(side * step), here) for side in (1, -1)]
        slope = (shifted[0] - shifted[1]) / (2 * step)
        scale = float(jnp.abs(slopes[index]).max())
        assert float(jnp.abs(slope - slopes[index]).max()) < 1e-7 * scale + 1e-9 * float(expected.max())
    along = jnp.asarray(np.random.default_rng(1).standard_normal(len(SPECTRAL)))
    weight = jnp.asarray(np.random.default_rng(2).standard_normal(expected.shape))
    forward = float(jnp.sum(weight * jnp.tensordot(along, slopes, 1)))
    back = BACK(jnp.stack([start, start + 0.01]), weight, here)
    assert abs(float(back[0] @ along) - forward) < 1e-10 * abs(forward)


def test_peaks_of_single_spectra():
    """A thousand spectra of one line: centres and widths scatter as their errors say (1/√2N is 2 %)."""
    edges = PLANCK_C / np.arange(500.0, 540.0, 0.5)
    expected = 4000 * np.asarray(line(jnp.array([2395.0]), jnp.asarray(25.0), jnp.asarray(edges)))[0] + 2.0
    counts = np.random.default_rng(4).poisson(expected, (1000, expected.size)).astype(float)
    found = reduce_spectra(counts, None, edges, 2390.0, 30.0)
    for values, errors, truth in ((found.centre, found.centre_error, 2395.0), (found.width, found.width_error, 25.0)):
        pulls = (values - truth) / errors
        assert abs(pulls.mean()) < 0.15
        assert abs(pulls.std() - 1) < 0.1


# The fit
# -------


def test_a_scan_gives_every_number(found):
    """D, τ, ν, σ, line, traps within 3.5 errors, without start values; goodness; one page of sentences."""
    truth = {"diffusion_length": 0.42, "diffusivity": 0.42**2 / 4, "disorder": 16.0, "relaxation": 0.75,
             "linewidth": 22.0, "band_centre": 2400.0, "trap_band_centre": 2310.0, "trap_band_width": 35.0,
             "trap_band_share": 0.08}  # fmt: skip
    for name, value in truth.items():
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr, name
    assert found.status == "converged"
    assert abs(found.goodness["z"]) < 3
    assert not found.parameters["stokes_shift"].identifiable
    told = " ".join(found.verdicts)
    assert "reddens" in told
    assert "rest on the lifetime that was given" in told
    assert "Stokes shift" in told


def test_a_result_is_saved_with_axes_and_peaks(found, tmp_path):
    again = FitResult.load(found.save(tmp_path / "map.nc"))
    entry, before = again.spectral_maps[0], found.spectral_maps[0]
    assert list(entry.axes) == ["x", "wavelength"]
    for name, values in before.series.items():
        np.testing.assert_array_equal(entry.series[name], values)
    assert again.to_json() == found.to_json()
    page = again.report(tmp_path / "map.html").read_text()
    assert "Spectra against position" in page
    assert "Metropolis" in page


def test_without_a_lifetime_a_scan_gives_lengths_and_attempts(scan):
    result = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, model="relaxation").fit()
    assert result.parameters["diffusion_length"].stderr
    assert result.parameters["attempts_per_lifetime"].stderr
    assert not result.parameters["relaxation"].identifiable
    assert not result.parameters["diffusivity"].identifiable
    assert any("give the lifetime" in sentence for sentence in result.verdicts)


def test_what_leans_on_an_unsure_number_has_the_intervals_of_its_profile():
    """A few photons tell the attempts to a third only, and the line from the disorder by them: both are lopsided."""
    scan = collect_spectra(8, **{**FILM, "photons": 6e5})
    asked = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, lifetime=4.0, model="relaxation")
    with jax.enable_x64(True):
        fit = asked.measured_map().fit
        result = asked.fit()
        line = result.parameters["linewidth"]
        assert fit.error("attempts") > 0.3
        assert line.stderr is not None
        assert line.stderr < 0.1 * line.value
        for ends, rise in ((line.interval68, 1.0), (line.interval95, 3.841)):
            assert [fit.profiled("linewidth", np.log(end)) for end in ends] == pytest.approx([rise, rise], rel=0.01)
    assert lopsided(line)
    assert "68 %: " in remark("linewidth", line)
    centre, spot = result.parameters["centre_x"], result.parameters["diffusion_length"]
    assert centre.interval68 is None  # they do not lean on it
    assert spot.interval68 is None
    rate, attempts = result.parameters["relaxation"], result.parameters["attempts_per_lifetime"]
    assert np.divide(attempts.interval95, rate.interval95) == pytest.approx([4.0, 4.0])
    assert np.divide(attempts.interval68, rate.interval68) == pytest.approx([4.0, 4.0])


def test_alike_spectra_need_no_relaxation():
    """Excitons that never hop: the simplest model is kept; asked for relaxation, the fit says that it is open."""
    scan = collect_spectra(5, **{**FILM, "photons": 2e6, "attempts": 0.0})
    result = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, lifetime=4.0).fit()
    assert "relaxation" not in result.parameters
    assert abs(result.parameters["linewidth"].value - np.hypot(16, 22)) < 0.3
    assert any("explains no more" in sentence for sentence in result.verdicts)
    asked = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, lifetime=4.0, model="relaxation").fit()
    open_ends = [asked.parameters[name] for name in ("attempts_per_lifetime", "disorder")]
    assert any(entry.stderr is None for entry in open_ends)
    assert any("do not fix" in sentence for sentence in asked.verdicts)


def test_counts_that_are_not_photons_are_found_out(scan):
    tripled = replace(scan, counts=3 * scan.counts, file="tripled.csv")
    result = Experiment(spectral_map=tripled, laser_fwhm=0.15 * FWHM).fit()
    assert result.spectral_maps[0].status == "flagged"
    assert "counts that are not photons" in result.spectral_maps[0].reason


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "laser_fwhm"),
        ({"laser_fwhm": 0.3, "model": "mixture"}, "leave the spectral map out"),
        ({"laser_fwhm": 0.3, "components": 2}, "components"),
        ({"laser_fwhm": 0.3, "temperature": -5.0}, "positive number of K"),
        ({"laser_fwhm": 0.3, "fixed": {"disorders": 3.0}}, "did you mean 'disorder'"),
        ({"laser_fwhm": 0.3, "collection_fwhm": -0.2}, "positive"),
        ({"laser_fwhm": 0.3, "gates": [0, 1]}, "no use for it"),
    ],
)
def test_what_a_spectral_map_cannot_use_is_refused(scan, given, said):
    with pytest.raises(InputError, match=said):
        Experiment(spectral_map=scan, **given)


def test_what_is_known_of_the_disorder_is_weighed(scan, found):
    """A prior as sharp as the data, at their value: the error falls to 1/√2 of it, with 5 % for what bends."""
    entry = found.parameters["disorder"]
    optics = {"laser_fwhm": 0.15 * FWHM, "lifetime": (4.0, 0.04), "temperature": 295.0, "model": "relaxation"}
    again = Experiment(spectral_map=scan, priors={"disorder": (entry.value, entry.stderr)}, **optics).fit()
    assert again.parameters["disorder"].stderr == pytest.approx(entry.stderr / np.sqrt(2), rel=0.05)


def test_relaxation_needs_spectra(tmp_path):
    with pytest.raises(InputError, match="only spectra against position tell it"):
        Experiment(model="relaxation")
    with pytest.raises(InputError, match="no spectral map was given"):
        Experiment(collection_fwhm=0.2)


def test_the_command_line_reads_fits_and_writes(scan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = ",".join(["position_um\\wavelength_nm", *(f"{w:.3f}" for w in scan.wavelength)])
    rows = np.column_stack([scan.x, scan.counts[0]])
    np.savetxt("map.csv", rows, fmt="%g", delimiter=",", header=header, comments="")
    words = [
        "--spectral-map",
        "map.csv",
        "--laser-fwhm",
        f"{150 * FWHM} nm",
        "--slit",
        "200 nm",
        "--lifetime",
        "4.0 ns",
    ]
    assert main(["fit", *words, "-o", "out"]) == 0
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert abs(document["parameters"]["disorder"]["value"] - 16) < 4 * document["parameters"]["disorder"]["stderr"]
    assert document["measurements"][0]["kind"] == "spectral_map"
    assert (tmp_path / "out" / "figures" / "spectral_map_01_map.svg").is_file()
    assert main(["fit", *words, "spot.tif"]) == 1
    assert main(["fit", "--slit", "50 nm", "--decay", "d.csv"]) == 1
    (tmp_path / "film.toml").write_text(
        f'model = "relaxation"\n[excitation]\nlaser_fwhm = "{150 * FWHM} nm"\n'
        '[[spectral_map]]\nfile = "map.csv"\nslit = "200 nm"\n'
        '[parameters]\nlifetime = {value = "4.0 ns", error = "0.1 ns"}\n'
    )
    assert main(["fit", "film.toml", "-o", "two"]) == 0
    again = json.loads((tmp_path / "two" / "result.json").read_text())
    np.testing.assert_allclose(again["parameters"]["disorder"]["value"], document["parameters"]["disorder"]["value"])
