"""Making a cache: what it will be of, and the outputs that are missing."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asterism.data import Data, Source, default_workers
from asterism.distributed import is_first
from asterism.modality import ARRAY
from asterism.models.adapt import Adapted
from asterism.models.hub import Prepared
from asterism.names import all_as_text, as_text
from asterism.settings import Settings
from asterism.storage import Place, free_bytes, is_file
from asterism.teachers.cache import Cache, open_cache
from asterism.teachers.cached import CachedTeacher
from asterism.teachers.filler import Filler
from asterism.teachers.folder import begin
from asterism.teachers.manifest import NAME, Manifest, read_manifest
from asterism.teachers.progress import (
    Progress,
    bytes_to_write,
    remaining,
    samples_per_second,
)
from asterism.teachers.teacher import LiveTeacher
from asterism.views import Views
from asterism.words import duration, number, tell

# Samples that go through the teacher together, and rows of a file: more above so many samples.
BATCH_SIZE = 256
SHARD_ROWS, LARGE_SHARD_ROWS, MANY_ROWS = 2048, 16_384, 10_000_000


def sources_of(data: Data) -> dict[str, Source]:
    """Return the sources of data by the part that they are."""
    parts = {"training": data.source, "validation": data.validation_source, "test": data.test}
    return {part: source for part, source in parts.items() if source is not None}


def shard_rows(folder: Place, data: Data) -> int:
    """Return the rows of a file: as the cache in the folder has them, or by how many there are."""
    if is_file(folder / NAME):
        return read_manifest(folder).shard_rows
    rows = max(len(source) for source in sources_of(data).values())
    return LARGE_SHARD_ROWS if rows > MANY_ROWS else SHARD_ROWS


def describe(name: Any, teacher: LiveTeacher) -> dict[str, Any]:
    """Return what a cache keeps of a teacher, as plain values.

    Args:
        name: How the user named it.
        teacher: The teacher.
    """
    network = teacher.network
    # Statistics of a normalisation may be no weights: all buffers count.
    buffers = hashlib.sha256()
    for key, value in sorted(network.named_buffers()):
        buffers.update(key.encode() + value.detach().cpu().float().numpy().tobytes())
    vocabulary = teacher.vocabulary
    parts = [str(network), buffers.hexdigest(), (vocabulary and vocabulary.tokeniser) or ""]
    parts += [str(m.embedding) for m in network.modules() if isinstance(m, Adapted)]
    prepared = [m for m in network.modules() if isinstance(m, Prepared)]
    return {
        "name": all_as_text(name),
        "weights": teacher.fingerprint(),
        "architecture": hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16],
        "preprocessing": [
            {
                "size": m.size,
                "mean": m.normalise.mean.flatten().tolist(),
                "std": m.normalise.std.flatten().tolist(),
            }
            for m in prepared
        ],
    }


def refuse_unrepeatable(source: Source) -> None:
    """Raise a ValueError if the data augment themselves, so that no view can be repeated."""
    if not source.repeats():
        raise ValueError(
            "a teacher cache needs views that can be repeated, and this dataset augments its "
            "images by itself: give it without random transforms, as uint8."
        )


def manifest_of(
    teacher: LiveTeacher,
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
        views: What makes the augmented views; None for samples that have the clean one alone.
        count: How many augmented views there are to be.
        made: Other fields of the manifest.

    Raises:
        ValueError: If the data augment themselves.
    """
    source = data.source
    refuse_unrepeatable(source)
    arrays = source.modality is ARRAY
    size = None if source.shape is None else list(source.shape)
    count = 0 if views is None else count
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
        image_shape=None if arrays else size,
        kind=source.modality.name if arrays else None,
        shape=size if arrays else None,
        widths=[teacher.card.width, teacher.card.classes],
        count=count,
        virtual=views.virtual,
        view_seed=views.seed,
        padding=views.padding,
        flip=views.flip,
        operations=views.operations,
        magnitude=views.magnitude,
        crop_area=None if views.area is None else list(views.area),
        crop_ratio=views.ratio,
        color_jitter=views.jitter,
        **made,
    )


def fill(
    filler: Filler,
    sources: Mapping[str, Source],
    *,
    workers: int | None = None,
    processes: int = 1,
    tell: bool = True,
) -> None:
    """Compute what is missing, and tell beforehand what it takes and meanwhile how far it is.

    Args:
        filler: The cache, and the teacher.
        sources: The data, by part.
        workers: Processes that decode pictures.
        processes: Processes that share the work.
        tell: Whether this is the one that tells.
    """
    missing = remaining(filler.cache, filler.share)
    if not missing:
        return
    if tell:
        _announce(filler, sources, missing, processes)
        filler.after = Progress(filler.cache, missing, filler.share)
    for part, source in sources.items():
        filler.workers = default_workers(source, workers, processes)
        filler.fill(part, source)


def _announce(filler: Filler, sources: Mapping[str, Source], missing: int, processes: int) -> None:
    """Tell what a cache will take."""
    cache = filler.cache
    needed, free = bytes_to_write(cache, filler.share), free_bytes(cache.folder)
    room = "" if free is None else f", {number(free, 'bytes')} free"
    rate = samples_per_second(filler, sources)
    each = f" in each of {processes} processes" if processes > 1 else ""
    part = "" if filler.share == "1/1" else f"part {filler.share}, "
    tell(
        f"cache {cache.folder}: {in_words(cache)}; {part}{number(needed, 'bytes')} to write"
        f"{room}; about {duration(missing / rate / processes)} at "
        f"{rate:,.0f} samples/s{each}"
    )


def in_words(cache: Cache) -> str:
    """Return in words what a cache holds."""
    state, manifest = cache.state(), cache.manifest
    rows = ", ".join(f"{rows:,} {part} samples" for part, rows in state.rows.items())
    each = f", each real and {state.virtual} virtual" if state.virtual else ""
    views = f" and {state.count} augmented views{each}" if state.count else " view"
    return f"{rows}; 1 clean{views}; {sum(manifest.widths)} numbers each, {manifest.dtype}"


def fill_for(
    folder: Path,
    teacher: LiveTeacher,
    name: Any,
    data: Data,
    *,
    views: Views | None,
    settings: Settings,
) -> CachedTeacher:
    """Fill the cache of a training and return its teacher; arguments as for `cache_for`."""
    cache = cache_for(folder, teacher, name, data, views=views, settings=settings)
    training, device = {"training": data.source}, settings.device
    begin(cache.folder, cache.manifest, teacher, training, device)
    # Only what this training takes: another of the same cache computes what it takes itself.
    filler = Filler(cache, teacher.network, device=device)
    fill(filler, training, workers=settings.workers, tell=is_first())
    return CachedTeacher(open_cache(cache.folder, cache.manifest))


def cache_for(
    folder: Path,
    teacher: LiveTeacher,
    name: Any,
    data: Data,
    *,
    views: Views | None,
    settings: Settings,
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
