"""An experiment: what was measured of a film, what is known of the optics, and the fit that explains all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

import jax
import numpy as np

from excidiff.inverse.answer import Asked, answer_decays, answer_images
from excidiff.inverse.batch import Batch, Progress, measure_all
from excidiff.inverse.checks import differs, gate_pairs, given_number
from excidiff.inverse.derived import lifetime_estimate
from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.files.decays import Decay, Response
from excidiff.inverse.files.readers import Map
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.colours import SPECTRAL
from excidiff.inverse.fit.film import landscape_optics
from excidiff.inverse.fit.landscape import Landscape, landscape_of
from excidiff.inverse.fit.optics import noise_of, resolve_optics
from excidiff.inverse.fit.parameters import GATED, STEADY, Constraints
from excidiff.inverse.lifetimes import common_lifetime, measure_decays, with_lifetime
from excidiff.inverse.measure import measure
from excidiff.inverse.options import MODELS
from excidiff.inverse.reddening import answer_map, collection_known
from excidiff.inverse.results.result import FitResult
from excidiff.inverse.spectralmaps import measure_spectral_map
from excidiff.solver.solution import InputError

OF_IMAGES: dict[str, Any] = {
    **dict.fromkeys(("laser", "laser_fwhm", "psf", "psf_fwhm", "laser_wavelength", "emission_wavelength", "landscape",
                     "temperature", "gates", "lifetime")),
    "noise": "poisson", "fixed": {}, "bounds": {}, "tied": (), "background": "fit", "interval": "fisher",
}  # fmt: skip
"""What is said of images only, and its defaults."""
OF_MAPS = ("laser", "laser_fwhm", "psf", "psf_fwhm", "temperature", "lifetime", "fixed", "bounds")
"""What of it is said of spectral maps, too."""
Number = float | tuple[float, float]
"""A value in house units, or (value, standard error)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """Images of a photoluminescence spot on a film, its decay or spectra, and what is known of laser and optics.

    images: steady images, each fitted on its own; with `gates`, the frames of one movie, fitted together.
    decay: one of the same film, or several, each with its instrument's response; with images it gives the lifetime.
    spectral_map: spectra against position of a spot in steady light; collection_fwhm: of the spot that the
    spectrometer sees, µm at the sample. With a lifetime, or a decay, it gives D and the rate of relaxation.
    model: "free", one lifetime, or "mixture", as many populations with lifetimes of their own as `components` (2), of
    a decay alone; "relaxation": of a spectral map, excitons that sink in energy. None: the simplest that describes it.
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

    images: Sequence[Image] = ()
    decay: Decay | Sequence[Decay] | None = None
    spectral_map: SpectralMap | None = None
    collection_fwhm: Number | None = None
    model: Literal["free", "mixture", "relaxation"] | None = None
    components: int | None = None
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
        self._check_model()
        if self.spectral_map is not None:
            self._check_map()
            return
        self._check_decays()
        if not self.images:
            return
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
            given_number(getattr(self, name), name)
        if len({image.uncertainty is None for image in self.images}) > 1:
            raise InputError("some images carry an uncertainty and others do not: fit the two kinds apart")
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
        gate_pairs(self.gates, self.images)
        _ = self.film

    def _check_model(self) -> None:
        """A model by its name, for data that it can describe."""
        if self.model not in (None, *MODELS):
            near = get_close_matches(str(self.model), MODELS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(MODELS)}"
            raise InputError(f"model = {self.model!r}; {hint}")
        if self.model == "relaxation" and self.spectral_map is None:
            raise InputError('model = "relaxation": only spectra against position tell it; give a spectral map')
        if self.spectral_map is None and self.collection_fwhm is not None:
            raise InputError("collection_fwhm is of a spectral map's spectrometer, and no spectral map was given")

    def _check_map(self) -> None:
        """What a spectral map needs beside it, and what it has no use for."""
        names = [name for name in OF_IMAGES if name not in OF_MAPS]
        given = [name for name in names if differs(getattr(self, name), OF_IMAGES[name])]
        given += ["images"] * bool(self.images) + ["components"] * (self.components is not None)
        if given:
            raise InputError(f"{' and '.join(given)} given: a spectral map has no use for it; fit the two apart")
        if self.model == "mixture":
            raise InputError("a mixture of lifetimes is fitted to decays alone; leave the spectral map out")
        if (self.laser is None) == (self.laser_fwhm is None):
            raise InputError("give the laser either as an image (laser=) or by its FWHM at the sample (laser_fwhm=)")
        for name in ("laser_fwhm", "psf_fwhm", "lifetime", "collection_fwhm"):
            given_number(getattr(self, name), name)
        if self.temperature is not None and not 0 < self.temperature < np.inf:
            raise InputError(f"temperature = {self.temperature!r}; give a positive number of K")
        if self.decays and self.lifetime is not None:
            raise InputError("give either the lifetime or the decay that it is read from, not both")
        self.constraints.check(SPECTRAL)

    def _check_decays(self) -> None:
        """What the decays ask of the rest."""
        if not self.images and not self.decays:
            raise InputError("nothing to fit: give at least one image of the photoluminescence spot, or a decay")
        if self.components is not None and (self.model != "mixture" or self.components < 2):
            raise InputError(f'components = {self.components} belongs to model = "mixture", and is two or more')
        if not self.images:
            given = [name for name, default in OF_IMAGES.items() if differs(getattr(self, name), default)]
            if given:
                raise InputError(f"{' and '.join(given)} given, but no image: a decay alone has no use for it")
        elif self.model == "mixture":
            raise InputError(
                "a mixture of lifetimes is fitted to decays alone in this version: leave the images out, or fit them "
                "with the model 'free'"
            )
        if self.decays and (self.lifetime is not None or "lifetime" in self.fixed):
            raise InputError("give either the lifetime or the decay that it is read from, not both")

    @property
    def decays(self) -> tuple[Decay, ...]:
        """All decays, as a tuple."""
        if self.decay is None:
            return ()
        return (self.decay,) if isinstance(self.decay, Decay) else tuple(self.decay)

    @property
    def film(self) -> Landscape | None:
        """The landscape and its temperature, checked against the rest; None for a uniform film."""
        if self.spectral_map is not None:
            return None
        apart = self.laser is None or self.psf is not None or self.psf_fwhm is not None
        return landscape_of(self.landscape, self.temperature, self.images, steady=self.gates is None, apart=apart)

    @property
    def constraints(self) -> Constraints:
        """Fixed, bounded and tied parameters, a known background among the fixed ones."""
        fixed = dict(self.fixed)
        if self.background != "fit":
            fixed["background"] = float(self.background)
        given = given_number(self.lifetime, "lifetime")
        if self.gates is not None and given is not None and not given.stderr:
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
        alone = not self.images and self.spectral_map is None
        decays = measure_decays(self.decays, self._components(), progress if alone else None)
        if alone:
            return answer_decays(decays, self.settings(), chosen=self.model is None)
        ratio = 1.0
        if self.laser_wavelength is not None and self.emission_wavelength is not None:
            ratio = self.laser_wavelength / self.emission_wavelength
        optics = resolve_optics(
            self.laser,
            given_number(self.laser_fwhm, "laser_fwhm"),
            self.psf,
            given_number(self.psf_fwhm, "psf_fwhm"),
            wavelength_ratio=ratio,
            noise=self.noise,
            tied=tuple(self.tied),
        )
        if self.film is not None:
            optics = landscape_optics(optics)
        lifetime = common_lifetime(decays) if decays else lifetime_estimate(given_number(self.lifetime, "lifetime"))
        if self.spectral_map is not None:
            return self._fit_map(optics, lifetime, decays, progress)
        noise = noise_of(self.images[0], self.noise)
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
            gates = gate_pairs(self.gates, self.images)
            optics = replace(optics, known=with_lifetime(optics.known, lifetime))
            found = measure(self.images, optics, self.constraints, noise=noise, interval=self.interval, gates=gates)
            batch = Batch((found.measurement,), (found,), (found,))
        asked = Asked(self.images, self.gates is None, self.film is None, noise, self.interval, self.unreadable)
        return answer_images(asked, batch, optics, lifetime, decays, self.settings())

    def _fit_map(self, optics, lifetime, decays, progress: Progress | None) -> FitResult:
        """The spectral map with what the decays say of the lifetime."""
        assert self.spectral_map is not None
        collection = given_number(self.collection_fwhm, "collection_fwhm")
        found = measure_spectral_map(
            self.spectral_map,
            collection_known(optics, collection),
            self.constraints,
            lifetime,
            temperature=self.temperature or 295.0,
            relaxing=None if self.model is None else self.model == "relaxation",
        )
        if progress is not None:
            progress(1, 1, self.spectral_map.file)
        return answer_map(found, optics, collection, lifetime, decays, self.settings(), chosen=self.model is None)

    def _components(self) -> int | None:
        """How many lifetimes; None: as many as it takes."""
        if self.model == "mixture":
            return self.components or 2
        return 1 if self.images or self.spectral_map is not None or self.model == "free" else None

    def settings(self) -> dict[str, Any]:
        """Everything that was asked for, as plain values."""
        plain = {name: getattr(self, name) for name in ("laser_fwhm", "psf_fwhm", "laser_wavelength",
                 "emission_wavelength", "lifetime", "noise", "background", "interval")}  # fmt: skip
        return {
            "images": [image.name for image in self.images],
            **self._settings_of_map(),
            **self._settings_of_decays(),
            "laser": None if self.laser is None else self.laser.name,
            "psf": None if self.psf is None else self.psf.name,
            **plain,
            **({} if self.film is None else {"landscape": self.film.file, "temperature": self.film.temperature}),
            "gates": None if self.gates is None else np.asarray(gate_pairs(self.gates, self.images)).tolist(),
            "fixed": dict(self.fixed),
            "bounds": {name: list(pair) for name, pair in self.bounds.items()},
            "tied": list(self.tied),
            **self._settings_of_camera(),
        }

    def _settings_of_camera(self) -> dict[str, Any]:
        if not self.images:
            return {}
        first, names = self.images[0], ("gain", "offset", "read_noise", "excess_noise", "gain_known")
        return {
            "pixel_size": list(first.spacing),
            "pixel_size_origin": first.pixel_size_origin,
            "camera": {name: getattr(first.camera, name) for name in names},
        }

    def _settings_of_map(self) -> dict[str, Any]:
        if self.spectral_map is None:
            return {}
        told = {name: getattr(self.spectral_map, name) for name in ("file", "step", "slit")}
        return {
            "spectral_map": told.pop("file"),
            **told,
            "spectral_map_read": "; ".join(self.spectral_map.notes),
            "collection_fwhm": self.collection_fwhm,
            "temperature": self.temperature,
            "model": self.model,
        }

    def _settings_of_decays(self) -> dict[str, Any]:
        if not self.decays:
            return {}
        told = {
            "irf": [decay.irf.file for decay in self.decays if isinstance(decay.irf, Response)],
            "irf_fwhm": [decay.irf for decay in self.decays if decay.irf and not isinstance(decay.irf, Response)],
            "period": [decay.period for decay in self.decays if decay.period],
        }
        kept = {name: list(dict.fromkeys(values)) for name, values in told.items()}
        names = {"decays": [decay.file for decay in self.decays], "model": self.model, "components": self.components}
        read = {"decays_read": ["; ".join(decay.notes) for decay in self.decays if decay.notes]}
        return names | kept | read

    def _all_images(self) -> list[Image]:
        return [*self.images, *(image for image in (self.laser, self.psf) if image is not None)]
