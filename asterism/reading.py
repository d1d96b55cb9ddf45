"""What a user has, as the arrays that a model takes: pictures, numbers, texts. Needs no torch.

`asterism.load` and `asterism.runtime` read through it, so that both see what the training saw.
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from asterism.arrays import read_array
from asterism.documents import refuse_irregular
from asterism.names import located, nothing_at
from asterism.pictures import Pixels, fitted, pixels
from asterism.words import readable

# What is left of a character of two halves that was cut; no tokeniser can encode it.
_SURROGATES = re.compile("[\ud800-\udfff]")
# How many channels the pixels of an array may have, the last of its axes.
CHANNELS = (1, 3, 4)
# By how much pixels may lie outside [0, 1], for rounding.
TOLERANCE = 1e-3


def listed(given: Any) -> list[Any]:
    """Return what is given, one sample or many, as a list: a text or a path alone is one sample.

    Raises:
        ValueError: If it is no list of samples.
    """
    if isinstance(given, str | Path | Pillow.Image):
        return [given]
    try:
        if isinstance(given, bytes | Mapping):
            raise TypeError
        return list(given)
    except TypeError:
        raise ValueError(
            f"the student takes a list of samples; got {type(given).__name__}."
        ) from None


def listed_pictures(given: Any) -> list[Any]:
    """Return pictures as a list; of pixels also one array, of one picture or of several.

    Args:
        given: As for `listed`; or pixels `(h, w)`, `(h, w, channels)` or `(n, h, w, channels)`.

    Raises:
        ValueError: If it is no list of pictures, or it is not clear which axis is which.
    """
    if not isinstance(given, np.ndarray):
        return [given] if isinstance(given, bytes) else listed(given)
    has_channels = given.ndim > 2 and given.shape[-1] in CHANNELS
    if given.ndim == 2 or (given.ndim == 3 and has_channels):
        return [given]
    if given.ndim == 4 and has_channels:
        return list(given)
    if given.ndim == 4 and given.shape[1] in CHANNELS:
        way_out = "bring channels to the end, array.transpose(0, 2, 3, 1)"
    else:
        way_out = "give several without channels as list(array)"
    raise ValueError(
        "an array of pixels is one picture (h, w) or (h, w, channels), or several "
        f"(n, h, w, channels); got shape {given.shape}: {way_out}."
    )


def images(given: Sequence[Any], shape: tuple[int, ...]) -> Pixels:
    """Return pictures as pixels `(n, channels, height, width)`, read as those of the training.

    Args:
        given: Paths of pictures, contents of such files, Pillow's pictures, or uint8 arrays
            `(h, w)` or `(h, w, channels)`.
        shape: Channels, height and width.

    Raises:
        ValueError: If something among it is no picture that can be read; the message names it.
        FileNotFoundError: If there is no such file.
    """
    made = [_image(each, shape) for each in given]
    return np.stack(made) if made else np.empty((0, *shape), np.uint8)


def float_images(given: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
    """Return float pixels as a model takes them, `(n, channels, height, width)` in [0, 1].

    Args:
        given: One float array or several (one of four axes, or a list), of the model's own size:
            floats are not resized. Channels come first, as in a model, or last, as in a picture;
            an array that could be either has them first.
        shape: Channels, height and width.

    Returns:
        None for what is no float array, which `images` reads.

    Raises:
        ValueError: If they are of another size or range.
    """
    listed = isinstance(given, list | tuple)
    several = list(given) if listed else [given]
    if not several or not all(isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in several):
        return None
    placed = [_channels_first(array, shape) for array in several]
    if any(array.ndim == 4 for array in placed):
        if listed:
            raise ValueError(
                "in a list each array is one picture: np.concatenate(list) joins them."
            )
        [made] = placed
    else:
        made = np.stack(placed)
    if made.size:
        refuse_range(float(made.min()), float(made.max()), "images")
    return made.astype(np.float32)


def _channels_first(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    channels, height, width = shape
    if array.shape[-3:] == shape and array.ndim <= 4:
        return array
    if array.shape[-3:] == (height, width, channels) and array.ndim <= 4:
        return np.moveaxis(array, -1, -3)
    if channels == 1 and array.shape == (height, width):
        return array[None]
    raise ValueError(
        f"float pixels have the student's own size, {shape} or {(height, width, channels)}, or "
        f"several of them before it; got shape {array.shape}: what must be brought to that size is "
        "a file, a picture of Pillow or uint8 pixels (h, w, channels), which of floats in [0, 1] "
        "are (255 * array).round().astype('uint8')."
    )


def refuse_range(low: float, high: float, plural: str) -> None:
    """Refuse values of images that are not in [0, 1].

    Args:
        low: The smallest.
        high: The largest.
        plural: What they are.

    Raises:
        ValueError: If they are not.
    """
    if not -TOLERANCE <= low <= high <= 1 + TOLERANCE:
        raise ValueError(
            f"the student takes {plural} in [0, 1], and normalises them itself; got values from "
            f"{low:.3g} to {high:.3g}."
        )


def picture_file(given: str | Path) -> Path:
    """Return the path of a picture file.

    Raises:
        ValueError: If it is a folder.
        FileNotFoundError: If there is no such file.
    """
    path = Path(located(given))
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the pictures in it, sorted(folder.iterdir()).")
    if not path.exists():
        raise FileNotFoundError(f"{nothing_at(path)}.")
    try:
        refuse_irregular(path)
    except ValueError as error:
        raise ValueError(f"{path} is no picture: {error}.") from error
    return path


def _image(given: Any, shape: tuple[int, ...]) -> Pixels:
    if isinstance(given, np.ndarray):
        return _pixels_of(given, shape)
    file = picture_file(given) if isinstance(given, str | Path) else given
    if not isinstance(file, Path | bytes | Pillow.Image):
        raise ValueError(
            "a picture is a path, the contents of a file, a picture of Pillow or an array of "
            f"pixels, and tensors are given as one (torch.stack); got {type(given).__name__}."
        )
    try:
        if isinstance(file, Pillow.Image):
            return fitted(file, shape)
        return pixels(io.BytesIO(file) if isinstance(file, bytes) else file, shape)
    # Pillow raises many kinds of errors on broken files; none of them is ours.
    except Exception as error:
        name = readable(file, 200) if isinstance(file, Path) else "a picture"
        raise ValueError(f"{name} cannot be read: {readable(error, 200)}.") from error


def _pixels_of(given: npt.NDArray[Any], shape: tuple[int, ...]) -> Pixels:
    channels, height, width = shape
    if given.dtype != np.uint8 or not (
        given.ndim == 2 or (given.ndim == 3 and given.shape[2] in (channels, *CHANNELS))
    ):
        floats = np.issubdtype(given.dtype, np.floating)
        way_out = (
            "; of floats in [0, 1] it is (255 * array).round().astype('uint8')" if floats else ""
        )
        raise ValueError(
            "an array of pixels is uint8, (h, w) or (h, w, channels); got "
            f"{given.dtype} of shape {given.shape}{way_out}."
        )
    if given.shape == (height, width, channels):  # as it is, whatever the channels mean
        return np.ascontiguousarray(given.transpose(2, 0, 1))
    grey = given.ndim == 3 and given.shape[2] == 1
    return fitted(Pillow.fromarray(given[:, :, 0] if grey else given), shape)


def arrays(given: Sequence[Any], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return arrays of numbers, or of `.npy` files, as one of float32 `(n, *shape)`.

    Raises:
        ValueError: If something among it is no array of this shape; the message names it.
        OSError: If a file cannot be read.
    """
    rows = [_array(each) for each in given]
    for i, row in enumerate(rows):
        if row.shape != shape:
            raise ValueError(
                f"the student takes arrays of shape {shape}; sample {i} has {row.shape}: give a "
                "list of arrays, one alone as [array]."
            )
    return np.stack(rows) if rows else np.empty((0, *shape), np.float32)


def _array(given: Any) -> npt.NDArray[np.float32]:
    if isinstance(given, str | Path):
        given = read_array(Path(located(given)))
    try:
        return np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the student takes arrays of numbers; got {type(given).__name__}: {error}."
        ) from error


def texts(given: Any) -> list[str]:
    """Return texts as they are.

    Raises:
        ValueError: If they are no list of texts: a text alone would be read letter by letter.
    """
    if not isinstance(given, list | tuple):
        kind = type(given).__name__
        way_out = ": a text alone is [text]" if isinstance(given, str) else ""
        raise ValueError(f"the student takes a list of texts; got {kind}{way_out}.")
    for i, text in enumerate(given):
        if not isinstance(text, str):
            raise ValueError(
                f"the student takes texts; sample {i} is {readable(repr(text))}, of type "
                f"{type(text).__name__}."
            )
        if not text.isascii() and _SURROGATES.search(text):
            raise ValueError(
                f"the student takes texts that can be encoded; sample {i} holds half of a "
                f"surrogate pair: {readable(text)!r}."
            )
    return list(given)
