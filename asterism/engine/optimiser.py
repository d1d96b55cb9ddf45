"""The optimiser and its schedule."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from asterism.engine.task import Task
from asterism.models.hub import load_library
from asterism.names import meant
from asterism.optimizers import TIMM, TORCH
from asterism.settings import Settings


def make_optimizer(modules: Iterable[nn.Module], settings: Settings) -> torch.optim.Optimizer:
    """Return the optimiser of all trainable parameters.

    No weight decay on biases and norms, unless it is asked for, nor on what a loss learns beside
    the network, which has a learning rate of its own.
    """
    modules = list(modules)
    tasks = [each for m in modules for each in m.modules() if isinstance(each, Task)]
    learnt = {id(p) for task in tasks for p in task.parameters()}
    parameters = [
        p for m in modules for p in m.parameters() if p.requires_grad and id(p) not in learnt
    ]
    lr = settings.lr or (0.1 if settings.optimizer in (None, "sgd") else 1e-3)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1]},
    ]
    if not settings.decay_all:
        groups[1]["weight_decay"] = 0.0
    groups += [
        {"params": list(task.parameters()), "weight_decay": 0.0, "lr": lr * task.rate}
        for task in tasks
        if learnt
    ]
    decay = settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=0.05 if decay is None else decay)
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr, weight_decay=decay or 0.0)
    if settings.optimizer in TORCH:
        made: torch.optim.Optimizer = getattr(torch.optim, TORCH[settings.optimizer])(
            groups, lr=lr, **({"weight_decay": decay} if decay is not None else {})
        )
        return made
    if settings.optimizer and settings.optimizer.startswith(TIMM):
        return _timms(groups, settings.optimizer, lr, decay or 0.0)
    return torch.optim.SGD(
        groups,
        lr=lr,
        momentum=0.9,
        nesterov=settings.nesterov,
        weight_decay=5e-4 if decay is None else decay,
    )


def _timms(
    groups: list[dict[str, Any]], name: str, lr: float, decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser of timm.

    Raises:
        ValueError: If timm is missing or has none of that name.
    """
    base = name.removeprefix(TIMM)
    library = load_library("timm.optim", "timm")
    known = library.list_optimizers(filter=["*", "!lookahead*"])
    if base not in known:
        raise ValueError(f"timm has no optimizer {base!r}{meant(base, known)}.")
    made: torch.optim.Optimizer = library.create_optimizer_v2(
        [{"weight_decay": decay, **group} for group in groups if group["params"]],
        opt=base,
        lr=lr,
        weight_decay=decay,
    )
    return made


def clip_gradients(
    parameters: Sequence[nn.Parameter], limit: float, scaler: torch.amp.GradScaler | None
) -> Tensor:
    """Shorten the gradient to a norm of `limit` at most; return the norm that it had.

    Args:
        parameters: Whose gradient.
        limit: The largest norm; 0 for none.
        scaler: What has scaled the gradient, for half precision: the limit is scaled likewise,
            and so is the norm that is returned.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit:
        scale = scaler.get_scale() if scaler is not None else 1.0
        torch.nn.utils.clip_grads_with_norm_(parameters, limit * scale, norm)
    return norm


def make_schedule(
    optimizer: torch.optim.Optimizer, settings: Settings, *, steps_per_epoch: int
) -> LambdaLR:
    """Return the schedule, a pure function of the step."""
    total = settings.epochs * steps_per_epoch
    warmup = settings.warmup_epochs * steps_per_epoch

    def factor(step: int) -> float:
        if settings.schedule == "one-cycle":
            up = max(1.0, 0.3 * total)
            if step < up:
                return 0.04 + 0.96 * step / up
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - up) / max(1.0, total - up))))
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "cosine":
            return 0.5 * (
                1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup)))
            )
        if settings.schedule == "multi-step":
            passed = sum(step >= m * steps_per_epoch for m in settings.milestones)
            return settings.milestone_factor**passed
        return 1.0

    return LambdaLR(optimizer, factor)
