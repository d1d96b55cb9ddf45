"""Tests for asterism/methods/dist.py."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import DIST, Outputs, dist_inter_loss, dist_intra_loss, dist_loss


def loop_reference(student, teacher, temperature, inter_weight, intra_weight):
    """The formula, vector by vector, in plain Python."""

    def probabilities(rows):
        powers = [[math.exp(x / temperature) for x in row] for row in rows.tolist()]
        return [[p / sum(row) for p in row] for row in powers]

    def correlation(x, y):
        x, y = [a - sum(x) / len(x) for a in x], [b - sum(y) / len(y) for b in y]
        return sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))

    def gap(one, other):
        rows = list(zip(one, other, strict=True))
        return temperature**2 * sum(1 - correlation(*pair) for pair in rows) / len(rows)

    student, teacher = probabilities(student), probabilities(teacher)
    inter = gap(student, teacher)
    intra = gap(list(zip(*student, strict=True)), list(zip(*teacher, strict=True)))
    return inter_weight * inter + intra_weight * intra


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.0), (0.0, 2.0), (0.5, 3.0)])
def test_follows_the_formula(temperature, weights, embeddings):
    student, teacher = embeddings(6, 5, seed=1), embeddings(6, 5, seed=2)
    inter, intra = weights
    value = dist_loss(
        student, teacher, temperature=temperature, inter_weight=inter, intra_weight=intra
    )
    # The authors' eps of 1e-8 beside products of lengths is left out of the reference.
    expected = loop_reference(student, teacher, temperature, inter, intra)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_each_part_by_itself_follows_the_formula(temperature, embeddings):
    student, teacher = embeddings(6, 5, seed=1), embeddings(6, 5, seed=2)
    for loss, inter, intra in (dist_inter_loss, 1, 0), (dist_intra_loss, 0, 1):
        value = loss(student, teacher, temperature=temperature)
        expected = loop_reference(student, teacher, temperature, inter, intra)
        assert value.item() == pytest.approx(expected, rel=1e-5)
        options = {"temperature": temperature, "inter_weight": inter, "intra_weight": intra}
        torch.testing.assert_close(value, dist_loss(student, teacher, **options))


def test_gradient(embeddings):
    student, teacher = embeddings(4, 5, seed=1).requires_grad_(), embeddings(4, 5, seed=2)
    assert torch.autograd.gradcheck(lambda s: dist_loss(s, teacher), student)


@given(shift=st.floats(-100, 100), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_ignores_offsets_of_a_sample_and_order(shift, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    samples, classes = (torch.randperm(k, generator=generator) for k in (6, 5))
    moved = student + shift * torch.arange(6.0)[:, None]
    torch.testing.assert_close(
        dist_loss(moved[samples][:, classes], teacher[samples][:, classes]),
        dist_loss(student, teacher),
    )


def test_asks_for_correlation_not_equality():
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]]).double()
    flatter = (probabilities + 1 / 3) / 2
    assert dist_loss(flatter.log(), probabilities.log()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "c"), [(0, 3), (1, 1), (3, 1), (0, 0)])
def test_too_little_to_relate_gives_a_zero_in_the_graph(n, c):
    student = torch.randn(n, c, requires_grad=True)
    value = dist_loss(student, torch.randn(n, c), inter_weight=float(n < 2))
    value.backward()
    assert (student.grad == 0).all()
    assert value == (1 if (n, c) == (3, 1) else 0)


def test_one_sample_has_no_relation_within_classes(embeddings):
    student, teacher = embeddings(1, 4, seed=1), embeddings(1, 4, seed=2)
    torch.testing.assert_close(
        dist_loss(student, teacher), dist_loss(student, teacher, intra_weight=0)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_predictions_get_no_gradient(dtype):
    student = torch.full((4, 3), 0.1, dtype=dtype, requires_grad=True)
    value = dist_loss(student, torch.randn(4, 3, dtype=dtype))
    value.backward()
    assert value == 2
    assert (student.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_huge_logits_stay_finite(dtype):
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    value = dist_loss(student, -student)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 10, seed=1), embeddings(8, 10, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = dist_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), dist_loss(student, teacher), rtol=2e-2, atol=1e-3)


def test_says_what_it_needs(unchecked_shapes):
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 10\) and \(4, 100\)"):
        dist_loss(torch.randn(4, 10), torch.randn(4, 100))
    with pytest.raises(ValueError, match="both networks need a classifier"):
        DIST()(Outputs(torch.randn(4, 3)), Outputs(torch.randn(4, 3)))
    rows = torch.randn(4, 3)
    losses = [partial(f, rows, rows) for f in (dist_loss, dist_inter_loss, dist_intra_loss)]
    for ask in (DIST, *losses):
        with pytest.raises(ValueError, match=r"positive temperature; got -1"):
            ask(temperature=-1)


def test_method_weighs_its_terms(embeddings):
    student, teacher = embeddings(6, 5, seed=1), embeddings(6, 5, seed=2)
    outputs = Outputs(student, student), Outputs(teacher, teacher)
    terms = DIST(inter_weight=2, intra_weight=3, temperature=4)(*outputs)
    total = dist_loss(student, teacher, temperature=4, inter_weight=2, intra_weight=3)
    torch.testing.assert_close(sum(terms.values()), total)
    assert set(terms) == {"inter", "intra"}
    assert set(DIST(inter_weight=0)(*outputs)) == {"intra"}
