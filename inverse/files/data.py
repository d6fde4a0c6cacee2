"""Measured images: counts on pixels, with what is known of the camera that counted them.

An `Image` that exists is fit to be modelled: the constructor refuses what cannot be (non-finite pixels, a clipped
peak, negative light, nothing but zeros), and masks, counts and notes what can be left out. Counts y of a pixel that
receives µ photoelectrons are y = gain × (µ′ + read noise) + offset, with µ′ Poisson, its variance raised by the
`excess_noise` factor F² of an electron multiplier: variance F² µ + σ_r² in photoelectrons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float

from excidiff.inverse.files.region import region_note, region_offset, region_slices
from excidiff.inverse.files.saturation import at_peak, cut_off_share, saturated_pixels
from excidiff.inverse.files.units import check_range, format_quantity
from excidiff.solver.solution import InputError

FEWEST = 16  # pixels that an image must have in use
MASKED_AT_MOST = 0.01  # fraction of faulty pixels that may be left out without a word from the person


@dataclass(frozen=True)
class Camera:
    """What turns photoelectrons into counts.

    gain: counts per photoelectron. offset: counts without light. read_noise: photoelectrons r.m.s.
    excess_noise: the variance factor F² of a multiplying camera (2 for an EMCCD, 1 otherwise).
    saturation: counts at which a pixel is full; None: looked for in the image; inf: never.
    gain_known: whether `gain` was given, rather than taken as 1.

    Raises InputError for a gain ≤ 0, a read noise < 0, an excess noise < 1 and anything not finite.
    """

    gain: float = 1.0
    offset: float = 0.0
    read_noise: float = 0.0
    excess_noise: float = 1.0
    saturation: float | None = None
    gain_known: bool = False

    def __post_init__(self) -> None:
        expected = {
            "gain": (self.gain > 0, "a positive number of counts per photoelectron"),
            "offset": (True, "a finite number of counts"),
            "read_noise": (self.read_noise >= 0, "photoelectrons r.m.s., zero or more"),
            "excess_noise": (self.excess_noise >= 1, "a variance factor of 1 or more (2 for an EMCCD)"),
        }
        for name, (good, meaning) in expected.items():
            if not (good and np.isfinite(getattr(self, name))):
                raise InputError(f"camera {name} = {getattr(self, name)!r} is not possible; give {meaning}")
        if self.saturation is not None and not self.saturation > self.offset:
            raise InputError(
                f"camera saturation = {self.saturation!r} counts is not above the offset {self.offset:g}; "
                "give the counts at which a pixel is full"
            )


@dataclass(frozen=True, eq=False)
class Image:
    """One image: counts on a grid of pixels, row = y, column = x.

    counts: (y, x), counts as the camera wrote them; kept as float64, zero where masked and not finite.
    pixel_size: (y, x) in µm at the sample, one number for square pixels, or None if nobody knows yet.
    pixel_size_origin: where it comes from, in words. mask: True where a pixel is used.
    dark: counts without light, pixel by pixel, instead of the camera's offset.
    flat: relative sensitivity, scaled to mean 1 over the used pixels; it multiplies the model, never divides the data.
    uncertainty: standard error in counts; with it the noise is Gaussian and the counts may have any sign.
    offset: how far the centre lies from that of the whole frame it was cut from, in pixels (y, x).
    file, frame, sha256: where the counts come from. notes: what was masked or looks odd, for the report.

    Raises InputError, naming the file, for what FAULTS rows 1–7 list.
    """

    counts: Float[np.ndarray, "y x"]
    pixel_size: tuple[float, float] | float | None = None
    pixel_size_origin: str = ""
    mask: Bool[np.ndarray, "y x"] = None  # type: ignore[assignment]  # None: all pixels; never None once made
    camera: Camera = field(default_factory=Camera)
    dark: Float[np.ndarray, "y x"] | None = None
    flat: Float[np.ndarray, "y x"] | None = None
    uncertainty: Float[np.ndarray, "y x"] | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    file: str = "image"
    frame: int | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        raw = np.asarray(self.counts)
        _check_counts(raw, self.file)
        used = (
            _map(self.mask, raw.shape, "mask", self.name, bool) if self.mask is not None else np.ones(raw.shape, bool)
        )
        _refuse_nonfinite(raw, used, self.name)
        notes = list(self.notes)
        used = used & ~self._saturated(raw, used, notes)
        if np.count_nonzero(used) < FEWEST:
            raise InputError(
                f"{self.name}: only {np.count_nonzero(used)} pixels are in use, at least {FEWEST} are needed; "
                "check the mask and the region"
            )
        dark = _map(self.dark, raw.shape, "dark", self.name)
        flat, used = self._scaled_flat(raw.shape, used, notes)
        uncertainty = _map(self.uncertainty, raw.shape, "uncertainty", self.name)
        if uncertainty is not None and not np.all(uncertainty[used] > 0):
            raise InputError(
                f"{self.name}: the uncertainty is zero or negative{_where(used & ~(uncertainty > 0))}; "
                "every pixel in use needs a positive one: mask the others"
            )
        counts = np.where(np.isfinite(raw), raw, 0).astype(float)
        settled = {
            "counts": counts, "mask": used, "dark": dark, "flat": flat, "uncertainty": uncertainty,
            "pixel_size_origin": self.pixel_size_origin or ("given" if self.pixel_size else "nothing states it"),
            "pixel_size": _pixel_pair(self.pixel_size, self.name), "notes": tuple(dict.fromkeys(notes)),
        }  # fmt: skip
        for name, value in settled.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)
        _refuse_dull(counts[used], self.name)
        self._refuse_negative()
        self._refuse_cut_off()

    @property
    def name(self) -> str:
        """The file, with the number of the frame if it holds several."""
        return self.file if self.frame is None else f"{self.file} frame {self.frame}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns: (y, x)."""
        return self.counts.shape  # type: ignore[return-value]

    @property
    def photons(self) -> Float[np.ndarray, "y x"]:
        """(counts − dark or offset) / gain: photoelectrons, not divided by the flat field."""
        return (self.counts - (self.camera.offset if self.dark is None else self.dark)) / self.camera.gain

    @property
    def photon_uncertainty(self) -> Float[np.ndarray, "y x"] | None:
        """The standard error in photoelectrons, where the data brought their own."""
        return None if self.uncertainty is None else self.uncertainty / self.camera.gain

    @property
    def variance_floor(self) -> float:
        """The variance that remains without light, in photoelectrons²: read noise²."""
        return self.camera.read_noise**2

    @property
    def spacing(self) -> tuple[float, float]:
        """The pixel size (y, x) in µm; raises InputError where it is not known."""
        if self.pixel_size is None:
            raise InputError(
                f"{self.name}: the pixel size is not known ({self.pixel_size_origin}); "
                'give it with its unit, as in --pixel-size "40 nm"'
            )
        return self.pixel_size  # type: ignore[return-value]

    @property
    def place(self) -> tuple[float, float]:
        """Where the centre lies, (x, y) in µm from that of the whole frame."""
        return self.offset[1] * self.spacing[1], self.offset[0] * self.spacing[0]

    @property
    def x(self) -> Float[np.ndarray, " x"]:
        """Centres of the columns in µm, from the centre of the image."""
        return (np.arange(self.shape[1]) - (self.shape[1] - 1) / 2) * self.spacing[1]

    @property
    def y(self) -> Float[np.ndarray, " y"]:
        """Centres of the rows in µm, from the centre of the image."""
        return (np.arange(self.shape[0]) - (self.shape[0] - 1) / 2) * self.spacing[0]

    def _saturated(self, raw: np.ndarray, used: np.ndarray, notes: list[str]) -> np.ndarray:
        """Find the saturated pixels among the used ones; refuse the image if they matter, note them otherwise."""
        full, level = saturated_pixels(raw, used, self.camera.saturation)
        count, total = int(np.count_nonzero(full)), int(np.count_nonzero(used))
        if not count:
            return full
        found = "" if self.camera.saturation is not None else "; if that is no saturation, say --saturation inf"
        peak = at_peak(raw, full, used)
        if peak.any():
            raise InputError(
                f"{self.name}: the peak is saturated: {count} pixels at {level:g} counts{_where(peak)}. The clipped "
                f"top would pass for diffusion: take the image again with less light or a shorter exposure{found}"
            )
        if count > MASKED_AT_MOST * total:
            raise InputError(
                f"{self.name}: {count} of {total} pixels ({count / total:.1%}) are saturated at {level:g} counts"
                f"{_where(full)}; above 1 % the image is not to be trusted: take it again with less light{found}"
            )
        notes.append(f"{count} saturated pixel{'s' * (count > 1)} masked ({level:g} counts{_where(full)})")
        return full

    def _scaled_flat(
        self, shape: tuple[int, ...], used: np.ndarray, notes: list[str]
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Scale the flat field to mean 1 over the used pixels; its dead pixels are masked, if they are few."""
        flat = _map(self.flat, shape, "flat", self.name)
        if flat is None:
            return None, used
        dead = used & ~(flat > 0)
        if np.count_nonzero(dead) > MASKED_AT_MOST * used.size:
            raise InputError(
                f"{self.name}: the flat field is zero or negative on {np.count_nonzero(dead)} pixels{_where(dead)}; "
                "it must be a positive relative sensitivity (subtract its own dark only)"
            )
        if dead.any():
            notes.append(f"{np.count_nonzero(dead)} dead pixels of the flat field masked")
        used = used & ~dead
        return np.where(dead, 1.0, flat) / flat[used].mean(), used

    def _refuse_negative(self) -> None:
        """Refuse light below zero, unless read noise or given uncertainties explain it."""
        photons = self.photons
        below = self.mask & (photons < -1e-9)
        if self.uncertainty is not None or self.camera.read_noise > 0 or not below.any():
            return
        darkness = "the dark frame" if self.dark is not None else f"the offset {self.camera.offset:g}"
        raise InputError(
            f"{self.name}: {np.count_nonzero(below)} pixels are negative, or lie below {darkness}{_where(below)}, the "
            f"lowest at {self.counts[self.mask].min():g} counts. Photons cannot do that, a camera's offset and read "
            "noise can: give --offset (counts) and --read-noise (photoelectrons), or an uncertainty for signed data"
        )

    def _refuse_cut_off(self) -> None:
        """Refuse an image whose read noise the converter cut off at zero: the mirror image of saturation."""
        offset = self.camera.offset if self.dark is None else float(np.median(self.dark))
        noise = self.camera.gain * self.camera.read_noise
        share = 0.0 if self.uncertainty is not None else cut_off_share(self.counts, self.mask, offset, noise)
        if share > MASKED_AT_MOST:
            raise InputError(
                f"{self.name}: about {share:.1%} of the pixels would have read less than zero and were cut off there: "
                f"the offset {offset:g} is too small for a read noise of {noise:.3g} counts. Dim pixels then look too "
                "bright and the diffusion length comes out wrong: check --offset and --read-noise, or raise the "
                f"camera's offset to {int(np.ceil(4 * noise))} counts or more and take the image again"
            )


def with_region(image: Image, region: Sequence[int]) -> Image:
    """Return the part of `image` in columns x0 … x1 − 1 and rows y0 … y1 − 1 of `region` = (x0, x1, y0, y1), pixels.

    The new image knows its `offset`, so that positions in it count from the whole image's centre. Raises InputError if
    the region leaves the image.
    """
    part = region_slices(region, image.shape, image.name)
    cut = {name: getattr(image, name) for name in ("counts", "mask", "dark", "flat", "uncertainty")}
    note, (down, right) = region_note(region, image.shape), region_offset(region, image.shape)
    return replace(
        image,
        offset=(image.offset[0] + down, image.offset[1] + right),
        **{name: None if value is None else value[part] for name, value in cut.items()},
        notes=(*image.notes, note),
    )


def check_same_pixels(image: Image, other: Image, *, tolerance: float = 1e-3) -> None:
    """Raise InputError, naming both files, if the pixel sizes are missing or differ by more than `tolerance`."""
    ours, theirs = image.spacing, other.spacing
    if not np.allclose(ours, theirs, rtol=tolerance, atol=0):
        raise InputError(
            f"the pixel sizes differ: {_told(image)}, but {_told(other)}. "
            "Both images must be seen through the same optics: give --pixel-size if a file is wrong"
        )


def _told(image: Image) -> str:
    y, x = image.spacing
    size = format_quantity(x, "length") + ("" if x == y else f" in x and {format_quantity(y, 'length')} in y")
    return f"{image.name} has {size} ({image.pixel_size_origin})"


def _check_counts(raw: np.ndarray, name: str) -> None:
    if raw.size == 0:
        raise InputError(f"{name}: the image is empty (shape {raw.shape}); export it again")
    if raw.ndim != 2:
        raise InputError(f"{name}: an image has rows and columns, this has shape {raw.shape}; give one frame of it")
    if raw.dtype.kind not in "biuf":
        raise InputError(f"{name}: {raw.dtype} values are not counts; give real numbers")


def _refuse_nonfinite(raw: np.ndarray, used: np.ndarray, name: str) -> None:
    bad = used & ~np.isfinite(raw)
    if bad.any():
        raise InputError(
            f"{name}: {np.count_nonzero(bad)} pixels are not finite{_where(bad)}; "
            "repair the file, or ask for them to be masked (mask_nonfinite=True, or a mask)"
        )


def _refuse_dull(values: np.ndarray, name: str) -> None:
    """Refuse an image without anything to fit."""
    if not values.any():
        raise InputError(f"{name}: every pixel is zero; the file holds no light: check the exposure and the frame")
    if values.min() == values.max():
        raise InputError(f"{name}: every pixel has the same value, {values[0]:g}; there is nothing to fit in it")


def _map(value: np.ndarray | None, shape: tuple[int, ...], what: str, name: str, dtype: type = float) -> np.ndarray:
    """Return an own copy of a map that goes with an image, checked for its shape and for finite values."""
    if value is None:
        return None  # type: ignore[return-value]
    array = np.asarray(value)
    if array.shape != tuple(shape):
        raise InputError(f"{name}: the {what} has shape {array.shape}, the image {tuple(shape)}; they must be alike")
    if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)):
        raise InputError(f"{name}: the {what} has values that are not finite numbers; repair it")
    return np.array(array, dtype=dtype)


def _pixel_pair(size: Sequence[float] | float | None, name: str) -> tuple[float, float] | None:
    """Return the pixel size as (y, x) in µm, each within the range of what a microscope can have."""
    if size is None:
        return None
    pair = tuple(float(s) for s in np.broadcast_to(np.asarray(size, float), (2,)))
    return tuple(check_range(s, "pixel_size", name=f"{name}: pixel size") for s in pair)  # type: ignore[return-value]


def _where(bad: np.ndarray, most: int = 3) -> str:
    """Name the first few pixels of a mask: " at [row, column] = [3, 7], [3, 8] …"."""
    places = np.argwhere(bad)
    shown = ", ".join(f"[{row}, {column}]" for row, column in places[:most].tolist())
    return f", at [row, column] = {shown}{' …' if len(places) > most else ''}" if len(places) else ""
