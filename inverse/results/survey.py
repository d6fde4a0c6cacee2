"""Figures of raster scans of an even film: what they show against the density of the pulse, and how places scatter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from excidiff.inverse.results.figures import BLACK, BLUE, ORANGE, legend_above, new_figure, plain_decades, style

KINDS = {"mean_photons": "photons per exciton, relative", "mean_age": "mean age of photons (ns)"}
BARS = 24
SHAPES = 64  # of the noise of all places, from the surest on


def quantity_of(measurement: Any) -> str:
    """Of `KINDS`, what a scan is of."""
    return "mean_age" if "mean_age" in measurement.parameters else "mean_photons"


def powers_figure(scans: Sequence[Any], width: float = 7.2, height: float = 3.0) -> Any:
    """Means of scans against the peak density, measured and modelled: photons, each over its density, and ages."""
    kinds = [name for name in KINDS if any(quantity_of(one) == name for one in scans)]
    with style():
        figure = new_figure(width if len(kinds) > 1 else 0.56 * width, height)
        left, across = (0.11, 0.36) if len(kinds) > 1 else (0.2, 0.76)
        for number, name in enumerate(kinds):
            axes = figure.add_axes((left + 0.51 * number, 0.17, across, 0.68))
            some = [one for one in scans if quantity_of(one) == name]
            lowest, highest = [], []
            for seen, mark, colour in ((None, "o", BLACK), ("near", "s", ORANGE)):
                members = [one for one in some if ("collection_fwhm" in one.parameters) == (seen == "near")]
                if not members:
                    continue
                density, mean, error, model = _curve(members, name)
                label = "measured" if seen is None else "near the laser"
                axes.errorbar(density, mean, error, fmt=mark, ms=3.6, lw=1.0, color=colour, label=label)
                axes.plot(density, model, color=BLUE, lw=1.6, label="model" if not lowest else None)
                lowest.append(min(mean.min(), model.min()))
                highest.append(max(mean.max(), model.max()))
            axes.set(xscale="log", xlabel="peak density (1/µm²)", ylabel=KINDS[name])
            plain_decades(axes.xaxis)
            room = 0.12 * max(max(highest) - min(lowest), 0.04 * max(highest))
            axes.set_ylim(min(lowest) - room, max(highest) + room)
            legend_above(axes)
    return figure


def _curve(scans: Sequence[Any], name: str) -> tuple[np.ndarray, ...]:
    """(densities in order, means, errors, those of the model), of photons over the density and that of the first."""
    order = sorted(scans, key=lambda one: one.parameters["peak_density"].value)
    density = np.array([one.parameters["peak_density"].value for one in order])
    mean, error = (np.array([getattr(one.parameters[name], what) for one in order]) for what in ("value", "stderr"))
    model = np.array([float(np.asarray(one.model).flat[0]) for one in order])
    unit = density * (model / density)[0] if name == "mean_photons" else np.ones(density.size)
    return density, mean / unit, error / unit, model / unit


def places_figure(measurement: Any, width: float = 4.3, height: float = 3.0) -> Any:
    """How many places show how much, beside what noise alone would make of an even film about its mean."""
    used = np.asarray(measurement.mask)
    values, law = np.asarray(measurement.counts)[used], np.asarray(measurement.variance)[used]
    mean = measurement.parameters[quantity_of(measurement)].value
    noise = np.sqrt(np.quantile(law, (np.arange(SHAPES) + 0.5) / SHAPES))
    reach = max(float(np.quantile(np.abs(values - mean), 0.998)), 3.5 * float(np.median(noise)))
    edges = np.linspace(mean - reach, mean + reach, BARS + 1)
    x = np.linspace(edges[0], edges[-1], 200)
    with style():
        figure = new_figure(width, height)
        axes = figure.add_axes((0.145, 0.155, 0.83, 0.7))
        axes.hist(values, edges, color="#b8b8b8", label="places")
        bell = np.exp(-0.5 * ((x[:, None] - mean) / noise) ** 2) / (np.sqrt(2 * np.pi) * noise)
        axes.plot(
            x, bell.mean(1) * values.size * (edges[1] - edges[0]), color=BLUE, lw=1.6, label="noise of an even film"
        )
        unit = "mean age (ns)" if quantity_of(measurement) == "mean_age" else "photons"
        axes.set(xlabel=unit, ylabel="places", xlim=(edges[0], edges[-1]))
        legend_above(axes, columns=2)
    return figure
