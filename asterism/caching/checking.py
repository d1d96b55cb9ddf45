"""Does a cache fit a training, and does its teacher still return what it holds?"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from asterism.augment import VERSION, Views
from asterism.caching.filling import Filler
from asterism.data import CachedTeacher, DatasetSource, Source
from asterism.data.cache import CLEAN
from asterism.data.cached import Table
from asterism.engine import Settings
from asterism.models import as_text, tokeniser_of
from asterism.models.adapt import Adapted
from asterism.models.hub import Prepared
from asterism.provenance import weights_fingerprint

# Largest difference, relative to the largest value: other batches round otherwise, and so do the
# two formats that outputs are kept in.
TOLERANCE = {"32": 2e-3, "16": 2e-2, "bf16": 5e-2}


def describe(name: Any, teacher: nn.Module) -> dict[str, Any]:
    """Return what a cache keeps of a teacher, as plain values.

    Args:
        name: How the user named it.
        teacher: The teacher.
    """
    # Statistics of a normalisation may be no weights: all buffers count.
    buffers = hashlib.sha256()
    for key, value in sorted(teacher.named_buffers()):
        buffers.update(key.encode() + value.detach().cpu().float().numpy().tobytes())
    tokeniser = tokeniser_of(teacher)
    parts = [str(teacher), buffers.hexdigest(), tokeniser.json if tokeniser else ""]
    parts += [str(m.embedding) for m in teacher.modules() if isinstance(m, Adapted)]
    prepared = [m for m in teacher.modules() if isinstance(m, Prepared)]
    return {
        "name": as_text(name),
        "weights": weights_fingerprint(teacher),
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
    if source.augmented or (isinstance(source, DatasetSource) and not source.repeats()):
        raise ValueError(
            "a teacher cache needs views that can be repeated, and this dataset augments its "
            "images by itself: give it without random transforms, as uint8."
        )


def settle(
    settings: Settings, teacher: nn.Module | None, views: Views | None, names: Sequence[str]
) -> tuple[Settings, Views | None]:
    """Return settings and training views with what was left open as a cache has it.

    Args:
        settings: How to train.
        teacher: The teacher; if it is no cache nothing changes.
        views: The training views by these settings.
        names: Names of the methods.

    Raises:
        ValueError: If the training asks for views that the cache does not have.
    """
    if not isinstance(teacher, CachedTeacher) or views is None:
        return settings, views
    made, place = teacher.cache.manifest, teacher.place

    def unlike(what: str, theirs: Any, ours: Any, way_out: str) -> ValueError:
        return ValueError(
            f"{place} was made with {what} {theirs}, and this training has {ours}: {way_out}, or "
            "make another cache with `asterism embed`."
        )

    if made.views_version != VERSION:
        raise unlike("version", made.views_version, f"{VERSION} of the views", "use its asterism")
    if settings.view_seed != made.view_seed:
        way_out = f"set --view-seed {made.view_seed}"
        raise unlike("view seed", made.view_seed, settings.view_seed, way_out)
    if settings.padding not in (None, made.padding):
        way_out = f"leave --padding out or set it to {made.padding}"
        raise unlike("padding", made.padding, settings.padding, way_out)
    if views.flip != made.flip:
        raise unlike("flip", made.flip, views.flip, "name the data that it was made of")
    strength = made.operations, made.magnitude
    if views.virtual and strength != (views.operations, views.magnitude):
        way_out = "set --randaugment-operations and --randaugment-magnitude to these"
        raise unlike(
            "RandAugment's operations and magnitude",
            strength,
            (views.operations, views.magnitude),
            way_out,
        )
    if (settings.view_count or 0) > made.count:
        way_out = f"set --view-count {made.count} or less"
        raise unlike("view count", made.count, settings.view_count, way_out)
    if views.virtual > made.virtual:
        wished = settings.trained_views > 1 + made.virtual
        asking = f"train_views {settings.train_views}" if wished else "; ".join(names)
        way_out = "name the teacher itself, and --teacher-cache FOLDER to keep its outputs"
        if views.virtual == 1:
            way_out = (
                "make it with `asterism embed --augment vrm`, or use a method of one view, as RKD, "
                "RRD and RRKD are"
            )
        raise ValueError(
            f"{asking} needs virtual views of each sample ({views.virtual}), and {place} has "
            f"{made.virtual}: {way_out}."
        )
    count = settings.view_count or made.count
    settled = replace(settings, padding=made.padding, view_count=count)
    return settled, replace(views, padding=made.padding)


def verify(
    filler: Filler, sources: Mapping[str, Source], *, rows: int, most: int | None = None
) -> None:
    """Compute some rows of each view again and compare.

    Args:
        filler: The cache, and the teacher that is said to have made it.
        sources: The data, by part.
        rows: How many rows of each part, spread over those whose shards are there.
        most: How many augmented views to compare beside the clean one; by default all.

    Raises:
        ValueError: If they differ; the message says where.
    """
    cache = filler.cache
    for part, source in sources.items():
        missing = {first: cache.missing(part, first) for first, _ in cache.shards(part)}
        ranges = [
            torch.arange(first, end)
            for first, end in cache.shards(part)
            if CLEAN not in missing[first]
        ]
        if not ranges:
            continue
        there = torch.cat(ranges)
        there = there[torch.linspace(0, len(there) - 1, min(rows, len(there))).long()]
        batch = source.__getitems__(there.tolist())
        if not len(batch.index):
            continue
        missed = {view for views in missing.values() for view in views}
        views = [view for view in cache.views(part) if view not in missed | {CLEAN}][:most]
        for view, made in filler.outputs(batch.views[0], batch.index, [CLEAN, *views]):
            kept = Table(cache, part, view)(batch.index)
            for name, ours, theirs in zip(made._fields, made, kept, strict=True):
                if ours is None or theirs is None:
                    continue
                off = (ours - theirs).abs().amax(1) / ours.abs().max().clamp_min(1e-12)
                if float(off.max()) > TOLERANCE[cache.manifest.precision]:
                    row = int(batch.index[int(off.argmax())])
                    raise ValueError(
                        f"{cache.folder} does not hold what this teacher returns: its {name} of "
                        f"row {row} of the {part} data, view {view}, differs by "
                        f"{100 * float(off.max()):.3g} % of the largest value. It was made with "
                        "other weights, code or libraries: make a new cache."
                    )
