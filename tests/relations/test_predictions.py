"""Tests for asterism/relations/predictions.py."""

from pathlib import Path

import pytest
import torch
from reference_values import Fixture

from asterism import vrm_inter_class_loss, vrm_inter_sample_loss
from asterism.relations import predictions

SAMPLE_EDGES = ["real-virtual", "real-real", "virtual-virtual", "full"]
CRITERIA = {"ce": "cross_entropy", "mix": "mixture", "sum": "sum"}
REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "vrm.npz")


def drawn(n, c, seed=0, dtype=torch.float64):
    """Four random views; the virtual ones resemble the real ones, the student the teacher."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, n, c, generator=generator, dtype=dtype)
    teacher = 2 * noise[0]
    teacher_virtual = teacher + noise[1]
    student, student_virtual = teacher + noise[2], teacher_virtual + 2 * noise[3]
    return [student.requires_grad_(), student_virtual.requires_grad_(), teacher, teacher_virtual]


@pytest.mark.parametrize("case", REFERENCE.cases)
@pytest.mark.parametrize("short", CRITERIA)
def test_reference_values(case, short):
    fields, criterion = REFERENCE[case], CRITERIA[short]
    views = [torch.tensor(fields[key]) for key in ("z_s", "zv_s", "z_t", "zv_t")]
    for network, ends in ("s", views[:2]), ("t", views[2:]):
        uncertainty = predictions.joint_uncertainty(*ends, criterion=criterion)
        expected = torch.tensor(fields[f"H_{short}_{network}"])
        torch.testing.assert_close(uncertainty, expected, rtol=1e-9, atol=1e-12)
    rules = {"q50": {"keep_quantile": 0.5}, "q90": {"keep_quantile": 0.9}}
    for rule, options in {**rules, "gt_teacher": {"keep_below_teacher": True}}.items():
        key = f"prune_{short}_{rule}"
        ends = tuple(views[:2]), tuple(views[2:])
        keep = predictions.reliable_pairs(*ends, criterion=criterion, **options)
        assert keep.sum() == fields[f"{key}_kept"]


@pytest.mark.parametrize("loss", [vrm_inter_sample_loss, vrm_inter_class_loss])
@pytest.mark.parametrize("vertices", ["zscore", "softmax"])
def test_gradient_through_the_vertices(loss, vertices):
    real, virtual, *teacher = drawn(3, 4)
    assert torch.autograd.gradcheck(
        lambda s, v: loss(s, v, *teacher, vertices=vertices), (real, virtual)
    )


@pytest.mark.parametrize("edge_set", SAMPLE_EDGES)
@pytest.mark.parametrize("criterion", CRITERIA.values())
def test_gradient_of_the_edges_that_are_kept(edge_set, criterion):
    real, virtual, *teacher = drawn(3, 3)
    options = {"edges": edge_set, "criterion": criterion, "keep_quantile": 0.6}
    assert torch.autograd.gradcheck(
        lambda s, v: vrm_inter_sample_loss(s, v, *teacher, **options), (real, virtual)
    )


def test_rows_without_spread_have_a_zscore_of_zero_and_no_gradient():
    logits = torch.full((2, 3), 0.1, requires_grad=True)
    scores = predictions.vertices_of(logits, "zscore")
    scores.sum().backward()
    assert (scores == 0).all()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("size", [1, 2, 10, 101])
def test_quantile_is_that_of_torch(q, size, embeddings):
    values = embeddings(size, 1)[:, 0]
    torch.testing.assert_close(predictions.quantile(values, q), values.quantile(q))


def test_pruning_carries_no_gradient_and_rules_combine():
    views = drawn(6, 4)
    ends = tuple(views[:2]), tuple(views[2:])
    rules = {"keep_quantile": 0.7}, {"keep_below": 2.0}, {"keep_below_teacher": True}
    kept = [
        predictions.reliable_pairs(*ends, criterion="cross_entropy", **rule)
        for rule in (*rules, {k: v for rule in rules for k, v in rule.items()})
    ]
    assert not any(keep.requires_grad for keep in kept)
    assert (kept[3] == kept[0] & kept[1] & kept[2]).all()
    assert 0 < kept[3].sum() < min(keep.sum() for keep in kept[:3])
