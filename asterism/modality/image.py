"""Images: uint8 or float `(channels, height, width)`."""

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from asterism.modality.modality import THUMBNAIL, Modality, Pictures, Statistics
from asterism.names import located, nothing_at
from asterism.settings import Settings
from asterism.types import Samples, Shape, to_float
from asterism.views import Views

# Formats for which Pillow starts another program (EPS), or has no decoder of its own.
NOT_DECODED = {"BUFR", "EPS", "FPX", "GRIB", "HDF5", "IPTC", "MIC", "MPEG", "PCD", "WMF"}
# The tag of TIFF files of 12 bits, say, that are kept in 16.
MAX_SAMPLE_VALUE = 281
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

    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return picture files as float images in [0, 1]."""
        assert shape is not None
        images = [decode(_file(path), shape) for path in given]
        return to_float(torch.stack(images) if images else torch.empty(0, *shape))

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
                to[:] = _fitted(Pillow.fromarray(rows.contiguous().numpy()), shape)
            else:  # Pillow has no colours of floats
                for part, plane in zip(to, image.expand(channels, -1, -1), strict=True):
                    picture = Pillow.fromarray(plane.float().contiguous().numpy())
                    part[:] = _fitted(picture, (1, *shape[1:]))[0]
        return made

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each image."""
        for image in torch.as_tensor(samples):
            yield image.contiguous().numpy().tobytes()


def _file(given: Any) -> Path:
    """Return the path of a picture file.

    Raises:
        ValueError: If it is something else.
        FileNotFoundError: If there is no such file.
    """
    if not isinstance(given, str | Path):
        raise ValueError(
            f"the student embeds paths of pictures; got {type(given).__name__}: a tensor of images "
            "in [0, 1] is given to the student itself, student(images)."
        )
    path = Path(located(given))
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the pictures in it, sorted(folder.iterdir()).")
    if not path.exists():
        raise FileNotFoundError(f"{nothing_at(path)}.")
    return path


def decode(file: Path | IO[bytes], shape: tuple[int, ...]) -> Tensor:
    """Return a picture as uint8 `(channels, height, width)`, upright, middle part, resized.

    Whatever is transparent is laid on white.
    """
    _, height, width = shape
    with opened(file) as header:
        header.draft("RGB", (2 * width, 2 * height))  # JPEG decodes smaller sizes much faster
        picture = _eight_bits(ImageOps.exif_transpose(header), header)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Pillow.new("RGBA", picture.size, "white")
            picture = Pillow.alpha_composite(white, picture)
    return _fitted(picture, shape)


def _fitted(picture: Pillow.Image, shape: tuple[int, ...]) -> Tensor:
    """Return the middle part of a picture, resized, as `(channels, height, width)`."""
    channels, height, width = shape
    if picture.mode != "F":
        picture = picture.convert("L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(picture, (width, height), Pillow.Resampling.BILINEAR)
    array = torch.from_numpy(np.array(fitted)).view(height, width, channels)
    return array.permute(2, 0, 1).contiguous()


def opened(file: Path | IO[bytes]) -> Pillow.Image:
    """Return a picture of which only the header has been read, to be closed.

    Raises:
        ValueError: If it is no regular file.
        OSError: If it is no picture.
        PIL.Image.DecompressionBombWarning: If it would take gigabytes to decode.
    """
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise ValueError("no regular file")  # a pipe would be waited for
    with warnings.catch_warnings():
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        return Pillow.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that Pillow decodes by itself."""
    Pillow.init()
    return tuple(name for name in Pillow.OPEN if name not in NOT_DECODED)


@cache
def suffixes() -> frozenset[str]:
    """Return the endings of files that can be decoded, in lower case."""
    known = Pillow.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name in _formats())


def _eight_bits(picture: Pillow.Image, header: Pillow.Image) -> Pillow.Image:
    """Return a grey picture of more than 8 bits with 8, by the range that its type declares.

    (Pillow would cut values off at 255.)
    """
    if picture.mode == "F":
        values = np.asarray(picture)
        if not (values.min() >= 0 and values.max() <= 1):  # false for NaN, too
            raise ValueError(
                f"floats from {values.min():.3g} to {values.max():.3g}: pictures of floats must "
                "lie in [0, 1]"
            )
        return Pillow.fromarray((255 * values).round().astype(np.uint8))
    if not picture.mode.startswith("I"):
        return picture
    if picture.mode == "I" and header.format not in ("PNG", "PPM"):  # theirs are of 16
        raise ValueError("whole numbers of 32 bits, whose range is not known: store 8 or 16")
    most = min(65535, _largest(header))
    scaled = np.asarray(picture).clip(0, most).astype(np.int64) * 255 // most
    return Pillow.fromarray(scaled.astype(np.uint8))


def _largest(header: Pillow.Image) -> int:
    """Return the largest value that a TIFF file declares, or that 16 bits can hold."""
    declared = getattr(header, "tag_v2", {}).get(MAX_SAMPLE_VALUE)
    value = declared[0] if isinstance(declared, tuple) and declared else declared
    return value if isinstance(value, int) and value > 0 else 65535


def _small(images: Tensor) -> "np.ndarray[Any, Any]":
    """Return images `(n, c, h, w)` as uint8 `(n, h, w, 3)`, the longest side at most 64."""
    scale = THUMBNAIL / max(images.shape[2:])
    images = to_float(images)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
