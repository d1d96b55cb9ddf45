"""Tests for asterism/methods/mlkd.py."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import MLKD, Outputs, kd_loss, mlkd_loss

LEVELS = ["instance", "batch", "class"]


def loop_reference(student, teacher, level, temperatures):
    """The formula, entry by entry, in plain Python."""

    def probabilities(rows, temperature):
        powers = [[math.exp(x / temperature) for x in row] for row in rows.tolist()]
        return [[p / sum(row) for p in row] for row in powers]

    def together(rows):
        return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]

    total = 0.0
    for temperature in temperatures:
        s, t = (probabilities(rows, temperature) for rows in (student, teacher))
        if level == "instance":
            pairs = [(p, q) for x, y in zip(s, t, strict=True) for p, q in zip(x, y, strict=True)]
            total += temperature**2 * sum(q * math.log(q / p) for p, q in pairs) / len(s)
            continue
        if level == "class":
            s, t = (list(zip(*rows, strict=True)) for rows in (s, t))
        ours, theirs = together(s), together(t)
        squares = [
            (a - b) ** 2
            for x, y in zip(ours, theirs, strict=True)
            for a, b in zip(x, y, strict=True)
        ]
        total += sum(squares) / len(s)
    return total / len(temperatures)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("temperatures", [(1.0,), (2.0, 4.0, 6.0)])
def test_follows_the_formula(level, temperatures, embeddings):
    student, teacher = embeddings(6, 4, seed=1), embeddings(6, 4, seed=2)
    value = mlkd_loss(student, teacher, level=level, temperatures=temperatures)
    expected = loop_reference(student, teacher, level, temperatures)
    assert value.item() == pytest.approx(expected, rel=1e-11)


def test_one_instance_temperature_is_plain_distillation(embeddings):
    student, teacher = embeddings(6, 4, seed=1), embeddings(6, 4, seed=2)
    for standardise in (False, True):
        torch.testing.assert_close(
            mlkd_loss(
                student, teacher, level="instance", temperatures=(3.0,), standardise=standardise
            ),
            kd_loss(student, teacher, temperature=3.0, standardise=standardise),
        )


@pytest.mark.parametrize("level", LEVELS)
def test_gradient(level, embeddings):
    student, teacher = embeddings(4, 5, seed=1).requires_grad_(), embeddings(4, 5, seed=2)
    assert torch.autograd.gradcheck(lambda s: mlkd_loss(s, teacher, level=level), student)


@given(shift=st.floats(-100, 100), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=15)
def test_ignores_offsets_of_a_sample_and_order(shift, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (
        torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    samples, classes = (torch.randperm(k, generator=generator) for k in (6, 5))
    moved = (student + shift * torch.arange(6.0)[:, None])[samples][:, classes]
    for level in LEVELS:
        value = mlkd_loss(moved, teacher[samples][:, classes], level=level)
        torch.testing.assert_close(value, mlkd_loss(student, teacher, level=level))
        same = mlkd_loss(student + shift, student, level=level)
        assert same.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("n", "c"), [(0, 3), (1, 1), (0, 0)])
def test_too_little_gives_a_zero_in_the_graph(level, n, c):
    student = torch.randn(n, c, requires_grad=True)
    value = mlkd_loss(student, torch.randn(n, c), level=level)
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_huge_logits_stay_finite(level, dtype):
    student = torch.tensor([[1e4, -1e4, 0.0], [0.0, 1e4, 1e4]], dtype=dtype, requires_grad=True)
    value = mlkd_loss(student, -student, level=level)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(level, dtype, embeddings):
    student, teacher = embeddings(8, 10, seed=1), embeddings(8, 10, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = mlkd_loss(student.to(dtype), teacher.to(dtype), level=level)
    assert low.dtype == torch.float32
    expected = mlkd_loss(student, teacher, level=level)
    torch.testing.assert_close(low.double(), expected, rtol=3e-2, atol=1e-3)


def test_method_weighs_its_terms(embeddings):
    student, teacher = embeddings(6, 5, seed=1), embeddings(6, 5, seed=2)
    outputs = Outputs(student, student), Outputs(teacher, teacher)
    terms = MLKD(instance_weight=2, batch_weight=3, class_weight=4, temperatures=(2.0,))(*outputs)
    for level, weight in zip(LEVELS, (2, 3, 4), strict=True):
        expected = mlkd_loss(student, teacher, level=level, temperatures=(2.0,))
        torch.testing.assert_close(terms[level], weight * expected)
    assert set(MLKD(batch_weight=0)(*outputs)) == {"instance", "class"}


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 10\) and \(4, 100\)"):
        mlkd_loss(torch.randn(4, 10), torch.randn(4, 100), level="batch")
    with pytest.raises(ValueError, match="unknown level 'sample': choose from instance, batch, cl"):
        mlkd_loss(rows, rows, level="sample")
    with pytest.raises(ValueError, match="both networks need a classifier"):
        MLKD()(Outputs(rows), Outputs(rows))
    for ask in (MLKD, partial(mlkd_loss, rows, rows, level="class")):
        with pytest.raises(ValueError, match="positive temperature; got 0"):
            ask(temperatures=(4.0, 0))
        with pytest.raises(ValueError, match="at least one temperature"):
            ask(temperatures=())
