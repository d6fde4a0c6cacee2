"""The parameters of a fit by name: units, what is positive, what is fixed, bounded or already known.

The fit works with natural numbers of its own: the logarithm of what is positive (a free fit of L returns −L as happily
as L), the plain value of centre and background. People see house units: µm, ns, µm²/ns, photons.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from jaxtyping import Float64

from excidiff.solver.solution import InputError

STEADY = ("diffusion_length", "width", "centre_x", "centre_y", "amplitude", "background")
GATED = ("diffusivity", "lifetime", "width", "centre_x", "centre_y", "amplitude", "background")
LANDSCAPE = ("diffusion_length", "width", "psf_width", "centre_x", "centre_y", "amplitude", "background")
LASER = ("width", "centre_x", "centre_y", "amplitude", "background")

UNITS = {
    "diffusion_length": "um",
    "deconvolved_length": "um",
    "diffusivity": "um^2/ns",
    "lifetime": "ns",
    "width": "um",
    "psf_width": "um",
    "collection_width": "um",
    "magnification": "",
    "laser_fwhm": "um",
    "laser_image_fwhm": "um",
    "psf_fwhm": "um",
    "centre_x": "um",
    "centre_y": "um",
    "amplitude": "photons",
    "background": "photons/pixel",
    "photons": "photons",
    "shift": "ns",
    "scatter": "photons",
    "attempts": "",
    "disorder": "meV",
    "relaxation": "1/ns",
    "linewidth": "meV",
    "lorentzian": "meV",
    "outcoupling": "1/um",
    "guiding_loss": "1/um",
    "band_centre": "meV",
    "trap_band_centre": "meV",
    "trap_band_width": "meV",
    "trap_band_share": "",
    "trap_brightness": "",
    "annihilation": "um^2/ns",
    "trapping_rate": "1/ns",
    "trap_density": "1/um^2",
    "capture": "um^2/ns",
    "release": "1/ns",
    "trap_lifetime": "ns",
    "peak_density": "1/um^2",
    "scale": "photons/ns",
    "image_scale": "photons/ns",
    "frames_scale": "photons/ns",
    "spectra_scale": "photons um^2/ns",
    "raster_scale": "photons/ns",
    "raster_near_scale": "photons/ns",
    "decay_scale": "photons/ns",
    "image_background": "photons/pixel",
    "frames_background": "photons/pixel",
    "frames_centre_x": "um",
    "frames_centre_y": "um",
    "spectra_background": "photons/bin",
    "spectra_centre_x": "um",
    "spectra_centre_y": "um",
    "decay_background": "photons/bin",
}
POSITIVE = frozenset({"diffusion_length", "diffusivity", "lifetime", "width", "psf_width", "collection_width",
                      "magnification", "amplitude", "photons",
                      "attempts", "disorder", "relaxation", "linewidth", "lorentzian", "outcoupling",
                      "guiding_loss", "trap_band_width", "annihilation",
                      "trapping_rate", "trap_density", "capture", "release", "trap_lifetime", "peak_density", "scale",
                      "image_scale", "frames_scale", "spectra_scale", "raster_scale",
                      "raster_near_scale", "decay_scale"})  # fmt: skip
LARGEST = 700.0  # whose exponential is still a number
OPTICAL = ("width", "psf_width", "collection_width", "magnification")
"""What the optics tell, never the person by these names."""


@dataclass(frozen=True)
class Constraints:
    """What the person says of the parameters, in house units.

    fixed: name → value. bounds: name → (lower, upper), either None. tied: names of centre coordinates that
    the laser image shares with the others. starts: name → value from which a fit searches as well, beside where it
    does by itself; the better of both is kept. priors: name → (value, standard error), measured otherwise and weighed
    with the data. Raises InputError for unknown names and impossible values.
    """

    fixed: Mapping[str, float]
    bounds: Mapping[str, tuple[float | None, float | None]]
    tied: tuple[str, ...] = ()
    starts: Mapping[str, float] = field(default_factory=dict)
    priors: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse names that are not among `names`, values that cannot be, and the same parameter constrained twice."""
        known = tuple(name for name in names if name not in OPTICAL)
        for name in (*self.fixed, *self.bounds, *self.tied, *self.starts, *self.priors):
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"unknown parameter {name!r}{hint or '.'} This fit has {', '.join(known)}")
        for name, value in self.fixed.items():
            _check_value(name, value, "fixed")
            if name in self.bounds:
                raise InputError(f"{name} is both fixed and bounded; choose one")
        for name, value in self.starts.items():
            _check_value(name, value, "started")
        for name, (value, stderr) in self.priors.items():
            _check_value(name, value, "prior")
            if not (np.isfinite(stderr) and stderr > 0):
                raise InputError(f"prior {name} = {value:g} ± {stderr:g}: give a positive error, or fix it")
        for what, name in (*(("a start", name) for name in self.starts), *(("a prior", name) for name in self.priors)):
            if name in self.fixed or name in self.tied:
                held = "fixed" if name in self.fixed else "tied"
                raise InputError(f"{name} has {what}, but is {held}; choose one")
        for name, (low, high) in self.bounds.items():
            low, high = _open(low, -np.inf), _open(high, np.inf)
            if np.isnan(low) or np.isnan(high) or not low < high:
                raise InputError(f"bounds of {name} = ({low:g}, {high:g}): the lower must be less than the upper")
            if name in POSITIVE and high <= 0:
                raise InputError(f"bounds of {name} = ({low:g}, {high:g}): it is positive, and so must be the upper")
        for name in self.tied:
            if name not in ("centre_x", "centre_y"):
                raise InputError(f"tied = {name!r}: only centre_x and centre_y can be tied to the laser image")
            if name in self.fixed:
                raise InputError(f"{name} is both fixed and tied to the laser image; choose one")

    def seen_from(self, place: tuple[float, float]) -> "Constraints":
        """The same with centres that count from `place` (x, y), µm."""
        shift: dict[str, float] = {"centre_x": place[0], "centre_y": place[1]}
        fixed = {name: value - shift.get(name, 0.0) for name, value in self.fixed.items()}

        def moved(name: str, end: float | None) -> float | None:
            return None if end is None else end - shift.get(name, 0.0)

        bounds = {name: (moved(name, low), moved(name, high)) for name, (low, high) in self.bounds.items()}
        starts = {name: value - shift.get(name, 0.0) for name, value in self.starts.items()}
        priors = {name: (value - shift.get(name, 0.0), stderr) for name, (value, stderr) in self.priors.items()}
        return replace(self, fixed=fixed, bounds=bounds, starts=starts, priors=priors)

    def without(self, names: Collection[str]) -> "Constraints":
        """The same, but nothing of `names`."""

        def kept(said: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in said.items() if name not in names}

        maps = {what: kept(getattr(self, what)) for what in ("fixed", "bounds", "starts", "priors")}
        return replace(self, **maps)

    def weighed(
        self, names: tuple[str, ...], centre: Float64[np.ndarray, " P"], precision: Float64[np.ndarray, "P P"]
    ) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, "P P"]]:
        """(θ₀, Λ) of what is known beforehand, with the priors in it: of what is positive, log-normal ones."""
        centre, precision = centre.copy(), precision.copy()
        for name, (value, stderr) in self.priors.items():
            index = names.index(name)
            relative = stderr / value if kind(name) in POSITIVE else stderr
            centre[index], precision[index, index] = inner(name, value), relative**-2.0
        return centre, precision

    def starting(self, names: tuple[str, ...], start: Float64[np.ndarray, " P"]) -> list[Float64[np.ndarray, " P"]]:
        """`start`, and the same with the person's own values in it, where there are any."""
        own = {name: inner(name, value) for name, value in self.starts.items() if name in names}
        also = np.array([own.get(name, at) for name, at in zip(names, start, strict=True)])
        return [start, also] if own else [start]

    def apply(
        self, names: tuple[str, ...], lower: Float64[np.ndarray, " P"], upper: Float64[np.ndarray, " P"]
    ) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
        """Narrow natural limits by the person's bounds; returns (lower, upper) as the fit's own numbers."""
        lower, upper = lower.copy(), upper.copy()
        for name, (low, high) in self.bounds.items():
            index = names.index(name)
            natural = lower[index], upper[index]
            if low is not None and (low > 0 or name not in POSITIVE):
                lower[index] = max(lower[index], inner(name, low))
            if high is not None:
                upper[index] = min(upper[index], inner(name, high))
            if lower[index] > upper[index]:
                ends = " to ".join(f"{outer(name, float(end)):.3g}" for end in natural)
                raise InputError(f"bounds of {name} = ({low}, {high}): this image can tell {ends} {UNITS[name]} only")
        return lower, upper


def kind(name: str) -> str:
    """What a parameter is: "lifetime_2" is a lifetime."""
    return name.rstrip("0123456789").rstrip("_")


def inner(name: str, value: float) -> float:
    """A house value as the fit's own number: log for what is positive."""
    return float(np.log(value)) if kind(name) in POSITIVE else float(value)


def outer(name: str, value: float) -> float:
    """The fit's own number as a house value."""
    return float(np.exp(min(value, LARGEST))) if kind(name) in POSITIVE else float(value)


def scale(name: str, value: float) -> float:
    """d(house value)/d(own number) at the own number `value`: turns a standard error of one into one of the other."""
    return float(np.exp(value)) if kind(name) in POSITIVE else 1.0


def _check_value(name: str, value: float, how: str) -> None:
    good = np.isfinite(value) and (value > 0 or name not in POSITIVE)
    if not good:
        wanted = "a positive finite number" if name in POSITIVE else "a finite number"
        raise InputError(f"{how} {name} = {value!r}; give {wanted} in {UNITS[name]}")


def _open(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else float(bound)
