"""Structure in residuals: sums over blocks of neighbours, which see a wrong model long before single bins do."""

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.fit.uncertainty import chi2_tail

UNLIKELY = 1e-4  # probability of a structure by chance below which a measurement is flagged


def structure(
    away: Float64[np.ndarray, "..."], law: Float64[np.ndarray, "..."], blocks: tuple[int, ...], fitted: int
) -> float:
    """The probability of sums of `away` = y − µ over blocks, so many along each axis, that differ this much.

    `law`: the variances, zero where a pixel is not used. As many numbers as were `fitted` are taken off the degrees of
    freedom, since blocks see most of what they follow.
    """
    for axis, count in enumerate(blocks):
        starts = np.unique(np.linspace(0, away.shape[axis], count + 1)[:-1].astype(int))
        away, law = np.add.reduceat(away, starts, axis), np.add.reduceat(law, starts, axis)
    good = law > 0
    freedom = max(int(good.sum()) - fitted, 1)
    return chi2_tail(float((away[good] ** 2 / law[good]).sum()), freedom)
