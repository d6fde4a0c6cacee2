"""Spectra reduced to the position and the width of their band, place by place, as figures of papers show them.

Each spectrum is fitted by itself with one Gaussian line, integrated between the edges of the bins, on an even ground,
which may come out below zero by chance, within two widths of its band. That describes a band with traps below it, or
many energies within, only roughly; the model's own spectra are reduced alike, so that both can be compared.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from excidiff.inverse.fit.lines import line
from excidiff.inverse.fit.start import FWHM
from excidiff.solver.solution import InputError

STEPS = 25  # of Fisher scoring, each at most half a width
REACH = 2.0  # widths of the band to either side, within which bins are used
FAR = 3.0  # the same where a band stands alone: more of its ground is seen
SURE = 5.0  # standard errors that the amplitude must have for a line to be told at all
FEWEST = 5  # bins that a line must have within reach
DARKEST = 0.02  # of the mean: the least variance that photons of a bin are taken to have
SQRT_2PI = float(np.sqrt(2 * np.pi))
BATCH = 512  # spectra that are fitted at a time
ROUNDS = 2  # fits that follow each band with their reach
STRAY = 8.0  # standard errors above what is beside it that no bin has
ALONE, TOGETHER = 2.0, 8.0  # times what is beside one bin, and two, that none of a band has
STRANGE = 3.0  # times the common width, either way, beyond which no spectrum's own width is a start


class Peaks(NamedTuple):
    """Per place, meV: the line's centre and standard deviation with their errors; NaN where no line is seen.

    light: within the line, in counts; misfit: χ² of the line per degree of freedom.
    """

    centre: Float64[np.ndarray, " P"]
    centre_error: Float64[np.ndarray, " P"]
    width: Float64[np.ndarray, " P"]
    width_error: Float64[np.ndarray, " P"]
    light: Float64[np.ndarray, " P"]
    light_error: Float64[np.ndarray, " P"]
    misfit: Float64[np.ndarray, " P"]


def reduce_spectra(
    counts: Float64[np.ndarray, "P colour"],
    variance: Float64[np.ndarray, "P colour"] | None,
    edges: Float64[np.ndarray, " colour+1"],
    centre: float | Float64[np.ndarray, " P"],
    width: float | Float64[np.ndarray, " P"],
    used: Bool[np.ndarray, "P colour"] | None = None,
    reach: float = REACH,
) -> Peaks:
    """Fit a line to each spectrum, starting from `centre` and `width` (meV), of all or of each.

    variance: of the counts; None: that of photons. used: bins that may be used; None: all.
    """
    energy = (edges[1:] + edges[:-1]) / 2
    centre, width = (np.broadcast_to(np.asarray(a, float), len(counts)) for a in (centre, width))
    near = np.abs(energy[None] - centre[:, None]) < reach * width[:, None]
    if used is not None:
        near &= used
    law = np.ones_like(counts) if variance is None else variance
    values, errors, chi2 = _in_batches((counts, law, near.astype(float), centre, width), edges, variance is None)
    bins = near.sum(1)
    seen = np.isfinite(errors).all(1) & (values[:, 2] > SURE * errors[:, 2]) & (bins >= FEWEST)
    seen &= (values[:, 0] > edges.min()) & (values[:, 0] < edges.max()) & (values[:, 1] < np.ptp(edges))
    columns = (values[:, 0], errors[:, 0], values[:, 1], errors[:, 1], values[:, 2], errors[:, 2],
               chi2 / np.maximum(bins - 4, 1))  # fmt: skip
    return Peaks(*(np.where(seen, column, np.nan) for column in columns))


def stray_bins(
    counts: Float64[np.ndarray, "P colour"], variance: Float64[np.ndarray, "P colour"] | None
) -> Bool[np.ndarray, "P colour"]:
    """One bin or two that stand far out of those beside them, such as cosmic rays leave: no band is as narrow.

    Of a Gaussian band that is two bins wide at half its height the brightest bin has 1.9 times its neighbours at most,
    and of two bins the darker one 3.5 times what is beside both.
    """
    around = np.pad(counts, ((0, 0), (2, 2)), mode="reflect")
    law = np.pad(np.maximum(counts, 1.0) if variance is None else variance, ((0, 0), (2, 2)), mode="reflect")
    quiet = np.minimum(np.roll(law, 1, axis=1), np.roll(law, -1, axis=1))  # a stray count is no measure of its noise

    def out(low: np.ndarray, beside: np.ndarray, times: float) -> np.ndarray:
        beside = np.maximum(beside, 0.0)
        return low - beside > STRAY * np.sqrt(np.maximum(quiet, 1e-300)) + (times - 1) * beside

    before, after = np.roll(around, 1, axis=1), np.roll(around, -1, axis=1)
    one = out(around, np.maximum(before, after), ALONE)
    two = out(np.minimum(around, after), np.maximum(before, np.roll(around, -2, axis=1)), TOGETHER)
    found = one | two | np.roll(two, 1, axis=1)
    return found[:, 2:-2]


def follow_bands(
    counts: Float64[np.ndarray, "P colour"],
    variance: Float64[np.ndarray, "P colour"] | None,
    edges: Float64[np.ndarray, " colour+1"],
    name: str,
    used: Bool[np.ndarray, "P colour"],
) -> Peaks:
    """The same for bands that wander and change their width: each is looked for where its spectrum is brightest.

    used: bins that may be used. Raises InputError where even the sum of all spectra shows no band.
    """
    common, wide = band_of((counts * used).sum(0) / np.maximum(used.mean(0), 1e-3), edges, name)
    energy = np.arange(edges.size - 1)
    clean = [np.interp(energy, energy[use], spectrum[use]) for spectrum, use in zip(counts, used, strict=True)]
    starts = np.array([_own_band(spectrum, edges, wide) or (common, wide) for spectrum in clean])
    centre, width = starts.T
    for _ in range(ROUNDS):
        found = reduce_spectra(counts, variance, edges, centre, width, used, FAR)
        good = np.isfinite(found.centre)
        centre, width = np.where(good, found.centre, centre), np.where(good, found.width, width)
        width = np.clip(width, wide / STRANGE, wide * STRANGE)
    return reduce_spectra(counts, variance, edges, centre, width, used, FAR)


def band_of(
    spectrum: Float64[np.ndarray, " colour"], edges: Float64[np.ndarray, " colour+1"], name: str
) -> tuple[float, float]:
    """(centre, standard deviation) in meV of the brightest band, at half its height. Raises InputError for none."""
    found = _half_height(spectrum, edges, 5)
    if found is None:
        raise InputError(
            f"{name}: no band of light stands out of the background; a band is wider than two bins and narrower than "
            "the spectrum: choose a part of the wavelengths, or look for a stray line"
        )
    return found


def _own_band(spectrum: np.ndarray, edges: np.ndarray, width: float) -> tuple[float, float] | None:
    """Where one spectrum's band lies, and how wide it is, smoothed over half the `width` of all; None if nowhere."""
    bins = max(3, round(0.5 * width / float(np.median(np.abs(np.diff(edges))))))
    found = _half_height(spectrum, edges, bins)
    return found if found is not None and width / STRANGE < found[1] < width * STRANGE else None


def _half_height(spectrum: np.ndarray, edges: np.ndarray, bins: int) -> tuple[float, float] | None:
    """(centre, width σ) of what is above half the height of the brightest `bins` neighbours together."""
    smooth = np.convolve(spectrum, np.ones(bins), mode="same") / np.convolve(
        np.ones_like(spectrum), np.ones(bins), "same"
    )
    smooth = smooth - np.quantile(smooth, 0.1)
    top = int(np.argmax(smooth))
    dark = np.flatnonzero(smooth <= 0.5 * smooth[top])
    if not smooth[top] > 0 or not dark.size:
        return None
    low, high = max(dark[dark < top], default=-1) + 1, min(dark[dark > top], default=smooth.size)
    inside = np.s_[low:high]
    if high - low < 2 or high - low > 0.9 * smooth.size:
        return None
    steps, energy = np.abs(np.diff(edges))[inside], ((edges[1:] + edges[:-1]) / 2)[inside]
    light = smooth[inside] * steps
    return float((light * energy).sum() / light.sum()), float(steps.sum()) / FWHM


def _in_batches(spectra: Sequence[np.ndarray], edges: np.ndarray, photons: bool) -> list[np.ndarray]:
    """`_fitted`, so many spectra at a time: a large map's would not fit into memory together."""
    count, found = len(spectra[0]), []
    size = min(BATCH, count)
    for first in range(0, count, size):
        part = np.minimum(np.arange(first, first + size), count - 1)  # the last one again fills the last batch up
        counts, law, near, centre, width = (a[part] for a in spectra)
        found.append(_fitted(counts, law, near, edges, centre, width, photons=photons))
    return [np.concatenate([np.asarray(a) for a in column])[:count] for column in zip(*found, strict=True)]


@partial(jax.jit, static_argnames="photons")
def _fitted(
    counts, law, used, edges, centre, width, *, photons: bool
) -> tuple[Float[Array, "P 4"], Float[Array, "P 4"], Float[Array, " P"]]:
    """(values, errors, χ²) of each spectrum's centre, width, light and ground."""

    turned = jnp.sign(edges[1] - edges[0])

    def expected(own):
        """The counts of a line on its ground, and their derivatives (colour, 4)."""
        shape, z = line(own[:1], own[1], edges)[0], (edges - own[0]) / own[1]
        bell = turned * own[2] / own[1] / SQRT_2PI * jnp.exp(-(z**2) / 2)
        rise, stretch = bell, z * bell
        slopes = [rise[:-1] - rise[1:], stretch[:-1] - stretch[1:], shape, jnp.ones_like(shape)]
        return own[2] * shape + own[3], jnp.stack(slopes, axis=1)

    def one(y, given, use, middle, wide):
        lowest = jnp.min(jnp.where(use > 0, y, jnp.inf))
        ground = lowest + 0.02 * jnp.sum(use * y) / jnp.sum(use) + 1e-3
        start = jnp.array([middle, wide, jnp.maximum(jnp.sum(use * (y - ground)), 1.0), ground])
        most = jnp.array([0.5 * wide, 0.5 * wide, jnp.inf, jnp.inf])
        darkest = DARKEST * jnp.sum(use * y) / jnp.sum(use) + 1e-6  # below it few photons weigh all

        def weighed(own):
            mu, slopes = expected(own)
            weight = use / (jnp.maximum(mu, darkest) if photons else given)
            matrix = slopes.T @ (weight[:, None] * slopes)
            return matrix, slopes.T @ (weight * (y - mu)), jnp.sum(weight * (y - mu) ** 2)

        def step(own, _):
            matrix, score, _ = weighed(own)
            moved = own + jnp.clip(jnp.linalg.solve(matrix, score), -most, most)
            moved = moved.at[1].set(jnp.maximum(moved[1], 0.1 * wide))
            return moved.at[2].set(jnp.maximum(moved[2], 0.0) if photons else moved[2]), None

        own, _ = jax.lax.scan(step, start, None, length=STEPS)
        matrix, _, chi2 = weighed(own)
        return own, jnp.sqrt(jnp.diagonal(jnp.linalg.inv(matrix))), chi2

    return jax.vmap(one)(counts, law, used, centre, width)
