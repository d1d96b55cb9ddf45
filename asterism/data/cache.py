"""A teacher's outputs on disk: one clean view of each sample, and numbered augmented ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.data.manifest import DTYPES, NAME, Manifest, read_manifest
from asterism.data.shards import open_shard, write_shard

CLEAN = "clean"
# A cache up to this size is read once before training; the shards of a larger one at first use.
READ_AT_ONCE = 2**30


@dataclass(frozen=True)
class CacheState:
    """What a cache holds.

    Attributes:
        rows: Samples by part: `training`, `validation`, `test`.
        count: Augmented views of each training sample, beside the clean one.
        virtual: Virtual views that belong to each of them.
        shards: Files when it is complete.
        written: Files that are there.
        bytes: Its size when it is complete, but for the heads of the files.
    """

    rows: dict[str, int]
    count: int
    virtual: int
    shards: int
    written: int
    bytes: int

    @property
    def complete(self) -> bool:
        """Return whether all files are there."""
        return self.written == self.shards


class Cache:
    """The folder of a cache.

    Attributes:
        folder: The folder.
        manifest: What is, or will be, in it.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Point at a folder; nothing is read or made."""
        self.folder, self.manifest, self.key = folder, manifest, manifest.key()

    def views(self, part: str) -> list[str]:
        """Return the names of the views of a part, the clean one first."""
        augmented = part == "training" and self.manifest.image_shape is not None
        numbers = range(self.manifest.count if augmented else 0)
        kinds = range(1 + self.manifest.virtual)
        return [CLEAN, *(view_name(kind, number) for number in numbers for kind in kinds)]

    def shards(self, part: str) -> Iterator[tuple[int, int]]:
        """Yield the first row of each shard and the one after its last."""
        rows, step = self.manifest.data[part]["rows"], self.manifest.shard_rows
        yield from ((first, min(first + step, rows)) for first in range(0, rows, step))

    def file(self, part: str, view: str, first: int) -> Path:
        """Return where the shard of a view is that begins with this row."""
        number = first // self.manifest.shard_rows
        return self.folder / part / view / f"{number:05}.safetensors"

    def missing(self, part: str, first: int) -> list[str]:
        """Return the views whose shard of these rows is not there yet."""
        return [view for view in self.views(part) if not self.file(part, view, first).exists()]

    def write(self, part: str, view: str, first: int, arrays: dict[str, Tensor]) -> None:
        """Write a shard: `embedding`, `logits` if there are any, for the clean view also `read`."""
        file = self.file(part, view, first)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_shard(file, arrays, self._identity(part, view, first))

    def read(self, part: str, view: str, first: int) -> dict[str, Tensor]:
        """Return the arrays of a shard after checking that it is the right one, and whole.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is damaged, or another one.
        """
        file, made = self.file(part, view, first), self.manifest
        arrays = open_shard(file, self._identity(part, view, first))
        rows = min(made.shard_rows, made.data[part]["rows"] - first)
        layout = {name: ((rows, n), DTYPES[made.dtype]) for name, n in made.columns.items()}
        clean: dict[str, Any] = {"read": ((rows,), torch.bool)} if view == CLEAN else {}
        if {name: (tuple(x.shape), x.dtype) for name, x in arrays.items()} != {**layout, **clean}:
            raise ValueError(f"{file} is damaged: its tables are not those that {NAME} describes.")
        return arrays

    def _identity(self, part: str, view: str, first: int) -> dict[str, Any]:
        fingerprint = self.manifest.data[part]["fingerprint"]
        return {"cache": self.key, "data": fingerprint, "view": view, "first row": first}

    def readable(self, part: str) -> Tensor:
        """Return for each row whether the sample could be read when the cache was made."""
        return torch.cat([self.read(part, CLEAN, first)["read"] for first, _ in self.shards(part)])

    def check(self) -> None:
        """Read everything once.

        Raises:
            FileNotFoundError: If a shard is not there.
            ValueError: If one is damaged, or not the one that its name says.
        """
        for part in self.manifest.data:
            for first, _ in self.shards(part):
                for view in self.views(part):
                    self.read(part, view, first)

    def state(self) -> CacheState:
        """Return how much of the cache is there."""
        rows = {part: int(found["rows"]) for part, found in self.manifest.data.items()}
        units = [(part, first) for part in rows for first, _ in self.shards(part)]
        shards = sum(len(self.views(part)) for part, _ in units)
        row = sum(self.manifest.widths) * DTYPES[self.manifest.dtype].itemsize
        return CacheState(
            rows=rows,
            count=self.manifest.count,
            virtual=self.manifest.virtual,
            shards=shards,
            written=shards - sum(len(self.missing(part, first)) for part, first in units),
            bytes=row * sum(n * len(self.views(part)) for part, n in rows.items()),
        )


def view_name(kind: int, number: int) -> str:
    """Return the name of a view: `real-3`, or `virtual1-3` for the first virtual one of it."""
    return f"virtual{kind}-{number}" if kind else f"real-{number}"


def is_cache(name: Any) -> bool:
    """Return whether a name is that of a cache's folder."""
    return isinstance(name, str | Path) and (Path(name) / NAME).is_file()


def open_cache(folder: Path, manifest: Manifest | None = None) -> Cache:
    """Open a complete cache.

    Args:
        folder: The folder.
        manifest: What of it is needed; by default all.

    Raises:
        FileNotFoundError: If there is none, or it is not complete.
        ValueError: If it is damaged.
    """
    cache = Cache(folder, manifest or read_manifest(folder))
    state = cache.state()
    if not state.complete:
        raise FileNotFoundError(
            f"{folder} is not complete, {state.written} of {state.shards} files are there: the "
            "same `asterism embed` command goes on."
        )
    if state.bytes <= READ_AT_ONCE:
        cache.check()
    return cache
