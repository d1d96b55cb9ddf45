"""Tests for asterism/measures/pairs.py."""

import itertools
import math

import pytest
import torch
from scipy.stats import spearmanr

from asterism import rkd_angle_loss, rkd_distance_loss
from asterism.measures.pairs import (
    angle_error,
    cosines,
    distance_correlation,
    distance_error,
    distances,
    pairs_of,
    triplets_of,
)


def huber(gap):
    return gap * gap / 2 if abs(gap) < 1 else abs(gap) - 0.5


def test_all_pairs_and_triplets_are_there_once():
    assert sorted(map(tuple, pairs_of(6).T.tolist())) == list(itertools.combinations(range(6), 2))
    expected = {
        (v, a, b)
        for v in range(6)
        for a, b in itertools.combinations(range(6), 2)
        if v not in (a, b)
    }
    found = [tuple(t) for t in triplets_of(6).T.tolist()]
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.parametrize("draw", [pairs_of, triplets_of])
def test_a_draw_is_even_distinct_and_follows_its_seed(draw):
    found = draw(50, 15_000, 3) if draw is triplets_of else draw(200, 15_000, 3)
    assert found.shape[1] == 15_000
    for one, two in itertools.combinations(found, 2):
        assert (one != two).all()
    n = int(found.max()) + 1
    for row in found:  # every sample in every place about equally often
        counts = torch.bincount(row, minlength=n).double()
        assert counts.std() < 1.5 * math.sqrt(15_000 / n)
    assert torch.equal(found, draw(n, 15_000, 3))
    assert not torch.equal(found, draw(n, 15_000, 4))


def test_errors_follow_their_formulas(embeddings):
    student, teacher = embeddings(9, 3), embeddings(9, 5, seed=1)
    pairs, triplets = pairs_of(9), triplets_of(9)
    apart = [
        [math.dist(x[i].tolist(), x[j].tolist()) for i, j in pairs.T.tolist()]
        for x in (student, teacher)
    ]
    scaled = [[d * len(x) / sum(x) for d in x] for x in apart]
    expected = sum(huber(s - t) for s, t in zip(*scaled, strict=True)) / len(apart[0])
    measured = [distances(x, pairs) for x in (student, teacher)]
    assert distance_error(*measured, pairs, 9) == pytest.approx(expected, rel=1e-12)
    rank = spearmanr(*apart).statistic
    assert distance_correlation(*measured, pairs, 9) == pytest.approx(rank, rel=1e-12)

    def angle(x, vertex, one, two):
        a, b = x[one] - x[vertex], x[two] - x[vertex]
        return float(a @ b / (a.norm() * b.norm()))

    gaps = [huber(angle(student, *t) - angle(teacher, *t)) for t in triplets.T.tolist()]
    bent = [cosines(x, triplets) for x in (student, teacher)]
    assert angle_error(*bent, triplets, 9) == pytest.approx(sum(gaps) / len(gaps), rel=1e-12)


@pytest.mark.parametrize("n", [4, 30])
def test_errors_are_the_losses_of_rkd_but_for_the_divisor(n, embeddings):
    student, teacher = embeddings(n, 3), embeddings(n, 5, seed=1)
    pairs, triplets = pairs_of(n), triplets_of(n)
    error = distance_error(distances(student, pairs), distances(teacher, pairs), pairs, n)
    loss = float(rkd_distance_loss(student, teacher))
    assert error * (n - 1) / n == pytest.approx(loss)
    error = angle_error(cosines(student, triplets), cosines(teacher, triplets), triplets, n)
    loss = float(rkd_angle_loss(student, teacher))
    assert error * (n - 1) * (n - 2) / n**2 == pytest.approx(loss)


def test_the_parts_are_what_the_measure_loses_with_each_sample(embeddings):
    student, teacher = embeddings(45, 3), embeddings(45, 5, seed=1)

    def measures(rows):
        s, t, n = student[rows], teacher[rows], len(rows)
        pairs, triplets = pairs_of(n), triplets_of(n)
        apart = [distances(x, pairs) for x in (s, t)]
        bent = [cosines(x, triplets) for x in (s, t)]
        return [
            distance_correlation(*apart, pairs, n),
            distance_error(*apart, pairs, n),
            angle_error(*bent, triplets, n),
        ]

    everyone = torch.arange(45)
    found = measures(everyone)
    without = torch.tensor([measures(everyone[everyone != i]) for i in range(45)])
    for value, rest in zip(found, without.T.double(), strict=True):
        lost = (rest.mean() - rest) * 44 / 45
        assert float((value.parts - lost).norm()) < 0.08 * float(lost.norm())
        assert value.error() < float(lost.norm()) * 1.02  # what two make together, once


def test_a_draw_of_pairs_adds_its_own_error(embeddings):
    student, teacher = embeddings(200, 3), embeddings(200, 5, seed=1)
    errors = []
    for number in (10**6, 2_000, 200):
        pairs = pairs_of(200, number)
        apart = [distances(x, pairs) for x in (student, teacher)]
        errors.append(distance_error(*apart, pairs, 200).error())
    loss = distance_error(*apart, pairs, 200)
    assert errors[0] < errors[1] < errors[2]
    # Of 200 pairs of 200 samples few share one: they are nearly independent.
    one, two = (x / x.mean() for x in apart)
    alone = torch.nn.functional.smooth_l1_loss(one, two, reduction="none").std() / 200**0.5
    assert loss.error() == pytest.approx(float(alone), rel=0.25)


def test_the_interval_is_as_wide_as_new_samples_make_it(embeddings):
    """The correlation of 60 fresh samples of 100 rows scatters as one interval says."""
    found = []
    for seed in range(60):
        teacher = embeddings(100, 6, seed)
        student = teacher[:, :4] + 0.5 * embeddings(100, 4, seed + 1000)
        pairs = pairs_of(100)
        apart = [distances(x, pairs) for x in (student, teacher)]
        found.append(distance_correlation(*apart, pairs, 100))
    scatter = torch.tensor(found).std()
    reach = torch.tensor([high - low for low, high in (x.interval() for x in found)]).mean() / 2
    assert 1.5 * scatter < reach < 3 * scatter  # 2.1 deviations, were both known exactly


def test_a_collapsed_student_has_right_angles_and_no_distances(embeddings):
    triplets, pairs = triplets_of(8), pairs_of(8)
    student, teacher = torch.ones(8, 3), embeddings(8, 3)
    assert (cosines(student, triplets) == 0).all()
    bent = cosines(teacher, triplets)
    assert angle_error(cosines(student, triplets), bent, triplets, 8) > 0
    apart = [distances(x, pairs) for x in (student, teacher)]
    assert distance_correlation(*apart, pairs, 8) is None
    # Zeros, not the floor that gives the loss its gradient: it makes all distances look equal.
    expected = [huber(float(d / apart[1].mean())) for d in apart[1]]
    assert distance_error(*apart, pairs, 8) == pytest.approx(sum(expected) / 28)
    assert distance_error(*apart, pairs, 8) > 5 * rkd_distance_loss(student.double(), teacher)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_samples(n, embeddings):
    rows, pairs, triplets = embeddings(n, 3), pairs_of(n), triplets_of(n)
    apart, bent = distances(rows, pairs), cosines(rows, triplets)
    assert angle_error(bent, bent, triplets, n) is None
    assert distance_correlation(apart, apart, pairs, n) is None
    assert distance_error(apart, apart, pairs, n) == (0 if n == 2 else None)
