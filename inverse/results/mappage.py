"""The page of a map: what there is, what to think of it, the picture, and how it was made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from excidiff.inverse.results import page
from excidiff.inverse.results.figures import encode
from excidiff.inverse.results.mapfigure import map_figure
from excidiff.inverse.results.mapped import BAD_FIT, LIT, FilmMap
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
    "determined{dark}. Below: {seen} as measured, as the map explains {it}, and the difference in standard deviations "
    "of the noise{masked}."
)
DARK = "; outside the dashed line fewer excitons come by than a tenth of the most"
SEEN = {
    "images": ("all images together", "them"),
    "intensity scan": ("the photons of every position", "them"),
    "lifetime scan": ("the lifetime at every position", "it"),
    "energy scan": ("the energy of the light of every position", "it"),
}
TAKEN = {
    "images": "The film was imaged with the laser at {spots}.",
    "intensity scan": "The laser was scanned over the film, at {spots}, and each one's photons measured.",
    "lifetime scan": "The laser was scanned over the film, at {spots}, and the lifetime of each one's light measured.",
    "energy scan": "The laser was scanned over the film, at {spots}, and the mean energy of each one's light measured.",
}
FILM = {
    "trapping_rate": "diffusivity {diffusivity} and lifetime {lifetime} of the film where nothing traps and a loss "
    "that varies from cell to cell",
    "lifetime": "diffusivity {diffusivity} and a lifetime of at most {lifetime} that varies from cell to cell",
    "trap_density": "diffusivity {diffusivity} and lifetime {lifetime} of the film where nothing traps and traps that "
    "do not fill, of capture {capture} and a density that varies from cell to cell",
    "diffusivity": "lifetime {lifetime} and a diffusivity that varies from cell to cell",
    "landscape": "diffusivity {diffusivity}, lifetime {lifetime} and, at {temperature}, an energy landscape that "
    "varies from cell to cell",
}
LIGHT = {
    "images": "and the light blurred by a Gaussian point-spread function of {psf_fwhm} FWHM and summed over the pixels",
    "intensity scan": "and {collected} summed",
    "lifetime scan": "and the mean age of {collected} taken for the lifetime",
    "energy scan": "and the landscape's mean over {collected} added to the energy of a flat film",
}
DATA = {
    "images": "the counts of all images, which are Poisson distributed,",
    "intensity scan": "the photons of all positions, whose noise is {noise},",
    "lifetime scan": "the lifetimes of all positions, whose noise is Gaussian,",
    "energy scan": "the energies of all positions, whose noise is Gaussian,",
}
METHODS = (
    "{taken} The steady diffusion-recombination equation, with {film} ({cells} of {pitch}), was solved for every "
    "position of a Gaussian laser spot of {laser_fwhm} FWHM{excitons}, {light}. The map is the one of largest "
    "posterior probability given {data} and a prior {prior}, of strength λ = {strength}{slope} {chosen}. Its errors "
    "are those of the Laplace approximation; it took {freedom} degrees of freedom. Beyond the map the film is taken to "
    "go on {away}. {ground}{exact} are taken as exact. The analysis was done with {software}."
)
UNITS = {
    "diffusivity": "um^2/ns",
    "lifetime": "ns",
    "capture": "um^2/ns",
    "temperature": "K",
    **dict.fromkeys(("laser_fwhm", "psf_fwhm", "collection_fwhm", "pixel_size", "step"), "um"),
}
PRIORS = {
    "total variation": "that prefers flat areas with edges between them (total variation of {what})",
    "smooth": "that prefers small gradients (squared gradient of {what})",
}
VARIED = {"diffusivity": "the logarithm of the diffusivity", "landscape": "the energy over k_BT"}
GROUNDS = {"energy scan": "energy of the light of a flat film"}
"""What is the same at all positions, where it is no background."""
STANDS_OUT = {"trapping_rate": ("of a higher rate", "rate"), "trap_density": ("of more traps", "density of traps")}
"""What patches are, and what is higher in them."""


def map_page(found: FilmMap, settings: Mapping[str, Any], warnings: Sequence[str] = ()) -> str:
    """The page as HTML text; `settings` as in `map_document`."""
    run = settings["run"]
    drawn = page.picture(encode(map_figure(found), "svg"), "svg+xml", _alternative(found))
    return page.document(
        f"map of the {_name(found)} – excidiff",
        [
            _opening(found),
            page.section("What the data say", _verdicts(found, warnings)),
            page.section("The map", f"<figure>{drawn}<figcaption>{page.text(_legend(found))}</figcaption></figure>"),
            page.section("Patches", *_patches(found)),
            page.section("Values", _values(found)),
            page.section("Methods, to paste into a paper", page.paragraph(methods(found, settings))),
            page.section("Where it comes from", *_origin(found, settings, run)),
            f"<footer>Please cite {page.text(software(run))}; CITATION.cff in its repository has the entry.</footer>",
        ],
    )


def methods(found: FilmMap, settings: Mapping[str, Any]) -> str:
    """One paragraph for a paper."""
    rows, columns = found.value.shape
    known = {name: with_unit(f"{settings[name]:.5g}", unit) for name, unit in UNITS.items()
             if name in settings and not isinstance(settings[name], list)}  # fmt: skip
    known |= {name: _in_nm(settings[name]) for name in ("laser_fwhm", "psf_fwhm") if name in settings}
    near = settings.get("collection_fwhm")
    around = "all its light" if near is None else f"its light in a Gaussian of {_in_nm(near)} FWHM around the laser"
    exact = [name for name in ("diffusivity", "lifetime", "capture", "temperature") if name in settings]
    return METHODS.format(
        taken=TAKEN[found.source].format(spots=_spots(found)),
        film=FILM[found.kind].format(**known),
        cells=f"{rows} × {columns} cells",
        pitch=_in_nm(found.pitch),
        laser_fwhm=known["laser_fwhm"],
        excitons=f" and {settings['excitons']:.6g} excitons" if "excitons" in settings else "",
        light=LIGHT[found.source].format(**known, collected=around),
        data=DATA[found.source].format(noise=settings.get("noise", "Poisson")),
        prior=PRIORS[found.prior].format(what=VARIED.get(found.kind, "the logarithm of the loss")),
        strength=f"{found.strength:.3g}" + ("/µm" if found.slope else ""),
        slope=f" and least slope of an edge {found.slope:.3g}/µm," if found.slope else ",",
        chosen="chosen for the least predicted misfit (Akaike's criterion)",
        freedom=f"{found.freedom:.0f}",
        away=_beyond(found),
        ground=_ground(found),
        exact=f"{', '.join(exact)} and optics",
        software=software(settings["run"]),
    )


def _in_nm(length: float) -> str:
    return f"{1e3 * length:.4g} nm"


def _spots(found: FilmMap) -> str:
    """ "25 positions", or "12 × 12 positions 250 nm apart, 140 of which are used"."""
    if found.source == "images":
        return counted(len(found.positions), "position")
    rows, columns = found.measured.shape
    y, x = (_in_nm(size) for size in found.pixel_size)
    apart = f"{x} apart" if x == y else f"{y} apart along y and {x} along x"
    some = f", {_used(found)} of which are used" if _used(found) < rows * columns else ""
    return f"{rows} × {columns} positions {apart}{some}"


def _used(found: FilmMap) -> int:
    """How many positions of a scan are not masked."""
    return int(np.count_nonzero(np.isfinite(found.measured)))


def _beyond(found: FilmMap) -> str:
    return "flat" if found.kind == "landscape" else f"at {with_unit(f'{found.away:.3g}', found.unit)}"


def _ground(found: FilmMap) -> str:
    """Half a sentence on the background, which lifetimes have none of."""
    if found.source == "lifetime scan":
        return "In all this "
    how = "given" if found.background.stderr is None else "fitted"
    return f"The {GROUNDS.get(found.source, 'background')} is {how}, {estimate_in_words(found.background)}; "


def software(run: Mapping[str, Any]) -> str:
    """The name to cite, with the version."""
    return f"excidiff {run['versions'].get('excidiff', '')}".strip()


def _name(found: FilmMap) -> str:
    return found.kind.replace("_", " ")


def _known(found: FilmMap) -> np.ndarray:
    return found.determined & (found.dose >= LIT)


def _range(found: FilmMap) -> tuple[str, str, str] | None:
    """(low, high, in words what these are), in digits: of a film with patches its median and the highest of them."""
    known = _known(found)
    if not known.any():
        return None
    name = _name(found)
    low, middle, high = np.percentile(found.value[known], [2.5, 50.0, 97.5])
    patches = found.patches()
    if patches:
        top = middle + max(patch.extra for patch in patches)
        return f"{middle:.3g}", f"{top:.3g}", f"{name}, from the film's median to its strongest patch"
    return f"{low:.3g}", f"{high:.3g}", f"{name}, 95 % of the cells that were lit"


def _opening(found: FilmMap) -> str:
    unit, ends = unit_for_people(found.unit), _range(found)
    parts = ["<header>", "<h1>excidiff: what a film does where</h1>"]
    if ends is None:
        parts.append('<p class="value">not determined</p>')
    else:
        parts.append(f'<p class="value">{ends[0]} to {ends[1]} <small>{page.text(unit)}</small></p>')
        parts.append(f'<p class="name">{page.text(ends[2])}</p>')
    patches = found.patches()
    asides = []
    if patches:
        asides.append((f"{len(patches)} patch{'es' * (len(patches) > 1)}", STANDS_OUT[found.kind][0]))
    known = _known(found)
    if known.any():
        asides.append((f"{np.median(found.resolution[known]):.2g} µm", "averaged over, typically"))
    asides.append(_seen(found))
    items = "".join(
        f"<li><strong>{page.text(value)}</strong><span>{page.text(what)}</span></li>" for value, what in asides
    )
    parts.append(f'<ul class="also">{items}</ul>')
    good = abs(found.goodness["z"]) <= BAD_FIT
    words = (
        f"The map explains the {found.source}" if good else f"The map does not explain the {found.source}: see below"
    )
    parts.append(f'<p class="status{"" if good else " failed"}">{words}: {page.text(_goodness(found))}</p></header>')
    return "\n".join(parts)


def _seen(found: FilmMap) -> tuple[str, str]:
    """How much was measured: the photons, where they are known."""
    images = found.source == "images"
    whole = counted(len(found.positions), "image") if images else counted(_used(found), "position")
    photons: Any = found.goodness["photons"]
    if photons is None:
        return whole, "of the laser"
    return f"{photons:,.0f}".replace(",", "\u202f"), f"photons, {whole}"


def _goodness(found: FilmMap) -> str:
    return (
        f"deviance {found.goodness['deviance_ratio']:.3f} of what is expected, {p_in_words(found.goodness['p_value'])}"
    )


def _verdicts(found: FilmMap, warnings: Sequence[str]) -> str:
    items = [f"<li>{page.text(sentence)}</li>" for sentence in found.verdicts]
    items += [f'<li class="warning">Warning: {page.text(sentence)}</li>' for sentence in warnings]
    return f'<ul class="verdicts">{"".join(items)}</ul>'


def _patches(found: FilmMap) -> list[str]:
    if not found.patchy or not _known(found).any():
        return []
    rows = [
        (str(number), f"{patch.x:.2f}, {patch.y:.2f}", f"{patch.radius:.2f}", f"{patch.extra:.3g}")
        for number, patch in enumerate(found.patches(), 1)
    ]
    what = STANDS_OUT[found.kind][1]
    if not rows:
        return [page.paragraph(f"Nowhere is the {what} surely higher than in the film around.")]
    head = ("patch", "centre x, y (µm)", "radius (µm)", f"more than around ({unit_for_people(found.unit)})")
    return [page.table(f"Where the {what} stands out; the radius is that of the area above half.", head, rows)]


def _values(found: FilmMap) -> str:
    known = _known(found)
    rows = []
    if found.source != "lifetime scan":
        remark = "" if found.background.stderr is not None else "given"
        rows.append((GROUNDS.get(found.source, "background"), estimate_in_words(found.background), remark))
    if found.kind == "landscape":
        rows.append(("landscape beyond the map", "flat", "energies count from their mean where excitons were"))
    else:
        away = value_with_error(found.away, None, found.unit)
        rows.append((f"{_name(found)} beyond the map", away, "mean along its edge"))
    rows.append(("degrees of freedom", f"{found.freedom:.0f}", f"of {found.value.size} cells"))
    rows.append(
        ("prior", found.prior, f"λ = {found.strength:.3g}" + (f", s = {found.slope:.3g}" if found.slope else ""))
    )
    if known.any():
        rows.append(
            ("typical error", with_unit(f"{np.median(found.error[known]):.2g}", found.unit), "median, lit cells")
        )
    return page.table(f"Goodness of fit: {_goodness(found)}.", ("quantity", "value", "remark"), rows)


def _origin(found: FilmMap, settings: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    rows = [(file_name(entry["path"]), entry["role"], entry["sha256"]) for entry in run["inputs"]]
    units = {**UNITS, "background": found.background.unit}
    known = [(name.replace("_", " "), _shown(value, units.get(name, ""))) for name, value in settings.items()
             if name not in ("run", "notes")]  # fmt: skip
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    notes = "; ".join(settings.get("notes", ()))
    return [
        page.table("Input files.", ("file", "used as", "SHA-256"), rows, kind="hashes"),
        page.table("Settings of the map.", ("setting", "value"), known),
        page.paragraph(f"How the scan was read: {notes}." if notes else ""),
        page.paragraph(f"Software: {versions}."),
        "<p>This map was made by</p>",
        f"<pre><code>{page.text(run['command'])}</code></pre>",
    ]


def _shown(value: Any, unit: str) -> str:
    """A setting with its unit."""
    if isinstance(value, list):
        return " × ".join(_shown(entry, unit) for entry in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "fitted" if value == "fit" else str(value).replace("_", " ")
    return with_unit(f"{value:.6g}", unit)


def _legend(found: FilmMap) -> str:
    seen, it = SEEN[found.source]
    masked = "; masked positions are grey" if np.isnan(found.measured).any() else ""
    return LEGEND.format(dark=DARK if found.dose.min() < LIT else "", seen=seen, it=it, masked=masked)


def _alternative(found: FilmMap) -> str:
    seen = "the images" if found.source == "images" else f"the {found.source}"
    return f"The map of the {_name(found)}, its error and resolution, and {seen} measured and modelled."
