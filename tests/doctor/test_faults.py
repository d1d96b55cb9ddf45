"""Tests for asterism/doctor: a check speaks of its fault of networks or data, and only then."""

import numpy as np
import pytest
import torch
from faulty import DIGITS, Changed, by_subject, of_embedding, relabelled
from PIL import Image
from torch import nn

from asterism import RKD, Outputs
from asterism.recipe import examine


def half_nan(rows):
    return torch.where(torch.arange(len(rows))[:, None] % 2 == 0, rows, torch.nan)


def often_wrong(outputs):
    rows = [x.roll(i % 10) if i % 5 < 4 else x for i, x in enumerate(outputs.logits)]
    return Outputs(outputs.embedding, torch.stack(rows))


def of_this_batch(x):
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)


def test_nothing_is_said_against_a_training_that_is_well(run):
    findings = examine(run, "mlp", "digits", **DIGITS)
    assert [f for f in findings if f.severity != "ok"] == []
    found = by_subject(findings)
    assert list(found) == [
        "data", "labels", "copies", "student", "teacher", "pictures", "teacher's mode",
        "student's input",
        "teacher's input", "teacher's preprocessing", "student's embedding", "teacher's embedding",
        "teacher's knowledge", "run folder", "term task", "term rkd/distance", "term rkd/angle",
        "term kd/kd", "memory", "time",
    ]  # fmt: skip
    assert found["labels"].figures["classes"] == 10
    assert found["teacher's knowledge"].figures["accuracy"] > 0.9
    assert found["time"].figures["steps"] == 3 * 18
    assert "first layer sees 1×8×8" in found["teacher's input"].found


FAULTS = {
    "another order": (
        {"after": relabelled([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])},
        "teacher's knowledge", "wrong", "another order than the data's",
    ),
    "off by one": (
        {"after": relabelled([9, 0, 1, 2, 3, 4, 5, 6, 7, 8])},
        "teacher's knowledge", "wrong", "off by one (its class 1 is the data's 0)",
    ),
    "scores of another": (
        {"after": lambda o: Outputs(o.embedding, o.embedding.new_ones(len(o.embedding), 10))},
        "teacher's knowledge", "wrong", "its embedding knows the classes and its scores do not",
    ),
    "blind": (
        {"before": torch.zeros_like}, "teacher's knowledge", "wrong",
        "it knows nothing of these classes",
    ),
    "weak": ({"after": often_wrong}, "teacher's knowledge", "look", "a weak teacher"),
    "divided twice": (
        {"before": lambda x: x / 255}, "teacher's input", "wrong", "it divides by 255 once more",
    ),
    "little contrast": (
        {"before": lambda x: 0.1 * x + 2}, "teacher's preprocessing", "wrong",
        "normalise, inside the teacher",
    ),
    "0 to 255": (
        {"before": lambda x: 255 * x}, "teacher's input", "look", "it multiplies them",
    ),
    "the batch's statistics": (
        {"before": of_this_batch}, "teacher's mode", "wrong", "let it use its running statistics",
    ),
    "random": (
        {"after": of_embedding(lambda x: x * torch.rand_like(x))}, "teacher's mode", "wrong",
        "pass `self.training` to its dropout",
    ),
    "collapsed": (
        {"after": of_embedding(lambda x: torch.ones_like(x))}, "teacher's embedding", "wrong",
        "it has collapsed",
    ),
    "hardly used": (
        {"after": of_embedding(lambda x: x * (torch.arange(x.shape[1]) < 30))},
        "teacher's embedding", "look", "most of it says nothing",
    ),
    "not finite": (
        {"after": of_embedding(half_nan)}, "teacher's embedding", "wrong", "division by zero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_teachers_fault_is_found(fault, teacher):
    change, subject, severity, advice = FAULTS[fault]
    findings = examine(Changed(teacher, **change), "mlp", "digits", **DIGITS)
    found = by_subject(findings)[subject]
    assert found.severity == severity, found
    assert advice in found.advice


class Half(nn.Module):
    """A student whose weights have few digits."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10, dtype=torch.bfloat16)

    def forward(self, x):
        scores = self.layer(x.flatten(1).bfloat16()).float()
        return Outputs(scores, scores)


class Constant(nn.Module):
    """A student that begins with the same embedding for everything."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(8))
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        embedding = self.bias.expand(len(x), -1)
        return Outputs(embedding, self.head(embedding))


@pytest.mark.parametrize(
    ("student", "subject", "advice"),
    [(Half, "student", "keep its weights in float32"), (Constant, "student's embedding", "begins")],
)
def test_a_students_fault_is_found(student, subject, advice, teacher):
    found = by_subject(examine(teacher, student(), "digits", **DIGITS))[subject]
    assert (found.severity, advice in found.advice) == ("look", True)


def spoilt(data, fault):
    """Return the digits with a fault."""
    x, y = data["x"].copy(), data["y"].copy()
    if fault == "dark":
        x //= 20
    if fault == "missing":
        names = [*"0123456789", "ten", "eleven"]
        return {"x": x, "y": np.where(y == 4, 11, y), "names": names}
    if fault == "uneven":
        keep = (y != 3) | (np.cumsum(y == 3) <= 6)
        x, y = x[keep], y[keep]
    if fault == "twice":
        x[1::2], y[1::2] = x[::2], y[::2]
    return {"x": x, "y": y}


@pytest.mark.parametrize(
    ("fault", "subject", "severity", "advice"),
    [
        ("dark", "pictures", "look", "multiply them if theirs end at a smaller number"),
        ("missing", "labels", "look", "check the numbering"),
        ("uneven", "labels", "look", "--samples-per-class"),
        ("twice", "copies", "wrong", "remove copies before the split"),
    ],
)
def test_a_fault_of_the_data_is_found(fault, subject, severity, advice, run, digits, tmp_path):
    np.savez(tmp_path / "data.npz", **spoilt(digits, fault))
    options = {**DIGITS, "method": RKD(), "image_size": 8}
    found = by_subject(examine(run, "mlp", str(tmp_path / "data.npz"), **options))[subject]
    assert (found.severity, advice in found.advice) == (severity, True), found


def test_pictures_out_of_range_and_pictures_that_cannot_be_read(run, teacher, digits, tmp_path):
    normalised = [((torch.tensor(x).permute(2, 0, 1) / 255 - 0.5) / 0.2, int(y)) for x, y in zip(
        digits["x"][:200], digits["y"], strict=False
    )]  # fmt: skip
    findings = by_subject(examine(run, "mlp", normalised, **DIGITS))
    assert findings["pictures"].severity == "wrong"
    assert "it looks like a normalisation" in findings["pictures"].found
    assert "copies" not in findings  # of data that augment themselves nobody can tell

    for i, (x, y) in enumerate(zip(digits["x"][:120], digits["y"], strict=False)):
        (tmp_path / str(y)).mkdir(exist_ok=True)
        Image.fromarray(x[..., 0]).save(tmp_path / str(y) / f"{i}.png")
    (tmp_path / "7" / "bad.png").write_bytes(b"no picture")
    grey = Changed(teacher, before=lambda x: x[:, :1])
    findings = by_subject(examine(grey, "mlp", str(tmp_path), image_size=8, **DIGITS))
    assert findings["unreadable"].figures == {"unreadable": 1}
    assert "bad.png" in findings["unreadable"].found
