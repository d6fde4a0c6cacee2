"""Many values of all parameters, drawn as they could be: replicates of a bootstrap, or a posterior's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

Progress = Callable[[int, int], None]
"""(done, in all)."""


@dataclass(frozen=True, eq=False)
class Draws:
    """`values` (draws, parameters) in the fit's own numbers; `made`: how, and how well, ready for JSON.

    made: method, draws, seed; of a bootstrap failed; of a posterior chains, warmup, divergences, r_hat, the largest
    of all parameters, effective_draws, the fewest.
    """

    values: Float64[np.ndarray, "N P"]
    made: dict[str, Any]
