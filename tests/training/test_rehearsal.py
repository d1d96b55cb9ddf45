"""Tests for asterism/training/rehearsal.py, and for an end of a run at which something fails."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import asterism
from asterism import KD, recipe
from asterism.cli import main
from asterism.report import render
from asterism.request import Request
from asterism.settings import Settings
from asterism.training import open_training, training
from asterism.verdict import tasks

QUICK = {"limit_steps": 1, "batch_size": 16, "lr": 0.05}
PIXELS = (1, 4, 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return 80 small images of two classes."""
    draw = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = (draw.integers(0, 128, (80, 4, 4)) + 127 * y[:, None, None]).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "two.npz"
    np.savez(path, x=x, y=y)
    return str(path)


class Net(nn.Module):
    """A student of the user's own; `trick` is what is unusual about it."""

    def __init__(self, trick="", classes=2):
        super().__init__()
        self.trick = trick
        self.body, self.again = nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, classes)
        self.plain = torch.rand(16) if trick == "plain" else torch.ones(16)
        if trick == "tied":
            self.again.weight = self.body.weight
        if trick == "view":
            self.again.bias = nn.Parameter(torch.zeros(2, 16)[1])
        if trick == "frozen":
            self.requires_grad_(False)
        if trick == "made late":
            self.body = None
        if trick == "lazy":
            self.body = nn.LazyLinear(16)
        if trick == "lazy while training":
            self.aux = nn.LazyLinear(3)
        if trick == "noise":
            self.body = nn.Sequential(self.body, Noise())
        if trick == "state":
            self.head = Remembering(16, classes)

    def forward(self, x):
        if self.trick == "no_grad":
            with torch.no_grad():
                return self.pair(x)
        e, z = self.pair(x)
        if self.trick == "lazy while training" and self.training:
            return e, z, self.aux(e)
        if self.trick == "counts":
            return e * len(x), z
        if self.trick == "detached":
            return e, z.detach()
        if self.trick == "squeeze":
            return e, z.squeeze()
        if self.trick == "wider" and self.training:
            return torch.cat([e, e], 1), z
        if self.trick == "train only" and self.training:
            return e @ e, z
        return e, z

    def pair(self, x):
        self.body = self.body or nn.Linear(16, 16)
        e = torch.relu(self.again(torch.relu(self.body(x.flatten(1))))) * self.plain
        return e, self.head(e)


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.rand_like(x)


class Remembering(nn.Linear):
    def get_extra_state(self):
        return {"seen": 3}


GOOD = ["", "tied", "view", "lazy", "lazy while training", "made late", "noise"]


@pytest.mark.parametrize("trick", GOOD)
def test_what_can_be_kept_is_trained_kept_and_loaded(trick, data, tmp_path):
    def student(classes):
        return Net(trick, classes)

    result = recipe.train(student, data, out=tmp_path / "run", **QUICK)
    loaded = asterism.load(result.run, factory=student)
    images = torch.rand(3, *PIXELS)
    torch.manual_seed(0)
    expected = result.student(images)
    torch.manual_seed(0)
    torch.testing.assert_close(loaded(images), expected)
    assert loaded.classes == result.student.classes == ("0", "1")


BAD = {
    "frozen": "none of its weights asks for a gradient",
    "no_grad": "no gradient comes from its logits",
    "detached": "no gradient comes from its logits",
    "squeeze": "a single sample in eval mode",
    "wider": "the same in train mode and in eval mode",
    "train only": "must take 2 samples in train mode",
    "plain": "not among its weights",
    "state": "must be tensors, and head._extra_state is of type dict",
}


@pytest.mark.parametrize("trick", BAD)
def test_what_could_not_be_kept_or_trained_is_not_begun(trick, data, tmp_path):
    with pytest.raises(ValueError, match=BAD[trick]):
        recipe.train(lambda: Net(trick), data, out=tmp_path / "run", check=False, **QUICK)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("trick", "formats", "message"),
    [
        ("", ["state", "timm"], r"timm cannot hold the student .*: it is no network of timm"),
        ("counts", ["pt2"], "torch.export cannot trace the student"),
        ("", ["onx"], "unknown format 'onx': choose from onnx"),
    ],
)
def test_an_export_that_would_fail_is_told_before_the_training(
    trick, formats, message, data, tmp_path, monkeypatch
):
    from asterism.exporters import EXPORTERS

    monkeypatch.setattr(type(EXPORTERS["timm"]), "libraries", ())
    with pytest.raises(ValueError, match=message):
        recipe.train(lambda: Net(trick), data, out=tmp_path / "run", export=formats, **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_run_ends_with_the_exports_that_were_asked_for(data, tmp_path):
    """And one that was stopped has them when it goes on."""
    out = str(tmp_path / "run")
    words = ["train", "--model", "mlp", "--data", data, "--limit-steps", "2", "--batch-size", "16"]
    assert main([*words, "--export", "state,pt2", "--out", out]) == 0
    assert (tmp_path / "run" / "export" / "pt2" / "model.pt2").is_file()
    student = asterism.load(out)
    again = asterism.load(f"{out}/export/state")
    images = torch.rand(3, *PIXELS)
    assert torch.equal(student(images).logits, again(images).logits)
    shutil.rmtree(f"{out}/export")
    (tmp_path / "run" / "result.json").unlink()
    assert main(["train", "--resume", "--out", out]) == 0
    assert (tmp_path / "run" / "export" / "state" / "export.json").is_file()


def test_a_teacher_must_take_a_single_sample_too(data, tmp_path):
    with pytest.raises(ValueError, match="the teacher must take a single sample"):
        recipe.distill(Net("squeeze"), "mlp", data, out=tmp_path / "run", **QUICK)


def test_student_and_teacher_share_no_weights(data, tmp_path):
    student, teacher = Net(), Net()
    student.body = teacher.body
    with pytest.raises(ValueError, match="they share module.body.weight"):
        recipe.distill(teacher, student, data, out=tmp_path / "run", **QUICK)


def test_a_rehearsal_changes_nothing(data, monkeypatch):
    def opened():
        request = Request(student="mlp", data=data, settings=Settings(batch_size=16))
        found = open_training(request).student
        return {**found.state_dict(), "drawn": torch.rand(1), "numpy": np.random.rand(1)}

    whole = opened()
    monkeypatch.setattr("asterism.training.opening.rehearse", lambda training: None)
    without = opened()
    assert whole.keys() == without.keys()
    assert all((whole[key] == without[key]).all() for key in whole)


def test_a_measure_that_fails_is_left_out_and_named(data, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(tasks, "linear_probe", fails)
    monkeypatch.setattr("asterism.verdict.cost", fails)
    monkeypatch.setattr(training.Run, "write_evaluation", fails)
    monkeypatch.setattr(training, "write_report", fails)
    result = recipe.distill(Net(), "mlp", data, out=tmp_path / "run", method=KD(), **QUICK)
    kept = json.loads((result.run / "result.json").read_text())
    assert kept["unmeasured"].keys() == {
        *(f"{who}: linear probe" for who in ("student", "teacher", "untrained")),
        *(f"{who}: cost" for who in ("student", "teacher")),
    }
    assert "no such luck" in kept["unmeasured"]["student: cost"]
    assert result.accuracy is not None
    assert kept["fidelity"]["agreement"] is not None
    asterism.load(result.run)
    monkeypatch.undo()
    assert "Not measured: student: cost" in render([result.run])
