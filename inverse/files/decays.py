"""Measured decays: photon counts in equal bins of time, as a TCSPC card or a streak camera gives them.

A `Decay` that exists is fit to be modelled: the constructor refuses what cannot be. The response of its instrument is a
histogram, too, and may be negative where its own background was taken off.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from jaxtyping import Float

from excidiff.inverse.files.columns import TIME_UNIT, read_table_curves, read_time_unit
from excidiff.inverse.files.counters import read_counter
from excidiff.inverse.files.curves import Curve, choose_curve, within_period
from excidiff.inverse.files.formats import file_hash
from excidiff.inverse.files.raster import MAX_PIXELS
from excidiff.inverse.files.tables import read_columns
from excidiff.inverse.files.units import format_quantity, parse_quantity
from excidiff.solver.solution import InputError

FEWEST = 8  # bins that a decay must have
UNEVEN = 0.2  # of a bin: by how much written times may differ from equal steps, which is rounding
TABLES = (".csv", ".tsv", ".txt", ".dat")


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
    aperture_fwhm: of the Gaussian spot at the sample, in µm, about the laser's, from which the counter gets light;
    None: it sees all of it, wherever excitons go.

    Raises InputError for what `Histogram` refuses, negative photons, and a window longer than the laser's period.
    """

    irf: Response | float | None = None
    period: float | None = None
    aperture_fwhm: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aperture_fwhm is not None:
            seen = parse_quantity(self.aperture_fwhm, "fwhm", name=f"{self.file}: aperture_fwhm")
            object.__setattr__(self, "aperture_fwhm", seen)
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


class CurveOptions(TypedDict, total=False):
    """Which curve of a file is meant, and what its table does not say.

    column: the counts, by name or number (of a table 0 is the time; of a photon counter's file the first is 1);
    uncertainty: the column of one standard deviation of each; a column whose name says so (err, sigma, std,
    uncertainty) is one. time_unit: "ns", "ps", …, for a table that does not say; a name such as time_ns or t (ps) does.
    skip: rows of numbers above the data to leave out. curve: of several below each other, each beginning where the time
    falls back, the one with this number, the first being 0. max_bins: the most numbers a header may claim.
    """

    column: str | int | None
    uncertainty: str | int | None
    time_unit: str | None
    skip: int
    curve: int | None
    max_bins: int


def read_decay(
    path: str | Path,
    *,
    irf: str | Path | Response | None = None,
    irf_fwhm: str | float | None = None,
    period: str | float | None = None,
    aperture_fwhm: str | float | None = None,
    **options: Unpack[CurveOptions],
) -> Decay:
    """Read a decay from a table (CSV, TSV, semicolons or spaces), or from PicoQuant's .ptu and .phu, Becker's .sdt.

    A table has times in the first column and counts in another; see `CurveOptions`. irf: the file of the instrument's
    response, in any of these forms, or irf_fwhm its FWHM, "50 ps" or in ns. period: that of the laser, "25 ns"; photon
    counters' files bring it, and bins beyond it are cut off. aperture_fwhm: "400 nm", of the spot that the counter sees
    where it is not all of the film.

    Raises InputError for a unit that nobody states, several columns or curves of which none was chosen (listing them),
    damaged files, and what `Decay` refuses.
    """
    given = _period(period)
    response = _response(irf, irf_fwhm, given, options)
    curve, repeats = within_period(_curves(path, options)[0], given, Path(path).name)
    seen = None if aperture_fwhm is None else parse_quantity(aperture_fwhm, "fwhm", name="aperture_fwhm")
    return Decay(**_fields(path, curve), irf=response, period=repeats, aperture_fwhm=seen)


def read_decays(
    path: str | Path,
    *,
    irf: str | Path | Response | None = None,
    irf_fwhm: str | float | None = None,
    period: str | float | None = None,
    **options: Unpack[CurveOptions],
) -> list[Decay]:
    """Read every curve and column of counts in a file as a decay, in order; see `read_decay`. Notes say which is which.

    What is chosen with column or curve is read alone.
    """
    given = _period(period)
    response = _response(irf, irf_fwhm, given, options)
    decays = []
    for curve in _curves(path, options, every=True):
        try:
            kept, repeats = within_period(curve, given, Path(path).name)
            decays.append(Decay(**_fields(path, kept), irf=response, period=repeats))
        except InputError as error:
            raise InputError(f"{curve.name}: {error}; the others can be read one by one") from error
    return decays


def read_response(path: str | Path, *, period: str | float | None = None, **options: Unpack[CurveOptions]) -> Response:
    """Read an instrument's response from any file that `read_decay` reads, in the same way."""
    curve, _ = within_period(_curves(path, options)[0], _period(period), Path(path).name)
    return Response(**_fields(path, curve))


def describe_decay(path: str | Path, *, max_bins: int = MAX_PIXELS) -> dict[str, object] | None:
    """Say what a table of times and counts holds, one entry per line of `excidiff info`; None for any other file."""
    file = Path(path)
    if file.suffix.lower() not in TABLES or not file.is_file():
        return None
    try:
        names, values = read_columns(file, max_pixels=max_bins)
    except InputError:
        return None
    if not names or TIME_UNIT.search(names[0]) is None or len(values) < FEWEST:
        return None
    scale, said = read_time_unit(names, None, file.name)
    time = scale * values[:, 0]
    entries: dict[str, object] = {
        "file": str(path),
        "format": "text table, times and counts",
        "bins": f"{len(time)} of {format_quantity(float(np.median(np.diff(time))), 'time')}",
        "time": f"{format_quantity(float(time[0]), 'time')} to {format_quantity(float(time[-1]), 'time')}",
        "time unit from": said,
    }
    falls = int(np.count_nonzero(np.diff(time) < 0))
    if falls:
        entries["curves"] = f"{falls + 1} below each other: the time falls back {falls} times"
    for name, counts in zip(names[1:], values[:, 1:].T, strict=True):
        peak = int(np.argmax(counts))
        entries[name] = (
            f"{counts.sum():g} in all, at most {counts[peak]:g} at {format_quantity(float(time[peak]), 'time')}"
        )
    return entries


def _period(given: str | float | None) -> float | None:
    return parse_quantity(given, "period", name="period") if given is not None else None


def _response(
    irf: str | Path | Response | None, irf_fwhm: str | float | None, period: float | None, options: CurveOptions
) -> Response | float | None:
    """What was given of the instrument's response, read; of several curves in its file it takes the only one."""
    if irf is not None and irf_fwhm is not None:
        raise InputError("give the instrument's response as a file, irf, or by its width, irf_fwhm; not both of them")
    if isinstance(irf, Response):
        return irf
    if isinstance(irf, Histogram):
        raise InputError("irf: a decay was given where the instrument's response is needed; read it with read_response")
    if irf is None:
        return parse_quantity(irf_fwhm, "response", name="irf_fwhm") if irf_fwhm is not None else None
    unit, most = options.get("time_unit"), options.get("max_bins", MAX_PIXELS)
    return read_response(irf, period=period, time_unit=unit, max_bins=most)


def _curves(path: str | Path, options: CurveOptions, *, every: bool = False) -> list[Curve]:
    """The curve of a file that `options` choose, or with `every` all that they leave open."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: there is no such file")
    unknown = set(options) - CurveOptions.__optional_keys__
    if unknown:
        raise TypeError(
            f"unknown option {sorted(unknown)[0]!r}; there are {', '.join(sorted(CurveOptions.__optional_keys__))}"
        )
    most = options.get("max_bins", MAX_PIXELS)
    curves = read_counter(file, max_values=most)
    if curves is None:
        table = {key: value for key, value in options.items() if key != "max_bins" and value is not None}
        return read_table_curves(file, every=every, max_values=most, **table)  # type: ignore[arg-type]
    meant = [key for key in ("uncertainty", "skip", "curve") if options.get(key) not in (None, 0)]
    if meant:
        raise InputError(f"{file.name}: {meant[0]}= is for tables; in a photon counter's file choose with column=")
    if every and options.get("column") is None:
        return curves
    return [choose_curve(curves, options.get("column"), file.name)]


def _fields(path: str | Path, curve: Curve) -> dict[str, Any]:
    """The fields of a `Histogram`."""
    return {
        "time": curve.time,
        "counts": curve.counts,
        "uncertainty": curve.uncertainty,
        "file": str(path),
        "sha256": file_hash(Path(path)),
        "notes": curve.notes,
    }
