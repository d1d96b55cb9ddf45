"""VGG networks with batch norm for 32×32 images, as the distillation literature uses them.

After Simonyan and Zisserman, ICLR 2015. The form of Tian et al., ICLR 2020 (CRD): no pool before
the last stage, and one linear layer instead of three after it.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.types import Outputs

WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of 3×3 convolutions, average pool (the embedding), linear classifier."""

    def __init__(
        self,
        convs: tuple[int, ...],
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.stages = nn.ModuleList()
        before = image_shape[0]
        for width, number in zip(WIDTHS, convs, strict=True):
            layers: list[nn.Module] = []
            for _ in range(number):
                # A bias before a norm does nothing; the published networks have and count it.
                conv = nn.Conv2d(before, width, 3, 1, 1)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                before = width
            self.stages.append(nn.Sequential(*layers))
        self.classifier = nn.Linear(before, classes) if classes else None

    def forward(self, images: Tensor) -> Outputs:
        """Return the pooled features and the logits."""
        x = self.normalise(images)
        for i, stage in enumerate(self.stages):
            x = stage(x)
            x = F.max_pool2d(x, 2) if i < 3 else x
        embedding = x.mean((2, 3))
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "vgg8": partial(VGG, (1, 1, 1, 1, 1)),
    "vgg11": partial(VGG, (1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, (2, 2, 2, 2, 2)),
}
