"""The words and digits in which results are shown: labels, units for people, value ± error.

Files keep ASCII unit names (`um`, `um^2/ns`) so that any program can read them; people are shown `µm`, `µm²/ns`.
"""

import math

LABELS = {
    "diffusion_length": "diffusion length √(Dτ)",
    "diffusivity": "diffusivity D",
    "lifetime": "lifetime τ",
    "deconvolved_length": "deconvolved length",
    "centre_x": "centre x",
    "centre_y": "centre y",
    "amplitude": "amplitude",
    "background": "background",
    "laser_fwhm": "laser FWHM",
    "psf_fwhm": "PSF FWHM",
}

_UNITS = {
    "um": "µm",
    "um^2/ns": "µm²/ns",
    "1/um^2": "1/µm²",
    "photons": "photons",
    "photons/pixel": "photons/pixel",
}

_ORIGINS = {"given": "given, not fitted", "derived": "derived", "fitted": ""}


def label(name: str) -> str:
    """What a parameter is called in front of people: "diffusion_length" -> "diffusion length √(Dτ)"."""
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


def value_with_error(value: float | None, stderr: float | None, unit: str = "") -> str:
    """One phrase: "0.4796 ± 0.0021 µm"; "5 ns" when there is no error; a dash when undetermined."""
    number, error = digits(value, stderr)
    text = f"{number} ± {error}" if error else number
    shown = unit_for_people(unit)
    return f"{text} {shown}".rstrip() if shown not in ("", "1", "dimensionless") and number != "–" else text


def interval(bounds: tuple[float | None, float | None] | None, stderr: float | None = None) -> str:
    """A 95 % interval in words: "0.4755 to 0.4837", "above 0.31" or "below 0.02" when one-sided, else empty."""
    if bounds is None or bounds == (None, None):
        return ""
    low, high = bounds
    if low is None:
        return f"below {digits(high, stderr)[0]}"
    if high is None:
        return f"above {digits(low, stderr)[0]}"
    width = stderr if stderr else (high - low) / 4.0
    return f"{digits(low, width)[0]} to {digits(high, width)[0]}"


def in_cm2_per_s(value: float | None, stderr: float | None) -> str:
    """A diffusivity given in µm²/ns as people quote it, in cm²/s (1 µm²/ns = 10 cm²/s); empty if undetermined."""
    if value is None:
        return ""
    return value_with_error(10.0 * value, None if stderr is None else 10.0 * stderr, "cm²/s")


def probability(value: float | None) -> str:
    """A p-value as text: "0.41", "3e-05", "below 1e-10"."""
    if value is None:
        return "–"
    if value < 1e-10:
        return "below 1e-10"
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def counted(number: int, noun: str) -> str:
    """ "1 image", "12 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
