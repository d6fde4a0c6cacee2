"""What the spot would look like without diffusion: the width of laser ⊗ PSF, from images or numbers, with its error.

In a uniform film only s² = s_source² + s_psf² at the colour of the emission matters:

    laser image                 s² = s_laser²                               seen through the same optics
    laser image and PSF         s² = s_laser² − (ρ s_psf)² + s_psf²         source ⊗ PSF matches the laser image
    laser FWHM (and PSF)        s² = (FWHM/2.3548)² (+ s_psf²)              the laser at the sample

The PSF is taken as that of the emission; at the laser's colour it is narrower by ρ = λ_laser/λ_emission (1 unless both
wavelengths are given). Each width has an error and they are carried into s.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.quality import goodness_of, misfit, suspected_gain
from excidiff.inverse.fit.rescale import with_gain
from excidiff.inverse.fit.spot import SpotFit, fit_gaussian
from excidiff.inverse.fit.start import FWHM
from excidiff.solver.solution import InputError


@dataclass(frozen=True)
class Given:
    """A number that was given, with its standard error (0: exact), in house units."""

    value: float
    stderr: float = 0.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted Gaussian image (laser or PSF): the fit, what fitted it, its goodness, and what is odd about it."""

    image: Image
    fit: SpotFit
    goodness: dict[str, Any]
    reason: str | None
    note: str | None


@dataclass(frozen=True, eq=False)
class Optics:
    """The width of laser ⊗ PSF at the colour of the emission as `known`; the parts it came from, in µm FWHM.

    magnification_error: relative, of the pixel size; told: the share of log s that comes from widths told in µm, whose
    error in pixels it is as well. It is in `known`, not in the parts.
    """

    known: Known
    source: Given
    psf: Given | None
    laser: Calibration | None
    psf_image: Calibration | None
    wavelength_ratio: float
    warnings: tuple[str, ...] = field(default=())
    magnification_error: float = 0.0
    told: float = 0.0

    @property
    def width(self) -> Given:
        """The standard deviation s of laser ⊗ PSF in µm with its error."""
        value = float(np.exp(self.known.mean[0]))
        return Given(value, value * float(np.sqrt(self.known.covariance[0, 0])))


def resolve_optics(
    laser: Image | None,
    laser_fwhm: Given | None,
    psf: Image | None,
    psf_fwhm: Given | None,
    *,
    wavelength_ratio: float = 1.0,
    noise: str = "poisson",
    tied: tuple[str, ...] = (),
    magnification_error: float = 0.0,
) -> Optics:
    """Find s from what was given; `tied` names centres that the laser image shares with the others.

    magnification_error: relative standard error of the pixel size of all images.

    Raises InputError if the laser image is no wider than the PSF.
    """
    warnings = []
    psf_image = None if psf is None else calibrate(psf, noise, "PSF")
    blur = psf_fwhm if psf_image is None else _fwhm(psf_image.fit)
    laser_image = None if laser is None else calibrate(laser, noise, "laser")
    if laser_image is None:
        assert laser_fwhm is not None
        source = laser_fwhm
        squares = [(source, 1.0)] + ([] if blur is None else [(blur, 1.0)])
        if blur is None:
            warnings.append(
                "No PSF was given: the laser's FWHM is taken as that at the sample and the optics as perfectly sharp. "
                "Any blur is then counted as diffusion; give the PSF, or an image of the laser through the same optics."
            )
    else:
        seen = _fwhm(laser_image.fit)
        squares = [(seen, 1.0)]
        source = seen
        if blur is not None:
            source = _source(seen, blur, wavelength_ratio, laser_image.image.name)
            squares.append((blur, 1 - wavelength_ratio**2))
    for found in (laser_image, psf_image):
        if found is not None:
            warnings += [text for text in (found.note, found.reason and f"{found.image.name}: {found.reason}.") if text]
    known = _known(squares, laser_image, tied)
    imaged = [one is not None for one in (laser_image, psf_image)]
    shares = _shares(squares)
    told = float(sum(share for share, seen in zip(shares, imaged, strict=False) if not seen))
    known.covariance[0, 0] += (told * magnification_error) ** 2
    return Optics(
        known, source, blur, laser_image, psf_image, wavelength_ratio, tuple(warnings), magnification_error, told
    )


def calibrate(image: Image, noise: str, what: str) -> Calibration:
    """Fit a Gaussian and a background to the image of the laser or of a point; estimate its gain if need be.

    `noise` holds for an image without an uncertainty of its own.
    """
    noise = noise_of(image, noise)
    fit = fit_gaussian(image, noise)
    found = goodness_of(fit)
    gain, note = suspected_gain(fit, found), None
    if gain is not None:
        image, note = with_gain(image, gain)
        fit = fit_gaussian(image, noise)
        found = goodness_of(fit, rescaled=True)
    reason = misfit(fit, found)
    return Calibration(image, fit, found, None if reason is None else f"as a Gaussian {what} spot, {reason}", note)


def noise_of(image: Image, asked: str) -> str:
    """The noise law of one image: Gaussian if it brought an uncertainty, else what was asked for."""
    return "gaussian" if image.uncertainty is not None else asked


def _fwhm(fit: SpotFit) -> Given:
    value = FWHM * fit.value("width")
    return Given(value, value * fit.error("width"))


def _source(seen: Given, blur: Given, ratio: float, name: str) -> Given:
    """The laser at the sample: source² = seen² − (ρ psf)²."""
    square = seen.value**2 - (ratio * blur.value) ** 2
    if square <= 0:
        raise InputError(
            f"{name}: the laser image (FWHM {seen.value:.4g} µm) is no wider than the PSF ({ratio * blur.value:.4g} "
            "µm at the laser's colour), so no source under that PSF can match it: check both and the pixel sizes"
        )
    value = float(np.sqrt(square))
    error = np.hypot(seen.value * seen.stderr, ratio**2 * blur.value * blur.stderr) / value
    return Given(value, float(error))


def _shares(squares: list[tuple[Given, float]]) -> list[float]:
    """Of each in the sum, which is how log s follows the logarithm of each."""
    parts = [factor * given.value**2 for given, factor in squares]
    return [part / sum(parts) for part in parts]


def _known(squares: list[tuple[Given, float]], laser: Calibration | None, tied: tuple[str, ...]) -> Known:
    """log s from a sum of squared FWHMs with factors; its covariance with the tied centres of the laser image."""
    total, shares = sum(factor * given.value**2 for given, factor in squares), _shares(squares)
    errors = [share * given.stderr / given.value for share, (given, _) in zip(shares, squares, strict=True)]
    names = ("width", *tied)
    mean, covariance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    mean[0], covariance[0, 0] = np.log(np.sqrt(total) / FWHM), float(np.sum(np.square(errors)))
    if laser is not None and tied:
        index = [laser.fit.names.index(name) for name in names]
        jacobian = np.array([shares[0], *np.ones(len(tied))])
        beyond = covariance[0, 0] - errors[0] ** 2
        mean[1:] = laser.fit.values[index[1:]]
        covariance = laser.fit.covariance[np.ix_(index, index)] * np.outer(jacobian, jacobian)
        covariance[0, 0] += beyond
    return Known(names, mean, covariance)
