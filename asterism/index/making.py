"""`build_index()`: from a network and data, or from a file of vectors, to an index."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch

from asterism.arrays import read_array
from asterism.data import Data, Loader, Order, Source, default_workers, open_source
from asterism.exporters.folder import refuse_used, written
from asterism.index.cells import Sight, into_cells, looked_into
from asterism.index.folder import FILES, Card, write_card
from asterism.index.searching import ROWS, Floats, Numbers, placed
from asterism.names import as_text, located, resolved, split_name
from asterism.relations import check_choice
from asterism.settings import Distance
from asterism.teachers import common_size, open_teacher
from asterism.teachers.stored import StoredTeacher, is_stored, open_stored
from asterism.types import as_input
from asterism.vectors import Progress
from asterism.vectors.files import write_ids

# From so many rows on, an index gets cells unless it is told otherwise.
MANY = 100_000
BATCH = 256
Search = Literal["auto", "exact", "cells"]


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        folder: The index.
        card: What is known of it.
        sight: What its cells find, against looking at every row; None for exhaustive search.
        broken: Samples that could not be read, by name; they have no row.
    """

    folder: Path
    card: Card
    sight: Sight | None
    broken: tuple[str, ...]


@dataclass
class Rows:
    """Rows on their way into an index; those of a network are filled in while its vectors come.

    Attributes:
        vectors: Blocks of vectors.
        ids: Names of the rows.
        numbers: The row of the data that each is, −1 if it is none; empty without data.
        network: Fingerprint of the network that makes them, or None.
        broken: Samples without a row, by name.
    """

    vectors: Iterator[Floats]
    ids: list[str]
    numbers: list[int] = field(default_factory=list)
    network: str | None = None
    broken: list[str] = field(default_factory=list)


def build_index(
    model: Any,
    data: Any = None,
    *,
    out: str | Path,
    metric: Distance = "cosine",
    search: Search = "auto",
    overwrite: bool = False,
) -> Built:
    """Build an index that is searched by vectors.

    Args:
        model: What embeds the data, as `distill` takes a teacher: a run folder (its student), a
            model of a library, a cache; or a file of vectors, as `asterism embed` writes one or a
            vector database gives one out.
        data: Data as `distill` takes them, all of their rows; needed but for a file of vectors,
            whose rows are then matched with them by id, or by number where it has none.
        out: Folder of the index.
        metric: `cosine` or `euclidean`.
        search: `exact` looks at every row, `cells` at those of the nearest cells (faiss, extra
            `search`); `auto` is cells from 100,000 rows on.
        overwrite: Replace an index in the folder.

    Raises:
        FileNotFoundError: If there is no such run, file or data.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    folder = Path(located(out))
    check_choice("metric", metric, Distance)
    check_choice("search", search, Search)
    refuse_used(folder, "an index", FILES, overwrite=overwrite)
    model = located(model, several=True) if isinstance(model, str | Path) else model
    source = None
    if data is not None:
        source = open_source(data, image_size=common_size(None, model))
    rows = _rows(model, source)
    with written(folder) as place:
        unordered = place / ".unordered.npy"
        shape = _write_vectors(unordered, rows.vectors, metric)
        if not shape[0]:
            raise ValueError(f"no sample of the data could be read: {', '.join(rows.broken[:3])}.")
        card = Card(
            metric=metric,
            rows=shape[0],
            width=shape[1],
            made_of=resolved(as_text(model), several=True),
            network=rows.network,
            data=None if source is None else resolved(as_text(data)),
            contents=None if source is None else source.fingerprint(),
        )
        card, sight = _arrange(place, card, rows, cells=_wants_cells(search, shape[0]))
        unordered.unlink()
        write_card(place, card)
    return Built(folder, card, sight, tuple(rows.broken))


def _wants_cells(search: Search, rows: int) -> bool:
    return search == "cells" or (search == "auto" and rows >= MANY)


def _arrange(place: Path, card: Card, rows: Rows, *, cells: bool) -> tuple[Card, Sight | None]:
    """Write vectors, ids and rows of the data in their order: that of the cells, if there are."""
    vectors = read_array(place / ".unordered.npy")
    order: Numbers = np.arange(card.rows)
    sight = None
    if cells:
        found, order = into_cells(vectors, card.metric)
    blocks = (vectors[order[i : i + ROWS]] for i in range(0, card.rows, ROWS))
    _write_vectors(place / "vectors.npy", blocks, None)
    if cells:
        found, sight = looked_into(read_array(place / "vectors.npy"), found, card.metric)
        np.save(place / "centres.npy", found.centres)
        np.save(place / "starts.npy", found.starts)
        count = len(found.centres)
        card = replace(card, cells=count, probes=found.probes, recall=sight.recall)
    write_ids(order, lambda row: rows.ids[row], place / "ids.txt")
    if card.data is not None:
        np.save(place / "rows.npy", np.array(rows.numbers, np.int64)[order])
    return card, sight


def _write_vectors(
    place: Path, blocks: Iterator[Floats], metric: Distance | None
) -> tuple[int, int]:
    """Write blocks of rows one after the other, `placed` by the metric if there is one."""
    count = width = 0
    with open(place, "wb") as file:
        # The header, whose length does not depend on the number of rows, is written again at last.
        for block in blocks:
            if not count:
                width = block.shape[1]
                _write_header(file, 0, width)
            file.write((block if metric is None else placed(block, metric)).tobytes())
            count += len(block)
        _write_header(file, count, width)
    return count, width


def _write_header(file: IO[bytes], count: int, width: int) -> None:
    file.seek(0)
    shape = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
    np.lib.format.write_array_header_1_0(file, shape)


def _rows(model: Any, source: Source | None) -> Rows:
    """Return the rows of a file of vectors, or of what a network makes of data."""
    if isinstance(model, str | Path):
        base, named = split_name(str(model))
        if is_stored(Path(base)):
            return _stored(open_stored(Path(base), named), source)
    if source is None:
        raise ValueError(f"{as_text(model)} embeds data: name them, --data.")
    return _embedded(model, source)


def _stored(teacher: StoredTeacher, source: Source | None) -> Rows:
    table = teacher.table
    ids = [str(row) for row in range(len(table))] if teacher.rows is None else [*teacher.rows]
    blocks = (table[i : i + ROWS] for i in range(0, len(table), ROWS))
    if source is None:
        return Rows(blocks, ids)
    if teacher.rows is None:
        teacher.on(source)  # refuses another number of rows
        ids = [source.name_of(row) for row in range(len(source))]
        return Rows(blocks, ids, list(range(len(source))))
    known = {source.name_of(row): row for row in range(len(source))}
    numbers = [known.get(name, -1) for name in ids]
    if max(numbers) < 0:
        raise ValueError(
            f"{teacher.place} and the data have no id in common: {ids[0]!r} there, "
            f"{source.name_of(0)!r} here."
        )
    return Rows(blocks, ids, numbers)


def _embedded(model: Any, source: Source) -> Rows:
    nothing = source.usable()[:0]
    data = Data(source, source.usable(), nothing)
    teacher = open_teacher(model, data)
    teacher.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    data = teacher.without_absent(data)
    rows = Rows(iter(()), [], [], None if teacher.network is None else teacher.fingerprint())
    order = Order(data.train, BATCH, seed=None)
    loader = Loader(data.source, order, workers=default_workers(data.source))
    taught, progress = teacher.on(data.source), Progress(len(data.train), "index")

    def vectors() -> Iterator[Floats]:
        for batch in loader:
            rows.broken.extend(batch.broken)
            progress(BATCH)
            if len(batch.index):
                rows.numbers.extend(batch.index.tolist())
                rows.ids.extend(map(source.name_of, batch.index.tolist()))
                yield taught.clean(batch.index, as_input(batch.views[0])).embedding.numpy()

    rows.vectors = vectors()
    return rows
