"""Normalisation inside the model, so that teacher and student may differ in it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Subtract a mean and divide by a standard deviation, along the first axis of a sample."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, axes: int = 3) -> None:
        """Store the statistics as buffers, so that they travel with the weights.

        Args:
            mean: One for each entry of a sample's first axis (the channels of an image), or one.
            std: Likewise.
            axes: Axes of a sample.
        """
        super().__init__()
        shape = (-1,) + (1,) * (axes - 1)
        self.register_buffer("mean", torch.tensor(mean).view(shape))
        self.register_buffer("std", torch.tensor(std).view(shape))

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images."""
        return (images - self.mean) / self.std
