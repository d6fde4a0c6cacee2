"""Frames and a spectral map of one film: one length of both, and what that tells of D, τ and the rate of relaxation.

The frames know D and τ, the spectra L and ντ alone; both together are held against Gaussians of their logarithms,
multiplied, and against films of known numbers.
"""

import json

import numpy as np
import pytest

from benchmarks.photons import FWHM, collect_spectra, shoot_gates
from excidiff.inverse import Experiment, InputError
from excidiff.inverse.cli import main

OPTIMISED = True

WIDTH, LENGTH, LIFETIME, ATTEMPTS = 0.15, 0.42, 4.0, 3.0
TRUTH = {"diffusion_length": LENGTH, "lifetime": LIFETIME, "diffusivity": LENGTH**2 / LIFETIME,
         "relaxation": ATTEMPTS / LIFETIME}  # fmt: skip
GATES = np.arange(0.0, 8.1, 1.0)
SCAN = {"width": WIDTH, "length": LENGTH, "attempts": ATTEMPTS, "disorder": 16.0, "line": 22.0}
KNOWN = {"laser_fwhm": WIDTH * FWHM}
LIGHT = {"lifetime": LIFETIME, "width": WIDTH, "length": LENGTH, "shape": (40, 40), "pixel": 0.1}


def film(seed: int, photons: float = 6e4, spectra: float = 3e6) -> dict:
    movie = shoot_gates([1, seed], GATES, photons=photons, **LIGHT)
    return {"images": movie, "gates": GATES, "spectral_map": collect_spectra([2, seed], photons=spectra, **SCAN)}


@pytest.fixture(scope="module")
def data() -> dict:
    return film(0)


@pytest.fixture(scope="module")
def found(data):
    return Experiment(**data, model="relaxation", **KNOWN).fit()


def logs(result, names) -> tuple[np.ndarray, np.ndarray]:
    entries = [result.parameters[name] for name in names]
    return np.log([entry.value for entry in entries]), np.array([entry.stderr / entry.value for entry in entries])


def test_what_is_said(found):
    assert found.status == "converged"
    assert found.verdicts[0].startswith("Images and spectral map agree: the frames give L = 0.4")
    assert any("rest on the lifetime that frames and spectra together show" in one for one in found.verdicts)
    assert [entry.kind for entry in found.measurements] == ["image", "spectral_map"]


def test_both_are_the_product_of_their_gaussians(data, found):
    """log D, log τ of the frames with their covariance, and log L of the spectra: a Kalman step; values to a tenth of
    the errors, errors to 2 %, as no likelihood is a parabola.

    The covariance follows from the errors of D, τ and L of the frames; all optics are exact.
    """
    frames = Experiment(images=data["images"], gates=GATES, **KNOWN).fit()
    alone = Experiment(spectral_map=data["spectral_map"], model="relaxation", **KNOWN).fit()
    names = ("diffusivity", "lifetime")
    own, errors = logs(frames, names)
    (length,), (sigma,) = logs(frames, ["diffusion_length"])
    (other,), (noise,) = logs(alone, ["diffusion_length"])
    cross = 2 * sigma**2 - (errors**2).sum() / 2
    covariance = np.array([[errors[0] ** 2, cross], [cross, errors[1] ** 2]])
    gain = covariance.mean(1) / (sigma**2 + noise**2)
    wanted = own + gain * (other - length)
    spread = np.sqrt(np.diag(covariance - np.outer(gain, covariance.mean(1))))
    values, told = logs(found, names)
    assert np.all(np.abs(values - wanted) < 0.1 * spread)
    assert told == pytest.approx(spread, rel=0.02)
    assert np.all(told < errors)
    both = found.parameters["diffusion_length"]
    assert both.value == pytest.approx(np.exp(values.mean()), rel=1e-4)


def test_a_lifetime_that_is_given_leaves_d(data):
    result = Experiment(**data, model="relaxation", lifetime=LIFETIME, **KNOWN).fit()
    length, diffusivity, lifetime = (result.parameters[n] for n in ("diffusion_length", "diffusivity", "lifetime"))
    assert (lifetime.value, lifetime.origin) == (LIFETIME, "given")
    assert diffusivity.value == pytest.approx(length.value**2 / LIFETIME, rel=1e-4)
    assert diffusivity.stderr / diffusivity.value == pytest.approx(2 * length.stderr / length.value, rel=1e-3)


def test_two_films_are_found_out(data):
    other = shoot_gates(9, GATES, photons=1e5, **{**LIGHT, "length": 0.55})
    result = Experiment(**{**data, "images": other}, model="relaxation", **KNOWN).fit()
    assert result.verdicts[0].startswith("Images and spectral map disagree: the frames give")
    assert not result.parameters["diffusion_length"].identifiable
    assert not result.parameters["diffusivity"].identifiable


def test_what_is_said_of_one_alone_is_refused(data):
    with pytest.raises(InputError, match="given by itself, lifetime="):
        Experiment(**data, **KNOWN, priors={"lifetime": (4.0, 0.1)})
    with pytest.raises(InputError, match="diffusivity fixed, bounded"):
        Experiment(**data, **KNOWN, bounds={"diffusivity": (0.01, 0.1)})


def test_the_command_line_takes_both(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan = data["spectral_map"]
    np.save("movie.npy", np.stack([image.counts for image in data["images"]]))
    header = "position_um\\wavelength_nm," + ",".join(f"{w:.4f}" for w in scan.wavelength)
    rows = [f"{x:.3f}," + ",".join(f"{c:g}" for c in row) for x, row in zip(scan.x, scan.counts[0], strict=True)]
    (tmp_path / "map.csv").write_text("\n".join([header, *rows]) + "\n")
    options = ["--frame-time", "1 ns", "--pixel-size", "100 nm", "--gain", "1", "--slit", "200 nm"]
    options += ["--laser-fwhm", f"{1e3 * WIDTH * FWHM:.4f} nm", "--model", "relaxation", "-o", "out"]
    assert main(["fit", "--frames", "movie.npy", "--spectral-map", "map.csv", *options]) == 0
    told = json.loads((tmp_path / "out" / "result.json").read_text())["parameters"]
    for name, truth in TRUTH.items():
        assert abs(told[name]["value"] - truth) < 4 * told[name]["stderr"]
