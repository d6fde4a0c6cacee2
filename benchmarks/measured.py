"""Measured decays of two semiconductors, and what was published of them: `python -m benchmarks.measured`

GaAs (Grossmann et al., pss b 2023, 10.1002/pssb.202200339): 14 000 bins at each of five powers, four decades of
density. No model here describes all five: the best of one species of traps that fill, with light ∝ n, is left with 9.1
times the deviance that photons explain, with light ∝ n² 5.5, and without filling it is 200 and more. At the three lower
powers filling traps with light ∝ n describe two as photons scatter, and the third but for 1.5 times the deviance, 27 σ
at most in any stretch: capture of empty traps within 6.69 ± 0.01 ns (published 6.85 ± 0.02), their density 1.70 to
1.83e14 cm⁻³ with the window (1.91 ± 0.12e14), the lifetime apart from them 90.4 ± 0.1 ns (87 at low density), one
lifetime at the lowest power 6.02 ± 0.03 ns (6.06 ± 0.03). Statistical errors are far below these differences, which are
of the models: theirs has a second, deep species (8.8e14 cm⁻³), losses that saturate and light ∝ n (1 + n/doping), none
of which ours has. Their optimum, solved here, leaves 1.06, 1.14, 2.0, 1.8 and 1.5 times the deviance: no model explains
these decays to their photons, and theirs comes far closer to all of them together. Trapped carriers live 1350 ns here;
theirs end on the limit of their search, 1000 ns. Light per exciton through the filters is even within a factor 1.7 for
light ∝ n and falls ten-thousandfold for ∝ n²: what is excited meets the carriers of the doping, which are always more.

Of CdTe `cdte` says what was found.
"""

import argparse
import json
import os
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.cdte import cdte
from benchmarks.decays import cut, judged, timed, told
from benchmarks.provenance import RESULTS, ROOT, environment, write_json
from benchmarks.published import OPTIMUM, PUBLISHED, published_light
from benchmarks.study import fingerprint
from excidiff.inverse import Decay, Experiment, read_decays
from excidiff.inverse.answer_powers import answer_series, bic, fit_powers
from excidiff.inverse.files.fluences import FluenceSeries
from excidiff.inverse.fit.detector import Detector
from excidiff.inverse.fit.layout import FILMS, scale_name
from excidiff.inverse.fit.likelihood import goodness
from excidiff.inverse.lifetimes import measure_decay
from excidiff.inverse.machine import start
from excidiff.inverse.results.result import plain

RESULT = RESULTS / "measured.json"
SOURCES = ("measured.py", "published.py", "decays.py", "cdte.py")

# GaAs. Of the authors' repository: the doping, 5e16 cm⁻³, and the thickness, 2 µm, that turn η₀ into densities.
DOPING, THICKNESS = 5e16, 2.0
UNIT = DOPING * 1e-12 * THICKNESS  # excitons per µm² for η = 1
FROM = 2.0  # ns: the instrument's response, which is not known, rounds the first nanosecond
BLOCKS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1435.0)  # ns: where residuals are added up
ALL, LOW = (1, 2, 3, 4, 5), (1, 2, 3)
CASES = {
    **{f"{model}, {law}": (model, law, ALL, FROM, 0.0) for law in ("linear", "quadratic") for model in FILMS},
    "low powers": ("saturable traps", "linear", LOW, FROM, 0.0),
    "low powers, quadratic": ("saturable traps", "quadratic", LOW, FROM, 0.0),
    "low powers, from 1 ns": ("saturable traps", "linear", LOW, 1.0, 0.0),
    "low powers, from 4 ns": ("saturable traps", "linear", LOW, 4.0, 0.0),
    "low powers, densities ± 10 %": ("saturable traps", "linear", LOW, FROM, 0.1),
}
"""Model, law of emission, powers, where the fit begins (ns), relative error of the densities."""


def data_folder(given: Path | None = None) -> Path:
    """Where the measured data lie: as given, or EXCIDIFF_DATA, or ../shared/data beside the project."""
    return given or Path(os.environ.get("EXCIDIFF_DATA", ROOT.parent / "shared" / "data"))


# GaAs


def gaas_head(folder: Path) -> dict[str, np.ndarray]:
    """What the file says of each power: watts, filter (factor), background per bin, initial density η₀."""
    watts, filters, ground = np.loadtxt(folder / "sample1.csv", delimiter=",", skiprows=1, max_rows=3)[:, 1:]
    line = next(one for one in (folder / "eta0_sample1.txt").read_text().splitlines() if one.startswith("η0"))
    eta = np.array(json.loads(line.partition("=")[2]))
    return {"power_w": watts, "filter": 10.0**filters, "background": ground, "eta0": eta}


def gaas_decays(folder: Path, begin: float, end: float = np.inf) -> list[Decay]:
    """The five decays within a window, ns."""
    found = read_decays(folder / "sample1.csv", time_unit="ns", skip=3)
    return [cut(decay, begin, end, f"power {number}") for number, decay in enumerate(found, 1)]


def fit_gaas(folder: Path, name: str) -> dict:
    """One of `CASES`: parameters, what speaks against it, and where in time."""
    model, law, powers, begin, error = CASES[name]
    head, decays = gaas_head(folder), gaas_decays(folder, begin)
    densities = [float(UNIT * head["eta0"][k - 1]) for k in powers]
    series = FluenceSeries(
        decays=[decays[k - 1] for k in powers],
        decay_densities=[(density, error * density) for density in densities],
        scale="free",
        emission=law,
        uniform=True,
    )
    experiment = Experiment(series=series, model=model)  # pyright: ignore[reportArgumentType]
    found, tried = fit_powers(series, model, experiment.constraints, None)
    result = answer_series(found, tried, None, experiment.settings())
    own = []
    for k, (power, entry) in enumerate(zip(powers, found.measurements, strict=True)):
        assert entry.counts is not None
        assert entry.model is not None
        bright = found.fit.value(scale_name(found.fit.layout, "decay", k)) * head["filter"][power - 1]
        ground = found.fit.value(f"decay_background_{k + 1}")
        own.append({"power": power, **judged(entry.goodness, entry.status, entry.reason),
                    "background": ground, "background_given": head["background"][power - 1],
                    "light_per_exciton": bright,
                    "blocks": blocks(decays[power - 1].time, entry.counts, entry.model)})  # fmt: skip
    for entry in own:
        entry["light_per_exciton"] /= own[0]["light_per_exciton"] if entry is not own[0] else 1.0
    own[0]["light_per_exciton"] = 1.0
    return {
        "model": model,
        "emission": law,
        "from_ns": begin,
        "density_error": error,
        "parameters": {key: told(entry) for key, entry in result.parameters.items()},
        "deviance": found.deviance,
        "deviance_ratio": result.goodness["deviance_ratio"],
        "numbers": found.freedom,
        "aic": found.deviance + 2 * found.freedom,
        "bic": bic(found),
        "describes_it": found.accepted,
        "verdicts": list(result.verdicts),
        "decays": own,
    }


def blocks(times: np.ndarray, counts: np.ndarray, model: np.ndarray) -> list[dict]:
    """Σ (y − µ)/√Σ µ over stretches of time: standard deviations of the light that the model lacks there."""
    found = []
    for begin, end in pairwise(BLOCKS):
        here = (times >= begin) & (times < end)
        if here.any():
            pull = float((counts[here] - model[here]).sum() / np.sqrt(model[here].sum()))
            found.append({"from_ns": begin, "to_ns": end, "pull": pull})
    return found


def published_gaas(folder: Path) -> list[dict]:
    """The authors' own optimum against the bins that are fitted here: their model, solved here (Runge and Kutta)."""
    head, whole = gaas_head(folder), gaas_decays(folder, 0.0)
    own = published_light(whole[0].time)
    peak, found = max(decay.counts.max() for decay in whole), []
    for k, (decay, light) in enumerate(zip(whole, own, strict=True)):
        seen = decay.time >= FROM
        model = (peak * OPTIMUM["light"] / head["filter"][k] * light + head["background"][k])[seen]
        tests = goodness(decay.counts[seen], model, Detector()).tests
        found.append({"power": k + 1, "deviance_ratio": tests["deviance_ratio"], "z": tests["z"],
                      "blocks": blocks(decay.time[seen], decay.counts[seen], model)})  # fmt: skip
    return found


def tails(folder: Path) -> list[dict]:
    """One lifetime: for the lowest power in the authors' window, and from where each decay has lost nine tenths."""
    head, found = gaas_head(folder), []
    windows = [(1, 0.0, 200.0), (1, FROM, 200.0)]
    for number, (decay, ground) in enumerate(zip(gaas_decays(folder, 0.0), head["background"], strict=True), 1):
        light = np.convolve(decay.counts, np.ones(9) / 9, mode="same") - ground
        windows.append((number, float(decay.time[np.flatnonzero(light > 0.1 * light.max())[-1]]), np.inf))
    for number, begin, end in windows:
        one = measure_decay(gaas_decays(folder, begin, end)[number - 1], 1).measurement
        found.append({"power": number, "from_ns": begin, "to_ns": min(end, BLOCKS[-1]),
                      "lifetime": told(one.parameters["lifetime"]),
                      **judged(one.goodness, one.status, one.reason)})  # fmt: skip
    return found


def compared(cases: dict[str, dict], alone: Sequence[dict]) -> list[dict]:
    """Our numbers beside the published ones, where the two mean the same."""
    best = cases["low powers"]["parameters"]
    others = [cases[name]["parameters"] for name in CASES if name.startswith("low") and "quadratic" not in name]
    spread = [one["trap_density"]["value"] / UNIT * DOPING for one in others]
    density, rate = best["trap_density"], best["trapping_rate"]
    emptying, life = best["trap_lifetime"], best["lifetime"]
    theirs = 1 / (1 / OPTIMUM["radiative"] + 1 / OPTIMUM["nonradiative"] + 1 / OPTIMUM["capture_2"])
    whole = 1 / (1 / life["value"] + rate["value"])
    mono = next(one["lifetime"] for one in alone if one["from_ns"] == FROM)

    def row(quantity, unit, ours, error, published, remark):
        return {"quantity": quantity, "unit": unit, "ours": ours, "error": error, "published": published[0],
                "published_error": published[1], "remark": remark}  # fmt: skip

    return [
        row("capture time of empty traps, 1/(k_t N_t); τ_1t", "ns", 1 / rate["value"],
            rate["stderr"] / rate["value"] ** 2, PUBLISHED["capture_time_ns"], "comparable: a rate"),
        row("density of these traps", "1/cm^3", density["value"] / UNIT * DOPING, density["stderr"] / UNIT * DOPING,
            PUBLISHED["trap_density_per_cm3"],
            f"a ratio to the densities η₀ × {DOPING:g} cm⁻³; {min(spread):.3g} to {max(spread):.3g} with other "
            "windows, and densities that may err by 10 %"),
        row("lifetime apart from them", "ns", life["value"], life["stderr"], (theirs, None),
            "theirs from 1/τ_r + 1/τ_nr + 1/τ_2t of their stored optimum, at low density"),
        row("lifetime of a trapped carrier; τ_1d", "ns", emptying["value"], emptying["stderr"],
            (OPTIMUM["emptying_1"], None), "theirs ends on the limit of their search, 1000 ns"),
        row("lifetime at low density", "ns", whole, None, PUBLISHED["effective_lifetime_ns"], "from these numbers"),
        row("one lifetime, lowest power", "ns", mono["value"], mono["stderr"], PUBLISHED["mono_exponential_ns"],
            "ours from 2 ns on, background fitted; theirs from 0, background given"),
        row("density of a second species of traps", "1/cm^3", None, None,
            PUBLISHED["second_trap_density_per_cm3"], "the models here have one species"),
    ]  # fmt: skip


def gaas(folder: Path) -> dict:
    """Everything that is said of the GaAs decays."""
    cases = {name: timed(partial(fit_gaas, folder, name), name) for name in CASES}
    alone = tails(folder)
    return {
        "powers": {name: values.tolist() for name, values in gaas_head(folder).items()},
        "density_unit": f"excitons per µm² of {THICKNESS:g} µm doped {DOPING:g} cm⁻³: η = 1 is {UNIT:g}",
        "cases": cases,
        "published_optimum": published_gaas(folder),
        "one_lifetime": alone,
        "published": PUBLISHED,
        "compared": compared(cases, alone),
    }


def rounded(tree):
    """The same with six digits of every number: what is compared later needs no more."""
    if isinstance(tree, dict):
        return {key: rounded(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [rounded(value) for value in tree]
    return float(f"{tree:.6g}") if isinstance(tree, float) else tree


PARTS = {"gaas": gaas, "cdte": cdte}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    parser.add_argument("--data", type=Path, help="folder that holds gaas_trpl and cdte_trpl")
    parser.add_argument("--only", choices=list(PARTS), help="measure one; of the other the file keeps what it has")
    given = parser.parse_args()
    folder = data_folder(given.data)
    missing = [name for name in PARTS if not (folder / f"{name}_trpl").is_dir()]
    if missing:
        print(f"no {missing[0]}_trpl in {folder}: nothing to measure; give --data or set EXCIDIFF_DATA")
        return
    start()
    report = json.loads(given.output.read_text()) if given.only and given.output.exists() else {}
    for name in (given.only,) if given.only else PARTS:
        head = {"sources": fingerprint(*SOURCES), "environment": environment()}
        report[name] = rounded(plain({**head, **PARTS[name](folder / f"{name}_trpl")}))
    print(json.dumps(report, indent=1))
    write_json(given.output, report)


if __name__ == "__main__":
    main()
