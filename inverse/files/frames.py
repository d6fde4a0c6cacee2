"""Frames of a movie with their own times: images with an axis of time, and streaks across the sample.

Each bin of time of a streak is what a slit over the spot's middle saw in one gate: an image of one row, whose pixel is
as high as the slit is wide. The model integrates over the pixel, so that D needs no correction for the slit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.files.axes import Axis
from excidiff.inverse.files.data import Camera, Image
from excidiff.inverse.files.labelled import read_labelled
from excidiff.inverse.files.noise import Uncertainty, doubts
from excidiff.inverse.files.readers import ImageOptions, read_images
from excidiff.inverse.files.streak import Streak, read_streak
from excidiff.inverse.files.units import format_quantity, parse_quantity
from excidiff.solver.solution import InputError

MOST_GATES = 64  # frames that a streak is cut into: finer ones tell no more of D and τ
RISING = 5.0  # standard errors by which a later frame may not be brighter than the first
OF_STREAKS = ("gain", "excess_noise", "uncertainty", "max_pixels")  # what may be said of the camera of a streak
Quantity = str | float


class Frames(NamedTuple):
    """Images of one spot, one per gate; gates: (t0, t1) of each in ns after the pulse."""

    images: list[Image]
    gates: Float64[np.ndarray, "F 2"]


def read_frames(
    path: str | Path, *, slit: Quantity | None = None, pulse: Quantity | None = None, **options: Unpack[ImageOptions]
) -> Frames:
    """Read the frames of a file that says when each was taken: with axes time × y × x, or time × x, a streak's.

    slit: of a streak, its width at the sample, "0.2 um" or in µm. pulse: when the pulse came on the axis of time, None:
    at its zero; frames before it are left out. options: see `ImageOptions`; of a streak those of `OF_STREAKS`.

    Raises InputError for files without an axis of time, and as `slit_frames` does.
    """
    labelled = read_labelled(path, max_pixels=options.get("max_pixels", 2**28))
    time = labelled.axis("time")
    if sum(axis.values.size > 1 for axis in labelled.axes) > 2:
        if labelled.axes[0] is not time:
            raise InputError(f"{path}: its axes are {_axes(labelled)}; frames have time first, then y and x")
        images = read_images(path, **options)
        before, gates = _gates(time, len(images), pulse, str(path))
        return Frames(images[before:], gates)
    useless = [name for name, value in options.items() if name not in OF_STREAKS and value not in (None, 0.0)]
    if useless:
        raise InputError(f"{path}: {' and '.join(useless)} given, which the streak of a slit has no use for")
    if slit is None:
        raise InputError(
            f'{path}: a streak along x needs the width of the slit at the sample, --slit "0.2 um": light from beside '
            "the line passes it, too"
        )
    gain = options.get("gain")
    camera = Camera(gain or 1.0, excess_noise=options.get("excess_noise", 1.0), saturation=np.inf,
                    gain_known=gain is not None)  # fmt: skip
    error: Uncertainty | None = options.get("uncertainty")
    return slit_frames(read_streak(path, uncertainty=error), slit, pulse=pulse, camera=camera)


def slit_frames(
    streak: Streak, slit: Quantity, *, pulse: Quantity | None = None, camera: Camera | None = None
) -> Frames:
    """Images of one row and their gates, from a streak across the sample.

    slit: its width at the sample, "0.2 um" or in µm. pulse: when the pulse came on the axis of time, "0.1 ns" or in
    ns; None: at its zero. Bins before it are left out; equally many neighbours are added up to at most `MOST_GATES`
    frames, as the background is the same in each. The camera's response is not taken out: gates should be longer.

    Raises InputError for a streak without places, places that are not even, and light that still rises after the
    pulse.
    """
    if streak.x is None:
        raise InputError(f"{streak.file}: its axes are time and wavelength; its bands are decays, not images")
    step = Axis("x", "µm", streak.x, streak.file).step
    if step is None:
        raise InputError(f"{streak.file}: its places are not even; resample it to pixels of one size")
    height, zero = parse_quantity(slit, "pixel_size", name="slit"), _pulse(pulse)
    edges = streak.time_edges - zero
    _check_rise(streak.counts.sum(1), edges, streak.file, given=pulse is not None)
    cuts, gates = _cuts(edges, streak.counts, streak.file)
    errors = streak.uncertainty
    totals = np.add.reduceat(streak.counts[: cuts[-1]], cuts[:-1], axis=0)
    squares = None if errors is None else np.add.reduceat(errors[: cuts[-1]] ** 2, cuts[:-1], axis=0)
    told = (
        f"{len(gates)} gates of {cuts[1] - cuts[0]} bins of time each, bins {cuts[0]} to {cuts[-1] - 1} of "
        f"{len(streak.time)}, the pulse at {format_quantity(zero, 'time')}"
    )
    images = [
        Image(
            total[None],
            (height, step),
            f"a slit of {format_quantity(height, 'length')}, steps along x; {told}",
            camera=camera or Camera(saturation=np.inf),
            uncertainty=None if squares is None else np.sqrt(squares[number])[None],
            file=streak.file,
            frame=number,
            sha256=streak.sha256,
            notes=tuple(doubts(streak.notes)),
        )
        for number, total in enumerate(totals)
    ]
    return Frames(images, gates)


def gate_pairs(gates: Any, images: Sequence[Image]) -> np.ndarray | None:
    """(t0, t1) in ns of every frame, from pairs or common edges. Raises InputError for what cannot be."""
    if gates is None:
        return None
    pairs = np.asarray(gates, float)
    if pairs.ndim == 1 and pairs.size == len(images) + 1:
        pairs = np.stack([pairs[:-1], pairs[1:]], axis=1)
    good = pairs.shape == (len(images), 2) and np.all(np.isfinite(pairs)) and np.all(pairs[:, 0] >= 0)
    if not good or np.any(pairs[:, 1] <= pairs[:, 0]):
        raise InputError(
            f"gates of shape {pairs.shape} for {len(images)} frames: give (t0, t1) with 0 ≤ t0 < t1 in ns for each, "
            f"or their {len(images) + 1} common edges"
        )
    if len(images) < 2 or any(image.shape != images[0].shape for image in images):
        raise InputError("gates need two frames or more, all of one shape")
    return pairs


def _gates(time: Axis, count: int, pulse: Quantity | None, name: str) -> tuple[int, Float64[np.ndarray, "F 2"]]:
    """(how many frames came before the pulse, the gates of the others in ns); gates end midway between frames."""
    if time.values.size != count or count < 2 or not (np.diff(time.values) > 0).all():
        raise InputError(f"{name}: its times do not rise from frame to frame; give --frame-time instead")
    middle = (time.values[1:] + time.values[:-1]) / 2
    ends = np.concatenate([[2 * time.values[0] - middle[0]], middle, [2 * time.values[-1] - middle[-1]]])
    ends = ends - _pulse(pulse)
    before = int(np.count_nonzero(ends[1:] <= 1e-9 * np.ptp(ends)))
    return before, np.stack([np.maximum(ends[:-1], 0.0), ends[1:]], axis=1)[before:]


def _pulse(given: Quantity | None) -> float:
    return 0.0 if given is None else parse_quantity(given, "time", name="pulse time", zero=True)


def _axes(labelled) -> str:
    return ", ".join(f"{axis.name} [{axis.unit or 'no unit'}]" for axis in labelled.axes)


def _cuts(edges: np.ndarray, counts: np.ndarray, name: str) -> tuple[np.ndarray, Float64[np.ndarray, "F 2"]]:
    """(first bin of each gate and the end of the last, the gates): equally many bins after the pulse at 0 in each.

    What is dark in every place at the end is left out, and as many bins are added up as leave no such gate before.
    """
    after = np.flatnonzero(edges[1:] > 1e-9 * np.ptp(edges))
    first, every = int(after[0]), -(-after.size // MOST_GATES)
    while after.size // every >= 2:
        cuts = first + every * np.arange(after.size // every + 1)
        totals = np.add.reduceat(counts, cuts[:-1], axis=0)
        seen = np.flatnonzero(np.ptp(totals, axis=1) > 0)
        if seen.size > 1 and seen.size == seen[-1] + 1:
            ends = cuts[: seen.size + 1]
            return ends, np.stack([np.maximum(edges[ends[:-1]], 0.0), edges[ends[1:]]], axis=1)
        every *= 2
    raise InputError(f"{name}: too little light after the pulse for two gates")


def _check_rise(light: np.ndarray, edges: np.ndarray, name: str, *, given: bool) -> None:
    """Refuse a streak whose light rises after the pulse: the film's model has all of it at the first moment."""
    after = np.flatnonzero(edges[1:] > 1e-9 * np.ptp(edges))
    if after.size < 2:
        raise InputError(f"{name}: its times end before the pulse; check when it came (--pulse-time)")
    every = -(-after.size // MOST_GATES)
    starts = np.arange(int(after[0]), light.size - every + 1, every)
    ends = edges[starts + every]
    length = ends - np.maximum(edges[starts], 0.0)
    total = np.add.reduceat(light[: starts[-1] + every], starts)
    rate, error = total / length, np.sqrt(np.maximum(total, 1.0)) / length
    top = int(np.argmax(rate))
    if rate[top] - rate[0] > RISING * np.hypot(error[top], error[0]):
        when = format_quantity(float(ends[top] - length[top] / 2), "time")
        raise InputError(
            f"{name}: its light still rises until {when} after the {'given pulse' if given else 'zero of its time'}; "
            "say when the pulse came on that axis (--pulse-time), or let the frames begin where the light is brightest"
        )
