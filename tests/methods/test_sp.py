"""Tests for asterism/methods/sp.py."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_values import Fixture

from asterism import SP, Outputs, sp_loss

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "rrkd.npz")
CASES = [c for c in REFERENCE.cases if f"{c}/sp_loss" in REFERENCE.arrays]
STATIONARY = {"identical", "rotated", "antipodal"}


def loop_reference(student, teacher):
    """The formula, pair by pair, in plain Python."""

    def similarities(rows):
        gram = [[float(a @ b) for b in rows] for a in rows]
        return [[x / math.hypot(*row) for x in row] for row in gram]

    pairs = zip(similarities(student), similarities(teacher), strict=True)
    gaps = [(a - b) ** 2 for s, t in pairs for a, b in zip(s, t, strict=True)]
    return sum(gaps) / len(gaps)


def test_follows_the_formula(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 5, seed=2)
    expected = loop_reference(student, teacher)
    assert sp_loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_reference_values(case):
    fields = REFERENCE[case]
    student = torch.tensor(fields["student"]).requires_grad_()
    value = sp_loss(student, torch.tensor(fields["teacher"]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    if math.isnan(fields["sp_loss"]):
        return  # the authors of the reference divide zero by zero
    single = case == "float32"
    rtol = 1e-5 if single else 1e-10
    assert value.item() == pytest.approx(float(fields["sp_loss"]), rel=rtol, abs=1e-14)
    gradient = torch.tensor(fields["sp_grad"]).to(student.dtype)
    noise = 1e-15 if case in STATIONARY | {"collapsed_student"} else 0
    atol = max(noise, gradient.abs().max().item() * (1e-5 if single else 1e-10))
    torch.testing.assert_close(student.grad, gradient, rtol=1e-4 if single else 1e-8, atol=atol)


def test_gradient(embeddings):
    student, teacher = embeddings(5, 3, seed=1).requires_grad_(), embeddings(5, 4, seed=2)
    assert torch.autograd.gradcheck(lambda s: sp_loss(s, teacher), student)


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=25)
def test_ignores_scale_rotation_and_order_but_not_translation(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(8, d, generator=generator, dtype=torch.float64) for d in (4, 6, 4)
    )
    rotation = torch.linalg.qr(square[:4]).Q
    order = torch.randperm(8, generator=generator)
    moved = (scale * student @ rotation)[order]
    expected = sp_loss(student, teacher)
    torch.testing.assert_close(sp_loss(moved, teacher[order] / scale), expected)
    assert (sp_loss(student + 1, teacher) - expected).abs() > 1e-6
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(sp_loss(student, teacher), student)
    assert (gradient * student).sum().abs() < 1e-12


@pytest.mark.parametrize("scale", [1e-25, 1e-8, 1e4, 1e25])
def test_float32_of_any_size(scale, embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 5, seed=2)
    rows = (scale * student).float().requires_grad_()
    value = sp_loss(rows, teacher.float())
    value.backward()
    torch.testing.assert_close(value.double(), sp_loss(student, teacher), rtol=1e-5, atol=0)
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_give_a_zero_in_the_graph(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = sp_loss(student, torch.randn(n, 4))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("zeros", [1, 5])
def test_zero_rows_stay_finite(zeros, embeddings):
    student = embeddings(5, 3)
    student[:zeros] = 0
    student.requires_grad_()
    value = sp_loss(student, embeddings(5, 4, seed=1))
    value.backward()
    assert value.isfinite()
    assert student.grad.abs().max() < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = sp_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), sp_loss(student, teacher), rtol=5e-2, atol=1e-3)


def test_the_teacher_gets_no_gradient():
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    sp_loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_method_weighs_its_term(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 4, seed=2)
    outputs = Outputs(student), Outputs(teacher)
    expected = sp_loss(student, teacher)
    torch.testing.assert_close(SP()(*outputs)["similarity"], 3000 * expected)
    torch.testing.assert_close(SP(weight=1)(*outputs)["similarity"], expected)


def test_says_what_it_needs(unchecked_shapes):
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 2\) and \(3, 2\)"):
        sp_loss(torch.randn(4, 2), torch.randn(3, 2))
