"""Tests for asterism/methods/pointwise.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import Outputs, Pointwise, pointwise_loss

DISTANCES = ["cosine", "mse", "l2"]


def loop_reference(student, teacher, distance):
    """The formula, row by row, in plain Python."""

    def gap(s, t):
        if distance == "cosine":
            inner = sum(a * b for a, b in zip(s, t, strict=True))
            return 1 - inner / (math.hypot(*s) * math.hypot(*t))
        squares = sum((a - b) ** 2 for a, b in zip(s, t, strict=True))
        return squares / len(s) if distance == "mse" else math.sqrt(squares)

    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    return sum(gap(s, t) for s, t in rows) / len(rows)


@pytest.mark.parametrize("distance", DISTANCES)
def test_follows_the_formula(distance, embeddings):
    student, teacher = embeddings(6, 4, seed=1), embeddings(6, 4, seed=2)
    value = pointwise_loss(student, teacher, distance=distance)
    assert value.item() == pytest.approx(loop_reference(student, teacher, distance), rel=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradient(distance, embeddings):
    student, teacher = embeddings(4, 3, seed=1).requires_grad_(), embeddings(4, 3, seed=2)
    assert torch.autograd.gradcheck(
        lambda s: pointwise_loss(s, teacher, distance=distance), student
    )


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=15)
def test_turning_both_changes_nothing(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((7, 4), (7, 4), (4, 4))
    )
    turn, order = torch.linalg.qr(square).Q, torch.randperm(7, generator=generator)
    for distance in DISTANCES:
        value = pointwise_loss(student, teacher, distance=distance)
        turned = pointwise_loss((student @ turn)[order], (teacher @ turn)[order], distance=distance)
        torch.testing.assert_close(turned, value)
        assert pointwise_loss(teacher, teacher, distance=distance).item() == pytest.approx(
            0, abs=1e-12
        )
    torch.testing.assert_close(
        pointwise_loss(scale * student, teacher / scale), pointwise_loss(student, teacher)
    )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("n", [0, 1])
def test_few_rows_stay_connected(distance, n):
    student = torch.randn(n, 3, requires_grad=True)
    value = pointwise_loss(student, torch.randn(n, 3), distance=distance)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_perfect_student_and_zero_rows_get_no_gradient(distance):
    teacher = torch.randn(4, 3)
    teacher[2] = 0
    student = teacher.clone().requires_grad_()
    pointwise_loss(student, teacher, distance=distance).backward()
    assert student.grad.abs().max() < 1e-6


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(distance, dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 4, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = pointwise_loss(student.to(dtype), teacher.to(dtype), distance=distance)
    assert low.dtype == torch.float32
    expected = pointwise_loss(student, teacher, distance=distance)
    torch.testing.assert_close(low.double(), expected, rtol=2e-2, atol=1e-3)


def test_the_teacher_gets_no_gradient():
    student, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    pointwise_loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize(("head", "layers"), [("linear", 1), ("mlp", 2)])
def test_a_head_learns_and_a_kept_linear_one_is_the_aligner(head, layers):
    student, teacher = Outputs(torch.randn(8, 3)), Outputs(torch.randn(8, 5))
    method = Pointwise(head=head, hidden=7, weight=2)
    method.setup(student_dim=3, teacher_dim=5)
    value = method(student, teacher)["coordinates"]
    mapped = method.projection(student.embedding)
    torch.testing.assert_close(value, 2 * pointwise_loss(mapped, teacher.embedding))
    value.backward()
    assert len(list(method.parameters())) == 2 * layers
    assert all(p.grad.abs().sum() > 0 for p in method.parameters())
    if head == "mlp":
        assert method.aligner() is None
        return
    weight, bias = method.aligner()
    torch.testing.assert_close(student.embedding @ weight.T + bias, mapped.detach())
    method.keep_head = False
    assert method.aligner() is None


def test_without_a_head_widths_must_agree():
    method = Pointwise(head="none", distance="mse")
    with pytest.raises(ValueError, match=r"3 columns, the teacher 5: use head='linear'"):
        method.setup(student_dim=3, teacher_dim=5)
    method.setup(student_dim=5, teacher_dim=5)
    student, teacher = Outputs(torch.randn(8, 5)), Outputs(torch.randn(8, 5))
    expected = pointwise_loss(student.embedding, teacher.embedding, distance="mse")
    torch.testing.assert_close(method(student, teacher)["coordinates"], expected)


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 3\) and \(4, 5\)"):
        pointwise_loss(rows, torch.randn(4, 5))
    for make in (
        lambda: pointwise_loss(rows, rows, distance="l1"),
        lambda: Pointwise(distance="l1"),
    ):
        with pytest.raises(ValueError, match="unknown distance 'l1': choose from cosine, mse, l2"):
            make()
    with pytest.raises(ValueError, match="unknown head 'deep'"):
        Pointwise(head="deep")
    with pytest.raises(ValueError, match="at least 1 unit; got 0"):
        Pointwise(hidden=0)
    with pytest.raises(RuntimeError, match=r"before Pointwise\.setup\(\)"):
        Pointwise()(Outputs(rows), Outputs(rows))
