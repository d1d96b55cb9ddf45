"""Reference values for asterism/methods/vrm.py: a transcription of the formulas in float64."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from reference_values import Fixture

from asterism import VRM, Batch, Outputs, vrm_inter_class_loss, vrm_inter_sample_loss

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "vrm.npz")
SETS = {
    "is_rv": (vrm_inter_sample_loss, "real-virtual"),
    "is_rr": (vrm_inter_sample_loss, "real-real"),
    "is_vv": (vrm_inter_sample_loss, "virtual-virtual"),
    "is_full": (vrm_inter_sample_loss, "full"),
    "ic_2b": (vrm_inter_class_loss, "concatenated"),
    "ic_real": (vrm_inter_class_loss, "real"),
    "ic_rv": (vrm_inter_class_loss, "real-virtual"),
}
CRITERIA = {"ce": "cross_entropy", "mix": "mixture", "sum": "sum"}


def views_of(fields):
    """The four inputs of a reference case, the student's with gradients, and their vertices."""
    views = [torch.tensor(fields[key]) for key in ("z_s", "zv_s", "z_t", "zv_t")]
    for view in views[:2]:
        view.requires_grad_()
    return views, "zscore" if fields["zscore"] else "logits"


def close(value, expected, huge=False):
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(value.detach(), expected, rtol=1e-7 if huge else 1e-9, atol=1e-12)


@pytest.mark.parametrize("case", REFERENCE.cases)
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("short", "form"), [("huber", "huber"), ("sq", "squared")])
def test_reference_values_of_all_edge_sets(case, name, short, form):
    fields = REFERENCE[case]
    (views, vertices), (loss, set_) = views_of(fields), SETS[name]
    value = loss(*views, edges=set_, form=form, vertices=vertices)
    close(value, fields[f"{name}_{short}"], "huge" in case)
    value.backward()
    key = f"{name}_{short}"
    if fields["grad_normative"] and f"grad_z_s__{key}" in fields:
        close(views[0].grad, fields[f"grad_z_s__{key}"], "huge" in case)
        close(views[1].grad, fields[f"grad_zv_s__{key}"], "huge" in case)


@pytest.mark.parametrize("case", REFERENCE.cases)
@pytest.mark.parametrize("short", CRITERIA)
def test_reference_values_of_pruning(case, short):
    fields, criterion = REFERENCE[case], CRITERIA[short]
    views, vertices = views_of(fields)
    rules = {"q50": {"keep_quantile": 0.5}, "q90": {"keep_quantile": 0.9}}
    for rule, options in {**rules, "gt_teacher": {"keep_below_teacher": True}}.items():
        key = f"prune_{short}_{rule}"
        value = vrm_inter_sample_loss(*views, vertices=vertices, criterion=criterion, **options)
        close(value, fields[f"{key}_is_rv_huber"], "huge" in case)
        if fields["grad_normative"] and f"grad_z_s__{key}" in fields:
            gradients = torch.autograd.grad(value, views[:2])
            close(gradients[0], fields[f"grad_z_s__{key}"], "huge" in case)
            close(gradients[1], fields[f"grad_zv_s__{key}"], "huge" in case)


@pytest.mark.parametrize("case", REFERENCE.cases)
def test_reference_total(case):
    fields = REFERENCE[case]
    views, vertices = views_of(fields)
    target = torch.tensor(fields["y"])
    outputs = [Outputs(v, v) for v in (torch.cat(views[:2]), torch.cat(views[2:]))]
    method = VRM(
        inter_sample_weight=float(fields["alpha"]),
        inter_class_weight=float(fields["beta"]),
        form="huber",
        vertices=vertices,
        keep_quantile=None,
    )
    terms = method(*outputs, Batch((), torch.arange(len(target)), target))
    total = F.cross_entropy(views[0], target) + sum(terms.values())
    close(total, fields["total"], "huge" in case)
    total.backward()
    if fields["grad_normative"]:
        close(views[0].grad, fields["grad_z_s__total"], "huge" in case)
        close(views[1].grad, fields["grad_zv_s__total"], "huge" in case)
