"""Measured decays of CdTe, from either side and at several wavelengths; `measured` fits and writes them.

CdTe (Fai et al., iScience 28 (2025) 111850): ten decays and four terahertz transients, which are no photons and are
refused. From 3 ns on two lifetimes, 3.3 to 4.6 ns and 1.1 to 1.4 ns, describe six of the ten (χ² 0.7 to 1.2 of what
the uncertainties given explain); whole decays need more than three. Through the responses in the same archive none is
described at all (χ² above 140): both show a second pulse of 5 to 7 % after 2.7 ns of which no decay has a
thousandth. They are not the responses that these decays were taken with, or these were corrected before.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.decays import cut, judged, timed, told
from excidiff.inverse import Decay, InputError, Response, read_decay, read_response
from excidiff.inverse.lifetimes import measure_decays

WAVELENGTHS = {80000: 520, 53000: 600, 36000: 700}  # absorption (cm⁻¹) → nm
RESPONSES = {520: "irf_520nm.csv", 600: "irf_520nm.csv", 700: "irf_745nm.csv"}  # the nearest that there is
TRANSIENTS = 10  # photoluminescence; what follows them in the file is terahertz
AFTER = 2.7  # ns: where both responses show a second pulse
LATE = 3.0  # ns: from when on the response has ended
SEEN = 20.0  # ns: where the shortest curve ends, and so every fit


def read_cdte(folder: Path, number: int, irf: Response | None = None) -> Decay:
    """One curve of the stack, with its uncertainty."""
    options = {"time_unit": "ns", "column": 1, "uncertainty": 2, "curve": number}
    return replace(read_decay(folder / "CD0_final.csv", **options), irf=irf, file=f"curve {number}")  # pyright: ignore[reportArgumentType]


def cdte_response(folder: Path, wavelength: int) -> Response:
    """The nearest measured response, two of its bins added up to one of the decays'."""
    read = read_response(folder / RESPONSES[wavelength], time_unit="ns")
    pairs = read.counts.size // 2 * 2
    time, counts = (a[:pairs].reshape(-1, 2) for a in (read.time, read.counts))
    return Response(time.mean(1), counts.sum(1), file=RESPONSES[wavelength])


def fit_cdte(folder: Path, number: int, begin: float = 0.0, irf: Response | None = None) -> dict:
    """As many lifetimes as the fit chooses."""
    decay = cut(read_cdte(folder, number, irf), begin, SEEN, f"curve {number}")
    one = measure_decays([decay], None)[0].measurement
    return {
        "parameters": {name: told(entry) for name, entry in one.parameters.items()},
        **judged(one.goodness, one.status, one.reason),
    }


def second_pulse(curve: Decay | Response) -> list[float]:
    """(what stands above the curve's own slope at `AFTER`, its error), in parts of the peak.

    The slope is that of a parabola through the logarithm of what lies 0.3 to 0.7 ns before and after.
    """
    away = curve.time - AFTER
    beside, here = (np.abs(away) > 0.3) & (np.abs(away) < 0.7), np.abs(away) < 0.11
    slope = np.polyfit(away[beside], np.log(curve.counts[beside]), 2)
    above = curve.counts[here] - np.exp(np.polyval(slope, away[here]))
    error = 0.0 if curve.uncertainty is None else np.sqrt((curve.uncertainty[here] ** 2).sum()) / here.sum()
    return [float(above.mean() / curve.counts.max()), float(error / curve.counts.max())]


def cdte(folder: Path) -> dict:
    """Everything that is said of the CdTe decays."""
    table, curves = np.loadtxt(folder / "CD0_final_input.csv", delimiter=","), []
    responses = {name: read_response(folder / name, time_unit="ns") for name in sorted(set(RESPONSES.values()))}
    for number in range(TRANSIENTS):
        fluence, absorption, side = table[number]
        wavelength = WAVELENGTHS[int(absorption)]
        irf = cdte_response(folder, wavelength)
        fits = {
            "late": timed(partial(fit_cdte, folder, number, LATE), f"curve {number}, late"),
            "whole": timed(partial(fit_cdte, folder, number), f"curve {number}, whole"),
            "through_response": timed(partial(fit_cdte, folder, number, irf=irf), f"curve {number}, {irf.file}"),
        }
        curves.append({"curve": number, "wavelength_nm": wavelength, "fluence_per_cm2": fluence,
                       "side": "front" if side > 0 else "back", "response": irf.file,
                       "second_pulse": second_pulse(read_cdte(folder, number)), **fits})  # fmt: skip
    return {
        "curves": curves,
        "responses": {name: {"bins": one.counts.size, "negative": int((one.counts < 0).sum()),
                             "least": float(one.counts.min()), "sum": float(one.counts.sum()),
                             "second_pulse": second_pulse(one)} for name, one in responses.items()},
        "terahertz": [terahertz(folder, number) for number in range(TRANSIENTS, len(table))],
        "published": "Fai et al., iScience 28 (2025) 111850: the standard model of carrier transport does not explain "
        "these decays; carriers are trapped in low-lying defects. No effective lifetime of theirs was at hand.",
    }  # fmt: skip


def terahertz(folder: Path, number: int) -> dict:
    """What reading a terahertz transient as a decay says."""
    try:
        read_cdte(folder, number)
    except InputError as error:
        return {"curve": number, "fitted": False, "reader": str(error).replace(str(folder) + "/", ""),
                "reason": "conductivity of charges, normalised: no photons, and not in equal bins"}  # fmt: skip
    return {"curve": number, "fitted": False, "reader": None, "reason": "conductivity of charges, normalised"}
