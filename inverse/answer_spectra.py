"""The answer to a spectral map: values, what they rest on and what the spectra cannot tell, and the methods."""

from collections.abc import Sequence
from math import hypot
from typing import Any

import numpy as np

from excidiff.inverse import verdicts as say
from excidiff.inverse.batch import overall_goodness
from excidiff.inverse.derived import laser_measurement, width_estimate
from excidiff.inverse.files.noise import doubts
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.fit.colours import BINS, SPECTRAL
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.lifetimes import MeasuredDecay, agreement
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.inverse.spectralmaps import MeasuredMap, undetermined

METHODS = (
    "The spectral map was fitted with the exact spectra of a uniform film in steady light, in which excitons of each "
    "age lie in a Gaussian of variance s² + 2Dt{relaxing}, seen through the collection spot and integrated over the "
    "cells of the scan and between the edges of the wavelength bins{traps}, by the maximum of the {noise} likelihood "
    "(Fisher scoring). Errors are from the expected information at the optimum, with those of the widths of laser and "
    "collection included. Peaks and widths of single spectra are those of a Gaussian line fitted to each."
)
RELAXING = (
    " and share their energies as they do after that time of relaxation (Metropolis rates among {bins} bins of a "
    "Gaussian density of states, {temperature:g} K)"
)
TRAPS = ", with a second Gaussian band of the light of traps"


def collection_known(optics: Optics, collection: Given | None) -> Known:
    """The width of laser ⊗ collection spot as log σ with its error."""
    parts = [optics.source] + ([] if collection is None else [collection])
    total = sum(part.value**2 for part in parts)
    error = hypot(*(part.value * part.stderr for part in parts)) / total
    return Known(("width",), np.array([np.log(np.sqrt(total) / FWHM)]), np.array([[error**2]]))


def answer_map(
    found: MeasuredMap,
    optics: Optics,
    collection: Given | None,
    lifetime: Estimate,
    decays: Sequence[MeasuredDecay],
    settings: dict[str, Any],
    *,
    chosen: bool,
) -> FitResult:
    """The result of a spectral map, perhaps with decays; `chosen`: the model was left to the program."""
    entry = found.measurement
    parameters = dict(entry.parameters)
    parameters["stokes_shift"] = Estimate(None, unit="meV", identifiable=False)
    parameters["laser_fwhm"] = width_estimate(optics.source, "fitted" if optics.laser else "given")
    if collection is not None:
        parameters["collection_fwhm"] = width_estimate(collection, "given")
    spoken = [*on_spectra(found, lifetime, chosen=chosen), *say.on_decays(decays, agreement(decays))]
    seen = optics.warnings if optics.laser is not None else ()  # a PSF has no part in what a fibre collects
    notes = [*seen, *(note for decay in decays for note in decay.notes)]
    notes += [f"{entry.file}: {note}" for note in doubts(found.spectral_map.notes)]
    if found.fit.relaxing and settings.get("temperature") is None:
        notes.append(f"No temperature was given: {found.temperature:g} K is taken.")
    if collection is None:
        notes.append(
            "No collection spot was given (--collection-fwhm): the spectrometer is taken to see points, and any blur "
            "is then counted as diffusion."
        )
    measurements = (entry, *(decay.measurement for decay in decays))
    kind = "with energy relaxation" if found.fit.relaxing else "without energy relaxation"
    return FitResult(
        status="converged" if all(one.status == "fitted" for one in measurements) else "partial",
        model=f"uniform film, linear, steady state, {kind}{', a band of traps' if found.fit.trapped else ''}",
        verdicts=tuple(spoken),
        warnings=tuple(dict.fromkeys(notes)),
        parameters=parameters,
        measurements=measurements,
        goodness=overall_goodness(measurements),
        laser=None if optics.laser is None else laser_measurement(optics.laser),
        correlations=found.fit.correlation(
            {name: {"attempts": "attempts_per_lifetime"}.get(name, name) for name in SPECTRAL if name != "width"}
        ),
        settings=settings,
        methods=_methods(found),
    )


def on_spectra(found: MeasuredMap, lifetime: Estimate, *, chosen: bool) -> list[str]:
    """What the spectra determine, and what no spectra of this kind could."""
    entry, fit = found.measurement, found.fit
    values = entry.parameters
    said = [] if entry.status == "fitted" else [f"{entry.file} is flagged: {entry.reason}."]
    said += _relaxation(found, chosen)
    told = "Steady light fixes the diffusion length L = √(Dτ)"
    told += " and the attempts to relax in a lifetime, ντ, only" if fit.relaxing else " only"
    what = "D and ν" if fit.relaxing else "D"
    if lifetime.value is None or lifetime.at_bound:
        said.append(f"{told}: give the lifetime, from a decay of this film, to obtain {what}.")
    else:
        source = "was given" if lifetime.origin == "given" else "the decay shows"
        verb = "rest" if fit.relaxing else "rests"
        said.append(f"{told}: {what} {verb} on the lifetime that {source}, {in_words(lifetime)}.")
    if fit.trapped:
        said.append(
            f"A second band, {in_words(values['trap_band_centre'])}, holds {100 * fit.value('trap_band_share'):.3g} % "
            "of the light at every place: traps that light up where they caught. How fast they catch it does not tell: "
            "their yield is not known."
        )
    said.append(
        "The emission alone does not tell the Stokes shift: the band's centre is that of the emission, lower by the "
        "Stokes shift than where the sites absorb."
    )
    return said


def _relaxation(found: MeasuredMap, chosen: bool) -> list[str]:
    """Whether excitons sink in energy as they spread."""
    fit, values, shift = found.fit, found.measurement.parameters, found.shift
    if not fit.relaxing:
        way = ", and a model with relaxation explains no more" if chosen else ""
        return [f"The spectra are fitted as alike at all places{way}: disorder and line are one width here."]
    said = []
    if shift is not None:
        centre = fit.value("band_centre")
        nm = shift * PLANCK_C / centre**2
        side = "reddens" if shift >= 0 else "turns bluer"
        said.append(
            f"The band {side} by {abs(shift):.3g} meV ({abs(nm):.2g} nm) from the brightest places to the dimmest: "
            "excitons sink to lower sites as they spread. Uniform traps cannot do that, as they take from all colours "
            "alike; a landscape, traps that fill or reabsorption could, and are not in this fit."
        )
    open_ends = undetermined(values)
    if open_ends:
        names = " and ".join(
            name.replace("_", " ").replace("attempts per lifetime", "relaxation") for name in open_ends
        )
        said.append(
            f"The spectra do not fix {names}: a slow and a fast relaxation, or disorder and line, exchange for each "
            "other here. Time-resolved spectra, places further out, or another temperature would tell them apart."
        )
    return said


def _methods(found: MeasuredMap) -> str:
    told = RELAXING.format(bins=BINS, temperature=found.temperature) if found.fit.relaxing else ""
    return METHODS.format(
        relaxing=told, traps=TRAPS if found.fit.trapped else "", noise="Poisson" if found.fit.photons else "Gaussian"
    )
