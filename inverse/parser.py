"""The words of the command line: every command with its options and what they mean."""

import argparse
from collections.abc import Callable, Mapping
from importlib.metadata import version

from excidiff.inverse.files.fluences import NOUNS
from excidiff.inverse.filmfile import EXAMPLE
from excidiff.inverse.machine import DEVICES
from excidiff.inverse.options import FIXABLE, INTERVALS, MODELS, OF_PEAKS, OPTIONS

Run = Callable[[argparse.Namespace], int]


def make_parser(runs: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser of `excidiff`; `runs`: what each command does, by its name."""
    parser = argparse.ArgumentParser(
        prog="excidiff",
        description="How far excitons and carriers travel before they recombine, from images of luminescence.",
        epilog="Something to try: excidiff demo -o demo",
    )
    parser.add_argument("--version", action="version", version=f"excidiff {version('excidiff')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, words, add in COMMANDS:
        command = commands.add_parser(name, help=words)
        add(command)
        command.set_defaults(run=runs[name])
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="excidiff-demo", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other photons (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demonstration")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE")


def _add_peaks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="spectra along a line, over a map, or in time, a streak image's")
    for name, metavar, text in OF_PEAKS:
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    parser.add_argument("-o", "--output", default="excidiff-peaks", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")


def _add_map(parser: argparse.ArgumentParser) -> None:
    parser.description = "Map the film that FILE.toml describes, from images of spots at many places or a raster scan."
    told = "of an experiment, with a table [map]: of traps, lifetime, diffusivity or energy"
    parser.add_argument("file", metavar="FILE.toml", help=told)
    parser.add_argument("-o", "--output", default="excidiff-map", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier map")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Solve what FILE.toml describes and write the populations, on labelled axes with units."
    parser.epilog = f"FILE.toml, a film after a pulse of light; every key is in examples/film.toml:\n\n{EXAMPLE}"
    parser.add_argument("film", metavar="FILE.toml", help="grid, medium, source and times of a film")
    parser.add_argument("-o", "--output", metavar="FILE.nc", help="default: the film's name with .nc, in this folder")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier simulation")
    parser.add_argument("--rtol", metavar="NUMBER", help="default: 1e-8, and 1e-4 where steps are taken in time")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="that excidiff fit wrote")


def _add_rerun(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_file", metavar="FOLDER", help="of a result, or its run.toml")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="default: the old folder's name with -rerun")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    parser.add_argument("--allow-changed", action="store_true", help="even if an input file is not what it was")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the film that is assumed and the measurements to come")
    parser.add_argument("-o", "--output", default="excidiff-plan", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier plan")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: %(default)s")


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.description = "Compare samples by the results that excidiff fit wrote of the images of each."
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="the result of one sample's images; at least two")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the samples (default: those of the folders)")
    told = "what is compared: a parameter that images have (default: %(default)s)"
    parser.add_argument("--quantity", default="diffusion_length", metavar="NAME", help=told)
    parser.add_argument("-o", "--output", default="excidiff-samples", metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = "Fit every model that the data can be asked about; the options are those of excidiff fit."
    _add_fit(parser, "excidiff-compare")


def _add_fit(parser: argparse.ArgumentParser, output: str = "excidiff-out") -> None:
    told = "TIFF, .npy, .npz, CSV, HDF5 or NetCDF; stacks too; or a .toml file that names all of an experiment"
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=told)
    parser.add_argument("--decay", action="append", default=[], metavar="FILE", help="time and counts; may be repeated")
    told = "stack of time-gated images, the first from the pulse on; or a streak image, time and x; may be repeated"
    parser.add_argument("--frames", action="append", default=[], metavar="FILE", help=told)
    told = "a table with both axes' units in its corner, or .hspy, .nc, .dm4, … with axes; may be repeated"
    parser.add_argument("--spectral-map", action="append", default=[], metavar="FILE", help=told)
    told = "scan of a laser, of pulses of several powers: photons or lifetimes of the places; may be repeated"
    parser.add_argument("--raster", action="append", default=[], metavar="FILE", help=told)
    told = """of each scan, as '{quantity = "lifetime"}': the keys of [[raster]]; may be repeated"""
    parser.add_argument("--raster-about", action="append", default=[], metavar="TABLE", help=told)
    for what in ("image", "decay", "frames", "spectral-map", "raster"):
        noun = NOUNS.get(what.replace("-", "_"), what)
        told = f'of each {noun}, just after its pulse at the centre, such as "60 /um^2"; may be repeated'
        parser.add_argument(f"--{what}-density", action="append", default=[], metavar="DENSITY", help=told)
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
    told = 'such as "lifetime=3 ns": from where to search as well, which no fit needs; may be repeated'
    fit.add_argument("--start", action="append", default=[], metavar='"NAME=VALUE"', help=told)
    told = 'such as "disorder=16 ± 1 meV", known from another measurement and weighed with the data; may be repeated'
    fit.add_argument("--prior", action="append", default=[], metavar='"NAME=VALUE ± ERROR"', help=told)
    told = "centre_x or centre_y of the images is that of the laser image; may be repeated"
    fit.add_argument("--tie", action="append", default=[], metavar="NAME", help=told)
    fit.add_argument("--model", choices=MODELS, help="default: the simplest that describes the data")
    fit.add_argument("--components", metavar="NUMBER", help="lifetimes of a mixture (default: 2)")
    fit.add_argument("--interval", choices=INTERVALS, help="how intervals are found (default: fisher)")
    fit.add_argument("--draws", metavar="NUMBER", help="replicates of a bootstrap (1000), draws of a posterior (2000)")
    fit.add_argument("--seed", metavar="NUMBER", help="of the random numbers of either (default: 0)")
    fit.add_argument("--device", choices=DEVICES, help="default: auto")
    out = parser.add_argument_group("the result")
    out.add_argument("-o", "--output", default=output, metavar="FOLDER", help="default: %(default)s")
    out.add_argument("--overwrite", action="store_true", help="replace an earlier result")
    parser.set_defaults(refuse=parser.error)


COMMANDS = (
    ("demo", "write images of an invented film, to try things on", _add_demo),
    ("info", "what a file holds, and where every number comes from", _add_info),
    ("fit", "fit what was measured, write result and report", _add_fit),
    ("peaks", "reduce spectra to peak and width, without any model", _add_peaks),
    ("map", "traps, lifetime, diffusivity or energy from place to place", _add_map),
    ("plan", "what a measurement would tell before it is made", _add_plan),
    ("compare", "which of several models the data ask for", _add_compare),
    ("samples", "whether samples differ, from the results of their images", _add_samples),
    ("simulate", "solve a film described in a TOML file", _add_simulate),
    ("report", "draw report and figures of a result again", _add_report),
    ("rerun", "run a recorded fit again and compare", _add_rerun),
    ("doctor", "does this installation work?", _add_doctor),
)
