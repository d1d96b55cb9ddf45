"""`DataAccount`: what was found in the data, what became of it, and what was left out and why."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from asterism.data.source import Source
from asterism.data.split import Data
from asterism.words import count, counted, listing, readable

SizeBy = Literal["user", "model", "pictures"]
CHOSEN_BY: dict[SizeBy, str] = {
    "user": "as asked",
    "model": "the size of the model",
    "pictures": "their own up to 224",
}
# So many reasons are told one by one.
MOST_REASONS = 6


@dataclass(frozen=True)
class SourceAccount:
    """What became of all that lies in one source.

    Attributes:
        name: `data`, `validation data` or `test data`.
        place: Where it is.
        found: Files, lines or rows that were found.
        used: How many are for `training`, `validation` and `test`.
        left_out: How many are left out, by reason; with `used` they add up to `found`.
        unreadable: How many of those that are used could not be read when they were needed; known
            at the end.
        notes: Which columns are used, and what may have been meant and was not taken.
    """

    name: str
    place: str
    found: int
    used: Mapping[str, int]
    left_out: Mapping[str, int]
    unreadable: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassCounts:
    """The classes of the training data.

    Attributes:
        number: How many there are.
        least: Training samples of the smallest that has any.
        smallest: Its name.
        most: Training samples of the largest.
        largest: Its name.
        empty: How many have no training sample.
    """

    number: int
    least: int
    smallest: str
    most: int
    largest: str
    empty: int


@dataclass(frozen=True)
class DataAccount:
    """What there is to train on: printed before each training, and kept in `result.json`.

    Attributes:
        samples: What the samples are: images, texts, arrays.
        sources: What became of each source.
        classes: The classes; None without labels.
        found_size: Median width and height of the pictures as they are; None for samples that
            keep their size.
        size: Height and width to which they are brought, or None.
        size_by: Who says so: the user, a model that was made for it, or the pictures.
        method: In words which methods are the default, and why; None where they were named.
    """

    samples: str
    sources: tuple[SourceAccount, ...]
    classes: ClassCounts | None
    found_size: tuple[int, int] | None
    size: int | None
    size_by: SizeBy
    method: str | None = None

    def lines(self) -> list[str]:
        """Return the account in sentences, the most important first."""
        lines = [self._first()]
        for source in self.sources:
            begin = "" if source.name == "data" else f"{source.name}: "
            if begin:
                lines.append(f"{begin}{count(sum(source.used.values()))} {self.samples}")
            if source.left_out:
                total = sum(source.left_out.values())
                lines.append(
                    f"{begin}{count(total)} of {count(source.found)} left out: "
                    f"{_reasons(source.left_out)}"
                )
            if source.unreadable:
                lines.append(f"{begin}{count(source.unreadable)} of them could not be read")
            lines += [f"{begin}{note}" for note in source.notes]
        if self.found_size is not None:
            width, height = self.found_size
            lines.append(
                f"images of {width}×{height} (median) brought to {self.size}×{self.size}, "
                f"{CHOSEN_BY[self.size_by]} (--image-size)"
            )
        return lines if self.method is None else [*lines, self.method]

    def _first(self) -> str:
        data = self.sources[0]
        used = [f"{count(n)} for {part}" for part, n in data.used.items()]
        what = f"{count(sum(data.used.values()))} {self.samples}"
        if self.classes is None:
            return f"{what} without labels: {listing(used)}"
        return f"{what} in {_sizes(self.classes)}: {listing(used)}"

    def with_unreadable(self, unreadable: Mapping[str, int]) -> "DataAccount":
        """Return the account with the number of samples that could not be read, by source."""
        sources = (replace(s, unreadable=unreadable.get(s.name, 0)) for s in self.sources)
        return replace(self, sources=tuple(sources))

    def plain(self) -> dict[str, Any]:
        """Return the account as plain values, with its sentences as `lines`."""
        return {**asdict(self), "lines": self.lines()}


def account_of(data: Data, *, size_by: SizeBy, method: str | None = None) -> DataAccount:
    """Return the account of data.

    Args:
        data: The data.
        size_by: Who chose the size of the pictures.
        method: Which methods are the default, and why, in words.
    """
    source = data.source
    sources = []
    for name, each in data.sources().items():
        parts = {"training": data.train} if each is source else {}
        if each is (data.validation_source or source):
            parts["validation"] = data.validation
        if each is data.test:
            parts["test"] = each.usable()
        used = {
            part: sum(row not in each.unusable for row in rows.tolist())
            for part, rows in parts.items()
        }
        sources.append(
            SourceAccount(
                name=name,
                place=readable(each.place, 200),
                found=len(each) + sum(each.strays.values()),
                used=used,
                left_out=_left_out(each),
                notes=each.notes,
            )
        )
    return DataAccount(
        samples=source.modality.plural,
        sources=tuple(sources),
        classes=_classes(data),
        found_size=source.found_size,
        size=data.image_size,
        size_by=size_by,
        method=method,
    )


def _left_out(source: Source) -> dict[str, int]:
    """Return how much is left out by reason, without what a reason says of one row alone."""
    reasons = Counter(dict(source.strays))
    reasons.update(reason.partition(":")[0] for reason in source.unusable.values())
    return dict(reasons.most_common())


def _classes(data: Data) -> ClassCounts | None:
    source = data.source
    if source.targets is None or source.names is None:
        return None
    targets = source.targets[data.train]
    sizes = torch.bincount(targets, minlength=data.classes or 0).tolist()
    present = [i for i, size in enumerate(sizes) if size]
    if not present:
        return None
    least, most = min(present, key=sizes.__getitem__), max(present, key=sizes.__getitem__)
    return ClassCounts(
        number=len(sizes),
        least=sizes[least],
        smallest=readable(source.names[least]),
        most=sizes[most],
        largest=readable(source.names[most]),
        empty=len(sizes) - len(present),
    )


def _sizes(classes: ClassCounts) -> str:
    """Return the number of classes, with the smallest and the largest."""
    if classes.number == 1:
        return f"1 class ({classes.largest!r})"
    said = f"{count(classes.number)} classes ("
    if classes.least == classes.most:
        said += f"{count(classes.most)} training samples each"
    else:
        said += (
            f"{count(classes.least)} training samples of {classes.smallest!r} to "
            f"{count(classes.most)} of {classes.largest!r}"
        )
    return said + (f", {count(classes.empty)} without any)" if classes.empty else ")")


def _reasons(left_out: Mapping[str, int]) -> str:
    told = [counted(n, reason) for reason, n in list(left_out.items())[:MOST_REASONS]]
    rest = sum(list(left_out.values())[MOST_REASONS:])
    return "; ".join([*told, counted(rest, "for other reasons")] if rest else told)
