"""One fit from files to files: settings in, a folder with the result out. `excidiff fit` and `rerun` are this."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.batch import Progress
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.absorption import read_absorption
from excidiff.inverse.files.data import Image
from excidiff.inverse.files.decays import Decay, Response, read_decay, read_response
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.files.frames import Frames, read_frames
from excidiff.inverse.files.readers import ImageOptions, Map, Unreadable, read_batch, read_image, read_map
from excidiff.inverse.files.region import region_slices
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.files.spectra import SpectralMap, read_spectral_map
from excidiff.inverse.files.streak import has_spectra_in_time, read_streak
from excidiff.inverse.files.units import parse_quantity
from excidiff.inverse.machine import environment
from excidiff.inverse.options import IN_TIME, QUANTITIES, check_options
from excidiff.inverse.rastertable import read_about
from excidiff.inverse.results.report import write_figures
from excidiff.inverse.results.result import FitResult
from excidiff.inverse.results.storage import inside, write_text
from excidiff.inverse.results.wording import counted
from excidiff.inverse.rivals import Comparison, compare
from excidiff.inverse.settings import DATA, FitSettings, Run, data_file, file_hash, relative_to, write_run
from excidiff.inverse.spectrascans import read_any_scan
from excidiff.inverse.typed import (
    bounds_of,
    density,
    fixed_value,
    number,
    prior_of,
    quantity,
    region,
    whole,
)
from excidiff.solver.solution import InputError

CAMERA = ("gain", "offset", "read_noise", "excess_noise")


def fit_files(settings: FitSettings, progress: Progress | None = None) -> FitResult:
    """Read, fit, and return the result with a record of its inputs in `settings["run"]`.

    An image that cannot be used becomes a failed measurement beside the others. Raises `InputError` when none can
    be used, and for every other option that cannot.
    """
    check_options(settings)
    inputs = [
        {"role": role, "path": path, "sha256": file_hash(path)}
        for role, path in dict.fromkeys(settings.paths())  # a scan's file may be read for photons and for lifetimes
        if role != "image" or data_file(path).is_file()
    ]
    result = build(settings).fit(progress=progress)
    seed = result.settings.get("seed", 0)
    record = {**environment(seed), "inputs": inputs, "command": command(settings)}
    return replace(result, settings={**result.settings, "run": record})


def compare_files(settings: FitSettings, folder: Path, progress: Progress | None = None) -> Comparison:
    """Read, fit every model, and write compare.json and compare.html into `folder`."""
    check_options(settings)
    found = compare(build(settings), progress)
    write_text(inside(folder, "compare.json"), found.to_json())
    found.report(inside(folder, "compare.html"))
    return found


def command(settings: FitSettings) -> str:
    """The command line that these settings came from."""
    words = ["excidiff", "fit"]
    for name, value in settings.given().items():
        option = "--" + name.replace("_", "-")
        for entry in value if isinstance(value, list) else [value]:
            words += [entry] if name == "images" else [option, entry]
    return shlex.join(words)


def write_result(
    result: FitResult, folder: Path, settings: FitSettings, target: Path, progress: Progress | None = None
) -> None:
    """Fill `folder` with the whole result; `target` is where it will lie, from which run.toml counts its paths."""
    write_text(inside(folder, "result.json"), result.to_json())
    result.save(inside(folder, "result.nc"))
    record = dict(result.settings["run"])
    inputs = [{**entry, "path": relative_to(target, entry["path"])} for entry in record.pop("inputs")]
    record.pop("command")
    moved = settings.moved(lambda path: relative_to(target, path))
    write_run(inside(folder, "run.toml"), Run(moved, tuple(inputs), record))
    draw_result(result, folder, progress)


def draw_result(result: FitResult, folder: Path, progress: Progress | None = None) -> None:
    """Draw report.html and figures/ of a result into `folder`, from its saved values alone."""
    result.report(inside(folder, "report.html"))
    drawings = inside(folder, "figures")
    drawings.mkdir(exist_ok=True)
    write_figures(result, drawings, progress)


def build(settings: FitSettings) -> Experiment:
    """Read every file and put the experiment together. Raises `InputError` if no image at all can be used."""
    if settings.powers:
        return Experiment(**_said({**_powers(settings), **_draws(settings)}))
    given: dict[str, Any] = {"decay": _decays(settings), "model": settings.model, **_draws(settings)}
    given |= _searched(settings)
    if settings.components is not None:
        given["components"] = whole("--components", settings.components)
    if settings.spectral_map:
        given |= _spectra(settings)
    if not settings.images and not settings.frames:
        return Experiment(**_said(given))
    found: list[Image | Unreadable]
    if settings.frames:
        images, given["gates"] = _movie(settings.frames[0], settings)
        found = list(images)
    else:
        found = read_batch(settings.images, **image_options(settings))
    lost = [entry for entry in found if isinstance(entry, Unreadable)]
    images = [entry for entry in found if isinstance(entry, Image)]
    if not images:
        more = f" (and {counted(len(lost) - 1, 'other image')} likewise)" if len(lost) > 1 else ""
        raise InputError(lost[0].reason + more)
    if not settings.spectral_map:
        given |= _optics(settings)
    if settings.landscape is not None:
        given["landscape"] = _landscape(settings)
    if settings.background is not None:
        given["background"] = "fit" if settings.background == "fit" else number("--background", settings.background)
    fixed = dict(fixed_value(text) for text in settings.fix)
    if given["lifetime"] is None:  # fixing it and giving it are the same wish
        given["lifetime"] = fixed.pop("lifetime", None)
    unreadable = [(place, _name(e), e.reason) for place, e in enumerate(found) if isinstance(e, Unreadable)]
    given |= {"noise": settings.noise, "tied": settings.tie, "fixed": fixed}
    given["bounds"] = dict(bounds_of(text) for text in settings.bound)
    return Experiment(images=images, unreadable=unreadable, **_said(given))


def _draws(settings: FitSettings) -> dict[str, Any]:
    """How intervals are found, and the random numbers of those that are drawn."""
    numbers = {name: getattr(settings, name) for name in ("draws", "seed")}
    return {
        "interval": settings.interval,
        **{name: whole(f"--{name}", text) for name, text in numbers.items() if text is not None},
    }


def _powers(settings: FitSettings) -> dict[str, Any]:
    """What was measured at several powers, and what is known of optics and film."""
    found = read_batch(settings.images, **image_options(settings)) if settings.images else []
    densities = {
        role: [density(f"--{role.replace('_', '-')}-density", text) for text in getattr(settings, f"{role}_density")]
        for role in DATA.values()
    }
    lost = [(place, entry) for place, entry in enumerate(found) if isinstance(entry, Unreadable)]
    if len(lost) == len(found) > 0:
        raise InputError(lost[0][1].reason)
    images = [entry for entry in found if isinstance(entry, Image)]
    if len(densities["image"]) == len(found):
        for place, _ in reversed(lost):
            del densities["image"][place]
    exposure = None if settings.exposure is None else parse_quantity(settings.exposure, "time", name="--exposure")
    in_space = bool(images or settings.frames or settings.spectral_map or settings.raster)
    series = FluenceSeries(
        images=images,
        image_densities=densities["image"],
        frames=[_movie(path, settings) for path in settings.frames],
        frames_densities=densities["frames"],
        decays=_decays(settings) or [],
        decay_densities=densities["decay"],
        spectral_maps=[_map(path, settings) for path in settings.spectral_map],
        map_densities=densities["spectral_map"],
        scans=_scans(settings),
        scan_densities=densities["raster"],
        exposure=exposure,
        period=_time(settings, "period"),
        scale=settings.scale or "kind",
        uniform=settings.laser is None and settings.laser_fwhm is None and not in_space,
    )
    given = {name: value for name, value in _optics(settings).items() if name != "temperature"}
    fixed, bounds = dict(map(fixed_value, settings.fix)), dict(map(bounds_of, settings.bound))
    said = {"model": settings.model, "fixed": fixed, "bounds": bounds, "line": settings.line, **_searched(settings)}
    unreadable = [(place, _name(entry), entry.reason) for place, entry in lost]
    return {**given, "series": series, "unreadable": unreadable, **said}


def _searched(settings: FitSettings) -> dict[str, Any]:
    """From where to search, and what is known beforehand."""
    starts = dict(fixed_value(text, "--start") for text in settings.start)
    return {"starts": starts, "priors": dict(map(prior_of, settings.prior))}


def _movie(path: str, settings: FitSettings) -> Frames:
    """Frames and their gates, by the time from one to the next, or by the file's axis of time."""
    step = _time(settings, "frame_time")
    if step is not None:
        found = read_batch((path,), **image_options(settings))
        for entry in found:
            if isinstance(entry, Unreadable):
                raise InputError(entry.reason)
        images = [entry for entry in found if isinstance(entry, Image)]
        ends = step * np.arange(len(images) + 1)
        return Frames(images, np.stack([ends[:-1], ends[1:]], axis=1))
    uncertainty = None if settings.spectral_map else settings.uncertainty  # which is theirs
    options = {**image_options(settings), **_said({"uncertainty": uncertainty})}
    try:
        return read_frames(path, slit=settings.slit, pulse=settings.pulse_time, **options)
    except InputError as error:
        if "no axis is 'time'" in str(error) or "have no axes" in str(error):
            raise InputError(f'{path}: it has no axis of time; give --frame-time "0.5 ns"') from error
        raise


def _optics(settings: FitSettings) -> dict[str, Any]:
    """Quantities with units, and the images of laser and PSF."""
    given: dict[str, Any] = {name: quantity(settings, name) for name in QUANTITIES}
    for name in ("laser", "psf"):
        path = getattr(settings, name)
        if path is not None:
            given[name] = read_image(path, **_optics_options(settings))
    return given


def _spectra(settings: FitSettings) -> dict[str, Any]:
    """A spectral map with what is known of the spectrometer, the laser and the film."""
    given = _optics(settings)
    fixed = dict(fixed_value(text) for text in settings.fix)
    if given["lifetime"] is None:
        given["lifetime"] = fixed.pop("lifetime", None)
    return {
        **given,
        "spectral_map": _map(settings.spectral_map[0], settings),
        "line": settings.line,
        "absorption": None if settings.absorption is None else read_absorption(settings.absorption),
        "fixed": fixed,
        "bounds": dict(bounds_of(text) for text in settings.bound),
    }


def _map(path: str, settings: FitSettings) -> SpectralMap:
    names = ("step", "slit", "wavelengths", "places", "uncertainty")
    return read_spectral_map(path, **_said({name: getattr(settings, name) for name in names}))


def _scans(settings: FitSettings) -> list[RasterScan]:
    abouts = settings.raster_about or ["{}"] * len(settings.raster)
    return [read_any_scan(path, **read_about(about)) for path, about in zip(settings.raster, abouts, strict=True)]


def _decays(settings: FitSettings) -> list[Decay] | None:
    """Every decay with the response and the period that all share."""
    if not settings.decay:
        return None
    width, period = (_time(settings, name) for name in ("irf_fwhm", "period"))
    irf = None if settings.irf is None else read_response(settings.irf, time_unit=settings.time_unit)
    rows = {name: getattr(settings, name) for name in ("skip", "curve")}
    which = {name: whole(f"--{name}", text) for name, text in rows.items() if text is not None}
    which |= _said({"column": settings.decay_column, "time_unit": settings.time_unit})
    which |= _said({"aperture_fwhm": settings.aperture_fwhm})
    found = []
    for path in settings.decay:
        if has_spectra_in_time(path):
            bands = _bands(path, settings, width if irf is None else irf, period)
            found += [replace(one, aperture_fwhm=settings.aperture_fwhm) for one in bands]  # type: ignore[arg-type]
            continue
        elsewhere = settings.spectral_map or settings.frames
        if settings.bands is not None or (settings.uncertainty is not None and not elsewhere):
            raise InputError(f"{path}: --bands and --uncertainty are of streak images; this has no axis of time in it")
        found.append(read_decay(path, irf=irf, irf_fwhm=width, period=period, **which))
    return found


def _bands(path: str, settings: FitSettings, irf: Response | float | None, period: float | None) -> list[Decay]:
    """The decays of a streak image's bands of wavelengths, or of all together."""
    bands = None if settings.bands is None else [part.strip() for part in settings.bands.split(",")]
    return read_streak(path, uncertainty=settings.uncertainty).decays(bands, irf=irf, period=period)


def _time(settings: FitSettings, name: str) -> float | None:
    """One of the options of `IN_TIME`, ns."""
    text = getattr(settings, name)
    return None if text is None else parse_quantity(text, IN_TIME[name], name="--" + name.replace("_", "-"))


def image_options(settings: FitSettings) -> ImageOptions:
    """What is said of the film's images beside their files."""
    maps = {name: getattr(settings, name) for name in ("dark", "flat", "mask")}
    part = None if settings.region is None else region(settings.region)
    return _said({**_camera(settings), **maps, "region": part})


def _landscape(settings: FitSettings) -> Map:
    """The map; of one that has the whole image's pixels, the region that is used."""
    found = read_map(settings.landscape or "")
    if settings.region is None:
        return found
    if found.spacing is not None:
        raise InputError(
            f"--region with --landscape {found.file}, which has a spacing of its own: the region moves the centre on "
            "which the map lies; cut the map to the region, or leave the region out"
        )
    return replace(found, values=found.values[region_slices(region(settings.region), found.values.shape, found.file)])


def _camera(settings: FitSettings) -> dict[str, Any]:
    """What holds for every image of this camera, those of laser and PSF included."""
    given = {name: getattr(settings, name) for name in CAMERA}
    numbers = {name: number("--" + name.replace("_", "-"), text) for name, text in given.items() if text is not None}
    saturation = None if settings.saturation is None else number("--saturation", settings.saturation)
    return {**numbers, "saturation": saturation, "pixel_size": settings.pixel_size}


def _optics_options(settings: FitSettings) -> ImageOptions:
    """The same camera took the images of laser and PSF; region and mask belong to the film's images alone."""
    return _said({**_camera(settings), "dark": settings.dark, "flat": settings.flat})


def _said(options: dict[str, Any]) -> Any:
    return {name: value for name, value in options.items() if value is not None}


def _name(entry: Unreadable) -> str:
    return entry.file if entry.frame is None else f"{entry.file} frame {entry.frame}"


def differences(result: FitResult, folder: Path) -> str:
    """One sentence on how the values compare with those of an earlier result in `folder`."""
    if not (folder / "result.nc").is_file():
        return "There is no earlier result beside run.toml to compare with."
    before = FitResult.load(folder / "result.nc").parameters
    worst, where = 0.0, ""
    for name, entry in result.parameters.items():
        old = before[name].value if name in before else None
        if (old is None) != (entry.value is None):
            return f"{name} differs from the earlier result: one has a value, the other has none."
        if old is not None and entry.value is not None and old != entry.value:
            change = abs(entry.value - old) / max(abs(old), abs(entry.value))
            worst, where = max((worst, where), (change, name))
    if not where:
        return "The values are those of the earlier result, to the last digit."
    return f"The values differ from the earlier result by at most {worst:.1e} of their size ({where})."
