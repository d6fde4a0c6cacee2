"""Products of single precision keep every digit on a GPU as well, in values and in derivatives of both directions."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

from excidiff.solver import Disorder, Grid, Medium, Spot, Surface, Traps, evolve, raster_scan, round_pulse, steady_state

GRID = Grid((12, 16), jnp.float32(0.1))
POSITIONS = np.float32([[0.0, 0.0], [0.2, 0.0], [0.0, 0.1], [0.2, 0.1]])
TIMES = np.float32([1.0, 3.0])


def number(value: float) -> jax.Array:
    return jnp.full((), value, jnp.float32)


def light(total: float = 1.0) -> jax.Array:
    return total * jnp.exp(-(GRID.x[None, :] ** 2 + GRID.y[:, None] ** 2) / 0.1).astype(jnp.float32)


def rough(d) -> jax.Array:
    return d * (1.0 + 0.2 * jnp.cos(GRID.x[None, :] * GRID.y[:, None])).astype(jnp.float32)


def traps() -> Traps:
    return Traps(density=number(100.0), capture=number(1e-3), release=number(0.01), lifetime=number(20.0))


SOLVES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "mixed sides": lambda d: steady_state(Medium(d, number(5.0), surface=Surface(left=np.inf)), light(), GRID).density,
    "maps": lambda d: steady_state(Medium(rough(d), number(5.0)), light(), GRID).density,
    "traps": lambda d: steady_state(Medium(rough(d), number(5.0), traps=traps()), light(50.0), GRID).density,
    "disorder": lambda d: (
        steady_state(
            Medium(d, number(5.0), disorder=Disorder(number(20.0), number(0.5), bins=4)), light(), GRID
        ).density
    ),
    "time": lambda d: evolve(Medium(rough(d), number(5.0), traps=traps()), light(50.0), GRID, TIMES).density,
    "scan": lambda d: raster_scan(Medium(rough(d), number(5.0)), Spot(number(0.3)), GRID, POSITIONS).signal,
    "round": lambda d: (
        round_pulse(
            Medium(d, number(5.0), traps=traps()),
            width=number(0.15),
            peak=number(60.0),
            edges=np.array([0.0, 1.0, 4.0]),
            modes=24,
            nodes=12,
            steps=12,
        ).free
    ),
}


def products(jaxpr: Jaxpr) -> Iterator[Any]:
    """All dot_general of a program, those within its loops, branches and calls too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for part in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: isinstance(leaf, Jaxpr | ClosedJaxpr)
        ):
            if isinstance(part, ClosedJaxpr):
                yield from products(part.jaxpr)
            elif isinstance(part, Jaxpr):
                yield from products(part)


@pytest.mark.parametrize("way", ["value", "forward", "reverse"])
@pytest.mark.parametrize("name", SOLVES)
def test_every_product_is_exact(name: str, way: str):
    def value(d):
        return jnp.sum(SOLVES[name](d))

    function = {"value": value, "forward": jax.jacfwd(value), "reverse": jax.grad(value)}[way]
    found = list(products(jax.make_jaxpr(function)(number(0.05)).jaxpr))
    loose = [one for one in found if one.params["precision"] != (jax.lax.Precision.HIGHEST,) * 2]
    assert [str(one) for one in loose if one.invars[0].aval.dtype == np.float32] == []
    assert found or name == "scan"
