"""Tables: CSV, TSV, JSON lines and Parquet files of texts, pictures' paths or arrays."""

import csv
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from asterism.data.array import ArraySource, features
from asterism.data.columns import Chosen, choose, classes
from asterism.data.folder import FolderSource
from asterism.data.source import LeftOut, Source, check_targets
from asterism.data.text import TextSource
from asterism.modality import ARRAY, TEXT
from asterism.types import Batch

# A cell may hold a long document; Python's own limit is 128 KiB.
LONGEST_CELL = 2**30


class PictureTable(FolderSource):
    """Pictures named in a table, decoded when they are fetched."""

    def __init__(
        self,
        files: Sequence[Path],
        *,
        image_size: int,
        targets: Tensor | None = None,
        names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        unusable: Mapping[int, str] | None = None,
        place: str = "the data",
    ) -> None:
        """Hold the paths.

        Args:
            files: The pictures.
            image_size: Height and width to which each picture is brought.
            targets: Class numbers, shape `(n,)`.
            names: Names of the classes.
            ids: A name for each picture; by default its path as the table gives it.
            unusable: Rows that are left out, with the reason.
            place: Where the paths are from, for messages.
        """
        self.folder = Path()  # each file by itself may be missing
        self.files = list(files)
        self.ids = ids
        self.place = place
        self.unusable = dict(unusable or {})
        self.shape = (3, image_size, image_size)
        if targets is not None:
            self.targets, self.names = check_targets(targets, len(self.files), names)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Decode the pictures of these rows; the unusable ones are left out and named."""
        batch = super().__getitems__([row for row in rows if row not in self.unusable])
        named = (
            f"{self.place}, row {r + 1} ({self.unusable[r]})" for r in rows if r in self.unusable
        )
        return replace(batch, broken=(*batch.broken, *named))

    def fingerprint(self) -> str:
        """Return a short hash of the paths and the sizes of the files."""
        digest = hashlib.sha256()
        for file in self.files:
            size = file.stat().st_size if file.is_file() else -1
            digest.update(f"{file}:{size}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


def open_table(
    path: Path,
    named: dict[str, str],
    *,
    image_size: int,
    class_names: Sequence[str] | None = None,
) -> Source:
    """Open a table of texts, of arrays, or of paths, relative to the table's own folder.

    Args:
        path: A `.csv`, `.tsv`, `.jsonl` or `.parquet` file whose columns have names.
        named: Columns by role: `text`, `image` or `array`; `label`, `id`.
        image_size: Height and width to which each picture is brought.
        class_names: Names of the classes in the order of their numbers, where they are known.

    Raises:
        ValueError: If the table cannot be read, or lacks a column.
    """
    columns, broken = READERS[path.suffix.lower()](path)
    chosen = choose(list(columns), named, str(path))
    return from_columns(
        columns, chosen, path, broken, image_size=image_size, class_names=class_names
    )


def from_columns(
    columns: Mapping[str, Sequence[Any]],
    chosen: Chosen,
    path: Path,
    broken: dict[int, str],
    *,
    image_size: int,
    class_names: Sequence[str] | None,
) -> Source:
    """Return a source of the chosen columns."""
    place = str(path)
    samples = columns[chosen.samples]
    named = chosen.modality is not ARRAY  # texts and paths are strings
    for row, value in enumerate(samples):
        if value is None or (named and (not isinstance(value, str) or not value.strip())):
            broken.setdefault(row, f"no {chosen.modality.name}")
    targets = None
    names = None
    if chosen.label is not None:
        targets, names = classes(columns[chosen.label], class_names, place, broken)
    if len(broken) == len(samples):
        reason = f": row 1 has {broken[0]}" if broken else ""
        raise ValueError(f"{place} has no row that can be used{reason}.")
    ids = None if chosen.id is None else [str(value) for value in columns[chosen.id]]
    if chosen.modality is ARRAY:
        return _arrays(samples, targets, names, ids, broken, place)
    shared: dict[str, Any] = {
        "targets": targets,
        "names": names,
        "unusable": broken,
        "place": place,
    }
    if chosen.modality is TEXT:
        texts = ["" if row in broken else value for row, value in enumerate(samples)]
        return TextSource(texts, ids=ids, **shared)
    files = [Path() if row in broken else path.parent / value for row, value in enumerate(samples)]
    return PictureTable(files, image_size=image_size, ids=ids or list(map(str, samples)), **shared)


def _arrays(
    samples: Sequence[Any],
    targets: Tensor | None,
    names: Sequence[str] | None,
    ids: Sequence[str] | None,
    broken: Mapping[int, str],
    place: str,
) -> Source:
    """Return a source of a column of lists of numbers; rows that cannot be used are left out."""
    good = next(row for row in range(len(samples)) if row not in broken)
    try:
        empty = np.zeros_like(np.asarray(samples[good], dtype=np.float64))
        rows = [empty if i in broken else np.asarray(x, np.float64) for i, x in enumerate(samples)]
        stacked = np.stack(rows)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{place}: a column of arrays must hold lists of numbers, all of one size ({error})."
        ) from error
    source = ArraySource(features(stacked, place), targets, names=names, ids=ids)
    return LeftOut(source, broken) if broken else source


Read = tuple[dict[str, Sequence[Any]], dict[int, str]]


def _separated(path: Path, delimiter: str, quoting: int) -> Read:
    rows: list[list[str]] = []
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file, delimiter=delimiter, quoting=quoting):  # type: ignore[arg-type]
                if row:
                    rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read {path}: {error}.") from error
    finally:
        csv.field_size_limit(before)
    if len(rows) < 2:
        raise ValueError(f"{path} needs a first line with the columns' names, and rows below it.")
    header, body = rows[0], rows[1:]
    broken = {
        i: f"{len(row)} cells instead of {len(header)}"
        for i, row in enumerate(body)
        if len(row) != len(header)
    }
    return {
        name: [row[j] if j < len(row) else "" for row in body] for j, name in enumerate(header)
    }, broken


def _csv(path: Path) -> Read:
    return _separated(path, ",", csv.QUOTE_MINIMAL)


def _tsv(path: Path) -> Read:
    return _separated(path, "\t", csv.QUOTE_NONE)


def _json_lines(path: Path) -> Read:
    rows: list[dict[str, Any]] = []
    broken: dict[int, str] = {}
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for i, line in enumerate(file):
            try:
                value = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                value = None
            if not isinstance(value, dict):
                broken[i] = "no JSON object"
                value = {}
            rows.append(value)
    names = dict.fromkeys(name for row in rows for name in row)
    if not names:
        raise ValueError(f"{path} must hold one JSON object per line.")
    return {name: [row.get(name) for row in rows] for name in names}, broken


def read_parquet(path: Path) -> Any:
    """Return a Parquet file as a table of pyarrow.

    Raises:
        ValueError: If pyarrow is missing, or the file cannot be read.
    """
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ValueError(
            f"reading {path} needs pyarrow: pip install 'asterism[parquet]'."
        ) from error
    try:
        return parquet.read_table(path)
    except Exception as error:  # pyarrow's own kinds, which cannot be named without it
        raise ValueError(f"cannot read {path}: {error}.") from error


def _parquet(path: Path) -> Read:
    table = read_parquet(path)
    return {name: table.column(name).to_pylist() for name in table.column_names}, {}


READERS = {".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines, ".parquet": _parquet}
