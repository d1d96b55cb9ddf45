"""Tests for asterism/teachers/description.py: what a cache says of the teacher itself."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from words import WORDS

import asterism
from asterism import RKD, recipe
from asterism.data import Data, TextSource
from asterism.models import Spec, build
from asterism.teachers import description as description_module
from asterism.teachers import open_teacher

TEXTS = [f"the {a} sat on a {b}" for a in WORDS[8:] for b in WORDS[10:20]]
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.01, "report": False, "overwrite": True}
STUDENTS = [
    f"{name}&start={start}&sif=0.01"
    for name in ("text-static?width=8", "text-transformer?width=8&layers=1")
    for start in ("teacher", "alone", "random")
] + ["text-static?width=8"]


@pytest.fixture(scope="module")
def teacher(tokenizer, tmp_path_factory):
    """The run folder of a teacher of texts."""
    folder = tmp_path_factory.mktemp("t")
    (folder / "tokenizer.json").write_text(tokenizer)
    data = folder / "data.tsv"
    rows = [f"{text}\t{'ab'[i % 2]}" for i, text in enumerate(TEXTS)]
    data.write_text("\n".join(["text\tlabel", *rows]) + "\n")
    name = f"text-transformer?width=24&layers=1&tokenizer={folder}"
    recipe.train(
        name, str(data), out=folder / "run", **{k: v for k, v in QUICK.items() if k != "report"}
    )
    return folder / "run"


@pytest.fixture(scope="module")
def cache(teacher, tmp_path_factory):
    """A cache whose teacher is gone."""
    gone = Path(shutil.copytree(teacher, tmp_path_factory.mktemp("gone") / "run"))
    folder = tmp_path_factory.mktemp("c") / "cache"
    recipe.cache(gone, TEXTS, out=folder, dtype="float32")
    shutil.rmtree(gone)
    return folder


@pytest.fixture
def copy(cache, tmp_path):
    """A copy that may be spoilt."""
    return Path(shutil.copytree(cache, tmp_path / "copy"))


@pytest.fixture(scope="module")
def data():
    source = TextSource(TEXTS)
    return Data(source, torch.arange(len(TEXTS)), torch.arange(9))


@pytest.mark.parametrize("student", STUDENTS)
def test_a_student_begins_beside_a_cache_as_beside_the_teacher(student, teacher, cache, data):
    begun = []
    for name in (teacher, cache):
        spec = Spec(None, None, vocabulary=open_teacher(name, data).vocabulary)
        torch.manual_seed(0)
        begun.append(build(student, spec).state_dict())
    assert all(torch.equal(value, begun[1][key]) for key, value in begun[0].items())


@pytest.mark.parametrize("student", ["text-static?width=8", "text-transformer?width=8&start=alone"])
def test_both_ways_give_the_same_student(student, teacher, cache, tmp_path):
    """A network with `--teacher-cache`, and a cache of one that is gone."""
    ways = {"live": (teacher, tmp_path / "kept"), "cached": (cache, None)}
    made = [
        recipe.distill(
            name, student, TEXTS, method=RKD(), out=tmp_path / way, teacher_cache=folder, **QUICK
        )
        for way, (name, folder) in ways.items()
    ]
    one, two = (result.student.state_dict() for result in made)
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_the_saving_is_known_from_a_cache(teacher, cache, tmp_path):
    live, found = (
        recipe.distill(
            name, "text-static?width=8", TEXTS, method=RKD(), out=tmp_path / way, **QUICK
        )
        for way, name in (("live", teacher), ("cached", cache))
    )
    costs = [result.evaluation["teacher"]["cost"] for result in (live, found)]
    assert set(costs[0]["latency_ms"]) == set(costs[1]["latency_ms"]) != set()
    for cost in costs:
        del cost["latency_ms"], cost["flops"]  # of one text another one is longer
        assert set(cost.pop("quartiles_ms")) == {1, 64}
        assert cost.pop("passes") > 1
    assert costs[0] == costs[1]
    for words in ("of its parameters", "times its speed"):
        assert words in found.evaluation["headline"]


def test_times_of_another_machine_are_left_out(copy, data, monkeypatch):
    monkeypatch.setattr(description_module, "_machine", lambda: "an abacus")
    card = open_teacher(copy, data).card
    assert (card.cost.latency_ms, card.cost.quartiles_ms) == ({}, {})
    assert card.cost.parameters == card.parameters
    assert "CPU" in card.cost.machine


def test_class_names_are_kept(tokenizer, tmp_path, data):
    model = build("text-static?width=8", Spec(2, None, tokenizer=tokenizer))
    model.classes = ("sport", "food")
    recipe.cache(model, TEXTS, out=tmp_path / "cache")
    card = open_teacher(tmp_path / "cache", data).card
    assert (card.names, card.classes, card.kinds) == (("sport", "food"), 2, ("float32",))


def test_a_cache_of_an_earlier_version_opens(copy, teacher, tokenizer, data, tmp_path, capsys):
    for name in ("tokenizer.json", "tokens.safetensors", "teacher.json"):
        (copy / name).unlink()
    found = open_teacher(copy, data)
    assert (found.card.width, found.card.cost) == (24, None)
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    options = {"method": RKD(), "out": tmp_path / "run", **QUICK}
    with pytest.raises(ValueError, match="no teacher that has one: name one"):
        recipe.distill(copy, "text-static", TEXTS, **options)
    named = f"text-static?width=8&tokenizer={tmp_path}"
    for start in ("teacher", "alone"):
        with pytest.raises(ValueError, match=f"start={start} .*the same `asterism cache` adds it"):
            recipe.distill(copy, f"{named}&start={start}", TEXTS, **options)
    capsys.readouterr()
    recipe.distill(copy, named, TEXTS, **options)
    said = capsys.readouterr().err
    assert said.count("begin at random: ") == 1
    before = {p: p.read_bytes() for p in copy.rglob("*/*/*.safetensors")}
    recipe.cache(teacher, TEXTS, out=copy, dtype="float32")
    assert {p: p.read_bytes() for p in before} == before
    assert open_teacher(copy, data).vocabulary.alone().shape == (len(WORDS), 24)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("tokens.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "sha256 is not the one"),
        ("tokens.safetensors", lambda b: b[:99], "damaged or cut short"),
        ("tokenizer.json", lambda b: b.replace(b"soup", b"soap"), "another shard than its name"),
        ("tokenizer.json", lambda b: b"\xff", "tokenizer.json is damaged"),
        ("teacher.json", lambda b: b[:-9], "teacher.json is damaged"),
        ("teacher.json", lambda b: b"[" * 10**5, "teacher.json is damaged"),
        ("teacher.json", lambda b: json.dumps({**json.loads(b), "names": ["a"]}).encode(),
         "it names 1 classes of 2"),
        ("teacher.json", lambda b: b.replace(b'"bytes": ', b'"bytes": -'), "a count is none"),
        ("teacher.json", lambda b: b" " * (2**24 + 1), "more than such a file has"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named(name, spoil, message, copy, data):
    (copy / name).write_bytes(spoil((copy / name).read_bytes()))
    with pytest.raises(ValueError, match=message):
        open_teacher(copy, data).vocabulary.own()


def test_weights_of_half_precision_are_kept_as_short(tokenizer, tmp_path, data):
    model = build("text-static?width=64", Spec(None, None, tokenizer=tokenizer)).half().float()
    recipe.cache(model, TEXTS, out=tmp_path / "cache")
    size = (tmp_path / "cache" / "tokens.safetensors").stat().st_size
    assert size < 2 * 2 * 64 * len(WORDS) + 1000  # two tables of two bytes a number
    kept = open_teacher(tmp_path / "cache", data).vocabulary
    assert torch.equal(kept.own(), model.tokens.weight)


def test_a_teacher_of_pictures_has_no_tokens(tmp_path):
    images = torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8)
    recipe.cache(build("mlp", Spec(None, (3, 8, 8))), asterism.data.ArraySource(images),
                 out=tmp_path / "cache", views=1)  # fmt: skip
    named = {p.name for p in (tmp_path / "cache").iterdir()}
    assert named & {"tokens.safetensors", "tokenizer.json", "teacher.json"} == {"teacher.json"}
