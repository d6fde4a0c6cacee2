"""The machine a command runs on: which device, which precision, which versions, where compiled code is kept.

Only commands come here. The library itself sets nothing: these settings are global to the process.
"""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from excidiff.solver.solution import InputError

DEVICES = ("auto", "cpu", "gpu")
PACKAGES = (
    "excidiff",
    "jax",
    "jaxlib",
    "numpy",
    "equinox",
    "optimistix",
    "lineax",
    "tifffile",
    "h5netcdf",
    "matplotlib",
    "numpyro",
)


def start(device: str = "auto") -> None:
    """Set JAX up for a command: double precision, the device asked for, compiled programs kept between runs.

    Raises `InputError` for a device that is absent.
    """
    if device not in DEVICES:
        raise InputError(f"--device {device}: no such device; choose one of {', '.join(DEVICES)}")
    import jax

    jax.config.update("jax_enable_x64", True)
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    _keep_compiled_programs()
    if device == "gpu":
        _require_gpu()


def cache_folder() -> Path:
    """Where compiled programs are kept: `EXCIDIFF_CACHE`, else the user's cache folder of the system."""
    if chosen := os.environ.get("EXCIDIFF_CACHE"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "excidiff" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "excidiff"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "excidiff"


def versions() -> dict[str, str]:
    """Python and the packages that numbers depend on, with their versions; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment(seed: int = 0) -> dict[str, Any]:
    """What a result is recorded with beside its settings: system, device, dtype, seed, versions. Starts JAX.

    Of all fits, only intervals that are drawn use random numbers.
    """
    import jax

    device = jax.devices()[0]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": "float64" if jax.config.values["jax_enable_x64"] else "float32",
        "seed": seed,
        "versions": versions(),
    }


def _keep_compiled_programs() -> None:
    """Use the cache when its folder can be written; a fit works without one, it only starts more slowly."""
    import jax

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _require_gpu() -> None:
    import jax

    try:
        found = jax.devices("gpu")
    except RuntimeError:
        found = []
    if not found:
        raise InputError(
            "--device gpu: JAX finds no GPU here; install excidiff[cuda12] or [cuda13] on a computer that has one, "
            "or leave the option out"
        )
    jax.config.update("jax_default_device", found[0])
