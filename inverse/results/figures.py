"""Figures of a measurement, drawn from saved values: maps and radial profiles.

Matplotlib is loaded when the first figure is drawn, and used without pyplot, so that nothing global changes. The
colours are those of Okabe and Ito and the maps cividis and a blue-orange pair: they stay apart for colour-blind eyes.
"""

import io
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from excidiff.inverse.results.wording import limit

BLACK, BLUE, ORANGE, GREEN, GREY = "#1a1a1a", "#0072b2", "#d55e00", "#009e73", "#767676"
SIGMAS = 4.0  # the colour scale of residuals ends here

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
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
    plain_decades(axes.yaxis)
    legend_above(axes)


def background(measurement: Any) -> float:
    """The fitted background in photons per pixel, of a movie that of all gates; 0 when none was fitted, or where only
    a limit is known."""
    entry = measurement.parameters.get("background")
    if entry is None or entry.value is None or limit(entry):
        return 0.0
    return float(entry.value) * (1 if measurement.gates is None else len(measurement.gates["start"]))


def overview(measurement: Any, laser: Any = None) -> Any:
    """Image, model, residual in standard deviations, and radial profile of one measurement, as a Figure.

    Laid out in inches from the image's own proportions: maps, colour bars and profile are of one height.
    """
    rows, columns = measurement.counts.shape
    dy, dx = measurement.pixel_size or (1.0, 1.0)
    proportion = min(max(rows * dy / (columns * dx), 0.25), 4.0)
    width, height = 2.3 / proportion**0.5, 2.3 * proportion**0.5
    left, below, above, gap, bar, numbers = 0.72, 0.52, 0.46, 0.14, 0.09, 0.62
    starts = [left, left + width + gap]
    starts += [starts[1] + width + 0.08, starts[1] + width + 0.08 + bar + numbers]  # the bar of photons, the residual
    starts += [starts[3] + width + 0.08]
    profile = starts[4] + bar + 1.02
    whole, tall = profile + 3.1 + 0.1, height + below + above
    with style():
        figure = new_figure(whole, tall)

        def place(x: float, across: float) -> Any:
            return figure.add_axes((x / whole, below / tall, across / whole, height / tall))

        top = max(float(np.nanmax(measurement.counts)), 1.0)
        image, model, residual = (place(starts[number], width) for number in (0, 1, 3))
        _draw_map(image, measurement, measurement.counts, "image", 0.0, top)
        drawn = _draw_map(model, measurement, measurement.model, "model", 0.0, top)
        draw_bar(figure, drawn, place(starts[2], bar), "photons", bar_ticks(top))
        drawn = _draw_map(residual, measurement, measurement.residual, "residual", -SIGMAS, SIGMAS)
        draw_bar(figure, drawn, place(starts[4], bar), "standard deviations", (-SIGMAS, -2, 0, 2, SIGMAS))
        for axes in (model, residual):
            axes.set(ylabel="", yticks=[])
        draw_profile(place(profile, 3.1), measurement, laser)
    return figure


def profile_figure(measurement: Any, laser: Any = None) -> Any:
    """The radial profile alone, as a Figure."""
    with style():
        figure = new_figure(4.3, 3.0)
        draw_profile(figure.add_axes((0.145, 0.155, 0.83, 0.7)), measurement, laser)
    return figure


def map_png(values: np.ndarray, low: float, high: float) -> bytes:
    """A (ny, nx) map as a PNG of just its pixels, row 0 on top; pixels that are NaN are light grey.

    From a negative `low` the scale is linear and diverging, from zero it goes with the square root: then a step of
    colour is the same number of standard deviations of a count everywhere, and faint tails are seen.
    """
    import matplotlib.image

    colours, norm = colours_of(low, high)
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, colours(norm(np.ma.masked_invalid(values)), bytes=True), format="png")
    return buffer.getvalue()


def gradient(low: float, high: float) -> str:
    """The colours of a map as CSS stops, for its key."""
    from matplotlib.colors import to_hex

    colours, norm = colours_of(low, high)
    return ", ".join(to_hex(colours(norm(value))) for value in np.linspace(low, high, 17))


def encode(figure: Any, kind: str) -> bytes:
    """A Figure as the bytes of a "png" or "svg" file, the same every time."""
    buffer = io.BytesIO()
    metadata: Mapping[str, Any] = {"Date": None, "Creator": "excidiff"} if kind == "svg" else {"Software": "excidiff"}
    with style():
        figure.savefig(buffer, format=kind, dpi=130, metadata=metadata)
    return buffer.getvalue()


def _draw_map(axes: Any, measurement: Any, values: Any, title: str, low: float, high: float) -> Any:
    """One map with axes in µm; y grows downwards with the row, as the camera shows it."""
    y, x = _axes(measurement)
    dy, dx = measurement.pixel_size
    extent = (x[0] - dx / 2, x[-1] + dx / 2, y[-1] + dy / 2, y[0] - dy / 2)
    shown = np.full(measurement.counts.shape, np.nan) if values is None else values
    colours, norm = colours_of(low, high)
    drawn = axes.imshow(shown, cmap=colours, norm=norm, extent=extent, interpolation="nearest")
    axes.set(title=title, xlabel="x (µm)", ylabel="y (µm)")
    ticks = _symmetric(min(-x[0], -y[0]))
    axes.set(xticks=ticks, yticks=ticks)
    return drawn


def _symmetric(reach: float) -> list[float]:
    """Ticks at -a, 0, a with a round number a well inside ±reach."""
    steps = [step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]
    step = max((step for step in steps if step <= 0.92 * reach), default=reach)
    return [-step, 0.0, step]


def draw_bar(figure: Any, drawn: Any, axes: Any, words: str, ticks: Any) -> None:
    """A colour bar as high as its map, with few numbers."""
    bar = figure.colorbar(drawn, cax=axes, ticks=list(ticks))
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(length=2.5, width=0.8, pad=2, labelsize=8.5)
    bar.set_label(words, size=9, labelpad=3)
    bar.outline.set_linewidth(0.0)  # type: ignore[operator]


def bar_ticks(top: float) -> list[float]:
    """Round numbers from 0 to `top` that stay apart on a square-root scale: 0, 100, 300, 600 or the like."""
    unit = 10.0 ** np.floor(np.log10(top))
    best = max((unit * step for step in (1, 2, 3, 4, 5, 6, 8) if unit * step <= 1.0001 * top), default=top)
    rounded = [_round(best * share) for share in (0.1, 0.4)]
    return [0.0, *(value for value in rounded if value < 0.7 * best), best]


def _round(value: float) -> float:
    """The nearest of 1, 2, 3, 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * min((1, 2, 3, 5, 10), key=lambda step: abs(step * power - value)))


def colours_of(low: float, high: float) -> tuple[Any, Any]:
    """Colour map and scale: blue to yellow over the square root of counts, or orange and purple about zero."""
    import matplotlib
    from matplotlib.colors import Normalize, PowerNorm

    colours = matplotlib.colormaps["PuOr_r" if low < 0 else "cividis"].with_extremes(bad="#d9d9d9")
    top = max(high, low + 1e-300)
    return colours, Normalize(low, top, clip=True) if low < 0 else PowerNorm(0.5, low, top, clip=True)


def plain_decades(axis: Any) -> None:
    """Decades as 1, 10, 100, ticks without labels between: read at a glance, and quick to draw."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_above(axes: Any, columns: int = 3) -> None:
    """The legend over the axes, where it hides no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize=8.0, handlelength=1.3,
                columnspacing=1.0, handletextpad=0.5, borderaxespad=0.2)  # fmt: skip


def _axes(measurement: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres (y, x) in µm from the centre of the whole frame, of which the window tells the image's own."""
    shape, pitch, seen = measurement.counts.shape, measurement.pixel_size or (1.0, 1.0), measurement.window or {}
    middles = (0.5 * (seen.get(f"{axis}0", 0.0) + seen.get(f"{axis}1", 0.0)) for axis in "yx")
    y, x = (
        middle + (np.arange(count) - 0.5 * (count - 1)) * size
        for count, size, middle in zip(shape, pitch, middles, strict=True)
    )
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


def new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


@contextmanager
def style() -> Any:
    """Our look, for the length of a block: fonts and line widths, as global settings that are put back."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield
