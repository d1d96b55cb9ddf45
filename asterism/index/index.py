"""`open_index()`: an index that is searched by vectors, or by its own rows."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from asterism.index.folder import read_card, read_cells, read_ids, read_rows, read_vectors
from asterism.index.searching import Floats, Hits, exhaustive, placed, within, without
from asterism.names import located


class Index:
    """Rows to be searched, on disk until they are used.

    Attributes:
        folder: Where it is.
        card: What is known of it.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder that `build_index` made; see `open_index`."""
        self.folder = folder
        self.card = read_card(folder)
        self.vectors = read_vectors(folder, self.card)
        self.cells = read_cells(folder, self.card)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.card.rows

    @cached_property
    def ids(self) -> list[str]:
        """Return the id of each row."""
        return read_ids(self.folder, self.card)

    @cached_property
    def rows(self) -> Floats | None:
        """Return the row of the data that each row is; None if it knows no data."""
        return read_rows(self.folder, self.card)

    def position(self, name: str) -> int:
        """Return the row that has an id.

        Raises:
            ValueError: If none has.
        """
        try:
            return self.ids.index(name)
        except ValueError:
            raise ValueError(
                f"{self.folder} has no row {name!r}; its ids are {', '.join(self.ids[:3])}, …"
            ) from None

    def search(self, queries: Floats, k: int = 10, *, exact: bool = False) -> Hits:
        """Return the nearest rows of each query.

        Args:
            queries: Vectors, shape `(q, d)`, in the space of the index.
            k: How many rows; a smaller index gives all it has.
            exact: Look at every row, in an index of cells too.

        Raises:
            ValueError: If they are of another width, or not finite, or k is below 1.
        """
        queries = np.asarray(queries)
        if queries.ndim != 2 or queries.shape[1] != self.card.width or k < 1:
            raise ValueError(
                f"{self.folder} is searched with k of at least 1 and vectors of {self.card.width} "
                f"columns; got k={k} and shape {queries.shape}."
            )
        asked, k = placed(queries, self.card.metric), min(k, len(self))
        if self.cells is None or exact:
            return exhaustive(self.vectors, asked, k, self.card.metric)
        return within(self.vectors, self.cells, asked, k, self.card.metric)

    def near(self, positions: Sequence[int], k: int = 10, *, exact: bool = False) -> Hits:
        """Return the rows nearest to some of the index, each without itself; see `search`."""
        own = np.array(positions)
        return without(own, self.search(self.vectors[own], k + 1, exact=exact))


def open_index(folder: str | Path) -> Index:
    """Return the index in a folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged.
    """
    return Index(Path(located(folder)))
