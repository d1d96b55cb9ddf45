"""Outputs and batches: the types that all parts of asterism share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

Kind: TypeAlias = Literal["image", "text", "array"]
# Size of one sample: channels, height and width of an image, any sizes of an array; None for texts.
Shape: TypeAlias = tuple[int, ...] | None
# Images `(n, channels, height, width)`, arrays `(n, …)`, or `n` texts.
Samples: TypeAlias = Tensor | list[str]


class Outputs(NamedTuple):
    """What a model returns for `n` samples.

    Attributes:
        embedding: The pooled feature before the classifier, shape `(n, d)`.
        logits: Class scores before the softmax, shape `(n, c)`; None for a model without classes.
    """

    embedding: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """One batch as a method sees it; in a loop of one's own, what the method asks for is enough.

    Attributes:
        views: The augmented versions of the samples: images `(n, channels, height, width)` in
            [0, 1], or the texts themselves, which have one clean view.
        index: Rows of the samples in their data source, shape `(n,)`; empty if they are not known.
        target: Class numbers, shape `(n,)`; None for data without labels.
        anchors: What the student and the teacher return for the anchor samples, for the methods
            that ask for them.
        broken: Samples that could not be read and are missing from this batch, by name.
    """

    views: tuple[Samples, ...] = ()
    index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    target: Tensor | None = None
    anchors: tuple[Outputs, Outputs] | None = None
    broken: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """Return the number of samples; None if neither rows nor classes are known."""
        return len(self.index) or (None if self.target is None else len(self.target))

    def pin_memory(self) -> "Batch":
        """Return it in memory from which a GPU can fetch while it works (called by loaders)."""
        views = tuple(x.pin_memory() if isinstance(x, Tensor) else x for x in self.views)
        target = None if self.target is None else self.target.pin_memory()
        return replace(self, views=views, index=self.index.pin_memory(), target=target)


def join_views(views: Sequence[Samples]) -> Samples:
    """Return the samples of all views, one view after the other.

    Examples:
        >>> join_views([["a", "b"], ["c"]])
        ['a', 'b', 'c']
    """
    if len(views) == 1:
        return views[0]
    images = [view for view in views if isinstance(view, Tensor)]
    return torch.cat(images) if images else [text for view in views for text in view]


def on_device(samples: Samples, device: torch.device | str) -> Samples:
    """Return images on a device; texts stay where they are: a model moves their tokens."""
    return samples.to(device, non_blocking=True) if isinstance(samples, Tensor) else samples


def join_outputs(outputs: Sequence[Outputs]) -> Outputs:
    """Return the rows of several outputs as one, in order."""
    logits = [x.logits for x in outputs if x.logits is not None]
    return Outputs(torch.cat([x.embedding for x in outputs]), torch.cat(logits) if logits else None)


def outputs_on_device(outputs: Outputs, device: torch.device) -> Outputs:
    """Return outputs on a device."""
    logits = None if outputs.logits is None else outputs.logits.to(device)
    return Outputs(outputs.embedding.to(device), logits)


def batch_on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on a device."""
    target = None if batch.target is None else batch.target.to(device, non_blocking=True)
    views = tuple(on_device(view, device) for view in batch.views)
    index = batch.index.to(device, non_blocking=True)
    return Batch(views, index, target, batch.anchors, batch.broken)


def to_float(images: Tensor) -> Tensor:
    """Return images as float32 in [0, 1]; uint8 is divided by 255."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def as_input(samples: Samples) -> Samples:
    """Return samples as models take them: images as float32 in [0, 1], texts as they are."""
    return to_float(samples) if isinstance(samples, Tensor) else samples
