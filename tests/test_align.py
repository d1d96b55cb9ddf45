"""Tests for asterism/align.py: the map into the teacher's space."""

import json
import shutil

import numpy as np
import pytest
import torch

import asterism
from asterism import RKD, recipe
from asterism.alignment import align
from asterism.cli import main
from asterism.data import open_data
from asterism.report import read_accounts
from asterism.run import RunError
from asterism.verdict import encoder_of, outputs_on

QUICK = {"epochs": 6, "batch_size": 64, "lr": 0.05}


@pytest.fixture(scope="module")
def distilled(taught, tmp_path_factory):
    """A student of relations alone, narrower than its teacher."""
    folder = tmp_path_factory.mktemp("align")
    shutil.copytree(taught, folder / "teacher")
    options = {"method": RKD(), "labels": False, "out": folder / "run", **QUICK}
    recipe.distill(str(folder / "teacher"), "convnet?width=8", "digits", **options)
    return folder


def test_the_aligned_student_searches_the_teachers_index(distilled):
    run = distilled / "run"
    found = align(run)
    data = open_data("digits")
    rows = torch.arange(500)
    student = asterism.load(run, aligned=True)
    queries = outputs_on(encoder_of(student), data.test, rows).outputs.embedding
    teacher = encoder_of(asterism.load(distilled / "teacher"))
    index = outputs_on(teacher, data.test, rows).outputs.embedding
    assert queries.shape == index.shape == (500, 128)
    apart = torch.cdist(queries.double(), index.double())
    place = (apart < apart.diagonal()[:, None]).sum(1)
    for k in (1, 10):
        quality = found["quality"][f"item_recall@{k}"]
        assert quality["value"] == pytest.approx(float((place < k).double().mean()), abs=0.005)
        assert quality["low"] <= quality["value"] <= quality["high"]
    assert found["quality"]["item_recall@10"]["value"] > 0.5  # by chance 0.02
    best = max(found["held_out_recall"].values(), key=lambda recall: recall["1"])
    assert found["held_out_recall"][found["kind"]]["1"] == best["1"]
    assert found["rows"] == len(data.train)
    assert found["parameters"] == 32 * 128 + 128
    stored = json.loads((run / "aligner.json").read_text())
    assert len(stored.pop("sha256")) == 64
    assert stored == found
    result = json.loads((run / "result.json").read_text())
    assert result["aligner"] == found
    align(run)  # once more: its measures are replaced
    (account,) = read_accounts([run])
    shown = {m.label: m for m in account.measures if m.name.endswith("stored map")}
    assert len(shown) == len(found["quality"]) == 4
    share = shown["own item, stored map@10"].student.value
    assert share == pytest.approx(100 * found["quality"]["item_recall@10"]["value"])
    page = (run / "report.html").read_text()
    assert "a ridge map from 32 to 128 columns, 4,224 numbers" in page.replace(
        "procrustes", "ridge"
    )
    plain = asterism.load(run)(torch.rand(2, 1, 8, 8))
    assert plain.embedding.shape == (2, 32)


def test_embeddings_of_a_file_do_as_well_as_the_teacher(distilled, tmp_path, capsys):
    data = open_data("digits")
    teacher = asterism.load(distilled / "teacher")
    rows = torch.arange(len(data.source))
    taught = outputs_on(encoder_of(teacher), data.source, rows).outputs
    np.save(tmp_path / "index.npy", taught.embedding.numpy())
    by_teacher = align(distilled / "run")
    assert main(["align", str(distilled / "run"), "--to", str(tmp_path / "index.npy")]) == 0
    shown = capsys.readouterr().out
    assert f"a {by_teacher['kind']} map from 32 to 128 columns" in shown
    assert "of 130 (validation" in " ".join(shown.split())
    found = json.loads((distilled / "run" / "aligner.json").read_text())
    assert found["held_out_recall"] == by_teacher["held_out_recall"]
    assert found["to"] == str(tmp_path / "index.npy")


def test_says_what_it_needs(distilled, tmp_path, capsys):
    run = distilled / "run"
    with pytest.raises(FileNotFoundError, match="is no run folder"):
        align(tmp_path)
    with pytest.raises(ValueError, match="names no teacher that can be opened again"):
        align(distilled / "teacher")
    with pytest.raises(FileNotFoundError, match=r"no embeddings at nowhere\.npy"):
        align(run, to="nowhere.npy")
    wrong = np.zeros((3, 4)), np.full((1297, 4), "a"), np.full((1297, 4), np.nan)
    for array, got in zip(wrong, (r"\(3, 4\)", "no floats", r"\(1297, 4\)"), strict=True):
        np.save(tmp_path / "wrong.npy", array)
        with pytest.raises(ValueError, match=f"finite numbers for each of the 1297 .*got {got}"):
            align(run, to=tmp_path / "wrong.npy")
    (tmp_path / "bad.npy").write_bytes(b"\x80\x04junk")
    with pytest.raises(ValueError, match=r"cannot read .*bad\.npy"):
        align(run, to=tmp_path / "bad.npy")
    with pytest.raises(FileNotFoundError, match="has no aligner: `asterism align` fits one"):
        asterism.load(distilled / "teacher", aligned=True)
    assert main(["align", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "{}", '{"student_dim": -3, "teacher_dim": 2}'])
def test_a_damaged_aligner_is_named(distilled, text):
    align(distilled / "run")
    (distilled / "run" / "aligner.json").write_text(text)
    with pytest.raises(RunError, match=r"aligner\.json is damaged"):
        asterism.load(distilled / "run", aligned=True)


def test_a_baseline_is_trained_once_and_compared_with(distilled):
    teacher, out = str(distilled / "teacher"), distilled / "with"
    options = {"out": out, "with_baselines": True, "limit_steps": 20, **QUICK}
    result = recipe.distill(teacher, "convnet?width=8", "digits", **options)
    alone = recipe.evaluate(f"{out}-without-teacher")
    by_name = {(m["name"], m["k"]): m for m in result.evaluation["measures"]}
    compared = by_name["accuracy", None]["baselines"]["without teacher"]
    assert compared["value"] == pytest.approx(100 * alone.accuracy)
    assert compared["verdict"] in ("better", "worse", "equal", "cannot tell")
    options |= {"out": distilled / "given", "with_baselines": False}
    again = recipe.distill(
        teacher, "convnet?width=8", "digits", baseline=f"{out}-without-teacher", **options
    )
    by_name = {(m["name"], m["k"]): m for m in again.evaluation["measures"]}
    assert by_name["accuracy", None]["baselines"]["without teacher"] == compared
