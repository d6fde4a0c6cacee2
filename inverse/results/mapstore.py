"""A map as files: one of numbers for programs, JSON, and one of arrays on labelled axes, NetCDF-4."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.results.mapfigure import COUNTED
from excidiff.inverse.results.mapped import FilmMap
from excidiff.inverse.results.storage import write_whole

ARRAYS = {
    "value": "the map",
    "error": "one standard deviation of it",
    "lower": "lower end of its 95 % band",
    "upper": "upper end of its 95 % band",
    "resolution": "full width at half maximum of what a cell averages over",
    "dose": "how many excitons were there, relative to the most",
    "determined": "whether the data determine the cell",
}
IMAGES = {"measured": "", "modelled": ", as expected", "noise": ", one standard deviation"}
SEEN = {
    "images": "photons of all images",
    "intensity scan": "photons of each position",
    "lifetime scan": "lifetime at each position",
    "energy scan": "energy of the light of each position",
}
FORMAT = "excidiff map 1"
DIGITS = 7


def map_document(found: FilmMap, settings: Mapping[str, Any], warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """All that `map.json` says, ready for JSON; undetermined numbers None, those of arrays to `DIGITS` digits.

    `settings`: how the map was asked for, with the record of the run.
    """
    whole = found.as_json()
    named = {name: whole.pop(name) for name in ("kind", "unit", "verdicts", "goodness", "background")}
    for name in IMAGES:
        whole.pop(name)
    prior = {name: whole.pop(name) for name in ("prior", "strength", "slope", "freedom")}
    prior["name"] = prior.pop("prior")
    arrays = {name: _rounded(whole.pop(name)) for name in ARRAYS}
    return {
        "parameter": named.pop("kind"),
        **named,
        "warnings": list(warnings),
        "patches": [patch._asdict() for patch in found.patches()],
        "prior": prior,
        **{name: _rounded(value) for name, value in whole.items()},
        **arrays,
        "settings": dict(settings),
    }


def map_text(document: Mapping[str, Any]) -> str:
    """The document as JSON, a row of an array on a line."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            rows = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in value)
            lines.append(f'"{key}": [\n{rows}\n ]')
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False, ensure_ascii=False)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def write_map_archive(path: Path, found: FilmMap, document: Mapping[str, Any]) -> Path:
    """Save the map on x and y (µm), what was seen on pixel_x and pixel_y, the laser's positions, and all units."""
    import xarray

    counted, of = COUNTED[found.source], found.source.split()[-1]
    units = {"resolution": "um", "dose": "1", "determined": "1"}
    name = found.kind.replace("_", " ")
    variables = {
        key: (("y", "x"), _stored(getattr(found, key)), {"long_name": f"{name}: {text}",
                                                       "units": units.get(key, found.unit)})
        for key, text in ARRAYS.items()
    }  # fmt: skip
    variables |= {
        key: (("pixel_y", "pixel_x"), getattr(found, key), {"long_name": SEEN[found.source] + text, "units": counted})
        for key, text in IMAGES.items()
    }
    variables["position"] = (("spot", "axis"), found.positions, {"long_name": "places of the laser", "units": "um"})
    rows, columns = (
        (np.arange(count) - (count - 1) / 2) * size
        for count, size in zip(found.measured.shape, found.pixel_size, strict=True)
    )
    axes = {"y": found.y, "x": found.x, "pixel_y": rows, "pixel_x": columns}
    coordinates: dict[str, Any] = {
        axis: ((axis,), values, {"long_name": f"along {axis[-1]}, from the centre of the {of}", "units": "um"})
        for axis, values in axes.items()
    }
    coordinates["axis"] = (("axis",), ["x", "y"], {"long_name": "of a place"})
    said = {"format": FORMAT, "parameter": found.kind, "verdicts": "\n".join(found.verdicts)}
    said["settings"] = json.dumps(document["settings"], ensure_ascii=False)
    dataset = xarray.Dataset(variables, coordinates, said)
    packed = {key: {"zlib": True, "complevel": 1, "shuffle": True} for key in variables if key != "position"}
    return write_whole(path, lambda place: dataset.to_netcdf(place, engine="h5netcdf", encoding=packed))


def _stored(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint8) if values.dtype == bool else values


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
