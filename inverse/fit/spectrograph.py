"""A spectral map as a fit takes it: cells and colours, counts, and the band that stands out of the background."""

import jax
import numpy as np

from excidiff.inverse.files.absorption import Absorption
from excidiff.inverse.files.spectra import SpectralMap
from excidiff.inverse.fit.colours import Places
from excidiff.inverse.fit.guided import Guide, guide_nodes, parted
from excidiff.inverse.fit.likelihood import Counts
from excidiff.inverse.fit.prediction import steady_nodes
from excidiff.inverse.fit.start import FWHM
from excidiff.solver.solution import InputError

ROUND = 16  # places and colours, of which the arrays have a multiple, so that one program serves many maps
POINT = 1e-3  # µm: the size of a cell that is as good as a point


def places_of(measured: SpectralMap, thermal: float, spot: float, absorption: Absorption | None) -> Places:
    """Where and between which energies light was counted, on the device; `thermal`: k_BT, meV; `spot`: its σ, µm.

    With `absorption` of a film that guides light; raises InputError where that does not reach as far as the spectra.
    """
    x, y = _padded(measured.x, measured.x.size), measured.y
    edges, guide = _padded(measured.edges, measured.edges.size - 1), None
    if absorption is not None:
        own = parted(measured.edges)
        found = absorption.at((own[1:] + own[:-1]) / 2)
        whole = parted(edges)
        found = np.append(found, np.full(whole.size - own.size, found[-1]))
        guide = Guide(whole, found, *guide_nodes(spot, field_of(measured, spot)))
    sides = sides_of(measured, x, y)
    return jax.device_put(Places(*sides, edges, np.asarray(thermal), steady_nodes(), guide))


def sides_of(
    measured: SpectralMap, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left, right, below, above of the cells about places x and y, µm."""
    half_x, half_y = max(measured.step, POINT) / 2, max(measured.slit, POINT) / 2
    return x - half_x, x + half_x, y - half_y, y + half_y


def middle_of(measured: SpectralMap, profile: np.ndarray) -> tuple[float, float]:
    """Where the light `profile` (y, x) is: the middle of what is above half of the brightest, (x, y); of a line y is
    zero."""
    found = []
    for axis, places in ((0, measured.x), (1, measured.y)):
        row = profile.sum(axis)
        above = np.clip(row - 0.5 * row.max(), 0.0, None)
        found.append(float((above * places).sum() / above.sum()))
    return found[0], found[1] if measured.y.size > 1 else 0.0


def field_of(measured: SpectralMap, spot: float) -> float:
    """The size of what was looked at, with its spot, µm."""
    return float(max(np.ptp(measured.x), np.ptp(measured.y))) + spot


def band_of(measured: SpectralMap) -> tuple[float, float, float]:
    """(centre meV, width σ meV, background per bin) of the sum of all spectra: at half height, and where darkest."""
    counts = measured.counts.reshape(-1, measured.counts.shape[-1])
    ground = float(np.quantile(counts[:, : max(counts.shape[1] // 8, 1)].mean(0), 0.25))
    ground = min(ground, float(np.quantile(counts[:, -max(counts.shape[1] // 8, 1) :].mean(0), 0.25)))
    whole = counts.sum(0) - ground * counts.shape[0]
    smooth = np.convolve(whole, np.ones(5) / 5, mode="same")
    top = int(np.argmax(smooth))
    above = np.flatnonzero(smooth > 0.5 * smooth[top])
    inside = above[np.abs(above - top) <= above.size]
    energy, steps = measured.energy, np.abs(np.diff(measured.edges))
    width = float(steps[inside].sum()) / FWHM
    if not smooth[top] > 0 or inside.size < 2 or inside.size > 0.9 * whole.size:
        raise InputError(
            f"{measured.file}: no band stands out of the background; a spectral map needs a band that is wider than "
            "two bins and narrower than the spectrum"
        )
    light = smooth[inside] * steps[inside]
    return float((light * energy[inside]).sum() / light.sum()), width, max(ground, 0.0)


def counts_of(measured: SpectralMap, places: Places) -> Counts:
    """The counts, padded where nothing is used."""
    shape = (measured.counts.shape[0], places.left.size, places.edges.size - 1)
    cut = np.s_[:, : measured.counts.shape[1], : measured.counts.shape[2]]
    whole, used, floor = (np.zeros(shape) for _ in range(3))
    whole[cut], used[cut] = measured.counts, 1.0
    if measured.uncertainty is not None:
        floor += 1.0
        floor[cut] = measured.uncertainty**2
    return jax.device_put(Counts(whole, used, np.ones_like(whole), floor, np.asarray(1.0)))


def _padded(axis: np.ndarray, count: int) -> np.ndarray:
    """An axis of `count` places, or of their edges, carried on to a multiple of `ROUND`."""
    more = -count % ROUND
    step = float(np.mean(np.diff(axis))) if axis.size > 1 else 1.0
    return np.concatenate([axis, axis[-1] + step * np.arange(1, more + 1)])
