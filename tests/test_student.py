"""Tests for asterism/student.py."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

import asterism
from asterism.models import Spec, build, weights_of
from asterism.run import Run, RunError

CARD = {"model": "convnet?width=8", "classes": 3, "image_shape": [3, 9, 9], "embedding_dim": 32}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    with run.writing():
        run.write_config({"epochs": 3}, {"torch": "2"})
        run.write_student(weights_of(build(CARD["model"], Spec(3, (3, 9, 9)))), CARD)
        run.write_result({"steps": 1})
    return run


def test_load_gives_the_student_back(run, tmp_path):
    student = asterism.load(run.path)
    assert not student.training
    images = torch.rand(2, 3, 9, 9)
    assert student(images).logits.shape == (2, 3)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert student.embed([tmp_path / "a.png"]).embedding.shape == (1, 32)


def test_load_says_what_is_missing(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no run folder: it has no student\.json"):
        asterism.load(tmp_path)
    (run.path / "student.json").unlink()
    with pytest.raises(FileNotFoundError, match="is an unfinished run"):
        asterism.load(run.path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "[" * 100_000, '{"model": "mlp"}', '{"image_shape": [1, 2]}', "\xff"]
)
def test_a_damaged_card_is_named(run, text):
    (run.path / "student.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"student\.json is damaged"):
        asterism.load(run.path)


def test_nothing_named_in_a_run_folder_is_imported(run, tmp_path):
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\ndef make(): pass")
    (run.path / "student.json").write_text(json.dumps(CARD | {"model": f"{trap}:make"}))
    with pytest.raises(RunError, match="nothing named in a run folder is imported: pass factory"):
        asterism.load(run.path)
    assert not (tmp_path / "sprung").exists()


def test_a_students_own_factory(tmp_path):
    run = Run(tmp_path)

    def factory(classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(27, classes))

    with run.writing():
        run.write_student(
            weights_of(build(factory, Spec(3, (3, 3, 3)))), CARD | {"model": "a.py:f"}
        )
    student = asterism.load(run.path, factory=factory)
    assert student(torch.rand(1, 3, 3, 3)).embedding.shape == (1, 27)


def test_weights_that_do_not_fit_are_named(run):
    (run.path / "student.json").write_text(json.dumps(CARD | {"model": "convnet"}))
    with pytest.raises(ValueError, match=r"student\.safetensors does not fit convnet"):
        asterism.load(run.path)
