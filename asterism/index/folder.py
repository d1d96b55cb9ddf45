"""The folder of an index: plain arrays, ids one a line, and a card that is written last.

None of its files is code, and none is read by a library that would believe it: whoever has an index
from somebody else can search it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from json import dumps
from pathlib import Path
from typing import Any, get_args

import numpy as np

from asterism.arrays import read_array
from asterism.documents import read_file, read_json
from asterism.index.searching import Cells, Floats
from asterism.names import nothing_at
from asterism.settings import Distance

CARD = "index.json"
FILES = (CARD, "vectors.npy", "rows.npy", "ids.txt", "centres.npy", "starts.npy")
# Ids are names: more than this is none of our making.
MOST_IDS = 2**33


@dataclass(frozen=True)
class Card:
    """What is known of an index besides its vectors.

    Attributes:
        metric: By what rows are near.
        rows: How many there are.
        width: Columns of a vector.
        made_of: The network, or the file of vectors, that it was made of.
        network: Fingerprint of that network; None for a file of vectors.
        data: What was embedded; None if that was not said.
        contents: Fingerprint of these data, or None.
        cells: How many cells the rows lie in; 0 for exhaustive search.
        probes: How many of them a query looks into.
        recall: Share of the ten nearest rows that it finds there, measured when it was made.
    """

    metric: Distance
    rows: int
    width: int
    made_of: str
    network: str | None = None
    data: str | None = None
    contents: str | None = None
    cells: int = 0
    probes: int = 0
    recall: float | None = None


def write_card(folder: Path, card: Card) -> None:
    """Write what makes an index of the folder."""
    (folder / CARD).write_text(dumps(asdict(card), indent=1) + "\n", encoding="utf-8")


def read_card(folder: Path) -> Card:
    """Return the card of an index.

    Raises:
        FileNotFoundError: If there is no index.
        ValueError: If it is damaged.
    """
    file = folder / CARD
    if not file.exists():
        missing = f"{folder} holds no index" if folder.exists() else nothing_at(folder)
        raise FileNotFoundError(f"{missing}: `asterism index` makes one.")
    try:
        document: dict[str, Any] = read_json(file)
        values: dict[str, Any] = {each.name: document.get(each.name) for each in fields(Card)}
        card = Card(**values)
    except ValueError as error:
        raise damaged(file, error) from error
    texts = (card.network, card.data, card.contents)
    sound = (
        card.metric in get_args(Distance)
        and all(type(n) is int for n in (card.rows, card.width, card.cells, card.probes))
        and min(card.rows, card.width) > 0
        and 0 <= card.probes <= card.cells
        and isinstance(card.made_of, str)
        and all(text is None or isinstance(text, str) for text in texts)
        and isinstance(card.recall, float | int | None)
    )
    if not sound:
        raise damaged(file, "it says what no index is")
    return card


def read_vectors(folder: Path, card: Card) -> Floats:
    """Return the rows of an index, which stay on disk until they are used."""
    return _array(folder / "vectors.npy", (card.rows, card.width), "float32")


def read_rows(folder: Path, card: Card) -> Floats | None:
    """Return the row of the data that each row of an index is; None without data."""
    return None if card.data is None else _array(folder / "rows.npy", (card.rows,), "int64")


def read_cells(folder: Path, card: Card) -> Cells | None:
    """Return the cells of an index; None where all rows are looked at."""
    if not card.cells:
        return None
    centres = _array(folder / "centres.npy", (card.cells, card.width), "float32")
    starts = np.array(_array(folder / "starts.npy", (card.cells + 1,), "int64"))
    if starts[0] != 0 or starts[-1] != card.rows or (np.diff(starts) < 0).any():
        raise damaged(folder / "starts.npy", "its cells do not follow each other")
    return Cells(np.array(centres), starts, card.probes)


def read_ids(folder: Path, card: Card) -> list[str]:
    """Return the id of each row."""
    file = folder / "ids.txt"
    text = _read(file, lambda: read_file(file, MOST_IDS)).decode("utf-8", "surrogateescape")
    ids: list[str] = text.split("\n")[:-1]
    if len(ids) != card.rows:
        raise damaged(file, f"it has {len(ids)} ids for {card.rows} rows")
    return ids


def damaged(file: Path, why: object) -> ValueError:
    """Return what is said of a file that is no part of an index of ours."""
    return ValueError(f"{file} is damaged ({why}): `asterism index … --overwrite` makes it again.")


def _array(file: Path, shape: tuple[int, ...], dtype: str) -> Floats:
    if file.exists() and not file.is_file():
        raise damaged(file, "it is no file")  # a pipe would be waited for
    array: Floats = _read(file, lambda: read_array(file))
    if array.shape != shape or array.dtype != dtype:
        raise damaged(file, f"it holds {array.dtype} of shape {array.shape}, not {dtype} {shape}")
    return array


def _read(file: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError) as error:
        raise damaged(file, error) from error
