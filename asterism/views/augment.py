"""Views: augmented versions of images, each a pure function of (view seed, sample, view number).

Nothing is drawn from a random state, so neither the batch, the worker, the rank nor a restart
changes a view. That makes restarts exact and the teacher's outputs on augmented views cacheable.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.seeds import draws
from asterism.types import to_float
from asterism.views.randaugment import rand_augment

# Version of what the functions here and RandAugment return. A change in what any view looks like
# raises it: outputs of teachers that saw other pictures are then refused.
VERSION = 1


def crop_and_flip(
    images: Tensor, index: Tensor, *, view: int, seed: int, padding: int, flip: bool
) -> Tensor:
    """Shift each image by up to `padding` pixels, black beyond its border, and mirror half of them.

    Args:
        images: uint8 or float images, shape `(n, channels, height, width)`.
        index: Rows of the samples in their data source, shape `(n,)`.
        view: Number of the view.
        seed: The view seed.
        padding: Largest shift in pixels.
        flip: Whether images may be mirrored left to right.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    draw = draws(seed, index, view, 3)
    top, left = (draw[:, :2] * (2 * padding + 1)).long().unbind(1)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    if flip:
        columns = torch.where(draw[:, 2:] < 0.5, columns, width - 1 - columns)
    columns = left[:, None] + columns
    each = torch.arange(len(images), device=images.device)[:, None, None]
    # Indexing around the channels gives (n, height, width, channels): channels-last in memory.
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Views:
    """The training views of a batch: a real one, cropped and flipped, and virtual ones.

    A virtual view is RandAugment of the real one.

    Attributes:
        virtual: How many virtual views there are.
        seed: The view seed.
        padding: Largest shift in pixels; 0 for none.
        flip: Whether images may be mirrored left to right.
        operations: How many operations RandAugment takes.
        magnitude: Their strength, from 0 to 30.
    """

    virtual: int = 0
    seed: int = 0
    padding: int = 4
    flip: bool = True
    operations: int = 2
    magnitude: int = 9

    def __call__(self, images: Tensor, index: Tensor, number: int) -> tuple[Tensor, ...]:
        """Return the views with this number (the epoch, in training) as float images in [0, 1]."""
        cropped = crop_and_flip(
            images, index, view=number, seed=self.seed, padding=self.padding, flip=self.flip
        )
        real = to_float(cropped)
        if not self.virtual:
            return (real,)
        # The first numbers went into crop and flip; each virtual view takes the next, by twos.
        each = 2 * self.operations
        numbers = draws(self.seed, index, number, 3 + each * self.virtual)[:, 3:]
        virtual = [
            rand_augment(real, some, magnitude=self.magnitude)
            for some in torch.split(numbers, each, 1)
        ]
        return (real, *virtual)
