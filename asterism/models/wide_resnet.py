"""Wide ResNets for 32×32 images (Zagoruyko and Komodakis, BMVC 2016)."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.types import Outputs


class Block(nn.Module):
    """Norm and ReLU before each of two 3×3 convolutions, beside a shortcut.

    Where widths differ, the shortcut is a 1×1 convolution of the activated input; else it is the
    input itself, not activated.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block."""
        activated = F.relu(self.bn1(x), inplace=True)
        y: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated)), inplace=True))
        return y + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Module):
    """Three stages of blocks, norm and ReLU, average pool (the embedding), linear classifier."""

    def __init__(
        self,
        depth: int,
        factor: int,
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.conv = nn.Conv2d(image_shape[0], 16, 3, 1, 1, bias=False)
        blocks: list[nn.Module] = []
        before = 16
        for width, stride in ((16 * factor, 1), (32 * factor, 2), (64 * factor, 2)):
            for i in range((depth - 4) // 6):
                blocks.append(Block(before, width, stride if i == 0 else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(before)
        self.classifier = nn.Linear(before, classes) if classes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Outputs:
        """Return the pooled features and the logits."""
        x = self.blocks(self.conv(self.normalise(images)))
        embedding = F.relu(self.bn(x), inplace=True).mean((2, 3))
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


MODELS: dict[str, Callable[..., nn.Module]] = {
    f"wrn-{depth}-{factor}": partial(WideResNet, depth, factor)
    for depth, factor in ((16, 2), (40, 1), (40, 2))
}
