"""One map from files to files: a TOML file in, a folder with the map out. `excidiff map` is this."""

import shlex
from pathlib import Path
from typing import Any

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.readers import read_images
from excidiff.inverse.job import image_options
from excidiff.inverse.machine import environment
from excidiff.inverse.mapfile import MapRequest, read_map_request, read_positions
from excidiff.inverse.maps import measure_rate_map
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.mapfigure import map_figure
from excidiff.inverse.results.mappage import map_page
from excidiff.inverse.results.mapped import RateMap
from excidiff.inverse.results.mapstore import map_document, map_text, write_map_archive
from excidiff.inverse.results.storage import inside, write_text, write_whole
from excidiff.inverse.settings import file_hash

MAP_FILES = {
    "map.html": "the page to look at and to show",
    "map.json": "the map with errors and verdicts, for programs",
    "map.nc": "the same on axes with units, for xarray and others",
    "figures": "the map as PNG and SVG",
}


def map_of(path: str | Path, folder: Path) -> RateMap:
    """Make the map that a file asks for, fill `folder` with it, and return it."""
    request = read_map_request(path)
    inputs = _inputs(request)
    images = [
        image for file in request.settings.images for image in read_images(file, **image_options(request.settings))
    ]
    places = read_positions(request.positions, len(images))
    found = measure_rate_map(images, places, **request.known())
    run = {**environment(), "inputs": inputs, "command": shlex.join(["excidiff", "map", str(path)])}
    write_map(found, folder, {**_settings(request, images[0]), "run": run}, _warnings(images))
    return found


def write_map(found: RateMap, folder: Path, settings: dict[str, Any], warnings: tuple[str, ...]) -> None:
    """Write map.json, map.nc, map.html and figures/ into `folder`."""
    document = map_document(found, settings, warnings)
    write_text(inside(folder, "map.json"), map_text(document))
    write_map_archive(inside(folder, "map.nc"), found, document)
    write_text(inside(folder, "map.html"), map_page(found, settings, warnings))
    drawings = inside(folder, "figures")
    drawings.mkdir(exist_ok=True)
    figure = map_figure(found)
    for kind in ("png", "svg"):
        data = encode(figure, kind)
        write_whole(inside(drawings, f"map.{kind}"), lambda place, data=data: place.write_bytes(data))


def _inputs(request: MapRequest) -> list[dict[str, str]]:
    """Every file that was read, with its hash."""
    paths = [("map", request.file), *request.settings.paths(), ("positions", request.positions)]
    return [{"role": role, "path": path, "sha256": file_hash(path)} for role, path in paths]


def _settings(request: MapRequest, image: Image) -> dict[str, Any]:
    """How the map was asked for, in µm and ns."""
    camera = image.camera
    size_y, size_x = image.spacing
    return {
        "parameter": request.kind,
        **{name: value for name, value in request.known().items() if name != "kind"},
        "pixel_size": size_x if size_x == size_y else [size_y, size_x],
        "gain": camera.gain,
        "offset": camera.offset,
        "read_noise": camera.read_noise,
        "excess_noise": camera.excess_noise,
    }


def _warnings(images: list[Image]) -> tuple[str, ...]:
    """What a person should know of the images beside what the map says."""
    said = list(dict.fromkeys(note if image.name in note else f"{image.name}: {note}"
                              for image in images for note in image.notes))  # fmt: skip
    if not images[0].camera.gain_known:
        said.insert(0, "no gain was given: the counts are taken for photons; give [camera] gain")
    return tuple(said)
