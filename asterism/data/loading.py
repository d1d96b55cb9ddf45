"""Batches: which samples come together, and in what order."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from asterism.data.sources import Source
from asterism.distributed import rank, ranks
from asterism.types import Batch


class Order(Sampler[list[int]]):
    """The rows of each batch: a pure function of seed and epoch."""

    def __init__(
        self,
        rows: Tensor,
        batch_size: int,
        *,
        seed: int | None,
        drop_last: bool = False,
        shard: bool = False,
    ) -> None:
        """Store the rows.

        Args:
            rows: Rows of the source that are visited once per epoch.
            batch_size: Samples per batch.
            seed: Seed of the shuffling; None keeps the order.
            drop_last: Leave out the last batch if it is not full.
            shard: Divide the rows among the ranks that train together: each shuffled batch, or,
                without shuffling, all rows. Each rank has consecutive ones, so that gathered in
                the order of the ranks they are those of a single process.
        """
        self.rows, self.batch_size, self.seed, self.shard = rows, batch_size, seed, shard
        self.drop_last = drop_last and len(rows) >= batch_size
        self.epoch = self.first = 0

    @property
    def sampler(self) -> "Order":
        """Return itself: Lightning calls `set_epoch` on the sampler of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next (called by the engine)."""
        self.epoch = epoch

    def begin(self, epoch: int, batch: int) -> None:
        """Go on in the middle of an epoch, for once."""
        self.epoch, self.first = epoch, batch

    def _own(self) -> Tensor:
        whole = self.seed is not None or not self.shard
        return self.rows if whole else self.rows.tensor_split(ranks())[rank()]

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        full, rest = divmod(len(self._own()), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def batches(self) -> Sequence[Tensor]:
        """Return the rows of each batch of the epoch; of shuffled ones those of all ranks."""
        rows = self._own()
        if self.seed is not None:
            generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) % 2**63)
            rows = rows[torch.randperm(len(rows), generator=generator)]
        return torch.split(rows, self.batch_size)[: len(self)]

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        first, self.first = self.first, 0
        for batch in self.batches()[first:]:
            if self.seed is not None and self.shard:
                batch = batch.tensor_split(ranks())[rank()]
            yield batch.tolist()


class Loader(DataLoader[Batch]):
    """Batches of a source; decoding runs in worker processes if asked."""

    def __init__(
        self, source: Source, order: Order | Iterator[list[int]], *, workers: int = 0
    ) -> None:
        """Join a source and an order, or rows of batches that are named as they are needed."""
        super().__init__(
            source,
            batch_sampler=order,
            collate_fn=_as_is,  # sources fetch whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            # The workers' base seed must not come from the global state, which a restart restores.
            generator=torch.Generator(),
        )
        self.order, self.source = order, source

    def __iter__(self) -> Any:
        """Return the batches of one pass; the source remembers what could not be read."""
        return self._noting(super().__iter__())

    def _noting(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if batch.broken:
                known = (*self.source.broken, *batch.broken)
                self.source.broken = tuple(dict.fromkeys(known))
            yield batch


def default_workers(source: Source, asked: int | None = None, sharing: int = 1) -> int:
    """Return how many processes decode pictures: as many as asked, or none for data in memory.

    Args:
        source: The data.
        asked: What the user wants; None for the default.
        sharing: How many processes share the cores.
    """
    if asked is not None:
        return asked
    in_memory = source.kind == "text" or getattr(source, "images", None) is not None
    return 0 if in_memory else max(1, min(8, (os.cpu_count() or 1) // sharing))


def _as_is(batch: Any) -> Any:
    return batch
