"""Scans of a laser over a film: `RasterScan`, one number for each position of the laser.

The number is how many photons were counted there, or the lifetime or the mean energy of the light that was found. The
detector takes all light of the film, or moves with the laser and sees what is emitted near it, as a confocal one does:
`collection`.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from excidiff.inverse.files.noise import doubts
from excidiff.inverse.files.units import check_range
from excidiff.solver.solution import InputError

Quantity = Literal["intensity", "lifetime", "energy"]
FEWEST = 3  # positions along x and along y
FROM_PHOTONS = "uncertainty taken as lifetime/√photons, the least that one exponential without background allows"

DOUBTS = (FROM_PHOTONS, "the given step", "a step of", "every position has the same number", "the bands are no",
          "light that comes at all times", "the pulse is taken to be")  # fmt: skip
MASKED = ("positions masked", "taken as dark")


@dataclass(frozen=True, eq=False, kw_only=True)
class RasterScan:
    """One number for each position of a laser that was scanned over a film, row = y, column = x, both rising.

    values: (y, x), of quantity "intensity" counts as the detector wrote them, of "lifetime" ns, of "energy" meV;
    zero where masked and not finite. step: (y, x) in µm from one position to the next, one number if both are alike.
    uncertainty: (y, x), one standard deviation of each value, inf where masked and unknown. Intensities without it are
    photons, their noise Poisson; with it noise is Gaussian, and they may have any sign. Energies need it. Lifetimes
    need it, or photons: (y, x), those that each was found from, and then it is value/√photons, which a note says.
    collection: FWHM in µm of the Gaussian around the laser from which the detector collects light, which moves with the
    laser; None: all light is collected. mask: (y, x), True where a position is used; None: everywhere.
    gain: counts per photon, offset: counts without light, of intensities: photons = (values − offset)/gain.
    file, sha256, notes: where the numbers come from, and what was found on the way.

    Raises InputError for fewer than 3 × 3 positions, numbers that are not finite, photons below zero, lifetimes and
    uncertainties of zero or less, lifetimes without either, and light that is zero everywhere.
    """

    values: Float[np.ndarray, "y x"]
    step: tuple[float, float] | float
    quantity: Quantity = "intensity"
    uncertainty: Float[np.ndarray, "y x"] | None = None
    photons: Float[np.ndarray, "y x"] | None = None
    collection: float | None = None
    mask: Bool[np.ndarray, "y x"] = None  # type: ignore[assignment]  # None: all positions; never None once made
    gain: float = 1.0
    offset: float = 0.0
    file: str = "scan"
    sha256: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        raw, step = np.asarray(self.values), self._checked_numbers()
        if raw.ndim != 2 or min(raw.shape) < FEWEST or raw.dtype.kind not in "biuf":
            raise InputError(
                f"{self.file}: values of shape {raw.shape} and type {raw.dtype}; a scan has one real number for each "
                f"position, and {FEWEST} × {FEWEST} positions or more"
            )
        used = np.ones(raw.shape, bool) if self.mask is None else np.array(self._like(self.mask, raw, "mask"), bool)
        if np.count_nonzero(used) < FEWEST**2:
            raise InputError(
                f"{self.file}: only {np.count_nonzero(used)} positions are in use, at least {FEWEST**2} are needed; "
                "check the mask"
            )
        self._refuse(used & ~np.isfinite(raw), "numbers that are not finite", "repair the file, or mask them")
        values = np.where(np.isfinite(raw), raw, 0).astype(float)
        photons, notes = self._checked_photons(raw, used), list(self.notes)
        error = None if self.uncertainty is None else np.array(self._like(self.uncertainty, raw, "uncertainty"), float)
        self._check_values(values, used, error is not None)
        error = self._checked_error(error, values, used, photons, notes)
        if values[used].min() == values[used].max():
            notes.append(f"every position has the same number, {values[used][0]:g}: was it measured?")
        settled: dict[str, Any] = {
            "values": values, "mask": used, "uncertainty": error, "photons": photons, "step": step,
            "notes": tuple(dict.fromkeys(notes)),
        }  # fmt: skip
        for name, value in settled.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of positions: (y, x)."""
        return self.values.shape  # type: ignore[return-value]

    @property
    def spacing(self) -> tuple[float, float]:
        """The step (y, x) in µm."""
        return self.step  # type: ignore[return-value]

    @property
    def x(self) -> Float[np.ndarray, " x"]:
        """Where the laser was along x, µm from the centre of the scan."""
        return (np.arange(self.shape[1]) - (self.shape[1] - 1) / 2) * self.spacing[1]

    @property
    def y(self) -> Float[np.ndarray, " y"]:
        """Where the laser was along y, µm from the centre of the scan."""
        return (np.arange(self.shape[0]) - (self.shape[0] - 1) / 2) * self.spacing[0]

    @property
    def doubts(self) -> list[str]:
        """Of the notes those that say more than where a number comes from: a result must repeat them."""
        said = [note for note in self.notes if note.startswith(DOUBTS) or any(word in note for word in MASKED)]
        return said + [note for note in doubts(self.notes) if note not in said]

    @property
    def positions(self) -> Float[np.ndarray, "P 2"]:
        """(x, y) of every position, masked ones too, in µm from the scan's centre: in the order of `values.ravel()`."""
        y, x = np.meshgrid(self.y, self.x, indexing="ij")
        return np.stack([x.ravel(), y.ravel()], axis=1)

    @property
    def signal(self) -> Float[np.ndarray, "y x"]:
        """Photons, (values − offset)/gain, or lifetimes in ns."""
        return (self.values - self.offset) / self.gain

    @property
    def signal_uncertainty(self) -> Float[np.ndarray, "y x"] | None:
        """One standard deviation of `signal`; None for photons, whose noise is Poisson."""
        return None if self.uncertainty is None else self.uncertainty / self.gain

    def _checked_numbers(self) -> tuple[float, float]:
        """The step (y, x); refuse what is wrong about the scan as a whole."""
        if self.quantity not in get_args(Quantity):
            listed = " or ".join(f'"{word}"' for word in get_args(Quantity))
            raise InputError(f"{self.file}: quantity = {self.quantity!r}; choose {listed}")
        if not (np.isfinite(self.gain) and self.gain > 0 and np.isfinite(self.offset)):
            raise InputError(
                f"{self.file}: gain = {self.gain!r}, offset = {self.offset!r}; give a positive number of counts per "
                "photon, and the counts without light"
            )
        if self.quantity != "intensity" and (self.gain, self.offset) != (1, 0):
            raise InputError(f"{self.file}: gain and offset are of counts; a {self.quantity} has none, leave them out")
        if self.collection is not None:
            check_range(float(self.collection), "fwhm", name=f"{self.file}: collection")
        if np.size(self.step) not in (1, 2):
            raise InputError(f"{self.file}: step = {self.step!r}; give µm, one number or (y, x)")
        pair = [float(s) for s in np.broadcast_to(np.asarray(self.step, float), (2,))]
        y, x = (check_range(s, "pixel_size", name=f"{self.file}: step") for s in pair)
        return y, x

    def _like(self, value: Any, raw: np.ndarray, what: str) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != raw.shape:
            raise InputError(
                f"{self.file}: the {what} has shape {array.shape}, the values {raw.shape}; make them alike"
            )
        if array.dtype.kind not in "biuf":
            raise InputError(f"{self.file}: the {what} has values of type {array.dtype}; give real numbers")
        return array

    def _refuse(self, bad: np.ndarray, what: str, advice: str) -> None:
        if bad.any():
            y, x = (int(i) for i in np.argwhere(bad)[0])
            raise InputError(
                f"{self.file}: {np.count_nonzero(bad)} {what}, the first at [row, column] = [{y}, {x}]; {advice}"
            )

    def _checked_photons(self, raw: np.ndarray, used: np.ndarray) -> np.ndarray | None:
        if self.photons is None:
            return None
        if self.quantity == "intensity":
            raise InputError(f"{self.file}: photons given beside intensities, which are photons themselves; leave out")
        photons = np.array(self._like(self.photons, raw, "photons"), float)
        bad = ~(np.isfinite(photons) & (photons >= 0))
        self._refuse(used & bad, "photon numbers that are negative or not finite", "mask these positions")
        photons[bad] = 0.0
        return photons

    def _checked_error(
        self,
        error: np.ndarray | None,
        values: np.ndarray,
        used: np.ndarray,
        photons: np.ndarray | None,
        notes: list[str],
    ) -> np.ndarray | None:
        """The uncertainty, of lifetimes from their photons where it was not given; inf where masked and unknown."""
        if error is None and self.quantity == "energy":
            raise InputError(f"{self.file}: energies without an uncertainty; give one standard deviation of each")
        if error is None and self.quantity == "lifetime":
            if photons is None:
                raise InputError(
                    f"{self.file}: lifetimes without an uncertainty; give one standard deviation of each, or the "
                    "photons that each was found from"
                )
            self._refuse(used & ~(photons > 0), "lifetimes found from no photon", "mask these positions")
            error = values / np.sqrt(np.where(photons > 0, photons, 1.0))
            notes.append(FROM_PHOTONS)
        if error is not None:
            bad = ~(np.isfinite(error) & (error > 0))
            what = "uncertainties that are zero, negative or not finite"
            self._refuse(used & bad, what, "every position in use needs a positive one: mask the others")
            error[bad] = np.inf
        return error

    def _check_values(self, values: np.ndarray, used: np.ndarray, signed: bool) -> None:
        """Refuse light that is negative or nowhere, and lifetimes and energies of zero or less."""
        if not values[used].any():
            raise InputError(f"{self.file}: every position is zero; the file holds no light")
        if self.quantity == "energy":
            self._refuse(used & (values <= 0), "energies are zero or negative", "give the light's energy in meV")
        elif self.quantity == "lifetime":
            self._refuse(used & (values <= 0), "lifetimes are zero or negative", "mask these positions")
            check_range(float(np.median(values[used])), "lifetime", name=f"{self.file}: lifetime")
        elif not signed:
            below = used & ((values - self.offset) / self.gain < -1e-9)
            what = f"counts lie below {'zero' if not self.offset else f'the offset {self.offset:g}'}"
            self._refuse(below, what, "photons cannot do that: give the right offset, or an uncertainty of signed data")
