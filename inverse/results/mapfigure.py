"""One figure of a map: the value, its error, where the light was and how finely is seen, and what was measured.

Every map is drawn as an image is, y downwards with the row, in µm from the images' centre. Cells that the data do not
determine are grey.
"""

from typing import Any

import numpy as np

from excidiff.inverse.results.figures import BLACK, ORANGE, SIGMAS, new_figure, style
from excidiff.inverse.results.mapped import LIT, RateMap
from excidiff.inverse.results.wording import unit_for_people

SIDE, BAR, LEFT, BETWEEN, BELOW, ABOVE, UP = 2.35, 0.09, 0.62, 1.12, 0.5, 0.42, 0.82
"""Inches: a map's side, its colour bar, room left of a map, between maps, below, above, and between the rows."""


def map_figure(found: RateMap) -> Any:
    """Two rows of three maps: value, error, resolution; photons measured, modelled, and what is left in errors."""
    name, unit = found.kind.replace("_", " "), unit_for_people(found.unit)
    shape = np.array(found.value.shape)
    tall = SIDE * float(np.clip(shape[0] / shape[1], 0.3, 3.0))
    width, height = LEFT + 3 * SIDE + 2 * BETWEEN + 0.8, 2 * tall + BELOW + ABOVE + UP
    left = np.sqrt(np.maximum(found.modelled, 1e-300))
    left = (found.measured - found.modelled) / left
    photons = float(max(found.measured.max(), found.modelled.max()))
    lit = found.dose >= LIT
    panels = (
        (name, unit, found.value, _top(found.value, lit), "cividis"),
        (f"error of the {name}", unit, found.error, _top(found.error, lit), "cividis"),
        ("resolution", "µm FWHM", found.resolution, _top(found.resolution, lit), "cividis"),
        ("measured, all spots", "photons", found.measured, photons, "cividis"),
        ("modelled", "photons", found.modelled, photons, "cividis"),
        ("measured − modelled", "standard deviations", left, SIGMAS, "PuOr_r"),
    )
    with style():
        figure = new_figure(width, height)
        for number, (title, words, values, top, colours) in enumerate(panels):
            row, column = divmod(number, 3)
            x, y = LEFT + column * (SIDE + BETWEEN), BELOW + (1 - row) * (tall + UP)
            axes = figure.add_axes((x / width, y / height, SIDE / width, tall / height))
            bar = figure.add_axes(((x + SIDE + 0.07) / width, y / height, BAR / width, tall / height))
            _draw(figure, axes, bar, found, values, (title, words, colours), top)
            axes.set(xlabel="x (µm)" if row else "", ylabel="y (µm)" if column == 0 else "")
            if row == 0:
                _mark(axes, found, spots=column == 2)
    return figure


def _top(values: np.ndarray, lit: np.ndarray) -> float:
    """The end of the scale: the highest value where there is light, so that dark corners do not set it."""
    shown = values[lit & np.isfinite(values)]
    return float(shown.max()) if shown.size else 1.0


def _draw(figure: Any, axes: Any, bar: Any, found: RateMap, values: np.ndarray, look: tuple, top: float) -> None:
    import matplotlib
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter, NullFormatter

    title, words, colours = look
    pitch = (found.pitch, found.pitch) if values.shape == found.value.shape else found.pixel_size
    half = [0.5 * n * size for n, size in zip(values.shape, pitch, strict=True)]
    extent = (-half[1], half[1], half[0], -half[0])
    if values is found.error:  # from plateaus to edges it grows a hundredfold
        low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.1 * top
        norm = LogNorm(min(low, 0.99 * top), top, clip=True)
    else:
        norm = Normalize(-top if colours == "PuOr_r" else 0.0, top)
    drawn = axes.imshow(
        np.ma.masked_invalid(values),
        cmap=matplotlib.colormaps[colours].with_extremes(bad="#d9d9d9"),
        norm=norm,
        extent=extent,
        interpolation="nearest",
    )
    axes.set_title(title)
    scale = figure.colorbar(drawn, cax=bar)
    scale.ax.tick_params(length=2.5, width=0.8, pad=2, labelsize=8.5)
    if isinstance(norm, LogNorm):
        scale.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        scale.ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        scale.ax.locator_params(nbins=5)
    scale.set_label(words, size=9, labelpad=3)
    scale.outline.set_linewidth(0.0)  # type: ignore[operator]


def _mark(axes: Any, found: RateMap, *, spots: bool) -> None:
    """Where the dose falls below a tenth of its largest; the laser's places on one of the maps."""
    if found.dose.min() < LIT:
        axes.contour(found.x, found.y, found.dose, levels=[LIT], colors="white", linewidths=0.8, linestyles="--")
    if spots:
        axes.plot(*found.positions.T, "+", color=ORANGE, ms=5, mew=1.0)
        axes.text(0.02, 0.02, f"+ spots   - - {LIT:.0%} of the dose", transform=axes.transAxes, size=7, color=BLACK,
                  bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.5})  # fmt: skip
