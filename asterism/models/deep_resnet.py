"""ResNets of four stages with a 3×3 stem, for images of 32×32 and 64×64 (He et al., CVPR 2016).

`resnet9` has one block a stage; `?width=0.5` halves all widths, as in the experiments of RRKD.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.models.resnet import Block
from asterism.types import Outputs

WIDTHS = (64, 128, 256, 512)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions, the last four times as wide, beside a shortcut."""

    wider = 4

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, self.wider * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.wider * width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != self.wider * width:
            conv = nn.Conv2d(width_in, self.wider * width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(self.wider * width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x), inplace=True)


class DeepResNet(nn.Module):
    """Four stages of blocks, halving the image between them, average pool, linear classifier.

    Args:
        width: Factor of the channels of every stage.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        block: type[Block] | type[Bottleneck],
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        widths = [max(1, round(width * w)) for w in WIDTHS]
        self.conv = nn.Conv2d(image_shape[0], widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        before, wider = widths[0], Bottleneck.wider if block is Bottleneck else 1
        for wide, depth, stride in zip(widths, depths, (1, 2, 2, 2), strict=True):
            blocks = []
            for i in range(depth):
                blocks.append(block(before, wide, stride if i == 0 else 1))
                before = wider * wide
            self.stages.append(nn.Sequential(*blocks))
        self.classifier = nn.Linear(before, classes) if classes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Outputs:
        """Return the pooled features and the logits."""
        x = F.relu(self.bn(self.conv(self.normalise(images))), inplace=True)
        for stage in self.stages:
            x = stage(x)
        embedding = x.mean((2, 3))
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet9": partial(DeepResNet, (1, 1, 1, 1), Block),
    "resnet18": partial(DeepResNet, (2, 2, 2, 2), Block),
    "resnet34": partial(DeepResNet, (3, 4, 6, 3), Block),
    "resnet50": partial(DeepResNet, (3, 4, 6, 3), Bottleneck),
    "resnet101": partial(DeepResNet, (3, 4, 23, 3), Bottleneck),
}
