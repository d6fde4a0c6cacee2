"""Movies in a fluence series: gates of a pulse's light, their derivatives, and the film that movies alone tell."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

from benchmarks.photons import FWHM
from excidiff.inverse import Decay, Experiment, Image, InputError
from excidiff.inverse.files.data import Camera
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.files.frames import Frames
from excidiff.inverse.fit.gated import decay_time
from excidiff.inverse.fit.layout import Instruments, Layout, Picture, Pixels, names_of
from excidiff.inverse.fit.shots import series_model
from excidiff.inverse.fit.trials import expected_of
from excidiff.inverse.job import build, command
from excidiff.inverse.options import check_options
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.settings import LISTS, FitSettings

OPTIMISED = True

SIDES = np.linspace(-1.2, 1.2, 25)
PEAKS = (100.0, 2000.0, 12000.0)
ENDS = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 12.0, 20.0])
GATES = tuple(zip(ENDS[:-1].tolist(), ENDS[1:].tolist(), strict=True))
FILM = {"diffusivity": 0.02, "lifetime": 4.0, "annihilation": 4e-4}
OPTICS = {"laser_fwhm": 0.12 * FWHM, "psf_fwhm": 0.08 * FWHM}


def layout(pictures, **changes) -> Layout:
    given = {"model": "annihilation", "pictures": tuple(pictures), "decays": (None,) * 3, "firsts": (0.0,) * 3,
             "responses": (0.0,) * 3, "scale": "kind", "even": False, "quadratic": False, "nodes": 48, "modes": 96,
             "steps": 96}  # fmt: skip
    return Layout(**{**given, **changes})


def instruments(*frames: int) -> Instruments:
    sides = jnp.asarray(SIDES)
    return Instruments(tuple(Pixels(sides, sides, jnp.ones((n, 24, 24))) for n in frames), jnp.asarray(4.0))


def numbers(one: Layout) -> np.ndarray:
    """Parameters in the fit's own numbers; all scales are one, backgrounds 0.2."""
    known = {name: np.log(value) for name, value in FILM.items()}
    known |= {"width": np.log(0.12), "psf_width": np.log(0.08)}
    known |= {f"peak_density_{k + 1}": np.log(peak) for k, peak in enumerate(PEAKS)}
    ground = {name: 0.2 for name in names_of(one) if name.endswith("background")}
    centres = {name: 0.03 for name in names_of(one) if "centre_x" in name}
    return np.array([{**known, **ground, **centres}.get(name, 0.0) for name in names_of(one)])


def shown(one: Layout, given: Instruments, start=None) -> np.ndarray:
    return np.asarray(expected_of(one, numbers(one) if start is None else start, given))


def test_gates_add_up_to_the_image():
    """Frames of all gates are the image of the whole exposure, to 1e-9 of its peak; a lone gate is its frame's."""
    image, movie = Picture("image", 1, ((0.0, 20.0),)), Picture("frames", 1, GATES)
    late = Picture("frames", 2, (GATES[3],))
    one = layout([image, movie, late])
    found = shown(one, instruments(1, 6, 1)) - 0.2
    whole, frames, gate = found[:576], found[576 : 7 * 576].reshape(6, 576), found[7 * 576 :]
    assert np.abs(frames.sum(0) - whole).max() < 1e-9 * whole.max()
    every = shown(layout([Picture("frames", 2, GATES)]), instruments(6)).reshape(6, 576) - 0.2
    assert np.abs(gate - every[3]).max() < 1e-5 * every[3].max()  # the steps in time end elsewhere


@pytest.mark.gate
def test_gates_may_overlap_and_leave_gaps():
    wide = ((0.0, 4.0), (2.0, 7.0), (12.0, 20.0))
    found = shown(layout([Picture("frames", 0, wide)]), instruments(3)).reshape(3, 576) - 0.2
    every = shown(layout([Picture("frames", 0, GATES)]), instruments(6)).reshape(6, 576) - 0.2
    expected = np.stack([every[:3].sum(0), every[2:4].sum(0), every[5]])
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


@pytest.mark.parametrize("changes", [{}, {"scale": "free", "period": 25.0}, {"quadratic": True, "scale": "shared"}])
def test_derivatives_of_movies(changes, check_slopes):
    """Central differences to 1e-6 of each slope."""
    one = layout([Picture("image", 0, ((0.0, 20.0),)), Picture("frames", 0, GATES[:3]), Picture("frames", 2, GATES)],
                 nodes=16, modes=24, steps=16, **changes)  # fmt: skip
    given, start = instruments(1, 3, 6), numbers(one)
    run = jax.jit(series_model(one))
    check_slopes(lambda p: run(p, given), start, names_of(one))


@pytest.fixture(scope="module")
def series() -> FluenceSeries:
    """Photons of movies of a film with annihilation under three pulses, nothing beside them."""
    one = layout([Picture("frames", k, GATES) for k in range(3)])
    start = numbers(one)
    start[names_of(one).index("frames_scale")] = np.log(30.0)
    counts = np.random.default_rng(5).poisson(shown(one, instruments(6, 6, 6), start)).reshape(3, 6, 24, 24)
    camera = Camera(gain_known=True, saturation=np.inf)
    movies = [
        Frames([Image(a.astype(float), pixel_size=0.1, camera=camera, file=f"movie_{k}", frame=i)
                for i, a in enumerate(frames)], np.array(GATES))
        for k, frames in enumerate(counts)
    ]  # fmt: skip
    return FluenceSeries(frames=movies, frames_densities=PEAKS)


@pytest.mark.gate
def test_movies_alone_tell_the_film(series):
    """Without decays, exposure, lifetime or start values: three numbers within 3.5 errors, and the right film."""
    found = Experiment(series=series, **OPTICS).fit()
    assert found.status == "converged"
    assert "annihilation" in found.model
    for name, value in FILM.items():
        entry = found.parameters[name]
        assert abs(entry.value - value) < 3.5 * entry.stderr < 0.2 * value, name
    assert found.parameters["frames_background"].unit == "photons/pixel"
    first = found.images[0]
    assert len(found.images) == 3
    assert first.file == "movie_0 (6 gates)"
    assert first.counts.shape == (24, 24)
    assert first.goodness["pixels"] == 6 * 576
    assert abs(first.parameters["centre_x"].value - 0.03) < 4 * first.parameters["centre_x"].stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames_densities": PEAKS[:2]}, "3 movies with 2 peak densities"),
        ({"uniform": True}, "no spot"),
    ],
)
def test_impossible_movies_are_refused(series, change, said):
    with pytest.raises(InputError, match=said):
        replace(series, **change)


def test_movies_from_files(series, tmp_path, monkeypatch):
    """The experiment's file and the options name the same: gates by the frame's time, a density for each movie."""
    monkeypatch.chdir(tmp_path)
    lines = ["[excitation]", 'laser_fwhm = "300 nm"', "[optics]", 'pixel_size = "100 nm"', "[camera]", "gain = 1"]
    for k, movie in enumerate(series.frames):
        tifffile.imwrite(f"movie_{k}.tif", np.stack([image.counts for image in movie.images]).astype(np.uint16))
        lines += ["[[frames]]", f'file = "movie_{k}.tif"', 'frame_time = "2 ns"', f'peak_density = "{PEAKS[k]} /um^2"']
    (tmp_path / "film.toml").write_text("\n".join(lines) + "\n")
    asked = build(read_protocol([str(tmp_path / "film.toml")], {}, dict.fromkeys(LISTS, ()))).series
    densities, files = tuple(f"{peak} /um^2" for peak in PEAKS), tuple(f"movie_{k}.tif" for k in range(3))
    settings = FitSettings(frames=files, frame_time="2 ns", pixel_size="100 nm", frames_density=densities, gain="1",
                           laser_fwhm="300 nm")  # fmt: skip
    check_options(settings)
    for read in (asked, build(settings).series):
        assert [density for density, _ in read.frames_densities] == list(PEAKS)
        for movie, old in zip(read.frames, series.frames, strict=True):
            np.testing.assert_allclose(movie.gates, 2.0 * np.stack([np.arange(6), np.arange(1, 7)], axis=1))
            np.testing.assert_array_equal(movie.images[2].counts, old.images[2].counts)
    assert dict(settings.paths()) == {"frames": "movie_2.tif"}
    assert '--frames-density "' not in command(settings)
    assert command(settings).count("--frames-density") == command(settings).count("--frames ") == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"frames_density": ("1 /um^2",)}, "2 movies with 1 peak densities; give --frames-density for each"),
        ({}, "--frames is given 2 times: several are of pulses of several powers"),
        ({"frames_density": ("1 /um^2", "2 /um^2"), "frame_time": None}, "--frame-time"),
        ({"frames": ("a.tif", "a.tif"), "frames_density": ("1 /um^2", "2 /um^2")}, "this movie is given twice"),
        ({"frames_density": ("1 /um^2", "2 /um^2"), "temperature": "300 K"}, "--temperature given"),
    ],
)
def test_options_of_movies_that_do_not_fit(given, said):
    two = {"frames": ("a.tif", "b.tif"), "frame_time": "2 ns", "laser_fwhm": "300 nm", **given}
    with pytest.raises(InputError, match=said):
        check_options(FitSettings(**two))


@pytest.mark.parametrize(
    ("of_frames", "of_maps", "said"),
    [
        ('slit = "0.2 um"', 'slit = "0.1 um"', "of another kind of data"),
        ('uncertainty = "3"', "", "the uncertainty of .*frames.* beside"),
    ],
)
def test_what_two_kinds_of_data_say_unlike_is_refused(tmp_path, of_frames, of_maps, said):
    """One fit has one slit and one uncertainty: what one kind says is not given to the other in silence."""
    (tmp_path / "film.toml").write_text(
        f'[excitation]\nlaser_fwhm = "300 nm"\n[[frames]]\nfile = "a.nc"\npeak_density = "5 /um^2"\n{of_frames}\n'
        f'[[spectral_map]]\nfile = "b.csv"\npeak_density = "5 /um^2"\n{of_maps}\n'
    )
    with pytest.raises(InputError, match=said):
        read_protocol([str(tmp_path / "film.toml")], {}, dict.fromkeys(LISTS, ()))


def test_an_uncertainty_that_is_not_read_is_refused():
    given = {"frames": ("a.tif",), "frame_time": "1 ns", "uncertainty": "3", "laser_fwhm": "300 nm"}
    for more in ({}, {"frames_density": ("1 /um^2",)}):
        with pytest.raises(InputError, match="--uncertainty is for frames whose file gives their times"):
            check_options(FitSettings(**given, **more))


def test_frames_of_unlike_cameras_are_refused(series):
    """One gain for all, errors with all or none; and what is no movie is said to be none."""
    images, gates = series.frames[0]
    other = replace(images[3], camera=Camera(gain=5.0, gain_known=True, saturation=np.inf))
    noisy = replace(images[3], uncertainty=np.ones((24, 24)))
    for movie, said in (
        (([*images[:3], other, *images[4:]], gates), "its camera is not that of"),
        (([*images[:3], noisy, *images[4:]], gates), "some frames carry an uncertainty"),
        (images, "each movie is Frames"),
        (([], gates), "each movie is Frames"),
        ((images[:1], gates[:1]), "movie_0: gates need two frames"),
    ):
        with pytest.raises(InputError, match=said):
            FluenceSeries(frames=[movie], frames_densities=[10.0])


def test_the_period_may_be_said_without_a_decay(series, tmp_path):
    """Gates within it, decays of it; --period beside frames of several powers."""
    assert replace(series, period=25.0).period == 25.0
    with pytest.raises(InputError, match="the next pulse comes after 15 ns"):
        replace(series, period=15.0)
    decay = Decay(np.arange(0.25, 20.0, 0.5), np.full(40, 5.0), period=30.0)
    with pytest.raises(InputError, match="a period of 30 ns and a period of 25 ns"):
        replace(series, period=25.0, decays=[decay], decay_densities=[PEAKS[0]])
    assert replace(series, decays=[decay], decay_densities=[PEAKS[0]]).period == 30.0
    settings = FitSettings(frames=("a.tif",), frames_density=("1 /um^2",), frame_time="2 ns", period="25 ns",
                           laser_fwhm="300 nm")  # fmt: skip
    check_options(settings)


def test_a_stack_of_one_density_says_so(series, tmp_path, monkeypatch):
    """Five frames, the last without light, with one density: no IndexError, and nothing is dropped in silence."""
    monkeypatch.chdir(tmp_path)
    stack = np.stack([image.counts for image in series.frames[0].images[:5]]).astype(np.uint16)
    stack[4] = 0
    tifffile.imwrite("stack.tif", stack)
    settings = FitSettings(images=("stack.tif",), image_density=("10 /um^2",), pixel_size="100 nm", laser_fwhm="300 nm")
    with pytest.raises(InputError, match="4 images with 1 peak densities"):
        build(settings)


@pytest.mark.parametrize(
    ("lifetime", "count", "gate"), [(0.5, 100, 1.0), (1.0, 20, 1.0), (4.0, 100, 1.0), (20.0, 20, 1.0)]
)
def test_the_pace_of_movies_with_dark_frames(lifetime, count, gate):
    """Within a factor of two of the lifetime over ten movies, most frames of which are dark."""
    random, ends = np.random.default_rng(8), gate * np.arange(count + 1.0)
    bell = np.exp(-((np.arange(32) - 15.5) ** 2) / 32)
    shape, light = np.outer(bell, bell) / bell.sum() ** 2, -3e4 * np.diff(np.exp(-ends / lifetime))
    camera, gates = Camera(gain_known=True, saturation=np.inf), np.stack([ends[:-1], ends[1:]], axis=1)
    for _ in range(10):
        counts = random.poisson(light[:, None, None] * shape + 0.3)
        images = [Image(one.astype(float), pixel_size=0.1, camera=camera) for one in counts]
        assert 0.5 < decay_time(images, gates) / lifetime < 2.0


def test_gates_must_fit(series):
    images = series.frames[0].images
    for gates, said in ((None, "without gates"), (ENDS[:-1], "movie_0: .*common edges"), (GATES[::-1][:2], "6 frames")):
        with pytest.raises(InputError, match=said):
            FluenceSeries(frames=[(images, gates)], frames_densities=[10.0])
