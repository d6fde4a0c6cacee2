"""Several samples compared: what every image of each said, what each sample says, and how far every two differ.

All numbers are in `unit`; what cannot be told is None.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from excidiff.inverse.results.sentences import reason
from excidiff.inverse.results.wording import (
    digits,
    label,
    probability,
    unit_for_people,
    value_with_error,
    with_unit,
)

WIDTH = 96  # columns of text
SURE = 0.05  # corrected probability below which two samples are told apart
HEAD_SAMPLES = ("sample", "used", "left out", "mean", "spread between", "p (alike)", "median", "range")
HEAD_PAIRS = ("pair", "difference", "95 %", "p", "p, corrected", "seen from")


class Mean(NamedTuple):
    """A number with its standard error."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Single:
    """One image, or other measurement, of a sample: `state` says whether it counts, `reason` why not."""

    file: str
    value: float | None
    stderr: float | None
    state: Literal["used", "flagged", "failed", "limit", "undetermined"]
    reason: str = ""

    @property
    def used(self) -> bool:
        return self.state == "used"

    @property
    def why(self) -> str:
        """Why it does not count, in words: "flagged: …", "only a limit, …"."""
        told = reason(self).rstrip(".")
        return f"{self.state}: {told}" if self.state in ("flagged", "failed") else told


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample. `noun` is what its measurements are called: image, decay.

    `mean` is that of all places of the sample, images weighted by their own error and the spread between them, with
    what they share in its error, of `freedom` degrees; `own` is that error without it and `common` what they share.
    `weighted` is the mean if all images had one value. `spread` is the standard deviation between images beyond their
    own errors, `alike` the probability that they differ by as much if there is none. None: from too few images.
    """

    name: str
    folder: str
    noun: str
    model: str
    singles: tuple[Single, ...]
    instrument: Mapping[str, Any]
    mean: Mean | None = None
    interval95: tuple[float, float] | None = None
    own: float | None = None
    freedom: int = 0
    common: float | None = None
    weighted: Mean | None = None
    plain: float | None = None
    deviation: float | None = None
    median: float | None = None
    lowest: float | None = None
    highest: float | None = None
    spread: float | None = None
    spread95: tuple[float, float] | None = None
    q: float | None = None
    alike: float | None = None

    @property
    def used(self) -> list[Single]:
        return [one for one in self.singles if one.used]

    @property
    def left_out(self) -> list[Single]:
        return [one for one in self.singles if not one.used]

    def to_dict(self) -> dict[str, Any]:
        states = [one.state for one in self.singles]
        return {
            "name": self.name,
            "folder": self.folder,
            "model": self.model,
            "counts": {state: states.count(state) for state in ("used", "flagged", "failed", "limit", "undetermined")},
            "mean": None if self.mean is None else {
                "value": self.mean.value,
                "stderr": self.mean.stderr,
                "interval95": self.interval95,
                "degrees_of_freedom": self.freedom,
                "stderr_without_common": self.own,
                "stderr_common": self.common,
            },
            "weighted_mean": None if self.weighted is None else self.weighted._asdict(),
            "plain_mean": self.plain,
            "std": self.deviation,
            "median": self.median,
            "min": self.lowest,
            "max": self.highest,
            "between_images": {"std": self.spread, "interval95": self.spread95},
            "alike": {"q": self.q, "degrees_of_freedom": self.freedom, "p_value": self.alike},
            "instrument": dict(self.instrument),
            "images": [
                {"file": one.file, "value": one.value, "stderr": one.stderr, "used": one.used, "state": one.state,
                 "reason": one.reason or None}
                for one in self.singles
            ],
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pair:
    """`first` minus `second`, with the error of both means; None throughout where one has too few images.

    `common` is what the errors that images of one sample share add to it: all of both, or where `one_instrument` says
    that both were measured with the same one, what does not cancel. `corrected` is the probability after Holm for all
    pairs, `seen_from` the difference that these images show four times in five.
    """

    first: str
    second: str
    one_instrument: bool
    value: float | None = None
    stderr: float | None = None
    freedom: float | None = None
    interval95: tuple[float, float] | None = None
    p_value: float | None = None
    corrected: float | None = None
    seen_from: float | None = None
    common: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the two are told apart."""
        return self.corrected is not None and self.corrected < SURE

    def to_dict(self) -> dict[str, Any]:
        return {
            "samples": [self.first, self.second],
            "difference": self.value,
            "stderr": self.stderr,
            "degrees_of_freedom": self.freedom,
            "interval95": self.interval95,
            "p_value": self.p_value,
            "p_corrected": self.corrected,
            "told_apart": None if self.corrected is None else self.sure,
            "seen_from": self.seen_from,
            "stderr_common": self.common,
            "one_instrument": self.one_instrument,
        }


@dataclass(frozen=True, eq=False)
class Samples:
    """The comparison: samples and pairs in the order given, and what to think of them in words."""

    quantity: str
    unit: str
    samples: tuple[Sample, ...]
    pairs: tuple[Pair, ...]
    verdicts: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The quantity for people, with its unit: "diffusion length √(Dτ) (µm)"."""
        unit = unit_for_people(self.unit)
        return f"{label(self.quantity)} ({unit})" if unit else label(self.quantity)

    def to_dict(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity,
            "unit": self.unit,
            "verdicts": list(self.verdicts),
            "warnings": list(self.warnings),
            "samples": [sample.to_dict() for sample in self.samples],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "run": dict(self.record),
        }

    def sample_cells(self) -> list[tuple[str, ...]]:
        """A row per sample, under `HEAD_SAMPLES`; numbers in `unit`."""
        return [_sample_cells(sample) for sample in self.samples]

    def pair_cells(self) -> list[tuple[str, ...]]:
        """A row per pair, under `HEAD_PAIRS`."""
        return [_pair_cells(pair) for pair in self.pairs]

    def __repr__(self) -> str:
        lines = [self.title, ""]
        for head, rows in ((HEAD_SAMPLES, self.sample_cells()), (HEAD_PAIRS, self.pair_cells())):
            lines += [*columns(head, rows), ""]
        for sign, said in zip("•!", (self.verdicts, self.warnings), strict=True):
            for sentence in said:
                lines += textwrap.wrap(sentence, WIDTH, initial_indent=f"{sign} ", subsequent_indent="  ",
                                       break_long_words=False)  # fmt: skip
        return "\n".join(lines)


def columns(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A table as lines of text, columns that are empty throughout left out."""
    kept = filled(head, rows)
    table = [[row[place] for place in kept] for row in (head, *rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(kept))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def filled(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[int]:
    """The columns of a table in which there is anything."""
    return [place for place in range(len(head)) if any(row[place] for row in rows)]


def number(value: float | None, stderr: float | None) -> str:
    """A number to the digits of its error, without it."""
    return "" if value is None else digits(value, stderr)[0]


def in_unit(value: float, unit: str) -> str:
    """A number of two digits with its unit, as an error is told."""
    return with_unit(digits(value, abs(value))[0], unit)


def _sample_cells(sample: Sample) -> tuple[str, ...]:
    used = sample.used
    error = sample.deviation or (used[0].stderr if used else None)
    lies = [number(value, error) for value in (sample.lowest, sample.highest)]
    mean = "–" if sample.mean is None else value_with_error(*sample.mean)
    return (
        sample.name,
        str(len(used)),
        str(len(sample.left_out) or ""),
        mean,
        _spread(sample),
        "" if sample.alike is None else probability(sample.alike),
        number(sample.median, error),
        " to ".join(lies) if used else "",
    )


def _spread(sample: Sample) -> str:
    """ "0.012 (0.005 to 0.031)": the spread between images and its 95 % interval."""
    if sample.spread is None or sample.spread95 is None:
        return ""
    low, high = sample.spread95
    if not high:
        return "0"
    told = [number(value, high) if value else "0" for value in (sample.spread, low, high)]
    return f"{told[0]} ({told[1]} to {told[2]})"


def _signed(text: str) -> str:
    """With a minus that is one."""
    return text.replace("-", "−")


def _pair_cells(pair: Pair) -> tuple[str, ...]:
    names = f"{pair.first} − {pair.second}"
    if pair.value is None or pair.stderr is None or pair.interval95 is None or pair.seen_from is None:
        return (names, "–", "", "", "", "")
    low, high = (_signed(number(value, pair.stderr)) for value in pair.interval95)
    return (
        names,
        _signed(value_with_error(pair.value, pair.stderr)),
        f"{low} to {high}",
        probability(pair.p_value),
        probability(pair.corrected),
        digits(pair.seen_from, pair.seen_from)[0],
    )
