"""Exact densities of diffusion with recombination, in closed form or by a quadrature good to rounding.

Host numbers only (NumPy and SciPy), sharing nothing with the solver. L² = Dτ; `s` is the standard deviation of a
spot; lengths in µm, times in ns. References are to the entries of the verification plan.
"""

import numpy as np
from scipy import special
from scipy.integrate import quad


def life_nodes(count: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Nodes t and weights w with ∫₀^∞ f(t) e^{−t} dt ≈ Σ w f(t): the double-exponential rule t = exp(u − e^{−u})."""
    u = np.linspace(-4.2, 4.2, count)
    t = np.exp(u - np.exp(-u))
    return t, t * (1.0 + np.exp(-u)) * np.exp(-t) * (u[1] - u[0])


def spot_steady(r, *, diffusivity: float, lifetime: float, s: float, total: float = 1.0) -> np.ndarray:
    """Entry 1: Q ∫₀^∞ e^{−t/τ} N₂(r; s² + 2Dt) dt, a Gaussian spot in an unbounded film."""
    t, weight = life_nodes()
    variance = s**2 + 2.0 * diffusivity * lifetime * t
    r = np.asarray(r, dtype=float)[..., None]
    return total * lifetime * np.sum(weight * np.exp(-(r**2) / (2 * variance)) / (2 * np.pi * variance), axis=-1)


def spot_steady_hankel(r: float, *, diffusivity: float, lifetime: float, s: float, total: float = 1.0) -> float:
    """Entry 1 again, by another way: (Qτ/2π) ∫₀^∞ k J₀(kr) e^{−k²s²/2}/(1 + k²L²) dk."""
    squared = diffusivity * lifetime

    def integrand(k):
        return k * special.j0(k * r) * np.exp(-((k * s) ** 2) / 2) / (1 + k**2 * squared)

    return total * lifetime / (2 * np.pi) * quad(integrand, 0.0, 9.0 / s, limit=2000, epsabs=0, epsrel=1e-12)[0]


def spot_centre(*, diffusivity: float, lifetime: float, s: float, total: float = 1.0) -> float:
    """Entry 2: Q/(4πD) e^a E₁(a), a = s²/2L², the density in the middle of the spot."""
    a = s**2 / (2 * diffusivity * lifetime)
    return total / (4 * np.pi * diffusivity) * np.exp(a) * special.exp1(a)


def point_steady(r, *, diffusivity: float, lifetime: float, total: float = 1.0) -> np.ndarray:
    """Entry 3: Q/(2πD) K₀(r/L)."""
    return total / (2 * np.pi * diffusivity) * special.k0(np.asarray(r) / np.sqrt(diffusivity * lifetime))


def disc_steady(r, *, diffusivity: float, lifetime: float, radius: float, rate: float = 1.0) -> np.ndarray:
    """Entry 4: inside a disc of generation G, Gτ[1 − (R/L) K₁(R/L) I₀(r/L)]; outside, Gτ (R/L) I₁(R/L) K₀(r/L)."""
    length = np.sqrt(diffusivity * lifetime)
    edge, r = radius / length, np.asarray(r, dtype=float) / length
    inside = 1.0 - edge * special.k1(edge) * special.i0(np.minimum(r, edge))
    outside = edge * special.i1(edge) * special.k0(np.maximum(r, edge))
    return rate * lifetime * np.where(r < edge, inside, outside)


def half_planes(x, *, diffusivities, lifetimes, half_width: float, rate: float = 1.0) -> np.ndarray:
    """Entry 6 between closed walls at ±w: Gτᵢ + Cᵢ cosh((w − |x|)/Lᵢ), n and its flux continuous at x = 0.

    With gᵢ = (Dᵢ/Lᵢ) tanh(w/Lᵢ) the deviation at x = 0 is G(τ₂ − τ₁) g₂/(g₁ + g₂) on the left of it and
    −G(τ₂ − τ₁) g₁/(g₁ + g₂) on the right.
    """
    d, tau = np.asarray(diffusivities, dtype=float), np.asarray(lifetimes, dtype=float)
    lengths = np.sqrt(d * tau)
    g = d / lengths * np.tanh(half_width / lengths)
    deviation = rate * (tau[1] - tau[0]) * np.array([g[1], -g[0]]) / g.sum()
    side = (np.asarray(x) > 0).astype(int)
    shape = np.cosh((half_width - np.abs(x)) / lengths[side]) / np.cosh(half_width / lengths[side])
    return rate * tau[side] + deviation[side] * shape


def surface_film(x, *, diffusivity: float, lifetime: float, width: float, velocity: float, rate: float = 1.0):
    """Uniform generation in 0 < x < W, D n′ = S n at 0, closed at W: Gτ[1 − cosh((W − x)/L)/(cosh b + (D/SL) sinh b)].

    b = W/L. The share of the excitons that the surface takes is (L/W) tanh b/(1 + (D/SL) tanh b).
    """
    length = np.sqrt(diffusivity * lifetime)
    b = width / length
    loss = np.cosh(b) + diffusivity / (velocity * length) * np.sinh(b)
    return rate * lifetime * (1 - np.cosh((width - np.asarray(x)) / length) / loss)


def spreading_variance(t, *, diffusivity: float, s: float) -> np.ndarray:
    """Entry 7: s² + 2Dt."""
    return s**2 + 2 * diffusivity * np.asarray(t)


def trap_variance(t, *, diffusivity: float, stiffness: float, s: float) -> np.ndarray:
    """Entry 11, U/k_BT = κx²/2: (1 − e^{−2γt})/κ + s²e^{−2γt}, γ = Dκ; κ (`stiffness`) in 1/µm²."""
    decay = np.exp(-2 * diffusivity * stiffness * np.asarray(t))
    return (1 - decay) / stiffness + s**2 * decay


def mode_eigenvalue(k: float, spacing: float) -> float:
    """Entry 8: what the five-point operator makes of cos kx, (4/h²) sin²(kh/2) instead of k²."""
    return 4 / spacing**2 * np.sin(k * spacing / 2) ** 2


def quenched_depth(x, t, *, diffusivity, lifetime, width: float, absorption: float, terms: int = 400) -> np.ndarray:
    """Entry 12: e^{−αx} at t = 0, n = 0 at x = 0, closed at x = W; shape (times, points).

    n = Σ aₘ sin(kₘx) e^{−(1/τ + Dkₘ²)t},  kₘ = (m + ½)π/W,  aₘ = (2/W) [kₘ − (−1)ᵐ α e^{−αW}]/(α² + kₘ²).
    """
    m = np.arange(terms)
    k = (m + 0.5) * np.pi / width
    a = 2 / width * (k - (-1.0) ** m * absorption * np.exp(-absorption * width)) / (absorption**2 + k**2)
    decay = np.exp(-np.multiply.outer(np.asarray(t, dtype=float), 1 / lifetime + diffusivity * k**2))
    return decay @ (a[:, None] * np.sin(np.multiply.outer(k, np.asarray(x, dtype=float))))


def lifson_jackson(diffusivity: np.ndarray, energy: np.ndarray) -> float:
    """Entry 14: D_eff = 1/(⟨e^U/D⟩ ⟨e^{−U}⟩) of one period sampled evenly; U in k_BT."""
    return float(1.0 / (np.mean(np.exp(energy) / diffusivity) * np.mean(np.exp(-energy))))


def dykhne(first: float, second: float) -> float:
    """Entry 15: D_eff = √(D₁D₂) of a checkerboard."""
    return float(np.sqrt(first * second))


def gaussian_cells(edges: np.ndarray, variance, centre: float = 0.0, images: int = 0) -> np.ndarray:
    """Averages over the cells between `edges` of a Gaussian in x, between mirrors at both ends if `images` > 0.

    Shape (*variance.shape, cells). A closed wall is a mirror: images of a centre c stand at iW ± c from the middle.
    """
    width, middle = edges[-1] - edges[0], (edges[-1] + edges[0]) / 2
    places = [middle + i * width + (-1) ** i * (centre - middle) for i in range(-images, images + 1)]
    spread = np.sqrt(2 * np.asarray(variance, dtype=float))[..., None]
    shares = sum(np.diff(special.erf((edges - place) / spread), axis=-1) for place in places)
    return 0.5 * np.asarray(shares) / np.diff(edges)


def linear_traps(t, *, lifetime, rate, release, trap_lifetime, wavenumber2: float = 0.0, diffusivity: float = 0.0):
    """Entry 16: free and trapped excitons after one free exciton, a = 1/τ + k_tN_t + Dk², b = k_d + 1/τ_t."""
    a = 1 / lifetime + rate + diffusivity * wavenumber2
    b = release + 1 / trap_lifetime
    q = 0.5 * np.sqrt((a - b) ** 2 + 4 * rate * release)
    fast, slow = 0.5 * (a + b) + q, 0.5 * (a + b) - q
    t = np.asarray(t)
    rise, fall = np.exp(-fast * t), np.exp(-slow * t)
    return ((fast - b) * rise + (b - slow) * fall) / (fast - slow), rate * (fall - rise) / (fast - slow)


def filling(t, density: float, *, traps: float, capture: float) -> np.ndarray:
    """Entry 19: free excitons beside traps that keep what they catch, n₀(n₀ − N)/(n₀ − N e^{−k(n₀ − N)t})."""
    more = density - traps
    fall = np.exp(-capture * more * np.asarray(t))
    return density * more / (density - traps * fall)


def annihilated(t, density: float, *, lifetime: float, annihilation: float) -> np.ndarray:
    """Entry 20: n′ = −n/τ − Bn²."""
    fall = np.exp(-np.asarray(t) / lifetime)
    return density * fall / (1 + annihilation * density * lifetime * (1 - fall))


def auger_decay(t, density: float, *, lifetime: float, auger: float) -> np.ndarray:
    """Entry 21: n′ = −n/τ − Cn³."""
    fall = np.exp(-2 * np.asarray(t) / lifetime)
    return np.sqrt(density**2 * fall / (1 + auger * density**2 * lifetime * (1 - fall)))


def pulse_response(t, *, fwhm: float, centre: float, rate: float) -> np.ndarray:
    """∫₀ᵗ g(t′) e^{−a(t − t′)} dt′ with g a Gaussian of unit area: e^{−a(t − c) + a²s²/2} [Φ(z)] from z(0) to z(t)."""
    s = fwhm / (2 * np.sqrt(2 * np.log(2)))
    t = np.asarray(t)
    start, end = (-(centre) - rate * s**2) / s, (t - centre - rate * s**2) / s
    return np.exp(-rate * (t - centre) + 0.5 * (rate * s) ** 2) * (special.ndtr(end) - special.ndtr(start))
