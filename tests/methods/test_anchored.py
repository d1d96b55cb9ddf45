"""Tests for asterism/methods/anchored.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import Anchored, Outputs, anchored_loss

FORMS = ["cosine", "squared"]
STARTS = ["procrustes", "pca", "random"]


def loop_reference(student, teacher, matrix, mean, form):
    """The formula, row by row, in plain Python."""

    def gap(s, t):
        mapped = [sum(p * x for p, x in zip(row, s, strict=True)) for row in matrix.tolist()]
        target = [x - m for x, m in zip(t, mean.tolist(), strict=True)]
        if form == "squared":
            return sum((a - b) ** 2 for a, b in zip(mapped, target, strict=True))
        inner = sum(a * b for a, b in zip(mapped, target, strict=True))
        return 1 - inner / (math.hypot(*mapped) * math.hypot(*target))

    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    return sum(gap(s, t) for s, t in rows) / len(student)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("d_student", "d_teacher"), [(3, 5), (4, 4), (5, 3)])
def test_follows_the_formula(form, d_student, d_teacher, embeddings):
    student, teacher = embeddings(6, d_student, seed=1), embeddings(6, d_teacher, seed=2)
    matrix, mean = embeddings(d_teacher, d_student, seed=3), embeddings(1, d_teacher, seed=4)[0]
    value = anchored_loss(student, teacher, matrix, mean=mean, form=form)
    expected = loop_reference(student, teacher, matrix, mean, form)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    plain = anchored_loss(student, teacher, matrix, form=form)
    assert plain.item() == pytest.approx(
        loop_reference(student, teacher, matrix, 0 * mean, form), rel=1e-12
    )


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_the_students_alone(form, embeddings):
    student, teacher = embeddings(4, 3, seed=1).requires_grad_(), embeddings(4, 5, seed=2)
    matrix, mean = embeddings(5, 3, seed=3), embeddings(1, 5, seed=4)[0]
    assert torch.autograd.gradcheck(
        lambda s: anchored_loss(s, teacher, matrix, mean=mean, form=form), student
    )
    others = [x.requires_grad_() for x in (teacher, matrix, mean)]
    anchored_loss(student, teacher, matrix, mean=mean, form=form).backward()
    assert all(x.grad is None for x in others)


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=15)
def test_turning_the_student_with_the_map_changes_nothing(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, matrix, square = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((7, 3), (7, 5), (5, 3), (3, 3))
    )
    turn = torch.linalg.qr(square).Q
    order = torch.randperm(7, generator=generator)
    for form in FORMS:
        value = anchored_loss(student, teacher, matrix, form=form)
        turned = anchored_loss((student @ turn)[order], teacher[order], matrix @ turn, form=form)
        torch.testing.assert_close(turned, value)
    value = anchored_loss(student, teacher, matrix)
    torch.testing.assert_close(anchored_loss(scale * student, teacher / scale, matrix), value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1])
def test_few_rows_stay_connected(form, n):
    student = torch.randn(n, 3, requires_grad=True)
    value = anchored_loss(student, torch.randn(n, 5), torch.randn(5, 3), form=form)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_rows_of_zeros_get_no_gradient():
    student = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    anchored_loss(student, torch.randn(2, 3), torch.eye(3)[:, :2]).backward()
    assert (student.grad[0] == 0).all()
    assert student.grad.abs().max() < 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher, matrix = embeddings(8, 3, 1), embeddings(8, 5, 2), embeddings(5, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        low = anchored_loss(student.to(dtype), teacher.to(dtype), matrix.to(dtype))
    assert low.dtype == torch.float32
    expected = anchored_loss(student, teacher, matrix)
    torch.testing.assert_close(low.double(), expected, rtol=5e-2, atol=1e-2)


def networks(d_student, d_teacher, n=60):
    """A teacher with an offset, and a student that is a turned and noisy part of it."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(n, d_teacher, generator=generator) * torch.linspace(3, 1, d_teacher)
    part = torch.randn(d_teacher, d_student, generator=generator)
    student = teacher @ part + 0.1 * torch.randn(n, d_student, generator=generator)
    return Outputs(student), Outputs(teacher + 2)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize(("d_student", "d_teacher"), [(4, 8), (8, 8), (10, 8)])
def test_the_map_is_fixed_orthonormal_and_kept(start, form, centre, d_student, d_teacher):
    student, teacher = networks(d_student, d_teacher)
    method = Anchored(start=start, form=form, centre=centre, weight=3)
    method.setup(student_dim=d_student, teacher_dim=d_teacher, sample=(student, teacher))
    tall = method.map if d_teacher >= d_student else method.map.T
    torch.testing.assert_close(tall.T @ tall, torch.eye(min(d_student, d_teacher)))
    mean = teacher.embedding.mean(0) if centre else torch.zeros(d_teacher)
    torch.testing.assert_close(method.mean, mean)
    assert set(method.state_dict()) == {"map", "mean", "length"}
    assert not list(method.parameters())
    value = method(student, teacher)["coordinates"]
    expected = anchored_loss(
        student.embedding, teacher.embedding, method.map, mean=method.mean, form=form
    )
    torch.testing.assert_close(value, 3 * expected)


def test_the_procrustes_start_is_nearer_than_the_others():
    student, teacher = networks(8, 8)
    gaps = {}
    for start in STARTS:
        method = Anchored(start=start)
        method.setup(student_dim=8, teacher_dim=8, sample=(student, teacher))
        gaps[start] = method(student, teacher)["coordinates"]
    assert gaps["procrustes"] < min(gaps["pca"], gaps["random"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", ["procrustes", "pca"])
def test_a_perfect_student_is_aligned_by_the_aligner(start, form):
    student, teacher = networks(8, 8)
    method = Anchored(start=start, form=form, centre=True)
    method.setup(student_dim=8, teacher_dim=8, sample=(student, teacher))
    perfect = (teacher.embedding - method.mean) @ method.map
    assert method(Outputs(perfect), teacher)["coordinates"] == pytest.approx(0, abs=1e-5)
    weight, bias = method.aligner()
    if form == "cosine":  # its lengths are free
        perfect = perfect / perfect.norm(dim=1, keepdim=True)
        distance = (perfect @ weight.T + bias - teacher.embedding).norm(dim=1)
        assert distance.mean() < (teacher.embedding - bias).norm(dim=1).std() * 1.1
    else:
        torch.testing.assert_close(perfect @ weight.T + bias, teacher.embedding)


def test_principal_coordinates_are_the_students_columns():
    student, teacher = networks(4, 8)
    method = Anchored(start="pca", centre=True, form="squared")
    method.setup(student_dim=4, teacher_dim=8, sample=(student, teacher))
    centred = teacher.embedding - teacher.embedding.mean(0)
    coordinates = centred @ method.map
    spread = coordinates.T @ coordinates
    torch.testing.assert_close(spread, spread.diag().diag(), rtol=0, atol=1e-3)
    assert (spread.diag().diff() < 0).all()
    left = method(Outputs(coordinates), teacher)["coordinates"]
    rest = torch.linalg.svdvals(centred)[4:].square().sum() / len(centred)
    torch.testing.assert_close(left, rest, rtol=1e-3, atol=1e-4)


def test_a_given_map_is_taken_as_it_is():
    matrix, mean = torch.randn(5, 3), torch.randn(5)
    method = Anchored(start="given")
    with pytest.raises(ValueError, match=r"use_map\(matrix\) before setup.*shape \(5, 3\)"):
        method.setup(student_dim=3, teacher_dim=5)
    method.use_map(matrix, mean=mean)
    with pytest.raises(ValueError, match=r"shape \(6, 3\)"):
        method.setup(student_dim=3, teacher_dim=6)
    method.setup(student_dim=3, teacher_dim=5)
    torch.testing.assert_close((method.map, method.mean), (matrix, mean))
    other = Anchored()
    other.use_map(matrix)
    assert other.start == "given"
    assert other.config()["start"] == "given"
    torch.testing.assert_close(other.mean, torch.zeros(5))
    with pytest.raises(RuntimeError, match="has its map already"):
        other.use_map(matrix)


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 3\) and \(5, 3\)"):
        anchored_loss(rows, torch.randn(5, 3), torch.eye(3))
    with pytest.raises(ValueError, match=r"matrix of shape \(3, 3\).*got \(2, 3\) and None"):
        anchored_loss(rows, rows, torch.eye(3)[:2])
    with pytest.raises(ValueError, match=r"got \(3, 3\) and \(2,\)"):
        anchored_loss(rows, rows, torch.eye(3), mean=torch.zeros(2))
    with pytest.raises(ValueError, match="unknown form 'l1': choose from cosine, squared"):
        anchored_loss(rows, rows, torch.eye(3), form="l1")
    with pytest.raises(ValueError, match="unknown start 'svd': choose from procrustes, pca, ran"):
        Anchored(start="svd")
    with pytest.raises(RuntimeError, match=r"before Anchored\.setup\(\)"):
        Anchored()(Outputs(rows), Outputs(rows))
    with pytest.raises(ValueError, match=r"takes a matrix .* got \(3, 3\) and \(2,\)"):
        Anchored().use_map(torch.eye(3), mean=torch.zeros(2))
    with pytest.raises(ValueError, match="some are NaN or infinite"):
        Anchored().use_map(torch.full((3, 3), torch.nan))
