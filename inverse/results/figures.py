"""Figures of a fit, drawn from saved values: maps, radial profiles, values against image.

Matplotlib is loaded when the first figure is drawn, and used without pyplot, so that nothing global changes. The
colours are those of Okabe and Ito and the maps cividis and a blue-orange pair: they stay apart for colour-blind eyes.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from excidiff.inverse.results.wording import label, unit_for_people

BLACK, BLUE, ORANGE, GREEN, GREY = "#1a1a1a", "#0072b2", "#d55e00", "#009e73", "#767676"
SIGMAS = 4.0  # the colour scale of residuals ends here

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "excidiff",
}


@dataclass(frozen=True, eq=False)
class Profile:
    """Means over rings around the fitted centre: `radius` in µm, the others in photons per pixel, all (n,)."""

    radius: np.ndarray
    counts: np.ndarray
    error: np.ndarray
    model: np.ndarray | None
    edge: float


def radial_profile(measurement: Any) -> Profile:
    """Average the used pixels of a measurement over rings one pixel wide around its fitted centre.

    The error of a ring is √ΣV / n, V the variance of its pixels under the model. `edge` is the radius at which the
    nearest side of the window (else of the image) is reached: beyond it a ring is no longer whole.
    """
    counts = measurement.counts
    y, x = _axes(measurement)
    centre_x, centre_y = centre(measurement)
    radius = np.hypot(x[None, :] - centre_x, y[:, None] - centre_y)
    used = np.isfinite(counts) if measurement.mask is None else measurement.mask
    # A pixel on the border of two rings goes outwards, whatever the rounding of its distance.
    ring = np.floor(radius / max(measurement.pixel_size) + 1e-6).astype(int)[used]
    size = np.bincount(ring)
    whole = size > 0

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(ring, weights=values[used])[whole] / size[whole]

    expected = counts if measurement.model is None else measurement.model
    variance = np.maximum(expected if measurement.variance is None else measurement.variance, 0.0)
    return Profile(
        radius=mean(radius),
        counts=mean(counts),
        error=np.sqrt(mean(variance) / size[whole]),
        model=None if measurement.model is None else mean(measurement.model),
        edge=_distance_to_edge(measurement, centre_x, centre_y),
    )


def centre(measurement: Any) -> tuple[float, float]:
    """(x, y) of the spot in µm from the image's centre: as fitted, else the middle of the brightest pixels."""
    fitted = [measurement.parameters.get(name) for name in ("centre_x", "centre_y")]
    if all(entry is not None and entry.value is not None for entry in fitted):
        return fitted[0].value, fitted[1].value
    y, x = _axes(measurement)
    above = np.clip(measurement.counts - 0.5 * np.nanmax(measurement.counts), 0.0, None)
    total = max(float(above.sum()), 1e-300)
    return float((above * x[None, :]).sum() / total), float((above * y[:, None]).sum() / total)


def draw_profile(axes: Any, measurement: Any, laser: Any = None) -> None:
    """Photons per pixel against distance from the centre: data, model, and the laser scaled to the same peak."""
    profile = radial_profile(measurement)
    ground = background(measurement)
    peak = float(np.max(profile.counts if profile.model is None else profile.model))
    if laser is not None and laser.counts is not None:
        beam = radial_profile(laser)
        shape = beam.counts - background(laser)
        scaled = shape / shape.max() * (peak - ground) + ground
        inside = beam.radius <= profile.radius[-1]
        axes.plot(beam.radius[inside], scaled[inside], "--", color=GREEN, lw=1.4, label="laser")
    shown = profile.counts > 0
    reach = min(profile.radius[-1], 1.2 * profile.edge) if profile.edge > 0 else profile.radius[-1]
    axes.errorbar(
        profile.radius[shown], profile.counts[shown], profile.error[shown],
        fmt="o", ms=2.8, lw=0.8, color=BLACK, label="measured",
    )  # fmt: skip
    if profile.model is not None:
        axes.plot(profile.radius, profile.model, color=BLUE, lw=1.8, label="model")
    if ground > 0:
        axes.axhline(ground, color=GREY, lw=0.9, ls=":", label="background")
    if profile.edge < profile.radius[-1]:
        axes.axvspan(profile.edge, profile.radius[-1], color="#eeeeee", lw=0, zorder=0, label="beyond the edge")
    positive = profile.counts[shown]
    top = max(peak, float(positive.max(initial=0.0)))
    floor = 0.5 * min(positive.min(initial=peak), ground if ground > 0 else peak)
    axes.set(
        yscale="log", xlim=(0.0, reach), ylim=(max(floor, peak * 1e-5), 1.8 * top),
        xlabel="distance from the centre (µm)", ylabel="photons per pixel",
    )  # fmt: skip
    _plain_decades(axes.yaxis)
    _legend_above(axes)


def background(measurement: Any) -> float:
    """The fitted background in photons per pixel; 0 when none was fitted."""
    entry = measurement.parameters.get("background")
    return 0.0 if entry is None or entry.value is None else float(entry.value)


def draw_scatter(axes: Any, measurements: Sequence[Any], mean: Any, name: str = "diffusion_length") -> None:
    """Each image's value with its error, the weighted mean with its own; flagged images hollow, failed ones crossed."""
    labelled = set()
    for index, measurement in enumerate(measurements):
        entry = measurement.parameters.get(name)
        if entry is None or entry.value is None:
            axes.plot(index, 0.03, "x", color=ORANGE, transform=axes.get_xaxis_transform(), clip_on=False,
                      label=None if "failed" in labelled else "no value")  # fmt: skip
            labelled.add("failed")
            continue
        good = measurement.status == "fitted"
        kind = "image, ± one standard error" if good else "flagged, not in the mean"
        axes.errorbar(
            index, entry.value, entry.stderr or 0.0, fmt="o", ms=5, lw=1.2, capsize=2,
            color=BLUE if good else ORANGE, mfc=BLUE if good else "white",
            label=None if kind in labelled else kind,
        )  # fmt: skip
        labelled.add(kind)
    if mean is not None and mean.value is not None:
        axes.axhline(mean.value, color=BLACK, lw=1.2, label="weighted mean")
        if mean.stderr:
            axes.axhspan(mean.value - mean.stderr, mean.value + mean.stderr, color=BLACK, alpha=0.13, lw=0,
                         label="its standard error")  # fmt: skip
        unit = unit_for_people(mean.unit)
        axes.set_ylabel(f"{label(name)} ({unit})" if unit else label(name))
    step = max(1, len(measurements) // 16)
    axes.set_xticks(
        range(0, len(measurements), step), [str(number) for number in range(1, len(measurements) + 1, step)]
    )
    axes.set_xlim(-0.6, len(measurements) - 0.4)
    axes.set_xlabel("image")
    _legend_above(axes)


def overview(measurement: Any, laser: Any = None) -> Any:
    """Image, model, residual in standard deviations, and radial profile of one measurement, as a Figure."""
    with _style():
        figure = _figure(12.0, 3.3)
        image, model, residual = (figure.add_axes((left, 0.15, 0.17, 0.7)) for left in (0.05, 0.235, 0.49))
        top = float(np.nanmax(measurement.counts))
        _draw_map(image, measurement, measurement.counts, "image", 0.0, top)
        drawn = _draw_map(model, measurement, measurement.model, "model", 0.0, top)
        figure.colorbar(drawn, cax=figure.add_axes((0.415, 0.2, 0.008, 0.6)), label="photons")
        drawn = _draw_map(residual, measurement, measurement.residual, "residual", -SIGMAS, SIGMAS)
        bar = figure.add_axes((0.67, 0.2, 0.008, 0.6))
        figure.colorbar(drawn, cax=bar, label="standard deviations", extend="both")
        model.set(ylabel="", yticklabels=[])
        residual.set(ylabel="", yticklabels=[])
        draw_profile(figure.add_axes((0.765, 0.15, 0.23, 0.66)), measurement, laser)
    return figure


def profile_figure(measurement: Any, laser: Any = None) -> Any:
    """The radial profile alone, as a Figure."""
    with _style():
        figure = _figure(4.3, 3.0)
        draw_profile(figure.add_axes((0.145, 0.155, 0.83, 0.7)), measurement, laser)
    return figure


def scatter_figure(measurements: Sequence[Any], mean: Any, name: str = "diffusion_length") -> Any:
    """The values of all images with their weighted mean, as a Figure."""
    with _style():
        figure = _figure(7.2, 3.6)
        draw_scatter(figure.add_axes((0.12, 0.13, 0.86, 0.7)), measurements, mean, name)
    return figure


def map_png(values: np.ndarray, low: float, high: float) -> bytes:
    """A (ny, nx) map as a PNG of just its pixels, row 0 on top; pixels that are NaN are light grey.

    From a negative `low` the scale is linear and diverging, from zero it goes with the square root: then a step of
    colour is the same number of standard deviations of a count everywhere, and faint tails are seen.
    """
    import matplotlib.image

    colours, norm = _colours(low, high)
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, colours(norm(np.ma.masked_invalid(values)), bytes=True), format="png")
    return buffer.getvalue()


def gradient(low: float, high: float) -> str:
    """The colours of a map as CSS stops, for its key."""
    from matplotlib.colors import to_hex

    colours, norm = _colours(low, high)
    return ", ".join(to_hex(colours(norm(value))) for value in np.linspace(low, high, 17))


def encode(figure: Any, kind: str) -> bytes:
    """A Figure as the bytes of a "png" or "svg" file, the same every time."""
    buffer = io.BytesIO()
    metadata: Mapping[str, Any] = {"Date": None, "Creator": "excidiff"} if kind == "svg" else {"Software": "excidiff"}
    with _style():
        figure.savefig(buffer, format=kind, dpi=130, metadata=metadata)
    return buffer.getvalue()


def _draw_map(axes: Any, measurement: Any, values: Any, title: str, low: float, high: float) -> Any:
    """One map with axes in µm; y grows downwards with the row, as the camera shows it."""
    y, x = _axes(measurement)
    dy, dx = measurement.pixel_size
    extent = (x[0] - dx / 2, x[-1] + dx / 2, y[-1] + dy / 2, y[0] - dy / 2)
    shown = np.full(measurement.counts.shape, np.nan) if values is None else values
    colours, norm = _colours(low, high)
    drawn = axes.imshow(shown, cmap=colours, norm=norm, extent=extent, interpolation="nearest")
    axes.set(title=title, xlabel="x (µm)", ylabel="y (µm)")
    return drawn


def _colours(low: float, high: float) -> tuple[Any, Any]:
    """Colour map and scale: blue to yellow over the square root of counts, or orange and purple about zero."""
    import matplotlib
    from matplotlib.colors import Normalize, PowerNorm

    colours = matplotlib.colormaps["PuOr_r" if low < 0 else "cividis"].with_extremes(bad="#d9d9d9")
    top = max(high, low + 1e-300)
    return colours, Normalize(low, top, clip=True) if low < 0 else PowerNorm(0.5, low, top, clip=True)


def _plain_decades(axis: Any) -> None:
    """Decades as 1, 10, 100, ticks without labels between: read at a glance, and quick to draw."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend_above(axes: Any) -> None:
    """The legend over the axes, where it hides no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=8.0, handlelength=1.3,
                columnspacing=1.0, handletextpad=0.5, borderaxespad=0.2)  # fmt: skip


def _axes(measurement: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres (y, x) in µm from the image's centre."""
    shape, pitch = measurement.counts.shape, measurement.pixel_size or (1.0, 1.0)
    y, x = ((np.arange(count) - 0.5 * (count - 1)) * size for count, size in zip(shape, pitch, strict=True))
    return y, x


def _distance_to_edge(measurement: Any, centre_x: float, centre_y: float) -> float:
    y, x = _axes(measurement)
    dy, dx = measurement.pixel_size
    sides = {"x0": x[0] - dx / 2, "x1": x[-1] + dx / 2, "y0": y[0] - dy / 2, "y1": y[-1] + dy / 2}
    for name, value in (measurement.window or {}).items():
        if name in sides and value is not None:
            sides[name] = max(sides[name], value) if name.endswith("0") else min(sides[name], value)
    gaps = (centre_x - sides["x0"], sides["x1"] - centre_x, centre_y - sides["y0"], sides["y1"] - centre_y)
    return max(0.0, float(min(gaps)))


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


@contextmanager
def _style() -> Any:
    """Our look, for the length of a block: fonts and line widths, as global settings that are put back."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield
