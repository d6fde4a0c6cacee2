"""How large the noise of measured numbers is: that of photons, as it was given, or read off the numbers themselves.

Whole numbers from zero on are taken for photons. Of anything else, of rates, means and differences, nobody can tell the
noise without being told, or without looking: spectra are smooth over a few bins, so that their second differences
d = (y_{k−1} − 2 y_k + y_{k+1})/√6 have the variance of the noise. It is taken to follow a + b × light, for what comes
of the instrument and what of the photons; a and b are fitted to the medians of d² in groups of equal light.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from excidiff.solver.solution import InputError

FROM_DATA = "from the data"
IF_NEEDED = "from the data, unless they are photons"
LIKE_PHOTONS = (0.8, 1.25)  # times the variance of photons, within which scatter is theirs
ENOUGH = 20.0  # photons per bin, from which on that can be told
GROUPS, SMALLEST_GROUP = 12, 40
PHOTONS = "whole numbers, none below zero: taken for photons"
ESTIMATED = "uncertainty estimated from differences of neighbouring bins"
DOUBTS = (ESTIMATED, "neighbouring bins scatter", "bins further apart differ")
SMOOTH = 9  # bins whose mean is the light at their middle
MEDIAN = 0.454936  # of the square of a standard normal number
ALIKE = 1.5  # ratio of the variances of distant and of near differences: above, neighbours share their noise
Uncertainty = str | Path | float | np.ndarray


def are_photons(values: np.ndarray) -> bool:
    """Whether they may be counts of photons: whole numbers, none below zero."""
    return bool(np.isfinite(values).all() and (values >= 0).all() and (values == np.floor(values)).all())


def doubts(notes: Sequence[str]) -> list[str]:
    """Of the notes on a file those that say its noise was estimated, or may be another: a result must repeat them."""
    return [note for note in notes if note.startswith(DOUBTS)]


def names_file(uncertainty: object) -> bool:
    """Whether an uncertainty is given as a file, rather than as a number or `FROM_DATA`."""
    if isinstance(uncertainty, Path):
        return True
    return isinstance(uncertainty, str) and uncertainty not in (FROM_DATA, IF_NEEDED) and _number(uncertainty) is None


def settle_noise(
    values: Float64[np.ndarray, "*place colour"], given: Uncertainty | None, name: str
) -> tuple[Float64[np.ndarray, "*place colour"] | None, tuple[str, ...]]:
    """(one standard deviation of each number, None for photons; what was done, in words).

    given: a number, an array of the values' shape, `FROM_DATA`, or None: they are photons, and InputError is raised
    where they cannot be; `IF_NEEDED`: they are photons, or else as `FROM_DATA`.
    """
    if given is None or (isinstance(given, str) and given == IF_NEEDED):
        if are_photons(values):
            return None, (PHOTONS, *_doubt(values))
        if given is not None:
            return scatter(values)
        below = int(np.count_nonzero(values < 0))
        what = f"{below} of its numbers are negative" if below else "its numbers are no whole ones"
        raise InputError(
            f"{name}: {what}, so that they are not counts of photons and nothing tells their noise; give an "
            f'uncertainty: a number, a file of the same form, or "{FROM_DATA}" to estimate it from neighbouring bins'
        )
    if isinstance(given, str) and given == FROM_DATA:
        return scatter(values)
    if isinstance(given, str | Path):
        number = _number(str(given))
        if number is None:
            raise InputError(f'{name}: uncertainty {str(given)!r}; give a number, a file, or "{FROM_DATA}"')
        given = number
    errors = np.asarray(given, float)
    if errors.ndim and errors.shape != values.shape:
        raise InputError(f"{name}: its uncertainty has the shape {errors.shape}, its numbers {values.shape}")
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise InputError(f"{name}: an uncertainty of zero or less, or not finite; every number needs a positive one")
    told = f"uncertainty {float(errors):g}, as given" if errors.ndim == 0 else "uncertainty as given, number by number"
    return np.broadcast_to(errors, values.shape).copy(), (told,)


def scatter(
    values: Float64[np.ndarray, "*place colour"],
) -> tuple[Float64[np.ndarray, "*place colour"], tuple[str, ...]]:
    """One standard deviation of each number, √(a + b × light), from differences along the last axis; in words."""
    light = _smooth(values)
    even, slope = _law(values, light, 1)
    wide = _law(values, light, 3)
    typical = float(np.median(light))
    level = max(float(np.quantile(light, 0.9)), typical)
    told = f"{ESTIMATED}: √({even:.3g} + {slope:.3g} × light)"
    notes = [told]
    if wide[0] + wide[1] * level > ALIKE * (even + slope * level):
        notes.append(
            "bins further apart differ by more than neighbours do: the numbers were smoothed, or lines are as narrow "
            "as bins; the estimated uncertainty is too small then"
        )
    return np.sqrt(even + slope * np.maximum(light, 0.0)), tuple(notes)


def _doubt(values: np.ndarray) -> tuple[str, ...]:
    """A note on whole numbers whose neighbours scatter otherwise than photons do; none where that cannot be told."""
    if values.shape[-1] < SMOOTH:
        return ()
    light = _smooth(values)
    level = float(np.quantile(light, 0.95))
    even, slope = _law(values, light, 1)
    ratio = (even + slope * level) / max(level, 1e-300)
    if level < ENOUGH or LIKE_PHOTONS[0] < ratio < LIKE_PHOTONS[1]:
        return ()
    return (
        f"neighbouring bins scatter {ratio:.2g} times as the same number of photons would (variance): are these "
        f'photons? Else take the uncertainty "{FROM_DATA}"',
    )


def _law(values: np.ndarray, light: np.ndarray, lag: int) -> tuple[float, float]:
    """(a, b) ≥ 0 of the variance a + b × light, from second differences of bins `lag` apart."""
    if values.shape[-1] < 2 * lag + 1:
        raise InputError(f"{values.shape[-1]} bins are too few to tell their noise from")
    second = (values[..., 2 * lag :] - 2 * values[..., lag:-lag] + values[..., : -2 * lag]).ravel() ** 2 / 6
    level = light[..., lag:-lag].ravel()
    parts = np.array_split(np.argsort(level, kind="stable"), max(1, min(GROUPS, level.size // SMALLEST_GROUP)))
    middle = np.array([level[part].mean() for part in parts])
    found = np.array([np.median(second[part]) / MEDIAN or second[part].mean() for part in parts])
    floor = max(1e-12 * float(np.abs(values).max()) ** 2, 1e-300)
    found = np.maximum(found, floor)
    slope = 0.0
    for _ in range(10):  # each group's variance has an error in proportion to itself
        weight = 1 / np.maximum(found if not slope else even + slope * np.maximum(middle, 0.0), floor)
        x = np.maximum(middle, 0.0)
        design = np.stack([np.ones_like(x), x], 1) * weight[:, None]
        even, slope = np.linalg.lstsq(design, found * weight, rcond=None)[0]
        if slope <= 0:
            return max(float(np.average(found, weights=weight**2)), floor), 0.0
        if even < 0:
            even = floor
            slope = float((found * x * weight**2).sum() / (x**2 * weight**2).sum())
    return max(float(even), floor), float(slope)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Means over `SMOOTH` neighbouring bins, fewer at the ends."""
    count = values.shape[-1]
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    low = np.maximum(np.arange(count) - SMOOTH // 2, 0)
    high = np.minimum(np.arange(count) + SMOOTH // 2 + 1, count)
    return (total[..., high] - total[..., low]) / (high - low)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
