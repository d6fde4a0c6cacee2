"""How the errors of fitted numbers hang together: the correlations of a result as a table of one triangle."""

from collections.abc import Mapping
from typing import Any

from excidiff.inverse.results import page
from excidiff.inverse.results.wording import label

MOST = 10  # numbers of a table that a page still shows well
CAPTION = (
    "Correlations of the errors: near +1 or −1 the data fix a combination of two numbers far better than either. Their "
    "squares are the share of one's variance that the other explains."
)


def correlation_table(result: Any) -> str:
    """The correlations of the numbers that a result shows, the film's first; empty where there are fewer than two."""
    rows: Mapping[str, Mapping[str, float]] = result.correlations
    names = [name for name in result.parameters if name in rows][:MOST]
    if len(names) < 2:
        return ""
    head = ("", *(label(name) for name in names[:-1]))
    cells = [
        (label(one), *(f"{rows[one][other]:+.2f}" for other in names[:place]), *("" for _ in names[place:-1]))
        for place, one in enumerate(names)
        if place
    ]
    return page.table(CAPTION, head, cells, kind="all")
