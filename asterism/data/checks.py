"""Checks that the parts of the data fit together and can be read."""

import torch
from torch import Tensor

from asterism.data.source import Source
from asterism.types import Batch


def refuse_gaps(source: Source) -> None:
    """Raise a ValueError if training labels without names leave class numbers out."""
    if source.targets is None or source.names is None:
        return
    if source.names != tuple(map(str, range(len(source.names)))):
        return  # named classes may be without samples
    present = torch.unique(source.targets[source.usable()])
    if len(present) < len(source.names):
        raise ValueError(
            f"labels must be class numbers from 0 on without gaps; got {len(present)} different "
            f"ones from {int(present[0])} to {int(present[-1])}. Number them anew, with "
            "np.unique(y, return_inverse=True), or give the names of all classes (`names` in an "
            ".npz file, `classes` of a Dataset)."
        )


def refuse_other_kind(source: Source, training: Source, part: str) -> None:
    """Raise a ValueError if validation or test data are of other samples."""
    if (source.modality, source.shape) != (training.modality, training.shape):
        raise ValueError(
            f"the {part} data are {source.words()}, the training data {training.words()}: both "
            "must be the same."
        )


def first_readable(source: Source, rows: Tensor, part: str) -> Batch:
    """Return the first samples that can be read.

    Raises:
        ValueError: If there are none.
    """
    broken: tuple[str, ...] = ()
    for some in torch.split(rows, 16):
        batch = source.__getitems__(some.tolist())
        if len(batch.index):
            return batch
        broken = broken or batch.broken
    raise ValueError(
        f"none of the {len(rows)} {part} samples can be read"
        + (f"; the first: {broken[0]}." if broken else ".")
    )
