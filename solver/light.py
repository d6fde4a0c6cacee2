"""Light that changes with time: `Steady`, `Pulse`, `Sampled`.

A light is a function of time that gives the generation, excitons per µm² and ns, as a map of the grid. Any
`equinox.Module` that can be called with a time will do. It may say two things more: `limit(t)`, the longest step in ns
that time stepping may take from t without stepping over a change; and `dose`, the excitons per µm² that it brings in
all, beside which errors are counted before it comes.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from excidiff.solver.field import as_number
from excidiff.solver.solution import InputError, as_array, is_concrete
from excidiff.solver.source import FWHM

Map = Float[Array, "rows columns"]


class Steady(eqx.Module):
    """The same `generation` for ever."""

    generation: Map

    def __call__(self, time) -> Map:
        return self.generation

    def limit(self, time) -> Array:
        return jnp.full_like(time, jnp.inf)


class Pulse(eqx.Module):
    """A pulse that is Gaussian in time: `excitons` per µm² in all, a map; `fwhm` and `centre` in ns.

    What lies before t = 0 does not shine: a centre of 1.5 `fwhm`, the default, leaves out 2e-4 of the pulse.

    Raises `InputError` for a width that is not positive.
    """

    excitons: Map
    fwhm: Array
    centre: Array

    def __init__(self, excitons, *, fwhm, centre=None):
        self.excitons = as_array("Pulse(excitons=…)", excitons)
        self.fwhm = jnp.asarray(as_number("Pulse(fwhm=…)", fwhm))
        self.centre = (
            1.5 * self.fwhm if centre is None else jnp.asarray(as_number("Pulse(centre=…)", centre, zero="always"))
        )

    @property
    def dose(self) -> Map:
        return self.excitons

    def __call__(self, time) -> Map:
        s = self.fwhm / FWHM
        return self.excitons * (jnp.exp(-0.5 * ((time - self.centre) / s) ** 2) / (np.sqrt(2 * np.pi) * s))

    def limit(self, time) -> Array:
        """A third of the width while it shines; before, up to where it begins; afterwards none."""
        third, begin, end = self.fwhm / 3, self.centre - 3 * self.fwhm, self.centre + 3 * self.fwhm
        return jnp.where(time > end, jnp.inf, third + jnp.maximum(begin - time, 0.0))


class Sampled(eqx.Module):
    """Maps of the generation at rising `times`, ns, and straight lines between; before and after, the first and last.

    Raises `InputError` for times that do not rise or maps that are not as many.
    """

    times: Float[Array, " times"]
    generations: Float[Array, "times rows columns"]

    def __init__(self, times, generations):
        self.times = as_array("Sampled(times=…)", times)
        self.generations = as_array("Sampled(generations=…)", generations)
        if self.times.ndim != 1 or self.generations.ndim != 3 or len(self.times) != len(self.generations):
            raise InputError(
                f"Sampled: times of shape {self.times.shape} and maps of shape {self.generations.shape}; "
                "expected as many maps as times"
            )
        if is_concrete(self.times) and not (np.diff(np.asarray(self.times)) > 0).all():
            raise InputError("Sampled(times=…): expected rising times in ns")

    def __call__(self, time) -> Map:
        last = len(self.times) - 1
        after = jnp.clip(jnp.searchsorted(self.times, time, side="right"), 1, max(last, 1))
        if last == 0:
            return self.generations[0]
        begin, end = self.times[after - 1], self.times[after]
        share = jnp.clip((time - begin) / (end - begin), 0.0, 1.0)
        return (1.0 - share) * self.generations[after - 1] + share * self.generations[after]

    def limit(self, time) -> Array:
        """To the next sample and no further."""
        ahead = jnp.where(self.times > time * (1 + 1e-9), self.times, jnp.inf)
        return jnp.min(ahead) - time
