"""What a measurement would tell before it is made: the error that each number of a film would get from its photons.

The expected information of every measurement, JᵀV⁻¹J at the film that is assumed, with all that belongs to it alone
(centre, brightness, background, shift) projected out, adds up over independent measurements,

    I = Σ_m [A − B C⁻¹ Bᵀ]_m,     A of the film's numbers, C of the measurement's own, B between them,

and the errors are √diag I⁻¹: the Cramér–Rao bound, which the fits reach. A direction in which I is (nearly) zero is
told as such: no amount of the same photons fixes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from excidiff.inverse.fit.gated import gated_model
from excidiff.inverse.fit.layout import FILMS, Instruments, Layout, Picture, Pixels, names_of
from excidiff.inverse.fit.prediction import pixel_edges, steady_nodes
from excidiff.inverse.fit.pulses import MODES, NODES, STEPS
from excidiff.inverse.fit.response import Window, gaussian_shape, shown
from excidiff.inverse.fit.shots import series_model
from excidiff.inverse.fit.spot import steady_model
from excidiff.inverse.fit.start import FWHM
from excidiff.inverse.fit.uncertainty import covariance
from excidiff.solver.disc import round_radius

BLIND = 1e3  # relative error beyond which a number counts as not determined


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """The film and the optics that a plan assumes: numbers of `FILMS[model]`, widths of laser and PSF in µm FWHM.

    known: relative errors of numbers that are known beforehand, by name.
    """

    model: str
    film: Mapping[str, float]
    laser_fwhm: float
    psf_fwhm: float
    known: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        return FILMS[self.model]

    @property
    def width(self) -> float:
        """σ of laser ⊗ PSF, µm."""
        return float(np.hypot(self.laser_fwhm, self.psf_fwhm)) / FWHM


@dataclass(frozen=True, eq=False, kw_only=True)
class Planned:
    """One measurement to come; `count` alike. Photons of each, background per pixel or bin; times in ns, lengths in µm.

    kind: "image" (pixels² of `pixel_size`), "frames" (so many of `frame_time`), or "decay" (`bins` over `window`,
    through a Gaussian response of `irf_fwhm`, with the laser's `period`). peak_density: of a pulse, 1/µm²; then an
    image integrates to `exposure`.
    """

    kind: str
    photons: float
    background: float = 0.0
    count: int = 1
    pixels: int = 96
    pixel_size: float = 0.05
    frames: int = 8
    frame_time: float = 1.0
    bins: int = 500
    window: float = 25.0
    irf_fwhm: float = 0.0
    period: float | None = None
    peak_density: float | None = None
    exposure: float | None = None

    @property
    def words(self) -> str:
        """What it is, for people."""
        many = f"{self.count} × " if self.count > 1 else ""
        pulse = "" if self.peak_density is None else f" at {self.peak_density:g} /µm²"
        kinds = {"image": "image", "frames": f"{self.frames} frames", "decay": f"decay over {self.window:g} ns"}
        what = kinds[self.kind]
        return f"{many}{what} of {self.photons:,.0f} photons{pulse}".replace(",", "\u202f")


def forecast(setup: Setup, planned: Sequence[Planned]) -> dict[str, float | None]:
    """Relative errors of the film's numbers, and of the diffusion length √(Dτ) of a film with one lifetime.

    None for what all of it together leaves open.
    """
    with jax.enable_x64(True):
        total = sum((one.count * information(setup, one) for one in planned), np.zeros((len(setup.names),) * 2))
    for name, error in setup.known.items():
        at = setup.names.index(name)
        total[at, at] += error**-2.0
    found = covariance(total, np.ones(len(setup.names), bool))
    errors: dict[str, float | None] = {}
    for index, name in enumerate(setup.names):
        own = float(np.sqrt(found.matrix[index, index]))
        errors[name] = None if index in found.blind or not 0 < own < BLIND else own
    if setup.model == "free":
        errors["diffusion_length"] = _length(total)
    return errors


def _length(total: np.ndarray) -> float | None:
    """σ(log L) of (log D, log τ): L may be sure where neither is."""
    turned = np.array([[0.5, 0.5], [0.5, -0.5]])  # (log L, log √(D/τ))
    back = np.linalg.inv(turned)
    found = covariance(back.T @ total @ back, np.ones(2, bool))
    error = float(np.sqrt(found.matrix[0, 0]))
    return error if 0 in _seen(found) and 0 < error < BLIND else None


def _seen(found) -> set[int]:
    return {0, 1} - set(found.blind)


def information(setup: Setup, planned: Planned) -> Float64[np.ndarray, "F F"]:
    """What one measurement tells of the film's numbers, as logarithms, its own numbers projected out."""
    if planned.peak_density is not None or setup.model != "free":
        return _of_pulse(setup, planned)
    return {"image": _of_image, "frames": _of_frames, "decay": _of_decay}[planned.kind](setup, planned)


def _of_image(setup: Setup, planned: Planned) -> np.ndarray:
    """log L = (log D + log τ)/2."""
    length = np.sqrt(setup.film["diffusivity"] * setup.film["lifetime"])
    own = np.array([np.log(length), np.log(setup.width), 0.0, 0.0, 0.0, planned.background])
    sides = pixel_edges(planned.pixels, planned.pixel_size)
    even, nodes = jnp.ones((1, planned.pixels, planned.pixels)), steady_nodes()
    expected, slopes = _scaled(planned, lambda p: steady_model(p, nodes, sides, sides, even), own, 4)
    told = projected(expected, slopes, [0], [2, 3, 4, 5])
    return 0.25 * told[0, 0] * np.ones((2, 2))


def _of_frames(setup: Setup, planned: Planned) -> np.ndarray:
    edges = planned.frame_time * np.arange(planned.frames + 1)
    gates = jnp.asarray(np.stack([edges[:-1], edges[1:]], axis=1))
    film = [np.log(setup.film[name]) for name in ("diffusivity", "lifetime")]
    own = np.array([*film, np.log(setup.width), 0.0, 0.0, 0.0, planned.background])
    sides = pixel_edges(planned.pixels, planned.pixel_size)
    even = jnp.ones((planned.frames, planned.pixels, planned.pixels))
    expected, slopes = _scaled(planned, lambda p: gated_model(p, gates, sides, sides, even), own, 5)
    return projected(expected, slopes, [0, 1], [3, 4, 5, 6])


def _of_decay(setup: Setup, planned: Planned) -> np.ndarray:
    width = planned.window / planned.bins
    late = 3 * planned.irf_fwhm
    window = Window(-late, width, planned.bins, planned.period)
    shape = None if planned.irf_fwhm == 0 else gaussian_shape(planned.irf_fwhm / FWHM)

    def expected(p):
        return jnp.exp(p[1]) * shown(jnp.exp(-p[0]), p[2], shape, window) + p[3]

    def model(p):
        return expected(p), jnp.moveaxis(jax.jacfwd(expected)(p), -1, 0)

    own = np.array([np.log(setup.film["lifetime"]), 0.0, 0.0, planned.background])
    mean, slopes = _scaled(planned, model, own, 1)
    told = projected(mean, slopes, [0], [1, 3] if shape is None else [1, 2, 3])
    return np.array([[0.0, 0.0], [0.0, told[0, 0]]])


def _of_pulse(setup: Setup, planned: Planned) -> np.ndarray:
    """An image, a movie or a decay after a pulse of one density, its scale its own."""
    decay, gates = planned.kind == "decay", _gates(setup, planned)
    last = planned.window if decay else gates[-1][1]
    edges = tuple(np.round(np.linspace(0.0, last, planned.bins + 1), 12).tolist()) if decay else None
    layout = Layout(
        model=setup.model,
        pictures=() if decay else (Picture(planned.kind, 0, gates),),
        decays=(edges,),
        firsts=(0.0,),
        responses=(planned.irf_fwhm / FWHM,),
        scale="free",
        even=False,
        quadratic=False,
        nodes=NODES,
        modes=MODES,
        steps=STEPS,
    )
    names = names_of(layout)
    sides = pixel_edges(planned.pixels, planned.pixel_size)
    source = setup.laser_fwhm / FWHM
    corner = 0.0 if decay else float(np.hypot(sides[-1], sides[-1])) * 1.05
    radius = round_radius(source, setup.film["diffusivity"], setup.film["lifetime"], last, corner)
    even = jnp.ones((len(gates), planned.pixels, planned.pixels))
    given = Instruments(() if decay else (Pixels(jnp.asarray(sides), jnp.asarray(sides), even),), radius)
    plain = {"width": np.log(source), "psf_width": np.log(max(setup.psf_fwhm / FWHM, 1e-3 * source)),
             "peak_density_1": np.log(planned.peak_density or 1.0),
             f"{planned.kind}_background_1": planned.background}  # fmt: skip
    plain |= {name: np.log(value) for name, value in setup.film.items()}
    own = np.array([plain.get(name, 0.0) for name in names])
    at = names.index(f"{planned.kind}_scale_1")
    expected, slopes = _scaled(planned, lambda p: series_model(layout)(p, given), own, at)
    free = [name for name in names if name not in ("width", "psf_width", "peak_density_1", *setup.names)]
    if planned.irf_fwhm == 0:
        free = [name for name in free if not name.startswith("shift")]
    return projected(expected, slopes, list(range(len(setup.names))), [names.index(name) for name in free])


def _gates(setup: Setup, planned: Planned) -> tuple[tuple[float, float], ...]:
    """Of frames each, of an image the one that it integrates over."""
    if planned.kind != "frames":
        return ((0.0, float(planned.exposure or 12 * setup.film["lifetime"])),)
    ends = np.round(planned.frame_time * np.arange(planned.frames + 1), 12).tolist()
    return tuple(pairwise(ends))


def _scaled(planned: Planned, model: Callable[..., Any], own: np.ndarray, at: int) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts and slopes where the brightness, the parameter `at` (log), gives as many photons as planned."""
    run = jax.jit(model)
    expected = np.asarray(run(jnp.asarray(own))[0]).ravel()
    light = float((expected - planned.background).sum())
    bright = own.copy()
    bright[at] += np.log(planned.photons / light)
    mean, slopes = run(jnp.asarray(bright))
    return np.asarray(mean).ravel(), np.asarray(slopes).reshape(own.size, -1)


def projected(expected: np.ndarray, slopes: np.ndarray, film: list[int], own: list[int]) -> Float64[np.ndarray, "F F"]:
    """A − B C⁻¹ Bᵀ of JᵀV⁻¹J, V = µ."""
    law = np.maximum(expected, 1e-12)
    matrix = (slopes / law) @ slopes.T
    within, beside, between = (matrix[np.ix_(a, b)] for a, b in ((film, film), (own, own), (film, own)))
    return within - between @ np.linalg.pinv(beside, rcond=1e-12) @ between.T


def alternatives(setup: Setup, planned: Sequence[Planned]) -> list[tuple[str, Setup, list[Planned]]]:
    """Changes worth asking about: (in words, the setup, the measurements)."""
    found: list[tuple[str, Setup, list[Planned]]] = []
    lifetime = setup.film["lifetime"]

    def with_one(index: int, **changes: Any) -> list[Planned]:
        return [replace(one, **changes) if i == index else one for i, one in enumerate(planned)]

    for i, one in enumerate(planned):
        found.append((f"four times the photons of the {one.words}", setup, with_one(i, photons=4 * one.photons)))
        if one.kind == "decay" and one.period is None:
            longer = with_one(i, window=2 * one.window, bins=2 * one.bins)
            found.append((f"twice the window of the {one.words}", setup, longer))
        if one.background > 0:
            found.append((f"no background under the {one.words}", setup, with_one(i, background=0.0)))
    if any(one.kind != "decay" for one in planned):
        narrow = replace(setup, laser_fwhm=setup.laser_fwhm / 1.5)
        found.append((f"a laser spot of {1e3 * narrow.laser_fwhm:.3g} nm", narrow, list(planned)))
    pulses = [one for one in planned if one.peak_density is not None]
    if pulses:
        for factor, end in ((10.0, max), (0.1, min)):
            model = end(pulses, key=lambda one: one.peak_density or 0.0)
            density = factor * (model.peak_density or 1.0)
            more = [*planned, replace(model, peak_density=density)]
            found.append((f"one more {model.kind} at {density:g} /µm²", setup, more))
    elif setup.model == "free":
        if not any(one.kind == "decay" for one in planned):
            more = Planned(kind="decay", photons=1e5, background=1.0, window=6 * lifetime)
            found.append((f"a {more.words} beside it", setup, [*planned, more]))
        if not any(one.kind == "frames" for one in planned):
            first = next((one for one in planned if one.kind == "image"), Planned(kind="image", photons=1e5))
            more = replace(first, kind="frames", frames=8, frame_time=lifetime / 3, count=1)
            found.append((f"{more.words} beside it", setup, [*planned, more]))
    return found
