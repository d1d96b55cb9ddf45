"""ResNets for 32×32 images, as the distillation literature uses them (He et al., CVPR 2016)."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.types import Outputs


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where shapes change."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            conv = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class CifarResNet(nn.Module):
    """Three stages of blocks, average pool (the embedding), linear classifier."""

    def __init__(
        self,
        depth: int,
        widths: tuple[int, int, int, int],
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        stem, *stages = widths
        self.conv = nn.Conv2d(image_shape[0], stem, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(stem)
        blocks: list[nn.Module] = []
        before = stem
        for width, stride in zip(stages, (1, 2, 2), strict=True):
            for i in range((depth - 2) // 6):
                blocks.append(Block(before, width, stride if i == 0 else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(before, classes) if classes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Outputs:
        """Return the pooled features and the logits."""
        x = F.relu(self.bn(self.conv(self.normalise(images))), inplace=True)
        embedding = self.blocks(x).mean((2, 3))
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


NARROW, WIDE = (16, 16, 32, 64), (32, 64, 128, 256)
MODELS: dict[str, Callable[..., nn.Module]] = {
    f"resnet{d}": partial(CifarResNet, d, NARROW) for d in (8, 14, 20, 32, 44, 56, 110)
}
MODELS |= {f"resnet{d}x4": partial(CifarResNet, d, WIDE) for d in (8, 32)}
