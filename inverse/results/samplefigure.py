"""One figure of several samples: a histogram of each, one above the other on a common axis, with their means.

Above each histogram its images are drawn as points with their own errors, in their order from the bottom up; hollow
ones were left out of the mean.
"""

import io
from typing import Any

import numpy as np

from excidiff.inverse.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, encode, new_figure, style
from excidiff.inverse.results.sampled import Sample, Samples
from excidiff.inverse.results.wording import counted, value_with_error

COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito
WIDTH, LEFT, RIGHT = 5.6, 0.62, 0.18  # inches
BARS, POINTS, TITLE, BETWEEN, BELOW, ABOVE = 0.85, 0.6, 0.26, 0.16, 0.52, 0.06
KINDS = ("png", "svg", "pdf")
FEWEST, MOST = 5, 80  # bins within a sample, and in all
LONGEST = 30  # characters of a name


def samples_figure(found: Samples) -> Any:
    """The figure, as high as the number of its samples asks."""
    count = len(found.samples)
    panel = TITLE + POINTS + BARS
    height = ABOVE + count * panel + (count - 1) * BETWEEN + BELOW
    low, high = _scale(found.samples)
    edges = _edges(found.samples, low, high)
    tallest = max((np.histogram(_used(sample), edges)[0].max() for sample in found.samples), default=1)
    with style():
        figure = new_figure(WIDTH, height)

        def place(bottom: float, tall: float) -> Any:
            across = (WIDTH - LEFT - RIGHT) / WIDTH
            axes = figure.add_axes((LEFT / WIDTH, bottom / height, across, tall / height))
            axes.set_xlim(low, high)
            return axes

        for number, sample in enumerate(found.samples):
            bottom = BELOW + (count - 1 - number) * (panel + BETWEEN)
            colour = COLOURS[number % len(COLOURS)]
            bars, points = place(bottom, BARS), place(bottom + BARS, POINTS)
            _draw_bars(bars, sample, edges, colour, max(int(tallest), 1))
            _draw_points(points, sample, colour)
            _draw_mean((bars, points), sample)
            _write_title(points, sample, found.unit, colour)
            if number == count - 1:
                bars.set_xlabel(found.title)
            else:
                bars.set_xticklabels([])
    return figure


def encode_figure(figure: Any, kind: str) -> bytes:
    """The figure as the bytes of a "png", "svg" or "pdf" file, the same every time."""
    if kind != "pdf":
        return encode(figure, kind)
    import matplotlib

    buffer = io.BytesIO()
    with style(), matplotlib.rc_context({"pdf.fonttype": 42}):  # letters stay letters
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "ModDate": None, "Creator": "excidiff"})
    return buffer.getvalue()


def _used(sample: Sample) -> np.ndarray:
    return np.array([one.value for one in sample.used], float)


def _scale(samples: tuple[Sample, ...]) -> tuple[float, float]:
    """The ends of the axis: all images that count with their errors, and some room."""
    ends = [one.value + sign * one.stderr for sample in samples for one in sample.used
            for sign in (-1, 1) if one.value is not None and one.stderr is not None]  # fmt: skip
    if not ends:
        return 0.0, 1.0
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low)
    return low - room, high + room


def _edges(samples: tuple[Sample, ...], low: float, high: float) -> np.ndarray:
    """Bins common to all samples, of a round width: some √n of them in a sample of typical range."""
    widths = [np.ptp(values) / max(FEWEST, np.sqrt(values.size)) for values in map(_used, samples) if values.size > 1]
    width = float(np.median([width for width in widths if width > 0] or [(high - low) / FEWEST]))
    width = max(width, (high - low) / MOST)
    power = 10.0 ** np.floor(np.log10(width))
    width = power * min((1, 2, 2.5, 5, 10), key=lambda step: abs(np.log(step * power / width)))
    return width * np.arange(np.floor(low / width), np.ceil(high / width) + 1)


def _draw_bars(axes: Any, sample: Sample, edges: np.ndarray, colour: str, tallest: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.hist(_used(sample), edges, color=colour, alpha=0.55, edgecolor="white", linewidth=0.6, zorder=2)
    axes.set_ylim(0, 1.08 * tallest)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel(f"{sample.noun}s")


def _draw_points(axes: Any, sample: Sample, colour: str) -> None:
    """Each image with its error; those left out hollow, where they have a value on the scale."""
    low, high = axes.get_xlim()
    count = len(sample.singles)
    size = float(np.clip(20 / max(count, 1), 2.2, 4.0))
    for row, one in enumerate(sample.singles):
        if one.value is None or not low <= one.value <= high:
            continue
        axes.errorbar(one.value, row, xerr=one.stderr, fmt="o", ms=size, lw=0.8, mew=0.8, color=colour if one.used
                      else GREY, mfc=colour if one.used else "white", zorder=3)  # fmt: skip
    axes.set_ylim(-1.2, max(count, 1) + 0.2)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)


def _draw_mean(both: tuple[Any, ...], sample: Sample) -> None:
    if sample.mean is None:
        return
    value, stderr = sample.mean
    for axes in both:
        axes.axvspan(value - stderr, value + stderr, color=BLACK, alpha=0.16, lw=0, zorder=1)
        axes.axvline(value, color=BLACK, lw=1.2, zorder=4)


def _write_title(axes: Any, sample: Sample, unit: str, colour: str) -> None:
    """The name on the left, mean and number on the right."""
    mean = "no value" if sample.mean is None else value_with_error(*sample.mean, unit)
    name = sample.name if len(sample.name) <= LONGEST else f"{sample.name[: LONGEST - 1]}…"
    axes.set_title(name, color=colour, loc="left", pad=5, parse_math=False)
    words = f"{mean}, {counted(len(sample.used), sample.noun)}"
    axes.set_title(words, loc="right", fontsize=9.0, fontweight="normal", pad=5)
