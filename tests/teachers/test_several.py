"""Tests for asterism/teachers/several.py: several teachers as one."""

import numpy as np
import torch
import torch.nn.functional as F

from asterism import load, recipe
from asterism.cli import main
from asterism.data import open_data
from asterism.models import Spec
from asterism.run import Run
from asterism.teachers import open_teacher
from asterism.teachers.several import side_by_side
from asterism.types import Outputs
from asterism.verdict import outputs_on, teaching
from tests.students import finished_run

SPEC = Spec(10, (1, 8, 8))


def test_cosines_are_the_mean_of_theirs_and_logits_too(embeddings):
    rows = [embeddings(7, width, seed) for seed, width in enumerate((3, 5, 4))]
    scores = [embeddings(7, 2, seed) for seed in (3, 4, 5)]
    together = side_by_side([Outputs(x, z) for x, z in zip(rows, scores, strict=True)])
    cosines = [F.normalize(x) @ F.normalize(x).T for x in rows]
    got = together.embedding @ together.embedding.T
    torch.testing.assert_close(got, torch.stack(cosines).mean(0))
    torch.testing.assert_close(together.logits, sum(scores) / 3)
    assert side_by_side([Outputs(rows[0], scores[0]), Outputs(rows[1])]).logits is None
    other = Outputs(rows[1], embeddings(7, 9))
    assert side_by_side([Outputs(rows[0], scores[0]), other]).logits is None


def test_networks_and_stored_outputs_teach_alike(taught, tmp_path):
    second = finished_run(tmp_path / "second", "mlp?hidden=12", SPEC, "digits")
    data = open_data("digits")
    every = torch.arange(len(data.source))
    encode = teaching(open_teacher(str(second), data))
    embedding, logits = outputs_on(encode, data.source, every).outputs
    np.savez(tmp_path / "second.npz", embedding=embedding.numpy(), logits=logits.numpy())
    live = open_teacher([taught, str(second)], data)
    mixed = open_teacher(f"{taught} + {tmp_path / 'second.npz'}", data)
    assert live.network is not None
    assert mixed.network is None
    assert mixed.one_view
    rows = every[:50]
    ours, theirs = (outputs_on(teaching(x), data.source, rows).outputs for x in (live, mixed))
    torch.testing.assert_close(ours.embedding, theirs.embedding)
    torch.testing.assert_close(ours.logits, theirs.logits)
    assert live.card.width == mixed.card.width == ours.embedding.shape[1]
    assert live.card.classes == mixed.card.classes == 10
    assert live.fingerprint() != open_teacher([str(second), taught], data).fingerprint()


def test_they_are_typed_kept_and_opened_again(taught, tmp_path, monkeypatch, capsys):
    second = finished_run(tmp_path / "second", "mlp?hidden=12", SPEC, "digits")
    monkeypatch.chdir(tmp_path)
    typed = ["--teacher", taught, "--student", "mlp", "--data", "digits", "--teacher=second"]
    how = ["--out", "run", "--limit-steps", "2", "--no-check", "--epochs", "1"]
    assert main(["distill", *typed, *how]) == 0
    assert Run(tmp_path / "run").read_config()["teacher"] == f"{taught} + second"
    monkeypatch.chdir("/")
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert "teacher" in capsys.readouterr().out
    network = load(second).model
    options = {"out": tmp_path / "other", "limit_steps": 2, "check": False, "report": False}
    recipe.distill([taught, network], "mlp", "digits", epochs=1, **options)
    assert "python:" in Run(tmp_path / "other").read_config()["teacher"]
