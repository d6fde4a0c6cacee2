"""What samples say, in sentences: which differ and by how much, what was left out, what the errors hold and do not."""

from collections.abc import Sequence

from excidiff.inverse.batch import DISAGREE
from excidiff.inverse.results.sampled import Pair, Sample, Single, in_unit
from excidiff.inverse.results.sentences import file_name
from excidiff.inverse.results.wording import counted, p_in_words, value_with_error

LISTED = 4  # images of a sample that are named one by one when they are left out
FEW = 4  # images below which the spread between them is hardly known
MATTERS = 0.2  # of a mean's own error, above which what all images share is worth a word
LONG = ("diffusion_length", "deconvolved_length", "lifetime")
METHODS = (
    "Per sample, the {quantity} of its images was averaged with weights 1/(s² + σ_b²), s the error of an image's own "
    "fit and σ_b the standard deviation between images beyond it (Paule and Mandel), with 95 % interval from the "
    "quantiles of Q (Viechtbauer). Errors of the means are those of Hartung and Knapp, never smaller than the images' "
    "errors explain; differences were held against Student's t with degrees of freedom after Welch and Satterthwaite, "
    "and probabilities of all pairs corrected after Holm. What all images of a sample share, such as the error of the "
    "laser's width, was taken from the error of the mean of each fit and counted once. An error of the pixel size is "
    "in none of these errors: it changes all lengths by one factor. The analysis was done with {software}."
)


def verdicts(samples: Sequence[Sample], pairs: Sequence[Pair], quantity: str, unit: str) -> list[str]:
    """All there is to say, what matters most first."""
    told = [pair for pair in pairs if pair.corrected is not None]
    return [
        *(_on_pair(pair, len(told), quantity, unit) for pair in told),
        *_on_few(samples),
        *_on_left_out(samples),
        *_on_spread(samples, unit),
        *_on_common(samples, told, unit),
    ]


def methods(quantity: str, software: str) -> str:
    """One paragraph for a paper."""
    return METHODS.format(quantity=_plain(quantity), software=software)


def _plain(quantity: str) -> str:
    return quantity.replace("_", " ")


def _on_pair(pair: Pair, count: int, quantity: str, unit: str) -> str:
    assert pair.value is not None
    assert pair.stderr is not None
    assert pair.corrected is not None
    assert pair.seen_from is not None
    size = value_with_error(abs(pair.value), pair.stderr, unit)
    chance = p_in_words(pair.corrected) + (f", corrected for {count} pairs" if count > 1 else "")
    if pair.sure:
        more, less = (pair.first, pair.second) if pair.value > 0 else (pair.second, pair.first)
        word = "longer" if quantity.startswith(LONG) else "larger"
        return f"The {_plain(quantity)} of {more} is {word} than that of {less} by {size} ({chance})."
    return (
        f"{pair.first} and {pair.second} are not told apart by their {_plain(quantity)}: {size} between them "
        f"({chance}). A difference of less than {in_unit(pair.seen_from, unit)} would not be seen with these images "
        "(four times in five)."
    )


def _on_few(samples: Sequence[Sample]) -> list[str]:
    said = []
    for sample in samples:
        number = len(sample.used)
        if number < 2:
            words = f"{counted(number, sample.noun)} that counts" if number else f"no {sample.noun} that counts"
            said.append(f"{sample.name} has {words}: no difference from it can be told; at least two are needed.")
        elif number < FEW:
            said.append(
                f"{sample.name} has only {counted(number, sample.noun)} that count, which hardly tell how much "
                f"{sample.noun}s of one sample differ: its error and the probabilities are rough."
            )
    return said


def _on_left_out(samples: Sequence[Sample]) -> list[str]:
    said = []
    for sample in samples:
        out = sample.left_out
        if out:
            names = "; ".join(f"{file_name(one.file)} ({one.why})" for one in out[:LISTED])
            more = f"; and {len(out) - LISTED} more, see the table of all" if len(out) > LISTED else ""
            said.append(f"{sample.name}: {len(out)} of {len(sample.singles)} left out: {names}{more}.{_bias(out)}")
    return said


def _bias(out: Sequence[Single]) -> str:
    """Which way the mean is off where values were left out for being low, or high."""
    limits = [one.reason for one in out if one.state == "limit"]
    low = sum(" < " in reason for reason in limits)
    high = len(limits) - low
    if not limits or (low and high):
        return ""
    side, mean = ("low", "large") if low else ("high", "small")
    return f" What gives only a limit is {side}, so that the mean is too {mean}."


def _on_spread(samples: Sequence[Sample], unit: str) -> list[str]:
    """Where images of one sample differ by more than their errors, and where by less."""
    said, apart, close = [], [], []
    for sample in samples:
        if sample.alike is not None and sample.spread and sample.alike < DISAGREE:
            size = in_unit(sample.spread, unit)
            apart.append(f"{sample.name} (standard deviation {size}, {p_in_words(sample.alike)})")
        elif sample.alike is not None and sample.alike > 1 - DISAGREE:
            close.append(f"{sample.name} (p = {sample.alike:.4g})")
    noun = samples[0].noun
    if apart:
        said.append(
            f"{noun.capitalize()}s differ by more than their own errors within {', '.join(apart)}: the sample or the "
            "focus varies from place to place. The errors of the means hold that."
        )
    if close:
        said.append(
            f"{noun.capitalize()}s agree better than their own errors would have it within {', '.join(close)}: these "
            "may be too large."
        )
    return said


def _on_common(samples: Sequence[Sample], pairs: Sequence[Pair], unit: str) -> list[str]:
    """What images of one sample share, and whether it cancels between samples."""
    shared = [s.common for s in samples if s.common and s.own and s.common > MATTERS * s.own]
    if not shared or not pairs:
        return []
    own = [pair for pair in pairs if not pair.one_instrument]
    what = f"The error that all images of a sample share (laser, PSF), up to {in_unit(max(shared), unit)}"
    if own:
        names = ", ".join(f"{pair.first} and {pair.second}" for pair in own[:LISTED])
        some = "" if len(own) == len(pairs) else f" of {names}{', …' * (len(own) > LISTED)}"
        return [
            f"{what}, does not shrink with more images. It was added to the difference{'s' * (len(own) > 1)}{some}, as "
            "the results name unlike lasers, PSFs or pixel sizes; with one laser image for all samples it would cancel."
        ]
    return [
        f"{what}, cancels in the differences, as the results name the same laser, PSF and pixel size for all samples. "
        "That holds only if nothing of the instrument was changed between them, the focus not either."
    ]
