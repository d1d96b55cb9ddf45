"""Tests for asterism/measures/retrieval.py."""

import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from reference_values import Fixture
from sklearn.neighbors import KNeighborsClassifier

from asterism.measures import Retrieval, knn_accuracy, retrieval

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "rkd.npz")
RECALL_CASES = [case for case in REFERENCE.cases if case.startswith("recall")]


def labelled(embeddings, n, dim, *, classes, seed=0):
    target = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    return embeddings(n, dim, seed) + 0.5 * embeddings(classes, dim, seed + 1)[target], target


def loop_reference(rows, target, gallery, gallery_target, ks, *, alone):
    """The definitions, query by query, in plain Python."""
    hits, precisions, votes = Counter(), [], 0
    for q, (query, own) in enumerate(zip(rows.tolist(), target.tolist(), strict=True)):
        others = [j for j in range(len(gallery)) if not (alone and j == q)]
        others.sort(key=lambda j: math.dist(query, gallery[j].tolist()))
        found = [int(gallery_target[j]) for j in others]
        if r := found.count(own):
            hits.update(k for k in ks if own in found[:k])
            ranks = [i for i in range(1, r + 1) if found[i - 1] == own]
            precisions.append(sum(found[:i].count(own) / i for i in ranks) / r)
        else:
            continue
        ballot = Counter()
        for i, one in enumerate(found[:20], start=1):
            ballot[one] += 1 / i
        votes += ballot.most_common(1)[0][0] == own
    counted = len(precisions)
    recall = {k: hits[k] / counted if k < len(others) else None for k in ks}
    return Retrieval(recall, sum(precisions) / counted, votes / counted)


@pytest.mark.parametrize("classes", [3, 15, 60])
def test_follows_the_definitions(classes, embeddings):
    rows, target = labelled(embeddings, 50, 4, classes=classes)
    other, other_target = labelled(embeddings, 30, 4, classes=classes, seed=2)
    for pair in (None, (other, other_target)):
        gallery, gallery_target = pair or (None, None)
        ks = [1, 3, 20, 49]  # the last is all there are
        measured = retrieval(rows, target, ks=ks, gallery=gallery, gallery_target=gallery_target)
        expected = loop_reference(rows, target, *(pair or (rows, target)), ks, alone=pair is None)
        assert measured.recall.pop(49) is expected.recall.pop(49) is None
        assert measured.recall == pytest.approx(expected.recall)
        assert measured.map_at_r == pytest.approx(expected.map_at_r, rel=1e-12)
        assert measured.knn == pytest.approx(expected.knn)


def test_four_points_by_hand():
    # On a line at 0, 1, 3, 7 with classes a, b, a, a, the neighbours are
    # bab a: b a a | b: a a a | a: b a a | a: a b a; so R = 2, 0, 2, 2.
    rows, target = torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([0, 1, 0, 0])
    measured = retrieval(rows, target, ks=[1, 2])
    assert measured.recall == {1: 1 / 3, 2: 1.0}
    assert measured.map_at_r == pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 3)
    assert measured.knn == 1 / 3  # for the first, 1 for b against 1/2 + 1/3 for a


@pytest.mark.parametrize("case", RECALL_CASES)
def test_authors_recall(case):
    fields = REFERENCE[case]
    rows, target = torch.tensor(fields["embeddings"]), torch.tensor(fields["labels"])
    measured = retrieval(rows, target, ks=fields["K"].tolist())
    assert list(measured.recall.values()) == pytest.approx(fields["recall"], abs=1e-7)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("classes", [2, 12])
def test_follows_pytorch_metric_learning(classes, metric, embeddings):
    rows, target = labelled(embeddings, 80, 6, classes=classes)
    distance = (
        LpDistance(normalize_embeddings=False) if metric == "euclidean" else CosineSimilarity()
    )
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"),
        k="max_bin_count",
        knn_func=CustomKNN(distance),
    )
    expected = calculator.get_accuracy(rows, target)
    measured = retrieval(rows, target, ks=[1], metric=metric)
    assert measured.recall[1] == pytest.approx(expected["precision_at_1"])
    assert measured.map_at_r == pytest.approx(expected["mean_average_precision_at_r"])

    expected = calculator.get_accuracy(rows[:30], target[:30], rows[30:], target[30:])
    measured = retrieval(
        rows[:30], target[:30], ks=[1], metric=metric, gallery=rows[30:], gallery_target=target[30:]
    )
    assert measured.recall[1] == pytest.approx(expected["precision_at_1"])
    assert measured.map_at_r == pytest.approx(expected["mean_average_precision_at_r"])


def test_perfect_classes(embeddings):
    target = torch.arange(6).repeat(5)
    rows = 100 * embeddings(6, 4)[target] + embeddings(30, 4, seed=1)
    assert retrieval(rows, target, ks=[1, 5]) == Retrieval({1: 1.0, 5: 1.0}, 1.0, 1.0)


def test_random_rows_find_their_class_by_chance(embeddings):
    target = torch.arange(10).repeat(200)
    measured = retrieval(embeddings(2000, 8), target, ks=[1, 5])
    assert measured.recall[1] == pytest.approx(0.1, abs=0.03)
    assert measured.recall[5] == pytest.approx(1 - 0.9**5, abs=0.04)
    assert measured.map_at_r == pytest.approx(0.1 * 0.1, abs=0.01)


def test_duplicates_are_neighbours():
    rows = torch.arange(4.0).repeat_interleave(2)[:, None]
    target = torch.arange(4).repeat_interleave(2)
    assert retrieval(rows, target, ks=[1]).recall == {1: 1.0}
    assert retrieval(rows, target, ks=[1]).map_at_r == 1.0


def test_a_collapsed_embedding_finds_the_first_rows():
    target = torch.arange(4).repeat(5)
    measured = retrieval(torch.ones(20, 3), target, ks=[1, 4])
    # All find row 0; the first four, and row 4 too, find the first four of the others.
    assert measured.recall[1] == 4 / 20
    assert measured.recall[4] == 17 / 20
    assert 0 < measured.map_at_r < 0.5


def test_a_query_without_a_partner_is_not_asked():
    rows, target = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([0, 0, 5])
    measured = retrieval(rows, target, ks=[1, 2])
    assert measured == Retrieval({1: 1.0, 2: None}, 1.0, 1.0)
    assert measured.recall[1].count == measured.map_at_r.count == measured.knn.count == 2
    nothing = Retrieval({1: None, 5: None, 10: None}, None, None)
    assert retrieval(rows, torch.arange(3)) == nothing
    strangers = retrieval(rows, target, gallery=rows, gallery_target=torch.full((3,), -7))
    assert strangers == nothing
    assert knn_accuracy(rows, torch.full((3,), -7), rows, target) is None


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_search_is_none(n):
    rows, target = torch.zeros(n, 3), torch.zeros(n, dtype=int)
    nothing = Retrieval({1: None, 5: None, 10: None}, None, None)
    assert retrieval(rows, target) == nothing
    assert retrieval(rows, target, gallery=rows[:0], gallery_target=target[:0]) == nothing
    assert knn_accuracy(rows, target, rows[:0], target[:0]) is None
    assert knn_accuracy(rows[:0], target[:0], rows, target) is None


def test_two_samples():
    rows = torch.tensor([[0.0], [1.0]])
    assert retrieval(rows, torch.tensor([3, 3]), ks=[1]) == Retrieval({1: None}, 1.0, 1.0)
    assert retrieval(rows, torch.tensor([3, 4]), ks=[1]) == Retrieval({1: None}, None, None)


@given(seed=st.integers(0, 2**16), memory=st.integers(1, 10_000))
@settings(deadline=None, max_examples=25)
def test_ignores_rotation_order_names_of_classes_and_blocks(seed, memory):
    generator = torch.Generator().manual_seed(seed)
    rows, square = (torch.randn(24, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    target = torch.randint(5, (24,), generator=generator)
    order = torch.randperm(24, generator=generator)
    moved = (3 * rows @ torch.linalg.qr(square[:4]).Q - 1)[order]
    one = retrieval(rows, target)
    two = retrieval(moved, 100 - 7 * target[order], memory=memory)
    assert two.recall == one.recall
    assert two.map_at_r == pytest.approx(one.map_at_r)
    assert two.knn == one.knn


def test_blocks_change_no_digit(embeddings):
    rows, target = labelled(embeddings, 50, 4, classes=5)
    one, two = retrieval(rows, target, memory=1), retrieval(rows, target)
    assert one == two
    assert one.map_at_r.error() == pytest.approx(two.map_at_r.error(), rel=1e-12)


def test_is_ready_for_json(embeddings):
    rows, target = labelled(embeddings, 9, 4, classes=3)
    restored = json.loads(json.dumps(asdict(retrieval(rows, target))))
    assert set(restored["recall"]) == {"1", "5", "10"}


@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_follows_scikit_learn(k, embeddings):
    train, train_target = labelled(embeddings, 80, 4, classes=4)
    test, test_target = labelled(embeddings, 50, 4, classes=4, seed=2)
    oracle = KNeighborsClassifier(
        k, weights=lambda distance: 1 / np.arange(1, k + 1) + 0 * distance
    )
    oracle.fit(train.numpy(), train_target.numpy())
    expected = oracle.score(test.numpy(), test_target.numpy())
    assert knn_accuracy(train, train_target, test, test_target, k=k) == pytest.approx(expected)


def test_knn_votes_by_place():
    train, target = torch.tensor([[1.0], [2.0], [4.0], [8.0]]), torch.tensor([7, 4, 4, 4])
    for k, winner in ((1, 7), (2, 7), (3, 7), (4, 4), (50, 4)):  # 1 against 1/2 + 1/3 + 1/4
        assert knn_accuracy(train, target, torch.zeros(1, 1), torch.tensor([winner]), k=k) == 1


def test_says_what_it_needs(embeddings):
    rows, target = embeddings(4, 3), torch.arange(4)
    with pytest.raises(ValueError, match=r"one class per sample; got \(4, 3\) and \(3,\)"):
        retrieval(rows, target[:3])
    with pytest.raises(ValueError, match="a gallery with its gallery_target or neither"):
        retrieval(rows, target, gallery=rows)
    with pytest.raises(ValueError, match=r"ks of at least 1.*got ks=\(0, 1\)"):
        retrieval(rows, target, ks=[0, 1])
    with pytest.raises(ValueError, match=r"ks of at least 1.*got ks=\(\)"):
        retrieval(rows, target, ks=[])
    with pytest.raises(ValueError, match=r"knn_accuracy needs .* one class per sample"):
        knn_accuracy(rows, target, rows, target[:1])


def test_some_queries_among_all_rows(embeddings):
    rows, target = labelled(embeddings, 50, 4, classes=5)
    everyone, some = retrieval(rows, target), torch.tensor([4, 0, 31])
    part = retrieval(rows, target, rows=some)
    for k in (1, 5, 10):
        assert torch.equal(part.recall[k].scores, everyone.recall[k].scores[some])
    assert torch.equal(part.map_at_r.scores, everyone.map_at_r.scores[some])
    assert torch.equal(part.knn.scores, everyone.knn.scores[some])
