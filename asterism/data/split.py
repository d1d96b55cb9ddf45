"""Sources of training, validation and test rows, from what a user names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asterism.data.array import digits
from asterism.data.checks import first_readable, refuse_gaps, refuse_other_kind
from asterism.data.classes import with_training_numbers, without_some_classes
from asterism.data.open import open_source
from asterism.data.source import Source
from asterism.modality import IMAGE
from asterism.modality.modality import Statistics


@dataclass(frozen=True)
class Data:
    """Training and validation rows of one source, and possibly test data.

    Attributes:
        source: Where the training samples are.
        train: Rows for training.
        validation: Rows for model selection; of `validation_source` if there is one.
        validation_source: Separate validation data, or None.
        test: Data read once, at the end; None if there are none.
        kept_classes: How many of the last classes of `source` no training row has.
    """

    source: Source
    train: Tensor
    validation: Tensor
    validation_source: Source | None = None
    test: Source | None = None
    kept_classes: int = 0

    @property
    def classes(self) -> int | None:
        """Return the number of classes to train on; None without labels.

        Validation and test data may have more: class numbers from here on.
        """
        return None if self.class_names is None else len(self.class_names)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes to train on, by number; None without labels."""
        names = self.source.names
        return None if names is None else names[: len(names) - self.kept_classes]

    @property
    def selects_by_new_classes(self) -> bool:
        """Return whether validation rows have classes that no training row has."""
        targets = (self.validation_source or self.source).targets
        if targets is None or self.classes is None:
            return False
        return bool((targets[self.validation] >= self.classes).any())

    def statistics(self) -> Statistics:
        """Return mean and deviation as models normalise with, from some 2,000 training samples."""
        some = self.source.some(self.train, 2000)
        samples = self.source.__getitems__(some.tolist()).views[0]
        if not len(samples):  # of many broken pictures, all that were looked at
            samples = first_readable(self.source, self.train, "training").views[0]
        return self.source.modality.statistics(samples)

    @property
    def image_size(self) -> int | None:
        """Return height and width to which pictures are brought; None for what keeps its size."""
        shape = self.source.shape
        return shape[1] if self.source.found_size and shape else None

    def refuse_useless(self, *, use_labels: bool, broken: bool) -> None:
        """Look at labels and at a picture of each part, before an hour is spent.

        Args:
            use_labels: Whether labels are used for training.
            broken: Whether a single sample that cannot be read is one too many.

        Raises:
            ValueError: If a part has no sample that can be read, or lacks labels that are used.
        """
        if broken:
            self.refuse_broken()
        parts = {
            "training": (self.source, self.train),
            "validation": (self.validation_source or self.source, self.validation),
        }
        if self.test is not None:
            parts["test"] = (self.test, self.test.usable())
        if use_labels and self.classes == 1:
            raise ValueError(
                f"all training data are of one class, {(self.source.names or '?')[0]}: labels "
                "teach nothing then. Give other data, or distil without labels (--labels false)."
            )
        for name, (source, rows) in parts.items():
            if use_labels and source.targets is None:
                raise ValueError(
                    f"the {name} data have no labels, and the training data have: give labelled "
                    "ones, or distil without labels (--labels false)."
                )
            first_readable(source, rows, name)

    def sources(self) -> dict[str, Source]:
        """Return the sources by what they are: `data`, `validation data`, `test data`."""
        given = {"data": self.source, "validation data": self.validation_source}
        given["test data"] = self.test
        return {name: source for name, source in given.items() if source is not None}

    def broken(self) -> list[str]:
        """Return the samples that are left out or could not be read so far here, by name."""
        return [
            name
            for source in self.sources().values()
            for name in (*map(source.told, sorted(source.unusable)), *source.broken)
        ]

    def refuse_broken(self) -> None:
        """Read all samples once.

        Raises:
            ValueError: If some cannot be read; the message names them.
        """
        broken: list[str] = []
        for source in self.sources().values():
            for rows in torch.split(torch.arange(len(source)), 256):
                broken += source.__getitems__(rows.tolist()).broken
        if broken:
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            raise ValueError(
                f"{len(broken)} samples cannot be read: {', '.join(broken[:3])}{more}. Remove "
                "them, or leave them out with --on-broken skip."
            )

    def evaluation(self) -> tuple[Source, Tensor, str]:
        """Return source, rows and name of the data that results are measured on."""
        if self.test is not None:
            return self.test, self.test.usable(), "test"
        return self.validation_source or self.source, self.validation, "validation"


def open_data(
    data: Any,
    *,
    validation: Any = None,
    test: Any = None,
    validation_share: float = 0.1,
    validation_classes: float | None = None,
    split_seed: int = 0,
    image_size: int | None = None,
) -> Data:
    """Open data and split off validation rows, seeded and, with labels, class by class.

    Args:
        data: What docs/data.md lists: a name with `?column=…` arguments, a Dataset, or a Source.
        validation: Validation data of the same kinds; by default a share of the training data.
        test: Test data of the same kinds.
        validation_share: Share of the training data kept for validation.
        validation_classes: Share of the classes kept for validation instead, with all their rows.
        split_seed: Seed of the split.
        image_size: Size to which pictures are brought; by default their own, up to 224.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the data cannot be read or do not fit together.
    """
    source = open_source(data, image_size=image_size)
    refuse_gaps(source)
    # The other parts are brought to the size of the training pictures, whatever theirs is.
    size = source.shape[1] if source.modality is IMAGE and source.shape else image_size
    if isinstance(data, str) and data == "digits" and test is None:
        test_source: Source | None = digits()[1]
    else:
        test_source = None if test is None else _open_part(test, source, "test", size)
    if validation_classes is not None:
        if validation is not None:
            raise ValueError(
                "validation_classes keeps classes of the training data for validation, and there "
                "are validation data: leave one of the two out."
            )
        renumbered, kept = without_some_classes(source, validation_classes, split_seed)
        held_out = renumbered.targets >= len(renumbered.names) - kept
        test_source = test_source and renumbered.alike(test_source)
        return Data(renumbered, *_divided(source, held_out), None, test_source, kept)
    if validation is not None:
        other = _open_part(validation, source, "validation", size)
        return Data(source, source.usable(), other.usable(), other, test_source)
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must lie between 0 and 1; got {validation_share}.")
    held_out = _held_out(source, validation_share, split_seed)
    return Data(source, *_divided(source, held_out), None, test_source)


def _open_part(data: Any, training: Source, part: str, image_size: int | None) -> Source:
    """Return validation or test data with the class numbers of the training data."""
    source = open_source(data, image_size=image_size)
    refuse_other_kind(source, training, part)
    return with_training_numbers(source, training)


def _divided(source: Source, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return the usable rows that are not held out, and those that are."""
    rows = source.usable()
    return rows[~held_out[rows]], rows[held_out[rows]]


def _held_out(source: Source, share: float, seed: int) -> Tensor:
    """Mark the validation rows; the same share of every class where there are labels.

    Of classes so small that their share rounds to no row, all together give theirs: one row each
    of those to whose share most is missing, and never the only one.
    """
    generator = torch.Generator().manual_seed(seed)
    key = torch.rand(len(source), generator=generator, dtype=torch.float64)
    group = source.targets if source.targets is not None else torch.zeros(len(source)).long()
    usable = source.usable()
    held_out = torch.zeros(len(source), dtype=torch.bool)
    small: list[Tensor] = []
    for rows in _by_class(usable, group[usable]):
        count = round(share * len(rows))
        chosen = rows[key[rows].argsort()]
        held_out[chosen[:count]] = True
        if not count:
            small.append(chosen)
    wanted = round(share * sum(map(len, small)))
    # The largest remainder is that of the largest class; ties are drawn.
    small.sort(key=lambda rows: (-len(rows), float(key[rows[0]])))
    for rows in [rows for rows in small if len(rows) > 1][:wanted]:
        held_out[rows[0]] = True
    if not held_out.any() or held_out[usable].all():
        raise ValueError(
            f"{len(usable)} samples are too few to split off {share:.0%} of them: give separate "
            "data to validate or test on."
        )
    return held_out


def _by_class(rows: Tensor, group: Tensor) -> Sequence[Tensor]:
    """Return the rows of each class, in order."""
    order = group.argsort(stable=True)
    return torch.split(rows[order], torch.unique(group, return_counts=True)[1].tolist())
