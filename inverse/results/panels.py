"""One measurement on the page: image, model and residual as bare pixels with the radial profile; a decay over time."""

from typing import Any

import numpy as np

from excidiff.inverse.results import figures, page
from excidiff.inverse.results.gates import gates_figure
from excidiff.inverse.results.screen import goodness_in_words
from excidiff.inverse.results.sentences import file_name, reason
from excidiff.inverse.results.slit import is_slit, slit_figure
from excidiff.inverse.results.spectrum import spectral_figure
from excidiff.inverse.results.survey import places_figure, quantity_of
from excidiff.inverse.results.traces import decay_figure
from excidiff.inverse.results.wording import estimate_in_words, label

VALUES = ("peak_density", "mean_photons", "mean_age", "trap_band_share", "diffusion_length", "lifetime",
          "laser_image_fwhm", "laser_fwhm")  # fmt: skip


def measurement_panels(measurement: Any, laser: Any = None, number: int | None = None) -> str:
    """A measurement with its state, its values and its pictures, as HTML; one without data is named with its reason.

    `number` is that of the image among all, as the figure of all images counts them.
    """
    title = file_name(measurement.file)
    head = f"<h3>{page.text(title if number is None else f'{number} · {title}')}</h3>"
    if measurement.status != "fitted":
        head += f'<p class="{measurement.status}">{measurement.status}: {page.text(reason(measurement))}</p>'
    if measurement.counts is None:
        return f'<article class="measurement">{head}</article>'
    mixed = [name for name in measurement.parameters if name.startswith(("lifetime_", "weight_"))]
    summary = [_phrase(measurement, name) for name in (*VALUES, *mixed)]
    summary.append(goodness_in_words(measurement.goodness))
    head += page.paragraph("; ".join(part for part in summary if part))
    if measurement.axes is not None:
        return f'<article class="measurement">{head}{_spectra(measurement)}</article>'
    if measurement.counts.ndim == 1:
        return f'<article class="measurement">{head}{_trace(measurement)}</article>'
    if measurement.kind == "raster_scan":
        return f'<article class="measurement">{head}<div class="panels">{_scan(measurement)}</div></article>'
    body = _slit(measurement) if is_slit(measurement) else f'<div class="panels">{_panels(measurement, laser)}</div>'
    return f'<article class="measurement">{head}{body}{_gates(measurement)}</article>'


def _trace(measurement: Any) -> str:
    """A decay over time with its residuals."""
    drawn = figures.encode(decay_figure(measurement), "svg")
    alternative = (
        f"Photons per bin of {file_name(measurement.file)} against time, measured and modelled; residuals below."
    )
    return f'<figure class="wide">{page.picture(drawn, "svg+xml", alternative)}</figure>'


def _gates(measurement: Any) -> str:
    """Light and width of a movie's spot over time; nothing of other images."""
    if measurement.gates is None:
        return ""
    drawn = figures.encode(gates_figure(measurement), "svg")
    alternative = f"Photons per ns and mean square width of the spot of {file_name(measurement.file)} against time."
    words = (
        "<figcaption><b>gate by gate</b>: photons per ns, and w², the mean square width of the spot along one axis as "
        "imaged, by the model and as the counts correct it to first order; pure diffusion adds 2Dt to it</figcaption>"
    )
    return f'<figure class="wide">{page.picture(drawn, "svg+xml", alternative)}{words}</figure>'


def _slit(measurement: Any) -> str:
    """The light along a slit, with its residuals."""
    drawn = figures.encode(slit_figure(measurement), "svg")
    alternative = f"Photons of {file_name(measurement.file)} along the slit, measured and modelled; residuals below."
    return f'<figure class="wide">{page.picture(drawn, "svg+xml", alternative)}</figure>'


def _spectra(measurement: Any) -> str:
    """Counts over place and colour with the residual, spectra near and far, peak and width along the scan."""
    drawn = figures.encode(spectral_figure(measurement), "png")
    alternative = (
        f"Photons of {file_name(measurement.file)} over position and wavelength, measured and modelled, with residual; "
        "spectra of bright and dim places; peak and width of the band against position."
    )
    return f"<figure>{page.picture(drawn, 'png', alternative)}</figure>"


def _phrase(measurement: Any, name: str) -> str:
    entry = measurement.parameters.get(name)
    return "" if entry is None else f"{label(name)} {estimate_in_words(entry)}"


def _panels(measurement: Any, laser: Any) -> str:
    """Image, model, residual as bare pixels with a scale bar and a colour key, then the radial profile."""
    file = file_name(measurement.file)
    top = float(max(measurement.counts.max(), 1.0))
    limit = figures.SIGMAS
    parts = [
        _map(
            measurement,
            measurement.counts,
            "image",
            f"measured photons of {file}",
            (0.0, top),
            "photons, square-root scale",
        )
    ]
    if measurement.model is not None:
        parts.append(
            _map(
                measurement,
                measurement.model,
                "model",
                f"fitted model of {file}",
                (0.0, top),
                "photons, square-root scale",
            )
        )
        what = f"residual of {file} in standard deviations"
        parts.append(_map(measurement, measurement.residual, "residual", what, (-limit, limit), "standard deviations"))
    drawn = figures.encode(figures.profile_figure(measurement, laser), "svg")
    alternative = f"Photons per pixel of {file} against the distance from the centre, measured and modelled."
    caption = "<figcaption><b>radial profile</b>, means over rings one pixel wide</figcaption>"
    parts.append(f'<figure class="profile">{page.picture(drawn, "svg+xml", alternative)}{caption}</figure>')
    return "".join(parts)


def _scan(measurement: Any) -> str:
    """A scan, how far its places are off the mean of the model, and their distribution."""
    file, values = file_name(measurement.file), np.where(measurement.mask, measurement.counts, np.nan)
    low, high = (float(end) for end in np.nanquantile(values, (0.002, 0.998)))
    lived = quantity_of(measurement) == "mean_age"
    what, unit = ("lifetimes", "ns") if lived else ("photons", "photons")
    limit = figures.SIGMAS
    drawn = figures.encode(places_figure(measurement), "svg")
    alternative = f"How many places of {file} have which number of {what}, beside the noise of an even film."
    caption = "<figcaption><b>distribution</b> over the places</figcaption>"
    return "".join(
        (
            _map(measurement, values, "scan", f"measured {what} of {file}", (max(low, 0.0), high), unit),
            _map(measurement, measurement.residual, "off the model's mean", f"of {file}", (-limit, limit),
                 "standard deviations"),
            f'<figure class="profile">{page.picture(drawn, "svg+xml", alternative)}{caption}</figure>',
        )
    )  # fmt: skip


def _map(measurement: Any, values: Any, title: str, alternative: str, scale: tuple[float, float], unit: str) -> str:
    low, high = scale
    diverging = low < 0
    drawn = figures.map_png(values, low, high)
    dy, dx = measurement.pixel_size or (1.0, 1.0)
    rows, columns = measurement.counts.shape
    # Pixels that are not square keep their true proportions.
    stretch = f' style="aspect-ratio: {columns * dx:.6g} / {rows * dy:.6g}"'
    picture = page.picture(drawn, "png", f"Map: {alternative}").replace("<img", f"<img{stretch}", 1)
    ticks = (f"{low:+.0f}", f"{high:+.0f}") if diverging else (f"{low:.4g}", f"{high:.4g}")
    key = (
        f'<span class="key">{ticks[0]}<i style="background: linear-gradient(90deg, {figures.gradient(low, high)})"></i>'
        f"{ticks[1]}</span>"
    )
    bar = "" if diverging else _scale_bar(columns * dx)
    return (
        f'<figure><div class="map">{picture}{bar}</div><figcaption><b>{title}</b>, {page.text(unit)}{key}</figcaption>'
        "</figure>"
    )


def _scale_bar(width: float) -> str:
    """A bar of a round length, about a quarter of the image's width in µm."""
    lengths = [step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5)]
    nice = max((length for length in lengths if length <= 0.35 * width), default=0.0)
    if nice == 0.0:
        return ""
    words = f"{nice:g} µm" if nice >= 0.5 else f"{1000 * nice:g} nm"
    return f'<span class="bar" style="width: {100 * nice / width:.3f}%">{words}</span>'
