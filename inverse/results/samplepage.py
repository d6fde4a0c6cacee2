"""The page of several samples: which differ, the picture of all images, the numbers, and where they come from."""

from collections.abc import Mapping
from typing import Any

from excidiff.inverse.results import page
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.sampled import HEAD_PAIRS, HEAD_SAMPLES, SURE, Sample, Samples, number
from excidiff.inverse.results.samplefigure import samples_figure
from excidiff.inverse.results.sentences import file_name, reason
from excidiff.inverse.results.wording import counted, label, p_in_words, unit_for_people, value_with_error

LEGEND = (
    "A histogram of each sample; above it its images, each with the error of its own fit, hollow where it was left "
    "out. Line and band: the mean of the sample and its standard error, the spread between images included."
)
OF_SAMPLES = (
    "Mean: images weighted by their own error and the spread between them, ± one standard error. Spread between: the "
    "standard deviation between images beyond their own errors, with its 95 % interval. p (alike): the probability "
    "that images of one value differ as much. Median and range are of the images that count."
)
OF_MEANS = (
    "Weighted mean: as if all images of a sample had one value. The common error is what all images of a sample share, "
    "such as that of the laser's width; it is in the errors of both means. Plain mean and s.d.: without any weights."
)
OF_PAIRS = (
    "Differences ± one standard error, the spread between images included. p, corrected: after Holm for all pairs; "
    f"below {SURE:g} two samples are told apart. Seen from: a smaller difference would be missed more often than once "
    "in five."
)
CITATION = "Please cite {name}; CITATION.cff in its repository has the entry."


def samples_page(found: Samples, methods: str) -> str:
    """The page as HTML text; `methods` is a paragraph for a paper."""
    drawn = encode(samples_figure(found), "svg")
    alternative = f"Histograms of the {label(found.quantity)} of {len(found.samples)} samples with their means."
    picture = page.picture(drawn, "svg+xml", alternative)
    figure = f'<figure class="wide">{picture}<figcaption>{page.text(LEGEND)}</figcaption></figure>'
    unit = unit_for_people(found.unit)
    return page.document(
        f"{label(found.quantity)} of {', '.join(sample.name for sample in found.samples)} – excidiff",
        [
            _opening(found),
            page.section("What the images say", _verdicts(found)),
            page.section("The images", figure),
            page.section("The samples", page.table(_with(OF_SAMPLES, unit), HEAD_SAMPLES, found.sample_cells()),
                         page.table(_with(OF_MEANS, unit), HEAD_MEANS, [_means(one) for one in found.samples])),
            page.section("Every two of them", page.table(_with(OF_PAIRS, unit), HEAD_PAIRS, found.pair_cells())),
            page.section("All images", _all_images(found)),
            page.section("Methods, to paste into a paper", page.paragraph(methods)),
            page.section("Where it comes from", *_origin(found.record)),
            f"<footer>{page.text(CITATION.format(name=software(found.record)))}</footer>",
        ],
    )  # fmt: skip


def software(record: Mapping[str, Any]) -> str:
    """The name to cite, with the version."""
    return f"excidiff {(record.get('versions') or {}).get('excidiff', '')}".strip()


HEAD_MEANS = ("sample", "weighted mean", "common error", "plain mean", "s.d.", "model")


def _means(sample: Sample) -> tuple[str, ...]:
    weighted = "–" if sample.weighted is None else value_with_error(*sample.weighted)
    plain = number(sample.plain, sample.deviation) or "–"
    pair = (sample.common, sample.deviation)
    common, deviation = ("–" if value is None else f"{value:.2g}" for value in pair)
    return sample.name, weighted, common, plain, deviation, sample.model


def _with(caption: str, unit: str) -> str:
    return f"{caption} All in {unit}." if unit else caption


def _opening(found: Samples) -> str:
    """The difference of two samples, or how many pairs differ, in large letters; every sample's mean below."""
    told = [pair for pair in found.pairs if pair.corrected is not None]
    question = f"excidiff: do samples differ in their {found.quantity.replace('_', ' ')}?"
    parts = ["<header>", f"<h1>{page.text(question)}</h1>"]
    if not told:
        parts.append('<p class="value">too few images to tell</p>')
    elif len(told) == 1:
        pair = told[0]
        assert pair.value is not None
        size = value_with_error(abs(pair.value), pair.stderr, found.unit)
        names = f"between {pair.first} and {pair.second}, {p_in_words(pair.corrected or 0.0)}"
        parts.append(f'<p class="value">{page.text(size)}</p><p class="name">{page.text(names)}</p>')
    else:
        sure = sum(pair.sure for pair in told)
        words = "no two differ" if not sure else f"{sure} of {len(told)} pairs differ"
        parts.append(f'<p class="value">{words}</p>')
        parts.append(f'<p class="name">p &lt; {SURE:g}, corrected for {len(told)} pairs</p>')
    items = "".join(_aside(sample, found.unit) for sample in found.samples)
    return "\n".join([*parts, f'<ul class="also">{items}</ul></header>'])


def _aside(sample: Sample, unit: str) -> str:
    mean = "no value" if sample.mean is None else value_with_error(*sample.mean, unit)
    note = f"{sample.name}, {counted(len(sample.used), sample.noun)}"
    return f"<li><strong>{page.text(mean)}</strong><span>{page.text(note)}</span></li>"


def _verdicts(found: Samples) -> str:
    items = [f"<li>{page.text(sentence)}</li>" for sentence in found.verdicts]
    items += [f'<li class="warning">Warning: {page.text(sentence)}</li>' for sentence in found.warnings]
    return f'<ul class="verdicts">{"".join(items)}</ul>'


def _all_images(found: Samples) -> str:
    rows, classes = [], []
    for sample in found.samples:
        for one in sample.singles:
            value = value_with_error(one.value, one.stderr)
            rows.append((sample.name, file_name(one.file), value, one.state, reason(one)))
            classes.append("" if one.used else "flagged")
    caption = _with("Every image with the error of its own fit.", unit_for_people(found.unit))
    head = ("sample", "file", label(found.quantity), "state", "why")
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return page.table(caption, head, rows, classes, kind="all")


def _origin(record: Mapping[str, Any]) -> list[str]:
    rows = [(entry["path"], entry["role"], entry["sha256"]) for entry in record.get("inputs", ())]
    versions = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    parts = [
        page.table("Results that were read.", ("file", "sample", "SHA-256"), rows, kind="hashes"),
        page.paragraph(f"Software: {versions}." if versions else ""),
    ]
    if record.get("command"):
        parts += ["<p>This comparison was made by</p>", f"<pre><code>{page.text(record['command'])}</code></pre>"]
    return parts
