"""The answer to a fluence series: which model of the film its powers ask for, its numbers, and what stays open."""

from collections.abc import Sequence
from math import log
from typing import Any

from excidiff.inverse.answer_spectra import POINTS
from excidiff.inverse.batch import failed, overall_goodness
from excidiff.inverse.derived import imaged_width, laser_measurement, scaling, width_estimate
from excidiff.inverse.files.fluences import FluenceSeries, named
from excidiff.inverse.files.noise import doubts
from excidiff.inverse.fit.layout import FILMS, TRAP_BAND
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.told import PixelSize, Told
from excidiff.inverse.fit.trials import TRIED
from excidiff.inverse.fluences import MeasuredSeries, measure_series
from excidiff.inverse.powerverdicts import WORDS, on_powers
from excidiff.inverse.results.result import FitResult

METHODS = (
    "All measurements were fitted together with one film, {model}, after {pulses} of the given peak "
    "densities, by the maximum of the {likelihood} (Fisher scoring). The diffusion-recombination equation was "
    "solved for the round spot in Bessel modes, with local kinetics solved exactly in each of {steps} graded steps in "
    "time (sixth order by extrapolation); images and frames are blurred by the PSF and integrated over pixels, frames "
    "over their gates, decays over bins{spectra}. "
    "Scales between excitons and photons are {scale}. The fit was made from the best of {tried} films spread over what "
    "could be{started}. Errors are from the expected information at the optimum{scaled}; where one "
    "exceeds a tenth of its value, the interval is that of the profile likelihood."
)
OF_SPECTRA = (
    "; spectra are bands of free and, where they show, of trapped excitons, blurred by the collection spot and "
    "averaged over cells and integrated over colours"
)
OF_SCANS = "; of scans the mean over positions was fitted: the number of photons, or their mean age"
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
        pixels=None if optics is None else _pixel_size(optics),
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


def _pixel_size(optics: Optics) -> PixelSize | None:
    """The error of the magnification, and what of laser and PSF is known from images of the same pixels."""
    if not optics.magnification_error:
        return None
    psf = 1.0 if optics.psf_image is not None else 0.0
    laser = 0.0 if optics.laser is None else scaling(optics.source, optics)
    return PixelSize(optics.magnification_error, laser, psf)


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
        laser, psf = optics.source, optics.psf
        if optics.laser is not None:
            laser = imaged_width(laser, optics, of_laser=True)
        parameters["laser_fwhm"] = width_estimate(laser, "fitted" if optics.laser else "given")
        if psf is not None and found.fit.pictures:
            psf = psf if optics.psf_image is None else imaged_width(psf, optics, of_laser=False)
            parameters["psf_fwhm"] = width_estimate(psf, "fitted" if optics.psf_image else "given")
    laser = None if optics is None or optics.laser is None else laser_measurement(optics.laser, optics)
    scale = SCALES[found.series.scale]
    error = optics.magnification_error if optics is not None and found.fit.layout.magnified else 0.0
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
            scaled=f", the magnification's error of {100 * error:.2g} % among them" if error else "",
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
            *((decay.file, doubts(decay.notes)) for decay in series.decays),
            *((scan.file, doubts(scan.notes)) for scan in series.spectral_maps),
            *((scan.file, [*scan.doubts, *(note for note in scan.notes if note.startswith("whole numbers"))])
              for scan in series.scans)]  # fmt: skip
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
