"""Tests for asterism/methods/dkd.py."""

import math
from functools import partial

import pytest
import torch

from asterism import DKD, Batch, Outputs, dkd_loss, kd_loss


def drawn(embeddings, n=6, c=5):
    target = torch.arange(n) % c
    return embeddings(n, c, seed=1), embeddings(n, c, seed=2), target


def loop_reference(student, teacher, target, temperature):
    """Both divergences, sample by sample, in plain Python."""

    def probabilities(row):
        powers = [math.exp(x / temperature) for x in row]
        return [p / sum(powers) for p in powers]

    def divergence(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    of_target = of_others = 0.0
    for s, t, k in zip(student.tolist(), teacher.tolist(), target.tolist(), strict=True):
        p, q = probabilities(s), probabilities(t)
        of_target += divergence([q[k], 1 - q[k]], [p[k], 1 - p[k]])
        rest_p = [x / (1 - p[k]) for i, x in enumerate(p) if i != k]
        rest_q = [x / (1 - q[k]) for i, x in enumerate(q) if i != k]
        of_others += divergence(rest_q, rest_p)
    scale = temperature**2 / len(target)
    return scale * of_target, scale * of_others


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_follows_the_formula(temperature, embeddings):
    views = drawn(embeddings)
    of_target, of_others = loop_reference(*views, temperature)
    value = dkd_loss(*views, temperature=temperature, target_weight=0.5, nontarget_weight=3)
    assert value.item() == pytest.approx(0.5 * of_target + 3 * of_others, rel=1e-12)


def test_plain_distillation_weighs_the_others_by_the_teachers_doubt(embeddings):
    student, teacher, target = drawn(embeddings, n=1)
    doubt = 1 - (teacher / 4).softmax(1)[0, target].item()
    value = dkd_loss(student, teacher, target, nontarget_weight=doubt)
    torch.testing.assert_close(value, kd_loss(student, teacher))


def test_standardised_logits(embeddings):
    student, teacher, target = drawn(embeddings)

    def at_rest(rows):
        return (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-7)

    value = dkd_loss(student, teacher, target, standardise=True)
    expected = dkd_loss(at_rest(student), at_rest(teacher), target)
    torch.testing.assert_close(value, expected)
    outputs, batch = [Outputs(x, x) for x in (student, teacher)], Batch((), target, target)
    torch.testing.assert_close(sum(DKD(standardise=True)(*outputs, batch).values()), value)
    flat = torch.ones(6, 5, requires_grad=True)
    dkd_loss(flat, teacher.float(), target, standardise=True).backward()
    assert (flat.grad == 0).all()


@pytest.mark.parametrize("c", [2, 5])
def test_gradient(c, embeddings):
    student, teacher, target = drawn(embeddings, 4, c)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: dkd_loss(s, teacher, target), student)


def test_ignores_offsets_of_a_sample_and_order(embeddings):
    student, teacher, target = drawn(embeddings)
    samples, classes = torch.randperm(6), torch.randperm(5)
    moved = student + torch.arange(6.0)[:, None]
    renamed = classes.argsort()[target]
    torch.testing.assert_close(
        dkd_loss(moved[samples][:, classes], teacher[samples][:, classes], renamed[samples]),
        dkd_loss(student, teacher, target),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("true", [0, 1, 2])
def test_huge_logits_stay_finite(dtype, true):
    student = torch.tensor([[1e4, -1e4, 0.0]], dtype=dtype, requires_grad=True)
    value = dkd_loss(student, -student, torch.tensor([true]), temperature=1.0)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(("n", "c"), [(0, 3), (3, 1), (0, 0)])
def test_nothing_to_compare_gives_a_zero_in_the_graph(n, c):
    student = torch.randn(n, c, requires_grad=True)
    value = dkd_loss(student, torch.randn(n, c), torch.zeros(n, dtype=torch.int64))
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher, target = drawn(embeddings)
    with torch.autocast("cpu", torch.bfloat16):
        low = dkd_loss(student.to(dtype), teacher.to(dtype), target)
    assert low.dtype == torch.float32
    expected = dkd_loss(student, teacher, target)
    torch.testing.assert_close(low.double(), expected, rtol=2e-2, atol=1e-3)


def test_says_what_it_needs(unchecked_shapes):
    logits, target = torch.randn(4, 10), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 10\) and \(4, 100\)"):
        dkd_loss(logits, torch.randn(4, 100), target)
    with pytest.raises(ValueError, match=r"true class of each of 4 samples; got \(3,\)"):
        dkd_loss(logits, logits, target[:3])
    with pytest.raises(ValueError, match="both networks need a classifier"):
        DKD()(Outputs(logits), Outputs(logits))
    with pytest.raises(ValueError, match=r"needs labels.*use KD"):
        DKD()(Outputs(logits, logits), Outputs(logits, logits))
    for ask in (DKD, partial(dkd_loss, logits, logits, target)):
        with pytest.raises(ValueError, match=r"positive temperature; got 0"):
            ask(temperature=0)


def test_method_weighs_its_terms(embeddings):
    student, teacher, target = drawn(embeddings)
    outputs = Outputs(student, student), Outputs(teacher, teacher)
    batch = Batch((), torch.arange(6), target)
    terms = DKD(target_weight=2, nontarget_weight=3)(*outputs, batch)
    of_target, of_others = loop_reference(student, teacher, target, 4.0)
    assert terms["target"].item() == pytest.approx(2 * of_target)
    assert terms["nontarget"].item() == pytest.approx(3 * of_others)
    assert set(DKD(target_weight=0)(*outputs, batch)) == {"nontarget"}
    # A class that is masked out makes the part without weight meaningless, and no more.
    student[:, 4] = teacher[:, 4] = -math.inf
    batch = Batch((), torch.arange(6), torch.arange(6) % 4)
    assert DKD(nontarget_weight=0)(*outputs, batch)["target"].isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_classes_are_whole_numbers(dtype, unchecked_shapes):
    logits = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"class numbers, as whole numbers, target\.long\(\); got"):
        dkd_loss(logits, logits, torch.zeros(4, dtype=dtype))
