"""Does a teacher still return what a cache holds?"""

from collections.abc import Mapping

import torch

from asterism.caching.filling import Filler
from asterism.data import Source
from asterism.data.cache import CLEAN
from asterism.data.cached import Table

# Largest difference, relative to the largest value: other batches round otherwise, and so do the
# two formats that outputs are kept in.
TOLERANCE = {"32": 2e-3, "16": 2e-2, "bf16": 5e-2}


def verify(filler: Filler, sources: Mapping[str, Source], *, rows: int) -> None:
    """Compute some rows of each view again and compare.

    Args:
        filler: The cache, and the teacher that is said to have made it.
        sources: The data, by part.
        rows: How many rows of each part, spread over those whose shards are there.

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
        views = [view for view in cache.views(part) if view not in missed | {CLEAN}]
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
