"""What pulses of several powers tell of a film and what they leave open, in words."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from excidiff.inverse.estimates import is_limit
from excidiff.inverse.files.decays import Histogram, Response
from excidiff.inverse.fit.layout import FILMS
from excidiff.inverse.fit.response import above_dark
from excidiff.inverse.fluences import MeasuredSeries
from excidiff.inverse.results.result import Estimate
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.inverse.results.wording import label

WORDS = {
    "free": "one lifetime alone",
    "annihilation": "annihilation of two excitons",
    "traps": "traps that never fill",
    "saturable traps": "traps that fill",
}
SHARPER = 3.0  # times the photons of a decay, that its response must have for its own noise to be left out


def on_powers(found: MeasuredSeries, tried: Sequence[MeasuredSeries]) -> list[str]:
    """Which model the powers ask for, what of it they determine, and what would tell the rest."""
    said = [f"{entry.file} is flagged: {entry.reason}." for entry in found.measurements if entry.status != "fitted"]
    said += _choice(found, tried)
    densities = [shot.density for shot in found.series.shots]
    model, values = found.fit.model, found.parameters
    open_ends = [name for name in FILMS[model] if name in values and _open(values[name])]
    open_ends = [name for name in open_ends if name not in found.fit.unseen]
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
            "numbers are those of the mean, as if it were even, with errors from the scatter between parts of each "
            "scan, taken as common to all of a kind; excidiff map of a scan shows where it differs."
        )
    rough = [one for one in found.fit.surveyed if one.rough > 1]
    if rough:
        names = ", ".join(dict.fromkeys(one.scan.file for one in rough))
        said.append(
            f"Neighbouring positions differ by more than their noise ({names}: by up to "
            f"{max(one.rough for one in rough) ** 0.5:.3g} times): counts that are not photons do so, for which give "
            "the gain, or a film that varies from step to step. The errors follow the scatter."
        )
    if any(one.look.ages for one in found.fit.surveyed):
        until = found.series.exposure or found.series.period
        window = "" if until is None else f" up to {until:g} ns after the pulse"
        if until is not None or found.fit.model != "free":
            said.append(
                f"Lifetimes of scans are taken for the mean age of all photons{window}, which is what the mean time of "
                "their arrival is; one exponential fitted to them gives another number."
            )
    if found.fit.unseen:
        said.append(
            "All light of such a film is the same wherever excitons go: images, or scans with a detector that moves "
            "with the laser and sees the light near it, would tell the diffusivity."
        )
    if not found.fit.settled:
        said.append(
            "More steps in time, a longer window or a larger disc still change what the film shows by a tenth of an "
            "error or more: give the exposure, if the light was not integrated to the end."
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
