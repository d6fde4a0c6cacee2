"""One figure of a map: the value, its error, where the light was and how finely is seen, and what was measured.

Every map is drawn as an image is, y downwards with the row, in µm from the centre of the images or of the scan. Cells
that the data do not determine are grey, as are positions of a scan that were masked.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from excidiff.inverse.results.figures import BLACK, ORANGE, SIGMAS, new_figure, style
from excidiff.inverse.results.mapped import LIT, FilmMap
from excidiff.inverse.results.wording import unit_for_people

SIDE, BAR, LEFT, BETWEEN, BELOW, ABOVE, UP = 2.35, 0.09, 0.72, 1.12, 0.5, 0.42, 0.82
"""Inches: a map's side, its colour bar, room left of a map, between maps, below, above, and between the rows."""
MOST_SPOTS = 100
"""That are marked: more would hide the map."""
COUNTED = {"images": "photons", "intensity scan": "photons", "lifetime scan": "ns", "energy scan": "meV"}
"""Units of what was measured."""
GROWS = 4.0
"""Times its least from which an error is drawn on a scale of logarithms."""


class Panel(NamedTuple):
    """One map to draw, with the ends of its colour scale; `growing`: which is one of logarithms."""

    title: str
    unit: str
    values: Float[np.ndarray, "y x"]
    low: float
    high: float
    colours: str = "cividis"
    growing: bool = False


def map_figure(found: FilmMap) -> Any:
    """Two rows of three maps: value, error, resolution; what was measured, modelled, and what is left in errors."""
    shape = np.array(found.value.shape)
    tall = SIDE * float(np.clip(shape[0] / shape[1], 0.3, 3.0))
    width, height = LEFT + 3 * SIDE + 2 * BETWEEN + 0.8, 2 * tall + BELOW + ABOVE + UP
    drawn = (*_of_cells(found), *_of_data(found))
    with style():
        figure = new_figure(width, height)
        for number, panel in enumerate(drawn):
            row, column = divmod(number, 3)
            x, y = LEFT + column * (SIDE + BETWEEN), BELOW + (1 - row) * (tall + UP)
            axes = figure.add_axes((x / width, y / height, SIDE / width, tall / height))
            bar = figure.add_axes(((x + SIDE + 0.07) / width, y / height, BAR / width, tall / height))
            _draw(figure, axes, bar, panel, found.pixel_size if row else (found.pitch, found.pitch))
            right, below = 0.5 * found.pitch * shape[1], 0.5 * found.pitch * shape[0]
            axes.set(xlim=(-right, right), ylim=(below, -below))
            axes.set(xlabel="x (µm)" if row else "", ylabel="y (µm)" if column == 0 else "")
            if row == 0:
                _mark(axes, found, spots=column == 2)
    return figure


def _of_cells(found: FilmMap) -> tuple[Panel, ...]:
    """The map, its error, and how finely it is resolved."""
    name, unit, lit = found.kind.replace("_", " "), unit_for_people(found.unit), found.dose >= LIT
    high, worst = _top(np.abs(found.value), lit), _top(found.error, lit)
    least = float(np.nanmin(found.error)) if np.isfinite(found.error).any() else worst
    grows = worst > GROWS * least
    signed = found.kind == "landscape"
    return (
        Panel(name, unit, found.value, -high if signed else 0.0, high, "PuOr_r" if signed else "cividis"),
        Panel(f"error of the {name}", unit, found.error, least if grows else 0.0, worst, growing=grows),
        Panel("resolution", "µm FWHM", found.resolution, 0.0, _top(found.resolution, lit)),
    )


def _of_data(found: FilmMap) -> tuple[Panel, ...]:
    """What was measured, modelled, and what is left; a scan, which has no dark rim, from its lowest number on."""
    images, counted = found.source == "images", COUNTED[found.source]
    both = np.append(found.measured[np.isfinite(found.measured)], found.modelled)
    ends = (0.0 if images else float(both.min())), float(both.max())
    return (
        Panel("measured, all spots" if images else "measured", counted, found.measured, *ends),
        Panel("modelled", counted, found.modelled, *ends),
        Panel("measured − modelled", "standard deviations", (found.measured - found.modelled) / found.noise, -SIGMAS,
              SIGMAS, "PuOr_r"),
    )  # fmt: skip


def _top(values: np.ndarray, lit: np.ndarray) -> float:
    """The end of the scale: the highest value where there is light, so that dark corners do not set it."""
    shown = values[lit & np.isfinite(values)]
    return float(shown.max()) if shown.size else 1.0


def _draw(figure: Any, axes: Any, bar: Any, panel: Panel, pitch: tuple[float, float]) -> None:
    import matplotlib
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    half = [0.5 * n * size for n, size in zip(panel.values.shape, pitch, strict=True)]
    drawn = axes.imshow(
        np.ma.masked_invalid(panel.values),
        cmap=matplotlib.colormaps[panel.colours].with_extremes(bad="#d9d9d9"),
        norm=LogNorm(panel.low, panel.high, clip=True) if panel.growing else Normalize(panel.low, panel.high),
        extent=(-half[1], half[1], half[0], -half[0]),
        interpolation="nearest",
    )
    axes.set_title(panel.title)
    if not np.isfinite(panel.values).any():
        bar.set_axis_off()  # a scale would be invented
        axes.text(0.5, 0.9, "not determined", transform=axes.transAxes, ha="center", size=9, color=BLACK)
        return
    scale = figure.colorbar(drawn, cax=bar)
    scale.ax.tick_params(length=2.5, width=0.8, pad=2, labelsize=8.5)
    if panel.growing:
        scale.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if panel.high < 300 * panel.low else (1.0,)))
        scale.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        scale.ax.yaxis.set_minor_locator(NullLocator())
    else:
        scale.ax.locator_params(nbins=5)
    scale.set_label(panel.unit, size=9, labelpad=3)
    scale.outline.set_linewidth(0.0)  # type: ignore[operator]


def _mark(axes: Any, found: FilmMap, *, spots: bool) -> None:
    """Where the dose falls below a tenth of its largest; on one of the maps the laser's places, where they are few."""
    dark = bool(found.dose.min() < LIT)
    if dark:
        axes.contour(found.x, found.y, found.dose, levels=[LIT], colors="white", linewidths=0.8, linestyles="--")
    if not spots:
        return
    few = found.source == "images" and len(found.positions) <= MOST_SPOTS
    if few:
        axes.plot(*found.positions.T, "+", color=ORANGE, ms=5, mew=1.0)
    if few or dark:
        words = "   ".join(["+ spots"] * few + [f"- - {LIT:.0%} of the dose"] * dark)
        axes.text(0.02, 0.02, words, transform=axes.transAxes, size=7, color=BLACK,
                  bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.5})  # fmt: skip
