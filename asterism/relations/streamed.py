"""Losses that compute their gradient together with their value, block by block."""

import ast
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec

import torch
from torch import Tensor

P = ParamSpec("P")
Options = dict[str, Any]


def streamed(compute: Callable[P, tuple[Tensor, ...]]) -> Callable[P, Tensor]:
    """Make a differentiable loss of a function that returns a value and its gradients.

    Autograd would keep every block for the backward pass. A streamed function instead adds up the
    gradient while it has the block at hand. It works under `torch.func.grad` and `vmap`, which
    calls it once for each member of the batch, and to `torch.compile` it is a single operator.

    Args:
        compute: Returns the value, then its gradient for each of its first positional arguments,
            for as many of them as may learn. It runs without autograd. Its positional arguments
            are tensors; of the others those that are no tensors are numbers, strings or None. The
            compiler must know the number of gradients from the annotation, a `tuple[…]` with one
            entry for the value and one for each; without one it breaks its graph there.
    """
    name = f"{compute.__module__}.{compute.__qualname__}"
    known = _KNOWN[name] = _Known(compute, _gradients(compute))

    @functools.wraps(compute)
    def loss(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        named = [key for key, value in kwargs.items() if isinstance(value, Tensor)]
        tensors = [*args, *[kwargs[key] for key in named]]
        options = {key: value for key, value in kwargs.items() if key not in named}
        if torch.compiler.is_compiling() and known.gradients:
            words = [f"{key!r}: {value!r}" for key, value in options.items()]
            text = "{" + ", ".join(words) + "}"
            result = torch.ops.asterism.streamed(name, tensors, " ".join(named), text)
        else:
            form = _Transformed if _transformed() else _Streamed
            apply: Callable[..., tuple[Tensor, ...]] = form.apply
            if torch.compiler.is_compiling():
                # Disabled when it is compiled only: to import torch's compiler takes a second.
                apply = torch.compiler.disable(apply)  # type: ignore[no-untyped-call]
            result = apply(_Call(known, tuple(named), options), *tensors)
        value: Tensor = result[0]
        return value

    return loss


@dataclass(frozen=True)
class _Known:
    """A function that returns a value and gradients, as many as its annotation says, if it does."""

    compute: Callable[..., tuple[Tensor, ...]]
    gradients: int | None


# By the name of the function; `torch.compile` passes names, not functions.
_KNOWN: dict[str, _Known] = {}


def _gradients(compute: Callable[..., tuple[Tensor, ...]]) -> int | None:
    parts = typing.get_args(inspect.signature(compute).return_annotation)
    return len(parts) - 1 if len(parts) > 1 and Ellipsis not in parts else None


@dataclass(frozen=True)
class _Call:
    """Which function is called, and with what beside the tensors."""

    known: _Known
    named: tuple[str, ...]
    options: Options

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the value and the gradients; the last tensors are keyword arguments."""
        count = len(tensors) - len(self.named)
        named = dict(zip(self.named, tensors[count:], strict=True))
        results = self.known.compute(*tensors[:count], **named, **self.options)
        # What is returned must not be what was given: both are kept for the backward pass.
        return tuple(x.clone() if any(x is given for given in tensors) else x for x in results)


def _transformed() -> bool:
    """Return whether torch.func is at work; where torch does not tell, suppose so."""
    tell = getattr(torch._C, "_are_functorch_transforms_active", None)
    return tell is None or bool(tell())


class _Streamed(torch.autograd.Function):
    """A value whose gradients are computed with it."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        output = call(*tensors)
        _Transformed.setup_context(ctx, (call, *tensors), output)
        return output

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        half = len(ctx.saved_tensors) // 2
        gradients = [upstream * gradient for gradient in ctx.saved_tensors[half:]]
        if torch.is_grad_enabled():  # with create_graph=True
            inputs = ctx.saved_tensors[:half]
            gradients = [_Once.apply(*pair) for pair in zip(inputs, gradients, strict=True)]  # type: ignore[no-untyped-call]
        return None, *gradients, *[None] * ctx.others


class _Transformed(_Streamed):
    """The same for torch.func, whose way to write it costs a third of a small loss's time."""

    @staticmethod
    def forward(call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        with torch.no_grad():
            return call(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, *tensors = inputs
        _, *gradients = output
        ctx.mark_non_differentiable(*gradients)
        ctx.others = len(tensors) - len(gradients)
        ctx.save_for_backward(*tensors[: len(gradients)], *gradients)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], call: _Call, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        results = []
        for i in range(info.batch_size):
            one = [
                x if dim is None else x.select(dim, i)
                for x, dim in zip(tensors, in_dims[1:], strict=True)
            ]
            results.append(_Transformed.apply(call, *one))  # type: ignore[no-untyped-call]
        stacked = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
        return stacked, (0,) * len(stacked)


class _Once(torch.autograd.Function):
    """A gradient that depends on its input in a way that is not known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(_: Tensor, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(
            "This loss cannot be differentiated twice: its gradient is computed together with its "
            "value, and nothing is kept for a second derivative. Leave it out of what is "
            "differentiated with create_graph=True."
        )


# The same for torch.compile, which cannot look into blocks whose number depends on the numbers: one
# operator for all functions. Options come as text, which is the only form it passes on as it is.
_LIBRARY = torch.library.Library("asterism", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(  # type: ignore[no-untyped-call]
    "streamed(str name, Tensor[] tensors, str named, str options) -> Tensor[]"
)


def _operator(name: str, tensors: list[Tensor], named: str, options: str) -> list[Tensor]:
    call = _Call(_KNOWN[name], tuple(named.split()), ast.literal_eval(options))
    with torch.no_grad():
        return list(call(*tensors))


def _shapes(name: str, tensors: list[Tensor], named: str, options: str) -> list[Tensor]:
    learning = tensors[: _KNOWN[name].gradients]
    return [learning[0].new_empty(()), *map(torch.empty_like, learning)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.tensors = len(inputs[1])
    ctx.save_for_backward(*output[1:])


def _multiply(ctx: Any, upstream: list[Tensor]) -> tuple[Any, ...]:
    gradients = [upstream[0] * gradient for gradient in ctx.saved_tensors]
    return None, [*gradients, *[None] * (ctx.tensors - len(gradients))], None, None


_LIBRARY.impl("streamed", _operator, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake("asterism::streamed", _shapes, lib=_LIBRARY)
torch.library.register_autograd("asterism::streamed", _multiply, setup_context=_keep, lib=_LIBRARY)
