"""Folders of pictures."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from asterism.data.sources import Source
from asterism.types import Batch

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
# Folders of these names alone are no classes.
PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


class FolderSource(Source):
    """Pictures in `folder/class/*.jpg` (labelled by folder) or `folder/*.jpg` (no labels).

    Pictures are decoded when they are fetched, in worker processes during training. Broken ones
    are left out of their batch and named in `Batch.broken`.
    """

    image_shape: tuple[int, int, int]

    def __init__(
        self, folder: Path, *, image_size: int, names: Sequence[str] | None = None
    ) -> None:
        """List the folder.

        Args:
            folder: The folder.
            image_size: Height and width to which each picture is brought: the shorter side is
                resized, the middle is cut out.
            names: Class folders in the order of their numbers; by default those found, sorted.

        Raises:
            FileNotFoundError: If the folder holds no picture.
            ValueError: If a class folder is not among `names`, pictures lie beside the folders, or
                the folders are parts of the data and no classes.
        """
        self.folder, self.image_size = folder, image_size
        self.image_shape = (3, image_size, image_size)
        self.files = sorted(p for p in folder.rglob("*") if _is_picture(p.relative_to(folder)))
        if not self.files:
            raise FileNotFoundError(
                f"{folder} holds no picture: it needs files ending in "
                f"{', '.join(sorted(SUFFIXES))}, directly or in one folder per class."
            )
        self.ids = [p.relative_to(folder).as_posix() for p in self.files]
        parents = [p.relative_to(folder).parts[0] for p in self.files if p.parent != folder]
        if parents and len(parents) < len(self.files):
            stray = next(p for p in self.files if p.parent == folder)
            raise ValueError(
                f"{folder} holds class folders, and pictures beside them ({stray.name}): move "
                f"them into a class folder, or out of {folder}."
            )
        if parents and {name.lower() for name in parents} <= PARTS:
            raise ValueError(
                f"{folder} holds the folders {', '.join(sorted(set(parents)))}, which look like "
                f"parts of the data and not like classes: name one, {folder / parents[0]}, and "
                "others as --validation-data or --test-data."
            )
        if parents:
            self.names = tuple(names or sorted(set(parents)))
            unknown = sorted(set(parents) - set(self.names))
            if unknown:
                raise ValueError(
                    f"{folder} has the class folder {unknown[0]!r}, which the training data lack."
                )
            number = {name: i for i, name in enumerate(self.names)}
            self.targets = torch.tensor([number[parent] for parent in parents])

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.files)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Decode the pictures of these rows; the broken ones are left out and named."""
        images, good, broken = [], [], []
        for row in rows:
            try:
                images.append(decode(self._picture(row), self.image_shape))
                good.append(row)
            # Pillow raises many kinds of errors on broken files; none of them is ours.
            except Exception as error:
                if not self.folder.exists():
                    raise FileNotFoundError(
                        f"the data folder {self.folder} is gone: bring it back, and go on with "
                        "--resume."
                    ) from error
                broken.append(f"{self.files[row]} ({error})")
        index = torch.tensor(good, dtype=torch.int64)
        stacked = torch.stack(images) if images else torch.empty(0, *self.image_shape).byte()
        return Batch((stacked,), index, self._targets_of(index), broken=tuple(broken))

    def _picture(self, row: int) -> Path | IO[bytes]:
        return self.files[row]

    def fingerprint(self) -> str:
        """Return a short hash of names and sizes of the files."""
        listing = "".join(f"{p.relative_to(self.folder)}:{p.stat().st_size}\n" for p in self.files)
        # Names of another encoding than UTF-8 are bytes that Python keeps as surrogates.
        return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()[:16]


def decode(file: Path | IO[bytes], image_shape: tuple[int, int, int]) -> Tensor:
    """Return a picture as uint8 `(channels, height, width)`, upright, middle part, resized.

    Whatever is transparent is laid on white.
    """
    channels, height, width = image_shape
    with warnings.catch_warnings():
        # A picture above Pillow's limit would take gigabytes to decode: it counts as broken.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        opened = Image.open(file)
    with opened:
        opened.draft("RGB", (2 * width, 2 * height))  # JPEG decodes smaller sizes much faster
        picture = _eight_bits(ImageOps.exif_transpose(opened))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
    fitted = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    array = np.asarray(fitted).reshape(height, width, channels)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _is_picture(path: Path) -> bool:
    """Return whether a file is a picture by its name; what systems leave behind is none."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a grey picture of 16 bits with 8 (Pillow would cut values off at 255)."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
