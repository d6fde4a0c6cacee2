"""How strongly a film absorbs along its plane: a table of wavelengths or energies and absorption coefficients.

The coefficient is Napierian, of e^{−αd} and not of 10^{−ad}: absorbance × ln 10 over the thickness.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from excidiff.inverse.files.formats import file_hash
from excidiff.inverse.files.spans import PLANCK_C
from excidiff.inverse.files.tables import read_columns
from excidiff.solver.solution import InputError

COLOURS = {"nm": lambda x: PLANCK_C / x, "um": lambda x: PLANCK_C / (1e3 * x), "mev": lambda x: x,
           "ev": lambda x: 1e3 * x}  # fmt: skip
PER = {"m": 1e-6, "cm": 1e-4, "mm": 1e-3, "um": 1.0, "nm": 1e3}  # 1/µm
STRONGEST = 1e3  # 1/µm: ten times what any solid has
_PER = re.compile(r"(?:per|1\s*/|/)[\s_]*(nm|um|mm|cm|m)\b|\b(nm|um|mm|cm|m)\s*\^?\s*[-⁻](?:1|¹)", re.IGNORECASE)
_COLOUR = re.compile(r"(?:^|[^a-z])(nm|um|mev|ev)(?:[^a-z]|$)", re.IGNORECASE)
EXAMPLE = "wavelength_nm,absorption_per_cm"


@dataclass(frozen=True, eq=False)
class Absorption:
    """Absorption coefficients (1/µm) at photon energies (meV), straight lines between them.

    Raises InputError for what is not finite, below zero, or given twice at one energy.
    """

    energy: Float[np.ndarray, " n"]
    coefficient: Float[np.ndarray, " n"]
    file: str = "absorption"
    sha256: str | None = None

    def __post_init__(self) -> None:
        energy, found = np.asarray(self.energy, float), np.asarray(self.coefficient, float)
        if energy.ndim != 1 or energy.shape != found.shape or energy.size < 2:
            raise InputError(f"{self.file}: absorption of shape {found.shape} at {energy.shape} energies; give a table")
        for name, values in (("energies", energy), ("absorption", found)):
            if not np.isfinite(values).all():
                bad = int(np.argmin(np.isfinite(values))) + 1
                raise InputError(f"{self.file}: its {name} are not all finite, the first in row {bad}; leave it out")
        order = np.argsort(energy)
        energy, found = energy[order], found[order]
        if not (energy > 0).all() or not (np.diff(energy) > 0).all():
            raise InputError(f"{self.file}: its energies or wavelengths are zero or less, or one is given twice")
        if (found < 0).any():
            raise InputError(
                f"{self.file}: {np.count_nonzero(found < 0)} absorption coefficients are below zero, the first at "
                f"{PLANCK_C / energy[np.argmax(found < 0)]:.4g} nm; take off the baseline, or write 0 where it is noise"
            )
        if found.max() > STRONGEST:
            raise InputError(
                f"{self.file}: an absorption of {1e4 * found.max():.3g} per cm is more than any film's; check its unit"
            )
        object.__setattr__(self, "energy", energy)
        object.__setattr__(self, "coefficient", found)

    def at(self, energy: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        """1/µm at these energies (meV). Raises InputError a step beyond the table: absorption is not guessed."""
        own = (2 * self.energy[0] - self.energy[1], 2 * self.energy[-1] - self.energy[-2])
        if energy.min() < own[0] or energy.max() > own[1]:
            ends = ((e.max(), e.min()) for e in (self.energy, energy))
            table, asked = (f"{PLANCK_C / high:.1f} to {PLANCK_C / low:.1f} nm" for high, low in ends)
            raise InputError(
                f"{self.file}: it has the absorption from {table}, and the spectra reach from {asked}; add rows, with "
                "0 where the film absorbs nothing, or use less of the spectra (wavelengths=, --wavelengths)"
            )
        return np.interp(energy, self.energy, self.coefficient)


def read_absorption(path: str | Path) -> Absorption:
    """Read a table of two columns whose names have units: "wavelength_nm" or "energy_eV", and "absorption_per_cm".

    Wavelengths in nm or um, energies in eV or meV; absorption per nm, um, mm, cm or m, also as "cm-1" or "1/cm".
    Raises InputError for a table without such names, with other columns, or with values that cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give the film's absorption as a table")
    names, values = read_columns(path)
    example = f'name them like "{EXAMPLE}" in the line above the numbers'
    if len(names) != 2 or values.shape[1] != 2:
        raise InputError(f"{path.name}: an absorption table has two columns with names and units; {example}")
    plain = [name.replace("μ", "u").replace("µ", "u").replace("_", " ") for name in names]
    per, colour = _PER.search(plain[1]), _COLOUR.search(plain[0])
    if per is None or colour is None or _PER.search(plain[0]):
        raise InputError(
            f"{path.name}: its columns {names[0]!r} and {names[1]!r} do not tell a wavelength or energy and an "
            f"absorption per length with their units; {example}"
        )
    if not (values[:, 0] > 0).all():
        raise InputError(f"{path.name}: wavelengths or energies of zero or less; check the first column")
    energy = COLOURS[colour[1].lower()](values[:, 0])
    return Absorption(energy, PER[(per[1] or per[2]).lower()] * values[:, 1], path.name, file_hash(path))
