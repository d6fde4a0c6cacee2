"""Decays that were counted through an aperture: what leaves it is not what dies.

A counter that sees a Gaussian spot of variance c² about the laser's, s², gets of a spot that spreads as s² + 2Dt

    I(t) ∝ e^{−t/τ}/(1 + 2Dt/(s² + c²)) = e^{−t/τ}/(1 + ρt/τ),     ρ = 2L²/(s² + c²)

(the integral of both Gaussians' product). L is the images', so that ρ is known and τ is fitted. An error of log ρ moves
log τ by h, found by fits with ρ one standard error away on either side. As ρ rests on L, D = L²/τ follows it by 2 − 2h.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from excidiff.inverse.batch import Batch, mean_length
from excidiff.inverse.estimates import positive, widened
from excidiff.inverse.files.decays import Decay
from excidiff.inverse.fit.decay import fit_decay
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.lifetimes import MeasuredDecay, measure_decay
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.solver.solution import InputError

METHODS = (
    "Of decays that were counted through an aperture, light of excitons that diffuse out of it was taken to be lost, "
    "1/(1 + 2L²t/((s² + c²)τ)), with the images' diffusion length and Gaussian spots of laser, s, and aperture, c."
)


@dataclass(frozen=True, eq=False)
class Escaped:
    """A decay with what leaves its aperture in the fit, ρ its `escape`; `before`: the lifetime without; `own`: that of
    the decay's own error; slope: h of the header."""

    decay: MeasuredDecay
    escape: float
    before: Estimate
    own: Estimate
    slope: float


def through(decays: Sequence[Decay]) -> list[Decay]:
    """Those that were counted through an aperture."""
    return [decay for decay in decays if decay.aperture_fwhm is not None]


def check_apertures(experiment: Any) -> None:
    """Refuse an aperture where nothing tells how far excitons go."""
    seen = through(experiment.decays)
    steady = experiment.images and experiment.gates is None and experiment.landscape is None
    if seen and not (steady and experiment.spectral_map is None and not experiment.intervals.random):
        raise InputError(
            f"{seen[0].file}: through an aperture (aperture_fwhm) a decay is faster by what diffuses out of it, which "
            "the diffusion length tells: give steady images of the same film beside it, with intervals of Fisher's "
            "information or the profile, or count the light of the whole spot"
        )


def through_apertures(
    decays: Sequence[MeasuredDecay], batch: Batch, optics: Optics
) -> tuple[tuple[MeasuredDecay, ...], tuple[Escaped, ...]]:
    """The decays, those through an aperture fitted anew for the length that images give; and how these changed.

    Where images give no length, or none but a limit, all stay as they are.
    """
    if not through([one.decay for one in decays]) or not batch.measured:
        return tuple(decays), ()
    length = mean_length(batch, optics)[0]
    found, escaped = [], []
    for one in decays:
        if one.decay.aperture_fwhm is None or length.value is None or not length.stderr:
            found.append(one)
            continue
        widths2 = (optics.source.value**2 + one.decay.aperture_fwhm**2) / (8 * np.log(2))
        rho, error = float(2 * length.value**2 / widths2), 2 * length.stderr / length.value
        again = measure_decay(one.decay, escape=rho)
        own = again.lifetimes[0]
        low, high = (
            fit_decay(one.decay, escape=float(rho * np.exp(side * error))).value("lifetime") for side in (-1, 1)
        )
        slope = float(np.log(high / low)) / (2 * error)
        numbers = {**again.measurement.parameters, "lifetime": widened(own, slope * error)}
        again = replace(again, measurement=replace(again.measurement, parameters=numbers))
        found.append(again)
        escaped.append(Escaped(again, rho, one.lifetimes[0], own, slope))
    return tuple(found), tuple(escaped)


def with_apertures(result: FitResult, escaped: Sequence[Escaped]) -> FitResult:
    """The result with what left the apertures in words, and in the error of D where one decay tells the lifetime."""
    if not escaped:
        return result
    parameters, said = dict(result.parameters), []
    for one in escaped:
        now = one.decay.lifetimes[0]
        said.append(
            f"{one.decay.decay.file} was counted through an aperture, which excitons leave while they live (2L²/(s² + "
            f"c²) = {one.escape:.3g}): its lifetime is {in_words(now)}; taken for the light of the whole spot it would "
            f"be {in_words(one.before)}."
        )
    length, diffusivity, own = parameters["diffusion_length"], parameters["diffusivity"], escaped[0].own
    if len(result.decays) == 1 and diffusivity.value and length.value and length.stderr and own.value and own.stderr:
        follows = (2 - 2 * escaped[0].slope) * length.stderr / length.value
        error = float(np.hypot(own.stderr / own.value, follows))
        parameters["diffusivity"] = positive(diffusivity.value, error, diffusivity.unit, diffusivity.origin)
    return replace(
        result,
        parameters=parameters,
        verdicts=(*result.verdicts, *said),
        methods=f"{result.methods} {METHODS}",
    )
