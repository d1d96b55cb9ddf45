"""Tests for asterism/recipe/transfer.py and asterism/cli/probe.py: a frozen student elsewhere."""

import json

import numpy as np
import pytest
import torch

import asterism
from asterism.cli import main
from asterism.data import open_source
from asterism.data.array import digits
from asterism.measures import knn_accuracy, linear_probe
from asterism.modality import IMAGE

NAMES = np.array("five six seven eight nine".split())


@pytest.fixture(scope="module")
def place(tmp_path_factory, taught):
    """Digits from five on as other data: large, in colour, of other proportions; and a student."""
    place = tmp_path_factory.mktemp("probe")
    source = digits()[0]
    x, y = source.samples[:, 0].numpy(), source.targets.numpy()
    rows = np.flatnonzero(y >= 5)[:300]
    y, x = y[rows] - 5, np.kron(x[rows], np.ones((2, 3), np.uint8))
    x = np.stack([x] * 3, 1)
    turned = NAMES[[3, 4, 0, 1, 2]]  # number n is that of class (n + 3) % 5 now
    parts = {
        "learn": {"x": x[:150], "y": y[:150], "names": NAMES},
        "turned": {"x": x[150:], "y": (y[150:] + 2) % 5, "names": turned},
        "mixed": {"x": x[150:], "y": y[150:], "names": [*NAMES[:3], "eleven", "twelve"]},
        "others": {"x": x[:50], "y": y[:50], "names": list("abcde")},
        "one": {"x": x[y == 0], "y": y[y == 0]},
        "nameless": {"x": x},
        "rows": {"x": np.zeros((9, 4), np.float32), "y": np.arange(9) % 2},
    }
    for name, arrays in parts.items():
        np.savez(place / f"{name}.npz", **arrays)
    options = {"epochs": 1, "limit_steps": 3, "batch_size": 64, "check": False}
    asterism.distill(taught, "convnet?width=4", "digits", out=place / "student", **options)
    return place


def test_figures_are_those_of_the_measures_on_the_frozen_embeddings(place):
    """On parts whose classes are numbered otherwise, brought to size and channels."""
    parts = place / "learn.npz", place / "turned.npz"
    made = asterism.probe(place / "student", parts[0], test_data=parts[1], solver="sgd")
    student, rows = asterism.load(place / "student"), []
    for part in map(open_source, parts):
        images = IMAGE.brought(part.samples, (1, 8, 8)).float() / 255
        numbers = torch.tensor([NAMES.tolist().index(name) for name in part.names])
        rows += [student(images), numbers[part.targets]]
    learnt, tested = ((rows[i].embedding.detach(), rows[i + 1]) for i in (0, 2))
    assert made.student.probe == linear_probe(*learnt, *tested, solver="sgd")
    assert made.student.knn == pytest.approx(knn_accuracy(*learnt, *tested))
    assert (made.learnt, made.tested, made.classes) == (150, 150, 5)
    assert made.teacher.probe > 0.8
    assert made.teacher.width == 128 != made.student.width
    kept = made.plain()["student_minus_teacher"]["knn"]
    assert kept["value"] == pytest.approx(made.student.knn - made.teacher.knn)
    assert kept["low"] < kept["value"] < kept["high"]


def test_a_share_is_held_class_by_class_and_all_is_told_and_kept(place, tmp_path, capsys):
    out, data = tmp_path / "deep" / "found.json", place / "learn.npz"
    command = ["probe", str(place / "student"), "--data", str(data), "--test-share", "0.3"]
    assert main([*command, "--out", str(out)]) == 0
    told, found = capsys.readouterr(), json.loads(out.read_text())
    assert "images of 24×16 (median) are brought to 8×8" in told.err
    assert "images are made grey" in told.err
    sizes = np.bincount(np.load(data)["y"])
    held = sum(round(0.3 * size) for size in sizes.tolist())
    assert (found["learnt"], found["tested"], found["classes"]) == (150 - held, held, 5)
    assert f"{100 * found['student']['probe']['value']:.1f}" in told.out
    assert "Student less teacher" in told.out
    assert main([*command, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*command, "--out", str(out), "--overwrite", "--student-only"]) == 0
    again = json.loads(out.read_text())
    assert again["student"] == found["student"]  # nothing is drawn but by the seed
    assert again["teacher"] is None


def test_classes_that_are_not_learnt_are_left_out_and_counted(place, capsys):
    options = {"test_data": place / "mixed.npz", "teacher": False}
    made = asterism.probe(place / "student", place / "learn.npz", **options)
    cosine = asterism.probe(place / "student", place / "learn.npz", metric="cosine", **options)
    assert (made.metric, cosine.metric) == ("euclidean", "cosine")
    assert cosine.student.probe == made.student.probe
    assert cosine.student.knn != made.student.knn
    assert 0 < made.tested < 150
    assert f"{150 - made.tested} of these are of classes that are not learnt" in "".join(made.lines)


def test_a_teacher_that_is_gone_is_told_and_one_that_is_named_is_needed(place, tmp_path):
    run, data = tmp_path / "student", place / "learn.npz"
    run.mkdir()
    for file in (place / "student").iterdir():
        if file.is_file():
            text = file.name == "config.yaml"
            content = file.read_bytes()
            (run / file.name).write_bytes(
                content.replace(b"teacher-of", b"gone-of") if text else content
            )
    made = asterism.probe(run, data)
    assert made.teacher is None
    assert "the teacher is not measured: " in made.lines[-1]
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        asterism.probe(run, data, teacher=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nameless.npz"], "the data have no labels"),
        (["--data", "learn.npz", "--test-data", "nameless.npz"], "the test data have no labels"),
        (["--data", "learn.npz", "--test-data", "others.npz"], "no class of the data"),
        (["--data", "one.npz"], "two classes at least"),
        (["--data", "rows.npz"], "the student takes images of shape"),
        (["--data", "learn.npz", "--test-share", "1"], "must lie between 0 and 1"),
        (["--data", "learn.npz", "--solver", "adam"], "solver"),
    ],
)
def test_what_cannot_be_probed_is_said_in_a_sentence(options, message, place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    assert main(["probe", "student", *options]) == 2
    error = capsys.readouterr().err
    assert message in " ".join(error.split())
    assert "Traceback" not in error
