"""Lines with wings, and light absorbed again on its way along the film: exact integrals, the solver, files, fits."""

from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, ive, voigt_profile
from scipy.stats import norm

from benchmarks.photons import FWHM, collect_guided, collect_spectra
from excidiff.inverse import Absorption, Experiment, InputError, SpectralMap, read_absorption
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.fit.colours import Places, model_of, names_of, spectra
from excidiff.inverse.fit.guided import Guide, guide_nodes, mixture, parted
from excidiff.inverse.fit.lines import line, voigt
from excidiff.inverse.fit.parameters import inner
from excidiff.inverse.fit.prediction import steady_nodes
from excidiff.inverse.job import build
from excidiff.inverse.options import check_options
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.settings import FitSettings
from excidiff.solver import Grid, Medium, gaussian_spot, steady_state
from excidiff.solver.reabsorption import along_film

OPTIMISED = True

EDGES = np.array([-3000.0, -500, -120, -60, -31, -12, -5, -1, 0, 2.5, 7, 20, 33, 60, 100, 400, 2000])
FILM = {"diffusion_length": 0.3, "linewidth": 22.0, "lorentzian": 9.0, "band_centre": 2400.0,
        "trap_band_centre": 2310.0, "trap_band_width": 35.0, "trap_band_share": 0.08, "width": 0.15, "centre_x": 0.02,
        "centre_y": 0.01, "amplitude": 1e6, "background": 0.3, "outcoupling": 0.3, "guiding_loss": 0.2,
        "attempts": 3.0, "disorder": 16.0}  # fmt: skip


def rising(energy):
    """An absorption edge: meV → 1/µm."""
    return 3.0 * expit((energy - 2440.0) / 15.0)


@pytest.fixture(scope="module")
def table() -> Absorption:
    energy = np.arange(2150.0, 2600.0, 1.0)
    return Absorption(energy, rising(energy))


# A line with wings
# -----------------


@pytest.mark.parametrize("lorentzian", [0.0, 1e-3, 1.0, 10.0, 300.0])
def test_voigt_lines_are_integrated_between_edges(lorentzian):
    """Against quadrature of SciPy's profile, from no wings to nothing else: 2e-14; the quadrature's own error 1e-14."""
    found = voigt(jnp.array([0.0]), jnp.asarray(20.0), jnp.asarray(lorentzian), jnp.asarray(EDGES))[0]
    profile = lambda x: voigt_profile(x, 20.0, lorentzian / 2)  # noqa: E731
    exact = [quad(profile, a, b, epsabs=1e-15, epsrel=1e-13, limit=500)[0] for a, b in pairwise(EDGES)]
    np.testing.assert_allclose(found, exact, rtol=0, atol=2e-14)
    if lorentzian == 0:
        plain = line(jnp.array([0.0]), jnp.asarray(20.0), jnp.asarray(EDGES))[0]
        np.testing.assert_allclose(found, plain, rtol=0, atol=2e-14)


def test_a_bin_about_the_centre_is_not_lost():
    """Shares of a line in the middle of a bin, or on an edge, compiled: each that of SciPy to 1e-15 (one was 0)."""
    edges = np.linspace(1800.0, 2800.0, 101)
    compiled = jax.jit(lambda p, sides: p[2] * line(p[:1], jnp.exp(p[1]), sides) * jnp.ones((3, 1)))
    for centre in (2265.0, 2260.0, 2260.0 + 1e-13):
        found = compiled(jnp.array([centre, np.log(30.0), 2.0]), jnp.asarray(edges))
        exact = 2.0 * np.diff(norm.cdf(edges, centre, 30.0))
        np.testing.assert_allclose(found, np.tile(exact, (3, 1)), rtol=0, atol=2e-15)


def test_derivatives_of_voigt_lines():
    """jvp, vjp and differences (ε² = 1e-8 of a width of 1, ε 1e-16/1e-4) under jit and vmap."""

    def share(p):
        return voigt(p[:1], p[1], p[2], jnp.asarray(EDGES))[0]

    at = jnp.array([[3.0, 20.0, 9.0], [-8.0, 5.0, 30.0]])
    forward = jax.jit(jax.vmap(jax.jacfwd(share)))(at)
    np.testing.assert_allclose(forward, jax.jit(jax.vmap(jax.jacrev(share)))(at), atol=1e-15)
    step = 1e-3 * jnp.eye(3)
    for k in range(3):
        difference = (jax.vmap(share)(at + step[k][None]) - jax.vmap(share)(at - step[k][None])) / 2e-3
        np.testing.assert_allclose(forward[:, :, k], difference, atol=1e-9)


@pytest.mark.gate
def test_second_derivatives_of_voigt_lines():
    """Forward over reverse against differences of the gradient: 1e-9, as above."""
    slope = jax.jit(jax.grad(lambda p: voigt(p[:1], p[1], p[2], jnp.asarray(EDGES))[0, 9]))
    at, step = jnp.array([3.0, 20.0, 9.0]), jnp.array([0.0, 1e-3, 0.0])
    curved = jax.jit(jax.jacfwd(slope))(at)
    np.testing.assert_allclose(curved[:, 1], (slope(at + step) - slope(at - step)) / 2e-3, atol=1e-9)


# Light along the film
# --------------------


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0, 10.0])
def test_the_kernel_is_a_mixture_of_gaussians(alpha):
    """∫ N(r′; s²) e^{−αd}/(2πd) dr′ by quadrature along d: 3e-6 of the light in the middle without absorption."""
    s = 0.15
    lengths, weights = (jnp.asarray(a) for a in guide_nodes(s, 2.4))
    guide = Guide(jnp.zeros(2), jnp.array([alpha]), lengths, weights)
    variance, left = (np.asarray(a) for a in mixture(guide, jnp.asarray(0.0)))
    top = 1 / (s * np.sqrt(8 * np.pi))
    for r in (0.0, 0.2, 1.0, 2.4):
        arriving = lambda d: np.exp(-alpha * d - (r - d) ** 2 / (2 * s**2)) * ive(0, r * d / s**2)  # noqa: E731, B023
        ends = np.unique([0.0, *(max(0.0, r + k * s) for k in range(-8, 10))])
        exact = sum(quad(arriving, a, b, epsrel=1e-11)[0] for a, b in pairwise(ends)) / (2 * np.pi * s**2)
        whole = variance + s**2
        found = (left[:, 0] * np.exp(-(r**2) / (2 * whole)) / (2 * np.pi * whole)).sum()
        assert abs(found - exact) < 3e-6 * top


def places(sides: np.ndarray, edges: np.ndarray, *, slit: float, spot: float = 0.15) -> Places:
    """A line of neighbouring cells through the middle, with an absorption edge."""
    parts = parted(edges)
    guide = Guide(parts, rising((parts[1:] + parts[:-1]) / 2), *guide_nodes(spot, float(np.ptp(sides)) + spot))
    across = np.array([slit / 2])
    return jax.tree.map(
        jnp.asarray,
        Places(sides[:-1], sides[1:], -across, across, edges, np.asarray(25.4213), steady_nodes(), guide),
    )


def own(names: tuple[str, ...], **other) -> jnp.ndarray:
    return jnp.array([inner(name, (FILM | other)[name]) for name in names])


@pytest.mark.gate
def test_the_spectra_are_those_of_the_solver():
    """`steady_state` and `along_film` on a grid of h = s/4, walls at 8 L: within 4e-3 of the brightest place, and the
    guided light alone within 4e-3 of its own.

    Budget: the grid's h²/24 of s² and L², 2e-3 in the middle; 1/d averaged and e^{−αd} at the centres of cells, 1e-3.
    """
    grid, edges = Grid((129, 129), 0.0375), np.array([2340.0, 2390.0, 2410.0, 2450.0])
    parts = parted(edges)
    density = steady_state(Medium(0.09, 1.0), gaussian_spot(grid, fwhm=0.15 * FWHM, total=1.0), grid).density
    band = 0.92 * line(jnp.array([2400.0]), jnp.asarray(22.0), parts) + 0.08 * line(
        jnp.array([2310.0]), jnp.asarray(35.0), parts
    )
    direct = band[0][:, None, None] * density[None]
    alpha = jnp.asarray(rising((parts[1:] + parts[:-1]) / 2)) + 0.2
    arrived = 0.3 * along_film(direct, alpha, grid)
    cells, middle = np.s_[24:105], 64
    sides = (np.arange(82) - 40.5) * 0.0375
    names, area = names_of("gaussian", guiding=True), 0.0375**2
    here = places(sides, edges, slit=0.0375)
    film = {"centre_x": 0.0, "centre_y": 0.0, "amplitude": 1.0, "background": 0.0}
    whole = spectra(own(names, **film), here, names)[0]
    plain = spectra(own(names, **film, **{"outcoupling": 1e-12}), here, names)[0]
    for found, on_grid in ((whole, direct + arrived), (whole - plain, arrived)):
        expected = np.asarray(on_grid[:, middle, cells]).reshape(3, 4, 81).sum(1).T * area
        assert np.abs(found - expected).max() < 4e-3 * expected.max()


@pytest.mark.gate
def test_derivatives_of_guided_spectra():
    """A Voigt line in a film that guides light: jacfwd as every fit has it, against vjp under jit and vmap, 1e-12, and
    central differences, 1e-6 of each slope (steps of 1e-4 of a width)."""
    names = names_of("voigt", guiding=True)
    here, start = places(np.linspace(-1.0, 1.1, 6), PLANCK_C / np.linspace(500.0, 540.0, 9), slit=0.2), own(names)
    expected, slopes = jax.jit(model_of(names))(start, here)
    weight = jnp.asarray(np.random.default_rng(2).standard_normal(expected.shape))
    back = jax.jit(jax.vmap(jax.grad(lambda p: jnp.sum(weight * spectra(p, here, names)))))(jnp.stack([start, start]))
    np.testing.assert_allclose(back[1], jnp.sum(weight[None] * slopes, (1, 2, 3)), rtol=1e-10)
    light = jax.jit(lambda p: spectra(p, here, names))
    for index, name in enumerate(names):
        step = 1e-5 if name in ("centre_x", "centre_y") else 3e-3 if name.endswith("centre") else 1e-4
        slope = (light(start.at[index].add(step)) - light(start.at[index].add(-step))) / (2 * step)
        assert float(jnp.abs(slope - slopes[index]).max()) < 1e-6 * float(jnp.abs(slopes[index]).max()), name


# What a film absorbs
# -------------------


@pytest.mark.parametrize(
    ("head", "factor", "colour"),
    [
        ("wavelength_nm,absorption_per_cm", 1e-4, lambda e: PLANCK_C / e),
        ("energy (eV),alpha (1/um)", 1.0, lambda e: e / 1e3),
        ("energy_meV,absorption cm-1", 1e-4, lambda e: e),
        ("wavelength_um,absorption_per_nm", 1e3, lambda e: PLANCK_C / e / 1e3),
    ],
)
def test_absorption_is_read_with_its_units(tmp_path, head, factor, colour):
    energy = np.array([2500.0, 2400.0, 2300.0])
    rows = "\n".join(f"{colour(e)!r},{a!r}" for e, a in zip(energy, np.array([3.0, 0.2, 0.0]) / factor, strict=True))
    path = tmp_path / "alpha.csv"
    path.write_text(f"{head}\n{rows}\n".replace("np.float64(", "").replace("),", ",").replace(")\n", "\n"))
    found = read_absorption(path)
    np.testing.assert_allclose(found.energy, energy[::-1], rtol=1e-12)
    np.testing.assert_allclose(found.at(np.array([2350.0, 2450.0])), [0.1, 1.6], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wavelength,absorption\n500,1\n510,2\n", "with their units"),
        ("wavelength_nm,absorption_per_cm\n500,1\n510,-2\n", "below zero"),
        ("wavelength_nm,absorption_per_cm\n500,1\n500,2\n", "given twice"),
        ("wavelength_nm,absorption_per_nm\n500,1e4\n510,2e4\n", "check its unit"),
        ("wavelength_nm,absorption_per_cm,more\n500,1,1\n510,2,1\n", "two columns"),
        ("wavelength_nm,absorption_per_cm\n0,1\n510,2\n", "zero or less"),
    ],
)
def test_faulty_absorption_is_refused(tmp_path, text, said):
    path = tmp_path / "alpha.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_absorption(path)


# The fit
# -------


@pytest.fixture(scope="module")
def scan() -> SpectralMap:
    film = {"photons": 1e6, "width": 0.15, "length": 0.42, "line": 20.0, "wings": 12.0}
    return collect_guided(4, outcoupling=0.3, loss=0.4, absorption=rising, **film)


@pytest.mark.gate
def test_a_film_that_guides_light_with_a_voigt_line(scan, table):
    """L, D, η, κ and both widths of the line within 3.5 errors, without start values; sentences, and a misfit of
    models without either."""
    optics = {"laser_fwhm": 0.15 * FWHM, "lifetime": 4.0}
    found = Experiment(spectral_map=scan, model="reabsorption", line="voigt", absorption=table, **optics).fit()
    truth = {"diffusion_length": 0.42, "diffusivity": 0.42**2 / 4, "linewidth": 20.0, "lorentzian": 12.0,
             "outcoupling": 0.3, "guiding_loss": 0.4, "band_centre": 2400.0}  # fmt: skip
    for name, value in truth.items():
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr, name
    assert found.status == "converged"
    told = " ".join(found.verdicts)
    assert "absorbed again on its way" in told
    assert "The line of a site has wings" in told
    assert "with a Voigt line" in found.methods
    assert found.settings["line"] == "voigt"


@pytest.mark.gate
def test_a_gaussian_line_has_no_wings():
    """Asked for a Voigt, the fit gives an upper limit, and the Gaussian's width as it is."""
    scan = collect_spectra(6, photons=1e6, width=0.15, length=0.3, attempts=0.0, disorder=1e-3, line=24.0)
    found = Experiment(spectral_map=scan, laser_fwhm=0.15 * FWHM, model="free", line="voigt").fit()
    entry = found.parameters["lorentzian"]
    assert entry.stderr is None
    assert entry.interval95[0] is None
    assert entry.interval95[1] < 2.0
    assert abs(found.parameters["linewidth"].value - 24.0) < 3.5 * found.parameters["linewidth"].stderr
    assert any("Lorentzian part of the line from none" in sentence for sentence in found.verdicts)


# What is asked
# -------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"line": "lorentz"}, "choose one of gaussian, voigt"),
        ({"model": "reabsorption"}, "needs the film's absorption"),
        ({"absorption": Absorption(np.array([2390.0, 2410.0]), np.ones(2))}, "add rows"),
        ({"fixed": {"lorentzian": 3.0}}, "unknown parameter"),
        ({"fixed": {"outcoupling": 3.0}}, "unknown parameter"),
    ],
)
def test_what_cannot_be_is_refused(scan, given, said):
    with pytest.raises(InputError, match=said):
        Experiment(spectral_map=scan, laser_fwhm=0.3, **given)


def test_without_a_map_there_is_no_line():
    for given, said in (
        ({"line": "voigt"}, "line is of"),
        ({"model": "reabsorption"}, "only spectra"),
    ):
        with pytest.raises(InputError, match=said):
            Experiment(**given)
    with pytest.raises(InputError, match="--line given"):
        check_options(FitSettings(decay=("decay.csv",), line="voigt"))


def test_an_experiment_file_names_line_and_absorption(scan, tmp_path: Path):
    header = ",".join(["position_um\\wavelength_nm", *(f"{w:.3f}" for w in scan.wavelength)])
    rows = np.column_stack([scan.x, scan.counts[0]])
    np.savetxt(tmp_path / "map.csv", rows, fmt="%g", delimiter=",", header=header, comments="")
    (tmp_path / "alpha.csv").write_text("wavelength_nm,absorption_per_cm\n480,30000\n560,0\n")
    (tmp_path / "film.toml").write_text(
        'model = "reabsorption"\n[excitation]\nlaser_fwhm = "300 nm"\n[film]\nabsorption = "alpha.csv"\n'
        '[[spectral_map]]\nfile = "map.csv"\nslit = "200 nm"\nline = "voigt"\n'
        '[parameters]\nguiding_loss = {fixed = "2000 /cm"}\nlorentzian = {max = "40 meV"}\n'
    )
    settings = read_protocol([str(tmp_path / "film.toml")], {}, {})
    check_options(settings)
    found = build(settings)
    assert (found.model, found.line) == ("reabsorption", "voigt")
    assert found.absorption is not None
    np.testing.assert_allclose(found.absorption.coefficient, [0.0, 3.0])
    assert found.fixed == {"guiding_loss": pytest.approx(0.2)}
    assert found.bounds == {"lorentzian": (None, 40.0)}
    assert ("absorption", str(tmp_path / "alpha.csv")) in settings.paths()
