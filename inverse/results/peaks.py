"""Figures of reduced spectra: light, peak and width along a line, over a map or in time, and against the distance."""

from typing import Any

import numpy as np

from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.results.figures import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    bar_ticks,
    colours_of,
    draw_bar,
    legend_above,
    new_figure,
    plain_decades,
    style,
)
from excidiff.inverse.results.spectrum import sides

WORDS = {"light": "light (counts)", "peak": "peak (meV)", "width": "width σ (meV)"}
SURE = 4.0  # times the median error, up to which a value has a say in the scale
RINGS = 16  # over which a map's places are averaged, by their distance
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
TENTH = 0.1  # of the places, that make the bluest and the reddest spectrum


def peaks_figure(reduced: Any) -> Any:
    """The spectra of one file as a Figure: see the module."""
    with style():
        if reduced.kind == "map":
            return _map_figure(reduced)
        return _line_figure(reduced)


def distance_figure(reduced: Any) -> Any:
    """Peak and width against the distance from the centre, of a line on both sides, of a map with means over rings."""
    with style():
        figure = new_figure(7.6, 3.5)
        for left, name in ((0.1, "peak"), (0.645, "width")):
            axes = figure.add_axes((left, 0.15, 0.325, 0.7))
            _far(axes, reduced, name)
            _limits(axes, reduced, name)
            if name == "peak":
                _in_nm(axes)
    return figure


def _far(axes: Any, reduced: Any, name: str) -> None:
    values, errors, distance = reduced.series[name], reduced.series[f"{name}_error"], reduced.distance
    if reduced.kind == "line":
        right = reduced.axes["x"] >= reduced.centre[0]
        for part, colour, words in ((right, BLUE, "towards +x"), (~right, ORANGE, "towards −x")):
            axes.errorbar(
                distance[part], values[part], errors[part], fmt="o", ms=2.6, lw=0.8, color=colour, label=words
            )
    else:
        flat, away = values.ravel(), distance.ravel()
        axes.plot(away, flat, "o", ms=1.6, color=GREY, alpha=0.5, label="places")
        good = np.isfinite(flat)
        ring = np.minimum((away / max(float(away.max()), 1e-12) * RINGS).astype(int), RINGS - 1)
        kept = [number for number in range(RINGS) if np.count_nonzero(good & (ring == number)) > 1]
        parts = [good & (ring == number) for number in kept]
        mean = [flat[part].mean() for part in parts]
        spread = [flat[part].std(ddof=1) / np.sqrt(np.count_nonzero(part)) for part in parts]
        axes.errorbar([away[part].mean() for part in parts], mean, spread, fmt="o-", ms=3.6, lw=1.2, color=BLUE,
                      label="means over rings")  # fmt: skip
    axes.set(xlabel="distance from the brightest place (µm)" if reduced.found else "distance from the centre (µm)",
             ylabel=WORDS[name], xlim=(0.0, 1.03 * float(distance.max())))  # fmt: skip
    legend_above(axes, columns=2)


def _line_figure(reduced: Any) -> Any:
    """Counts, and spectra scaled to their peaks, against place or time; beside them light, peak and width."""
    figure = new_figure(10.6, 7.0)
    along, words = _running(reduced)
    counts = reduced.counts
    top = float(np.quantile(counts, 0.9995))
    scaled = _smooth(counts - np.quantile(counts, 0.1, axis=1, keepdims=True), reduced)
    own = np.max(scaled, axis=1, keepdims=True)
    scaled = np.where(np.isfinite(reduced.series["peak"])[:, None], scaled / np.maximum(own, 1e-300), np.nan)
    heights = (0.535, 0.075)
    for bottom, values, high, title, unit in (
        (heights[0], counts, top, "counts", "counts per bin"),
        (heights[1], scaled, 1.0, "each spectrum to its own peak", "light / peak"),
    ):
        axes = figure.add_axes((0.07, bottom, 0.33, 0.385))
        colours, norm = colours_of(0.0, max(high, 1e-12))
        if unit != "counts per bin":
            norm = None
        drawn = axes.pcolormesh(
            sides(reduced.wavelength), sides(along), values, cmap=colours, norm=norm, rasterized=True,
            **({} if norm is not None else {"vmin": 0.0, "vmax": 1.0}),
        )  # fmt: skip
        axes.set(ylabel=words, title=title)
        if bottom == heights[1]:
            axes.plot(PLANCK_C / reduced.series["peak"], along, color="white", lw=2.4, alpha=0.8)
            axes.plot(PLANCK_C / reduced.series["peak"], along, color=ORANGE, lw=1.2)
            axes.set_xlabel("wavelength (nm)")
        else:
            axes.tick_params(labelbottom=False)
        place = figure.add_axes((0.408, bottom, 0.011, 0.385))
        draw_bar(figure, drawn, place, unit, bar_ticks(top) if norm is not None else (0, 0.2, 0.4, 0.6, 0.8, 1))
    for number, series in enumerate(("light", "peak", "width")):
        axes = figure.add_axes((0.565, 0.67 - 0.2975 * number, 0.355, 0.25))
        _running_series(axes, reduced, series, along)
        if number < 2:
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel(words)
        if series == "peak":
            _in_nm(axes)
    figure.text(0.07, 0.967, reduced.title, size=11)
    return figure


def _running_series(axes: Any, reduced: Any, name: str, along: np.ndarray) -> None:
    """One number against place or time, with its error and, where there is one, the centre."""
    values, errors = reduced.series[name], reduced.series[f"{name}_error"]
    log = name == "light" and reduced.kind == "streak"
    power = 0 if log or name != "light" else 3 * int(np.log10(np.nanmax(values)) // 3)
    values, errors = values / 10.0**power, errors / 10.0**power
    dense = values.size > 150
    axes.errorbar(along, values, errors, fmt="o", ms=1.8 if dense else 2.8, lw=0.6 if dense else 0.8, color=BLACK,
                  ecolor="#9a9a9a" if dense else BLACK)  # fmt: skip
    words = WORDS[name] if not power else f"light (10{str(power).translate(RAISED)} counts)"
    axes.set(ylabel=words, xlim=(float(along.min()), float(along.max())))
    if log:
        seen = values[np.isfinite(values)]
        axes.set(yscale="log", ylim=(0.5 * float(seen.min()), 1.6 * float(seen.max())))
        plain_decades(axes.yaxis)
    elif name == "light":
        axes.set_ylim(bottom=0.0)
    else:
        _limits(axes, reduced, name)
    if reduced.kind == "line" and reduced.spot:
        axes.axvline(reduced.centre[0], color=GREY, lw=0.9, ls=":")


def _map_figure(reduced: Any) -> Any:
    """Maps of light, peak and width; below them spectra, and maps of the errors."""
    y, x = reduced.axes["y"], reduced.axes["x"]
    high, wide = float(np.ptp(sides(y))), float(np.ptp(sides(x)))
    proportion = min(max(high / wide, 0.35), 2.0)
    width = 2.55
    height = width * proportion
    tall = 2 * height + 1.95
    figure = new_figure(11.2, tall)
    for number, name in enumerate(("light", "peak", "width", "spectra", "peak_error", "width_error")):
        row, column = divmod(number, 3)
        place = ((0.62 + 3.7 * column) / 11.2, (0.5 + (1 - row) * (height + 0.85)) / tall, width / 11.2, height / tall)
        axes = figure.add_axes(place)
        if name == "spectra":
            _extremes(axes, reduced)
            continue
        values = reduced.series[name]
        low, top = (float(a) for a in np.nanquantile(values, (0.02, 0.98)))
        if name in ("light", "peak_error", "width_error"):
            low = 0.0
        drawn = axes.pcolormesh(sides(x), sides(y), values, cmap=colours_of(0.0, 1.0)[0], vmin=low, vmax=top,
                                rasterized=True)  # fmt: skip
        title = WORDS[name.removesuffix("_error")] if "_" not in name else f"error of the {name.split('_')[0]} (meV)"
        axes.set(title=title, aspect="equal", xlabel="x (µm)" if row else "", ylabel="" if column else "y (µm)")
        if row and column == 1:
            axes.set_ylabel("y (µm)")
        axes.invert_yaxis()
        if reduced.spot and name == "light":
            axes.plot(*reduced.centre, "+", color="white", ms=9, mew=1.6)
        box = (place[0] + place[2] + 0.008, place[1], 0.009, place[3])
        bar = figure.colorbar(drawn, cax=figure.add_axes(box))
        bar.ax.tick_params(labelsize=8.5, length=2.5)
        bar.outline.set_linewidth(0.0)  # type: ignore[operator]
    figure.text(0.62 / 11.2, 1 - 0.22 / tall, reduced.title, size=11)
    return figure


def _extremes(axes: Any, reduced: Any) -> None:
    """The mean spectra of the places whose bands are bluest and reddest."""
    peak = reduced.series["peak"].ravel()
    counts = reduced.counts.reshape(peak.size, -1)
    clean = np.where(reduced.used.reshape(counts.shape), counts, np.nan)
    order = np.argsort(np.where(np.isfinite(peak), peak, np.nan))[: np.count_nonzero(np.isfinite(peak))]
    number = max(1, round(TENTH * order.size))
    for part, colour, words in ((order[-number:], BLUE, "bluest tenth"), (order[:number], ORANGE, "reddest tenth")):
        axes.plot(reduced.wavelength, np.nanmean(clean[part], axis=0), color=colour, lw=1.1, label=words)
    axes.set(
        xlabel="wavelength (nm)", ylabel="counts per bin", xlim=(reduced.wavelength.min(), reduced.wavelength.max())
    )
    axes.set_ylim(bottom=0.0)
    legend_above(axes, columns=2)


def _running(reduced: Any) -> tuple[np.ndarray, str]:
    """(values along the axis, its label); short times in ps."""
    if reduced.kind != "streak":
        return reduced.axes["x"], "position (µm)"
    time = reduced.axes["time"]
    short = float(np.ptp(time)) < 2.0
    return (1e3 * time, "time (ps)") if short else (time, "time (ns)")


def _smooth(counts: np.ndarray, reduced: Any) -> np.ndarray:
    """Means over a quarter of the band's width, so that dim spectra show their band."""
    width = float(np.nanmedian(reduced.series["width"]))
    bins = max(1, round(0.25 * width / float(np.median(np.abs(np.diff(reduced.edges))))))
    kernel = np.ones(bins) / bins
    return np.array([np.convolve(spectrum, kernel, mode="same") for spectrum in np.where(reduced.used, counts, 0.0)])


def _limits(axes: Any, reduced: Any, name: str) -> None:
    """The scale that the sure values ask for; others may lie beyond it."""
    values, errors = reduced.series[name].ravel(), reduced.series[f"{name}_error"].ravel()
    seen = np.isfinite(values)
    sure = seen & (errors <= SURE * np.median(errors[seen]))
    low, high = float((values - errors)[sure].min()), float((values + errors)[sure].max())
    room = 0.12 * max(high - low, 2.0 * float(np.median(errors[seen])), 1e-6 * abs(high))
    axes.set_ylim(low - room, high + room)


def _in_nm(axes: Any) -> None:
    beside = axes.secondary_yaxis("right", functions=(_turned, _turned))
    beside.set_ylabel("nm", labelpad=2)


def _turned(energy: np.ndarray) -> np.ndarray:
    """nm of meV, and back."""
    return PLANCK_C / np.maximum(energy, 1e-9)
