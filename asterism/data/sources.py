"""Sources: numbered samples that can be fetched in any order."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asterism.types import Batch, Kind

# More classes than this, without names, are taken for identifiers that nobody numbered.
MOST_CLASSES = 1_000_000


class Source(Dataset[Batch]):
    """A fixed, numbered set of images or texts, with or without labels.

    Attributes:
        image_shape: Channels, height and width of every image; None for texts.
        targets: Class numbers of all samples, shape `(n,)`; None without labels.
        names: Names of the classes; None without labels.
        flip: Whether a mirrored image is still the same thing (false for digits and letters).
        augmented: Whether the images come augmented already; no views are made of them then.
        ids: A name for each sample that outlives its row (file name, id column); None for data
            whose samples are known by their row alone.
        broken: Samples that could not be read so far, by name (kept by the loader).
    """

    image_shape: tuple[int, int, int] | None = None
    targets: Tensor | None = None
    names: tuple[str, ...] | None = None
    flip: bool = True
    augmented: bool = False
    ids: Sequence[str] | None = None
    broken: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Return what the samples are."""
        return "text" if self.image_shape is None else "image"

    def __len__(self) -> int:
        """Return the number of samples."""
        raise NotImplementedError

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows, as they are, as one batch."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return a short hash of the contents."""
        raise NotImplementedError

    def _targets_of(self, index: Tensor) -> Tensor | None:
        return None if self.targets is None else self.targets[index]


class ArraySource(Source):
    """Images in memory."""

    def __init__(
        self,
        images: Tensor,
        targets: "Tensor | np.ndarray[Any, Any] | None" = None,
        *,
        names: Sequence[str] | None = None,
        flip: bool = True,
    ) -> None:
        """Hold the arrays.

        Args:
            images: uint8 images, shape `(n, channels, height, width)`.
            targets: Class numbers, shape `(n,)`.
            names: Names of the classes.
            flip: Whether a mirrored image is still the same thing.

        Raises:
            ValueError: If lengths differ or a class number is negative.
        """
        if images.ndim != 4 or images.dtype != torch.uint8:
            raise ValueError(
                "images must be uint8 of shape (n, channels, height, width); "
                f"got {images.dtype} of shape {tuple(images.shape)}."
            )
        self.images, self.flip = images, flip
        channels, height, width = images.shape[1:]
        self.image_shape = (channels, height, width)
        if targets is not None:
            self.targets, self.names = check_targets(targets, len(images), names)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.images)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows as one batch."""
        index = torch.as_tensor(rows)
        return Batch((self.images[index],), index, self._targets_of(index))

    def fingerprint(self) -> str:
        """Return a short hash of images and labels."""
        digest = hashlib.sha256(self.images.numpy().tobytes())
        if self.targets is not None:
            digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()[:16]


class LeftOut(Source):
    """Another source without some of its samples; all rows keep their numbers."""

    def __init__(self, source: Source, rows: Sequence[int], reason: str) -> None:
        """Leave out these rows, for a reason that is told with each."""
        self.source, self.rows, self.reason = source, frozenset(rows), reason
        self.image_shape, self.targets, self.names = (
            source.image_shape,
            source.targets,
            source.names,
        )
        self.flip, self.augmented, self.ids = source.flip, source.augmented, source.ids

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.source)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows; those left out are named."""
        batch = self.source.__getitems__([row for row in rows if row not in self.rows])
        named = tuple(
            f"{self.ids[row] if self.ids else f'row {row + 1}'} ({self.reason})"
            for row in rows
            if row in self.rows
        )
        return replace(batch, broken=(*batch.broken, *named))

    def fingerprint(self) -> str:
        """Return the other source's."""
        return self.source.fingerprint()


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
