"""Settings that every test shares: double precision, strict broadcasting, and where the measured data lie."""

import os
from pathlib import Path

import jax
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
def data() -> Path:
    """Folder of the measured and simulated data: EXCIDIFF_DATA, by default ../shared/data."""
    folder = Path(os.environ.get("EXCIDIFF_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; set EXCIDIFF_DATA to run this test")
    return folder
