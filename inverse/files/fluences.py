"""One film under pulses of several powers: `FluenceSeries`, images and decays with the density that each pulse adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.files.decays import Decay
from excidiff.solver.solution import InputError

SAME = 1e-6  # relative difference below which two densities are those of one pulse
EMISSIONS = ("linear", "quadratic")
SCALES = ("shared", "kind", "free")
Density = float | tuple[float, float]
"""Excitons per µm² at the centre of the spot just after the pulse; or that and its standard error."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """What was measured of pulses of one density: (value, standard error) in 1/µm², an image, a decay, or both."""

    density: float
    error: float
    image: Image | None = None
    decay: Decay | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class FluenceSeries:
    """Images and decays of one film after pulses of several powers: single ones, or of a laser that repeats.

    image_densities, decay_densities: of each, excitons per µm² that a pulse adds at the centre of the spot, or
    (value, standard error). An image and a decay of the same density are of the same pulse; their error is one.
    Decays with a period have light of earlier pulses in them, as have all images, then.
    exposure: ns after each pulse, up to which images integrate; None: to the end, or to the next pulse. scale: of
    photons per exciton, "shared", one for all; "kind", one for all images and one for all decays, as camera and counter
    see unlike parts; or "free", each its own.
    emission: "linear", light ∝ n, as excitons give, or "quadratic", ∝ n², as electrons and holes that meet.
    uniform: the light falls evenly on all of the film, as far as the detector sees; then only decays can be given.
    Each measurement has its own noise: photons that of camera or counter, what brings its uncertainty a Gaussian one.

    Raises InputError for densities that are missing, unlike kinds of images, and decays of unlike lasers.
    """

    images: Sequence[Image] = ()
    image_densities: Sequence[Density] = ()
    decays: Sequence[Decay] = ()
    decay_densities: Sequence[Density] = ()
    exposure: float | None = None
    scale: str = "kind"
    emission: str = "linear"
    uniform: bool = False

    def __post_init__(self) -> None:
        for what in ("image", "decay"):
            data, densities = getattr(self, f"{what}s"), getattr(self, f"{what}_densities")
            if len(data) != len(densities):
                raise InputError(f"{len(data)} {what}s with {len(densities)} peak densities; each needs its own")
        if not self.images and not self.decays:
            raise InputError("a fluence series needs images or decays")
        if self.scale not in SCALES:
            raise InputError(f"scale = {self.scale!r}; choose one of {', '.join(SCALES)}")
        if self.emission not in EMISSIONS:
            raise InputError(f"emission = {self.emission!r}; choose one of {', '.join(EMISSIONS)}")
        if self.exposure is not None and not 0 < self.exposure < np.inf:
            raise InputError(f"exposure = {self.exposure!r}; give a positive time in ns")
        if self.uniform and self.images:
            raise InputError(
                "uniform light and images: an image of a film under even light shows no spot; leave it out"
            )
        for image in self.images:
            _ = image.spacing
            check_same_pixels(image, self.images[0])
            if image.shape != self.images[0].shape:
                raise InputError(
                    f"{image.name}: its shape is not that of {self.images[0].name}; cut both to one region"
                )
        for decay in self.decays:
            if decay.irf is None and decay.edges[0] < -1e-9:
                raise InputError(
                    f"{decay.file}: it starts {-decay.edges[0]:.4g} ns before the pulse at 0, and without a response "
                    "its pulse is not looked for: give irf_fwhm, with which the shift is fitted, or cut it at the pulse"
                )
        self._check_period()
        _ = self.shots

    @property
    def period(self) -> float | None:
        """Of the laser, ns; None: single pulses."""
        return self.decays[0].period if self.decays else None

    def _check_period(self) -> None:
        for decay in self.decays:
            told = [one.period or np.inf for one in (decay, self.decays[0])]
            if told[0] != told[1] and not abs(told[0] / told[1] - 1) < SAME:
                both = " and ".join("no period" if one == np.inf else f"a period of {one:g} ns" for one in told)
                raise InputError(
                    f"{decay.file} and {self.decays[0].file} have {both}: a series is of one laser; fit the two apart"
                )
        if self.period is not None and self.exposure is not None and self.exposure > self.period * (1 + SAME):
            raise InputError(
                f"exposure = {self.exposure:g} ns is longer than the laser's period of {self.period:g} ns: it is what "
                "images see after each pulse; leave it out if they see all light"
            )

    @property
    def shots(self) -> tuple[Shot, ...]:
        """All pulses by rising density."""
        found: list[dict[str, Any]] = []
        for what in ("image", "decay"):
            for data, density in zip(getattr(self, f"{what}s"), getattr(self, f"{what}_densities"), strict=True):
                value, error = _checked(density, data.name if what == "image" else data.file)
                mate = next((one for one in found if what not in one and abs(one["density"] / value - 1) < SAME), None)
                if mate is None:
                    found.append({"density": value, "error": error, what: data})
                else:
                    mate[what] = data
                    mate["error"] = max(mate["error"], error)
        return tuple(Shot(**one) for one in sorted(found, key=lambda one: one["density"]))


def _checked(density: Density, name: str) -> tuple[float, float]:
    value, error = density if isinstance(density, tuple | list) else (density, 0.0)
    if not (np.isfinite(value) and value > 0 and np.isfinite(error) and 0 <= error < value):
        raise InputError(f"{name}: peak density {density!r}; give excitons per µm², or (value, standard error)")
    return float(value), float(error)
