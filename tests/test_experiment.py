"""From images to a result: the answer, what is said beside it, what bad input gets. Truth from photon-level walks."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks.photons import FWHM, shoot
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.parameters import STEADY, Constraints
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.spot import fit_film, fit_gaussian
from excidiff.solver.solution import InputError

LENGTH, WIDTH = 0.45, 0.14
LASER = {"photons": 1e5, "width": WIDTH, "background": 1.0, "file": "laser"}
SPOT = {"photons": 1e5, "width": WIDTH, "length": LENGTH, "background": 1.0}


@pytest.fixture(scope="module")
def laser():
    return shoot(1, **LASER)


@pytest.fixture(scope="module")
def spots():
    return [shoot(10 + k, file=f"spot_{k}", centre=(0.1, -0.2), **SPOT) for k in range(3)]


@pytest.fixture(scope="module")
def result(laser, spots):
    return Experiment(images=spots, laser=laser, lifetime=(4.0, 0.1)).fit()


def pull(estimate, truth):
    return (estimate.value - truth) / estimate.stderr


def test_finds_the_length_within_its_error(result):
    """Seeds fixed; a pull beyond 4 is one in 16 000."""
    for measurement in result.images:
        assert abs(pull(measurement.parameters["diffusion_length"], LENGTH)) < 4
        assert abs(pull(measurement.parameters["centre_x"], 0.1)) < 4
        assert abs(pull(measurement.parameters["centre_y"], -0.2)) < 4
        assert abs(pull(measurement.parameters["amplitude"], 1e5)) < 5  # the number of photons itself is Poisson
        assert abs(pull(measurement.parameters["background"], 1.0)) < 4
        assert abs(measurement.goodness["z"]) < 4
    assert abs(pull(result.parameters["diffusion_length"], LENGTH)) < 4
    assert abs(pull(result.parameters["laser_image_fwhm"], FWHM * WIDTH)) < 4
    assert result.status == "converged"


def test_mean_has_common_errors_once(result):
    """The mean's error lies between that of independent images and that of one; its relative error also enters D."""
    errors = [m.parameters["diffusion_length"].stderr for m in result.images]
    mean = result.parameters["diffusion_length"]
    assert np.mean(errors) / np.sqrt(3) < mean.stderr < np.mean(errors)
    assert result.scatter["diffusion_length"]["n"] == 3
    diffusivity = result.parameters["diffusivity"]
    assert diffusivity.value == pytest.approx(mean.value**2 / 4)
    relative = np.hypot(2 * mean.stderr / mean.value, 0.1 / 4)
    assert diffusivity.stderr == pytest.approx(diffusivity.value * relative)


def test_knowledge_of_the_width_equals_the_joint_fit(laser, spots):
    """Laser and spot maximised together by scipy over all ten parameters: L agrees to 0.02 of its error."""
    from scipy.optimize import minimize
    from scipy.special import erf

    from excidiff.inverse.fit.prediction import pixel_edges, steady_nodes

    edges = pixel_edges(96, 0.06)
    nodes, weights = steady_nodes()

    def expected(length, width, x, y, amplitude, background):
        v = np.sqrt(2 * (width**2 + 2 * length**2 * (nodes if length else 0 * nodes)))[:, None]
        across, along = (np.diff(erf((edges - c) / v), axis=1) / 2 for c in (x, y))
        return amplitude * (along * weights[:, None]).T @ across + background

    def deviance(p):
        length, width = np.exp(p[:2])
        pairs = ((spots[0], expected(length, width, *p[2:4], *np.exp(p[4:6]))),
                 (laser, expected(0.0, width, *p[6:8], *np.exp(p[8:10]))))  # fmt: skip
        return sum(float(2 * (mu - image.counts * np.log(mu)).sum()) for image, mu in pairs)

    with jax.enable_x64(True):
        first = fit_gaussian(laser, "poisson")
        known = Known(("width",), first.values[:1], first.covariance[:1, :1])
        gaussian = fit_gaussian(spots[0], "poisson", least_squares=True)
        ours = fit_film([spots[0]], gaussian, known, Constraints({}, {}), "poisson")
    start = [*ours.values[:4], ours.values[4], np.log(ours.values[5]), *first.values[1:4], np.log(first.values[4])]
    joint = minimize(deviance, start, method="BFGS", options={"gtol": 0.3})
    error = ours.error("diffusion_length")
    assert joint.x[0] == pytest.approx(ours.values[0], abs=0.02 * error)
    assert np.exp(joint.x[1]) == pytest.approx(ours.value("width"), rel=2e-4)


def test_says_what_a_steady_image_cannot_tell(laser, spots):
    """Without a lifetime D has no value, is not identifiable, and a sentence names the cure; JSON stays strict."""
    result = Experiment(images=spots[:1], laser=laser).fit()
    diffusivity = result.parameters["diffusivity"]
    assert diffusivity.value is None
    assert not diffusivity.identifiable
    assert any("D and τ" in verdict and "decay" in verdict for verdict in result.verdicts)
    json.loads(result.to_json(), parse_constant=pytest.fail)


def test_deconvolved_length_beside(result):
    """√(FWHM² − FWHM_laser²)/2.3548 of the fitted Gaussians falls short of L, and the verdict says by how much."""
    deconvolved = result.parameters["deconvolved_length"]
    assert 0.5 * LENGTH < deconvolved.value < 0.9 * LENGTH
    assert deconvolved.stderr < 0.02 * LENGTH
    assert any("width subtraction" in verdict and "less" in verdict for verdict in result.verdicts)


def test_runs_in_double_precision_whatever_jax_is_set_to(laser, spots):
    """FAULTS 19: with x64 off, the same numbers to 1e-9, and the setting untouched."""
    double = Experiment(images=spots[:1], laser=laser).fit().parameters["diffusion_length"].value
    with jax.enable_x64(False):
        single = Experiment(images=spots[:1], laser=laser).fit().parameters["diffusion_length"].value
        assert not jax.config.jax_enable_x64
    assert single == pytest.approx(double, rel=1e-9)


def test_rectangle_with_unlike_pixels_far_off_centre(laser):
    """Any pixel (y ≠ x), rectangle and centre; camera with gain, offset and read noise."""
    camera = {"gain": 2.3, "offset": 120.0, "read_noise": 1.5}
    image = shoot(21, shape=(90, 130), pixel=(0.08, 0.05), centre=(1.0, -0.9), **SPOT, **camera)
    beside = shoot(22, shape=(70, 100), pixel=(0.08, 0.05), centre=(-0.3, 0.4), **LASER, **camera)
    found = Experiment(images=[image], laser=beside).fit()
    assert abs(pull(found.parameters["diffusion_length"], LENGTH)) < 4
    assert abs(pull(found.parameters["centre_x"], 1.0)) < 4
    assert abs(found.goodness["z"]) < 4


@pytest.mark.parametrize("optics", ["fwhm", "fwhm and psf", "laser and psf image", "wavelengths"])
def test_every_description_of_the_optics_gives_the_same_length(laser, spots, optics):
    """source² + psf² = s²: the same s told in four ways; with wavelengths the laser's PSF is narrower."""
    psf = 0.08
    given = {
        "fwhm": {"laser_fwhm": FWHM * WIDTH},
        "fwhm and psf": {"laser_fwhm": FWHM * np.sqrt(WIDTH**2 - psf**2), "psf_fwhm": FWHM * psf},
        "laser and psf image": {"laser": laser, "psf": shoot(5, photons=1e5, width=psf, file="psf")},
        "wavelengths": {"laser": laser, "psf_fwhm": FWHM * psf, "laser_wavelength": 0.4, "emission_wavelength": 0.5},
    }[optics]
    result = Experiment(images=spots[:1], **given).fit()
    assert any("No PSF" in warning for warning in result.warnings) == (optics == "fwhm")
    length = result.parameters["diffusion_length"]
    assert abs(pull(length, LENGTH)) < 4
    if optics == "wavelengths":
        same = Experiment(images=spots[:1], laser=laser).fit().parameters["diffusion_length"]
        assert length.value < same.value
    if optics == "laser and psf image":
        assert result.parameters["laser_fwhm"].value == pytest.approx(FWHM * np.sqrt(WIDTH**2 - psf**2), rel=0.02)


def test_no_diffusion_gives_an_upper_limit(laser):
    """FAULTS 15: a spot no wider than the laser's ends on the bound: one-sided interval, and a sentence."""
    result = Experiment(images=[shoot(31, **{**SPOT, "length": 0.0})], laser=laser).fit()
    length = result.parameters["diffusion_length"]
    assert length.at_bound
    assert length.stderr is None
    assert length.interval95[0] is None
    assert 0 < length.interval95[1] < 0.1
    assert any("upper limit" in verdict for verdict in result.verdicts)


@pytest.mark.parametrize(
    ("bounds", "sides", "sense"),
    [
        ((None, 0.4), (0.4, None), "larger"),
        ((None, 0.01), (0.01, None), "larger"),
        ((0.6, None), (None, 0.6), "smaller"),
    ],
)
def test_a_bound_that_was_set_is_no_upper_limit(laser, spots, bounds, sides, sense):
    """L = 0.45 held by a bound, be it next to zero: the interval lies beyond it, and nothing is said of zero."""
    result = Experiment(images=spots[:1], laser=laser, bounds={"diffusion_length": bounds}).fit()
    found = result.parameters["diffusion_length"].interval95
    assert [side and round(side, 9) for side in found] == list(sides)
    assert any("bound that was set" in verdict and sense in verdict for verdict in result.verdicts)
    assert not any("compatible" in verdict for verdict in result.verdicts)


def test_images_that_give_only_an_upper_limit_are_told(laser, spots):
    """One beside two that have a length is not in the mean, and that is said; two alone have no mean to agree with."""
    none = [shoot(seed, file=f"none_{seed}", **{**SPOT, "length": 0.0}) for seed in (31, 33)]
    some = Experiment(images=[*spots[:2], none[0]], laser=laser).fit()
    assert any(verdict.startswith("1 of 3 images gives only an upper limit") for verdict in some.verdicts)
    assert any("The 2 images agree" in verdict for verdict in some.verdicts)
    both = Experiment(images=none, laser=laser).fit()
    assert both.parameters["diffusion_length"].stderr is None
    assert not any("agree" in verdict for verdict in both.verdicts)
    assert any("no mean" in verdict and "none_31" in verdict for verdict in both.verdicts)


def test_profile_interval_agrees_with_fisher(laser, spots):
    """At 1e5 photons the likelihood is nearly normal in log L: both ends within 10 % of the half-width."""
    fisher = Experiment(images=spots[:1], laser=laser).fit().parameters["diffusion_length"].interval95
    profile = (
        Experiment(images=spots[:1], laser=laser, interval="profile").fit().parameters["diffusion_length"].interval95
    )
    np.testing.assert_allclose(profile, fisher, atol=0.05 * (fisher[1] - fisher[0]))


def test_unknown_gain_is_found_and_said(laser):
    """FAULTS 4: counts of gain 3 given as photons: gain within 5 %, errors √3 larger than they seem, said so."""
    raw = {"gain": 3.0, "gain_known": False}
    result = Experiment(images=[shoot(41, **SPOT, **raw)], laser=shoot(42, **LASER, **raw)).fit()
    assert abs(pull(result.parameters["diffusion_length"], LENGTH)) < 4
    assert sum("no gain" in warning for warning in result.warnings) == 2
    assert result.parameters["amplitude"].value == pytest.approx(1e5, rel=0.1)
    assert result.parameters["diffusion_length"].stderr < 0.02 * LENGTH


def test_a_wrong_model_is_flagged(laser):
    """FAULTS 17: two spots in one image are not described by one; flagged with a reason in words."""
    both = shoot(51, **SPOT).counts + shoot(52, centre=(0.7, 0.0), **SPOT).counts
    image = Image(both, pixel_size=0.06, camera=Camera(gain_known=True, saturation=np.inf), file="double")
    result = Experiment(images=[image], laser=laser).fit()
    assert result.status == "partial"
    assert result.images[0].status == "flagged"
    assert "does not describe" in result.images[0].reason
    assert any("double" in verdict for verdict in result.verdicts)


def test_one_bad_image_harms_no_other(laser, spots, result):
    """FAULTS 21: an image that shows half a spot fails with its reason; the others keep their values exactly."""
    narrow = shoot(61, shape=(16, 16), file="narrow", **SPOT)
    seen = []
    found = Experiment(
        images=[spots[0], narrow, *spots[1:]], laser=laser, lifetime=(4.0, 0.1), unreadable=[(4, "torn.tif", "is torn")]
    ).fit(progress=lambda done, total, name: seen.append((done, total, name)))
    assert [m.status for m in found.images] == ["fitted", "failed", "fitted", "fitted", "failed"]
    assert "three" in found.images[1].reason or "3 times" in found.images[1].reason
    assert found.parameters["diffusion_length"] == result.parameters["diffusion_length"]
    assert found.status == "partial"
    assert seen[-1] == (4, 4, "spot_2")


def test_fixed_bounded_and_tied(laser, spots):
    """Fixed stays, a bound holds and is said to, a tied centre follows the laser's within its error."""
    result = Experiment(images=spots[:1], laser=laser, fixed={"centre_x": 0.1}, background=1.0).fit()
    assert result.parameters["centre_x"].value == 0.1
    assert result.parameters["centre_x"].origin == "given"
    assert result.parameters["background"].value == 1.0
    bounded = Experiment(images=spots[:1], laser=laser, bounds={"diffusion_length": (None, 0.4)}).fit()
    assert bounded.parameters["diffusion_length"].value == pytest.approx(0.4)
    assert bounded.parameters["diffusion_length"].at_bound
    central = shoot(71, **SPOT)
    tied = Experiment(images=[central], laser=laser, tied=("centre_x", "centre_y")).fit().parameters
    free = Experiment(images=[central], laser=laser).fit().parameters
    assert tied["centre_x"].stderr < 0.5 * free["centre_x"].stderr
    assert abs(tied["centre_x"].value) < 4 * tied["centre_x"].stderr


def test_a_start_is_searched_from_as_well(laser, spots, monkeypatch):
    """A far start is tried beside the fit's own and harms nothing: L is the same to 1 % of its error."""
    tried, fit = [], Problem.fit

    def watched(problem, start, **more):
        tried.append(np.array(start))
        return fit(problem, start, **more)

    plain = Experiment(images=spots[:1], laser=laser).fit()
    monkeypatch.setattr(Problem, "fit", watched)
    found = Experiment(images=spots[:1], laser=laser, starts={"diffusion_length": 1.7, "centre_x": 0.05}).fit()
    begun = [start for start in tried if len(start) == len(STEADY) and start[0] == pytest.approx(np.log(1.7))]
    assert len(begun) == 1
    assert begun[0][STEADY.index("centre_x")] != tried[0][STEADY.index("centre_x")]
    length, same = (result.parameters["diffusion_length"] for result in (found, plain))
    assert abs(length.value - same.value) < 0.01 * same.stderr
    assert found.settings["starts"] == {"diffusion_length": 1.7, "centre_x": 0.05}


def test_what_another_measurement_told_is_weighed(laser, spots):
    """ln L of data and prior are both nearly normal: value and error are the weighted mean's to 3 % of the error.

    A prior far wider than the data's error changes nothing and is said to; one far away is said to be contradicted.
    """
    plain = Experiment(images=spots[:1], laser=laser).fit().parameters["diffusion_length"]
    stderr, middle = plain.stderr, plain.value + 2 * plain.stderr

    def found(value, error):
        return Experiment(images=spots[:1], laser=laser, priors={"diffusion_length": (value, error)}).fit()

    both = found(middle, stderr)
    length = both.parameters["diffusion_length"]
    mean = np.exp(np.average(np.log([plain.value, middle]), weights=[plain.value**2, middle**2]))
    assert length.stderr == pytest.approx(stderr / np.sqrt(2), rel=0.03)
    assert abs(length.value - mean) < 0.03 * stderr
    assert any("came from elsewhere" in verdict and "agree with it" in verdict for verdict in both.verdicts)
    assert both.settings["priors"] == {"diffusion_length": [middle, stderr]}
    far = found(plain.value + 20 * stderr, stderr)
    assert any("contradict it" in verdict for verdict in far.verdicts)
    sharp = found(plain.value, 0.05 * stderr)
    assert any("these data tell no more of it" in verdict for verdict in sharp.verdicts)


def test_gaussian_data_with_their_own_uncertainty(spots):
    """FAULTS 3: signed data with errors are fitted by χ²; goodness comes from it."""
    rng = np.random.default_rng(81)
    clean = shoot(82, **{**SPOT, "photons": 4e6}).counts / 4e6
    noise = 0.02 * clean.max()
    data = clean + noise * rng.standard_normal(clean.shape)
    image = Image(data, pixel_size=0.06, uncertainty=np.full(data.shape, noise), file="pump-probe")
    result = Experiment(images=[image], laser_fwhm=FWHM * WIDTH, psf_fwhm=0.01).fit()
    assert (data < 0).any()
    assert abs(pull(result.parameters["diffusion_length"], LENGTH)) < 4
    assert abs(result.goodness["z"]) < 4


def test_a_background_of_zero_is_no_trouble(laser):
    """Pure Poisson counts without any background: L unbiased, the background one-sided or within 4 of its errors."""
    image = shoot(91, **{**SPOT, "photons": 1e4, "background": 0.0})
    result = Experiment(images=[image], laser=laser).fit()
    assert abs(pull(result.parameters["diffusion_length"], LENGTH)) < 4
    background = result.parameters["background"]
    assert background.at_bound or abs(background.value) < 4 * background.stderr
    assert background.interval95[1] < 0.01


def bad(spots, beside, **change):
    return Experiment(**{"images": spots, "laser": beside, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "nothing to fit"),
        ({"laser": None}, "either as an image"),
        ({"laser_fwhm": 0.3}, "either as an image"),
        ({"laser_wavelength": 0.4}, "both wavelengths"),
        ({"lifetime": -1.0}, "lifetime"),
        ({"laser_wavelength": (0.4, 0.01), "emission_wavelength": 0.5}, "without an error"),
        ({"noise": "white"}, "noise"),
        ({"fixed": {"backgroud": 0.0}}, "did you mean 'background'"),
        ({"fixed": {"diffusion_length": -1.0}}, "positive"),
        ({"priors": {"diffusion_length": (0.4, 0.01)}}, "each would count it anew"),
        ({"starts": {"diffusion_length": 0.0}}, "started diffusion_length = 0.0"),
        ({"starts": {"background": 1.0}, "fixed": {"background": 1.0}}, "has a start, but is fixed"),
        ({"bounds": {"centre_x": (1.0, 0.0)}}, "lower must be less"),
        ({"laser": None, "laser_fwhm": 0.3, "tied": ("centre_x",)}, "tied"),
        ({"gates": [0.0, 1.0]}, "gates of shape"),
    ],
)
def test_contradictions_are_refused_before_computing(spots, laser, change, message):
    with pytest.raises(InputError, match=message):
        bad(spots, laser, **change)


def test_unlike_pixels_are_refused_naming_both(spots, laser):
    """FAULTS 6."""
    with pytest.raises(InputError, match=r"laser.*spot_0|spot_0.*laser"):
        bad(spots, dataclasses.replace(laser, pixel_size=0.05))


def test_laser_narrower_than_the_psf_is_refused(spots, laser):
    with pytest.raises(InputError, match="no wider than the PSF"):
        Experiment(images=spots, laser=laser, psf_fwhm=0.5).fit()


def test_gaussian_noise_of_unknown_size_weighs_the_laser_rightly():
    """Data in odd units with unknown noise: L within 4 of its errors, profile and Fisher alike."""
    rng = np.random.default_rng(95)

    def measured(file, **spot):
        clean = 1e4 * shoot(96, photons=4e6, **spot).counts / 4e6
        noisy = clean + 0.01 * clean.max() * rng.standard_normal(clean.shape)
        return Image(noisy, pixel_size=0.06, camera=Camera(read_noise=1.0, saturation=np.inf), file=file)

    laser, spot = measured("laser", width=WIDTH), measured("spot", width=WIDTH, length=LENGTH)
    result = Experiment(images=[spot], laser=laser, noise="gaussian", interval="profile").fit()
    length = result.parameters["diffusion_length"]
    assert abs(pull(length, LENGTH)) < 4
    assert length.stderr < 0.02 * LENGTH
    half = (length.interval95[1] - length.interval95[0]) / 2
    assert half == pytest.approx(1.96 * length.stderr, rel=0.1)
    assert result.goodness["p_value"] is None
    assert any("that the residuals show" in verdict for verdict in result.verdicts)
