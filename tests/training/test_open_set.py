"""Classes that training did not see: what is measured on them, what is left out, what selects."""

import json

import numpy as np
import pytest
import torch

from asterism import RKD, Outputs, distill, evaluate, train
from asterism.cli import main
from asterism.data.array import digits
from asterism.verdict.new_classes import new_classes
from asterism.verdict.outputs import Observed
from asterism.verdict.tasks import task

NAMES = np.array("zero one two three four five six seven eight nine".split())
QUICK = {"epochs": 2, "batch_size": 32, "padding": 0, "check": False}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Digits: half of the classes for training, the others, and some of both, for testing."""
    place = tmp_path_factory.mktemp("digits")
    source = digits()[0]
    x, y = source.samples[:, 0].numpy(), source.targets.numpy()
    paths = {}
    for part, classes in {"train": range(5), "new": range(5, 10), "mixed": range(3, 8)}.items():
        rows = np.flatnonzero(np.isin(y, classes))[:200]
        number = np.searchsorted(list(classes), y[rows])
        paths[part] = str(place / f"{part}.npz")
        np.savez(paths[part], x=x[rows], y=number, names=NAMES[list(classes)])
    train("mlp", paths["train"], out=place / "teacher", **QUICK)
    return {**paths, "teacher": place / "teacher"}


def measures(result):
    return {(m["name"], m["k"]): m for m in result["measures"]}


def test_new_classes_are_searched_and_not_classified(parts, tmp_path, capsys):
    place = {"data": parts["train"], "test_data": parts["new"], "out": tmp_path}
    result = distill(parts["teacher"], "mlp", method=RKD(), **place, **QUICK).evaluation
    assert result["new_classes"] == {"classes": 5, "new": 5, "new_rows": result["rows"]}
    found = measures(result)
    for name, k in (("recall", 1), ("MAP@R", None), ("neighbour overlap", 10)):
        assert found[name, k]["student"]["value"] > 30
    assert found["accuracy", None]["student"] is None
    assert not {"calibration error", "k-NN accuracy", "linear probe"} & {name for name, _ in found}
    assert {row["class"] for row in result["per_class"]} == set(NAMES[5:])
    page = (tmp_path / "report.html").read_text()
    assert "classes of their own" in result["headline"]
    assert "classes of their own" in page
    assert main(["evaluate", str(parts["teacher"]), "--data", parts["new"]]) == 0
    assert "classes of their own" in " ".join(capsys.readouterr().out.split())
    assert main(["align", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "result.json").read_text())["aligner"]["searched"] == 200


def test_of_mixed_classes_both_kinds_are_measured(parts):
    result = evaluate(parts["teacher"], data=parts["mixed"]).evaluation
    assert (result["new_classes"]["classes"], result["new_classes"]["new"]) == (5, 3)
    found = measures(result)
    both = {
        found[f"recall, {kind}", 1]["student"]["value"]
        for kind in ("training classes", "new classes")
    }
    assert min(both) <= found["recall", 1]["student"]["value"] <= max(both)
    assert found["accuracy", None]["student"]["value"] > 60  # of the rows of training classes
    assert {row["class"] for row in result["per_class"]} == set(NAMES[3:8])


def test_known_rows_are_classified_as_if_alone():
    """A classifier that is always right on classes it knows, and cannot be on others."""
    target = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])
    logits = 9 * torch.eye(2)[target % 2]
    rows = torch.eye(4)[target] + 0.01 * torch.randn(8, 4)
    seen = Observed(Outputs(rows, logits), target, torch.arange(8), Outputs(rows[:4]), target[:4])
    new = new_classes(target, 2)
    done = task(seen, 2, torch.arange(8), lambda name, measure: measure(), new)
    assert (done.classification.top1, done.knn, done.probe) == (1.0, 1.0, 1.0)
    assert [float(part.recall[1]) for part in done.parts.values()] == [1.0, 1.0]
    assert new_classes(target[:4], 2) is None


def test_kept_classes_select_by_recall(parts, tmp_path):
    """Without them in the classifier, and the same again when the run is opened again."""
    data = {"data": "digits", "validation_classes": 0.2}
    made = train("convnet?width=4", out=tmp_path / "run", epochs=1, **data)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "validation/recall@1" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert made.student(torch.rand(1, 1, 8, 8)).logits.shape == (1, 8)
    assert result["new_classes"]["new"] == 2
    again = evaluate(tmp_path / "run").evaluation
    assert again["new_classes"] == result["new_classes"]
