"""The page to show a colleague: the value and its error first, then what it rests on.

Drawn from a result's saved values alone, so that a report made years later is the one made on the day of the fit.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from excidiff.inverse.results import figures, page
from excidiff.inverse.results.correlations import correlation_table
from excidiff.inverse.results.gates import gates_figure
from excidiff.inverse.results.panels import measurement_panels
from excidiff.inverse.results.record import origin, software
from excidiff.inverse.results.scatter import scatter_figure
from excidiff.inverse.results.screen import goodness_in_words, measurements_in_words, remark, scatter_in_words, state
from excidiff.inverse.results.sentences import file_name, reason, sentences
from excidiff.inverse.results.slit import is_slit, slit_figure
from excidiff.inverse.results.spectrum import spectral_figure
from excidiff.inverse.results.storage import inside, plain_name, write_text, write_whole
from excidiff.inverse.results.survey import places_figure, powers_figure
from excidiff.inverse.results.traces import decay_figure
from excidiff.inverse.results.wording import (
    counted,
    estimate_in_words,
    in_cm2_per_s,
    interval,
    label,
    limit,
    limit_digits,
    probability,
    spread,
    unit_for_people,
    value_with_error,
)

PICTURED = 24  # of a long series, this many good images are drawn: a page that a browser still opens
HEADLINES = ("diffusion_length", "diffusivity", "lifetime", "disorder", "relaxation")
STATUS = {
    "converged": "The fit converged",
    "partial": "Some measurements could not be used",
    "flagged": "The data were fitted, but see what is said of them below",
    "failed": "The fit failed",
}
DECONVOLVED = (
    "Many papers quote a third length, from widths alone: √(FWHM² of the luminescence − FWHM² of the laser) / 2.355. "
    "Here it is {phrase}, {share:.0f} % of the diffusion length. It would be a displacement if every exciton lived "
    "equally long. They do not: many recombine early, near the spot, and make a sharp peak; few live long and make a "
    "faint, wide tail that the width at half height does not see. Compare it only with numbers obtained likewise."
)
CITATION = "Please cite {name}; CITATION.cff in its repository has the entry."


def write_report(result: Any, path: str | Path) -> Path:
    """Write the report of `result` (a `FitResult`) as one self-contained HTML file, whole or not at all."""
    return write_text(path, report_page(result))


def write_figures(result: Any, folder: Path, progress: Callable[..., Any] | None = None) -> list[Path]:
    """PNG and SVG of each pictured image's overview, of decays and of all images' values, into `folder`, which exists.

    `progress(done, all, name)` is called after each.
    """
    numbers = {id(entry): number for number, entry in enumerate(result.images, 1)}
    shown = [(numbers[id(entry)], entry) for entry in pictured(result.images) if entry.counts is not None]
    written = []
    for done, (number, entry) in enumerate(shown, 1):
        name = f"image_{number:02d}_{plain_name(PurePath(entry.file).stem)}"
        drawn = slit_figure(entry) if is_slit(entry) else figures.overview(entry, result.laser)
        written += _write_figure(drawn, folder, name)
        if entry.gates is not None:
            written += _write_figure(gates_figure(entry), folder, f"{name}_gates")
        if progress is not None:
            progress(done, len(shown), name)
    for number, entry in enumerate(result.decays, 1):
        name = f"decay_{number:02d}_{plain_name(PurePath(entry.file).stem)}"
        written += _write_figure(decay_figure(entry), folder, name)
    for number, entry in enumerate(result.spectral_maps, 1):
        name = f"spectral_map_{number:02d}_{plain_name(PurePath(entry.file).stem)}"
        written += _write_figure(spectral_figure(entry), folder, name)
    for number, entry in enumerate(result.raster_scans, 1):
        name = f"raster_scan_{number:02d}_{plain_name(PurePath(entry.file).stem)}"
        written += _write_figure(places_figure(entry), folder, name)
    if result.raster_scans:
        written += _write_figure(powers_figure(result.raster_scans), folder, "raster_scans")
    if _apart(result):
        drawn = scatter_figure(result.images, result.parameters.get("diffusion_length"))
        written += _write_figure(drawn, folder, "images")
    return written


def _write_figure(figure: Any, folder: Path, name: str) -> list[Path]:
    encoded = {kind: figures.encode(figure, kind) for kind in ("png", "svg")}
    return [
        write_whole(inside(folder, f"{name}.{kind}"), lambda path, data=data: path.write_bytes(data))
        for kind, data in encoded.items()
    ]


def report_page(result: Any) -> str:
    """The report of `result` as HTML text."""
    return page.document(
        f"{_headline(result)[1]} – excidiff",
        [
            _opening(result),
            page.section("What the data say", _sentences(result)),
            page.section("Values", _values(result), correlation_table(result)),
            page.section("The images against each other", *_spread(result)),
            page.section("Each image", *_each_image(result)),
            page.section("Spectra against position", *map(measurement_panels, result.spectral_maps)),
            page.section("Raster scans", *_scans(result)),
            page.section("Each decay", *map(measurement_panels, result.decays)),
            page.section("The laser", measurement_panels(result.laser) if result.laser is not None else ""),
            page.section("Three lengths, never confused", *_lengths(result)),
            page.section("All images in numbers", _images_table(result)),
            page.section("Methods, to paste into a paper", page.paragraph(_methods(result))),
            page.section("Where it comes from", *origin(result)),
            f"<footer>{page.text(CITATION.format(name=software(result)))}</footer>",
        ],
    )


def pictured(images: Sequence[Any]) -> list[Any]:
    """The images that are drawn, in order: all that were flagged or failed, and of the others the first `PICTURED`."""
    good = [id(entry) for entry in images if entry.status == "fitted"][:PICTURED]
    return [entry for entry in images if entry.status != "fitted" or id(entry) in good]


def _each_image(result: Any) -> list[str]:
    shown = pictured(result.images)
    if not shown:
        return []
    rest = len(result.images) - len(shown)
    words = f"{counted(rest, 'more image')} fitted without remark: see the table below and result.nc." if rest else ""
    numbers = _numbers(result)
    return [
        *(measurement_panels(entry, result.laser, numbers.get(id(entry))) for entry in shown),
        page.paragraph(words),
    ]


def _scans(result: Any) -> list[str]:
    """All scans against the density of their pulses, then each."""
    if not result.raster_scans:
        return []
    drawn = figures.encode(powers_figure(result.raster_scans), "svg")
    alternative = "Means of all raster scans against the peak density of the pulse, measured and modelled."
    words = "Means over all places against the density that a pulse makes at its centre; photons over that density."
    return [
        f'<figure class="wide">{page.picture(drawn, "svg+xml", alternative)}</figure>',
        page.paragraph(words),
        *map(measurement_panels, result.raster_scans),
    ]


def _numbers(result: Any) -> dict[int, int]:
    """By identity, the number of each of several images: the same in the figure of all, the headings and the table."""
    return {id(entry): number for number, entry in enumerate(result.images, 1)} if len(result.images) > 1 else {}


def _headlines(result: Any) -> tuple[str, ...]:
    """The values worth large letters, in order: of a mixture each lifetime."""
    return (*HEADLINES, *(name for name in result.parameters if name.startswith("lifetime_")))


def _headline(result: Any) -> tuple[str, str]:
    """(name, phrase) of the main value: the first of the headlines that the data determine."""
    for name in _headlines(result):
        entry = result.parameters.get(name)
        if entry is not None and entry.value is not None and entry.origin != "given":
            return name, f"{label(name)} {estimate_in_words(entry)}"
    return "", STATUS[result.status]


def _opening(result: Any) -> str:
    name, phrase = _headline(result)
    far = result.images or result.spectral_maps or name in HEADLINES[:2]
    question = "how far excitons travel" if far else "how long excitons live"
    parts = ["<header>", f"<h1>excidiff: {question}</h1>"]
    if name:
        entry = result.parameters[name]
        parts.append(f'<p class="value">{_large(entry)} <small>{page.text(unit_for_people(entry.unit))}</small></p>')
        parts.append(f'<p class="name">{page.text(label(name) + _certainty(entry))}</p>')
    else:
        parts.append(f'<p class="value">{page.text(phrase)}</p>')
    others = [other for other in _headlines(result) if other != name and other in result.parameters]
    items = "".join(_aside(other, result.parameters[other]) for other in others)
    parts.append(f'<ul class="also">{items}</ul>' if items else "")
    words = f"{STATUS[state(result)]}: {measurements_in_words(result)}"
    parts.append(f'<p class="status {page.text(result.status)}">{page.text(words)}</p>')
    parts += [page.paragraph(f"Model: {result.model}."), "</header>"]
    return "\n".join(part for part in parts if part)


def _large(entry: Any) -> str:
    """The headline's number, its error in grey."""
    bound = limit(entry)
    if bound is not None:
        return page.text(limit_digits(*bound))
    number, error, power = spread(entry.value, entry.stderr)
    text = f'{number}<span class="error"> ± {error}</span>' if error else number
    if not power:
        return text
    return f"({text}) × {power}" if error else f"{text} × {power}"


def _certainty(entry: Any) -> str:
    """What stands behind the headline's name: which limit it is, or the 95 % interval."""
    bound = limit(entry)
    if bound is not None:
        return f", {'upper' if bound[0] == '<' else 'lower'} limit (95 %)"
    bounds = interval(entry.interval95, entry.stderr)
    return f", 95 % interval {bounds} {unit_for_people(entry.unit)}" if bounds else ""


def _aside(name: str, entry: Any) -> str:
    """A smaller headline: value, name, and the unit people quote."""
    value = estimate_in_words(entry) if entry.identifiable else "not determined"
    note = label(name)
    if name == "diffusivity" and entry.identifiable and entry.value is not None:
        note += f", {in_cm2_per_s(entry)}"
    if entry.origin == "given":
        note += ", given"
    return f"<li><strong>{page.text(value)}</strong><span>{page.text(note)}</span></li>"


def _sentences(result: Any) -> str:
    verdicts, warnings = sentences(result)
    items = [f"<li>{page.text(sentence)}</li>" for sentence in verdicts]
    items += [f'<li class="warning">Warning: {page.text(sentence)}</li>' for sentence in warnings]
    return f'<ul class="verdicts">{"".join(items)}</ul>' if items else ""


def _values(result: Any) -> str:
    own = {} if len(result.images) != 1 else result.images[0].parameters
    entries = {**result.parameters, **{name: entry for name, entry in own.items() if name not in result.parameters}}
    rows = [(label(name), estimate_in_words(entry), remark(name, entry)) for name, entry in entries.items()]
    fitness = goodness_in_words(result.goodness)
    caption = (
        f"Errors are one standard error. Goodness of fit: {fitness}." if fitness else "Errors are one standard error."
    )
    return page.table(caption, ("quantity", "value", "remark"), rows)


def _apart(result: Any) -> bool:
    """Whether there are several images, each with a length of its own."""
    return len(result.images) > 1 and any("diffusion_length" in entry.parameters for entry in result.images)


def _spread(result: Any) -> list[str]:
    if not _apart(result):
        return []
    mean = result.parameters.get("diffusion_length")
    drawn = figures.encode(scatter_figure(result.images, mean), "svg")
    alternative, words = (
        "Diffusion length of each image with its standard error, and the weighted mean as a line with its own.",
        "The line is the weighted mean; its band counts what all images share, such as the laser's width, once.",
    )
    if mean is not None and limit(mean) is not None:
        alternative, words = "The limit of the diffusion length for each image.", "No image gives more than a limit."
    return [
        f'<figure class="wide">{page.picture(drawn, "svg+xml", alternative)}</figure>',
        page.paragraph(words),
        *(page.paragraph(f"Scatter between images, {line}.") for line in scatter_in_words(result)),
    ]


def _lengths(result: Any) -> list[str]:
    full, gaussian = (result.parameters.get(name) for name in ("diffusion_length", "deconvolved_length"))
    if full is None or full.value is None or limit(full) is not None:
        return []
    root = 2.0**0.5
    length = value_with_error(full.value, full.stderr, full.unit)
    wide = value_with_error(root * full.value, None if full.stderr is None else root * full.stderr, full.unit)
    parts = [
        f"The diffusion length √(Dτ) is {length}. The root-mean-square displacement along one axis, √(2Dτ), is {wide}."
    ]
    if gaussian is not None and gaussian.value is not None:
        phrase = value_with_error(gaussian.value, gaussian.stderr, gaussian.unit)
        share = 100.0 * gaussian.value / full.value
        parts.append(DECONVOLVED.format(phrase=phrase, share=share))
    return [page.paragraph(part) for part in parts]


def _images_table(result: Any) -> str:
    if not result.images:
        return ""
    names = [name for name in ("diffusion_length", "deconvolved_length", "amplitude", "background")
             if any(name in entry.parameters for entry in result.images)]  # fmt: skip
    rows, classes, units, numbers = [], [], dict.fromkeys(names, ""), _numbers(result)
    for entry in result.images:
        shown = []
        for name in names:
            cell = entry.parameters.get(name)
            shown.append("–" if cell is None else estimate_in_words(cell, unit=""))
            units[name] = units[name] or ("" if cell is None else unit_for_people(cell.unit))
        fit = [_ratio(entry.goodness), probability(entry.goodness.get("p_value"))]
        title = file_name(entry.file)
        titled = f"{numbers[id(entry)]} · {title}" if numbers else title
        rows.append([titled, entry.status, *shown, *fit, reason(entry)])
        classes.append("" if entry.status == "fitted" else entry.status)
    titles = [f"{label(name)} ({unit})" if unit else label(name) for name, unit in units.items()]
    head = ("file", "status", *titles, "deviance / expected", "p", "why")
    if not any(entry.reason for entry in result.images):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return page.table("Values per image with one standard error.", head, rows, classes, kind="all")


def _ratio(goodness: Mapping[str, Any]) -> str:
    value = goodness.get("deviance_ratio")
    return "–" if value is None else f"{value:.3f}"


def _methods(result: Any) -> str:
    return f"{result.methods} The analysis was done with {software(result)}." if result.methods else ""
