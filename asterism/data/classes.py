"""Classes of several sources under one numbering: the training data's first, new ones after.

Names decide which class is which, never the place in a list: folders come sorted as texts (`0`,
`1`, `10`, `2`), arrays by number. A class number from the number of training classes on is that of
a class of its own: labels of test data are not confined to what a classifier knows.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from asterism.data.source import LeftOut, Source
from asterism.types import Batch
from asterism.words import readable


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

    Classes are matched by name. Where one side has names and the other bare numbers, a number
    is that of the class. Classes that the training data lack follow after those they have.

    Raises:
        ValueError: If numbers may be meant as names and as numbers.
    """
    if source.targets is None or source.names is None or training.names is None:
        return source
    known = training.names
    names, by_number = _matched(source, training)
    if names == source.names and known[: len(names)] == names:
        return source
    present = set(torch.unique(source.targets).tolist())
    new = (name for i, name in enumerate(names) if name not in known and i in present)
    number = {name: i for i, name in enumerate((*known, *new))}
    numbers = torch.tensor([number.get(name, 0) for name in names])
    renumbered = Renumbered(source, numbers, list(number))
    if by_number:
        renumbered.notes = (
            *source.notes,
            "classes matched with the training data's by number, as one side has no names",
        )
    return renumbered


def _matched(source: Source, training: Source) -> tuple[tuple[str, ...], bool]:
    """Return the training data's name of each class, and whether it was found by number."""
    names, known = source.names or (), training.names or ()
    if _numeric(names) == _numeric(known):
        return names, False
    if _bare(names):  # the training data have names
        return (*known[: len(names)], *names[len(known) :]), True
    if _bare(known) and len(names) == len(known):
        return known, True
    raise ValueError(
        f"the classes of {source.place} ({_some(names)}) and of {training.place} ({_some(known)}) "
        "cannot be matched: one side has names and the other numbers. Give both sides names."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(readable, names[:3])) + (", …" if len(names) > 3 else "")


def _numeric(names: Sequence[str]) -> bool:
    """Return whether all classes are numbers, and no names."""
    return all(name.isdecimal() for name in names)


def _bare(names: Sequence[str]) -> bool:
    """Return whether classes are numbers as they stand, from 0 on."""
    return tuple(names) == tuple(map(str, range(len(names))))


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
    present = torch.unique(source.targets[source.usable()])
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
