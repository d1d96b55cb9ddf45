"""Sources of training, validation and test rows, from what a user names."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asterism.data.array import digits
from asterism.data.checks import first_readable, refuse_gaps, refuse_other_kind
from asterism.data.classes import with_training_numbers, without_some_classes
from asterism.data.open import open_source
from asterism.data.source import Source
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
        return None if self.source.names is None else len(self.source.names) - self.kept_classes

    @property
    def selects_by_new_classes(self) -> bool:
        """Return whether validation rows have classes that no training row has."""
        targets = (self.validation_source or self.source).targets
        if targets is None or self.classes is None:
            return False
        return bool((targets[self.validation] >= self.classes).any())

    def statistics(self) -> Statistics:
        """Return mean and deviation as models normalise with, from some 2,000 training samples."""
        # Spread over all rows: folders come sorted by class.
        some = self.train[:: max(1, len(self.train) // 2000)]
        samples = self.source.__getitems__(some.tolist()).views[0]
        if not len(samples):  # of many broken pictures, all that were looked at
            samples = first_readable(self.source, self.train, "training").views[0]
        return self.source.modality.statistics(samples)

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
            parts["test"] = (self.test, torch.arange(len(self.test)))
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

    def broken(self) -> list[str]:
        """Return the samples that could not be read so far in this process, by name."""
        parts = (self.source, self.validation_source, self.test)
        return [name for source in parts if source is not None for name in source.broken]

    def refuse_broken(self) -> None:
        """Read all samples once.

        Raises:
            ValueError: If some cannot be read; the message names them.
        """
        sources = [s for s in (self.source, self.validation_source, self.test) if s is not None]
        broken: list[str] = []
        for source in sources:
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
            return self.test, torch.arange(len(self.test)), "test"
        return self.validation_source or self.source, self.validation, "validation"


def open_data(
    data: Any,
    *,
    validation: Any = None,
    test: Any = None,
    validation_share: float = 0.1,
    validation_classes: float | None = None,
    split_seed: int = 0,
    image_size: int = 32,
) -> Data:
    """Open data and split off validation rows, seeded and, with labels, class by class.

    Args:
        data: What docs/data.md lists: a name with `?column=…` arguments, a Dataset, or a Source.
        validation: Validation data of the same kinds; by default a share of the training data.
        test: Test data of the same kinds.
        validation_share: Share of the training data kept for validation.
        validation_classes: Share of the classes kept for validation instead, with all their rows.
        split_seed: Seed of the split.
        image_size: Size to which pictures are brought.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the data cannot be read or do not fit together.
    """
    source = open_source(data, image_size=image_size)
    refuse_gaps(source)
    test_source: Source | None = None
    if isinstance(data, str) and data == "digits" and test is None:
        test_source = digits()[1]
    elif test is not None:
        test_source = _of_training_kind(test, source, "test", image_size)
    if validation_classes is not None:
        if validation is not None:
            raise ValueError(
                "validation_classes keeps classes of the training data for validation, and there "
                "are validation data: leave one of the two out."
            )
        renumbered, kept = without_some_classes(source, validation_classes, split_seed)
        held_out = renumbered.targets >= len(renumbered.names) - kept
        test_source = test_source and renumbered.alike(test_source)
        return Data(renumbered, *_divided(held_out), None, test_source, kept)
    if validation is not None:
        validation_source = _of_training_kind(validation, source, "validation", image_size)
        return Data(
            source,
            torch.arange(len(source)),
            torch.arange(len(validation_source)),
            validation_source,
            test_source,
        )
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must lie between 0 and 1; got {validation_share}.")
    held_out = _held_out(source, validation_share, split_seed)
    return Data(source, *_divided(held_out), None, test_source)


def _of_training_kind(data: Any, training: Source, part: str, image_size: int) -> Source:
    """Open validation or test data, of samples and with class numbers as in the training data."""
    source = open_source(data, image_size=image_size)
    refuse_other_kind(source, training, part)
    return with_training_numbers(source, training)


def _divided(held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows that are not held out, and those that are."""
    return torch.nonzero(~held_out).flatten(), torch.nonzero(held_out).flatten()


def _held_out(source: Source, share: float, seed: int) -> Tensor:
    """Mark the validation rows; the same share of every class where there are labels."""
    generator = torch.Generator().manual_seed(seed)
    key = torch.rand(len(source), generator=generator, dtype=torch.float64)
    group = source.targets if source.targets is not None else torch.zeros(len(source)).long()
    held_out = torch.zeros(len(source), dtype=torch.bool)
    for number in torch.unique(group):
        rows = torch.nonzero(group == number).flatten()
        count = round(share * len(rows))
        held_out[rows[key[rows].argsort()[:count]]] = True
    if not held_out.any() or held_out.all():
        raise ValueError(
            f"{len(source)} samples are too few to split off {share:.0%} for validation: give "
            "validation data."
        )
    return held_out
