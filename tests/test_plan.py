"""What measurements would tell: the bound of published tables, of fits that are made, and plans as files."""

import json

import numpy as np
import pytest

from benchmarks.photons import FWHM, count_decay, shoot_gates
from excidiff.inverse import Experiment, InputError
from excidiff.inverse.cli import main
from excidiff.inverse.planfile import read_plan
from excidiff.inverse.planning import Planned, Setup, forecast, information

FILM = {"diffusivity": 0.48**2 / 5.0, "lifetime": 5.0}
SPOT = Setup(model="free", film=FILM, laser_fwhm=0.297, psf_fwhm=0.0, known={})
PLAN = """
    [film]
    diffusivity = "0.046 um^2/ns"
    lifetime = {value = "5 ns", error = "0.1 ns"}
    [excitation]
    laser_fwhm = "297 nm"
    [optics]
    pixel_size = "50 nm"
    [[image]]
    photons = 100000
    pixels = 64
"""


@pytest.mark.parametrize(
    ("photons", "background", "error"), [(1e5, 0.0, 0.293), (1e5, 1.0, 0.377), (1e5, 10.0, 0.532), (1e6, 1.0, 0.101)]
)
def test_errors_of_an_image_are_those_of_the_table(photons, background, error):
    """VERIFICATION's bound of L in %, amplitude, centre and background free: to its last digit."""
    image = Planned(kind="image", photons=photons, background=max(background, 1e-9), pixels=128, pixel_size=0.05)
    found = forecast(SPOT, [image])
    assert 100 * found["diffusion_length"] == pytest.approx(error, abs=0.0006)
    assert found["diffusivity"] is None
    assert found["lifetime"] is None


def test_an_image_and_a_decay_determine_both():
    """D = L²/τ: σ_D² = 4 σ_L² + σ_τ²; and many of them as many times the information."""
    image = Planned(kind="image", photons=1e5, background=1.0)
    decay = Planned(kind="decay", photons=1e5, background=1.0)
    one = forecast(SPOT, [image, decay])
    assert one["diffusivity"] == pytest.approx(np.hypot(2 * one["diffusion_length"], one["lifetime"]), rel=1e-9)
    many = forecast(SPOT, [Planned(kind="image", photons=1e5, background=1.0, count=4), decay])
    assert many["diffusion_length"] == pytest.approx(one["diffusion_length"] / 2, rel=1e-9)
    known = forecast(Setup(model="free", film=FILM, laser_fwhm=0.297, psf_fwhm=0.0, known={"lifetime": 0.02}), [image])
    assert known["lifetime"] == pytest.approx(0.02)


@pytest.mark.gate
def test_frames_of_several_powers_are_planned_as_they_are_fitted(tmp_path):
    """A movie of one gate tells what the image of that exposure does, to 1e-9; cut into gates it tells far more."""
    film = {"diffusivity": 0.02, "lifetime": 4.0, "annihilation": 4e-4}
    setup = Setup(model="annihilation", film=film, laser_fwhm=0.3, psf_fwhm=0.2, known={})
    shared = {"photons": 1e5, "background": 0.2, "pixels": 32, "pixel_size": 0.08, "peak_density": 2000.0}
    image = information(setup, Planned(kind="image", exposure=16.0, **shared))
    gate = information(setup, Planned(kind="frames", frames=1, frame_time=16.0, **shared))
    np.testing.assert_allclose(gate, image, rtol=1e-9)
    movie = information(setup, Planned(kind="frames", frames=8, frame_time=2.0, **shared))
    assert np.linalg.eigvalsh(movie)[0] > 10 * max(np.linalg.eigvalsh(image)[0], 0.0)
    text = PLAN.replace("[film]", 'model = "annihilation"\n    [film]\n    annihilation = "4e-4 um^2/ns"')
    text = text.replace("[[image]]", '[[frames]]\n    peak_density = "2000 /um^2"\n    frame_time = "2 ns"')
    (tmp_path / "plan.toml").write_text(text)
    (planned,) = read_plan(tmp_path / "plan.toml")[1]
    assert (planned.kind, planned.peak_density, planned.frame_time, planned.pixels) == ("frames", 2000.0, 2.0, 64)


@pytest.mark.gate
def test_frames_and_decays_get_the_errors_that_their_fits_find():
    """The fit of photons of the same film: its standard errors within 10 %, as the photons themselves scatter."""
    edges = np.arange(9.0)
    frames = shoot_gates(1, edges, photons=2e5, lifetime=5.0, width=0.297 / FWHM, length=0.48, background=0.2,
                         shape=(48, 48), pixel=0.08)  # fmt: skip
    fitted = Experiment(images=frames, gates=edges, laser_fwhm=0.297).fit().parameters
    planned = Planned(kind="frames", photons=2e5, background=0.2, pixels=48, pixel_size=0.08, frames=8, frame_time=1.0)
    found = forecast(SPOT, [planned])
    for name in ("diffusivity", "lifetime"):
        assert fitted[name].stderr / fitted[name].value == pytest.approx(found[name], rel=0.1)
    decay = count_decay(2, [5.0], [1.0], photons=100_000, width=0.05, period=25.0, fwhm=0.1, kind="gaussian")
    seen = Experiment(decay=decay, model="free").fit().parameters["lifetime"]
    planned = Planned(kind="decay", photons=1e5, background=2.0, bins=500, window=25.0, irf_fwhm=0.1, period=25.0)
    assert seen.stderr / seen.value == pytest.approx(forecast(SPOT, [planned])["lifetime"], rel=0.1)


def test_a_plan_becomes_a_table_and_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    assert main(["plan", "plan.toml", "-o", "out"]) == 0
    document = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert document["film"]["lifetime"]["relative_error"] == pytest.approx(0.02)
    assert any("frames" in change["change"] for change in document["changes"])
    assert "Errors to expect" in (tmp_path / "out" / "plan.html").read_text()
    assert "as planned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[image]]", "[image]"), r"write \[\[image\]\]"),
        (("photons = 100000", "photon = 1"), "photons"),
        (("photons = 100000", "background = 1"), "has no photons"),
        (("photons = 100000", "photons = 0"), "more than none"),
        (("pixels = 64", "pixels = 6.5"), "whole number"),
        (('laser_fwhm = "297 nm"', ""), "no laser_fwhm"),
        (('diffusivity = "0.046 um^2/ns"', ""), "lacks diffusivity"),
        (("pixels = 64", 'peak_density = "60 /um^2"'), "leave peak_density out"),
        (("[film]", 'model = "traps"\n[film]'), "lacks trapping_rate"),
        (("[film]", 'model = "mixture"\n[film]'), "choose one of"),
    ],
)
def test_what_no_plan_can_be_is_refused(tmp_path, change, said):
    (tmp_path / "plan.toml").write_text(PLAN.replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_plan(tmp_path / "plan.toml")
