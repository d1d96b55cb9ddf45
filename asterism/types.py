"""What flows between the parts of asterism."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


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
    """One batch as a method sees it.

    Attributes:
        views: The augmented versions of the samples, each `(n, channels, height, width)` in [0, 1].
        index: Rows of the samples in their data source, shape `(n,)`.
        target: Class numbers, shape `(n,)`; None for data without labels.
        anchors: What the student and the teacher return for the anchor samples, for the methods
            that ask for them.
        broken: Samples that could not be read and are missing from this batch, by name.
    """

    views: tuple[Tensor, ...]
    index: Tensor
    target: Tensor | None = None
    anchors: tuple[Outputs, Outputs] | None = None
    broken: tuple[str, ...] = ()
