"""Tests for asterism/relations/profiles.py."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from asterism import relation_memory
from asterism.relations import profiles
from asterism.relations.profiles import profile_cross_entropy


def naive(student, teacher, bank, tau_s, tau_t):
    target = (teacher @ bank.T / tau_t).softmax(1)
    return -(target * (student @ bank.T / tau_s).log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("block", [1, 12, 35, 10**6])
@pytest.mark.parametrize(("tau_s", "tau_t"), [(0.5, 0.3), (0.01, 1e-3), (5.0, 20.0)])
def test_equals_the_form_with_full_matrices(block, tau_s, tau_t, embeddings):
    student, teacher, bank = (embeddings(n, 4, seed=n) for n in (5, 5, 23))
    student.requires_grad_()
    expected = naive(student, teacher, bank, tau_s, tau_t)
    (want,) = torch.autograd.grad(expected, student)
    with relation_memory(8 * block / 2**20):
        value = profile_cross_entropy(
            student, teacher, bank, student_temperature=tau_s, teacher_temperature=tau_t
        )
    (gradient,) = torch.autograd.grad(3 * value, student)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, 3 * want)


def test_float32_stays_near_double_over_many_blocks(embeddings):
    rows = [torch.nn.functional.normalize(embeddings(n, 16, seed=n)) for n in (8, 9, 2000)]
    results = []
    for dtype in (torch.float32, torch.float64):
        student, teacher, bank = (r.to(dtype, copy=True) for r in rows)
        student.requires_grad_()
        with relation_memory(64 * 8 / 2**20):
            value = profile_cross_entropy(
                student, teacher[:8], bank, student_temperature=0.1, teacher_temperature=0.02
            )
        value.backward()
        results.append((value.double(), student.grad.double()))
    (single, gradient), (double, want) = results
    torch.testing.assert_close(single, double, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, want, rtol=1e-5, atol=1e-6)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_the_largest_tensor_is_the_bank_itself(embeddings):
    student, bank = embeddings(64, 2).float().requires_grad_(), torch.randn(2**17, 2)
    with Largest() as largest:
        loss = profile_cross_entropy(
            student, student.detach(), bank, student_temperature=0.1, teacher_temperature=0.02
        )
        loss.backward()
    # One matrix of similarities would have 2**23 elements.
    assert largest.elements <= max(bank.numel(), profiles.IN_CACHE)


def test_refuses_second_derivatives(embeddings):
    student = embeddings(4, 3).requires_grad_()
    scale = torch.ones((), requires_grad=True)
    value = scale * profile_cross_entropy(
        student, student.detach(), student.detach(), student_temperature=1, teacher_temperature=1
    )
    (gradient,) = torch.autograd.grad(value, student, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        gradient.sum().backward()
