"""Images: uint8 or float `(channels, height, width)`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor

from asterism import reading
from asterism.modality.modality import THUMBNAIL, Modality, Pictures, Statistics
from asterism.pictures import pixels, sized
from asterism.settings import Settings
from asterism.types import Samples, Shape, to_float
from asterism.views import Views

# How bright red, green and blue are (ITU-R BT.601), as Pillow makes pictures grey.
GREY = (0.299, 0.587, 0.114)
LEVELS = {"a black image": 0, "a grey image": 128, "a white image": 255}


class Image(Modality):
    """Images of one size; models take them as float in [0, 1]."""

    name = "image"
    plural = "images"
    columns = ("image", "img", "path", "file", "file_name")
    optimizer = "sgd"
    pixels = True
    reading = (
        "turned upright by EXIF, transparent parts laid on white, scaled bilinearly with "
        "antialiasing (Pillow) until it covers the size, its middle part, divided by 255"
    )
    preparation = (
        "check its weights, its normalisation (pictures arrive in [0, 1]) and its input size"
    )

    def example(self, shape: Shape) -> Samples:
        """Return two black images."""
        return torch.zeros(2, *(shape or ()))

    def edges(self, shape: Shape) -> list[tuple[str, Samples]]:
        """Return a black, a grey and a white image, and one of noise."""
        even = [(name, torch.full((1, *(shape or ())), v / 255)) for name, v in LEVELS.items()]
        noise = torch.rand(1, *(shape or ()), generator=torch.Generator().manual_seed(0))
        return [*even, ("a noisy image", noise.mul(255).round() / 255)]

    def statistics(self, samples: Samples) -> Statistics:
        """Return mean and standard deviation of each channel, of images in [0, 1]."""
        images = to_float(torch.as_tensor(samples))
        std = images.std((0, 2, 3)).clamp_min(1e-3)
        return tuple(images.mean((0, 2, 3)).tolist()), tuple(std.tolist())

    def views(self, shape: Shape, settings: Settings, *, virtual: int, flip: bool) -> Views | None:
        """Return crops and flips, jitter, and RandAugment for virtual views."""
        assert shape is not None
        area = settings.crop_area
        eighth = 0 if area else max(1, min(shape[1:]) // 8)
        return Views(
            virtual=virtual,
            seed=settings.view_seed,
            padding=eighth if settings.padding is None else settings.padding,
            flip=flip,
            operations=settings.randaugment_operations,
            magnitude=settings.randaugment_magnitude,
            area=(area[0], area[1]) if area else None,
            ratio=settings.crop_ratio if area else Views.ratio,
            jitter=settings.color_jitter,
        )

    def pictures(self, parts: Sequence[Samples]) -> Pictures:
        """Return the images, the longest side at most 64, in three channels."""
        return {"thumbnails": np.concatenate([_small(torch.as_tensor(part)) for part in parts])}

    def listed(self, given: Any) -> list[Any]:
        """Return pictures as a list, of pixels also one array of several."""
        return reading.listed_pictures(given)

    def as_tensor(self, given: Any, shape: Shape) -> Tensor | None:
        """Return a tensor as it is, and float pixels in the places that a model has for them."""
        floats = reading.float_images(given, shape or ())
        return super().as_tensor(given, shape) if floats is None else torch.from_numpy(floats)

    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return files, Pillow's pictures or arrays of pixels as uint8 images."""
        assert shape is not None
        return torch.from_numpy(reading.images(given, shape))

    def reshaped(self, samples: Tensor, shape: Shape) -> str:
        """Return how a tensor becomes one of images of this size."""
        if shape is not None and samples.ndim == 4:
            channels, height, width = shape
            if samples.shape[1:] == (height, width, channels):
                return ": channels come first, samples.permute(0, 3, 1, 2)"
            if samples.shape[1] == channels:
                resized = f"torch.nn.functional.interpolate(samples, ({height}, {width}), …)"
                return f": resize them, {resized}, or give files to student.embed(…)"
        return super().reshaped(samples, shape)

    def brought(self, images: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return images in another size and other channels, as `decode` brings files to a size.

        Args:
            images: uint8 or float, shape `(n, channels, height, width)`, one channel or three.
            shape: Channels, height and width of the result; the middle part of what has other
                proportions.

        Returns:
            Images of the same type.
        """
        channels = shape[0]
        if images.dtype != torch.uint8 and (images.shape[1], channels) == (3, 1):
            images = (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
        made = torch.empty(len(images), *shape, dtype=images.dtype)
        for to, image in zip(made, images, strict=True):
            if images.dtype == torch.uint8:
                rows = image.permute(1, 2, 0).squeeze(2)
                to[:] = _sized(rows, shape)
            else:  # Pillow has no colours of floats
                for part, plane in zip(to, image.expand(channels, -1, -1), strict=True):
                    part[:] = _sized(plane.float(), (1, *shape[1:]))[0]
        return made

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each image."""
        for image in torch.as_tensor(samples):
            yield image.contiguous().numpy().tobytes()


def decode(file: Path | IO[bytes], shape: tuple[int, ...]) -> Tensor:
    """Return a file's picture as uint8 `(channels, height, width)`: see `asterism.pictures`."""
    return torch.from_numpy(pixels(file, shape))


def _sized(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(sized(Pillow.fromarray(pixels.contiguous().numpy()), shape))


def _small(images: Tensor) -> "np.ndarray[Any, Any]":
    """Return images `(n, c, h, w)` as uint8 `(n, h, w, 3)`, the longest side at most 64."""
    scale = THUMBNAIL / max(images.shape[2:])
    images = to_float(images)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
