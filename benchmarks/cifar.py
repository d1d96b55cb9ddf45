"""The CIFAR data and teachers of docs/results.md.

    python benchmarks/cifar.py DATA.npz OUT.npz [--rows N]    # decode a file of planes, or N rows

and, as a teacher, `benchmarks/cifar.py:resnet_a?depth=56&weights=FILE.safetensors` (ResNets of
He et al. with parameter-free shortcuts) or `benchmarks/cifar.py:resnet_w?…` (the wide-stem form).
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism import Outputs


def convert(source: str, target: str, rows: int | None = None) -> None:
    """Undo the differences (G, R - G, B - G; along rows and columns) in which planes are kept.

    The images of these files are shuffled, so that the first rows are a fair sample.
    """
    with np.load(source, allow_pickle=False) as stored:
        planes = stored["d"][:, :rows].cumsum(2, dtype="u1").cumsum(3, dtype="u1")
        green, red, blue = planes[0], planes[1] + planes[0], planes[2] + planes[0]
        names = np.array([str(name) for name in stored["names"]])
        np.savez(target, x=np.stack([red, green, blue], -1), y=stored["y"][:rows], names=names)


class BlockA(nn.Module):
    """Two convolutions; the shortcut takes every second pixel and pads channels with zeros."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, (width - width_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + x)


class BlockW(BlockA):
    """The same with a 1×1 convolution where shapes change, and no ReLU after the sum."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__(width_in, width, stride)
        self.shortcut = nn.Sequential()
        if stride != 1 or width_in != width:
            conv = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return y + self.shortcut(x)


class ResNet(nn.Module):
    """Three stages of 16, 32 and 64 channels on 32×32 images."""

    def __init__(
        self, block: type[BlockA], stem: int, depth: int, classes: int, mean: Tensor, std: Tensor
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        before = stem
        for stage, (width, stride) in enumerate(((16, 1), (32, 2), (64, 2)), start=1):
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(block(before, width, stride if i == 0 else 1))
                before = width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.wide = block is BlockW
        self.linear = nn.Linear(256 if self.wide else 64, classes)
        # Not persistent: the published weights have no such entries.
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Outputs:
        x = F.relu(self.bn1(self.conv1((images - self.mean) / self.std)))
        for layer in (self.layer1, self.layer2, self.layer3):
            x = F.relu(layer(x)) if self.wide else layer(x)
        embedding = F.avg_pool2d(x, 4).flatten(1) if self.wide else x.mean((2, 3))
        return Outputs(embedding, self.linear(embedding))


def resnet_a(depth: int = 56, classes: int = 10) -> nn.Module:
    """A teacher trained with ImageNet's mean and deviation."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ResNet(BlockA, 16, depth, classes, mean, std)


def resnet_w(depth: int = 32, classes: int = 100) -> nn.Module:
    """A wide-stem teacher, CIFAR-10's or CIFAR-100's mean and deviation."""
    if classes == 10:
        mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])
    else:
        mean, std = torch.tensor([0.507, 0.487, 0.441]), torch.tensor([0.267, 0.256, 0.276])
    return ResNet(BlockW, 64, depth, classes, mean, std)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Decode a file of planes into a plain .npz.")
    parser.add_argument("source", help="the file of planes")
    parser.add_argument("target", help="the .npz file to write")
    parser.add_argument("--rows", type=int, help="take so many rows from the beginning")
    convert(**vars(parser.parse_args()))
