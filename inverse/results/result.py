"""What a fit found: values with errors, verdicts in words, and the data, model and residuals they rest on.

A `FitResult` is plain saved data. Reports and figures are drawn from it alone, so that a result read back from
its file looks and says the same as on the day of the fit.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from excidiff.inverse.results.archive import read_archive, write_archive
from excidiff.inverse.results.report import write_report
from excidiff.inverse.results.screen import html_table, one_screen
from excidiff.solver.solution import InputError

Origin = Literal["fitted", "given", "derived"]
ARRAYS = ("counts", "model", "variance", "mask", "response")
INTERVALS = ("interval68", "interval95")


@dataclass(frozen=True)
class Estimate:
    """One number that a fit gives, was given, or derives.

    `value`, `stderr` and `interval95` are in `unit` and None where the data do not determine them; a one-sided
    interval has one None. `identifiable` is False when the data cannot tell the number at all, `at_bound` True
    when the fit ended on a bound. `interval68` is the 68.3 % interval where it was looked for, by a profile or draws,
    and not just value ± stderr. Numbers that are not finite become None.
    """

    value: float | None
    stderr: float | None = None
    interval95: tuple[float | None, float | None] | None = None
    unit: str = ""
    identifiable: bool = True
    at_bound: bool = False
    origin: Origin = "fitted"
    interval68: tuple[float | None, float | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _finite(self.value))
        object.__setattr__(self, "stderr", _finite(self.stderr))
        for name in INTERVALS:
            given = getattr(self, name)
            interval = None if given is None else tuple(_finite(bound) for bound in given)
            object.__setattr__(self, name, None if interval == (None, None) else interval)
        object.__setattr__(self, "identifiable", bool(self.identifiable))
        object.__setattr__(self, "at_bound", bool(self.at_bound))


@dataclass(frozen=True, eq=False)
class Measurement:
    """One measurement and what its own fit says.

    `counts`, `model` and `variance` are (ny, nx) in photoelectrons, of a decay (T,) in photons: measured, expected, and
    the variance of the counts under the model (None: the model itself, as for Poisson counts). `mask` is True where a
    pixel was used. `pixel_size` is (y, x) in µm. `window` holds the part of the plane that was modelled, in µm from the
    image's centre: x0, x1, y0, y1; of a decay t0 and t1 in ns, between which its bins are. `response`: (T,) what a
    decay's instrument shows of a flash. `axes`: of a spectral map, by name in the order of its arrays: y and x (µm),
    wavelength (nm); `series`: what its spectra were reduced to at every place. `gates`: of a movie, whose arrays are
    sums over its gates, light and width of the spot in each, (F,). `reason` says why a measurement was
    flagged or failed. `goodness` has deviance_ratio, p_value, z, photons, pixels, masked.
    """

    kind: str
    file: str
    status: Literal["fitted", "flagged", "failed"]
    reason: str | None = None
    parameters: Mapping[str, Estimate] = field(default_factory=dict)
    goodness: Mapping[str, Any] = field(default_factory=dict)
    counts: np.ndarray | None = None
    model: np.ndarray | None = None
    mask: np.ndarray | None = None
    pixel_size: tuple[float, float] | None = None
    window: Mapping[str, float] | None = None
    variance: np.ndarray | None = None
    response: np.ndarray | None = None
    axes: Mapping[str, np.ndarray] | None = None
    series: Mapping[str, np.ndarray] | None = None
    gates: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", dict(self.parameters))
        object.__setattr__(self, "goodness", plain(self.goodness))
        object.__setattr__(self, "window", None if self.window is None else plain(self.window))
        if self.pixel_size is not None:
            object.__setattr__(self, "pixel_size", tuple(float(size) for size in self.pixel_size))
        for name in ARRAYS:
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, np.asarray(values, dtype=bool if name == "mask" else None))

    @property
    def residual(self) -> np.ndarray | None:
        """(counts − model) in standard deviations, (ny, nx); NaN where a pixel was not used. None without a model."""
        if self.counts is None or self.model is None:
            return None
        variance = self.model if self.variance is None else self.variance
        deviation = (self.counts - self.model) / np.sqrt(np.maximum(variance, 1e-12))
        return deviation if self.mask is None else np.where(self.mask, deviation, np.nan)

    @property
    def time(self) -> np.ndarray:
        """The centres of a decay's bins, ns, (T,)."""
        if self.counts is None or self.window is None or "t0" not in self.window:
            raise InputError(f"{self.file}: it has no axis of time, being of kind {self.kind}")
        edges = np.linspace(self.window["t0"], self.window["t1"], self.counts.size + 1)
        return (edges[1:] + edges[:-1]) / 2

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        return {
            "kind": self.kind,
            "file": self.file,
            "status": self.status,
            "reason": self.reason,
            "parameters": _parameters_to_dict(self.parameters),
            "goodness": dict(self.goodness),
            "pixel_size": None if self.pixel_size is None else list(self.pixel_size),
            "window": None if self.window is None else dict(self.window),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> "Measurement":
        """The inverse of `to_dict`, with the arrays beside it."""
        given: dict[str, Any] = {name: (arrays or {}).get(name) for name in ARRAYS}
        if document["kind"] == "spectral_map":
            given |= {name: (arrays or {}).get(name) for name in ("axes", "series")}
        given["gates"] = (arrays or {}).get("gates") or None
        given |= {name: document[name] for name in ("kind", "file", "status", "reason", "goodness", "window")}
        given["parameters"] = _parameters_from_dict(document["parameters"])
        pixel_size = document["pixel_size"]
        given["pixel_size"] = None if pixel_size is None else tuple(pixel_size)
        return cls(**given)


@dataclass(frozen=True, eq=False)
class FitResult:
    """The answer to one question about one film, and everything needed to show it.

    `parameters` are the values for the film: of one image its own, of several the weighted mean with common errors
    counted once. `scatter` is how much the images differ among themselves, which is not the error of the mean.
    `correlations` are those of the fitted numbers, by name and name, where they come from one fit. `verdicts` say in
    words what the data tell and what they cannot; `warnings` what may have gone wrong.
    """

    status: Literal["converged", "partial", "failed"]
    model: str
    verdicts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, Estimate] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    scatter: Mapping[str, Any] = field(default_factory=dict)
    goodness: Mapping[str, Any] = field(default_factory=dict)
    laser: Measurement | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    methods: str = ""
    correlations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("scatter", "goodness", "correlations", "settings"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in ("verdicts", "warnings", "measurements"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "parameters", dict(self.parameters))

    @property
    def decays(self) -> tuple[Measurement, ...]:
        """The measurements that are decays."""
        return tuple(measurement for measurement in self.measurements if measurement.kind == "decay")

    @property
    def images(self) -> tuple[Measurement, ...]:
        """The measurements that are images."""
        return tuple(measurement for measurement in self.measurements if measurement.kind == "image")

    @property
    def spectral_maps(self) -> tuple[Measurement, ...]:
        """The measurements that are spectra against position."""
        return tuple(measurement for measurement in self.measurements if measurement.kind == "spectral_map")

    @property
    def raster_scans(self) -> tuple[Measurement, ...]:
        """The measurements that are scans of a laser."""
        return tuple(measurement for measurement in self.measurements if measurement.kind == "raster_scan")

    def to_dict(self) -> dict[str, Any]:
        """The document that `result.json` holds: names and units as in the documentation, undetermined numbers None."""
        measurements = [measurement.to_dict() for measurement in self.measurements]
        return {
            "status": self.status,
            "model": self.model,
            "verdicts": list(self.verdicts),
            "warnings": list(self.warnings),
            "parameters": _parameters_to_dict(self.parameters),
            "measurements": measurements,
            "images": [entry for entry in measurements if entry["kind"] == "image"],
            "laser": None if self.laser is None else self.laser.to_dict(),
            "scatter": dict(self.scatter),
            "goodness": dict(self.goodness),
            "correlations": {name: dict(row) for name, row in self.correlations.items()},
            "settings": dict(self.settings),
            "methods": self.methods,
        }

    def to_json(self) -> str:
        """`to_dict` as strict JSON text: undetermined numbers are null, never NaN."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write all of it to one netCDF file, whole or not at all. Raises `InputError` if it cannot be written."""
        document = self.to_dict()
        del document["images"]  # the same entries as in measurements
        groups = {_group_name(index): _arrays(entry) for index, entry in enumerate(self.measurements)}
        if self.laser is not None:
            groups["laser"] = _arrays(self.laser)
        return write_archive(path, document, {name: arrays for name, arrays in groups.items() if arrays})

    @classmethod
    def load(cls, path: str | Path) -> "FitResult":
        """Read back what `save` wrote, identical. Raises `InputError` for a file that is torn or of another kind."""
        document, groups = read_archive(path)
        try:
            laser = document["laser"]
            plain_fields = ("status", "model", "verdicts", "warnings", "scatter", "goodness", "settings", "methods")
            return cls(
                **{name: document[name] for name in plain_fields},
                parameters=_parameters_from_dict(document["parameters"]),
                measurements=tuple(
                    Measurement.from_dict(entry, groups.get(_group_name(index)))
                    for index, entry in enumerate(document["measurements"])
                ),
                correlations=document.get("correlations", {}),
                laser=None if laser is None else Measurement.from_dict(laser, groups.get("laser")),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: a part of the result is missing ({error}); run the fit again") from error

    def report(self, path: str | Path) -> Path:
        """Write the page to show: one self-contained HTML file drawn from this result."""
        return write_report(self, path)

    def __repr__(self) -> str:
        return one_screen(self)

    def _repr_html_(self) -> str:
        return html_table(self)


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numpy numbers and arrays unpacked, paths as text, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray) or type(value).__module__.startswith("jax"):
        return plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _parameters_to_dict(parameters: Mapping[str, Estimate]) -> dict[str, Any]:
    def entry(estimate: Estimate) -> dict[str, Any]:
        document = {name.name: getattr(estimate, name.name) for name in fields(Estimate)}
        sides = {name: document[name] for name in INTERVALS}
        return document | {name: None if side is None else list(side) for name, side in sides.items()}

    return {name: entry(estimate) for name, estimate in parameters.items()}


def _parameters_from_dict(document: Mapping[str, Any]) -> dict[str, Estimate]:
    def estimate(entry: Mapping[str, Any]) -> Estimate:
        sides = {name: entry.get(name) for name in INTERVALS}
        return Estimate(**{**entry, **{name: None if side is None else tuple(side) for name, side in sides.items()}})

    return {name: estimate(entry) for name, entry in document.items()}


def _group_name(index: int) -> str:
    return f"measurement_{index:03d}"


def _arrays(measurement: Measurement) -> dict[str, Any]:
    """The arrays of a measurement with their pixel size; empty for one that has no data (its file was unreadable)."""
    if measurement.counts is None:
        return {}
    arrays = {name: getattr(measurement, name) for name in ARRAYS if getattr(measurement, name) is not None}
    if measurement.axes is not None:
        return {**arrays, "axes": measurement.axes, "series": measurement.series or {}}
    if measurement.counts.ndim == 1:
        return {**arrays, "time": measurement.time}
    gates = {} if measurement.gates is None else {"gates": measurement.gates}
    return {**arrays, **gates, "pixel_size": measurement.pixel_size or (1.0, 1.0)}
