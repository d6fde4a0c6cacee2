"""Gates of images, decays and spectra of one film: films drawn at random, and the whole likelihood of one."""

import numpy as np
import pytest

from excidiff.inverse import Experiment
from excidiff.inverse.batch import measure_all
from excidiff.inverse.derived import lifetime_estimate
from excidiff.inverse.joint import join
from tests.photons import FWHM, collect_spectra, count_decay, shoot

pytestmark = pytest.mark.gate


def drawn(seed: int) -> dict:
    """A film with all that is measured of it; the laser's FWHM is given with an error of 3 %, as it came out."""
    random = np.random.default_rng([91, seed])
    width, lifetime = random.uniform(0.12, 0.2), random.uniform(2.0, 6.0)
    length, collection = width * random.uniform(1.5, 3.5), random.uniform(0.05, 0.15)
    light = {"width": width, "pixel": np.hypot(width, length) / 5, "shape": (64, 64), "background": 0.5}
    images = [shoot([seed, k], photons=50_000, length=length, file=f"spot_{k}", **light) for k in (1, 2)]
    decay = count_decay([seed, 3], np.array([lifetime]), np.ones(1), photons=100_000, width=0.05, period=40.0, fwhm=0.1,
                        kind="gaussian")  # fmt: skip
    scan = collect_spectra(
        [seed, 4],
        photons=3e6,
        width=np.hypot(width, collection),
        length=length,
        attempts=random.uniform(1.0, 5.0),
        disorder=random.uniform(12.0, 20.0),
        line=22.0,
        reach=3 * np.hypot(width, length),
        step=0.4 * np.hypot(width, length) / 1.5,
    )
    laser = width * np.exp(0.03 * random.standard_normal()) * FWHM
    given = {"laser_fwhm": (laser, 0.03 * laser), "collection_fwhm": FWHM * collection, "temperature": 295.0}
    truth = {"diffusion_length": length, "lifetime": lifetime, "diffusivity": length**2 / lifetime}
    return {"truth": truth, "asked": {"images": images, "decay": decay, "spectral_map": scan, **given}}


def test_nine_random_films():
    """L, D and τ: r.m.s. of (found − true)/error within 1 ± 3/√(2N), none beyond 4.5; the laser errs in both.

    One film in 370 is called two at 3 σ, and the fourth of these is one, by chance: with other photons it is not. Two
    of nine would be called so once in 4000.
    """
    pulls = {"diffusion_length": [], "diffusivity": [], "lifetime": []}
    for seed in range(9):
        film = drawn(seed)
        found = Experiment(**film["asked"]).fit()
        print(seed, found.verdicts[0])
        if found.verdicts[0].startswith("Images and spectral map disagree"):
            continue
        for name, seen in pulls.items():
            entry = found.parameters[name]
            seen.append((entry.value - film["truth"][name]) / entry.stderr)
    for name, seen in pulls.items():
        size = np.sqrt(np.mean(np.square(seen)))
        print(f"{name}: {len(seen)} films, pulls' r.m.s. {size:.3f}, largest {np.abs(seen).max():.2f}")
        assert len(seen) >= 8
        assert np.abs(seen).max() < 4.5
        assert abs(size - 1) < 3 / np.sqrt(2 * len(seen))


def test_the_error_of_one_laser_is_counted_once():
    """Against the whole likelihood along the laser's width: value to 0.3 and error to 10 % of the error.

    Budget: what images tell of the width themselves is left unused; beside a laser known to 1 %, they know it to 2 %,
    which is a fifth of all that is known of it. A parabola through five points of the objective: a few per cent.
    """
    width, error = 0.15, 0.01
    images = [shoot(6, photons=100_000, width=width, length=0.42, pixel=0.1, shape=(48, 48), background=0.5)]
    scan = collect_spectra(11, photons=6e5, width=width, length=0.42, attempts=0.0, disorder=1.0, line=25.0)

    def asked(fwhm) -> Experiment:
        film = {"model": "free", "fixed": {"trap_band_share": 0.0}}
        return Experiment(images=images, spectral_map=scan, laser_fwhm=fwhm, **film)

    joint = asked((width * FWHM, error * width * FWHM)).fit().parameters["diffusion_length"]
    steps, tried = np.linspace(-2.0, 2.0, 5), []
    for step in steps:
        own = asked(width * FWHM * np.exp(error * step))
        optics = own.optics()
        batch = measure_all(images, optics, own.of_images, noise="poisson", interval="fisher")
        one, map_alone = batch.averaged[0], own.measured_map()
        found = join(batch, one.length, optics, None, map_alone, lifetime_estimate(None))
        best = found.told.measurement.parameters["diffusion_length"]
        tried.append(
            (np.log(best.value), best.stderr / best.value, one.fit.least + map_alone.fit.least + found.away**2)
        )
    lengths, errors, objectives = np.array(tried).T
    curve = np.polyfit(steps, objectives + steps**2, 2)
    middle, spread = -curve[1] / (2 * curve[0]), curve[0] ** -0.5
    line = np.polyfit(steps, lengths, 1)
    exact, sure = np.polyval(line, middle), np.hypot(line[0] * spread, errors[2])
    print(f"{joint.value:.5f} ± {joint.stderr:.5f}, whole likelihood {np.exp(exact):.5f} ± {sure * np.exp(exact):.5f}")
    assert abs(np.log(joint.value) - exact) < 0.3 * sure
    assert joint.stderr / joint.value == pytest.approx(sure, rel=0.1)
