"""An experiment: images of a film, what is known of its optics, and the fit that turns both into a diffusion length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np

from excidiff.inverse import verdicts as say
from excidiff.inverse.batch import (
    Batch,
    Progress,
    failed,
    mean_deconvolved,
    mean_length,
    measure_all,
    overall_goodness,
    scatter_of,
)
from excidiff.inverse.derived import diffusivity_estimate, laser_measurement, lifetime_estimate, width_estimate
from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.files.readers import Map
from excidiff.inverse.fit.film import ON_LANDSCAPE, UNIFORM, landscape_optics
from excidiff.inverse.fit.landscape import Landscape, landscape_of
from excidiff.inverse.fit.optics import Given, Optics, noise_of, resolve_optics
from excidiff.inverse.fit.parameters import GATED, STEADY, Constraints
from excidiff.inverse.measure import measure
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.solver.solution import InputError

LENGTH_AND_PARTS = ("diffusion_length", "diffusivity", "lifetime")
Number = float | tuple[float, float]
"""A value in house units, or (value, standard error)."""

METHODS = (
    "Each image was fitted with {model}, by the maximum of the {noise} likelihood (Fisher "
    "scoring). {optics} Errors are from the expected information at the optimum, with the error of the spot's width "
    "included; 95 % intervals {interval}. The deviance is held against its exact expectation under the noise law. The "
    "deconvolved length is that of a Gaussian fitted by least squares, less the width of the laser's spot in squares."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """Images of a photoluminescence spot on a uniform film, and what is known of laser and optics.

    images: steady images, each fitted on its own; with `gates`, the frames of one movie, fitted together.
    laser: an image of the laser through the same optics; or laser_fwhm: its FWHM at the sample (µm).
    psf: an image of a point, or psf_fwhm (µm), both at the colour of the emission.
    laser_wavelength, emission_wavelength: µm; the PSF of the laser is narrower by their ratio.
    landscape: the energy U in meV of a film that is not flat, a map from `read_map` or an array of the image's shape,
    centred on the image; temperature: K (295 if not given). It needs the laser's width at the sample: laser_fwhm, or
    a laser image and the PSF.
    lifetime: ns, gives D = L²/τ. gates: (t0, t1) of each frame in ns after the pulse, or the frames' common edges.
    noise: "poisson", or "gaussian" for data with an uncertainty or of another nature than counts.
    fixed, bounds: by parameter name, in house units; tied: centre_x, centre_y to be shared with the laser image.
    background: "fit", or photons per pixel that are known. interval: "fisher", or "profile" for the diffusion length.
    unreadable: (place, file, reason) of images that could not be read, to be listed with the others in that place.

    laser_fwhm, psf_fwhm and lifetime may be (value, standard error): the error is carried into the results.
    Raises InputError, before any computing, for what contradicts itself or is missing.
    """

    images: Sequence[Image]
    laser: Image | None = None
    laser_fwhm: Number | None = None
    psf: Image | None = None
    psf_fwhm: Number | None = None
    laser_wavelength: float | None = None
    emission_wavelength: float | None = None
    lifetime: Number | None = None
    landscape: Map | np.ndarray | None = None
    temperature: float | None = None
    gates: Any = None
    noise: Literal["poisson", "gaussian"] = "poisson"
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    background: Literal["fit"] | float = "fit"
    interval: Literal["fisher", "profile"] = "fisher"
    unreadable: Sequence[tuple[int, str, str]] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("no images to fit: give at least one image of the photoluminescence spot")
        if (self.laser is None) == (self.laser_fwhm is None):
            raise InputError("give the laser either as an image (laser=) or by its FWHM at the sample (laser_fwhm=)")
        if self.psf is not None and self.psf_fwhm is not None:
            raise InputError("give the PSF either as an image (psf=) or by its FWHM (psf_fwhm=), not both")
        if (self.laser_wavelength is None) != (self.emission_wavelength is None):
            raise InputError("give both wavelengths, of laser and emission, or neither: only their ratio is used")
        for name, allowed in (("noise", ("poisson", "gaussian")), ("interval", ("fisher", "profile"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} = {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        for image in self._all_images():
            _ = image.spacing
            check_same_pixels(image, self.images[0])
        for name in ("laser_fwhm", "psf_fwhm", "lifetime", "laser_wavelength", "emission_wavelength"):
            if name.endswith("wavelength") and isinstance(getattr(self, name), tuple | list):
                raise InputError(f"{name} = {getattr(self, name)!r}; give one number in µm, without an error")
            _given(getattr(self, name), name)
        if len({image.uncertainty is None for image in self.images}) > 1:
            raise InputError("some images carry an uncertainty and others do not: fit the two kinds apart")
        if self.gates is not None and isinstance(self.lifetime, tuple | list) and self.lifetime[1]:
            raise InputError("a lifetime with an error cannot be given beside gates: give it without, or leave it out")
        if self.tied and self.laser is None:
            raise InputError(f"tied = {self.tied}: a centre can only be tied to the laser image, and none was given")
        if (
            self.tied
            and self.laser is not None
            and any((image.shape, image.offset) != (self.laser.shape, self.laser.offset) for image in self.images)
        ):
            raise InputError(
                f"tied = {self.tied}: images and laser image must show the same field; their shapes differ"
            )
        self.constraints.check(STEADY if self.gates is None else GATED)
        _gates(self.gates, self.images)
        _ = self.film

    @property
    def film(self) -> Landscape | None:
        """The landscape and its temperature, checked against the rest; None for a uniform film."""
        apart = self.laser is None or self.psf is not None or self.psf_fwhm is not None
        return landscape_of(self.landscape, self.temperature, self.images, steady=self.gates is None, apart=apart)

    @property
    def constraints(self) -> Constraints:
        """Fixed, bounded and tied parameters, a known background among the fixed ones."""
        fixed = dict(self.fixed)
        if self.background != "fit":
            fixed["background"] = float(self.background)
        given = _given(self.lifetime, "lifetime")
        if self.gates is not None and given is not None:
            fixed.setdefault("lifetime", given.value)
        return Constraints(fixed, dict(self.bounds), tuple(self.tied))

    def fit(self, progress: Progress | None = None) -> FitResult:
        """Fit everything in double precision, whatever JAX is set to; `progress(done, all, name)` is called per image.

        A bad image among several is flagged or failed and the others fitted; where all of several fail, the result has
        status "failed" and no parameters. A single image that cannot be fitted raises InputError or SolverError.
        """
        with jax.enable_x64(True):
            return self._fit(progress)

    def _fit(self, progress: Progress | None) -> FitResult:
        noise = noise_of(self.images[0], self.noise)
        ratio = 1.0
        if self.laser_wavelength is not None and self.emission_wavelength is not None:
            ratio = self.laser_wavelength / self.emission_wavelength
        optics = resolve_optics(
            self.laser,
            _given(self.laser_fwhm, "laser_fwhm"),
            self.psf,
            _given(self.psf_fwhm, "psf_fwhm"),
            wavelength_ratio=ratio,
            noise=self.noise,
            tied=tuple(self.tied),
        )
        if self.film is not None:
            optics = landscape_optics(optics)
        if self.gates is None:
            batch = measure_all(
                self.images,
                optics,
                self.constraints,
                noise=noise,
                interval=self.interval,
                landscape=self.film,
                progress=progress,
            )
        else:
            gates = _gates(self.gates, self.images)
            found = measure(self.images, optics, self.constraints, noise=noise, interval=self.interval, gates=gates)
            batch = Batch((found.measurement,), (found,), (found,))
        return self._result(batch, optics, noise)

    def _result(self, batch: Batch, optics: Optics, noise: str) -> FitResult:
        measurements = list(batch.measurements)
        for place, name, reason in sorted(self.unreadable):
            measurements.insert(place, failed(name, reason))
        settings = self.settings()
        laser = None if optics.laser is None else laser_measurement(optics.laser)
        if not batch.measured:
            reasons = tuple(say.on_images(measurements, 0))
            return FitResult("failed", self._model(), reasons, optics.warnings, measurements=tuple(measurements),
                             laser=laser, settings=settings, methods=self._methods(noise, limited=False))  # fmt: skip
        length, chi2 = mean_length(batch, optics)
        deconvolved = mean_deconvolved(batch, optics.width)
        lifetime = _given(self.lifetime, "lifetime")
        parameters = self._parameters(batch, length, deconvolved, lifetime, optics)
        spoken = [
            *say.on_images(measurements, len(batch.averaged)),
            *(say.on_identifiability(length, lifetime) if self.gates is None else say.on_gates(parameters)),
            *say.on_deconvolution(length, deconvolved, uniform=self.film is None),
            *say.on_optics(batch.averaged[0], optics),
            *say.on_limits(batch.measured, batch.averaged),
            *say.on_scatter(batch.averaged, chi2, length.value),
            *say.on_spot(batch.averaged, optics),
            *say.on_noise(batch.measured),
            *say.on_blind(batch.measured),
        ]
        notes = dict.fromkeys((*optics.warnings, *(note for m in batch.measured for note in m.notes)))
        notes |= dict.fromkeys(say.on_stacks(self.images, chi2) if self.gates is None else ())
        whole = all(entry.status == "fitted" for entry in measurements)
        return FitResult(
            status="converged" if whole else "partial",
            model=self._model(),
            verdicts=tuple(spoken),
            warnings=tuple(notes),
            parameters=parameters,
            measurements=tuple(measurements),
            scatter=scatter_of(batch.averaged),
            goodness=overall_goodness(batch.averaged),
            laser=laser,
            settings=settings,
            methods=self._methods(noise, limited=any(parameters[name].at_bound for name in LENGTH_AND_PARTS)),
        )

    def _parameters(self, batch, length, deconvolved, lifetime, optics) -> dict[str, Estimate]:
        found = {"diffusion_length": length}
        first = batch.averaged[0].measurement.parameters
        if self.gates is not None:
            found |= {name: first[name] for name in ("diffusivity", "lifetime")}
        else:
            found |= {"diffusivity": diffusivity_estimate(length, lifetime), "lifetime": lifetime_estimate(lifetime)}
        found["deconvolved_length"] = deconvolved
        seen = "laser_image_fwhm" if optics.laser is not None and optics.psf is None else "laser_fwhm"
        found[seen] = width_estimate(optics.source, "fitted" if optics.laser else "given")
        if optics.psf is not None:
            found["psf_fwhm"] = width_estimate(optics.psf, "fitted" if optics.psf_image else "given")
        if len(batch.measurements) == 1:
            found |= {name: first[name] for name in ("centre_x", "centre_y", "amplitude", "background")}
        return found

    def settings(self) -> dict[str, Any]:
        """Everything that was asked for, as plain values."""
        plain = {name: getattr(self, name) for name in ("laser_fwhm", "psf_fwhm", "laser_wavelength",
                 "emission_wavelength", "lifetime", "noise", "background", "interval")}  # fmt: skip
        return {
            "images": [image.name for image in self.images],
            "laser": None if self.laser is None else self.laser.name,
            "psf": None if self.psf is None else self.psf.name,
            **plain,
            **({} if self.film is None else {"landscape": self.film.file, "temperature": self.film.temperature}),
            "gates": None if self.gates is None else np.asarray(_gates(self.gates, self.images)).tolist(),
            "fixed": dict(self.fixed),
            "bounds": {name: list(pair) for name, pair in self.bounds.items()},
            "tied": list(self.tied),
            "pixel_size": list(self.images[0].spacing),
            "pixel_size_origin": self.images[0].pixel_size_origin,
            "camera": {name: getattr(self.images[0].camera, name) for name in ("gain", "offset", "read_noise",
                       "excess_noise", "gain_known")},
        }  # fmt: skip

    def _all_images(self) -> list[Image]:
        return [*self.images, *(image for image in (self.laser, self.psf) if image is not None)]

    def _model(self) -> str:
        timing = "steady state, continuous excitation" if self.gates is None else "gates after a pulse"
        film = "uniform film" if self.landscape is None else "film with an energy landscape"
        return f"{film}, linear, {timing}, Gaussian spot"

    def _methods(self, noise: str, *, limited: bool) -> str:
        optics = (
            "The laser is a Gaussian of given width."
            if self.laser is None
            else "The laser image was fitted with a Gaussian and a background; its width's likelihood multiplies in."
        )
        interval = "are symmetric in log L"
        if limited:
            interval = "are one-sided where a limit is given, from the profile likelihood, others symmetric in log L"
        elif self.interval == "profile" and self.gates is None:
            interval = "of each image's diffusion length are from its profile likelihood, others symmetric in log L"
        model = UNIFORM if self.landscape is None else ON_LANDSCAPE
        return METHODS.format(
            model=model, noise="Poisson" if noise == "poisson" else "Gaussian", optics=optics, interval=interval
        )


def _given(number: Number | None, name: str) -> Given | None:
    """A number, or (value, standard error), checked: positive and finite."""
    if number is None:
        return None
    value, stderr = number if isinstance(number, tuple | list) else (number, 0.0)
    if not (np.isfinite(value) and value > 0 and np.isfinite(stderr) and 0 <= stderr < value):
        raise InputError(f"{name} = {number!r}; give a positive number, or (value, standard error)")
    return Given(float(value), float(stderr))


def _gates(gates: Any, images: Sequence[Image]) -> np.ndarray | None:
    if gates is None:
        return None
    pairs = np.asarray(gates, float)
    if pairs.ndim == 1 and pairs.size == len(images) + 1:
        pairs = np.stack([pairs[:-1], pairs[1:]], axis=1)
    good = pairs.shape == (len(images), 2) and np.all(np.isfinite(pairs)) and np.all(pairs[:, 0] >= 0)
    if not good or np.any(pairs[:, 1] <= pairs[:, 0]):
        raise InputError(
            f"gates of shape {pairs.shape} for {len(images)} frames: give (t0, t1) with 0 ≤ t0 < t1 in ns for each, "
            f"or their {len(images) + 1} common edges"
        )
    if len(images) < 2 or any(image.shape != images[0].shape for image in images):
        raise InputError("gates need two frames or more, all of one shape")
    return pairs
