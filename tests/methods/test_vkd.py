"""Tests for asterism/methods/vkd.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import Outputs, VkD, vkd_loss


def loop_reference(student, teacher, normalise):
    """The formula, entry by entry, in plain Python."""

    def standard(row):
        if not normalise:
            return row
        mean = sum(row) / len(row)
        variance = sum((x - mean) ** 2 for x in row) / len(row)
        return [(x - mean) / math.sqrt(variance + 1e-5) for x in row]

    def huber(x):
        return x * x / 2 if abs(x) < 1 else abs(x) - 0.5

    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    gaps = [huber(a - b) for s, t in rows for a, b in zip(s, standard(t), strict=True)]
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("normalise", [True, False])
def test_follows_the_formula(normalise, embeddings):
    student, teacher = 2 * embeddings(6, 4, seed=1), embeddings(6, 4, seed=2)
    value = vkd_loss(student, teacher, normalise=normalise)
    assert value.item() == pytest.approx(loop_reference(student, teacher, normalise), rel=1e-12)


def test_gradient(embeddings):
    student, teacher = embeddings(4, 3, seed=1).requires_grad_(), embeddings(4, 3, seed=2)
    assert torch.autograd.gradcheck(lambda s: vkd_loss(s, teacher), student)


@given(seed=st.integers(0, 2**16), scale=st.floats(1, 1e3), shift=st.floats(-10, 10))
@settings(deadline=None, max_examples=15)
def test_ignores_scale_and_offset_of_the_teachers_rows_and_order(seed, scale, shift):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(7, 4, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    order = torch.randperm(7, generator=generator)
    moved = vkd_loss(student[order], scale * teacher[order] + shift)
    torch.testing.assert_close(moved, vkd_loss(student, teacher), rtol=1e-3, atol=1e-4)  # its eps


@pytest.mark.parametrize("n", [0, 1])
def test_few_rows_stay_connected(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = vkd_loss(student, torch.randn(n, 3))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 4, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = vkd_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), vkd_loss(student, teacher), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(("d_student", "d_teacher"), [(3, 6), (5, 5), (6, 3)])
def test_the_map_stays_orthonormal_while_it_learns(d_student, d_teacher):
    torch.manual_seed(0)
    method = VkD(weight=2)
    method.setup(student_dim=d_student, teacher_dim=d_teacher)
    student, teacher = Outputs(torch.randn(8, d_student)), Outputs(torch.randn(8, d_teacher))
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0)
    first = method.projection.weight.detach().clone()
    tall = first if d_teacher >= d_student else first.T
    torch.testing.assert_close(tall.abs(), method.projection.free.detach().abs())
    for _ in range(3):
        value = method(student, teacher)["coordinates"]
        mapped = method.projection(student.embedding)
        torch.testing.assert_close(value, 2 * vkd_loss(mapped, teacher.embedding))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    weight, bias = method.aligner()
    assert not torch.allclose(weight, first)
    tall = weight if d_teacher >= d_student else weight.T
    torch.testing.assert_close(tall.T @ tall, torch.eye(min(weight.shape)), rtol=0, atol=1e-5)
    assert (bias == 0).all()


def test_whitening_is_undone_by_the_aligner():
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(5, 5)).Q
    teacher = torch.randn(300, 5) * torch.linspace(3, 0.5, 5) @ turn + 3
    method = VkD(normalise="whiten")
    assert method.needs == {"sample"}
    method.setup(student_dim=5, teacher_dim=5, sample=(Outputs(teacher), Outputs(teacher)))
    white = (teacher - method.mean) @ method.whitener
    torch.testing.assert_close(white.T @ white / 300, torch.eye(5), rtol=0, atol=1e-3)
    weight, bias = method.aligner()
    perfect = white @ method.projection.weight.detach()  # its map is a turn: undone by itself
    value = method(Outputs(perfect), Outputs(teacher))["coordinates"]
    assert value.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(perfect @ weight.T + bias, teacher, rtol=1e-3, atol=1e-3)


def test_without_a_sample_the_teacher_is_taken_as_it_is():
    student, teacher = Outputs(torch.randn(8, 3)), Outputs(torch.randn(8, 5))
    for normalise in ("whiten", "none"):
        method = VkD(normalise=normalise)
        method.setup(student_dim=3, teacher_dim=5)
        mapped = method.projection(student.embedding)
        expected = vkd_loss(mapped, teacher.embedding, normalise=False)
        torch.testing.assert_close(method(student, teacher)["coordinates"], expected)


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 3\) and \(4, 5\)"):
        vkd_loss(rows, torch.randn(4, 5))
    with pytest.raises(ValueError, match="unknown normalise 'columns': choose from rows, whiten"):
        VkD(normalise="columns")
    with pytest.raises(RuntimeError, match=r"before VkD\.setup\(\)"):
        VkD()(Outputs(rows), Outputs(rows))
