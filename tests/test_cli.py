"""The command line: one clear line for every fault, the right exit code, files whole or absent, and a fit that can be
trusted from end to end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

import excidiff.inverse
from benchmarks.photons import FWHM, shoot_gates
from excidiff.inverse import cli
from excidiff.inverse.demo import Film, write_demo
from excidiff.inverse.job import build
from excidiff.inverse.results.result import FitResult
from excidiff.inverse.settings import FitSettings
from excidiff.inverse.typed import quantity
from excidiff.solver.solution import SolverError

OPTIMISED = True

SMALL = Film(pixels=(64, 72), photons=40_000, laser_photons=100_000, spots=2)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled programs of these tests stay out of the user's cache."""
    before = os.environ.get("EXCIDIFF_CACHE")
    os.environ["EXCIDIFF_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("EXCIDIFF_CACHE") if before is None else os.environ.update(EXCIDIFF_CACHE=before)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A small film from the random walk."""
    return write_demo(tmp_path_factory.mktemp("film") / "demo", seed=5, film=SMALL)


@pytest.fixture(scope="module")
def out(demo) -> Path:
    """What `excidiff fit` makes of it."""
    folder = demo.parent / "out"
    assert cli.main(fit(demo, "-o", folder)) == cli.OK
    return folder


def fit(demo: Path, *more: object) -> list[str]:
    return ["fit", *(str(path) for path in sorted(demo.glob("spot_*.tif"))), "--laser", str(demo / "laser.tif"),
            "--lifetime", f"{SMALL.lifetime} ns", *map(str, more)]  # fmt: skip


def complaint(capsys, *arguments: object, code: int = cli.BAD_INPUT) -> str:
    """Run a command that must fail with `code`: one message, no traceback, unwrapped for matching."""
    assert cli.main([str(argument) for argument in arguments]) == code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert message.count("error:") == 1
    return " ".join(message.split())


def test_the_fit_finds_the_truth(out, demo):
    """The walk's L within 4 of the fit's standard errors (a false alarm in 16 000), the error itself below 2 %."""
    found = json.loads((out / "result.json").read_text(encoding="utf-8"))
    truth = json.loads((demo / "truth.json").read_text(encoding="utf-8"))
    length = found["parameters"]["diffusion_length"]
    assert length["stderr"] < 0.02 * length["value"]
    assert abs(length["value"] - truth["diffusion_length"]) < 4 * length["stderr"]
    assert found["status"] == "converged"


def test_the_folder_holds_what_was_promised(out):
    assert {entry.name for entry in out.iterdir()} == {*cli.FILES}
    assert len(list((out / "figures").iterdir())) == 2 * (2 + 1)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "excidiff rerun run.toml" in page
    recorded = FitResult.load(out / "result.nc").settings["run"]
    assert all(entry["sha256"] in page for entry in recorded["inputs"])
    assert [entry.name for entry in out.parent.iterdir() if entry.name.startswith(".")] == []


def test_the_report_is_drawn_again_from_saved_values(out, capsys):
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert cli.main(["report", str(out)]) == cli.OK
    assert (out / "report.html").read_bytes() == before


def test_a_rerun_gives_the_same_numbers(out, capsys):
    again = str(out.parent / "again")
    assert cli.main(["rerun", str(out), "-o", again]) == cli.OK  # the folder stands for its run.toml
    text = capsys.readouterr().out
    assert "to the last digit" in text
    assert f"The new result is in {again}." in text
    first, second = (FitResult.load(folder / "result.nc") for folder in (out, out.parent / "again"))
    assert first.parameters == second.parameters


def test_a_rerun_notices_changed_inputs(demo, tmp_path, capsys):
    """FAULTS 29 and the promise of run.toml: a changed input is named; --allow-changed goes on."""
    film = write_demo(tmp_path / "demo", seed=5, film=SMALL)
    assert cli.main(fit(film, "-o", tmp_path / "out")) == cli.OK
    other = tifffile.imread(film / "spot_001.tif")
    tifffile.imwrite(film / "spot_001.tif", other[::-1], imagej=True, resolution=(1 / 0.055, 1 / 0.055),
                     metadata={"unit": "um"})  # fmt: skip
    capsys.readouterr()
    message = complaint(capsys, "rerun", tmp_path / "out" / "run.toml", "-o", tmp_path / "new")
    assert re.search(r"spot_001\.tif has changed", message)
    assert "--allow-changed" in message
    arguments = ["rerun", str(tmp_path / "out" / "run.toml"), "-o", str(tmp_path / "new"), "--allow-changed"]
    assert cli.main(arguments) == cli.OK


def test_an_existing_result_is_kept(out, demo, capsys):
    """FAULTS 28."""
    before = (out / "result.json").read_bytes()
    assert "--overwrite" in complaint(capsys, *fit(demo, "-o", out))
    assert (out / "result.json").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_known_before_the_fit(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("excidiff.inverse.job.fit_files", lambda *_: pytest.fail("the fit was started"))
    (tmp_path / "file").write_text("in the way")
    message = complaint(capsys, *fit(demo, "-o", tmp_path / "file" / "out"))
    assert "as file is a file; choose another with -o" in message


def test_one_bad_image_among_several(demo, tmp_path, capsys):
    """FAULTS 21, 25: the torn file is named, the others are fitted, the exit code says so."""
    torn = tmp_path / "torn.tif"
    torn.write_bytes((demo / "spot_000.tif").read_bytes()[:700])
    arguments = fit(demo, "-o", tmp_path / "out")
    assert cli.main([arguments[0], str(torn), *arguments[1:]]) == cli.SOME_FAILED
    assert "torn.tif" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    statuses = {Path(entry["file"]).name: entry["status"] for entry in found["images"]}
    assert statuses == {"torn.tif": "failed", "spot_000.tif": "fitted", "spot_001.tif": "fitted"}
    assert "torn.tif" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_unlike_pixels_are_both_named(demo, tmp_path, capsys):
    """FAULTS 6: pixel sizes of laser and image that differ."""
    laser = tmp_path / "laser.tif"
    tifffile.imwrite(laser, tifffile.imread(demo / "laser.tif"), imagej=True, resolution=(10.0, 10.0),
                     metadata={"unit": "um"})  # fmt: skip
    message = complaint(capsys, "fit", demo / "spot_000.tif", "--laser", laser, "-o", tmp_path / "out")
    assert "laser.tif" in message
    assert "spot_000.tif" in message
    assert "0.1 µm" in message
    assert "0.055 µm" in message or "55 nm" in message
    assert not (tmp_path / "out").exists()


def test_a_pixel_size_is_never_assumed(tmp_path, capsys):
    """FAULTS 6: missing from the file."""
    np.save(tmp_path / "spot.npy", np.random.default_rng(1).poisson(30.0, (40, 40)))
    message = complaint(capsys, "fit", tmp_path / "spot.npy", "--laser-fwhm", "300 nm", "-o", tmp_path / "out")
    assert "--pixel-size" in message or "pixel size" in message
    assert "spot.npy" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--pixel-size", "40"), 'such as "40 nm"'),
        (("--pixel-size", "40 nn"), "the unit of '40 nn' is not known; did you mean 40 nm?"),
        (("--fix", "diffusion_length=0.45"), 'such as "0.45 um"'),
        (
            ("--fix", "foo=3"),
            "choose one of diffusion_length, diffusivity, lifetime, centre_x, centre_y, amplitude, background",
        ),
        (("--dark", "dark.tif", "--offset", "100"), "not both of them"),
        (("--lifetime", "5 ± ns"), 'has no number after ±; write it like "5.0 ± 0.1 ns"'),
        (("--lifetime", "± 0.1 ns"), "has no number before ±"),
        (("--lifetime", "5 us ± 0.1 ns"), "has two units"),
        (("--lifetime", "five ns"), "is not a number with a unit"),
        (("--pixel-size", "40 mm"), "did you mean 40 nm"),
        (("--lifetime", "5 um"), "unit of another kind"),
        (("--laser-fwhm", "300 px"), "counts pixels"),
        (("--laser-fwhm", "300 ± 5 mm"), "did you mean 300 nm"),
        (("--lifetime", "5.0 ± 0.1 s"), "5 s lies outside"),
        (("--lifetime", "5.0 ± 0.1"), "no unit after ±"),
        (("--lifetime", "(5.0 ± 0.1)"), "no unit after ±"),
        (("--laser-wavelength", "532 ± 1 nm", "--emission-wavelength", "700 nm"), "error, which is not carried on"),
        (("--temperature", "295 ± 1 K"), "error, which is not carried on"),
        (("--gain", "two"), "--gain 'two' is not a number"),
        (("--gain", "-1"), "gain"),
        (("--region", "1,2,3"), "--region '1,2,3' is not x0,x1,y0,y1"),
        (("--laser-fwhm", "300 nm", "--laser", "spot.tif"), "not both of them"),
        (("--psf-fwhm", "300 nm", "--psf", "spot.tif"), "not both of them"),
        (("--laser-wavelength", "500 nm"), "--emission-wavelength"),
        (("--fix", "backgruond=1"), "nearest known one is 'background'"),
        (("--fix", "background"), "has no value"),
        (("--fix", "diffusivity=0.1 cm^2/s"), "This fit has diffusion_length"),
        (("--fix", "width=300 nm"), "no such parameter"),
        (("--mask", "absent.tif"), "absent.tif"),
        (("--laser", "absent.tif"), "absent.tif"),
        (("--device", "gpu"), "finds no GPU"),
    ],
)
def test_bad_options_are_explained(demo, tmp_path, capsys, options, expected, monkeypatch):
    """FAULTS 8, 20, 28: every bad value is one message with what to do, and nothing is written."""
    if "gpu" in options:
        monkeypatch.setattr("jax.devices", _no_gpu)
    base = ["fit", demo / "spot_000.tif", "-o", tmp_path / "out"]
    if "--laser" not in options and "--laser-fwhm" not in options:
        base += ["--laser", demo / "laser.tif"]
    assert expected in complaint(capsys, *base, *options)
    assert not (tmp_path / "out").exists()


def test_an_image_counts_once(demo, tmp_path, capsys):
    spot, same = demo / "spot_000.tif", demo / ".." / demo.name / "spot_000.tif"
    assert "spot_000.tif: this image is given twice" in complaint(
        capsys, "fit", spot, same, "--laser", demo / "laser.tif", "-o", tmp_path / "out"
    )


@pytest.mark.parametrize(
    "text", ["2.9 ± 0.1 ns", "(2.9 ± 0.1) ns", "2.9(1) ns", "2.9 +- 0.1 ns", "2900 +/- 100 ps", "2.9 ns ± 0.1 ns"]
)
def test_values_with_errors_as_papers_write_them(text):
    found = quantity(FitSettings(images=("a.tif",), lifetime=text), "lifetime")
    np.testing.assert_allclose(found, (2.9, 0.1), rtol=1e-12)


def _no_gpu(*_):
    raise RuntimeError("Unknown backend: 'gpu' requested, but no platforms that are instances of gpu are present")


def test_the_laser_must_be_known(demo, tmp_path, capsys):
    message = complaint(capsys, "fit", demo / "spot_000.tif", "-o", tmp_path / "out")
    assert "--laser FILE" in message
    assert "--laser-fwhm" in message


def test_errors_of_given_values_are_carried(demo, tmp_path, capsys):
    """ "2.9 ± 0.1 ns": D = L²/τ then has at least the lifetime's relative error."""
    arguments = ["fit", str(demo / "spot_000.tif"), "--laser", str(demo / "laser.tif"), "-o", str(tmp_path / "out")]
    assert cli.main([*arguments, "--lifetime", "2.9 ± 0.1 ns"]) == cli.OK
    found = FitResult.load(tmp_path / "out" / "result.nc").parameters["diffusivity"]
    assert found.value is not None
    assert found.stderr is not None
    assert 0.1 / 2.9 < found.stderr / found.value < 0.1


def test_the_camera_is_taken_out(out, demo, tmp_path):
    """Counts × 2 + 100 with gain 2, a dark of 100, an even flat and a full mask: the same film to rounding."""
    shape = tifffile.imread(demo / "laser.tif").shape
    for path in demo.glob("*.tif"):
        counts = 2 * tifffile.imread(path).astype(np.uint16) + 100
        tifffile.imwrite(
            tmp_path / path.name, counts, imagej=True, resolution=(1 / 0.055, 1 / 0.055), metadata={"unit": "um"}
        )
    np.save(tmp_path / "dark.npy", np.full(shape, 100.0))
    np.save(tmp_path / "even.npy", np.full(shape, 3.0))
    maps = ["--dark", tmp_path / "dark.npy", "--flat", tmp_path / "even.npy", "--mask", tmp_path / "even.npy"]
    assert cli.main(fit(tmp_path, "-o", tmp_path / "out", "--gain", 2, *maps)) == cli.OK
    before, after = (FitResult.load(folder / "result.nc").parameters for folder in (out, tmp_path / "out"))
    for name in ("diffusion_length", "laser_image_fwhm"):
        np.testing.assert_allclose(after[name].value, before[name].value, rtol=1e-7)
        np.testing.assert_allclose(after[name].stderr, before[name].stderr, rtol=1e-5)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (SolverError("Newton did not converge: residual 3"), "Newton did not converge"),
        (MemoryError("(8 GB for the maps)"), "out of memory (8 GB for the maps); use --region"),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), "the device is out of memory"),
    ],
)
def test_a_fit_that_breaks_is_code_four(demo, tmp_path, capsys, monkeypatch, broken, message):
    """FAULTS 13, 20: no traceback, no folder."""

    def break_off(*_):
        raise broken

    monkeypatch.setattr("excidiff.inverse.job.fit_files", break_off)
    assert message in complaint(capsys, *fit(demo, "-o", tmp_path / "out"), code=cli.FIT_FAILED)
    assert not (tmp_path / "out").exists()


def test_a_fit_without_an_answer_is_code_four(demo, tmp_path, monkeypatch):
    """A failed fit is still written, so that one can see why."""
    settings = {"run": {"inputs": [], "command": "excidiff fit"}}
    failed = FitResult("failed", "uniform film", ("Nothing could be fitted.",), settings=settings)
    monkeypatch.setattr("excidiff.inverse.job.fit_files", lambda *_: failed)
    assert cli.main(fit(demo, "-o", tmp_path / "out")) == cli.FIT_FAILED
    assert "Nothing could be fitted" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_help_lists_what_can_be_fixed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    assert "diffusion_length, diffusivity, lifetime, centre_x," in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments", [[], ["fit"], ["ft"], ["fit", "a.tif", "--noise", "pink"], ["demo", "--seed", "x"]]
)
def test_wrong_usage_is_code_two(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.USAGE


def test_info_tells_where_numbers_come_from(demo, tmp_path, capsys):
    assert cli.main(["info", str(demo / "spot_000.tif")]) == cli.OK
    text = capsys.readouterr().out
    assert "55 nm" in text
    assert "ImageJ" in text
    assert "torn" in complaint(capsys, "info", _torn(demo, tmp_path))


def _torn(demo: Path, folder: Path) -> Path:
    path = folder / "torn.tif"
    path.write_bytes((demo / "spot_000.tif").read_bytes()[:700])
    return path


def test_the_demo_is_seeded_and_kept(tmp_path, capsys):
    first, second, third = (write_demo(tmp_path / name, seed=seed, film=SMALL) for name, seed in
                            (("a", 1), ("b", 1), ("c", 2)))  # fmt: skip
    for name in ("spot_001.tif", "decay.csv", "laser.tif"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (first / name).read_bytes() != (third / name).read_bytes()
    assert "--overwrite" in complaint(capsys, "demo", "-o", first)


def test_the_doctor_is_content(capsys):
    assert cli.main(["doctor"]) == cli.OK
    text = capsys.readouterr().out
    assert "all well" in text
    assert "pip install" not in text  # no extra is of use yet


def test_the_doctor_finds_a_broken_solver(capsys, monkeypatch):
    monkeypatch.setattr("excidiff.inverse.doctor._exact_image", lambda count: np.ones((count, count)))
    assert cli.main(["doctor"]) == cli.BAD_INPUT
    assert "FAIL" in capsys.readouterr().out


def test_a_report_stopped_halfway_does_not_claim_to_be_untouched(out, capsys, monkeypatch):
    """`report` draws in place, so that the usual "nothing was written" would be untrue."""

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("excidiff.inverse.job.draw_result", stop)
    assert cli.main(["report", str(out)]) == cli.INTERRUPTED
    message = " ".join(capsys.readouterr().err.split())
    assert "nothing was written" not in message
    assert "may be drawn in part; the result itself is untouched" in message


def test_the_camera_took_the_psf_too(demo):
    """What is said of the camera holds for --psf as it does for --laser."""
    laser = str(demo / "laser.tif")
    images = (str(demo / "spot_000.tif"),)
    experiment = build(FitSettings(images=images, laser=laser, psf=laser, gain="2", excess_noise="2", saturation="1e4"))
    assert experiment.laser is not None
    assert experiment.psf is not None
    assert experiment.psf.camera == experiment.laser.camera
    assert experiment.psf.camera.gain == 2
    np.testing.assert_array_equal(experiment.psf.counts, experiment.laser.counts)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of this kind are POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, cli.INTERRUPTED), (signal.SIGTERM, cli.TERMINATED)])
def test_signals_leave_nothing_behind(demo, tmp_path, number, code):
    """FAULTS 24: stopped in mid-fit, the command says so, exits with its code, and leaves no folder."""
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit it ignored\n"
        "from excidiff.inverse import cli, job\n"
        f"job.fit_files = lambda *_: os.kill(os.getpid(), {int(number)}) or __import__('time').sleep(30)\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", script, *fit(demo, "-o", tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == code, run.stderr
    assert "nothing was written" in run.stderr
    assert "Traceback" not in run.stderr
    assert time.monotonic() - started < 60
    assert list(tmp_path.iterdir()) == []


def test_the_package_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "excidiff.inverse", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path)
    assert run.stdout.startswith("excidiff ")


def test_every_public_name_is_there():
    for name in excidiff.inverse.__all__:
        assert getattr(excidiff.inverse, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = excidiff.inverse.nothing  # type: ignore[attr-defined]


@pytest.mark.gate
def test_decay_and_images_from_files(demo, tmp_path, capsys):
    """D, τ and L of the demonstration within 4 of their errors, no number given; the same again from run.toml."""
    images = [str(path) for path in sorted(demo.glob("spot_*.tif"))]
    data = ["--laser", demo / "laser.tif", "--decay", demo / "decay.csv", "--irf", demo / "irf.csv"]
    assert cli.main([str(word) for word in ("fit", *images, *data, "-o", tmp_path / "out")]) == cli.OK
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    for name in ("diffusion_length", "diffusivity", "lifetime"):
        entry = found["parameters"][name]
        assert abs(entry["value"] - getattr(SMALL, name)) < 4 * entry["stderr"]
    assert [entry["kind"] for entry in found["measurements"]] == ["image", "image", "decay"]
    assert (tmp_path / "out" / "figures" / "decay_01_decay.png").is_file()
    assert {entry["role"] for entry in found["settings"]["run"]["inputs"]} == {"image", "laser", "decay", "irf"}
    capsys.readouterr()
    assert cli.main(["rerun", str(tmp_path / "out"), "-o", str(tmp_path / "again")]) == cli.OK
    assert "to the last digit" in " ".join(capsys.readouterr().out.split())


def test_a_decay_alone_from_files(demo, tmp_path):
    assert cli.main([str(word) for word in ("fit", "--decay", demo / "decay.csv", "--irf-fwhm", "120 ps", "--model",
                     "mixture", "--components", 2, "-o", tmp_path / "out")]) in (cli.OK, cli.SOME_FAILED)  # fmt: skip
    names = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["parameters"]
    assert {"lifetime_1", "lifetime_2", "weight_1", "weight_2"} <= set(names)


def test_frames_from_a_stack(tmp_path):
    """D, τ within 4 of their errors, of frames in one file."""
    edges = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    frames = shoot_gates(3, edges, photons=100_000, lifetime=3.0, width=0.13, length=0.35)
    tifffile.imwrite(tmp_path / "frames.tif", np.array([frame.counts for frame in frames]).astype(np.uint16))
    told = {"--frames": tmp_path / "frames.tif", "--frame-time": "1 ns", "--pixel-size": "60 nm",
            "--laser-fwhm": f"{1e3 * 0.13 * FWHM} nm", "-o": tmp_path / "out"}  # fmt: skip
    assert cli.main(["fit", *(str(word) for pair in told.items() for word in pair)]) == cli.OK
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["parameters"]
    for name, truth in (("diffusivity", 0.35**2 / 3), ("lifetime", 3.0)):
        assert abs(found[name]["value"] - truth) < 4 * found[name]["stderr"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--frames", "f.tif"], "--frame-time"),
        (["--frames", "f.tif", "--frame-time", "1 ns", "a.tif"], "fits of their own"),
        (["a.tif", "--laser", "l.tif", "--irf", "i.csv"], "--irf given, but no decay"),
        (["--decay", "d.csv", "--irf", "i.csv", "--irf-fwhm", "50 ps"], "not both"),
        (["--decay", "d.csv", "--irf-fwhm", "50"], "has no unit"),
        (["--decay", "d.csv", "--components", "two"], "whole number"),
        (["--decay", "d.csv", "--decay", "d.csv"], "given twice"),
    ],
)
def test_decays_and_frames_that_contradict(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "l.tif", "f.tif", "d.csv", "i.csv"):
        (tmp_path / name).write_bytes(b"time_ns,counts\n" + b"".join(b"%d,5\n" % k for k in range(20)))
    assert says in complaint(capsys, "fit", *words)


def test_info_of_a_decay(demo, capsys):
    assert cli.main(["info", str(demo / "decay.csv")]) == cli.OK
    told = capsys.readouterr().out
    assert "750 of 32 ps" in told
    assert "ns, from the column 'time_ns'" in told
