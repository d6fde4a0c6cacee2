"""One section of a film's file: numbers with units, maps in files, choices. Every fault says where it stands.

A quantity is a text with its unit, "5 ns", or a number in the library's units. A map is a file, {file = "d.npy"}, whose
values are in the library's units or in those of `unit`; its path counts from the folder of the film's file.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from excidiff.inverse.files.raster import told_size
from excidiff.inverse.files.readers import Map, read_map
from excidiff.inverse.files.toml import check_keys
from excidiff.inverse.files.units import QUANTITIES, check_range, house_size, parse_quantity
from excidiff.solver.grid import Grid
from excidiff.solver.solution import InputError

ENDINGS = (".npy", ".npz", ".tif", ".tiff", ".csv", ".txt", ".h5", ".hdf5", ".nc")
SECTIONS = {
    "Grid": "grid",
    "Medium": "medium",
    "Surface": "medium.surface",
    "Traps": "medium.traps",
    "Disorder": "medium.disorder",
    "Emission": "medium.emission",
    "gaussian_spot": "source",
    "pulse_train": "source",
}
RENAMED = {  # where the library's argument has another name in the file
    ("Traps", "linear_rate"): "medium.traps.rate",
    ("Pulse", "fwhm"): "source.width",
    ("evolve", "times"): "times.at",
    ("pulse_train", "times"): "times.at",
    ("time_integral", "edges"): "times.edges",
}
_ARGUMENT = re.compile(r"(\w+)(?:\.\w+)?\((\w+)(\[\d\])?=.*?\): (.*)", re.DOTALL)


@dataclass(eq=False)
class Document:
    """A film's file while it is read: its path, the grid once that is known, and the maps it has named so far."""

    file: Path
    grid: Grid | None = None
    maps: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def told(file: Path, section: str | None = None) -> Iterator[None]:
    """Say what the library refuses in the file's words: "Traps(release=…): …" as "film.toml: medium.traps.release: …".

    `section` names the one of several sections of a kind that is being read.
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        if message.startswith(f"{file}: "):
            raise
        found = _ARGUMENT.fullmatch(message)
        if found is None:
            raise InputError(f"{file}: {message}") from None
        owner, argument, index, rest = found.groups()
        place = RENAMED.get((owner, argument), f"{SECTIONS[owner]}.{argument}" if owner in SECTIONS else None)
        if place is None:
            raise InputError(f"{file}: {message}") from None
        if section is not None:
            place = f"{section}.{place.rpartition('.')[2]}"
        raise InputError(f"{file}: {place}{index or ''}: {rest}") from None


class Section:
    """The keys of one section, [`name`], of a film's file.

    Raises `InputError` if it is no section, or has a key that is not among `keys`.
    """

    def __init__(self, document: Document, name: str, table: Any, keys: Iterable[str]) -> None:
        if not isinstance(table, dict):
            missing = f"the section [{name}] is missing; it holds {', '.join(keys)}"
            header = re.sub(r"(.+)\[\d+\]", r"[\1]", name)  # of one among several: [[medium.traps]]
            other = f"{name} = {table!r:.60} is no section; write [{header}] and its keys below"
            raise InputError(f"{document.file}: {missing if table is None else other}")
        check_keys(document.file, table, keys, f" in [{name}]")
        self.document, self.name, self.table = document, name, table

    def __contains__(self, key: str) -> bool:
        return key in self.table

    def fault(self, key: str, words: str) -> InputError:
        """An error that says where it is."""
        return InputError(f"{self.document.file}: {self.name}.{key}{words}")

    def need(self, key: str, example: str) -> Any:
        """What stands at `key`, which must be there; `example` is what could stand there, in TOML."""
        if key not in self.table:
            raise self.fault(key, f" is missing; give it, such as {key} = {example}")
        return self.table[key]

    def number(
        self, key: str, quantity: str, default: Any = ..., *, zero: bool = False, infinite: bool = False
    ) -> float | Any:
        """One number in house units, or `default`; without one the key must be there."""
        if key not in self.table and default is not ...:
            return default
        value = self.need(key, _example(quantity))
        return self._number(value, key, quantity, zero=zero, infinite=infinite)

    def numbers(self, key: str, quantity: str, count: int | None = None, *, zero: bool = False) -> list[float]:
        """A list of numbers in house units, `count` of them."""
        example = "[" + ", ".join([_example(quantity)] * (count or 2)) + "]"
        values = self.need(key, example)
        if not isinstance(values, list) or not values or len(values) != (count or len(values)):
            many = f"a list of {count}" if count else "a list"
            raise self.fault(key, f" = {values!r:.60}: expected {many}, such as {key} = {example}")
        return [self._number(value, f"{key}[{i}]", quantity, zero=zero) for i, value in enumerate(values)]

    def field(self, key: str, quantity: str, default: Any = ..., *, zero: bool = False, infinite: bool = False) -> Any:
        """A number, or a map of the grid, in house units; or `default`."""
        if key not in self.table and default is not ...:
            return default
        value = self.need(key, _example(quantity))
        return self._field(value, key, quantity, zero=zero, infinite=infinite)

    def fields(self, key: str, quantity: str, *, zero: bool = False) -> Any:
        """A number or a map, or a tuple of them where a list stands there."""
        value = self.need(key, _example(quantity))
        if not isinstance(value, list):
            return self._field(value, key, quantity, zero=zero)
        return tuple(self._field(entry, f"{key}[{i}]", quantity, zero=zero) for i, entry in enumerate(value))

    def choice(self, key: str, options: Sequence[str], default: Any = ...) -> str:
        """One of several words."""
        if key not in self.table and default is not ...:
            return default
        value = self.need(key, f'"{options[0]}"')
        if value not in options:
            known = ", ".join(f'"{option}"' for option in options)
            raise self.fault(key, f" = {value!r:.60}: expected one of {known}")
        return value

    def text(self, key: str) -> str:
        """A text."""
        value = self.need(key, f'"{key}"')
        if not isinstance(value, str) or not value:
            raise self.fault(key, f" = {value!r:.60}: expected a text in quotes")
        return value

    def integer(self, key: str, default: Any = ...) -> int:
        """A whole number."""
        if key not in self.table and default is not ...:
            return default
        value = self.need(key, "32")
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(key, f" = {value!r:.60}: expected a whole number")
        return value

    def pair(self, key: str, kind: type, example: str, default: Any = ...) -> Any:
        """Two values of one type, [y, x]."""
        if key not in self.table and default is not ...:
            return default
        value = self.need(key, example)
        if not isinstance(value, list) or len(value) != 2 or not all(type(entry) is kind for entry in value):
            raise self.fault(key, f" = {value!r:.60}: expected two values, (y, x), such as {key} = {example}")
        return tuple(value)

    def map(self, key: str, quantity: str | None, file: str, unit: str | None = None) -> Map:
        """The map in `file` on the grid, its values in house units; as they stand without a `quantity`.

        Raises `InputError` where it cannot be read, does not have the grid's shape, or states another spacing.
        """
        document, grid = self.document, self.document.grid
        assert grid is not None
        try:
            found = read_map(str(document.file.parent / file))
        except InputError as error:
            raise self.fault(key, f": {error}") from None
        if found.values.shape != grid.shape:
            rows, columns = found.values.shape
            raise self.fault(
                key,
                f": {file} has {rows} rows × {columns} columns, the grid {grid.shape[0]} × {grid.shape[1]}; "
                f"give a map of the grid's shape, or the grid the map's: shape = [{rows}, {columns}]",
            )
        spacing = (float(grid.spacing[0]), float(grid.spacing[1]))
        if found.spacing is not None and not np.allclose(found.spacing, spacing, rtol=0.01, atol=0):
            raise self.fault(
                key,
                f": {file} states a pixel size of {told_size(found.spacing)} ({found.spacing_origin}), the grid a "
                f"spacing of {told_size(spacing)}; make them the same, or save the map without one, as .npy",
            )
        values = found.values
        if quantity is not None:
            values = values * (1.0 if unit is None else house_size(unit, quantity, name=self.place(key)))
            size = np.abs(values[np.isfinite(values)]).max(initial=0.0)
            check_range(float(size), quantity, name=f"{self.place(key)}: the largest value of {file}", zero=True)
        document.maps.append({"key": f"{self.name}.{key}", "file": file, "sha256": found.sha256})
        return Map(values, found.spacing, found.spacing_origin, found.file, found.sha256)

    def place(self, key: str) -> str:
        """What a message calls a key: "film.toml: medium.lifetime"."""
        return f"{self.document.file}: {self.name}.{key}"

    def _field(self, value: Any, key: str, quantity: str, *, zero: bool, infinite: bool = False) -> Any:
        if not isinstance(value, dict):
            return self._number(value, key, quantity, zero=zero, infinite=infinite)
        inner = Section(self.document, f"{self.name}.{key}", value, ("file", "unit"))
        unit = inner.text("unit") if "unit" in inner else None
        return jnp.asarray(self.map(key, quantity, inner.text("file"), unit).values)

    def _number(self, value: Any, key: str, quantity: str, *, zero: bool = False, infinite: bool = False) -> float:
        if isinstance(value, str) and value.strip().lower().endswith(ENDINGS):
            raise self.fault(key, f': a map is written as {{ file = "{value.strip()}" }}')
        if infinite and _is_infinite(value, quantity, self.place(key)):
            return math.inf
        return parse_quantity(value, quantity, name=self.place(key), zero=zero)


def _is_infinite(value: Any, quantity: str, place: str) -> bool:
    """Whether this is inf, "inf" or "inf ns"."""
    if not isinstance(value, str):
        return value == math.inf
    word, _, unit = value.strip().partition(" ")
    if word.lower().lstrip("+") not in ("inf", "infinity"):
        return False
    if unit.strip():
        house_size(unit.strip(), quantity, name=place)
    return True


def _example(quantity: str) -> str:
    """A value as it may stand in the file."""
    unit = QUANTITIES[quantity].title
    return f'"5 {unit}"' if unit else "5"
