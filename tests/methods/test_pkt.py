"""Tests for asterism/methods/pkt.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import PKT, Outputs, pkt_loss


def loop_reference(student, teacher, eps=1e-7):
    """The authors' form, pair by pair, in plain Python."""

    def neighbourhood(rows, i):
        def direction(x):
            return x / x.norm()

        kernel = [(float(direction(rows[i]) @ direction(row)) + 1) / 2 for row in rows]
        return [k / sum(kernel) for k in kernel]

    total = 0.0
    for i in range(len(student)):
        pairs = zip(neighbourhood(student, i), neighbourhood(teacher, i), strict=True)
        total += sum(q * math.log((q + eps) / (p + eps)) for p, q in pairs)
    return total / len(student) ** 2


def test_follows_the_formula(embeddings):
    student, teacher = embeddings(7, 3, seed=1), embeddings(7, 5, seed=2)
    expected = loop_reference(student, teacher)
    assert pkt_loss(student, teacher).item() == pytest.approx(expected, rel=1e-11)


def test_two_samples_by_hand():
    # Orthogonal in the student, opposite in the teacher: (2/3, 1/3) against (1, 0).
    student, teacher = torch.eye(2), torch.tensor([[1.0], [-1.0]])
    expected = 2 * math.log(1 / (2 / 3)) / 4
    assert pkt_loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_gradient(embeddings):
    student, teacher = embeddings(5, 3, seed=1).requires_grad_(), embeddings(5, 4, seed=2)
    assert torch.autograd.gradcheck(lambda s: pkt_loss(s, teacher), student)


@given(scale=st.floats(1e-2, 1e3), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_ignores_lengths_rotation_and_order(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(n, d, generator=generator, dtype=torch.float64)
        for n, d in ((8, 4), (8, 6), (4, 4))
    )
    order = torch.randperm(8, generator=generator)
    moved = (scale * student @ torch.linalg.qr(square).Q)[order]
    # Up to the eps in lengths.
    value, expected = pkt_loss(moved, teacher[order]), pkt_loss(student, teacher)
    torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_give_a_zero_in_the_graph(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = pkt_loss(student, torch.randn(n, 4))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_rows_of_zeros_get_no_gradient(embeddings):
    student = embeddings(5, 3)
    student[:2] = 0
    student.requires_grad_()
    pkt_loss(student, embeddings(5, 4, seed=1)).backward()
    assert (student.grad[:2] == 0).all()
    assert (student.grad[2:] != 0).any()


def test_two_opposite_embeddings_stay_finite():
    student = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    value = pkt_loss(student, torch.eye(2))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_opposite_embeddings_stay_finite_where_rounding_takes_cosines_below_minus_one():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 8, generator=generator)
    others = torch.randn(200, 2, 8, generator=generator)
    for pair, other in zip(torch.stack([rows, -rows], dim=1), others, strict=True):
        for student, teacher in ((pair, other), (other, pair)):
            student = student.clone().requires_grad_()
            value = pkt_loss(student, teacher)
            value.backward()
            assert value.isfinite()
            assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = pkt_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), pkt_loss(student, teacher), rtol=3e-2, atol=1e-5)


def test_says_what_it_needs(unchecked_shapes):
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 2\) and \(3, 2\)"):
        pkt_loss(torch.randn(4, 2), torch.randn(3, 2))


def test_method_weighs_its_term(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 4, seed=2)
    terms = PKT(weight=7)(Outputs(student), Outputs(teacher))
    torch.testing.assert_close(terms["neighbourhood"], 7 * pkt_loss(student, teacher))
