"""Losses that compute their gradient together with their value, block by block."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")


def streamed(compute: Callable[P, tuple[Tensor, ...]]) -> Callable[P, Tensor]:
    """Make a differentiable loss of a function that returns a value and its gradients.

    Autograd would keep every block for the backward pass. A streamed function instead adds up the
    gradient while it has the block at hand. To `torch.compile` it is opaque.

    Args:
        compute: Returns the value, then its gradient for each of its first positional arguments,
            for as many of them as may learn. It runs without autograd.
    """
    quietly = torch.no_grad()(compute)

    def known(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        value, *gradients = quietly(*args, **kwargs)
        inputs = args[: len(gradients)]
        result: Tensor = _Known.apply(value, *inputs, *gradients)  # type: ignore[no-untyped-call]
        return result

    @functools.wraps(compute)
    def loss(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        # Disabled when it is compiled only: to import torch's compiler takes a second.
        compiling = torch.compiler.is_compiling()
        call = torch.compiler.disable(known) if compiling else known  # type: ignore[no-untyped-call]
        return call(*args, **kwargs)

    return loss


class _Known(torch.autograd.Function):
    """A value whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *inputs_and_gradients: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs_and_gradients)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        half = len(ctx.saved_tensors) // 2
        gradients = [upstream * gradient for gradient in ctx.saved_tensors[half:]]
        if torch.is_grad_enabled():  # with create_graph=True
            inputs = ctx.saved_tensors[:half]
            gradients = [_Once.apply(*pair) for pair in zip(inputs, gradients, strict=True)]  # type: ignore[no-untyped-call]
        return None, *gradients, *[None] * half


class _Once(torch.autograd.Function):
    """A gradient that depends on its input in a way that is not known."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(
            "This loss cannot be differentiated twice: its gradient is computed together with its "
            "value, and nothing is kept for a second derivative. Leave it out of what is "
            "differentiated with create_graph=True."
        )
