"""A teacher's outputs on disk: one clean view of each sample, and numbered augmented ones.

They lie in shards, files of some rows of one view that know what they are and whether they are
whole.
"""

import hashlib
import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from asterism.documents import parse_json
from asterism.storage import Place, is_file, listed, made, opened, place, read, write
from asterism.teachers.manifest import DTYPES, NAME, Manifest, read_manifest

CLEAN = "clean"
# What says that all shards were there, and whole.
SEAL = "sealed.json"
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

    def __init__(self, folder: Place, manifest: Manifest) -> None:
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

    def file(self, part: str, view: str, first: int) -> Place:
        """Return where the shard of a view is that begins with this row."""
        return self.folder / part / view / self._name(first)

    def _name(self, first: int) -> str:
        return f"{first // self.manifest.shard_rows:05}.safetensors"

    def written(self) -> dict[str, int]:
        """Return the sizes of the files that are there, by their path in the folder."""
        return listed(self.folder)

    def missing(self, part: str, first: int, written: Container[str] | None = None) -> list[str]:
        """Return the views whose shard of these rows is not there yet.

        Args:
            part: The part.
            first: The first row.
            written: What is there, as `written` lists it; by default each file is asked for.
        """
        if written is None:
            return [v for v in self.views(part) if not is_file(self.file(part, v, first))]
        name = self._name(first)
        return [view for view in self.views(part) if f"{part}/{view}/{name}" not in written]

    def write(self, part: str, view: str, first: int, arrays: dict[str, Tensor]) -> None:
        """Write a shard: `embedding`, `logits` if there are any, for the clean view also `read`."""
        file = made(self.folder / part / view) / self._name(first)
        write_shard(file, arrays, self._identity(part, view, first))

    def read(self, part: str, view: str, first: int) -> dict[str, Tensor]:
        """Return the arrays of a shard after checking that it is the right one, and whole.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is damaged, or another one.
        """
        return self._read(part, view, first)[0]

    def _read(self, part: str, view: str, first: int) -> tuple[dict[str, Tensor], str]:
        file = self.file(part, view, first)
        made = self.manifest
        arrays, sha256 = _opened(file, self._identity(part, view, first))
        rows = min(made.shard_rows, made.data[part]["rows"] - first)
        layout = {name: ((rows, n), DTYPES[made.dtype]) for name, n in made.columns.items()}
        clean: dict[str, Any] = {"read": ((rows,), torch.bool)} if view == CLEAN else {}
        if {name: (tuple(x.shape), x.dtype) for name, x in arrays.items()} != {**layout, **clean}:
            raise ValueError(f"{file} is damaged: its tables are not those that {NAME} describes.")
        return arrays, sha256

    def _identity(self, part: str, view: str, first: int) -> dict[str, Any]:
        fingerprint = self.manifest.data[part]["fingerprint"]
        return {"cache": self.key, "data": fingerprint, "view": view, "first row": first}

    def names(self) -> Iterator[str]:
        """Yield the paths of all shards in the folder, there or not."""
        for part in sorted(self.manifest.data):
            for first, _ in self.shards(part):
                yield from (f"{part}/{view}/{self._name(first)}" for view in self.views(part))

    def readable(self, part: str) -> Tensor:
        """Return for each row whether the sample could be read when the cache was made."""
        return torch.cat([self.read(part, CLEAN, first)["read"] for first, _ in self.shards(part)])

    def check(self) -> str:
        """Read everything once; return the SHA-256 of all shards' own.

        Raises:
            FileNotFoundError: If a shard is not there.
            ValueError: If one is damaged, or not the one that its name says.
        """
        digest = hashlib.sha256()
        for part in sorted(self.manifest.data):
            for first, _ in self.shards(part):
                for view in self.views(part):
                    _, sha256 = self._read(part, view, first)
                    digest.update(f"{part}/{view}/{self._name(first)} {sha256}\n".encode())
        return digest.hexdigest()

    def state(self) -> CacheState:
        """Return how much of the cache is there."""
        rows = {part: int(known["rows"]) for part, known in self.manifest.data.items()}
        there = self.written()
        found = [name in there for name in self.names()]
        row = sum(self.manifest.widths) * DTYPES[self.manifest.dtype].itemsize
        return CacheState(
            rows=rows,
            count=self.manifest.count,
            virtual=self.manifest.virtual,
            shards=len(found),
            written=sum(found),
            bytes=row * sum(n * len(self.views(part)) for part, n in rows.items()),
        )


def view_name(kind: int, number: int) -> str:
    """Return the name of a view: `real-3`, or `virtual1-3` for the first virtual one of it."""
    return f"virtual{kind}-{number}" if kind else f"real-{number}"


def is_cache(name: Any) -> bool:
    """Return whether a name is that of a cache's folder."""
    return isinstance(name, str | Path) and is_file(place(name) / NAME)


def seal(cache: Cache) -> None:
    """Read everything once, and keep that it was whole: the last file of a cache in parts.

    Raises:
        FileNotFoundError: If a shard is not there.
        ValueError: If one is damaged.
    """
    kept = {**_extent(cache), "sha256": cache.check()}
    write(cache.folder / SEAL, (json.dumps(kept, indent=2) + "\n").encode())


def refuse_unlike_seal(cache: Cache) -> None:
    """Raise a ValueError if a cache has other files than when it was sealed, if it was."""
    file = cache.folder / SEAL
    if not is_file(file):
        return
    try:
        kept = dict(parse_json(read(file)))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}. `asterism cache … --finish` "
                         "writes it again.") from error  # fmt: skip
    there = _extent(cache)
    # A cache that got more views or parts since has another manifest.
    if kept.get("manifest") == there["manifest"] and {**kept, **there} != kept:
        raise ValueError(
            f"{cache.folder} is not what was sealed: {there['files']} files of {there['bytes']} "
            f"bytes, and {kept.get('files')} of {kept.get('bytes')} were. Bring it whole, or "
            "check it again with `asterism cache … --finish`."
        )


def _extent(cache: Cache) -> dict[str, Any]:
    """Return what a listing says of a cache."""
    there = cache.written()
    shards = [there[name] for name in cache.names() if name in there]
    manifest = hashlib.sha256(json.dumps(asdict(cache.manifest), sort_keys=True).encode())
    return {"manifest": manifest.hexdigest(), "files": len(shards), "bytes": sum(shards)}


def open_cache(folder: Place, manifest: Manifest | None = None) -> Cache:
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
    if manifest is None:
        refuse_unlike_seal(cache)
    if state.bytes <= READ_AT_ONCE and isinstance(folder, Path):
        cache.check()
    return cache


def write_shard(file: Place, arrays: Mapping[str, Tensor], identity: Mapping[str, Any]) -> None:
    """Write a shard, so that under its name there is never a part of it.

    Args:
        file: Where to.
        arrays: What it holds.
        identity: What it is, as plain values.
    """
    kept = {"identity": dict(identity), "sha256": _digest(arrays, identity)}
    write(file, save(dict(arrays), {KEY: json.dumps(kept, sort_keys=True)}))


def open_shard(file: Place, identity: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the arrays of a shard, memory-mapped, after reading all of it once.

    Args:
        file: The shard.
        identity: What it must be.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is cut short, not what was written, or another shard.
    """
    return _opened(file, identity)[0]


def _opened(file: Place, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """Return the arrays of a shard, and their hash, which is right; raises as `open_shard`."""
    if not is_file(file):
        raise FileNotFoundError(f"{file} is gone: the same `asterism cache` writes it again.")
    way_out = "Delete it, and the same `asterism cache` writes it again."
    try:
        with opened(file) as here, safe_open(here, "pt") as shard:
            kept = parse_json((shard.metadata() or {})[KEY])
            arrays = {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
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
    return arrays, str(digest)


def _digest(arrays: Mapping[str, Tensor], identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name].contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data.cast("B"))
    return digest.hexdigest()
