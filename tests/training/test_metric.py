"""Metric learning from end to end: what selects, what is built, by what neighbours are found."""

import json

import pytest
import torch

from asterism import KD, distill, evaluate, load, train
from asterism.cli import main
from asterism.data.array import digits
from asterism.measures import retrieval

QUICK = {"epochs": 1, "batch_size": 40, "check": False, "steps_per_epoch": 5}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train("convnet?width=8&dim=6", "digits", out=tmp_path_factory.mktemp("metric") / "run",
                 loss="triplet", **QUICK)  # fmt: skip


def test_no_classifier_is_built_and_recall_by_cosine_selects(trained):
    run = trained.run
    last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert last["validation/recall@1"] > 0.2
    result = json.loads((run / "result.json").read_text())
    assert (result["metric"], result["steps"]) == ("cosine", 5)
    assert "by cosine" in result["headline"]
    student = load(run)
    assert student(torch.rand(2, 1, 8, 8)).logits is None
    config = (run / "config.yaml").read_text()
    assert "metric: cosine" in config
    assert "samples_per_class: 5" in config


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_run_is_measured_by_either_metric(trained, metric):
    found = evaluate(trained.run, metric=metric).evaluation
    test = digits()[1]
    rows = load(trained.run)(test.samples / 255).embedding
    expected = retrieval(rows, test.targets, ks=[1], metric=metric).recall[1]
    assert found["student"]["retrieval"]["recall"][1] == pytest.approx(float(expected))


def test_beside_a_method_on_scores_the_student_has_a_classifier(tmp_path):
    teacher = train("mlp", "digits", out=tmp_path / "teacher", **QUICK)
    result = distill(teacher.run, "mlp", "digits", method=KD(), out=tmp_path / "run",
                     loss="contrastive", report=False, **QUICK)  # fmt: skip
    assert result.accuracy is not None
    terms = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert {"train/task", "train/kd"} <= terms.keys()


def test_a_loss_of_labels_is_refused_without_them(tmp_path, capsys):
    command = "distill --teacher mlp --student mlp --data digits --labels false --loss triplet"
    assert main([*command.split(), "--out", str(tmp_path / "run")]) == 2
    assert "the loss triplet is of labels, which are left out" in capsys.readouterr().err
