"""A Dataset of the user's own as a source."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from asterism.data.sources import Source, check_targets
from asterism.types import Batch


class DatasetSource(Source):
    """A Dataset of the user's: items are images, or (image, class number)."""

    def __init__(self, dataset: Any) -> None:
        """Look at the first item to learn what the dataset gives.

        Args:
            dataset: Anything with `len` and integer indexing. Images are tensors or arrays of
                shape `(channels, height, width)`, all of one size: uint8, of which asterism makes
                the training views, or float in [0, 1], which are taken as they come.

        Raises:
            ValueError: If the dataset gives something else.
        """
        self.dataset = dataset
        first = dataset[0]
        self.labelled = isinstance(first, tuple | list) and len(first) > 1
        image = self._image(first)
        if image.ndim != 3:
            raise ValueError(
                "a dataset must give images of shape (channels, height, width), or (image, class "
                f"number); its first image has the shape {tuple(image.shape)}."
            )
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise ValueError(
                "a dataset must give images as uint8, or as float in [0, 1]; its first image is "
                f"{image.dtype}."
            )
        channels, height, width = image.shape
        if channels > 4 and width in (1, 3, 4):
            raise ValueError(
                "a dataset must give images of shape (channels, height, width); its first image "
                f"has the shape {tuple(image.shape)}, which looks like (height, width, channels): "
                "transpose it."
            )
        self.image_shape = (channels, height, width)
        self.augmented = image.is_floating_point()
        if self.labelled:
            known = getattr(dataset, "targets", None)
            numbers = known if known is not None else [item[1] for item in self._items()]
            names = getattr(dataset, "classes", None)
            self.targets, self.names = check_targets(numbers, len(dataset), names)

    def _items(self) -> Any:
        return (self.dataset[i] for i in range(len(self.dataset)))

    def _image(self, item: Any) -> Tensor:
        image = item[0] if isinstance(item, tuple | list) else item
        try:
            return torch.as_tensor(image)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                "a dataset must give images as tensors or arrays of shape (channels, height, "
                f"width), or (image, class number); got {type(image).__name__}. Of a PIL picture "
                "torchvision.transforms.PILToTensor() makes one."
            ) from error

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows as one batch."""
        index = torch.as_tensor(rows)
        images = [self._image(self.dataset[i]) for i in rows]
        for row, image in zip(rows, images, strict=True):
            if image.shape != self.image_shape:
                raise ValueError(
                    "a dataset must give images of one shape: the first has "
                    f"{self.image_shape}, and image {row} has {tuple(image.shape)}."
                )
        return Batch((torch.stack(images),), index, self._targets_of(index))

    def _twice(self) -> tuple[Tensor, Tensor]:
        """Return some images, spread over the set, fetched twice."""
        rows = torch.linspace(0, len(self) - 1, min(16, len(self))).long().tolist()
        some, again = (torch.stack([self._image(self.dataset[i]) for i in rows]) for _ in range(2))
        return some, again

    def repeats(self) -> bool:
        """Return whether the images are the same when they are fetched again."""
        return torch.equal(*self._twice())

    def fingerprint(self) -> str:
        """Return a short hash of labels, length, and samples spread over the set."""
        some, again = self._twice()
        digest = hashlib.sha256(f"{len(self)} {self.image_shape}".encode())
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
