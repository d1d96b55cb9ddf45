"""Tests for asterism/training/default.py: the methods of a training that names none."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from words import WORDS

from asterism import RKD
from asterism.cli import main
from asterism.modality import ARRAY
from asterism.models import Spec, build
from asterism.request import Request
from asterism.run import Run
from asterism.training import open_training


@pytest.mark.parametrize(
    ("student", "labels", "expected"),
    [
        ("convnet?width=4", True, ["VRM"]),  # it ends in a ReLU
        ("convnet?width=4&dim=12", True, ["VRM", "Anchored"]),
        ("convnet?width=4", False, ["Neighbourhood"]),
        ("convnet?width=4&dim=12", False, ["Anchored", "Neighbourhood"]),
    ],
)
def test_it_is_chosen_by_what_is_known_told_and_kept(
    student, labels, expected, taught, tmp_path, capsys
):
    out = tmp_path / "run"
    typed = ["--teacher", taught, "--student", student, "--data", "digits", "--out", str(out)]
    how = ["--limit-steps", "2", "--no-check", "--no-report", "--labels", str(labels).lower()]
    assert main(["distill", *typed, *how]) == 0
    told = capsys.readouterr().err
    assert told.count("method: ") == 1
    assert " by default: " in told
    kept = Run(out).read_config()["method"]
    assert [each["class_path"] for each in kept] == [f"asterism.{name}" for name in expected]


@pytest.mark.parametrize(
    ("recipe", "data", "expected", "told"),
    [
        ("fast", "pictures", ["KD", "Anchored"], "KD . 5 Anchored by recipe fast: labels"),
        (None, "pictures", ["VRM", "Anchored"], "VRM . 5 Anchored by default: labels"),
        ("best", "pictures", ["VRM", "Anchored"], "VRM . 5 Anchored by recipe best: labels"),
        (None, "rows", ["KD", "Anchored"], "KD . 5 Anchored by default: labels"),
        ("best", "rows", ["KD", "Anchored"], "KD . 5 Anchored by recipe best: .*VRM is left out"),
        (
            "best",
            "unlabelled",
            ["Anchored", "Neighbourhood"],
            "Anchored . 0.3 Neighb.* recipe best",
        ),
    ],
)
def test_a_recipe_says_what_methods_may_cost(recipe, data, expected, told, tmp_path):
    torch.manual_seed(0)
    pictures = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8).numpy()
    labels = {"y": np.arange(40) % 2} if data != "unlabelled" else {}
    rows = pictures.reshape(40, -1).astype("f4")
    np.savez(tmp_path / "data.npz", x=rows if data == "rows" else pictures, **labels)
    shape = (192,) if data == "rows" else (3, 8, 8)
    teacher = build("mlp", Spec(2, shape, modality=ARRAY if data == "rows" else None))
    request = Request(
        teacher=teacher, student="mlp?dim=4", data=str(tmp_path / "data.npz"), recipe=recipe
    )
    training = open_training(request)
    assert [type(each).__name__ for each in training.methods] == expected
    assert re.match(told, training.account.method)
    with pytest.raises(ValueError, match="recipe chooses methods, and some are named"):
        open_training(replace(request, recipe="fast", method=RKD()))


def test_what_a_user_names_is_left_as_it_is(taught):
    request = Request(teacher=taught, student="convnet?width=4", data="digits", method=RKD())
    training = open_training(request)
    assert training.methods == (request.method,)
    assert training.account.method is None


def test_a_teacher_of_outputs_alone_is_matched_in_its_principal_coordinates(tmp_path):
    rows = np.random.default_rng(0).normal(size=(1297, 20)).astype("f4") + 5
    np.save(tmp_path / "rows.npy", rows)
    request = Request(
        teacher=str(tmp_path / "rows.npy"), student="mlp?dim=8", data="digits", labels=False
    )
    training = open_training(request)
    anchored = training.methods[0]
    assert anchored.map.shape == (20, 8)
    assert np.allclose(anchored.mean, rows[training.data.train].mean(0), atol=0.05)


@pytest.mark.parametrize("student", ["text-static?width=8", "text-transformer?width=8&layers=1"])
def test_rows_have_unit_length_where_the_teachers_have(student, tokenizer):
    texts = [f"the {a} sat on a {b}" for a in WORDS[8:20] for b in WORDS[8:20]]
    for unit, typed, expected in [
        ("true", "", True),
        ("true", "&unit=false", False),
        ("false", "", False),
    ]:
        teacher = build(f"text-static?width=12&unit={unit}", Spec(None, None, tokenizer=tokenizer))
        training = open_training(Request(teacher=teacher, student=student + typed, data=texts))
        lengths = training.student(texts[:5]).embedding.norm(dim=1)
        assert bool(((lengths - 1).abs() < 1e-4).all()) == expected
        assert ("unit=true" in training.card["model"]) == expected  # so that it is loaded as such
        assert training.request.settings.metric == ("cosine" if unit == "true" else None)
