"""Tests for asterism/methods/simreg.py."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asterism import Outputs, SimReg, simreg_loss


def loop_reference(student, teacher):
    """The formula, row by row, in plain Python."""

    def unit(row):
        return [x / math.hypot(*row) for x in row]

    rows = list(zip(student.tolist(), teacher.tolist(), strict=True))
    return sum(math.dist(unit(s), unit(t)) ** 2 for s, t in rows) / len(rows)


def test_follows_the_formula(embeddings):
    student, teacher = embeddings(6, 4, seed=1), embeddings(6, 4, seed=2)
    value = simreg_loss(student, teacher)
    assert value.item() == pytest.approx(loop_reference(student, teacher), rel=1e-12)


def test_gradient(embeddings):
    student, teacher = embeddings(4, 3, seed=1).requires_grad_(), embeddings(4, 3, seed=2)
    assert torch.autograd.gradcheck(lambda s: simreg_loss(s, teacher), student)


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=15)
def test_ignores_lengths_a_common_turn_and_order(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((7, 4), (7, 4), (4, 4))
    )
    turn, order = torch.linalg.qr(square).Q, torch.randperm(7, generator=generator)
    moved = simreg_loss(scale * (student @ turn)[order], (teacher @ turn)[order] / scale)
    torch.testing.assert_close(moved, simreg_loss(student, teacher))
    assert simreg_loss(scale * teacher, teacher).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_few_rows_stay_connected(n):
    student = torch.randn(n, 3, requires_grad=True)
    value = simreg_loss(student, torch.randn(n, 3))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 4, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = simreg_loss(student.to(dtype), teacher.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), simreg_loss(student, teacher), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(("layers", "norms"), [(1, 0), (2, 1), (4, 2)])
def test_the_head_is_deep_and_is_dropped(layers, norms):
    method = SimReg(layers=layers, weight=2)
    method.setup(student_dim=3, teacher_dim=5)
    kinds = [type(part) for part in method.head]
    assert kinds.count(nn.Linear) == layers
    assert kinds.count(nn.BatchNorm1d) == norms
    student, teacher = Outputs(torch.randn(8, 3)), Outputs(torch.randn(8, 5, requires_grad=True))
    value = method(student, teacher)["coordinates"]
    expected = simreg_loss(method.head(student.embedding), teacher.embedding)
    torch.testing.assert_close(value, 2 * expected)
    value.backward()
    assert all(p.grad is not None for p in method.parameters())
    assert teacher.embedding.grad is None
    assert method.aligner() is None


@pytest.mark.parametrize("training", [True, False])
def test_a_single_row_and_evaluation_leave_no_trace(training):
    method = SimReg().train(training)
    method.setup(student_dim=3, teacher_dim=5)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    n = 1 if training else 8
    value = method(Outputs(torch.randn(n, 3)), Outputs(torch.randn(n, 5)))["coordinates"]
    assert value.isfinite()
    torch.testing.assert_close(dict(method.state_dict()), before)


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 3\) and \(4, 5\)"):
        simreg_loss(rows, torch.randn(4, 5))
    with pytest.raises(ValueError, match="at least 1 layer; got 0"):
        SimReg(layers=0)
    with pytest.raises(RuntimeError, match=r"before SimReg\.setup\(\)"):
        SimReg()(Outputs(rows), Outputs(rows))
