"""Quantities with units, turned into house units once, at the edge.

House units are µm, ns, meV and K, as plain floats: 1 cm²/s = 0.1 µm²/ns. A quantity that a person types ("50 nm",
"0.5 cm^2/s") becomes a float here and nowhere else; a number without a unit is taken for house units when it comes
from Python, and refused when it comes as text, where nobody can see which unit was meant. Every quantity has a wide
physical range, so that a slip of a thousand (nm for µm) is caught where it happens.
"""

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from excidiff.solver.solution import InputError


@dataclass(frozen=True)
class Quantity:
    """What a quantity may be: its house `unit` as pint writes it, its name for people, its range in house units."""

    dimension: str
    unit: str
    low: float
    high: float
    positive: bool = True

    @property
    def title(self) -> str:
        """The house unit as people write it."""
        return self.unit.replace("**", "^").replace(" ", "")


QUANTITIES = {
    "length": Quantity("length", "um", 1e-4, 1e5),
    "position": Quantity("length", "um", 1e-4, 1e5, positive=False),
    "spacing": Quantity("length", "um", 1e-5, 1e2),
    "pixel_size": Quantity("length", "um", 1e-3, 1e2),
    "fwhm": Quantity("length", "um", 1e-2, 1e3),
    "wavelength": Quantity("length", "um", 1e-2, 1e2),
    "diffusion_length": Quantity("length", "um", 1e-4, 1e4),
    "time": Quantity("time", "ns", 1e-6, 1e12),
    "lifetime": Quantity("time", "ns", 1e-6, 1e9),
    "response": Quantity("time", "ns", 1e-6, 1e3),
    "period": Quantity("time", "ns", 1e-2, 1e9),
    "diffusivity": Quantity("diffusivity", "um**2/ns", 1e-12, 1e5),
    "energy": Quantity("energy", "meV", 1e-6, 2e4, positive=False),
    "temperature": Quantity("temperature", "K", 1e-3, 5e3),
    "rate": Quantity("rate", "1/ns", 1e-12, 1e6),
    "density": Quantity("density", "1/um**2", 1e-9, 1e12),
    "capture": Quantity("capture", "um**2/ns", 1e-15, 1e9),
    "auger": Quantity("auger", "um**4/ns", 1e-18, 1e9),
    "absorption": Quantity("absorption", "1/um", 1e-9, 1e4),
    "velocity": Quantity("velocity", "um/ns", 1e-12, 1e6),
    "excitons": Quantity("excitons", "", 1e-12, 1e24),
    "generation": Quantity("rate", "1/ns", 1e-15, 1e24),
    "generation_density": Quantity("generation_density", "1/um**2/ns", 1e-15, 1e21),
    "dimensionless": Quantity("dimensionless", "", 0.0, math.inf, positive=False),
}

SUSPECTS = {  # the units a slip usually comes from, likeliest first
    "length": ("nm", "um", "mm", "cm", "m"),
    "time": ("ns", "ps", "us", "fs", "ms", "s"),
    "diffusivity": ("cm**2/s", "um**2/ns", "m**2/s", "um**2/s", "nm**2/ns"),
    "energy": ("meV", "eV", "J"),
    "temperature": ("K", "degC"),
    "rate": ("1/ns", "1/us", "1/ps", "1/s"),
    "density": ("1/um**2", "1/cm**2", "1/nm**2"),
    "capture": ("um**2/ns", "cm**2/s"),
    "auger": ("um**4/ns", "cm**4/s"),
    "absorption": ("1/um", "1/cm", "1/mm", "1/nm"),
    "velocity": ("um/ns", "cm/s", "m/s", "nm/ns"),
    "generation_density": ("1/um**2/ns", "1/cm**2/s"),
}

# What image files write, in µm; kept apart from pint so that reading an image does not load it.
LENGTHS = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres", "nanom"), 1e-3),
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"), 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 1e4),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e6),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("å", "ang", "angstrom", "angstroms"), 1e-4),
    **dict.fromkeys(("in", "inch", "inches", '"'), 25400.0),
}

USUAL = 0.01  # µm: what is typed in nm is no smaller, so that a smaller number was in µm

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*", re.DOTALL)
_UNIT = re.compile(r"[A-Za-zµ°Å%0-9 ^*/().\-]{0,60}")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def length_unit(text: object) -> float | None:
    """Return the length in µm of one unit that an image file names ("micron", "\\u00B5m", "nm"), or None.

    "pixel", an empty text and anything unknown give None: no length is assumed.
    """
    name = re.sub(r"\\u00[bB]5|\\u03[bB][cC]|μ|&#181;|Âµ", "µ", str(text or "")).strip().strip("\0").lower()
    return LENGTHS.get(name)


def parse_quantity(
    value: Any, quantity: str, *, name: str | None = None, allow_bare: bool = False, zero: bool = False
) -> float:
    """Return `value` in house units (µm, ns, meV, K).

    `value` is a text such as "50 nm", "0.5 cm^2/s", "3e-3 /um^2", "22 °C", or a number, which is in house units
    already. `quantity` is a key of `QUANTITIES`: a dimension ("length") or, with a narrower range, a purpose
    ("pixel_size"). `name` is what the message calls it ("--pixel-size"). `zero`: whether it may be none at all.

    Raises InputError when the text cannot be read, has no unit (unless `allow_bare`), has a unit of another
    dimension, or lies outside the range of the quantity; the message then names the unit that was probably meant.
    """
    kind = QUANTITIES[quantity]
    name = name or quantity.replace("_", " ")
    if isinstance(value, bool) or not (isinstance(value, str) or hasattr(value, "__float__")):
        raise InputError(f"{name}: {value!r} is not a quantity; write a number with its unit, such as {_example(kind)}")
    if not isinstance(value, str):
        return check_range(_as_float(value), quantity, name=name, zero=zero)
    number, unit = _split(value, name, kind)
    if not unit and kind.unit and not allow_bare:
        raise InputError(f"{name}: {value.strip()!r} has no unit; write it with one, such as {_example(kind, number)}")
    if not unit:
        return check_range(number, quantity, name=name, zero=zero)
    house = _convert(number, unit, kind.unit, name, value)
    return check_range(house, quantity, name=name, written=(number, unit), zero=zero)


def house_size(unit: str, quantity: str, *, name: str) -> float:
    """One `unit` ("cm^2/s") in the house unit of `quantity`. Raises InputError for one of another kind."""
    number, spelled = _split(f"1 {unit}", name, QUANTITIES[quantity])
    return _convert(number, spelled, QUANTITIES[quantity].unit, name, unit)


def check_range(
    value: float,
    quantity: str,
    *,
    name: str | None = None,
    written: tuple[float, str] | None = None,
    zero: bool = False,
) -> float:
    """Return `value` (house units), or raise InputError naming the suspected unit if it is outside the wide range.

    `written` is the number and unit as the person typed them.
    """
    kind = QUANTITIES[quantity]
    name = name or quantity.replace("_", " ")
    if _possible(value, kind) or (zero and value == 0):
        return value
    number, unit = written or (value, kind.unit)
    shown = f"{number:g} {unit}".strip().replace("**", "^")
    if not math.isfinite(value) or (kind.positive and value <= 0):
        sign = "" if not kind.positive else " and not negative" if zero else " and positive"
        raise InputError(f"{name}: {shown} is not possible; it must be finite{sign}")
    bounds = f"{kind.low:g} to {kind.high:g} {kind.title}"
    meant = next((u for u in SUSPECTS.get(kind.dimension, ()) if u != unit and _would_fit(number, u, kind)), None)
    advice = f"did you mean {number:g} {meant.replace('**', '^')}?" if meant else "check the number and its unit"
    raise InputError(f"{name}: {shown} lies outside {bounds}; {advice}")


def format_quantity(value: float | None, quantity: str, *, digits: int = 4) -> str:
    """Return `value` (house units) as people write it: "40 nm", "0.4796 µm", "250 ps", "0.046 µm²/ns (0.46 cm²/s)"."""
    kind = QUANTITIES[quantity]
    if value is None:
        return "not known"
    if kind.dimension == "length":
        return _scaled(value, digits, ((1e-3, "nm"), (1.0, "µm"), (1e3, "mm")), smallest=0.1)
    if kind.dimension == "time":
        return _scaled(value, digits, ((1e-6, "fs"), (1e-3, "ps"), (1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")))
    if kind.dimension == "diffusivity":
        return f"{value:.{digits}g} µm²/ns ({10.0 * value:.{digits}g} cm²/s)"
    unit = kind.title.replace("um", "µm").replace("^2", "²")
    return f"{value:.{digits}g} {unit}".rstrip()


def _scaled(value: float, digits: int, steps: tuple[tuple[float, str], ...], smallest: float = 1.0) -> str:
    """Write `value` in the largest unit of `steps` in which it is at least `smallest`."""
    size, unit = next(((s, u) for s, u in reversed(steps) if abs(value) >= smallest * s * (1 - 1e-12)), steps[0])
    if value == 0:
        size, unit = 1.0, next(u for s, u in steps if s == 1.0)
    return f"{value / size:.{digits}g} {unit}"


def _possible(value: float, kind: Quantity) -> bool:
    if not math.isfinite(value):
        return False
    if kind.positive:
        return kind.low * (1 - 1e-9) <= value <= kind.high * (1 + 1e-9)
    return abs(value) <= kind.high


def _would_fit(number: float, unit: str, kind: Quantity) -> bool:
    # The slip is from µm to nm far more often than to anything else: only what lands well inside is worth naming.
    return _possible(float(_registry().Quantity(number, unit).to(kind.unit).magnitude), kind)


def _example(kind: Quantity, number: float | None = None) -> str:
    """A text as it should be typed; of lengths in the unit in which the number is one of microscopy."""
    common = {"length": "nm", "diffusivity": "cm^2/s"}.get(kind.dimension, kind.title)
    if number is None:
        number = 300.0 if kind.dimension == "length" else 5.0
    elif kind.dimension == "length" and abs(number) < USUAL / LENGTHS["nm"]:
        common = "um"
    return f'"{number:g} {common}"' if common else f"{number:g}"


def _nearest(unit: str, house: str) -> str:
    """The known unit that was probably meant: "nn" -> "nm"; empty if none is near."""
    kinds = {kind.dimension for kind in QUANTITIES.values() if kind.unit == house}
    known = [name.replace("**", "^") for kind in kinds for name in SUSPECTS.get(kind, ())]
    near = get_close_matches(unit.replace("**", "^"), known, n=1, cutoff=0.5)
    return near[0] if near else ""


def _split(text: str, name: str, kind: Quantity) -> tuple[float, str]:
    """Split "0.5 cm²/s" into 0.5 and "cm**2/s", in pint's spelling."""
    found = _NUMBER.fullmatch(text)
    if found is None or found[2].startswith(","):
        comma = " (write a decimal point, not a comma)" if "," in text else ""
        raise InputError(f"{name}: {text!r} is not a number with a unit{comma}; write something like {_example(kind)}")
    unit = found[2].replace("μ", "µ").replace("Å", "Å").replace("·", "*").replace("^", "**")
    unit = re.sub(r"(?<=[A-Za-zµÅ])([⁻⁰¹²³⁴-⁹]+)", lambda m: "**" + m[1].translate(_SUPERSCRIPTS), unit)
    unit = re.sub(r"(?<=[A-Za-zµÅ])(-?\d)\b", r"**\1", unit)  # cm-3, um2
    unit = unit.replace("°C", "degC").replace("° C", "degC")
    return float(found[1]), ("1" + unit if unit.startswith("/") else unit)


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # loaded on first use: it takes longer to import than a small image takes to read

    registry = pint.UnitRegistry()
    for counted in ("exciton", "carrier", "trap"):  # 2e11 traps/cm^2
        registry.define(f"{counted} = count")
    return registry


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf


def _convert(number: float, unit: str, house: str, name: str, text: str) -> float:
    """Convert through pint. The unit's text is held to letters, small exponents and one division of labour."""
    example = f"write it in {house.replace('**', '^')} or a unit of the same kind" if house else "it has no unit"
    if _UNIT.fullmatch(unit) is None or re.search(r"\d{2}", unit) or re.search(r"\*\*[^*]*\*\*[^/ *]*\*\*", unit):
        raise InputError(f"{name}: the unit of {text!r} cannot be read; {example}")
    if unit.lower() in ("px", "pixel", "pixels"):
        raise InputError(f"{name}: {text!r} counts pixels, which have no length of their own; {example}")
    import pint

    registry = _registry()
    try:
        exact = registry.Quantity(number, registry.parse_units(_bare(unit))).to(house or "").magnitude
        return float(f"{exact:.14g}")  # 200 ps are 0.2 ns, not 0.19999999999999996
    except pint.DimensionalityError:
        raise InputError(f"{name}: {text!r} has a unit of another kind; {example}") from None
    except Exception as error:  # pint's parser raises whatever its tokens run into
        near = _nearest(unit, house)
        advice = f"did you mean {number:g} {near}?" if near else example
        raise InputError(f"{name}: the unit of {text!r} is not known; {advice}") from error


def _bare(unit: str) -> str:
    """Turn "1/um**2" into "um**-2", which pint accepts as a unit without a number."""
    return re.sub(r"^1\s*/", "dimensionless/", unit)
