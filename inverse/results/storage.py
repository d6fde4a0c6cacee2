"""Files that are whole or absent: written under a temporary name, put in place in one step.

A full disk, a kill or a power cut leaves the old result or none, never half of a new one.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from excidiff.solver.solution import InputError

RESULT_FILES = ("run.toml", "result.json", "result.nc", "report.html", "figures")
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write(temporary)` fill a file beside `path`, then rename it into place.

    Raises `InputError` when the folder is missing or cannot be written; whatever `write` raises passes through,
    and then `path` is as it was.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it or choose another path")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose a folder you may write to") from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _flush_to_disk(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` in UTF-8, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


@contextmanager
def result_folder(path: str | Path, *, overwrite: bool = False, ours: Sequence[str] = RESULT_FILES) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends well, and vanishes when it does not.

    An existing folder is replaced only with `overwrite`, and only if all in it has one of the names `ours` (patterns
    such as "spot_*.tif"): raises `InputError` otherwise, before any computing.
    """
    target = check_result_folder(path, overwrite=overwrite, ours=ours)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise InputError(f"{target}: cannot be created ({error.strerror}); choose a folder you may write to") from error
    try:
        os.chmod(temporary, 0o777 & ~_umask())
        yield temporary
        _put_in_place(temporary, target)
    except OSError as error:
        raise InputError(f"{target}: the result could not be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_result_folder(path: str | Path, *, overwrite: bool = False, ours: Sequence[str] = RESULT_FILES) -> Path:
    """`path`, absolute, if a result may be put there.

    Raises `InputError`: it is a file or a link, it holds a result and `overwrite` is not set, or it holds anything
    that is not one of `ours` (and is never removed).
    """
    given = Path(path)
    if given.is_symlink():
        raise InputError(f"{given} is a link, and a result never follows one out of its folder; name the folder itself")
    target = given.resolve()
    if not target.exists():
        blocked = next((parent for parent in target.parents if parent.is_file()), None)
        if blocked is not None:
            raise InputError(f"{given} cannot be a folder, as {blocked.name} is a file; choose another with -o")
        return target
    if not target.is_dir():
        raise InputError(f"{given} is a file; choose a folder for the result with -o")
    held = sorted(entry for entry in target.iterdir() if entry.name not in _OF_THE_SYSTEM)
    if not held:
        return target
    strange = [entry.name for entry in held if not any(fnmatch(entry.name, pattern) for pattern in ours)]
    if strange or not any(entry.is_file() for entry in held):
        raise InputError(
            f"{given} holds files that are not of excidiff's making ({(strange or [held[0].name])[0]}), and they are "
            "never replaced; choose another folder with -o"
        )
    if not overwrite:
        raise InputError(
            f"{given} already holds what excidiff wrote; add --overwrite to replace it, or choose another with -o"
        )
    return target


def inside(folder: Path, name: str) -> Path:
    """The path of a file `name` within `folder`. Raises `InputError` if the name leads out of it."""
    path = (folder / name).resolve()
    if path.parent != folder.resolve() and folder.resolve() not in path.parents:
        raise InputError(f"the name {name!r} leads out of the folder {folder}; results stay inside it")
    return path


def plain_name(text: str) -> str:
    """A file name made from any text: letters, digits, `-`, `_` and `.` stay; never empty, hidden or a path."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(str(text).replace("\\", "/")).name).strip("._")
    return stem[:80] or "image"


def _put_in_place(temporary: Path, target: Path) -> None:
    """Swap the finished folder in. Between the two renames the old result lies beside it under a hidden name."""
    if not target.exists():
        os.rename(temporary, target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
    os.rename(target, old / target.name)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(old / target.name, target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
