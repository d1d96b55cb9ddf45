"""What was found, as a person sees it: the texts or pictures of the rows, and a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from asterism.data import Source, open_source
from asterism.documents import replacing
from asterism.index.folder import damaged
from asterism.index.index import Index
from asterism.index.searching import Hits
from asterism.modality.modality import THUMBNAIL
from asterism.names import located
from asterism.report.pictures import Sheet, sheet
from asterism.words import readable

# Of the pictures on a page.
MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class Found:
    """One row that a query found.

    Attributes:
        name: Its id.
        score: Cosine similarity, or Euclidean distance.
        text: The text, for data of texts that are at hand.
        label: Name of its class, or None.
        picture: Number of its picture on the sheet; None without one.
    """

    name: str
    score: float
    text: str | None = None
    label: str | None = None
    picture: int | None = None


@dataclass(frozen=True)
class Answer:
    """A query and what it found, nearest first."""

    query: str
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Answers:
    """All answers, with the pictures of what was found.

    Attributes:
        each: One for each query.
        sheet: The pictures; None if there are none.
        missing: Why texts and pictures are not shown; empty if they are.
    """

    each: tuple[Answer, ...]
    sheet: Sheet | None = None
    missing: str = ""


def data_of(
    index: Index, data: Any = None, *, image_size: int | None = None
) -> tuple[Source | None, str]:
    """Return the data that an index was made of, or None and why they are not there.

    Data that an index names are opened only where they are files of this machine.

    Args:
        index: The index.
        data: Where they are now; by default where they were.
        image_size: Size to which pictures are brought.

    Raises:
        ValueError: If the index is damaged.
    """
    named = index.card.data
    if named is None:
        return None, "the index was made without --data"
    if data is None and named.startswith(("hf/", "python:")):
        return None, f"the index was made of {named}: name it again, --data"
    try:
        source = open_source(located(named) if data is None else data, image_size=image_size)
    except (OSError, ValueError) as error:
        return None, f"its data cannot be opened, {error}".rstrip(".")
    if source.fingerprint() != index.card.contents:
        return None, f"{source.place} has other contents now than the index was made of"
    if index.rows is not None and not -1 <= index.rows.min() <= index.rows.max() < len(source):
        raise damaged(index.folder / "rows.npy", "it has rows that the data have not")
    return source, ""


def answers(index: Index, queries: Sequence[str], hits: Hits, data: Any = None) -> Answers:
    """Return what queries found, with the texts or pictures of it where the data are at hand.

    Args:
        index: The index.
        queries: What was asked, in words.
        hits: What was found.
        data: Where the data are now; by default where they were.
    """
    source, missing = data_of(index, data, image_size=THUMBNAIL)
    places = [int(p) for p in np.unique(hits.positions) if p >= 0]
    shown = {} if source is None else _shown(index, source, places)
    pictures = [found.thumbnail for found in shown.values() if found.thumbnail is not None]
    numbers = {p: i for i, p in enumerate(p for p, f in shown.items() if f.thumbnail is not None)}

    def found(position: int, score: float) -> Found:
        item = shown.get(position, _Shown())
        return Found(index.ids[position], score, item.text, item.label, numbers.get(position))

    each = tuple(
        Answer(query, tuple(found(int(p), float(s)) for p, s in zip(ps, ss, strict=True) if p >= 0))
        for query, ps, ss in zip(queries, hits.positions, hits.scores, strict=True)
    )
    return Answers(each, _sheet(pictures), missing)


def write_page(answered: Answers, index: Index, out: str | Path) -> Path:
    """Write answers as one HTML page that needs nothing but itself.

    Raises:
        ValueError: If `out` does not end in .html.
    """
    path = Path(located(out))
    if path.suffix != ".html" or path.is_dir():
        raise ValueError(f"the answers are a page: its name must end in .html; got {path}.")
    page = _template().render(answers=answered, card=index.card, unit=unit_of(index))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write_text(page, encoding="utf-8")
    return path


def unit_of(index: Index) -> str:
    """Return what a score is."""
    return "cosine" if index.card.metric == "cosine" else "distance"


@dataclass(frozen=True)
class _Shown:
    text: str | None = None
    label: str | None = None
    thumbnail: NDArray[Any] | None = None


def _shown(index: Index, source: Source, positions: Sequence[int]) -> dict[int, _Shown]:
    """Return text or picture, and class, of rows of the index that are rows of the data."""
    assert index.rows is not None
    at = {p: int(index.rows[p]) for p in positions if index.rows[p] >= 0}
    shown = {}
    for position, row in at.items():  # one by one: what cannot be read has no place in a batch
        batch = source.__getitems__([row])
        if not len(batch.index):
            continue
        pictures = source.modality.pictures([batch.views[0]])
        texts, thumbnails = pictures.get("texts"), pictures.get("thumbnails")
        label = None
        if batch.target is not None and source.names is not None:
            label = source.names[int(batch.target[0])]
        shown[position] = _Shown(
            None if texts is None else str(texts[0]),
            label,
            None if thumbnails is None else thumbnails[0],
        )
    return shown


def _sheet(thumbnails: Sequence[NDArray[Any]]) -> Sheet | None:
    if not thumbnails or len({each.shape for each in thumbnails}) > 1:
        return None
    return sheet(np.stack(thumbnails), most_bytes=MOST_BYTES)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["readable"] = readable
    return environment.get_template("page.html.jinja")
