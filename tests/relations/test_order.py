"""Tests for asterism/relations/order.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from asterism.relations.order import mean_order_gap


def by_all_pairs(student, teacher, margin):
    ordered = teacher[:, None] > teacher
    gaps = (student - student[:, None] + margin).clamp_min(0)
    return (gaps * ordered).sum() / (len(student) * (len(student) - 1) / 2)


@given(
    p=st.integers(2, 40), seed=st.integers(0, 2**16), margin=st.sampled_from([0, 0.1, 3]),
    levels=st.sampled_from([2, 5, 1000]),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_agrees_with_the_matrix_of_all_pairs(p, seed, margin, levels):
    """Also where the teacher has many equal scores."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(p, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = torch.randint(levels, (p,), generator=generator).double()
    value, expected = (
        mean_order_gap(student, teacher, margin=margin),
        by_all_pairs(student, teacher, margin),
    )
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(value, student), torch.autograd.grad(expected, student)
    )


def test_gradient(embeddings):
    student, teacher = embeddings(1, 9)[0].requires_grad_(), embeddings(1, 9, seed=1)[0]
    assert torch.autograd.gradcheck(lambda s: mean_order_gap(s, teacher, margin=0.5), student)


@pytest.mark.parametrize("p", [0, 1, 2, 5])
def test_equal_scores_of_the_teacher_have_no_order(p):
    student = torch.randn(p, requires_grad=True)
    value = mean_order_gap(student, torch.full((p,), 0.3), margin=1.0)
    value.backward()
    assert value == 0
    assert (student.grad == 0).all()


def test_rounding_makes_no_order():
    teacher = torch.tensor([0.7, 0.7 + 6e-8, 0.2])
    student = torch.tensor([1.0, 0.0, 0.5], requires_grad=True)
    value = mean_order_gap(student, teacher, margin=0.0)
    assert value.item() == pytest.approx(0.5 / 3)


def test_memory_grows_as_the_scores():
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **kwargs or {})
            for x in tree_leaves(result):
                if isinstance(x, torch.Tensor):
                    self.elements = max(self.elements, x.numel())
            return result

    with Largest() as seen:
        mean_order_gap(torch.randn(1000), torch.randn(1000), margin=0.1)
    assert seen.elements <= 2048
