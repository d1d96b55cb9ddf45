"""The values of the authors' code for asterism/methods/rrd.py."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from reference_values import Fixture

from asterism import RRD, Outputs, rrd_loss
from asterism.memory import MemoryBank

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "rrd.npz")
CASES = [c for c in REFERENCE.cases if c.startswith(("fifo", "legacy"))]


def method_of(fields, **settings):
    """An RRD with the heads and the bank of a reference case."""
    bank, width = torch.tensor(fields["queue0"]), fields["queue0"].shape[1]
    method = RRD(
        bank_size=len(bank),
        dim=width,
        student_temperature=float(fields["tau_s"]),
        teacher_temperature=float(fields["tau_t"]),
        enqueue="before" if fields["enqueue_first"] else "after",
        **settings,
    )
    method.setup(student_dim=fields["w_s"].shape[1], teacher_dim=fields["w_t"].shape[1])
    method.double()
    state = {
        "project_student.weight": fields["w_s"],
        "project_student.bias": fields["b_s"],
        "project_teacher.weight": fields["w_t"],
        "project_teacher.bias": fields["b_t"],
        "bank.rows": fields["queue0"],
        "bank.pointer": fields["ptr0"],
    }
    method.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    return method


@pytest.mark.parametrize("case", CASES)
def test_authors_values_of_the_loss_and_the_bank(case):
    fields = {name: torch.as_tensor(value) for name, value in REFERENCE[case].items()}
    rtol = 1e-7 if "huge" in case else 1e-9
    tau_s, tau_t = float(fields["tau_s"]), float(fields["tau_t"])
    bank = MemoryBank(*fields["queue0"].shape).double()
    bank.load_state_dict({"rows": fields["queue0"], "pointer": fields["ptr0"]})
    for step in range(int(fields["steps"])):
        features, weight, bias = (
            x.clone().requires_grad_() for x in (fields["f_s"][step], fields["w_s"], fields["b_s"])
        )
        teacher = F.normalize(F.linear(fields["f_t"][step], fields["w_t"], fields["b_t"]))
        if fields["enqueue_first"]:
            bank.enqueue(teacher)
        loss = rrd_loss(
            F.linear(features, weight, bias),
            teacher,
            bank.rows,
            student_temperature=tau_s,
            teacher_temperature=tau_t,
        )
        target = (teacher @ bank.rows.T / tau_t).log_softmax(1)
        entropy = -(target.exp() * target).sum(1).mean()
        if not fields["enqueue_first"]:
            bank.enqueue(teacher)
        loss.backward()  # after the bank has moved on
        torch.testing.assert_close(loss.detach(), fields["loss"][step], rtol=rtol, atol=1e-12)
        kl = loss.detach() - entropy
        torch.testing.assert_close(kl, fields["kl"][step], rtol=rtol, atol=1e-12)
        if fields["grad_normative"]:
            for ours, name in ((features, "grad_f_s"), (weight, "grad_w_s"), (bias, "grad_b_s")):
                torch.testing.assert_close(ours.grad, fields[name][step], rtol=rtol, atol=1e-12)
        assert bank.pointer == fields["ptr1"][step]
    torch.testing.assert_close(bank.rows, fields["queue1"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_authors_values_of_the_method(case):
    fields = REFERENCE[case]
    method = method_of(fields)
    rtol = 1e-7 if "huge" in case else 1e-9
    for step in range(int(fields["steps"])):
        method.zero_grad()
        features = torch.tensor(fields["f_s"][step]).requires_grad_()
        teacher = torch.tensor(fields["f_t"][step]).requires_grad_()
        loss = method(Outputs(features), Outputs(teacher))["relation"]
        loss.backward()
        assert loss.item() == pytest.approx(fields["loss"][step], rel=rtol, abs=1e-12)
        gradients = {
            "grad_f_s": features.grad,
            "grad_w_s": method.project_student.weight.grad,
            "grad_b_s": method.project_student.bias.grad,
        }
        for name, gradient in gradients.items():
            if fields["grad_normative"]:
                expected = torch.tensor(fields[name][step])
                torch.testing.assert_close(gradient, expected, rtol=rtol, atol=1e-12)
            assert gradient.isfinite().all()
        assert teacher.grad is None
        assert method.project_teacher.weight.grad is None
        assert method.bank.pointer == fields["ptr1"][step]
    torch.testing.assert_close(method.bank.rows, torch.tensor(fields["queue1"]))
