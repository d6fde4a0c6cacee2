"""The figure of a movie: light and mean square width of the spot from gate to gate, measured and modelled."""

from typing import Any

import numpy as np

from excidiff.inverse.results.figures import BLACK, BLUE, legend_above, new_figure, plain_decades, style

UNSURE = 0.5  # error over the model's width² beyond which a gate says nothing of it


def gates_figure(measurement: Any, width: float = 7.2, height: float = 3.0) -> Any:
    """Photons per ns over time, and w² over time where the light of a gate tells it."""
    gates = measurement.gates
    start, end = gates["start"], gates["end"]
    middle, length = (start + end) / 2, end - start
    with style():
        figure = new_figure(width, height)
        left, right = figure.add_axes((0.12, 0.17, 0.36, 0.68)), figure.add_axes((0.62, 0.17, 0.36, 0.68))
        light, error, model = (gates[name] / length for name in ("light", "light_error", "model_light"))
        shown = light > 0
        left.errorbar(middle[shown], light[shown], error[shown], (length / 2)[shown], fmt="o", ms=2.6, lw=0.9,
                      color=BLACK, label="measured")  # fmt: skip
        left.plot(middle, model, color=BLUE, lw=1.6, label="model")
        positive = model[model > 0]
        if positive.size:
            lowest = min(float(positive.min()), float(light[shown].min(initial=positive.max())))
            left.set(yscale="log", ylim=(max(0.5 * lowest, 1e-5 * float(positive.max())), 2 * float(model.max())))
            plain_decades(left.yaxis)
        left.set(xlabel="time (ns)", ylabel="photons per ns")
        legend_above(left, columns=2)
        sure = gates["width2_error"] < UNSURE * gates["model_width2"]
        right.errorbar(middle[sure], gates["width2"][sure], gates["width2_error"][sure], (length / 2)[sure], fmt="o",
                       ms=2.6, lw=0.9, color=BLACK, label="measured")  # fmt: skip
        right.plot(middle, gates["model_width2"], color=BLUE, lw=1.6, label="model")
        right.set(xlabel="time (ns)", ylabel="w² of the spot (µm²)")
        if sure.any():
            seen = np.concatenate([gates["width2"][sure], gates["model_width2"][sure]])
            room = 0.15 * max(float(np.ptp(seen)), 0.1 * float(seen.max()))
            right.set_ylim(float(seen.min()) - room, float(seen.max()) + room)
    return figure
