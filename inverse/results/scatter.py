"""The images of one film against each other: their values, the weighted mean, and which of them stand out.

The scale is that of the accepted images and their mean. What lies outside is drawn at the frame's edge with an arrow,
so that one bad image does not press the good ones into a line.
"""

import re
from collections.abc import Sequence
from typing import Any

from excidiff.inverse.results.figures import BLACK, BLUE, ORANGE, legend_above, new_figure, style
from excidiff.inverse.results.sentences import file_name
from excidiff.inverse.results.wording import label, limit, unit_for_people

NAMED = 12  # up to so many images stand with their names on the axis, more with their numbers
LONGEST = 22  # characters of a name on the axis
WIDTH, HEIGHT = 7.2, 3.4  # inches, without the names

_ENDING = re.compile(r"\.(tiff?|npy|npz|csv|txt|dat|h5|hdf5|nc)\b", re.IGNORECASE)


def scatter_figure(measurements: Sequence[Any], mean: Any, name: str = "diffusion_length") -> Any:
    """The values of all images with their weighted mean, as a Figure."""
    names = _names_on_axis(measurements)
    steep = sum(map(len, names)) > 70
    room = 0.5 + (0.045 * max(map(len, names)) if steep else 0.0)  # inches below the axis
    with style():
        figure = new_figure(WIDTH, HEIGHT + room)
        height = HEIGHT + room
        axes = figure.add_axes((0.11, room / height, 0.87, (HEIGHT - 0.55) / height))
        draw_scatter(axes, measurements, mean, name)
        if names:
            axes.set_xticks(range(len(names)), names)
            axes.set_xlabel("")
            if steep:
                axes.tick_params(axis="x", labelrotation=30)
                for tick in axes.get_xticklabels():
                    tick.set(ha="right", rotation_mode="anchor")
    return figure


def draw_scatter(axes: Any, measurements: Sequence[Any], mean: Any, name: str = "diffusion_length") -> None:
    """Each image's value with its error, the weighted mean with its own.

    A limit is a bar with an arrow, a flagged image is hollow, one without a value a cross on the axis itself.
    """
    low, high = scale(measurements, mean, name)
    axes.set_ylim(low, high)
    labelled: set[str] = set()

    def once(words: str) -> str | None:
        fresh = words not in labelled
        labelled.add(words)
        return words if fresh else None

    for index, measurement in enumerate(measurements):
        _draw_one(axes, index, measurement, measurement.parameters.get(name), once)
    _draw_mean(axes, mean)
    if mean is not None:
        unit = unit_for_people(mean.unit)
        axes.set_ylabel(f"{label(name)} ({unit})" if unit else label(name))
    step = max(1, len(measurements) // 16)
    axes.set_xticks(range(0, len(measurements), step), range(1, len(measurements) + 1, step))
    axes.set_xlim(-0.6, len(measurements) - 0.4)
    axes.set_xlabel("image, by its number")
    legend_above(axes)


def scale(measurements: Sequence[Any], mean: Any, name: str = "diffusion_length") -> tuple[float, float]:
    """(bottom, top) of the axis: the accepted images with their errors and the mean; limits where there is no more."""
    entries = [(m.status == "fitted", m.parameters.get(name)) for m in measurements]
    known = [(good, e) for good, e in entries if e is not None and e.value is not None and limit(e) is None]
    chosen = [e for good, e in known if good] or [e for _, e in known]
    if mean is not None and mean.value is not None and limit(mean) is None:
        chosen.append(mean)
    if chosen:
        low = min(e.value - (e.stderr or 0.0) for e in chosen)
        high = max(e.value + (e.stderr or 0.0) for e in chosen)
        room = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
        return low - room, high + room
    bounds = [found[1] for _, e in entries if e is not None and (found := limit(e)) is not None]
    return 0.0, 1.2 * max(bounds, default=1.0)


def _draw_one(axes: Any, index: int, measurement: Any, entry: Any, once: Any) -> None:
    low, high = axes.get_ylim()
    good = measurement.status == "fitted"
    look = {"color": BLUE if good else ORANGE, "mfc": BLUE if good else "white"}
    bound = None if entry is None else limit(entry)
    if entry is None or entry.value is None:
        axes.plot(index, 0.0, "x", ms=6, mew=1.6, color=ORANGE, transform=axes.get_xaxis_transform(), clip_on=False,
                  zorder=5, label=once("no value"))  # fmt: skip
        return
    place = entry.value if bound is None else bound[1]
    if not low <= place <= high:
        edge, marker = (0.97, "^") if place > high else (0.03, "v")
        axes.plot(index, edge, marker, ms=8, mew=1.2, **look, transform=axes.get_xaxis_transform(), clip_on=False,
                  zorder=5, label=once("beyond the scale"))  # fmt: skip
    elif bound is not None:
        axes.errorbar(index, place, 0.1 * (high - low), fmt="_", ms=10, lw=1.2, capsize=3, uplims=bound[0] == "<",
                      lolims=bound[0] == ">", **look, label=once("limit (95 %)"))  # fmt: skip
    else:
        axes.errorbar(index, place, entry.stderr or 0.0, fmt="o", ms=5, lw=1.2, capsize=2, **look,
                      label=once("image, ± one standard error" if good else "flagged, not in the mean"))  # fmt: skip


def _draw_mean(axes: Any, mean: Any) -> None:
    if mean is None or mean.value is None:
        return
    bound = limit(mean)
    if bound is not None:
        axes.axhline(bound[1], color=BLACK, lw=1.2, ls="--", zorder=1, label="limit of the film")
        return
    axes.axhline(mean.value, color=BLACK, lw=1.2, zorder=1, label="weighted mean")
    if mean.stderr:
        axes.axhspan(mean.value - mean.stderr, mean.value + mean.stderr, color=BLACK, alpha=0.13, lw=0, zorder=0,
                     label="its standard error")  # fmt: skip


def _names_on_axis(measurements: Sequence[Any]) -> list[str]:
    """The images' names without endings where they are few and unlike, else none."""
    names = [_ENDING.sub("", file_name(measurement.file)) for measurement in measurements]
    names = [name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}" for name in names]
    return names if len(names) <= NAMED and len(set(names)) == len(names) else []
