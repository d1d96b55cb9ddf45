"""Sources: numbered samples that can be fetched in any order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asterism.modality import IMAGE, Modality
from asterism.settings import Settings
from asterism.types import Batch, Shape
from asterism.views import Views

# More classes than this, without names, are taken for identifiers that nobody numbered.
MOST_CLASSES = 1_000_000


class Source(Dataset[Batch]):
    """A fixed, numbered set of samples of one modality, with or without labels.

    Attributes:
        modality: What the samples are.
        shape: Size of each sample; None for texts.
        targets: Class numbers of all samples, shape `(n,)`; None without labels.
        names: Names of the classes; None without labels.
        flip: Whether a mirrored image is still the same thing (false for digits and letters).
        augmented: Whether the images come augmented already; no views are made of them then.
        in_memory: Whether all samples are in memory, so that fetching them takes no time.
        ids: A name for each sample that outlives its row (file name, id column); None for data
            whose samples are known by their row alone.
        broken: Samples that could not be read so far, by name (kept by the loader).
    """

    modality: Modality = IMAGE
    shape: Shape = None
    targets: Tensor | None = None
    names: tuple[str, ...] | None = None
    flip: bool = True
    augmented: bool = False
    in_memory: bool = False
    ids: Sequence[str] | None = None
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        raise NotImplementedError

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows, as they are, as one batch."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return a short hash of the contents."""
        raise NotImplementedError

    def name_of(self, row: int) -> str:
        """Return by what a reader finds a sample: its id, or else its row."""
        return str(row) if self.ids is None else str(self.ids[row])

    def repeats(self) -> bool:
        """Return whether a sample is the same when it is fetched again."""
        return not self.augmented

    def views(self, settings: Settings, *, virtual: int) -> Views | None:
        """Return what makes the training views; None for samples that are taken as they come.

        Raises:
            ValueError: If virtual views are asked for of images that come augmented.
        """
        if virtual and self.augmented:
            raise ValueError(
                "virtual views are made of uint8 images; this dataset gives float images, which "
                "are taken as they come."
            )
        if self.augmented:
            return None
        return self.modality.views(self.shape, settings, virtual=virtual, flip=self.flip)

    def words(self) -> str:
        """Return what the samples are, in words."""
        return self.modality.described(self.shape)

    def _targets_of(self, index: Tensor) -> Tensor | None:
        return None if self.targets is None else self.targets[index]


class LeftOut(Source):
    """Another source without some of its samples; all rows keep their numbers."""

    def __init__(self, source: Source, reasons: Mapping[int, str]) -> None:
        """Leave out these rows, each for the reason that is told with it."""
        self.source = source
        self.reasons = dict(reasons)
        self.modality = source.modality
        self.shape = source.shape
        self.targets = source.targets
        self.names = source.names
        self.flip = source.flip
        self.augmented = source.augmented
        self.in_memory = source.in_memory
        self.ids = source.ids

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.source)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows; those left out are named."""
        batch = self.source.__getitems__([row for row in rows if row not in self.reasons])
        named = tuple(
            f"{self.name_of(row) if self.ids else f'row {row + 1}'} ({self.reasons[row]})"
            for row in rows
            if row in self.reasons
        )
        return replace(batch, broken=(*batch.broken, *named))

    def fingerprint(self) -> str:
        """Return the other source's."""
        return self.source.fingerprint()

    def name_of(self, row: int) -> str:
        """Return the other source's name of a row."""
        return self.source.name_of(row)

    def repeats(self) -> bool:
        """Return what the other source does."""
        return self.source.repeats()


def check_targets(
    targets: Any, rows: int, names: Sequence[str] | None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return class numbers as int64 and the names of the classes, or say what is wrong."""
    numbers = np.asarray(targets)
    if numbers.dtype.kind not in "biuf":
        raise ValueError(
            f"labels must be class numbers; got {numbers.dtype} {str(numbers.flat[0])!r}: number "
            "the classes, with np.unique(y, return_inverse=True)."
        )
    if numbers.shape != (rows,):
        raise ValueError(
            f"labels must be one class number per sample, shape ({rows},); "
            f"got shape {numbers.shape}."
        )
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
    if not whole.all():
        raise ValueError(f"labels must be whole numbers; got {numbers[~whole][0]}.")
    least, most = int(numbers.min()), int(numbers.max())
    if names is None and most >= MOST_CLASSES:
        raise ValueError(
            f"labels must be class numbers from 0 on; got some up to {most}: number the classes, "
            "with np.unique(y, return_inverse=True)."
        )
    classes = most + 1 if names is None else len(names)
    if least < 0 or most >= classes:
        raise ValueError(
            f"labels must be class numbers from 0 to {classes - 1}; got {least} to {most}."
        )
    return torch.from_numpy(numbers.astype(np.int64)), tuple(names or map(str, range(classes)))
