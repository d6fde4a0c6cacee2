"""How fast, beside what people use: `python -m benchmarks.performance`.

Options: -o FILE, --problems P1 P2 P4 P5 P6 P7, --sizes …, --rounds …


P1  uniform film, steady                                      against scipy's spsolve and pyamg
P2  D(r), τ(r), U(r), steady (`problems.random_film`)         against the same
P4  value and gradient of a loss of P2 in all of D(r), τ(r)   against its own forward solve
P5  256 sets of (D, τ) on P2 at 128², together and in turn     against a loop over single solves
P6  fit of L, amplitude and background to a noisy image       against lmfit around a sparse solve
P7  50 images of 128² of one film, measured together          against one by one, at most 2 ×

Contenders take turns, so that what else the machine does meets them alike; what is short is called for a fifth of a
second in its turn, so that it is not its waking up that is timed. Figures are medians over the rounds, and ratios are
what to quote. Peers' times include assembly and run with one BLAS thread, which is where they are fastest.
Solves reach a residual of 1e-8 and are checked against a direct one. On a GPU peers are left out and each size is timed
in double and single precision. Needs the dev extra (pyamg, lmfit, scipy).
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import problems
from benchmarks.provenance import RESULTS, environment, source_hash, write_json
from excidiff.solver import Grid, Medium, steady_state
from excidiff.solver.medium import thermal_energy

Contender = Callable[[], object]
TURN = 0.2  # seconds


def take_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, dict]:
    """Median, least and all times of one call of each contender, a turn each per round; the first call apart."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    first = {name: _mean_time(run, 1) for name, run in contenders.items()}
    calls = {name: max(1, int(TURN / _mean_time(run, 1))) for name, run in contenders.items()}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(_mean_time(run, calls[name]))
    return {
        name: {"median_s": float(np.median(t)), "min_s": min(t), "first_s": first[name], "times_s": t}
        for name, t in times.items()
    }


def _mean_time(run: Contender, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def sparse_operator(problem: problems.Steady):
    """The five-point matrix of the same film in n, with numpy and scipy alone: Scharfetter-Gummel, harmonic faces."""
    import scipy.sparse as sp

    medium, grid = problem.medium, problem.grid
    (rows, columns), (hy, hx) = grid.shape, (float(h) for h in grid.spacing)
    d = np.broadcast_to(np.asarray(medium.diffusivities[0], float), grid.shape)
    loss = np.broadcast_to(1.0 / np.asarray(medium.lifetime, float), grid.shape)
    energy = np.zeros(grid.shape) if medium.landscape is None else np.asarray(medium.landscape)
    energy = energy / float(thermal_energy(medium))
    diagonal, below, above = loss.copy(), [], []
    for axis, h in enumerate((hy, hx)):
        first, last = np.split(np.arange(grid.shape[axis]), [-1])[0], slice(1, None)
        a, b = np.take(d, first, axis), d[last] if axis == 0 else d[:, last]
        step = np.diff(energy, axis=axis)
        flat, safe = step == 0, np.where(step == 0, 1.0, step)
        rate = 2 * a * b / (a + b) / h**2
        out, back = (rate * np.where(flat, 1.0, x / np.expm1(x)) for x in (safe, -safe))
        pad = ((0, 1), (0, 0)) if axis == 0 else ((0, 0), (0, 1))
        diagonal += np.pad(out, pad) + np.pad(back, [p[::-1] for p in pad])
        below.append(np.pad(out, pad))
        above.append(np.pad(back, pad))
    n = rows * columns
    bands = [diagonal, -below[1], -above[1], -below[0], -above[0]]
    flat = [b.ravel() for b in bands]
    data = [flat[0], flat[1][:-1], flat[2][:-1], flat[3][: n - columns], flat[4][: n - columns]]
    offsets = [0, -1, 1, -columns, columns]
    return sp.diags_array(data, offsets=offsets, shape=(n, n), format="csr")  # pyright: ignore[reportArgumentType]


def symmetric_operator(problem: problems.Steady):
    """The same matrix in v = n exp(U/2kT), symmetric, and the factor exp(−U/2kT)."""
    import scipy.sparse as sp

    matrix = sparse_operator(problem)
    energy = problem.medium.landscape
    if energy is None:
        return matrix, np.ones(np.size(problem.source))
    factor = np.exp(-0.5 * np.asarray(energy) / float(thermal_energy(problem.medium))).ravel()
    symmetric = sp.diags(1 / factor) @ matrix @ sp.diags(factor)
    return symmetric.tocsr(), factor


def peers(problem: problems.Steady, direct: bool) -> dict[str, Contender]:
    """Coefficients in, density out, by scipy's spsolve and pyamg's two solvers at a residual of 1e-8."""
    import pyamg
    import scipy.sparse.linalg as sla

    source = np.asarray(problem.source).ravel()

    def multilevel(build) -> Contender:
        def run():
            matrix, factor = symmetric_operator(problem)
            preconditioner = build(matrix).aspreconditioner()
            return factor * sla.cg(matrix, source / factor, rtol=1e-8, maxiter=2000, M=preconditioner)[0]

        return run

    found: dict[str, Contender] = {
        "pyamg_rs": multilevel(pyamg.ruge_stuben_solver),
        "pyamg_sa": multilevel(pyamg.smoothed_aggregation_solver),
    }
    if direct:
        found["spsolve"] = lambda: sla.spsolve(sparse_operator(problem).tocsc(), source)
    return found


def uniform_film(n: int) -> problems.Steady:
    """P1: the film of P2 with numbers for maps."""
    film = problems.random_film(n)
    return problems.Steady("uniform film", film.grid, Medium(problems.D, problems.TAU), film.source, film.density)


def ours(problem: problems.Steady, dtype: type = np.float64) -> Contender:
    medium, source, grid = cast(problem, dtype)
    return lambda: jax.block_until_ready(steady_state(medium, source, grid).density)


def cast(problem: problems.Steady, dtype) -> tuple[Medium, jax.Array, Grid]:
    medium, source, grid = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), (problem.medium, problem.source, problem.grid)
    )
    return medium, source, grid


def steady_case(problem: problems.Steady, rounds: int, with_peers: bool) -> dict:
    """P1 and P2 at one size."""
    n = problem.grid.shape[0]
    contenders = {"excidiff": ours(problem)}
    if with_peers:
        contenders |= peers(problem, direct=n <= 512)
    else:
        contenders["excidiff, float32"] = ours(problem, np.float32)
    case = take_turns(contenders, rounds)
    solution = steady_state(*cast(problem, np.float64)[:2], problem.grid)
    result = {"n": n, "iterations": int(solution.stats["iterations"]), "contenders": case}
    if with_peers:
        best = min(case[name]["median_s"] for name in case if name != "excidiff")
        result["ratio_to_best_peer"] = best / case["excidiff"]["median_s"]
        if "spsolve" in contenders:
            exact = np.asarray(contenders["spsolve"]()).reshape(n, n)
            found = np.asarray(contenders["excidiff"]())
            result["relative_error"] = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    return result


def gradient_case(n: int, rounds: int) -> dict:
    """P4: value and gradient of Σ(n − data)² in the maps of D and τ, against the value alone."""
    medium, source, grid = cast(problems.random_film(n), np.float64)
    data = jnp.asarray(1.1 * np.exp(-((np.asarray(grid.x)[None] ** 2) + np.asarray(grid.y)[:, None] ** 2) / 0.36))

    def loss(d, tau, landscape, source, data):
        return jnp.sum((steady_state(Medium(d, tau, landscape), source, grid).density - data) ** 2)

    value, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    maps = (medium.diffusivity, medium.lifetime, medium.landscape, source, data)
    case = take_turns(
        {"value": lambda: jax.block_until_ready(value(*maps)), "gradient": lambda: jax.block_until_ready(both(*maps))},
        rounds,
    )
    return {"n": n, "contenders": case, "ratio": case["gradient"]["median_s"] / case["value"]["median_s"]}


def sweep_case(rounds: int, n: int = 128, sets: int = 256) -> dict:
    """P5: densities of P2 with D and τ scaled by log-normal numbers, by `vmap`, by `lax.map` and by a loop."""
    medium, source, grid = cast(problems.random_film(n), np.float64)
    factors = jnp.asarray(np.exp(np.random.default_rng(5).normal(0.0, 0.4, (2, sets))))

    def density(scale):
        scaled = Medium(scale[0] * medium.diffusivities[0], scale[1] * medium.lifetime, medium.landscape)
        return steady_state(scaled, source, grid, throw=False).density

    together, in_turn, single = jax.jit(jax.vmap(density)), jax.jit(lambda f: jax.lax.map(density, f)), jax.jit(density)
    contenders: dict[str, Contender] = {
        "vmap": lambda: jax.block_until_ready(together(factors.T)),
        "map": lambda: jax.block_until_ready(in_turn(factors.T)),
        "loop": lambda: jax.block_until_ready([single(scale) for scale in factors.T]),
    }
    case = take_turns(contenders, rounds)
    found, exact = np.asarray(together(factors.T)), np.stack([single(scale) for scale in factors.T])
    error = float(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    ratios = {name: case["loop"]["median_s"] / case[name]["median_s"] for name in ("vmap", "map")}
    return {"n": n, "sets": sets, "ratios": ratios, "relative_difference": error, "contenders": case}


P6_TRUTH = {"diffusion_length": 0.447, "amplitude": 3.0, "background": 0.02}


def p6_model(n: int, length: float, amplitude: float, background: float) -> np.ndarray:
    """A steady image on n × n cells of 10 µm: a sparse solve, blurred by a PSF of standard deviation 0.25 µm."""
    import scipy.sparse.linalg as sla
    from scipy.ndimage import gaussian_filter

    film = uniform_film(n)
    film = problems.Steady("p6", film.grid, Medium(length**2, 1.0), film.source, film.density)
    density = sla.spsolve(sparse_operator(film).tocsc(), amplitude * np.asarray(film.source).ravel()).reshape(n, n)
    return gaussian_filter(density, 0.25 * n / 10.0, mode="reflect", truncate=6) + background


def fit_case(rounds: int, n: int = 128) -> dict:
    """P6: an image with noise of 1 % of its peak, fitted by lmfit around the sparse solve and by `Experiment`."""
    import lmfit

    from excidiff.inverse import Experiment, Image

    image = p6_model(n, *P6_TRUTH.values())
    image = image + 0.01 * image.max() * np.random.default_rng(3).standard_normal(image.shape)

    def model(_, length, amplitude, background):
        return p6_model(n, length, amplitude, background).ravel()

    def by_lmfit():
        fit = lmfit.Model(model, independent_vars=["_"])
        parameters = fit.make_params(length={"value": 0.8, "min": 0.01}, amplitude=1.0, background=0.0)
        result = fit.fit(image.ravel(), parameters, _=np.zeros(image.size))
        return result.params["length"].value, result.params["length"].stderr

    measured = Image(
        image, pixel_size=(10.0 / n, 10.0 / n), uncertainty=np.full(image.shape, 0.01 * image.max()), file="p6"
    )

    def by_excidiff():
        fit = Experiment(images=[measured], laser_fwhm=0.3, psf_fwhm=0.25 * problems.FWHM, noise="gaussian").fit()
        length = fit.parameters["diffusion_length"]
        return length.value, length.stderr

    case = take_turns({"excidiff": by_excidiff, "lmfit": by_lmfit}, rounds)
    found = {name: {"value": v, "stderr": s} for name, (v, s) in (("excidiff", by_excidiff()), ("lmfit", by_lmfit()))}
    ratio = case["lmfit"]["median_s"] / case["excidiff"]["median_s"]
    return {"n": n, "contenders": case, "diffusion_length": found, "truth": P6_TRUTH, "ratio": ratio}


def batch_case(rounds: int, n: int = 128, images: int = 50) -> dict:
    """P7: spots of one film with photon noise, in one `Experiment` and in one each."""
    from excidiff.inverse import Camera, Experiment, Image

    mean = 300.0 * p6_model(n, 0.35, 3.0, 0.02)
    random, camera = np.random.default_rng(7), Camera(gain_known=True, saturation=np.inf)
    spots = [
        Image(random.poisson(mean), pixel_size=10.0 / n, camera=camera, file=f"spot_{k}.tif") for k in range(images)
    ]
    optics = {"laser_fwhm": (0.3, 0.002), "psf_fwhm": 0.25 * problems.FWHM}
    contenders: dict[str, Contender] = {
        "together": lambda: Experiment(images=spots, **optics).fit(),
        "one by one": lambda: [Experiment(images=[spot], **optics).fit() for spot in spots],
    }
    case = take_turns(contenders, rounds)
    ratio = case["together"]["median_s"] / case["one by one"]["median_s"]
    return {"n": n, "images": images, "ratio": ratio, "contenders": case}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["P1", "P2", "P4", "P5", "P6", "P7"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    with_peers = jax.default_backend() == "cpu"
    device = "cpu" if with_peers else jax.devices()[0].device_kind.replace(" ", "-").lower()
    report: dict = {"environment": environment(), "sources": source_hash("solver", "inverse", "benchmarks")}
    for name in arguments.problems:
        if name == "P6":
            report[name] = [fit_case(arguments.rounds)]
        elif name == "P5":
            report[name] = [sweep_case(arguments.rounds)]
        elif name == "P7":
            report[name] = [batch_case(arguments.rounds)]
        elif name == "P4":
            report[name] = [gradient_case(n, arguments.rounds) for n in arguments.sizes]
        else:
            build = uniform_film if name == "P1" else problems.random_film
            report[name] = [steady_case(build(n), arguments.rounds, with_peers) for n in arguments.sizes]
        for case in report[name]:
            brief = {k: v for k, v in case.items() if k != "contenders"}
            brief |= {contender: round(t["median_s"], 5) for contender, t in case["contenders"].items()}
            print(name, json.dumps(brief), flush=True)
        write_json(arguments.output or RESULTS / f"performance-{device}.json", report)


if __name__ == "__main__":
    main()
