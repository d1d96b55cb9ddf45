"""RandAugment (Cubuk et al., 2020): a few random operations for each image, drawn one by one.

A pure function of the images and of numbers drawn elsewhere. All arithmetic is by single pixels or
exact sums within one image, so a result does not depend, not by one bit, on the batch around it.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def rand_augment(images: Tensor, draws: Tensor, *, magnitude: int = 9) -> Tensor:
    """Apply random operations to each image, one after the other.

    For each operation two of the image's numbers count: one chooses among identity, autocontrast,
    equalize, rotate, solarize, colour, posterize, contrast, brightness, sharpness, and shear and
    translate along either axis; the other gives the sign to those that have one. What moves in
    from beyond the border is black.

    Args:
        images: Float images in [0, 1], shape `(n, channels, height, width)`, 1 or 3 channels.
        draws: Uniform numbers in [0, 1) used for nothing else, shape `(n, 2 * operations)`; usual
            are 2 operations. `asterism.views.augment.draws` makes them.
        magnitude: Strength of the operations, from 0 to 30. At 0 all but autocontrast and equalize,
            which have no strength, are the identity.

    Returns:
        The augmented images, in [0, 1].

    Raises:
        ValueError: If the images have neither 1 nor 3 channels, or the numbers are not two for
            each operation and image.

    Examples:
        >>> import torch
        >>> from asterism.views.augment import draws
        >>> numbers = draws(seed=0, index=torch.arange(8), view=1, count=4)
        >>> rand_augment(torch.rand(8, 3, 32, 32), numbers).shape
        torch.Size([8, 3, 32, 32])

    References:
        Cubuk et al., RandAugment, NeurIPS 2020, https://arxiv.org/abs/1909.13719. The ranges are
        the usual ones; at magnitude 30: 30 degrees, shears of 0.3, shifts of 150/331 of the image,
        factors of 1 ± 0.9, 4 bits, and solarize from 0.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            "rand_augment takes images (n, channels, height, width) with 1 or 3 channels; got "
            f"{tuple(images.shape)}."
        )
    if draws.ndim != 2 or len(draws) != len(images) or draws.shape[1] % 2:
        raise ValueError(
            f"rand_augment takes two numbers for each operation and image; got "
            f"{tuple(draws.shape)} for {len(images)} images."
        )
    images = images.clone(memory_format=torch.contiguous_format)
    for choice, side in zip(draws.T[::2], draws.T[1::2], strict=True):
        chosen = (choice * len(OPERATIONS)).long()
        sign = torch.where(side < 0.5, -1, 1).to(images)[:, None, None, None]
        for number, operation in enumerate(OPERATIONS):
            rows = (chosen == number).nonzero().flatten()
            if len(rows):
                images[rows] = operation(images[rows], sign[rows], magnitude / 30).clamp_(0, 1)
    return images


def color_jitter(images: Tensor, draws: Tensor, *, strength: float) -> Tensor:
    """Change brightness, then contrast, then saturation of each image at random.

    Each by a factor that lies evenly between 1 - strength and 1 + strength, as torchvision's
    ColorJitter, whose order is random.

    Args:
        images: Float images in [0, 1], shape `(n, channels, height, width)`, 1 or 3 channels.
        draws: Uniform numbers in [0, 1), shape `(n, 3)`.
        strength: From 0, which changes nothing, to 1.
    """
    factors = (1 + strength * (2 * draws - 1)).to(images.dtype)[:, :, None, None, None]
    bases: tuple[Callable[[Tensor], Tensor], ...] = (torch.zeros_like, _mean, _grey)
    for base, factor in zip(bases, factors.unbind(1), strict=True):
        images = (images * factor + base(images) * (1 - factor)).clamp_(0, 1)
    return images


def _blend(base: Tensor, images: Tensor, sign: Tensor, strength: float) -> Tensor:
    """Move away from `base` or towards it."""
    factor = 1 + 0.9 * strength * sign
    return images * factor + base * (1 - factor)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    red, green, blue = torch.split(images, 1, dim=1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def _levels(images: Tensor) -> Tensor:
    """The 256 levels of an image as integers, whose sums are exact in any order."""
    return (images * 255).round().long()


def _smooth(images: Tensor) -> Tensor:
    """The mean of 3 × 3 pixels, the middle one counted five times; the border stays."""
    height, width = images.shape[2:]
    if min(height, width) < 3:
        return images
    total = images[:, :, 1:-1, 1:-1] * 4
    for i in range(3):
        for j in range(3):
            total = total + images[:, :, i : height - 2 + i, j : width - 2 + j]
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = total / 13
    return smooth


def _identity(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return images


def _brightness(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _blend(torch.zeros_like(images), images, sign, strength)


def _mean(images: Tensor) -> Tensor:
    """The mean of each image in grey."""
    levels = _levels(_grey(images)).sum((1, 2, 3), keepdim=True)
    mean = levels.double() / (255 * images.shape[2] * images.shape[3])
    return mean.to(images.dtype)


def _contrast(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _blend(_mean(images), images, sign, strength)


def _colour(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _blend(_grey(images), images, sign, strength)


def _sharpness(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _blend(_smooth(images), images, sign, strength)


def _autocontrast(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    low, high = images.amin((2, 3), True), images.amax((2, 3), True)
    flat = high <= low
    return (images - low.masked_fill(flat, 0)) / (high - low).masked_fill(flat, 1)


def _equalize(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    """Spread the levels of each channel so that their cumulative histogram is straight."""
    levels = _levels(images).flatten(2)
    counts = levels.new_zeros(*levels.shape[:2], 256)
    below = counts.scatter_add_(2, levels, torch.ones_like(levels)).cumsum(2)
    first = below.gather(2, levels.amin(2, True))  # pixels of the darkest level that occurs
    others = levels.shape[2] - first
    spread = (255 * (below - first) + others // 2) // others.clamp(min=1)
    table = torch.where(others > 0, spread, torch.arange(256, device=images.device))
    return (table.gather(2, levels).to(images.dtype) / 255).view_as(images)


def _posterize(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    bits = round(4 * strength)
    return (_levels(images) >> bits << bits).to(images.dtype) / 255 if bits else images


def _solarize(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return torch.where(images > 1 - strength, 1 - images, images) if strength else images


def _rotate(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    angle = math.radians(30 * strength)
    turn = sign * math.sin(angle)
    return _affine(images, across=turn, down=-turn, scale=math.cos(angle))


def _shear_x(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _affine(images, across=sign * (0.3 * strength))


def _shear_y(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _affine(images, down=sign * (0.3 * strength))


def _translate_x(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _affine(images, right=sign * (150 / 331 * strength * images.shape[3]))


def _translate_y(images: Tensor, sign: Tensor, strength: float) -> Tensor:
    return _affine(images, below=sign * (150 / 331 * strength * images.shape[2]))


def _affine(
    images: Tensor,
    *,
    across: Tensor | float = 0.0,
    down: Tensor | float = 0.0,
    scale: float = 1.0,
    right: Tensor | float = 0.0,
    below: Tensor | float = 0.0,
) -> Tensor:
    """Fetch each pixel at (x, y) pixels from the middle from another place, bilinearly.

    That place is (scale x + across y + right, down x + scale y + below).
    """
    n, _, height, width = images.shape
    x = torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2
    y = torch.arange(height, dtype=images.dtype, device=images.device) - (height - 1) / 2
    x, y = x.expand(n, 1, height, width), y[:, None].expand(n, 1, height, width)
    # Single products and sums: a batched matrix product rounds differently for other batch sizes.
    from_x = (x * scale + y * across + right) * (2 / width)
    from_y = (x * down + y * scale + below) * (2 / height)
    grid = torch.cat([from_x, from_y], 1).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


OPERATIONS: tuple[Callable[[Tensor, Tensor, float], Tensor], ...] = (
    _identity,
    _autocontrast,
    _equalize,
    _rotate,
    _solarize,
    _colour,
    _posterize,
    _contrast,
    _brightness,
    _sharpness,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
)
