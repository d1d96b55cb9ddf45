"""Views: augmented versions of images, each a pure function of (view seed, sample, view number).

Nothing is drawn from a random state, so neither the batch, the worker, the rank nor a restart
changes a view. That makes restarts exact and the teacher's outputs on augmented views cacheable.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.seeds import draws, seed_of
from asterism.types import to_float
from asterism.views.randaugment import color_jitter, rand_augment

# Version of what the functions here and RandAugment return. A change in what any view looks like
# raises it: outputs of teachers that saw other pictures are then refused.
VERSION = 1
# Beside the view seed, the numbers of what shifts and flips do not need.
MORE = 1


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


def resized_crop(
    images: Tensor, draws: Tensor, *, area: tuple[float, float], ratio: float, flip: bool
) -> Tensor:
    """Bring a random part of each image back to its size, bilinearly, and mirror half of them.

    The part has a share of the image's area that lies evenly within `area`, and sides whose ratio,
    beside the image's, lies evenly by its logarithm between 1 / `ratio` and `ratio`; a side that
    would be longer than the image's is as long. (Others draw again then.)

    Args:
        images: Float images in [0, 1], shape `(n, channels, height, width)`.
        draws: Uniform numbers in [0, 1), shape `(n, 5)`: for the place down and across, mirror,
            area and ratio.
        area: The smallest and the largest share of the area.
        ratio: The largest ratio of the sides.
        flip: Whether images may be mirrored left to right.
    """
    n, _, height, width = images.shape
    top, left, mirror, size, shape = draws.to(images.dtype)[:, :, None, None].unbind(1)
    share = area[0] + (area[1] - area[0]) * size
    slim = torch.exp((2 * shape - 1) * (0.5 * math.log(ratio)))
    tall = (share.sqrt() / slim).clamp_max(1)
    wide = (share.sqrt() * slim).clamp_max(1)
    # Coordinates of the part's pixels, where the image goes from -1 to 1.
    x = (2 * torch.arange(width, dtype=images.dtype, device=images.device) + 1) / width - 1
    y = (2 * torch.arange(height, dtype=images.dtype, device=images.device) + 1) / height - 1
    x = torch.where(mirror < 0.5, x, -x) if flip else x.expand(n, 1, width)
    from_x = x * wide + (2 * left - 1) * (1 - wide)
    from_y = y[:, None] * tall + (2 * top - 1) * (1 - tall)
    places = (from_x.expand(n, height, width), from_y.expand(n, height, width))
    grid = torch.stack(places, 3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp_(0, 1)


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
        area: Smallest and largest share of the image that a part brought back to its size has,
            instead of shifts; None for these.
        ratio: Largest ratio of the sides of such a part.
        jitter: Strength of the jitter of brightness, contrast and saturation; 0 for none.
    """

    virtual: int = 0
    seed: int = 0
    padding: int = 4
    flip: bool = True
    operations: int = 2
    magnitude: int = 9
    area: tuple[float, float] | None = None
    ratio: float = 4 / 3
    jitter: float = 0.0

    def __call__(self, images: Tensor, index: Tensor, number: int) -> tuple[Tensor, ...]:
        """Return the views with this number (the epoch, in training) as float images in [0, 1]."""
        real = self._real(images, index, number)
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

    def _real(self, images: Tensor, index: Tensor, number: int) -> Tensor:
        # Numbers of their own: what is left out changes nothing of the rest.
        more = draws(seed_of(self.seed, MORE), index, number, 5)
        if self.area is None:
            cropped = crop_and_flip(
                images, index, view=number, seed=self.seed, padding=self.padding, flip=self.flip
            )
            real = to_float(cropped)
        else:
            numbers = torch.cat([draws(self.seed, index, number, 3), more[:, :2]], 1)
            how: dict[str, Any] = {"area": self.area, "ratio": self.ratio, "flip": self.flip}
            real = resized_crop(to_float(images), numbers, **how)
        return color_jitter(real, more[:, 2:], strength=self.jitter) if self.jitter else real
