"""Which pixels of a camera image are saturated, whether the light's peak is among them, and what was lost at zero.

A converter of k bits cannot count beyond 2^k − 1: everything brighter is written as that same number. Saturation
therefore shows as pixels at the full scale of their integer type, or as a plateau: far more pixels sharing exactly the
maximum than the levels just below it hold. At the other end, a converter cannot count below zero: where the offset is
too small for the read noise, dark pixels are cut off there and come out too bright.
"""

from math import erfc, sqrt

import numpy as np
from jaxtyping import Bool

CEILINGS = tuple(2**bits - 1 for bits in (8, 10, 11, 12, 13, 14, 15, 16))
LOWEST = 40  # counts below which pixels share the maximum by chance
CROWDED = 9  # pixels at the very same maximum which make a plateau at a value that is no converter's ceiling


def saturated_pixels(
    counts: np.ndarray, used: Bool[np.ndarray, "y x"], level: float | None
) -> tuple[Bool[np.ndarray, "y x"], float | None]:
    """Return the saturated pixels among the `used` ones and the level they were found at (counts; None: none found).

    `level` is the camera's saturation where it is known: pixels at or above it are saturated, and `inf` says that
    none is. With None the level is looked for: the full scale of an integer dtype, or a plateau at the maximum. A
    plateau holds three times as many pixels per level as the 5 % of levels below it, and 3 more; away from the
    ceilings 2^k − 1 at least 9 pixels of whole counts. The counts of photons do not pile up so.
    """
    if level is not None:
        return used & (counts >= level), (level if np.isfinite(level) else None)
    values = counts[used]
    if not values.size:
        return np.zeros_like(used), None
    top = values.max()
    if not _piled_up(values, top, counts.dtype):
        return np.zeros_like(used), None
    return used & (counts >= top), float(top)


def _piled_up(values: np.ndarray, top: float, dtype: np.dtype) -> bool:
    if np.issubdtype(dtype, np.integer) and top == np.iinfo(dtype).max:
        return True
    if top < LOWEST or top != np.floor(top):
        return False
    levels = max(0.05 * top, 3.0)
    at_top = np.count_nonzero(values == top)
    below = np.count_nonzero((values >= top - levels) & (values < top)) / levels
    enough = 3 if top in CEILINGS else CROWDED
    if at_top < enough or at_top < 3 + 3 * below:
        return False
    return top in CEILINGS or bool(np.all(values == np.floor(values)))


def at_peak(
    counts: np.ndarray, saturated: Bool[np.ndarray, "y x"], used: Bool[np.ndarray, "y x"]
) -> Bool[np.ndarray, "y x"]:
    """Return the saturated pixels that lie on the light's peak; the others are hot pixels or lie away from it.

    The peak is where the image, smoothed by a median over 3 × 3 pixels (which forgets isolated hot pixels), reaches
    80 % of its maximum above its median.
    """
    seen = np.where(used, counts, np.median(counts[used])).astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(seen, 1, mode="edge"), (3, 3))
    smooth = np.median(windows.reshape(*seen.shape, 9), axis=-1)
    floor = np.median(smooth)
    if smooth.max() <= floor:  # nothing but isolated pixels
        return np.zeros_like(saturated)
    return saturated & (smooth - floor >= 0.8 * (smooth.max() - floor))


def cut_off_share(counts: np.ndarray, used: Bool[np.ndarray, "y x"], offset: float, noise: float) -> float:
    """Return the estimated share of the `used` pixels whose reading fell below zero and was written as 0.

    A dark pixel reads round(offset + noise z), z normal, all in counts. Of the pixels at 0 the share
    P(below 0)/P(0 or below) of the dark was cut off, and never more than P(below 0) of all. Counts below zero show that
    nothing was.
    """
    values = counts[used]
    if noise <= 0 or not values.size or values.min() != 0:
        return 0.0
    below, not_above = (0.5 * erfc((offset + half) / (noise * sqrt(2))) for half in (0.5, -0.5))
    return min(below, float(np.mean(values == 0)) * below / max(not_above, 1e-300))
