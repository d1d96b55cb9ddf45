"""Images brought to the size and the channels that a trained network takes."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from asterism.data.source import LeftOut, Source
from asterism.modality import IMAGE, Modality
from asterism.types import Batch, Shape


class Brought(LeftOut):
    """Another source of images, brought to another size or to other channels."""

    def __init__(self, source: Source, shape: tuple[int, ...]) -> None:
        """Bring them to a shape `(channels, height, width)`; see `Image.brought`."""
        super().__init__(source, {})
        assert source.shape is not None
        self.shape = shape
        if source.shape[1:] != shape[1:] and source.found_size is None:
            self.found_size = (source.shape[2], source.shape[1])
        if source.shape[0] != shape[0]:
            made = "made grey" if shape[0] == 1 else "given with their one channel repeated"
            self.notes = (*source.notes, f"images are {made}")

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows, brought to the shape."""
        batch = super().__getitems__(rows)
        if not len(batch.index):
            return batch
        assert self.shape is not None
        views = tuple(IMAGE.brought(torch.as_tensor(view), self.shape) for view in batch.views)
        return replace(batch, views=views)


def size_of(modality: Modality, shape: Shape) -> int | None:
    """Return the size at which pictures are opened for a network; None for all else."""
    return shape[-1] if shape is not None and modality.pixels else None


def brought(source: Source, modality: Modality, shape: Shape) -> Source:
    """Return a source as a network takes it.

    Args:
        source: The source.
        modality: What the network takes.
        shape: Size of a sample in its training; None for texts.

    Raises:
        ValueError: If its samples are of another kind, or are arrays of another size.
    """
    own = source.shape
    if source.modality is modality and own == shape:
        return source
    if source.modality is modality is IMAGE and own and shape and {own[0], shape[0]} <= {1, 3}:
        return Brought(source, shape)
    raise ValueError(
        f"the student takes {modality.described(shape)}, and {source.place} has "
        f"{source.words()}: give data of that kind."
    )
