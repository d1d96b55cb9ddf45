"""Tests for asterism/relations/maps.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.relations.maps import (
    finite_rows,
    fixed_map,
    principal_map,
    procrustes_map,
    random_map,
    whitening,
)
from asterism.types import Outputs

WIDTHS = [(3, 7), (5, 5), (7, 3)]  # of student and teacher


def is_orthonormal(matrix, tolerance=1e-10):
    """Columns, or rows where there are fewer of them."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = tall.T @ tall
    return torch.allclose(gram, torch.eye(len(gram), dtype=gram.dtype), atol=tolerance)


@pytest.mark.parametrize(("d_student", "d_teacher"), WIDTHS)
@given(seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=10)
def test_no_orthonormal_map_does_better_than_procrustes(d_student, d_teacher, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(20, d, generator=generator, dtype=torch.float64) for d in (d_student, d_teacher)
    )
    best = procrustes_map(student, teacher)
    assert best.shape == (d_teacher, d_student)
    assert is_orthonormal(best)
    reached = (student @ best.T * teacher).sum()
    for _ in range(20):
        tall = torch.randn(max(best.shape), min(best.shape), generator=generator).double()
        other = torch.linalg.qr(tall).Q
        other = other if best.shape == other.shape else other.T
        assert (student @ other.T * teacher).sum() <= reached + 1e-9


@pytest.mark.parametrize("d_teacher", [4, 7])
def test_procrustes_finds_the_turn_between_two_networks(d_teacher, embeddings):
    turn = torch.linalg.qr(embeddings(d_teacher, 4, seed=1)).Q
    student = embeddings(30, 4)
    torch.testing.assert_close(procrustes_map(3 * student, student @ turn.T), turn)


@pytest.mark.parametrize("rank", [0, 1])
def test_procrustes_of_collapsed_rows_is_orthonormal_still(rank, embeddings):
    student = torch.ones(9, 4, dtype=torch.float64) * rank
    for teacher in (embeddings(9, 6), torch.ones(9, 6, dtype=torch.float64) * rank):
        assert is_orthonormal(procrustes_map(student, teacher))


def test_principal_directions_keep_the_most_of_the_teacher(embeddings):
    teacher = embeddings(50, 6) * torch.tensor([5.0, 4, 3, 2, 1, 0.5]).double()
    found = principal_map(teacher, 3)
    assert is_orthonormal(found)
    values = torch.linalg.svdvals(teacher)
    kept = (teacher @ found).square().sum(0)
    torch.testing.assert_close(kept, values[:3].square())
    assert (found.gather(0, found.abs().argmax(0, keepdim=True)) > 0).all()  # signs are settled
    wide = principal_map(teacher, 8)
    torch.testing.assert_close(wide[:, :3], found)
    assert (wide[:, 6:] == 0).all()
    assert is_orthonormal(wide)


def test_few_rows_have_principal_directions_too(embeddings):
    assert is_orthonormal(principal_map(embeddings(2, 6), 4))


@pytest.mark.parametrize(("d_student", "d_teacher"), WIDTHS)
def test_the_random_map_moves_no_other_draw(d_student, d_teacher):
    torch.manual_seed(3)
    expected = torch.randn(2)
    torch.manual_seed(3)
    found = random_map(d_student, d_teacher)
    assert found.shape == (d_teacher, d_student)
    assert is_orthonormal(found, 1e-6)
    assert (torch.randn(2) == expected).all()
    assert (random_map(d_student, d_teacher) == found).all()


def test_rows_that_are_not_finite_are_left_out_in_both():
    student, teacher = torch.randn(4, 2), torch.randn(4, 3).half()
    student[1, 0], teacher[2, 1] = torch.nan, torch.inf
    rows = finite_rows((Outputs(student), Outputs(teacher)))
    torch.testing.assert_close(rows, (student[[0, 3]], teacher[[0, 3]].float()), check_dtype=False)
    assert finite_rows(None) is None
    assert finite_rows((Outputs(student[1:2]), Outputs(teacher[1:2]))) is None


@pytest.mark.parametrize("start", ["procrustes", "pca", "random"])
def test_centring_does_not_see_offsets(start, embeddings):
    student, teacher = embeddings(30, 3, seed=1), embeddings(30, 5, seed=2)
    options = {"student_dim": 3, "teacher_dim": 5, "directions": False}
    plain, mean = fixed_map(start, (student, teacher), centre=True, **options)
    moved, there = fixed_map(start, (student + 4, teacher - 7), centre=True, **options)
    torch.testing.assert_close(moved, plain)
    torch.testing.assert_close(there, mean - 7)
    torch.testing.assert_close(mean, teacher.mean(0).float())
    assert (fixed_map(start, (student, teacher), centre=False, **options)[1] == 0).all()
    assert (fixed_map(start, None, centre=True, **options)[0] == random_map(3, 5)).all()


def test_whitened_rows_are_decorrelated(embeddings):
    teacher = embeddings(200, 5) @ embeddings(5, 5, seed=1) + 3
    mean, whitener = whitening(teacher)
    white = (teacher.float() - mean) @ whitener
    torch.testing.assert_close(white.T @ white / 200, torch.eye(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(whitener, whitener.T)  # no needless turn


@pytest.mark.parametrize("n", [1, 2, 9])
def test_empty_directions_are_not_blown_up(n):
    torch.manual_seed(0)
    teacher = torch.randn(n, 30)
    mean, whitener = whitening(teacher)
    assert whitener.isfinite().all()
    white = (teacher - mean) @ whitener
    assert white.square().mean() <= 1.01
    longest = torch.linalg.svdvals(whitener)[0]
    assert n == 1 or longest**2 * (teacher - mean).square().mean() <= 1001
