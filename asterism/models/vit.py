"""A small vision transformer for small images: DeiT-tiny (Touvron et al., ICML 2021).

Its shape is DeiT's, its patches are 4×4, so that an image of 32×32 is 64 tokens.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.normalise import Normalise
from asterism.types import Outputs


class Attending(nn.Module):
    """Attention and a network of two layers, each after a norm and beside its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after the block, `(n, tokens, width)`."""
        parts = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        made: Tensor = self.narrow(F.gelu(self.wide(self.norm2(x))))
        return x + made


class VisionTransformer(nn.Module):
    """Patches as tokens, blocks, norm; the class token (the embedding), linear classifier.

    Args:
        patch: Side of a patch in pixels.
        width: Columns of a token, and of the embedding; a multiple of heads.
        layers: Number of blocks.
        heads: Heads of attention in a block.
    """

    def __init__(
        self,
        *,
        classes: int | None,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        patch: int = 4,
        width: int = 192,
        layers: int = 12,
        heads: int = 3,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape
        if any(side % patch for side in sides) or width % heads:
            raise ValueError(
                f"deit-tiny cuts images into patches, and its width into heads: {sides[0]}×"
                f"{sides[1]} pixels must be a multiple of patch={patch}, width={width} of "
                f"heads={heads}."
            )
        self.normalise = Normalise(mean, std)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        places = 1 + (sides[0] // patch) * (sides[1] // patch)
        self.places = nn.Parameter(torch.zeros(1, places, width))
        self.blocks = nn.Sequential(*(Attending(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, classes) if classes else None
        for parameter in (self.token, self.places):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Outputs:
        """Return the class token and the logits."""
        patches = self.patches(self.normalise(images)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(patches), -1, -1), patches], 1) + self.places
        embedding = self.norm(self.blocks(tokens))[:, 0]
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


MODELS: dict[str, Callable[..., nn.Module]] = {"deit-tiny": VisionTransformer}
