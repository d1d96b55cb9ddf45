"""Folders of pictures."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch

from asterism.data.source import Source
from asterism.data.values import name_of
from asterism.modality.image import decode
from asterism.pictures import opened, suffixes
from asterism.types import Batch
from asterism.words import readable

# Folders of these names are parts of the data and no classes, where there are two of them.
PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
# Folders that systems keep beside pictures, in lower case; hidden ones begin with a dot.
SYSTEMS = {
    "__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information",
}  # fmt: skip
# Pictures are brought to their own size, and to this one if they are larger.
LARGEST = 224
# So many pictures, spread over all, are asked for their size.
MEASURED = 200


class FolderSource(Source):
    """Pictures in `folder/class/*.jpg` (labelled by folder) or `folder/*.jpg` (no labels).

    Pictures are decoded when they are fetched, in worker processes during training. Broken ones
    are left out of their batch and named in `Batch.broken`.
    """

    shape: tuple[int, int, int]
    files: Sequence[Path]

    def __init__(self, folder: Path, *, image_size: int | None = None) -> None:
        """List the folder.

        Args:
            folder: The folder.
            image_size: Height and width to which each picture is brought: the shorter side is
                resized, the middle is cut out. By default their own, up to 224.

        Raises:
            FileNotFoundError: If the folder holds no picture.
            ValueError: If pictures lie beside the class folders, or the folders are parts of the
                data and no classes.
        """
        self.folder = folder
        self.place = str(folder)
        self.files, self.strays = _listed(folder)
        if not self.files:
            there = ", ".join(f"{number} {what}" for what, number in self.strays.items())
            raise FileNotFoundError(
                f"{folder} holds no picture{f' ({there})' if there else ''}: it needs files "
                "ending in .jpg, .png, .webp or another of the many formats that Pillow decodes, "
                "directly or in one folder per class."
            )
        self.ids = [p.relative_to(folder).as_posix() for p in self.files]
        self.set_size(image_size)
        parents = [p.relative_to(folder).parts[0] for p in self.files if p.parent != folder]
        if parents and len(parents) < len(self.files):
            stray = next(p for p in self.files if p.parent == folder)
            raise ValueError(
                f"{folder} holds class folders, and pictures beside them ({stray.name}): move "
                f"them into a class folder, or out of {folder}."
            )
        if parents:
            _refuse_parts(folder, sorted(set(parents)))
            self.describe(labels=parents, names=sorted({name_of(name) for name in parents}))
            self.notes = _without_pictures(folder, set(parents))

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.files)

    def set_size(self, asked: int | None) -> None:
        """Find out how large the pictures are, and bring them to a size, by default their own."""
        self.found_size = self._median_size()
        own = min(*self.found_size, LARGEST) if self.found_size else LARGEST
        size = own if asked is None else asked
        self.shape = (3, size, size)

    def _measured(self) -> list[int]:
        """Return the rows that are asked for their size."""
        rows: list[int] = (
            np.linspace(0, len(self) - 1, min(MEASURED, len(self))).astype(int).tolist()
        )
        return rows

    def _median_size(self) -> tuple[int, int] | None:
        """Return the median width and height of some pictures; None if none can be read."""
        sizes = []
        for row in self._measured():
            if row in self.unusable:
                continue
            try:
                with opened(self.picture(row)) as header:
                    sizes.append(header.size)
            except Exception:  # said when the picture is needed
                continue
        if not sizes:
            return None
        width, height = np.median(sizes, axis=0).astype(int).tolist()
        return width, height

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Decode the pictures of these rows; the broken ones are left out and named."""
        images = []
        good = []
        broken = []
        for row in rows:
            try:
                images.append(decode(self.picture(row), self.shape))
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

    def picture(self, row: int) -> Path | IO[bytes]:
        """Return the file of a row, or its bytes."""
        return self.files[row]

    def fingerprint(self) -> str:
        """Return a short hash of names and sizes of the files."""
        listing = "".join(f"{p.relative_to(self.folder)}:{p.stat().st_size}\n" for p in self.files)
        # Names of another encoding than UTF-8 are bytes that Python keeps as surrogates.
        return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()[:16]


def _listed(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """Return the pictures below a folder, sorted, and what else lies there, counted."""
    pictures: list[Path] = []
    others: Counter[str] = Counter()
    for entry in _below(folder, {os.path.realpath(folder)}):
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith(".") or entry.name.lower() in ("thumbs.db", "desktop.ini"):
            others["hidden or system files"] += 1
        elif _kind(entry) != "file":
            others["links to nothing, pipes or devices"] += 1
        elif suffix not in suffixes():
            others[f"{readable(suffix)} files" if suffix else "files without an ending"] += 1
        else:
            pictures.append(Path(entry.path))
    return sorted(pictures), dict(others.most_common())


def _kind(entry: "os.DirEntry[str]") -> Literal["folder", "file", "other"]:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    except OSError:  # a link that leads to itself
        return "other"


def _below(folder: Path | str, seen: set[str]) -> Iterator["os.DirEntry[str]"]:
    """Yield what lies below a folder and is no folder; linked folders are entered once."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _kind(entry) != "folder":
                yield entry
            elif not entry.name.startswith(".") and entry.name.lower() not in SYSTEMS:
                real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                if real not in seen:
                    yield from _below(entry.path, seen | {real})


def _refuse_parts(folder: Path, names: list[str]) -> None:
    """Raise a ValueError if the folders are training and test data and not classes."""
    parts = [name for name in names if name.lower() in PARTS]
    if len(parts) > 1 or len(parts) == len(names):
        raise ValueError(
            f"{folder} holds the folders {', '.join(parts)}, which look like parts of the data "
            f"and not like classes: name one, {folder / parts[0]}, and others as "
            "--validation-data or --test-data."
        )


def _without_pictures(folder: Path, known: set[str]) -> tuple[str, ...]:
    """Return a note that names the folders that would be classes and hold no picture."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if _kind(e) == "folder" and e.name not in known)
    names = [n for n in names if not n.startswith(".") and n.lower() not in SYSTEMS]
    if not names:
        return ()
    shown = ", ".join(map(readable, names[:3])) + (", …" if len(names) > 3 else "")
    return (f"folders without a picture, which are no classes: {shown}",)
