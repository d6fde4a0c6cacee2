"""What a command prints: progress while it works, the result on one screen, messages on the error stream.

On a terminal there are colours and a moving bar; in a pipe or a log there are plain lines, a few and at intervals.
"""

import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from excidiff.inverse.results.screen import (
    WIDTH,
    goodness_in_words,
    measurements_in_words,
    rows,
    scatter_in_words,
    state,
)
from excidiff.inverse.results.sentences import sentences

COLOURS = {"converged": "green", "partial": "yellow", "failed": "red"}
NARROW = 80  # columns below which a remark stands under its row
EVERY = 5.0  # seconds between two lines of progress in a log


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A callable (done, total, name) for the length of a block: a bar on a terminal, lines elsewhere."""
    if sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _Lines(title)


def say(text: str = "") -> None:
    """A line of output."""
    print(text, flush=True)


def complain(text: str, kind: str = "error") -> None:
    """A message on the error stream, wrapped, with its kind in colour on a terminal."""
    lines = textwrap.wrap(text, WIDTH - len(kind) - 2, break_long_words=False, break_on_hyphens=False) or [""]
    body = f"\n{' ' * (len(kind) + 2)}".join(lines)
    start, end = ("\033[1;31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{start}{kind}:{end} {body}", file=sys.stderr, flush=True)


def show_result(result: Any) -> None:
    """The result on one screen: values with errors, goodness, verdicts, warnings."""
    if not sys.stdout.isatty():
        say(repr(result))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console = Console(highlight=False, width=min(Console().width, WIDTH + 4))
    colour = COLOURS.get(result.status, "white")
    console.print(f"\n[bold {colour}]{state(result)}[/]  {escape(measurements_in_words(result))}")
    console.print(Padding(f"[dim]{escape(result.model)}[/]", (0, 0, 1, 2)))
    table = Table.grid(padding=(0, 3, 0, 0))
    for index, (name, value, note) in enumerate(rows(result)):
        shown = f"[bold{' ' + colour if index == 0 else ''}]{escape(value)}[/]"
        remark = f"[dim]{escape(note)}[/]"
        if console.width >= NARROW:
            table.add_row(escape(name), shown, remark)
            continue
        table.add_row(escape(name), shown)
        if note:
            table.add_row("", remark)
    console.print(Padding(table, (0, 0, 1, 2)))
    if fitness := goodness_in_words(result.goodness):
        console.print(f"  goodness of fit: {fitness}")
    for line in scatter_in_words(result):
        console.print(Padding(escape(f"between images, {line}"), (0, 0, 0, 2)))
    for sign, style, said in zip("•!", ("cyan", "yellow"), sentences(result), strict=True):
        for sentence in said:
            notes = Table.grid(padding=(0, 1, 0, 0))
            notes.add_row(f"[{style}]{sign}[/]", escape(sentence))
            console.print(Padding(notes, (0, 0, 0, 2)))


def show_files(folder: Path, files: Mapping[str, str]) -> None:
    """Where the files of a result lie, and what each is for."""
    say()
    width = max(len(str(folder / name)) for name in files)
    for name, meaning in files.items():
        say(f"  {folder / name!s:<{width}}  {meaning}")


def show_entries(entries: Mapping[str, object]) -> None:
    """Names and values in two columns, long values wrapped."""
    width = max(len(name) for name in entries)
    for name, value in entries.items():
        lines = textwrap.wrap(str(value), max(30, WIDTH - width), break_long_words=False) or [""]
        say(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            say(" " * (width + 2) + line)


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("[dim]{task.fields[name]}"))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, name="")

        def report(done: int, total: int, name: str = "") -> None:
            bar.update(task, completed=done, total=total, name=Path(str(name)).name)

        yield report


class _Lines:
    """Progress as lines: the last one, and one now and then before it."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.last = time.monotonic()

    def __call__(self, done: int, total: int, name: str = "") -> None:
        now = time.monotonic()
        if done == total or now - self.last >= EVERY:
            self.last = now
            print(f"{self.title}: {done} of {total}", file=sys.stderr, flush=True)
