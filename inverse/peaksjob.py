"""Spectra reduced to the peak and the width of their band, without a laser and without a model: `excidiff peaks`.

Each spectrum of a line, a map or a streak image is fitted by itself with a Gaussian line on an even ground
(`fit.peaks`); the results are a table, figures, and a file with the spectra and all numbers on their axes.
"""

import csv
import io
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from excidiff.inverse.files.formats import read_axes, split_member
from excidiff.inverse.files.noise import IF_NEEDED, Uncertainty
from excidiff.inverse.files.spans import PLANCK_C, Span
from excidiff.inverse.files.spectra import SpectralMap, read_spectral_map
from excidiff.inverse.files.streak import Streak, read_streak
from excidiff.inverse.files.units import format_quantity, parse_quantity
from excidiff.inverse.fit.peaks import follow_bands, stray_bins
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.machine import environment
from excidiff.inverse.results.archive import write_archive
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.peaks import distance_figure, peaks_figure
from excidiff.inverse.results.result import plain
from excidiff.inverse.results.storage import inside, write_text, write_whole
from excidiff.inverse.results.wording import value_with_error
from excidiff.solver.solution import InputError

RIM = 0.35  # of the brightest place's light: a spot has less all around the scan's rim
COARSE = 1.5  # χ² per degree of freedom above which bands are said to be no Gaussians
COLUMNS = {"light": "light", "peak": "peak_meV", "width": "width_meV"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Reduced:
    """The spectra of one file, reduced.

    kind: "line", "map" or "streak". axes: of the places, {"x": µm}, {"y": …, "x": …} or {"time": ns}. counts, used:
    (…, colour). edges: meV. series: (…) light (counts), peak, width (meV) and their errors, misfit; NaN where no band
    is seen. centre: (x, y) in µm of the spot; spot: whether the light is one; found: whether that was found, not given.
    """

    kind: str
    file: str
    sha256: str | None
    axes: Mapping[str, np.ndarray]
    counts: np.ndarray
    variance: np.ndarray | None
    used: np.ndarray
    edges: np.ndarray
    series: Mapping[str, np.ndarray]
    centre: tuple[float, float]
    spot: bool
    found: bool
    notes: tuple[str, ...]

    @property
    def wavelength(self) -> np.ndarray:
        """The centres of the colours, nm."""
        ends = PLANCK_C / self.edges
        return (ends[1:] + ends[:-1]) / 2

    @property
    def distance(self) -> np.ndarray:
        """Of each place from the centre, µm."""
        if self.kind == "map":
            y, x = self.axes["y"][:, None], self.axes["x"][None, :]
            return np.hypot(x - self.centre[0], y - self.centre[1])
        return np.abs(self.axes["x"] - self.centre[0])

    @property
    def title(self) -> str:
        """The file's name."""
        return PurePath(self.file).name


def peaks_of(path: str, options: Mapping[str, str | None], folder: Path) -> dict[str, object]:
    """Reduce a file with the options of the command, fill `folder`, and say what was found, line by line."""
    given = {name: value for name, value in options.items() if value is not None}
    reduced = reduce_file(path, **given)
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    write_peaks(reduced, folder, shlex.join(["excidiff", "peaks", path, *words]))
    return summary(reduced)


def reduce_file(
    path: str | Path,
    *,
    wavelengths: Span | None = None,
    places: str | None = None,
    centre: str | None = None,
    uncertainty: Uncertainty | None = None,
) -> Reduced:
    """Reduce the spectra of a file: a line, a map or a streak image behind a spectrometer.

    wavelengths, places: the parts to use, see `read_spectral_map`. centre: of the spot, "1.2 um", of a map "x, y";
    None: where the light is. uncertainty: as there; None: that of photons, or else estimated from neighbouring bins.

    Raises InputError for files without spectra, and where no band of light is seen.
    """
    import jax

    noise = IF_NEEDED if uncertainty is None else uncertainty
    found: SpectralMap | Streak
    if _has_time(path):
        if places is not None or centre is not None:
            raise InputError(f"{path}: a streak image of spectra has no places; leave --places and --centre out")
        found = read_streak(path, uncertainty=noise, wavelengths=wavelengths)
        kind, axes, edges = "streak", {"time": found.time}, found.edges
        if edges is None:
            raise InputError(f"{path}: its axes are time and x; there are no spectra in it: fit it with --frames")
    else:
        found = read_spectral_map(path, uncertainty=noise, wavelengths=wavelengths, places=places)
        kind, axes, edges = ("map", {"y": found.y}, found.edges) if found.y.size > 1 else ("line", {}, found.edges)
        axes = {**axes, "x": found.x}
    counts = found.counts.reshape(-1, edges.size - 1)
    variance = None if found.uncertainty is None else found.uncertainty.reshape(counts.shape) ** 2
    used = ~stray_bins(counts, variance)
    with jax.enable_x64(True):
        peaks = follow_bands(counts, variance, edges, PurePath(str(path)).name, used)
    if not np.isfinite(peaks.centre).any():
        raise InputError(f"{path}: no spectrum shows a band that is sure; choose a part with --wavelengths")
    shape = tuple(axis.size for axis in axes.values())
    names = ("peak", "peak_error", "width", "width_error", "light", "light_error", "misfit")
    series = {name: values.reshape(shape) for name, values in zip(names, peaks, strict=True)}
    middle, spot = _centre(centre, axes, np.nan_to_num(series["light"])) if kind != "streak" else ((0.0, 0.0), False)
    return Reduced(
        kind=kind,
        file=str(path),
        sha256=found.sha256,
        axes=axes,
        counts=counts.reshape(*shape, -1),
        variance=None if variance is None else variance.reshape(*shape, -1),
        used=used.reshape(*shape, -1),
        edges=edges,
        series=series,
        centre=middle,
        spot=spot,
        found=centre is None,
        notes=(*found.notes, *_remarks(used, series, spot, kind)),
    )


def write_peaks(reduced: Reduced, folder: Path, command: str) -> None:
    """Write peaks.csv, result.nc and figures/ into `folder`."""
    write_text(inside(folder, "peaks.csv"), table(reduced))
    group = {
        "counts": reduced.counts,
        "mask": reduced.used,
        "axes": {**reduced.axes, "wavelength": reduced.wavelength},
        "series": reduced.series,
    }
    if reduced.variance is not None:
        group["variance"] = reduced.variance
    document = {
        "kind": "peaks",
        "file": reduced.file,
        "sha256": reduced.sha256,
        "centre": reduced.centre if reduced.kind != "streak" else None,
        "notes": reduced.notes,
        "command": command,
        "environment": environment(),
    }
    write_archive(inside(folder, "result.nc"), plain(document), {"spectra": group})
    drawings = inside(folder, "figures")
    drawings.mkdir(exist_ok=True)
    figures = {"peaks": peaks_figure(reduced)}
    if reduced.spot:
        figures["distance"] = distance_figure(reduced)
    for name, figure in figures.items():
        for kind in ("png", "svg"):
            data = encode(figure, kind)
            write_whole(inside(drawings, f"{name}.{kind}"), lambda place, data=data: place.write_bytes(data))


def table(reduced: Reduced) -> str:
    """All numbers as a table, one line per spectrum, lines by lines of the map; empty where no band is seen."""
    series = {name: values.ravel() for name, values in reduced.series.items()}
    grids = np.meshgrid(*reduced.axes.values(), indexing="ij")
    units = {"x": "um", "y": "um", "time": "ns"}
    columns = {f"{name}_{units[name]}": grid.ravel() for name, grid in zip(reduced.axes, grids, strict=True)}
    columns = dict(reversed(columns.items()))
    if reduced.kind != "streak":
        columns["distance_um"] = reduced.distance.ravel()
    for name, title in COLUMNS.items():
        columns[title] = series[name]
        columns[title.replace("_meV", "") + "_error" + "_meV" * title.endswith("_meV")] = series[f"{name}_error"]
        if name == "peak":
            columns["peak_nm"] = PLANCK_C / series["peak"]
            columns["peak_error_nm"] = PLANCK_C / series["peak"] ** 2 * series["peak_error"]
    columns["fwhm_meV"] = FWHM * series["width"]
    columns["misfit"] = series["misfit"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if np.isnan(v) else f"{v:.7g}" for v in row] for row in zip(*columns.values(), strict=True)])
    return stream.getvalue()


def summary(reduced: Reduced) -> dict[str, object]:
    """What was found, one entry per line of the screen."""
    series = {name: values.ravel() for name, values in reduced.series.items()}
    seen = np.isfinite(series["peak"])
    entries: dict[str, object] = {
        "file": reduced.file,
        "spectra": f"{seen.size} in a {'streak image' if reduced.kind == 'streak' else reduced.kind}, "
        f"a band in {np.count_nonzero(seen)}",
    }
    for name in ("peak", "width"):
        values, errors = series[name][seen], series[f"{name}_error"][seen]
        sure = np.flatnonzero(errors <= 4 * np.median(errors))
        ends = (sure[np.argmin(values[sure])], sure[np.argmax(values[sure])])
        words = [value_with_error(float(values[i]), float(errors[i]), "meV") for i in ends]
        if name == "peak":
            words = [f"{word} ({PLANCK_C / values[i]:.2f} nm)" for word, i in zip(words, ends, strict=True)]
        entries[f"{name}{' σ' if name == 'width' else ''}"] = " to ".join(words)
    if reduced.spot:
        place = [format_quantity(c, "length") for c in reduced.centre[: 2 if reduced.kind == "map" else 1]]
        entries["centre"] = f"{', '.join(place)}, {'where the light is' if reduced.found else 'as given'}"
    entries["notes"] = "; ".join(reduced.notes)
    return entries


def _has_time(path: str | Path) -> bool:
    file, member = split_member(str(path))
    labelled = read_axes(file, member)
    return labelled is not None and any(axis.kind == "time" and axis.values.size > 1 for axis in labelled.axes)


def _centre(given: str | None, axes: Mapping[str, np.ndarray], light: np.ndarray) -> tuple[tuple[float, float], bool]:
    """((x, y) in µm, whether the light is one spot): as given, or the middle of what is above half of the brightest."""
    if given is not None:
        parts = [parse_quantity(part, "position", name="--centre") for part in given.split(",")]
        if len(parts) != len(axes):
            raise InputError(f'--centre {given!r}: of a line give one place, "1.2 um", of a map two, "x, y"')
        return (parts[0], parts[-1]), True
    above = np.clip(light - 0.5 * light.max(), 0.0, None)
    grids = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij"), strict=True))
    place = {name: float((above * grid).sum() / above.sum()) for name, grid in grids.items()}
    inner = np.ones(light.shape, bool)
    inner[tuple(slice(1, -1) for _ in light.shape)] = False
    spot = bool(light[inner].max() < RIM * light.max() and np.count_nonzero(above) < 0.5 * light.size)
    return (place["x"], place.get("y", 0.0)), spot


def _remarks(used: np.ndarray, series: Mapping[str, np.ndarray], spot: bool, kind: str) -> list[str]:
    """What a person should know of these numbers."""
    said = []
    stray = int(np.count_nonzero(~used))
    if stray:
        said.append(f"{stray} bins far above their neighbours, such as cosmic rays leave, were left out")
    lost = int(np.count_nonzero(np.isnan(series["peak"])))
    if lost:
        said.append(f"{lost} spectra show no band that is sure and have no numbers")
    misfit = float(np.nanmedian(series["misfit"]))
    if misfit > COARSE:
        said.append(
            f"the bands are no Gaussian lines (χ² {misfit:.3g} per degree of freedom in the median): peak and width "
            "are those of the nearest Gaussian, their errors those of the noise alone"
        )
    if kind != "streak" and not spot:
        said.append("the light is not one spot within the scan: no figure against distance; --centre asks for one")
    return said
