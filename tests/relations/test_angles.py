"""Tests for asterism/relations/angles.py."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from asterism import relation_memory
from asterism.relations import angles
from asterism.relations.angles import mean_angle_gap


def multiplied_by_autograd(student, teacher):
    """The formula with the tensors of all arms and of all cosines."""

    def cosines(rows):
        arms = rows[None] - rows[:, None]
        length = arms.square().sum(2, keepdim=True)
        return torch.bmm(*(x := arms * length.where(length > 0, torch.inf).rsqrt(), x.mT))

    return F.smooth_l1_loss(cosines(student), cosines(teacher))


def value_and_gradient(loss, student, teacher):
    student = student.detach().clone().requires_grad_()
    value = loss(student, teacher)
    return value.detach(), *torch.autograd.grad(value, student)


@pytest.fixture
def streamed(monkeypatch):
    """Stream small batches too."""
    monkeypatch.setattr(angles, "FEW_ARMS", 0)


def with_duplicates(embeddings, n):
    """Rows that coincide in one network, in the other, and in both."""
    student, teacher = embeddings(n, 3, seed=1), embeddings(n, 5, seed=2)
    student[1], student[4] = student[0], student[3]
    teacher[2], teacher[4] = teacher[1], teacher[3]
    return student, teacher


@pytest.mark.parametrize("elements", [1, 20, 200, 3000, 10**6])
def test_blocks_of_every_size_agree_with_the_tensors_of_all_arms(elements, embeddings, streamed):
    rows = with_duplicates(embeddings, 13)
    with relation_memory(elements * 28 / 2**20):
        result = value_and_gradient(mean_angle_gap, *rows)
    expected = value_and_gradient(multiplied_by_autograd, *rows)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-16)


def test_few_samples_multiply_their_arms(embeddings):
    rows = with_duplicates(embeddings, 13)
    expected = value_and_gradient(multiplied_by_autograd, *rows)
    torch.testing.assert_close(value_and_gradient(mean_angle_gap, *rows), expected)


def test_gradient_of_the_streamed_form(embeddings, streamed):
    student, teacher = embeddings(7, 3, seed=1).requires_grad_(), embeddings(7, 4, seed=2)
    with relation_memory(60 * 28 / 2**20):
        assert torch.autograd.gradcheck(lambda s: mean_angle_gap(s, teacher), student)


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize(
    ("spread", "bound"),
    [(1, 1e-6), (0.2, 1e-6), (0.1, 1e-6), (1e-2, 1e-5), (1e-3, 1e-5), (1e-4, 1e-3)],
)
def test_float32_keeps_the_gradient(spread, bound, offset, embeddings):
    """From spread 0.1 to 0.2 squared distances become alike enough to be added in float32."""
    centres = 0 if spread == 1 else embeddings(4, 64, seed=1).repeat_interleave(24, dim=0)
    student = (centres + spread * embeddings(96, 64, seed=2) + offset).float()
    teacher = (centres + spread * embeddings(96, 64, seed=3)).float()
    value, gradient = value_and_gradient(mean_angle_gap, student, teacher)
    exact, expected = value_and_gradient(mean_angle_gap, student.double(), teacher.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    assert (gradient - expected).norm() < bound * expected.norm()


class Tensors(TorchDispatchMode):
    """Notes the largest tensor and the types of all floating-point tensors that come by."""

    def __init__(self):
        super().__init__()
        self.elements, self.types = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
                self.types |= {x.dtype} if x.is_floating_point() else set()
        return result


def test_memory_is_one_number_for_each_pair(embeddings):
    student, teacher = embeddings(150, 64, seed=1), embeddings(150, 32, seed=2)
    student[1] = student[0]  # the careful way
    with Tensors() as seen, relation_memory(0.1):
        value_and_gradient(mean_angle_gap, student.float(), teacher.float())
    assert seen.elements == 150**2  # of all arms there are 64 times as many, of cosines 150 times
    with Tensors() as seen, relation_memory(0.1):
        value_and_gradient(mean_angle_gap, student, teacher)
    assert seen.types == {torch.float64}
