"""Forward physics: a medium and a source in, populations out."""

from excidiff.solver.disc import round_radius, round_sizes
from excidiff.solver.disorder import Disorder
from excidiff.solver.emission import Emission
from excidiff.solver.grid import Grid
from excidiff.solver.light import Pulse, Sampled
from excidiff.solver.medium import Medium, Surface
from excidiff.solver.mixture import mixture
from excidiff.solver.radial import RoundPulse, round_pulse
from excidiff.solver.reabsorption import along_film, through_film
from excidiff.solver.scan import Scan, raster_scan
from excidiff.solver.solution import InputError, Result, Solution, SolverError
from excidiff.solver.source import Spot, gaussian_spot
from excidiff.solver.steady import steady_state
from excidiff.solver.train import pulse_train
from excidiff.solver.transient import evolve, time_integral
from excidiff.solver.traps import Traps
from excidiff.solver.walks.photons import Photons, Survivors
from excidiff.solver.walks.walk import walk

__all__ = [
    "Disorder",
    "Emission",
    "Grid",
    "InputError",
    "Medium",
    "Photons",
    "Pulse",
    "Result",
    "RoundPulse",
    "Sampled",
    "Scan",
    "Solution",
    "SolverError",
    "Spot",
    "Surface",
    "Survivors",
    "Traps",
    "along_film",
    "evolve",
    "gaussian_spot",
    "mixture",
    "pulse_train",
    "raster_scan",
    "round_pulse",
    "round_radius",
    "round_sizes",
    "steady_state",
    "through_film",
    "time_integral",
    "walk",
]
