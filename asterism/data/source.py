"""Sources: numbered samples that can be fetched in any order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from asterism.data.values import read_ids, read_labels
from asterism.modality import IMAGE, Modality
from asterism.settings import Settings
from asterism.types import Batch, Shape
from asterism.views import Views


class Blocks(NamedTuple):
    """Rows that are read together, of data that are not in memory.

    Attributes:
        ends: For each block the row after its last.
        together: How many are in memory at a time.
    """

    ends: tuple[int, ...]
    together: int

    def mixed(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return rows in a random order that needs few blocks at a time: blocks, then in them."""
        cuts = torch.searchsorted(rows.sort().values, torch.tensor(self.ends[:-1]))
        blocks = rows.sort().values.tensor_split(cuts)
        order = torch.randperm(len(blocks), generator=generator)
        pools = [torch.cat([blocks[i] for i in some]) for some in torch.split(order, self.together)]
        mixed = [pool[torch.randperm(len(pool), generator=generator)] for pool in pools]
        return torch.cat(mixed)


class Source(Dataset[Batch]):
    """A fixed, numbered set of samples of one modality, with or without labels.

    Attributes:
        modality: What the samples are.
        shape: Size of each sample; None for texts.
        targets: Class numbers of all samples, shape `(n,)`; None without labels.
        names: Names of the classes; None without labels.
        flip: Whether a mirrored image is still the same thing (false for digits and letters).
        augmented: Whether the images come augmented already; no views are made of them then.
        in_memory: Whether all samples are in memory, so that fetching them takes no time.
        ids: A name for each sample that outlives its row (file name, id column); None for data
            whose samples are known by their row alone.
        place: Where the samples are from, for messages.
        unusable: Rows that are known to be no samples before they are fetched, with the reason.
        strays: What lies beside the samples and is no row, counted by what it is.
        notes: What a reader of this source must know: which columns are used, what is not taken.
        found_size: Median width and height of the pictures before they are brought to `shape`;
            None for samples that keep the size they have.
        blocks: Which rows are read together; None where any row costs the same.
        broken: Samples that could not be read so far, by name (kept by the loader).
    """

    modality: Modality = IMAGE
    shape: Shape = None
    targets: Tensor | None = None
    names: tuple[str, ...] | None = None
    flip: bool = True
    augmented: bool = False
    in_memory: bool = False
    ids: Sequence[str] | None = None
    place: str = "the data"
    unusable: Mapping[int, str] = {}
    strays: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()
    found_size: tuple[int, int] | None = None
    blocks: Blocks | None = None
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the samples of these rows, as they are, as one batch; those left out are named."""
        batch = self.fetch([row for row in rows if row not in self.unusable])
        named = tuple(self.told(row) for row in rows if row in self.unusable)
        return replace(batch, broken=(*batch.broken, *named)) if named else batch

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Return the samples of rows, none of which is left out; what cannot be read is named."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return a short hash of the contents."""
        raise NotImplementedError

    def usable(self) -> Tensor:
        """Return the rows that are not left out."""
        kept = torch.ones(len(self), dtype=torch.bool)
        kept[list(self.unusable)] = False
        return torch.nonzero(kept).flatten()

    def some(self, rows: Tensor, count: int) -> Tensor:
        """Return about so many of some rows, spread over all: folders come sorted by class."""
        return rows[:: max(1, len(rows) // count)]

    def name_of(self, row: int) -> str:
        """Return by what a reader finds a sample: its id, or else its row."""
        return str(row) if self.ids is None else str(self.ids[row])

    def told(self, row: int) -> str:
        """Return a row that is left out, with the reason."""
        return f"{self.place}, row {row + 1} ({self.unusable[row]})"

    def repeats(self) -> bool:
        """Return whether a sample is the same when it is fetched again."""
        return not self.augmented

    def views(self, settings: Settings, *, virtual: int) -> Views | None:
        """Return what makes the training views; None for samples that are taken as they come.

        Raises:
            ValueError: If virtual views are asked for of images that come augmented.
        """
        if virtual and self.augmented:
            raise ValueError(
                "virtual views are made of uint8 images; this dataset gives float images, which "
                "are taken as they come."
            )
        if self.augmented:
            return None
        return self.modality.views(self.shape, settings, virtual=virtual, flip=self.flip)

    def words(self) -> str:
        """Return what the samples are, in words."""
        return self.modality.described(self.shape)

    def describe(
        self,
        *,
        unusable: Mapping[int, str] | None = None,
        labels: Any = None,
        names: Any = None,
        ids: Any = None,
    ) -> None:
        """Take labels and ids as they are written, and leave out the rows that lack theirs.

        Args:
            unusable: Rows that are left out anyway, with the reason.
            labels: A label for each row: numbers or names; None for data without labels.
            names: Names of the classes by number, where they are declared.
            ids: A name for each row, or None.

        Raises:
            ValueError: If they do not fit, or no row is left.
        """
        reasons = dict(unusable or {})
        if labels is not None:
            read = read_labels(labels, len(self), names, place=self.place, skipped=reasons)
            self.targets, self.names = read.targets, read.names
            reasons = read.missing | reasons
        if ids is not None:
            self.ids, missing = read_ids(ids, len(self), place=self.place)
            reasons = missing | reasons
        if not len(self) or len(reasons) == len(self):
            reason = f": row 1 has {reasons[0]}" if reasons else ""
            raise ValueError(f"{self.place} has no row that can be used{reason}.")
        self.unusable = reasons

    def _targets_of(self, index: Tensor) -> Tensor | None:
        return None if self.targets is None else self.targets[index]


class LeftOut(Source):
    """Another source without some of its samples; all rows keep their numbers."""

    def __init__(self, source: Source, reasons: Mapping[int, str]) -> None:
        """Leave out these rows, each for the reason that is told with it."""
        self.source = source
        self.reasons = dict(reasons)
        self.modality = source.modality
        self.shape = source.shape
        self.targets = source.targets
        self.names = source.names
        self.flip = source.flip
        self.augmented = source.augmented
        self.in_memory = source.in_memory
        self.ids = source.ids
        self.place = source.place
        self.unusable = {**self.reasons, **source.unusable}
        self.strays = source.strays
        self.notes = source.notes
        self.found_size = source.found_size
        self.blocks = source.blocks

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.source)

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Return the samples of rows that are not left out."""
        return self.source.__getitems__(rows)

    def told(self, row: int) -> str:
        """Return a row that is left out, with the reason."""
        if row in self.source.unusable:
            return self.source.told(row)
        return f"{self.name_of(row) if self.ids else f'row {row + 1}'} ({self.reasons[row]})"

    def fingerprint(self) -> str:
        """Return the other source's."""
        return self.source.fingerprint()

    def some(self, rows: Tensor, count: int) -> Tensor:
        """Return what the other source does."""
        return self.source.some(rows, count)

    def name_of(self, row: int) -> str:
        """Return the other source's name of a row."""
        return self.source.name_of(row)

    def repeats(self) -> bool:
        """Return what the other source does."""
        return self.source.repeats()
