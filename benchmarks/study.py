"""Many independent cases run once each: stopped at any moment, a study goes on where it was.

Each finished case is one line of a file under build/, written with the hash of the sources it ran. A line of the same
hash is not run again; one of another hash is.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.provenance import ROOT, source_hash, write_json
from excidiff.inverse.fit.parameters import POSITIVE, kind
from excidiff.inverse.machine import start

BUILD = ROOT / "build" / "studies"


def fingerprint(*files: str) -> str:
    """SHA-256 over solver, inverse and the named files of benchmarks/: whatever a case's numbers rest on."""
    digest = hashlib.sha256(source_hash("solver", "inverse").encode())
    for name in files:
        digest.update((ROOT / "benchmarks" / name).read_bytes())
    return digest.hexdigest()


def run_cases(name: str, sources: str, cases: Iterable[int], run: Callable[[int], dict], say=print) -> list[dict]:
    """The record of every case, in order: from the partial file where it has one, else run and added to it."""
    partial = BUILD / f"{name}.jsonl"
    partial.parent.mkdir(parents=True, exist_ok=True)
    done = _read(partial, sources)
    found = []
    for case in cases:
        if case not in done:
            start = time.perf_counter()
            done[case] = {"case": case, **run(case), "seconds": round(time.perf_counter() - start, 3)}
            line = json.dumps({"sources": sources, **done[case]})
            with partial.open("a") as file:
                file.write(f"\n{line}\n")  # the first newline closes a line that a crash has torn
        found.append(done[case])
        say(case, done[case])
    return found


def pull(name: str, found: Sequence, truth: float) -> float | None:
    """(found − true)/error, of the logarithm of what is positive; None without an error. found: (value, error)."""
    value, stderr = found
    if value is None or not stderr:
        return None
    return float(np.log(value / truth) * value / stderr if kind(name) in POSITIVE else (value - truth) / stderr)


def rounded(value: Any) -> float:
    """To four decimals."""
    return round(float(value), 4)


def run_kinds(about: str | None, kinds: Sequence[str], run: Callable[[str], dict], result: Path) -> None:
    """The command of a study of several kinds: `--kinds` runs some of them, and the record that `run` gives of each is
    written into `result` beside those that are there."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    given = parser.parse_args()
    start()  # as a command does: double precision, compiled programs kept
    for name in given.kinds:
        print(name, flush=True)
        write_beside(result, name, run(name))


def write_beside(result: Path, name: str, record: dict) -> None:
    """Write the record of one kind beside those of others."""
    before = json.loads(result.read_text()) if result.is_file() else {}
    write_json(result, {**before, name: record})


def _read(partial: Path, sources: str) -> dict[int, dict]:
    """The whole lines of this hash; one torn by a crash is passed over."""
    done: dict[int, dict] = {}
    for line in partial.read_text().splitlines() if partial.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record.pop("sources", None) == sources:
            done[record["case"]] = record
    return done
