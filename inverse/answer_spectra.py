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
from excidiff.inverse.fit.colours import BINS
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.spectral import SpectralFit
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.lifetimes import MeasuredDecay, agreement
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.inverse.spectralmaps import MeasuredMap, is_nothing, undetermined

METHODS = (
    "The spectral map was fitted with the exact spectra of a uniform film in steady light, in which excitons of each "
    "age lie in a Gaussian of variance s² + 2Dt{relaxing}{guiding}, seen through the collection spot and integrated "
    "over the cells of the scan and, with {line} line, between the edges of the wavelength bins{traps}, by the maximum "
    "of the {noise} likelihood "
    "(Fisher scoring). Errors are from the expected information at the optimum, with those of the widths of laser and "
    "collection included; the intervals of what exceeds a tenth of its value, and of what hangs together with a number "
    "that is very unsure, are those of the profile likelihood. Peaks and widths of single spectra are those of a "
    "Gaussian line fitted to each."
)
RELAXING = (
    " and share their energies as they do after that time of relaxation (Metropolis rates among {bins} bins of a "
    "Gaussian density of states, {temperature:g} K)"
)
GUIDING = (
    "; to the light seen where it is emitted comes light guided along the film and scattered out elsewhere, "
    "η ∫ e(r′, E) exp(−(α(E) + κ)d)/(2πd) dr′, with the absorption α of {file}"
)
LINES = {"gaussian": "a Gaussian", "voigt": "a Voigt"}
TELLING = 6.0
"""Of the deviance of two mechanisms with as many numbers, that tells them apart: odds of twenty to one."""
TRAPS = ", with a second Gaussian band of the light of traps"

POINTS = (
    "No collection spot was given (--collection-fwhm): the spectrometer is taken to see points, and any blur is then "
    "counted as diffusion."
)


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
    shown: str = "the decay shows",
) -> FitResult:
    """The result of a spectral map, perhaps with decays; `chosen`: the model was left to the program; shown: what tells
    the lifetime, in words."""
    entry = found.measurement
    parameters = dict(entry.parameters)
    parameters["stokes_shift"] = Estimate(None, unit="meV", identifiable=False)
    parameters["laser_fwhm"] = width_estimate(optics.source, "fitted" if optics.laser else "given")
    if collection is not None:
        parameters["collection_fwhm"] = width_estimate(collection, "given")
    spoken = [*on_spectra(found, lifetime, chosen=chosen, shown=shown), *say.on_decays(decays, agreement(decays))]
    seen = optics.warnings if optics.laser is not None else ()  # a PSF has no part in what a fibre collects
    notes = [*seen, *(note for decay in decays for note in decay.notes)]
    notes += [f"{entry.file}: {note}" for note in doubts(found.spectral_map.notes)]
    if found.fit.relaxing and settings.get("temperature") is None:
        notes.append(f"No temperature was given: {found.temperature:g} K is taken.")
    if collection is None:
        notes.append(POINTS)
    measurements = (entry, *(decay.measurement for decay in decays))
    kind = "with energy relaxation" if found.fit.relaxing else "without energy relaxation"
    kind = "with light absorbed again along the film" if found.fit.guiding else kind
    kind += ", a Voigt line" if found.fit.line == "voigt" else ""
    return FitResult(
        status="converged" if all(one.status == "fitted" for one in measurements) else "partial",
        model=f"uniform film, linear, steady state, {kind}{', a band of traps' if found.fit.trapped else ''}",
        verdicts=tuple(spoken),
        warnings=tuple(dict.fromkeys(notes)),
        parameters=parameters,
        measurements=measurements,
        goodness=overall_goodness(measurements),
        laser=None if optics.laser is None else laser_measurement(optics.laser, optics),
        correlations=found.fit.correlation(
            {name: {"attempts": "attempts_per_lifetime"}.get(name, name) for name in found.fit.names if name != "width"}
        ),
        settings=settings,
        methods=_methods(found, settings),
    )


def on_spectra(found: MeasuredMap, lifetime: Estimate, *, chosen: bool, shown: str) -> list[str]:
    """What the spectra determine, and what no spectra of this kind could."""
    entry, fit = found.measurement, found.fit
    values = entry.parameters
    said = [] if entry.status == "fitted" else [f"{entry.file} is flagged: {entry.reason}."]
    said += _guided(found) if fit.guiding else _relaxation(found, chosen)
    said += _between(fit) + _line(found)
    told = "Steady light fixes the diffusion length L = √(Dτ)"
    told += " and the attempts to relax in a lifetime, ντ, only" if fit.relaxing else " only"
    what = "D and ν" if fit.relaxing else "D"
    if lifetime.value is None or lifetime.at_bound:
        said.append(f"{told}: give the lifetime, from a decay of this film, to obtain {what}.")
    else:
        source = "was given" if lifetime.origin == "given" else shown
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
    fit, values = found.fit, found.measurement.parameters
    if not fit.relaxing:
        way = ", and a model with relaxation explains no more" if chosen else ""
        return [f"The spectra are fitted as alike at all places{way}: disorder and line are one width here."]
    said = []
    if redder := _redder(found):
        others = "a landscape or traps that fill" if fit.rival else "a landscape, traps that fill or reabsorption"
        said.append(
            f"{redder}: excitons sink to lower sites as they spread. Uniform traps cannot do that, as they take from "
            f"all colours alike; {others} could, and are not in this fit."
        )
    open_ends = [name for name in undetermined(values) if name != "lorentzian"]
    if open_ends:
        names = " and ".join(
            name.replace("_", " ").replace("attempts per lifetime", "relaxation") for name in open_ends
        )
        said.append(
            f"The spectra do not fix {names}: a slow and a fast relaxation, or disorder and line, exchange for each "
            "other here. Time-resolved spectra, places further out, or another temperature would tell them apart."
        )
    return said


def _guided(found: MeasuredMap) -> list[str]:
    """What the spectra say of light that is guided along the film and absorbed on its way."""
    values, redder = found.measurement.parameters, _redder(found)
    out, loss = values["outcoupling"], values["guiding_loss"]
    if is_nothing(out):
        limit = f": η {in_words(out)}, in photons per photon seen directly" if out.value is not None else ""
        return [
            f"The spectra do not tell light scattered out along the film from none{limit}. They are fitted as well by "
            "a film without it (--model free)."
        ]
    said = []
    if redder:
        said.append(
            f"{redder}: light guided along the film is absorbed again on its way, the blue before the red, and what is "
            "scattered out further away is redder."
        )
    said.append(
        f"Guided light is scattered out of the film at η = {in_words(out)} of its way, in photons per photon seen "
        "directly: the share that is guided and the rate at which it is scattered are in this as a product, the only "
        "thing that is seen. The absorption is taken as known, and what is absorbed as lost: photon recycling counts "
        "as diffusion."
    )
    if loss.value is None or loss.stderr is None:
        limit = "" if loss.value is None else f", only that it is {in_words(loss)}"
        said.append(
            f"The spectra do not fix what guided light loses beside absorption, κ{limit}: it would show further away, "
            "where the film absorbs nothing."
        )
    return said


def _between(fit: SpectralFit) -> list[str]:
    """Whether relaxation and guided light, each of which explains something, are told apart."""
    if fit.rival is None:
        return []
    one, other = ("guided light absorbed again", "energy relaxation")[:: 1 if fit.guiding else -1]
    if fit.rival < TELLING:
        return [
            f"The spectra cannot tell {one} from {other}, whose deviance is higher by {fit.rival:.2g} only: take the "
            "numbers of either as possible. Time-resolved spectra would tell them apart, since guided light arrives at "
            "once and relaxation takes time."
        ]
    return [f"Of the two, {one} explains the spectra better than {other}, by {fit.rival:.3g} of the deviance."]


def _line(found: MeasuredMap) -> list[str]:
    """Whether a Voigt line has wings, and whether it has more than those."""
    if found.fit.line != "voigt":
        return []
    own, wings = (found.measurement.parameters[name] for name in ("linewidth", "lorentzian"))
    if is_nothing(wings):
        limit = f", FWHM {in_words(wings)}" if wings.value is not None else ""
        return [f"The spectra do not tell the Lorentzian part of the line from none{limit}: a Gaussian does as well."]
    beside = f"a Gaussian of σ {in_words(own)}" if own.value is not None else "a Gaussian whose width stays open"
    return [f"The line of a site has wings: a Lorentzian, FWHM {in_words(wings)}, beside {beside}."]


def _redder(found: MeasuredMap) -> str:
    """By how much the band is redder where light is dim, in words; empty where the model's spectra show no peak."""
    shift = found.shift
    if shift is None:
        return ""
    nm = shift * PLANCK_C / found.fit.value("band_centre") ** 2
    side = "reddens" if shift >= 0 else "turns bluer"
    return f"The band {side} by {abs(shift):.3g} meV ({abs(nm):.2g} nm) from the brightest places to the dimmest"


def _methods(found: MeasuredMap, settings: dict[str, Any]) -> str:
    fit = found.fit
    relaxing = RELAXING.format(bins=BINS, temperature=found.temperature) if fit.relaxing else ""
    return METHODS.format(
        relaxing=relaxing,
        guiding=GUIDING.format(file=settings.get("absorption")) if fit.guiding else "",
        line=LINES[fit.line],
        traps=TRAPS if fit.trapped else "",
        noise="Poisson" if fit.photons else "Gaussian",
    )
