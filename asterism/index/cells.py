"""Cells: rows that lie together, found by faiss, for indexes too large to look at every row."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np

from asterism.index.searching import (
    ROWS,
    Cells,
    Floats,
    Hits,
    Numbers,
    exhaustive,
    within,
)
from asterism.models.hub import load_library
from asterism.settings import Distance

# Rows for each cell that the centres are fitted on, and rounds of the fitting.
PER_CELL, ROUNDS = 64, 8
# Rows that are queries when recall is measured, and what a default number of probes must reach.
QUERIES, WANTED, K = 500, 0.98, 10
SEED = 0
# Queries that are timed, one after the other.
TIMED = 5


@dataclass(frozen=True)
class Sight:
    """What looking into the nearest cells alone finds, against looking at every row.

    Attributes:
        recall: Share of the ten nearest rows that is found.
        queries: How many rows of the index were queries; their own row does not count.
        milliseconds: Time of a query.
        exhaustive_milliseconds: Time of a query that looks at every row.
    """

    recall: float
    queries: int
    milliseconds: float
    exhaustive_milliseconds: float


def into_cells(rows: Floats, metric: Distance) -> tuple[Cells, Numbers]:
    """Return the cells of some rows, and the order in which each cell's rows follow each other.

    Centres are those of k-means, on the sphere for cosines; twice as many cells as the root of the
    number of rows.

    Args:
        rows: Shape `(n, d)`, as an index keeps them.
        metric: By what they are near.

    Raises:
        ValueError: If faiss is missing.
    """
    faiss = load_library("faiss", "search")
    if sys.platform == "darwin":  # two OpenMP libraries in one process, torch's and this one's
        faiss.omp_set_num_threads(1)
    count = max(1, min(2 * isqrt(len(rows)), len(rows) // 2))
    some = np.random.default_rng(SEED).permutation(len(rows))[: count * PER_CELL]
    means = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=ROUNDS,
        seed=SEED,
        spherical=metric == "cosine",
        min_points_per_centroid=1,
        max_points_per_centroid=PER_CELL,
    )
    means.train(np.ascontiguousarray(rows[np.sort(some)]))
    starts = range(0, len(rows), ROWS)
    parts = [means.index.search(np.ascontiguousarray(rows[i : i + ROWS]), 1)[1] for i in starts]
    cell = np.concatenate(parts)[:, 0]
    begins = np.concatenate([[0], np.bincount(cell, minlength=count).cumsum()])
    centres = np.asarray(means.centroids, np.float32).reshape(count, -1)
    return Cells(centres, begins.astype(np.int64), 1), np.argsort(cell, kind="stable")


def looked_into(rows: Floats, cells: Cells, metric: Distance) -> tuple[Cells, Sight]:
    """Return the cells with the fewest probes that find 98 % of the nearest, and what they find."""
    chosen = np.random.default_rng(SEED).permutation(len(rows))[:QUERIES]
    queries = np.ascontiguousarray(rows[np.sort(chosen)])
    wanted = exhaustive(rows, queries, K + 1, metric)
    tried = cells
    while True:
        recall = shared(within(rows, tried, queries, K + 1, metric), wanted)
        if recall >= WANTED or tried.probes == len(cells.centres):
            break
        tried = replace(cells, probes=min(2 * tried.probes, len(cells.centres)))
    quick = _milliseconds(queries, lambda query: within(rows, tried, query, K, metric))
    slow = _milliseconds(queries, lambda query: exhaustive(rows, query, K, metric))
    return tried, Sight(recall, len(queries), quick, slow)


def _milliseconds(queries: Floats, search: Callable[[Floats], Hits]) -> float:
    """Return the time of a query that comes alone."""
    begun = time.perf_counter()
    for query in queries[:TIMED]:
        search(query[None])
    return 1e3 * (time.perf_counter() - begun) / min(TIMED, len(queries))


def shared(found: Hits, wanted: Hits) -> float:
    """Return the share of the wanted rows, but for each query's nearest, that are found.

    The nearest is the query's own row, or one that equals it, which everybody finds.
    """
    pairs = zip(found.positions, wanted.positions[:, 1:], strict=True)
    return float(np.mean([np.isin(want[want >= 0], have).mean() for have, want in pairs]))
