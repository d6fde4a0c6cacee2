"""Spectra at every position of a scanned laser, as a `RasterScan`: the energy of their band, or the light within it.

Each spectrum is fitted by itself with a Gaussian line on an even ground (`fit.peaks`). The centre of the light that a
landscape sends out is its mean there as long as the line of a site is wider than the landscape varies in the spot.
"""

from typing import Any

import jax
import numpy as np

from excidiff.inverse.files.placed import has_spectra_at_places
from excidiff.inverse.files.scanfiles import read_raster_scan
from excidiff.inverse.files.scans import FEWEST, RasterScan
from excidiff.inverse.files.spectra import SpectralMap, read_spectral_map
from excidiff.inverse.files.units import parse_quantity
from excidiff.inverse.fit.peaks import follow_bands, stray_bins
from excidiff.solver.solution import InputError

EVEN = 0.01  # of a step, by which steps may differ
COARSE = 1.5  # χ² per degree of freedom of all bands above which their errors are widened by its root


OF_SPECTRA = ("wavelengths", "places", "uncertainty")


def read_any_scan(path: str, **options: Any) -> RasterScan:
    """A scan from what `read_raster_scan` reads, or from spectra over a map; `options` of either.

    Raises InputError for options that the file has no use for.
    """
    if not has_spectra_at_places(path):
        useless = [name for name in OF_SPECTRA[:2] if name in options]
        if useless:
            raise InputError(
                f"{path}: {' and '.join(useless)} are of spectra over a map, and it has none; leave them out"
            )
        return read_raster_scan(path, **options)
    known = ("quantity", "collection_fwhm", *OF_SPECTRA)
    useless = [name for name in options if name not in known]
    if useless:
        raise InputError(
            f"{path}: {' and '.join(useless)} given, of which spectra with axes have no use; leave it out ("
            f"{', '.join(known)} are what can be said of them)"
        )
    given = {name: options[name] for name in OF_SPECTRA if name in options}
    spectra = read_spectral_map(path, **given, mask_nonfinite=True)
    quantity, collection = options.get("quantity", "intensity"), options.get("collection_fwhm")
    return scan_of_spectra(spectra, quantity, collection_fwhm=collection)


def scan_of_spectra(spectra: SpectralMap, quantity: str, *, collection_fwhm: str | float | None = None) -> RasterScan:
    """A scan of a laser over a film whose light was seen through a spectrometer, place by place.

    quantity: "energy", the band's centre in meV, or "intensity", the photons within it. collection_fwhm: as of
    `read_raster_scan`. Places where no band is sure are masked; so are, within spectra, bins that cosmic rays hit.

    Raises InputError for places along a line only or on an uneven grid, another quantity, and where even the sum of all
    spectra shows no band.
    """
    if quantity not in ("energy", "intensity"):
        raise InputError(f'{spectra.file}: quantity = {quantity!r} of spectra; choose "energy" or "intensity"')
    step = tuple(_step(spectra, axis) for axis in ("y", "x"))
    counts = spectra.counts.reshape(-1, spectra.edges.size - 1)
    variance = None if spectra.uncertainty is None else spectra.uncertainty.reshape(counts.shape) ** 2
    used = ~stray_bins(counts, variance)
    with jax.enable_x64(True):
        peaks = follow_bands(counts, variance, spectra.edges, spectra.file, used)
    shape = spectra.counts.shape[:2]
    values, errors = (peaks.centre, peaks.centre_error) if quantity == "energy" else (peaks.light, peaks.light_error)
    seen = np.isfinite(values)
    notes, misfit = list(spectra.notes), float(np.mean(peaks.misfit[seen])) if seen.any() else 1.0
    if misfit > COARSE:
        errors = errors * np.sqrt(misfit)
        notes.append(f"the bands are no Gaussians (χ² {misfit:.3g} per degree of freedom): errors widened by its root")
    lost = seen.size - int(seen.sum())
    if lost:
        notes.append(f"{lost} of {seen.size} positions masked, whose spectra show no band that is sure")
    return RasterScan(
        values=np.where(seen, values, 0.0).reshape(shape),
        uncertainty=np.where(seen, errors, 1.0).reshape(shape),
        mask=seen.reshape(shape),
        step=step,  # type: ignore[arg-type]
        quantity=quantity,  # type: ignore[arg-type]
        collection=None if collection_fwhm is None else parse_quantity(collection_fwhm, "fwhm", name="collection_fwhm"),
        file=spectra.file,
        sha256=spectra.sha256,
        notes=tuple(notes),
    )


def _step(spectra: SpectralMap, axis: str) -> float:
    """From one place to the next."""
    places = np.asarray(getattr(spectra, axis))
    if places.size < FEWEST:
        raise InputError(
            f"{spectra.file}: {places.size} places along {axis}; a map of a film needs spectra at {FEWEST} × {FEWEST} "
            "positions of the laser or more; those along a line are fitted by excidiff fit --spectral-map"
        )
    steps = np.diff(places)
    if np.ptp(steps) > EVEN * steps.mean():
        raise InputError(f"{spectra.file}: its places along {axis} are uneven; a scan has even steps")
    return float(steps.mean())
