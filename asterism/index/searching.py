"""Rows nearest to queries: all of them looked at, or those of the nearest cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asterism.settings import Distance

Floats = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
# Rows, and queries, that are compared together: memory stays small however many there are.
ROWS, QUERIES = 16_384, 256


class Hits(NamedTuple):
    """What queries found, nearest first.

    Attributes:
        positions: Rows of the index, shape `(q, k)`; −1 where fewer were looked at.
        scores: Cosine similarities, or Euclidean distances, shape `(q, k)`.
    """

    positions: Numbers
    scores: Floats


@dataclass(frozen=True)
class Cells:
    """Rows that lie together, each cell's one after the other.

    Attributes:
        centres: Shape `(c, d)`.
        starts: The first row of each cell, and the number of all, shape `(c + 1,)`.
        probes: How many of the nearest cells a query looks into.
    """

    centres: Floats
    starts: Numbers
    probes: int


def placed(rows: Floats, metric: Distance) -> Floats:
    """Return rows as an index keeps them: float32, for cosines of length 1; a zero row stays zero.

    Raises:
        ValueError: If a row is not finite.
    """
    kept = rows.astype(np.float32)
    if metric == "cosine":
        length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        kept = (rows / np.where(length > 0, length, 1)).astype(np.float32)
    if not np.isfinite(kept).all():
        raise ValueError("vectors must be finite numbers; got NaN or infinity.")
    return kept


def exhaustive(rows: Floats, queries: Floats, k: int, metric: Distance) -> Hits:
    """Compare queries `(q, d)` with all rows `(n, d)`, both `placed`.

    Of equally near rows that are found the earlier ones come first.
    """
    parts = [_exhaustive(rows, some, k, metric) for some in _blocks(queries, QUERIES)]
    return Hits(*map(np.concatenate, zip(*parts, strict=True)))


def within(rows: Floats, cells: Cells, queries: Floats, k: int, metric: Distance) -> Hits:
    """Compare queries with the rows of their nearest cells alone; see `exhaustive`."""
    near = exhaustive(cells.centres, queries, cells.probes, "euclidean").positions
    found = []
    for query, numbers in zip(queries, near, strict=True):
        spans = [(cells.starts[cell], cells.starts[cell + 1]) for cell in numbers]
        some = np.concatenate([np.arange(*span) for span in spans])
        values = _nearness(query[None], np.concatenate([rows[slice(*s)] for s in spans]), metric)
        found.append(_best(values, some[None], k))
    return _hits(
        np.concatenate([x for x, _ in found]),
        np.concatenate([y for _, y in found]),
        queries,
        metric,
    )


def without(own: Numbers, hits: Hits) -> Hits:
    """Return all but the last of what was found, each query's own row left out if it is there."""
    order = np.argsort(hits.positions == own[:, None], axis=1, kind="stable")[:, :-1]
    return Hits(*(np.take_along_axis(part, order, 1) for part in hits))


def _exhaustive(rows: Floats, queries: Floats, k: int, metric: Distance) -> Hits:
    values = np.empty((len(queries), 0))
    numbers = np.empty((len(queries), 0), np.int64)
    for i, block in enumerate(_blocks(rows, ROWS)):
        here = np.broadcast_to(np.arange(len(block)) + i * ROWS, (len(queries), len(block)))
        new_values, new_numbers = _best(_nearness(queries, block, metric), here, k)
        values, numbers = _best(
            np.concatenate([values, new_values], 1), np.concatenate([numbers, new_numbers], 1), k
        )
    return _hits(values, numbers, queries, metric)


def _blocks(rows: Floats, size: int) -> Iterator[Floats]:
    for start in range(0, max(1, len(rows)), size):
        yield rows[start : start + size]


def _nearness(queries: Floats, rows: Floats, metric: Distance) -> Floats:
    """Return what is largest for the nearest rows, shape `(q, n)`."""
    # In float64: the difference of two large squares keeps the digits of a small distance.
    kind = np.float32 if metric == "cosine" else np.float64
    given: Floats = rows.astype(kind, copy=False)
    products: Floats = queries.astype(kind).dot(given.T)
    return products if metric == "cosine" else 2 * products - np.square(given).sum(1)


def _best(values: Floats, numbers: Numbers, k: int) -> tuple[Floats, Numbers]:
    """Return the k largest values of each query with their rows, largest first."""
    if values.shape[1] > k:
        some = np.argpartition(-values, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(values, some, 1)
        numbers = np.take_along_axis(numbers, some, 1)
    order = np.lexsort((numbers, -values), axis=1)
    missing = ((0, 0), (0, k - order.shape[1]))
    return (
        np.pad(np.take_along_axis(values, order, 1), missing, constant_values=-np.inf),
        np.pad(np.take_along_axis(numbers, order, 1), missing, constant_values=-1),
    )


def _hits(values: Floats, numbers: Numbers, queries: Floats, metric: Distance) -> Hits:
    if metric == "cosine":
        return Hits(numbers, np.where(numbers < 0, np.nan, values))
    squares = np.square(queries.astype(np.float64)).sum(1, keepdims=True) - values
    return Hits(numbers, np.where(numbers < 0, np.nan, np.sqrt(np.maximum(squares, 0))))
