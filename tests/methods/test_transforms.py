"""Every public loss under torch.func.grad, vmap and torch.compile(fullgraph=True)."""

import subprocess
import sys
from functools import partial

import pytest
import torch

import asterism
from asterism import (
    anchored_loss,
    cc_loss,
    crd_loss,
    dist_inter_loss,
    dist_intra_loss,
    dist_loss,
    dkd_loss,
    kd_loss,
    lp_loss,
    mlkd_loss,
    neighbourhood_loss,
    pkt_loss,
    pointwise_loss,
    rkd_angle_loss,
    rkd_distance_loss,
    rrd_loss,
    rrkd_loss,
    simreg_loss,
    sp_loss,
    srd_loss,
    stella_similarity_loss,
    stella_triplet_loss,
    vkd_loss,
    vrm_inter_class_loss,
    vrm_inter_sample_loss,
)


def drawn(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def of_views(loss, **options):
    return lambda s, n: loss(s, s + EXTRA[:n], OTHER[:n], OTHER[:n] + EXTRA[:n], **options)


def beside(loss, other, **options):
    """A function of the student, the others being as long as it."""
    return lambda s, n: loss(s, other[:n], **options)


WIDE, OTHER, EXTRA, MATRIX = drawn(80, 6, 1), drawn(80, 4, 2), drawn(80, 4, 3), drawn(6, 4, 4)
TARGET = torch.arange(80) % 4
QUEUED = torch.arange(80) > 40
CASES = {
    "rkd_distance_loss": beside(rkd_distance_loss, WIDE),
    "rkd_distance_loss, unit rows": beside(rkd_distance_loss, WIDE, unit_rows=True),
    "rkd_angle_loss": beside(rkd_angle_loss, WIDE),
    "rrd_loss": beside(partial(rrd_loss, bank=EXTRA), OTHER),
    "rrkd_loss": beside(rrkd_loss, WIDE),
    "rrkd_loss, mse": beside(rrkd_loss, WIDE, form="mse"),
    "rrkd_loss, soft": beside(rrkd_loss, WIDE, form="soft_cross_entropy"),
    "vrm_inter_sample_loss": of_views(vrm_inter_sample_loss),
    "vrm_inter_sample_loss, pruned": of_views(
        vrm_inter_sample_loss, keep_quantile=0.9, form="squared"
    ),
    "vrm_inter_sample_loss, within": of_views(
        vrm_inter_sample_loss, edges="real-real", vertices="zscore", criterion="mixture",
        keep_quantile=0.9, keep_below_teacher=True,
    ),
    "vrm_inter_class_loss": of_views(vrm_inter_class_loss),
    "vrm_inter_class_loss, clipped": of_views(
        vrm_inter_class_loss, form="clipped", edges="real", vertices="softmax"
    ),
    "kd_loss": beside(kd_loss, OTHER),
    "kd_loss, standardised": beside(kd_loss, OTHER, standardise=True),
    "dkd_loss": lambda s, n: dkd_loss(s, OTHER[:n], TARGET[:n]),
    "dist_loss": beside(dist_loss, OTHER),
    "dist_inter_loss": beside(dist_inter_loss, OTHER),
    "dist_intra_loss": beside(dist_intra_loss, OTHER),
    "cc_loss": beside(cc_loss, WIDE),
    "crd_loss": beside(partial(crd_loss, negatives=EXTRA), OTHER),
    "lp_loss": beside(lp_loss, WIDE),
    "pkt_loss": beside(pkt_loss, WIDE),
    "sp_loss": beside(sp_loss, WIDE),
    "anchored_loss": beside(partial(anchored_loss, matrix=MATRIX, mean=WIDE[0]), WIDE),
    "neighbourhood_loss": beside(neighbourhood_loss, WIDE),
    "neighbourhood_loss, queue": beside(
        neighbourhood_loss, WIDE, perplexity=3.0, student_queue=EXTRA, teacher_queue=WIDE,
        queued=QUEUED,
    ),
    "pointwise_loss": beside(pointwise_loss, OTHER),
    "mlkd_loss": beside(mlkd_loss, OTHER, level="batch"),
    "mlkd_loss, instance": beside(mlkd_loss, OTHER, level="instance"),
    "simreg_loss": beside(simreg_loss, OTHER),
    "srd_loss": beside(srd_loss, OTHER),
    "stella_similarity_loss": beside(stella_similarity_loss, WIDE),
    "stella_triplet_loss": beside(stella_triplet_loss, WIDE),
    "vkd_loss": beside(vkd_loss, OTHER),
}  # fmt: skip


def value_and_gradient(loss, student):
    student = student.clone().requires_grad_()
    value = loss(student)
    return value.detach(), torch.autograd.grad(value, student)[0]


@pytest.fixture(params=CASES)
def loss(request):
    return CASES[request.param]


def test_no_public_loss_is_missing():
    losses = {name for name in asterism.__all__ if name.endswith("_loss")}
    assert {name.split(",")[0] for name in CASES} == losses


@pytest.mark.parametrize("n", [5, 70])  # the angle loss has one form for few rows, one for many
def test_func_grad_and_vmap(loss, n):
    student, function = drawn(n, 4, 9), partial(loss, n=n)
    value, gradient = value_and_gradient(function, student)
    torch.testing.assert_close(torch.func.grad_and_value(function)(student), (gradient, value))
    several = torch.stack([student, 2 * student + 1])
    each = [value_and_gradient(function, rows) for rows in several]
    values, gradients = (torch.stack(parts) for parts in zip(*each, strict=True))
    torch.testing.assert_close(torch.func.vmap(function)(several), values)
    found = torch.func.vmap(torch.func.grad(function))(several)
    torch.testing.assert_close(found, gradients)
    total = torch.func.grad(lambda rows: torch.func.vmap(function)(rows).sum())(several)
    torch.testing.assert_close(total, gradients)


def test_compile_as_one_graph():
    """In a process of their own: the checker of shapes that the tests install is no graph."""
    command = [sys.executable, "-W", "ignore", __file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(CASES)} losses\n"


def compile_all():
    for name, loss in CASES.items():
        torch.compiler.reset()
        student, function = drawn(7, 4, 9), partial(loss, n=7)
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        found, expected = (
            value_and_gradient(compiled, student),
            value_and_gradient(function, student),
        )
        torch.testing.assert_close(
            found, expected, msg=lambda message, name=name: f"{name}: {message}"
        )
    print(f"{len(CASES)} losses")


if __name__ == "__main__":
    compile_all()
