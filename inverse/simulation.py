"""One prediction from a film's file to a file: which question it asks of the solver, the answer, and its record.

| light | [times] | question |
|---|---|---|
| continuous | absent | the steady state |
| continuous | at, edges | the rise from an empty film |
| single pulse | at, edges | the decay |
| single pulse | absent | the integral of the whole decay, in a linear film |
| train of pulses | at, edges | its periodic steady state, after a pulse |
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from excidiff.inverse.files.units import format_quantity
from excidiff.inverse.filmfile import Film, read_film
from excidiff.inverse.machine import environment
from excidiff.inverse.results.populations import to_dataset, write_dataset
from excidiff.inverse.results.wording import counted
from excidiff.inverse.section import told
from excidiff.inverse.settings import relative_to
from excidiff.solver.light import Pulse, Steady
from excidiff.solver.solution import Result, Solution
from excidiff.solver.steady import steady_state
from excidiff.solver.train import pulse_train
from excidiff.solver.transient import evolve, time_integral


class Question(NamedTuple):
    """What is asked of the solver: in words, as a call, and whether the answer is an integral over time."""

    words: str
    ask: Callable[[], Solution]
    integrated: bool = False


@dataclass(frozen=True, eq=False)
class Simulation:
    """A film, its populations, what was asked in words, and what the library warned of."""

    film: Film
    solution: Solution
    words: str
    integrated: bool
    warnings: tuple[str, ...]


def simulate(path: str | Path, *, rtol: float | None = None) -> Simulation:
    """Read a film's file and solve what it asks, to `rtol` (the solver's own tolerance by default).

    Raises `InputError` for what cannot be read or asked, before any computing, and `SolverError` when a solve fails.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        film = read_film(path)
        asked = question(film, rtol)
        with told(film.file):
            solution = asked.ask()
    said = tuple(dict.fromkeys(str(warning.message) for warning in caught))
    return Simulation(film, solution, asked.words, asked.integrated, said)


def question(film: Film, rtol: float | None = None) -> Question:
    """What a film's file asks, without an answer yet."""
    medium, source, grid = film.medium, film.source, film.grid
    times, edges = (None if axis is None else jnp.asarray(axis) for axis in (film.times, film.edges))
    if film.light == "train":
        pulse = source if film.width is None else Pulse(source, fwhm=film.width)
        words, period = f"the periodic steady state under pulses every {_time(film.period)}", film.period
        if edges is not None:
            words += f", integrated over {counted(len(edges) - 1, 'gate')} from {_span(edges)}"
            ask = partial(time_integral, medium, pulse, grid, edges=edges, period=period, rtol=rtol)
            return Question(words, ask, True)
        assert period is not None
        assert times is not None
        ask = partial(pulse_train, medium, pulse, grid, period=period, times=times, rtol=rtol)
        return Question(f"{words}, {_times(times)}", ask)
    if film.light == "continuous" and times is None and edges is None:
        return Question(
            "the steady state under continuous light", lambda: steady_state(medium, source, grid, rtol=rtol)
        )
    if times is None and edges is None:  # how long the pulse takes makes no difference to the whole
        words = "the integral of the whole decay after a pulse"
        return Question(words, lambda: time_integral(medium, source, grid, rtol=rtol), True)
    if film.light == "continuous":
        after, light = "the rise under continuous light from an empty film", Steady(source)
    elif film.width is not None:
        light = Pulse(source, fwhm=film.width)
        after = f"the film under a pulse of {_time(film.width)} with its maximum at {_time(light.centre)}"
    else:
        after, light = "the decay after a pulse", None
    if edges is not None:
        words = f"{after}, integrated over {counted(len(edges) - 1, 'gate')} from {_span(edges)}"
        pulse = source if light is None else light
        return Question(words, lambda: time_integral(medium, pulse, grid, edges=edges, rtol=rtol), True)
    assert times is not None
    initial = source if light is None else jnp.zeros(grid.shape)
    words = f"{after}, {_times(times)}"
    return Question(words, lambda: evolve(medium, initial, grid, times, generation=light, rtol=rtol))


def save(found: Simulation, path: Path, *, command: str) -> Path:
    """Write a simulation to one netCDF file, with all that is needed to run it again."""
    film, solution = found.film, found.solution
    dataset = to_dataset(film.grid, solution, times=film.times, edges=film.edges, integrated=found.integrated)
    unit = "um^-2 ns^-1" if film.light == "continuous" else "um^-2"
    name = "light: excitons created per area" + " and time" * (film.light == "continuous")
    dataset["source"] = (("y", "x"), np.asarray(film.source), {"long_name": name, "units": unit})
    described = environment()
    record: dict[str, Any] = {
        "title": f"{found.words} (excitons in a film)",
        "command": command,
        "film": film.text,
        "film_file": relative_to(path.parent, str(film.file)),
        "maps": json.dumps(film.maps, ensure_ascii=False),
        "versions": json.dumps(described["versions"]),
        "system": described["system"],
        "device": described["device"],
        "dtype": str(np.asarray(solution.density).dtype),
        "result": Result(int(solution.result)).name,
        "warnings": json.dumps(found.warnings, ensure_ascii=False),
    }
    record |= {f"solver_{name}": float(value) for name, value in solution.stats.items()}
    return write_dataset(path, dataset, record)


def summary(found: Simulation) -> dict[str, str]:
    """What was solved, how exactly, and how dense it became: one entry per line on the terminal."""
    film, grid = found.film, found.film.grid
    height, width = (format_quantity(float(h), "length") for h in grid.spacing)
    size = height if height == width else f"{height} (y) × {width} (x)"
    density = np.asarray(found.solution.density)
    place = np.unravel_index(int(np.argmax(density)), density.shape)
    peak = f"{density[place]:.4g} {'ns/µm²' if found.integrated else 'excitons/µm²'}"
    x, y = (format_quantity(float(axis[i]), "length") for axis, i in ((grid.x, place[-1]), (grid.y, place[-2])))
    when = "" if film.times is None else f", at {_time(film.times[place[0]])}"
    if film.edges is not None:
        when = f", in the gate from {_span(film.edges[place[0] : place[0] + 2])}"
    return {
        "film": f"{film.file}: {grid.shape[0]} × {grid.shape[1]} cells of {size}",
        "solved": found.words,
        "exact to": _exactness(found.solution),
        "peak density": f"{peak} at x = {x}, y = {y}{when}",
    }


def _exactness(solution: Solution) -> str:
    stats = {name: float(value) for name, value in solution.stats.items()}
    parts = []
    if stats.get("steps"):
        steps = counted(int(stats["steps"]), "time step")
        parts.append(f"{stats['error']:.1e} of the excitons, the errors of {steps} together")
    if stats["iterations"]:
        parts.append(f"residual {stats['residual']:.1e} after {counted(int(stats['iterations']), 'iteration')}")
    if not parts:
        parts.append("rounding: a uniform film is solved by exact transforms")
    return "; ".join([*parts, f"{stats['imbalance']:.1e} of the excitons lost or invented"])


def _times(times: Any) -> str:
    return f"at {_time(times[0])}" if len(times) == 1 else f"at {len(times)} times from {_span(times)}"


def _span(times: Any) -> str:
    return f"{_time(times[0])} to {_time(times[-1])}"


def _time(value: Any) -> str:
    return format_quantity(float(value), "time")
