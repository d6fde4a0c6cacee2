"""Images and a spectral map of one film: whether they tell one diffusion length, and what both together give.

Images know log L with an error, and the optics log s, s the width of laser ⊗ collection spot, with which the spectra
are fitted. Both may rest on one laser, whose error is then in both. So the map is fitted again with a Gaussian for

    (log L, log s)   of covariance   | σ_L²  κ |        κ = g B/A,
                                     |  κ    C |

A and C being the variances of the log widths of laser ⊗ PSF and of laser ⊗ collection spot, B their covariance, and g
that of the images' log L with the first: an error δ of it moves log L by g δ/A. Nothing enters twice, as the images'
counts and the map's are different photons; what images tell of the laser's width themselves is left unused. By how
much the objective of the map then rises is χ² of one degree of freedom where both see one length, also where the
spectra alone give a limit only.

Frames know D and τ, with a covariance C, and log L = (log D + log τ)/2 = a·(log D, log τ) from them. What the spectra
add to L moves both along k = C a/(aᵀC a): by k times what log L moved, with the covariance C + k kᵀ(σ_L′² − σ_L²).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log, sqrt

import numpy as np

from excidiff.inverse import verdicts as say
from excidiff.inverse.answer_spectra import collection_known
from excidiff.inverse.batch import Batch, overall_goodness
from excidiff.inverse.derived import over_lifetime
from excidiff.inverse.estimates import is_limit, positive
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.magnification import magnified
from excidiff.inverse.fit.optics import Given, Optics
from excidiff.inverse.fit.parameters import UNITS
from excidiff.inverse.fit.spectral import again
from excidiff.inverse.fit.spot import SpotFit
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import weighted_mean
from excidiff.inverse.results.result import Estimate, FitResult, Measurement
from excidiff.inverse.results.wording import counted
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.inverse.spectralmaps import MeasuredMap, measured_map

DISAGREE = 3.0
"""Standard deviations between the lengths of images and spectra, beyond which they are not of one film."""
TOLD = 0.05  # correlation of the images' length with the width of laser ⊗ collection spot, from which it is told
OF_EACH = ("centre_x", "centre_y", "amplitude", "background", "diffusion_length", "diffusivity", "lifetime")
METHODS = (
    "Images and spectral map share the diffusion length: that of the images, with its error and with what this has in "
    "common with the error of the width of laser ⊗ collection spot, was weighed with the counts of the spectral map as "
    "a Gaussian in its logarithm, and all numbers of the map fitted again."
)


@dataclass(frozen=True, eq=False)
class Joined:
    """`images`: the length that they give. alone, both: the map by itself, and with the images; None where they cannot
    be joined. away: σ between their lengths, None where that cannot be asked. common: the correlation of the images'
    length with the width of laser ⊗ collection spot."""

    images: Estimate | None
    alone: MeasuredMap
    both: MeasuredMap | None
    away: float | None = None
    common: float = 0.0

    @property
    def disagree(self) -> bool:
        """Whether images and spectra are not of one length."""
        return self.away is not None and self.away > DISAGREE

    @property
    def by_images(self) -> bool:
        """Whether the film's length is that of the images alone."""
        flagged = self.alone.measurement.status != "fitted"
        return self.both is None and flagged and self.images is not None and self.images.value is not None

    @property
    def told(self) -> MeasuredMap:
        """The fit of the map that the film's numbers are from."""
        return self.alone if self.both is None else self.both


def join(
    batch: Batch,
    length: Estimate | None,
    optics: Optics,
    collection: Given | None,
    alone: MeasuredMap,
    lifetime: Estimate,
) -> Joined:
    """Weigh the images' `length` with the spectra; `alone`: the map's own fit."""
    if length is None or length.value is None:
        return Joined(length, alone, None)
    if not length.stderr:
        return Joined(length, alone, None, _beyond(length, alone))
    known = _known(batch, length, optics, collection)
    fit = again(alone.fit, known)
    away = sqrt(max(fit.least - alone.fit.least, 0.0))
    sure = alone.measurement.status == "fitted" and batch.averaged[0].measurement.status == "fitted"
    if away > DISAGREE or not sure:
        return Joined(length, alone, None, away)
    covariance = known.covariance
    common = covariance[0, 1] / sqrt(covariance[0, 0] * covariance[1, 1]) if covariance[1, 1] else 0.0
    both = measured_map(alone.spectral_map, fit, lifetime, alone.temperature)
    movie = magnified(batch.averaged[0].fit, optics)
    both = _with_movie(both, movie, length.value) if "diffusivity" in movie.names else both
    return Joined(length, alone, both, away, common)


def _with_movie(both: MeasuredMap, movie: SpotFit, before: float) -> MeasuredMap:
    """The map with D, τ and the rate of relaxation as frames and spectra together tell them; `before`: the L of the
    frames alone."""
    index = [movie.names.index(name) for name in ("diffusivity", "lifetime")]
    own, covariance = movie.values[index], movie.covariance[np.ix_(index, index)]
    parameters = both.measurement.parameters
    length, attempts = parameters["diffusion_length"], parameters.get("attempts_per_lifetime")
    known = float(covariance.sum() / 4)
    if length.value is None or not length.stderr or not known:
        return both
    along = covariance.mean(axis=0) / known
    values = own + along * log(length.value / before)
    matrix = covariance + np.outer(along, along) * ((length.stderr / length.value) ** 2 - known)
    found = {
        name: positive(float(np.exp(values[k])), sqrt(matrix[k, k]), UNITS[name], "fitted")
        for k, name in enumerate(("diffusivity", "lifetime"))
        if movie.moving[index[k]]
    }
    found = {name: parameters[name] for name in ("diffusivity", "lifetime")} | found
    if attempts is not None:
        found["relaxation"] = over_lifetime(attempts, found["lifetime"])
        if attempts.stderr and attempts.interval68 is None and attempts.value is not None:
            at, to = (both.fit.names.index(name) for name in ("attempts", "diffusion_length"))
            joint = both.fit.covariance[at, at] + matrix[1, 1] - 2 * along[1] * both.fit.covariance[at, to]
            found["relaxation"] = positive(attempts.value / float(np.exp(values[1])), sqrt(joint), "1/ns")
    entry = replace(both.measurement, parameters={**parameters, **found})
    return replace(both, measurement=entry)


def _known(batch: Batch, length: Estimate, optics: Optics, collection: Given | None) -> Known:
    """(log L, log s) as the images and the optics tell them."""
    assert length.value is not None
    assert length.stderr is not None
    width, own = collection_known(optics, collection), optics.known.covariance[0, 0]
    shared = _drawn_along(batch, optics) * _covariance(optics, collection) / own if own else 0.0
    matrix = np.array([[(length.stderr / length.value) ** 2, shared], [shared, width.covariance[0, 0]]])
    return Known(("diffusion_length", "width"), np.array([log(length.value), width.mean[0]]), matrix)


def _drawn_along(batch: Batch, optics: Optics) -> float:
    """g: the covariance of the images' mean log L with the log width of laser ⊗ PSF."""
    values, variances, rows = (
        np.array(part) for part in zip(*(_length(one.fit) for one in batch.averaged), strict=True)
    )
    columns = [[one.fit.names.index(name) for name in optics.known.names] for one in batch.averaged]
    rows = np.array([row[own] for row, own in zip(rows, columns, strict=True)])
    return float(weighted_mean(values, variances, rows, optics.known.precision).weights @ rows[:, 0])


def _length(fit: SpotFit) -> tuple[float, float, np.ndarray]:
    """log L, of a movie (log D + log τ)/2; its variance, and its covariance with all numbers of the fit."""
    names = ("diffusion_length",) if "diffusion_length" in fit.names else ("diffusivity", "lifetime")
    index = [fit.names.index(name) for name in names]
    variance = float(fit.covariance[np.ix_(index, index)].mean())
    return float(fit.values[index].mean()), variance, fit.response[index].mean(axis=0)


def _covariance(optics: Optics, collection: Given | None) -> float:
    """B of two sums of squares with the laser in both: laser² + f PSF², and laser² − (ρ PSF)² + collection²."""
    laser, blur = optics.source, 0.0
    if optics.laser is not None:
        fit = optics.laser.fit
        laser = Given(FWHM * fit.value("width"), FWHM * fit.value("width") * fit.error("width"))
        if optics.psf is not None:
            rho = optics.wavelength_ratio**2
            blur = -(1 - rho) * rho * (optics.psf.value * optics.psf.stderr) ** 2
    total = optics.width.value**2 * (optics.source.value**2 + (0.0 if collection is None else collection.value**2))
    return ((laser.value * laser.stderr) ** 2 + blur) / (FWHM**2 * total)


def _beyond(length: Estimate, alone: MeasuredMap) -> float | None:
    """By how many of its errors the spectra's length lies beyond the limit that images give."""
    own = alone.measurement.parameters["diffusion_length"]
    if not is_limit(length, 0) or not own.stderr or own.value is None:
        return None
    assert length.interval95 is not None
    assert length.interval95[1] is not None
    return max(0.0, log(own.value / length.interval95[1]) / (own.stderr / own.value))


def answer_joint(images: FitResult, spectra: FitResult, joined: Joined) -> FitResult:
    """One result of both; `images`, `spectra`: what each of them gives, the spectra by `joined.told`."""
    parameters = _parameters(images, spectra, joined)
    alone = joined.alone.measurement
    decays = images.decays
    measurements = (*images.images, alone, *decays)
    fitted = not joined.disagree and all(entry.status == "fitted" for entry in measurements)
    spoken = images.verdicts
    if joined.both is not None and joined.images is not None:  # the spectra say the same of steady light
        same = say.on_identifiability(joined.images, parameters["lifetime"], decays=bool(decays))
        same += say.on_gates(images.parameters) if "diffusivity" in images.images[0].parameters else []
        spoken = tuple(one for one in spoken if one not in same)
    good = [entry for entry in images.images if entry.status == "fitted"] or [e for e in images.images if e.goodness]
    return FitResult(
        status="converged" if fitted else "partial",
        model=f"{images.model}; spectra: {spectra.model}",
        verdicts=(on_both(joined, images.images), *spoken, *spectra.verdicts),
        warnings=tuple(dict.fromkeys((*images.warnings, *spectra.warnings))),
        parameters=parameters,
        measurements=measurements,
        scatter=images.scatter,
        goodness=overall_goodness([*good, alone, *decays]),
        laser=images.laser,
        correlations=_correlations(spectra, parameters),
        settings=images.settings,
        methods=" ".join((images.methods, spectra.methods, *([METHODS] if joined.both is not None else []))),
    )


def _parameters(images: FitResult, spectra: FitResult, joined: Joined) -> dict[str, Estimate]:
    """The film's numbers, those of the optics, and the spectra's; positions and backgrounds are of each."""
    own = {**spectra.parameters, **images.parameters}
    own = {name: one for name, one in own.items() if name not in OF_EACH}
    film = {name: (images if joined.by_images else spectra).parameters[name] for name in OF_EACH[-3:]}
    if joined.disagree:
        for name in ("diffusion_length", "diffusivity"):
            film[name] = Estimate(None, unit=film[name].unit, identifiable=False)
    return film | own


def _correlations(spectra: FitResult, parameters: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """Those of the spectra's fit, of what the result shows."""
    sure = [name for name in spectra.correlations if name in parameters and parameters[name].stderr]
    return {one: {other: spectra.correlations[one][other] for other in sure} for one in sure}


def on_both(joined: Joined, images: Sequence[Measurement]) -> str:
    """Whether images and spectra are of one film, in words, and what both give."""
    who = "the image gives" if len(images) == 1 else f"the {counted(len(images), 'image')} give"
    who = "the frames give" if "diffusivity" in images[0].parameters else who
    own = joined.alone.measurement.parameters["diffusion_length"]
    if joined.images is None or joined.images.value is None:
        return f"Images and spectra are not joined: {who} no diffusion length, and that of the film is the spectra's."
    lengths = f"{who} L {_words(joined.images)}, the spectra L {_words(own)}"
    if joined.disagree:
        return (
            f"Images and spectral map disagree: {lengths}, {joined.away:.1f} σ apart. They are of two films or places, "
            "or the widths of laser, collection spot or PSF are wrong. There is no length of both; each measurement "
            "has its own below."
        )
    if joined.both is not None:
        both = joined.both.measurement.parameters["diffusion_length"]
        shared = " The error of the laser's width is common to both and counted once."
        return (
            f"Images and spectral map agree: {lengths}, {joined.away:.1f} σ apart, and both together L {_words(both)}."
            f"{shared if abs(joined.common) > TOLD else ''}"
        )
    why = "The spectral map is flagged" if joined.by_images else "The images are flagged"
    why = why if joined.images.stderr else "A limit from images adds next to nothing"
    which = "images" if joined.by_images else "spectra"
    return f"Images and spectra are not joined: {lengths}. {why}; the film's is that of the {which} alone."


def _words(entry: Estimate) -> str:
    """A length with its sign: "= 0.42 ± 0.01 µm", "< 0.1 µm (95 %)"."""
    if entry.value is None:
        return "undetermined"
    text = in_words(entry)
    return text if text[0] in "<>" else f"= {text}"
