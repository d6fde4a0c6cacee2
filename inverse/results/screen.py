"""A result on one screen of text, for the terminal and the notebook."""

import html
import textwrap
from collections.abc import Mapping
from typing import Any, Protocol

from excidiff.inverse.results.sentences import sentences
from excidiff.inverse.results.wording import (
    counted,
    digits,
    estimate_in_words,
    in_cm2_per_s,
    interval,
    label,
    limit,
    lopsided,
    origin_for_people,
    p_in_words,
    with_unit,
)

WIDTH = 96
PER_IMAGE = ("centre_x", "centre_y", "amplitude", "background")


class Shown(Protocol):
    """What a result must offer to be shown: the fields of `FitResult`."""

    @property
    def status(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def verdicts(self) -> tuple[str, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def measurements(self) -> tuple[Any, ...]: ...
    @property
    def images(self) -> tuple[Any, ...]: ...
    @property
    def laser(self) -> Any: ...
    @property
    def scatter(self) -> Mapping[str, Any]: ...
    @property
    def goodness(self) -> Mapping[str, Any]: ...


def rows(result: Shown) -> list[tuple[str, str, str]]:
    """Per parameter worth a reader's time: label, value ± error with unit, remark. Main results first."""
    return [
        (label(name), estimate_in_words(entry), remark(name, entry))
        for name, entry in result.parameters.items()
        if not (len(result.images) > 1 and name in PER_IMAGE)
    ]


def remark(name: str, entry: Any) -> str:
    """What belongs beside a value: that it was given, is a limit or undetermined, else its 95 % interval."""
    if not entry.identifiable:
        return "not determined by these data"
    parts = [in_cm2_per_s(entry)] if name == "diffusivity" else []
    if bound := limit(entry):
        return ", ".join((*parts, "upper limit" if bound[0] == "<" else "lower limit"))
    if entry.origin != "fitted":
        parts.append(origin_for_people(entry.origin))
    if entry.at_bound:
        parts.append("at its bound")
    if lopsided(entry) and (inner := interval(entry.interval68, entry.stderr)):
        parts.append(f"68 %: {inner}")
    if bounds := interval(entry.interval95, entry.stderr):
        parts.append(f"95 %: {bounds}")
    return ", ".join(part for part in parts if part)


def state(result: Shown) -> str:
    """How the fit went, in a word; a single measurement in doubt is "flagged", as nothing but it is "partial"."""
    alone = len(result.measurements) == 1 and result.measurements[0].status == "flagged"
    return "flagged" if alone else result.status


def measurements_in_words(result: Shown) -> str:
    """ "12 images, 1 decay, 1 flagged": how many measurements there are and how they fared."""
    kinds = ["movie" if one.gates is not None else one.kind for one in result.measurements]
    number = ", ".join(counted(kinds.count(kind), kind.replace("_", " ")) for kind in dict.fromkeys(kinds))
    if state(result) == "flagged":
        return number
    statuses = [measurement.status for measurement in result.measurements]
    rest = [f"{statuses.count(status)} {status}" for status in ("flagged", "failed") if status in statuses]
    return ", ".join([number, *rest])


def goodness_in_words(goodness: Mapping[str, Any]) -> str:
    """The deviance over its expectation and the probability of one this large; empty when unknown."""
    ratio = goodness.get("deviance_ratio")
    if ratio is None:
        return ""
    chance = goodness.get("p_value")
    return f"deviance / expected {ratio:.3f}" + ("" if chance is None else f", {p_in_words(chance)}")


def scatter_in_words(result: Shown) -> list[str]:
    """One line per parameter: how much the images differ among themselves."""
    lines = []
    for name, entry in result.scatter.items():
        if isinstance(entry, Mapping) and entry.get("std") is not None and (entry.get("n") or 0) > 1:
            known = result.parameters.get(name)
            unit = known.unit if known is not None else ""
            mean, deviation = (with_unit(text or "0", unit) for text in digits(entry["mean"], entry["std"]))
            lines.append(f"{label(name)}: mean {mean}, s.d. {deviation}, of {entry['n']} images")
    return lines


def one_screen(result: Shown) -> str:
    """The result as plain text: status, values, goodness, scatter, verdicts, warnings."""
    lines = [f"{state(result)}: {measurements_in_words(result)}", *_wrapped(result.model, "  ", "  "), ""]
    table = rows(result)
    if table:
        widths = [max(len(row[column]) for row in table) for column in (0, 1)]
        for name, value, note in table:
            first = f"  {name:<{widths[0]}}  {value:<{widths[1]}}  "
            lines += _wrapped(note, first, " " * len(first)) if note else [first.rstrip()]
        lines.append("")
    if fitness := goodness_in_words(result.goodness):
        lines.append(f"  goodness of fit: {fitness}")
    for line in scatter_in_words(result):
        lines += _wrapped(f"between images, {line}", "  ", "    ")
    for sign, said in zip("•!", sentences(result), strict=True):
        for sentence in said:
            lines += _wrapped(sentence, f"  {sign} ", "    ")
    return "\n".join(lines).rstrip()


def html_table(result: Shown) -> str:
    """The result as a small table for a notebook."""
    body = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td>"
        f"<td>{html.escape(note)}</td></tr>"
        for name, value, note in rows(result)
    )
    verdicts, warnings = sentences(result)
    notes = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in (*verdicts, *warnings))
    head = html.escape(f"{state(result)}: {measurements_in_words(result)}")
    return f"<div><strong>{head}</strong><br>{html.escape(result.model)}<table>{body}</table><ul>{notes}</ul></div>"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)
