"""Batches: which samples come together, and in what order."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from asterism.data.sources import Source
from asterism.types import Batch


class Order(Sampler[list[int]]):
    """The rows of each batch: a pure function of seed and epoch."""

    def __init__(
        self, rows: Tensor, batch_size: int, *, seed: int | None, drop_last: bool = False
    ) -> None:
        """Store the rows.

        Args:
            rows: Rows of the source that are visited once per epoch.
            batch_size: Samples per batch.
            seed: Seed of the shuffling; None keeps the order.
            drop_last: Leave out the last batch if it is not full.
        """
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.drop_last = drop_last and len(rows) >= batch_size
        self.epoch = 0

    @property
    def sampler(self) -> "Order":
        """Return itself: Lightning calls `set_epoch` on the sampler of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next (called by the engine)."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        full, rest = divmod(len(self.rows), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        rows = self.rows
        if self.seed is not None:
            generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) % 2**63)
            rows = rows[torch.randperm(len(rows), generator=generator)]
        for batch in torch.split(rows, self.batch_size)[: len(self)]:
            yield batch.tolist()


class ClassOrder(Order):
    """Batches of some classes with the same number of samples each, for metric learning.

    In an epoch every class comes equally often: rows of a small class are repeated, of a large one
    a different part is taken each epoch. Within a batch all classes differ.
    """

    def __init__(
        self, rows: Tensor, batch_size: int, *, seed: int, targets: Tensor, per_class: int
    ) -> None:
        """Store the rows.

        Args:
            rows: Rows of the source that are visited.
            batch_size: Samples per batch, a multiple of `per_class`.
            seed: Seed of the shuffling.
            targets: Class numbers of all rows of the source.
            per_class: Samples of each class in a batch.

        Raises:
            ValueError: If a batch would need more classes than there are.
        """
        super().__init__(rows, batch_size, seed=seed)
        present, member = torch.unique(targets[rows], return_inverse=True)
        self.classes = [rows[member == i] for i in range(len(present))]
        self.per_class, self.together = per_class, batch_size // per_class
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

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) % 2**63)
        shuffled = [self._cycled(rows, generator) for rows in self.classes]
        waiting: list[int] = []  # classes in the order in which they come
        used = [0] * len(self.classes)
        for _ in range(len(self)):
            if len(waiting) < self.together:
                order = torch.randperm(len(self.classes), generator=generator).tolist()
                # Those that are still waiting come last, so that no batch has a class twice.
                first = [c for c in order if c not in waiting]
                waiting += first + [c for c in order if c in waiting]
            chosen, waiting = waiting[: self.together], waiting[self.together :]
            batch: list[int] = []
            for c in chosen:
                batch += shuffled[c][used[c] : used[c] + self.per_class]
                used[c] += self.per_class
            yield batch

    def _cycled(self, rows: Tensor, generator: torch.Generator) -> list[int]:
        """Return rows of one class, shuffled, as many as an epoch can ask for."""
        count = (self.rounds + 1) * self.per_class
        times = -(-count // len(rows))
        shuffled = [rows[torch.randperm(len(rows), generator=generator)] for _ in range(times)]
        cycled: list[int] = torch.cat(shuffled)[:count].tolist()
        return cycled


def left_over(order: Order, epochs: int) -> Tensor:
    """Return the rows that no batch of so many epochs has: the ends that fill no batch."""
    rest = set(order.rows.tolist())
    for epoch in range(epochs):
        order.set_epoch(epoch)
        for batch in order:
            rest.difference_update(batch)
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
) -> Order:
    """Return the order of training rows.

    Args:
        rows: The rows.
        batch_size: Samples per batch.
        seed: Seed of the shuffling.
        targets: Class numbers of all rows of the source, where it has labels.
        per_class: Samples of each class in a batch; None for rows as they come.

    Raises:
        ValueError: If classes are asked for that the data do not have.
    """
    if per_class is None:
        return Order(rows, batch_size, seed=seed, drop_last=True)
    if targets is None:
        raise ValueError("samples_per_class needs labels, and the data have none.")
    return ClassOrder(rows, batch_size, seed=seed, targets=targets, per_class=per_class)


class Loader(DataLoader[Batch]):
    """Batches of a source; decoding runs in worker processes if asked."""

    def __init__(self, source: Source, order: Order, *, workers: int = 0) -> None:
        """Join a source and an order."""
        super().__init__(
            source,
            batch_sampler=order,
            collate_fn=_as_is,  # sources fetch whole batches
            num_workers=workers,
            persistent_workers=workers > 0,
            # The workers' base seed must not come from the global state, which a restart restores.
            generator=torch.Generator(),
        )
        self.order = order


def _as_is(batch: Any) -> Any:
    return batch
