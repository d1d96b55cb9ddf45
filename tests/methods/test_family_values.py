"""The family's losses beside values and gradients of published code, float64.

PKT and CRD: github.com/HobbitLong/RepDistiller, b84f547. DKD, with its weights of 1 and 8:
github.com/megvii-research/mdistiller, a08d46f. DIST: github.com/hunto/DIST_KD, 2418f18. SP's and
LP's values are in their own tests; CC's published code has another loss (docs/methods/cc.md).
"""

from pathlib import Path

import pytest
import torch
from reference_values import Fixture

from asterism import CRD, Batch, Outputs, dist_loss, dkd_loss, pkt_loss

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "family.npz")
LOSSES = {
    "pkt": lambda student, case: pkt_loss(student, case["features"]),
    "dkd": lambda student, case: dkd_loss(student, case["teacher"], case["target"]),
    "dist": lambda student, case: dist_loss(student, case["teacher"]),
}


def tensors(case):
    return {name: torch.from_numpy(array) for name, array in REFERENCE[case].items()}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["n8_c5", "n24_c20"])
def test_values_and_gradients(name, case):
    given = tensors(case)
    student = given["student"].requires_grad_()
    value = LOSSES[name](student, given)
    value.backward()
    # PKT's code adds 1e-7 to lengths.
    torch.testing.assert_close(value, given[f"{name}_loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(student.grad, given[f"{name}_gradient"], rtol=1e-6, atol=1e-8)


def test_crd_over_three_epochs():
    """From memories of unit rows, all other samples being negatives."""
    given = tensors("crd")
    method = CRD(negatives=40, own_class_negatives=True, dim=4, weight=1.0)
    method.setup(student_dim=5, teacher_dim=7, rows=40)
    method.double()
    state = method.state_dict()
    for network in ("student", "teacher"):
        state[f"project_{network}.weight"] = given[f"{network}_weight"]
        state[f"project_{network}.bias"] = given[f"{network}_bias"]
        state[f"{network}_memory.rows"] = given[f"{network}_memory"]
    method.load_state_dict(state)
    each = (given[name] for name in ("index", "student", "teacher", "loss", "gradient"))
    for index, student, teacher, loss, gradient in zip(*each, strict=True):
        student.requires_grad_()
        value = method(Outputs(student), Outputs(teacher), Batch((), index))["contrast"]
        value.backward()
        torch.testing.assert_close(value, loss, rtol=1e-6, atol=0)  # theirs adds 1e-7 in places
        torch.testing.assert_close(student.grad, gradient, rtol=1e-5, atol=1e-6)
    for network in ("student", "teacher"):
        kept = getattr(method, f"{network}_memory").rows
        torch.testing.assert_close(kept, given[f"{network}_memory_after"])
