"""From measured images to a diffusion length: data, likelihoods, fits, uncertainty and reports.

    from excidiff.inverse import Experiment, read_image, read_images

    result = Experiment(images=read_images("spot.tif"), laser=read_image("laser.tif"), lifetime=5.0).fit()
    result                       # one screen: value ± error, unit, verdict
    result.save("film.nc")
    result.report("film.html")

Lengths are in µm, times in ns, energies in meV, temperatures in K. Modules are loaded when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from excidiff.inverse.experiment import Experiment
    from excidiff.inverse.files.absorption import Absorption, read_absorption
    from excidiff.inverse.files.data import Camera, Image
    from excidiff.inverse.files.decays import Decay, Response, read_decay, read_decays, read_response
    from excidiff.inverse.files.frames import read_frames, slit_frames
    from excidiff.inverse.files.labelled import Labelled, read_labelled
    from excidiff.inverse.files.readers import read_batch, read_image, read_images, read_map
    from excidiff.inverse.files.scanfiles import read_raster_scan
    from excidiff.inverse.files.scans import RasterScan
    from excidiff.inverse.files.spectra import SpectralMap, read_spectral_map
    from excidiff.inverse.files.streak import Streak, read_streak
    from excidiff.inverse.files.units import format_quantity, parse_quantity
    from excidiff.inverse.results.result import Estimate, FitResult, Measurement
    from excidiff.inverse.spectrascans import scan_of_spectra
    from excidiff.solver.solution import InputError, SolverError

_HOMES = {
    "Absorption": "excidiff.inverse.files.absorption",
    "Camera": "excidiff.inverse.files.data",
    "Decay": "excidiff.inverse.files.decays",
    "Estimate": "excidiff.inverse.results.result",
    "Experiment": "excidiff.inverse.experiment",
    "FitResult": "excidiff.inverse.results.result",
    "Image": "excidiff.inverse.files.data",
    "InputError": "excidiff.solver.solution",
    "Labelled": "excidiff.inverse.files.labelled",
    "Measurement": "excidiff.inverse.results.result",
    "RasterScan": "excidiff.inverse.files.scans",
    "Response": "excidiff.inverse.files.decays",
    "SolverError": "excidiff.solver.solution",
    "SpectralMap": "excidiff.inverse.files.spectra",
    "Streak": "excidiff.inverse.files.streak",
    "format_quantity": "excidiff.inverse.files.units",
    "parse_quantity": "excidiff.inverse.files.units",
    "read_absorption": "excidiff.inverse.files.absorption",
    "read_batch": "excidiff.inverse.files.readers",
    "read_decay": "excidiff.inverse.files.decays",
    "read_decays": "excidiff.inverse.files.decays",
    "read_frames": "excidiff.inverse.files.frames",
    "read_image": "excidiff.inverse.files.readers",
    "read_images": "excidiff.inverse.files.readers",
    "read_labelled": "excidiff.inverse.files.labelled",
    "read_map": "excidiff.inverse.files.readers",
    "read_raster_scan": "excidiff.inverse.files.scanfiles",
    "read_response": "excidiff.inverse.files.decays",
    "read_spectral_map": "excidiff.inverse.files.spectra",
    "read_streak": "excidiff.inverse.files.streak",
    "scan_of_spectra": "excidiff.inverse.spectrascans",
    "slit_frames": "excidiff.inverse.files.frames",
}

__all__ = [
    "Absorption",
    "Camera",
    "Decay",
    "Estimate",
    "Experiment",
    "FitResult",
    "Image",
    "InputError",
    "Labelled",
    "Measurement",
    "RasterScan",
    "Response",
    "SolverError",
    "SpectralMap",
    "Streak",
    "format_quantity",
    "parse_quantity",
    "read_absorption",
    "read_batch",
    "read_decay",
    "read_decays",
    "read_frames",
    "read_image",
    "read_images",
    "read_labelled",
    "read_map",
    "read_raster_scan",
    "read_response",
    "read_spectral_map",
    "read_streak",
    "scan_of_spectra",
    "slit_frames",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
