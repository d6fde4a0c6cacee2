"""What the fit means, in sentences: what the data cannot tell, what to add, what to distrust."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from excidiff.inverse.batch import DISAGREE
from excidiff.inverse.estimates import DOUBTFUL, is_endless, is_limit
from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.parameters import UNITS
from excidiff.inverse.fit.quality import AT_ODDS
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import chi2_tail
from excidiff.inverse.lifetimes import MeasuredDecay, lifetimes_in_words
from excidiff.inverse.measure import Measured
from excidiff.inverse.results.result import Estimate, Measurement
from excidiff.inverse.results.wording import estimate_in_words as in_words
from excidiff.inverse.results.wording import interval, label, unit_for_people, value_with_error

LISTED = 4  # images that are named one by one when they go wrong
TOLD = 0.02  # of the variance of what was known beforehand, which data must take away to have told of it
MISMATCH = 0.05  # relative error of the spot's width for which its effect on L is told


def on_priors(found: Mapping[str, Estimate], priors: Mapping[str, tuple[float, float]]) -> list[str]:
    """What the data made of numbers that another measurement gave with an error."""
    said = []
    for name, (value, stderr) in priors.items():
        entry = found.get(name)
        if entry is None or entry.value is None or not entry.stderr:
            continue
        given = f"{label(name)} came from elsewhere as {value_with_error(value, stderr, entry.unit)}"
        gained = stderr**2 - entry.stderr**2
        if gained < TOLD * stderr**2:
            said.append(f"{given}: these data tell no more of it, and its error is that of the other measurement.")
            continue
        z = abs(entry.value - value) / np.sqrt(gained)
        held = "agree with it" if z < AT_ODDS else "contradict it, and the mean of both should not be believed"
        said.append(f"{given}: these data {held} ({z:.1f} σ apart); both together give {in_words(entry)}.")
    return said


def on_gates(found: Mapping[str, Estimate]) -> list[str]:
    """What of D, τ and L the gates of a movie determine, and which gates would help."""
    diffusivity, lifetime, length = (found[name] for name in ("diffusivity", "lifetime", "diffusion_length"))
    said = []
    if is_endless(lifetime):
        least = "" if lifetime.value is None else f" (τ {in_words(lifetime)})"
        said.append(
            f"The gates are too short against the lifetime: they do not determine it{least}, nor L = √(Dτ), nor how "
            "many photons come in all. Give the lifetime, or add later gates."
        )
    elif is_limit(lifetime, 0):
        said.append(
            f"The gates are too long against the lifetime (τ {in_words(lifetime)}): they see L = √(Dτ), as a steady "
            "image does, not D and τ apart. Give the lifetime, or take shorter gates."
        )
    elif _hardly(lifetime):
        said.append(
            f"The gates hardly determine the lifetime, {_between(lifetime)}, on which L = √(Dτ) rests. Give the "
            "lifetime, or add gates that follow the decay."
        )
    if is_limit(diffusivity, 0):
        limit = f" and L {in_words(length)}" if is_limit(length, 0) else ""
        said.append(
            "The spot does not widen from gate to gate, within its noise: the diffusivity is compatible with zero and "
            f"only an upper limit can be given: D {in_words(diffusivity)}{limit}. Later gates, a narrower laser spot "
            "or more photons would help."
        )
    elif diffusivity.value is None:
        said.append("The gates do not determine the diffusivity: more photons or other gates are needed.")
    elif _hardly(diffusivity):
        said.append(
            f"The gates hardly determine the diffusivity, {_between(diffusivity)}: later gates, a narrower laser spot "
            "or more photons would help."
        )
    for given, other in (("lifetime", "diffusivity"), ("diffusivity", "lifetime")):
        if found[given].origin == "given" and found[other].stderr:
            said.append(
                f"The time gates determine the {other} with the {given} that was given, {in_words(found[given])}."
            )
    sure = diffusivity.stderr and lifetime.stderr and not said
    both = "The time gates determine diffusivity and lifetime each on its own; L = √(Dτ) follows from them."
    return [both] if sure else said


def _hardly(entry: Estimate) -> bool:
    return entry.stderr is not None and entry.stderr > DOUBTFUL * (entry.value or 0.0)


def _between(entry: Estimate) -> str:
    return f"{interval(entry.interval95, entry.stderr)} {unit_for_people(entry.unit)} (95 %)"


def on_identifiability(length: Estimate, lifetime: Estimate, *, decays: bool = False) -> list[str]:
    """What of D, τ and L a steady image determines; `decays`: whether a decay was there to tell the lifetime."""
    if length.at_bound:
        upper = None if length.interval95 is None else length.interval95[1]
        if length.interval95 is not None and length.value in length.interval95:
            sense = "larger" if upper is None else "smaller"
            return [
                f"The diffusion length ended on the bound that was set ({length.value:.4g} µm); "
                f"the data want it {sense}."
            ]
        if upper is None:
            return [
                "The diffusion length ended on a bound: the image and what is known of the spot do not determine it."
            ]
        return [
            "The image is no wider than the laser's own spot, within its noise: the diffusion length is compatible "
            f"with zero and only an upper limit can be given: L < {upper:.3g} µm (95 %). A narrower laser spot or more "
            "photons would help."
        ]
    told = "A steady image fixes the diffusion length L = √(Dτ) only, not the diffusivity D and the lifetime τ apart"
    if lifetime.value is None or lifetime.at_bound:
        cure = "" if decays else " Give the lifetime, from a decay of this film, to obtain D."
        return [f"{told}: any D and τ with the same product fit alike.{cure}"]
    if lifetime.origin != "given":
        return [f"{told}: D = L²/τ rests on the lifetime that the decay shows, {in_words(lifetime)}."]
    error = f" ± {lifetime.stderr:.3g}" if lifetime.stderr else ""
    return [f"{told}: D = L²/τ rests on the lifetime that was given, {lifetime.value:.4g}{error} ns."]


def on_decays(
    decays: Sequence[MeasuredDecay], chance: float | None, *, chosen: bool = False, beside: bool = False
) -> list[str]:
    """What decays determine, alone or `beside` images; `chance`: that they agree; `chosen`: their number of lifetimes
    was left to the program."""
    said = []
    for found in decays:
        entry, name = found.measurement, found.decay.file
        count = lifetimes_in_words(found.fit.components)
        if entry.status != "fitted":
            said.append(f"{name} is flagged: {entry.reason}.")
        else:
            fewer = ", and fewer do not" if chosen and found.fit.components > 1 else ""
            said.append(f"{name}: {count} describes it{fewer}.")
        short = [one for one in found.lifetimes if is_limit(one, 0)]
        long = [one for one in found.lifetimes if is_limit(one, 1)]
        if short:
            said.append(
                f"{name}: a lifetime is too short against the instrument (σ {1e3 * found.resolution:.3g} ps): the "
                f"decay gives an upper limit only, τ {in_words(short[0])}. A faster detector, a streak camera or more "
                "photons, of the response too, would tell it."
            )
        if long:
            said.append(
                f"{name}: a lifetime is too long against the window of {np.ptp(found.decay.edges):.4g} ns: the decay "
                f"gives a lower limit only, τ {in_words(long[0])}. A longer window, or a laser that repeats more "
                "slowly, would tell it."
            )
        if any(one.value is None for one in found.lifetimes):
            said.append(
                f"{name}: {count} cannot be told apart in it: any of several pairs fit alike. Fewer components, more "
                "photons or a known lifetime would help."
                if found.fit.components > 1
                else f"{name}: it does not determine a lifetime; look at the decay, its window and its background."
            )
    if len(decays) > 1 and any(found.fit.components > 1 for found in decays):
        said.append("The decays are mixtures, each with lifetimes of its own: see the values of each.")
    if beside and any(found.measurement.status != "fitted" for found in decays):
        said.append(
            "Image and decay disagree on the model: the image is fitted with one lifetime, which the decay does not "
            "show, so that D = L²/τ has no certain τ. Fit the decay alone for its lifetimes, and check that both are "
            "of the same film."
        )
    if chance is not None and chance < DISAGREE:
        said.append(
            f"The decays differ by more than their errors (p = {chance:.1g}): their mean lifetime is that of no one "
            "film, and its error does not cover the difference."
        )
    return said


def on_deconvolution(length: Estimate, deconvolved: Estimate, *, uniform: bool) -> list[str]:
    """How far Gaussian width subtraction is from the full model."""
    if length.value is None or length.at_bound:
        return []
    if deconvolved.value is None:
        return ["The image's Gaussian width is no larger than the laser's: width subtraction gives no length at all."]
    away = deconvolved.value / length.value - 1
    side = "less" if away < 0 else "more"
    why = "a spot spread by diffusion and decay is not a Gaussian"
    if not uniform:
        why = "it knows nothing of the landscape, nor that a spot spread by diffusion and decay is not a Gaussian"
    return [
        f"Gaussian width subtraction would give {deconvolved.value:.4g} µm, {abs(away):.1%} {side} than the diffusion "
        f"length {length.value:#.4g} µm of the full model: {why}."
    ]


def on_optics(measured: Measured, optics: Optics) -> list[str]:
    """How an error of the spot's width, such as colours that blur unlike, moves L."""
    length, follow = measured.length, measured.slope
    if length.value is None or length.at_bound or not follow:
        return []
    shift = -follow * MISMATCH
    if abs(shift) > 0.5:
        return [f"The length hangs on the width of the spot: were that {MISMATCH:.0%} wider, L would be another one."]
    sense = "smaller" if shift > 0 else "larger"
    sentence = (
        f"If the emission were blurred so that its spot without diffusion is {MISMATCH:.0%} wider than assumed "
        f"(a PSF grows with the wavelength), L would be {abs(shift):.1%} {sense}."
    )
    ratio = optics.wavelength_ratio
    if ratio < 1 and optics.psf is None and optics.laser is not None:
        most = abs(follow) * (1 / ratio - 1)
        sentence += (
            f" The emission's wavelength is {1 / ratio - 1:.1%} longer than the laser's and no PSF was given: L may be "
            f"too large by up to {most:.1%}. Give the PSF to correct for it."
        )
    return [sentence]


def on_scatter(measured: Sequence[Measured], chi2: float | None, mean: float | None) -> list[str]:
    """Whether the images agree with each other within their fit errors; which of them stand out."""
    freedom = len(measured) - 1
    if freedom < 1 or chi2 is None or mean is None:
        return []
    chance = chi2_tail(chi2, freedom)
    words = "p < 1e-10" if chance < 1e-10 else f"p = {chance:.1g}"
    if chance >= DISAGREE:
        return [f"The {len(measured)} images agree with each other within their fit errors (p = {chance:.2g})."]
    far = [m for m in measured if m.length.stderr and abs((m.length.value or mean) - mean) > 4 * m.length.stderr]
    names = f" Furthest off: {', '.join(m.measurement.file for m in far[:5])}." if far else ""
    return [
        f"The images differ by {(chi2 / freedom) ** 0.5:.3g} times their fit errors ({words}): the film or the focus "
        f"varies from place to place, and the error of the mean does not cover that; see the scatter.{names}"
    ]


def on_spot(measured: Sequence[Measured], optics: Optics) -> list[str]:
    """Whether the images together contradict the laser, where none does so by itself (that one is flagged)."""
    found = [m.spot for m in measured if m.spot is not None]
    if len(found) < 2 or any(abs(one.pull) > AT_ODDS for one in found):
        return []
    precision = np.array([1 / one.variance for one in found])
    value = float(precision @ np.array([one.value for one in found]) / precision.sum())
    told = float(np.log(optics.width.value))
    pull = (value - told) / float(np.sqrt(1 / precision.sum() + (optics.width.stderr / optics.width.value) ** 2))
    if abs(pull) <= AT_ODDS:
        return []
    asked, given = (FWHM * float(np.exp(width)) for width in (value, told))
    return [
        f"Images and laser contradict each other: the images ask for a spot of {asked:.4g} µm FWHM before diffusion, "
        f"the laser says {given:.4g} µm, {abs(pull):.1f} standard deviations away; do not trust the length. Check "
        "focus, magnification and pixel size of both."
    ]


def on_stacks(images: Sequence[Image], chi2: float | None) -> list[str]:
    """That the frames of one file were taken as images of their own, where that does not go well."""
    frames = Counter(image.file for image in images if image.frame is not None)
    told = [f"{file}: its {count} frames" for file, count in frames.items() if count > 2]
    if not told or (chi2 is not None and chi2_tail(chi2, len(images) - 1) >= DISAGREE):
        return []
    return [
        f"{'; '.join(told)} were fitted as steady images, each on its own. If they are time gates after a pulse, they "
        "belong together: Experiment(images=..., gates=...) in Python."
    ]


def on_images(measurements: Sequence[Measurement], used: int) -> list[str]:
    """Which images are flagged or failed, and why."""
    bad = [entry for entry in measurements if entry.status != "fitted"]
    said = [f"{entry.file} {_became(entry)}: {_without(entry.file, entry.reason)}." for entry in bad[:LISTED]]
    if len(bad) > LISTED:
        said.append(f"{len(bad) - LISTED} more images were flagged or failed likewise; each has its reason below.")
    left_out = sum(entry.status == "flagged" for entry in measurements) and used < sum(
        entry.status != "failed" for entry in measurements
    )
    if left_out:
        said.append("Flagged images are left out of the mean.")
    return said


def _became(entry: Measurement) -> str:
    return "failed" if entry.status == "failed" else f"is {entry.status}"


def _without(file: str, reason: str | None) -> str:
    """A reason without the name that stands before it already."""
    return (reason or "").removeprefix(f"{file}: ")


def on_limits(measured: Sequence[Measured], averaged: Sequence[Measured]) -> list[str]:
    """Images that could be fitted but whose length has no error, so that the mean does without them."""
    good = [m for m in measured if m.measurement.status == "fitted"] or list(measured)
    if len(averaged) > 1 and all(m.length.at_bound for m in averaged):
        return [
            f"None of the {len(averaged)} images determines the diffusion length, so there is no mean: what is given "
            f"is from the first of them, {averaged[0].measurement.file}."
        ]
    out = [m for m in good if m not in averaged]
    limits = [m for m in out if is_limit(m.length, 0)]
    said = []
    if limits:
        verb = "gives" if len(limits) == 1 else "give"
        said.append(
            f"{len(limits)} of {len(good)} images {verb} only an upper limit and {'is' if verb == 'gives' else 'are'} "
            "not in the mean, which is then too large for the film."
        )
    if len(out) > len(limits):
        said.append(f"{len(out) - len(limits)} of {len(good)} images give L without an error and are not in the mean.")
    return said


def on_noise(measured: Sequence[Measured]) -> list[str]:
    """A remark where the noise was taken from the residuals, so that no goodness of fit exists."""
    if all(m.fit.noise_known for m in measured):
        return []
    return [
        "No uncertainty came with the data: the errors are those that the residuals show, and the goodness of the fit "
        "cannot be judged. For counts of photons, the Poisson law gives smaller errors and a test."
    ]


def on_blind(measured: Sequence[Measured]) -> list[str]:
    """Directions in which the data say nothing."""
    names = dict.fromkeys(name for m in measured for name in m.fit.blind)
    if not names:
        return []
    listed = " and ".join(f"{name.replace('_', ' ')} ({UNITS[name]})" for name in names)
    return [f"The data do not determine {listed} separately: only a combination is fixed, so none has an error."]
