"""One netCDF file for a result: its document as text, and every measurement a group of arrays with axes in µm or ns.

The file is plain netCDF-4: `xarray.open_datatree`, `ncdump` and MATLAB read it. The text variable `document` holds
what has no axes (values, verdicts, settings), so that a result comes back exactly as it was saved.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from excidiff.inverse.results.storage import write_whole
from excidiff.solver.solution import InputError

FORMAT = "excidiff result 1"
_VARIABLES = {
    "counts": ("photons measured in each pixel, offset and gain taken out", "photons"),
    "model": ("photons expected in each pixel under the fitted model", "photons"),
    "variance": ("variance of the counts under the fitted model", "photons^2"),
    "mask": ("1 where the pixel was used in the fit", "1"),
    "response": ("share of a flash that the instrument shows in each bin", "1"),
}


_AXES = {
    "x": ("um", "where the spectra were taken, along x"),
    "y": ("um", "where the spectra were taken, along y"),
    "wavelength": ("nm", "centres of the spectrometer's bins"),
    "time": ("ns", "centres of the bins of time"),
}
_GATES = {
    "start": ("ns", "when the gate opens after the pulse"),
    "end": ("ns", "when the gate closes"),
    "light": ("photons", "photons beyond the background"),
    "width2": ("um^2", "mean square width of the spot along one axis, as imaged"),
}
_SERIES = {
    "peak": ("meV", "centre of a Gaussian line"),
    "width": ("meV", "standard deviation of a Gaussian line"),
    "light": ("photons", "counts within a Gaussian line"),
    "misfit": ("1", "chi squared per degree of freedom of a Gaussian line"),
}


def write_archive(path: str | Path, document: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> Path:
    """Save `document` (JSON-ready) and `groups` ({group: {variable: (ny, nx) array, "pixel_size": (y, x) µm}}).

    A group of (T,) arrays has "time", the centres of the bins in ns, instead of a pixel size; one of a spectral map
    "axes" by name, and "series" of numbers at every place; one of a movie "gates", numbers of every gate.
    """
    import h5netcdf

    text = json.dumps(document, allow_nan=False, ensure_ascii=False)

    def write(temporary: Path) -> None:
        with h5netcdf.File(temporary, "w") as file:
            file.attrs["format"] = FORMAT
            file.attrs["title"] = "luminescence, fitted model and parameters"
            _write_text(file, text)
            for name, arrays in groups.items():
                _write_group(file.create_group(name), arrays)

    return write_whole(path, write)


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The document and the arrays of `write_archive`. Raises `InputError` for a torn or foreign file."""
    import h5netcdf

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the result.nc that `excidiff fit` wrote")
    try:
        with h5netcdf.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"{path}: not a result of excidiff (or of another version: {FORMAT!r} is wanted)")
            text = file.variables["document"][()]
            text = text.item() if isinstance(text, np.ndarray) else text
            document = json.loads(text if isinstance(text, str) else bytes(text).decode("utf-8"))
            groups = {name: _read_group(group) for name, group in file.groups.items()}
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as a result of excidiff, it is damaged or of another kind") from error
    return document, groups


def _read_group(group: Any) -> dict[str, Any]:
    """The arrays of a group by name, with its axes and what else it has at every place."""
    arrays = {key: np.asarray(variable[...]) for key, variable in group.variables.items()}
    found: dict[str, Any] = {key: values for key, values in arrays.items() if key in _VARIABLES}
    order = group.variables["counts"].dimensions if "counts" in arrays else ()
    axes = {key: arrays[key] for key in order}
    gates = {key.removeprefix("gate_"): values for key, values in arrays.items() if key.startswith("gate_")}
    rest = {key: values for key, values in arrays.items() if key not in found and key not in axes}
    series = {key: values for key, values in rest.items() if not key.startswith("gate_")}
    return {**found, "axes": axes, "series": series, "gates": gates}


def _write_text(file: Any, text: str) -> None:
    import h5py

    variable = file.create_variable("document", (), dtype=h5py.string_dtype("utf-8"))
    variable[...] = text
    variable.attrs["long_name"] = "the result as JSON: values, errors, verdicts, settings"


def _write_group(group: Any, arrays: Mapping[str, Any]) -> None:
    shape = np.shape(arrays["counts"])
    if "axes" in arrays:
        axes = {name: (values, *_AXES[name]) for name, values in arrays["axes"].items()}
    elif "time" in arrays:
        axes = {"time": (arrays["time"], "ns", "centres of the bins")}
    else:
        axes = {
            axis: ((np.arange(n) - 0.5 * (n - 1)) * pitch, "um", f"pixel centres along {axis}, from the image's centre")
            for axis, n, pitch in zip("yx", shape, arrays["pixel_size"], strict=True)
        }
    group.dimensions = dict(zip(axes, shape, strict=True))
    for axis, (centres, unit, meaning) in axes.items():
        variable = group.create_variable(axis, (axis,), data=centres)
        variable.attrs["units"] = unit
        variable.attrs["long_name"] = meaning
    for name, (meaning, unit) in _VARIABLES.items():
        values = arrays.get(name)
        if values is None:
            continue
        values = np.asarray(values)
        stored = values.astype(np.uint8) if values.dtype == bool else values
        variable = group.create_variable(name, tuple(axes), data=stored, compression="gzip", compression_opts=4)
        variable.attrs["long_name"] = meaning
        variable.attrs["units"] = unit
    gates = arrays.get("gates", {})
    if gates:
        group.dimensions["gate"] = len(gates["start"])
    for name, values in gates.items():
        variable = group.create_variable(f"gate_{name}", ("gate",), data=np.asarray(values))
        unit, meaning = _GATES[name.removeprefix("model_").removesuffix("_error")]
        whose = ", by the model" if name.startswith("model_") else ""
        variable.attrs["long_name"] = f"{'error of ' if name.endswith('_error') else ''}{meaning}{whose}"
        variable.attrs["units"] = unit
    for name, values in arrays.get("series", {}).items():
        variable = group.create_variable(name, tuple(axes)[:-1], data=np.asarray(values))
        unit, meaning = _SERIES[name.removeprefix("model_").removesuffix("_error")]
        whose = "of the model's spectrum" if name.startswith("model_") else "of the spectrum"
        variable.attrs["long_name"] = f"{'its error: ' if name.endswith('_error') else ''}{meaning} {whose}"
        variable.attrs["units"] = unit
