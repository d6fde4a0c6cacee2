"""Derivatives as hard as values: forward against reverse, Taylor remainders, second derivatives, through jit and vmap.

Solves are converged to 1e-13, so that ⟨Jᵀw, d⟩ = ⟨w, Jd⟩ holds to 1e-10 and the remainder of a first-order Taylor
series falls as ε² (slope 2 ± 0.02) from ε = 1e-2 to 1e-4. Each parameter is moved alone too, so that an error of 0.1 %
in its share of a derivative shows whatever the others weigh. In time the steps are frozen: a derivative is that of the
steps taken; the last tests tie it to what `evolve` and `time_integral` return.
"""

from collections.abc import Callable
from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from excidiff.solver import (
    Disorder,
    Emission,
    Grid,
    Medium,
    Surface,
    Traps,
    evolve,
    gaussian_spot,
    steady_state,
    time_integral,
)
from excidiff.solver import march as marching
from excidiff.solver.bins import band
from excidiff.solver.kinetics import kinetics
from excidiff.solver.light import Steady
from excidiff.solver.linear.flux import assemble
from excidiff.solver.linear.multigrid import build
from excidiff.solver.scheme import System
from excidiff.solver.steady import populations

SHAPE = (9, 12)
Y, X = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
WEIGHT = jnp.asarray(np.random.default_rng(7).standard_normal(SHAPE))
VARIED = {
    "diffusivity": 0.05 * np.exp(0.3 * np.cos(2 * X + Y)),
    "anisotropy": 0.7,
    "lifetime": 5.0 * np.exp(0.2 * np.sin(3 * Y)),
    "landscape": 20.0 * np.cos(3 * X) * np.sin(2 * Y),
    "temperature": 295.0,
    "velocity": 0.2,
    "spacing_y": 0.1,
    "spacing_x": 0.12,
    "fwhm": 0.4,
    "centre_x": 0.05,
    "centre_y": 0.015,
    "total": 1.0,
    "light": 0.3 + 0.1 * X,
    "generation": 0.8 + 0.3 * X * Y,
    "time": 1.0,
}
REACTIONS = {
    "annihilation": 0.2 * np.exp(0.3 * np.sin(2 * X - Y)),
    "auger": 0.1 * np.exp(0.3 * np.cos(3 * Y)),
    "trap_density": 2.0 * np.exp(0.4 * np.sin(2 * X)),
    "capture": 0.3 * np.exp(0.2 * np.cos(2 * Y)),
    "release": 0.2 * np.exp(0.2 * np.sin(X + Y)),
    "trap_lifetime": 4.0 * np.exp(0.2 * np.cos(X)),
    "trapping_rate": 0.9 * np.exp(0.3 * np.sin(X - Y)),
    "linear_release": 0.8,
    "linear_lifetime": 1.5,
    "radiative": 0.1 * np.exp(0.3 * np.cos(X)),
    "yield": 0.4,
}
ENERGIES = {"disorder": 20.0, "relaxation": 0.8}
LENGTHS = {"centre_x": 0.3, "centre_y": 0.3, "linear_release": 2.5}
"""What 100 % means for a coordinate, µm, and for a rate that matters little."""


def without(p: dict, *names: str) -> dict:
    return {name: value for name, value in p.items() if name not in names}


STEADY = without(VARIED, "generation", "time")
UNIFORM = without(VARIED, "landscape", "temperature", "velocity") | {"diffusivity": 0.05, "lifetime": 5.0}


def grid_and_light(p: dict, periodic=(False, False)) -> tuple[Grid, jax.Array]:
    grid = Grid(SHAPE, (p["spacing_y"], p["spacing_x"]), periodic)
    spot = gaussian_spot(grid, fwhm=p["fwhm"], centre=(p["centre_x"], p["centre_y"]), total=p["total"])
    return grid, spot + p["light"]


def film(p: dict, surface: Surface) -> Medium:
    diffusivity = (p["diffusivity"], p["anisotropy"] * p["diffusivity"])
    if "landscape" not in p:
        return Medium(diffusivity, p["lifetime"], surface=surface)
    return Medium(diffusivity, p["lifetime"], p["landscape"], p["temperature"], surface)


def rough(p: dict) -> Medium:
    medium = film(p, Surface(left=p["velocity"], top=np.inf))
    return reactive(p, medium) if "annihilation" in p else medium


def disordered(p: dict, mobility: str, bins: int) -> Medium:
    disorder = Disorder(p["disorder"], p["relaxation"], bins, mobility)
    return eqx.tree_at(lambda m: m.disorder, rough(p), disorder, is_leaf=lambda leaf: leaf is None)


def reactive(p: dict, medium: Medium) -> Medium:
    """The same film with annihilation, Auger recombination, traps that fill and traps that do not, and its light."""
    filling = Traps(p["trap_density"], p["capture"], p["release"], p["trap_lifetime"])
    traps = (filling, Traps.linear(p["trapping_rate"], p["linear_release"], p["linear_lifetime"]))
    law = Emission(p["radiative"], 0.5 * p["annihilation"], 0.3, p["yield"]) if "radiative" in p else None
    return Medium(
        medium.diffusivity,
        medium.lifetime,
        medium.landscape,
        medium.temperature,
        medium.surface,
        annihilation=p["annihilation"],
        auger=p["auger"],
        traps=traps,
        emission=law,
    )


def score(density: jax.Array) -> jax.Array:
    """A nonlinear loss of a density, of order one."""
    return jnp.sum(jnp.broadcast_to(WEIGHT, density.shape) * density) + jnp.sum(density**2)


def steady(p: dict) -> jax.Array:
    grid, light = grid_and_light(p)
    found = steady_state(rough(p), light, grid, rtol=1e-13)
    others = [score(field) for field in (found.trapped_by_species, found.emission) if field is not None]
    return score(found.density) + sum(others)


def steady_round(p: dict) -> jax.Array:
    """y closes on itself; the quencher at the right is a value, infinite to the program too."""
    grid, light = grid_and_light(p, periodic=(True, False))
    medium = film(p, Surface(left=p["velocity"], right=jnp.asarray(jnp.inf)))
    return score(steady_state(medium, light, grid, rtol=1e-13).density)


def steady_energies(p: dict, mobility: str) -> jax.Array:
    """Every bin of a disordered film."""
    grid, light = grid_and_light(p)
    found = steady_state(disordered(p, mobility, bins=4), light, grid, rtol=1e-13)
    tilt = jnp.linspace(0.5, 1.5, 4)[:, None, None]
    return score(tilt * found.by_energy) + (found.energies @ found.by_energy.sum((1, 2)) / 1000) ** 2


def steady_uniform(p: dict) -> jax.Array:
    grid, light = grid_and_light(p, periodic=(True, False))
    return score(steady_state(film(p, Surface(left=np.inf)), light, grid).density)


def exact_frames(p: dict) -> jax.Array:
    grid, light = grid_and_light(p)
    medium, times = film(p, Surface(left=np.inf)), jnp.array([0.0, 0.2, 1.0]) * p["time"]
    frames = evolve(medium, light, grid, times, generation=p["generation"]).density
    return score(frames) + score(time_integral(medium, light, grid, edges=times).density)


STEPPING = {"rtol": 1e-2, "max_steps": 40}


def march_arguments(p: dict, mobility: str = "") -> tuple:
    """What `march` is given for the film p; it shines where p has a generation, and has disorder with a `mobility`."""
    grid, light = grid_and_light(p)
    medium = disordered(p, mobility, bins=3) if mobility else rough(p)
    operator = assemble(medium, grid)
    local = kinetics(medium) if "annihilation" in p else None
    shining = "generation" in p
    lossless = shining or local is not None
    common = jnp.zeros(()) if lossless else jax.lax.stop_gradient(jnp.min(operator.loss))
    film = band(medium, grid, kinetics(medium)) if mobility else None
    system = System(operator, local, Steady(p["generation"]) if shining else None, common, film)
    share = jnp.ones(1) if film is None else film.bins.sites
    free = share[:, None, None] * operator.symmetric(light)[None]
    u = jnp.concatenate([free, jnp.zeros((len(medium.traps), *SHAPE))])
    times = jnp.array([0.0, 0.1, 0.4]) * p["time"]
    return system, build(operator), u, times


def frozen_frames(p: dict, mobility: str = "") -> jax.Array:
    """The replay of `march` with the steps, and the common loss, chosen at VARIED, whatever p is."""
    settings = {"solve_rtol": 1e-13, "integrate": "generation" not in p, "square": "annihilation" in p}
    start = march_arguments({name: jnp.asarray((VARIED | REACTIONS | ENERGIES)[name]) for name in p}, mobility)
    steps = marching.choose(*start, **settings, **STEPPING).steps
    system, *rest = march_arguments(p, mobility)
    system = eqx.tree_at(lambda s: s.common, system, start[0].common)
    frames = marching.replay(system, *rest, **settings, steps=jax.lax.stop_gradient(steps))
    density = jax.vmap(system.operator.density)(frames[:, 0])
    if mobility:
        tilt = jnp.linspace(0.5, 1.5, system.bins)[None, :, None, None]
        return score(jnp.sum(tilt * jax.vmap(jax.vmap(system.operator.density))(frames[:, : system.bins]), 1))
    if "annihilation" not in p:
        return score(density)
    held, square = jnp.moveaxis(frames[:, 1:3], 1, 0), frames[:, 3] if settings["integrate"] else density**2
    trapped, emission = populations(rough(p), density, square, held)
    return score(density) + score(trapped) + score(emission)


LOSSES: dict[str, tuple[Callable[[dict], jax.Array], dict]] = {
    "steady, maps": (steady, STEADY),
    "steady, periodic": (steady_round, STEADY),
    "steady, uniform": (steady_uniform, without(UNIFORM, "generation", "time")),
    "time, uniform": (exact_frames, UNIFORM),
    "time, maps": (frozen_frames, VARIED),
    "gates, maps": (frozen_frames, without(VARIED, "generation")),
    "steady, nonlinear": (steady, STEADY | REACTIONS),
    "steady, energies": (
        partial(steady_energies, mobility="constant"),
        without(STEADY | REACTIONS | ENERGIES, "radiative", "yield"),
    ),
    "steady, hops": (partial(steady_energies, mobility="hops"), STEADY | ENERGIES),
    "time, energies": (  # under this light the wall takes too little for its second order to show: see "gates, hops"
        lambda p: frozen_frames(p | {"velocity": VARIED["velocity"]}, mobility="constant"),
        without(VARIED | REACTIONS | ENERGIES, "radiative", "yield", "velocity"),
    ),
    "gates, hops": (  # a spot that reaches the wall
        partial(frozen_frames, mobility="hops"),
        without(VARIED, "generation") | ENERGIES | {"fwhm": 2 * VARIED["fwhm"]},
    ),
    "gates, nonlinear": (frozen_frames, without(VARIED, "generation") | REACTIONS),
}


def direction(p: dict, seed: int, size: float = 0.05) -> dict:
    """A random direction of about 5 % of each parameter: small enough that third order stays below 2 % at ε = 1e-2."""
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(size * LENGTHS.get(name, value) * rng.standard_normal(np.shape(value)))
        for name, value in p.items()
    }


def alone(p: dict) -> dict[str, dict]:
    """One direction for each parameter in which it moves and nothing else: a number by 20 %, a map at random."""
    everything = {name: jnp.asarray(0.2 * LENGTHS.get(name, 1.0)) for name in p if not np.ndim(p[name])}
    everything = {name: step if name in LENGTHS else step * p[name] for name, step in everything.items()}
    everything = direction(p, 11, 0.2) | everything
    return {name: jax.tree.map(jnp.zeros_like, everything) | {name: everything[name]} for name in p}


def along(p: dict, d: dict, step) -> dict:
    return {name: value + step * d[name] for name, value in p.items()}


EPSILONS = (1e-2, 1e-3, 1e-4)


def slope_defect(values: list, tangent) -> float:
    """Largest departure from 2 of the slope of the Taylor remainder over ε = 1e-2, 1e-3, 1e-4.

    A remainder counts while rounding of the values, ε₆₄ of them, is below 0.2 % of it; infinite if two do not.
    """
    remainders = np.array([abs(v - values[0] - e * tangent) for v, e in zip(values[1:], EPSILONS, strict=True)])
    sure = remainders > 500 * np.finfo(float).eps * abs(float(values[0]))
    if not sure[:2].all():
        return float(np.inf)
    return float(np.abs(np.diff(np.log10(remainders[sure])) + 2.0).max())


@cache
def gradient_of(loss: Callable[[dict], jax.Array]) -> Callable[[dict], dict]:
    """Compiled once for all tests of a loss: of some it takes half a minute."""
    return jax.jit(jax.grad(loss))


def check(loss: Callable[[dict], jax.Array], p: dict, directions: dict[str, dict]) -> tuple[list[str], list[str]]:
    """(what is wrong with the derivatives of `loss` at p, the directions in which an error of 0.1 % would show)."""
    p = jax.tree.map(jnp.asarray, p)
    value, forward = jax.jit(loss), jax.jit(lambda p, d: jax.jvp(loss, (p,), (d,))[1])
    gradient, here = gradient_of(loss)(p), value(p)
    wrong, sharp = [], []
    for label, d in directions.items():
        tangent = forward(p, d)
        shares = [jnp.vdot(gradient[name], d[name]) for name in p]
        if not abs(tangent - sum(shares)) <= 1e-10 * sum(abs(share) for share in shares):
            wrong.append(f"{label}: forward {tangent} against reverse {sum(shares)}")
        values = [here, *(value(along(p, d, e)) for e in EPSILONS)]
        if not slope_defect(values, tangent) < 0.02:
            wrong.append(f"{label}: Taylor slope off by {slope_defect(values, tangent)}")
        if min(slope_defect(values, tangent * (1 + spoil)) for spoil in (-1e-3, 1e-3)) > 0.02:
            sharp.append(label)
    return wrong, sharp


@pytest.mark.parametrize("name", ["steady, maps", "time, uniform"])
def test_each_parameter_alone(name: str):
    """Forward, reverse and Taylor for every parameter, and each sharp enough to see its derivative off by 0.1 %."""
    loss, p = LOSSES[name]
    wrong, sharp = check(loss, p, alone(p))
    assert wrong == []
    assert sharp == list(p)


@pytest.mark.gate
@pytest.mark.parametrize("name", LOSSES)
def test_five_directions_and_each_parameter_alone(name: str):
    loss, p = LOSSES[name]
    wrong, sharp = check(loss, p, alone(p) | {f"direction {seed}": direction(p, seed) for seed in range(5)})
    assert wrong == []
    assert set(sharp) >= set(p)


TWICE = ("steady, maps", "steady, nonlinear", "steady, energies", "gates, nonlinear")
"""One of each kind: of some, compiling takes a minute, and they show what the others do."""


@pytest.mark.parametrize("name", [n if n == "steady, maps" else pytest.param(n, marks=pytest.mark.gate) for n in TWICE])
def test_second_derivatives(name: str):
    """Hessian-vector products, forward over reverse, against central differences of the gradient (error ε² = 1e-8)."""
    loss, p = LOSSES[name]
    p = jax.tree.map(jnp.asarray, p)
    d = direction(p, 3)
    gradient = gradient_of(loss)
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
        return steady({**STEADY, "diffusivity": scale * STEADY["diffusivity"]})

    together = jax.jit(jax.vmap(jax.grad(loss)))(scales)
    alone = jnp.stack([jax.jit(jax.grad(loss))(scale) for scale in scales])
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def public_frames(p: dict, **control) -> jax.Array:
    """As `frozen_frames`, by `evolve` where p has a generation and by `time_integral` where it has none."""
    grid, light = grid_and_light(p)
    medium, times = rough(p), jnp.array([0.0, 0.1, 0.4]) * p["time"]
    control = {"solve_rtol": 1e-13} | STEPPING | control
    if "generation" in p:
        return score(evolve(medium, light, grid, times, generation=p["generation"], **control).density)
    return score(time_integral(medium, light, grid, edges=times, **control).density)


IN_TIME = pytest.mark.parametrize("name", ["time, maps", "gates, maps"])


@IN_TIME
def test_replay_takes_the_steps_that_were_chosen(name: str):
    """The frames of both passes of `march`, the same steps with the same solves: to rounding, 1e-12."""
    p = jax.tree.map(jnp.asarray, LOSSES[name][1])
    settings = {"solve_rtol": 1e-13, "integrate": "generation" not in p, "square": False}
    start = march_arguments(p)
    frames, stats, steps, _ = jax.jit(lambda *a: marching.choose(*a, **settings, **STEPPING))(*start)
    again = jax.jit(lambda steps, *a: marching.replay(*a, **settings, steps=steps))(steps, *start)
    assert stats["steps"] >= 3
    np.testing.assert_allclose(again, frames, rtol=0, atol=1e-12 * float(jnp.abs(frames).max()))


@IN_TIME
def test_public_functions_differentiate_what_they_return(name: str):
    """The tangent against central differences (ε = 1e-3 of a direction of 5 %: 1e-9) of solutions that choose their
    steps anew, at a tolerance of 1e-7: what the moving steps add to a difference is below 1e-7 too."""
    p = jax.tree.map(jnp.asarray, LOSSES[name][1])
    d = direction(p, 5)
    loss = partial(public_frames, rtol=1e-7, max_steps=400)
    value, tangent = jax.jit(loss), jax.jit(lambda p: jax.jvp(loss, (p,), (d,))[1])(p)
    difference = (value(along(p, d, 1e-3)) - value(along(p, d, -1e-3))) / 2e-3
    assert abs(tangent - difference) <= 1e-7 * abs(difference)


@pytest.mark.gate
@IN_TIME
def test_public_functions_in_reverse(name: str):
    """Forward is reverse to what the solves leave, and both are those of the replay, to 1e-10."""
    p = jax.tree.map(jnp.asarray, LOSSES[name][1])
    d = direction(p, 5)
    gradient = jax.jit(jax.grad(public_frames))(p)
    reverse = sum(jnp.vdot(gradient[parameter], d[parameter]) for parameter in p)
    for loss in (public_frames, frozen_frames):
        tangent = jax.jit(lambda p, loss=loss: jax.jvp(loss, (p,), (d,))[1])(p)
        assert abs(tangent - reverse) <= 1e-10 * abs(tangent)


@pytest.mark.gate
def test_jit_vmap_and_grad_in_time():
    """A batch of gradients of `evolve`, whose members take different steps, is the gradients one by one."""
    scales = jnp.array([0.5, 2.0])

    def loss(scale):
        return public_frames({**VARIED, "diffusivity": scale * VARIED["diffusivity"]})

    together = jax.jit(jax.vmap(jax.grad(loss)))(scales)
    alone = jnp.stack([jax.jit(jax.grad(loss))(scale) for scale in scales])
    np.testing.assert_allclose(together, alone, rtol=1e-9)
