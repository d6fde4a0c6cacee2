"""What README.md and its neighbours say is so."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from excidiff.inverse.cli import main
from excidiff.inverse.demo import Film, write_demo
from excidiff.inverse.protocol import read_protocol
from excidiff.inverse.settings import LISTS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_python_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The block under "From Python", as it stands, on a small demonstration."""
    monkeypatch.chdir(tmp_path)
    write_demo("demo", film=Film(pixels=(64, 70), photons=20_000, laser_photons=20_000, spots=1))
    names: dict = {}
    exec(compile("\n".join(blocks("python")), "README.md", "exec"), names)
    assert names["density"].shape == (256, 256)
    assert "diffusion length" in capsys.readouterr().out


def test_commands_exist(capsys: pytest.CaptureFixture[str]):
    """Every command of README's overview is one, and the overview has every command."""
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.search(r"^commands:$(.*?)^$", capsys.readouterr().out, flags=re.MULTILINE | re.DOTALL)
    assert listed
    offered = set(re.findall(r"^ +([a-z]+) ", listed.group(), flags=re.MULTILINE))
    assert set(re.findall(r"^excidiff ([a-z]+) .*   +", README, flags=re.MULTILINE)) == offered


def test_two_commands_are_what_continuous_integration_runs():
    """`.ci/run` takes the first two shell blocks; the first fits the demonstration's images with its decay."""
    job, tests = blocks("sh")
    assert "--decay demo/decay.csv --irf demo/irf.csv" in job
    assert "pip install ." in job
    assert "pytest" in tests


def test_the_experiment_file_is_read(tmp_path: Path):
    """The blocks of TOML, beside files of the names in them."""
    first, powers = blocks("toml")
    (tmp_path / "powers.toml").write_text(powers, encoding="utf-8")
    several = read_protocol([str(tmp_path / "powers.toml")], {}, dict.fromkeys(LISTS, ()))
    assert (several.model, several.scale, several.exposure) == ("saturable traps", "shared", "40 ns")
    assert several.image_density == several.decay_density == ("60 /um^2",)
    (tmp_path / "film.toml").write_text(first, encoding="utf-8")
    (tmp_path / "spot_0.tif").touch()
    found = read_protocol([str(tmp_path / "film.toml")], {}, dict.fromkeys(LISTS, ()))
    assert [Path(path).name for path in (*found.images, *found.decay, found.irf or "", found.laser or "")] == [
        "spot_0.tif",
        "decay.csv",
        "irf.csv",
        "laser.tif",
    ]
    assert found.bound == ("diffusion_length=0.1 um..2 um",)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!http)([^)]+)\)", README) + re.findall(r"`([a-z]+/[a-z_/]+\.py)`", README)
    assert len(targets) > 5
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_one_version():
    """pyproject.toml, CITATION.cff, CHANGELOG.md and the installation agree."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {declared}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {declared}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert version("excidiff") == declared
