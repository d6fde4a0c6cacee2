"""What was measured, read from files: counts with their axes, and where every number came from."""
