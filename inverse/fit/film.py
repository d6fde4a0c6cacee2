"""The image of a film with a known energy landscape, solved on a grid, and its fit.

    0 = ∇·[L² (∇n + n ∇U/k_BT)] + g − n,      L = √(Dτ), g the laser's spot of one exciton

so a steady image knows D and τ only as L here too. Every exciton recombines somewhere, and n is normalised: its image,
blurred by the PSF and integrated over the pixels, times the amplitude (photons over the whole plane) is what the camera
sees. Laser and PSF stand apart, as blurring no longer commutes with diffusion: the fit's `width` is that of
laser ⊗ PSF, as in a uniform film, `psf_width` that of the PSF; the laser at the sample has s² = width² − psf_width²

In a uniform film a cell of size h makes the spectrum wrong by the factor 1 − (h²/12) k² [1 + L²k²/4]/(1 + L²k²): the
averages over cells of source and image blur, the five-point Laplacian sharpens. That is the same as s² too large by
h²/24 and L² by h²/16, which are therefore taken off: the rest is of order h⁴. What cells do to a landscape is
mended by `Cells.ease`.

Slopes are forward derivatives: one more solve with the same hierarchy each for L, laser width and centre.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from excidiff.inverse.files.data import Image
from excidiff.inverse.fit.instrument import pixel_weights
from excidiff.inverse.fit.landscape import Cells, Landscape, cut_cells, reaches
from excidiff.inverse.fit.limits import Known
from excidiff.inverse.fit.optics import Optics
from excidiff.inverse.fit.parameters import LANDSCAPE, Constraints
from excidiff.inverse.fit.spot import SpotFit, fit_film, fit_spot
from excidiff.inverse.fit.start import FWHM
from excidiff.solver.medium import Medium
from excidiff.solver.source import gaussian_spot
from excidiff.solver.steady import steady_state

UNIFORM = (
    "the exact image of diffusion and recombination in a uniform film, a superposition of Gaussians of variance s² + "
    "2Dt integrated over the pixels"
)
ON_LANDSCAPE = (
    "the image of diffusion, drift and recombination over the given energy landscape, solved by finite volumes "
    "(Scharfetter–Gummel) in cells no wider than a fifth of the laser's spot and out to eight diffusion lengths from "
    "it, blurred by the PSF and integrated over the pixels"
)
RTOL = 1e-9
SHARP = 1e-3  # of the spot's width: the PSF where the optics count as perfectly sharp
MARGIN = 1.15  # room for the fitted length to grow before the walls would bind
SAME = 1e-5  # relative error that stands for none where two widths share the error of the PSF


def film_fractions(
    shape: Float[Array, "5"], cells: Cells, x_edges: Float[Array, " nx+1"], y_edges: Float[Array, " ny+1"]
) -> Float[Array, "ny nx"]:
    """The fraction of all photons in each pixel; `shape` = (log L, log width, log psf_width, x, y), lengths in µm."""
    length, source, psf = _own(shape)
    density = _density(jnp.stack([length, source, shape[3], shape[4]]), cells)
    return _seen(density, psf, cells, x_edges, y_edges)


def film_model(parameters, cells, x_edges, y_edges, flat):
    """Expected photoelectrons, flat (amplitude f + background), and their derivatives, as the other models give them.

    `parameters` in the order of `LANDSCAPE`; `flat` (1, ny, nx).
    """
    fraction, slopes = _fractions_and_slopes(parameters[:5], cells, x_edges, y_edges)
    amplitude = jnp.exp(parameters[5])
    light = amplitude * flat * fraction[None]
    slopes = (amplitude * flat * slopes)[:, None]
    return light + parameters[6] * flat, jnp.concatenate([slopes, light[None], flat[None]])


def _fractions_and_slopes(shape, cells, x_edges, y_edges):
    """`film_fractions` with its derivatives (5, ny, nx): four solves for the density's, the PSF's from the same one."""
    length, source, psf = _own(shape)
    own = jnp.stack([length, source, shape[3], shape[4]])
    density, follow = jax.linearize(lambda p: _density(p, cells), own)  # jacfwd would repeat the first solve as well
    along = lax.map(follow, jnp.eye(4, dtype=own.dtype))  # in turn: under `vmap` the solves are 50 times slower
    image = lambda n, w: _seen(n, w, cells, x_edges, y_edges)  # noqa: E731
    fraction, by_psf = jax.jvp(lambda w: image(density, w), (psf,), (jnp.ones_like(psf),))
    by_length, by_source, by_x, by_y = (image(along[k], psf) for k in range(4))
    total2, blur2 = jnp.exp(2 * shape[1]), jnp.exp(2 * shape[2])
    source2 = jnp.exp(2 * source)
    by_width = by_source * (total2 / source2)
    return fraction, jnp.stack([by_length, by_width, by_psf - by_source * (blur2 / source2), by_x, by_y])


def _own(shape):
    """log L, log of the laser's own width, log of the PSF's."""
    total2, blur2 = jnp.exp(2 * shape[1]), jnp.exp(2 * shape[2])
    return shape[0], jnp.log(jnp.maximum(total2 - blur2, 1e-4 * total2)) / 2, shape[2]


def _density(own, cells: Cells):
    """Excitons per µm² of one that was born in the laser's spot and lives for one lifetime; own = (log L, log s, x, y).

    L² is lowered by h²/16 and s² by h²/24, each in a form that stays positive.
    """
    sizes2 = [size**2 for size in cells.grid.spacing]
    length2, source2 = jnp.exp(2 * own[0]), jnp.exp(2 * own[1])
    y_length2, x_length2 = (length2**2 / (length2 + size2 / 16) for size2 in sizes2)
    medium = Medium((x_length2 * cells.ease[0], y_length2 * cells.ease[1]), 1.0, cells.energy, cells.temperature)
    width = jnp.sqrt(source2 - sum(sizes2) / 48)
    centre = (own[2] - (cells.x_edges[0] + cells.x_edges[-1]) / 2, own[3] - (cells.y_edges[0] + cells.y_edges[-1]) / 2)
    source = gaussian_spot(cells.grid, fwhm=FWHM * width, centre=centre)
    return steady_state(medium, source, cells.grid, rtol=RTOL).density


def _seen(density, psf, cells: Cells, x_edges, y_edges):
    """The photons of each pixel of an image of `density`."""
    width = jnp.exp(psf)
    rows = pixel_weights(jnp.asarray(cells.y_edges), y_edges, width)
    columns = pixel_weights(jnp.asarray(cells.x_edges), x_edges, width)
    return (rows @ density @ columns.T) * cells.grid.cell_area


def landscape_optics(optics: Optics) -> Optics:
    """The same optics with laser and PSF told apart: `known` gains the width of the PSF and its share in the total."""
    known, k = optics.known, len(optics.known.names)
    width = optics.width.value
    mean, covariance = np.zeros(k + 1), np.zeros((k + 1, k + 1))
    mean[:k], covariance[:k, :k] = known.mean, known.covariance
    mean[k] = np.log(SHARP * width)
    if optics.psf is not None:
        factor = 1.0 if optics.laser is None else 1 - optics.wavelength_ratio**2
        own = optics.psf.value / FWHM
        mean[k], covariance[k, k] = np.log(own), (optics.psf.stderr / optics.psf.value) ** 2
        covariance[0, k] = covariance[k, 0] = factor * (own / width) ** 2 * covariance[k, k]
        if covariance[k, k] > 0:
            covariance[0, 0] += SAME**2
    return replace(optics, known=Known((*known.names, "psf_width"), mean, covariance))


def fit_landscape(
    image: Image, first: SpotFit, known: Known, constraints: Constraints, noise: str, landscape: Landscape
) -> tuple[SpotFit, tuple[str, ...]]:
    """Fit L, centre, amplitude and background of one steady image over `landscape`, and say how it was done.

    It starts from the fit of a uniform film; `known` from `landscape_optics`. The grid is laid for the length that is
    expected, and once more if the fitted one turns out too long for it. Raises InputError as `cut_cells` does.
    """
    psf = float(np.exp(known.mean[-1]))
    total = float(np.exp(known.mean[known.names.index("width")]))
    source = float(np.sqrt(max(total**2 - psf**2, 1e-4 * total**2)))
    cut = slice(0, len(known.names) - 1)
    uniform = fit_film([image], first, Known(known.names[cut], known.mean[cut], known.covariance[cut, cut]),
                       constraints, noise)  # fmt: skip
    begin = {name: float(uniform.values[uniform.names.index(name)]) for name in uniform.names}
    field = 0.5 * max(n * size for n, size in zip(image.shape, image.spacing, strict=True))
    length = float(np.clip(uniform.value("diffusion_length") * landscape.slowing, 0.3 * source, field))
    begin |= {"diffusion_length": float(np.log(length)), "psf_width": float(known.mean[-1])}
    centre = (uniform.value("centre_x"), uniform.value("centre_y"))
    start = np.array([begin[name] for name in LANDSCAPE])
    length *= MARGIN

    def solve(start, length, centre):
        cells, notes = cut_cells(landscape, image, width=source, length=length, centre=centre)
        found = fit_spot(LANDSCAPE, [image], start, noise, film_model, cells, known, constraints)
        length, centre = found.value("diffusion_length"), (found.value("centre_x"), found.value("centre_y"))
        return found, notes, length, centre, reaches(cells, width=source, length=length, centre=centre)

    found, notes, length, centre, reached = solve(start, length, centre)
    if not reached:
        found, notes, length, centre, reached = solve(found.values, MARGIN * length, centre)
    if not reached:
        notes += (f"{image.name}: the fitted diffusion length feels the walls of the grid that was laid for it.",)
    without = f"{image.name}: without the landscape the same image would give a diffusion length of "
    return found, (*notes, f"{without}{uniform.value('diffusion_length'):.4g} µm.")
