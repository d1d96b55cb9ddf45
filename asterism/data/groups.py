"""Row groups: what a Parquet file can read by itself, so that a table need not fit in memory."""

import importlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import numpy as np

from asterism.data.values import id_of
from asterism.storage import Place, stream
from asterism.words import readable

# Bytes of row groups, unpacked, that are kept by a process and whose rows are mixed.
KEPT_BYTES = 2**27
# Rows whose values are Python's own at a time.
AT_ONCE = 2**16


def parquet_file(file: Place) -> Any:
    """Return a Parquet file as pyarrow opens it: nothing but its description is read.

    Raises:
        ValueError: If pyarrow is missing, or the file cannot be read.
    """
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ValueError(
            f"reading {file} needs pyarrow: pip install 'asterism[parquet]'."
        ) from error
    with in_words(file):
        return parquet.ParquetFile(stream(file))


@contextmanager
def in_words(file: Place) -> Iterator[None]:
    """Say in words that a file cannot be read, by whatever pyarrow raises."""
    try:
        yield
    except Exception as error:  # pyarrow's own kinds, which cannot be named without it
        said = readable(error, 200).rstrip(".")
        raise ValueError(f"cannot read {file}: {said}.") from error


class Groups:
    """The columns of a Parquet file, of which some row groups are in memory at a time.

    Attributes:
        names: Names of the columns as they are written.
        ends: For each group the row after its last.
        bytes: Size of the used columns, unpacked.
        described: What says of the used columns whether they are others: rows and packed sizes.
    """

    def __init__(self, file: Place) -> None:
        """Read what the file says of itself.

        Args:
            file: The file.

        Raises:
            ValueError: If pyarrow is missing, or the file cannot be read.
        """
        self.place = file
        self._opened: dict[int, Any] = {}
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self.columns: tuple[str, ...] = ()
        about = self._file().metadata
        self.schema = self._file().schema_arrow
        self.names: list[str] = list(self.schema.names)
        self._groups = [about.row_group(i) for i in range(about.num_row_groups)]
        self.ends = tuple(accumulate(group.num_rows for group in self._groups))
        self.bytes, self.together, self.described = 0, 1, ""

    def use(self, columns: Sequence[str]) -> None:
        """Read only these columns from here on."""
        self.columns = tuple(columns)
        sizes = [self._sizes(group) for group in self._groups]
        self.bytes = sum(unpacked for unpacked, _ in sizes)
        # As many as fit, and two at least, so that rows of different groups meet.
        self.together = max(2, KEPT_BYTES * len(self.ends) // max(1, self.bytes))
        self.described = f"{self.ends} {[packed for _, packed in sizes]}"
        # What the file says of all its groups is no longer needed.
        self._groups = []

    def _sizes(self, group: Any) -> tuple[int, int]:
        """Return the sizes, unpacked and packed, of the used columns of a group."""
        # A column of structs has a part for each of its fields.
        names = tuple(f"{name}." for name in self.columns)
        parts = [group.column(i) for i in range(group.num_columns)]
        used = [part for part in parts if f"{part.path_in_schema}.".startswith(names)]
        return (
            sum(part.total_uncompressed_size for part in used),
            sum(part.total_compressed_size for part in used),
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.ends[-1] if self.ends else 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {**self.__dict__, "_opened": {}, "_kept": OrderedDict()}

    def _file(self) -> Any:
        """Return the file, opened by this process: forked ones would share their place in it."""
        if (process := os.getpid()) not in self._opened:
            self._opened = {process: parquet_file(self.place)}
        return self._opened[process]

    def read(self, group: int, columns: Sequence[str]) -> Any:
        """Return columns of a group; nothing of it is kept.

        Raises:
            OSError: If it is damaged, or the store does not answer.
        """
        try:
            return self._file().read_row_group(group, columns=list(columns), use_threads=False)
        except Exception as error:  # pyarrow's own kinds, and those of stores
            raise OSError(f"cannot read row group {group} of {self.place}: {error}.") from error

    def _group(self, number: int) -> Any:
        if number not in self._kept:
            while len(self._kept) >= self.together:
                self._kept.popitem(last=False)
            self._kept[number] = self.read(number, self.columns)
        self._kept.move_to_end(number)
        return self._kept[number]

    def take(self, column: str, rows: Sequence[int]) -> list[Any]:
        """Return the values of some rows, in their order."""
        wanted = np.asarray(rows, dtype=np.int64)
        group = np.searchsorted(self.ends, wanted, side="right")
        values: list[Any] = [None] * len(rows)
        for number in np.unique(group).tolist():
            here = np.flatnonzero(group == number)
            start = self.ends[number - 1] if number else 0
            taken = self._group(number).column(column).take(wanted[here] - start).to_pylist()
            for i, value in zip(here.tolist(), taken, strict=True):
                values[i] = value
        return values

    def slices(self, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Yield all rows of some columns in order, some at a time, with the first one's number."""
        for number, end in enumerate(self.ends):
            table = self.read(number, columns)
            for begin in range(0, table.num_rows, AT_ONCE):
                yield end - table.num_rows + begin, table.slice(begin, AT_ONCE)


class Names(Sequence[str]):
    """The ids of all rows, of which those of one group are in memory at a time."""

    def __init__(self, groups: Groups, column: str) -> None:
        """Look them up in this column."""
        self.groups, self.column = groups, column
        self.group, self.read = -1, [""]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.groups)

    def __getitem__(self, row: Any) -> Any:
        """Return the name of a row, as `read_ids` does."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        group = int(np.searchsorted(self.groups.ends, row, side="right"))
        if group != self.group:
            values = self.groups.read(group, [self.column]).column(0).to_pylist()
            start = self.groups.ends[group] - len(values)
            place = str(self.groups.place)
            self.read = [
                id_of(value, place, start + i) or f"row {start + i + 1}"
                for i, value in enumerate(values)
            ]
            self.group = group
        return self.read[row - self.groups.ends[group] + len(self.read)]
