"""Classes of several sources under one numbering: those of the training data first, new ones after.

So a class number from the number of training classes on is that of a class of its own, which no
training row has, and labels of test data are not confined to what a classifier knows.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from asterism.data.source import LeftOut, Source
from asterism.types import Batch


class Renumbered(LeftOut):
    """Another source whose classes have other numbers."""

    targets: Tensor
    names: tuple[str, ...]

    def __init__(self, source: Source, numbers: Tensor, names: Sequence[str]) -> None:
        """Number the classes anew.

        Args:
            source: A source with labels.
            numbers: The new number of each of its classes, shape `(c,)`.
            names: Names of all classes in the order of the new numbers.
        """
        assert source.targets is not None
        super().__init__(source, {})
        self.numbers = numbers
        self.targets = numbers[source.targets]
        self.names = tuple(names)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows, with the new numbers."""
        batch = super().__getitems__(rows)
        return batch if batch.target is None else replace(batch, target=self.numbers[batch.target])

    def alike(self, other: Source) -> Source:
        """Return another source, with the old numbers and possibly more, with the new ones."""
        if other.targets is None or other.names is None:
            return other
        more = torch.arange(len(self.numbers), len(other.names))
        names = (*self.names, *other.names[len(self.names) :])
        return Renumbered(other, torch.cat([self.numbers, more]), names)


def with_training_numbers(source: Source, training: Source) -> Source:
    """Return validation or test data with the class numbers of the training data.

    Classes are matched by name; where one side has numbers for names, by number. Classes that the
    training data lack follow after those they have.
    """
    if source.targets is None or source.names is None or training.names is None:
        return source
    known, names = training.names, source.names
    if _numbers(names) and not _numbers(known):
        names = tuple(known[int(x)] if int(x) < len(known) else x for x in names)
    elif _numbers(known) and not _numbers(names):
        names = (*known[: len(names)], *names[len(known) :])
    if known[: len(names)] == names:
        return source
    everyone = (*known, *(name for name in dict.fromkeys(names) if name not in known))
    number = {name: i for i, name in enumerate(everyone)}
    return Renumbered(source, torch.tensor([number[name] for name in names]), everyone)


def _numbers(names: Sequence[str]) -> bool:
    """Return whether classes have no names but their numbers."""
    return all(name.isdecimal() for name in names)


def without_some_classes(source: Source, share: float, seed: int) -> tuple[Renumbered, int]:
    """Draw classes that are kept from training, and number them after the others.

    Args:
        source: The training data.
        share: Share of the classes, rounded; at least two, so that one can be told from another.
        seed: Seed of the draw.

    Returns:
        The data, and how many of the last classes are kept.

    Raises:
        ValueError: If there are no labels, or fewer than two classes would be left to train on.
    """
    if source.targets is None or source.names is None:
        raise ValueError(
            "validation_classes keeps whole classes for validation, and the data have no labels: "
            "leave it out, so that a share of the rows is kept."
        )
    present = torch.unique(source.targets)
    kept = max(2, round(share * len(present)))
    if len(present) - kept < 2:
        raise ValueError(
            f"validation_classes {share} keeps {kept} of {len(present)} classes, and at least two "
            "must be left to train on: keep fewer, or leave it out."
        )
    drawn = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed))[:kept]
    held_out = torch.zeros(len(source.names), dtype=torch.bool)
    held_out[present[drawn]] = True
    order = held_out.long().argsort(stable=True)  # old numbers in the new order
    numbers = torch.empty_like(order)
    numbers[order] = torch.arange(len(order))
    return Renumbered(source, numbers, [source.names[i] for i in order.tolist()]), kept
