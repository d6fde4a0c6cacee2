"""What traps, annihilation, energies, trains, scans, derivatives and anisotropy cost: `python -m benchmarks.physics`.

Options: -o FILE, --cases N1 N2 N3 N4 N5 N6 N7, --rounds …

N1  nonlinear steady state, 512², at 1, 10³ and 10⁶ times its onset      against its linear solve, at most 8 ×
N2  raster scan, 30 × 30 positions, fixed detector, 256² and 512²        against one solve, at most 5 ×
N3  value and gradient of a nonlinear steady state, 256²                 against its value, at most 2 ×
N4  value and gradient of an evolution, linear and not, 128²             against its value, at most 4 ×
N5  Dy/Dx or spacing 10:1 and 100:1, 256²                                iterations, at most 20 and 30
N6  pulse train in its periodic state, traps that remember 8 periods     against one period, at most 20 ×
N7  32 energy bins, 256², D for all; D by hops, ντ = 10                  against one solve, at most 40 and 120 ×

All on the rough film of `problems.random_film`. Contenders take turns as in `benchmarks.performance`; ratios are of
medians. The onset of a loss is the density at which it takes as much as n/τ.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import problems
from benchmarks.performance import Contender, cast, take_turns
from benchmarks.provenance import RESULTS, environment, source_hash, write_json
from excidiff.solver import Disorder, Grid, Medium, Spot, Traps, evolve, pulse_train, raster_scan, steady_state

ONSET = 1e3
"""Excitons per µm² at which each of the losses below matters as much as 1/τ = 0.2/ns."""
LOSSES = {
    "annihilation": {"annihilation": 1 / (problems.TAU * ONSET)},
    "auger": {"auger": 1 / (problems.TAU * ONSET**2)},
    "traps": {"traps": Traps(density=ONSET, capture=1 / (problems.TAU * ONSET), release=0.01, lifetime=20.0)},
}
TIMES = np.array([0.3, 1.0, 3.0, 10.0])


def film(n: int, roughness=(0.6, 0.2, 1.5), **more) -> tuple[Medium, jax.Array, Grid]:
    """P2 with further losses; light that would hold the film's middle at one exciton per µm² if nothing moved."""
    medium, source, grid = cast(problems.random_film(n, roughness=roughness), np.float64)
    medium = Medium(medium.diffusivity, medium.lifetime, medium.landscape, medium.temperature, **more)
    return medium, source / problems.TAU, grid


def call(function: Callable, *arguments) -> Contender:
    return lambda: jax.block_until_ready(function(*arguments))


def against(base: str, case: dict) -> dict[str, float]:
    """Medians of all other contenders over that of `base`."""
    return {name: case[name]["median_s"] / case[base]["median_s"] for name in case if name != base}


def nonlinear_case(rounds: int, n: int = 512) -> list[dict]:
    """N1: Newton's method from no light, against the linear solve of the same film."""
    found = []
    linear, source, grid = film(n)
    for name, losses in LOSSES.items():
        medium = film(n, **losses)[0]
        contenders = {"linear": call(steady_state, linear, source, grid)}
        iterations = {"linear": int(steady_state(linear, source, grid).stats["iterations"])}
        for times in (1.0, 1e3, 1e6):
            light = times * ONSET * source
            contenders[f"{times:g}"] = call(steady_state, medium, light, grid)
            iterations[f"{times:g}"] = int(steady_state(medium, light, grid).stats["iterations"])
        case = take_turns(contenders, rounds)
        found.append({"n": n, "loss": name, "iterations": iterations, "ratios": against("linear", case)})
        found[-1]["contenders"] = case
    return found


def scan_case(rounds: int) -> list[dict]:
    """N2: all positions of a raster before a detector that stands still."""
    found = []
    side = np.linspace(-4.0, 4.0, 30)
    positions = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    for n in (256, 512):
        medium, source, grid = film(n)
        detector = jnp.exp(-(grid.x[None, :] ** 2 + grid.y[:, None] ** 2) / 8.0)

        def scan(medium=medium, grid=grid, detector=detector):
            return raster_scan(medium, Spot(0.3), grid, positions, detector=detector).signal

        case = take_turns({"solve": call(steady_state, medium, source, grid), "scan": call(scan)}, rounds)
        found.append({"n": n, "positions": len(positions), "ratios": against("solve", case), "contenders": case})
    return found


def gradient_case(rounds: int, solve: Callable[..., jax.Array], n: int, losses: dict[str, dict], light: float):
    """N3, N4: Σ(n − data)² and its gradient in the maps of D and τ and in what is lost, against its value."""
    found = []
    for name, more in losses.items():
        medium, source, grid = film(n, **more)
        source = light * source
        data = 0.9 * solve(medium, source, grid)

        def loss(medium, source, grid=grid, data=data):
            return jnp.sum((solve(medium, source, grid) - data) ** 2)

        value, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
        case = take_turns({"value": call(value, medium, source), "gradient": call(both, medium, source)}, rounds)
        found.append({"n": n, "loss": name, "ratios": against("value", case), "contenders": case})
    return found


def steady_gradients(rounds: int) -> list[dict]:
    def solve(medium, source, grid):
        return steady_state(medium, source, grid).density

    return gradient_case(rounds, solve, 256, LOSSES, 10 * ONSET)


def time_gradients(rounds: int) -> list[dict]:
    def solve(medium, source, grid):
        return evolve(medium, problems.TAU * source, grid, TIMES).density

    losses = {"none": {}, **{name: LOSSES[name] for name in ("annihilation", "traps")}}
    return gradient_case(rounds, solve, 128, losses, ONSET)


def anisotropy_case(rounds: int, n: int = 256) -> list[dict]:
    """N5: one direction far better coupled than the other, by D or by the cells' shape."""
    found = []
    plain, source, grid = film(n, (0.3, 0.2, 0.5))
    h = float(grid.spacing[0])
    contenders = {"isotropic": (plain, grid)}
    for ratio in (10, 100):
        d = (plain.diffusivity, jnp.asarray(plain.diffusivities[1]) / ratio)
        slow = Medium(d, plain.lifetime, plain.landscape, plain.temperature)
        contenders[f"diffusivity {ratio}:1"] = (slow, grid)
        contenders[f"spacing {ratio}:1"] = (plain, Grid(grid.shape, (h * ratio**0.5, h / ratio**0.5)))
    runs: dict[str, Contender] = {}
    iterations: dict[str, Any] = {}
    for name, (medium, grid) in contenders.items():
        solution = steady_state(medium, source, grid, throw=False)
        iterations[name] = int(solution.stats["iterations"])
        runs[name] = call(lambda m=medium, g=grid: steady_state(m, source, g, throw=False).density)
    case = take_turns(runs, rounds)
    found.append({"n": n, "iterations": iterations, "ratios": against("isotropic", case), "contenders": case})
    return found


def train_case(rounds: int, n: int = 96, period: float = 25.0) -> list[dict]:
    """N6: the state that recurs, and the period after a pulse of it, against such a period alone."""
    traps = Traps(density=ONSET, capture=1 / (problems.TAU * ONSET), release=0.001, lifetime=8 * period)
    medium, source, grid = film(n, (0.6, 0.2, 0.5), traps=traps)
    pulse, times = problems.TAU * ONSET * source, np.array([period])
    start = pulse_train(medium, pulse, grid, period=period, times=np.zeros(1))
    held = jnp.asarray(start.trapped_by_species)[:, 0]

    def one():
        return evolve(medium, start.density[0], grid, times, trapped=held).density

    def train():
        return pulse_train(medium, pulse, grid, period=period, times=times).density

    case = take_turns({"period": call(one), "train": call(train)}, rounds)
    periods = int(start.stats["periods"])
    return [{"n": n, "periods": periods, "ratios": against("period", case), "contenders": case}]


def energy_case(rounds: int, n: int = 256) -> list[dict]:
    """N7: all bins of a disordered film."""
    plain, source, grid = film(n)
    contenders = {"solve": call(steady_state, plain, source, grid)}
    for mobility in ("constant", "hops"):
        disorder = Disorder(25.0, 10 / problems.TAU, bins=32, mobility=mobility)
        contenders[mobility] = call(steady_state, film(n, disorder=disorder)[0], source, grid)
    case = take_turns(contenders, rounds)
    return [{"n": n, "ratios": against("solve", case), "contenders": case}]


CASES = {
    "N1": nonlinear_case,
    "N2": scan_case,
    "N3": steady_gradients,
    "N4": time_gradients,
    "N5": anisotropy_case,
    "N6": train_case,
    "N7": energy_case,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    report: dict = {"environment": environment(), "sources": source_hash("solver", "benchmarks")}
    cpu = jax.default_backend() == "cpu"
    device = "cpu" if cpu else jax.devices()[0].device_kind.replace(" ", "-").lower()
    for name in arguments.cases:
        report[name] = CASES[name](arguments.rounds)
        for case in report[name]:
            brief = {k: v for k, v in case.items() if k != "contenders"}
            brief |= {contender: round(t["median_s"], 5) for contender, t in case["contenders"].items()}
            print(name, json.dumps(brief), flush=True)
        write_json(arguments.output or RESULTS / f"physics-{device}.json", report)


if __name__ == "__main__":
    main()
