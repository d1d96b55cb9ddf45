"""Filling a cache: the teacher runs over all rows, shard by shard, in one process or several."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from asterism.data import Loader, Source
from asterism.names import part_of
from asterism.storage import made
from asterism.teachers.cache import CLEAN, Cache, view_name
from asterism.teachers.cached import Table
from asterism.teachers.manifest import DTYPES, PRECISIONS
from asterism.types import Batch, Outputs, Samples, as_input, on_device

# Largest difference, relative to the largest value: other batches round otherwise, and so do the
# two formats that outputs are kept in.
TOLERANCE = {"32": 2e-3, "16": 2e-2, "bf16": 5e-2}


@dataclass
class Claim:
    """A shard that this process works on, and what it has of it so far."""

    first: int
    end: int
    views: list[str]
    lock: FileLock | None
    read: Tensor
    arrays: dict[str, dict[str, Tensor]]
    done: int = 0


class Filler:
    """Runs a teacher over what is missing in a cache.

    A shard is computed whole, always in the same batches, and appears under its name only when it
    is complete. So what a cache holds does not depend on who was killed when. A process takes a
    shard by a lock that dies with it; others go on with the rest. On a store there are no locks: a
    shard that two compute is written twice, with the same bytes.
    """

    def __init__(
        self,
        cache: Cache,
        network: nn.Module,
        *,
        device: torch.device | str = "cpu",
        workers: int = 0,
        share: str = "1/1",
        after: Callable[[int], None] = lambda unwritten: None,
    ) -> None:
        """Prepare the teacher.

        Args:
            cache: What to fill.
            network: The teacher's network.
            device: Where it runs.
            workers: Processes that decode pictures.
            share: `i/n`: the i-th of n parts of the shards, for machines that share the work.
            after: Called after each batch with the number of outputs that are not in files yet.
        """
        self.cache = cache
        self.manifest = cache.manifest
        self.device = torch.device(device)
        self.workers = workers
        self.share = share
        self.after = after
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fill(self, part: str, source: Source) -> None:
        """Compute what is missing of a part, and wait for what others are computing."""
        shards = [*self.cache.shards(part)]
        shards = [shards[i] for i in part_of(self.share, len(shards))]
        while missing := self._missing(part, shards):
            if not self._pass(part, source, missing):
                time.sleep(0.5)  # others are at work on the rest; if one dies, it is taken over

    def _missing(self, part: str, shards: list[tuple[int, int]]) -> list[tuple[int, int]]:
        there = self.cache.written()
        return [shard for shard in shards if self.cache.missing(part, shard[0], there)]

    def _pass(self, part: str, source: Source, missing: list[tuple[int, int]]) -> bool:
        """Compute all shards that are free; return whether there were any."""
        claims: deque[Claim] = deque()
        worked = False
        try:
            rows = self._claimed(part, missing, claims)
            for batch in Loader(source, rows, workers=self.workers):
                worked = True
                claim = claims[0]
                self._add(batch, claim)
                claim.done += self.manifest.batch_size
                if claim.done >= claim.end - claim.first:
                    self._write(part, claim)
                    claims.popleft()
                self.after(sum(claim.done * len(claim.views) for claim in claims))
        finally:
            for claim in claims:
                if claim.lock is not None:
                    claim.lock.release()
        return worked

    def _claimed(
        self, part: str, missing: list[tuple[int, int]], claims: deque[Claim]
    ) -> Iterator[list[int]]:
        """Take one free shard after the other, and yield the rows of its batches."""
        for first, end in missing:
            name = self.cache.file(part, CLEAN, first).stem
            place = made(self.cache.folder / part) / f".{name}.lock"
            lock = FileLock(place) if isinstance(place, Path) else None
            try:
                if lock is not None:
                    lock.acquire(timeout=0)
            except Timeout:
                continue
            views = self.cache.missing(part, first)  # it may have been finished just now
            if not views:
                _unlock(lock)
                continue
            # A sample that was left out of the clean view is left out of all.
            read = torch.zeros(end - first, dtype=torch.bool)
            if CLEAN not in views:
                read = self.cache.read(part, CLEAN, first)["read"].clone()
            arrays = {
                view: {
                    name: torch.zeros(end - first, width, dtype=DTYPES[self.manifest.dtype])
                    for name, width in self.manifest.columns.items()
                }
                for view in views
            }
            claims.append(Claim(first, end, views, lock, read, arrays))
            step = self.manifest.batch_size
            for begin in range(first, end, step):
                yield list(range(begin, min(begin + step, end)))

    def _add(self, batch: Batch, claim: Claim) -> None:
        """Compute the views of a batch."""
        here = batch.index - claim.first
        samples: Samples = batch.views[0]
        if CLEAN in claim.views:
            claim.read[here] = True
        elif not claim.read[here].all():
            kept = claim.read[here].nonzero().flatten()
            here = here[kept]
            samples = samples[kept] if isinstance(samples, Tensor) else [samples[i] for i in kept]
        if len(here) < claim.read[claim.done : claim.done + self.manifest.batch_size].sum():
            raise ValueError(
                f"samples that could be read when the clean view was made cannot be read now: "
                f"{', '.join(batch.broken[:3])}. Bring them back, or make a new cache."
            )
        if len(here):
            for view, outputs in self.outputs(samples, here + claim.first, claim.views):
                self._keep(claim, view, here, outputs)

    def outputs(
        self, samples: Samples, index: Tensor, views: list[str]
    ) -> Iterator[tuple[str, Outputs]]:
        """Yield what the teacher returns for some views of samples, float32 on the CPU.

        Args:
            samples: Samples as they come from the source.
            index: Their rows.
            views: Names of the views.
        """
        samples, index = on_device(samples, self.device), index.to(self.device)
        if CLEAN in views:
            yield CLEAN, self._run(as_input(samples))
        for number in range(self.manifest.count if isinstance(samples, Tensor) else 0):
            names = [view_name(kind, number) for kind in range(1 + self.manifest.virtual)]
            if set(names) & set(views):
                for name, seen in zip(
                    names, self.manifest.views(torch.as_tensor(samples), index, number), strict=True
                ):
                    if name in views:
                        yield name, self._run(seen)

    @torch.no_grad()
    def _run(self, samples: Samples) -> Outputs:
        dtype = PRECISIONS[self.manifest.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            embedding, logits = self.network(samples)
        return Outputs(embedding.float().cpu(), None if logits is None else logits.float().cpu())

    def _keep(self, claim: Claim, view: str, here: Tensor, outputs: Outputs) -> None:
        for name, kept in claim.arrays[view].items():
            rows: Tensor = getattr(outputs, name)
            kept[here] = rows.to(kept.dtype)
            fine = kept[here].isfinite().all(1)
            if fine.all():
                continue
            worst = int(fine.long().argmin())
            sample = f"the teacher's {name} of row {claim.first + int(here[worst])}, view {view},"
            if rows[worst].isfinite().all():
                raise ValueError(
                    f"{sample} has values up to {float(rows[worst].abs().max()):.3g}, too large "
                    "for float16: use --dtype float32."
                )
            raise ValueError(f"{sample} is not finite: nothing can be learnt of it.")

    def _write(self, part: str, claim: Claim) -> None:
        for view in claim.views:  # the clean one first: the others are read by its list
            read = {"read": claim.read} if view == CLEAN else {}
            self.cache.write(part, view, claim.first, {**claim.arrays[view], **read})
        _unlock(claim.lock)


def _unlock(lock: FileLock | None) -> None:
    """Let go of a shard that is complete; nobody needs its lock any more."""
    if lock is not None:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


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
    written = cache.written()
    for part, source in sources.items():
        missing = {first: cache.missing(part, first, written) for first, _ in cache.shards(part)}
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
        for view, outputs in filler.outputs(batch.views[0], batch.index, [CLEAN, *views]):
            kept = Table(cache, part, view)(batch.index)
            _refuse_difference(outputs, kept, batch.index, cache, f"{part} data, view {view},")


def _refuse_difference(made: Outputs, kept: Outputs, index: Tensor, cache: Cache, of: str) -> None:
    """Raise a ValueError if outputs that were computed again differ from those that are kept."""
    for name, now, before in zip(made._fields, made, kept, strict=True):
        if now is None or before is None:
            continue
        off = (now - before).abs().amax(1) / now.abs().max().clamp_min(1e-12)
        if float(off.max()) > TOLERANCE[cache.manifest.precision]:
            raise ValueError(
                f"{cache.folder} does not hold what this teacher returns: its {name} of row "
                f"{int(index[int(off.argmax())])} of the {of} differs by "
                f"{100 * float(off.max()):.3g} % of the largest value. It was made with other "
                "weights, code or libraries: make a new cache."
            )
