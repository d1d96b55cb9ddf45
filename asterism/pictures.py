"""Pictures as pixels: one way of reading them, in training, in a student and without torch."""

import warnings
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps

from asterism.documents import refuse_irregular

Pixels = npt.NDArray[np.uint8]
# Formats for which Pillow starts another program (EPS), or has no decoder of its own.
NOT_DECODED = {"BUFR", "EPS", "FPX", "GRIB", "HDF5", "IPTC", "MIC", "MPEG", "PCD", "WMF"}
# Tags of TIFF files that say of how many bits the values are: the largest, and the bits themselves.
MAX_SAMPLE_VALUE, BITS_PER_SAMPLE = 281, 258
# Formats that declare their range, by which Pillow scales to 16 bits.
SCALED = ("PPM", "JPEG2000")


def pixels(file: Path | IO[bytes], shape: tuple[int, ...]) -> Pixels:
    """Return a file's picture as uint8 `(channels, height, width)`.

    It is turned upright by EXIF, what is transparent is laid on white, and of what covers the size
    the middle part is taken.

    Args:
        file: The file, or its contents.
        shape: Channels, height and width; 1 channel is grey, 3 are red, green and blue.

    Raises:
        ValueError: If it is no regular file, or of values whose range is not known.
        OSError: If it is no picture.
        PIL.Image.DecompressionBombWarning: If it would take gigabytes to decode.
    """
    _, height, width = shape
    with opened(file) as header:
        header.draft("RGB", (2 * width, 2 * height))  # JPEG decodes smaller sizes much faster
        return fitted(header, shape)


def fitted(header: Pillow.Image, shape: tuple[int, ...]) -> Pixels:
    """Return an opened picture as `pixels` does."""
    picture = _eight_bits(ImageOps.exif_transpose(header), header)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(white, picture)
    return sized(picture, shape)


def sized(picture: Pillow.Image, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the middle part of a picture in a size; one of floats keeps them."""
    channels, height, width = shape
    if picture.mode != "F":
        picture = picture.convert("L" if channels == 1 else "RGB")
    picture = ImageOps.fit(picture, (width, height), Pillow.Resampling.BILINEAR)
    array = np.asarray(picture).reshape(height, width, channels)
    return array.transpose(2, 0, 1).copy()


def opened(file: Path | IO[bytes]) -> Pillow.Image:
    """Return a picture of which only the header has been read, to be closed.

    Raises:
        ValueError: If it is no regular file.
        OSError: If it is no picture.
        PIL.Image.DecompressionBombWarning: If it would take gigabytes to decode.
    """
    if isinstance(file, Path):
        refuse_irregular(file)
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
    values = np.asarray(picture).clip(0, 65535).astype(np.int64)
    most = _largest(header) or _full_range(values)
    return Pillow.fromarray((values.clip(0, most) * 255 // most).astype(np.uint8))


def _largest(header: Pillow.Image) -> int | None:
    """Return the largest value that a file of 16 bits declares; None if it says nothing."""
    if header.format in SCALED:
        return 65535
    most = _tag(header, MAX_SAMPLE_VALUE)
    bits = _tag(header, BITS_PER_SAMPLE)
    return min(65535, most) if most else 2**bits - 1 if 8 < bits < 16 else None


def _tag(header: Pillow.Image, number: int) -> int:
    """Return the whole number that a TIFF file declares; 0 for nothing."""
    declared: Any = getattr(header, "tag_v2", {}).get(number)
    value = declared[0] if isinstance(declared, tuple) and declared else declared
    return value if isinstance(value, int) and value > 0 else 0


def _full_range(values: npt.NDArray[np.int64]) -> int:
    """Return the range of 16 bits, if the values can be meant so: cameras keep 12 bits in 16, too.

    Raises:
        ValueError: If they end within 12 bits, of which the picture is another one.
    """
    bits = int(values.max()).bit_length()
    if 4 < bits <= 12:  # with less it is black either way
        raise ValueError(
            f"16 bits of which {bits} are used: taken for {max(bits, 8)} bits it is a picture, "
            "for 16 a nearly black one; store it with 8 bits, or as TIFF with its range, the tag "
            "MaxSampleValue"
        )
    return 65535
