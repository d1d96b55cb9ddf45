"""Train and eval mode, and running statistics, of modules that belong to somebody else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Switch a model to train or eval mode, and each of its modules back at the end."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch a model to eval mode without gradients, and each of its modules back at the end."""
    with in_mode(model, training=False), torch.no_grad():
        yield


@contextmanager
def keeping_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what the `with` block does to the buffers, as running statistics."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers() if not is_lazy(buffer)]
    yield
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
