"""The answer to a fluence series: which model of the film its powers ask for, its numbers, and what stays open."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Any

import numpy as np

from excidiff.inverse.answer_spectra import POINTS
from excidiff.inverse.batch import failed, overall_goodness
from excidiff.inverse.derived import laser_measurement, width_estimate
from excidiff.inverse.estimates import is_limit
from excidiff.inverse.files.decays import Histogram, Response
from excidiff.inverse.files.fluences import FluenceSeries, named
from excidiff.inverse.files.noise import doubts
from excidiff.inverse.fit.layout import FILMS, TRAP_BAND
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.pulses import Told
from excidiff.inverse.fit.response import above_dark
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.trials import TRIED
from excidiff.inverse.fluences import MeasuredSeries, measure_series
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.inverse.results.wording import label

WORDS = {
    "free": "one lifetime alone",
    "annihilation": "annihilation of two excitons",
    "traps": "traps that never fill",
    "saturable traps": "traps that fill",
}
METHODS = (
    "All measurements were fitted together with one film, {model}, after {pulses} of the given peak "
    "densities, by the maximum of the {likelihood} (Fisher scoring). The diffusion-recombination equation was "
    "solved for the round spot in Bessel modes, with local kinetics solved exactly in each of {steps} graded steps in "
    "time (sixth order by extrapolation); images and frames are blurred by the PSF and integrated over pixels, frames "
    "over their gates, decays over bins{spectra}. "
    "Scales between excitons and photons are {scale}. The fit was made from the best of {tried} films spread over what "
    "could be{started}. Errors are from the expected information at the optimum; where one "
    "exceeds a tenth of its value, the interval is that of the profile likelihood."
)
OF_SPECTRA = (
    "; spectra are bands of free and, where they show, of trapped excitons, blurred by the collection spot and "
    "averaged over cells and integrated over colours"
)
OF_SCANS = "; of scans the mean over positions was fitted: the number of photons, or their mean age"
SHARPER = 3.0  # times the photons of a decay, that its response must have for its own noise to be left out
CLEAR = 6.0  # of BIC: odds of twenty to one
SCALES = {
    "shared": "one for all data but spectra",
    "kind": "one for each kind of data",
    "free": "free for each measurement",
}


def fit_powers(
    series: FluenceSeries,
    model: str | None,
    constraints: Constraints,
    optics: Optics | None,
    lifetime: Given | None = None,
    collection: Given | None = None,
    line: str = "gaussian",
) -> tuple[MeasuredSeries, list[MeasuredSeries]]:
    """(the chosen fit, all that were made): `model`, or the first of `FILMS` that nothing speaks against.

    The next one is tried, too, and kept if its BIC is clearly smaller.

    Where something speaks against all of them, the one with the least BIC. Raises InputError as `measure_series`.
    """
    of_film = set().union(*FILMS.values())
    film = {name: (one, error / one) for name, (one, error) in constraints.priors.items() if name in of_film}
    told = Told(
        width=None if optics is None else _relative(optics.source, FWHM),
        psf=None if optics is None or optics.psf is None else _relative(optics.psf, FWHM),
        film=film if lifetime is None else {**film, "lifetime": _relative(lifetime)},
        collection=None if collection is None else _relative(collection, FWHM),
        line=line,
    )
    tried: list[MeasuredSeries] = []
    best = None
    for name in FILMS if model is None else (model,):
        own = _for_model(constraints, name)
        tried.append(measure_series(series, name, own, told))
        if model is None and best is not None and bic(tried[-1]) > bic(best) - CLEAR:
            return best, tried  # a film more does not explain clearly more than one that nothing speaks against
        if tried[-1].accepted:
            best = tried[-1]
    if best is not None:
        return best, tried
    return min(tried, key=bic), tried


def _relative(given: Given, unit: float = 1.0) -> tuple[float, float]:
    """(value in so many of a unit, relative error)."""
    return given.value / unit, given.stderr / given.value


def bic(found: MeasuredSeries) -> float:
    """Deviance + k log n: Schwarz, Annals of Statistics 6 (1978) 461; n is the number of bins and pixels."""
    size = sum(int(entry.goodness["pixels"]) for entry in found.measurements)
    return found.deviance + found.freedom * log(size)


def _for_model(constraints: Constraints, model: str) -> Constraints:
    """What was said of the numbers that this model has."""
    told = constraints.without(set().union(*FILMS.values()) - set(FILMS[model]))
    return told if "traps" in model else told.without(TRAP_BAND)


def answer_series(
    found: MeasuredSeries,
    tried: Sequence[MeasuredSeries],
    optics: Optics | None,
    settings: dict[str, Any],
    unreadable: Sequence[tuple[int, str, str]] = (),
    collection: Given | None = None,
) -> FitResult:
    """The result of a fluence series; `unreadable`: (place, file, reason) of images that are not in it; collection: the
    FWHM of what the spectrometer sees at once."""
    measurements = list(found.measurements)
    for place, name, reason in sorted(unreadable):
        measurements.insert(place, failed(name, reason))
    told = {name: reason.removeprefix(f"{name}: ") for _, name, reason in sorted(unreadable)}
    left_out = [f"{name} is not in the fit: {reason}." for name, reason in told.items()]
    parameters = dict(found.parameters)
    if collection is not None:
        parameters["collection_fwhm"] = width_estimate(collection, "given")
    if optics is not None:
        parameters["laser_fwhm"] = width_estimate(optics.source, "fitted" if optics.laser else "given")
        if optics.psf is not None and found.fit.pictures:
            parameters["psf_fwhm"] = width_estimate(optics.psf, "fitted" if optics.psf_image else "given")
    laser = None if optics is None or optics.laser is None else laser_measurement(optics.laser, optics)
    scale = SCALES[found.series.scale]
    started = ", and from a start that was given" if settings.get("starts") else ", without start values"
    return FitResult(
        status="converged" if found.accepted and not unreadable else "partial",
        model=f"uniform film, {_laser(found.series)} of {len(found.series.shots)} densities, {WORDS[found.fit.model]}",
        verdicts=(*left_out, *on_powers(found, tried)),
        warnings=_warnings(found, optics, collection),
        parameters=parameters,
        measurements=tuple(measurements),
        goodness=overall_goodness(found.measurements) | ({} if found.made is None else {"sampling": found.made}),
        laser=laser,
        correlations=found.fit.correlation({name: name for name in found.parameters}),
        settings=settings,
        methods=METHODS.format(
            model=WORDS[found.fit.model],
            pulses=_pulses(found.series),
            likelihood=_likelihood(found.series),
            steps=found.fit.layout.steps,
            tried=TRIED,
            scale=scale,
            started=started,
            spectra=OF_SPECTRA * bool(found.series.spectral_maps) + OF_SCANS * bool(found.series.scans),
        ),
    )


def _warnings(found: MeasuredSeries, optics: Optics | None, collection: Given | None) -> tuple[str, ...]:
    """What may have gone wrong with the optics, and what was noted of the data."""
    series = found.series
    said = list(optics.warnings) if optics is not None and found.fit.pictures else []
    if series.spectral_maps and collection is None:
        said.append(POINTS)
    data = [*((image.name, image.notes) for image in series.images),
            *((named(movie), dict.fromkeys(note for image in movie.images for note in image.notes))
              for movie in series.frames),
            *((decay.file, decay.notes) for decay in series.decays),
            *((scan.file, doubts(scan.notes)) for scan in series.spectral_maps),
            *((scan.file, scan.doubts) for scan in series.scans)]  # fmt: skip
    return (*said, *(note if name in note else f"{name}: {note}" for name, notes in data for note in notes))


def _laser(series: FluenceSeries) -> str:
    """The pulses in two words or three."""
    return "single pulses" if series.period is None else f"pulses every {series.period:.4g} ns"


def _pulses(series: FluenceSeries) -> str:
    """The same for the methods."""
    if series.period is None:
        return "single Gaussian pulses"
    return f"Gaussian pulses every {series.period:.4g} ns, once the film repeats from pulse to pulse,"


def _likelihood(series: FluenceSeries) -> str:
    """What was maximised, in words."""
    images = (*series.images, *(image for movie in series.frames for image in movie.images))
    data = (*images, *series.spectral_maps, *series.decays)
    own = [one.uncertainty is not None for one in data] + [True for _ in series.scans]
    words = "likelihood of Gaussian errors" if all(own) else "Poisson likelihood"
    if any(own) and not all(own):
        words += ", of data with errors of their own that of Gaussian ones"
    if any(image.camera.excess_noise != 1 for image in images if image.uncertainty is None):
        words += ", of a multiplying camera F² times that of counts/F²"
    return words


def on_powers(found: MeasuredSeries, tried: Sequence[MeasuredSeries]) -> list[str]:
    """Which model the powers ask for, what of it they determine, and what would tell the rest."""
    said = [f"{entry.file} is flagged: {entry.reason}." for entry in found.measurements if entry.status != "fitted"]
    said += _choice(found, tried)
    densities = [shot.density for shot in found.series.shots]
    model, values = found.fit.model, found.parameters
    open_ends = [name for name in FILMS[model] if name in values and _open(values[name])]
    if open_ends:
        names = " and ".join(label(name) for name in open_ends)
        said.append(f"The data do not determine {names}{_limits(values, open_ends)}. {_cure(model, densities)}")
    if model == "saturable traps" and not _open(values["trap_density"]):
        said.append(
            "Trap density and capture rest on the peak densities that were given: were these all 10 % higher, the trap "
            f"density {in_words(values['trap_density'])} would be 10 % higher and the capture 10 % lower; their "
            f"product, the trapping rate {in_words(values['trapping_rate'])}, would stay."
        )
    if model in ("traps", "saturable traps"):
        said.append(
            "The lifetime is that of free excitons apart from the traps; the diffusion length is that at low density, "
            "with the traps taking part."
        )
    said += _on_spectra(found) + _on_scans(found)
    said += _on_responses(found)
    if model == "annihilation":
        said.append("The annihilation, too, rests on the peak densities: it is in inverse proportion to them.")
    return said


def _on_spectra(found: MeasuredSeries) -> list[str]:
    """How much of the light in spectra is of traps, and what follows for all other light."""
    if not found.series.spectral_maps or "traps" not in found.fit.model:
        return []
    if not found.fit.banded:
        return ["The spectra show no band of traps beside that of free excitons."]
    shares = [entry.parameters["trap_band_share"] for entry in found.measurements if entry.kind == "spectral_map"]
    ends = [in_words(replace(one, value=100 * (one.value or 0.0), stderr=100 * (one.stderr or 0.0), unit="%"))
            for one in (shares[0], shares[-1])]  # fmt: skip
    told = f"{ends[0]} of the light after the weakest pulse and {ends[1]} after the strongest" if len(shares) > 1 else (
        f"{ends[0]} of the light")  # fmt: skip
    said = f"In the spectra {told} is of traps."
    if found.fit.pictures or found.fit.decays:
        said += " Images, frames and decays are taken as light of free excitons: a filter should keep the traps' out."
    return [said]


def _on_scans(found: MeasuredSeries) -> list[str]:
    """Whether the film is as even as it is taken to be, and what the lifetimes of scans must be."""
    said, uneven = [], [one for one in found.fit.surveyed if one.uneven]
    if uneven:
        most = max(one.spread for one in uneven)
        names = ", ".join(dict.fromkeys(one.scan.file for one in uneven))
        said.append(
            f"The film differs from place to place ({names}: by up to {100 * most:.2g} % r.m.s. beyond noise). Its "
            "numbers are those of the mean, as if it were even, with errors from the scatter between parts of the "
            "scan; excidiff map of a scan shows where it differs."
        )
    if any(one.look.ages for one in found.fit.surveyed) and found.fit.model != "free":
        said.append(
            "Lifetimes of scans are taken for the mean age of all photons, which is what the decay's mean time of "
            "arrival is; one exponential fitted to a decay of several gives another number."
        )
    return said


def _on_responses(found: MeasuredSeries) -> list[str]:
    """Measured responses whose own noise, which no error here has in it, is not small beside that of their decays.

    A bootstrap has it in, where it measured them again.
    """
    again = found.made is not None and found.made["method"] == "bootstrap"
    noisy = [
        shot.decay.file
        for shot in found.series.shots
        if shot.decay is not None
        and isinstance(shot.decay.irf, Response)
        and not (again and shot.decay.irf.noise is not None)
        and _worth(shot.decay.irf, above_dark(shot.decay.irf.counts)[0]) < SHARPER * _worth(shot.decay)
    ]
    if not noisy:
        return []
    return [
        f"The response of {', '.join(noisy)} holds fewer than {SHARPER:g} times the photons of the decay: its own "
        "noise is not in the errors, which are too small for what rests on the rise of the light."
    ]


def _worth(curve: Histogram, light: np.ndarray | None = None) -> float:
    """How many photons would be as sure as a curve, or as its `light`: Σ y, of data with errors Σ (y²/σ² − 1)."""
    y = curve.counts if light is None else light
    return float(y.sum() if curve.uncertainty is None else np.maximum((y / curve.uncertainty) ** 2 - 1, 0.0).sum())


def _choice(found: MeasuredSeries, tried: Sequence[MeasuredSeries]) -> list[str]:
    """Which films were held against the data, and how they fared."""
    if not found.accepted:
        nearest = f"; of them {WORDS[found.fit.model]} comes nearest (least BIC)" if len(tried) > 1 else ""
        what = (
            "None of the films describes"
            if len(tried) > 1
            else f"A film with {WORDS[found.fit.model]} does not describe"
        )
        return [
            f"{what} all of the data{nearest}. Check the peak densities, the exposure and the response; the errors are "
            "those of a model that does not hold."
        ]
    if len(tried) < 2:
        return [f"A film with {WORDS[found.fit.model]} describes all of the data; others were not tried."]
    rejected = [WORDS[one.fit.model] for one in tried if not one.accepted]
    more = [WORDS[one.fit.model] for one in tried if one.accepted and one is not found]
    said = f"The simplest film that describes all of the data has {WORDS[found.fit.model]}"
    said += f"; films with {' or '.join(rejected)} do not" if rejected else ""
    return [said + (f"; {' or '.join(more)} would explain no more." if more else ".")]


def _open(entry: Estimate) -> bool:
    """Whether there is no number, or a limit only."""
    return entry.value is None or is_limit(entry, 0) or is_limit(entry, 1)


def _limits(values: dict[str, Estimate], names: Sequence[str]) -> str:
    told = [f"{label(name)} {in_words(values[name])}" for name in names if values[name].value is not None]
    return f" ({', '.join(told)})" if told else ""


def _cure(model: str, densities: Sequence[float]) -> str:
    if model != "saturable traps":
        return "A longer window, more photons or a wider range of powers would tell it."
    if np.max(densities) < 3 * np.min(densities):
        return (
            "Where few traps are filled only their product, the trapping rate, shows: add pulses so strong that the "
            "decay slows down, and others so weak that it no longer changes."
        )
    return "More powers around those at which the decay begins to slow down, or a longer window, would tell it."
