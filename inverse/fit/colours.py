"""Expected spectra of a uniform film whose excitons relax in energy as they spread: colours against position, exactly.

Where D is the same at every site energy, how far an exciton has come and how deep it has sunk both follow from its age
alone. Excitons of age t = uτ lie in a Gaussian of variance s² + 2L²u, s² that of laser ⊗ collection, and share their
energies as p(u) = e^{−R̂ x u} g among the bins of the density of states (`solver.disorder`), R̂ the relaxation at one
attempt per unit of time, x = ντ the attempts in a lifetime. Place i and colour j get of all photons

    f_ij = ∫₀^∞ e^{−u} C_i(s² + 2L²u) [(1 − w) Σ_k p_k(u) ℓ_j(E + ε_k) + w ℓ′_j] du

with the part C of the Gaussian inside the cell that a place stands for, the line ℓ of a site between the edges of the
colour, and the band ℓ′ of traps, which light up where they caught, whenever. Excitons of a bin of width b stand at its
middle, which alone widens any smooth band by b²/12: ℓ is narrower by as much (Sheppard), and the spectrum converges
with the fourth power of b.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, log_ndtr
from jaxtyping import Array, Float

from excidiff.solver.disorder import Disorder, cut

BINS = 48
"""Site energies told apart."""
FINEST = 0.6  # of a bin: the line is drawn no narrower than that, lest the bins show as teeth
SPECTRAL = (
    "diffusion_length", "attempts", "disorder", "linewidth", "band_centre", "trap_band_centre", "trap_band_width",
    "trap_band_share", "width", "centre_x", "centre_y", "amplitude", "background",
)  # fmt: skip


class Places(NamedTuple):
    """Where and between which energies light was counted: sides of the cells (µm), edges of the colours and k_BT (meV),
    nodes and weights of ages in lifetimes; all of them arrays."""

    left: Any
    right: Any
    below: Any
    above: Any
    edges: Any
    thermal: Any
    nodes: Any


def line(centres: Float[Array, " K"], width: Float[Array, ""], edges: Float[Array, " colour+1"]):
    """The share (K, colour) of Gaussian lines of standard deviation `width` between neighbouring edges, all meV."""
    z = (edges[None, :] - centres[:, None]) / width
    # Φ(b) − Φ(a) on the side where both are small, so that far wings keep their digits.
    flip = jnp.where(z[:, 1:] + z[:, :-1] > 0, -1.0, 1.0)
    low, high = jnp.exp(log_ndtr(flip * z[:, :-1])), jnp.exp(log_ndtr(flip * z[:, 1:]))
    return jnp.abs(high - low)


def energies(disorder, attempts, ages: Float[Array, " Q"], thermal):
    """(ε, p, b): the bins' energies from the band's centre, meV; shares (Q, K) at `ages` in lifetimes; their width."""
    bins = cut(Disorder(disorder, 1.0, bins=BINS), thermal)
    root = jnp.sqrt(bins.equilibrium)
    exchange = bins.rates * (root[None, :] / root[:, None])
    rates, modes = jnp.linalg.eigh(0.5 * (exchange + exchange.T))
    born = modes.T @ (bins.sites / root)
    faded = jnp.exp(-jnp.maximum(rates, 0.0)[None] * attempts * ages[:, None])
    return bins.energies, root[None] * ((faded * born[None]) @ modes.T), bins.energies[1] - bins.energies[0]


def spectra(parameters: Float[Array, " P"], places: Places) -> Float[Array, "y x colour"]:
    """Expected photons; `parameters` in the order of `SPECTRAL`, in the fit's own numbers."""
    own = dict(zip(SPECTRAL, parameters, strict=True))
    length2, width2, disorder = (
        jnp.exp(2 * own["diffusion_length"]),
        jnp.exp(2 * own["width"]),
        jnp.exp(own["disorder"]),
    )
    ages, weight = places.nodes
    shift, shares, pitch = energies(disorder, jnp.exp(own["attempts"]), ages, places.thermal)
    sharp = jnp.exp(2 * own["linewidth"]) - pitch**2 / 12
    sharp = jnp.sqrt(jnp.maximum(sharp, (FINEST * pitch) ** 2))
    caught = line(own["trap_band_centre"][None], jnp.exp(own["trap_band_width"]), places.edges)
    share = own["trap_band_share"]
    colours = (1 - share) * shares @ line(own["band_centre"] + shift, sharp, places.edges) + share * caught
    root = jnp.sqrt(2 * (width2 + 2 * length2 * ages))[:, None]
    along = erf((places.right - own["centre_x"])[None] / root) - erf((places.left - own["centre_x"])[None] / root)
    across = erf((places.above - own["centre_y"])[None] / root) - erf((places.below - own["centre_y"])[None] / root)
    light = jnp.einsum("qy,qx,qc->yxc", weight[:, None] * across / 2, along / 2, colours)
    return jnp.exp(own["amplitude"]) * light + own["background"]


def spectral_model(parameters, places: Places):
    """`spectra` and their derivatives, as every model gives them."""
    parameters = jnp.asarray(parameters)
    slopes = jax.jacfwd(spectra)(parameters, places)
    return spectra(parameters, places), jnp.moveaxis(slopes, -1, 0)
