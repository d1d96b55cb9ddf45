"""Tests for methods in a file of the user's own: what works, and what is said of mistakes."""

import json

import pytest

from asterism.cli import main

FILE = """
import torch
from asterism.methods.base import Method


class Own(Method):
    paper = "none"

    def forward(self, student, teacher, batch=None):
        return {"size": student.embedding.square().mean()}


class Forgetful(Own):
    def __init__(self, *, weight=1.0):
        super().__init__()


class Bare(Own):
    def forward(self, student, teacher, batch=None):
        return student.embedding.square().mean()


class PerSample(Own):
    def forward(self, student, teacher, batch=None):
        return {"size": student.embedding.square().mean(1), "one": 1.0}


class Task(Own):
    def forward(self, student, teacher, batch=None):
        return {"task": student.embedding.square().mean()}


class Slip(Own):
    def forward(self, student, teacher, batch=None):
        return {"size": student.embeding.square().mean()}


class Unready(Own):
    def setup(self, *, student_dim, teacher_dim):
        pass


class Labels(Own):
    needs = frozenset({"labels"})


class Text(Own):
    needs = "target"


class Never(Own):
    def forward(self, student, teacher, batch=None):
        return {"size": student.embedding.square().mean() * float("nan")}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a teacher and the file, in which the command is typed."""
    place = tmp_path_factory.mktemp("own")
    (place / "own_methods.py").write_text(FILE)
    command = ["train", "--model", "mlp", "--data", "digits", "--limit-steps", "1"]
    assert main([*command, "--out", str(place / "teacher")]) == 0
    return place


def distill(folder, method, out, *options):
    command = ["distill", "--teacher", str(folder / "teacher"), "--student", "mlp", "--data"]
    command += ["digits", "--method", f"own_methods.{method}", "--out", str(out), "--no-report"]
    return main([*command, "--limit-steps", "2", "--no-check", *options])


def test_a_method_without_a_constructor_trains(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    assert distill(folder, "Own", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["skipped"] == 0
    assert distill(folder, "Own", tmp_path / "run", "--resume") == 0


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("Forgetful", "keep each argument of its constructor under its own name: self.weight = w"),
        ("Bare", "must return a dict of scalar tensors by name, {'relation': loss} say; got a ten"),
        ("PerSample", "got {'size': 'a tensor of shape (128,)', 'one': 'float'}."),
        ("Task", "Task has a term named 'task', which is one of the engine's own"),
        ("Slip", "Slip failed: AttributeError: 'Outputs' object has no attribute 'embeding' ("),
        ("Unready", "Unready failed: TypeError: "),
        ("Labels", "Labels.needs must be a set of any of anchors, index, logits, sample, target"),
        ("Text", "any of anchors, index, logits, sample, target; got 'target'"),
    ],
)
def test_mistakes_in_a_method_are_one_sentence(
    folder, tmp_path, capsys, monkeypatch, method, message
):
    monkeypatch.syspath_prepend(folder)
    assert distill(folder, method, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("asterism: ") == 1
    assert error.splitlines()[-1].startswith("asterism: ")
    if method == "Slip":
        assert f"own_methods.py, line {FILE[: FILE.index('embeding')].count(chr(10)) + 1})" in error


def test_a_training_without_a_step_is_no_result(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    options = ["--epochs", "1", "--limit-steps", "50", "--skip-nonfinite", "100"]
    assert distill(folder, "Never", tmp_path / "run", *options) == 2
    said = capsys.readouterr().err
    assert "nothing was trained: all steps were left out, 9 of them because a value was not" in said
    assert not (tmp_path / "run" / "result.json").exists()
    assert distill(folder, "Never", tmp_path / "run", *options, "--resume") == 2
    assert "all steps were left out, 9 of them" in capsys.readouterr().err
