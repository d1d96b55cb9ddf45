"""Thumbnails as one picture inside the page."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Quality of WebP and share of the size, tried in this order until the sheet is small enough.
_TRIES = ((80, 1.0), (60, 1.0), (60, 0.75), (40, 0.5), (30, 0.35), (20, 0.2))


@dataclass(frozen=True)
class Sheet:
    """All thumbnails of a sample in one picture, row by row.

    Attributes:
        uri: The picture as a data URI.
        columns: Pictures in a row of it.
        rows: Rows of it.
        width: Width of one picture in the sample, in pixels.
        height: Its height.
    """

    uri: str
    columns: int
    rows: int
    width: int
    height: int

    def style(self, position: int) -> str:
        """Return the CSS that shows one picture: the shifts in percent of the sheet."""
        down, right = divmod(position, self.columns)
        x = 100 * right / max(self.columns - 1, 1)
        y = 100 * down / max(self.rows - 1, 1)
        return f"background-position:{x:.3f}% {y:.3f}%"


def sheet(thumbnails: NDArray[np.generic], *, most_bytes: int) -> Sheet:
    """Put thumbnails `(n, height, width, 3)` into one picture of at most so many bytes, if it can.

    Small pictures stay exact (PNG); the others are WebP, coarser or smaller until they fit.
    """
    n, height, width, _ = thumbnails.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    padded = np.zeros((rows * columns, height, width, 3), np.uint8)
    padded[:n] = thumbnails
    grid = padded.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    whole = Image.fromarray(np.ascontiguousarray(grid.reshape(rows * height, columns * width, 3)))
    if grid.nbytes <= most_bytes:
        return _sheet("png", _encoded(whole, "PNG", optimize=True), columns, rows, width, height)
    for quality, share in _TRIES:
        # Whole pixels for each picture: a picture must not bleed into its neighbour.
        small = max(1, round(width * share)), max(1, round(height * share))
        size = small[0] * columns, small[1] * rows
        smaller = whole if share == 1 else whole.resize(size, Image.Resampling.BOX)
        content = _encoded(smaller, "WEBP", quality=quality)
        if len(content) <= most_bytes:
            break
    return _sheet("webp", content, columns, rows, width, height)


def _sheet(kind: str, content: bytes, *layout: int) -> Sheet:
    return Sheet(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", *layout)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
