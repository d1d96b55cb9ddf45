"""Whole runs on texts: from a table to a student that stands alone."""

import json
import random

import pytest
import torch
import yaml
from words import WORDS

import asterism
from asterism import RKD, RRD, VRM, recipe
from asterism.run import RunError

SPORT, FOOD = WORDS[-10:-5], WORDS[-5:]
QUICK = {"epochs": 6, "batch_size": 32, "lr": 0.01}


def sentence(draw, topic):
    return " ".join(draw.sample(topic, 3) + draw.sample(WORDS[3:13], draw.randint(1, 7)))


@pytest.fixture(scope="module")
def table(tmp_path_factory, tokenizer):
    """Sentences about sport and food, and a row without a text, without a label, with too much."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "tokenizer.json").write_text(tokenizer)
    draw = random.Random(0)
    rows = [(sentence(draw, (SPORT, FOOD)[i % 2]), ("sport", "food")[i % 2]) for i in range(300)]
    lines = ["text\tlabel", *("\t".join(row) for row in rows)]
    lines += ["\tfood", "the cat\t", "a\tb\tc"]
    (folder / "data.tsv").write_text("\n".join(lines) + "\n")
    return folder / "data.tsv"


@pytest.fixture(scope="module")
def teacher(table, tmp_path_factory):
    name = f"text-transformer?width=32&tokenizer={table.parent}"
    out = tmp_path_factory.mktemp("t") / "run"
    result = recipe.train(name, str(table), out=out, **QUICK)
    assert result.accuracy > 0.9
    assert yaml.safe_load((out / "config.yaml").read_text())["optimizer"] == "adamw"
    return str(out)


@pytest.mark.parametrize("student", ["text-static?width=16", "text-transformer?width=16&layers=1"])
def test_distillation_of_texts_from_end_to_end(student, table, teacher, tmp_path):
    result = recipe.distill(teacher, student, str(table), out=tmp_path / "run", **QUICK)
    assert result.accuracy > 0.9
    assert result.recall_at_1 > 0.9
    named = [name.split(", ")[1] for name in result.evaluation["broken"]]
    assert sorted(named) == [
        "row 301 (no text)", "row 302 (no label)", "row 303 (with 3 cells instead of 2)",
    ]  # fmt: skip
    card = json.loads((result.run / "student.json").read_text())
    assert (card["kind"], card["image_shape"], card["embedding_dim"]) == ("text", None, 16)
    assert recipe.evaluate(result.run).accuracy == result.accuracy

    (tmp_path / "alone").mkdir()  # the folder alone, without data, teacher or tokeniser beside it
    for file in ("student.json", "student.safetensors", "tokenizer.json"):
        (result.run / file).rename(tmp_path / "alone" / file)
    texts = ["goal won the match", "salt on bread", "tasty soup", "the team"]
    student = asterism.load(tmp_path / "alone")
    outputs = student.embed(texts)
    assert outputs.logits.argmax(1).tolist() == [1, 0, 0, 1]  # food, sport
    torch.testing.assert_close(student(texts), result.student(texts))
    assert student.embed(texts * 100).embedding.shape == (400, 16)
    (tmp_path / "alone" / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        asterism.load(tmp_path / "alone")
    (tmp_path / "alone" / "tokenizer.json").unlink()
    with pytest.raises((FileNotFoundError, RunError), match=r"has no tokenizer\.json"):
        asterism.load(tmp_path / "alone")


def test_without_labels_from_lines_and_from_a_cache(table, teacher, tmp_path):
    lines = [line.split("\t")[0] for line in table.read_text().splitlines()[1:301]]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, ""]))
    options = {**QUICK, "teacher_cache": tmp_path / "cache"}
    results = [
        recipe.distill(
            teacher, "text-static?width=16", data, out=tmp_path / name,
            method=[RKD(), RRD(bank_size=64, dim=16)], **options,
        )
        for name, data in (("a", str(tmp_path / "lines.txt")), ("b", lines))
    ]  # fmt: skip
    one, two = results
    assert one.accuracy is None
    assert one.evaluation["fidelity"]["distance_correlation"] > 0.7
    assert torch.equal(*(r.student(lines[:9]).embedding for r in (one, two)))
    assert len(list((tmp_path / "cache").iterdir())) == 1  # the same texts, the same table
    usual = recipe.distill(teacher, "text-static?width=16", lines, out=tmp_path / "c", **options)
    methods = yaml.safe_load((usual.run / "config.yaml").read_text())["method"]
    assert [each["class_path"] for each in methods] == [
        "asterism.Anchored",
        "asterism.Neighbourhood",
    ]
    assert asterism.load(usual.run, aligned=True)(lines[:9]).embedding.shape == (9, 32)


def test_what_does_not_fit_texts_is_refused(table, teacher, tmp_path):
    out = {"out": tmp_path / "run", **QUICK}
    with pytest.raises(ValueError, match="VRM needs augmented views.*a text has one clean view"):
        recipe.distill(teacher, "text-static", str(table), method=VRM(), **out)
    with pytest.raises(ValueError, match="resnet20 takes images, and the data are texts"):
        recipe.distill(teacher, "resnet20", str(table), **out)
    with pytest.raises(ValueError, match="run takes texts, and the data are images"):
        recipe.distill(teacher, "mlp", "digits", **out)
    with pytest.raises(ValueError, match="the teacher cannot take texts"):
        recipe.distill(torch.nn.Flatten(), "text-static", str(table), **out)
    assert not (tmp_path / "run").exists()
