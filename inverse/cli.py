"""The command `excidiff`: reads its arguments, calls the library, prints, and says by its exit code how it went.

0: all well. 1: bad input. 2: wrong usage. 3: some measurements could not be used. 4: the fit or the solve failed.
130 and 143: stopped by Ctrl-C or a termination signal, with no result half written.
"""

import argparse
import glob
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from excidiff.inverse import terminal
from excidiff.inverse.options import OF_PEAKS, PEAK_FILES
from excidiff.inverse.parser import make_parser
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.results.storage import check_result_folder, result_folder
from excidiff.inverse.settings import DATA, LISTS, FitSettings, changed_inputs, read_run
from excidiff.inverse.typed import number
from excidiff.solver.solution import InputError, SolverError

OK, BAD_INPUT, USAGE, SOME_FAILED, FIT_FAILED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143
CODES = {"converged": OK, "partial": SOME_FAILED, "failed": FIT_FAILED}
FILES = {
    "report.html": "the page to look at and to show",
    "result.json": "values, errors and verdicts, for programs",
    "result.nc": "data, model and mask of every measurement",
    "figures": "every measurement as PNG and SVG",
    "run.toml": "inputs, options and versions: excidiff rerun",
}


COMPARED = {
    "compare.html": "the page to look at and to show",
    "compare.json": "every model's numbers, for programs",
}


class Terminated(BaseException):
    """The process was asked to end; unlike an `Exception`, nothing on the way takes it for a failed fit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` are those of the process by default."""
    given = make_parser(RUNS).parse_args(arguments)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our own message says it better
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return given.run(given)
    except InputError as error:
        terminal.complain(str(error))
        return BAD_INPUT
    except SolverError as error:
        terminal.complain(str(error))
        return FIT_FAILED
    except MemoryError as error:
        terminal.complain(f"out of memory {error}".rstrip() + f"; {_smaller(given)}")
        return FIT_FAILED
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # what JAX says when a device's memory is full
            raise
        terminal.complain(f"the device is out of memory; use --device cpu, or {_smaller(given)}")
        return FIT_FAILED
    except KeyboardInterrupt:
        terminal.complain(_left_behind(given), "stopped by Ctrl-C")
        return INTERRUPTED
    except Terminated:
        terminal.complain(_left_behind(given), "terminated")
        return TERMINATED
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: Any) -> None:
    raise Terminated


def _smaller(given: argparse.Namespace) -> str:
    """What to do where memory does not suffice."""
    if given.run is _simulate:
        return "use fewer cells, times or bins"
    return "use --region to fit a smaller part, or fewer images"


def _left_behind(given: argparse.Namespace) -> str:
    """What a command that was stopped has done; `report` alone works in place."""
    changed = "nothing was written or changed"
    if given.run is _report:
        changed = "report.html and figures may be drawn in part; the result itself is untouched"
    return f"{changed}; give the same command to start again"


def _demo(given: argparse.Namespace) -> int:
    from excidiff.inverse.demo import write_demo

    folder = write_demo(given.output, seed=given.seed, overwrite=given.overwrite)
    terminal.say(f"{folder}: images, decay and truth of a film, photon by photon. Now fit them:")
    place = shlex.quote(str(folder))
    data = f"{place}/spot_*.tif --laser {place}/laser.tif --decay {place}/decay.csv --irf {place}/irf.csv"
    terminal.say(f"\n  excidiff fit {data} -o out\n")
    return OK


def _info(given: argparse.Namespace) -> int:
    from excidiff.inverse.files.decays import describe_decay
    from excidiff.inverse.files.readers import describe
    from excidiff.inverse.files.scanfiles import describe_scan

    code = OK
    for place, path in enumerate(_expanded(given.files)):
        if place:
            terminal.say()
        try:
            terminal.show_entries(describe_decay(path) or describe_scan(path) or describe(path))
        except InputError as error:
            terminal.complain(str(error))
            code = BAD_INPUT
    return code


def _fit(given: argparse.Namespace) -> int:
    return _run(_settings(given), given.output, overwrite=given.overwrite)


def _settings(given: argparse.Namespace) -> FitSettings:
    """The options of a fit, or those of an experiment's file with what is said beside it."""
    if not any(getattr(given, name) for name in DATA):
        given.refuse("nothing to fit: give images, --frames FILE, --decay FILE or --spectral-map FILE")
    names = [field.name for field in fields(FitSettings)]
    values = {name: getattr(given, name) for name in names if getattr(given, name, None) is not None}
    lists = {name: tuple(getattr(given, name)) for name in LISTS}
    lists |= {name: tuple(_expanded(getattr(given, name))) for name in DATA}
    if any(path.lower().endswith(".toml") for path in given.images):
        return read_protocol(given.images, values, lists)
    return FitSettings(**{**values, **lists})


def _peaks(given: argparse.Namespace) -> int:
    target = check_result_folder(given.output, overwrite=given.overwrite, ours=tuple(PEAK_FILES))
    from excidiff.inverse.machine import start

    start(given.device)
    from excidiff.inverse.peaksjob import peaks_of

    with result_folder(target, overwrite=given.overwrite, ours=tuple(PEAK_FILES)) as folder:
        found = peaks_of(given.file, {name: getattr(given, name) for name, *_ in OF_PEAKS}, folder)
    terminal.show_entries(found)
    terminal.show_files(Path(given.output), PEAK_FILES)
    return OK


def _plan(given: argparse.Namespace) -> int:
    from excidiff.inverse.planpage import PLAN_FILES, plan_of

    ours = {"overwrite": given.overwrite, "ours": tuple(PLAN_FILES)}
    target = check_result_folder(given.output, **ours)
    from excidiff.inverse.machine import start

    start(given.device)
    with result_folder(target, **ours) as folder, terminal.progress("planning") as progress:
        found = plan_of(given.file, folder, progress)
    terminal.say(repr(found))
    terminal.show_files(Path(given.output), PLAN_FILES)
    return OK


def _map(given: argparse.Namespace) -> int:
    from excidiff.inverse.mapjob import MAP_FILES, map_of

    ours = tuple(MAP_FILES)
    target = check_result_folder(given.output, overwrite=given.overwrite, ours=ours)
    from excidiff.inverse.machine import start

    start(given.device)
    made = result_folder(target, overwrite=given.overwrite, ours=ours)
    with made as folder, terminal.progress("mapping") as progress:
        progress(0, 1)
        found = map_of(given.file, folder)
        progress(1, 1)
    terminal.say(repr(found))
    terminal.show_files(Path(given.output), MAP_FILES)
    return OK


def _compare(given: argparse.Namespace) -> int:
    settings = _settings(given)
    target = check_result_folder(given.output, overwrite=given.overwrite, ours=tuple(COMPARED))
    from excidiff.inverse.machine import start

    start(settings.device)
    from excidiff.inverse.job import compare_files

    ours = {"overwrite": given.overwrite, "ours": tuple(COMPARED)}
    with result_folder(target, **ours) as folder, terminal.progress("comparing") as progress:
        found = compare_files(settings, folder, progress)
    terminal.say(repr(found))
    terminal.show_files(Path(given.output), COMPARED)
    return OK


def _samples(given: argparse.Namespace) -> int:
    from excidiff.inverse.samplescreen import show_samples
    from excidiff.inverse.samplesjob import SAMPLE_FILES, samples_of

    ours = {"overwrite": given.overwrite, "ours": tuple(SAMPLE_FILES)}
    target = check_result_folder(given.output, **ours)
    with result_folder(target, **ours) as folder:
        found = samples_of(given.folders, given.names, given.quantity, folder)
    show_samples(found)
    terminal.show_files(Path(given.output), {name: told for name, told in SAMPLE_FILES.items() if told})
    return OK


def _rerun(given: argparse.Namespace) -> int:
    given_path = Path(given.run_file)
    file = given_path / "run.toml" if given_path.is_dir() else given_path
    run = read_run(file)
    changed = changed_inputs(run)
    if changed and not given.allow_changed:
        raise InputError("; ".join(changed) + "; --allow-changed fits it as it is now")
    for sentence in changed:
        terminal.complain(sentence, "warning")
    folder = file.resolve().parent
    return _run(run.settings, given.output or f"{folder}-rerun", overwrite=given.overwrite, earlier=folder)


def _run(settings: FitSettings, output: str, *, overwrite: bool, earlier: Path | None = None) -> int:
    """Fit and write; `earlier` is the folder of a result to compare with."""
    target = check_result_folder(output, overwrite=overwrite)
    from excidiff.inverse.machine import start

    start(settings.device)
    from excidiff.inverse.job import differences, fit_files, write_result

    # The folder is made first: that it cannot be written should be known before the work, not after it.
    with result_folder(target, overwrite=overwrite) as folder:
        with terminal.progress("fitting") as progress:
            result = fit_files(settings, progress)
        with terminal.progress("drawing") as progress:
            write_result(result, folder, settings, target, progress)
    terminal.show_result(result)
    terminal.show_files(Path(output), FILES)
    if earlier is not None:
        terminal.say(f"\n  {differences(result, earlier)} The new result is in {output}.")
    return CODES[result.status]


def _simulate(given: argparse.Namespace) -> int:
    from excidiff.inverse.results.populations import check_output

    output = given.output or f"{Path(given.film).stem}.nc"
    target = check_output(output, overwrite=given.overwrite)
    from excidiff.inverse.machine import start

    start(given.device)
    from excidiff.inverse.simulation import save, simulate, summary

    rtol = None if given.rtol is None else number("--rtol", given.rtol)
    with terminal.progress("solving") as progress:
        progress(0, 1)
        found = simulate(given.film, rtol=rtol)
        progress(1, 1)
    words = ["excidiff", "simulate", given.film, "-o", output, *(["--rtol", given.rtol] if given.rtol else [])]
    save(found, target, command=shlex.join(words))
    for sentence in found.warnings:
        terminal.complain(sentence, "warning")
    terminal.show_entries(summary(found))
    terminal.show_files(Path(), {output: "the populations on their axes, for xarray and others"})
    return OK


def _report(given: argparse.Namespace) -> int:
    from excidiff.inverse.job import draw_result
    from excidiff.inverse.results.result import FitResult

    folder = Path(given.folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the one that excidiff fit wrote")
    with terminal.progress("drawing") as progress:
        draw_result(FitResult.load(folder / "result.nc"), folder, progress)
    terminal.show_files(folder, {name: FILES[name] for name in ("report.html", "figures")})
    return OK


def _doctor(given: argparse.Namespace) -> int:
    from excidiff.inverse.machine import start

    start(given.device)
    from excidiff.inverse.doctor import examine

    well = True
    for check in examine():
        sign = {True: "ok  ", False: "FAIL", None: "    "}[check.well]
        terminal.show_entries({f"{sign} {check.name:<16}": check.detail})
        well = well and check.well is not False
    terminal.say("\nall well" if well else "\nsomething is wrong: see the lines marked FAIL")
    return OK if well else BAD_INPUT


def _expanded(paths: Sequence[str]) -> list[str]:
    """Patterns such as spot_*.tif opened, in order, where the shell has not done so."""
    found: list[str] = []
    for path in paths:
        matches = sorted(glob.glob(path)) if glob.has_magic(path) and not Path(path).exists() else []
        found += matches or [path]
    return found


RUNS = {
    "demo": _demo,
    "info": _info,
    "fit": _fit,
    "peaks": _peaks,
    "map": _map,
    "plan": _plan,
    "compare": _compare,
    "samples": _samples,
    "simulate": _simulate,
    "report": _report,
    "rerun": _rerun,
    "doctor": _doctor,
}
"""What each command does."""
