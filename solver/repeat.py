"""What a laser that repeats leads to: the state v after a pulse to which one period and the next pulse lead back.

    v = P(v)

Period after period a film comes there as slowly as it forgets. So the period is made roughly, in few steps, P̃, whose
repeating state ṽ Newton's method finds, and from there on

    v ← v + (1 − R)⁻¹ [P(v) − v],     R = ∂P̃/∂v at ṽ,

each of which leaves a share ε of the error, how far R is from ∂P/∂v, of the state as of all its derivatives: ∂v/∂θ
is wrong by ε³ after three. Only these are differentiated, forward or in reverse, as often as P is.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

PLAIN, NEWTON, CORRECTIONS = 3, 7, 3
SETTLED = 1e-5  # of the largest density: a correction above it, after all of them, is none of a state that repeats
Seen = TypeVar("Seen")


def repeating(
    period: Callable[[Float[Array, " S"]], tuple[Float[Array, " S"], Seen]],
    roughly: Callable[[Float[Array, " S"]], Float[Array, " S"]],
    first: Float[Array, " S"],
) -> Seen:
    """What is seen of a period that leads back to where it began: `period`, v → (P(v), what is seen of it).

    NaN where no such state was found. `roughly`: P̃, of numbers that are held in derivatives. `first`: the state after
    the first pulse.
    """
    one = jnp.eye(first.size, dtype=first.dtype)

    def newton(number, now):
        state, _ = now
        after, push = jax.linearize(roughly, state)
        inverse = jnp.linalg.inv(one - jax.vmap(push)(one).T)
        moved = jnp.maximum(state + inverse @ (after - state), 0.0)
        return jnp.where(number < PLAIN, after, moved), inverse

    start, inverse = lax.stop_gradient(lax.fori_loop(0, PLAIN + NEWTON, newton, (lax.stop_gradient(first), one)))

    def correct(now, _):
        state, _ = now
        after, seen = period(state)
        moved = inverse @ (after - state)
        return (state + moved, seen), jnp.max(jnp.abs(moved)) / jnp.max(jnp.abs(state))

    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(period, start)[1])
    (_, seen), moved = lax.scan(correct, (start, nothing), length=CORRECTIONS + 1)
    return jax.tree.map(lambda a: jnp.where(moved[-1] < SETTLED, a, jnp.nan), seen)
