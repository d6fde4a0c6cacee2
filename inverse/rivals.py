"""Which models an experiment's data can be asked about, and the answer: `Comparison`, as a table and a page."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from excidiff.inverse.batch import Progress
from excidiff.inverse.compare import PARTS, Candidate, hold, table, verdict
from excidiff.inverse.experiment import Experiment
from excidiff.inverse.fit.layout import FILMS
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.lifetimes import MOST, lifetimes_in_words, measure_decays
from excidiff.inverse.powerverdicts import WORDS
from excidiff.inverse.results import page
from excidiff.inverse.results.result import plain
from excidiff.inverse.results.storage import write_text
from excidiff.inverse.results.wording import probability
from excidiff.solver.solution import InputError

MECHANISMS = {
    "free": "the same spectrum everywhere",
    "relaxation": "energy relaxation among sites",
    "reabsorption": "light absorbed again on its way along the film",
}
HEAD = ("model", "numbers", "ΔAIC", "ΔBIC", "Δ predictive deviance", "structure p", "")
CAPTION = (
    "Differences to the best of each column. Predictive deviance: of pixels or bins that the fit had not seen, in "
    "{parts} parts; ± is the error of the difference."
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models of the same data: one row each (see `compare`), and what follows, in words."""

    rows: Sequence[Mapping[str, Any]]
    verdicts: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"models": [dict(row) for row in self.rows], "verdicts": list(self.verdicts), "settings": self.settings}

    def to_json(self) -> str:
        """As strict JSON text."""
        return json.dumps(plain(self.to_dict()), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def cells(self) -> list[tuple[str, ...]]:
        """The table in words: a row per model."""
        return [
            (
                f"{row['model']}: {row['words']}",
                str(row["numbers"]),
                f"{row['aic_above_least']:.1f}",
                f"{row['bic_above_least']:.1f}",
                f"{row['predictive_above_least']:.1f} ± {row['predictive_error']:.1f}",
                probability(row["structure_p"]),
                "" if row["accepted"] else "rejected",
            )
            for row in self.rows
        ]

    def report(self, path: str | Path) -> Path:
        """Write the page: one self-contained HTML file."""
        items = "".join(f"<li>{page.text(sentence)}</li>" for sentence in self.verdicts)
        classes = ["" if row["accepted"] else "flagged" for row in self.rows]
        parts = [
            f"<header><h1>excidiff: which model do the data ask for?</h1></header><ul class='verdicts'>{items}</ul>",
            page.section("The models", page.table(CAPTION.format(parts=PARTS), HEAD, self.cells(), classes)),
        ]
        return write_text(path, page.document("Models compared – excidiff", parts))

    def __repr__(self) -> str:
        rows = [HEAD, *self.cells()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, "", *(f"• {sentence}" for sentence in self.verdicts)])


def compare(experiment: Experiment, progress: Progress | None = None) -> Comparison:
    """Fit every model that the data can be asked about, and hold them against each other.

    Of a fluence series all films, of decays one to three lifetimes, of a spectral map with and without relaxation, and
    with light absorbed again where the absorption is known.
    Raises InputError for data that one model alone describes.
    """
    with jax.enable_x64(True):
        found = hold(_candidates(experiment), progress)
    return Comparison(table(found), tuple(verdict(found)), experiment.settings())


def _candidates(experiment: Experiment) -> list[Callable[[], Candidate]]:
    if experiment.images:
        raise InputError(
            "steady images and frames have one model here, the uniform film (or the landscape that is given): compare "
            "decays, spectral maps, or data of several powers"
        )
    if experiment.series is not None:
        series = experiment.series
        if not (series.images or series.frames or series.decays or series.spectral_maps):
            raise InputError(
                "scans alone have no numbers that could be held back to see what models predict, as each is one: "
                "compare them beside decays or images; excidiff fit chooses the simplest film that they do not reject"
            )
        optics = None if experiment.series.uniform else experiment.optics()
        return [partial(_film, experiment, optics, name) for name in FILMS]
    if experiment.spectral_map is not None:
        absorbing = ("reabsorption",) if experiment.absorption is not None else ()
        return [partial(_map, experiment, name) for name in ("free", "relaxation", *absorbing)]
    return [partial(_lifetimes, experiment, count) for count in range(1, MOST + 1)]


def _film(experiment: Experiment, optics: Optics | None, name: str) -> Candidate:
    found, _ = experiment.measured_series(name, optics)  # type: ignore[arg-type]
    return Candidate(name, WORDS[name], (found.fit,), found.measurements)


def _map(experiment: Experiment, name: str) -> Candidate:
    found = replace(experiment, model=name).measured_map()
    return Candidate(name, MECHANISMS[name], (found.fit,), (found.measurement,))


def _lifetimes(experiment: Experiment, count: int) -> Candidate:
    found = measure_decays(experiment.decays, count)
    name = "free" if count == 1 else f"mixture of {count}"
    fits = tuple(one.fit for one in found)
    return Candidate(name, lifetimes_in_words(count), fits, tuple(one.measurement for one in found))
