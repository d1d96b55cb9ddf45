"""Tests for asterism/measures/probe.py."""

import subprocess
import sys

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from asterism.measures import linear_probe, probe


def clusters(embeddings, n, *, seed, distance=3.0):
    target = torch.arange(n) % 4
    return distance * embeddings(4, 6, seed=9)[target] + embeddings(n, 6, seed), target + 10


def test_follows_scikit_learn_on_standardised_rows(embeddings):
    train, test = (
        clusters(embeddings, 120, seed=1, distance=0.5),
        clusters(embeddings, 80, seed=2, distance=0.5),
    )
    mean, deviation = train[0].mean(0), train[0].std(0, correction=0)
    oracle = LogisticRegression().fit(((train[0] - mean) / deviation).numpy(), train[1].numpy())
    expected = oracle.score(((test[0] - mean) / deviation).numpy(), test[1].numpy())
    assert linear_probe(*train, *test) == pytest.approx(expected)
    assert 0.3 < expected < 1


def test_finds_separate_classes_and_nothing_in_noise(embeddings):
    train, test = clusters(embeddings, 80, seed=1), clusters(embeddings, 80, seed=2)
    assert linear_probe(*train, *test) > 0.95
    noise = embeddings(400, 6, seed=3)
    target = torch.arange(400) % 4
    assert linear_probe(noise[:200], target[:200], noise[200:], target[200:]) < 0.45


def test_ignores_the_scale_and_offset_of_each_column(embeddings):
    train, test = clusters(embeddings, 80, seed=1), clusters(embeddings, 80, seed=2)
    scale = torch.logspace(-3, 3, 6, dtype=torch.float64)
    moved = linear_probe(train[0] * scale + 7, train[1], test[0] * scale + 7, test[1])
    assert moved == linear_probe(*train, *test)


def test_does_not_warn_of_many_classes_or_slow_weights(embeddings, monkeypatch):
    rows, target = embeddings(40, 30), torch.arange(40)
    assert linear_probe(rows, target, rows, target) == 1.0
    monkeypatch.setattr(probe, "MAX_ITERATIONS", 1)
    assert 0 < linear_probe(rows, target, rows, target) <= 1


def test_degenerate_embeddings(embeddings):
    target = torch.arange(8) % 2
    assert linear_probe(torch.ones(8, 3), target, torch.ones(8, 3), target) == 0.5
    rows = embeddings(8, 3)
    assert linear_probe(rows, torch.full((8,), 1), rows, target) == 0.5
    assert linear_probe(rows[:0], target[:0], rows, target) is None
    assert linear_probe(rows, target, rows[:0], target[:0]) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_a_graph(dtype, embeddings):
    rows, target = clusters(embeddings, 40, seed=1)
    rows = rows.to(dtype).requires_grad_()
    assert linear_probe(rows, target, rows, target) == 1.0


def test_says_what_it_needs(embeddings):
    rows, target = embeddings(4, 3), torch.arange(4)
    with pytest.raises(ValueError, match=r"linear_probe needs .*got \(4, 3\) and \(3,\)"):
        linear_probe(rows, target, rows, target[:3])
    with pytest.raises(ValueError, match="finite"):
        linear_probe(rows / 0, target, rows, target)


def test_importing_the_measures_does_not_import_scikit_learn():
    script = "import sys, asterism.measures; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_papers_probe_learns_what_logistic_regression_does(embeddings):
    train, test = clusters(embeddings, 120, seed=1), clusters(embeddings, 80, seed=2)
    descended = linear_probe(*train, *test, solver="sgd")
    assert descended == pytest.approx(linear_probe(*train, *test), abs=0.05)
    assert descended == linear_probe(*train, *test, solver="sgd")
    with pytest.raises(ValueError, match="has diverged"):
        linear_probe(1e30 * train[0], train[1], 1e30 * test[0], test[1], solver="sgd")
