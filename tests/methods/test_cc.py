"""Tests for asterism/methods/cc.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import CC, Outputs, cc_loss


def loop_reference(student, teacher, gamma, order):
    """The formula, pair by pair, in plain Python."""

    def kernel(x, y):
        cosine = float(x @ y / (x.norm() * y.norm()))
        if order is None:
            return math.exp(-gamma * (2 - 2 * cosine))
        terms = ((2 * gamma * cosine) ** p / math.factorial(p) for p in range(order + 1))
        return math.exp(-2 * gamma) * sum(terms)

    n = len(student)
    pairs = [(i, j) for i in range(n) for j in range(n)]
    gaps = [kernel(student[i], student[j]) - kernel(teacher[i], teacher[j]) for i, j in pairs]
    return sum(gap**2 for gap in gaps) / n**2


@pytest.mark.parametrize("gamma", [0.4, 2.0])
@pytest.mark.parametrize("order", [1, 2, 5, None])
def test_follows_the_formula(gamma, order, embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 5, seed=2)
    expected = loop_reference(student, teacher, gamma, order)
    value = cc_loss(student, teacher, gamma=gamma, order=order)
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-30)


def test_the_expansion_approaches_the_gaussian(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 5, seed=2)
    gaussian = cc_loss(student, teacher, order=None)
    torch.testing.assert_close(cc_loss(student, teacher, order=12), gaussian)
    sharp = cc_loss(student, teacher, gamma=10, order=None)
    torch.testing.assert_close(cc_loss(student, teacher, gamma=10, order=100), sharp)


@pytest.mark.parametrize("order", [2, None])
def test_gradient(order, embeddings):
    student, teacher = embeddings(5, 3, seed=1).requires_grad_(), embeddings(5, 4, seed=2)
    assert torch.autograd.gradcheck(lambda s: cc_loss(s, teacher, order=order), student)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_ignores_lengths_rotation_and_order(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(n, d, generator=generator, dtype=torch.float64)
        for n, d in ((8, 4), (8, 6), (4, 4))
    )
    order = torch.randperm(8, generator=generator)
    moved = (scale * student @ torch.linalg.qr(square).Q)[order]
    torch.testing.assert_close(cc_loss(moved, teacher[order]), cc_loss(student, teacher))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_give_a_zero_in_the_graph(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = cc_loss(student, torch.randn(n, 4))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_rows_of_zeros_get_no_gradient(embeddings):
    student = embeddings(5, 3)
    student[:2] = 0
    student.requires_grad_()
    cc_loss(student, embeddings(5, 4, seed=1)).backward()
    assert (student.grad[:2] == 0).all()
    assert (student.grad[2:] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = cc_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), cc_loss(student, teacher), rtol=3e-2, atol=1e-4)


def test_says_what_it_needs(unchecked_shapes):
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 2\) and \(3, 2\)"):
        cc_loss(torch.randn(4, 2), torch.randn(3, 2))
    for options in ({"gamma": 0}, {"gamma": math.nan}, {"order": 0}, {"order": 200}):
        with pytest.raises(ValueError, match="a positive gamma and an order from 1 to 100, or"):
            CC(**options)
        with pytest.raises(ValueError, match="cc_loss needs a positive gamma"):
            cc_loss(torch.randn(4, 2), torch.randn(4, 2), **options)


def test_method_weighs_its_term(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 4, seed=2)
    terms = CC(weight=5, gamma=1, order=None)(Outputs(student), Outputs(teacher))
    expected = 5 * cc_loss(student, teacher, gamma=1, order=None)
    torch.testing.assert_close(terms["correlation"], expected)
