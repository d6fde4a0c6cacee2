"""Folders of results in, one with their comparison out. `excidiff samples` is this; nothing is fitted again."""

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from excidiff.inverse.machine import versions
from excidiff.inverse.measure import WITHOUT, without_magnification
from excidiff.inverse.results.result import Estimate, Measurement, plain
from excidiff.inverse.results.sampled import Sample, Samples, Single
from excidiff.inverse.results.samplefigure import KINDS, encode_figure, samples_figure
from excidiff.inverse.results.samplepage import samples_page, software
from excidiff.inverse.results.sentences import file_name
from excidiff.inverse.results.storage import inside, write_text, write_whole
from excidiff.inverse.results.wording import estimate_in_words, limit
from excidiff.inverse.samples import pairs_of, summarise
from excidiff.inverse.sampleverdicts import methods, verdicts
from excidiff.inverse.settings import file_hash
from excidiff.solver.solution import InputError

SAMPLE_FILES = {
    "samples.html": "the page to look at and to show",
    "samples.json": "every number with errors and verdicts, for programs",
    "samples.csv": "a row for every image, also those that were left out",
    "samples.png": "the histograms, also as SVG and PDF",
    "samples.svg": "",
    "samples.pdf": "",
}
OF_IMAGES = ("laser_fwhm", "psf_fwhm", "laser_wavelength", "emission_wavelength", "pixel_size",
             "magnification_error")  # fmt: skip
OF_DECAYS = ("irf_fwhm", "period")
LISTED = 4


@dataclass(frozen=True, eq=False)
class Read:
    """The result of one sample as it lies in its folder; `units` of every parameter that its measurements have."""

    name: str
    folder: str
    document: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    units: Mapping[str, tuple[str, ...]]
    sha256: str


def samples_of(folders: Sequence[str], names: Sequence[str] | None, quantity: str, folder: Path) -> Samples:
    """Compare results, fill `folder` with what came of it, and return it."""
    found = compare_folders(folders, names, quantity)
    write_samples(found, folder)
    return found


def compare_folders(folders: Sequence[str], names: Sequence[str] | None, quantity: str) -> Samples:
    """The comparison of the results in `folders`. Raises InputError for what is no result or cannot be compared."""
    read = read_samples(folders, names)
    unit = _unit(read, quantity)
    kinds = {m.kind for one in read for m in one.measurements if quantity in m.parameters}
    samples = tuple(_sample(one, quantity, kinds) for one in read)
    pairs = pairs_of(samples)
    return Samples(
        quantity=quantity,
        unit=unit,
        samples=samples,
        pairs=pairs,
        verdicts=tuple(verdicts(samples, pairs, quantity, unit)),
        warnings=tuple(_warnings(read)),
        record=_record(read, folders, names, quantity),
    )


def write_samples(found: Samples, folder: Path) -> None:
    """Write the page, the numbers, the table and the figure."""
    text = json.dumps(plain(found.to_dict()), indent=1, allow_nan=False, ensure_ascii=False)
    write_text(inside(folder, "samples.json"), text + "\n")
    write_text(inside(folder, "samples.csv"), table(found))
    told = methods(found.quantity, software(found.record))
    write_text(inside(folder, "samples.html"), samples_page(found, told))
    figure = samples_figure(found)
    for kind in KINDS:
        data = encode_figure(figure, kind)
        write_whole(inside(folder, f"samples.{kind}"), lambda place, data=data: place.write_bytes(data))


def table(found: Samples) -> str:
    """Every image as a row of CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("sample", "file", "value", "stderr", "unit", "used", "reason"))
    for sample in found.samples:
        for one in sample.singles:
            numbers = ["" if number is None else repr(number) for number in (one.value, one.stderr)]
            writer.writerow((sample.name, one.file, *numbers, found.unit, "yes" if one.used else "no", one.why))
    return stream.getvalue()


def read_samples(folders: Sequence[str], names: Sequence[str] | None) -> list[Read]:
    """The results in `folders`, called `names`, else by their folders. Raises InputError for what is no result."""
    if len(folders) < 2:
        raise InputError("there is one sample only; give the folders of at least two that excidiff fit wrote")
    places = [Path(folder).resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice; every sample needs a result of its own")
    if names is not None and len(names) != len(folders):
        raise InputError(f"--names has {len(names)} names for {len(folders)} folders; give one for each")
    called = list(names) if names is not None else [place.name for place in places]
    if names is None and len(set(called)) < len(called):
        called = list(folders)
    if len(set(called)) < len(called) or not all(name.strip() for name in called):
        raise InputError(f"--names {' '.join(called)}: every sample needs a name of its own")
    return [_read(folder, name) for folder, name in zip(folders, called, strict=True)]


def _read(folder: str, name: str) -> Read:
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the one that excidiff fit wrote")
    file = place / "result.json"
    if not file.is_file():
        raise InputError(f"{folder} holds no result.json; give a folder that excidiff fit wrote")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        measurements = tuple(Measurement.from_dict(entry) for entry in document["measurements"])
        errors = {name: entry["stderr"] for name, entry in document["parameters"].items()}
        document = {**document, "parameters": errors, "own": errors | document["goodness"].get(WITHOUT, {}),
                    "settings": dict(document["settings"])}  # fmt: skip
    except (OSError, RecursionError) as error:
        raise InputError(f"{file}: cannot be read ({error}); run the fit again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not the result of excidiff fit, or torn ({error}); run the fit again") from error
    units: dict[str, tuple[str, ...]] = {}
    for measurement in measurements:
        for key, entry in measurement.parameters.items():
            units[key] = tuple(dict.fromkeys((*units.get(key, ()), entry.unit)))
    return Read(name, folder, document, measurements, units, file_hash(file))


def _unit(read: Sequence[Read], quantity: str) -> str:
    """The unit of the quantity, which all measurements of all results have in common."""
    common = [name for name in read[0].units if all(name in one.units for one in read)]
    for one in read:
        if quantity not in one.units:
            whole = quantity in one.document["parameters"]
            raise InputError(
                f"{one.folder}: no measurement has a {quantity} of its own"
                + (", it is one number of the whole film there" if whole else "")
                + f"; --quantity may be {', '.join(common) or 'nothing: these results have nothing in common'}"
            )
    units = {unit: one.folder for one in reversed(read) for unit in one.units[quantity]}
    if len(units) > 1:
        told = ", ".join(f"{unit or 'no unit'} in {folder}" for unit, folder in units.items())
        raise InputError(f"--quantity {quantity}: its units differ, {told}; samples are compared in one unit")
    return next(iter(units))


def _sample(read: Read, quantity: str, kinds: set[str]) -> Sample:
    own = [m for m in read.measurements if m.kind in kinds]
    nouns = dict.fromkeys(m.kind.replace("_", " ") for m in own)
    sample = Sample(
        name=read.name,
        folder=read.folder,
        noun=next(iter(nouns)) if len(nouns) == 1 else "measurement",
        model=str(read.document.get("model", "")),
        singles=tuple(_single(m, quantity) for m in own),
        instrument=_instrument(read.document["settings"], kinds),
    )
    whole, own = (read.document[key].get(quantity) for key in ("parameters", "own"))
    return summarise(sample, own, 0.0 if whole is None or own is None else sqrt(max(whole**2 - own**2, 0.0)))


def _single(measurement: Measurement, quantity: str) -> Single:
    """One measurement, and why it does not count if it does not."""
    entry = measurement.parameters.get(quantity, Estimate(None, identifiable=False))
    name, reason = measurement.file, measurement.reason or ""
    if measurement.status != "fitted":
        return Single(name, entry.value, entry.stderr, measurement.status, reason)
    if limit(entry) is not None:
        return Single(name, None, None, "limit", f"only a limit, {estimate_in_words(entry)}")
    if entry.origin == "given":
        return Single(name, entry.value, None, "undetermined", "given, not measured")
    if entry.value is None:
        return Single(name, None, None, "undetermined", "not determined")
    if not entry.stderr:
        return Single(name, entry.value, None, "undetermined", "no error, on a bound")
    return Single(name, entry.value, without_magnification(measurement, quantity).stderr, "used")


def _instrument(settings: Mapping[str, Any], kinds: set[str]) -> dict[str, Any]:
    """What the errors common to all measurements come from: calibrations by their hashes, and numbers that were given.

    Equal ones of two samples are one instrument.
    """
    inputs = (settings.get("run") or {}).get("inputs") or ()
    roles, keys = (("irf",), OF_DECAYS) if kinds == {"decay"} else (("laser", "psf"), OF_IMAGES)
    found = {str(entry["role"]): entry.get("sha256") for entry in inputs if entry.get("role") in roles}
    return {**found, **{key: settings[key] for key in keys if settings.get(key) not in (None, [], {})}}


def _warnings(read: Sequence[Read]) -> list[str]:
    said = []
    models = {str(one.document.get("model", "")): one.name for one in reversed(read)}
    if len(models) > 1:
        told = "; ".join(f"{name}: {model}" for model, name in models.items())
        said.append(f"the samples were fitted with unlike models ({told}): part of a difference may come from that")
    held: dict[str, tuple[str, str]] = {}
    shared = []
    for one in read:
        for entry in (one.document["settings"].get("run") or {}).get("inputs") or ():
            if entry.get("role") in ("image", "decay", "frames", "spectral_map") and entry.get("sha256"):
                other = held.setdefault(entry["sha256"], (one.name, entry["path"]))
                if other[0] != one.name:
                    shared.append(f"{file_name(entry['path'])} of {one.name} is {file_name(other[1])} of {other[0]}")
    if shared:
        more = f" and {len(shared) - LISTED} more" if len(shared) > LISTED else ""
        said.append(f"the same data are in two samples: {', '.join(shared[:LISTED])}{more}; which do they belong to?")
    return said


def _record(read: Sequence[Read], folders: Sequence[str], names: Sequence[str] | None, quantity: str) -> dict[str, Any]:
    words = ["excidiff", "samples", *folders, *(["--names", *names] if names is not None else []),
             "--quantity", quantity]  # fmt: skip
    inputs = [{"role": one.name, "path": str(Path(one.folder) / "result.json"), "sha256": one.sha256} for one in read]
    return {"versions": versions(), "inputs": inputs, "command": shlex.join(words)}
