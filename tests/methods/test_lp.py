"""Tests for asterism/methods/lp.py."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_values import Fixture

from asterism import LP, Outputs, lp_loss

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "rrkd.npz")
CASES = [c for c in REFERENCE.cases if f"{c}/lp_loss" in REFERENCE.arrays]


def loop_reference(student, teacher, k, sigma):
    """The formula, neighbour by neighbour, in plain Python."""
    student, teacher, total = student.tolist(), teacher.tolist(), 0.0
    for i, t in enumerate(teacher):
        others = [(math.dist(t, u), j) for j, u in enumerate(teacher) if j != i]
        for distance, j in sorted(others)[:k]:
            total += math.exp(-(distance**2) / sigma**2) * math.dist(student[i], student[j]) ** 2
    return total / k


@pytest.mark.parametrize(("k", "sigma"), [(1, 1.0), (5, 2.0), (6, 0.5)])
def test_follows_the_formula(k, sigma, embeddings):
    student, teacher = embeddings(7, 3, seed=1), embeddings(7, 5, seed=2)
    value = lp_loss(student, teacher, neighbours=k, sigma=sigma)
    assert value.item() == pytest.approx(loop_reference(student, teacher, k, sigma), rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_reference_values(case):
    fields = REFERENCE[case]
    student = torch.tensor(fields["student"]).requires_grad_()
    value = lp_loss(
        student,
        torch.tensor(fields["teacher"]),
        neighbours=int(fields["lp_k"]),
        sigma=float(fields["lp_sigma"]),
    )
    value.backward()
    single = case == "float32"
    rtol = 1e-5 if single else 1e-10
    assert value.item() == pytest.approx(float(fields["lp_loss"]), rel=rtol, abs=1e-14)
    gradient = torch.tensor(fields["lp_grad"]).to(student.dtype)
    atol = gradient.abs().max().item() * (1e-5 if single else 1e-10) + 1e-15
    torch.testing.assert_close(student.grad, gradient, rtol=1e-4 if single else 1e-8, atol=atol)


def test_a_smaller_batch_has_fewer_neighbours(embeddings):
    student, teacher = embeddings(4, 3, seed=1), embeddings(4, 5, seed=2)
    assert lp_loss(student, teacher) == lp_loss(student, teacher, neighbours=3)


def test_a_sample_is_never_its_own_neighbour(embeddings):
    student, teacher = embeddings(4, 3), torch.zeros(4, 5, dtype=torch.float64)
    value = lp_loss(student, teacher, neighbours=1)
    assert value >= 4 * torch.pdist(student).square().min()


def test_gradient(embeddings):
    student, teacher = embeddings(6, 3, seed=1).requires_grad_(), embeddings(6, 4, seed=2)
    assert torch.autograd.gradcheck(lambda s: lp_loss(s, teacher, sigma=2.0), student)


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=25)
def test_follows_motions_of_both_networks_and_the_students_scale(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(8, d, generator=generator, dtype=torch.float64) for d in (4, 6, 4)
    )
    rotation = torch.linalg.qr(square[:4]).Q
    order = torch.randperm(8, generator=generator)
    moved = (scale * student @ rotation + 1)[order]
    value = lp_loss(moved, teacher[order] - 2, sigma=3.0)
    torch.testing.assert_close(value, scale**2 * lp_loss(student, teacher, sigma=3.0))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_give_a_zero_in_the_graph(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = lp_loss(student, torch.randn(n, 4))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_a_collapsed_batch_is_its_minimum(embeddings):
    student = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    value = lp_loss(student, embeddings(5, 4))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = lp_loss(student.to(dtype), teacher.to(dtype), sigma=4.0)
    assert low.dtype == torch.float32
    expected = lp_loss(student, teacher, sigma=4.0)
    torch.testing.assert_close(low.double(), expected, rtol=5e-2, atol=1e-3)


def test_the_teacher_gets_no_gradient():
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    lp_loss(student, teacher, sigma=3.0).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_method_weighs_its_term(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 4, seed=2)
    terms = LP(neighbours=2, sigma=3.0, weight=0.5)(Outputs(student), Outputs(teacher))
    expected = 0.5 * lp_loss(student, teacher, neighbours=2, sigma=3.0)
    torch.testing.assert_close(terms["locality"], expected)


def test_says_what_it_needs(unchecked_shapes):
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 2\) and \(3, 2\)"):
        lp_loss(torch.randn(4, 2), torch.randn(3, 2))
    with pytest.raises(ValueError, match=r"lp_loss needs at least 1 neighbour.*got neighbours=0"):
        lp_loss(torch.randn(4, 2), torch.randn(4, 2), neighbours=0)
    with pytest.raises(ValueError, match=r"LP needs.*positive sigma; got neighbours=5 and sigma=0"):
        LP(sigma=0)
