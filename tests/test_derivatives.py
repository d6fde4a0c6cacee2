"""Derivatives as hard as values: forward against reverse, Taylor remainders, second derivatives, through jit and vmap.

Solves are converged to 1e-13, so that ⟨Jᵀw, d⟩ = ⟨w, Jd⟩ holds to 1e-10 and the remainder of a first-order Taylor
series falls as ε² (slope 2 ± 0.02) from ε = 1e-2 to 1e-4. In time the steps are frozen: a derivative is that of the
steps taken.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver import Grid, Medium, Surface, evolve, gaussian_spot, steady_state, time_integral
from excidiff.solver import march as marching
from excidiff.solver.flux import assemble
from excidiff.solver.multigrid import build

SHAPE = (9, 12)
RNG = np.random.default_rng(7)
Y, X = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
WEIGHT = jnp.asarray(RNG.standard_normal(SHAPE))
VARIED = {
    "diffusivity": 0.05 * np.exp(0.3 * np.cos(2 * X + Y)),
    "anisotropy": 0.7,
    "lifetime": 5.0 * np.exp(0.2 * np.sin(3 * Y)),
    "landscape": 20.0 * np.cos(3 * X) * np.sin(2 * Y),
    "temperature": 295.0,
    "velocity": 0.2,
    "spacing": 0.1,
    "fwhm": 0.4,
    "centre": 0.05,
    "generation": 0.3 + 0.1 * X,
    "time": 1.0,
}
UNIFORM = VARIED | {"diffusivity": 0.05, "lifetime": 5.0}


def setting(p: dict, uniform: bool) -> tuple[Medium, jax.Array, Grid]:
    grid = Grid(SHAPE, (p["spacing"], 1.2 * p["spacing"]))
    spot = gaussian_spot(grid, fwhm=p["fwhm"], centre=(p["centre"], 0.3 * p["centre"])) + p["generation"]
    diffusivity = (p["diffusivity"], p["anisotropy"] * p["diffusivity"])
    if uniform:
        return Medium(diffusivity, p["lifetime"], surface=Surface(left=np.inf)), spot, grid
    surface = Surface(left=p["velocity"], top=np.inf)
    medium = Medium(diffusivity, p["lifetime"], p["landscape"], temperature=p["temperature"], surface=surface)
    return medium, spot, grid


def score(density: jax.Array) -> jax.Array:
    """A nonlinear loss of a density, of order one."""
    return jnp.sum(jnp.broadcast_to(WEIGHT, density.shape) * density) + jnp.sum(density**2)


def steady(p: dict, uniform: bool = False) -> jax.Array:
    medium, spot, grid = setting(p, uniform)
    return score(steady_state(medium, spot, grid, rtol=1e-13).density)


def exact_frames(p: dict) -> jax.Array:
    medium, spot, grid = setting(p, uniform=True)
    times = jnp.array([0.0, 0.2, 1.0]) * p["time"]
    frames = evolve(medium, spot, grid, times, generation=0.1 * spot).density
    return score(frames) + score(time_integral(medium, spot, grid, edges=times).density)


def frozen_frames(p: dict, *, integrate: bool, shining: bool) -> jax.Array:
    """The replay of `march` with the steps chosen at VARIED, whatever p is."""

    def inputs(p):
        medium, spot, grid = setting(p, uniform=False)
        operator = assemble(medium, grid)
        v = operator.symmetric(spot)
        common = jnp.zeros(()) if shining else 0.15  # any constant below the slowest loss
        times = jnp.array([0.0, 0.1, 0.4]) * p["time"]
        return operator, build(operator), common, v, (0.1 if shining else 0.0) * v, times

    settings = {"solve_rtol": 1e-13, "integrate": integrate}
    start = inputs(jax.tree.map(jnp.asarray, VARIED))
    _, _, steps = marching._choose(*start, **settings, rtol=1e-2, max_steps=40)
    operator, *rest = inputs(p)
    frames = marching._replay(operator, *rest, **settings, steps=jax.lax.stop_gradient(steps))
    return score(jax.vmap(operator.density)(frames))


LOSSES: dict[str, tuple[Callable[[dict], jax.Array], dict]] = {
    "steady, maps": (steady, VARIED),
    "steady, uniform": (partial(steady, uniform=True), UNIFORM),
    "time, uniform": (exact_frames, UNIFORM),
    "time, maps": (partial(frozen_frames, integrate=False, shining=True), VARIED),
    "gates, maps": (partial(frozen_frames, integrate=True, shining=False), VARIED),
}


def direction(p: dict, seed: int) -> dict:
    """A random direction of about 5 % of each parameter: small enough that third order stays below 2 % at ε = 1e-2."""
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(0.05 * value * rng.standard_normal(np.shape(value))) for name, value in p.items()}


def along(p: dict, d: dict, step) -> dict:
    return {name: value + step * d[name] for name, value in p.items()}


def slope_defect(values: list, tangent) -> float:
    """Largest departure from 2 of the slope of the Taylor remainder over ε = 1e-2, 1e-3, 1e-4."""
    remainders = [abs(v - values[0] - e * tangent) for v, e in zip(values[1:], EPSILONS, strict=True)]
    return float(np.abs(np.diff(np.log10(remainders)) + 2.0).max())


EPSILONS = (1e-2, 1e-3, 1e-4)


def check(loss: Callable[[dict], jax.Array], p: dict, directions: int, spoil: float = 0.0) -> list[str]:
    """What is wrong with the derivatives of `loss` at p: an empty list, unless they are spoiled by a factor."""
    p = jax.tree.map(jnp.asarray, p)
    value, forward = jax.jit(loss), jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,))[1])
    gradient = jax.jit(jax.grad(loss))(p)
    wrong = []
    for seed in range(directions):
        d = direction(p, seed)
        tangent = forward(p, d) * (1 + spoil)
        reverse = sum(jnp.vdot(gradient[name], d[name]) for name in p)
        if abs(tangent - reverse) > 1e-10 * abs(reverse):
            wrong.append(f"direction {seed}: forward {tangent} against reverse {reverse}")
        defect = slope_defect([value(along(p, d, e)) for e in (0.0, *EPSILONS)], tangent)
        if not defect < 0.02:
            wrong.append(f"direction {seed}: Taylor slope off by {defect}")
    return wrong


@pytest.mark.parametrize("name", ["steady, maps", "time, uniform"])
def test_forward_reverse_and_taylor(name: str):
    assert check(*LOSSES[name], directions=1) == []


@pytest.mark.gate
@pytest.mark.parametrize("name", LOSSES)
def test_five_directions(name: str):
    assert check(*LOSSES[name], directions=5) == []


def test_an_error_of_a_thousandth_would_be_seen():
    """The checks above are worth their name only if they fail on a derivative that is off by 0.1 %."""
    found = check(*LOSSES["steady, uniform"], directions=1, spoil=1e-3)
    assert any("against" in line for line in found)
    assert any("Taylor" in line for line in found)


@pytest.mark.parametrize("name", ["steady, maps", pytest.param("time, maps", marks=pytest.mark.gate)])
def test_second_derivatives(name: str):
    """Hessian-vector products, forward over reverse, against central differences of the gradient (error ε² = 1e-8)."""
    loss, p = LOSSES[name]
    p = jax.tree.map(jnp.asarray, p)
    d = direction(p, 3)
    gradient = jax.jit(jax.grad(loss))
    product = jax.jit(lambda p: jax.jvp(jax.grad(loss), (p,), (d,))[1])(p)
    up, down = gradient(along(p, d, 1e-4)), gradient(along(p, d, -1e-4))
    for parameter in p:
        expected = (up[parameter] - down[parameter]) / 2e-4
        error = jnp.linalg.norm(product[parameter] - expected)
        assert error <= 1e-6 * jnp.linalg.norm(expected) + 1e-12, parameter


def test_jit_vmap_and_grad_together():
    """A batch of gradients is the gradients one by one, to what two orders of summation differ by."""
    scales = jnp.array([0.7, 1.3])

    def loss(scale):
        return steady({**VARIED, "diffusivity": scale * VARIED["diffusivity"]})

    together = jax.jit(jax.vmap(jax.grad(loss)))(scales)
    alone = jnp.stack([jax.jit(jax.grad(loss))(scale) for scale in scales])
    np.testing.assert_allclose(together, alone, rtol=1e-9)


@pytest.mark.gate
def test_evolve_differentiates_as_its_replay():
    """The public `evolve`, which chooses its steps anew at each point: forward is reverse to what the solves leave."""

    def loss(p):
        medium, spot, grid = setting(p, uniform=False)
        times = jnp.array([0.1, 0.4]) * p["time"]
        return score(evolve(medium, spot, grid, times, rtol=1e-2, solve_rtol=1e-13, max_steps=40).density)

    p = jax.tree.map(jnp.asarray, VARIED)
    d = direction(p, 5)
    tangent = jax.jit(lambda p: jax.jvp(loss, (p,), (d,))[1])(p)
    gradient = jax.jit(jax.grad(loss))(p)
    assert abs(tangent - sum(jnp.vdot(gradient[name], d[name]) for name in p)) <= 1e-10 * abs(tangent)
