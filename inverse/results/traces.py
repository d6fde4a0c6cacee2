"""The figure of a decay: counts, model and the instrument's response over time, and the residuals below."""

from typing import Any

import numpy as np

from excidiff.inverse.results.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    background,
    legend_above,
    new_figure,
    plain_decades,
    style,
)

FINEST = 700  # points that a curve has at most: more than these no page resolves
FAINTEST = 1e-4  # of the response's peak: below it it is not drawn
CLIPPED = 5.0  # standard deviations at which the residuals' axis ends


def decay_figure(measurement: Any, width: float = 7.2, height: float = 3.9) -> Any:
    """One decay as a Figure; neighbouring bins are averaged where there are more than a page resolves."""
    every = max(1, -(-measurement.counts.size // FINEST))
    time, counts = _averaged(measurement.time, every), _averaged(measurement.counts, every)
    model = _averaged(measurement.model, every)
    residual = _averaged(measurement.residual, every) * np.sqrt(every)
    with style():
        figure = new_figure(width, height)
        above, below = figure.add_axes((0.1, 0.4, 0.88, 0.5)), figure.add_axes((0.1, 0.13, 0.88, 0.21))
        ground = background(measurement)
        peak = float(model.max())
        above.plot(time, counts, "o", ms=1.6, color=BLACK, label="measured")
        above.plot(time, model, color=BLUE, lw=1.6, label="model")
        if measurement.response is not None and measurement.response.max() > 0:  # a flash may precede the window
            flash = _averaged(measurement.response, every)
            flash = np.where(flash > FAINTEST * flash.max(), flash * peak / flash.max(), np.nan)
            above.plot(time, flash, "--", color=GREEN, lw=1.2, label="response")
        if ground > 0:
            above.axhline(ground, color=GREY, lw=0.9, ls=":", label="background")
        positive = counts[counts > 0]
        floor = max(0.5 * min(float(positive.min(initial=peak)), ground or peak), 1e-5 * peak)
        span = (float(time[0]), float(time[-1]))
        above.set(yscale="log", ylim=(floor, 1.8 * max(peak, float(counts.max()))), xlim=span, ylabel="photons per bin")
        above.tick_params(labelbottom=False)
        plain_decades(above.yaxis)
        legend_above(above, columns=4)
        below.plot(time, np.clip(residual, -CLIPPED, CLIPPED), "o", ms=1.6, color=BLACK)
        below.axhline(0.0, color=BLUE, lw=1.2)
        below.set(ylim=(-CLIPPED - 0.5, CLIPPED + 0.5), yticks=[-4, 0, 4], xlim=span)
        below.set(xlabel="time (ns)", ylabel="residual (σ)")
    return figure


def _averaged(values: np.ndarray, every: int) -> np.ndarray:
    """Means of so many neighbours each; what is left over at the end is left out."""
    whole = values.size // every * every
    return values[:whole].reshape(-1, every).mean(axis=1)
