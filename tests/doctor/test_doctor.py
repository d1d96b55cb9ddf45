"""Tests for asterism/doctor, its command, and the check before a training."""

import json
import time

import numpy as np
import pytest
import torch
from faulty import Changed, by_subject, relabelled
from words import WORDS

from asterism import KD, RKD, doctor, recipe
from asterism.cli import main
from asterism.recipe import examine
from asterism.request import Request
from asterism.training import open_training


@pytest.fixture(scope="module")
def texts(tmp_path_factory, tokenizer):
    """Texts of two topics, a teacher's outputs for them, and a tokenizer.json."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "tokenizer.json").write_text(tokenizer)
    draw = np.random.default_rng(0)
    topics = [WORDS[-10:-5], WORDS[-5:]]
    rows = [" ".join(draw.choice(topics[i % 2], 4)) + f" {i}" for i in range(200)]
    lines = [f"{text}\t{i % 2}" for i, text in enumerate(rows)]
    (folder / "texts.tsv").write_text("\n".join(["text\tlabel", *lines, ""]))
    (folder / "lines.txt").write_text("\n".join([*rows, ""]))
    known = [[text.split().count(word) for word in WORDS] for text in rows]
    np.save(folder / "teacher.npy", np.array(known, np.float32) + draw.normal(0, 0.1, (200, 25)))
    return folder


@pytest.mark.parametrize("data", ["texts.tsv", "lines.txt"])
def test_texts_and_a_teacher_that_is_only_its_outputs(texts, data):
    student = f"text-static?width=16&tokenizer={texts}"
    options = {"batch_size": 32, "epochs": 2, "method": RKD()}
    findings = examine(str(texts / "teacher.npy"), student, str(texts / data), **options)
    assert [f for f in findings if f.severity != "ok"] == []
    found = by_subject(findings)
    assert "a file of outputs, embedding 25 wide" in found["teacher"].found
    assert not found.keys() & {"pictures", "teacher's mode", "teacher's preprocessing"}
    assert ("teacher's knowledge" in found) == (data == "texts.tsv")
    assert ("term task" in found) == (data == "texts.tsv")


def test_a_training_without_a_teacher():
    found = by_subject(examine(None, "mlp", "digits", epochs=2, batch_size=64))
    assert "term task" in found
    assert not any("teacher" in text for f in found.values() for text in (f.subject, f.found))


COMMAND = ["--student", "mlp", "--data", "digits", "--epochs", "1", "--no-report"]


def test_the_command_as_it_is_typed(run, tmp_path, capsys):
    """A distillation with the other verb is a command, and says by its code how it went."""
    command = [*COMMAND, "--teacher", run, "--method", "KD", "--out", str(tmp_path / "run")]
    assert main(["doctor", *command]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "teacher's knowledge accuracy 9" in shown
    assert "Nothing speaks against this training." in shown
    assert not (tmp_path / "run").exists()
    assert main(["distill", *command]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("asterism: ")]
    assert [line.split(":")[1] for line in said] == [" teacher's knowledge"]  # nothing against it
    config = ["--config", str(tmp_path / "run" / "config.yaml")]
    assert main(["doctor", *config, "--method.weight", "1e6", "--format", "json"]) == 1
    findings = {f["subject"]: f for f in json.loads(capsys.readouterr().out)}
    assert findings["term kd"]["severity"] == "wrong"
    assert findings["term kd"]["figures"]["ratio"] > 1e4
    assert main(["doctor", *command, "--epochs", "none"]) == 2
    assert main(["doctor", "--teacher", run]) == 2
    assert "asterism doctor needs --student and --data" in capsys.readouterr().err


def distilled(teacher, out, **options):
    options = {"method": KD(), "limit_steps": 3, "report": False} | options
    return recipe.distill(teacher, "mlp", "digits", out=out, **options)


def test_before_a_training_a_fault_is_told_and_nothing_is_changed(teacher, tmp_path, capsys):
    wrong = Changed(teacher, after=relabelled([9, 0, 1, 2, 3, 4, 5, 6, 7, 8]))
    checked = distilled(wrong, tmp_path / "a")
    told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("asterism: ")]
    assert len(told) == 2
    assert "wrong: teacher's knowledge: accuracy" in told[0]
    assert "labels are off by one" in told[0]
    assert "`asterism doctor` tells more; --no-check leaves this out." in told[1]
    unchecked = distilled(wrong, tmp_path / "b", check=False)
    distilled(wrong, tmp_path / "a", resume=True)
    assert "asterism: " not in capsys.readouterr().err
    for name, value in checked.student.state_dict().items():
        assert torch.equal(value, unchecked.student.state_dict()[name])


def test_a_check_that_fails_stops_no_training(teacher, tmp_path, capsys, monkeypatch):
    def fail(training):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(doctor, "check_quickly", fail)
    distilled(teacher, tmp_path / "a")
    assert "the check before the training failed (RuntimeError: nobody" in capsys.readouterr().err
    assert (tmp_path / "a" / "student.safetensors").exists()


def test_before_a_training_the_check_takes_a_moment(teacher):
    """Of a slow teacher it sees a few samples, and it tries a normalisation on a weak one alone."""
    seen = []

    def before(x):
        seen.append(len(x))
        time.sleep(0.3)
        return 0.1 * x + 2

    weak = Changed(teacher, before=before)
    training = open_training(
        Request(teacher=weak, student="mlp", data="digits", method=KD(), image_size=8)
    )
    seen.clear()
    found = by_subject(doctor.check_quickly(training))
    assert "teacher's preprocessing" in found
    assert sum(seen) < 200
