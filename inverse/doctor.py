"""Does this installation work? Versions, devices, precision, cache, and two small problems with known answers."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from excidiff.inverse.experiment import Experiment
from excidiff.inverse.files.data import Image
from excidiff.inverse.machine import cache_folder, versions

LASER, LENGTH, PIXEL = 0.3, 0.4, 0.05  # µm: spot FWHM, diffusion length and pixel of the small problems


@dataclass(frozen=True)
class Check:
    """One finding: its name, whether all is well (None: for information), and the detail in words."""

    name: str
    well: bool | None
    detail: str


def examine() -> Iterator[Check]:
    """Every check in turn, so that the first can be shown while the last still runs."""
    yield Check("versions", None, ", ".join(f"{name} {number}" for name, number in versions().items()))
    for name, check in (("devices", _devices), ("precision", _precision), ("cache", _cache),
                        ("solver", _solver), ("fit", _fit)):  # fmt: skip
        yield _guarded(name, check)


def _guarded(name: str, check: Callable[[], tuple[bool | None, str]]) -> Check:
    """A check that breaks is a finding, not a crash: that is what a doctor is for."""
    try:
        return Check(name, *check())
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _devices() -> tuple[bool | None, str]:
    import jax

    return True, ", ".join(f"{device.platform}: {device.device_kind}" for device in jax.devices())


def _precision() -> tuple[bool | None, str]:
    import jax

    wide = bool(jax.config.values["jax_enable_x64"])
    return wide, "float64" if wide else "float32: commands need float64, see jax_enable_x64"


def _cache() -> tuple[bool | None, str]:
    folder = cache_folder()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(nearest, os.W_OK):
        return None, f"{folder} cannot be written: every command compiles anew; set EXCIDIFF_CACHE to another folder"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    return True, f"{folder} ({size / 1e6:.1f} MB of compiled programs)"


def _solver() -> tuple[bool | None, str]:
    """Moments of a steady state, exact on any grid: ⟨x²⟩ = ⟨x²⟩ of the source + 2 L², in a wide enough box."""
    import jax.numpy as jnp

    from excidiff.solver import Grid, Medium, gaussian_spot, steady_state

    grid = Grid(shape=(192, 192), spacing=0.1)
    source = gaussian_spot(grid, fwhm=LASER)
    density = steady_state(Medium(diffusivity=LENGTH**2, lifetime=1.0), source, grid).density
    second = [float(jnp.sum(jnp.sum(field, axis=0) * grid.x**2) / jnp.sum(field)) for field in (source, density)]
    error = abs(second[1] - second[0] - 2 * LENGTH**2) / (2 * LENGTH**2)
    return error < 1e-6, f"second moment of a steady state off by {error:.1e}"


def _fit() -> tuple[bool | None, str]:
    """Fit the exact image of a uniform film, computed here by another road than the fit's."""
    counts = 1e5 * _exact_image(64) + 1.0
    result = Experiment(images=[Image(counts, pixel_size=PIXEL)], laser_fwhm=LASER).fit()
    found = result.parameters["diffusion_length"].value
    error = math.inf if found is None else abs(found / LENGTH - 1.0)
    return error < 1e-4, f"diffusion length of an exact image off by {error:.1e}"


def _exact_image(count: int) -> np.ndarray:
    """∫₀^∞ e^{−u} (pixel-integrated Gaussian of variance s² + 2L²u) du by the trapezoidal rule in w.

    The substitution u = e^{w − e^{−w}} makes the trapezoidal rule converge double-exponentially.
    """
    w = np.arange(-4.5, 4.2, 0.05)
    u = np.exp(w - np.exp(-w))
    weights = 0.05 * u * (1.0 + np.exp(-w)) * np.exp(-u)
    edges = (np.arange(count + 1) - 0.5 * count) * PIXEL
    variance = (LASER / math.sqrt(8.0 * math.log(2.0))) ** 2 + 2.0 * LENGTH**2 * u
    scaled = edges[None, :] / np.sqrt(2.0 * variance[:, None])
    strips = 0.5 * np.diff(np.vectorize(math.erf)(scaled), axis=1)
    return np.einsum("q,qy,qx->yx", weights, strips, strips)
