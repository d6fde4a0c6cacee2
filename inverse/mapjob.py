"""One map from files to files: a TOML file in, a folder with the map out. `excidiff map` is this."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.readers import read_images
from excidiff.inverse.files.scans import RasterScan
from excidiff.inverse.job import image_options
from excidiff.inverse.machine import environment
from excidiff.inverse.mapfile import MapRequest, read_map_request, read_positions
from excidiff.inverse.maps import measure_map
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.mapfigure import map_figure
from excidiff.inverse.results.mappage import map_page
from excidiff.inverse.results.mapped import FilmMap
from excidiff.inverse.results.mapstore import map_document, map_text, write_map_archive
from excidiff.inverse.results.storage import inside, write_text, write_whole
from excidiff.inverse.settings import file_hash
from excidiff.inverse.spectrascans import read_any_scan

MAP_FILES = {
    "map.html": "the page to look at and to show",
    "map.json": "the map with errors and verdicts, for programs",
    "map.nc": "the same on axes with units, for xarray and others",
    "figures": "the map as PNG and SVG",
}


def map_of(path: str | Path, folder: Path) -> FilmMap:
    """Make the map that a file asks for, fill `folder` with it, and return it."""
    request = read_map_request(path)
    inputs = [{"role": role, "path": file, "sha256": file_hash(file)} for role, file in request.paths()]
    if request.raster is None:
        images = _images(request)
        places = read_positions(request.positions or "", len(images))
        found = measure_map(images, places, **request.known)
        settings, warnings = _of_images(images), _doubts_of_images(images)
    else:
        scan = read_any_scan(request.raster["file"], **{k: v for k, v in request.raster.items() if k != "file"})
        found = measure_map(scan=scan, **request.known)
        settings, warnings = _of_scan(scan), _doubts_of_scan(scan, gained="gain" in request.raster)
    if "temperature" in request.known and request.settings.temperature is None:
        room = f"no temperature was given: the film is taken to be at {request.known['temperature']:g} K"
        found = replace(found, verdicts=(*found.verdicts, room))
    known = {"parameter" if name == "kind" else name: value for name, value in request.known.items()}
    run = {**environment(), "inputs": inputs, "command": shlex.join(["excidiff", "map", str(path)])}
    write_map(found, folder, {**known, **settings, "run": run}, warnings)
    return found


def write_map(found: FilmMap, folder: Path, settings: dict[str, Any], warnings: tuple[str, ...]) -> None:
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


def _images(request: MapRequest) -> list[Image]:
    options = image_options(request.settings)
    return [image for file in request.settings.images for image in read_images(file, **options)]


def _of_images(images: list[Image]) -> dict[str, Any]:
    """How the images were read, in µm and photons."""
    camera = images[0].camera
    return {
        "source": "images",
        "pixel_size": _size(images[0].spacing),
        "gain": camera.gain,
        "offset": camera.offset,
        "read_noise": camera.read_noise,
        "excess_noise": camera.excess_noise,
    }


def _of_scan(scan: RasterScan) -> dict[str, Any]:
    """How the scan was read, in µm and photons; and the law that its noise was taken to follow."""
    found: dict[str, Any] = {
        "source": f"{scan.quantity} scan",
        "noise": "Poisson" if scan.uncertainty is None else "Gaussian",
        "step": _size(scan.spacing),
        "positions_used": int(np.count_nonzero(scan.mask)),
    }
    if scan.quantity == "intensity":
        found |= {"gain": scan.gain, "offset": scan.offset}
    if scan.collection is not None:
        found["collection_fwhm"] = scan.collection
    return {**found, "notes": list(scan.notes)}


def _size(spacing: tuple[float, float]) -> float | list[float]:
    """One number of squares, else (y, x)."""
    size_y, size_x = map(float, spacing)
    return size_x if size_x == size_y else [size_y, size_x]


def _doubts_of_images(images: list[Image]) -> tuple[str, ...]:
    """What a person should know of the images beside what the map says."""
    said = list(dict.fromkeys(note if image.name in note else f"{image.name}: {note}"
                              for image in images for note in image.notes))  # fmt: skip
    if not images[0].camera.gain_known:
        said.insert(0, "no gain was given: the counts are taken for photons; give [camera] gain")
    return tuple(said)


def _doubts_of_scan(scan: RasterScan, *, gained: bool) -> tuple[str, ...]:
    """The same of a scan: of its notes those that say more than where a number comes from."""
    said = scan.doubts
    if scan.uncertainty is None and not gained:
        said.insert(0, "no gain was given: the counts are taken for photons; give [[raster]] gain")
    return tuple(said)
