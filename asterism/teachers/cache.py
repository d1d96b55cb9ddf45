"""A teacher's outputs on disk: one clean view of each sample, and numbered augmented ones.

They lie in shards, files of some rows of one view that know what they are and whether they are
whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asterism.documents import parse_json
from asterism.teachers.manifest import DTYPES, NAME, Manifest, read_manifest

CLEAN = "clean"
# The only key of a shard's metadata: of several the order in the file would not be certain.
KEY = "asterism"
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
        self.folder = folder
        self.manifest = manifest
        self.key = manifest.key()

    def views(self, part: str) -> list[str]:
        """Return the names of the views of a part, the clean one first."""
        numbers = range(self.manifest.count if part == "training" else 0)
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
        file = self.file(part, view, first)
        made = self.manifest
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
        rows = {part: int(known["rows"]) for part, known in self.manifest.data.items()}
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


def free_bytes(cache: Cache) -> int:
    """Return what is free on the disk of a cache, whose folder is there."""
    return shutil.disk_usage(cache.folder).free


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
            "same `asterism cache` command goes on."
        )
    if state.bytes <= READ_AT_ONCE:
        cache.check()
    return cache


def write_shard(file: Path, arrays: Mapping[str, Tensor], identity: Mapping[str, Any]) -> None:
    """Write a shard, so that under its name there is never a part of it.

    Args:
        file: Where to.
        arrays: What it holds.
        identity: What it is, as plain values.
    """
    kept = {"identity": dict(identity), "sha256": _digest(arrays, identity)}
    content = save(dict(arrays), {KEY: json.dumps(kept, sort_keys=True)})
    unfinished = file.with_name(f".{file.name}")
    unfinished.unlink(missing_ok=True)  # of a killed process, or a stranger's link
    with open(unfinished, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(unfinished, file)


def open_shard(file: Path, identity: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the arrays of a shard, memory-mapped, after reading all of it once.

    Args:
        file: The shard.
        identity: What it must be.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is cut short, not what was written, or another shard.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is gone: the same `asterism cache` writes it again.")
    way_out = "Delete it, and the same `asterism cache` writes it again."
    try:
        with safe_open(file, "pt") as opened:
            kept = parse_json((opened.metadata() or {})[KEY])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        known = dict(kept["identity"])
        digest = kept["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged or cut short: {error}. {way_out}") from error
    for name in identity:
        if known.get(name) != identity[name]:
            raise ValueError(
                f"{file} is another shard than its name says: its {name} is "
                f"{known.get(name)!r}, and {identity[name]!r} belongs here. {way_out}"
            )
    if _digest(arrays, identity) != digest:
        raise ValueError(f"{file} is damaged: its sha256 is not the one it was written with. "
                         f"{way_out}")  # fmt: skip
    return arrays


def _digest(arrays: Mapping[str, Tensor], identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name].contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data.cast("B"))
    return digest.hexdigest()
