"""How much memory a computation may ask for, so that too large a one is refused before it starts."""

import os


def half_of_memory() -> float:
    """Half of the machine's memory in bytes; without limit where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):
        return float("inf")
