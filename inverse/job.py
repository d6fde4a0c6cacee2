"""One fit from files to files: settings in, a folder with the result out. `excidiff fit` and `rerun` are this."""

import re
import shlex
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from excidiff.inverse.batch import Progress
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.data import Image
from excidiff.inverse.files.readers import ImageOptions, Map, Unreadable, read_batch, read_image, read_map
from excidiff.inverse.files.region import region_slices
from excidiff.inverse.files.units import parse_quantity
from excidiff.inverse.machine import environment
from excidiff.inverse.results.report import write_figures
from excidiff.inverse.results.result import FitResult
from excidiff.inverse.results.storage import inside, write_text
from excidiff.inverse.results.wording import counted
from excidiff.inverse.settings import FitSettings, Run, data_file, file_hash, relative_to, write_run
from excidiff.solver.solution import InputError

QUANTITIES = {
    "laser_fwhm": "fwhm",
    "psf_fwhm": "fwhm",
    "laser_wavelength": "wavelength",
    "emission_wavelength": "wavelength",
    "lifetime": "lifetime",
    "temperature": "temperature",
}
WITH_ERROR = ("laser_fwhm", "psf_fwhm", "lifetime")  # whose errors are carried on
CAMERA = ("gain", "offset", "read_noise", "excess_noise")
FIXABLE = {
    "diffusion_length": "diffusion_length",
    "lifetime": "lifetime",
    "centre_x": "length",
    "centre_y": "length",
    "amplitude": "dimensionless",
    "background": "dimensionless",
}


def fit_files(settings: FitSettings, progress: Progress | None = None) -> FitResult:
    """Read, fit, and return the result with a record of its inputs in `settings["run"]`.

    An image that cannot be used becomes a failed measurement beside the others. Raises `InputError` when none can
    be used, and for every other option that cannot.
    """
    _check_optics(settings)
    inputs = [
        {"role": role, "path": path, "sha256": file_hash(path)}
        for role, path in settings.paths()
        if role != "image" or data_file(path).is_file()
    ]
    result = build(settings).fit(progress=progress)
    record = {**environment(), "inputs": inputs, "command": command(settings)}
    return replace(result, settings={**result.settings, "run": record})


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
    found = read_batch(settings.images, **_image_options(settings))
    lost = [entry for entry in found if isinstance(entry, Unreadable)]
    images = [entry for entry in found if isinstance(entry, Image)]
    if not images:
        more = f" (and {counted(len(lost) - 1, 'other image')} likewise)" if len(lost) > 1 else ""
        raise InputError(lost[0].reason + more)
    given: dict[str, Any] = {name: _quantity(settings, name) for name in QUANTITIES}
    if settings.laser is not None:
        given["laser"] = read_image(settings.laser, **_optics_options(settings))
    if settings.psf is not None:
        given["psf"] = read_image(settings.psf, **_optics_options(settings))
    if settings.landscape is not None:
        given["landscape"] = _landscape(settings)
    if settings.background is not None:
        given["background"] = "fit" if settings.background == "fit" else _number("--background", settings.background)
    fixed = dict(_fixed(text) for text in settings.fix)
    if given["lifetime"] is None:  # fixing it and giving it are the same wish
        given["lifetime"] = fixed.pop("lifetime", None)
    unreadable = [(_name(entry), entry.reason) for entry in lost]
    given |= {"noise": settings.noise, "interval": settings.interval}
    return Experiment(images=images, fixed=fixed, unreadable=unreadable, **_said(given))


def _check_optics(settings: FitSettings) -> None:
    """Refuse what contradicts itself in the words of the options, before any file is read."""
    if (settings.laser is None) == (settings.laser_fwhm is None):
        both = "not both of them" if settings.laser else "one of them is needed"
        raise InputError(
            "give the laser spot as an image through the same optics, --laser FILE, or by its width at the sample, "
            f'--laser-fwhm "300 nm"; {both}'
        )
    if settings.psf is not None and settings.psf_fwhm is not None:
        raise InputError("give the PSF as an image, --psf FILE, or by its width, --psf-fwhm; not both of them")
    if (settings.laser_wavelength is None) != (settings.emission_wavelength is None):
        raise InputError("give both --laser-wavelength and --emission-wavelength or neither: only their ratio is used")


def _image_options(settings: FitSettings) -> ImageOptions:
    maps = {name: getattr(settings, name) for name in ("dark", "flat", "mask")}
    region = None if settings.region is None else _region(settings.region)
    return _said({**_camera(settings), **maps, "region": region})


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
    return replace(found, values=found.values[region_slices(_region(settings.region), found.values.shape, found.file)])


def _camera(settings: FitSettings) -> dict[str, Any]:
    """What holds for every image of this camera, those of laser and PSF included."""
    given = {name: getattr(settings, name) for name in CAMERA}
    numbers = {name: _number("--" + name.replace("_", "-"), text) for name, text in given.items() if text is not None}
    saturation = None if settings.saturation is None else _number("--saturation", settings.saturation)
    return {**numbers, "saturation": saturation, "pixel_size": settings.pixel_size}


def _optics_options(settings: FitSettings) -> ImageOptions:
    """The same camera took the images of laser and PSF; region and mask belong to the film's images alone."""
    return _said({**_camera(settings), "dark": settings.dark, "flat": settings.flat})


def _said(options: dict[str, Any]) -> Any:
    return {name: value for name, value in options.items() if value is not None}


def _quantity(settings: FitSettings, name: str) -> float | tuple[float, float] | None:
    """An option in house units; "5.0 ± 0.1 ns" gives the value with its standard error."""
    text, option = getattr(settings, name), "--" + name.replace("_", "-")
    if text is None:
        return None
    value, sign, error = re.sub(r"\+/?-", "±", text).partition("±")
    if not sign:
        return parse_quantity(text, QUANTITIES[name], name=option)
    if name not in WITH_ERROR:
        raise InputError(
            f"{option}: {text!r} has an error, which is not carried on; give the value with its unit alone"
        )
    unit = re.sub(r"^[\s\d.eE+-]+", "", error)
    if not unit:
        raise InputError(f'{option}: no unit after ±; write it like "5.0 ± 0.1 ns"')
    _number(option, value.strip())  # of the value, only the unit behind the error may follow
    size = _number(option, error.removesuffix(unit).strip())
    house = parse_quantity(f"{value.strip()} {unit}", QUANTITIES[name], name=option)
    # An error may be far smaller than any value: its unit alone is read, and its sign is checked by `Experiment`.
    one = parse_quantity(f"1 {unit}", {"lifetime": "time"}.get(name, "length"), name=option)
    return house, one * size


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} {text!r} is not a number; it has no unit, write it like {option} 2.5") from None


def _region(text: str) -> tuple[int, ...]:
    try:
        edges = tuple(int(part) for part in text.split(","))
    except ValueError:
        edges = ()
    if len(edges) != 4:
        raise InputError(f"--region {text!r} is not x0,x1,y0,y1 in whole pixels, such as --region 10,90,10,90")
    return edges


def _fixed(text: str) -> tuple[str, float]:
    """ "lifetime=5 ns" -> ("lifetime", 5.0)."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise InputError(f'--fix {text!r} has no value; write it as --fix "background=1.5"')
    if name not in FIXABLE:
        near = get_close_matches(name, FIXABLE, n=1, cutoff=0.0)[0]
        raise InputError(f"--fix {name}: no such parameter; the nearest known one is {near!r}")
    if FIXABLE[name] == "dimensionless":
        return name, _number(f"--fix {name}", value)
    if not name.startswith("centre"):
        return name, parse_quantity(value, FIXABLE[name], name=f"--fix {name}")
    # A position may be zero or negative, which no length is.
    sign = -1.0 if value.startswith("-") else 1.0
    size = value.lstrip("+-")
    zero = size.split(" ")[0].strip("0.") == ""
    return name, 0.0 if zero else sign * parse_quantity(size, "length", name=f"--fix {name}")


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
