"""Tests for asterism/methods/rrkd.py."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_values import Fixture

from asterism import RRKD, Batch, Outputs, rrkd_loss

FORMS = {"cosine": "cos", "mse": "mse", "soft_cross_entropy": "sce"}  # and the fixtures' names
REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "rrkd.npz")
# Where the gradient is zero up to rounding (fixtures' own list).
STATIONARY = {"identical", "rotated", "antipodal", "collapsed_student"}
SIGNS = {"anchors1", "anchors_opposite"}


def loop_reference(student, teacher, student_anchors, teacher_anchors, form):
    """The formula, sample by sample and anchor by anchor, in plain Python."""

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    def softmax(row):
        powers = [math.exp(x / 2) for x in row]
        return [p / sum(powers) for p in powers]

    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        ours = [cosine(s, a) for a in student_anchors.tolist()]
        theirs = [cosine(t, a) for a in teacher_anchors.tolist()]
        pairs = list(zip(ours, theirs, strict=True))
        if form == "cosine":
            total -= math.log(cosine(ours, theirs) / 2 + 0.5 + 1e-8)
        elif form == "mse":
            total += sum((x - y) ** 2 for x, y in pairs) / len(pairs)
        else:
            pairs = zip(softmax(ours), softmax(theirs), strict=True)
            total -= sum(q * math.log(p) for p, q in pairs)
    return total / len(student)


@pytest.mark.parametrize("form", FORMS)
def test_follows_the_formula(form, embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 5, seed=2)
    anchors = embeddings(4, 3, seed=3), embeddings(4, 5, seed=4)
    value = rrkd_loss(student, teacher, form=form).item()
    expected = loop_reference(student, teacher, student, teacher, form)
    assert value == pytest.approx(expected, rel=1e-12)
    value = rrkd_loss(
        student, teacher, student_anchors=anchors[0], teacher_anchors=anchors[1], form=form
    )
    expected = loop_reference(student, teacher, *anchors, form)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("case", REFERENCE.cases)
@pytest.mark.parametrize("form", FORMS)
def test_authors_values(case, form):
    fields = {
        name: torch.tensor(value)
        for name, value in REFERENCE[case].items()
        if value.dtype.kind == "f"
    }
    student = fields["student"].requires_grad_()
    ours, theirs = fields.get("student_anchors"), fields.get("teacher_anchors")
    if ours is not None:
        ours.requires_grad_()
    value = rrkd_loss(
        student, fields["teacher"], student_anchors=ours, teacher_anchors=theirs, form=form
    )
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    expected = fields[f"{FORMS[form]}_loss"]
    if expected.isnan():
        return  # the authors divide zero by zero
    rtol = 1e-5 if case == "float32" else 1e-8 if case in SIGNS else 1e-10
    torch.testing.assert_close(value.detach(), expected.to(value.dtype), rtol=rtol, atol=1e-12)
    for rows, name in ((student, "grad"), (ours, "anchor_grad")):
        if rows is None:
            continue
        gradient = fields[f"{FORMS[form]}_{name}"].to(rows.dtype)
        atol, rtol = 1e-10 * gradient.abs().max().item(), 1e-8
        if case == "float32":
            atol, rtol = 1e-5 * gradient.abs().max().item(), 1e-4
        elif case in SIGNS:
            atol = 1e-8
        elif case in STATIONARY:
            atol = 1e-15
        torch.testing.assert_close(rows.grad, gradient, rtol=rtol, atol=max(atol, 1e-15))


@pytest.mark.parametrize("form", FORMS)
def test_gradient(form, embeddings):
    student, teacher = embeddings(5, 3, seed=1).requires_grad_(), embeddings(5, 4, seed=2)
    ours, theirs = embeddings(3, 3, seed=3).requires_grad_(), embeddings(3, 4, seed=4)
    assert torch.autograd.gradcheck(lambda s: rrkd_loss(s, teacher, form=form), student)
    assert torch.autograd.gradcheck(
        lambda s, a: rrkd_loss(s, teacher, student_anchors=a, teacher_anchors=theirs, form=form),
        (student, ours),
    )


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=25)
def test_ignores_rotation_the_length_of_each_row_negation_and_order(form, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(8, d, generator=generator, dtype=torch.float64) for d in (4, 6, 4)
    )
    rotation = torch.linalg.qr(square[:4]).Q
    lengths = scale * torch.rand(8, 1, generator=generator, dtype=torch.float64) + 1e-3
    order = torch.randperm(8, generator=generator)
    expected = rrkd_loss(student, teacher, form=form)
    for moved, target in (
        (-lengths * student @ rotation, teacher),
        (student, -lengths * teacher),
        (student[order], teacher[order]),
    ):
        torch.testing.assert_close(rrkd_loss(moved, target, form=form), expected)
    assert (rrkd_loss(student + 1, teacher, form=form) - expected).abs() > 1e-6
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(rrkd_loss(student, teacher, form=form), student)
    assert (gradient * student).sum(1).abs().max() < 1e-12  # no row is asked to grow


def test_a_perfect_student(embeddings):
    teacher = embeddings(8, 5)
    rotation = torch.linalg.qr(embeddings(5, 5, seed=1)).Q
    student = 3 * teacher @ rotation
    assert rrkd_loss(student, teacher).item() == pytest.approx(-1e-8, rel=1e-6)
    assert rrkd_loss(student, teacher, form="mse").item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_anchors_stay_finite(dtype, embeddings):
    student, anchors = embeddings(16, 24).to(dtype).requires_grad_(), embeddings(7, 24, 1).to(dtype)
    value = rrkd_loss(student, student.detach(), student_anchors=anchors, teacher_anchors=-anchors)
    value.backward()
    # In float32 the cosine is -1 within 1e-7 only, the offset in the logarithm is 1e-8.
    rel = 0.1 if dtype == torch.float32 else 1e-6
    assert value.item() == pytest.approx(-math.log(1e-8), rel=rel)
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_rows_without_direction_get_no_gradient(form, embeddings):
    student, teacher = embeddings(6, 4, seed=1), embeddings(6, 3, seed=2)
    student[1:3] = 0
    teacher[2:4] = 0
    student.requires_grad_()
    value = rrkd_loss(student, teacher, form=form)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert (student.grad[1:3] == 0).all()
    assert student.grad.abs().max() < 10


def test_rows_at_right_angles_to_all_anchors_get_no_artefact():
    student = torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 0.0]], requires_grad=True)
    anchors = torch.eye(3)[:2].requires_grad_()
    teacher, theirs = torch.randn(2, 5), torch.randn(2, 5)
    rrkd_loss(student, teacher, student_anchors=anchors, teacher_anchors=theirs).backward()
    assert (student.grad[0] == 0).all()
    assert student.grad.abs().max() < 10
    assert anchors.grad.abs().max() < 10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_rows_stay_connected(form, n):
    student = torch.randn(n, 3, requires_grad=True)
    value = rrkd_loss(student, torch.randn(n, 4), form=form)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(form, dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = rrkd_loss(student.to(dtype), teacher.to(dtype), form=form)
    assert low.dtype == torch.float32
    expected = rrkd_loss(student, teacher, form=form)
    torch.testing.assert_close(low.double(), expected, rtol=5e-2, atol=1e-3)


def test_the_teacher_gets_no_gradient():
    student, teacher, ours, theirs = (torch.randn(4, 3, requires_grad=True) for _ in range(4))
    rrkd_loss(student, teacher, student_anchors=ours, teacher_anchors=theirs).backward()
    assert teacher.grad is None
    assert theirs.grad is None
    assert ours.grad.abs().sum() > 0


def test_method_describes_by_the_batch_or_by_given_anchors(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 4, seed=2)
    ours, theirs = embeddings(5, 3, seed=3), embeddings(5, 4, seed=4)
    outputs = Outputs(student), Outputs(teacher)
    batch = Batch((), torch.arange(6), anchors=(Outputs(ours), Outputs(theirs)))
    assert RRKD().needs == frozenset()
    in_batch = RRKD(weight=2, form="mse")(*outputs)["relation"]
    torch.testing.assert_close(in_batch, 2 * rrkd_loss(student, teacher, form="mse"))
    method = RRKD(anchors="random", anchor_count=5)
    assert method.needs == {"anchors"}
    expected = rrkd_loss(student, teacher, student_anchors=ours, teacher_anchors=theirs)
    torch.testing.assert_close(method(*outputs, batch)["relation"], expected)
    with pytest.raises(ValueError, match=r"RRKD\(anchors='random'\) needs batch\.anchors"):
        method(*outputs, Batch((), torch.arange(6)))
    with pytest.raises(ValueError, match=r"needs batch\.anchors"):
        method(*outputs)


def test_says_what_it_needs(unchecked_shapes):
    rows = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 3\) and \(5, 3\)"):
        rrkd_loss(rows, torch.randn(5, 3))
    with pytest.raises(ValueError, match="anchors of both networks, or of neither"):
        rrkd_loss(rows, rows, student_anchors=rows)
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(2, 3\) for embeddings of width"):
        rrkd_loss(rows, rows, student_anchors=rows, teacher_anchors=rows[:2])
    with pytest.raises(ValueError, match="at least one, from both"):
        rrkd_loss(rows, rows, student_anchors=rows[:0], teacher_anchors=rows[:0])
    for make in (lambda: rrkd_loss(rows, rows, form="cos"), lambda: RRKD(form="cos")):
        with pytest.raises(ValueError, match="unknown form 'cos': choose from cosine, mse, soft"):
            make()
    with pytest.raises(ValueError, match="unknown anchors 'all': choose from batch, random, per-"):
        RRKD(anchors="all")
    with pytest.raises(ValueError, match=r"anchor_count of at least 2.*got 1"):
        RRKD(anchor_count=1)
