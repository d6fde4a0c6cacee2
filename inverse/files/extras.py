"""Libraries that read one maker's files: loaded when such a file comes, and told how to get when they are missing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from excidiff.inverse.files.raster import damage_reported
from excidiff.solver.solution import InputError


def needed(module: str, name: str, install: str) -> Any:
    """The module that reads the file `name`. Raises InputError with the command that installs it if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{name}: it is read by {module.partition('.')[0]}, which is not installed ({error}); "
            f'install it with: pip install "{install}"'
        ) from error


@contextmanager
def faults_reported(name: str, kind: str, library: str) -> Iterator[list[str]]:
    """As `damage_reported`, for a library that logs what it finds; gives the list of its warnings, as they come.

    What it logs as an error, and then goes on from as if nothing had happened, is damage as well: an InputError.
    """
    kept, logger = _Kept(), logging.getLogger(library)
    before = logger.propagate
    logger.addHandler(kept)
    logger.propagate = False
    try:
        with damage_reported(name, kind):
            yield kept.warnings
            if kept.errors:
                raise ValueError(kept.errors[0])
    finally:
        logger.removeHandler(kept)
        logger.propagate = before


class _Kept(logging.Handler):
    """Keeps what is logged instead of showing it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        (self.errors if record.levelno >= logging.ERROR else self.warnings).append(record.getMessage()[:160])
