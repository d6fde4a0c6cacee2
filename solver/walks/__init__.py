"""The random walk: the same film, one exciton at a time."""
