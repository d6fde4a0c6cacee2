"""Settings that every test shares: double precision, strict broadcasting, and where the measured data lie."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="module")
def programs(request: pytest.FixtureRequest):
    """Most tests run small programs once, and compiling them costs most: it is kept short, except in modules that say
    OPTIMISED = True. What one module compiled the next has no use for, and a process may map only so much code."""
    jax.config.update("jax_disable_most_optimizations", not getattr(request.module, "OPTIMISED", False))
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def check_slopes() -> Callable[..., None]:
    """Hold a model's slopes, (expected, slopes) of parameters, against central differences: 1e-6 of each slope's
    largest, that of the step squared (1e-8 of what changes within a unit) and of rounding over the step (1e-12)."""

    def check(model: Callable[..., Any], start: np.ndarray, names: Sequence[str], step: float = 1e-4) -> None:
        slopes = np.asarray(model(start)[1]).reshape(len(start), -1)
        for index, name in enumerate(names):
            along = step * np.eye(len(start))[index]
            ends = [np.asarray(model(start + by * along)[0]).ravel() for by in (1, -1)]
            difference = (ends[0] - ends[1]) / (2 * step)
            assert np.abs(slopes[index] - difference).max() < 1e-6 * max(np.abs(difference).max(), 1e-6), name

    return check


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the measured and simulated data: EXCIDIFF_DATA, by default ../shared/data."""
    folder = Path(os.environ.get("EXCIDIFF_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set EXCIDIFF_DATA to run this test")
    return folder
