"""What was asked of an experiment, as plain values that a result keeps."""

from typing import Any

import numpy as np

from excidiff.inverse.files.decays import Response
from excidiff.inverse.files.frames import gate_pairs

PLAIN = ("laser_fwhm", "psf_fwhm", "laser_wavelength", "emission_wavelength", "magnification_error", "lifetime",
         "noise", "background", "interval")  # fmt: skip
CAMERA = ("gain", "offset", "read_noise", "excess_noise", "gain_known")


def account(experiment: Any) -> dict[str, Any]:
    """Everything that was asked for of an `Experiment`."""
    film, gates = experiment.film, experiment.gates
    images = [*experiment.images, *(() if experiment.series is None else experiment.series.images)]
    return {
        "images": [image.name for image in images],
        **_of_series(experiment),
        **_of_map(experiment),
        **_of_decays(experiment),
        "laser": None if experiment.laser is None else experiment.laser.name,
        "psf": None if experiment.psf is None else experiment.psf.name,
        **{name: getattr(experiment, name) for name in PLAIN},
        **_of_draws(experiment),
        **({} if film is None else {"landscape": film.file, "temperature": film.temperature}),
        "gates": None if gates is None else np.asarray(gate_pairs(gates, experiment.images)).tolist(),
        "fixed": dict(experiment.fixed),
        "bounds": {name: list(pair) for name, pair in experiment.bounds.items()},
        "starts": dict(experiment.starts),
        "priors": {name: list(pair) for name, pair in experiment.priors.items()},
        "tied": list(experiment.tied),
        **_of_camera(images),
    }


def _of_draws(experiment: Any) -> dict[str, Any]:
    return {"draws": experiment.draws, "seed": experiment.seed} if experiment.intervals.random else {}


def _of_camera(images: list[Any]) -> dict[str, Any]:
    if not images:
        return {}
    return {
        "pixel_size": list(images[0].spacing),
        "pixel_size_origin": images[0].pixel_size_origin,
        "camera": {name: getattr(images[0].camera, name) for name in CAMERA},
    }


def _of_map(experiment: Any) -> dict[str, Any]:
    scan = experiment.spectral_map
    if scan is None:
        return {}
    return {
        "spectral_map": scan.file,
        "step": scan.step,
        "slit": scan.slit,
        "spectral_map_read": "; ".join(scan.notes),
        "collection_fwhm": experiment.collection_fwhm,
        "temperature": experiment.temperature,
        "line": experiment.line,
        "absorption": None if experiment.absorption is None else experiment.absorption.file,
        "model": experiment.model,
    }


def _of_series(experiment: Any) -> dict[str, Any]:
    series = experiment.series
    if series is None:
        return {}
    return {
        "image_densities": list(series.image_densities),
        "frames": [movie.images[0].file for movie in series.frames],
        "frames_densities": list(series.frames_densities),
        "frames_gates": [np.asarray(movie.gates).tolist() for movie in series.frames],
        "decays": [decay.file for decay in series.decays],
        "decays_read": ["; ".join(decay.notes) for decay in series.decays],
        "decay_densities": list(series.decay_densities),
        "spectral_maps": [scan.file for scan in series.spectral_maps],
        "spectral_maps_read": ["; ".join(scan.notes) for scan in series.spectral_maps],
        "map_densities": list(series.map_densities),
        "scans": [scan.file for scan in series.scans],
        "scans_read": ["; ".join(scan.notes) for scan in series.scans],
        "scan_quantities": [scan.quantity for scan in series.scans],
        "scan_collections": [scan.collection for scan in series.scans],
        "scan_densities": list(series.scan_densities),
        **({"collection_fwhm": experiment.collection_fwhm, "line": experiment.line} if series.spectral_maps else {}),
        "exposure": series.exposure,
        "scale": series.scale,
        "emission": series.emission,
        "uniform": series.uniform,
        "model": experiment.model,
    }


def _of_decays(experiment: Any) -> dict[str, Any]:
    decays = experiment.decays
    if not decays:
        return {}
    told = {
        "irf": [decay.irf.file for decay in decays if isinstance(decay.irf, Response)],
        "irf_fwhm": [decay.irf for decay in decays if decay.irf and not isinstance(decay.irf, Response)],
        "period": [decay.period for decay in decays if decay.period],
        "aperture_fwhm": [decay.aperture_fwhm for decay in decays if decay.aperture_fwhm],
    }
    kept = {name: list(dict.fromkeys(values)) for name, values in told.items()}
    names = {"decays": [decay.file for decay in decays], "model": experiment.model, "components": experiment.components}
    return names | kept | {"decays_read": ["; ".join(decay.notes) for decay in decays if decay.notes]}
