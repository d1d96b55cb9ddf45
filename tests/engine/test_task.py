"""Losses with the labels: what they compute and survive, and that they go on as they were."""

import sys

import pytest
import torch
from engine_runs import interrupted, training, weights

from asterism import Outputs
from asterism.engine import make_task
from asterism.engine.objective import Objective
from asterism.engine.optimiser import make_optimizer
from asterism.losses import LOSSES, read_loss
from asterism.settings import Settings

MINED = [name for name, kind in LOSSES.items() if hasattr(kind, "miner")]
MINERS = ["all", "distance-weighted", "semi-hard", "hard", "multi-similarity"]
NAMES = [f"{name}?miner={miner}" for name in MINED for miner in MINERS]
NAMES += ["proxy-anchor", "prototypical", "prototypical?shot=2&unit_rows=true"]


def made(name, *, classes=4, width=6):
    return make_task(read_loss(name), classes=classes, width=width)


def test_a_triplet_loss_is_its_formula():
    """The mean over the triplets that violate the margin, in unit rows and in raw ones."""
    rows = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.arange(9) % 4
    for unit in ("true", "false"):
        points = rows / rows.norm(dim=1, keepdim=True) if unit == "true" else rows
        gaps = [
            float((points[a] - points[p]).norm() - (points[a] - points[n]).norm()) + 0.3
            for a in range(9)
            for p in range(9)
            for n in range(9)
            if a != p and target[a] == target[p] and target[a] != target[n]
        ]
        violated = [gap for gap in gaps if gap > 0]
        loss = made(f"triplet?miner=all&margin=0.3&unit_rows={unit}")(Outputs(rows), target)
        assert float(loss) == pytest.approx(sum(violated) / len(violated), rel=1e-6)


def test_a_prototypical_loss_is_its_formula():
    """The first rows of a class are its shots, wherever they stand; one class has no query."""
    rows = torch.randn(10, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([4, 1, 1, 4, 4, 1, 4, 1, 4, 7])
    shots = {c: (target == c).nonzero().flatten()[:2] for c in (1, 4, 7)}
    losses = []
    for i in range(10):
        if any(i in own for own in shots.values()):
            continue
        scores = [-(rows[i] - rows[own].mean(0)).square().sum() for own in shots.values()]
        own = list(shots).index(int(target[i]))
        losses.append(torch.logsumexp(torch.stack(scores), 0) - scores[own])
    found = made("prototypical?shot=2")(Outputs(rows), target)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_smoothed_cross_entropy_is_its_formula():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 3, 0])
    losses = made("cross-entropy?smoothing=0.2")(Outputs(logits, logits), target)
    wanted = 0.8 * torch.eye(4)[target] + 0.05
    torch.testing.assert_close(losses, -(wanted * logits.log_softmax(1)).sum(1))


HARD_BATCHES = {
    "nobody": (torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64)),
    "one row": (torch.ones(1, 6), torch.tensor([2])),
    "one class": (torch.randn(5, 6), torch.zeros(5, dtype=torch.int64)),
    "no two of a class": (torch.randn(4, 6), torch.arange(4)),
    "zero rows": (torch.zeros(6, 6), torch.arange(6) % 3),
    "collapsed": (torch.ones(6, 6), torch.arange(6) % 3),
    "opposite": (torch.tensor([[1.0] * 6, [-1.0] * 6] * 3), torch.arange(6) // 2),
    "tiny": (1e-20 * torch.randn(6, 6), torch.arange(6) % 3),
    "huge": (1e20 * torch.randn(6, 6), torch.arange(6) % 3),
    "half": (torch.randn(6, 6).half(), torch.arange(6) % 3),
    "unknown": (torch.full((12, 6), torch.nan), torch.arange(12) % 3),
}


@pytest.mark.parametrize("batch", HARD_BATCHES)
def test_no_batch_breaks_a_loss(batch):
    """The loss is finite, part of the graph, and no gradient is an artefact of a floor."""
    for name in NAMES:
        torch.manual_seed(0)
        rows, target = HARD_BATCHES[batch]
        rows = rows.clone().requires_grad_()
        if name == "prototypical" and batch == "huge":
            continue  # it is of squares, which are infinite themselves
        loss = made(name)(Outputs(rows), target)
        assert loss.ndim == 0, name
        loss.backward()
        if batch == "unknown":
            assert loss.isnan(), name  # the engine says where it comes from
            continue
        assert loss.isfinite(), name
        assert rows.grad.isfinite().all(), name
        if batch in ("zero rows", "collapsed"):
            assert rows.grad.abs().max() < 1e3, name


@pytest.mark.parametrize(
    ("name", "fewest"),
    [("cross-entropy", 1), ("proxy-anchor", 1), ("triplet", 2), ("prototypical?shot=5", 6)],
)
def test_classes_too_small_to_teach_are_refused(name, fewest):
    Settings(loss=name, samples_per_class=fewest)
    if fewest > 1:
        with pytest.raises(ValueError, match=f"at least {fewest} samples in a step"):
            Settings(loss=name, samples_per_class=fewest - 1)


@pytest.mark.parametrize("name", ["margin?rate=20", "proxy-anchor?rate=20"])
def test_what_a_loss_learns_is_trained_at_its_rate_and_goes_on_after_a_restart(name, tmp_path):
    options = {"loss": name, "samples_per_class": 7, "steps_per_epoch": 3, "epochs": 2}
    options |= {"batch_size": 40, "keep": "last", "log_every": 1, "lr": 0.01}
    whole = training(tmp_path / "whole", **options)
    with interrupted(epoch=1):
        training(tmp_path / "parts", **options, checkpoint_steps=1)
    parts = training(tmp_path / "parts", resume=True, **options, checkpoint_steps=1)
    assert all(torch.equal(x, weights(parts)[key]) for key, x in weights(whole).items())
    kept = [
        torch.load(max((tmp_path / run / "checkpoints").glob("step*")), weights_only=True)
        for run in ("whole", "parts")
    ]
    learnt = [{k: v for k, v in state["objective"].items() if "loss." in k} for state in kept]
    assert learnt[0]
    torch.manual_seed(0)
    before = made(name, classes=10, width=64).state_dict()
    for key, value in learnt[0].items():
        assert torch.equal(value, learnt[1][key])
        assert not torch.equal(value, before[key.removeprefix("loss.")])


def test_the_rate_and_the_weight_decay_of_a_loss_are_its_own():
    objective = Objective([], task_weight=1, train_views=1, local=False, loss=made("margin?rate=5"))
    settings = Settings(lr=0.1, weight_decay=0.5, optimizer="adamw")
    groups = make_optimizer([torch.nn.Linear(2, 2), objective], settings).param_groups
    assert [(len(g["params"]), g["lr"], g["weight_decay"]) for g in groups] == [
        (1, 0.1, 0.5),
        (1, 0.1, 0.0),
        (1, 0.5, 0.0),
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tripplet", "unknown loss 'tripplet': choose from .* \\(did you mean triplet\\?\\)"),
        ("triplet?margn=1", "takes no argument 'margn' \\(did you mean margin\\?\\)"),
        ("triplet?margin=wide", "triplet\\?margin takes a number; got 'wide'"),
        ("triplet?margin=-1", "triplet: margin must be above 0; got -1"),
        ("triplet?margin=inf", "triplet\\?margin takes a number"),
        ("triplet?miner=semihard", "did you mean semi-hard"),
        ("triplet?unit_rows=1", "is true or false"),
        ("cross-entropy?smoothing=1", "smoothing must be at least 0 and below 1"),
    ],
)
def test_what_no_loss_can_be_is_refused_at_once(name, words):
    with pytest.raises(ValueError, match=words):
        Settings(loss=name)


def test_a_missing_library_is_told_with_the_way_to_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(ValueError, match=r"pip install 'asterism\[metric\]'"):
        made("triplet")
    assert made("cross-entropy").of_scores
