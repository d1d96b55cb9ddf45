"""The teacher of a cache: it never loads a network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from asterism.data import Data, LeftOut, Source
from asterism.models import Vocabulary
from asterism.settings import Settings
from asterism.storage import Place
from asterism.teachers.cache import CLEAN, Cache, open_cache, view_name
from asterism.teachers.description import read_card, read_vocabulary
from asterism.teachers.manifest import read_manifest
from asterism.teachers.teacher import Teacher, TeacherCard
from asterism.types import Outputs, Samples, join_outputs, outputs_on_device
from asterism.views import VERSION, Views


class Table:
    """One view of one part, by row."""

    def __init__(self, cache: Cache, part: str, view: str) -> None:
        """Open nothing yet."""
        self.cache = cache
        self.part = part
        self.view = view
        self.opened: dict[int, dict[str, Tensor]] = {}

    def __call__(self, index: Tensor) -> Outputs:
        """Return the outputs on some samples, float32 on the CPU."""
        made = self.cache.manifest
        step = made.shard_rows
        columns = {name: torch.empty(len(index), width) for name, width in made.columns.items()}
        first = index // step * step
        for begin in sorted(set(first.tolist())):
            if begin not in self.opened:
                self.opened[begin] = self.cache.read(self.part, self.view, begin)
            here = (first == begin).nonzero().flatten()
            for name, rows in columns.items():
                rows[here] = self.opened[begin][name][index[here] - begin].float()
        return Outputs(columns["embedding"], columns.get("logits"))


class Tables:
    """A cache's outputs on the samples of one source."""

    def __init__(self, cache: Cache, part: str) -> None:
        """Open nothing yet."""
        self.cache = cache
        self.part = part
        self.table = Table(cache, part, CLEAN)
        self.number = -1
        self.tables: dict[str, Table] = {}

    def clean(self, index: Tensor, samples: Samples) -> Outputs:
        """Return the outputs on some samples, clean, on the CPU."""
        return self.table(index.cpu())

    def views(self, number: int, index: Tensor, views: Sequence[Samples]) -> Outputs:
        """Return the outputs on the views of this number; the clean ones if there are no others."""
        if not self.cache.manifest.count:
            outputs = [self.clean(index, views[0])] * len(views)
        else:
            outputs = [self._view(kind, number)(index.cpu()) for kind in range(len(views))]
        return outputs_on_device(join_outputs(outputs), index.device)

    def _view(self, kind: int, number: int) -> Table:
        if number != self.number:  # those of the last one are closed
            self.number = number
            self.tables = {}
        name = view_name(kind, number)
        if name not in self.tables:
            self.tables[name] = Table(self.cache, self.part, name)
        return self.tables[name]


class CachedTeacher(Teacher):
    """The teacher of a cache: matched with data by their contents."""

    def __init__(self, cache: Cache) -> None:
        """Look things up in this cache."""
        super().__init__(str(cache.folder))
        self.cache = cache
        self.virtual = cache.manifest.virtual > 0
        self._card, self._vocabulary = read_card(cache), read_vocabulary(cache)

    @property
    def card(self) -> TeacherCard:
        """Return what the cache keeps of the network that made it."""
        return self._card

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Return what the cache keeps of the network's tokens."""
        return self._vocabulary

    def _match(self, source: Source) -> Tables:
        manifest = self.cache.manifest
        if not manifest.is_of(source):
            raise ValueError(
                f"{self.place} was made of {manifest.words()}, and the data are {source.words()}: "
                "bring pictures to the same --image-size."
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
            "or run `asterism cache` on these (--data, --validation-data, --test-data)."
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
        readable = self.cache.readable(self._match(source).part)
        absent = (~readable).nonzero().flatten().tolist()
        return LeftOut(source, dict.fromkeys(absent, f"not in {self.place}")) if absent else source

    def settle(
        self, settings: Settings, views: Views | None, methods: Sequence[str]
    ) -> tuple[Settings, Views | None]:
        """Return settings and training views, what was left open as the cache has it."""
        if views is None:
            return settings, views
        made = self.cache.manifest
        self._refuse_other_views(settings, views)
        if views.virtual > made.virtual:
            wished = settings.trained_views > 1 + made.virtual
            asking = f"train_views {settings.train_views}" if wished else "; ".join(methods)
            way_out = "name the teacher itself, and --teacher-cache FOLDER to keep its outputs"
            if views.virtual == 1:
                way_out = (
                    "make it with `asterism cache --augment vrm`, or use a method of one view, as "
                    "RKD, RRD and RRKD are"
                )
            raise ValueError(
                f"{asking} needs virtual views of each sample ({views.virtual}), and {self.place} "
                f"has {made.virtual}: {way_out}."
            )
        count = settings.view_count or made.count
        settled = replace(settings, padding=made.padding, view_count=count)
        return settled, replace(views, padding=made.padding)

    def _refuse_other_views(self, settings: Settings, views: Views) -> None:
        """Raise a ValueError if views are asked for that are made otherwise than the cache's."""
        made = self.cache.manifest

        def unlike(what: str, there: Any, here: Any, way_out: str) -> ValueError:
            return ValueError(
                f"{self.place} was made with {what} {there}, and this training has {here}: "
                f"{way_out}, or make another cache with `asterism cache`."
            )

        if made.views_version != VERSION:
            raise unlike(
                "version", made.views_version, f"{VERSION} of the views", "use its asterism"
            )
        if settings.view_seed != made.view_seed:
            way_out = f"set --view-seed {made.view_seed}"
            raise unlike("view seed", made.view_seed, settings.view_seed, way_out)
        if settings.padding not in (None, made.padding):
            way_out = f"leave --padding out or set it to {made.padding}"
            raise unlike("padding", made.padding, settings.padding, way_out)
        if views.flip != made.flip:
            raise unlike("flip", made.flip, views.flip, "name the data that it was made of")
        there, here = (made.operations, made.magnitude), (views.operations, views.magnitude)
        if views.virtual and there != here:
            way_out = "set --randaugment-operations and --randaugment-magnitude to these"
            raise unlike("RandAugment's operations and magnitude", there, here, way_out)
        crops = [(each.area, each.ratio, each.jitter) for each in (made.views, views)]
        if crops[0] != crops[1]:
            way_out = "set --crop-area, --crop-ratio and --color-jitter to these"
            raise unlike("crop area, crop ratio and color jitter", crops[0], crops[1], way_out)
        if (settings.view_count or 0) > made.count:
            way_out = f"set --view-count {made.count} or less"
            raise unlike("view count", made.count, settings.view_count, way_out)


def open_cached(folder: Place) -> CachedTeacher:
    """Open a complete cache as a teacher.

    Raises:
        FileNotFoundError: If it is not complete.
        ValueError: If it is damaged.
    """
    return CachedTeacher(open_cache(folder))


def cached_size(folder: Place) -> int | None:
    """Return the height and width of the images of a cache; of others None."""
    shape = read_manifest(folder).image_shape
    return shape[1] if shape else None
