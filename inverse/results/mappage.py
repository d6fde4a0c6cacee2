"""The page of a map: what there is, what to think of it, the picture, and how it was made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from excidiff.inverse.results import page
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.mapfigure import map_figure
from excidiff.inverse.results.mapped import BAD_FIT, LIT, RateMap
from excidiff.inverse.results.sentences import file_name
from excidiff.inverse.results.wording import (
    counted,
    estimate_in_words,
    p_in_words,
    unit_for_people,
    value_with_error,
    with_unit,
)

LEGEND = (
    "Above: the map, one standard deviation of it, and the width over which each cell averages. Grey cells are not "
    "determined; outside the dashed line fewer excitons come by than a tenth of the most. Below: all images together "
    "as measured, as the map explains them, and the difference in standard deviations of the counts."
)
METHODS = (
    "The film was imaged with the laser at {spots}. The steady diffusion-recombination equation, with diffusivity "
    "{diffusivity} and lifetime {lifetime} of the film where nothing traps and a loss that varies from cell to cell "
    "({cells} of {pitch}), was solved for every position of a Gaussian laser spot of {laser_fwhm} FWHM and {excitons} "
    "excitons, and the light blurred by a Gaussian point-spread function of {psf_fwhm} FWHM and summed over the "
    "pixels. The map is the one of largest posterior probability given the counts of all images, which are Poisson "
    "distributed, and a prior {prior}, of strength λ = {strength}{slope} {chosen}. Its errors are those of the "
    "Laplace approximation; it took {freedom} degrees of freedom. Beyond the map the film is taken to go on at {away}. "
    "The background is {background}; diffusivity, lifetime and optics are taken as exact. The analysis was done with "
    "{software}."
)
UNITS = {
    "diffusivity": "um^2/ns",
    "lifetime": "ns",
    "background": "photons/pixel",
    **dict.fromkeys(("laser_fwhm", "psf_fwhm", "pixel_size"), "um"),
}
PRIORS = {
    "total variation": "that prefers flat areas with edges between them (total variation of the logarithm of the loss)",
    "smooth": "that prefers small gradients (squared gradient of the logarithm of the loss)",
}


def map_page(found: RateMap, settings: Mapping[str, Any], warnings: Sequence[str] = ()) -> str:
    """The page as HTML text; `settings` as in `map_document`."""
    run = settings["run"]
    drawn = encode(map_figure(found), "svg")
    picture = f"<figure>{page.picture(drawn, 'svg+xml', _alternative(found))}<figcaption>{LEGEND}</figcaption></figure>"
    name = _name(found)
    return page.document(
        f"map of the {name} – excidiff",
        [
            _opening(found),
            page.section("What the data say", _verdicts(found, warnings)),
            page.section("The map", picture),
            page.section("Patches", *_patches(found)),
            page.section("Values", _values(found)),
            page.section("Methods, to paste into a paper", page.paragraph(methods(found, settings))),
            page.section("Where it comes from", *_origin(settings, run)),
            f"<footer>Please cite {page.text(software(run))}; CITATION.cff in its repository has the entry.</footer>",
        ],
    )


def methods(found: RateMap, settings: Mapping[str, Any]) -> str:
    """One paragraph for a paper."""
    fitted = found.background.stderr is not None
    ground = estimate_in_words(found.background)
    rows, columns = found.value.shape
    return METHODS.format(
        spots=counted(len(found.positions), "position"),
        diffusivity=with_unit(f"{settings['diffusivity']:.5g}", "um^2/ns"),
        lifetime=f"{settings['lifetime']:.5g} ns",
        cells=f"{rows} × {columns} cells",
        pitch=f"{1e3 * found.pitch:.4g} nm",
        laser_fwhm=f"{1e3 * settings['laser_fwhm']:.4g} nm",
        psf_fwhm=f"{1e3 * settings['psf_fwhm']:.4g} nm",
        excitons=f"{settings['excitons']:.6g}",
        prior=PRIORS[found.prior],
        strength=f"{found.strength:.3g}" + ("/µm" if found.slope else ""),
        slope=f" and least slope of an edge {found.slope:.3g}/µm," if found.slope else ",",
        chosen="chosen for the least predicted misfit (Akaike's criterion)",
        freedom=f"{found.freedom:.0f}",
        away=with_unit(f"{found.away:.3g}", found.unit),
        background=f"fitted, {ground}" if fitted else f"given, {ground}",
        software=software(settings["run"]),
    )


def software(run: Mapping[str, Any]) -> str:
    """The name to cite, with the version."""
    return f"excidiff {run['versions'].get('excidiff', '')}".strip()


def _name(found: RateMap) -> str:
    return found.kind.replace("_", " ")


def _known(found: RateMap) -> np.ndarray:
    return found.determined & (found.dose >= LIT)


def _range(found: RateMap) -> tuple[str, str, str] | None:
    """(low, high, in words what these are), in digits: of a film with patches its median and the highest of them."""
    known = _known(found)
    if not known.any():
        return None
    name = _name(found)
    low, middle, high = np.percentile(found.value[known], [2.5, 50.0, 97.5])
    patches = found.patches() if found.kind == "trapping_rate" else []
    if patches:
        top = middle + max(patch.extra for patch in patches)
        return f"{middle:.3g}", f"{top:.3g}", f"{name}, from the film's median to its strongest patch"
    return f"{low:.3g}", f"{high:.3g}", f"{name}, 95 % of the cells that were lit"


def _opening(found: RateMap) -> str:
    unit, ends = unit_for_people(found.unit), _range(found)
    parts = ["<header>", "<h1>excidiff: what a film does where</h1>"]
    if ends is None:
        parts.append('<p class="value">not determined</p>')
    else:
        parts.append(f'<p class="value">{ends[0]} to {ends[1]} <small>{page.text(unit)}</small></p>')
        parts.append(f'<p class="name">{page.text(ends[2])}</p>')
    patches = found.patches() if found.kind == "trapping_rate" else []
    asides = [(f"{len(patches)} patch{'es' * (len(patches) > 1)}", "of a higher rate")] if patches else []
    known = _known(found)
    if known.any():
        asides.append((f"{np.median(found.resolution[known]):.2g} µm", "averaged over, typically"))
    asides.append(
        (f"{found.goodness['photons']:,.0f}".replace(",", "\u202f"), f"photons, {len(found.positions)} images")
    )
    items = "".join(
        f"<li><strong>{page.text(value)}</strong><span>{page.text(what)}</span></li>" for value, what in asides
    )
    parts.append(f'<ul class="also">{items}</ul>')
    good = abs(found.goodness["z"]) <= BAD_FIT
    words = "The map explains the images" if good else "The map does not explain the images: see below"
    parts.append(f'<p class="status{"" if good else " failed"}">{words}: {page.text(_goodness(found))}</p></header>')
    return "\n".join(parts)


def _goodness(found: RateMap) -> str:
    return (
        f"deviance {found.goodness['deviance_ratio']:.3f} of what is expected, {p_in_words(found.goodness['p_value'])}"
    )


def _verdicts(found: RateMap, warnings: Sequence[str]) -> str:
    items = [f"<li>{page.text(sentence)}</li>" for sentence in found.verdicts]
    items += [f'<li class="warning">Warning: {page.text(sentence)}</li>' for sentence in warnings]
    return f'<ul class="verdicts">{"".join(items)}</ul>'


def _patches(found: RateMap) -> list[str]:
    if found.kind != "trapping_rate":
        return []
    rows = [
        (str(number), f"{patch.x:.2f}, {patch.y:.2f}", f"{patch.radius:.2f}", f"{patch.extra:.3g}")
        for number, patch in enumerate(found.patches(), 1)
    ]
    if not rows:
        return [page.paragraph("Nowhere is the rate surely higher than in the film around.")]
    head = ("patch", "centre x, y (µm)", "radius (µm)", f"more than around ({unit_for_people(found.unit)})")
    return [page.table("Where the rate stands out; the radius is that of the area above half.", head, rows)]


def _values(found: RateMap) -> str:
    known = _known(found)
    rows = [("background", estimate_in_words(found.background), "" if found.background.stderr else "given")]
    rows.append(
        (f"{_name(found)} beyond the map", value_with_error(found.away, None, found.unit), "mean along its edge")
    )
    rows.append(("degrees of freedom", f"{found.freedom:.0f}", f"of {found.value.size} cells"))
    rows.append(
        ("prior", found.prior, f"λ = {found.strength:.3g}" + (f", s = {found.slope:.3g}" if found.slope else ""))
    )
    if known.any():
        rows.append(
            ("typical error", with_unit(f"{np.median(found.error[known]):.2g}", found.unit), "median, lit cells")
        )
    return page.table(f"Goodness of fit: {_goodness(found)}.", ("quantity", "value", "remark"), rows)


def _origin(settings: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    rows = [(file_name(entry["path"]), entry["role"], entry["sha256"]) for entry in run["inputs"]]
    known = [(name.replace("_", " "), _shown(name, value)) for name, value in settings.items() if name != "run"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return [
        page.table("Input files.", ("file", "used as", "SHA-256"), rows, kind="hashes"),
        page.table("Settings of the map.", ("setting", "value"), known),
        page.paragraph(f"Software: {versions}."),
        "<p>This map was made by</p>",
        f"<pre><code>{page.text(run['command'])}</code></pre>",
    ]


def _shown(name: str, value: Any) -> str:
    """A setting with its unit."""
    if isinstance(value, list):
        return " × ".join(_shown(name, entry) for entry in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "fitted" if value == "fit" else str(value).replace("_", " ")
    return with_unit(f"{value:.6g}", UNITS.get(name, ""))


def _alternative(found: RateMap) -> str:
    return f"The map of the {_name(found)}, its error and resolution, and the images measured and modelled."
