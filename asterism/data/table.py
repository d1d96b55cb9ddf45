"""Tables: CSV, TSV, JSON lines and Parquet files of texts, pictures' paths or arrays."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.array import ArraySource, features
from asterism.data.columns import choose, headed
from asterism.data.folder import FolderSource
from asterism.data.groups import in_words, parquet_file
from asterism.data.source import Source
from asterism.data.text import TextSource
from asterism.data.values import read_texts
from asterism.modality import ARRAY, TEXT
from asterism.words import counted, number

# A cell may hold a long document; Python's own limit is 128 KiB.
LONGEST_CELL = 2**30
# A file above it is worth a word; a table of texts in Parquet is then read by row groups.
LARGE_BYTES = 2**30
# A quoted cell of so many lines is worth a word.
MANY_LINES = 50


class PictureTable(FolderSource):
    """Pictures named in a table, decoded when they are fetched."""

    def __init__(
        self,
        files: Sequence[Path],
        *,
        image_size: int | None = None,
        targets: Any = None,
        names: Sequence[str] | None = None,
        ids: Sequence[Any] | None = None,
        unusable: Mapping[int, str] | None = None,
        place: str = "the data",
    ) -> None:
        """Hold the paths.

        Args:
            files: The pictures.
            image_size: Height and width to which each picture is brought; by default their own, up
                to 224.
            targets: A label for each, shape `(n,)`: class numbers or names.
            names: Names of the classes by number.
            ids: A name for each picture; by default its path as the table gives it.
            unusable: Rows that are left out, with the reason.
            place: Where the paths are from, for messages.
        """
        self.folder = Path()  # each file by itself may be missing
        self.files = list(files)
        self.place = place
        self.describe(unusable=unusable, labels=targets, names=names, ids=ids)
        self.set_size(image_size)

    def fingerprint(self) -> str:
        """Return a short hash of the paths and the sizes of the files."""
        digest = hashlib.sha256()
        for file in self.files:
            size = file.stat().st_size if file.is_file() else -1
            digest.update(f"{file}:{size}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


@dataclass
class Table:
    """What a file of rows and columns holds.

    Attributes:
        columns: The cells of each column, by name.
        unusable: Rows that cannot be used, with the reason.
        strays: Lines that are no rows, counted by what they are.
        notes: What a reader must know of how it was read.
    """

    columns: Mapping[str, Sequence[Any]]
    unusable: dict[int, str] = field(default_factory=dict)
    strays: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_table(path: Path, named: dict[str, str], *, image_size: int | None = None) -> Source:
    """Open a table of texts, of arrays, or of paths, relative to the table's own folder.

    Args:
        path: A `.csv`, `.tsv`, `.jsonl` or `.parquet` file whose columns have names.
        named: Columns by role: `text`, `image` or `array`; `label`, `id`.
        image_size: Height and width to which each picture is brought; by default their own.

    Raises:
        ValueError: If the table cannot be read, or lacks a column.
    """
    table = READERS[path.suffix.lower()](path)
    if (size := path.stat().st_size) > LARGE_BYTES:
        note = (
            f"{number(size, 'bytes')} are held in memory; a .parquet file is read as it is needed"
        )
        table.notes = (*table.notes, note)
    return from_table(table, named, path, image_size=image_size)


def from_table(
    table: Table,
    named: Mapping[str, str],
    path: Path,
    *,
    image_size: int | None = None,
    names: Sequence[str] | None = None,
) -> Source:
    """Return a source of a table's columns that are named or have usual names.

    Args:
        table: The columns.
        named: Columns by role.
        path: Where they are from: paths of pictures are relative to the folder of it.
        image_size: Height and width to which each picture is brought; by default their own.
        names: Names of the classes by number, where they are declared.

    Raises:
        ValueError: If a column is missing, or values are none of samples, labels or ids.
    """
    place = str(path)
    given = list(table.columns)
    columns = dict(zip(headed(given, place), table.columns.values(), strict=True))
    chosen = choose(list(columns), named, place)
    samples = columns[chosen.samples]
    labels, ids = (None if c is None else columns[c] for c in (chosen.label, chosen.id))
    shared: dict[str, Any] = {"targets": labels, "names": names, "place": place}
    source: Source
    if chosen.modality is ARRAY:
        source = _arrays(samples, table.unusable, ids=ids, **shared)
    elif chosen.modality is TEXT:
        source = TextSource(samples, unusable=table.unusable, ids=ids, **shared)
    else:
        paths, missing = read_texts(samples)
        missing = {row: reason.replace("text", "image") for row, reason in missing.items()}
        reasons = missing | table.unusable
        files = [Path() if r in reasons else path.parent / p.strip() for r, p in enumerate(paths)]
        source = PictureTable(files, unusable=reasons, ids=ids, image_size=image_size, **shared)
        if source.ids is None:
            source.ids = [p.strip() for p in paths]
    source.strays = table.strays
    source.notes = (*chosen.notes, *table.notes)
    return source


def _arrays(
    samples: Sequence[Any], unusable: Mapping[int, str], *, place: str, **described: Any
) -> Source:
    """Return a source of a column of lists of numbers; rows that cannot be used are left out."""
    reasons = {row: "no array" for row, x in enumerate(samples) if x is None} | dict(unusable)
    if len(reasons) == len(samples):
        raise ValueError(f"{place} has no row that can be used: row 1 has {reasons[0]}.")
    good = next(row for row in range(len(samples)) if row not in reasons)
    try:
        empty = np.zeros_like(np.asarray(samples[good], dtype=np.float64))
        rows = [empty if i in reasons else np.asarray(x, np.float64) for i, x in enumerate(samples)]
        stacked = np.stack(rows)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{place}: a column of arrays must hold lists of numbers, all of one size ({error})."
        ) from error
    return ArraySource(features(stacked, place), unusable=reasons, place=place, **described)


def _separated(path: Path, delimiter: str, quoting: int) -> Table:
    rows: list[list[str]] = []
    lines: list[int] = []  # in which each row begins
    blank = 0
    before = csv.field_size_limit(LONGEST_CELL)
    begin = 1
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            # Strict: else a stray quote swallows all lines up to the next one.
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(begin)
                else:
                    blank += 1
                begin = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise ValueError(
            f"cannot read {path}: it is not UTF-8 ({error.reason}): save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise ValueError(
            f"cannot read {path}: in the row that begins in line {begin}, {error}. A quote at the "
            'beginning of a cell needs one at its end, and is doubled inside (""); a .tsv file is '
            "taken without quotes."
        ) from error
    finally:
        csv.field_size_limit(before)
    if len(rows) < 2:
        raise ValueError(f"{path} needs a first line with the columns' names, and rows below it.")
    header, body = rows[0], rows[1:]
    broken = {
        i: f"with {counted(len(row), 'cells')} instead of {len(header)}"
        for i, row in enumerate(body)
        if len(row) != len(header)
    }
    names = headed(header, str(path))
    columns = {
        name: [row[j] if j < len(row) else "" for row in body] for j, name in enumerate(names)
    }
    strays = {"blank lines": blank} if blank else {}
    return Table(columns, broken, strays, _spread(lines, begin))


def _spread(lines: Sequence[int], end: int) -> tuple[str, ...]:
    """Return a note on the row of most lines, if rows have several: a stray quote looks like it."""
    taken = [after - line for line, after in zip(lines, (*lines[1:], end), strict=True)]
    most = max(taken)
    if most < MANY_LINES:
        return ()
    line = lines[taken.index(most)]
    return (f"a quoted cell spans {most} lines from line {line} on: is a quote missing?",)


def _csv(path: Path) -> Table:
    return _separated(path, ",", csv.QUOTE_MINIMAL)


def _tsv(path: Path) -> Table:
    return _separated(path, "\t", csv.QUOTE_NONE)


def _json_lines(path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    broken: dict[int, str] = {}
    blank = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            line = line.removeprefix(b"\xef\xbb\xbf") if not number else line
            if not line.strip():
                blank += 1
                continue
            try:
                value = json.loads(line.decode(), object_pairs_hook=_once)
                if not isinstance(value, dict):
                    raise ValueError("no JSON object")
            except UnicodeDecodeError:
                broken[len(rows)], value = "not UTF-8", {}
            except (json.JSONDecodeError, RecursionError):
                broken[len(rows)], value = "no JSON object", {}
            except ValueError as error:
                broken[len(rows)], value = str(error), {}
            rows.append(value)
    names = dict.fromkeys(name for row in rows for name in row)
    if not names:
        reason = f"; row 1 has {broken[0]}" if 0 in broken else ""
        raise ValueError(f"{path} must hold one JSON object per line{reason}.")
    columns: dict[str, Sequence[Any]] = {name: [row.get(name) for row in rows] for name in names}
    return Table(columns, broken, {"blank lines": blank} if blank else {})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose keys differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that comes twice")
    return found


def read_parquet(path: Path) -> Any:
    """Return a Parquet file as a table of pyarrow.

    Raises:
        ValueError: If pyarrow is missing, or the file cannot be read.
    """
    file = parquet_file(path)
    with in_words(path):
        # Not `read_table`, which has no words for two columns of one name.
        return file.read()


def _parquet(path: Path) -> Table:
    table = read_parquet(path)
    names = headed(table.column_names, str(path))
    return Table({name: table.column(j).to_pylist() for j, name in enumerate(names)})


READERS = {".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines, ".parquet": _parquet}
