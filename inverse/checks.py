"""What a person says of an experiment, checked before anything is computed: numbers with errors, gates, defaults."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from excidiff.inverse.apertures import check_apertures
from excidiff.inverse.fit.colours import LINES, names_asked
from excidiff.inverse.fit.layout import FILMS
from excidiff.inverse.fit.optics import Given
from excidiff.inverse.fit.parameters import GATED, STEADY
from excidiff.inverse.options import MODELS
from excidiff.solver.solution import InputError

OF_IMAGES: dict[str, Any] = {
    **dict.fromkeys(("laser", "laser_fwhm", "psf", "psf_fwhm", "laser_wavelength", "emission_wavelength",
                     "magnification_error", "landscape", "temperature", "gates", "lifetime")),
    "noise": "poisson", "fixed": {}, "bounds": {}, "starts": {}, "priors": {}, "tied": (), "background": "fit",
    "interval": "fisher",
}  # fmt: skip
"""What is said of images only, and its defaults."""
OF_MAPS = ("laser", "laser_fwhm", "psf", "psf_fwhm", "temperature", "lifetime", "fixed", "bounds", "starts", "priors")
"""What of it is said of spectral maps, too."""
BESIDE = ("laser_wavelength", "emission_wavelength", "magnification_error", "gates", "noise", "tied", "background")
"""What is said of the images beside a spectral map."""
OF_SERIES = ("laser", "laser_fwhm", "psf", "psf_fwhm", "laser_wavelength", "emission_wavelength",
             "magnification_error", "lifetime", "fixed", "bounds", "starts", "priors")  # fmt: skip
"""And what of fluence series."""

WORST = 0.2
"""Error of the pixel size beyond which lengths are not known to first order in it."""

UNSEEN = (
    "light alone does not tell energies. A place is bright where excitons gather in a valley, but as well where they "
    "move less, live longer or are seen better: energy, diffusivity, lifetime and brightness exchange for each other. "
    "Give the map of energies (landscape=, --landscape FILE in meV): spectra at every place show it, as the peak of "
    "their emission (excidiff peaks draws it). Without it, the model 'free' gives L of an even film and tells whether "
    "the image is of one"
)


def differs(value: Any, default: Any) -> bool:
    """Whether something was said: an array always, a list or a dictionary if it holds anything."""
    if isinstance(value, np.ndarray):
        return True
    return bool(value) if isinstance(default, dict | tuple) else value is not default and value != default


def check_model(experiment: Any) -> None:
    """A model by its name, for data that it can describe."""
    if experiment.model not in (None, *MODELS):
        near = get_close_matches(str(experiment.model), MODELS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(MODELS)}"
        raise InputError(f"model = {experiment.model!r}; {hint}")
    if experiment.model in ("relaxation", "reabsorption") and experiment.spectral_map is None:
        raise InputError(f'model = "{experiment.model}": only spectra against position tell it; give a spectral map')
    if experiment.model in ("annihilation", "traps", "saturable traps") and experiment.series is None:
        raise InputError(
            f"model = {experiment.model!r}: only pulses of several powers tell it; give images or decays with the peak "
            "density of each (a FluenceSeries, or peak_density in an experiment's file)"
        )
    if experiment.model == "landscape" and experiment.landscape is None:
        raise InputError('model = "landscape" without a landscape: ' + UNSEEN)
    scanned = experiment.spectral_map is not None or (experiment.series is not None and experiment.series.spectral_maps)
    if not scanned and experiment.collection_fwhm is not None:
        raise InputError("collection_fwhm is of a spectral map's spectrometer, and no spectral map was given")
    for name, plain, used in (("line", "gaussian", scanned), ("absorption", None, experiment.spectral_map is not None)):
        if not used and differs(getattr(experiment, name), plain):
            raise InputError(f"{name} is of a spectral map, and no spectral map was given")


def said(experiment: Any, but: Sequence[str] = ()) -> list[str]:
    """What is said of images only and an experiment says, `but` for some; intervals from draws are for all data."""
    drawn = ("interval",) if experiment.intervals.random else ()
    names = [name for name in OF_IMAGES if name not in (*but, *drawn)]
    return [name for name in names if differs(getattr(experiment, name), OF_IMAGES[name])]


def check_decays(experiment: Any) -> None:
    """What the decays ask of the rest."""
    check_apertures(experiment)
    if not experiment.images and not experiment.decays:
        raise InputError("nothing to fit: give at least one image of the photoluminescence spot, or a decay")
    if experiment.components is not None and (experiment.model != "mixture" or experiment.components < 2):
        raise InputError(f'components = {experiment.components} belongs to model = "mixture", and is two or more')
    if not experiment.images:
        given = said(experiment, but=("starts",))
        if given:
            raise InputError(f"{' and '.join(given)} given, but no image: a decay alone has no use for it")
    elif experiment.model == "mixture" and not experiment.may_mix:
        raise InputError(
            "a mixture of lifetimes beside images is fitted to those of a flat film and one decay, with "
            "intervals of Fisher's information: leave the rest out, or the images"
        )
    if experiment.decays and (experiment.lifetime is not None or "lifetime" in experiment.fixed):
        raise InputError("give either the lifetime or the decay that it is read from, not both")


def check_series(experiment: Any) -> None:
    """What a fluence series needs beside it, and what it has no use for."""
    for decay in experiment.series.decays:
        if decay.aperture_fwhm is not None:
            raise InputError(f"{decay.file}: a series takes the light of the whole spot; leave aperture_fwhm out")
    given = said(experiment, but=OF_SERIES)
    given += [name for name in ("images", "decays", "spectral_map", "components") if getattr(experiment, name)]
    if given:
        raise InputError(f"{' and '.join(given)} given: a fluence series has no use for it; fit the two apart")
    if experiment.model is not None and experiment.model not in FILMS:
        raise InputError(f"model = {experiment.model!r} of a fluence series; choose one of {', '.join(FILMS)}")
    optics = [name for name in ("laser", "laser_fwhm") if getattr(experiment, name) is not None]
    if len(optics) != (0 if experiment.series.uniform else 1):
        raise InputError(
            "give the laser either as an image (laser=) or by its FWHM at the sample (laser_fwhm=); of even light "
            "neither"
        )
    for name in ("laser_fwhm", "psf_fwhm", "lifetime"):
        given_number(getattr(experiment, name), name)
    _check_magnification(experiment)
    if experiment.magnification_error and not (experiment.series.images or experiment.series.frames):
        raise InputError("magnification_error is that of a camera's pixels, and the series has no image; leave it out")
    if experiment.lifetime is not None and ("lifetime" in experiment.fixed or "lifetime" in experiment.bounds):
        raise InputError("the lifetime is given twice, by itself and fixed or bounded; choose one")
    if experiment.line not in LINES:
        raise InputError(f"line = {experiment.line!r}; choose one of {', '.join(LINES)}")
    given_number(experiment.collection_fwhm, "collection_fwhm")
    films = tuple(FILMS.values()) if experiment.model is None else (FILMS[experiment.model],)
    band = ("linewidth", *LINES[experiment.line], "band_centre") if experiment.series.spectral_maps else ()
    if band and any("trap_lifetime" in film for film in films):
        band += ("trap_band_centre", "trap_band_width")
    experiment.constraints.check(tuple(dict.fromkeys([*(name for film in films for name in film), *band])))


def check_map(experiment: Any) -> None:
    """What a spectral map needs beside it, and what it has no use for."""
    given = said(experiment, but=OF_MAPS + BESIDE * bool(experiment.images))
    given += ["components"] * (experiment.components is not None)
    if given:
        raise InputError(f"{' and '.join(given)} given: a spectral map has no use for it; fit the two apart")
    if experiment.images:
        _check_both(experiment)
    if experiment.model == "mixture":
        raise InputError("a mixture of lifetimes is fitted to decays alone; leave the spectral map out")
    _check_laser(experiment)
    for name in ("laser_fwhm", "psf_fwhm", "lifetime", "collection_fwhm"):
        given_number(getattr(experiment, name), name)
    if experiment.temperature is not None and not 0 < experiment.temperature < np.inf:
        raise InputError(f"temperature = {experiment.temperature!r}; give a positive number of K")
    if experiment.decays and experiment.lifetime is not None:
        raise InputError("give either the lifetime or the decay that it is read from, not both")
    if experiment.line not in LINES:
        raise InputError(f"line = {experiment.line!r}; choose one of {', '.join(LINES)}")
    if experiment.model == "reabsorption" and experiment.absorption is None:
        raise InputError(
            'model = "reabsorption" needs the film\'s absorption at the colours of its emission: a table of wavelength '
            'and absorption, absorption=read_absorption("alpha.csv"), --absorption FILE, absorption under [film]'
        )
    known = experiment.absorption is not None
    if known:
        experiment.absorption.at(experiment.spectral_map.edges)
    experiment.of_spectra.check(names_asked(experiment.line, experiment.model, guiding=known))


def _check_both(experiment: Any) -> None:
    """What images and a spectral map together leave to be said: nothing of the length, nor of what each has."""
    if experiment.intervals.random:
        raise InputError(
            f"interval = {experiment.interval!r}: images and a spectral map together have intervals of Fisher's "
            "information; fit the two apart for others"
        )
    said_of = {**experiment.fixed, **experiment.bounds, **experiment.starts, **experiment.priors}
    unclear = [name for name in said_of if name in (*STEADY, *GATED)]
    if "lifetime" in unclear:
        raise InputError("the lifetime of images and a spectral map together is given by itself, lifetime=(4.0, 0.1)")
    if unclear:
        raise InputError(
            f"{' and '.join(unclear)} fixed, bounded, started or known beforehand: images and spectral map each have "
            "one, and the length is what both are asked for; say it of either alone, and fit the two apart"
        )


def check_optics(experiment: Any) -> None:
    """The laser and the PSF of images, their colours, and the magnification."""
    _check_laser(experiment)
    if experiment.psf is not None and experiment.psf_fwhm is not None:
        raise InputError("give the PSF either as an image (psf=) or by its FWHM (psf_fwhm=), not both")
    if (experiment.laser_wavelength is None) != (experiment.emission_wavelength is None):
        raise InputError("give both wavelengths, of laser and emission, or neither: only their ratio is used")
    _check_magnification(experiment)
    for name in ("laser_fwhm", "psf_fwhm", "lifetime", "laser_wavelength", "emission_wavelength"):
        if name.endswith("wavelength") and isinstance(getattr(experiment, name), tuple | list):
            raise InputError(f"{name} = {getattr(experiment, name)!r}; give one number in µm, without an error")
        given_number(getattr(experiment, name), name)


def _check_laser(experiment: Any) -> None:
    """One laser, told in one way."""
    if (experiment.laser is None) == (experiment.laser_fwhm is None):
        raise InputError("give the laser either as an image (laser=) or by its FWHM at the sample (laser_fwhm=)")


def _check_magnification(experiment: Any) -> None:
    """The error of the pixel size, and what cannot carry it on."""
    error = experiment.magnification_error
    if error is None:
        return
    if not (np.isfinite(error) and 0 <= error <= WORST):
        raise InputError(
            f"magnification_error = {error!r}; give the relative error of the pixel size, such as 0.01, up to {WORST:g}"
        )
    cannot = {
        "a landscape, whose pixels are as wrong as the image's": experiment.landscape is not None,
        f"intervals from draws (interval = {experiment.interval!r})": experiment.intervals.random
        and experiment.series is None,
        "a spectral map whose laser is known from an image": experiment.spectral_map is not None
        and experiment.laser is not None,
    }
    for what, asked in cannot.items():
        if asked and error:
            raise InputError(f"magnification_error with {what}: it is not carried on there; leave it out, or the other")


def given_number(number: float | tuple[float, float] | None, name: str) -> Given | None:
    """A number, or (value, standard error), checked: positive and finite."""
    if number is None:
        return None
    value, stderr = number if isinstance(number, tuple | list) else (number, 0.0)
    if not (np.isfinite(value) and value > 0 and np.isfinite(stderr) and 0 <= stderr < value):
        raise InputError(f"{name} = {number!r}; give a positive number, or (value, standard error)")
    return Given(float(value), float(stderr))
