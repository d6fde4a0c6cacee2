"""An experiment: what was measured of a film, what is known of the optics, and the fit that explains all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from excidiff.inverse.account import account
from excidiff.inverse.answer import Asked, answer_decays, answer_images
from excidiff.inverse.answer_powers import answer_series, fit_powers
from excidiff.inverse.answer_spectra import answer_map, collection_known
from excidiff.inverse.apertures import through, through_apertures, with_apertures
from excidiff.inverse.batch import Batch, Progress, measure_all
from excidiff.inverse.checks import check_decays, check_map, check_model, check_optics, check_series, given_number
from excidiff.inverse.derived import lifetime_estimate
from excidiff.inverse.drawn import draw_decays, draw_images, draw_map, draw_series, finished, with_diffusivity
from excidiff.inverse.files.absorption import Absorption
from excidiff.inverse.files.data import Image, check_same_pixels
from excidiff.inverse.files.decays import Decay
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.files.frames import gate_pairs
from excidiff.inverse.files.readers import Map
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.film import landscape_optics
from excidiff.inverse.fit.landscape import ROOM, Landscape, landscape_of
from excidiff.inverse.fit.optics import Optics, noise_of, resolve_optics
from excidiff.inverse.fit.parameters import GATED, STEADY, Constraints
from excidiff.inverse.fluences import MeasuredSeries
from excidiff.inverse.intervals import Intervals
from excidiff.inverse.joint import answer_joint, join
from excidiff.inverse.lifetimes import common_lifetime, measure_decays, of_one_lifetime, with_lifetime
from excidiff.inverse.measure import measure
from excidiff.inverse.options import Model
from excidiff.inverse.populations import Populations, beside, populations_of, with_populations
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.inverse.spectralmaps import MeasuredMap, measure_spectral_map
from excidiff.inverse.verdicts import on_priors
from excidiff.solver.solution import InputError

NO_LIFETIME = lifetime_estimate(None)
Number = float | tuple[float, float]
"""A value in house units, or (value, standard error)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """Images of a photoluminescence spot on a film, its decay or spectra, and what is known of laser and optics.

    images: steady images, each fitted on its own; with `gates`, the frames of one movie, fitted together.
    decay: one of the same film, or several, each with its instrument's response; with images it gives the lifetime.
    series: what was measured after pulses of several powers, fitted together, and nothing beside it.
    spectral_map: spectra against position of a spot in steady light; collection_fwhm: of the spot that the
    spectrometer sees, µm at the sample. With a lifetime, or a decay, it gives D and the rate of relaxation; with images
    of the same film, steady ones or frames, one diffusion length of both, if they agree on it. line: that of a site,
    "gaussian" or "voigt". absorption: of the film along its plane, from `read_absorption`.
    model: "free", one lifetime, or "mixture", as many populations with lifetimes of their own as `components` (2), of
    a decay alone; of a spectral map "relaxation", excitons that sink in energy, or "reabsorption", light guided along
    the film and absorbed on its way, which needs the absorption; "landscape": one lifetime over the landscape that is
    given; of a series "free", "annihilation", "traps" that never fill, or "saturable traps". None: the simplest that
    describes the data.
    laser: an image of the laser through the same optics; or laser_fwhm: its FWHM at the sample (µm).
    psf: an image of a point, or psf_fwhm (µm), both at the colour of the emission.
    laser_wavelength, emission_wavelength: µm; the PSF of the laser is narrower by their ratio.
    magnification_error: relative standard error of the pixel size, common to all images, those of laser and PSF too.
    landscape: the energy U in meV of a film that is not flat, a map from `read_map` or an array of the image's shape,
    centred on the image; temperature: K (295 if not given). It needs the laser's width at the sample: laser_fwhm, or
    a laser image and the PSF.
    lifetime: ns, gives D = L²/τ. gates: (t0, t1) of each frame in ns after the pulse, or the frames' common edges.
    noise: "poisson", or "gaussian" for data with an uncertainty or of another nature than counts.
    fixed, bounds: by parameter name, in house units; tied: centre_x, centre_y to be shared with the laser image.
    starts: by name, values from which to search as well; every fit finds its own, and a decay's tries all lifetimes.
    priors: by name, (value, standard error) from another measurement, weighed with the data of this one.
    background: "fit", or photons per pixel that are known. interval: "fisher", "profile" for the diffusion length,
    or from random draws, as many as `draws`, by `seed`: "bootstrap", or "nuts", the posterior (needs NumPyro).
    unreadable: (place, file, reason) of images that could not be read, to be listed with the others in that place.

    laser_fwhm, psf_fwhm and lifetime may be (value, standard error): the error is carried into the results.
    Raises InputError, before any computing, for what contradicts itself or is missing.
    """

    images: Sequence[Image] = ()
    decay: Decay | Sequence[Decay] | None = None
    series: FluenceSeries | None = None
    spectral_map: SpectralMap | None = None
    collection_fwhm: Number | None = None
    line: Literal["gaussian", "voigt"] = "gaussian"
    absorption: Absorption | None = None
    model: Model | None = None
    components: int | None = None
    laser: Image | None = None
    laser_fwhm: Number | None = None
    psf: Image | None = None
    psf_fwhm: Number | None = None
    laser_wavelength: float | None = None
    emission_wavelength: float | None = None
    magnification_error: float | None = None
    lifetime: Number | None = None
    landscape: Map | np.ndarray | None = None
    temperature: float | None = None
    gates: Any = None
    noise: Literal["poisson", "gaussian"] = "poisson"
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    priors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    background: Literal["fit"] | float = "fit"
    interval: Literal["fisher", "profile", "bootstrap", "nuts"] = "fisher"
    draws: int | None = None
    seed: int = 0
    unreadable: Sequence[tuple[int, str, str]] = ()

    def __post_init__(self) -> None:
        check_model(self)
        _ = self.intervals
        if self.series is not None:
            check_series(self)
            return
        if self.spectral_map is not None:
            check_map(self)
        if self.spectral_map is not None and not self.images:
            return
        check_decays(self)
        if not self.images:
            return
        check_optics(self)
        if self.noise not in ("poisson", "gaussian"):
            raise InputError(f"noise = {self.noise!r}; choose one of poisson, gaussian")
        for image in self._all_images():
            _ = image.spacing
            check_same_pixels(image, self.images[0])
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
        if self.of_images.priors and self.gates is None and len(self.images) > 1:
            raise InputError(
                f"prior {' and '.join(self.priors)} of {len(self.images)} images: each would count it anew; fit the "
                "images without it and combine the mean with it, or fit one image"
            )
        self.of_images.check(STEADY if self.gates is None else GATED)
        gate_pairs(self.gates, self.images)
        _ = self.film

    @property
    def intervals(self) -> Intervals:
        """How errors and intervals are found."""
        return Intervals(self.interval, self.draws, self.seed)

    @property
    def decays(self) -> tuple[Decay, ...]:
        """All decays, as a tuple."""
        if self.decay is None:
            return ()
        return (self.decay,) if isinstance(self.decay, Decay) else tuple(self.decay)

    @property
    def film(self) -> Landscape | None:
        """The landscape and its temperature, checked against the rest; None for a uniform film."""
        if self.spectral_map is not None or self.series is not None:
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
        of_decays = self.decays and self.gates is None  # whose fit tries all lifetimes
        starts = {name: value for name, value in self.starts.items() if not (of_decays and name == "lifetime")}
        return Constraints(fixed, dict(self.bounds), tuple(self.tied), starts, dict(self.priors))

    @property
    def of_images(self) -> Constraints:
        """Those of images: beside a spectral map, which all others are of, a known background and tied centres."""
        own = self.constraints
        said_of = {*own.fixed, *own.bounds, *own.starts, *own.priors}
        return own if self.spectral_map is None else own.without(said_of - {"background", "lifetime"})

    @property
    def of_spectra(self) -> Constraints:
        """Those of a spectral map."""
        return replace(self.constraints.without(("background", "lifetime") if self.images else ()), tied=())

    def fit(self, progress: Progress | None = None) -> FitResult:
        """Fit everything in double precision, whatever JAX is set to; `progress(done, all, name)` is called per image.

        A bad image among several is flagged or failed and the others fitted; where all of several fail, the result has
        status "failed" and no parameters. A single image that cannot be fitted raises InputError or SolverError.
        """
        with jax.enable_x64(True):
            found = self._fit(progress)
        return replace(found, verdicts=(*found.verdicts, *on_priors(found.parameters, self.priors)))

    def _fit(self, progress: Progress | None) -> FitResult:
        if self.series is not None:
            optics = None if self.series.uniform else self.optics()
            found, tried = self.measured_series(self.model, optics)
            found = draw_series(found, self.intervals, progress)
            collection = given_number(self.collection_fwhm, "collection_fwhm")
            return finished(answer_series(found, tried, optics, self.settings(), self.unreadable, collection))
        alone = not self.images and self.spectral_map is None
        decays = measure_decays(self.decays, self._components(), progress if alone else None)
        decays, told = draw_decays(decays, self.intervals, progress if alone else None)
        if alone:
            return finished(answer_decays(decays, self.settings(), chosen=self.model is None))
        optics = self.optics()
        if self.film is not None:
            optics = landscape_optics(optics)
        lifetime = common_lifetime(decays) if decays else lifetime_estimate(given_number(self.lifetime, "lifetime"))
        populations = populations_of(decays) if self.may_mix else None
        if self.spectral_map is not None and not self.images:
            return self._fit_map(optics, lifetime, decays, told, progress)
        noise, interval = noise_of(self.images[0], self.noise), self.intervals.simple
        if self.gates is None:
            fit = partial(measure_all, self.images, optics, self.of_images, noise=noise, interval=interval)
            batch = fit(landscape=self.film, progress=progress)
        else:
            fit = partial(self._movie, optics, lifetime, populations, noise=noise, interval=interval)
            batch = fit()
        if populations is not None:
            batch, populations = beside(fit, batch, populations, asked=self.model == "mixture")
        if populations is None and self.model is None and self.may_mix:
            decays = of_one_lifetime(decays)
        lifetime = lifetime if populations is None else populations.lifetime
        decays, escaped = through_apertures(decays, batch, optics)
        lifetime = common_lifetime(decays) if escaped else lifetime
        batch, columns = draw_images(batch, self.intervals, progress, first=len(decays))
        asked = Asked(self.images, self.gates is None, self.film is None, noise, interval, self.unreadable)
        result = answer_images(asked, batch, optics, lifetime, decays, self.settings())
        if self.spectral_map is not None:
            return finished(self._joined(result, batch, optics, lifetime))
        if populations is not None:
            return finished(with_populations(result, batch, populations))
        return finished(with_apertures(with_diffusivity(result, told | columns, lifetime, self.seed), escaped))

    def _movie(
        self, optics: Optics, lifetime: Estimate, populations: Populations | None, mixture=None, **given: Any
    ) -> Batch:
        """The frames with what a decay tells of the lifetime, or of the `mixture` of its populations."""
        optics, constraints = replace(optics, known=with_lifetime(optics.known, lifetime)), self.of_images
        if mixture is not None and populations is not None:
            constraints = populations.within(constraints)
        gates = gate_pairs(self.gates, self.images)
        return Batch.of(measure(self.images, optics, constraints, gates=gates, mixture=mixture, **given))

    def optics(self) -> Optics:
        """Laser and PSF from images or numbers."""
        ratio = 1.0
        if self.laser_wavelength is not None and self.emission_wavelength is not None:
            ratio = self.laser_wavelength / self.emission_wavelength
        return resolve_optics(
            self.laser,
            given_number(self.laser_fwhm, "laser_fwhm"),
            self.psf,
            given_number(self.psf_fwhm, "psf_fwhm"),
            wavelength_ratio=ratio,
            noise=self.noise,
            tied=tuple(self.tied),
            magnification_error=self.magnification_error or 0.0,
        )

    def _fit_map(self, optics, lifetime, decays, told, progress: Progress | None) -> FitResult:
        """The spectral map with what the decays say of the lifetime."""
        found = self.measured_map(lifetime)
        collection = given_number(self.collection_fwhm, "collection_fwhm")
        if progress is not None:
            progress(1, 1, found.spectral_map.file)
        found, chosen = draw_map(found, lifetime, told, self.intervals, progress), self.model is None
        return finished(answer_map(found, optics, collection, lifetime, decays, self.settings(), chosen=chosen))

    def _joined(self, images: FitResult, batch: Batch, optics: Optics, lifetime: Estimate) -> FitResult:
        """The images' result with the spectral map of the same film."""
        shown = "the decay shows"
        if self.gates is not None:
            lifetime = images.parameters["lifetime"]
            shown = f"frames{', decay' if self.decays else ''} and spectra together show"
        alone, collection = self.measured_map(lifetime), given_number(self.collection_fwhm, "collection_fwhm")
        found = join(batch, images.parameters.get("diffusion_length"), optics, collection, alone, lifetime)
        told, chosen = found.told, self.model is None
        lifetime = told.measurement.parameters["lifetime"]
        spectra = answer_map(told, optics, collection, lifetime, (), self.settings(), chosen=chosen, shown=shown)
        return answer_joint(images, spectra, found)

    def measured_map(self, lifetime: Estimate = NO_LIFETIME) -> MeasuredMap:
        """The spectral map's fit, with what is known of the lifetime."""
        assert self.spectral_map is not None
        return measure_spectral_map(
            self.spectral_map,
            collection_known(self.optics(), given_number(self.collection_fwhm, "collection_fwhm")),
            self.of_spectra,
            lifetime,
            temperature=ROOM if self.temperature is None else self.temperature,
            model=self.model,
            line=self.line,
            absorption=self.absorption,
        )

    def measured_series(
        self, model: Model | None, optics: Optics | None
    ) -> tuple[MeasuredSeries, list[MeasuredSeries]]:
        """The fit of the fluence series, and all that were tried for it; `optics`: None under even light."""
        assert self.series is not None
        lifetime, collection = (given_number(getattr(self, name), name) for name in ("lifetime", "collection_fwhm"))
        return fit_powers(self.series, model, self.constraints, optics, lifetime, collection, self.line)

    def _components(self) -> int | None:
        """How many lifetimes; None: as many as it takes."""
        if self.model == "mixture":
            return self.components or 2
        alone = not self.images and self.spectral_map is None
        return None if self.model is None and (alone or self.may_mix) else 1

    @property
    def may_mix(self) -> bool:
        """Whether the images may be of the populations that a decay shows: of a flat film, without draws."""
        flat = self.landscape is None and self.spectral_map is None and not through(self.decays)
        return flat and len(self.decays) == 1 and self.model != "free" and not self.intervals.random

    def settings(self) -> dict[str, Any]:
        """Everything that was asked for, as plain values."""
        return account(self)

    def _all_images(self) -> list[Image]:
        return [*self.images, *(image for image in (self.laser, self.psf) if image is not None)]
