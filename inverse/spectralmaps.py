"""One spectral map, measured: lengths, energies and rates with errors or limits, and what speaks against them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from excidiff.inverse.derived import diffusivity_estimate, over_lifetime
from excidiff.inverse.estimates import estimate, is_limit, leaning, searched
from excidiff.inverse.files.absorption import Absorption
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.blocks import UNLIKELY, structure
from excidiff.inverse.fit.colours import LINES
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.landscape import ROOM
from excidiff.inverse.fit.likelihood import goodness, goodness_of_squares
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.peaks import reduce_spectra
from excidiff.inverse.fit.quality import BAD_FIT
from excidiff.inverse.fit.spectral import SpectralFit, fit_spectral_map
from excidiff.inverse.fit.spectralsearch import LOST, MOST_LOST, MOST_OUT, OUT, TRAPPED, WINGLESS
from excidiff.inverse.fit.spectrograph import field_of
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.results.result import Estimate, Measurement
from excidiff.inverse.results.wording import p_in_words

BLOCKS = (8, 12)  # of places and colours, whose sums show a structure that single bins do not
POINTLIKE = 1e-3  # as good as nothing, of a width
ENDLESS = 1e4  # as good as endless
LEANING = ("diffusion_length", "attempts", "disorder", "linewidth", "lorentzian", "outcoupling", "guiding_loss")
"""Numbers of which one that is very unsure makes others unsure in another way than their curvature tells."""
FAR = 0.15  # of the places, the dimmest and the brightest, between which the shift of the band is told


@dataclass(frozen=True, eq=False)
class MeasuredMap:
    """One spectral map with its fit; `temperature`: K, at which relaxation was taken."""

    spectral_map: SpectralMap
    measurement: Measurement
    fit: SpectralFit
    temperature: float

    @property
    def shift(self) -> float | None:
        """By how much the band is redder where light is dimmest than where it is brightest, meV, by the model."""
        series = self.measurement.series or {}
        model, light = series.get("model_peak"), self.fit.expected.sum(-1)
        if model is None or not np.isfinite(model).any():
            return None
        seen, light = np.isfinite(model), light.reshape(model.shape)
        dim, bright = (light[seen] <= np.quantile(light[seen], FAR), light[seen] >= np.quantile(light[seen], 1 - FAR))
        return float(model[seen][bright].mean() - model[seen][dim].mean())


def measure_spectral_map(
    spectral_map: SpectralMap,
    known: Known,
    constraints: Constraints,
    lifetime: Estimate,
    *,
    temperature: float = ROOM,
    model: str | None = None,
    line: str = "gaussian",
    absorption: Absorption | None = None,
) -> MeasuredMap:
    """Fit a map; `known`: the width of laser ⊗ collection spot; `lifetime` turns L and ν τ into D and ν.

    model, line, absorption: see `fit_spectral_map`. Raises InputError for what cannot be fitted.
    """
    film = {"temperature": temperature, "model": model, "line": line, "absorption": absorption}
    fit = fit_spectral_map(spectral_map, known, constraints, **film)
    return measured_map(spectral_map, fit, lifetime, temperature)


def measured_map(
    spectral_map: SpectralMap, fit: SpectralFit, lifetime: Estimate, temperature: float = ROOM
) -> MeasuredMap:
    """A map with its fit as numbers, pictures and goodness."""
    tests = judged(fit)
    reason = _misfit(fit, tests)
    measurement = Measurement(
        kind="spectral_map",
        file=spectral_map.file,
        status="fitted" if reason is None else "flagged",
        reason=reason,
        parameters=_parameters(fit, lifetime, spectral_map),
        goodness=tests,
        **pictured(spectral_map, fit.expected, fit.variance),
        series=reduced(spectral_map, fit.expected, fit.value("background")),
    )
    return MeasuredMap(spectral_map, measurement, fit, temperature)


def _parameters(fit: SpectralFit, lifetime: Estimate, spectral_map: SpectralMap) -> dict[str, Estimate]:
    """Everything that the map tells, by the names of results."""
    width, leant = fit.value("width"), [name for name in LEANING if name in fit.names]
    told = partial(searched, fit, interval="fisher", others=leant)
    length = told("diffusion_length", natural=(0.02 * width, np.inf), ends=(POINTLIKE * width, ENDLESS * width))
    found = {"diffusion_length": length, "diffusivity": diffusivity_estimate(length, lifetime), "lifetime": lifetime}
    if fit.relaxing:
        ends = (POINTLIKE * fit.band, 6.0 * fit.band)
        attempts = told("attempts", natural=(2e-3, 5e4), ends=(2e-3, 5e4))
        found["disorder"] = told("disorder", natural=(0.02 * fit.band, 2 * fit.band), ends=ends)
        found["relaxation"] = over_lifetime(attempts, lifetime)
        found["attempts_per_lifetime"] = attempts
    if fit.guiding:
        field = field_of(spectral_map, width)
        for name, low, high in (("outcoupling", OUT / field, MOST_OUT), ("guiding_loss", LOST / field, MOST_LOST)):
            high /= width
            found[name] = told(name, natural=(low, high), ends=(POINTLIKE * low, 1e3 * high))
    found |= _of_line(fit, told)
    found["band_centre"] = leaning(fit, "band_centre", leant)
    if fit.trapped:
        found |= {name: leaning(fit, name, leant) for name in TRAPPED}
    found["centre_x"] = estimate(fit, "centre_x")
    if fit.counts.shape[0] > 1:
        found["centre_y"] = estimate(fit, "centre_y")
    if spectral_map.step > 0 and spectral_map.slit > 0:
        found["amplitude"] = estimate(fit, "amplitude")
    found["background"] = replace(estimate(fit, "background"), unit="photons/bin")
    return found


def _of_line(fit: SpectralFit, told: Callable[..., Estimate]) -> dict[str, Estimate]:
    """The widths of a site's line: of a Gaussian that nothing competes with, with its plain error."""
    names = ("linewidth", *LINES[fit.line])
    if len(names) == 1 and not fit.relaxing:
        return {"linewidth": estimate(fit, "linewidth")}
    least, found = {"linewidth": 0.02, "lorentzian": 2 * WINGLESS}, {}
    for name in names:
        natural = (least[name] * fit.band, np.inf)
        found[name] = told(name, natural=natural, ends=(0.05 * natural[0], 6.0 * fit.band))
    return found


def judged(fit: SpectralFit) -> dict[str, Any]:
    """The deviance against its law, or χ² of signed data; and the structure of sums over blocks."""
    free = int(fit.moving.sum())
    if fit.photons:
        found = goodness(fit.counts.ravel(), fit.expected.ravel(), Detector(), fitted=free)
    else:
        found = goodness_of_squares(fit.counts - fit.expected, fit.variance, fitted=free)
    background = fit.value("background")
    return {
        **found.tests,
        "structure_p": _structured(fit),
        "photons": float(fit.counts.sum() - background * fit.counts.size),
        "pixels": int(fit.counts.size),
        "masked": 0,
        "fitted": free,
    }


def _structured(fit: SpectralFit) -> float:
    """The probability of sums over blocks of neighbouring places and colours that differ this much."""
    away, law = (a.reshape(-1, a.shape[-1]) for a in (fit.counts - fit.expected, fit.variance))
    return structure(away, law, BLOCKS, int(fit.moving.sum()))


def _misfit(fit: SpectralFit, tests: Mapping[str, Any]) -> str | None:
    """In words, why a fit is not to be trusted; None where nothing speaks against it."""
    if not fit.converged:
        return f"the fit did not converge in {fit.steps} steps"
    z, ratio, shape = tests["z"], tests["deviance_ratio"], tests["structure_p"]
    if abs(z) <= BAD_FIT and shape > UNLIKELY:
        return None
    if z < -BAD_FIT:
        return (
            f"the deviance is {ratio:.3g} times what the noise explains: the counts scatter less than photons can; "
            "were they smoothed, averaged, or corrected for the spectrometer's response?"
        )
    chance = p_in_words(min(shape, tests["p_value"]))
    more = "" if fit.relaxing else "energy relaxation (--model relaxation), "
    more += "" if fit.guiding else "light absorbed again (--model reabsorption), "
    more += "" if fit.line == "voigt" else "a line with wings (--line voigt), "
    return (
        f"the deviance is {ratio:.3g} times what the noise explains, or neighbouring bins err alike ({chance}): the "
        f"model does not describe these spectra. Look for {more}a second band, a film that is not uniform, the "
        "spectrometer's response, and counts that are not photons"
    )


def reduced(measured: SpectralMap, expected: np.ndarray, background: float) -> dict[str, np.ndarray]:
    """Peak and width of the band at every place, of the counts with errors and of the model: meV and nm."""
    flat = measured.counts.reshape(-1, measured.counts.shape[-1])
    shown, errors = expected.reshape(flat.shape), measured.uncertainty
    band = (shown - background).sum(0)
    centre = float(measured.energy[np.argmax(band)])
    above = np.abs(np.diff(measured.edges))[band > 0.5 * band.max()]
    width = float(above.sum()) / FWHM
    law = None if errors is None else errors.reshape(flat.shape) ** 2
    seen, model = (reduce_spectra(one, law, measured.edges, centre, width) for one in (flat, shown))
    found = {
        "peak": seen.centre,
        "peak_error": seen.centre_error,
        "width": seen.width,
        "width_error": seen.width_error,
        "model_peak": np.where(np.isfinite(seen.centre), model.centre, np.nan),
        "model_width": np.where(np.isfinite(seen.centre), model.width, np.nan),
    }
    shape = measured.counts.shape[:-1] if measured.counts.shape[0] > 1 else measured.counts.shape[1:-1]
    return {name: values.reshape(shape) for name, values in found.items()}


def pictured(measured: SpectralMap, expected: np.ndarray, variance: np.ndarray) -> dict[str, Any]:
    """What a measurement shows of a map, of a line without an axis of y: counts, model, variance, mask, axes."""
    whole = measured.counts.shape[0] > 1
    shape = measured.counts.shape if whole else measured.counts.shape[1:]
    places = {"y": measured.y, "x": measured.x} if whole else {"x": measured.x}
    return {
        "counts": measured.counts.reshape(shape),
        "model": expected.reshape(shape),
        "variance": np.maximum(variance, 1e-300).reshape(shape),
        "mask": np.ones(shape, bool),
        "axes": {**places, "wavelength": measured.wavelength},
    }


def undetermined(found: Mapping[str, Estimate]) -> list[str]:
    """Names of what the spectra leave open, or give as a limit only."""
    names = ("attempts_per_lifetime", "disorder", "linewidth", "lorentzian", "outcoupling", "guiding_loss")
    return [
        name
        for name in names
        if name in found and (found[name].value is None or is_limit(found[name], 0) or is_limit(found[name], 1))
    ]


def is_nothing(entry: Estimate) -> bool:
    """Whether the spectra do not tell a number from none: an upper limit, or nothing at all."""
    return entry.value is None or is_limit(entry, 0)
