"""Tables of curves: times in the first column, counts in the others, perhaps several curves below each other."""

import re
from pathlib import Path

import numpy as np

from excidiff.inverse.files.axes import TIMES
from excidiff.inverse.files.curves import LISTED, Curve, told_range
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.tables import read_headed_columns
from excidiff.solver.solution import InputError

SHORTEST = 8  # rows of one of several curves that are stacked
TIME_UNIT = re.compile(r"(?:^|[\s_(\[/,])(fs|ps|ns|us|µs|ms|s)(?:ec)?(?:[\s_)\]/,]|$)", re.IGNORECASE)
_ERROR = re.compile(r"(?:^|[^a-z])(err|errors?|sigma|uncertainty|uncertainties|std|stdev|σ)(?:[^a-z]|$)", re.IGNORECASE)


def read_table_curves(
    path: Path,
    *,
    column: str | int | None = None,
    uncertainty: str | int | None = None,
    time_unit: str | None = None,
    skip: int = 0,
    curve: int | None = None,
    every: bool = False,
    max_values: int = MAX_PIXELS,
) -> list[Curve]:
    """The curves of a table: the one that `column` and `curve` choose, or with `every` all that they leave open.

    skip: rows of numbers to leave out before the data. curve: which of several that are stacked, the first being 0: a
    new one begins where the time falls back. Raises InputError that lists the columns or curves if there are several
    and none was chosen.
    """
    name = path.name
    names, values, comments = read_headed_columns(path, max_pixels=max_values)
    count = values.shape[1]
    if count < 2:
        raise InputError(f"{name}: it has one column; a decay has times and counts: export both")
    scale, said = read_time_unit(names, time_unit, name)
    errors = [i for i in range(1, count) if names and _ERROR.search(names[i])]
    if uncertainty is not None:
        errors = [_place(names, count, uncertainty, name)]
    chosen = _columns(names, count, errors, column, every, name)
    notes = [f"times in {said}"]
    if comments:
        notes.append(f"rows of words and numbers above the data left out: {', '.join(comments)}")
    if skip:
        if not 0 <= skip < len(values):
            raise InputError(f"{name}: skip={skip} rows; the table has {len(values)}")
        notes.append(f"{skip} rows before the data left out, as asked")
    values = values[skip:]
    pieces = _stacked(scale * values[:, 0], values, skip, name)
    numbers = _chosen_pieces(pieces, chosen, curve, every, scale, name)
    found = [
        _curve(pieces[number], place, errors, names, scale, name, number if len(pieces) > 1 else None, tuple(notes))
        for number in numbers
        for place in chosen
    ]
    return found


def _curve(
    rows: np.ndarray,
    place: int,
    errors: list[int],
    names: tuple[str, ...],
    scale: float,
    name: str,
    number: int | None,
    notes: tuple[str, ...],
) -> Curve:
    beside = [i for i in errors if i != place]
    if len(beside) > 1:
        beside = [i for i in beside if names[place].lower() in names[i].lower()]
        if len(beside) != 1:
            listed = ", ".join(repr(title) for title in names if _ERROR.search(title))
            raise InputError(f"{name}: several columns are uncertainties ({listed}); say which, uncertainty=")
    called = [repr(title) for title in names] or [str(i) for i in range(rows.shape[1])]
    found = f"counts in column {called[place]}"
    if beside:
        found += f", their uncertainty in column {called[beside[0]]}"
    if number is not None:
        found += f", curve {number} of those below each other"
    title = names[place] if names else f"column {place}"
    return Curve(
        title if number is None else f"{title}, curve {number}",
        scale * rows[:, 0],
        rows[:, place],
        rows[:, beside[0]] if beside else None,
        number=place,
        notes=(*notes, found),
    )


def read_time_unit(names: tuple[str, ...], given: str | None, name: str) -> tuple[float, str]:
    """(ns per unit, where that comes from): what the file says, else what is given; not both unlike."""
    found = TIME_UNIT.findall(names[0].replace("μ", "µ")) if names else []
    asked = None if given is None else given.replace("μ", "µ")
    if asked is not None and asked not in TIMES:
        raise InputError(f"{name}: time unit {given!r}; choose one of {', '.join(TIMES)}")
    if not found and asked is None:
        raise InputError(f'{name}: its times have no unit; say which, as in time_unit="ns" or --time-unit ns')
    if not found:
        return TIMES[str(asked)], f"{asked}, as given"
    own = found[-1].lower()
    if asked is not None and TIMES[asked] != TIMES[own]:
        raise InputError(
            f"{name}: its times are in {own}, by the column {names[0]!r}, not in {asked}; leave the unit out"
        )
    return TIMES[own], f"{own}, from the column {names[0]!r}"


def _columns(
    names: tuple[str, ...], count: int, errors: list[int], wanted: str | int | None, every: bool, name: str
) -> list[int]:
    """The columns of counts: the one that is wanted, or the only one, or of every curve all."""
    left = [i for i in range(1, count) if i not in errors]
    if wanted is not None:
        return [_place(names, count, wanted, name)]
    if len(left) == 1 or (every and left):
        return left
    listed = ", ".join(names[i] if names else str(i) for i in range(1, count))
    raise InputError(
        f"{name}: it has several columns beside the time ({listed}); say which are the counts, column= in Python, "
        "--decay-column for a decay"
    )


def _place(names: tuple[str, ...], count: int, wanted: str | int, name: str) -> int:
    """The number of a column that was asked for by name or number."""
    listed = ", ".join(names[i] if names else str(i) for i in range(1, count))
    if isinstance(wanted, str) and not wanted.isdecimal():
        if wanted not in names[1:]:
            raise InputError(f"{name}: there is no column {wanted!r} beside the time; there are: {listed}")
        return names.index(wanted, 1)
    if not 1 <= int(wanted) < count:
        raise InputError(f"{name}: there is no column {wanted}; it has {count}, the time being 0")
    return int(wanted)


def _stacked(time: np.ndarray, values: np.ndarray, skip: int, name: str) -> list[np.ndarray]:
    """Split a table where its time falls back; refuse rows that are no times and pieces that are no curves."""
    same = int(np.argmax(np.append(time != time[0], True)))
    if 1 < same < len(time):
        raise InputError(
            f"{name}: its first {same} rows after {skip} have the same time. If the upper ones are no data (powers, "
            f"filters, background), leave them out: skip={skip + same - 1} in Python"
        )
    starts = np.flatnonzero(np.diff(time) < 0) + 1
    pieces = np.split(values, starts)
    short = [index for index, piece in enumerate(pieces) if len(piece) < SHORTEST]
    if len(pieces) > 1 and short:
        first = int(np.concatenate([[0], starts])[short[0]])
        raise InputError(
            f"{name}: times fall back {len(starts)} times, but {len(pieces[short[0]])} rows from row {first} on are "
            f"no curve, which has {SHORTEST}; if rows above the data are no times, leave them out with skip="
        )
    return pieces


def _chosen_pieces(
    pieces: list[np.ndarray], columns: list[int], curve: int | None, every: bool, scale: float, name: str
) -> list[int]:
    """The numbers of the stacked curves to read. Raises InputError that lists them if the choice is open."""
    if curve is not None and 0 <= curve < len(pieces):
        return [curve]
    if curve is None and (len(pieces) == 1 or every):
        return list(range(len(pieces)))
    told = [Curve(f"curve {n}", scale * rows[:, 0], rows[:, columns[0]]) for n, rows in enumerate(pieces)]
    listed = "; ".join(
        f"{c.name}: {c.time.size} rows, {told_range(c)}, {c.counts.sum():.6g} in all" for c in told[:LISTED]
    )
    listed += "; …" * (len(pieces) > LISTED)
    if curve is not None:
        raise InputError(f"{name}: there is no curve {curve}; there are {listed}")
    raise InputError(
        f"{name}: its times fall back {len(pieces) - 1} times: {len(pieces)} curves below each other ({listed}); say "
        "which one, curve= in Python, or read them all with read_decays"
    )
