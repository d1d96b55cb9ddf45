"""A Dataset of the user's own as a source."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
)

from asterism.data.columns import headed
from asterism.data.items import all_items, cannot, first_item, labelled, labels_of, names_of, spread
from asterism.data.source import Source
from asterism.data.table import Table, from_table
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
        first = first_item(dataset)
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
        self.place = "the dataset"
        if labelled(first):
            labels, unusable, notes = labels_of(dataset)
            names, more = names_of(dataset)
            self.notes = (*notes, *more)
            self.describe(unusable=unusable, labels=labels, names=names)

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

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows as one batch; those that cannot be had are named."""
        samples: list[Tensor] = []
        good: list[int] = []
        broken: list[str] = []
        for row in rows:
            try:
                item = self.dataset[row]
            except Exception as error:  # a file that cannot be read, in a user's own code
                broken.append(cannot(row, error))
                continue
            sample = self._sample(item)
            if sample.shape != self.shape:
                raise ValueError(
                    f"a dataset must give {self.modality.plural} of one shape: the first has "
                    f"{self.shape}, and number {row} has {tuple(sample.shape)}."
                )
            samples.append(sample.float() if self.modality is ARRAY else sample)
            good.append(row)
        index = torch.tensor(good, dtype=torch.int64)
        kind = torch.uint8 if not self.augmented and self.modality is IMAGE else torch.float32
        stacked = torch.stack(samples) if samples else torch.empty(0, *self.shape, dtype=kind)
        return Batch((stacked,), index, self._targets_of(index), broken=tuple(broken))

    def _twice(self) -> tuple[Tensor, Tensor]:
        """Return some samples, spread over the set, fetched twice."""
        rows = [row for row in spread(len(self)) if row not in self.unusable]
        some, again = self.fetch(rows), self.fetch(rows)
        if len(some.index) == len(again.index):
            return torch.as_tensor(some.views[0]), torch.as_tensor(again.views[0])
        return torch.zeros(0), torch.ones(1)

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
    if isinstance(dataset, Mapping) or not (
        hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and len(dataset)
    ):
        raise ValueError(
            "a dataset needs a length of at least 1 and integer indexing, so that samples can "
            f"be split and shuffled by a seed; got {type(dataset).__name__}."
        )


def open_dataset(dataset: Any) -> Source:
    """Return a source of a Dataset, a DataLoader or a plain list; texts are read at once.

    A DataLoader gives the rows of its sampler. A column or a table of pandas is taken by position.
    """
    notes: tuple[str, ...] = ()
    if isinstance(dataset, DataLoader):
        dataset, notes = _rows_of(dataset)
    if hasattr(dataset, "iloc"):
        return _open_frame(dataset)
    check_dataset(dataset)
    first = first_item(dataset)
    source: Source
    if not isinstance(first[0] if labelled(first) else first, str):
        source = DatasetSource(dataset)
    else:
        source = _open_texts(dataset, with_labels=labelled(first))
    source.notes = (*notes, *source.notes)
    return source


def _open_texts(dataset: Any, *, with_labels: bool) -> TextSource:
    items, unusable = all_items(dataset)
    if not with_labels:
        return TextSource(items, unusable=unusable, place="the dataset")
    names, notes = names_of(dataset)
    texts, labels = ([item[i] if item else None for item in items] for i in (0, 1))
    source = TextSource(texts, labels, names=names, unusable=unusable, place="the dataset")
    source.notes = notes
    return source


def _open_frame(data: Any) -> Source:
    """Return a source of a pandas Series of texts, or of a table, by position."""
    if not hasattr(data, "columns"):
        return TextSource(data.tolist(), place="the series")
    names = headed(list(data.columns), "the table")
    table = Table({name: data.iloc[:, j].tolist() for j, name in enumerate(names)})
    return from_table(table, {}, Path("the table"))


def _rows_of(loader: "DataLoader[Any]") -> tuple[Any, tuple[str, ...]]:
    """Return the dataset of a DataLoader with the rows that its sampler has, and what is not taken.

    Raises:
        ValueError: If its sampler chooses rows in a way that a seed cannot repeat.
    """
    sampler, dataset = loader.sampler, loader.dataset
    notes: tuple[str, ...] = ()
    if loader.collate_fn is not default_collate:
        notes = ("the DataLoader's own collate_fn is not used: items are taken from its dataset",)
    batches = type(loader.batch_sampler) in (BatchSampler, NoneType)
    if batches and isinstance(sampler, SubsetRandomSampler):
        return Subset(dataset, [int(row) for row in sampler.indices]), notes
    whole = isinstance(sampler, SequentialSampler | DistributedSampler) or (
        isinstance(sampler, RandomSampler)
        and not sampler.replacement
        and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type]
    )
    if batches and (whole or isinstance(dataset, IterableDataset)):
        return dataset, notes
    chooser = sampler if batches else loader.batch_sampler
    raise ValueError(
        f"the DataLoader chooses its rows by a {type(chooser).__name__}, and the order of training "
        "is asterism's own: give a Dataset of the rows that are meant, "
        "torch.utils.data.Subset(dataset, rows)."
    )
