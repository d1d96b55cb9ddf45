"""In which order training rows come: shuffled, or composed by class."""

import torch
from torch import Tensor

from asterism.data.loading import Order


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

    def batches(self) -> list[Tensor]:
        """Return the rows of each batch of the epoch, of all ranks."""
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) % 2**63)
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
