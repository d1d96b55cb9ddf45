"""What a reader of a standard archive gives: pictures in memory, or files with their classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pixels:
    """Pictures in memory.

    Attributes:
        images: uint8, shape `(n, channels, height, width)`.
        targets: Class numbers, shape `(n,)`; None without labels.
        names: Names of the classes.
        flip: Whether a mirrored picture is still the same thing.
    """

    images: Array
    targets: Array | None
    names: Sequence[str]
    flip: bool = True

    def __post_init__(self) -> None:
        """Raise a ValueError if there is not one label for each picture."""
        if self.targets is not None and len(self.targets) != len(self.images):
            raise ValueError(f"it has {len(self.images)} pictures and {len(self.targets)} labels")


@dataclass(frozen=True)
class Listed:
    """Files of pictures.

    Attributes:
        root: The folder in which they are named.
        files: Their names below it.
        labels: Name of each one's class.
        names: Names of the classes in the order of their numbers; by default sorted.
        flip: Whether a mirrored picture is still the same thing.
    """

    root: Path
    files: Sequence[str]
    labels: Sequence[str]
    names: Sequence[str] | None = None
    flip: bool = True


@dataclass(frozen=True)
class Layout:
    """A standard archive as its authors give it.

    Attributes:
        title: What it is.
        marks: Files, and folders (`name/`), by which it is known; one of alternatives (`a|b`) is
            enough.
        splits: Its parts, the one for training first.
        read: Reads one of them; a KeyError, an IndexError or a ValueError means damage.
    """

    title: str
    marks: tuple[str, ...]
    splits: tuple[str, ...]
    read: Callable[[Path, str], Pixels | Listed]

    def is_in(self, place: Path) -> bool:
        """Return whether a folder holds it."""

        def there(mark: str) -> bool:
            path = place / mark
            return path.is_dir() if mark.endswith("/") else path.is_file()

        return all(any(map(there, mark.split("|"))) for mark in self.marks)


def rows_of(file: Path, *, columns: int, skip: int = 0) -> list[list[str]]:
    """Return the words of a list's lines.

    Raises:
        ValueError: If a line has too few.
    """
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()[skip:], skip + 1):
        if not line.strip():
            continue
        words = line.split(None, columns - 1)
        if len(words) < columns:
            raise ValueError(f"{file.name}, line {number}, has {len(words)} of {columns} columns")
        rows.append([word.strip() for word in words])
    return rows


def counted_from_one(labels: Array, classes: int) -> Array:
    """Return class numbers from 0 on of some that begin at 1."""
    numbers = np.asarray(labels).reshape(-1).astype(np.int64) - 1
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < classes:
        raise ValueError(f"its classes are not numbered from 1 to {classes}")
    return numbers
