"""Run folders of version 0.1, before the second edition of the house, still open."""

import shutil
from pathlib import Path

import pytest
import torch

import asterism
from asterism.cli import main
from asterism.report import write_report

OLDER = Path(__file__).parent / "fixtures" / "runs-0.1"
TRAINED = "distill --teacher teacher --student mlp?hidden=8&dim=4 --data digits --epochs 1".split()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the runs, in the folder in which they were made."""
    shutil.copytree(OLDER, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_they_are_read_measured_loaded_and_aligned(folder, capsys):
    kept = asterism.load("run")(torch.rand(3, 1, 8, 8))
    assert (kept.embedding.shape, kept.logits.shape) == ((3, 4), (3, 10))
    before = asterism.evaluate("run").evaluation["student"]["classification"]["top1"]
    assert before == pytest.approx(0.104)
    write_report(["run", "teacher"], "both.html")
    assert main(["compare", "run", "teacher", "--format", "markdown"]) == 0
    assert "| run | RKD |" in capsys.readouterr().out
    card = asterism.align("run")
    assert (card["student_dim"], card["teacher_dim"]) == (4, 8)


def test_a_finished_one_is_its_result_and_an_unfinished_one_cannot_go_on(folder, capsys):
    command = [*TRAINED, "--method", "RKD", "--out", "run", "--resume"]
    assert main(command) == 0
    assert "run is finished; this is its result" in capsys.readouterr().err
    (folder / "run" / "result.json").unlink()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "was written by another version of asterism" in error
    assert "start again with --overwrite" in error
