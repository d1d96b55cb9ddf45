"""Small networks of depthwise convolutions for 32×32 images, as distillation tables have them.

MobileNetV2 (Sandler et al., CVPR 2018) of half its width; ShuffleNetV1 of three groups (Zhang et
al., CVPR 2018) and ShuffleNetV2 (Ma et al., ECCV 2018), whose stems keep the size of the image.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.types import Outputs


def _convolved(
    width_in: int, width: int, size: int = 1, *, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Sequential:
    """Return a convolution with batch norm, and ReLU if it is wanted."""
    conv = nn.Conv2d(width_in, width, size, stride, size // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _shuffled(x: Tensor, groups: int) -> Tensor:
    """Return the channels with the groups dealt out in turn."""
    n, channels, height, width = x.shape
    x = x.view(n, groups, channels // groups, height, width).transpose(1, 2)
    return x.reshape(n, channels, height, width)


class Pooled(nn.Module):
    """Layers one after another, average pool (the embedding), linear classifier."""

    def __init__(
        self,
        layers: list[nn.Module],
        width: int,
        *,
        classes: int | None,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes) if classes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Outputs:
        """Return the pooled features and the logits."""
        embedding = self.layers(self.normalise(images)).mean((2, 3))
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


class Inverted(nn.Module):
    """A wide depthwise convolution between two of 1×1, beside the input where shapes agree."""

    def __init__(self, width_in: int, width: int, *, stride: int, factor: int) -> None:
        super().__init__()
        inner = factor * width_in
        self.layers = nn.Sequential(
            _convolved(width_in, inner),
            _convolved(inner, inner, 3, stride=stride, groups=inner),
            _convolved(inner, width, relu=False),
        )
        self.beside = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        y: Tensor = self.layers(x)
        return x + y if self.beside else y


def mobilenetv2_half(
    *,
    classes: int | None,
    image_shape: tuple[int, int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Pooled:
    """Return MobileNetV2 of half its width, whose stem and three stages halve the image."""
    layers: list[nn.Module] = [_convolved(image_shape[0], 16, 3, stride=2)]
    before = 16
    stages = (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)
    for factor, width, blocks, stride in (*stages, (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(blocks):
            first = stride if i == 0 else 1
            layers.append(Inverted(before, width // 2, stride=first, factor=factor))
            before = width // 2
    layers.append(_convolved(before, 1280))
    return Pooled(layers, 1280, classes=classes, mean=mean, std=std)


class Grouped(nn.Module):
    """ShuffleNetV1's block: grouped 1×1 convolutions, whose channels are dealt out between them."""

    def __init__(self, width_in: int, width: int, *, stride: int, groups: int, first: int) -> None:
        super().__init__()
        added = width - width_in if stride == 2 else width
        inner = added // 4  # of what is added, as in the published networks
        self.first = first
        self.stride = stride
        self.conv1 = _convolved(width_in, inner, groups=first)
        self.conv2 = _convolved(inner, inner, 3, stride=stride, groups=inner)
        self.conv3 = _convolved(inner, added, groups=groups, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        y = self.conv3(self.conv2(_shuffled(self.conv1(x), self.first)))
        if self.stride == 1:
            return F.relu(x + y, inplace=True)
        return F.relu(torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1), inplace=True)


def shufflenetv1(
    *,
    classes: int | None,
    image_shape: tuple[int, int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Pooled:
    """Return ShuffleNetV1 of three groups."""
    layers: list[nn.Module] = [_convolved(image_shape[0], 24)]
    before = 24
    for width, blocks in ((240, 4), (480, 8), (960, 4)):
        for i in range(blocks):
            first = 1 if before == 24 else 3
            stride = 2 if i == 0 else 1
            layers.append(Grouped(before, width, stride=stride, groups=3, first=first))
            before = width
    return Pooled(layers, before, classes=classes, mean=mean, std=std)


class Split(nn.Module):
    """ShuffleNetV2's block: one half of the channels passes, the other is convolved."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            _convolved(half, half),
            _convolved(half, half, 3, groups=half, relu=False),
            _convolved(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        kept, changed = x.chunk(2, 1)
        return _shuffled(torch.cat([kept, self.layers(changed)], 1), 2)


class Halved(nn.Module):
    """ShuffleNetV2's block between stages: both branches halve the image."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.left = nn.Sequential(
            _convolved(width_in, width_in, 3, stride=2, groups=width_in, relu=False),
            _convolved(width_in, half),
        )
        self.right = nn.Sequential(
            _convolved(width_in, half),
            _convolved(half, half, 3, stride=2, groups=half, relu=False),
            _convolved(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        return _shuffled(torch.cat([self.left(x), self.right(x)], 1), 2)


def shufflenetv2(
    *,
    classes: int | None,
    image_shape: tuple[int, int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Pooled:
    """Return ShuffleNetV2 of width 1."""
    layers: list[nn.Module] = [_convolved(image_shape[0], 24)]
    before = 24
    for width, blocks in ((116, 3), (232, 7), (464, 3)):
        layers += [Halved(before, width), *(Split(width) for _ in range(blocks))]
        before = width
    layers.append(_convolved(before, 1024))
    return Pooled(layers, 1024, classes=classes, mean=mean, std=std)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mobilenetv2-half": mobilenetv2_half,
    "shufflenetv1": shufflenetv1,
    "shufflenetv2": shufflenetv2,
}
