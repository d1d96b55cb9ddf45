"""Tests for asterism/methods/srd.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import SRD, Outputs, srd_loss


def loop_reference(student, teacher, alpha):
    """The formula, column by column, in plain Python."""

    def standard(column):
        mean = sum(column) / len(column)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
        return [(x - mean) / deviation for x in column]

    columns = zip(student.T.tolist(), teacher.T.tolist(), strict=True)
    gaps = [
        abs(a - b) ** alpha
        for s, t in columns
        for a, b in zip(standard(s), standard(t), strict=True)
    ]
    return math.log(sum(gaps) / len(gaps))


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
def test_follows_the_formula(alpha, embeddings):
    student, teacher = embeddings(6, 4, seed=1), embeddings(6, 4, seed=2)
    value = srd_loss(student, teacher, alpha=alpha)
    assert value.item() == pytest.approx(loop_reference(student, teacher, alpha), rel=1e-11)


@pytest.mark.parametrize("alpha", [1.0, 4.0])
def test_gradient(alpha, embeddings):
    student, teacher = embeddings(5, 3, seed=1).requires_grad_(), embeddings(5, 3, seed=2)
    assert torch.autograd.gradcheck(lambda s: srd_loss(s, teacher, alpha=alpha), student)


@given(seed=st.integers(0, 2**16), exponent=st.integers(-18, 18))
@settings(deadline=None, max_examples=20)
def test_ignores_scale_and_offset_of_each_column_and_order(seed, exponent):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, scale, offset = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((7, 4), (7, 4), (1, 4), (1, 4))
    )
    order = torch.randperm(7, generator=generator)
    value = srd_loss(student, teacher)
    moved = 10.0**exponent * (student * scale.exp() + offset)[order]
    torch.testing.assert_close(srd_loss(moved, teacher[order]), value)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_give_a_zero_in_the_graph(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = srd_loss(student, torch.randn(n, 3))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_columns_without_spread_and_perfect_students_get_no_artefact():
    teacher = torch.randn(6, 3)
    student = torch.randn(6, 3)
    student[:, 1] = 0.1
    student.requires_grad_()
    srd_loss(student, teacher).backward()
    assert (student.grad[:, 1] == 0).all()
    assert student.grad.abs().max() < 100
    for rows in (teacher.clone(), torch.ones(6, 3)):
        rows.requires_grad_()
        value = srd_loss(rows, rows.detach())
        value.backward()
        assert value.item() == pytest.approx(4 * math.log(1e-6))
        assert (rows.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 4, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = srd_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), srd_loss(student, teacher), rtol=3e-2, atol=1e-2)


def test_method_projects_and_weighs(embeddings):
    student, teacher = embeddings(6, 3, seed=1).float(), embeddings(6, 5, seed=2).float()
    teacher.requires_grad_()
    method = SRD(alpha=2, weight=3)
    method.setup(student_dim=3, teacher_dim=5)
    value = method(Outputs(student), Outputs(teacher))["coordinates"]
    torch.testing.assert_close(value, 3 * srd_loss(method.head(student), teacher, alpha=2))
    value.backward()
    assert method.head.weight.grad.abs().sum() > 0
    assert teacher.grad is None
    assert method.aligner() is None


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 3\) and \(4, 5\)"):
        srd_loss(rows, torch.randn(4, 5))
    for ask in (SRD, lambda alpha: srd_loss(rows, rows, alpha=alpha)):
        with pytest.raises(ValueError, match="alpha of 1 or more; got 0"):
            ask(alpha=0)
    with pytest.raises(RuntimeError, match=r"before SRD\.setup\(\)"):
        SRD()(Outputs(rows), Outputs(rows))
