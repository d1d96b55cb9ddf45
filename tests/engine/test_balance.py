"""`loss_weights auto`: the gradients of the terms are measured, and brought to set lengths."""

import json
import math

import pytest
import torch
from engine_runs import SPEC, interrupted, training, weights, without_speed
from torch import nn

from asterism import KD, RKD, VRM, Outputs
from asterism.engine.balance import SHARE, STEPS, Balance
from asterism.engine.encoded import Encoded
from asterism.models import build
from asterism.recipe import distill, train


class Small(nn.Module):
    def __init__(self, dropout=0.0, norm=False):
        super().__init__()
        torch.manual_seed(7)
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Dropout(dropout))
        self.norm = nn.BatchNorm1d(12) if norm else nn.Identity()
        self.head = nn.Linear(12, 10)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        embedding = self.norm(self.embed(x))
        return Outputs(embedding, self.head(embedding))


def methods(factor=1.0):
    return [RKD(distance_weight=25 * factor, angle_weight=50 * factor), KD(weight=factor)]


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return build("mlp", SPEC).eval()


def go(folder, teacher, *, student=None, factor=1.0, **options):
    options = {"loss_weights": "auto", "channels_last": False} | options
    student = student or Small()
    return training(folder, teacher=teacher, methods=methods(factor), student=student, **options)


@pytest.mark.parametrize("parts", [1, 3])
def test_norms_are_those_of_a_backward_pass_of_each_term(parts):
    model, rows = Small(dropout=0.5, norm=True), torch.randn(12, 64)
    split = rows.tensor_split(parts)
    encoded = Encoded(model, [lambda x=x: model(x) for x in split], key=(3,))
    embedding = torch.cat([x.embedding for x in encoded.outputs])
    logits = torch.cat([x.logits for x in encoded.outputs])
    terms = [logits.logsumexp(1).sum(), embedding.square().sum() * 1e3, torch.zeros(())]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = encoded.norms(terms, scale=8.0)
    again = encoded.norms(terms)
    if parts == 3:  # with one part its graph has moved them already
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert found == pytest.approx(again, rel=1e-6)
    for term, norm in zip(terms[:2], found, strict=False):
        for leaf in (x for part in encoded.outputs for x in part):
            leaf.grad = None
        model.zero_grad()
        term.backward(retain_graph=True)
        if parts == 1:
            kept = encoded.kept
            for value, leaf in zip(kept, encoded.outputs[0], strict=True):
                if leaf.grad is not None:
                    value.backward(leaf.grad, retain_graph=True)
        else:
            encoded.backward()
        every = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        assert norm == pytest.approx(float(torch.cat(every).norm()), rel=1e-5)
    assert found[2] == 0


@pytest.mark.parametrize("options", [{}, {"batch_size": 16, "relation_batch": 64}])
def test_measuring_changes_nothing_but_the_factors(tmp_path, teacher, monkeypatch, options):
    """Dropout, batch norm and its statistics, whole or in chunks, to the last bit."""
    options = {"limit_steps": 6, **options}
    given = go(
        tmp_path / "given", teacher, student=Small(0.5, True), loss_weights="given", **options
    )
    monkeypatch.setattr(Balance, "scaled", lambda self, terms: terms)
    measured = go(tmp_path / "auto", teacher, student=Small(0.5, True), **options)
    assert set(measured.balance.medians) == {"task", "rkd/distance", "rkd/angle", "kd/kd"}
    assert all(torch.equal(x, weights(given)[k]) for k, x in weights(measured).items())


def test_terms_get_their_share_whatever_their_weights_were(tmp_path, teacher):
    plain, scaled = (go(tmp_path / str(f), teacher, factor=f, epochs=2) for f in (1.0, 100.0))
    assert plain.balance.steps == STEPS
    for fitted, factor in ((plain, 1), (scaled, 100)):
        found = fitted.balance
        assert found.factors["task"] == 1
        for name in found.factors.keys() - {"task"}:
            length = found.factors[name] * found.medians[name]
            assert length == pytest.approx(SHARE * found.medians["task"])
            assert found.factors[name] * factor == pytest.approx(
                plain.balance.factors[name], rel=1e-3
            )
    for name, value in weights(scaled).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-2, atol=1e-3)
    lines = [x for x in without_speed(tmp_path / "1.0") if "train/task" in x]
    assert lines[-1]["weight/kd/kd"] == plain.balance.factors["kd/kd"]


def test_the_lengths_hold_for_a_fresh_batch(teacher):
    """Not only in the record: the scaled terms' gradients are as long as the task's."""
    model, images = Small(), torch.rand(64, 1, 8, 8)
    target = torch.arange(64) % 10
    with torch.no_grad():
        taught = teacher(images)
    balance = Balance()
    for count in range(STEPS + 1):
        encoded = Encoded(model, [lambda: model(images)], key=(count,))
        (made,) = encoded.outputs
        terms = {"task": nn.functional.cross_entropy(made.logits, target)}
        terms |= methods()[0](made, taught) | methods()[1](made, taught)
        if balance.measuring:
            norms = encoded.norms(list(terms.values()))
            balance.observe(dict(zip(terms, norms, strict=True)))
    task, *others = encoded.norms(list(balance.scaled(terms).values()))
    assert others == pytest.approx([SHARE * task] * 3, rel=1e-4)


def test_without_a_task_all_terms_are_alike():
    balance = Balance()
    for count in range(3):
        balance.observe({"a": 1.0 + count, "b": 8.0, "nothing": 0.0})
    assert balance.medians == {"a": 2.0, "b": 8.0, "nothing": 0.0}
    assert balance.factors == pytest.approx({"a": 2.0, "b": 0.5, "nothing": 1.0})


def test_what_tells_nothing_changes_nothing():
    balance = Balance()
    balance.observe({"task": 1.0, "a": 2.0, "rounding": 1e-9})
    balance.observe({"task": math.nan, "a": math.inf, "rounding": math.nan})
    assert balance.factors == {"task": 1.0, "a": SHARE / 2, "rounding": 1.0}
    assert balance.steps == 2


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_resumed_training_has_the_same_factors_and_bits(tmp_path, teacher, epoch):
    """Interrupted after 6 steps, in the midst of the measuring, and long after it."""

    def run(folder, **options):
        options = {"epochs": 3, "checkpoint_steps": 4, "log_every": 6, **options}
        return go(folder, teacher, student=Small(0.3), **options)

    whole = run(tmp_path / "whole")
    with interrupted(epoch=epoch):
        run(tmp_path / "parts")
    resumed = run(tmp_path / "parts", resume=True)
    assert resumed.balance.state_dict() == whole.balance.state_dict()
    assert all(torch.equal(x, weights(whole)[k]) for k, x in weights(resumed).items())
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")


def test_chunks_and_half_precision_find_the_same_factors(tmp_path, teacher):
    options = {"epochs": 2, "limit_steps": 3}
    whole = go(tmp_path / "a", teacher, batch_size=200, **options)
    chunks = go(tmp_path / "b", teacher, batch_size=60, relation_batch=200, **options)
    assert chunks.balance.factors == pytest.approx(whole.balance.factors, rel=1e-4)
    half = go(
        tmp_path / "c", teacher, batch_size=60, relation_batch=200, precision="bf16", **options
    )
    assert half.balance.factors == pytest.approx(whole.balance.factors, rel=0.2)


def test_a_run_tells_its_factors_and_ramps_are_refused(tmp_path):
    teacher = str(train("mlp", "digits", limit_steps=2, out=tmp_path / "teacher").run)
    options = {"limit_steps": 2, "report": False, "loss_weights": "auto"}
    distill(teacher, "mlp", "digits", method=KD(), out=tmp_path / "run", **options)
    kept = json.loads((tmp_path / "run" / "result.json").read_text())["loss_weights"]
    assert kept["factors"]["kd"] * kept["gradient_norms"]["kd"] == pytest.approx(
        SHARE * kept["gradient_norms"]["task"]
    )
    with pytest.raises(ValueError, match="VRM lets its weights grow while it trains, and"):
        distill(teacher, "mlp", "digits", method=VRM(ramp_steps=9), out=tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()
