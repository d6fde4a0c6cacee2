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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from excidiff.inverse import terminal
from excidiff.inverse.filmfile import EXAMPLE
from excidiff.inverse.machine import DEVICES
from excidiff.inverse.options import FIXABLE, MODELS, OPTIONS, number
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.results.storage import check_result_folder, result_folder
from excidiff.inverse.settings import DATA, LISTS, FitSettings, changed_inputs, read_run
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


class Terminated(BaseException):
    """The process was asked to end; unlike an `Exception`, nothing on the way takes it for a failed fit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` are those of the process by default."""
    parser = _parser()
    given = parser.parse_args(arguments)
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

    code = OK
    for place, path in enumerate(_expanded(given.files)):
        if place:
            terminal.say()
        try:
            terminal.show_entries(describe_decay(path) or describe(path))
        except InputError as error:
            terminal.complain(str(error))
            code = BAD_INPUT
    return code


def _fit(given: argparse.Namespace) -> int:
    if not any(getattr(given, name) for name in DATA):
        given.refuse("nothing to fit: give images, --frames FILE, --decay FILE or --spectral-map FILE")
    names = [field.name for field in fields(FitSettings)]
    values = {name: getattr(given, name) for name in names if getattr(given, name, None) is not None}
    lists = {name: tuple(getattr(given, name)) for name in LISTS}
    lists |= {name: tuple(_expanded(getattr(given, name))) for name in ("images", "decay")}
    if any(path.lower().endswith(".toml") for path in given.images):
        return _run(read_protocol(given.images, values, lists), given.output, overwrite=given.overwrite)
    settings = FitSettings(**{**values, **lists})
    return _run(settings, given.output, overwrite=given.overwrite)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="excidiff",
        description="How far excitons and carriers travel before they recombine, from images of luminescence.",
        epilog="Something to try: excidiff demo -o demo",
    )
    parser.add_argument("--version", action="version", version=f"excidiff {version('excidiff')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help="write images of an invented film, to try things on"))
    _add_info(commands.add_parser("info", help="what a file holds, and where every number comes from"))
    _add_fit(commands.add_parser("fit", help="fit images and decays, write a folder with result and report"))
    _add_simulate(commands.add_parser("simulate", help="solve a film described in a TOML file"))
    _add_report(commands.add_parser("report", help="draw report and figures of a result again"))
    _add_rerun(commands.add_parser("rerun", help="run a recorded fit again and compare"))
    _add_doctor(commands.add_parser("doctor", help="does this installation work?"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="excidiff-demo", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other photons (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demonstration")
    parser.set_defaults(run=_demo)


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.set_defaults(run=_info)


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Solve what FILE.toml describes and write the populations, on labelled axes with units."
    parser.epilog = f"FILE.toml, a film after a pulse of light; every key is in examples/film.toml:\n\n{EXAMPLE}"
    parser.add_argument("film", metavar="FILE.toml", help="grid, medium, source and times of a film")
    parser.add_argument("-o", "--output", metavar="FILE.nc", help="default: the film's name with .nc, in this folder")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier simulation")
    parser.add_argument("--rtol", metavar="NUMBER", help="default: 1e-8, and 1e-4 where steps are taken in time")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")
    parser.set_defaults(run=_simulate)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="that excidiff fit wrote")
    parser.set_defaults(run=_report)


def _add_rerun(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_file", metavar="FOLDER", help="of a result, or its run.toml")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="default: the old folder's name with -rerun")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    parser.add_argument("--allow-changed", action="store_true", help="even if an input file is not what it was")
    parser.set_defaults(run=_rerun)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")
    parser.set_defaults(run=_doctor)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    told = "TIFF, .npy, .npz, CSV, HDF5 or NetCDF; stacks too; or a .toml file that names all of an experiment"
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=told)
    parser.add_argument("--decay", action="append", default=[], metavar="FILE", help="time and counts; may be repeated")
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        for name, metavar, text in options:
            group.add_argument(f"--{name}", metavar=metavar, help=text)
    fit = parser.add_argument_group("the fit")
    fit.add_argument("--noise", choices=("poisson", "gaussian"), help="law of the noise (default: poisson)")
    names = ", ".join(FIXABLE)
    told = f'such as "background=1.5" or "diffusion_length=0.4 um", may be repeated; names: {names}'
    fit.add_argument("--fix", action="append", default=[], metavar='"NAME=VALUE"', help=told)
    told = 'such as "lifetime=1 ns..5 ns" or "diffusion_length=..2 um", may be repeated; D and τ of frames, too'
    fit.add_argument("--bound", action="append", default=[], metavar='"NAME=LOW..HIGH"', help=told)
    told = "centre_x or centre_y of the images is that of the laser image; may be repeated"
    fit.add_argument("--tie", action="append", default=[], metavar="NAME", help=told)
    fit.add_argument("--model", choices=MODELS, help="default: the simplest that describes the data")
    fit.add_argument("--components", metavar="NUMBER", help="lifetimes of a mixture (default: 2)")
    fit.add_argument("--interval", choices=("fisher", "profile"), help="how intervals are found (default: fisher)")
    fit.add_argument("--device", choices=DEVICES, help="default: auto")
    out = parser.add_argument_group("the result")
    out.add_argument("-o", "--output", default="excidiff-out", metavar="FOLDER", help="default: %(default)s")
    out.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    parser.set_defaults(run=_fit, refuse=parser.error)
