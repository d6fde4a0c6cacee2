"""From … to: a stretch of wavelengths or of places, as a pair of numbers or as people write it, "500..540 nm".

A stretch of energies is one of wavelengths, by E = hc/λ.
"""

import re
from collections.abc import Sequence

from excidiff.inverse.files.units import parse_quantity
from excidiff.solver.solution import InputError

PLANCK_C = 1_239_841.984
"""h c in meV nm (CODATA 2018)."""
Span = str | Sequence[float]
_ENERGY = re.compile(r"m?eV\s*$")
_UNIT = re.compile(r"[A-Za-zµμ]+\s*$")


def wavelength_span(given: Span, *, name: str = "wavelengths") -> tuple[float, float]:
    """(low, high) in nm of "500..540 nm", "2.3..2.5 eV" or a pair of numbers in nm. Raises InputError."""
    if not isinstance(given, str):
        return _rising(_pair(given, name), given, name)
    ends = _ends(given, name)
    if _ENERGY.search(ends[1]):
        return _rising([PLANCK_C / parse_quantity(end, "energy", name=name) for end in reversed(ends)], given, name)
    return _rising([1e3 * parse_quantity(end, "wavelength", name=name) for end in ends], given, name)


def place_span(given: Span, *, name: str = "places") -> tuple[float, float]:
    """(low, high) in µm of "-0.5..1.5 um" or a pair of numbers in µm. Raises InputError."""
    if not isinstance(given, str):
        return _rising(_pair(given, name), given, name)
    return _rising([parse_quantity(end, "position", name=name) for end in _ends(given, name)], given, name)


def _pair(given: Sequence[float], name: str) -> list[float]:
    if len(given) != 2:
        raise InputError(f"{name} = {given!r}; give two numbers, from and to")
    return [float(end) for end in given]


def _ends(text: str, name: str) -> list[str]:
    """Both ends with their unit, which may stand behind the second alone."""
    low, dots, high = (part.strip() for part in text.partition(".."))
    if not dots or not low or not high:
        raise InputError(f'{name}: {text!r} is not FROM..TO; write it with its unit, like "500..540 nm"')
    unit = _UNIT.search(high)
    return [low if unit is None or _UNIT.search(low) else f"{low} {unit[0]}", high]


def _rising(pair: Sequence[float], given: Span, name: str) -> tuple[float, float]:
    low, high = pair
    if not low < high:
        raise InputError(f"{name} = {given!r}; the first must be the smaller one")
    return low, high
