"""Hand-made results for the tests of what is shown and saved: every status, every kind of gap."""

from dataclasses import replace

import numpy as np

from excidiff.inverse.results.result import Estimate, FitResult, Measurement

PIXEL = 0.05


def spot(shape=(40, 48), *, width=0.5, photons=3e4, background=1.0, seed=1):
    """Counts of a Gaussian spot and their expectation, (ny, nx); seeded."""
    y, x = ((np.arange(count) - 0.5 * (count - 1)) * PIXEL for count in shape)
    profile = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / (2 * width**2))
    model = photons * profile / profile.sum() + background
    return np.random.default_rng(seed).poisson(model).astype(float), model


def length(value, stderr, **more):
    """An estimate of a length in µm with its 95 % interval."""
    return Estimate(value, stderr, (value - 1.96 * stderr, value + 1.96 * stderr), "um", **more)


def image(name="spot_000.tif", status="fitted", reason=None, seed=1, value=0.4796):
    """One image with its fit."""
    counts, model = spot(seed=seed)
    mask = np.ones(counts.shape, dtype=bool)
    mask[3, 4] = False
    return Measurement(
        "image",
        name,
        status,
        reason,
        parameters={
            "diffusion_length": length(value, 0.004),
            "centre_x": length(0.01, 0.002),
            "centre_y": length(-0.02, 0.002),
            "amplitude": Estimate(30000.0, 210.0, None, "photons"),
            "background": Estimate(1.02, 0.01, None, "photons/pixel"),
            "deconvolved_length": length(0.21, 0.003, origin="derived"),
        },
        goodness={"deviance_ratio": 1.01, "p_value": 0.4, "z": 0.2, "photons": 31950.0, "pixels": 1919, "masked": 1},
        counts=counts,
        model=model,
        mask=mask,
        pixel_size=(PIXEL, PIXEL),
        window={"x0": -1.2, "x1": 1.2, "y0": -1.0, "y1": 1.0},
    )


def laser():
    """The laser image with its fit."""
    counts, model = spot(width=0.13, seed=9)
    return Measurement(
        "laser",
        "laser.tif",
        "fitted",
        parameters={"laser_fwhm": length(0.304, 0.001)},
        goodness={"deviance_ratio": 0.99, "p_value": 0.7},
        counts=counts,
        model=model,
        pixel_size=(PIXEL, PIXEL),
    )


def at_most(upper, unit="um", value=None, **more):
    """An estimate of which only an upper limit is known; its value is where the search ended."""
    return Estimate(upper / 3 if value is None else value, None, (None, upper), unit, at_bound=True, **more)


def narrow_film():
    """A film whose two images are no wider than the laser: limits only, of L, D and the background."""
    ends = {"diffusion_length": at_most(0.008, value=0.0025796), "background": at_most(0.02, "photons/pixel")}
    images = [image(f"spot_{number}.tif") for number in range(2)]
    images = [replace(entry, parameters={**entry.parameters, **ends}) for entry in images]
    whole = film(tuple(images))
    more = {
        "diffusivity": at_most(2.2e-5, "um^2/ns", 2.295e-6, origin="derived"),
        "lifetime": Estimate(2.9, unit="ns", origin="given"),
    }
    return replace(whole, parameters={**whole.parameters, **ends, **more}, scatter={}, verdicts=(), warnings=())


def film(images=None):
    """A film with one good, one flagged and one unreadable image."""
    if images is None:
        unreadable = Measurement("image", "spot_002.tif", "failed", "spot_002.tif is truncated")
        images = (image(), image("spot_001.tif", "flagged", "p = 1e-9: the model does not describe it", 2), unreadable)
    return FitResult(
        "partial" if any(entry.status != "fitted" for entry in images) else "converged",
        "uniform film, steady state, continuous Gaussian excitation",
        ("A steady image fixes the diffusion length √(Dτ), not D and τ apart; give --lifetime to obtain D.",),
        ("spot_001.tif is not described by the model.",),
        {
            "diffusion_length": length(0.4796, 0.0021),
            "diffusivity": Estimate(None, unit="um^2/ns", identifiable=False),
            "lifetime": Estimate(5.0, unit="ns", origin="given"),
            "deconvolved_length": length(0.2111, 0.0014, origin="derived"),
            "laser_fwhm": length(0.304, 0.001),
        },
        images,
        {"diffusion_length": {"mean": 0.48, "std": 0.003, "n": 2}},
        {"deviance_ratio": 1.003, "p_value": float("nan")},
        laser(),
        {"temperature": 295.0, "noise": "poisson", "fixed": {}, "lifetime": np.float64(5.0)},
        "Images were fitted with the steady state of the diffusion-recombination equation.",
    )
