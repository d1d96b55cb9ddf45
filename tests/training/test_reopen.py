"""Tests for asterism/training/reopen.py and provenance.py: what is recorded is compared."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import asterism
from asterism import recipe
from asterism.cli import main
from asterism.run import RunError

BRIEF = {"epochs": 1, "limit_steps": 2, "batch_size": 32, "check": False}


def write(file, seed=0):
    draw = np.random.default_rng(seed)
    y = np.arange(120) % 3
    x = np.clip(draw.normal(128, 20, (120, 6, 6)) + 30 * y[:, None, None], 0, 255)
    np.savez(file, x=x.astype(np.uint8), y=y)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data, a teacher and a run, each named as one types it beside them."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        write("d.npz")
        recipe.train("mlp", "d.npz", out="t", **BRIEF)
        recipe.distill("t", "mlp", "d.npz", out="r", report=False, **BRIEF)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of these in which something may change."""
    shutil.copytree(made, tmp_path / "here")
    for run in ("t", "r"):  # where they stand now
        config = tmp_path / "here" / run / "config.yaml"
        config.write_text(config.read_text().replace(str(made), str(tmp_path / "here")))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


READERS = {
    "evaluate": lambda: recipe.evaluate("r"),
    "align": lambda: asterism.align("r"),
    "resume": lambda: recipe.distill("t", "mlp", "d.npz", out="r", resume=True, **BRIEF),
}


@pytest.mark.parametrize("reader", READERS)
def test_data_that_have_changed_are_refused_by_every_reader(here, reader):
    write("d.npz", seed=1)
    with pytest.raises(RunError, match="r was begun with other contents of its data"):
        READERS[reader]()


@pytest.mark.parametrize("reader", READERS)
def test_a_teacher_that_has_changed_is_refused_by_every_reader(here, reader):
    recipe.train("mlp", "d.npz", out="t", overwrite=True, seed=3, **BRIEF)
    with pytest.raises(RunError, match="r was begun with other contents of its teacher"):
        READERS[reader]()


def test_other_data_may_be_named_when_the_runs_own_have_changed(here):
    write("d.npz", seed=1)
    write("new.npz", seed=2)
    assert recipe.evaluate("r", data="new.npz").evaluation["rows"] == 120


def test_a_baseline_that_learned_from_other_data_is_refused(here):
    write("d.npz", seed=1)
    recipe.train("mlp", "d.npz", out="t", overwrite=True, **BRIEF)
    recipe.train("mlp", "d.npz", out="alone", **BRIEF)
    write("d.npz")
    with pytest.raises(RunError, match="alone was begun with other contents of its data"):
        recipe.distill("t", "mlp", "d.npz", out="new", baseline="alone", **BRIEF)


def test_a_run_is_measured_and_goes_on_from_another_folder(here, monkeypatch, capsys):
    """Another file of the same name stands there, too."""
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    write("d.npz", seed=1)
    recipe.evaluate("../r")
    again = {"out": "../r", "resume": True, **BRIEF}
    assert recipe.distill("../t", "mlp", "../d.npz", **again).run.resolve() == here / "r"
    assert "is finished; this is its result" in capsys.readouterr().err


def test_what_has_moved_together_is_found_from_where_it_stands(here, tmp_path, monkeypatch):
    moved = shutil.move(here, tmp_path / "moved")
    monkeypatch.chdir(moved)
    recipe.evaluate("r")


def test_replacing_what_is_read_is_refused(here):
    for name in ({"teacher": "r"}, {"student": "./r"}, {"baseline": "r"}):
        asked = {"teacher": "t", "student": "mlp", "data": "d.npz", **name}
        with pytest.raises(ValueError, match="--overwrite would delete r, which is the"):
            recipe.distill(**asked, out="r", overwrite=True, **BRIEF)
    assert Path("r/result.json").exists()


def test_a_grid_on_changed_data_is_refused_before_anything_runs(here, capsys):
    grid = {
        "out": "g", "common": {"data": "d.npz", "epochs": 1, "limit_steps": 2, "batch_size": 32},
        "pairs": {"p": {"student": "mlp"}}, "methods": {"plain": {}}, "seeds": [0, 1],
    }  # fmt: skip
    Path("grid.yaml").write_text(yaml.safe_dump(grid))
    recipe.train("mlp", "d.npz", out="g/p_plain_0", **BRIEF)
    write("d.npz", seed=1)
    assert main(["bench", "grid.yaml"]) == 2
    assert "could not be compared with it" in capsys.readouterr().err
    assert not Path("g/p_plain_1").exists()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ([{"class_path": "payload.M", "init_args": {}}], "was finished with method"),
        ("payload.M", "is damaged: method is"),
        ({"class_path": "payload.M"}, "is damaged: method is"),
        ([{"class_path": "RKD", "init_args": {"x": {"class_path": "payload.M"}}}], "is damaged"),
    ],
)  # fmt: skip
def test_no_verb_imports_what_a_run_folder_names(here, capsys, method, said):
    Path("payload.py").write_text("open('EXECUTED', 'w')\nfrom asterism import RKD as M\n")
    grid = {
        "out": "g", "common": {"data": "d.npz", "epochs": 1, "limit_steps": 2, "batch_size": 32},
        "pairs": {"p": {"teacher": "t", "student": "mlp"}}, "methods": {"rkd": {"method": "RKD"}},
    }  # fmt: skip
    Path("grid.yaml").write_text(yaml.safe_dump(grid))
    shutil.copytree("r", "g/p_rkd_0")
    for run in ("r", "g/p_rkd_0"):
        config = yaml.safe_load(Path(run, "config.yaml").read_text())
        Path(run, "config.yaml").write_text(yaml.safe_dump({**config, "method": method}))
    assert main(["bench", "grid.yaml", "--table-only"]) == 2
    assert said in capsys.readouterr().err
    assert main(["distill", "--out", "r", "--resume"]) == 2
    for verb in ("evaluate", "compare", "report"):
        main([verb, "r"])
    assert not Path("EXECUTED").exists()
