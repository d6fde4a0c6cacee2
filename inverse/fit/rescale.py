"""Counts whose gain nobody gave: the image again with the gain that its own noise shows, and a note that says so."""

from dataclasses import replace
from math import inf

from excidiff.inverse.files.data import Image


def with_gain(image: Image, gain: float) -> tuple[Image, str]:
    """`image` with its counts taken as `gain` counts per photoelectron, and the sentence to report."""
    camera = replace(image.camera, gain=gain, saturation=inf)  # what was saturated is masked already
    kind = "more" if gain > image.camera.gain else "less"
    note = (
        f"{image.name}: the counts scatter {kind} than photons do, evenly in bright and dim pixels, and no gain was "
        f"given: it was estimated from the scatter as {gain:.3g} counts per photoelectron. Give the gain to be sure."
    )
    return replace(image, camera=camera), note
