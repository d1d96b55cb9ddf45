"""Batches: their samples, their order, and the loader that fetches them."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from asterism.data.source import Source
from asterism.distributed import rank, ranks
from asterism.seeds import seed_of
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
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.shard = shard
        self.drop_last = drop_last and len(rows) >= batch_size
        self.epoch = 0
        self.first = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next (called by the engine)."""
        self.epoch = epoch

    def begin(self, epoch: int, batch: int) -> None:
        """Go on in the middle of an epoch, for once."""
        self.epoch = epoch
        self.first = batch

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
            generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
            rows = rows[torch.randperm(len(rows), generator=generator)]
        return torch.split(rows, self.batch_size)[: len(self)]

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        first = self.first
        self.first = 0
        for batch in self.batches()[first:]:
            if self.seed is not None and self.shard:
                batch = batch.tensor_split(ranks())[rank()]
            yield batch.tolist()


class ClassOrder(Order):
    """Batches of some classes with the same number of samples each, for metric learning.

    In an epoch every class comes equally often: rows of a small class are repeated, of a large one
    a different part is taken each epoch. Within a batch all classes differ.
    """

    def __init__(
        self,
        rows: Tensor,
        batch_size: int,
        *,
        seed: int,
        targets: Tensor,
        per_class: int,
        shard: bool = False,
    ) -> None:
        """Store the rows.

        Args:
            rows: Rows of the source that are visited.
            batch_size: Samples per batch, a multiple of `per_class`.
            seed: Seed of the shuffling.
            targets: Class numbers of all rows of the source.
            per_class: Samples of each class in a batch.
            shard: Divide each batch among the ranks that train together.

        Raises:
            ValueError: If a batch would need more classes than there are.
        """
        super().__init__(rows, batch_size, seed=seed, shard=shard)
        self.class_seed = seed
        present, member = torch.unique(targets[rows], return_inverse=True)
        self.classes = [rows[member == i] for i in range(len(present))]
        self.per_class = per_class
        self.together = batch_size // per_class
        if batch_size % per_class or not 0 < self.together <= len(self.classes):
            raise ValueError(
                f"batches of {batch_size} with {per_class} samples per class need a multiple of "
                f"{per_class} and at most {len(self.classes) * per_class} samples, as the data "
                f"have {len(self.classes)} classes."
            )
        # As many rounds through all classes as make an epoch of the usual length.
        self.rounds = max(1, round(len(rows) / (per_class * len(self.classes))))

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        return max(1, self.rounds * len(self.classes) // self.together)

    def batches(self) -> list[Tensor]:
        """Return the rows of each batch of the epoch, of all ranks."""
        generator = torch.Generator().manual_seed(seed_of(self.class_seed, self.epoch))
        shuffled = [self._cycled(rows, generator) for rows in self.classes]
        waiting: list[int] = []  # classes in the order in which they come
        used = [0] * len(self.classes)
        batches = []
        for _ in range(len(self)):
            if len(waiting) < self.together:
                order = torch.randperm(len(self.classes), generator=generator).tolist()
                # Those that are still waiting come last, so that no batch has a class twice.
                first = [c for c in order if c not in waiting]
                waiting += first + [c for c in order if c in waiting]
            chosen, waiting = waiting[: self.together], waiting[self.together :]
            batches.append(
                torch.cat([shuffled[c][used[c] : used[c] + self.per_class] for c in chosen])
            )
            for c in chosen:
                used[c] += self.per_class
        return batches

    def _cycled(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return rows of one class, shuffled, as many as an epoch can ask for."""
        count = (self.rounds + 1) * self.per_class
        times = -(-count // len(rows))
        shuffled = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(times)]
        return torch.cat(shuffled)[:count]


class Loader(DataLoader[Batch]):
    """Batches of a source; decoding runs in worker processes if asked."""

    def __init__(
        self,
        source: Source,
        order: Order | Iterator[list[int]],
        *,
        workers: int = 0,
        pinned: bool = False,
    ) -> None:
        """Join a source and an order, or rows of batches that are named as they are needed.

        Args:
            source: The data.
            order: The rows of each batch.
            workers: Processes that fetch them.
            pinned: Whether batches lie in memory from which a GPU can fetch while it works.
        """
        super().__init__(
            source,
            batch_sampler=order,
            collate_fn=_as_is,  # sources fetch whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pinned,
            # The workers' base seed must not come from the global state, which a restart restores.
            generator=torch.Generator(),
        )
        self.order = order
        self.source = source

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
    return 0 if source.in_memory else max(1, min(8, (os.cpu_count() or 1) // sharing))


def _as_is(batch: Any) -> Any:
    return batch


def left_over(order: Order, epochs: int) -> Tensor:
    """Return the rows that no batch of so many epochs has: the ends that fill no batch."""
    rest = set(order.rows.tolist())
    for epoch in range(epochs):
        order.set_epoch(epoch)
        for batch in order.batches():
            rest.difference_update(batch.tolist())
        if not rest:
            break
    return torch.tensor(sorted(rest), dtype=torch.int64)


def training_order(
    rows: Tensor,
    batch_size: int,
    *,
    seed: int,
    targets: Tensor | None = None,
    per_class: int | None = None,
    shard: bool = False,
) -> Order:
    """Return the order of training rows.

    Args:
        rows: The rows.
        batch_size: Samples per batch.
        seed: Seed of the shuffling.
        targets: Class numbers of all rows of the source, where it has labels.
        per_class: Samples of each class in a batch; None for rows as they come.
        shard: Divide each batch among the ranks that train together.

    Raises:
        ValueError: If classes are asked for that the data do not have.
    """
    if per_class is None:
        return Order(rows, batch_size, seed=seed, drop_last=True, shard=shard)
    if targets is None:
        raise ValueError("samples_per_class needs labels, and the data have none.")
    return ClassOrder(
        rows, batch_size, seed=seed, targets=targets, per_class=per_class, shard=shard
    )
