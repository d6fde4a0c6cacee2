"""What is said of a raster scan beside its file: a table, [[raster]] of an experiment's file or one of --raster-about.

On the command line and in run.toml it is written in braces: '{quantity = "lifetime", collection_fwhm = "400 nm"}'.
"""

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, get_args

from excidiff.inverse.files.noise import names_file
from excidiff.inverse.files.scans import Quantity
from excidiff.inverse.files.toml import check_keys, toml_value
from excidiff.solver.solution import InputError

RASTER: dict[str, str | int | float] = {
    "file": "scan.csv", "step": "200 nm", "quantity": "lifetime", "uncertainty": "error.csv", "photons": "photons.csv",
    "mask": "mask.csv", "collection_fwhm": "400 nm", "column": "counts", "channel": 1, "time_unit": "ns", "gain": 2.5,
    "offset": 100.0, "irf": "irf.ptu", "pulse_time": "2.1 ns", "dark": 12.0,
    "wavelengths": "500..540 nm", "places": "0..2 um, 0..1 um",
}  # fmt: skip
"""Its keys, with what they may look like."""
PATHS = ("file", "photons", "mask", "irf")


def check_raster(place: Any, table: Mapping[str, Any], where: str = "[[raster]]") -> None:
    """Refuse what a table of a scan in `place`, a file or an option, cannot say."""
    check_keys(place, table, RASTER, f" in {where}")
    for key, value in table.items():
        example = RASTER[key]
        kinds = int if key == "channel" else int | float if isinstance(example, float) else str
        kinds = str | int | float if key == "uncertainty" else kinds
        endless = isinstance(value, float) and not math.isfinite(value)
        if isinstance(value, bool) or not isinstance(value, kinds) or value == "" or endless:
            raise InputError(f"{place}: {where} {key} = {value!r}: write it like {key} = {json.dumps(example)}")
    what = table.get("quantity", "intensity")
    if what not in get_args(Quantity):
        *most, last = (f'"{word}"' for word in get_args(Quantity))
        raise InputError(f"{place}: {where} quantity = {what!r}: choose {', '.join(most)} or {last}")
    if what != "lifetime" and "time_unit" in table:
        raise InputError(f'{place}: {where} time_unit is of lifetimes; leave it out, or write quantity = "lifetime"')


def moved_raster(table: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The same table with `change` applied to every path."""
    return {key: change(value) if key in raster_paths(table) else value for key, value in table.items()}


def raster_paths(table: Mapping[str, Any]) -> list[str]:
    """The keys of a table that name a file."""
    named = [*PATHS, *(["uncertainty"] if names_file(table.get("uncertainty")) else [])]
    return [key for key in named if key in table]


def read_about(text: str) -> dict[str, Any]:
    """A table in braces; raises InputError for one that is none, or says what a scan has not."""
    try:
        table = tomllib.loads(f"about = {text}")["about"]
    except (ValueError, RecursionError) as error:
        table = error
    if not isinstance(table, dict):
        raise InputError(f"--raster-about {text!r}: give a table in braces, such as '{{quantity = \"lifetime\"}}'")
    if "file" in table:
        raise InputError(f"--raster-about {text!r}: the file is given by --raster; leave it out")
    check_raster("--raster-about", table, text)
    return table


def written_about(table: Mapping[str, Any]) -> str:
    """A table in braces, as `read_about` takes it."""
    return toml_value({key: value for key, value in table.items() if key != "file"})
