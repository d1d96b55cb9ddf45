"""Batches: their samples, their order, and the loader that fetches them."""

import os
from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from asterism.data.source import Blocks, Source
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
        steps: int | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        """Store the rows.

        Args:
            rows: Rows of the source that are visited once per pass.
            batch_size: Samples per batch.
            seed: Seed of the shuffling; None keeps the order.
            drop_last: Leave out the last batch if it is not full.
            shard: Divide the rows among the ranks that train together: each shuffled batch, or,
                without shuffling, all rows. Each rank has consecutive ones, so that gathered in
                the order of the ranks they are those of a single process.
            steps: Batches of an epoch, of as many passes over the rows as they take; by default
                those of one pass.
            blocks: The source's; rows are shuffled among those that are in memory together.
        """
        self.rows = rows
        self.blocks = blocks
        self.steps = steps
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
        return self.steps or self.pass_length

    @property
    def pass_length(self) -> int:
        """Return the number of batches of one pass over the rows."""
        full, rest = divmod(len(self._own()), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def passes(self, batch: int) -> int:
        """Return how many passes were complete before a batch of the epoch."""
        return (self.epoch * len(self) + batch) // max(1, self.pass_length)

    def batches(self) -> Sequence[Tensor]:
        """Return the rows of each batch of the epoch; of shuffled ones those of all ranks."""
        length = self.pass_length
        if not length:
            return []
        first = self.epoch * len(self)
        found: list[Tensor] = []
        for number in range(first // length, -(-(first + len(self)) // length)):
            begin = max(0, first - number * length)
            found += self.of_pass(number)[begin : begin + len(self) - len(found)]
        return found

    def of_pass(self, number: int) -> Sequence[Tensor]:
        """Return the rows of each batch of a pass: a pure function of the seed and its number."""
        rows = self._own()
        if self.seed is not None:
            generator = torch.Generator().manual_seed(seed_of(self.seed, number))
            if self.blocks is None:
                rows = rows[torch.randperm(len(rows), generator=generator)]
            else:
                rows = self.blocks.mixed(rows, generator)
        return torch.split(rows, self.batch_size)[: self.pass_length]

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

    In a pass every class comes equally often: rows of a small class come again, of a large one
    a different part is taken each pass. Within a batch all classes and all rows differ, so a class
    with fewer rows gives those that it has; the last class of a batch gives what fills it.
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
        steps: int | None = None,
    ) -> None:
        """Store the rows.

        Args:
            rows: Rows of the source that are visited.
            batch_size: Samples per batch.
            seed: Seed of the shuffling.
            targets: Class numbers of all rows of the source.
            per_class: Samples of each class in a batch.
            shard: Divide each batch among the ranks that train together.
            steps: Batches of an epoch; by default those of one pass.

        Raises:
            ValueError: If a batch would need more classes or samples than there are.
        """
        super().__init__(rows, batch_size, seed=seed, shard=shard, steps=steps)
        if per_class > batch_size:
            raise ValueError(
                f"samples_per_class {per_class} is more than the {batch_size} samples of a step: "
                "take fewer, or larger batches."
            )
        self.class_seed = seed
        present, member = torch.unique(targets[rows], return_inverse=True)
        self.classes = [rows[member == i] for i in range(len(present))]
        self.shares = [min(per_class, len(own)) for own in self.classes]
        if batch_size > sum(self.shares):
            raise ValueError(
                f"batches of {batch_size} with {per_class} samples per class cannot be filled: "
                f"the {len(self.classes)} classes to train on give {sum(self.shares)} samples. "
                "Take smaller batches, or more samples per class."
            )
        # As many rounds through all classes as make a pass of the usual length.
        rounds = max(1, round(len(rows) / sum(self.shares)))
        self.length = rounds * sum(self.shares) // batch_size

    @property
    def pass_length(self) -> int:
        """Return the number of batches of one pass."""
        return self.length

    def of_pass(self, number: int) -> list[Tensor]:
        """Return the rows of each batch of a pass, of all ranks."""
        generator = torch.Generator().manual_seed(seed_of(self.class_seed, number))
        queue = _Queue(len(self.classes), generator)
        queues = [_Queue(len(own), generator) for own in self.classes]
        batches = []
        for _ in range(self.length):
            parts: list[Tensor] = []
            room = self.batch_size
            for chosen in queue.some(self.shares, room):
                taken = queues[chosen].next(min(self.shares[chosen], room))
                parts.append(self.classes[chosen][taken])
                room -= len(taken)
            batches.append(torch.cat(parts))
        return batches


class _Queue:
    """Numbers below a count in a random order, over and over; each comes equally often."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count = count
        self.generator = generator
        self.waiting: list[int] = []

    def next(self, number: int) -> list[int]:
        """Return the next ones, all different."""
        if len(self.waiting) < number:
            self._refill()
        taken, self.waiting = self.waiting[:number], self.waiting[number:]
        return taken

    def some(self, sizes: Sequence[int], room: int) -> list[int]:
        """Return the next ones, all different, whose sizes together fill the room."""
        if sum(sizes[i] for i in self.waiting) < room:
            self._refill()
        filled = accumulate(sizes[i] for i in self.waiting)
        return self.next(1 + sum(1 for _ in takewhile(lambda size: size < room, filled)))

    def _refill(self) -> None:
        order = torch.randperm(self.count, generator=self.generator).tolist()
        still = set(self.waiting)
        # Those that are still waiting come last, so that none comes twice at once.
        self.waiting += [i for i in order if i not in still] + [i for i in order if i in still]


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
    if source.in_memory or (source.blocks is not None and not source.modality.has_files):
        return 0  # blocks of texts: each process would read all of them
    return max(1, min(8, cores() // sharing))


def cores() -> int:
    """Return how many cores this process may use: of a container or a job often not all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _as_is(batch: Any) -> Any:
    return batch


def left_over(order: Order, epochs: int) -> Tensor:
    """Return the rows that no batch of so many epochs has: the ends that fill no batch."""
    rest = torch.zeros(int(order.rows.max()) + 1 if len(order.rows) else 0, dtype=torch.bool)
    rest[order.rows] = True
    for epoch in range(epochs):
        order.set_epoch(epoch)
        for batch in order.batches():
            rest[batch] = False
        if not rest.any():
            break
    return rest.nonzero().flatten()


def training_order(
    rows: Tensor,
    batch_size: int,
    *,
    seed: int,
    targets: Tensor | None = None,
    per_class: int | None = None,
    shard: bool = False,
    steps: int | None = None,
    blocks: Blocks | None = None,
) -> Order:
    """Return the order of training rows.

    Args:
        rows: The rows.
        batch_size: Samples per batch.
        seed: Seed of the shuffling.
        targets: Class numbers of all rows of the source, where it has labels.
        per_class: Samples of each class in a batch; None for rows as they come.
        shard: Divide each batch among the ranks that train together.
        steps: Batches of an epoch; by default those of one pass over the rows.
        blocks: Those of a source that is not in memory.

    Raises:
        ValueError: If classes are asked for that the data do not have, or that lie in all blocks.
    """
    how: dict[str, Any] = {"shard": shard, "steps": steps}
    if per_class is None:
        return Order(rows, batch_size, seed=seed, drop_last=True, blocks=blocks, **how)
    if targets is None:
        raise ValueError("samples_per_class needs labels, and the data have none.")
    if blocks is not None:
        raise ValueError(
            "samples_per_class takes rows from everywhere, and a table of this size is read block "
            "by block (docs/scale.md): leave it out, or train on a part."
        )
    return ClassOrder(rows, batch_size, seed=seed, targets=targets, per_class=per_class, **how)
