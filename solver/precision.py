"""Matrix products as exact as their arrays: on a GPU, products of single precision are else rounded to ten bits."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, traced so that all of its products, and those of their derivatives, keep every digit.

    Rules of derivatives of its own, which JAX traces later, want it too.
    """

    @wraps(function)
    def exact(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return exact
