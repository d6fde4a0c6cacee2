"""The answer to an experiment: values for the film, verdicts in words and the methods, from what each fit found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from excidiff.inverse import verdicts as say
from excidiff.inverse.batch import (
    Batch,
    failed,
    mean_deconvolved,
    mean_length,
    overall_goodness,
    scatter_of,
)
from excidiff.inverse.derived import diffusivity_estimate, imaged_width, laser_measurement, width_estimate
from excidiff.inverse.files.data import Image
from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.fit.film import ON_LANDSCAPE, UNIFORM
from excidiff.inverse.fit.magnification import exact, magnified
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.lifetimes import MeasuredDecay, agreement, common_lifetime, lifetimes_in_words
from excidiff.inverse.measure import WITHOUT
from excidiff.inverse.results.result import Estimate, FitResult

LENGTH_AND_PARTS = ("diffusion_length", "diffusivity", "lifetime")
OF_DECAY = {"background": "background", "shift": "irf_shift", "scatter": "scattered_light"}
METHODS = (
    "Each image was fitted with {model}, by the maximum of the {noise} likelihood (Fisher "
    "scoring). {optics} Errors are from the expected information at the optimum, with the error of the spot's width "
    "included{scale}; 95 % intervals {interval}. The deviance is held against its exact expectation under the noise "
    "law. The deconvolved length is that of a Gaussian fitted by least squares, less the width of the laser's spot in "
    "squares."
)
DECAYS = (
    "Decays were fitted with {model} by the maximum of the {noise} likelihood, integrated over each bin{period}, "
    "{response}, with a shift in time, a constant background{scatter} fitted alongside. Errors are from the expected "
    "information{own}; where one exceeds a tenth of its value, the interval is that of the profile likelihood."
)


@dataclass(frozen=True, eq=False)
class Asked:
    """What images were asked: whether they are steady and the film uniform, the noise, the kind of interval, and
    (place, file, reason) of images that could not be read."""

    images: Sequence[Image]
    steady: bool
    uniform: bool
    noise: str
    interval: str
    unreadable: Sequence[tuple[int, str, str]]

    @property
    def slit(self) -> bool:
        """Whether they have one row, as the light through a slit has."""
        return self.images[0].shape[0] == 1


def answer_images(
    asked: Asked,
    batch: Batch,
    optics: Optics,
    lifetime: Estimate,
    decays: Sequence[MeasuredDecay],
    settings: dict[str, Any],
) -> FitResult:
    """The result of images, perhaps with decays; `lifetime` as it was given or as the decays say."""
    images = list(batch.measurements)
    for place, name, reason in sorted(asked.unreadable):
        images.insert(place, failed(name, reason))
    measurements = (*images, *(found.measurement for found in decays))
    laser = None if optics.laser is None else laser_measurement(optics.laser, optics)
    if not batch.measured:
        reasons = tuple(say.on_images(images, 0))
        return FitResult("failed", _model(asked), reasons, optics.warnings, measurements=measurements,
                         laser=laser, settings=settings, methods=_methods(asked, optics, decays))  # fmt: skip
    length, chi2 = mean_length(batch, optics)
    deconvolved = mean_deconvolved(batch, optics)
    parameters = _parameters(asked, batch, length, deconvolved, lifetime, optics)
    spoken = [
        *say.on_images(images, len(batch.averaged)),
        *(say.on_identifiability(length, lifetime, decays=bool(decays)) if asked.steady else say.on_gates(parameters)),
        *say.on_decays(decays, agreement(decays), beside=asked.steady and lifetime.value is None),
        *([] if asked.slit else say.on_deconvolution(length, deconvolved, uniform=asked.uniform)),
        *say.on_optics(batch.averaged[0], optics),
        *say.on_limits(batch.measured, batch.averaged),
        *say.on_scatter(batch.averaged, chi2, length.value),
        *say.on_spot(batch.averaged, optics),
        *say.on_noise(batch.measured),
        *say.on_blind(batch.measured),
    ]
    notes = dict.fromkeys((*optics.warnings, *(note for m in (*batch.measured, *decays) for note in m.notes)))
    notes |= dict.fromkeys(say.on_stacks(asked.images, chi2) if asked.steady else ())
    limited = any(parameters[name].at_bound for name in LENGTH_AND_PARTS)
    return FitResult(
        status="converged" if all(entry.status == "fitted" for entry in measurements) else "partial",
        model=_model(asked),
        verdicts=tuple(spoken),
        warnings=tuple(notes),
        parameters=parameters,
        measurements=measurements,
        scatter=scatter_of(batch.averaged),
        goodness=overall_goodness([m.measurement for m in (*batch.averaged, *decays)]) | _without(batch, optics),
        laser=laser,
        correlations=_correlations(batch, parameters, optics),
        settings=settings,
        methods=_methods(asked, optics, decays, limited=limited),
    )


def answer_decays(decays: Sequence[MeasuredDecay], settings: dict[str, Any], *, chosen: bool) -> FitResult:
    """The result of decays alone; `chosen`: whether the number of lifetimes was left to the program."""
    measurements = tuple(found.measurement for found in decays)
    parameters = measurements[0].parameters
    if len(decays) > 1:  # of mixtures each has its own
        mixed = any(found.fit.components > 1 for found in decays)
        parameters = {} if mixed else {"lifetime": common_lifetime(decays)}
    return FitResult(
        status="converged" if all(entry.status == "fitted" for entry in measurements) else "partial",
        model=", ".join(dict.fromkeys(f"decay, {lifetimes_in_words(found.fit.components)}" for found in decays)),
        verdicts=tuple(say.on_decays(decays, agreement(decays), chosen=chosen)),
        warnings=tuple(dict.fromkeys(note for found in decays for note in found.notes)),
        parameters=parameters,
        measurements=measurements,
        goodness=overall_goodness(measurements),
        correlations=decays[0].fit.correlation(OF_DECAY | _numbered(decays[0])) if len(decays) == 1 else {},
        settings=settings,
        methods=_methods_of_decays(decays),
    )


def _parameters(asked: Asked, batch, length, deconvolved, lifetime, optics) -> dict[str, Estimate]:
    found = {"diffusion_length": length}
    first = batch.averaged[0].measurement.parameters
    if asked.steady:
        found |= {"diffusivity": diffusivity_estimate(length, lifetime), "lifetime": lifetime}
    else:
        found |= {name: first[name] for name in ("diffusivity", "lifetime")}
    if not asked.slit:
        found["deconvolved_length"] = deconvolved
    seen = "laser_image_fwhm" if optics.laser is not None and optics.psf is None else "laser_fwhm"
    parts = {seen: (optics.source, optics.laser), "psf_fwhm": (optics.psf, optics.psf_image)}
    for name, (width, image) in parts.items():
        if width is not None:
            whole = width if image is None else imaged_width(width, optics, of_laser=name == seen)
            found[name] = width_estimate(whole, "given" if image is None else "fitted")
    if len(batch.measurements) == 1:
        found |= {name: first[name] for name in ("centre_x", "centre_y", "amplitude", "background")}
    return found


def _without(batch: Batch, optics: Optics) -> dict[str, Any]:
    """Errors of the means without that of the magnification, where it has one; see `measure.WITHOUT`."""
    if not optics.magnification_error:
        return {}
    if len(batch.averaged) == 1:
        return {WITHOUT: batch.averaged[0].measurement.goodness[WITHOUT]}
    length, deconvolved = mean_length(batch, exact(optics))[0], mean_deconvolved(batch, exact(optics))
    return {WITHOUT: {"diffusion_length": length.stderr, "deconvolved_length": deconvolved.stderr}}


def _correlations(batch: Batch, parameters: dict[str, Estimate], optics: Optics) -> dict[str, dict[str, float]]:
    """Of one image, or the gates of one movie, those of its fit, and of D = L²/τ; many images have no one fit."""
    if len(batch.measurements) != 1:
        return {}
    fit = magnified(batch.averaged[0].fit, optics)
    found = fit.correlation({name: name for name in fit.names if name in parameters})
    length, lifetime, diffusivity = (parameters[name] for name in ("diffusion_length", "lifetime", "diffusivity"))
    if "diffusion_length" not in found or not (length.stderr and lifetime.stderr and diffusivity.stderr):
        return found
    assert length.value is not None
    assert lifetime.value is not None
    assert diffusivity.value is not None
    error = diffusivity.stderr / diffusivity.value
    by_length, by_lifetime = 2 * length.stderr / length.value / error, -lifetime.stderr / lifetime.value / error
    own = {name: by_length * row["diffusion_length"] for name, row in found.items()}
    for name, row in found.items():
        row |= {"diffusivity": own[name], "lifetime": 0.0}
    found["diffusivity"] = {**own, "diffusivity": 1.0, "lifetime": by_lifetime}
    found["lifetime"] = {**dict.fromkeys(own, 0.0), "diffusivity": by_lifetime, "lifetime": 1.0}
    return found


def _numbered(found: MeasuredDecay) -> dict[str, str]:
    """The lifetimes of a decay by their names."""
    return {name: name for name in found.fit.names if name.startswith("lifetime")}


def _model(asked: Asked) -> str:
    timing = "steady state, continuous excitation" if asked.steady else "gates after a pulse"
    film = "uniform film" if asked.uniform else "film with an energy landscape"
    return f"{film}, linear, {timing}, Gaussian spot"


def _methods(asked: Asked, optics: Optics, decays: Sequence[MeasuredDecay], *, limited: bool = False) -> str:
    told = (
        "The laser is a Gaussian of given width."
        if optics.laser is None
        else "The laser image was fitted with a Gaussian and a background; its width's likelihood multiplies in."
    )
    interval = "are symmetric in log L"
    if limited:
        interval = "are one-sided where a limit is given, from the profile likelihood, others symmetric in log L"
    elif asked.interval == "profile" and asked.steady:
        interval = "of each image's diffusion length are from its profile likelihood, others symmetric in log L"
    model = UNIFORM if asked.uniform else ON_LANDSCAPE
    noise = "Poisson" if asked.noise == "poisson" else "Gaussian"
    error = optics.magnification_error
    scale = f" and that of the magnification, {100 * error:.2g} %, counted once for all images" if error else ""
    own = METHODS.format(model=model, noise=noise, optics=told, interval=interval, scale=scale)
    return f"{own} {_methods_of_decays(decays)}" if decays else own


def _methods_of_decays(decays: Sequence[MeasuredDecay]) -> str:
    models = dict.fromkeys(lifetimes_in_words(found.fit.components) for found in decays)
    data = [found.decay for found in decays]
    measured = any(found.fit.swayed for found in decays)
    periods = dict.fromkeys(f"{decay.period:g} ns" for decay in data if decay.period is not None)
    wrapped = f" with the tails of earlier pulses (period {', '.join(periods)})" if periods else ""
    return DECAYS.format(
        model=" or ".join(models),
        noise="Gaussian" if any(decay.uncertainty is not None for decay in data) else "Poisson",
        period=wrapped,
        response=" and ".join(dict.fromkeys(map(_response_in_words, data))),
        scatter=" and, where it shows, scattered laser light" if any(decay.irf is not None for decay in data) else "",
        own=", with the photon noise of the measured response included" if measured else "",
    )


def _response_in_words(decay: Decay) -> str:
    if decay.irf is None:
        return "taking the instrument as instantaneous"
    if isinstance(decay.irf, Response):
        return "convolved with the measured response of the instrument"
    return f"convolved with a Gaussian response of {1e3 * float(decay.irf):.4g} ps FWHM"
