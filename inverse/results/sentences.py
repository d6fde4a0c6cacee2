"""Verdicts and warnings as a page or a screen shows them: with the names of files, not the paths to them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

_MEMBER = re.compile(r"(.+\.(?:h5|hdf5|nc|npz)):(.*)", re.IGNORECASE)


def file_name(file: str) -> str:
    """A file's name without its folders: "a/spot.tif" -> "spot.tif", "a/film.h5:/frames" -> "film.h5:/frames"."""
    member = _MEMBER.fullmatch(file)
    return f"{PurePath(member[1]).name}:{member[2]}" if member else PurePath(file).name


def names(result: Any) -> dict[str, str]:
    """{file: what it is called on this page}; files of the same name in two folders keep their paths."""
    files = [entry.file for entry in (*result.measurements, *((result.laser,) if result.laser else ()))]
    short = {file: file_name(file) for file in files}
    taken = list(short.values())
    return {file: file if taken.count(name) > 1 else name for file, name in short.items()}


def sentences(result: Any) -> tuple[list[str], list[str]]:
    """(verdicts, warnings) with file names for paths, and no name twice in a row."""
    known = names(result)
    return [_short(text, known) for text in result.verdicts], [_short(text, known) for text in result.warnings]


def reason(entry: Any) -> str:
    """Why a measurement was flagged or failed, without its name, which stands beside."""
    text = entry.reason or ""
    for name in (entry.file, file_name(entry.file)):
        text = text.removeprefix(f"{name}: ")
    return text


def _short(text: str, known: Mapping[str, str]) -> str:
    for file in _longest_first(list(known)):
        name = known[file]
        if file != name:
            text = text.replace(file, name)
        text = re.sub(rf"({re.escape(name)}(?: is (?:flagged|failed))?: ){re.escape(name)}: ", r"\1", text)
    return text


def _longest_first(files: Sequence[str]) -> list[str]:
    return sorted(files, key=len, reverse=True)
