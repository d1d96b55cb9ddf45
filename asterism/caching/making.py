"""Making a cache: what it will be of, its folder, and the outputs that are missing."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.augment import Views
from asterism.caching.beginning import begin
from asterism.caching.checking import describe, refuse_unrepeatable
from asterism.caching.filling import Filler
from asterism.caching.measuring import (
    Progress,
    bytes_to_write,
    free_bytes,
    remaining,
    samples_per_second,
)
from asterism.data import Cache, CachedTeacher, Data, Source, default_workers, open_cache
from asterism.data.manifest import Manifest
from asterism.distributed import is_first
from asterism.engine import Settings
from asterism.fitting import try_out
from asterism.models import as_text
from asterism.report.words import duration, number

# Samples that go through the teacher together, and rows of a file.
BATCH_SIZE = 256
SHARD_ROWS = 2048


def sources_of(data: Data) -> dict[str, Source]:
    """Return the sources of data by the part that they are."""
    parts = {"training": data.source, "validation": data.validation_source, "test": data.test}
    return {part: source for part, source in parts.items() if source is not None}


def manifest_of(
    teacher: nn.Module,
    data: Data,
    *,
    names: Mapping[str, Any],
    views: Views | None,
    count: int,
    **made: Any,
) -> Manifest:
    """Return what a cache will be made of.

    Args:
        teacher: The teacher.
        data: The data; all their parts.
        names: What the user calls `teacher`, `training`, `validation` and `test`; a part without a
            name has its fingerprint for one.
        views: What makes the augmented views; None for texts.
        count: How many augmented views there are to be.
        made: Other fields of the manifest.

    Raises:
        ValueError: If the data augment themselves, or the teacher cannot take them.
    """
    refuse_unrepeatable(data.source)
    taught = try_out(teacher, data, "teacher")
    views = views or Views(padding=0, flip=False)
    return Manifest(
        teacher=describe(names["teacher"], teacher),
        data={
            part: {
                "name": as_text(names.get(part, fingerprint)),
                "fingerprint": fingerprint,
                "rows": len(source),
            }
            for part, source in sources_of(data).items()
            for fingerprint in [source.fingerprint()]
        },
        image_shape=data.source.image_shape and list(data.source.image_shape),
        widths=[taught.embedding.shape[1], 0 if taught.logits is None else taught.logits.shape[1]],
        count=count if data.source.image_shape else 0,
        virtual=views.virtual,
        view_seed=views.seed,
        padding=views.padding,
        flip=views.flip,
        operations=views.operations,
        magnitude=views.magnitude,
        **made,
    )


def fill(
    cache: Cache,
    teacher: nn.Module,
    sources: Mapping[str, Source],
    *,
    device: torch.device,
    workers: int | None = None,
    processes: int = 1,
    tell: bool = True,
    after: Callable[[int], None] = lambda unwritten: None,
) -> None:
    """Compute what is missing, and tell beforehand what it takes and meanwhile how far it is.

    Args:
        cache: The cache.
        teacher: The teacher.
        sources: The data, by part.
        device: Where the teacher runs.
        workers: Processes that decode pictures.
        processes: Processes that share the work.
        tell: Whether this is the one that tells.
        after: Called after each batch of one that does not.

    """
    missing = remaining(cache)
    if not missing:
        return
    filler = Filler(cache, teacher, device=device, after=after)
    if tell:
        _announce(filler, sources, missing, processes)
        filler.after = Progress(cache, missing)
    for part, source in sources.items():
        filler.workers = default_workers(source, workers, processes)
        filler.fill(part, source)


def _announce(filler: Filler, sources: Mapping[str, Source], missing: int, processes: int) -> None:
    """Tell what a cache will take."""
    cache = filler.cache
    needed, free = bytes_to_write(cache), free_bytes(cache)
    rate = samples_per_second(filler, sources)
    each = f" in each of {processes} processes" if processes > 1 else ""
    print(
        f"cache {cache.folder}: {in_words(cache)}; {number(needed, 'bytes')} to write, "
        f"{number(free, 'bytes')} free; about {duration(missing / rate / processes)} at "
        f"{rate:.0f} samples/s{each}",
        file=sys.stderr,
        flush=True,
    )


def in_words(cache: Cache) -> str:
    """Return in words what a cache holds."""
    state, manifest = cache.state(), cache.manifest
    rows = ", ".join(f"{rows:,} {part} samples" for part, rows in state.rows.items())
    each = f", each real and {state.virtual} virtual" if state.virtual else ""
    views = f" and {state.count} augmented views{each}" if state.count else " view"
    return f"{rows}; 1 clean{views}; {sum(manifest.widths)} numbers each, {manifest.dtype}"


def fill_for(
    folder: Path, teacher: nn.Module, name: Any, data: Data, views: Views | None, settings: Settings
) -> CachedTeacher:
    """Fill the cache of a training and return its teacher; arguments as for `cache_for`."""
    cache = cache_for(folder, teacher, name, data, views, settings)
    training, device = {"training": data.source}, settings.device
    begin(cache.folder, cache.manifest, teacher, training, device)
    # What others want of the same cache is theirs to compute.
    fill(cache, teacher, training, device=device, workers=settings.workers, tell=is_first())
    return CachedTeacher(open_cache(cache.folder, cache.manifest))


def cache_for(
    folder: Path, teacher: nn.Module, name: Any, data: Data, views: Views | None, settings: Settings
) -> Cache:
    """Return the cache of a training in a folder for the caches of many; nothing is read or made.

    Args:
        folder: Holds a cache for each teacher, data and kind of views, named by their hash.
        teacher: The teacher.
        name: How the user named it.
        data: The data; only the training part is kept.
        views: What makes the training views.
        settings: How to train: a view for each epoch, or `view_count` of them.
    """
    wanted = manifest_of(
        teacher,
        replace(data, validation_source=None, test=None),
        names={"teacher": name},
        views=views,
        count=settings.view_count or settings.epochs,
        dtype="float32",
        precision="32",
        batch_size=BATCH_SIZE,
        shard_rows=SHARD_ROWS,
    )
    fingerprint = wanted.data["training"]["fingerprint"]
    return Cache(folder / f"{wanted.key()}-{fingerprint}", wanted)
