"""The folder of a cache: made, or gone on with if data, teacher and disk allow it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch

from asterism.data import Source
from asterism.storage import Place, is_file, listed, locked, made, writing
from asterism.teachers.cache import Cache
from asterism.teachers.filler import Filler, verify
from asterism.teachers.manifest import NAME, Manifest, read_manifest
from asterism.teachers.progress import refuse_full_disk
from asterism.teachers.teacher import LiveTeacher

# Rows that are computed again, clean and in the first view, before a cache is used or goes on.
COMPARED = 8


def begin(
    folder: Place,
    wanted: Manifest,
    teacher: LiveTeacher,
    sources: Mapping[str, Source],
    device: torch.device,
    share: str = "1/1",
) -> Cache:
    """Make the folder of a cache, or go on with the one that is there.

    Args:
        folder: The folder.
        wanted: What is to be in it; there may be more views and parts than that.
        teacher: The teacher.
        sources: The data, by part.
        device: Where the teacher runs.
        share: The part of the shards that is to be filled.

    Raises:
        ValueError: If it is a cache of something else or of another teacher, holds something else,
            or does not fit on the disk.
    """

    def refuse(manifest: Manifest) -> None:
        cache = Cache(folder, replace(manifest, data=wanted.data))
        refuse_full_disk(cache, share)
        if cache.state().written:
            most = 1 + manifest.virtual
            filler = Filler(cache, teacher.network, device=device)
            verify(filler, sources, rows=COMPARED, most=most)

    return Cache(folder, replace(prepare(folder, wanted, refuse), data=wanted.data))


def prepare(
    folder: Place, wanted: Manifest, refuse: Callable[[Manifest], None] = lambda manifest: None
) -> Manifest:
    """Make the folder of a cache, or go on with the one that is there, and return its manifest.

    A cache may get more views and parts than it had.

    Args:
        folder: The folder.
        wanted: What is to be in it.
        refuse: Called before anything is written: what is refused leaves a cache as it was.

    Raises:
        ValueError: If it is a cache of something else, or holds something else.
    """
    try:
        made(folder)
    except OSError as error:
        raise ValueError(f"cannot make the cache's folder {folder}: {error.strerror}.") from error
    file = folder / NAME
    with locked(folder / ".lock"):
        known = read_manifest(folder) if is_file(file) else None
        foreign = [] if known else _names(folder)
        if foreign:
            raise ValueError(
                f"{folder} holds {foreign[0]}, which is no part of a cache: name an empty or a "
                "new folder."
            )
        if known is not None:
            known.refuse_changes(wanted, folder)
            wanted = known.joined(wanted)
        refuse(wanted)
        if wanted != known:
            with writing(file) as unfinished:
                unfinished.write_text(json.dumps(asdict(wanted), indent=2) + "\n")
    return wanted


def _names(folder: Place) -> list[str]:
    """Return what lies in a folder and is not hidden."""
    if isinstance(folder, Path):
        names = {entry.name for entry in folder.iterdir()}
    else:
        names = {name.partition("/")[0] for name in listed(folder)}
    return sorted(name for name in names if not name.startswith("."))
