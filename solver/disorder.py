"""Sites of unlike energy below the grid's resolution, and how excitons relax among them: `Disorder`.

Site energies have a Gaussian density of states g(E) of width σ. At the rate ν an exciton tries a site whose energy is
drawn from g, and goes there with the probability min(1, e^{−ΔE/kT}) (Metropolis, J. Chem. Phys. 21 (1953) 1087). Cut
into bins k, with the bins' shares of the sites and of the equilibrium, and thermal equilibrium within a bin,

    g_k = ∫_k g dE,    π_k = ∫_k g e^{−E/kT} dE,    W_kj = ν g_k (down, E_k < E_j),  ν g_j π_k/π_j (up)

is the rate from j to k averaged over both bins: W_kj π_j = W_jk π_k whatever their width, so the equilibrium is π
exactly. Both integrals are Gaussian, π centred at −σ²/kT; they are taken as logarithms, since at low temperature g of
the lowest bins underflows. The bins reach from −σ²/kT − 4σ to 4σ; the outermost hold what lies beyond.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from excidiff.solver.field import as_number
from excidiff.solver.solution import InputError

MOBILITIES = ("constant", "hops")
REACH = 4.0
"""Standard deviations of the density of states above its centre, and of the equilibrium below its, in bins."""


class Disorder(eqx.Module):
    """Energetic disorder: `width` σ of the density of states, meV, and rate `relaxation` ν of attempted hops, 1/ns.

    `bins`: how many energies are told apart. `mobility`: "constant", D at every energy, or "hops", D times the share
    of attempts that succeed, so that D falls as excitons relax.

    Raises `InputError` for a width or rate that is not positive, fewer than two bins, or another mobility.
    """

    width: float | Float[Array, ""]
    relaxation: float | Float[Array, ""]
    bins: int = eqx.field(static=True)
    mobility: str = eqx.field(static=True)

    def __init__(self, width, relaxation, bins=32, mobility="constant"):
        self.width = as_number("Disorder(width=…)", width)
        self.relaxation = as_number("Disorder(relaxation=…)", relaxation, zero="always")
        if not (isinstance(bins, int) and bins >= 2):
            raise InputError(f"Disorder(bins={bins!r}): expected an integer ≥ 2")
        if mobility not in MOBILITIES:
            raise InputError(f"Disorder(mobility={mobility!r}): expected one of {', '.join(MOBILITIES)}")
        self.bins, self.mobility = bins, mobility


class Bins(NamedTuple):
    """The bins of a `Disorder` at one temperature, from the lowest energy up.

    `energies`: meV from the band's centre. `sites` g_k: share of the sites, and of what light creates. `equilibrium`:
    share of the excitons long after. `mobility`: D_k/D. `rates` R = Σ_j W_jk δ − W, 1/ns: ∂n/∂t = −R n.
    """

    energies: Float[Array, " bins"]
    sites: Float[Array, " bins"]
    equilibrium: Float[Array, " bins"]
    mobility: Float[Array, " bins"]
    rates: Float[Array, "bins bins"]


def cut(disorder: Disorder, thermal) -> Bins:
    """The bins of `disorder` at the thermal energy k_BT = `thermal`, meV."""
    width = jnp.asarray(disorder.width)
    shift = width / thermal  # the equilibrium's centre lies so many σ below the band's
    edges = jnp.linspace(0.0, 1.0, disorder.bins + 1) * (shift + 2 * REACH) - shift - REACH
    log_sites, log_equilibrium = _log_masses(edges), _log_masses(edges + shift)
    middle = 0.5 * (edges[:-1] + edges[1:])
    sites, equilibrium = jnp.exp(log_sites), jnp.exp(log_equilibrium)
    row, column = log_equilibrium[:, None], log_equilibrium[None, :]
    up = jnp.exp(jnp.minimum(log_sites[None, :] + row - column, 0.0))
    down = jnp.broadcast_to(sites[:, None], up.shape)
    place = jnp.arange(disorder.bins)
    hops = jnp.where(place[:, None] < place[None, :], down, up)
    hops = disorder.relaxation * jnp.where(place[:, None] == place[None, :], 0.0, hops)
    rates = jnp.diag(jnp.sum(hops, axis=0)) - hops
    mobility = jnp.ones(disorder.bins) if disorder.mobility == "constant" else acceptance(middle, shift)
    return Bins(width * middle, sites, equilibrium, mobility, rates)


def acceptance(energy, shift):
    """Share of the attempts that succeed from `energy`: ∫ g min(1, e^{−(E′−E)/kT}) dE′, energies in σ, shift = σ/kT."""
    return jnp.exp(log_ndtr(energy)) + jnp.exp(shift * energy + 0.5 * shift**2 + log_ndtr(-energy - shift))


def _log_masses(edges: Float[Array, " edges"]) -> Float[Array, " bins"]:
    """ln of the share of a unit Gaussian between neighbouring `edges`, the outermost bins open.

    Bins above the centre are mirrored, so that differences are taken where the distribution is small.
    """
    low = jnp.concatenate([jnp.full(1, -jnp.inf), edges[1:-1]])
    high = jnp.concatenate([edges[1:-1], jnp.full(1, jnp.inf)])
    mirrored = low > 0
    a, b = jnp.where(mirrored, -high, low), jnp.where(mirrored, -low, high)
    open_below, open_above = jnp.isneginf(a), jnp.isposinf(b)
    upper = jnp.where(open_above, 0.0, log_ndtr(jnp.where(open_above, 0.0, b)))
    lower = jnp.where(open_below, 0.0, log_ndtr(jnp.where(open_below, 0.0, a)))
    gap = jnp.where(open_below, -1.0, lower - upper)
    return upper + jnp.where(open_below, 0.0, jnp.log(-jnp.expm1(gap)))
