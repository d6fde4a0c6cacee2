"""A fluence series ready to be fitted: what was counted, what is expected, and where its numbers are looked for.

Every number of the film is looked for in multiples of what the data themselves show: the pace at which decays fall, the
spread of the images beyond laser and PSF, and the densities of the pulses.
"""

from dataclasses import replace

import jax
import numpy as np

from excidiff.inverse.files.data import Image
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.fit.arrivals import lit_edges, response_sigma, shifts
from excidiff.inverse.fit.gated import decay_time
from excidiff.inverse.fit.laws import Reading, Row, decay_reading
from excidiff.inverse.fit.layout import Instruments, Layout, Picture, ground_name, names_of
from excidiff.inverse.fit.optimise import Knowledge
from excidiff.inverse.fit.parameters import OPTICAL, Constraints, inner, kind
from excidiff.inverse.fit.problem import Problem
from excidiff.inverse.fit.shots import series_model
from excidiff.inverse.fit.spectralsearch import WINGLESS
from excidiff.inverse.fit.splines import splined
from excidiff.inverse.fit.surveyed import all_surveyed
from excidiff.inverse.fit.taken import Scanned, Taken, cells, corner, pixels, reach, scanned, taken
from excidiff.inverse.fit.told import BEYOND, RANGES, Told
from excidiff.solver.disc import round_radius
from excidiff.solver.radial import FORGOTTEN
from excidiff.solver.solution import InputError

NODES, MODES, STEPS = 48, 96, 96
TAIL, SLOW_TAIL = 12.0, 80.0  # paces after which an image without an exposure has ended, of films with traps the second
AGED = 30.0  # mean ages of scans after which their light has ended
TIMELESS = {"image": "images", "spectral_map": "spectra", "scans": "scans of photons"}


class Pulses:
    """One series under one model: `layout`, `names` of the parameters, `units` of the film's numbers, the `problem`.

    taken, scanned, surveyed: all pictures, spectra and scans, in the layout's order; decays: what was read of each
    pulse, None for a pulse without one. endless: whether images, spectra and scans hold all light, to the end.
    """

    def __init__(self, series: FluenceSeries, model: str, constraints: Constraints, told: Told):
        self.known = told.film
        self.constraints, self.shots, self.given = constraints, series.shots, series.exposure
        self.model = model
        self.width, self.pixels = told.width or (1.0, 0.0), told.pixels
        self.psf = told.psf or (1e-3 * self.width[0], 0.0)
        self.collection = told.collection or (1e-3 * self.width[0], 0.0)
        self.decays = [None if shot.decay is None else decay_reading(shot.decay) for shot in self.shots]
        self.splines = [None if shot.decay is None else splined(shot.decay) for shot in self.shots]
        of_responses = list(zip(self.shots, self.splines, strict=True))
        self.pace = self._pace()
        self.exposure, self.last = self._ends(series)
        self.taken = self._taken()
        self.scanned = tuple(
            scanned(Picture("spectra", k, ((0.0, self.exposure),)), shot.spectral_map, self.width[0])
            for k, shot in enumerate(self.shots)
            if shot.spectral_map is not None
        )
        self.surveyed = all_surveyed(self.shots, self.exposure)
        self.layout = Layout(
            model=model,
            pictures=tuple(one.picture for one in self.taken),
            decays=tuple(None if shot.decay is None else lit_edges(shot.decay, one) for shot, one in of_responses),
            firsts=tuple(0.0 if shot.decay is None else float(shot.decay.edges[0]) for shot in self.shots),
            responses=tuple(response_sigma(shot.decay) if one is None else one.spline for shot, one in of_responses),
            period=series.period,
            bins=tuple(0 if shot.decay is None else shot.decay.time.size for shot in self.shots),
            scale=series.scale,
            even=series.uniform,
            quadratic=series.emission == "quadratic",
            nodes=8 if series.uniform else NODES,
            modes=2 if series.uniform else MODES,
            steps=STEPS,
            spectra=tuple(one.picture for one in self.scanned),
            line=told.line,
            scans=tuple(one.look for one in self.surveyed),
            magnified=told.pixels is not None and bool(self.taken),
        )
        self.endless = series.exposure is None and series.period is None
        self.names = names_of(self.layout)
        self.units = self._units()
        self.instruments = jax.device_put(self._instruments())
        self.knowledge = self._limits()
        row = Row(self.readings)
        self.problem = Problem(
            model=series_model(self.layout),
            counts=jax.device_put(row.counts()),
            knowledge=self.knowledge,
            arguments=(self.instruments,),
            detector=row,
            instrument=self._measured_again,
        )

    @property
    def spaceless(self) -> bool:
        """Whether nothing that was measured depends on where excitons are."""
        local = self.model in ("free", "traps") and not self.layout.quadratic
        return self.layout.even or (local and not self.seen and not any(look.near for look in self.layout.scans))

    @property
    def doubtful(self) -> bool:
        """Whether steps, window or disc, chosen before the film was known, may not do for it."""
        long = "traps" in self.model and self.endless and bool(self.seen)
        return bool(self.surveyed) or long or not (self.seen or self.spaceless)

    @property
    def seen(self) -> tuple[Taken | Scanned, ...]:
        """All that was taken against position."""
        return (*self.taken, *self.scanned)

    @property
    def readings(self) -> list[Reading]:
        """Of all measurements, in the order in which they are expected."""
        seen = (*self.seen, *self.surveyed)
        return [*(one.reading for one in seen), *(one for one in self.decays if one is not None)]

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Of every number of the film where the search for it ends, in house units."""
        ends = zip(self.names, self.knowledge.lower, self.knowledge.upper, strict=True)
        return {name: (float(np.exp(low)), float(np.exp(high))) for name, low, high in ends if name in RANGES}

    def _pace(self) -> float:
        """The time in which the slowest decay or movie falls to 1/e, ns; or half the least mean age of scans; of images
        alone the lifetime as given."""
        movies = [shot.frames for shot in self.shots if shot.frames is not None]
        if not movies and not self._ages() and all(shot.decay is None for shot in self.shots):
            what = next(words for name, words in TIMELESS.items() if any(getattr(shot, name) for shot in self.shots))
            told = self.known.get("lifetime", (self.constraints.fixed.get("lifetime"), 0.0))[0]
            if told is not None:
                return float(told)
            if self.given is None:
                raise InputError(
                    f"{what} of several powers, without decays, frames, scans of lifetimes, an exposure or a lifetime: "
                    "integrated to the end they hold nothing on time; give one of these"
                )
            return float(self.given) / 5
        found = [decay_time(movie.images, movie.gates) for movie in movies]
        if not movies and all(shot.decay is None for shot in self.shots):
            return min(age for age in self._ages()) / 2
        for shot in self.shots:
            if shot.decay is not None:
                y = np.convolve(shot.decay.counts, np.ones(5) / 5, mode="same")
                y = y - float(np.quantile(y, 0.05))
                top = int(np.argmax(y))
                below = np.flatnonzero(y[top:] < y[top] / np.e)
                found.append(shot.decay.width * (below[0] if below.size else y.size - top))
        return max(found)

    def _ends(self, series: FluenceSeries) -> tuple[float, float]:
        """Up to when images integrate, and when the last light is seen, ns."""
        gates = [shot.frames.gates.max() for shot in self.shots if shot.frames is not None]
        last = max([0.0, *gates, *(shot.decay.edges[-1] for shot in self.shots if shot.decay is not None)])
        tail = SLOW_TAIL if "traps" in self.model else TAIL
        aged = max([0.0, *self._ages()])
        exposure = series.exposure or series.period or float(max(last, tail * self.pace, AGED * aged))
        whole = not gates or any(shot.image or shot.spectral_map or shot.scans for shot in self.shots)
        seen = max([exposure, *gates]) if whole else last
        return exposure, float(seen)

    def _ages(self) -> list[float]:
        """Of scans of lifetimes, ns."""
        scans = [scan for shot in self.shots for scan in shot.scans if scan.quantity == "lifetime"]
        return [float(np.median(scan.signal[scan.mask])) for scan in scans]

    def _taken(self) -> tuple[Taken, ...]:
        """All images, then all movies, by their pulses."""
        found = []
        for k, shot in enumerate(self.shots):
            if shot.image is not None:
                found.append(self._picture("image", k, (shot.image,), ((0.0, self.exposure),)))
        for k, shot in enumerate(self.shots):
            if shot.frames is not None:
                gates = tuple((float(t0), float(t1)) for t0, t1 in shot.frames.gates)
                found.append(self._picture("frames", k, tuple(shot.frames.images), gates))
        return tuple(found)

    def _picture(self, what: str, k: int, images: tuple[Image, ...], gates) -> Taken:
        return taken(Picture(what, k, gates), images, self.width[0])

    def _units(self) -> dict[str, float]:
        """What each number is looked for in multiples of: the decays' own pace, the images' spread, the densities."""
        pace = self.pace
        densities = np.array([shot.density for shot in self.shots])
        middle, s = float(np.sqrt(densities.min() * densities.max())), self.width[0]
        spread2 = [max(one.spot.width**2 - s**2 - self.psf[0] ** 2, (0.2 * s) ** 2) for one in self.taken]
        spread2 += [max(one.spread**2 - s**2 - self.collection[0] ** 2, (0.2 * s) ** 2) for one in self.scanned]
        length2 = float(np.median(spread2)) if spread2 else s**2
        return {
            "diffusivity": length2 / pace,
            "lifetime": pace,
            "annihilation": 1 / (pace * middle),
            "trapping_rate": 1 / pace,
            "trap_density": float(densities.max()) / 4 if len(densities) > 1 else middle,
            "capture": 4 / (pace * float(densities.max())),
            "release": 1 / pace,
            "trap_lifetime": pace,
        }

    def _instruments(self) -> Instruments:
        """The pixels, and a disc on which neither they nor the light meet the wall."""
        fast = RANGES["diffusivity"][1] * self.units["diffusivity"]
        long = RANGES["lifetime"][1] * self.units["lifetime"]
        radius = 1.0 if self.layout.even else self.radius(fast, 0.2 * long, self.last)
        weights = tuple(one.weights for one in self.splines if one is not None)
        sides = tuple(map(cells, self.scanned))
        near = tuple(one.near for one in self.surveyed)
        return Instruments(tuple(map(pixels, self.taken)), np.asarray(radius), weights, sides, near)

    def radius(self, diffusivity: float, lifetime: float, last: float) -> float:
        """Of a disc whose wall neither pixels nor the light of such a film meet up to the `last` time, µm."""
        edge = max([0.0, *map(corner, self.taken), *map(reach, self.scanned)])
        last = last if self.layout.period is None else FORGOTTEN * self.layout.period
        return float(round_radius(self.width[0], diffusivity, lifetime, last, edge))

    def _measured_again(self, random: np.random.Generator) -> tuple[Instruments]:
        """The instruments with all responses measured again, those of several decays with the same counts once."""
        seeds: dict[bytes, int] = {}
        weights = []
        for one in self.splines:
            if one is not None:
                seed = seeds.setdefault(one.response.counts.tobytes(), int(random.integers(2**32)))
                weights.append(one.again(np.random.default_rng(seed)))
        return (self.instruments._replace(weights=tuple(weights)),)

    def _limits(self) -> Knowledge:
        """Natural limits far beyond what is searched, the person's own within them; what is known of the optics."""
        lower, upper, free = np.full(len(self.names), -np.inf), np.full(len(self.names), np.inf), []
        centre, precision = np.zeros(len(self.names)), np.zeros((len(self.names),) * 2)
        for index, name in enumerate(self.names):
            free.append(self._limit(index, name, lower, upper, centre, precision))
        of_band = {name: told for name, told in self.constraints.priors.items() if name in self.layout.colours}
        centre, precision = replace(self.constraints, priors=of_band).weighed(self.names, centre, precision)
        if self.layout.magnified:
            precision = precision + self._scaled(precision)
        own = [name for name in self.constraints.bounds if name in self.names]
        lower, upper = Constraints({}, {name: self.constraints.bounds[name] for name in own}).apply(
            self.names, lower, upper
        )
        for name, value in self.constraints.fixed.items():
            index = self.names.index(name)
            free[index], centre[index] = False, inner(name, value)
        return Knowledge(centre, precision, lower, upper, np.array(free))

    def _scaled(self, precision: np.ndarray) -> np.ndarray:
        """What laser and PSF share with the size δ of the pixels that showed them: Σ (log σ − c − f δ)²/ε²."""
        assert self.pixels is not None
        found, size = np.zeros_like(precision), self.names.index("magnification")
        for name, follows in (("width", self.pixels.width), ("psf_width", self.pixels.psf)):
            index = self.names.index(name)
            sure = precision[index, index]
            found[index, size] = found[size, index] = -follows * sure
            found[size, size] += follows**2 * sure
        return found

    def _limit(self, index: int, name: str, lower, upper, centre, precision) -> bool:
        """Fill in the limits of one parameter; whether it is free."""
        what, number = kind(name), name.rpartition("_")[2]
        if name in RANGES:
            low, high = RANGES[name]
            lower[index], upper[index] = (np.log(self.units[name] * end) for end in (low / BEYOND, high * BEYOND))
            if name in self.known:
                value, error = self.known[name]
                centre[index], precision[index, index] = np.log(value), error and error**-2.0
                return error > 0
            return not (self.spaceless and name == "diffusivity")
        if name in self.layout.colours and name != "collection_width":
            lower[index], upper[index] = self._of_band(name)
            return True
        if what == "spectra_centre_y":
            return next(one for one in self.scanned if one.picture.pulse == int(number) - 1).map.y.size > 1
        if name in OPTICAL or what == "peak_density":
            value, error = self._known(name, number)
            centre[index] = np.log(value)
            lower[index], upper[index] = centre[index] - 1.4, centre[index] + 1.4
            precision[index, index] = 0.0 if error == 0 else error**-2.0
            return error > 0
        if what.endswith("background"):
            lower[index] = max(one.darkest for one in self.sharing(name))
        if what == "shift":
            shot = self.shots[int(number) - 1]
            assert shot.decay is not None
            lower[index], upper[index] = shifts(shot.decay)
            return shot.decay.irf is not None
        return True

    def _of_band(self, name: str) -> tuple[float, float]:
        """The limits of a number of the spectra's bands, in the fit's own numbers."""
        edges = np.concatenate([one.map.edges for one in self.scanned])
        low, high = float(edges.min()), float(edges.max())
        width = float(np.median([one.band[1] for one in self.scanned]))
        natural = {
            "linewidth": (1e-2 * width, 5 * width),
            "lorentzian": (WINGLESS * width, 5 * width),
            "band_centre": (2 * low - high, 2 * high - low),
            "trap_band_centre": (2 * low - high, 2 * high - low),
            "trap_band_width": (0.1 * width, high - low),
            "trap_brightness": (0.0, np.inf),
        }
        return inner(name, natural[name][0]), inner(name, natural[name][1])

    def sharing(self, background: str) -> list[Reading]:
        """The measurements of which this is the background."""
        found = [(one.picture.what, one.picture.pulse, one.reading) for one in self.seen]
        found += [("decay", k, one) for k, one in enumerate(self.decays) if one is not None]
        return [one for what, k, one in found if self.ground(what, k) == background]

    def told_of(self, name: str) -> bool:
        """Whether the person gave a number of the film."""
        return name in self.known or name in self.constraints.fixed

    def held(self, start: np.ndarray) -> np.ndarray:
        """The same numbers with what is fixed where it is fixed."""
        start = start.copy()
        for name, value in self.constraints.fixed.items():
            start[self.names.index(name)] = inner(name, value)
        return start

    def ground(self, what: str, pulse: int) -> str:
        """The name of a background."""
        return ground_name(self.layout, what, pulse)

    def _known(self, name: str, number: str) -> tuple[float, float]:
        """(value, relative error) of what was told."""
        if name == "width":
            return self.width
        if name == "psf_width":
            return self.psf
        if name == "collection_width":
            return self.collection
        if name == "magnification":
            assert self.pixels is not None
            return 1.0, self.pixels.error
        shot = self.shots[int(number) - 1]
        return shot.density, shot.error / shot.density
