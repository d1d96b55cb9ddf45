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
    would be without the row. What is kept is $\sum_j a_{ij}$ and, for what two rows make together,
    $(a_{ij} + a_{ji})^2$ over all pairs, some sums with random signs: the sign of one row is the
    same in all measures, so that these sums can be subtracted from each other as well.

    Attributes:
        rows: How many rows are searched.
        queries: Which of them are the queries; None for queries from elsewhere.
        given: Sums over the queries of what each row adds to them, without and with the queries'
            signs, shape `(1 + m, rows)`.
        taken: Sums over the rows of what each query takes from them, shape `(1 + m, rows)`.
    """

    def __init__(self, rows: int, queries: Tensor | None = None, *, asked: int = 0) -> None:
        """Begin with nothing added.

        Args:
            rows: How many rows are searched.
            queries: Which of them are the queries; None for queries from elsewhere.
            asked: How many queries there are elsewhere.
        """
        self.rows = rows
        self.queries = queries
        self.signs = signs(max(rows, asked))
        self.given = torch.zeros(1 + len(self.signs), rows, dtype=torch.float64)
        self.taken = torch.zeros_like(self.given)

    def add(self, queries: Tensor, neighbours: Tensor, change: Tensor) -> None:
        """Add what some rows change.

        Args:
            queries: Numbers of the queries, shape `(b,)`.
            neighbours: Rows of the gallery, shape `(b, k)`.
            change: What each of them adds to the query's score, shape `(b, k)`.
        """
        from scipy.sparse import csr_array  # here: it takes as long to import as all of asterism

        width = change.shape[1]
        ends = np.arange(0, change.numel() + 1, width) if width else np.zeros(len(change) + 1, int)
        entries = (change.cpu().numpy().ravel(), neighbours.cpu().numpy().ravel(), ends)
        added = csr_array(entries, shape=(len(change), self.rows))
        self.given += torch.from_numpy(added.T @ self._weights(queries).cpu().numpy().T).T
        if self.queries is not None:
            taken = torch.from_numpy(added @ self._weights().cpu().numpy().T)
            self.taken.index_add_(1, queries, taken.T)

    def add_all(self, queries: Tensor, change: Tensor, unit: float) -> None:
        """Add what every row changes, shape `(b, rows)`, in small whole numbers of a unit."""
        weights, signed = self._weights(queries).float(), self._weights().float().T
        for i in range(0, len(change), 64):  # few at a time: as floats they take four times as much
            part = slice(i, i + 64)
            changes = change[part].float()
            self.given += unit * (weights[:, part] @ changes).double()
            self.taken.index_add_(1, queries[part], unit * (changes @ signed).double().T)

    def add_partners(self, queries: Tensor, own: Tensor, change: Tensor, classes: Tensor) -> None:
        """Add the same for all rows of a query's class, but for the query itself.

        Args:
            queries: Numbers of the queries, shape `(q,)`.
            own: Class of each query.
            change: What each of its partners adds to its score, shape `(q,)`.
            classes: Class of each row of the gallery.
        """
        _, number = torch.unique(torch.cat([own, classes]), return_inverse=True)
        asked, kind = number[: len(own)], number[len(own) :]

        def by_class(values: Tensor, of: Tensor) -> Tensor:
            totals = values.new_zeros(len(values), int(number.max()) + 1)
            return totals.index_add_(1, of, values)

        changes = self._weights(queries) * change
        self.given += by_class(changes, asked)[:, kind]
        if self.queries is not None:
            self.given.index_add_(1, queries, -changes)
            signs = self._weights()
            partners = by_class(signs, kind)[:, asked] - signs[:, queries]
            self.taken.index_add_(1, queries, partners * change)

    def _weights(self, rows: Tensor | None = None) -> Tensor:
        """Return 1 and the signs of some rows, or of all that are searched, `(1 + m, rows)`."""
        chosen = self.signs[:, : self.rows] if rows is None else self.signs[:, rows]
        return F.pad(chosen.double(), (0, 0, 1, 0), value=1.0)

    def placed(self, own: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Return parts for every row: of the queries themselves, and of what is searched.

        What a row adds to all alike, and what a query takes from all alike, is no interaction: the
        sums with signs are of what lies beyond both.

        Args:
            own: What each query adds by itself.
            counted: Which queries the mean is taken over.
        """
        count = int(counted.sum())
        asked = torch.arange(len(own)) if self.queries is None else self.queries
        given = _beyond(self.given / count, self._weights(asked[counted]))
        if self.queries is None:
            return F.pad(own, (0, self.rows)), F.pad(given, (len(own), 0))
        taken = _beyond(self.taken[:, asked[counted]] / count, self._weights())
        given[1:].index_add_(1, asked[counted], taken[1:])
        given[1:] /= 2**0.5  # a pair is seen from both of its rows
        return torch.zeros(self.rows, dtype=own.dtype).index_add_(0, self.queries, own), given


def _beyond(sums: Tensor, weights: Tensor) -> Tensor:
    """Return sums with signs of terms that are centred over both of their rows."""
    sums = sums - sums.mean(1, keepdim=True)
    sums[1:] -= weights[1:].mean(1, keepdim=True) * sums[:1]
    return sums


@lru_cache(maxsize=4)
def signs(rows: int) -> Tensor:
    """Return some random signs for each of so many rows, int8 of shape `(m, rows)`."""
    generator = torch.Generator().manual_seed(SIGN_SEED)
    number = 1 + SIGNS // max(1, rows)
    return 2 * torch.randint(2, (number, rows), generator=generator, dtype=torch.int8) - 1
