"""Tests for asterism/run.py."""

import json
import multiprocessing

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


def test_a_used_folder_is_refused_resumed_or_replaced(run):
    with pytest.raises(RunError, match="holds a finished run: go on with --resume"), run.writing():
        pass
    with run.writing(resume=True):
        assert run.read_config()["epochs"] == 3
    (run.path / "result.json").unlink()
    with pytest.raises(RunError, match="holds an unfinished run"), run.writing():
        pass
    with run.writing(overwrite=True):
        assert {p.name for p in run.path.iterdir()} == {".lock"}


def test_what_a_killed_process_had_begun_to_write_is_in_nobodys_way(run):
    (run.path / ".result.json.a1b2c3d4").write_text("{")
    with run.writing(overwrite=True):
        assert {p.name for p in run.path.iterdir()} == {".lock"}
    (run.path / ".thesis.tex.a1b2c3d4").write_text("years of work")
    with pytest.raises(RunError, match=r"holds \.thesis\.tex\.a1b2c3d4, which is no part"):
        with run.writing(overwrite=True):
            pass


def test_looking_whether_a_folder_is_in_use_makes_none(tmp_path):
    assert not Run(tmp_path / "new").in_use()
    assert not (tmp_path / "new").exists()


def test_a_folder_of_something_else_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(RunError, match=r"holds thesis\.tex, which is no part of a run"):
            with Run(tmp_path).writing(**options):
                pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def hold(path, held, release):
    with Run(path).writing():
        held.set()
        release.wait(30)


def test_a_folder_in_use_is_refused_and_the_lock_dies_with_its_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", held, release))
    process.start()
    assert held.wait(60)
    with pytest.raises(RunError, match="in use by a run that is still going on"):
        with Run(tmp_path / "run").writing():
            pass
    process.kill()
    process.join()
    with Run(tmp_path / "run").writing():
        pass


def test_metrics_survive_a_crash_and_can_be_cut_back(run):
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    assert [line["step"] for line in run.read_metrics()] == [1, 2, 3]
    run.cut_metrics(2)
    run.append_metrics({"step": 3})
    assert [line["step"] for line in run.read_metrics()] == [1, 2, 3]


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
