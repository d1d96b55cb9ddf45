"""Images: uint8 or float `(channels, height, width)`."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from asterism.modality.modality import THUMBNAIL, Modality, Pictures, Statistics
from asterism.settings import Settings
from asterism.types import Samples, Shape, to_float
from asterism.views import Views

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
        """Return shifts and flips, and RandAugment for virtual views."""
        assert shape is not None
        eighth = max(1, min(shape[1:]) // 8)
        return Views(
            virtual=virtual,
            seed=settings.view_seed,
            padding=eighth if settings.padding is None else settings.padding,
            flip=flip,
            operations=settings.randaugment_operations,
            magnitude=settings.randaugment_magnitude,
        )

    def pictures(self, parts: Sequence[Samples]) -> Pictures:
        """Return the images, the longest side at most 64, in three channels."""
        return {"thumbnails": np.concatenate([_small(torch.as_tensor(part)) for part in parts])}

    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return picture files as float images in [0, 1]."""
        assert shape is not None
        images = [decode(Path(path), shape) for path in given]
        return to_float(torch.stack(images) if images else torch.empty(0, *shape))

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each image."""
        for image in torch.as_tensor(samples):
            yield image.contiguous().numpy().tobytes()


def decode(file: Path | IO[bytes], shape: tuple[int, ...]) -> Tensor:
    """Return a picture as uint8 `(channels, height, width)`, upright, middle part, resized.

    Whatever is transparent is laid on white.
    """
    channels, height, width = shape
    with warnings.catch_warnings():
        # A picture above Pillow's limit would take gigabytes to decode: it counts as broken.
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        opened = Pillow.open(file)
    with opened:
        opened.draft("RGB", (2 * width, 2 * height))  # JPEG decodes smaller sizes much faster
        picture = _eight_bits(ImageOps.exif_transpose(opened))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Pillow.new("RGBA", picture.size, "white")
            picture = Pillow.alpha_composite(white, picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(picture, (width, height), Pillow.Resampling.BILINEAR)
    array = np.asarray(fitted).reshape(height, width, channels)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """Return a grey picture of 16 bits with 8 (Pillow would cut values off at 255)."""
    if not picture.mode.startswith("I"):
        return picture
    return Pillow.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))


def _small(images: Tensor) -> "np.ndarray[Any, Any]":
    """Return images `(n, c, h, w)` as uint8 `(n, h, w, 3)`, the longest side at most 64."""
    scale = THUMBNAIL / max(images.shape[2:])
    images = to_float(images)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
