"""Tests for asterism/methods/crd.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import CRD, Batch, Outputs, crd_loss


def loop_reference(student, teacher, negatives, tau, counts=None, rows=50, normaliser=None):
    """The authors' form, with probabilities, score by score in plain Python."""
    student, teacher = F.normalize(student), F.normalize(teacher)
    if counts is None:
        counts = [[True] * len(negatives)] * len(student)
    found, refused = [], []
    for s, t, allowed in zip(student, teacher, counts, strict=True):
        found.append(math.exp(float(s @ t) / tau))
        pairs = zip(negatives, allowed, strict=True)
        refused.append([math.exp(float(s @ x) / tau) for x, yes in pairs if yes])
    if normaliser is None:
        scores = found + [x for row in refused for x in row]
        normaliser = rows * sum(scores) / len(scores)
    total = 0.0
    for score, others in zip(found, refused, strict=True):
        noise = len(others) / rows
        total -= math.log(score / normaliser / (score / normaliser + noise))
        total -= sum(math.log(noise / (x / normaliser + noise)) for x in others)
    return total / len(student)


def small(**settings):
    torch.manual_seed(0)
    method = CRD(**{"negatives": 30, "dim": 4} | settings)
    method.setup(student_dim=5, teacher_dim=7, rows=20)
    return method.double()


def step(method, embeddings, index, seed=0, student=None):
    n = len(index)
    student = embeddings(n, 5, seed) if student is None else student
    batch = Batch((), torch.tensor(index), torch.tensor(index) % 3)
    return method(Outputs(student), Outputs(embeddings(n, 7, seed + 50)), batch)["contrast"]


@pytest.mark.parametrize("tau", [0.07, 0.5])
def test_follows_the_formula(tau, embeddings):
    student, teacher, negatives = (embeddings(n, 3, seed=n) for n in (6, 6, 9))
    negatives = F.normalize(negatives)
    value = crd_loss(student, teacher + 1, negatives, temperature=tau)
    expected = loop_reference(student, teacher + 1, negatives, tau)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    counts = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    value = crd_loss(
        student,
        teacher,
        negatives,
        temperature=tau,
        is_negative=counts,
        log_mean=torch.tensor(0.3, dtype=torch.float64),
    )
    expected = loop_reference(
        student, teacher, negatives, tau, counts.tolist(), normaliser=50 * math.exp(0.3)
    )
    assert value.item() == pytest.approx(expected, rel=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("own_class", [True, False])
def test_method_follows_the_authors_over_several_steps(own_class, embeddings):
    method = small(own_class_negatives=own_class)
    ours, theirs = (m.rows.clone() for m in (method.student_memory, method.teacher_memory))
    normalisers, seen = None, {}
    for seed, index in enumerate([[0, 4, 7, 9], [3, 4, 19, 0], [1, 2, 3, 4]]):
        value = step(method, embeddings, index, seed)
        s = F.normalize(method.project_student(embeddings(4, 5, seed)))
        t = F.normalize(method.project_teacher(embeddings(4, 7, seed + 50)))
        counts = [
            [k != i and (own_class or seen.get(k) != i % 3) for k in range(20)] for i in index
        ]
        pairs = [(s, theirs), (t, ours)]
        if normalisers is None:
            normalisers = []
            for rows, memory in pairs:
                scores = (rows @ memory.T / 0.07).exp()
                allowed = torch.tensor(counts)
                allowed[range(4), index] = True
                normalisers.append(20 * float(scores[allowed].mean()))
        expected = sum(
            loop_reference(rows, memory[index], memory, 0.07, counts, 20, normaliser)
            for (rows, memory), normaliser in zip(pairs, normalisers, strict=True)
        )
        assert value.item() == pytest.approx(0.8 * expected, rel=1e-6)
        for memory, rows in ((ours, s), (theirs, t)):
            memory[index] = F.normalize(memory[index] + rows.detach())
        torch.testing.assert_close(method.student_memory.rows, ours)
        torch.testing.assert_close(method.teacher_memory.rows, theirs)
        seen |= {i: i % 3 for i in index}


def test_gradient(embeddings):
    student, teacher, negatives = (embeddings(n, 3, seed=n) for n in (5, 5, 7))
    log_mean = torch.tensor(0.5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda s: crd_loss(s, teacher, negatives, temperature=0.5, log_mean=log_mean),
        student.requires_grad_(),
    )


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=25)
def test_ignores_the_lengths_of_rows_a_common_rotation_and_all_orders(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, negatives, square = (
        torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (6, 6, 9, 4)
    )
    rotation = torch.linalg.qr(square).Q
    order, shelf = torch.randperm(6, generator=generator), torch.randperm(9, generator=generator)
    value = crd_loss(
        (scale * student @ rotation)[order],
        (teacher @ rotation)[order] / scale,
        (negatives @ rotation)[shelf],
        temperature=0.5,
    )
    torch.testing.assert_close(value, crd_loss(student, teacher, negatives, temperature=0.5))


def test_negatives_are_drawn_alike_on_every_rank_and_after_a_restart(embeddings):
    one, two = small(negatives=6), small(negatives=6)
    for seed in range(3):
        step(one, embeddings, [seed, seed + 1], seed)
    torch.manual_seed(9)
    two.load_state_dict(one.state_dict())
    assert not torch.equal(one._draw(), small(negatives=6)._draw())
    for seed in range(3, 6):
        first = step(one, embeddings, [seed, seed + 1], seed)
        assert first == step(two, embeddings, [seed, seed + 1], seed)


def test_samples_that_never_come_are_negatives_in_the_first_pass_only(embeddings):
    method = small(dim=4)
    for first in (0, 4, 8, 12):  # 16 to 19 are held out
        assert method._draw().tolist() == list(range(20))
        step(method, embeddings, range(first, first + 4))
    step(method, embeddings, range(4))
    assert method._draw().tolist() == list(range(16))


def test_a_bad_first_batch_does_not_freeze_its_normaliser(embeddings):
    method = small(temperature=1)
    student = embeddings(3, 5)
    student[0, 0] = math.inf
    step(method, embeddings, [0, 1, 2], student=student)
    assert step(method, embeddings, [3, 4, 5]).isfinite()
    assert method.log_means.isfinite().all()


def test_evaluating_leaves_no_trace(embeddings):
    method = small().eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert step(method, embeddings, [1, 2]) == step(method, embeddings, [1, 2])
    torch.testing.assert_close(dict(method.state_dict()), before, rtol=0, atol=0)


def test_the_memories_may_move_on_before_backward(embeddings):
    gradients = []
    for again in (False, True):
        method = small()
        student = embeddings(2, 5).requires_grad_()
        loss = step(method, embeddings, [1, 2], student=student)
        if again:
            step(method, embeddings, [1, 2, 3], seed=1)
        loss.backward()
        gradients.append(student.grad)
    assert torch.equal(*gradients)


def test_heads_of_both_networks_learn(embeddings):
    method = small()
    step(method, embeddings, [0, 1, 2]).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in method.parameters())


def test_degenerate_batches_stay_finite(embeddings):
    method = small()
    empty = torch.zeros(0, 5, requires_grad=True, dtype=torch.float64)
    step(method, embeddings, [], student=empty).backward()
    assert method.student_memory.visits == 0
    rows = torch.zeros(4, 3, requires_grad=True)
    nobody = torch.zeros(4, 6, dtype=torch.bool)
    value = crd_loss(rows, torch.randn(4, 3), torch.randn(6, 3), is_negative=nobody)
    value.backward()
    assert value.isfinite()
    assert (rows.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher, negatives = (embeddings(n, 3, seed=n) for n in (6, 6, 9))
    arguments = (student, teacher, F.normalize(negatives))
    with torch.autocast("cpu", torch.bfloat16):
        low = crd_loss(*(rows.to(dtype) for rows in arguments), temperature=0.5)
    assert low.dtype == torch.float32
    expected = crd_loss(*arguments, temperature=0.5)
    torch.testing.assert_close(low.double(), expected, rtol=5e-2, atol=1e-3)


def test_says_what_it_needs(unchecked_shapes, embeddings):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 3\) and \(5, 3\)"):
        crd_loss(rows, torch.randn(5, 3), rows)
    with pytest.raises(ValueError, match=r"got \(4, 2\) for embeddings of width 3"):
        crd_loss(rows, rows, torch.randn(4, 2))
    with pytest.raises(ValueError, match="positive temperature; got 0"):
        crd_loss(rows, rows, rows, temperature=0)
    with pytest.raises(ValueError, match="CRD needs a positive temperature; got inf"):
        CRD(temperature=float("inf"))
    with pytest.raises(ValueError, match=r"momentum in \[0, 1\); got negatives=16384, dim=128"):
        CRD(momentum=1)
    with pytest.raises(ValueError, match=r"number of training samples; got rows=None"):
        CRD().setup(student_dim=5, teacher_dim=7)
    with pytest.raises(RuntimeError, match=r"before CRD.setup\(\): call method.setup"):
        CRD()(Outputs(rows), Outputs(rows))
    method = small()
    with pytest.raises(RuntimeError, match="called twice"):
        method.setup(student_dim=5, teacher_dim=7, rows=20)
    with pytest.raises(ValueError, match=r"needs batch\.index.*got 2 samples and 0 rows"):
        method(Outputs(embeddings(2, 5)), Outputs(embeddings(2, 7)))
    with pytest.raises(ValueError, match="once for each view of it; got 2 samples and 1 rows"):
        step(method, embeddings, [0], student=embeddings(2, 5))
    batch = Batch((), torch.tensor([0, 1]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"CRD .*one row per sample.*got \(2, 5\) and \(1, 7\)"):
        method(Outputs(embeddings(2, 5)), Outputs(embeddings(1, 7)), batch)
    for index in (20, -1):
        with pytest.raises(ValueError, match=f"20 training samples; got index {index}"):
            step(method, embeddings, [0, index])
    assert CRD(own_class_negatives=True).needs == {"index"}
    with pytest.raises(ValueError, match=r"without labels use CRD\(own_class_negatives=True\)"):
        method(
            Outputs(embeddings(2, 5)), Outputs(embeddings(2, 7)), Batch((), torch.tensor([0, 1]))
        )
