"""A plan answered: the errors to expect, and which change buys most, on the screen and as a page."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excidiff.inverse.planfile import read_plan
from excidiff.inverse.planning import Planned, Setup, alternatives, forecast
from excidiff.inverse.results import page
from excidiff.inverse.results.result import plain
from excidiff.inverse.results.storage import inside, write_text
from excidiff.inverse.results.wording import label

PLAN_FILES = {
    "plan.html": "the page to look at and to show",
    "plan.json": "every number, for programs",
}
WORTH = 0.9  # of the error that is left, below which a change is worth a word
OPEN = "not determined"
ASSUMED = (
    "Errors are the Cramér–Rao bound at the film that is assumed, with centre, brightness and background fitted "
    "alongside; laser and PSF count as known. The fits of excidiff reach it."
)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a plan gives: relative errors now, and with every change that was asked about."""

    setup: Setup
    planned: tuple[Planned, ...]
    errors: dict[str, float | None]
    changed: tuple[tuple[str, dict[str, float | None]], ...]

    def to_dict(self) -> dict[str, Any]:
        values = self.setup.film.items()
        film = {name: {"value": value, "relative_error": self.errors.get(name)} for name, value in values}
        return plain({
            "model": self.setup.model,
            "measurements": [one.words for one in self.planned],
            "film": film,
            "relative_errors": self.errors,
            "changes": [{"change": words, "relative_errors": errors} for words, errors in self.changed],
            "verdicts": self.verdicts,
        })  # fmt: skip

    @property
    def verdicts(self) -> list[str]:
        """What stays open, and per number the change that buys most."""
        said = []
        open_ends = [name for name, error in self.errors.items() if error is None]
        if open_ends:
            names = " and ".join(label(name) for name in open_ends)
            said.append(f"These measurements do not determine {names}, however many photons they have.")
        for name, error in self.errors.items():
            best = min(self.changed, key=lambda one: one[1][name] or float("inf"), default=None)
            if best is None or best[1][name] is None:
                continue
            if error is None:
                said.append(f"{label(name)} would be determined, to {_percent(best[1][name])}, by {best[0]}.")
            elif best[1][name] < WORTH * error:  # type: ignore[operator]
                said.append(f"For {label(name)}, {best[0]} buys most: {_percent(error)} to {_percent(best[1][name])}.")
        return said

    def cells(self) -> list[tuple[str, ...]]:
        """A row for the plan and one for every change."""
        rows = [("as planned", self.errors), *self.changed]
        return [(words, *(_percent(errors[name]) for name in self.errors)) for words, errors in rows]

    def __repr__(self) -> str:
        head = ("", *(label(name) for name in self.errors))
        rows = [head, *self.cells()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", *(f"• {sentence}" for sentence in self.verdicts)])

    def report(self, path: str | Path) -> Path:
        """Write the page: one self-contained HTML file."""
        items = "".join(f"<li>{page.text(sentence)}</li>" for sentence in self.verdicts)
        measured = "; ".join(one.words for one in self.planned)
        head = ("", *(label(name) for name in self.errors))
        parts = [
            f"<header><h1>excidiff: what would these measurements tell?</h1></header>{page.paragraph(measured + '.')}",
            f"<ul class='verdicts'>{items}</ul>",
            page.section("Errors to expect", page.table(ASSUMED, head, self.cells())),
        ]
        return write_text(path, page.document("A plan – excidiff", parts))


def plan_of(path: str | Path, folder: Path, progress: Callable[..., Any] | None = None) -> Plan:
    """Read a plan, find what it gives, and write plan.json and plan.html into `folder`."""
    setup, planned = read_plan(path)
    asked = alternatives(setup, planned)
    found = []
    for number, (words, other, measurements) in enumerate(asked, 1):
        found.append((words, forecast(other, measurements)))
        if progress is not None:
            progress(number, len(asked), words)
    plan = Plan(setup, tuple(planned), forecast(setup, planned), tuple(found))
    text = json.dumps(plan.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
    write_text(inside(folder, "plan.json"), text + "\n")
    plan.report(inside(folder, "plan.html"))
    return plan


def _percent(error: float | None) -> str:
    if error is None:
        return OPEN
    return f"{100 * error:.0f} %" if error >= 0.1 else f"{100 * error:.2g} %"
