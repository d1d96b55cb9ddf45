"""Shards: files of some rows of one view that know what they are and whether they are whole."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

# The only key of a shard's metadata: of several the order in the file would not be certain.
KEY = "asterism"


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
        raise FileNotFoundError(f"{file} is gone: the same `asterism embed` writes it again.")
    way_out = "Delete it, and the same `asterism embed` writes it again."
    try:
        with safe_open(file, "pt") as opened:
            kept = json.loads((opened.metadata() or {})[KEY])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        found, digest = dict(kept["identity"]), kept["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged or cut short: {error}. {way_out}") from error
    for name in identity:
        if found.get(name) != identity[name]:
            raise ValueError(
                f"{file} is another shard than its name says: its {name} is "
                f"{found.get(name)!r}, and {identity[name]!r} belongs here. {way_out}"
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
