"""Tests for asterism/relations/streamed.py."""

import pytest
import torch

from asterism.relations.streamed import streamed


@streamed
def half_square(one, two, *, factor=1.0):
    assert not torch.is_grad_enabled()
    return factor * (one @ two), factor * two, factor * one


def test_gradients_are_those_that_the_function_returns():
    one, two = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0])
    value = half_square(one, two, factor=2.0)
    assert value == 22
    (5 * value).backward()
    assert one.grad.tolist() == [30, 40]
    two.requires_grad_()
    torch.autograd.backward(half_square(one.detach(), two))
    assert two.grad.tolist() == [1, 2]
    assert not half_square(one.detach(), two.detach()).requires_grad


def test_a_gradient_may_be_what_was_given():
    @streamed
    def inner(one, two):
        return one @ two, two, one

    one, two = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    inner(one, two).backward()
    assert (one.grad == two).all()
    assert (two.grad == one).all()


def test_refuses_a_second_derivative_but_not_to_stand_beside_one():
    x = torch.randn(4, requires_grad=True)
    value = half_square(x, torch.randn(4)) + x.pow(3).sum()
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        gradient.sum().backward()


# The compiler looks at .grad of what is no leaf, which warns.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_a_compiled_step_gives_the_same():
    x, two = torch.randn(4, requires_grad=True), torch.randn(4)

    def step(x):
        return 2 * half_square(3 * x, two).sin()

    gradients = []
    for run in step, torch.compile(step, backend="eager"):
        run(x).backward()
        gradients.append(x.grad)
        x.grad = None
    torch.testing.assert_close(*gradients)
