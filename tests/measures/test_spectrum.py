"""Tests for asterism/measures/spectrum.py."""

import itertools
import math

import numpy as np
import pytest
import torch

from asterism.measures import health, linear_cka


def naive_cka(student, teacher):
    """Through kernels of samples, as in the paper's equation of HSIC: no covariances."""
    n = len(student)
    centre = np.eye(n) - 1 / n

    def hsic(x, y):
        return np.trace(centre @ x @ x.T @ centre @ y @ y.T)

    s, t = student.numpy(), teacher.numpy()
    return hsic(s, t) / math.sqrt(hsic(s, s) * hsic(t, t))


@pytest.mark.parametrize(("n", "wide"), [(40, 5), (12, 30)])
def test_cka_follows_its_kernel_form(n, wide, embeddings):
    teacher = embeddings(n, wide)
    student = teacher[:, :3] + embeddings(n, 3, seed=1) + 5
    found = linear_cka(student, teacher)
    assert found == pytest.approx(naive_cka(student, teacher), rel=1e-9)


def test_cka_knows_copies_strangers_and_the_collapsed(embeddings):
    rows, square = embeddings(60, 4), embeddings(4, 4, seed=1)
    rotation = torch.linalg.qr(square).Q
    assert linear_cka(rows, rows) == pytest.approx(1)
    assert linear_cka(1e3 * rows @ rotation - 7, rows) == pytest.approx(1)
    assert linear_cka(rows @ square, rows) < 0.99
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    assert linear_cka(rows[order], rows) < 0.2
    assert linear_cka(embeddings(4000, 4), embeddings(4000, 4, seed=2)) < 0.01
    assert linear_cka(torch.full((60, 4), 0.1), rows) is None
    assert linear_cka(rows[:1], rows[:1]) is None


def naive_rank(rows):
    values = np.linalg.svd(rows.numpy() - rows.numpy().mean(0), compute_uv=False)
    share = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in share if p > 0))


@pytest.mark.parametrize(("n", "wide"), [(50, 6), (10, 40)])
def test_effective_rank_follows_its_formula(n, wide, embeddings):
    rows = embeddings(n, wide) * torch.linspace(0.1, 3, wide, dtype=torch.float64) + 4
    found = health(rows).effective_rank
    assert found == pytest.approx(naive_rank(rows), rel=1e-9)
    if n > wide:  # to the first order in what a row weighs
        rest = [naive_rank(rows[torch.arange(n) != i]) for i in range(n)]
        lost = np.mean(rest) - torch.tensor(rest).double()
        assert float((found.parts - lost).norm()) < 0.3 * float(lost.norm())


def test_effective_rank_counts_equal_directions():
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)))
    assert health(corners).effective_rank == pytest.approx(4)
    flat = corners * torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert health(flat).effective_rank == pytest.approx(2)
    assert health(flat[:, :1].repeat(1, 4)).effective_rank == pytest.approx(1)


def test_anisotropy_is_the_mean_cosine_of_pairs(embeddings):
    rows = embeddings(30, 5) + 0.7
    cosines = [
        float(torch.cosine_similarity(rows[i], rows[j], dim=0))
        for i, j in itertools.combinations(range(30), 2)
    ]
    found = health(rows).anisotropy
    assert found == pytest.approx(np.mean(cosines))
    rest = [float(health(rows[torch.arange(30) != i]).anisotropy) for i in range(30)]
    lost = (np.mean(rest) - torch.tensor(rest).double()) * 28 / 30
    assert torch.allclose(found.parts, lost, atol=1e-9)
    assert health(1e-3 * embeddings(30, 5) + 1).anisotropy == pytest.approx(1, abs=1e-4)
    assert health(embeddings(3000, 5)).anisotropy == pytest.approx(0, abs=0.01)


def test_dead_columns_are_counted(embeddings):
    rows = embeddings(50, 6)
    rows[:, 1] = 7.0
    rows[:, 4] *= 1e-3
    assert health(rows).dead_dimensions == 2
    assert health(1e-6 * rows).dead_dimensions == 2


@pytest.mark.parametrize("value", [0.0, 0.1, -3e5])
def test_a_collapsed_embedding_has_no_rank_and_is_all_dead(value):
    found = health(torch.full((40, 8), value))
    assert found.effective_rank == 0
    assert found.effective_rank.interval() == (0, 0)
    assert found.dead_dimensions == found.width == 8
    assert found.anisotropy == (None if value == 0 else pytest.approx(1))


def test_too_few_rows():
    for n in (0, 1):
        found = health(torch.ones(n, 3))
        assert (found.effective_rank, found.anisotropy, found.width) == (None, None, 3)
