"""The settings of a fit as a person gave them, and `run.toml`, which holds them for the next time.

Quantities stay as they were typed ("5 ns"), so that the file reads like the command. Beside them the file has the
inputs with their hashes and the software that was used: enough to run the fit again and to see what has changed.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from excidiff.inverse.files.formats import file_hash as hash_of
from excidiff.inverse.files.noise import names_file
from excidiff.inverse.files.toml import check_keys, read_toml, toml_value
from excidiff.inverse.rastertable import moved_raster, raster_paths, read_about, written_about
from excidiff.inverse.results.storage import write_text
from excidiff.solver.solution import InputError

FORMAT = "excidiff run 1"
FILES = ("absorption", "irf", "laser", "psf", "landscape", "dark", "flat", "mask")
LISTS = ("images", "decay", "frames", "spectral_map", "raster", "fix", "bound", "start", "prior", "tie",
         "image_density", "decay_density", "frames_density", "spectral_map_density", "raster_density",
         "raster_about")  # fmt: skip
DATA = {"images": "image", "decay": "decay", "frames": "frames", "spectral_map": "spectral_map", "raster": "raster"}
"""What is fitted, by the option of its files, and the word for one of them."""
HEADER = "# A fit by excidiff. Run it again with:  excidiff rerun run.toml\n"


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """Every option of `excidiff fit`, by the option's name; None where it was not given.

    The options of `DATA` and `FILES` are paths, raster_about a table in braces for each scan, or none. Quantities are
    text with a unit, or numbers where they have none.
    """

    images: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    frame_time: str | None = None
    pulse_time: str | None = None
    decay: tuple[str, ...] = ()
    irf: str | None = None
    irf_fwhm: str | None = None
    period: str | None = None
    aperture_fwhm: str | None = None
    decay_column: str | None = None
    time_unit: str | None = None
    skip: str | None = None
    curve: str | None = None
    bands: str | None = None
    image_density: tuple[str, ...] = ()
    decay_density: tuple[str, ...] = ()
    frames_density: tuple[str, ...] = ()
    spectral_map_density: tuple[str, ...] = ()
    exposure: str | None = None
    scale: str | None = None
    raster: tuple[str, ...] = ()
    raster_about: tuple[str, ...] = ()
    raster_density: tuple[str, ...] = ()
    spectral_map: tuple[str, ...] = ()
    collection_fwhm: str | None = None
    line: str | None = None
    absorption: str | None = None
    step: str | None = None
    slit: str | None = None
    wavelengths: str | None = None
    places: str | None = None
    uncertainty: str | None = None
    model: str | None = None
    components: str | None = None
    laser: str | None = None
    laser_fwhm: str | None = None
    psf: str | None = None
    psf_fwhm: str | None = None
    laser_wavelength: str | None = None
    emission_wavelength: str | None = None
    magnification_error: str | None = None
    pixel_size: str | None = None
    lifetime: str | None = None
    landscape: str | None = None
    temperature: str | None = None
    gain: str | None = None
    offset: str | None = None
    read_noise: str | None = None
    excess_noise: str | None = None
    dark: str | None = None
    flat: str | None = None
    mask: str | None = None
    region: str | None = None
    saturation: str | None = None
    background: str | None = None
    noise: str = "poisson"
    fix: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()
    tie: tuple[str, ...] = ()
    interval: str = "fisher"
    draws: str | None = None
    seed: str | None = None
    device: str = "auto"

    def paths(self) -> list[tuple[str, str]]:
        """(role, path) of every input file, the data first."""
        data = [(role, path) for name, role in DATA.items() for path in getattr(self, name)]
        named = [(role, getattr(self, role)) for role in self.files()]
        tables = map(read_about, self.raster_about)
        beside = [(f"raster {key}", table[key]) for table in tables for key in raster_paths(table)]
        return data + beside + [(role, path) for role, path in named if path is not None]

    def files(self) -> tuple[str, ...]:
        """The options that are paths, here and now: an uncertainty may be a number, too."""
        return (*FILES, "uncertainty") if names_file(self.uncertainty) else FILES

    def any_data(self) -> bool:
        """Whether there is anything to fit."""
        return any(getattr(self, name) for name in DATA)

    @property
    def powers(self) -> bool:
        """Whether the data are of pulses of several powers, each with its peak density."""
        return any(getattr(self, f"{role}_density") for role in DATA.values())

    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, ready for a file."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, default) in values.items()
            if value != default
        }

    def moved(self, change: Any) -> "FitSettings":
        """The same settings with `change` applied to every path."""
        updated = {name: change(path) for name in self.files() if (path := getattr(self, name)) is not None}
        values = {field.name: getattr(self, field.name) for field in fields(self)} | updated
        lists = {name: tuple(map(change, getattr(self, name))) for name in DATA}
        lists["raster_about"] = tuple(written_about(moved_raster(read_about(a), change)) for a in self.raster_about)
        return FitSettings(**{**values, **lists})


@dataclass(frozen=True)
class Run:
    """One fit on record: its settings with paths that can be opened, its inputs with hashes, its environment."""

    settings: FitSettings
    inputs: tuple[Mapping[str, str], ...]
    environment: Mapping[str, Any]


def data_file(path: str | Path) -> Path:
    """The file behind a path that may name one of its datasets: "file.h5:/image" -> file.h5."""
    member = re.match(r"(.+\.(?:h5|hdf5|nc|npz|hspy|zspy|zarr|dm3|dm4)):", str(path), re.IGNORECASE)
    return Path(member[1] if member else path)


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, or of all in a folder. Raises `InputError` when it cannot be read."""
    try:
        if data_file(path).is_dir():
            return hash_of(data_file(path))
        with open(data_file(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def write_run(path: Path, run: Run) -> Path:
    """Write `run` as `run.toml`; paths are relative to the folder `path` will lie in, so that a project can move."""
    document = {"fit": run.settings.given(), "environment": dict(run.environment)}
    lines = [HEADER, f"format = {toml_value(FORMAT)}\n"]
    for name, table in document.items():
        lines.append(f"\n[{name}]\n")
        lines += [f"{key} = {toml_value(value)}\n" for key, value in table.items()]
    for entry in run.inputs:
        lines.append("\n[[inputs]]\n")
        lines += [f"{key} = {toml_value(value)}\n" for key, value in entry.items()]
    return write_text(path, "".join(lines))


def relative_to(folder: Path, path: str) -> str:
    """`path` as seen from `folder`, with forward slashes; absolute where the way leads through the root of a disk.

    What shares a folder may be moved together; a path that climbs to the root would break when either moves.
    """
    there, here = Path(path).resolve(), folder.resolve()
    try:
        shared = Path(os.path.commonpath([there, here]))
    except ValueError:  # another drive
        return there.as_posix()
    return there.as_posix() if shared == Path(shared.anchor) else Path(os.path.relpath(there, here)).as_posix()


def read_run(path: str | Path) -> Run:
    """Read a `run.toml`, its paths made absolute.

    Raises `InputError` for a file that is missing, not TOML, has a repeated or an unknown key (naming the nearest
    known one), a wrong type, or no data.
    """
    path = Path(path)
    document = read_toml(path, "give the run.toml of a result")[0]
    check_keys(path, document, ("format", "fit", "inputs", "environment"), "")
    if document.get("format") != FORMAT:
        raise InputError(
            f"{path}: format is {document.get('format')!r}, expected {FORMAT!r}; write it with excidiff fit"
        )
    table = document.get("fit")
    if not isinstance(table, dict):
        raise InputError(f"{path}: the table [fit] is missing")
    names = [field.name for field in fields(FitSettings)]
    check_keys(path, table, names, " in [fit]")
    values = {name: _checked(path, name, value) for name, value in table.items()}
    if not any(values.get(name) for name in DATA):
        raise InputError(f"{path}: there is nothing to fit in [fit]; list at least one file as images, or a decay")
    inputs = document.get("inputs", [])
    for entry in inputs if isinstance(inputs, list) else [None]:
        if not isinstance(entry, dict):
            raise InputError(f"{path}: inputs must be tables, each with role, path and sha256")
        check_keys(path, entry, ("role", "path", "sha256"), " in [[inputs]]")
        if not all(isinstance(entry.get(key), str) for key in ("path", "sha256")):
            raise InputError(f"{path}: every [[inputs]] needs path and sha256 as text")
    folder = path.resolve().parent

    def absolute(name: str) -> str:
        return str((folder / name).resolve())

    return Run(
        FitSettings(**values).moved(absolute),
        tuple({**entry, "path": absolute(entry["path"])} for entry in inputs),
        document.get("environment", {}),
    )


def changed_inputs(run: Run) -> list[str]:
    """Sentences naming each input that is not what it was; empty when all are. Raises `InputError` for a lost one."""
    sentences = []
    for entry in run.inputs:
        if file_hash(entry["path"]) != entry["sha256"]:
            sentences.append(f"{entry['path']} has changed since the fit (its SHA-256 is another)")
    return sentences


def _checked(path: Path, name: str, value: Any) -> Any:
    """A value of [fit] as the command line would give it: text, or a tuple of texts."""
    if name in LISTS:
        value = [value] if name in ("frames", "spectral_map") and isinstance(value, str) else value  # one, once
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise InputError(f'{path}: {name} = {value!r} must be a list of texts, such as ["spot_000.tif"]')
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{path}: {name} = {value!r} must be a text or a number")
    return str(value)
