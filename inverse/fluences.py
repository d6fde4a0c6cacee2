"""A fluence series, measured: the film's numbers with errors or limits, all pictures and decays against its model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import sqrt
from typing import Any

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.estimates import DOUBTFUL, estimate, is_limit, leans, positive
from excidiff.inverse.files.fluences import FluenceSeries, Shot, named
from excidiff.inverse.files.frames import Frames
from excidiff.inverse.fit.blocks import UNLIKELY, structure
from excidiff.inverse.fit.fluence import SeriesFit, fit_series
from excidiff.inverse.fit.laws import Reading, decay_reading, pictures_reading, spectra_reading
from excidiff.inverse.fit.layout import CENTRES, FILMS, KINDS, TRAP_BAND, Picture, ground_name
from excidiff.inverse.fit.parameters import OPTICAL, UNITS, Constraints
from excidiff.inverse.fit.quality import BAD_FIT
from excidiff.inverse.fit.shots import trap_share
from excidiff.inverse.fit.told import Told
from excidiff.inverse.fit.uncertainty import NORMAL_95, RISE_ONE_SIDED, profile_bound
from excidiff.inverse.gates import gate_series
from excidiff.inverse.measure import window
from excidiff.inverse.results.result import Estimate, Measurement
from excidiff.inverse.results.wording import p_in_words
from excidiff.inverse.spectralmaps import pictured, reduced
from excidiff.inverse.surveys import scan_measurement

ENDLESS = 50.0  # relative error of what is not known at all
IMAGE_BLOCKS, MOVIE_BLOCKS, DECAY_BLOCKS = (6, 6), (4, 6, 6), (24,)


@dataclass(frozen=True, eq=False)
class MeasuredSeries:
    """A series with its fit under one model; with errors from draws `drawn`, the film's numbers, and how, `made`."""

    series: FluenceSeries
    fit: SeriesFit
    measurements: tuple[Measurement, ...]
    drawn: Mapping[str, Estimate] | None = None
    made: Mapping[str, Any] | None = None

    @cached_property
    def parameters(self) -> dict[str, Estimate]:
        """The film's numbers; found when asked for, as profiles of what is not sure are many fits."""
        return _parameters(self.fit, profiled=self.accepted) if self.drawn is None else dict(self.drawn)

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against the model."""
        return all(entry.status == "fitted" for entry in self.measurements)

    @property
    def freedom(self) -> int:
        """How many numbers were fitted."""
        return int(self.fit.moving.sum())

    @property
    def deviance(self) -> float:
        return float(sum(entry.goodness["deviance"] for entry in self.measurements))


def measure_series(series: FluenceSeries, model: str, constraints: Constraints, told: Told) -> MeasuredSeries:
    """Fit `model` to all of a series; arguments as of `fit_series`. Raises InputError for what cannot be fitted."""
    fit = fit_series(series, model, constraints, told)
    measurements = tuple(judged(series, fit))
    return MeasuredSeries(series, fit, measurements)


def _parameters(fit: SeriesFit, *, profiled: bool) -> dict[str, Estimate]:
    """The film's numbers, and what follows from them; `profiled`: what is not sure has the interval of its profile.

    Under a model that does not describe the data a profile is as wrong as curvature is, and takes minutes.
    """
    found = {}
    for name in FILMS[fit.model]:
        if fit.layout.even and name == "diffusivity":
            continue
        if name in fit.unseen:
            found[name] = Estimate(None, unit=UNITS[name], identifiable=False)
            continue
        found[name] = _told(fit, name) if profiled else estimate(fit, name)
    if fit.model == "saturable traps":
        found["trapping_rate"] = product(fit, {"capture": 1.0, "trap_density": 1.0}, "1/ns")
    if not fit.layout.even:
        found["diffusion_length"] = diffusion_length(fit, found["diffusivity"])
    for name in fit.layout.colours:
        if name not in (*OPTICAL, *(() if fit.banded else TRAP_BAND)):
            found[name] = estimate(fit, name)
    if "trap_brightness" in found and fit.layout.quadratic:  # m beside n²
        found["trap_brightness"] = replace(found["trap_brightness"], unit="1/um^2")
    for name in ("scale", *(f"{what}_scale" for what in KINDS)):
        if name in fit.names:
            found[name] = replace(estimate(fit, name), unit="photons/ns")
    units = {"image": "photons/pixel", "frames": "photons/pixel", "spectra": "photons/bin", "decay": "photons/bin"}
    for what, unit in units.items():
        if f"{what}_background" in fit.names:
            found[f"{what}_background"] = replace(estimate(fit, f"{what}_background"), unit=unit)
    return found


def _told(fit: SeriesFit, name: str) -> Estimate:
    """A number of the film; one that is not sure has the interval of its profile, or the limit of one side of it.

    So has one that leans on another that is very unsure.
    """
    simple, own, error = estimate(fit, name), float(fit.values[fit.names.index(name)]), fit.error(name)
    sure = simple.value is not None and not simple.at_bound and error <= DOUBTFUL
    sure = sure and not leans(fit, name, FILMS[fit.model])
    if simple.origin == "given" or sure or (simple.at_bound and name in fit.bounded):
        return simple
    step = min(error or 0.5, 0.5)
    ends = [np.log(end) for end in fit.limits[name]]
    reach = [profile_bound(partial(fit.profiled, name), own, side * 2 * step, limit=end)
             for side, end in zip((-1, 1), ends, strict=True)]  # fmt: skip
    low, high = (None if bound is None else float(np.exp(bound)) for bound in reach)
    if low is None and high is None:
        return Estimate(None, unit=simple.unit, identifiable=False)
    if low is None or high is None:
        side, end = (-1, ends[0]) if low is not None else (1, ends[1])
        one = profile_bound(partial(fit.profiled, name), own, side * step, rise=RISE_ONE_SIDED, limit=end)
        bound = None if one is None else float(np.exp(one))
        sides = (None, bound) if low is None else (bound, None)
        return Estimate(fit.value(name), None, sides, simple.unit, at_bound=True)
    stderr = None if name in fit.blind else fit.value(name) * np.log(high / low) / (2 * NORMAL_95)
    return Estimate(fit.value(name), stderr, (low, high), simple.unit)


def product(fit: SeriesFit, powers: dict[str, float], unit: str) -> Estimate:
    """A product of powers of fitted numbers, its relative error from their covariance."""
    own, variance = _slope_error(fit, powers)
    value = float(np.exp(own))
    if any(name in fit.blind for name in powers) or not 0 < variance < ENDLESS**2:
        return Estimate(None, unit=unit, identifiable=False, origin="derived")
    return positive(value, sqrt(variance), unit)


def _slope_error(fit: SeriesFit, slopes: dict[str, float]) -> tuple[float, float]:
    """(Σ slope × own number, its variance)."""
    index = [fit.names.index(name) for name in slopes]
    weights = np.array(list(slopes.values()))
    own = float(weights @ fit.values[index])
    return own, float(weights @ fit.covariance[np.ix_(index, index)] @ weights)


def diffusion_length(fit: SeriesFit, diffusivity: Estimate) -> Estimate:
    """L = √(D τ_eff) at low density: 1/τ_eff = 1/τ + k_t N_t (1/τ_t)/(k_d + 1/τ_t), empty traps taking part.

    (VERIFICATION 17.) Its error is that of log L along all numbers in it; where the data leave D open, or one side of
    it, so is L.
    """
    if diffusivity.value is None:
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    numbers = {name: fit.value(name) for name in FILMS[fit.model]}
    rate, (lost, share) = 1 / numbers["lifetime"], _lost(fit.model, numbers)
    part = lost / (rate + lost)
    slopes = {"diffusivity": 0.5, "lifetime": 0.5 * rate / (rate + lost)}
    if "release" in numbers:
        slopes |= {name: -0.5 * part for name in ("trapping_rate", "capture", "trap_density") if name in numbers}
        slopes |= dict.fromkeys(("release", "trap_lifetime"), 0.5 * part * (1 - share))
    _, variance = _slope_error(fit, slopes)
    value = sqrt(numbers["diffusivity"] / (rate + lost))
    if is_limit(diffusivity, 0) or is_limit(diffusivity, 1):
        low, high = diffusivity.interval95 or (None, None)
        low, high = (None if end is None else sqrt(end / (rate + lost)) for end in (low, high))
        return Estimate(value, None, (low, high), "um", at_bound=True, origin="derived")
    if not 0 < variance < ENDLESS**2 or any(name in fit.blind for name in slopes):
        return Estimate(None, unit="um", identifiable=False, origin="derived")
    return positive(value, sqrt(variance), "um")


def _lost(model: str, numbers: Mapping[str, Any]) -> tuple[Any, Any]:
    """(the rate, 1/ns, at which empty traps take free excitons for good, the share of those caught that end there)."""
    if "traps" not in model:
        return 0.0, 1.0
    linear, ending = model == "traps", 1 / numbers["trap_lifetime"]
    trapping = numbers["trapping_rate"] if linear else numbers["capture"] * numbers["trap_density"]
    share = ending / (numbers["release"] + ending)
    return trapping * share, share


def followed(fit: SeriesFit, numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What follows from the film's `numbers`, draw by draw."""
    found = {}
    if fit.model == "saturable traps":
        found["trapping_rate"] = numbers["capture"] * numbers["trap_density"]
    if not fit.layout.even:
        rate = 1 / numbers["lifetime"] + _lost(fit.model, numbers)[0]
        found["diffusion_length"] = np.sqrt(numbers["diffusivity"] / rate)
    return found


def judged(series: FluenceSeries, fit: SeriesFit) -> list[Measurement]:
    """Every measurement with its part of the model: images, movies, spectra, scans, decays, each by density."""
    found, shots = [], series.shots
    for picture, expected in zip(fit.layout.pictures, fit.pictures, strict=True):
        found.append(_picture(shots[picture.pulse], picture, expected, fit))
    for picture, expected in zip(fit.layout.spectra, fit.spectra, strict=True):
        found.append(_spectra(shots[picture.pulse], picture, expected, fit))
    for one, expected in zip(fit.surveyed, fit.scans, strict=True):
        found.append(scan_measurement(shots[one.look.pulse], one, float(expected[0]), fit))
    lit = [(k, shot.decay) for k, shot in enumerate(shots) if shot.decay is not None]
    for (k, decay), expected in zip(lit, fit.decays, strict=True):
        ends = {"t0": float(decay.edges[0]), "t1": float(decay.edges[-1])}
        entry = _held("decay", named(decay), decay_reading(decay), expected, DECAY_BLOCKS, fit, k)
        found.append(replace(entry, parameters=_told_of(shots[k]), window=ends))
    return found


def _told_of(shot: Shot) -> dict[str, Estimate]:
    return {"peak_density": Estimate(shot.density, shot.error or None, unit="1/um^2", origin="given")}


def _picture(shot: Shot, picture: Picture, expected: np.ndarray, fit: SeriesFit) -> Measurement:
    """An image, or a movie, which is shown as the sum of its frames."""
    data = shot.image if picture.what == "image" else shot.frames
    assert data is not None
    images = data.images if isinstance(data, Frames) else [data]
    first, blocks = images[0], MOVIE_BLOCKS if len(images) > 1 else (1, *IMAGE_BLOCKS)
    found = _held(picture.what, named(data), pictures_reading(images), expected, blocks, fit, picture.pulse)
    if found.reason is not None and first.uncertainty is None and not first.camera.gain_known:
        hint = f"{found.reason}. The gain was not given: counts that are not photons look like this; give --gain"
        found = replace(found, reason=hint)
    names = (f"{name}_{picture.pulse + 1}" for name in CENTRES[picture.what])
    centre = {axis: estimate(fit, name) for axis, name in zip(CENTRES["image"], names, strict=True)}
    shown: dict[str, Any] = {name: getattr(found, name).sum(0) for name in ("counts", "model", "variance")}
    if isinstance(data, Frames):
        ground = fit.value(ground_name(fit.layout, "frames", picture.pulse))
        arrays = (np.asarray(getattr(found, name)) for name in ("counts", "model", "variance", "mask"))
        at = (centre["centre_x"].value or 0.0, centre["centre_y"].value or 0.0)
        shown["gates"] = gate_series(images, data.gates, *arrays, background=ground, centre=at)
    return replace(
        found,
        kind="image",
        parameters=_told_of(shot) | centre,
        pixel_size=first.spacing,
        window=window(first),
        mask=np.asarray(found.mask).all(0),
        **shown,
    )


def _spectra(shot: Shot, picture: Picture, expected: np.ndarray, fit: SeriesFit) -> Measurement:
    """A map of spectra, with the share of its light that is of traps."""
    measured = shot.spectral_map
    assert measured is not None
    blocks = (min(4, measured.y.size), 8, 12)
    found = _held("spectra", measured.file, spectra_reading(measured), expected, blocks, fit, picture.pulse)
    if found.reason is not None:
        more = "; a band that shifts with the place asks for --model relaxation or reabsorption, of each map alone"
        found = replace(found, reason=found.reason + more)
    told = _told_of(shot) | {
        axis: estimate(fit, f"{name}_{picture.pulse + 1}")
        for axis, name in zip(CENTRES["image"], CENTRES["spectra"], strict=True)
        if axis == "centre_x" or measured.y.size > 1
    }
    if fit.banded:
        told["trap_band_share"] = _share_of_traps(fit, picture)
    shown = pictured(measured, expected, np.asarray(found.variance))
    ground = fit.value(ground_name(fit.layout, "spectra", picture.pulse))
    return replace(found, kind="spectral_map", parameters=told, series=reduced(measured, expected, ground), **shown)


def _share_of_traps(fit: SeriesFit, picture: Picture) -> Estimate:
    """y M/(N + y M), M and N the light of all trapped and free excitons of spectra, its error from all numbers,
    the interval that of its log-odds."""
    index, value, slopes = _log_odds(fit, picture)
    error = float(np.sqrt(slopes @ fit.covariance[np.ix_(index, index)] @ slopes))
    low, high = (float(_share(value + side * NORMAL_95 * error)) for side in (-1, 1))
    share = float(_share(value))
    return Estimate(share, share * (1 - share) * error, (low, high), "", origin="derived")


def drawn_share(fit: SeriesFit, picture: Picture, draws: Float64[np.ndarray, "N P"]) -> Float64[np.ndarray, " N"]:
    """The same of every draw of all numbers, in the fit's own: its odds are in proportion to the brightness, and their
    logarithm follows the others to first order."""
    (*film, bright), value, slopes = _log_odds(fit, picture)
    followed = (draws[:, film] - fit.values[film]) @ slopes[:-1]
    brighter = np.log(np.maximum(draws[:, bright], 1e-300) / fit.values[bright])
    return np.asarray(_share(value + followed + brighter))


def _log_odds(fit: SeriesFit, picture: Picture) -> tuple[list[int], float, Float64[np.ndarray, " F"]]:
    """(places of the numbers that the traps' share rests on, its log-odds, their slopes)."""
    names = (*FILMS[fit.model], "width", f"peak_density_{picture.pulse + 1}", "trap_brightness")
    index = [fit.names.index(name) for name in names]
    share, slopes = trap_share(fit.layout, picture, fit.values[index], fit.problem.arguments[0].radius)
    return index, float(np.log(share / (1 - share))), slopes / (share * (1 - share))


def _share(odds: Any) -> Any:
    return 1 / (1 + np.exp(-odds))


def _held(what: str, file: str, read: Reading, expected, blocks, fit: SeriesFit, k: int) -> Measurement:
    """A measurement with its goodness; of all numbers fitted each one is charged an equal share."""
    share = fit.share
    counts, used, law = read.values, read.used, read.law(expected)
    away = np.where(used, counts - expected, 0.0)
    ground = fit.value(ground_name(fit.layout, what, k))
    tests: dict[str, Any] = {
        **read.held(expected, fitted=share).tests,
        "structure_p": structure(away, law, blocks, round(share)),
        "photons": float(counts.sum() - ground * used.sum()),
        "pixels": int(used.sum()),
        "masked": int((~used).sum()),
        "fitted": share,
    }
    reason = _misfit(fit, read, tests)
    return Measurement(
        kind=what,
        file=file,
        status="fitted" if reason is None else "flagged",
        reason=reason,
        goodness=tests,
        counts=counts,
        model=expected,
        mask=used,
        variance=np.maximum(law, 1e-300),
    )


def _misfit(fit: SeriesFit, read: Reading, tests: dict[str, Any]) -> str | None:
    if not fit.converged:
        return f"the fit did not converge in {fit.steps} steps"
    z, ratio, shape = tests["z"], tests["deviance_ratio"], tests["structure_p"]
    if abs(z) <= BAD_FIT and shape > UNLIKELY:
        return None
    if z < -BAD_FIT:
        less = "the counts scatter less than photons can" if read.errors is None else "its uncertainties are too large"
        return f"the deviance is {ratio:.3g} times what the noise explains: {less}"
    chance = p_in_words(min(shape, tests["p_value"]))
    return (
        f"the deviance is {ratio:.3g} times what the noise explains, or neighbours err alike ({chance}): the model "
        f"'{fit.model}' does not describe it"
    )
