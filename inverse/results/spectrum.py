"""The figure of a spectral map: counts and residuals over place and colour, spectra near and far, peak and width."""

from typing import Any

import numpy as np

from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.results.figures import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SIGMAS,
    bar_ticks,
    colours_of,
    draw_bar,
    legend_above,
    new_figure,
    style,
)

FAR = 0.15  # of the places, the dimmest: the rim, whose spectra are added up
FAINT = 0.02  # of the brightest place: dimmer ones do not set the scale of peaks and widths


def spectral_figure(measurement: Any) -> Any:
    """One spectral map as a Figure; of one in two dimensions the maps of light, peak and width."""
    with style():
        figure = new_figure(10.4, 6.3)
        if "y" in measurement.axes:
            _maps(figure, measurement)
        else:
            _line(figure, measurement)
        _near_and_far(figure.add_axes((0.07, 0.09, 0.25, 0.30)), measurement)
    return figure


def _line(figure: Any, measurement: Any) -> None:
    """A scan along a line: counts, model and residual above, peak and width along the line below."""
    counts = measurement.counts
    top = max(float(counts.max()), 1.0)
    whole = (0.07, 0.325, 0.635)
    drawn = None
    for left, values, title in zip(whole, (counts, measurement.model, measurement.residual),
                                   ("measured", "model", "residual"), strict=True):  # fmt: skip
        axes = figure.add_axes((left, 0.54, 0.225, 0.38))
        low, high = (-SIGMAS, SIGMAS) if title == "residual" else (0.0, top)
        drawn = _image(axes, measurement, values, low, high)
        axes.set(title=title, xlabel="wavelength (nm)", ylabel="position (µm)" if left == whole[0] else "")
        if left != whole[0]:
            axes.tick_params(labelleft=False)
        if title != "measured":
            bar = figure.add_axes((left + 0.23, 0.54, 0.009, 0.38))
            ticks = (-SIGMAS, -2, 0, 2, SIGMAS) if title == "residual" else bar_ticks(top)
            draw_bar(figure, drawn, bar, "", ticks)
    _along(figure.add_axes((0.40, 0.09, 0.22, 0.30)), measurement, "peak", "peak of the band (meV)", wavelength=True)
    _along(figure.add_axes((0.765, 0.09, 0.22, 0.30)), measurement, "width", "width σ of the band (meV)")


def _image(axes: Any, measurement: Any, values: np.ndarray, low: float, high: float) -> Any:
    """Counts over wavelength (across) and place (up); bins need not be even."""
    colours, norm = colours_of(low, high)
    across, up = sides(measurement.axes["wavelength"]), sides(measurement.axes["x"])
    return axes.pcolormesh(across, up, values, cmap=colours, norm=norm, rasterized=True)


def _along(axes: Any, measurement: Any, name: str, words: str, *, wavelength: bool = False) -> None:
    """What the spectra were reduced to along the line, measured and modelled."""
    series, x = measurement.series, measurement.axes["x"]
    bright = _bright(measurement)
    axes.errorbar(x, series[name], series[f"{name}_error"], fmt="o", ms=2.4, lw=0.8, color=BLACK, label="measured")
    axes.plot(x, series[f"model_{name}"], color=BLUE, lw=1.6, label="model")
    both = np.concatenate([series[name][bright], series[f"model_{name}"]])
    if not np.isfinite(both).any():
        axes.set(xlabel="position (µm)", ylabel=words, xlim=(x[0], x[-1]))
        _nothing(axes)
        return
    low, high = float(np.nanmin(both)), float(np.nanmax(both))
    room = 0.25 * max(high - low, 0.5)
    axes.set(xlabel="position (µm)", ylabel=words, ylim=(low - room, high + room), xlim=(x[0], x[-1]))
    legend_above(axes, columns=2)
    if wavelength:
        beside = axes.secondary_yaxis("right", functions=(_turned, _turned))
        beside.set_ylabel("nm", labelpad=2)


def _maps(figure: Any, measurement: Any) -> None:
    """A map: light of all colours, peak and width over the plane, and the residual of all colours."""
    series, y, x = measurement.series, measurement.axes["y"], measurement.axes["x"]
    light = measurement.counts.sum(-1)
    shown: list[Any] = [
        ("photons", light, None),
        ("peak (meV)", series["peak"], None),
        ("width σ (meV)", series["width"], None),
    ]
    away = (measurement.counts - measurement.model).sum(-1) / np.sqrt(measurement.variance.sum(-1))
    shown.append(("residual (σ)", away, SIGMAS))
    bright = _bright(measurement)
    for number, (title, values, limit) in enumerate(shown):
        row, column = divmod(number, 3)
        axes = figure.add_axes((0.07 + 0.33 * (column + row), 0.55 - 0.46 * row, 0.21, 0.36))
        axes.set(title=title, xlabel="x (µm)", ylabel="y (µm)", aspect="equal")
        if not np.isfinite(values).any():
            _nothing(axes)
            continue
        if limit is None:
            known = values[bright] if bright.any() else values[np.isfinite(values)]
            low, high = (0.0, float(values.max())) if number == 0 else np.quantile(known, (0.02, 0.98))
            norm, colours = None, "cividis"
        else:
            (colours, norm), low, high = colours_of(-limit, limit), None, None
        drawn = axes.pcolormesh(sides(x), sides(y), values, cmap=colours, norm=norm, vmin=low, vmax=high,
                                rasterized=True)  # fmt: skip
        axes.invert_yaxis()
        figure.colorbar(drawn, ax=axes, fraction=0.046)


def _nothing(axes: Any) -> None:
    """Where no spectrum by itself has a band that stands out, as in maps of few photons."""
    axes.text(0.5, 0.5, "too dim,\nplace by place", transform=axes.transAxes, ha="center", va="center", color=GREY)


def _near_and_far(axes: Any, measurement: Any) -> None:
    """The spectra where most light is and of the dimmest places together, each to its model's peak."""
    counts, model = (a.reshape(-1, a.shape[-1]) for a in (measurement.counts, measurement.model))
    wavelength, light = measurement.axes["wavelength"], model.sum(1)
    order = np.argsort(light)
    number = max(1, round(FAR * light.size))
    for part, colour, words in ((order[-number:], BLUE, "brightest places"), (order[:number], ORANGE, "dimmest")):
        scale = float(model[part].sum(0).max())
        axes.plot(wavelength, counts[part].sum(0) / scale, "o", ms=1.8, color=colour, alpha=0.7)
        axes.plot(wavelength, model[part].sum(0) / scale, color=colour, lw=1.5, label=words)
    axes.axhline(0.0, color=GREY, lw=0.6)
    axes.set(xlabel="wavelength (nm)", ylabel="light / its peak", xlim=(wavelength.min(), wavelength.max()))
    legend_above(axes, columns=2)


def _bright(measurement: Any) -> np.ndarray:
    light = measurement.model.sum(-1)
    return (light > FAINT * light.max()) & np.isfinite(measurement.series["peak"])


def sides(middles: np.ndarray) -> np.ndarray:
    """Sides of cells around their middles."""
    if middles.size == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    inner = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[1.5 * middles[0] - 0.5 * middles[1]], inner, [1.5 * middles[-1] - 0.5 * middles[-2]]])


def _turned(energy: np.ndarray) -> np.ndarray:
    """nm of meV, and back."""
    return PLANCK_C / np.maximum(energy, 1e-9)
