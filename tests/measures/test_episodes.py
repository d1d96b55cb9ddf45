"""Few-shot classification against a loop, at its limits, and from the command line."""

import json
import math
import statistics

import pytest
import torch

from asterism import train
from asterism.cli import main
from asterism.measures import Episodes, few_shot
from asterism.seeds import seed_of


def blobs(spread, classes=8, each=9):
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, 4, generator=generator)
    target = torch.arange(classes).repeat(each)
    return centres[target] + spread * torch.randn(len(target), 4, generator=generator), target


def test_it_is_the_nearest_mean_of_the_shots_over_episodes():
    rows, target = blobs(0.7)
    found = few_shot(rows, target, Episodes(shots=(2,), way=3, queries=4, count=30, seed=9))[0]
    shares = []
    for episode in range(30):
        generator = torch.Generator().manual_seed(seed_of(9, 2, episode))
        chosen = torch.randperm(8, generator=generator)[:3].tolist()
        drawn = [
            (target == c).nonzero().flatten()[torch.randperm(9, generator=generator)[:6]]
            for c in chosen
        ]
        right = []
        for k, own in enumerate(drawn):
            for query in own[2:]:
                gaps = [float((rows[query] - rows[d[:2]].mean(0)).norm()) for d in drawn]
                right.append(gaps.index(min(gaps)) == k)
        shares.append(sum(right) / len(right))
    assert found.accuracy == pytest.approx(statistics.mean(shares))
    assert found.margin == pytest.approx(1.96 * statistics.stdev(shares) / math.sqrt(30))
    assert 0.4 < found.accuracy < 0.99


def test_its_interval_holds_over_episodes():
    rows, target = blobs(1.0)
    sure = few_shot(rows, target, Episodes(shots=(1,), queries=5, count=4000, seed=1))[0].accuracy
    held = 0
    for seed in range(2, 42):
        one = few_shot(rows, target, Episodes(shots=(1,), queries=5, count=40, seed=seed))[0]
        held += abs(one.accuracy - sure) <= one.margin
    assert held >= 34  # of 40; 38 are expected


def test_at_its_limits():
    rows, target = blobs(0.0)
    many = Episodes(shots=(1, 5), way=5, queries=4, count=20)
    assert [each.accuracy for each in few_shot(rows, target, many)] == [1, 1]
    assert few_shot(torch.ones_like(rows), target, many)[0].accuracy == pytest.approx(0.2)
    with pytest.raises(ValueError, match="need 5 classes of 16 samples; the data have 0: take few"):
        few_shot(rows, target, Episodes())
    with pytest.raises(ValueError, match="at least 2 ways"):
        Episodes(way=1)


def test_from_training_by_episodes_to_their_accuracy(tmp_path, capsys):
    """A step of prototypical training is an episode: here of 4 ways, 2 shots and 5 queries."""
    options = {"epochs": 1, "steps_per_epoch": 25, "batch_size": 28, "optimizer": "adam"}
    options |= {"loss": "prototypical?shot=2", "check": False}
    run = train("convnet?width=8", "digits", out=tmp_path / "run", **options).run
    capsys.readouterr()
    assert main(["evaluate", str(run), "--shots", "1,5", "--episodes", "50"]) == 0
    said = capsys.readouterr().out
    assert "5-way 5-shot: student" in said
    asked = ["evaluate", str(run), "--shots", "1,5", "--episodes", "50", "--format", "json"]
    assert main(asked) == 0
    result = json.loads(capsys.readouterr().out)
    one, five = result["few_shot"]["student"]
    assert result["metric"] == "euclidean"
    assert 0.5 < one["accuracy"] < five["accuracy"] < 1
