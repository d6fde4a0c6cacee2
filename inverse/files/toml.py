"""A TOML file that a person has written, read strictly: what is unknown, repeated or torn is named."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from excidiff.solver.solution import InputError


def read_toml(path: Path, advice: str) -> tuple[dict[str, Any], str]:
    """What a TOML file says, and its text. `advice` says which file to give where there is none.

    Raises `InputError` for a file that is missing, no text, no TOML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; {advice}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    try:
        return tomllib.loads(text), text
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists in lists without end
        raise InputError(f"{path}: {_fault(text, str(error))}") from error


def check_keys(path: Path, table: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """Raise `InputError` for a key of `table` that is not among `names`, with the nearest that is."""
    names = list(names)
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)
            raise InputError(f"{path}: unknown key {key!r}{where}; the nearest known key is {near[0]!r}")


def toml_value(value: Any) -> str:
    """A value in TOML. JSON writes the same texts and numbers; the one character it does not escape is DEL."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_value(str(key))} = {toml_value(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _fault(text: str, message: str) -> str:
    """tomllib's complaint in our words: which line, and which key if it is there twice."""
    lines = text.rstrip().splitlines()
    place = re.search(r"at line (\d+)", message)
    number = int(place[1]) if place else len(lines)
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    if "overwrite" in message or "twice" in message:
        key = line.split("=")[0].strip() or line.strip()
        return f"{key!r} appears twice (again at line {number}); keep one"
    return f"not valid TOML: {message}"
