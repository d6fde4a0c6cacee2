"""The fast transforms against the slow, obvious ones: products with matrices of eigenvectors, to rounding (1e-12)."""

import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver.linear import transforms

KINDS = ("closed", "quenched", "closed-quenched", "quenched-closed", "periodic")


def second_difference(kind: str, count: int) -> np.ndarray:
    """−h²∇² on `count` cells between sides of this kind, written out."""
    matrix = 2.0 * np.eye(count) - np.eye(count, k=1) - np.eye(count, k=-1)
    if kind == "periodic":
        matrix[0, -1] -= 1.0
        matrix[-1, 0] -= 1.0
        return matrix if count > 1 else np.zeros((1, 1))
    first, last = (kind.split("-") * 2)[:2]
    matrix[0, 0] += -1.0 if first == "closed" else 1.0
    matrix[-1, -1] += -1.0 if last == "closed" else 1.0
    return matrix


def eigenvectors(kind: str, count: int) -> np.ndarray:
    """The table of `excidiff.solver.linear.transforms` as a matrix with orthonormal rows."""
    i, k = np.arange(count)[None, :], np.arange(count)[:, None]
    rows = {
        "closed": np.cos(k * np.pi * (2 * i + 1) / (2 * count)),
        "quenched": np.sin((k + 1) * np.pi * (2 * i + 1) / (2 * count)),
        "closed-quenched": np.cos((2 * k + 1) * np.pi * (2 * i + 1) / (4 * count)),
        "quenched-closed": np.sin((2 * k + 1) * np.pi * (2 * i + 1) / (4 * count)),
        "periodic": np.cos(2 * np.pi * k * i / count) + np.sin(2 * np.pi * k * i / count),
    }[kind]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 13])
def test_eigenvectors(kind: str, count: int):
    vectors = eigenvectors(kind, count)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-13)
    values = 4.0 * np.sin(transforms._angles(kind, count) / 2.0) ** 2
    np.testing.assert_allclose(vectors @ second_difference(kind, count), values[:, None] * vectors, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 13])
def test_fast_is_slow(kind: str, count: int):
    field = jnp.asarray(np.random.default_rng(count).standard_normal((3, count)))
    vectors = eigenvectors(kind, count)
    np.testing.assert_allclose(transforms._forward(field, kind), field @ vectors.T, atol=1e-13)
    np.testing.assert_allclose(transforms._inverse(field, kind), field @ vectors, atol=1e-13)


def test_both_axes_there_and_back():
    field = jnp.asarray(np.random.default_rng(0).standard_normal((6, 9)))
    for kinds in (("closed", "quenched"), ("quenched-closed", "periodic")):
        modes = transforms.to_modes(field, kinds)
        rows, columns = (eigenvectors(kind, n) for kind, n in zip(kinds, field.shape, strict=True))
        np.testing.assert_allclose(modes, rows @ field @ columns.T, atol=1e-13)
        np.testing.assert_allclose(transforms.from_modes(modes, kinds), field, atol=1e-13)
