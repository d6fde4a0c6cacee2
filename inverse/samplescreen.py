"""Samples compared, as a terminal shows them: tables and sentences, in colour where there is some."""

import sys

from excidiff.inverse.results.sampled import HEAD_PAIRS, HEAD_SAMPLES, WIDTH, Samples, filled
from excidiff.inverse.terminal import say

SHOWN = 6  # columns of the samples' table; median and range are on the page


def show_samples(found: Samples) -> None:
    """Samples, pairs, verdicts and warnings on one screen; pairs that are told apart stand out."""
    if not sys.stdout.isatty():
        say(repr(found))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console = Console(highlight=False, width=min(Console().width, WIDTH + 4))
    console.print(f"\n[bold]{escape(found.title)}[/]\n")
    heads = (HEAD_SAMPLES[:SHOWN], HEAD_PAIRS)
    rows = ([row[:SHOWN] for row in found.sample_cells()], found.pair_cells())
    looks = ([""] * len(found.samples), ["bold green" if pair.sure else "" for pair in found.pairs])
    for head, cells, styles in zip(heads, rows, looks, strict=True):
        kept = filled(head, cells)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for place in kept:
            table.add_column(escape(head[place]), no_wrap=place == 0)
        for row, style in zip(cells, styles, strict=True):
            table.add_row(*(escape(row[place]) for place in kept), style=style)
        console.print(Padding(table, (0, 0, 1, 2)))
    for sign, style, said in zip("•!", ("cyan", "yellow"), (found.verdicts, found.warnings), strict=True):
        for sentence in said:
            notes = Table.grid(padding=(0, 1, 0, 0))
            notes.add_row(f"[{style}]{sign}[/]", escape(sentence))
            console.print(Padding(notes, (0, 0, 0, 2)))
