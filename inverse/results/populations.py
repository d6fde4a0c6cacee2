"""The populations of a solve as one netCDF file: fields on labelled axes with units, and what they were solved from.

The file is plain netCDF-4: `xarray.open_dataset`, `ncdump` and MATLAB read it. Lengths are in µm, times in ns, energies
in meV; y grows with the row, and the origin is the centre of the grid.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from excidiff.inverse.results.storage import write_whole
from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError, Solution

if TYPE_CHECKING:
    import xarray

FORMAT = "excidiff simulation 1"


def to_dataset(
    grid: Grid,
    solution: Solution,
    *,
    times: np.ndarray | None = None,
    edges: np.ndarray | None = None,
    integrated: bool = False,
) -> "xarray.Dataset":
    """The fields of `solution` with their axes: at `times`, in the gates between `edges`, or without an axis of time.

    `integrated`: whether they are integrals over time, as those of gates and of a whole decay are.
    """
    import xarray

    lead = ("time",) if times is not None else ("gate",) if edges is not None else ()
    over = ("integrated over each gate" if edges is not None else "integrated over time") if integrated else ""
    axes = (*lead, "y", "x")
    per_area = "ns um^-2" if integrated else "um^-2"
    variables: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
        "density": (axes, solution.density, "excitons per area, free ones", per_area)
    }
    species = solution.trapped_by_species
    if species is not None:
        variables["trapped"] = (axes, solution.trapped, "trapped excitons per area, all species", per_area)
        name = "trapped excitons per area in each species of traps"
        variables["trapped_by_species"] = (("species", *axes), species, name, per_area)
    by_energy = getattr(solution, "by_energy", None)
    if by_energy is not None:
        name = "free excitons per area in each bin of site energies"
        variables["density_by_energy"] = ((*lead, "energy", "y", "x"), by_energy, name, per_area)
    if solution.emission is not None:
        per_time = "um^-2" if integrated else "um^-2 ns^-1"
        variables["emission"] = (
            axes,
            solution.emission,
            "light emitted, photons per area" + " and time" * (not over),
            per_time,
        )
    coordinates = _coordinates(grid, times, edges)
    if species is not None:
        coordinates["species"] = (
            ("species",),
            np.arange(1, species.shape[0] + 1),
            "species of traps, in the file's order",
            "1",
        )
    if by_energy is not None:
        energies = getattr(solution, "energies", None)
        coordinates["energy"] = (("energy",), energies, "site energy from the centre of the band", "meV")
    return xarray.Dataset(
        {name: _variable(*parts, over) for name, parts in variables.items()},
        {name: _variable(*parts) for name, parts in coordinates.items()},
    )


def write_dataset(path: str | Path, dataset: "xarray.Dataset", attributes: Mapping[str, Any]) -> Path:
    """Write `dataset` with `attributes` (texts and numbers), whole or not at all."""
    recorded = dataset.assign_attrs(format=FORMAT, **attributes)
    packed = {"zlib": True, "complevel": 1, "shuffle": True}
    encoding = {
        name: {"_FillValue": None} | (packed if variable.ndim > 1 else {})
        for name, variable in dataset.variables.items()
        if variable.dtype.kind == "f"
    }
    return write_whole(
        path,
        lambda temporary: recorded.to_netcdf(temporary, engine="h5netcdf", format="NETCDF4", encoding=encoding),
    )


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """`path`, absolute, if a simulation may be written there.

    Raises `InputError`: it is a folder or a link, its folder is missing, or it is a file and `overwrite` is not set or
    the file is not one of ours (and is never replaced).
    """
    given = Path(path)
    if given.is_symlink():
        raise InputError(f"{given} is a link, and a result never follows one; name the file itself")
    target = given.resolve()
    if target.is_dir():
        raise InputError(f'{given} is a folder; name a file in it, such as -o "{given / "film.nc"}"')
    if not target.parent.is_dir():
        raise InputError(f"{given}: the folder {given.parent} does not exist; create it or choose another with -o")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{given}: the folder {given.parent} cannot be written; choose another with -o")
    if not target.exists():
        return target
    if not _is_ours(target):
        raise InputError(f"{given} is not a simulation of excidiff's, and is never replaced; choose another with -o")
    if not overwrite:
        raise InputError(
            f"{given} already holds a simulation; add --overwrite to replace it, or choose another with -o"
        )
    return target


def _is_ours(path: Path) -> bool:
    import h5netcdf

    try:
        with h5netcdf.File(path, "r") as file:
            return str(file.attrs.get("format", "")).startswith(FORMAT.rstrip("0123456789"))
    except Exception:  # whatever a library makes of a foreign or torn file
        return False


def _coordinates(grid: Grid, times: Any, edges: Any) -> dict[str, tuple[tuple[str, ...], Any, str, str]]:
    found = {
        "y": (("y",), grid.y, "centres of the rows, from the grid's centre", "um"),
        "x": (("x",), grid.x, "centres of the columns, from the grid's centre", "um"),
    }
    if times is not None:
        found["time"] = (("time",), times, "time", "ns")
    if edges is not None:
        found["gate_start"] = (("gate",), edges[:-1], "begin of each gate", "ns")
        found["gate_end"] = (("gate",), edges[1:], "end of each gate", "ns")
    return found


def _variable(axes: tuple[str, ...], values: Any, name: str, unit: str, over: str = "") -> tuple[Any, ...]:
    return axes, np.asarray(values), {"long_name": f"{name}, {over}" if over else name, "units": unit}
