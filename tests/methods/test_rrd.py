"""Tests for asterism/methods/rrd.py (the authors' values: test_rrd_reference.py)."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import RRD, Outputs, rrd_loss


def loop_reference(student, teacher, bank, tau_s, tau_t):
    """The formula, row by row of batch and bank, in plain Python."""

    def profile(row, temperature):
        row = row / row.norm()
        powers = [math.exp(float(row @ m) / temperature) for m in bank]
        return [p / sum(powers) for p in powers]

    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        pairs = zip(profile(s, tau_s), profile(t, tau_t), strict=True)
        total -= sum(q * math.log(p) for p, q in pairs)
    return total / len(student)


def naive(student, teacher, bank, tau_s=0.1, tau_t=0.02):
    """The formula with its two full matrices."""
    student, teacher = F.normalize(student), F.normalize(teacher)
    target = (teacher @ bank.T / tau_t).softmax(1)
    return -(target * (student @ bank.T / tau_s).log_softmax(1)).sum(1).mean()


def small(**settings):
    torch.manual_seed(0)
    method = RRD(**{"bank_size": 10, "dim": 4} | settings)
    method.setup(student_dim=5, teacher_dim=7)
    return method.double()


def test_follows_the_formula(embeddings):
    student, teacher, bank = (embeddings(n, 3, seed=n) for n in (5, 5, 11))
    value = rrd_loss(student, teacher, bank, student_temperature=0.5, teacher_temperature=0.3)
    expected = loop_reference(student, teacher, bank, 0.5, 0.3)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_towards_zero_teacher_temperature_it_is_info_nce(embeddings):
    student, teacher, bank = (F.normalize(embeddings(n, 8, seed=n)) for n in (4, 5, 30))
    bank[7:11] = teacher[:4]
    value = rrd_loss(student, teacher[:4], bank, teacher_temperature=1e-4)
    own = torch.arange(7, 11)
    torch.testing.assert_close(value, F.cross_entropy(student @ bank.T / 0.1, own))


def test_a_copy_at_equal_temperatures_has_no_gradient(embeddings):
    student = embeddings(6, 8).requires_grad_()
    rrd_loss(
        student, student.detach(), embeddings(20, 8, seed=1), teacher_temperature=0.1
    ).backward()
    assert (student.grad == 0).all()


def test_a_sample_finds_itself_in_the_bank_when_it_enters_before():
    method = small(teacher_temperature=1e-4)
    teacher = torch.randn(4, 7, dtype=torch.float64)
    method(Outputs(torch.randn(4, 5, dtype=torch.float64)), Outputs(teacher))
    own = F.normalize(method.project_teacher(teacher))
    torch.testing.assert_close((own * method.bank.rows[:4]).sum(1), torch.ones_like(own[:, 0]))


@pytest.mark.parametrize("k", [1, 7, 40])
def test_gradient(k, embeddings):
    student, teacher = embeddings(5, 4, seed=1).requires_grad_(), embeddings(5, 4, seed=2)
    bank = embeddings(k, 4, seed=3)
    assert torch.autograd.gradcheck(
        lambda s: rrd_loss(s, teacher, bank, student_temperature=0.4, teacher_temperature=0.2),
        student,
    )


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=25)
def test_ignores_the_lengths_of_rows_a_common_rotation_and_all_orders(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, bank, square = (
        torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (6, 6, 9, 4)
    )
    lengths = scale * torch.rand(6, 1, generator=generator, dtype=torch.float64) + 1e-3
    rotation = torch.linalg.qr(square).Q
    order, shelf = torch.randperm(6, generator=generator), torch.randperm(9, generator=generator)
    moved = (lengths * student @ rotation)[order]
    value = rrd_loss(moved, (teacher @ rotation)[order] / scale, (bank @ rotation)[shelf])
    torch.testing.assert_close(value, rrd_loss(student, teacher, bank))


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_of_any_size(scale, dtype, embeddings):
    student = (scale * embeddings(6, 8, seed=1)).to(dtype).requires_grad_()
    teacher, bank = embeddings(6, 8, seed=2).to(dtype), F.normalize(embeddings(20, 8)).to(dtype)
    value = rrd_loss(student, scale * teacher, bank)
    value.backward()
    assert student.grad.isfinite().all()
    if scale > 1e-12:
        expected = rrd_loss(student.double() / scale, teacher.double(), bank.double())
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_zero_row_has_a_uniform_profile_and_no_gradient(embeddings):
    student, teacher, bank = (embeddings(n, 8, seed=n) for n in (4, 4, 16))
    student[1:3] = 0
    teacher[2] = 0
    student.requires_grad_()
    assert rrd_loss(student[1:3], teacher[1:3], bank).item() == pytest.approx(math.log(16))
    rrd_loss(student, teacher, bank).backward()
    assert (student.grad[1:3] == 0).all()
    assert (student.grad[[0, 3]] != 0).any(1).all()


def test_an_empty_batch_is_zero():
    method = small()
    student = torch.zeros(0, 5, requires_grad=True)
    value = method(Outputs(student), Outputs(torch.zeros(0, 7)))["relation"]
    value.backward()
    assert value == 0
    assert method.bank.pointer == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher, bank = (F.normalize(embeddings(n, 8, seed=n)) for n in (8, 9, 20))
    with torch.autocast("cpu", torch.bfloat16):
        low = rrd_loss(student.to(dtype), teacher[:8].to(dtype), bank.float())
    assert low.dtype == torch.float32
    expected = rrd_loss(student, teacher[:8], bank)
    torch.testing.assert_close(low.double(), expected, rtol=5e-2, atol=1e-3)


def test_half_precision_works_without_autocast():
    method = small().float()
    outputs = Outputs(torch.randn(3, 5).half()), Outputs(torch.randn(3, 7).half())
    assert method(*outputs)["relation"].dtype == torch.float32


@pytest.mark.parametrize("enqueue", ["before", "after"])
@pytest.mark.parametrize("n", [1, 3, 10, 23])
def test_any_batch_goes_with_any_bank(enqueue, n, embeddings):
    method = small(enqueue=enqueue)
    for step in range(3):
        student = embeddings(n, 5, seed=step).requires_grad_()
        teacher = embeddings(n, 7, seed=step + 9)
        bank = method.bank.rows.clone()
        theirs = F.normalize(method.project_teacher(teacher))
        kept = min(n, 10)
        for i in range(n):
            if enqueue == "before":
                bank[(step * n + i) % 10] = theirs[i]
        expected = naive(method.project_student(student), theirs, bank)
        (want,) = torch.autograd.grad(expected, student)
        loss = method(Outputs(student), Outputs(teacher))["relation"]
        (gradient,) = torch.autograd.grad(loss, student)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient, want)
        assert method.bank.pointer == (step + 1) * n % 10
        slots = torch.arange((step + 1) * n - kept, (step + 1) * n) % 10
        torch.testing.assert_close(method.bank.rows[slots], theirs[n - kept :])


@pytest.mark.parametrize("enqueue", ["before", "after"])
def test_the_bank_may_move_on_before_backward(enqueue, embeddings):
    method = small(enqueue=enqueue)
    student, teacher = embeddings(4, 5, seed=1).requires_grad_(), embeddings(4, 7, seed=2)
    before = method.bank.rows.clone()
    if enqueue == "before":
        before[:4] = F.normalize(method.project_teacher(teacher))
    expected = naive(method.project_student(student), method.project_teacher(teacher), before)
    (want,) = torch.autograd.grad(expected, student)
    loss = method(Outputs(student), Outputs(teacher))["relation"]
    method(Outputs(embeddings(9, 5)), Outputs(embeddings(9, 7)))
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, want)


def test_evaluating_leaves_the_bank_alone_and_the_weight_counts(embeddings):
    method = small().eval()
    before = method.bank.rows.clone()
    outputs = Outputs(embeddings(3, 5)), Outputs(embeddings(3, 7))
    values = [method(*outputs)["relation"] for _ in range(2)]
    assert values[0] == values[1]
    assert torch.equal(method.bank.rows, before)
    heavy = small(weight=3.0).eval()(*outputs)
    torch.testing.assert_close(heavy["relation"], 3 * values[0])


def test_the_optimiser_leaves_the_teachers_head_alone(embeddings):
    method = small()
    before = {name: value.clone() for name, value in method.project_teacher.state_dict().items()}
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, weight_decay=0.5)
    head = method.project_student.weight.clone()
    for seed in range(3):
        terms = method(Outputs(embeddings(4, 5, seed)), Outputs(embeddings(4, 7, seed)))
        optimizer.zero_grad()
        terms["relation"].backward()
        optimizer.step()
    torch.testing.assert_close(dict(method.project_teacher.state_dict()), before, rtol=0, atol=0)
    assert not torch.equal(head, method.project_student.weight)


def test_a_restart_goes_on_exactly(embeddings):
    def steps(method, seeds):
        return [
            method(Outputs(embeddings(3, 5, seed)), Outputs(embeddings(3, 7, seed)))["relation"]
            for seed in seeds
        ]

    one = small()
    steps(one, range(5))
    torch.manual_seed(5)
    two = RRD(bank_size=10, dim=4)
    two.setup(student_dim=5, teacher_dim=7)
    two.double().load_state_dict(one.state_dict())
    assert steps(one, range(5, 9)) == steps(two, range(5, 9))


def test_one_bad_batch_does_not_spoil_the_bank(embeddings):
    method = RRD(bank_size=8, dim=4)
    method.setup(student_dim=6, teacher_dim=5)
    student, teacher = Outputs(embeddings(3, 6, seed=1)), embeddings(3, 5, seed=2)
    for bad in (float("nan"), float("inf")):
        broken = teacher.clone()
        broken[1, 2] = bad
        assert method(student, Outputs(broken))["relation"].isnan()
        assert method(student, Outputs(teacher))["relation"].isfinite()


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 3\) and \(5, 3\)"):
        rrd_loss(rows, torch.randn(5, 3), rows)
    with pytest.raises(ValueError, match=r"at least one row.*got \(4, 2\) for embeddings of width"):
        rrd_loss(rows, rows, torch.randn(4, 2))
    with pytest.raises(ValueError, match="positive temperatures; got student_temperature=0"):
        rrd_loss(rows, rows, rows, student_temperature=0)
    with pytest.raises(ValueError, match="RRD needs positive temperatures"):
        RRD(teacher_temperature=-1)
    with pytest.raises(ValueError, match="teacher_temperature=inf"):
        RRD(teacher_temperature=float("inf"))
    with pytest.raises(ValueError, match="'before' or 'after' the comparison; got 'never'"):
        RRD(enqueue="never")
    with pytest.raises(ValueError, match="at least 1; got 0 and 128"):
        RRD(bank_size=0)


def test_says_when_to_call_setup():
    with pytest.raises(RuntimeError, match=r"before RRD.setup\(\): call method.setup"):
        RRD()(Outputs(torch.randn(4, 3)), Outputs(torch.randn(4, 3)))
    method = small()
    with pytest.raises(RuntimeError, match="called twice"):
        method.setup(student_dim=5, teacher_dim=7)
