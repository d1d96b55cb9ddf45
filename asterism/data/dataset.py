"""A Dataset of the user's own as a source."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from asterism.data.source import Source, check_targets
from asterism.data.text import TextSource
from asterism.modality import ARRAY, IMAGE
from asterism.types import Batch


class DatasetSource(Source):
    """A Dataset of the user's: items are images or arrays, or (item, class number)."""

    shape: tuple[int, ...]

    def __init__(self, dataset: Any) -> None:
        """Look at the first item to learn what the dataset gives.

        Args:
            dataset: Anything with `len` and integer indexing. Items of three axes are images
                `(channels, height, width)`, all of one size: uint8, of which asterism makes the
                training views, or float in [0, 1], which are taken as they come. Floats of one or
                two axes are arrays; for arrays of three, give an `asterism.data.ArraySource`.

        Raises:
            ValueError: If the dataset gives something else.
        """
        self.dataset = dataset
        first = dataset[0]
        self.labelled = isinstance(first, tuple | list) and len(first) > 1
        sample = self._sample(first)
        arrays = sample.ndim in (1, 2) and sample.is_floating_point()
        if sample.ndim != 3 and not arrays:
            raise ValueError(
                "a dataset must give images of shape (channels, height, width), float arrays of "
                "one or two axes, or (item, class number); its first item has the shape "
                f"{tuple(sample.shape)} and is {sample.dtype}."
            )
        if sample.dtype != torch.uint8 and not sample.is_floating_point():
            raise ValueError(
                "a dataset must give images as uint8, or as float in [0, 1]; its first image is "
                f"{sample.dtype}."
            )
        if not arrays and sample.shape[0] > 4 and sample.shape[2] in (1, 3, 4):
            raise ValueError(
                "a dataset must give images of shape (channels, height, width); its first image "
                f"has the shape {tuple(sample.shape)}, which looks like (height, width, channels): "
                "transpose it."
            )
        self.shape = tuple(sample.shape)
        self.modality = ARRAY if arrays else IMAGE
        self.augmented = sample.is_floating_point() and not arrays
        if self.labelled:
            known = getattr(dataset, "targets", None)
            numbers = known if known is not None else [item[1] for item in self._items()]
            names = getattr(dataset, "classes", None)
            self.targets, self.names = check_targets(numbers, len(dataset), names)

    def _items(self) -> Any:
        return (self.dataset[i] for i in range(len(self.dataset)))

    def _sample(self, item: Any) -> Tensor:
        sample = item[0] if isinstance(item, tuple | list) else item
        try:
            return torch.as_tensor(sample)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                "a dataset must give images as tensors or arrays of shape (channels, height, "
                f"width), or (image, class number); got {type(sample).__name__}. Of a PIL picture "
                "torchvision.transforms.PILToTensor() makes one."
            ) from error

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows as one batch."""
        index = torch.as_tensor(rows)
        samples = [self._sample(self.dataset[i]) for i in rows]
        for row, sample in zip(rows, samples, strict=True):
            if sample.shape != self.shape:
                raise ValueError(
                    f"a dataset must give {self.modality.plural} of one shape: the first has "
                    f"{self.shape}, and number {row} has {tuple(sample.shape)}."
                )
        if self.modality is ARRAY:
            samples = [sample.float() for sample in samples]
        return Batch((torch.stack(samples),), index, self._targets_of(index))

    def _twice(self) -> tuple[Tensor, Tensor]:
        """Return some samples, spread over the set, fetched twice."""
        rows = torch.linspace(0, len(self) - 1, min(16, len(self))).long().tolist()
        some, again = (torch.stack([self._sample(self.dataset[i]) for i in rows]) for _ in range(2))
        return some, again

    def repeats(self) -> bool:
        """Return whether the samples are the same when they are fetched again."""
        return not self.augmented and torch.equal(*self._twice())

    def fingerprint(self) -> str:
        """Return a short hash of labels, length, and samples spread over the set."""
        some, again = self._twice()
        digest = hashlib.sha256(f"{len(self)} {self.shape}".encode())
        if torch.equal(some, again):  # the user's own augmentation gives new images each time
            digest.update(some.numpy().tobytes())
        if self.targets is not None:
            digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()[:16]


def check_dataset(dataset: Any) -> None:
    """Raise a ValueError if a user's dataset has no random access, or nothing in it."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and len(dataset)):
        raise ValueError(
            "a dataset needs a length of at least 1 and integer indexing, so that samples can "
            f"be split and shuffled by a seed; got {type(dataset).__name__}."
        )


def open_dataset(dataset: Any) -> Source:
    """Return a source of a Dataset, a DataLoader or a plain list; texts are read at once."""
    dataset = dataset.dataset if isinstance(dataset, DataLoader) else dataset
    check_dataset(dataset)
    first = dataset[0]
    labelled = isinstance(first, tuple | list) and len(first) > 1
    if not isinstance(first[0] if labelled else first, str):
        return DatasetSource(dataset)
    items = [dataset[i] for i in range(len(dataset))]
    texts = [item[0] for item in items] if labelled else items
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"a dataset of texts must give strings; item {row} is of {type(text).__name__}."
            )
    if not labelled:
        return TextSource(texts)
    names = getattr(dataset, "classes", None)
    return TextSource(texts, [item[1] for item in items], names=names)
