"""Tests for asterism/doctor.py and asterism/checkup: a check speaks of its fault, and only then."""

import copy
import json
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from words import WORDS

import asterism
from asterism import KD, RKD, Outputs, checkup, recipe
from asterism.checkup import resources
from asterism.cli import main
from asterism.data import open_data
from asterism.doctor import examine
from asterism.engine import Settings
from asterism.training import open_parts

DIGITS = {"batch_size": 64, "epochs": 3, "method": [RKD(), KD()]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run folder of a teacher that knows the digits."""
    out = tmp_path_factory.mktemp("doctor") / "teacher"
    recipe.train("convnet", "digits", epochs=4, out=out)
    return str(out)


@pytest.fixture(scope="module")
def teacher(run):
    return asterism.load(run).model


@pytest.fixture(scope="module")
def digits():
    """Some pictures of digits and their classes, as an .npz file has them."""
    batch = open_data("digits").source.__getitems__(list(range(600)))
    return {"x": batch.views[0].permute(0, 2, 3, 1).numpy(), "y": batch.target.numpy()}


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


class Changed(nn.Module):
    """A teacher with a fault: before it, after it, or in its mode."""

    def __init__(self, model, *, before=None, after=None):
        super().__init__()
        self.model, self.before, self.after = copy.deepcopy(model), before, after

    def forward(self, x):
        outputs = self.model(x if self.before is None else self.before(x))
        return outputs if self.after is None else self.after(outputs)


def relabelled(order):
    return lambda outputs: Outputs(outputs.embedding, outputs.logits[:, order])


def of_embedding(change):
    return lambda outputs: Outputs(change(outputs.embedding), outputs.logits)


def half_nan(rows):
    return torch.where(torch.arange(len(rows))[:, None] % 2 == 0, rows, torch.nan)


def of_this_batch(x):
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)


def test_nothing_is_said_against_a_training_that_is_well(run):
    findings = examine(run, "mlp", "digits", **DIGITS)
    assert [f for f in findings if f.severity != "ok"] == []
    found = by_subject(findings)
    assert list(found) == [
        "labels", "copies", "student", "teacher", "pictures", "teacher's mode", "student's input",
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


@pytest.mark.parametrize(
    ("method", "term", "severity", "advice"),
    [
        (RKD(distance_weight=1e5), "term rkd/distance", "wrong", "it drowns the others"),
        (RKD(angle_weight=1e-4), "term rkd/angle", "look", "it hardly counts"),
        (KD(weight=0.0), "term kd", "look", "it teaches nothing"),
    ],
)
def test_terms_that_pull_too_hard_or_not_at_all(method, term, severity, advice, run):
    options = {**DIGITS, "method": [method], "epochs": 1}
    found = by_subject(examine(run, "mlp", "digits", **options))
    name = term if term in found else term.replace("rkd/", "")
    assert (found[name].severity, advice in found[name].advice) == (severity, True)
    automatic = by_subject(examine(run, "mlp", "digits", loss_weights="auto", **options))
    assert automatic[name].severity == (
        "look" if severity == "look" and "nothing" in advice else "ok"
    )


def test_what_the_machine_lacks(run, tmp_path, monkeypatch):
    options = {**DIGITS, "out": tmp_path / "run"}
    need = by_subject(examine(run, "mlp", "digits", **options))["memory"].figures["need"]
    for left, severity in ((need * 2, "ok"), (need * 1.1, "look"), (need * 0.9, "wrong")):
        monkeypatch.setattr(resources, "_left", lambda device, left=left: left)
        found = by_subject(examine(run, "mlp", "digits", **options))["memory"]
        assert found.severity == severity
        assert ("--batch-size" in found.advice) == (severity != "ok")
    usage = resources.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: usage)
    found = by_subject(examine(run, "mlp", "digits", teacher_cache=tmp_path / "cache", **options))
    assert "keep fewer" in found["run folder"].advice
    assert "leave --teacher-cache out" in found["teacher cache"].advice
    assert not any(tmp_path.iterdir())  # nothing is written
    (tmp_path / "file").touch()
    found = by_subject(examine(run, "mlp", "digits", **{**options, "out": tmp_path / "file"}))
    assert found["run folder"].severity == "wrong"
    assert "cannot write into" in found["run folder"].found


def test_a_slow_teacher_is_worth_a_cache_and_the_cache_is_told_of(run, teacher, tmp_path):
    slow = Changed(teacher, before=lambda x: time.sleep(0.05) or x)
    found = by_subject(examine(slow, "mlp", "digits", **DIGITS))["time"]
    assert found.figures["teacher"] > resources.SLOW
    assert "--teacher-cache FOLDER saves" in found.advice
    options = {**DIGITS, "teacher_cache": tmp_path / "cache"}
    recipe.distill(run, "mlp", "digits", out=tmp_path / "run", report=False, **options)
    found = by_subject(examine(run, "mlp", "digits", **options))
    assert found["teacher cache"].figures["known"] > 3000
    assert found["time"].advice == ""


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
    assert "doctor" not in capsys.readouterr().err
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
    distilled(teacher, tmp_path / "c")
    assert "asterism: " not in capsys.readouterr().err


def test_a_check_that_fails_stops_no_training(teacher, tmp_path, capsys, monkeypatch):
    def fail(case):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(checkup, "check_quickly", fail)
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
    choices = {"teacher": weak, "student": "mlp", "data": "digits", "method": KD(), "labels": True}
    choices |= dict.fromkeys(("validation_data", "test_data"))
    choices |= {"validation_share": 0.1, "split_seed": 0, "image_size": 8, "on_broken": "skip"}
    parts = open_parts(choices, Settings())
    seen.clear()
    found = by_subject(checkup.check_quickly(parts.case(None, None, Settings())))
    assert "teacher's preprocessing" in found
    assert sum(seen) < 200
