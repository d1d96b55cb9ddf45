"""Tests for asterism/methods/kd.py."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from reference_values import Fixture

from asterism import KD, Outputs, kd_loss

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "rkd.npz")


def loop_reference(student, teacher, temperature):
    """The formula, entry by entry, in plain Python."""

    def probabilities(row):
        powers = [math.exp(x / temperature) for x in row]
        return [p / sum(powers) for p in powers]

    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        pairs = zip(probabilities(s), probabilities(t), strict=True)
        total += sum(q * math.log(q / p) for p, q in pairs)
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_follows_the_formula(temperature, embeddings):
    student, teacher = embeddings(5, 7, seed=1), embeddings(5, 7, seed=2)
    expected = loop_reference(student, teacher, temperature)
    value = kd_loss(student, teacher, temperature=temperature)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def standardised(rows):
    """Each row at mean 0 and unbiased standard deviation 1, in plain Python."""

    def one(row):
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in row) / (len(row) - 1))
        return [(x - mean) / (deviation + 1e-7) for x in row]

    return torch.tensor([one(row) for row in rows.tolist()], dtype=torch.float64)


def test_standardised_logits_follow_the_formula(embeddings):
    student, teacher = 3 * embeddings(5, 7, seed=1) + 2, embeddings(5, 7, seed=2)
    expected = loop_reference(standardised(student), standardised(teacher), 2.0)
    value = kd_loss(student, teacher, temperature=2.0, standardise=True)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    outputs = Outputs(student, student), Outputs(teacher, teacher)
    method = KD(weight=9, temperature=2.0, standardise=True)
    torch.testing.assert_close(method(*outputs)["kd"], 9 * value)
    # Neither the offset nor the size of a row matters.
    lengths = torch.arange(1.0, 6.0)[:, None]
    moved = kd_loss(lengths * student - lengths, teacher, temperature=2.0, standardise=True)
    torch.testing.assert_close(moved, value, rtol=1e-5, atol=0)
    assert torch.autograd.gradcheck(
        lambda s: kd_loss(s, teacher, standardise=True), student.requires_grad_()
    )


def test_logits_without_spread_get_no_gradient_when_they_are_standardised():
    for logits in (torch.full((2, 3), 0.1), torch.randn(2, 1), torch.tensor([[1e4, -1e4, 0.0]])):
        student = logits.requires_grad_()
        value = kd_loss(student, torch.randn_like(student), standardise=True)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()
        assert student.grad.abs().max() < 1


@pytest.mark.parametrize("case", [c for c in REFERENCE.cases if c.startswith("hkd")])
def test_reference_values(case):
    fields = REFERENCE[case]
    student = torch.tensor(fields["student_logits"]).requires_grad_()
    temperature = float(fields["tau"])
    value = kd_loss(student, torch.tensor(fields["teacher_logits"]), temperature=temperature)
    value.backward()
    scale = temperature**2  # the fixtures leave it out
    assert value.item() == pytest.approx(scale * float(fields["loss_unscaled"]), rel=1e-10)
    torch.testing.assert_close(student.grad, scale * torch.tensor(fields["grad_unscaled"]))


def test_gradient(embeddings):
    student, teacher = embeddings(4, 5, seed=1).requires_grad_(), embeddings(4, 5, seed=2)
    assert torch.autograd.gradcheck(lambda s: kd_loss(s, teacher), student)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_huge_logits_stay_finite(dtype):
    student = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype, requires_grad=True)
    value = kd_loss(student, -student, temperature=1.0)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_an_empty_batch_is_zero():
    assert kd_loss(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3)) == 0


def test_says_what_it_needs(unchecked_shapes):
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 10\) and \(4, 100\)"):
        kd_loss(torch.randn(4, 10), torch.randn(4, 100))
    with pytest.raises(ValueError, match="both networks need a classifier"):
        KD()(Outputs(torch.randn(4, 3)), Outputs(torch.randn(4, 3)))
    for ask in (KD, partial(kd_loss, torch.randn(4, 3), torch.randn(4, 3))):
        with pytest.raises(ValueError, match=r"positive temperature; got 0"):
            ask(temperature=0)


def test_what_is_no_tensor_is_named(unchecked_shapes):
    rows = torch.randn(4, 3)
    for given in (
        {"student_logits": rows.numpy(), "teacher_logits": rows},
        {"student_logits": rows, "teacher_logits": rows.numpy()},
        {"student_logits": rows.numpy(), "teacher_logits": rows.numpy()},
    ):
        with pytest.raises(TypeError, match=r"kd_loss takes tensors.*as_tensor.*got ndarray"):
            kd_loss(**given)
        with pytest.raises(TypeError, match="got ndarray"):
            kd_loss(*given.values())
    with pytest.raises(TypeError, match="got list"):
        kd_loss(rows, teacher_logits=rows.tolist())
    # A number of NumPy's is a number.
    assert kd_loss(rows, -rows, temperature=rows.numpy().max() ** 2 + 1) > 0
