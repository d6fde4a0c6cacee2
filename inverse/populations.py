"""Images beside a decay of several lifetimes: populations that move alike and die at their own pace.

Of photons a share w_i comes from a population that lives τ_i, so that their ages are distributed as
Σ w_i e^{−t/τ_i}/τ_i, whatever the laser's pulses: the decay tells the ages, the image how far excitons come in them.
The image is fitted for L = √(D τ̄), τ̄ = Σ w_i τ_i the mean age, and D = L²/τ̄. What the decay errs in, θ = (log τ_i,
log photons_i) with covariance C, changes both:

    var log L = σ_L² + hᵀ C h,     var log D = 4 σ_L² + gᵀ C g,     h = ∂ log L/∂θ,  g = 2 h − ∂ log τ̄/∂θ,

h by refitting an image with ages one standard error away on either side.

Frames tell D by themselves, of populations that fade one after the other: it is fitted with τ_i and w_i as the decay
says, var log D = σ_D² + gᵀ C g with g by refitting, and L = √(D τ̄).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from excidiff.inverse.batch import Batch
from excidiff.inverse.estimates import positive
from excidiff.inverse.fit.parameters import Constraints
from excidiff.inverse.fit.prediction import mixed_nodes
from excidiff.inverse.lifetimes import MeasuredDecay, lifetimes_in_words
from excidiff.inverse.measure import Measured
from excidiff.inverse.results.result import Estimate, FitResult
from excidiff.inverse.results.wording import estimate_in_words as in_words

CONTRADICTED = 9.0  # of the deviance of images: by so much one lifetime must do better for the decay to be of others


@dataclass(frozen=True, eq=False)
class Populations:
    """What a decay of several lifetimes tells of the ages of the photons; `own`: (log τ, log photons).

    contradicted: whether images want one lifetime instead.
    """

    decay: MeasuredDecay
    contradicted: bool = False

    @property
    def own(self) -> Float64[np.ndarray, " 2K"]:
        return self.decay.fit.values[: 2 * self.decay.fit.components]

    @property
    def covariance(self) -> Float64[np.ndarray, "2K 2K"]:
        size = 2 * self.decay.fit.components
        return self.decay.fit.covariance[:size, :size]

    @property
    def mean_slope(self) -> Float64[np.ndarray, " 2K"]:
        """∂ log τ̄/∂θ."""
        lifetimes, shares = _split(self.own)
        part = shares * lifetimes / (shares @ lifetimes)
        return np.concatenate([part, part - shares])

    @property
    def lifetime(self) -> Estimate:
        """τ̄ with its error, ns."""
        lifetimes, shares = _split(self.own)
        error = float(np.sqrt(self.mean_slope @ self.covariance @ self.mean_slope))
        return positive(float(shares @ lifetimes), error, "ns")

    def within(self, constraints: Constraints) -> Constraints:
        """What is said of a movie, with the mean age fixed."""
        return replace(constraints, fixed={**constraints.fixed, "lifetime": self.lifetime.value})

    def mixture(self, own: Float64[np.ndarray, " 2K"] | None = None) -> Float64[np.ndarray, "2 K"]:
        """Lifetimes in units of the mean age that the decay tells, and shares."""
        lifetimes, shares = _split(self.own)
        mean = shares @ lifetimes
        lifetimes, shares = _split(self.own if own is None else own)
        return np.stack([lifetimes / mean, shares])

    def slopes(self, found: Measured) -> tuple[Float64[np.ndarray, " 2K"], Float64[np.ndarray, " 2K"]]:
        """(h, g) of one image or movie, by central differences over the errors of θ."""
        problem, errors, slopes = found.fit.problem, np.sqrt(np.diag(self.covariance)), []
        steady = "diffusion_length" in found.fit.names
        at = found.fit.names.index("diffusion_length" if steady else "diffusivity")

        def fitted(own) -> float:
            mixture = self.mixture(own)
            nodes = mixed_nodes(*mixture) if steady else (problem.arguments[0][0], *mixture)
            changed = replace(problem, arguments=(nodes, *problem.arguments[1:]))
            return changed.fit(found.fit.values, tolerance=1e-6).parameters[at]

        for index, error in enumerate(errors):
            step = np.where(np.arange(errors.size) == index, max(error, 1e-6), 0.0)
            slopes.append((fitted(self.own + step) - fitted(self.own - step)) / (2 * step[index]))
        own, mean = np.array(slopes), self.mean_slope
        return (own, 2 * own - mean) if steady else ((own + mean) / 2, own)


def populations_of(decays: Sequence[MeasuredDecay]) -> Populations | None:
    """Those of the one decay that shows several lifetimes, all of them determined; None of any others."""
    if len(decays) != 1 or decays[0].measurement.status != "fitted" or decays[0].fit.components < 2:
        return None
    sure = all(one.stderr for one in decays[0].lifetimes)
    return Populations(decays[0]) if sure else None


def beside(
    measured: Callable[..., Batch], alone: Batch, populations: Populations, *, asked: bool
) -> tuple[Batch, Populations | None]:
    """The images as `measured`(mixture=…) with the decay's, if `asked` for or if they do not contradict them.

    Where one lifetime, `alone`, does so much better, the decay is of another film, and no populations are given back.
    """
    mixed = measured(mixture=populations.mixture())
    least = {one.measurement.file: one.fit.least for one in alone.measured}
    worse = sum(one.fit.least - least.get(one.measurement.file, one.fit.least) for one in mixed.measured)
    if worse > CONTRADICTED and not asked:
        return alone, None
    return mixed, replace(populations, contradicted=worse > CONTRADICTED)


def with_populations(result: FitResult, batch: Batch, populations: Populations) -> FitResult:
    """The result with L, D and their errors of a film of several populations, and their own numbers."""
    parameters, first = dict(result.parameters), batch.averaged[0]
    length, lifetime = parameters["diffusion_length"], populations.lifetime
    assert lifetime.value is not None
    if length.value and length.stderr:
        (slope, both), error = populations.slopes(first), length.stderr / length.value
        grown = np.sqrt(error**2 + slope @ populations.covariance @ slope)
        relative = np.sqrt(4 * error**2 + both @ populations.covariance @ both)
        parameters["diffusion_length"] = positive(length.value, float(grown), "um", length.origin)
        value, origin = length.value**2 / lifetime.value, parameters["diffusivity"].origin
        parameters["diffusivity"] = positive(value, float(relative), "um^2/ns", origin)
    parameters["lifetime"] = lifetime
    own = populations.decay.measurement.parameters
    parameters |= {name: entry for name, entry in own.items() if name.startswith(("lifetime_", "weight_"))}
    count = lifetimes_in_words(populations.decay.fit.components)
    said = (
        f"{populations.decay.decay.file} shows {count}: the images are fitted with populations of these, as if all "
        f"moved alike, D = {in_words(parameters['diffusivity'])}. The lifetime is here the mean age of the photons, "
        "Σ w τ, and the diffusion length that of this age."
    )
    if populations.contradicted:
        said += " One lifetime describes the images better: they and the decay may be of two films."
    correlations = {
        name: {other: value for other, value in row.items() if other not in ("diffusivity", "lifetime")}
        for name, row in result.correlations.items()
        if name not in ("diffusivity", "lifetime")
    }
    model = result.model.replace("uniform film", f"uniform film, {count}")
    spoken = (*(one for one in result.verdicts if "with the lifetime that was given" not in one), said)
    return replace(result, model=model, parameters=parameters, verdicts=spoken, correlations=correlations)


def _split(own: Float64[np.ndarray, " 2K"]) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """(lifetimes, shares of the photons)."""
    lifetimes, photons = np.exp(own.reshape(2, -1))
    return lifetimes, photons / photons.sum()
