"""Memories of earlier batches: a queue of rows, or one averaged row for each sample."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """The latest `size` rows, first in, first out.

    Part of the state dict, so a restart goes on with the same bank. Every rank of a distributed
    run must enqueue the same rows; those that the engine gives to methods are gathered already
    (but for `--relation-scope local`, docs/distributed.md).

    Attributes:
        rows: What is remembered, shape `(size, dim)`. Starts with random rows of unit length.
        pointer: Where the next row goes.
    """

    rows: Float[Tensor, "k d"]
    pointer: Int[Tensor, ""]

    def __init__(self, size: int, dim: int) -> None:
        """Fill the bank with random directions.

        Args:
            size: How many rows it holds.
            dim: How wide they are.
        """
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim)))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, rows: Float[Tensor, "n d"]) -> None:
        """Overwrite the oldest rows, in order; of more than `size` rows the last ones stay.

        A row that is not finite is kept as zeros, which are similar to nothing: one bad batch must
        not spoil the losses of all later ones.

        Raises:
            ValueError: If the rows are not as wide as the bank.
        """
        size, dim = self.rows.shape
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise ValueError(f"this bank takes rows of shape (n, {dim}); got {tuple(rows.shape)}.")
        rows = rows.where(rows.isfinite().all(1, keepdim=True), 0)
        slots = (self.pointer + torch.arange(len(rows), device=self.pointer.device)) % size
        self.rows[slots[-size:]] = rows[-size:].to(self.rows.dtype)
        self.pointer.add_(len(rows)).remainder_(size)


class SampleMemory(nn.Module):
    """One row of unit length for each training sample, averaged over its visits.

    Attributes:
        rows: What is remembered, shape `(samples, dim)`. Starts with random rows of unit length.
        came: Which samples have come.
        visits: How often samples have come, all together.
    """

    rows: Float[Tensor, "k d"]
    came: Bool[Tensor, " k"]
    visits: Int[Tensor, ""]

    def __init__(self, samples: int, dim: int, *, momentum: float) -> None:
        """Fill the memory with random directions.

        Args:
            samples: How many samples there are.
            dim: How wide the rows are.
            momentum: How much of the old row stays when its sample comes again.
        """
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rows", F.normalize(torch.randn(samples, dim)))
        self.register_buffer("came", torch.zeros(samples, dtype=torch.bool))
        self.register_buffer("visits", torch.zeros((), dtype=torch.long))

    def samples(self) -> Int[Tensor, " m"]:
        """Return the samples to compare with: in the first pass all, then those that have come.

        The others' rows are random still, and for good if they are held out for validation.
        """
        return torch.nonzero(self.came | (self.visits < len(self.rows))).flatten()

    @torch.no_grad()
    def update(self, index: Int[Tensor, " n"], rows: Float[Tensor, "n d"]) -> None:
        """Mix new rows in. A sample that comes twice at once counts as its mean direction.

        A row that is not finite is left out: it would stay for good.
        """
        good = rows.isfinite().all(1)
        index, rows = index[good], rows[good]
        samples, position = torch.unique(index, return_inverse=True)
        fresh = self.rows.new_zeros(len(samples), self.rows.shape[1])
        fresh.index_add_(0, position, F.normalize(rows).to(fresh.dtype))
        mixed = torch.lerp(F.normalize(fresh), self.rows[samples], self.momentum)
        self.rows[samples] = F.normalize(mixed)
        self.came[samples] = True
        self.visits += len(samples)
