"""run.toml: what was typed comes back, what is wrong in it is named, changed inputs are noticed."""

import tomllib
from pathlib import Path

import pytest

from excidiff.inverse.results.storage import check_result_folder, inside, plain_name, result_folder
from excidiff.inverse.settings import (
    FORMAT,
    FitSettings,
    Run,
    changed_inputs,
    file_hash,
    read_run,
    relative_to,
    write_run,
)
from excidiff.solver.solution import InputError


@pytest.fixture
def run(tmp_path) -> tuple[Path, Run]:
    """A run.toml in out/ beside its inputs, whose names are as awkward as names can be."""
    names = ["spot 0.tif", 'quote" \\ back\\slash.tif', "µ ≠ \x7f.tif"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    settings = FitSettings(
        images=tuple(str(tmp_path / name) for name in names),
        laser=str(tmp_path / names[0]),
        lifetime="5 ns",
        fix=("background=1",),
    )
    inputs = tuple({"role": role, "path": path, "sha256": file_hash(path)} for role, path in settings.paths())
    folder = tmp_path / "out"
    folder.mkdir()
    moved = settings.moved(lambda path: relative_to(folder, path))
    stored = tuple({**entry, "path": relative_to(folder, entry["path"])} for entry in inputs)
    path = write_run(folder / "run.toml", Run(moved, stored, {"seed": 0, "versions": {"jax": "0.10"}}))
    return path, Run(settings, inputs, {"seed": 0, "versions": {"jax": "0.10"}})


def test_what_was_typed_comes_back(run):
    path, before = run
    assert read_run(path) == before
    assert 'lifetime = "5 ns"' in path.read_text(encoding="utf-8")


def test_a_project_can_move(run, tmp_path_factory):
    """Paths are relative to the file, so inputs and result moved together still fit."""
    path, _ = run
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "project"
    path.parent.parent.rename(elsewhere)
    again = read_run(elsewhere / "out" / "run.toml")
    assert changed_inputs(again) == []
    assert all(Path(name).is_file() for name in again.settings.images)


def test_paths_never_climb_to_the_root(tmp_path):
    """A relative path is for what may be moved together; one through the root of the disk would break with either."""
    near = relative_to(tmp_path / "out", str(tmp_path / "data" / "spot.tif"))
    assert near == "../data/spot.tif"
    elsewhere = Path(tmp_path.anchor) / "no such folder" / "spot.tif"
    assert relative_to(tmp_path / "out", str(elsewhere)) == elsewhere.as_posix()


def test_changed_and_lost_inputs_are_named(run):
    path, before = run
    spot = Path(before.settings.images[0])
    spot.write_bytes(b"other")
    assert [sentence for sentence in changed_inputs(read_run(path)) if "spot 0.tif" in sentence]
    spot.unlink()
    with pytest.raises(InputError, match=r"spot 0\.tif: there is no such file"):
        changed_inputs(read_run(path))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('lifetime = "5 ns"', 'lifetme = "5 ns"', "unknown key 'lifetme'.*nearest known key is 'lifetime'"),
        ('lifetime = "5 ns"', 'lifetime = "5 ns"\nlifetime = "6 ns"', "'lifetime' appears twice.*line"),
        ("[environment]", "[fit]\n[environment]", "appears twice"),
        ("[[inputs]]", "[fit]", r"'\[fit\]' appears twice"),
        ("[environment]", "[enviroment]", "'enviroment'.*'environment'"),
        ("sha256", "sha265", "'sha265'.*'sha256'"),
        ('lifetime = "5 ns"', "lifetime = [5]", "must be a text or a number"),
        ('lifetime = "5 ns"', "lifetime = ", "not valid TOML"),
        ("images = [", "images = 3 # [", "must be a list of texts"),
        ("excidiff run 1", "excidiff run 99", "expected 'excidiff run 1'"),
    ],
)
def test_faulty_files_are_explained(run, before, after, message):
    """FAULTS 29: unknown or repeated keys get the nearest known one; the rest says what was expected."""
    path, _ = run
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_run(path)
    assert str(path) in str(caught.value)


def test_no_file_no_text(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_run(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_run(tmp_path / "run.toml")


def test_the_file_is_toml(run):
    document = tomllib.loads(run[0].read_text(encoding="utf-8"))
    assert document["environment"]["versions"] == {"jax": "0.10"}
    assert len(document["inputs"]) == 4


def test_results_appear_whole_or_not_at_all(tmp_path):
    """FAULTS 22, 28: a run that breaks leaves the old result as it was; nothing else is ever replaced."""
    out = tmp_path / "out"
    with result_folder(out) as folder:
        (folder / "run.toml").write_text("old")
        assert not out.exists()
    assert (out / "run.toml").read_text() == "old"
    with pytest.raises(InputError, match="already holds what excidiff wrote; add --overwrite"):
        check_result_folder(out)
    with pytest.raises(KeyboardInterrupt):
        _break_off(out)
    assert (out / "run.toml").read_text() == "old"
    with result_folder(out, overwrite=True) as folder:
        (folder / "result.json").write_text("new")
    assert [entry.name for entry in out.iterdir()] == ["result.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def _break_off(out: Path) -> None:
    with result_folder(out, overwrite=True) as folder:
        (folder / "run.toml").write_text("half")
        raise KeyboardInterrupt


def test_other_peoples_files_are_never_replaced(tmp_path):
    """FAULTS 28: a folder that is no result, a file, and a link stay, whatever is asked."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    (tmp_path / "mixed").mkdir()
    for name in ("result.json", "my notes.txt"):
        (tmp_path / "mixed" / name).write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for name, message in (
        ("photos", "cat.jpg"),
        ("mixed", "my notes.txt"),
        ("photos/cat.jpg", "is a file"),
        ("link", "is a link"),
    ):
        with pytest.raises(InputError, match=message):
            check_result_folder(tmp_path / name, overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "cat"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "figures/../../x"])
def test_names_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="leads out of the folder"):
        inside(tmp_path / "out", name)
    cleaned = plain_name(name)
    assert inside(tmp_path / "out", cleaned).parent == (tmp_path / "out").resolve()
    assert cleaned not in ("", ".", "..")


def test_older_runs_named_one_file_of_frames_and_spectra(tmp_path: Path):
    """As a text, where a list stands now; one with a list says the same."""
    found = []
    for frames, spectra in (('"a.tif"', '"b.csv"'), ('["a.tif"]', '["b.csv"]')):
        text = f'format = "{FORMAT}"\n[fit]\nframes = {frames}\nspectral_map = {spectra}\nlaser_fwhm = "300 nm"\n'
        (tmp_path / "run.toml").write_text(text)
        found.append(read_run(tmp_path / "run.toml").settings)
    assert found[0] == found[1]
    assert found[0].frames == (str((tmp_path / "a.tif").resolve()),)
