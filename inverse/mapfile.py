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
    parameter = "trapping_rate"               # or "lifetime"
    positions = "positions_um.csv"            # columns x_um, y_um from the images' centre, a row for each image
    excitons = 60000                          # photons that a spot would give if nothing trapped
    prior = "total variation"                 # or "smooth"

The other tables are those of `protocol`: [camera], and [detection] background.
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
from excidiff.inverse.fit.ratemap import KINDS
from excidiff.inverse.fit.smoothing import Name
from excidiff.inverse.options import fixed_value, number, quantity
from excidiff.inverse.protocol import settings_of
from excidiff.inverse.settings import LISTS, FitSettings
from excidiff.solver.solution import InputError

KEYS = ("parameter", "positions", "excitons", "prior")
OF_FILM = {"diffusivity": "0.05 um^2/ns", "lifetime": "5 ns"}
USED = ("images", "laser_fwhm", "psf_fwhm", "pixel_size", "lifetime", "fix", "gain", "offset", "read_noise",
        "excess_noise", "dark", "flat", "mask", "saturation", "background", "device")  # fmt: skip
_COLUMN = re.compile(r"(?P<axis>[xy])[\s_(\[/]*(?P<unit>[A-Za-zµμå]*)[\s)\]]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MapRequest:
    """What the file asks for, in µm and ns; `settings` hold the images and the camera, `positions` is a path."""

    file: str
    settings: FitSettings
    positions: str
    kind: str
    prior: Name
    excitons: float
    diffusivity: float
    lifetime: float
    laser_fwhm: float
    psf_fwhm: float
    background: float | str

    def known(self) -> dict[str, Any]:
        """What `measure_rate_map` is given beside images and positions."""
        names = ("diffusivity", "lifetime", "laser_fwhm", "psf_fwhm", "excitons", "background", "prior", "kind")
        return {name: getattr(self, name) for name in names}


def read_map_request(path: str | Path) -> MapRequest:
    """Read the file of a map.

    Raises InputError for a key that is missing, unknown (with the nearest known one), of the wrong kind, or of no use
    to a map, and for two that contradict each other.
    """
    file = Path(path)
    document, _ = read_toml(file, "give the .toml file of a map")
    if "map" not in document:
        raise InputError(f"{file}: the table [map] is missing; without one the file is for excidiff fit")
    rest = {name: table for name, table in document.items() if name != "map"}
    if "fit" in rest or "inputs" in rest:
        raise InputError(f"{file}: a map is no fit: it has the tables of an experiment's file and [map]")
    settings = settings_of(file, rest, {}, dict.fromkeys(LISTS, ()))
    kind, positions, excitons, prior = _about(file, document["map"])
    _check_useful(file, settings)
    if not settings.images:
        raise InputError(f'{file}: there are no images; name them, as in [[image]] with file = "spots.tif"')
    film = _film(file, settings)
    return MapRequest(
        file=str(file),
        settings=settings,
        positions=str(file.parent / positions),
        kind=kind,
        prior=prior,
        excitons=excitons,
        **film,
        **{name: _width(file, settings, name) for name in ("laser_fwhm", "psf_fwhm")},
        background="fit" if settings.background in (None, "fit") else number("background", str(settings.background)),
    )


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


def _about(file: Path, table: Any) -> tuple[str, str, float, Name]:
    """(kind, positions, excitons, prior) of the table [map]."""
    if not isinstance(table, dict):
        raise InputError(f"{file}: [map] is no table: write its keys below it")
    check_keys(file, table, KEYS, " in [map]")
    kind = _one_of(file, table, "parameter", tuple(KINDS), None)
    prior: Any = _one_of(file, table, "prior", get_args(Name), get_args(Name)[0])
    positions = _needed(file, table, "positions", '"positions_um.csv", a table with the columns x_um and y_um')
    if not isinstance(positions, str) or not positions:
        raise InputError(f"{file}: [map] positions = {positions!r}: give the path of a table")
    excitons = _needed(file, table, "excitons", "60000, the photons of a spot on a film without traps")
    if isinstance(excitons, bool) or not isinstance(excitons, int | float) or not 0 < excitons < np.inf:
        raise InputError(f"{file}: [map] excitons = {excitons!r}: give a positive number of photons")
    return kind, positions, float(excitons), prior


def _needed(file: Path, table: Mapping[str, Any], key: str, example: str) -> Any:
    if key not in table:
        raise InputError(f"{file}: [map] {key} is missing; give it, such as {key} = {example}")
    return table[key]


def _one_of(file: Path, table: Mapping[str, Any], key: str, words: tuple[str, ...], default: str | None) -> str:
    value = table.get(key, default)
    listed = " or ".join(f'"{word}"' for word in words)
    if value is None:
        raise InputError(f"{file}: [map] {key} is missing; choose {listed}")
    if value not in words:
        raise InputError(f"{file}: [map] {key} = {value!r}: choose {listed}")
    return value


def _check_useful(file: Path, settings: FitSettings) -> None:
    """Refuse what a map would not heed."""
    if settings.laser is not None or settings.psf is not None:
        raise InputError(f"{file}: a map needs the laser and the PSF as widths, laser_fwhm and psf_fwhm, not as images")
    if settings.region is not None:
        raise InputError(f"{file}: [camera] region: a map uses whole images, as its places count from their centre")
    useless = [name for name in settings.given() if name not in USED]
    if useless:
        raise InputError(f"{file}: {', '.join(useless)}: of no use to a map; leave it out")


def _film(file: Path, settings: FitSettings) -> dict[str, float]:
    """Diffusivity and lifetime where nothing traps."""
    fixed: dict[str, float] = {}
    for text in settings.fix:
        name, value = fixed_value(text)
        if name not in OF_FILM:
            raise InputError(f"{file}: [parameters] {name}: a map takes diffusivity and lifetime, and nothing else")
        fixed[name] = value
    if settings.lifetime is not None:
        value = quantity(settings, "lifetime")
        if isinstance(value, tuple):
            raise InputError(
                f"{file}: [parameters] lifetime has an error, which a map does not carry on: fix it instead"
            )
        fixed["lifetime"] = float(value or 0.0)
    for name, example in OF_FILM.items():
        if name not in fixed:
            raise InputError(
                f'{file}: [parameters] {name} is missing; give it, such as {name} = {{fixed = "{example}"}}'
            )
    return fixed


def _width(file: Path, settings: FitSettings, name: str) -> float:
    value = quantity(settings, name)
    if value is None:
        where = "excitation" if name == "laser_fwhm" else "optics"
        raise InputError(f'{file}: [{where}] {name} is missing; give it, such as {name} = "250 nm"')
    if isinstance(value, tuple):
        raise InputError(f"{file}: {name} has an error, which a map does not carry on: give the width alone")
    return value
