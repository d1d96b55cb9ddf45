"""Classes of several sources under one numbering: the training data's first, new ones after.

Names decide which class is which, never the place in a list: folders come sorted as texts (`0`,
`1`, `10`, `2`), arrays by number.
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
