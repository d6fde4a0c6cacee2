"""Options as they are typed, turned into numbers: quantities with errors, regions, what is said of parameters."""

import re
from difflib import get_close_matches

from excidiff.inverse.files.units import parse_quantity
from excidiff.inverse.options import FIXABLE, QUANTITIES, WITH_ERROR
from excidiff.inverse.settings import FitSettings
from excidiff.solver.solution import InputError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_STARTS = re.compile(rf"[\s(]*{_NUMBER}")
_PLUS_MINUS = re.compile(rf"\s*\(?\s*({_NUMBER})([^±()\d]*)±\s*({_NUMBER})([^()]*)\)?\s*([^()]*)")  # 5 ± 0.1 ns
_IN_DIGITS = re.compile(r"\s*(\d+\.?\d*|\.\d+)\((\d+)\)\s*(.+?)\s*")  # 5.0(1) ns


def quantity(settings: FitSettings, name: str) -> float | tuple[float, float] | None:
    """An option in house units; "5.0 ± 0.1 ns", "(5.0 ± 0.1) ns" and "5.0(1) ns" give (value, standard error)."""
    text, option = getattr(settings, name), "--" + name.replace("_", "-")
    if text is None:
        return None
    parts = _with_error(text, option)
    if parts is None:
        return parse_quantity(text, QUANTITIES[name], name=option)
    if name not in WITH_ERROR:
        raise InputError(
            f"{option}: {text!r} has an error, which is not carried on; give the value with its unit alone"
        )
    value, error, unit = parts
    house = parse_quantity(f"{value} {unit}", QUANTITIES[name], name=option)
    # An error may be far smaller than any value: its unit alone is read, and its sign is checked by `Experiment`.
    one = parse_quantity(f"1 {unit}", {"lifetime": "time"}.get(name, "length"), name=option)
    return house, one * float(error)


def density(option: str, text: str) -> tuple[float, float]:
    """A peak density with its error, if it has one, 1/µm²."""
    parts = _with_error(text, option)
    if parts is None:
        return parse_quantity(text, "density", name=option), 0.0
    value, error, unit = parts
    one = parse_quantity(f"1 {unit}", "density", name=option)
    return one * float(value), one * float(error)


def whole(option: str, text: str) -> int:
    """The text of an option that counts something."""
    if not text.isdecimal():
        raise InputError(f"{option} {text!r} is not a whole number; write it like {option} 2")
    return int(text)


def _with_error(text: str, option: str, *, unit: bool = True) -> tuple[str, str, str] | None:
    """(value, error, unit) of a text that has an error, as typed; None for one that has none; `unit`: it must have."""
    if digit := _IN_DIGITS.fullmatch(text):
        decimals = len(digit[1].partition(".")[2])
        return digit[1], f"{int(digit[2])}e-{decimals}", digit[3]
    plain = re.sub(r"\+/?-", "±", text)
    if "±" not in plain:
        return None
    found = _PLUS_MINUS.fullmatch(plain)
    if found is None:
        first, _, second = plain.partition("±")
        lacking = "before" if _STARTS.match(first) is None else "after" if _STARTS.match(second) is None else "around"
        raise InputError(f'{option}: {text!r} has no number {lacking} ±; write it like "5.0 ± 0.1 ns"')
    value, own, error, inner, outer = found.groups()
    common = (outer or inner).strip()
    if unit and not common:
        raise InputError(f'{option}: no unit after ±; write it like "5.0 ± 0.1 ns"')
    if own.strip() not in ("", common):
        raise InputError(f'{option}: {text!r} has two units; write one behind both, as in "5.0 ± 0.1 ns"')
    return value, error, common


def number(option: str, text: str) -> float:
    """The text of an option that has no unit."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} {text!r} is not a number; it has no unit, write it like {option} 2.5") from None


def region(text: str) -> tuple[int, ...]:
    """ "10,90,5,80" -> (10, 90, 5, 80)."""
    try:
        edges = tuple(int(part) for part in text.split(","))
    except ValueError:
        edges = ()
    if len(edges) != 4:
        raise InputError(f"--region {text!r} is not x0,x1,y0,y1 in whole pixels, such as --region 10,90,10,90")
    return edges


def fixed_value(text: str, option: str = "--fix") -> tuple[str, float]:
    """ "lifetime=5 ns" -> ("lifetime", 5.0)."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise InputError(f'{option} {text!r} has no value; write it as {option} "background=1.5"')
    return name, _value(name, value, option)


def prior_of(text: str) -> tuple[str, tuple[float, float]]:
    """ "disorder=16 ± 1 meV" -> ("disorder", (16.0, 1.0))."""
    name, equals, value = (part.strip() for part in text.partition("="))
    parts = _with_error(value, f"--prior {name}", unit=FIXABLE.get(name) != "dimensionless") if equals else None
    if parts is None:
        raise InputError(f'--prior {text!r} is not NAME=VALUE ± ERROR; write it like --prior "lifetime=5.0 ± 0.1 ns"')
    size, error, unit = (part.strip() for part in parts)
    value, one = (_value(name, f"{text} {unit}".strip(), "--prior") for text in (size, "1"))
    return name, (value, one * float(error))


def bounds_of(text: str) -> tuple[str, tuple[float | None, float | None]]:
    """ "lifetime=1 ns..5 ns" -> ("lifetime", (1.0, 5.0)); either end may be left out."""
    name, equals, value = (part.strip() for part in text.partition("="))
    low, dots, high = (part.strip() for part in value.partition(".."))
    if not equals or not dots or not (low or high):
        raise InputError(f'--bound {text!r} is not NAME=LOW..HIGH; write it like --bound "lifetime=1 ns..5 ns"')
    return name, tuple(_value(name, end, "--bound") if end else None for end in (low, high))  # type: ignore[return-value]


def _value(name: str, value: str, option: str) -> float:
    """The value of a parameter by name, in house units."""
    if name not in FIXABLE:
        near = get_close_matches(name, FIXABLE, n=1)
        hint = f"the nearest known one is {near[0]!r}" if near else f"choose one of {', '.join(FIXABLE)}"
        raise InputError(f"{option} {name}: no such parameter; {hint}")
    if FIXABLE[name] == "dimensionless":
        return number(f"{option} {name}", value)
    if not name.startswith("centre"):
        return parse_quantity(value, FIXABLE[name], name=f"{option} {name}")
    # A position may be zero or negative, which no length is.
    sign = -1.0 if value.startswith("-") else 1.0
    size = value.lstrip("+-")
    zero = size.split(" ")[0].strip("0.") == ""
    return 0.0 if zero else sign * parse_quantity(size, "length", name=f"{option} {name}")
