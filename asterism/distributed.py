"""Several processes as one: rows of all ranks with exact gradients, and what ranks agree on.

A rank is one process of a run, with its own share of every batch. Without a process group, or with
a single rank, everything here is the identity.
"""

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def ranks() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """Return the number of this process among them."""
    return dist.get_rank() if _together() else 0


def is_first() -> bool:
    """Return whether this process writes and prints: it may be asked before they have met."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    # What torchrun, accelerate and Slurm tell their processes.
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return os.environ.get("SLURM_PROCID", "0") == "0"


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def shard_sizes(rows: int, device: torch.device) -> list[int]:
    """Return how many rows each rank has.

    Args:
        rows: How many this one has.
        device: Where the ranks can exchange tensors.
    """
    if not _together():
        return [rows]
    every = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(ranks())]
    dist.all_gather(every, torch.tensor([rows], device=device))
    return [int(size) for size in torch.cat(every).tolist()]


def gather_rows(rows: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """Return the rows of all ranks, in the order of the ranks.

    Backward sums the gradients that all ranks have for this rank's rows. So if every rank computes
    the same loss of the gathered rows and the gradients of the parameters are then averaged over
    the ranks, they are those of one process with all rows, and so are those of parameters behind
    the gather, as the heads of a method. Multiplying the loss by the number of ranks would give
    the first and spoil the second.

    Args:
        rows: This rank's rows, shape `(n, …)`, of any type; ranks may have different `n`.
        sizes: `shard_sizes` of them, if they are known already.

    Returns:
        All rows, shape `(sum of n, …)`; `rows` itself with fewer than two ranks.
    """
    if not _together():
        return rows
    sizes = shard_sizes(len(rows), rows.device) if sizes is None else sizes
    gathered: Tensor = _GatherRows.apply(rows, tuple(sizes))  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.sizes = sizes
        # As bytes, which every backend can send: bool, bfloat16 and all others arrive as they are.
        sent = rows.new_zeros(max(sizes), math.prod(rows.shape[1:]))
        sent[: len(rows)] = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
        raw = sent.view(torch.uint8)
        every = [torch.empty_like(raw) for _ in sizes]
        dist.all_gather(every, raw)
        kept = [part[:size] for part, size in zip(every, sizes, strict=True)]
        return torch.cat(kept).view(rows.dtype).reshape(sum(sizes), *rows.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Half precision would round each partial sum.
        total = gradient.to(torch.promote_types(gradient.dtype, torch.float32)).contiguous()
        if total is gradient:
            total = total.clone()
        dist.all_reduce(total)
        begin = sum(ctx.sizes[: rank()])
        return total[begin : begin + ctx.sizes[rank()]].to(gradient.dtype), None


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks, in one exchange for each type.

    A parameter that some ranks have no gradient for counts as zero there; one that no rank has a
    gradient for stays without.
    """
    if not _together():
        return
    by_type: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            by_type.setdefault(parameter.dtype, []).append(parameter)
    for group in by_type.values():
        used = [float(p.grad is not None) for p in group]
        flags = torch.tensor(used, dtype=group[0].dtype, device=group[0].device)
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in group]
        flat = torch.cat([*parts, flags])
        dist.all_reduce(flat)
        lengths = [*(p.numel() for p in group), len(group)]
        *means, counts = torch.split(flat.div_(ranks()), lengths)
        for parameter, mean, count in zip(group, means, counts.tolist(), strict=True):
            parameter.grad = mean.view_as(parameter) if count else None


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Replace each floating-point buffer, as running statistics, by its mean over the ranks."""
    if not _together():
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer.div_(ranks())


@torch.no_grad()
def broadcast(module: nn.Module) -> None:
    """Replace all parameters and buffers by the first rank's."""
    if _together():
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.detach(), src=0)


@torch.no_grad()
def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean of the tensors of all ranks."""
    if _together():
        values = values.clone()
        dist.all_reduce(values)
        values.div_(ranks())
    return values


def any_rank(wish: bool, device: torch.device) -> bool:
    """Return whether any rank wishes it."""
    if not _together():
        return wish
    wishes = torch.tensor([int(wish)], device=device)
    dist.all_reduce(wishes, op=dist.ReduceOp.MAX)
    return bool(wishes.item())


def from_first(value: Any) -> Any:
    """Return what the first rank passes; the others wait for it.

    Between processes of one run only: it pickles.
    """
    if not _together():
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]


def from_all(value: Any) -> list[Any]:
    """Return what each rank passes, likewise."""
    if not _together():
        return [value]
    held = [None] * ranks()
    dist.all_gather_object(held, value)
    return held
