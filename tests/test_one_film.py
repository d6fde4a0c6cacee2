"""Images and a spectral map of one film: one length of both where they agree, none where they do not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.photons import FWHM, collect_spectra, shoot
from excidiff.inverse import Experiment, FitResult, InputError
from excidiff.inverse.cli import main
from excidiff.inverse.fit.optics import Given, resolve_optics
from excidiff.inverse.job import build
from excidiff.inverse.joint import _covariance
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.results.result import plain
from excidiff.inverse.rivals import compare

OPTIMISED = True

WIDTH, LENGTH = 0.15, 0.42
SCAN = {"width": WIDTH, "length": LENGTH, "attempts": 0.0, "disorder": 1.0, "line": 25.0}
KNOWN = {"laser_fwhm": WIDTH * FWHM, "model": "free"}


def image(seed, length=LENGTH, photons=40_000):
    light = {"width": WIDTH, "pixel": 0.1, "shape": (48, 48), "background": 0.5}
    return shoot(seed, photons=photons, length=length, file=f"spot_{seed}.npy", **light)


@pytest.fixture(scope="module")
def scan():
    return collect_spectra(11, photons=6e5, **SCAN)


@pytest.fixture(scope="module")
def found(scan) -> FitResult:
    return Experiment(images=[image(1), image(2)], spectral_map=scan, lifetime=(4.0, 0.04), **KNOWN).fit()


def length(result: FitResult):
    return result.parameters["diffusion_length"]


def test_one_length_of_both(scan, found):
    """Within 3.5 errors, nearer than either alone; where all optics are exact, the mean of both by their weights.

    Budget: the map's likelihood is no parabola, which moves the mean by less than a tenth of its error.
    """
    both = length(found)
    alone = [length(Experiment(images=[image(1), image(2)], laser_fwhm=WIDTH * FWHM).fit()),
             length(Experiment(spectral_map=scan, **KNOWN).fit())]  # fmt: skip
    assert abs(both.value - LENGTH) < 3.5 * both.stderr
    assert both.stderr < min(one.stderr for one in alone)
    weights = [(one.stderr / one.value) ** -2 for one in alone]
    mean = np.exp(np.average([np.log(one.value) for one in alone], weights=weights))
    assert abs(both.value - mean) < 0.1 * both.stderr
    assert both.stderr / both.value == pytest.approx(sum(weights) ** -0.5, rel=0.02)
    diffusivity, lifetime = found.parameters["diffusivity"], found.parameters["lifetime"]
    assert diffusivity.value == pytest.approx(both.value**2 / lifetime.value)
    assert abs(diffusivity.value - LENGTH**2 / 4.0) < 3.5 * diffusivity.stderr


def test_the_page_shows_all_of_them(found, tmp_path):
    assert found.status == "converged"
    assert found.verdicts[0].startswith("Images and spectral map agree: the 2 images give L = 0.4")
    assert [entry.kind for entry in found.measurements] == ["image", "image", "spectral_map"]
    assert length(found).value != found.spectral_maps[0].parameters["diffusion_length"].value
    assert abs(found.goodness["z"]) < 4
    again = FitResult.load(found.save(tmp_path / "film.nc"))
    assert again.to_json() == found.to_json()
    page = again.report(tmp_path / "film.html").read_text()
    for words in ("Each image", "Spectra against position", "share the diffusion length"):
        assert words in page


def test_two_films_are_found_out(scan):
    """A length that differs by a sixth, ten of its errors: no length of both, in words."""
    result = Experiment(images=[image(3, length=0.5)], spectral_map=scan, **KNOWN).fit()
    assert result.status == "partial"
    assert result.verdicts[0].startswith("Images and spectral map disagree")
    assert "two films" in result.verdicts[0]
    assert not length(result).identifiable
    assert not result.parameters["diffusivity"].identifiable
    assert result.images[0].parameters["diffusion_length"].stderr
    assert result.spectral_maps[0].parameters["diffusion_length"].stderr


def test_an_image_that_gives_a_limit_leaves_the_length_to_the_spectra(scan):
    """No wider than the laser: a limit below what the spectra show contradicts them, one above adds nothing."""
    narrow = Experiment(images=[image(4, length=0.0, photons=3000)], spectral_map=scan, **KNOWN).fit()
    assert narrow.verdicts[0].startswith("Images and spectral map disagree")
    still = collect_spectra(12, photons=3e5, **{**SCAN, "length": 1e-3})
    result = Experiment(images=[image(4, length=0.0, photons=3000)], spectral_map=still, **KNOWN).fit()
    assert result.verdicts[0].startswith("Images and spectra are not joined")
    assert length(result).interval95[0] is None


def test_flagged_spectra_leave_the_length_to_the_images(scan):
    """Counts times three scatter more than photons: no length of both."""
    tripled = replace(scan, counts=3 * scan.counts, file="tripled.csv")
    result = Experiment(images=[image(1)], spectral_map=tripled, **KNOWN).fit()
    assert result.status == "partial"
    assert "The spectral map is flagged; the film's is that of the images alone" in result.verdicts[0]
    assert length(result) == result.images[0].parameters["diffusion_length"]


# What both have in common
# ------------------------


@pytest.mark.parametrize("by_image", [False, True])
def test_widths_err_together(by_image):
    """B by central differences over PSF and laser, to 1e-6, of numbers and of a laser image with a PSF."""
    laser = shoot(5, photons=20_000, width=0.2, pixel=0.08, shape=(48, 48)) if by_image else None
    collection = Given(0.2, 0.03)

    def optics(seen=0.3, blur=0.25, error=0.02):
        given = None if by_image else Given(seen, 0.01)
        return resolve_optics(laser, given, None, Given(blur, error), wavelength_ratio=0.8)

    def logs(**moved):
        one = optics(**moved)
        return np.array([one.known.mean[0], 0.5 * np.log(one.source.value**2 + 0.2**2)])

    slope = (logs(blur=0.2501) - logs(blur=0.2499)) / 2e-4
    by_blur = _covariance(optics(), collection) - _covariance(optics(error=0.0), collection)
    assert by_blur == pytest.approx(np.prod(0.02 * slope), rel=1e-6, abs=1e-12)
    if not by_image:
        slope = (logs(seen=0.3001) - logs(seen=0.2999)) / 2e-4
        assert _covariance(optics(error=0.0), collection) == pytest.approx(np.prod(0.01 * slope), rel=1e-6)


# From the command line
# ---------------------


def test_the_command_line_and_a_file_give_the_same(scan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("spot_1.npy", image(1).counts)
    header = ",".join(["position_um\\wavelength_nm", *(f"{w:.3f}" for w in scan.wavelength)])
    np.savetxt("map.csv", np.column_stack([scan.x, scan.counts[0]]), "%g", ",", header=header, comments="")
    laser = f"({1e3 * WIDTH * FWHM} ± 3) nm"
    words = ["--laser-fwhm", laser, "--pixel-size", "100 nm", "--spectral-map", "map.csv", "--slit", "200 nm"]
    words += ["--lifetime", "4 ns", "--gain", "1", "--model", "free"]
    assert main(["fit", "spot_1.npy", *words, "-o", "one"]) == 0
    (tmp_path / "film.toml").write_text(
        f'model = "free"\n[excitation]\nlaser_fwhm = "{laser}"\n[optics]\npixel_size = "100 nm"\n[camera]\ngain = 1\n'
        '[[image]]\nfile = "spot_*.npy"\n[[spectral_map]]\nfile = "map.csv"\nslit = "200 nm"\n'
        '[parameters]\nlifetime = "4 ns"\n'
    )
    one = json.loads((tmp_path / "one" / "result.json").read_text())
    told = plain(build(read_protocol(["film.toml"], {}, {})).settings())
    assert told == {name: value for name, value in one["settings"].items() if name != "run"}
    assert [entry["kind"] for entry in one["measurements"]] == ["image", "spectral_map"]
    assert abs(one["parameters"]["diffusion_length"]["value"] - LENGTH) < 0.02
    assert (tmp_path / "one" / "figures" / "spectral_map_01_map.svg").is_file()
    assert (tmp_path / "one" / "report.html").is_file()
    capsys.readouterr()
    assert main(["fit", "spot_1.npy", "--frames", "spot_1.npy", *words, "-o", "three"]) == 1
    assert "fits of their own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gates": [0, 1]}, "gates need two frames or more"),
        ({"landscape": np.zeros((48, 48))}, "landscape given"),
        ({"interval": "bootstrap"}, "Fisher's information"),
        ({"fixed": {"diffusion_length": 0.4}}, "the length is what both are asked for"),
        ({"bounds": {"centre_x": (0.0, 0.1)}}, "images and spectral map each have one"),
        ({"fixed": {"disorders": 3.0}}, "did you mean 'disorder'"),
        ({"model": "mixture"}, "leave the spectral map out"),
    ],
)
def test_what_both_together_cannot_use_is_refused(scan, given, said):
    with pytest.raises(InputError, match=said):
        Experiment(images=[image(1)], spectral_map=scan, **{"laser_fwhm": 0.3, **given})


def test_models_of_both_are_not_compared(scan):
    with pytest.raises(InputError, match="have one model here"):
        compare(Experiment(images=[image(1)], spectral_map=scan, laser_fwhm=0.3))
