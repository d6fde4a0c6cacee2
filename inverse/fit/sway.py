"""How the noise of a measured response moves the fit of a decay.

A measured response has photons of its own, few or many, and their noise δr moves the model by M δr, M = ∂µ/∂r. What it
adds to the variance V₀ of each bin, the diagonal of M Var(r) Mᵀ, is found with random signs (Hutchinson, Communications
in Statistics 19 (1990) 433), always the same ones, and the fit is made again with V = V₀ + that. As bins share these
errors, the covariance is C Jᵀ V⁻¹ (V₀ + M Var(r) Mᵀ) V⁻¹ J C with C = (Jᵀ V⁻¹ J)⁻¹, and χ² = Σ (y − µ)²/V has the
variance of independent bins and twice the sum of (V^−½ M Var(r) Mᵀ V^−½)² off its diagonal.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from excidiff.inverse.files.decays import Response
from excidiff.inverse.fit.likelihood import Counts, variance
from excidiff.inverse.fit.optimise import Model, Optimum
from excidiff.inverse.fit.response import above_dark, shape_of

PROBES = 64  # vectors of random signs


def law_of(at: Optimum, counts: Counts, noise: str) -> np.ndarray:
    """The variance of each bin, (1, 1, T)."""
    return np.asarray(counts.floor if noise == "gaussian" else variance(at.expected, counts))


def blurred(model: Model, at: Optimum, arguments, raw, response: Response) -> tuple[np.ndarray, np.ndarray]:
    """(Var(r), the variance (1, 1, T) that it gives each bin); the counts r of the response are `raw`.

    Of counts it is their mean over five bins, and the dark level at least: a bin's own count would favour what is low.
    """
    noise = np.where(raw == 0, 0.0, _noise(response, raw))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (PROBES, raw.size))
    return noise, np.asarray(_swing(model, at.parameters, arguments, raw, signs * np.sqrt(noise)))


def _noise(response: Response, raw: np.ndarray) -> np.ndarray:
    """The variance of the counts `raw`, which are a part of the response's, above its background."""
    light, level = above_dark(response.counts)
    first = int(np.flatnonzero(light)[0] - np.flatnonzero(raw)[0])
    whole = np.maximum(np.convolve(response.counts, np.ones(5) / 5, mode="same"), level)
    whole = np.maximum(whole, 0.0) if response.uncertainty is None else response.uncertainty**2
    part = whole[first : first + raw.size]
    return np.pad(part, (0, raw.size - part.size))


@partial(jax.jit, static_argnums=0)
def _swing(model: Model, parameters, arguments, raw, errors):
    """The mean square of M δr over `errors` of the response's counts."""
    _, ahead = jax.linearize(_light(model, parameters, arguments), raw)
    return jnp.mean(jax.vmap(ahead)(errors) ** 2, axis=0)[None, None]


def together(model: Model, best: Optimum, law, arguments, raw, noise, added) -> tuple[np.ndarray, float]:
    """JᵀV⁻¹ (V₀ + M Var(r) Mᵀ) V⁻¹J, and what errors that bins share add to the variance of χ²; V is `law`."""
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (PROBES, law.size))
    middle, square = _pulls(model, best.parameters, arguments, law, law - added, raw, noise, signs)
    return np.asarray(middle), 2 * max(float(square) - float(np.sum((added / law) ** 2)), 0.0)


@partial(jax.jit, static_argnums=0)
def _pulls(model: Model, parameters, arguments, law, alone, raw, noise, signs):
    """The matrix of `together`, and tr E² with E = V^−½ M Var(r) Mᵀ V^−½."""
    light = _light(model, parameters, arguments)
    _, ahead = jax.linearize(light, raw)
    back = jax.linear_transpose(ahead, raw)
    size, whole = jnp.sqrt(law.reshape(-1)), law.reshape(1, -1)
    rows = model(parameters, *arguments)[1].reshape(parameters.shape[0], -1) / whole
    sway = jax.vmap(lambda row: back(row)[0])(rows)
    seen = jax.vmap(lambda sign: ahead(noise * back(sign / size)[0]) / size)(signs)
    return (rows * alone.reshape(1, -1)) @ rows.T + (sway * noise[None]) @ sway.T, jnp.mean(jnp.sum(seen**2, axis=1))


def _light(model: Model, parameters, arguments):
    """The counts of a response → µ, (T,)."""
    window, shape, darkest = arguments

    def light(raw):
        ours = shape._replace(weights=shape_of(0.0, 1.0, raw).weights)
        return model(parameters, window, ours, darkest)[0].reshape(-1)

    return light
