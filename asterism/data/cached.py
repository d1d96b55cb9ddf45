"""The teacher of a cache: it never loads a network."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from asterism.data.cache import CLEAN, Cache, open_cache, view_name
from asterism.data.known import KnownTeacher
from asterism.data.manifest import read_manifest
from asterism.data.opening import Data
from asterism.data.sources import LeftOut, Source
from asterism.types import Outputs, outputs_on_device


class Table:
    """One view of one part, by row."""

    def __init__(self, cache: Cache, part: str, view: str) -> None:
        """Open nothing yet."""
        self.cache, self.part, self.view = cache, part, view
        self.opened: dict[int, dict[str, Tensor]] = {}

    def __call__(self, index: Tensor) -> Outputs:
        """Return the outputs on some samples, float32 on the CPU."""
        made = self.cache.manifest
        step = made.shard_rows
        found = {name: torch.empty(len(index), width) for name, width in made.columns.items()}
        first = index // step * step
        for begin in sorted(set(first.tolist())):
            if begin not in self.opened:
                self.opened[begin] = self.cache.read(self.part, self.view, begin)
            here = (first == begin).nonzero().flatten()
            for name, rows in found.items():
                rows[here] = self.opened[begin][name][index[here] - begin].float()
        return Outputs(found["embedding"], found.get("logits"))


class Tables:
    """A cache's outputs on the samples of one source."""

    def __init__(self, cache: Cache, part: str) -> None:
        """Open nothing yet."""
        self.cache, self.part = cache, part
        self.clean = Table(cache, part, CLEAN)
        self.number, self.tables = -1, dict[str, Table]()

    def of(self, index: Tensor) -> Outputs:
        """Return the outputs on some samples, clean, on the CPU."""
        return self.clean(index.cpu())

    def view(self, kind: int, number: int, index: Tensor) -> Outputs:
        """Return the outputs on the views of this number; of texts on the texts themselves."""
        if self.cache.manifest.image_shape is None:
            return outputs_on_device(self.of(index), index.device)
        if number != self.number:  # those of the last one are closed
            self.number, self.tables = number, {}
        name = view_name(kind, number)
        if name not in self.tables:
            self.tables[name] = Table(self.cache, self.part, name)
        return outputs_on_device(self.tables[name](index.cpu()), index.device)


class CachedTeacher(KnownTeacher):
    """The teacher of a cache: matched with data by their contents."""

    def __init__(self, cache: Cache) -> None:
        """Look things up in this cache."""
        super().__init__(str(cache.folder))
        self.cache = cache
        self.widths = cache.manifest.widths[0], cache.manifest.widths[1]

    def _matched(self, source: Source) -> Tables:
        manifest = self.cache.manifest
        shape = source.image_shape and list(source.image_shape)
        if shape != manifest.image_shape:
            raise ValueError(
                f"{self.place} was made of {_words(manifest.image_shape)}, and the data are "
                f"{_words(shape)}: bring pictures to the same --image-size."
            )
        fingerprint = source.fingerprint()
        for part, known in manifest.data.items():
            if known["fingerprint"] == fingerprint:
                return Tables(self.cache, part)
        held = ", ".join(
            f"{part} data {known['name']} ({known['rows']} rows, fingerprint "
            f"{known['fingerprint']})"
            for part, known in manifest.data.items()
        )
        raise ValueError(
            f"{self.place} has the teacher's outputs for {held}, and none for these data "
            f"({len(source)} rows, fingerprint {fingerprint}): name the data that it was made of, "
            "or run `asterism embed` on these (--data, --validation-data, --test-data)."
        )

    def fingerprint(self) -> str:
        """Return the fingerprint of the weights of the teacher that made it."""
        return str(self.cache.manifest.teacher["weights"])

    def without_absent(self, data: Data) -> Data:
        """Return the data without the samples that the teacher could not be shown."""
        return replace(
            data,
            source=self._left(data.source),
            validation_source=data.validation_source and self._left(data.validation_source),
            test=data.test and self._left(data.test),
        )

    def _left(self, source: Source) -> Source:
        if not self.knows(source):
            return source
        readable = self.cache.readable(self._matched(source).part)
        absent = (~readable).nonzero().flatten().tolist()
        return LeftOut(source, absent, f"not in {self.place}") if absent else source


def _words(shape: list[int] | None) -> str:
    return "texts" if shape is None else f"images of shape {tuple(shape)}"


def open_cached(folder: Path, source: Source) -> CachedTeacher:
    """Open a complete cache as the teacher of training data.

    Raises:
        FileNotFoundError: If it is not complete.
        ValueError: If it is damaged, or made of other data.
    """
    teacher = CachedTeacher(open_cache(folder))
    teacher.on(source)
    return teacher


def cached_size(folder: Path) -> int:
    """Return the height and width of the images of a cache; of texts any."""
    shape = read_manifest(folder).image_shape
    return shape[1] if shape else 32
