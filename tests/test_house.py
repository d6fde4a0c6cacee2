"""The house keeps its order: who may import whom, what an import may do, and how long a file may grow."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The reading order of each folder: a module imports only from those before it. The one place where it is written down.
SOLVER = """
solution precision grid field traps disorder emission medium source
linear.flux linear.transforms linear.multigrid linear.elliptic linear.coupled
kinetics newton fixed bins steady light scheme march cycle transient train scan disc repeat radial mixture
reabsorption
walks.photons walks.maps walks.film walks.start walks.motion walks.energies walks.trapping walks.light walks.alone
walks.meetings walks.crowd walks.walk
"""
INVERSE = """
memory files.toml files.units files.axes files.raster files.extras files.tables files.tiff files.hdf files.hyperspy
files.andor files.foreign files.chunks files.zarrs files.curves files.picoquant files.becker_hickl files.counters
files.columns
files.formats files.labelled files.region files.saturation files.data files.readers files.decays files.spans
files.absorption files.noise
files.placed files.spectra files.streak files.frames files.scans files.fluences files.lattice
files.ages files.scanfiles
fit.instrument fit.detector fit.parameters fit.prediction fit.round fit.likelihood fit.laws fit.optimise fit.problem
fit.draws fit.bootstrap fit.uncertainty fit.sampling fit.fitted fit.blocks
fit.limits fit.start fit.response fit.onset fit.sway fit.decay fit.spot fit.gated fit.rescale fit.quality
fit.cells fit.even fit.fieldmap fit.scanfield fit.smoothing fit.descent
fit.optics fit.magnification fit.landscape fit.film fit.lines fit.guided fit.colours fit.peaks fit.spectrograph
fit.spectralsearch fit.spectral fit.layout fit.taken fit.runs fit.shots fit.splines fit.arrivals fit.surveyed
fit.told fit.pulses fit.trials fit.trapband fit.fluence
results.wording results.sentences results.storage results.archive results.populations results.screen results.figures
results.scatter results.slit results.survey results.gates results.traces results.spectrum results.peaks results.page
results.correlations results.panels results.record results.report results.result results.mapped results.mapfigure
results.mapstore results.mappage results.sampled results.samplefigure results.samplepage
estimates gates measure batch derived lifetimes apertures populations views maps spectralmaps surveys fluences verdicts
answer answer_spectra joint powerverdicts answer_powers rastertable settings options typed checks intervals drawn
account experiment compare rivals planning planfile planpage protocol machine spectrascans job peaksjob mapfile mapjob
tails samples sampleverdicts samplesjob section illumination filmfile simulation terminal samplescreen demo doctor
parser cli
"""
ORDER = {"solver": SOLVER.split(), "inverse": INVERSE.split()}
ENTRY = {"__init__", "__main__"}  # these gather the others and come last
SOLVER_NEEDS = {"jax", "numpy", "equinox", "jaxtyping"}
LINES = 350

SHIPPED = sorted(path for folder in ORDER for path in (ROOT / folder).rglob("*.py"))
FOLDERS = (*ORDER, "tests", "benchmarks", "examples")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imports(text: str) -> Iterator[tuple[str, int]]:
    """Every imported module as (dotted name, level); `from a import b` gives `a.b`, since b may be a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module or ''}.{alias.name}".strip("."), node.level) for alias in node.names)


def broken_rules(path: Path, text: str) -> list[str]:
    """What the imports of one file, at `path` below the root, break; an empty list where all is well."""
    folder, module = path.parts[0], ".".join(path.with_suffix("").parts[1:])
    order = ORDER.get(folder, [])
    found = []
    if order and module not in order and path.stem not in ENTRY:
        found.append(f"{path} has no place in ORDER: give it one")
    place = order.index(module) if module in order else len(order)
    for name, level in imports(text):
        parts = name.split(".")
        if level:
            found.append(f"{path} imports relatively: {'.' * level}{name}")
        if parts[0] in ORDER:
            found.append(f"{path} imports the bare name {name}: write excidiff.{name}")
        if folder == "solver" and parts[:2] == ["excidiff", "inverse"]:
            found.append(f"{path} imports {name}: the solver knows no inverse")
        if folder == "solver" and parts[0] not in {*SOLVER_NEEDS, *sys.stdlib_module_names, "excidiff"}:
            found.append(f"{path} imports {name}: the solver needs only {sorted(SOLVER_NEEDS)}")
        if path.stem in ENTRY or not order or parts[:2] != ["excidiff", folder]:
            continue
        targets = [order.index(t) for t in (".".join(parts[2:4]), ".".join(parts[2:3])) if t in order]
        if not targets or targets[0] >= place:
            found.append(f"{path} imports {name}, which does not come before it")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_the_order(path: Path):
    assert broken_rules(path.relative_to(ROOT), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("solver/grid.py", "from excidiff.inverse.files.units import parse_quantity"),
        ("solver/grid.py", "import excidiff.inverse"),
        ("solver/grid.py", "from excidiff import inverse"),
        ("solver/grid.py", "from excidiff.solver.medium import Medium"),
        ("solver/grid.py", "def f():\n    from excidiff.solver import medium"),
        ("solver/grid.py", "from excidiff.solver import Medium"),
        ("solver/grid.py", "import scipy.sparse"),
        ("solver/grid.py", "from .solution import Solution"),
        ("solver/grid.py", "from solver.solution import Solution"),
        ("solver/stray.py", ""),
        ("inverse/files/data.py", "import excidiff.inverse.cli"),
        ("inverse/files/data.py", "from excidiff.inverse.fit.spot import fit_spot"),
        ("inverse/files/data.py", "import excidiff.inverse.files"),
        ("tests/test_grid.py", "import solver"),
        ("examples/spot.py", "from inverse import Experiment"),
    ],
)
def test_the_rules_catch_what_they_forbid(path: str, text: str):
    assert broken_rules(Path(path), text)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES, "when a file grows, its design is wrong"


def test_every_folder_with_code_is_packaged():
    """An unlisted subpackage works in an editable install and is missing from the wheel."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    assert {".".join(("excidiff", *path.parent.relative_to(ROOT).parts)) for path in SHIPPED} == listed


def test_no_absolute_paths():
    """The project must work wherever it is checked out."""
    absolute = re.compile(r"(?<![\w.$}/~-])(/(home|tmp|opt|work|root|mnt|srv|Users)/|[A-Z]:\\\\?Users)")
    kinds = {".py", ".toml", ".md", ".cff", ".json", ".html", ".txt", ".yml", ".svg", "", ".typed"}
    folders = [ROOT / name for name in (*FOLDERS, ".ci")]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    texts = [path for path in files if path.suffix in kinds and "__pycache__" not in path.parts]
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts
        if (match := absolute.search(path.read_text(encoding="utf-8")))
    ]
    assert len(texts) > 5
    assert found == []


IMPORTING = """
import json, sys
import jax
flags = {name: str(value) for name, value in jax.config.values.items()}
import excidiff.solver, excidiff.inverse
changed = [name for name, value in flags.items() if str(jax.config.values[name]) != value]
heavy = [name for name in ("matplotlib", "pandas", "xarray", "pint") if name in sys.modules]
try:
    jax.devices()
    started = "a backend"
except RuntimeError as error:
    started = str(error)
print(json.dumps({"changed": changed, "heavy": heavy, "started": started}))
"""


def test_import_does_nothing_else(tmp_path: Path):
    """Importing starts no JAX backend, changes no JAX flag and loads no slow library.

    JAX is told to use a platform that does not exist, so that anything that starts a backend at import raises there;
    that asking for the devices afterwards does raise shows that the trap was set.
    """
    run = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        env=os.environ | {"JAX_PLATFORMS": "no_such_platform"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["changed"] == []
    assert seen["heavy"] == []
    assert "no_such_platform" in seen["started"]
