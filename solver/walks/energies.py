"""The site energy of an exciton, hop by hop: `Energies`.

At the rate ν an exciton tries a site whose energy is drawn from the Gaussian density of states, and goes there with
the probability min(1, e^{−ΔE/kT}) (Metropolis, J. Chem. Phys. 21 (1953) 1087). Energies are continuous here and every
attempt is made one by one, so nothing is cut into bins.
"""

import math

import numpy as np

from excidiff.solver.medium import Medium, thermal_energy
from excidiff.solver.walks.photons import Positions

POINTS = 4096
"""Energies at which the share of successful attempts is tabulated; between them its logarithm is linear, to 3e-6."""


class Energies:
    """How excitons of a film with `Disorder` change their energy, meV from the band's centre."""

    def __init__(self, medium: Medium):
        disorder = medium.disorder
        assert disorder is not None
        self.width, self.attempts = float(disorder.width), float(disorder.relaxation)
        self.thermal = float(thermal_energy(medium))
        self.hops = disorder.mobility == "hops"
        shift = self.width / self.thermal
        self.points = np.linspace(-shift - 12.0, 12.0, POINTS)
        self.logarithm = np.array([_log_acceptance(energy, shift) for energy in self.points])

    def born(self, count: int, random: np.random.Generator) -> Positions:
        """Energies of excitons that light creates: those of the sites."""
        return self.width * random.standard_normal(count)

    def released(self, count: int, random: np.random.Generator) -> Positions:
        """Energies of excitons that a trap lets go of: the thermal ones, N(−σ²/kT, σ)."""
        return self.born(count, random) - self.width**2 / self.thermal

    def mobility(self, energy: Positions) -> Positions | float:
        """D at each energy over the film's D."""
        if not self.hops:
            return 1.0
        return np.exp(np.interp(energy / self.width, self.points, self.logarithm))

    def relax(self, energy: Positions, duration: np.ndarray, random: np.random.Generator):
        """(energy, duration) after the attempts within `duration`, which ends with the first hop where hops change D.

        Attempts are a Poisson process, without memory: it may be stopped anywhere and begun again.
        """
        energy, duration = energy.copy(), duration.copy()
        if self.attempts == 0.0:
            return energy, duration
        clock = random.standard_exponential(energy.size) / self.attempts
        busy = np.flatnonzero(clock < duration)
        while busy.size:
            target = self.born(busy.size, random)
            accepted = random.standard_exponential(busy.size) * self.thermal > target - energy[busy]
            moved = busy[accepted]
            energy[moved] = target[accepted]
            if self.hops:
                duration[moved] = clock[moved]
                busy = busy[~accepted]
            clock[busy] += random.standard_exponential(busy.size) / self.attempts
            busy = busy[clock[busy] < duration[busy]]
        return energy, duration


def _log_acceptance(energy: float, shift: float) -> float:
    """ln of ∫ g min(1, e^{−(E′−E)/kT}) dE′ = Φ(E) + e^{sE + s²/2} Φ(−E − s), energies in σ, s = σ/kT."""
    down, up = _log_tail(-energy), shift * energy + 0.5 * shift**2 + _log_tail(energy + shift)
    return float(np.logaddexp(down, up))


def _log_tail(z: float) -> float:
    """ln Φ(−z); beyond 20 by its asymptotic series, to 4e-9."""
    if z < 20.0:
        return math.log(0.5 * math.erfc(z / math.sqrt(2.0)))
    series = -1 / z**2 + 3 / z**4 - 15 / z**6
    return -0.5 * z**2 - math.log(z * math.sqrt(2 * math.pi)) + math.log1p(series)
