"""What a fluence series is made of, for its model: pulses, pictures, spectra, decays, and the parameters by name."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from excidiff.inverse.fit.colours import LINES

FILMS = {
    "free": ("diffusivity", "lifetime"),
    "annihilation": ("diffusivity", "lifetime", "annihilation"),
    "traps": ("diffusivity", "lifetime", "trapping_rate", "release", "trap_lifetime"),
    "saturable traps": ("diffusivity", "lifetime", "trap_density", "capture", "release", "trap_lifetime"),
}
"""The numbers of each model of a film, all positive."""
KINDS = ("image", "frames", "spectra", "raster", "raster_near", "decay")
"""What is measured of a pulse."""
CENTRES = {
    "image": ("centre_x", "centre_y"),
    "frames": ("frames_centre_x", "frames_centre_y"),
    "spectra": ("spectra_centre_x", "spectra_centre_y"),
}
"""Where the spot is in what was measured of a pulse against position."""
TRAP_BAND = ("trap_band_centre", "trap_band_width", "trap_brightness")
"""Of the light of traps in spectra; the last: photons of a trapped exciton per ns, over those of a free one."""


class Spline(NamedTuple):
    """A measured response: quadratic spline i of `count` begins `first` + i bins of the decay after the pulse, three
    bins long."""

    first: float
    count: int


class Picture(NamedTuple):
    """What was taken of pulse `pulse` against position: an "image", "frames", one per gate, or "spectra". gates:
    (t0, t1) of each in ns."""

    what: str
    pulse: int
    gates: tuple[tuple[float, float], ...]


class Look(NamedTuple):
    """A scan over all of the film with pulse `pulse`, one number: the photons up to `end` ns, or their mean age.

    near: whether the detector moves with the laser and takes the light near it, or all light.
    """

    pulse: int
    ages: bool
    near: bool
    end: float

    @property
    def what(self) -> str:
        """Of `KINDS`: detectors of all light and of that near the laser see unlike parts."""
        return "raster_near" if self.near else "raster"


class Layout(NamedTuple):
    """What is the same for every value of the parameters; hashable. Times in ns.

    model: of `FILMS`. pictures: images, then frames, by their pulses; spectra: maps of them likewise, scans: those
    of photons, then those of ages. line: of the bands of spectra, see `fit.colours.LINES`. magnified: whether the size
    of pixels is one of the numbers, in units of what was told. decays: per pulse the edges of its light's bins, from
    the pulse on, or None. firsts: where a decay's own bins begin on its axis. responses: per pulse the σ of its decay's
    Gaussian response, 0 for none, or a measured one. scale: "shared", "kind" or "free", see `FluenceSeries`. even:
    whether the laser's light is.
    quadratic: whether light goes with n². nodes, modes, steps: of the solver. period: of the laser, None for single
    pulses; with it the edges of `decays` may lie anywhere, as light is there at all times, and `bins` says how many
    each decay has itself.
    """

    model: str
    pictures: tuple[Picture, ...]
    decays: tuple[tuple[float, ...] | None, ...]
    firsts: tuple[float, ...]
    responses: tuple[float | Spline, ...]
    scale: str
    even: bool
    quadratic: bool
    nodes: int
    modes: int
    steps: int
    period: float | None = None
    bins: tuple[int, ...] = ()
    spectra: tuple[Picture, ...] = ()
    line: str = "gaussian"
    scans: tuple[Look, ...] = ()
    magnified: bool = False

    @property
    def colours(self) -> tuple[str, ...]:
        """The parameters of the spectra: what the spectrometer sees at once, the line, and the band of traps."""
        if not self.spectra:
            return ()
        band = TRAP_BAND if "traps" in self.model else ()
        return ("collection_width", "linewidth", *LINES[self.line], "band_centre", *band)


class Pixels(NamedTuple):
    """Edges of the pixels of a picture, µm, and their sensitivities, frame by frame."""

    x_edges: Float[Array | np.ndarray, " nx+1"]
    y_edges: Float[Array | np.ndarray, " ny+1"]
    flat: Float[Array | np.ndarray, "frames ny nx"]


class Cells(NamedTuple):
    """Sides of the cells that the places of a map of spectra stand for, µm, and the edges of its colours, meV."""

    left: Float[Array | np.ndarray, " nx"]
    right: Float[Array | np.ndarray, " nx"]
    below: Float[Array | np.ndarray, " ny"]
    above: Float[Array | np.ndarray, " ny"]
    edges: Float[Array | np.ndarray, " colour+1"]


class Instruments(NamedTuple):
    """The pixels of every picture, the radius of the disc, µm, the weights of the splines of every measured response,
    in the order of the pulses, the cells of every map of spectra, and of every scan σ of what is near, µm."""

    pixels: tuple[Pixels, ...]
    radius: Float[Array | np.ndarray, ""]
    weights: tuple[Float[Array | np.ndarray, " I"], ...] = ()
    cells: tuple[Cells, ...] = ()
    near: tuple[Float[Array | np.ndarray, ""], ...] = ()


def names_of(layout: Layout) -> tuple[str, ...]:
    """The parameters in order: the film's, the spot's, the pulses', those of pictures, spectra and decays."""
    pulses = range(len(layout.decays))
    found = [
        *FILMS[layout.model],
        "width",
        "psf_width",
        *("magnification",) * layout.magnified,
        *layout.colours,
        *(f"peak_density_{k + 1}" for k in pulses),
    ]
    measured = {what: _pulses_of(layout, what) for what in KINDS}
    for what, members in measured.items():
        found += [scale_name(layout, what, k) for k in members]
        found += [ground_name(layout, what, k) for k in members if not what.startswith("raster")]
    found += [f"{name}_{one.pulse + 1}" for one in (*layout.pictures, *layout.spectra) for name in CENTRES[one.what]]
    found += [f"shift_{k + 1}" for k in measured["decay"]]
    return tuple(dict.fromkeys(found))  # scales and backgrounds may be shared


def _pulses_of(layout: Layout, what: str) -> list[int]:
    """Of which this was measured, of scans the photons."""
    if what.startswith("raster"):
        return [look.pulse for look in layout.scans if not look.ages and look.what == what]
    if what == "decay":
        return [k for k, edges in enumerate(layout.decays) if edges is not None]
    return [one.pulse for one in (*layout.pictures, *layout.spectra) if one.what == what]


def scale_name(layout: Layout, what: str, k: int) -> str:
    """The parameter that turns excitons into photons for what was measured of pulse `k`.

    A spectrometer sees so much less that its scale is its own even where one is shared.
    """
    shared = f"{what}_scale" if what == "spectra" else "scale"
    return {"shared": shared, "kind": f"{what}_scale"}.get(layout.scale, f"{what}_scale_{k + 1}")


def ground_name(layout: Layout, what: str, k: int) -> str:
    """The background per pixel or bin of pulse `k`: what is counted alike, for as long, has one for all pulses."""
    return f"{what}_background_{k + 1}" if layout.scale == "free" else f"{what}_background"
