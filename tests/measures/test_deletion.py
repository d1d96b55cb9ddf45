"""Tests for what each row adds to a measure: the measure, less the measure without the row."""

import pytest
import torch

from asterism import Outputs
from asterism.measures import compatibility, fidelity, knn_accuracy, linear_cka, retrieval

N, CLASSES = 34, 6
# The last two rows are a class of two, and the one before them has no partner.
TARGET = torch.cat([torch.arange(N - 3) % CLASSES, torch.tensor([7, 8, 8])])


def rows_of(embeddings):
    teacher = embeddings(N, 5) + 0.7 * embeddings(9, 5, seed=1)[TARGET]
    return (teacher + embeddings(N, 5, seed=2))[:, :3], teacher


def in_itself(student, teacher, target):
    found = retrieval(student, target, ks=[1, 4])
    return {**{f"recall@{k}": x for k, x in found.recall.items()}, "MAP@R": found.map_at_r,
            "k-NN": found.knn}  # fmt: skip


def beside_teacher(student, teacher, target):
    found = fidelity(Outputs(student), Outputs(teacher), ks=[1, 4])
    return {
        **{f"overlap@{k}": x for k, x in found.neighbour_overlap.items()},
        **{f"nearest@{k}": x for k, x in found.neighbour_recall.items()},
        "trustworthiness": found.trustworthiness,
        "continuity": found.continuity,
        "distance error": found.distance_error,
        "CKA": linear_cka(student, teacher),
    }


def in_the_index(student, teacher, target):
    found = compatibility(teacher[:, :3] + 2 * student, teacher[:, :3], target, ks=[1, 4])
    return {"class@1": found.class_recall[1], "class@4": found.class_recall[4],
            "item@1": found.item_recall[1], "item@4": found.item_recall[4]}  # fmt: skip


@pytest.mark.parametrize("measure", [in_itself, beside_teacher, in_the_index])
def test_the_parts_are_those_of_the_measure_without_each_row(measure, embeddings):
    student, teacher = rows_of(embeddings)
    whole = measure(student, teacher, TARGET)
    without = []
    for i in range(N):
        kept = torch.arange(N) != i
        without.append(measure(student[kept], teacher[kept], TARGET[kept]))
    for name, value in whole.items():
        expected = torch.tensor(
            [x[name].count / value.count * (float(value) - float(x[name])) for x in without],
            dtype=torch.float64,
        )
        if name in ("CKA", "distance error"):
            expected = torch.tensor([float(value) - float(x[name]) for x in without])
        parts = value.parts - value.parts.mean()
        assert torch.allclose(parts, (expected - expected.mean()).double(), atol=1e-6), name
        assert value.error() > 0


def test_a_gallery_of_other_rows_is_a_sample_of_its_own(embeddings):
    train, target = embeddings(30, 3), torch.arange(30) % 3
    queries, asked = embeddings(20, 3, seed=1), torch.arange(20) % 3
    value = knn_accuracy(train, target, queries, asked, k=5)
    expected = []
    for i in range(30):
        kept = torch.arange(30) != i
        expected.append(value - knn_accuracy(train[kept], target[kept], queries, asked, k=5))
    expected = torch.tensor(expected, dtype=torch.float64)
    assert torch.allclose(value.parts[20:], expected - expected.mean(), atol=1e-9)
    assert value.error("this gallery") < value.error()


def test_rows_that_share_their_luck_are_fewer_samples():
    """Two that find each other or do not are one sample; the error may be a fifth too large."""
    hit = (torch.rand(200, generator=torch.Generator().manual_seed(1)) < 0.7).double()
    target = torch.arange(200).repeat_interleave(2)
    # Two rows of a class lie side by side, or beyond other classes: both find each other, or none.
    second = torch.arange(400) % 2
    aside = torch.where(hit[target] > 0, 0.0, 5_000.0) * second
    place = torch.stack([1_000.0 * target + second, aside], 1)
    found = retrieval(place, target, ks=[1]).recall[1]
    assert found == pytest.approx(float(hit.mean()), abs=0.01)
    half = (found * (1 - found) / 200) ** 0.5
    assert half < found.error() < 1.25 * half
    assert found.error("this gallery") == pytest.approx(half / 2**0.5, rel=0.05)
