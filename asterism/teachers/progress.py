"""How much a cache takes, of the disk and of time, before and while it is made."""

import time
from collections.abc import Mapping

import torch

from asterism.data import Source
from asterism.names import part_of
from asterism.storage import free_bytes
from asterism.teachers.cache import CLEAN, Cache
from asterism.teachers.filler import Filler
from asterism.teachers.manifest import DTYPES
from asterism.words import duration, number, tell

# Time between lines of progress: at least so many seconds, and more the longer it has taken.
SECONDS = 5.0


def remaining(cache: Cache, share: str = "1/1") -> int:
    """Return how many outputs are missing, a sample and a view each, of a part of the shards."""
    there = cache.written()
    shards = {part: [*cache.shards(part)] for part in cache.manifest.data}
    return sum(
        (each[i][1] - each[i][0]) * len(cache.missing(part, each[i][0], there))
        for part, each in shards.items()
        for i in part_of(share, len(each))
    )


def bytes_to_write(cache: Cache, share: str = "1/1") -> int:
    """Return what the missing outputs will take on the disk."""
    manifest = cache.manifest
    return remaining(cache, share) * sum(manifest.widths) * DTYPES[manifest.dtype].itemsize


def refuse_full_disk(cache: Cache, share: str = "1/1") -> None:
    """Raise a ValueError if what is still to be written does not fit on the disk."""
    needed, free = bytes_to_write(cache, share), free_bytes(cache.folder)
    if free is not None and needed > free:
        raise ValueError(
            f"{cache.folder} needs {number(needed, 'bytes')} and has {number(free, 'bytes')} free: "
            "use --dtype float16 or fewer --views, or name a folder on another disk."
        )


def samples_per_second(filler: Filler, sources: Mapping[str, Source]) -> float:
    """Return how many samples the teacher takes in a second, reading included, after a warm-up."""
    source, size = sources["training"], filler.manifest.batch_size
    rows = torch.linspace(0, len(source) - 1, min(size, len(source))).long().tolist()
    seconds, seen = 0.0, 0
    for some in (rows[:16], rows):
        begun = time.perf_counter()
        batch = source.__getitems__(some)
        for _ in filler.outputs(batch.views[0], batch.index, [CLEAN]):
            pass
        seconds, seen = time.perf_counter() - begun, len(batch.index)
    return max(seen, 1) / seconds


class Progress:
    """Lines on standard error: how far it is, and the time left.

    What other processes write into the same cache counts as well.
    """

    def __init__(self, cache: Cache, begun_with: int, share: str = "1/1") -> None:
        """Begin.

        Args:
            cache: The cache.
            begun_with: Outputs that were missing.
            share: The part of the shards that is being filled.
        """
        self.cache, self.begun_with, self.share = cache, begun_with, share
        self.begun = self.told = time.monotonic()

    def __call__(self, unwritten: int) -> None:
        """Tell now and then how far it is; `unwritten` outputs are made and in no file yet."""
        now = time.monotonic()
        if now - self.told < max(SECONDS, 0.05 * (now - self.begun)):
            return
        self.told, left = now, remaining(self.cache, self.share) - unwritten
        done, seconds = self.begun_with - left, now - self.begun
        time_left = f", {duration(seconds / done * left)} left" if done else ""
        share = 100 * done // self.begun_with
        tell(f"cache: {share} %, {duration(seconds)}{time_left}")
