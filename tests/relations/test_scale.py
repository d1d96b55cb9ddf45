"""Scale does not matter within float32's range, for every loss that does not look at it."""

import pytest
import torch

import asterism
from asterism.relations.directions import unit_rows
from asterism.relations.scale import at_unit_scale, power_of_two, unscaled

LOSSES = {
    "rkd_distance_loss": asterism.rkd_distance_loss,
    "rkd_angle_loss": asterism.rkd_angle_loss,
    "rkd, unit rows": lambda s, t: asterism.rkd_distance_loss(s, t, unit_rows=True),
    "rrd_loss": lambda s, t: asterism.rrd_loss(s, t[:, : s.shape[1]], torch.eye(s.shape[1])),
    "rrkd_loss": asterism.rrkd_loss,
    "cc_loss": asterism.cc_loss,
    "crd_loss": lambda s, t: asterism.crd_loss(s, t[:, : s.shape[1]], torch.eye(s.shape[1])),
    "pkt_loss": asterism.pkt_loss,
    "sp_loss": asterism.sp_loss,
    "neighbourhood_loss": asterism.neighbourhood_loss,
    "pointwise_loss": lambda s, t: asterism.pointwise_loss(s, t[:, : s.shape[1]]),
    "simreg_loss": lambda s, t: asterism.simreg_loss(s, t[:, : s.shape[1]]),
    "srd_loss": lambda s, t: asterism.srd_loss(s, t[:, : s.shape[1]]),
    "stella_similarity_loss": asterism.stella_similarity_loss,
    "stella_triplet_loss": asterism.stella_triplet_loss,
    "vrm_inter_sample_loss": lambda s, t: asterism.vrm_inter_sample_loss(
        s, s.flip(0), t[:, : s.shape[1]], t[:, : s.shape[1]].flip(0)
    ),
    "vrm_inter_class_loss": lambda s, t: asterism.vrm_inter_class_loss(
        s, s.flip(0), t[:, : s.shape[1]], t[:, : s.shape[1]].flip(0)
    ),
}


def value_and_gradient(loss, student, teacher):
    student = student.detach().clone().requires_grad_()
    value = loss(student, teacher)
    return value.detach(), torch.autograd.grad(value, student)[0]


@pytest.mark.parametrize("n", [12, 70, 140])  # each form of distances and angles
@pytest.mark.parametrize("side", ["student", "teacher", "both"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_scale_of_either_network_does_not_matter(loss, side, n):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(n, d, generator=generator) for d in (8, 16))
    value, gradient = value_and_gradient(loss, student, teacher)
    for exponent in (-126, -110, -63, -40, 40, 63, 110, 124):
        scale = 2.0**exponent
        ours = student * (1 if side == "teacher" else scale)
        theirs = teacher * (1 if side == "student" else scale)
        found, slope = value_and_gradient(loss, ours, theirs)
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-7)
        assert slope.isfinite().all()
        if side != "teacher" and abs(exponent) < 90:
            largest = gradient.abs().max().item()
            back = slope.double() * scale
            torch.testing.assert_close(back, gradient.double(), rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("n", [12, 140])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_numbers_without_a_full_mantissa_are_numbers(loss, n):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(n, d, generator=generator) for d in (8, 16))
    value, _ = value_and_gradient(loss, student, teacher)
    found, slope = value_and_gradient(loss, student * 1e-41, teacher)
    assert found.item() == pytest.approx(value.item(), rel=0.02)
    assert slope.isfinite().all()


def test_a_copy_at_another_scale_is_perfect():
    """The floor of the authors' distances, 1e-6, hid all of a small student."""
    teacher = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    for scale in (1, 1e-5, 1e-6, 1e-7, 1e-8, 1e-20, 1e19, 1e30):
        for loss in (asterism.rkd_distance_loss, asterism.rkd_angle_loss):
            assert loss(teacher * scale, teacher) < 1e-12


def test_a_common_scale_is_a_power_of_two():
    one, two = torch.tensor([[3e30, 1.0]]), torch.tensor([[5e35, 0.0]])
    first, second = at_unit_scale(one, two)
    assert first.factor == second.factor == 2.0**-119
    assert 0.5 <= second.rows.max() < 1
    assert (first.rows.double() / first.factor == one.double())[:, 0].all()
    torch.testing.assert_close(unscaled(first.rows, 1 / first.factor, torch.float32), one)
    assert unscaled(torch.ones(1, 1), 2.0**200, torch.float32) == torch.finfo(torch.float32).max
    ordinary = torch.randn(3, 2)
    assert at_unit_scale(ordinary)[0].rows is ordinary
    assert at_unit_scale(torch.zeros(3, 0))[0].factor == 1
    for kept in (0.0, 1.0, 1e-9, 1e9, float("inf"), float("nan")):
        assert power_of_two(kept) == 1


def test_rows_of_any_size_have_a_direction():
    rows = torch.tensor([[3.0, 4.0]])
    for scale in (1e-44, 1e-38, 1e-20, 1.0, 1e37):
        torch.testing.assert_close(
            unit_rows(rows * scale), rows / 5, rtol=0.2 * (scale < 1e-43) + 1e-6, atol=0
        )
    assert (unit_rows(0 * rows) == 0).all()
    short = (rows * 1e-35).requires_grad_()
    unit_rows(short).sum().backward()
    assert (short.grad == 0).all()
