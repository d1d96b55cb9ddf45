"""Tests for asterism/methods/stella.py."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import Outputs, Stella, stella_similarity_loss, stella_triplet_loss

LOSSES = [stella_similarity_loss, stella_triplet_loss]


def cosines(rows):
    rows = rows.tolist()
    return [
        [
            sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
            for y in rows
        ]
        for x in rows
    ]


def loop_similarity(student, teacher):
    s, t, n = cosines(student), cosines(teacher), len(student)
    return sum((s[i][j] - t[i][j]) ** 2 for i in range(n) for j in range(n)) / n**2


def loop_triplet(student, teacher, margin=0.015):
    s, t = cosines(student), cosines(teacher)
    pairs = list(itertools.combinations(range(len(student)), 2))
    total, count = 0.0, 0
    for (i, j), (k, m) in itertools.combinations(pairs, 2):
        count += 1
        if t[i][j] > t[k][m]:
            total += max(0.0, s[k][m] - s[i][j] + margin)
        elif t[i][j] < t[k][m]:
            total += max(0.0, s[i][j] - s[k][m] + margin)
    return total / count


@pytest.mark.parametrize("n", [3, 4, 9])
def test_follow_the_formulas(n, embeddings):
    student, teacher = embeddings(n, 3, seed=1), embeddings(n, 5, seed=2)
    value = stella_similarity_loss(student, teacher)
    assert value.item() == pytest.approx(loop_similarity(student, teacher), rel=1e-12)
    for margin in (0.0, 0.015, 0.5):
        value = stella_triplet_loss(student, teacher, margin=margin)
        expected = loop_triplet(student, teacher, margin)
        assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss, embeddings):
    student, teacher = embeddings(6, 3, seed=1).requires_grad_(), embeddings(6, 4, seed=2)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=15)
def test_ignore_lengths_rotation_and_order(loss, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((7, 4), (7, 5), (4, 4))
    )
    turn, order = torch.linalg.qr(square).Q, torch.randperm(7, generator=generator)
    value = loss(student, teacher)
    torch.testing.assert_close(loss(scale * (student @ turn)[order], teacher[order]), value)


def test_a_copy_in_order_has_only_what_lies_within_the_margin(embeddings):
    teacher = embeddings(8, 5)
    assert stella_similarity_loss(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-15)
    assert stella_triplet_loss(3 * teacher, teacher, margin=0.0).item() == pytest.approx(0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_rows_stay_connected(loss, n):
    student = torch.randn(n, 3, requires_grad=True)
    value = loss(student, torch.randn(n, 4))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    if n < 2 or loss is stella_triplet_loss:
        assert value == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_collapsed_teacher_puts_nothing_in_order(loss):
    student = torch.randn(6, 3, requires_grad=True)
    value = loss(student, torch.ones(6, 4))
    value.backward()
    assert student.grad.isfinite().all()
    if loss is stella_triplet_loss:
        assert value == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(loss, dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), loss(student, teacher), rtol=5e-2, atol=1e-2)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_teacher_gets_no_gradient(loss):
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_method_weighs_its_terms_and_its_head_is_the_aligner(embeddings):
    student, teacher = embeddings(6, 3, seed=1).float(), embeddings(6, 5, seed=2).float()
    method = Stella(cosine_weight=2, similarity_weight=3, triplet_weight=4, margin=0.1)
    method.setup(student_dim=3, teacher_dim=5)
    terms = method(Outputs(student), Outputs(teacher))
    mapped = method.head(student)
    cosine = torch.nn.functional.cosine_similarity(mapped, teacher).mean()
    torch.testing.assert_close(terms["coordinates"], 2 * (1 - cosine))
    similarity = stella_similarity_loss(student, teacher)
    torch.testing.assert_close(terms["similarity"], 3 * similarity)
    triplet = stella_triplet_loss(student, teacher, margin=0.1)
    torch.testing.assert_close(terms["triplet"], 4 * triplet)
    weight, bias = method.aligner()
    torch.testing.assert_close(student @ weight.T + bias, mapped.detach())
    alone = Stella(cosine_weight=0, similarity_weight=0)
    alone.setup(student_dim=3, teacher_dim=5)
    assert set(alone(Outputs(student), Outputs(teacher))) == {"triplet"}
    assert alone.aligner() is None
    assert not list(alone.parameters())


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    for loss in LOSSES:
        with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 3\) and \(5, 3\)"):
            loss(rows, torch.randn(5, 3))
    for ask in (Stella, lambda margin: stella_triplet_loss(rows, rows, margin=margin)):
        with pytest.raises(ValueError, match="margin of 0 or more; got -1"):
            ask(margin=-1)
    with pytest.raises(RuntimeError, match=r"before Stella\.setup\(\)"):
        Stella()(Outputs(rows), Outputs(rows))
