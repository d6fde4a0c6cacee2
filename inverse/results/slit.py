"""The figure of the light through a slit: photons along it, measured and modelled, and the residual below."""

from typing import Any

import numpy as np

from excidiff.inverse.results.figures import (
    BLACK,
    BLUE,
    SIGMAS,
    legend_above,
    new_figure,
    plain_decades,
    style,
)


def is_slit(measurement: Any) -> bool:
    """Whether a measurement's image has one row, as the light through a slit has."""
    return measurement.counts is not None and measurement.counts.ndim == 2 and measurement.counts.shape[0] == 1


def slit_figure(measurement: Any, width: float = 7.2, height: float = 3.9) -> Any:
    """One image of one row as a Figure; of gates the sum of all."""
    counts, model, residual = (np.asarray(a)[0] for a in (measurement.counts, measurement.model, measurement.residual))
    used = np.ones(counts.size, bool) if measurement.mask is None else measurement.mask[0]
    seen = measurement.window or {}
    step = (measurement.pixel_size or (1.0, 1.0))[1]
    x = 0.5 * (seen.get("x0", 0.0) + seen.get("x1", 0.0)) + (np.arange(counts.size) - 0.5 * (counts.size - 1)) * step
    peak = float(model.max())
    error = np.sqrt(np.maximum(counts if measurement.variance is None else measurement.variance[0], 0.0))
    with style():
        figure = new_figure(width, height)
        above, below = figure.add_axes((0.1, 0.4, 0.88, 0.5)), figure.add_axes((0.1, 0.13, 0.88, 0.21))
        shown = used & (counts > 0)
        above.errorbar(x[shown], counts[shown], error[shown], fmt="o", ms=2.4, lw=0.8, color=BLACK, label="measured")
        above.plot(x, model, color=BLUE, lw=1.6, label="model")
        lowest = min(float(counts[shown].min(initial=peak)), float(model.min()))
        span = (float(x[0] - step / 2), float(x[-1] + step / 2))
        above.set(yscale="log", xlim=span, ylim=(max(0.5 * lowest, 1e-5 * peak), 1.8 * max(peak, float(counts.max()))),
                  ylabel="photons per pixel")  # fmt: skip
        above.tick_params(labelbottom=False)
        plain_decades(above.yaxis)
        legend_above(above, columns=4)
        below.plot(x[used], np.clip(residual[used], -SIGMAS - 1, SIGMAS + 1), "o", ms=2.0, color=BLACK)
        below.axhline(0.0, color=BLUE, lw=1.2)
        below.set(ylim=(-SIGMAS - 1.5, SIGMAS + 1.5), yticks=[-4, 0, 4], xlim=span)
        below.set(xlabel="x along the slit (µm)", ylabel="residual (σ)")
    return figure
