"""The words and digits in which results are shown: labels, units for people, value ± error.

Files keep ASCII unit names (`um`, `um^2/ns`) so that any program can read them; people are shown `µm`, `µm²/ns`.
"""

import math
from typing import Any

LABELS = {
    "diffusion_length": "diffusion length √(Dτ)",
    "diffusivity": "diffusivity D",
    "lifetime": "lifetime τ",
    "deconvolved_length": "deconvolved length",
    "centre_x": "centre x",
    "centre_y": "centre y",
    "amplitude": "amplitude",
    "background": "background",
    "laser_fwhm": "laser FWHM, at the sample",
    "laser_image_fwhm": "laser FWHM, as imaged",
    "psf_fwhm": "PSF FWHM",
    "collection_fwhm": "collection spot FWHM",
    "disorder": "disorder σ",
    "relaxation": "relaxation rate ν",
    "attempts_per_lifetime": "relaxation attempts in a lifetime, ντ",
    "linewidth": "width σ of the line",
    "lorentzian": "Lorentzian FWHM of the line",
    "outcoupling": "outcoupling of guided light",
    "guiding_loss": "loss of guided light beside absorption",
    "band_centre": "centre of the emission band",
    "trap_band_centre": "centre of the traps' band",
    "trap_band_width": "width σ of the traps' band",
    "trap_band_share": "the traps' share of the light",
    "trap_brightness": "brightness of trapped excitons beside free ones",
    "irf_shift": "shift of the response",
    "scattered_light": "scattered laser light",
}

_UNITS = {
    "um": "µm",
    "um^2/ns": "µm²/ns",
    "1/um^2": "1/µm²",
    "1/um": "1/µm",
    "photons": "photons",
    "photons/pixel": "photons/pixel",
    "photons/bin": "photons/bin",
}

LOPSIDED = 1.25  # ratio of an interval's end to the error beyond which the interval is said, too
_SMALL = 1e-3  # numbers below it are written with a power of ten
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ORIGINS = {"given": "given, not fitted", "derived": "derived", "fitted": ""}


def label(name: str) -> str:
    """What a parameter is called in front of people: "diffusion_length" -> "diffusion length √(Dτ)"."""
    kind, _, number = name.rpartition("_")
    if number.isdigit():  # of a mixture, from the slowest on
        return f"{kind.replace('_', ' ')}{'' if kind != 'lifetime' else ' τ'}{number.translate(_SUBSCRIPTS)}"
    return LABELS.get(name, name.replace("_", " "))


def unit_for_people(unit: str) -> str:
    """The unit as it is printed: "um^2/ns" -> "µm²/ns"."""
    return _UNITS.get(unit, unit)


def origin_for_people(origin: str) -> str:
    """A remark on where a number comes from; empty for what was fitted."""
    return _ORIGINS.get(origin, origin)


def digits(value: float | None, stderr: float | None = None) -> tuple[str, str]:
    """`value` and `stderr` as text to the same decimal, which is the error's second digit.

    0.47958, 0.00213 -> ("0.4796", "0.0021"). Without an error the value has five significant digits.
    An undetermined number is shown as a dash.
    """
    if value is None or not math.isfinite(value):
        return "–", ""
    if stderr is None or not math.isfinite(stderr) or stderr <= 0:
        return f"{value:.5g}", ""
    exponent = math.floor(math.log10(stderr))
    if round(stderr / 10.0**exponent, 1) >= 10.0:  # 0.0996 rounds up to 0.10: one digit fewer
        exponent += 1
    decimals = 1 - exponent
    if decimals < 0:
        step = 10**-decimals
        return f"{round(value / step) * step:.0f}", f"{round(stderr / step) * step:.0f}"
    if decimals > 9:
        return f"{value:.6g}", f"{stderr:.2g}"
    return f"{value:.{decimals}f}", f"{stderr:.{decimals}f}"


def spread(value: float | None, stderr: float | None = None) -> tuple[str, str, str]:
    """`digits` and the power of ten that both are to be multiplied with: "4.634", "0.042", "10⁻⁵"; mostly empty."""
    if value is None or not math.isfinite(value):
        return *digits(value), ""
    size = max(abs(value), stderr if stderr and math.isfinite(stderr) else 0.0)
    if not 0 < size < _SMALL:
        return *digits(value, stderr), ""
    exponent = math.floor(math.log10(size))
    number, error = digits(value / 10.0**exponent, None if stderr is None else stderr / 10.0**exponent)
    return number, error, _power(exponent)


def value_with_error(value: float | None, stderr: float | None, unit: str = "") -> str:
    """One phrase: "0.4796 ± 0.0021 µm"; "5 ns" when there is no error; a dash when undetermined.

    Small numbers have a power of ten: "(4.634 ± 0.042) × 10⁻⁵ µm²/ns".
    """
    number, error, power = spread(value, stderr)
    text = f"{number} ± {error}" if error else number
    if power:
        text = f"({text}) × {power}" if error else f"{text} × {power}"
    return text if number == "–" else with_unit(text, unit)


def with_unit(text: str, unit: str) -> str:
    """The text and its unit for people behind it, where it has one."""
    shown = unit_for_people(unit)
    return text if shown in ("", "1", "dimensionless") else f"{text} {shown}"


def limit(entry: Any) -> tuple[str, float] | None:
    """("<", 0.008) for an estimate of which the data give only a limit (95 %), (">", …) for one from below; else None.

    The value of such an estimate is where the search ended, on a natural bound, and means nothing. On a bound that was
    set, the interval ends in the value itself: that is no limit from the data.
    """
    bounds = entry.interval95
    if not entry.at_bound or bounds is None or entry.value in bounds or None not in bounds:
        return None
    low, high = bounds
    return ("<", high) if low is None else (">", low)


def estimate_in_words(entry: Any, unit: str | None = None) -> str:
    """An estimate as people read it: "0.4796 ± 0.0021 µm", or "< 0.0080 µm (95 %)" where only a limit is known."""
    shown = entry.unit if unit is None else unit
    bound = limit(entry)
    if bound is None:
        return value_with_error(entry.value, entry.stderr, shown)
    return f"{with_unit(limit_digits(*bound), shown)} (95 %)"


def limit_digits(sign: str, value: float) -> str:
    """A limit with two digits, as more would mean nothing: "< 0.0080", "< 4.6 × 10⁻⁵"."""
    number, _, power = spread(value, abs(value))
    return f"{sign} {number}" + (f" × {power}" if power else "")


def interval(bounds: tuple[float | None, float | None] | None, stderr: float | None = None) -> str:
    """A 95 % interval in words: "0.4755 to 0.4837", "above 0.31" or "below 0.02" when one-sided, else empty."""
    if bounds is None or bounds == (None, None):
        return ""
    low, high = bounds
    if low is None or high is None:
        word, value = ("below", high) if low is None else ("above", low)
        return f"{word} {value_with_error(value, None)}"
    width = stderr if stderr else (high - low) / 4.0
    size = max(abs(low), abs(high))
    if not 0 < size < _SMALL:
        return f"{digits(low, width)[0]} to {digits(high, width)[0]}"
    exponent = math.floor(math.log10(size))
    first, last = (digits(bound / 10.0**exponent, width / 10.0**exponent)[0] for bound in (low, high))
    return f"({first} to {last}) × {_power(exponent)}"


def lopsided(entry: Any) -> bool:
    """Whether value ± error says something else than the 68 % interval: an end is more than a quarter off."""
    if entry.interval68 is None or entry.value is None or not entry.stderr:
        return False
    away = [None if end is None else abs(end - entry.value) / entry.stderr for end in entry.interval68]
    return any(far is None or not 1 / LOPSIDED < far < LOPSIDED for far in away)


def _power(exponent: int) -> str:
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def in_cm2_per_s(entry: Any) -> str:
    """A diffusivity in µm²/ns as people quote it, in cm²/s (1 µm²/ns = 10 cm²/s); empty if undetermined."""
    if entry.value is None:
        return ""
    bound = limit(entry)
    if bound is not None:
        return with_unit(limit_digits(bound[0], 10.0 * bound[1]), "cm²/s")
    return value_with_error(10.0 * entry.value, None if entry.stderr is None else 10.0 * entry.stderr, "cm²/s")


def probability(value: float | None) -> str:
    """A p-value as text: "0.41", "3e-05", "< 1e-10"."""
    if value is None:
        return "–"
    if value < 1e-10:
        return "< 1e-10"
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def p_in_words(value: float) -> str:
    """ "p = 0.41", "p < 1e-10"."""
    text = probability(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def counted(number: int, noun: str) -> str:
    """ "1 image", "12 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
