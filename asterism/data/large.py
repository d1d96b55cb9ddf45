"""Parquet tables that are read by row groups: many texts, and pictures kept as bytes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from asterism.data.columns import Chosen, choose, headed
from asterism.data.folder import MEASURED
from asterism.data.groups import KEPT_BYTES, Groups, Names
from asterism.data.hub import Encoded
from asterism.data.source import Blocks, Source
from asterism.data.table import LARGE_BYTES, PictureTable
from asterism.data.text import contents
from asterism.data.values import Labels, id_of, read_labels, read_texts
from asterism.modality import IMAGE, TEXT
from asterism.storage import Place
from asterism.types import Batch
from asterism.words import tell

# A table of texts above this or LARGE_BYTES is read by row groups; smaller ones are held in memory.
LARGE_ROWS = 2_000_000
# So many blocks are read where some rows are looked at.
LOOKED_AT = 8


class Grouped(Source):
    """Samples in a Parquet file, fetched by row groups.

    The order of training is one of blocks (`asterism.data.batches.Order`): a row group is a block.
    """

    groups: Groups
    column: str

    def look_through(self, chosen: Chosen, written: Mapping[str, str]) -> None:
        """Read labels, ids and texts once; keep of each row its class, and what is wrong with it.

        Args:
            chosen: The columns.
            written: Their names in the file.

        Raises:
            ValueError: If values are none of samples, labels or ids, or no row is left.
        """
        texts = chosen.modality is TEXT
        label, key = (c and written[c] for c in (chosen.label, chosen.id))
        self.blocks = Blocks(self.groups.ends, self.groups.together)
        used = [c for c in (self.column if texts else None, label, key) if c]
        labels, names = _Labels(self.place), _Seen(self.place)
        digest = hashlib.sha256(b"" if texts else self.groups.described.encode())
        reasons: dict[int, str] = {}
        for first, some in self.groups.slices(used) if used else ():
            if texts:
                read, missing = read_texts(some.column(self.column).to_pylist())
                digest.update(b"".join(map(contents, read)))
                reasons |= {first + row: reason for row, reason in missing.items()}
            if label:
                labels.add(some.column(label), first)
            if key:
                names.add(some.column(key).to_pylist(), first)
        if label:
            self.targets, self.names, without = labels.read(reasons)
            reasons = without | reasons
            digest.update(self.targets.numpy().tobytes())
        if key:
            self.ids = Names(self.groups, key)
            reasons = names.missing(self.ids) | reasons
        if not len(self.groups) or len(reasons) == len(self.groups):
            reason = f": row 1 has {reasons[0]}" if reasons else ""
            raise ValueError(f"{self.place} has no row that can be used{reason}.")
        self.unusable = reasons
        self.digest = digest.hexdigest()[:16]
        self.notes = chosen.notes

    def some(self, rows: Tensor, count: int) -> Tensor:
        """Return about so many of some rows, of few blocks: each is read whole."""
        if self.blocks is None:
            return super().some(rows, count)
        ends = torch.tensor(self.blocks.ends)
        blocks = torch.unique(torch.searchsorted(ends, rows, right=True))
        chosen = blocks[:: max(1, len(blocks) // LOOKED_AT)][:LOOKED_AT]
        near = rows[torch.isin(torch.searchsorted(ends, rows, right=True), chosen)]
        return super().some(near, count)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.groups)

    def fingerprint(self) -> str:
        """Return a short hash of texts and labels, as `TextSource` has it; of pictures of sizes."""
        return self.digest


class GroupedTexts(Grouped):
    """Texts of which some row groups are in memory."""

    modality = TEXT

    def __init__(self, groups: Groups, chosen: Chosen, written: Mapping[str, str]) -> None:
        """Look through the table once; raises as `look_through`."""
        self.groups, self.column, self.place = groups, written[chosen.samples], str(groups.place)
        self.look_through(chosen, written)

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Return the texts of these rows."""
        index = torch.tensor(rows, dtype=torch.int64)
        texts, _ = read_texts(self.groups.take(self.column, rows))
        return Batch((texts,), index, self._targets_of(index))


class GroupedPictures(Grouped, PictureTable):
    """Pictures kept as bytes, as Hugging Face's data sets have them, decoded when fetched."""

    def __init__(
        self,
        groups: Groups,
        chosen: Chosen,
        written: Mapping[str, str],
        *,
        image_size: int | None = None,
    ) -> None:
        """Look through labels and ids once; raises as `look_through`."""
        self.groups, self.column, self.place = groups, written[chosen.samples], str(groups.place)
        self.folder = Path()
        self.files = _Rows(self.place, len(groups))
        self.look_through(chosen, written)
        if groups.bytes <= KEPT_BYTES:
            self.blocks = None  # all of it is kept
        self.set_size(image_size)

    def picture(self, row: int) -> Path | IO[bytes]:
        """Return the bytes of a row's picture."""
        cell = self.groups.take(self.column, [row])[0]
        content = cell["bytes"] if isinstance(cell, dict) else cell
        if content is None:
            named = isinstance(cell, dict) and cell.get("path")
            raise ValueError(f"no bytes, but the path {named}" if named else "no image")
        return Encoded(content)

    def _measured(self) -> list[int]:
        rows: list[int] = self.some(torch.arange(len(self)), MEASURED).tolist()
        return rows


class _Rows(Sequence[Path]):
    """What each row is called in messages."""

    def __init__(self, place: str, rows: int) -> None:
        self.place, self.rows = place, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: Any) -> Any:
        return Path(f"{self.place}, row {row + 1}")


class _Labels:
    """The labels of all rows, kept as the numbers of the values that occur."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.values: list[Any] = []
        self.number: dict[Any, int] = {}
        self.first: list[int] = []
        self.codes: list[np.ndarray[Any, Any]] = []

    def add(self, column: Any, first: int) -> None:
        """Take the labels of the rows from `first` on."""
        try:
            encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        except NotImplementedError:  # lists and the like, which are no labels
            read_labels([None] * first + column.to_pylist(), first + len(column), place=self.place)
            raise
        here = encoded.indices.to_numpy(zero_copy_only=False)
        own = []
        for place, value in enumerate(encoded.dictionary.to_pylist()):
            key = (type(value), value)
            if key not in self.number:
                self.number[key] = len(self.values)
                self.values.append(value)
                self.first.append(first + int(np.flatnonzero(here == place)[0]))
            own.append(self.number[key])
        self.codes.append(np.array(own, np.int32)[here])

    def read(self, skipped: Mapping[int, str]) -> tuple[Tensor, tuple[str, ...], dict[int, str]]:
        """Return class numbers, names, and the rows without a label; raises as `read_labels`."""
        codes = np.concatenate(self.codes) if self.codes else np.empty(0, np.int32)
        used = np.ones(len(codes), bool)
        used[list(skipped)] = False
        unused = set(range(len(self.values))) - set(np.unique(codes[used]).tolist())
        try:
            found: Labels = read_labels(
                self.values, len(self.values), place=self.place, skipped=unused
            )
        except ValueError as error:
            row = re.search(r"in row (\d+) of", str(error))
            if row is None:
                raise
            real = f"in row {self.first[int(row[1]) - 1] + 1} of"
            raise ValueError(str(error).replace(row[0], real)) from error
        missing = {
            row: reason
            for value, reason in found.missing.items()
            for row in np.flatnonzero(codes == value).tolist()
        }
        targets = found.targets[torch.from_numpy(codes.astype(np.int64))]
        targets[list(skipped)] = 0
        return targets, found.names, missing


class _Seen:
    """Which ids occur twice, by 8 bytes of each."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.hashes: list[np.ndarray[Any, Any]] = []
        self.nameless: dict[int, str] = {}

    def add(self, values: Sequence[Any], first: int) -> None:
        """Take the ids of the rows from `first` on."""
        names = [id_of(value, self.place, first + i) for i, value in enumerate(values)]
        self.nameless |= {first + i: "no id" for i, name in enumerate(names) if not name}
        short = b"".join(
            hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
            for name in names
        )
        self.hashes.append(np.frombuffer(short, np.int64))

    def missing(self, names: Sequence[str]) -> dict[int, str]:
        """Return the rows that have no id of their own, with the reason; raises as `read_ids`."""
        hashes = np.concatenate(self.hashes) if self.hashes else np.empty(0, np.int64)
        order = np.argsort(hashes, kind="stable")
        same = hashes[order[1:]] == hashes[order[:-1]]
        alike = np.unique(np.concatenate([order[1:][same], order[:-1][same]]))
        found = dict(self.nameless)
        first: dict[str, int] = {}
        for row in alike.tolist():
            if row not in self.nameless and first.setdefault(names[row], row) != row:
                found[row] = "an id that an earlier row has"
        different = len(hashes) - len(found)
        if different and different < len(hashes) / 2 < len(found):
            raise ValueError(
                f"the ids in {self.place} must name one row each; {len(hashes)} rows have "
                f"{different} different ones: name another column (?id=COLUMN), or rename this one."
            )
        return found


def open_by_groups(
    file: Place, named: Mapping[str, str], *, image_size: int | None = None
) -> Source | None:
    """Open a Parquet file by row groups; None for one that is held in memory, and for arrays.

    Args:
        file: The file.
        named: Columns by role.
        image_size: Height and width to which each picture is brought; by default their own.

    Raises:
        ValueError: If pyarrow is missing, the file cannot be read, or a column is missing.
    """
    groups = Groups(file)
    written = dict(zip(headed(groups.names, str(file)), groups.names, strict=True))
    chosen = choose(list(written), named, str(file))
    kind = str(groups.schema.field(written[chosen.samples]).type)
    groups.use([written[chosen.samples]])
    if chosen.modality is IMAGE and (kind.startswith(("struct", "binary", "large_binary"))):
        return GroupedPictures(groups, chosen, written, image_size=image_size)
    large = len(groups) > LARGE_ROWS or groups.bytes > LARGE_BYTES
    if chosen.modality is not TEXT or not large or kind not in ("string", "large_string"):
        return None
    tell(f"asterism: looking through {len(groups):,} texts of {file} …")
    return GroupedTexts(groups, chosen, written)
