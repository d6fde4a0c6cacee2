"""A map of a film written down: the file of `excidiff map`, an experiment's with one more table.

    [excitation]
    laser_fwhm = "245 nm"
    [optics]
    psf_fwhm = "200 nm"
    pixel_size = "80 nm"
    [[image]]
    file = "spots.tif"                        # one frame or file for each position
    [parameters]
    diffusivity = {fixed = "0.05 um^2/ns"}    # of the film where nothing traps, like the lifetime
    lifetime = {fixed = "5 ns"}
    [map]
    parameter = "trapping_rate"               # "lifetime", "trap_density", "diffusivity" or "landscape"
    positions = "positions_um.csv"            # columns x_um, y_um from the images' centre, a row for each image
    excitons = 60000                          # photons that a spot would give if nothing trapped
    prior = "total variation"                 # or "smooth"

A trap density takes capture = {fixed = "2e-3 um^2/ns"} as well, a diffusivity the lifetime alone, a landscape the
temperature of [film]. A raster scan stands in for images, their optics and their positions:

    [[raster]]
    file = "scan.csv"                         # x_um, y_um, counts, or what else `read_raster_scan` reads
    step = "200 nm"                           # where the file does not say
    quantity = "intensity"                    # or "lifetime", or "energy" of a landscape, which take no excitons
    collection_fwhm = "400 nm"                # of a detector that moves with the laser; else all light is collected
    gain = 1                                  # and offset, uncertainty, photons, mask, column, channel, time_unit
    # irf = "irf.ptu"                           or pulse_time, and dark, of lifetimes from the photons of a .ptu

Its file may hold a spectrum for each position, as arrays with axes do: energy is then the centre of the band, intensity
the light within it, of all `wavelengths` and `places` or those that are given.

The other tables are those of `protocol`: [camera] of images, and [detection] background.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.tables import read_columns
from excidiff.inverse.files.toml import check_keys, read_toml
from excidiff.inverse.files.units import length_unit
from excidiff.inverse.fit.cells import KINDS
from excidiff.inverse.fit.smoothing import Name
from excidiff.inverse.protocol import KINDS as MEASUREMENTS
from excidiff.inverse.protocol import SECTIONS, settings_of
from excidiff.inverse.rastertable import RASTER, check_raster, moved_raster, raster_paths
from excidiff.inverse.settings import LISTS, FitSettings
from excidiff.inverse.typed import fixed_value, number, quantity
from excidiff.solver.solution import InputError

KEYS = ("parameter", "positions", "excitons", "prior")
OF_FILM = {"diffusivity": "0.05 um^2/ns", "lifetime": "5 ns", "capture": "2e-3 um^2/ns"}
USED = ("laser_fwhm", "lifetime", "fix", "background", "temperature", "device")
OF_IMAGES = ("images", "psf_fwhm", "pixel_size", "gain", "offset", "read_noise", "excess_noise", "dark", "flat", "mask",
             "saturation")  # fmt: skip
COUNTED = ("images", "intensity scan")
"""What has photons, and with them excitons and a background."""
ROOM = 295.0
"""K, where no temperature is given."""
_COLUMN = re.compile(r"(?P<axis>[xy])[\s_(\[/]*(?P<unit>[A-Za-zµμå]*)[\s)\]]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MapRequest:
    """What the file asks for.

    `known`: what `measure_map` is given beside its data, in µm, ns, K and photons. `settings` hold images and camera,
    `positions` is a path; or `raster` is what `read_any_scan` takes, its first argument as "file".
    """

    file: str
    settings: FitSettings
    known: Mapping[str, Any]
    positions: str | None = None
    raster: Mapping[str, Any] | None = None

    def paths(self) -> list[tuple[str, str]]:
        """(role, path) of every file that is read, this one first."""
        found = [("map", self.file), *self.settings.paths()]
        if self.positions is not None:
            found.append(("positions", self.positions))
        raster = self.raster or {}
        return found + [("raster" if key == "file" else key, raster[key]) for key in raster_paths(raster)]


def read_map_request(path: str | Path) -> MapRequest:
    """Read the file of a map.

    Raises InputError for a key that is missing, unknown (with the nearest known one), of the wrong kind, or of no use
    to a map, and for two that contradict each other.
    """
    file = Path(path)
    document, _ = read_toml(file, "give the .toml file of a map")
    if "map" not in document:
        raise InputError(f"{file}: the table [map] is missing; without one the file is for excidiff fit")
    if "fit" in document or "inputs" in document:
        raise InputError(f"{file}: a map is no fit: it has the tables of an experiment's file and [map]")
    check_keys(file, document, ("map", "raster", "model", "components", "parameters", *SECTIONS, *MEASUREMENTS), "")
    raster = _raster(file, document["raster"]) if "raster" in document else None
    rest = {name: table for name, table in document.items() if name not in ("map", "raster")}
    settings = settings_of(file, rest, {}, dict.fromkeys(LISTS, ()))
    source = "images" if raster is None else f"{raster.get('quantity', 'intensity')} scan"
    about = _about(file, document["map"], source)
    kind = about.pop("kind")
    _check_useful(file, settings, kind, source)
    positions = about.pop("positions", None)
    known = {"kind": kind, **about, **_film(file, settings, kind), "laser_fwhm": _width(file, settings, "laser_fwhm")}
    if raster is None:
        known["psf_fwhm"] = _width(file, settings, "psf_fwhm")
    if source in COUNTED:
        known["background"] = _background(file, settings, source)
    places = None if positions is None else str(file.parent / positions)
    return MapRequest(file=str(file), settings=settings, known=known, positions=places, raster=raster)


def read_positions(path: str | Path, count: int) -> Float[np.ndarray, "P 2"]:
    """(x, y) in µm of every one of `count` images, from a table whose header gives columns and unit: "x_um,y_um".

    Raises InputError for a header without them, two units, and another number of rows.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; [map] positions names a table of places, x_um,y_um")
    names, values = read_columns(file)
    found: dict[str, tuple[int, str]] = {}
    for place, name in enumerate(names):
        match = _COLUMN.fullmatch(name.strip().strip('"'))
        if match is not None and match["axis"].lower() not in found:
            found[match["axis"].lower()] = (place, match["unit"])
    header = ",".join(names) or "no header"
    if set(found) != {"x", "y"}:
        raise InputError(
            f'{file}: a table of places has columns x and y with their unit, as "x_um,y_um"; it has {header}'
        )
    sizes = {axis: length_unit(unit) for axis, (_, unit) in found.items()}
    if None in sizes.values():
        raise InputError(f'{file}: the places have no unit ({header}); write it behind the names, as "x_um,y_um"')
    if len(values) != count:
        raise InputError(
            f"{file}: it has {len(values)} places for {count} images; give one row for each image, in order"
        )
    return np.stack([values[:, found[axis][0]] * (sizes[axis] or 1.0) for axis in "xy"], axis=1)


def _raster(file: Path, entries: Any) -> dict[str, Any]:
    """What [[raster]] says, paths counted from the file's folder."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{file}: a raster scan is a table with two brackets; write [[raster]], and its keys below it")
    if len(entries) != 1:
        raise InputError(f"{file}: {len(entries)} tables [[raster]]; a map is made from one scan")
    table = entries[0]
    if "file" not in table:
        raise InputError(f'{file}: [[raster]] has no file; give it, such as file = "{RASTER["file"]}"')
    check_raster(file, table)
    return moved_raster(table, lambda path: str(file.parent / path))


def _about(file: Path, table: Any, source: str) -> dict[str, Any]:
    """Kind, prior, excitons and positions of the table [map], where the source has such."""
    if not isinstance(table, dict):
        raise InputError(f"{file}: [map] is no table: write its keys below it")
    check_keys(file, table, KEYS, " in [map]")
    found: dict[str, Any] = {"kind": _one_of(file, table, "parameter", tuple(KINDS), None, "[map]")}
    found["prior"] = _one_of(file, table, "prior", get_args(Name), get_args(Name)[0], "[map]")
    if source == "images":
        positions = _needed(file, table, "positions", '"positions_um.csv", a table with the columns x_um and y_um')
        if not isinstance(positions, str) or not positions:
            raise InputError(f"{file}: [map] positions = {positions!r}: give the path of a table")
        found["positions"] = positions
    elif "positions" in table:
        raise InputError(f"{file}: [map] positions: those of a raster scan are in its own file; leave it out")
    if source not in COUNTED:
        if "excitons" in table:
            raise InputError(f"{file}: [map] excitons: lifetimes and energies are alike for few and many; leave it out")
        return found
    of = "spot" if source == "images" else "position"
    excitons = _needed(file, table, "excitons", f"60000, the photons of a {of} on a film without traps")
    if isinstance(excitons, bool) or not isinstance(excitons, int | float) or not 0 < excitons < np.inf:
        raise InputError(f"{file}: [map] excitons = {excitons!r}: give a positive number of photons")
    return {**found, "excitons": float(excitons)}


def _needed(file: Path, table: Mapping[str, Any], key: str, example: str) -> Any:
    if key not in table:
        raise InputError(f"{file}: [map] {key} is missing; give it, such as {key} = {example}")
    return table[key]


def _one_of(
    file: Path, table: Mapping[str, Any], key: str, words: tuple[str, ...], default: str | None, where: str
) -> str:
    value = table.get(key, default)
    *most, last = (f'"{word}"' for word in words)
    listed = f"{', '.join(most)} or {last}"
    if value is None:
        raise InputError(f"{file}: {where} {key} is missing; choose {listed}")
    if value not in words:
        raise InputError(f"{file}: {where} {key} = {value!r}: choose {listed}")
    return value


def _check_useful(file: Path, settings: FitSettings, kind: str, source: str) -> None:
    """Refuse what a map of this kind and source would not heed, and images that are not there."""
    if settings.laser is not None or settings.psf is not None:
        raise InputError(f"{file}: a map needs the laser and the PSF as widths, laser_fwhm and psf_fwhm, not as images")
    if source == "images":
        if settings.region is not None:
            raise InputError(f"{file}: [camera] region: a map uses whole images, as its places count from their centre")
        if not settings.images:
            raise InputError(
                f'{file}: there are no images; name them, as in [[image]] with file = "spots.tif", or a raster scan, '
                'as in [[raster]] with file = "scan.csv"'
            )
    elif settings.images:
        raise InputError(f"{file}: both [[image]] and [[raster]]; a map is made from one of them")
    used = [name for name in USED if name != "temperature" or name in KINDS[kind].needs]
    used = [name for name in used if name != "background" or source in COUNTED]
    useless = [name for name in settings.given() if name not in (*used, *(OF_IMAGES if source == "images" else ()))]
    if not useless:
        return
    article = "a" if source == "lifetime scan" else "an"
    of = f"the {kind.replace('_', ' ')}" + ("" if source == "images" else f" from {article} {source}")
    own = [name for name in useless if name in RASTER and source != "images"]
    told = f"; the scan's {' and '.join(own)} is written below [[raster]]" if own else ""
    raise InputError(f"{file}: {', '.join(useless)}: of no use to a map of {of}; leave it out{told}")


def _film(file: Path, settings: FitSettings, kind: str) -> dict[str, float]:
    """What a map of this kind must know of the film: its numbers where nothing traps, the capture, the temperature."""
    needs = [name for name in KINDS[kind].needs if name in OF_FILM]
    fixed: dict[str, float] = {}
    for text in settings.fix:
        name, value = fixed_value(text, f"{file}: [parameters]")
        _check_needed(file, name, needs, kind)
        fixed[name] = value
    if settings.lifetime is not None:
        value = quantity(settings, "lifetime")
        if isinstance(value, tuple):
            raise InputError(
                f"{file}: [parameters] lifetime has an error, which a map does not carry on: fix it instead"
            )
        fixed["lifetime"] = float(value or 0.0)
    for name in needs:
        if name not in fixed:
            raise InputError(
                f"{file}: [parameters] {name} is missing, which a map of the {kind.replace('_', ' ')} takes; give it, "
                f'such as {name} = {{fixed = "{OF_FILM[name]}"}}'
            )
    if "temperature" in KINDS[kind].needs:
        given: Any = quantity(settings, "temperature")
        fixed["temperature"] = ROOM if given is None else given
    return fixed


def _check_needed(file: Path, name: str, needs: list[str], kind: str) -> None:
    if name == kind and name not in needs:
        raise InputError(f"{file}: [parameters] {name}: that is what the map is of; leave it out")
    if name not in needs:
        raise InputError(
            f"{file}: [parameters] {name}: a map of the {kind.replace('_', ' ')} takes {' and '.join(needs)} alone; "
            "leave it out"
        )


def _background(file: Path, settings: FitSettings, source: str) -> float | str:
    """Photons of a pixel, fitted where none are given; or of a position, where none are given none."""
    if source == "images" and settings.background in (None, "fit"):
        return "fit"
    if settings.background == "fit":
        raise InputError(
            f'{file}: [detection] background = "fit": that of a scan is not fitted; give its photons per position, or '
            "leave it out where there is none"
        )
    return 0.0 if settings.background is None else number("background", settings.background)


def _width(file: Path, settings: FitSettings, name: str) -> float:
    value = quantity(settings, name)
    if value is None:
        where = "excitation" if name == "laser_fwhm" else "optics"
        raise InputError(f'{file}: [{where}] {name} is missing; give it, such as {name} = "250 nm"')
    if isinstance(value, tuple):
        raise InputError(f"{file}: {name} has an error, which a map does not carry on: give the width alone")
    return value
