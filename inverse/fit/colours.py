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

The line ℓ is a Gaussian, or with the further parameter `lorentzian`, the full width at half maximum of a Lorentzian, a
Voigt (`fit.lines`), of which Sheppard's correction narrows the Gaussian part. ℓ′ is a Gaussian.

In a film that guides light (`fit.guided`, with the parameters `outcoupling` η and `guiding_loss` κ) excitons do not
relax, and light absorbed on its way along the film is missing where it is scattered out:

    f_ij = ∫₀^∞ e^{−u} [C_i(s² + 2L²u) S_j + η √(2/π) ∫₀^∞ C_i(s² + 2L²u + ℓ²) S_j e^{−(α_j + κ)²ℓ²/2} dℓ] du

with the band S_j = (1 − w) ℓ_j + w ℓ′_j, and α of parts of each bin.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float

from excidiff.inverse.fit.guided import Guide, mixture
from excidiff.inverse.fit.lines import line, voigt
from excidiff.inverse.fit.optimise import Model
from excidiff.solver.disorder import Disorder, cut

BINS = 48
"""Site energies told apart."""
FINEST = 0.6  # of a bin: the line is drawn no narrower than that, lest the bins show as teeth
SPECTRAL = (
    "diffusion_length", "attempts", "disorder", "linewidth", "band_centre", "trap_band_centre", "trap_band_width",
    "trap_band_share", "width", "centre_x", "centre_y", "amplitude", "background",
)  # fmt: skip
"""What every map may ask for: of a film whose excitons may relax, with a Gaussian line."""
RELAXING = ("attempts", "disorder")
GUIDING = ("outcoupling", "guiding_loss")
LINES = {"gaussian": (), "voigt": ("lorentzian",)}
"""Lines of a site by name, with what they ask for beside `linewidth`, σ of the Gaussian."""


def names_of(line: str, *, guiding: bool) -> tuple[str, ...]:
    """The parameters of a film with this line of a site, in their order."""
    film = tuple(name for name in SPECTRAL if name not in RELAXING) + GUIDING if guiding else SPECTRAL
    return film + LINES[line]


def names_asked(line: str, model: str | None, *, guiding: bool) -> tuple[str, ...]:
    """All parameters that a fit may have; `guiding`: whether light guided along the film may be in it."""
    if model == "reabsorption":
        return names_of(line, guiding=True)
    return names_of(line, guiding=False) + (GUIDING if guiding and model is None else ())


class Places(NamedTuple):
    """Where and between which energies light was counted: sides of the cells (µm), edges of the colours and k_BT (meV),
    nodes and weights of ages in lifetimes; all of them arrays; of a film that guides light, what that meets."""

    left: Any
    right: Any
    below: Any
    above: Any
    edges: Any
    thermal: Any
    nodes: Any
    guide: Guide | None = None


def energies(disorder, attempts, ages: Float[Array, " Q"], thermal):
    """(ε, p, b): the bins' energies from the band's centre, meV; shares (Q, K) at `ages` in lifetimes; their width."""
    bins = cut(Disorder(disorder, 1.0, bins=BINS), thermal)
    root = jnp.sqrt(bins.equilibrium)
    exchange = bins.rates * (root[None, :] / root[:, None])
    rates, modes = jnp.linalg.eigh(0.5 * (exchange + exchange.T))
    born = modes.T @ (bins.sites / root)
    faded = jnp.exp(-jnp.maximum(rates, 0.0)[None] * attempts * ages[:, None])
    return bins.energies, root[None] * ((faded * born[None]) @ modes.T), bins.energies[1] - bins.energies[0]


def spectra(
    parameters: Float[Array, " P"], places: Places, names: tuple[str, ...] = SPECTRAL
) -> Float[Array, "y x colour"]:
    """Expected photons; `parameters` in the order of `names` (see `names_of`), in the fit's own numbers."""
    own = dict(zip(names, parameters, strict=True))
    ages, weight = places.nodes
    spread = jnp.exp(2 * own["width"]) + 2 * jnp.exp(2 * own["diffusion_length"]) * ages
    if places.guide is not None:
        light = _guided(own, places, places.guide, spread)
    else:
        along, across = _inside(own, places, spread)
        light = jnp.einsum("qy,qx,qc->yxc", weight[:, None] * across, along, _relaxed(own, places))
    return jnp.exp(own["amplitude"]) * light + own["background"]


def _relaxed(own: dict[str, Any], places: Places) -> Float[Array, "Q colour"]:
    """The share of each colour at every age."""
    ages, _ = places.nodes
    shift, shares, pitch = energies(jnp.exp(own["disorder"]), jnp.exp(own["attempts"]), ages, places.thermal)
    sharp = jnp.exp(2 * own["linewidth"]) - pitch**2 / 12
    sharp = jnp.sqrt(jnp.maximum(sharp, (FINEST * pitch) ** 2))
    share = own["trap_band_share"]
    sites = shares @ lines(own, own["band_centre"] + shift, sharp, places.edges)
    return (1 - share) * sites + share * caught(own, places.edges)


def _guided(own: dict[str, Any], places: Places, guide: Guide, spread) -> Float[Array, "y x colour"]:
    """Light seen where it is emitted, and where it is scattered out."""
    _, weight = places.nodes
    share, colours = own["trap_band_share"], places.edges.size - 1
    sites = lines(own, own["band_centre"][None], jnp.exp(own["linewidth"]), guide.edges)
    band = ((1 - share) * sites + share * caught(own, guide.edges))[0]
    variance, left = mixture(guide, jnp.exp(own["guiding_loss"]))
    arriving = jnp.exp(own["outcoupling"]) * left * band[None]
    arriving = jnp.concatenate([band[None], arriving]).reshape(len(left) + 1, colours, -1).sum(-1)
    variance = jnp.concatenate([jnp.zeros_like(variance[:1]), variance])
    along, across = _inside(own, places, variance[:, None] + spread[None, :])
    return jnp.einsum("kyx,kc->yxc", jnp.einsum("q,kqy,kqx->kyx", weight, across, along), arriving)


def lines(own: dict[str, Any], centres, width, edges):
    """The line of a site about each of `centres`; `width`: σ of its Gaussian."""
    if "lorentzian" in own:
        return voigt(centres, width, jnp.exp(own["lorentzian"]), edges)
    return line(centres, width, edges)


def caught(own: dict[str, Any], edges):
    """The band of traps."""
    return line(own["trap_band_centre"][None], jnp.exp(own["trap_band_width"]), edges)


def _inside(own: dict[str, Any], places: Places, variance):
    """The parts of Gaussians inside the cells, along x and across."""
    root = jnp.sqrt(2 * variance)[..., None]

    def part(low, high, centre):
        low, high = (jnp.reshape(side - centre, (1,) * variance.ndim + (-1,)) for side in (low, high))
        return (erf(high / root) - erf(low / root)) / 2

    return part(places.left, places.right, own["centre_x"]), part(places.below, places.above, own["centre_y"])


@cache
def model_of(names: tuple[str, ...]) -> Model:
    """`spectra` of these parameters and their derivatives, as every model gives them; the same object each time."""
    return partial(spectral_model, names=names)


def spectral_model(parameters, places: Places, names: tuple[str, ...] = SPECTRAL):
    """`spectra` and their derivatives."""
    parameters = jnp.asarray(parameters)
    slopes = jax.jacfwd(spectra)(parameters, places, names)
    return spectra(parameters, places, names), jnp.moveaxis(slopes, -1, 0)
