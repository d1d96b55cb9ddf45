"""Small networks for 8×8 and 28×28 images, and for arrays."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.types import Outputs


class MLP(nn.Module):
    """Two hidden layers; the second, before its activation, is the embedding.

    For images, and for arrays of any shape.

    Args:
        hidden: Units of the first layer.
        dim: Units of the second, the columns of the embedding.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        shape: tuple[int, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        hidden: int = 128,
        dim: int = 64,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std, axes=len(shape))
        self.hidden = nn.Linear(math.prod(shape), hidden)
        self.embed = nn.Linear(hidden, dim)
        self.classifier = nn.Linear(dim, classes) if classes else None

    def forward(self, samples: Tensor) -> Outputs:
        """Return the second layer's output and the logits."""
        embedding = self.embed(F.relu(self.hidden(self.normalise(samples).flatten(1))))
        return Outputs(embedding, self.classifier(F.relu(embedding)) if self.classifier else None)


class ConvNet(nn.Module):
    """Three convolutions with batch norm, halving the image between them, average pool.

    Args:
        width: Channels of the first convolution; the embedding has four times as many columns.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        width: int = 32,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        channels = (image_shape[0], width, 2 * width, 4 * width)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        self.classifier = nn.Linear(channels[-1], classes) if classes else None

    def forward(self, images: Tensor) -> Outputs:
        """Return the pooled features and the logits."""
        x = self.normalise(images)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)), inplace=True)
            x = F.max_pool2d(x, 2) if i < 2 else x
        embedding = x.mean((2, 3))
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


class FourConvs(nn.Module):
    """Four convolutions with batch norm, each followed by ReLU and a pool; what is left is flat.

    The network of prototypical nets (Snell et al., NeurIPS 2017): 64 columns for images of 28×28,
    1,600 for 84×84.

    Args:
        width: Channels of each convolution.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        width: int = 64,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        if min(sides) < 16:
            raise ValueError(f"conv4 halves an image four times: {sides} pixels are fewer than 16.")
        self.normalise = Normalise(mean, std)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i == 0 else width, width, 3, padding=1) for i in range(4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(4))
        left = width * (sides[0] // 16) * (sides[1] // 16)
        self.classifier = nn.Linear(left, classes) if classes else None

    def forward(self, images: Tensor) -> Outputs:
        """Return the flat features and the logits."""
        x = self.normalise(images)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool2d(F.relu(norm(conv(x)), inplace=True), 2)
        embedding = x.flatten(1)
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "convnet": ConvNet,
    "conv4": FourConvs,
}
