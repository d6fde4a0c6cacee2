"""Measured decays: photon counts in equal bins of time, as a TCSPC card or a streak camera gives them.

A `Decay` that exists is fit to be modelled: the constructor refuses what cannot be. The response of its instrument is a
histogram, too, and may be negative where its own background was taken off.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.formats import file_hash
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.tables import read_columns
from excidiff.inverse.files.units import format_quantity, parse_quantity
from excidiff.solver.solution import InputError

FEWEST = 8  # bins that a decay must have
UNEVEN = 0.2  # of a bin: by how much written times may differ from equal steps, which is rounding
TIMES = {"s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1.0, "ps": 1e-3, "fs": 1e-6}
TABLES = (".csv", ".tsv", ".txt", ".dat")
_UNIT = re.compile(r"(?:^|[\s_(\[/,])(fs|ps|ns|us|µs|ms|s)(?:ec)?(?:[\s_)\]/,]|$)", re.IGNORECASE)
_ERROR = re.compile(r"(?:^|[^a-z])(err|errors?|sigma|uncertainty|uncertainties|std|stdev|σ)(?:[^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts in equal bins of time.

    time: (T,) the bins' centres, ns. counts: (T,) as counted. uncertainty: (T,) one standard deviation of each, where
    they are not photon counts. file, sha256, notes: where they come from, and what was found on the way.

    Raises InputError for fewer than eight bins, unequal or falling times, anything not finite, and all counts zero.
    """

    time: Float[np.ndarray, " T"]
    counts: Float[np.ndarray, " T"]
    uncertainty: Float[np.ndarray, " T"] | None = None
    file: str = "decay"
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        time, counts = (np.asarray(a, dtype=float) for a in (self.time, self.counts))
        error = None if self.uncertainty is None else np.asarray(self.uncertainty, dtype=float)
        for name, value in (("time", time), ("counts", counts), ("uncertainty", error)):
            self._check(name, value, time.shape)
        steps = np.diff(time)
        width = float((time[-1] - time[0]) / (time.size - 1))
        even = time[0] + width * np.arange(time.size)
        if not (width > 0 and (steps > 0).all() and np.abs(time - even).max() <= UNEVEN * width):
            where = int(np.argmax(np.abs(steps - width)))
            raise InputError(
                f"{self.file}: bins of unequal width ({steps[where]:.4g} ns after {time[where]:.6g} ns, {width:.4g} ns "
                "on average); give counts in equal bins, one decay per file"
            )
        if error is not None and not (error > 0).all():
            raise InputError(f"{self.file}: an uncertainty of zero or less at {time[np.argmin(error)]:.6g} ns")
        if not counts.any():
            raise InputError(f"{self.file}: every bin is zero; the file holds no light")
        for name, value in (("time", even), ("counts", counts), ("uncertainty", error)):
            object.__setattr__(self, name, value)

    def _check(self, name: str, value: np.ndarray | None, shape: tuple[int, ...]) -> None:
        if value is None:
            return
        if value.ndim != 1 or value.shape != shape or value.size < FEWEST:
            raise InputError(
                f"{self.file}: {name} has shape {value.shape}; expected one number per bin, {FEWEST} bins or more"
            )
        if not np.isfinite(value).all():
            bad = np.flatnonzero(~np.isfinite(value))
            raise InputError(f"{self.file}: {bad.size} numbers of its {name} are not finite, the first in bin {bad[0]}")

    @property
    def width(self) -> float:
        """The width of a bin, ns."""
        return float(self.time[1] - self.time[0])

    @property
    def edges(self) -> Float[np.ndarray, " T+1"]:
        """Where the bins begin and end, ns."""
        return self.time[0] + self.width * (np.arange(self.time.size + 1) - 0.5)


@dataclass(frozen=True, eq=False)
class Response(Histogram):
    """What an instrument shows of a flash without duration. Its counts may be negative, and add up to something."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.counts.sum() > 0:
            raise InputError(f"{self.file}: the instrument's response adds up to nothing; look for its background")

    @property
    def noise(self) -> Literal["photons", "given"] | None:
        """Where the size of its noise is known from; None for counts that are no whole numbers."""
        if self.uncertainty is not None:
            return "given"
        return "photons" if (self.counts == np.round(self.counts)).all() and self.counts.max() > 1 else None


@dataclass(frozen=True, eq=False)
class Decay(Histogram):
    """The luminescence after a pulse of light, and what is known of the instrument that counted it.

    Counts are photons, and their noise Poisson; with an uncertainty it is Gaussian, and they may have any sign.
    irf: the instrument's response as it was measured, or the FWHM of a Gaussian one in ns; None: instantaneous.
    period: of the laser, ns, so that the tails of earlier pulses are there; None: pulses far apart.

    Raises InputError for what `Histogram` refuses, negative photons, and a window longer than the laser's period.
    """

    irf: Response | float | None = None
    period: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        negative = self.counts < 0
        if self.uncertainty is None and negative.any():
            raise InputError(
                f"{self.file}: {np.count_nonzero(negative)} counts are negative, the first at "
                f"{self.time[np.argmax(negative)]:.6g} ns. Photons cannot do that: give the counts with their "
                "background, or with a column of their uncertainty"
            )
        for name, value in (("irf", self.irf), ("period", self.period)):
            if value is None or (name == "irf" and isinstance(value, Response)):
                continue
            if not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
                kinds = "a Response or the FWHM" if name == "irf" else "a positive time"
                raise InputError(f"{self.file}: {name} = {value!r}; give {kinds} in ns")
        length = float(np.ptp(self.edges))
        if self.period is not None and length > self.period * (1 + 1e-3):
            raise InputError(
                f"{self.file}: it covers {length:.4g} ns, more than the laser's period of {self.period:.4g} ns; a "
                "histogram has one period at most: check both"
            )


def read_decay(
    path: str | Path,
    *,
    irf: str | Path | Response | None = None,
    irf_fwhm: str | float | None = None,
    period: str | float | None = None,
    column: str | int | None = None,
    uncertainty: str | int | None = None,
    time_unit: str | None = None,
    max_bins: int = MAX_PIXELS,
) -> Decay:
    """Read a decay from a table (CSV, TSV, semicolons or spaces): times in the first column, counts in another.

    irf: the file of the instrument's response, in the same form, or irf_fwhm its FWHM, "50 ps" or in ns. period: that
    of the laser, "25 ns". column: the counts, by name or number (0 is the time); needed where there are several. A
    column whose name says that it is an error (err, sigma, std, uncertainty) is one, and so is a third column of three
    without names. time_unit: "ns", "ps", …, for a file that does not say; a name such as time_ns or t (ps) does.

    Raises InputError for a unit that nobody states, columns that cannot be told apart, and what `Decay` refuses.
    """
    if irf is not None and irf_fwhm is not None:
        raise InputError("give the instrument's response as a file, irf, or by its width, irf_fwhm; not both of them")
    told = _read(path, column, uncertainty, time_unit, max_bins)
    if isinstance(irf, Histogram) and not isinstance(irf, Response):
        raise InputError("irf: a decay was given where the instrument's response is needed; read it with read_response")
    response = parse_quantity(irf_fwhm, "response", name="irf_fwhm") if irf_fwhm is not None else None
    if isinstance(irf, Response):
        response = irf
    elif irf is not None:
        response = read_response(irf, time_unit=time_unit, max_bins=max_bins)
    repeats = parse_quantity(period, "period", name="period") if period is not None else None
    return Decay(**told, irf=response, period=repeats)


def read_response(
    path: str | Path, *, column: str | int | None = None, time_unit: str | None = None, max_bins: int = MAX_PIXELS
) -> Response:
    """Read an instrument's response from a table, as `read_decay` reads a decay."""
    return Response(**_read(path, column, None, time_unit, max_bins))


def describe_decay(path: str | Path, *, max_bins: int = MAX_PIXELS) -> dict[str, object] | None:
    """Say what a table of times and counts holds, one entry per line of `excidiff info`; None for any other file."""
    file = Path(path)
    if file.suffix.lower() not in TABLES or not file.is_file():
        return None
    try:
        names, values = read_columns(file, max_pixels=max_bins)
    except InputError:
        return None
    if not names or _UNIT.search(names[0]) is None or len(values) < FEWEST:
        return None
    scale, said = _time_unit(names, None, file.name)
    time = scale * values[:, 0]
    entries: dict[str, object] = {
        "file": str(path),
        "format": "text table, times and counts",
        "bins": f"{len(time)} of {format_quantity(float(np.diff(time).mean()), 'time')}",
        "time": f"{format_quantity(float(time[0]), 'time')} to {format_quantity(float(time[-1]), 'time')}",
        "time unit from": said,
    }
    for name, counts in zip(names[1:], values[:, 1:].T, strict=True):
        peak = int(np.argmax(counts))
        entries[name] = (
            f"{counts.sum():g} in all, at most {counts[peak]:g} at {format_quantity(float(time[peak]), 'time')}"
        )
    return entries


def _read(
    path: str | Path, column: str | int | None, uncertainty: str | int | None, time_unit: str | None, max_bins: int
) -> dict[str, Any]:
    """The fields of a `Histogram` from a file."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: there is no such file")
    names, values = read_columns(file, max_pixels=max_bins)
    count = values.shape[1]
    if count < 2:
        raise InputError(f"{file.name}: it has one column; a decay has times and counts: export both")
    scale, said = _time_unit(names, time_unit, file.name)
    errors = [i for i in range(1, count) if names and _ERROR.search(names[i])]
    if uncertainty is not None:
        errors = [_place(names, count, uncertainty, file.name)]
    chosen = _column(names, count, errors, column, file.name)
    errors = [i for i in errors if i != chosen]
    if len(errors) > 1:
        errors = [i for i in errors if names[chosen].lower() in names[i].lower()]
        if len(errors) != 1:
            listed = ", ".join(repr(name) for name in names if _ERROR.search(name))
            raise InputError(f"{file.name}: several columns are uncertainties ({listed}); say which, uncertainty=")
    called = [repr(name) for name in names] or [str(i) for i in range(count)]
    found = f"counts in column {called[chosen]}"
    if errors:
        found += f", their uncertainty in column {called[errors[0]]}"
    return {
        "time": scale * values[:, 0],
        "counts": values[:, chosen],
        "uncertainty": values[:, errors[0]] if errors else None,
        "file": str(path),
        "sha256": file_hash(file),
        "notes": (f"times in {said}", found),
    }


def _time_unit(names: tuple[str, ...], given: str | None, name: str) -> tuple[float, str]:
    """(ns per unit, where that comes from): what the file says, else what is given; not both unlike."""
    found = _UNIT.findall(names[0].replace("μ", "µ")) if names else []
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


def _column(names: tuple[str, ...], count: int, errors: list[int], wanted: str | int | None, name: str) -> int:
    """The column of the counts."""
    left = [i for i in range(1, count) if i not in errors]
    if wanted is not None:
        return _place(names, count, wanted, name)
    if len(left) == 1:
        return left[0]
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
