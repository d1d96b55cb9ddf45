"""Folders of pictures."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from asterism.data.source import Source
from asterism.modality.image import decode
from asterism.types import Batch

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
# Folders of these names alone are no classes.
PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


class FolderSource(Source):
    """Pictures in `folder/class/*.jpg` (labelled by folder) or `folder/*.jpg` (no labels).

    Pictures are decoded when they are fetched, in worker processes during training. Broken ones
    are left out of their batch and named in `Batch.broken`.
    """

    shape: tuple[int, int, int]

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
        self.folder = folder
        self.image_size = image_size
        self.shape = (3, image_size, image_size)
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
        images = []
        good = []
        broken = []
        for row in rows:
            try:
                images.append(decode(self._picture(row), self.shape))
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
        stacked = torch.stack(images) if images else torch.empty(0, *self.shape).byte()
        return Batch((stacked,), index, self._targets_of(index), broken=tuple(broken))

    def _picture(self, row: int) -> Path | IO[bytes]:
        return self.files[row]

    def fingerprint(self) -> str:
        """Return a short hash of names and sizes of the files."""
        listing = "".join(f"{p.relative_to(self.folder)}:{p.stat().st_size}\n" for p in self.files)
        # Names of another encoding than UTF-8 are bytes that Python keeps as surrogates.
        return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()[:16]


def _is_picture(path: Path) -> bool:
    """Return whether a file is a picture by its name; what systems leave behind is none."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
