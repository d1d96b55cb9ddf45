"""Nearest neighbours by exhaustive search, in blocks of bounded memory."""

from collections.abc import Iterator
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.settings import Distance

# Bytes of one block of distances.
MEMORY = 2**28
# Squared distances are compared to 32 of their 52 binary digits; the other 20 number the columns of
# a gallery of up to a million rows. Beyond, each doubling costs a digit.
COLUMN_BITS = 20


def nearest(
    query: Float[Tensor, "n d"],
    gallery: Float[Tensor, "m d"] | None = None,
    *,
    k: int,
    metric: Distance = "euclidean",
    rows: Int[Tensor, " q"] | None = None,
    memory: int = MEMORY,
) -> Int[Tensor, "q k"]:
    """Return the rows of the gallery that are nearest to each query, nearest first.

    The search is exhaustive and runs in float64 around the mean of the gallery, so float32
    embeddings far from the origin or in tight clusters lose no neighbour to cancellation. Equally
    distant rows come in the order of the gallery. Distances count as equal from 10 digits on, and
    rows as coincident when they are nearer to each other than float32 can tell (some 5e-7 of their
    distance from the mean).

    Memory is that of the embeddings, of their copy in float64 and of one block: a search among
    100,000 embeddings of 512 float32 values takes 1.2 GB, all of PyTorch included.

    Args:
        query: Embeddings whose neighbours are sought.
        gallery: Embeddings to search; by default the queries themselves, each without itself.
            Only the row itself is left out: its exact duplicates are neighbours.
        k: How many neighbours; a smaller gallery gives all it has.
        metric: `euclidean`, or `cosine`, for which a zero row has the cosine 0 with every other.
        rows: Which rows of `query` are asked for; by default all, in order.
        memory: Bytes for one block of distances; at least one query is treated at a time.

    Returns:
        Row numbers, one row per query, `min(k, m)` wide (`min(k, n - 1)` without a gallery).

    Raises:
        ValueError: If the widths differ, `k` is below 1, the metric is unknown, or an embedding is
            not finite.

    Examples:
        >>> import torch
        >>> nearest(torch.tensor([[0.0], [1.0], [3.0]]), k=2)
        tensor([[1, 2],
                [0, 2],
                [1, 0]])
    """
    blocks = neighbour_blocks(query, gallery, k=k, metric=metric, rows=rows, memory=memory)
    return torch.cat([neighbours for _, neighbours in blocks])


def neighbour_blocks(
    query: Float[Tensor, "n d"],
    gallery: Float[Tensor, "m d"] | None = None,
    *,
    k: int,
    metric: Distance = "euclidean",
    rows: Int[Tensor, " q"] | None = None,
    memory: int = MEMORY,
) -> Iterator[tuple[Int[Tensor, " b"], Int[Tensor, "b k"]]]:
    """Yield what `nearest` returns block by block: rows of the query and their neighbours.

    For consumers that reduce each block at once, since `(n, k)` itself may not fit.
    """
    if k < 1 or metric not in get_args(Distance):
        raise ValueError(
            f"nearest needs k of at least 1 and a metric among {', '.join(get_args(Distance))}; "
            f"got k={k} and metric={metric!r}."
        )
    order = Order(query, gallery, metric=metric)
    k = min(k, order.others)
    everyone = torch.arange(len(query), device=query.device) if rows is None else rows
    if k < 1:
        yield everyone, everyone.new_empty(len(everyone), 0)
        return
    # 8 bytes for a distance; 32 for a neighbour, its key, its number and what becomes of it.
    size = min(max(1, len(everyone)), max(1, memory // (8 * order.columns + 32 * k)))
    out = torch.empty(size, order.columns, dtype=torch.float64, device=query.device)
    for some in torch.split(everyone, size):
        yield some, order.numbers(order.keys(some, out=out).topk(k, largest=False).values)


class Order:
    """The order in which the rows of a gallery lie around each query, as integers.

    Attributes:
        columns: Rows of the gallery.
        others: How many of them can be neighbours of a query.
    """

    def __init__(
        self,
        query: Float[Tensor, "n d"],
        gallery: Float[Tensor, "m d"] | None = None,
        *,
        metric: Distance = "euclidean",
    ) -> None:
        """Prepare the gallery; see `nearest` for the arguments and what is refused."""
        points = query if gallery is None else gallery
        if query.ndim != 2 or points.ndim != 2 or query.shape[1] != points.shape[1]:
            raise ValueError(
                "nearest compares rows of one width: it needs matrices with as many columns in the "
                f"query as in the gallery; got {tuple(query.shape)} and {tuple(points.shape)}."
            )
        self.query = query.detach()
        points = points.detach()
        self.alone = gallery is None
        self.columns = len(points)
        self.others = self.columns - int(self.alone)
        self.centre = None
        if metric == "euclidean" and self.columns:
            self.centre = points.mean(0, dtype=torch.float64)
        self.points = _placed(points, self.centre)
        self.mask = (1 << max(COLUMN_BITS, self.columns.bit_length())) - 1

    def keys(self, rows: Tensor, *, out: Tensor) -> Tensor:
        """Return a key for each query of `rows` and each row of the gallery: nearer ones are less.

        No two keys of a query are equal. The query itself, if it is in the gallery, comes last.

        Args:
            rows: Which queries, shape `(b,)`.
            out: A float64 matrix to write over, at least `b` rows long and as wide as the gallery.
        """
        placed = _placed(self.query[rows], self.centre)
        keys = _keys(placed, self.points, self.mask, out=out[: len(rows)])
        if self.alone:
            keys[torch.arange(len(rows), device=rows.device), rows] = torch.iinfo(keys.dtype).max
        return keys

    def numbers(self, keys: Tensor) -> Tensor:
        """Return the rows of the gallery that keys stand for."""
        return keys & self.mask


def _placed(rows: Tensor, centre: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the rows in float64, centred or else of unit length, and their squared lengths."""
    rows = rows.to(torch.float64, copy=True)
    if centre is None:
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        rows /= length.clamp_min(torch.finfo(rows.dtype).tiny)
        squares = torch.ones_like(length).squeeze(1)  # also for zero rows: 2 - 2 cos is then 2
        finite = length.isfinite().all()
    else:
        rows -= centre
        squares = torch.linalg.vector_norm(rows, dim=1).square_()
        finite = squares.isfinite().all()
    if not finite:
        raise ValueError(
            "nearest needs finite embeddings; got NaN or infinity: has the training diverged?"
        )
    return rows, squares


def _keys(
    queries: tuple[Tensor, Tensor], points: tuple[Tensor, Tensor], column: int, *, out: Tensor
) -> Tensor:
    """Write over `out` integers in the order of the distances and, among equals, of the columns.

    Floating-point numbers from zero on are in the order of their bits. The last bits of a squared
    distance, those of the mask `column`, are rounded off and hold the number of the column instead.
    """
    (query, query_squares), (gallery, gallery_squares) = queries, points
    # Taking the rounding of the matrix product off puts coincident rows at exactly 0.
    rounding = 2 * (query.shape[1] + 4) * torch.finfo(query.dtype).eps
    distance = torch.addmm(gallery_squares, query, gallery.T, alpha=-2, out=out)
    distance.add_((1 - rounding) * query_squares[:, None]).clamp_min_(0)
    keys = distance.view(torch.int64).add_((column + 1) // 2).bitwise_and_(~column)
    return keys.bitwise_or_(torch.arange(len(gallery), device=keys.device))
