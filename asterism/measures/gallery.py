"""What the rows that are searched add to the scores of those who search."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SEED = 0
# Random signs are drawn so often that their number, times that of rows, is about this.
SIGNS = 4_000
# Not the seed by which pairs are drawn: their numbers and their signs must be strangers.
SIGN_SEED = 2**40 + 1


class Gallery:
    r"""Collects what each row of a gallery adds to the scores of the queries.

    Row $i$ adds $a_{ij} = s_j - s_j^{(-i)}$ to the score of query $j$: the score, less what it
    would be without the row. What is kept is $\sum_j a_{ij}$ and, for the mean of $a_{ij}^2$ over
    all, a few sums with random signs: the signs of one query are the same in all measures, so
    that these sums can be subtracted from each other as well.

    Attributes:
        rows: How many rows are searched.
        queries: Which of them are the queries; None for queries from elsewhere.
        sums: Shape `(1 + m, rows)`.
    """

    def __init__(self, rows: int, queries: Tensor | None = None) -> None:
        """Begin with nothing added."""
        self.rows = rows
        self.queries = queries
        self.signs = signs(rows)
        self.sums = torch.zeros(1 + len(self.signs), rows, dtype=torch.float64)

    def add(self, queries: Tensor, neighbours: Tensor, change: Tensor) -> None:
        """Add what some rows change.

        Args:
            queries: Numbers of the queries, shape `(b,)`.
            neighbours: Rows of the gallery, shape `(b, k)`.
            change: What each of them adds to the query's score, shape `(b, k)`.
        """
        place = neighbours.flatten().cpu().numpy()
        for total, weight in zip(self.sums, self._weights(queries), strict=True):
            changes = (weight[:, None] * change).flatten().cpu().numpy()
            total += torch.from_numpy(np.bincount(place, changes, minlength=self.rows))

    def add_all(self, queries: Tensor, change: Tensor, unit: float) -> None:
        """Add what every row changes, shape `(b, rows)`, in small whole numbers of a unit."""
        weights = self._weights(queries)
        for i in range(0, len(change), 64):  # few at a time: as floats they take four times as much
            part = slice(i, i + 64)
            self.sums += unit * (weights[:, part].float() @ change[part].float()).double()

    def add_partners(self, queries: Tensor, own: Tensor, change: Tensor, classes: Tensor) -> None:
        """Add the same for all rows of a query's class, but for the query itself.

        Args:
            queries: Numbers of the queries, shape `(q,)`.
            own: Class of each query.
            change: What each of its partners adds to its score, shape `(q,)`.
            classes: Class of each row of the gallery.
        """
        _, number = torch.unique(torch.cat([own, classes]), return_inverse=True)
        changes = self._weights(queries) * change
        totals = changes.new_zeros(len(changes), int(number.max()) + 1)
        totals.index_add_(1, number[: len(own)], changes)
        self.sums += totals[:, number[len(own) :]]
        if self.queries is not None:
            self.sums.index_add_(1, self.queries, -changes)

    def _weights(self, queries: Tensor) -> Tensor:
        return F.pad(self.signs[:, queries % self.rows].double(), (0, 0, 1, 0), value=1.0)

    def placed(self, own: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return parts for every row: of the queries themselves, and of what is searched.

        Args:
            own: What each query adds by itself.
            count: Over how many queries the mean is taken.
        """
        shared = self.sums / count
        shared[0] -= shared[0].mean()
        if self.queries is None:
            return F.pad(own, (0, self.rows)), F.pad(shared, (len(own), 0))
        return torch.zeros(self.rows, dtype=own.dtype).index_add_(0, self.queries, own), shared


@lru_cache(maxsize=4)
def signs(rows: int) -> Tensor:
    """Return some random signs for each of so many rows, int8 of shape `(m, rows)`."""
    generator = torch.Generator().manual_seed(SIGN_SEED)
    number = 1 + SIGNS // max(1, rows)
    return 2 * torch.randint(2, (number, rows), generator=generator, dtype=torch.int8) - 1
