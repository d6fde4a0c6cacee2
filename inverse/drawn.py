"""Errors and intervals from draws: every parameter of a measurement, and what is derived of them, draw by draw.

A value stays that of the fit; its error becomes the standard deviation of the draws, its 95 % interval what 2.5 % of
them leave on either side, that of 68 % what 15.9 % do. What the data do not determine, or give as a limit only, stays
as the likelihood says it: a quantile of a posterior that reaches a limit of the search would be that limit's.

Where a lifetime comes from another measurement, its draws are that one's if there are any, and else those of a normal
distribution of log τ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.batch import Batch, Progress
from excidiff.inverse.fit.decay import DecayFit
from excidiff.inverse.fit.draws import Draws
from excidiff.inverse.fit.fitted import Fitted
from excidiff.inverse.fit.layout import CENTRES
from excidiff.inverse.fit.parameters import OPTICAL, outer
from excidiff.inverse.fit.spot import SpotFit
from excidiff.inverse.fluences import MeasuredSeries, drawn_share, followed
from excidiff.inverse.intervals import Intervals, methods_of, warnings_of
from excidiff.inverse.lifetimes import MeasuredDecay
from excidiff.inverse.results.result import Estimate, FitResult, Measurement
from excidiff.inverse.spectralmaps import MeasuredMap
from excidiff.solver.solution import SolverError

ENDS = (2.5, 97.5, 15.865, 84.135)  # %
RENAMED = {"shift": "irf_shift", "scatter": "scattered_light", "attempts": "attempts_per_lifetime"}
OF_MAP, OF_LIFETIME, OF_POWERS = 10_000, 20_000, 30_000  # places of random numbers, beyond images and decays
SERIES = "the fluence series"

Columns = dict[str, Float64[np.ndarray, " N"]]


def draw_decays(
    decays: Sequence[MeasuredDecay], intervals: Intervals, progress: Progress | None = None
) -> tuple[tuple[MeasuredDecay, ...], Columns]:
    """The decays with errors from draws, and the draws of the lifetime where one decay alone tells it."""
    if not intervals.random:
        return tuple(decays), {}
    found, told = [], []
    for place, one in enumerate(decays):
        draws = intervals.of(one.fit, place, _inner(progress, place, decays, one.decay.file))
        columns = columns_of_decay(one.fit, draws)
        found.append(replace(one, measurement=with_draws(one.measurement, columns, draws)))
        good = one.measurement.status == "fitted" and one.fit.components == 1 and one.lifetimes[0].stderr
        told += [columns["lifetime"]] if good else []
    return tuple(found), {"lifetime": told[0]} if len(told) == 1 else {}


def draw_images(
    batch: Batch, intervals: Intervals, progress: Progress | None = None, *, first: int = 0
) -> tuple[Batch, Columns]:
    """The images with errors from draws, and the draws of the diffusion length where there is one image."""
    if not intervals.random:
        return batch, {}
    renewed, columns = {}, {}
    for place, one in enumerate(batch.measured):
        inner = _inner(progress, place, batch.measured, one.measurement.file)
        try:
            draws = intervals.of(one.fit, first + place, inner)
        except SolverError as error:
            if len(batch.measured) == 1:
                raise
            note = f"{one.measurement.file}: {error}; its errors are those of the expected information."
            renewed[id(one.measurement)] = replace(one, notes=(*one.notes, note))
            continue
        columns = columns_of_spot(one.fit, draws)
        # A position counts from the centre of the whole frame, the fit's from that of the part it saw.
        for name in ("centre_x", "centre_y"):
            entry = one.measurement.parameters[name]
            columns[name] = columns[name] + (entry.value or 0.0) - one.fit.value(name)
        renewed[id(one.measurement)] = replace(one, measurement=with_draws(one.measurement, columns, draws))
    entries = tuple(renewed[id(m)].measurement if id(m) in renewed else m for m in batch.measurements)
    measured, averaged = (tuple(renewed[id(m.measurement)] for m in some) for some in (batch.measured, batch.averaged))
    return Batch(entries, measured, averaged), columns if len(measured) == 1 else {}


def draw_map(
    found: MeasuredMap, lifetime: Estimate, told: Columns, intervals: Intervals, progress: Progress | None = None
) -> MeasuredMap:
    """A spectral map with errors from draws, D and the rate of relaxation with those of the lifetime."""
    if not intervals.random:
        return found
    draws = intervals.of(found.fit, OF_MAP, _inner(progress, 0, (found,), found.measurement.file))
    columns = columns_of(found.fit, draws)
    columns |= derived(columns, lifetime, told, intervals.seed)
    return replace(found, measurement=with_draws(found.measurement, columns, draws))


def draw_series(found: MeasuredSeries, intervals: Intervals, progress: Progress | None = None) -> MeasuredSeries:
    """A fluence series with errors from draws: one set for the film and the centres of all images."""
    if not intervals.random:
        return found
    draws = intervals.of(found.fit, OF_POWERS, _inner(progress, 0, (found,), SERIES))
    columns = columns_of(found.fit, draws)
    columns |= followed(found.fit, columns)
    drawn, entries = _replaced(found.parameters, columns), []
    layout = found.fit.layout
    pictures = iter((*layout.pictures, *layout.spectra))
    for entry in found.measurements:
        if entry.kind in ("image", "spectral_map"):
            one = next(pictures)
            names = zip(CENTRES["image"], CENTRES[one.what], strict=True)
            own = {axis: columns[f"{name}_{one.pulse + 1}"] for axis, name in names if axis in entry.parameters}
            if "trap_band_share" in entry.parameters:
                own["trap_band_share"] = drawn_share(found.fit, one, draws.values)
            entry = replace(entry, parameters=_replaced(entry.parameters, own))
        entries.append(entry)
    return replace(found, measurements=tuple(entries), drawn=drawn, made=draws.made)


def with_diffusivity(result: FitResult, told: Columns, lifetime: Estimate, seed: int) -> FitResult:
    """The result of a steady image with D = L²/τ from draws of L and τ; `told`: what there is of them.

    Frames have a D of their own.
    """
    if "diffusion_length" not in told or "diffusivity" in told:
        return result
    return replace(result, parameters=_replaced(result.parameters, derived(told, lifetime, told, seed)))


def finished(result: FitResult) -> FitResult:
    """The result with methods and warnings that say how its draws were made, and how well."""
    made = [(entry.file, entry.goodness["sampling"]) for entry in result.measurements if "sampling" in entry.goodness]
    if "sampling" in result.goodness:
        made.append((SERIES, result.goodness["sampling"]))
    methods = " ".join(part for part in (result.methods, methods_of([one for _, one in made])) if part)
    return replace(result, methods=methods, warnings=(*result.warnings, *warnings_of(made)))


def with_draws(measurement: Measurement, columns: Mapping[str, np.ndarray], draws: Draws) -> Measurement:
    """A measurement whose determined parameters have the errors of their draws."""
    parameters = _replaced(measurement.parameters, columns)
    return replace(measurement, parameters=parameters, goodness={**measurement.goodness, "sampling": draws.made})


def columns_of(fit: Fitted, draws: Draws) -> Columns:
    """The draws of every parameter by the names of results, in house units."""
    return {
        RENAMED.get(name, name): np.array([outer(name, value) for value in column])
        for name, column in zip(fit.names, draws.values.T, strict=True)
        if name not in OPTICAL
    }


def columns_of_spot(fit: SpotFit, draws: Draws) -> Columns:
    """The same of an image or a movie, L = √(Dτ) among them."""
    columns = columns_of(fit, draws)
    if "diffusivity" in columns:
        columns["diffusion_length"] = np.sqrt(columns["diffusivity"] * columns["lifetime"])
    return columns


def columns_of_decay(fit: DecayFit, draws: Draws) -> Columns:
    """The same of a decay, in each draw from the slowest lifetime on, with their shares of the photons."""
    columns, many = columns_of(fit, draws), fit.components
    if many == 1:
        return columns
    names = [[f"{what}_{k + 1}" for k in range(many)] for what in ("lifetime", "photons")]
    lifetimes, photons = (np.stack([columns[name] for name in some]) for some in names)
    order = np.argsort(-lifetimes, axis=0)
    lifetimes, photons = (np.take_along_axis(some, order, axis=0) for some in (lifetimes, photons))
    columns |= dict(zip(names[0], lifetimes, strict=True))
    shares = photons / photons.sum(axis=0)
    return columns | {f"weight_{k + 1}": share for k, share in enumerate(shares)}


def derived(columns: Mapping[str, np.ndarray], lifetime: Estimate, told: Columns, seed: int) -> Columns:
    """D = L²/τ and ν = (ντ)/τ of each draw; nothing without a lifetime."""
    if lifetime.value is None or lifetime.at_bound:
        return {}
    length = columns["diffusion_length"]
    random = np.random.default_rng([seed, OF_LIFETIME])
    if "lifetime" in told:
        tau = random.permutation(np.resize(told["lifetime"], length.size))
    else:
        error = (lifetime.stderr or 0.0) / lifetime.value
        tau = lifetime.value * np.exp(error * random.standard_normal(length.size))
    found = {"diffusivity": length**2 / tau}
    if "attempts_per_lifetime" in columns:
        found["relaxation"] = columns["attempts_per_lifetime"] / tau
    return found


def _replaced(parameters: Mapping[str, Estimate], columns: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Errors and intervals of `columns`, of what has an error and an interval with two ends."""

    def of(name: str, entry: Estimate) -> Estimate:
        bounds = entry.interval95
        if name not in columns or not entry.stderr or bounds is None or None in bounds or entry.origin == "given":
            return entry
        ends = [float(end) for end in np.percentile(columns[name], ENDS)]
        spread = float(columns[name].std(ddof=1))
        return replace(entry, stderr=spread, interval95=(ends[0], ends[1]), interval68=(ends[2], ends[3]))

    return {name: of(name, entry) for name, entry in parameters.items()}


def _inner(
    progress: Progress | None, place: int, entries: Sequence[object], name: str
) -> Callable[[int, int], None] | None:
    """Progress of one of several: each counts as much as the others."""
    if progress is None:
        return None
    return lambda done, total: progress(place * total + done, len(entries) * total, name)
